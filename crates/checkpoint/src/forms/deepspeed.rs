//! DeepSpeed: `global_stepN/` with the module in `mp_rank_00_model_states.pt` and the master weights in pieces in
//! `zero_pp_rank_*_optim_states.pt`, put together as `zero_to_fp32.py` does; universal checkpoints, a folder a parameter;
//! and pipelines, a file a layer and model-parallel part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::parts::{Files, viewed};
use super::pickle::Id;
use super::torch::Archive;
use super::{Catalogue, Entry, Place, megatron};
use crate::header::quoted;
use crate::shape::size;
use crate::{Dtype, Shard, Skipped};
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::{Blob, Store};
use scratchproof_texts::{Text, text};

/// Parameters of a universal checkpoint, at most.
const PARAMETERS: usize = 1 << 18;

/// Whether a file is a part of a DeepSpeed checkpoint.
pub(super) fn is_state(name: &str) -> bool {
    name.ends_with("_optim_states.pt") || name.ends_with("_model_states.pt") || name.ends_with("-model_states.pt")
}

/// The folder that `latest` names, or the last step where there is no `latest`.
///
/// # Errors
/// If it names a folder that is not there.
pub(super) fn latest(store: &dyn Store, names: &[String], folders: &[String]) -> Result<String> {
    let mut steps: Vec<(u64, &String)> = folders
        .iter()
        .filter_map(|name| Some((name.strip_prefix("global_step")?.split('_').next()?.parse().ok()?, name)))
        .collect();
    steps.sort();
    if names.iter().any(|name| name == "latest") {
        let blob = store.open("latest")?;
        let words = blob.bytes(0, usize::try_from(blob.len().min(256)).unwrap_or(0))?;
        let named = String::from_utf8_lossy(&words).trim().to_owned();
        if folders.contains(&named) {
            return Ok(named);
        }
        let there: Vec<&str> = steps.iter().map(|(_, name)| name.as_str()).collect();
        return Err(Error::input(text!(
            "error-checkpoint/deepspeed/latest-points-not",
            named = quoted(&named),
            steps = super::state::listed(&there)
        )));
    }
    steps
        .last()
        .map(|(_, name)| (*name).clone())
        .ok_or_else(|| Error::input(text!("error-checkpoint/deepspeed/no-step-deepspeed")))
}

fn open(store: &dyn Store, name: &str) -> Result<Archive> {
    let blob: Arc<dyn Blob> = Arc::from(store.open(name)?);
    Archive::open(name, &blob).context(|| quoted(name))
}

