//! What the silence of a condition is worth: what its tests would have seen (METHODS 11).
//!
//! Power is measured by injection: a culprit of stated size is added to the figures of the case, and every test that can see
//! such a culprit is asked again. A condition whose silence nothing could have broken is untested.

mod chain;
mod parent;
mod start;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use chain::chain;
pub use parent::{Blind, Culprit, ParentReach, parent, settle as settle_parent};
pub use start::{Span, start};

/// Components of less than this share of the parameters state what is measured of them and block nothing: too little of a model
/// fits into them.
pub(crate) const SMALL: f64 = 0.01;

/// What the tests of each condition could have seen; `None` where there was nothing to test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Power {
    pub parent: Option<ParentPower>,
    pub chain: Option<ChainPower>,
    pub start: Option<StartPower>,
}

/// How much of the model could have been seen to be a parent's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ParentPower {
    /// Share of the parameters, norms apart, in matrices in which the parent's own would have been seen; the least over the
    /// parents.
    pub reached: f64,
    /// The smallest correlation over the whole model that would have been graded moderate; the largest over the parents.
    pub smallest_correlation: Option<f64>,
    /// The bases in which the parent was looked for.
    pub bases: Vec<String>,
    /// By parent and component, what would have been seen of the parent's own matrices as stored.
    pub stored: Vec<StoredPower>,
    /// By parent and disguise, where the parent itself in that disguise is seen.
    pub disguised: Vec<DisguisePower>,
}

/// The parent's own matrices as stored, put into one component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct StoredPower {
    pub parent: String,
    pub component: String,
    /// Share of the parameters that were held against one of the parent's.
    pub compared: f64,
    /// Smallest correlation that is graded moderate in nine of ten draws; `None` where none up to one is.
    pub smallest_correlation: Option<f64>,
}

/// The parent itself in one disguise, held against the parent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DisguisePower {
    pub parent: String,
    /// `permuted`, `rotated`, `moved`, `half` or `padded`.
    pub class: String,
    /// Correlation of its rows with the parent's.
    pub correlation: f64,
    /// Components that the search names at moderate or above; `all` where it says how the residual axis is written.
    pub seen_in: Vec<String>,
}

/// Which intervals another model could have been put into.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChainPower {
    /// Intervals in which an unrelated model's weights of a component's own size would not have been seen.
    pub untested: Vec<(i64, i64)>,
    /// By interval and component, the smallest share that would have been.
    pub intervals: Vec<Reach>,
}

/// What would have been seen in one interval and component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// Steps of the two checkpoints.
    pub steps: (i64, i64),
    /// The component; `layers` for all of the layers at once, `all` for the whole model.
    pub component: String,
    /// Smallest size of an unrelated model's weights, over that of the component in the final checkpoint, that some test grades
    /// moderate or above in nine of ten draws; `None` where none up to sixteen does.
    pub smallest_share: Option<f64>,
    /// The tests that speak at a share of one.
    pub by: Vec<String>,
}

/// How much of the first checkpoint could have been seen to be trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StartPower {
    /// Share of the parameters of matrices in which 20 % of a trained matrix would have been seen.
    pub reached: f64,
}
