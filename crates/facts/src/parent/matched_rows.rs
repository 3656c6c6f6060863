//! Rows of the subject that two matchings find in another model in another place.

use crate::session::{Session, references};
use scratchproof_evidence::MatchedRow;

/// By tensor of the subject and of the other model.
pub fn rows(session: &Session) -> Vec<MatchedRow> {
    let references = references(session);
    let units = &session.measured.plan.units;
    let mut rows = Vec::new();
    for matched in &session.measured.kept.matched {
        let Some((_, reference)) = references.iter().find(|(model, _)| *model == matched.models.1) else { continue };
        rows.extend(matched.tensors.iter().map(|own| {
            let role = &units[own.units.0].role;
            MatchedRow {
                step: session.measured.steps[matched.models.0],
                tensor: units[own.units.0].tensor.clone(),
                component: role.judged_as().to_owned(),
                family: role.family.clone(),
                layer: role.layer,
                expert: role.expert,
                reference: reference.clone(),
                like: units[own.units.1].tensor.clone(),
                rows: own.rows,
                of: own.of,
                cosine: own.cosine,
                by_chance: matched.by_chance,
            }
        }));
    }
    rows
}
