//! Two tensors element by element: what a Gram matrix cannot tell (METHODS 1: order statistics and counts).
//!
//! Every figure is a count, a set of the largest, or a sum kept by tile, so that tiles can be added in any order.

#![allow(clippy::float_cmp)] // equal is what is asked here

use serde::{Deserialize, Serialize};

use super::elements::{Counts, between, count, distance, largest, products};
use super::{Dtype, level};

/// Largest values whose places are compared.
pub const EXTREMES: usize = 32;

/// Values that are looked at one by one only if the largest of them is one of the largest of all.
const LOOKED: usize = 256;

/// Cosine above which two rows are taken to have one direction.
pub const ONE_DIRECTION: f64 = 0.999;

/// How a number was brought to a coarser format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rounding {
    /// To the nearest, ties to even: what every framework does.
    Nearest,
    /// Towards zero: the upper bits of the number.
    Truncated,
}

/// Fraction bits, exponent of the smallest normal number and the largest number of a format; `None` for formats that
/// every decoded value is in.
fn grid(dtype: Dtype) -> Option<(i32, i32, f64)> {
    match dtype {
        Dtype::F32 => Some((23, -126, f64::from(f32::MAX))),
        Dtype::Bf16 => Some((7, -126, 3.389_531_389_251_535_5e38)),
        Dtype::F16 => Some((10, -14, 65504.0)),
        Dtype::F8E4M3 => Some((3, -6, 448.0)),
        Dtype::F8E5M2 => Some((2, -14, 57344.0)),
        _ => None,
    }
}

/// The value in another format; infinite beyond its range.
#[must_use]
pub fn round(value: f64, dtype: Dtype, rounding: Rounding) -> f64 {
    let Some((bits, least, most)) = grid(dtype) else { return value };
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let exponent = i32::try_from(value.to_bits() >> 52 & 0x7ff).unwrap_or(0) - 1023;
    let quantum = power_of_two(exponent.max(least) - bits);
    let steps = value / quantum;
    let whole = match rounding {
        Rounding::Nearest => steps.round_ties_even(),
        Rounding::Truncated => steps.trunc(),
    };
    let rounded = whole * quantum;
    if rounded.abs() > most { f64::INFINITY.copysign(value) } else { rounded }
}

/// 2^exponent for a normal exponent.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(u64::try_from(exponent + 1023).unwrap_or(0) << 52)
}

/// The coarsest format that holds all of the values: bf16 weights stored as f32 are bf16 weights. A tensor of nothing but
/// zeros says nothing and keeps its own.
#[must_use]
pub fn finest_needed(values: &[f64], dtype: Dtype) -> Dtype {
    let Some(own) = dtype.fraction_bits() else { return dtype };
    if values.iter().all(|v| *v == 0.0) {
        return dtype;
    }
    let coarser = [Dtype::F8E5M2, Dtype::F8E4M3, Dtype::Bf16, Dtype::F16, Dtype::F32];
    let fits = |format: &Dtype| values.iter().all(|v| round(*v, *format, Rounding::Nearest) == *v);
    coarser.into_iter().filter(|f| f.fraction_bits().is_some_and(|bits| bits < own)).find(fits).unwrap_or(dtype)
}

/// Orders absolute values as their bits do; what fits in 32 bits keeps the lower half of the key zero.
fn key(value: f64, wide: bool) -> u64 {
    if wide {
        value.abs().to_bits()
    } else {
        #[allow(clippy::cast_possible_truncation)]
        let narrow = (value as f32).abs();
        u64::from(narrow.to_bits()) << 32
    }
}

fn unkey(key: u64, wide: bool) -> f64 {
    if wide { f64::from_bits(key) } else { f64::from(f32::from_bits(u32::try_from(key >> 32).unwrap_or(0))) }
}

/// Order statistics of absolute values without a sort: radix selection, sixteen bits of the key a pass. Exact.
#[derive(Clone, Debug)]
pub struct Quantile {
    wide: bool,
    /// What is known of the keys of the two order statistics, and their ranks among the keys that begin so.
    targets: [(u64, u64); 2],
    /// Bits of the prefixes.
    known: u32,
    /// Between the two, for the linear interpolation.
    fraction: f64,
    counts: Vec<Vec<u64>>,
    /// The keys themselves where they are few.
    held: Option<Vec<u64>>,
}

const DIGIT: u32 = 16;

/// Values up to which the keys are held: a pass of counts costs as much.
const FEW: u64 = 1 << 16;

