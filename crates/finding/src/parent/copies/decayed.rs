//! Rows of the two models that differ by one common factor.

use std::collections::BTreeSet;

use super::super::parts::Controls;
use super::super::{ALL, ParentFacts};
use super::{CopyFigure, LEAST_ROWS, NAMED, by_component, count, is_parent, others};
use crate::{Code, Direction, Finding, Grade, Judgement, Subject};
use scratchproof_case::Policy;
use scratchproof_texts::{Text, text};

/// Rows that both models have up to one factor while nothing else of the matrix is alike: rows that no training reached,
/// which only decayed, or stayed as they were, since one common start. A question of origin, not a derivation; what the
/// aligned test sees of these rows is explained by them.
pub(in super::super) fn proportional(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    controls: &Controls,
    seeded: bool,
    policy: &Policy,
) {
    /// Rows that are of one direction, and those among them that are equal.
    fn shared(figure: &CopyFigure) -> (u64, u64) {
        (figure.proportional.map_or(0, |p| p.0), count(&figure.blocks))
    }
    let last = facts.steps.1;
    let found = facts
        .copies
        .iter()
        .filter(|f| is_parent(&f.reference, parent) && f.step == last && f.silent_otherwise(policy))
        .filter(|f| {
            let (scaled, equal) = shared(f);
            let equal = if f.of_tokens() { equal } else { 0 };
            scaled + equal >= LEAST_ROWS
                && f.proportional_log10_p(scaled + equal) <= policy.conclusive_log10_p
                && others(facts, f, controls).all(|c| shared(c).0 < LEAST_ROWS)
        });
    let components = by_component(found.map(|f| (f.component.as_str(), f)));
    for (component, own) in &components {
        let told: Vec<Text> = own
            .iter()
            .take(NAMED)
            .map(|f| {
                let (scaled, equal) = shared(f);
                text!(
                    "parent/decayed-rows/matrix",
                    rows = f.rows,
                    tensor = &f.tensor,
                    scaled,
                    ratio = f.proportional.map(|p| p.1),
                    sd = f.proportional.map(|p| p.2),
                    equal
                )
            })
            .collect();
        let rest = own.iter().filter_map(|f| f.rest).fold(f64::NEG_INFINITY, f64::max);
        let rows: u64 = own.iter().map(|f| shared(f).0 + shared(f).1).sum();
        let log10_p = own.iter().map(|f| f.proportional_log10_p(shared(f).0 + shared(f).1)).fold(0.0, f64::min);
        let (grade, direction) =
            if seeded { (Grade::Context, Direction::Neutral) } else { (Grade::Moderate, Direction::Against) };
        let mut finding = Finding::new(
            Code::ParentDecayedRows,
            grade,
            direction,
            text!("parent/decayed-rows/common", told, parent, rest),
        );
        if seeded {
            finding.message.push(text!("parent/note/seeded"));
        }
        finding.subject = Subject {
            component: Some((*component).to_owned()),
            tensor: own.first().map(|f| f.tensor.clone()),
            steps: vec![last],
            parent: Some(parent.to_owned()),
            ..Subject::default()
        };
        finding.statistic = Some(rows as f64);
        finding.log10_p = Some(log10_p);
        finding.effect = own.first().and_then(|f| f.proportional).map(|p| p.1);
        finding.n = Some(own.iter().map(|f| f.rows).sum());
        finding.null = text!("parent/null/decayed-rows");
        finding.evidence = Some("evidence/copies.parquet".into());
        judgement.push(finding);
    }
    explain(judgement, facts, parent, &components.keys().copied().collect(), policy);
}

/// Takes the force from similarities that are nothing but the shared rows.
fn explain(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    components: &BTreeSet<&str>,
    policy: &Policy,
) {
    let silent = |component: &str| {
        let own = facts.copies.iter().filter(|f| is_parent(&f.reference, parent) && f.component == component);
        own.filter(|f| f.rest.is_some()).all(|f| f.silent_otherwise(policy))
    };
    let explained: BTreeSet<&str> = components.iter().copied().filter(|component| silent(component)).collect();
    if explained.is_empty() {
        return;
    }
    let similar = |f: &Finding| {
        f.code == Code::ParentSimilarity
            && f.subject.parent.as_deref() == Some(parent)
            && f.direction == Direction::Against
    };
    let others = judgement.findings.iter().filter(|f| similar(f)).filter_map(|f| f.subject.component.as_deref());
    let only = others.filter(|c| *c != ALL).all(|c| explained.contains(c));
    for finding in judgement.findings.iter_mut().filter(|f| similar(f)) {
        let component = finding.subject.component.as_deref().unwrap_or(ALL);
        if explained.contains(component) || component == ALL && only {
            finding.grade = Grade::Context;
            finding.direction = Direction::Neutral;
            finding.message.push(text!("parent/note/shared-rows"));
        }
    }
}
