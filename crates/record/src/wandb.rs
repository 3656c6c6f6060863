//! Reads a W&B run from the `.wandb` file the SDK writes beside the training, offline or online, and from the files
//! around it.

pub(super) mod config;
mod folder;
mod mirror;
mod proto;
pub(super) mod records;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::hashed::{self, Hashed, entries};
use super::leveldb::Reader;
use super::run::{Form, Run};
use scratchproof_error::{Context, Error, Result};
use scratchproof_texts::{Text, text};

pub(super) use folder::{accelerators, is_run};

/// Reads a run from a `.wandb` file, a run's folder (`run-*`, `offline-run-*`), or a folder that holds one such file.
///
/// # Errors
/// If there is no such file or more than one, or it cannot be read, or is not a W&B log. Damage inside it is not an
/// error.
pub fn open(path: &Path) -> Result<Run> {
    let file = locate(path)?;
    let place = || file.display().to_string();
    let mut run = read(hashed::open(&file)?).context(place)?;
    run.source = path.display().to_string();
    folder::complete(&mut run, &file);
    Ok(run)
}

/// Reads a run from the bytes of a `.wandb` file.
///
/// # Errors
/// If the bytes cannot be read or are not a W&B log.
pub fn read(input: impl Read) -> Result<Run> {
    let mut hashed = Hashed::new(input);
    let mut taker = records::Taker::new();
    let (damage, damaged, tail);
    {
        let mut reader = Reader::new(&mut hashed)?;
        while let Some((offset, bytes)) = reader.next_record()? {
            if taker.take(bytes).is_none() {
                reader.report(offset, "a whole record that is no W&B record");
            }
        }
        (damage, damaged, tail) = (reader.damage().to_vec(), reader.damaged(), reader.tail());
    }
    let mut run = Run { damage, damaged, tail, ..taker.finish() };
    hashed.sign(&mut run)?;
    Ok(run)
}

/// Reads the folder of a run that has no `.wandb` file: SDKs before 0.10 wrote `wandb-history.jsonl` instead.
///
/// # Errors
/// If it has no history, or that cannot be read.
pub fn open_folder(path: &Path) -> Result<Run> {
    let history = folder::history(path)
        .ok_or_else(|| Error::input(text!("error-record/wandb/holds-no-wandb-history", path = path.display())))?;
    let mut run = super::export::lines(&history)?;
    run.form = Form::Folder;
    run.source = path.display().to_string();
    folder::complete(&mut run, &history);
    Ok(run)
}

/// Whether a folder is the folder of a run without its `.wandb` file.
pub(super) fn has_history(path: &Path) -> bool {
    folder::history(path).is_some()
}

/// The log's file, wherever in its folder it is.
fn locate(path: &Path) -> Result<PathBuf> {
    let named = |what: Text| Error::input(what).context(path.display());
    let about = fs::metadata(path).map_err(|error| Error::io(path.display(), error))?;
    if !about.is_dir() {
        return Ok(path.to_owned());
    }
    let mut logs = logs_in(path)?;
    if logs.is_empty() {
        // `wandb/` itself, with one run's folder in it.
        for entry in entries(path)? {
            // `latest-run` is a link to one of the others.
            if is_run(&entry) && entry.is_dir() {
                logs.extend(logs_in(&entry)?);
            }
        }
    }
    match logs.len() {
        1 => Ok(logs.remove(0)),
        0 => Err(named(text!("error-record/wandb/holds-no-wandb-file"))),
        n => Err(named(text!("error-record/wandb/holds-wandb-files-name", n))),
    }
}

/// The `.wandb` files of a folder.
pub(super) fn logs_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_log = |path: &PathBuf| path.extension().is_some_and(|e| e == "wandb") && path.is_file();
    Ok(entries(folder)?.into_iter().filter(is_log).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