impl Quantile {
    /// For `n` values of a format, the `q` quantile as numpy's `linear` method has it.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn new(n: u64, q: f64, dtype: Dtype) -> Self {
        let place = q * n.saturating_sub(1) as f64;
        let low = place.floor();
        let next = (low as u64 + 1).min(n.saturating_sub(1));
        let wide = matches!(dtype, Dtype::F64 | Dtype::I64 | Dtype::U64 | Dtype::I32 | Dtype::U32);
        let targets = [(0, low as u64), (0, next)];
        let held = (n <= FEW).then(Vec::new);
        Self { wide, targets, known: 0, fraction: place - low, counts: vec![Vec::new(); 2], held }
    }

    /// Whether another pass is needed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.known < if self.wide { 64 } else { 32 }
    }

    /// The same state with nothing counted, for another thread.
    #[must_use]
    pub fn fork(&self) -> Self {
        let held = self.held.is_some().then(Vec::new);
        Self {
            wide: self.wide,
            targets: self.targets,
            known: self.known,
            fraction: self.fraction,
            counts: vec![Vec::new(); 2],
            held,
        }
    }

    /// Counts values in this pass.
    pub fn add(&mut self, values: &[f64]) {
        if let Some(held) = &mut self.held {
            held.extend(values.iter().map(|value| key(*value, self.wide)));
            return;
        }
        let shift = 64 - DIGIT - self.known;
        let alone = self.targets[0].0 == self.targets[1].0;
        for (target, counts) in self.counts.iter_mut().enumerate() {
            if target == 1 && alone {
                continue;
            }
            counts.resize(1 << DIGIT, 0);
            let prefix = self.targets[target].0;
            for value in values {
                let key = key(*value, self.wide);
                // In the first pass there is no prefix, and a shift by all bits is none.
                if self.known == 0 || key >> (64 - self.known) == prefix {
                    counts[(key >> shift & 0xffff) as usize] += 1;
                }
            }
        }
    }

    /// Adds what another thread counted in this pass.
    pub fn merge(&mut self, other: &Self) {
        if let (Some(own), Some(theirs)) = (&mut self.held, &other.held) {
            own.extend(theirs);
        }
        for (own, theirs) in self.counts.iter_mut().zip(&other.counts) {
            own.resize(own.len().max(theirs.len()), 0);
            own.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        }
    }

    /// Ends a pass.
    pub fn narrow(&mut self) {
        if let Some(held) = &mut self.held {
            self.known = if self.wide { 64 } else { 32 };
            for (prefix, rank) in &mut self.targets {
                let rank = usize::try_from(*rank).unwrap_or(usize::MAX);
                if rank < held.len() {
                    let (_, key, _) = held.select_nth_unstable(rank);
                    *prefix = *key >> (64 - self.known);
                }
            }
            return;
        }
        let alone = self.targets[0].0 == self.targets[1].0;
        for target in 0..2 {
            let counts = &self.counts[if alone { 0 } else { target }];
            let (prefix, mut rank) = self.targets[target];
            let mut digit = 0;
            for (at, &count) in counts.iter().enumerate() {
                digit = at as u64;
                if rank < count {
                    break;
                }
                rank -= count;
            }
            self.targets[target] = (prefix << DIGIT | digit, rank);
        }
        self.known += DIGIT;
        self.counts = vec![Vec::new(); 2];
    }

    /// The quantile, once no pass is needed.
    #[must_use]
    pub fn value(&self) -> f64 {
        let [low, high] =
            self.targets.map(|(prefix, _)| unkey(if self.wide { prefix } else { prefix << 32 }, self.wide));
        between(low, high, self.fraction)
    }
}

/// Places of the largest absolute values; of equal ones the first.
#[derive(Clone, Debug, Default)]
pub struct Extremes(Vec<(u64, u64)>);

impl Extremes {
    /// Looks at values that begin at place `start`.
    pub fn add(&mut self, values: &[f64], start: u64) {
        for (part, values) in values.chunks(LOOKED).enumerate() {
            let mut most = 0;
            largest(level(), values, &mut most);
            if self.0.len() == EXTREMES && self.0.last().is_some_and(|last| most < last.0) {
                continue;
            }
            for (at, value) in values.iter().enumerate() {
                let bits = value.abs().to_bits();
                if self.0.len() < EXTREMES || self.0.last().is_some_and(|last| bits >= last.0) {
                    self.put((bits, start + (part * LOOKED + at) as u64));
                }
            }
        }
    }

    fn put(&mut self, item: (u64, u64)) {
        let at = self.0.partition_point(|x| (x.0, std::cmp::Reverse(x.1)) > (item.0, std::cmp::Reverse(item.1)));
        self.0.insert(at, item);
        self.0.truncate(EXTREMES);
    }

