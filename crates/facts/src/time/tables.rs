//! The record as tables.

use std::sync::Arc;

use super::{Reading, register, repository};
use scratchproof_evidence::{Evidence, RunRow, TimelineRow};
use scratchproof_measurements::Model;
use scratchproof_record::{Event, Run};

/// Everything that the record says, as tables; every logged value only where they are wanted, which take more memory than
/// the log itself. `subject` is the final checkpoint, as far as it could be opened.
#[must_use]
pub fn record_tables(reading: &Reading, subject: Option<&Model>, values: bool) -> Evidence {
    let mut evidence = Evidence {
        runs: if values { runs(reading) } else { Vec::new() },
        timeline: timeline(&reading.record.events),
        releases: register::rows(reading, subject),
        ..Evidence::default()
    };
    repository::tables(reading.record.repository.as_ref(), &mut evidence);
    evidence
}

/// Every logged value.
fn runs(reading: &Reading) -> Vec<RunRow> {
    let runs: &[Run] = &reading.record.runs;
    let mut rows = Vec::with_capacity(runs.iter().flat_map(|run| run.history.columns.values()).map(Vec::len).sum());
    for run in runs {
        let id: Arc<str> = run.id.as_str().into();
        for (key, values) in &run.history.columns {
            let key: Arc<str> = key.as_str().into();
            rows.extend(values.iter().map(|(step, value)| RunRow {
                run: Arc::clone(&id),
                key: Arc::clone(&key),
                step: *step,
                value: Some(*value),
            }));
        }
    }
    // What was recomputed stands beside what was logged, as a run of the file's name.
    if let Some(losses) = &reading.losses {
        let id: Arc<str> = losses.source.as_str().into();
        rows.extend(losses.rows.iter().map(|row| RunRow {
            run: Arc::clone(&id),
            key: row.key.as_str().into(),
            step: row.step,
            value: Some(row.loss),
        }));
    }
    rows
}

/// Every dated fact.
fn timeline(events: &[Event]) -> Vec<TimelineRow> {
    let text = |at: &chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let rows = events.iter().map(|event| TimelineRow {
        at: text(&event.at),
        until: event.until.as_ref().map(text),
        what: event.what.clone(),
        source: event.source.clone(),
        grade: event.grade.name().to_owned(),
    });
    rows.collect()
}
