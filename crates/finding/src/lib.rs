//! What was found, how strong it is, and the verdict: a pure function of findings and policy.

pub mod chain;
mod code;
mod ground;
pub mod parent;
pub mod power;
pub mod published;
pub mod start;
pub mod time;
mod verdict;

use scratchproof_texts::Text;
use serde::{Deserialize, Serialize};

pub use code::Code;
pub use ground::{Ground, Tie};
pub use power::Power;
pub use verdict::{
    ComponentOutcome, ComponentResult, Condition, Conditions, Heard, Judgement, Outcome, Said, Verdict, decide,
};

/// How much a finding weighs (METHODS: from figures to findings).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Reported, never counted.
    Context,
    /// Everything that only fits.
    Weak,
    /// Significant, but small or not beyond doubt.
    Moderate,
    /// Two of different kinds refute.
    Strong,
    /// One refutes.
    Conclusive,
}

/// Which way a finding points, seen from the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Direction {
    Against,
    For,
    Neutral,
}

/// What a finding is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Subject {
    pub component: Option<String>,
    pub layer: Option<u32>,
    pub tensor: Option<String>,
    pub steps: Vec<i64>,
    pub parent: Option<String>,
}

/// One thing that was found, with the figure, the null it was held against and the place of the evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// `F001`, in the order of the report.
    pub id: String,
    /// What kind of finding.
    pub code: Code,
    /// How much it weighs.
    pub grade: Grade,
    /// Which way it points.
    pub direction: Direction,
    /// What it is about.
    pub subject: Subject,
    /// The figure.
    pub statistic: Option<f64>,
    /// log10 of its probability under the null, after multiplicity; `None` where the figure has no null.
    pub log10_p: Option<f64>,
    /// How large, on a scale that does not grow with the number of elements.
    pub effect: Option<f64>,
    /// How many observations.
    pub n: Option<u64>,
    /// The null it was held against. In JSON the English sentence, and beside it `null_text` with key and parameters.
    #[serde(flatten, with = "scratchproof_texts::null")]
    pub null: Text,
    /// One or two plain sentences with the figures. In JSON the English ones, and beside them `text` with key and
    /// parameters, from which those of another language are made.
    #[serde(flatten, with = "scratchproof_texts::message")]
    pub message: Text,
    /// File of the evidence folder that holds the figures.
    pub evidence: Option<String>,
}

impl Finding {
    /// A finding with no figure yet; ids are given when the report is put together.
    #[must_use]
    pub fn new(code: Code, grade: Grade, direction: Direction, message: impl Into<Text>) -> Self {
        Self {
            id: String::new(),
            code,
            grade,
            direction,
            subject: Subject::default(),
            statistic: None,
            log10_p: None,
            effect: None,
            n: None,
            null: Text::default(),
            message: message.into(),
            evidence: None,
        }
    }
}
