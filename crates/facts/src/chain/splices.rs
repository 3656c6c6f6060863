//! Intervals that turn back on what the one before had done: splices between two trainings of one start.

use std::collections::BTreeMap;

use crate::session::Session;
use crate::time::rates;
use scratchproof_finding::chain::{LayerSplice, Splice};
use scratchproof_measurements::{ALL, Trails};
use scratchproof_stats::Trail;

/// Every interval of every component: the angle to the interval before, and its speed, each against those beside it.
///
/// Where a checkpoint of another training of the same start follows, the displacement to it takes back what this training had
/// done of its own, most of all in the last interval: it is longer than its neighbours and points back.
pub fn splices(session: &Session, trails: &Trails) -> Vec<Splice> {
    let intervals: Vec<(i64, i64)> = session.measured.steps.windows(2).map(|pair| (pair[0], pair[1])).collect();
    let steps: Vec<f64> = intervals.iter().map(|(a, b)| (i128::from(*b) - i128::from(*a)) as f64).collect();
    let rates: Option<Vec<f64>> =
        intervals.iter().map(|(a, b)| Some(rates::rates(session.record, *a, *b)?.sum)).collect();
    let over = rates.as_ref().unwrap_or(&steps);
    let parts = trails.components.iter().filter(|(name, _)| *name != ALL);
    // Of what has matrices, the matrices; norms have none.
    parts.flat_map(|(name, all)| of(session, name, trails.parts.get(name).unwrap_or(all), over, &steps)).collect()
}

/// Lengths of the intervals, and the angle of each with the one before as a number without ends.
fn bends(trail: &Trail) -> (Vec<f64>, Vec<Option<f64>>) {
    let count = trail.points().saturating_sub(1);
    let lengths: Vec<f64> = (0..count).map(|t| trail.distance2(t, t + 1).sqrt()).collect();
    let angle = |t: usize| {
        let before = t.checked_sub(1)?;
        let cosine = trail.step_product((before, t), (t, t + 1)) / (lengths[before] * lengths[t]);
        cosine.is_finite().then(|| cosine.clamp(-0.999_999, 0.999_999).atanh())
    };
    let angles = (0..count).map(angle).collect();
    (lengths, angles)
}

/// Speeds by what the length of an interval may grow with, of which the milder counts: by its steps or their root, each times the mean
/// rate or its root. What a rate holds in a steep valley jumps to and fro there by the root of the rate, so that neighbouring
/// intervals point back at each other and shorten less than the rates fall: **measured** in honest BERTs at the end of a cosine,
/// cosine -0.35 and 1.69 times as fast by the rates.
fn speeds(length: f64, over: f64, steps: f64) -> [f64; 4] {
    let by_root = length / (over * steps).sqrt();
    [length / over, length / over * steps.sqrt(), by_root, by_root * steps.sqrt()]
}

fn of(session: &Session, name: &str, trail: &Trail, over: &[f64], steps: &[f64]) -> Vec<Splice> {
    let count = steps.len();
    let (lengths, angles) = bends(trail);
    let speeds: Vec<[f64; 4]> = (0..count).map(|t| speeds(lengths[t], over[t], steps[t])).collect();
    let splice = |t: usize| {
        let own = angles[t]?;
        let last = t + 1 == count;
        let before = angles[t - 1]?;
        let beside = if last { before } else { before.min(angles[t + 1]?) };
        let fast = |k: usize| {
            let neighbours = [Some(t - 1), Some(t + 1).filter(|_| !last)].into_iter().flatten();
            speeds[t][k] / neighbours.map(|at| speeds[at][k]).fold(0.0, f64::max)
        };
        let faster = (0..4).map(fast).fold(f64::INFINITY, f64::min);
        faster.is_finite().then(|| Splice {
            steps: (session.measured.steps[t - 1], session.measured.steps[t], session.measured.steps[t + 1]),
            component: name.to_owned(),
            cosine: own.tanh(),
            beside: beside.tanh(),
            dip: beside - own,
            faster,
            last,
        })
    };
    (2..count).filter_map(splice).collect()
}

