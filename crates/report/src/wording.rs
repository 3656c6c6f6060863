//! The fixed sentences that all renderers share.

use super::{CaseSummary, ComponentOutcome, Condition, InputRole, Outcome, Report, Seal};
use scratchproof_finding::{Direction, Finding, Grade};
use scratchproof_texts::Text;

/// Why the verdict names the parents.
pub(super) const ONLY_THESE: &str = "An audit clears a model only of the parents it was tested against.";

/// Short rules for a reader who has never seen such a report.
pub(super) const HOW_TO_READ: &[(&str, &str)] = &[
    (
        "Confirmed",
        "The start is a random draw, every checkpoint follows from the one before, no part is nearer to a named parent \
         than independent models are, and the record does not contradict. It says nothing of parents that were not named.",
    ),
    (
        "Refuted",
        "At least one finding cannot happen to a model that was trained as claimed, or two strong ones of different \
         kinds agree. It says what was found in the weights, not why, and not who did it.",
    ),
    (
        "Inconclusive",
        "The evidence settles neither. It is not a suspicion: most often something was not handed over, and the list of \
         what is missing says what.",
    ),
    (
        "Effect",
        "The correlation with the other model, centred over the axis whose order means nothing: 0 for strangers, 1 for \
         a copy. A verdict needs an effect that is large, not only one that is beyond chance.",
    ),
    (
        "z",
        "The same in standard deviations of what independent models would show. Between -3 and 3 there is nothing to see. \
         Controls are models known to be independent: their figures must look like that.",
    ),
    (
        "Raw cosine",
        "It is never evidence. Weights that stay positive, such as norms, have a raw cosine near 1 between strangers.",
    ),
];

pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Confirmed => "confirmed",
        Outcome::Refuted => "refuted",
        Outcome::Inconclusive => "inconclusive",
    }
}

/// What the outcome means and what it rests on.
pub(super) fn meaning(report: &Report) -> String {
    let meaning = match report.verdict.outcome {
        Outcome::Confirmed => "The evidence supports the claim on every condition that it rests on.",
        Outcome::Refuted => "The evidence contradicts the claim.",
        Outcome::Inconclusive => "The evidence does not settle the claim, either way.",
    };
    let ground = report.verdict.ground.english();
    if ground.is_empty() { meaning.to_owned() } else { format!("{meaning} {ground}") }
}

/// Which material a page is about: the root of the seal where a folder was written, else the case file's digest.
pub(super) fn sealed(seal: Option<&Seal>, case: &CaseSummary) -> String {
    match seal {
        Some(seal) => format!("seal {}", seal.root),
        None if case.digest.is_empty() => "case digest –".to_owned(),
        None => format!("case digest {}", case.digest),
    }
}

/// The case's name.
pub(super) fn name(report: &Report) -> &str {
    if report.case.name.is_empty() { "unnamed case" } else { &report.case.name }
}

/// The claim and what became of it, as the verdict line has it after its first word.
pub(super) fn claim(report: &Report) -> String {
    let claim = match report.case.claim.as_str() {
        "from-scratch" => "trained from scratch",
        other => other,
    };
    match report.verdict.outcome {
        Outcome::Confirmed => claim.to_owned(),
        Outcome::Refuted => format!("not {claim}"),
        Outcome::Inconclusive => format!("whether {claim}"),
    }
}

/// The parents it was tested against, for the verdict line.
pub(super) fn against(report: &Report) -> String {
    if report.verdict.against.is_empty() { "no parent".to_owned() } else { report.verdict.against.join(", ") }
}

pub(super) fn condition(state: Condition) -> &'static str {
    match state {
        Condition::Holds => "holds",
        Condition::Fails => "fails",
        Condition::Untested => "untested",
    }
}

/// One condition with its state, sentence and findings.
pub(super) struct Stated<'a> {
    pub name: &'static str,
    pub state: Condition,
    pub sentence: String,
    /// Findings of this condition that count.
    pub findings: Vec<&'a Finding>,
}

/// The four conditions, in order. What holds, and what is not settled, is told as it was tested; no sentence is fixed.
pub(super) fn conditions(report: &Report) -> [Stated<'_>; 4] {
    let (states, said) = (report.verdict.conditions, &report.verdict.said);
    let stated = |key, name, state, said: &Text, fails: &str| Stated {
        name,
        state,
        sentence: match state {
            Condition::Holds => said.english(),
            Condition::Fails => fails.to_owned(),
            Condition::Untested => questioned(report, key).unwrap_or_else(|| open(said)),
        },
        findings: of(report, key).filter(|finding| finding.grade != Grade::Context).collect(),
    };
    [
        stated("start", "Start", states.start, &said.start, "The first checkpoint is not a random draw."),
        stated(
            "chain",
            "Chain",
            states.chain,
            &said.chain,
            "A checkpoint does not follow from the one before by training.",
        ),
        stated(
            "parent",
            "Parent",
            states.parent,
            &said.parent,
            "A part is nearer to a named parent than independent models are.",
        ),
        stated("time", "Time", states.time, &said.time, "The record contradicts itself or the weights."),
    ]
}

