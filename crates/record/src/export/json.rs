//! Rows of JSON: one object a line, a list of objects, a table ([`frame`]), or an object with a history in it.
//!
//! Objects are taken apart in place and numbers are left as text until they are read by the standard library, so that no
//! digit is lost and `NaN`, which Python writes and JSON has no word for, is a number.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::elements::{LINE, elements, members, row, value};
use super::{Rows, frame, sign};
use crate::hashed;
use crate::run::{Form, Run};
use crate::wandb::config::{flatten, json};
use scratchproof_error::{Error, Result};
use scratchproof_texts::{Text, text};

/// A longer document that is not in lines is not read.
const DOCUMENT: u64 = 512 << 20;

/// Reads a file of JSON.
///
/// # Errors
/// If it is no rows, cannot be read, or is a single document of more than 512 MiB.
pub(super) fn open(path: &Path) -> Result<Vec<Run>> {
    // A line that is a whole object with another after it is one of many.
    let head = hashed::head(path, 1 << 20)?;
    let text = String::from_utf8_lossy(&head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let first = value(text).map(|(first, rest)| (first, rest.trim_start()));
    if first.is_some_and(|(first, rest)| first.starts_with('{') && rest.starts_with('{')) {
        return Ok(vec![lines(path)?]);
    }
    let (bytes, hashed) = hashed::whole(path, DOCUMENT)?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_start_matches('\u{feff}').trim();
    let named = |what: Text| Error::input(what).context(path.display());
    if text.starts_with('{')
        && members(text).is_some_and(|mut all| all.any(|m| m.is_some_and(|(k, _)| k == "log_history")))
    {
        return Ok(vec![crate::trainer_state::open(path)?]);
    }
    let run = document(text).ok_or_else(|| named(text!("error-record/json/json-but-no-rows")))?;
    let mut runs = vec![run];
    sign(hashed, &mut runs)?;
    Ok(runs)
}

/// A list of rows, a table, one row, or an object with `history` and what else the API gives of a run.
fn document(text: &str) -> Option<Run> {
    let (mut rows, mut run) = (Rows::default(), Run { form: Form::Rows, ..Run::default() });
    // Programs of one's own put the rows under other names; a table has its columns beside them.
    let framed =
        members(text).is_some_and(|mut all| all.any(|m| m.is_some_and(|(k, _)| k == "schema" || k == "columns")));
    let rows_of = |key: &str, value: &str| {
        let dicts = value.strip_prefix('[').is_some_and(|inside| inside.trim_start().starts_with('{'));
        key == "history" && value.starts_with(['[', '{'])
            || !framed && dicts && matches!(key, "data" | "rows" | "records")
    };
    let is_history = |(key, value): (Cow<'_, str>, &str)| rows_of(&key, value);
    if text.starts_with('[') || !members(text)?.any(|member| member.is_some_and(is_history)) {
        history(&mut rows, text)?;
        return rows.finish(run).ok();
    }
    for member in members(text)? {
        let (key, value) = member?;
        let word = || serde_json::from_str::<String>(value).ok();
        match &*key {
            own if rows_of(own, value) => history(&mut rows, value)?,
            "id" | "run_id" => run.id = word().unwrap_or_default(),
            "name" | "display_name" => run.name = word(),
            "project" => run.project = word(),
            "entity" => run.entity = word(),
            "state" => run.state = word(),
            "config" | "summary" | "summary_metrics" => {
                let place = if key == "config" { &mut run.config } else { &mut run.summary };
                for inner in members(value)? {
                    let (key, value) = inner?;
                    flatten(place, key.into_owned(), json(value));
                }
            }
            _ => {}
        }
    }
    rows.finish(run).ok()
}

/// A list of rows, a table, or one row.
fn history(rows: &mut Rows, text: &str) -> Option<()> {
    let listed = text.starts_with('[') && elements(text)?.next().is_none_or(|first| first.is_some_and(is_object));
    if listed {
        for element in elements(text)? {
            row(rows, element?)?;
        }
        return Some(());
    }
    // A table is taken whole or not at all.
    let mut whole = Rows::default();
    if frame::table(&mut whole, text).is_some() {
        *rows = whole;
        return Some(());
    }
    row(rows, text)
}

fn is_object(text: &str) -> bool {
    text.starts_with('{')
}

/// Reads a file with one JSON object a line. Lines that are none are damage.
///
/// # Errors
/// If it cannot be read, or no line is a row.
pub(crate) fn lines(path: &Path) -> Result<Run> {
    let mut input = BufReader::with_capacity(1 << 16, hashed::open(path)?);
    let (mut rows, mut run) = (Rows::default(), Run { form: Form::Rows, ..Run::default() });
    let (mut line, mut offset) = (Vec::new(), 0_u64);
    loop {
        line.clear();
        let failed = |error| Error::io(path.display(), error);
        let n = (&mut input).take(LINE as u64).read_until(b'\n', &mut line).map_err(failed)?;
        if n == 0 {
            break;
        }
        let long = n == LINE && line.last() != Some(&b'\n');
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_start_matches('\u{feff}').trim();
        if !text.is_empty() && (long || row(&mut rows, text).is_none()) {
            run.damaged += 1;
            if run.damage.len() < 1000 {
                let what = if long { "a line of more than 64 MiB" } else { "a line that is no JSON object" };
                run.damage.push(crate::leveldb::Damage { offset, what: what.into() });
            }
            if long {
                skip_line(&mut input).map_err(failed)?;
            }
        }
        offset += n as u64;
    }
    if rows.history.rows == 0 {
        return Err(Error::input(text!("error-record/json/no-line-json-object", path = path.display())));
    }
    // A copy made while the run went on ends inside a line.
    if run.damaged == 1 && run.damage.first().is_some_and(|damage| damage.offset + line_length(&line) >= offset) {
        run.tail = crate::leveldb::Tail::Complete;
    }
    let mut runs = vec![rows.finish(run)?];
    sign(input.into_inner(), &mut runs)?;
    runs.pop().ok_or_else(|| Error::input(text!("error-record/json/no-run")))
}

fn line_length(line: &[u8]) -> u64 {
    line.len() as u64
}

fn skip_line(input: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let (used, done) = match buffer.iter().position(|&b| b == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(used);
        if done {
            return Ok(());
        }
    }
}
