//! Which axis of a tensor is the residual stream: what the name says, held against the shape.

use std::collections::BTreeMap;

use super::{Residual, TensorRecord};

impl TensorRecord {
    /// Length of the residual axis, if the tensor has one.
    #[must_use]
    pub fn residual_length(&self) -> Option<usize> {
        match (self.role.residual, &self.shape[..]) {
            (Residual::Rows, [.., rows, _]) => Some(*rows),
            (Residual::Columns, [.., _, columns]) => Some(*columns),
            (Residual::Vector, [length]) => Some(*length),
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
