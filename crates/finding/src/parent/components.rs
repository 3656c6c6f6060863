//! Every component of the subject against the parents: derived, independent or undetermined.

use std::collections::BTreeSet;

use super::aligned::nearness;
use super::parts::{Controls, Tested, part_of};
use super::{ALL, ParentFacts, layers, parent_of};
use crate::{Code, ComponentOutcome, ComponentResult, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_evidence::Reference;
use scratchproof_texts::{Param, text};

/// Where a part of the subject is a parent's and another part is not: which, in one sentence for each parent.
pub(super) fn borrowed(judgement: &mut Judgement, facts: &ParentFacts<'_>, results: &[ComponentResult]) {
    let own: Vec<&str> =
        results.iter().filter(|c| c.outcome == ComponentOutcome::Independent).map(|c| c.name.as_str()).collect();
    let depth: BTreeSet<u32> = facts.layer_map.iter().map(|cell| cell.layer_subject).collect();
    for &parent in &facts.parents {
        let taken: Vec<&ComponentResult> = results
            .iter()
            .filter(|c| c.outcome == ComponentOutcome::Derived && c.parent.as_deref() == Some(parent))
            .collect();
        let partly = |c: &ComponentResult| !c.layers.is_empty() && c.layers.len() < depth.len();
        if taken.is_empty() || own.is_empty() && !taken.iter().copied().any(partly) {
            continue;
        }
        let told: Vec<Param> = taken
            .iter()
            .map(|c| match &c.layers[..] {
                [] => Param::from(&c.name),
                layers => text!("parent/borrowed/layers", component = &c.name, layers).into(),
            })
            .collect();
        let message = text!("parent/borrowed/parts", parent, taken = told, own = own.clone());
        let mut finding = Finding::new(Code::ParentBorrowed, Grade::Context, Direction::Against, message);
        finding.subject.parent = Some(parent.to_owned());
        finding.null = text!("parent/null/summary");
        judgement.push(finding);
    }
}

/// Up to this correlation a component may be alike because a table of tokens is the parent's ...
const FOLLOWS: f64 = 0.2;

/// ... whose correlation is so many times as large. **Measured**: where the output layer alone was taken (0.72 at the end), the
/// embedding, which was drawn and trained beside it, correlates by 0.084 (z 7.4).
const TIMES: f64 = 4.0;

/// Whether a likeness is what another component's makes of it: an embedding or an output layer that is the parent's turns the
/// axis of all that is trained beside it. Then the component is not accused, and not cleared.
fn follows(finding: &Finding, tests: &[Tested<'_>]) -> bool {
    let (Some(effect), Some(own)) = (finding.effect, finding.subject.component.as_deref()) else { return false };
    let effect = effect.abs();
    let tables = |t: &&Tested<'_>| {
        matches!(t.row.component.as_str(), "embedding" | "head")
            && t.row.component != own
            && parent_of(&t.row.reference) == finding.subject.parent.as_deref()
    };
    finding.code == Code::ParentSimilarity
        && effect < FOLLOWS
        && tests.iter().filter(tables).any(|t| t.effect.abs() >= TIMES * effect)
}

/// Whether the axis of a parent stands in another order or basis, or its heads are found whatever the basis while nothing of its
/// attention is seen as stored, and this component was not held against it in that frame: then it is not cleared.
fn in_another_frame(
    facts: &ParentFacts<'_>,
    policy: &Policy,
    findings: &[Finding],
    tests: &[Tested<'_>],
    name: &str,
) -> bool {
    let as_stored = |parent: &str, component: Option<&str>| {
        let own = |t: &&Tested<'_>| component == Some(&t.row.component) && parent_of(&t.row.reference) == Some(parent);
        tests.iter().filter(own).any(|t| t.grade(policy).is_some())
    };
    let elsewhere = |f: &&Finding| match (f.code, f.subject.parent.as_deref()) {
        (Code::ParentPermuted | Code::ParentRotated, _) => true,
        (Code::ParentHeadProducts | Code::ParentHeadSigns, Some(parent)) => {
            !as_stored(parent, f.subject.component.as_deref())
        }
        _ => false,
    };
    let mut found = findings.iter().filter(|f| f.direction == Direction::Against && f.grade >= Grade::Strong);
    let held = |parent: &str| {
        let in_frame = Reference::Relabelled(parent.to_owned());
        tests.iter().any(|t| t.row.component == name && t.row.reference == in_frame)
    };
    let unheld = |f: &Finding| f.subject.parent.as_deref().is_some_and(|parent| !held(parent));
    part_of(facts, name) == ALL && found.any(|f| elsewhere(&f) && unheld(f))
}

/// Every component of the subject against the parent it is nearest to.
pub(super) fn components(
    facts: &ParentFacts<'_>,
    policy: &Policy,
    tests: &[Tested<'_>],
    findings: &[Finding],
    controls: &Controls,
) -> Vec<ComponentResult> {
    facts
        .components
        .iter()
        .map(|name| {
            let counted = |f: &&Finding| {
                f.direction == Direction::Against
                    && f.grade >= Grade::Strong
                    && f.subject.component.as_deref() == Some(name)
            };
            let derived = findings.iter().filter(counted).filter(|f| !follows(f, tests)).max_by(|a, b| {
                a.grade.cmp(&b.grade).then(a.statistic.unwrap_or(0.0).total_cmp(&b.statistic.unwrap_or(0.0)))
            });
            let nearest = tests
                .iter()
                .filter(|t| t.row.component == *name)
                .filter(|t| derived.is_none_or(|f| f.subject.parent.as_deref() == parent_of(&t.row.reference)))
                .max_by(|a, b| nearness(a, policy).total_cmp(&nearness(b, policy)));
            // A common start is the whole model's, or one component's.
            let of_this = |f: &&Finding| f.subject.component.as_ref().is_none_or(|component| component == name);
            let seeded = |parent: Option<&str>| {
                findings
                    .iter()
                    .filter(of_this)
                    .any(|f| f.code == Code::ParentSharedSeed && f.subject.parent.as_deref() == parent)
            };
            let near = nearest.and_then(|t| parent_of(&t.row.reference));
            let seeded = seeded(near);
            // Whatever names the component and weighs something keeps it from being cleared.
            let doubted = |name: &String| {
                findings.iter().any(|f| {
                    f.direction == Direction::Against
                        && f.grade >= Grade::Moderate
                        && f.subject.component.as_ref() == Some(name)
                })
            };
            // As stored alone nothing is cleared; a search is of the language model, and towers are looked at as stored.
            let unsearched = || {
                let of_this = tests.iter().filter(|t| t.row.component == *name && part_of(facts, name) == ALL);
                let partly = |parent: &str| facts.partly.contains(&(parent.to_owned(), name.clone()));
                let mut parents = of_this.filter_map(|t| parent_of(&t.row.reference));
                parents.any(|parent| facts.unsearched.contains(parent) || partly(parent))
            };
            let outcome = match (derived, nearest) {
                (Some(_), _) => ComponentOutcome::Derived,
                // Nothing stands beside the figures of a tower that no control reaches.
                (None, Some(_)) if part_of(facts, name) != ALL && !controls.usable(name) => {
                    ComponentOutcome::Undetermined
                }
                (None, _)
                    if !seeded
                        && (doubted(name)
                            || unsearched()
                            || in_another_frame(facts, policy, findings, tests, name)) =>
                {
                    ComponentOutcome::Undetermined
                }
                (None, Some(test))
                    if seeded
                        || (test.grade(policy).is_none() && test.detectable(policy) <= policy.detectable_effect) =>
                {
                    ComponentOutcome::Independent
                }
                _ => ComponentOutcome::Undetermined,
            };
            let parent = derived
                .and_then(|f| f.subject.parent.clone())
                .or_else(|| nearest.and_then(|t| parent_of(&t.row.reference).map(str::to_owned)));
            let layers = if outcome == ComponentOutcome::Derived {
                parent.as_deref().map_or(Vec::new(), |parent| layers::of_component(facts, parent, name, policy))
            } else {
                Vec::new()
            };
            ComponentResult {
                name: name.clone(),
                outcome,
                parent,
                z: nearest.map(|t| t.z),
                log10_p: nearest.map(|t| t.log10_p),
                effect: nearest.map(|t| t.effect),
                layers,
            }
        })
        .collect()
}