/// The number behind a word of a file's name: 3 of `zero_pp_rank_3_mp_rank_00`.
fn number(name: &str, word: &str) -> Option<usize> {
    let digits: String = name.split_once(word)?.1.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The model of one step's folder.
///
/// # Errors
/// If ranks are missing or their parts do not make the parameters.
pub(super) fn catalogue(store: &dyn Store, names: &[String]) -> Result<Catalogue> {
    if store.folders()?.iter().any(|folder| folder == "zero") {
        return universal(store);
    }
    let with = |end: &str| -> Vec<&String> { names.iter().filter(|name| name.ends_with(end)).collect() };
    let layers: Vec<&String> = with("-model_states.pt");
    if !layers.is_empty() {
        return megatron::pipeline(store, &layers, names);
    }
    let mut states: Vec<&String> = with("_optim_states.pt");
    // Those of experts hold the same weights again, with their states.
    states.retain(|name| !name.starts_with("expp_rank_"));
    let models: Vec<&String> = with("_model_states.pt").into_iter().filter(|name| expert(name).is_none()).collect();
    let parallel = models.iter().filter_map(|name| number(name, "mp_rank_")).max().unwrap_or(0);
    if parallel > 0 {
        return Err(Error::input(text!(
            "error-checkpoint/deepspeed/model-model-parallel-parts",
            parts = parallel + 1,
            last = format!("{parallel:02}")
        )));
    }
    let first = models.iter().min_by_key(|name| number(name, "zero_pp_rank_").unwrap_or(0));
    let first = first.ok_or_else(|| Error::input(text!("error-checkpoint/deepspeed/no-file-model-s")))?;
    let model = open(store, first)?;
    states.sort_by_key(|name| number(name, "zero_pp_rank_").unwrap_or(0));
    let mut catalogue = Catalogue { form: Text::new("checkpoint/form/deepspeed"), ..Catalogue::default() };
    let found = if states.is_empty() { None } else { partitions(store, &states, "")? };
    let Some(zero) = found else {
        // Without ZeRO the module is whole.
        let mut module = model.model().context(|| quoted(first))?;
        if !module.entries.is_empty() && module.entries.iter().all(|entry| entry.shape.contains(&0)) {
            // ZeRO 3 leaves empty tensors in the module.
            return Err(Error::input(text!("error-checkpoint/deepspeed/zero3-lost")));
        }
        catalogue.notes.push(text!("checkpoint/deepspeed/module", states = states.len()));
        catalogue.notes.append(&mut module.notes);
        catalogue.entries = module.entries;
        catalogue.skipped = module.skipped;
        catalogue.unread = module.unread;
        catalogue.files = module.files;
        experts(store, names, &mut catalogue)?;
        return Ok(catalogue);
    };
    let stage = if zero.named { zero.stage } else { 0 };
    catalogue.notes.push(text!("checkpoint/deepspeed/zero", stage, ranks = zero.ranks.len()));
    together(&model, zero, &mut catalogue)?;
    experts(store, names, &mut catalogue)?;
    Ok(catalogue)
}

/// Layer and expert of `layer_0_expert_3_mp_rank_00_model_states.pt`.
fn expert(name: &str) -> Option<(usize, usize)> {
    let (layer, rest) = name.strip_prefix("layer_")?.split_once("_expert_")?;
    Some((layer.parse().ok()?, rest.split_once('_')?.0.parse().ok()?))
}

/// Adds the experts, a file each with its tensors by their names in the model.
fn experts(store: &dyn Store, names: &[String], catalogue: &mut Catalogue) -> Result<()> {
    let found: BTreeMap<(usize, usize), &String> =
        names.iter().filter_map(|name| Some((expert(name)?, name))).collect();
    let layers: BTreeSet<usize> = found.keys().map(|(layer, _)| *layer).collect();
    let most = found.keys().map(|(_, expert)| expert + 1).max().unwrap_or(0);
    for layer in layers {
        if let Some(missing) = (0..most).find(|expert| !found.contains_key(&(layer, *expert))) {
            return Err(Error::input(text!("error-checkpoint/deepspeed/expert-lost", layer, missing, most)));
        }
    }
    let mut files = Files { shards: std::mem::take(&mut catalogue.files) };
    for name in found.values() {
        let archive = open(store, name)?;
        let mut part = Catalogue::default();
        let tensors = archive.arena.tensors(archive.root, &|_| true)?;
        let held = |name: &String| catalogue.entries.iter().any(|entry| entry.name == *name);
        let new = tensors.into_iter().filter(|(name, _)| !held(name)).collect();
        archive.entries(new, &mut part).context(|| quoted(name))?;
        part.files = archive.files;
        files.take(&mut part);
        catalogue.entries.append(&mut part.entries);
        catalogue.skipped.append(&mut part.skipped);
    }
    catalogue.files = files.shards;
    Ok(())
}

/// The master weights of all ranks.
struct Zero {
    stage: i64,
    /// Whether the states say a stage.
    named: bool,
    /// By rank, by group: a long vector each.
    ranks: Vec<Vec<Entry>>,
    files: Files,
    /// Elements that each parameter of each group is followed by.
    paddings: Option<Vec<Vec<usize>>>,
}

/// The vectors of the ranks; `None` if they are no ZeRO optimizer's.
///
/// `key` is empty for the master weights, else a state's name: `exp_avg`.
fn partitions(store: &dyn Store, names: &[&String], key: &str) -> Result<Option<Zero>> {
    let mut zero = Zero { stage: 0, named: true, ranks: Vec::new(), files: Files::default(), paddings: None };
    for (rank, name) in names.iter().enumerate() {
        let archive = open(store, name)?;
        let arena = &archive.arena;
        let Some(state) = arena.get(archive.root, "optimizer_state_dict") else { return Ok(None) };
        let count = arena.get(state, "partition_count");
        let told = arena.get(state, "zero_stage").and_then(|id| stage(&archive, id));
        // The optimizer for bfloat16 cuts its vectors as stage 1 does, and names no stage.
        let whole = count.is_some() && arena.get(state, "single_partition_of_fp32_groups").is_some();
        let Some(stage) = told.or(whole.then_some(1)) else { return Ok(None) };
        zero.named = told.is_some();
        let count =
            count.and_then(|id| arena.whole(id).or_else(|| i64::try_from(arena.sizes(id)?.into_iter().max()?).ok()));
        if count.is_some_and(|count| usize::try_from(count).ok() != Some(names.len())) {
            return Err(Error::input(text!(
                "error-checkpoint/deepspeed/says-ranks-wrote-checkpoint",
                name = quoted(name),
                count = count.unwrap_or_default(),
                names = names.len()
            )));
        }
        if number(name, "zero_pp_rank_").is_some_and(|own| own != rank) {
            return Err(Error::input(text!(
                "error-checkpoint/deepspeed/states-rank-missing-next",
                rank,
                name = quoted(name)
            )));
        }
        let Some(groups) = vectors(&archive, state, stage, key) else { return Ok(None) };
        let padding = arena.get(state, "param_alignment_paddings").and_then(|id| arena.items(id));
        zero.paddings = padding.map(|groups| groups.iter().filter_map(|group| arena.sizes(*group)).collect());
        zero.stage = stage;
        let mut part = Catalogue::default();
        let named =
            groups.iter().enumerate().map(|(group, id)| (format!("group {group} of rank {rank}"), *id)).collect();
        archive.entries(named, &mut part).context(|| quoted(name))?;
        if part.entries.len() != groups.len() {
            return Err(Error::input(text!(
                "error-checkpoint/deepspeed/master-weights-format-not",
                name = quoted(name)
            )));
        }
        part.files = archive.files;
        zero.files.take(&mut part);
        zero.ranks.push(part.entries);
    }
    Ok(Some(zero))
}

/// The vectors of one rank, one a group.
fn vectors(archive: &Archive, state: Id, stage: i64, key: &str) -> Option<Vec<Id>> {
    let arena = &archive.arena;
    if key.is_empty() {
        let id = arena.get(state, if stage == 3 { "fp32_flat_groups" } else { "single_partition_of_fp32_groups" })?;
        return Some(if arena.view(id).is_some() { vec![id] } else { arena.items(id)?.to_vec() });
    }
    let base = ["base_optimizer_state", "optimizer_state_dict"].iter().find_map(|name| arena.get(state, name))?;
    let mut groups: Vec<(i64, Id)> = arena
        .pairs(arena.get(base, "state")?)?
        .iter()
        .map(|(group, states)| Some((arena.whole(*group)?, arena.get(*states, key)?)))
        .collect::<Option<_>>()?;
    groups.sort_unstable();
    (!groups.is_empty()).then(|| groups.into_iter().map(|(_, id)| id).collect())
}

/// What the optimizer keeps of every parameter of a step's folder: entries `NAME/exp_avg`, and the settings of its groups
/// with the names of their parameters. `None` where ZeRO is not used.
///
/// # Errors
/// As [`catalogue`].
pub(super) fn optimizer(store: &dyn Store) -> Result<Option<(Catalogue, Vec<Value>)>> {
    let names = store.list()?;
    if store.folders()?.iter().any(|folder| folder == "zero") {
        let states = universal_states(store)?;
        return Ok(Some((states, universal_groups(store, &names)?)));
    }
    let mut states: Vec<&String> = names.iter().filter(|name| name.ends_with("_optim_states.pt")).collect();
    states.sort_by_key(|name| number(name, "zero_pp_rank_").unwrap_or(0));
    states.retain(|name| !name.starts_with("expp_rank_"));
    let models = names.iter().filter(|name| name.ends_with("_model_states.pt") && expert(name).is_none());
    let Some(first) = models.min_by_key(|name| number(name, "zero_pp_rank_").unwrap_or(0)) else { return Ok(None) };
    let shapes = shapes(&open(store, first)?)?;
    let mut catalogue = Catalogue::default();
    let mut files = Files::default();
    for (key, label) in
        [("", "master"), ("exp_avg", "exp_avg"), ("exp_avg_sq", "exp_avg_sq"), ("momentum_buffer", "momentum_buffer")]
    {
        let Some(zero) = partitions(store, &states, key)? else { continue };
        let shared = zero.files.shared();
        let entries = zero.named(shapes.clone(), &shared)?;
        let entries = entries.into_iter().map(|entry| Entry { name: format!("{}/{label}", entry.name), ..entry });
        let mut part = Catalogue { entries: entries.collect(), files: zero.files.shards, ..Catalogue::default() };
        files.take(&mut part);
        catalogue.entries.append(&mut part.entries);
    }
    catalogue.files = files.shards;
    let groups = match states.first() {
        Some(name) => groups(&open(store, name)?, &shapes),
        None => Vec::new(),
    };
    Ok((!catalogue.entries.is_empty()).then_some((catalogue, groups)))
}

/// Names and shapes of a group's parameters.
type Shapes = Vec<(String, Vec<usize>)>;

/// The settings of the optimizer's groups, as every rank has them: a group of ZeRO is one of the parameters' groups, with the
/// number of updates in the state of its long vector.
fn groups(archive: &Archive, shapes: &[Shapes]) -> Vec<Value> {
    let arena = &archive.arena;
    let base = arena.get(archive.root, "optimizer_state_dict").and_then(|state| {
        ["base_optimizer_state", "optimizer_state_dict"].iter().find_map(|name| arena.get(state, name))
    });
    base.map_or_else(Vec::new, |base| groups_at(archive, base, shapes))
}

/// The settings of the groups in one of a file's values.
fn groups_at(archive: &Archive, base: Id, shapes: &[Shapes]) -> Vec<Value> {
    let arena = &archive.arena;
    let groups = arena.get(base, "param_groups").and_then(|id| arena.items(id)).unwrap_or_default();
    let states = arena.get(base, "state").and_then(|id| arena.pairs(id)).unwrap_or_default();
    let settings = |(number, (id, shapes)): (usize, (&Id, &Shapes))| {
        let mut settings = arena.settings(*id);
        let group = settings.as_object_mut()?;
        let own =
            states.iter().find(|(key, _)| arena.whole(*key).is_some_and(|key| usize::try_from(key) == Ok(number)));
        let step = own.and_then(|(_, state)| number_of(archive, arena.get(*state, "step")?));
        group.extend(step.map(|step| ("step".to_owned(), Value::from(step))));
        let names: Vec<&str> = shapes.iter().map(|(name, _)| name.as_str()).collect();
        group.insert("params".to_owned(), Value::from(names));
        Some(settings)
    };
    groups.iter().zip(shapes).enumerate().filter_map(settings).collect()
}

/// A number, or a tensor of one.
fn number_of(archive: &Archive, id: Id) -> Option<f64> {
    archive.arena.float(id).or_else(|| {
        let entry = archive.entry("step", id).ok()?.ok().filter(|entry| entry.shape.iter().all(|axis| *axis == 1))?;
        let mut number = [0.0];
        scratchproof_kernel::decode(entry.dtype, &entry.read(&archive.files).ok()?, &mut number);
        Some(number[0])
    })
}

/// The stage, a number or an enumeration's member made of one.
fn stage(archive: &Archive, id: Id) -> Option<i64> {
    let arena = &archive.arena;
    arena.whole(id).or_else(|| match arena.node(id) {
        super::pickle::Node::Record(Some(made)) => arena.items(*made)?.first().and_then(|id| arena.whole(*id)),
        _ => None,
    })
}

/// The run of `length` elements from `start` of vectors that follow each other.
fn run(vectors: &[&Entry], start: usize, length: usize, files: &Arc<[Shard]>) -> Result<Vec<Entry>> {
    let (mut at, mut found) = (0, Vec::new());
    let end = start.saturating_add(length);
    for vector in vectors {
        let own: usize = vector.shape.iter().product();
        let (from, to) = (start.max(at), end.min(at + own));
        if from < to {
            found.push(viewed(vector, &vector.name, from - at, (&[to - from], &[1]), &[to - from], files)?);
        }
        at += own;
    }
    if end > at {
        return Err(Error::input(text!("error-checkpoint/deepspeed/elements-wanted-where-ranks", end, at)));
    }
    Ok(found)
}

/// A tensor whose elements are those of vectors, one after the other.
fn of_runs(name: &str, shape: &[usize], mut runs: Vec<Entry>, files: &Arc<[Shard]>) -> Result<Entry> {
    let dtype = runs.first().map_or(Dtype::F32, |run| run.dtype);
    let bytes = size(shape, dtype.width()).ok_or_else(|| {
        Error::input(text!("error-checkpoint/deepspeed/shape-overflows", shape = format!("{shape:?}")))
    })?;
    let held: usize = runs.iter().map(|run| run.shape.iter().product::<usize>() * run.dtype.width()).sum();
    if held != bytes || runs.iter().any(|run| run.dtype != dtype) {
        return Err(Error::input(text!("error-checkpoint/deepspeed/bytes-wanted", bytes, held)));
    }
    let place = if runs.len() == 1 {
        runs.remove(0).place
    } else {
        let files = Arc::clone(files);
        Place::Made(Arc::new(move || {
            let mut out = Vec::with_capacity(bytes);
            for run in &runs {
                out.extend(run.read(&files)?);
            }
            Ok(out)
        }))
    };
    Ok(Entry { name: name.to_owned(), dtype, shape: shape.to_vec(), place })
}

/// Parameters by group: name and shape, in the order in which they follow each other.
#[allow(clippy::type_complexity, reason = "names and shapes, group by group")]
fn shapes(model: &Archive) -> Result<Vec<Vec<(String, Vec<usize>)>>> {
    let arena = &model.arena;
    let groups = arena
        .get(model.root, "param_shapes")
        .ok_or_else(|| Error::input(text!("error-checkpoint/deepspeed/model-s-states-no")))?;
    let groups = match arena.items(groups) {
        Some(groups) => groups.to_vec(),
        None => vec![groups],
    };
    let group = |id: &Id| {
        let pairs = arena.pairs(*id).unwrap_or_default();
        pairs.iter().map(|(name, shape)| Some((arena.key(*name)?, arena.sizes(*shape)?))).collect::<Option<Vec<_>>>()
    };
    groups
        .iter()
        .map(group)
        .collect::<Option<_>>()
        .ok_or_else(|| Error::input(text!("error-checkpoint/deepspeed/param-shapes-no-shapes")))
}

impl Zero {
    /// The parameters, cut out of the vectors.
    fn named(&self, shapes: Vec<Vec<(String, Vec<usize>)>>, files: &Arc<[Shard]>) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let named = |name: &str| text!("error-checkpoint/forms/tensor", name = quoted(name));
        if self.stage == 3 {
            let ranks = self.ranks.len();
            let mut offset = 0;
            for (name, shape) in shapes.into_iter().flatten() {
                let elements = size(&shape, 4)
                    .ok_or_else(|| Error::input(text!("error-checkpoint/deepspeed/shape-overflows-2")))?
                    / 4;
                let part = elements.div_ceil(ranks);
                let mut runs = Vec::new();
                for (rank, groups) in self.ranks.iter().enumerate() {
                    let length = part.min(elements.saturating_sub(rank * part));
                    let groups: Vec<&Entry> = groups.iter().collect();
                    runs.extend(run(&groups, offset, length, files).context(|| named(&name))?);
                }
                entries.push(of_runs(&name, &shape, runs, files).context(|| named(&name))?);
                offset += part;
            }
        } else {
            for (group, shapes) in shapes.into_iter().enumerate() {
                let vectors: Option<Vec<&Entry>> = self.ranks.iter().map(|groups| groups.get(group)).collect();
                let vectors = vectors
                    .ok_or_else(|| Error::input(text!("error-checkpoint/deepspeed/group-not-every-rank", group)))?;
                let mut offset = 0;
                for (at, (name, shape)) in shapes.into_iter().enumerate() {
                    let elements = size(&shape, 4)
                        .ok_or_else(|| Error::input(text!("error-checkpoint/deepspeed/shape-overflows-2")))?
                        / 4;
                    let runs = run(&vectors, offset, elements, files).context(|| named(&name))?;
                    entries.push(of_runs(&name, &shape, runs, files).context(|| named(&name))?);
                    let padding = self.paddings.as_ref().and_then(|groups| groups.get(group)?.get(at).copied());
                    offset += elements + padding.unwrap_or(0);
                }
                let all: usize = vectors.iter().map(|vector| vector.shape.iter().product::<usize>()).sum();
                let align = 2 * vectors.len();
                if offset.next_multiple_of(align) != all.next_multiple_of(align) {
                    return Err(Error::input(text!(
                        "error-checkpoint/deepspeed/parameters-group-elements-but",
                        group,
                        offset,
                        all
                    )));
                }
            }
        }
        Ok(entries)
    }
}

