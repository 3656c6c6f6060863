//! Figures of attention heads that no change of the residual basis moves: products of rows that read or write one
//! residual stream in one layer (METHODS 9).
//!
//! With norm weights folded in and every row scaled to length 1, `W_q W_k^T` of a head, `W_v W_o^T` and the Gram matrices of
//! the rows of q, k, v and o are the same whatever orthogonal basis the residual axis is written in, whatever the
//! vocabulary, the depth and the place of the layer, and also where the axis was padded. Biases take no part; a norm of queries
//! or keys scales rows, which the unit length takes away.

use serde::{Deserialize, Serialize};

use super::matrix::spread;

/// Dimensions of a head that are looked at: 32 of them have 1,024 products a matrix, which sees a correlation of 0.1.
pub const DIMENSIONS: usize = 32;

/// A square matrix of products, row by row.
pub type Square = Vec<f32>;

/// The products inside one key-value head and the query heads that read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The layer it is in.
    pub layer: u32,
    /// Number of the key-value head inside the layer.
    pub group: u32,
    /// Gram matrix of the key rows.
    pub keys: Square,
    /// Gram matrix of the value rows.
    pub values: Square,
    /// Its query heads, ascending.
    pub heads: Vec<Head>,
}

/// The products of one query head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Number of the query head inside the layer.
    pub head: u32,
    /// Gram matrix of the query rows.
    pub queries: Square,
    /// Query rows (down) against key rows.
    pub queries_keys: Square,
    /// Gram matrix of the output rows.
    pub outputs: Square,
    /// Value rows (down) against output rows.
    pub values_outputs: Square,
}

/// The products of all heads of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Products {
    /// Length of the residual axis.
    pub hidden: usize,
    /// Dimensions of a head.
    pub dim: usize,
    /// Dimensions of a head that the squares have.
    pub side: usize,
    /// Layers of the model, also those that were not looked at.
    pub layers: usize,
    /// By layer and key-value head.
    pub groups: Vec<Group>,
    /// The products of rows of different heads.
    pub cross: Cross,
}

/// Products of rows of different key-value heads, whatever their layers: a frame that all layers share shows in them, without
/// that frame being known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cross {
    /// Which of [`Products::groups`] take part, ascending.
    pub groups: Vec<usize>,
    /// Which dimensions of their squares, by the same order in every group.
    pub dimensions: Vec<usize>,
    /// Gram matrix of all their key rows, group after group.
    pub keys: Square,
    /// Gram matrix of all their value rows.
    pub values: Square,
}

impl Products {
    /// Query heads that are here.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.groups.iter().map(|group| group.heads.len()).sum()
    }
}

/// Which dimensions of a head are looked at. Positions turn dimension i with i + half, or with its neighbour, so neighbours and
/// what stands half a head further are taken together.
#[must_use]
pub fn dimensions(dim: usize) -> Vec<usize> {
    if dim <= DIMENSIONS {
        return (0..dim).collect();
    }
    let first: Vec<usize> = spread(dim / 4, DIMENSIONS / 4).into_iter().flat_map(|i| [2 * i, 2 * i + 1]).collect();
    first.iter().copied().chain(first.iter().map(|i| i + dim / 2)).collect()
}

/// Places in a square of that side which no position turns out of their set: two neighbours and what stands half a head further.
#[must_use]
pub fn cells(side: usize) -> Vec<Vec<usize>> {
    let half = side / 2;
    let even = (0..half / 2).map(|c| vec![2 * c, 2 * c + 1, half + 2 * c, half + 2 * c + 1]);
    // What is left of an odd half or an odd side stands together.
    let rest: Vec<usize> =
        (0..side).filter(|i| if *i < half { *i >= half / 2 * 2 } else { i - half >= half / 2 * 2 }).collect();
    even.chain((!rest.is_empty()).then_some(rest)).collect()
}
