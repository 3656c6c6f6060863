//! Rates that a schedule's law gives for an earlier step.
//!
//! A program that skips an update skips the scheduler's step with it, while its count of steps goes on: from there on every
//! rate is the law's of one step earlier. Loss scaling in 16 bits does so whenever a gradient overflows. The delay is a whole
//! number of steps that never falls, and it grows by little, so that it can be told from a rate that was scaled and from a
//! count of steps that was moved.

use crate::law::RateLaw;

/// Skipped updates that lie in a row at most: a scale that begins at 2^32 is halved so often until it fits.
pub const IN_A_ROW: u64 = 32;

/// Of all steps, the share that may be skipped besides. A scale that doubles every 1000 or 2000 steps overflows as often, two
/// or three updates at a time: 0.3 % of the steps.
pub const SHARE: f64 = 0.01;

/// Delays that are tried in one walk, at most: steps of a foreign log may lie any distance apart.
const TRIES: u64 = 1 << 16;

/// How much later than its law a schedule runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Late {
    /// Points that follow the law of an earlier step than the first of them, and so of a skipped update or more.
    pub points: usize,
    /// Steps that were skipped between the first point and the last.
    pub skipped: u64,
    /// First and last point that follow the law so.
    pub range: (i64, i64),
}

/// Walks from the longest row of neighbours that follow `law` both ways for as long as every point is the law's of a whole
/// number of steps earlier, a number that never falls. Gives by point the delay of those that follow, and what they are
/// together; nothing if no point does but those of the law itself.
pub fn late(points: &[(i64, f64)], law: &RateLaw, limit: f64) -> Option<(Vec<Option<i64>>, Late)> {
    // A constant rate is that of every step.
    if matches!(law, RateLaw::Constant { .. }) {
        return None;
    }
    let on = |point: &(i64, f64)| (law.at(point.0 as f64) - point.1).abs() <= limit;
    let mut longest = (0, 0);
    let mut start = 0;
    for (at, point) in points.iter().enumerate() {
        if !on(point) {
            start = at + 1;
        } else if at + 1 - start > longest.1 - longest.0 {
            longest = (start, at + 1);
        }
    }
    let (mut first, mut last) = (longest.0, longest.1.checked_sub(1)?);
    let mut delays: Vec<Option<i64>> = vec![None; points.len()];
    delays[longest.0..longest.1].fill(Some(0));
    let fits = |at: usize, delay: i64| {
        let (step, rate) = points[at];
        (law.at(step as f64 - delay as f64) - rate).abs() <= limit
    };
    let span = points[points.len() - 1].0.abs_diff(points[0].0);
    let mut room = IN_A_ROW + share(span);
    let mut tries = TRIES;
    // Onwards the delay grows, back it falls; a gap skips as many steps as it has, at most.
    let mut walk = |at: usize, from: usize, sign: i64, delays: &mut Vec<Option<i64>>| {
        let before = delays[from]?;
        let gap = points[at].0.abs_diff(points[from].0);
        let most = gap.min(IN_A_ROW + share(gap)).min(room);
        let more = (0..=i64::try_from(most.min(tries)).ok()?).find(|more| fits(at, before + sign * more))?;
        tries -= more.unsigned_abs();
        room -= more.unsigned_abs();
        delays[at] = Some(before + sign * more);
        Some(())
    };
    while last + 1 < points.len() && walk(last + 1, last, 1, &mut delays).is_some() {
        last += 1;
    }
    while first > 0 && walk(first - 1, first, -1, &mut delays).is_some() {
        first -= 1;
    }
    let (least, most) = (delays[first]?, delays[last]?);
    let moved = delays.iter().flatten().filter(|delay| **delay > least).count();
    let late = Late { points: moved, skipped: most.abs_diff(least), range: (points[first].0, points[last].0) };
    // One point, or two, may be the law's of another step by chance.
    let walked = delays.iter().flatten().filter(|delay| **delay != 0).count();
    (walked >= 3).then_some((delays, late))
}

