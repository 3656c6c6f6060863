//! numpy's generators: `default_rng` (`SeedSequence`, PCG64, ziggurat) and `RandomState` (MT19937, polar method).

use super::mt19937::Mt19937;
use super::ziggurat::{TAIL, TAIL_INVERSE, tables};
use super::{Fill, Law};
use crate::{Dtype, Rounding, round};

/// Elements that are drawn and handed on at a time.
const CHUNK: u64 = 1 << 16;

/// The permuted congruential generator PCG64 (XSL-RR 128/64, O'Neill 2014), as numpy seeds it.
#[derive(Clone, Debug)]
pub struct Pcg64 {
    state: u128,
    increment: u128,
    /// The upper half of a word whose lower half was handed out.
    half: Option<u32>,
}

impl Pcg64 {
    /// `numpy.random.PCG64(seed)`: the seed through `SeedSequence`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let words = seed_sequence(seed);
        let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        let mut generator = Self { state: 0, increment: wide(words[2], words[3]) << 1 | 1, half: None };
        generator.step();
        generator.state = generator.state.wrapping_add(wide(words[0], words[1]));
        generator.step();
        generator
    }

    fn step(&mut self) {
        const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }

    /// The next 64 bits.
    #[allow(clippy::cast_possible_truncation)] // the halves are what is wanted
    pub fn next_word(&mut self) -> u64 {
        self.step();
        let mixed = (self.state >> 64) as u64 ^ self.state as u64;
        mixed.rotate_right((self.state >> 122) as u32)
    }

    /// The next 32 bits: the lower half of a word, then its upper half.
    #[allow(clippy::cast_possible_truncation)]
    fn next_half(&mut self) -> u32 {
        self.half.take().unwrap_or_else(|| {
            let word = self.next_word();
            self.half = Some((word >> 32) as u32);
            word as u32
        })
    }

    fn double(&mut self) -> f64 {
        whole(self.next_word() >> 11) * 2.0_f64.powi(-53)
    }

    #[allow(clippy::cast_precision_loss)] // 24 bits
    fn single(&mut self) -> f32 {
        (self.next_half() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    fn normal(&mut self) -> f64 {
        let t = tables();
        loop {
            let word = self.next_word();
            let strip = usize::from(word.to_le_bytes()[0]);
            let size = word >> 9 & ((1 << 52) - 1);
            let x = whole(size) * t.width[strip];
            let x = if word >> 8 & 1 == 1 { -x } else { x };
            if size < t.core[strip] {
                return x;
            }
            if strip == 0 {
                loop {
                    let over = -TAIL_INVERSE * (-self.double()).ln_1p();
                    let y = -(-self.double()).ln_1p();
                    if y + y > over * over {
                        return if size >> 8 & 1 == 1 { -(TAIL + over) } else { TAIL + over };
                    }
                }
            }
            let (above, below) = (t.density[strip - 1], t.density[strip]);
            if (above - below) * self.double() + below < (-0.5 * x * x).exp() {
                return x;
            }
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // 23 bits
    fn normal_single(&mut self) -> f32 {
        let t = tables();
        loop {
            let word = self.next_half();
            let strip = usize::from(word.to_le_bytes()[0]);
            let size = word >> 9 & 0x007f_ffff;
            let x = size as f32 * t.width_single[strip];
            let x = if word >> 8 & 1 == 1 { -x } else { x };
            if size < t.core_single[strip] {
                return x;
            }
            if strip == 0 {
                loop {
                    let over = -(TAIL_INVERSE as f32) * (-self.single()).ln_1p();
                    let y = -(-self.single()).ln_1p();
                    if y + y > over * over {
                        let x = TAIL as f32 + over;
                        return if size >> 8 & 1 == 1 { -x } else { x };
                    }
                }
            }
            let (above, below) = (t.density_single[strip - 1], t.density_single[strip]);
            if (above - below) * self.single() + below < (-0.5 * x * x).exp() {
                return x;
            }
        }
    }

    /// Leaves out `count` words of 64 bits.
    pub fn skip(&mut self, count: u64) {
        // The step is affine, so that many of them are one whose factors come by squaring.
        let (mut factor, mut sum, mut rest) = (1_u128, 0_u128, count);
        let (mut by, mut plus) = (0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645_u128, self.increment);
        while rest > 0 {
            if rest & 1 == 1 {
                factor = factor.wrapping_mul(by);
                sum = sum.wrapping_mul(by).wrapping_add(plus);
            }
            plus = plus.wrapping_mul(by.wrapping_add(1));
            by = by.wrapping_mul(by);
            rest >>= 1;
        }
        self.state = self.state.wrapping_mul(factor).wrapping_add(sum);
    }

    /// Draws, as `normal`, `uniform`, or for single precision `standard_normal` and `random` scaled.
    ///
    /// # Errors
    /// What `take` fails with.
    #[allow(clippy::cast_possible_truncation)] // scale and offset are rounded to the format
    pub fn draw<E>(&mut self, fill: &Fill, take: &mut impl FnMut(u64, &[f64]) -> Result<(), E>) -> Result<(), E> {
        let wide = fill.dtype == Dtype::F64;
        stretches(fill, take, || match fill.law {
            Law::Normal { mean, std } if wide => mean + std * self.normal(),
            Law::Uniform { low, high } if wide => low + (high - low) * self.double(),
            Law::Normal { mean, std } => f64::from(mean as f32 + std as f32 * self.normal_single()),
            Law::Uniform { low, high } => f64::from(low as f32 + (high as f32 - low as f32) * self.single()),
            Law::Truncated { .. } => f64::NAN,
        })
    }
}

/// `numpy.random.RandomState(seed)`.
#[derive(Clone, Debug)]
pub struct Legacy {
    words: Mt19937,
    /// The second value of a pair.
    kept: Option<f64>,
}

impl Legacy {
    /// The generator of a seed below 2^32.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { words: Mt19937::new(seed), kept: None }
    }

    /// Leaves out `count` words of 32 bits.
    pub fn skip(&mut self, count: u64) {
        self.words.skip(count);
    }

    fn double(&mut self) -> f64 {
        let (a, b) = (self.words.next_word() >> 5, self.words.next_word() >> 6);
        (f64::from(a) * 67_108_864.0 + f64::from(b)) / 9_007_199_254_740_992.0
    }

    fn normal(&mut self) -> f64 {
        self.kept.take().unwrap_or_else(|| {
            loop {
                let (x, y) = (2.0 * self.double() - 1.0, 2.0 * self.double() - 1.0);
                let square = x * x + y * y;
                if square < 1.0 && square != 0.0 {
                    let factor = (-2.0 * square.ln() / square).sqrt();
                    self.kept = Some(factor * x);
                    return factor * y;
                }
            }
        })
    }

    /// Draws, as `normal` and `uniform`.
    ///
    /// # Errors
    /// What `take` fails with.
    pub fn draw<E>(&mut self, fill: &Fill, take: &mut impl FnMut(u64, &[f64]) -> Result<(), E>) -> Result<(), E> {
        stretches(fill, take, || match fill.law {
            Law::Normal { mean, std } => mean + std * self.normal(),
            Law::Uniform { low, high } => low + (high - low) * self.double(),
            Law::Truncated { .. } => f64::NAN,
        })
    }
}

/// Hands on what `next` draws, in the format of the fill.
fn stretches<E>(
    fill: &Fill,
    take: &mut impl FnMut(u64, &[f64]) -> Result<(), E>,
    mut next: impl FnMut() -> f64,
) -> Result<(), E> {
    let mut values = Vec::new();
    let mut start = 0;
    while start < fill.count {
        values.clear();
        let count = (fill.count - start).min(CHUNK);
        values.extend((0..count).map(|_| round(next(), fill.dtype, Rounding::Nearest)));
        take(start, &values)?;
        start += count;
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)] // 53 bits
fn whole(bits: u64) -> f64 {
    bits as f64
}

/// `SeedSequence(seed).generate_state(4, uint64)` (O'Neill's `seed_seq_fe`).
fn seed_sequence(seed: u64) -> [u64; 4] {
    const A: (u32, u32) = (0x43b0_d7e5, 0x931e_8875);
    const B: (u32, u32) = (0x8b51_f9dd, 0x58f3_8ded);
    let mut constant = A.0;
    let mut hash = |value: u32| {
        let value = value ^ constant;
        constant = constant.wrapping_mul(A.1);
        let value = value.wrapping_mul(constant);
        value ^ value >> 16
    };
    #[allow(clippy::cast_possible_truncation)]
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(&mut hash);
    for from in 0..4 {
        for to in (0..4).filter(|to| *to != from) {
            let mixed = pool[to].wrapping_mul(0xca01_f9dd).wrapping_sub(hash(pool[from]).wrapping_mul(0x4973_f715));
            pool[to] = mixed ^ mixed >> 16;
        }
    }
    let mut constant = B.0;
    let words: [u32; 8] = std::array::from_fn(|i| {
        let value = pool[i % 4] ^ constant;
        constant = constant.wrapping_mul(B.1);
        let value = value.wrapping_mul(constant);
        value ^ value >> 16
    });
    std::array::from_fn(|i| u64::from(words[2 * i]) | u64::from(words[2 * i + 1]) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::testing::fnv;

    fn fill(law: Law, dtype: Dtype, count: u64) -> Fill {
        Fill { law, dtype, count, contiguous: true, redraw: None }
    }

    fn drawn(mut draw: impl FnMut(&mut dyn FnMut(u64, &[f64]) -> Result<(), ()>) -> Result<(), ()>) -> Vec<f64> {
        let mut all = Vec::new();
        draw(&mut |_, values| {
            all.extend_from_slice(values);
            Ok(())
        })
        .expect("nothing fails");
        all
    }

    // Every figure below is of numpy 2.4.6, by fixtures/replay/reference.py.

    #[test]
    fn draws_are_those_of_default_rng() {
        let normal = Law::Normal { mean: 0.5, std: 1.7 };
        let uniform = Law::Uniform { low: -0.3, high: 0.7 };
        for (seed, first, second) in [
            (0, 0x56cf_d9fd_b31e_76cd, 0x7275_bc2e_6ccd_0f52),
            (7, 0xacec_8f3f_23bd_ddbb, 0x4982_dff1_d307_8aa9),
            ((1 << 40) + 5, 0x1fc1_1573_10ad_f4e1, 0x0d3a_494a_c197_41a3),
        ] {
            let mut generator = Pcg64::new(seed);
            let values = drawn(|take| generator.draw(&fill(normal, Dtype::F64, 100_003), &mut |s, v| take(s, v)));
            assert_eq!(fnv(&values), first, "{seed}");
            let values = drawn(|take| generator.draw(&fill(uniform, Dtype::F64, 1001), &mut |s, v| take(s, v)));
            assert_eq!(fnv(&values), second, "{seed}");
        }
        let unit = Law::Normal { mean: 0.0, std: 1.0 };
        let mut generator = Pcg64::new(7);
        let values = drawn(|take| generator.draw(&fill(unit, Dtype::F32, 10_003), &mut |s, v| take(s, v)));
        assert_eq!(fnv(&values), 0x25a8_0d48_3c80_1c0a);
        let one = Law::Uniform { low: 0.0, high: 1.0 };
        let values = drawn(|take| generator.draw(&fill(one, Dtype::F32, 1001), &mut |s, v| take(s, v)));
        assert_eq!(fnv(&values), 0xe978_3a80_dc19_faf5);
        let values = drawn(|take| generator.draw(&fill(unit, Dtype::F64, 5), &mut |s, v| take(s, v)));
        assert_eq!(fnv(&values), 0x025c_fa2e_3456_0b76);
    }

    #[test]
    fn draws_are_those_of_random_state() {
        let mut generator = Legacy::new(7);
        for (law, count, want) in [
            (Law::Normal { mean: 0.5, std: 1.7 }, 10_003, 0x5f69_14a5_5c1d_95ff),
            (Law::Uniform { low: -0.3, high: 0.7 }, 1001, 0x3514_cd94_d532_43d1),
            (Law::Normal { mean: 0.0, std: 1.0 }, 4, 0xfa38_cea5_5a03_a3bf_u64),
        ] {
            let values = drawn(|take| generator.draw(&fill(law, Dtype::F64, count), &mut |s, v| take(s, v)));
            assert_eq!(fnv(&values), want);
        }
    }

    #[test]
    fn a_skip_is_as_many_words_left_out() {
        for count in [0, 1, 2, 3, 1000, 12_345] {
            let (mut a, mut b) = (Pcg64::new(9), Pcg64::new(9));
            a.skip(count);
            (0..count).for_each(|_| {
                b.next_word();
            });
            assert_eq!(a.next_word(), b.next_word(), "{count}");
        }
    }
}
