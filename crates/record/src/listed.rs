//! Small files that the record was read from beside logs and repository, so that whoever checks the figures has the same.

use scratchproof_error::hexadecimal::hex;
use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

/// What a file was given as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Given {
    /// A proof, a saved answer, or the answers behind an address as they were then.
    Witness,
    /// Certificates to trust.
    Root,
    /// Headers of blocks.
    Headers,
    /// What a proof is said to be over.
    Stamped,
    /// Keys that may sign.
    Signers,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// What it was given as.
    pub given: Given,
    /// As the case names it.
    pub written: String,
    /// Of its bytes, in hexadecimal.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

/// Those that were read so far, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shelf(BTreeSet<Listed>);

impl Shelf {
    /// Adds bytes that were read.
    pub fn add(&mut self, given: Given, written: &str, bytes: &[u8]) {
        self.add_digest(given, written, &Sha256::digest(bytes), bytes.len() as u64);
    }

    /// Adds what was digested while it was read.
    pub fn add_digest(&mut self, given: Given, written: &str, digest: &[u8], bytes: u64) {
        let sha256 = hex(digest);
        self.0.insert(Listed { given, written: written.to_owned(), sha256, bytes });
    }

    /// By what they were given as, then by name.
    pub fn iter(&self) -> impl Iterator<Item = &Listed> {
        self.0.iter()
    }
}
