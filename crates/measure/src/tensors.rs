//! The sums of one tensor over all models: tiles from any thread, the same bits for any number of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::lines::{Lines, Share};
use super::pool;
use scratchproof_checkpoint::Component;
use scratchproof_kernel::{
    BLOCK, Dtype, Gram, GramShape, GramTile, Moments, Rows, View, centre, decode, finest_needed, normalise, trace,
    without_mean_row,
};
use scratchproof_measurements::{FAR_PLACE, Kept, Member, Plan, TensorFigures, Unit};

/// Elements of a tile: a multiple of [`BLOCK`].
pub(super) const TILE: usize = 256 * BLOCK;

/// Sampled elements of a tensor that are looked at for their number format.
const FORMAT_ELEMENTS: usize = 4096;

/// Rows of a matrix of the first checkpoint that the tests of the start sample at least, and of each matrix of a stack.
const START_ROWS: (usize, usize) = (256, 16);

/// Values of a stack that they sample at most.
const START_STACK: usize = 1 << 20;

/// What the tests of the start sample of a tensor of the first checkpoint. Other than the column test's sample it also
/// covers matrices without a residual axis, and has the same rows of every matrix of a stack.
struct StartSample {
    view: View,
    rows: Vec<usize>,
    values: Vec<AtomicU32>,
}

impl StartSample {
    fn new(unit: &Unit) -> Option<Self> {
        if !unit.in_subject() || unit.role.constant || !unit.role.known {
            return None;
        }
        let view = unit.matrices()?;
        let (hidden, each) = (view.hidden(), view.count() / view.outer.max(1));
        if hidden == 0 || each == 0 {
            return None;
        }
        let rows = if view.outer > 1 {
            let most = START_STACK / (hidden * view.outer);
            view.spread(view.outer * each.min(most.max(START_ROWS.1)))
        } else {
            view.spread(unit.sampled.len().max(START_ROWS.0))
        };
        let values = (0..rows.len() * hidden).map(|_| AtomicU32::new(0)).collect();
        Some(Self { view, rows, values })
    }

    fn moments(self) -> Option<Moments> {
        let values: Vec<f32> = self.values.into_iter().map(|v| f32::from_bits(v.into_inner())).collect();
        Moments::of(&values, self.view.hidden(), (self.rows.len() / self.view.outer).max(1))
    }
}

/// Bytes of the models' own files that one pass over some units reads.
pub fn bytes_of<'a>(plan: &Plan, units: impl Iterator<Item = &'a Unit>) -> u64 {
    let given = |m: &&Member| m.model < plan.series + plan.references;
    let read = |u: &Unit| u.members.iter().filter(given).map(|m| (u.elements() * m.dtype.width()) as u64).sum::<u64>();
    units.map(read).sum()
}

/// The sums of one tensor over all of its models, tile by tile. Tiles come from any thread in any order; they are added in
/// theirs, so that no bit depends on the number of threads.
pub(super) struct Sums<'a> {
    unit: &'a Unit,
    plan: &'a Plan,
    shape: GramShape,
    /// Tiles write disjoint elements; relaxed stores make that safe without a lock and without a copy for each tile.
    samples: Vec<Vec<AtomicU32>>,
    start: Option<StartSample>,
    lines: Lines,
    added: Mutex<Added>,
}

/// What was added so far, and tiles that wait for one before them.
struct Added {
    gram: Gram,
    next: usize,
    waiting: BTreeMap<usize, Gram>,
}

impl<'a> Sums<'a> {
    /// Nothing yet; `shares` by model.
    pub(super) fn new(unit: &'a Unit, plan: &'a Plan, shares: &[Option<Share>]) -> Self {
        let series = unit.members.iter().filter(|m| m.model < plan.series).count();
        let shape = GramShape { series, references: unit.members.len() - series };
        let size = unit.sampled.len() * unit.view.map_or(0, |v| v.hidden());
        let samples = unit.members.iter().map(|_| (0..size).map(|_| AtomicU32::new(0)).collect()).collect();
        let added = Added { gram: Gram::empty(shape), next: 0, waiting: BTreeMap::new() };
        let (start, lines) = (StartSample::new(unit), Lines::new(unit, shares));
        Self { unit, plan, shape, samples, start, lines, added: Mutex::new(added) }
    }

    /// Adds the so many-th tile of [`TILE`] elements: its bytes of every member.
    pub(super) fn add(&self, at: usize, bytes: &[&[u8]], values: &mut Vec<f64>) {
        let tile = self.tile(at * TILE, bytes, values);
        let mut added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
        let Added { gram, next, waiting } = &mut *added;
        waiting.insert(at, tile);
        while let Some(tile) = waiting.remove(next) {
            gram.merge(&tile);
            *next += 1;
        }
    }

