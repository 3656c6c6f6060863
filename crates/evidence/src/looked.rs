//! What the tests were made of.

/// One row of `evidence/looked.parquet`: of how many layers, matrices and rows a test was made, beside how many the final
/// checkpoint has. Rows are shared out by rule, never by what a policy asks: every component an equal share, every layer and
/// every expert of it an equal share of that.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct LookedRow {
    /// `elements` (correlations and distances of every matrix, from all its elements), `matrix` (the column test of each
    /// matrix), `model` (the tests of the whole model and of each component), and of the search for a disguise
    /// `second-moments`, `frame`, `neurons` and `heads`.
    pub test: String,
    /// Whom it was made with; none where the same holds for all.
    pub reference: Option<String>,
    pub component: String,
    /// Layers with a matrix that takes part; 0 where the component has none.
    pub layers: u64,
    pub of_layers: u64,
    /// Matrices that take part, each expert's among them; of `neurons` MLPs, of `heads` query heads.
    pub matrices: u64,
    pub of_matrices: u64,
    /// Rows over the residual axis that take part; of `neurons` and `heads` those.
    pub rows: u64,
    pub of_rows: u64,
    /// The correlation that so many rows show at five standard deviations.
    pub smallest_correlation: Option<f64>,
}
