//! Answers of `OpenTimestamps` calendars as proofs in files.

pub use super::ots::{Attestation, Proof, read};

use super::ots::MAGIC;

/// A proof over a SHA-256 digest from what a calendar answered to it: the timestamp of the digest, behind the head of a file
/// (`DetachedTimestampFile` of the reference implementation).
#[must_use]
pub fn proof(digest: &[u8; 32], answer: &[u8]) -> Vec<u8> {
    [MAGIC, &[1, 0x08], digest, answer].concat()
}
