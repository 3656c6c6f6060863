//! Pipelines of DeepSpeed: `layer_NN-model_MM-model_states.pt`, a file a layer and tensor-parallel part, joined and named as
//! the published models are (`tools/ckpts/convert_neox_to_hf.py` of GPT-NeoX,
//! `convert_bloom_original_checkpoint_to_pytorch.py` of transformers).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::super::parts::Files;
use super::super::torch::Archive;
use super::super::{Catalogue, Entry, Place};
use super::{argument, axis, join, published};
use crate::header::quoted;
use crate::{Dtype, Shard};
use scratchproof_error::{Context, Error, Result};
use scratchproof_kernel::{Rounding, decode, round};
use scratchproof_source::{Blob, Store};
use scratchproof_texts::{Text, text};

/// Files without tensors between the embedding and the first block, and between the last block and the final norm: one at
/// most stands for a function there.
const BETWEEN: usize = 2;

/// Whose names the layers have; decided once, by all of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    NeoX,
    Bloom,
    /// The layers of a published model as they are, such as Llama's.
    Plain,
}

/// The tensors of a layer, by tensor-parallel part.
type Layer = BTreeMap<usize, Vec<Entry>>;

/// The model of a step's folder; `layers` are the files of layers among its `names`.
///
/// # Errors
/// If layers or parts are missing, or do not fit together.
pub(in crate::forms) fn pipeline(store: &dyn Store, layers: &[&String], names: &[String]) -> Result<Catalogue> {
    let mut files = Files::default();
    let layers = read(store, layers, &mut files)?;
    let args = arguments(store, names);
    let shared = files.shared();
    let ranks = layers.values().map(BTreeMap::len).max().unwrap_or(0);
    let kind = kind(&layers);
    let blocks = blocks(&layers);
    whole(&layers, &blocks, kind, &args)?;
    parts(&layers, ranks, &args)?;
    let mut catalogue = Catalogue { form: Text::new("checkpoint/form/pipeline"), ..Catalogue::default() };
    for (number, layer) in &layers {
        let block = blocks.iter().position(|block| block == number);
        let first = layer.values().next().map(Vec::as_slice).unwrap_or_default();
        for entry in first {
            let place = || text!("error-checkpoint/megatron/tensor-layer", name = quoted(&entry.name), layer = number);
            let of: Option<Vec<Entry>> =
                layer.values().map(|entries| entries.iter().find(|other| other.name == entry.name).cloned()).collect();
            let of =
                of.ok_or_else(|| Error::input(text!("error-checkpoint/consolidated/not-every-part")).context(place()))?;
            let name = named(kind, entry, block, blocks.first().is_none_or(|first| number < first));
            let whole = merged(kind, of, &shared).context(place)?;
            // An embedding that is the head as well may be in the files of both.
            let held = catalogue.entries.iter().find(|held: &&Entry| held.name == name);
            if held.is_none_or(|held| held.shape != whole.shape) {
                catalogue.entries.push(Entry { name, ..whole });
            }
        }
    }
    if ranks > 1 {
        catalogue.notes.push(text!("checkpoint/megatron/joined", tensor = ranks, stages = 1_usize));
    }
    catalogue.files = files.shards;
    catalogue.settings = Some(published::settings(&args)).filter(|_| !args.is_null());
    Ok(catalogue)
}

/// The files of layers, each with its parts from the first on.
fn read(store: &dyn Store, names: &[&String], files: &mut Files) -> Result<BTreeMap<usize, Layer>> {
    let mut layers: BTreeMap<usize, Layer> = BTreeMap::new();
    for name in names {
        let numbers = || {
            let (layer, rest) = name.strip_prefix("layer_")?.split_once("-model_")?;
            Some((layer.parse::<usize>().ok()?, rest.split_once('-')?.0.parse::<usize>().ok()?))
        };
        let (layer, model) =
            numbers().ok_or_else(|| Error::input(text!("error-checkpoint/megatron/no-layer", name = quoted(name))))?;
        let blob: Arc<dyn Blob> = Arc::from(store.open(name)?);
        let archive = Archive::open(name, &blob).context(|| quoted(name))?;
        let mut part = Catalogue::default();
        archive.entries(archive.arena.tensors(archive.root, &|_| true)?, &mut part).context(|| quoted(name))?;
        part.files = archive.files;
        files.take(&mut part);
        layers.entry(layer).or_default().insert(model, part.entries);
    }
    let ranks = layers.values().map(BTreeMap::len).max().unwrap_or(0);
    for (layer, parts) in &layers {
        if !parts.keys().copied().eq(0..ranks) {
            return Err(Error::input(text!(
                "error-checkpoint/megatron/layer-parts-others-parts",
                layer,
                parts = parts.len(),
                ranks
            )));
        }
    }
    Ok(layers)
}

