//! The record of a case, read and judged.

use std::collections::BTreeSet;

use super::ties::{self, Ties};
use super::{inputs, register, repository};
use scratchproof_case::{Case, Policy};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::{Context, Result};
use scratchproof_finding::time::{self, Listed, ParentRelease, RepositoryFacts, Sizes, TimeFacts};
use scratchproof_finding::{Code, Condition, Direction, Finding, Grade, Judgement};
use scratchproof_record::listed::Shelf;
use scratchproof_record::{
    Decay, Existed, Interval, KeyMap, Optimizer, Release, Run, Targets, Trust, Witnessed, logs, service, settings,
    witness,
};
use scratchproof_report::{Input, InputRole, Skipped};
use scratchproof_source::Access;
use scratchproof_stats::Rule;
use scratchproof_texts::{Text, text};
use scratchproof_timeline::{Record, Saved, Sources};

/// What was read of the record, and what could not be.
pub(crate) struct Reading {
    pub record: Record,
    pub releases: Vec<(String, Option<Release>)>,
    /// Why the repository could not be read.
    pub unreadable: Option<String>,
    pub inputs: Vec<Input>,
    pub findings: Vec<Finding>,
    pub skipped: Vec<Skipped>,
    pub missing: Vec<Text>,
    /// What outside witnesses say; they are read when the checkpoints' digests are known.
    pub witnesses: Vec<Witnessed>,
    /// The dates of every parent, the one that is used and the others.
    pub listed: Vec<Listed>,
    /// Ids in the register of the parents and controls that the case names.
    pub proposed: BTreeSet<String>,
    /// Runs that go on from each other, put together.
    pub joined: Vec<Run>,
}

/// Learning rates between two checkpoints.
pub(crate) struct Rates {
    /// Sum over the steps.
    pub sum: f64,
    /// Share of a weight that decoupled decay takes away.
    pub decay: f64,
}

/// Reads run logs, repository and release dates. What cannot be read is a finding; a date in no format is an error.
/// `config` is `config.json` of the last checkpoint.
pub(crate) fn read(case: &Case, access: Access, config: Option<&serde_json::Value>) -> Result<Reading> {
    let listed = register::listed(case, &given(case)?, access)?;
    let mut reading = Reading {
        record: Record::default(),
        releases: listed.iter().map(|l| (l.parent.clone(), register::used(l).cloned())).collect(),
        unreadable: None,
        inputs: Vec::new(),
        findings: Vec::new(),
        skipped: Vec::new(),
        missing: Vec::new(),
        witnesses: Vec::new(),
        listed,
        proposed: register::proposed(case)?,
        joined: Vec::new(),
    };
    let runs = runs(case, access, &mut reading)?;
    let repository = repository::read(case, config, &runs, &mut reading);
    continued(&mut reading, &runs);
    reading.record = Record { runs, repository, ..Record::default() };
    reading.order(case, config, &[])?;
    Ok(reading)
}

/// The steps of the checkpoints, and when the case file says that they were saved.
fn saved(case: &Case) -> Result<Vec<Saved>> {
    let entries = case.subject.checkpoints.iter().filter_map(|entry| Some((entry.step?, entry.saved.as_deref())));
    entries
        .map(|(step, saved)| {
            let at = saved.map(Interval::parse).transpose();
            let place = || format!("{}: when the checkpoint of step {step} was saved", case.path.display());
            Ok(Saved { step, at: at.context(place)? })
        })
        .collect()
}

/// Puts runs that go on from each other together and says what became of them.
fn continued(reading: &mut Reading, runs: &[Run]) {
    for joined in logs::join(runs).into_iter().filter(|joined| joined.parts.len() > 1) {
        let parts = joined.parts.len();
        let told =
            joined.run.notes.iter().filter(|note| joined.parts.iter().all(|&part| !runs[part].notes.contains(note)));
        let told: Vec<&str> = told.map(String::as_str).collect();
        let message = format!("{parts} logs are read as one training: {}.", told.join("; "));
        let mut finding = Finding::new(Code::TimeContinued, Grade::Context, Direction::Neutral, message);
        finding.n = Some(parts as u64);
        reading.findings.push(finding);
        reading.joined.push(joined.run);
    }
}

