//! The report value. Terminal, JSON, Markdown and HTML each only render it; nothing is computed here.

mod chart;
pub mod compare;
pub mod folder;
mod heatmap;
pub mod html;
pub mod inspect;
pub mod json;
mod lanes;
pub mod markdown;
pub mod number;
mod plane;
pub mod read;
#[doc(hidden)]
pub mod sample;
mod scene;
mod seal;
mod svg;
pub mod terminal;
#[cfg(test)]
mod tests;
pub mod text;
pub mod timeline;
mod wording;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use seal::{Seal, Sealed};

use scratchproof_case::Case;
use scratchproof_finding::Finding;
pub use scratchproof_finding::{ComponentOutcome, ComponentResult, Condition, Conditions, Outcome, Verdict};

/// Schema of `report.json`.
pub const SCHEMA: &str = "scratchproof.report/1";

/// The whole result of an audit, in the order of `report.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Report {
    pub schema: Cow<'static, str>,
    pub tool: Tool,
    pub case: CaseSummary,
    pub verdict: Verdict,
    pub components: Vec<ComponentResult>,
    pub findings: Vec<Finding>,
    pub coverage: Coverage,
    pub inputs: Vec<Input>,
    pub policy: serde_json::Value,
    /// What it rests on, once its folder is written; null without one.
    pub seal: Option<Seal>,
}

/// Which tool wrote the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Tool {
    pub name: Cow<'static, str>,
    pub version: Cow<'static, str>,
}

impl Tool {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        Self { name: "scratchproof".into(), version: env!("CARGO_PKG_VERSION").into() }
    }
}

/// Which case it is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct CaseSummary {
    pub name: String,
    pub claim: String,
    /// `sha256:` of the case file's bytes.
    pub digest: String,
}

impl CaseSummary {
    /// That of a case.
    #[must_use]
    pub fn of(case: &Case) -> Self {
        Self { name: case.name.clone(), claim: case.claim.clone(), digest: format!("sha256:{}", case.digest) }
    }
}

/// How much of the material was looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Coverage {
    pub tensors: u64,
    pub compared: u64,
    pub skipped: Vec<Skipped>,
    pub bytes_read: u64,
}

/// Something that was not compared, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Skipped {
    pub tensor: String,
    pub why: String,
}

/// One thing the audit read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Input {
    pub role: InputRole,
    pub name: String,
    pub uri: String,
    pub sha256: String,
    pub bytes: u64,
}

/// What an input was given as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum InputRole {
    Checkpoint,
    Parent,
    Control,
    Run,
    Repository,
    Witness,
    Root,
    Headers,
    Stamped,
    Signers,
    Ledger,
}
