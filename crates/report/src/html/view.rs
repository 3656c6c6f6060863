//! What the page's template sees: the report's words and figures as text, and the drawings.

use std::collections::BTreeSet;

use scratchproof_texts::{Language, Text, text};
use serde::Serialize;
use serde_json::Value as Json;

use super::evidence::{self, Section};
use super::first::{self, First, Meta};
use super::pictures::{self, ChartView, EventsView, Legend, MapGroup, PathView};
use crate::answer::{self, part};
use crate::profile::{self, Answers as _};
use crate::said::Said;
use crate::timeline::{self, Timeline};
use crate::{Report, Skipped, Tool, heatmap, number, scene, wording};
use scratchproof_case::profile::Both;
use scratchproof_evidence::Evidence;
use scratchproof_finding::Finding;

#[derive(Serialize)]
pub(super) struct View<'a> {
    language: &'static str,
    tool: &'a Tool,
    digest: &'a str,
    seal: Option<&'a str>,
    name: String,
    meta: Vec<Meta>,
    /// The outcome.
    word: Said,
    /// The class of the verdict that it is drawn like.
    tone: &'static str,
    first: First,
    sections: Vec<Section>,
    count: usize,
    parts: Vec<(String, Said)>,
    events: Option<EventsView<'a>>,
    grades: Vec<Legend>,
    charts: Vec<ChartView>,
    path: Option<PathView>,
    maps: Vec<MapGroup>,
    map_note: Said,
    coverage: Said,
    skipped: &'a [Skipped],
    inputs: Vec<InputView<'a>>,
    decisive: Vec<Said>,
    policy: Vec<(String, String)>,
    how_to_read: Vec<(Said, Said)>,
    profile: Option<ProfileView>,
}

/// The questions of a programme, answered.
#[derive(Serialize)]
struct ProfileView {
    name: Said,
    lines: Vec<(Said, Said, Vec<Said>)>,
}

fn profile(report: &Report, evidence: &Evidence) -> Option<ProfileView> {
    let profile = profile::of_case(report)?;
    let both = |words: &Both| Said { en: words.en.clone(), ko: words.ko.clone() };
    let lines = profile
        .answer(report, evidence)
        .into_iter()
        .map(|line| (both(&line.asks), profile::word(line.answer).into(), line.texts.iter().map(Said::from).collect()));
    Some(ProfileView { name: both(&profile.name), lines: lines.collect() })
}

#[derive(Serialize)]
struct InputView<'a> {
    role: Said,
    name: &'a str,
    uri: &'a str,
    size: String,
    sha256: &'a str,
}

pub(super) fn view<'a>(report: &'a Report, evidence: &'a Evidence, language: Language) -> View<'a> {
    let order: Vec<&str> = report.components.iter().map(|component| component.name.as_str()).collect();
    let mut maps = scene::maps(evidence);
    // The accused and the other parents before controls and the subject itself.
    let known = |map: &scene::Map<'_>| {
        let bare = map.parent.split_once(':').map_or(map.parent, |(_, name)| name);
        let accused = report.answer.accused.iter().any(|name| name == bare);
        (!accused, !report.verdict.against.iter().any(|name| name == bare))
    };
    maps.sort_by_key(known);
    let side = heatmap::side(&maps);
    View {
        language: super::code(language),
        tool: &report.tool,
        digest: &report.case.digest,
        seal: report.seal.as_ref().map(|seal| seal.root.as_str()),
        name: title(&report.case.subject, &wording::name(report, language)),
        meta: first::meta(&report.case),
        word: answer::word(report.verdict.outcome).into(),
        tone: wording::outcome(report.verdict.outcome),
        first: first::first(report, &maps, side),
        sections: evidence::sections(report),
        count: report.findings.len(),
        parts: parts(&report.findings),
        events: pictures::events(&evidence.timeline, &evidence.timeline, Said::default()),
        grades: pictures::grades(),
        charts: pictures::charts(&pictures::series(evidence, &order)),
        path: pictures::path(evidence),
        maps: pictures::maps(&maps, side),
        map_note: text!("page/map/note", beyond = scene::BEYOND).into(),
        coverage: wording::coverage(&report.coverage).into(),
        skipped: &report.coverage.skipped,
        inputs: report.inputs.iter().map(input).collect(),
        decisive: decisive(&report.policy),
        policy: policy(&report.policy),
        how_to_read: wording::how_to_read().into_iter().map(|(word, means)| (word.into(), means.into())).collect(),
        profile: profile(report, evidence),
    }
}

