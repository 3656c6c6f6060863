//! A model of any size that lies nowhere: its bytes follow from an address, so that an audit of a hundred billion parameters can be
//! rehearsed on a machine that has not the disk for it.
//!
//! `made://?hidden=4096&layers=48&experts=128&inner=1408&seed=1&step=3` is a mixture of experts in Qwen3's words, with weights that
//! are drawn: a start by `from` (or `seed`), and on it as many steps of noise by `seed` as `step` says. The weights of one seed at
//! two steps are a chain; those of two seeds know nothing of each other.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use super::directory::plain;
use super::{Blob, MemoryFile, Store};
use scratchproof_error::mixing::mixed;
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// What an address may ask for, each with its least, its greatest and its usual value. A case file of the other side may hold one.
const KEYS: [(&str, u64, u64, u64); 12] = [
    ("hidden", 16, 16_384, 256),
    ("layers", 1, 256, 4),
    ("experts", 0, 512, 0),
    ("inner", 16, 65_536, 704),
    ("heads", 1, 256, 4),
    ("kv", 1, 256, 2),
    ("head", 8, 512, 64),
    ("vocabulary", 16, 1_048_576, 1_024),
    ("seed", 0, u64::MAX, 1),
    ("from", 0, u64::MAX, u64::MAX),
    ("step", 0, 64, 0),
    ("share", 1, 65_536, 1),
];

/// Tensors of one model at most: two hundred thousand are those of 256 layers with 256 experts.
const TENSORS: u64 = 200_000;

/// Elements of a tensor that are drawn from one place of the table.
const BLOCK: usize = 4096;

/// Signs that are drawn at once.
const WORD: usize = 64;

/// Drawn values that all weights are taken from, a piece at a time.
const TABLE: usize = 1 << 20;

/// Deviation of a start, and of a step on it.
const DEVIATION: (f32, f32) = (0.02, 0.002);

/// The sizes of a model and what it was drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recipe {
    hidden: u64,
    layers: u64,
    /// Experts of a layer; 0 for one dense network.
    experts: u64,
    inner: u64,
    heads: u64,
    key_heads: u64,
    head: u64,
    vocabulary: u64,
    seed: u64,
    from: u64,
    step: u64,
    share: u64,
}

impl Recipe {
    fn read(address: &str) -> Result<Self> {
        let unknown = |what: &str| {
            let keys: Vec<&str> = KEYS.iter().map(|key| key.0).collect();
            Error::usage(text!("error-source/rehearsal/not-a-size", address, what, keys = keys.join(", ")))
        };
        let asked = address.split_once("://").map_or(address, |(_, rest)| rest);
        let asked = asked.strip_prefix('?').ok_or_else(|| unknown(asked))?;
        let mut values = KEYS.map(|key| key.3);
        for pair in asked.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| unknown(pair))?;
            let at = KEYS.iter().position(|own| own.0 == key).ok_or_else(|| unknown(pair))?;
            let (_, least, most, _) = KEYS[at];
            let value: u64 = value.parse().map_err(|_| unknown(pair))?;
            if !(least..=most).contains(&value) {
                return Err(Error::usage(text!(
                    "error-source/rehearsal/out-of-range",
                    address,
                    key,
                    value,
                    least,
                    most
                )));
            }
            values[at] = value;
        }
        let [hidden, layers, experts, inner, heads, key_heads, head, vocabulary, seed, from, step, share] = values;
        let from = if from == u64::MAX { seed } else { from };
        let tensors = layers * (9 + 3 * experts.max(1));
        if tensors > TENSORS || !heads.is_multiple_of(key_heads) {
            let what = format!("{tensors} tensors (at most {TENSORS}), {heads} heads over {key_heads} key heads");
            return Err(unknown(&what));
        }
        Ok(Self { hidden, layers, experts, inner, heads, key_heads, head, vocabulary, seed, from, step, share })
    }

    /// Names and shapes of the tensors of one file: of a layer, or, after them, of what no layer has.
    fn tensors(&self, file: u64) -> Vec<(String, Vec<u64>)> {
        if file == self.layers {
            return vec![
                ("lm_head.weight".into(), vec![self.vocabulary, self.hidden]),
                ("model.embed_tokens.weight".into(), vec![self.vocabulary, self.hidden]),
                ("model.norm.weight".into(), vec![self.hidden]),
            ];
        }
        let prefix = format!("model.layers.{file}");
        let own = |name: &str, shape: &[u64]| (format!("{prefix}.{name}.weight"), shape.to_vec());
        let (queries, keys) = (self.heads * self.head, self.key_heads * self.head);
        let mut all = vec![
            own("input_layernorm", &[self.hidden]),
            own("post_attention_layernorm", &[self.hidden]),
            own("self_attn.q_norm", &[self.head]),
            own("self_attn.k_norm", &[self.head]),
            own("self_attn.q_proj", &[queries, self.hidden]),
            own("self_attn.k_proj", &[keys, self.hidden]),
            own("self_attn.v_proj", &[keys, self.hidden]),
            own("self_attn.o_proj", &[self.hidden, queries]),
        ];
        let mut network = |name: &str| {
            all.push(own(&format!("{name}.gate_proj"), &[self.inner, self.hidden]));
            all.push(own(&format!("{name}.up_proj"), &[self.inner, self.hidden]));
            all.push(own(&format!("{name}.down_proj"), &[self.hidden, self.inner]));
        };
        if self.experts == 0 {
            network("mlp");
        }
        (0..self.experts).for_each(|expert| network(&format!("mlp.experts.{expert}")));
        if self.experts > 0 {
            all.push(own("mlp.gate", &[self.experts, self.hidden]));
        }
        all
    }

    fn configuration(&self) -> String {
        let mixture = self.experts > 0;
        serde_json::json!({
            "architectures": [if mixture { "Qwen3MoeForCausalLM" } else { "Qwen3ForCausalLM" }],
            "model_type": if mixture { "qwen3_moe" } else { "qwen3" },
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "moe_intermediate_size": self.inner,
            "num_experts": self.experts,
            "num_experts_per_tok": 8.min(self.experts),
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_heads,
            "head_dim": self.head,
            "vocab_size": self.vocabulary,
            "tie_word_embeddings": false,
            "torch_dtype": "bfloat16",
        })
        .to_string()
    }
}

