//! Two checkpoints of one series in different architectures (METHODS 5, growth and surgery in mid-run).

use serde::{Deserialize, Serialize};

/// What became of the matrices between two checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// Correlation over the rows of matrices of one name and shape.
    pub same: Vec<f64>,
    /// Matrices of one name and another shape.
    pub resized: Vec<Resized>,
    /// Matrices that only the later one has.
    pub new: Vec<NewMatrix>,
    /// How many matrices only the earlier one has.
    pub dropped: usize,
    /// How many there are in the earlier and in the later one.
    pub matrices: (usize, usize),
}

/// A matrix that changed its shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Resized {
    pub tensor: String,
    pub before: Vec<usize>,
    pub after: Vec<usize>,
    /// Correlation of the leading rows and columns that both have.
    pub kept: Option<f64>,
    /// Elements that were compared.
    pub elements: usize,
}

/// A matrix that was not there before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct NewMatrix {
    pub tensor: String,
    pub shape: Vec<usize>,
    /// The matrix of the earlier checkpoint that it is most like, with the correlation, if it is like one.
    pub copy: Option<(String, f64)>,
    pub zero: bool,
}
