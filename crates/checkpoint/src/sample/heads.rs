//! Attention heads that are read whole: of the drawn key-value heads the rows of keys and values, those of the queries that
//! read them, and their columns of the output matrix. Of that matrix every row is fetched, a twelfth of a layer in most models:
//! its columns are spans of a few hundred bytes, which no server is asked for one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::super::drawn::{LARGE, drawn_heads};
use super::super::heads::Heads;
use super::super::part::heads_of;
use super::super::{Checkpoint, Component, Residual, TensorRecord};
use scratchproof_case::Sampling;
use scratchproof_source::Picked;

/// Share of a model's bytes that reading output matrices whole may add.
const EXTRA: f64 = 0.09;

/// How the heads of one tensor are drawn.
#[derive(Clone, Debug)]
pub(super) struct ByHeads {
    /// Heads of the tensor.
    heads: usize,
    /// Rows, or columns, of one.
    dim: usize,
    /// Those that are drawn, ascending.
    drawn: Vec<usize>,
    /// Whether the heads are its columns.
    columns: bool,
}

impl ByHeads {
    /// The ranges of its file that are read of a whole tensor, and what of them is taken, as a piece that begins at `fetched`.
    pub(super) fn read(&self, tensor: &TensorRecord, fetched: u64) -> (Vec<Range<u64>>, Picked) {
        let all = ((self.heads * self.dim) as u64).max(1);
        let scaled = |by: u64| self.runs().map(move |run| run.start as u64 * by..run.end as u64 * by);
        if self.columns {
            let width = tensor.dtype.width() as u64;
            let (row, spans) = (all * width, scaled(width).collect());
            let piece = Picked { offset: fetched, rows: tensor.bytes / row, row, spans };
            return (std::iter::once(tensor.offset..tensor.offset + tensor.bytes).collect(), piece);
        }
        let at = |run: Range<u64>| tensor.offset + run.start..tensor.offset + run.end;
        let ranges: Vec<Range<u64>> = scaled(tensor.bytes / all).map(at).collect();
        let taken = ranges.iter().map(|run| run.end - run.start).sum();
        (ranges, Picked::whole(fetched, taken))
    }

    /// Rows that are drawn, and all; of an output matrix the share of its rows that its columns are.
    pub(super) fn rows(&self, tensor: &TensorRecord) -> (u64, u64) {
        let all = if self.columns {
            tensor.shape.first().map_or(0, |rows| *rows as u64)
        } else {
            (self.heads * self.dim) as u64
        };
        (all * self.drawn.len() as u64 / (self.heads as u64).max(1), all)
    }

    /// The rows, or columns, that are drawn.
    fn runs(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let joined = self.drawn.chunk_by(|one, next| one + 1 == *next);
        joined.map(|run| run[0] * self.dim..(run[run.len() - 1] + 1) * self.dim)
    }

    /// Makes a tensor's record that of the drawn heads; the bytes that it has then.
    pub(super) fn draw(&self, tensor: &mut TensorRecord) -> u64 {
        let all = (self.heads as u64).max(1);
        tensor.bytes = tensor.bytes / all * self.drawn.len() as u64;
        tensor.shape[usize::from(self.columns)] = self.drawn.len() * self.dim;
        tensor.bytes
    }
}

/// The towers whose heads are drawn whole.
pub(super) struct WholeHeads {
    /// As many heads as are read.
    pub(super) heads: BTreeMap<String, Heads>,
    tensors: BTreeMap<String, ByHeads>,
}

impl WholeHeads {
    /// How a tensor's heads are drawn, with its tower.
    pub(super) fn of<'a>(&self, tensor: &'a TensorRecord) -> Option<(&'a str, ByHeads)> {
        Some((&tensor.role.tower, self.tensors.get(&tensor.name)?.clone()))
    }
}

/// The towers of a model whose heads can be drawn whole: every large matrix of their attention is one of queries, keys, values
/// or outputs by head, and stands alone in its bytes.
pub(super) fn by_heads(checkpoint: &Checkpoint, sampling: Sampling) -> WholeHeads {
    let mut found = WholeHeads { heads: BTreeMap::new(), tensors: BTreeMap::new() };
    let towers: BTreeSet<&str> = checkpoint.tensors.iter().map(|tensor| tensor.role.tower.as_str()).collect();
    for tower in towers {
        if let Some((heads, tensors)) = of_tower(checkpoint, tower, sampling) {
            found.heads.insert(tower.to_owned(), heads);
            found.tensors.extend(tensors);
        }
    }
    found
}

fn of_tower(checkpoint: &Checkpoint, tower: &str, sampling: Sampling) -> Option<(Heads, BTreeMap<String, ByHeads>)> {
    let heads = heads_of(checkpoint, tower).filter(|heads| heads.value == heads.dim && heads.dim > 0)?;
    let groups = drawn_heads(sampling, heads.key_value)?;
    let inside = heads.query / heads.key_value;
    let queries: Vec<usize> = groups.iter().flat_map(|group| group * inside..(group + 1) * inside).collect();
    let mut tensors = BTreeMap::new();
    let (mut large, mut extra) = (false, 0_u64);
    let mut places = BTreeSet::new();
    let own = |tensor: &&TensorRecord| tensor.role.tower == tower && tensor.role.component == Component::Attention;
    for tensor in checkpoint.tensors.iter().filter(own) {
        let [first, second] = tensor.shape[..] else {
            // A stack of matrices would be drawn by rows.
            if tensor.shape.len() > 2 && tensor.bytes >= LARGE {
                return None;
            }
            continue;
        };
        let (count, drawn) = match tensor.role.family.as_str() {
            "q_proj" | "o_proj" => (heads.query, &queries),
            "k_proj" | "v_proj" => (heads.key_value, &groups),
            _ if tensor.bytes >= LARGE => return None,
            _ => continue,
        };
        let columns = match tensor.role.residual {
            Residual::Columns if first == count * heads.dim => false,
            Residual::Rows if second == count * heads.dim && tensor.role.family == "o_proj" => true,
            _ => return None,
        };
        let whole = (tensor.elements() as u64).checked_mul(tensor.dtype.width() as u64) == Some(tensor.bytes);
        let plain = whole && tensor.dtype.is_float() && tensor.split.is_none() && !tensor.role.constant;
        let made = checkpoint.shards.get(tensor.shard).is_none_or(|shard| shard.blob.is_made());
        if !plain || made || !places.insert((tensor.shard, tensor.offset)) {
            return None;
        }
        large |= tensor.bytes >= LARGE;
        extra += if columns { tensor.bytes } else { 0 };
        let drawn = drawn.clone();
        tensors.insert(tensor.name.clone(), ByHeads { heads: count, dim: heads.dim, drawn, columns });
    }
    let all: u64 = checkpoint.tensors.iter().map(|tensor| tensor.bytes).sum();
    let added = extra as f64 * (1.0 - sampling.share) / all.max(1) as f64;
    let shared = checkpoint.tensors.iter().filter(|tensor| places.contains(&(tensor.shard, tensor.offset))).count();
    let drawn = Heads { query: queries.len(), key_value: groups.len(), ..heads };
    (large && added <= EXTRA && shared == places.len()).then_some((drawn, tensors))
}
