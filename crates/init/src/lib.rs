//! A case file from what lies in a folder: checkpoints of any form that is read, run logs, a repository, the recipe of an
//! initialisation, models that are called parents and controls.
//!
//! What is found is opened before it is named, so that an audit of the file runs without a line edited. What cannot be
//! known from a folder (which models may be parents, which are unrelated) is asked for in comments.

mod names;
mod walk;
mod write;

use std::path::Path;

use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

pub use write::write;

/// What a folder holds. Paths are relative to it, parts joined by `/`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The folder's own name.
    pub name: String,
    /// The checkpoints of the training, by ascending step; the longest of several series.
    pub series: Vec<Saved>,
    /// The pattern that matches exactly these, if there is one.
    pub pattern: Option<String>,
    /// Checkpoints without a step that are no parent and no control: the subject if there is no series.
    pub models: Vec<String>,
    /// Other series, each as a pattern or its first checkpoint.
    pub other_series: Vec<String>,
    /// Folders whose name begins with `parent` or `base`.
    pub parents: Vec<String>,
    /// Folders whose name begins with `control`.
    pub controls: Vec<String>,
    /// Run logs, each as a run of a case file names it.
    pub runs: Vec<String>,
    /// Git repositories.
    pub repositories: Vec<String>,
    /// A repository that the folder is inside of, as a path from the folder.
    pub around: Option<String>,
    /// The recipe of the initialisation.
    pub recipe: Option<String>,
    /// The ledger that was kept during the training.
    pub ledger: Option<String>,
    /// Losses that were recomputed from the checkpoints.
    pub loss: Option<String>,
    /// Time stamps and proofs of them.
    pub proofs: Vec<String>,
    /// What looks like a checkpoint and cannot be opened, with the reason.
    pub broken: Vec<(String, String)>,
    /// Whether there was more in the folder than is looked at.
    pub cut: bool,
}

/// One checkpoint of a series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Saved {
    /// Its step.
    pub step: i64,
    /// Where it is.
    pub path: String,
}

/// Looks through a folder.
///
/// # Errors
/// If it is no folder or cannot be read, or if there is no checkpoint in it.
pub fn look(folder: &Path) -> Result<Found> {
    let shown = folder.display().to_string();
    let about = std::fs::metadata(folder).map_err(|e| Error::io(&shown, e))?;
    if !about.is_dir() {
        return Err(Error::usage(text!("error-init/room/no-folder-init-writes", shown)));
    }
    let full = std::path::absolute(folder).map_err(|e| Error::io(&shown, e))?;
    let mut found = walk::walk(folder);
    // The last part that is a name, whatever way the folder was given.
    let canonical = full.canonicalize().unwrap_or(full);
    found.name = canonical.file_name().map_or_else(|| "case".to_owned(), |name| name.to_string_lossy().into_owned());
    found.around = walk::around(&canonical);
    if found.series.is_empty() && found.models.is_empty() {
        let broken = found.broken.first();
        let (path, why) = (broken.map(|(path, _)| path.clone()), broken.map(|(_, why)| why.clone()));
        return Err(Error::input(text!(
            "error-init/room/no-checkpoint-found-folders",
            shown,
            depth = walk::DEPTH,
            path,
            why
        )));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
