//! Files beside the model that hold tensors as well: the same model twice in one folder (safetensors, and torch's own file from
//! before them), another with the same names, and one beside which what was read is nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::header::quoted;
use crate::{HeaderTensor, Shard};
use scratchproof_error::{Error, Result};
use scratchproof_kernel::decode;
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

/// Whether so many bytes from a place in one file on are those from a place in another on.
fn same_bytes((a, at): (&Arc<dyn Blob>, u64), (b, there): (&Arc<dyn Blob>, u64), length: usize) -> Result<bool> {
    for start in (0..length).step_by(WINDOW) {
        let size = WINDOW.min(length - start);
        let (from, to) = (at + start as u64, there + start as u64);
        let equal = a.bytes(from, size)? == b.bytes(to, size)?;
        a.release(from, size);
        b.release(to, size);
        if !equal {
            return Ok(false);
        }
    }
    Ok(true)
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
        if !same_bytes((a, own.offset), (b, tensor.offset), usize::try_from(own.bytes).unwrap_or(usize::MAX))? {
            return Ok(Some(text!("checkpoint/twin/bytes", tensor = quoted(name))));
        }
    }
    Ok(None)
}

/// Bytes of a tensor, and tensors, that are compared of a file in a network, where nothing is fetched that need not be.
const GLANCE: usize = 1 << 16;
const FEW: usize = 8;

/// Elements that are compared where the number formats differ, and how near they are then: bfloat16 keeps eight bits.
const CAST: usize = 4096;
const NEAR: f64 = 1.0 / 64.0;

/// Whether a file with the names and shapes of a model that is read already has other values: another model, and no copy.
///
/// # Errors
/// If one of them cannot be read.
pub(crate) fn is_other(
    store: &dyn Store,
    name: &str,
    catalogue: super::Catalogue,
    own_shards: &[Shard],
    found: &Tensors,
) -> Result<bool> {
    let (shards, tensors) = catalogue.settle(name, 0)?;
    let (most, length) = if is_address(&store.uri()) { (FEW, GLANCE) } else { (usize::MAX, usize::MAX) };
    for (shard, tensor) in tensors.iter().take(most) {
        let Some((own_shard, own)) = found.get(&tensor.name) else { continue };
        let (a, b) = (&own_shards[*own_shard].blob, &shards[*shard].blob);
        if own.dtype != tensor.dtype {
            let elements = tensor.shape.iter().product::<usize>().min(CAST);
            let read = |blob: &Arc<dyn Blob>, tensor: &HeaderTensor| -> Result<Vec<f64>> {
                let mut values = vec![0.0; elements];
                decode(tensor.dtype, &blob.bytes(tensor.offset, elements * tensor.dtype.width())?, &mut values);
                Ok(values)
            };
            let (a, b) = (read(a, own)?, read(b, tensor)?);
            let largest = a.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
            if a.iter().zip(&b).any(|(a, b)| (a - b).abs() > NEAR * (a.abs() + largest)) {
                return Ok(true);
            }
            continue;
        }
        let length = length.min(usize::try_from(own.bytes).unwrap_or(usize::MAX));
        if !same_bytes((a, own.offset), (b, tensor.offset), length)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// So many times what was read, and what is left out is no addition to it.
const MUCH: u64 = 100;

/// A smaller file is none to be asked for: what lies about its tensors takes as much.
const SMALL: u64 = 1 << 16;

/// Files of which the lengths are asked, at most.
const ASKED: usize = 64;

/// Refuses to take a file for the model beside which another, left out, is a hundred times as large as its tensors (`bytes`).
///
/// # Errors
/// If there is one.
pub(crate) fn much_larger(store: &dyn Store, unread: &[String], shards: &[Shard], bytes: u64) -> Result<()> {
    let Some(first) = shards.first() else { return Ok(()) };
    for file in unread.iter().take(ASKED) {
        // One that cannot be opened is none to be asked for.
        let Ok(blob) = store.open(file) else { continue };
        let larger = blob.len();
        if larger > SMALL && larger / MUCH > bytes {
            let (read, file) = (quoted(&first.name), quoted(file));
            return Err(Error::input(text!("error-checkpoint/index/left-out-larger", read, bytes, file, larger)));
        }
    }
    Ok(())
}
