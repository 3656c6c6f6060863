//! Making the products of a model's attention heads out of its rows.

use rayon::prelude::*;

use super::latent::Latent;
use super::matrix::{Function, Matrix, spread};
use super::products::{Cross, Group, Head, Products, cells, dimensions};
use super::weights::Weights;
use scratchproof_checkpoint::{Checkpoint, Heads};
use scratchproof_error::Result;
use scratchproof_kernel::{product, square, transpose};

/// How much of a model is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Query heads. Where there are more, some of each group, then some of the groups of a layer, at least half of either, and only
    /// then some of the layers.
    pub heads: usize,
    /// Rows of keys, and of values, that are held against each other across heads.
    pub cross_rows: usize,
}

/// Where the weights are there: every head of every layer, up to so many that each of the two matrices of scores takes 38 MB.
const LIMITS: Limits = Limits { heads: 3072, cross_rows: 2048 };

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

/// Whether any layer has latent attention.
pub(super) fn is_latent(weights: &Weights<'_>) -> bool {
    weights.latent.values().any(Latent::is_there)
}

/// The heads whose rows [`rows_of_heads`] gives: of latent attention those behind its ranks.
pub(super) fn seen(weights: &Weights<'_>) -> Option<Heads> {
    let heads = weights.heads?;
    let Some(latent) = weights.latent.values().find(|latent| latent.is_there()) else { return Some(heads) };
    let sizes = latent.sizes(&heads)?;
    let dim = sizes.plain.min(sizes.value);
    Some(Heads { dim, value: dim, ..heads })
}

/// These dimensions of these heads (of key-value heads, where it is their matrix), head after head, as rows over the residual axis;
/// `None` where a layer has no such rows.
fn rows_of_heads(
    weights: &Weights<'_>,
    (layer, function): (u32, Function),
    heads: &[usize],
    dimensions: &[usize],
) -> Result<Option<Matrix>> {
    let Some(all) = weights.heads else { return Ok(None) };
    let rows = |first: usize, stride: usize| -> Vec<usize> {
        heads.iter().flat_map(|head| dimensions.iter().map(move |i| head * stride + first + i)).collect()
    };
    let Some(latent) = weights.latent.get(&layer).filter(|latent| latent.is_there()) else {
        let count = if matches!(function, Function::Key | Function::Value) { all.key_value } else { all.query };
        return weights.rows_of(layer, function, rows(0, all.dim), count * all.dim);
    };
    let Some(sizes) = latent.sizes(&all) else { return Ok(None) };
    let Some(behind) = latent.behind(function, sizes) else {
        let wide = if function == Function::Output { sizes.value } else { sizes.turned };
        return weights.rows_of(layer, function, rows(0, wide), sizes.heads * wide);
    };
    let (rows, rank) = (rows(behind.first, behind.stride), behind.part.cols);
    // Behind the ranks of keys and values stands the one key that positions turn.
    let Some(total) = weights.size(layer, behind.ranks).filter(|total| *total >= rank) else { return Ok(None) };
    let (Some(ranks), Some(mut values)) =
        (weights.rows_of(layer, behind.ranks, (0..rank).collect(), total)?, weights.behind(behind.part, &rows)?)
    else {
        return Ok(None);
    };
    if let Some(norm) = behind.norm.filter(|norm| norm.cols.max(norm.rows) == rank) {
        let multipliers = weights.multipliers(norm)?;
        for row in values.chunks_exact_mut(rank) {
            row.iter_mut().zip(&multipliers).for_each(|(value, weight)| *value *= weight);
        }
    }
    let cols = ranks.cols;
    let values = product(&values, &transpose(&ranks.values, rank, cols), rank);
    let matrix = Matrix { cols, total: rows.len(), picked: rows, values };
    Ok(matrix.usable().then_some(matrix))
}

