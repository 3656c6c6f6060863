//! What the record is judged by.

pub mod rates;
mod reading;
mod register;
pub(crate) mod repository;
mod tables;
mod weights;

use scratchproof_case::Policy;
use scratchproof_finding::time::{self, CheckpointFile, ParentRelease, RepositoryFacts, StepNorm, TimeFacts};
use scratchproof_finding::{Condition, Ground, Judgement};
use scratchproof_measurements::{Model, Replay};
use scratchproof_record::settings;

use super::Session;

pub use reading::Reading;
pub use tables::record_tables;
pub use weights::wants_md5;

/// What ties the logs to the weights beside the chain.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    /// Norms by checkpoint.
    pub norms: Vec<StepNorm>,
    /// Files by checkpoint.
    pub files: Vec<CheckpointFile>,
}

impl Weights {
    /// Norms are of interest only beside a log.
    #[must_use]
    pub fn new(session: &Session) -> Self {
        let logged = !session.record.record.runs.is_empty();
        Self { norms: if logged { weights::norms(session) } else { Vec::new() }, files: weights::files(session) }
    }
}

/// Condition T. `subject` is the final checkpoint, as far as it could be opened; `start` is what came out for the start.
#[must_use]
pub fn judge(
    reading: &Reading,
    subject: Option<&Model>,
    steps: &[i64],
    start: Condition,
    weights: &Weights,
    policy: &Policy,
) -> Judgement {
    let releases: Vec<ParentRelease> =
        reading.releases.iter().map(|(parent, release)| ParentRelease { parent, release: release.as_ref() }).collect();
    let settings = subject.and_then(|subject| subject.config.as_ref()).and_then(settings::from_json);
    let repository = match (&reading.unreadable, &reading.record.repository) {
        (Some(why), _) => RepositoryFacts::Unreadable(why),
        (None, Some(repository)) => RepositoryFacts::Read(repository),
        (None, None) => RepositoryFacts::None,
    };
    let register = register::Against::new(reading, subject);
    // The tokenizer's own size stands beside that of the embedding, which may be padded.
    let sizes = subject.map_or([None; 2], |subject| [subject.vocab_size, subject.tokenizer]);
    let vocabularies: Vec<u64> = sizes.into_iter().flatten().map(|v| v as u64).collect();
    let facts = TimeFacts {
        runs: &reading.record.runs,
        repository,
        steps,
        vocabularies: &vocabularies,
        sizes: subject.map(weights::sizes).unwrap_or_default(),
        parents: &releases,
        settings: settings.as_ref(),
        story: Some(&reading.record.story),
        start,
        witnesses: &reading.witnesses,
        ledger: reading.ledger.as_ref(),
        losses: reading.losses.as_ref(),
        held: &reading.held,
        register: register.as_ref().map(register::Against::facts),
        active: subject.and_then(weights::active),
        norms: &weights.norms,
        files: &weights.files,
    };
    time::judge(&facts, policy)
}

/// What was given beside the weights.
#[must_use]
pub fn ground(session: &Session) -> Ground {
    let reading = session.record;
    let names = |dated: bool| {
        let of = reading.releases.iter().filter(move |(_, release)| release.is_some() == dated);
        of.map(|(name, _)| name.clone()).collect()
    };
    Ground {
        log: !reading.record.runs.is_empty(),
        rates: reading.trainings().any(|run| run.learning_rate().len() > 1),
        decay: reading.trainings().any(|run| run.weight_decay().is_some()),
        repository: reading.record.repository.is_some(),
        released: names(true),
        undated: names(false),
        init: matches!(&session.measured.replay, Replay::Done(_, replayed) if replayed.whole()),
        ..Ground::default()
    }
}
