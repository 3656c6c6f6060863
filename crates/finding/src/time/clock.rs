//! The run's clocks against each other: wall clock, runtime and steps.

use super::{Code, Direction, Grade, Judgement, RUNS, called, called_first, finding};
use scratchproof_case::Policy;
use scratchproof_record::{Form, Run};
use scratchproof_stats::median;

/// One row's times.
#[derive(Clone, Copy, Debug)]
struct Row {
    step: i64,
    wall: f64,
    runtime: Option<f64>,
}

fn rows(run: &Run) -> Vec<Row> {
    let Some(walls) = run.history.columns.get("_timestamp") else { return Vec::new() };
    let runtimes = run.history.columns.get("_runtime").map_or(&[][..], Vec::as_slice);
    let mut next = 0;
    let finite = walls.iter().filter(|(_, wall)| wall.is_finite());
    finite
        .map(|&(step, wall)| {
            // Both columns are in the order of the log.
            let ahead = runtimes[next..].iter().take(64).position(|row| row.0 == step);
            let runtime = ahead.map(|ahead| {
                next += ahead;
                runtimes[next].1
            });
            Row { step, wall, runtime: runtime.filter(|r| r.is_finite()) }
        })
        .collect()
}

/// Whether a process began between this training step and the logged one before: the runtime falls, or the clock stands
/// further from it than it did.
pub fn session_begins(run: &Run, step: i64) -> bool {
    let rows = rows(run);
    let steps = run.history.columns.get(&run.keys.step);
    let at = steps.map_or(Some(step), |column| column.iter().find(|p| p.1 >= step as f64).map(|p| p.0));
    let Some(at) = rows.iter().position(|row| at.is_some_and(|at| row.step >= at)) else { return false };
    let near = &rows[at.saturating_sub(2)..rows.len().min(at + 2)];
    near.windows(2).any(|pair| {
        let offset = |row: &Row| row.runtime.map(|runtime| row.wall - runtime);
        pair[1].runtime < pair[0].runtime
            || offset(&pair[0]).zip(offset(&pair[1])).is_some_and(|(a, b)| (b - a).abs() > 60.0)
    })
}

/// Wall clock, runtime and start of one run.
pub fn judge(to: &mut Judgement, policy: &Policy, run: &Run) {
    let rows = rows(run);
    if rows.len() < 2 {
        return;
    }
    let slack = policy.clock_slack_seconds as f64;
    let mut wrong = 0;
    wrong += usize::from(backwards(to, run, &rows, slack));
    wrong += usize::from(offset(to, run, &rows, slack));
    wrong += usize::from(began(to, run, &rows, slack));
    wrong += usize::from(awake(to, run, &rows, slack));
    pauses(to, policy, run, &rows);
    pace(to, policy, run, &rows);
    if wrong == 0 {
        let spread = offsets(&rows).fold((f64::MAX, f64::MIN), |(a, b), o| (a.min(o), b.max(o)));
        let apart = if spread.0 <= spread.1 {
            format!("; wall clock less runtime stays within {:.1} s", spread.1 - spread.0)
        } else {
            String::new()
        };
        let message = format!("{}'s wall clock never runs back over {} rows{apart}.", called_first(run), rows.len());
        let mut finding = finding(Code::TimeClock, Grade::Weak, Direction::For, message);
        finding.n = Some(rows.len() as u64);
        finding.evidence = Some(RUNS.into());
        to.push(finding);
    }
}

fn offsets(rows: &[Row]) -> impl Iterator<Item = f64> {
    rows.iter().filter_map(|row| Some(row.wall - row.runtime?))
}

fn against(to: &mut Judgement, message: String, seconds: f64, steps: Vec<i64>) {
    let mut finding = finding(Code::TimeClock, Grade::Moderate, Direction::Against, message);
    finding.statistic = Some(seconds);
    finding.subject.steps = steps;
    finding.null =
        "one process writes its rows one after the other, by a clock that is at most set right now and then".into();
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}

/// Rows of a higher step that were logged earlier.
fn backwards(to: &mut Judgement, run: &Run, rows: &[Row], slack: f64) -> bool {
    let falls = rows.windows(2).filter(|pair| pair[1].step > pair[0].step);
    let worst = falls.max_by(|a, b| (a[0].wall - a[1].wall).total_cmp(&(b[0].wall - b[1].wall)));
    let Some(pair) = worst.filter(|pair| pair[0].wall - pair[1].wall > slack) else { return false };
    let back = pair[0].wall - pair[1].wall;
    let message = format!(
        "The log of {} has row {} written {back:.0} s before row {}: its wall clock runs back.",
        called(run),
        pair[1].step,
        pair[0].step
    );
    against(to, message, back, vec![pair[0].step, pair[1].step]);
    true
}

