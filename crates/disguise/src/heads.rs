//! Making the products of a model's attention heads out of its rows.

use rayon::prelude::*;

use super::matrix::{Function, Matrix, spread};
use super::products::{Cross, Group, Head, Products, cells, dimensions};
use super::weights::Weights;
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::Result;
use scratchproof_kernel::product;

/// How much of a model is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Query heads; whole layers, spread evenly.
    pub heads: usize,
    /// Rows of keys, and of values, that are held against each other across heads.
    pub cross_rows: usize,
}

/// Where the weights are there: every head of every layer, up to so many that an assignment takes 150 MB for each matrix of
/// scores.
const LIMITS: Limits = Limits { heads: 6144, cross_rows: 2048 };

/// Of what was added between two checkpoints fewer: there are many intervals, and each is read for this alone.
const ADDED: Limits = Limits { heads: 64, cross_rows: 512 };

/// Of one head so many of them.
const CROSS_DIMENSIONS: usize = 16;

/// The products of a model's heads; `None` where it has no heads whose sizes are known.
///
/// # Errors
/// If weights cannot be read.
pub fn products(checkpoint: &Checkpoint) -> Result<Option<Products>> {
    products_within(checkpoint, LIMITS)
}

/// The same of no more than so many heads.
///
/// # Errors
/// If weights cannot be read.
pub fn products_within(checkpoint: &Checkpoint, limits: Limits) -> Result<Option<Products>> {
    Weights::new(checkpoint)?.map_or(Ok(None), |weights| within(&weights, limits))
}

/// Whether heads can be told apart in the rows of a layer's matrices: not in latent attention, whose ranks read the residual axis.
pub(super) fn can_be_matched(weights: &Weights<'_>) -> bool {
    let Some(heads) = weights.heads else { return false };
    let whole = |layer: &u32| {
        [
            (Function::Query, heads.query),
            (Function::Key, heads.key_value),
            (Function::Value, heads.key_value),
            (Function::Output, heads.query),
        ]
        .iter()
        .all(|(function, count)| weights.size(*layer, *function) == Some(count * heads.dim))
    };
    weights.layers().iter().any(whole)
}

/// The products of a model that is taken apart; made once.
pub(super) fn kept<'w>(weights: &'w Weights<'_>) -> Result<Option<&'w Products>> {
    if weights.products.get().is_none() {
        let _ = weights.products.set(of(weights)?);
    }
    Ok(weights.products.get().and_then(Option::as_ref))
}

pub(super) fn of(weights: &Weights<'_>) -> Result<Option<Products>> {
    within(weights, if weights.is_added() && weights.glance() { ADDED } else { LIMITS })
}

fn within(weights: &Weights<'_>, limits: Limits) -> Result<Option<Products>> {
    let Some(heads) = weights.heads else { return Ok(None) };
    let all = weights.layers();
    let looked = (limits.heads / heads.query.max(1)).max(1);
    let chosen: Vec<u32> = spread(all.len(), looked).into_iter().map(|at| all[at]).collect();
    let picked = dimensions(heads.dim);
    let one = |layer: &u32| -> Result<Vec<Group>> {
        let inside = heads.query / heads.key_value;
        let rows = |function: Function, count: usize| -> Result<Option<Vec<Matrix>>> {
            let wanted = (0..count).flat_map(|head| picked.iter().map(move |i| head * heads.dim + i)).collect();
            let Some(all) = weights.rows_of(*layer, function, wanted, count * heads.dim)? else { return Ok(None) };
            let all = all.normalised();
            let side = picked.len();
            let of_head = |head: usize| all.chosen(&(head * side..(head + 1) * side).collect::<Vec<_>>());
            Ok(Some((0..count).map(of_head).collect()))
        };
        let (Some(q), Some(k), Some(v), Some(o)) = (
            rows(Function::Query, heads.query)?,
            rows(Function::Key, heads.key_value)?,
            rows(Function::Value, heads.key_value)?,
            rows(Function::Output, heads.query)?,
        ) else {
            return Ok(Vec::new());
        };
        let against = |a: &Matrix, b: &Matrix| product(&a.values, &b.values, a.cols);
        let group = |g: usize| Group {
            layer: *layer,
            group: number(g),
            keys: against(&k[g], &k[g]),
            values: against(&v[g], &v[g]),
            heads: (g * inside..(g + 1) * inside)
                .map(|h| Head {
                    head: number(h),
                    queries: against(&q[h], &q[h]),
                    queries_keys: against(&q[h], &k[g]),
                    outputs: against(&o[h], &o[h]),
                    values_outputs: against(&v[g], &o[h]),
                })
                .collect(),
        };
        Ok((0..heads.key_value).into_par_iter().map(group).collect())
    };
    let groups: Vec<Group> = chosen.par_iter().map(one).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    let cross = cross(weights, (heads.dim, &picked), &groups, limits.cross_rows)?;
    let side = picked.len();
    let found = Products { hidden: weights.hidden, dim: heads.dim, side, layers: all.len(), groups, cross };
    Ok((!found.groups.is_empty()).then_some(found))
}

/// The products across heads.
fn cross(weights: &Weights<'_>, (dim, picked): (usize, &[usize]), groups: &[Group], rows: usize) -> Result<Cross> {
    let sets = cells(picked.len());
    let wanted = (CROSS_DIMENSIONS / 4).max(1);
    let mut dimensions: Vec<usize> = spread(sets.len(), wanted).into_iter().flat_map(|at| sets[at].clone()).collect();
    dimensions.sort_unstable();
    let chosen = spread(groups.len(), rows / dimensions.len().max(1));
    let mut all = [Vec::new(), Vec::new()];
    for (into, function) in all.iter_mut().zip([Function::Key, Function::Value]) {
        let read = |at: &usize| -> Result<Vec<f32>> {
            let group = &groups[*at];
            let rows = dimensions.iter().map(|i| group.group as usize * dim + picked[*i]).collect();
            let total = weights.size(group.layer, function).unwrap_or(0);
            let matrix = weights.rows_of(group.layer, function, rows, total)?;
            Ok(matrix.map_or_else(|| vec![0.0; dimensions.len() * weights.hidden], |m| m.normalised().values))
        };
        *into = chosen.par_iter().map(read).collect::<Result<Vec<_>>>()?.concat();
    }
    let [keys, values] = all.map(|rows| product(&rows, &rows, weights.hidden));
    Ok(Cross { groups: chosen, dimensions, keys, values })
}

fn number(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}
