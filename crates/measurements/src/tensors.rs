//! The sums of one pass over one tensor.

use scratchproof_kernel::{Dtype, Gram, Moments, Sums};

/// The figures of one tensor over all models.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorFigures {
    /// The one-pass Gram matrix; rows are the unit's members.
    pub gram: Gram,
    /// Column test of pairs of members (positions in the unit's members), where the tensor has a residual axis.
    pub columns: Vec<((usize, usize), Sums)>,
    /// The coarsest format that holds a member's first sampled rows.
    pub formats: Vec<Dtype>,
    /// How many different absolute values those hold.
    pub distinct: Vec<u32>,
    /// By interval of neighbouring checkpoints, how far the sampled weights moved that moved farthest: the
    /// [`FAR_PLACE`]th largest step, less what rounding to the number formats adds to it. Empty where nothing is sampled.
    pub farthest: Vec<f64>,
    /// Of an output layer, the share of the squares of what its sampled rows moved that lies along one direction, by interval
    /// of neighbouring checkpoints, and last the same of the final weights. Empty of all others.
    pub along: Vec<f64>,
    /// Figures of sampled rows of the first checkpoint, for the tests of the start; of all its matrices.
    pub start: Option<Moments>,
    /// By member the keys of rows and columns, ascending: equal where the values are, wherever they lie. Of the first and the
    /// final checkpoint and of parents and controls; empty of all others.
    pub lines: Vec<Vec<u64>>,
}

/// Which step of a tensor's sample counts as its farthest: one odd value is no path.
pub const FAR_PLACE: usize = 8;

/// The rows of one tensor that are kept for the tests over the whole model, by member.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Centred over the residual axis and scaled to unit norm; empty where there are none.
    pub rows: Vec<Vec<f32>>,
    /// Their norm, centred, before they were scaled.
    pub scales: Vec<f64>,
    /// Whether they are finite and not zero.
    pub usable: Vec<bool>,
}
