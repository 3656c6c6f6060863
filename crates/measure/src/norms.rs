//! The norm weights of a model, layer by layer: vectors that public disputes were argued with.

use std::collections::{BTreeMap, BTreeSet};

use scratchproof_checkpoint::{Checkpoint, Component, Residual as Axis};
use scratchproof_error::Result;
use scratchproof_kernel::decode;

/// Layers of which norms are held against each other: more are taken evenly.
const LAYERS: usize = 128;

/// Longest vector that is taken for a norm.
const LONGEST: usize = 1 << 20;

/// Norm weights by family and layer.
pub type Norms = BTreeMap<String, BTreeMap<u32, Vec<f64>>>;

/// The norm weights of a language model's layers, over its residual stream.
///
/// # Errors
/// If a file cannot be read.
pub fn norms(model: &Checkpoint) -> Result<Norms> {
    let mut norms = Norms::new();
    let own = model.tensors.iter().filter(|t| {
        t.role.component == Component::Norms
            && t.role.residual == Axis::Vector
            && t.role.tower.is_empty()
            && t.role.family.strip_suffix(".bias").is_none()
            && t.elements() <= LONGEST
    });
    let mut layers: Vec<u32> = own.clone().filter_map(|t| t.role.layer).collect();
    layers.sort_unstable();
    layers.dedup();
    let stride = layers.len().div_ceil(LAYERS).max(1);
    let chosen: BTreeSet<u32> = layers.into_iter().step_by(stride).collect();
    for tensor in own {
        let Some(layer) = tensor.role.layer.filter(|layer| chosen.contains(layer)) else { continue };
        let mut values = vec![0.0; tensor.elements()];
        decode(tensor.dtype, &model.read(tensor)?, &mut values);
        if values.iter().all(|v| v.is_finite()) {
            norms.entry(tensor.role.family.clone()).or_default().insert(layer, values);
        }
    }
    Ok(norms)
}