    /// Adds what another thread found.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|item| self.put(*item));
    }

    /// How many places.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many places both have.
    #[must_use]
    pub fn shared(&self, other: &Self) -> usize {
        self.0.iter().filter(|(_, place)| other.0.iter().any(|(_, p)| p == place)).count()
    }
}

/// A row that two tensors share: equal, or of one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SharedRow {
    /// Which, counted over the whole tensor.
    pub row: u64,
    /// Whether it is equal under each rounding.
    pub equal: [bool; 2],
    /// <a, b> / <b, b>, if the cosine is above [`ONE_DIRECTION`].
    pub ratio: Option<f64>,
}

/// How two tensors are compared: in which formats, and how long a row is.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// The formats that the two really have.
    pub formats: [Dtype; 2],
    /// Elements of a row; `None` where rows mean nothing.
    pub row: Option<usize>,
}

impl Comparison {
    /// The format both are brought to, if they have two; the coarser one.
    #[must_use]
    pub fn common(&self) -> Option<Dtype> {
        let [a, b] = self.formats;
        let bits = |dtype: Dtype| dtype.fraction_bits().unwrap_or(64);
        (a != b).then_some(if bits(b) < bits(a) { b } else { a })
    }

    fn equal(&self, a: f64, b: f64, rounding: Rounding) -> bool {
        let Some(common) = self.common() else { return a == b };
        let [fine, coarse] = if common == self.formats[0] { [b, a] } else { [a, b] };
        let other = if common == self.formats[0] { self.formats[1] } else { self.formats[0] };
        // The wider range may be the coarser format's: bf16 brought to f16 is compared there.
        round(fine, common, rounding) == coarse || round(coarse, other, rounding) == fine
    }
}

/// Half a unit of the last of three bits of mantissa (f8 e4m3), of the value; a hair more for what was rounded twice.
const EIGHT_BITS: f64 = 1.01 / 16.0;

/// What the tiles of two tensors gave.
#[derive(Clone, Debug, Default)]
pub struct ElementwiseSums {
    /// By tile: sum of |a - b|, and of the centred rows that are not shared <a, b>, |a|^2, |b|^2.
    pub sums: Vec<(usize, [f64; 4])>,
    /// Elements outside constant rows.
    pub compared: u64,
    /// Of those, equal ones under each rounding.
    pub equal: [u64; 2],
    /// Equal ones with the second tensor moved by a row: what unrelated models in these formats show.
    pub shifted: u64,
    /// Those that differ by no more than a rounding to three bits of mantissa, whatever scale it was made on.
    pub eight_bits: u64,
    /// Elements that are not finite in one of the two.
    pub nonfinite: u64,
    /// Rows that are shared and not constant.
    pub rows: Vec<SharedRow>,
    /// The largest of each.
    pub extremes: [Extremes; 2],
}

impl ElementwiseSums {
    /// Looks at one tile: `a` and `b` begin at element `start`, at the beginning of a row.
    ///
    /// # Panics
    /// If the two are not of one length.
    pub fn add(&mut self, tile: usize, start: u64, [a, b]: [&[f64]; 2], how: &Comparison) {
        assert_eq!(a.len(), b.len(), "two spans of one length");
        let level = level();
        let mut whole = (0.0, 0);
        distance(level, a, b, &mut whole);
        self.nonfinite += a.len() as u64 - whole.1;
        let mut sums = [whole.0, 0.0, 0.0, 0.0];
        let length = how.row.unwrap_or(a.len()).max(1);
        let shift = if length < a.len() { length } else { 1 };
        let common = how.common();
        for (at, (x, y)) in a.chunks(length).zip(b.chunks(length)).enumerate() {
            if how.row.is_some() && (constant(x) || constant(y)) {
                continue;
            }
            // What stands a row further on, round the end of the tile.
            let begin = (at * length + shift) % b.len();
            let mut equal = [0_u64; 2];
            if common.is_none() {
                let mut counts = Counts::default();
                let before = x.len().min(b.len() - begin);
                count(level, &x[..before], &y[..before], &b[begin..begin + before], EIGHT_BITS, &mut counts);
                let rest = &b[..x.len() - before];
                count(level, &x[before..], &y[before..], rest, EIGHT_BITS, &mut counts);
                equal = [counts.equal; 2];
                self.shifted += counts.shifted;
                self.eight_bits += counts.near;
            } else {
                let moved = b[begin..].iter().chain(&b[..begin]);
                for ((p, q), moved) in x.iter().zip(y).zip(moved) {
                    equal[0] += u64::from(how.equal(*p, *q, Rounding::Nearest));
                    equal[1] += u64::from(how.equal(*p, *q, Rounding::Truncated));
                    self.shifted += u64::from(how.equal(*p, *moved, Rounding::Nearest));
                    self.eight_bits += u64::from((p - q).abs() <= EIGHT_BITS * p.abs().max(q.abs()));
                }
            }
            self.compared += x.len() as u64;
            self.equal[0] += equal[0];
            self.equal[1] += equal[1];
            if how.row.is_none() {
                continue;
            }
            let whole = equal.map(|count| count == x.len() as u64);
            let mut plain = [0.0; 5];
            products(level, x, y, [0.0; 2], &mut plain);
            let [ab, aa, bb, ..] = plain;
            let near = ab > ONE_DIRECTION * (aa * bb).sqrt();
            if whole != [false; 2] || near {
                let row = start / length as u64 + at as u64;
                self.rows.push(SharedRow { row, equal: whole, ratio: near.then_some(ab / bb) });
            } else {
                let n = x.len() as f64;
                let mut rest = [0.0; 5];
                products(level, x, y, [plain[3] / n, plain[4] / n], &mut rest);
                sums[1..].iter_mut().zip(rest).for_each(|(sum, part)| *sum += part);
            }
        }
        self.sums.push((tile, sums));
        self.extremes[0].add(a, start);
        self.extremes[1].add(b, start);
    }

