//! The case file: what is claimed of which models, and what there is to hold it against.
//!
//! Parsed as typed, then validated as a whole with lines, then resolved: a [`Case`] names files that exist and steps
//! that are distinct. Unknown keys are errors.

mod choice;
mod file;
mod policy;
pub mod profile;
mod published;
mod requirement;
mod series;

use std::path::PathBuf;

pub use choice::{Choice, Sampling};
pub use file::is_hub_name;
pub use policy::Policy;
pub use published::{PublishedFile, PublishedStep};
pub use requirement::Requirement;
pub use series::{apart, grouped, hole, named, passed_over};

/// A validated case file. Paths are relative to the file as written, and resolved beside it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name of the case.
    pub name: String,
    /// The claim; `from-scratch` is the only one.
    pub claim: String,
    /// Who claims it, when, and who looks at it, as the file says.
    pub stated: Stated,
    /// SHA-256 of the case file's bytes, hexadecimal.
    pub digest: String,
    /// Path of the case file as given.
    pub path: PathBuf,
    /// The model in question.
    pub subject: Subject,
    /// Candidate parents.
    pub parents: Vec<Reference>,
    /// Models known to be unrelated.
    pub controls: Vec<Reference>,
    /// Run logs.
    pub runs: Vec<Run>,
    /// The repository of the training code.
    pub repository: Option<Repository>,
    /// Outside witnesses.
    pub witnesses: Vec<Witness>,
    /// The ledger that was kept during the training.
    pub ledger: Option<Location>,
    /// Losses that were recomputed from the checkpoints.
    pub loss: Option<Location>,
    /// Every threshold.
    pub policy: Policy,
    /// What of it is used: nobody's words of the file, but of whoever audits it.
    pub choice: Choice,
}

/// What a model is called by where it lies: the last part of a path or an address, whichever way its slashes lean; all of it
/// where that says nothing.
#[must_use]
pub fn last_part(path: &str) -> &str {
    const SLASHES: [char; 2] = ['/', '\\'];
    let last = path.trim_end_matches(SLASHES).rsplit(SLASHES).next().unwrap_or_default();
    if ["", ".", ".."].contains(&last) { path } else { last }
}

impl Case {
    /// Two models and controls without a case file: a single subject, one parent, no record, the default thresholds. A
    /// model is called by the last part of its path or address; of equal names the later ones are numbered.
    #[must_use]
    pub fn of_models(subject: &str, parent: &str, controls: &[String]) -> Self {
        let location = |written: &str| Location { written: written.to_owned(), path: PathBuf::from(written) };
        let mut taken: Vec<String> = Vec::new();
        let mut name = |written: &str| {
            let plain = last_part(written);
            let mut name = plain.to_owned();
            let mut number = 2;
            while taken.contains(&name) {
                name = format!("{plain} ({number})");
                number += 1;
            }
            taken.push(name.clone());
            name
        };
        let own = name(subject);
        let mut reference = |written: &str| Reference {
            name: name(written),
            location: location(written),
            fingerprint: false,
            released: None,
        };
        let parents = vec![reference(parent)];
        let controls = controls.iter().map(|control| reference(control)).collect();
        Self {
            name: own.clone(),
            claim: "from-scratch".to_owned(),
            stated: Stated::default(),
            digest: String::new(),
            path: PathBuf::new(),
            subject: Subject {
                name: own,
                checkpoints: vec![CheckpointEntry {
                    step: None,
                    location: location(subject),
                    tokens: None,
                    saved: None,
                    averaged: None,
                }],
                pattern: None,
                published: Vec::new(),
                averaged: None,
                init: None,
                architecture: None,
            },
            parents,
            controls,
            runs: Vec::new(),
            repository: None,
            witnesses: Vec::new(),
            ledger: None,
            loss: None,
            policy: Policy::default(),
            choice: Choice::default(),
        }
    }
}

/// What the case file says of the claim itself. Nothing is judged by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stated {
    /// Who claims it.
    pub claimant: Option<String>,
    /// When it was claimed or the case was opened, as written.
    pub date: Option<String>,
    /// Who examines it.
    pub auditor: Option<String>,
}

