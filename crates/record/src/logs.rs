//! Opens the record of a run in whatever form it is held: what a file is, is seen from its content.

mod join;

use std::fs;
use std::path::{Path, PathBuf};

use super::hashed::{self, entries};
use super::run::{RUNS, Run};
use super::{export, tensorboard, trainer_state, wandb};
use scratchproof_error::{Error, Result};
use scratchproof_texts::{Text, text};

pub use join::{Joined, join};

/// So deep below a folder its logs are looked for.
const DEPTH: usize = 4;

/// Reads every run that a path holds.
///
/// A path is a W&B run folder, the `wandb/` folder around several, a `.wandb` file, an export of the web page or the API
/// (CSV, JSON lines, parquet), a `TensorBoard` event file or a folder of them, a `trainer_state.json` or a folder with
/// checkpoints that have one. A folder gives everything it holds of these; one log of several that cannot be read becomes a
/// note of the first run.
///
/// # Errors
/// If the path cannot be read, or there is no log in it that can be. Damage inside a log is not an error.
pub fn open(path: &Path) -> Result<Vec<Run>> {
    let about = fs::metadata(path).map_err(|error| Error::io(path.display(), error))?;
    let mut runs = if about.is_dir() { folder(path)? } else { file(path)? };
    for run in &mut runs {
        run.source = path.display().to_string();
    }
    Ok(runs)
}

fn file(path: &Path) -> Result<Vec<Run>> {
    // Opening a FIFO would wait for somebody to write to it; `head` refuses what is no regular file.
    let head = hashed::head(path, 4096)?;
    let named = |what: Text| Error::input(what).context(path.display());
    if head.is_empty() {
        return Err(named(text!("error-record/leveldb/file-empty-so-holds")));
    }
    if head.starts_with(b":W&B") || path.extension().is_some_and(|end| end == "wandb") {
        return Ok(vec![wandb::open(path)?]);
    }
    if head.starts_with(b"PAR1") {
        return Ok(vec![export::parquet(path)?]);
    }
    for (magic, kind) in
        [(&b"\x1f\x8b"[..], "gzip"), (b"PK\x03\x04", "zip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2")]
    {
        if head.starts_with(magic) {
            return Err(named(text!("error-record/logs/packed-unpack-name-what", kind)));
        }
    }
    if tensorboard::is_log(&head) {
        return Ok(vec![tensorboard::open(&[path.to_owned()])?]);
    }
    if path.file_name().is_some_and(|name| name == "trainer_state.json") {
        return Ok(vec![trainer_state::open(path)?]);
    }
    if path.file_name().is_some_and(|name| name == "wandb-history.jsonl")
        && let Some(folder) = path.parent()
        && (wandb::is_run(folder) || folder.ends_with("files"))
    {
        return Ok(vec![wandb::open_folder(folder)?]);
    }
    export::text(path, &head)
}

fn folder(path: &Path) -> Result<Vec<Run>> {
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    gather(path, 0, &mut found, &mut failed);
    if found.is_empty() {
        if let Some(error) = failed.into_iter().next() {
            return Err(error);
        }
        return Err(Error::input(text!("error-record/logs/holds-no-run-log", path = path.display(), depth = DEPTH)));
    }
    if let Some(first) = found.first_mut() {
        first.notes.extend(failed.iter().take(20).map(|error| format!("another log was left out: {error}")));
    }
    Ok(found)
}

fn gather(path: &Path, depth: usize, runs: &mut Vec<Run>, failed: &mut Vec<Error>) {
    let all = match entries(path) {
        Ok(all) => all,
        Err(error) => return failed.push(error),
    };
    let mut keep = |run: Result<Run>| match run {
        Ok(_) if runs.len() >= RUNS => {
            failed.push(Error::input(text!("error-record/logs/more-runs-others-left", runs = RUNS)));
        }
        Ok(run) => runs.push(run),
        Err(error) => failed.push(error),
    };
    let logs: Vec<&PathBuf> =
        all.iter().filter(|path| path.extension().is_some_and(|e| e == "wandb") && path.is_file()).collect();
    for log in &logs {
        keep(wandb::open(log));
    }
    if logs.is_empty() && wandb::has_history(path) {
        keep(wandb::open_folder(path));
    }
    let events: Vec<PathBuf> =
        all.iter().filter(|path| tensorboard::is_named(path) && path.is_file()).cloned().collect();
    if !events.is_empty() {
        keep(tensorboard::open(&events));
    }
    let state = |folder: &Path| Some(folder.join("trainer_state.json")).filter(|state| state.is_file());
    if let Some(state) = state(path) {
        keep(trainer_state::open(&state));
    } else {
        let states: Vec<PathBuf> = all.iter().filter(|path| real_folder(path)).filter_map(|path| state(path)).collect();
        if !states.is_empty() {
            keep(trainer_state::open_series(&states));
        }
    }
    if depth < DEPTH {
        for inner in all.iter().filter(|path| real_folder(path)) {
            // A checkpoint's own state is in the series already; its `files` belong to a run.
            if state(inner).is_none() && !inner.ends_with("files") {
                gather(inner, depth + 1, runs, failed);
            }
        }
    }
}

/// A folder that is no link: `latest-run` is one to a run that is there by its own name, and links can make a circle.
fn real_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|about| about.is_dir())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
