use serde_json::{Value, json};

use super::super::heads::Heads;
use super::super::{Dtype, testing};
use super::*;
use crate::{Checkpoint, Correspondence};
use scratchproof_source::MemoryStore;

const D: usize = 12;

/// A tensor: name, shape, values.
type Tensor = (String, Vec<usize>, Vec<f32>);

fn model(config: &Value, tensors: &[Tensor]) -> Arc<Checkpoint> {
    let raw = tensors.iter().map(|(name, shape, values)| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        (name.clone(), Dtype::F32, shape.clone(), bytes)
    });
    stored(config, &raw.collect::<Vec<_>>())
}

fn stored(config: &Value, tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)]) -> Arc<Checkpoint> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let begin = data.len();
        data.extend(bytes);
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [begin, data.len()] });
        header.insert(name.clone(), entry);
    }
    let file = testing::raw(&Value::Object(header).to_string(), &data);
    let store = MemoryStore::new().with("model.safetensors", file).with("config.json", config.to_string());
    Arc::new(Checkpoint::from_store(&store).unwrap())
}

/// Values that no other matrix has.
fn values(seed: usize, count: usize) -> Vec<f32> {
    let number = |i: usize| u16::try_from((i.wrapping_mul(7919) + seed * 104_729) % 65_521).unwrap();
    (0..count).map(|i| f32::from(number(i)) / 1024.0 - 31.0).collect()
}

fn named(name: &str, shape: &[usize], values: Vec<f32>) -> Tensor {
    assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}");
    (name.to_owned(), shape.to_vec(), values)
}

fn transposed(matrix: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..rows * cols).map(|i| matrix[i % rows * cols + i / rows]).collect()
}

fn rows(matrix: &[f32], cols: usize, range: std::ops::Range<usize>) -> Vec<f32> {
    matrix[range.start * cols..range.end * cols].to_vec()
}

/// One dense layer of Llama, with biases: heads x dim, key-value heads, neurons.
struct Layer {
    heads: usize,
    groups: usize,
    dim: usize,
    neurons: usize,
}

impl Layer {
    fn q(&self) -> usize {
        self.heads * self.dim
    }

    fn kv(&self) -> usize {
        self.groups * self.dim
    }

    fn config(&self) -> Value {
        json!({
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.groups,
            "head_dim": self.dim,
            "hidden_size": D,
        })
    }

    fn matrix(&self, family: &str) -> Vec<f32> {
        match family {
            "q" => values(1, self.q() * D),
            "k" => values(2, self.kv() * D),
            "v" => values(3, self.kv() * D),
            "o" => values(4, self.q() * D),
            "gate" => values(5, self.neurons * D),
            "up" => values(6, self.neurons * D),
            "down" => values(7, self.neurons * D),
            "qb" => values(8, self.q()),
            "kb" => values(9, self.kv()),
            "vb" => values(10, self.kv()),
            _ => values(11, 30 * D),
        }
    }

    fn llama(&self) -> Vec<Tensor> {
        let m = |family| self.matrix(family);
        let l = |name: &str| format!("model.layers.0.{name}");
        vec![
            named("model.embed_tokens.weight", &[30, D], m("embedding")),
            named(&l("self_attn.q_proj.weight"), &[self.q(), D], m("q")),
            named(&l("self_attn.k_proj.weight"), &[self.kv(), D], m("k")),
            named(&l("self_attn.v_proj.weight"), &[self.kv(), D], m("v")),
            named(&l("self_attn.q_proj.bias"), &[self.q()], m("qb")),
            named(&l("self_attn.k_proj.bias"), &[self.kv()], m("kb")),
            named(&l("self_attn.v_proj.bias"), &[self.kv()], m("vb")),
            named(&l("self_attn.o_proj.weight"), &[D, self.q()], transposed(&m("o"), self.q(), D)),
            named(&l("mlp.gate_proj.weight"), &[self.neurons, D], m("gate")),
            named(&l("mlp.up_proj.weight"), &[self.neurons, D], m("up")),
            named(&l("mlp.down_proj.weight"), &[D, self.neurons], transposed(&m("down"), self.neurons, D)),
        ]
    }

