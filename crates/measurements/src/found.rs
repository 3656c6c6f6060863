//! What the search for a disguise asked, and what it was answered (METHODS 2.1, 2.2 and 3).

use std::collections::BTreeMap;

use scratchproof_texts::{Text, text};
use serde::{Deserialize, Serialize};

use super::heads::HeadMatch;

/// Frames that token rows propose and nothing proves yet.
pub const BY_TOKENS: [&str; 2] = ["permuted as the tokens are", "rotated as the tokens are"];

/// Share of dimensions, heads or experts that are where they were, from which none is said to have moved.
pub const IN_PLACE: f64 = 0.9;

/// What the frame of figures is called that no change of basis moves.
pub const ANY_BASIS: &str = "any basis";

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Question {
    /// Do the two agree on W^T W over the residual axis?
    SecondMoments,
    /// Is the residual axis the other's in another order?
    Order,
    /// Is it the other's in another basis?
    Rotation,
    /// Are the neurons the other's?
    Neurons,
    /// Are the experts?
    Experts,
    /// Are the heads?
    Heads,
    /// Are the heads, by products that no change of basis moves?
    HeadProducts,
    /// Do products across matched heads agree in sign?
    HeadSigns,
    /// Are the rows that a fingerprint holds aligned?
    ChosenRows,
}

impl Question {
    /// Its name in a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SecondMoments => "second-moments",
            Self::Order => "order",
            Self::Rotation => "rotation",
            Self::Neurons => "neurons",
            Self::Experts => "experts",
            Self::Heads => "heads",
            Self::HeadProducts => "head-products",
            Self::HeadSigns => "head-signs",
            Self::ChosenRows => "chosen-rows",
        }
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// What was asked.
    pub question: Question,
    /// How the residual axis of the other model was read: `as it stands`, `permuted`, `rotated`, or one of [`BY_TOKENS`].
    pub frame: String,
    /// Which fits or matrices were held against each other.
    pub between: String,
    /// Component, or `all`.
    pub component: String,
    /// Layer of the subject, where it is of one layer.
    pub layer_subject: Option<u32>,
    /// Layer of the other model.
    pub layer_other: Option<u32>,
    /// Dimensions, neurons, experts or heads on which two fits agree; for a rotation tr(Q1^T Q2).
    pub agreed: Option<f64>,
    /// What independent models show.
    pub expected: Option<f64>,
    /// Dimensions or units in all; for second moments pairs of dimensions.
    pub of: u64,
    /// The standard score, where the null is normal.
    pub z: Option<f64>,
    /// log10 of the chance of as much.
    #[serde(with = "scratchproof_kernel::exact")]
    pub log10_p: f64,
    /// Share agreed, or correlation of the second moments.
    #[serde(with = "scratchproof_kernel::exact")]
    pub effect: f64,
    /// Of those agreed, the share that are where they were: 1 where nothing was relabelled.
    pub in_place: Option<f64>,
}

/// What a question of the search was asked of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// `second-moments`, `frame` or `neurons`.
    pub question: String,
    /// The component.
    pub component: String,
    /// Layers of the subject that were looked at.
    pub layers: u64,
    /// Layers that it has.
    pub of_layers: u64,
    /// Matrices that were looked at; of neurons, MLPs: every expert is one.
    pub matrices: u64,
    /// Those that it has.
    pub of_matrices: u64,
    /// Rows of them that were looked at, or neurons.
    pub rows: u64,
    /// Rows, or neurons, that they have.
    pub of_rows: u64,
}

/// One way in which a reference is written unlike the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// The residual axis is in another order.
    AxisPermuted,
    /// Dimensions of the residual axis have the other sign.
    SignsFlipped,
    /// The residual axes differ in width; dimensions were matched.
    AxisOfAnotherWidth,
    /// The residual axis is in another basis.
    AxisRotated,
    /// Neurons are in another order.
    NeuronsPermuted,
    /// Experts are in another order.
    ExpertsPermuted,
    /// MLPs are narrower.
    WidthPruned,
    /// A dense MLP became experts.
    UpCycled,
    /// Heads are in another order.
    HeadsPermuted,
    /// Layers are in other places.
    LayersMoved,
}

