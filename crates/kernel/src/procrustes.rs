//! The nearest orthogonal matrix, row spaces, and what is left of a matrix without its leading directions.
//!
//! Decompositions run on one thread and products are cut into blocks of a fixed size, so that no bit depends on the
//! number of threads.

use faer::Par;
use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::mat::{Mat, MatRef};
use rayon::prelude::*;

use super::dot::{cross, gram, inner};
use super::product::{narrow, product, square};
use super::{normalise, transpose};

/// Shorter sides up to this are decomposed; beyond, products alone are several times as fast.
const DECOMPOSED: usize = 512;

/// Shorter side up to which leading directions are taken out exactly.
const DEFLATED: usize = 128;

/// Steps after which the polar iteration is given up: a singular value below 1e-7 of the largest stays between 0 and 1.
const STEPS: usize = 24;

/// Odd polynomials of degree five that bring singular values between 1e-3 and 1 nearest to 1 (Amsel, Persson, Musco and
/// Gower 2025, "The Polar Express"); the last one is Newton and Schulz's of that degree, whose convergence is cubic.
const POLAR: [[f64; 3]; 8] = [
    [8.287_212_018_145_63, -23.595_886_519_098_837, 17.300_387_312_530_933],
    [4.107_059_111_542_203, -2.947_849_916_737_910_6, 0.544_843_108_292_660_1],
    [3.948_690_853_482_294_6, -2.908_902_115_962_949, 0.551_819_139_437_013_7],
    [3.318_419_657_370_601_5, -2.488_488_024_314_874, 0.510_048_940_123_72],
    [2.300_652_019_954_817, -1.668_903_984_574_749_3, 0.418_807_311_952_567_3],
    [1.891_301_407_787_398, -1.267_995_827_194_586_8, 0.376_804_089_485_248_35],
    [1.875_001_480_853_447_9, -1.250_001_645_399_948_7, 0.375_000_164_547_424_8],
    [1.875, -1.25, 0.375],
];

/// A = U diag(s) V^T with s falling.
struct Svd {
    u: Mat<f64>,
    s: Vec<f64>,
    v: Mat<f64>,
}

/// `None` if anything is not finite or the decomposition does not converge.
fn decompose(matrix: &[f64], rows: usize, cols: usize) -> Option<Svd> {
    let side = rows.min(cols);
    if side == 0 || !matrix.iter().all(|value| value.is_finite()) {
        return None;
    }
    let (mut u, mut v, mut s) = (Mat::zeros(rows, side), Mat::zeros(cols, side), Diag::zeros(side));
    let thin = ComputeSvdVectors::Thin;
    let need = svd_scratch::<f64>(rows, cols, thin, thin, Par::Seq, faer::prelude::default());
    let matrix = MatRef::from_row_major_slice(matrix, rows, cols);
    let stack = &mut MemBuffer::new(need);
    let (to_u, to_v) = (Some(u.as_mut()), Some(v.as_mut()));
    svd(matrix, s.as_mut(), to_u, to_v, Par::Seq, MemStack::new(stack), faer::prelude::default()).ok()?;
    let s = (0..side).map(|k| s.column_vector()[k]).collect();
    Some(Svd { u, s, v })
}

/// The column- or row-orthonormal matrix nearest to a row-major `rows` x `cols` matrix: U V^T of its singular value
/// decomposition, which maximises tr(Q^T M) (Schoenemann 1966). That largest trace is the nuclear norm of M, which
/// [`inner`] of Q and M therefore gives; tr(`Q_1^T` `Q_2`) is [`inner`] of two solutions.
///
/// Up to a shorter side of 512 by decomposition in f64; beyond by a polar iteration of f32 products, of which the result is
/// orthonormal to 1e-6 where singular values are above 1e-7 of the largest. Directions of rank zero are arbitrary in the
/// first case and shorter than one in the second. Measured on two cores that had other work: 0.6 s for 512, 1 s for 1,024,
/// 7.5 s for 2,048, 53 s for 4,096; by decomposition 4.3 s for 1,024 and 36 s for 2,048. `None` if anything is not finite or all is zero.
///
/// # Panics
/// If `matrix` is not rows x cols long.
#[must_use]
pub fn nearest_orthogonal(matrix: &[f64], rows: usize, cols: usize) -> Option<Vec<f64>> {
    assert_eq!(matrix.len(), rows * cols, "{rows} x {cols}");
    let side = rows.min(cols);
    if side > DECOMPOSED {
        return polar(matrix, rows, cols);
    }
    let Svd { u, s, v } = decompose(matrix, rows, cols)?;
    if *s.first()? <= 0.0 {
        return None;
    }
    Some(outer(&u, &v, rows, cols, |_| 1.0, side))
}

