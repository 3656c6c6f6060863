//! The run's clocks against each other: wall clock, runtime and steps.

use super::{Code, Direction, Grade, Judgement, RUNS, called, finding};
use scratchproof_case::Policy;
use scratchproof_record::{Form, Run};
use scratchproof_stats::median;
use scratchproof_texts::{Text, text};

/// One row's times.
///
/// W&B takes a row's wall clock when the row is begun and its runtime when it is written away, which is when the next row is
/// begun or the run ends, unless the program asks for it at once. So the runtime may be of any moment between the two.
#[derive(Clone, Copy, Debug)]
struct Row {
    step: i64,
    wall: f64,
    runtime: Option<f64>,
    /// Wall clock of the next row; infinite for the last.
    next: f64,
}

impl Row {
    /// The start of the session, if the row was written away when it was begun: the earliest that it can be.
    fn earliest(&self) -> Option<f64> {
        Some(self.wall - self.runtime?)
    }

    /// The same if it waited for the next row: the latest.
    fn latest(&self) -> Option<f64> {
        Some(self.wall.max(self.next) - self.runtime?)
    }
}

fn rows(run: &Run) -> Vec<Row> {
    let Some(walls) = run.history.columns.get("_timestamp") else { return Vec::new() };
    let runtimes = run.history.columns.get("_runtime").map_or(&[][..], Vec::as_slice);
    let mut next = 0;
    let finite = walls.iter().filter(|(_, wall)| wall.is_finite());
    let mut rows: Vec<Row> = finite
        .map(|&(step, wall)| {
            // Both columns are in the order of the log.
            let ahead = runtimes[next..].iter().take(64).position(|row| row.0 == step);
            let runtime = ahead.map(|ahead| {
                next += ahead;
                runtimes[next].1
            });
            Row { step, wall, runtime: runtime.filter(|r| r.is_finite()), next: f64::INFINITY }
        })
        .collect();
    for at in 1..rows.len() {
        rows[at - 1].next = rows[at].wall;
    }
    rows
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
        let apart = |a: &Row, b: &Row| Some(b.earliest()? - a.latest()?);
        let beyond = |seconds: Option<f64>| seconds.is_some_and(|seconds| seconds > 60.0);
        pair[1].runtime < pair[0].runtime || beyond(apart(&pair[0], &pair[1])) || beyond(apart(&pair[1], &pair[0]))
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
        let apart = (spread.0 <= spread.1).then_some(spread.1 - spread.0);
        let message = text!("time/clock/forward", run = called(run), rows = rows.len(), apart);
        let mut finding = finding(Code::TimeClock, Grade::Weak, Direction::For, message);
        finding.n = Some(rows.len() as u64);
        finding.evidence = Some(RUNS.into());
        to.push(finding);
    }
}

fn offsets(rows: &[Row]) -> impl Iterator<Item = f64> {
    rows.iter().filter_map(|row| Some(row.wall - row.runtime?))
}

fn against(to: &mut Judgement, message: Text, seconds: f64, steps: Vec<i64>) {
    let mut finding = finding(Code::TimeClock, Grade::Moderate, Direction::Against, message);
    finding.statistic = Some(seconds);
    finding.subject.steps = steps;
    finding.null = text!("time/clock/null");
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}

/// Rows of a higher step that were logged earlier.
fn backwards(to: &mut Judgement, run: &Run, rows: &[Row], slack: f64) -> bool {
    let falls = rows.windows(2).filter(|pair| pair[1].step > pair[0].step);
    let worst = falls.max_by(|a, b| (a[0].wall - a[1].wall).total_cmp(&(b[0].wall - b[1].wall)));
    let Some(pair) = worst.filter(|pair| pair[0].wall - pair[1].wall > slack) else { return false };
    let back = pair[0].wall - pair[1].wall;
    let message = text!("time/clock/backwards", run = called(run), row = pair[1].step, before = pair[0].step, back);
    against(to, message, back, vec![pair[0].step, pair[1].step]);
    true
}

