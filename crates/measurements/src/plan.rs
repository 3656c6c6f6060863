//! The work as frozen, hashable data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use scratchproof_checkpoint::{Component, Meeting, Role};
use scratchproof_kernel::{Dtype, View};

/// Version of the kernels' arithmetic: part of every unit's id, so that figures of two versions are never mixed.
pub const KERNEL_VERSION: u32 = 2;

/// Everything that will be measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What decides how far a search for a disguise goes.
    pub rules: SearchRules,
    /// Checkpoints of the series, the first models of every unit.
    pub series: usize,
    /// Parents and controls, the models after them.
    pub references: usize,
    /// How many of those are parents; they stand first.
    pub parents: usize,
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

/// What decides how far a search for a disguise goes: fixed, so that the measurements of a case do not depend on the
/// policy that they are judged by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchRules {
    /// log10 p from which an answer is followed up.
    pub shown_log10_p: f64,
    /// Correlation of second moments from which they are.
    pub shown_effect: f64,
    /// The same for saying by second moments alone that the other model is written as the subject is.
    pub certain_log10_p: f64,
    /// See `certain_log10_p`.
    pub certain_effect: f64,
    /// Share of units matched twice in a frame that layers prove ...
    pub matched: f64,
    /// ... and in one that only token rows propose.
    pub matched_by_tokens: f64,
}

impl SearchRules {
    /// The rules of this version.
    pub const FIXED: Self = Self {
        shown_log10_p: -4.0,
        shown_effect: 0.03,
        certain_log10_p: -10.0,
        certain_effect: 0.1,
        matched: 0.1,
        matched_by_tokens: 0.4,
    };
}

/// One tensor over all models that have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    pub view: Option<View>,
    /// Rows of the view that the column test of this tensor samples.
    pub sampled: Vec<usize>,
    /// Positions in `sampled` of the rows that are kept for the model-wide tests.
    pub kept: Vec<usize>,
    /// Where it is one of many experts whose rows are kept as one sum.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// Whether a copy of it, of a checkpoint or a reference, is a formula: others may have it who know nothing of each other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub formula: bool,
}

/// Many tensors of one family and layer whose rows are kept as one sum: every row centred and scaled, with a fixed sign of
/// its own, added to the rows of the others. A sum of rows is a row over the residual axis like any other, whose order is as
/// exchangeable, so the column test of it is exact too; a correlation that all tensors show has in the sum the z of as many
/// rows of one of them, one that only k of n show k / n of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Position of the unit that holds the sum: the first of them.
    pub into: usize,
    /// Tensors in the sum.
    pub tensors: usize,
    /// Positions in `sampled` of the rows that this one adds.
    pub rows: Vec<usize>,
}

/// One model's copy of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// Fewer equal values may be a coincidence of coarse formats.
const LEAST_COPIED: usize = 32;

/// A matrix of fewer elements tells nothing of a path.
const LEAST_ELEMENTS: usize = 256;

impl Unit {
    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// It as matrices: over the residual axis where it has one, otherwise its first axis against the others. `None` for vectors.
    #[must_use]
    pub fn matrices(&self) -> Option<View> {
        let [rows, rest @ ..] = &self.shape[..] else { return None };
        let plain = || View { outer: 1, rows: *rows, cols: rest.iter().product(), transposed: false };
        (!rest.is_empty()).then(|| self.view.unwrap_or_else(plain))
    }

    /// Whether the models of the series have it: all of them do, or none.
    #[must_use]
    pub fn in_subject(&self) -> bool {
        self.members.first().is_some_and(|member| member.model == 0)
    }

    /// Where among the members a model's copy is.
    #[must_use]
    pub fn slot(&self, model: usize) -> Option<usize> {
        self.members.iter().position(|member| member.model == model)
    }

    /// Tensors that its kept rows stand for.
    #[must_use]
    pub fn stands_for(&self) -> usize {
        self.pool.as_ref().map_or(1, |pool| pool.tensors)
    }

    /// Positions in `sampled` of the rows that it adds to what is kept, by itself or in a sum.
    #[must_use]
    pub fn added(&self) -> &[usize] {
        self.pool.as_ref().map_or(&self.kept, |pool| &pool.rows)
    }

    /// Whether equal values of it are evidence of descent: known weights, whatever their axes, of which no copy is a formula. Norms
    /// begin at one and biases at zero.
    #[must_use]
    pub fn can_be_copied(&self) -> bool {
        let drawn = self.view.is_some()
            || self.role.component != Component::Norms && (self.shape.len() > 1 || !self.role.family.ends_with("bias"));
        self.role.known && !self.formula && drawn && self.elements() >= LEAST_COPIED
    }

    /// Whether likeness of its rows is evidence of descent: known weights over the residual axis. Tables of positions that know
    /// nothing of each other are alike.
    #[must_use]
    pub fn is_telling(&self) -> bool {
        self.role.known && self.view.is_some() && !self.role.family.contains("position")
    }

    /// Whether it is one of those and large enough to tell of the path.
    #[must_use]
    pub fn is_matrix(&self) -> bool {
        self.is_telling() && !self.role.constant && self.elements() >= LEAST_ELEMENTS
    }
}

impl Plan {
    /// Number of models.
    #[must_use]
    pub fn models(&self) -> usize {
        self.series + self.references + self.relabelled
    }

    /// The tower that stands for the whole model ([`super::ALL`]): the language model, or the first tower of a model
    /// without.
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

    /// Indices of the first and of the final checkpoint, once where there is one.
    pub fn ends(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        let last = self.last();
        std::iter::once(0).chain((last > 0).then_some(last))
    }

    /// Index of the final checkpoint.
    #[must_use]
    pub fn last(&self) -> usize {
        self.series - 1
    }
}
