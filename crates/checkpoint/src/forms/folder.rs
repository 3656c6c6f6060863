//! Forms that are folders: which of them a place is, by the names of its files and folders.

use scratchproof_error::{Context, Error, Result};
use scratchproof_source::Store;
use scratchproof_texts::text;

use super::{Catalogue, consolidated, deepspeed, distributed, hub_cache, megatron};
use crate::header::quoted;
use crate::index::read_small;

/// Folders that hold the model within a trainer's checkpoint, from the surest: those of accelerate's FSDP, of OLMo-core, of
/// torchtitan, of Lightning and of `NeMo`.
pub(super) const WITHIN: &[&str] = &[
    "pytorch_model_fsdp_0",
    "pytorch_model_fsdp",
    "model_and_optim",
    "model",
    "dcp",
    "distributed_checkpoint",
    "weights",
];

/// What a place is, beside a folder of files that each hold tensors.
pub(crate) enum Found {
    /// The tensors of a folder whose files make sense together only.
    Together(Box<Catalogue>),
    /// The place is another one: a cache of the hub, of which this is a snapshot.
    Elsewhere(Box<dyn Store>),
}

/// Looks for a form that is a folder. `weights` is whether files lie there that hold tensors on their own.
///
/// # Errors
/// If it is such a form and cannot be read.
pub(crate) fn find(store: &dyn Store, names: &[String], weights: bool) -> Result<Option<Found>> {
    let has = |name: &str| names.iter().any(|file| file == name);
    let together = |catalogue: Catalogue| Some(Found::Together(Box::new(catalogue)));
    if has(".metadata") {
        return distributed_or_megatron(store, names).map(together);
    }
    if let Some(name) = names.iter().find(|name| name.ends_with(".distcp")) {
        return Err(Error::input(text!(
            "error-checkpoint/folder/piece-distributed-checkpoint-but",
            name = quoted(name)
        )));
    }
    if names.iter().any(|name| deepspeed::is_state(name)) {
        return deepspeed::catalogue(store, names).map(together);
    }
    if names.iter().any(|name| consolidated::is_part(name)) && !names.iter().any(|name| name.ends_with(".safetensors"))
    {
        return consolidated::catalogue(store, names).map(together);
    }
    if names.iter().any(|name| megatron::is_state(name)) {
        return megatron::rank(store).map(together);
    }
    if has("metadata.json") && has("common.pt") && is_zarr(store) {
        return Err(Error::input(text!("error-checkpoint/folder/zarr")));
    }
    if weights {
        return Ok(None);
    }
    let folders = store.folders()?;
    if folders.iter().any(|folder| megatron::is_rank(folder)) {
        return megatron::iteration(store, &folders).map(together);
    }
    if folders.iter().any(|folder| folder == "zero") {
        return deepspeed::universal(store).map(together);
    }
    if has("latest") || folders.iter().any(|folder| folder.starts_with("global_step")) {
        return within(store, &deepspeed::latest(store, names, &folders)?);
    }
    if has("latest_checkpointed_iteration.txt") {
        return within(store, &megatron::latest(store, &folders)?);
    }
    if let Some(last) = megatron::last(&folders) {
        return within(store, last);
    }
    if let Some(snapshot) = hub_cache::snapshot(store, &folders)? {
        return Ok(Some(Found::Elsewhere(snapshot)));
    }
    if let Some(name) = WITHIN.iter().find(|name| folders.iter().any(|folder| folder == *name)) {
        return within(store, name);
    }
    Ok(None)
}

fn distributed_or_megatron(store: &dyn Store, names: &[String]) -> Result<Catalogue> {
    let catalogue = distributed::catalogue(store)?;
    if names.iter().any(|name| name == "common.pt") { megatron::published(store, catalogue) } else { Ok(catalogue) }
}

/// Whether Megatron-Core wrote its tensors in zarr's form, as it did before torch's.
fn is_zarr(store: &dyn Store) -> bool {
    read_small(store, "metadata.json").is_ok_and(|words| words.windows(6).any(|word| word == b"\"zarr\""))
}

/// The form of a folder within.
fn within(store: &dyn Store, name: &str) -> Result<Option<Found>> {
    let inner = store.enter(name)?;
    let names = inner.list()?;
    match find(&*inner, &names, false).context(|| quoted(name))? {
        Some(found) => Ok(Some(found)),
        None => Ok(Some(Found::Elsewhere(inner))),
    }
}
