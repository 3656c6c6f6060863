//! The record alone: what `scratchproof timeline` does. Of the weights only the header of the final checkpoint is read.

use super::ties::Ties;
use super::{record, register, repository, tables, witness};
use crate::case::Case;
use crate::error::Result;
use crate::evidence::Evidence;
use crate::finding::{Condition, Judgement};
use crate::report::timeline::{Outcome, SCHEMA, Timeline};
use crate::report::{CaseSummary, Skipped, Tool};
use crate::source::Access;

/// Reads the record of a case and judges it.
///
/// # Errors
/// As [`super::audit`], but a checkpoint that cannot be opened is only listed.
pub fn timeline(case: &Case, access: impl Into<Access>) -> Result<(Timeline, Evidence)> {
    let access = access.into();
    let mut skipped = Vec::new();
    let mut missing = Vec::new();
    let subject = match case
        .subject
        .checkpoints
        .last()
        .map(|last| super::open_at(&last.location, case.subject.name.clone(), access))
    {
        Some(Ok(subject)) => Some(subject),
        Some(Err(error)) => {
            let name = format!("(final checkpoint of {})", case.subject.name);
            skipped.push(Skipped { tensor: name, why: error.to_string() });
            missing.push("the final checkpoint, to hold its sizes against the record".to_owned());
            None
        }
        None => None,
    };
    let config = subject.as_ref().and_then(|subject| subject.config.as_ref());
    let mut reading = record::read(case, access, config)?;
    reading.hear(case, access, config, &witness::named(case, &reading, access))?;
    let steps: Vec<i64> = case.subject.checkpoints.iter().filter_map(|checkpoint| checkpoint.step).collect();
    let judged = record::judge(&reading, subject.as_ref(), &steps, Condition::Untested, &Ties::default(), &case.policy);
    let mut evidence = Evidence {
        runs: tables::runs(&reading.record.runs),
        timeline: tables::timeline(&reading.record.events),
        releases: register::rows(&reading, subject.as_ref()),
        ..Evidence::default()
    };
    repository::tables(reading.record.repository.as_ref(), &mut evidence);
    let outcome = outcome(&judged);
    let mut findings = judged.findings;
    findings.extend(reading.findings);
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.grade), finding.code));
    for (index, finding) in findings.iter_mut().enumerate() {
        finding.id = format!("F{:03}", index + 1);
    }
    missing.extend(judged.missing);
    missing.extend(reading.missing);
    missing.sort();
    missing.dedup();
    skipped.extend(reading.skipped);
    let timeline = Timeline {
        schema: SCHEMA,
        tool: Tool::this(),
        case: CaseSummary::of(case),
        outcome,
        condition: judged.condition,
        missing,
        findings,
        events: evidence.timeline.clone(),
        skipped,
        inputs: reading.inputs,
        policy: serde_json::to_value(&case.policy).unwrap_or_default(),
    };
    Ok((timeline, evidence))
}

/// Consistent where the condition holds, contradicted where it fails.
fn outcome(judged: &Judgement) -> Outcome {
    match judged.condition {
        Condition::Fails => Outcome::Contradicted,
        Condition::Holds => Outcome::Consistent,
        Condition::Untested => Outcome::Open,
    }
}