/// The model in question: a series of checkpoints, or one model.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Name for people.
    pub name: String,
    /// Checkpoints by ascending step; a single model has one entry without a step.
    pub checkpoints: Vec<CheckpointEntry>,
    /// Where the checkpoints are to be looked up over a network: an address with `{step}` in it. Then there are none yet.
    pub pattern: Option<String>,
    /// What the hub lists of them, where they were looked up.
    pub published: Vec<PublishedStep>,
    /// How the weights of every checkpoint were averaged over steps (`ema`, `swa`, `lawa`), if the developer says so.
    pub averaged: Option<String>,
    /// How the developer says it was initialised.
    pub init: Option<Init>,
    /// Templates for names that the tool does not know, in the form of its own (`inspect --template` prints one).
    pub architecture: Option<Location>,
}

impl Subject {
    /// Whether it is a series; otherwise nothing can be said of start and chain.
    #[must_use]
    pub fn is_series(&self) -> bool {
        self.checkpoints.iter().all(|checkpoint| checkpoint.step.is_some())
    }
}

/// One checkpoint of the series.
#[derive(Clone, Debug)]
pub struct CheckpointEntry {
    /// Training step; `None` for a single model.
    pub step: Option<i64>,
    /// Where it is.
    pub location: Location,
    /// Tokens seen, where the case file says so.
    pub tokens: Option<u64>,
    /// When it was saved, where the case file says so.
    pub saved: Option<String>,
    /// How this checkpoint's weights were averaged, where the case file says so.
    pub averaged: Option<String>,
}

/// A path or an address as the case file writes it, and where that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// As written.
    pub written: String,
    /// Resolved beside the case file; an address is no path and stays as it is.
    pub path: PathBuf,
}

impl Location {
    /// The scheme, if it is an address (`hf://org/name`, `https://...`), as a model may be.
    #[must_use]
    pub fn scheme(&self) -> Option<&str> {
        self.written.split_once("://").map(|(scheme, _)| scheme)
    }
}

/// The declared start.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Init {
    pub scheme: Option<String>,
    pub std: Option<f64>,
    pub seed: Option<u64>,
    pub framework: Option<String>,
    /// How the seed became weights: what the recorder under `fixtures/replay` wrote.
    pub recipe: Option<Location>,
}

/// A parent or a control.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Name for people; unique among parents and controls.
    pub name: String,
    /// Where it is.
    pub location: Location,
    /// Whether that is its fingerprint, not its weights.
    pub fingerprint: bool,
    /// When its weights became public.
    pub released: Option<Released>,
}

/// A release date as the case file writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// The date or instant as written.
    pub at: String,
    /// Page that says so.
    pub source: Option<String>,
    /// Trust grade of that page.
    pub grade: Option<String>,
    /// Line of the case file.
    pub line: usize,
}

/// A run log.
#[derive(Clone, Debug)]
pub struct Run {
    /// Folder or file.
    pub location: Location,
    /// Names of metrics, where guessing would fail: `step`, `loss`, `learning_rate`, `grad_norm`, `tokens`.
    pub keys: std::collections::BTreeMap<String, String>,
}

/// The repository of the training code.
#[derive(Clone, Debug)]
pub struct Repository {
    /// Working tree, bare repository or bundle.
    pub location: Location,
    /// Files that hold the architecture; empty: to be found.
    pub settings: Vec<String>,
    /// Who may sign with which SSH key: an allowed-signers file of `ssh-keygen`.
    pub allowed_signers: Option<Location>,
    /// `OpenPGP` public keys, armoured or binary.
    pub keys: Vec<Location>,
}

/// An outside witness: somebody else's clock, over something in the case.
///
/// ```toml
/// [[witness]]
/// proof = "stamps/release.tsr"       # .tsr, .tst, .der, .pem, .ots, saved .json, hf://org/name or https://
/// over = "tag:v1.0"                  # optional: commit:ID, tag:NAME, checkpoint:STEP or file:PATH; found by digest if left out
/// roots = ["tsa-root.pem"]           # certificates the auditor trusts, for time-stamp tokens
/// headers = "headers.txt"            # block headers the auditor trusts, for OpenTimestamps
/// ```
#[derive(Clone, Debug)]
pub struct Witness {
    /// The token, the proof or the saved answer; or an address.
    pub proof: Location,
    /// What it is over, where the case file says so.
    pub over: Option<Over>,
    /// Files of trusted certificates.
    pub roots: Vec<Location>,
    /// File of block headers.
    pub headers: Option<Location>,
    /// Line of the case file.
    pub line: usize,
}

/// What a witness is said to be over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// A commit: its id, or its first seven digits or more.
    Commit(String),
    /// A tag, by its name.
    Tag(String),
    /// A checkpoint, by its step (0 for a single model).
    Checkpoint(i64),
    /// A file.
    File(Location),
}