    /// q, k and v of each group one after the other; also of vectors.
    fn grouped(&self, [q, k, v]: [&str; 3], cols: usize) -> Vec<f32> {
        let (q, k, v) = (self.matrix(q), self.matrix(k), self.matrix(v));
        let (each, dim) = (self.heads / self.groups * self.dim, self.dim);
        (0..self.groups)
            .flat_map(|group| {
                let mut all = rows(&q, cols, group * each..(group + 1) * each);
                all.extend(rows(&k, cols, group * dim..(group + 1) * dim));
                all.extend(rows(&v, cols, group * dim..(group + 1) * dim));
                all
            })
            .collect()
    }

    /// The rest of the layer in the names of the architecture that has this fused tensor.
    fn with(&self, fused: Vec<Tensor>, names: [&str; 2]) -> Vec<Tensor> {
        let [embedding, output] = names;
        let mut all = fused;
        all.push(named(embedding, &[30, D], self.matrix("embedding")));
        all.push(named(output, &[D, self.q()], transposed(&self.matrix("o"), self.q(), D)));
        all
    }
}

/// Values by family, layer and expert.
type Values = std::collections::BTreeMap<(String, Option<u32>, Option<u32>), Vec<f32>>;

/// The values of every part by function, without those that only one packaging has.
fn taken_apart(model: &Checkpoint) -> Values {
    let parts = model.parts();
    parts
        .iter()
        .map(|part| {
            let role = &part.role;
            ((role.family.clone(), role.layer, role.expert), model.matrix(part).unwrap())
        })
        .collect()
}

/// Holds that `other` has nothing that `plain` has not, bit by bit, and can be put in its packaging and back.
#[track_caller]
fn same(plain: &Arc<Checkpoint>, other: &Arc<Checkpoint>, shared: &[&str]) {
    let (a, b) = (taken_apart(plain), taken_apart(other));
    for family in shared {
        let of = |parts: &Values| {
            parts.iter().filter(|(key, _)| key.0 == *family).map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>()
        };
        assert!(!of(&a).is_empty(), "{family} is not in the plain model: {:?}", a.keys());
        assert!(of(&a) == of(&b), "{family} differs: {:?}", b.keys());
    }
    let (repacked, without) = other.in_packaging_of(plain);
    for tensor in &plain.tensors {
        if without.iter().any(|skipped| skipped.tensor == tensor.name) {
            continue;
        }
        let made = repacked.find(&tensor.name).unwrap();
        assert_eq!(made.shape, tensor.shape, "{}", tensor.name);
        assert!(repacked.read(made).unwrap() == plain.read(tensor).unwrap(), "{}", tensor.name);
    }
    let correspondence = Correspondence::between(plain, &repacked);
    assert_eq!(correspondence.pairs.len() + without.len(), plain.tensors.len());
    let itself = Checkpoint::assembled("itself".into(), other, |part| {
        let (other, part) = (Arc::clone(other), part.clone());
        Some(Arc::new(move || other.matrix(&part)))
    });
    for (made, tensor) in itself.tensors.iter().zip(&other.tensors) {
        assert_eq!(made.name, tensor.name);
        assert!(itself.read(made).unwrap() == other.read(tensor).unwrap(), "{}", tensor.name);
    }
    assert!(itself.skipped.is_empty());
}

const ATTENTION: [&str; 4] = ["q_proj", "k_proj", "v_proj", "o_proj"];

#[test]
fn parts_have_units_as_rows_and_the_residual_axis_as_columns() {
    let layer = Layer { heads: 4, groups: 2, dim: 3, neurons: 7 };
    let plain = model(&layer.config(), &layer.llama());
    let of = |family: &str| plain.parts().into_iter().find(|part| part.role.family == family).unwrap();
    let shape = |family| (of(family).rows, of(family).cols, of(family).residual);
    assert_eq!(shape("q_proj"), (12, D, true));
    assert_eq!(shape("o_proj"), (12, D, true));
    assert_eq!(shape("down_proj"), (7, D, true));
    assert_eq!(shape("k_proj.bias"), (6, 1, false));
    assert_eq!(plain.matrix(&of("down_proj")).unwrap(), layer.matrix("down"));
    let picked = plain.rows_of(&of("down_proj"), &[5, 0, 5]).unwrap();
    let down = layer.matrix("down");
    assert_eq!(picked, [rows(&down, D, 5..6), rows(&down, D, 0..1), rows(&down, D, 5..6)].concat());
    assert_eq!(plain.rows_of(&of("q_proj"), &[11]).unwrap(), rows(&layer.matrix("q"), D, 11..12));
    assert!(plain.rows_of(&of("q_proj"), &[12]).unwrap_err().is_usage());
    assert_eq!(plain.heads(), Some(Heads { query: 4, key_value: 2, dim: 3, value: 3 }));
}

