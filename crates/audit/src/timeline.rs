//! The record alone: what `scratchproof timeline` does. Of the weights only the header of the final checkpoint is read.

use std::collections::BTreeMap;

use super::{models, record, witness};
use scratchproof_case::Case;
use scratchproof_error::Result;
use scratchproof_evidence::{Evidence, TimelineRow};
use scratchproof_facts::time::{self, Weights};
use scratchproof_finding::{Condition, Judgement};
use scratchproof_measure::model;
use scratchproof_record::Event;
use scratchproof_report::timeline::{Month, Outcome, SCHEMA, Timeline};
use scratchproof_report::{CaseSummary, Skipped, Tool};
use scratchproof_source::Access;
use scratchproof_texts::text;

/// Reads the record of a case and judges it. Every logged value stands in the evidence if `values` are wanted, which take
/// more memory than the log itself.
///
/// # Errors
/// As [`super::audit`], but a checkpoint that cannot be opened is only listed.
pub fn timeline(case: &Case, access: Access, values: bool) -> Result<(Timeline, Evidence)> {
    let mut skipped = Vec::new();
    let mut missing = Vec::new();
    let subject = match case
        .subject
        .checkpoints
        .last()
        .map(|last| models::open_at(&last.location, case.subject.name.clone(), access))
    {
        Some(Ok(subject)) => Some(subject),
        Some(Err(error)) => {
            let name = format!("(final checkpoint of {})", case.subject.name);
            skipped.push(Skipped { tensor: name, why: error.to_string() });
            missing.push(text!("time/sizes/missing-checkpoint"));
            None
        }
        None => None,
    };
    let config = subject.as_ref().and_then(|subject| subject.config.as_ref());
    let mut read = record::read(case, access, config)?;
    read.hear(case, access, config, &witness::named(case, &read.reading, access))?;
    let subject = subject.as_ref().map(|subject| model(subject, true));
    let reading = &read.reading;
    let steps: Vec<i64> = case.subject.checkpoints.iter().filter_map(|checkpoint| checkpoint.step).collect();
    let judged = time::judge(reading, subject.as_ref(), &steps, Condition::Untested, &Weights::default(), &case.policy);
    let evidence = time::record_tables(reading, subject.as_ref(), values);
    let outcome = outcome(&judged);
    let mut findings = judged.findings;
    findings.extend(read.findings);
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.grade), finding.code));
    for (index, finding) in findings.iter_mut().enumerate() {
        finding.id = format!("F{:03}", index + 1);
    }
    missing.extend(judged.missing);
    missing.extend(read.missing);
    missing.sort_by_cached_key(scratchproof_texts::Text::english);
    missing.dedup();
    skipped.extend(read.skipped);
    let timeline = Timeline {
        schema: SCHEMA.into(),
        tool: Tool::this(),
        case: CaseSummary::of(case),
        outcome,
        condition: judged.condition,
        missing,
        findings,
        months: months(&read.reading.record.events),
        events: told(&read.reading.record.events, &evidence.timeline),
        all: evidence.timeline.clone(),
        skipped,
        inputs: read.inputs,
        policy: serde_json::to_value(&case.policy).unwrap_or_default(),
        seal: None,
    };
    Ok((timeline, evidence))
}

/// From more commits than this on, those that nothing else speaks of are counted by month.
const COMMITS: usize = 1000;

fn is_long(events: &[Event]) -> bool {
    events.iter().filter(|event| event.minor).count() > COMMITS
}

/// The rows of the events that are told one by one.
fn told(events: &[Event], rows: &[TimelineRow]) -> Vec<TimelineRow> {
    let long = is_long(events);
    let told = events.iter().zip(rows).filter(|(event, _)| !(long && event.minor));
    told.map(|(_, row)| row.clone()).collect()
}

/// The others, counted.
fn months(events: &[Event]) -> Vec<Month> {
    if !is_long(events) {
        return Vec::new();
    }
    let mut counts: BTreeMap<(String, &str), u64> = BTreeMap::new();
    for event in events.iter().filter(|event| event.minor) {
        *counts.entry((event.at.format("%Y-%m").to_string(), &event.source)).or_default() += 1;
    }
    let of = |((month, source), commits): ((String, &str), u64)| Month { month, source: source.to_owned(), commits };
    counts.into_iter().map(of).collect()
}

/// Consistent where the condition holds, contradicted where it fails.
fn outcome(judged: &Judgement) -> Outcome {
    match judged.condition {
        Condition::Fails => Outcome::Contradicted,
        Condition::Holds => Outcome::Consistent,
        Condition::Untested => Outcome::Open,
    }
}
