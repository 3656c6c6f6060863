//! Reading a repository: what its references and HEAD lead to, and every commit behind them.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::path::Path;
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use git2::{ErrorCode, Oid};
use sha2::{Digest, Sha256};

use super::watch::{self, Pulse};
use super::{
    Commit, Keys, Lookup, Options, Repository, Stamp, Trace, broken, bundle, changes, clean, guard, is_id, layout,
    mentioned, mentions, missing, open, pointers, rewritten, signatures,
};
use scratchproof_error::hexadecimal::hex;
use scratchproof_error::{Error, Result};
use scratchproof_source::plain;
use scratchproof_texts::text;

/// Bytes of the list of commits at the edge of a shallow clone.
const SHALLOW: u64 = 64 << 20;
/// Bytes of all commits that are read, and their parents.
const COMMITS: usize = 4 << 30;
const PARENTS: usize = 2_000_000;
/// Bytes of all tags.
const TAGS: usize = 1 << 30;

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
        let keys = Keys::read(options.allowed_signers.as_deref(), &options.keys)?;
        let mut facts = Self { source: path.display().to_string(), ..Self::default() };
        let opened = open::open(path, pulse)?;
        let repository = &opened.repository;
        let roots = match &opened.references {
            Some(references) => facts.listed_roots(repository, references),
            None => facts
                .roots(repository, pulse)
                .map_err(|error| broken(text!("error-record/objects/references"), &error))?,
        };
        let cut = &opened.cut;
        facts.shallow = repository.is_shallow() || !cut.is_empty();
        facts.traces = rewritten::traces(&opened.folder, repository.is_shallow());
        if !cut.is_empty() {
            facts.traces.push(Trace { cut: true, words: bundle::builds_on(cut) });
        }
        facts.traces.extend(roots.traces.iter().cloned());
        facts.tags.clone_from(&roots.tagged);
        walk(repository, &mut facts, &roots, cut, options.limit, pulse)?;
        for id in &options.wanted {
            pulse.beat("commit", id);
            facts.fetch(repository, id);
        }
        facts.commits.sort_by(|a, b| (a.committer.at, a.author.at, &a.id).cmp(&(b.committer.at, b.author.at, &b.id)));
        facts.line = facts.first_parents();
        let by_id: BTreeMap<&str, usize> =
            facts.commits.iter().enumerate().map(|(at, c)| (c.id.as_str(), at)).collect();
        let line: Vec<usize> = facts.line.iter().filter_map(|id| by_id.get(id.as_str()).copied()).collect();
        let folder = repository.commondir().to_owned();
        let patterns = mentions::Patterns::new(&options.sought);
        let partial = opened.partial;
        let threads = options.threads.max(1);
        let work = changes::Work { folder, pulse, threads, fit: Mutex::default(), patterns, partial };
        let (changes, contents) = changes::read(&mut facts, &work)?;
        pulse.beat("history of the files", "");
        layout::read(&mut facts, &options.settings, &changes, &contents, &line);
        pointers::collect(&mut facts, &changes, &contents);
        mentioned::collect(&mut facts, &changes, &contents, &line);
        signatures::read(repository, &mut facts, &keys, &roots.tags, pulse);
        Ok(facts)
    }

    /// What every reference and HEAD lead to.
    fn roots(&mut self, repository: &git2::Repository, pulse: &Pulse) -> Result<Roots, git2::Error> {
        let (mut roots, mut lines) = (Roots::default(), BTreeSet::new());
        let (mut replaced, mut originals) = (0, 0);
        for reference in repository.references()? {
            let reference = reference?;
            let name = String::from_utf8_lossy(reference.name_bytes()).into_owned();
            replaced += usize::from(name.starts_with("refs/replace/"));
            originals += usize::from(name.starts_with("refs/original/"));
            let Ok(resolved) = reference.resolve() else {
                self.notes.push(format!("the reference {} leads nowhere", clean(&name)));
                continue;
            };
            if let Some(target) = resolved.target() {
                lines.insert(format!("{name} {target}\n"));
                pulse.beat("reference", clean(&name));
                roots.add(repository, &name, target);
            }
        }
        if replaced > 0 {
            let words = format!("{replaced} replace references, which are not followed");
            roots.traces.push(Trace { cut: false, words });
        }
        if originals > 0 {
            let words = format!("{originals} originals of rewritten branches (refs/original), which are read too");
            roots.traces.push(Trace { cut: false, words });
        }
        match repository.head() {
            Ok(head) => {
                if let Some(target) = head.target() {
                    // HEAD may be at a tag.
                    let commit = roots.add(repository, "HEAD", target);
                    lines.insert(format!("HEAD {target}\n"));
                    self.head = Some(commit.unwrap_or(target).to_string());
                }
            }
            Err(error) if error.code() == ErrorCode::UnbornBranch || error.code() == ErrorCode::NotFound => {
                self.notes.push("HEAD is at no commit".into());
            }
            Err(error) => {
                let why = clean(error.message());
                self.notes.push(format!("HEAD cannot be read ({why}); the newest commit stands for it"));
            }
        }
        self.digest = digest(&lines);
        Ok(roots)
    }

    /// As [`Self::roots`], of references that were read elsewhere. Without a HEAD of its own the newest commit stands for it.
    fn listed_roots(&mut self, repository: &git2::Repository, references: &[(String, Oid)]) -> Roots {
        let (mut roots, mut lines) = (Roots::default(), BTreeSet::new());
        for (name, id) in references {
            lines.insert(format!("{name} {id}\n"));
            let commit = roots.add(repository, name, *id);
            if name == "HEAD" {
                self.head = Some(commit.unwrap_or(*id).to_string());
            }
        }
        if self.head.is_none() {
            self.notes.push("HEAD is at no commit".into());
        }
        self.digest = digest(&lines);
        roots
    }

    /// Adds a commit that no reference leads to, if the object is still there.
    fn fetch(&mut self, repository: &git2::Repository, id: &str) {
        if is_id(id)
            && self.commit(id) == Lookup::Missing
            && let Ok(odb) = repository.odb()
            && let Ok(short) = Oid::from_str(&id.to_ascii_lowercase())
            && let Ok(whole) = odb.exists_prefix(short, id.len())
            && guard::kind(&odb, whole) == Some(git2::ObjectType::Commit)
            && let Ok(commit) = repository.find_commit(whole)
        {
            self.commits.push(facts(&commit, false));
        }
    }
}

