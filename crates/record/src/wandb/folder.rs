//! The files beside a log. The log wins: what they say otherwise is kept as a difference.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{config, records};
use crate::console::Console;
use crate::hashed;
use crate::releases::{Interval, Trust};
use crate::run::{Dated, Difference, Happened, Run};

/// A longer file of settings is not read.
const SMALL: u64 = 4 << 20;
/// Of `output.log` so much is read.
const OUTPUT: u64 = 1 << 30;
/// So many differences are kept.
const DIFFERENCES: usize = 100;

/// Whether a path has the name of a run's folder.
pub(crate) fn is_run(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    ["run-", "offline-run-", "dryrun-"].iter().any(|start| name.starts_with(start))
}

/// The history that SDKs before 0.10 wrote.
pub(super) fn history(folder: &Path) -> Option<PathBuf> {
    let places = [folder.join("wandb-history.jsonl"), folder.join("files/wandb-history.jsonl")];
    places.into_iter().find(|path| path.is_file())
}

/// Completes a run from the files around its log, which is at `log`.
pub(super) fn complete(run: &mut Run, log: &Path) {
    let Some(parent) = log.parent() else { return };
    let (folder, files) = if parent.ends_with("files") {
        (parent.parent().unwrap_or(parent), parent.to_owned())
    } else if parent.join("files").is_dir() {
        (parent, parent.join("files"))
    } else if is_run(parent) || log.extension().is_some_and(|end| end == "jsonl") {
        (parent, parent.to_owned())
    } else {
        // A log that somebody put among other files: what lies beside it need not be of its run.
        return;
    };
    name(run, folder);
    settings(run, &files);
    metadata(run, &files);
    summary(run, &files);
    output(run, &files);
}

fn differ(run: &mut Run, what: impl Into<String>, log: impl Into<String>, other: impl Into<String>, source: &str) {
    if run.differences.len() < DIFFERENCES {
        run.differences.push(Difference {
            what: what.into(),
            log: log.into(),
            other: other.into(),
            source: source.into(),
        });
    }
}

/// `run-20260211_121423-kj3gdsjx`: the start by the wall clock of the machine, whose zone is not said, and the id.
fn name(run: &mut Run, folder: &Path) {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !is_run(folder) {
        return;
    }
    let rest = name.split_once("run-").map_or("", |(_, rest)| rest);
    let (stamp, id) = rest.split_once('-').unwrap_or((rest, ""));
    let Ok(local) = NaiveDateTime::parse_from_str(stamp, "%Y%m%d_%H%M%S") else { return };
    let local = local.and_utc();
    let span = |hours| local.checked_add_signed(TimeDelta::hours(hours));
    if let (Some(earliest), Some(latest)) = (span(-14), span(12)) {
        run.times.push(Dated {
            happened: Happened::Started,
            what: "was started, by the name of its folder, which gives no time zone".into(),
            at: Interval { earliest, latest },
            trust: Trust::SelfAsserted,
        });
    }
    if run.id.is_empty() {
        id.clone_into(&mut run.id);
    } else if !id.is_empty() && id != run.id {
        let log = run.id.clone();
        differ(run, "id", log, id, &name);
    }
}

/// `config.yaml`.
fn settings(run: &mut Run, files: &Path) {
    let source = "config.yaml";
    let Some(text) = hashed::small(&files.join(source), SMALL) else { return };
    // Its budget bounds depth, nodes and what aliases unfold to.
    let Ok(Value::Object(object)) = serde_saphyr::from_str::<Value>(&text) else {
        run.notes.push(format!("{source} is not YAML of settings and was left out"));
        return;
    };
    let (mut read, mut wandb) = (BTreeMap::new(), Value::Null);
    for (key, value) in object {
        config::put(&mut read, &mut wandb, key, value);
    }
    records::set(&mut run.sdk, wandb.get("cli_version").and_then(Value::as_str).unwrap_or_default());
    let mut added = 0;
    for (key, value) in read {
        match run.config.get(&key) {
            None => {
                run.config.insert(key, value);
                added += 1;
            }
            Some(logged) if !same(logged, &value) => {
                let (logged, value) = (brief(logged), brief(&value));
                differ(run, format!("config.{key}"), logged, value, source);
            }
            Some(_) => {}
        }
    }
    if added > 0 {
        run.notes.push(format!("{added} settings were taken from files/{source}, not from the log"));
    }
}

