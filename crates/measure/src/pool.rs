//! Rows of many experts kept as one sum ([`Pool`](scratchproof_measurements::Pool)): every expert takes part in the tests
//! of the whole model, and memory does not grow with their number.

use std::collections::BTreeMap;

use scratchproof_kernel::{normalise, trace};
use scratchproof_measurements::{Kept, TensorFigures, Unit};

/// Turns the sign of every other row by a fixed rule, so that what all experts share does not add up where rows that have
/// nothing in common would cancel.
pub fn signed(unit: &Unit, rows: &mut [f32], hidden: usize) {
    let expert = u64::from(unit.role.expert.unwrap_or(0));
    for (at, row) in (0_u64..).zip(rows.chunks_exact_mut(hidden.max(1))) {
        if mixed(expert << 32 | at) & 1 == 1 {
            row.iter_mut().for_each(|value| *value = -*value);
        }
    }
}

/// The finaliser of `SplitMix64` (Steele, Lea and Flood 2014): every bit of the place decides every bit.
fn mixed(place: u64) -> u64 {
    let mut x = place.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// The weight of every member's rows in a sum, from their norms. A reference counts by what it is, whatever its scale; the
/// checkpoints of a series stay on one scale, that of the final one, so that what lies between two of them is the sum of
/// what lies between the experts.
pub fn weigh(scales: &mut [f64], usable: &[bool], series: usize) {
    let last = series.checked_sub(1).filter(|last| usable[*last]).map(|last| scales[last]);
    for (slot, scale) in scales.iter_mut().enumerate() {
        *scale = match last {
            _ if !usable[slot] => 0.0,
            Some(last) if slot < series => *scale / last,
            _ => 1.0,
        };
    }
}

/// Adds the rows of every pool up in the first of its units that is here, and lets those of the others go. Called for some
/// units and again for all of them, it gives the sums of all.
pub fn gather(units: &[Unit], all: &mut [(TensorFigures, Kept)]) {
    let mut holders: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, unit) in units.iter().enumerate() {
        let Some(pool) = &unit.pool else { continue };
        let Some(&holder) = holders.get(&pool.into) else {
            holders.insert(pool.into, at);
            continue;
        };
        let given = std::mem::take(&mut all[at].1.rows);
        let (scales, usable) = (all[at].1.scales.clone(), all[at].1.usable.clone());
        all[at].1.rows = vec![Vec::new(); given.len()];
        if given.iter().all(Vec::is_empty) {
            continue;
        }
        let own = &mut all[holder].1;
        for (slot, rows) in given.into_iter().enumerate().filter(|(slot, _)| usable[*slot]) {
            add(own, slot, &rows, scales[slot]);
        }
    }
}

/// Adds rows of that norm to those of one member, which are scaled to norm one again.
#[allow(clippy::cast_possible_truncation, reason = "samples are kept in single precision")]
fn add(own: &mut Kept, slot: usize, rows: &[f32], scale: f64) {
    let before = if own.usable[slot] { own.scales[slot] } else { 0.0 };
    let into = &mut own.rows[slot];
    into.resize(rows.len(), 0.0);
    for (sum, value) in into.iter_mut().zip(rows) {
        *sum = f64::from(*sum).mul_add(before, f64::from(*value) * scale) as f32;
    }
    own.scales[slot] = trace(into, into).sqrt();
    own.usable[slot] = normalise(into);
}
