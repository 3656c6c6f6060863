//! Weights that a safetensors file holds in quantised blocks, put back as the reference does it: GPTQ, AWQ, bitsandbytes (4 and
//! 8 bits), MXFP4, compressed-tensors, MLX and scaled eight-bit floats. Each is told by the names beside it; what does not fit its own shapes is left
//! as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::{Catalogue, Entry, Place};
use crate::header::quoted;
use crate::{Dtype, HeaderTensor, Shard};
use scratchproof_error::{Error, Result};
use scratchproof_kernel::{Rounding, decode, round};
use scratchproof_texts::{Text, text};

mod blocks;
mod dense;
mod packed;

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
}

impl Named<'_> {
    fn get(&self, prefix: &str, name: &str) -> Option<&Entry> {
        self.entries.get(&*[prefix, name].concat()).copied()
    }

    fn setting(&self, name: &str) -> Option<&Value> {
        self.config?.get("quantization_config")?.get(name)
    }
}

/// Replaces what is quantised by the weights that it stands for; the names of those.
pub(crate) fn unpack(catalogue: &mut Catalogue, config: Option<&Value>) -> Vec<String> {
    let entries = catalogue.entries.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    let named = Named { entries, files: &catalogue.files, config };
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

/// What to say of weights that the settings call quantised, where matrices of whole numbers are left of them: they were not put
/// back, and are no numbers to compare.
pub(crate) fn left(found: &BTreeMap<String, (usize, HeaderTensor)>, config: Option<&Value>) -> Option<Text> {
    let config = config?;
    let method = config.get("quantization_config").and_then(|settings| settings.get("quant_method")?.as_str());
    // MLX names no method.
    let method =
        method.or_else(|| config.get("quantization").filter(|settings| settings.is_object()).map(|_| "MLX"))?;
    let whole = |tensor: &HeaderTensor| {
        let elements: usize = tensor.shape.iter().product();
        !tensor.dtype.is_float() && tensor.dtype != Dtype::Bool && tensor.shape.len() > 1 && elements >= PACKED
    };
    let count = found.values().filter(|(_, tensor)| whole(tensor)).count();
    (count > 0).then(|| text!("checkpoint/read/quantised", method = quoted(method), count))
}

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
