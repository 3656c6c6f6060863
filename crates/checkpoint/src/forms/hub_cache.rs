//! The cache of the hub's clients: `models--ORG--NAME` with `refs/BRANCH` (a commit), `snapshots/COMMIT/FILE` (links) and
//! `blobs/DIGEST` (the bytes). Copied without links, a snapshot's file is a short text with the way to its blob.

use std::sync::Arc;

use scratchproof_error::{Context, Error, Result};
use scratchproof_source::{Blob, Store};
use scratchproof_texts::text;

use crate::header::quoted;

/// The longest text that stands for a link.
const LINK: u64 = 256;

/// The snapshot that the cache's main branch is at, or the only one; `None` if the place is no cache. A cache of one model
/// is entered, of several one has to be named.
pub(super) fn snapshot(store: &dyn Store, folders: &[String]) -> Result<Option<Box<dyn Store>>> {
    let models: Vec<&String> = folders.iter().filter(|folder| folder.starts_with("models--")).collect();
    match &models[..] {
        [] => {}
        [only] => {
            let inner = store.enter(only)?;
            let folders = inner.folders()?;
            return snapshot(&*inner, &folders).context(|| (*only).clone());
        }
        several => {
            let list: Vec<String> = several.iter().take(8).map(|name| quoted(name)).collect();
            return Err(Error::input(text!(
                "error-checkpoint/hub-cache/cache-models-name-folder",
                models = several.len(),
                list
            )));
        }
    }
    let is = |name: &str| folders.iter().any(|folder| folder == name);
    if is("hub") && !is("snapshots") {
        let inner = store.enter("hub")?;
        let folders = inner.folders()?;
        return snapshot(&*inner, &folders);
    }
    if !is("snapshots") || !is("refs") && !is("blobs") {
        return Ok(None);
    }
    let snapshots = store.enter("snapshots")?;
    let commits = snapshots.folders()?;
    let main = if is("refs") { reference(&*store.enter("refs")?)? } else { None };
    let commit = match (main, &commits[..]) {
        (Some(commit), _) if commits.contains(&commit) => commit,
        (Some(commit), _) => {
            return Err(Error::input(text!(
                "error-checkpoint/hub-cache/refs-main-cache-points",
                commit = quoted(&commit),
                commits = commits.len()
            )));
        }
        (None, [only]) => only.clone(),
        (None, _) => {
            return Err(Error::input(text!(
                "error-checkpoint/hub-cache/cache-snapshots-no-refs",
                commits = commits.len()
            )));
        }
    };
    let blobs = if is("blobs") { Some(store.enter("blobs")?) } else { None };
    Ok(Some(Box::new(Snapshot { files: snapshots.enter(&commit)?, blobs })))
}

/// The commit that `refs/main` names.
fn reference(refs: &dyn Store) -> Result<Option<String>> {
    if !refs.list()?.iter().any(|name| name == "main") {
        return Ok(None);
    }
    let blob = refs.open("main")?;
    let bytes = blob.bytes(0, usize::try_from(blob.len().min(128)).unwrap_or(0))?;
    Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
}

/// A snapshot whose links may be texts.
struct Snapshot {
    files: Box<dyn Store>,
    blobs: Option<Box<dyn Store>>,
}

impl Store for Snapshot {
    fn uri(&self) -> String {
        self.files.uri()
    }

    fn list(&self) -> Result<Vec<String>> {
        self.files.list()
    }

    fn open(&self, name: &str) -> Result<Box<dyn Blob>> {
        let file = self.files.open(name)?;
        let Some(blobs) = self.blobs.as_ref().filter(|_| file.len() <= LINK) else { return Ok(file) };
        let bytes = file.bytes(0, usize::try_from(file.len()).unwrap_or(0))?;
        let digest = std::str::from_utf8(&bytes).ok().and_then(|link| link.trim().strip_prefix("../../blobs/"));
        if let Some(digest) = digest.filter(|digest| digest.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            return Ok(Box::new(Named {
                name: format!("{}/{name}", self.uri()),
                blob: Arc::from(blobs.open(digest)?),
            }));
        }
        drop(bytes);
        Ok(file)
    }

    fn folders(&self) -> Result<Vec<String>> {
        self.files.folders()
    }

    fn enter(&self, name: &str) -> Result<Box<dyn Store>> {
        self.files.enter(name)
    }
}

/// A blob under the name that it has in the snapshot.
struct Named {
    name: String,
    blob: Arc<dyn Blob>,
}

impl Blob for Named {
    fn len(&self) -> u64 {
        self.blob.len()
    }

    fn uri(&self) -> String {
        self.name.clone()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.blob.read_at(offset, buffer)
    }

    fn resident(&self, offset: u64, length: usize) -> Option<&[u8]> {
        self.blob.resident(offset, length)
    }

    fn release(&self, offset: u64, length: usize) {
        self.blob.release(offset, length);
    }
}
