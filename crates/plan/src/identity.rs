//! Which model it is, by its headers.

use sha2::{Digest, Sha256};

use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::hexadecimal::hex;

/// SHA-256 over everything that the headers of a model and its configuration say: where it is, its files with their
/// lengths, every tensor with its format, shape and place.
#[must_use]
pub fn identity(checkpoint: &Checkpoint) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| hash.update(format!("{}:{text}\n", text.len()));
    add(&checkpoint.uri);
    for shard in &checkpoint.shards {
        add(&format!("{} {}", shard.name, shard.blob.len()));
    }
    for tensor in &checkpoint.tensors {
        let (place, role) = ((tensor.shard, tensor.offset, tensor.bytes), &tensor.role);
        add(&format!("{} {} {:?} {place:?} {role:?}", tensor.name, tensor.dtype, tensor.shape));
    }
    for skipped in &checkpoint.skipped {
        add(&format!("{} {}", skipped.tensor, skipped.why));
    }
    add(&checkpoint.config.as_ref().map_or(String::new(), ToString::to_string));
    // Of what is read whole nothing is added: stores of such models stay good.
    if let Some(sample) = &checkpoint.sample {
        add(&format!("{:?}", sample.sampling));
    }
    hex(&hash.finalize())
}
