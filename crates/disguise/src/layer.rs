//! One layer taken apart: its moments, its MLPs, and which expert of two models is held against which.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::frame::{Agreement, Frame};
use super::heads::can_be_matched;
use super::matrix::{Function, Matrix, ROWS, Slot};
use super::moments::{LayerMoments, Moments};
use super::units::{Matching, Mlp, experts, expressed};
use super::weights::{EXPERTS, Weights};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::Result;
use scratchproof_kernel::{assign, product};

/// A cell of a layer map away from the layer's own number counts if its z is so much above the z of the own number ...
const CELL_EXCESS: f64 = 4.0;
/// ... and its correlation too: layers of one lineage, and layers that read the same residual features, are all alike to
/// some degree (**measured** 0.31 to 0.55 between layers behind one borrowed embedding, with gaps of up to 0.07).
const CELL_GAP: f64 = 0.1;

/// What a search of these two leaves out, and why.
///
/// # Errors
/// If weights cannot be read.
pub fn limits(own: &Checkpoint, other: &Checkpoint) -> Result<Vec<String>> {
    let drawn = own.sample.is_some() || other.sample.is_some();
    let (Some(own), Some(other)) = (Weights::new(own)?, Weights::new(other)?) else { return Ok(Vec::new()) };
    let mut left = Vec::new();
    if drawn && own.heads.is_none() {
        left.push("heads were not matched in any basis: of the rows that were drawn no head is whole".to_owned());
    } else if !can_be_matched(&own) || !can_be_matched(&other) {
        left.push(
            "heads were not matched in any basis: in one of the two models no layer has query, key, value and output rows by head \
             (latent attention, or sizes of heads that are not known)"
                .to_owned(),
        );
    }
    Ok(left)
}

/// How many rows of the matrices of every MLP are looked at when its neurons are matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Of the subject's.
    pub own: usize,
    /// Of the other model's, the subject's among them where nothing was moved.
    pub other: usize,
}

impl Look {
    /// All that may be looked at.
    pub const WHOLE: Self = Self { own: ROWS, other: ROWS };

    /// Of a layer with so many experts: enough of all MLPs together, a share of each.
    pub fn at(experts: usize) -> Self {
        let share = |all: usize, least: usize, most: usize| (all / experts.max(1)).clamp(least, most);
        Self { own: share(ROWS, 16, 256), other: share(8 * ROWS, 128, ROWS) }
    }
}

/// Where a layer has many experts: for every expert of the subject, the other model's that their rows of the router say it
/// is, by number where there is no router. `None` where experts are few enough to be matched by their own matrices.
pub fn chosen(
    own_weights: &Weights<'_>,
    other_weights: &Weights<'_>,
    (l, m): (u32, u32),
    frame: &Frame,
) -> Result<Option<BTreeMap<u32, u32>>> {
    let (own, other) = (own_weights.experts(l), other_weights.experts(m));
    if own.len().max(other.len()) <= EXPERTS || own.is_empty() || other.is_empty() {
        return Ok(None);
    }
    let routers = (own_weights.matrix(l, Function::Router)?, other_weights.matrix(m, Function::Router)?);
    let whole = |r: &Matrix, experts: &BTreeSet<u32>| r.rows() == r.total && r.rows() == experts.len();
    Ok(Some(match routers {
        (Some(a), Some(b)) if whole(&a, &own) && whole(&b, &other) => {
            let (a, b) = (a.normalised(), expressed(&b, frame, own_weights.hidden).normalised());
            let order = assign(&product(&a.values, &b.values, a.cols), a.rows(), b.rows());
            let partner = |e: &u32| order.get(*e as usize).copied().flatten().and_then(|j| u32::try_from(j).ok());
            own.iter().filter_map(|e| Some((*e, partner(e)?))).filter(|(_, e)| other.contains(e)).collect()
        }
        _ => own.into_iter().zip(other).collect(),
    }))
}

