//! What a checkpoint's catalogue says, as a plain value.

use scratchproof_checkpoint::Checkpoint;
use scratchproof_measurements::{Model, Tensor};

/// Writes down what is known of a model from its headers; its tensors only where they are `listed`.
#[must_use]
pub fn model(checkpoint: &Checkpoint, listed: bool) -> Model {
    let tensors = checkpoint.tensors.iter().filter(|_| listed).map(|tensor| Tensor {
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
        adapter: checkpoint.adapter.as_ref().map(|adapter| (adapter.kind.clone(), adapter.base.clone())),
        merged: checkpoint.adapter.as_ref().and_then(|adapter| adapter.merged.clone()),
        hidden_size: checkpoint.hidden_size(),
        vocab_size: checkpoint.vocab_size(),
        layers: checkpoint.layers(),
        experts: checkpoint.experts(),
        tokenizer: checkpoint.tokenizer().ok().map(scratchproof_checkpoint::Tokenizer::size),
        bytes: checkpoint.bytes(),
        data_bytes: checkpoint.stored,
        notes: checkpoint.notes.iter().map(scratchproof_checkpoint::Text::english).collect(),
    }
}
