//! What runs over every element of two tensors that are held against each other ([`ElementwiseSums`](super::ElementwiseSums)), eight lanes at a
//! time: counts are exact, and sums have the same bits in every instruction set.

use super::simd::{Lanes, simd};
use super::{Dtype, decode};

/// Counts over two spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Equal elements.
    pub equal: u64,
    /// Elements equal to those of the third span.
    pub shifted: u64,
    /// Elements no further apart than that share of the larger of the two.
    pub near: u64,
}

simd! {
    /// Counts equal elements of `x` and `y`, of `x` and `moved`, and elements of `x` and `y` that are `share` of the larger
    /// apart at most. The three are of one length.
    pub fn count(x: &[f64], y: &[f64], moved: &[f64], share: f64, out: &mut Counts) = count_body
}

#[inline(always)]
#[allow(clippy::inline_always, clippy::float_cmp)]
fn count_body<L: Lanes>(lanes: L, x: &[f64], y: &[f64], moved: &[f64], share: f64, out: &mut Counts) {
    let ((xs, x_rest), (ys, y_rest), (ms, m_rest)) = (x.as_chunks::<8>(), y.as_chunks::<8>(), moved.as_chunks::<8>());
    let (zero, wide) = (lanes.load_d(&[0.0; 8]), lanes.load_d(&[share; 8]));
    let (mut equal, mut shifted, mut near) = (0, 0, 0);
    for ((p, q), m) in xs.iter().zip(ys).zip(ms) {
        let (p, q, m) = (lanes.load_d(p), lanes.load_d(q), lanes.load_d(m));
        equal += u64::from(lanes.equal_d(p, q));
        shifted += u64::from(lanes.equal_d(p, m));
        let (a, b) = (lanes.abs_d(p), lanes.abs_d(q));
        let bound = lanes.fma_d(wide, lanes.pick_d(a, b, a, b), zero);
        near += u64::from(lanes.at_most_d(lanes.abs_d(lanes.sub_d(p, q)), bound));
    }
    for ((p, q), m) in x_rest.iter().zip(y_rest).zip(m_rest) {
        equal += u64::from(p == q);
        shifted += u64::from(p == m);
        near += u64::from((p - q).abs() <= share * p.abs().max(q.abs()));
    }
    out.equal += equal;
    out.shifted += shifted;
    out.near += near;
}

