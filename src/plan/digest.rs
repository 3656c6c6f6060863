//! SHA-256 of everything that was read.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::checkpoint::Checkpoint;
use crate::error::{Context, Result};

/// Bytes hashed at a time.
const CHUNK: usize = 1 << 20;

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDigest {
    /// Name in the model's folder.
    pub name: String,
    /// Length.
    pub bytes: u64,
    /// SHA-256, hexadecimal: what `sha256sum` prints.
    pub sha256: String,
}

/// Digests of the files of all models, in order.
///
/// # Errors
/// If a file cannot be read.
pub fn digests(models: &[&Checkpoint]) -> Result<Vec<Vec<FileDigest>>> {
    models
        .par_iter()
        .map(|model| {
            model
                .shards
                .par_iter()
                .map(|shard| {
                    let mut hash = Sha256::new();
                    let (mut offset, length) = (0, shard.blob.len());
                    while offset < length {
                        let size = usize::try_from(length - offset).map_or(CHUNK, |rest| rest.min(CHUNK));
                        hash.update(shard.blob.bytes(offset, size).context(|| model.uri.clone())?);
                        shard.blob.release(offset, size);
                        offset += size as u64;
                    }
                    Ok(FileDigest { name: shard.name.clone(), bytes: length, sha256: hex(&hash.finalize()) })
                })
                .collect()
        })
        .collect()
}

/// One digest for a model: that of its only file, or of the list that `sha256sum` prints for its files by name.
#[must_use]
pub fn manifest(files: &[FileDigest]) -> String {
    if let [file] = files {
        return file.sha256.clone();
    }
    let mut hash = Sha256::new();
    for file in files {
        hash.update(format!("{}  {}\n", file.sha256, file.name));
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
