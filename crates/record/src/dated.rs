//! What a reader hands on as dated: something that happened, something that existed by a time.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::releases::{Interval, Trust};

/// One row of `evidence/timeline.parquet`: something happened at `at`, or at some time between `at` and `until`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Event {
    pub at: DateTime<Utc>,
    pub until: Option<DateTime<Utc>>,
    /// What happened, in words.
    pub what: String,
    /// What says so: a log, a repository, a page.
    pub source: String,
    pub grade: Trust,
    /// Whether it is one of many: a commit that nothing else in the record speaks of.
    pub minor: bool,
}

/// Something that is known to have existed by a time because somebody outside stamped it or holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existed {
    /// What.
    pub what: Covered,
    /// By when: its latest end is what counts. The earliest end is when it was stamped or stored.
    pub by: Interval,
    /// Who vouches for it.
    pub trust: Trust,
    /// Where it is said.
    pub source: String,
}

/// What a witness ledger says of the checkpoints of a case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledgered {
    /// The ledger as the case names it.
    pub source: String,
    /// Entries that could be read.
    pub entries: usize,
    /// Whether its last entry closes it.
    pub closed: bool,
    /// The first thing that is wrong with it, in words.
    pub broken: Option<String>,
    /// Steps of the checkpoints that it fixed as they are.
    pub fixed: Vec<i64>,
    /// Steps of the checkpoints of which it fixed other bytes.
    pub other: Vec<i64>,
    /// Steps of the checkpoints that it does not know.
    pub lacking: Vec<i64>,
    /// Steps that it fixed after a later one.
    pub late: Vec<i64>,
    /// When its first entry was written, by its own clock.
    pub first: Option<DateTime<Utc>>,
    /// When its last entry was.
    pub last: Option<DateTime<Utc>>,
    /// Who stamped it, if somebody outside did.
    pub stamped: Option<String>,
}

/// Losses that were recomputed, and whether of the checkpoints of a case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recomputed {
    /// The table as the case names it.
    pub source: String,
    /// Why it could not be read.
    pub unreadable: Option<String>,
    /// The rows that are of the case's own weights.
    pub rows: Vec<super::Loss>,
    /// Steps of rows that were computed with other weights than the case has, or of no checkpoint of it.
    pub other: Vec<i64>,
}

/// What a witness covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Covered {
    /// The checkpoint of a step.
    Checkpoint(i64),
    /// A commit, by its full id.
    Commit(String),
}