/// Wall clock less runtime is the start of the session. A machine that sleeps makes it later; a new session changes it; it
/// does not become earlier for good while the runtime goes on. For a few rows it may: where a machine stood still (565 s in
/// an honest run), rows that waited have the wall clock of before and the runtime of after.
fn offset(to: &mut Judgement, run: &Run, rows: &[Row], slack: f64) -> bool {
    const BLOCK: usize = 8;
    let both: Vec<(i64, f64, f64)> =
        rows.iter().filter_map(|row| Some((row.step, row.wall - row.runtime?, row.runtime?))).collect();
    let middle = |block: &[(i64, f64, f64)]| {
        let mut offsets: Vec<f64> = block.iter().map(|row| row.1).collect();
        offsets.sort_by(f64::total_cmp);
        (block[0].0, offsets[offsets.len() / 2])
    };
    let worst = both
        .chunk_by(|a, b| b.2 >= a.2)
        .filter_map(|session| {
            let blocks: Vec<(i64, f64)> = session.chunks(BLOCK).map(middle).collect();
            let end = *blocks.last()?;
            let high = blocks.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))?;
            Some((high.1 - end.1, high.0, end.0))
        })
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let Some((back, from, until)) = worst.filter(|worst| worst.0 > slack) else { return false };
    let message = format!(
        "In {} the wall clock loses {back:.0} s against the runtime between rows {from} and {until}, within one session.",
        called(run)
    );
    against(to, message, back, vec![from, until]);
    true
}

/// The first row's wall clock less its runtime against the start that the run's record gives.
fn began(to: &mut Judgement, run: &Run, rows: &[Row], slack: f64) -> bool {
    let Some(start) = run.started_at.filter(|_| run.form == Form::Wandb) else { return false };
    let start = start.timestamp_micros() as f64 * 1e-6;
    let Some(first) = rows.iter().find(|row| row.runtime.is_some()) else { return false };
    let apart = first.wall - first.runtime.unwrap_or(0.0) - start;
    // A resumed run counts on: its start lies earlier by what had run before, and many do not say that they were resumed.
    let goes_on = run.resumed || run.continues.is_some() || first.step > 0 && apart < 0.0;
    if apart.abs() <= slack || goes_on {
        return false;
    }
    let message = format!(
        "{} began {:.0} s {} by its rows (wall clock less runtime) than its own record says.",
        called_first(run),
        apart.abs(),
        if apart > 0.0 { "later" } else { "earlier" }
    );
    against(to, message, apart, vec![first.step]);
    true
}

/// Samples of the machine that a wait is judged by; and, of their usual distance, how far one may be from the next.
const SAMPLES: usize = 10;
const REGULAR: f64 = 5.0;

/// A wall clock that goes ahead of the runtime is that of a machine that slept. One that slept was not measured meanwhile.
fn awake(to: &mut Judgement, run: &Run, rows: &[Row], slack: f64) -> bool {
    let Some(samples) = run.system.columns.get("_timestamp") else { return false };
    let mut samples: Vec<f64> = samples.iter().map(|sample| sample.1).filter(|at| at.is_finite()).collect();
    samples.sort_by(f64::total_cmp);
    let gaps = samples.windows(2).map(|pair| pair[1] - pair[0]);
    let Some(usual) = median(gaps).filter(|_| samples.len() >= SAMPLES) else { return false };
    let both = || rows.iter().filter_map(|row| Some((row.step, row.wall, row.runtime?)));
    let ahead = both().zip(both().skip(1)).filter_map(|(before, after)| {
        let worked = after.2 - before.2;
        let slept = after.1 - before.1 - worked;
        if worked < 0.0 || slept <= slack {
            return None;
        }
        // Awake for as long as samples follow on each other from the row before on.
        let within = samples.iter().copied().filter(|at| (before.1..=after.1).contains(at));
        let mut until = before.1;
        for at in within {
            if at - until > REGULAR * usual.max(1.0) {
                break;
            }
            until = at;
        }
        let awake = until - before.1 - worked;
        (awake > slack.max(0.5 * slept)).then_some((awake, slept, before.0, after.0))
    });
    let Some((awake, slept, from, until)) = ahead.max_by(|a, b| a.0.total_cmp(&b.0)) else { return false };
    let message = format!(
        "The wall clock of {} goes {slept:.0} s ahead of the runtime between rows {from} and {until}, as that of a machine that \
         slept, but the machine was measured every {usual:.0} s for {awake:.0} s of them.",
        called(run)
    );
    against(to, message, awake, vec![from, until]);
    true
}

