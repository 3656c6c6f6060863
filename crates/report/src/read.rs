//! A finished folder, read again: what was found and every table, without a weight and without judging.

use std::fs;
use std::path::Path;

use super::folder::EVIDENCE;
use super::timeline::{self, Timeline};
use super::{Report, SCHEMA};
use scratchproof_error::json::fits;
use scratchproof_error::{Context, Error, Result};
use scratchproof_evidence::Evidence;
use scratchproof_texts::text;

/// A report is some MB at most; one that is longer is none.
pub const LONGEST: u64 = 64 << 20;

/// What a folder holds.
#[derive(Debug)]
pub enum Finished {
    /// Of an audit.
    Audit(Box<Report>, Box<Evidence>),
    /// Of the record alone.
    Timeline(Box<Timeline>, Box<Evidence>),
}

/// Reads a folder that an audit or a timeline left behind.
///
/// # Errors
/// If there is no report in it, or one that this version cannot read.
pub fn read(dir: &Path) -> Result<Finished> {
    let place = || dir.join("report.json").display().to_string().escape_debug().to_string();
    let path = dir.join("report.json");
    let about =
        fs::metadata(&path).map_err(|cause| Error::io(text!("error-report/read/finished", place = place()), cause))?;
    if !about.is_file() || about.len() > LONGEST {
        return Err(Error::input(text!("error-report/read/no-report", place = place())));
    }
    let text = fs::read_to_string(&path).map_err(|cause| Error::io(place(), cause))?;
    fits(text.as_bytes()).context(place)?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|cause| Error::input(format!("{}: {cause}", place())))?;
    let evidence = || Evidence::read(&dir.join(EVIDENCE)).map(Box::new);
    let schema = value.get("schema").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let damaged = |cause: serde_json::Error| Error::input(cause.to_string());
    match schema.as_str() {
        SCHEMA => {
            let report: Report = serde_json::from_value(value).map_err(damaged).context(place)?;
            Ok(Finished::Audit(Box::new(report.answered()), evidence()?))
        }
        timeline::SCHEMA => {
            let mut found: Timeline = serde_json::from_value(value).map_err(damaged).context(place)?;
            let evidence = evidence()?;
            found.all.clone_from(&evidence.timeline);
            Ok(Finished::Timeline(Box::new(found), evidence))
        }
        other => Err(Error::input(text!(
            "error-report/read/schema-version-reads",
            place = place(),
            other = other.escape_debug().to_string(),
            schema = SCHEMA,
            schema_2 = timeline::SCHEMA
        ))),
    }
}