/// A splice in one layer: how much more it bends, and hastens, than the mean of the other layers of its tower and than that
/// difference in the intervals beside. Schedule, data and optimiser are the same for all of them.
pub fn layers(session: &Session) -> Vec<LayerSplice> {
    let points = session.measured.plan.series;
    let mut towers: BTreeMap<&str, BTreeMap<u32, Trail>> = BTreeMap::new();
    for (unit, figures) in session.measured.own().filter(|(unit, _)| unit.view.is_some() && !unit.role.constant) {
        let Some(layer) = unit.role.layer else { continue };
        let layers = towers.entry(&unit.role.tower).or_default();
        layers.entry(layer).or_insert_with(|| Trail::new(points)).add(&figures.gram);
    }
    towers.into_iter().flat_map(|(tower, layers)| among(session, tower, &layers)).collect()
}

/// Layers that are needed to tell one from the others.
const LAYERS: usize = 3;

/// The fastest other layer may be faster than a splice by this (logarithm).
const FASTER: f64 = 0.2;

fn among(session: &Session, tower: &str, layers: &BTreeMap<u32, Trail>) -> Vec<LayerSplice> {
    let count = session.measured.plan.series.saturating_sub(1);
    if layers.len() < LAYERS || count < 4 {
        return Vec::new();
    }
    let bends: Vec<(u32, Vec<f64>, Vec<Option<f64>>)> = layers
        .iter()
        .map(|(layer, trail)| {
            let (lengths, angles) = bends(trail);
            (*layer, lengths.into_iter().map(f64::ln).collect(), angles)
        })
        .collect();
    let n = bends.len() as f64;
    // Sums over all layers; a path that stands still somewhere has none.
    let speed: Vec<f64> = (0..count).map(|t| bends.iter().map(|b| b.1[t]).sum()).collect();
    let angle: Vec<Option<f64>> = (0..count).map(|t| bends.iter().map(|b| b.2[t]).sum()).collect();
    let mut splices = Vec::new();
    for (at, (layer, lengths, angles)) in bends.iter().enumerate() {
        let others = || bends.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, bends)| bends);
        let apart = |t: usize| Some(angles[t]? - (angle[t]? - angles[t]?) / (n - 1.0));
        let faster = |t: usize| lengths[t] - (speed[t] - lengths[t]) / (n - 1.0);
        for t in 2..count - 1 {
            let (Some(own), Some(before), Some(here), Some(after)) = (angles[t], apart(t - 1), apart(t), apart(t + 1))
            else {
                continue;
            };
            let sharpest = others().filter_map(|b| b.2[t]).fold(f64::INFINITY, f64::min);
            let fastest = others().map(|b| b.1[t]).fold(f64::NEG_INFINITY, f64::max);
            let dip = (before.min(after).min(0.0) - here).min(sharpest - own);
            let faster = (faster(t) - faster(t - 1).max(faster(t + 1))).min(lengths[t] - fastest + FASTER);
            if dip > 0.0 && faster > 0.0 {
                splices.push(LayerSplice {
                    steps: (session.measured.steps[t - 1], session.measured.steps[t], session.measured.steps[t + 1]),
                    tower: tower.to_owned(),
                    layer: *layer,
                    cosine: own.tanh(),
                    sharpest: sharpest.tanh(),
                    dip,
                    faster: faster.exp(),
                });
            }
        }
    }
    splices
}

#[cfg(test)]
mod tests {
    use super::speeds;

    /// How much faster an interval of so many steps at such a rate is than one of 30 steps at a rate of 1.
    fn faster(length: f64, rate: f64, steps: f64) -> f64 {
        let (own, beside) = (speeds(length, rate * steps, steps), speeds(1.0, 30.0, 30.0));
        own.iter().zip(beside).map(|(own, beside)| own / beside).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn a_falling_rate_shortens_a_path_by_its_root_at_least() {
        assert!((faster(0.6_f64.sqrt(), 0.6, 30.0) - 1.0).abs() < 1e-9);
        // At one rate, or by a length that the rates do not explain, nothing is milder.
        assert!((faster(1.7, 1.0, 30.0) - 1.7).abs() < 1e-9 && faster(1.7, 0.6, 30.0) > 2.0);
        assert!((faster(3.0, 1.0, 60.0) - 1.5).abs() < 1e-9 && (faster(1.0, 1.0, 15.0) - 2.0_f64.sqrt()).abs() < 1e-9);
    }
}
