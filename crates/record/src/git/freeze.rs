//! Since when a repository has had the architecture of the final checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use super::{Commit, Repository, SettingsRow};
use crate::settings::{Settings, differences};

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

impl Repository {
    /// The freeze for the settings of the final checkpoint, along the line of first parents. A file has them as long as one
    /// of its places has. Of several files that agree the one that agreed first.
    pub fn freeze(&self, last: &Settings) -> Freeze<'_> {
        let place: BTreeMap<&str, usize> = self.line.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
        let commits: BTreeMap<&str, &Commit> = self.commits.iter().map(|commit| (commit.id.as_str(), commit)).collect();
        let mut files: BTreeMap<&str, File<'_>> = BTreeMap::new();
        let (mut past, mut never) = (Vec::new(), Vec::new());
        let mut rows = self.settings.as_slice();
        while let Some(first) = rows.first() {
            // What one commit did to one file, all its places together.
            let same = |row: &&SettingsRow| row.commit == first.commit && row.path == first.path;
            let (now, rest) = rows.split_at(rows.iter().take_while(same).count());
            rows = rest;
            let Some(&commit) = commits.get(first.commit.as_str()) else { continue };
            let file = files.entry(&first.path).or_default();
            for row in now {
                file.agree.remove(row.place.as_str());
                match row.settings.as_ref().and_then(|sizes| differences(sizes, last)) {
                    Some(differ) if differ.is_empty() => drop(file.agree.insert(&row.place)),
                    Some(differ) => never.push((differ, row.path.as_str())),
                    None => {}
                }
            }
            if file.agree.is_empty() {
                past.extend(file.begun.take().map(|from| (from, commit, first.path.as_str())));
            } else {
                file.begun.get_or_insert(commit);
            }
        }
        let at = |commit: &Commit| place.get(commit.id.as_str()).copied();
        let since = files.iter().filter_map(|(path, file)| Some((file.begun?, *path)));
        if let Some((commit, path)) = since.min_by_key(|(commit, _)| at(commit)) {
            return Freeze::Since { commit, path };
        }
        if let Some(&(from, until, path)) = past.iter().max_by_key(|(_, until, _)| at(until)) {
            return Freeze::Past { from, until, path };
        }
        match never.into_iter().min_by_key(|(differ, _): &(Vec<String>, &str)| differ.len()) {
            Some((differences, path)) => Freeze::Never { path, differences },
            None => Freeze::Unknown,
        }
    }
}

/// A file on the way along the line.
#[derive(Default)]
struct File<'a> {
    /// Places that have the final sizes now.
    agree: BTreeSet<&'a str>,
    /// Since when one has.
    begun: Option<&'a Commit>,
}
