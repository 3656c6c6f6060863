//! A parent behind a disguise: relabelled, rotated, rescaled, of another width or depth (METHODS 2.1, 2.2, 3).

use std::collections::{BTreeMap, BTreeSet};

use super::parts::Controls;
use super::{ALL, ParentFacts, Tested, capital, grade, named, nearness};
use crate::{Code, Direction, Finding, Grade, Judgement, Subject};
use scratchproof_case::Policy;
use scratchproof_evidence::{DisguiseRow, Reference};
use scratchproof_measurements::{BY_TOKENS, IN_PLACE};

/// How the evidence ends the name of two fits of which one is that of the token rows.
const TOKENS: &str = "against tokens";

/// One family of tests: what its rows are called in the evidence, its code and its null.
struct Test {
    question: &'static str,
    code: Code,
    null: &'static str,
    /// Whether the effect is a share of units that were matched twice, not a correlation.
    matched: bool,
}

const TESTS: &[Test] = &[
    Test {
        question: "order",
        code: Code::ParentPermuted,
        null: "two halves of the layers of independent models are assigned apart: agreements are Poisson",
        matched: false,
    },
    Test {
        question: "rotation",
        code: Code::ParentRotated,
        null: "tr(Q1^T Q2) of the rotations of two halves of the layers of independent models: standard normal",
        matched: false,
    },
    Test {
        question: "neurons",
        code: Code::ParentNeurons,
        null: "neurons of independent models matched twice: agreements are Poisson, one a matrix",
        matched: true,
    },
    Test {
        question: "experts",
        code: Code::ParentExperts,
        null: "experts of independent models matched twice: agreements are Poisson, one a layer",
        matched: true,
    },
    Test {
        question: "heads",
        code: Code::ParentHeads,
        null: "heads of independent models matched twice: agreements are Poisson, one a layer and pair of matrices",
        matched: true,
    },
    Test {
        question: "second-moments",
        code: Code::ParentSecondMoments,
        null: "relabelling of the residual axis of one of the two: exact mean and variance for any two independent models",
        matched: false,
    },
];

/// The rows of one test against one model that speak of the whole model or of a component, not of a layer.
fn rows<'a>(
    facts: &'a ParentFacts<'_>,
    reference: &'a Reference,
    test: &'a Test,
) -> impl Iterator<Item = &'a DisguiseRow> {
    facts.disguise.iter().filter(move |row| {
        row.reference == *reference
            && row.question == test.question
            && row.layer_subject.is_none()
            // The sum over the components says nothing that they do not.
            && !(test.question == "second-moments" && row.component == ALL)
    })
}

/// The grade of one row after multiplicity over `tests` rows; `None` where it is what independent models show.
fn graded(row: &DisguiseRow, test: &Test, tests: usize, policy: &Policy) -> Option<(Grade, f64, f64)> {
    let log10_p = (row.log10_p? + (tests.max(1) as f64).log10()).min(0.0);
    let effect = match (row.agreed, row.expected) {
        (Some(agreed), Some(expected)) => (agreed - expected) / (row.of.max(1) as f64),
        _ => row.effect?,
    };
    let least = if BY_TOKENS.contains(&row.frame.as_str()) { policy.matched_by_tokens } else { policy.matched_strong };
    let grade = if test.matched {
        if effect < least {
            None
        } else if log10_p <= policy.conclusive_log10_p && effect >= policy.matched_conclusive {
            Some(Grade::Conclusive)
        } else if log10_p <= policy.strong_log10_p {
            Some(Grade::Strong)
        } else if log10_p <= policy.moderate_log10_p {
            Some(Grade::Moderate)
        } else {
            None
        }
    } else {
        let least = match test.question {
            "second-moments" => policy.strong_effect,
            _ if row.between.ends_with(TOKENS) => policy.matched_by_tokens,
            _ => policy.matched_strong,
        };
        let grade = grade(log10_p, effect, policy).filter(|_| effect >= least);
        // Layers that read copied features are alike too, so that they name no component on their own.
        if test.question == "second-moments" { grade.map(|g| g.min(Grade::Moderate)) } else { grade }
    };
    grade.map(|grade| (grade, log10_p, effect))
}

/// Controls that fire in a test at least moderately: then it does not count on this case.
fn firing<'a>(facts: &'a ParentFacts<'_>, controls: &Controls, test: &Test, policy: &Policy) -> Vec<&'a str> {
    let fires = |control: &&&str| {
        let reference = Reference::Control((**control).to_owned());
        let own: Vec<&DisguiseRow> = rows(facts, &reference, test).collect();
        !controls.is_aside(control, ALL) && own.iter().any(|row| graded(row, test, own.len(), policy).is_some())
    };
    facts.controls.iter().filter(fires).copied().collect()
}