/// The matching of the rows looked at as one of the rows of the whole matrices.
pub fn in_rows(matching: Matching, own: &Mlp, other: &Mlp) -> Matching {
    let of = |mlp: &Mlp| mlp.matrices.iter().flatten().next().cloned();
    let (Some(a), Some(b)) = (of(own), of(other)) else { return matching };
    let mut order = vec![None; a.total];
    for (i, j) in matching.order.iter().enumerate() {
        order[a.picked[i]] = j.map(|j| b.picked[j]);
    }
    Matching { order, ..matching }
}

/// For every layer of the subject, the layer of the other model that stands out; else the one of its number.
pub fn stands_out(cells: &BTreeMap<(u32, u32), (f64, f64)>, by_place: &BTreeMap<u32, u32>) -> BTreeMap<u32, u32> {
    let mut best: BTreeMap<u32, (f64, u32)> = BTreeMap::new();
    for (&(l, m), &(z, effect)) in cells {
        let own = by_place.get(&l).and_then(|m| cells.get(&(l, *m))).copied().unwrap_or((0.0, 0.0));
        let stands_out = z >= own.0.max(0.0) + CELL_EXCESS && effect >= own.1.max(0.0) + CELL_GAP;
        if stands_out && best.get(&l).is_none_or(|(old, _)| z > *old) {
            best.insert(l, (z, m));
        }
    }
    let mut layers = by_place.clone();
    layers.extend(best.into_iter().map(|(l, (_, m))| (l, m)));
    layers
}

/// The second moments of every layer by component, every expert among them; made once for a model.
pub fn layer_moments<'w>(weights: &'w Weights<'_>) -> Result<&'w LayerMoments> {
    if weights.moments.get().is_none() {
        let one = |layer: u32| Ok((layer, moments_of(weights, layer, &Frame::AsItStands, weights.hidden)?));
        let all: LayerMoments = weights.looked().into_par_iter().map(one).collect::<Result<_>>()?;
        // Of two that were made at once either is as good.
        let _ = weights.moments.set(all);
    }
    Ok(weights.moments.get_or_init(LayerMoments::new))
}

/// The second moments of one layer in a frame, by component.
pub fn moments_of(
    weights: &Weights<'_>,
    layer: u32,
    frame: &Frame,
    hidden: usize,
) -> Result<BTreeMap<&'static str, Moments>> {
    let mut components: BTreeMap<&'static str, Moments> = BTreeMap::new();
    // Few rows of each of many matrices are put together first: the sum over rows is one product then.
    let mut waiting: BTreeMap<&'static str, Matrix> = BTreeMap::new();
    let empty = || Moments::empty(hidden);
    // Of a whole rotation only the directions that are looked at are made.
    let directions = frame.directions(weights.hidden, &empty().dimensions(hidden)).filter(|_| weights.hidden == hidden);
    let add = |into: &mut Moments, matrix: &Matrix| match &directions {
        Some(directions) => into.add_rotated(matrix, directions),
        None => into.add(matrix),
    };
    for function in weights.functions(layer) {
        let Some(matrix) = weights.matrix_of(layer, function, weights.glanced(layer, function))? else { continue };
        let as_read = *frame == Frame::AsItStands || directions.is_some();
        let matrix = if as_read { matrix } else { expressed(&matrix, frame, hidden) };
        let component = function.component();
        if !(weights.large && matches!(function.slot(), Some(Slot::Expert(_)))) {
            add(components.entry(component).or_insert_with(empty), &matrix);
            continue;
        }
        let blank = Matrix { cols: matrix.cols, picked: Vec::new(), total: 0, values: Vec::new() };
        let all = waiting.entry(component).or_insert(blank);
        all.picked.extend(matrix.picked);
        all.values.extend(matrix.values);
        if all.rows() >= TOGETHER
            && let Some(all) = waiting.remove(component)
        {
            add(components.entry(component).or_insert_with(empty), &all);
        }
    }
    for (component, all) in waiting {
        add(components.entry(component).or_insert_with(empty), &all);
    }
    Ok(components)
}

