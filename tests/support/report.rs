//! `report.json` as the contract has it, in types of the tests' own: a key that is not in them, or is missing, is an
//! error.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Deserializer};

/// A key that must be there, though its value may be null.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub schema: String,
    pub tool: Tool,
    pub case: Case,
    pub answer: Answer,
    pub verdict: Verdict,
    pub components: Vec<Component>,
    pub findings: Vec<Finding>,
    pub coverage: Coverage,
    pub inputs: Vec<Input>,
    pub policy: serde_json::Map<String, serde_json::Value>,
    #[serde(deserialize_with = "present")]
    pub seal: Option<Seal>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    pub root: String,
    pub case: String,
    pub files: Vec<Sealed>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
pub struct Sealed {
    pub name: String,
    pub sha256: String,
    pub bytes: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    pub name: String,
    pub version: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    pub claim: String,
    pub digest: String,
    pub subject: Option<String>,
    pub claimant: Option<String>,
    pub date: Option<String>,
    pub auditor: Option<String>,
}

/// The verdict in a few sentences.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
pub struct Answer {
    pub message: String,
    pub text: Text,
    pub sure: Told,
    pub accused: Vec<String>,
    pub rests: Vec<Rests>,
    pub limits: Vec<Told>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
pub struct Told {
    pub message: String,
    pub text: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
pub struct Rests {
    pub condition: String,
    pub state: Condition,
    pub message: String,
    pub text: Text,
}

/// What a sentence is made from, in any language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    pub key: String,
    pub params: serde_json::Map<String, serde_json::Value>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Confirmed,
    Refuted,
    Inconclusive,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    pub outcome: Outcome,
    pub against: Vec<String>,
    pub conditions: Conditions,
    pub power: Power,
    pub reasons: Vec<String>,
    pub missing: Vec<String>,
    pub missing_texts: Vec<Text>,
    pub ground: String,
    pub ground_text: Text,
    pub said: Said,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    pub start: String,
    pub start_text: Text,
    pub chain: String,
    pub chain_text: Text,
    pub parent: String,
    pub parent_text: Text,
    pub time: String,
    pub time_text: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Power {
    #[serde(deserialize_with = "present")]
    pub parent: Option<ParentPower>,
    #[serde(deserialize_with = "present")]
    pub chain: Option<ChainPower>,
    #[serde(deserialize_with = "present")]
    pub start: Option<StartPower>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParentPower {
    pub reached: f64,
    #[serde(deserialize_with = "present")]
    pub smallest_correlation: Option<f64>,
    pub bases: Vec<String>,
    pub stored: Vec<StoredPower>,
    pub disguised: Vec<DisguisePower>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredPower {
    pub parent: String,
    pub component: String,
    pub compared: f64,
    #[serde(deserialize_with = "present")]
    pub smallest_correlation: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisguisePower {
    pub parent: String,
    pub class: String,
    pub correlation: f64,
    pub seen_in: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainPower {
    pub untested: Vec<(i64, i64)>,
    pub intervals: Vec<Reach>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reach {
    pub steps: (i64, i64),
    pub component: String,
    #[serde(deserialize_with = "present")]
    pub smallest_share: Option<f64>,
    pub by: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartPower {
    pub reached: f64,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    Holds,
    Fails,
    Untested,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    pub start: Condition,
    pub chain: Condition,
    pub parent: Condition,
    pub time: Condition,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ComponentOutcome {
    Independent,
    Derived,
    Undetermined,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    pub name: String,
    pub outcome: ComponentOutcome,
    #[serde(deserialize_with = "present")]
    pub parent: Option<String>,
    #[serde(deserialize_with = "present")]
    pub z: Option<f64>,
    #[serde(deserialize_with = "present")]
    pub log10_p: Option<f64>,
    #[serde(deserialize_with = "present")]
    pub effect: Option<f64>,
    pub layers: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    Context,
    Weak,
    Moderate,
    Strong,
    Conclusive,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Against,
    For,
    Neutral,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    pub id: String,
    pub code: String,
    pub grade: Grade,
    pub direction: Direction,
    pub subject: Subject,
    #[serde(deserialize_with = "present")]
    pub statistic: Option<f64>,
    #[serde(deserialize_with = "present")]
    pub log10_p: Option<f64>,
    #[serde(deserialize_with = "present")]
    pub effect: Option<f64>,
    #[serde(deserialize_with = "present")]
    pub n: Option<u64>,
    pub null: String,
    pub null_text: Text,
    pub message: String,
    pub text: Text,
    #[serde(deserialize_with = "present")]
    pub evidence: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    #[serde(deserialize_with = "present")]
    pub component: Option<String>,
    #[serde(deserialize_with = "present")]
    pub layer: Option<u32>,
    #[serde(deserialize_with = "present")]
    pub tensor: Option<String>,
    pub steps: Vec<i64>,
    #[serde(deserialize_with = "present")]
    pub parent: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    pub tensors: u64,
    pub compared: u64,
    pub skipped: Vec<Skipped>,
    pub bytes_read: u64,
    pub looked: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    pub tensor: String,
    pub why: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Checkpoint,
    Parent,
    Control,
    Run,
    Repository,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    pub role: Role,
    pub name: String,
    pub uri: String,
    pub sha256: String,
    pub bytes: u64,
}

/// Reads a report.
pub fn read(path: &Path) -> Report {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

impl Report {
    /// The findings of one code.
    pub fn of(&self, code: &str) -> Vec<&Finding> {
        self.findings.iter().filter(|finding| finding.code == code).collect()
    }

    /// Whether something that is missing is said in these words.
    pub fn misses(&self, words: &str) -> bool {
        self.verdict.missing.iter().any(|missing| missing.contains(words))
    }

    /// Whether the coverage lists a tensor (or a file in brackets) for a reason in these words.
    pub fn skips(&self, tensor: &str, words: &str) -> bool {
        self.coverage.skipped.iter().any(|skipped| skipped.tensor.contains(tensor) && skipped.why.contains(words))
    }
}
