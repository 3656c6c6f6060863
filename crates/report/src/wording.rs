//! The fixed sentences that all renderers share.

use super::{CaseSummary, ComponentOutcome, Condition, Coverage, InputRole, Outcome, Report, Seal, number};
use scratchproof_finding::{Code, Direction, Finding, Grade, Subject};
use scratchproof_texts::{Language, Text, term, text};

/// Short rules for a reader who has never seen such a report: the word and what it means.
pub(super) fn how_to_read() -> [(Text, Text); 6] {
    [
        (text!("report/how-to-read/confirmed"), text!("report/how-to-read/confirmed-means")),
        (text!("report/how-to-read/refuted"), text!("report/how-to-read/refuted-means")),
        (text!("report/how-to-read/inconclusive"), text!("report/how-to-read/inconclusive-means")),
        (text!("report/how-to-read/effect"), text!("report/how-to-read/effect-means")),
        (text!("report/how-to-read/z"), text!("report/how-to-read/z-means")),
        (text!("report/how-to-read/raw-cosine"), text!("report/how-to-read/raw-cosine-means")),
    ]
}

/// The class that a verdict is drawn like, and its English word.
pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Confirmed => "confirmed",
        Outcome::Refuted => "refuted",
        Outcome::Inconclusive => "inconclusive",
    }
}

/// The verdict's word.
pub(super) fn outcome_word(verdict: Outcome, language: Language) -> String {
    term("outcome", outcome(verdict), language)
}

/// How much a finding weighs, and for what.
pub(super) fn weight(finding: &Finding, language: Language) -> String {
    let grade = term("grade", grade(finding.grade), language);
    match finding.direction {
        Direction::Neutral => grade,
        way => format!("{grade}, {}", term("stands", direction(way), language)),
    }
}

/// How sure the answer is, what it rests on and where it ends.
pub(super) fn meaning(report: &Report) -> Text {
    let mut meaning = report.answer.sure.said.clone();
    if !report.verdict.ground.is_empty() {
        meaning.push(report.verdict.ground.clone());
    }
    for limit in &report.answer.limits {
        meaning.push(limit.said.clone());
    }
    meaning
}

/// Which material a page is about: the root of the seal where a folder was written, else the case file's digest.
pub(super) fn sealed(seal: Option<&Seal>, case: &CaseSummary) -> Text {
    match seal {
        Some(seal) => text!("report/foot/seal", root = &seal.root),
        None if case.digest.is_empty() => text!("report/foot/no-digest"),
        None => text!("report/foot/digest", digest = &case.digest),
    }
}

/// The case's name.
pub(super) fn name(report: &Report, language: Language) -> String {
    if report.case.name.is_empty() { text!("report/verdict/unnamed").say(language) } else { report.case.name.clone() }
}

/// What was found: the verdict line after its first word.
pub(super) fn headline(report: &Report) -> Text {
    report.answer.found.clone()
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
    pub name: Text,
    pub state: Condition,
    pub sentence: Text,
    /// Findings of this condition that count.
    pub findings: Vec<&'a Finding>,
}

/// The four conditions, in order. What holds, and what is not settled, is told as it was tested; no sentence is fixed.
pub(super) fn conditions(report: &Report) -> [Stated<'_>; 4] {
    let (states, said) = (report.verdict.conditions, &report.verdict.said);
    let stated = |key, name, state, said: &Text, holds: Text, fails: Text, untested: Text| Stated {
        name,
        state,
        sentence: match state {
            Condition::Holds => Some(said.clone()).filter(|said| !said.is_empty()).unwrap_or(holds),
            Condition::Fails => fails,
            Condition::Untested => questioned(report, key).or_else(|| open(said)).unwrap_or(untested),
        },
        findings: of(report, key).filter(|finding| finding.grade != Grade::Context).collect(),
    };
    [
        stated(
            "start",
            text!("report/group/start"),
            states.start,
            &said.start,
            text!("report/condition/start-holds"),
            text!("report/condition/start-fails"),
            text!("report/condition/start-untested"),
        ),
        stated(
            "chain",
            text!("report/group/chain"),
            states.chain,
            &said.chain,
            text!("report/condition/chain-holds"),
            text!("report/condition/chain-fails"),
            text!("report/condition/chain-untested"),
        ),
        stated(
            "parent",
            text!("report/group/parent"),
            states.parent,
            &said.parent,
            text!("report/condition/parent-holds"),
            text!("report/condition/parent-fails"),
            text!("report/condition/parent-untested"),
        ),
        stated(
            "time",
            text!("report/group/time"),
            states.time,
            &said.time,
            record(report),
            text!("report/condition/time-fails"),
            text!("report/condition/time-untested"),
        ),
    ]
}

