//! The history as the service has written it to parquet files.
//!
//! Asked as the official client does (`wandb` 0.31, `core/internal/runhistoryreader`: `parquetHistory` gives signed addresses
//! of files and the rows that are in none yet); a server without it may keep the same files as an artifact of the run of the
//! type `wandb-history` (`run-ID-history:v0`). Files are read by the reader of exports, which guards against hostile ones.

use serde_json::{Map, Value, json};

use super::client::{Client, Told};
use super::queries;
use crate::export;
use crate::run::{History, Run};
use scratchproof_error::Result;
use scratchproof_texts::text;

/// Files of one history, at most.
const FILES: usize = 1000;

/// Files with their names, and how many rows are in none of them yet, if the server says so.
struct Exported {
    files: Vec<(String, String)>,
    live: Option<usize>,
}

/// Reads the history from parquet files; `why` says why its pages were not enough. Whether there were such files.
///
/// # Errors
/// If there are files and one cannot be read.
pub(super) fn read(client: &mut Client, run: &mut Run, why: &str) -> Result<bool> {
    let exported = match asked(client)? {
        None => kept(client)?,
        some => some,
    };
    let Some(exported) = exported else { return Ok(false) };
    let mut whole = History::default();
    let mut notes = Vec::new();
    for (name, address) in &exported.files {
        let bytes = client.file(address, name)?;
        client.digest("parquet", &bytes);
        let part = export::parquet_bytes(bytes, name).map_err(|error| {
            client.broken(text!("error-record/exported/gives-file-not-must", error = error.to_string()))
        })?;
        notes.extend(part.notes);
        if !take(&mut whole, part.history) {
            return Err(
                client.exceeded(text!("error-record/exported/columns-or-values-one", columns = &client.bounds.columns))
            );
        }
        if whole.rows > client.bounds.rows {
            return Err(client.exceeded(text!("error-record/exported/rows-history", rows = &client.bounds.rows)));
        }
    }
    // The files need not come in the order of their rows.
    for column in whole.columns.values_mut() {
        column.sort_by_key(|row| row.0);
    }
    let (files, rows) = (exported.files.len(), whole.rows);
    run.history = whole;
    run.notes.push(format!(
        "the history is of {files} parquet file(s) of the service, {rows} rows; {why}. Texts and pictures are not in it"
    ));
    if let Some(live) = exported.live.filter(|live| *live > 0) {
        run.notes.push(format!("{live} rows are not in the service's parquet files yet and were left out"));
    }
    run.notes.extend(notes.into_iter().take(20));
    Ok(true)
}

/// Adds the rows of a file. Whether all had room.
fn take(whole: &mut History, part: History) -> bool {
    whole.rows = whole.rows.saturating_add(part.rows);
    whole.skipped = whole.skipped.saturating_add(part.skipped);
    whole.dropped = whole.dropped.saturating_add(part.dropped);
    for (name, column) in part.columns {
        for (step, value) in column {
            whole.push_number(step, &name, value);
        }
    }
    whole.dropped == 0
}

/// What `parquetHistory` gives; nothing if the server does not know it or has no file.
fn asked(client: &mut Client) -> Result<Option<Exported>> {
    let answer = match client.ask(&queries::parquet(), &json!({ "liveKeys": ["_step"] }))? {
        Told::Run(mut run) => run.remove("parquetHistory").unwrap_or_default(),
        Told::Refused(_) => return Ok(None),
    };
    let addresses = answer.get("parquetUrls").and_then(Value::as_array);
    let named = |(number, address): (usize, &Value)| {
        Some((format!("parquet file {} of the history", number + 1), address.as_str()?.to_owned()))
    };
    let files: Vec<(String, String)> = addresses.into_iter().flatten().enumerate().filter_map(named).collect();
    limited(client, &files)?;
    let live = answer.get("liveData").and_then(Value::as_array).map(Vec::len);
    Ok((!files.is_empty()).then_some(Exported { files, live }))
}

/// The newest artifact of the run that holds its history.
fn kept(client: &mut Client) -> Result<Option<Exported>> {
    let answer = match client.ask(&queries::history_artifacts(), &json!({ "first": 100 }))? {
        Told::Run(mut run) => run.remove("page").unwrap_or_default(),
        Told::Refused(_) => return Ok(None),
    };
    let nodes = |list: &Value| -> Vec<Map<String, Value>> {
        let edges = list.get("edges").and_then(Value::as_array).into_iter().flatten();
        edges.filter_map(|edge| edge.get("node")?.as_object().cloned()).collect()
    };
    let history = |node: &Map<String, Value>| {
        node.get("artifactType").and_then(|kind| kind.get("name")).and_then(Value::as_str) == Some("wandb-history")
    };
    let newest = nodes(&answer)
        .into_iter()
        .filter(history)
        .max_by_key(|node| node.get("versionIndex").and_then(Value::as_u64).unwrap_or(0));
    let Some(newest) = newest else { return Ok(None) };
    let file = |node: Map<String, Value>| {
        let name = node.get("name")?.as_str()?;
        let address = node.get("directUrl")?.as_str()?;
        // The name is the server's and stands in messages.
        let shown: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
        name.ends_with(".parquet").then(|| (shown, address.to_owned()))
    };
    let mut files: Vec<(String, String)> =
        nodes(newest.get("files").unwrap_or(&Value::Null)).into_iter().filter_map(file).collect();
    files.sort();
    limited(client, &files)?;
    Ok((!files.is_empty()).then_some(Exported { files, live: None }))
}

fn limited(client: &Client, files: &[(String, String)]) -> Result<()> {
    if files.len() > FILES {
        Err(client.exceeded(text!("error-record/exported/parquet-files-history", files = FILES)))
    } else {
        Ok(())
    }
}
