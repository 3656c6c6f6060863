//! `witness`: entries of a ledger from files and words, outside clocks over it, and what is revealed later.

use std::path::Path;
use std::time::Duration;

use scratchproof::attest::clocks::{self, Kind};
use scratchproof::attest::ledger::{self, What};
use scratchproof::attest::manifest::{GIT, Manifest};
use scratchproof::attest::{merkle, reveal};
use scratchproof::error::hexadecimal::hex;
use scratchproof::error::{Error, Result};
use scratchproof::folder::alone;
use scratchproof::report::text as letters;
use scratchproof_texts::text;
use serde_json::{Map, Value, json};

use super::arguments::{Arguments, Body, Format, Witness};
use super::{attest, print, say};

/// Makes, adds to or closes a ledger, and prints the entry that was written.
pub fn run(arguments: &Arguments, what: &Witness) -> Result<u8> {
    let (path, body) = match what {
        Witness::Init { ledger, body } | Witness::Append { ledger, body } | Witness::Close { ledger, body } => {
            (ledger, body)
        }
        Witness::Stamp { ledger, patience } => return stamp(arguments, ledger, *patience),
        Witness::Reveal { model, tensor, rows, sample, word, output } => {
            let wanted = |count| {
                let word = word.as_deref().unwrap_or_default();
                let sampled = sample.map(|sample| merkle::sampled(word, tensor, sample, count));
                rows.iter().copied().chain(sampled.into_iter().flatten()).collect()
            };
            alone(output, reveal::of(model, tensor, wanted)?.to_json().as_bytes())?;
            return Ok(0);
        }
    };
    let signer = body.key.as_deref().map(|key| attest::signer(key, body.password.as_deref())).transpose()?;
    let value = value(body)?;
    let entry = match what {
        Witness::Init { .. } => ledger::init(path, value, signer.as_ref())?,
        Witness::Append { .. } => {
            let kind = if body.checkpoint.is_some() { What::Checkpoint } else { What::Note };
            ledger::append(path, kind, value, signer.as_ref())?
        }
        Witness::Close { .. } => ledger::append(path, What::Close, value, signer.as_ref())?,
        Witness::Stamp { .. } | Witness::Reveal { .. } => return Ok(0),
    };
    let of = |kind: Kind, list: &[String]| list.iter().map(|own| (kind, own.clone())).collect::<Vec<_>>();
    let clocks = [of(Kind::Authority, &body.authorities), of(Kind::Calendar, &body.calendars)].concat();
    if !clocks.is_empty() {
        // The entry stands; whom to ask is written down before anybody is asked.
        clocks::queue(path, entry.seq, &clocks)?;
        stamp(arguments, path, body.patience)?;
    }
    print(&match arguments.format {
        Format::Json => letters::json(serde_json::to_string_pretty(&entry).unwrap_or_default()),
        _ if arguments.quiet => return Ok(0),
        _ => format!("{} {}", entry.seq, entry.hash),
    })?;
    Ok(0)
}

/// Asks the outside clocks. Silence is told and is no failure: what waits is asked again.
fn stamp(arguments: &Arguments, ledger: &Path, patience: u64) -> Result<u8> {
    let tell = |why: &Error| {
        if !arguments.quiet {
            say(&format!("warning: {why}"));
        }
    };
    let patience = if arguments.offline { Duration::ZERO } else { Duration::from_secs(patience) };
    let asked = clocks::ask(ledger, patience, tell)?;
    if !arguments.quiet {
        say(&format!("stamps: {}, waiting: {}", asked.stamped, asked.waiting));
    }
    Ok(0)
}

/// What stands in an entry: digests are taken before the ledger is locked.
fn value(body: &Body) -> Result<Value> {
    let mut map = Map::new();
    if let Some(model) = &body.checkpoint {
        let ignored: Vec<String> = GIT.iter().map(ToString::to_string).collect();
        let manifest = Manifest::of(model, &ignored, None)?;
        let files = manifest.resources.iter().map(|own| json!({ "name": own.name, "sha256": hex(&own.sha256) }));
        let files: Vec<Value> = files.collect();
        map.insert("manifest".into(), json!({ "name": manifest.name, "sha256": manifest.root(), "files": files }));
        if body.tree {
            map.insert("tree".into(), merkle::commit(model)?);
        }
    }
    if let Some(log) = &body.log {
        map.insert("log".into(), ledger::head(log)?);
    }
    let numbers = [("step", body.step.map(Value::from)), ("tokens", body.tokens.map(Value::from))];
    let words = [("commit", body.commit.clone().map(Value::from)), ("note", body.note.clone().map(Value::from))];
    for (name, value) in numbers.into_iter().chain(words) {
        map.extend(value.map(|value| (name.to_owned(), value)));
    }
    let mut settings = Map::new();
    for setting in &body.settings {
        let (name, value) = setting
            .split_once('=')
            .ok_or_else(|| Error::usage(text!("error-cli/witness/set-name-value-expected", setting)))?;
        settings.insert(name.to_owned(), value.into());
    }
    if !settings.is_empty() {
        map.insert("settings".into(), settings.into());
    }
    Ok(map.into())
}
