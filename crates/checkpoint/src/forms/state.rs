//! Which of the values of a file are the model: a state dict alone, or one among what a trainer keeps.

use super::pickle::{Arena, Id, Node};
use crate::header::quoted;
use scratchproof_error::{Error, Result};
use scratchproof_texts::{Text, text};

/// Under what trainers put the model, from the surest. nanoGPT, torchtune, Megatron, DeepSpeed (`module`), Lightning and
/// timm (`state_dict`), and the names of common tutorials.
const MODEL: &[&str] = &[
    "model_state_dict",
    "state_dict",
    "model",
    "module",
    "model_state",
    "net",
    "network",
    "weights",
    "params",
    "generator",
    "app",
];

/// What is no model: states of optimizers, schedulers and scalers, random states, averages.
const OTHER: &[&str] = &["opt", "sched", "lr_", "scaler", "rng", "random", "amp", "ema", "callbacks", "loops", "loss"];

/// Where the settings of the model are.
const SETTINGS: &[&str] = &["model_args", "hyper_parameters", "model_config", "config", "hparams", "args", "cfg"];

/// Where the states of the optimizer are.
const OPTIMIZER: &[&str] = &[
    "optimizer",
    "optimizer_state_dict",
    "optimizer_states",
    "optimizer_state",
    "optimizers",
    "optim",
    "optim_state_dict",
    "opt_state",
    "last_optimizer_state",
];

/// Under what trainers put the whole of a training, the model among it: Composer, torchtitan and tutorials.
const TRAINING: &[&str] = &["state", "app", "checkpoint", "train_state"];

/// What is trained, where a teacher, a target or a copy of the same tensors stands beside it.
const TRAINED: &[&str] = &["student", "online", "state", "main"];

/// The model of a file.
pub(super) struct Found {
    /// Its tensors.
    pub(super) tensors: Vec<(String, Id)>,
    /// What was chosen and what was left out, in words.
    pub(super) notes: Vec<Text>,
    /// The value with the model's settings.
    pub(super) settings: Option<Id>,
    /// The entry that the model is, from the outside in; empty where it is the whole of the file.
    pub(super) path: Vec<String>,
}

/// Whether trainers put the model under this name.
pub(super) fn is_model(name: &str) -> bool {
    MODEL.contains(&name)
}

/// Whether trainers put the whole of a training under this name.
pub(super) fn is_training(name: &str) -> bool {
    TRAINING.contains(&name)
}

/// Whether what is under this name is an optimizer's or another part of a trainer.
pub(super) fn is_optimizer(name: &str) -> bool {
    OPTIMIZER.contains(&name) || name.starts_with("chained_") || is_other(name)
}

fn is_other(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    OTHER.iter().any(|start| name.starts_with(start))
}

/// The state dict that is the model, by rule: the entry of a known name, else everything that is no trainer's.
///
/// # Errors
/// If there are no tensors, or the value is larger than a checkpoint can be.
pub(super) fn model(arena: &Arena, root: Id) -> Result<Found> {
    let mut found = Found { tensors: Vec::new(), notes: Vec::new(), settings: None, path: Vec::new() };
    let mut at = root;
    let mut path: Vec<String> = Vec::new();
    // A trainer's dict may hold the model's dict, which holds its settings and its state dict.
    for _ in 0..5 {
        look_beside(arena, at, &mut found);
        let inside = |name: &&&str| {
            let value = arena.get(at, name)?;
            let tensors = arena.pairs(value).is_some().then(|| arena.tensors(value, &|_| true).ok())??;
            (!tensors.is_empty()).then_some(value)
        };
        let model = MODEL.iter().find_map(|name| inside(&name).map(|value| ((*name).to_owned(), value)));
        let Some((name, value)) = model.or_else(|| training(arena, at)) else {
            break;
        };
        found.notes.extend(left_out(arena, at, &path, &name));
        path.push(name);
        at = value;
    }
    if let Some((name, value)) = one_of_several(arena, at)? {
        found.notes.extend(left_out(arena, at, &path, &name));
        path.push(name);
        at = value;
    }
    // The parts of a model that is trained in several (pipelines of Megatron) are asked for by their own form.
    let trainers = arena
        .pairs(at)
        .is_some_and(|pairs| pairs.iter().any(|(key, _)| arena.text(*key).is_some_and(|key| OPTIMIZER.contains(&key))));
    let enter = |name: &str| !trainers || name.contains('.') || !is_other(name);
    found.tensors = arena.tensors(at, &enter)?;
    if trainers && path.is_empty() {
        let dropped = arena.pairs(at).unwrap_or_default().iter().filter_map(|(key, _)| arena.text(*key));
        let dropped: Vec<&str> = dropped.filter(|key| is_other(key)).collect();
        found.notes.push(text!("checkpoint/read/not-trainers", others = listed(&dropped)));
    }
    if found.tensors.is_empty()
        && let Some((name, value)) = average(arena, at)
    {
        // Where only an average was kept it is the model.
        found.notes.clear();
        found.notes.extend(left_out(arena, at, &path, &name));
        found.notes.push(text!("checkpoint/read/average", entry = quoted(&name)));
        found.tensors = arena.tensors(value, &|_| true)?;
        path.push(name);
    }
    found.path = path;
    if found.tensors.is_empty() {
        return Err(Error::input(if arena.has_arrays() {
            text!("error-checkpoint/state/arrays-numpy-s-pickle")
        } else {
            text!("error-checkpoint/state/no-tensor")
        }));
    }
    for (name, _) in &mut found.tensors {
        if name.is_empty() {
            "tensor".clone_into(name);
        }
    }
    Ok(found)
}

