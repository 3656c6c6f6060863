//! The column test along the residual axis: what is nearer to a parent than independent models are, and what is not.

use std::collections::BTreeSet;

use super::parts::{Controls, Tested, alias, frozen, named, part_of};
use super::{ALL, ParentFacts, null, parent_of};
use crate::{Code, Direction, Finding, Grade, Judgement, Subject};
use scratchproof_case::Policy;
use scratchproof_evidence::{ComponentRow, Reference};
use scratchproof_stats::{holm, log10_both_tails};
use scratchproof_texts::text;

/// All tests against one kind of reference as one family: Holm over components, steps and references. Both tails count: what is
/// the parent's times -1 is the parent's.
pub(super) fn tested(rows: &[ComponentRow], of: impl Fn(&Reference) -> bool) -> Vec<Tested<'_>> {
    let rows: Vec<&ComponentRow> = rows.iter().filter(|r| of(&r.reference)).collect();
    let adjusted = holm(&rows.iter().map(|r| r.z.map(log10_both_tails)).collect::<Vec<_>>());
    rows.into_iter()
        .zip(adjusted)
        .filter_map(|(row, log10_p)| Some(Tested { row, z: row.z?, effect: row.effect?, log10_p: log10_p? }))
        .collect()
}

/// Says of a parent that nothing of it, or nothing of its language model, could be compared.
pub(super) fn not_comparable(judgement: &mut Judgement, facts: &ParentFacts<'_>, parent: &str, entirely: bool) {
    let message = if entirely {
        text!("parent/not-comparable/nothing", parent)
    } else {
        text!("parent/not-comparable/language-model", parent)
    };
    let mut finding = Finding::new(Code::ParentNotComparable, Grade::Context, Direction::Neutral, message);
    finding.subject.parent = Some(parent.to_owned());
    finding.subject.component = (!entirely).then(|| ALL.to_owned());
    judgement.push(finding);
    let language_model = facts.parts.len() > 1 && !entirely;
    judgement.missing.push(text!("parent/missing/other-sizes", parent, language_model));
}