/// Where reading begins.
#[derive(Default)]
struct Roots {
    commits: Vec<Oid>,
    /// Annotated tags by name.
    tags: Vec<(String, Oid)>,
    /// Tags of any kind with their commits.
    tagged: Vec<(String, String)>,
    traces: Vec<Trace>,
    /// Bytes of the tags that were opened.
    bytes: usize,
}

impl Roots {
    /// Adds what a reference is at; returns the commit that leads to.
    fn add(&mut self, repository: &git2::Repository, name: &str, target: Oid) -> Option<Oid> {
        let odb = repository.odb().ok()?;
        match guard::kind(&odb, target) {
            // Missing, damaged or too large: the walk says which.
            None => self.commits.push(target),
            Some(kind) => {
                if kind == git2::ObjectType::Tag && name != "HEAD" {
                    self.tags.push((name.trim_start_matches("refs/tags/").to_owned(), target));
                }
                if kind == git2::ObjectType::Tag {
                    self.bytes += odb.read_header(target).map_or(0, |(size, _)| size);
                    if self.bytes > TAGS {
                        if self.traces.iter().all(|trace| !trace.cut) {
                            let words =
                                format!("its tags have more than {} GiB; those beyond are not read", TAGS >> 30);
                            self.traces.push(Trace { cut: true, words });
                        }
                        return None;
                    }
                }
                // A tag may name a tree or a blob, which is no history.
                let commit = guard::commit(repository, &odb, target)?;
                self.commits.push(commit);
                if let Some(tag) = name.strip_prefix("refs/tags/") {
                    self.tagged.push((clean(tag), commit.to_string()));
                }
                return Some(commit);
            }
        }
        None
    }
}

