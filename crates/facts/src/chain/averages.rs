//! Averages of checkpoints, saved or not: what they leave in the angles of the path.

use crate::session::Session;
use scratchproof_finding::chain::Straightened;
use scratchproof_measurements::Trails;

/// Cosine of two increments as a number that has no ends.
fn ln_cosine(product: f64, squares: f64) -> Option<f64> {
    let cosine = product / squares.sqrt();
    cosine.is_finite().then(|| cosine.clamp(-0.999_999, 0.999_999).atanh())
}

/// Every inner checkpoint at which the path runs straighter than at those beside it.
pub fn straightened(session: &Session, trails: &Trails) -> Vec<Straightened> {
    let last = session.measured.plan.last();
    let trail = &trails.matrices;
    let angles: Vec<Option<f64>> = (1..last)
        .map(|t| {
            let turn = |pair: (usize, usize), other: (usize, usize)| trail.step_product(pair, other);
            let (before, after) = ((t - 1, t), (t, t + 1));
            ln_cosine(turn(before, after), turn(before, before) * turn(after, after))
        })
        .collect();
    angles
        .windows(3)
        .enumerate()
        .filter_map(|(i, window)| {
            let [Some(before), Some(own), Some(after)] = *window else { return None };
            Some(Straightened {
                step: session.measured.steps[i + 2],
                cosine: own.tanh(),
                beside: before.max(after).tanh(),
                excess: own - before.max(after),
            })
        })
        .collect()
}

/// Least cosine of neighbouring increments, as they were if every checkpoint is the mean of two that follow each other: `s_t = 2 d_t - s_(t-1)`. Increments of
/// a training take turns then; those of such means are a training's again.
pub fn undone(trails: &Trails) -> Option<f64> {
    let products = trails.matrices.increments();
    let n = products.len();
    if n < 4 {
        return None;
    }
    // The rows of the transform: 2, -2 2, 2 -2 2, ...
    let sign = |row: usize, column: usize| if (row - column).is_multiple_of(2) { 2.0 } else { -2.0 };
    let between = |a: usize, b: usize| -> f64 {
        (0..=a).map(|i| (0..=b).map(|j| sign(a, i) * sign(b, j) * products[i][j]).sum::<f64>()).sum()
    };
    let squares: Vec<f64> = (0..n).map(|t| between(t, t)).collect();
    (0..n - 1)
        .map(|t| between(t, t + 1) / (squares[t] * squares[t + 1]).sqrt())
        .reduce(f64::min)
        .filter(|least| least.is_finite())
}
