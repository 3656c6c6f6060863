//! The numbers of a layer's attention heads.

/// The attention heads of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub query: usize,
    /// Heads of keys and values; a divisor of `query`.
    pub key_value: usize,
    /// Dimensions of a head of queries and keys.
    pub dim: usize,
    /// Dimensions of a head of values: `dim`, except in latent attention.
    pub value: usize,
}
