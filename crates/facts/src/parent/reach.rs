//! How much of the subject could be held against each parent, and in which bases: what the power of the condition is made of.

use std::collections::{BTreeMap, BTreeSet};

use super::disguise;
use crate::session::Session;
use scratchproof_evidence::{Evidence, Reference};
use scratchproof_finding::Judgement;
use scratchproof_finding::parent::Unfit;
use scratchproof_finding::power::{self, Culprit, ParentPower, ParentReach};
use scratchproof_measurements::{Class, Component, Found, Question, manifest};

/// The component that a tensor's share of a parent's weights is counted with: a router is part of its experts.
fn counted_with(session: &Session, component: &str) -> String {
    let routed = component == "router" && session.measured.subject().experts > 0;
    if routed { "experts".to_owned() } else { component.to_owned() }
}

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
            let name = counted_with(session, component);
            let reach = reaches.entry((p, name.clone())).or_insert_with(|| ParentReach {
                parent: parent.name.clone(),
                component: name,
                elements: 0,
                stored: 0,
                matched: 0,
            });
            let elements = sizes(unit) as u64;
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

/// Families whose spread of sizes over the layers is compared, at least, and matrices of each.
const FAMILIES: usize = 3;
const MATRICES: usize = 2;

/// Largest over smallest root mean square of one family's matrices over the layers, up to which they may be of one draw: a
/// scheme gives them one size, within 1 / sqrt(2 n) of itself, and training does not.
const ONE_SIZE: f64 = 1.1;

/// Parents and controls whose silence says nothing: equal to another model of the case, or never trained.
#[must_use]
pub fn unfit(session: &Session) -> Vec<Unfit> {
    let (measured, plan) = (session.measured, &session.measured.plan);
    let names: Vec<&str> = session
        .case
        .parents
        .iter()
        .map(|p| p.name.as_str())
        .chain(session.case.controls.iter().map(|c| c.name.as_str()))
        .collect();
    let whole =
        |model: usize| measured.digests.get(model).filter(|files| !files.is_empty()).map(|files| manifest(files));
    let mut unfit = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let model = plan.series + at;
        let own = whole(model);
        let equal = |other: usize| own.is_some() && whole(other) == own || recast(session, other, model);
        let before = (0..at).find(|&other| equal(plan.series + other));
        if let Some(other) = before {
            unfit.push(Unfit { model: (*name).to_owned(), same_as: Some(names[other].to_owned()) });
        } else if untrained(session, model) {
            unfit.push(Unfit { model: (*name).to_owned(), same_as: None });
        }
    }
    unfit
}

/// Squared distance over squared size, up to which two references are one model in two number formats: bf16 rounds to 3e-6.
const RECAST: f64 = 1e-5;

/// Whether two references are the same weights, whatever format or names they are stored under.
fn recast(session: &Session, a: usize, b: usize) -> bool {
    let (mut distance, mut size, mut units) = (0.0, 0.0, 0);
    for (unit, figures) in session.measured.plan.units.iter().zip(&session.measured.tensors) {
        let slot = |model: usize| unit.members.iter().position(|member| member.model == model);
        let (Some(a), Some(b)) = (slot(a), slot(b)) else { continue };
        let gram = &figures.gram;
        if unit.shape.len() < 2 || unit.role.constant || gram.nonfinite(a) + gram.nonfinite(b) > 0 {
            continue;
        }
        let (aa, ab, bb) = (gram.product(a, a), gram.product(a, b), gram.product(b, b));
        distance += (aa - 2.0 * ab + bb).max(0.0);
        size += aa.max(bb);
        units += 1;
    }
    units > 1 && distance <= RECAST * size
}

/// Standard deviations up to which rows are as independent random directions are where no norm weight moved, up to which they are
/// whatever norm weights did, and pairs of rows that show it. **Measured**: -0.9 to 1.4 of four draws (normal, scaled by layer,
/// Kaiming), 174 to 423 of seven trained models.
const DIRECTIONS: f64 = 6.0;
const DRAWN: f64 = 3.0;
const PAIRS: u64 = 2_000;

/// Whether a reference looks like a draw: its rows are as independent random directions are, or nearly so and no norm weight moved,
/// or no norm weight moved and all matrices of a family are of one size. **Measured**: the rows of a Mamba-2 of 200 steps (loss 7.02 to 3.78) have z 4.2, as the
/// first of each matrix belong to gates that hardly move; its norm weights went from 1 to 0.93 to 1.07.
fn untrained(session: &Session, model: usize) -> bool {
    let measured = session.measured;
    let drawn = measured.kept.drawn.iter().find(|drawn| drawn.model == model);
    let below = |limit: f64| drawn.is_some_and(|drawn| drawn.pairs >= PAIRS && drawn.z < limit);
    if below(DRAWN) {
        return true;
    }
    let mut families: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let (mut norms, mut constant) = (0, 0);
    for (unit, figures) in measured.plan.units.iter().zip(&measured.tensors) {
        let Some(slot) = unit.members.iter().position(|member| member.model == model) else { continue };
        let (gram, n) = (&figures.gram, figures.gram.elements() as f64);
        if unit.role.constant || n < 2.0 || gram.nonfinite(slot) > 0 {
            continue;
        }
        let (mean, square) = (gram.sum(slot) / n, gram.product(slot, slot) / n);
        if unit.shape.len() == 1 && unit.role.component == Component::Norms {
            norms += 1;
            constant += usize::from(square - mean * mean <= 1e-12 * square);
        } else if unit.shape.len() > 1 && unit.role.layer.is_some() && n >= 512.0 {
            families.entry(&unit.role.family).or_default().push(square.sqrt());
        }
    }
    let sizes: Vec<&Vec<f64>> = families.values().filter(|sizes| sizes.len() >= MATRICES).collect();
    let even = |sizes: &&&Vec<f64>| {
        let (low, high) =
            sizes.iter().fold((f64::INFINITY, 0.0_f64), |(low, high): (f64, f64), s| (s.min(low), s.max(high)));
        low > 0.0 && high / low <= ONE_SIZE
    };
    let unmoved = constant == norms;
    let of_one_size = norms > 1 && sizes.len() >= FAMILIES && sizes.iter().filter(even).count() == sizes.len();
    unmoved && (below(DIRECTIONS) || of_one_size)
}
