//! The questions, their answers, and what they say of how one model is written in the other.

use std::collections::BTreeMap;

use super::frame::Frame;
use super::weights::Slot;

/// For every unit of the subject, the other model's.
pub type Order = Vec<Option<usize>>;

/// Share of dimensions, heads or experts that are where they were, from which none is said to have moved.
pub const IN_PLACE: f64 = 0.9;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
}

impl Question {
    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::SecondMoments => "second-moments",
            Self::Order => "order",
            Self::Rotation => "rotation",
            Self::Neurons => "neurons",
            Self::Experts => "experts",
            Self::Heads => "heads",
        }
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// What was asked.
    pub question: Question,
    /// How the residual axis of the other model was read: [`Frame::name`].
    pub frame: &'static str,
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
    pub log10_p: f64,
    /// Share agreed, or correlation of the second moments.
    pub effect: f64,
    /// Of those agreed, the share that are where they were: 1 where nothing was relabelled.
    pub in_place: Option<f64>,
}

/// How the other model is written in the subject's coordinates.
#[derive(Clone, Debug)]
pub struct Relabelling {
    /// The residual axis.
    pub frame: Frame,
    /// For layers of the subject, the other model's layer.
    pub layers: BTreeMap<u32, u32>,
    /// For MLPs of the subject, the other model's MLP in the layer above, and its neuron for each of the subject's.
    pub mlps: BTreeMap<(u32, Slot), (Slot, Order)>,
    /// For layers of the subject, the other model's query heads and key-value heads.
    pub heads: BTreeMap<u32, [Order; 2]>,
    /// The disguise in words, empty where the other model is written as the subject is.
    pub words: Vec<String>,
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// All answers.
    pub observations: Vec<Observation>,
    /// How to write the other model in the subject's coordinates, where a question was answered beyond its null.
    pub relabelling: Option<Relabelling>,
}
