//! Meta's form: `consolidated.NN.pth`, one file a model-parallel part, with `params.json` beside them. The parts are joined
//! as `convert_llama_weights_to_hf.py` of transformers does, and the rows of queries and keys put in the order of the
//! published models.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::parts::{Files, joined, viewed};
use super::torch::Archive;
use super::{Catalogue, Entry};
use crate::Shard;
use crate::header::quoted;
use crate::index::{read_small, whole};
use crate::settings::read_settings;
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::{Blob, Store};
use scratchproof_texts::{Text, text};

/// Whether a file is a part of such a model.
pub(super) fn is_part(name: &str) -> bool {
    number(name).is_some()
}

fn number(name: &str) -> Option<usize> {
    name.strip_prefix("consolidated.")?.strip_suffix(".pth")?.parse().ok()
}

/// Meta's `params.json`.
fn read_params(bytes: &[u8]) -> Result<Value> {
    read_settings(bytes).context(|| "params.json")
}

/// The model of a folder.
///
/// # Errors
/// If parts are missing or do not fit together.
pub(super) fn catalogue(store: &dyn Store, names: &[String]) -> Result<Catalogue> {
    let parts: BTreeMap<usize, &String> = names.iter().filter_map(|name| Some((number(name)?, name))).collect();
    if let Some(missing) = (0..parts.len()).find(|part| !parts.contains_key(part)) {
        return Err(Error::input(text!(
            "error-checkpoint/consolidated/consolidated-pth-missing-although",
            missing = format!("{missing:02}")
        )));
    }
    let params =
        names.iter().any(|name| name == "params.json").then(|| read_small(store, "params.json")).transpose()?;
    let params = params.map(|bytes| read_params(&bytes)).transpose()?.unwrap_or(Value::Null);
    let mut files = Files::default();
    let mut all: Vec<Vec<Entry>> = Vec::new();
    for name in parts.values() {
        let blob: Arc<dyn Blob> = Arc::from(store.open(name)?);
        let archive = Archive::open(name, &blob).context(|| quoted(name))?;
        let mut part = archive.model().context(|| quoted(name))?;
        files.take(&mut part);
        all.push(part.entries);
    }
    let shared = files.shared();
    let mut catalogue = Catalogue { form: Text::new("checkpoint/form/consolidated"), ..Catalogue::default() };
    let heads = heads(&params);
    let first = all.first().cloned().unwrap_or_default();
    for entry in first {
        let place = || text!("error-checkpoint/forms/tensor", name = quoted(&entry.name));
        let of: Option<Vec<Entry>> =
            all.iter().map(|entries| entries.iter().find(|other| other.name == entry.name).cloned()).collect();
        let of =
            of.ok_or_else(|| Error::input(text!("error-checkpoint/consolidated/not-every-part")).context(place()))?;
        let joint = match axis(&entry.name, &params).filter(|_| of.len() > 1) {
            Some(axis) => joined(&entry.name, of, axis, &shared).context(place)?,
            None => entry.clone(),
        };
        catalogue.entries.push(published(joint, heads, &shared).context(place)?);
    }
    complete(&catalogue.entries, &params, all.len())?;
    if all.len() > 1 {
        catalogue.notes.push(text!("checkpoint/megatron/joined", tensor = all.len(), stages = 1_usize));
    }
    if heads.is_some() {
        catalogue.notes.push(text!("checkpoint/consolidated/published"));
    }
    catalogue.files = files.shards;
    catalogue.settings = settings(&params);
    Ok(catalogue)
}

/// Meta's names and order of rows in a file of another form (Mistral's `consolidated.safetensors`, torchtune's
/// `meta_model_0.pt`) as those of the published models, where `params.json` lies beside it.
///
/// # Errors
/// If `params.json` cannot be read.
pub(crate) fn publish(catalogue: &mut Catalogue, store: &dyn Store) -> Result<()> {
    if !catalogue.entries.iter().any(|entry| entry.name == "layers.0.attention.wq.weight") {
        return Ok(());
    }
    let Some(blob) = store.beside("params.json")? else { return Ok(()) };
    let params = read_params(&whole(&*blob)?)?;
    let heads = heads(&params);
    if heads.is_none() {
        return Ok(());
    }
    let files: Arc<[Shard]> = catalogue.files.clone().into();
    let entries = std::mem::take(&mut catalogue.entries);
    catalogue.entries = entries.into_iter().map(|entry| published(entry, heads, &files)).collect::<Result<_>>()?;
    catalogue.notes.push(text!("checkpoint/consolidated/published"));
    catalogue.settings = catalogue.settings.take().or_else(|| settings(&params));
    Ok(())
}

