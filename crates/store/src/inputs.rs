//! What the inputs looked like when they were measured: names, lengths and times of their files. This belongs to this
//! computer alone, so it lies in a file that is neither sealed nor compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use scratchproof_error::json::fits;
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// Name of the file.
const NAME: &str = ".scratchproof-inputs";

/// A longer file is none of this tool.
const LONGEST: u64 = 256 << 20;

/// One file of a model: name, length, time of its last change in nanoseconds since 1970.
pub type SeenFile = (String, u64, u128);

/// A model as it lies on this computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where it is, as the case names it.
    pub uri: String,
    /// Its files by name; `None` if there is nothing there, or it is not on this computer.
    pub files: Option<Vec<SeenFile>>,
}

impl Seen {
    /// Looks at a folder or a file.
    #[must_use]
    pub fn at(uri: &str, path: &Path) -> Self {
        let one = |name: String, path: &Path| -> Option<SeenFile> {
            let about = fs::metadata(path).ok()?;
            let changed = about.modified().ok()?.duration_since(std::time::UNIX_EPOCH).map_or(0, |at| at.as_nanos());
            Some((name, about.len(), changed))
        };
        let files = if path.is_dir() {
            let entries = fs::read_dir(path).ok().into_iter().flatten().flatten();
            let files = entries.filter(|entry| entry.path().is_file());
            let mut files: Vec<SeenFile> = files
                .filter_map(|entry| one(entry.file_name().to_string_lossy().into_owned(), &entry.path()))
                .collect();
            files.sort();
            Some(files)
        } else {
            one(String::new(), path).map(|file| vec![file])
        };
        Self { uri: uri.to_owned(), files }
    }
}

/// What is remembered.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Inputs {
    /// By model, its files.
    models: BTreeMap<String, Vec<SeenFile>>,
    /// How often each piece was measured here.
    pub measured: BTreeMap<String, u64>,
    /// Where the case file is on this computer.
    #[serde(default)]
    case: Option<PathBuf>,
}

/// Takes note of where the case file of a finished audit is, for [`case_of`].
///
/// # Errors
/// If it cannot be written.
pub fn remember_case(folder: &Path, case: &Path) -> Result<()> {
    let mut inputs = Inputs::read(folder);
    inputs.case = fs::canonicalize(case).ok();
    inputs.write(folder)
}

/// Where the case file of the audit in a folder was, if it is still there.
#[must_use]
pub fn case_of(folder: &Path) -> Option<PathBuf> {
    Inputs::read(folder).case.filter(|path| path.is_file())
}

impl Inputs {
    /// What an earlier run remembered; nothing if it is not there or cannot be read, and then nothing is trusted.
    pub fn read(folder: &Path) -> Self {
        let path = folder.join(NAME);
        let short = fs::metadata(&path).is_ok_and(|about| about.is_file() && about.len() <= LONGEST);
        let text = if short { fs::read_to_string(&path).ok() } else { None };
        let text = text.filter(|text| fits(text.as_bytes()).is_ok());
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// Models of which a file is not what it was, or is new. What is gone was measured while it was there.
    pub fn changed(&self, now: &[Seen]) -> BTreeSet<String> {
        let known = |uri: &str, file: &SeenFile| self.models.get(uri).is_some_and(|files| files.contains(file));
        let differs = |seen: &&Seen| seen.files.iter().flatten().any(|file| !known(&seen.uri, file));
        now.iter().filter(differs).map(|seen| seen.uri.clone()).collect()
    }

    /// Takes note of what is there now.
    pub fn note(&mut self, now: &[Seen]) {
        for seen in now {
            let known = self.models.entry(seen.uri.clone()).or_default();
            for file in seen.files.iter().flatten() {
                known.retain(|(name, ..)| *name != file.0);
                known.push(file.clone());
            }
            known.sort();
        }
    }

    pub fn write(&self, folder: &Path) -> Result<()> {
        let part = folder.join(format!("{NAME}-part"));
        let text = serde_json::to_string(self).map_err(|cause| Error::input(cause.to_string()))?;
        fs::write(&part, text)
            .and_then(|()| fs::rename(&part, folder.join(NAME)))
            .map_err(|cause| Error::io(text!("error-store/inputs/cannot-write", name = NAME), cause))
    }
}
