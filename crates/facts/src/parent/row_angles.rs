//! Angles between rows of MLP matrices of the subject and of parents and controls.

use crate::session::{Session, references};
use scratchproof_evidence::AngleRow;
use scratchproof_stats::log10_upper_tail;

/// By family the matrices in the same place together, then every two that stand out.
pub fn rows(session: &Session) -> Vec<AngleRow> {
    let references = references(session);
    let units = &session.measured.plan.units;
    let mut rows = Vec::new();
    for own in &session.measured.kept.angles {
        let Some((_, reference)) = references.iter().find(|(model, _)| *model == own.models.1) else { continue };
        let row = |matrices: u64, z: Option<f64>, effect: Option<f64>| AngleRow {
            step: session.measured.steps[own.models.0],
            component: own.component.clone(),
            family: own.family.clone(),
            reference: reference.clone(),
            layer: None,
            expert: None,
            layer_other: None,
            expert_other: None,
            tried: own.tried,
            matrices,
            z,
            effect,
            log10_p: z.map(log10_upper_tail),
        };
        rows.push(row(own.matrices, own.z, own.effect));
        rows.extend(own.cells.iter().map(|cell| {
            let expert = |(unit, matrix): (usize, usize)| {
                let stack = u32::try_from(matrix).ok().filter(|_| units[unit].view.is_some_and(|view| view.outer > 1));
                units[unit].role.expert.or(stack)
            };
            AngleRow {
                layer: units[cell.own.0].role.layer,
                expert: expert(cell.own),
                layer_other: units[cell.other.0].role.layer,
                expert_other: expert(cell.other),
                ..row(1, Some(cell.z), Some(cell.effect))
            }
        }));
    }
    rows
}