simd! {
    /// The sum of |a - b| over eight lanes, and how many elements are finite in both.
    pub fn distance(a: &[f64], b: &[f64], out: &mut (f64, u64)) = distance_body
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn distance_body<L: Lanes>(lanes: L, a: &[f64], b: &[f64], out: &mut (f64, u64)) {
    let ((xs, x_rest), (ys, y_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    let (zero, mut sum, mut finite) = (lanes.load_d(&sums), lanes.load_d(&sums), 0);
    for (x, y) in xs.iter().zip(ys) {
        let (x, y) = (lanes.load_d(x), lanes.load_d(y));
        sum = lanes.add_d(sum, lanes.abs_d(lanes.sub_d(x, y)));
        // What is not finite less itself is not a number.
        finite += u64::from(lanes.equal_d(lanes.add_d(lanes.sub_d(x, x), lanes.sub_d(y, y)), zero));
    }
    lanes.store_d(sum, &mut sums);
    for (lane, (x, y)) in x_rest.iter().zip(y_rest).enumerate() {
        sums[lane] += (x - y).abs();
        finite += u64::from(x.is_finite() && y.is_finite());
    }
    *out = (sums.iter().sum(), finite);
}

simd! {
    /// <a, b>, |a|^2, |b|^2, and the sums of both, about the given means.
    pub fn products(a: &[f64], b: &[f64], means: [f64; 2], out: &mut [f64; 5]) = products_body
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn products_body<L: Lanes>(lanes: L, a: &[f64], b: &[f64], means: [f64; 2], out: &mut [f64; 5]) {
    let ((xs, x_rest), (ys, y_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [lanes.load_d(&[0.0; 8]); 5];
    let [first, second] = means.map(|mean| lanes.load_d(&[mean; 8]));
    for (x, y) in xs.iter().zip(ys) {
        let (x, y) = (lanes.sub_d(lanes.load_d(x), first), lanes.sub_d(lanes.load_d(y), second));
        sums[0] = lanes.fma_d(x, y, sums[0]);
        sums[1] = lanes.fma_d(x, x, sums[1]);
        sums[2] = lanes.fma_d(y, y, sums[2]);
        sums[3] = lanes.add_d(sums[3], x);
        sums[4] = lanes.add_d(sums[4], y);
    }
    for (sum, total) in sums.into_iter().zip(&mut *out) {
        let mut lane = [0.0; 8];
        lanes.store_d(sum, &mut lane);
        *total = lane.iter().sum();
    }
    for (x, y) in x_rest.iter().zip(y_rest) {
        let (x, y) = (x - means[0], y - means[1]);
        for (total, more) in out.iter_mut().zip([x * y, x * x, y * y, x, y]) {
            *total += more;
        }
    }
}

simd! {
    /// The bits of the largest absolute value; what is not a number is larger than all.
    pub fn largest(values: &[f64], out: &mut u64) = largest_body
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn largest_body<L: Lanes>(_: L, values: &[f64], out: &mut u64) {
    let (chunks, rest) = values.as_chunks::<8>();
    let mut most = [0_u64; 8];
    for chunk in chunks {
        for (most, value) in most.iter_mut().zip(chunk) {
            *most = (*most).max(value.abs().to_bits());
        }
    }
    *out = rest.iter().map(|value| value.abs().to_bits()).chain(most).max().unwrap_or(0);
}

/// Between two order statistics as numpy does it, so that the value at fraction 1 is the upper one exactly.
pub(super) fn between(low: f64, high: f64, fraction: f64) -> f64 {
    let step = high - low;
    if fraction < 0.5 { low + step * fraction } else { high - step * (1.0 - fraction) }
}

/// Every pattern of a 16-bit number format counted, its sign left out: the order statistics of absolute values, exactly, from
/// one read.
#[derive(Clone, Debug)]
pub struct Patterns {
    dtype: Dtype,
    counts: Vec<u64>,
}

impl Patterns {
    /// Nothing counted; `None` for a format that is not a 16-bit float.
    #[must_use]
    pub fn new(dtype: Dtype) -> Option<Self> {
        matches!(dtype, Dtype::Bf16 | Dtype::F16).then(|| Self { dtype, counts: vec![0; 1 << 15] })
    }

    /// Counts the elements that these bytes are.
    pub fn add(&mut self, bytes: &[u8]) {
        for element in bytes.as_chunks::<2>().0 {
            self.counts[usize::from(u16::from_le_bytes(*element) & 0x7fff)] += 1;
        }
    }

    /// Adds what another thread counted.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(own, more)| *own += more);
    }

    /// The value of that rank among the absolute values, the smallest being 0.
    fn of_rank(&self, rank: u64) -> f64 {
        let mut left = rank;
        let at = self.counts.iter().position(|&count| {
            let here = left < count;
            left = left.saturating_sub(count);
            here
        });
        let pattern = u16::try_from(at.unwrap_or(self.counts.len() - 1)).unwrap_or(0x7fff);
        let mut value = [0.0];
        decode(self.dtype, &pattern.to_le_bytes(), &mut value);
        value[0]
    }

    /// The `q` quantile of the absolute values as numpy's `linear` method has it.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
    pub fn quantile(&self, q: f64) -> f64 {
        let last = self.counts.iter().sum::<u64>().saturating_sub(1);
        let place = q * last as f64;
        let (low, fraction) = (place.floor(), place - place.floor());
        let [low, high] = [low as u64, (low as u64 + 1).min(last)].map(|rank| self.of_rank(rank));
        between(low, high, fraction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Level, Quantile};

    fn numbers(n: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 24) - 0.5
        };
        (0..n).map(|_| next() + next()).collect()
    }

    #[test]
    #[allow(clippy::float_cmp)]
    fn every_instruction_set_gives_the_bits_of_plain_loops() {
        for n in [0, 1, 7, 8, 9, 64, 1003] {
            let (mut a, mut b) = (numbers(n, 1), numbers(n, 2));
            for at in (0..n).step_by(5) {
                b[at] = a[at];
            }
            for at in (0..n).step_by(11) {
                b[at] = a[at] * 1.05;
            }
            if n > 100 {
                (a[3], a[17], b[17], b[90]) = (f64::NAN, f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY);
            }
            let moved = numbers(n, 2);
            let mut all = Vec::new();
            for level in [Level::Portable, Level::Avx2, Level::Avx512] {
                let (mut counts, mut near, mut sums, mut most) = (Counts::default(), (0.0, 0), [0.0; 5], 0);
                count(level, &a, &b, &moved, 0.06, &mut counts);
                distance(level, &a, &b, &mut near);
                products(level, &a, &b, [0.1, -0.2], &mut sums);
                largest(level, &a, &mut most);
                all.push((counts, near.0.to_bits(), near.1, sums.map(f64::to_bits), most));
            }
            assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{n}: {all:?}");
            let (counts, _, finite, ..) = all[0];
            let pairs = || a.iter().zip(&b);
            assert_eq!(counts.equal, pairs().filter(|(x, y)| x == y).count() as u64);
            assert_eq!(counts.shifted, a.iter().zip(&moved).filter(|(x, y)| x == y).count() as u64);
            let near = |(x, y): &(&f64, &f64)| (*x - *y).abs() <= 0.06 * x.abs().max(y.abs());
            assert_eq!(counts.near, pairs().filter(near).count() as u64);
            assert_eq!(finite, pairs().filter(|(x, y)| x.is_finite() && y.is_finite()).count() as u64);
            if n <= 100 {
                let plain: f64 = pairs().map(|(x, y)| (x - 0.1) * (y + 0.2)).sum();
                assert!((f64::from_bits(all[0].3[0]) - plain).abs() < 1e-12);
            }
        }
    }

    #[test]
    #[allow(clippy::cast_possible_truncation)]
    fn counted_patterns_have_the_quantiles_of_sorted_values() {
        for dtype in [Dtype::Bf16, Dtype::F16] {
            for n in [1_usize, 2, 100, 101, 80_000] {
                let bits: Vec<u8> = numbers(n, n as u64)
                    .iter()
                    .flat_map(|v| match dtype {
                        Dtype::Bf16 => half::bf16::from_f64(*v).to_le_bytes(),
                        _ => half::f16::from_f64(*v).to_le_bytes(),
                    })
                    .collect();
                let mut values = vec![0.0; n];
                decode(dtype, &bits, &mut values);
                let mut whole = Patterns::new(dtype).expect("a 16-bit format");
                let mut other = whole.clone();
                let middle = n / 2 * 2;
                whole.add(&bits[..middle]);
                other.add(&bits[middle..]);
                whole.merge(&other);
                for q in [0.0, 0.5, 0.99, 1.0] {
                    let mut held = Quantile::new(n as u64, q, dtype);
                    while held.is_open() {
                        held.add(&values);
                        held.narrow();
                    }
                    assert_eq!(whole.quantile(q).to_bits(), held.value().to_bits(), "{dtype} {n} {q}");
                }
            }
        }
        assert!(Patterns::new(Dtype::F32).is_none());
    }
}