#[test]
fn gpt2_holds_q_k_and_v_side_by_side_in_a_transposed_matrix() {
    let layer = Layer { heads: 4, groups: 4, dim: 3, neurons: 7 };
    let plain = model(&layer.config(), &layer.llama());
    let m = |family| layer.matrix(family);
    let fused = [m("q"), m("k"), m("v")].concat();
    let bias = [m("qb"), m("kb"), m("vb")].concat();
    let tensors = [
        named("h.0.attn.c_attn.weight", &[D, 36], transposed(&fused, 36, D)),
        named("h.0.attn.c_attn.bias", &[36], bias),
        named("h.0.attn.c_proj.weight", &[12, D], m("o")),
        named("h.0.mlp.c_fc.weight", &[D, 7], transposed(&m("up"), 7, D)),
        named("h.0.mlp.c_proj.weight", &[7, D], m("down")),
        named("wte.weight", &[30, D], m("embedding")),
    ];
    let other = model(&json!({ "n_head": 4 }), &tensors);
    let biases = ["q_proj.bias", "k_proj.bias", "v_proj.bias", "up_proj", "down_proj", "embedding"];
    same(&plain, &other, &[&ATTENTION[..], &biases].concat());
}

#[test]
fn phi3_holds_q_k_v_and_gate_up_one_after_the_other() {
    for groups in [1, 2, 4] {
        let layer = Layer { heads: 4, groups, dim: 3, neurons: 7 };
        let plain = model(&layer.config(), &layer.llama());
        let m = |family| layer.matrix(family);
        let l = |name: &str| format!("model.layers.0.{name}");
        let units = layer.q() + 2 * layer.kv();
        let fused = vec![
            named(&l("self_attn.qkv_proj.weight"), &[units, D], [m("q"), m("k"), m("v")].concat()),
            named(&l("self_attn.qkv_proj.bias"), &[units], [m("qb"), m("kb"), m("vb")].concat()),
            named(&l("mlp.gate_up_proj.weight"), &[14, D], [m("gate"), m("up")].concat()),
            named(&l("mlp.down_proj.weight"), &[D, 7], transposed(&m("down"), 7, D)),
        ];
        let names = ["model.embed_tokens.weight", "model.layers.0.self_attn.o_proj.weight"];
        let families = [&ATTENTION[..], &["q_proj.bias", "k_proj.bias", "gate_proj", "up_proj", "down_proj"]].concat();
        same(&plain, &model(&json!({}), &layer.with(fused, names)), &families);
    }
}

#[test]
fn gpt_neox_holds_q_k_and_v_of_each_head_together() {
    let layer = Layer { heads: 4, groups: 4, dim: 3, neurons: 7 };
    let plain = model(&layer.config(), &layer.llama());
    let fused = vec![
        named("layers.0.attention.query_key_value.weight", &[36, D], layer.grouped(["q", "k", "v"], D)),
        named("layers.0.attention.query_key_value.bias", &[36], layer.grouped(["qb", "kb", "vb"], 1)),
    ];
    let other = model(
        &json!({ "num_attention_heads": 4 }),
        &layer.with(fused, ["embed_in.weight", "layers.0.attention.dense.weight"]),
    );
    same(&plain, &other, &[&ATTENTION[..], &["q_proj.bias", "k_proj.bias", "v_proj.bias"]].concat());
}

#[test]
fn fused_matrices_stay_whole_where_the_heads_are_not_known() {
    let layer = Layer { heads: 4, groups: 4, dim: 3, neurons: 7 };
    let plain = model(&layer.config(), &layer.llama());
    let fused = vec![named("layers.0.attention.query_key_value.weight", &[36, D], layer.grouped(["q", "k", "v"], D))];
    let tensors = layer.with(fused, ["embed_in.weight", "layers.0.attention.dense.weight"]);
    for config in [
        json!({}),
        json!({ "num_attention_heads": 5 }),
        json!({ "num_attention_heads": 0 }),
        json!({ "num_attention_heads": u64::MAX }),
        json!({ "num_attention_heads": u64::MAX, "head_dim": u64::MAX, "num_key_value_heads": 1 }),
    ] {
        let other = model(&config, &tensors);
        assert_eq!(other.heads(), None);
        assert!(other.parts().iter().any(|part| part.role.family == "qkv_proj" && part.rows == 36));
        let (_, without) = other.in_packaging_of(&plain);
        let why = &without.iter().find(|skipped| skipped.tensor.ends_with("q_proj.weight")).unwrap().why;
        assert!(why.contains("query_key_value") && why.contains("config.json"), "{why}");
    }
}

