//! One layer taken apart: its moments, its MLPs, and which expert of two models is held against which.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::frame::{Agreement, Frame};
use super::heads::can_be_matched;
use super::matrix::{Function, Matrix, ROWS, Slot};
use super::moments::{LayerMoments, Moments, whole};
use super::units::{Matching, Mlp, Profile, experts, expressed, profile};
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
             (sizes of heads that are not known)"
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

/// The second moments of a model, every layer and every expert among them; made once.
pub fn layer_moments<'w>(weights: &'w Weights<'_>) -> Result<&'w LayerMoments> {
    if weights.moments.get().is_none() {
        let mut all = LayerMoments::default();
        // A few layers at a time: what is held of a layer is a fraction of its moments.
        for layers in weights.looked().chunks(rayon::current_num_threads().max(1)) {
            let one = |layer: &u32| -> Result<_> {
                let parts = moments_of(weights, *layer, &Frame::AsItStands, weights.hidden)?;
                let correlations = whole(&parts, weights.hidden).correlations();
                Ok((*layer, parts, correlations))
            };
            for (layer, parts, correlations) in layers.par_iter().map(one).collect::<Result<Vec<_>>>()? {
                all.add(layer, &parts, correlations, weights.hidden);
            }
        }
        // Of two that were made at once either is as good.
        let _ = weights.moments.set(all);
    }
    Ok(weights.moments.get_or_init(LayerMoments::default))
}

/// The second moments of one layer in a frame, by component.
pub fn moments_of(
    weights: &Weights<'_>,
    layer: u32,
    frame: &Frame,
    hidden: usize,
) -> Result<BTreeMap<&'static str, Moments>> {
    let mut components: BTreeMap<&'static str, Moments> = BTreeMap::new();
    // Few rows each of many matrices are put together first: the sum over rows is one product then.
    let mut waiting: BTreeMap<&'static str, Waiting> = BTreeMap::new();
    let empty = || Moments::empty(hidden);
    // Of a whole rotation only the directions that are looked at are made.
    let directions = frame.directions(weights.hidden, &empty().dimensions(hidden)).filter(|_| weights.hidden == hidden);
    for function in weights.in_sums(layer) {
        let Some(matrix) = weights.matrix_of(layer, function, weights.glanced(layer, function))? else { continue };
        let as_read = *frame == Frame::AsItStands || directions.is_some();
        let matrix = if as_read { matrix } else { expressed(&matrix, frame, hidden) };
        let component = function.component();
        let own = components.entry(component).or_insert_with(empty);
        if !(weights.large && matches!(function.slot(), Some(Slot::Expert(_)))) {
            match &directions {
                Some(directions) => own.add_rotated(matrix, directions),
                None => own.add(matrix),
            }
            continue;
        }
        let all = waiting.entry(component).or_default();
        all.rows += matrix.rows();
        match &directions {
            Some(_) => all.values.extend(matrix.values),
            None => all.values.extend(own.picked(matrix)),
        }
        if all.rows >= TOGETHER {
            std::mem::take(all).add_to(own, directions.as_deref(), hidden);
        }
    }
    for (component, all) in waiting.into_iter().filter(|(_, all)| all.rows > 0) {
        all.add_to(components.entry(component).or_insert_with(empty), directions.as_deref(), hidden);
    }
    Ok(components)
}

/// Rows that are put together before they are multiplied.
const TOGETHER: usize = 2048;

/// Rows of several matrices that wait for more: where they will be turned as they were read, else over the dimensions that are
/// looked at.
#[derive(Default)]
struct Waiting {
    values: Vec<f32>,
    rows: usize,
}

impl Waiting {
    fn add_to(self, moments: &mut Moments, directions: Option<&[f32]>, hidden: usize) {
        let Self { values, rows } = self;
        match directions {
            Some(directions) => {
                let rows = Matrix { cols: hidden, picked: (0..rows).collect(), total: rows, values };
                moments.add_rotated(rows, directions);
            }
            None => moments.add_picked(&values, rows),
        }
    }
}

/// The MLPs of a layer.
pub fn slots(weights: &Weights<'_>, layer: u32) -> BTreeSet<Slot> {
    weights.functions(layer).into_iter().filter_map(Function::slot).collect()
}

/// An MLP of a layer, with so many rows of each matrix; within so many others where that is fewer. Without the third
/// where that is left out ([`Weights::spares`]), unless it is `whole`.
pub fn mlp(
    weights: &Weights<'_>,
    (layer, slot): (u32, Slot),
    (rows, within): (usize, usize),
    whole: bool,
) -> Result<Mlp> {
    let mut own = Mlp::default();
    let spared = !whole && weights.spares(layer, slot);
    let functions = [Function::Gate(slot), Function::Up(slot), Function::Down(slot)];
    for (place, function) in functions.into_iter().enumerate().take(if spared { 2 } else { 3 }) {
        own.matrices[place] = if rows >= within {
            weights.matrix_of(layer, function, rows)?
        } else {
            weights.few_of(layer, function, within, rows)?
        };
    }
    Ok(own)
}

