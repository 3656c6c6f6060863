//! A model of which a share of the rows of every large tensor is looked at: drawn by a recorded seed, the same rows of every
//! model, and of nothing but these is a byte read.
//!
//! Rows are taken in runs, since a run of rows is one request to a server: of every sixteen runs as many as the share says,
//! which ones the seed decides. The choice depends on the seed and on the numbers of the rows alone, so that tensors of one
//! length have the same rows in all layers and all models, and tables that were lengthened at their end have nearly the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::residual::hidden_sizes;
use super::{Checkpoint, Component, Residual, Shard, TensorRecord};
use scratchproof_case::Sampling;
use scratchproof_error::{Context, Result};
use scratchproof_source::DrawnFile;

/// Rows of a run.
const RUN: usize = 32;
/// Runs of a stratum.
const STRATUM: usize = 16;
/// Runs that are taken of every tensor at least: tests over 64 rows are what a whole audit has too.
const LEAST_RUNS: usize = 2;
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
    /// ... and where they are attention's, the towers these are of: there no head is whole, ...
    pub headless: BTreeSet<String>,
    /// ... their rows, read and all, ...
    pub rows: (u64, u64),
    /// ... and the bytes of all tensors, read and all.
    pub bytes: (u64, u64),
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

/// `SplitMix64` (Steele, Lea and Flood 2014).
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A tensor as matrices of rows that stand one after the other.
struct Stored {
    outer: usize,
    rows: usize,
    /// Bytes of a row.
    row: u64,
}

/// How a tensor is stored, if rows of it are drawn.
fn stored(tensor: &TensorRecord) -> Option<Stored> {
    let role = &tensor.role;
    let width = tensor.dtype.width();
    let whole = (tensor.elements() as u64).checked_mul(width as u64) == Some(tensor.bytes);
    let matrix = tensor.shape.len() > 1 && tensor.dtype.is_float() && !role.constant && whole;
    // A router has a row for each expert, and the rows of positions may be a formula.
    let apart = matches!(role.component, Component::Router | Component::Norms) || role.family.contains("position");
    if !matrix || apart || tensor.bytes < LARGE {
        return None;
    }
    let (outer, rows, row): (usize, usize, usize) = match (role.residual, &tensor.shape[..]) {
        (Residual::First, [first, rest @ ..]) => (1, *first, rest.iter().product()),
        (_, [outer @ .., rows, columns]) => (outer.iter().product(), *rows, *columns),
        _ => return None,
    };
    (rows > LEAST_RUNS * RUN).then_some(Stored { outer, rows, row: (row * width) as u64 })
}

impl Checkpoint {
    /// This model with the drawn rows of its large tensors alone. Its tensors are shorter, its files are these rows one after
    /// the other; what is said of the model itself stays. States of optimizers are left aside: they belong to whole tensors.
    ///
    /// # Errors
    /// If the ranges of a file are not what its header says.
    pub fn sampled(self, sampling: Sampling) -> Result<Self> {
        let whole = self.tensors.clone();
        let mut sample = Sample { sampling, whole, tensors: 0, headless: BTreeSet::new(), rows: (0, 0), bytes: (0, 0) };
        let mut result = Self::empty(self.uri.clone(), &self);
        result.optimizers = Arc::default();
        result.skipped.clone_from(&self.skipped);
        result.unread.clone_from(&self.unread);
        result.wrappers.clone_from(&self.wrappers);
        result.met.clone_from(&self.met);
        result.notes.clone_from(&self.notes);
        result.adapter.clone_from(&self.adapter);
        // By file and place: tensors that share their bytes go on sharing them.
        let mut places: BTreeMap<(usize, u64, u64), Vec<usize>> = BTreeMap::new();
        for (at, tensor) in self.tensors.iter().enumerate() {
            places.entry((tensor.shard, tensor.offset, tensor.bytes)).or_default().push(at);
        }
        let mut tensors = self.tensors.clone();
        let mut ranges: Vec<Vec<Range<u64>>> = vec![Vec::new(); self.shards.len()];
        let mut filled = vec![0_u64; self.shards.len()];
        for ((shard, offset, bytes), own) in places {
            let Some(runs) = ranges.get_mut(shard) else { continue };
            // What lies in another's bytes, a view of them, cannot be told apart from it: the file is read whole.
            let first = own.first().and_then(|at| stored(&self.tensors[*at]));
            let alike = own.iter().all(|at| self.tensors[*at].shape == self.tensors[own[0]].shape);
            let before = filled[shard];
            let drawn = first.filter(|_| alike).map(|stored| (drawn_rows(sampling, stored.rows), stored));
            match &drawn {
                Some((rows, Stored { outer, rows: all, row })) => {
                    let taken: usize = rows.iter().map(ExactSizeIterator::len).sum();
                    for one in 0..*outer as u64 {
                        let start = offset + one * *all as u64 * row;
                        runs.extend(rows.iter().map(|r| start + r.start as u64 * row..start + r.end as u64 * row));
                    }
                    filled[shard] += (*outer * taken) as u64 * row;
                    for at in &own {
                        let tensor = &mut tensors[*at];
                        let axis = if tensor.role.residual == Residual::First { 0 } else { tensor.shape.len() - 2 };
                        tensor.shape[axis] = taken;
                        tensor.bytes = filled[shard] - before;
                        // Its matrices cannot be told apart by their places any more.
                        tensor.split = None;
                        if tensor.role.component == Component::Attention {
                            sample.headless.insert(tensor.role.tower.clone());
                        }
                    }
                    sample.tensors += own.len();
                    let count = |rows: usize| (rows * outer * own.len()) as u64;
                    sample.rows = (sample.rows.0 + count(taken), sample.rows.1 + count(*all));
                }
                None => {
                    runs.push(offset..offset + bytes);
                    filled[shard] += bytes;
                }
            }
            sample.bytes = (sample.bytes.0 + filled[shard] - before, sample.bytes.1 + bytes);
            for at in &own {
                tensors[*at].offset = before;
            }
        }
        for (shard, runs) in self.shards.iter().zip(&ranges) {
            let overlap = runs.windows(2).any(|pair| pair[1].start < pair[0].end);
            if overlap {
                // Views of one storage: nothing of this file is drawn.
                return self.unsampled(sample);
            }
            let blob = DrawnFile::of(&shard.blob, runs).context(|| self.uri.clone())?;
            result.shards.push(Shard { name: shard.name.clone(), blob });
        }
        result.tensors = tensors;
        result.stored = self.stored.saturating_sub(sample.bytes.1) + sample.bytes.0;
        result.sample = Some(Arc::new(sample));
        Ok(result)
    }

