//! Outside witnesses: somebody else's clock says that a commit, a tag or a checkpoint was there by then.
//!
//! - RFC 3161 tokens (`.tsr`, `.tst`, `.der`, PEM), verified offline against roots that the auditor gives. Revocation is not
//!   checked.
//! - `OpenTimestamps` proofs (`.ots`), verified offline against headers of Bitcoin blocks that the auditor gives. A header is
//!   held against its own proof of work and the least the network ever worked at; whether it is in the chain that everybody
//!   else has is not seen.
//! - Answers of hubs and forges, saved as JSON, or fetched (`hf://org/name`, `https://`).
//!
//! A commit id covers the commit's tree and all its history, so a stamp over an id is one over what it names. Ids of git are
//! SHA-1 digests; a pair made to collide is not seen here.

pub mod asn1;
mod ber;
pub mod calendar;
pub mod certificate;
mod document;
mod found;
mod headers;
mod ots;
pub mod pem;
mod pointers;
mod reading;
pub mod signature;
mod target;
pub mod token;

use std::collections::BTreeMap;

use crate::{Covered, Event, Existed, Interval, Trust};

pub use reading::read;
pub use target::{Target, TargetCheckpoint, TargetFile, Targets};

/// What kind of witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A time-stamping authority.
    Token,
    /// The Bitcoin chain.
    OpenTimestamps,
    /// A hub's or a forge's answer.
    Answer,
    /// Nothing that could be told.
    Unknown,
}

/// Why a witness is not believed, or says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It could not be read, or is of a kind that is not.
    Unreadable(String),
    /// It is good in itself and does not lead to anything the auditor trusts.
    Unanchored(String),
    /// It is not finished: no block yet.
    Pending(String),
    /// It is over something else than the case says.
    Other(String),
    /// Its own numbers do not agree.
    Broken(String),
}

impl Refusal {
    /// The reason, in words.
    pub fn why(&self) -> &str {
        match self {
            Self::Unreadable(why)
            | Self::Unanchored(why)
            | Self::Pending(why)
            | Self::Other(why)
            | Self::Broken(why) => why,
        }
    }
}

/// What one witness says of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// The proof, as the case names it.
    pub proof: String,
    /// What kind of witness.
    pub kind: Kind,
    /// What it is about: found by digest, or else what the case says it is over.
    pub target: Option<Target>,
    /// In which form that was stamped, or what a server says of it, in words.
    pub how: String,
    /// When it was stamped or seen; the thing was there at `latest`.
    pub existed_by: Option<Interval>,
    /// `anchored` or `platform` if verified; otherwise `self-asserted`.
    pub trust: Trust,
    /// Who says so.
    pub source: String,
    /// Whether it may be believed.
    pub verified: std::result::Result<(), Refusal>,
    /// What else to know of it.
    pub notes: Vec<String>,
}

impl Witnessed {
    /// Whether somebody outside vouches for it, and may be believed.
    pub fn is_outside(&self) -> bool {
        self.verified.is_ok() && self.trust >= Trust::Platform && self.existed_by.is_some()
    }

    /// The event on the timeline, if this may be believed and says when.
    pub fn event(&self) -> Option<Event> {
        let at = self.existed_by.filter(|_| self.verified.is_ok())?;
        let what = match (&self.target, self.kind) {
            (_, Kind::Answer) => self.how.clone(),
            (Some(target), _) => format!("{target} was time-stamped ({})", self.how),
            (None, _) => "a digest of nothing in this case was time-stamped".into(),
        };
        let until = (at.latest > at.earliest).then_some(at.latest);
        Some(Event { at: at.earliest, until, what, source: self.source.clone(), grade: self.trust, minor: false })
    }
}

/// Whether what a witness saw is among what the witnesses cover.
pub fn stands(existed: &[Existed], seen: &Witnessed) -> bool {
    existed.iter().filter(|existed| existed.source == seen.source).any(|existed| match (&existed.what, &seen.target) {
        (Covered::Commit(id), Some(Target::Commit(own) | Target::Tag { commit: Some(own), .. })) => id == own,
        (Covered::Checkpoint(step), Some(Target::Checkpoint { step: own, .. })) => step == own,
        _ => false,
    })
}

/// What the believed witnesses cover, for the order of things: commits, and checkpoints of which every weights file is
/// covered by one proof (a tokenizer that was on a hub says nothing of the weights beside it). Only what somebody outside
/// vouches for.
pub fn existed(seen: &[Witnessed], targets: &Targets) -> Vec<Existed> {
    let mut all = Vec::new();
    let mut parts: BTreeMap<(&str, i64), Vec<(&str, &Witnessed)>> = BTreeMap::new();
    for seen in seen.iter().filter(|seen| seen.is_outside()) {
        let Some(by) = seen.existed_by else { continue };
        let existed = |what| Existed { what, by, trust: seen.trust, source: seen.source.clone() };
        match &seen.target {
            Some(Target::Commit(id) | Target::Tag { commit: Some(id), .. }) => {
                all.push(existed(Covered::Commit(id.clone())));
            }
            Some(Target::Checkpoint { step, file: None }) => all.push(existed(Covered::Checkpoint(*step))),
            Some(Target::Checkpoint { step, file: Some(file) }) => {
                parts.entry((&seen.proof, *step)).or_default().push((file, seen));
            }
            _ => {}
        }
    }
    for ((_, step), parts) in parts {
        let Some(checkpoint) = targets.checkpoints.iter().find(|checkpoint| checkpoint.step == step) else { continue };
        let mut weights =
            checkpoint.files.iter().filter(|file| file.name.to_ascii_lowercase().ends_with(".safetensors"));
        let covered =
            weights.clone().next().is_some() && weights.all(|file| parts.iter().any(|(name, _)| *name == file.name));
        // All of them were there when the last one was.
        let last = parts.iter().max_by_key(|(_, seen)| seen.existed_by.map(|by| by.latest));
        if let (true, Some((_, seen))) = (covered, last)
            && let Some(by) = seen.existed_by
        {
            let least = parts.iter().map(|(_, seen)| seen.trust).min().unwrap_or_default();
            let what = Covered::Checkpoint(step);
            all.push(Existed { what, by, trust: least, source: seen.source.clone() });
        }
    }
    all.sort_by(|a, b| (&a.what, a.by.latest, &a.source).cmp(&(&b.what, b.by.latest, &b.source)));
    all.dedup();
    all
}
