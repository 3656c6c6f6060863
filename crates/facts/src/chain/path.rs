//! The path of the weights through the checkpoints: what the judge of the chain asks of the trails of the components.

use crate::session::Session;
use crate::time::rates;
use scratchproof_evidence::{ChainRow, ComponentRow, Reference};
use scratchproof_finding::chain::{EqualSteps, OffLine};
use scratchproof_measurements::Trails;
use scratchproof_stats::Trail;

/// Length of the path over its length with two inner checkpoints exchanged, for every two, and the part between them
/// turned round where that is shorter still.
pub fn exchanges(session: &Session, distances: &[Vec<f64>]) -> Vec<(i64, i64, f64)> {
    let last = session.measured.plan.last();
    // Steps of the path from a checkpoint to the next, in the given order but for what is put at places `a` to `b`.
    let part = |a: usize, b: usize, at: &dyn Fn(usize) -> usize| {
        let place = |t: usize| if (a..=b).contains(&t) { at(t) } else { t };
        (a - 1..=b).map(|t| distances[place(t)][place(t + 1)].sqrt()).sum::<f64>()
    };
    let whole: f64 = (0..last).map(|t| distances[t][t + 1].sqrt()).sum();
    let shorter = |a: usize, b: usize| {
        let given = part(a, b, &|t| t);
        let exchanged = part(a, b, &|t| {
            if t == a {
                b
            } else if t == b {
                a
            } else {
                t
            }
        });
        let turned = part(a, b, &|t| a + b - t);
        let ratio = whole / (whole - given + exchanged.min(turned));
        ratio.is_finite().then(|| (session.measured.steps[a], session.measured.steps[b], ratio))
    };
    (1..last).flat_map(|a| (a + 1..last).map(move |b| (a, b))).filter_map(|(a, b)| shorter(a, b)).collect()
}

/// Neighbouring inner checkpoints without what lies on the line from the first to the last, and the cosine that a random
/// walk tied at both ends has there: sqrt(s (1 - t) / (t (1 - s))) for the shares s < t of the steps that are done.
pub fn residuals(session: &Session, distances: &[Vec<f64>]) -> Vec<OffLine> {
    let last = session.measured.plan.last();
    let chord2 = distances[0][last];
    if last < 3 || chord2 <= 0.0 {
        return Vec::new();
    }
    // <W_a - W_0, W_b - W_0> from the three distances.
    let product = |a: usize, b: usize| f64::midpoint(distances[0][a], distances[0][b]) - distances[a][b] / 2.0;
    let residual = |a: usize, b: usize| product(a, b) - product(a, last) * product(b, last) / chord2;
    let (first, span) = (session.measured.steps[0], (session.measured.steps[last] - session.measured.steps[0]) as f64);
    let share = |t: usize| (session.measured.steps[t] - first) as f64 / span;
    (1..last - 1)
        .filter_map(|t| {
            let (s, u) = (share(t), share(t + 1));
            let cosine = residual(t, t + 1) / (residual(t, t) * residual(t + 1, t + 1)).sqrt();
            cosine.is_finite().then(|| OffLine {
                steps: (session.measured.steps[t], session.measured.steps[t + 1]),
                cosine,
                expected: (s * (1.0 - u) / (u * (1.0 - s))).sqrt(),
            })
        })
        .collect()
}

/// Pairs of steps whose matrices are all equal.
pub fn equal_steps(session: &Session) -> Vec<EqualSteps> {
    let matrices: Vec<_> = session.measured.own().filter(|(unit, _)| unit.view.is_some()).collect();
    let Some((_, first)) = matrices.first() else { return Vec::new() };
    let mut pairs = Vec::new();
    // All distances of one matrix in one go leave few pairs for the exact question, which costs the square of the interval.
    let mut trail = Trail::new(session.measured.plan.series);
    trail.add(&first.gram);
    let distances = trail.distances();
    let far = |a: usize, b: usize| {
        let most = distances[a][a..=b].iter().copied().fold(0.0, f64::max);
        trail.elements() > 0 && distances[a][b] > 1e-9 * most
    };
    for (b, &later) in session.measured.steps.iter().enumerate() {
        for (a, &earlier) in session.measured.steps[..b].iter().enumerate() {
            if !far(a, b) && matrices.iter().all(|(_, f)| f.gram.distance2(a, b) == 0.0) {
                pairs.push(EqualSteps { steps: (earlier, later), idle: rates::idle(session.record, earlier, later) });
            }
        }
    }
    pairs
}

/// Neighbouring checkpoints, by component and over the whole model; only tensors that can be weights of known function
/// or of none, never structural constants.
pub fn rows(session: &Session, trails: &Trails, components: &[ComponentRow]) -> Vec<ChainRow> {
    let mut rows = Vec::new();
    for (t, pair) in session.measured.steps.windows(2).enumerate() {
        let (from, to) = (pair[0], pair[1]);
        let rates = rates::rates(session.record, from, to);
        for (component, trail) in &trails.components {
            let memory = components
                .iter()
                .find(|r| r.step == to && r.component == *component && r.reference == Reference::Previous);
            let rms = trail.rms(t, t + 1);
            let budget = rates.as_ref().and_then(|rates| {
                // Decoupled decay moves a weight by at most its own size times the decay, and rounding to the number
                // format by that of two checkpoints; the rest is the optimiser's.
                let size = trail.size(t)?;
                let rounding = trails.rounding(size, t..=t + 1);
                Some((rms? - rates.decay * size - rounding).max(0.0) / rates.sum)
            });
            let turn = (t > 0).then(|| trail.turn([t - 1, t, t + 1]));
            rows.push(ChainRow {
                from_step: from,
                to_step: to,
                component: component.clone(),
                rms,
                lr_sum: rates.as_ref().map(|r| r.sum),
                budget: budget.filter(|b| b.is_finite()),
                bound: None,
                off_chord: turn.and_then(|turn| turn.off_chord()),
                lag1_cosine: turn.and_then(|turn| turn.lag1_cosine()),
                memory_z: memory.and_then(|m| m.z),
                memory_effect: memory.and_then(|m| m.effect),
            });
        }
    }
    rows
}
