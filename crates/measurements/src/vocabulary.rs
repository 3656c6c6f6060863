//! What models of other vocabularies can be compared by: tokenizers, embeddings by string, attention after alignment.

use serde::{Deserialize, Serialize};

use scratchproof_kernel::Sums;

/// Everything measured through tokens. References are positions among parents and controls, models positions among the
/// plan's models.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vocabularies {
    /// By reference, its tokenizer against the subject's.
    pub tokenizers: Vec<TokenizerPair>,
    /// Token rows of two models by the strings they stand for.
    pub by_token: Vec<ByToken>,
    /// Similarity of attention and of token rows.
    pub attention: Vec<Attention>,
    /// What could not be compared: of which reference (`None` is the subject), what, and why.
    pub skipped: Vec<(Option<usize>, String, String)>,
}

/// Two tokenizers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenizerPair {
    /// Whose is the second.
    pub reference: usize,
    /// The kind of the subject's, if it has one that can be used.
    pub kind: Option<String>,
    /// That of the reference's.
    pub reference_kind: Option<String>,
    /// What they share, if both can be used.
    pub shared: Option<SharedTokens>,
    /// What is to be said of them.
    pub note: String,
}

/// What two tokenizers share; pairs are the subject's and the reference's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SharedTokens {
    /// Tokens.
    pub tokens: (u64, u64),
    /// Merges.
    pub merges: (u64, u64),
    /// Tokens of both.
    pub shared: u64,
    /// Merges of both.
    pub shared_merges: u64,
    /// Rank correlation of their order.
    pub merge_spearman: Option<f64>,
    /// Tokens of one number.
    pub same_id: u64,
    /// The most frequent difference of two numbers, and how many tokens have it.
    pub shift: Option<(i64, u64)>,
    /// Of the first 256 numbers, those that mean one token.
    pub first_256: u64,
    /// Numbers from 0 on that mean one token.
    pub prefix: u64,
}

/// The column test over rows of the same tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ByToken {
    /// The two models.
    pub models: (usize, usize),
    /// `embedding` or `head`.
    pub family: String,
    /// Its sums.
    pub sums: Sums,
    /// Rows.
    pub rows: usize,
    /// Length of the residual axis.
    pub hidden: usize,
}

/// Similarity (centred kernel alignment) of the subject and a reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attention {
    /// The reference.
    pub reference: usize,
    /// `tokens`, `attention` or `layer`.
    pub part: String,
    /// Layers of the subject and of the reference, for a layer.
    pub layers: (Option<u32>, Option<u32>),
    /// The similarity.
    pub cka: Option<f64>,
    /// Mean and standard deviation over drawn relabellings.
    pub null: Option<(f64, f64)>,
    /// Standard score.
    pub z: Option<f64>,
    /// log10 p.
    pub log10_p: Option<f64>,
    /// Relabellings that were drawn.
    pub draws: u64,
    /// Tokens that it rests on.
    pub tokens: u64,
    /// Dimensions of the residual axis that were matched.
    pub columns: u64,
}
