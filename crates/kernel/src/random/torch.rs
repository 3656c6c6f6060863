//! The CPU generator of `PyTorch` and its uniform and normal fills, bit for bit.

use rayon::prelude::*;

use super::Law;
use super::mt19937::Mt19937;
use super::single::{arm_log, arm_sin_cos, cephes_log, cephes_sin_cos};
use crate::simd::{Lanes, simd};
use crate::{Dtype, Rounding, level, round};

/// Elements that are drawn and handed on at a time; a multiple of 16.
const CHUNK: usize = 1 << 18;

/// Elements that a thread transforms at a time; a multiple of 16.
const PIECE: usize = 1 << 13;

/// Rounds of drawing again after which it is given up: at the least acceptance of 0.3 that `trunc_normal_` does this
/// for, 10^12 elements are all within their bounds after 80.
const MOST_ROUNDS: usize = 200;

/// The builds of `PyTorch` whose draws differ in the last bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Build {
    /// The vector code for x86 processors with AVX2 and FMA, which also runs where there is AVX-512.
    Avx2,
    /// The same from a compiler that does not fuse multiplication and addition.
    Avx2Unfused,
    /// The portable code, the scale applied with a fused multiply-add (2026).
    Portable,
    /// The same before: the scale applied with two roundings.
    PortableUnfused,
}

impl Build {
    /// All of them, the commonest first.
    pub const ALL: [Self; 4] = [Self::Avx2, Self::Avx2Unfused, Self::Portable, Self::PortableUnfused];

    /// The name in tables and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx2 => "avx2",
            Self::Avx2Unfused => "avx2-unfused",
            Self::Portable => "portable",
            Self::PortableUnfused => "portable-unfused",
        }
    }

    /// Whether the compiler fuses the scale of a uniform draw with its offset.
    fn fuses(self) -> bool {
        self == Self::Avx2
    }
}

/// One call of a fill.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fill {
    /// What is drawn.
    pub law: Law,
    /// The format of the tensor that is filled.
    pub dtype: Dtype,
    /// Its elements.
    pub count: u64,
    /// Whether they lie one after the other; if not, a normal fill takes them one by one.
    pub contiguous: bool,
    /// The whole fill is drawn again for the elements outside these bounds, until there are none.
    pub redraw: Option<[f64; 2]>,
}

/// The generator that `torch.manual_seed` sets.
#[derive(Clone, Debug)]
pub struct TorchCpu {
    words: Mt19937,
    /// The second value of a pair of normal draws, kept for the next call.
    kept: Option<f64>,
}