/// A model that lies nowhere, as a place with files.
pub struct Rehearsal {
    uri: String,
    recipe: Recipe,
}

impl Rehearsal {
    /// The model of an address.
    ///
    /// # Errors
    /// A usage error if the address asks for something that is no size of a model, or for one beyond the limits.
    pub fn open(address: &str) -> Result<Self> {
        Ok(Self { uri: address.to_owned(), recipe: Recipe::read(address)? })
    }

    fn files(&self) -> impl Iterator<Item = String> {
        let of = self.recipe.layers + 1;
        (1..=of).map(move |file| format!("model-{file:05}-of-{of:05}.safetensors"))
    }

    fn index(&self) -> String {
        let mut map = serde_json::Map::new();
        for (at, file) in (0..).zip(self.files()) {
            for (name, _) in self.recipe.tensors(at) {
                map.insert(name, file.clone().into());
            }
        }
        serde_json::json!({ "metadata": {}, "weight_map": map }).to_string()
    }
}

const CONFIGURATION: &str = "config.json";
const INDEX: &str = "model.safetensors.index.json";

impl Store for Rehearsal {
    fn uri(&self) -> String {
        self.uri.clone()
    }

    fn list(&self) -> Result<Vec<String>> {
        Ok([CONFIGURATION.into()].into_iter().chain(self.files()).chain([INDEX.into()]).collect())
    }

    fn open(&self, name: &str) -> Result<Box<dyn Blob>> {
        plain(name)?;
        let uri = format!("{} {name}", self.uri);
        match name {
            CONFIGURATION => return Ok(Box::new(MemoryFile::new(uri, self.recipe.configuration()))),
            INDEX => return Ok(Box::new(MemoryFile::new(uri, self.index()))),
            _ => {}
        }
        let file = (0..).zip(self.files()).find(|(_, file)| file == name).map(|(at, _)| at);
        let file = file.ok_or_else(|| Error::input(text!("error-source/rehearsal/no-file", uri = &self.uri, name)))?;
        Ok(Box::new(Drawn::new(uri, self.recipe, file)))
    }
}

/// One file of it, in the form of safetensors.
struct Drawn {
    uri: String,
    recipe: Recipe,
    header: Vec<u8>,
    /// Of every tensor where it begins behind the header, in elements, and whether it is a norm. Last, where all end.
    starts: Vec<(u64, bool)>,
    /// What tells the tensors of this file from those of others.
    file: u64,
}

impl Drawn {
    fn new(uri: String, recipe: Recipe, file: u64) -> Self {
        let mut entries = String::from("{");
        let mut starts = Vec::new();
        let mut end = 0;
        for (name, shape) in recipe.tensors(file) {
            let elements: u64 = shape.iter().product();
            starts.push((end, shape.len() == 1));
            let comma = if end == 0 { "" } else { "," };
            let (from, to) = (2 * end, 2 * (end + elements));
            // Writing to a string cannot fail.
            let _ = write!(
                entries,
                "{comma}\"{name}\":{{\"dtype\":\"BF16\",\"shape\":{shape:?},\"data_offsets\":[{from},{to}]}}"
            );
            end += elements;
        }
        entries.push('}');
        entries.push_str(&" ".repeat(entries.len().next_multiple_of(8) - entries.len()));
        starts.push((end, false));
        let header = [&(entries.len() as u64).to_le_bytes(), entries.as_bytes()].concat();
        Self { uri, recipe, header, starts, file }
    }

