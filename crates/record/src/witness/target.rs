//! What a proof may be over.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What a proof covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A commit, by its full id.
    Commit(String),
    /// A tag.
    Tag {
        /// Its name.
        name: String,
        /// Full id of the commit it is at, where that was seen.
        commit: Option<String>,
    },
    /// A checkpoint, by its step; `file` is not given where all its files are covered.
    Checkpoint {
        /// Its step; 0 for a single model.
        step: i64,
        /// The one file that is covered.
        file: Option<String>,
    },
    /// A file that the case names.
    File(String),
    /// A repository on a hub or a forge, in words.
    Repository(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(id) => write!(f, "commit {}", id.get(..12).unwrap_or(id)),
            Self::Tag { name, .. } => write!(f, "tag {name}"),
            Self::Checkpoint { step, file: None } => write!(f, "checkpoint of step {step}"),
            Self::Checkpoint { step, file: Some(file) } => write!(f, "{file} of the checkpoint of step {step}"),
            Self::File(name) => write!(f, "file {name}"),
            Self::Repository(words) => f.write_str(words),
        }
    }
}

/// A file of a checkpoint.
#[derive(Clone, Debug)]
pub struct TargetFile {
    /// Its name inside the checkpoint.
    pub name: String,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// A checkpoint.
#[derive(Clone, Debug)]
pub struct TargetCheckpoint {
    /// Its step; 0 for a single model.
    pub step: i64,
    /// Its digest as the report lists it under `inputs`.
    pub manifest: String,
    /// Its files.
    pub files: Vec<TargetFile>,
}

/// Everything in a case that a proof may be over.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// The repository.
    pub repository: Option<PathBuf>,
    /// Commits that are to be looked up even where no reference leads to them.
    pub commits: Vec<String>,
    /// The checkpoints.
    pub checkpoints: Vec<TargetCheckpoint>,
    /// Time that reading one object may take.
    pub patience: Option<Duration>,
}
