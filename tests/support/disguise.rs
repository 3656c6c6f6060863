//! What somebody does to weights so that they are not recognised. Everything that says so keeps the function.
//!
//! Models of the fixtures' own architectures in their own names: Llama, Mixtral, GLM-4-MoE. Packaging comes last, because
//! nothing else knows its names.

use serde_json::{Value, json};

use super::Numbers;
use super::forward::rotary_pairs;
use super::weights::{Format, Model, Tensor};

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// How a tensor meets the residual stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Reads,
    Writes,
    Lies,
    Away,
}

fn stream(name: &str) -> Stream {
    let is = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    let reads =
        ["embed_tokens", "lm_head", "q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", ".gate", ".w1", ".w3"];
    let weight = name.strip_suffix(".weight");
    if weight.is_some_and(|name| reads.iter().any(|ending| name.ends_with(ending))) {
        Stream::Reads
    } else if is(&["o_proj.weight", "down_proj.weight", ".w2.weight"]) {
        Stream::Writes
    } else if is(&["norm.weight", "norm.bias", "o_proj.bias", "down_proj.bias"]) {
        Stream::Lies
    } else {
        Stream::Away
    }
}

impl Numbers {
    /// A random order of the numbers below `end`.
    pub fn order(&mut self, end: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..end).collect();
        (1..end).rev().for_each(|i| order.swap(i, self.below(i + 1)));
        order
    }

    /// A factor from 0.1 to 10, evenly on the scale of logarithms.
    fn factor(&mut self) -> f64 {
        10f64.powf(f64::from(self.noise()) / 3f64.sqrt())
    }

    fn sign(&mut self) -> f64 {
        if self.below(2) == 0 { 1.0 } else { -1.0 }
    }

    /// A random orthogonal matrix: Gram and Schmidt, twice, on random rows.
    pub fn rotation(&mut self, size: usize) -> Vec<Vec<f64>> {
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for _ in 0..size {
            // Sums of several draws, so that no direction of the cube stands out.
            let mut draw = || (0..6).map(|_| f64::from(self.noise())).sum::<f64>();
            let mut row: Vec<f64> = (0..size).map(|_| draw()).collect();
            for _ in 0..2 {
                for other in &rows {
                    let along: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                    row.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
                }
            }
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            rows.push(row.iter().map(|x| x / norm).collect());
        }
        rows
    }
}

/// Residual dimensions in another order. Keeps the function.
pub fn permute_residual(model: &mut Model, seed: u64) {
    let order = Numbers(seed).order(model.size("hidden_size"));
    for (name, tensor) in &mut model.tensors {
        match stream(name) {
            Stream::Reads => tensor.take_columns(&order),
            Stream::Writes | Stream::Lies => tensor.take_rows(&order),
            Stream::Away => {}
        }
    }
}

/// Norm weights moved into the matrices that read what they scale. Keeps the function.
pub fn fold_norms(model: &mut Model) {
    for name in model.names(|name| name.ends_with("norm.weight")) {
        let at = name.rfind("input_layernorm").or(name.rfind("post_attention_layernorm")).map(|end| &name[..end]);
        let readers = match at {
            Some(at) if name.contains("input") => model.names(|n| n.starts_with(at) && n.contains(".self_attn.")),
            Some(at) => model.names(|n| n.starts_with(at) && !n.contains(".self_attn.")),
            None => vec![HEAD.to_owned()],
        };
        let norm = model.tensor(&name);
        let factors: Vec<f64> = norm.values.iter().map(|x| f64::from(*x)).collect();
        norm.values.fill(1.0);
        for reader in readers.iter().filter(|name| stream(name) == Stream::Reads) {
            model.tensor(reader).scale_columns(&factors);
        }
    }
}

/// The residual axis turned by a random rotation, norm weights folded in before. Keeps the function where norms are RMS.
pub fn rotate_residual(model: &mut Model, seed: u64) {
    fold_norms(model);
    let rotation = Numbers(seed).rotation(model.size("hidden_size"));
    for (name, tensor) in &mut model.tensors {
        match stream(name) {
            Stream::Reads => tensor.mix_columns(0, &rotation),
            Stream::Writes => tensor.mix_rows(0, &rotation),
            Stream::Lies if name.ends_with("bias") => tensor.mix_rows(0, &rotation),
            Stream::Lies | Stream::Away => {}
        }
    }
}

