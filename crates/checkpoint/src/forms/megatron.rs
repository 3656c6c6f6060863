//! Megatron-LM: `iter_N/mp_rank_TT[_PPP]/model_optim_rng.pt`, a file for each tensor-parallel part of each pipeline stage,
//! joined along the axis that each was cut along (`megatron/core/tensor_parallel/layers.py`); Megatron-Core's distributed
//! form, in which layers are stacked; and the pipelines of DeepSpeed, a file a layer.

mod pipeline;
mod published;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::parts::{Files, joined, rows, viewed};
use super::torch::Archive;
use super::{Catalogue, Entry, Place};
use crate::Shard;
use crate::header::quoted;
pub(super) use pipeline::pipeline;
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::{Blob, Store};
use scratchproof_texts::{Text, text};

/// The files that a rank's folder may have.
const STATES: &[&str] = &["model_optim_rng.pt", "model_rng.pt", "model_states.pt"];

/// Whether a file is a rank's.
pub(super) fn is_state(name: &str) -> bool {
    STATES[..2].contains(&name)
}

/// Whether a folder is a rank's.
pub(super) fn is_rank(name: &str) -> bool {
    rank_of(name).is_some()
}

/// Tensor-parallel and pipeline rank of `mp_rank_01_002`.
fn rank_of(name: &str) -> Option<(usize, usize)> {
    let mut numbers = name.strip_prefix("mp_rank_")?.split('_');
    let tensor = numbers.next()?.parse().ok()?;
    let stage = numbers.next().map_or(Some(0), |stage| stage.parse().ok())?;
    Some((tensor, stage))
}

/// The folder of the last iteration, where nothing names one.
pub(super) fn last(folders: &[String]) -> Option<&String> {
    let step = |name: &String| name.strip_prefix("iter_")?.parse::<u64>().ok();
    folders.iter().filter(|name| step(name).is_some()).max_by_key(|name| step(name))
}

/// The folder of the iteration that `latest_checkpointed_iteration.txt` names.
///
/// # Errors
/// If it is not there.
pub(super) fn latest(store: &dyn Store, folders: &[String]) -> Result<String> {
    let blob = store.open("latest_checkpointed_iteration.txt")?;
    let words = blob.bytes(0, usize::try_from(blob.len().min(64)).unwrap_or(0))?;
    let words = String::from_utf8_lossy(&words).trim().to_owned();
    let named = match words.parse::<u64>() {
        Ok(step) => format!("iter_{step:07}"),
        Err(_) => words.clone(),
    };
    if folders.contains(&named) {
        return Ok(named);
    }
    Err(Error::input(text!(
        "error-checkpoint/megatron/latest-checkpointed-iteration-txt",
        words = quoted(&words),
        named = quoted(&named)
    )))
}

/// The optimizer's states that lie in a rank's folder, if there are any: Megatron keeps them by their place in buffers of its
/// own, without names.
fn optimizer(names: &[String], own: &str, inside: bool) -> Option<String> {
    let apart = names.iter().find(|name| *name == "distrib_optim.pt");
    apart.cloned().or_else(|| inside.then(|| own.to_owned()))
}

/// What one rank's file holds.
struct Part {
    /// The file with the optimizer's states, which are not read.
    optimizer: Option<String>,
    /// By the chunk of an interleaved pipeline: the tensors.
    chunks: Vec<Vec<Entry>>,
    settings: Value,
    version: f64,
}

