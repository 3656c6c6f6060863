//! The answer in a few sentences, made from the verdict and the findings: what was found, how sure that is, what it rests
//! on and where it ends. The page, the terminal, Markdown, JSON and the docket say the same one.

use std::collections::BTreeSet;

use scratchproof_finding::{Code, Direction, Finding, Grade, Tie};
use scratchproof_texts::{Param, Text, text};
use serde::{Deserialize, Serialize};

use super::{ComponentOutcome, ComponentResult, Condition, InputRole, Outcome, Report};

/// No smaller probability is told: behind it the models of chance say nothing any more.
const DIGITS: f64 = 300.0;
/// Open questions that are told one by one.
const QUESTIONS: usize = 3;
/// A layer map of more layers than this is told by its runs.
const LAYERS: usize = 16;

/// A sentence with its key and parameters beside it: `message` and `text` in JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The sentence.
    #[serde(flatten, with = "scratchproof_texts::message")]
    pub said: Text,
}

impl From<Text> for Told {
    fn from(said: Text) -> Self {
        Self { said }
    }
}

/// What a condition rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rests {
    /// `start`, `chain`, `parent` or `time`.
    pub condition: String,
    /// What came out.
    pub state: Condition,
    /// What its tests could have seen.
    #[serde(flatten)]
    pub power: Told,
}

/// The answer of a report, in the order in which it is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The verdict and what was found, in a sentence or a few short ones.
    #[serde(flatten)]
    pub sentence: Told,
    /// The same without the word of the verdict, for those who show that by itself.
    #[serde(skip)]
    pub found: Text,
    /// How sure that is, with one figure.
    pub sure: Told,
    /// The parents from which parts were taken: never one against which nothing was found.
    pub accused: Vec<String>,
    /// What it rests on, condition by condition.
    pub rests: Vec<Rests>,
    /// Where it ends.
    pub limits: Vec<Told>,
}

impl Answer {
    /// The answer of a report.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let accused = accused(report);
        let found = found(report, &accused);
        let sentence = text!("answer/sentence/whole", word = word(report.verdict.outcome), found = found.clone());
        Self {
            sentence: sentence.into(),
            found,
            sure: sure(report).into(),
            rests: rests(report),
            limits: limits(report).into_iter().map(Told::from).collect(),
            accused,
        }
    }
}

/// The word of a verdict.
#[must_use]
pub fn word(outcome: Outcome) -> Text {
    match outcome {
        Outcome::Confirmed => text!("answer/word/confirmed"),
        Outcome::Refuted => text!("answer/word/refuted"),
        Outcome::Inconclusive => text!("answer/word/inconclusive"),
    }
}

/// A component as people call it.
#[must_use]
pub fn part(name: &str) -> Text {
    match name {
        "attention" => text!("answer/part/attention"),
        "embedding" => text!("answer/part/embedding"),
        "experts" => text!("answer/part/experts"),
        "head" => text!("answer/part/head"),
        "mlp" => text!("answer/part/mlp"),
        "norms" => text!("answer/part/norms"),
        "router" => text!("answer/part/router"),
        "vision_tower" => text!("answer/part/vision-tower"),
        "multi_modal_projector" => text!("answer/part/projector"),
        "all" => text!("answer/part/all"),
        name => text!("answer/part/named", name),
    }
}

fn parts<'a>(components: impl IntoIterator<Item = &'a ComponentResult>) -> Vec<Text> {
    components.into_iter().map(|component| part(&component.name)).collect()
}

/// A component as people call it, or by the tensor that was found in it where it has no name of its own: nobody knows what
/// `other` is.
fn called(report: &Report, component: &ComponentResult) -> Text {
    let own = part(&component.name);
    if !own.has("/part/named") {
        return own;
    }
    let mut found = report.findings.iter().filter(|finding| {
        finding.direction == Direction::Against
            && finding.subject.component.as_ref() == Some(&component.name)
            && finding.subject.parent == component.parent
    });
    let tensor = found.find_map(|finding| finding.subject.tensor.as_deref());
    tensor.map_or(own, |tensor| text!("answer/part/tensor", tensor))
}

