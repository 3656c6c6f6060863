//! Reads a W&B run from the `.wandb` file the SDK writes beside the training, offline or online.

mod proto;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use prost::Message;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::keys::{KeyMap, Keys};
use super::leveldb::Reader;
use super::run::Run;
use crate::error::{Context, Error, Result};

/// A metadata file is small; a larger one is not read.
const METADATA_LIMIT: u64 = 1 << 20;

/// Reads a run from a `.wandb` file, a run's folder (`run-*`, `offline-run-*`), or a folder that holds one such file.
///
/// # Errors
/// If there is no such file or more than one, or it cannot be read, or is not a W&B log. Damage inside it is not an
/// error.
pub fn open(path: &Path) -> Result<Run> {
    let file = locate(path)?;
    let place = || file.display().to_string();
    let input = File::open(&file).map_err(|error| Error::io("the log cannot be opened", error)).context(place)?;
    let mut run = read(input).context(place)?;
    run.source = path.display().to_string();
    if let Some(folder) = file.parent() {
        complete(&mut run, folder);
    }
    Ok(run)
}

/// Reads a run from the bytes of a `.wandb` file.
///
/// # Errors
/// If the bytes cannot be read or are not a W&B log.
pub fn read(input: impl Read) -> Result<Run> {
    let mut hashed = Hashed { input, sha: Sha256::new(), bytes: 0 };
    let mut run = Run::default();
    let mut wandb = Value::Null;
    {
        let mut reader = Reader::new(&mut hashed)?;
        while let Some((offset, bytes)) = reader.next_record()? {
            match proto::Record::decode(bytes) {
                Ok(record) => take(&mut run, &mut wandb, record),
                Err(_) => reader.report(offset, "a whole record that is no W&B record"),
            }
        }
        run.damage = reader.damage().to_vec();
        run.damaged = reader.damaged();
        run.tail = reader.tail();
    }
    if run.sdk.is_none() {
        run.sdk = wandb.get("cli_version").and_then(Value::as_str).map(str::to_owned);
    }
    run.bytes = hashed.bytes;
    run.sha256 = hashed.sha.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    run.keys = Keys::choose(&run.history, &KeyMap::default())?;
    Ok(run)
}

/// The log's file, wherever in its folder it is.
fn locate(path: &Path) -> Result<PathBuf> {
    let named = |what: &str| Error::input(format!("{}: {what}", path.display()));
    let about = fs::metadata(path).map_err(|error| Error::io(path.display(), error))?;
    if about.is_file() {
        return Ok(path.to_owned());
    }
    if !about.is_dir() {
        // Opening a FIFO would wait for somebody to write to it.
        return Err(named("not a regular file"));
    }
    let mut logs = logs_in(path)?;
    if logs.is_empty() {
        // `wandb/` itself, with one run's folder in it.
        for entry in entries(path)? {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // `latest-run` is a link to one of the others.
            if (name.starts_with("run-") || name.starts_with("offline-run-")) && entry.is_dir() {
                logs.extend(logs_in(&entry)?);
            }
        }
    }
    match logs.len() {
        1 => Ok(logs.remove(0)),
        0 => Err(named("holds no `.wandb` file")),
        n => Err(named(&format!("holds {n} `.wandb` files; name one of them"))),
    }
}

