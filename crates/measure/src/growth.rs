//! Two checkpoints of one series in different architectures: what both have, what changed its shape, what is new
//! (METHODS 5, growth and surgery in mid-run).

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::rows::rows;
use scratchproof_checkpoint::{Checkpoint, TensorRecord};
use scratchproof_error::Result;
use scratchproof_kernel::{centre, normalise, trace};
use scratchproof_measurements::{Growth, NewMatrix, Resized};

/// Rows of a matrix that are compared, spread evenly.
const ROWS: usize = 64;

/// Matrices of each kind that are compared at most, spread evenly; a model of experts has thousands.
const MATRICES: usize = 256;

/// A correlation of this size with a matrix of another layer says that a new layer is its copy.
const COPY: f64 = 0.3;

/// What changed from one checkpoint to the next; `None` if both have the same matrices.
///
/// # Errors
/// If a file cannot be read.
pub fn growth(before: &Checkpoint, after: &Checkpoint) -> Result<Option<Growth>> {
    let matrix = |t: &&TensorRecord| t.shape.len() == 2 && t.dtype.is_float() && t.elements() > 0 && !t.role.constant;
    let later: Vec<&TensorRecord> = after.tensors.iter().filter(matrix).collect();
    let earlier: BTreeMap<&str, &TensorRecord> =
        before.tensors.iter().filter(matrix).map(|t| (t.name.as_str(), t)).collect();
    let find = |tensor: &TensorRecord| earlier.get(tensor.name.as_str()).copied();
    let (known, new): (Vec<_>, Vec<_>) = later.iter().copied().partition(|t| find(t).is_some());
    let pairs: Vec<(&TensorRecord, &TensorRecord)> = known.iter().filter_map(|t| Some((find(t)?, *t))).collect();
    let (same, resized): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(a, b)| a.shape == b.shape);
    let dropped = earlier.len() - known.len();
    if resized.is_empty() && new.is_empty() && dropped == 0 {
        return Ok(None);
    }
    let kept = |(a, b): &(&TensorRecord, &TensorRecord)| kept(before, after, a, b);
    let same = spread(&same).par_iter().map(kept).collect::<Result<Vec<_>>>()?;
    let resized = spread(&resized)
        .par_iter()
        .map(|pair| {
            let (a, b) = *pair;
            let kept = kept(pair)?;
            Ok(Resized {
                tensor: b.name.clone(),
                before: a.shape.clone(),
                after: b.shape.clone(),
                kept: kept.map(|k| k.0),
                elements: kept.map_or(0, |k| k.1),
            })
        })
        .collect::<Result<_>>()?;
    let candidates: Vec<&TensorRecord> = earlier.values().copied().collect();
    let new = spread(&new).par_iter().map(|t| origin(before, after, t, &candidates)).collect::<Result<_>>()?;
    Ok(Some(Growth {
        same: same.into_iter().flatten().map(|k| k.0).collect(),
        resized,
        new,
        dropped,
        matrices: (earlier.len(), later.len()),
    }))
}

fn spread<T: Copy>(all: &[T]) -> Vec<T> {
    let wanted = all.len().min(MATRICES);
    (0..wanted).map(|i| all[(2 * i + 1) * all.len() / (2 * wanted)]).collect()
}

/// Leading columns of evenly spread rows of the first `count`, rows centred.
fn sample(checkpoint: &Checkpoint, tensor: &TensorRecord, count: usize, columns: usize) -> Result<Vec<f32>> {
    let wanted = count.min(ROWS);
    let chosen: Vec<u32> = (0..wanted).filter_map(|i| u32::try_from((2 * i + 1) * count / (2 * wanted)).ok()).collect();
    let values = rows(checkpoint, tensor, &chosen)?;
    let mut cut: Vec<f32> = values.chunks_exact(tensor.shape[1]).flat_map(|row| &row[..columns]).copied().collect();
    centre(&mut cut, columns);
    Ok(cut)
}

/// Correlation of the leading blocks of two matrices, and the elements compared.
fn kept(before: &Checkpoint, after: &Checkpoint, a: &TensorRecord, b: &TensorRecord) -> Result<Option<(f64, usize)>> {
    let (count, columns) = (a.shape[0].min(b.shape[0]), a.shape[1].min(b.shape[1]));
    let mut own = sample(before, a, count, columns)?;
    let mut other = sample(after, b, count, columns)?;
    Ok((normalise(&mut own) && normalise(&mut other)).then(|| (trace(&own, &other), own.len())))
}

fn origin(
    before: &Checkpoint,
    after: &Checkpoint,
    tensor: &TensorRecord,
    candidates: &[&TensorRecord],
) -> Result<NewMatrix> {
    let mut own = sample(after, tensor, tensor.shape[0], tensor.shape[1])?;
    let zero = own.iter().all(|v| *v == 0.0);
    let mut copy: Option<(String, f64)> = None;
    if normalise(&mut own) {
        let alike = |c: &&&TensorRecord| c.role.family == tensor.role.family && c.shape == tensor.shape;
        for candidate in candidates.iter().filter(alike).take(MATRICES) {
            let mut other = sample(before, candidate, candidate.shape[0], candidate.shape[1])?;
            if normalise(&mut other) {
                let correlation = trace(&own, &other);
                if correlation > copy.as_ref().map_or(COPY, |c| c.1) {
                    copy = Some((candidate.name.clone(), correlation));
                }
            }
        }
    }
    Ok(NewMatrix { tensor: tensor.name.clone(), shape: tensor.shape.clone(), copy, zero })
}