    /// Fills with the bf16 values from an element on.
    fn draw(&self, first: u64, values: &mut [u8]) {
        let end = first + values.len() as u64 / 2;
        let mut at = self.starts.partition_point(|(start, _)| *start <= first).saturating_sub(1);
        let (mut from, mut rest) = (first, values);
        let mut sums = [0_f32; BLOCK];
        while from < end && at + 1 < self.starts.len() {
            let (start, norm) = self.starts[at];
            if from >= self.starts[at + 1].0 {
                at += 1;
                continue;
            }
            let long = BLOCK as u64;
            let block = (from - start) / long;
            let to = (start + (block + 1) * long).min(self.starts[at + 1].0).min(end);
            let skip = usize::try_from((from - start) % long).unwrap_or_default();
            let count = usize::try_from(to - from).unwrap_or_default();
            let sums = &mut sums[..count];
            let Recipe { seed, from: origin, step, .. } = self.recipe;
            sums.fill(if norm { 1.0 } else { 0.0 });
            for own in 0..=step {
                let (seed, scale) = if own == 0 { (origin, DEVIATION.0) } else { (seed, DEVIATION.1) };
                if norm && own == 0 {
                    continue;
                }
                let parts = [self.file, at as u64, block, own];
                let hash = parts.iter().fold(mixed(seed), |hash, part| mixed(hash ^ part));
                let place = usize::try_from(hash % (TABLE - BLOCK) as u64).unwrap_or_default() + skip;
                // Pieces of one table have its correlations in common; with signs of their own they have none.
                let mut element = skip;
                for (sums, drawn) in aligned(sums, &table()[place..place + count], skip) {
                    let signs = mixed(hash ^ (element / WORD) as u64) >> (element % WORD);
                    element += sums.len();
                    for ((sum, drawn), bit) in sums.iter_mut().zip(drawn).zip(0..) {
                        let sign = u32::from(signs >> bit & 1 == 1) << 31;
                        *sum += scale * f32::from_bits(drawn.to_bits() ^ sign);
                    }
                }
            }
            let (now, later) = rest.split_at_mut(2 * count);
            now.chunks_exact_mut(2).zip(sums).for_each(|(bytes, value)| bytes.copy_from_slice(&rounded(*value)));
            rest = later;
            from = to;
        }
    }
}

/// Values and drawn ones in pieces that end where a word of signs does; the first begins `skip` elements into a block.
fn aligned<'a>(
    values: &'a mut [f32],
    drawn: &'a [f32],
    skip: usize,
) -> impl Iterator<Item = (&'a mut [f32], &'a [f32])> {
    let first = (WORD - skip % WORD).min(values.len());
    let (head, rest) = values.split_at_mut(first);
    let (of_head, of_rest) = drawn.split_at(first);
    std::iter::once((head, of_head)).chain(rest.chunks_mut(WORD).zip(of_rest.chunks(WORD)))
}

