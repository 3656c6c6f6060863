//! The residual cross-Gram of two models (METHODS 2.1).

use serde::{Deserialize, Serialize};

use scratchproof_kernel::Sums;

/// Name of the whole model among the components.
pub const ALL: &str = "all";

/// The sums of one component of two models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResidualFigure {
    /// The component, or [`ALL`].
    pub component: String,
    /// Length of the residual axis it was compared over.
    pub hidden: usize,
    /// tr(M) and ||M||_F^2.
    pub sums: Sums,
    /// Tensors that took part: the trace that equal models would have.
    pub tensors: usize,
    /// Rows that took part.
    pub rows: usize,
}

/// The sums of two models, component by component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Between {
    /// The two, as positions among the plan's models.
    pub models: (usize, usize),
    /// By component, and over the whole model.
    pub figures: Vec<ResidualFigure>,
}
