//! The service's answers -> a [`Run`].

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::client::Client;
use super::history::{self, Extent};
use super::queries::{self, Fields, RUN};
use super::{Address, Bounds, exported, files, machine};
use crate::keys::{KeyMap, Keys};
use crate::releases::Trust;
use crate::run::{Dated, Form, Happened, Run};
use crate::wandb::config::{flatten, put};
use scratchproof_error::Result;
use scratchproof_source::Service;

/// Hosts whose clock is W&B's own.
const OWN: [&str; 2] = [".wandb.ai", ".wandb.io"];

/// Reads a run of a service.
///
/// # Errors
/// If the run or its history cannot be read. What else cannot be read (files, artifacts, machine metrics) is a note.
pub(super) fn run(service: Service, address: &Address, bounds: &Bounds) -> Result<Run> {
    let mut client = Client::new(service, address, bounds);
    let mut fields = Fields::new(RUN);
    let answer = client.ask_for(&mut fields, queries::run, &json!({}))?;
    client.digest_json("run", &Value::Object(answer.clone()));
    let mut run = Run {
        source: address.to_string(),
        id: address.run.clone(),
        entity: Some(address.entity.clone()),
        project: Some(address.project.clone()),
        form: Form::Service,
        ..Run::default()
    };
    if let Some(missing) = fields.missing() {
        run.notes.push(format!("the server does not know these fields of a run: {missing}"));
    }
    let place = client.place();
    let host = place.split("://").nth(1).unwrap_or_default().split([':', '/']).next().unwrap_or_default();
    if !OWN.iter().any(|own| host.ends_with(own)) {
        run.notes
            .push(format!("the dates are of the clock of {place}, which says what those who run it want it to say"));
    }
    about(&mut run, &answer);
    rows(&mut client, &mut run, &extent(&answer))?;
    run.keys = Keys::choose(&run.history, &KeyMap::default())?;
    if let Err(error) = history::events(&mut client, &mut run) {
        run.notes.push(format!("the metrics of the machine could not be read: {error}"));
    }
    let noted = files::files(&mut client, &mut run).unwrap_or_else(|error| {
        run.notes.push(format!("the list of files could not be read: {error}"));
        None
    });
    for connection in ["outputArtifacts", "inputArtifacts"] {
        if let Err(error) = files::artifacts(&mut client, &mut run, connection) {
            run.notes.push(format!("artifacts ({connection}) could not be read: {error}"));
        }
    }
    if let Some(noted) = noted {
        machine::take(&mut run, &noted);
    }
    writers(&mut run, &answer);
    machine::take(&mut run, answer.get("runInfo").unwrap_or(&Value::Null));
    for words in client.complaints() {
        run.notes.push(format!("the service could not answer all that was asked: {words}"));
    }
    (run.bytes, run.sha256) = client.finish();
    Ok(run)
}

/// The rows of history: page by page, which gives the text of every number; if that fails or rows are missing, from the
/// service's parquet files.
fn rows(client: &mut Client, run: &mut Run, extent: &Extent) -> Result<()> {
    let failed = history::read(client, run, extent).err();
    let short = extent.rows.is_some_and(|rows| rows > run.history.rows);
    let why = match &failed {
        Some(error) => format!("its pages could not be read ({error})"),
        None if short => format!("its pages gave {} rows", run.history.rows),
        None => return Ok(()),
    };
    let pages = std::mem::take(&mut run.history);
    let read = exported::read(client, run, &why);
    match (read, failed) {
        (Ok(true), Some(_)) => Ok(()),
        (Ok(true), None) if run.history.rows > pages.rows => Ok(()),
        (Err(error), None) => {
            run.notes.push(format!("the parquet files of the history could not be read: {error}"));
            run.history = pages;
            Ok(())
        }
        (_, None) => {
            run.history = pages;
            Ok(())
        }
        (_, Some(error)) => Err(error),
    }
}

