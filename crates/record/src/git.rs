//! A git repository as a source of facts: read only, whoever owns it, wherever it lies.

mod bundle;
mod changes;
mod clocks;
mod freeze;
mod guard;
mod layout;
mod loose;
mod mentioned;
mod mentions;
mod midx;
mod objects;
mod open;
mod packs;
mod pointer;
mod pointers;
mod reading;
mod reftable;
mod rewritten;
mod sha1;
mod signatures;
mod sound;
mod unpacked;
mod watch;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use git2::Oid;

use crate::listed::Shelf;
use scratchproof_error::Error;
use scratchproof_texts::{Text, text};

pub use clocks::{Oddity, OddityKind};
pub use freeze::Freeze;
pub use layout::{SettingsChange, SettingsRow};
pub use mentions::{Mention, MentionKind, Place, Sought};
pub use objects::{Object, ObjectKind, objects};
pub use pointers::Pointer;
pub use rewritten::Trace;
pub use signatures::{Keys, Signature, SignatureKind, Validity};
use watch::Pulse;

/// Shorter names of commits say too little.
const SHORTEST: usize = 7;
/// First lines of messages are cut here.
const SUMMARY: usize = 200;
/// What to look for in a repository.
#[derive(Clone, Debug)]
pub struct Options {
    /// Files that hold the architecture; found by their content if left empty.
    pub settings: Vec<String>,
    /// Commits that run logs name: looked up even where no branch reaches them.
    pub wanted: Vec<String>,
    /// Other people's models to look for.
    pub sought: Sought,
    /// An allowed-signers file for SSH signatures.
    pub allowed_signers: Option<PathBuf>,
    /// Files of `OpenPGP` public keys.
    pub keys: Vec<PathBuf>,
    /// Threads to read with; the result is the same for any number.
    pub threads: usize,
    /// So many commits are read, the newest first.
    pub limit: usize,
    /// One object may take so long to read. libgit2 never returns from a loose object whose compressed bytes are cut off.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            settings: Vec::new(),
            wanted: Vec::new(),
            sought: Sought::default(),
            allowed_signers: None,
            keys: Vec::new(),
            threads: rayon::current_num_threads().min(8),
            limit: 200_000,
            patience: Duration::from_secs(30),
        }
    }
}

/// A time in a commit, by the clock of whoever made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The instant.
    pub at: DateTime<Utc>,
    /// Minutes east of UTC, as written.
    pub offset: i32,
}

/// One commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Full id in hexadecimal.
    pub id: String,
    /// Ids of its parents.
    pub parents: Vec<String>,
    /// When its change was made.
    pub author: Stamp,
    /// When it was put into the history; a rebase renews it.
    pub committer: Stamp,
    /// First line of its message, without control characters, at most 200 characters.
    pub summary: String,
    /// Whether a branch, tag or HEAD leads to it.
    pub reachable: bool,
    /// The kind of its signature, if it has one.
    pub signature: Option<SignatureKind>,
    /// Its files.
    pub(crate) tree: Option<Oid>,
}

/// What a repository says.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    /// The repository as it was named by the caller.
    pub source: String,
    /// The commit that HEAD is at.
    pub head: Option<String>,
    /// Every commit, the oldest committer time first.
    pub commits: Vec<Commit>,
    /// Ids of the line of first parents from HEAD, the oldest first.
    pub line: Vec<String>,
    /// How the structural settings changed along that line, the oldest first.
    pub settings: Vec<SettingsRow>,
    /// Whether older history was left out: a shallow clone, or a bundle that builds on commits it does not hold.
    pub shallow: bool,
    /// Traces that the history was rewritten or cut.
    pub traces: Vec<Trace>,
    /// Mentions of other people's models.
    pub mentions: Vec<Mention>,
    /// Mentions beyond those that are kept, by kind.
    pub more_mentions: Vec<(MentionKind, usize)>,
    /// Files that Git LFS holds, by their digests, and the first commit that names each.
    pub pointers: Vec<Pointer>,
    /// Every signature with what checking it said.
    pub signatures: Vec<Signature>,
    /// The files of keys that signatures were checked with, by path.
    pub key_files: Shelf,
    /// Names of tags, with the full ids of the commits they are at.
    pub tags: Vec<(String, String)>,
    /// sha256 over the names and targets of all references, in hexadecimal; with it every commit is fixed.
    pub digest: String,
    /// Things worth knowing, in words.
    pub notes: Vec<String>,
}

/// The first nine digits of an id, which are enough for a reader.
pub fn short(id: &str) -> &str {
    id.get(..9).unwrap_or(id)
}

/// What is known of a commit id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// It is there.
    Found(&'a Commit),
    /// It is not.
    Missing,
    /// More than one begins so.
    Ambiguous,
    /// That is no commit id of seven digits or more.
    NotAnId,
}

impl Repository {
    /// Looks a commit up by its full or shortened id.
    pub fn commit(&self, id: &str) -> Lookup<'_> {
        if !is_id(id) {
            return Lookup::NotAnId;
        }
        let id = id.to_ascii_lowercase();
        let mut found = self.commits.iter().filter(|commit| commit.id.starts_with(&id));
        match (found.next(), found.next()) {
            (None, _) => Lookup::Missing,
            (Some(commit), None) => Lookup::Found(commit),
            (Some(_), Some(_)) => Lookup::Ambiguous,
        }
    }

    /// The earliest commit that a branch leads to, by committer time.
    pub fn oldest(&self) -> Option<&Commit> {
        self.commits.iter().find(|commit| commit.reachable)
    }

    /// The line of first parents from HEAD, or from the newest commit where HEAD is at none.
    fn first_parents(&self) -> Vec<String> {
        let by_id: std::collections::BTreeMap<&str, &Commit> =
            self.commits.iter().map(|c| (c.id.as_str(), c)).collect();
        let newest = || self.commits.iter().rfind(|commit| commit.reachable).map(|commit| commit.id.as_str());
        let mut next = self.head.as_deref().or_else(newest);
        let (mut line, mut seen) = (Vec::new(), BTreeSet::new());
        while let Some(commit) = next.and_then(|id| by_id.get(id)) {
            // Grafts can make a circle.
            if !seen.insert(commit.id.as_str()) {
                break;
            }
            line.push(commit.id.clone());
            next = commit.parents.first().map(String::as_str);
        }
        line.reverse();
        line
    }
}

/// Text of the other side, fit for a terminal.
fn clean(text: &str) -> String {
    text.chars().take(SUMMARY).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

fn is_id(text: &str) -> bool {
    (SHORTEST..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn missing(kind: &str, id: impl Display, error: &git2::Error) -> Error {
    Error::input(text!("error-record/git/missing-or-damaged", kind, id = id.to_string(), error = error.message()))
}

fn broken(what: Text, error: &git2::Error) -> Error {
    Error::input(text!("error-record/git/cannot-read", what, error = error.message()))
}

#[doc(hidden)]
pub mod testing;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
