//! Which checkpoints a pattern or a list names.

use std::collections::BTreeMap;
use std::path::Path;

/// A checkpoint as the case file gives it.
pub struct Listed {
    pub step: i64,
    pub written: String,
    pub tokens: Option<u64>,
    pub saved: Option<String>,
    pub averaged: Option<String>,
}

/// The checkpoints that `pattern` matches in `folder`: `{step}` stands for digits in one part of the path.
pub fn find(folder: &Path, pattern: &str) -> Result<Vec<Listed>, String> {
    if let Some((scheme, _)) = pattern.split_once("://") {
        return Err(format!(
            "a pattern is expanded in folders of this computer only, not in {scheme}:// addresses; list the checkpoints: \
             [{{ step = 0, model = \"hf://org/name@revision\" }}, ...]"
        ));
    }
    let Some((before, after)) = pattern.split_once("{step}") else {
        return Err(format!("the pattern \"{pattern}\" has no {{step}}"));
    };
    if after.contains("{step}") {
        return Err(format!("the pattern \"{pattern}\" has {{step}} twice"));
    }
    let (parent, prefix) = before.rsplit_once('/').map_or(("", before), |(parent, prefix)| (parent, prefix));
    let (suffix, rest) = after.split_once('/').map_or((after, None), |(suffix, rest)| (suffix, Some(rest)));
    let mut place = folder.join(parent);
    if place.as_os_str().is_empty() {
        // A case file of the current folder, named without one.
        place.push(".");
    }
    let entries = std::fs::read_dir(&place)
        .map_err(|e| format!("the pattern \"{pattern}\" cannot be expanded: {}: {e}", place.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| format!("{}: {e}", place.display()))?;
        let name = entry.file_name();
        let Some(digits) = name.to_str().and_then(|name| name.strip_prefix(prefix)?.strip_suffix(suffix)) else {
            continue;
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let step = digits.parse().map_err(|_| format!("the step of \"{}\" is too large", name.display()))?;
        let mut written = [parent, &name.to_string_lossy()].join(if parent.is_empty() { "" } else { "/" });
        if let Some(rest) = rest {
            written = format!("{written}/{rest}");
        }
        found.push(Listed { step, written, tokens: None, saved: None, averaged: None });
    }
    if found.is_empty() {
        return Err(format!("the pattern \"{pattern}\" matches nothing"));
    }
    // The order of a folder's entries is the file system's; messages and reports must not depend on it.
    found.sort_by(|a, b| (a.step, &a.written).cmp(&(b.step, &b.written)));
    Ok(found)
}

/// By ascending step; a step that appears twice is refused.
pub fn ordered(mut listed: Vec<Listed>) -> Result<Vec<Listed>, String> {
    if listed.is_empty() {
        return Err("the list of checkpoints is empty".to_owned());
    }
    let mut seen = BTreeMap::new();
    for entry in &listed {
        if entry.step < 0 {
            return Err(format!("step {} is negative", entry.step));
        }
        if let Some(first) = seen.insert(entry.step, &entry.written) {
            return Err(format!("step {} appears twice: {first} and {}", entry.step, entry.written));
        }
    }
    listed.sort_by_key(|entry| entry.step);
    Ok(listed)
}
