//! The audit as an in-toto statement: its subjects are the manifests of the checkpoints, its predicate is the audit.
//!
//! The statement is a function of a finished folder and of nothing else, so that anyone makes it again and compares.
//! `docs/formats/audit-predicate.md` describes every field, `docs/formats/audit-predicate.schema.json` is its JSON Schema.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use scratchproof_error::hexadecimal::hex;
use scratchproof_error::{Context, Error, Result};
use scratchproof_folder::LONGEST;
use scratchproof_source::plain;
use scratchproof_store::gathered;
use scratchproof_texts::text;

use super::manifest::{Manifest, Resource, unhex};
use super::text::strict;

/// Type of the predicate. The version rises with a change that an older reader would misread.
pub const AUDIT: &str = "https://github.com/scratchproof/scratchproof/audit/v1";

/// What is taken from the store.
#[derive(Deserialize)]
struct Measured {
    plan: Value,
    models: Vec<Placed>,
    digests: Vec<Vec<File>>,
    #[serde(default)]
    sample: Option<Value>,
}

#[derive(Deserialize)]
struct Placed {
    uri: String,
}

#[derive(Deserialize)]
struct File {
    name: String,
    bytes: u64,
    sha256: String,
}

/// The statement over a finished folder.
///
/// # Errors
/// If there is no audit in it, or its measurements are not there or cannot be read.
pub fn of(dir: &Path) -> Result<Value> {
    let read = |name: &str| plain::read(&dir.join(name), LONGEST);
    let bytes = read("report.json")?;
    let report = strict(&bytes).context(|| "report.json")?;
    if report["schema"] != scratchproof_report::SCHEMA {
        return Err(Error::input(text!(
            "error-attest/statement/report-json-schema-audit",
            report = report["schema"].to_string(),
            schema = scratchproof_report::SCHEMA
        )));
    }
    let (kernels, stored) = gathered(dir).context(|| text!("error-attest/statement/what-measured-needed"))?;
    let measured: Measured = serde_json::from_value(stored)
        .map_err(|cause| Error::input(cause.to_string()).context("measurements/measurements.json"))?;
    if measured.sample.is_some() {
        return Err(Error::input(text!("error-attest/statement/share")));
    }
    let inputs = report["inputs"].as_array().map_or(&[][..], Vec::as_slice);
    if measured.models.len() != measured.digests.len() || inputs.len() < measured.models.len() {
        return Err(Error::input(text!("error-attest/statement/report-json-what-measured")));
    }
    let mut models = Vec::new();
    let mut subjects = Vec::new();
    for ((input, model), files) in inputs.iter().zip(&measured.models).zip(&measured.digests) {
        let name = input["name"].as_str().unwrap_or_default();
        let resources = files.iter().map(|file| {
            let digest = unhex(&file.sha256)
                .ok_or_else(|| Error::input(text!("error-attest/statement/digest-measured-none")))?;
            Ok(Resource { name: file.name.clone(), sha256: digest })
        });
        let manifest = Manifest::known(name.to_owned(), resources.collect::<Result<_>>()?);
        let digest = json!({ "sha256": manifest.root() });
        let files =
            |file: &File| json!({ "name": file.name, "bytes": file.bytes, "digest": { "sha256": file.sha256 } });
        models.push(json!({
            "role": input["role"],
            "name": name,
            "uri": model.uri,
            "digest": digest,
            "files": measured.digests[models.len()].iter().map(files).collect::<Vec<_>>(),
        }));
        if input["role"] == "checkpoint" {
            subjects.push(json!({ "name": name, "digest": digest }));
        }
    }
    let record = inputs[measured.models.len()..].iter().map(|input| {
        json!({ "role": input["role"], "name": input["name"], "uri": input["uri"], "bytes": input["bytes"],
                "digest": { "sha256": input["sha256"] } })
    });
    let bare = |digest: &Value| digest.as_str().unwrap_or_default().trim_start_matches("sha256:").to_owned();
    let seal = &report["seal"];
    Ok(json!({
        "_type": super::STATEMENT,
        "subject": subjects,
        "predicateType": AUDIT,
        "predicate": {
            "tool": { "name": report["tool"]["name"], "version": report["tool"]["version"], "kernels": kernels },
            "claim": {
                "statement": report["case"]["claim"],
                "case": report["case"]["name"],
                "caseFile": { "sha256": bare(&report["case"]["digest"]) },
            },
            "verdict": report["verdict"],
            "components": report["components"],
            "policy": report["policy"],
            "plan": { "digest": { "sha256": hex(&Sha256::digest(sorted(&measured.plan).to_string().as_bytes())) } },
            "report": { "name": "report.json", "digest": { "sha256": hex(&Sha256::digest(&bytes)) } },
            "evidence": {
                "root": { "sha256": bare(&seal["root"]) },
                "files": seal["files"].as_array().map_or(&[][..], Vec::as_slice).iter().map(|file| json!({
                    "name": file["name"], "bytes": file["bytes"], "digest": { "sha256": file["sha256"] },
                })).collect::<Vec<_>>(),
            },
            "models": models,
            "record": record.collect::<Vec<_>>(),
        },
    }))
}

/// The same value with the names of every object in the order of their bytes.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(list) => Value::Array(list.iter().map(sorted).collect()),
        Value::Object(map) => {
            let mut names: Vec<&String> = map.keys().collect();
            names.sort();
            Value::Object(names.into_iter().map(|name| (name.clone(), sorted(&map[name]))).collect())
        }
        other => other.clone(),
    }
}

/// Names of the fields in which two statements differ, as far as two levels tell.
#[must_use]
pub fn differences(one: &Value, other: &Value) -> Vec<String> {
    let mut all = Vec::new();
    compare(one, other, "", 2, &mut all);
    all
}

fn compare(one: &Value, other: &Value, place: &str, deep: usize, all: &mut Vec<String>) {
    if one == other {
        return;
    }
    let (Value::Object(a), Value::Object(b), Some(deep)) = (one, other, deep.checked_sub(1)) else {
        all.push(place.to_owned());
        return;
    };
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for name in names {
        let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
        compare(a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null), &place, deep, all);
    }
}