/// The sum of weight(k) `u_k` `v_k^T` over the first `count` directions.
fn outer(
    u: &Mat<f64>,
    v: &Mat<f64>,
    rows: usize,
    cols: usize,
    weight: impl Fn(usize) -> f64,
    count: usize,
) -> Vec<f64> {
    let mut out = vec![0.0; rows * cols];
    let columns: Vec<Vec<f64>> = (0..count).map(|k| (0..cols).map(|j| v[(j, k)]).collect()).collect();
    let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    for (i, row) in out.chunks_exact_mut(cols).enumerate() {
        let weights: Vec<f64> = (0..count).map(|k| weight(k) * u[(i, k)]).collect();
        add(row, &columns, &weights);
    }
    out
}

/// Adds rows times their weights, one after the other for every element, four rows at a time. Not fused: that would be a call
/// for each element where the processor is not known to have it.
fn add(out: &mut [f64], rows: &[&[f64]], weights: &[f64]) {
    let ((rows, last), (weights, rest)) = (rows.as_chunks::<4>(), weights.as_chunks::<4>());
    for ([a, b, c, d], [w, x, y, z]) in rows.iter().zip(weights) {
        let four = a.iter().zip(*b).zip(c.iter().zip(*d));
        for (value, ((a, b), (c, d))) in out.iter_mut().zip(four) {
            *value = (((*value + w * a) + x * b) + y * c) + z * d;
        }
    }
    for (row, weight) in last.iter().zip(rest) {
        for (value, entry) in out.iter_mut().zip(*row) {
            *value += weight * entry;
        }
    }
}

/// The polar factor: X <- (a + b G + c G^2) X with G = X X^T, from a multiple of M without singular values above one.
fn polar(matrix: &[f64], rows: usize, cols: usize) -> Option<Vec<f64>> {
    let largest = matrix.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    if !largest.is_finite() || largest <= 0.0 || !matrix.iter().all(|value| value.is_finite()) {
        return None;
    }
    let mut x = narrow(&matrix.iter().map(|value| value / largest).collect::<Vec<_>>());
    let across = rows > cols;
    let (n, k) = if across { (cols, rows) } else { (rows, cols) };
    if across {
        x = transpose(&x, rows, cols);
    }
    if !normalise(&mut x) {
        return None;
    }
    // The spectral norm is at most the root of the norm of G; twice that root narrows the gap again.
    let g = square(&x, k);
    let norm = g.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt().sqrt() * 1.001;
    scale(&mut x, 1.0 / norm);
    for step in 0..STEPS {
        let [a, b, c] = POLAR[step.min(POLAR.len() - 1)];
        let g = square(&x, k);
        let off: f64 = g
            .iter()
            .enumerate()
            .map(|(at, &value)| (f64::from(value) - f64::from(u8::from(at % (n + 1) == 0))).powi(2))
            .sum();
        if off < n as f64 * 1e-13 {
            break;
        }
        let mut p = square(&g, n);
        for (at, (value, &first)) in p.iter_mut().zip(&g).enumerate() {
            let one = if at % (n + 1) == 0 { a } else { 0.0 };
            #[allow(clippy::cast_possible_truncation)]
            let polynomial = c.mul_add(f64::from(*value), b.mul_add(f64::from(first), one)) as f32;
            *value = polynomial;
        }
        x = product(&p, &transpose(&x, n, k), n);
    }
    if across {
        x = transpose(&x, n, k);
    }
    x.iter().all(|value| value.is_finite()).then(|| x.into_iter().map(f64::from).collect())
}

#[allow(clippy::cast_possible_truncation)]
fn scale(values: &mut [f32], by: f64) {
    for value in values {
        *value = (f64::from(*value) * by) as f32;
    }
}

/// Takes the `k` directions with the largest singular values out of a row-major `rows` x `cols` matrix: what two unrelated
/// models share through their data (token frequency, outlier dimensions) is of low rank.
///
/// Up to a shorter side of 128 exactly; beyond by twelve rounds of subspace iteration with `k` + 8 vectors, which finds
/// what stands out and cares little what does not. Nothing is done where something is not finite.
///
/// # Panics
/// As [`nearest_orthogonal`].
pub fn deflate(matrix: &mut [f64], rows: usize, cols: usize, k: usize) {
    assert_eq!(matrix.len(), rows * cols, "{rows} x {cols}");
    let side = rows.min(cols);
    let k = k.min(side);
    if k == 0 || !matrix.iter().all(|value| value.is_finite()) {
        return;
    }
    if side <= DEFLATED {
        if let Some(Svd { u, s, v }) = decompose(matrix, rows, cols) {
            subtract(matrix, &outer(&u, &v, rows, cols, |k| s[k], k));
        }
        return;
    }
    let count = (k + 8).min(side);
    // Any start that is not orthogonal to what is sought: a low-discrepancy sequence.
    let mut right: Vec<f64> = (0..count * cols).map(|i| (i as f64 * 0.618_033_988_749_894_9).fract() - 0.5).collect();
    let mut left = Vec::new();
    for _ in 0..12 {
        orthonormalise(&mut right, cols);
        left = times(matrix, &right, cols);
        orthonormalise(&mut left, rows);
        right = times_transposed(matrix, &left, rows, cols);
    }
    // left M = right, count x cols: its directions are those of M within the space.
    let Some(Svd { u, s, v }) = decompose(&right, count, cols) else { return };
    for direction in 0..k.min(s.len()) {
        let leading: Vec<f64> = (0..cols).map(|j| v[(j, direction)]).collect();
        for i in 0..rows {
            let own: f64 = (0..count).map(|c| u[(c, direction)] * left[c * rows + i]).sum::<f64>() * s[direction];
            add(&mut matrix[i * cols..(i + 1) * cols], &[&leading], &[-own]);
        }
    }
}

