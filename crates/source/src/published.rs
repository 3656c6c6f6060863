//! What a hub lists of a repository without a byte of its large files: branches and tags with their commits, files with
//! length, digest and the commit that each is from.

use rayon::prelude::*;
use serde::Deserialize;

use super::hub::{Hub, is_commit, kept, split};
use super::listed::ListedFile;
use super::network::{Ask, Network, refusal};
use super::plain;
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// A longer answer is not read.
const LARGEST: usize = 64 << 20;

/// Lists that are asked for at a time.
const AT_ONCE: usize = 8;

/// Pages of a list of files that are asked for.
const PAGES: usize = 1000;

/// Revisions in the cache of this computer that are looked at.
const MOST_KEPT: usize = 100_000;

/// A branch or a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// The commit that it is at.
    pub commit: String,
}

#[derive(Deserialize)]
struct References {
    #[serde(default)]
    branches: Vec<Reference>,
    #[serde(default)]
    tags: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    #[serde(rename = "targetCommit")]
    commit: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Large>,
    #[serde(rename = "lastCommit")]
    last: Option<Last>,
}

#[derive(Deserialize)]
struct Large {
    oid: String,
    #[serde(default)]
    size: u64,
}

#[derive(Deserialize)]
struct Last {
    date: Option<String>,
}

impl Hub {
    /// Branches and tags of `hf://org/name`, in the hub's order; a branch goes before a tag of one name.
    ///
    /// # Errors
    /// A usage error if the address is none; otherwise if the hub cannot be reached or has no such model for this token.
    pub fn references(&self, network: &Network, address: &str) -> Result<Vec<Named>> {
        let (model, _) = split(address)?;
        let (org, name) = model.split_once('/').unwrap_or_default();
        let shown = format!("hf://{model}");
        let url = self.url(&["api", "models", org, name, "refs"])?;
        let answer = self.one(network, &url, &shown, LARGEST)?;
        let all: References = serde_json::from_slice(&answer).map_err(|error| strange(&shown, &error))?;
        let mut named: Vec<Named> = Vec::new();
        for reference in all.branches.into_iter().chain(all.tags) {
            if named.iter().all(|known| known.name != reference.name) {
                named.push(Named { name: reference.name, commit: reference.commit });
            }
        }
        Ok(named)
    }

    /// The files of several addresses, in their order: as [`Hub::files`], a few at a time.
    ///
    /// # Errors
    /// As [`Hub::references`].
    pub fn all_files(&self, network: &Network, addresses: &[String]) -> Result<Vec<Vec<ListedFile>>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(AT_ONCE).build();
        let pool = pool.map_err(|error| Error::io(text!("error-source/published/starting-threads"), error))?;
        pool.install(|| addresses.par_iter().map(|address| self.files(network, address)).collect())
    }

    /// The files of `hf://org/name@revision`, those in folders too.
    ///
    /// # Errors
    /// As [`Hub::references`].
    pub fn files(&self, network: &Network, address: &str) -> Result<Vec<ListedFile>> {
        let (model, revision) = split(address)?;
        let (org, name) = model.split_once('/').unwrap_or_default();
        let shown = format!("hf://{model}@{revision}");
        let mut url = self.url(&["api", "models", org, name, "tree", revision])?;
        url.set_query(Some("recursive=true&expand=true"));
        let mut files = Vec::new();
        for _ in 0..PAGES {
            let ask = Ask::whole(&url, self.credential(), &shown);
            let (answer, next) =
                network.page(&ask, LARGEST)?.map_err(|status| refusal(&shown, status, Some(self.hint())))?;
            let page: Vec<Entry> = serde_json::from_slice(&answer).map_err(|error| strange(&shown, &error))?;
            files.extend(page.into_iter().filter(|entry| entry.kind == "file").map(listed));
            match next {
                Some(next) => url = next,
                None => return Ok(files),
            }
        }
        Err(Error::input(text!("error-source/published/hub-s-list-files", shown)))
    }
}

/// The revisions of `hf://org/name` whose snapshots are in that cache, sorted by name. Branches with a slash in their names are
/// folders there and are not looked for.
#[must_use]
pub fn cached_revisions(address: &str) -> Vec<Named> {
    let known = || {
        let (model, _) = split(address).ok()?;
        let kept = kept(model)?;
        let mut found = Vec::new();
        for entry in std::fs::read_dir(kept.join("refs")).ok()?.flatten().take(MOST_KEPT) {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Ok(commit) = plain::text(&entry.path(), 64) else { continue };
            let commit = commit.trim().to_owned();
            if is_commit(&commit) && kept.join("snapshots").join(&commit).is_dir() {
                found.push(Named { name, commit });
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Some(found)
    };
    known().unwrap_or_default()
}

fn listed(entry: Entry) -> ListedFile {
    ListedFile {
        path: entry.path,
        bytes: entry.lfs.as_ref().map_or(entry.size, |large| large.size.max(entry.size)),
        sha256: entry.lfs.map(|large| large.oid.trim_start_matches("sha256:").to_ascii_lowercase()),
        mark: None,
        at: entry.last.and_then(|last| last.date),
    }
}

fn strange(shown: &str, error: &serde_json::Error) -> Error {
    Error::input(text!("error-source/hub/hub-s-answer-not", shown, error = error.to_string()))
}