/// To bf16, to the nearest, ties to even.
#[allow(clippy::cast_possible_truncation, reason = "the upper half of the bits")]
fn rounded(value: f32) -> [u8; 2] {
    let bits = value.to_bits();
    (((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16).to_le_bytes()
}

impl Blob for Drawn {
    fn len(&self) -> u64 {
        let elements = self.starts.last().map_or(0, |(end, _)| *end);
        self.header.len() as u64 + 2 * elements
    }

    fn uri(&self) -> String {
        self.uri.clone()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let length = buffer.len() as u64;
        if offset.checked_add(length).is_none_or(|end| end > self.len()) {
            let (uri, len) = (&self.uri, self.len());
            return Err(Error::input(text!(
                "error-source/memory/bytes-byte-asked-but",
                uri,
                wanted = length,
                offset,
                len
            )));
        }
        let header = self.header.len() as u64;
        let own = usize::try_from(header.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        let (before, mut rest) = buffer.split_at_mut(own);
        if own > 0 {
            let from = usize::try_from(offset).unwrap_or_default();
            before.copy_from_slice(&self.header[from..from + own]);
        }
        let mut from = (offset + own as u64).saturating_sub(header);
        // Half an element at either end.
        if from % 2 == 1 && !rest.is_empty() {
            let mut value = [0; 2];
            self.draw(from / 2, &mut value);
            rest[0] = value[1];
            rest = &mut rest[1..];
            from += 1;
        }
        let whole = rest.len() / 2 * 2;
        let (whole, last) = rest.split_at_mut(whole);
        self.draw(from / 2, whole);
        if let [last] = last {
            let mut value = [0; 2];
            self.draw(from / 2 + whole.len() as u64 / 2, &mut value);
            *last = value[0];
        }
        Ok(())
    }

    fn is_made(&self) -> bool {
        true
    }

    fn stands_for(&self) -> usize {
        usize::try_from(self.recipe.share).unwrap_or(1)
    }
}

/// Values of the standard normal law: Irwin and Hall's sum of twelve, which every machine adds to the same bits.
#[allow(clippy::cast_precision_loss, reason = "16 bits each")]
fn table() -> &'static [f32] {
    static VALUES: OnceLock<Arc<[f32]>> = OnceLock::new();
    VALUES.get_or_init(|| {
        let drawn = |at: u64| {
            let parts = (0..3).flat_map(|own| mixed(at * 3 + own).to_le_bytes().as_chunks::<2>().0.to_vec());
            let sum: u32 = parts.map(|part| u32::from(u16::from_le_bytes(part))).sum();
            sum as f32 / 65_536.0 - 6.0 + 12.0 / 131_072.0
        };
        (0..TABLE as u64).map(drawn).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "made://?hidden=32&layers=2&experts=3&inner=48&heads=2&kv=1&head=16&vocabulary=64";

    fn values(address: &str, file: usize, offset: u64, count: usize) -> Vec<f32> {
        let model = Rehearsal::open(address).unwrap();
        let name = model.files().nth(file).unwrap();
        let blob = model.open(&name).unwrap();
        let header = u64::from_le_bytes(blob.bytes(0, 8).unwrap().as_ref().try_into().unwrap()) + 8;
        let bytes = blob.bytes(header + 2 * offset, 2 * count).unwrap();
        bytes.chunks(2).map(|pair| f32::from_bits(u32::from(u16::from_le_bytes([pair[0], pair[1]])) << 16)).collect()
    }

    fn correlation(a: &[f32], b: &[f32]) -> f32 {
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        product(a, b) / (product(a, a) * product(b, b)).sqrt()
    }

    #[test]
    fn any_range_of_a_file_has_the_same_bytes() {
        let model = Rehearsal::open(&format!("{SMALL}&step=2")).unwrap();
        for name in model.files() {
            let blob = model.open(&name).unwrap();
            let size = usize::try_from(blob.len()).unwrap();
            let whole = blob.bytes(0, size).unwrap();
            for (from, length) in [(0, 9), (3, 200), ((size / 2) | 1, 5001), (size - 7, 7), (size, 0), (1, size - 2)] {
                let length = length.min(size - from);
                let own = blob.bytes(from as u64, length).unwrap();
                assert_eq!(own[..], whole[from..from + length], "{name} {from} {length}");
            }
            assert!(blob.bytes(size as u64, 1).is_err() && blob.bytes(u64::MAX, 2).is_err());
        }
    }

    #[test]
    fn one_seed_is_a_chain_and_two_know_nothing_of_each_other() {
        let at = |more: &str| values(&format!("{SMALL}{more}"), 2, 0, 2048);
        let (first, later) = (at("&seed=1"), at("&seed=1&step=9"));
        let mean_square = first.iter().map(|v| v * v).sum::<f32>() / 2048.0;
        assert!((mean_square.sqrt() / DEVIATION.0 - 1.0).abs() < 0.05, "{mean_square}");
        // 0.02 over the root of 0.02 squared and nine times 0.002 squared.
        assert!((correlation(&first, &later) - 0.958).abs() < 0.01);
        assert!(correlation(&first, &at("&seed=2")).abs() < 0.1);
        let grown = at("&seed=1&from=2&step=9");
        assert!(correlation(&at("&seed=2"), &grown) > 0.94 && correlation(&later, &grown).abs() < 0.2);
        // Norms begin at one.
        assert!(values(SMALL, 0, 0, 64).iter().all(|value| value.to_bits() == 1.0_f32.to_bits()));
    }

    #[test]
    fn addresses_that_ask_for_no_model_are_usage_errors() {
        for (address, said) in [
            ("made://hidden=3", "hidden"),
            ("made://?hidden=15", "16"),
            ("made://?layers=257", "256"),
            ("made://?wide=3", "wide"),
            ("made://?hidden", "hidden"),
            ("made://?hidden=x", "hidden=x"),
            ("made://?layers=256&experts=512", "200000"),
            ("made://?heads=3&kv=2", "3 heads"),
        ] {
            let error = Rehearsal::open(address).err().expect("a refusal");
            assert!(error.is_usage() && error.to_string().contains(said), "{address}: {error}");
        }
        assert!(Rehearsal::open(SMALL).unwrap().open("../x").is_err());
        assert!(Rehearsal::open(SMALL).unwrap().open("model-00004-of-00003.safetensors").is_err());
    }
}
