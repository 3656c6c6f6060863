//! The two tables that the web page exports: of a chart, and of runs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use serde_json::Value;

use super::Rows;
use super::delimited::{Table, number};
use crate::releases::{Interval, Trust};
use crate::run::{Dated, Form, Happened, RUNS, Run};
use scratchproof_error::Result;
use scratchproof_error::json::fits;

/// The columns around the values of a chart: least and greatest of what one point stands for.
const EXTREMES: [&str; 2] = ["__MIN", "__MAX"];

/// Whether a header is that of a chart: an axis, then a column a run, each with its least and greatest values.
pub(super) fn is_chart(header: &[String]) -> bool {
    let has = |end: &str| header.iter().skip(1).any(|name| name.ends_with(end));
    header.iter().skip(1).any(|name| name.contains(" - ")) && EXTREMES.iter().all(|end| has(end))
}

/// A column of one run.
struct Column {
    run: usize,
    key: String,
    /// Where its least and greatest values stand.
    extremes: [Option<usize>; 2],
}

/// The table of a chart. A point of a long run stands for several rows of its log: where the least and greatest differ, the
/// value is a mean, and that is told.
pub(super) fn chart(header: &[String], table: &mut Table<impl Read>) -> Result<Vec<Run>> {
    let mut runs: Vec<(String, Rows)> = Vec::new();
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut columns: Vec<Option<Column>> = vec![None];
    for (at, name) in header.iter().enumerate().skip(1) {
        let parts = name.rsplit_once(" - ").filter(|_| !EXTREMES.iter().any(|end| name.ends_with(end)));
        columns.push(parts.and_then(|(label, key)| {
            // Two runs of one name make the same column twice.
            let times = seen.entry(name.clone()).and_modify(|times| *times += 1).or_insert(1);
            let label = if *times > 1 { format!("{label}#{times}") } else { label.to_owned() };
            let run = runs.iter().position(|(known, _)| *known == label).or_else(|| {
                (runs.len() < RUNS).then(|| {
                    runs.push((label, Rows::default()));
                    runs.len() - 1
                })
            })?;
            // They stand right behind it.
            let beside = |end: &str| (at + 1..header.len().min(at + 3)).find(|&i| header[i] == format!("{name}{end}"));
            Some(Column { run, key: key.to_owned(), extremes: EXTREMES.map(beside) })
        }));
    }
    let mut means = vec![0_u64; runs.len()];
    let axis = header.first().map_or("", String::as_str);
    let counted = axis == "Step";
    while let Some(fields) = table.next() {
        let place = fields.first().copied().unwrap_or_default();
        let mut steps: Vec<Option<i64>> = vec![None; runs.len()];
        for (column, field) in columns.iter().zip(&fields) {
            let (Some(column), Some(value)) = (column, number(field)) else { continue };
            let rows = &mut runs[column.run].1;
            let step = *steps[column.run].get_or_insert_with(|| {
                let step = rows.begin(|name| (name == "_step").then_some(place).filter(|_| axis_counts(axis)));
                if let (false, Some(value)) = (counted, number(place)) {
                    rows.history.push_number(step, axis_key(axis), value);
                } else {
                    rows.history.push_number(step, "_step", step as f64);
                }
                step
            });
            rows.history.push_number(step, &column.key, value);
            let [least, most] = column.extremes.map(|at| fields.get(at?).copied().and_then(number));
            means[column.run] += u64::from(least.zip(most).is_some_and(|(least, most)| least < most));
        }
    }
    let finished = runs.into_iter().zip(means).map(|((label, rows), means)| {
        let mut run = Run { form: Form::ChartExport, id: label.clone(), name: Some(label), ..Run::default() };
        if means > 0 {
            run.notes.push(format!("{means} points of the chart are means of several rows of the log"));
        }
        rows.finish(run)
    });
    finished.collect()
}

/// Whether an axis counts steps, of whatever kind, and not time.
fn axis_counts(axis: &str) -> bool {
    !axis.contains("Time") && axis != "_timestamp" && axis != "_runtime"
}

/// The log's own name of an axis.
fn axis_key(axis: &str) -> &str {
    match axis {
        "Wall Time" => "_timestamp",
        "Relative Time (Process)" | "Relative Time (Wall)" => "_runtime",
        axis => axis,
    }
}