/// Whether two values say the same: numbers by value, whatever they are written as.
fn same(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-12 * a.abs().max(b.abs()),
            _ => text(a) == text(b) || a.is_null() && text(b).is_empty() || b.is_null() && text(a).is_empty(),
        },
    }
}

fn brief(value: &Value) -> String {
    let text = if let Value::String(text) = value { text.clone() } else { value.to_string() };
    text.chars().take(200).collect()
}

/// `wandb-metadata.json`: before 0.24 the only place of program, arguments and devices.
fn metadata(run: &mut Run, files: &Path) {
    let source = "wandb-metadata.json";
    let Some(text) = hashed::small(&files.join(source), SMALL) else { return };
    let Ok(metadata) = serde_json::from_str::<Value>(&text) else {
        run.notes.push(format!("files/{source} is not JSON and was left out"));
        return;
    };
    let word = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let git = metadata.get("git");
    let mut taken = Vec::new();
    let mut found = Vec::new();
    for (what, place, text) in [
        ("commit", &mut run.commit, word(git.and_then(|git| git.get("commit")))),
        ("remote", &mut run.remote, word(git.and_then(|git| git.get("remote")))),
        ("program", &mut run.program, word(metadata.get("program"))),
        ("host", &mut run.host, word(metadata.get("host"))),
    ] {
        match place {
            None if !text.is_empty() => {
                *place = Some(text);
                taken.push(what);
            }
            Some(logged) if !text.is_empty() && *logged != text => found.push((what, logged.clone(), text)),
            _ => {}
        }
    }
    let words = |value: &Value| value.as_array().map(|list| list.iter().map(brief).collect::<Vec<_>>());
    if let Some(given) = metadata.get("args").and_then(words).filter(|given| !given.is_empty()) {
        if run.arguments.is_empty() {
            run.arguments = given;
            taken.push("arguments");
        } else if run.arguments != given {
            found.push(("arguments", run.arguments.join(" "), given.join(" ")));
        }
    }
    let devices = records::devices(accelerators(&metadata));
    if run.devices.is_empty() && !devices.is_empty() {
        run.devices = devices;
        taken.push("devices");
    } else if !devices.is_empty() && run.devices != devices {
        found.push(("devices", format!("{:?}", run.devices), format!("{devices:?}")));
    }
    for (what, log, other) in found {
        differ(run, what, log, other, source);
    }
    records::set(&mut run.state, &word(metadata.get("state")));
    // The heartbeat of this file is that of the first seconds: SDKs write it once.
    let dated = [("startedAt", "was started", Happened::Started), ("heartbeatAt", "was alive", Happened::Other)];
    for (key, what, happened) in dated {
        if let Some(at) = instant(&word(metadata.get(key))) {
            if key == "startedAt" && run.started_at.is_none() {
                run.started_at = Some(at);
                taken.push("start");
            }
            let what = format!("{what}, by files/{source}");
            run.times.push(Dated {
                happened,
                what,
                at: Interval { earliest: at, latest: at },
                trust: Trust::SelfAsserted,
            });
        }
    }
    if !taken.is_empty() {
        run.notes.push(format!("taken from files/{source}, not from the log: {}", taken.join(", ")));
    }
}

/// Writers before 0.18 leave the `Z` out and mean UTC all the same (`datetime.utcnow`).
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let zoned = || DateTime::parse_from_rfc3339(text).ok().map(|at| at.with_timezone(&Utc));
    zoned().or_else(|| Some(NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?.and_utc()))
}