    fn tile(&self, first: usize, bytes: &[&[u8]], values: &mut Vec<f64>) -> Gram {
        let Self { unit, shape, samples, start, lines, .. } = self;
        let mut tile = GramTile::new(*shape);
        values.resize(unit.members.len() * BLOCK, 0.0);
        let length = unit.members.first().map_or(0, |member| bytes[0].len() / member.dtype.width().max(1));
        let blocks = || (0..length).step_by(BLOCK).map(|start| (start, BLOCK.min(length - start)));
        let decode_block = |values: &mut [f64], start: usize, length: usize| {
            for (slot, member) in unit.members.iter().enumerate() {
                let width = member.dtype.width();
                let from = start * width;
                let block = &mut values[slot * BLOCK..slot * BLOCK + length];
                decode(member.dtype, &bytes[slot][from..from + length * width], block);
            }
        };
        for (from, length) in blocks() {
            decode_block(values, from, length);
            let place = first + from;
            if let Some(view) = unit.view {
                for (slot, sample) in samples.iter().enumerate() {
                    let block = &values[slot * BLOCK..slot * BLOCK + length];
                    view.gather(&unit.sampled, place, block, |i, v| sample[i].store(v.to_bits(), Ordering::Relaxed));
                }
            }
            if let Some(StartSample { view, rows, values: sample }) = start {
                view.gather(rows, place, &values[..length], |i, v| sample[i].store(v.to_bits(), Ordering::Relaxed));
            }
            for slot in 0..unit.members.len() {
                lines.add(slot, place, &values[slot * BLOCK..slot * BLOCK + length]);
            }
            tile.add(values, length);
        }
        if tile.is_poisoned() {
            for (start, length) in blocks() {
                decode_block(values, start, length);
                tile.count_nonfinite(values, length);
            }
        }
        tile.finish()
    }

    /// The figures, once every tile was added.
    pub(super) fn finish(self) -> (TensorFigures, Kept) {
        let Self { unit, plan, samples, start, lines, added, .. } = self;
        let samples =
            samples.into_iter().map(|s| s.into_iter().map(|v| f32::from_bits(v.into_inner())).collect()).collect();
        let gram = added.into_inner().unwrap_or_else(PoisonError::into_inner).gram;
        let (mut figures, kept) = summarise(unit, plan, gram, samples, start.and_then(StartSample::moments));
        figures.lines = lines.finish();
        (figures, kept)
    }
}

/// Where a range of elements of a member is in its file.
pub(super) fn place(member: &Member, range: &std::ops::Range<usize>) -> (u64, usize) {
    let width = member.dtype.width();
    (member.offset + (range.start * width) as u64, range.len() * width)
}

/// From samples to the column tests' sums and the kept rows.
fn summarise(
    unit: &Unit,
    plan: &Plan,
    gram: Gram,
    mut samples: Vec<Vec<f32>>,
    start: Option<Moments>,
) -> (TensorFigures, Kept) {
    let Some(view) = unit.view else {
        let members = unit.members.len();
        let figures = TensorFigures {
            gram,
            columns: Vec::new(),
            formats: Vec::new(),
            distinct: Vec::new(),
            farthest: Vec::new(),
            along: Vec::new(),
            start,
            lines: Vec::new(),
        };
        let kept = Kept { rows: vec![Vec::new(); members], scales: vec![0.0; members], usable: vec![false; members] };
        return (figures, kept);
    };
    let hidden = view.hidden();
    let looked_at =
        |sample: &[f32]| -> Vec<f64> { sample.iter().take(FORMAT_ELEMENTS).map(|&v| f64::from(v)).collect() };
    let formats: Vec<Dtype> =
        samples.iter().zip(&unit.members).map(|(s, m)| finest_needed(&looked_at(s), m.dtype)).collect();
    let distinct = samples.iter().map(|sample| distinct(sample)).collect();
    let series = unit.members.iter().filter(|m| m.model < plan.series).count();
    let farthest = farthest(&samples[..series], &formats);
    let head = unit.role.component == Component::Head && unit.pool.is_none();
    let along = if head { along(&samples[..series], hidden) } else { Vec::new() };
    let mut kept = Vec::with_capacity(samples.len());
    let mut scales = Vec::with_capacity(samples.len());
    let mut usable = Vec::with_capacity(samples.len());
    for sample in &mut samples {
        centre(sample, hidden);
        // Rows of tokens have a direction in common, which nobody sees: a softmax takes what is added to all of them out again.
        if unit.role.is_of_tokens() {
            without_mean_row(sample, hidden);
        }
        let mut rows: Vec<f32> =
            unit.added().iter().flat_map(|&row| &sample[row * hidden..(row + 1) * hidden]).copied().collect();
        if unit.pool.is_some() {
            pool::signed(unit, &mut rows, hidden);
        }
        scales.push(trace(&rows, &rows).sqrt());
        usable.push(normalise(&mut rows));
        kept.push(rows);
        normalise(sample);
    }
    if unit.pool.is_some() {
        pool::weigh(&mut scales, &usable, series);
    }
    let pairs = pairs(unit, plan);
    let rows: Vec<Rows> = if pairs.is_empty() {
        Vec::new()
    } else {
        samples.into_iter().map(|sample| Rows::whole(sample, hidden)).collect()
    };
    let columns = pairs.into_iter().map(|(a, b)| ((a, b), rows[a].total(&rows[b]))).collect();
    let lines = Vec::new();
    let figures = TensorFigures { gram, columns, formats, distinct, farthest, along, start, lines };
    (figures, Kept { rows: kept, scales, usable })
}

