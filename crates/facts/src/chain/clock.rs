//! Rows that no training reached, beside what the log predicts of them: facts and table of the decay clock.

use crate::session::Session;
use scratchproof_evidence::DecayRow;
use scratchproof_finding::chain::{ClockInterval, DecayFacts, TokenClock};
use scratchproof_kernel::{LEAST_SINE2, RowProducts, rounding, updated};
use scratchproof_measurements::{RowsSeen, TokenRows, Unit};
use scratchproof_record::{Optimizer, Run, rate_sum, rates};
use scratchproof_stats::{DecayLaw, Expected, Reading, grid_bias, median, momentum_exponents, read, scale, shrinkage};

/// Updates that are followed one by one, for momentum.
const MOST_UPDATES: usize = 1 << 22;

/// Share of an interval's updates that may lie outside the logged ones, beside one.
const UNLOGGED: f64 = 0.05;

/// Share of the rows that keep their direction where no training shows.
const TURNED: f64 = 0.95;

/// Consecutive steps of one rate that may be skipped updates.
const MOST_SKIPPED: usize = 32;

/// Which row of a log holds the rate of an update, and how many updates a checkpoint's step counts: what is added to the
/// steps at the ends of an interval, for an interval that begins at step 0 and for the others.
///
/// The rate of update u stands in row u - 1 (the rate that comes next, as most trainers write it) or in row u; checkpoint N
/// has seen N updates, or, saved after the update of a loop that counts from 0, N + 1, of which step 0 may be an exception.
const CUSTOMS: [(i64, i64); 5] = [(-1, -1), (0, 0), (-1, 0), (0, 1), (1, 1)];

/// Learning rates by step of the log that the predictions are made from.
struct Log<'a> {
    run: &'a Run,
    points: Vec<(i64, f64)>,
    largest: f64,
    /// Whether the decay has a logged schedule of its own: the points are then the products of rate and decay.
    scheduled: bool,
    /// Share of an exponent, and updates, that loss scaling may have skipped unseen: where it is said to be used and not every
    /// step is logged.
    skipped: Option<(f64, f64)>,
}

/// What loss scaling may skip of an interval's updates: a share of them, and some at once while it looks for its scale.
const SKIPPED: (f64, f64) = (0.03, 8.0);

