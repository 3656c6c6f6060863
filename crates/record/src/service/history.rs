//! The rows of a run, page by page.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::client::{Client, Told};
use super::queries;
use crate::export::members;
use crate::run::{History, Run};
use scratchproof_error::Result;
use scratchproof_texts::text;

/// Steps of the first page; with as many samples as steps a page is always whole.
const PAGE: i64 = 1000;
/// The most rows that are asked for at once.
const MOST: i64 = 10_000;
/// The widest page, in steps.
const WIDEST: i64 = 1 << 40;
/// No step is beyond this: the numbers of JSON end here.
const END: i64 = 1 << 53;
/// A page that came with fewer bytes may be made larger.
const LIGHT: usize = 4 << 20;
/// Rows of machine metrics that are asked for; the service thins them out.
const EVENTS: i64 = 2000;

/// What the run says of its history.
pub(super) struct Extent {
    /// Rows.
    pub(super) rows: Option<u64>,
    /// The last `_step`.
    pub(super) last: Option<i64>,
}

/// Reads all rows.
pub(super) fn read(client: &mut Client, run: &mut Run, extent: &Extent) -> Result<()> {
    if extent.rows == Some(0) {
        return Ok(());
    }
    let (mut from, mut width, mut most) = (0, PAGE, MOST);
    let end = extent.last.map_or(END, |last| last.saturating_add(1).clamp(0, END));
    while from < end && !(extent.last.is_none() && extent.rows.is_some_and(|rows| run.history.rows >= rows)) {
        let to = from.saturating_add(width).min(end);
        let samples = (to - from).min(most);
        let lines = match page(client, from, to, samples) {
            Ok(lines) => lines,
            // The server may be too weak for a page, or the page too large; a tenth of it may do.
            Err(_) if width > 10 => {
                (width, most) = ((width / 10).max(10), (most / 10).max(10));
                continue;
            }
            Err(error) => return Err(error),
        };
        let rows = i64::try_from(lines.len()).unwrap_or(i64::MAX);
        // In more steps than samples there may be rows that were left out.
        if to - from > samples && rows >= samples / 2 {
            width = samples;
            continue;
        }
        if rows == 0 && extent.last.is_none() && width >= WIDEST {
            break;
        }
        let mut bytes = 0;
        for line in &lines {
            bytes += line.len();
            push(client, run, line, from..to)?;
        }
        if rows < samples / 4 || (width < most && bytes < LIGHT) {
            width = (width * 2).min(WIDEST);
        }
        from = to;
    }
    match extent.rows {
        Some(rows) if rows != run.history.rows => {
            run.notes.push(format!("the service counts {rows} rows of history and gave {} of them", run.history.rows));
        }
        _ => {}
    }
    Ok(())
}

fn page(client: &mut Client, from: i64, to: i64, samples: i64) -> Result<Vec<String>> {
    let variables = json!({ "minStep": from, "maxStep": to, "samples": samples });
    match client.ask(&queries::history(), &variables)? {
        Told::Run(mut run) => lines(client, run.remove("history")),
        Told::Refused(words) => Err(client.refused(&words)),
    }
}

/// Rows are texts of JSON in the answer.
fn lines(client: &Client, answer: Option<Value>) -> Result<Vec<String>> {
    match answer {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => Ok(list
            .into_iter()
            .map(|line| match line {
                Value::String(text) => text,
                other => other.to_string(),
            })
            .collect()),
        Some(_) => Err(client.broken(text!("error-record/history/gives-history-no-list"))),
    }
}

fn push(client: &mut Client, run: &mut Run, line: &str, steps: std::ops::Range<i64>) -> Result<()> {
    client.digest("history", line.as_bytes());
    run.history.rows += 1;
    if run.history.rows > client.bounds.rows {
        return Err(client.exceeded(text!("error-record/exported/rows-history", rows = &client.bounds.rows)));
    }
    let number = run.history.rows;
    let Some(fields) = fields(line) else {
        run.history.skipped += 1;
        run.damaged += 1;
        if run.damaged == 1 {
            run.notes.push(format!("row {number} of the history is no object of JSON and was left out"));
        }
        return Ok(());
    };
    let own = fields.iter().find(|(name, _)| name == "_step").and_then(|(_, text)| step(text));
    if own.is_some_and(|step| !steps.contains(&step)) {
        return Err(client.broken(text!("error-record/history/gives-rows-other-steps")));
    }
    add(&mut run.history, own.unwrap_or(i64::try_from(number - 1).unwrap_or(i64::MAX)), &fields);
    if run.history.columns.len() > client.bounds.columns {
        return Err(client.exceeded(text!("error-record/history/columns-history", columns = &client.bounds.columns)));
    }
    Ok(())
}

/// The fields of a row with the text of their values, so that numbers are rounded once; nothing if it is no object.
fn fields(line: &str) -> Option<Vec<(Cow<'_, str>, &str)>> {
    members(line)?.collect()
}

fn add(history: &mut History, step: i64, fields: &[(Cow<str>, &str)]) {
    // `_wandb` is the SDK's own note on how long the run took so far.
    for (name, text) in fields.iter().filter(|(name, _)| name != "_wandb") {
        history.push(step, name, text);
    }
}

/// A whole number, which some writers give as `3.0`.
#[allow(clippy::cast_possible_truncation)] // only whole numbers below 2^53 pass
fn step(text: &str) -> Option<i64> {
    let value: f64 = text.parse().ok()?;
    (value.fract().abs() < f64::EPSILON && value.abs() < END as f64).then_some(value as i64)
}

/// Reads the measurements of the machine; the step is the row.
pub(super) fn events(client: &mut Client, run: &mut Run) -> Result<()> {
    let told = client.ask(&queries::events(), &json!({ "samples": EVENTS }))?;
    let lines = match told {
        Told::Run(mut answer) => lines(client, answer.remove("events"))?,
        Told::Refused(words) => return Err(client.refused(&words)),
    };
    for (number, line) in lines.iter().enumerate() {
        client.digest("events", line.as_bytes());
        let Some(fields) = fields(line) else {
            run.system.skipped += 1;
            continue;
        };
        // The service puts `system.` before the names that the SDK itself writes.
        let plain = |(name, text)| match name {
            Cow::Borrowed(name) => (Cow::Borrowed(str::strip_prefix(name, "system.").unwrap_or(name)), text),
            Cow::Owned(name) => (Cow::Owned(name), text),
        };
        let fields: Vec<(Cow<str>, &str)> = fields.into_iter().map(plain).collect();
        add(&mut run.system, i64::try_from(number).unwrap_or(i64::MAX), &fields);
        run.system.rows += 1;
        if run.system.columns.len() > client.bounds.columns {
            return Err(client
                .exceeded(text!("error-record/history/columns-machine-metrics", columns = &client.bounds.columns)));
        }
    }
    Ok(())
}
