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
            (Residual::First, [first, _, ..]) => Some(*first),
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
/// Stacked experts are stored either way round; there the shape decides. So it does where a whole model stores its
/// matrices the other way round (nanoGPT keeps GPT-2's names and stores [out, in]); square ones follow their neighbours.
pub(super) fn settle_residual_axes(tensors: &mut [TensorRecord]) {
    let sizes: BTreeMap<String, usize> =
        hidden_sizes(tensors).into_iter().map(|(tower, size)| (tower.to_owned(), size)).collect();
    let round = other_way_round(tensors, &sizes);
    for tensor in tensors {
        let size = sizes.get(&tensor.role.tower).copied();
        if let (Some(size), true) = (size, tensor.role.component != Component::Embedding) {
            let square = matches!(tensor.shape[..], [rows, columns] if rows == columns && rows == size);
            if square && round.contains(&(tensor.role.tower.clone(), tensor.role.layer)) {
                tensor.role.residual = turned(tensor.role.residual);
                continue;
            }
        }
        if tensor.role.residual == Residual::None || tensor.residual_length() == size && size.is_some() {
            continue;
        }
        let declared = tensor.role.residual;
        let matrix = tensor.shape.len() == 2 && tensor.role.layer.is_some() || tensor.shape.len() == 3;
        tensor.role.residual = if matrix { turned(declared) } else { Residual::None };
        if tensor.residual_length() != size || tensor.role.residual == declared {
            tensor.role.residual = Residual::None;
        }
    }
}

/// The other axis of a matrix.
pub(super) fn turned(residual: Residual) -> Residual {
    match residual {
        Residual::Rows => Residual::Columns,
        Residual::Columns => Residual::Rows,
        other => other,
    }
}

/// Towers and layers in which more matrices have the residual axis where their template does not see it than where it
/// does: their square matrices are stored like them.
fn other_way_round(tensors: &[TensorRecord], sizes: &BTreeMap<String, usize>) -> BTreeSet<(String, Option<u32>)> {
    let mut votes: BTreeMap<(&str, Option<u32>), (usize, usize)> = BTreeMap::new();
    for tensor in tensors.iter().filter(|tensor| tensor.role.layer.is_some() && !tensor.role.deduced) {
        let Some(size) = sizes.get(&tensor.role.tower) else { continue };
        let (along, across) = match (tensor.role.residual, &tensor.shape[..]) {
            (Residual::Rows, [rows, columns]) => (rows, columns),
            (Residual::Columns, [rows, columns]) => (columns, rows),
            _ => continue,
        };
        let vote = votes.entry((&tensor.role.tower, tensor.role.layer)).or_default();
        match (along == size, across == size) {
            (true, false) => vote.0 += 1,
            (false, true) => vote.1 += 1,
            _ => {}
        }
    }
    let round = votes.into_iter().filter(|(_, (as_named, round))| round > as_named);
    round.map(|((tower, layer), _)| (tower.to_owned(), layer)).collect()
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
