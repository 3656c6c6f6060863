//! A parent behind a disguise: relabelled, rotated, rescaled, of another width or depth (METHODS 2.1, 2.2, 3).

use std::collections::{BTreeMap, BTreeSet};

use super::aligned::nearness;
use super::parts::{Controls, Tested, named};
use super::{ALL, ParentFacts, grade};
use crate::{Code, Direction, Finding, Grade, Judgement, Subject};
use scratchproof_case::Policy;
use scratchproof_evidence::{DisguiseRow, Reference};
use scratchproof_measurements::{BY_TOKENS, IN_PLACE};
use scratchproof_texts::{Text, text};

/// How the evidence ends the name of two fits of which one is that of the token rows.
const TOKENS: &str = "against tokens";

/// One family of tests: what its rows are called in the evidence, its code and its null.
pub(super) struct Test {
    pub question: &'static str,
    code: Code,
    pub null: fn() -> Text,
    /// Whether the effect is a share of units that were matched twice, not a correlation.
    matched: bool,
}

pub(super) const TESTS: &[Test] = &[
    Test { question: "order", code: Code::ParentPermuted, null: || text!("parent/null/order"), matched: false },
    Test { question: "rotation", code: Code::ParentRotated, null: || text!("parent/null/rotation"), matched: false },
    Test { question: "neurons", code: Code::ParentNeurons, null: || text!("parent/null/neurons"), matched: true },
    Test { question: "experts", code: Code::ParentExperts, null: || text!("parent/null/experts"), matched: true },
    Test { question: "heads", code: Code::ParentHeads, null: || text!("parent/null/heads"), matched: true },
    Test {
        question: "second-moments",
        code: Code::ParentSecondMoments,
        null: || text!("parent/null/second-moments"),
        matched: false,
    },
];

/// The rows of one test against one model that speak of the whole model or of a component, not of a layer.
pub(super) fn rows<'a>(
    all: &'a [DisguiseRow],
    reference: &'a Reference,
    test: &'a Test,
) -> impl Iterator<Item = &'a DisguiseRow> {
    all.iter().filter(move |row| {
        row.reference == *reference
            && row.question == test.question
            && row.layer_subject.is_none()
            // The sum over the components says nothing that they do not.
            && !(test.question == "second-moments" && row.component == ALL)
    })
}

/// Whether what was matched stands where it stood: an order that is none.
fn in_place(row: &DisguiseRow) -> bool {
    row.in_place.is_some_and(|share| share >= IN_PLACE)
}

/// The grade of one row after multiplicity over `tests` rows; `None` where it is what independent models show.
pub(super) fn graded(row: &DisguiseRow, test: &Test, tests: usize, policy: &Policy) -> Option<(Grade, f64, f64)> {
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

/// Whether the null of a row is exact, so that it counts without a control: token rows are alike in unrelated models too, and
/// layers that read copied features have second moments alike.
pub(super) fn exact(row: &DisguiseRow, test: &Test) -> bool {
    test.code != Code::ParentSecondMoments && !BY_TOKENS.contains(&row.frame.as_str()) && !row.between.ends_with(TOKENS)
}

/// Controls that fire in a test at least moderately: then it does not count on this case.
fn firing<'a>(facts: &'a ParentFacts<'_>, controls: &Controls, test: &Test, policy: &Policy) -> Vec<&'a str> {
    controls.firing(facts, ALL, |control| {
        let reference = Reference::Control(control.to_owned());
        let own: Vec<&DisguiseRow> = rows(facts.disguise, &reference, test).collect();
        own.iter().any(|row| graded(row, test, own.len(), policy).is_some())
    })
}

/// The components that rows about one model name at moderate or above; [`ALL`] where they show how its axis is written.
pub(super) fn shown(all: &[DisguiseRow], reference: &Reference, policy: &Policy) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    for test in TESTS {
        let own: Vec<&DisguiseRow> = rows(all, reference, test).collect();
        let speaks = |row: &&&DisguiseRow| graded(row, test, own.len(), policy).is_some();
        shown.extend(own.iter().filter(speaks).map(|row| row.component.clone()));
    }
    shown
}