fn of(report: &Report, outcome: ComponentOutcome) -> impl Iterator<Item = &ComponentResult> {
    report.components.iter().filter(move |component| component.outcome == outcome)
}

fn deciding(report: &Report) -> impl Iterator<Item = &Finding> {
    report.findings.iter().filter(|finding| report.verdict.reasons.contains(&finding.id))
}

/// The parents that a finding which counts, or a derived component, names; in the order of the case file.
fn accused(report: &Report) -> Vec<String> {
    let counts = |finding: &&Finding| {
        finding.code.condition() == "parent"
            && finding.direction == Direction::Against
            && finding.grade >= Grade::Strong
    };
    let found = report.findings.iter().filter(counts).filter_map(|finding| finding.subject.parent.as_deref());
    let derived = of(report, ComponentOutcome::Derived).filter_map(|component| component.parent.as_deref());
    let named: BTreeSet<&str> = found.chain(derived).collect();
    report.verdict.against.iter().filter(|parent| named.contains(parent.as_str())).cloned().collect()
}

fn found(report: &Report, accused: &[String]) -> Text {
    let mut found = match report.verdict.outcome {
        Outcome::Refuted => text!("answer/found/refuted", reasons = refuted(report, accused)),
        Outcome::Confirmed => text!("answer/found/confirmed", parents = report.verdict.against.as_slice()),
        Outcome::Inconclusive => inconclusive(report, accused),
    };
    for finding in &report.findings {
        let Some(parent) = finding.subject.parent.as_deref() else { continue };
        match finding.code {
            Code::ParentSharedSeed => {
                found.push(text!("answer/explained/seed", parent, left = finding.effect.unwrap_or(0.0)));
            }
            Code::ParentLineage => found.push(text!("answer/explained/lineage", parent)),
            _ => {}
        }
    }
    let independent = parts(of(report, ComponentOutcome::Independent));
    if !independent.is_empty() {
        found.push(text!("answer/found/independent", parts = independent));
    }
    let undetermined = parts(of(report, ComponentOutcome::Undetermined));
    if !undetermined.is_empty() {
        found.push(text!("answer/found/undetermined", parts = undetermined));
    }
    found
}

/// What was taken from whom; where no part was, which conditions fail.
fn refuted(report: &Report, accused: &[String]) -> Vec<Text> {
    let mut reasons = taken(report, accused, true);
    let conditions: BTreeSet<&str> = deciding(report).map(|finding| finding.code.condition()).collect();
    for condition in ["parent", "start", "chain", "time", "input"] {
        if !conditions.contains(condition) {
            continue;
        }
        match condition {
            "parent" if reasons.is_empty() => reasons.push(text!("answer/reason/parent", parents = accused)),
            "start" if reasons.is_empty() => reasons.push(text!("answer/reason/start")),
            "chain" => reasons.push(text!("answer/reason/chain")),
            "time" => reasons.push(text!("answer/reason/time")),
            "input" => reasons.push(text!("answer/reason/input")),
            _ => {}
        }
    }
    reasons
}

/// The parts that were found to be each parent's.
fn taken(report: &Report, accused: &[String], sure: bool) -> Vec<Text> {
    let of_parent = |parent: &String| {
        let own: Vec<_> = of(report, ComponentOutcome::Derived)
            .filter(|component| component.parent.as_ref() == Some(parent))
            .collect();
        let many = own.len() > 1 || own.iter().any(|one| ["experts", "norms"].contains(&one.name.as_str()));
        let parts: Vec<Text> = own.into_iter().map(|component| called(report, component)).collect();
        (!parts.is_empty()).then(|| {
            if sure {
                let (layers, own) = layers(report, parent);
                text!("answer/reason/from", parts, many, parent, layers, own)
            } else {
                text!("answer/reason/resembles", parts, many, parent)
            }
        })
    };
    accused.iter().filter_map(of_parent).collect()
}