/// Wall clock less runtime is the start of the session. A machine that sleeps makes it later; a new session changes it; it
/// does not become earlier for good while the runtime goes on. For a few rows it may: where a machine stood still (565 s in
/// an honest run), rows that waited have the wall clock of before and the runtime of after; and every row may have waited for
/// the next.
fn offset(to: &mut Judgement, run: &Run, rows: &[Row], slack: f64) -> bool {
    const BLOCK: usize = 8;
    let both: Vec<&Row> = rows.iter().filter(|row| row.runtime.is_some()).collect();
    let middle = |block: &[&Row], of: fn(&Row) -> Option<f64>| {
        let mut offsets: Vec<f64> = block.iter().filter_map(|row| of(row)).collect();
        offsets.sort_by(f64::total_cmp);
        (block[0].step, offsets[(offsets.len() - 1) / 2])
    };
    let worst = both
        .chunk_by(|a, b| b.runtime >= a.runtime)
        .filter_map(|session| {
            let end = middle(&session[session.len().saturating_sub(BLOCK)..], Row::latest);
            let blocks = session.chunks(BLOCK).map(|block| middle(block, Row::earliest));
            let high = blocks.max_by(|a, b| a.1.total_cmp(&b.1))?;
            Some((high.1 - end.1, high.0, end.0))
        })
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let Some((back, from, until)) = worst.filter(|worst| worst.0 > slack) else { return false };
    let message = text!("time/clock/loses", run = called(run), back, from, until);
    against(to, message, back, vec![from, until]);
    true
}

/// The first row's wall clock less its runtime against the start that the run's record gives.
fn began(to: &mut Judgement, run: &Run, rows: &[Row], slack: f64) -> bool {
    let Some(start) = run.started_at.filter(|_| run.form == Form::Wandb) else { return false };
    let start = start.timestamp_micros() as f64 * 1e-6;
    let Some(first) = rows.iter().find(|row| row.runtime.is_some()) else { return false };
    let (Some(earliest), Some(latest)) = (first.earliest(), first.latest()) else { return false };
    let apart = (earliest - start).max(0.0) + (latest - start).min(0.0);
    // A resumed run counts on: its start lies earlier by what had run before, and many do not say that they were resumed.
    let goes_on = run.resumed || run.continues.is_some() || first.step > 0 && apart < 0.0;
    if apart.abs() <= slack || goes_on {
        return false;
    }
    let message = text!("time/clock/began", run = called(run), apart = apart.abs(), later = apart > 0.0);
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
    let both: Vec<&Row> = rows.iter().filter(|row| row.runtime.is_some()).collect();
    // The session cannot have begun later than this, if nothing has slept since.
    let start = run.started_at.filter(|_| run.form == Form::Wandb && !run.resumed && run.continues.is_none());
    let mut ceiling = start.map_or(f64::INFINITY, |start| start.timestamp_micros() as f64 * 1e-6 + slack);
    ceiling = ceiling.min(both.first().and_then(|row| row.latest()).unwrap_or(f64::INFINITY));
    let ahead = both.windows(2).filter_map(|pair| {
        let (before, after) = ((pair[0].step, pair[0].wall), (pair[1].step, pair[1].wall));
        let worked = pair[1].runtime? - pair[0].runtime?;
        let (earliest, latest) = (pair[1].earliest()?, pair[1].latest()?);
        let slept = (earliest - ceiling).min(after.1 - before.1 - worked);
        if worked < 0.0 || slept > slack {
            ceiling = latest;
        } else {
            ceiling = ceiling.min(latest);
        }
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
    let message = text!("time/clock/awake", run = called(run), slept, from, until, usual, awake);
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
    let pause =
        |p: &&[Row]| text!("time/pauses/one", from = p[0].step, until = p[1].step, seconds = p[1].wall - p[0].wall);
    let pauses: Vec<Text> = long.iter().take(5).map(pause).collect();
    let message = text!("time/pauses/finding", run = called(run), count = long.len(), sum, pauses, usual);
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
    let message = text!(
        "time/pace/finding",
        run = called(run),
        from = fastest.0,
        until = fastest.1,
        seconds = fastest.2 * width as f64,
        pace = fastest.2,
        quick
    );
    let mut finding = finding(Code::TimePace, Grade::Moderate, Direction::Against, message);
    finding.statistic = Some(fastest.2 / quick);
    finding.n = Some(gaps.len() as u64);
    finding.subject.steps = vec![fastest.0, fastest.1];
    finding.null = text!("time/pace/null");
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