/// Long waits between rows.
fn pauses(to: &mut Judgement, policy: &Policy, run: &Run, rows: &[Row]) {
    let waits = || rows.windows(2).filter(|pair| pair[1].step > pair[0].step);
    let mut all: Vec<f64> = waits().map(|pair| pair[1].wall - pair[0].wall).filter(|w| w.is_finite()).collect();
    all.sort_by(f64::total_cmp);
    let Some(&usual) = all.get(all.len() / 2) else { return };
    let limit = (policy.pause_times * usual).max(policy.pause_seconds);
    let long: Vec<_> = waits().filter(|pair| pair[1].wall - pair[0].wall > limit).collect();
    if long.is_empty() {
        return;
    }
    let sum: f64 = long.iter().map(|pair| pair[1].wall - pair[0].wall).sum();
    let named: Vec<String> = long
        .iter()
        .take(5)
        .map(|p| format!("{} to {} ({:.0} s)", p[0].step, p[1].step, p[1].wall - p[0].wall))
        .collect();
    let message = format!(
        "{} paused {} time(s), {sum:.0} s in all (rows {}); its rows are usually {usual:.1} s apart.",
        called_first(run),
        long.len(),
        named.join(", ")
    );
    let mut finding = finding(Code::TimePauses, Grade::Context, Direction::Neutral, message);
    finding.statistic = Some(sum);
    finding.n = Some(long.len() as u64);
    finding.subject.steps = long.iter().take(5).map(|pair| pair[0].step).collect();
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}

/// Steps that took next to no time: where a counter was moved, the gap holds more steps than were trained.
fn pace(to: &mut Judgement, policy: &Policy, run: &Run, rows: &[Row]) {
    let trained = training_steps(run, rows);
    let gaps: Vec<(i64, i64, f64)> = trained
        .windows(2)
        .filter(|pair| pair[1].0 > pair[0].0 && pair[1].1 >= pair[0].1)
        .map(|pair| (pair[0].0, pair[1].0, (pair[1].1 - pair[0].1) / (pair[1].0 as f64 - pair[0].0 as f64)))
        .collect();
    if gaps.len() < 12 {
        return;
    }
    let mut sorted: Vec<f64> = gaps.iter().map(|gap| gap.2).collect();
    sorted.sort_by(f64::total_cmp);
    // The fastest gap is held against the tenth part of all that is fastest: batches grow, machines change.
    let quick = sorted[sorted.len() / 10];
    let Some(fastest) = gaps.iter().min_by(|a, b| a.2.total_cmp(&b.2)) else { return };
    let width = fastest.1.saturating_sub(fastest.0);
    let mut widths: Vec<i64> = gaps.iter().map(|gap| gap.1.saturating_sub(gap.0)).collect();
    widths.sort_unstable();
    // Buffered rows share a time; a moved counter leaves a gap wider than the others.
    let wide = width > 2 * widths[widths.len() * 9 / 10];
    if !wide || quick <= 0.0 || fastest.2 > policy.pace_fast * quick {
        return;
    }
    let message = format!(
        "{} goes from step {} to {} in {:.2} s, {:.4} s a step; nine tenths of its gaps take {quick:.4} s a step or more. \
         Skipped or renumbered steps do that.",
        called_first(run),
        fastest.0,
        fastest.1,
        fastest.2 * width as f64,
        fastest.2
    );
    let mut finding = finding(Code::TimePace, Grade::Moderate, Direction::Against, message);
    finding.statistic = Some(fastest.2 / quick);
    finding.n = Some(gaps.len() as u64);
    finding.subject.steps = vec![fastest.0, fastest.1];
    finding.null = "a training step takes about as long as the fastest others".into();
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}

/// Training step and wall clock by row.
#[allow(clippy::cast_possible_truncation)] // a float cast saturates
fn training_steps(run: &Run, rows: &[Row]) -> Vec<(i64, f64)> {
    let column = run.history.columns.get(&run.keys.step).filter(|_| run.keys.step != "_step");
    let by_row: Option<std::collections::BTreeMap<i64, f64>> = column.map(|column| column.iter().copied().collect());
    let step = |row: &Row| match &by_row {
        None => Some(row.step),
        Some(steps) => steps.get(&row.step).map(|step| step.round() as i64),
    };
    let mut trained: Vec<(i64, f64)> = rows.iter().filter_map(|row| Some((step(row)?, row.wall))).collect();
    trained.dedup_by_key(|point| point.0);
    trained
}