    /// Adds what other tiles gave.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.sums.extend(other.sums);
        self.rows.extend(other.rows);
        self.compared += other.compared;
        self.shifted += other.shifted;
        self.eight_bits += other.eight_bits;
        self.nonfinite += other.nonfinite;
        for at in 0..2 {
            self.equal[at] += other.equal[at];
            self.extremes[at].merge(&other.extremes[at]);
        }
        self
    }

    /// The sums over all tiles in their order, and the rows in theirs.
    pub fn finish(&mut self) -> [f64; 4] {
        self.sums.sort_by_key(|(tile, _)| *tile);
        self.rows.sort_by_key(|row| row.row);
        self.sums.iter().fold([0.0; 4], |sum, (_, part)| std::array::from_fn(|at| sum[at] + part[at]))
    }
}

fn constant(values: &[f64]) -> bool {
    values.iter().all(|value| *value == values[0])
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small numbers
mod tests {
    use super::*;

    fn numbers(n: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 24) - 0.5
        };
        (0..n).map(|_| f64::from((0..6).map(|_| next()).sum::<f64>() as f32)).collect()
    }

    #[test]
    fn rounding_agrees_with_the_half_crate() {
        for value in numbers(20_000, 3).into_iter().flat_map(|v| [v, v * 1e-4, v * 3e-5, v * 1e-7, v * 1e-40]) {
            let narrow = value as f32;
            let value = f64::from(narrow);
            assert_eq!(
                round(value, Dtype::Bf16, Rounding::Nearest),
                half::bf16::from_f32(narrow).to_f64(),
                "{value:e}"
            );
            assert_eq!(round(value, Dtype::F16, Rounding::Nearest), half::f16::from_f32(narrow).to_f64(), "{value:e}");
            let cut = f32::from_bits(narrow.to_bits() & 0xffff_0000);
            assert_eq!(round(value, Dtype::Bf16, Rounding::Truncated), f64::from(cut), "{value:e}");
        }
        // Ties to even, the largest numbers and the subnormals of the 8-bit formats (OCP 8-bit specification).
        let cases = [(17.0, 16.0), (19.0, 20.0), (448.0, 448.0), (1.0 / 512.0, 1.0 / 512.0), (1.0 / 1024.0, 0.0)];
        for (value, rounded) in cases {
            assert_eq!(round(value, Dtype::F8E4M3, Rounding::Nearest), rounded, "{value}");
        }
        assert!(round(1e9, Dtype::F8E4M3, Rounding::Nearest).is_infinite());
        assert_eq!(round(-1e30, Dtype::F64, Rounding::Nearest), -1e30);
    }

    #[test]
    fn the_format_that_is_needed_is_seen() {
        let values = numbers(500, 4);
        assert_eq!(finest_needed(&values, Dtype::F32), Dtype::F32);
        for format in [Dtype::Bf16, Dtype::F16, Dtype::F8E4M3, Dtype::F8E5M2] {
            let rounded: Vec<f64> = values.iter().map(|v| round(*v, format, Rounding::Nearest)).collect();
            assert_eq!(finest_needed(&rounded, Dtype::F32), format);
        }
        assert_eq!(finest_needed(&[0.0; 9], Dtype::F32), Dtype::F32);
    }

    /// Against a sort, for any length and any split, in narrow and wide formats.
    #[test]
    fn quantiles_are_those_of_a_sort() {
        for (n, dtype) in [
            (1, Dtype::F32),
            (2, Dtype::F32),
            (101, Dtype::F64),
            (70_001, Dtype::F64),
            (70_002, Dtype::F32),
            (66_000, Dtype::Bf16),
        ] {
            let values: Vec<f64> = numbers(n, n as u64).iter().map(|v| round(*v, dtype, Rounding::Nearest)).collect();
            let mut sorted: Vec<f64> = values.iter().map(|v| v.abs()).collect();
            sorted.sort_by(f64::total_cmp);
            let place = 0.99 * (n - 1) as f64;
            let (low, t) = (place.floor() as usize, place.fract());
            let expected = sorted[low] + (sorted[(low + 1).min(n - 1)] - sorted[low]) * t;
            let mut quantile = Quantile::new(n as u64, 0.99, dtype);
            while quantile.is_open() {
                let mut other = quantile.fork();
                quantile.add(&values[..n / 3]);
                other.add(&values[n / 3..]);
                quantile.merge(&other);
                quantile.narrow();
            }
            assert!(
                (quantile.value() - expected).abs() <= 1e-15 * expected.abs(),
                "{n}: {} {expected}",
                quantile.value()
            );
        }
    }

    #[test]
    fn tiles_in_any_order_give_the_same() {
        let (a, mut b) = (numbers(64 * 16, 1), numbers(64 * 16, 2));
        b[5 * 16..9 * 16].copy_from_slice(&a[5 * 16..9 * 16]);
        for (x, y) in b[20 * 16..22 * 16].iter_mut().zip(&a[20 * 16..22 * 16]) {
            *x = y / 0.9;
        }
        b[40 * 16..41 * 16].fill(1.0);
        let how = Comparison { formats: [Dtype::F32; 2], row: Some(16) };
        let part = |tile: usize| {
            let span = tile * 256..(tile + 1) * 256;
            let mut sums = ElementwiseSums::default();
            sums.add(tile, span.start as u64, [&a[span.clone()], &b[span]], &how);
            sums
        };
        let mut forward = (0..4).map(part).reduce(ElementwiseSums::merge).expect("tiles");
        let mut backward = (0..4).rev().map(part).reduce(ElementwiseSums::merge).expect("tiles");
        assert_eq!(forward.finish().map(f64::to_bits), backward.finish().map(f64::to_bits));
        assert_eq!(forward.rows, backward.rows);
        let equal: Vec<u64> = forward.rows.iter().filter(|r| r.equal[0]).map(|r| r.row).collect();
        assert_eq!(equal, [5, 6, 7, 8]);
        let scaled: Vec<u64> = forward.rows.iter().filter(|r| !r.equal[0]).map(|r| r.row).collect();
        assert_eq!(scaled, [20, 21]);
        assert!(forward.rows.iter().filter(|r| r.row >= 20).all(|r| (r.ratio.expect("a ratio") - 0.9).abs() < 1e-12));
        assert_eq!((forward.compared, forward.equal, forward.shifted), (63 * 16, [64; 2], 0));
        let largest = |values: &[f64]| {
            let mut places: Vec<usize> = (0..values.len()).collect();
            places.sort_by(|x, y| values[*y].abs().total_cmp(&values[*x].abs()).then(x.cmp(y)));
            places.truncate(EXTREMES);
            places
        };
        let expected = largest(&a).into_iter().filter(|place| largest(&b).contains(place)).count();
        assert_eq!(forward.extremes[0].shared(&forward.extremes[1]), expected);
        assert_eq!(forward.extremes[0].shared(&backward.extremes[0]), EXTREMES);
    }

    #[test]
    fn a_cast_copy_is_equal_in_the_coarser_format() {
        let a = numbers(640, 9);
        for (rounding, at) in [(Rounding::Nearest, 0), (Rounding::Truncated, 1)] {
            for format in [Dtype::Bf16, Dtype::F16, Dtype::F8E4M3] {
                let b: Vec<f64> = a.iter().map(|v| round(*v, format, rounding)).collect();
                for (formats, pair) in [([Dtype::F32, format], [&a[..], &b]), ([format, Dtype::F32], [&b[..], &a])] {
                    let how = Comparison { formats, row: Some(64) };
                    let mut sums = ElementwiseSums::default();
                    sums.add(0, 0, pair, &how);
                    assert_eq!(sums.equal[at], 640, "{format} {rounding:?}");
                    assert!(sums.equal[1 - at] < 500 && sums.shifted < 300, "{sums:?}");
                }
            }
        }
    }
}
