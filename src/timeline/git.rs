//! A git repository as a source of facts: read only, whoever owns it, wherever it lies.

mod freeze;
mod layout;
mod objects;
mod packs;
mod watch;

use std::collections::{BTreeSet, BinaryHeap};
use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use chrono::{DateTime, Utc};
use git2::{ErrorCode, Oid, RepositoryOpenFlags};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

pub use freeze::Freeze;
pub use layout::SettingsRow;
pub use objects::{Object, ObjectKind, objects};
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
    /// So many commits are read, the newest first.
    pub limit: usize,
    /// One object may take so long to read. libgit2 never returns from a loose object whose compressed bytes are cut off.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { settings: Vec::new(), wanted: Vec::new(), limit: 200_000, patience: Duration::from_secs(30) }
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
    /// Whether the older history was left out when it was cloned.
    pub shallow: bool,
    /// sha256 over the names and targets of all references, in hexadecimal; with it every commit is fixed.
    pub digest: String,
    /// Things worth knowing, in words.
    pub notes: Vec<String>,
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
    /// Reads a bare repository, a working tree or a `.git` folder. Folders above are not searched.
    ///
    /// # Errors
    /// If the path is none of these (input), or an object that history needs is missing or damaged.
    pub fn read(path: &Path, options: &Options) -> Result<Self> {
        let (here, wish) = (path.to_owned(), options.clone());
        let place = path.display().to_string();
        watch::run(options.patience, move |pulse| Self::read_here(&here, &wish, pulse))
            .map_err(|error| error.context(place))
    }

    fn read_here(path: &Path, options: &Options, pulse: &Pulse) -> Result<Self> {
        let repository = open(path)?;
        let source = path.display().to_string();
        let mut facts = Self { source, shallow: repository.is_shallow(), ..Self::default() };
        packs::check(repository.commondir())?;
        facts.oddities(&repository);
        let roots = facts.roots(&repository, pulse).map_err(|error| broken("the references", &error))?;
        walk(&repository, &mut facts, roots, options.limit, pulse)?;
        for id in &options.wanted {
            pulse.beat("commit", id);
            facts.fetch(&repository, id);
        }
        facts.commits.sort_by(|a, b| (a.committer.at, a.author.at, &a.id).cmp(&(b.committer.at, b.author.at, &b.id)));
        facts.line = facts.first_parents();
        layout::read(&repository, &mut facts, &options.settings, pulse)?;
        Ok(facts)
    }

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

    /// Notes what can make history look other than it is.
    fn oddities(&mut self, repository: &git2::Repository) {
        let folder = repository.path();
        if self.shallow {
            self.notes.push("the clone is shallow: older commits are not in it".into());
        }
        for (file, what) in [
            ("info/grafts", "grafts change who is whose parent"),
            ("objects/info/alternates", "objects are borrowed from another repository"),
        ] {
            if fs::metadata(folder.join(file)).is_ok_and(|about| about.len() > 0) {
                self.notes.push(format!("{what} ({file})"));
            }
        }
    }

    /// What every reference and HEAD lead to.
    fn roots(&mut self, repository: &git2::Repository, pulse: &Pulse) -> Result<Vec<Oid>, git2::Error> {
        let (mut roots, mut lines) = (Vec::new(), BTreeSet::new());
        let mut replaced = 0;
        for reference in repository.references()? {
            let reference = reference?;
            let name = String::from_utf8_lossy(reference.name_bytes()).into_owned();
            replaced += usize::from(name.starts_with("refs/replace/"));
            let Ok(resolved) = reference.resolve() else {
                self.notes.push(format!("the reference {} leads nowhere", clean(&name)));
                continue;
            };
            if let Some(target) = resolved.target() {
                lines.insert(format!("{name} {target}\n"));
            }
            pulse.beat("reference", clean(&name));
            // A tag may name a tree or a blob, which is no history.
            match resolved.peel(git2::ObjectType::Commit) {
                Ok(commit) => roots.push(commit.id()),
                Err(error) if error.code() == ErrorCode::Peel || error.code() == ErrorCode::InvalidSpec => {}
                Err(_) => roots.extend(resolved.target()),
            }
        }
        if replaced > 0 {
            self.notes.push(format!("{replaced} replace references, which are not followed"));
        }
        match repository.head() {
            Ok(head) => {
                if let Some(target) = head.target() {
                    roots.push(target);
                    lines.insert(format!("HEAD {target}\n"));
                    self.head = Some(target.to_string());
                }
            }
            Err(error) if error.code() == ErrorCode::UnbornBranch || error.code() == ErrorCode::NotFound => {
                self.notes.push("HEAD is at no commit".into());
            }
            Err(error) => return Err(error),
        }
        let digest = lines.iter().fold(Sha256::new(), Digest::chain_update).finalize();
        self.digest = digest.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        Ok(roots)
    }

    /// Adds a commit that no reference leads to, if the object is still there.
    fn fetch(&mut self, repository: &git2::Repository, id: &str) {
        if is_id(id)
            && self.commit(id) == Lookup::Missing
            && let Ok(commit) = repository.find_commit_by_prefix(&id.to_ascii_lowercase())
        {
            self.commits.push(facts(&commit, false));
        }
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

/// Opens without asking who owns the folder, without searching above it, and without being led elsewhere.
fn open(path: &Path) -> Result<git2::Repository> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // libgit2 refuses the repositories of other users because a program may be named in their settings; an auditor
        // reads just such repositories, and nothing here runs a program or writes.
        // SAFETY: the option is one number inside libgit2; `Once` keeps it from being set by two threads at a time, and
        // no repository is opened before it.
        #[allow(unsafe_code)]
        let set = unsafe { git2::opts::set_verify_owner_validation(false) };
        drop(set); // cannot fail; if it did, opening below would say so
    });
    let here = fs::canonicalize(path).map_err(|error| Error::io("the folder cannot be opened", error))?;
    let none: [&std::ffi::OsStr; 0] = [];
    let repository = git2::Repository::open_ext(&here, RepositoryOpenFlags::NO_SEARCH, none).map_err(|error| {
        match error.code() {
            ErrorCode::NotFound => Error::input("this is not a git repository"),
            _ => broken("the repository", &error),
        }
    })?;
    for folder in [repository.path(), repository.commondir()] {
        let real = fs::canonicalize(folder).map_err(|error| Error::io(folder.display(), error))?;
        if !real.starts_with(&here) {
            return Err(Error::input("this only points at a git repository elsewhere; name that one itself"));
        }
    }
    Ok(repository)
}

