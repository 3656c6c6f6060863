//! What was measured of the points of a series, for the judges of made-up checkpoints.

use scratchproof_measurements::Kind;

/// Everything about single checkpoints and what lies between them.
#[derive(Clone, Debug, Default)]
pub struct Points {
    /// Checkpoints on a line through two others.
    pub lines: Vec<OnLine>,
    /// Checkpoints in the span of all others.
    pub spans: Vec<Span>,
    /// Structure of what lies between checkpoints, by component.
    pub residues: Vec<Residue>,
    /// Rows on lines of their own.
    pub rows: Vec<RowLines>,
    /// Checkpoints that are one but for rounding.
    pub repeats: Vec<Repeat>,
    /// Angles of the path.
    pub detours: Vec<Detour>,
    /// Single matrices that were replaced or scaled.
    pub breaks: Vec<Break>,
    /// Single matrices that grew as a whole.
    pub scaled: Vec<Scaled>,
    /// Rows of tokens that were drawn anew.
    pub redrawn: Vec<Redrawn>,
    /// Rows of tokens that came back.
    pub returned: Vec<Returned>,
    /// Checkpoints at which the path is straight.
    pub straightened: Vec<Straightened>,
    /// Least cosine of neighbouring increments after a mean of two neighbours was undone.
    pub undone: Option<f64>,
    /// Every interval of every component but the first two.
    pub splices: Vec<Splice>,
    /// Intervals in which one layer bends and hastens more than the others.
    pub layer_splices: Vec<LayerSplice>,
    /// Changes of the number format.
    pub recasts: Vec<Recast>,
    /// Checkpoints whose values need fewer bits than their format has.
    pub resaved: Vec<Resaved>,
    /// How the whole series is declared to be averaged.
    pub averaged: Option<String>,
    /// Steps that are declared to be averaged.
    pub averaged_steps: Vec<i64>,
}

impl Points {
    /// Whether the checkpoint of `step` is declared to be an average.
    #[must_use]
    pub fn declared(&self, step: i64) -> bool {
        self.averaged.is_some() || self.averaged_steps.contains(&step)
    }
}

/// A checkpoint between two others, on the line through them up to rounding, in some tensors or in all.
#[derive(Clone, Debug, PartialEq)]
pub struct OnLine {
    /// Step of the one between.
    pub middle: i64,
    /// Whether it is the latest of the three.
    pub latest: bool,
    /// Steps of the two others, ascending.
    pub ends: (i64, i64),
    /// Share of the weights that moved and lie on the line.
    pub share: f64,
    /// The tensors on the line.
    pub tensors: Vec<String>,
    /// Largest distance from the line, in roundings of the coarsest format.
    pub roundings: f64,
    /// Least and greatest place on the path from the earlier to the later end, over the tensors.
    pub fractions: (f64, f64),
}

/// Rows that lie on the line through the same rows of two other checkpoints up to rounding, each at its own place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowLines {
    /// Step of the checkpoint.
    pub step: i64,
    /// Steps of the two others.
    pub ends: (i64, i64),
    /// Rows on their line.
    pub on: u64,
    /// Rows that went far enough to tell.
    pub of: u64,
}

/// A checkpoint in the affine span of all others up to rounding.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The component, or `all`.
    pub component: String,
    /// Step of the checkpoint.
    pub step: i64,
    /// Steps and weights of what it is a combination of.
    pub weights: Vec<(i64, f64)>,
    /// Whether later checkpoints are among them.
    pub later: bool,
    /// Distance from the span in roundings.
    pub roundings: f64,
    /// Distance from the span over the distance from the nearest checkpoint.
    pub over_nearest: f64,
}

/// Whether a residue has any structure, over the matrices of one component.
#[derive(Clone, Debug, PartialEq)]
pub struct Residue {
    /// What is looked at.
    pub kind: Kind,
    /// The component.
    pub component: String,
    /// The checkpoint before, the one in question, the one after (the same one for an increment).
    pub steps: (i64, i64, i64),
    /// Matrices in which it is above the rounding.
    pub tensors: usize,
    /// Matrices in all.
    pub of: usize,
    /// Share of them without structure.
    pub clean: f64,
    /// Median over them of squared products of rows over what independent signs give.
    pub ratio: f64,
    /// The same over all of them, in standard deviations.
    pub z: f64,
    /// Median size, in roundings.
    pub roundings: f64,
    /// Whether the checkpoints at both ends are similar: noise between unrelated models is another matter.
    pub remembered: bool,
}

/// Two checkpoints that are nearer to each other than four roundings.
#[derive(Clone, Debug, PartialEq)]
pub struct Repeat {
    /// Their steps.
    pub steps: (i64, i64),
    /// Their distance in roundings.
    pub roundings: f64,
    /// What was to be expected: from the slowest other interval, or the distance of a checkpoint between them.
    pub expected: f64,
    /// Whether checkpoints between them are elsewhere.
    pub returned: bool,
    /// Whether the expectation rests on logged learning rates.
    pub logged: bool,
    /// Whether they are equal bit for bit.
    pub equal: bool,
}

