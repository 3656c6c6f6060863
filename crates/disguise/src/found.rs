//! The questions, their answers, and what they say of how one model is written in the other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::frame::Frame;
use super::matrix::Slot;
use scratchproof_measurements::{Change, HeadMatch, Looked, Observation};

/// For every unit of the subject, the other model's.
pub type Order = Vec<Option<usize>>;

/// How the other model is written in the subject's coordinates.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Relabelling {
    /// The residual axis.
    pub frame: Frame,
    /// For layers of the subject, the other model's layer.
    pub layers: BTreeMap<u32, u32>,
    /// For MLPs of the subject, the other model's MLP in the layer above, and its neuron for each of the subject's.
    #[serde(with = "pairs")]
    pub mlps: BTreeMap<(u32, Slot), (Slot, Order)>,
    /// For layers of the subject, the other model's query heads and key-value heads.
    pub heads: BTreeMap<u32, [Order; 2]>,
    /// How it is written; nothing where it is written as the subject is.
    pub changes: Vec<Change>,
}

/// What a search found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Found {
    /// All answers.
    pub observations: Vec<Observation>,
    /// What the heads say in any basis.
    pub heads: HeadMatch,
    /// How to write the other model in the subject's coordinates, where a question was answered beyond its null.
    pub relabelling: Option<Relabelling>,
    /// What the questions were asked of.
    #[serde(default)]
    pub looked: Vec<Looked>,
}

/// A map whose keys are no strings, as a list: JSON has no other maps.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Order, Slot};

    type Map = BTreeMap<(u32, Slot), (Slot, Order)>;

    pub fn serialize<S: Serializer>(map: &Map, to: S) -> Result<S::Ok, S::Error> {
        map.iter().collect::<Vec<_>>().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Map, D::Error> {
        Ok(Vec::<((u32, Slot), (Slot, Order))>::deserialize(from)?.into_iter().collect())
    }
}