/// Refuses parts of which the last are missing: the queries of all heads are not there.
fn complete(entries: &[Entry], params: &Value, parts: usize) -> Result<()> {
    let number = |name: &str| usize::try_from(params.get(name)?.as_u64()?).ok().filter(|number| *number > 0);
    let (Some((heads, _)), Some(dim)) = (heads(params), number("dim")) else { return Ok(()) };
    let wanted = number("head_dim").map_or(Some(dim), |width| width.checked_mul(heads));
    let rows = entries.iter().find(|entry| entry.name.ends_with("layers.0.self_attn.q_proj.weight"));
    match (rows.and_then(|entry| entry.shape.first()).copied(), wanted) {
        (Some(rows), Some(wanted)) if rows < wanted => Err(Error::input(text!(
            "error-checkpoint/consolidated/parts-lack",
            parts,
            rows,
            wanted,
            next = format!("{parts:02}")
        ))),
        _ => Ok(()),
    }
}

/// Query heads and key heads.
fn heads(params: &Value) -> Option<(usize, usize)> {
    let number = |name: &str| usize::try_from(params.get(name)?.as_u64()?).ok().filter(|number| *number > 0);
    let query = number("n_heads")?;
    Some((query, number("n_kv_heads").unwrap_or(query)))
}

fn settings(params: &Value) -> Option<Value> {
    let (query, key) = heads(params)?;
    Some(json!({
        "model_type": "llama", "num_attention_heads": query, "num_key_value_heads": key,
        "hidden_size": params.get("dim"), "num_hidden_layers": params.get("n_layers"), "vocab_size": params.get("vocab_size"),
    }))
}

/// Along which axis a tensor is cut. The embedding is cut along its columns up to Llama 2 and along its rows since
/// (`VocabParallelEmbedding`), which is when the vocabulary grew beyond 32,000.
fn axis(name: &str, params: &Value) -> Option<usize> {
    let name = name.strip_suffix(".weight")?;
    let last = name.rsplit('.').next()?;
    let rows_of_embedding = params.get("vocab_size").and_then(Value::as_i64).is_some_and(|size| size > 32_000);
    match last {
        "wq" | "wk" | "wv" | "w1" | "w3" | "output" => Some(0),
        "wo" | "w2" => Some(1),
        "tok_embeddings" => Some(usize::from(!rows_of_embedding)),
        _ => None,
    }
}

/// The tensor under the published model's name.
fn published(entry: Entry, heads: Option<(usize, usize)>, files: &Arc<[Shard]>) -> Result<Entry> {
    let Some((query, key)) = heads else { return Ok(entry) };
    let named = |name: String| Entry { name, ..entry.clone() };
    Ok(match entry.name.as_str() {
        "tok_embeddings.weight" => named("model.embed_tokens.weight".to_owned()),
        "norm.weight" => named("model.norm.weight".to_owned()),
        "output.weight" => named("lm_head.weight".to_owned()),
        name => {
            let Some((layer, rest)) = name.strip_prefix("layers.").and_then(|rest| rest.split_once('.')) else {
                return Ok(entry);
            };
            let own = match rest {
                "attention_norm.weight" => "input_layernorm.weight",
                "ffn_norm.weight" => "post_attention_layernorm.weight",
                "attention.wq.weight" => "self_attn.q_proj.weight",
                "attention.wk.weight" => "self_attn.k_proj.weight",
                "attention.wv.weight" => "self_attn.v_proj.weight",
                "attention.wo.weight" => "self_attn.o_proj.weight",
                "feed_forward.w1.weight" => "mlp.gate_proj.weight",
                "feed_forward.w2.weight" => "mlp.down_proj.weight",
                "feed_forward.w3.weight" => "mlp.up_proj.weight",
                _ => return Ok(entry),
            };
            let name = format!("model.layers.{layer}.{own}");
            let turned = match rest {
                "attention.wq.weight" => Some(query),
                "attention.wk.weight" => Some(key),
                _ => None,
            };
            match (turned, &entry.shape[..]) {
                // Pairs of rows that turn together stand side by side at Meta, half a head apart elsewhere.
                (Some(heads), [rows, cols]) if rows.is_multiple_of(2 * heads) && *rows > 0 => {
                    let half = rows / heads / 2;
                    let view = [heads, 2, half, *cols];
                    let strides = [2 * half * cols, *cols, 2 * cols, 1];
                    viewed(&entry, &name, 0, (&view, &strides), &entry.shape, files)?
                }
                _ => named(name),
            }
        }
    })
}
