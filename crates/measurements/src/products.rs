//! What is made of the rows that were kept of all tensors: the rows themselves are as large as the memory allows, what a
//! judge asks of them is small.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Between, LayerMap, ResidualFigure};

/// Figures over kept rows. Models are positions among the plan's models, units positions among its units.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptProducts {
    /// Every checkpoint against the first, the one before and every reference, and references against each other.
    pub between: Vec<Between>,
    /// Of every parent, its sums with a copy of itself that has as much noise as weight.
    pub perturbed: Vec<(usize, Vec<ResidualFigure>)>,
    /// Of every parent, its sums with the final checkpoint after the start is projected out of both.
    pub given_start: Vec<(usize, Vec<ResidualFigure>)>,
    /// Of every parent, the same after the other parents are, where there are several.
    pub given_others: Vec<(usize, Vec<ResidualFigure>)>,
    /// Of every two models their sums by family, where they were asked for.
    pub families: Vec<((usize, usize), BTreeMap<String, ResidualFigure>)>,
    /// Layers of the first of two models against those of the second.
    pub layer_maps: Vec<((usize, usize), Vec<LayerMap>)>,
    /// How much parents and controls look like draws.
    #[serde(default)]
    pub drawn: Vec<Drawn>,
    /// Matrices of the first checkpoint against those beside them.
    pub start: Vec<PairOfTensors>,
    /// Rows of the first and the final checkpoint that are another model's in another place.
    #[serde(default)]
    pub matched: Vec<MatchedRows>,
    /// Angles between rows of the MLP matrices of the first and the final checkpoint and of parents and controls.
    #[serde(default)]
    pub angles: Vec<RowAngles>,
    /// Tests of structure in what lies between the checkpoints.
    pub signs: Vec<SignFigure>,
    /// Rows on a line through the same rows of other checkpoints.
    pub row_lines: Vec<RowLine>,
}

impl KeptProducts {
    /// The sums of two models, in the order in which they were asked for.
    #[must_use]
    pub fn between(&self, a: usize, b: usize) -> &[ResidualFigure] {
        self.between.iter().find(|between| between.models == (a, b)).map_or(&[], |between| &between.figures)
    }

    /// The layer maps of two models.
    #[must_use]
    pub fn layer_maps(&self, own: usize, other: usize) -> &[LayerMap] {
        self.layer_maps.iter().find(|(models, _)| *models == (own, other)).map_or(&[], |(_, maps)| maps)
    }
}

/// How far from independent random directions the rows of one family of a reference are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drawn {
    /// The reference.
    pub model: usize,
    /// The family.
    #[serde(default)]
    pub family: String,
    /// Pairs of rows.
    pub pairs: u64,
    /// Their squared cosines over the mean for random directions, in standard deviations: about 0 for a draw.
    #[serde(with = "scratchproof_kernel::exact")]
    pub z: f64,
}

/// Two matrices of the first checkpoint, each centred and scaled to unit norm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairOfTensors {
    /// The two units.
    pub units: (usize, usize),
    /// Correlation of their kept rows.
    #[serde(with = "scratchproof_kernel::exact")]
    pub pearson: f64,
}

/// What is left between checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// The displacement from one checkpoint to the next.
    Increment,
    /// The distance of a checkpoint from the chord of its neighbours.
    OffChord,
    /// The distance from the span of all other checkpoints.
    OffSpan,
}

/// The test of signs of one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignFigure {
    /// The unit.
    pub unit: usize,
    /// What was tested.
    pub kind: Kind,
    /// Position of the checkpoint in the series.
    pub at: usize,
    /// Sum of the squared products of two rows over its expectation: 1 if every element's sign is a coin of its own.
    #[serde(with = "scratchproof_kernel::exact")]
    pub ratio: f64,
    /// The same in standard deviations of the null.
    #[serde(with = "scratchproof_kernel::exact")]
    pub z: f64,
    /// Root mean square of what was tested, in roundings of the number format.
    #[serde(with = "scratchproof_kernel::exact")]
    pub over: f64,
}

/// Kept rows of three checkpoints, over all tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowLine {
    /// Positions in the series; the second is looked at.
    pub checkpoints: [usize; 3],
    /// Rows that went a long way from the first to the last and whose middle one is on the line between, at its first end,
    /// at its last end; and how many went a long way.
    pub rows: [u64; 4],
}

/// Rows of two models that are each other's nearest by the even and by the odd columns alike, and lie in different places.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatchedRows {
    /// The two models.
    pub models: (usize, usize),
    /// Length of the rows.
    pub hidden: usize,
    /// Rows of each that were held against the other's.
    pub rows: (u64, u64),
    /// How many such pairs there are where the columns of one model have an order of their own; not asked where three or fewer
    /// were found.
    pub by_chance: u64,
    /// By tensor of the first and of the second model.
    pub tensors: Vec<MatchedTensors>,
}

/// Rows of one tensor that are those of another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatchedTensors {
    /// Units of the plan.
    pub units: (usize, usize),
    /// Rows.
    pub rows: u64,
    /// Rows of the first that were compared.
    pub of: u64,
    /// Mean of their cosines, centred over the residual axis.
    #[serde(with = "scratchproof_kernel::exact")]
    pub cosine: f64,
}

/// The angles between rows of the MLP matrices of one family in two models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowAngles {
    /// The two models.
    pub models: (usize, usize),
    /// The family, with its tower's name before it.
    pub family: String,
    /// The component it is judged with.
    pub component: String,
    /// Pairs of matrices that were held against each other.
    pub tried: u64,
    /// Matrices in the same place in both ...
    pub matrices: u64,
    /// ... their standard scores together (Stouffer) ...
    pub z: Option<f64>,
    /// ... and the mean of their correlations.
    pub effect: Option<f64>,
    /// Pairs that stand out.
    pub cells: Vec<AngleCell>,
}

/// Two matrices of one family whose angles are alike.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AngleCell {
    /// Unit of the plan, and which matrix of its stack.
    pub own: (usize, usize),
    /// The same of the other model.
    pub other: (usize, usize),
    /// The standard score over all orders of the neurons of one.
    #[serde(with = "scratchproof_kernel::exact")]
    pub z: f64,
    /// Correlation of the cosines.
    #[serde(with = "scratchproof_kernel::exact")]
    pub effect: f64,
}