fn subtract(from: &mut [f64], what: &[f64]) {
    for (value, less) in from.iter_mut().zip(what) {
        *value -= less;
    }
}

/// The rows of `vectors` times M^T: count x rows.
fn times(matrix: &[f64], vectors: &[f64], cols: usize) -> Vec<f64> {
    let each = |v: &[f64]| matrix.chunks_exact(cols).map(|row| inner(row, v)).collect::<Vec<f64>>();
    vectors.par_chunks(cols).map(each).collect::<Vec<_>>().concat()
}

/// The rows of `vectors` times M: count x cols.
fn times_transposed(matrix: &[f64], vectors: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    let lines: Vec<&[f64]> = matrix.chunks_exact(cols).collect();
    let each = |v: &[f64]| {
        let mut out = vec![0.0; cols];
        add(&mut out, &lines, v);
        out
    };
    vectors.par_chunks(rows).map(each).collect::<Vec<_>>().concat()
}

/// Gram and Schmidt, twice; rows that vanish stay zero.
fn orthonormalise(vectors: &mut [f64], length: usize) {
    for _ in 0..2 {
        for at in 0..vectors.len() / length {
            let (before, rest) = vectors.split_at_mut(at * length);
            let own = &mut rest[..length];
            for other in before.chunks_exact(length) {
                let shared = inner(own, other);
                for (value, o) in own.iter_mut().zip(other) {
                    *value -= shared * o;
                }
            }
            let norm = inner(own, own).sqrt();
            for value in own.iter_mut() {
                *value = if norm > 0.0 { *value / norm } else { 0.0 };
            }
        }
    }
}

/// Orthonormal rows that span the rows of a row-major `rows` x `d` matrix; fewer than `rows` where some depend on others
/// to 1e-3. Whitened by the eigenvectors of A A^T, twice, for the first time leaves what f32 could not hold.
/// `None` if anything is not finite or all is zero.
///
/// # Panics
/// If `values` is not rows x d long.
#[must_use]
pub fn row_basis(values: &[f32], rows: usize, d: usize) -> Option<Vec<f32>> {
    assert_eq!(values.len(), rows * d, "{rows} x {d}");
    if rows == 0 || d == 0 || !values.iter().all(|value| value.is_finite()) {
        return None;
    }
    let mut own = values.to_vec();
    // One length for all rows: the space does not change, and a small row is not lost among large ones.
    for row in own.chunks_exact_mut(d) {
        normalise(row);
    }
    let once = whiten(&own, d)?;
    whiten(&once, d)
}

fn whiten(values: &[f32], d: usize) -> Option<Vec<f32>> {
    let n = values.len() / d;
    let products = gram(values, d);
    let vectors = decompose(&products, n, n)?;
    let least = vectors.s.first().copied().filter(|s| *s > 0.0)? * 1e-6;
    let columns = transpose(values, n, d);
    let mut weights = Vec::new();
    for (k, &value) in vectors.s.iter().enumerate().filter(|(_, value)| **value > least) {
        weights.extend(narrow(&(0..n).map(|i| vectors.u[(i, k)] / value.sqrt()).collect::<Vec<_>>()));
    }
    Some(narrow(&cross(&weights, &columns, n)))
}

