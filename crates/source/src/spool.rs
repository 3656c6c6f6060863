//! Blocks of remote files kept on the disk, so that no byte is fetched twice: in a folder that the user named, for a later
//! audit too, or in one nameless file, for the several passes of this one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use sha2::{Digest, Sha256};

use super::cache::lock;
use scratchproof_error::hexadecimal::hex;
use scratchproof_error::{Error, Result};

/// The folder that this process keeps blocks in, if it keeps any.
static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Keeps what is fetched from now on in a folder, which is made.
///
/// # Errors
/// If it cannot be made.
pub fn keep_fetched(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|cause| Error::io(folder.display(), cause))?;
    // Where it was chosen before it stays there.
    let _ = FOLDER.set(folder.to_owned());
    Ok(())
}

/// The folder, if one was chosen.
pub(super) fn chosen() -> Option<PathBuf> {
    FOLDER.get().cloned()
}

/// Bytes of the disk that are left free, or the share of it where that is less.
const FREE: u64 = 2 << 30;
const FREE_SHARE: u64 = 20;

/// Blocks of many files in one file that has no name, so that nothing is left of it however the process ends. Where the disk
/// is full, or what is called one is memory, blocks are not kept and are fetched again.
#[derive(Debug)]
pub(super) struct Passing {
    /// Bytes of a place, each of which holds a block.
    block: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Made when the first block comes; `None` inside if it cannot be.
    #[allow(clippy::option_option, reason = "not yet made, and cannot be made")]
    file: Option<Option<Arc<File>>>,
    /// File and block -> place and length.
    held: BTreeMap<(u64, u64), (u64, usize)>,
    /// Places to be used again.
    free: Vec<u64>,
    places: u64,
}

impl Passing {
    /// For blocks of so many bytes.
    pub(super) fn new(block: usize) -> Self {
        Self { block: block as u64, state: Mutex::default() }
    }

    /// A block of a file, if it is kept.
    pub(super) fn find(&self, file: u64, block: u64) -> Option<Vec<u8>> {
        let (kept, (place, length)) = {
            let state = lock(&self.state);
            (state.file.clone()??, *state.held.get(&(file, block))?)
        };
        let mut bytes = vec![0; length];
        kept.read_exact_at(&mut bytes, place * self.block).ok()?;
        Some(bytes)
    }

    /// Keeps a block if there is room.
    pub(super) fn keep(&self, file: u64, block: u64, bytes: &[u8]) {
        let mut state = lock(&self.state);
        let State { file: kept, held, free, places } = &mut *state;
        let Some(kept) = kept.get_or_insert_with(|| nameless().map(Arc::new)) else { return };
        let place = match free.pop() {
            Some(place) => place,
            None if has_room(kept) => {
                *places += 1;
                *places - 1
            }
            None => return,
        };
        match kept.write_all_at(bytes, place * self.block) {
            Ok(()) => {
                held.insert((file, block), (place, bytes.len()));
            }
            Err(_) => free.push(place),
        }
    }

    /// Gives the places of a file to others.
    pub(super) fn forget(&self, file: u64) {
        let mut state = lock(&self.state);
        let State { held, free, .. } = &mut *state;
        let gone: Vec<u64> = held.range((file, 0)..=(file, u64::MAX)).map(|(_, (place, _))| *place).collect();
        held.retain(|(of, _), _| *of != file);
        free.extend(gone);
    }
}

/// A file on a disk that no folder shows.
fn nameless() -> Option<File> {
    const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];
    let given = std::env::var_os("TMPDIR").map(PathBuf::from);
    let places = given.into_iter().chain([PathBuf::from("/var/tmp"), std::env::temp_dir()]);
    let files = places.filter_map(|place| tempfile::tempfile_in(place).ok());
    // Kinds of file systems, as the system numbers them: memory is what must not be filled.
    let on_disk = |file: &File| {
        rustix::fs::fstatfs(file)
            .is_ok_and(|about| !IN_MEMORY.iter().any(|kind| i128::from(*kind) == i128::from(about.f_type)))
    };
    files.into_iter().find(on_disk)
}

/// Whether the disk of a file has room for more of it.
fn has_room(file: &File) -> bool {
    rustix::fs::fstatvfs(file).is_ok_and(|about| {
        let (free, all) =
            (about.f_bavail.saturating_mul(about.f_frsize), about.f_blocks.saturating_mul(about.f_frsize));
        free > FREE.min(all / FREE_SHARE)
    })
}

/// The blocks of one file with one content.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
}

impl Spool {
    /// The place of a file's blocks. What has no mark of its content is not kept: it may be another the next time.
    pub(super) fn of(folder: Option<&Path>, name: &str, length: u64, mark: Option<&str>, block: usize) -> Option<Self> {
        let mut hash = Sha256::new();
        for part in [name, mark?, &length.to_string(), &block.to_string()] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        Some(Self { folder: folder?.join(hex(&hash.finalize()[..16])) })
    }

    /// A block, from the folder or fetched and kept. A folder that cannot be written keeps nothing and breaks nothing.
    pub(super) fn block(&self, number: u64, length: u64, fetch: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        let path = self.folder.join(number.to_string());
        let whole = fs::metadata(&path).is_ok_and(|about| about.is_file() && about.len() == length);
        if whole && let Ok(bytes) = fs::read(&path) {
            return Ok(bytes);
        }
        let bytes = fetch()?;
        let part = self.folder.join(format!("{number}-{}-part", std::process::id()));
        let kept = fs::create_dir_all(&self.folder).and_then(|()| fs::write(&part, &bytes));
        if kept.and_then(|()| fs::rename(&part, &path)).is_err() {
            let _ = fs::remove_file(&part);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_and_their_places_are_used_again() {
        let passing = Passing::new(8);
        passing.keep(1, 0, b"12345678");
        passing.keep(1, 7, b"abc");
        passing.keep(2, 0, b"x");
        if lock(&passing.state).file.as_ref().is_some_and(Option::is_none) {
            return; // No disk here.
        }
        assert_eq!(passing.find(1, 7).unwrap(), b"abc");
        assert_eq!((passing.find(1, 0).unwrap(), passing.find(1, 1)), (b"12345678".to_vec(), None));
        passing.forget(1);
        assert_eq!((passing.find(1, 0), passing.find(2, 0).unwrap()), (None, b"x".to_vec()));
        passing.keep(3, 0, b"yy");
        let places = lock(&passing.state).places;
        assert_eq!((places, passing.find(3, 0).unwrap()), (3, b"yy".to_vec()));
    }
}