/// The arguments of the training, which the file of the first rank holds; null where they are not there or not readable.
fn arguments(store: &dyn Store, names: &[String]) -> Value {
    let read = || {
        let name = names.iter().find(|name| *name == "mp_rank_00_model_states.pt")?;
        let blob: Arc<dyn Blob> = Arc::from(store.open(name).ok()?);
        let archive = Archive::open(name, &blob).ok()?;
        archive.arena.get(archive.root, "args").map(|id| archive.arena.settings(id))
    };
    read().unwrap_or(Value::Null)
}

fn kind(layers: &BTreeMap<usize, Layer>) -> Kind {
    let mut names = layers.values().flat_map(BTreeMap::values).flatten().map(|entry| entry.name.as_str());
    let found = names.find(|name| name.contains("attention.query_key_value"));
    match found {
        Some(name) if name.starts_with("self_attention.") => Kind::Bloom,
        Some(_) => Kind::NeoX,
        None => Kind::Plain,
    }
}

/// The numbers of the files that hold a block, in order.
fn blocks(layers: &BTreeMap<usize, Layer>) -> Vec<usize> {
    let attends = |layer: &Layer| {
        layer.values().flatten().any(|entry| entry.name.contains("attention") || entry.name.contains("attn"))
    };
    layers.iter().filter(|(_, layer)| attends(layer)).map(|(number, _)| *number).collect()
}

/// Refuses a set of files that lacks a layer: a part of a model is not the model.
fn whole(layers: &BTreeMap<usize, Layer>, blocks: &[usize], kind: Kind, args: &Value) -> Result<()> {
    let (Some(first), Some(last)) = (blocks.first().copied(), blocks.last().copied()) else { return Ok(()) };
    let lacks = |layer: usize| Error::input(text!("error-checkpoint/megatron/layer-lacks", layer));
    if let Some(missing) = (first..=last).find(|number| !blocks.contains(number)) {
        return Err(lacks(missing));
    }
    if let Some(wanted) = argument(args, "num_layers").filter(|wanted| *wanted != blocks.len()) {
        return Err(Error::input(text!("error-checkpoint/megatron/layers-said", wanted, count = blocks.len())));
    }
    let before = layers.keys().copied().rfind(|number| *number < first);
    let after = layers.keys().copied().find(|number| *number > last);
    match (before, after) {
        (None, _) => Err(Error::input(text!("error-checkpoint/megatron/layer-embedding"))),
        (_, None) => Err(Error::input(text!("error-checkpoint/megatron/layer-norm"))),
        (Some(before), _) if kind != Kind::Plain && first - before > BETWEEN => Err(lacks(first - 1)),
        (_, Some(after)) if kind != Kind::Plain && after - last > BETWEEN => Err(lacks(last + 1)),
        _ => Ok(()),
    }
}

/// Refuses a set of files that lacks all of one tensor-parallel part: the attention's output has a column for each of its rows.
fn parts(layers: &BTreeMap<usize, Layer>, ranks: usize, args: &Value) -> Result<()> {
    let said = ["model_parallel_size", "tensor_model_parallel_size"].iter().find_map(|name| argument(args, name));
    let dense = layers.values().filter_map(|layer| layer.values().next()).flatten();
    let dense = dense.filter(|entry| entry.name.ends_with("attention.dense.weight"));
    let counted = dense.filter_map(|entry| match entry.shape[..] {
        [rows, cols] if cols > 0 && rows.is_multiple_of(cols) => Some(rows / cols),
        _ => None,
    });
    match said.or(counted.max()) {
        Some(wanted) if wanted > ranks => {
            Err(Error::input(text!("error-checkpoint/megatron/tensor-parts-lack", wanted, ranks)))
        }
        _ => Ok(()),
    }
}