/// The angle at one checkpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detour {
    /// The checkpoint before, the one in question, the one after.
    pub steps: (i64, i64, i64),
    /// Cosine of the two displacements.
    pub cosine: f64,
    /// Distance from the chord over its length.
    pub off_chord: f64,
    /// Whether the series ends here.
    pub last: bool,
}

/// A matrix that keeps nothing of the checkpoint before, or was multiplied, while the others were not.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Break {
    pub steps: (i64, i64),
    pub tensor: String,
    pub component: String,
    pub layer: Option<u32>,
    /// Its correlation with the checkpoint before.
    pub kept: f64,
    /// The median of that over all matrices.
    pub typical: f64,
    /// The factor, if it was scaled.
    pub scaled: Option<f64>,
    /// Its share of the weights of all matrices.
    pub share: f64,
    /// Whether it became zero.
    pub zero: bool,
}

/// A matrix whose start and whose path so far grew by one factor in one interval.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Scaled {
    pub steps: (i64, i64),
    pub tensor: String,
    pub component: String,
    pub layer: Option<u32>,
    pub factor: f64,
    /// The least of the logarithms by which it stands out: against the median matrix, against every one of its kind, against
    /// the intervals beside, and along its path.
    pub excess: f64,
    /// Matrices of its kind.
    pub siblings: usize,
    /// Its share of the weights of all matrices.
    pub share: f64,
}

/// What the rows of tokens did between two checkpoints, where some point the other way.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Redrawn {
    pub steps: (i64, i64),
    pub tensor: String,
    pub component: String,
    /// Rows of usual length before and after with a negative cosine.
    pub reversed: u64,
    /// The same with a cosine below 0.3.
    pub turned: u64,
    /// Share of all rows with a cosine of 0.6 or more.
    pub near: f64,
    /// Rows.
    pub of: u64,
}

/// An inner checkpoint and the cosine of the displacements before and after it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Straightened {
    pub step: i64,
    pub cosine: f64,
    /// The larger one of the checkpoints beside it.
    pub beside: f64,
    /// By how much it is larger, as inverse hyperbolic tangents.
    pub excess: f64,
}

/// An interval of one component, beside those before and after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Splice {
    /// The checkpoint before the interval before, and the two ends of the interval.
    pub steps: (i64, i64, i64),
    /// The component.
    pub component: String,
    /// Cosine with the interval before.
    pub cosine: f64,
    /// The smaller one of that at the checkpoints beside.
    pub beside: f64,
    /// By how much it is smaller than that, as inverse hyperbolic tangents.
    pub dip: f64,
    /// Its speed over that of the faster interval beside it.
    pub faster: f64,
    /// Whether the series ends with it.
    pub last: bool,
}

/// An inner interval in which one layer bends and hastens more than the others of its tower.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSplice {
    /// The checkpoint before the interval before, and the two ends of the interval.
    pub steps: (i64, i64, i64),
    /// The tower; empty for the language model.
    pub tower: String,
    /// The layer.
    pub layer: u32,
    /// Cosine with the interval before.
    pub cosine: f64,
    /// The smallest of the other layers.
    pub sharpest: f64,
    /// By how much it bends more: the least of the difference from the sharpest other layer, and of that from their mean, less
    /// what that is in the intervals beside; inverse hyperbolic tangents.
    pub dip: f64,
    /// By which factor it hastens more than their mean, over the same in the intervals beside.
    pub faster: f64,
}

/// A checkpoint with another precision than the one before.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Recast {
    pub step: i64,
    pub from: String,
    pub to: String,
    pub coarser: bool,
    /// Whether a later checkpoint is finer again.
    pub back: bool,
    /// Median share of distinct values, of those of its neighbours, where it is low.
    pub fewer: Option<f64>,
}

/// Rows of one tensor that stand again on the direction of an earlier checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Returned {
    /// Steps between which they came back.
    pub steps: (i64, i64),
    /// The earlier checkpoint, for most of them.
    pub since: i64,
    /// The tensor.
    pub tensor: String,
    /// Its component.
    pub component: String,
    /// Rows that came back.
    pub rows: u64,
    /// The one of them that had gone farthest.
    pub row: u64,
    /// The sine of the angle by which it had turned.
    pub moved: f64,
    /// Rows of the tensor.
    pub of: u64,
}

/// Checkpoints in one number format whose values are all numbers of a coarser one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resaved {
    /// Their steps.
    pub steps: Vec<i64>,
    /// The format they are stored in.
    pub stored: String,
    /// The format that holds their values.
    pub needed: String,
}
