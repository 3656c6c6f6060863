//! A model of which a share of the rows of every large tensor is looked at: drawn by a recorded seed, the same rows of every
//! model, and of nothing but these is a byte read.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::drawn::{LARGE, LEAST_RUNS, RUN, Sample, drawn_rows};
use super::residual::hidden_sizes;
use super::{Checkpoint, Component, Residual, Shard, TensorRecord};
use scratchproof_case::Sampling;
use scratchproof_error::{Context, Result};
use scratchproof_source::{DrawnFile, Picked, PickedFile};

mod heads;

use heads::by_heads;

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
        let mut sample = Sample::nothing(sampling, whole);
        let whole_heads = by_heads(&self, sampling);
        let mut result = Self::empty(self.uri.clone(), &self);
        result.optimizers = Arc::default();
        result.skipped.clone_from(&self.skipped);
        result.unread.clone_from(&self.unread);
        result.untaken.clone_from(&self.untaken);
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
        // What is fetched of every file, and what is made of it: of the outputs of heads whole rows are read for some columns.
        let mut fetched = vec![0_u64; self.shards.len()];
        let mut filled = vec![0_u64; self.shards.len()];
        let mut pieces: Vec<Vec<Picked>> = vec![Vec::new(); self.shards.len()];
        for ((shard, offset, bytes), own) in places {
            let Some(runs) = ranges.get_mut(shard) else { continue };
            // What lies in another's bytes, a view of them, cannot be told apart from it: the file is read whole.
            let first = own.first().and_then(|at| stored(&self.tensors[*at]));
            let alike = own.iter().all(|at| self.tensors[*at].shape == self.tensors[own[0]].shape);
            let (before, at_fetched) = (filled[shard], fetched[shard]);
            if let Some((tower, by)) = own.first().and_then(|at| whole_heads.of(&self.tensors[*at])) {
                let tensor = &mut tensors[own[0]];
                let (read, piece) = by.read(tensor, at_fetched);
                let of_tensor = by.draw(tensor);
                fetched[shard] += read.iter().map(|run| run.end - run.start).sum::<u64>();
                filled[shard] += of_tensor;
                runs.extend(read);
                pieces[shard].push(piece);
                tensor.offset = before;
                sample.heads.insert(tower.to_owned(), whole_heads.heads[tower]);
                sample.tensors += 1;
                let (drawn, rows) = by.rows(tensor);
                sample.rows = (sample.rows.0 + drawn, sample.rows.1 + rows);
                sample.bytes = (sample.bytes.0 + fetched[shard] - at_fetched, sample.bytes.1 + bytes);
                continue;
            }
            let drawn = first.filter(|_| alike).map(|stored| (drawn_rows(sampling, stored.rows), stored));
            if let Some((rows, Stored { outer, rows: all, row })) = &drawn {
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
            } else {
                runs.push(offset..offset + bytes);
                filled[shard] += bytes;
            }
            let taken = filled[shard] - before;
            fetched[shard] += taken;
            pieces[shard].push(Picked::whole(at_fetched, taken));
            // What is made of other tensors (another packaging, blocks) is made of all of them, whatever rows are wanted.
            let made = self.shards[shard].blob.is_made();
            sample.bytes = (sample.bytes.0 + if made { bytes } else { taken }, sample.bytes.1 + bytes);
            for at in &own {
                tensors[*at].offset = before;
            }
        }
        for ((shard, runs), pieces) in self.shards.iter().zip(&ranges).zip(pieces) {
            let overlap = runs.windows(2).any(|pair| pair[1].start < pair[0].end);
            if overlap {
                // Views of one storage: nothing of this file is drawn.
                return self.unsampled(sample);
            }
            let mut blob = DrawnFile::of(&shard.blob, runs).context(|| self.uri.clone())?;
            if pieces.iter().any(|piece| piece.rows > 1) {
                blob = PickedFile::of(blob, pieces).context(|| self.uri.clone())?;
            }
            result.shards.push(Shard { name: shard.name.clone(), blob });
        }
        result.tensors = tensors;
        result.stored = self.stored.saturating_sub(sample.bytes.1) + filled.iter().sum::<u64>();
        result.sample = Some(Arc::new(sample));
        Ok(result)
    }

    /// A model that is read whole although rows are drawn of others: its tensors overlap in its files.
    #[allow(clippy::unnecessary_wraps, reason = "as the other way out")]
    fn unsampled(mut self, sample: Sample) -> Result<Self> {
        let bytes = self.bytes();
        self.optimizers = Arc::default();
        let nothing = Sample::nothing(sample.sampling, sample.whole);
        self.sample = Some(Arc::new(Sample { bytes: (bytes, bytes), ..nothing }));
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

    /// Heads are whole, the same in all of their matrices, and of the outputs their columns.
    #[test]
    fn heads_are_drawn_whole() {
        let of = |part: &str| format!("model.layers.0.self_attn.{part}_proj.weight");
        let names = ["q", "k", "v", "o"].map(of);
        let shapes: [&[usize]; 4] = [&[512, 256], &[128, 256], &[128, 256], &[256, 512]];
        let mut tensors: Vec<_> =
            names.iter().zip(shapes).map(|(name, shape)| (name.as_str(), Dtype::F32, shape)).collect();
        let rest: [(&str, &[usize]); 4] = [
            ("model.embed_tokens.weight", &[8192, 256]),
            ("model.layers.0.mlp.down_proj.weight", &[256, 1024]),
            ("model.layers.0.mlp.up_proj.weight", &[1024, 256]),
            ("model.norm.weight", &[256]),
        ];
        tensors.extend(rest.map(|(name, shape)| (name, Dtype::F32, shape)));
        let config =
            r#"{"model_type": "llama", "hidden_size": 256, "num_attention_heads": 16, "num_key_value_heads": 4}"#;
        let store = MemoryStore::new()
            .with("model.safetensors", testing::file(&tensors))
            .with("config.json", config.as_bytes());
        let whole = Checkpoint::from_store(&store).unwrap();
        let sampling = Sampling { share: 0.5, seed: 5 };
        let drawn = Checkpoint::from_store(&store).unwrap().sampled(sampling).unwrap();
        let heads = drawn.heads().unwrap();
        assert_eq!((heads.query, heads.key_value, heads.dim), (8, 2, 32));
        let groups = super::super::drawn::drawn_heads(sampling, 4).unwrap();
        let read = |model: &Checkpoint, name: &str| model.read(model.find(name).unwrap()).unwrap().to_vec();
        for (name, inside) in names.iter().zip([4, 1, 1, 4]) {
            let all = read(&whole, name);
            let picked: Vec<usize> = groups.iter().flat_map(|g| g * inside * 32..(g + 1) * inside * 32).collect();
            let numbers: Vec<&[u8]> = all.chunks(4).collect();
            let expected: Vec<u8> = if name.contains(".o_") {
                (0..256)
                    .flat_map(|row| picked.iter().map(move |col| row * 512 + col))
                    .flat_map(|at| numbers[at].to_vec())
                    .collect()
            } else {
                picked.iter().flat_map(|row| row * 256..(row + 1) * 256).flat_map(|at| numbers[at].to_vec()).collect()
            };
            assert!(read(&drawn, name) == expected, "{name}");
        }
        // Of the outputs every row is fetched.
        let bytes = drawn.sample.as_ref().unwrap().bytes;
        let share = bytes.0 as f64 / bytes.1 as f64;
        assert!((0.5..0.6).contains(&share), "{share}");
        // A share that no number of heads has leaves them out.
        let few = Checkpoint::from_store(&store).unwrap().sampled(Sampling { share: 0.05, seed: 5 }).unwrap();
        assert!(few.heads().is_none());
    }

    /// What is made of packed numbers is made of all of them: its bytes count as fetched, whatever rows are looked at.
    #[test]
    fn what_is_made_counts_whole() {
        let shapes: [(&str, Dtype, &[usize]); 3] = [
            ("model.layers.0.mlp.up_proj.weight", Dtype::U32, &[512, 32]),
            ("model.layers.0.mlp.up_proj.scales", Dtype::F32, &[512, 4]),
            ("model.layers.0.mlp.up_proj.biases", Dtype::F32, &[512, 4]),
        ];
        let config = br#"{"quantization": {"group_size": 64, "bits": 4}}"#;
        let store = MemoryStore::new().with("model.safetensors", testing::file(&shapes)).with("config.json", config);
        let drawn = Checkpoint::from_store(&store).unwrap().sampled(Sampling { share: 0.25, seed: 5 }).unwrap();
        let sample = drawn.sample.as_ref().unwrap();
        assert_eq!((sample.tensors, sample.bytes.0), (1, sample.bytes.1));
        assert!(drawn.tensors[0].shape[0] < 512 && drawn.bytes() < sample.bytes.1);
    }

    /// Every drawn row is the row of the file that it is said to be, in matrices, stacks and shared tables.
    #[test]
    fn rows_are_those_of_the_file() {
        let shapes: [(&str, &[usize]); 4] = [
            ("model.embed_tokens.weight", &[1024, 48]),
            ("model.layers.0.self_attn.qkv_proj.weight", &[512, 48]),
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
        assert_eq!(
            (all, places.iter().flatten().count()),
            (1024, drawn.find("model.embed_tokens.weight").unwrap().shape[0])
        );
    }
}
