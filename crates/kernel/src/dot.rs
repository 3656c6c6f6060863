//! Products of row samples: the small matrix products behind every column test.

use std::ops::Range;

use super::simd::{Lanes, simd};
use super::{Level, level};

/// f32 lanes of one partial product; two AVX2 registers or one AVX-512 register.
const LANES: usize = 16;

/// Elements after which f32 partial sums are folded into f64: relative error about 1e-7 of the product of norms.
const FOLD: usize = 2048;

type Lane = [f32; LANES];

/// Rows of `b` that are held in the second cache while all rows of `a` pass by.
const PANEL_BYTES: usize = 384 << 10;

/// A B^T for row-major `a` (n x k) and `b` (m x k): the n x m inner products of their rows.
///
/// # Panics
/// If a length is not a multiple of `k`.
#[must_use]
pub fn cross(a: &[f32], b: &[f32], k: usize) -> Vec<f64> {
    product(level(), a, b, k, false)
}

/// A A^T, at half the cost.
///
/// # Panics
/// As [`cross`].
#[must_use]
pub fn gram(a: &[f32], k: usize) -> Vec<f64> {
    product(level(), a, a, k, true)
}

fn product(level: Level, a: &[f32], b: &[f32], k: usize, symmetric: bool) -> Vec<f64> {
    assert!(k > 0 && a.len().is_multiple_of(k) && b.len().is_multiple_of(k), "rows of length {k}");
    let (n, m) = (a.len() / k, b.len() / k);
    let mut out = vec![0.0; n * m];
    product_into(level, a, b, k, symmetric, &mut out);
    if symmetric {
        for i in 0..n {
            for j in 0..i {
                out[i * m + j] = out[j * m + i];
            }
        }
    }
    out
}

simd! { fn product_into(a: &[f32], b: &[f32], k: usize, symmetric: bool, out: &mut [f64]) = product_body }

#[inline(always)]
#[allow(clippy::inline_always)]
fn product_body<L: Lanes>(lanes: L, a: &[f32], b: &[f32], k: usize, symmetric: bool, out: &mut [f64]) {
    let (n, m) = (a.len() / k, b.len() / k);
    let tall = if L::TALL { 4 } else { 2 };
    let mut start = 0;
    while start < k {
        let span = start..(start + FOLD).min(k);
        let panel = (PANEL_BYTES / (4 * span.len())).next_multiple_of(3);
        let mut left = 0;
        while left < m {
            let right = (left + panel).min(m);
            let mut i = 0;
            while i < n && !(symmetric && i >= right) {
                let rows = if i + tall <= n { tall } else { 1 };
                // Below the diagonal nothing is wanted; the blocks that cross it compute a few entries more.
                let first = if symmetric { left.max(i - i.saturating_sub(left) % 3) } else { left };
                match rows {
                    4 => band::<L, 4>(lanes, a, b, k, &span, i, first..right, out),
                    2 => band::<L, 2>(lanes, a, b, k, &span, i, first..right, out),
                    _ => band::<L, 1>(lanes, a, b, k, &span, i, first..right, out),
                }
                i += rows;
            }
            left = right;
        }
        start = span.end;
    }
}

/// Rows i.. i + I of `a` against a range of rows of `b`, three at a time: twelve AVX-512 or six pairs of AVX2 accumulators
/// stay in registers.
#[inline(always)]
#[allow(clippy::inline_always, clippy::too_many_arguments)]
fn band<L: Lanes, const I: usize>(
    lanes: L,
    a: &[f32],
    b: &[f32],
    k: usize,
    span: &Range<usize>,
    i: usize,
    columns: Range<usize>,
    out: &mut [f64],
) {
    let mut j = columns.start;
    while j + 3 <= columns.end {
        tile::<L, I, 3>(lanes, a, b, k, span, i, j, out);
        j += 3;
    }
    while j < columns.end {
        tile::<L, I, 1>(lanes, a, b, k, span, i, j, out);
        j += 1;
    }
}

#[inline(always)]
#[allow(clippy::inline_always, clippy::too_many_arguments, clippy::needless_range_loop)]
fn tile<L: Lanes, const I: usize, const J: usize>(
    lanes: L,
    a: &[f32],
    b: &[f32],
    k: usize,
    span: &Range<usize>,
    i0: usize,
    j0: usize,
    out: &mut [f64],
) {
    let m = b.len() / k;
    let whole = span.len() / LANES;
    // Plain loops: closures over arrays are calls of their own here, which cost as much as the products of a short row.
    let empty: &[Lane] = &[];
    let (mut x, mut y) = ([empty; I], [empty; J]);
    for i in 0..I {
        x[i] = &a[(i0 + i) * k + span.start..(i0 + i) * k + span.end].as_chunks::<LANES>().0[..whole];
    }
    for j in 0..J {
        y[j] = &b[(j0 + j) * k + span.start..(j0 + j) * k + span.end].as_chunks::<LANES>().0[..whole];
    }
    let mut sums = [[lanes.load_s(&[0.0; LANES]); J]; I];
    for c in 0..whole {
        let mut right = [lanes.load_s(&y[0][c]); J];
        for j in 1..J {
            right[j] = lanes.load_s(&y[j][c]);
        }
        for i in 0..I {
            let left = lanes.load_s(&x[i][c]);
            for j in 0..J {
                sums[i][j] = lanes.fma_s(left, right[j], sums[i][j]);
            }
        }
    }
    let rest = span.start + whole * LANES..span.end;
    for i in 0..I {
        for j in 0..J {
            let mut sum = fold(lanes, sums[i][j]);
            for at in rest.clone() {
                sum = f64::from(a[(i0 + i) * k + at]).mul_add(f64::from(b[(j0 + j) * k + at]), sum);
            }
            out[(i0 + i) * m + j0 + j] += sum;
        }
    }
}

