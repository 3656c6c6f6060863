//! Weights that a safetensors file holds in quantised blocks, put back as the reference does it: GPTQ, AWQ, bitsandbytes (4 and
//! 8 bits), MXFP4, compressed-tensors, MLX and scaled eight-bit floats. Each is told by the names beside it; what does not fit its own shapes is left
//! as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::{Catalogue, Entry, Place};
use crate::header::quoted;
use crate::index::read_small;
use crate::settings::read_settings;
use crate::{Dtype, HeaderTensor, Shard, Skipped};
use scratchproof_error::{Context, Error, Result};
use scratchproof_kernel::{Rounding, decode, round};
use scratchproof_source::Store;
use scratchproof_texts::{Text, text};

mod blocks;
mod dense;
mod packed;

pub(crate) use blocks::power;

/// Elements of one tensor that are put together, at most.
const MOST: usize = 1 << 32;

/// One quantised tensor: what it is called then, its shape, the parts that go into it, and how.
struct Unpacked {
    name: String,
    shape: Vec<usize>,
    parts: Vec<String>,
    kind: &'static str,
    make: Arc<Make>,
}

/// Computes the elements from the parts' values, in the order of `parts`.
type Make = dyn Fn(&[Part]) -> Result<Vec<f32>> + Send + Sync;

/// A part as it was read.
pub(super) struct Part {
    dtype: Dtype,
    bytes: Vec<u8>,
}

impl Part {
    /// The elements as numbers.
    fn values(&self) -> Vec<f64> {
        let mut values = vec![0.0; self.bytes.len() / self.dtype.width().max(1)];
        decode(self.dtype, &self.bytes, &mut values);
        values
    }

    /// The elements as words of 32 bits, whatever their sign.
    fn words(&self) -> Vec<u32> {
        self.bytes.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four)).collect()
    }
}

/// The entries of one file by name.
pub(super) struct Named<'a> {
    entries: BTreeMap<&'a str, &'a Entry>,
    files: &'a [Shard],
    config: Option<&'a Value>,
    /// What the settings say of how the weights are quantised.
    said: Option<&'a Value>,
}

impl Named<'_> {
    fn get(&self, prefix: &str, name: &str) -> Option<&Entry> {
        self.entries.get(&*[prefix, name].concat()).copied()
    }

    fn setting(&self, name: &str) -> Option<&Value> {
        self.said?.get(name)
    }
}

/// Files in which quantisers say what they did, where config.json does not: `GPTQModel` and `AutoGPTQ`, `AutoAWQ`, `ModelOpt`.
const BESIDE: &[&str] = &["quantize_config.json", "quant_config.json", "hf_quant_config.json"];

/// What such a file says.
///
/// # Errors
/// If it is there and is no JSON.
pub(crate) fn beside(store: &dyn Store, names: &[String]) -> Result<Option<Value>> {
    let Some(name) = BESIDE.iter().find(|name| names.iter().any(|other| other == *name)) else { return Ok(None) };
    let place = || format!("{}: {name}", store.uri());
    let said = read_settings(&read_small(store, name).context(place)?).context(place)?;
    Ok(Some(said.get("quantization").filter(|said| said.is_object()).cloned().unwrap_or(said)))
}

/// What the settings say of quantisation: for the model, for the language model in it (`text_config`, `llm_config`), else in a
/// file of its own.
fn said<'a>(config: Option<&'a Value>, beside: Option<&'a Value>) -> Option<&'a Value> {
    const KEY: &str = "quantization_config";
    let inside = |config: &'a Value| config.as_object()?.values().find_map(|part| part.get(KEY));
    let own = config.and_then(|config| config.get(KEY).or_else(|| inside(config)));
    own.filter(|said| said.is_object()).or(beside)
}

/// Replaces what is quantised by the weights that it stands for; the names of those.
pub(crate) fn unpack(catalogue: &mut Catalogue, config: Option<&Value>, beside: Option<&Value>) -> Vec<String> {
    let names = put_back(catalogue, config, beside);
    // Scales by which nothing was put back are no numbers to compare.
    let (powers, skipped) = (&catalogue.powers, &mut catalogue.skipped);
    catalogue.entries.retain(|entry| {
        let power = powers.contains(&entry.name);
        if power {
            let why = "it is of powers of two (F8_E8M0) that scale others, which were not put back".to_owned();
            skipped.push(Skipped { tensor: entry.name.clone(), why });
        }
        !power
    });
    names
}