fn together(model: &Archive, mut zero: Zero, catalogue: &mut Catalogue) -> Result<()> {
    let arena = &model.arena;
    let shapes = shapes(model)?;
    let mut own = Catalogue { files: model.files.clone(), ..Catalogue::default() };
    // A tied tensor is written once.
    let shared = arena.get(model.root, "shared_params").and_then(|id| arena.pairs(id)).unwrap_or_default();
    let mut shared: BTreeMap<String, String> =
        shared.iter().filter_map(|(name, source)| Some((arena.key(*name)?, arena.key(*source)?))).collect();
    let parameters: BTreeSet<&str> = shapes.iter().flatten().map(|(name, _)| name.as_str()).collect();
    let module = match arena.get(model.root, "module") {
        Some(module) => arena.tensors(module, &|_| true)?,
        None => Vec::new(),
    };
    of_module(model, module, &parameters, &mut own, zero.stage, &mut shared)?;
    zero.files.take(&mut own);
    let files = zero.files.shared();
    catalogue.skipped.append(&mut own.skipped);
    catalogue.entries.append(&mut own.entries);
    catalogue.notes.append(&mut own.notes);
    catalogue.entries.extend(zero.named(shapes, &files)?);
    let sources: BTreeMap<&str, &Entry> = catalogue.entries.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    let (mut tied, mut lost) = (Vec::new(), Vec::new());
    for (name, source) in shared {
        match sources.get(source.as_str()) {
            // What is read in its own right already is no second tensor.
            _ if sources.contains_key(name.as_str()) => {}
            Some(entry) => tied.push(Entry { name, ..(*entry).clone() }),
            None => {
                let why = format!("it is tied to {}, which is not there", quoted(&source));
                lost.push(Skipped { tensor: name, why });
            }
        }
    }
    catalogue.entries.append(&mut tied);
    let listed: BTreeSet<String> = catalogue.skipped.iter().map(|skipped| skipped.tensor.clone()).collect();
    catalogue.skipped.extend(lost.into_iter().filter(|skipped| !listed.contains(&skipped.tensor)));
    catalogue.files = zero.files.shards;
    Ok(())
}

