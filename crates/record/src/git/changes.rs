//! What every commit changed, and what the files then hold: trees are compared, every version of a file is read once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use git2::{ObjectType, Oid};

use super::mentions::{Found, Patterns, scan};
use super::pointer::{POINTER, Pointed, pointer};
use super::{Pulse, Repository};
use crate::settings::{self, Block, Language};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// A program or configuration is small; a larger file is data.
pub const FILE_LIMIT: usize = 1 << 20;
/// Larger trees are not opened: some hundred thousand entries.
const TREE_LIMIT: usize = 32 << 20;
/// Folders inside folders; deeper ones are a trap.
const DEPTH: usize = 32;
/// Entries of trees compared in the whole history and in one commit: a few hundred bytes of trees that name each other
/// many times stand for more entries than there are bytes in the world.
const ENTRIES: usize = 400_000_000;
const ENTRIES_OF_ONE: usize = 2_000_000;
/// Changes kept in the whole history, and bytes of their paths.
const CHANGES: usize = 1_000_000;
const CHANGES_OF_ONE: usize = 200_000;
const PATHS: usize = 64 << 20;
/// Bytes of the smallest entry of a tree: what a tree of some size is counted as before it is opened.
const ENTRY: usize = 32;
/// Bytes of files read in the whole history.
const BYTES: usize = 16 << 30;
/// Commits, or files, that one thread takes at a time.
const PORTION: usize = 64;

/// A file of interest that a commit added, changed or removed, against its first parent.
#[derive(Clone, Debug)]
pub struct Change {
    pub path: String,
    /// The new version; nothing if it is gone.
    pub blob: Option<Oid>,
    pub sort: Sort,
}

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// Sizes and mentions.
    Language(Language),
    /// Mentions only.
    Text,
    /// Its first line decides.
    Unnamed,
    /// A file of weights, of which Git holds a pointer if LFS holds the file.
    Weights,
}

/// How the names of files of weights end.
const WEIGHTS: &[&str] = &[
    "safetensors",
    "bin",
    "pt",
    "pth",
    "ckpt",
    "distcp",
    "gguf",
    "h5",
    "msgpack",
    "npz",
    "npy",
    "onnx",
    "tar",
    "zip",
    "zst",
    "gz",
];

impl Sort {
    /// By the name; nothing for a file that is of no interest.
    fn of(path: &str) -> Option<Self> {
        if let Some(language) = Language::of(path, b"") {
            return Some(Self::Language(language));
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        match name.rsplit_once('.') {
            None => Some(Self::Unnamed),
            Some((_, end)) => {
                let text = [
                    "md", "rst", "txt", "ipynb", "cfg", "ini", "conf", "j2", "env", "rs", "cc", "cpp", "cu", "jl",
                    "tex",
                ];
                let is = |list: &[&str]| list.iter().any(|other| end.eq_ignore_ascii_case(other));
                if is(WEIGHTS) {
                    return Some(Self::Weights);
                }
                is(&text).then_some(Self::Text)
            }
        }
    }
}

/// What one version of a file holds.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pub blocks: Vec<Block>,
    pub found: Vec<Found>,
    pub pointer: Option<Pointed>,
}

/// What every version of every file holds; versions with nothing in them are left out.
#[derive(Default)]
pub struct Contents(BTreeMap<(Oid, Sort), Content>);

impl Contents {
    /// What a file holds after a change.
    pub fn of(&self, change: &Change) -> Option<&Content> {
        self.0.get(&(change.blob?, change.sort))
    }
}

/// How the work is done.
pub struct Work<'a> {
    pub folder: PathBuf,
    pub pulse: &'a Pulse,
    pub threads: usize,
    /// Trees that are known not to be too large, with their entries at most: asking costs nearly as much as reading.
    pub fit: Mutex<BTreeMap<Oid, usize>>,
    pub patterns: Patterns,
    /// Whether objects were left out on purpose.
    pub partial: bool,
}