fn part(store: &dyn Store, label: &str, files: &mut Files) -> Result<Part> {
    let names = store.list()?;
    let name = STATES.iter().find(|name| names.iter().any(|file| file == *name));
    let name = name.ok_or_else(|| Error::input(text!("error-checkpoint/megatron/no-model-optim-rng")))?;
    let blob: Arc<dyn Blob> = Arc::from(store.open(name)?);
    let archive = Archive::open(name, &blob).context(|| (*name).to_owned())?;
    let arena = &archive.arena;
    let numbered = (0..).map_while(|chunk| arena.get(archive.root, &format!("model{chunk}")));
    let mut roots: Vec<_> = numbered.take(64).collect();
    if roots.is_empty() {
        roots.extend(arena.get(archive.root, "model"));
    }
    if roots.is_empty() {
        return Err(Error::input(text!("error-checkpoint/megatron/no-entry-model", name = quoted(name))));
    }
    // The arguments may ask for a folder without them: then the entry is there and empty.
    let states =
        arena.get(archive.root, "optimizer").filter(|id| arena.pairs(*id).is_some_and(|pairs| !pairs.is_empty()));
    let optimizer = optimizer(&names, name, states.is_some());
    let settings = arena.get(archive.root, "args").map_or(Value::Null, |id| arena.settings(id));
    let version = arena.get(archive.root, "checkpoint_version").and_then(|id| arena.float(id)).unwrap_or(0.0);
    let mut all = Catalogue::default();
    let mut lengths = Vec::new();
    for root in roots {
        let before = all.entries.len();
        archive.entries(arena.tensors(root, &|name| !name.ends_with("_extra_state"))?, &mut all)?;
        lengths.push(all.entries.len() - before);
    }
    all.files = archive.files;
    for file in &mut all.files {
        if !label.is_empty() {
            file.name = format!("{label}/{}", file.name);
        }
    }
    files.take(&mut all);
    let mut rest = all.entries.into_iter();
    let chunks = lengths.into_iter().map(|length| rest.by_ref().take(length).collect()).collect();
    Ok(Part { optimizer, chunks, settings, version })
}

/// The model of one rank's folder, which is all of it only where there are no others.
///
/// # Errors
/// If others are missing.
pub(super) fn rank(store: &dyn Store) -> Result<Catalogue> {
    let mut files = Files::default();
    let part = part(store, "", &mut files)?;
    whole(BTreeMap::from([((0, 0), part)]), files)
}

/// The model of an iteration's folder.
///
/// # Errors
/// If ranks are missing, or their parts do not fit together.
pub(super) fn iteration(store: &dyn Store, folders: &[String]) -> Result<Catalogue> {
    let mut files = Files::default();
    let mut parts = BTreeMap::new();
    for folder in folders {
        if let Some(rank) = rank_of(folder) {
            let read = part(&*store.enter(folder)?, folder, &mut files).context(|| quoted(folder))?;
            if parts.insert(rank, read).is_some() {
                return Err(Error::input(text!(
                    "error-checkpoint/megatron/second-file-tensor-parallel",
                    folder = quoted(folder)
                )));
            }
        }
    }
    whole(parts, files)
}

/// A whole number of Megatron's arguments.
fn argument(settings: &Value, name: &str) -> Option<usize> {
    usize::try_from(settings.get(name)?.as_u64()?).ok()
}

