//! A fingerprint: what the tests need of a model, in a file of at most 16 MiB whatever the model's size, so that a closed
//! parent can be tested without its weights, and one model held against hundreds.
//!
//! It is a safetensors file. In it are products of rows inside and across attention heads
//! ([`scratchproof_disguise::Products`]), which no change of basis moves, some rows of the layers' matrices chosen by a public
//! seed, and as metadata the catalogue in figures and the tokenizer's.
//!
//! What can be reconstructed from it: the chosen rows as they are, in bf16; of the key and value rows that take part in the products
//! across heads everything but the basis, which is their mutual angles; of heads that take part their inner angles. Lengths of rows
//! are not kept, nor is any embedding, norm weight or MLP beyond the chosen rows. Nothing of it runs.

mod against;
mod file;
mod rows;

use serde::{Deserialize, Serialize};

use scratchproof_checkpoint::Checkpoint;
use scratchproof_disguise::{Limits, Products, products_within};
use scratchproof_error::Result;

pub use against::{Answer, Context, HeadAnswer, Outcome, RowAnswer, against, found};
pub use file::{LARGEST, is_fingerprint};
pub use rows::{Row, Rows};

/// Version of the format.
pub const VERSION: u32 = 1;

/// The seed that chooses rows where none is given.
pub const SEED: u64 = 1;

/// Of a model as many heads and rows as keep the file below 16 MiB.
const LIMITS: Limits = Limits { heads: 512, cross_rows: 1024 };

/// What a fingerprint says of its model in figures: context for a reader, never evidence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalogue {
    /// What the model was called.
    pub name: String,
    /// The architecture whose templates know most of its names.
    pub architecture: Option<String>,
    /// Tensors.
    pub tensors: u64,
    /// Parameters.
    pub parameters: u64,
    /// Length of the residual axis.
    pub hidden: Option<usize>,
    /// Layers.
    pub layers: usize,
    /// Experts of a layer.
    pub experts: usize,
    /// Rows of the embedding.
    pub vocabulary: Option<usize>,
    /// Scheme of the tokenizer, where one is beside the weights.
    pub tokenizer: Option<String>,
    /// Tokens it lists.
    pub tokens: Option<usize>,
    /// Merges it lists.
    pub merges: Option<usize>,
}

impl Catalogue {
    fn of(checkpoint: &Checkpoint, name: &str) -> Self {
        let tokenizer = checkpoint.tokenizer().ok();
        Self {
            name: name.to_owned(),
            architecture: checkpoint.architecture.clone(),
            tensors: checkpoint.tensors.len() as u64,
            parameters: checkpoint.tensors.iter().map(|t| t.elements() as u64).sum(),
            hidden: checkpoint.hidden_size(),
            layers: checkpoint.layers(),
            experts: checkpoint.experts(),
            vocabulary: checkpoint.vocab_size(),
            tokenizer: tokenizer.map(|t| t.kind.name().to_owned()),
            tokens: tokenizer.map(scratchproof_checkpoint::Tokenizer::size),
            merges: tokenizer.map(scratchproof_checkpoint::Tokenizer::merges),
        }
    }
}

/// What the tests need of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Fingerprint {
    /// The model in figures.
    pub catalogue: Catalogue,
    /// Products of its heads; `None` where their sizes are not known.
    pub products: Option<Products>,
    /// The rows that the seed chose.
    pub rows: Rows,
}

impl Fingerprint {
    /// Takes the fingerprint of a model.
    ///
    /// # Errors
    /// If weights cannot be read.
    pub fn of(checkpoint: &Checkpoint, name: &str, seed: u64) -> Result<Self> {
        Ok(Self {
            catalogue: Catalogue::of(checkpoint, name),
            products: products_within(checkpoint, LIMITS)?,
            rows: Rows::of(checkpoint, seed)?,
        })
    }
}
