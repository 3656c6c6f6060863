//! SHA-256 of what was read.

use scratchproof_error::hexadecimal::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Name in the model's folder.
    pub name: String,
    /// Length.
    pub bytes: u64,
    /// SHA-256, hexadecimal: what `sha256sum` prints.
    pub sha256: String,
    /// MD5, where a run's log names a file by it that could be this one.
    pub md5: Option<String>,
}

/// One digest for a model: that of its only file, or of the list that `sha256sum` prints for its files by name.
#[must_use]
pub fn manifest(files: &[FileDigest]) -> String {
    if let [file] = files {
        return file.sha256.clone();
    }
    let list = files.iter().fold(String::new(), |list, file| list + &file.sha256 + "  " + &file.name + "\n");
    hex(&Sha256::digest(list.as_bytes()))
}