fn put_back(catalogue: &mut Catalogue, config: Option<&Value>, beside: Option<&Value>) -> Vec<String> {
    let entries = catalogue.entries.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    let named = Named { entries, files: &catalogue.files, config, said: said(config, beside) };
    let found: Vec<Unpacked> = named.entries.keys().filter_map(|name| unpacked(name, &named)).collect();
    let fits = |own: &Unpacked| {
        let elements = own.shape.iter().try_fold(1usize, |all, axis| all.checked_mul(*axis));
        elements.is_some_and(|elements| elements <= MOST)
    };
    let found: Vec<Unpacked> = found.into_iter().filter(fits).collect();
    if found.is_empty() {
        return Vec::new();
    }
    let files: Arc<[Shard]> = catalogue.files.clone().into();
    let mut gone: BTreeSet<String> = BTreeSet::new();
    let (mut added, mut names) = (Vec::new(), Vec::new());
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for own in found {
        let parts: Vec<Entry> =
            own.parts.iter().filter_map(|name| named.entries.get(name.as_str())).copied().cloned().collect();
        let (files, make, elements) = (Arc::clone(&files), own.make, own.shape.iter().product::<usize>());
        let name = own.name.clone();
        let read = move || {
            let read = |entry: &Entry| -> Result<Part> { Ok(Part { dtype: entry.dtype, bytes: entry.read(&files)? }) };
            let values = make(&parts.iter().map(read).collect::<Result<Vec<Part>>>()?)?;
            if values.len() != elements {
                return Err(Error::input(text!(
                    "error-checkpoint/quantised/blocks-hold-values-not",
                    name = &name,
                    values = values.len(),
                    elements
                )));
            }
            Ok(values.into_iter().flat_map(f32::to_le_bytes).collect())
        };
        gone.extend(own.parts);
        *kinds.entry(own.kind).or_default() += 1;
        names.push(own.name.clone());
        added.push(Entry { name: own.name, dtype: Dtype::F32, shape: own.shape, place: Place::Made(Arc::new(read)) });
    }
    drop(named);
    catalogue.entries.retain(|entry| !gone.contains(&entry.name));
    catalogue.entries.extend(added);
    for (kind, count) in kinds {
        catalogue.notes.push(text!("checkpoint/read/dequantised", kind, count));
    }
    names
}

/// Elements of a matrix of whole numbers that is a weight and no table of indices.
const PACKED: usize = 256;

/// Words in names of tables of indices, masks and positions: whole numbers that are no weights.
const TABLES: &[&str] = &["index", "idx", "ids", "mask", "position", "bucket", "table", "perm", "map", "token"];

