//! The states of an optimizer, where they lie beside the weights or in the same file: settings of its groups, and for every
//! parameter what it keeps (`step`, `exp_avg`, `exp_avg_sq`, `momentum_buffer`, …). They are evidence and no part of the
//! model.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::folder::WITHIN;
use super::npz::Npz;
use super::pickle::{Arena, Id, Node};
use super::torch::Archive;
use super::{Catalogue, Entry, Form, Glance, Place, deepspeed, distributed, state};
use crate::header::quoted;
use crate::{Dtype, Shard};
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::{Blob, Store};
use scratchproof_texts::{Text, text};

/// Ranks whose files are looked for.
const MOST_RANKS: usize = 1 << 10;

/// Which parameter a state is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parameter {
    /// By its name in the model.
    Named(String),
    /// By its place in the order of the optimizer's groups: torch keeps no names.
    Numbered(usize),
}

/// What an optimizer keeps of one parameter.
#[derive(Clone, Debug)]
pub struct ParameterState {
    /// Which parameter.
    pub parameter: Parameter,
    /// Index of its group in [`Optimizer::groups`], where that is said.
    pub group: Option<usize>,
    /// Single numbers: `step`.
    pub numbers: BTreeMap<String, f64>,
    /// Tensors by the optimizer's name for them: `exp_avg`, `exp_avg_sq`; `master` for weights in single precision.
    pub tensors: BTreeMap<String, StateTensor>,
}

/// A tensor of a state.
#[derive(Clone, Debug)]
pub struct StateTensor(Entry);

impl StateTensor {
    /// Number format.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.0.dtype
    }

    /// Shape, outermost axis first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.0.shape.iter().product()
    }

    /// Whether it is one run of bytes of a file, of which a part can be read by itself; otherwise reading a part puts all
    /// of it together.
    #[must_use]
    pub fn is_run(&self) -> bool {
        matches!(self.0.place, Place::Run { .. })
    }
}

/// The states of an optimizer.
#[derive(Clone)]
pub struct Optimizer {
    /// The file or folder that they are in.
    pub source: String,
    /// Settings of each group (`lr`, `betas`, `eps`, `weight_decay`, `params`), in order.
    pub groups: Vec<Value>,
    /// One for each parameter that has a state.
    pub states: Vec<ParameterState>,
    files: Arc<[Shard]>,
}

impl Optimizer {
    /// Takes over the settings of groups whose `params` are names.
    fn grouped(&mut self, groups: Vec<Value>) {
        let mut of_group: BTreeMap<&str, usize> = BTreeMap::new();
        for (group, settings) in groups.iter().enumerate() {
            let params = settings.get("params").and_then(Value::as_array).into_iter().flatten();
            of_group.extend(params.filter_map(Value::as_str).map(|name| (name, group)));
        }
        for state in &mut self.states {
            if let Parameter::Named(name) = &state.parameter {
                state.group = of_group.get(name.as_str()).copied();
            }
        }
        self.groups = groups;
    }

    /// The elements of a tensor, little-endian, outermost axis first.
    ///
    /// # Errors
    /// If the bytes cannot be read.
    pub fn read(&self, tensor: &StateTensor) -> Result<Vec<u8>> {
        tensor.0.read(&self.files).context(|| format!("{}: {}", self.source, quoted(&tensor.0.name)))
    }

    /// Some elements of a tensor, as [`Optimizer::read`].
    ///
    /// # Errors
    /// If the bytes cannot be read, or there are not as many.
    pub fn part(&self, tensor: &StateTensor, elements: Range<usize>) -> Result<Vec<u8>> {
        let width = tensor.0.dtype.width();
        let place = || format!("{}: {}", self.source, quoted(&tensor.0.name));
        let outside = || {
            Error::usage(text!(
                "error-checkpoint/optimizer/no-elements",
                place = place(),
                elements = format!("{elements:?}")
            ))
        };
        if elements.start > elements.end || elements.end > tensor.elements() {
            return Err(outside());
        }
        let span = elements.start * width..elements.end * width;
        if let Place::Run { file, offset } = &tensor.0.place {
            let shard = self.files.get(*file).ok_or_else(outside)?;
            return Ok(shard.blob.bytes(offset + span.start as u64, span.len()).context(place)?.into_owned());
        }
        Ok(self.read(tensor)?.get(span).ok_or_else(outside)?.to_vec())
    }
}

/// Where the states are, read when they are asked for.
#[derive(Default)]
pub struct OptimizerFiles {
    sources: Vec<Source>,
    parsed: OnceLock<Result<Vec<Optimizer>, Text>>,
}

enum Source {
    /// A file of torch: states, or a trainer's dict with them.
    File(String, Arc<dyn Blob>),
    /// A folder of a distributed checkpoint.
    Distributed(Box<dyn Store>),
    /// A step's folder of DeepSpeed.
    DeepSpeed(Box<dyn Store>),
    /// What such a folder holds.
    Ready(Result<Option<Optimizer>, Text>),
}