/// The layers of a parent that the subject's answer to, in the order of the subject's; of a tower if it is one. Where not all
/// of the subject's do, which do.
fn layers(report: &Report, parent: &str) -> (Option<String>, Option<String>) {
    let maps = report.findings.iter().filter(|finding| {
        finding.code == Code::ParentLayerMap
            && finding.direction == Direction::Against
            && finding.subject.parent.as_deref() == Some(parent)
    });
    let Some(map) = maps.filter_map(|finding| map_of(&finding.message)).max_by_key(String::len) else {
        return (None, None);
    };
    let all: Vec<&str> = map.split(',').map(str::trim).collect();
    let answered = |layer: &str| layer.parse::<u32>().is_ok();
    let theirs: Vec<&str> = all.iter().copied().filter(|layer| answered(layer)).collect();
    let own: Vec<u32> = all.iter().zip(0..).filter(|(layer, _)| answered(layer)).map(|(_, own)| own).collect();
    // The map is over all kinds of matrices at once: where single components are derived in more layers, it says too little.
    let derived = of(report, ComponentOutcome::Derived).filter(|component| component.parent.as_deref() == Some(parent));
    let more = derived.flat_map(|component| &component.layers).any(|layer| !own.contains(layer));
    if theirs.is_empty() || more {
        return (None, None);
    }
    let told = if theirs.len() <= LAYERS { theirs.join(" ") } else { runs(&theirs) };
    (Some(told), (own.len() < all.len()).then(|| super::wording::layers(&own)))
}

fn map_of(text: &Text) -> Option<String> {
    match (text.param("map"), text.param("parts")) {
        (Some(Param::Word(map)), _) => Some(map.clone()),
        (_, Some(Param::List(parts))) => parts.iter().find_map(|part| match part {
            Param::Text(text) => map_of(text),
            _ => None,
        }),
        _ => None,
    }
}

/// `0-3 2-5` for a map that is too long to be told layer by layer.
fn runs(layers: &[&str]) -> String {
    let mut runs: Vec<(&str, &str)> = Vec::new();
    let number = |layer: &str| layer.parse::<u32>().ok();
    for &layer in layers {
        let follows = |end: &str| number(end).and_then(|end| end.checked_add(1)) == number(layer);
        match runs.last_mut() {
            Some((_, end)) if number(layer).is_some() && follows(end) => *end = layer,
            _ => runs.push((layer, layer)),
        }
    }
    let told = runs.iter().map(|(from, to)| if from == to { (*from).to_owned() } else { format!("{from}-{to}") });
    told.collect::<Vec<_>>().join(" ")
}

fn inconclusive(report: &Report, accused: &[String]) -> Text {
    let mut reasons = taken(report, accused, false);
    let open: Vec<&Finding> = deciding(report).collect();
    let told = QUESTIONS.saturating_sub(reasons.len());
    reasons.extend(
        open.iter()
            .take(told)
            .map(|finding| text!("answer/reason/question", title = finding.code.title(), id = &finding.id)),
    );
    if open.len() > told {
        reasons.push(text!("answer/reason/more", count = open.len() - told));
    }
    if !reasons.is_empty() {
        return text!("answer/found/open", reasons);
    }
    let stated = super::wording::conditions(report);
    let conditions: Vec<Text> =
        stated.into_iter().filter(|one| one.state != Condition::Holds).map(|one| one.name).collect();
    if !conditions.is_empty() {
        // What the tool cannot see is not for anybody to hand over.
        let limit = conditions.len() == 1 && report.verdict.said.parent.has("/disguise-limit");
        return text!("answer/found/untested", conditions, limit);
    }
    if let Some(files) = unjudged(report) {
        return text!("answer/found/unjudged", files);
    }
    let untied = report.verdict.missing.iter().any(|missing| missing.key.ends_with("/requires/tie"));
    if untied { text!("answer/found/untied") } else { text!("answer/found/lacking") }
}