/// The name that the published model has. `block` counts blocks from nought; `before` is whether the layer is before them.
fn named(kind: Kind, entry: &Entry, block: Option<usize>, before: bool) -> String {
    let name = entry.name.as_str();
    match (kind, block) {
        (Kind::NeoX, Some(block)) => format!("gpt_neox.layers.{block}.{name}"),
        (Kind::Bloom, Some(block)) => format!("transformer.h.{block}.{name}"),
        (Kind::Plain, Some(block)) => format!("model.layers.{block}.{name}"),
        (Kind::NeoX, None) => match name {
            "word_embeddings.weight" => "gpt_neox.embed_in.weight".to_owned(),
            "final_linear.weight" => "embed_out.weight".to_owned(),
            _ => match name.strip_prefix("norm.") {
                Some(end) => format!("gpt_neox.final_layer_norm.{end}"),
                None => format!("gpt_neox.{name}"),
            },
        },
        (Kind::Bloom, None) => match (name, name.strip_prefix("word_embeddings.norm.")) {
            (_, Some(end)) => format!("transformer.word_embeddings_layernorm.{end}"),
            ("word_embeddings.weight", _) => "transformer.word_embeddings.weight".to_owned(),
            ("weight" | "bias", _) if entry.shape.len() == 1 => format!("transformer.ln_f.{name}"),
            ("lm_head.weight", _) => "lm_head.weight".to_owned(),
            _ => format!("transformer.{name}"),
        },
        (Kind::Plain, None) => match (name, entry.shape.len()) {
            ("weight", 1) => "model.norm.weight".to_owned(),
            ("weight", 2) if before => "model.embed_tokens.weight".to_owned(),
            ("weight", 2) => "lm_head.weight".to_owned(),
            _ => name.to_owned(),
        },
    }
}

/// One tensor of the parts of all ranks. What every rank holds whole is averaged, and the biases behind an input that is cut
/// are summed in GPT-NeoX, as the converters do.
fn merged(kind: Kind, parts: Vec<Entry>, files: &Arc<[Shard]>) -> Result<Entry> {
    let Some(first) = parts.first().cloned() else {
        return Err(Error::input(text!("error-checkpoint/megatron/tensor-no-parts")));
    };
    let ours = kind != Kind::Plain && parts.len() > 1 && first.shape.len() == 1 && axis(&first.name).is_none();
    let known = matches!(first.dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16);
    let alike = parts.iter().all(|part| (part.dtype, &part.shape) == (first.dtype, &first.shape));
    if !ours || !known || !alike {
        return join(&first.name, parts, false, files);
    }
    let summed = kind == Kind::NeoX && ["attention.dense.bias", "mlp.dense_4h_to_h.bias"].contains(&&*first.name);
    let (dtype, files) = (first.dtype, Arc::clone(files));
    let make = move || {
        let read = parts.iter().map(|part| part.read(&files)).collect::<Result<Vec<_>>>()?;
        if !summed && read.windows(2).all(|pair| pair[0] == pair[1]) {
            return Ok(read.into_iter().next().unwrap_or_default());
        }
        let mut sum = vec![0.0; read[0].len() / dtype.width()];
        let mut own = sum.clone();
        for part in &read {
            decode(dtype, part, &mut own);
            for (sum, own) in sum.iter_mut().zip(&own) {
                *sum = round(*sum + own, dtype, Rounding::Nearest);
            }
        }
        let by = if summed { 1.0 } else { read.len() as f64 };
        Ok(sum.iter().flat_map(|sum| stored(round(sum / by, dtype, Rounding::Nearest), dtype)).collect())
    };
    Ok(Entry { place: Place::Made(Arc::new(make)), ..first })
}

/// The bytes of a number that the format holds exactly.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number is one of the format's")]
fn stored(value: f64, dtype: Dtype) -> Vec<u8> {
    let single = value as f32;
    match dtype {
        Dtype::Bf16 => ((single.to_bits() >> 16) as u16).to_le_bytes().to_vec(),
        Dtype::F16 => {
            let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
            let size = value.abs();
            let bits = if size.is_nan() {
                0x7e00
            } else if size.is_infinite() {
                0x7c00
            } else if size < 2f64.powi(-14) {
                (size * 2f64.powi(24)) as u16
            } else {
                let exponent = (size.to_bits() >> 52) as i32 - 1023;
                ((exponent + 15) as u16) << 10 | ((size / 2f64.powi(exponent) - 1.0) * 1024.0) as u16
            };
            (sign | bits).to_le_bytes().to_vec()
        }
        _ => single.to_le_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::stored;
    use crate::Dtype;
    use scratchproof_kernel::decode;

    #[test]
    fn a_number_of_a_format_is_stored_as_itself() {
        for dtype in [Dtype::F16, Dtype::Bf16, Dtype::F32] {
            for value in [0.0, 1.0, -1.5, 0.25, 2f64.powi(-14), -192.0, f64::INFINITY] {
                let mut read = [0.0];
                decode(dtype, &stored(value, dtype), &mut read);
                assert_eq!(read[0].to_bits(), value.to_bits(), "{dtype:?}");
            }
        }
        let mut read = [0.0];
        decode(Dtype::F16, &stored(3.0 * 2f64.powi(-24), Dtype::F16), &mut read);
        assert_eq!(read[0].to_bits(), (3.0 * 2f64.powi(-24)).to_bits());
    }
}
