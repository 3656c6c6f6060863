//! Intervals that turn back on what the one before had done: seams between two trainings of one start.

use super::path::Trails;
use super::{Session, record};
use crate::finding::chain::Seam;
use crate::plan::ALL;
use crate::stats::Trail;

/// Every interval of every component: the angle to the interval before, and its speed, each against those beside it.
///
/// Where a checkpoint of another training of the same start follows, the displacement to it takes back what this training had
/// done of its own, most of all in the last interval: it is longer than its neighbours and points back.
pub(super) fn seams(session: &Session, trails: &Trails) -> Vec<Seam> {
    let intervals: Vec<(i64, i64)> = session.steps.windows(2).map(|pair| (pair[0], pair[1])).collect();
    let steps: Vec<f64> = intervals.iter().map(|(a, b)| (i128::from(*b) - i128::from(*a)) as f64).collect();
    let rates: Option<Vec<f64>> =
        intervals.iter().map(|(a, b)| Some(record::rates(&session.record, *a, *b)?.sum)).collect();
    let over = rates.as_ref().unwrap_or(&steps);
    let parts = trails.components.iter().filter(|(name, _)| *name != ALL);
    // Of what has matrices, the matrices; norms have none.
    parts.flat_map(|(name, all)| of(session, name, trails.parts.get(name).unwrap_or(all), over, &steps)).collect()
}

fn of(session: &Session, name: &str, trail: &Trail, over: &[f64], steps: &[f64]) -> Vec<Seam> {
    let count = steps.len();
    let length = |t: usize| trail.distance2(t, t + 1).sqrt();
    // A way may be as long as its rates, or as their root: the milder figure counts.
    let speeds: Vec<[f64; 2]> = (0..count)
        .map(|t| {
            let speed = length(t) / over[t];
            [speed, speed * steps[t].sqrt()]
        })
        .collect();
    // Of an interval and the one before.
    let angle = |t: usize| {
        let cosine = trail.step_product((t - 1, t), (t, t + 1)) / (length(t - 1) * length(t));
        cosine.is_finite().then(|| cosine.clamp(-0.999_999, 0.999_999).atanh())
    };
    let angles: Vec<Option<f64>> = (0..count).map(|t| if t > 0 { angle(t) } else { None }).collect();
    let seam = |t: usize| {
        let own = angles[t]?;
        let last = t + 1 == count;
        let before = angles[t - 1]?;
        let beside = if last { before } else { before.min(angles[t + 1]?) };
        let fast = |k: usize| {
            let neighbours = [Some(t - 1), Some(t + 1).filter(|_| !last)].into_iter().flatten();
            speeds[t][k] / neighbours.map(|at| speeds[at][k]).fold(0.0, f64::max)
        };
        let faster = fast(0).min(fast(1));
        faster.is_finite().then(|| Seam {
            steps: (session.steps[t - 1], session.steps[t], session.steps[t + 1]),
            component: name.to_owned(),
            cosine: own.tanh(),
            beside: beside.tanh(),
            dip: beside - own,
            faster,
            last,
        })
    };
    (2..count).filter_map(seam).collect()
}