/// One finding for each component that is nearer to the parent than the null allows, at the step where it is nearest.
pub(super) fn similarities(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    own: &[&Tested<'_>],
    controls: &Controls,
    seeded: &dyn Fn(&str) -> bool,
    policy: &Policy,
) {
    let components: BTreeSet<&str> = own.iter().map(|t| t.row.component.as_str()).collect();
    for component in components {
        let tests: Vec<_> = own.iter().filter(|t| t.row.component == component).collect();
        let fired: Vec<_> = tests.iter().filter(|t| t.grade(policy).is_some()).collect();
        let Some(nearest) = fired.iter().max_by(|a, b| nearness(a, policy).total_cmp(&nearness(b, policy))) else {
            continue;
        };
        let mut grade = fired.iter().filter_map(|t| t.grade(policy)).max().unwrap_or(Grade::Moderate);
        let last = tests.iter().find(|t| t.row.step == facts.steps.1);
        let single = facts.steps.0 == facts.steps.1;
        let (what, named) = (named(facts, component), alias(facts, component, parent));
        let (z, effect) = (nearest.z, nearest.effect);
        let mut message = if single {
            text!("parent/aligned-similarity/single", what, parent = named, z, effect)
        } else {
            text!(
                "parent/aligned-similarity/series",
                what,
                parent = named,
                fired = fired.len(),
                of = tests.len(),
                step = nearest.row.step,
                z,
                effect,
                last = facts.steps.1,
                last_z = last.map(|t| t.z),
                last_effect = last.map(|t| t.effect)
            )
        };
        if let Some(frozen) = frozen(facts, component, parent) {
            message.push(frozen);
        }
        let mut direction = Direction::Against;
        let part = part_of(facts, component);
        if seeded(component) {
            (grade, direction) = (Grade::Context, Direction::Neutral);
            message.push(text!("parent/note/seeded"));
        } else if controls.uncalibrated(part) {
            (grade, direction) = (Grade::Context, Direction::Neutral);
            message.push(text!("parent/note/every-control-fires"));
        } else if grade == Grade::Conclusive
            && let Some(lacking) = controls.lacking(facts, part)
        {
            grade = Grade::Strong;
            message.push(lacking);
        }
        let mut finding = Finding::new(Code::ParentSimilarity, grade, direction, message);
        finding.subject = Subject {
            component: Some(component.to_owned()),
            parent: Some(parent.to_owned()),
            steps: fired.iter().map(|t| t.row.step).collect(),
            ..Subject::default()
        };
        finding.statistic = Some(nearest.z);
        finding.log10_p = Some(nearest.log10_p);
        finding.effect = Some(nearest.effect);
        finding.n = Some(nearest.row.rows * nearest.row.columns);
        finding.null = null();
        finding.evidence = Some("evidence/components.parquet".into());
        judgement.push(finding);
    }
}

/// Orders tests by how near they are: the grade first, then the correlation.
pub(super) fn nearness(test: &Tested<'_>, policy: &Policy) -> f64 {
    test.effect.abs() + test.grade(policy).map_or(0.0, |grade| 10.0 * f64::from(grade as u8))
}

/// The findings that support the claim, one for each parent and part; `false` if too little could be seen to say
/// anything.
pub(super) fn silence(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    silent: &[&Tested<'_>],
    policy: &Policy,
) -> bool {
    let parents: BTreeSet<(&str, &str)> =
        silent.iter().filter_map(|t| Some((parent_of(&t.row.reference)?, part_of(facts, &t.row.component)))).collect();
    let towers: BTreeSet<&str> = facts.parts.iter().map(|part| part.name.as_str()).collect();
    let mut enough = true;
    for (parent, part) in parents {
        let here =
            |t: &&&Tested| parent_of(&t.row.reference) == Some(parent) && part_of(facts, &t.row.component) == part;
        let own: Vec<_> = silent.iter().filter(here).collect();
        let Some(whole) = own.iter().filter(|t| t.row.component == part).max_by(|a, b| a.z.abs().total_cmp(&b.z.abs()))
        else {
            enough = false;
            judgement.missing.push(text!("parent/missing/whole", parent));
            continue;
        };
        let detectable = whole.detectable(policy);
        let tested: BTreeSet<&str> = own.iter().map(|t| t.row.component.as_str()).filter(|c| *c != ALL).collect();
        let components = facts.components.iter().map(String::as_str).filter(|c| part == ALL && !towers.contains(c));
        let untested: Vec<&str> = components.filter(|c| !tested.contains(c) && *c != "norms").collect();
        if detectable > policy.detectable_effect {
            // A tower too small to be seen clears nobody, unless it is so small that nothing depends on it.
            let share = facts.parts.iter().find(|p| p.name == part).map_or(1.0, |p| p.share);
            enough &= part != ALL && share <= policy.unreached_share;
            judgement.missing.push(text!(
                "parent/missing/sharper",
                part = Some(part).filter(|part| *part != ALL),
                parent,
                detectable,
                policy = policy.detectable_effect
            ));
        }
        if !untested.is_empty() {
            judgement.missing.push(text!("parent/missing/components", components = untested, parent));
        }
        let mut finding = Finding::new(
            Code::ParentSilent,
            if detectable > policy.detectable_effect || part == ALL && facts.unsearched.contains(parent) {
                Grade::Weak
            } else {
                Grade::Strong
            },
            Direction::For,
            text!(
                "parent/no-similarity/silent",
                checkpoints = own.iter().filter(|t| t.row.component == part).count(),
                what = named(facts, part),
                parent = alias(facts, part, parent),
                z = whole.z,
                effect = whole.effect,
                log10_p = whole.log10_p,
                detectable,
                tested = tested.into_iter().collect::<Vec<_>>()
            ),
        );
        finding.subject.parent = Some(parent.to_owned());
        finding.subject.component = (part != ALL).then(|| part.to_owned());
        finding.statistic = Some(whole.z);
        finding.log10_p = Some(whole.log10_p);
        finding.effect = Some(whole.effect);
        finding.n = Some(whole.row.rows * whole.row.columns);
        finding.null = null();
        finding.evidence = Some("evidence/components.parquet".into());
        judgement.push(finding);
    }
    enough
}
