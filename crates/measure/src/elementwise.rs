//! Chosen pairs of models element by element: order statistics, counts, equal and proportional rows (METHODS 1).

use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

use super::tensors::place;
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::{Context, Result};
use scratchproof_kernel::{
    Comparison, Dtype, ElementwiseSums, Extremes, Patterns, Quantile, Rounding, common_factor, decode, finest_needed,
};
use scratchproof_measurements::{Elementwise, Member, Plan, Unit};

/// Elements of a tile, if a row is not longer.
const TILE: usize = 1 << 17;

/// Longer rows are not looked at as rows: two of them in f64 are held for each thread.
const LONGEST_ROW: usize = 1 << 20;

/// The quantile of absolute values that the field reports.
const RANK: f64 = 0.99;

/// Elements up to which the values themselves are held, which costs less than counting every pattern of a format.
const FEW: usize = 1 << 16;

/// What chosen pairs of models show of one tensor, tile by tile; tiles come from any thread in any order.
pub(super) struct Twins<'a> {
    index: usize,
    unit: &'a Unit,
    models: &'a [&'a Checkpoint],
    /// The copies that are in a pair, as places among the members.
    slots: Vec<usize>,
    /// Of those, which order statistics are wanted: the field's metrics are of the final checkpoint, the first is looked at
    /// for copies.
    ranked: Vec<bool>,
    /// The models of every pair, where they are among the copies, and whether the pair's order statistics are wanted.
    pairs: Vec<((usize, usize), [usize; 2], bool)>,
    /// Elements of a tile: whole rows.
    tile: usize,
    row: Option<usize>,
    /// How each pair is compared, once the first tile was seen.
    how: OnceLock<Vec<Comparison>>,
    /// What threads found so far that are at no tile now.
    found: Mutex<Vec<Found>>,
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
    values: Vec<Vec<f64>>,
}

