//! Runs that continue each other, as one training.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::run::{Dated, Form, Happened, Run};

/// Runs that are one training.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The training: the last run's facts with the history of all.
    pub run: Run,
    /// Places of its parts among the given runs, the earliest first; one for a run that continues nothing.
    pub parts: Vec<usize>,
}

/// Joins the runs that continue each other.
///
/// That is so if a run says it goes on from another (fork, rewind), or has the id of another (resume). A silent resume, a
/// run of the same project, name or configuration whose first `_step` follows on another's last, is joined too and said to
/// be only likely. Parts are in order of their start; where they overlap the later one counts from its first step on, and
/// the steps of the earlier one from there are left out and told in the notes.
pub fn join(runs: &[Run]) -> Vec<Joined> {
    let facts: Vec<Facts> = runs.iter().map(Facts::new).collect();
    let after: Vec<Option<(usize, &'static str)>> = (0..runs.len()).map(|at| predecessor(runs, &facts, at)).collect();
    // One successor each: of two forks of one run both continue it, so a part may be in several trainings.
    let has_next = |at: usize| after.iter().any(|before| before.is_some_and(|(before, _)| before == at));
    let mut joined = Vec::new();
    for end in (0..runs.len()).filter(|&at| !has_next(at)) {
        let mut parts = vec![end];
        let mut notes = Vec::new();
        while let Some((before, why)) = after[parts[parts.len() - 1]] {
            // Runs that name each other in a circle.
            if parts.contains(&before) {
                notes.push("the runs name each other as what they go on from".to_owned());
                break;
            }
            notes.push(format!("{} goes on from {}: {why}", name(&runs[parts[parts.len() - 1]]), name(&runs[before])));
            parts.push(before);
        }
        parts.reverse();
        notes.reverse();
        joined.push(put_together(runs, parts, notes));
    }
    // All in circles: nothing ends, so each stands alone.
    if joined.is_empty() {
        joined.extend((0..runs.len()).map(|at| Joined { run: runs[at].clone(), parts: vec![at] }));
    }
    joined
}

fn name(run: &Run) -> String {
    if run.id.is_empty() { run.source.clone() } else { run.id.clone() }
}

/// First and last of the log's own steps.
fn own_steps(run: &Run) -> Option<(i64, i64)> {
    let all = || run.history.columns.values().flatten().map(|&(step, _)| step);
    let steps = || run.history.columns.get("_step").into_iter().flatten().map(|&(step, _)| step);
    Some((steps().min().or_else(|| all().min())?, steps().max().or_else(|| all().max())?))
}

/// What the order of runs is told from.
struct Facts {
    start: Option<DateTime<Utc>>,
    steps: Option<(i64, i64)>,
    /// Widest distance between two logged steps.
    gap: i64,
    /// A row of the table of runs is no part of a training that can be put in order.
    table: bool,
}

impl Facts {
    fn new(run: &Run) -> Self {
        Self {
            start: run.started_at.or(run.logged_between().map(|(first, _)| first)),
            steps: own_steps(run),
            gap: run.step_range().map_or(1, |range| range.widest.max(1)),
            table: run.form == Form::TableExport,
        }
    }

    fn order(&self) -> (Option<DateTime<Utc>>, Option<i64>) {
        (self.start, self.steps.map(|(first, _)| first))
    }
}

/// The run that `runs[at]` goes on from.
fn predecessor(runs: &[Run], facts: &[Facts], at: usize) -> Option<(usize, &'static str)> {
    let (run, own) = (&runs[at], &facts[at]);
    if own.table {
        return None;
    }
    let earlier =
        |other: usize| other != at && !facts[other].table && (facts[other].order(), other) < (own.order(), at);
    if let Some(from) = &run.continues {
        // A rewound run has the id of the run it rewinds.
        let named = || (0..runs.len()).filter(|&other| other != at && runs[other].id == from.run);
        let last = named().filter(|&other| earlier(other)).max_by_key(|&other| facts[other].order());
        let any = || named().filter(|_| from.run != run.id).max_by_key(|&other| facts[other].order());
        if let Some(before) = last.or_else(any) {
            return Some((before, "it says so"));
        }
    }
    let before = |other: &usize| earlier(*other);
    let same_id = (0..runs.len()).filter(before).filter(|&other| !run.id.is_empty() && runs[other].id == run.id);
    if let Some(before) = same_id.max_by_key(|&other| (facts[other].order(), other)) {
        return Some((before, "it has the same id"));
    }
    let (first, _) = own.steps.filter(|(first, _)| *first > 0)?;
    let follows = |other: &usize| {
        let last = facts[*other].steps.map(|(_, last)| last);
        // No more than two gaps of the log between them, the same project and configuration.
        let near =
            last.is_some_and(|last| first > last && first.saturating_sub(last) <= facts[*other].gap.saturating_mul(2));
        let other = &runs[*other];
        near && other.project == run.project && other.form == run.form && alike(&other.config, &run.config)
    };
    let likely = (0..runs.len()).filter(before).filter(follows).max_by_key(|&other| facts[other].steps);
    likely.map(|before| {
        (before, "its first step follows on the other's last, and the configuration is the same; likely, not said")
    })
}

/// Configurations of one training: what both name and differs is little (paths, names, where to resume from).
fn alike(a: &BTreeMap<String, serde_json::Value>, b: &BTreeMap<String, serde_json::Value>) -> bool {
    let shared: Vec<bool> = a.iter().filter_map(|(key, value)| Some(b.get(key)? == value)).collect();
    shared.len() >= 3 && shared.iter().filter(|same| !**same).count() * 10 <= shared.len()
}

fn put_together(runs: &[Run], parts: Vec<usize>, mut notes: Vec<String>) -> Joined {
    let Some((&last, before)) = parts.split_last() else { return Joined { run: Run::default(), parts } };
    let mut run = runs[last].clone();
    if before.is_empty() {
        return Joined { run, parts };
    }
    let mut history = runs[parts[0]].history.clone();
    for pair in parts.windows(2) {
        let (earlier, later) = (&runs[pair[0]], &runs[pair[1]]);
        let said = later.continues.as_ref().filter(|from| from.run == earlier.id).and_then(|from| from.step);
        let first = own_steps(later).map(|(first, _)| first);
        let cut = match (said.and_then(|step| step.checked_add(1)), first) {
            (Some(said), Some(first)) => Some(said.min(first)),
            (said, first) => said.or(first),
        };
        if let Some(cut) = cut {
            let (mut gone, mut rows) = (0_u64, (i64::MAX, i64::MIN));
            for column in history.columns.values_mut() {
                column.retain(|&(step, _)| {
                    if step >= cut {
                        gone += 1;
                        rows = (rows.0.min(step), rows.1.max(step));
                    }
                    step < cut
                });
            }
            if gone > 0 {
                notes.push(format!(
                    "{gone} values of {} at its steps {} to {} are left out: {} starts again at {cut}",
                    name(earlier),
                    rows.0,
                    rows.1,
                    name(later)
                ));
            }
        }
        for (key, column) in &later.history.columns {
            for &(step, value) in column {
                history.push_number(step, key, value);
            }
        }
        history.skipped += later.history.skipped;
    }
    history.columns.retain(|_, column| !column.is_empty());
    history.rows = history
        .columns
        .get("_step")
        .map_or_else(|| parts.iter().map(|&part| runs[part].history.rows).sum(), |column| column.len() as u64);
    run.history = history;
    let firsts = before.iter().filter_map(|&part| runs[part].started_at).chain(run.started_at);
    run.started_at = firsts.min();
    // The first part's start is the training's; those of the others are no second one.
    let later = std::mem::take(&mut run.times).into_iter();
    let other = |time: Dated| match time.happened {
        Happened::Started | Happened::Created => Dated { happened: Happened::Other, ..time },
        _ => time,
    };
    run.times = runs[parts[0]].times.iter().filter(|time| time.happened != Happened::LastSeen).cloned().collect();
    run.times.extend(later.map(other));
    run.resumed = true;
    run.damaged = parts.iter().map(|&part| runs[part].damaged).sum();
    run.bytes = parts.iter().map(|&part| runs[part].bytes).sum();
    run.notes.extend(notes);
    // The columns of all parts may be spelled otherwise than those of the last.
    if let Ok(keys) = crate::keys::Keys::choose(&run.history, &crate::keys::KeyMap::default()) {
        run.keys = keys;
    }
    Joined { run, parts }
}
