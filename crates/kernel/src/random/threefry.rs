//! The counter-based generator Threefry-2x32 with 20 rounds (Salmon et al. 2011) and the draws that JAX makes from it.

use super::{Fill, Law, erfinv};
use crate::{Dtype, Rounding, round};

/// Elements that are drawn and handed on at a time.
const CHUNK: u64 = 1 << 16;

/// A key, and how counters become bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threefry {
    key: [u32; 2],
    /// The layout of `jax_threefry_partitionable`: every element has a counter of its own. The default since JAX 0.5.
    partitionable: bool,
}

impl Threefry {
    /// `jax.random.key(seed)`, without 64-bit numbers: the low 32 bits count.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)]
    pub fn new(seed: u64, partitionable: bool) -> Self {
        Self { key: [0, seed as u32], partitionable }
    }

    /// `split(key, of)[index]`.
    #[must_use]
    pub fn split(self, of: u32, index: u32) -> Self {
        let key = if self.partitionable {
            threefry(self.key, [0, index])
        } else {
            let words = u64::from(of) * 2;
            let word = |i| halves(self.key, words, i);
            [word(2 * u64::from(index)), word(2 * u64::from(index) + 1)]
        };
        Self { key, ..self }
    }

    /// `fold_in(key, data)`.
    #[must_use]
    pub fn fold_in(self, data: u32) -> Self {
        Self { key: threefry(self.key, [0, data]), ..self }
    }

    /// Draws, as `normal`, `uniform` and `truncated_normal`: not a number where the format has no such draw or there are
    /// more elements than counters.
    ///
    /// The inverse error function is the exact one, rounded; XLA's own differs from it in the last bits.
    ///
    /// # Errors
    /// What `take` fails with.
    pub fn draw<E>(self, fill: &Fill, take: &mut impl FnMut(u64, &[f64]) -> Result<(), E>) -> Result<(), E> {
        let narrow = |x: f64| round(x, fill.dtype, Rounding::Nearest);
        let root = narrow(std::f64::consts::SQRT_2);
        let below_one = |up: bool| if up { 1.0 } else { -1.0 + unit(fill.dtype) / 2.0 };
        let (low, high) = match fill.law {
            Law::Uniform { low, high } => (narrow(low), narrow(high)),
            Law::Normal { .. } => (below_one(false), 1.0),
            Law::Truncated { low, high } => (narrow(erf(low / root)), narrow(erf(high / root))),
        };
        let mut values = Vec::new();
        let mut start = 0;
        while start < fill.count {
            values.clear();
            let end = (start + CHUNK).min(fill.count);
            for i in start..end {
                let u =
                    self.fraction(fill, i).map_or(f64::NAN, |u| narrow(narrow(u * narrow(high - low)) + low).max(low));
                let z = || narrow(root * narrow(erfinv(u)));
                values.push(match fill.law {
                    Law::Uniform { .. } => u,
                    Law::Normal { mean, std } => narrow(narrow(z() * narrow(std)) + narrow(mean)),
                    Law::Truncated { low, high } => z().max(low).min(high),
                });
            }
            take(start, &values)?;
            start = end;
        }
        Ok(())
    }

    /// A number in [0, 1) with as many bits as the format's fraction has.
    #[allow(clippy::cast_possible_truncation)]
    fn fraction(self, fill: &Fill, i: u64) -> Option<f64> {
        // A format's bits come from the top of a field that is as wide as the next power of two.
        let (field, bits) = match fill.dtype {
            Dtype::F32 => (32, 23),
            Dtype::F16 => (16, 10),
            Dtype::Bf16 => (8, 7),
            _ => return None,
        };
        let word = if self.partitionable {
            let [a, b] = threefry(self.key, [(i >> 32) as u32, i as u32]);
            a ^ b
        } else {
            let each = 32 / field;
            let words = fill.count.div_ceil(each);
            u32::try_from(words).ok()?;
            halves(self.key, words, i / each) >> (field * (i % each))
        };
        let mask = u32::MAX >> (32 - field);
        Some(f64::from((word & mask) >> (field - bits)) * 2.0_f64.powi(-(bits as i32)))
    }
}

/// Distance of the numbers of a format from 1 upwards.
fn unit(dtype: Dtype) -> f64 {
    2.0_f64.powi(-dtype.fraction_bits().unwrap_or(52))
}