/// The name above the page; one that is longer than any name is cut, and whole in `report.json`.
fn title(subject: &str, case: &str) -> String {
    crate::text::shortened(if subject.is_empty() { case } else { subject }, first::LETTERS)
}

/// The parts that findings are about, to filter by.
fn parts(findings: &[Finding]) -> Vec<(String, Said)> {
    let names: BTreeSet<&str> = findings.iter().filter_map(|finding| finding.subject.component.as_deref()).collect();
    names.into_iter().map(|name| (name.to_owned(), part(name).into())).collect()
}

/// The record alone.
pub(super) fn of_timeline(timeline: &Timeline, language: Language) -> View<'_> {
    let findings = timeline::ordered(timeline);
    let sections = vec![Section {
        key: "time",
        name: text!("report/group/time").into(),
        state: wording::condition(timeline.condition),
        word: first::state(timeline.condition),
        sentence: Said::default(),
        kinds: evidence::kinds(&findings, |_| false),
    }];
    View {
        language: super::code(language),
        tool: &timeline.tool,
        digest: &timeline.case.digest,
        seal: timeline.seal.as_ref().map(|seal| seal.root.as_str()),
        name: title(&timeline.case.subject, &timeline.case.name),
        meta: first::meta(&timeline.case),
        word: outcome(timeline.outcome).into(),
        tone: timeline.outcome.look(),
        first: First {
            found: timeline.outcome.meaning().into(),
            sure: timeline::no_verdict().into(),
            rests: Vec::new(),
            limits: Vec::new(),
            request: Said::default(),
            missing: timeline.missing.iter().map(Said::from).collect(),
            map: None,
            strip: Vec::new(),
        },
        sections,
        count: timeline.findings.len(),
        parts: Vec::new(),
        events: pictures::events(&timeline.events, &timeline.all, timeline::counted(&timeline.months).into()),
        grades: pictures::grades(),
        charts: Vec::new(),
        path: None,
        maps: Vec::new(),
        map_note: Said::default(),
        coverage: Said::default(),
        skipped: &timeline.skipped,
        inputs: timeline.inputs.iter().map(input).collect(),
        decisive: Vec::new(),
        policy: policy(&timeline.policy),
        how_to_read: Vec::new(),
        profile: None,
    }
}

fn outcome(outcome: timeline::Outcome) -> Text {
    match outcome {
        timeline::Outcome::Consistent => text!("page/state/consistent"),
        timeline::Outcome::Open => text!("page/state/open"),
        timeline::Outcome::Contradicted => text!("page/state/contradicted"),
    }
}

fn input(input: &crate::Input) -> InputView<'_> {
    InputView {
        role: wording::role(input.role).into(),
        name: &input.name,
        uri: &input.uri,
        size: number::bytes(input.bytes),
        sha256: &input.sha256,
    }
}

/// The thresholds that a verdict rests on before all others.
fn decisive(policy: &Json) -> Vec<Said> {
    let figure = |name: &str| policy.get(name).and_then(Json::as_f64);
    let mut lines = Vec::new();
    if let (Some(p), Some(effect)) = (figure("conclusive_log10_p"), figure("conclusive_effect")) {
        lines.push(text!("page/rest/conclusive", p, effect).into());
    }
    if let Some(effect) = figure("detectable_effect") {
        lines.push(text!("page/rest/cleared", effect).into());
    }
    lines
}

/// The policy as lines, names of nested keys joined by a point.
fn policy(policy: &Json) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    flatten("", policy, &mut lines);
    lines
}

fn flatten(name: &str, value: &Json, lines: &mut Vec<(String, String)>) {
    match value {
        Json::Null if name.is_empty() => {}
        Json::Object(entries) => {
            for (key, value) in entries {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&name, value, lines);
            }
        }
        Json::Number(figure) if figure.is_f64() => {
            let figure = figure.as_f64().map_or(0.0, number::figure);
            lines.push((name.to_owned(), figure.to_string()));
        }
        Json::String(words) => lines.push((name.to_owned(), words.clone())),
        other => lines.push((name.to_owned(), other.to_string())),
    }
}