#[allow(clippy::needless_pass_by_value, reason = "the parts end here")]
fn whole(parts: BTreeMap<(usize, usize), Part>, files: Files) -> Result<Catalogue> {
    let settings = parts.values().next().map_or(Value::Null, |part| part.settings.clone());
    let version = parts.values().next().map_or(0.0, |part| part.version);
    let most = |of: fn(&(usize, usize)) -> usize| parts.keys().map(of).max().unwrap_or(0) + 1;
    let tensor = argument(&settings, "tensor_model_parallel_size").unwrap_or(0).max(most(|rank| rank.0));
    let stages = argument(&settings, "pipeline_model_parallel_size").unwrap_or(0).max(most(|rank| rank.1));
    if tensor.saturating_mul(stages) != parts.len() {
        let missing = (0..tensor).flat_map(|t| (0..stages).map(move |p| (t, p))).find(|rank| !parts.contains_key(rank));
        let (t, p) = missing.unwrap_or_default();
        return Err(Error::input(text!(
            "error-checkpoint/megatron/model-written-tensor-parallel",
            tensor,
            stages,
            parts = parts.len(),
            t,
            p
        )));
    }
    let shared = files.shared();
    let swiglu = settings.get("swiglu").and_then(Value::as_bool).unwrap_or(false);
    let chunks = parts.values().map(|part| part.chunks.len()).max().unwrap_or(0);
    let mut entries: Vec<Entry> = Vec::new();
    let mut held: BTreeSet<String> = BTreeSet::new();
    let mut layers = 0;
    // An interleaved pipeline goes through all stages once for each chunk.
    for chunk in 0..chunks {
        for stage in 0..stages {
            let of_ranks: Vec<&Vec<Entry>> =
                (0..tensor).filter_map(|t| parts.get(&(t, stage))?.chunks.get(chunk)).collect();
            let Some(first) = of_ranks.first() else { continue };
            let mut own = 0;
            for entry in *first {
                let place = || text!("error-checkpoint/megatron/tensor-stage", name = quoted(&entry.name), stage);
                let of: Option<Vec<Entry>> = of_ranks
                    .iter()
                    .map(|entries| entries.iter().find(|other| other.name == entry.name).cloned())
                    .collect();
                let of = of.ok_or_else(|| {
                    Error::input(text!("error-checkpoint/megatron/not-every-tensor-parallel")).context(place())
                })?;
                let (name, layer) = renumbered(&entry.name, layers);
                if !held.insert(name.clone()) {
                    let folder = format!("mp_rank_00_{stage:03}");
                    let folder = quoted(&folder);
                    return Err(Error::input(text!("error-checkpoint/megatron/second-file-tensor-parallel", folder)));
                }
                own = own.max(layer.map_or(0, |layer| layer + 1));
                entries.push(join(&name, of, swiglu, &shared).context(place)?);
            }
            layers += own;
        }
    }
    let mut catalogue = Catalogue { form: Text::new("checkpoint/form/megatron"), ..Catalogue::default() };
    if tensor * stages > 1 {
        catalogue.notes.push(text!("checkpoint/megatron/joined", tensor, stages));
    }
    if let Some(file) = parts.values().find_map(|part| part.optimizer.as_deref()) {
        catalogue.notes.push(text!("checkpoint/megatron/optimizer", file = quoted(file)));
    }
    published::name(entries, &settings, version, &shared, &mut catalogue)?;
    catalogue.files = files.shards;
    catalogue.settings = Some(published::settings(&settings)).filter(|_| !settings.is_null());
    Ok(catalogue)
}

/// The name with the layer's number in the whole model, and the number that it has in its stage.
fn renumbered(name: &str, before: usize) -> (String, Option<usize>) {
    let split = || {
        let (head, rest) = name.split_once("layers.")?;
        let (number, tail) = rest.split_once('.')?;
        Some((head, number.parse::<usize>().ok()?, tail))
    };
    match split() {
        Some((head, number, tail)) => (format!("{head}layers.{}.{tail}", number.saturating_add(before)), Some(number)),
        None => (name.to_owned(), None),
    }
}

/// Tensors that are cut along their rows, and along their columns.
const ROWS: &[&str] = &[
    "word_embeddings.weight",
    "word_embeddings_for_head.weight",
    "mlp.w1.weight",
    "mlp.w3.weight",
    "output_layer.weight",
    "lm_head.weight",
    "final_linear.weight",
    "query_key_value.weight",
    "query_key_value.bias",
    "linear_qkv.weight",
    "linear_qkv.bias",
    "query.weight",
    "key_value.weight",
    "dense_h_to_4h.weight",
    "dense_h_to_4h.bias",
    "linear_fc1.weight",
    "linear_fc1.bias",
];
const COLUMNS: &[&str] =
    &["attention.dense.weight", "linear_proj.weight", "dense_4h_to_h.weight", "linear_fc2.weight", "mlp.w2.weight"];

/// Along which axis a tensor is cut among tensor-parallel ranks: rows where the output is, columns where the input is.
fn axis(name: &str) -> Option<usize> {
    // Grouped experts are numbered behind the name: `linear_fc1.weight3`.
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let ends = |ends: &[&str]| ends.iter().any(|end| name == *end || name.ends_with(&format!(".{end}")));
    match () {
        () if ends(ROWS) => Some(0),
        () if ends(COLUMNS) || name.ends_with("attention.dense.weight") => Some(1),
        () => None,
    }
}

/// Bytes of parts that are held against each other.
const GLANCE: usize = 1 << 16;

