//! The level of the loss: a stretch, or everything from a row on, that is higher by a factor at once.
//!
//! A loss climbs where a training goes wrong, and comes back by and by; it does not rise by a third from one row to the next
//! and stay there, nor fall back by the same factor at once. A column that was multiplied, or taken from another run, does.

use super::{Code, Direction, Grade, Judgement, RUNS, called, clock, finding};
use scratchproof_case::Policy;
use scratchproof_record::Run;
use scratchproof_stats::median;
use scratchproof_texts::text;

/// Rows before and after that must all be apart.
const ROWS: usize = 6;

/// How near to each other the factors at both ends of a stretch are.
const ONE_FACTOR: f64 = 0.15;

/// Rates that explain a rise.
const LEAP: f64 = 2.0;

/// Where the level changed.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rise {
    /// First row of the stretch, and the row after it if it ends.
    rows: (usize, Option<usize>),
    /// Median after over median before.
    factor: f64,
}

/// Least of the rows from `at` on over the greatest before.
fn apart(loss: &[f64], at: usize) -> f64 {
    let least = loss[at..at + ROWS].iter().copied().fold(f64::INFINITY, f64::min);
    let most = loss[at - ROWS..at].iter().copied().fold(0.0, f64::max);
    least / most
}

fn middle(rows: &[f64]) -> f64 {
    median(rows.iter().copied()).unwrap_or(f64::NAN)
}

/// The widest rise that stays, but for a fall as fast as before it, or ends as it began.
fn rise(loss: &[f64], least: f64) -> Option<Rise> {
    let inner = || ROWS..loss.len().saturating_sub(ROWS - 1);
    let at = inner().max_by(|a, b| apart(loss, *a).total_cmp(&apart(loss, *b)))?;
    if apart(loss, at) < least {
        return None;
    }
    let before = middle(&loss[at - ROWS..at]);
    let factor = middle(&loss[at..at + ROWS]) / before;
    // The loss was falling, and may go on so.
    let earlier = &loss[at.saturating_sub(3 * ROWS)..at - ROWS];
    let slope = if earlier.len() < ROWS { 0.0 } else { (middle(earlier) / before).ln().max(0.0) / (1.5 * ROWS as f64) };
    let half_way = |row: usize| before * (0.5 * factor.ln() - slope * (row - at) as f64).exp();
    let Some(end) = (at + 1..loss.len()).find(|row| loss[*row] < half_way(*row)) else {
        return Some(Rise { rows: (at, None), factor });
    };
    let inside = &loss[end.saturating_sub(ROWS).max(at)..end];
    let behind = &loss[end..(end + ROWS).min(loss.len())];
    let as_it_began = (middle(inside) / middle(behind) / factor).ln().abs() <= ONE_FACTOR;
    let at_once = inside.iter().copied().fold(f64::INFINITY, f64::min) > behind.iter().copied().fold(0.0, f64::max);
    (as_it_began && at_once && end - at >= ROWS).then_some(Rise { rows: (at, Some(end)), factor })
}

/// Whether the learning rate doubled between two steps: a training may go wrong at once, and for good.
fn leaps(rates: &[(i64, f64)], from: i64, until: i64) -> bool {
    let near: Vec<f64> = rates.iter().filter(|p| (from..=until).contains(&p.0)).map(|p| p.1).collect();
    let Some((first, rest)) = near.split_first() else { return false };
    rest.iter().any(|rate| *rate >= LEAP * first)
}

/// Asks about a loss whose level rises at once and for good, or until it falls back as it rose.
pub fn judge(to: &mut Judgement, policy: &Policy, run: &Run) {
    let points = run.loss();
    let loss: Vec<f64> = points.iter().map(|point| point.1).collect();
    if loss.len() < 4 * ROWS || loss.iter().any(|value| !value.is_finite() || *value <= 0.0) {
        return;
    }
    let Some(rise) = rise(&loss, policy.loss_rise) else { return };
    let first = points[rise.rows.0].0;
    // A resumed run may sum over other batches than before.
    if clock::session_begins(run, first) {
        return;
    }
    let from = points[rise.rows.0.saturating_sub(ROWS)].0;
    if leaps(&run.learning_rate(), from, first) {
        return;
    }
    let end = rise.rows.1.map(|row| points[row].0);
    let message = text!("time/loss-shape/level", run = called(run), factor = rise.factor, first, end);
    let mut finding = finding(Code::TimeLossShape, Grade::Moderate, Direction::Against, message);
    finding.statistic = Some(rise.factor);
    finding.n = Some(loss.len() as u64);
    finding.subject.steps = std::iter::once(first).chain(end).collect();
    finding.null = text!("time/loss-shape/level-null");
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn falling(of: impl Fn(usize, f64) -> f64) -> Vec<f64> {
        (0..100)
            .map(|i| {
                let noise = ((i * 7919 + 13) % 101) as f64 / 101.0 - 0.5;
                of(i, 2.0 + 4.0 * (-(i as f64) / 20.0).exp() + 0.2 * noise)
            })
            .collect()
    }

    #[test]
    fn a_stretch_and_a_rest_that_are_multiplied_are_found_where_they_begin_and_end() {
        let found = rise(&falling(|i, v| if (40..60).contains(&i) { 2.0 * v } else { v }), 1.3);
        assert_eq!(found.map(|f| f.rows), Some((40, Some(60))));
        let found = rise(&falling(|i, v| if i >= 40 { 1.6 * v } else { v }), 1.3);
        assert_eq!(found.map(|f| f.rows), Some((40, None)));
        // Half as high: seen where it ends.
        let found = rise(&falling(|i, v| if (40..60).contains(&i) { 0.5 * v } else { v }), 1.3);
        assert_eq!(found.map(|f| f.rows), Some((60, None)));
    }

    #[test]
    fn spikes_that_come_back_by_and_by_and_small_steps_are_not() {
        let spike = |i: usize, v: f64| if i >= 40 { v * (1.0 + 3.0 * (-(i as f64 - 40.0) / 8.0).exp()) } else { v };
        assert_eq!(rise(&falling(spike), 1.3), None);
        assert_eq!(rise(&falling(|i, v| if i >= 40 { 1.2 * v } else { v }), 1.3), None);
        assert_eq!(rise(&falling(|i, v| if (40..44).contains(&i) { 3.0 * v } else { v }), 1.3), None);
        assert_eq!(rise(&falling(|_, v| v), 1.3), None);
    }

    #[test]
    fn a_rate_that_doubled_explains_a_rise() {
        let rates: Vec<(i64, f64)> = (0..100).map(|step| (step, if step < 40 { 1e-3 } else { 2e-2 })).collect();
        assert!(leaps(&rates, 34, 40) && !leaps(&rates, 33, 39) && !leaps(&rates, 41, 47) && !leaps(&[], 0, 9));
    }

    #[test]
    fn short_columns_have_no_level() {
        assert_eq!(rise(&[1.0; 5], 1.3), None);
        assert_eq!(rise(&[], 1.3), None);
    }
}
