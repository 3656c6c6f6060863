//! Optimizer states beside the checkpoints of a series, as plain values (METHODS 10).

use serde::{Deserialize, Serialize};

/// What was measured of the states of a series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OptimizerStates {
    /// By checkpoint that has some, ascending.
    pub points: Vec<StatePoint>,
    /// Positions of checkpoints whose states were not used, and why.
    pub unread: Vec<(usize, String)>,
    /// Neighbours among `points`.
    pub between: Vec<StatesBetween>,
}

/// Which update the states are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateKind {
    /// First and second moments, as Adam and `AdamW` keep them.
    Adam,
    /// One moment: SGD with momentum, Lion, Muon.
    Momentum,
    /// Anything else: only steps and settings are looked at.
    Other,
}

/// The states beside one checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatePoint {
    /// Position in the series.
    pub at: usize,
    /// The file or folder that they are in.
    pub source: String,
    /// What is kept of most parameters.
    pub kind: StateKind,
    /// Names of what is kept.
    pub keeps: Vec<String>,
    /// Numbers of updates that the states have seen, with how many parameters say so, ascending.
    pub steps: Vec<(u64, u64)>,
    /// Settings of the groups.
    pub groups: Vec<GroupSettings>,
    /// Parameters that have states.
    pub parameters: u64,
    /// Parameters whose states have the shape of no tensor of the checkpoint, or too few of it.
    pub strange: u64,
    /// Parameters that were joined to a tensor, by name or by content.
    pub joined: u64,
    /// Elements of those.
    pub elements: u64,
    /// Hash of what the states hold.
    pub digest: String,
    /// Sum of the second moments of all parameters; `None` unless all have some.
    pub second: Option<f64>,
    /// Rows of the tables of tokens.
    pub rows: Vec<ZeroRows>,
    /// Master weights in single precision: elements compared, and those that do not round to the stored ones.
    pub master: Option<(u64, u64)>,
    /// The displacement from the checkpoint before to this one, and from this one to the next.
    #[serde(alias = "ways")]
    pub displacements: [Option<StateDisplacement>; 2],
}

/// Settings of one group of parameters, as far as the file says them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupSettings {
    /// Learning rate.
    pub rate: Option<f64>,
    /// Decay rates of the moments.
    pub betas: Option<[f64; 2]>,
    /// What is added to the root of the second moment.
    pub eps: Option<f64>,
    /// Weight decay.
    pub decay: Option<f64>,
    /// Whether it is apart from the gradients.
    #[serde(default)]
    pub decoupled: Option<bool>,
    /// Momentum of an optimizer with one moment.
    pub momentum: Option<f64>,
}

/// Rows of a table of tokens, by their moments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ZeroRows {
    /// Position among the plan's units.
    pub unit: usize,
    /// Rows whose moments are zero in every element.
    pub zero: u64,
    /// Rows of the table.
    pub of: u64,
    /// Of the rows that kept their direction in the whole series up to this checkpoint (those of the decay clock), how many
    /// have zero moments, ...
    pub still: u64,
    /// ... and how many there are.
    pub clock: u64,
}

/// A displacement of the weights against -m / (sqrt(v) + eps).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateDisplacement {
    /// The other checkpoint's position.
    pub other: usize,
    /// Sum of the products of displacement and direction, ...
    pub product: f64,
    /// ... of the squares of the displacement ...
    #[serde(alias = "way2")]
    pub displacement2: f64,
    /// ... and of the direction.
    pub direction2: f64,
    /// Root of the sum of the squares of the products by row: standard error of `product` where signs of rows are
    /// independent.
    pub error: f64,
    /// Elements of rows that were not used to join parameters and tensors.
    pub elements: u64,
}

impl StateDisplacement {
    /// Cosine between the displacement and the direction.
    #[must_use]
    pub fn cosine(&self) -> Option<f64> {
        let norms = (self.displacement2 * self.direction2).sqrt();
        (norms > 0.0).then(|| self.product / norms)
    }

    /// The product in standard errors.
    #[must_use]
    pub fn z(&self) -> Option<f64> {
        (self.error > 0.0).then(|| self.product / self.error)
    }
}

/// Two neighbours among the states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatesBetween {
    /// Positions in the series.
    pub from: usize,
    /// See `from`.
    pub to: usize,
    /// Updates between the two by the states' own count.
    pub updates: u64,
    /// Whether the states hold the same bytes.
    pub equal: bool,
    /// Elements whose second moment was above zero and whose fall was looked at, ...
    pub compared: u64,
    /// ... and those that fell faster than the second decay rate lets them.
    pub fell: u64,
    /// The update between consecutive states, replayed.
    pub replay: Option<StateReplay>,
}

/// One update, replayed from the states before and after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StateReplay {
    /// Elements.
    pub elements: u64,
    /// Elements whose second moment does not follow within the rounding of the stored format.
    pub moments_off: u64,
    /// Root mean square error of the second moments over their own root mean square.
    pub moments_error: f64,
    /// Elements of joined parameters.
    pub weights: u64,
    /// Elements whose weight does not follow within rounding.
    pub weights_off: u64,
    /// Elements whose step is larger than what is allowed for rounding: those that can tell.
    pub weights_told: u64,
    /// Length of what is left of the step over the length of the step.
    pub step_error: f64,
    /// Cosine between the step and what the moments give.
    pub step_cosine: f64,
    /// Learning rate that fits best, over all parameters: smallest and largest of the parameters' own.
    pub rate: Option<(f64, f64)>,
    /// Norm of the gradient that the first moments give, over all parameters; `None` unless all have moments.
    pub gradient: Option<f64>,
}
