//! A series as it was published: what the hub lists of it, before a byte of weight is read.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One checkpoint of a published series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishedStep {
    /// Training step, as its name says.
    pub step: i64,
    /// Tokens, where the name says them.
    pub tokens: Option<u64>,
    /// The branch, the tag or the folder.
    pub name: String,
    /// Where it is: an address at one commit.
    pub address: String,
    /// Its files that hold weights.
    pub weights: Vec<PublishedFile>,
}

/// A file of weights as the hub lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishedFile {
    /// Name in the folder.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256; small files have none.
    pub sha256: Option<String>,
    /// Another mark of the content, of stores that keep no SHA-256.
    pub mark: Option<String>,
    /// When the commit was made that it is from.
    pub at: Option<DateTime<Utc>>,
}
