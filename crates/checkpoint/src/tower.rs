//! Which tower of one model answers to which tower of another: by what they hold, not by what they are called.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::TensorRecord;

/// A tower of the first model (empty for the language model) and what it is compared with in the second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meeting {
    /// Name prefix in the first model.
    pub tower: String,
    /// Name prefix in the second model, empty for its main model; `None` if nothing there could be its source.
    pub other: Option<String>,
    /// Tensors of equal function, layer and shape.
    pub tensors: usize,
}

/// What a tower takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    Text,
    Image,
    Sound,
    /// Joins a tower to the language model.
    Joint,
    Unknown,
}

/// Function, layer, expert and shape of a tensor.
type Slot<'a> = (&'a str, Option<u32>, Option<u32>, &'a [usize]);

/// One tower: its sense and what it holds.
struct Tower<'a> {
    name: &'a str,
    sense: Sense,
    holds: BTreeSet<Slot<'a>>,
    /// Whether it can be a source at all: it holds matrices of known function, or most of the model.
    substance: bool,
}

/// What each tower of the first model, and its language model, meets in the second.
///
/// A language model meets the language model and nothing else, a projector a projector. Every other tower meets the tower
/// with which it shares the most tensors of one function, layer and shape, or the main model: a standalone encoder is the
/// main model of its file. One of the same sense counts twice, so that a vision tower does not meet an audio tower that is
/// a little deeper.
pub(super) fn meet(first: &[TensorRecord], second: &[TensorRecord]) -> Vec<Meeting> {
    let others = towers(second);
    towers(first).iter().map(|own| best(own, &others)).collect()
}

fn best(own: &Tower<'_>, others: &[Tower<'_>]) -> Meeting {
    let shared = |other: &Tower<'_>| own.holds.intersection(&other.holds).count();
    let found = others
        .iter()
        .filter(|other| may_be_source(own, other))
        .map(|other| (shared(other), other))
        .filter(|(tensors, other)| *tensors > 0 || other.name.is_empty() && own.name.is_empty() && other.substance)
        .max_by_key(|(tensors, other)| {
            let alike = own.sense == other.sense && own.sense != Sense::Unknown;
            let weight = tensors * if alike { 2 } else { 1 };
            (weight, own.name == other.name, !other.name.is_empty(), std::cmp::Reverse(other.name))
        });
    Meeting {
        tower: own.name.to_owned(),
        other: found.as_ref().map(|(_, other)| other.name.to_owned()),
        tensors: found.map_or(0, |(tensors, _)| tensors),
    }
}

fn may_be_source(own: &Tower<'_>, other: &Tower<'_>) -> bool {
    match (own.sense, other.sense) {
        (Sense::Joint, theirs) => theirs == Sense::Joint,
        (_, Sense::Joint) => false,
        (Sense::Text, theirs) => theirs == Sense::Text && own.name.is_empty() == other.name.is_empty(),
        _ => true,
    }
}

fn towers(tensors: &[TensorRecord]) -> Vec<Tower<'_>> {
    let mut members: BTreeMap<&str, Vec<&TensorRecord>> = BTreeMap::new();
    for tensor in tensors {
        members.entry(&tensor.role.tower).or_default().push(tensor);
    }
    let all: u64 = tensors.iter().map(|t| t.bytes).sum();
    let mut towers = Vec::with_capacity(members.len());
    for (name, own) in members {
        let weights = || own.iter().filter(|t| t.role.known && !t.role.constant);
        let bytes: u64 = own.iter().map(|t| t.bytes).sum();
        towers.push(Tower {
            name,
            sense: sense(name, &own),
            substance: weights().any(|t| t.shape.len() > 1) || bytes > all / 2,
            holds: weights()
                .map(|t| (t.role.family.as_str(), t.role.layer, t.role.expert, t.shape.as_slice()))
                .collect(),
        });
    }
    towers
}

