//! Commits and tags as the bytes they are: what an outside time stamp may be over.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use git2::{ObjectType, Oid};

use super::{broken, guard, open, watch};
use scratchproof_error::Result;
use scratchproof_texts::text;

/// Commits or tags of more bytes are passed over.
const LARGEST: usize = 1 << 20;
/// So many commits are looked at, and bytes of commits and tags.
const MOST: usize = 200_000;
const BYTES: usize = 4 << 30;

/// What an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A commit.
    Commit,
    /// A tag object, or the commit that a tag is at.
    Tag {
        /// The tag's name.
        name: String,
        /// Full id of the commit it is at; a tag may be of something else.
        commit: Option<String>,
    },
}

/// One object of a repository.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// What it is.
    pub kind: &'a ObjectKind,
    /// Full id in hexadecimal.
    pub id: &'a str,
    /// Its type as git writes it: `commit` or `tag`.
    pub word: &'static str,
    /// Its content, without git's header.
    pub bytes: &'a [u8],
}

/// Shows every tag and every commit that a reference leads to (and those in `wanted`) to `visit`, which keeps what it
/// needs in `state`. What cannot be read is passed over: the reading of the history says so.
///
/// # Errors
/// If there is no repository, or reading an object does not end.
pub fn objects<T: Send + 'static>(
    path: &Path,
    patience: Duration,
    wanted: Vec<String>,
    mut state: T,
    mut visit: impl FnMut(&mut T, Object<'_>) + Send + 'static,
) -> Result<T> {
    let here = path.to_owned();
    watch::run(patience, move |pulse| {
        let opened = open::open(&here, pulse)?;
        let repository = &opened.repository;
        let odb = repository.odb().map_err(|error| broken(text!("error-record/objects/objects"), &error))?;
        let mut left = BYTES;
        let mut show = |kind: &ObjectKind, id: Oid, expected: ObjectType| {
            pulse.beat("object", id);
            let Ok((length, found)) = odb.read_header(id) else { return };
            if found != expected || length > LARGEST || length > left {
                return;
            }
            left -= length;
            if let Ok(object) = odb.read(id) {
                let word = if expected == ObjectType::Tag { "tag" } else { "commit" };
                visit(&mut state, Object { kind, id: &id.to_string(), word, bytes: object.data() });
            }
        };
        let mut next: Vec<Oid> = Vec::new();
        for (name, target) in
            opened.references().map_err(|error| broken(text!("error-record/objects/references"), &error))?
        {
            pulse.beat("reference", target);
            let commit = guard::commit(repository, &odb, target);
            if let Some(tag) = name.strip_prefix("refs/tags/") {
                let kind = ObjectKind::Tag { name: tag.to_owned(), commit: commit.map(|id| id.to_string()) };
                show(&kind, target, ObjectType::Tag);
                if let Some(commit) = commit {
                    show(&kind, commit, ObjectType::Commit);
                }
            }
            next.extend(commit);
        }
        next.extend(wanted.iter().filter_map(|id| Oid::from_str(id).ok()));
        let mut seen = BTreeSet::new();
        while let Some(id) = next.pop() {
            if seen.len() >= MOST || !seen.insert(id) {
                continue;
            }
            show(&ObjectKind::Commit, id, ObjectType::Commit);
            if guard::kind(&odb, id) == Some(ObjectType::Commit)
                && let Ok(commit) = repository.find_commit(id)
            {
                next.extend(commit.parent_ids());
            }
        }
        Ok(state)
    })
}
