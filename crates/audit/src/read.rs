//! What is read of the record of a case.

use scratchproof_facts::Reading;
use scratchproof_finding::Finding;
use scratchproof_record::listed::{Given, Listed};
use scratchproof_report::{Input, InputRole, Skipped};
use scratchproof_texts::Text;

/// What was read of the record, and what is to be said of the reading itself.
pub(crate) struct Read {
    pub reading: Reading,
    pub inputs: Vec<Input>,
    pub findings: Vec<Finding>,
    pub skipped: Vec<Skipped>,
    pub missing: Vec<Text>,
}

/// A small file of the record. `uri` is its place as the case names it.
pub(super) fn input(listed: &Listed, uri: String) -> Input {
    let role = match listed.given {
        Given::Witness => InputRole::Witness,
        Given::Root => InputRole::Root,
        Given::Headers => InputRole::Headers,
        Given::Stamped => InputRole::Stamped,
        Given::Signers => InputRole::Signers,
    };
    let name = uri.rsplit('/').next().unwrap_or_default().to_owned();
    Input { role, name, uri, sha256: listed.sha256.clone(), bytes: listed.bytes }
}
