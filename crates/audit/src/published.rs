//! Series of a hub by pattern: looked up once, pinned to commits, and listed with the digests of their files before a byte of
//! weight is read.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use scratchproof_case::{
    Case, CheckpointEntry, Choice, Location, PublishedFile, PublishedStep, Sampling, apart, hole, named,
};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::{Error, Result};
use scratchproof_source::{Access, Hub, ListedFile, Network, is_address, locate};

use super::asked::Asked;

/// What was chosen of a case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Checkpoints that were left out.
    pub left: usize,
    /// Bytes of weights that are to be fetched over a network, where what keeps them lists their lengths; about, where rows are
    /// drawn.
    pub bytes: u64,
    /// Whether it is what the folder remembered.
    pub remembered: bool,
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
    let wrong = |why: &str| Error::usage(format!("{pattern:?}: {why}"));
    let scheme = pattern.split_once("://").map_or("", |(scheme, _)| scheme);
    if !is_address(pattern) || hole(pattern).is_none_or(|hole| pattern.matches(hole).count() != 1) {
        return Err(wrong(
            "a series of a hub is hf://org/name@step{step} or hf://org/name/folder/step{step}, of a bucket or a server \
             s3://bucket/run/step{step}, gs://, az:// or https:// likewise",
        ));
    }
    if access.offline {
        return Err(wrong("it cannot be looked up with --offline; list the checkpoints"));
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
            "https" | "http" => {
                "nothing that the server lists there matches it; a server that lists no folders is read with --steps, or \
                 list the checkpoints"
            }
            _ => "nothing there matches it",
        }));
    }
    steps.sort_by(|a, b| (a.step, &a.name).cmp(&(b.step, &b.name)));
    if let Some(pair) = steps.windows(2).find(|pair| pair[0].step == pair[1].step) {
        return Err(wrong(&format!("step {} appears twice: {} and {}", pair[0].step, pair[0].name, pair[1].name)));
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
    let pool = pool.map_err(|error| Error::io("starting threads", error))?;
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

/// Looks up the checkpoints of a case whose series is a pattern of a network, thins them, and settles which rows are read.
///
/// # Errors
/// As [`published`]; a usage error if no checkpoint is left, or what is left is more than may be fetched.
pub fn expand(case: &mut Case, access: Access, asked: &Asked) -> Result<Chosen> {
    if let Some(pattern) = case.subject.pattern.clone() {
        let server = pattern.starts_with("http") && !asked.steps.is_empty() && pattern.contains("{step}");
        if server && !access.offline {
            // Steps that are named need not be listed.
            case.subject.checkpoints = asked.steps.iter().map(|step| at_step(&pattern, *step)).collect();
            case.subject.checkpoints.sort_by_key(|entry| entry.step);
            case.subject.checkpoints.dedup_by_key(|entry| entry.step);
        } else {
            let found = published(&pattern, access)?;
            case.subject.checkpoints = found.steps.iter().map(entry).collect();
            case.subject.published = found.steps;
        }
    }
    let all = case.subject.checkpoints.len();
    if !asked.steps.is_empty() {
        case.subject.checkpoints.retain(|entry| entry.step.is_none_or(|step| asked.steps.contains(&step)));
    } else if let Some(every) = asked.every {
        every_so_many(&mut case.subject.checkpoints, every);
    }
    if case.subject.checkpoints.is_empty() {
        return Err(Error::usage("no checkpoint of the series is left: --steps names none of them"));
    }
    let (bytes, sampling) = budget(case, access, asked)?;
    let left = all - case.subject.checkpoints.len();
    case.choice = Choice { steps: asked.steps.clone(), every: asked.every, most: asked.most, sampling, left };
    Ok(Chosen { left, bytes, remembered: false })
}

/// Keeps every so many of a series, the first and the last among them.
fn every_so_many<T>(series: &mut Vec<T>, every: usize) {
    let last = series.len().saturating_sub(1);
    let mut at = 0..;
    series.retain(|_| at.next().is_some_and(|at| every < 2 || at % every == 0 || at == last));
}

/// Shares of the rows that a limit may come to, falling. With the last a tensor of 4,096 rows has 64 to 96 of them, what the
/// test of one tensor looks at in a whole audit.
const SHARES: [f64; 12] = [0.75, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.075, 0.05, 0.03, 0.02];

/// Bytes that are fetched of every file to know what is in it, about.
const HEADER: u64 = 40 << 10;

/// Models of fewer bytes are not thinned by their rows.
const WORTH: u64 = 1 << 20;

/// What is to be fetched of one model.
#[derive(Clone, Copy, Default)]
struct Length {
    bytes: u64,
    files: u64,
}

/// The bytes of the case that are to be fetched, and which rows are read. With a limit it is the rows that are fewer first, and
/// checkpoints only where the least rows of all of them are too many, evenly over the series. Headers that are
/// fetched to know it count.
fn budget(case: &mut Case, access: Access, asked: &Asked) -> Result<(u64, Option<Sampling>)> {
    let known: BTreeMap<&str, Length> = case
        .subject
        .published
        .iter()
        .map(|step| {
            let bytes = step.weights.iter().map(|file| file.bytes).sum();
            (step.address.as_str(), Length { bytes, files: step.weights.len() as u64 })
        })
        .filter(|(_, length)| length.bytes > 0 || asked.most.is_none())
        .collect();
    let spent = Cell::new(0);
    let open = |place: &str| {
        let before = Network::shared().fetched();
        let model = Checkpoint::open_named(place, access);
        spent.set(spent.get() + Network::shared().fetched() - before);
        model
    };
    let length = |address: &str| -> Result<Length> {
        match known.get(address) {
            Some(length) => Ok(*length),
            // Asked for only where somebody wants to know.
            None if asked.most.is_none() || !is_address(address) => Ok(Length::default()),
            None => {
                let files = locate(address, access)?.listed().unwrap_or_default();
                let weights: Vec<PublishedFile> = files.into_iter().filter_map(|file| weights(file, "")).collect();
                let bytes = weights.iter().map(|file| file.bytes).sum();
                if bytes > 0 {
                    return Ok(Length { bytes, files: weights.len() as u64 });
                }
                // A server that lists no lengths says them when the files are opened.
                let model = open(address)?;
                let bytes = model.shards.iter().map(|shard| shard.blob.len()).sum();
                Ok(Length { bytes, files: model.shards.len() as u64 })
            }
        }
    };
    let references = case.parents.iter().chain(&case.controls).filter(|reference| !reference.fingerprint);
    let beside: Vec<Length> =
        references.map(|reference| length(&reference.location.written)).collect::<Result<_>>()?;
    let entries = &case.subject.checkpoints;
    let series: Vec<Length> = entries.iter().map(|entry| length(&entry.location.written)).collect::<Result<_>>()?;
    // Of what is drawn the share of one model stands for all: their tensors are alike.
    let mut opened: Option<Checkpoint> = None;
    let mut sample = |sampling: Option<Sampling>| -> Result<Option<(u64, u64)>> {
        let Some(sampling) = sampling else { return Ok(None) };
        let remote = |place: &&str| is_address(place);
        let places = entries.iter().rev().map(|entry| entry.location.written.as_str());
        let others = case.parents.iter().chain(&case.controls).filter(|reference| !reference.fingerprint);
        let Some(place) = places.chain(others.map(|other| other.location.written.as_str())).find(remote) else {
            return Ok(None);
        };
        if opened.is_none() {
            opened = Some(open(place)?);
        }
        let model = opened.as_ref().map(|model| model.shared().sampled(sampling)).transpose()?;
        Ok(model.and_then(|model| model.sample.as_ref().map(|sample| sample.bytes)))
    };
    let sum = |series: &[usize], lengths: &[Length], part: Option<(u64, u64)>| -> u64 {
        let one = |length: &Length| match part {
            None => length.bytes,
            Some((drawn, of)) => {
                let drawn = u128::from(length.bytes) * u128::from(drawn) / u128::from(of.max(1));
                (u64::try_from(drawn).unwrap_or(u64::MAX) + HEADER * length.files).min(length.bytes)
            }
        };
        series.iter().map(|at| one(&lengths[*at])).chain(beside.iter().map(one)).sum()
    };
    let all: Vec<usize> = (0..series.len()).collect();
    let mut sampling = asked.sampling();
    let mut part = if sampling.is_some() && sum(&all, &series, None) > 0 { sample(sampling)? } else { None };
    let Some(most) = asked.most else { return Ok((sum(&all, &series, part), sampling)) };
    let fits = |bytes: u64| bytes.saturating_add(spent.get()) <= most;
    if fits(sum(&all, &series, part)) {
        return Ok((sum(&all, &series, part), sampling));
    }
    let largest = series.iter().chain(&beside).map(|length| length.bytes).max().unwrap_or(0);
    if asked.share.is_none() && largest >= WORTH {
        let seed = asked.seed();
        let (mut least, mut last) = (None, None);
        for share in SHARES {
            let tried = Some(Sampling { share, seed });
            let drawn = sample(tried)?;
            // Where tensors are too small for rows to be drawn, nothing is saved.
            if drawn.is_none() || drawn == last || drawn.is_some_and(|(drawn, of)| drawn >= of) {
                continue;
            }
            if fits(sum(&all, &series, drawn)) {
                return Ok((sum(&all, &series, drawn), tried));
            }
            last = drawn;
            least = Some((tried, drawn));
        }
        if let Some((tried, drawn)) = least {
            (sampling, part) = (tried, drawn);
        }
    }
    for every in 2..=series.len().max(2) {
        let mut chosen = all.clone();
        every_so_many(&mut chosen, every);
        let bytes = sum(&chosen, &series, part);
        if fits(bytes) {
            let stays: BTreeSet<usize> = chosen.into_iter().collect();
            let mut at = 0..;
            case.subject.checkpoints.retain(|_| at.next().is_some_and(|at| stays.contains(&at)));
            return Ok((bytes, sampling));
        }
    }
    let mut ends = all;
    every_so_many(&mut ends, usize::MAX);
    let bytes = sum(&ends, &series, part);
    Err(Error::usage(match sampling {
        None => format!(
            "--max-fetch allows {most} bytes, but the first and the last checkpoint with the models they are held against have \
             {bytes}: allow that much, or keep some of them on this computer"
        ),
        Some(Sampling { share, .. }) => format!(
            "--max-fetch allows {most} bytes, but a share of {share} of the rows of the first and the last checkpoint with the \
             models they are held against has {bytes}: allow that much, or keep some of them on this computer"
        ),
    }))
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
