#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::is_average;
use crate::Checkpoint;
use crate::testing::raw;
use scratchproof_source::MemoryStore;
use serde_json::{Map, json};

/// Bytes of three matrices of 40 x 32: `own`, and as much of another draw.
const MATRIX: u64 = 40 * 32 * 4;

fn draw(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

/// A file of matrices: own times the first share, and another draw times the second.
fn file(names: &[&str], own: f32, other: f32) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (at, name) in names.iter().enumerate() {
        let begin = data.len();
        for (a, b) in draw(at as u64 + 1, 1280).iter().zip(draw(at as u64 + 99, 1280)) {
            data.extend((own * a + other * b).to_le_bytes());
        }
        let entry = json!({ "dtype": "F32", "shape": [40, 32], "data_offsets": [begin, data.len()] });
        header.insert((*name).to_owned(), entry);
    }
    raw(&json!(header).to_string(), &data)
}

const NAMES: [&str; 3] =
    ["model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.gate_proj.weight", "model.embed_tokens.weight"];

/// What is untaken with other files beside the model.
fn beside(files: &[(&str, Vec<u8>)]) -> Vec<(String, u64)> {
    let mut store = MemoryStore::new().with("model.safetensors", file(&NAMES, 1.0, 0.0));
    for (name, bytes) in files {
        store = store.with(name, bytes.clone());
    }
    let untaken = Checkpoint::from_store(&store).unwrap().untaken;
    untaken.into_iter().map(|own| (own.place, own.bytes)).collect()
}

#[test]
fn what_is_the_model_again_is_not_counted() {
    assert!(beside(&[]).is_empty());
    let twin = file(&NAMES, 1.0, 0.0);
    let wrapped = NAMES.map(|name| format!("ema_model.module.{name}"));
    let wrapped: Vec<&str> = wrapped.iter().map(String::as_str).collect();
    assert!(beside(&[("again.safetensors", twin)]).is_empty());
    assert!(beside(&[("ema.safetensors", file(&wrapped, 1.0, 0.8))]).is_empty(), "an average lags");
    assert!(beside(&[("ema.safetensors", file(&["0", "1", "2"], 1.0, 0.8))]).is_empty(), "without names");
    let states = ["a.exp_avg", "a.exp_avg_sq", "b.momentum_buffer"];
    assert!(beside(&[("optimizer.safetensors", file(&states, 0.0, 1.0))]).is_empty());
    assert!(beside(&[("training_args.bin", vec![7; 5000])]).is_empty());
}

/// A name changes nothing: what is called an average and is none, or an optimizer's and holds weights, is counted.
#[test]
fn another_model_is_counted_whatever_it_is_called() {
    let all = 3 * MATRIX;
    for (name, own, other, bytes) in [
        ("talker.safetensors", 0.0, 1.0, all),
        ("talker.npz", 0.0, 1.0, all),
        ("ema.safetensors", 0.0, 1.0, all),
        ("ema.safetensors", 0.4, 1.0, all),
        ("variant.safetensors", 1.0, 0.8, all),
        ("optimizer.bin", 0.0, 1.0, all),
        ("adapter_model.safetensors", 0.0, 1.0, all),
    ] {
        assert_eq!(beside(&[(name, file(&NAMES, own, other))]), [(name.to_owned(), bytes)], "{name} {own} {other}");
    }
    let mixed = [NAMES[0], "talker.a", "talker.b"];
    assert_eq!(beside(&[("part.safetensors", file(&mixed, 0.0, 1.0))]).len(), 1);
    assert_eq!(beside(&[("broken.pt", vec![7; 5000])]), [("broken.pt".to_owned(), 5000)]);
}

#[test]
fn an_adapter_is_none_where_it_is_described_and_is_one() {
    let config = br#"{"peft_type": "LORA", "base_model_name_or_path": "x"}"#.to_vec();
    let lora = ["base_model.model.a.lora_A.weight", "base_model.model.a.lora_B.weight"];
    let with = |names: &[&str]| {
        beside(&[("adapter_config.json", config.clone()), ("adapter_model.safetensors", file(names, 0.0, 1.0))])
    };
    assert!(with(&lora).is_empty());
    assert_eq!(with(&NAMES).len(), 1);
}

/// Files that torch wrote: `model` beside what a trainer keeps, and beside another model.
#[test]
fn entries_of_the_same_file() {
    let entries = |file: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/forms/entries");
        let untaken = Checkpoint::open(&folder.join(file)).unwrap().untaken;
        untaken.into_iter().map(|own| (own.place, own.bytes)).collect::<Vec<_>>()
    };
    // Averages by name and in a list, the optimizer, random states, a loss and the same tensors once more.
    assert_eq!(entries("honest.pt"), []);
    let matrices = (48 * 32 + 32 * 32) * 4;
    for (file, entry, bytes) in [
        ("talker.pt", "\"talker\"", matrices + 32 * 4),
        ("average.pt", "\"ema\"", matrices + 32 * 4),
        ("optimizer.pt", "\"optimizer\"", matrices + 32 * 4),
        ("near.pt", "\"twin\"", matrices),
    ] {
        assert_eq!(entries(file), [(entry.to_owned(), bytes)], "{file}");
    }
}

#[test]
fn words_that_say_average() {
    for name in ["ema", "model_ema", "state_dict_ema", "EMA-weights.pt", "callbacks.EMA", "swa_model", "teacher"] {
        assert!(is_average(name), "{name}");
    }
    for name in ["schema", "talker", "emanuel.pt", "model"] {
        assert!(!is_average(name), "{name}");
    }
}
