//! Repositories made for tests.
#![allow(missing_docs, clippy::missing_panics_doc, clippy::unwrap_used, clippy::new_without_default)]

use git2::{Oid, Signature, Time};
use serde_json::json;

use super::{Options, Repository};
use crate::settings::{Settings, from_json};

/// 2026-08-01T00:00:00Z.
pub const START: i64 = 1_785_542_400;
pub const HOUR: i64 = 3600;

/// A repository that commits files at given hours.
pub struct Made {
    pub folder: tempfile::TempDir,
    pub repository: git2::Repository,
}

impl Made {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = git2::Repository::init_bare(folder.path()).unwrap();
        Self { folder, repository }
    }

    /// Commits files on top of HEAD; an empty content removes one.
    pub fn commit(&self, hour: i64, files: &[(&str, &str)]) -> Oid {
        self.commit_as(hour, hour, files, &format!("at {hour}\n\nmore"))
    }

    pub fn commit_as(&self, author: i64, committer: i64, files: &[(&str, &str)], message: &str) -> Oid {
        let repository = &self.repository;
        let parent = repository.head().ok().map(|head| head.peel_to_commit().unwrap());
        let base = parent
            .as_ref()
            .map_or_else(|| repository.treebuilder(None).unwrap().write().unwrap(), git2::Commit::tree_id);
        let mut update = git2::build::TreeUpdateBuilder::new();
        for (path, content) in files {
            if content.is_empty() {
                update.remove(*path);
            } else {
                let blob = repository.blob(content.as_bytes()).unwrap();
                update.upsert(*path, blob, git2::FileMode::Blob);
            }
        }
        let tree = update.create_updated(repository, &repository.find_tree(base).unwrap()).unwrap();
        let at = |hour: i64| Signature::new("A", "a@example.org", &Time::new(START + hour * HOUR, 540)).unwrap();
        let tree = repository.find_tree(tree).unwrap();
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        repository.commit(Some("HEAD"), &at(author), &at(committer), message, &tree, &parents).unwrap()
    }

    pub fn read(&self) -> Repository {
        Repository::read(self.folder.path(), &Options::default()).unwrap()
    }
}

pub fn config(layers: i64) -> String {
    json!({ "hidden_size": 64, "num_hidden_layers": layers, "vocab_size": 1280, "lr": 0.1 }).to_string()
}

pub fn settings(layers: i64) -> Settings {
    from_json(&serde_json::from_str(&config(layers)).unwrap()).unwrap()
}
