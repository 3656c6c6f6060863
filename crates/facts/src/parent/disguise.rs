//! The search for a disguise, as rows of evidence and as facts.

use std::collections::BTreeMap;

use crate::session::{Session, references};
use scratchproof_evidence::{DisguiseRow, Reference};
use scratchproof_measurements::{Added, Found, Observation};
use scratchproof_texts::Text;

/// Answers of a search as rows about one model.
pub fn of(reference: &Reference, observations: &[Observation]) -> Vec<DisguiseRow> {
    let row = |o: &Observation| DisguiseRow {
        reference: reference.clone(),
        question: o.question.name().to_owned(),
        frame: o.frame.clone(),
        between: o.between.clone(),
        component: o.component.clone(),
        layer_subject: o.layer_subject,
        layer_parent: o.layer_other,
        agreed: o.agreed,
        expected: o.expected,
        of: o.of,
        z: o.z,
        log10_p: Some(o.log10_p),
        effect: Some(o.effect),
        in_place: o.in_place,
        from_step: None,
        to_step: None,
    };
    observations.iter().map(row).collect()
}

pub fn rows(session: &Session) -> Vec<DisguiseRow> {
    let rows = |((_, reference), found): ((usize, Reference), &Found)| of(&reference, &found.observations);
    let all = || references(session).into_iter().zip(&session.measured.found);
    all().flat_map(rows).chain(all().flat_map(|one| added(session, one))).collect()
}

/// The first checkpoint, and what was added in every interval, as rows about one model.
fn added(session: &Session, ((_, reference), found): ((usize, Reference), &Found)) -> Vec<DisguiseRow> {
    let steps = &session.measured.steps;
    let interval = |added: &Added| -> Vec<DisguiseRow> {
        let (from, to) = (added.to.checked_sub(1).map(|before| steps[before]), steps[added.to]);
        let dated = |row| DisguiseRow { from_step: from, to_step: Some(to), ..row };
        of(&reference, &added.observations).into_iter().map(dated).collect()
    };
    found.added.iter().flat_map(interval).collect()
}

/// By parent, how it is written in the subject's coordinates.
pub fn disguises(session: &Session) -> BTreeMap<String, Vec<Text>> {
    let parents = session.case.parents.iter().zip(&session.measured.found);
    let texts = |found: &Found| Some(found.disguise.as_ref()?.changes.iter().map(|change| change.text()).collect());
    parents.filter_map(|(p, found)| Some((p.name.clone(), texts(found)?))).collect()
}

/// By parent, how its residual axis is read.
pub fn frames(session: &Session) -> BTreeMap<String, String> {
    let parents = session.case.parents.iter().zip(&session.measured.found);
    let frame = |found: &Found| Some(found.disguise.as_ref()?.frame.clone());
    parents.filter_map(|(p, found)| Some((p.name.clone(), frame(found)?))).collect()
}
