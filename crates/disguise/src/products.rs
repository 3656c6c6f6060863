//! Figures of attention heads that no change of the residual basis moves: products of rows that read or write one
//! residual stream in one layer (METHODS 9).
//!
//! With norm weights folded in and every row scaled to length 1, `W_q W_k^T` of a head, `W_v W_o^T` and the Gram matrices of
//! the rows of q, k, v and o are the same whatever orthogonal basis the residual axis is written in, whatever the
//! vocabulary, the depth and the place of the layer, and also where the axis was padded. Biases take no part; a norm of queries
//! or keys scales rows, which the unit length takes away.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::frame::product;
use super::weights::{Function, Matrix, Weights, spread};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::Result;

/// Dimensions of a head that are looked at: 32 of them have 1,024 products a matrix, which sees a correlation of 0.1.
pub const DIMENSIONS: usize = 32;

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

/// Of one head so many of them.
const CROSS_DIMENSIONS: usize = 16;

/// A square matrix of products, row by row.
pub type Square = Vec<f32>;

/// The products inside one key-value head and the query heads that read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The layer it is in.
    pub layer: u32,
    /// Number of the key-value head inside the layer.
    pub group: u32,
    /// Gram matrix of the key rows.
    pub keys: Square,
    /// Gram matrix of the value rows.
    pub values: Square,
    /// Its query heads, ascending.
    pub heads: Vec<Head>,
}

/// The products of one query head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Number of the query head inside the layer.
    pub head: u32,
    /// Gram matrix of the query rows.
    pub queries: Square,
    /// Query rows (down) against key rows.
    pub queries_keys: Square,
    /// Gram matrix of the output rows.
    pub outputs: Square,
    /// Value rows (down) against output rows.
    pub values_outputs: Square,
}

/// The products of all heads of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Products {
    /// Length of the residual axis.
    pub hidden: usize,
    /// Dimensions of a head.
    pub dim: usize,
    /// Dimensions of a head that the squares have.
    pub side: usize,
    /// Layers of the model, also those that were not looked at.
    pub layers: usize,
    /// By layer and key-value head.
    pub groups: Vec<Group>,
    /// The products of rows of different heads.
    pub cross: Cross,
}

/// Products of rows of different key-value heads, whatever their layers: a frame that all layers share shows in them, without
/// that frame being known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cross {
    /// Which of [`Products::groups`] take part, ascending.
    pub groups: Vec<usize>,
    /// Which dimensions of their squares, by the same order in every group.
    pub dimensions: Vec<usize>,
    /// Gram matrix of all their key rows, group after group.
    pub keys: Square,
    /// Gram matrix of all their value rows.
    pub values: Square,
}

impl Products {
    /// Query heads that are here.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.groups.iter().map(|group| group.heads.len()).sum()
    }
}

/// Which dimensions of a head are looked at. Positions turn dimension i with i + half, or with its neighbour, so neighbours and
/// what stands half a head further are taken together.
#[must_use]
pub fn dimensions(dim: usize) -> Vec<usize> {
    if dim <= DIMENSIONS {
        return (0..dim).collect();
    }
    let first: Vec<usize> = spread(dim / 4, DIMENSIONS / 4).into_iter().flat_map(|i| [2 * i, 2 * i + 1]).collect();
    first.iter().copied().chain(first.iter().map(|i| i + dim / 2)).collect()
}

/// Places in a square of that side which no position turns out of their set: two neighbours and what stands half a head further.
#[must_use]
pub fn cells(side: usize) -> Vec<Vec<usize>> {
    let half = side / 2;
    let even = (0..half / 2).map(|c| vec![2 * c, 2 * c + 1, half + 2 * c, half + 2 * c + 1]);
    // What is left of an odd half or an odd side stands together.
    let rest: Vec<usize> =
        (0..side).filter(|i| if *i < half { *i >= half / 2 * 2 } else { i - half >= half / 2 * 2 }).collect();
    even.chain((!rest.is_empty()).then_some(rest)).collect()
}

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
    within(weights, LIMITS)
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
