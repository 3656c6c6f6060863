//! The second pass, over chosen pairs of models: order statistics, counts, equal and proportional rows (METHODS 1).

use std::ops::Range;

use rayon::prelude::*;

use super::tensors::place;
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::{Context, Result};
use scratchproof_kernel::{
    Comparison, Dtype, Extremes, Quantile, Rounding, Twins, common_factor, decode, finest_needed,
};
use scratchproof_measurements::{Elementwise, Member, Plan, Unit};
use scratchproof_plan::Material;

/// Elements of a tile, if a row is not longer.
const TILE: usize = 1 << 17;

/// Longer rows are not looked at as rows: two of them in f64 are held for each thread.
const LONGEST_ROW: usize = 1 << 20;

/// Reads every tensor of some units that two models share once more, or more often where the percentile needs it, for each pair.
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
    let work: Vec<(usize, (usize, usize), [&Member; 2])> = plan
        .units
        .iter()
        .enumerate()
        .filter(|(index, unit)| units.contains(index) && unit.in_subject() && unit.elements() > 0)
        .flat_map(|(index, unit)| {
            let find = |model: usize| unit.members.iter().find(|member| member.model == model);
            pairs.iter().filter_map(move |&(a, b)| Some((index, (a, b), [find(a)?, find(b)?])))
        })
        .collect();
    work.par_iter()
        .map(|&(index, pair, members)| {
            // The field's metrics are of the final checkpoint; the first is looked at for copies.
            let ranked = pair.0 == plan.last();
            let reader = Reader { unit: &plan.units[index], models: &models, members, ranked };
            reader.compare(index, pair).context(|| plan.units[index].tensor.clone())
        })
        .collect()
}

/// Reads two copies of one tensor side by side.
struct Reader<'a> {
    unit: &'a Unit,
    models: &'a [&'a Checkpoint],
    members: [&'a Member; 2],
    /// Whether the order statistics are wanted.
    ranked: bool,
}

impl Reader<'_> {
    fn compare(&self, index: usize, pair: (usize, usize)) -> Result<Elementwise> {
        let elements = self.unit.elements();
        let row = self.unit.shape.last().copied().filter(|length| self.unit.view.is_some() && *length <= LONGEST_ROW);
        let tile = row.map_or(TILE, |row| (TILE / row).max(1) * row);
        let first = 0..tile.min(elements);
        let formats: [Dtype; 2] = {
            let mut formats = self.members.map(|member| member.dtype);
            for (which, format) in formats.iter_mut().enumerate() {
                *format = finest_needed(&self.read(which, &first)?, *format);
            }
            formats
        };
        let how = Comparison { formats, row };
        let mut quantiles = self.members.map(|member| Quantile::new(elements as u64, 0.99, member.dtype));
        let blank = || (Twins::default(), [quantiles[0].fork(), quantiles[1].fork()]);
        let (mut twins, counted) = (0..elements.div_ceil(tile))
            .into_par_iter()
            .try_fold(blank, |(mut twins, mut counted), at| {
                let span = at * tile..((at + 1) * tile).min(elements);
                let values = [self.read(0, &span)?, self.read(1, &span)?];
                twins.add(at, span.start as u64, [&values[0], &values[1]], &how);
                if self.ranked {
                    counted.iter_mut().zip(&values).for_each(|(quantile, values)| quantile.add(values));
                }
                Ok((twins, counted))
            })
            .try_reduce(blank, |(twins, mut counted), (others, more)| {
                counted.iter_mut().zip(&more).for_each(|(own, other)| own.merge(other));
                Ok((twins.merge(others), counted))
            })?;
        quantiles = counted;
        let finite = self.ranked && twins.nonfinite == 0;
        for (which, quantile) in quantiles.iter_mut().enumerate().filter(|_| finite) {
            quantile.narrow();
            while quantile.is_open() {
                let start = quantile.fork();
                let counted = (0..elements.div_ceil(tile))
                    .into_par_iter()
                    .try_fold(
                        || start.fork(),
                        |mut counted, at| {
                            counted.add(&self.read(which, &(at * tile..((at + 1) * tile).min(elements)))?);
                            Ok::<_, scratchproof_error::Error>(counted)
                        },
                    )
                    .try_reduce(
                        || start.fork(),
                        |mut counted, other| {
                            counted.merge(&other);
                            Ok(counted)
                        },
                    )?;
                *quantile = counted;
                quantile.narrow();
            }
        }
        let sums = twins.finish();
        Ok(figures(
            index,
            pair,
            elements,
            &how,
            &twins,
            sums,
            finite.then(|| [quantiles[0].value(), quantiles[1].value()]),
        ))
    }

    /// One range of elements of one of the two, decoded.
    fn read(&self, which: usize, range: &Range<usize>) -> Result<Vec<f64>> {
        let member = self.members[which];
        let (offset, length) = place(member, range);
        let checkpoint = self.models[member.model];
        let blob = &checkpoint.shards[member.shard].blob;
        let bytes = blob.bytes(offset, length).context(|| checkpoint.uri.clone())?;
        let mut values = vec![0.0; range.len()];
        decode(member.dtype, &bytes, &mut values);
        blob.release(offset, length);
        Ok(values)
    }
}

fn figures(
    unit: usize,
    models: (usize, usize),
    elements: usize,
    how: &Comparison,
    twins: &Twins,
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
