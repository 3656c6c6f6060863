//! Blocks of remote files kept in a folder, so that no byte is fetched twice: not by the several passes of an audit, and not
//! by a later one that goes on where a cut left off.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

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
        let digest = hash.finalize();
        let name = digest.iter().take(16).fold(String::new(), |name, byte| name + &format!("{byte:02x}"));
        Some(Self { folder: folder?.join(name) })
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
