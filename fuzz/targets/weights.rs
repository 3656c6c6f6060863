//! Weights, what is read beside them, case files and the answers of a hub.
#![no_main]

mod common;
#[path = "../../tests/support/readers/server.rs"]
mod server;
#[path = "../../tests/support/readers/table.rs"]
mod table;
#[path = "../../tests/support/readers/weights.rs"]
mod weights;

use table::Reader;

fn own(reader: Reader) -> bool {
    matches!(reader, Reader::Model(_) | Reader::Tokenizer | Reader::Case | Reader::Profile | Reader::Hub)
}

libfuzzer_sys::fuzz_target!(init: common::begin(own), |data: &[u8]| common::one(data, |_, _| (), weights::answer));