impl TorchCpu {
    /// The generator after `torch.manual_seed(seed)`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { words: Mt19937::new(seed), kept: None }
    }

    /// Leaves out `count` words of 32 bits.
    pub fn skip(&mut self, count: u64) {
        self.words.skip(count);
    }

    /// Draws, and hands on every stretch of values, in order: `take(first element, values)`. The values are of the
    /// tensor's format.
    ///
    /// # Errors
    /// What `take` fails with.
    pub fn draw<E>(
        &mut self,
        fill: &Fill,
        build: Build,
        take: &mut impl FnMut(u64, &[f64]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some([low, high]) = fill.redraw else { return self.once(fill, build, take) };
        let mut kept: Vec<f64> = Vec::new();
        let mut outside = fill.count;
        // As `trunc_normal_` of 2026: the whole tensor is drawn again until no element is outside its bounds.
        for _ in 0..MOST_ROUNDS {
            if outside == 0 {
                break;
            }
            outside = 0;
            self.once(fill, build, &mut |start, values| {
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                for (i, value) in values.iter().enumerate() {
                    match kept.get_mut(start.saturating_add(i)) {
                        Some(old) if *old < low || *old > high => *old = *value,
                        Some(_) => {}
                        None => kept.push(*value),
                    }
                }
                Ok(())
            })?;
            outside += kept.iter().filter(|v| **v < low || **v > high).count() as u64;
        }
        take(0, &kept)
    }

    /// One fill.
    fn once<E>(
        &mut self,
        fill: &Fill,
        build: Build,
        take: &mut impl FnMut(u64, &[f64]) -> Result<(), E>,
    ) -> Result<(), E> {
        match fill.law {
            Law::Normal { mean, std } if fill.contiguous && fill.count >= 16 => {
                self.normal_blocks(fill, mean, std, build, take)
            }
            Law::Normal { mean, std } => self.normal_serial(fill, mean, std, take),
            Law::Uniform { low, high } => self.uniform(fill, low, high, build, take),
            // There is no such fill: it is a uniform one and the inverse error function.
            Law::Truncated { .. } => Ok(()),
        }
    }

    /// A double in [0, 1) from two words.
    fn double(&mut self) -> f64 {
        let mut words = [0; 2];
        self.words.fill(&mut words);
        double(words)
    }

    /// Pairs by Box and Muller in double precision; the second of a pair waits for the next element or the next call.
    fn normal_serial<E>(
        &mut self,
        fill: &Fill,
        mean: f64,
        std: f64,
        take: &mut impl FnMut(u64, &[f64]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut values = Vec::new();
        let mut start = 0;
        while start < fill.count {
            values.clear();
            let count = (fill.count - start).min(CHUNK as u64);
            for _ in 0..count {
                let sample = self.kept.take().unwrap_or_else(|| {
                    let (u1, u2) = (self.double(), self.double());
                    let radius = (-2.0 * (-u2).ln_1p()).sqrt();
                    let theta = 2.0 * std::f64::consts::PI * u1;
                    self.kept = Some(radius * theta.sin());
                    radius * theta.cos()
                });
                values.push(round(sample * std + mean, fill.dtype, Rounding::Nearest));
            }
            take(start, &values)?;
            start += count;
        }
        Ok(())
    }

    /// Blocks of 16 uniform draws to 16 normal ones; where the last block is not full, the last 16 elements are drawn
    /// anew.
    fn normal_blocks<E>(
        &mut self,
        fill: &Fill,
        mean: f64,
        std: f64,
        build: Build,
        take: &mut impl FnMut(u64, &[f64]) -> Result<(), E>,
    ) -> Result<(), E> {
        let over = fill.count % 16;
        let kept = if over == 0 { fill.count } else { fill.count - 16 };
        let mut start = 0;
        while start < fill.count - over {
            let count = chunk(fill.count - over - start);
            let values = self.blocks(fill.dtype, count, (mean, std), build);
            let wanted = usize::try_from(kept.saturating_sub(start)).unwrap_or(usize::MAX).min(values.len());
            if wanted > 0 {
                take(start, &values[..wanted])?;
            }
            start += count as u64;
        }
        if over > 0 {
            // The half formats draw into a buffer of 16, the others straight into the tensor.
            match fill.dtype {
                Dtype::F64 => self.words.skip(2 * over),
                Dtype::F32 => self.words.skip(over),
                _ => {}
            }
            take(kept, &self.blocks(fill.dtype, 16, (mean, std), build))?;
        }
        Ok(())
    }

    /// `count` elements, a multiple of 16.
    #[allow(clippy::cast_possible_truncation)] // scale and mean are rounded to the format, as the original does
    fn blocks(&mut self, dtype: Dtype, count: usize, (mean, std): (f64, f64), build: Build) -> Vec<f64> {
        let mut values = vec![0.0; count];
        if dtype == Dtype::F64 {
            let uniforms: Vec<f64> = (0..count).map(|_| self.double()).collect();
            values.par_chunks_mut(PIECE).zip(uniforms.par_chunks(PIECE)).for_each(|(values, uniforms)| {
                box_muller_double(uniforms, mean, std, values);
            });
            return values;
        }
        let mut words = vec![0; count];
        self.words.fill(&mut words);
        values.par_chunks_mut(PIECE).zip(words.par_chunks(PIECE)).for_each(|(values, words)| {
            box_muller(level(), build, words, mean as f32, std as f32, values);
            if dtype != Dtype::F32 {
                for value in values {
                    *value = round(*value, dtype, Rounding::Nearest);
                }
            }
        });
        values
    }

    #[allow(clippy::cast_possible_truncation)] // the bounds are rounded to the format, as the original does
    fn uniform<E>(
        &mut self,
        fill: &Fill,
        low: f64,
        high: f64,
        build: Build,
        take: &mut impl FnMut(u64, &[f64]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut start = 0;
        while start < fill.count {
            let count = chunk(fill.count - start);
            let mut words = vec![0; if fill.dtype == Dtype::F64 { 2 * count } else { count }];
            self.words.fill(&mut words);
            let mut values = vec![0.0; count];
            let fused = build.fuses();
            if fill.dtype == Dtype::F64 {
                for (value, pair) in values.iter_mut().zip(words.as_chunks::<2>().0) {
                    let x = double(*pair);
                    *value = if fused { x.mul_add(high - low, low) } else { x * (high - low) + low };
                }
            } else {
                values.par_chunks_mut(PIECE).zip(words.par_chunks(PIECE)).for_each(|(values, words)| {
                    scale(level(), fused, words, low as f32, high as f32, values);
                    if fill.dtype != Dtype::F32 {
                        let narrow = |x: f64| round(x, fill.dtype, Rounding::Nearest);
                        // The upper bound is not of the interval; a value rounded up to it becomes the lower one.
                        for value in values {
                            let rounded = narrow(*value);
                            *value = if rounded < narrow(high) { rounded } else { narrow(low) };
                        }
                    }
                });
            }
            take(start, &values)?;
            start += count as u64;
        }
        Ok(())
    }
}

fn chunk(left: u64) -> usize {
    usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK))
}

