//! Single MLP matrices of a parent behind another basis of the residual axis, by the angles between their rows.

use std::collections::{BTreeMap, BTreeSet};

use super::disguise::weighed;
use super::parts::{Controls, named, part_of};
use super::{ParentFacts, grade};
use crate::{Code, Finding, Grade, Judgement, Subject};
use scratchproof_case::Policy;
use scratchproof_evidence::{AngleRow, Reference};
use scratchproof_texts::text;

/// What the angles of one row of the evidence say; every family, step and model was asked alike, and of single pairs every pair.
fn graded(row: &AngleRow, asked: f64, policy: &Policy) -> Option<(Grade, f64, f64)> {
    let tried = if row.layer.is_some() { row.tried.max(1) as f64 } else { 1.0 };
    let log10_p = (row.log10_p? + (asked * tried).log10()).min(0.0);
    let effect = row.effect?;
    Some((grade(log10_p, effect, policy).filter(|_| effect > 0.0)?, log10_p, effect))
}

/// One finding for each component of which nothing else has shown that it is the parent's.
pub(super) fn findings(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    controls: &Controls,
    seeded: bool,
    policy: &Policy,
) {
    // One start is at the same angles in both.
    if seeded {
        return;
    }
    let asked: BTreeSet<_> = facts.angles.iter().map(|row| (&row.family, row.step, &row.reference)).collect();
    let asked = asked.len().max(1) as f64;
    let of = |reference: &Reference| -> BTreeMap<&str, (&AngleRow, Grade, f64, f64)> {
        let mut best: BTreeMap<&str, (&AngleRow, Grade, f64, f64)> = BTreeMap::new();
        for row in facts.angles.iter().filter(|row| row.reference == *reference) {
            let Some((grade, log10_p, effect)) = graded(row, asked, policy) else { continue };
            if best.get(row.component.as_str()).is_none_or(|(_, g, p, _)| (grade, -log10_p) > (*g, -*p)) {
                best.insert(&row.component, (row, grade, log10_p, effect));
            }
        }
        best
    };
    let of_control = |control: &str| of(&Reference::Control(control.to_owned()));
    let theirs: BTreeMap<&str, _> = facts.controls.iter().map(|control| (*control, of_control(control))).collect();
    for (component, (row, mut grade, log10_p, effect)) in of(&Reference::Parent(parent.to_owned())) {
        if super::shown_by_now(judgement, parent, component) {
            continue;
        }
        let step = Some(row.step).filter(|_| facts.steps.0 != facts.steps.1);
        let what = named(facts, component);
        let z = row.z.unwrap_or(0.0);
        let mut message = if let (Some(layer), Some(other)) = (row.layer, row.layer_other) {
            let tried = row.tried;
            text!("parent/row-angles/one", family = &row.family, layer, other, what, parent, z, effect, tried, step)
        } else {
            let matrices = row.matrices;
            text!("parent/row-angles/all", family = &row.family, matrices, what, parent, z, effect, step)
        };
        let part = part_of(facts, component);
        let firing = controls.firing(facts, part, |control| theirs[control].contains_key(component));
        let direction = weighed(facts, controls, (&mut grade, true), (false, &firing), &mut message);
        let mut finding = Finding::new(Code::ParentRowAngles, grade, direction, message);
        finding.subject = Subject {
            component: Some(component.to_owned()),
            layer: row.layer,
            parent: Some(parent.to_owned()),
            steps: vec![row.step],
            ..Subject::default()
        };
        finding.statistic = row.z;
        finding.log10_p = Some(log10_p);
        finding.effect = Some(effect);
        finding.n = Some(row.matrices);
        finding.null = text!("parent/null/row-angles");
        finding.evidence = Some("evidence/row_angles.parquet".into());
        judgement.push(finding);
    }
}
