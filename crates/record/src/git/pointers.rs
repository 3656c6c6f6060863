//! Pointers of Git LFS: a commit that holds one holds the digest and the length of a file that lies elsewhere.
//!
//! The form is that of `docs/spec.md` of git-lfs: lines of a key and a value, `version` first, then in the order of the
//! alphabet; at most 1,024 bytes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::changes::{Change, Contents};
use super::{Repository, short};
use crate::dated::{Covered, Existed};
use crate::releases::{Interval, Trust};
use crate::witness::Targets;

/// A longer file is no pointer.
pub const POINTER: usize = 1024;
/// Pointers kept.
const KEPT: usize = 200_000;

/// The file that a pointer is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointed {
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Length.
    pub bytes: u64,
}

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

/// Reads a pointer; nothing if it is none.
pub fn pointer(text: &[u8]) -> Option<Pointed> {
    let text = std::str::from_utf8(text).ok()?;
    let mut lines = text.lines();
    let version = lines.next()?.strip_prefix("version ")?;
    // The name before 2014 was another.
    if !["https://git-lfs.github.com/spec/", "https://hawser.github.com/spec/", "http://git-media.io/v/"]
        .iter()
        .any(|known| version.starts_with(known))
    {
        return None;
    }
    let (mut sha256, mut bytes) = (None, None);
    for line in lines {
        match line.split_once(' ')? {
            ("oid", value) => {
                let hex = value.strip_prefix("sha256:")?;
                let whole = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
                sha256 = Some(hex.to_ascii_lowercase()).filter(|_| whole);
            }
            ("size", value) => bytes = value.trim().parse().ok(),
            _ => {}
        }
    }
    Some(Pointed { sha256: sha256?, bytes: bytes? })
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

impl Repository {
    /// Checkpoints that the history holds by their digests: all files of weights of one, which were there by the last of the
    /// first commits that name them. A commit's date is whoever made it's own.
    pub fn held(&self, targets: &Targets) -> Vec<Existed> {
        let named = |sha256: &str| {
            self.pointers.iter().filter(|pointer| pointer.sha256.eq_ignore_ascii_case(sha256)).min_by_key(|p| p.at)
        };
        let weights = |name: &str| {
            let name = name.to_ascii_lowercase();
            [".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".distcp"].iter().any(|end| name.ends_with(end))
        };
        let held = |checkpoint: &crate::witness::TargetCheckpoint| {
            let files: Vec<_> = checkpoint.files.iter().filter(|file| weights(&file.name)).collect();
            let found: Option<Vec<&Pointer>> = files.iter().map(|file| named(&file.sha256)).collect();
            let last = found?.into_iter().max_by_key(|pointer| pointer.at)?;
            Some(Existed {
                what: Covered::Checkpoint(checkpoint.step),
                by: Interval { earliest: last.at, latest: last.at },
                trust: Trust::SelfAsserted,
                source: format!("the Git LFS pointer in commit {}", short(&last.commit)),
            })
        };
        targets.checkpoints.iter().filter_map(held).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Pointed, pointer};
    use crate::git::testing::Made;
    use crate::witness::{TargetCheckpoint, TargetFile, Targets};
    use crate::{Covered, Trust};

    fn of(digit: char, bytes: u64) -> String {
        let hex: String = std::iter::repeat_n(digit, 64).collect();
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{hex}\nsize {bytes}\n")
    }

    #[test]
    fn pointers_are_read_and_what_is_none_is_not() {
        let hex: String = std::iter::repeat_n('a', 64).collect();
        assert_eq!(pointer(of('A', 5).as_bytes()), Some(Pointed { sha256: hex, bytes: 5 }));
        let extended = of('b', 7).replace("oid", "ext-0-x sha256:00\noid").replace('\n', "\r\n");
        assert_eq!(pointer(extended.as_bytes()).map(|p| p.bytes), Some(7));
        for text in
            ["", "version 1", "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", "\u{0}\u{1}"]
        {
            assert_eq!(pointer(text.as_bytes()), None, "{text}");
        }
        assert_eq!(pointer(of('c', 1).replace("size 1", "size x").as_bytes()), None);
    }

    /// Two shards that come in two commits; the last of them dates the checkpoint, and a later copy does not.
    #[test]
    fn a_checkpoint_was_there_when_the_last_of_its_files_was_named() {
        let made = Made::new();
        made.commit(0, &[("a", "0")]);
        made.commit(5, &[("step-10/model-1.safetensors", &of('1', 100)), ("step-10/config.json", "{}")]);
        made.commit(7, &[("step-10/model-2.safetensors", &of('2', 100))]);
        made.commit(90, &[("final/model-1.safetensors", &of('1', 100)), ("final/model-2.safetensors", &of('2', 100))]);
        let repository = made.read();
        assert_eq!(repository.pointers.len(), 4);
        let file = |name: &str, digit: char| TargetFile {
            name: name.into(),
            sha256: std::iter::repeat_n(digit, 64).collect(),
        };
        let checkpoint = |step, files| TargetCheckpoint { step, manifest: String::new(), files };
        let targets = Targets {
            checkpoints: vec![
                checkpoint(
                    10,
                    vec![file("m-1.safetensors", '1'), file("m-2.safetensors", '2'), file("config.json", '9')],
                ),
                checkpoint(20, vec![file("m-1.safetensors", '1'), file("m-2.safetensors", '3')]),
                checkpoint(30, vec![file("config.json", '1')]),
            ],
            ..Targets::default()
        };
        let held = repository.held(&targets);
        assert_eq!(held.len(), 1, "{held:?}");
        let second = repository.pointers.iter().find(|p| p.path.ends_with("step-10/model-2.safetensors")).unwrap();
        assert_eq!((&held[0].what, held[0].by.latest), (&Covered::Checkpoint(10), second.at));
        assert_eq!(held[0].trust, Trust::SelfAsserted);
    }
}
