//! `witness`: entries of a ledger from files and words.

use scratchproof::attest::ledger::{self, What};
use scratchproof::attest::manifest::{GIT, Manifest};
use scratchproof::error::{Error, Result};
use scratchproof::folder::hex;
use serde_json::{Map, Value, json};

use super::arguments::{Arguments, Body, Format, Witness};
use super::{attest, print};

/// Makes, adds to or closes a ledger, and prints the entry that was written.
pub fn run(arguments: &Arguments, what: &Witness) -> Result<u8> {
    let (path, body) = match what {
        Witness::Init { ledger, body } | Witness::Append { ledger, body } | Witness::Close { ledger, body } => {
            (ledger, body)
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
    };
    print(&match arguments.format {
        Format::Json => serde_json::to_string_pretty(&entry).unwrap_or_default(),
        _ if arguments.quiet => return Ok(0),
        _ => format!("{} {}", entry.seq, entry.hash),
    })?;
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
        let (name, value) =
            setting.split_once('=').ok_or_else(|| Error::usage(format!("--set {setting}: NAME=VALUE is expected")))?;
        settings.insert(name.to_owned(), value.into());
    }
    if !settings.is_empty() {
        map.insert("settings".into(), settings.into());
    }
    Ok(map.into())
}
