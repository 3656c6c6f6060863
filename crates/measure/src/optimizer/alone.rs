//! What can be said of the states beside one checkpoint without those of others.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::displacements;
use super::point::{Param, Point, chunks, first, half_unit, is_float, readable, weights};
use scratchproof_checkpoint::{Checkpoint, StateTensor};
use scratchproof_error::Result;
use scratchproof_error::hexadecimal::hex;
use scratchproof_measurements::{Plan, StateKind, StatePoint, TokenRows, ZeroRows};

impl Point<'_> {
    /// Everything that is said of these states without others.
    pub fn measure(&self, plan: &Plan, series: &[&Checkpoint], token_rows: &[TokenRows]) -> Result<StatePoint> {
        let mut steps: BTreeMap<u64, u64> = BTreeMap::new();
        for step in self.params.iter().filter_map(|param| param.step) {
            *steps.entry(step).or_default() += 1;
        }
        let kinds = [StateKind::Adam, StateKind::Momentum, StateKind::Other];
        let count = |kind: StateKind| self.params.iter().filter(|param| param.kind == kind).count();
        let kind = kinds.into_iter().rev().max_by_key(|kind| count(*kind)).unwrap_or(StateKind::Other);
        let keeps: BTreeSet<&String> = self.params.iter().flat_map(|param| param.state.tensors.keys()).collect();
        let sums: Vec<Sums> = self.params.par_iter().map(|param| Sums::of(param, self)).collect::<Result<_>>()?;
        let mut hash = Sha256::new();
        for sums in &sums {
            hash.update(sums.first.to_le_bytes());
            hash.update(sums.absolute.to_le_bytes());
            hash.update(sums.second.unwrap_or(0.0).to_le_bytes());
        }
        let second = sums.iter().map(|sums| sums.second).sum::<Option<f64>>().filter(|sum| sum.is_finite());
        let joined = || self.params.iter().filter_map(|param| param.tensor);
        let elements = joined().map(|at| self.checkpoint.tensors[at].shape.iter().product::<usize>() as u64).sum();
        Ok(StatePoint {
            at: self.at,
            source: self.source.clone(),
            kind,
            keeps: keeps.into_iter().cloned().collect(),
            steps: steps.into_iter().collect(),
            groups: self.groups.clone(),
            parameters: self.params.len() as u64,
            strange: self.strange,
            joined: joined().count() as u64,
            elements,
            digest: hex(&hash.finalize()),
            second,
            rows: self.rows(plan, token_rows)?,
            master: self.master()?,
            displacements: displacements::displacements(self, series)?,
        })
    }

    /// Rows of the tables of tokens without moments.
    fn rows(&self, plan: &Plan, token_rows: &[TokenRows]) -> Result<Vec<ZeroRows>> {
        let mut all = Vec::new();
        for table in token_rows {
            let Some(unit) = plan.units.get(table.unit) else { continue };
            let own = |param: &&Param| {
                param.sure && param.tensor.is_some_and(|at| self.checkpoint.tensors[at].name == unit.tensor)
            };
            let Some(param) = self.params.iter().find(own) else { continue };
            let (Some(row), Some(m)) = (unit.shape.last().copied().filter(|row| *row > 0), first(param)) else {
                continue;
            };
            let v = param.state.tensors.get("exp_avg_sq");
            let parts: Vec<Vec<bool>> = chunks(m, row)
                .into_par_iter()
                .map(|range| {
                    let mut zero: Vec<bool> = none(&param.values(m, &range)?, row);
                    if let Some(v) = v {
                        let other = none(&param.values(v, &range)?, row);
                        zero.iter_mut().zip(other).for_each(|(zero, other)| *zero &= other);
                    }
                    Ok(zero)
                })
                .collect::<Result<_>>()?;
            let zero: Vec<bool> = parts.concat();
            let held = self.at > 0 && table.holds.iter().take(self.at).all(|holds| *holds);
            let clock: &[u64] = if held { &table.rows } else { &[] };
            let still = clock.iter().filter(|row| usize::try_from(**row).is_ok_and(|row| zero.get(row) == Some(&true)));
            all.push(ZeroRows {
                unit: table.unit,
                zero: zero.iter().filter(|zero| **zero).count() as u64,
                of: zero.len() as u64,
                still: still.count() as u64,
                clock: clock.len() as u64,
            });
        }
        Ok(all)
    }

    /// Master weights against the stored ones.
    fn master(&self) -> Result<Option<(u64, u64)>> {
        let (mut compared, mut off) = (0, 0);
        for param in self.params.iter().filter(|param| param.sure) {
            let (Some(at), Some(master)) = (param.tensor, param.state.tensors.get("master")) else { continue };
            let tensor = &self.checkpoint.tensors[at];
            // Where the weights themselves are read from the master weights there is nothing to compare.
            let stored = self.checkpoint.shards.get(tensor.shard).is_some_and(|shard| !shard.blob.is_made());
            if !stored || !is_float(master.dtype()) || tensor.dtype.width() > master.dtype().width() {
                continue;
            }
            for range in chunks(master, tensor.shape.last().copied().unwrap_or(1)) {
                let (own, kept) = (weights(self.checkpoint, tensor, &range)?, param.values(master, &range)?);
                let half = half_unit(tensor.dtype);
                let apart =
                    own.iter().zip(&kept).filter(|(own, kept)| (*own - *kept).abs() > 1.01 * half * kept.abs() + 1e-30);
                off += apart.count() as u64;
                compared += own.len() as u64;
            }
        }
        Ok((compared > 0).then_some((compared, off)))
    }
}

/// Sums that make a digest, and the second moments'.
struct Sums {
    first: f64,
    absolute: f64,
    second: Option<f64>,
}

impl Sums {
    fn of(param: &Param, point: &Point) -> Result<Self> {
        let mut sums = Self { first: 0.0, absolute: 0.0, second: None };
        let known = |tensor: &StateTensor| {
            is_float(tensor.dtype()) && point.checkpoint.tensors.iter().any(|own| own.shape == tensor.shape())
        };
        if let Some(m) = first(param).filter(|m| known(m) && readable(m)) {
            for range in chunks(m, 1) {
                let values = param.values(m, &range)?;
                sums.first += values.iter().sum::<f64>();
                sums.absolute += values.iter().map(|value| value.abs()).sum::<f64>();
            }
        }
        let v =
            param.state.tensors.get("exp_avg_sq").filter(|v| param.kind == StateKind::Adam && known(v) && readable(v));
        if let Some(v) = v {
            let mut second = 0.0;
            for range in chunks(v, 1) {
                second += param.values(v, &range)?.iter().sum::<f64>();
            }
            sums.second = Some(second);
        }
        Ok(sums)
    }
}

fn none(values: &[f64], row: usize) -> Vec<bool> {
    values.chunks(row).map(|row| row.iter().all(|value| *value == 0.0)).collect()
}
