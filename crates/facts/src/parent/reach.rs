//! How much of the subject could be held against each parent, and in which bases: what the power of the condition is made of.

use std::collections::{BTreeMap, BTreeSet};

use crate::session::Session;
use scratchproof_finding::power::ParentReach;
use scratchproof_measurements::{Component, Question};

/// The component that a tensor's share of a parent's weights is counted with: a router is part of its experts.
fn counted_with(session: &Session, component: &str) -> String {
    let routed = component == "router" && session.measured.subject().experts > 0;
    if routed { "experts".to_owned() } else { component.to_owned() }
}

/// By parent and component. Towers that a parent has nothing for are not its.
#[must_use]
pub fn reaches(session: &Session) -> Vec<ParentReach> {
    let (measured, plan) = (session.measured, &session.measured.plan);
    let mut reaches: BTreeMap<(usize, String), ParentReach> = BTreeMap::new();
    for (p, parent) in session.case.parents.iter().enumerate() {
        let model = plan.series + p;
        let met = |tower: &str| {
            let meetings = plan.meetings.get(p).map_or(&[][..], Vec::as_slice);
            meetings.is_empty() || meetings.iter().any(|m| m.tower == tower && m.other.is_some())
        };
        // Matched: by their neurons, heads or experts, or by what no order of the rows changes.
        let told = |question| {
            [Question::Neurons, Question::Heads, Question::Experts, Question::SecondMoments].contains(&question)
        };
        let observed = measured.found.get(p).map_or(&[][..], |found| found.observations.as_slice());
        let matched: BTreeSet<(&str, Option<u32>)> =
            observed.iter().filter(|o| told(o.question)).map(|o| (o.component.as_str(), o.layer_subject)).collect();
        for (unit, figures) in plan.units.iter().zip(&measured.tensors) {
            let role = &unit.role;
            let weights = !role.constant && unit.shape.len() > 1 && role.component != Component::Norms;
            let own = unit.members.iter().any(|member| member.model == plan.last());
            if !weights || !own || !met(&role.tower) {
                continue;
            }
            let component = role.judged_as();
            let name = counted_with(session, component);
            let reach = reaches.entry((p, name.clone())).or_insert_with(|| ParentReach {
                parent: parent.name.clone(),
                component: name,
                elements: 0,
                stored: 0,
                matched: 0,
            });
            let elements = unit.elements() as u64;
            let slot = unit.members.iter().position(|member| member.model == model);
            let usable = |slot: usize| figures.gram.nonfinite(slot) == 0 && figures.gram.product(slot, slot) > 0.0;
            let stored = unit.in_subject() && unit.view.is_some() && slot.is_some_and(usable);
            let named = |layer| matched.contains(&(component, layer));
            reach.elements += elements;
            reach.stored += if stored { elements } else { 0 };
            reach.matched += if named(role.layer) || named(None) { elements } else { 0 };
        }
    }
    reaches.into_values().collect()
}

/// The bases in which every parent was looked for.
#[must_use]
pub fn bases(session: &Session) -> Vec<String> {
    let parents = session.case.parents.len();
    let found = &session.measured.found;
    let asked = |question: Question| {
        parents > 0
            && found.len() >= parents
            && found[..parents].iter().all(|found| found.observations.iter().any(|o| o.question == question))
    };
    let disguises = [
        (Question::Order, "permuted"),
        (Question::Rotation, "rotated"),
        (Question::Neurons, "neurons in any order"),
        (Question::Experts, "experts in any order"),
        (Question::Heads, "heads in any order"),
        (Question::SecondMoments, "rows in any order, scale and sign"),
    ];
    let told = disguises.into_iter().filter(|(question, _)| asked(*question)).map(|(_, name)| name);
    std::iter::once("as stored").chain(told).map(str::to_owned).collect()
}