/// Whether heads can be told apart in the rows of a layer's matrices, or behind the ranks of latent attention.
pub(super) fn can_be_matched(weights: &Weights<'_>) -> bool {
    let Some(heads) = weights.heads else { return false };
    if is_latent(weights) {
        return seen(weights).is_some();
    }
    let whole = |layer: &u32| {
        Function::ATTENTION
            .iter()
            .zip([heads.query, heads.key_value, heads.key_value, heads.query])
            .all(|(function, count)| weights.size(*layer, *function) == Some(count * heads.dim))
    };
    weights.attentions().iter().any(whole)
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
    let Some(heads) = seen(weights) else { return Ok(None) };
    let all = weights.attentions();
    let taken = Taken::of(&heads, all.len(), limits.heads);
    let chosen: Vec<u32> = spread(all.len(), taken.layers).into_iter().map(|at| all[at]).collect();
    let picked = dimensions(heads.dim);
    let one = |layer: &u32| -> Result<Vec<Group>> {
        let rows = |function: Function, numbers: &[usize]| -> Result<Option<Matrix>> {
            Ok(rows_of_heads(weights, (*layer, function), numbers, &picked)?.map(Matrix::normalised))
        };
        let (Some(k), Some(v), Some(q), Some(o)) = (
            rows(Function::Key, &taken.groups)?,
            rows(Function::Value, &taken.groups)?,
            rows(Function::Query, &taken.heads)?,
            rows(Function::Output, &taken.heads)?,
        ) else {
            return Ok(Vec::new());
        };
        let group = |g: usize| {
            let of = |matrix: &'_ Matrix, at: usize| -> std::ops::Range<usize> {
                let size = picked.len() * matrix.cols;
                at * size..(at + 1) * size
            };
            let against = |(a, i): (&Matrix, usize), (b, j): (&Matrix, usize)| {
                product(&a.values[of(a, i)], &b.values[of(b, j)], a.cols)
            };
            Group {
                layer: *layer,
                group: number(taken.groups[g]),
                keys: against((&k, g), (&k, g)),
                values: against((&v, g), (&v, g)),
                heads: (g * taken.inside..(g + 1) * taken.inside)
                    .map(|h| Head {
                        head: number(taken.heads[h]),
                        queries: against((&q, h), (&q, h)),
                        queries_keys: against((&q, h), (&k, g)),
                        outputs: against((&o, h), (&o, h)),
                        values_outputs: against((&v, g), (&o, h)),
                    })
                    .collect(),
            }
        };
        Ok((0..taken.groups.len()).map(group).collect())
    };
    let groups: Vec<Group> = chosen.par_iter().map(one).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    let cross = cross(weights, &picked, &groups, limits.cross_rows)?;
    let side = picked.len();
    let found = Products { hidden: weights.hidden, dim: heads.dim, side, layers: all.len(), groups, cross };
    Ok((!found.groups.is_empty()).then_some(found))
}

/// Which heads of a model are looked at.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    /// Layers, spread evenly.
    layers: usize,
    /// Key-value heads of a layer, ascending.
    groups: Vec<usize>,
    /// Query heads of a layer, those of a group beside each other, and how many of each group.
    heads: Vec<usize>,
    inside: usize,
}

impl Taken {
    /// At most so many query heads of a model of so many layers.
    fn of(heads: &Heads, layers: usize, most: usize) -> Self {
        let whole = heads.query / heads.key_value.max(1);
        let within = |all: usize, others: usize| (most / others.max(1)).clamp(all.div_ceil(2), all.max(1));
        let inside = within(whole, layers * heads.key_value);
        let groups = spread(heads.key_value, within(heads.key_value, layers * inside));
        let layers = (most / (groups.len() * inside).max(1)).clamp(1, layers.max(1));
        let own = spread(whole, inside);
        let heads = groups.iter().flat_map(|group| own.iter().map(move |head| group * whole + head)).collect();
        Self { layers, groups, heads, inside }
    }
}

/// The products across heads.
fn cross(weights: &Weights<'_>, picked: &[usize], groups: &[Group], rows: usize) -> Result<Cross> {
    let sets = cells(picked.len());
    let wanted = (CROSS_DIMENSIONS / 4).max(1);
    let mut dimensions: Vec<usize> = spread(sets.len(), wanted).into_iter().flat_map(|at| sets[at].clone()).collect();
    dimensions.sort_unstable();
    let chosen = spread(groups.len(), rows / dimensions.len().max(1));
    let mut all = [Vec::new(), Vec::new()];
    for (into, function) in all.iter_mut().zip([Function::Key, Function::Value]) {
        let read = |at: &usize| -> Result<Vec<f32>> {
            let group = &groups[*at];
            let rows: Vec<usize> = dimensions.iter().map(|i| picked[*i]).collect();
            let matrix = rows_of_heads(weights, (group.layer, function), &[group.group as usize], &rows)?;
            Ok(matrix.map_or_else(|| vec![0.0; dimensions.len() * weights.hidden], |m| m.normalised().values))
        };
        *into = chosen.par_iter().map(read).collect::<Result<Vec<_>>>()?.concat();
    }
    let [keys, values] = all.map(|rows| square(&rows, weights.hidden));
    Ok(Cross { groups: chosen, dimensions, keys, values })
}

fn number(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_keeps_at_least_half_of_its_heads_before_one_is_left_out() {
        let heads = |query, key_value| Heads { query, key_value, dim: 64, value: 64 };
        let taken = |query, key_value, layers, most| {
            let own = Taken::of(&heads(query, key_value), layers, most);
            assert!(own.heads.windows(2).all(|pair| pair[0] < pair[1]) && own.heads.iter().all(|head| *head < query));
            let in_group = |(at, head): (usize, &usize)| *head / (query / key_value) == own.groups[at / own.inside];
            assert!(own.heads.iter().enumerate().all(in_group));
            (own.layers, own.groups.len(), own.inside)
        };
        assert_eq!(taken(12, 4, 8, 3072), (8, 4, 3));
        // 4,608 heads: eight of the twelve of every group.
        assert_eq!(taken(96, 8, 48, 3072), (48, 8, 8));
        // Groups of one head: some groups of every layer.
        assert_eq!(taken(64, 64, 80, 3072), (80, 38, 1));
        // Where half of everything is too much layers are left out.
        assert_eq!(taken(128, 8, 96, 1536), (48, 4, 8));
        assert_eq!(taken(8, 2, 4, 1), (1, 1, 2));
    }
}
