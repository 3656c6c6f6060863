//! What a file holds beside the model: the tensors of its other entries, and those of a file that is none of the model's.
//! States of optimizers and of random numbers are told by how they are kept, and not by what they are called: a name alone
//! would hide anything.

use std::collections::HashSet;

use super::pickle::{Arena, Id, Kind, Node};
use super::state::is_optimizer;
use super::{Catalogue, Entry};
use crate::index::is_trainers;
use crate::{Dtype, Shard};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// Tensors that were found and are not the model's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Others {
    /// The entry that they are in; empty for a file of its own.
    pub(crate) entry: String,
    /// Those that can be read, and the files they are in.
    pub(crate) entries: Vec<Entry>,
    pub(crate) files: Vec<Shard>,
    /// Bytes of those that cannot.
    pub(crate) lost: u64,
}

/// What optimizers call what they keep of a parameter: torch's own, apex, Megatron, DeepSpeed, bitsandbytes, Adafactor, Lion,
/// Muon, Shampoo and Lamb.
const STATES: &[&str] = &[
    "exp_avg",
    "exp_avg_sq",
    "exp_avg_sq_row",
    "exp_avg_sq_col",
    "max_exp_avg_sq",
    "exp_inf",
    "momentum_buffer",
    "second_momentum_buffer",
    "momentum",
    "square_avg",
    "grad_avg",
    "acc_delta",
    "sum",
    "prev",
    "step",
    "steps",
    "step_size",
    "state1",
    "state2",
    "qmap1",
    "qmap2",
    "absmax1",
    "absmax2",
    "max1",
    "max2",
    "preconditioner",
    "preconditioners",
];

/// Values of a file that are looked at, at most, and how deeply they are nested: as for the model itself.
const VALUES: usize = 1 << 22;
const DEPTH: usize = 128;
/// An optimizer has so few names for what it keeps, whatever the model.
const NAMES: usize = 32;
/// The state of a generator of random numbers has at most so many bytes.
const RANDOM: u64 = 1 << 16;

/// Whether the last part of a path is what an optimizer calls what it keeps.
pub(crate) fn is_state(path: &str) -> bool {
    path.rsplit(['.', '/']).next().is_some_and(|last| STATES.contains(&last))
}

fn is_random(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.contains("rng") || path.contains("random")
}

/// All tensors below a value but those that were taken, by their paths: what is kept as optimizers keep their states, and
/// states of random numbers, are left out. A value is met once, however often it is named.
///
/// # Errors
/// If the value is nested more deeply, or is larger, than a checkpoint can be.
pub(super) fn beside(arena: &Arena, root: Id, taken: &[Id], file: &str) -> Result<Vec<(String, Id)>> {
    let mut met: HashSet<Id> = taken.iter().copied().collect();
    // Two names of the same numbers are one tensor.
    let place = |id: Id| arena.view(id).map(|view| (view.storage, view.offset, view.shape.clone()));
    let mut places: HashSet<_> = taken.iter().filter_map(|id| place(*id)).collect();
    let mut found = Vec::new();
    let mut todo: Vec<(String, Id, usize, bool)> = vec![(String::new(), root, 0, is_trainers(file))];
    let mut steps = 0;
    while let Some((path, id, depth, trainers)) = todo.pop() {
        steps += 1;
        if depth > DEPTH || steps > VALUES || path.len() > 4096 {
            return Err(Error::input(text!("error-checkpoint/tree/pickle-nested-more-deeply")));
        }
        if !met.insert(id) {
            continue;
        }
        let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match arena.node(id) {
            Node::Tensor(view) => {
                let bytes = view.shape.iter().fold(view.kind.width(), |all, size| all.saturating_mul(*size)) as u64;
                let byte = matches!(view.kind, Kind::Numbers(Dtype::U8));
                let random = byte && view.shape.len() == 1 && bytes <= RANDOM && is_random(&format!("{file}.{path}"));
                let state = trainers && is_state(&path);
                // Single numbers are a step, a scale or a loss.
                let number = view.shape.iter().all(|size| *size == 1);
                if !number && !random && !state && place(id).is_none_or(|place| places.insert(place)) {
                    found.push((path, id));
                }
            }
            Node::List(items) | Node::Tuple(items) => {
                let below = items.iter().enumerate().rev();
                todo.extend(below.map(|(at, item)| (join(&at.to_string()), *item, depth + 1, trainers)));
            }
            Node::Record(Some(state)) => todo.push((path, *state, depth + 1, trainers)),
            Node::Dict(pairs) => {
                let states = arena.get(id, "param_groups").and_then(|_| arena.get(id, "state"));
                let states = states.filter(|states| are_states(arena, *states));
                for (key, value) in pairs.iter().rev().filter(|(_, value)| Some(*value) != states) {
                    let Some(key) = arena.key(*key) else { continue };
                    let trainers = trainers || is_optimizer(&key);
                    todo.push((join(&key), *value, depth + 1, trainers));
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// What an entry of a distributed checkpoint holds, out of its catalogue.
pub(super) fn of_entry(entry: String, catalogue: Catalogue) -> Others {
    let Catalogue { entries, files, unread, .. } = catalogue;
    Others { entry, entries, files, lost: unread }
}

/// Whether a value is `{parameter: {name: state}}` with a few names for all of them.
fn are_states(arena: &Arena, states: Id) -> bool {
    let mut names: HashSet<String> = HashSet::new();
    let pairs = arena.pairs(states).unwrap_or_default();
    for (_, state) in pairs {
        let Some(state) = arena.pairs(*state) else { return false };
        names.extend(state.iter().filter_map(|(key, _)| arena.key(*key)));
        if names.len() > NAMES {
            return false;
        }
    }
    // A parameter's name has dots, and what is kept of it has none.
    !names.iter().any(|name| name.contains('.'))
}