#[test]
fn stacked_experts_are_the_single_ones_in_either_orientation() {
    let (experts, neurons) = (3, 5);
    let each = |kind: usize| -> Vec<Vec<f32>> {
        (0..experts).map(|expert| values(100 * kind + expert, neurons * D)).collect()
    };
    let (gate, up, down) = (each(1), each(2), each(3));
    let router = || named("model.layers.0.mlp.gate.weight", &[experts, D], values(9, experts * D));
    let embedding = || named("model.embed_tokens.weight", &[30, D], values(11, 30 * D));
    let mut single = vec![router(), embedding()];
    for expert in 0..experts {
        let name = |w: &str| format!("model.layers.0.mlp.experts.{expert}.{w}.weight");
        single.push(named(&name("gate_proj"), &[neurons, D], gate[expert].clone()));
        single.push(named(&name("up_proj"), &[neurons, D], up[expert].clone()));
        single.push(named(&name("down_proj"), &[D, neurons], transposed(&down[expert], neurons, D)));
    }
    let single = model(&json!({ "model_type": "qwen3_moe" }), &single);
    let both = |expert: usize| [gate[expert].clone(), up[expert].clone()].concat();
    let stack = |turn: bool| {
        let gate_up = (0..experts).flat_map(|e| if turn { transposed(&both(e), 10, D) } else { both(e) });
        let down = (0..experts).flat_map(|e| if turn { down[e].clone() } else { transposed(&down[e], neurons, D) });
        let (wide, tall) = if turn { ([3, D, 10], [3, 5, D]) } else { ([3, 10, D], [3, D, 5]) };
        let tensors = vec![
            router(),
            embedding(),
            named("model.layers.0.mlp.experts.gate_up_proj", &wide, gate_up.collect()),
            named("model.layers.0.mlp.experts.down_proj", &tall, down.collect()),
        ];
        model(&json!({ "model_type": "qwen3_moe" }), &tensors)
    };
    let families = ["experts.gate_proj", "experts.up_proj", "experts.down_proj", "router"];
    same(&single, &stack(false), &families);
    same(&single, &stack(true), &families);
    same(&stack(false), &stack(true), &families);
    same(&stack(true), &single, &families);
}

#[test]
fn a_model_without_a_head_uses_its_embedding() {
    let layer = Layer { heads: 4, groups: 4, dim: 3, neurons: 7 };
    let tied = model(&layer.config(), &layer.llama());
    let mut untied = layer.llama();
    untied.push(named("lm_head.weight", &[30, D], values(77, 30 * D)));
    let untied = model(&layer.config(), &untied);
    let (repacked, without) = tied.in_packaging_of(&untied);
    assert!(without.is_empty(), "{without:?}");
    let head = repacked.find("lm_head.weight").unwrap();
    assert!(repacked.read(head).unwrap() == tied.read(&tied.tensors[0]).unwrap());
    assert!(repacked.shards[head.shard].blob.is_made() && !repacked.shards[0].blob.is_made());
    let (repacked, without) = untied.in_packaging_of(&tied);
    assert!(without.is_empty() && repacked.find("lm_head.weight").is_some());
}

