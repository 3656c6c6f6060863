//! Which tensors of two models have the same function and the same shape.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::tower::{Meeting, meet};
use super::{Checkpoint, Residual, TensorRecord};

/// The tensors of two models, side by side.
#[derive(Clone, Debug, Serialize)]
pub struct Correspondence {
    /// Indices into the tensors of the first and the second model, in the order of the first. Shape and orientation are
    /// equal; number formats may differ.
    pub pairs: Vec<(usize, usize)>,
    /// Pairs of one function and shape, however each is stored: `pairs`, and those that are stored the other way round.
    #[serde(skip)]
    pub named: Vec<(usize, usize)>,
    /// Tensors without a partner, those of the first model first, each by name.
    pub mismatches: Vec<Mismatch>,
    /// What each tower of the first model, and its language model, answers to in the second.
    pub towers: Vec<Meeting>,
    /// Hidden sizes of the two models, where they are known.
    pub hidden_sizes: (Option<usize>, Option<usize>),
}

/// A tensor without a partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// The model it is in.
    pub side: Side,
    /// Its name.
    pub tensor: String,
    /// Why, in words.
    pub reason: String,
}

/// One of two models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Side {
    First,
    Second,
}

/// What two tensors must share to be the same in two models.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Known { tower: &'a str, component: super::Component, family: &'a str, layer: Option<u32>, expert: Option<u32> },
    Unknown { name: &'a str },
}

impl Correspondence {
    /// Matches by function where the names are known, whatever the architectures call it, and by name where they are not.
    /// Of several tensors with one function, those of one name come together first, then in the order of names. A tower
    /// meets the tower that fits it best, whatever its name.
    pub fn between(first: &Checkpoint, second: &Checkpoint) -> Self {
        let mut result = Self {
            pairs: Vec::new(),
            named: Vec::new(),
            mismatches: Vec::new(),
            towers: meet(&first.tensors, &second.tensors),
            hidden_sizes: (first.hidden_size(), second.hidden_size()),
        };
        let met = result.towers.clone();
        let mut partners = by_key(&second.tensors, |tower| {
            let names = met.iter().filter(|m| m.other.as_deref() == Some(tower)).map(|m| m.tower.as_str());
            names.collect()
        });
        let mut unmatched = Vec::new();
        for (key, mut own) in by_key(&first.tensors, |tower| vec![tower]) {
            let mut others = partners.remove(&key).unwrap_or_default();
            let (a, b) = (&first.tensors, &second.tensors);
            own.retain(|i| {
                let Some(at) = others.iter().position(|j| a[*i].name == b[*j].name) else { return true };
                result.put(*i, others.remove(at), a, b);
                false
            });
            let both = own.len().min(others.len());
            for (i, j) in own.drain(..both).zip(others.drain(..both)) {
                result.put(i, j, a, b);
            }
            unmatched.extend(own.into_iter().map(|i| (Side::First, &a[i])));
            unmatched.extend(others.into_iter().map(|j| (Side::Second, &b[j])));
        }
        unmatched.extend(partners.into_values().flatten().map(|j| (Side::Second, &second.tensors[j])));
        // A tower that several towers meet is in no list more than once, one that none meets is in it all the same.
        let used: BTreeSet<usize> = result.pairs.iter().map(|(_, j)| *j).collect();
        let paired = |j: &usize| used.contains(j);
        let lost = (0..second.tensors.len()).filter(|j| {
            let role = &second.tensors[*j].role;
            role.known && !paired(j) && met.iter().all(|m| m.other.as_deref() != Some(role.tower.as_str()))
        });
        unmatched.extend(lost.map(|j| (Side::Second, &second.tensors[j])));
        for (side, tensor) in unmatched {
            result.mismatches.push(Mismatch {
                side,
                tensor: tensor.name.clone(),
                reason: "the other model has no such tensor".to_owned(),
            });
        }
        result.pairs.sort_unstable();
        result.mismatches.sort_by(|a, b| (a.side == Side::Second, &a.tensor).cmp(&(b.side == Side::Second, &b.tensor)));
        result.mismatches.dedup();
        result
    }

    /// Whether both models have a residual stream of one known length, so that their residual axes can be compared.
    #[must_use]
    pub fn same_hidden_size(&self) -> bool {
        self.hidden_sizes.0.is_some() && self.hidden_sizes.0 == self.hidden_sizes.1
    }

    /// Pairs two tensors, unless their bytes mean different things.
    fn put(&mut self, i: usize, j: usize, first: &[TensorRecord], second: &[TensorRecord]) {
        let (a, b) = (&first[i], &second[j]);
        if a.shape == b.shape {
            self.named.push((i, j));
        }
        let reason = if a.shape != b.shape {
            format!("shape {:?} against {:?}", a.shape, b.shape)
        } else if turned(a.role.residual, b.role.residual) {
            "the other model stores it the other way round".to_owned()
        } else {
            self.pairs.push((i, j));
            return;
        };
        self.mismatches.push(Mismatch { side: Side::First, tensor: a.name.clone(), reason });
    }
}

/// Whether one has its residual axis where the other has not.
fn turned(a: Residual, b: Residual) -> bool {
    matches!((a, b), (Residual::Rows, Residual::Columns) | (Residual::Columns, Residual::Rows))
}