/// Columns of the table of runs that are of the run itself.
const OWN: &[&str] = &[
    "Name",
    "State",
    "Notes",
    "User",
    "Tags",
    "Created",
    "Runtime",
    "Sweep",
    "ID",
    "Group",
    "Job Type",
    "Hostname",
    "Commit",
    "GitHub",
    "Updated",
    "End Time",
    "Description",
    "Agent",
    "Start Time",
    "Storage",
    "GPU Type",
    "GPU Count",
];

/// Most cells of the table of runs.
const CELLS: usize = 4_000_000;

/// Whether a header is that of the table of runs.
pub(super) fn is_runs(header: &[String]) -> bool {
    let has = |name: &str| header.iter().any(|column| column == name);
    has("Name") && ["State", "Created", "Runtime", "ID"].iter().filter(|name| has(name)).count() >= 2
}

/// The table of runs: the run's own columns, then the configuration, then the summary, each in the order of the alphabet.
pub(super) fn runs(header: &[String], table: &mut Table<impl Read>) -> Vec<Run> {
    let first = header.iter().position(|name| !OWN.contains(&name.as_str())).unwrap_or(header.len());
    let summary = summary_from(header, first);
    let (mut runs, mut ids) = (Vec::new(), BTreeSet::new());
    let (mut left, mut cells) = (0_u64, 0);
    while let Some(fields) = table.next() {
        cells += fields.len();
        if runs.len() >= RUNS || cells > CELLS {
            left += 1;
            continue;
        }
        let of = |name: &str| {
            let at = header.iter().position(|column| column == name)?;
            fields.get(at).map(|text| text.trim()).filter(|text| !text.is_empty() && *text != "-").map(str::to_owned)
        };
        let mut run = Run { form: Form::TableExport, name: of("Name"), state: of("State"), ..Run::default() };
        // Names are given twice: two rows are two runs all the same.
        let id = of("ID").or(of("Name")).unwrap_or_default();
        run.id.clone_from(&id);
        for times in 2.. {
            if ids.insert(run.id.clone()) {
                break;
            }
            run.id = format!("{id}#{times}");
        }
        run.host = of("Hostname");
        run.commit = of("Commit");
        for (column, happened, what) in [
            ("Created", Happened::Other, "was created"),
            ("Start Time", Happened::Started, "was started"),
            ("End Time", Happened::Ended, "ended"),
        ] {
            if let Some(at) = of(column).and_then(|text| Interval::parse(&text).ok()) {
                let what = format!("{what}, by the exported table, which anybody can write");
                run.times.push(Dated { happened, what, at, trust: Trust::SelfAsserted });
            }
        }
        let started = run.times.iter().find(|time| time.happened == Happened::Started);
        run.started_at = started.filter(|time| time.at.earliest == time.at.latest).map(|time| time.at.earliest);
        if let Some(seconds) = of("Runtime").and_then(|text| number(&text)) {
            run.summary.insert("_runtime".into(), Value::from(seconds));
        }
        for (at, (name, field)) in header.iter().zip(&fields).enumerate().skip(first) {
            if !field.is_empty() && !name.is_empty() && !OWN.contains(&name.as_str()) {
                let place = if at >= summary { &mut run.summary } else { &mut run.config };
                place.insert(name.clone(), cell(field));
            }
        }
        runs.push(run);
    }
    if let (true, Some(run)) = (left > 0, runs.first_mut()) {
        run.notes.push(format!("{left} more rows of the table were left out"));
    }
    runs
}

/// Where the summary begins: the alphabet begins again there. Without that, where the first name of a logged figure is.
fn summary_from(header: &[String], first: usize) -> usize {
    let names: Vec<String> = header.iter().skip(first).map(|name| name.to_lowercase()).collect();
    let falls: Vec<usize> = (1..names.len()).filter(|&at| names[at] < names[at - 1]).collect();
    if let [fall] = falls[..] {
        return first + fall;
    }
    let logged = |name: &String| name.starts_with('_') || name.contains("loss") || name.starts_with("train/");
    names.iter().position(logged).map_or(header.len(), |at| first + at)
}

/// A cell as a value of JSON.
fn cell(text: &str) -> Value {
    match text {
        "true" | "True" => Value::Bool(true),
        "false" | "False" => Value::Bool(false),
        "null" | "None" => Value::Null,
        text => {
            let known = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '[' | '{' | '.'));
            let value = if known && fits(text.as_bytes()).is_ok() { serde_json::from_str(text).ok() } else { None };
            value
                .or_else(|| text.parse::<f64>().ok().map(Value::from))
                .unwrap_or_else(|| Value::String(text.to_owned()))
        }
    }
}
