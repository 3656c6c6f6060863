//! torch.distributed.checkpoint: `.metadata` is a pickle that says which piece of which tensor is in which file
//! (`torch/distributed/checkpoint/metadata.py`); every piece in a `.distcp` file is a small torch archive of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::parts::{Block, Files, assembled, slice};
use super::pickle::{self, Arena, Id, Kind, Node, Settings};
use super::state::{is_model, is_optimizer, is_training, listed};
use super::tape::Tape;
use super::torch::Archive;
use super::untaken::{is_state, of_entry};
use super::{Catalogue, Place};
use crate::header::quoted;
use crate::{Dtype, Shard, Skipped};
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::{Blob, Store};
use scratchproof_texts::{Text, text};

/// The largest description that is read.
const LARGEST: u64 = 256 << 20;

/// Pieces, at most.
const PIECES: usize = 1 << 20;

/// Settings of an optimizer's groups that say how it goes from one step to the next.
const GROUPED: &[&str] = &[
    "lr",
    "betas",
    "eps",
    "weight_decay",
    "momentum",
    "dampening",
    "nesterov",
    "amsgrad",
    "maximize",
    "params",
    "decoupled_weight_decay",
];

/// Values of settings that are read, and bytes of one.
const VALUES: usize = 1 << 14;
const LONGEST_VALUE: u64 = 8 << 20;

/// A piece of a tensor.
struct Piece {
    at: Vec<usize>,
    shape: Vec<usize>,
    file: String,
    start: u64,
    length: u64,
}

/// A tensor of the description.
struct Described {
    dtype: Result<Dtype, String>,
    shape: Vec<usize>,
    pieces: Vec<Piece>,
}

/// What the description says.
struct Description {
    tensors: BTreeMap<String, Described>,
    /// What is no tensor: file, first byte and length of each.
    values: BTreeMap<String, (String, u64, u64)>,
    /// The keys from the outside in that lead to each, where the planner kept them.
    paths: HashMap<String, Vec<String>>,
    /// Whether every name begins with the part of the checkpoint that it is in.
    nested: bool,
}

/// The model in a folder with `.metadata`.
///
/// # Errors
/// If the description is damaged, a file is missing, or the pieces do not make the tensors.
pub(super) fn catalogue(store: &dyn Store) -> Result<Catalogue> {
    describe(store)?.catalogue(store)
}

/// The states of the optimizer in such a folder, by names without the part of the checkpoint that they are in, and the
/// settings of its groups.
///
/// # Errors
/// As [`catalogue`].
pub(super) fn optimizer(store: &dyn Store) -> Result<(Catalogue, Vec<Value>)> {
    let description = describe(store)?;
    let states = description.tensors.keys().filter_map(|name| {
        let (part, rest) = description.part(name);
        part.filter(|part| is_optimizer(part)).map(|_| (name.clone(), rest))
    });
    let chosen = states.collect();
    let mut catalogue = Catalogue::default();
    description.collect(store, chosen, &mut catalogue)?;
    let groups = description.groups(store)?;
    Ok((catalogue, groups))
}

fn describe(store: &dyn Store) -> Result<Description> {
    let blob: Arc<dyn Blob> = Arc::from(store.open(".metadata")?);
    if blob.len() > LARGEST {
        return Err(Error::input(text!("error-checkpoint/distributed/metadata-bytes-more-read", blob = blob.len())));
    }
    let mut arena = Arena::default();
    let tape = &mut Tape::new("the pickle", &*blob, 0, blob.len());
    let root = pickle::run(tape, &mut arena, Settings::default()).context(|| ".metadata".to_owned())?;
    Description::of(&arena, root).context(|| ".metadata".to_owned())
}

