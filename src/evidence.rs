//! Tidy tables: every figure of the audit, one row an observation.

/// What a checkpoint was compared with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// The earliest checkpoint.
    Init,
    /// The checkpoint before.
    Previous,
    /// A candidate parent, by its name in the case file.
    Parent(String),
    /// A control, by its name in the case file.
    Control(String),
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Init => f.write_str("init"),
            Self::Previous => f.write_str("previous"),
            Self::Parent(name) => write!(f, "parent:{name}"),
            Self::Control(name) => write!(f, "control:{name}"),
        }
    }
}

/// One row of `evidence/trajectory.parquet`: one tensor of one checkpoint against one reference.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct TrajectoryRow {
    pub step: i64,
    pub tensor: String,
    pub component: String,
    pub family: String,
    pub layer: Option<u32>,
    pub expert: Option<u32>,
    pub reference: Reference,
    pub elements: u64,
    pub cosine: Option<f64>,
    pub pearson: Option<f64>,
    pub l2: Option<f64>,
    pub relative_l2: Option<f64>,
    pub rms: Option<f64>,
    pub z: Option<f64>,
    pub log10_p: Option<f64>,
}

/// One row of `evidence/components.parquet`: one component of one checkpoint against one reference, with the residual
/// cross-Gram's figures (METHODS 2.1). `component` is `all` for the whole model.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ComponentRow {
    pub step: i64,
    pub component: String,
    pub reference: Reference,
    /// Mean correlation, centred over the residual axis, weighted as the cross-Gram weighs it.
    pub effect: Option<f64>,
    pub z: Option<f64>,
    pub log10_p: Option<f64>,
    /// Sampled rows.
    pub rows: u64,
    /// Columns (hidden size).
    pub columns: u64,
}

/// One cell of `evidence/layer_map.parquet`. Family `all` is the sum over the families.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct LayerMapRow {
    pub parent: String,
    pub family: String,
    pub layer_subject: u32,
    pub layer_parent: u32,
    pub pearson: Option<f64>,
    pub z: Option<f64>,
}
