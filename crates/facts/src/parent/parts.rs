//! The parts of the subject, and which of its tensors a reference has.

use std::collections::{BTreeMap, BTreeSet};

use crate::session::{Session, given};
use scratchproof_evidence::{Reference, TrajectoryRow};
use scratchproof_finding::parent::{EqualTensor, NormFigure, Part, Unreached};
use scratchproof_measurements::{ALL, Axis, Component, Unit};

/// Shares of the final checkpoint's bytes that no test can reach, and why: under names that no template knows, in a number format
/// that cannot be decoded, not finite in some checkpoint, all zero at the end, or of another shape in another checkpoint.
pub fn unreached(session: &Session) -> Vec<(Unreached, f64)> {
    let plan = &session.measured.plan;
    let last = plan.last();
    let all = session.measured.subject().data_bytes;
    let mut bytes: BTreeMap<Option<Unreached>, u64> = BTreeMap::new();
    for (unit, figures) in session.measured.own() {
        let dead = unit.shape.len() > 1 && figures.gram.product(last, last) == 0.0;
        let references = plan.series..plan.series + plan.references;
        let compared = || unit.members.iter().any(|member| references.contains(&member.model));
        let why = if (0..=last).any(|t| figures.gram.nonfinite(t) > 0) {
            Some(Unreached::NotFinite)
        } else if dead {
            Some(Unreached::Zero)
        } else if !unit.role.known {
            Some(Unreached::Unknown)
        } else if unit.role.deduced && !compared() {
            // What was deduced from shapes alone has been looked at where a reference has a counterpart.
            Some(Unreached::Alone)
        } else {
            None
        };
        *bytes.entry(why).or_default() += (unit.elements() * unit.members[last].dtype.width()) as u64;
    }
    let seen: u64 = bytes.values().sum();
    *bytes.entry(Some(Unreached::Unread)).or_default() += all.saturating_sub(seen);
    let share = |(why, bytes): (Option<Unreached>, u64)| Some((why?, bytes as f64 / all.max(1) as f64));
    bytes.into_iter().filter(|(_, bytes)| *bytes > 0).filter_map(share).collect()
}

/// Share of the subject's parameters in tensors that were held against a parent's by a test, as it stands or in the
/// subject's coordinates: over an axis, or whole as vectors.
#[must_use]
pub fn compared_share(session: &Session) -> f64 {
    let plan = &session.measured.plan;
    let parents = plan.series..plan.series + session.case.parents.len();
    let relabelled = plan.series + plan.references..plan.models();
    let weights = session.measured.subject().tensors.iter().filter(|t| !t.role.constant && t.dtype.is_float());
    let all: usize = weights.map(scratchproof_measurements::Tensor::elements).sum();
    let tested = |unit: &Unit| {
        let over = unit.view.is_some() || unit.role.residual == Axis::Vector;
        let other = |model: &usize| parents.contains(model) || relabelled.contains(model);
        over && !unit.role.constant && unit.members.iter().any(|member| other(&member.model))
    };
    let sizes = session.measured.sizes();
    let compared: usize = session.measured.own().filter(|(unit, _)| tested(unit)).map(|(unit, _)| sizes(unit)).sum();
    if all > 0 { compared.min(all) as f64 / all as f64 } else { 0.0 }
}

/// All components of the subject that hold weights, by name.
pub fn components(session: &Session) -> Vec<String> {
    let names: BTreeSet<String> =
        session.measured.own().filter(|(u, _)| !u.role.constant).map(|(u, _)| u.role.judged_as().to_owned()).collect();
    names.into_iter().collect()
}

/// The component of every family that a layer map can have.
pub fn families(session: &Session) -> Vec<(String, String)> {
    let pairs: BTreeSet<(String, String)> = session
        .measured
        .own()
        .filter(|(u, _)| u.role.layer.is_some())
        .map(|(u, _)| (session.measured.plan.family(&u.role), u.role.judged_as().to_owned()))
        .collect();
    pairs.into_iter().collect()
}

