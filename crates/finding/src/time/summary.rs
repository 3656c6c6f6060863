//! The rows against what else the tracker and the program wrote of them: the summary, the console, files beside the log.

use serde_json::Value;

use super::{Code, Direction, Grade, Judgement, RUNS, called, finding};
use scratchproof_case::Policy;
use scratchproof_record::{Run, Tail};
use scratchproof_texts::{Text, text};

/// Names that the tracker writes itself.
const OWN: &[&str] = &["_timestamp", "_runtime", "_step"];

/// The last values of the summary against the rows.
pub fn judge(to: &mut Judgement, policy: &Policy, run: &Run) {
    let last = |key: &str| run.history.columns.get(key).and_then(|column| column.last()).copied();
    let step = run.summary.get("_step").and_then(Value::as_f64);
    let mut same = 0_u64;
    let mut own: Vec<Text> = Vec::new();
    let mut others: Vec<Text> = Vec::new();
    for (key, value) in &run.summary {
        let (Some(column), Some(value)) = (run.history.columns.get(key), value.as_f64()) else { continue };
        // The summary may have been written before the last rows.
        let at = column.iter().rev().find(|row| step.is_none_or(|step| row.0 as f64 <= step)).or(column.last());
        let Some(&(_, logged)) = at.filter(|row| row.1.is_finite()) else { continue };
        let slack = if key == "_timestamp" || key == "_runtime" { policy.summary_seconds } else { 0.0 };
        if agrees(value, logged, slack) {
            same += 1;
        } else if OWN.contains(&key.as_str()) {
            own.push(text!("time/summary/other", key, value, logged));
        } else if !chosen(column, value) {
            others.push(text!("time/summary/other", key, value, logged));
        }
    }
    if same + own.len() as u64 + others.len() as u64 == 0 {
        return;
    }
    // A killed run's last rows may be in one of the two only.
    let cut = run.tail != Tail::Complete || run.damaged > 0;
    let ahead = step.zip(last("_step")).is_some_and(|(step, row)| step > row.1);
    let wrong = !own.is_empty() || !others.is_empty();
    let (grade, direction) = match (wrong, cut && ahead) {
        (false, _) => (Grade::Weak, Direction::For),
        (true, true) => (Grade::Context, Direction::Neutral),
        (true, false) => (Grade::Moderate, Direction::Against),
    };
    let message = if wrong {
        let values: Vec<Text> = own.iter().chain(&others).take(5).cloned().collect();
        text!("time/summary/differs", run = called(run), values, same)
    } else {
        text!("time/summary/same", run = called(run), same)
    };
    let mut finding = finding(Code::TimeSummary, grade, direction, message);
    finding.statistic = Some((own.len() + others.len()) as f64);
    finding.n = Some(same + (own.len() + others.len()) as u64);
    finding.null = text!("time/summary/null");
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}

fn agrees(value: f64, logged: f64, slack: f64) -> bool {
    (value - logged).abs() <= slack.max(1e-6 * value.abs().max(logged.abs()))
}

/// A value that a summary may be told to keep: any of the column, or its mean.
fn chosen(column: &[(i64, f64)], value: f64) -> bool {
    let mean = column.iter().map(|row| row.1).sum::<f64>() / column.len() as f64;
    let extreme = |pick: fn(f64, f64) -> f64| column.iter().map(|row| row.1).reduce(pick);
    let kept = [extreme(f64::min), extreme(f64::max), column.first().map(|row| row.1), Some(mean)];
    kept.into_iter().flatten().any(|kept| agrees(value, kept, 0.0))
}

/// Facts that a second source of the same record gives differently.
pub fn differences(to: &mut Judgement, run: &Run) {
    let Some(first) = run.differences.first() else { return };
    // Only numbers of the training are written twice by one program; who ran it where may be set by hand.
    let training = |what: &str| ["row.", "summary.", "config."].iter().any(|kind| what.starts_with(kind));
    let told: Vec<_> = run.differences.iter().filter(|d| training(&d.what)).collect();
    let cut = run.tail != Tail::Complete || run.damaged > 0;
    let whole = told.iter().any(|d| !d.what.starts_with("summary.") || !cut);
    let (grade, direction) =
        if whole { (Grade::Moderate, Direction::Against) } else { (Grade::Weak, Direction::Neutral) };
    let shown = told.first().copied().unwrap_or(first);
    let message = text!(
        "time/differences/finding",
        run = called(run),
        count = run.differences.len(),
        what = shown.what.as_str(),
        log = shown.log.clone(),
        other = shown.other.clone(),
        source = shown.source.as_str()
    );
    let mut finding = finding(Code::TimeDifferences, grade, direction, message);
    finding.statistic = Some(run.differences.len() as f64);
    finding.null = text!("time/differences/null");
    to.push(finding);
}