fn sense(name: &str, tensors: &[&TensorRecord]) -> Sense {
    let says = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if says(&["projector", "connector", "aligner", "resampler", "mlp1"]) {
        Sense::Joint
    } else if says(&["audio", "speech", "apm"]) {
        Sense::Sound
    } else if says(&["vision", "visual", "image", "vpm"]) || tensors.iter().any(|t| t.role.family == "patch_embedding")
    {
        Sense::Image
    } else if name.is_empty() {
        Sense::Text
    } else {
        Sense::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, llama};
    use super::super::{Checkpoint, Correspondence, Dtype};
    use scratchproof_source::MemoryStore;

    /// A CLIP-like encoder under a prefix.
    fn encoder(prefix: &str, layers: usize, hidden: usize) -> Vec<(String, Dtype, Vec<usize>)> {
        let mut tensors =
            vec![(format!("{prefix}embeddings.patch_embedding.weight"), Dtype::F32, vec![hidden, 3, 2, 2])];
        for layer in 0..layers {
            for (name, shape) in [
                ("self_attn.q_proj", [hidden, hidden]),
                ("self_attn.out_proj", [hidden, hidden]),
                ("mlp.fc1", [2 * hidden, hidden]),
            ] {
                tensors.push((format!("{prefix}encoder.layers.{layer}.{name}.weight"), Dtype::F32, shape.to_vec()));
            }
        }
        tensors
    }

    fn model(parts: &[Vec<(String, Dtype, Vec<usize>)>]) -> Checkpoint {
        let tensors: Vec<_> = parts.iter().flatten().map(|(n, d, s)| (n.as_str(), *d, s.as_slice())).collect();
        Checkpoint::from_store(&MemoryStore::new().with("model.safetensors", file(&tensors))).unwrap()
    }

    /// Tower, what it meets, tensors.
    fn met(a: &Checkpoint, b: &Checkpoint) -> Vec<(String, Option<String>, usize)> {
        Correspondence::between(a, b).towers.into_iter().map(|m| (m.tower, m.other, m.tensors)).collect()
    }

    fn is(tower: &str, other: Option<&str>, tensors: usize) -> (String, Option<String>, usize) {
        (tower.to_owned(), other.map(str::to_owned), tensors)
    }

    #[test]
    fn a_tower_meets_its_source_whatever_it_is_called() {
        let text = || llama(2, 8, 20);
        let subject = model(&[text(), encoder("model.vision_tower.vision_model.", 3, 6)]);
        let all = 1 + 3 * 3;
        for prefix in ["vision_tower.vision_model.", "vision_model.", "", "model.visual."] {
            let language = if prefix == "model.visual." { text() } else { Vec::new() };
            let parent = model(&[language.clone(), encoder(prefix, 3, 6)]);
            let tower = match prefix {
                "" => "",
                "vision_model." => "vision_model",
                "model.visual." => "visual",
                _ => "vision_tower",
            };
            let main = if language.is_empty() { is("", None, 0) } else { is("", Some(""), 21) };
            assert_eq!(met(&subject, &parent), [main, is("vision_tower", Some(tower), all)], "{prefix}");
            let pairs = Correspondence::between(&subject, &parent).pairs;
            assert_eq!(pairs.len(), all + if language.is_empty() { 0 } else { 21 }, "{prefix}");
        }
    }

    #[test]
    fn depth_decides_between_towers_and_sense_between_equals() {
        let subject = model(&[llama(1, 8, 20), encoder("vision_tower.vision_model.", 4, 6)]);
        let two = model(&[
            llama(1, 8, 20),
            encoder("audio_tower.vision_model.", 5, 6),
            encoder("visual.vision_model.", 3, 6),
        ]);
        assert_eq!(met(&subject, &two)[1], is("vision_tower", Some("visual"), 1 + 9));
        let other = model(&[encoder("audio_tower.vision_model.", 4, 6), encoder("visual.vision_model.", 4, 7)]);
        assert_eq!(met(&subject, &other), [is("", None, 0), is("vision_tower", Some("audio_tower"), 13)]);
        let none = model(&[llama(1, 8, 20), encoder("vision_tower.", 4, 7)]);
        assert_eq!(met(&subject, &none)[1], is("vision_tower", None, 0));
    }

    #[test]
    fn a_language_model_of_another_size_is_still_its_partner_and_a_projector_meets_projectors() {
        let projector = |name: &str| vec![(format!("{name}.linear_1.weight"), Dtype::F32, vec![8, 6])];
        let a = model(&[llama(1, 8, 20), projector("multi_modal_projector")]);
        let b = model(&[llama(1, 10, 20), projector("mm_projector")]);
        assert_eq!(
            met(&a, &b),
            [is("", Some(""), 0), is("multi_modal_projector", Some("mm_projector"), 1)],
            "the pair of the projectors, and a language model that could be the source in another size"
        );
        let c = model(&[llama(1, 8, 20), projector("vision_tower")]);
        assert_eq!(met(&a, &c)[1], is("multi_modal_projector", None, 0));
    }
}
