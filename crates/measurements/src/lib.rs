//! What came from weights, as plain values: everything that facts, findings and the verdict need of a model, and no way
//! to get at the model itself.
//!
//! The values are made by `measure`, kept by `store` and judged by whoever has them: no file handle is in them, and the
//! bits are the same whatever the threads, the machine or the split of the work.

mod digest;
mod elementwise;
mod found;
mod growth;
mod layers;
mod model;
mod plan;
mod products;
mod replay;
mod residual;
mod tensors;
mod token_rows;
mod trails;
mod vocabulary;

use serde::{Deserialize, Serialize};

pub use digest::{FileDigest, manifest};
pub use elementwise::Elementwise;
pub use found::{BY_TOKENS, Change, Disguise, Found, IN_PLACE, Observation, Question};
pub use growth::{Growth, NewMatrix, Resized};
pub use layers::{LayerCell, LayerMap};
pub use model::{Model, Tensor};
pub use plan::{KERNEL_VERSION, Member, Plan, SearchRules, Unit};
pub use products::{KeptProducts, Kind, PairOfTensors, RowLine, SignFigure};
pub use replay::{Replay, Replayed, TensorReplay};
pub use residual::{ALL, Between, ResidualFigure};
pub use scratchproof_checkpoint::{Component, Meeting, Residual as Axis, Role};
pub use tensors::{FAR_PLACE, TensorFigures};
pub use token_rows::{Returned, RowsBetween, RowsSeen, TokenRows};
pub use trails::{LEG, LONG, ON_LINE, Trails, rounding};
pub use vocabulary::{Attention, ByToken, SharedTokens, TokenizerPair, Vocabularies};

/// Everything that was measured of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurements {
    /// What was measured.
    pub plan: Plan,
    /// The models that the case names, in the order of the plan: the series, then parents and controls.
    pub models: Vec<Model>,
    /// Steps of the checkpoints of the series; a single model has one, 0, that is no step.
    pub steps: Vec<i64>,
    /// Steps of the checkpoints that were left out, and why.
    pub left_out: Vec<(i64, String)>,
    /// Neighbours of different architecture.
    pub growth: Vec<(i64, i64, Growth)>,
    /// By unit of the plan, the sums of one pass over its bytes.
    pub tensors: Vec<TensorFigures>,
    /// What is made of the rows that were kept of all tensors.
    pub kept: KeptProducts,
    /// First and final checkpoint against every parent and control, element by element.
    pub elementwise: Vec<Elementwise>,
    /// Rows of tokens without a gradient.
    pub token_rows: Vec<TokenRows>,
    /// By model, its files.
    pub digests: Vec<Vec<FileDigest>>,
    /// The search for a disguise, by reference.
    pub found: Vec<Found>,
    /// Of every parent that was written in the subject's coordinates and measured so, its place among the references.
    pub relabelled: Vec<usize>,
    /// What was compared through tokens.
    pub vocabularies: Vocabularies,
    /// The declared start, drawn again.
    pub replay: Replay,
    /// Bytes of weights that were read for [`Measurements::tensors`].
    pub bytes_read: u64,
}

impl Measurements {
    /// The final checkpoint.
    ///
    /// # Panics
    /// If there is no model: a case names at least one checkpoint.
    #[must_use]
    pub fn subject(&self) -> &Model {
        &self.models[self.plan.last()]
    }

    /// Parents and controls.
    #[must_use]
    pub fn references(&self) -> &[Model] {
        &self.models[self.plan.series..]
    }

    /// The subject's tensors.
    pub fn own(&self) -> impl Iterator<Item = (&Unit, &TensorFigures)> {
        self.plan.units.iter().zip(&self.tensors).filter(|(unit, _)| unit.in_subject())
    }

    /// The subject's matrices that can tell: known weights that are no constants.
    pub fn matrices(&self) -> impl Iterator<Item = (&Unit, &TensorFigures)> {
        self.own().filter(|(unit, _)| unit.is_matrix())
    }
}