/// By interval, the [`FAR_PLACE`]th largest of the sampled steps, less the rounding of both ends: half a unit of the last
/// place each, of the larger of the two values.
fn farthest(samples: &[Vec<f32>], formats: &[Dtype]) -> Vec<f64> {
    let one = |(pair, formats): (&[Vec<f32>], &[Dtype])| {
        let half = |format: &Dtype| 2f64.powi(-format.fraction_bits().unwrap_or(23) - 1);
        let rounding = half(&formats[0]) + half(&formats[1]);
        let mut largest = [0.0_f64; FAR_PLACE];
        for (a, b) in pair[0].iter().zip(&pair[1]) {
            let (a, b) = (f64::from(*a), f64::from(*b));
            let step = (b - a).abs() - rounding * a.abs().max(b.abs());
            // What is not finite compares false.
            if step > largest[FAR_PLACE - 1] {
                let place = largest.iter().position(|held| step > *held).unwrap_or(FAR_PLACE - 1);
                largest[place..].rotate_right(1);
                largest[place] = step;
            }
        }
        largest[FAR_PLACE - 1]
    };
    samples.windows(2).zip(formats.windows(2)).map(one).collect()
}

/// By interval, the share of the sampled steps' squares along one direction; last, that of the final weights.
fn along(samples: &[Vec<f32>], hidden: usize) -> Vec<f64> {
    let steps = samples.windows(2).map(|pair| pair[0].iter().zip(&pair[1]).map(|(a, b)| b - a).collect::<Vec<f32>>());
    let mut shares: Vec<f64> = steps.map(|step| leading(&step, hidden)).collect();
    shares.extend(samples.last().map(|last| leading(last, hidden)));
    shares
}

/// Rounds of the power iteration: what is asked is whether nearly all lies along one direction, and then two are enough.
const ROUNDS: usize = 12;

/// The square of the largest singular value over the sum of all squares, from below; zero where that is nothing or not finite.
fn leading(values: &[f32], columns: usize) -> f64 {
    let square = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let rows = || values.chunks_exact(columns.max(1));
    let whole = square(values);
    let Some(largest) = rows().max_by(|a, b| square(a).total_cmp(&square(b))) else { return 0.0 };
    let mut direction: Vec<f64> = largest.iter().map(|v| f64::from(*v)).collect();
    let mut share = 0.0;
    for _ in 0..ROUNDS {
        let norm = direction.iter().map(|v| v * v).sum::<f64>().sqrt();
        if !(norm > 0.0 && norm.is_finite() && whole.is_finite()) {
            return 0.0;
        }
        for v in &mut direction {
            *v /= norm;
        }
        let mut next = vec![0.0; columns];
        let mut along = 0.0;
        for row in rows() {
            let product: f64 = row.iter().zip(&direction).map(|(v, d)| f64::from(*v) * d).sum();
            along += product * product;
            next.iter_mut().zip(row).for_each(|(n, v)| *n += product * f64::from(*v));
        }
        share = along / whole;
        direction = next;
    }
    share.clamp(0.0, 1.0)
}

/// Different absolute values among the first sampled ones.
fn distinct(sample: &[f32]) -> u32 {
    let mut bits: Vec<u32> = sample.iter().take(FORMAT_ELEMENTS).map(|v| v.abs().to_bits()).collect();
    bits.sort_unstable();
    bits.dedup();
    u32::try_from(bits.len()).unwrap_or(u32::MAX)
}

/// The pairs that are reported: every checkpoint against the first, the one before, and every reference; and the
/// references against each other, which calibrates the rest.
fn pairs(unit: &Unit, plan: &Plan) -> Vec<(usize, usize)> {
    let series = unit.members.iter().filter(|m| m.model < plan.series).count();
    let mut pairs = Vec::new();
    for a in 0..unit.members.len() {
        for b in a + 1..unit.members.len() {
            if b >= series || a == 0 || a + 1 == b {
                pairs.push((a, b));
            }
        }
    }
    pairs
}