/// Changes by commit, in the order of `facts.commits`, and the contents of all versions.
pub fn read(facts: &mut Repository, work: &Work<'_>) -> Result<(Vec<Vec<Change>>, Contents)> {
    let at: BTreeMap<&str, usize> = facts.commits.iter().enumerate().map(|(at, c)| (c.id.as_str(), at)).collect();
    let parents: Vec<Option<usize>> =
        facts.commits.iter().map(|c| c.parents.first().and_then(|id| at.get(id.as_str())).copied()).collect();
    let [entries, kept, paths, deep, cut] = [const { AtomicUsize::new(0) }; 5];
    let spent = || {
        let [entries, kept, paths] = [&entries, &kept, &paths].map(|count| count.load(Ordering::Relaxed));
        entries > ENTRIES || kept > CHANGES || paths > PATHS
    };
    let unread: Mutex<BTreeMap<Oid, String>> = Mutex::default();
    let mut changes = portions(work, facts.commits.len(), |repository, number| {
        let commit = &facts.commits[number];
        if !commit.reachable || spent() {
            return Ok(Vec::new());
        }
        let old = parents[number].and_then(|parent| facts.commits[parent].tree);
        let mut compare = Compare {
            repository,
            work,
            all: [&entries, &kept, &paths],
            changes: Vec::new(),
            entries: 0,
            deep: false,
            cut: false,
            unread: BTreeMap::new(),
        };
        compare.trees(old, commit.tree, "", 0)?;
        if !compare.unread.is_empty() {
            unread.lock().unwrap_or_else(PoisonError::into_inner).append(&mut compare.unread);
        }
        cut.fetch_add(usize::from(compare.cut), Ordering::Relaxed);
        deep.fetch_add(usize::from(compare.deep), Ordering::Relaxed);
        Ok(compare.changes)
    })?;
    if spent() {
        // Which commits came first is a matter of threads, so none of them counts.
        changes.iter_mut().for_each(Vec::clear);
        facts.notes.push(format!(
            "the history changes more files than are searched ({CHANGES} changes, {} MiB of their paths, or {ENTRIES} \
             entries of folders); none of them is looked at",
            PATHS >> 20
        ));
    } else if cut.load(Ordering::Relaxed) > 0 {
        facts.notes.push(format!(
            "{} commits change more files than are searched in one ({ENTRIES_OF_ONE} entries of folders or {CHANGES_OF_ONE} \
             changes); the rest of them is not looked at",
            cut.load(Ordering::Relaxed)
        ));
    }
    if deep.load(Ordering::Relaxed) > 0 {
        facts.notes.push(format!("some folders are deeper than {DEPTH} in each other and were not searched"));
    }
    let unread = unread.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some((id, why)) = unread.first_key_value() {
        facts.notes.push(left_out(work.partial, unread.len(), "folders", *id, why));
    }
    let mut versions: Vec<(Oid, Sort)> =
        changes.iter().flatten().filter_map(|change| Some((change.blob?, change.sort))).collect();
    versions.sort_unstable();
    versions.dedup();
    let (bytes, lost) = (AtomicUsize::new(0), Mutex::new(None));
    let mut contents = portions(work, versions.len(), |repository, number| {
        let (id, sort) = versions[number];
        if bytes.load(Ordering::Relaxed) > BYTES {
            return Ok(Content::default());
        }
        match content(repository, id, sort, work, &bytes) {
            Ok(content) => Ok(content),
            Err(error) => {
                let mut lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
                let (count, first): &mut (usize, (Oid, String)) =
                    lost.get_or_insert_with(|| (0, (id, error.message().into())));
                *count += 1;
                if id < first.0 {
                    *first = (id, error.message().into());
                }
                Ok(Content::default())
            }
        }
    })?;
    if bytes.load(Ordering::Relaxed) > BYTES {
        contents.clear();
        facts.notes.push(format!("the versions of the files are more than {} GiB; none is read", BYTES >> 30));
    }
    if let Some((count, (id, why))) = lost.into_inner().unwrap_or_else(PoisonError::into_inner) {
        facts.notes.push(left_out(work.partial, count, "files", id, &why));
    }
    let held = versions
        .into_iter()
        .zip(contents)
        .filter(|(_, c)| !c.blocks.is_empty() || !c.found.is_empty() || c.pointer.is_some());
    Ok((changes, Contents(held.collect())))
}