/// One side of the matching of a layer: its MLPs, read when they are asked for, so that those of a layer of many large experts
/// are never in memory together.
pub struct Side<'a> {
    weights: &'a Weights<'a>,
    layer: u32,
    /// Rows of each matrix, and within how many others where that is fewer.
    rows: (usize, usize),
    /// The frame that they are written in, and the length of its axis; none as they are.
    frame: Option<(&'a Frame, usize)>,
    held: Mutex<BTreeMap<Slot, Arc<Mlp>>>,
    /// Elements that may still be held.
    room: AtomicUsize,
}

/// Elements of MLPs of one side of a layer that are held for a second question: 32 MiB as f32.
const HELD: usize = 8 << 20;

impl<'a> Side<'a> {
    /// Whether the third matrix of an MLP is left out at first.
    pub fn spares(&self, slot: Slot) -> bool {
        self.weights.spares(self.layer, slot)
    }

    /// The MLPs of a layer, so many rows of each matrix, within so many others where that is fewer.
    pub fn new(
        (weights, layer): (&'a Weights<'a>, u32),
        rows: (usize, usize),
        frame: Option<(&'a Frame, usize)>,
    ) -> Self {
        Self { weights, layer, rows, frame, held: Mutex::default(), room: AtomicUsize::new(HELD) }
    }

    /// One MLP, without matrices where none is usable; without the third where that is left out, unless it is `whole`.
    pub fn mlp(&self, slot: Slot, whole: bool) -> Result<Arc<Mlp>> {
        let held = || self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = whole && self.weights.spares(self.layer, slot);
        if let Some(own) = held().get(&slot).filter(|_| !whole) {
            return Ok(Arc::clone(own));
        }
        let mut own = mlp(self.weights, (self.layer, slot), self.rows, whole)?;
        if let Some((frame, hidden)) = self.frame {
            own = own.in_frame(frame, hidden);
        }
        let own = Arc::new(own);
        let size: usize = own.matrices.iter().flatten().map(|matrix| matrix.values.len()).sum();
        if !whole && self.room.fetch_update(Relaxed, Relaxed, |room| room.checked_sub(size)).is_ok() {
            held().insert(slot, Arc::clone(&own));
        }
        Ok(own)
    }

    /// Its experts, each by what tells it from the others.
    fn profiles(&self, slots: &[Slot]) -> Result<Vec<(Slot, Profile)>> {
        let all = slots.par_iter().map(|slot| Ok((*slot, profile(&*self.mlp(*slot, false)?))));
        let all = all.collect::<Result<Vec<_>>>()?;
        Ok(all.into_iter().filter_map(|(slot, profile)| Some((slot, profile?))).collect())
    }
}

/// Which MLP of the subject is held against which of the other model.
pub fn partners(
    own: &Side<'_>,
    other: &Side<'_>,
    routed: Option<&BTreeMap<u32, u32>>,
    agreements: &mut Vec<(Agreement, f64)>,
) -> Result<Vec<(Slot, Slot)>> {
    let (all, those) = (slots(own.weights, own.layer), slots(other.weights, other.layer));
    let experts_of =
        |slots: &BTreeSet<Slot>| slots.iter().copied().filter(|s| matches!(s, Slot::Expert(_))).collect::<Vec<_>>();
    let mut pairs = Vec::new();
    for slot in [Slot::Dense, Slot::Shared].into_iter().filter(|slot| all.contains(slot)) {
        let theirs = if those.contains(&slot) { slot } else { Slot::Dense };
        pairs.extend(those.contains(&theirs).then_some((slot, theirs)));
    }
    let (ours, theirs) = (experts_of(&all), experts_of(&those));
    if theirs.is_empty() {
        let dense = those.contains(&Slot::Dense);
        pairs.extend(ours.into_iter().filter(|_| dense).map(|slot| (slot, Slot::Dense)));
        return Ok(pairs);
    }
    if let Some(routed) = routed {
        pairs.extend(ours.into_iter().filter_map(|slot| match slot {
            Slot::Expert(e) => Some((slot, Slot::Expert(*routed.get(&e)?))).filter(|(_, to)| those.contains(to)),
            _ => None,
        }));
        return Ok(pairs);
    }
    let (ours, theirs) = (own.profiles(&ours)?, other.profiles(&theirs)?);
    let of = |all: &[(Slot, Profile)]| all.iter().map(|(_, profile)| profile.clone()).collect::<Vec<_>>();
    if let Some(matching) = experts(&of(&ours), &of(&theirs)) {
        let pair = |(i, j): (usize, &Option<usize>)| Some((ours[i].0, theirs[(*j)?].0));
        let matched: Vec<(Slot, Slot)> = matching.order.iter().enumerate().filter_map(pair).collect();
        let stay = matched.iter().filter(|(a, b)| a == b).count();
        agreements.push((matching.agreement, stay as f64 / matched.len().max(1) as f64));
        pairs.extend(matched);
    } else {
        pairs.extend(ours.into_iter().map(|own| own.0).zip(theirs.into_iter().map(|own| own.0)));
    }
    Ok(pairs)
}