/// Name, state, times, configuration and summary.
fn about(run: &mut Run, answer: &Map<String, Value>) {
    let word = |key: &str| answer.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    run.name = word("displayName");
    run.state = word("state");
    run.commit = word("commit");
    run.host = word("host");
    for (key, happened, what) in [
        ("createdAt", Happened::Created, "was created on the server"),
        ("heartbeatAt", Happened::LastSeen, "last reported to the server"),
        ("updatedAt", Happened::Other, "was last changed on the server"),
    ] {
        let Some(text) = word(key) else { continue };
        match machine::time(&text) {
            Some(at) => run.times.push(Dated { happened, what: what.to_owned(), at, trust: Trust::Platform }),
            None => run
                .notes
                .push(format!("{key} of the server is no time: {:?}", text.chars().take(40).collect::<String>())),
        }
    }
    for (key, what) in [("jobType", "job type"), ("group", "group"), ("sweepName", "sweep")] {
        if let Some(name) = word(key) {
            run.notes.push(format!("{what}: {name}"));
        }
    }
    if run.state.as_deref() == Some("running") {
        run.notes.push("the run goes on; what is read is what the server had at that moment".to_owned());
    }
    for (name, value) in object(answer.get("config"), "configuration", &mut run.notes) {
        if !internal(&name) {
            put(&mut run.config, &mut Value::Null, name, value);
        }
    }
    for (name, value) in object(answer.get("summaryMetrics"), "summary", &mut run.notes) {
        if !internal(&name) {
            flatten(&mut run.summary, name, value);
        }
    }
}

/// The SDK's own notes, not the run's.
fn internal(name: &str) -> bool {
    name == "_wandb" || name == "wandb_version" || name.starts_with("_wandb.")
}

/// What each process that wrote the run noted of itself, the first first; and the writer's version.
fn writers(run: &mut Run, answer: &Map<String, Value>) {
    let config = object(answer.get("config"), "configuration", &mut Vec::new());
    let mut own = Value::Null;
    for (name, value) in config.into_iter().filter(|(name, _)| name == "_wandb") {
        put(&mut BTreeMap::new(), &mut own, name, value);
    }
    run.sdk = own.get("cli_version").and_then(Value::as_str).map(str::to_owned);
    let mut writers: Vec<&Value> =
        own.get("e").and_then(Value::as_object).map_or_else(Vec::new, |writers| writers.values().collect());
    let started = |writer: &&Value| {
        let text = writer.get("startedAt").and_then(Value::as_str).unwrap_or_default();
        machine::time(text).map(|at| at.earliest)
    };
    writers.sort_by_key(started);
    if writers.len() > 1 {
        run.notes.push(format!("{} processes wrote to the run", writers.len()));
        // `wandb-metadata.json` is of the last one.
        run.started_at = writers.iter().find_map(started).or(run.started_at);
    }
    for writer in writers {
        machine::take(run, writer);
    }
    if let (None, Some(seconds)) = (run.started_at, own.get("start_time").and_then(Value::as_f64)) {
        #[allow(clippy::cast_possible_truncation)] // a float cast saturates, and what is out of range is refused
        let micros = (seconds * 1e6).round() as i64;
        run.started_at = chrono::DateTime::from_timestamp_micros(micros);
    }
}

/// Rows and last step, as far as the server says them.
fn extent(answer: &Map<String, Value>) -> Extent {
    let keys = answer.get("historyKeys");
    let keys = match keys {
        // Some servers give it as text of JSON.
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        keys => keys.cloned().unwrap_or_default(),
    };
    let last = keys.get("lastStep").and_then(Value::as_i64).filter(|last| *last >= 0);
    Extent { rows: answer.get("historyLineCount").and_then(Value::as_u64), last }
}

/// The fields of an object that is given as text of JSON.
fn object(value: Option<&Value>, what: &str, notes: &mut Vec<String>) -> Map<String, Value> {
    let parsed = match value {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(other) => other.clone(),
        None => return Map::new(),
    };
    match parsed {
        Value::Object(object) => object,
        _ if value.is_some_and(Value::is_null) => Map::new(),
        _ => {
            notes.push(format!("the {what} is no object of JSON and was left out"));
            Map::new()
        }
    }
}
