//! Where the models and fingerprints lie that `scan` holds a model against.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use scratchproof::case::Policy;
use scratchproof::checkpoint::{Checkpoint, is_trainers};
use scratchproof::error::{Error, Result};
use scratchproof::fingerprint::is_fingerprint;
use scratchproof::source::ENDINGS;
use scratchproof_texts::{Text, text};

/// Candidates that are looked at, at most.
const MOST: usize = 10_000;
/// Entries of all folders together that are looked at, at most.
const ENTRIES: usize = 200_000;
/// So deep is looked: a hub cache below a folder of caches is five.
const DEPTH: usize = 6;

/// What is found below the places that were given, and what is not opened.
#[derive(Default)]
pub struct Places {
    /// Models and fingerprints, and what a model is called by where it lies.
    pub found: Vec<(PathBuf, String)>,
    /// What is not opened, and why.
    pub left: Vec<Text>,
    /// Whether something that may be a model is among that.
    pub lacking: bool,
    /// Folders that were looked into, so that no link leads in a circle.
    seen: BTreeSet<PathBuf>,
    /// The place that was given.
    given: PathBuf,
    entries: usize,
}

/// A place and why it was left out.
pub fn left_out(place: &Path, why: Text) -> Text {
    text!("scan/left/out", place = place.display(), why)
}

/// What a model is called by where it lies: the repository and the revision in a hub's cache, else its path below the place
/// that was given, so that the checkpoints of two series are told apart; the last part of a place that was given itself.
fn name_of(place: &Path, given: &Path) -> String {
    let last =
        |path: &Path| path.file_name().map_or_else(|| ".".to_owned(), |name| name.to_string_lossy().into_owned());
    let around = place.parent().filter(|around| last(around) == "snapshots").and_then(Path::parent);
    match around.map(last).as_deref().and_then(|name| name.strip_prefix("models--")) {
        Some(repository) => format!("{}@{}", repository.replace("--", "/"), last(place)),
        None => match place.strip_prefix(given) {
            Ok(below) if !below.as_os_str().is_empty() => below.display().to_string(),
            _ => last(place),
        },
    }
}

impl Places {
    /// The fingerprints and models at a place: itself, or what lies in a folder, as deep as there is anything.
    pub fn collect(&mut self, place: &Path) -> Result<()> {
        place.clone_into(&mut self.given);
        let reading = |e| Error::io(text!("error-cli/scan/reading", place = place.display()), e);
        if fs::metadata(place).map_err(reading)?.is_file() {
            self.add(place);
        } else {
            fs::read_dir(place).map_err(reading)?;
            self.folder(place, 0, false);
        }
        Ok(())
    }

    fn leave(&mut self, place: &Path, why: Text, lacking: bool) {
        self.left.push(left_out(place, why));
        self.lacking |= lacking;
    }

    fn add(&mut self, place: &Path) {
        if self.found.len() < MOST {
            self.found.push((place.to_owned(), name_of(place, &self.given)));
        } else {
            self.leave(place, text!("scan/left/many", most = MOST), true);
        }
    }