fn sure(report: &Report) -> Text {
    let states = report.verdict.conditions;
    match report.verdict.outcome {
        Outcome::Refuted => {
            let least = deciding(report).filter_map(|finding| finding.log10_p).fold(0.0, f64::min);
            if least <= -1.0 {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 300")]
                let digits = (-least).floor().min(DIGITS) as u64;
                return text!("answer/sure/refuted", digits);
            }
            text!("answer/sure/refuted-plain", count = deciding(report).count())
        }
        Outcome::Confirmed => match report.verdict.power.parent.as_ref() {
            Some(power) if power.smallest_correlation.is_some() => {
                text!("answer/sure/confirmed", least = power.smallest_correlation, reached = power.reached)
            }
            _ => text!("answer/sure/confirmed-plain"),
        },
        Outcome::Inconclusive => {
            let all = [states.start, states.chain, states.parent, states.time];
            text!("answer/sure/inconclusive", settled = all.iter().filter(|one| **one != Condition::Untested).count())
        }
    }
}

fn rests(report: &Report) -> Vec<Rests> {
    let (states, power) = (report.verdict.conditions, &report.verdict.power);
    let start = match &power.start {
        Some(start) => text!("answer/rests/start", reached = start.reached),
        None => text!("answer/rests/start-none"),
    };
    let chain = match power.chain.as_ref().map(|chain| chain.untested.as_slice()) {
        Some([]) => text!("answer/rests/chain"),
        Some([first, more @ ..]) => {
            text!("answer/rests/chain-part", from = first.0, to = first.1, more = more.len())
        }
        None => text!("answer/rests/chain-none"),
    };
    let parent = match &power.parent {
        Some(parent) => match parent.smallest_correlation {
            Some(least) => text!("answer/rests/parent", least, reached = parent.reached),
            None => text!("answer/rests/parent-share", reached = parent.reached),
        },
        None => text!("answer/rests/parent-none"),
    };
    let log = report.inputs.iter().any(|input| input.role == InputRole::Run);
    let ties: BTreeSet<Tie> = report.findings.iter().filter_map(Tie::of).collect();
    let time = match (log, ties.len()) {
        (false, _) => text!("answer/rests/time-none"),
        (true, 0) => text!("answer/rests/time-log"),
        (true, count) => text!("answer/rests/time-tied", count),
    };
    [("start", states.start, start), ("chain", states.chain, chain), ("parent", states.parent, parent)]
        .into_iter()
        .chain([("time", states.time, time)])
        .map(|(condition, state, power)| Rests { condition: condition.into(), state, power: power.into() })
        .collect()
}

fn limits(report: &Report) -> Vec<Text> {
    let mut limits = vec![match report.verdict.against.as_slice() {
        [] => text!("answer/limit/no-parents"),
        parents => text!("answer/limit/parents", parents),
    }];
    if report.verdict.outcome != Outcome::Refuted {
        limits.push(text!("answer/limit/distilled"));
    }
    let controls: BTreeSet<&str> = report
        .inputs
        .iter()
        .filter(|input| input.role == InputRole::Control)
        .map(|input| input.name.as_str())
        .collect();
    match (report.verdict.against.is_empty(), controls.len()) {
        (false, 0) => limits.push(text!("answer/limit/no-control")),
        (false, 1) => limits.push(text!("answer/limit/one-control")),
        _ => {}
    }
    if let Some(files) = unjudged(report) {
        limits.push(text!("answer/limit/unjudged", files));
    }
    if report.verdict.missing.iter().any(|missing| missing.key == "time/run-start/no-witness") {
        limits.push(text!("answer/limit/own-dates"));
    }
    if report.verdict.outcome == Outcome::Refuted {
        limits.push(text!("answer/limit/unfound"));
    }
    limits
}