impl OptimizerFiles {
    /// What a place holds. `weights` are the model's own files, which may hold the states too.
    pub(crate) fn find(store: &dyn Store, names: &[String], weights: &[Shard]) -> Self {
        let mut sources = Vec::new();
        let is = |name: &String| {
            let plain = ["optimizer.pt", "optimizer.bin", "optimizer.pth", "optim.pt", "recipe_state.pt"];
            plain.contains(&name.as_str()) || name.starts_with("optim_") && name.ends_with(".pt")
        };
        for name in names.iter().filter(|name| is(name)) {
            if let Ok(blob) = store.open(name) {
                sources.push(Source::File(name.clone(), Arc::from(blob)));
            }
        }
        if let Some(only) = store.only() {
            sources.extend(of_ranks(store, only));
        }
        let folders = if store.only().is_some() { Vec::new() } else { store.folders().unwrap_or_default() };
        let step =
            names.iter().any(|name| name.ends_with("_optim_states.pt")) || folders.iter().any(|name| name == "zero");
        if step && store.only().is_none() {
            // The place itself cannot be kept; its descriptions are small.
            sources.push(Source::Ready(of_deepspeed(store).map_err(|error| error.text())));
            return Self { sources, parsed: OnceLock::new() };
        }
        if names.iter().any(|name| name == ".metadata") && store.only().is_none() {
            sources.push(Source::Ready(within_model(store)));
        }
        for name in ["optimizer_0", "optimizer", "optim"] {
            if folders.iter().any(|folder| folder == name)
                && let Ok(inner) = store.enter(name)
            {
                sources.push(Source::Distributed(inner));
            }
        }
        // A folder within that holds the model may hold the states with it.
        if sources.is_empty()
            && let Some(name) = WITHIN.iter().find(|name| folders.iter().any(|folder| folder == *name))
            && let Ok(inner) = store.enter(name)
            && inner.list().is_ok_and(|names| names.iter().any(|name| name == ".metadata"))
        {
            sources.push(Source::Ready(within_model(&*inner)));
        }
        if let Ok(step) = deepspeed::latest(store, names, &folders)
            && let Ok(inner) = store.enter(&step)
        {
            sources.push(Source::DeepSpeed(inner));
        }
        if sources.is_empty() {
            let own = weights.iter().filter(|shard| !shard.blob.is_made());
            let torch = |shard: &&Shard| {
                let mut head = [0; 4];
                shard.blob.len() > 4
                    && shard.blob.read_at(0, &mut head).is_ok()
                    && matches!(head, [b'P', b'K', 3, 4] | [0x80, ..])
            };
            sources.extend(own.filter(torch).map(|shard| Source::File(shard.name.clone(), Arc::clone(&shard.blob))));
        }
        Self { sources, parsed: OnceLock::new() }
    }

    /// The states; none where none are there.
    pub(crate) fn optimizers(&self) -> Result<&[Optimizer]> {
        let parsed = self.parsed.get_or_init(|| {
            let mut all = Vec::new();
            for source in &self.sources {
                all.extend(source.read().map_err(|error| error.text())?);
            }
            Ok(all)
        });
        parsed.as_deref().map_err(|error| Error::input(error.clone()))
    }
}

impl Source {
    fn read(&self) -> Result<Vec<Optimizer>> {
        match self {
            Self::File(name, blob) => of_file(name, blob).context(|| quoted(name)),
            Self::Distributed(store) => of_distributed(&**store).map(|found| vec![found]),
            Self::Ready(found) => match found {
                Ok(found) => Ok(found.clone().into_iter().collect()),
                Err(error) => Err(Error::input(error.clone())),
            },
            Self::DeepSpeed(store) => of_deepspeed(&**store).map(|found| found.into_iter().collect()),
        }
    }
}

/// The states in a distributed checkpoint that holds the model too; none where it holds no optimizer's.
fn within_model(store: &dyn Store) -> Result<Option<Optimizer>, Text> {
    let found = of_distributed(store).map_err(|error| error.text())?;
    Ok((!found.states.is_empty()).then_some(found))
}

/// nanochat's states of every rank beside its `model_N.pt`: `optim_N_rank0.pt`.
fn of_ranks(store: &dyn Store, model: &str) -> Vec<Source> {
    let step = model.strip_prefix("model_").and_then(|rest| rest.strip_suffix(".pt"));
    let Some(step) = step.filter(|step| step.bytes().all(|byte| byte.is_ascii_digit())) else { return Vec::new() };
    let file = |rank: usize| {
        let name = format!("optim_{step}_rank{rank}.pt");
        let blob = store.beside(&name).ok()??;
        Some(Source::File(name, Arc::from(blob)))
    };
    (0..MOST_RANKS).map_while(file).collect()
}