#[test]
fn what_has_no_counterpart_is_listed_with_the_reason() {
    let small = Layer { heads: 4, groups: 4, dim: 3, neurons: 7 };
    let large = Layer { heads: 4, groups: 2, dim: 3, neurons: 9 };
    let like = model(&small.config(), &small.llama());
    let m = |family| large.matrix(family);
    let fused = vec![
        named("model.layers.0.self_attn.qkv_proj.weight", &[24, D], [m("q"), m("k"), m("v")].concat()),
        named("model.layers.0.mlp.gate_up_proj.weight", &[18, D], [m("gate"), m("up")].concat()),
    ];
    let other = model(
        &large.config(),
        &large.with(fused, ["model.embed_tokens.weight", "model.layers.0.self_attn.o_proj.weight"]),
    );
    let (repacked, without) = other.in_packaging_of(&like);
    let why = |name: &str| without.iter().find(|skipped| skipped.tensor.ends_with(name)).unwrap().why.as_str();
    assert_eq!(why("k_proj.weight"), "k_proj of 12 x 12 against 6 x 12");
    assert_eq!(why("gate_proj.weight"), "gate_proj of 7 x 12 against 9 x 12");
    assert_eq!(why("q_proj.bias"), "the other model has no such tensor");
    assert!(repacked.find("model.layers.0.self_attn.q_proj.weight").is_some());
    assert!(without.iter().all(|skipped| repacked.skipped.contains(skipped)));
}

#[test]
fn layers_that_only_this_model_has_are_packaged_as_the_others() {
    let layer = Layer { heads: 4, groups: 4, dim: 3, neurons: 7 };
    let like = model(&layer.config(), &layer.llama());
    let mut tensors = Vec::new();
    for index in 0..2 {
        let m = |family| layer.matrix(family);
        let l = |name: &str| format!("model.layers.{index}.{name}");
        tensors.push(named(&l("self_attn.qkv_proj.weight"), &[36, D], [m("q"), m("k"), m("v")].concat()));
        tensors.push(named(&l("self_attn.o_proj.weight"), &[D, 12], transposed(&m("o"), 12, D)));
    }
    tensors.push(named("model.embed_tokens.weight", &[30, D], layer.matrix("embedding")));
    let (repacked, _) = model(&layer.config(), &tensors).in_packaging_of(&like);
    let key = repacked.find("model.layers.1.self_attn.k_proj.weight").unwrap();
    assert_eq!((key.role.family.as_str(), key.role.layer), ("k_proj", Some(1)));
    let own = like.find("model.layers.0.self_attn.k_proj.weight").unwrap();
    assert!(repacked.read(key).unwrap() == like.read(own).unwrap());
    assert!(repacked.find("model.layers.1.self_attn.o_proj.weight").is_some());
    assert!(repacked.find("model.layers.1.self_attn.qkv_proj.weight").is_none());
}

#[test]
fn zero_sizes_and_foreign_parts_are_no_panics() {
    let empty = model(
        &json!({ "num_attention_heads": 4 }),
        &[
            named("layers.0.attention.query_key_value.weight", &[0, D], Vec::new()),
            named("layers.0.attention.dense.weight", &[D, 0], Vec::new()),
            named("layers.0.mlp.dense_h_to_4h.weight", &[4, 0], Vec::new()),
            named("embed_in.weight", &[30, D], values(1, 30 * D)),
            named("nothing", &[], vec![1.0]),
        ],
    );
    for part in empty.parts() {
        assert_eq!(empty.matrix(&part).unwrap().len(), part.elements());
    }
    let layer = Layer { heads: 4, groups: 4, dim: 3, neurons: 7 };
    let other = model(&layer.config(), &layer.llama());
    let foreign = other.parts().into_iter().max_by_key(Part::elements).unwrap();
    let mut foreign = Part { tensor: 99, ..foreign };
    assert!(empty.matrix(&foreign).is_err());
    foreign.tensor = 1;
    assert!(empty.matrix(&foreign).is_err());
    let (repacked, _) = empty.in_packaging_of(&other);
    assert!(!repacked.tensors.is_empty());
    assert!(other.in_packaging_of(&empty).0.find("nothing").is_none());
}

#[derive(serde::Deserialize)]
struct Eight {
    name: String,
    shape: Vec<usize>,
    scale_shape: Vec<usize>,
    suffix: String,
    block: Option<[usize; 2]>,
    bytes: Vec<u8>,
    scale: Vec<f32>,
    expected: Vec<f32>,
}

fn eight(case: &Eight, scale_shape: &[usize]) -> Arc<Checkpoint> {
    let weight = "model.layers.0.mlp.up_proj.weight";
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let d = case.shape[1];
    let tensors = [
        (weight.to_owned(), Dtype::F8E4M3, case.shape.clone(), case.bytes.clone()),
        (format!("{weight}{}", case.suffix), Dtype::F32, scale_shape.to_vec(), bytes(&case.scale)),
        ("model.embed_tokens.weight".to_owned(), Dtype::F32, vec![9, d], bytes(&values(1, 9 * d))),
    ];
    stored(&json!({ "quantization_config": { "weight_block_size": case.block } }), &tensors)
}