fn double([high, low]: [u32; 2]) -> f64 {
    let bits = (u64::from(high) << 32 | u64::from(low)) & ((1 << 53) - 1);
    #[allow(clippy::cast_precision_loss)] // 53 bits
    let whole = bits as f64;
    whole * 2.0_f64.powi(-53)
}

simd! {
    /// Words to normal values, each 16 of the one to 16 of the other.
    fn box_muller(build: Build, words: &[u32], mean: f32, std: f32, values: &mut [f64]) = box_muller_body
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn box_muller_body<L: Lanes>(_: L, build: Build, words: &[u32], mean: f32, std: f32, values: &mut [f64]) {
    match build {
        Build::Avx2 => vector(words, mean, std, values, true),
        Build::Avx2Unfused => vector(words, mean, std, values, false),
        Build::Portable => portable(words, mean, std, values, true),
        Build::PortableUnfused => portable(words, mean, std, values, false),
    }
}

#[inline(always)]
#[allow(clippy::inline_always, clippy::cast_precision_loss)] // 24 bits
fn unit(word: u32) -> f32 {
    (word & 0x00ff_ffff) as f32 * (1.0 / 16_777_216.0)
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn vector(words: &[u32], mean: f32, std: f32, values: &mut [f64], fused: bool) {
    for (words, values) in words.as_chunks::<16>().0.iter().zip(values.as_chunks_mut::<16>().0) {
        for j in 0..8 {
            let radius = (-2.0 * cephes_log(1.0 - unit(words[j]), fused)).sqrt();
            let (sin, cos) = cephes_sin_cos(std::f32::consts::TAU * unit(words[j + 8]), fused);
            values[j] = f64::from((radius * cos).mul_add(std, mean));
            values[j + 8] = f64::from((radius * sin).mul_add(std, mean));
        }
    }
}

#[inline(always)]
#[allow(clippy::inline_always, clippy::cast_possible_truncation)]
fn portable(words: &[u32], mean: f32, std: f32, values: &mut [f64], fused: bool) {
    let put = |x: f32| f64::from(if fused { x.mul_add(std, mean) } else { x * std + mean });
    for (words, values) in words.as_chunks::<16>().0.iter().zip(values.as_chunks_mut::<16>().0) {
        for j in 0..8 {
            let radius = (-2.0 * arm_log(1.0 - unit(words[j]))).sqrt();
            let (sin, cos) = arm_sin_cos((std::f64::consts::TAU * f64::from(unit(words[j + 8]))) as f32);
            values[j] = put(radius * cos);
            values[j + 8] = put(radius * sin);
        }
    }
}

/// The same in double precision, over the C library's functions.
fn box_muller_double(uniforms: &[f64], mean: f64, std: f64, values: &mut [f64]) {
    for (uniforms, values) in uniforms.as_chunks::<16>().0.iter().zip(values.as_chunks_mut::<16>().0) {
        for j in 0..8 {
            let radius = (-2.0 * (1.0 - uniforms[j]).ln()).sqrt();
            let theta = std::f64::consts::TAU * uniforms[j + 8];
            values[j] = (radius * theta.cos()).mul_add(std, mean);
            values[j + 8] = (radius * theta.sin()).mul_add(std, mean);
        }
    }
}

simd! {
    /// Words to uniform values in [low, high).
    fn scale(fused: bool, words: &[u32], low: f32, high: f32, values: &mut [f64]) = scale_body
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn scale_body<L: Lanes>(_: L, fused: bool, words: &[u32], low: f32, high: f32, values: &mut [f64]) {
    let width = high - low;
    for (value, word) in values.iter_mut().zip(words) {
        let x = unit(*word);
        *value = f64::from(if fused { x.mul_add(width, low) } else { x * width + low });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::testing::fnv;

    fn drawn(generator: &mut TorchCpu, fill: &Fill, build: Build) -> Vec<f64> {
        let mut all = Vec::new();
        let taken: Result<(), ()> = generator.draw(fill, build, &mut |start, values| {
            assert_eq!(start, all.len() as u64, "stretches come in order");
            all.extend_from_slice(values);
            Ok(())
        });
        assert!(taken.is_ok() && all.len() as u64 == fill.count);
        all
    }

    fn fill(law: Law, dtype: Dtype, count: u64) -> Fill {
        Fill { law, dtype, count, contiguous: true, redraw: None }
    }

    const NORMAL: Law = Law::Normal { mean: 0.5, std: 1.7 };
    const UNIFORM: Law = Law::Uniform { low: -0.3, high: 0.7 };

    // Every figure below is of torch 2.15.0, by fixtures/replay/reference.py.

    #[test]
    fn single_precision_draws_are_torchs_with_avx2_and_without() {
        for (build, count, want) in [
            (Build::Avx2, 16, 0xfb8b_a648_ef5b_af89),
            (Build::Avx2, 31, 0xa97a_4d19_0bcc_35c9),
            (Build::Avx2, 10_003, 0xfa60_2262_d4c7_4215),
            (Build::Portable, 16, 0x0ad1_86c6_0171_bbe0),
            (Build::Portable, 31, 0x7f54_5c5a_b6bd_2087),
            (Build::Portable, 10_003, 0x9f6d_5f9d_ec1d_f127),
        ] {
            let values = drawn(&mut TorchCpu::new(7), &fill(NORMAL, Dtype::F32, count), build);
            assert_eq!(fnv(&values), want, "{build:?} {count}");
        }
        let values = drawn(&mut TorchCpu::new(7), &fill(UNIFORM, Dtype::F32, 10_003), Build::Avx2);
        assert_eq!(fnv(&values), 0xbd61_e3db_e29b_b53c);
    }

    #[test]
    fn half_and_double_draws_are_torchs() {
        for (dtype, count, want) in [
            (Dtype::Bf16, 16, 0xd9a6_e52f_b5ec_8b27),
            (Dtype::Bf16, 31, 0xcc59_ee2c_f444_9296),
            (Dtype::Bf16, 10_003, 0x9e07_f281_1f91_f063),
            (Dtype::F16, 31, 0xe90f_c1fb_eddb_682f),
            (Dtype::F16, 10_003, 0xad21_6703_3ed9_0aa4),
        ] {
            let values = drawn(&mut TorchCpu::new(7), &fill(NORMAL, dtype, count), Build::Avx2);
            assert_eq!(fnv(&values), want, "{dtype} {count}");
        }
        let half = drawn(&mut TorchCpu::new(7), &fill(NORMAL, Dtype::F16, 10_003), Build::Portable);
        assert_eq!(fnv(&half), 0x83d9_671c_09f7_a0d0);
        for (dtype, want) in [
            (Dtype::Bf16, 0x99f0_fb28_cb60_d9fe),
            (Dtype::F16, 0x5edb_92a8_304d_4492),
            (Dtype::F64, 0x4492_08f9_2335_d125),
        ] {
            let values = drawn(&mut TorchCpu::new(7), &fill(UNIFORM, dtype, 10_003), Build::Avx2);
            assert_eq!(fnv(&values), want, "{dtype}");
        }
        // Double precision calls the C library, whose last bit may be another's: rounded to single it is the same.
        let double = drawn(&mut TorchCpu::new(7), &fill(NORMAL, Dtype::F64, 31), Build::Avx2);
        assert!((double[0] - 0.5).abs() < 1.7 * 8.0 && double[30].is_finite());
    }

    #[test]
    fn the_second_of_a_pair_waits_for_the_next_call() {
        let mut generator = TorchCpu::new(7);
        let unit = Law::Normal { mean: 0.0, std: 1.0 };
        let mut all = drawn(&mut generator, &fill(unit, Dtype::F32, 5), Build::Avx2);
        all.extend(drawn(&mut generator, &fill(Law::Uniform { low: 0.0, high: 1.0 }, Dtype::F32, 3), Build::Avx2));
        all.extend(drawn(&mut generator, &fill(Law::Normal { mean: 1.0, std: 2.0 }, Dtype::F32, 4), Build::Avx2));
        all.extend(drawn(&mut generator, &fill(unit, Dtype::F32, 40), Build::Avx2));
        assert_eq!(fnv(&all), 0x32e6_5fb2_fa68_3a13);
    }

    #[test]
    fn what_is_not_contiguous_is_drawn_one_by_one_and_what_is_out_of_bounds_again() {
        let serial = Fill { contiguous: false, ..fill(Law::Normal { mean: 0.0, std: 1.0 }, Dtype::F32, 600) };
        assert_eq!(fnv(&drawn(&mut TorchCpu::new(7), &serial, Build::Avx2)), 0x5cb2_73fb_bfaa_c4d2);
        let bounds = Fill { redraw: Some([-1.5, 2.0]), ..fill(Law::Normal { mean: 0.0, std: 1.0 }, Dtype::F32, 5000) };
        let values = drawn(&mut TorchCpu::new(7), &bounds, Build::Avx2);
        assert!(values.iter().all(|v| (-1.5..=2.0).contains(v)));
        assert_eq!(fnv(&values), 0xd600_fb2a_a26a_ed68);
        assert_eq!(fnv(&drawn(&mut TorchCpu::new(7), &bounds, Build::Portable)), 0x9da2_eb4a_7271_39a5);
    }

    #[test]
    fn long_draws_are_the_same_in_chunks() {
        // Above the size of a chunk, with a last block that is not full.
        let count = 2 * CHUNK as u64 + 7;
        let values = drawn(&mut TorchCpu::new(3), &fill(NORMAL, Dtype::F32, count), Build::Avx2);
        let mut words = vec![0; values.len() + 16];
        Mt19937::new(3).fill(&mut words);
        let mut whole = vec![0.0; 2 * CHUNK];
        box_muller(level(), Build::Avx2, &words[..2 * CHUNK], 0.5, 1.7, &mut whole);
        let mut tail = vec![0.0; 16];
        box_muller(level(), Build::Avx2, &words[values.len()..], 0.5, 1.7, &mut tail);
        assert_eq!(values[..values.len() - 16], whole[..values.len() - 16]);
        assert_eq!(values[values.len() - 16..], tail);
    }
}
