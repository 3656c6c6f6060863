//! Files that the tracker kept, by their digests, against the files of the checkpoints.

use super::{Code, Direction, Grade, Judgement, TimeFacts, called, finding};
use scratchproof_record::{LoggedFile, Run, Trust};
use scratchproof_texts::{Text, text};

/// A file of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointFile {
    /// Training step, if the checkpoint has one.
    pub step: Option<i64>,
    /// Name in the checkpoint's folder.
    pub name: String,
    /// Length.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// MD5, hexadecimal, where a logged file of this length asked for it.
    pub md5: Option<String>,
}

/// Whether a logged file may be this one: the same length and the same last part of the name.
#[must_use]
pub fn alike(logged: &LoggedFile, name: &str, bytes: u64) -> bool {
    let last = |name: &str| name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    logged.bytes == Some(bytes) && last(&logged.name) == last(name)
}

/// Holds the digests of a run's files against those of the checkpoints.
pub fn judge(to: &mut Judgement, facts: &TimeFacts<'_>, run: &Run) {
    let mut equal: Vec<(&CheckpointFile, &LoggedFile)> = Vec::new();
    let mut other: Vec<(&CheckpointFile, &LoggedFile)> = Vec::new();
    for file in facts.files {
        // What the run took in was there before it.
        let own = |logged: &&LoggedFile| !logged.artifact.as_ref().is_some_and(|artifact| run.used.contains(artifact));
        let alike = |logged: &&LoggedFile| alike(logged, &file.name, file.bytes);
        let like: Vec<&LoggedFile> = run.files.iter().filter(own).filter(alike).collect();
        if let Some(same) = like.iter().find(|logged| same(logged, file) == Some(true)) {
            equal.push((file, same));
        } else if let Some(last) = like.iter().rev().find(|logged| names_step(logged, file.step)) {
            // Another checkpoint's file is alike too; only one of the same step asks a question.
            if same(last, file) == Some(false) {
                other.push((file, last));
            }
        }
    }
    let place = |file: &CheckpointFile| text!("time/artifacts/file", name = file.name.as_str(), step = file.step);
    if let Some((file, logged)) = equal.first() {
        let message = text!(
            "time/artifacts/equal",
            run = called(run),
            count = equal.len(),
            file = place(file),
            kept = logged.artifact.as_deref().unwrap_or(&logged.name)
        );
        // A log that its owner keeps may be given any digest.
        let kept = |(_, logged): &(_, &LoggedFile)| logged.at.as_ref().is_some_and(|at| at.trust >= Trust::Platform);
        let grade = if equal.iter().any(kept) { Grade::Strong } else { Grade::Moderate };
        push(to, grade, Direction::For, message, &equal, facts.files.len());
    }
    if let Some((file, logged)) = other.first() {
        let message = text!(
            "time/artifacts/other",
            run = called(run),
            count = other.len(),
            file = place(file),
            kept = logged.artifact.as_deref().unwrap_or(&logged.name)
        );
        push(to, Grade::Moderate, Direction::Against, message, &other, facts.files.len());
    }
}

fn push(
    to: &mut Judgement,
    grade: Grade,
    direction: Direction,
    message: Text,
    files: &[(&CheckpointFile, &LoggedFile)],
    n: usize,
) {
    let mut finding = finding(Code::TimeArtifacts, grade, direction, message);
    finding.statistic = Some(files.len() as f64);
    finding.n = Some(n as u64);
    finding.subject.steps = files.iter().filter_map(|(file, _)| file.step).take(16).collect();
    finding.null = text!("time/artifacts/null");
    to.push(finding);
}

/// Whether the digests are equal; `None` where there are none of one kind.
fn same(logged: &LoggedFile, file: &CheckpointFile) -> Option<bool> {
    let hex = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    let sha = logged.sha256.as_deref().filter(|d| !d.is_empty()).map(|digest| hex(digest, &file.sha256));
    sha.or_else(|| Some(hex(logged.md5.as_deref()?, file.md5.as_deref()?)))
}

/// Whether a logged file's path or artifact names this step as a number of its own.
fn names_step(logged: &LoggedFile, step: Option<i64>) -> bool {
    let Some(step) = step.map(|step| step.to_string()) else { return false };
    let numbers = |text: &str| text.split(|c: char| !c.is_ascii_digit()).any(|part| part == step);
    numbers(&logged.name)
        || logged.artifact.as_deref().is_some_and(|artifact| {
            // The version after the colon counts uploads, not steps.
            numbers(artifact.split(':').next().unwrap_or(artifact))
        })
}