/// `tests/data/fp8.json` holds what PyTorch's conversion and numpy's multiplication give.
#[test]
fn eight_bit_weights_are_multiplied_by_their_scales() {
    let cases: Vec<Eight> = serde_json::from_str(include_str!("../../../../tests/data/fp8.json")).unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let model = eight(&case, &case.scale_shape);
        let parts = model.parts();
        assert_eq!(parts.len(), 2, "{}", case.name);
        let up = parts.iter().find(|part| part.role.family == "up_proj").unwrap();
        assert_eq!(model.matrix(up).unwrap(), case.expected, "{}", case.name);
        let cols = case.shape[1];
        assert_eq!(model.rows_of(up, &[3]).unwrap(), case.expected[3 * cols..4 * cols], "{}", case.name);

        // Its own packaging, and that of a copy in single precision, are the plain numbers.
        let weight = "model.layers.0.mlp.up_proj.weight";
        let plain = self::model(
            &json!({}),
            &[
                named(weight, &case.shape, case.expected.clone()),
                named("model.embed_tokens.weight", &[9, cols], values(1, 9 * cols)),
            ],
        );
        for like in [&model, &plain] {
            let (repacked, without) = model.in_packaging_of(like);
            assert!(without.is_empty(), "{without:?}");
            assert!(
                repacked.read(repacked.find(weight).unwrap()).unwrap()
                    == plain.read(plain.find(weight).unwrap()).unwrap()
            );
            assert_eq!(repacked.tensors.len(), 2, "the scales are used up");
        }
    }
}

#[test]
fn scales_of_a_wrong_shape_are_refused() {
    let cases: Vec<Eight> = serde_json::from_str(include_str!("../../../../tests/data/fp8.json")).unwrap();
    let case = &cases[0];
    for shape in [vec![6], vec![1, 6], vec![6, 1], vec![2, 3, 1], vec![6, 1, 1]] {
        let model = eight(case, &shape);
        let up = model.parts().into_iter().find(|part| part.role.family == "up_proj").unwrap();
        if shape == [1, 6] {
            assert!(model.matrix(&up).is_ok(), "one scale a column");
            continue;
        }
        let error = model.matrix(&up).unwrap_err();
        assert!(error.is_input() && error.to_string().contains("do not fit"), "{shape:?}: {error}");
        let (_, without) = model.in_packaging_of(&model);
        assert!(without[0].why.contains("do not fit"), "{without:?}");
    }
    let empty = Eight {
        scale: Vec::new(),
        bytes: case.bytes.clone(),
        name: String::new(),
        shape: case.shape.clone(),
        scale_shape: vec![0, 2],
        suffix: "_scale".into(),
        block: None,
        expected: Vec::new(),
    };
    let model = eight(&empty, &[0, 2]);
    assert!(model.matrix(&model.parts()[1]).is_err());
}

