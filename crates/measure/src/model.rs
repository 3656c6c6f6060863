//! What a checkpoint's catalogue says, as a plain value.

use super::digest;
use scratchproof_checkpoint::Checkpoint;
use scratchproof_measurements::{Model, Tensor};

/// Writes down what is known of a model from its headers; its tensors only where they are `listed`.
#[must_use]
pub fn model(checkpoint: &Checkpoint, listed: bool) -> Model {
    let tensors = checkpoint.catalogue().iter().filter(|_| listed).map(|tensor| Tensor {
        name: tensor.name.clone(),
        dtype: tensor.dtype,
        shape: tensor.shape.clone(),
        bytes: tensor.bytes,
        role: tensor.role.clone(),
    });
    Model {
        uri: checkpoint.uri.clone(),
        architecture: checkpoint.architecture.clone(),
        config: checkpoint.config.clone(),
        tensors: tensors.collect(),
        wrappers: checkpoint.wrappers.clone(),
        files: checkpoint.shards.iter().filter(|shard| !shard.blob.is_made()).map(|shard| shard.name.clone()).collect(),
        unread: checkpoint.unread.clone(),
        untaken: checkpoint.untaken.clone(),
        adapter: checkpoint.adapter.as_ref().map(|adapter| (adapter.kind.clone(), adapter.base.clone())),
        merged: checkpoint.adapter.as_ref().and_then(|adapter| adapter.merged.clone()),
        hidden_size: checkpoint.hidden_size(),
        vocab_size: checkpoint.vocab_size(),
        layers: checkpoint.layers(),
        experts: checkpoint.experts(),
        tokenizer: checkpoint.tokenizer().ok().map(scratchproof_checkpoint::Tokenizer::size),
        beside: if listed { beside(checkpoint) } else { Vec::new() },
        bytes: checkpoint.catalogue().iter().map(|tensor| tensor.bytes).sum(),
        data_bytes: checkpoint.stored,
        notes: checkpoint.notes.iter().map(scratchproof_checkpoint::Text::english).collect(),
    }
}

/// Digests of what is read of a model beside its weights. What cannot be read has none, and is told where it is used.
#[must_use]
pub fn beside(checkpoint: &Checkpoint) -> Vec<(String, String)> {
    let files = checkpoint.vocabulary.beside();
    let mut all: Vec<(String, String)> =
        files.filter_map(|(name, blob)| Some((name.to_owned(), digest::sha256(blob).ok()?))).collect();
    all.sort();
    all
}