/// Reads every commit the roots lead to, the newest first.
fn walk(
    repository: &git2::Repository,
    to: &mut Repository,
    roots: Vec<Oid>,
    limit: usize,
    pulse: &Pulse,
) -> Result<()> {
    let (mut seen, mut heap) = (BTreeSet::new(), BinaryHeap::new());
    let mut next = roots;
    loop {
        for id in next.drain(..) {
            if seen.insert(id) {
                pulse.beat("commit", id);
                let commit = repository.find_commit(id).map_err(|error| missing("commit", id, &error))?;
                heap.push((commit.time().seconds(), id));
            }
        }
        let Some((_, id)) = heap.pop() else { return Ok(()) };
        if to.commits.len() >= limit {
            to.notes.push(format!("only the newest {limit} commits were read"));
            return Ok(());
        }
        let commit = repository.find_commit(id).map_err(|error| missing("commit", id, &error))?;
        next.extend(commit.parent_ids());
        to.commits.push(facts(&commit, true));
    }
}

fn facts(commit: &git2::Commit<'_>, reachable: bool) -> Commit {
    let first = commit.message_bytes().split(|&b| b == b'\n').next().unwrap_or_default();
    let summary = String::from_utf8_lossy(first);
    Commit {
        id: commit.id().to_string(),
        parents: commit.parent_ids().map(|id| id.to_string()).collect(),
        author: stamp(commit.author().when()),
        committer: stamp(commit.committer().when()),
        summary: clean(&summary),
        reachable,
    }
}

/// A time beyond what a calendar holds becomes the calendar's end.
fn stamp(time: git2::Time) -> Stamp {
    let end = if time.seconds() < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
    Stamp { at: DateTime::from_timestamp(time.seconds(), 0).unwrap_or(end), offset: time.offset_minutes() }
}

/// Text of the other side, fit for a terminal.
fn clean(text: &str) -> String {
    text.chars().take(SUMMARY).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

fn is_id(text: &str) -> bool {
    (SHORTEST..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn missing(kind: &str, id: impl Display, error: &git2::Error) -> Error {
    Error::input(format!("the {kind} {id} is missing or damaged: {}", error.message()))
}

fn broken(what: &str, error: &git2::Error) -> Error {
    Error::input(format!("{what} cannot be read: {}", error.message()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;