    /// A model that is read whole although rows are drawn of others: its tensors overlap in its files.
    #[allow(clippy::unnecessary_wraps, reason = "as the other way out")]
    fn unsampled(mut self, sample: Sample) -> Result<Self> {
        let bytes = self.bytes();
        self.optimizers = Arc::default();
        self.sample = Some(Arc::new(Sample { tensors: 0, headless: BTreeSet::new(), rows: (0, 0), bytes: (bytes, bytes), ..sample }));
        Ok(self)
    }

    /// The tensors as the files have them, whether all their rows are read or not.
    #[must_use]
    pub fn catalogue(&self) -> &[TensorRecord] {
        self.sample.as_ref().map_or(&self.tensors, |sample| &sample.whole)
    }

    /// Rows of a table of tokens in the file, and for each whether it was drawn: its place among those that were.
    #[must_use]
    pub fn drawn_of(&self, tensor: &TensorRecord) -> (usize, Vec<Option<u32>>) {
        let now = tensor.shape.first().copied().unwrap_or(0);
        let whole = self.catalogue().iter().find(|own| own.name == tensor.name).and_then(|own| own.shape.first());
        let all = whole.copied().unwrap_or(now);
        let mut places = vec![None; all];
        let ranges = match &self.sample {
            Some(sample) if all != now => drawn_rows(sample.sampling, all),
            _ => std::iter::once(0..all).collect(),
        };
        for (place, row) in (0..).zip(ranges.into_iter().flatten().take(now)) {
            places[row] = Some(place);
        }
        (all, places)
    }

    /// Rows of the residual axis of every tower that are read of matrices which have it as rows.
    #[must_use]
    pub fn drawn_axes(&self) -> BTreeMap<String, usize> {
        let Some(sample) = &self.sample else { return BTreeMap::new() };
        let drawn = |length: usize| drawn_rows(sample.sampling, length).iter().map(ExactSizeIterator::len).sum();
        hidden_sizes(&sample.whole).into_iter().map(|(tower, length)| (tower.to_owned(), drawn(length))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dtype, testing};
    use super::*;
    use scratchproof_source::MemoryStore;

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

    /// Every drawn row is the row of the file that it is said to be, in matrices, stacks and shared tables.
    #[test]
    fn rows_are_those_of_the_file() {
        let shapes: [(&str, &[usize]); 4] = [
            ("model.embed_tokens.weight", &[1024, 48]),
            ("model.layers.0.self_attn.q_proj.weight", &[512, 48]),
            ("model.layers.0.mlp.experts.gate_up_proj", &[3, 256, 48]),
            ("model.norm.weight", &[48]),
        ];
        let tensors: Vec<_> = shapes.iter().map(|(name, shape)| (*name, Dtype::F32, *shape)).collect();
        let store = MemoryStore::new().with("model.safetensors", testing::file(&tensors));
        let whole = Checkpoint::from_store(&store).unwrap();
        let sampling = Sampling { share: 0.25, seed: 5 };
        let drawn = Checkpoint::from_store(&store).unwrap().sampled(sampling).unwrap();
        for (own, all) in drawn.tensors.iter().zip(&whole.tensors) {
            let (bytes, expected) = (drawn.read(own).unwrap(), whole.read(all).unwrap());
            let Some(Stored { outer, rows, row }) = stored(all) else {
                assert_eq!(bytes, expected, "{}", own.name);
                continue;
            };
            let row = usize::try_from(row).unwrap();
            let picked: Vec<usize> = drawn_rows(sampling, rows).into_iter().flatten().collect();
            let mut rest: Vec<u8> = Vec::new();
            for one in 0..outer {
                for r in &picked {
                    let at = (one * rows + r) * row;
                    rest.extend(&expected[at..at + row]);
                }
            }
            assert_eq!(*bytes, rest, "{}", own.name);
            assert!(bytes.len() * 3 < expected.len(), "{}", own.name);
        }
        let sample = drawn.sample.as_ref().unwrap();
        assert_eq!((sample.tensors, drawn.bytes()), (3, sample.bytes.0));
        assert_eq!(drawn.hidden_size(), whole.hidden_size());
        let (all, places) = drawn.drawn_of(drawn.find("model.embed_tokens.weight").unwrap());
        assert_eq!((all, places.iter().flatten().count()), (1024, drawn.find("model.embed_tokens.weight").unwrap().shape[0]));
    }
}
