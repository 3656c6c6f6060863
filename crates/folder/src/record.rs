//! The record of what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::shown;
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// The first line of the file.
const SCHEMA: &str = "{\"schema\":\"scratchproof.folder/1\"}\n";

/// A record is short: some hundred bytes a file. One that is longer is none.
pub const LONGEST: u64 = 64 << 20;

/// Lines of a record, at most: some for every file of a folder.
pub const LINES: usize = 1 << 18;

#[derive(Debug, Serialize, Deserialize)]
struct Line<'a> {
    file: std::borrow::Cow<'a, str>,
    sha256: std::borrow::Cow<'a, str>,
}

/// What was written, by name: digests that a file may have, of this run and of earlier ones.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    file: File,
    digests: BTreeMap<String, BTreeSet<String>>,
}

impl Record {
    pub(super) fn open(path: &Path) -> Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => {
                return Err(Error::usage(text!("error-folder/record/no-plain-file-choose", path = shown(path))));
            }
            Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(Error::io(shown(path), cause)),
            _ => {}
        }
        let failed = |cause| Error::io(shown(path), cause);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let folder = path.parent().unwrap_or(path);
                return Err(Error::usage(text!(
                    "error-folder/record/another-run-writing-wait",
                    folder = shown(folder)
                )));
            }
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        let mut text = String::new();
        (&mut file).take(LONGEST).read_to_string(&mut text).map_err(failed)?;
        let mut record = Self { path: path.to_owned(), file, digests: BTreeMap::new() };
        // A run may have been killed while it wrote a line: what follows the last whole one is dropped.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole == 0 && SCHEMA.starts_with(&text) {
            record.replace(SCHEMA)?;
            return Ok(record);
        }
        let Some(lines) = text[..whole].strip_prefix(SCHEMA) else {
            return Err(Error::usage(text!("error-folder/record/no-record-version-move", path = shown(path))));
        };
        if lines.lines().count() > LINES {
            return Err(Error::usage(text!("error-folder/record/lines", path = shown(path), most = LINES)));
        }
        for line in lines.lines() {
            let line: Line<'_> = serde_json::from_str(line).map_err(|cause| {
                Error::usage(text!("error-folder/record/damaged", path = shown(path), cause = cause.to_string()))
            })?;
            record.digests.entry(line.file.into_owned()).or_default().insert(line.sha256.into_owned());
        }
        record.file.set_len(whole as u64).and_then(|()| record.file.seek(SeekFrom::End(0))).map_err(failed)?;
        Ok(record)
    }

    pub(super) fn digests(&self, name: &str) -> Option<&BTreeSet<String>> {
        self.digests.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.digests.keys().cloned()
    }

    /// Puts a line on disk.
    pub(super) fn add(&mut self, name: &str, sha256: &str) -> Result<()> {
        if !self.digests.entry(name.to_owned()).or_default().insert(sha256.to_owned()) {
            return Ok(());
        }
        let line = line(name, sha256);
        self.file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(|cause| Error::io(text!("error-folder/room/cannot-write-2", path = shown(&self.path)), cause))
    }

    /// Leaves one line a file.
    pub(super) fn compact<'a>(&mut self, files: impl Iterator<Item = (&'a str, &'a str)>) -> Result<()> {
        let mut text = SCHEMA.to_owned();
        self.digests.clear();
        for (name, sha256) in files {
            text += &line(name, sha256);
            self.digests.entry(name.to_owned()).or_default().insert(sha256.to_owned());
        }
        self.replace(&text)
    }

    /// Replaces the content. The file stays the same one, because the lock is on it; a kill in between leaves a record
    /// that knows fewer files, never one that claims somebody else's.
    fn replace(&mut self, text: &str) -> Result<()> {
        let file = &mut self.file;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(text.as_bytes()))
            .and_then(|()| file.set_len(text.len() as u64))
            .and_then(|()| file.sync_data())
            .map_err(|cause| Error::io(text!("error-folder/room/cannot-write-2", path = shown(&self.path)), cause))
    }
}

fn line(name: &str, sha256: &str) -> String {
    let line = Line { file: name.into(), sha256: sha256.into() };
    // Two strings: nothing in them can fail.
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}
