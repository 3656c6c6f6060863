//! What the page's template sees: the report's words and figures as text, and the drawings.

use std::collections::BTreeSet;

use minijinja::Value;
use scratchproof_texts::{Text, text};
use serde::Serialize;
use serde_json::Value as Json;

use crate::scene::{self, Map, Series};
use crate::svg::Svg;
use crate::timeline::{self, Timeline};
use crate::{ComponentResult, Report, Skipped, Tool, chart, heatmap, lanes, number, plane, wording};
use scratchproof_evidence::{Evidence, Reference, TimelineRow};
use scratchproof_finding::{Finding, Grade};

/// Cells of a layer map that are also given as a table.
const TABLED: usize = 1200;

#[derive(Serialize)]
pub(super) struct View<'a> {
    tool: &'a Tool,
    digest: &'a str,
    seal: Option<&'a str>,
    name: String,
    /// The outcome.
    word: &'static str,
    /// The class of the verdict that it is drawn like.
    tone: &'static str,
    headline: String,
    lead: String,
    missing: Vec<String>,
    skipped: &'a [Skipped],
    events: Option<EventsView<'a>>,
    grades: Vec<Legend>,
    conditions: Vec<ConditionView<'a>>,
    decided: Vec<FindingView<'a>>,
    components: Vec<ComponentView<'a>>,
    legend: Vec<Legend>,
    charts: Vec<ChartView>,
    root_axis: bool,
    way: Option<WayView>,
    maps: Vec<MapGroup>,
    beyond: f64,
    groups: Vec<Group<'a>>,
    coverage: Vec<(&'static str, String)>,
    inputs: Vec<InputView<'a>>,
    policy: Vec<(String, String)>,
    how_to_read: Vec<(String, String)>,
}

#[derive(Serialize)]
struct ConditionView<'a> {
    name: String,
    state: &'static str,
    sentence: String,
    ids: Vec<&'a str>,
}

#[derive(Serialize)]
struct FindingView<'a> {
    id: &'a str,
    code: &'static str,
    title: String,
    grade: &'static str,
    direction: &'static str,
    about: String,
    message: String,
    null: String,
    evidence: Option<&'a str>,
    figure: String,
    log10_p: String,
    effect: String,
    n: String,
    decides: bool,
}

#[derive(Serialize)]
struct Group<'a> {
    name: String,
    findings: Vec<FindingView<'a>>,
}

#[derive(Serialize)]
struct ComponentView<'a> {
    name: &'a str,
    outcome: &'static str,
    bar: Value,
    effect: String,
    z: String,
    log10_p: String,
    parent: &'a str,
    layers: String,
}

#[derive(Serialize)]
struct Legend {
    label: String,
    swatch: Value,
}

#[derive(Serialize)]
struct ChartView {
    title: String,
    drawing: Value,
    steps: Vec<i64>,
    rows: Vec<ChartRow>,
}

#[derive(Serialize)]
struct ChartRow {
    label: String,
    cells: Vec<String>,
}

#[derive(Serialize)]
struct WayView {
    words: String,
    drawing: Value,
    header: [&'static str; 6],
    rows: Vec<[String; 6]>,
}

#[derive(Serialize)]
struct EventsView<'a> {
    drawing: Value,
    more: String,
    rows: Vec<EventView<'a>>,
}

#[derive(Serialize)]
struct EventView<'a> {
    when: String,
    what: &'a str,
    grade: &'a str,
    source: &'a str,
    left_out: usize,
}

#[derive(Serialize)]
struct MapGroup {
    title: String,
    main: MapView,
    others: Vec<MapView>,
}

#[derive(Serialize)]
struct MapView {
    family: String,
    words: String,
    drawing: Value,
    /// Too many layers for a narrow drawing.
    wide: bool,
    columns: Vec<u32>,
    rows: Vec<(u32, Vec<String>)>,
}

#[derive(Serialize)]
struct InputView<'a> {
    role: String,
    name: &'a str,
    uri: &'a str,
    size: String,
    sha256: &'a str,
}

