//! The learning rate between two steps, from a log that holds only some of them.

use super::run::Run;

/// Sums of the learning rate over the optimiser steps of a span, as far as the log covers it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateSum {
    /// Sum of the learning rates of the covered steps.
    pub sum: f64,
    /// Sum of their squares.
    pub squares: f64,
    /// By how much the sum can be off because steps between logged points were interpolated.
    pub doubt: f64,
    /// Steps of the span that lie between logged points.
    pub covered: u64,
    /// Steps of the span.
    pub steps: u64,
}

impl RateSum {
    /// Whether the log covers the span: one step at the ends may be logged before or after the update it belongs to.
    pub fn whole(&self) -> bool {
        self.covered.saturating_add(1) >= self.steps
    }

    /// Share of the span that the log covers, 0 to 1.
    pub fn coverage(&self) -> f64 {
        self.covered as f64 / self.steps as f64
    }

    /// ln of the factor by which decoupled weight decay alone shrinks a weight over the covered steps, the product of
    /// `1 - lr * decay`; to second order, which for `lr * decay` of 1e-3 is good to 3e-7 of itself.
    pub fn ln_decay(&self, decay: f64) -> f64 {
        -decay * self.sum - decay * decay * self.squares / 2.0
    }
}

impl Run {
    /// Sums the learning rate over every step in `(from, to]`: linear between logged points, and beyond the first and the last of
    /// them no further than they lie apart, where that makes the span whole.
    ///
    /// Steps are the log's. Whether a log writes step t before or after the t-th update is its own custom, so a sum can
    /// be off by the difference of the rates at its two ends. `None` without a logged learning rate, for an empty span,
    /// and where no step of the span is covered.
    pub fn learning_rate_sum(&self, from: i64, to: i64) -> Option<RateSum> {
        rate_sum(&self.learning_rate(), from, to)
    }
}

/// As [`Run::learning_rate_sum`], of points sorted by step.
///
/// The doubt of a gap of n steps: a curve between two points whose slope stays between those of the gaps on either side is
/// off the straight line by at most `n^2 (M - s)(s - m) / (2 (M - m))`, for the slope s of the gap and the extremes m and
/// M of the three; the corner where a warm-up ends reaches it. A gap that is steeper than both its neighbours may hold a
/// jump anywhere, and so may the first and the last gap, which have a neighbour on one side only.
pub fn rate_sum(points: &[(i64, f64)], from: i64, to: i64) -> Option<RateSum> {
    let steps = u64::try_from(i128::from(to) - i128::from(from)).ok().filter(|&n| n > 0)?;
    let mut total = RateSum { sum: 0.0, squares: 0.0, doubt: 0.0, covered: 0, steps };
    let first = points.first()?;
    if first.0 > from && first.0 <= to {
        total.add(1.0, first.1, first.1);
    }
    for (at, pair) in points.windows(2).enumerate() {
        let ((left, a), (right, b)) = (pair[0], pair[1]);
        // The steps of the span in (left, right].
        let (low, high) = (left.max(from), right.min(to));
        if low >= high {
            continue;
        }
        // Steps of a hostile log may lie further apart than an i64 holds.
        let distance = |x: i64, y: i64| (i128::from(y) - i128::from(x)) as f64;
        let slope = (b - a) / distance(left, right);
        let rate = |step: i64| a + slope * distance(left, step);
        total.add(distance(low, high), rate(low) + slope, rate(high));
        // A curve on one side of the straight line can have all of its distance from it in any part of the gap, up to the
        // height of the triangle at every step.
        let (whole, share) = (doubt(points, at), distance(low, high) / distance(left, right));
        total.doubt += whole * (2.0 * share).min(1.0);
    }
    if total.covered == 0 || !total.whole() {
        total = total.with_neighbours(points, from, to);
    }
    (total.covered > 0).then_some(total)
}

/// The doubt of the gap after a point; see [`rate_sum`].
fn doubt(points: &[(i64, f64)], at: usize) -> f64 {
    let width = |at: usize| (i128::from(points[at + 1].0) - i128::from(points[at].0)) as f64;
    let slope = |at: usize| (points[at + 1].1 - points[at].1) / width(at);
    let (n, own) = (width(at), slope(at));
    if n <= 1.0 {
        return 0.0;
    }
    let before = if at > 0 { Some(slope(at - 1)) } else { None };
    let after = (at + 2 < points.len()).then(|| slope(at + 1));
    let (Some(before), Some(after)) = (before, after) else {
        let beside = before.or(after).unwrap_or(0.0);
        return n * n * (own - beside).abs() / 2.0;
    };
    let (least, most) = (before.min(after), before.max(after));
    if own < least || own > most {
        return n * n * (own - own.clamp(least, most)).abs() / 2.0;
    }
    if most > least { n * n * (most - own) * (own - least) / (2.0 * (most - least)) } else { 0.0 }
}

