//! One layer taken apart: its moments, its MLPs, which of two models' experts are looked at, and what a search leaves out.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::frame::{Agreement, Frame, LONGEST_ROTATION, product};
use super::moments::Moments;
use super::products::can_be_matched;
use super::units::{Matching, Mlp, experts, expressed};
use super::weights::{EXPERTS, Function, Matrix, Slot, Weights, spread};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::Result;
use scratchproof_kernel::assign;

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
    let (Some(own), Some(other)) = (Weights::new(own)?, Weights::new(other)?) else { return Ok(Vec::new()) };
    let mut left = Vec::new();
    let longest = own.hidden.max(other.hidden);
    if longest > LONGEST_ROTATION {
        left.push(format!(
            "no rotation of the residual axis was fitted: it has {longest} dimensions, and above {LONGEST_ROTATION} none is; relabellings were, and products of heads, which no rotation moves, were asked"
        ));
    }
    if !can_be_matched(&own) || !can_be_matched(&other) {
        left.push(
            "heads were not matched in any basis: in one of the two models no layer has query, key, value and output rows by head \
             (latent attention, or sizes of heads that are not known)"
                .to_owned(),
        );
    }
    let experts = |w: &Weights<'_>| w.layers().into_iter().map(|l| w.experts(l).len()).max().unwrap_or(0);
    let most = experts(&own).max(experts(&other));
    if most > EXPERTS {
        left.push(format!(
            "in search of a disguise {EXPERTS} of up to {most} experts of a layer were looked at one by one"
        ));
    }
    let (looked, all) = (own.sample().len(), own.layers().len());
    if looked < all {
        left.push(format!("in search of a disguise {looked} of {all} layers were looked at"));
    }
    Ok(left)
}

/// Where a layer has many experts: some of the subject's, and those of the other model that their rows of the router
/// say they are; by number where there is no router. `None` where all are looked at.
pub fn chosen(
    own_weights: &Weights<'_>,
    other_weights: &Weights<'_>,
    (l, m): (u32, u32),
    frame: &Frame,
) -> Result<Option<[BTreeSet<u32>; 2]>> {
    let (own, other) = (own_weights.experts(l), other_weights.experts(m));
    if own.len().max(other.len()) <= EXPERTS {
        return Ok(None);
    }
    let some = |all: &BTreeSet<u32>| -> BTreeSet<u32> {
        let all: Vec<u32> = all.iter().copied().collect();
        spread(all.len(), EXPERTS).into_iter().map(|i| all[i]).collect()
    };
    let ours = some(&own);
    let routers = (own_weights.matrix(l, Function::Router)?, other_weights.matrix(m, Function::Router)?);
    let whole = |r: &Matrix, experts: &BTreeSet<u32>| r.rows() == r.total && r.rows() == experts.len();
    let theirs = match routers {
        (Some(a), Some(b)) if whole(&a, &own) && whole(&b, &other) => {
            let (a, b) = (a.normalised(), expressed(&b, frame, own_weights.hidden).normalised());
            let order = assign(&product(&a.values, &b.values, a.cols), a.rows(), b.rows());
            let partner = |e: &u32| order.get(*e as usize).copied().flatten().and_then(|j| u32::try_from(j).ok());
            ours.iter().filter_map(partner).filter(|e| other.contains(e)).collect()
        }
        _ if ours.iter().all(|e| other.contains(e)) => ours.clone(),
        _ => some(&other),
    };
    Ok(Some([ours, theirs]))
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

pub fn layer_moments(
    weights: &Weights<'_>,
    chosen: &BTreeMap<u32, BTreeSet<u32>>,
) -> Result<BTreeMap<u32, BTreeMap<&'static str, Moments>>> {
    let one = |layer: u32| -> Result<(u32, BTreeMap<&'static str, Moments>)> {
        let among = |e: u32| chosen.get(&layer).map_or((e as usize) < EXPERTS, |c| c.contains(&e));
        let mut components: BTreeMap<&'static str, Moments> = BTreeMap::new();
        for function in weights.functions(layer) {
            if matches!(function.slot(), Some(Slot::Expert(e)) if !among(e)) {
                continue;
            }
            if let Some(matrix) = weights.matrix(layer, function)? {
                let empty = || Moments::empty(weights.hidden);
                components.entry(function.component()).or_insert_with(empty).add(&matrix);
            }
        }
        Ok((layer, components))
    };
    weights.sample().into_par_iter().map(one).collect()
}

/// The MLPs of a layer.
pub fn mlps(weights: &Weights<'_>, layer: u32, chosen: Option<&BTreeSet<u32>>) -> Result<Vec<(Slot, Mlp)>> {
    let mut slots: BTreeMap<Slot, Mlp> = BTreeMap::new();
    for function in weights.functions(layer) {
        let Some(slot) = function.slot() else { continue };
        if matches!((slot, chosen), (Slot::Expert(e), Some(chosen)) if !chosen.contains(&e)) {
            continue;
        }
        let Some(matrix) = weights.matrix(layer, function)? else { continue };
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
    let list = |all: &[(Slot, Mlp)], which: &[usize]| -> Vec<Mlp> { which.iter().map(|i| all[*i].1.clone()).collect() };
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
