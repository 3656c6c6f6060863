//! What tensors are for, by their names. Architectures are data.
//!
//! # Adding an architecture
//!
//! Write one file `architectures/NAME.toml` and name it in [`SOURCES`]; a test reads all of them.
//!
//! ```toml
//! model_types = ["llama", "mistral"]      # `model_type` of config.json; breaks ties between equally good matches
//! common = false                          # optional: assumed where neither names nor `model_type` decide
//! extends = "other"                       # optional: its templates are tried after the ones of this file
//! prefixes = ["model."]                   # a name matches with or without one of these in front
//! only_in = []                            # optional: the towers whose names it knows, if it knows no others
//!
//! [[tensor]]
//! name = "layers.{layer}.mlp.down_proj.weight"
//! aliases = []                            # other names of the same tensor
//! component = "mlp"                       # embedding attention mlp experts router norms head other
//! family = "down_proj"                    # canonical: the same for one function in every architecture
//! residual = "rows"                       # rows | columns | vector | none: which axis is the hidden dimension
//! bias = "vector"                         # optional: `.bias` instead of `.weight` exists as well, with this residual axis
//! constant = false                        # optional: a structural constant (rotary frequencies, masks)
//! split = "blocks"                        # optional: the tensor holds several matrices, side by side along the axis
//! parts = ["gate_proj", "up_proj"]        # that is not the residual one; their families, in the order of storage
//! ```
//!
//! `split` is one of [`Arrangement`]. Parts called `q_proj`, `k_proj` and `v_proj` have the sizes that the attention heads
//! give them; all others have equal shares.
//!
//! `{layer}` and `{expert}` stand for one whole part of the name (between dots) that is a number, `{index}` for one that
//! says nothing. Tensors of a tower
//! (`towers.toml`) are matched with the tower's prefix taken off, by whichever architecture knows most of their names.

mod parse;
mod recognise;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use super::{Component, Residual};
use scratchproof_error::Result;

pub use recognise::Recognition;

/// The architectures that come with the tool: name and file.
const SOURCES: &[(&str, &str)] = &[
    ("albert", include_str!("architectures/albert.toml")),
    ("baichuan", include_str!("architectures/baichuan.toml")),
    ("bart", include_str!("architectures/bart.toml")),
    ("bert", include_str!("architectures/bert.toml")),
    ("bloom", include_str!("architectures/bloom.toml")),
    ("chatglm", include_str!("architectures/chatglm.toml")),
    ("clip_vision", include_str!("architectures/clip_vision.toml")),
    ("codegen", include_str!("architectures/codegen.toml")),
    ("dbrx", include_str!("architectures/dbrx.toml")),
    ("deberta", include_str!("architectures/deberta.toml")),
    ("deepseek_v3", include_str!("architectures/deepseek_v3.toml")),
    ("dinov2", include_str!("architectures/dinov2.toml")),
    ("distilbert", include_str!("architectures/distilbert.toml")),
    ("electra", include_str!("architectures/electra.toml")),
    ("exaone", include_str!("architectures/exaone.toml")),
    ("falcon", include_str!("architectures/falcon.toml")),
    ("gemma2", include_str!("architectures/gemma2.toml")),
    ("glm4_moe", include_str!("architectures/glm4_moe.toml")),
    ("gpt2", include_str!("architectures/gpt2.toml")),
    ("gpt_bigcode", include_str!("architectures/gpt_bigcode.toml")),
    ("gpt_neo", include_str!("architectures/gpt_neo.toml")),
    ("gpt_neox", include_str!("architectures/gpt_neox.toml")),
    ("gpt_oss", include_str!("architectures/gpt_oss.toml")),
    ("gptj", include_str!("architectures/gptj.toml")),
    ("granitemoe", include_str!("architectures/granitemoe.toml")),
    ("internlm2", include_str!("architectures/internlm2.toml")),
    ("litgpt", include_str!("architectures/litgpt.toml")),
    ("llama", include_str!("architectures/llama.toml")),
    ("llama4", include_str!("architectures/llama4.toml")),
    ("mamba", include_str!("architectures/mamba.toml")),
    ("meta_llama", include_str!("architectures/meta_llama.toml")),
    ("mixtral", include_str!("architectures/mixtral.toml")),
    ("modernbert", include_str!("architectures/modernbert.toml")),
    ("mpnet", include_str!("architectures/mpnet.toml")),
    ("mpt", include_str!("architectures/mpt.toml")),
    ("nanogpt", include_str!("architectures/nanogpt.toml")),
    ("olmo2", include_str!("architectures/olmo2.toml")),
    ("olmo_native", include_str!("architectures/olmo_native.toml")),
    ("opt", include_str!("architectures/opt.toml")),
    ("persimmon", include_str!("architectures/persimmon.toml")),
    ("phi", include_str!("architectures/phi.toml")),
    ("phi3", include_str!("architectures/phi3.toml")),
    ("phimoe", include_str!("architectures/phimoe.toml")),
    ("projector", include_str!("architectures/projector.toml")),
    ("qwen", include_str!("architectures/qwen.toml")),
    ("qwen2", include_str!("architectures/qwen2.toml")),
    ("qwen2_moe", include_str!("architectures/qwen2_moe.toml")),
    ("qwen2_vl_vision", include_str!("architectures/qwen2_vl_vision.toml")),
    ("qwen3", include_str!("architectures/qwen3.toml")),
    ("qwen3_moe", include_str!("architectures/qwen3_moe.toml")),
    ("rwkv", include_str!("architectures/rwkv.toml")),
    ("solar_open", include_str!("architectures/solar_open.toml")),
    ("stablelm", include_str!("architectures/stablelm.toml")),
    ("starcoder2", include_str!("architectures/starcoder2.toml")),
    ("t5", include_str!("architectures/t5.toml")),
    ("torchtune", include_str!("architectures/torchtune.toml")),
    ("vit", include_str!("architectures/vit.toml")),
    ("whisper", include_str!("architectures/whisper.toml")),
];

