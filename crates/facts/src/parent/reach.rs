//! How much of the subject could be held against each parent, and in which bases: what the power of the condition is made of.

use std::collections::{BTreeMap, BTreeSet};

use super::disguise;
use crate::session::Session;
use scratchproof_evidence::{Evidence, Reference};
use scratchproof_finding::Judgement;
use scratchproof_finding::power::{self, Culprit, ParentPower, ParentReach};
use scratchproof_measurements::{Class, Component, Found, Question};

/// By parent and component. Towers that a parent has nothing for are not its.
fn reaches(session: &Session) -> Vec<ParentReach> {
    let (measured, plan) = (session.measured, &session.measured.plan);
    let sizes = measured.sizes();
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
            let name = session.counted_with(component).to_owned();
            let reach = reaches.entry((p, name.clone())).or_insert_with(|| ParentReach {
                parent: parent.name.clone(),
                component: name,
                elements: 0,
                stored: 0,
                matched: 0,
                unnamed: 0,
            });
            let elements = sizes(unit) as u64;
            let slot = unit.members.iter().position(|member| member.model == model);
            let usable = |slot: usize| figures.gram.nonfinite(slot) == 0 && figures.gram.product(slot, slot) > 0.0;
            let stored = unit.in_subject() && unit.view.is_some() && slot.is_some_and(usable);
            let named = |layer| matched.contains(&(component, layer));
            reach.elements += elements;
            reach.stored += if stored { elements } else { 0 };
            let found = named(role.layer) || named(None);
            reach.matched += if found { elements } else { 0 };
            reach.unnamed += if stored || found || role.known { 0 } else { elements };
        }
    }
    reaches.into_values().collect()
}

/// Whether the search had anything of both models to look at: matrices of one function in layers, or heads. Where it had not,
/// the parent in another order or basis would have gone unseen. Of a fingerprint that was asked it is what there is.
fn searched(found: &Found) -> bool {
    let fitted = found.looked.iter().any(|looked| looked.question == "frame" && looked.matrices > 0);
    let answered = found.looked.is_empty() && !found.observations.is_empty();
    fitted || answered || found.heads.left_out.is_none() && !found.heads.tests.is_empty()
}

/// Parents of which the search could look at nothing, or did not see a copy whose axis was put into another order; with the
/// disguise that would have gone unseen, where it is one.
#[must_use]
pub fn unsearched(session: &Session) -> BTreeMap<String, &'static str> {
    let parents = session.case.parents.iter().zip(&session.measured.found).filter(|(_, found)| !searched(found));
    let unseen =
        |culprit: &Culprit| culprit.class == Class::Permuted && culprit.seen_in(&session.case.policy).is_empty();
    let blind = culprits(session).into_iter().filter(unseen).map(|culprit| (culprit.parent, culprit.class.name()));
    parents.map(|(parent, _)| (parent.name.clone(), "")).chain(blind).collect()
}

/// Components of which more than this has no axis along which it could be held against a parent's are not cleared.
const PARTLY: f64 = 0.3;

/// Parents and the components of which too much lies beside the parent's and has no axis along which the two could be held
/// against each other, as matrices that began as the identity.
#[must_use]
pub fn partly(session: &Session) -> BTreeSet<(String, String)> {
    let plan = &session.measured.plan;
    let sizes = session.measured.sizes();
    let mut found = BTreeSet::new();
    for (p, parent) in session.case.parents.iter().enumerate() {
        let mut shares: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (unit, _) in session.measured.own() {
            if unit.role.constant || unit.shape.len() < 2 {
                continue;
            }
            let beside = unit.members.iter().any(|member| member.model == plan.series + p);
            let share = shares.entry(unit.role.judged_as()).or_default();
            share.0 += if beside && unit.view.is_none() { sizes(unit) } else { 0 };
            share.1 += sizes(unit);
        }
        let much = shares.into_iter().filter(|(_, (without, all))| *without as f64 > PARTLY * *all as f64);
        found.extend(much.map(|(component, _)| (parent.name.clone(), component.to_owned())));
    }
    found
}

/// What the search said of every parent in disguise.
fn culprits(session: &Session) -> Vec<Culprit> {
    let parents = session.case.parents.iter().zip(&session.measured.found).filter(|(_, found)| searched(found));
    let of = |(parent, found): (&scratchproof_case::Reference, &scratchproof_measurements::Found)| {
        let reference = Reference::Parent(parent.name.clone());
        let one = |injection: &scratchproof_measurements::Injection| Culprit {
            parent: parent.name.clone(),
            class: injection.class,
            correlation: injection.correlation,
            rows: disguise::of(&reference, &injection.observations),
        };
        found.injected.iter().map(one).collect::<Vec<_>>()
    };
    parents.flat_map(of).collect()
}

/// What could have been seen of the parents. A condition that holds although too little could is untested then; returns also
/// whether that is so.
#[must_use]
pub fn settled(session: &Session, evidence: &Evidence, judgement: &mut Judgement) -> (ParentPower, bool) {
    let (power, blind) = power::parent(
        &reaches(session),
        &evidence.components,
        &evidence.calibration,
        &culprits(session),
        bases(session),
        &session.case.policy,
    );
    let drawn = session.case.choice.sampling.is_some();
    power::settle_parent(judgement, &power, &blind, intervals(session), drawn);
    (power, !blind.is_empty())
}

/// Intervals between checkpoints in which what was added was held against every parent.
fn intervals(session: &Session) -> usize {
    let parents = session.measured.found.iter().take(session.case.parents.len());
    parents
        .map(|found| found.added.iter().filter(|added| added.to > 0 && !added.observations.is_empty()).count())
        .min()
        .unwrap_or(0)
}

/// The bases in which every parent was looked for.
fn bases(session: &Session) -> Vec<String> {
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