fn digest(lines: &BTreeSet<String>) -> String {
    let digest = lines.iter().fold(Sha256::new(), Digest::chain_update).finalize();
    hex(&digest)
}

/// Reads every commit the roots lead to, the newest first. Parents that are in `cut`, or beyond the edge of a shallow
/// clone, are not asked for; history ends at a commit that is missing or damaged.
///
/// # Errors
/// If a commit is too large, or none can be read although references name some.
fn walk(
    repository: &git2::Repository,
    to: &mut Repository,
    roots: &Roots,
    cut: &BTreeSet<Oid>,
    limit: usize,
    pulse: &Pulse,
) -> Result<()> {
    let (mut seen, mut heap) = (BTreeSet::new(), BinaryHeap::new());
    let mut lost: BTreeMap<Oid, Error> = BTreeMap::new();
    let edge = plain::text(&repository.commondir().join("shallow"), SHALLOW).unwrap_or_default();
    let edge: BTreeSet<Oid> = edge.lines().filter_map(|line| Oid::from_str(line.trim()).ok()).collect();
    let odb = repository.odb().map_err(|error| broken(text!("error-record/objects/objects"), &error))?;
    let mut next = roots.commits.clone();
    let (mut bytes, mut parents) = (0_usize, 0_usize);
    loop {
        for id in next.drain(..) {
            if seen.insert(id) {
                pulse.beat("commit", id);
                let size = odb.read_header(id).map_or(0, |(size, _)| size);
                if size > guard::LARGEST {
                    let why = format!("it has {size} bytes; {} are the most that is read", guard::LARGEST);
                    lost.insert(
                        id,
                        Error::input(text!("error-record/reading/commit-too-large", id = id.to_string(), why)),
                    );
                    continue;
                }
                bytes += size;
                match repository.find_commit(id) {
                    Ok(commit) => heap.push((commit.time().seconds(), id)),
                    Err(error) => drop(lost.insert(id, missing("commit", id, &error))),
                }
            }
        }
        if bytes > COMMITS || parents > PARENTS {
            let words = format!(
                "its commits have more than {} GiB or {PARENTS} parents; those beyond are not read",
                COMMITS >> 30
            );
            to.traces.push(Trace { cut: true, words });
            to.shallow = true;
            break;
        }
        let Some((_, id)) = heap.pop() else { break };
        if to.commits.len() >= limit {
            to.notes.push(format!("only the newest {limit} commits were read"));
            break;
        }
        let commit = repository.find_commit(id).map_err(|error| missing("commit", id, &error))?;
        if !edge.contains(&id) {
            next.extend(commit.parent_ids().filter(|parent| !cut.contains(parent)));
        }
        let one = facts(&commit, true);
        parents += one.parents.len();
        to.commits.push(one);
    }
    let count = lost.len();
    if let Some((_, error)) = lost.into_iter().next() {
        if to.commits.is_empty() {
            return Err(error);
        }
        to.shallow = true;
        let words = format!("{count} commits that it names are not to be read, nor what lies behind them: {error}");
        to.traces.push(Trace { cut: true, words });
    }
    Ok(())
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
        signature: signatures::of_header(commit.raw_header_bytes()),
        tree: Some(commit.tree_id()),
    }
}

/// A time beyond what a calendar holds becomes the calendar's end.
fn stamp(time: git2::Time) -> Stamp {
    let end = if time.seconds() < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
    Stamp { at: DateTime::from_timestamp(time.seconds(), 0).unwrap_or(end), offset: time.offset_minutes() }
}
