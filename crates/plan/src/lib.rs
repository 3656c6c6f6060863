//! The work as frozen, hashable data: made from headers alone, before a weight is read.

mod build;
mod decay;
mod digest;
mod growth;
mod layers;
mod measure;
mod pairs;
mod reporter;
mod residual;
mod returned;
mod tokens;

use std::collections::BTreeMap;

use serde::Serialize;

use scratchproof_checkpoint::{Meeting, Role};
use scratchproof_kernel::{Dtype, View};

pub use build::{Material, Series};
pub use decay::{RowsBetween, RowsSeen, UnmetRows, unmet_rows};
pub use digest::{FileDigest, digests, manifest, md5};
pub use growth::{Growth, NewMatrix, Resized, growth};
pub use layers::{LayerCell, LayerMap, layer_map};
pub use measure::{Measured, TensorFigures, measure};
pub use pairs::{PairFigures, compare_pairs};
pub use reporter::{Quiet, Reporter};
pub use residual::{ALL, Residual, ResidualFigure};
pub use returned::Returned;
pub use tokens::{AttentionGrams, RowPairs, attention_grams, row_sums, rows, token_matrix};

/// Version of the kernels' arithmetic: part of every unit's id, so that figures of two versions are never mixed.
pub const KERNEL_VERSION: u32 = 1;

/// Everything that will be measured.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Checkpoints of the series, the first models of every unit.
    pub series: usize,
    /// Parents and controls, the models after them.
    pub references: usize,
    /// Length of the subject's residual axis.
    pub hidden: Option<usize>,
    /// Parents written in the subject's coordinates, the models after those.
    pub relabelled: usize,
    /// Length of the residual axis of every tower of the subject, by its name prefix; the language model's is empty.
    pub axes: BTreeMap<String, usize>,
    /// Of every parent and control, what each tower of the subject is compared with.
    pub meetings: Vec<Vec<Meeting>>,
    /// The tensors, by the subject's names first, then those that only references have.
    pub units: Vec<Unit>,
    /// What will not be measured, and why.
    pub skipped: Vec<(String, String)>,
}

/// One tensor over all models that have it.
#[derive(Clone, Debug, Serialize)]
pub struct Unit {
    /// Hash of what would be computed: kernels, shape, sample and the bytes' places.
    pub id: String,
    /// Name in the final checkpoint, or in the reference if only that has it.
    pub tensor: String,
    /// What it is for.
    pub role: Role,
    /// Shape, the same in all members.
    pub shape: Vec<usize>,
    /// The models that have it.
    pub members: Vec<Member>,
    /// How it is compared over the residual axis; `None` for vectors and tensors without one.
    #[serde(skip)]
    pub view: Option<View>,
    /// Rows of the view that the column test of this tensor samples.
    pub sampled: Vec<usize>,
    /// Positions in `sampled` of the rows that are kept for the model-wide tests.
    pub kept: Vec<usize>,
}

/// One model's copy of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The model.
    pub model: usize,
    /// Index of its file.
    pub shard: usize,
    /// Number format.
    pub dtype: Dtype,
    /// First byte in the file.
    pub offset: u64,
}

impl Unit {
    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the models of the series have it: all of them do, or none.
    #[must_use]
    pub fn in_subject(&self) -> bool {
        self.members.first().is_some_and(|member| member.model == 0)
    }
}

impl Plan {
    /// Number of models.
    #[must_use]
    pub fn models(&self) -> usize {
        self.series + self.references + self.relabelled
    }

    /// The tower that stands for the whole model ([`ALL`]): the language model, or the first tower of a model without.
    #[must_use]
    pub fn lead(&self) -> &str {
        self.axes.keys().next().map_or("", String::as_str)
    }

    /// The towers that are judged beside the [`Plan::lead`], each with the length of its residual axis.
    pub fn towers(&self) -> impl Iterator<Item = (&str, usize)> {
        self.axes.iter().skip(1).map(|(tower, hidden)| (tower.as_str(), *hidden))
    }

    /// How the families of a tensor's tower are told apart in a table that has no column for it: `vision_tower.q_proj`.
    #[must_use]
    pub fn family(&self, role: &Role) -> String {
        if role.tower.is_empty() { role.family.clone() } else { format!("{}.{}", role.tower, role.family) }
    }

    /// Index of the final checkpoint.
    #[must_use]
    pub fn last(&self) -> usize {
        self.series - 1
    }
}