fn logs_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_log = |path: &PathBuf| path.extension().is_some_and(|e| e == "wandb") && path.is_file();
    Ok(entries(folder)?.into_iter().filter(is_log).collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Error::io(folder.display(), error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn take(run: &mut Run, wandb: &mut Value, record: proto::Record) {
    if let Some(header) = record.header.and_then(|header| header.version_info) {
        // The Go core appends its own commit after a plus sign.
        set(&mut run.sdk, header.producer.split('+').next().unwrap_or_default());
    }
    if let Some(telemetry) = record.telemetry {
        set(&mut run.sdk, &telemetry.cli_version);
    }
    if let Some(start) = record.run {
        set(&mut run.sdk, &start.telemetry.unwrap_or_default().cli_version);
        if !start.run_id.is_empty() {
            run.id = start.run_id;
        }
        set(&mut run.name, &start.display_name);
        set(&mut run.project, &start.project);
        set(&mut run.entity, &start.entity);
        set(&mut run.host, &start.host);
        run.resumed |= start.resumed || start.starting_step > 0;
        run.started_at = start.start_time.and_then(time).or(run.started_at);
        git(run, start.git);
        configure(run, wandb, start.config);
    }
    if let Some(environment) = record.environment {
        set(&mut run.program, &environment.program);
        set(&mut run.host, &environment.host);
        run.started_at = run.started_at.or(environment.started_at.and_then(time));
        git(run, environment.git);
    }
    configure(run, wandb, record.config);
    if let Some(exit) = record.exit {
        run.ended = Some(exit.exit_code);
    }
    if let Some(row) = record.history {
        log(run, &row);
    }
}

fn log(run: &mut Run, row: &proto::HistoryRecord) {
    let own = row.item.iter().find(|item| item.name() == "_step").and_then(|item| item.value_json.parse().ok());
    let row_number = i64::try_from(run.history.rows).unwrap_or(i64::MAX);
    let step = own.or(row.step.as_ref().map(|step| step.num)).unwrap_or(row_number);
    run.history.rows += 1;
    for item in &row.item {
        run.history.push(step, &item.name(), &item.value_json);
    }
}

fn git(run: &mut Run, record: Option<proto::GitRecord>) {
    if let Some(record) = record {
        set(&mut run.commit, &record.commit);
        set(&mut run.remote, &record.remote_url);
    }
}

fn set(place: &mut Option<String>, text: &str) {
    if !text.is_empty() && place.is_none() {
        *place = Some(text.to_owned());
    }
}

fn time(stamp: proto::Timestamp) -> Option<DateTime<Utc>> {
    if stamp.seconds == 0 && stamp.nanos == 0 {
        return None;
    }
    DateTime::from_timestamp(stamp.seconds, u32::try_from(stamp.nanos).ok()?)
}

fn configure(run: &mut Run, wandb: &mut Value, record: Option<proto::ConfigRecord>) {
    let Some(record) = record else { return };
    for item in record.update {
        // Text that is no JSON (a bare NaN) is kept as text.
        let value = serde_json::from_str(&item.value_json).unwrap_or(Value::String(item.value_json.clone()));
        let value = unwrap_value(value);
        let name = item.name();
        // The SDK's own notes on machine and user, not the run's configuration.
        if name == "_wandb" {
            *wandb = value;
        } else if !name.starts_with("_wandb.") {
            remove(&mut run.config, &name);
            flatten(&mut run.config, name, value);
        }
    }
    for item in record.remove {
        remove(&mut run.config, &item.name());
    }
}

/// Old writers wrap a value as `{"desc": ..., "value": ...}`.
fn unwrap_value(value: Value) -> Value {
    match value {
        Value::Object(mut object)
            if object.contains_key("value") && object.keys().all(|key| key == "value" || key == "desc") =>
        {
            object.remove("value").unwrap_or_default()
        }
        other => other,
    }
}

fn flatten(config: &mut BTreeMap<String, Value>, name: String, value: Value) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, value) in object {
                flatten(config, format!("{name}.{key}"), value);
            }
        }
        other => {
            config.insert(name, other);
        }
    }
}

fn remove(config: &mut BTreeMap<String, Value>, name: &str) {
    let inside = format!("{name}.");
    config.retain(|key, _| key != name && !key.starts_with(&inside));
}

/// Takes from `files/wandb-metadata.json` what the log itself lacks: writers before 0.24 kept it only there.
fn complete(run: &mut Run, folder: &Path) {
    let path = folder.join("files").join("wandb-metadata.json");
    let small = fs::metadata(&path).is_ok_and(|about| about.is_file() && about.len() <= METADATA_LIMIT);
    let Some(text) = small.then(|| fs::read_to_string(&path).ok()).flatten() else { return };
    let Ok(metadata) = serde_json::from_str::<Value>(&text) else {
        run.notes.push("files/wandb-metadata.json is not JSON and was left out".into());
        return;
    };
    let word = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut taken = Vec::new();
    let git = metadata.get("git");
    for (what, place, text) in [
        ("commit", &mut run.commit, word(git.and_then(|git| git.get("commit")))),
        ("remote", &mut run.remote, word(git.and_then(|git| git.get("remote")))),
        ("program", &mut run.program, word(metadata.get("program"))),
        ("host", &mut run.host, word(metadata.get("host"))),
    ] {
        if place.is_none() && !text.is_empty() {
            set(place, &text);
            taken.push(what);
        }
    }
    if !taken.is_empty() {
        run.notes.push(format!("taken from files/wandb-metadata.json, not from the log: {}", taken.join(", ")));
    }
}

/// Counts and hashes what passes through.
struct Hashed<R> {
    input: R,
    sha: Sha256,
    bytes: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.sha.update(&buffer[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