#[test]
fn every_other_packaging_holds_the_same_matrices() {
    let layer = Layer { heads: 4, groups: 2, dim: 3, neurons: 7 };
    let plain = model(&layer.config(), &layer.llama());
    let m = |family| layer.matrix(family);
    let turned = |family, rows| transposed(&m(family), rows, D);

    // Falcon 40B: groups of two queries, a key and a value.
    let h = |name: &str| format!("transformer.h.0.{name}");
    let falcon = [
        named("transformer.word_embeddings.weight", &[30, D], m("embedding")),
        named(&h("self_attention.query_key_value.weight"), &[24, D], layer.grouped(["q", "k", "v"], D)),
        named(&h("self_attention.dense.weight"), &[D, 12], turned("o", 12)),
        named(&h("mlp.dense_h_to_4h.weight"), &[7, D], m("up")),
        named(&h("mlp.dense_4h_to_h.weight"), &[D, 7], turned("down", 7)),
    ];
    let config = json!({ "model_type": "falcon", "num_attention_heads": 4, "num_kv_heads": 2, "new_decoder_architecture": true });
    same(&plain, &model(&config, &falcon), &[&ATTENTION[..], &["up_proj", "down_proj"]].concat());

    // InternLM2: the same groups, other names; w1 is gate, w2 is down, w3 is up.
    let l = |name: &str| format!("model.layers.0.{name}");
    let internlm = [
        named("model.tok_embeddings.weight", &[30, D], m("embedding")),
        named(&l("attention.wqkv.weight"), &[24, D], layer.grouped(["q", "k", "v"], D)),
        named(&l("attention.wo.weight"), &[D, 12], turned("o", 12)),
        named(&l("feed_forward.w1.weight"), &[7, D], m("gate")),
        named(&l("feed_forward.w2.weight"), &[D, 7], turned("down", 7)),
        named(&l("feed_forward.w3.weight"), &[7, D], m("up")),
    ];
    let config = json!({ "num_attention_heads": 4, "num_key_value_heads": 2 });
    let families = [&ATTENTION[..], &["gate_proj", "up_proj", "down_proj"]].concat();
    same(&plain, &model(&config, &internlm), &families);

    // ChatGLM: one after the other, gate and up in one.
    let e = |name: &str| format!("transformer.encoder.layers.0.{name}");
    let chatglm = [
        named("transformer.embedding.word_embeddings.weight", &[30, D], m("embedding")),
        named(&e("self_attention.query_key_value.weight"), &[24, D], [m("q"), m("k"), m("v")].concat()),
        named(&e("self_attention.query_key_value.bias"), &[24], [m("qb"), m("kb"), m("vb")].concat()),
        named(&e("self_attention.dense.weight"), &[D, 12], turned("o", 12)),
        named(&e("mlp.dense_h_to_4h.weight"), &[14, D], [m("gate"), m("up")].concat()),
        named(&e("mlp.dense_4h_to_h.weight"), &[D, 7], turned("down", 7)),
    ];
    same(&plain, &model(&json!({}), &chatglm), &[&families[..], &["q_proj.bias", "v_proj.bias"]].concat());
    same(&model(&config, &internlm), &model(&json!({}), &chatglm), &families);
}

#[test]
fn one_key_value_head_for_all_queries() {
    let layer = Layer { heads: 4, groups: 1, dim: 3, neurons: 7 };
    let plain = model(&layer.config(), &layer.llama());
    let fused = vec![
        named("transformer.h.0.self_attention.query_key_value.weight", &[18, D], layer.grouped(["q", "k", "v"], D)),
        named("transformer.h.0.mlp.dense_h_to_4h.weight", &[7, D], layer.matrix("up")),
    ];
    let tensors =
        layer.with(fused, ["transformer.word_embeddings.weight", "transformer.h.0.self_attention.dense.weight"]);
    // Old files say how many key-value heads there would be without multi-query attention.
    let config =
        json!({ "num_attention_heads": 4, "num_kv_heads": 4, "multi_query": true, "new_decoder_architecture": false });
    same(&plain, &model(&config, &tensors), &ATTENTION);
}