/// The entry that holds a whole training: itself a dict with the model under a known name.
fn training(arena: &Arena, at: Id) -> Option<(String, Id)> {
    TRAINING.iter().find_map(|name| {
        let value = arena.get(at, name)?;
        let model = MODEL.iter().find_map(|name| arena.get(value, name))?;
        let tensors = arena.pairs(model).is_some() && arena.tensors(model, &|_| true).is_ok_and(|all| !all.is_empty());
        tensors.then(|| ((*name).to_owned(), value))
    })
}

/// Names and shapes of tensors.
type Shapes = Vec<(String, Vec<usize>)>;

/// Entries that are state dicts of the same tensors are as many models: that which is trained, where a name says which it is.
///
/// # Errors
/// If there are several and no name says which is meant.
fn one_of_several(arena: &Arena, at: Id) -> Result<Option<(String, Id)>> {
    let mut models: Vec<(String, Id, Shapes)> = Vec::new();
    for (key, value) in arena.pairs(at).unwrap_or_default() {
        let Some(name) = arena.text(*key) else { continue };
        // A state dict is flat, with the path of each tensor in its name.
        let flat = |pairs: &[(Id, Id)]| {
            let dotted = pairs.iter().any(|(key, _)| arena.text(*key).is_some_and(|key| key.contains('.')));
            dotted && pairs.iter().all(|(key, _)| arena.text(*key).is_some())
        };
        if is_other(name) && !is_average(name) || !arena.pairs(*value).is_some_and(flat) {
            continue;
        }
        let shape =
            |(name, id): (String, Id)| (name, arena.view(id).map(|view| view.shape.clone()).unwrap_or_default());
        let mut tensors: Vec<_> = arena.tensors(*value, &|_| true)?.into_iter().map(shape).collect();
        tensors.sort();
        if !tensors.is_empty() {
            models.push((name.to_owned(), *value, tensors));
        }
    }
    let first = models.first().map(|(_, _, tensors)| tensors.clone()).unwrap_or_default();
    if models.len() < 2 || models.iter().any(|(_, _, tensors)| *tensors != first) {
        return Ok(None);
    }
    let trained: Vec<_> = models.iter().filter(|(name, ..)| !is_average(name)).collect();
    let named = |wanted: &&str| trained.iter().find(|(name, ..)| name == wanted).copied();
    let meant = match trained[..] {
        [only] => Some(only),
        _ => TRAINED.iter().find_map(named),
    };
    if let Some((name, value, _)) = meant {
        return Ok(Some((name.clone(), *value)));
    }
    let names: Vec<&str> = models.iter().map(|(name, ..)| name.as_str()).collect();
    Err(Error::input(text!("error-checkpoint/state/several-models", count = models.len(), list = listed(&names))))
}

fn is_average(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("ema") || name.ends_with("ema") || name.contains("average") || name.starts_with("swa")
}

/// The average among a trainer's entries (`ema`, `ema_state_dict`).
fn average(arena: &Arena, at: Id) -> Option<(String, Id)> {
    let pairs = arena.pairs(at)?.iter().filter_map(|(key, value)| Some((arena.text(*key)?, *value)));
    let mut averages = pairs.filter(|(name, value)| {
        let tensors = || arena.tensors(*value, &|_| true).is_ok_and(|tensors| !tensors.is_empty());
        is_average(name) && tensors()
    });
    averages.next().map(|(name, value)| (name.to_owned(), value))
}

/// The values with states of optimizers, wherever the model is; Composer has them by the class of each.
pub(super) fn optimizers(arena: &Arena, root: Id) -> Vec<Id> {
    let inner = TRAINING.iter().filter_map(|name| arena.get(root, name));
    let mut found = Vec::new();
    for id in
        std::iter::once(root).chain(inner).flat_map(|at| OPTIMIZER.iter().filter_map(move |name| arena.get(at, name)))
    {
        found.push(id);
        let by_class = arena.get(id, "param_groups").is_none();
        found.extend(arena.pairs(id).filter(|_| by_class).unwrap_or_default().iter().map(|(_, value)| *value));
    }
    found
}

/// The settings among the entries of a dict.
fn look_beside(arena: &Arena, at: Id, found: &mut Found) {
    let settings = SETTINGS.iter().filter_map(|name| arena.get(at, name));
    found.settings = found.settings.or_else(|| settings.into_iter().find(|id| arena.pairs(*id).is_some()));
}

/// What else a dict holds, at a path, than the entry that was taken.
fn left_out(arena: &Arena, at: Id, path: &[String], taken: &str) -> Option<Text> {
    let pairs = arena.pairs(at)?;
    let whole = |name: &str| path.iter().map(String::as_str).chain([name]).collect::<Vec<&str>>().join(".");
    let others = pairs.iter().filter(|(_, value)| !matches!(arena.node(*value), Node::None));
    let others: Vec<String> =
        others.filter_map(|(key, _)| arena.text(*key)).filter(|key| *key != taken).map(whole).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    Some(text!("checkpoint/read/entry", entry = quoted(&whole(taken)), others = listed(&others)))
}

/// Some names of many.
pub(super) fn listed(names: &[&str]) -> Vec<String> {
    const SHOWN: usize = 8;
    let mut shown: Vec<String> = names.iter().take(SHOWN).map(|name| quoted(name)).collect();
    if names.len() > SHOWN {
        shown.push(format!("{} more", names.len() - SHOWN));
    }
    shown
}