/// Whether the parts of a tensor that is not known to be cut differ: then it is cut in a way that nothing here knows.
fn differ(parts: &[Entry], files: &[Shard]) -> Result<bool> {
    let [first, rest @ ..] = parts else { return Ok(false) };
    let begin = |entry: &Entry| -> Result<Vec<u8>> {
        let length = entry.bytes()?.min(GLANCE);
        match &entry.place {
            Place::Run { file, offset } => match files.get(*file) {
                Some(shard) => Ok(shard.blob.bytes(*offset, length)?.into_owned()),
                None => entry.read(files),
            },
            _ => entry.read(files),
        }
    };
    for other in rest {
        if (other.dtype, &other.shape) != (first.dtype, &first.shape) || begin(other)? != begin(first)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One tensor of the parts of all tensor-parallel ranks. What is not cut is the same in all, and the first is taken.
///
/// # Errors
/// If the parts do not fit together, or a matrix that is not known to be cut differs among them.
fn join(name: &str, parts: Vec<Entry>, swiglu: bool, files: &Arc<[Shard]>) -> Result<Entry> {
    let gated = swiglu && (name.contains("linear_fc1.") || name.contains("dense_h_to_4h."));
    let count = parts.len();
    match axis(name) {
        _ if count == 1 => parts.into_iter().next().map(|entry| Entry { name: name.to_owned(), ..entry }),
        Some(0) if gated && parts.iter().all(|part| part.shape.first().is_some_and(|rows| rows.is_multiple_of(2))) => {
            // Every rank has its rows of the gate, then its rows of the up projection.
            let half = |part: &Entry, which: usize| {
                let length = part.shape[0] / 2;
                rows(part, name, which * length, (1, length, length), files)
            };
            let halves = (0..2).flat_map(|which| parts.iter().map(move |part| half(part, which)));
            return joined(name, halves.collect::<Result<_>>()?, 0, files);
        }
        Some(axis) => return joined(name, parts, axis, files),
        None if parts.iter().any(|part| part.shape.len() > 1) && differ(&parts, files)? => {
            return Err(Error::input(text!("error-checkpoint/megatron/parts-differ", count)));
        }
        None => parts.into_iter().next().map(|entry| Entry { name: name.to_owned(), ..entry }),
    }
    .ok_or_else(|| Error::input(text!("error-checkpoint/megatron/tensor-no-parts")))
}

/// Megatron-Core's distributed form: the tensors of all layers are one, and the arguments are in `common.pt`.
///
/// # Errors
/// If `common.pt` cannot be read.
pub(super) fn published(store: &dyn Store, mut catalogue: Catalogue) -> Result<Catalogue> {
    let blob: Arc<dyn Blob> = Arc::from(store.open("common.pt")?);
    let archive = Archive::open("common.pt", &blob).context(|| "common.pt".to_owned())?;
    let settings = archive.arena.get(archive.root, "args").map_or(Value::Null, |id| archive.arena.settings(id));
    let shared: Arc<[Shard]> = catalogue.files.clone().into();
    let layers = argument(&settings, "num_layers");
    let mut apart = Vec::new();
    for entry in std::mem::take(&mut catalogue.entries) {
        let stacked =
            entry.name.split_once("layers.").filter(|(_, rest)| !rest.starts_with(|c: char| c.is_ascii_digit()));
        match (stacked, entry.shape.split_first()) {
            (Some((head, tail)), Some((count, shape)))
                if layers.is_none_or(|layers| layers == *count) && *count <= 1 << 14 =>
            {
                let size: usize = shape.iter().product();
                // The experts of a layer are one tensor as well.
                let experts = tail.strip_prefix("mlp.experts.experts.").zip(shape.split_first());
                let experts = experts.filter(|(_, (count, _))| **count > 0 && **count <= 1 << 14);
                for layer in 0..*count {
                    let Some((part, (count, shape))) = experts else {
                        let name = format!("{head}layers.{layer}.{tail}");
                        let view = (&[size][..], &[1][..]);
                        apart.push(viewed(&entry, &name, layer * size, view, shape, &shared)?);
                        continue;
                    };
                    let own = size / count;
                    for expert in 0..*count {
                        let name = format!("{head}layers.{layer}.mlp.experts.local_experts.{expert}.{part}");
                        let view = (&[own][..], &[1][..]);
                        apart.push(viewed(&entry, &name, layer * size + expert * own, view, shape, &shared)?);
                    }
                }
            }
            _ => apart.push(entry),
        }
    }
    catalogue.form = Text::new("checkpoint/form/megatron-core");
    published::name(apart, &settings, 3.0, &shared, &mut catalogue)?;
    catalogue.settings = Some(published::settings(&settings)).filter(|_| !settings.is_null());
    Ok(catalogue)
}