/// Prefixes of towers.
const TOWERS: &str = include_str!("architectures/towers.toml");

/// A set of architectures.
#[derive(Debug)]
pub struct Architectures {
    list: Vec<Architecture>,
    towers: Vec<String>,
    outer: Vec<String>,
}

/// The name templates of one model family.
#[derive(Debug)]
struct Architecture {
    name: String,
    model_types: Vec<String>,
    /// Assumed where neither names nor `model_type` decide.
    common: bool,
    /// Given by the user: preferred to all others that know as many names.
    given: bool,
    /// Longest first, the empty one last.
    prefixes: Vec<String>,
    /// Towers that it is for; empty for all and for the main model.
    only_in: Vec<String>,
    /// By the name with `{}` for every number.
    templates: HashMap<String, Template>,
}

/// What one name means.
#[derive(Clone, Debug)]
struct Template {
    holes: Vec<Hole>,
    component: Component,
    family: String,
    residual: Residual,
    constant: bool,
    split: Option<Arc<Split>>,
}

/// The matrices that one tensor holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// How they are stored.
    pub arrangement: Arrangement,
    /// Their families, in the order of storage; empty where all have the family of the tensor.
    pub families: Vec<String>,
}

/// How several matrices are stored in one tensor, along the axis that is not the residual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrangement {
    /// One after the other.
    Blocks,
    /// For every key-value head its query heads, its key, its value (GPT-NeoX, BLOOM, Falcon, `InternLM2`).
    Groups,
    /// A row of each in turn (GPT-OSS).
    Alternating,
    /// The same matrix of every expert, one after the other (DBRX).
    Experts,
}

/// What a number in a name counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    Layer,
    Expert,
    Index,
}

/// The architectures that come with the tool.
///
/// # Panics
/// Never: a test reads all of them.
pub fn builtin() -> &'static Architectures {
    static BUILTIN: LazyLock<Architectures> = LazyLock::new(|| {
        #[allow(clippy::unwrap_used, reason = "the files are part of the program, and a test reads them")]
        Architectures::from_toml(SOURCES, TOWERS).unwrap()
    });
    &BUILTIN
}

impl Architectures {
    /// Reads architectures from the text of their files, each with its name, and of the file of tower prefixes.
    ///
    /// # Errors
    /// If a file has an unknown key, a template that cannot be, or the same name twice.
    pub fn from_toml(sources: &[(&str, &str)], towers: &str) -> Result<Self> {
        parse::parse(sources, towers)
    }

    /// The architectures that come with the tool and one more, which is taken where it knows as many names as another.
    ///
    /// # Errors
    /// As [`Architectures::from_toml`].
    pub fn with(name: &str, text: &str) -> Result<Self> {
        // Unlike any that comes with the tool, and first where nothing else decides.
        let name = format!("{name} (given)");
        let mut sources = SOURCES.to_vec();
        sources.push((&name, text));
        let mut all = parse::parse(&sources, TOWERS)?;
        for own in all.list.iter_mut().filter(|own| own.name == name) {
            own.given = true;
        }
        Ok(all)
    }

    /// Names of the architectures, sorted.
    pub fn names(&self) -> Vec<&str> {
        self.list.iter().map(|architecture| architecture.name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests;