/// The learning rate of every step in `(from, to]`, where the points cover all of them and they are at most `most`.
pub fn rates(points: &[(i64, f64)], from: i64, to: i64, most: usize) -> Option<Vec<f64>> {
    let steps = usize::try_from(i128::from(to) - i128::from(from)).ok().filter(|n| (1..=most).contains(n))?;
    let mut all = Vec::with_capacity(steps.min(1 << 16));
    let mut next = points.partition_point(|point| point.0 <= from);
    let mut step = from;
    while all.len() < steps {
        step += 1;
        while points.get(next)?.0 < step {
            next += 1;
        }
        let (right, b) = points[next];
        if right == step {
            all.push(b);
            continue;
        }
        let (left, a) = *points.get(next.checked_sub(1)?)?;
        let distance = |x: i64, y: i64| (i128::from(y) - i128::from(x)) as f64;
        all.push(a + (b - a) * distance(left, step) / distance(left, right));
    }
    Some(all)
}

impl RateSum {
    /// With the steps before the first and after the last row that its logging interval covers, at that row's rate and doubted
    /// as a whole; as it was where that does not make it whole. A log of every tenth step begins at step 10 and ends at the last
    /// ten: what lies outside is not unknown.
    fn with_neighbours(self, points: &[(i64, f64)], from: i64, to: i64) -> Self {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return self };
        let gap = |pair: Option<&[(i64, f64)]>| pair.map_or(1, |pair| i128::from(pair[1].0) - i128::from(pair[0].0));
        let (before, after) = (gap(points.windows(2).next()), gap(points.windows(2).last()));
        let (from, to) = (i128::from(from), i128::from(to));
        // Rows at step t speak of the steps (t - gap, t] at the beginning, and of (t, t + gap] after the end.
        let early = (from.max(i128::from(first.0) - before), to.min(i128::from(first.0) - 1));
        let late = (from.max(i128::from(last.0)), to.min(i128::from(last.0) + after));
        let mut filled = self;
        for ((low, high), rate) in [(early, first.1), (late, last.1)] {
            if low < high {
                let n = (high - low) as f64;
                filled.add(n, rate, rate);
                filled.doubt += n * rate;
            }
        }
        if filled.covered > 0 && filled.whole() { filled } else { self }
    }

    /// Adds `n` rates that rise or fall evenly from `first` to `last`.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a whole number of steps within a u64
    fn add(&mut self, n: f64, first: f64, last: f64) {
        let (mean, spread) = (f64::midpoint(first, last), last - first);
        self.sum += n * mean;
        // Variance of n evenly spaced points: spread^2 (n + 1) / (12 (n - 1)).
        let variance = if n > 1.0 { spread * spread * (n + 1.0) / (12.0 * (n - 1.0)) } else { 0.0 };
        self.squares += n * (mean * mean + variance);
        self.covered += n as u64;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{rate_sum as sum, rates};

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-12 * b.abs().max(1.0), "{a} is not {b}");
    }

    #[test]
    fn a_sum_is_that_of_every_interpolated_step() {
        let points = [(0, 0.0), (10, 1.0), (30, 0.5)];
        let rate = |s: f64| if s <= 10.0 { s / 10.0 } else { 1.0 - (s - 10.0) / 40.0 };
        for (from, to) in [(0, 30), (-15, 30), (3, 17), (9, 10), (10, 11), (12, 13), (0, 1)] {
            let found = sum(&points, from, to).unwrap();
            let steps = || (from + 1..=to).filter(|s| *s >= 0).map(|s| rate(f64::from(i32::try_from(s).unwrap())));
            close(found.sum, steps().sum());
            close(found.squares, steps().map(|r| r * r).sum());
            assert_eq!(found.covered, u64::try_from(to - from.max(-1)).unwrap().min(31));
        }
    }

    #[test]
    fn rates_of_every_step_are_those_of_the_sum() {
        let points = [(0, 0.0), (10, 1.0), (30, 0.5)];
        for (from, to) in [(0, 30), (-1, 30), (3, 17), (9, 10), (12, 13)] {
            let all = rates(&points, from, to, 100).unwrap();
            close(all.iter().sum(), sum(&points, from, to).unwrap().sum);
        }
        for (from, to, most) in [(-2, 30, 100), (0, 31, 100), (0, 30, 29), (5, 5, 100), (7, 3, 100)] {
            assert!(rates(&points, from, to, most).is_none(), "{from} {to}");
        }
        assert!(rates(&[], 0, 1, 9).is_none());
        assert!(rates(&points, i64::MIN, i64::MAX, usize::MAX).is_none());
    }

    #[test]
    fn what_interpolation_hides_is_within_the_doubt() {
        let warm = |peak: f64, n: f64, s: f64| peak * (s / n).min(1.0);
        let cosine = |s: f64| 1e-3 * (0.1 + 0.45 * (1.0 + (std::f64::consts::PI * s / 1000.0).cos()));
        let curves: [&dyn Fn(f64) -> f64; 4] = [
            &cosine,
            // A warm-up that ends between two points, one that is over before the second point, a step down.
            &|s| warm(1e-3, 333.0, s),
            &|s| warm(1e-3, 20.0, s),
            &|s| if s < 444.0 { 1e-3 } else { 1e-4 },
        ];
        for (which, curve) in curves.iter().enumerate() {
            let points: Vec<(i64, f64)> = (0..=20).map(|i| (i * 50, curve(i as f64 * 50.0))).collect();
            let truth: f64 = (1..=1000).map(|s| curve(f64::from(s))).sum();
            let found = sum(&points, 0, 1000).unwrap();
            assert!((found.sum - truth).abs() <= found.doubt * 1.05 + 1e-9, "{which}: {found:?} {truth}");
            assert!(found.doubt < 0.06 * truth, "{which}: {found:?} {truth}");
        }
        let every: Vec<(i64, f64)> = (0..=1000).map(|s| (s, cosine(s as f64))).collect();
        close(sum(&every, 0, 1000).unwrap().doubt, 0.0);
    }

    #[test]
    fn nothing_is_made_up_beyond_the_points() {
        let points = [(100, 1e-3), (200, 1e-3)];
        let found = sum(&points, 0, 400).unwrap();
        assert_eq!((found.covered, found.steps), (101, 400));
        close(found.sum, 0.101);
        assert!((found.coverage() - 0.2525).abs() < 1e-12);
        assert!(sum(&points, 200, 400).is_none());
        assert!(sum(&points, -150, 50).is_none());
        assert!(sum(&points, 150, 150).is_none());
        assert!(sum(&points, 150, 10).is_none());
        assert!(sum(&[], 0, 10).is_none());
    }

    /// README's own advice, two checkpoints in a row, where the log ends at the first of them; a trainer's first step, of which
    /// the row of step 10 is the first to tell.
    #[test]
    fn a_step_beside_the_rows_has_the_rate_of_the_nearest() {
        let every: Vec<(i64, f64)> = (0..300).map(|s| (s, 1e-3)).collect();
        let found = sum(&every, 299, 300).unwrap();
        assert!(found.whole() && found.covered == 1);
        close(found.sum, 1e-3);
        close(found.doubt, 1e-3);
        assert!(sum(&every, 300, 301).is_none());
        let tenth: Vec<(i64, f64)> = (1..30).map(|i| (10 * i, 1e-3)).collect();
        for (from, to) in [(0, 1), (0, 20), (290, 300), (285, 296)] {
            let found = sum(&tenth, from, to).unwrap();
            assert!(found.whole() && found.doubt > 0.0, "{from} {to}: {found:?}");
            assert!((found.sum / (1e-3 * found.steps as f64) - 1.0).abs() < 0.11, "{from} {to}: {found:?}");
        }
        assert!(sum(&tenth, 290, 400).is_none());
    }

    /// A warm-up that ends in a gap which a checkpoint cuts: all that the straight line hides can lie in one part of it.
    #[test]
    fn the_corner_of_a_gap_is_within_the_doubt_of_its_parts() {
        let warm = |s: i64| 1e-3 * (s as f64 / 20.0).min(1.0);
        for offset in 0..5 {
            let points: Vec<(i64, f64)> = (0..20).map(|i| (5 * i + offset, warm(5 * i + offset))).collect();
            for cut in 12..30 {
                for (from, to) in [(12, cut), (cut, 40)] {
                    let Some(found) = sum(&points, from, to) else { continue };
                    let truth: f64 = (from + 1..=to).map(warm).sum();
                    assert!(
                        (found.sum - truth).abs() <= found.doubt + 1e-12,
                        "{offset} {from} {to}: {found:?} {truth}"
                    );
                }
            }
        }
    }

    #[test]
    fn extreme_steps_do_not_overflow() {
        let found = sum(&[(i64::MIN, 1.0), (i64::MAX, 1.0)], i64::MIN, i64::MAX).unwrap();
        assert!(found.sum.is_finite() && found.coverage() > 0.99);
    }

    #[test]
    fn decay_follows_the_product() {
        let points = [(0, 3e-4), (1000, 3e-5)];
        let found = sum(&points, 0, 1000).unwrap();
        let product: f64 = (1..=1000).map(|s| (1.0 - 0.1 * (3e-4 - 2.7e-7 * f64::from(s))).ln()).sum();
        assert!((found.ln_decay(0.1) / product - 1.0).abs() < 1e-7);
    }
}