impl<'a> Twins<'a> {
    /// Nothing yet; none where no pair has the tensor.
    pub(super) fn new(
        plan: &'a Plan,
        index: usize,
        models: &'a [&'a Checkpoint],
        pairs: &[(usize, usize)],
    ) -> Option<Self> {
        let unit = &plan.units[index];
        if !unit.in_subject() || unit.elements() == 0 {
            return None;
        }
        let has = |model: usize| unit.slot(model).is_some();
        let pairs: Vec<(usize, usize)> = pairs.iter().copied().filter(|(a, b)| has(*a) && has(*b)).collect();
        let wanted = |model: usize| pairs.iter().any(|(a, b)| *a == model || *b == model);
        let slots: Vec<usize> = (0..unit.members.len()).filter(|slot| wanted(unit.members[*slot].model)).collect();
        let place = |model: usize| slots.iter().position(|slot| unit.members[*slot].model == model);
        let pairs: Vec<((usize, usize), [usize; 2], bool)> =
            pairs.iter().filter_map(|&(a, b)| Some(((a, b), [place(a)?, place(b)?], a == plan.last()))).collect();
        let ranked = |at: usize| pairs.iter().any(|(_, places, ranked)| *ranked && places.contains(&at));
        let ranked = (0..slots.len()).map(ranked).collect();
        let row = unit.shape.last().copied().filter(|length| unit.view.is_some() && *length <= LONGEST_ROW);
        let tile = row.map_or(TILE, |row| (TILE / row).max(1) * row);
        let (how, found) = (OnceLock::new(), Mutex::default());
        (!pairs.is_empty()).then_some(Self { index, unit, models, slots, ranked, pairs, tile, row, how, found })
    }

    /// The members that are in a pair.
    pub(super) fn slots(&self) -> &[usize] {
        &self.slots
    }

    /// The tiles that begin in a range of elements.
    pub(super) fn tiles(&self, within: &Range<usize>) -> Range<usize> {
        within.start.div_ceil(self.tile)..within.end.div_ceil(self.tile)
    }

    /// The elements of a tile.
    pub(super) fn span(&self, at: usize) -> Range<usize> {
        at * self.tile..((at + 1) * self.tile).min(self.unit.elements())
    }

    fn member(&self, at: usize) -> &'a Member {
        &self.unit.members[self.slots[at]]
    }

    /// Looks at the first tile, which says in which formats the values are. Called before any tile is added.
    pub(super) fn begin(&self, bytes: &[&[u8]]) {
        self.how.get_or_init(|| {
            let mut values = Vec::new();
            let format = |(at, bytes): (usize, &&[u8])| {
                let dtype = self.member(at).dtype;
                values.resize(bytes.len() / dtype.width().max(1), 0.0);
                decode(dtype, bytes, &mut values);
                finest_needed(&values, dtype)
            };
            let formats: Vec<Dtype> = bytes.iter().enumerate().map(format).collect();
            let how = |places: [usize; 2]| Comparison { formats: places.map(|at| formats[at]), row: self.row };
            self.pairs.iter().map(|(_, places, _)| how(*places)).collect()
        });
    }

    /// Adds a tile: its bytes of every copy.
    pub(super) fn add(&self, at: usize, bytes: &[&[u8]]) {
        let Some(how) = self.how.get() else { return };
        let free = || self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let found = free().pop();
        let mut found = found.unwrap_or_else(|| self.blank());
        let Found { twins, ranks, values } = &mut found;
        for (own, (values, bytes)) in values.iter_mut().zip(bytes).enumerate() {
            let dtype = self.member(own).dtype;
            values.resize(bytes.len() / dtype.width().max(1), 0.0);
            decode(dtype, bytes, values);
            ranks[own].add(bytes, values);
        }
        let start = self.span(at).start as u64;
        for ((twins, (_, [a, b], _)), how) in twins.iter_mut().zip(&self.pairs).zip(how) {
            twins.add(at, start, [&values[*a], &values[*b]], how);
        }
        free().push(found);
    }

    /// The figures of every pair, once every tile was added; a copy in a wide format is read again for its percentile.
    ///
    /// # Errors
    /// If a file cannot be read; the message names the model.
    pub(super) fn finish(self) -> Result<Vec<Elementwise>> {
        let elements = self.unit.elements();
        let all = std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner));
        let mut all = all.into_iter();
        let mut found = all.next().unwrap_or_else(|| self.blank());
        for other in all {
            let twins = found.twins.into_iter().zip(other.twins);
            found.twins = twins.map(|(own, more)| own.merge(more)).collect();
            found.ranks.iter_mut().zip(&other.ranks).for_each(|(own, more)| own.merge(more));
        }
        let Found { mut twins, ranks, .. } = found;
        let finite = |at: usize| {
            let pairs =
                || self.pairs.iter().zip(&twins).filter(|((_, places, ranked), _)| *ranked && places.contains(&at));
            pairs().any(|(_, twins)| twins.nonfinite == 0)
        };
        let wanted: Vec<bool> = (0..self.slots.len()).map(finite).collect();
        let mut p99 = Vec::new();
        for (at, ranks) in ranks.into_iter().enumerate() {
            p99.push(match ranks {
                Ranks::Counted(patterns) if wanted[at] => Some(patterns.quantile(RANK)),
                Ranks::Selected(quantile) if wanted[at] => Some(self.narrowed(at, quantile)?),
                _ => None,
            });
        }
        let how = self.how.get().map_or(&[][..], Vec::as_slice);
        let mut all = Vec::new();
        for ((twins, how), (models, [a, b], ranked)) in twins.iter_mut().zip(how).zip(&self.pairs) {
            let sums = twins.finish();
            let both = p99[*a].zip(p99[*b]).filter(|_| *ranked && twins.nonfinite == 0);
            all.push(figures(self.index, *models, elements, how, twins, sums, both.map(|(a, b)| [a, b])));
        }
        Ok(all)
    }

    /// The quantile of one copy after its first pass, reading it again as often as its format needs.
    fn narrowed(&self, which: usize, mut quantile: Quantile) -> Result<f64> {
        let elements = self.unit.elements();
        quantile.narrow();
        while quantile.is_open() {
            let start = || (quantile.fork(), Vec::new(), Vec::new());
            let (mut counted, ..) = (0..elements.div_ceil(self.tile))
                .into_par_iter()
                .try_fold(start, |(mut counted, mut bytes, mut values), at| {
                    self.decoded(which, &self.span(at), &mut bytes, &mut values)?;
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
        let ranks = |(at, wanted): (usize, &bool)| Ranks::new(*wanted, elements, self.member(at).dtype);
        Found {
            twins: vec![ElementwiseSums::default(); self.pairs.len()],
            ranks: self.ranked.iter().enumerate().map(ranks).collect(),
            values: vec![Vec::new(); self.slots.len()],
        }
    }

    /// One range of elements of one copy: its bytes, and its values.
    fn decoded(&self, which: usize, range: &Range<usize>, bytes: &mut Vec<u8>, values: &mut Vec<f64>) -> Result<()> {
        let member = self.member(which);
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
