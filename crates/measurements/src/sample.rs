//! What was drawn of the models, where not all of their rows were read.

use serde::{Deserialize, Serialize};

use super::FileDigest;
use scratchproof_case::Sampling;

/// The share of the rows that was read, the same of every model, and how much that is of all models together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleRecord {
    /// Share and seed.
    pub sampling: Sampling,
    /// Tensors of the final checkpoint of which some rows were read, ...
    pub tensors: u64,
    /// ... their rows, read and all.
    pub rows: (u64, u64),
    /// Whether there are whole heads among them.
    #[serde(default)]
    pub heads: bool,
    /// Bytes of the tensors of all models, read and all.
    pub bytes: (u64, u64),
    /// By model, of each of its files the digest of the bytes that were read, one after the other: no digest of a file.
    pub drawn: Vec<Vec<FileDigest>>,
}
