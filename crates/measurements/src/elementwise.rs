//! Two copies of one tensor, element by element (METHODS 1: order statistics and counts).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use scratchproof_kernel::{CommonFactor, Dtype, Rounding};

/// One tensor of two models, element by element.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Elementwise {
    /// Position among the plan's units.
    pub unit: usize,
    /// The two models.
    pub models: (usize, usize),
    /// Mean of |a - b|; `None` if an element is not finite, and where the first model is not the final checkpoint.
    pub mean_abs_diff: Option<f64>,
    /// 99th percentiles of |a| and |b|, interpolated linearly between order statistics.
    pub p99: Option<[f64; 2]>,
    /// The coarsest formats that hold the two (looked at in the first tile).
    pub formats: [Dtype; 2],
    /// How the finer one was brought to the coarser one; `None` if both are of one format.
    pub rounding: Option<Rounding>,
    /// Share of equal elements outside constant rows.
    pub equal: Option<f64>,
    /// The same with one tensor moved by a row: what unrelated models in these formats show.
    pub shifted: Option<f64>,
    /// Share of elements that differ by no more than a rounding to eight bits.
    pub eight_bits: Option<f64>,
    /// Rows as stored and elements of each; none for vectors.
    pub rows: u64,
    /// See `rows`.
    pub row: usize,
    /// Blocks of rows that are equal and not constant.
    pub blocks: Vec<Range<u64>>,
    /// Places among the largest absolute values that both have, and how many places were looked at.
    pub extremes: (u64, u64),
    /// Rows with one direction and one common factor that are not equal.
    pub decayed: Option<CommonFactor>,
    /// Correlation, rows centred, over all rows that are neither equal nor of one direction.
    pub rest: Option<f64>,
}

impl Elementwise {
    /// Rows that are equal and not constant.
    #[must_use]
    pub fn equal_rows(&self) -> u64 {
        self.blocks.iter().map(|block| block.end - block.start).sum()
    }
}
