//! What the readers of weights, of words and of a hub's answers say of a file.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use scratchproof_case::Case;
use scratchproof_case::profile::Profile;
use scratchproof_checkpoint::{Checkpoint, Tokenizer};
use scratchproof_source::{Hub, HubModel, Network, Store};

use super::server::server;
use super::table::Reader;

/// Tensors whose bytes are read.
const TENSORS: usize = 4;
/// Bytes of a tensor that is read, at most.
const LONG: u64 = 16 << 20;

/// What one of these readers says, in a form in which two answers can be compared; nothing of the others.
pub fn answer(reader: Reader, path: &Path) -> Option<String> {
    Some(match reader {
        Reader::Model(levels) => model(path.ancestors().nth(levels).expect("a folder")),
        Reader::Tokenizer => {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let name = if name.ends_with("json") && name != "tekken.json" { "tokenizer.json".to_owned() } else { name };
            let read = Tokenizer::read(&[name], &[fs::read(path).expect("a file")]);
            match read {
                Err(error) => error.to_string(),
                Ok(tokenizer) => {
                    let itself = tokenizer.compare(&tokenizer);
                    let rows = tokenizer.row_map(&tokenizer, 100, 200);
                    format!("{} {} {itself:?} {rows:?}", tokenizer.size(), tokenizer.merges())
                }
            }
        }
        Reader::Case => {
            let read = Case::read_record(path).and_then(|mut case| {
                case.policy.take_profile()?;
                case.policy.check()?;
                Ok(case.policy)
            });
            format!("{:?}", read.map_err(|error| error.to_string()))
        }
        Reader::Profile => {
            let text = String::from_utf8_lossy(&fs::read(path).expect("a file")).into_owned();
            format!("{:?}", Profile::parse(&text).map_err(|error| error.to_string()))
        }
        Reader::Hub => hub(fs::read(path).expect("a file")),
        _ => return None,
    })
}

fn model(place: &Path) -> String {
    let model = match Checkpoint::open(place) {
        Err(error) => return error.to_string(),
        Ok(model) => model,
    };
    let mut out = String::new();
    for tensor in &model.tensors {
        writeln!(out, "{} {:?} {}", tensor.name, tensor.shape, tensor.dtype).expect("a string");
    }
    for tensor in model.tensors.iter().filter(|tensor| tensor.bytes <= LONG).take(TENSORS) {
        let bytes = model.read(tensor).map(|bytes| sum(&bytes)).map_err(|error| error.to_string());
        writeln!(out, "{bytes:?}").expect("a string");
    }
    let tokens = model.tokenizer().map(|_| "tokens").map_err(|error| error.to_string());
    let states = model.optimizers().map(<[_]>::len).map_err(|error| error.to_string());
    write!(out, "{:?} {tokens:?} {states:?} {:?}", model.skipped, model.config).expect("a string");
    out
}

/// FNV-1a.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// A model of a hub that answers with these lines: of the model, of its commits, of its files, and what is in one.
fn hub(bytes: Vec<u8>) -> String {
    let base = server(move |path, _| {
        let which = match path {
            _ if path.contains("/commits/") => 1,
            _ if path.contains("/tree/") => 2,
            _ if path.contains("/resolve/") => 3,
            _ => 0,
        };
        bytes.split(|byte| *byte == b'\n').nth(which).unwrap_or_default().to_vec()
    });
    let network = Network::shared();
    let hub = match Hub::new(base, None) {
        Err(error) => return error.to_string(),
        Ok(hub) => hub,
    };
    let address = "hf://org/name";
    let answers = hub.answers(&network, address, 1 << 20).map_err(|error| error.to_string());
    let references = hub.references(&network, address).map_err(|error| error.to_string());
    let opened = HubModel::open(&network, &hub, address).map_err(|error| error.to_string()).map(|model| {
        let names = model.list().map_err(|error| error.to_string());
        let folders = model.folders().map_err(|error| error.to_string());
        let listed = model.listed().map_err(|error| error.to_string());
        let config = model.open("config.json").map(|file| file.len()).map_err(|error| error.to_string());
        format!("{names:?} {folders:?} {listed:?} {config:?}")
    });
    // A server has another port in every run.
    format!("{answers:?} {references:?} {opened:?}").replace(base, "hub")
}