/// A condition that nothing speaks against and that is not settled.
fn open(said: &Text) -> Option<Text> {
    let mut sentence = text!("report/condition/open");
    (!said.is_empty()).then(|| {
        sentence.push(said.clone());
        sentence
    })
}

/// What the record was, where nothing in it speaks against the claim: no more than was there.
fn record(report: &Report) -> Text {
    let given = |role: InputRole| report.inputs.iter().any(|input| input.role == role);
    let dated = |finding: &Finding| matches!(finding.code, Code::TimeRunStart | Code::TimeImpossible);
    text!(
        "time/holds/sentence",
        log = given(InputRole::Run),
        repository = given(InputRole::Repository),
        releases = report.findings.iter().any(dated)
    )
}

/// What stands against a condition that nothing else is missing for.
fn questioned(report: &Report, condition: &str) -> Option<Text> {
    let open = |finding: &&Finding| finding.direction == Direction::Against && finding.grade >= Grade::Moderate;
    let ids: Vec<&str> = of(report, condition).filter(open).map(|finding| finding.id.as_str()).collect();
    (!ids.is_empty()).then(|| text!("report/condition/questioned", ids))
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
pub(super) fn groups() -> [(&'static str, Text); 5] {
    [
        ("start", text!("report/group/start")),
        ("chain", text!("report/group/chain")),
        ("parent", text!("report/group/parent")),
        ("time", text!("report/group/time")),
        ("input", text!("report/group/input")),
    ]
}

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

pub(super) fn role(role: InputRole) -> Text {
    match role {
        InputRole::Checkpoint => text!("report/role/checkpoint"),
        InputRole::Parent => text!("report/role/parent"),
        InputRole::Control => text!("report/role/control"),
        InputRole::Run => text!("report/role/run"),
        InputRole::Repository => text!("report/role/repository"),
        InputRole::Witness => text!("report/role/witness"),
        InputRole::Root => text!("report/role/root"),
        InputRole::Headers => text!("report/role/headers"),
        InputRole::Stamped => text!("report/role/stamped"),
        InputRole::Signers => text!("report/role/signers"),
        InputRole::Ledger => text!("report/role/ledger"),
        InputRole::Loss => text!("report/role/loss"),
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

/// How much of the subject was compared and read.
pub(super) fn coverage(coverage: &Coverage) -> Text {
    let mut line = text!(
        "report/coverage/line",
        compared = number::count(coverage.compared),
        tensors = number::count(coverage.tensors),
        read = number::bytes(coverage.bytes_read),
        skipped = coverage.skipped.len()
    );
    if !coverage.looked.is_empty() {
        line.push(coverage.looked.clone());
    }
    line
}

/// What a finding is about, in a few words; empty for the whole model.
pub(super) fn subject(finding: &Finding) -> Text {
    let about = &finding.subject;
    if *about == Subject::default() {
        return Text::default();
    }
    text!(
        "report/subject/about",
        component = about.component.as_deref(),
        layer = about.layer,
        tensor = about.tensor.as_deref(),
        first = about.steps.first().copied(),
        last = about.steps.last().copied(),
        parent = about.parent.as_deref()
    )
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