impl Reading {
    /// The trainings: runs that go on from each other as one, then every run by itself.
    pub(crate) fn trainings(&self) -> impl Iterator<Item = &Run> {
        self.joined.iter().chain(&self.record.runs)
    }

    /// Puts runs, repository, releases and what is known to have existed on one clock.
    fn order(&mut self, case: &Case, config: Option<&serde_json::Value>, existed: &[Existed]) -> Result<()> {
        let releases: Vec<Release> = self.releases.iter().filter_map(|(_, r)| r.clone()).collect();
        let (last, checkpoints) = (config.and_then(settings::from_json), &saved(case)?);
        let told = Sources { settings: last.as_ref(), checkpoints, releases: &releases, existed, ..Sources::default() };
        let Record { runs, repository, .. } = std::mem::take(&mut self.record);
        self.record = Record::new(runs, repository, &told);
        Ok(())
    }

    /// Reads the outside witnesses, which needs the digests of the checkpoints, and puts what they cover in its place in the
    /// order of things. `config` as for [`read`].
    pub(crate) fn hear(
        &mut self,
        case: &Case,
        access: Access,
        config: Option<&serde_json::Value>,
        targets: &Targets,
    ) -> Result<()> {
        if case.witnesses.is_empty() {
            return Ok(());
        }
        let mut shelf = Shelf::default();
        self.witnesses = witness::read(&case.witnesses, targets, access, &mut shelf);
        self.inputs.extend(shelf.iter().map(|listed| inputs::of(listed, listed.written.clone())));
        let existed = witness::existed(&self.witnesses, targets);
        self.order(case, config, &existed)?;
        // What is covered stands among the moments already.
        let others = self.witnesses.iter().filter(|seen| !witness::stands(&existed, seen));
        self.record.add(others.filter_map(Witnessed::event).collect());
        Ok(())
    }
}

/// The dates that the case file gives.
fn given(case: &Case) -> Result<Vec<(String, Option<Release>)>> {
    let one = |parent: &scratchproof_case::Reference| {
        let Some(released) = &parent.released else { return Ok((parent.name.clone(), None)) };
        let place = || format!("{} line {}", case.path.display(), released.line);
        let trust = match &released.grade {
            None => Trust::SelfAsserted,
            Some(grade) => grade.parse::<Trust>().context(place)?,
        };
        let release = Release::new(&parent.name, &released.at, trust, released.source.clone()).context(place)?;
        Ok((parent.name.clone(), Some(release)))
    };
    case.parents.iter().map(one).collect()
}

fn runs(case: &Case, access: Access, reading: &mut Reading) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for entry in &case.runs {
        let written = &entry.location.written;
        let remote = service::is_address(written);
        let opened =
            if remote { service::open(written, access).map(|run| vec![run]) } else { logs::open(&entry.location.path) };
        let opened = match opened {
            Ok(opened) => opened,
            // `--offline`, an address that is none, a key that is none: the user's words, not the record's state.
            Err(error) if remote && error.is_usage() => return Err(error.context(case.path.display().to_string())),
            Err(error) => {
                let why = error.to_string().replace(&entry.location.path.display().to_string(), written);
                let mut finding = Finding::new(
                    Code::InputSkipped,
                    Grade::Context,
                    Direction::Neutral,
                    format!("The run log {written} could not be read: {why}."),
                );
                finding.subject.tensor = None;
                reading.findings.push(finding);
                reading.skipped.push(Skipped { tensor: format!("(run log {written})"), why });
                reading.missing.push(format!("a run log that can be read in place of {written}").into());
                continue;
            }
        };
        let named = |metric: &str| entry.keys.get(metric).cloned();
        let keys = KeyMap {
            step: named("step"),
            loss: named("loss"),
            learning_rate: named("learning_rate"),
            grad_norm: named("grad_norm"),
            tokens: named("tokens"),
        };
        let (mut wrong, all) = (Vec::new(), opened.len());
        for mut run in opened {
            // A log that lies there twice is one log.
            if runs.iter().any(|earlier: &Run| earlier.sha256 == run.sha256 && earlier.id == run.id) {
                let why = format!("the same bytes as another log of run {}", run.id);
                reading.skipped.push(Skipped { tensor: format!("(run log {written})"), why });
                continue;
            }
            // An address is known in its one form.
            if !remote {
                run.source.clone_from(written);
            }
            // Of several runs some may not have logged a column that is named; one of them must have.
            wrong.extend(run.choose_keys(&keys).err());
            reading.inputs.push(Input {
                role: InputRole::Run,
                name: run.id.clone(),
                uri: run.source.clone(),
                sha256: run.sha256.clone(),
                bytes: run.bytes,
            });
            runs.push(run);
        }
        if wrong.len() == all
            && let Some(error) = wrong.into_iter().next()
        {
            return Err(error.context(case.path.display().to_string()));
        }
    }
    Ok(runs)
}

