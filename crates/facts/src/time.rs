//! What the record is judged by.

pub mod rates;
mod reading;
mod register;
pub(crate) mod repository;
mod states;
mod tables;
mod weights;

use scratchproof_case::Policy;
use scratchproof_finding::time::{self, CheckpointFile, ParentRelease, RepositoryFacts, StepNorm, TimeFacts};
use scratchproof_finding::{Condition, Finding, Ground, Judgement, Tie};
use scratchproof_measurements::{Model, Replay};
use scratchproof_record::settings;

use super::Session;
use scratchproof_finding::chain::VARIES;

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
    /// Whether the chain ties one: its rates and its decay are those of the weights.
    pub tied: bool,
}

impl Weights {
    /// Norms are of interest only beside a log.
    #[must_use]
    pub fn new(session: &Session, chain: &[Finding]) -> Self {
        let logged = !session.record.record.runs.is_empty();
        Self {
            norms: if logged { weights::norms(session) } else { Vec::new() },
            files: weights::files(session),
            tied: chain.iter().any(|finding| Tie::of(finding).is_some()),
        }
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
        images: vocabularies.is_empty() && subject.and_then(|s| s.config.as_ref()).is_some_and(of_images),
        contrastive: subject.is_some_and(contrastive),
        sizes: subject.map(weights::sizes).unwrap_or_default(),
        parents: &releases,
        settings: settings.as_ref(),
        story: Some(&reading.record.story),
        start,
        tied: weights.tied,
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

/// Whether a model's towers are trained against each other: it has the temperature of that loss, a configuration of texts and of
/// what they belong to, and no output layer. CLIP, `SigLIP`, CLAP.
fn contrastive(model: &Model) -> bool {
    let has = |key: &str| {
        model.config.as_ref().is_some_and(|config| config.get(key).is_some_and(serde_json::Value::is_object))
    };
    let temperature = |name: &str| ["logit_scale", "logit_scale_a", "logit_scale_t"].contains(&last(name));
    has("text_config")
        && (has("vision_config") || has("audio_config"))
        && model.tensors.iter().any(|tensor| temperature(&tensor.name))
        && !model.tensors.iter().any(|tensor| tensor.name.ends_with("lm_head.weight"))
}

/// The last part of a tensor's name.
fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Whether a configuration is that of a model of images: it has their size, or that of their patches, and no vocabulary.
fn of_images(config: &serde_json::Value) -> bool {
    ["image_size", "patch_size"].iter().any(|key| config.get(key).is_some()) && config.get("vocab_size").is_none()
}

/// What was given beside the weights.
#[must_use]
pub fn ground(session: &Session) -> Ground {
    let reading = session.record;
    let names = |dated: bool| {
        let of = reading.releases.iter().filter(move |(_, release)| release.is_some() == dated);
        of.map(|(name, _)| name.clone()).collect()
    };
    // As the step sizes ask it: mean rates of the intervals within a factor of 1.5 leave nothing to follow, the warm-up apart.
    let mean = |pair: &[i64]| Some(rates::rates(reading, pair[0], pair[1])?.sum / (pair[1] - pair[0]) as f64);
    let means: Option<Vec<f64>> = session.steps().windows(2).skip(1).map(mean).collect();
    let one_rate = means.is_some_and(|means| {
        let (least, most) = means.iter().fold((f64::INFINITY, 0.0_f64), |(a, b), rate| (a.min(*rate), b.max(*rate)));
        most > 0.0 && most < VARIES * least
    });
    Ground {
        featureless: one_rate && reading.trainings().next().is_some_and(|run| run.weight_decay() == Some(0.0)),
        states: !session.measured.optimizer.points.is_empty(),
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