/// DBRX keeps the experts of a layer below each other, GPT-OSS gate and up by turns.
#[test]
fn experts_below_each_other_and_by_turns() {
    let (experts, neurons) = (2, 5);
    let each = |kind: usize| -> Vec<Vec<f32>> {
        (0..experts).map(|expert| values(100 * kind + expert, neurons * D)).collect()
    };
    let (gate, up, down) = (each(1), each(2), each(3));
    let router = values(9, experts * D);
    let embedding = values(11, 30 * D);
    let mut single = vec![
        named("model.layers.0.mlp.gate.weight", &[experts, D], router.clone()),
        named("model.embed_tokens.weight", &[30, D], embedding.clone()),
    ];
    for expert in 0..experts {
        let name = |w: &str| format!("model.layers.0.mlp.experts.{expert}.{w}.weight");
        single.push(named(&name("gate_proj"), &[neurons, D], gate[expert].clone()));
        single.push(named(&name("up_proj"), &[neurons, D], up[expert].clone()));
        single.push(named(&name("down_proj"), &[D, neurons], transposed(&down[expert], neurons, D)));
    }
    let single = model(&json!({ "model_type": "qwen3_moe" }), &single);
    let families = ["experts.gate_proj", "experts.up_proj", "experts.down_proj", "router"];

    let f = |name: &str| format!("transformer.blocks.0.ffn.{name}");
    let dbrx = [
        named("transformer.wte.weight", &[30, D], embedding.clone()),
        named(&f("router.layer.weight"), &[experts, D], router.clone()),
        named(&f("experts.mlp.w1"), &[10, D], gate.concat()),
        named(&f("experts.mlp.v1"), &[10, D], up.concat()),
        named(&f("experts.mlp.w2"), &[10, D], down.concat()),
    ];
    same(&single, &model(&json!({}), &dbrx), &families);

    let turns = |e: usize| -> Vec<f32> {
        (0..neurons).flat_map(|n| [rows(&gate[e], D, n..n + 1), rows(&up[e], D, n..n + 1)].concat()).collect()
    };
    let gate_up: Vec<f32> = (0..experts).flat_map(|e| transposed(&turns(e), 10, D)).collect();
    let l = |name: &str| format!("model.layers.0.mlp.{name}");
    let oss = [
        named("model.embed_tokens.weight", &[30, D], embedding),
        named(&l("router.weight"), &[experts, D], router),
        named(&l("experts.gate_up_proj"), &[experts, D, 10], gate_up),
        named(&l("experts.gate_up_proj_bias"), &[experts, 10], values(12, 20)),
        named(&l("experts.down_proj"), &[experts, neurons, D], down.concat()),
        named(&l("experts.down_proj_bias"), &[experts, D], values(13, experts * D)),
    ];
    let oss = model(&json!({ "model_type": "gpt_oss" }), &oss);
    same(&single, &oss, &families);
    let bias = oss.parts().into_iter().find(|p| p.role.family == "experts.up_proj.bias" && p.role.expert == Some(1));
    let bias = bias.unwrap();
    let all = values(12, 20);
    assert_eq!((bias.rows, bias.cols, bias.residual), (neurons, 1, false));
    assert_eq!(oss.matrix(&bias).unwrap(), [all[11], all[13], all[15], all[17], all[19]]);
    let bias = oss.parts().into_iter().find(|p| p.role.family == "experts.down_proj.bias").unwrap();
    assert_eq!((bias.rows, bias.cols, bias.residual), (1, D, true));
}

#[test]
fn layers_for_multi_token_prediction_stand_apart() {
    let mut tensors = Vec::new();
    for layer in 0..2 {
        let l = |name: &str| format!("model.layers.{layer}.{name}");
        tensors.push(named(&l("self_attn.kv_a_proj_with_mqa.weight"), &[6, D], values(layer, 6 * D)));
        tensors.push(named(&l("self_attn.kv_b_proj.weight"), &[8, 4], values(layer, 32)));
        tensors.push(named(&l("self_attn.o_proj.weight"), &[D, 8], values(layer, 8 * D)));
    }
    tensors.push(named("model.layers.1.eh_proj.weight", &[D, 2 * D], values(3, 2 * D * D)));
    tensors.push(named("model.embed_tokens.weight", &[30, D], values(3, 30 * D)));
    let model = model(&json!({}), &tensors);
    assert_eq!(model.layers(), 1);
    let parts = model.parts();
    let of = |family: &str| parts.iter().find(|part| part.role.family == family).unwrap();
    assert_eq!((of("o_proj").role.layer, of("mtp.o_proj").role.layer), (Some(0), Some(1)));
    assert_eq!(of("mtp.o_proj").role.judged_as(), "other");
    assert_eq!((of("mtp.eh_proj").rows, of("mtp.eh_proj").cols, of("mtp.eh_proj").residual), (2 * D, D, true));
    assert_eq!((of("kv_b_proj").rows, of("kv_b_proj").cols, of("kv_b_proj").residual), (8, 4, false));
}

#[test]
fn a_billion_experts_are_not_believed() {
    for (shape, count) in [(vec![1 << 36, 0, D], 1), (vec![1 << 21, 1, 1], 1), (vec![3, 1, 1], 3)] {
        let elements = shape.iter().product::<usize>();
        let tensors = [
            ("model.layers.0.mlp.experts.down_proj".to_owned(), Dtype::U8, shape, vec![1; elements]),
            ("model.layers.0.mlp.gate.weight".to_owned(), Dtype::U8, vec![2, D], vec![1; 2 * D]),
        ];
        let model = stored(&json!({ "model_type": "qwen3_moe" }), &tensors);
        let parts = model.parts();
        assert_eq!(parts.iter().filter(|part| part.role.family == "experts.down_proj").count(), count);
        for part in &parts {
            assert_eq!(model.matrix(part).unwrap().len(), part.elements());
        }
    }
}
