//! The witness ledger of a case against the checkpoints that were measured.

use std::collections::BTreeMap;

use serde_json::Value;

use scratchproof_attest::item::{Items, Standing};
use scratchproof_attest::ledger::{self, Entry, What};
use scratchproof_case::Location;
use scratchproof_record::{Covered, Event, Existed, Ledgered, Target, Targets, Trust, Witnessed};
use scratchproof_report::{Input, InputRole};

/// What a ledger says of a case.
pub(super) struct Read {
    pub seen: Ledgered,
    pub events: Vec<Event>,
    /// What a stamp over the ledger covers besides: the checkpoints that it fixed.
    pub existed: Vec<Existed>,
    pub input: Option<Input>,
}

/// Reads the ledger. What is wrong with it, or cannot be read, is in the answer.
pub(super) fn read(location: &Location, targets: &Targets, witnesses: &[Witnessed]) -> Read {
    let source = location.written.clone();
    let mut items = Items::default();
    let entries = match ledger::verify(&location.path, &[], &mut items) {
        Ok(entries) => entries,
        Err(why) => {
            let why = why.to_string().replace(&location.path.display().to_string(), &source);
            let seen = Ledgered { source, broken: Some(why), ..Ledgered::default() };
            return Read { seen, events: Vec::new(), existed: Vec::new(), input: None };
        }
    };
    let wrong = items.all().iter().find(|item| item.standing == Standing::Contradicts);
    let mut seen = Ledgered {
        source: source.clone(),
        entries: entries.len(),
        closed: entries.last().is_some_and(|last| last.what == What::Close),
        broken: wrong.map(|item| item.text.english()),
        first: entries.first().map(|entry| entry.at),
        last: entries.last().map(|entry| entry.at),
        ..Ledgered::default()
    };
    let mut by_step: BTreeMap<i64, Vec<&Entry>> = BTreeMap::new();
    let mut furthest = None;
    for entry in entries.iter().filter(|entry| entry.what == What::Checkpoint) {
        let Some(step) = entry.body["step"].as_i64() else { continue };
        if furthest.is_some_and(|furthest| step < furthest) {
            seen.late.push(step);
        }
        furthest = furthest.max(Some(step));
        by_step.entry(step).or_default().push(entry);
    }
    for checkpoint in &targets.checkpoints {
        let step = checkpoint.step;
        let Some(own) = by_step.get(&step) else {
            seen.lacking.push(step);
            continue;
        };
        let holds = |entry: &&Entry| checkpoint.files.iter().all(|file| fixed(&entry.body, &file.sha256));
        if own.iter().any(holds) { seen.fixed.push(step) } else { seen.other.push(step) }
    }
    let over = |seen: &&Witnessed| matches!(&seen.target, Some(Target::File(name)) if *name == source);
    let stamp = witnesses
        .iter()
        .filter(|seen| seen.is_outside())
        .filter(over)
        .min_by_key(|seen| seen.existed_by.map(|by| by.latest));
    let mut existed = Vec::new();
    if let Some((stamp, by)) =
        stamp.and_then(|stamp| Some((stamp, stamp.existed_by?))).filter(|_| seen.broken.is_none())
    {
        seen.stamped = Some(stamp.source.clone());
        let covered = |step: &i64| Existed {
            what: Covered::Checkpoint(*step),
            by,
            trust: stamp.trust,
            source: format!("{} over {source}", stamp.source),
        };
        existed.extend(seen.fixed.iter().map(covered));
    }
    let events = seen.fixed.iter().filter_map(|step| by_step.get(step)?.first().map(|entry| (step, entry.at)));
    let events = events.map(|(step, at)| Event {
        at,
        until: None,
        what: format!("the checkpoint of step {step} was entered in the ledger"),
        source: source.clone(),
        grade: Trust::SelfAsserted,
        minor: false,
    });
    let events = if seen.broken.is_none() { events.collect() } else { Vec::new() };
    let head = ledger::head(&location.path).ok();
    let input = head.map(|head| Input {
        role: InputRole::Ledger,
        name: head["name"].as_str().unwrap_or_default().to_owned(),
        uri: source.clone(),
        sha256: head["sha256"].as_str().unwrap_or_default().to_owned(),
        bytes: head["bytes"].as_u64().unwrap_or_default(),
    });
    Read { seen, events, existed, input }
}

/// Whether an entry fixed a file of this digest.
fn fixed(body: &Value, sha256: &str) -> bool {
    let files = body["manifest"]["files"].as_array().into_iter().flatten();
    files.into_iter().any(|file| file["sha256"].as_str() == Some(sha256))
}
