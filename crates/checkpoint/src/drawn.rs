//! Which rows are drawn.
//!
//! Rows are taken in runs, since a run of rows is one request to a server: of every sixteen runs as many as the share says,
//! which ones the seed decides. The choice depends on the seed and on the numbers of the rows alone, so that tensors of one
//! length have the same rows in all layers and all models, and tables that were lengthened at their end have nearly the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::TensorRecord;
use super::heads::Heads;
use scratchproof_case::Sampling;
use scratchproof_error::mixing::mixed;

/// Rows of a run.
pub(super) const RUN: usize = 32;
/// Runs of a stratum.
const STRATUM: usize = 16;
/// Runs that are taken of every tensor at least: tests over 64 rows are what a whole audit has too.
pub(super) const LEAST_RUNS: usize = 2;
/// A tensor of fewer bytes is read whole, whatever share is drawn.
pub const LARGE: u64 = 64 << 10;

/// What was drawn of a model.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Share and seed.
    pub sampling: Sampling,
    /// The tensors as the files have them, sorted by name.
    pub whole: Vec<TensorRecord>,
    /// Tensors of which some rows are read, ...
    pub tensors: usize,
    /// ... and where they are attention's and no head of theirs is whole, the towers these are of, ...
    pub headless: BTreeSet<String>,
    /// ... or the heads that are read whole, as many as there are of a tower, ...
    pub heads: BTreeMap<String, Heads>,
    /// ... their rows, read and all, ...
    pub rows: (u64, u64),
    /// ... and the bytes of all tensors, read and all.
    pub bytes: (u64, u64),
}

impl Sample {
    /// Of tensors of which nothing is drawn.
    pub(super) fn nothing(sampling: Sampling, whole: Vec<TensorRecord>) -> Self {
        let (headless, heads) = (BTreeSet::new(), BTreeMap::new());
        Self { sampling, whole, tensors: 0, headless, heads, rows: (0, 0), bytes: (0, 0) }
    }
}

/// The rows that are drawn of `rows`, ascending and apart.
#[must_use]
pub fn drawn_rows(sampling: Sampling, rows: usize) -> Vec<Range<usize>> {
    let runs = rows.div_ceil(RUN);
    let share = sampling.share.clamp(0.0, 1.0);
    let mut chosen: BTreeSet<usize> = BTreeSet::new();
    let key = |run: usize| mixed(sampling.seed ^ mixed(run as u64 + 1));
    // The share of runs to here, with a phase of the seed's own, so that small shares are met over several strata.
    let phase = (mixed(sampling.seed) >> 11) as f64 / (1_u64 << 53) as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    let met = |run: usize| (run as f64 * share + phase).floor() as usize;
    for first in (0..runs).step_by(STRATUM) {
        let end = (first + STRATUM).min(runs);
        let wanted = met(end) - met(first);
        let mut own: Vec<usize> = (first..end).collect();
        own.sort_by_key(|run| key(*run));
        chosen.extend(own.into_iter().take(wanted));
    }
    let mut rest: Vec<usize> = (0..runs).filter(|run| !chosen.contains(run)).collect();
    rest.sort_by_key(|run| key(*run));
    let short = LEAST_RUNS.saturating_sub(chosen.len());
    chosen.extend(rest.into_iter().take(short));
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for run in chosen {
        let range = run * RUN..((run + 1) * RUN).min(rows);
        match ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    ranges
}

/// The key-value heads of `all` that are read whole with the query heads that read them, ascending; none where too few are
/// there for the share to be kept.
#[must_use]
pub(super) fn drawn_heads(sampling: Sampling, all: usize) -> Option<Vec<usize>> {
    /// The share of heads may be so much above that of the rows.
    const ABOVE: f64 = 0.1;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    let wanted = ((all as f64 * sampling.share.clamp(0.0, 1.0)).round() as usize).clamp(1, all.max(1));
    if all == 0 || wanted as f64 > (sampling.share + ABOVE) * all as f64 {
        return None;
    }
    let mut heads: Vec<usize> = (0..all).collect();
    heads.sort_by_key(|head| mixed(!sampling.seed ^ mixed(*head as u64 + 1)));
    heads.truncate(wanted);
    heads.sort_unstable();
    Some(heads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_drawn_that_does_not_depend_on_what_follows() {
        for (share, rows) in [(0.1, 32_000), (0.05, 4096), (0.5, 4096), (0.9, 11_008), (0.3, 50_257)] {
            for seed in [1, 2, 77] {
                let sampling = Sampling { share, seed };
                let drawn = drawn_rows(sampling, rows);
                let count: usize = drawn.iter().map(ExactSizeIterator::len).sum();
                let off = count as f64 - share * rows as f64;
                assert!(off.abs() <= 2.0 * RUN as f64, "{share} of {rows}: {count}");
                assert!(drawn.windows(2).all(|pair| pair[0].end < pair[1].start), "ascending and apart");
                assert!(drawn.last().unwrap().end <= rows);
                // A longer table begins with the same rows.
                let longer = drawn_rows(sampling, rows + 10 * RUN * STRATUM);
                let whole = rows / (RUN * STRATUM) * RUN * STRATUM;
                let head = |ranges: &[Range<usize>]| {
                    ranges.iter().cloned().flatten().filter(|row| *row < whole).collect::<Vec<usize>>()
                };
                assert_eq!(head(&drawn), head(&longer));
                assert_ne!(head(&drawn), head(&drawn_rows(Sampling { share, seed: seed + 1 }, rows)));
            }
        }
        assert_eq!(drawn_rows(Sampling { share: 0.001, seed: 3 }, 64).len(), 1);
    }
}
