//! Names of llama.cpp -> names of the published models, and what its converter did to the tensors
//! (`gguf/tensor_mapping.py`, `convert_hf_to_gguf.py`), to be undone.

/// What has to be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undo {
    Nothing,
    /// Rows of each head in two interleaved halves: queries and keys of llama (`LlamaModel.permute`).
    Interleaved {
        heads: usize,
    },
    /// Rows and columns exchanged: GPT-2's own layers are stored [in, out].
    Transposed,
    /// One was added: norms of gemma.
    PlusOne,
    /// A stack of experts, to be taken apart.
    Experts,
}

/// Architectures of whose queries and keys the converter puts the rows in another order (`permute` in the classes of
/// `convert_hf_to_gguf.py` and in those that inherit it).
const INTERLEAVED: &[&str] = &[
    "arcee",
    "baichuan",
    "bailingmoe",
    "deci",
    "granite",
    "granitemoe",
    "internlm2",
    "llama",
    "minicpm",
    "mistral3",
    "olmo",
    "smollm3",
    "xverse",
];

/// Architectures whose converter leaves the order of rows as it is, by the same file.
const AS_PUBLISHED: &[&str] = &[
    "command-r",
    "gemma",
    "gemma2",
    "gemma3",
    "gpt2",
    "olmo2",
    "phi3",
    "qwen2",
    "qwen2moe",
    "qwen3",
    "qwen3moe",
    "stablelm",
    "starcoder2",
];

/// Whether it is known what the converter does to the order of rows.
pub(super) fn is_known(architecture: &str) -> bool {
    INTERLEAVED.contains(&architecture) || AS_PUBLISHED.contains(&architecture)
}

/// Heads of queries and of keys.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heads {
    pub(super) query: usize,
    pub(super) key: usize,
}

/// The name that the published model has, and what to undo. A name that is not known stays as it is.
pub(super) fn published(architecture: &str, name: &str, heads: Heads) -> (String, Undo) {
    let kept = || (name.to_owned(), Undo::Nothing);
    if architecture.is_empty() {
        // Nothing says what was renamed and turned.
        return kept();
    }
    if architecture == "gpt2" {
        return gpt2(name).unwrap_or_else(kept);
    }
    let Some((stem, end)) = name.rsplit_once('.') else { return kept() };
    let whole = match stem {
        "token_embd" => Some("model.embed_tokens"),
        "output_norm" => Some("model.norm"),
        "output" => Some("lm_head"),
        _ => None,
    };
    let gemma = architecture.starts_with("gemma") && end == "weight";
    if let Some(whole) = whole {
        let undo = if gemma && stem == "output_norm" { Undo::PlusOne } else { Undo::Nothing };
        return (format!("{whole}.{end}"), undo);
    }
    let Some((layer, part)) = stem.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else { return kept() };
    let after = matches!(architecture, "gemma2" | "gemma3" | "olmo2");
    let named = match part {
        "attn_norm" => "input_layernorm",
        "ffn_norm" if architecture.starts_with("gemma") && after => "pre_feedforward_layernorm",
        "ffn_norm" | "post_attention_norm" => "post_attention_layernorm",
        "post_ffw_norm" => "post_feedforward_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_qkv" => "self_attn.qkv_proj",
        "attn_output" => "self_attn.o_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" if architecture == "phi3" => "mlp.gate_up_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        "ffn_gate_inp" => "mlp.gate",
        "ffn_gate_exps" => "mlp.experts.{}.gate_proj",
        "ffn_up_exps" => "mlp.experts.{}.up_proj",
        "ffn_down_exps" => "mlp.experts.{}.down_proj",
        "ffn_gate_shexp" => "mlp.shared_experts.gate_proj",
        "ffn_up_shexp" => "mlp.shared_experts.up_proj",
        "ffn_down_shexp" => "mlp.shared_experts.down_proj",
        _ => return kept(),
    };
    let interleaved = INTERLEAVED.contains(&architecture);
    let undo = match part {
        "attn_q" if interleaved => Undo::Interleaved { heads: heads.query },
        "attn_k" if interleaved => Undo::Interleaved { heads: heads.key },
        _ if gemma && part.ends_with("norm") => Undo::PlusOne,
        _ if part.ends_with("_exps") => Undo::Experts,
        _ => Undo::Nothing,
    };
    (format!("model.layers.{layer}.{named}.{end}"), undo)
}

fn gpt2(name: &str) -> Option<(String, Undo)> {
    let (stem, end) = name.rsplit_once('.')?;
    let whole = match stem {
        "token_embd" => Some("transformer.wte"),
        "position_embd" => Some("transformer.wpe"),
        "output_norm" => Some("transformer.ln_f"),
        "output" => Some("lm_head"),
        _ => None,
    };
    if let Some(whole) = whole {
        return Some((format!("{whole}.{end}"), Undo::Nothing));
    }
    let (layer, part) = stem.strip_prefix("blk.")?.split_once('.')?;
    let (named, transposed) = match part {
        "attn_norm" => ("ln_1", false),
        "ffn_norm" => ("ln_2", false),
        "attn_qkv" => ("attn.c_attn", true),
        "attn_output" => ("attn.c_proj", true),
        "ffn_up" => ("mlp.c_fc", true),
        "ffn_down" => ("mlp.c_proj", true),
        _ => return None,
    };
    let undo = if transposed && end == "weight" { Undo::Transposed } else { Undo::Nothing };
    Some((format!("transformer.h.{layer}.{named}.{end}"), undo))
}