/// What could not be read of the versions of files or folders, and what to do.
fn left_out(partial: bool, count: usize, what: &str, id: Oid, why: &str) -> String {
    if partial {
        format!(
            "{count} versions of {what} are not in this partial clone, the first is {id}, and nothing is fetched; a clone \
             without --filter has them"
        )
    } else {
        format!("{count} versions of {what} are missing or damaged, the first is {id}: {why}")
    }
}

fn content(
    repository: &git2::Repository,
    id: Oid,
    sort: Sort,
    work: &Work<'_>,
    bytes: &AtomicUsize,
) -> Result<Content, git2::Error> {
    work.pulse.beat("file", id);
    let odb = repository.odb()?;
    let (size, kind) = odb.read_header(id)?;
    let most = if sort == Sort::Weights { POINTER } else { FILE_LIMIT };
    if size > most || kind != ObjectType::Blob {
        return Ok(Content::default());
    }
    bytes.fetch_add(size, Ordering::Relaxed);
    let blob = odb.read(id)?;
    let text = blob.data();
    // What holds a zero byte is no text.
    if text.get(..text.len().min(8000)).is_some_and(|start| start.contains(&0)) {
        return Ok(Content::default());
    }
    if sort == Sort::Weights {
        return Ok(Content { pointer: pointer(text), ..Content::default() });
    }
    let language = match sort {
        Sort::Language(language) => Some(language),
        Sort::Text | Sort::Weights => None,
        Sort::Unnamed => Language::of("", text),
    };
    Ok(Content {
        blocks: language.map(|language| settings::read(text, language)).unwrap_or_default(),
        found: scan(text, &work.patterns),
        pointer: if text.len() <= POINTER { pointer(text) } else { None },
    })
}

