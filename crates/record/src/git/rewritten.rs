//! Traces that a history was rewritten or cut: shallow clones, grafts, replaced objects, reference logs, originals that
//! a rewriting tool left behind.

use scratchproof_source::plain;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Reference logs read, and bytes of each.
const LOGS: usize = 2000;
const LOG_BYTES: u64 = 4 << 20;

/// One trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Whether older history is missing, or merely another one was there.
    pub cut: bool,
    /// What it is, in words.
    pub words: String,
}

/// Traces in the folder of a repository.
pub fn traces(folder: &Path, shallow: bool) -> Vec<Trace> {
    let mut found = Vec::new();
    if shallow {
        found.push(Trace { cut: true, words: "the clone is shallow: older commits are not in it".into() });
    }
    for (file, cut, what) in [
        ("info/grafts", true, "grafts change who is whose parent"),
        ("objects/info/alternates", false, "objects are borrowed from another repository"),
        ("filter-repo/commit-map", false, "git filter-repo rewrote the history"),
    ] {
        if fs::metadata(folder.join(file)).is_ok_and(|about| about.len() > 0) {
            found.push(Trace { cut, words: format!("{what} ({file})") });
        }
    }
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for log in logs(&folder.join("logs")) {
        let mut bytes = Vec::new();
        let Ok(file) = plain::open(&log) else { continue };
        if file.take(LOG_BYTES).read_to_end(&mut bytes).is_err() {
            continue;
        }
        for line in String::from_utf8_lossy(&bytes).lines() {
            let Some((_, message)) = line.split_once('\t') else { continue };
            let kind = if message.contains("forced-update") {
                "forced updates"
            } else if message.starts_with("rebase") || message.starts_with("pull --rebase") {
                "steps of rebases"
            } else if message.contains("(amend)") {
                "amended commits"
            } else if message.starts_with("reset:") {
                "resets"
            } else if message.starts_with("filter-branch") {
                "rewrites by git filter-branch"
            } else {
                continue;
            };
            *kinds.entry(kind).or_default() += 1;
        }
    }
    if !kinds.is_empty() {
        let list: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        found.push(Trace { cut: false, words: format!("the reference logs tell of {}", list.join(", ")) });
    }
    found
}

fn logs(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = fs::read_dir(&folder).into_iter().flatten().flatten().take(LOGS).collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && folders.len() < LOGS => folders.push(entry.path()),
                Ok(kind) if kind.is_file() && files.len() < LOGS => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files
}
