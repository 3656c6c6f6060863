//! Series of a hub by pattern: looked up once, pinned to commits, and listed with the digests of their files before a byte of
//! weight is read.

use chrono::{DateTime, Utc};

use scratchproof_case::{Case, CheckpointEntry, Location, PublishedFile, PublishedStep, named};
use scratchproof_error::{Error, Result};
use scratchproof_source::{Access, Hub, ListedFile, Network};

/// Which steps of a long series are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thin {
    /// These; empty for all.
    pub steps: Vec<i64>,
    /// Every so many of those that are there, the first and the last among them.
    pub every: Option<usize>,
}

/// A series as a hub lists it.
#[derive(Clone, Debug)]
pub struct Published {
    /// By ascending step.
    pub steps: Vec<PublishedStep>,
    /// Bytes of the answers that were received for it.
    pub fetched: u64,
}

/// Endings of files that hold weights.
const WEIGHTS: [&str; 8] = [".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".npz", ".onnx"];

/// Beginnings of such files that hold something else.
const OTHERS: [&str; 6] = ["optimizer", "scheduler", "rng_state", "training_args", "optim_", "random_states"];

/// Lists the series that a pattern names: `hf://org/name@step{step}` (branches and tags) or
/// `hf://org/name/folder/step{step}[@revision]` (folders).
///
/// # Errors
/// A usage error if it is no such pattern or nothing matches it; otherwise if the hub cannot be reached.
pub fn published(pattern: &str, access: Access) -> Result<Published> {
    listed(pattern, access, &Network::shared(), &Hub::from_environment()?)
}

fn listed(pattern: &str, access: Access, network: &Network, hub: &Hub) -> Result<Published> {
    let wrong = |why: &str| Error::usage(format!("{pattern:?}: {why}"));
    let Some(rest) = pattern.strip_prefix("hf://").filter(|rest| rest.matches("{step}").count() == 1) else {
        return Err(wrong("a series of a hub is hf://org/name@step{step} or hf://org/name/folder/step{step}"));
    };
    if access.offline {
        return Err(wrong("it cannot be looked up with --offline; list the checkpoints"));
    }
    let before = network.fetched();
    let (path, revision) = rest.split_once('@').map_or((rest, None), |(path, revision)| (path, Some(revision)));
    let mut steps = match revision.filter(|revision| revision.contains("{step}")) {
        Some(revision) => branches(network, hub, path, revision)?,
        None => folders(network, hub, path, revision)?,
    };
    if steps.is_empty() {
        return Err(wrong("nothing there matches it"));
    }
    steps.sort_by(|a, b| (a.step, &a.name).cmp(&(b.step, &b.name)));
    if let Some(pair) = steps.windows(2).find(|pair| pair[0].step == pair[1].step) {
        return Err(wrong(&format!("step {} appears twice: {} and {}", pair[0].step, pair[0].name, pair[1].name)));
    }
    Ok(Published { steps, fetched: network.fetched() - before })
}

fn branches(network: &Network, hub: &Hub, path: &str, pattern: &str) -> Result<Vec<PublishedStep>> {
    let mut steps: Vec<PublishedStep> = hub
        .references(network, &format!("hf://{path}"))?
        .into_iter()
        .filter_map(|reference| {
            let (step, tokens) = named(&reference.name, pattern)?;
            let address = format!("hf://{path}@{}", reference.commit);
            Some(PublishedStep { step, tokens, name: reference.name, address, weights: Vec::new() })
        })
        .collect();
    let addresses: Vec<String> = steps.iter().map(|step| step.address.clone()).collect();
    for (step, files) in steps.iter_mut().zip(hub.all_files(network, &addresses)?) {
        step.weights = files.into_iter().filter_map(|file| weights(file, "")).collect();
    }
    Ok(steps)
}

fn folders(network: &Network, hub: &Hub, path: &str, revision: Option<&str>) -> Result<Vec<PublishedStep>> {
    let mut parts = path.splitn(3, '/');
    let (org, name, inside) =
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let revision = revision.unwrap_or("main");
    // The folder's names are looked for in one list, at one commit.
    let commit = hub.commit(network, &format!("hf://{org}/{name}@{revision}"))?;
    let mut steps: Vec<PublishedStep> = Vec::new();
    let depth = inside.split('/').count();
    for file in hub.files(network, &format!("hf://{org}/{name}@{commit}"))? {
        let parts: Vec<&str> = file.path.split('/').collect();
        if parts.len() != depth + 1 {
            continue;
        }
        let folder = parts[..depth].join("/");
        let Some((step, tokens)) = named(&folder, inside) else { continue };
        let at = steps.iter().position(|known| known.name == folder).unwrap_or_else(|| {
            let address = format!("hf://{org}/{name}/{folder}@{commit}");
            steps.push(PublishedStep { step, tokens, name: folder.clone(), address, weights: Vec::new() });
            steps.len() - 1
        });
        steps[at].weights.extend(weights(file, &format!("{folder}/")));
    }
    Ok(steps)
}

/// The file as one of weights, if it is one of this folder.
#[allow(clippy::needless_pass_by_value, reason = "its digest is taken")]
fn weights(file: ListedFile, folder: &str) -> Option<PublishedFile> {
    let name = file.path.strip_prefix(folder)?;
    let held = !name.contains('/') && WEIGHTS.iter().any(|ending| name.ends_with(ending));
    let other = OTHERS.iter().any(|beginning| name.starts_with(beginning));
    (held && !other).then(|| PublishedFile {
        name: name.to_owned(),
        bytes: file.bytes,
        sha256: file.sha256.clone(),
        at: file.at.as_deref().and_then(|at| DateTime::parse_from_rfc3339(at).ok()).map(|at| at.with_timezone(&Utc)),
    })
}

/// Looks up the checkpoints of a case whose series is a pattern of a hub, and thins them; how many were left out.
///
/// # Errors
/// As [`published`]; a usage error if no checkpoint is left.
pub fn expand(case: &mut Case, access: Access, thin: &Thin) -> Result<usize> {
    if let Some(pattern) = case.subject.pattern.clone() {
        let found = published(&pattern, access)?;
        case.subject.checkpoints = found.steps.iter().map(entry).collect();
        case.subject.published = found.steps;
    }
    let all = case.subject.checkpoints.len();
    let last = all.saturating_sub(1);
    if !thin.steps.is_empty() {
        case.subject.checkpoints.retain(|entry| entry.step.is_none_or(|step| thin.steps.contains(&step)));
    } else if let Some(every) = thin.every.filter(|every| *every > 1) {
        let mut at = 0..;
        case.subject.checkpoints.retain(|_| at.next().is_some_and(|at| at % every == 0 || at == last));
    }
    if case.subject.checkpoints.is_empty() {
        return Err(Error::usage("no checkpoint of the series is left: --steps names none of them"));
    }
    Ok(all - case.subject.checkpoints.len())
}

fn entry(step: &PublishedStep) -> CheckpointEntry {
    let location = Location { written: step.address.clone(), path: step.address.clone().into() };
    CheckpointEntry { step: Some(step.step), location, tokens: step.tokens, saved: None, averaged: None }
}

#[cfg(test)]
mod tests;