impl Description {
    fn of(arena: &Arena, root: Id) -> Result<Self> {
        let part = |name: &str| arena.get(root, name).and_then(|id| arena.pairs(id));
        let (Some(tensors), Some(places)) = (part("state_dict_metadata"), part("storage_data")) else {
            return Err(Error::input(text!("error-checkpoint/distributed/does-not-describe-distributed")));
        };
        let mut stored: HashMap<(String, Vec<usize>), (String, u64, u64)> = HashMap::new();
        for (index, info) in places {
            let name = arena.get(*index, "fqn").and_then(|id| arena.text(id));
            let at = arena.get(*index, "offset").and_then(|id| arena.sizes(id)).unwrap_or_default();
            let file = arena.get(*info, "relative_path").and_then(|id| arena.text(id));
            let whole = |name: &str| u64::try_from(arena.get(*info, name).and_then(|id| arena.whole(id))?).ok();
            if let (Some(name), Some(file), Some(start), Some(length)) = (name, file, whole("offset"), whole("length"))
            {
                stored.insert((name.to_owned(), at), (file.to_owned(), start, length));
            }
        }
        let mut found = BTreeMap::new();
        let mut values = BTreeMap::new();
        let mut count = 0;
        for (key, value) in tensors {
            let Some(name) = arena.text(*key) else { continue };
            let Some(shape) = arena.get(*value, "size").and_then(|id| arena.sizes(id)) else {
                let place = stored.get(&(name.to_owned(), Vec::new())).cloned();
                values.extend(place.map(|place| (name.to_owned(), place)));
                continue;
            };
            let chunks = arena.get(*value, "chunks").and_then(|id| arena.items(id)).unwrap_or_default();
            count += chunks.len();
            if count > PIECES {
                return Err(Error::input(text!("error-checkpoint/distributed/more-pieces-more-read", pieces = PIECES)));
            }
            let shown = quoted(name);
            let piece = |chunk: &Id| {
                let sizes = |name: &str| arena.get(*chunk, name).and_then(|id| arena.sizes(id));
                let (Some(at), Some(shape)) = (sizes("offsets"), sizes("sizes")) else {
                    return Err(Error::input(text!(
                        "error-checkpoint/distributed/piece-tensor-no-place",
                        shown = &shown
                    )));
                };
                // A tensor in one piece may be written without its place.
                let place =
                    stored.get(&(name.to_owned(), at.clone())).or_else(|| stored.get(&(name.to_owned(), Vec::new())));
                let (file, start, length) = place.cloned().ok_or_else(|| {
                    Error::input(text!(
                        "error-checkpoint/distributed/piece-tensor-no-file",
                        shown = &shown,
                        at = format!("{at:?}")
                    ))
                })?;
                Ok(Piece { at, shape, file, start, length })
            };
            let pieces = chunks.iter().map(piece).collect::<Result<Vec<_>>>()?;
            let dtype = arena.get(*value, "properties").map_or(Err(String::new()), |id| dtype(arena, id));
            found.insert(name.to_owned(), Described { dtype, shape, pieces });
        }
        let planned = part("planner_data").unwrap_or_default();
        let path = |id: Id| arena.items(id)?.iter().map(|id| arena.key(*id)).collect::<Option<Vec<String>>>();
        let paths = planned.iter().filter_map(|(key, value)| Some((arena.text(*key)?.to_owned(), path(*value)?)));
        let begins = |name: &String| {
            name.split_once('.').is_some_and(|(part, _)| is_model(part) || is_optimizer(part) || is_training(part))
        };
        let nested = found.keys().all(begins);
        Ok(Self { tensors: found, values, paths: paths.collect(), nested })
    }

    /// The name of a tensor in its part of the checkpoint, and the part's.
    fn part(&self, name: &str) -> (Option<String>, String) {
        let split = |name: &str| name.split_once('.').map(|(part, rest)| (part.to_owned(), rest.to_owned()));
        let path = self.paths.get(name).filter(|path| path.len() > 1);
        let (mut part, mut rest) = match path {
            Some(path) => (Some(path[0].clone()), path[1..].join(".")),
            None if self.paths.contains_key(name) => match split(name) {
                // A flat dict has the optimizer's states beside the weights, by their names.
                Some((part, rest)) if is_optimizer(&part) && rest.starts_with("state.") => (Some(part), rest),
                _ => (None, name.to_owned()),
            },
            // Without the planner's paths a name alone says where it belongs, if all do.
            None => match split(name) {
                Some((part, rest)) if self.nested || is_optimizer(&part) => (Some(part), rest),
                _ => (None, name.to_owned()),
            },
        };
        // A state of an application or of a training holds the model and the optimizer.
        if part.as_deref().is_some_and(is_training)
            && let Some((inner, behind)) = split(&rest)
            && (part.as_deref() == Some("app") || is_model(&inner) || is_optimizer(&inner))
        {
            (part, rest) = (Some(inner), behind);
        }
        (part, rest)
    }

