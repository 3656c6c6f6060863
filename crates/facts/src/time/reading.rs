//! The record of a case as it was read.

use std::collections::BTreeSet;

use scratchproof_finding::time::Listed;
use scratchproof_record::{Existed, Release, Run, Witnessed};
use scratchproof_timeline::Record;

/// What was read of the record.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Runs, repository and the dated facts in their order.
    pub record: Record,
    /// By parent, the date that counts.
    pub releases: Vec<(String, Option<Release>)>,
    /// Why the repository could not be read.
    pub unreadable: Option<String>,
    /// What outside witnesses say; they are read when the checkpoints' digests are known.
    pub witnesses: Vec<Witnessed>,
    /// What the ledger of the training says.
    pub ledger: Option<scratchproof_record::Ledgered>,
    /// Losses that were recomputed, and of which checkpoints.
    pub losses: Option<scratchproof_record::Recomputed>,
    /// Checkpoints that the history of the repository holds by their digests.
    pub held: Vec<Existed>,
    /// The dates of every parent, the one that is used and the others.
    pub listed: Vec<Listed>,
    /// Ids in the register of the parents and controls that the case names.
    pub proposed: BTreeSet<String>,
    /// Runs that go on from each other, put together.
    pub joined: Vec<Run>,
}

impl Reading {
    /// The trainings: runs that go on from each other as one, then every run by itself.
    pub fn trainings(&self) -> impl Iterator<Item = &Run> {
        self.joined.iter().chain(&self.record.runs)
    }

    /// Parents that were public before the first run began, by that run's own clock: a date that the audited party gives
    /// against its own interest.
    #[must_use]
    pub fn earlier(&self) -> Vec<String> {
        let Some(start) = self.record.runs.iter().filter_map(|run| run.started_at).min() else { return Vec::new() };
        let before = |(_, release): &&(String, Option<Release>)| release.as_ref().is_some_and(|r| r.at.latest < start);
        self.releases.iter().filter(before).map(|(parent, _)| parent.clone()).collect()
    }
}