/// Losses that the program printed against the logged ones.
pub fn printed(to: &mut Judgement, policy: &Policy, run: &Run) {
    let losses = run.loss();
    // A loop may print a step from 0 that it logs from 1.
    let count = |shift: i64| {
        let pair = |line: &scratchproof_record::Printed| {
            let step = line.step.checked_add(shift)?;
            let at = losses.binary_search_by_key(&step, |point| point.0).ok()?;
            Some((line.step, line.loss, losses[at].1))
        };
        run.printed.iter().filter_map(pair).collect::<Vec<_>>()
    };
    let near = |&(_, printed, logged): &(i64, f64, f64)| {
        (printed - logged).abs() <= policy.printed_loss * logged.abs().max(1.0)
    };
    let all = [0, 1, -1].map(count);
    let Some(pairs) = all.iter().max_by_key(|pairs| pairs.iter().filter(|pair| near(pair)).count()) else { return };
    if pairs.len() < 5 {
        return;
    }
    let agree = pairs.iter().filter(|pair| near(pair)).count();
    // Runs of lines that differ, where the others agree.
    let mut longest: &[(i64, f64, f64)] = &[];
    let mut start = 0;
    for (at, pair) in pairs.iter().enumerate() {
        if near(pair) {
            start = at + 1;
        } else if at + 1 - start > longest.len() {
            longest = &pairs[start..=at];
        }
    }
    let (grade, direction, words) = if agree == pairs.len() {
        (Grade::Weak, Direction::For, None)
    } else if agree * 2 >= pairs.len() && longest.len() >= 3 {
        let (first, last) = (longest[0], longest[longest.len() - 1]);
        let words = text!(
            "time/printed/in-a-row",
            count = longest.len(),
            first = first.0,
            printed = first.1,
            logged = first.2,
            last = last.0
        );
        (Grade::Moderate, Direction::Against, Some(words))
    } else if agree * 2 >= pairs.len() {
        (Grade::Weak, Direction::Neutral, None)
    } else {
        (Grade::Weak, Direction::Neutral, Some(text!("time/printed/average")))
    };
    let message =
        text!("time/printed/finding", run = called(run), agree, of = pairs.len(), to = policy.printed_loss, words);
    let mut finding = finding(Code::TimePrinted, grade, direction, message);
    finding.statistic = Some(agree as f64 / pairs.len() as f64);
    finding.n = Some(pairs.len() as u64);
    finding.subject.steps = longest.first().into_iter().chain(longest.last()).map(|pair| pair.0).collect();
    finding.null = text!("time/printed/null");
    to.push(finding);
}

/// Rows of numbers that stand in two places of one log, or in two logs.
pub fn repeats(to: &mut Judgement, policy: &Policy, runs: &[Run]) {
    let all: Vec<Vec<(i64, f64)>> = runs.iter().map(Run::loss).collect();
    let mut places: std::collections::BTreeMap<u64, Vec<(usize, usize)>> = std::collections::BTreeMap::new();
    for (which, losses) in all.iter().enumerate() {
        for (at, point) in losses.iter().enumerate() {
            let place = places.entry(point.1.to_bits()).or_default();
            // What stands in many places is a constant, not a copy.
            if place.len() < 4 {
                place.push((which, at));
            }
        }
    }
    let at = |(which, index): (usize, usize)| all.get(which).and_then(|losses| losses.get(index)).copied();
    let mut longest = (0_usize, (0, 0), (0, 0));
    for held in places.values().filter(|held| held.len() > 1) {
        for (i, &one) in held.iter().enumerate() {
            for &other in &held[i + 1..] {
                // Resumed logs repeat rows at their own steps.
                if at(one).map(|p| p.0) == at(other).map(|p| p.0) {
                    continue;
                }
                let same = |k: usize| {
                    let (a, b) = (at((one.0, one.1 + k)), at((other.0, other.1 + k)));
                    a.zip(b).is_some_and(|(a, b)| a.1.to_bits() == b.1.to_bits())
                };
                let length = (0..all[one.0].len()).take_while(|k| same(*k)).count();
                let varied = (1..length).any(|k| at((one.0, one.1 + k)).map(|p| p.1) != at(one).map(|p| p.1));
                if varied && length > longest.0 {
                    longest = (length, one, other);
                }
            }
        }
    }
    let (length, one, other) = longest;
    if (length as u64) < policy.repeated_rows {
        return;
    }
    let (Some(a), Some(b)) = (at(one), at(other)) else { return };
    let (one_run, other_run) = (called(&runs[one.0]), called(&runs[other.0]));
    let message = text!("time/repeated/finding", length, one = a.0, run = one_run, other = b.0, other_run);
    let mut finding = finding(Code::TimeRepeated, Grade::Moderate, Direction::Against, message);
    finding.statistic = Some(length as f64);
    finding.n = Some(all.iter().map(|losses| losses.len() as u64).sum());
    finding.subject.steps = vec![a.0, b.0];
    finding.null = text!("time/repeated/null");
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}