/// The share of so many steps that may be skipped.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of a count
fn share(steps: u64) -> u64 {
    (SHARE * steps as f64) as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::{Departure, Schedule, schedule};

    /// A law that is counted in updates, where those of some steps were skipped.
    fn skipping(law: impl Fn(f64) -> f64, skipped: &[i64], every: usize) -> Vec<(i64, f64)> {
        let done = |step: i64| step - i64::try_from(skipped.iter().filter(|s| **s <= step).count()).unwrap();
        (0..=20_000).step_by(every).map(|step| (step, law(done(step) as f64))).collect()
    }

    fn warm_and_linear(s: f64) -> f64 {
        1e-3 * if s < 2000.0 { s / 2000.0 } else { (20_000.0 - s) / 18_000.0 }
    }

    fn warm_and_cosine(s: f64) -> f64 {
        1e-3 * if s < 2000.0 {
            s / 2000.0
        } else {
            0.55 + 0.45 * (std::f64::consts::PI * (s - 2000.0) / 18_000.0).cos()
        }
    }

    /// Stretches of three points or more that depart by more than a thousandth.
    fn asked(found: &Schedule, steps: f64) -> Vec<crate::Stretch> {
        found.stretches.iter().filter(|s| s.points > 2 && s.departure.size(steps) > 1e-3).copied().collect()
    }

    fn late(found: &Schedule) -> u64 {
        found.pieces.iter().filter_map(|piece| piece.late.as_ref()).map(|late| late.skipped).sum()
    }

    /// Bursts while the scale falls from where it began, then one update now and then; by every logging distance, also where
    /// steps are counted in sequences.
    #[test]
    fn skipped_updates_are_followed_and_nothing_departs() {
        let burst: Vec<i64> = (1..=16).collect();
        let regular: Vec<i64> = (1..19).map(|k| 1057 * k).collect();
        let pairs: Vec<i64> = (1..10).flat_map(|k| [2011 * k, 2011 * k + 1]).collect();
        for skipped in [burst.clone(), regular.clone(), pairs, [burst, regular].concat()] {
            for every in [1, 10, 500] {
                for (name, law) in [
                    ("linear", warm_and_linear as fn(f64) -> f64),
                    ("cosine", warm_and_cosine),
                    ("decay", |s| 1e-3 / (1.0 + s / 500.0).sqrt()),
                ] {
                    let points = skipping(law, &skipped, every);
                    let found = schedule(&points, true).unwrap();
                    let open = asked(&found, 20_000.0);
                    assert!(open.is_empty(), "{name} {every} {skipped:?}: {open:?}");
                    assert!(
                        every == 500 || found.explained + 5 + found.points / 50 >= found.points,
                        "{name} {every} {skipped:?} {} of {}: {:?}",
                        found.explained,
                        found.points,
                        found.pieces
                    );
                    let samples: Vec<(i64, f64)> = points.iter().map(|p| (512 * p.0, p.1)).collect();
                    let found = schedule(&samples, true).unwrap();
                    let open = asked(&found, 512.0 * 20_000.0);
                    assert!(open.is_empty(), "{name} {every} in sequences: {skipped:?} {open:?}");
                }
            }
        }
        let found = schedule(&skipping(warm_and_linear, &[5000, 9000, 12_000], 100), true).unwrap();
        assert_eq!(late(&found), 3, "{:?}", found.pieces);
    }

    /// What is no skipped update: a rate that was scaled, a count that was moved, a delay that falls or is no whole number.
    #[test]
    fn what_is_not_skipped_departs_as_before() {
        let steps = || (0..=20_000_i64).step_by(100);
        let of =
            |rate: &dyn Fn(i64) -> f64| schedule(&steps().map(|s| (s, rate(s))).collect::<Vec<_>>(), true).unwrap();
        for (name, rate) in [
            (
                "scaled",
                &(|s: i64| warm_and_linear(s as f64) * if s >= 12_000 { 0.99 } else { 1.0 }) as &dyn Fn(i64) -> f64,
            ),
            ("moved by 400", &|s| warm_and_linear(if s >= 12_000 { s as f64 - 400.0 } else { s as f64 })),
            ("earlier by 5", &|s| warm_and_linear(if s >= 12_000 { s as f64 + 5.0 } else { s as f64 })),
            ("half a step", &|s| warm_and_linear(if s >= 12_000 { s as f64 - 2.5 } else { s as f64 })),
        ] {
            let found = of(rate);
            let open = found.stretches.iter().filter(|s| s.departure != Departure::Other).count();
            assert!(open > 0 && late(&found) == 0, "{name}: {found:?}");
        }
        let whole = |s: i64| warm_and_linear(if s >= 12_000 { s as f64 - 3.0 } else { s as f64 });
        let points: Vec<(i64, f64)> = steps().map(|s| (s, whole(s))).collect();
        let open = |skips| {
            schedule(&points, skips).unwrap().stretches.iter().filter(|s| s.departure != Departure::Other).count()
        };
        assert!(open(true) == 0 && open(false) > 0, "a program that skips nothing is not excused");
    }
}
