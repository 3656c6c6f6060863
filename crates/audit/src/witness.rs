//! What the outside witnesses of a case may be over.

use std::collections::BTreeSet;

use scratchproof_case::{Case, Over};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_facts::Reading;
use scratchproof_measure::digests;
use scratchproof_measurements::{FileDigest, manifest};
use scratchproof_record::witness::{TargetCheckpoint, TargetFile, Targets};
use scratchproof_source::Access;

use super::models;

/// The repository, the commits that runs name, and the checkpoints of `steps` with the digests of their files (of more
/// models there may be digests after them).
pub(super) fn targets(case: &Case, record: &Reading, steps: &[i64], digests: &[Vec<FileDigest>]) -> Targets {
    let file = |file: &FileDigest| TargetFile { name: file.name.clone(), sha256: file.sha256.clone() };
    let checkpoint = |(step, files): (&i64, &Vec<FileDigest>)| TargetCheckpoint {
        step: *step,
        manifest: manifest(files),
        files: files.iter().map(file).collect(),
    };
    Targets {
        repository: case.repository.as_ref().map(|repository| repository.location.path.clone()),
        commits: record.record.runs.iter().filter_map(|run| run.commit.clone()).collect(),
        checkpoints: steps.iter().zip(digests).map(checkpoint).collect(),
        patience: None,
    }
}

/// The same where nothing was measured: of the checkpoints only those are digested that a witness is said to be over, but
/// all if one does not say what it is over or losses were recomputed from them; and those of which the repository may hold a pointer.
pub(super) fn named(case: &Case, record: &Reading, access: Access) -> Targets {
    let overs = case.witnesses.iter().map(|witness| &witness.over);
    let all_wanted = case.loss.is_some() || overs.clone().any(Option::is_none);
    // A file of the length of one that the repository names by its digest may be that one.
    let pointers = record.record.repository.as_ref().map_or(&[][..], |repository| &repository.pointers);
    let lengths: BTreeSet<u64> = pointers.iter().map(|pointer| pointer.bytes).collect();
    let wanted = |step: i64| all_wanted || overs.clone().any(|over| *over == Some(Over::Checkpoint(step)));
    let (mut steps, mut all) = (Vec::new(), Vec::new());
    for entry in &case.subject.checkpoints {
        let step = entry.step.unwrap_or(0);
        if !wanted(step) && lengths.is_empty() {
            continue;
        }
        // What cannot be read is not found, and the witness says so.
        let opened: Option<Checkpoint> =
            models::open_at(&entry.location, format!("checkpoint of step {step}"), access).ok();
        let pointed = |one: &Checkpoint| one.shards.iter().any(|shard| lengths.contains(&shard.blob.len()));
        let opened = opened.filter(|one| wanted(step) || pointed(one));
        if let Some(mut files) = opened.and_then(|checkpoint| digests(&[&checkpoint]).ok()) {
            steps.push(step);
            all.append(&mut files);
        }
    }
    targets(case, record, &steps, &all)
}
