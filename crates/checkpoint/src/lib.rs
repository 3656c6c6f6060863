//! What is in a checkpoint: header -> catalogue -> architecture -> correspondence between models.

mod adapter;
mod architecture;
mod catalogue;
mod constants;
mod correspondence;
mod deduce;
mod drawn;
mod forms;
mod formula;
mod header;
mod heads;
mod index;
mod merge;
mod part;
mod residual;
mod sample;
mod settings;
mod shape;
mod shard;
mod stacked;
mod summary;
mod template;
#[doc(hidden)]
pub mod testing;
mod tokenizer;
mod tower;
mod untaken;
mod wrappers;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use adapter::Adapter;
pub use architecture::{Architectures, Arrangement, Recognition, Split, builtin};
pub use catalogue::Checkpoint;
pub use correspondence::{Correspondence, Mismatch, Side};
pub use drawn::{LARGE, Sample, drawn_rows};
pub use forms::optimizer::{Optimizer, OptimizerFiles, Parameter, ParameterState, StateTensor};
pub use header::{Header, HeaderTensor};
pub use heads::Heads;
pub use index::is_trainers;
pub use part::{Fill, Part, packaged_alike};
pub use scratchproof_kernel::Dtype;
pub use scratchproof_texts::Text;
pub use settings::read_settings;
pub use shard::Shard;
pub use summary::{ByteCheck, DtypeRow, FamilyRow, Summary, UnknownTensor, check_bytes};
pub use template::template;
pub use tokenizer::{TokenComparison, Tokenizer, TokenizerFiles, TokenizerKind};
pub use tower::Meeting;
pub use untaken::Untaken;
pub use wrappers::bare_name;

/// The part of a model that is judged as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Component {
    Embedding,
    Attention,
    Mlp,
    Experts,
    Router,
    Norms,
    Head,
    Other,
}

/// Which axis of a tensor is the residual stream (the hidden dimension), the axis that all tensors share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Residual {
    /// The last axis but one: rows of `o_proj` and `down_proj` as PyTorch stores them, of each matrix in a stack.
    Rows,
    /// The last axis: columns of `q/k/v/gate/up/router/embedding/head`.
    Columns,
    /// The first axis of a convolution, its output channels; the others are taken together.
    First,
    /// A vector over the residual stream (norm weights, output biases).
    Vector,
    /// No axis is.
    None,
}

/// What a tensor is for, as its name says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Role {
    /// Name prefix of the tower it belongs to (`vision_tower`); empty for the language model itself.
    pub tower: String,
    /// The component it is judged with.
    pub component: Component,
    /// Canonical family, the same for one function in every architecture: `q_proj`, `experts.down_proj`,
    /// `q_proj.bias`, `input_norm`; the name with its numbers replaced where the name is unknown.
    pub family: String,
    /// Layer, from 0.
    pub layer: Option<u32>,
    /// Expert within the layer, from 0.
    pub expert: Option<u32>,
    /// Which axis is the residual one.
    pub residual: Residual,
    /// Whether its function is known: a template knew the name, or it was deduced.
    pub known: bool,
    /// Whether no template knew the name and the rest of the role was deduced: layers from the repetition of names, axes
    /// from shapes, the function from another model's tensor of the same content.
    pub deduced: bool,
    /// A structural constant (rotary frequencies, position ids, masks): kept as data, never evidence.
    pub constant: bool,
}

/// One tensor of a checkpoint: where its bytes are and what it is for.
#[derive(Clone, Debug, Serialize)]
pub struct TensorRecord {
    /// Name in the file.
    pub name: String,
    /// Number format.
    pub dtype: Dtype,
    /// Shape, outermost axis first.
    pub shape: Vec<usize>,
    /// Index of the shard that holds it.
    pub shard: usize,
    /// First byte, from the start of the shard's file.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// What it is for.
    pub role: Role,
    /// The matrices it holds, if they are several.
    #[serde(skip)]
    pub split: Option<Arc<Split>>,
}

/// A tensor that is not compared, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Skipped {
    /// Name of the tensor.
    pub tensor: String,
    /// Why, in words.
    pub why: String,
}

impl TensorRecord {
    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Component {
    /// The name users read and scripts match.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Attention => "attention",
            Self::Mlp => "mlp",
            Self::Experts => "experts",
            Self::Router => "router",
            Self::Norms => "norms",
            Self::Head => "head",
            Self::Other => "other",
        }
    }
}

impl Role {
    /// The name of the component this tensor is judged with: a tower is judged as one.
    #[must_use]
    pub fn judged_as(&self) -> &str {
        if self.tower.is_empty() { self.component.name() } else { &self.tower }
    }

    /// Whether its rows are tokens: an embedding or an output layer, and no table of positions.
    #[must_use]
    pub fn is_of_tokens(&self) -> bool {
        let table = matches!(self.component, Component::Embedding | Component::Head) && self.layer.is_none();
        table && self.residual == Residual::Columns && !self.family.contains("position")
    }
}
