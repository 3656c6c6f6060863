//! The record of a case, read.

use super::read::{Read, input};
use super::{ledger, losses, register, repository};
use scratchproof_case::Case;
use scratchproof_error::{Context, Result};
use scratchproof_facts::Reading;
use scratchproof_finding::{Code, Direction, Finding, Grade};
use scratchproof_record::listed::Shelf;
use scratchproof_record::{
    Existed, Interval, KeyMap, Release, Run, Targets, Trust, Witnessed, logs, service, settings, witness,
};
use scratchproof_report::{Input, InputRole, Skipped};
use scratchproof_source::Access;
use scratchproof_texts::text;
use scratchproof_timeline::{Record, Saved, Sources};

/// Reads run logs, repository and release dates. What cannot be read is a finding; a date in no format is an error.
/// `config` is `config.json` of the last checkpoint.
pub(crate) fn read(case: &Case, access: Access, config: Option<&serde_json::Value>) -> Result<Read> {
    let listed = register::listed(case, &given(case)?, access)?;
    let reading = Reading {
        releases: listed.iter().map(|l| (l.parent.clone(), register::used(l).cloned())).collect(),
        listed,
        proposed: register::proposed(case)?,
        ..Reading::default()
    };
    let (inputs, findings, skipped, missing) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut read = Read { reading, inputs, findings, skipped, missing };
    let runs = runs(case, access, &mut read)?;
    let repository = repository::read(case, config, &runs, &mut read);
    continued(&mut read, &runs);
    read.reading.record = Record { runs, repository, ..Record::default() };
    read.order(case, config, &[])?;
    Ok(read)
}

/// The steps of the checkpoints, and when the case file says that they were saved.
fn saved(case: &Case) -> Result<Vec<Saved>> {
    let entries = case.subject.checkpoints.iter().filter_map(|entry| Some((entry.step?, entry.saved.as_deref())));
    entries
        .map(|(step, saved)| {
            let at = saved.map(Interval::parse).transpose();
            let place = || text!("error-audit/record/when-checkpoint-step-saved", path = case.path.display(), step);
            Ok(Saved { step, at: at.context(place)? })
        })
        .collect()
}

/// Puts runs that go on from each other together and says what became of them.
fn continued(read: &mut Read, runs: &[Run]) {
    for joined in logs::join(runs).into_iter().filter(|joined| joined.parts.len() > 1) {
        let parts = joined.parts.len();
        let told =
            joined.run.notes.iter().filter(|note| joined.parts.iter().all(|&part| !runs[part].notes.contains(note)));
        let told: Vec<&str> = told.map(String::as_str).collect();
        let message = text!("time/continued/finding", parts, told);
        let mut finding = Finding::new(Code::TimeContinued, Grade::Context, Direction::Neutral, message);
        finding.n = Some(parts as u64);
        read.findings.push(finding);
        read.reading.joined.push(joined.run);
    }
}

impl Read {
    /// Puts runs, repository, releases and what is known to have existed on one clock.
    fn order(&mut self, case: &Case, config: Option<&serde_json::Value>, existed: &[Existed]) -> Result<()> {
        let releases: Vec<Release> = self.reading.releases.iter().filter_map(|(_, r)| r.clone()).collect();
        let (last, checkpoints) = (config.and_then(settings::from_json), &saved(case)?);
        let told = Sources { settings: last.as_ref(), checkpoints, releases: &releases, existed, ..Sources::default() };
        let Record { runs, repository, .. } = std::mem::take(&mut self.reading.record);
        self.reading.record = Record::new(runs, repository, &told);
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
        if let Some(location) = &case.loss {
            let (losses, input) = losses::read(location, targets);
            self.reading.losses = Some(losses);
            self.inputs.extend(input);
        }
        let held = self.reading.record.repository.as_ref().map(|r| r.held(targets)).unwrap_or_default();
        if case.witnesses.is_empty() && held.is_empty() && case.ledger.is_none() {
            return Ok(());
        }
        let mut shelf = Shelf::default();
        self.reading.witnesses = witness::read(&case.witnesses, targets, access, &mut shelf);
        self.inputs.extend(shelf.iter().map(|listed| input(listed, listed.written.clone())));
        let mut existed = witness::existed(&self.reading.witnesses, targets);
        let mut events = Vec::new();
        if let Some(location) = &case.ledger {
            let mut told = ledger::read(location, targets, &self.reading.witnesses);
            existed.append(&mut told.existed);
            events = told.events;
            self.inputs.extend(told.input);
            self.reading.ledger = Some(told.seen);
        }
        let all: Vec<Existed> = existed.iter().chain(&held).cloned().collect();
        self.order(case, config, &all)?;
        self.reading.held = held;
        // What is covered stands among the moments already.
        let others = self.reading.witnesses.iter().filter(|seen| !witness::stands(&existed, seen));
        self.reading.record.add(others.filter_map(Witnessed::event).chain(events).collect());
        Ok(())
    }
}

/// The dates that the case file gives.
fn given(case: &Case) -> Result<Vec<(String, Option<Release>)>> {
    let one = |parent: &scratchproof_case::Reference| {
        let Some(released) = &parent.released else { return Ok((parent.name.clone(), None)) };
        let place = || text!("error-audit/record/line", path = case.path.display(), line = &released.line);
        let trust = match &released.grade {
            None => Trust::SelfAsserted,
            Some(grade) => grade.parse::<Trust>().context(place)?,
        };
        let release = Release::new(&parent.name, &released.at, trust, released.source.clone()).context(place)?;
        Ok((parent.name.clone(), Some(release)))
    };
    case.parents.iter().map(one).collect()
}

fn runs(case: &Case, access: Access, read: &mut Read) -> Result<Vec<Run>> {
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
                    text!("time/log/unreadable", log = written, why = why.as_str()),
                );
                finding.subject.tensor = None;
                read.findings.push(finding);
                read.skipped.push(Skipped { tensor: format!("(run log {written})"), why });
                read.missing.push(text!("time/log/missing-readable", log = written));
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
                read.skipped.push(Skipped { tensor: format!("(run log {written})"), why });
                continue;
            }
            // An address is known in its one form.
            if !remote {
                run.source.clone_from(written);
            }
            // Of several runs some may not have logged a column that is named; one of them must have.
            wrong.extend(run.choose_keys(&keys).err());
            read.inputs.push(Input {
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
