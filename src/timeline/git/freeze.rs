//! Since when a repository has had the architecture of the final checkpoint.

use std::collections::BTreeMap;

use super::{Commit, Lookup, Repository};
use crate::timeline::settings::{Settings, differences};

/// How the history of the settings stands to the final ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freeze<'a> {
    /// They are equal from this commit on and never change again.
    Since {
        /// The first commit with the final sizes.
        commit: &'a Commit,
        /// The file.
        path: &'a str,
    },
    /// They were equal for a time; the repository went on to another architecture.
    Past {
        /// The first commit with the final sizes.
        from: &'a Commit,
        /// The commit that changed them.
        until: &'a Commit,
        /// The file.
        path: &'a str,
    },
    /// They never were; the file that came nearest, and what differs in it.
    Never {
        /// The file.
        path: &'a str,
        /// Sizes that differ, in words.
        differences: Vec<String>,
    },
    /// No settings were found that can be compared.
    Unknown,
}

/// A commit that changed a file, and in what its sizes then differ from the final ones.
type Change<'a> = (&'a Commit, Option<Vec<String>>);

impl Repository {
    /// The freeze for the settings of the final checkpoint, along the line of first parents. Of several files that agree
    /// the one that agreed first.
    pub fn freeze(&self, last: &Settings) -> Freeze<'_> {
        let mut files: BTreeMap<&str, Vec<Change<'_>>> = BTreeMap::new();
        for row in &self.settings {
            let Lookup::Found(commit) = self.commit(&row.commit) else { continue };
            let against = row.settings.as_ref().and_then(|sizes| differences(sizes, last));
            files.entry(&row.path).or_default().push((commit, against));
        }
        let place = |commit: &Commit| self.line.iter().position(|id| *id == commit.id);
        let mut since: Vec<(&Commit, &str)> = Vec::new();
        let mut past: Vec<(&Commit, &Commit, &str)> = Vec::new();
        let mut never: Vec<(Vec<String>, &str)> = Vec::new();
        for (path, rows) in files {
            let mut begun: Option<&Commit> = None;
            for (commit, against) in rows {
                match against {
                    Some(differ) if differ.is_empty() => drop(begun.get_or_insert(commit)),
                    other => {
                        past.extend(begun.take().map(|from| (from, commit, path)));
                        never.extend(other.map(|differ| (differ, path)));
                    }
                }
            }
            since.extend(begun.map(|commit| (commit, path)));
        }
        if let Some(&(commit, path)) = since.iter().min_by_key(|(commit, _)| place(commit)) {
            return Freeze::Since { commit, path };
        }
        if let Some(&(from, until, path)) = past.iter().max_by_key(|(_, until, _)| place(until)) {
            return Freeze::Past { from, until, path };
        }
        match never.into_iter().min_by_key(|(differ, _)| differ.len()) {
            Some((differences, path)) => Freeze::Never { path, differences },
            None => Freeze::Unknown,
        }
    }
}
