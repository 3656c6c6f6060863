//! Small safetensors files for tests.
#![allow(missing_docs, clippy::missing_panics_doc, clippy::unwrap_used)]

use super::Dtype;
use scratchproof_source::MemoryStore;

/// The bytes of a file with these tensors: name, format, shape. The element bytes are a simple pattern.
pub fn file(tensors: &[(&str, Dtype, &[usize])]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, dtype, shape) in tensors {
        let begin = data.len();
        let bytes = shape.iter().product::<usize>() * dtype.width();
        data.extend((0..bytes).map(|i| u8::try_from(i % 100).unwrap()));
        let entry = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [begin, data.len()] });
        header.insert((*name).to_owned(), entry);
    }
    raw(&serde_json::Value::Object(header).to_string(), &data)
}

/// The bytes of a file with this header and data.
pub fn raw(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// A Llama-like model of `layers` layers, of hidden size `hidden`, with `vocabulary` tokens.
pub fn llama(layers: usize, hidden: usize, vocabulary: usize) -> Vec<(String, Dtype, Vec<usize>)> {
    let mut tensors = vec![
        ("model.embed_tokens.weight".to_owned(), Dtype::F32, vec![vocabulary, hidden]),
        ("model.norm.weight".to_owned(), Dtype::F32, vec![hidden]),
        ("lm_head.weight".to_owned(), Dtype::F32, vec![vocabulary, hidden]),
    ];
    for layer in 0..layers {
        let mut add = |name: &str, shape: &[usize]| {
            tensors.push((format!("model.layers.{layer}.{name}.weight"), Dtype::F32, shape.to_vec()));
        };
        add("self_attn.q_proj", &[2 * hidden, hidden]);
        add("self_attn.k_proj", &[hidden / 2, hidden]);
        add("self_attn.v_proj", &[hidden / 2, hidden]);
        add("self_attn.o_proj", &[hidden, 2 * hidden]);
        add("mlp.gate_proj", &[3 * hidden, hidden]);
        add("mlp.up_proj", &[3 * hidden, hidden]);
        add("mlp.down_proj", &[hidden, 3 * hidden]);
        add("input_layernorm", &[hidden]);
        add("post_attention_layernorm", &[hidden]);
    }
    tensors
}

/// A folder with these tensors in `model.safetensors`.
pub fn store(tensors: &[(String, Dtype, Vec<usize>)]) -> MemoryStore {
    let tensors: Vec<_> =
        tensors.iter().map(|(name, dtype, shape)| (name.as_str(), *dtype, shape.as_slice())).collect();
    MemoryStore::new().with("model.safetensors", file(&tensors))
}
