//! Bytes from outside: one trait for a file, whatever holds it.

mod cache;
pub mod clock;
mod directory;
mod drawn;
pub mod fetch;
mod forge;
mod held;
mod http;
mod hub;
mod listed;
mod local;
mod locator;
mod made;
mod memory;
mod network;
pub mod now;
mod objects;
pub mod plain;
mod published;
mod rehearsal;
mod service;
mod signer;
mod spool;
#[doc(hidden)]
pub mod testing;
mod web;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

pub use directory::LocalDir;
pub use drawn::{DrawnFile, Picked, PickedFile};
pub use forge::Forge;
pub use held::HeldFile;
pub use http::HttpFile;
pub use hub::{Hub, HubModel};
pub use listed::ListedFile;
pub use local::LocalFile;
pub use locator::{Access, is_address, is_rehearsal, locate};
pub use made::{MadeFile, Make};
pub use memory::{MemoryFile, MemoryStore};
pub use network::{Limits, Network};
pub use objects::Bucket;
pub use published::{Named, cached_revisions};
pub use rehearsal::Rehearsal;
pub use service::{Service, ServiceReply};
pub use spool::keep_fetched;
pub use web::{ENDINGS, HttpDir};

/// A finished, immutable run of bytes that can be read at any offset.
///
/// Everything behind it is hostile: a length may be a lie and a read may come back short, which is an error.
pub trait Blob: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there is nothing to read.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What to call it in a message or in `inputs[].uri`.
    fn uri(&self) -> String;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// If the range is not wholly inside the file, or the read fails.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// The bytes themselves where they are already in memory, so that nothing has to be copied.
    fn resident(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let _ = (offset, length);
        None
    }

    /// Says that a range handed out by [`Blob::resident`] is not needed any more, so that it need not count as this
    /// process's memory.
    fn release(&self, offset: u64, length: usize) {
        let _ = (offset, length);
    }

    /// Whether the bytes are computed from other files, so that there is no file to take a digest of.
    fn is_made(&self) -> bool {
        false
    }

    /// Of how many tensors of one kind that it has one is measured for all: of a rehearsal, whose tensors are as good as one
    /// another. 1 of everything that holds anybody's weights.
    fn stands_for(&self) -> usize {
        1
    }

    /// Whether its bytes are fetched from another computer.
    fn is_elsewhere(&self) -> bool {
        false
    }

    /// The SHA-256 that its place says it has, hexadecimal, where it says one.
    fn said_sha256(&self) -> Option<String> {
        None
    }

    /// Some ranges of it, ascending and apart, one after the other, where its place has its own way to get at nothing but them.
    fn drawn(&self, ranges: &[Range<u64>]) -> Option<Result<Arc<dyn Blob>>> {
        let _ = ranges;
        None
    }

    /// A range, borrowed where it is in memory and copied into a new buffer otherwise.
    ///
    /// # Errors
    /// As [`Blob::read_at`].
    fn bytes(&self, offset: u64, length: usize) -> Result<Cow<'_, [u8]>> {
        if let Some(bytes) = self.resident(offset, length) {
            return Ok(Cow::Borrowed(bytes));
        }
        let mut buffer = vec![0; length];
        self.read_at(offset, &mut buffer)?;
        Ok(Cow::Owned(buffer))
    }
}

impl<B: Blob + ?Sized> Blob for Arc<B> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn uri(&self) -> String {
        (**self).uri()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        (**self).read_at(offset, buffer)
    }

    fn resident(&self, offset: u64, length: usize) -> Option<&[u8]> {
        (**self).resident(offset, length)
    }

    fn release(&self, offset: u64, length: usize) {
        (**self).release(offset, length);
    }

    fn is_made(&self) -> bool {
        (**self).is_made()
    }

    fn stands_for(&self) -> usize {
        (**self).stands_for()
    }

    fn is_elsewhere(&self) -> bool {
        (**self).is_elsewhere()
    }

    fn said_sha256(&self) -> Option<String> {
        (**self).said_sha256()
    }

    fn drawn(&self, ranges: &[Range<u64>]) -> Option<Result<Arc<dyn Blob>>> {
        (**self).drawn(ranges)
    }
}

/// A place that holds the files of one model.
pub trait Store: Send + Sync {
    /// What to call it.
    fn uri(&self) -> String;

    /// Names of the files in it (no folders), sorted.
    ///
    /// # Errors
    /// If the place cannot be listed.
    fn list(&self) -> Result<Vec<String>>;

    /// Opens one file by its name inside the place. Names come from hostile indexes: anything that is not the plain name
    /// of an entry of the place (a separator, `..`, a NUL) is refused.
    ///
    /// # Errors
    /// If the name leads outside or the file cannot be opened.
    fn open(&self, name: &str) -> Result<Box<dyn Blob>>;

    /// Names of the folders in it, sorted; none where a place has files only.
    ///
    /// # Errors
    /// If the place cannot be listed.
    fn folders(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// A folder in it as a place of its own. The name is refused as by [`Store::open`].
    ///
    /// # Errors
    /// If there is no such folder.
    fn enter(&self, name: &str) -> Result<Box<dyn Store>> {
        Err(Error::input(text!("error-source/hub/no-folder-2", name = format!("{name:?}"), uri = self.uri())))
    }

    /// The files in it with what the place says of each without a byte of them; lengths are 0 where it says none.
    ///
    /// # Errors
    /// As [`Store::list`].
    fn listed(&self) -> Result<Vec<ListedFile>> {
        let blank = |path| ListedFile { path, bytes: 0, sha256: None, mark: None, at: None };
        Ok(self.list()?.into_iter().map(blank).collect())
    }

    /// A small file beside the one file that the user named, if there is one of that name.
    ///
    /// # Errors
    /// As [`Store::open`].
    fn beside(&self, name: &str) -> Result<Option<Box<dyn Blob>>> {
        if self.list()?.iter().any(|file| file == name) { self.open(name).map(Some) } else { Ok(None) }
    }

    /// The file's name, if the place is the one file of it that the user named.
    fn only(&self) -> Option<&str> {
        None
    }
}

/// Variables of the environment that hold keys, this tool's and those of the stores beside it.
const KEYS: [&str; 10] = [
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "WANDB_API_KEY",
    "GITHUB_TOKEN",
    "GITLAB_TOKEN",
    "GITEA_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_SAS_TOKEN",
    "GOOGLE_OAUTH_ACCESS_TOKEN",
];

/// Marks every key of the environment, so that no message shows one, also where it stands in an address that was given.
pub fn keep_keys() {
    for key in KEYS.iter().filter_map(|name| std::env::var(name).ok()) {
        scratchproof_error::secrets::keep(&key);
    }
}
