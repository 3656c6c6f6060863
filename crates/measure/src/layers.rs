//! Every layer of the subject against every layer of another model, family by family (METHODS 2.2).

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use scratchproof_kernel::Rows;
use scratchproof_measurements::{ALL, Kept, LayerCell, LayerMap, Plan};

/// A slot of a layer: one tensor by function, expert and shape.
type Slot<'a> = (&'a str, Option<u32>, &'a [usize]);

/// Maps the layers of model `subject` to those of model `other`, over the kept rows, tower by tower.
///
/// A model against itself has no diagonal: that a layer equals itself says nothing.
#[must_use]
pub fn layer_map(plan: &Plan, all: &[Kept], subject: usize, other: usize) -> Vec<LayerMap> {
    let mut maps = Vec::new();
    for (tower, &hidden) in &plan.axes {
        let named = |family: &str| if tower.is_empty() { family.to_owned() } else { format!("{tower}.{family}") };
        let own = layers(plan, all, (tower, hidden), subject);
        let theirs = layers(plan, all, (tower, hidden), other);
        let own_slots: BTreeSet<Slot> = own.values().flat_map(BTreeMap::keys).copied().collect();
        let their_slots: BTreeSet<Slot> = theirs.values().flat_map(BTreeMap::keys).copied().collect();
        let common: Vec<Slot> = own_slots.intersection(&their_slots).copied().collect();
        if common.is_empty() && !tower.is_empty() {
            continue;
        }
        let families: BTreeSet<&str> = common.iter().map(|slot| slot.0).collect();
        let of = |family: &str, slots: &[Slot]| LayerMap {
            family: named(family),
            hidden,
            cells: cells(&own, &theirs, slots, hidden, subject == other),
        };
        maps.extend(families.iter().map(|family| {
            let slots: Vec<Slot> = common.iter().copied().filter(|slot| slot.0 == *family).collect();
            of(family, &slots)
        }));
        maps.push(of(ALL, &common));
    }
    maps
}

/// By layer, the kept rows of every slot of one tower of one model that are over its whole axis.
fn layers<'a>(
    plan: &'a Plan,
    all: &'a [Kept],
    (tower, hidden): (&str, usize),
    model: usize,
) -> BTreeMap<u32, BTreeMap<Slot<'a>, &'a [f32]>> {
    let mut layers: BTreeMap<u32, BTreeMap<Slot, &[f32]>> = BTreeMap::new();
    for (unit, kept) in plan.units.iter().zip(all).filter(|(unit, _)| unit.role.tower == tower) {
        let whole = unit.view.is_none_or(|view| view.hidden() == hidden);
        let slot = unit.members.iter().position(|m| m.model == model && whole);
        if let (Some(layer), Some(slot)) = (unit.role.layer, slot)
            && kept.usable[slot]
        {
            let key = (unit.role.family.as_str(), unit.role.expert, unit.shape.as_slice());
            layers.entry(layer).or_default().insert(key, &kept.rows[slot]);
        }
    }
    layers
}

fn cells(
    own: &BTreeMap<u32, BTreeMap<Slot, &[f32]>>,
    theirs: &BTreeMap<u32, BTreeMap<Slot, &[f32]>>,
    slots: &[Slot],
    hidden: usize,
    itself: bool,
) -> Vec<LayerCell> {
    let lengths: BTreeMap<Slot, usize> =
        own.values().flat_map(|layer| layer.iter().map(|(slot, rows)| (*slot, rows.len()))).collect();
    let lay_out = |layer: &BTreeMap<Slot, &[f32]>| {
        let mut values = Vec::new();
        for slot in slots {
            match layer.get(slot) {
                Some(rows) => values.extend_from_slice(rows),
                None => values.resize(values.len() + lengths.get(slot).copied().unwrap_or(0), 0.0),
            }
        }
        Rows::whole(values, hidden)
    };
    let has = |layer: &BTreeMap<Slot, &[f32]>| slots.iter().any(|slot| layer.contains_key(slot));
    let prepare = |layers: &BTreeMap<u32, BTreeMap<Slot, &[f32]>>| -> Vec<(u32, Rows)> {
        layers.iter().filter(|(_, layer)| has(layer)).map(|(&index, layer)| (index, lay_out(layer))).collect()
    };
    let (a, b) = (prepare(own), prepare(theirs));
    let pairs = a.iter().flat_map(|x| b.iter().map(move |y| (x, y)));
    let pairs: Vec<_> = pairs.filter(|(x, y)| !itself || x.0 != y.0).collect();
    let cell = |((i, x), (j, y)): (&(u32, Rows), &(u32, Rows))| {
        let tensors = slots.iter().filter(|slot| own[i].contains_key(*slot) && theirs[j].contains_key(*slot)).count();
        (tensors > 0).then(|| LayerCell { subject: *i, other: *j, sums: x.total(y), tensors })
    };
    pairs.into_par_iter().map(cell).collect::<Vec<_>>().into_iter().flatten().collect()
}