    /// Looks into a folder; whether anything came of it, a reason for leaving something out included. One that a link leads to may be
    /// a model, and is not looked through: a link may lead to all there is.
    fn folder(&mut self, place: &Path, depth: usize, linked: bool) -> bool {
        let before = (self.found.len(), self.left.len());
        if let Ok(own) = place.canonicalize()
            && !self.seen.insert(own)
        {
            return true;
        }
        let entries = match fs::read_dir(place) {
            Ok(entries) => entries,
            Err(why) => {
                self.leave(place, text!("scan/left/unread", why = why.to_string()), true);
                return true;
            }
        };
        let (mut folders, mut files, mut links) = (Vec::new(), Vec::new(), BTreeSet::new());
        for entry in entries.flatten() {
            self.entries += 1;
            if self.entries > ENTRIES {
                self.leave(place, text!("scan/left/entries", most = ENTRIES), true);
                break;
            }
            let path = entry.path();
            // Files of a hub's cache are links.
            match fs::metadata(&path) {
                Ok(kind) if kind.is_dir() => {
                    links.extend(entry.file_type().is_ok_and(|own| own.is_symlink()).then(|| path.clone()));
                    folders.push(path);
                }
                Ok(_) => files.push(path),
                Err(why) => self.leave(&path, text!("scan/left/unread", why = why.to_string()), true),
            }
        }
        folders.sort();
        files.sort();
        let (prints, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| is_fingerprint(file));
        for print in &prints {
            self.add(print);
        }
        let taken = self.model(place, &files, &folders);
        if linked {
            if (self.found.len(), self.left.len()) == before {
                self.leave(place, text!("scan/left/link"), true);
            }
            return true;
        }
        let mut empty = Vec::new();
        for folder in folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let of_cache = name_is_cached(place);
            if taken.iter().any(|file| file.starts_with(&folder)) || of_cache && name != "snapshots" {
                // Its files are those of the model; beside the snapshots of a cache lie their blobs.
                continue;
            }
            if name.starts_with('.') {
                self.leave(&folder, text!("scan/left/hidden"), false);
            } else if depth >= DEPTH {
                self.leave(&folder, text!("scan/left/deep", most = DEPTH), true);
            } else if self.entries > ENTRIES {
                self.leave(&folder, text!("scan/left/entries", most = ENTRIES), true);
            } else if !self.folder(&folder, depth + 1, links.contains(&folder)) && taken.is_empty() {
                empty.push(folder);
            }
        }
        // A folder in which there is nothing at all is named once, not with all that is in it.
        if (self.found.len(), self.left.len()) != before || depth == 0 {
            for folder in empty {
                self.leave(&folder, text!("scan/left/nothing"), false);
            }
        }
        (self.found.len(), self.left.len()) != before
    }

    /// The model that a folder is, or the models that its files are each; the files that are of the folder's model.
    fn model(&mut self, place: &Path, files: &[PathBuf], folders: &[PathBuf]) -> Vec<PathBuf> {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let weights: Vec<&PathBuf> = files.iter().filter(|file| is_weights(&name(file))).collect();
        // Ranks and parts lie one folder down, beside nothing that has a name of its own as a model.
        let parts = ["rank", "global_step", "weights", "dist", "consolidated"];
        let inside = || folders.iter().any(|folder| parts.iter().any(|part| name(folder).contains(part)));
        if weights.is_empty() && !inside() {
            return Vec::new();
        }
        if let Ok(checkpoint) = Checkpoint::open(place)
            && !checkpoint.tensors.is_empty()
        {
            self.add(place);
            for file in &weights {
                // A file that is not of this model may be another.
                let other = |name: &String| checkpoint.untaken.iter().any(|own| own.place == *name);
                if checkpoint.unread.contains(&name(file)) || other(&name(file)) {
                    self.add(file);
                }
            }
            // What is in another entry of its file cannot be named as a model.
            for own in checkpoint.untaken.iter().filter(|own| own.place.starts_with('"')) {
                let much = own.bytes as f64 > Policy::default().unreached_share * checkpoint.bytes() as f64;
                self.leave(place, text!("checkpoint/read/untaken", place = &own.place, bytes = own.bytes), much);
            }
            return checkpoint.shards.iter().map(|shard| place.join(&shard.name)).collect();
        }
        for file in &weights {
            self.add(file);
        }
        Vec::new()
    }
}

/// Whether a folder is a repository in a hub's cache.
fn name_is_cached(place: &Path) -> bool {
    place.file_name().is_some_and(|name| name.to_string_lossy().starts_with("models--"))
        && place.join("snapshots").is_dir()
}

fn is_weights(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let ends = ENDINGS.iter().any(|end| lower.ends_with(end)) || lower.ends_with(".distcp");
    ends && !is_trainers(&lower)
}