/// Names of the accelerators, one each.
pub(crate) fn accelerators(metadata: &Value) -> Vec<String> {
    let named = |key: &str| -> Vec<String> {
        let list = metadata.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let name =
            |gpu: &Value| ["name", "model", "series"].iter().find_map(|key| Some(gpu.get(key)?.as_str()?.to_owned()));
        list.iter().filter_map(name).collect()
    };
    for key in ["gpu_nvidia", "gpu_devices", "gpu_amd", "gpuNvidia", "gpuAmd"] {
        let found = named(key);
        if !found.is_empty() {
            return found;
        }
    }
    // `"gpu": "NVIDIA H100 80GB HBM3"` or `"[NVIDIA H100 80GB HBM3, NVIDIA H100 80GB HBM3]"`.
    let one = metadata.get("gpu").or_else(|| metadata.get("gpuType")).and_then(Value::as_str).unwrap_or_default();
    let kinds: Vec<String> =
        one.trim_matches(['[', ']']).split(", ").filter(|kind| !kind.is_empty()).map(Into::into).collect();
    let count = metadata.get("gpu_count").or_else(|| metadata.get("gpuCount")).and_then(Value::as_u64).unwrap_or(1);
    match &kinds[..] {
        [kind] => vec![kind.clone(); usize::try_from(count).unwrap_or(1).clamp(1, 1 << 16)],
        _ => kinds,
    }
}

/// `wandb-summary.json`.
fn summary(run: &mut Run, files: &Path) {
    let source = "wandb-summary.json";
    let Some(text) = hashed::small(&files.join(source), SMALL) else { return };
    let Ok(Value::Object(object)) = serde_json::from_str::<Value>(&text) else {
        run.notes.push(format!("files/{source} is not JSON of a summary and was left out"));
        return;
    };
    let mut read = BTreeMap::new();
    for (key, value) in object {
        config::flatten(&mut read, key, value);
    }
    let mut found = Vec::new();
    for (key, value) in &read {
        if key.starts_with("_wandb.") {
            continue;
        }
        let other = value.as_f64();
        let logged = run.summary.get(key);
        let told = logged.and_then(Value::as_f64).zip(other).is_some_and(|(log, other)| !near(log, other));
        // A summary may be the last, least or greatest value; it is one of those that were logged.
        let column = run.history.columns.get(key).zip(other);
        let nowhere = column.is_some_and(|(column, other)| !column.iter().any(|(_, value)| near(*value, other)));
        if told || logged.is_none() && nowhere {
            let last =
                || run.history.columns.get(key).and_then(|column| column.last()).map(|(_, value)| value.to_string());
            let log = logged.map(brief).or_else(last).unwrap_or_default();
            found.push((format!("summary.{key}"), log, brief(value)));
        }
    }
    if run.summary.is_empty() {
        run.summary = read;
    }
    for (what, log, other) in found {
        differ(run, what, log, other, source);
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

/// `output.log`.
fn output(run: &mut Run, files: &Path) {
    let source = "output.log";
    let Ok(file) = hashed::open(&files.join(source)) else { return };
    let (mut console, mut file, mut buffer) = (Console::default(), file.take(OUTPUT), vec![0; 1 << 16]);
    while let Ok(n @ 1..) = file.read(&mut buffer) {
        console.feed(&buffer[..n]);
    }
    let printed = console.finish(&run.loss());
    if run.printed.is_empty() {
        run.printed = printed;
        return;
    }
    let logged: BTreeMap<i64, f64> = run.printed.iter().map(|printed| (printed.step, printed.loss)).collect();
    let other = |at: &&crate::run::Printed| logged.get(&at.step).is_some_and(|loss| !near(*loss, at.loss));
    let steps: BTreeMap<i64, f64> = printed.iter().map(|printed| (printed.step, printed.loss)).collect();
    let last: Vec<_> = printed.iter().filter(|p| steps.get(&p.step).is_some_and(|loss| near(*loss, p.loss))).collect();
    let found = last.iter().filter(|at| other(at)).count();
    if let Some(first) = last.into_iter().find(other) {
        let log = logged.get(&first.step).copied().unwrap_or(f64::NAN);
        let what = format!("printed loss of step {} ({found} steps differ)", first.step);
        differ(run, what, log.to_string(), first.loss.to_string(), source);
    }
}
