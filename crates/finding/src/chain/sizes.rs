//! Whether the weights moved as the logged learning rates rise and fall: what ties a log to the weights where no rows decay.

use super::ChainFacts;
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_evidence::ChainRow;
use scratchproof_measurements::ALL;
use scratchproof_texts::text;

/// How a path of n steps grows with them, from a random walk to a path straight on: a training lies between.
const POWERS: [f64; 3] = [0.5, 0.75, 1.0];

/// Intervals from which on a course can be followed.
const LEAST: usize = 3;

/// The logged rates must vary by this factor from interval to interval, or there is nothing to follow.
pub const VARIES: f64 = 1.5;

/// One interval: mean logged rate, speed for each of [`POWERS`], and what was spent of the sum of the rates.
struct Interval {
    rate: f64,
    speeds: [f64; 3],
    spent: f64,
}

impl Interval {
    fn new(row: &ChainRow) -> Option<Self> {
        let steps = ((i128::from(row.to_step) - i128::from(row.from_step)) as f64).max(1.0);
        let (sum, rms) = (row.lr_sum?, row.rms?);
        let bound = row.bound?;
        let interval =
            Self { rate: sum / steps, speeds: POWERS.map(|p| rms / steps.powf(p)), spent: row.budget? / bound };
        (interval.rate > 0.0 && rms > 0.0 && interval.spent.is_finite()).then_some(interval)
    }
}

/// Slope of ln `y` on ln `x`, and the spread (largest over smallest) that is left of `y` along a slope of one.
fn follows(x: &[f64], y: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let (lx, ly): (Vec<f64>, Vec<f64>) = (x.iter().map(|v| v.ln()).collect(), y.iter().map(|v| v.ln()).collect());
    let mean = |v: &[f64]| v.iter().sum::<f64>() / n;
    let (mx, my) = (mean(&lx), mean(&ly));
    let sxy: f64 = lx.iter().zip(&ly).map(|(a, b)| (a - mx) * (b - my)).sum();
    let sxx: f64 = lx.iter().map(|a| (a - mx).powi(2)).sum();
    let rest = || lx.iter().zip(&ly).map(|(a, b)| b - a);
    let spread = rest().fold(f64::NEG_INFINITY, f64::max) - rest().fold(f64::INFINITY, f64::min);
    (sxy / sxx, spread.exp())
}

/// The finding that ties, where it does: an exact bound that no interval crosses, some of it spent in each, and speeds that
/// rise and fall with the logged rates.
pub(super) fn judge(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let Some(bound) = facts.bound.as_ref().filter(|bound| bound.tells()) else { return };
    let rows: Vec<&ChainRow> = facts.path.iter().filter(|row| row.component == ALL).collect();
    let intervals: Vec<Interval> = rows.iter().filter_map(|row| Interval::new(row)).collect();
    if intervals.len() < rows.len() || intervals.len() < LEAST {
        return;
    }
    let rates: Vec<f64> = intervals.iter().map(|i| i.rate).collect();
    let most = rates.iter().copied().fold(0.0, f64::max);
    let varies = most / rates.iter().copied().fold(f64::INFINITY, f64::min);
    let spent = intervals.iter().map(|i| i.spent).fold(f64::INFINITY, f64::min);
    let over = intervals.iter().map(|i| i.spent).fold(0.0, f64::max);
    if varies < VARIES || over > 1.0 || spent < policy.spent_least {
        return;
    }
    // An average that lags behind, and a warm-up, move less in the first interval.
    let from = if intervals.len() > LEAST { 0..2 } else { 0..1 };
    let best = from.flat_map(|first| (0..POWERS.len()).map(move |k| (first, k))).map(|(first, k)| {
        let speeds: Vec<f64> = intervals[first..].iter().map(|i| i.speeds[k]).collect();
        follows(&rates[first..], &speeds)
    });
    let Some((slope, spread)) = best.min_by(|a, b| a.1.total_cmp(&b.1)) else { return };
    if !(policy.follows_slope..=1.0 / policy.follows_slope).contains(&slope) || spread > policy.follows_spread {
        return;
    }
    let message = text!(
        "power/step-sizes/follow",
        intervals = intervals.len(),
        optimiser = bound.optimiser.clone(),
        varies,
        slope,
        spread,
        over,
        spent
    );
    let mut finding = Finding::new(Code::ChainStepSizes, Grade::Moderate, Direction::For, message);
    finding.subject.steps = facts.steps.to_vec();
    finding.statistic = Some(slope);
    finding.effect = Some(spread);
    finding.n = Some(intervals.len() as u64);
    finding.null = text!("power/step-sizes/null");
    finding.evidence = Some("evidence/chain.parquet".into());
    judgement.push(finding);
}

#[cfg(test)]
mod tests {
    use super::follows;

    #[test]
    fn a_course_is_followed_by_its_own_rates_and_by_no_other() {
        let rates = [1e-4, 4e-4, 5e-4, 3e-4, 1e-4];
        let speeds = rates.map(|r| 0.7 * r);
        let (slope, spread) = follows(&rates, &speeds);
        assert!((slope - 1.0).abs() < 1e-9 && (spread - 1.0).abs() < 1e-9);
        let reversed = [1e-4, 3e-4, 5e-4, 4e-4, 1e-4].map(|r| 1e-8 / r);
        assert!(follows(&reversed, &speeds).0 < 0.0);
    }
}
