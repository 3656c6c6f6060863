//! What came from weights, as plain values: everything that facts, findings and the verdict need of a model, and no way
//! to get at the model itself.
//!
//! The values are made by `measure`, kept by `store` and judged by whoever has them: no file handle is in them, and the
//! bits are the same whatever the threads, the machine or the split of the work.

mod digest;
mod elementwise;
mod found;
mod growth;
mod heads;
mod layers;
mod lines;
mod model;
mod optimizer;
mod plan;
mod products;
mod replay;
mod residual;
mod sample;
mod tensors;
mod token_rows;
mod trails;
mod vocabulary;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use digest::{FileDigest, manifest};
pub use elementwise::Elementwise;
pub use found::{
    ANY_BASIS, Added, Among, BY_TOKENS, Change, Class, Deduction, Disguise, Found, How, IN_PLACE, Injection, Looked,
    Observation, Question, WithinStart,
};
pub use growth::{Growth, NewMatrix, Resized};
pub use heads::{HeadMatch, HeadPower, HeadTest, MatchedHead, SignTest};
pub use layers::{LayerCell, LayerMap};
pub use lines::{LINE_BITS, LINE_LOOKED, OtherLines};
pub use model::{Model, Tensor};
pub use optimizer::{
    GroupSettings, OptimizerStates, StateDisplacement, StateKind, StatePoint, StateReplay, StatesBetween, ZeroRows,
};
pub use plan::{KERNEL_VERSION, Member, Plan, Pool, SearchRules, Unit};
pub use products::{
    AngleCell, Drawn, KeptProducts, Kind, MatchedRows, MatchedTensors, PairOfTensors, RowAngles, RowLine, SignFigure,
};
pub use replay::{Replay, Replayed, TensorReplay};
pub use residual::{ALL, Between, ResidualFigure};
pub use sample::SampleRecord;
pub use scratchproof_checkpoint::{Component, Meeting, Residual as Axis, Role};
pub use tensors::{FAR_PLACE, Kept, TensorFigures};
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
    /// Roles that content or order gave where names did not settle them.
    pub deduced: Vec<Deduction>,
    /// Steps of the checkpoints of the series; a single model has one, 0, that is no step.
    pub steps: Vec<i64>,
    /// Steps of the checkpoints that were left out, and why.
    pub left_out: Vec<(i64, String)>,
    /// Neighbours of different architecture.
    pub growth: Vec<(i64, i64, Growth)>,
    /// Tables of tokens of the first checkpoint that a formula wrote; none where it is no series.
    #[serde(default)]
    pub formulas: Vec<String>,
    /// By unit of the plan, the sums of one pass over its bytes.
    #[serde(skip)]
    pub tensors: Vec<TensorFigures>,
    /// What is made of the rows that were kept of all tensors.
    pub kept: KeptProducts,
    /// Rows and columns of tensors that no unit has, of the first and the final checkpoint and of every reference.
    #[serde(default)]
    pub other_lines: Vec<OtherLines>,
    /// First and final checkpoint against every parent and control, element by element.
    pub elementwise: Vec<Elementwise>,
    /// Rows of tokens without a gradient.
    pub token_rows: Vec<TokenRows>,
    /// Optimizer states beside the checkpoints.
    #[serde(default)]
    pub optimizer: OptimizerStates,
    /// By model, its files.
    pub digests: Vec<Vec<FileDigest>>,
    /// The search for a disguise, by reference.
    pub found: Vec<Found>,
    /// Whether the matrices of the first checkpoint know of each other; empty where it is no series.
    #[serde(default)]
    pub within_start: Vec<WithinStart>,
    /// Of every parent that was written in the subject's coordinates and measured so, its place among the references.
    pub relabelled: Vec<usize>,
    /// What was compared through tokens.
    pub vocabularies: Vocabularies,
    /// The declared start, drawn again.
    pub replay: Replay,
    /// Bytes of weights that were read for [`Measurements::tensors`].
    pub bytes_read: u64,
    /// What was drawn of the models; then no file of a model has a digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<SampleRecord>,
}

impl Measurements {
    /// The steps between which the model grew into the architecture of the series, where checkpoints before that were left out
    /// and are remembered: most of the matrices that both have correlate by one half or more. Leftovers of another run do not.
    #[must_use]
    pub fn grown(&self) -> Option<(i64, i64)> {
        let first = *self.steps.first()?;
        let (from, to, growth) = self.growth.iter().find(|(_, to, _)| *to == first)?;
        let kept = || growth.same.iter().copied().chain(growth.resized.iter().filter_map(|r| r.kept));
        let remembered = 2 * kept().filter(|kept| *kept >= 0.5).count() > kept().count();
        (remembered && self.left_out.iter().any(|(step, _)| step == from)).then_some((*from, *to))
    }

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