/// Names of gate, up and down of every MLP and every expert.
pub fn mlps(model: &Model) -> Vec<[String; 3]> {
    let llama = model.before(".gate_proj.weight").into_iter();
    let llama = llama.map(|at| ["gate_proj", "up_proj", "down_proj"].map(|kind| format!("{at}.{kind}.weight")));
    let mixtral = model.before(".w1.weight").into_iter();
    llama.chain(mixtral.map(|at| ["w1", "w3", "w2"].map(|kind| format!("{at}.{kind}.weight")))).collect()
}

/// Neurons of every MLP and expert in another order, or only the first `keep` of that order.
fn choose_neurons(model: &mut Model, seed: u64, keep: f64) {
    let mut numbers = Numbers(seed);
    for [gate, up, down] in mlps(model) {
        let mut order = numbers.order(model.tensor(&gate).sides().0);
        order.truncate((order.len() as f64 * keep) as usize);
        model.tensor(&gate).take_rows(&order);
        model.tensor(&up).take_rows(&order);
        model.tensor(&down).take_columns(&order);
    }
}

/// Neurons of every MLP and expert in another order. Keeps the function.
pub fn permute_neurons(model: &mut Model, seed: u64) {
    choose_neurons(model, seed, 1.0);
}

/// A share of the neurons of every MLP and expert, drawn at random.
pub fn prune_neurons(model: &mut Model, seed: u64, keep: f64) {
    choose_neurons(model, seed, keep);
    for key in ["intermediate_size", "moe_intermediate_size"] {
        if model.config.contains_key(key) {
            model.set(key, (model.size(key) as f64 * keep) as usize);
        }
    }
}

fn choose_experts(model: &mut Model, seed: u64, keep: Option<usize>) {
    let mut numbers = Numbers(seed);
    for router in model.before(".gate.weight") {
        let mut order = numbers.order(model.tensor(&format!("{router}.gate.weight")).sides().0);
        order.truncate(keep.unwrap_or(order.len()));
        model.tensor(&format!("{router}.gate.weight")).take_rows(&order);
        let correction = format!("{router}.gate.e_score_correction_bias");
        if model.tensors.contains_key(&correction) {
            model.tensor(&correction).take_rows(&order);
        }
        let experts = format!("{router}.experts.");
        let old: Vec<(String, Tensor)> = model
            .names(|name| name.starts_with(&experts))
            .into_iter()
            .map(|name| (name[experts.len()..].to_owned(), model.tensors.remove(&name).expect("a tensor")))
            .collect();
        for (new, from) in order.iter().enumerate() {
            for (name, tensor) in &old {
                let (expert, rest) = name.split_once('.').expect("a number");
                if expert == from.to_string() {
                    model.tensors.insert(format!("{experts}{new}.{rest}"), tensor.clone());
                }
            }
        }
    }
}

/// Experts of every layer in another order, with their router rows. Keeps the function.
pub fn permute_experts(model: &mut Model, seed: u64) {
    choose_experts(model, seed, None);
}

/// A few experts of every layer.
pub fn prune_experts(model: &mut Model, seed: u64, keep: usize) {
    choose_experts(model, seed, Some(keep));
    for key in ["n_routed_experts", "num_local_experts"] {
        if model.config.contains_key(key) {
            model.set(key, keep);
        }
    }
}

/// Where the attention of every layer begins its names.
fn attentions(model: &Model) -> Vec<String> {
    model.before("q_proj.weight")
}

fn heads(model: &Model) -> (usize, usize, usize) {
    let groups = model.size("num_key_value_heads");
    (groups, model.size("num_attention_heads") / groups, model.size("head_dim"))
}