/// The language model, which stands for the whole, and the towers.
pub fn parts(session: &Session) -> Vec<Part> {
    let plan = &session.measured.plan;
    let references = given(session);
    let all: u64 = session.measured.subject().bytes;
    let part = |tower: &str| {
        let tensors = session.measured.subject().tensors.iter().filter(|t| t.role.tower == tower);
        let met = plan.meetings.iter().zip(&references).filter_map(|(meetings, reference)| {
            let meeting = meetings.iter().find(|m| m.tower == tower)?;
            Some((reference.clone(), meeting.other.clone()))
        });
        Part {
            name: if tower == plan.lead() { ALL.to_owned() } else { tower.to_owned() },
            map: if tower.is_empty() { ALL.to_owned() } else { format!("{tower}.{ALL}") },
            share: tensors.map(|t| t.bytes).sum::<u64>() as f64 / all.max(1) as f64,
            matrices: session.measured.own().filter(|(u, _)| u.role.tower == tower && u.can_be_copied()).count(),
            met: met.collect(),
        }
    };
    let towers = plan.towers().map(|(tower, _)| tower);
    std::iter::once(plan.lead()).chain(towers).map(part).collect()
}

/// Tensors of a checkpoint that equal a parent's and no control's.
pub fn equal_tensors(session: &Session) -> Vec<EqualTensor> {
    let mut equal = Vec::new();
    let parents = session.case.parents.len();
    let all: usize = session.measured.own().map(|(unit, _)| unit.elements()).sum();
    for (unit, figures) in session.measured.own().filter(|(unit, _)| unit.can_be_copied()) {
        for (t, &step) in session.measured.steps.iter().enumerate() {
            let matches = |model: usize| {
                let slot = unit.slot(model)?;
                (figures.gram.distance2(t, slot) == 0.0).then_some(())
            };
            // Where it equals no parent nothing else is asked: a product costs the square of the checkpoints before it.
            let copied = (0..parents).any(|p| matches(session.measured.plan.series + p).is_some());
            if !copied || figures.gram.pair(t, t).pearson().is_none() {
                continue;
            }
            let controls: Vec<String> = (parents..session.measured.plan.references)
                .filter(|c| matches(session.measured.plan.series + c).is_some())
                .map(|c| session.case.controls[c - parents].name.clone())
                .collect();
            for (p, parent) in session.case.parents.iter().enumerate() {
                if matches(session.measured.plan.series + p).is_some() {
                    equal.push(EqualTensor {
                        parent: parent.name.clone(),
                        tensor: unit.tensor.clone(),
                        component: unit.role.judged_as().to_owned(),
                        layer: unit.role.layer,
                        step,
                        elements: figures.gram.elements(),
                        untouched: figures.gram.distance2(0, t) == 0.0,
                        controls: controls.clone(),
                        deduced: unit.role.deduced,
                        share: unit.elements() as f64 / all.max(1) as f64,
                    });
                }
            }
        }
    }
    equal
}

/// Raw cosine and Pearson of the final norm weights against every reference, averaged over the tensors. Biases of norms
/// start at zero, not at one, and take no part.
pub fn norms(session: &Session, trajectory: &[TrajectoryRow]) -> Vec<NormFigure> {
    let last = session.measured.steps[session.measured.plan.last()];
    let norms: BTreeSet<&str> = session
        .measured
        .own()
        .filter(|(u, _)| u.role.component == Component::Norms && u.role.residual == Axis::Vector)
        .filter(|(u, _)| !u.role.family.ends_with("bias"))
        .map(|(u, _)| u.tensor.as_str())
        .collect();
    let rows: Vec<_> = trajectory.iter().filter(|r| r.step == last && norms.contains(r.tensor.as_str())).collect();
    let references: BTreeSet<&Reference> = rows.iter().map(|r| &r.reference).collect();
    let outside = references.into_iter().filter(|r| matches!(r, Reference::Parent(_) | Reference::Control(_)));
    outside
        .filter_map(|reference| {
            let of: Vec<_> = rows.iter().filter(|r| r.reference == *reference).collect();
            let mean =
                |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
            Some(NormFigure {
                reference: reference.clone(),
                cosine: mean(of.iter().filter_map(|r| r.cosine).collect())?,
                pearson: mean(of.iter().filter_map(|r| r.pearson).collect()),
                tensors: of.len() as u64,
            })
        })
        .collect()
}
