//! Rows of many experts kept as one sum ([`Pool`](scratchproof_measurements::Pool)): every expert takes part in the tests
//! of the whole model, and memory does not grow with their number.

use std::collections::BTreeMap;

use scratchproof_error::mixing::mixed;
use scratchproof_kernel::{normalise, trace};
use scratchproof_measurements::{Kept, TensorFigures, Unit};

/// Turns the sign of every other row by a fixed rule, so that what all experts share does not add up where rows that have
/// nothing in common would cancel.
pub fn signed(unit: &Unit, rows: &mut [f32], hidden: usize) {
    let expert = u64::from(unit.role.expert.unwrap_or(0));
    for (at, row) in (0_u64..).zip(rows.chunks_exact_mut(hidden.max(1))) {
        if mixed(expert << 32 | at) & 1 == 1 {
            for value in row.iter_mut() {
                *value = -*value;
            }
        }
    }
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
    gather_kept(units, &mut all.iter_mut().map(|(_, kept)| kept).collect::<Vec<_>>());
}

fn gather_kept(units: &[Unit], all: &mut [&mut Kept]) {
    let mut holders: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, unit) in units.iter().enumerate() {
        let Some(pool) = &unit.pool else { continue };
        let Some(&holder) = holders.get(&pool.into) else {
            holders.insert(pool.into, at);
            continue;
        };
        let given = std::mem::take(&mut all[at].rows);
        let (scales, usable) = (all[at].scales.clone(), all[at].usable.clone());
        all[at].rows = vec![Vec::new(); given.len()];
        if given.iter().all(Vec::is_empty) {
            continue;
        }
        let own = &mut *all[holder];
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

#[cfg(test)]
mod tests {
    use super::*;
    use scratchproof_checkpoint::{Component, Residual, Role};
    use scratchproof_kernel::View;
    use scratchproof_measurements::Pool;

    const HIDDEN: usize = 8;

    fn unit(expert: u32, tensors: usize) -> Unit {
        let role = Role {
            tower: String::new(),
            component: Component::Experts,
            family: "experts.up_proj".into(),
            layer: Some(0),
            expert: Some(expert),
            residual: Residual::Columns,
            known: true,
            deduced: false,
            constant: false,
        };
        Unit {
            id: String::new(),
            tensor: format!("expert {expert}"),
            role,
            shape: vec![4, HIDDEN],
            members: Vec::new(),
            view: Some(View { outer: 1, rows: 4, cols: HIDDEN, transposed: false }),
            sampled: vec![0, 1, 2, 3],
            kept: if expert == 0 { vec![1, 3] } else { Vec::new() },
            pool: Some(Pool { into: 0, tensors, rows: vec![1, 3] }),
            formula: false,
        }
    }

    /// Rows of norm one for two members; those of the last expert's second member cannot be used.
    fn kept(expert: u32, tensors: u32) -> Kept {
        let rows = |member: u32| {
            let value = |i: u32| ((i * 7919 + expert * 104_729 + member * 1_299_709) % 1000) as f32 / 500.0 - 1.0;
            let mut rows: Vec<f32> = (0..16).map(value).collect();
            normalise(&mut rows);
            rows
        };
        let broken = expert + 1 == tensors;
        let second = if broken { vec![0.0; 16] } else { rows(1) };
        Kept {
            rows: vec![rows(0), second],
            scales: vec![1.5, f64::from(u8::from(!broken))],
            usable: vec![true, !broken],
        }
    }

    #[test]
    fn a_sum_has_every_expert_whatever_the_parts_it_was_gathered_in() {
        let count = 5_u32;
        let units: Vec<Unit> = (0..count).map(|e| unit(e, count as usize)).collect();
        let mut expected = [[0.0_f64; 16]; 2];
        for e in 0..count {
            let own = kept(e, count);
            for ((expected, rows), scale) in expected.iter_mut().zip(&own.rows).zip(&own.scales) {
                for (sum, value) in expected.iter_mut().zip(rows) {
                    *sum += f64::from(*value) * scale;
                }
            }
        }
        for split in 0..=count as usize {
            let mut all: Vec<Kept> = (0..count).map(|e| kept(e, count)).collect();
            let (first, second) = all.split_at_mut(split);
            gather_kept(&units[..split], &mut first.iter_mut().collect::<Vec<_>>());
            gather_kept(&units[split..], &mut second.iter_mut().collect::<Vec<_>>());
            gather_kept(&units, &mut all.iter_mut().collect::<Vec<_>>());
            for slot in 0..2 {
                let norm = expected[slot].iter().map(|v| v * v).sum::<f64>().sqrt();
                assert!((all[0].scales[slot] - norm).abs() < 1e-6 * norm, "{split} {slot}");
                for (value, expected) in all[0].rows[slot].iter().zip(&expected[slot]) {
                    assert!((f64::from(*value) - expected / norm).abs() < 1e-6, "{split} {slot}");
                }
            }
            assert!(all[1..].iter().all(|kept| kept.rows.iter().all(Vec::is_empty)), "{split}");
        }
    }

    #[test]
    fn signs_are_as_often_one_as_the_other() {
        let turned = (0..512_u32).map(|expert| {
            let mut rows = vec![1.0_f32; 4 * HIDDEN];
            signed(&unit(expert, 512), &mut rows, HIDDEN);
            rows.chunks(HIDDEN).filter(|row| row[0] < 0.0).count()
        });
        let turned: usize = turned.sum();
        // 2,048 fair coins: five standard deviations are 113.
        assert!(turned.abs_diff(1024) < 113, "{turned}");
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "powers of two are exact")]
    fn checkpoints_stay_on_one_scale_and_references_count_as_one() {
        let mut scales = [2.0, 4.0, 7.0, f64::NAN];
        weigh(&mut scales, &[true, true, true, false], 2);
        assert_eq!(scales, [0.5, 1.0, 1.0, 0.0]);
    }
}
