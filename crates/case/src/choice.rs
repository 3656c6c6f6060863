//! What of a case is used: which steps of its series, and which share of the rows of its tensors.

use serde::{Deserialize, Serialize};

/// A share of the rows of every large tensor, drawn by a seed: the same rows of every model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Of the rows, above 0 and below 1.
    pub share: f64,
    /// What they are drawn by.
    pub seed: u64,
}

/// What somebody chose of a case when it was audited. It is kept with what was measured, so that the same is made again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// These steps of the series; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<i64>,
    /// Every so many of those that are there, the first and the last among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<usize>,
    /// Bytes that may be fetched for the whole case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<u64>,
    /// The share of the rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// Checkpoints of the series that are not used.
    #[serde(default)]
    pub left: usize,
}

impl Choice {
    /// Whether nothing was chosen: everything is used.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether what it holds can be obeyed: a share of rows is one.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.sampling.is_none_or(|sampling| sampling.share > 0.0 && sampling.share < 1.0)
    }
}
