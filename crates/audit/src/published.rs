//! Series of a hub by pattern: looked up once, pinned to commits, and listed with the digests of their files before a byte of
//! weight is read.

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use scratchproof_case::{PublishedFile, PublishedStep, apart, hole, named, passed_over};
use scratchproof_error::{Error, Result};
use scratchproof_source::{Access, Hub, ListedFile, Named, Network, cached_revisions, is_address, locate};
use scratchproof_texts::{Text, text};

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
        let steps = kept(pattern);
        return if steps.is_empty() {
            Err(wrong(text!("error-audit/published/cannot-looked-up-offline")))
        } else {
            ordered(pattern, steps, 0)
        };
    }
    let before = network.fetched();
    let steps = if let Some(rest) = pattern.strip_prefix("hf://") {
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
    let fetched = network.fetched() - before;
    ordered(pattern, steps, fetched)
}

/// By ascending step.
fn ordered(pattern: &str, mut steps: Vec<PublishedStep>, fetched: u64) -> Result<Published> {
    let wrong = |why: Text| Error::usage(why).context(format!("{pattern:?}"));
    steps.sort_by(|a, b| (a.step, &a.name).cmp(&(b.step, &b.name)));
    if let Some(pair) = steps.windows(2).find(|pair| pair[0].step == pair[1].step) {
        return Err(wrong(text!(
            "error-audit/published/step-appears-twice",
            step = pair[0].step,
            name = &pair[0].name,
            name_2 = &pair[1].name
        )));
    }
    Ok(Published { steps, fetched })
}

/// The revisions of a pattern of branches that are in the hub's cache of this computer. What the hub lists of their files is not
/// there.
fn kept(pattern: &str) -> Vec<PublishedStep> {
    let Some((path, revision)) = pattern.strip_prefix("hf://").and_then(|rest| rest.split_once('@')) else {
        return Vec::new();
    };
    let of = |reference: Named| {
        let (step, tokens) = named(&reference.name, revision)?;
        let address = format!("hf://{path}@{}", reference.commit);
        Some(PublishedStep { step, tokens, name: reference.name, address, weights: Vec::new() })
    };
    cached_revisions(&format!("hf://{path}")).into_iter().filter_map(of).collect()
}

/// Refuses a pattern that takes some of these names and passes over others that differ in how their number is written.
fn whole<'a>(pattern: &str, part: &str, names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    match passed_over(names, part) {
        None => Ok(()),
        Some(name) => {
            Err(Error::usage(text!("error-audit/published/passed-over", name)).context(format!("{pattern:?}")))
        }
    }
}

/// A series in folders or files of a bucket or of a server that lists its folders.
fn elsewhere(pattern: &str, access: Access) -> Result<Vec<PublishedStep>> {
    let Some((parent, part, rest)) = apart(pattern) else { return Ok(Vec::new()) };
    let place = locate(&format!("{parent}/"), access)?;
    let files = place.listed()?;
    let names: Vec<String> = files.iter().map(|file| file.path.clone()).chain(place.folders()?).collect();
    whole(pattern, part, names.iter().map(String::as_str))?;
    let matched: Vec<(i64, Option<u64>, String)> =
        names.into_iter().filter_map(|name| named(&name, part).map(|(step, tokens)| (step, tokens, name))).collect();
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
    let references = hub.references(network, &format!("hf://{path}"))?;
    whole(pattern, pattern, references.iter().map(|reference| reference.name.as_str()))?;
    let mut steps: Vec<PublishedStep> = references
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
pub(super) fn weights(file: ListedFile, folder: &str) -> Option<PublishedFile> {
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

#[cfg(test)]
mod tests;