/// The dimensions of some heads.
fn dimensions(heads: &[usize], wide: usize) -> Vec<usize> {
    heads.iter().flat_map(|head| head * wide..(head + 1) * wide).collect()
}

fn choose_heads(model: &mut Model, seed: u64, keep: Option<usize>) {
    let (groups, inside, wide) = heads(model);
    let mut numbers = Numbers(seed);
    for at in attentions(model) {
        let outer = numbers.order(groups);
        let mut queries = Vec::new();
        for group in &outer {
            let order = numbers.order(inside);
            queries.extend(order.iter().take(keep.unwrap_or(inside)).map(|head| group * inside + head));
        }
        let (queries, outer) = (dimensions(&queries, wide), dimensions(&outer, wide));
        for (kind, order) in [("q_proj", &queries), ("k_proj", &outer), ("v_proj", &outer)] {
            for ending in ["weight", "bias"] {
                if let Some(tensor) = model.tensors.get_mut(&format!("{at}{kind}.{ending}")) {
                    tensor.take_rows(order);
                }
            }
        }
        model.tensor(&format!("{at}o_proj.weight")).take_columns(&queries);
    }
}

/// Key and value heads in another order with their groups, and the query heads of each group. Keeps the function.
pub fn permute_heads(model: &mut Model, seed: u64) {
    choose_heads(model, seed, None);
}

/// Some query heads of each group.
pub fn prune_heads(model: &mut Model, seed: u64, keep: usize) {
    choose_heads(model, seed, Some(keep));
    let groups = model.size("num_key_value_heads");
    model.set("num_attention_heads", groups * keep);
}

/// Every pair that one position turns, of keys by a factor from 0.1 to 10 and an angle, of queries by the inverse; the
/// dimensions that no position turns by a factor of either sign. Keeps the function.
pub fn rescale_queries(model: &mut Model, seed: u64) {
    let ((groups, inside, wide), half) = (heads(model), rotary_pairs(model));
    let mut numbers = Numbers(seed);
    for at in attentions(model) {
        for group in 0..groups {
            let [mut key, mut query] = [(); 2].map(|()| vec![vec![0.0; wide]; wide]);
            for i in 0..half {
                let (factor, angle) = (numbers.factor(), f64::from(numbers.noise()));
                let (sine, cosine) = angle.sin_cos();
                for (matrix, factor) in [(&mut key, factor), (&mut query, 1.0 / factor)] {
                    (matrix[i][i], matrix[i][i + half]) = (factor * cosine, -factor * sine);
                    (matrix[i + half][i], matrix[i + half][i + half]) = (factor * sine, factor * cosine);
                }
            }
            for i in 2 * half..wide {
                let factor = numbers.factor() * numbers.sign();
                (key[i][i], query[i][i]) = (factor, 1.0 / factor);
            }
            let queries = (group * inside..(group + 1) * inside).map(|head| ("q_proj", head, &query));
            for (kind, head, matrix) in queries.chain([("k_proj", group, &key)]) {
                for ending in ["weight", "bias"] {
                    if let Some(tensor) = model.tensors.get_mut(&format!("{at}{kind}.{ending}")) {
                        tensor.mix_rows(head * wide, matrix);
                    }
                }
            }
        }
    }
}

/// Values of every head times an invertible matrix, output columns times its inverse: only factors from 0.1 to 10 of
/// either sign, or (`mixed`) between two rotations. Keeps the function.
pub fn rescale_values(model: &mut Model, seed: u64, mixed: bool) {
    let (groups, inside, wide) = heads(model);
    let mut numbers = Numbers(seed);
    for at in attentions(model) {
        for group in 0..groups {
            let unit = || (0..wide).map(|i| (0..wide).map(|j| f64::from(u8::from(i == j))).collect()).collect();
            let mut turn = || if mixed { numbers.rotation(wide) } else { unit() };
            let (left, right): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (turn(), turn());
            let factors: Vec<f64> = (0..wide).map(|_| numbers.factor() * numbers.sign()).collect();
            // left x factors x right, and the transpose of its inverse: left x 1/factors x right.
            let matrix = |inverse: bool| -> Vec<Vec<f64>> {
                let factor = |k: usize| if inverse { 1.0 / factors[k] } else { factors[k] };
                let cell = |i: usize, j: usize| (0..wide).map(|k| left[i][k] * factor(k) * right[k][j]).sum();
                (0..wide).map(|i| (0..wide).map(|j| cell(i, j)).collect()).collect()
            };
            for ending in ["weight", "bias"] {
                if let Some(tensor) = model.tensors.get_mut(&format!("{at}v_proj.{ending}")) {
                    tensor.mix_rows(group * wide, &matrix(false));
                }
            }
            for head in group * inside..(group + 1) * inside {
                model.tensor(&format!("{at}o_proj.weight")).mix_columns(head * wide, &matrix(true));
            }
        }
    }
}

