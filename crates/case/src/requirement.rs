//! What a claim must rest on beside the weights before it can be confirmed.

use serde::{Deserialize, Serialize};

/// A part of the record that a policy asks for. Without it the best outcome is inconclusive, and it is what is missing: who
/// withholds evidence must not be better off than who hands it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Requirement {
    /// A run log that is tied to the weights.
    Log,
    /// The repository that the training was run from.
    Repository,
    /// A date of publication for every parent.
    Release,
    /// An outside witness.
    Witness,
    /// The declared start, drawn again.
    Init,
    /// States of the optimiser that fit the weights.
    OptimizerStates,
}