/// Condition T. `subject` is the final checkpoint, as far as it could be opened; `start` is what came out for the start.
pub(crate) fn judge(
    reading: &Reading,
    subject: Option<&Checkpoint>,
    steps: &[i64],
    start: Condition,
    ties: &Ties,
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
    let tokenizer = subject.and_then(|subject| Some(subject.tokenizer().ok()?.size()));
    let vocabularies: Vec<u64> =
        subject.and_then(Checkpoint::vocab_size).into_iter().chain(tokenizer).map(|v| v as u64).collect();
    let facts = TimeFacts {
        runs: &reading.record.runs,
        repository,
        steps,
        vocabularies: &vocabularies,
        sizes: subject.map(sizes).unwrap_or_default(),
        parents: &releases,
        settings: settings.as_ref(),
        story: Some(&reading.record.story),
        start,
        witnesses: &reading.witnesses,
        register: register.as_ref().map(register::Against::facts),
        active: subject.and_then(ties::active),
        norms: &ties.norms,
        files: &ties.files,
    };
    time::judge(&facts, policy)
}

/// Sizes as the tensors have them, never as a configuration says.
fn sizes(subject: &Checkpoint) -> Sizes {
    let own = || subject.tensors.iter().filter(|t| t.role.tower.is_empty() && !t.role.constant);
    let mut widths: Vec<usize> =
        own().filter(|t| t.role.family == "up_proj" && t.shape.len() == 2).map(|t| t.shape[0]).collect();
    widths.sort_unstable();
    widths.dedup();
    let embedding = subject.tensors.iter().find(|t| t.role.family == "embedding" && t.role.tower.is_empty());
    Sizes {
        hidden: subject.hidden_size().map(|h| h as u64),
        layers: Some(subject.layers() as u64).filter(|l| *l > 0),
        vocabulary: embedding.and_then(|t| t.shape.first()).map(|v| *v as u64),
        intermediate: widths.first().filter(|_| widths.len() == 1).map(|w| *w as u64),
        experts: Some(subject.experts() as u64).filter(|experts| *experts > 0),
        parameters: Some(own().map(|t| t.elements() as u64).sum()),
        ..Sizes::default()
    }
}

/// Parents that were public before the first run began, by that run's own clock: a date that the audited party gives
/// against its own interest.
pub(crate) fn earlier(reading: &Reading) -> Vec<String> {
    let Some(start) = reading.record.runs.iter().filter_map(|run| run.started_at).min() else { return Vec::new() };
    let before = |(_, release): &&(String, Option<Release>)| release.as_ref().is_some_and(|r| r.at.latest < start);
    reading.releases.iter().filter(before).map(|(parent, _)| parent.clone()).collect()
}

/// Learning rates between two checkpoints, from the first run that logged all of them.
pub(crate) fn rates(reading: &Reading, from: i64, to: i64) -> Option<Rates> {
    reading.trainings().find_map(|run| {
        let sum = run.learning_rate_sum(from, to)?;
        if !sum.whole() || sum.sum <= 0.0 {
            return None;
        }
        let decay = run.weight_decay().map_or(0.0, |decay| 1.0 - sum.ln_decay(decay).exp());
        Some(Rates { sum: sum.sum, decay })
    })
}

