//! Every layer of the subject against every layer of another model (METHODS 2.2).

use serde::{Deserialize, Serialize};

use scratchproof_kernel::Sums;

/// One cell of a layer map.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerCell {
    /// Layer of the subject.
    pub subject: u32,
    /// Layer of the other model.
    pub other: u32,
    /// tr(M) and ||M||_F^2 of the two layers.
    pub sums: Sums,
    /// Tensors that both have.
    pub tensors: usize,
}

/// The map of one family, or of all families of a tower together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerMap {
    /// Canonical family, or [`ALL`]; with the tower's prefix for those of a tower: `vision_tower.q_proj`,
    /// `vision_tower.all`.
    pub family: String,
    /// Length of the residual axis.
    pub hidden: usize,
    /// All pairs of layers that have something to compare.
    pub cells: Vec<LayerCell>,
}
