//! The second pass, over chosen pairs of models: order statistics, counts, equal and proportional rows (METHODS 1).

use std::ops::Range;

use rayon::prelude::*;

use super::tensors::place;
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::{Context, Result};
use scratchproof_kernel::{
    Comparison, Dtype, ElementwiseSums, Extremes, Patterns, Quantile, Rounding, common_factor, decode, finest_needed,
};
use scratchproof_measurements::{Elementwise, Member, Plan, Unit};
use scratchproof_plan::Material;

/// Elements of a tile, if a row is not longer.
const TILE: usize = 1 << 17;

/// Longer rows are not looked at as rows: two of them in f64 are held for each thread.
const LONGEST_ROW: usize = 1 << 20;

/// The quantile of absolute values that the field reports.
const RANK: f64 = 0.99;

/// Elements up to which the values themselves are held, which costs less than counting every pattern of a format.
const FEW: usize = 1 << 16;

/// Reads every tensor of some units that two models share once more: each model's copy once, whatever the number of pairs it
/// is in; again where a percentile of a wide format needs it.
///
/// # Errors
/// If a file cannot be read; the message names the model and the tensor.
pub fn elementwise(
    plan: &Plan,
    material: &Material,
    pairs: &[(usize, usize)],
    units: Range<usize>,
) -> Result<Vec<Elementwise>> {
    let models = material.models();
    let readers: Vec<Reader> = units
        .filter(|index| plan.units[*index].in_subject() && plan.units[*index].elements() > 0)
        .filter_map(|index| Reader::new(plan, index, &models, pairs))
        .collect();
    let all: Vec<Vec<Elementwise>> = readers
        .par_iter()
        .map(|reader| reader.compare().context(|| reader.unit.tensor.clone()))
        .collect::<Result<_>>()?;
    Ok(all.into_iter().flatten().collect())
}

/// Reads the copies of one tensor side by side.
struct Reader<'a> {
    index: usize,
    unit: &'a Unit,
    models: &'a [&'a Checkpoint],
    /// The copies that are in a pair.
    members: Vec<&'a Member>,
    /// Of those, which order statistics are wanted: the field's metrics are of the final checkpoint, the first is looked at
    /// for copies.
    ranked: Vec<bool>,
    /// The models of every pair, where they are among the copies, and whether the pair's order statistics are wanted.
    pairs: Vec<((usize, usize), [usize; 2], bool)>,
}

/// Order statistics on their way.
#[derive(Clone)]
enum Ranks {
    Unwanted,
    /// A 16-bit format, counted whole.
    Counted(Patterns),
    Selected(Quantile),
}

impl Ranks {
    fn new(wanted: bool, elements: usize, dtype: Dtype) -> Self {
        let counted = || Patterns::new(dtype).filter(|_| elements > FEW).map(Self::Counted);
        let selected = || Self::Selected(Quantile::new(elements as u64, RANK, dtype));
        if wanted { counted().unwrap_or_else(selected) } else { Self::Unwanted }
    }

    fn add(&mut self, bytes: &[u8], values: &[f64]) {
        match self {
            Self::Unwanted => {}
            Self::Counted(patterns) => patterns.add(bytes),
            Self::Selected(quantile) => quantile.add(values),
        }
    }

    fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Counted(own), Self::Counted(more)) => own.merge(more),
            (Self::Selected(own), Self::Selected(more)) => own.merge(more),
            _ => {}
        }
    }
}

/// What a thread found so far, and its memory for the next tile.
struct Found {
    twins: Vec<ElementwiseSums>,
    ranks: Vec<Ranks>,
    bytes: Vec<u8>,
    values: Vec<Vec<f64>>,
}