pub(super) fn view<'a>(report: &'a Report, evidence: &'a Evidence) -> View<'a> {
    let order: Vec<&str> = report.components.iter().map(|component| component.name.as_str()).collect();
    let series = scene::series(evidence, &order);
    let axis = chart::Axis::new(&series);
    let references: BTreeSet<&Reference> =
        series.iter().flat_map(|one| &one.lines).map(|line| &line.reference).collect();
    let references: Vec<&Reference> = references.into_iter().collect();
    let word = wording::outcome(report.verdict.outcome);
    View {
        tool: &report.tool,
        digest: &report.case.digest,
        seal: report.seal.as_ref().map(|seal| seal.root.as_str()),
        name: wording::name(report),
        word,
        tone: word,
        headline: wording::headline(report).english(),
        lead: wording::meaning(report).english(),
        missing: report.verdict.missing.iter().map(Text::english).collect(),
        skipped: &report.coverage.skipped,
        events: events(&evidence.timeline, &evidence.timeline, String::new()),
        grades: grades(),
        conditions: conditions(report),
        decided: wording::decided(report).into_iter().map(|one| finding(one, true)).collect(),
        components: report.components.iter().map(component).collect(),
        legend: references.iter().map(|reference| legend(&references, reference)).collect(),
        charts: series.iter().map(|one| chart_view(one, &axis, &references)).collect(),
        root_axis: axis.is_root(),
        way: way(evidence),
        maps: maps(&scene::maps(evidence)),
        beyond: heatmap::BEYOND,
        groups: groups(report),
        coverage: coverage(report),
        inputs: report.inputs.iter().map(input).collect(),
        policy: policy(&report.policy),
        how_to_read: wording::how_to_read().iter().map(|(word, means)| (word.english(), means.english())).collect(),
    }
}

fn conditions(report: &Report) -> Vec<ConditionView<'_>> {
    wording::conditions(report)
        .into_iter()
        .map(|stated| ConditionView {
            name: stated.name.english(),
            state: wording::condition(stated.state),
            sentence: stated.sentence.english(),
            ids: stated.findings.iter().map(|finding| finding.id.as_str()).collect(),
        })
        .collect()
}

fn finding(finding: &Finding, decides: bool) -> FindingView<'_> {
    FindingView {
        id: &finding.id,
        code: finding.code.name(),
        title: finding.code.title().english(),
        grade: wording::grade(finding.grade),
        direction: wording::direction(finding.direction),
        about: wording::subject(finding).english(),
        message: finding.message.english(),
        null: if finding.grade == Grade::Context { String::new() } else { finding.null.english() },
        evidence: finding.evidence.as_deref(),
        figure: number::short(finding.statistic),
        log10_p: number::short(finding.log10_p),
        effect: number::effect(finding.effect),
        n: finding.n.map_or_else(|| "–".to_owned(), number::count),
        decides,
    }
}

/// The record alone.
pub(super) fn of_timeline(timeline: &Timeline) -> View<'_> {
    let findings = timeline::ordered(timeline).into_iter().map(|one| finding(one, false)).collect();
    View {
        tool: &timeline.tool,
        digest: &timeline.case.digest,
        seal: timeline.seal.as_ref().map(|seal| seal.root.as_str()),
        name: timeline.case.name.clone(),
        word: timeline.outcome.word(),
        tone: timeline.outcome.look(),
        headline: timeline.outcome.meaning().english(),
        lead: timeline::no_verdict().english(),
        missing: timeline.missing.iter().map(Text::english).collect(),
        skipped: &timeline.skipped,
        events: events(&timeline.events, &timeline.all, timeline::counted(&timeline.months)),
        grades: grades(),
        conditions: Vec::new(),
        decided: Vec::new(),
        components: Vec::new(),
        legend: Vec::new(),
        charts: Vec::new(),
        root_axis: false,
        way: None,
        maps: Vec::new(),
        beyond: heatmap::BEYOND,
        groups: vec![Group { name: text!("report/group/time").english(), findings }],
        coverage: Vec::new(),
        inputs: timeline.inputs.iter().map(input).collect(),
        policy: policy(&timeline.policy),
        how_to_read: Vec::new(),
    }
}

/// `rows` are told one by one, `all` are drawn; `more` is what is to be said of the others.
fn events<'a>(rows: &'a [TimelineRow], all: &[TimelineRow], more: String) -> Option<EventsView<'a>> {
    (!rows.is_empty()).then(|| EventsView {
        drawing: Value::from_safe_string(lanes::draw(all)),
        more,
        rows: lanes::shown(rows)
            .into_iter()
            .map(|(row, left_out)| EventView {
                when: lanes::when(row),
                what: &row.what,
                grade: &row.grade,
                source: &row.source,
                left_out,
            })
            .collect(),
    })
}

/// The marks of the timeline.
fn grades() -> Vec<Legend> {
    lanes::GRADES
        .iter()
        .map(|&(label, class, shape)| {
            let mut svg = Svg::new(14.0, 12.0, "swatch", "");
            svg.mark(&format!("mark {class}"), shape, (7.0, 6.0), "");
            Legend { label: label.to_owned(), swatch: Value::from_safe_string(svg.finish()) }
        })
        .collect()
}

/// Every finding, by condition, those that decided first.
fn groups(report: &Report) -> Vec<Group<'_>> {
    let groups = wording::groups().into_iter().map(|(key, name)| {
        let mut findings: Vec<_> = wording::of(report, key).collect();
        findings.sort_by_key(|one| (!wording::decides(report, one), one.grade == Grade::Context));
        let name = name.english();
        Group { name, findings: findings.into_iter().map(|one| finding(one, wording::decides(report, one))).collect() }
    });
    groups.filter(|group| !group.findings.is_empty()).collect()
}