/// Up rows by factors from 0.1 to 10 of either sign, down columns by the inverse. Keeps the function.
pub fn rescale_neurons(model: &mut Model, seed: u64) {
    let mut numbers = Numbers(seed);
    for [_, up, down] in mlps(model) {
        let count = model.tensor(&up).sides().0;
        let factors: Vec<f64> = (0..count).map(|_| numbers.factor() * numbers.sign()).collect();
        model.tensor(&up).scale_rows(&factors);
        model.tensor(&down).scale_columns(&factors.iter().map(|f| 1.0 / f).collect::<Vec<f64>>());
    }
}

/// A share of another model of the same shapes mixed in: `1 - share` of this one, `share` of the other.
pub fn merge(model: &mut Model, other: &Model, share: f32) {
    for (name, tensor) in &mut model.tensors {
        for (own, theirs) in tensor.values.iter_mut().zip(&other.tensors[name].values) {
            *own += share * (theirs - *own);
        }
    }
}

/// Another number format for every tensor.
pub fn recast(model: &mut Model, format: Format) {
    for tensor in model.tensors.values_mut() {
        tensor.values.iter_mut().for_each(|x| *x = format.round(*x));
        tensor.format = format;
    }
}

/// F8 with one factor for every block of matrices inside layers, as DeepSeek-V3 has it; the rest becomes bf16.
pub fn quantise(model: &mut Model, block: usize) {
    recast(model, Format::Bf16);
    for name in model.names(|n| n.ends_with("_proj.weight") || n.contains(".w")) {
        let tensor = model.tensor(&name);
        let (rows, columns) = tensor.sides();
        let across = columns.div_ceil(block);
        let mut largest = vec![0f32; rows.div_ceil(block) * across];
        let cell = |at: usize| at / columns / block * across + at % columns / block;
        tensor.values.iter().enumerate().for_each(|(at, x)| largest[cell(at)] = largest[cell(at)].max(x.abs()));
        let scales: Vec<f32> = largest.iter().map(|x| if *x > 0.0 { x / 448.0 } else { 1.0 }).collect();
        for (at, x) in tensor.values.iter_mut().enumerate() {
            *x = Format::F8.round(*x / scales[cell(at)]);
        }
        tensor.format = Format::F8;
        let shape = vec![rows.div_ceil(block), across];
        model.tensors.insert(format!("{name}_scale_inv"), Tensor { shape, format: Format::F32, values: scales });
    }
    let about = json!({"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [block, block]});
    model.config.insert("quantization_config".to_owned(), about);
}

/// The layers of this model, each filled from one of its old ones: repeated, left out or in another order.
pub fn relayer(model: &mut Model, map: &[usize]) {
    const LAYERS: &str = "model.layers.";
    let old: Vec<(String, Tensor)> = model
        .names(|name| name.starts_with(LAYERS))
        .into_iter()
        .map(|name| (name[LAYERS.len()..].to_owned(), model.tensors.remove(&name).expect("a tensor")))
        .collect();
    for (new, from) in map.iter().enumerate() {
        for (name, tensor) in &old {
            let (layer, rest) = name.split_once('.').expect("a number");
            if layer == from.to_string() {
                model.tensors.insert(format!("{LAYERS}{new}.{rest}"), tensor.clone());
            }
        }
    }
    model.set("num_hidden_layers", map.len());
}

/// Stacks tensors on one another and takes them away.
fn stack(model: &mut Model, parts: &[String], whole: &str) {
    let parts: Vec<Tensor> = parts.iter().map(|name| model.tensors.remove(name).expect("a part")).collect();
    let mut shape = parts[0].shape.clone();
    shape[0] = parts.iter().map(|part| part.shape[0]).sum();
    let values = parts.iter().flat_map(|part| part.values.clone()).collect();
    model.tensors.insert(whole.to_owned(), Tensor { shape, format: parts[0].format, values });
}

/// Queries, keys and values in one tensor, gate and up in another, as Phi-3 has them.
pub fn fuse(model: &mut Model) {
    for at in attentions(model) {
        for ending in ["weight", "bias"] {
            let parts = ["q", "k", "v"].map(|kind| format!("{at}{kind}_proj.{ending}"));
            if model.tensors.contains_key(&parts[0]) {
                stack(model, &parts, &format!("{at}qkv_proj.{ending}"));
            }
        }
    }
    for at in model.before(".gate_proj.weight") {
        let parts = ["gate", "up"].map(|kind| format!("{at}.{kind}_proj.weight"));
        stack(model, &parts, &format!("{at}.gate_up_proj.weight"));
    }
}

/// The experts of a layer in one tensor of three axes for gate and up and one for down: expert, output, input; or
/// (`turned`) expert, input, output.
pub fn stack_experts(model: &mut Model, turned: bool) {
    for router in model.before(".gate.weight") {
        let at = format!("{router}.experts.");
        let count = model.tensor(&format!("{router}.gate.weight")).sides().0;
        let glm = model.tensors.contains_key(&format!("{at}0.gate_proj.weight"));
        let kinds = if glm { ["gate_proj", "up_proj", "down_proj"] } else { ["w1", "w3", "w2"] };
        for (whole, kinds) in [("gate_up_proj", &kinds[..2]), ("down_proj", &kinds[2..])] {
            let mut experts: Vec<String> = Vec::new();
            for expert in 0..count {
                let parts: Vec<String> = kinds.iter().map(|kind| format!("{at}{expert}.{kind}.weight")).collect();
                let name = format!("{at}{expert}.{whole}.stacked");
                stack(model, &parts, &name);
                if turned {
                    model.tensor(&name).turn();
                }
                experts.push(name);
            }
            let inner = model.tensor(&experts[0]).shape.clone();
            let name = format!("{at}{whole}");
            stack(model, &experts, &name);
            model.tensor(&name).shape = vec![count, inner[0], inner[1]];
        }
    }
}

/// Keys and values repeated, so that every query head has its own. Keeps the function.
pub fn ungroup(model: &mut Model) {
    let (groups, inside, wide) = heads(model);
    let repeated: Vec<usize> = (0..groups * inside).map(|head| head / inside).collect();
    for name in model.names(|name| name.contains(".k_proj.") || name.contains(".v_proj.")) {
        model.tensor(&name).take_rows(&dimensions(&repeated, wide));
    }
    model.set("num_key_value_heads", groups * inside);
}

/// Attention made latent: queries, and keys with values, through as many ranks as the model has dimensions, in a random basis.
/// For a model whose query heads have their own keys and values; keeps the function where no position turns them.
pub fn as_latent(model: &mut Model, seed: u64) {
    let (hidden, heads, wide) = (model.size("hidden_size"), model.size("num_attention_heads"), model.size("head_dim"));
    let mut numbers = Numbers(seed);
    for at in attentions(model) {
        let mut ranks = |model: &mut Model, name: &str, behind: &str, rows: Tensor| {
            // W = (W R^T) R for a rotation R.
            let basis = numbers.rotation(hidden);
            let along =
                |row: &[f32], direction: &[f64]| row.iter().zip(direction).map(|(a, b)| f64::from(*a) * b).sum::<f64>();
            let after =
                rows.values.chunks_exact(hidden).flat_map(|row| basis.iter().map(move |b| along(row, b) as f32));
            let plain = |shape, values| Tensor { shape, format: Format::F32, values };
            let after = plain(rows.shape.clone(), after.collect());
            let before = plain(vec![hidden, hidden], basis.iter().flatten().map(|value| *value as f32).collect());
            let norm = plain(vec![hidden], vec![1.0; hidden]);
            model.tensors.insert(format!("{at}{name}.weight"), before);
            model.tensors.insert(format!("{at}{behind}.weight"), after);
            let norm_name = name.replace("proj_with_mqa", "layernorm").replace("q_a_proj", "q_a_layernorm");
            model.tensors.insert(format!("{at}{norm_name}.weight"), norm);
        };
        let take =
            |model: &mut Model, kind: &str| model.tensors.remove(&format!("{at}{kind}.weight")).expect("attention");
        let (queries, keys, values) = (take(model, "q_proj"), take(model, "k_proj"), take(model, "v_proj"));
        let head =
            |tensor: &Tensor, head: usize| tensor.values[head * wide * hidden..(head + 1) * wide * hidden].to_vec();
        let both = (0..heads).flat_map(|h| [head(&keys, h), head(&values, h)].concat()).collect();
        let both = Tensor { shape: vec![2 * heads * wide, hidden], format: Format::F32, values: both };
        ranks(model, "q_a_proj", "q_b_proj", queries);
        ranks(model, "kv_a_proj_with_mqa", "kv_b_proj", both);
    }
    model.config.insert("model_type".into(), "deepseek_v3".into());
    model.config.insert("architectures".into(), serde_json::json!(["DeepseekV3ForCausalLM"]));
    for (key, size) in [
        ("q_lora_rank", hidden),
        ("kv_lora_rank", hidden),
        ("qk_nope_head_dim", wide),
        ("qk_rope_head_dim", 0),
        ("v_head_dim", wide),
    ] {
        model.set(key, size);
    }
}

/// A dense model in the packaging of GPT-2: every query head has its key and value head, all three are one tensor, and
/// matrices inside layers are stored the other way round. GPT-2 has no gates, so they are left out.
pub fn as_gpt2(model: &mut Model) {
    ungroup(model);
    for name in model.names(|name| name.ends_with(".gate_proj.weight")) {
        model.tensors.remove(&name);
    }
    fuse(model);
    let names = [
        ("self_attn.qkv_proj", "attn.c_attn"),
        ("self_attn.o_proj", "attn.c_proj"),
        ("mlp.up_proj", "mlp.c_fc"),
        ("mlp.down_proj", "mlp.c_proj"),
        ("input_layernorm", "ln_1"),
        ("post_attention_layernorm", "ln_2"),
        ("model.norm", "transformer.ln_f"),
        ("model.embed_tokens", "transformer.wte"),
        ("model.layers", "transformer.h"),
    ];
    let tensors = std::mem::take(&mut model.tensors);
    for (name, mut tensor) in tensors {
        if tensor.shape.len() == 2 && name.contains(".layers.") {
            tensor.turn();
        }
        model.tensors.insert(names.iter().fold(name, |name, (old, new)| name.replace(old, new)), tensor);
    }
    let (wide, heads, layers) =
        (model.size("hidden_size"), model.size("num_attention_heads"), model.size("num_hidden_layers"));
    for (key, value) in [("n_embd", wide), ("n_head", heads), ("n_layer", layers)] {
        model.set(key, value);
    }
    model.config.insert("model_type".to_owned(), "gpt2".into());
}

/// The ids of the tokenizer's vocabulary, by token.
fn vocabulary(tokenizer: &mut Value) -> &mut serde_json::Map<String, Value> {
    tokenizer["model"]["vocab"].as_object_mut().expect("a vocabulary")
}

fn renumber(tokenizer: &mut Value, new: impl Fn(usize) -> usize) {
    let renew = |id: &mut Value| *id = new(usize::try_from(id.as_u64().expect("an id")).expect("an id")).into();
    vocabulary(tokenizer).values_mut().for_each(renew);
    for token in tokenizer["added_tokens"].as_array_mut().expect("added tokens") {
        renew(&mut token["id"]);
    }
}

/// Token ids in another order, in the tokenizer too.
pub fn permute_vocabulary(model: &mut Model, seed: u64) {
    let order = Numbers(seed).order(model.size("vocab_size"));
    for name in [EMBEDDING, HEAD] {
        model.tensor(name).take_rows(&order);
    }
    let mut new = vec![0; order.len()];
    order.iter().enumerate().for_each(|(at, from)| new[*from] = at);
    renumber(model.tokenizer.as_mut().expect("a tokenizer"), |id| new[id]);
}

/// New tokens before all others, with rows drawn at random.
pub fn extend_vocabulary(model: &mut Model, seed: u64, more: usize) {
    let mut numbers = Numbers(seed);
    for name in [EMBEDDING, HEAD] {
        let tensor = model.tensor(name);
        let (_, columns) = tensor.sides();
        let format = tensor.format;
        let mut values: Vec<f32> = (0..more * columns).map(|_| format.round(0.02 * numbers.noise())).collect();
        values.append(&mut tensor.values);
        tensor.values = values;
        tensor.shape[0] += more;
    }
    let tokenizer = model.tokenizer.as_mut().expect("a tokenizer");
    renumber(tokenizer, |id| id + more);
    vocabulary(tokenizer).extend((0..more).map(|id| (format!("<|new_{id}|>"), id.into())));
    model.set("vocab_size", model.size("vocab_size") + more);
}

/// Another tokenizer: rows of the strings that both have are kept, the others are drawn at random.
pub fn retokenise(model: &mut Model, tokenizer: &Value, seed: u64) {
    let (mut old, mut new) = (model.tokenizer.take().expect("a tokenizer"), tokenizer.clone());
    let (old, new) = (vocabulary(&mut old), vocabulary(&mut new));
    let mut numbers = Numbers(seed);
    let id = |id: &Value| usize::try_from(id.as_u64().expect("an id")).expect("an id");
    let mut from = vec![None; new.len()];
    new.iter().for_each(|(token, at)| from[id(at)] = old.get(token).map(id));
    for name in [EMBEDDING, HEAD] {
        let tensor = model.tensor(name);
        let (_, columns) = tensor.sides();
        let format = tensor.format;
        let mut values = Vec::new();
        for row in &from {
            match row {
                Some(row) => values.extend_from_slice(&tensor.values[row * columns..][..columns]),
                None => values.extend((0..columns).map(|_| format.round(0.02 * numbers.noise()))),
            }
        }
        tensor.values = values;
        tensor.shape[0] = from.len();
    }
    model.set("vocab_size", from.len());
    model.tokenizer = Some(tokenizer.clone());
}

/// Some rows of one tensor taken from another model.
pub fn copy_rows(model: &mut Model, other: &Model, name: &str, rows: std::ops::Range<usize>) {
    let (from, tensor) = (&other.tensors[name], model.tensor(name));
    let (_, columns) = tensor.sides();
    for (own, theirs) in
        tensor.values.iter_mut().zip(&from.values).skip(rows.start * columns).take(rows.len() * columns)
    {
        *own = tensor.format.round(*theirs);
    }
}

/// A layer of another model in place of an own one.
pub fn copy_layer(model: &mut Model, other: &Model, from: usize, to: usize) {
    for name in other.names(|name| name.starts_with(&format!("model.layers.{from}."))) {
        let own = model.tensor(&name.replacen(&format!(".{from}."), &format!(".{to}."), 1));
        own.values = other.tensors[&name].values.iter().map(|x| own.format.round(*x)).collect();
    }
}

/// Noise of a share of every tensor's own size.
pub fn add_noise(model: &mut Model, seed: u64, share: f32) {
    let mut numbers = Numbers(seed);
    for tensor in model.tensors.values_mut() {
        let rms = (tensor.values.iter().map(|x| x * x).sum::<f32>() / tensor.values.len() as f32).sqrt();
        tensor.values.iter_mut().for_each(|x| *x = tensor.format.round(*x + share * rms * numbers.noise()));
    }
}
