//! Rows that two matchings find in a parent in another place: copies that were trained on, under another role, in another layer or
//! in another order.

use std::collections::BTreeMap;

use super::disguise::weighed;
use super::parts::{Controls, named, part_of};
use super::{ParentFacts, grade, parent_of};
use crate::{Code, Finding, Grade, Judgement, Subject};
use scratchproof_case::Policy;
use scratchproof_evidence::{MatchedRow, Reference};
use scratchproof_stats::log10_poisson_upper;
use scratchproof_texts::text;

/// Pairs of rows on which two independent matchings agree, in the mean, where each is one to one (Montmort 1708).
const BY_CHANCE: f64 = 1.0;

/// The rows of one component at one step that are of one model.
struct Answer<'a> {
    rows: Vec<&'a MatchedRow>,
    agreed: u64,
    expected: f64,
    log10_p: f64,
    /// Mean cosine.
    effect: f64,
    grade: Option<Grade>,
}

/// By component and step what was found in models of one kind.
fn answers<'a>(
    facts: &ParentFacts<'a>,
    of: impl Fn(&Reference) -> bool,
    policy: &Policy,
) -> BTreeMap<(&'a str, i64), Answer<'a>> {
    let mut groups: BTreeMap<(&str, i64), BTreeMap<&Reference, Vec<&MatchedRow>>> = BTreeMap::new();
    for row in facts.matched.iter().filter(|row| of(&row.reference)) {
        let models = groups.entry((row.component.as_str(), row.step)).or_default();
        models.entry(&row.reference).or_default().push(row);
    }
    // Components, steps and models were asked alike.
    let tests = (facts.components.len() * 2 * (facts.parents.len() + facts.controls.len())).max(1) as f64;
    let answer = |rows: Vec<&'a MatchedRow>| {
        let agreed = rows.iter().map(|row| row.rows).sum::<u64>();
        let expected = BY_CHANCE + rows.iter().map(|row| row.by_chance).max().unwrap_or(0) as f64;
        let log10_p = (log10_poisson_upper(agreed, expected) + tests.log10()).min(0.0);
        let effect = rows.iter().map(|row| row.cosine * row.rows as f64).sum::<f64>() / agreed.max(1) as f64;
        Answer { agreed, expected, log10_p, effect, grade: grade(log10_p, effect, policy), rows }
    };
    let nearest = |models: BTreeMap<&Reference, Vec<&'a MatchedRow>>| {
        models.into_values().map(answer).min_by(|a, b| a.log10_p.total_cmp(&b.log10_p))
    };
    groups.into_iter().filter_map(|(key, models)| Some((key, nearest(models)?))).collect()
}

/// One finding for each component with rows of the parent that nothing else has shown to be the parent's.
pub(super) fn findings(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    controls: &Controls,
    seeded: bool,
    policy: &Policy,
) {
    let own = answers(facts, |reference| parent_of(reference) == Some(parent), policy);
    let of = |control: &str| answers(facts, |r| *r == Reference::Control(control.to_owned()), policy);
    let theirs: BTreeMap<&str, _> = facts.controls.iter().map(|control| (*control, of(control))).collect();
    let mut best: BTreeMap<&str, (i64, Answer)> = BTreeMap::new();
    for ((component, step), answer) in own.into_iter().filter(|(_, answer)| answer.grade.is_some()) {
        if best.get(component).is_none_or(|(_, before)| answer.log10_p < before.log10_p) {
            best.insert(component, (step, answer));
        }
    }
    for (component, (step, answer)) in best {
        let Answer { rows, agreed, expected, log10_p, effect, grade } = answer;
        let shown = super::shown_by_now(judgement, parent, component);
        let (Some(mut grade), false) = (grade, shown) else { continue };
        let Some(example) = rows.iter().max_by_key(|row| row.rows) else { continue };
        let of: u64 = rows.iter().map(|row| (&row.tensor, row.of)).collect::<BTreeMap<_, _>>().into_values().sum();
        let mut message = text!(
            "parent/matched-rows/found",
            agreed,
            of,
            what = named(facts, component),
            parent,
            tensor = &example.tensor,
            like = &example.like,
            rows = example.rows,
            cosine = effect,
            expected,
            step = Some(step).filter(|_| facts.steps.0 != facts.steps.1)
        );
        let part = part_of(facts, component);
        let firing = controls.firing(facts, part, |control| {
            theirs[control].iter().any(|((of, _), answer)| *of == component && answer.grade.is_some())
        });
        let direction = weighed(facts, controls, (&mut grade, true), (seeded, &firing), &mut message);
        let mut finding = Finding::new(Code::ParentMatchedRows, grade, direction, message);
        finding.subject = Subject {
            component: Some(component.to_owned()),
            layer: example.layer,
            tensor: Some(example.tensor.clone()),
            parent: Some(parent.to_owned()),
            steps: vec![step],
        };
        finding.statistic = Some(agreed as f64);
        finding.log10_p = Some(log10_p);
        finding.effect = Some(effect);
        finding.n = Some(of);
        finding.null = text!("parent/null/matched-rows");
        finding.evidence = Some("evidence/matched_rows.parquet".into());
        judgement.push(finding);
    }
}
