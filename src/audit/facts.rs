//! What the judges ask that no table holds.

use std::collections::BTreeSet;

use super::Session;
use crate::checkpoint::{Component, Residual as Axis, TensorRecord};
use crate::evidence::{Evidence, Reference};
use crate::finding::parent::{EqualTensor, NormFigure};
use crate::finding::start::StartVector;
use crate::plan::{TensorFigures, Unit};
use crate::stats::Turn;

fn own<'a>(session: &'a Session) -> impl Iterator<Item = (&'a Unit, &'a TensorFigures)> {
    session.plan.units.iter().zip(&session.measured.tensors).filter(|(unit, _)| unit.in_subject())
}

/// Share of the final checkpoint's elements under names that no template knows.
pub fn unknown_share(session: &Session) -> f64 {
    let tensors = || session.subject().tensors.iter();
    let unknown: usize = tensors().filter(|t| !t.role.known).map(|t| t.elements()).sum();
    let all: usize = tensors().map(TensorRecord::elements).sum();
    if all > 0 { unknown as f64 / all as f64 } else { 0.0 }
}

/// All components of the subject that hold weights, by name.
pub fn components(session: &Session) -> Vec<String> {
    let names: BTreeSet<String> =
        own(session).filter(|(u, _)| !u.role.constant).map(|(u, _)| u.role.judged_as().to_owned()).collect();
    names.into_iter().collect()
}

/// The component of every family that a layer map can have.
pub fn families(session: &Session) -> Vec<(String, String)> {
    let pairs: BTreeSet<(String, String)> = own(session)
        .filter(|(u, _)| u.role.layer.is_some())
        .map(|(u, _)| (u.role.family.clone(), u.role.judged_as().to_owned()))
        .collect();
    pairs.into_iter().collect()
}

/// Vectors of the first checkpoint.
pub fn start_vectors(session: &Session) -> Vec<StartVector> {
    let vectors = own(session).filter(|(u, _)| u.role.known && !u.role.constant && u.shape.len() == 1);
    let vectors = vectors.filter_map(|(unit, figures)| {
        let n = figures.gram.elements() as f64;
        let mean = figures.gram.sum(0) / n;
        let variance = figures.gram.product(0, 0) / n - mean * mean;
        // Rounding of the two sums is no spread.
        let std = if variance > 1e-12 * mean * mean { variance.sqrt() } else { 0.0 };
        (n > 0.0 && mean.is_finite() && std.is_finite()).then(|| StartVector {
            tensor: unit.tensor.clone(),
            component: unit.role.judged_as().to_owned(),
            norm: unit.role.component == Component::Norms && unit.role.family.strip_suffix(".bias").is_none(),
            elements: figures.gram.elements(),
            mean,
            std,
        })
    });
    vectors.collect()
}

/// Matrices whose entries can be evidence of descent when they are equal: known weights that are not constant. Position
/// embeddings may be a formula.
fn telling(unit: &Unit) -> bool {
    unit.role.known && unit.view.is_some() && !unit.role.family.contains("position")
}

/// Tensors of a checkpoint that equal a parent's and no control's.
pub fn equal_tensors(session: &Session) -> Vec<EqualTensor> {
    let mut equal = Vec::new();
    let parents = session.case.parents.len();
    for (unit, figures) in own(session).filter(|(unit, _)| telling(unit)) {
        for (t, &step) in session.steps.iter().enumerate() {
            if figures.gram.pair(t, t).pearson().is_none() {
                continue;
            }
            let matches = |model: usize| {
                let slot = unit.members.iter().position(|m| m.model == model)?;
                (figures.gram.distance2(t, slot) == 0.0).then_some(())
            };
            let controls = (parents..session.plan.references).any(|c| matches(session.plan.series + c).is_some());
            if controls {
                continue;
            }
            for (p, parent) in session.case.parents.iter().enumerate() {
                if matches(session.plan.series + p).is_some() {
                    equal.push(EqualTensor {
                        parent: parent.name.clone(),
                        tensor: unit.tensor.clone(),
                        component: unit.role.judged_as().to_owned(),
                        layer: unit.role.layer,
                        step,
                        elements: figures.gram.elements(),
                        untouched: figures.gram.distance2(0, t) == 0.0,
                    });
                }
            }
        }
    }
    equal
}

/// Pairs of steps whose matrices are all equal.
pub fn equal_steps(session: &Session) -> Vec<(i64, i64)> {
    let matrices: Vec<_> = own(session).filter(|(unit, _)| unit.view.is_some()).collect();
    let mut pairs = Vec::new();
    for (b, &later) in session.steps.iter().enumerate() {
        for (a, &earlier) in session.steps[..b].iter().enumerate() {
            if !matrices.is_empty() && matrices.iter().all(|(_, f)| f.gram.distance2(a, b) == 0.0) {
                pairs.push((earlier, later));
            }
        }
    }
    pairs
}

/// Inner checkpoints that are a blend of their neighbours: step, where on the way, roundings off the line.
pub fn blends(session: &Session) -> Vec<(i64, f64, f64)> {
    let mut blends = Vec::new();
    for t in 1..session.steps.len().saturating_sub(1) {
        let mut turn = Turn::default();
        let mut bits = 52;
        for (unit, figures) in own(session).filter(|(unit, _)| unit.view.is_some()) {
            turn.add(&figures.gram, [t - 1, t, t + 1]);
            let formats = unit.members[t - 1..=t + 1].iter().filter_map(|m| m.dtype.fraction_bits());
            bits = formats.fold(bits, i32::min);
        }
        // The way itself must be long against the rounding, or a standstill would look like a blend.
        if let (Some(off), Some(fraction), Some(roundings)) =
            (turn.off_chord(), turn.fraction(), turn.over_rounding(bits))
            && roundings < session.case.policy.blend_roundings
            && roundings > 0.0
            && off < 0.02
            && (0.0..=1.0).contains(&fraction)
        {
            blends.push((session.steps[t], fraction, roundings));
        }
    }
    blends
}

/// Raw cosine and Pearson of the final norm weights against every reference, averaged over the tensors.
pub fn norms(session: &Session, evidence: &Evidence) -> Vec<NormFigure> {
    let last = session.steps[session.plan.last()];
    let norms: BTreeSet<&str> = own(session)
        .filter(|(u, _)| u.role.component == Component::Norms && u.role.residual == Axis::Vector)
        .map(|(u, _)| u.tensor.as_str())
        .collect();
    let rows: Vec<_> =
        evidence.trajectory.iter().filter(|r| r.step == last && norms.contains(r.tensor.as_str())).collect();
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