fn component(component: &ComponentResult) -> ComponentView<'_> {
    let outcome = wording::component(component.outcome);
    ComponentView {
        name: &component.name,
        outcome,
        bar: bar(component.effect, outcome),
        effect: number::effect(component.effect),
        z: number::z(component.z),
        log10_p: number::short(component.log10_p),
        parent: component.parent.as_deref().unwrap_or("–"),
        layers: wording::layers(&component.layers),
    }
}

/// A bar from 0 to 1; an effect below 0 runs to the left of the zero mark.
fn bar(effect: Option<f64>, class: &str) -> Value {
    let (zero, full) = (12.0, 100.0);
    let mut svg = Svg::new(zero + full, 12.0, "bar", &format!("effect {}", number::effect(effect)));
    svg.frame("track", (zero, 3.0), (full, 6.0));
    let length = effect.unwrap_or(0.0).clamp(-zero / full, 1.0) * full;
    svg.frame(class, (zero + length.min(0.0), 3.0), (length.abs(), 6.0));
    svg.line("zero", (zero, 0.0), (zero, 12.0));
    Value::from_safe_string(svg.finish())
}

fn legend(references: &[&Reference], reference: &Reference) -> Legend {
    let label = scene::label(reference);
    let (class, mark) = chart::look(references, reference);
    let mut svg = Svg::new(34.0, 12.0, "swatch", "");
    svg.line(&format!("line {class}"), (1.0, 6.0), (33.0, 6.0));
    svg.mark(&format!("mark {class}"), mark, (17.0, 6.0), "");
    Legend { label, swatch: Value::from_safe_string(svg.finish()) }
}

fn chart_view(series: &Series, axis: &chart::Axis, references: &[&Reference]) -> ChartView {
    let steps: BTreeSet<i64> = series.lines.iter().flat_map(|line| &line.points).map(|point| point.step).collect();
    let rows = series.lines.iter().map(|line| ChartRow {
        label: line.label(),
        cells: steps
            .iter()
            .map(|step| match line.points.iter().find(|point| point.step == *step) {
                Some(point) => format!("{} (z {})", number::effect(point.effect), number::z(point.z)),
                None => "–".to_owned(),
            })
            .collect(),
    });
    ChartView {
        title: series.title().to_owned(),
        drawing: Value::from_safe_string(chart::draw(series, axis, references)),
        rows: rows.collect(),
        steps: steps.into_iter().collect(),
    }
}

/// The way of the whole model.
fn way(evidence: &Evidence) -> Option<WayView> {
    let rows = plane::way(evidence);
    (!rows.is_empty()).then(|| WayView {
        words: plane::describe(&rows),
        drawing: Value::from_safe_string(plane::draw(&rows)),
        header: plane::HEADER,
        rows: rows.into_iter().map(plane::cells).collect(),
    })
}

/// One group a parent or control: its first map (family `all` where there is one) and the others.
fn maps(maps: &[Map<'_>]) -> Vec<MapGroup> {
    maps.chunk_by(|one, next| one.parent == next.parent)
        .filter_map(|group| {
            let (main, others) = group.split_first()?;
            Some(MapGroup { title: main.title(), main: map(main), others: others.iter().map(map).collect() })
        })
        .collect()
}

fn map(map: &Map<'_>) -> MapView {
    let columns: BTreeSet<u32> = map.cells.keys().map(|key| key.1).collect();
    let rows: BTreeSet<u32> = map.cells.keys().map(|key| key.0).collect();
    let tabled = map.cells.len() <= TABLED;
    let cells = |row: u32| columns.iter().map(|&at| number::z(map.cells.get(&(row, at)).copied().flatten())).collect();
    MapView {
        family: if map.family == "all" { "all families together".to_owned() } else { map.family.to_owned() },
        words: heatmap::describe(map),
        wide: columns.len().max(rows.len()) > 16,
        drawing: Value::from_safe_string(heatmap::draw(map)),
        rows: if tabled { rows.iter().map(|&row| (row, cells(row))).collect() } else { Vec::new() },
        columns: if tabled { columns.iter().copied().collect() } else { Vec::new() },
    }
}

fn coverage(report: &Report) -> Vec<(&'static str, String)> {
    let coverage = &report.coverage;
    vec![
        ("Tensors", number::count(coverage.tensors)),
        ("Compared", number::count(coverage.compared)),
        ("Skipped", number::count(coverage.skipped.len() as u64)),
        ("Read", number::bytes(coverage.bytes_read)),
        ("Tests", coverage.looked.english()),
    ]
}

fn input(input: &crate::Input) -> InputView<'_> {
    InputView {
        role: wording::role(input.role).english(),
        name: &input.name,
        uri: &input.uri,
        size: number::bytes(input.bytes),
        sha256: &input.sha256,
    }
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
