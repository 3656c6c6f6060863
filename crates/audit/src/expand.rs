//! What of a case is used: its checkpoints looked up and thinned, and the share of the rows.

use std::collections::BTreeSet;

use scratchproof_case::{Case, CheckpointEntry, Choice, Location, PublishedStep};
use scratchproof_error::{Error, Result};
use scratchproof_source::Access;
use scratchproof_texts::text;

use super::asked::Asked;
use super::budget::{budget, every_so_many};
use super::published::published;

/// What was chosen of a case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Checkpoints that were left out.
    pub left: usize,
    /// Bytes of weights that are to be fetched over a network, where what keeps them lists their lengths; about, where rows are
    /// drawn.
    pub bytes: u64,
    /// Whether it is what the folder remembered.
    pub remembered: bool,
}

/// Looks up the checkpoints of a case whose series is a pattern of a network, thins them, and settles which rows are read.
///
/// # Errors
/// As [`published`]; a usage error if no checkpoint is left, or what is left is more than may be fetched.
pub fn expand(case: &mut Case, access: Access, asked: &Asked) -> Result<Chosen> {
    if let Some(pattern) = case.subject.pattern.clone() {
        let server = pattern.starts_with("http") && !asked.steps.is_empty() && pattern.contains("{step}");
        if server && !access.offline {
            // Steps that are named need not be listed.
            case.subject.checkpoints = asked.steps.iter().map(|step| at_step(&pattern, *step)).collect();
            case.subject.checkpoints.sort_by_key(|entry| entry.step);
            case.subject.checkpoints.dedup_by_key(|entry| entry.step);
        } else {
            let found = published(&pattern, access)?;
            case.subject.checkpoints = found.steps.iter().map(entry).collect();
            case.subject.published = found.steps;
        }
    }
    let all = case.subject.checkpoints.len();
    if !asked.steps.is_empty() {
        are_there(&case.subject.checkpoints, &asked.steps)?;
        case.subject.checkpoints.retain(|entry| entry.step.is_none_or(|step| asked.steps.contains(&step)));
    } else if let Some(every) = asked.every {
        every_so_many(&mut case.subject.checkpoints, every);
    }
    if case.subject.checkpoints.is_empty() {
        return Err(Error::usage(text!("error-audit/published/no-checkpoint-series-left")));
    }
    let (bytes, sampling) = budget(case, access, asked)?;
    let left = all - case.subject.checkpoints.len();
    case.choice = Choice { steps: asked.steps.clone(), every: asked.every, most: asked.most, sampling, left };
    Ok(Chosen { left, bytes, remembered: false })
}

/// Refuses steps that the series does not have.
fn are_there(series: &[CheckpointEntry], steps: &[i64]) -> Result<()> {
    const SHOWN: usize = 12;
    // A checkpoint whose step its files say may be any.
    if series.iter().any(|entry| entry.step.is_none()) {
        return Ok(());
    }
    let there: BTreeSet<i64> = series.iter().filter_map(|entry| entry.step).collect();
    let mut missing = steps.iter().filter(|step| !there.contains(step));
    let Some(step) = missing.next() else { return Ok(()) };
    let list: Vec<i64> = there.iter().copied().take(SHOWN).collect();
    let more = there.len().saturating_sub(SHOWN);
    Err(Error::usage(text!("error-audit/published/step-not-there", step, list, more)))
}

/// The checkpoint of a step, where the pattern says it all.
fn at_step(pattern: &str, step: i64) -> CheckpointEntry {
    let written = pattern.replacen("{step}", &step.to_string(), 1);
    let location = Location { path: written.clone().into(), written };
    CheckpointEntry { step: Some(step), location, tokens: None, saved: None, averaged: None }
}

fn entry(step: &PublishedStep) -> CheckpointEntry {
    let location = Location { written: step.address.clone(), path: step.address.clone().into() };
    CheckpointEntry { step: Some(step.step), location, tokens: step.tokens, saved: None, averaged: None }
}