/// Takes from the module what is in no rank's states: buffers, and what was frozen. Below stage 3 the module is whole, and
/// stage 1 names nowhere what was frozen. What is left of it is listed.
fn of_module(
    model: &Archive,
    module: Vec<(String, Id)>,
    parameters: &BTreeSet<&str>,
    own: &mut Catalogue,
    stage: i64,
    shared: &mut BTreeMap<String, String>,
) -> Result<()> {
    let arena = &model.arena;
    let buffers = arena.get(model.root, "buffer_names").and_then(|id| arena.items(id)).unwrap_or_default();
    let buffers: BTreeSet<String> = buffers.iter().filter_map(|id| arena.key(*id)).collect();
    let mut taken: Vec<(String, Id)> = Vec::new();
    let mut names: BTreeSet<String> = BTreeSet::new();
    if let Some(fragments) = arena.get(model.root, "frozen_param_fragments").filter(|_| stage < 3) {
        taken = arena.tensors(fragments, &|_| true)?;
        names.extend(taken.iter().map(|(name, _)| name.clone()));
    }
    let mut frozen: BTreeSet<String> = BTreeSet::new();
    if stage == 3 {
        let shapes = arena.get(model.root, "frozen_param_shapes").and_then(|id| arena.pairs(id)).unwrap_or_default();
        frozen.extend(shapes.iter().filter_map(|(name, _)| arena.key(*name)));
        let why = "it was frozen, and ZeRO 3 keeps its parts with each rank's module, which are not joined";
        let lost = |tensor: &String| Skipped { tensor: tensor.clone(), why: why.to_owned() };
        own.skipped.extend(frozen.iter().map(lost));
    }
    // Tensors of one place are one, tied, where the file does not say so: DeepSpeed before 0.8.
    let place = |id: Id| {
        let view = arena.view(id).filter(|view| !view.shape.contains(&0))?;
        Some((view.storage, view.offset, view.shape.clone(), view.strides.clone()))
    };
    let (own_names, module): (Vec<_>, Vec<_>) =
        module.into_iter().partition(|(name, _)| parameters.contains(name.as_str()));
    let mut places: BTreeMap<_, String> =
        own_names.into_iter().filter_map(|(name, id)| Some((place(id)?, name))).collect();
    let mut count = 0;
    for (name, id) in module {
        if names.contains(&name) || frozen.contains(&name) || shared.contains_key(&name) {
            continue;
        }
        if buffers.contains(&name) {
            taken.push((name, id));
        } else if stage == 3 {
            let why = "it is in the module of ZeRO 3, and in no rank's states";
            own.skipped.push(Skipped { tensor: name, why: why.to_owned() });
        } else if let Some(first) = place(id).and_then(|place| places.get(&place)) {
            shared.insert(name, first.clone());
        } else {
            places.extend(place(id).map(|place| (place, name.clone())));
            count += 1;
            taken.push((name, id));
        }
    }
    if count > 0 {
        own.notes.push(text!("checkpoint/deepspeed/frozen", count));
    }
    model.entries(taken, own)
}