/// What was handed over and not judged, where that is more than the policy lets pass.
fn unjudged(report: &Report) -> Option<Param> {
    let told = report.verdict.missing.iter().find(|missing| missing.has("/left-out-files/missing"))?;
    told.param("files").cloned()
}

/// What is asked of the developer, ready to be sent: an opening and a list.
#[must_use]
pub fn request(report: &Report) -> Text {
    if report.verdict.missing.is_empty() {
        return text!("answer/request/none");
    }
    let subject = if report.case.subject.is_empty() { &report.case.name } else { &report.case.subject };
    text!("answer/request/intro", subject, name = &report.case.name, digest = &report.case.digest)
}

#[cfg(test)]
mod tests {
    use super::{Answer, runs};
    use crate::{ComponentOutcome, Outcome, sample};
    use scratchproof_finding::{Code, Direction};
    use scratchproof_texts::text;

    #[test]
    fn only_guilty_parents_are_accused() {
        let (report, _) = sample::refuted();
        let answer = Answer::of(&report);
        assert_eq!(answer.accused, ["GLM-like"], "Llama-like was tested and nothing was found");
        let said = answer.sentence.said.english();
        assert!(said.starts_with("Refuted: ") && said.contains("come from GLM-like"), "{said}");
        assert!(!said.contains("Llama-like"), "{said}");
        assert!(answer.sure.said.english().contains("10^300"));
    }

    /// Layers are told from the map over all kinds of matrices, unless a component is derived in layers that it does not show.
    #[test]
    fn no_layers_are_told_where_a_component_has_more_than_the_map() {
        let (mut report, _) = sample::refuted();
        let map = report.findings.iter_mut().find(|f| f.code == Code::ParentLayerMap).expect("a map");
        (map.direction, map.subject.parent) = (Direction::Against, Some("GLM-like".into()));
        map.message = text!(
            "parent/layer-map/answers",
            tower = None::<String>,
            fired = 1,
            of = 4,
            parent = "GLM-like",
            map = "2,-,-,-",
            z = 4.7,
            effect = 0.06
        );
        let mut said = |layers: &[u32]| {
            report.components.iter_mut().for_each(|one| one.layers = layers.to_vec());
            Answer::of(&report).sentence.said.english()
        };
        assert!(said(&[0]).contains("come from GLM-like (layers 2, here in layers 0 only)"), "{}", said(&[0]));
        assert!(!said(&[0, 1, 2, 3]).contains("layers"), "{}", said(&[0, 1, 2, 3]));
    }

    #[test]
    fn a_derived_part_of_an_open_verdict_is_no_accusation() {
        let (mut report, _) = sample::refuted();
        report.verdict.outcome = Outcome::Inconclusive;
        let said = Answer::of(&report).sentence.said.english();
        assert!(said.contains("beyond chance, but not beyond doubt") && !said.contains("come from"), "{said}");
        report.components.iter_mut().for_each(|one| one.outcome = ComponentOutcome::Independent);
        report.findings.clear();
        let said = Answer::of(&report).sentence.said.english();
        assert!(said.contains("parent and time could not be settled") || said.contains("Parent and Time"), "{said}");
    }

    #[test]
    fn a_confirmed_model_is_cleared_of_those_it_was_tested_against_and_of_no_distillation() {
        let (report, _) = sample::confirmed();
        let answer = Answer::of(&report);
        assert!(answer.accused.is_empty());
        assert!(answer.sentence.said.english().contains("no tested part comes from any of GLM-like and Llama-like"));
        assert!(answer.sure.said.english().contains("0.010"));
        assert!(answer.limits.iter().any(|limit| limit.said.key == "answer/limit/distilled"));
        let json = serde_json::to_string(&answer).expect("JSON");
        let back: Answer = serde_json::from_str(&json).expect("read");
        assert_eq!((back.sentence, back.sure, back.rests), (answer.sentence, answer.sure, answer.rests));
    }