/// Does something for every number below `count` on several threads, each with the repository opened for itself; the
/// results are in order. Threads of its own, since one that libgit2 never returns to must not be missed elsewhere.
fn portions<T: Send>(
    work: &Work<'_>,
    count: usize,
    each: impl Fn(&git2::Repository, usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, Result<Vec<T>>>> = Mutex::new(BTreeMap::new());
    let worker = || {
        let repository = git2::Repository::open_bare(&work.folder).map_err(|error| {
            Error::input(text!("error-record/changes/repository-cannot-opened", error = error.message()))
        });
        loop {
            let from = next.fetch_add(PORTION, Ordering::Relaxed);
            if from >= count {
                break;
            }
            let result = match &repository {
                Ok(repository) => (from..count.min(from + PORTION)).map(|number| each(repository, number)).collect(),
                Err(error) => Err(Error::input(error.to_string())),
            };
            let failed = result.is_err();
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(from, result);
            if failed {
                next.store(count, Ordering::Relaxed);
            }
        }
        work.pulse.rest();
    };
    thread::scope(|scope| {
        for _ in 1..work.threads.min(count.div_ceil(PORTION)) {
            // Where no thread is to be had this one does it all.
            let _ = thread::Builder::new().spawn_scoped(scope, worker);
        }
        worker();
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut all = Vec::with_capacity(count);
    for portion in done.into_values() {
        all.extend(portion?);
    }
    Ok(all)
}

/// Two trees and what differs.
struct Compare<'a> {
    repository: &'a git2::Repository,
    work: &'a Work<'a>,
    changes: Vec<Change>,
    /// Entries compared, changes kept and bytes of their paths, in the whole history.
    all: [&'a AtomicUsize; 3],
    /// Entries compared in this commit.
    entries: usize,
    deep: bool,
    /// Whether a budget was used up.
    cut: bool,
    /// Trees that are missing or damaged: what changes between them and others is not known.
    unread: BTreeMap<Oid, String>,
}

impl<'a> Compare<'a> {
    /// `None` if it is missing or damaged.
    fn tree(&mut self, id: Oid) -> Option<git2::Tree<'a>> {
        self.work.pulse.beat("tree", id);
        let fits = || self.work.fit.lock().unwrap_or_else(PoisonError::into_inner);
        let known = fits().get(&id).copied();
        let most = if let Some(most) = known {
            most
        } else {
            let size = self.repository.odb().and_then(|odb| odb.read_header(id)).map_or(0, |(size, _)| size);
            if size > TREE_LIMIT {
                let why = format!("it has {size} bytes; {TREE_LIMIT} are the most that is read");
                self.unread.insert(id, why);
                return None;
            }
            let most = 1 + size / ENTRY;
            fits().insert(id, most);
            most
        };
        // Counted before it is opened: what then proves damaged has cost its bytes too.
        self.entries += most;
        self.all[0].fetch_add(most, Ordering::Relaxed);
        match self.repository.find_tree(id) {
            Ok(tree) => Some(tree),
            Err(error) => {
                self.unread.insert(id, error.message().into());
                None
            }
        }
    }

    fn trees(&mut self, old: Option<Oid>, new: Option<Oid>, folder: &str, depth: usize) -> Result<()> {
        if old == new {
            return Ok(());
        }
        if depth > DEPTH {
            self.deep = true;
            return Ok(());
        }
        if self.spent() {
            self.cut = true;
            return Ok(());
        }
        let (named, old) = (old.is_some(), old.and_then(|id| self.tree(id)));
        let (wanted, new) = (new.is_some(), new.and_then(|id| self.tree(id)));
        if named && old.is_none() || wanted && new.is_none() {
            return Ok(());
        }
        let (mut a, mut b) = (0, 0);
        loop {
            let left = old.as_ref().and_then(|tree| tree.get(a));
            let right = new.as_ref().and_then(|tree| tree.get(b));
            // Git's own order: a folder's name counts as if it ended with a slash.
            let order = match (&left, &right) {
                (None, None) => return Ok(()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(left), Some(right)) => key(left).cmp(key(right)),
            };
            a += usize::from(order.is_le());
            b += usize::from(order.is_ge());
            let left = left.filter(|_| order.is_le());
            let right = right.filter(|_| order.is_ge());
            let of = |entry: &Option<git2::TreeEntry<'_>>, kind: ObjectType| {
                entry.as_ref().filter(|entry| entry.kind() == Some(kind)).map(|entry| (entry.id(), entry.filemode()))
            };
            let Some(name) =
                left.as_ref().or(right.as_ref()).map(|e| String::from_utf8_lossy(e.name_bytes()).into_owned())
            else {
                continue;
            };
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let (folders, files) = (
                (of(&left, ObjectType::Tree), of(&right, ObjectType::Tree)),
                (of(&left, ObjectType::Blob), of(&right, ObjectType::Blob)),
            );
            self.trees(folders.0.map(|f| f.0), folders.1.map(|f| f.0), &path, depth + 1)?;
            if files.0 != files.1 {
                self.file(path, files.1);
            }
        }
    }

    /// Whether a budget is used up.
    fn spent(&self) -> bool {
        let [entries, kept, paths] = self.all.map(|count| count.load(Ordering::Relaxed));
        self.entries > ENTRIES_OF_ONE
            || self.changes.len() >= CHANGES_OF_ONE
            || entries > ENTRIES
            || kept > CHANGES
            || paths > PATHS
    }

    fn file(&mut self, path: String, blob: Option<(Oid, i32)>) {
        let Some(sort) = Sort::of(&path) else { return };
        if self.spent() {
            self.cut = true;
            return;
        }
        self.all[1].fetch_add(1, Ordering::Relaxed);
        self.all[2].fetch_add(path.len(), Ordering::Relaxed);
        // A link's content is a path.
        let blob = blob.filter(|(_, mode)| *mode != 0o120_000).map(|(id, _)| id);
        self.changes.push(Change { path, blob, sort });
    }
}

fn key<'e>(entry: &'e git2::TreeEntry<'_>) -> impl Iterator<Item = u8> + 'e {
    let slash = (entry.kind() == Some(ObjectType::Tree)).then_some(b'/');
    entry.name_bytes().iter().copied().chain(slash)
}
