//! What the catalogue of a model says, without the model.

use serde::{Deserialize, Serialize};

use scratchproof_checkpoint::{Role, Untaken};
use scratchproof_kernel::Dtype;

/// One model as its headers, its configuration and its tokenizer describe it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Where it is.
    pub uri: String,
    /// The architecture whose templates know most of the names.
    pub architecture: Option<String>,
    /// `config.json`, if there is one.
    pub config: Option<serde_json::Value>,
    /// The tensors by name; those of a checkpoint of the series before the final one are the plan's and not listed again.
    pub tensors: Vec<Tensor>,
    /// Parts of names that wrappers had added and that the names here are without.
    pub wrappers: Vec<String>,
    /// The files that were read.
    pub files: Vec<String>,
    /// Files of the folder that hold tensors and are not part of the model.
    pub unread: Vec<String>,
    /// What was handed over with it, is not it and is looked at by no test.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untaken: Vec<Untaken>,
    /// What it is an adapter of, if it is one: kind and base, in the words of its configuration.
    pub adapter: Option<(String, Option<String>)>,
    /// The model that it was merged with, if it was an adapter that could be.
    pub merged: Option<String>,
    /// Length of the residual stream of the language model.
    pub hidden_size: Option<usize>,
    /// Number of tokens: rows of the embedding or the head, else what the configuration says.
    pub vocab_size: Option<usize>,
    /// Different layers of the language model.
    pub layers: usize,
    /// Experts of the layer that has most; 0 without experts.
    pub experts: usize,
    /// Tokens of the tokenizer beside the weights, if there is one that can be used.
    pub tokenizer: Option<usize>,
    /// Name and SHA-256 of the configuration and of the tokenizer's files; of a checkpoint before the final one of a series
    /// there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<(String, String)>,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Bytes of weights in the files, those of tensors that are not compared among them.
    pub data_bytes: u64,
    /// How its files were read, where that is not plain: sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One tensor of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tensor {
    /// Name in the file.
    pub name: String,
    /// Number format.
    pub dtype: Dtype,
    /// Shape, outermost axis first.
    pub shape: Vec<usize>,
    /// Length in bytes.
    pub bytes: u64,
    /// What it is for.
    pub role: Role,
}

impl Tensor {
    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}
