//! The report value. Terminal, JSON, Markdown and HTML each only render it; nothing is computed here.

pub mod answer;
mod chart;
pub mod compare;
pub mod docket;
pub mod explain;
pub mod folder;
mod heatmap;
pub mod html;
pub mod inspect;
pub mod json;
mod lanes;
pub mod markdown;
mod note;
pub mod number;
mod plane;
pub mod profile;
pub mod read;
mod said;
#[doc(hidden)]
pub mod sample;
mod scene;
mod seal;
pub mod series;
mod svg;
pub mod terminal;
#[cfg(test)]
mod tests;
pub mod text;
pub mod timeline;
mod wording;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use answer::Answer;
pub use seal::{Seal, Sealed};

use scratchproof_case::Case;
use scratchproof_finding::Finding;
pub use scratchproof_finding::{ComponentOutcome, ComponentResult, Condition, Conditions, Outcome, Verdict};
use scratchproof_texts::Text;

/// Schema of `report.json`.
pub const SCHEMA: &str = "scratchproof.report/1";

/// The whole result of an audit, in the order of `report.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Report {
    pub schema: Cow<'static, str>,
    pub tool: Tool,
    pub case: CaseSummary,
    /// The verdict in a few sentences; a function of the rest.
    #[serde(default)]
    pub answer: Answer,
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
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct CaseSummary {
    pub name: String,
    pub claim: String,
    /// `sha256:` of the case file's bytes.
    pub digest: String,
    /// Name of the model in question.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Who claims it, where the case file says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimant: Option<String>,
    /// When, as the case file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Who examines it, where the case file says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auditor: Option<String>,
}

impl Report {
    /// The report with its answer.
    #[must_use]
    pub fn answered(mut self) -> Self {
        self.answer = Answer::of(&self);
        self
    }
}

impl CaseSummary {
    /// That of a case.
    #[must_use]
    pub fn of(case: &Case) -> Self {
        let stated = case.stated.clone();
        Self {
            name: case.name.clone(),
            claim: case.claim.clone(),
            digest: format!("sha256:{}", case.digest),
            subject: case.subject.name.clone(),
            claimant: stated.claimant,
            date: stated.date,
            auditor: stated.auditor,
        }
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
    /// What the tests were made of, and by which rule.
    #[serde(default)]
    pub looked: Text,
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
    Loss,
}