    #[test]
    fn a_log_that_was_handed_over_and_not_tied_is_said_so() {
        use crate::Condition;
        let (mut report, _) = sample::confirmed();
        report.verdict.outcome = Outcome::Inconclusive;
        report.verdict.conditions.time = Condition::Holds;
        report.findings.clear();
        let said = |key: &'static str, report: &mut crate::Report| {
            report.verdict.missing = vec![scratchproof_texts::Text::new(key)];
            Answer::of(report).sentence.said.english()
        };
        assert!(said("power/requires/tie", &mut report).contains("nothing ties the run log"));
        assert!(said("power/requires/witness", &mut report).contains("was not handed over"));
    }

    #[test]
    fn what_was_handed_over_and_not_judged_is_a_limit() {
        let (mut report, _) = sample::confirmed();
        report.verdict.outcome = Outcome::Inconclusive;
        report.findings.clear();
        for condition in [&mut report.verdict.conditions.time, &mut report.verdict.conditions.chain] {
            *condition = crate::Condition::Holds;
        }
        report.verdict.missing = vec![scratchproof_texts::text!(
            "input/left-out-files/missing",
            files = vec!["talker.pt"],
            count = 1_usize,
            bytes = 10_u64,
            share = 0.5
        )];
        let answer = Answer::of(&report);
        assert!(answer.sentence.said.english().contains("talker.pt"), "{}", answer.sentence.said.english());
        assert!(answer.limits.iter().any(|limit| limit.said.english().contains("talker.pt")));
        report.verdict.missing.clear();
        assert!(!Answer::of(&report).limits.iter().any(|limit| limit.said.key == "answer/limit/unjudged"));
    }

    #[test]
    fn a_part_without_a_name_is_told_by_its_tensor() {
        let (mut report, _) = sample::refuted();
        let derived = report.components.iter_mut().find(|one| one.outcome == ComponentOutcome::Derived).expect("one");
        let before = std::mem::replace(&mut derived.name, "other".to_owned());
        let parent = derived.parent.clone();
        let own = |f: &&mut crate::Finding| f.subject.component.as_ref() == Some(&before) && f.subject.parent == parent;
        for finding in report.findings.iter_mut().filter(own) {
            finding.subject.component = Some("other".to_owned());
            finding.subject.tensor = Some("trunk.weight".to_owned());
        }
        let said = Answer::of(&report).sentence.said.english();
        assert!(said.contains("trunk.weight") && !said.contains("other"), "{said}");
    }

    /// Which text is said tells a limit, whatever its words are and whatever it is put together with.
    #[test]
    fn a_limit_of_the_tool_is_told_by_its_key() {
        use scratchproof_texts::{Text, text};
        let (mut report, _) = sample::confirmed();
        report.verdict.outcome = Outcome::Inconclusive;
        report.verdict.conditions.time = crate::Condition::Holds;
        report.verdict.conditions.parent = crate::Condition::Untested;
        report.findings.clear();
        report.verdict.missing.clear();
        let limit =
            text!("power/parent/disguise-limit", parent = "A", class = "rotated", components = Vec::<Text>::new());
        let mut said = Text::plain("first.");
        said.push(limit);
        for (said, by) in [(said, true), (Text::plain("This is a limit of the tool"), false)] {
            report.verdict.said.parent = said;
            assert_eq!(Answer::of(&report).sentence.said.english().contains("by this tool"), by);
        }
    }

    #[test]
    fn long_maps_are_told_by_their_runs() {
        assert_eq!(runs(&["0", "1", "2", "3", "2", "3", "-", "5"]), "0-3 2-3 - 5");
        assert_eq!(runs(&[]), "");
    }
}