impl<'a> Log<'a> {
    /// The first run that covers the series; else all runs joined, the later one from its first step on, as a resumed
    /// training is.
    fn new(runs: &[&'a Run], first: i64, last: i64) -> Option<Self> {
        let covers = |points: &[(i64, f64)]| {
            points.first().is_some_and(|p| p.0 <= first.saturating_add(1))
                && points.last().is_some_and(|p| p.0 >= last.saturating_sub(1))
        };
        let mut logged: Vec<(&'a Run, Vec<(i64, f64)>)> =
            runs.iter().map(|&run| (run, run.learning_rate())).filter(|(_, points)| !points.is_empty()).collect();
        let whole = logged.iter().position(|(_, points)| covers(points));
        let (run, mut points) = if let Some(whole) = whole {
            logged.swap_remove(whole)
        } else {
            logged.sort_by_key(|(run, _)| run.started_at);
            let run = logged.first()?.0;
            let mut points: Vec<(i64, f64)> = Vec::new();
            for (_, later) in logged {
                let begin = later.first().map_or(i64::MAX, |point| point.0);
                points.truncate(points.partition_point(|point| point.0 < begin));
                points.extend(later);
            }
            (run, points)
        };
        let largest = points.iter().map(|point| point.1).fold(0.0, f64::max);
        let decays = run.scheduled_decay();
        let scheduled = !decays.is_empty();
        if scheduled {
            for (step, rate) in &mut points {
                *rate *= between(&decays, *step)?;
            }
        }
        let sparse = points.windows(2).any(|pair| pair[1].0.saturating_sub(pair[0].0) > 1);
        let skipped = (sparse && run.scales_losses() == Some(true)).then_some(SKIPPED);
        (largest > 0.0 && points.iter().all(|point| point.1 >= 0.0)).then_some(Self {
            run,
            points,
            largest,
            scheduled,
            skipped,
        })
    }

    /// The same where updates were skipped, if any seem to be: the scheduler stands still with the optimiser, so that two
    /// consecutive steps have one rate while those before and after them differ. One of the two was no update.
    fn without_skipped(&self) -> Option<Self> {
        if self.run.scales_losses() == Some(false) {
            return None;
        }
        let mut points = self.points.clone();
        let mut any = false;
        for at in 1..self.points.len() {
            let same = |a: usize, b: usize| self.points[a].1.to_bits() == self.points[b].1.to_bits();
            let next = |a: usize, b: usize| self.points[b].0.saturating_sub(self.points[a].0) == 1;
            // At the corner of a warm-up the largest rate stands twice.
            if !next(at - 1, at) || !same(at - 1, at) || self.points[at].1 >= self.largest {
                continue;
            }
            // A stretch of one rate is a plateau of the schedule, not a scaler that skips, unless it is short.
            let run = (at..self.points.len()).take_while(|&b| same(at, b)).count()
                + (0..at).rev().take_while(|&a| same(at, a)).count();
            if run <= MOST_SKIPPED {
                points[at - 1].1 = 0.0;
                any = true;
            }
        }
        any.then_some(Self { run: self.run, points, largest: self.largest, scheduled: self.scheduled, skipped: None })
    }

    /// The exponent between two checkpoints under a law and a custom.
    fn expected(&self, law: DecayLaw, decay: f64, (from, to): (i64, i64)) -> Option<Expected> {
        let mut sum = rate_sum(&self.points, from, to)?;
        let lacking = sum.steps - sum.covered;
        if lacking > 1 && lacking as f64 > UNLOGGED * sum.steps as f64 {
            return None;
        }
        let edge =
            if self.points.first()?.0 > from.saturating_add(1) { self.points.first() } else { self.points.last() };
        let unlogged = lacking as f64 * edge?.1;
        sum.sum += unlogged;
        sum.doubt += unlogged;
        let steps = sum.steps as f64;
        let expected = law.exponent(&sum, decay, self.largest);
        expected.map(|mut expected| {
            if let Some((share, some)) = self.skipped {
                expected.doubt += expected.exponent.abs() * (share + some / steps).min(1.0);
            }
            expected
        })
    }

    /// The exponents of L2 regularisation through momentum, by checkpoint.
    fn through_momentum(&self, decay: f64, steps: &[i64], custom: (i64, i64)) -> Option<Vec<[f64; 2]>> {
        let momentum = self.run.momentum().unwrap_or(0.0);
        let ends: Vec<i64> = steps.iter().map(|step| shifted(*step, custom)).collect();
        let first = *ends.first()?;
        let all = rates(&self.points, first, *ends.last()?, MOST_UPDATES)?;
        if !(0.0..1.0).contains(&momentum) {
            return None;
        }
        let exponents = momentum_exponents(&all, decay, momentum, steps[0] <= 1);
        let at = |end: i64| {
            usize::try_from(end.saturating_sub(first))
                .ok()?
                .checked_sub(1)
                .map_or(Some([0.0; 2]), |i| exponents.get(i).copied())
        };
        ends.into_iter().map(at).collect()
    }
}

/// A series at a step: on the straight line between the points on either side, and as its end beyond them.
fn between(points: &[(i64, f64)], step: i64) -> Option<f64> {
    let after = points.partition_point(|point| point.0 < step);
    let (left, right) = (after.checked_sub(1).and_then(|at| points.get(at)), points.get(after));
    match (left, right) {
        (Some((a, x)), Some((b, y))) => {
            let share = (i128::from(step) - i128::from(*a)) as f64 / (i128::from(*b) - i128::from(*a)) as f64;
            Some(x + share * (y - x))
        }
        (left, right) => left.or(right).map(|point| point.1),
    }
}

fn shifted(step: i64, (start, other): (i64, i64)) -> i64 {
    step.saturating_add(if step == 0 { start } else { other })
}

/// Predictions for pairs of checkpoints.
fn predictions(
    log: &Log,
    law: DecayLaw,
    decay: f64,
    steps: &[i64],
    custom: (i64, i64),
    pairs: &[(usize, usize)],
) -> Vec<Option<Expected>> {
    if law == DecayLaw::Momentum {
        let Some(at) = log.through_momentum(decay, steps, custom) else { return vec![None; pairs.len()] };
        let one = |&(a, b): &(usize, usize)| {
            let [plain, nesterov] = [0, 1].map(|which| at[b][which] - at[a][which]);
            let expected = Expected { exponent: f64::midpoint(plain, nesterov), doubt: (plain - nesterov).abs() / 2.0 };
            expected.exponent.is_finite().then_some(expected)
        };
        return pairs.iter().map(one).collect();
    }
    pairs
        .iter()
        .map(|&(a, b)| log.expected(law, decay, (shifted(steps[a], custom), shifted(steps[b], custom))))
        .collect()
}

/// How decay can follow the learning rate under an optimiser, the usual way first; and whether that is known of it.
fn laws(optimizer: Option<&Optimizer>) -> (&'static [DecayLaw], bool) {
    match optimizer {
        Some(Optimizer::Sgd) => (&[DecayLaw::Momentum, DecayLaw::Rate], true),
        Some(Optimizer::AdamW | Optimizer::Adam | Optimizer::Lion) => {
            (&[DecayLaw::Rate, DecayLaw::Share, DecayLaw::Square], true)
        }
        _ => (&[DecayLaw::Rate, DecayLaw::Share, DecayLaw::Square], false),
    }
}

/// What the judge of the chain is told.
pub fn facts(session: &Session) -> DecayFacts {
    let runs: Vec<&Run> = session.record.trainings().collect();
    let steps = &session.measured.steps;
    let log = Log::new(&runs, steps[0], steps[steps.len() - 1]);
    let run = log.as_ref().map_or(runs.first().copied(), |log| Some(log.run));
    let optimizer = run.and_then(Run::optimizer);
    let decay = run.and_then(Run::weight_decay).filter(|decay| *decay >= 0.0);
    let (laws, known) = laws(optimizer.as_ref());
    let known = known && run.is_some_and(|run| run.named_optimizer().is_some());
    let scheduled = log.as_ref().is_some_and(|log| log.scheduled);
    // A decay that is logged is in the points already, and then it follows no other law.
    let (own, laws) = if scheduled { (Some(1.0), &laws[..1]) } else { (decay, laws) };
    let clocks =
        session.measured.token_rows.iter().map(|table| clock(session, table, log.as_ref(), own, laws)).collect();
    DecayFacts {
        clocks,
        rates: log.is_some(),
        largest: log.as_ref().map(|log| log.largest),
        decay,
        optimizer: optimizer.as_ref().map(|optimizer| optimizer.name().to_owned()),
        known,
        beside: decay.is_some() && run.is_some_and(|run| run.configured_decay().is_none()),
        no_momentum: matches!(optimizer, Some(Optimizer::Sgd)) && run.is_some_and(|run| run.momentum().is_none()),
        settings: run.map_or(Vec::new(), numbers),
    }
}

/// Numbers of the configuration that may say how the rows of tokens, or the steps, are counted.
fn numbers(run: &Run) -> Vec<(String, f64)> {
    let telling = |key: &str| {
        let key = key.to_ascii_lowercase();
        (key.contains("emb") && ["lr", "rate", "mult", "scale", "decay", "wd"].iter().any(|word| key.contains(word)))
            || key.contains("accum")
    };
    let all = run.config.iter().filter(|(key, _)| telling(key));
    all.filter_map(|(key, value)| Some((key.clone(), value.as_f64().filter(|v| v.is_finite())?))).collect()
}

fn clock(session: &Session, table: &TokenRows, log: Option<&Log>, decay: Option<f64>, laws: &[DecayLaw]) -> TokenClock {
    let unit = &session.measured.plan.units[table.unit];
    let last = session.measured.plan.last();
    let tolerance = session.case.policy.clock_tolerance;
    let mut pairs: Vec<(usize, usize)> = (1..=last).map(|to| (to - 1, to)).collect();
    pairs.push((0, last));
    let mut intervals: Vec<ClockInterval> =
        pairs.iter().map(|&(from, to)| interval(session, table, from, to)).collect();
    let mut law = laws.first().copied().unwrap_or(DecayLaw::Rate);
    let restarts = restarts(&session.record.record.runs, &session.measured.steps);
    intervals.iter_mut().zip(&pairs).for_each(|(interval, (from, to))| {
        interval.restarted = *to == from + 1 && restarts.contains(from);
    });
    if let Some(log) = log.filter(|_| !table.rows.is_empty()) {
        let mut best: Option<Misfit> = None;
        let skipping = log.without_skipped();
        let logs = std::iter::once(log).chain(skipping.as_ref());
        for (log, &candidate) in logs.flat_map(|log| laws.iter().map(move |law| (log, law))) {
            // Without a logged decay the prediction is of one of 1, and only its shape counts.
            let of =
                |custom| predictions(log, candidate, decay.unwrap_or(1.0), &session.measured.steps, custom, &pairs);
            let scored = CUSTOMS.iter().map(|custom| of(*custom)).map(|mut expected| {
                if decay.is_some() {
                    for begin in std::iter::once(0).chain(restarts.iter().copied()) {
                        on_grid(&mut expected, &pairs, &table.bits, begin);
                    }
                }
                if candidate == DecayLaw::Share {
                    from_higher(&intervals, &mut expected, tolerance);
                }
                let misfit = Misfit::new(&intervals, &expected, tolerance, decay.is_none());
                (misfit, expected)
            });
            let Some((misfit, expected)) = scored.min_by(|a, b| a.0.order(&b.0)) else { continue };
            // Another law than the usual one must explain everything, and more than one interval of it.
            let enough = best.is_none() || misfit.wrong == 0 && misfit.telling >= 2;
            if enough && best.as_ref().is_none_or(|best| misfit.order(best).is_lt()) {
                law = candidate;
                intervals.iter_mut().zip(expected).for_each(|(interval, expected)| interval.expected = expected);
                best = Some(misfit);
            }
            if best.as_ref().is_some_and(|best| best.wrong == 0) {
                break;
            }
        }
    }
    let whole = intervals.pop();
    let even = table.seen.iter().map(|seen| seen.even).max().unwrap_or(0);
    TokenClock {
        tensor: unit.tensor.clone(),
        component: unit.role.judged_as().to_owned(),
        of: table.of,
        rows: table.rows.len() as u64,
        even,
        tied: tied(session, unit),
        told: sound(table),
        coarse: table.bits.iter().all(|bits| *bits <= 7),
        law,
        intervals,
        whole: whole.filter(|_| last > 1),
    }
}

/// Intervals in which the chosen rows kept their direction and others turned: where all keep it, nothing tells which rows
/// were trained.
fn sound(table: &TokenRows) -> u64 {
    let turns = |(seen, holds): &(&RowsSeen, &bool)| **holds && seen.kept as f64 <= TURNED * seen.usable as f64;
    table.seen.iter().zip(&table.holds).filter(turns).count() as u64
}

/// Whether a token embedding may also be the output layer, whose rows get a gradient from every token: its model has no head.
fn tied(session: &Session, unit: &Unit) -> bool {
    let head = |other: &&Unit| other.role.tower == unit.role.tower && other.role.family == "head";
    !unit.role.family.contains("position") && session.measured.plan.units.iter().find(head).is_none()
}

/// Checkpoints that a later run went on from: where its first logged step lies. What it read was rounded to the format it
/// was stored in, and stood on its grid.
fn restarts(runs: &[Run], steps: &[i64]) -> Vec<usize> {
    let begins: Vec<i64> = runs.iter().filter_map(|run| run.learning_rate().first().map(|point| point.0)).collect();
    let earliest = begins.iter().copied().min();
    let at = |step: &i64| begins.iter().any(|b| Some(*b) != earliest && (0..=1).contains(&b.saturating_sub(*step)));
    steps.iter().enumerate().skip(1).filter(|(_, step)| at(step)).map(|(index, _)| index).collect()
}

/// Adds to the doubt what it does if the checkpoint at `begin`, the first or one that a run was restarted from, is not
/// rounded but stood on its grid.
fn on_grid(expected: &mut [Option<Expected>], pairs: &[(usize, usize)], bits: &[i32], begin: usize) {
    let (mut sum, mut bias) = (0.0, vec![0.0; begin + 1]);
    for (at, bits_there) in bits.iter().enumerate().skip(begin + 1) {
        let step = pairs.iter().position(|pair| *pair == (at - 1, at)).and_then(|i| expected[i]);
        sum += step.map_or(0.0, |step| step.exponent);
        bias.push(if bits[begin] <= *bits_there { grid_bias(sum, *bits_there) } else { 0.0 });
    }
    for (expected, (from, to)) in expected.iter_mut().zip(pairs) {
        if let Some(expected) = expected {
            expected.doubt += bias[*to] + bias[*from];
        }
    }
}

/// How far the rate that a schedule begins from may lie above the largest that was logged: the peak may stand between two rows.
const ABOVE: f64 = 0.05;

/// Where decay goes by the rate over its first value and one factor explains all intervals, the first value is taken from that: it
/// is the configured rate, which no row has to hold.
fn from_higher(intervals: &[ClockInterval], expected: &mut [Option<Expected>], tolerance: f64) {
    let both = intervals.iter().zip(expected.iter()).filter(|(interval, _)| interval.counts());
    let figures: Vec<_> = both.filter_map(|(interval, expected)| Some((interval.measured?, (*expected)?))).collect();
    if let Some((factor, true)) = scale(&figures, tolerance)
        && (1.0 - ABOVE..=1.0).contains(&factor)
    {
        for expected in expected.iter_mut().flatten() {
            *expected = Expected { exponent: factor * expected.exponent, doubt: factor * expected.doubt };
        }
    }
}

/// How predictions miss the measurements.
struct Misfit {
    /// Intervals without a prediction.
    blank: usize,
    /// Intervals that differ.
    wrong: usize,
    /// Whether not even one factor over all explains them.
    uneven: bool,
    /// Intervals that can tell.
    telling: usize,
    /// Sum of squared deviations over their errors.
    apart: f64,
}

impl Misfit {
    /// `free` says that one factor over all is no misfit.
    fn new(intervals: &[ClockInterval], expected: &[Option<Expected>], tolerance: f64, free: bool) -> Self {
        let both = intervals.iter().zip(expected).filter(|(interval, _)| interval.counts());
        let figures: Vec<_> =
            both.filter_map(|(interval, expected)| Some((interval.measured?, (*expected)?))).collect();
        let factor = if free { scale(&figures, tolerance).map_or(1.0, |(factor, _)| factor) } else { 1.0 };
        let blank = expected.iter().filter(|expected| expected.is_none()).count();
        let uneven = !scale(&figures, tolerance).is_some_and(|(_, one)| one);
        let mut misfit = Self { blank, wrong: 0, uneven, telling: 0, apart: 0.0 };
        for (measured, expected) in figures {
            let expected = Expected { exponent: factor * expected.exponent, doubt: factor.abs() * expected.doubt };
            let reading = read(&measured, &expected, tolerance);
            misfit.wrong += usize::from(reading == Reading::Differs);
            misfit.telling += usize::from(reading != Reading::Blind);
            let error = measured.error / measured.ratio + tolerance * expected.exponent.abs() + f64::MIN_POSITIVE;
            misfit.apart += ((measured.exponent() - expected.exponent) / error).powi(2);
        }
        misfit
    }

    fn order(&self, other: &Self) -> std::cmp::Ordering {
        let whole =
            |misfit: &Self| (misfit.blank, if misfit.wrong == 0 { (false, 0) } else { (misfit.uneven, misfit.wrong) });
        whole(self).cmp(&whole(other)).then(self.apart.total_cmp(&other.apart))
    }
}

fn interval(session: &Session, table: &TokenRows, from: usize, to: usize) -> ClockInterval {
    let steps = (session.measured.steps[from], session.measured.steps[to]);
    let rows: &[RowProducts] = table.pair(from, to).map_or(&[], |pair| &pair.rows);
    let neighbours = to == from + 1;
    let holds = if neighbours { table.holds[from] } else { table.holds.iter().all(|holds| *holds) };
    let seen = table.seen.get(from).filter(|_| neighbours).copied().unwrap_or_default();
    let still = |seen: &RowsSeen| seen.usable > 0 && seen.equal == seen.usable;
    let mut beside = [from.checked_sub(1), Some(to)].into_iter().flatten().filter_map(|at| table.seen.get(at));
    let rounded = [rounding(table.bits[from]), rounding(table.bits[to]) + updated(steps)];
    let measured = if holds { shrinkage(rows, rounded) } else { None };
    // Off the line by more than the roundings can be.
    let allowed = 4.0 * (rounded[0] + rounded[1]) + LEAST_SINE2;
    let lost = rows.iter().filter(|row| row.off_line().is_some_and(|off| off > allowed)).count();
    let cosines = |rows: &[RowProducts]| -> Vec<f64> { rows.iter().filter_map(RowProducts::cosine).collect() };
    // What stands round the later checkpoint.
    let across = table.pair(from, to + 1).filter(|_| neighbours).and_then(|pair| median(cosines(&pair.rows)));
    let all = cosines(rows);
    let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
    ClockInterval {
        steps,
        frozen: still(&seen),
        partly: !still(&seen) && beside.any(still),
        holds,
        restarted: false,
        measured,
        expected: None,
        lost: lost as f64 / rows.len().max(1) as f64,
        turned: (!holds && !all.is_empty()).then_some((median(all).unwrap_or(0.0), mean)),
        across,
        elements: rows.first().map_or(0, |row| row.elements as u64),
    }
}

/// `evidence/decay.parquet`.
pub fn rows(facts: &DecayFacts, tolerance: f64) -> Vec<DecayRow> {
    let mut rows = Vec::new();
    for clock in facts.clocks.iter().filter(|clock| clock.rows > 0) {
        for interval in clock.intervals.iter().chain(&clock.whole) {
            let expected = interval.expected.filter(|_| facts.decay.is_some() && interval.measured.is_some());
            let factor = |sign: f64| expected.map(|e| (-(e.exponent + sign * e.doubt)).exp());
            let reading =
                interval.measured.zip(expected).map(|(measured, expected)| read(&measured, &expected, tolerance));
            rows.push(DecayRow {
                tensor: clock.tensor.clone(),
                component: clock.component.clone(),
                from_step: interval.steps.0,
                to_step: interval.steps.1,
                rows: interval.measured.map_or(clock.rows, |m| m.rows),
                of: clock.of,
                state: interval.state().to_owned(),
                ratio: interval.measured.map(|m| m.ratio),
                ratio_sd: interval.measured.map(|m| m.error),
                cosine: interval.measured.map(|m| m.cosine).or(interval.turned.map(|t| t.0)),
                law: expected.map(|_| clock.law.name().to_owned()),
                predicted: factor(0.0),
                predicted_low: factor(1.0),
                predicted_high: factor(-1.0),
                deviation: interval
                    .measured
                    .zip(expected)
                    .filter(|(_, expected)| expected.exponent > 0.0)
                    .map(|(measured, expected)| measured.exponent() / expected.exponent - 1.0),
                reading: reading.map(|reading| {
                    match reading {
                        Reading::Blind => "blind",
                        Reading::Agrees => "agrees",
                        Reading::Unclear => "unclear",
                        Reading::Differs => "differs",
                    }
                    .to_owned()
                }),
            });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use scratchproof_stats::Shrinkage;

    #[test]
    fn a_series_is_read_between_its_points() {
        let points = [(10, 0.1), (30, 0.5)];
        let at = |step: i64| between(&points, step).expect("a value");
        assert!((at(20) - 0.3).abs() < 1e-12 && (at(10) - 0.1).abs() < 1e-12 && (at(30) - 0.5).abs() < 1e-12);
        assert!((at(0) - 0.1).abs() < 1e-12 && (at(99) - 0.5).abs() < 1e-12);
        assert_eq!(between(&[], 3), None);
    }

    /// Decay by the rate over the configured one, of which the largest logged rate is 0.8 % short; and one that is half of it.
    #[test]
    fn the_first_rate_may_lie_between_two_rows() {
        let figures = |factor: f64| -> (Vec<ClockInterval>, Vec<Option<Expected>>) {
            let exponent = |t: u32| 0.01 * f64::from(t + 1);
            let one = |t: u32| ClockInterval {
                steps: (i64::from(t), i64::from(t) + 1),
                frozen: false,
                partly: false,
                holds: true,
                restarted: false,
                measured: Some(Shrinkage {
                    rows: 24,
                    ratio: (-factor * exponent(t)).exp(),
                    error: 1e-8,
                    equal: false,
                    cosine: 1.0,
                    excess: 1.0,
                }),
                expected: None,
                lost: 0.0,
                turned: None,
                across: None,
                elements: 64,
            };
            let expected = |t: u32| Some(Expected { exponent: exponent(t), doubt: 0.0 });
            ((0..4).map(one).collect(), (0..4).map(expected).collect())
        };
        for (factor, taken) in [(0.992, true), (0.5, false), (1.2, false)] {
            let (intervals, mut expected) = figures(factor);
            from_higher(&intervals, &mut expected, 0.002);
            let misfit = Misfit::new(&intervals, &expected, 0.002, false);
            assert_eq!(misfit.wrong == 0, taken, "{factor}");
        }
    }
}