/// Rows that are put together before they are multiplied.
const TOGETHER: usize = 2048;

/// The MLPs of a layer, with so many rows of each; `within` so many others where that is fewer.
pub fn mlps(weights: &Weights<'_>, layer: u32, rows: usize, within: usize) -> Result<Vec<(Slot, Mlp)>> {
    let functions: Vec<Function> = weights.functions(layer).into_iter().filter(|f| f.slot().is_some()).collect();
    let read = |function: Function| {
        let whole = rows >= within;
        let matrix = if whole {
            weights.matrix_of(layer, function, rows)
        } else {
            weights.few_of(layer, function, within, rows)
        };
        matrix.map(|matrix| (function, matrix))
    };
    let mut slots: BTreeMap<Slot, Mlp> = BTreeMap::new();
    for (function, matrix) in functions.into_par_iter().map(read).collect::<Result<Vec<_>>>()? {
        let (Some(slot), Some(matrix)) = (function.slot(), matrix) else { continue };
        let place = match function {
            Function::Gate(_) => 0,
            Function::Up(_) => 1,
            _ => 2,
        };
        slots.entry(slot).or_default().matrices[place] = Some(matrix);
    }
    Ok(slots.into_iter().collect())
}

/// Which MLP of the subject is held against which of the other model.
pub fn partners(
    own: &[(Slot, Mlp)],
    other: &[(Slot, Mlp)],
    routed: Option<&BTreeMap<u32, u32>>,
    agreements: &mut Vec<(Agreement, f64)>,
) -> Vec<(usize, usize)> {
    let expert = |slot: Slot| matches!(slot, Slot::Expert(_));
    let indices = |list: &[(Slot, Mlp)], wanted: &dyn Fn(Slot) -> bool| -> Vec<usize> {
        (0..list.len()).filter(|i| wanted(list[*i].0)).collect()
    };
    let mut pairs = Vec::new();
    for slot in [Slot::Dense, Slot::Shared] {
        let ours = indices(own, &|s| s == slot);
        let same = indices(other, &|s| s == slot);
        let theirs = if same.is_empty() { indices(other, &|s| s == Slot::Dense) } else { same };
        pairs.extend(ours.iter().flat_map(|a| theirs.iter().map(move |b| (*a, *b))));
    }
    let (ours, theirs) = (indices(own, &expert), indices(other, &expert));
    if theirs.is_empty() {
        let dense = indices(other, &|s| s == Slot::Dense);
        pairs.extend(ours.iter().flat_map(|a| dense.iter().map(move |b| (*a, *b))));
        return pairs;
    }
    if let Some(routed) = routed {
        let place = |slot: Slot| other.iter().position(|(theirs, _)| *theirs == slot);
        pairs.extend(ours.iter().filter_map(|a| match own[*a].0 {
            Slot::Expert(e) => Some((*a, place(Slot::Expert(*routed.get(&e)?))?)),
            _ => None,
        }));
        return pairs;
    }
    if let Some(matching) = experts(&list(own, &ours), &list(other, &theirs)) {
        let pairs_of = |(i, j): (usize, &Option<usize>)| Some((ours[i], theirs[(*j)?]));
        let matched: Vec<(usize, usize)> = matching.order.iter().enumerate().filter_map(pairs_of).collect();
        let stay = matched.iter().filter(|(a, b)| own[*a].0 == other[*b].0).count();
        agreements.push((matching.agreement, stay as f64 / matched.len().max(1) as f64));
        pairs.extend(matched);
    } else {
        pairs.extend(ours.into_iter().zip(theirs));
    }
    pairs
}

fn list<'m>(all: &'m [(Slot, Mlp)], which: &[usize]) -> Vec<&'m Mlp> {
    which.iter().map(|i| &all[*i].1).collect()
}
