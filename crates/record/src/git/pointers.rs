//! The pointers of Git LFS in a history, the first commit of each.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::Repository;
use super::changes::{Change, Contents};

/// Pointers kept.
const KEPT: usize = 200_000;

/// A file that Git LFS holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Where it lies in the repository.
    pub path: String,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Length.
    pub bytes: u64,
    /// The first commit that has it, by committer time.
    pub commit: String,
    /// That commit's committer time.
    pub at: DateTime<Utc>,
}

/// Gathers the pointers of all commits, the first commit of each.
pub fn collect(facts: &mut Repository, changes: &[Vec<Change>], contents: &Contents) {
    let mut first: BTreeMap<(String, String), Pointer> = BTreeMap::new();
    // Commits stand in the order of their time.
    for (commit, changes) in facts.commits.iter().zip(changes) {
        for change in changes {
            let Some(pointed) = contents.of(change).and_then(|content| content.pointer.as_ref()) else { continue };
            if first.len() >= KEPT {
                break;
            }
            first.entry((pointed.sha256.clone(), change.path.clone())).or_insert_with(|| Pointer {
                path: change.path.clone(),
                sha256: pointed.sha256.clone(),
                bytes: pointed.bytes,
                commit: commit.id.clone(),
                at: commit.committer.at,
            });
        }
    }
    facts.pointers = first.into_values().collect();
}
