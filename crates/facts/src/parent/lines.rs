//! Rows and columns of the subject that a parent has in another place.

use std::collections::{BTreeMap, BTreeSet};

use crate::session::{Session, given};
use scratchproof_evidence::{LineRow, Reference};
use scratchproof_measurements::{Component, Role, Unit};

/// The lines of one tensor.
struct Of<'a> {
    tensor: &'a str,
    role: &'a Role,
    /// Whether it is a vector: then its one line is all of it.
    vector: bool,
    keys: &'a [u64],
}

/// Every tensor of a model of which lines can be evidence.
fn of<'a>(session: &'a Session, model: usize) -> Vec<Of<'a>> {
    let measured = session.measured;
    let units = measured.plan.units.iter().zip(&measured.tensors).filter(|(unit, _)| tells(unit));
    let planned = units.filter_map(move |(unit, figures)| {
        let keys = figures.lines.get(unit.slot(model)?)?;
        Some(Of { tensor: &unit.tensor, role: &unit.role, vector: unit.shape.len() == 1, keys })
    });
    let others = measured.other_lines.iter().filter(move |own| own.model == model && own.role.known);
    let others = others.map(|own| Of { tensor: &own.tensor, role: &own.role, vector: false, keys: &own.keys });
    planned.chain(others).filter(|own| !own.keys.is_empty()).collect()
}

/// Whether its lines are evidence where another model has them. What a vector begins at, ones and zeros, has no line.
fn tells(unit: &Unit) -> bool {
    let grown = unit.role.component == Component::Norms || unit.role.family.ends_with("bias");
    unit.can_be_copied() || unit.shape.len() == 1 && grown && unit.role.known && !unit.formula
}

/// Tensors of the first and the final checkpoint with lines that a parent has, and where it has most of them.
pub fn rows(session: &Session) -> Vec<LineRow> {
    let plan = &session.measured.plan;
    let references = given(session);
    let models: Vec<Vec<Of>> = (0..references.len()).map(|at| of(session, plan.series + at)).collect();
    let (parents, controls) = models.split_at(session.case.parents.len());
    let of_controls: Vec<BTreeSet<u64>> =
        controls.iter().map(|own| own.iter().flat_map(|one| one.keys).copied().collect()).collect();
    let ends: Vec<(i64, Vec<Of>)> = plan.ends().map(|at| (session.measured.steps[at], of(session, at))).collect();
    let mut rows = Vec::new();
    for (parent, reference) in parents.iter().zip(&references) {
        let mut places: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (at, one) in parent.iter().enumerate() {
            for key in one.keys {
                places.entry(*key).or_default().push(at);
            }
        }
        for (step, own) in &ends {
            rows.extend(own.iter().filter_map(|own| row(own, *step, reference, parent, &places, &of_controls)));
        }
    }
    rows
}

/// One tensor against a parent; none where it has no line of it.
fn row(
    own: &Of,
    step: i64,
    reference: &Reference,
    parent: &[Of],
    places: &BTreeMap<u64, Vec<usize>>,
    controls: &[BTreeSet<u64>],
) -> Option<LineRow> {
    let mut lines = 0;
    let mut shared = 0;
    let mut at: BTreeMap<usize, u64> = BTreeMap::new();
    for key in own.keys {
        // A vector is held against vectors: all of it is one line.
        let found = places.get(key).into_iter().flatten().filter(|at| parent[**at].vector == own.vector);
        let mut any = false;
        for place in found {
            *at.entry(*place).or_default() += 1;
            any = true;
        }
        lines += u64::from(any);
        shared += u64::from(any && controls.iter().any(|control| control.contains(key)));
    }
    // Of equally many the tensor of the same name, then the first.
    let (like, _) =
        at.into_iter().max_by_key(|(at, count)| (*count, parent[*at].tensor == own.tensor, std::cmp::Reverse(*at)))?;
    Some(LineRow {
        step,
        tensor: own.tensor.to_owned(),
        component: own.role.judged_as().to_owned(),
        family: own.role.family.clone(),
        layer: own.role.layer,
        expert: own.role.expert,
        reference: reference.clone(),
        like: parent[like].tensor.to_owned(),
        vector: own.vector,
        deduced: own.role.deduced,
        lines,
        controls: shared,
        of: own.keys.len() as u64,
    })
}
