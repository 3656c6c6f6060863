//! The same model twice in one folder: safetensors, and torch's own file from before them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::header::quoted;
use crate::{HeaderTensor, Shard};
use scratchproof_error::Result;
use scratchproof_source::{Blob, Store, is_address};
use scratchproof_texts::{Text, text};

/// Bytes that are compared at a time.
const WINDOW: usize = 1 << 20;

type Tensors = BTreeMap<String, (usize, HeaderTensor)>;

/// Says whether what lies beside the model, whose tensors were `found` in `shards`, is the same model; nothing where nothing
/// lies there. Nothing of a network is fetched for it.
pub(crate) fn look(store: &dyn Store, twin: &[String], shards: &[Shard], found: &Tensors) -> Option<Text> {
    let [file, rest @ ..] = twin else { return None };
    let file = if rest.is_empty() { file.clone() } else { format!("{file} (and {} more)", rest.len()) };
    let read = shards.first().map(|shard| shard.name.clone()).unwrap_or_default();
    Some(if is_address(&store.uri()) {
        text!("checkpoint/read/twin-unread", file, read)
    } else {
        match compare(store, twin, shards, found) {
            Ok(None) => text!("checkpoint/read/twin-equal", file, count = found.len(), read),
            Ok(Some(what)) => text!("checkpoint/read/twin-differs", file, what, read),
            Err(error) => text!("checkpoint/read/twin-broken", file, why = error.to_string(), read),
        }
    })
}

/// The first difference.
fn compare(store: &dyn Store, twin: &[String], own_shards: &[Shard], found: &Tensors) -> Result<Option<Text>> {
    let mut shards: Vec<Shard> = Vec::new();
    let mut other = Tensors::new();
    for name in twin {
        let blob: Arc<dyn Blob> = Arc::from(store.open(name)?);
        let (files, tensors) = super::catalogue(name, &blob, store)?.settle(name, shards.len())?;
        shards.extend(files);
        other.extend(tensors.into_iter().map(|(shard, tensor)| (tensor.name.clone(), (shard, tensor))));
    }
    if let Some(name) = found.keys().find(|name| !other.contains_key(*name)) {
        return Ok(Some(text!("checkpoint/twin/lacks", tensor = quoted(name))));
    }
    for (name, (shard, tensor)) in &other {
        let Some((own_shard, own)) = found.get(name) else {
            // A tied head is in torch's file twice and in safetensors once.
            if other.values().any(|(s, t)| (s, t.offset) == (shard, tensor.offset) && found.contains_key(&t.name)) {
                continue;
            }
            return Ok(Some(text!("checkpoint/twin/more", tensor = quoted(name))));
        };
        if (own.dtype, &own.shape) != (tensor.dtype, &tensor.shape) {
            return Ok(Some(text!("checkpoint/twin/shape", tensor = quoted(name))));
        }
        let (a, b) = (&own_shards[*own_shard].blob, &shards[*shard].blob);
        let length = usize::try_from(own.bytes).unwrap_or(usize::MAX);
        for start in (0..length).step_by(WINDOW) {
            let size = WINDOW.min(length - start);
            let (from, to) = (own.offset + start as u64, tensor.offset + start as u64);
            let equal = a.bytes(from, size)? == b.bytes(to, size)?;
            a.release(from, size);
            b.release(to, size);
            if !equal {
                return Ok(Some(text!("checkpoint/twin/bytes", tensor = quoted(name))));
            }
        }
    }
    Ok(None)
}