/// Everything that was found of one parent's disguise. Returns the highest grade that counts.
pub(super) fn findings(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    controls: &Controls,
    seeded: bool,
    policy: &Policy,
) -> Option<Grade> {
    let reference = Reference::Parent(parent.to_owned());
    let words = facts.disguises.get(parent).map_or(&[][..], Vec::as_slice);
    let mut highest = None;
    // A rotated axis fits a relabelling too, only not as well, and a relabelled one fits a rotation as well.
    let frame_found = match facts.frames.get(parent).map(String::as_str) {
        Some("rotated") => Some(Code::ParentPermuted),
        Some("permuted") => Some(Code::ParentRotated),
        _ => None,
    };
    for test in TESTS.iter().filter(|test| frame_found != Some(test.code)) {
        let own: Vec<&DisguiseRow> = rows(facts, &reference, test).collect();
        let firing = firing(facts, controls, test, policy);
        let mut best: BTreeMap<&str, (&DisguiseRow, Grade, f64, f64)> = BTreeMap::new();
        for row in &own {
            // A residual axis that agrees in its place is the aligned test's affair.
            if row.question == "order" && row.in_place.is_some_and(|share| share >= IN_PLACE) {
                continue;
            }
            let Some((grade, log10_p, effect)) = graded(row, test, own.len(), policy) else { continue };
            let better = best.get(row.component.as_str()).is_none_or(|(_, g, _, e)| (grade, effect) > (*g, *e));
            if better {
                best.insert(&row.component, (row, grade, log10_p, effect));
            }
        }
        for (component, (row, mut grade, log10_p, effect)) in best {
            let mut message = said(facts, test, row, parent, component, effect);
            let mut direction = Direction::Against;
            if seeded {
                (grade, direction) = (Grade::Context, Direction::Neutral);
                message.push_str(" Explained by the common random start.");
            } else if !firing.is_empty() || controls.uncalibrated(ALL) {
                (grade, direction) = (Grade::Context, Direction::Neutral);
                message.push_str(&match &firing[..] {
                    [] => " Not counted: every control fires.".to_owned(),
                    some => format!(" Not counted: control {} fires in this test.", some.join(", ")),
                });
            } else if facts.controls.is_empty() && grade == Grade::Conclusive {
                grade = Grade::Strong;
                message.push_str(" Graded strong, not conclusive: there is no control.");
            }
            if direction == Direction::Against {
                highest = highest.max(Some(grade));
            }
            if !words.is_empty() {
                message.push_str(&format!(" Found: {}.", words.join(", ")));
            }
            let mut finding = Finding::new(test.code, grade, direction, message);
            finding.subject = Subject {
                component: (component != ALL).then(|| component.to_owned()),
                parent: Some(parent.to_owned()),
                steps: vec![facts.steps.1],
                ..Subject::default()
            };
            finding.statistic = row.z.or(row.agreed);
            finding.log10_p = Some(log10_p);
            finding.effect = Some(effect);
            finding.n = Some(row.of);
            finding.null = test.null.into();
            finding.evidence = Some("evidence/disguise.parquet".into());
            judgement.push(finding);
        }
    }
    highest
}

fn said(facts: &ParentFacts<'_>, test: &Test, row: &DisguiseRow, parent: &str, component: &str, effect: f64) -> String {
    let agreed = row.agreed.unwrap_or(0.0);
    let expected = row.expected.unwrap_or(0.0);
    let frame = match row.frame.as_str() {
        frame if frame.starts_with("permuted") => ", read along the permuted residual axis",
        frame if frame.starts_with("rotated") => ", read along the rotated residual axis",
        _ => "",
    };
    match test.code {
        Code::ParentPermuted => format!(
            "The residual axis is that of {parent} in another order (permuted): {} assign {agreed} of {} dimensions alike ({expected:.1} expected of independent models).",
            row.between, row.of
        ),
        Code::ParentRotated => format!(
            "The residual axis is that of {parent} in another basis (rotated): the rotations of {} agree with tr(Q1^T Q2) = {agreed:.1} of {} (0 +- 1 for independent models).",
            row.between, row.of
        ),
        Code::ParentSecondMoments => format!(
            "The second moments of {} over the residual axis correlate with those of {parent} by {effect:.3} (z = {:.1}), whatever the order, scale and sign of neurons, heads and experts.",
            named(facts, component),
            row.z.unwrap_or(0.0)
        ),
        _ => format!(
            "{agreed} of {} {} of {} are those of {parent}{frame}: two matchings that know nothing of each other ({}) agree on them ({expected:.1} expected of independent models); {:.0} % of these are where they were.",
            row.of,
            test.question,
            named(facts, component),
            row.between,
            100.0 * row.in_place.unwrap_or(0.0)
        ),
    }
}

/// The ordinary tests of the parent as it is written in the subject's coordinates: one finding for each component that
/// is aligned with it. They weigh no more than the finding that says how it is written.
pub(super) fn re_expressed(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    tests: &[Tested<'_>],
    highest: Option<Grade>,
    policy: &Policy,
) {
    let Some(highest) = highest else { return };
    let reference = Reference::Relabelled(parent.to_owned());
    let own: Vec<&Tested> = tests.iter().filter(|t| t.row.reference == reference).collect();
    let components: BTreeSet<&str> = own.iter().map(|t| t.row.component.as_str()).filter(|c| *c != ALL).collect();
    let words = facts.disguises.get(parent).map_or(String::new(), |words| words.join(", "));
    for component in components {
        let fired = own.iter().filter(|t| t.row.component == component && t.grade(policy).is_some());
        let Some(nearest) = fired.max_by(|a, b| nearness(a, policy).total_cmp(&nearness(b, policy))) else { continue };
        let grade = nearest.grade(policy).unwrap_or(Grade::Moderate).min(highest);
        let mut finding = Finding::new(
            Code::ParentReexpressed,
            grade,
            Direction::Against,
            format!(
                "{} is aligned with {parent} written in the subject's coordinates ({words}): nearest at step {} with z = {:.1} and correlation {:.3}.",
                capital(&named(facts, component)),
                nearest.row.step,
                nearest.z,
                nearest.effect
            ),
        );
        finding.subject = Subject {
            component: Some(component.to_owned()),
            parent: Some(parent.to_owned()),
            steps: vec![nearest.row.step],
            ..Subject::default()
        };
        finding.statistic = Some(nearest.z);
        finding.log10_p = Some(nearest.log10_p);
        finding.effect = Some(nearest.effect);
        finding.n = Some(nearest.row.rows * nearest.row.columns);
        finding.null =
            "relabelling of the residual axis, given how the parent is written, which was found apart".into();
        finding.evidence = Some("evidence/components.parquet".into());
        judgement.push(finding);
    }
}
