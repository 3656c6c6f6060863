//! What of a case is used, remembered: which checkpoints of its series, and which rows. What is measured again, verified or
//! done in parts elsewhere uses the same.

use std::path::Path;

use serde::{Deserialize, Serialize};

use scratchproof_case::{Case, CheckpointEntry, Choice, Location, PublishedStep};
use scratchproof_error::{Context, Error, Result};
use scratchproof_folder::{Folder, LONGEST};
use scratchproof_source::{Access, plain};
use scratchproof_store::CHOICE;
use scratchproof_texts::text;

use super::asked::Asked;
use super::expand::{Chosen, expand};

/// Name of the form.
const SCHEMA: &str = "scratchproof.choice/1";

/// One checkpoint that is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Used {
    step: i64,
    written: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
}

/// The choice as it is kept, with what it came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pinned {
    schema: String,
    choice: Choice,
    /// The checkpoints, where the case file does not list them or not all are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used: Option<Vec<Used>>,
    /// What was listed of a published series.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    published: Vec<PublishedStep>,
}

impl Pinned {
    /// What a case uses; nothing if that is all that its file lists.
    #[must_use]
    pub fn of(case: &Case) -> Option<Self> {
        let Case { choice, subject, .. } = case;
        if *choice == Choice::default() && subject.pattern.is_none() {
            return None;
        }
        let one = |entry: &CheckpointEntry| {
            Some(Used { step: entry.step?, written: entry.location.written.clone(), tokens: entry.tokens })
        };
        let listed = subject.pattern.is_some() || choice.left > 0;
        let used = listed.then(|| subject.checkpoints.iter().filter_map(one).collect());
        Some(Self { schema: SCHEMA.to_owned(), choice: choice.clone(), used, published: subject.published.clone() })
    }

    /// As it is kept.
    ///
    /// # Errors
    /// If it is none of this tool's.
    pub fn read(text: &[u8]) -> Result<Self> {
        let pinned: Self = serde_json::from_slice(text).map_err(|cause| Error::input(cause.to_string()))?;
        if pinned.schema != SCHEMA || !pinned.choice.is_sound() {
            return Err(Error::input(text!("error-audit/choice/no-choice-form", schema = SCHEMA)));
        }
        Ok(pinned)
    }

    /// Uses of a case what was used before.
    ///
    /// # Errors
    /// A usage error if the case file does not list a checkpoint any more that was used.
    pub fn apply(self, case: &mut Case) -> Result<()> {
        if let Some(used) = self.used {
            let known = std::mem::take(&mut case.subject.checkpoints);
            for one in used {
                let own = known.iter().find(|e| e.step == Some(one.step) && e.location.written == one.written);
                let entry = match own {
                    Some(own) => own.clone(),
                    None if case.subject.pattern.is_some() => CheckpointEntry {
                        step: Some(one.step),
                        location: Location { path: one.written.clone().into(), written: one.written },
                        tokens: one.tokens,
                        saved: None,
                        averaged: None,
                    },
                    None => {
                        return Err(Error::usage(text!(
                            "error-audit/choice/case-file-lists-no",
                            step = &one.step,
                            written = &one.written
                        )));
                    }
                };
                case.subject.checkpoints.push(entry);
            }
        }
        case.subject.published = self.published;
        case.choice = self.choice;
        Ok(())
    }
}

/// What was chosen in a folder, if anything was.
fn kept(dir: &Path) -> Result<Option<Pinned>> {
    let path = dir.join(CHOICE);
    if !path.is_file() {
        return Ok(None);
    }
    Pinned::read(&plain::read(&path, LONGEST)?).context(|| CHOICE.to_owned()).map(Some)
}

/// Uses of a case what the audit in a folder used; whether something was chosen there.
///
/// # Errors
/// If what is kept there cannot be read, or the case file is another.
pub fn recall(case: &mut Case, dir: &Path) -> Result<bool> {
    let Some(pinned) = kept(dir)? else { return Ok(false) };
    pinned.apply(case)?;
    Ok(true)
}

/// Keeps in a folder what a case uses.
///
/// # Errors
/// If it cannot be written.
pub fn remember(case: &Case, folder: &Folder) -> Result<()> {
    match Pinned::of(case) {
        Some(pinned) => {
            let text = serde_json::to_vec_pretty(&pinned).map_err(|cause| Error::input(cause.to_string()))?;
            folder.write(CHOICE, &text).map(|_| ())
        }
        None => folder.remove(CHOICE),
    }
}

/// Settles what of a case is used: what is asked for; where nothing is, or the same as before, what the folder remembers.
///
/// # Errors
/// As [`expand`] and [`recall`].
pub fn settle(case: &mut Case, access: Access, asked: &Asked, folder: Option<&Folder>) -> Result<Chosen> {
    if let Some(folder) = folder
        && let Some(pinned) = kept(folder.root())?
        && (!asked.is_something() || asked.is_as(&pinned.choice))
    {
        let left = pinned.choice.left;
        pinned.apply(case)?;
        return Ok(Chosen { left, remembered: true, ..Chosen::default() });
    }
    let chosen = expand(case, access, asked)?;
    if let Some(folder) = folder {
        remember(case, folder)?;
    }
    Ok(chosen)
}
