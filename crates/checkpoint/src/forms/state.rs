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
const OPTIMIZER: &[&str] =
    &["optimizer", "optimizer_state_dict", "optimizer_states", "optimizer_state", "optim", "optim_state_dict"];

/// The model of a file.
pub(super) struct Found {
    /// Its tensors.
    pub(super) tensors: Vec<(String, Id)>,
    /// What was chosen and what was left out, in words.
    pub(super) notes: Vec<Text>,
    /// The value with the model's settings.
    pub(super) settings: Option<Id>,
}

/// Whether trainers put the model under this name.
pub(super) fn is_model(name: &str) -> bool {
    MODEL.contains(&name)
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
    let mut found = Found { tensors: Vec::new(), notes: Vec::new(), settings: None };
    let mut at = root;
    let mut path = Vec::new();
    // A trainer's dict may hold the model's dict, which holds its settings and its state dict.
    for _ in 0..4 {
        look_beside(arena, at, &mut found);
        let inside = |name: &&&str| {
            let value = arena.get(at, name)?;
            let tensors = arena.pairs(value).is_some().then(|| arena.tensors(value, &|_| true).ok())??;
            (!tensors.is_empty()).then_some(value)
        };
        let Some((name, value)) = MODEL.iter().find_map(|name| inside(&name).map(|value| (*name, value))) else {
            break;
        };
        found.notes.extend(left_out(arena, at, name));
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
        found.notes.extend(left_out(arena, at, &name));
        found.notes.push(text!("checkpoint/read/average", entry = quoted(&name)));
        found.tensors = arena.tensors(value, &|_| true)?;
    }
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

/// The average among a trainer's entries (`ema`, `ema_state_dict`).
fn average(arena: &Arena, at: Id) -> Option<(String, Id)> {
    let pairs = arena.pairs(at)?.iter().filter_map(|(key, value)| Some((arena.text(*key)?, *value)));
    let mut averages = pairs.filter(|(name, value)| {
        let named = name.to_ascii_lowercase();
        let tensors = || arena.tensors(*value, &|_| true).is_ok_and(|tensors| !tensors.is_empty());
        (named.starts_with("ema") || named.ends_with("ema")) && tensors()
    });
    averages.next().map(|(name, value)| (name.to_owned(), value))
}

/// The values with states of optimizers, wherever the model is.
pub(super) fn optimizers(arena: &Arena, root: Id) -> Vec<Id> {
    let found = OPTIMIZER.iter().filter_map(|name| arena.get(root, name));
    found.collect()
}

/// The settings among the entries of a dict.
fn look_beside(arena: &Arena, at: Id, found: &mut Found) {
    let settings = SETTINGS.iter().filter_map(|name| arena.get(at, name));
    found.settings = found.settings.or_else(|| settings.into_iter().find(|id| arena.pairs(*id).is_some()));
}

/// What else a dict holds than the entry that was taken.
fn left_out(arena: &Arena, at: Id, taken: &str) -> Option<Text> {
    let pairs = arena.pairs(at)?;
    let others = pairs.iter().filter(|(_, value)| !matches!(arena.node(*value), Node::None));
    let others: Vec<&str> = others.filter_map(|(key, _)| arena.text(*key)).filter(|key| *key != taken).collect();
    Some(text!("checkpoint/read/entry", entry = quoted(taken), others = listed(&others)))
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
