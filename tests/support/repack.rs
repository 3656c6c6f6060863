//! The same weights in another packaging: a model's file, written anew.

use std::collections::BTreeMap;

use serde_json::json;

use super::safetensors::File;

/// A matrix of single precision.
struct Matrix {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// Puts q, k and v into `qkv_proj`, gate and up of the dense MLP into `gate_up_proj`, and the experts of a layer into two
/// stacks `[experts, 2 neurons, hidden]` and `[experts, hidden, neurons]`; leaves everything else.
pub fn fused(file: &mut File) -> File {
    let mut matrices = BTreeMap::new();
    for name in file.names() {
        let shape = file.header[&name]["shape"].as_array().expect("a shape");
        let shape =
            shape.iter().map(|axis| usize::try_from(axis.as_u64().expect("an axis")).expect("an axis")).collect();
        matrices.insert(name.clone(), Matrix { shape, values: file.numbers(&name) });
    }
    let layers: Vec<String> = (0..100).map(|layer| format!("model.layers.{layer}.")).collect();
    for layer in &layers {
        for kind in ["weight", "bias"] {
            let parts = ["q", "k", "v"].map(|part| format!("{layer}self_attn.{part}_proj.{kind}"));
            join(&mut matrices, &parts, &format!("{layer}self_attn.qkv_proj.{kind}"));
        }
        let parts = ["gate", "up"].map(|part| format!("{layer}mlp.{part}_proj.weight"));
        join(&mut matrices, &parts, &format!("{layer}mlp.gate_up_proj.weight"));
        let mut experts = [Vec::new(), Vec::new()];
        for expert in 0.. {
            let name = |part: &str| format!("{layer}mlp.experts.{expert}.{part}.weight");
            if !matrices.contains_key(&name("gate_proj")) {
                break;
            }
            join(&mut matrices, &[name("gate_proj"), name("up_proj")], &name("gate_up_proj"));
            experts[0].push(name("gate_up_proj"));
            experts[1].push(name("down_proj"));
        }
        for (names, stack) in experts.iter().zip(["gate_up_proj", "down_proj"]).filter(|(names, _)| !names.is_empty()) {
            let shape = [&[names.len()], &matrices[&names[0]].shape[..]].concat();
            join(&mut matrices, names, &format!("{layer}mlp.experts.{stack}"));
            matrices.get_mut(&format!("{layer}mlp.experts.{stack}")).expect("a stack").shape = shape;
        }
    }
    written(&matrices)
}

/// Puts matrices below each other, if they are there.
fn join(matrices: &mut BTreeMap<String, Matrix>, parts: &[String], whole: &str) {
    let Some(mut joined) = parts.first().and_then(|part| matrices.remove(part)) else { return };
    for part in &parts[1..] {
        let part = matrices.remove(part).expect("a part");
        joined.shape[0] += part.shape[0];
        joined.values.extend(part.values);
    }
    matrices.insert(whole.to_owned(), joined);
}

fn written(matrices: &BTreeMap<String, Matrix>) -> File {
    let mut file = File { header: serde_json::Map::new(), data: Vec::new() };
    for (name, Matrix { shape, values }) in matrices {
        let start = file.data.len();
        file.data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, file.data.len()] });
        file.header.insert(name.clone(), entry);
    }
    file
}
