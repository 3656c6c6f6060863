//! A file that is read once, counted and hashed on the way.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::run::Run;
use scratchproof_error::hexadecimal::hex;
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::plain;
use scratchproof_texts::text;

/// Most entries of a folder that are looked at.
const ENTRIES: usize = 20_000;

/// Counts and hashes what passes through.
pub(super) struct Hashed<R> {
    input: R,
    sha: Sha256,
    bytes: u64,
}

impl<R: Read> Hashed<R> {
    pub fn new(input: R) -> Self {
        Self { input, sha: Sha256::new(), bytes: 0 }
    }

    /// Writes length and digest into a run, after the rest was read.
    ///
    /// # Errors
    /// If the rest cannot be read.
    pub fn sign(mut self, run: &mut Run) -> Result<()> {
        std::io::copy(&mut self, &mut std::io::sink())
            .map_err(|error| Error::io(text!("error-record/hashed/log-cannot-read"), error))?;
        run.bytes = self.bytes;
        run.sha256 = hex(&self.sha.finalize());
        Ok(())
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.sha.update(&buffer[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
}

/// Opens a regular file; opening a FIFO would wait for somebody to write to it.
pub(super) fn open(path: &Path) -> Result<Hashed<File>> {
    let place = || path.display().to_string();
    let about = fs::metadata(path).map_err(|error| Error::io(path.display(), error))?;
    if !about.is_file() {
        return Err(Error::input(text!("error-record/hashed/not-regular-file"))).context(place);
    }
    let file = plain::open(path)
        .map_err(|error| Error::io(text!("error-record/hashed/log-cannot-opened"), error))
        .context(place)?;
    Ok(Hashed::new(file))
}

/// Reads all of a file of at most `limit` bytes.
pub(super) fn whole(path: &Path, limit: u64) -> Result<(Vec<u8>, Hashed<File>)> {
    let mut hashed = open(path)?;
    let mut bytes = Vec::new();
    let read = (&mut hashed).take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::io(path.display(), error))?;
    if bytes.len() as u64 > limit {
        return Err(Error::input(text!("error-record/hashed/more-bytes-read-such", path = path.display(), limit)));
    }
    Ok((bytes, hashed))
}

/// The text of a small file that may be missing: nothing if it is not there, no regular file, or larger than `limit`.
pub(super) fn small(path: &Path, limit: u64) -> Option<String> {
    let fits = fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() <= limit);
    if !fits {
        return None;
    }
    let (bytes, _) = whole(path, limit).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What is in a folder, by name.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Error::io(folder.display(), error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        if paths.len() >= ENTRIES {
            return Err(Error::input(text!(
                "error-record/hashed/more-entries",
                folder = folder.display(),
                entries = ENTRIES
            )));
        }
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// The first bytes of a file.
pub(super) fn head(path: &Path, bytes: usize) -> Result<Vec<u8>> {
    let mut input = open(path)?;
    let mut head = vec![0; bytes];
    let mut length = 0;
    while length < bytes {
        match input.read(&mut head[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(path.display(), error)),
        }
    }
    head.truncate(length);
    Ok(head)
}

/// The digest of two digests, for a log of several files.
pub(super) fn chain(first: &str, second: &str) -> String {
    let both = Sha256::new().chain_update(first).chain_update(second).finalize();
    hex(&both)
}