/// Tensor indices by what they are, each list in the order of names; a tower counts under each of the names that
/// `called` gives it.
fn by_key<'a>(tensors: &'a [TensorRecord], called: impl Fn(&'a str) -> Vec<&'a str>) -> BTreeMap<Key<'a>, Vec<usize>> {
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut map: BTreeMap<Key<'_>, Vec<usize>> = BTreeMap::new();
    for (i, tensor) in tensors.iter().enumerate() {
        let role = &tensor.role;
        if !role.known {
            map.entry(Key::Unknown { name: &tensor.name }).or_default().push(i);
            continue;
        }
        for tower in names.entry(&role.tower).or_insert_with(|| called(&role.tower)) {
            let key = Key::Known {
                tower,
                component: role.component,
                family: &role.family,
                layer: role.layer,
                expert: role.expert,
            };
            map.entry(key).or_default().push(i);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::super::{Dtype, testing};
    use super::*;
    use scratchproof_source::MemoryStore;

    fn model(tensors: &[(&str, &[usize])]) -> Checkpoint {
        let tensors: Vec<_> = tensors.iter().map(|(name, shape)| (*name, Dtype::F32, *shape)).collect();
        let store = MemoryStore::new().with("model.safetensors", testing::file(&tensors));
        Checkpoint::from_store(&store).unwrap()
    }

    fn names(a: &Checkpoint, b: &Checkpoint) -> Vec<(String, String)> {
        let pairs = Correspondence::between(a, b).pairs;
        pairs.into_iter().map(|(i, j)| (a.tensors[i].name.clone(), b.tensors[j].name.clone())).collect()
    }

    #[test]
    fn a_model_corresponds_to_itself() {
        let a = Checkpoint::from_store(&testing::store(&testing::llama(3, 8, 20))).unwrap();
        let itself = Correspondence::between(&a, &a);
        assert_eq!(itself.pairs, (0..a.tensors.len()).map(|i| (i, i)).collect::<Vec<_>>());
        assert!(itself.mismatches.is_empty() && itself.same_hidden_size());
    }

    #[test]
    fn depth_and_shape_differ_with_reasons() {
        let a = Checkpoint::from_store(&testing::store(&testing::llama(2, 8, 20))).unwrap();
        let b = Checkpoint::from_store(&testing::store(&testing::llama(1, 8, 24))).unwrap();
        let both = Correspondence::between(&a, &b);
        assert_eq!(both.pairs.len(), 9 + 1);
        let of = |name: &str| both.mismatches.iter().find(|mismatch| mismatch.tensor == name).unwrap();
        assert_eq!(of("lm_head.weight").reason, "shape [20, 8] against [24, 8]");
        assert_eq!(of("model.layers.1.input_layernorm.weight").reason, "the other model has no such tensor");
        assert!(both.mismatches.iter().all(|mismatch| mismatch.side == Side::First));
        assert_eq!(Correspondence::between(&b, &a).mismatches.len(), 9 + 2);
    }

    #[test]
    fn architectures_with_other_names_match_by_function() {
        let a = model(&[
            ("model.layers.0.mlp.experts.1.up_proj.weight", &[6, 4]),
            ("model.layers.0.mlp.gate.weight", &[2, 4]),
            ("model.layers.0.self_attn.q_proj.weight", &[4, 4]),
        ]);
        let b = model(&[
            ("model.layers.0.block_sparse_moe.experts.1.w3.weight", &[6, 4]),
            ("model.layers.0.block_sparse_moe.gate.weight", &[2, 4]),
            ("model.layers.0.self_attn.q_proj.weight", &[4, 4]),
        ]);
        let names = names(&a, &b);
        assert_eq!(names.len(), 3);
        assert!(names[0].0.ends_with("up_proj.weight") && names[0].1.ends_with("w3.weight"), "{names:?}");
    }

    #[test]
    fn a_matrix_that_is_stored_the_other_way_round_is_no_partner() {
        let a = model(&[("h.0.attn.c_proj.weight", &[4, 4]), ("wte.weight", &[9, 4]), ("ln_f.weight", &[4])]);
        let b = model(&[
            ("model.layers.0.self_attn.o_proj.weight", &[4, 4]),
            ("model.embed_tokens.weight", &[9, 4]),
            ("model.norm.weight", &[4]),
        ]);
        let both = Correspondence::between(&a, &b);
        assert_eq!(both.pairs.len(), 2);
        assert!(both.mismatches[0].reason.contains("other way round"));
    }

    #[test]
    fn unknown_names_match_only_themselves() {
        let a = model(&[("x.0.kernel", &[2, 2]), ("x.1.kernel", &[2, 2]), ("y", &[3])]);
        let b = model(&[("x.1.kernel", &[2, 2]), ("z", &[3])]);
        assert_eq!(names(&a, &b), [("x.1.kernel".to_owned(), "x.1.kernel".to_owned())]);
        assert!(!Correspondence::between(&a, &b).same_hidden_size());
    }

    #[test]
    fn of_two_with_one_function_equal_names_come_together() {
        let norm = |prefix: &str| format!("{prefix}layers.0.input_layernorm.weight");
        let (plain, prefixed) = (norm(""), norm("model."));
        let a = model(&[(&plain, &[4]), (&prefixed, &[4])]);
        let b = model(&[(&prefixed, &[4])]);
        assert_eq!(names(&a, &b), [(prefixed.clone(), prefixed)]);
        assert_eq!(Correspondence::between(&a, &b).mismatches[0].tensor, plain);
    }
}