/// What to say of weights that were not put back and are no numbers to compare: matrices of whole numbers where weights are
/// floats, and eight-bit floats with scales beside them.
pub(crate) fn left(
    found: &BTreeMap<String, (usize, HeaderTensor)>,
    skipped: &[Skipped],
    config: Option<&Value>,
    beside: Option<&Value>,
) -> Vec<Text> {
    let said = said(config, beside);
    let method = said.and_then(|said| ["quant_method", "quant_algo"].iter().find_map(|key| said.get(key)?.as_str()));
    // MLX names no method.
    let mlx = || config?.get("quantization").filter(|settings| settings.is_object()).map(|_| "MLX");
    let method = method.or_else(mlx);
    let large = |tensor: &HeaderTensor| tensor.shape.len() > 1 && tensor.shape.iter().product::<usize>() >= PACKED;
    let table = |name: &str| {
        let leaf = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
        TABLES.iter().any(|word| leaf.contains(word))
    };
    // Where nothing says that the weights are quantised, 64 bits hold indices.
    let packed = |tensor: &HeaderTensor| match tensor.dtype {
        Dtype::Bool => false,
        Dtype::I64 | Dtype::U64 => method.is_some(),
        dtype => !dtype.is_float() && (method.is_some() || !table(&tensor.name)),
    };
    let whole: Vec<&str> =
        found.values().filter(|(_, own)| large(own) && packed(own)).map(|(_, own)| own.name.as_str()).collect();
    let mut notes = Vec::new();
    if let Some(tensor) = whole.first().map(|name| quoted(name)) {
        let count = whole.len();
        notes.push(match method {
            Some(method) => text!("checkpoint/read/quantised", method = quoted(method), count),
            None => text!("checkpoint/read/packed", count, tensor),
        });
    }
    let names: BTreeSet<&str> =
        found.keys().map(String::as_str).chain(skipped.iter().map(|skipped| skipped.tensor.as_str())).collect();
    // A stack of matrices is scaled where its parts are read.
    let later = |name: &str| SCALES.iter().any(|end| found.contains_key(&[name, end].concat()));
    let eight =
        |own: &HeaderTensor| large(own) && matches!(own.dtype, Dtype::F8E4M3 | Dtype::F8E5M2) && !later(&own.name);
    let scaled: Vec<&str> =
        found.values().filter(|(_, own)| eight(own)).filter_map(|(_, own)| scale_of(&own.name, &names)).collect();
    if let Some(scale) = scaled.first().map(|name| quoted(name)) {
        notes.push(text!("checkpoint/read/scaled", count = scaled.len(), scale));
    }
    notes
}

/// What follows the name of an eight-bit weight in that of its scales.
pub(crate) const SCALES: [&str; 2] = ["_scale_inv", "_scale"];

/// The tensor beside a weight that scales it, by its name; not what only activations need.
fn scale_of<'a>(name: &'a str, names: &BTreeSet<&'a str>) -> Option<&'a str> {
    let (prefix, leaf) = name.rsplit_once('.').map_or(("", name), |(prefix, leaf)| (&name[..=prefix.len()], leaf));
    let beside = names.range(prefix..).take_while(|other| other.starts_with(prefix)).take(BESIDE_WEIGHT);
    let mut scales = beside.copied().filter(|other| {
        let own = &other[prefix.len()..];
        let here = !own.contains('.') || own.strip_prefix(leaf).is_some_and(|rest| rest.starts_with('.'));
        here && own.to_ascii_lowercase().contains("scale") && !ACTIVATIONS.contains(&own)
    });
    scales.next()
}

/// Tensors of one module that are looked at.
const BESIDE_WEIGHT: usize = 64;

fn unpacked(name: &str, named: &Named) -> Option<Unpacked> {
    if let Some(prefix) = name.strip_suffix("qweight") {
        return packed::packed(prefix, named);
    }
    if let Some(prefix) = name.strip_suffix("weight_packed") {
        return dense::compressed(prefix, named);
    }
    if let Some(prefix) = name.strip_suffix("_blocks") {
        return blocks::mxfp4(prefix, named);
    }
    blocks::four_bits(name, named)
        .or_else(|| blocks::eight_bits(name, named))
        .or_else(|| dense::bytes(name, named))
        .or_else(|| dense::mlx(name, named))
        .or_else(|| dense::modelopt(name, named))
        .or_else(|| blocks::scaled(name, named))
}

/// Names of scalars beside a weight that only activations need.
const ACTIVATIONS: [&str; 4] = ["input_scale", "input_zero_point", "input_global_scale", "output_scale"];

/// Those of them that are there, to go with the weight.
fn activations(prefix: &str, named: &Named) -> Vec<String> {
    ACTIVATIONS.iter().filter_map(|part| named.get(prefix, part)).map(|entry| entry.name.clone()).collect()
}

/// A number in the format that the reference computes in.
#[allow(clippy::cast_possible_truncation, reason = "every format that is rounded to is in f32")]
fn stored(value: f64, dtype: Dtype) -> f32 {
    round(value, dtype, Rounding::Nearest) as f32
}

/// What a file says of itself that its bytes do not.
fn short(name: &str) -> Error {
    Error::input(text!("error-checkpoint/quantised/part-shorter-shape-says", name))
}