/// A universal checkpoint: `zero/NAME/fp32.pt` for every parameter.
///
/// # Errors
/// If a parameter cannot be read.
pub(super) fn universal(store: &dyn Store) -> Result<Catalogue> {
    let mut catalogue = Catalogue { form: Text::new("checkpoint/form/universal"), ..Catalogue::default() };
    of_folders(store, &[("fp32.pt", "")], &mut catalogue)?;
    Ok(catalogue)
}

/// What the optimizer keeps of every parameter of a universal checkpoint.
fn universal_states(store: &dyn Store) -> Result<Catalogue> {
    const STATES: &[(&str, &str)] =
        &[("fp32.pt", "/master"), ("exp_avg.pt", "/exp_avg"), ("exp_avg_sq.pt", "/exp_avg_sq"), ("step.pt", "/step")];
    let mut catalogue = Catalogue::default();
    of_folders(store, STATES, &mut catalogue)?;
    Ok(catalogue)
}

/// The settings of the groups of a universal checkpoint: `zero/optimizer_state.pt`, where DeepSpeed's converter puts them since
/// 0.16 (`_save_optimizer_state`). Names of the parameters are those of the model's states, group by group; where these are cut
/// otherwise, as ZeRO 3 does, only what all groups have in common could be said of a parameter, and nothing is.
fn universal_groups(store: &dyn Store, names: &[String]) -> Result<Vec<Value>> {
    const FILE: &str = "optimizer_state.pt";
    let zero = store.enter("zero")?;
    if !zero.list()?.iter().any(|name| name == FILE) {
        return Ok(Vec::new());
    }
    let archive = open(&*zero, FILE)?;
    let models = names.iter().filter(|name| name.ends_with("_model_states.pt"));
    let first = models.min_by_key(|name| number(name, "mp_rank_").unwrap_or(0));
    let shapes = match first {
        Some(name) => shapes(&open(store, name)?).unwrap_or_default(),
        None => Vec::new(),
    };
    let count =
        archive.arena.get(archive.root, "param_groups").and_then(|id| archive.arena.items(id)).map_or(0, <[_]>::len);
    let shapes = match count {
        1 => vec![shapes.into_iter().flatten().collect()],
        count if count == shapes.len() => shapes,
        count => vec![Vec::new(); count],
    };
    Ok(groups_at(&archive, archive.root, &shapes))
}