/// The learning rate summed over the steps from the first logged one, at every logged step; of the first run that logs it.
pub(crate) fn summed_rates(reading: &Reading) -> Option<Vec<(i64, f64)>> {
    let points = reading.trainings().map(Run::learning_rate).find(|rates| rates.len() > 1)?;
    let mut sum = 0.0;
    let mut before = *points.first()?;
    Some(
        points
            .into_iter()
            .map(|(step, rate)| {
                sum += (step as f64 - before.0 as f64) * f64::midpoint(rate, before.1);
                before = (step, rate);
                (step, sum)
            })
            .collect(),
    )
}

/// By checkpoint, the share of the first one that weight decay alone leaves, from the first run that logged all of it.
/// `None` where that is not known: no log, no weight decay in the configuration, or one that is not decoupled.
pub(crate) fn left_by_decay(reading: &Reading, steps: &[i64]) -> Vec<Option<f64>> {
    let left = |run: &Run| -> Option<Vec<Option<f64>>> {
        let (first, last) = (*steps.first()?, *steps.last()?);
        let whole = run.learning_rate_sum(first, last)?;
        if !whole.whole() {
            return None;
        }
        let decay = run.decay();
        let at = |step: i64| match decay {
            Decay::None => Some(1.0),
            Decay::Unknown => None,
            Decay::Decoupled(_) | Decay::Coupled(_) if step == first => Some(1.0),
            Decay::Decoupled(decay) => Some(run.learning_rate_sum(first, step)?.ln_decay(decay).exp()),
            // The gradient of L2 goes through the momentum, which makes it 1 / (1 - momentum) steps.
            Decay::Coupled(decay) => Some((-decay * run.learning_rate_sum(first, step)?.sum).exp()),
        };
        Some(steps.iter().map(|step| at(*step)).collect())
    };
    reading.trainings().find_map(left).unwrap_or_else(|| vec![None; steps.len()])
}

/// How the weights are updated, as far as that limits a step.
pub(crate) struct Limit {
    pub rule: Rule,
    pub name: String,
    /// Whether it cannot be crossed.
    pub exact: bool,
}

/// The rule of the first run, or why nothing is known.
pub(crate) fn rule(reading: &Reading) -> std::result::Result<Limit, Text> {
    let Some(run) = reading.trainings().next() else { return Err(text!("chain/budget/no-log")) };
    // Without logged betas the widest usual ones: a bound must not accuse anybody of a setting nobody wrote down.
    let rate = |given: Option<f64>, usual: f64| given.filter(|b| (0.0..1.0).contains(b)).unwrap_or(usual);
    let (beta1, beta2) = (rate(run.beta1(), 0.9), rate(run.beta2(), 0.999));
    let Some(optimizer) = run.optimizer() else { return Err(text!("chain/budget/no-optimiser")) };
    let name = optimizer.name().to_owned();
    let limit = |rule: Rule, exact: bool| Ok(Limit { rule, name: name.clone(), exact });
    match optimizer {
        Optimizer::AdamW | Optimizer::Adam => limit(Rule::Adam { beta1, beta2 }, true),
        Optimizer::Lion => limit(Rule::Sign, true),
        Optimizer::Adafactor => limit(Rule::Adafactor, true),
        Optimizer::Muon => limit(Rule::Muon { beta1, beta2 }, false),
        Optimizer::Sgd => {
            let clip = run.grad_clip().filter(|clip| *clip > 0.0);
            let logged = run.grad_norm().into_iter().map(|(_, norm)| norm).filter(|norm| *norm > 0.0).reduce(f64::max);
            let Some(momentum) = run.momentum().filter(|m| (0.0..1.0).contains(m)) else {
                return Err(text!("chain/budget/no-momentum"));
            };
            let Some(gradient) = clip.or(logged) else {
                return Err(text!("chain/budget/no-clipping"));
            };
            let decay = run.weight_decay().filter(|d| *d >= 0.0).unwrap_or(0.0);
            limit(Rule::Momentum { momentum, gradient, decay }, clip.is_some())
        }
        Optimizer::Unknown(_) => Err(text!("chain/budget/no-bound", optimiser = name)),
    }
}
