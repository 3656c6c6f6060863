//! What is asked before libgit2 opens anything: it opens whatever lies under the names it knows, waits for a FIFO, and
//! reads every file and object whole.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Odb, Oid};

use super::{Pulse, clean};
use scratchproof_error::{Error, Result};
use scratchproof_source::plain;
use scratchproof_texts::text;

/// Settings of a repository: some hundred bytes; libgit2's parser takes eighty times a file's size.
const CONFIG: u64 = 1 << 20;
/// Files that lists of references, grafts and edges lie in.
const LIST: u64 = 64 << 20;
/// Files of one line: a loose reference, HEAD, a pointer to another folder.
const LINE: u64 = 64 << 10;
/// Loose references and their folders.
const REFERENCES: usize = 2_000_000;
/// Files that settings include, and how deep.
const INCLUDES: usize = 64;
/// Commits and tags of more bytes are not opened.
pub const LARGEST: usize = 4 << 20;
/// Tags of tags.
const NESTED: usize = 16;

/// Files by their places in a repository's own folder, with the most bytes of each.
const FILES: &[(&str, u64)] = &[
    ("HEAD", LINE),
    ("FETCH_HEAD", LIST),
    ("ORIG_HEAD", LINE),
    ("commondir", LINE),
    ("gitdir", LINE),
    ("config", CONFIG),
    ("config.worktree", CONFIG),
    ("packed-refs", LIST),
    ("shallow", LIST),
    ("info/grafts", LIST),
    ("info/attributes", CONFIG),
    ("info/exclude", CONFIG),
    ("objects/info/alternates", CONFIG),
];

/// Whether everything that libgit2 would open of a repository at `here` is a plain file of a size that it may read.
///
/// # Errors
/// If something is not; the message names it.
pub fn repository(here: &Path, pulse: &Pulse) -> Result<()> {
    let about =
        fs::metadata(here).map_err(|cause| Error::io(text!("error-record/guard/repository-cannot-opened"), cause))?;
    if !about.is_dir() {
        return Err(Error::input(text!("error-record/guard/neither-folder-nor-bundle")));
    }
    let mut folders = vec![here.to_owned()];
    let inner = here.join(".git");
    match fs::metadata(&inner) {
        Ok(about) if about.is_dir() => folders.push(inner),
        Ok(_) => folders.extend(pointed(&inner, "gitdir:")?),
        Err(_) => {}
    }
    if let Some(common) = folders.last().map(|last| last.join("commondir")).filter(|file| file.exists()) {
        folders.extend(pointed(&common, "")?);
    }
    let mut included = BTreeSet::new();
    for folder in &folders {
        for (name, longest) in FILES {
            fits(&folder.join(name), *longest)?;
        }
        for name in ["config", "config.worktree"] {
            includes(&folder.join(name), &mut included)?;
        }
        references(&folder.join("refs"), pulse)?;
    }
    Ok(())
}

/// Where a file of one line points to, from its own folder.
fn pointed(file: &Path, before: &str) -> Result<Option<PathBuf>> {
    fits(file, LINE)?;
    let text = plain::text(file, LINE)?;
    let place = text.trim().trim_start_matches(before).trim();
    let parent = file.parent().unwrap_or(file);
    Ok((!place.is_empty()).then(|| parent.join(place)))
}

/// Whether a file, if there is one, is plain and not too long.
fn fits(file: &Path, longest: u64) -> Result<()> {
    let shown = || clean(&file.file_name().unwrap_or_default().to_string_lossy());
    match fs::metadata(file) {
        Ok(about) if !about.is_file() => {
            Err(Error::input(text!("error-record/guard/not-regular-file", shown = shown())))
        }
        Ok(about) if about.len() > longest => Err(Error::input(text!(
            "error-record/guard/bytes-most-read",
            shown = shown(),
            about = about.len(),
            longest
        ))),
        _ => Ok(()),
    }
}

/// Whether the files that settings include may be read: libgit2 follows them wherever they lead.
fn includes(config: &Path, seen: &mut BTreeSet<PathBuf>) -> Result<()> {
    if !config.exists() || !seen.insert(config.to_owned()) {
        return Ok(());
    }
    if seen.len() > INCLUDES {
        return Err(Error::input(text!("error-record/guard/settings-include-more-files", includes = INCLUDES)));
    }
    fits(config, CONFIG)?;
    let text = plain::text(config, CONFIG)?;
    let mut inside = false;
    // A value may go on in the next line.
    let text = text.replace("\r\n", "\n").replace("\\\n", "");
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.trim_start().get(..7).is_some_and(|word| word.eq_ignore_ascii_case("include"));
        }
        // A section and its first setting may stand in one line.
        let setting = line.rsplit_once(']').map_or(line, |(_, rest)| rest);
        let Some((name, value)) = setting.split_once('=').filter(|_| inside) else { continue };
        if !name.trim().eq_ignore_ascii_case("path") {
            continue;
        }
        let value = unquoted(value);
        let place = match value.strip_prefix("~/") {
            Some(rest) => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(rest),
            None => config.parent().unwrap_or(config).join(value),
        };
        includes(&place, seen)?;
    }
    Ok(())
}

/// The value of a setting as git reads it: without a comment, quotes and escapes (git-config(1), "Syntax").
fn unquoted(written: &str) -> String {
    let (mut value, mut quoted, mut characters) = (String::new(), false, written.trim_start().chars());
    // Blanks at the end do not count, unless they are quoted.
    let mut length = 0;
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                quoted = !quoted;
                length = value.len();
                continue;
            }
            '#' | ';' if !quoted => break,
            '\\' => value.push(match characters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('b') => '\u{8}',
                Some(other) => other,
                None => break,
            }),
            other => value.push(other),
        }
        if quoted || !character.is_whitespace() {
            length = value.len();
        }
    }
    value.truncate(length);
    value
}

/// Whether every loose reference is a short plain file.
fn references(folder: &Path, pulse: &Pulse) -> Result<()> {
    let (mut folders, mut count) = (vec![folder.to_owned()], 0_usize);
    while let Some(folder) = folders.pop() {
        pulse.beat("folder of references", count);
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            count += 1;
            if count > REFERENCES {
                return Err(Error::input(text!("error-record/guard/more-loose-references", references = REFERENCES)));
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => fits(&entry.path(), LINE)?,
            }
        }
    }
    Ok(())
}

/// The kind of an object that may be opened: it is there, and a commit or tag of it is not too large.
pub fn kind(odb: &Odb<'_>, id: Oid) -> Option<ObjectType> {
    odb.read_header(id).ok().filter(|(size, _)| *size <= LARGEST).map(|(_, kind)| kind)
}

/// The commit that an object is or that a tag, or a tag of a tag, is of.
pub fn commit(repository: &git2::Repository, odb: &Odb<'_>, id: Oid) -> Option<Oid> {
    let mut id = id;
    for _ in 0..NESTED {
        match kind(odb, id)? {
            ObjectType::Commit => return Some(id),
            ObjectType::Tag => id = repository.find_tag(id).ok()?.target_id(),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::unquoted;

    #[test]
    fn values_are_read_as_git_reads_them() {
        for (written, value) in [
            (" a b ", "a b"),
            (" a ; c", "a"),
            ("a#c", "a"),
            (r#" "a;b" # c"#, "a;b"),
            (r#"a"b c"d"#, "ab cd"),
            (r#""a ""#, "a "),
            (r#"a\\b\"c"#, r#"a\b"c"#),
            ("", ""),
        ] {
            assert_eq!(unquoted(written), value, "{written}");
        }
    }
}