/// The states in a file of torch.
fn of_file(name: &str, blob: &Arc<dyn Blob>) -> Result<Vec<Optimizer>> {
    // An archive of NumPy's begins as torch's does.
    if Npz.holds(&Glance { name, blob, head: b"PK\x03\x04".to_vec(), beside: &|_| Ok(None) }) {
        return Ok(Vec::new());
    }
    let archive = Archive::open(name, blob)?;
    let arena = &archive.arena;
    let mut roots: Vec<Id> = Vec::new();
    let states = |id: &Id| arena.get(*id, "state").is_some() && arena.get(*id, "param_groups").is_some();
    for id in std::iter::once(archive.root).chain(state::optimizers(arena, archive.root)) {
        let several = arena.items(id).unwrap_or_default();
        roots.extend(std::iter::once(id).chain(several.iter().copied()).filter(states));
    }
    let files: Arc<[Shard]> = archive.files.clone().into();
    roots.into_iter().map(|root| of_dict(&archive, name, root, &files)).collect()
}

/// `{"state": {number: {name: value}}, "param_groups": [{..., "params": [number]}]}`, torch's own form.
fn of_dict(archive: &Archive, source: &str, root: Id, files: &Arc<[Shard]>) -> Result<Optimizer> {
    let arena = &archive.arena;
    let groups = arena.get(root, "param_groups").and_then(|id| arena.items(id)).unwrap_or_default();
    let mut of_group: BTreeMap<Parameter, usize> = BTreeMap::new();
    for (group, id) in groups.iter().enumerate() {
        for parameter in arena.get(*id, "params").and_then(|id| arena.items(id)).unwrap_or_default() {
            of_group.extend(parameter_of(arena, *parameter).map(|parameter| (parameter, group)));
        }
    }
    let mut found = Vec::new();
    for (key, value) in arena.get(root, "state").and_then(|id| arena.pairs(id)).unwrap_or_default() {
        let (Some(parameter), Some(pairs)) = (parameter_of(arena, *key), arena.pairs(*value)) else { continue };
        let mut state = ParameterState {
            group: of_group.get(&parameter).copied(),
            parameter,
            numbers: BTreeMap::new(),
            tensors: BTreeMap::new(),
        };
        for (name, id) in pairs {
            let Some(name) = arena.key(*name) else { continue };
            if let Some(number) = arena.float(*id) {
                state.numbers.insert(name, number);
            } else if let Node::Tensor(_) = arena.node(*id) {
                let label = format!("{name} of parameter {:?}", state.parameter);
                if let Ok(entry) = archive.entry(&label, *id)? {
                    state.put(name, entry, files)?;
                }
            }
        }
        found.push(state);
    }
    Ok(Optimizer {
        source: source.to_owned(),
        groups: groups.iter().map(|id| arena.settings(*id)).collect(),
        states: found,
        files: Arc::clone(files),
    })
}

fn parameter_of(arena: &Arena, id: Id) -> Option<Parameter> {
    match arena.node(id) {
        Node::Int(number) => usize::try_from(*number).ok().map(Parameter::Numbered),
        Node::Text(name) => Some(Parameter::Named(name.to_string())),
        _ => None,
    }
}

impl ParameterState {
    /// A tensor of one element that is no weight's is a number.
    fn put(&mut self, name: String, entry: Entry, files: &[Shard]) -> Result<()> {
        if entry.shape.is_empty() {
            let mut number = [0.0];
            let bytes = entry.read(files)?;
            scratchproof_kernel::decode(entry.dtype, &bytes, &mut number);
            self.numbers.insert(name, number[0]);
        } else {
            self.tensors.insert(name, StateTensor(entry));
        }
        Ok(())
    }
}

/// The states of named parameters out of a catalogue: its names are `NAME` of the parameter, then the state's.
fn of_named(
    source: String,
    catalogue: Catalogue,
    split: impl Fn(&str) -> Option<(String, String)>,
) -> Result<Optimizer> {
    let files: Arc<[Shard]> = catalogue.files.into();
    let mut states: BTreeMap<String, ParameterState> = BTreeMap::new();
    for entry in catalogue.entries {
        let Some((parameter, name)) = split(&entry.name) else { continue };
        let state = states.entry(parameter.clone()).or_insert_with(|| ParameterState {
            parameter: Parameter::Named(parameter),
            group: None,
            numbers: BTreeMap::new(),
            tensors: BTreeMap::new(),
        });
        state.put(name, entry, &files)?;
    }
    Ok(Optimizer { source, groups: Vec::new(), states: states.into_values().collect(), files })
}

/// `state.NAME.exp_avg` in a distributed checkpoint.
fn of_distributed(store: &dyn Store) -> Result<Optimizer> {
    let (catalogue, groups) = distributed::optimizer(store)?;
    let mut found = of_named(store.uri(), catalogue, |name| {
        // Composer has the class of the optimizer before them.
        let named = name.strip_prefix("state.").or_else(|| Some(name.split_once(".state.")?.1))?;
        let (parameter, state) = named.rsplit_once('.')?;
        Some((parameter.to_owned(), state.to_owned()))
    })?;
    found.grouped(groups);
    Ok(found)
}

fn of_deepspeed(store: &dyn Store) -> Result<Option<Optimizer>> {
    let Some((catalogue, groups)) = deepspeed::optimizer(store)? else { return Ok(None) };
    let split = |name: &str| name.rsplit_once('/').map(|(parameter, state)| (parameter.to_owned(), state.to_owned()));
    let mut found = of_named(store.uri(), catalogue, split)?;
    found.grouped(groups);
    Ok(Some(found))
}
