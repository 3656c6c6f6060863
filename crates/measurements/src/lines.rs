//! Rows and columns of tensors as numbers that are equal where their values are.

use serde::{Deserialize, Serialize};

use scratchproof_checkpoint::Role;

/// Bits of a key: a number of double precision holds it, and of two models of 2^18 lines two that differ meet by chance once in
/// 2^16 pairs of models.
pub const LINE_BITS: u32 = 52;

/// Elements of a row or column that are looked at.
pub const LINE_LOOKED: usize = 32;

/// The lines of a tensor that no unit of the plan has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OtherLines {
    /// The model.
    pub model: usize,
    /// Its name there.
    pub tensor: String,
    /// What it is for.
    pub role: Role,
    /// Keys of its rows and columns, ascending.
    pub keys: Vec<u64>,
}
