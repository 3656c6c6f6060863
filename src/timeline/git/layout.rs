//! The structural settings along the line of commits.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use git2::{ObjectType, Oid};

use super::{Pulse, Repository, missing};
use crate::error::Result;
use crate::timeline::settings::{self, Settings};

/// A configuration is small; a larger file is data.
const FILE_LIMIT: usize = 1 << 20;
/// Folders inside folders, and files found below one folder; more is a trap.
const DEPTH: usize = 32;
const FOUND_LIMIT: usize = 256;

/// A change of a settings file along the line of first parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsRow {
    /// The commit from which it holds.
    pub commit: String,
    /// The file.
    pub path: String,
    /// The sizes in it, or nothing where it is gone or names fewer than three.
    pub settings: Option<Settings>,
}

type Found = Rc<Vec<(String, Settings)>>;

/// Reads the settings of every commit of the line; unchanged folders are read once.
pub fn read(repository: &git2::Repository, facts: &mut Repository, paths: &[String], pulse: &Pulse) -> Result<()> {
    let mut search = Search { repository, pulse, trees: BTreeMap::new(), blobs: BTreeMap::new(), cut: false };
    let mut now: BTreeMap<String, Settings> = BTreeMap::new();
    let mut ever: Vec<&String> = Vec::new();
    for id in &facts.line {
        pulse.beat("tree of commit", id);
        let tree = Oid::from_str(id).and_then(|oid| repository.find_commit(oid)).and_then(|commit| commit.tree());
        let tree = tree.map_err(|error| missing("tree of commit", id, &error))?;
        let mut then = BTreeMap::new();
        if paths.is_empty() {
            then.extend(search.tree(tree.id(), DEPTH)?.iter().cloned());
        }
        for path in paths {
            // What is not there at this commit is no error: the file came later.
            if let Ok(entry) = tree.get_path(Path::new(path))
                && entry.kind() == Some(ObjectType::Blob)
            {
                ever.push(path);
                if let Some(sizes) = search.blob(entry.id())? {
                    then.insert(path.clone(), sizes);
                }
            }
        }
        ever.dedup();
        for (path, sizes) in &then {
            if now.get(path) != Some(sizes) {
                let settings = Some(sizes.clone());
                facts.settings.push(SettingsRow { commit: id.clone(), path: path.clone(), settings });
            }
        }
        for path in now.keys().filter(|path| !then.contains_key(*path)) {
            facts.settings.push(SettingsRow { commit: id.clone(), path: path.clone(), settings: None });
        }
        now = then;
    }
    for path in paths {
        if !ever.contains(&path) {
            facts.notes.push(format!("no commit of the main line has the settings file {path}"));
        } else if !facts.settings.iter().any(|row| row.path == *path) {
            facts.notes.push(format!("{path} is never a JSON file with three or more known sizes"));
        }
    }
    if search.cut {
        facts.notes.push("some folders were too deep or held too many configurations to be searched whole".into());
    }
    Ok(())
}

struct Search<'a> {
    repository: &'a git2::Repository,
    pulse: &'a Pulse,
    trees: BTreeMap<Oid, Found>,
    blobs: BTreeMap<Oid, Option<Settings>>,
    cut: bool,
}

impl Search<'_> {
    /// Every settings file below a tree, with its path inside it.
    fn tree(&mut self, id: Oid, depth: usize) -> Result<Found> {
        if let Some(found) = self.trees.get(&id) {
            return Ok(Rc::clone(found));
        }
        self.pulse.beat("tree", id);
        let tree = self.repository.find_tree(id).map_err(|error| missing("tree", id, &error))?;
        let mut found = Vec::new();
        for entry in &tree {
            let Ok(name) = std::str::from_utf8(entry.name_bytes()) else { continue };
            match entry.kind() {
                Some(ObjectType::Tree) if depth > 0 => {
                    let inner = self.tree(entry.id(), depth - 1)?;
                    found.extend(inner.iter().map(|(path, sizes)| (format!("{name}/{path}"), sizes.clone())));
                }
                Some(ObjectType::Tree) => self.cut = true,
                Some(ObjectType::Blob) if is_json(name) => {
                    found.extend(self.blob(entry.id())?.map(|sizes| (name.to_owned(), sizes)));
                }
                _ => {}
            }
            if found.len() > FOUND_LIMIT {
                found.truncate(FOUND_LIMIT);
                self.cut = true;
                break;
            }
        }
        let found = Rc::new(found);
        self.trees.insert(id, Rc::clone(&found));
        Ok(found)
    }

    fn blob(&mut self, id: Oid) -> Result<Option<Settings>> {
        if let Some(known) = self.blobs.get(&id) {
            return Ok(known.clone());
        }
        self.pulse.beat("file", id);
        let failed = |error: git2::Error| missing("file", id, &error);
        let (size, _) = self.repository.odb().and_then(|odb| odb.read_header(id)).map_err(failed)?;
        let mut sizes = None;
        if size <= FILE_LIMIT {
            let blob = self.repository.find_blob(id).map_err(failed)?;
            sizes = serde_json::from_slice(blob.content()).ok().and_then(|value| settings::from_json(&value));
        }
        self.blobs.insert(id, sizes.clone());
        Ok(sizes)
    }
}

fn is_json(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}