/// Takes back what has another explanation: a common seed, controls that answer too, a null that needs one. Says so behind the
/// message, and returns whether the answer speaks against the claim.
pub(super) fn weighed(
    facts: &ParentFacts<'_>,
    controls: &Controls,
    (grade, exact): (&mut Grade, bool),
    (seeded, firing): (bool, &[&str]),
    message: &mut Text,
) -> Direction {
    if seeded || !firing.is_empty() || controls.uncalibrated(ALL) {
        *grade = Grade::Context;
        message.push(match firing {
            _ if seeded => text!("parent/note/seeded"),
            [] => text!("parent/note/every-control-fires"),
            some => text!("parent/note/controls-fire", controls = some),
        });
        return Direction::Neutral;
    }
    if facts.controls.is_empty() && *grade == Grade::Conclusive && !exact {
        *grade = Grade::Strong;
        message.push(text!("parent/note/strong-without-control"));
    }
    Direction::Against
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
    let written = facts.disguises.get(parent).map_or(&[][..], Vec::as_slice);
    let mut highest = None;
    // A rotated axis fits a relabelling too, only not as well, and a relabelled one fits a rotation as well.
    let frame_found = match facts.frames.get(parent).map(String::as_str) {
        Some("rotated") => Some(Code::ParentPermuted),
        Some("permuted") => Some(Code::ParentRotated),
        _ => None,
    };
    for test in TESTS.iter().filter(|test| frame_found != Some(test.code)) {
        let own: Vec<&DisguiseRow> = rows(facts.disguise, &reference, test).collect();
        let firing = firing(facts, controls, test, policy);
        let mut best: BTreeMap<&str, (&DisguiseRow, Grade, f64, f64)> = BTreeMap::new();
        for row in &own {
            // A residual axis that agrees in its place is the aligned test's affair.
            if row.question == "order" && in_place(row) {
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
            let direction = weighed(facts, controls, (&mut grade, exact(row, test)), (seeded, &firing), &mut message);
            if direction == Direction::Against {
                highest = highest.max(Some(grade));
            }
            if !written.is_empty() {
                message.push(text!("parent/written/found", written));
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
            finding.null = (test.null)();
            finding.evidence = Some("evidence/disguise.parquet".into());
            judgement.push(finding);
        }
    }
    highest
}

pub(super) fn said(
    facts: &ParentFacts<'_>,
    test: &Test,
    row: &DisguiseRow,
    parent: &str,
    component: &str,
    effect: f64,
) -> Text {
    let agreed = row.agreed.unwrap_or(0.0);
    let expected = row.expected.unwrap_or(0.0);
    let between = between(&row.between);
    match test.code {
        Code::ParentPermuted if in_place(row) => {
            text!("parent/permuted/in-place", parent, between, agreed, of = row.of, expected)
        }
        Code::ParentPermuted => text!("parent/permuted/axis", parent, between, agreed, of = row.of, expected),
        Code::ParentRotated => text!("parent/rotated/axis", parent, between, agreed, of = row.of),
        Code::ParentSecondMoments => text!(
            "parent/second-moments/alike",
            what = named(facts, component),
            parent,
            effect,
            z = row.z.unwrap_or(0.0)
        ),
        _ => text!(
            "parent/matched/units",
            agreed,
            of = row.of,
            units = match test.code {
                Code::ParentExperts => text!("parent/matched/experts"),
                Code::ParentHeads => text!("parent/matched/heads"),
                _ => text!("parent/matched/neurons"),
            },
            what = named(facts, component),
            parent,
            frame = match row.frame.as_str() {
                frame if frame.starts_with("permuted") => Some(text!("parent/matched/permuted")),
                frame if frame.starts_with("rotated") => Some(text!("parent/matched/rotated")),
                _ => None,
            },
            between,
            expected,
            in_place = row.in_place.unwrap_or(0.0)
        ),
    }
}

/// What the evidence says that two fits or matchings were made from, as a text.
fn between(words: &str) -> Text {
    let one = |words: &str| match words {
        "attention of even layers" => text!("parent/between/attention-even"),
        "attention of odd layers" => text!("parent/between/attention-odd"),
        "MLPs of even layers" => text!("parent/between/mlp-even"),
        "MLPs of odd layers" => text!("parent/between/mlp-odd"),
        "attention" => text!("parent/between/attention"),
        "MLPs" => text!("parent/between/mlp"),
        "tokens" => text!("parent/between/tokens"),
        other => Text::plain(other),
    };
    match words {
        "gate against up or down" => text!("parent/between/neurons"),
        "gate against up or down, in frames fitted to the other half of the layers" => {
            text!("parent/between/neurons-halves")
        }
        "gate or up against down" => text!("parent/between/experts"),
        "queries against outputs, keys against values" => text!("parent/between/heads"),
        pair => match pair.split_once(" against ") {
            Some((first, second)) => text!("parent/between/against", first = one(first), second = one(second)),
            None => Text::plain(pair),
        },
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
    let written = facts.disguises.get(parent).map_or(&[][..], Vec::as_slice);
    for component in components {
        let fired = own.iter().filter(|t| t.row.component == component && t.grade(policy).is_some());
        let Some(nearest) = fired.max_by(|a, b| nearness(a, policy).total_cmp(&nearness(b, policy))) else { continue };
        let grade = nearest.grade(policy).unwrap_or(Grade::Moderate).min(highest);
        let mut finding = Finding::new(
            Code::ParentReexpressed,
            grade,
            Direction::Against,
            text!(
                "parent/re-expressed/aligned",
                what = named(facts, component),
                parent,
                written,
                step = Some(nearest.row.step).filter(|_| facts.steps.0 != facts.steps.1),
                z = nearest.z,
                effect = nearest.effect
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
        finding.null = text!("parent/null/given-disguise");
        finding.evidence = Some("evidence/components.parquet".into());
        judgement.push(finding);
    }
}
