//! The structural settings along the line of commits.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::Repository;
use super::changes::{Change, Contents};
use crate::settings::{Block, Settings};

/// Rows kept, and sizes in all of them; a history with more is made to be one.
const ROWS: usize = 100_000;
const SIZES: usize = 400_000;

/// A change of one place of a settings file along the line of first parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsRow {
    /// The commit from which it holds.
    pub commit: String,
    /// The file.
    pub path: String,
    /// The place in the file: a class, a mapping, a call, a section; empty for the whole file.
    pub place: String,
    /// The sizes in it, or nothing where it is gone or names fewer than three.
    pub settings: Option<Settings>,
    /// The line of every size, from 1, where it is known.
    pub lines: BTreeMap<String, u64>,
}

/// One size that a commit of the main line set, changed or took away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsChange {
    /// The commit.
    pub commit: String,
    /// Its committer time.
    pub at: DateTime<Utc>,
    /// The file.
    pub path: String,
    /// The place in the file.
    pub place: String,
    /// The line from 1, where it is known.
    pub line: Option<u64>,
    /// The size, by the name that all families share here.
    pub name: String,
    /// Its value; nothing if it is gone.
    pub value: Option<i64>,
    /// Its value before; nothing if it is new.
    pub former: Option<i64>,
}

/// Puts the settings of every commit of the line together.
pub fn read(facts: &mut Repository, paths: &[String], changes: &[Vec<Change>], contents: &Contents, line: &[usize]) {
    let mut now: BTreeMap<(&str, &str), &Block> = BTreeMap::new();
    let mut places: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut ever: BTreeSet<&str> = BTreeSet::new();
    let mut rows = Vec::new();
    let mut sizes = 0;
    'line: for &at in line {
        let Some(commit) = facts.commits.get(at) else { continue };
        for change in &changes[at] {
            let path = change.path.as_str();
            if !paths.is_empty() && !paths.iter().any(|given| given == path) {
                continue;
            }
            if change.blob.is_some() {
                ever.insert(path);
            }
            let blocks = contents.of(change).map(|content| content.blocks.as_slice()).unwrap_or_default();
            if rows.len() > ROWS || sizes > SIZES {
                facts.notes.push(format!(
                    "the settings change more than {ROWS} times or name more than {SIZES} sizes; the rest is not looked at"
                ));
                break 'line;
            }
            let mut row = |place: &str, block: Option<&Block>| {
                sizes += block.map_or(0, |block| block.settings.len());
                rows.push(SettingsRow {
                    commit: commit.id.clone(),
                    path: super::clean(path),
                    place: place.to_owned(),
                    settings: block.map(|block| block.settings.clone()),
                    lines: block.map(|block| block.lines.clone()).unwrap_or_default(),
                });
            };
            let names: BTreeSet<&str> = blocks.iter().map(|block| block.name.as_str()).collect();
            for gone in places.get(path).into_iter().flatten().filter(|place| !names.contains(**place)) {
                now.remove(&(path, *gone));
                row(gone, None);
            }
            for block in blocks {
                let before = now.insert((path, &block.name), block);
                if before.is_none_or(|before| before.settings != block.settings) {
                    row(&block.name, Some(block));
                }
            }
            if names.is_empty() {
                places.remove(path);
            } else {
                places.insert(path, names);
            }
        }
    }
    for path in paths {
        if !ever.contains(path.as_str()) {
            facts.notes.push(format!("no commit of the main line has the settings file {path}"));
        } else if !rows.iter().any(|row| row.path == *path) {
            facts.notes.push(format!("{path} is never a file with three or more known sizes in one place"));
        }
    }
    facts.settings = rows;
}

impl Repository {
    /// The history of the settings, size by size, the oldest first.
    pub fn settings_history(&self) -> Vec<SettingsChange> {
        let at: BTreeMap<&str, DateTime<Utc>> = self.commits.iter().map(|c| (c.id.as_str(), c.committer.at)).collect();
        let mut now: BTreeMap<(&str, &str), &Settings> = BTreeMap::new();
        let (mut changes, none) = (Vec::new(), Settings::new());
        for row in &self.settings {
            let Some(&at) = at.get(row.commit.as_str()) else { continue };
            let key = (row.path.as_str(), row.place.as_str());
            let before = now.get(&key).copied().unwrap_or(&none);
            let after = row.settings.as_ref().unwrap_or(&none);
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                let (value, former) = (after.get(name).copied(), before.get(name).copied());
                if value != former {
                    changes.push(SettingsChange {
                        commit: row.commit.clone(),
                        at,
                        path: row.path.clone(),
                        place: row.place.clone(),
                        line: row.lines.get(name).copied(),
                        name: name.clone(),
                        value,
                        former,
                    });
                }
            }
            match &row.settings {
                Some(settings) => drop(now.insert(key, settings)),
                None => drop(now.remove(&key)),
            }
        }
        changes
    }
}