impl<'a> Reader<'a> {
    fn new(plan: &'a Plan, index: usize, models: &'a [&'a Checkpoint], pairs: &[(usize, usize)]) -> Option<Self> {
        let unit = &plan.units[index];
        let has = |model: usize| unit.members.iter().any(|member| member.model == model);
        let pairs: Vec<(usize, usize)> = pairs.iter().copied().filter(|(a, b)| has(*a) && has(*b)).collect();
        let wanted = |model: usize| pairs.iter().any(|(a, b)| *a == model || *b == model);
        let members: Vec<&Member> = unit.members.iter().filter(|member| wanted(member.model)).collect();
        let place = |model: usize| members.iter().position(|member| member.model == model);
        let pairs: Vec<((usize, usize), [usize; 2], bool)> =
            pairs.iter().filter_map(|&(a, b)| Some(((a, b), [place(a)?, place(b)?], a == plan.last()))).collect();
        let ranked = |at: usize| pairs.iter().any(|(_, places, ranked)| *ranked && places.contains(&at));
        let ranked = (0..members.len()).map(ranked).collect();
        (!pairs.is_empty()).then_some(Self { index, unit, models, members, ranked, pairs })
    }

    fn compare(&self) -> Result<Vec<Elementwise>> {
        let elements = self.unit.elements();
        let row = self.unit.shape.last().copied().filter(|length| self.unit.view.is_some() && *length <= LONGEST_ROW);
        let tile = row.map_or(TILE, |row| (TILE / row).max(1) * row);
        let spans = |at: usize| at * tile..((at + 1) * tile).min(elements);
        let formats: Vec<Dtype> = {
            let mut start = self.blank();
            self.read(&spans(0), &mut start, |_| false)?;
            let formats = start.values.iter().zip(&self.members);
            formats.map(|(values, member)| finest_needed(values, member.dtype)).collect()
        };
        let how: Vec<Comparison> =
            self.pairs.iter().map(|(_, places, _)| Comparison { formats: places.map(|at| formats[at]), row }).collect();
        let found = (0..elements.div_ceil(tile))
            .into_par_iter()
            .try_fold(
                || self.blank(),
                |mut found, at| {
                    let span = spans(at);
                    self.read(&span, &mut found, |at| self.ranked[at])?;
                    let Found { twins, values, .. } = &mut found;
                    for ((twins, (_, [a, b], _)), how) in twins.iter_mut().zip(&self.pairs).zip(&how) {
                        twins.add(at, span.start as u64, [&values[*a], &values[*b]], how);
                    }
                    Ok::<_, scratchproof_error::Error>(found)
                },
            )
            .try_reduce(
                || self.blank(),
                |mut found, other| {
                    let twins = found.twins.into_iter().zip(other.twins);
                    found.twins = twins.map(|(own, more)| own.merge(more)).collect();
                    found.ranks.iter_mut().zip(&other.ranks).for_each(|(own, more)| own.merge(more));
                    Ok(found)
                },
            )?;
        let Found { mut twins, ranks, .. } = found;
        let finite = |at: usize| {
            let pairs =
                || self.pairs.iter().zip(&twins).filter(|((_, places, ranked), _)| *ranked && places.contains(&at));
            pairs().any(|(_, twins)| twins.nonfinite == 0)
        };
        let wanted: Vec<bool> = (0..self.members.len()).map(finite).collect();
        let mut p99 = Vec::new();
        for (at, ranks) in ranks.into_iter().enumerate() {
            p99.push(match ranks {
                Ranks::Counted(patterns) if wanted[at] => Some(patterns.quantile(RANK)),
                Ranks::Selected(quantile) if wanted[at] => Some(self.narrowed(at, quantile, tile)?),
                _ => None,
            });
        }
        let mut all = Vec::new();
        for ((twins, how), (models, [a, b], ranked)) in twins.iter_mut().zip(&how).zip(&self.pairs) {
            let sums = twins.finish();
            let both = p99[*a].zip(p99[*b]).filter(|_| *ranked && twins.nonfinite == 0);
            all.push(figures(self.index, *models, elements, how, twins, sums, both.map(|(a, b)| [a, b])));
        }
        Ok(all)
    }

    /// The quantile of one copy after its first pass, reading it again as often as its format needs.
    fn narrowed(&self, which: usize, mut quantile: Quantile, tile: usize) -> Result<f64> {
        let elements = self.unit.elements();
        quantile.narrow();
        while quantile.is_open() {
            let start = || (quantile.fork(), Vec::new(), Vec::new());
            let (mut counted, ..) = (0..elements.div_ceil(tile))
                .into_par_iter()
                .try_fold(start, |(mut counted, mut bytes, mut values), at| {
                    let span = at * tile..((at + 1) * tile).min(elements);
                    self.decoded(which, &span, &mut bytes, &mut values)?;
                    counted.add(&values);
                    Ok::<_, scratchproof_error::Error>((counted, bytes, values))
                })
                .try_reduce(start, |(mut counted, bytes, values), (other, ..)| {
                    counted.merge(&other);
                    Ok((counted, bytes, values))
                })?;
            counted.narrow();
            quantile = counted;
        }
        Ok(quantile.value())
    }

    fn blank(&self) -> Found {
        let elements = self.unit.elements();
        let ranks = self.ranked.iter().zip(&self.members);
        Found {
            twins: vec![ElementwiseSums::default(); self.pairs.len()],
            ranks: ranks.map(|(wanted, member)| Ranks::new(*wanted, elements, member.dtype)).collect(),
            bytes: Vec::new(),
            values: vec![Vec::new(); self.members.len()],
        }
    }

    /// Reads and decodes one range of elements of all copies, and ranks those that are `wanted`.
    fn read(&self, range: &Range<usize>, found: &mut Found, wanted: impl Fn(usize) -> bool) -> Result<()> {
        for (at, values) in found.values.iter_mut().enumerate() {
            self.decoded(at, range, &mut found.bytes, values)?;
            if wanted(at) {
                found.ranks[at].add(&found.bytes, values);
            }
        }
        Ok(())
    }

    /// One range of elements of one copy: its bytes, and its values.
    fn decoded(&self, which: usize, range: &Range<usize>, bytes: &mut Vec<u8>, values: &mut Vec<f64>) -> Result<()> {
        let member = self.members[which];
        let (offset, length) = place(member, range);
        let checkpoint = self.models[member.model];
        let blob = &checkpoint.shards[member.shard].blob;
        bytes.resize(length, 0);
        blob.read_at(offset, bytes).context(|| checkpoint.uri.clone())?;
        values.resize(range.len(), 0.0);
        decode(member.dtype, bytes, values);
        blob.release(offset, length);
        Ok(())
    }
}

fn figures(
    unit: usize,
    models: (usize, usize),
    elements: usize,
    how: &Comparison,
    twins: &ElementwiseSums,
    sums: [f64; 4],
    p99: Option<[f64; 2]>,
) -> Elementwise {
    // The rounding that makes more elements equal is the one that was used.
    let used = usize::from(twins.equal[1] > twins.equal[0]);
    let rounding = how.common().map(|_| if used == 0 { Rounding::Nearest } else { Rounding::Truncated });
    let share = |count: u64| (twins.compared > 0).then(|| count as f64 / twins.compared as f64);
    let mut blocks: Vec<Range<u64>> = Vec::new();
    for row in twins.rows.iter().filter(|row| row.equal[used]) {
        match blocks.last_mut() {
            Some(last) if last.end == row.row => last.end += 1,
            _ => blocks.push(row.row..row.row + 1),
        }
    }
    let [distance, ab, aa, bb] = sums;
    let rest = ab / (aa * bb).sqrt();
    Elementwise {
        unit,
        models,
        mean_abs_diff: p99.map(|_| distance / elements as f64),
        p99,
        formats: how.formats,
        rounding,
        equal: share(twins.equal[used]),
        shifted: share(twins.shifted),
        eight_bits: share(twins.eight_bits),
        rows: how.row.map_or(0, |row| (elements / row.max(1)) as u64),
        row: how.row.unwrap_or(0),
        blocks,
        extremes: extremes(&twins.extremes),
        decayed: common_factor(twins.rows.iter().filter(|row| !row.equal[used]).filter_map(|row| row.ratio).collect()),
        rest: rest.is_finite().then_some(rest),
    }
}

fn extremes([a, b]: &[Extremes; 2]) -> (u64, u64) {
    (a.shared(b) as u64, a.len().min(b.len()) as u64)
}