    /// The settings of the optimizer's groups: `param_groups.0.lr` as torch numbers them, or `param_groups.NAME.lr` where
    /// they are flattened over the parameters. Every value is a small torch archive of its own.
    fn groups(&self, store: &dyn Store) -> Result<Vec<Value>> {
        let mut groups: BTreeMap<(usize, String), Map<String, Value>> = BTreeMap::new();
        let mut files: BTreeMap<&str, Shard> = BTreeMap::new();
        let mut count = 0;
        for (key, (file, start, length)) in &self.values {
            let (part, rest) = self.part(key);
            let Some((group, setting)) = rest.strip_prefix("param_groups.").and_then(|rest| rest.rsplit_once('.'))
            else {
                continue;
            };
            if !part.is_some_and(|part| is_optimizer(&part)) || !GROUPED.contains(&setting) {
                continue;
            }
            count += 1;
            if count > VALUES || *length > LONGEST_VALUE {
                return Err(Error::input(text!("error-checkpoint/distributed/settings-optimizer-s-groups")));
            }
            let place = || text!("error-checkpoint/distributed/in", key = quoted(key), file = quoted(file));
            let shard = if let Some(shard) = files.get(file.as_str()) {
                shard.clone()
            } else {
                Shard { name: file.clone(), blob: Arc::from(store.open(file).context(place)?) }
            };
            let own = slice(&shard, *start, *length).context(place)?;
            files.insert(file, shard);
            let archive = Archive::open(file, &own).context(place)?;
            let value = archive.arena.settings(archive.root);
            let number = group.parse();
            let name = if number.is_ok() { String::new() } else { group.to_owned() };
            groups.entry((number.unwrap_or(usize::MAX), name)).or_default().insert(setting.to_owned(), value);
        }
        let named = |((_, name), mut group): ((usize, String), Map<String, Value>)| {
            if !name.is_empty() {
                group.insert("params".to_owned(), Value::from(vec![name]));
            }
            Value::Object(group)
        };
        Ok(groups.into_iter().map(named).collect())
    }

    fn catalogue(self, store: &dyn Store) -> Result<Catalogue> {
        let model = self.tensors.keys().find_map(|name| self.part(name).0.filter(|part| is_model(part)));
        let mut chosen: Vec<(String, String)> = Vec::new();
        let mut left: Vec<String> = Vec::new();
        let mut beside: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for name in self.tensors.keys() {
            let (part, rest) = self.part(name);
            let taken = match (&model, &part) {
                (Some(model), part) => part.as_ref() == Some(model),
                (None, Some(part)) => !is_optimizer(part),
                (None, None) => true,
            };
            if taken {
                chosen.push((name.clone(), if model.is_some() { rest } else { name.clone() }));
            } else if let Some(part) = part {
                if !left.contains(&part) {
                    left.push(part.clone());
                }
                if !(is_optimizer(&part) && is_state(&rest)) {
                    beside.entry(part).or_default().push((name.clone(), rest));
                }
            }
        }
        if chosen.is_empty() {
            return Err(Error::input(text!("error-checkpoint/distributed/distributed-checkpoint-no-tensor")));
        }
        let mut catalogue = Catalogue { form: Text::new("checkpoint/form/distributed"), ..Catalogue::default() };
        let left: Vec<&str> = left.iter().map(String::as_str).collect();
        match model {
            Some(model) => {
                catalogue.notes.push(text!("checkpoint/read/entry", entry = quoted(&model), others = listed(&left)));
            }
            None if !left.is_empty() => {
                catalogue.notes.push(text!("checkpoint/read/not-trainers", others = listed(&left)));
            }
            None => {}
        }
        self.collect(store, chosen, &mut catalogue)?;
        for (part, chosen) in beside {
            let mut own = Catalogue::default();
            self.collect(store, chosen, &mut own)?;
            catalogue.others.push(of_entry(part, own));
        }
        Ok(catalogue)
    }

