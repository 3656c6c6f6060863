//! A folder of the tool's own: every file in it is whole or absent, nobody else's file is ever replaced, and one run at
//! a time writes to it.
//!
//! The file [`RECORD`] in it says what was written: after a line with its schema, one JSON line a file with the SHA-256
//! of its bytes. A line is on disk before the file it speaks of, so that after a kill at any moment every file of the
//! tool has its line. The same file is what the lock is taken on; the lock goes with the process.

mod record;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use record::Record;
pub use record::{LINES as MOST_LINES, LONGEST as LONGEST_RECORD};
use scratchproof_error::hexadecimal::hex;
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;
use sha2::{Digest, Sha256};

/// A longer file of an output folder is not read: the tool writes none. A file with holes costs nobody its length.
pub const LONGEST: u64 = 512 << 20;

/// Name of the file that says what the tool wrote to the folder.
pub const RECORD: &str = ".scratchproof";

/// How the names of files begin that are not whole yet.
const PART: &str = ".scratchproof-part-";

/// A folder that this process alone writes to.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    record: Mutex<Record>,
    parts: AtomicU64,
}

/// A file of the folder with the digest of its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Written {
    /// Path below the folder, with `/`.
    pub name: String,
    /// Lower-case hexadecimal.
    pub sha256: String,
    pub bytes: u64,
}

impl Folder {
    /// Opens the folder, making it if there is none, and takes its lock. What a killed run left half written is removed.
    ///
    /// # Errors
    /// If it is no folder or cannot be made, if another run holds it, or if the record in it is none of this tool.
    pub fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root)
            .map_err(|cause| Error::io(text!("error-folder/room/folder", root = shown(root)), cause))?;
        let record = Record::open(&root.join(RECORD))?;
        let folder = Self { root: root.to_owned(), record: Mutex::new(record), parts: AtomicU64::new(0) };
        Self::sweep(root);
        for entry in fs::read_dir(root).map_err(|cause| Error::io(shown(root), cause))?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                Self::sweep(&entry.path());
            }
        }
        Ok(folder)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether these files, as far as they exist, are the tool's own: to be asked before hours of reading.
    ///
    /// # Errors
    /// If one is not, or cannot be read.
    pub fn may_write<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<()> {
        names.into_iter().try_for_each(|name| self.own(name).map(|_| ()))
    }

    /// Writes a file whole or not at all. A file that holds these bytes already is left as it is.
    ///
    /// # Errors
    /// If a file of that name is not the tool's own, or if it cannot be written; what was there before is there still.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<Written> {
        let digest = hex(&Sha256::digest(bytes));
        let written = Written { name: name.to_owned(), sha256: digest.clone(), bytes: bytes.len() as u64 };
        if self.own(name)?.is_some_and(|there| there == digest) {
            return Ok(written);
        }
        let target = self.root.join(name);
        let parent = target.parent().unwrap_or(&self.root);
        let failed = |cause| Error::io(text!("error-folder/room/cannot-write", target = shown(&target)), cause);
        fs::create_dir_all(parent).map_err(failed)?;
        lock(&self.record).add(name, &digest)?;
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        let part = parent.join(format!("{PART}{}-{number}", std::process::id()));
        // The new name is part of the folder's own bytes.
        put(&part, &target, bytes).and_then(|()| File::open(parent)?.sync_all()).map_err(failed)?;
        Ok(written)
    }

    /// Removes a file of the tool's own; one that is not there is no error.
    ///
    /// # Errors
    /// If the file is somebody else's or cannot be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        if self.own(name)?.is_some() {
            let target = self.root.join(name);
            fs::remove_file(&target)
                .map_err(|cause| Error::io(text!("error-folder/room/cannot-remove", target = shown(&target)), cause))?;
        }
        Ok(())
    }

    /// The tool's own files whose names begin so, as they are now, in the order of their names.
    ///
    /// # Errors
    /// If one was changed by somebody else, or cannot be read.
    pub fn files(&self, prefix: &str) -> Result<Vec<Written>> {
        let names: Vec<String> = lock(&self.record).names().filter(|name| name.starts_with(prefix)).collect();
        let mut files = Vec::new();
        for name in names {
            let Some(sha256) = self.own(&name)? else { continue };
            let path = self.root.join(&name);
            let bytes = fs::metadata(&path).map_err(|cause| Error::io(shown(&path), cause))?.len();
            files.push(Written { name, sha256, bytes });
        }
        Ok(files)
    }

    /// Ends a run: the record keeps one line a file, in the order of the names, so that equal folders are equal.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub fn finish(&self) -> Result<()> {
        let files = self.files("")?;
        lock(&self.record).compact(files.iter().map(|file| (file.name.as_str(), file.sha256.as_str())))
    }

    /// The digest of a file of the tool's own; `None` if there is no file of that name.
    fn own(&self, name: &str) -> Result<Option<String>> {
        let path = self.root.join(name);
        let strange = || Error::usage(text!("error-folder/room/not-written-tool-or", path = shown(&path)));
        match fs::symlink_metadata(&path) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(Error::io(shown(&path), cause)),
            Ok(found) if !found.is_file() || found.len() > LONGEST => return Err(strange()),
            Ok(_) => {}
        }
        let known: BTreeSet<String> = lock(&self.record).digests(name).cloned().unwrap_or_default();
        if known.is_empty() {
            return Err(strange());
        }
        let mut hasher = Sha256::new();
        File::open(&path)
            .and_then(|mut file| std::io::copy(&mut file, &mut hasher))
            .map_err(|cause| Error::io(shown(&path), cause))?;
        let digest = hex(&hasher.finalize());
        if known.contains(&digest) { Ok(Some(digest)) } else { Err(strange()) }
    }

    /// Removes what a killed run left half written.
    fn sweep(folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(PART)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Writes a file whole or not at all, outside a folder of the tool's own.
///
/// # Errors
/// If it cannot be written; what was there before is there still.
pub fn whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().ok_or_else(|| Error::usage(text!("error-folder/room/file-write-no-name")))?);
    name.push(format!("-{}-part", std::process::id()));
    let part = path.with_file_name(name);
    // A killed process may have had the same number.
    let _ = fs::remove_file(&part);
    let written = put(&part, path, bytes).or_else(|cause| match cause.kind() {
        // Swept away by a run on another machine, to which this process is not there.
        ErrorKind::NotFound => put(&part, path, bytes),
        _ => Err(cause),
    });
    written.map_err(|cause| Error::io(text!("error-folder/room/cannot-write-2", path = path.display()), cause))
}

/// As [`whole`], where nobody else writes the same file: what a killed run left of it goes.
///
/// # Errors
/// As [`whole`].
pub fn alone(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|own| !own.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sweep_of(folder, path.file_name().and_then(|name| name.to_str()));
    whole(path, bytes)
}

/// Removes what processes that are gone left half written in a folder of files that [`whole`] wrote.
pub fn sweep(folder: &Path) {
    sweep_of(folder, None);
}

fn sweep_of(folder: &Path, only: Option<&str>) {
    let alive = |id: &str| Path::new("/proc").join(id).exists();
    if !alive("self") {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix("-part")?.rsplit_once('-'));
        let gone = id.is_some_and(|(of, id)| {
            only.is_none_or(|only| only == of) && id.bytes().all(|digit| digit.is_ascii_digit()) && !alive(id)
        });
        if gone && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes `part`, syncs it and gives it the name `target`; nothing of it is left where that fails.
fn put(part: &Path, target: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(part, target)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(part);
    })
}

fn lock(record: &Mutex<Record>) -> std::sync::MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

#[cfg(test)]
mod tests;