/// Word `i` of `count`: the first half of them and the second are the two words of one counter block each.
#[allow(clippy::cast_possible_truncation)] // callers stay below 2^32
fn halves(key: [u32; 2], count: u64, i: u64) -> u32 {
    let half = count.div_ceil(2);
    let first = i % half;
    let second = if first + half < count { first + half } else { 0 };
    threefry(key, [first as u32, second as u32])[usize::from(i >= half)]
}

/// The block cipher.
fn threefry(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    const ROTATIONS: [[u32; 4]; 2] = [[13, 15, 26, 6], [17, 29, 16, 24]];
    let keys = [key[0], key[1], key[0] ^ key[1] ^ 0x1bd1_1bda];
    let (mut x, mut y) = (counter[0].wrapping_add(keys[0]), counter[1].wrapping_add(keys[1]));
    for (group, number) in (1_usize..).zip(1_u32..6) {
        for rotation in ROTATIONS[(group - 1) % 2] {
            x = x.wrapping_add(y);
            y = y.rotate_left(rotation) ^ x;
        }
        x = x.wrapping_add(keys[group % 3]);
        y = y.wrapping_add(keys[(group + 1) % 3]).wrapping_add(number);
    }
    [x, y]
}

/// erf(x), by the series of positive terms: 2 x exp(-x^2) / sqrt(pi) times the sum of (2 x^2)^n / (1 3 5 ... (2n+1)).
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return 1.0_f64.copysign(x);
    }
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * x * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::testing::fnv;

    fn drawn(key: Threefry, law: Law, dtype: Dtype, count: u64) -> Vec<f64> {
        let mut all = Vec::new();
        let fill = Fill { law, dtype, count, contiguous: true, redraw: None };
        let taken: Result<(), ()> = key.draw(&fill, &mut |_, values| {
            all.extend_from_slice(values);
            Ok(())
        });
        assert!(taken.is_ok());
        all
    }

    #[test]
    fn the_blocks_are_the_published_ones() {
        // kat_vectors of Random123: threefry2x32, 20 rounds.
        for (key, counter, want) in [
            ([0; 2], [0; 2], [0x6b20_0159, 0x99ba_4efe]),
            ([u32::MAX; 2], [u32::MAX; 2], [0x1cb9_96fc, 0xbb00_2be7]),
            ([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3], [0xc492_3a9c, 0x483d_f7a0]),
        ] {
            assert_eq!(threefry(key, counter), want);
        }
    }

    #[test]
    fn uniform_draws_are_those_of_jax() {
        // By fixtures/replay/reference.py with JAX 0.10.2.
        let law = Law::Uniform { low: -0.3, high: 0.7 };
        let one = Law::Uniform { low: 0.0, high: 1.0 };
        for (partitionable, want, halves) in [
            (
                false,
                [0x4f04_762f_d4e9_de5c, 0x102b_70a7_a1a1_e2d1, 0x182e_5318_1934_d82c],
                [0xfaae_fc8c_adb3_0ef0, 0x24fe_73f2_ec05_14f2],
            ),
            (
                true,
                [0x7505_72de_41df_0cec, 0xeb4b_fcce_41d3_0a58, 0xae36_b58a_7fef_c5d9],
                [0x3002_f409_a5f2_af7c, 0x175b_2c76_b8e8_0727],
            ),
        ] {
            let key = Threefry::new(7, partitionable);
            for (key, want) in [key, key.split(3, 1), key.fold_in(9)].into_iter().zip(want) {
                assert_eq!(fnv(&drawn(key, law, Dtype::F32, 1001)), want, "{key:?}");
            }
            for (dtype, want) in [Dtype::Bf16, Dtype::F16].into_iter().zip(halves) {
                assert_eq!(fnv(&drawn(key, one, dtype, 1001)), want, "{dtype} {partitionable}");
            }
        }
    }

    #[test]
    fn normal_draws_are_normal_and_truncated_ones_truncated() {
        let key = Threefry::new(1, true);
        let values = drawn(key, Law::Normal { mean: 0.0, std: 1.0 }, Dtype::F32, 20_000);
        let square = values.iter().map(|v| v * v).sum::<f64>() / 20_000.0;
        assert!((square - 1.0).abs() < 0.05, "{square}");
        let values = drawn(key, Law::Truncated { low: -2.0, high: 2.0 }, Dtype::F32, 20_000);
        let square = values.iter().map(|v| v * v).sum::<f64>() / 20_000.0;
        assert!((square - 0.879_625_66_f64.powi(2)).abs() < 0.03 && values.iter().all(|v| v.abs() <= 2.0), "{square}");
    }
}
