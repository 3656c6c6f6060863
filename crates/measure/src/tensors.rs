//! Runs a plan: every byte of every tensor once, tiles in parallel, the same bits for any number of threads.

use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use super::{Reporter, pool};
use scratchproof_checkpoint::{Checkpoint, Component};
use scratchproof_error::{Context, Result};
use scratchproof_kernel::{
    BLOCK, Dtype, Gram, GramShape, GramTile, Moments, Rows, View, centre, decode, finest_needed, normalise, trace,
};
use scratchproof_measurements::{FAR_PLACE, Kept, Member, Plan, TensorFigures, Unit};

/// Elements of a tile: a multiple of [`BLOCK`]; large enough that a map is populated by one call for each tile.
const TILE: usize = 256 * BLOCK;

/// Bytes of sums of tiles that wait to be added, and how many tiles are measured side by side at least.
const TILE_SUMS: usize = 8 << 20;
const LEAST_TOGETHER: usize = 32;

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
        if !unit.in_subject() || unit.role.constant || !unit.role.known || unit.shape.len() < 2 {
            return None;
        }
        let plain =
            || View { outer: 1, rows: unit.shape[0], cols: unit.shape[1..].iter().product(), transposed: false };
        let view = unit.view.unwrap_or_else(plain);
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

/// Measures one unit: every byte of the tensor once.
///
/// # Errors
/// If a file cannot be read; the message names the model and the tensor.
pub fn measure_unit(
    unit: &Unit,
    plan: &Plan,
    models: &[&Checkpoint],
    reporter: &dyn Reporter,
) -> Result<(TensorFigures, Kept)> {
    let series = unit.members.iter().filter(|m| m.model < plan.series).count();
    let shape = GramShape { series, references: unit.members.len() - series };
    // Tiles write disjoint elements; relaxed stores make that safe without a lock and without a copy for each tile.
    let size = unit.sampled.len() * unit.view.map_or(0, |v| v.hidden());
    let samples: Vec<Vec<AtomicU32>> =
        unit.members.iter().map(|_| (0..size).map(|_| AtomicU32::new(0)).collect()).collect();
    let start = StartSample::new(unit);
    let elements = unit.elements();
    for member in &unit.members {
        let blob = &models[member.model].shards[member.shard].blob;
        if blob.is_made() && elements > 0 {
            // Computed here, before the tiles are shared out, so that the threads do not all do it at once.
            blob.read_at(member.offset, &mut [0]).context(|| models[member.model].uri.clone())?;
        }
    }
    let mut gram = Gram::empty(shape);
    // Sums of tiles are added in order, some tiles at a time: those of hundreds of checkpoints are large.
    let together = (TILE_SUMS / (8 * shape.rows() * shape.rows()).max(1)).max(LEAST_TOGETHER);
    let all: Vec<usize> = (0..elements.div_ceil(TILE)).collect();
    for some in all.chunks(together) {
        let tiles: Vec<Gram> = some
            .par_iter()
            .map_init(
                || Scratch::new(unit.members.len()),
                |scratch, tile| {
                    let range = tile * TILE..((tile + 1) * TILE).min(elements);
                    measure_tile(unit, shape, models, range, (&samples, start.as_ref()), scratch, reporter)
                },
            )
            .collect::<Result<_>>()
            .context(|| unit.tensor.clone())?;
        for tile in &tiles {
            gram.merge(tile);
        }
    }
    let samples =
        samples.into_iter().map(|s| s.into_iter().map(|v| f32::from_bits(v.into_inner())).collect()).collect();
    Ok(summarise(unit, plan, gram, samples, start.and_then(StartSample::moments)))
}

/// Memory that a thread uses for one tile after the other.
struct Scratch {
    /// Bytes of each member that are not in memory anyway.
    bytes: Vec<Vec<u8>>,
    /// One decoded block of all members.
    values: Vec<f64>,
}

impl Scratch {
    fn new(members: usize) -> Self {
        Self { bytes: vec![Vec::new(); members], values: vec![0.0; members * BLOCK] }
    }
}

fn measure_tile(
    unit: &Unit,
    shape: GramShape,
    models: &[&Checkpoint],
    range: std::ops::Range<usize>,
    (samples, start): (&[Vec<AtomicU32>], Option<&StartSample>),
    scratch: &mut Scratch,
    reporter: &dyn Reporter,
) -> Result<Gram> {
    let mut tile = GramTile::new(shape);
    let Scratch { bytes: buffers, values } = scratch;
    let mut bytes: Vec<&[u8]> = Vec::with_capacity(unit.members.len());
    for (member, buffer) in unit.members.iter().zip(buffers) {
        let (offset, length) = place(member, &range);
        let blob = &models[member.model].shards[member.shard].blob;
        bytes.push(if let Some(bytes) = blob.resident(offset, length) {
            bytes
        } else {
            buffer.resize(length, 0);
            blob.read_at(offset, buffer).context(|| models[member.model].uri.clone())?;
            buffer
        });
    }
    let blocks = || range.clone().step_by(BLOCK).map(|start| (start, BLOCK.min(range.end - start)));
    let decode_block = |values: &mut [f64], start: usize, length: usize| {
        for (slot, member) in unit.members.iter().enumerate() {
            let width = member.dtype.width();
            let from = (start - range.start) * width;
            let block = &mut values[slot * BLOCK..slot * BLOCK + length];
            decode(member.dtype, &bytes[slot][from..from + length * width], block);
        }
    };
    for (from, length) in blocks() {
        decode_block(values, from, length);
        if let Some(view) = unit.view {
            for (slot, sample) in samples.iter().enumerate() {
                let block = &values[slot * BLOCK..slot * BLOCK + length];
                view.gather(&unit.sampled, from, block, |i, v| sample[i].store(v.to_bits(), Ordering::Relaxed));
            }
        }
        if let Some(StartSample { view, rows, values: sample }) = start {
            view.gather(rows, from, &values[..length], |i, v| sample[i].store(v.to_bits(), Ordering::Relaxed));
        }
        tile.add(values, length);
    }
    if tile.is_poisoned() {
        for (start, length) in blocks() {
            decode_block(values, start, length);
            tile.count_nonfinite(values, length);
        }
    }
    let mut done = 0;
    for member in &unit.members {
        let (offset, length) = place(member, &range);
        models[member.model].shards[member.shard].blob.release(offset, length);
        done += length as u64;
    }
    reporter.advance(done);
    Ok(tile.finish())
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
    (TensorFigures { gram, columns, formats, distinct, farthest, along, start }, Kept { rows: kept, scales, usable })
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
