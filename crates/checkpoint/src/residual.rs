//! Which axis of a tensor is the residual stream: what the name says, held against the shape.

use std::collections::{BTreeMap, BTreeSet};

use super::{Component, Residual, TensorRecord};

impl TensorRecord {
    /// Length of the residual axis, if the tensor has one.
    #[must_use]
    pub fn residual_length(&self) -> Option<usize> {
        match (self.role.residual, &self.shape[..]) {
            (Residual::Rows, [.., rows, _]) => Some(*rows),
            (Residual::Columns, [.., _, columns]) => Some(*columns),
            (Residual::Vector, [.., length]) => Some(*length),
            _ => None,
        }
    }
}

/// The length of the residual stream of each tower: the one that most tensors have; the larger of two that are equal.
pub(super) fn hidden_sizes(tensors: &[TensorRecord]) -> BTreeMap<&str, usize> {
    let mut votes: BTreeMap<&str, BTreeMap<usize, usize>> = BTreeMap::new();
    for tensor in tensors {
        if let Some(length) = tensor.residual_length() {
            *votes.entry(&tensor.role.tower).or_default().entry(length).or_default() += 1;
        }
    }
    let most = |votes: BTreeMap<usize, usize>| votes.into_iter().max_by_key(|(length, count)| (*count, *length));
    votes.into_iter().filter_map(|(tower, votes)| Some((tower, most(votes)?.0))).collect()
}

/// Takes the residual axis away from tensors whose shape contradicts it, so that nobody multiplies what does not fit.
/// Stacked experts are stored either way round; there the shape decides.
pub(super) fn settle_residual_axes(tensors: &mut [TensorRecord]) {
    let sizes: BTreeMap<String, usize> =
        hidden_sizes(tensors).into_iter().map(|(tower, size)| (tower.to_owned(), size)).collect();
    for tensor in tensors {
        let size = sizes.get(&tensor.role.tower).copied();
        if tensor.role.residual == Residual::None || tensor.residual_length() == size && size.is_some() {
            continue;
        }
        let declared = tensor.role.residual;
        tensor.role.residual = match (declared, tensor.shape.len()) {
            (Residual::Rows, 3) => Residual::Columns,
            (Residual::Columns, 3) => Residual::Rows,
            _ => Residual::None,
        };
        if tensor.residual_length() != size {
            tensor.role.residual = Residual::None;
        }
    }
}

/// Gives the layers for multi-token prediction families and a component of their own. They are numbered on from the last
/// layer and look like one, and nothing of them stands in the stream that the other layers form.
pub(super) fn set_prediction_layers_apart(tensors: &mut [TensorRecord]) {
    let layers: BTreeSet<(String, Option<u32>)> = tensors
        .iter()
        .filter(|tensor| tensor.role.is_prediction() && tensor.role.layer.is_some())
        .map(|tensor| (tensor.role.tower.clone(), tensor.role.layer))
        .collect();
    for tensor in tensors.iter_mut().filter(|tensor| tensor.role.known && !layers.is_empty()) {
        let role = &mut tensor.role;
        if layers.contains(&(role.tower.clone(), role.layer)) {
            role.component = Component::Other;
            if !role.family.starts_with("mtp.") {
                role.family.insert_str(0, "mtp.");
            }
        }
    }
}