    /// Puts tensors into a catalogue: each by its key in the description, under a name.
    fn collect(&self, store: &dyn Store, chosen: Vec<(String, String)>, catalogue: &mut Catalogue) -> Result<()> {
        let mut files = Pieces { store, files: Files::default(), numbers: HashMap::new() };
        let mut found: Vec<(String, Dtype, Vec<usize>, Vec<Block>)> = Vec::new();
        for (key, name) in chosen {
            let described = &self.tensors[&key];
            match &described.dtype {
                Err(why) => {
                    catalogue.unread += described.pieces.iter().map(|piece| piece.length).sum::<u64>();
                    catalogue.skipped.push(Skipped { tensor: name, why: why.clone() });
                }
                Ok(dtype) => {
                    let blocks = described.pieces.iter().map(|piece| files.block(&key, piece));
                    let blocks = blocks.collect::<Result<Vec<_>>>()?;
                    found.push((name, *dtype, described.shape.clone(), blocks));
                }
            }
        }
        let shared = files.files.shared();
        for (name, dtype, shape, blocks) in found {
            catalogue.entries.push(assembled(&name, dtype, &shape, blocks, &shared)?);
        }
        catalogue.files = files.files.shards;
        Ok(())
    }
}

/// The number format of a tensor's properties: a tuple that begins with it, or its field.
fn dtype(arena: &Arena, id: Id) -> Result<Dtype, String> {
    let first = match arena.node(id) {
        Node::Record(Some(state)) => arena.items(*state).and_then(|items| items.first().copied()),
        _ => None,
    };
    match first.or_else(|| arena.get(id, "dtype")).map(|id| arena.node(id)) {
        Some(Node::Global(pickle::Global::Format(Kind::Numbers(dtype)))) => Ok(*dtype),
        Some(Node::Global(pickle::Global::Format(Kind::Other(name, _)))) => {
            Err(format!("the number format {name} is not read"))
        }
        _ => Err("its number format is not said".to_owned()),
    }
}

/// The files with pieces, opened once each.
struct Pieces<'a> {
    store: &'a dyn Store,
    files: Files,
    numbers: HashMap<String, usize>,
}

impl Pieces<'_> {
    fn block(&mut self, name: &str, piece: &Piece) -> Result<Block> {
        let place = || text!("error-checkpoint/distributed/tensor", name = quoted(name), file = quoted(&piece.file));
        let number = if let Some(number) = self.numbers.get(&piece.file) {
            *number
        } else {
            let blob: Arc<dyn Blob> = Arc::from(self.store.open(&piece.file).context(place)?);
            self.files.shards.push(Shard { name: piece.file.clone(), blob });
            self.numbers.insert(piece.file.clone(), self.files.shards.len() - 1);
            self.files.shards.len() - 1
        };
        let own = slice(&self.files.shards[number], piece.start, piece.length).context(place)?;
        let archive = Archive::open(&piece.file, &own).context(place)?;
        let entry = archive.entry(name, archive.root).context(place)?;
        let mut entry = entry.map_err(|why| Error::input(why).context(place()))?;
        if archive.files.len() > 1 {
            return Err(
                Error::input(text!("error-checkpoint/distributed/compressed-inside-piece-not")).context(place())
            );
        }
        match &mut entry.place {
            Place::Run { file, offset } | Place::Strided { file, offset, .. } => {
                *file = number;
                *offset += piece.start;
            }
            Place::Made(_) => {}
        }
        // A scalar's piece may have an axis more than the scalar.
        if entry.shape != piece.shape && entry.shape.iter().product::<usize>() == piece.shape.iter().product::<usize>()
        {
            entry.shape.clone_from(&piece.shape);
        }
        Ok(Block { at: piece.at.clone(), entry })
    }
}