/// The sum of squared cosines of the principal angles between the spaces of two sets of orthonormal rows of length `d`.
///
/// # Panics
/// If a length is not a multiple of `d`.
#[must_use]
pub fn overlap(a: &[f32], b: &[f32], d: usize) -> f64 {
    let cosines = cross(a, b, d);
    inner(&cosines, &cosines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(rows: usize, cols: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        (0..rows * cols)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (((state >> 33) % 2001) as f64 - 1000.0) / 8.0
            })
            .collect()
    }

    #[test]
    fn agrees_with_numpy() {
        // u, s, vt = numpy.linalg.svd(m, full_matrices=False): s.sum(), (u @ vt)[0, 0] and [-1, -1], and the same
        // corners of m - s[0] u[:, :1] @ vt[:1].
        for (rows, cols, seed, nuclear, corners, deflated) in [
            (
                5,
                5,
                1,
                691.378_410_879_093_4,
                [-0.146_565_013_398_964_3, 0.349_326_053_952_537_13],
                [-21.558_961_498_184_68, 36.522_734_760_573_71],
            ),
            (
                8,
                3,
                2,
                515.372_880_643_942_8,
                [0.128_709_399_791_426_15, 0.118_051_516_519_109_15],
                [-2.647_900_951_005_759_4, 33.248_145_870_477_43],
            ),
            (
                3,
                8,
                3,
                702.483_834_658_483_4,
                [0.328_910_682_014_575_6, -0.363_636_815_846_552_83],
                [35.414_283_236_500_91, -78.159_600_975_513_5],
            ),
            (
                40,
                40,
                4,
                15_575.651_987_331_865,
                [-0.167_522_695_214_223_14, -0.141_752_220_386_379_16],
                [-35.163_444_400_725_46, -124.965_703_911_795_9],
            ),
        ] {
            let mut m = instance(rows, cols, seed);
            let q = nearest_orthogonal(&m, rows, cols).expect("finite");
            assert!((inner(&q, &m) - nuclear).abs() < 1e-9 * nuclear, "{rows} x {cols}");
            assert!((q[0] - corners[0]).abs() < 1e-11 && (q[q.len() - 1] - corners[1]).abs() < 1e-11);
            let fast = polar(&m, rows, cols).expect("finite");
            let worst = q.iter().zip(&fast).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst < 2e-5, "{rows} x {cols}: the polar iteration is off by {worst}");
            deflate(&mut m, rows, cols, 1);
            assert!((m[0] - deflated[0]).abs() < 1e-9 && (m[m.len() - 1] - deflated[1]).abs() < 1e-9);
        }
    }

    #[test]
    fn a_rotation_is_its_own_nearest_and_nothing_is_refused_with_a_panic() {
        let q = nearest_orthogonal(&instance(24, 24, 9), 24, 24).expect("finite");
        let again = nearest_orthogonal(&q.iter().map(|v| v * 3.0).collect::<Vec<_>>(), 24, 24).expect("finite");
        assert!((inner(&q, &again) - 24.0).abs() < 1e-9, "tr(Q1^T Q2) is d for one rotation");
        assert_eq!(nearest_orthogonal(&[0.0; 6], 2, 3), None);
        assert_eq!(nearest_orthogonal(&[f64::NAN; 4], 2, 2), None);
        assert_eq!(nearest_orthogonal(&[], 0, 3), None);
    }

    #[test]
    fn large_matrices_lose_their_leading_directions_and_are_made_orthogonal() {
        let n = DECOMPOSED + 40;
        let mut m = instance(n, n, 11);
        let noise = inner(&m, &m);
        for i in 0..n {
            for j in 0..n {
                m[i * n + j] += 40.0 * ((i % 7) as f64 - 3.0) * ((j % 5) as f64 - 2.0);
            }
        }
        deflate(&mut m, n, n, 1);
        let left = inner(&m, &m);
        assert!(left < noise && left > 0.98 * noise, "{left} of {noise}");
        let q = nearest_orthogonal(&instance(n, n, 11), n, n).expect("finite");
        let off = (0..n)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| inner(&q[i * n..(i + 1) * n], &q[j * n..(j + 1) * n]).abs());
        assert!(off.fold(0.0, f64::max) < 1e-5);
        assert!((inner(&q, &q) - n as f64).abs() < 1e-3);
    }

    #[test]
    fn overlap_agrees_with_numpy_and_dependent_rows_are_dropped() {
        // numpy.linalg.qr of both; the squared norm of the product of the bases.
        for (p, q, d, seed, expected) in [(3, 5, 16, 5, 0.794_103_757_628_943_9), (4, 4, 12, 7, 0.759_053_467_996_99)] {
            let basis = |n, seed| row_basis(&narrow(&instance(n, d, seed)), n, d).expect("finite");
            let got = overlap(&basis(p, seed), &basis(q, seed + 1), d);
            assert!((got - expected).abs() < 1e-6, "{got} against {expected}");
        }
        let twice = [1.0, 2.0, 3.0, -2.0, -4.0, -6.0];
        assert_eq!(row_basis(&twice, 2, 3).expect("finite").len(), 3);
        assert_eq!(row_basis(&[0.0; 6], 2, 3), None);
        assert_eq!(row_basis(&[f32::INFINITY; 6], 2, 3), None);
    }
}
