//! Series of a hub by pattern: looked up once, pinned to commits, and listed with the digests of their files before a byte of
//! weight is read.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use scratchproof_case::{Case, CheckpointEntry, Location, PublishedFile, PublishedStep, apart, hole, named};
use scratchproof_error::{Error, Result};
use scratchproof_source::{Access, Hub, ListedFile, Network, is_address, locate};
use scratchproof_texts::{Text, text};

/// Which steps of a long series are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thin {
    /// These; empty for all.
    pub steps: Vec<i64>,
    /// Every so many of those that are there, the first and the last among them.
    pub every: Option<usize>,
    /// Bytes that may be fetched for the whole case.
    pub most: Option<u64>,
}

/// What was chosen of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Checkpoints that were left out.
    pub left: usize,
    /// Bytes of weights that are at addresses of a network, where what keeps them lists their lengths.
    pub bytes: u64,
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
const WEIGHTS: [&str; 10] =
    [".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".npz", ".onnx", ".jit", ".distcp"];

/// Places that are listed at a time.
const AT_ONCE: usize = 8;

/// Beginnings of such files that hold something else.
const OTHERS: [&str; 6] = ["optimizer", "scheduler", "rng_state", "training_args", "optim_", "random_states"];

/// Lists the series that a pattern names: `hf://org/name@step{step}` (branches and tags),
/// `hf://org/name/folder/step{step}[@revision]` (folders), or folders and files of a bucket or of a server that lists them
/// (`s3://bucket/run/step{step}`). Where there is no `{step}` the count behind `{tokens}` is the step.
///
/// # Errors
/// A usage error if it is no such pattern or nothing matches it; otherwise if the hub cannot be reached.
pub fn published(pattern: &str, access: Access) -> Result<Published> {
    listed(pattern, access, &Network::shared(), &Hub::from_environment()?)
}

fn listed(pattern: &str, access: Access, network: &Network, hub: &Hub) -> Result<Published> {
    let wrong = |why: Text| Error::usage(why).context(format!("{pattern:?}"));
    let scheme = pattern.split_once("://").map_or("", |(scheme, _)| scheme);
    if !is_address(pattern) || hole(pattern).is_none_or(|hole| pattern.matches(hole).count() != 1) {
        return Err(wrong(text!("error-audit/published/series")));
    }
    if access.offline {
        return Err(wrong(text!("error-audit/published/cannot-looked-up-offline")));
    }
    let before = network.fetched();
    let mut steps = if let Some(rest) = pattern.strip_prefix("hf://") {
        let (path, revision) = rest.split_once('@').map_or((rest, None), |(path, revision)| (path, Some(revision)));
        match revision.filter(|revision| hole(revision).is_some()) {
            Some(revision) => branches(network, hub, path, revision)?,
            None => folders(network, hub, path, revision)?,
        }
    } else {
        elsewhere(pattern, access)?
    };
    if steps.is_empty() {
        return Err(wrong(match scheme {
            "https" | "http" => text!("error-audit/published/nothing-listed"),
            _ => text!("error-audit/published/nothing"),
        }));
    }
    steps.sort_by(|a, b| (a.step, &a.name).cmp(&(b.step, &b.name)));
    if let Some(pair) = steps.windows(2).find(|pair| pair[0].step == pair[1].step) {
        return Err(wrong(text!(
            "error-audit/published/step-appears-twice",
            step = pair[0].step,
            name = &pair[0].name,
            name_2 = &pair[1].name
        )));
    }
    Ok(Published { steps, fetched: network.fetched() - before })
}

/// A series in folders or files of a bucket or of a server that lists its folders.
fn elsewhere(pattern: &str, access: Access) -> Result<Vec<PublishedStep>> {
    let Some((parent, part, rest)) = apart(pattern) else { return Ok(Vec::new()) };
    let place = locate(&format!("{parent}/"), access)?;
    let files = place.listed()?;
    let names = files.iter().map(|file| file.path.clone()).chain(place.folders()?);
    let matched: Vec<(i64, Option<u64>, String)> =
        names.filter_map(|name| named(&name, part).map(|(step, tokens)| (step, tokens, name))).collect();
    let of = |(step, tokens, name): (i64, Option<u64>, String)| {
        let inside = rest.map_or(String::new(), |rest| format!("/{rest}"));
        let address = format!("{parent}/{name}{inside}");
        let own: Vec<ListedFile> = match files.iter().find(|file| file.path == name && rest.is_none()) {
            Some(file) => vec![file.clone()],
            // What cannot be listed is seen when it is opened.
            None => locate(&address, access).and_then(|place| place.listed()).unwrap_or_default(),
        };
        let weights = own.into_iter().filter_map(|file| weights(file, "")).collect();
        PublishedStep { step, tokens, name, address, weights }
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(AT_ONCE).build();
    let pool = pool.map_err(|error| Error::io(text!("error-audit/published/starting-threads"), error))?;
    Ok(pool.install(|| matched.into_par_iter().map(of).collect()))
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
    let inside = inside.trim_matches('/');
    let depth = inside.split('/').count();
    for file in hub.files(network, &format!("hf://{org}/{name}@{commit}"))? {
        let parts: Vec<&str> = file.path.split('/').collect();
        // A step may be a file of its own, whose folder holds the others.
        if parts.len() != depth + 1 && parts.len() != depth {
            continue;
        }
        let folder = parts[..depth].join("/");
        let Some((step, tokens)) = named(&folder, inside) else { continue };
        if parts.len() == depth && !WEIGHTS.iter().any(|ending| folder.ends_with(ending)) {
            continue;
        }
        let at = steps.iter().position(|known| known.name == folder).unwrap_or_else(|| {
            let address = format!("hf://{org}/{name}/{folder}@{commit}");
            steps.push(PublishedStep { step, tokens, name: folder.clone(), address, weights: Vec::new() });
            steps.len() - 1
        });
        let prefix = match file.path.rsplit_once('/') {
            Some((before, _)) if file.path == folder => format!("{before}/"),
            None if file.path == folder => String::new(),
            _ => format!("{folder}/"),
        };
        steps[at].weights.extend(weights(file, &prefix));
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
        mark: file.mark.clone(),
        at: file.at.as_deref().and_then(|at| DateTime::parse_from_rfc3339(at).ok()).map(|at| at.with_timezone(&Utc)),
    })
}

/// Looks up the checkpoints of a case whose series is a pattern of a network, and thins them.
///
/// # Errors
/// As [`published`]; a usage error if no checkpoint is left, or two of them are more than may be fetched.
pub fn expand(case: &mut Case, access: Access, thin: &Thin) -> Result<Chosen> {
    if let Some(pattern) = case.subject.pattern.clone() {
        let server = pattern.starts_with("http") && !thin.steps.is_empty() && pattern.contains("{step}");
        if server && !access.offline {
            // Steps that are named need not be listed.
            case.subject.checkpoints = thin.steps.iter().map(|step| at_step(&pattern, *step)).collect();
            case.subject.checkpoints.sort_by_key(|entry| entry.step);
            case.subject.checkpoints.dedup_by_key(|entry| entry.step);
        } else {
            let found = published(&pattern, access)?;
            case.subject.checkpoints = found.steps.iter().map(entry).collect();
            case.subject.published = found.steps;
        }
    }
    let all = case.subject.checkpoints.len();
    if !thin.steps.is_empty() {
        case.subject.checkpoints.retain(|entry| entry.step.is_none_or(|step| thin.steps.contains(&step)));
    } else if let Some(every) = thin.every {
        every_so_many(&mut case.subject.checkpoints, every);
    }
    if case.subject.checkpoints.is_empty() {
        return Err(Error::usage(text!("error-audit/published/no-checkpoint-series-left")));
    }
    let bytes = budget(case, access, thin.most)?;
    Ok(Chosen { left: all - case.subject.checkpoints.len(), bytes })
}

/// Keeps every so many of a series, the first and the last among them.
fn every_so_many<T>(series: &mut Vec<T>, every: usize) {
    let last = series.len().saturating_sub(1);
    let mut at = 0..;
    series.retain(|_| at.next().is_some_and(|at| every < 2 || at % every == 0 || at == last));
}

/// The bytes of the case that are to be fetched; with a limit as many checkpoints as it allows, evenly over the series.
fn budget(case: &mut Case, access: Access, most: Option<u64>) -> Result<u64> {
    let known: BTreeMap<&str, u64> = case
        .subject
        .published
        .iter()
        .map(|step| (step.address.as_str(), step.weights.iter().map(|file| file.bytes).sum()))
        .collect();
    let length = |address: &str| -> Result<u64> {
        match known.get(address) {
            Some(bytes) => Ok(*bytes),
            // Asked for only where somebody wants to know.
            None if most.is_none() || !is_address(address) => Ok(0),
            None => {
                let files = locate(address, access)?.listed()?;
                Ok(files.into_iter().filter_map(|file| weights(file, "")).map(|file| file.bytes).sum())
            }
        }
    };
    let references = case.parents.iter().chain(&case.controls).filter(|reference| !reference.fingerprint);
    let beside = references.map(|reference| length(&reference.location.written)).sum::<Result<u64>>()?;
    let mut series: Vec<(usize, u64)> = Vec::new();
    for (at, entry) in case.subject.checkpoints.iter().enumerate() {
        series.push((at, length(&entry.location.written)?));
    }
    let sum = |series: &[(usize, u64)]| beside + series.iter().map(|(_, bytes)| bytes).sum::<u64>();
    let Some(most) = most else { return Ok(sum(&series)) };
    for every in 1..=series.len().max(1) {
        let mut chosen = series.clone();
        every_so_many(&mut chosen, every);
        if sum(&chosen) <= most {
            let stays: BTreeSet<usize> = chosen.iter().map(|(at, _)| *at).collect();
            let mut at = 0..;
            case.subject.checkpoints.retain(|_| at.next().is_some_and(|at| stays.contains(&at)));
            return Ok(sum(&chosen));
        }
    }
    every_so_many(&mut series, usize::MAX);
    Err(Error::usage(text!("error-audit/published/max-fetch-allows-bytes", most, series = sum(&series))))
}

/// The checkpoint of a step, where the pattern says it all.
fn at_step(pattern: &str, step: i64) -> CheckpointEntry {
    let written = pattern.replacen("{step}", &step.to_string(), 1);
    let location = Location { path: written.clone().into(), written };
    CheckpointEntry { step: Some(step), location, tokens: None, saved: None, averaged: None }
}

fn entry(step: &PublishedStep) -> CheckpointEntry {
    let location = Location { written: step.address.clone(), path: step.address.clone().into() };
    CheckpointEntry { step: Some(step.step), location, tokens: step.tokens, saved: None, averaged: None }
}

#[cfg(test)]
mod tests;