impl Change {
    /// What it is called.
    #[must_use]
    pub fn text(self) -> Text {
        match self {
            Self::AxisPermuted => text!("parent/written/axis-permuted"),
            Self::SignsFlipped => text!("parent/written/signs-flipped"),
            Self::AxisOfAnotherWidth => text!("parent/written/axis-of-another-width"),
            Self::AxisRotated => text!("parent/written/axis-rotated"),
            Self::NeuronsPermuted => text!("parent/written/neurons-permuted"),
            Self::ExpertsPermuted => text!("parent/written/experts-permuted"),
            Self::WidthPruned => text!("parent/written/width-pruned"),
            Self::UpCycled => text!("parent/written/up-cycled"),
            Self::HeadsPermuted => text!("parent/written/heads-permuted"),
            Self::LayersMoved => text!("parent/written/layers-moved"),
        }
    }
}

/// How a reference is written in the subject's coordinates, as far as a judge asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disguise {
    /// How its residual axis is read.
    pub frame: String,
    /// For layers of the subject, the reference's layer.
    pub layers: BTreeMap<u32, u32>,
    /// How it is written; nothing where it is written as the subject is.
    pub changes: Vec<Change>,
}

/// How a culprit is written: the parent itself, held against itself to learn what the search would have said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    /// The residual axis in another order.
    Permuted,
    /// The residual axis in another basis.
    Rotated,
    /// Layers in other places, the residual axis in another order, another vocabulary.
    Moved,
    /// Half of the heads and half of the neurons, in another order; the rest is an unrelated model's.
    Half,
    /// Every axis one longer.
    Padded,
}

impl Class {
    /// Its name in a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Permuted => "permuted",
            Self::Rotated => "rotated",
            Self::Moved => "moved",
            Self::Half => "half",
            Self::Padded => "padded",
        }
    }
}

/// What a search says of a culprit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Injection {
    /// How it is written.
    pub class: Class,
    /// Correlation of its rows with the parent's.
    #[serde(with = "scratchproof_kernel::exact")]
    pub correlation: f64,
    /// The answers.
    pub observations: Vec<Observation>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// All answers.
    pub observations: Vec<Observation>,
    /// What the heads say in any basis.
    pub heads: HeadMatch,
    /// Where a question was answered beyond its null.
    pub disguise: Option<Disguise>,
    /// What the questions were asked of.
    #[serde(default)]
    pub looked: Vec<Looked>,
    /// Of a parent, what the search would have said of it in disguise.
    pub injected: Vec<Injection>,
    /// What the search says of what was added between neighbouring checkpoints: of a parent for every interval, of a control
    /// for those in which a parent's answers stand out.
    #[serde(default)]
    pub added: Vec<Added>,
}

/// What the search says of what was added in one interval, or of the first checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Added {
    /// The place of the later checkpoint in the series; 0 is the first checkpoint as it is.
    pub to: usize,
    /// The answers that are not of single layers.
    pub observations: Vec<Observation>,
}

/// What is asked of the matrices of one checkpoint among themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Among {
    /// Squared cosines of the rows that a neuron has in two matrices of its MLP, against those of different neurons.
    Neurons,
    /// Second moments over the residual axis, of one layer's component against all others.
    SecondMoments,
}

/// Whether the matrices of one component of the first checkpoint know of each other, or of the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WithinStart {
    /// The component.
    pub component: String,
    /// What was asked.
    pub among: Among,
    /// Neurons, or pairs of second moments, that were looked at.
    pub units: u64,
    /// Standard normal for matrices that were drawn independently.
    pub z: f64,
    /// The squared cosines over those of different neurons; the mean correlation of second moments.
    pub ratio: f64,
}

/// How a role was deduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum How {
    /// The content is the other model's.
    Content,
    /// The shape is, and the place in the order of the files.
    Order,
}

/// A tensor whose role is another model's, and how that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deduction {
    /// The model whose tensor got a role: its place in the series as the case names it, or behind it among the references.
    pub model: usize,
    /// The tensor.
    pub tensor: String,
    /// The other model's tensor.
    pub like: String,
    /// How it was found.
    pub how: How,
    /// Whether it is stored the other way round.
    pub turned: bool,
}
