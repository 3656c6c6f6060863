//! Logs, exports, settings, repositories, stamps, proofs, reports and the tool's own files.
#![no_main]

mod common;
#[path = "../../tests/support/readers/records.rs"]
mod records;
mod repair;
#[path = "../../tests/support/readers/server.rs"]
mod server;
#[path = "../../crates/record/src/git/sha1.rs"]
mod sha1;
#[path = "../../tests/support/readers/table.rs"]
mod table;

use table::Reader;

fn own(reader: Reader) -> bool {
    !matches!(reader, Reader::Model(_) | Reader::Tokenizer | Reader::Case | Reader::Profile | Reader::Hub)
}

libfuzzer_sys::fuzz_target!(init: common::begin(own), |data: &[u8]| common::one(data, repair::repair, records::answer));
