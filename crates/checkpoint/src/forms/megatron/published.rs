//! Megatron's names and packing -> those of the published model, where the arguments say that it is one like Llama
//! (`tools/checkpoint/` of Megatron-LM): rotary positions, root-mean-square norms, gated linear units, no biases.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::parts::rows;
use super::super::{Catalogue, Entry};
use super::argument;
use crate::Shard;
use scratchproof_error::Result;
use scratchproof_texts::text;

/// Heads and their width.
struct Attention {
    heads: usize,
    groups: usize,
    width: usize,
}

impl Attention {
    fn of(settings: &Value) -> Option<Self> {
        let heads = argument(settings, "num_attention_heads").filter(|heads| *heads > 0)?;
        let grouped = settings.get("group_query_attention").and_then(Value::as_bool).unwrap_or(false);
        let groups = if grouped { argument(settings, "num_query_groups")? } else { heads };
        let width = argument(settings, "kv_channels").or_else(|| Some(argument(settings, "hidden_size")? / heads))?;
        (groups > 0 && heads.is_multiple_of(groups) && width > 0).then_some(Self { heads, groups, width })
    }
}

/// Puts the tensors into the catalogue, under the names and in the packing of the published model where that is known.
pub(super) fn name(
    entries: Vec<Entry>,
    settings: &Value,
    version: f64,
    files: &Arc<[Shard]>,
    catalogue: &mut Catalogue,
) -> Result<()> {
    let is = |name: &str| settings.get(name).and_then(Value::as_bool).unwrap_or(false);
    let like_llama = is("swiglu")
        && !is("add_bias_linear")
        && settings.get("normalization").and_then(Value::as_str) == Some("RMSNorm");
    let attention = Attention::of(settings).filter(|_| like_llama && version >= 2.0);
    let Some(attention) = attention else {
        catalogue.entries.extend(entries);
        return Ok(());
    };
    catalogue.notes.push(text!("checkpoint/megatron/published"));
    for entry in entries {
        let own = entry.name.strip_prefix("language_model.").unwrap_or(&entry.name).to_owned();
        let kept = |name: &str| Entry { name: name.to_owned(), ..entry.clone() };
        let found: Vec<Entry> = match own.as_str() {
            "embedding.word_embeddings.weight" => vec![kept("model.embed_tokens.weight")],
            "decoder.final_layernorm.weight" | "encoder.final_layernorm.weight" | "encoder.final_norm.weight" => {
                vec![kept("model.norm.weight")]
            }
            "output_layer.weight" => vec![kept("lm_head.weight")],
            _ => match layer(&own) {
                Some((number, rest)) => of_layer(&entry, number, rest, &attention, files)?,
                None => vec![entry],
            },
        };
        catalogue.entries.extend(found);
    }
    Ok(())
}

/// The number of the layer, and what follows it.
fn layer(name: &str) -> Option<(usize, &str)> {
    let rest = ["decoder.layers.", "encoder.layers.", "transformer.layers."]
        .iter()
        .find_map(|head| name.strip_prefix(head))?;
    let (number, rest) = rest.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

fn of_layer(
    entry: &Entry,
    number: usize,
    rest: &str,
    attention: &Attention,
    files: &Arc<[Shard]>,
) -> Result<Vec<Entry>> {
    let named = |name: &str| format!("model.layers.{number}.{name}");
    let one = |name: &str| Ok(vec![Entry { name: named(name), ..entry.clone() }]);
    let first = entry.shape.first().copied().unwrap_or(0);
    let end = rest.rsplit('.').next().unwrap_or_default();
    if let Some((expert, part)) = expert(rest) {
        let own = |name: &str| format!("mlp.experts.{expert}.{name}.weight");
        return match part {
            "linear_fc2" => one(&own("down_proj")),
            "linear_fc1" if first.is_multiple_of(2) => {
                let half = |which: usize, name: &str| {
                    rows(entry, &named(&own(name)), which * first / 2, (1, first / 2, first / 2), files)
                };
                Ok(vec![half(0, "gate_proj")?, half(1, "up_proj")?])
            }
            _ => Ok(vec![entry.clone()]),
        };
    }
    match rest {
        "mlp.router.weight" => one("mlp.gate.weight"),
        "input_layernorm.weight" | "input_norm.weight" | "self_attention.linear_qkv.layer_norm_weight" => {
            one("input_layernorm.weight")
        }
        "post_attention_layernorm.weight"
        | "post_attention_norm.weight"
        | "pre_mlp_layernorm.weight"
        | "mlp.linear_fc1.layer_norm_weight" => one("post_attention_layernorm.weight"),
        "self_attention.q_layernorm.weight" => one("self_attn.q_norm.weight"),
        "self_attention.k_layernorm.weight" => one("self_attn.k_norm.weight"),
        "self_attention.dense.weight" | "self_attention.linear_proj.weight" => one("self_attn.o_proj.weight"),
        "mlp.dense_4h_to_h.weight" | "mlp.linear_fc2.weight" => one("mlp.down_proj.weight"),
        "mlp.dense_h_to_4h.weight" | "mlp.linear_fc1.weight" if first.is_multiple_of(2) => {
            let half = |which: usize, name: &str| {
                rows(entry, &named(name), which * first / 2, (1, first / 2, first / 2), files)
            };
            Ok(vec![half(0, "mlp.gate_proj.weight")?, half(1, "mlp.up_proj.weight")?])
        }
        "self_attention.query_key_value.weight"
        | "self_attention.query_key_value.bias"
        | "self_attention.linear_qkv.weight"
        | "self_attention.linear_qkv.bias" => {
            // Of each group: the rows of its queries, of its key, of its value.
            let Attention { heads, groups, width } = *attention;
            let queries = heads / groups * width;
            let step = queries + 2 * width;
            if first != groups * step {
                return one(rest);
            }
            let part = |name: &str, at: usize, length: usize| {
                rows(entry, &named(&format!("self_attn.{name}.{end}")), at, (groups, length, step), files)
            };
            Ok(vec![
                part("q_proj", 0, queries)?,
                part("k_proj", queries, width)?,
                part("v_proj", queries + width, width)?,
            ])
        }
        _ => Ok(vec![entry.clone()]),
    }
}

/// The number of an expert, and which of its matrices: `mlp.experts.local_experts.3.linear_fc1.weight`, or
/// `mlp.experts.linear_fc1.weight3` where they are computed together.
fn expert(rest: &str) -> Option<(usize, &str)> {
    let rest = rest.strip_prefix("mlp.experts.")?;
    if let Some(local) = rest.strip_prefix("local_experts.") {
        let (number, part) = local.split_once('.')?;
        return Some((number.parse().ok()?, part.strip_suffix(".weight")?));
    }
    let (part, number) = rest.split_once(".weight")?;
    Some((number.parse().ok()?, part))
}

/// The arguments under the names that a config.json has.
pub(super) fn settings(settings: &Value) -> Value {
    let mut found = Map::new();
    for (own, name) in [
        ("hidden_size", "hidden_size"),
        ("num_layers", "num_hidden_layers"),
        ("ffn_hidden_size", "intermediate_size"),
        ("num_attention_heads", "num_attention_heads"),
        ("kv_channels", "head_dim"),
    ] {
        if let Some(number) = argument(settings, own) {
            found.insert(name.to_owned(), Value::from(number));
        }
    }
    if let Some(attention) = Attention::of(settings) {
        found.insert("num_key_value_heads".to_owned(), Value::from(attention.groups));
    }
    Value::Object(found)
}