/// Files of every parameter's folder, each with what is added to the parameter's name.
fn of_folders(store: &dyn Store, wanted: &[(&str, &str)], catalogue: &mut Catalogue) -> Result<()> {
    let zero = store.enter("zero")?;
    let names = zero.folders()?;
    if names.len() > PARAMETERS {
        return Err(Error::input(text!("error-checkpoint/deepspeed/parameters-more-read", names = names.len())));
    }
    let mut files = Files::default();
    for name in names {
        let folder = zero.enter(&name)?;
        let there = folder.list()?;
        for (file, end) in wanted {
            if !there.iter().any(|other| other == file) {
                if end.is_empty() {
                    let why = format!("its folder has no {file}");
                    catalogue.skipped.push(Skipped { tensor: name.clone(), why });
                }
                continue;
            }
            let archive = open(&*folder, file).context(|| quoted(&name))?;
            let root = archive.arena.get(archive.root, "param").unwrap_or(archive.root);
            if archive.arena.view(root).is_none() {
                continue;
            }
            let mut part = Catalogue::default();
            archive.entries(vec![(format!("{name}{end}"), root)], &mut part).context(|| quoted(&name))?;
            part.files = archive.files;
            for shard in &mut part.files {
                shard.name = format!("zero/{name}/{}", shard.name);
            }
            files.take(&mut part);
            catalogue.entries.append(&mut part.entries);
            catalogue.skipped.append(&mut part.skipped);
        }
    }
    catalogue.files = files.shards;
    Ok(())
}