    /// How many elements the tensor of a unit has, whether all of its rows were read or not.
    pub fn sizes(&self) -> impl Fn(&Unit) -> usize {
        let tensors = self.sample.iter().flat_map(|_| &self.subject().tensors);
        let whole: BTreeMap<&str, usize> = tensors.map(|tensor| (tensor.name.as_str(), tensor.elements())).collect();
        move |unit| whole.get(unit.tensor.as_str()).copied().unwrap_or_else(|| unit.elements())
    }

    /// The subject's tensors.
    pub fn own(&self) -> impl Iterator<Item = (&Unit, &TensorFigures)> {
        self.plan.units.iter().zip(&self.tensors).filter(|(unit, _)| unit.in_subject())
    }

    /// The subject's matrices that can tell: known weights that are no constants.
    pub fn matrices(&self) -> impl Iterator<Item = (&Unit, &TensorFigures)> {
        self.own().filter(|(unit, _)| unit.is_matrix())
    }

    /// Whether everything fits together, as it does where it was measured; read from a file it may not.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self) -> Result<(), String> {
        let plan = &self.plan;
        let given = plan.series + plan.references;
        let models = plan.models();
        let slots = plan.units.iter().all(|unit| {
            let ascending = unit.members.windows(2).all(|pair| pair[0].model < pair[1].model);
            let whole =
                !unit.in_subject() || (0..plan.series).all(|t| unit.members.get(t).is_some_and(|m| m.model == t));
            ascending && whole && unit.members.last().is_some_and(|last| last.model < models)
        });
        let rows = plan.units.iter().zip(&self.tensors).all(|(unit, f)| f.gram.shape().rows() == unit.members.len());
        let rules = [
            (plan.series > 0 && plan.parents <= plan.references, "the plan has no subject"),
            (self.models.len() == given && self.digests.len() == given, "there are not as many models as planned"),
            (self.steps.len() == plan.series, "there are not as many steps as checkpoints"),
            (self.found.len() == plan.references, "a search is lacking"),
            (
                self.found.iter().flat_map(|f| &f.added).all(|a| (0..plan.series).contains(&a.to)),
                "an interval is of no checkpoint",
            ),
            (self.relabelled.len() == plan.relabelled, "a disguise is lacking"),
            (self.relabelled.iter().all(|parent| *parent < plan.parents), "a disguise is of no parent"),
            (slots && rows && self.tensors.len() == plan.units.len(), "the figures do not fit the plan"),
            (
                self.elementwise.iter().all(|e| e.unit < plan.units.len() && e.models.0 < plan.series),
                "a second pass is of nothing planned",
            ),
            (self.token_rows.iter().all(|rows| self.fits(rows)), "rows of tokens are of nothing planned"),
            (self.states_fit(), "states of an optimizer are of no checkpoint"),
            (
                self.kept.row_lines.iter().all(|l| l.checkpoints.iter().all(|t| *t < plan.series)),
                "a line of rows is of no checkpoint",
            ),
            (self.kept.signs.iter().all(|s| (1..plan.series).contains(&s.at)), "a test of signs is of no checkpoint"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, why)) => Err(why.to_owned()),
            None => Ok(()),
        }
    }

    fn states_fit(&self) -> bool {
        let inside = |at: usize| at < self.plan.series;
        let states = &self.optimizer;
        states.unread.iter().all(|(at, _)| inside(*at))
            && states.between.iter().all(|pair| inside(pair.from) && inside(pair.to))
            && states.points.iter().all(|point| {
                let units = point.rows.iter().all(|rows| rows.unit < self.plan.units.len());
                inside(point.at)
                    && units
                    && point.displacements.iter().flatten().all(|displacement| inside(displacement.other))
            })
    }

    fn fits(&self, rows: &TokenRows) -> bool {
        let points = self.plan.series;
        let inside = |at: usize| at < points;
        rows.unit < self.plan.units.len()
            && rows.bits.len() == points
            && rows.seen.len() + 1 == points
            && rows.holds.len() + 1 == points
            && rows.between.iter().all(|pair| inside(pair.from) && inside(pair.to))
            && rows.returned.iter().all(|row| inside(row.from) && inside(row.away) && inside(row.to))
    }
}