/// The sum of the lanes in f64, in the order of a tree.
#[inline(always)]
#[allow(clippy::inline_always)]
fn fold<L: Lanes>(lanes: L, sum: L::S) -> f64 {
    let (mut lane, mut wide) = ([0.0; LANES], [0.0; LANES / 2]);
    lanes.store_s(sum, &mut lane);
    if let [low, high] = lane.as_chunks::<{ LANES / 2 }>().0 {
        lanes.store_d(lanes.add_d(lanes.widen(low), lanes.widen(high)), &mut wide);
    }
    let [a, b, c, d, e, f, g, h] = wide;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// tr(A^T B): the sum of products of equal elements, in f64.
#[must_use]
pub fn trace(a: &[f32], b: &[f32]) -> f64 {
    let mut total = 0.0;
    trace_into(level(), a, b, &mut total);
    total
}

simd! { fn trace_into(a: &[f32], b: &[f32], total: &mut f64) = trace_body }

#[inline(always)]
#[allow(clippy::inline_always)]
fn trace_body<L: Lanes>(lanes: L, a: &[f32], b: &[f32], total: &mut f64) {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0_f64; 8];
    let mut sum = lanes.load_d(&sums);
    for (x, y) in a.iter().zip(b) {
        sum = lanes.fma_d(lanes.widen(x), lanes.widen(y), sum);
    }
    lanes.store_d(sum, &mut sums);
    *total = sums.iter().sum();
    for (x, y) in a_rest.iter().zip(b_rest) {
        *total = f64::from(*x).mul_add(f64::from(*y), *total);
    }
}

/// The sum of products of equal elements of two f64 matrices.
#[must_use]
pub fn inner(a: &[f64], b: &[f64]) -> f64 {
    let mut total = 0.0;
    inner_into(level(), a, b, &mut total);
    total
}

simd! { fn inner_into(a: &[f64], b: &[f64], total: &mut f64) = inner_body }

#[inline(always)]
#[allow(clippy::inline_always)]
fn inner_body<L: Lanes>(lanes: L, a: &[f64], b: &[f64], total: &mut f64) {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0_f64; 8];
    let mut sum = lanes.load_d(&sums);
    for (x, y) in a.iter().zip(b) {
        sum = lanes.fma_d(lanes.load_d(x), lanes.load_d(y), sum);
    }
    lanes.store_d(sum, &mut sums);
    *total = sums.iter().sum();
    for (x, y) in a_rest.iter().zip(b_rest) {
        *total = x.mul_add(*y, *total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: u32) -> Vec<f32> {
        (0..)
            .take(n)
            .map(|i: u32| ((i * 2_654_435_761_u32.wrapping_mul(seed)) >> 8) as f32 / 2f32.powi(24) - 0.5)
            .collect()
    }

    #[test]
    fn products_agree_with_plain_sums_and_between_instruction_sets() {
        for (n, m, k) in [(1, 1, 1), (3, 5, 17), (7, 4, 64), (2, 3, 5000), (131, 66, 2048)] {
            let (a, b) = (values(n * k, 3), values(m * k, 5));
            let portable = product(Level::Portable, &a, &b, k, false);
            assert_eq!(portable, product(Level::Avx2, &a, &b, k, false));
            assert_eq!(portable, product(Level::Avx512, &a, &b, k, false));
            for level in [Level::Portable, Level::Avx2, Level::Avx512] {
                assert_eq!(product(level, &a, &a, k, true), product(Level::Portable, &a, &a, k, false), "{n} {k}");
            }
            for i in 0..n {
                for j in 0..m {
                    let naive: f64 = (0..k).map(|c| f64::from(a[i * k + c]) * f64::from(b[j * k + c])).sum();
                    assert!((portable[i * m + j] - naive).abs() < 1e-5 * (k as f64).sqrt(), "{n} {m} {k}");
                }
            }
        }
    }

    #[test]
    fn trace_and_inner_are_exact_sums() {
        let (a, b) = (values(1003, 3), values(1003, 5));
        let naive: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        assert!((trace(&a, &b) - naive).abs() < 1e-12);
        let widen = |v: &[f32]| v.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        assert!((inner(&widen(&a), &widen(&b)) - naive).abs() < 1e-12);
    }
}