/// A condition that nothing speaks against and that is not settled.
fn open(said: &Text) -> String {
    if said.is_empty() { "Not settled.".to_owned() } else { format!("Not settled. {said}") }
}

/// What stands against a condition that nothing else is missing for.
fn questioned(report: &Report, condition: &str) -> Option<String> {
    let open = |finding: &&Finding| finding.direction == Direction::Against && finding.grade >= Grade::Moderate;
    let ids: Vec<&str> = of(report, condition).filter(open).map(|finding| finding.id.as_str()).collect();
    (!ids.is_empty()).then(|| format!("Not settled. {} must be explained first.", ids.join(", ")))
}

/// The condition that a finding belongs to.
pub(super) fn condition_of(finding: &Finding) -> &'static str {
    finding.code.name().split_once('/').map_or("", |(condition, _)| condition)
}

/// The findings of one condition, in the order of the report.
pub(super) fn of<'a>(report: &'a Report, condition: &'a str) -> impl Iterator<Item = &'a Finding> {
    report.findings.iter().filter(move |finding| condition_of(finding) == condition)
}

/// The findings that decided, in the order of the verdict.
pub(super) fn decided(report: &Report) -> Vec<&Finding> {
    report.verdict.reasons.iter().filter_map(|id| report.findings.iter().find(|finding| finding.id == *id)).collect()
}

/// Whether a finding decided.
pub(super) fn decides(report: &Report, finding: &Finding) -> bool {
    report.verdict.reasons.contains(&finding.id)
}

/// Headings of groups of findings, by the first part of the code.
pub(super) const GROUPS: &[(&str, &str)] =
    &[("start", "Start"), ("chain", "Chain"), ("parent", "Parent"), ("time", "Time"), ("input", "Input")];

pub(super) fn grade(grade: Grade) -> &'static str {
    match grade {
        Grade::Conclusive => "conclusive",
        Grade::Strong => "strong",
        Grade::Moderate => "moderate",
        Grade::Weak => "weak",
        Grade::Context => "context",
    }
}

pub(super) fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Against => "against",
        Direction::For => "for",
        Direction::Neutral => "neutral",
    }
}

pub(super) fn component(outcome: ComponentOutcome) -> &'static str {
    match outcome {
        ComponentOutcome::Independent => "independent",
        ComponentOutcome::Derived => "derived",
        ComponentOutcome::Undetermined => "undetermined",
    }
}

pub(super) fn role(role: InputRole) -> &'static str {
    match role {
        InputRole::Checkpoint => "checkpoint",
        InputRole::Parent => "parent",
        InputRole::Control => "control",
        InputRole::Run => "run",
        InputRole::Repository => "repository",
        InputRole::Witness => "witness",
        InputRole::Root => "root certificate",
        InputRole::Headers => "block headers",
        InputRole::Stamped => "stamped file",
        InputRole::Signers => "signers",
    }
}

/// Layers as ranges, as in `0-3, 5`.
pub(super) fn layers(layers: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &layer in layers {
        match ranges.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(layer) => *end = layer,
            _ => ranges.push((layer, layer)),
        }
    }
    let texts: Vec<_> =
        ranges.iter().map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") }).collect();
    if texts.is_empty() { "–".to_owned() } else { texts.join(", ") }
}

/// What a finding is about, in a few words; empty for the whole model.
pub(super) fn subject(finding: &Finding) -> String {
    let about = &finding.subject;
    let mut parts = Vec::new();
    parts.extend(about.component.clone());
    parts.extend(about.layer.map(|layer| format!("layer {layer}")));
    parts.extend(about.tensor.clone());
    match about.steps.as_slice() {
        [] => {}
        [step] => parts.push(format!("step {step}")),
        [first, .., last] => parts.push(format!("steps {first} to {last}")),
    }
    parts.extend(about.parent.as_ref().map(|parent| format!("against {parent}")));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::layers;

    #[test]
    fn layers_are_ranges() {
        assert_eq!(layers(&[0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
        assert_eq!(layers(&[]), "–");
        assert_eq!(layers(&[u32::MAX, 0]), "4294967295, 0");
    }
}
