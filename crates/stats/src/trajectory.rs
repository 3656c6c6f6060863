//! The path of the weights seen from the start: what is left of the start, what is left of the path so far, and the plane
//! in which the path lies (METHODS 5). All from the products of the increments.

use super::Trail;

/// A path through the checkpoints as displacements from the first one, `d_t = W_t - W_0`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trajectory {
    /// `|W_0|^2`.
    start2: f64,
    /// `<W_0, d_t>`.
    along: Vec<f64>,
    /// `<d_a, d_b>`.
    moved: Vec<Vec<f64>>,
    elements: u64,
}

/// The first three principal components of a path.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// By checkpoint, its scores: distances from the mean of all checkpoints along the components. The sign of each is
    /// such that the last checkpoint's score is not below the first's.
    pub scores: Vec<[f64; 3]>,
    /// Shares of the variance.
    pub shares: [f64; 3],
}

impl Trail {
    /// The path seen from the start, in the time that one pass over the products takes.
    #[must_use]
    pub fn trajectory(&self) -> Trajectory {
        let n = self.points();
        let mut moved = vec![vec![0.0; n]; n];
        let mut along = vec![0.0; n];
        for a in 1..n {
            along[a] = along[a - 1] + self.weight_step_product(0, (a - 1, a));
            // A running sum along the row, upon the row before.
            let (above, own) = moved.split_at_mut(a);
            let mut row = 0.0;
            for (b, (cell, above)) in own[0].iter_mut().zip(&above[a - 1]).enumerate().skip(1) {
                row += self.step_product((a - 1, a), (b - 1, b));
                *cell = above + row;
            }
        }
        Trajectory { start2: if n > 0 { self.product(0, 0) } else { 0.0 }, along, moved, elements: self.elements() }
    }
}

impl Trajectory {
    /// Checkpoints.
    #[must_use]
    pub fn points(&self) -> usize {
        self.along.len()
    }

    /// Elements of the tensors.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// `|W_t|^2`.
    fn square(&self, t: usize) -> f64 {
        self.start2 + 2.0 * self.along[t] + self.moved[t][t]
    }

    /// How much of the start is in a checkpoint: the coefficient of the regression of `W_t` on `W_0`. Decoupled decay
    /// alone makes it `prod(1 - lr wd)`, and updates that know nothing of the start leave it there.
    #[must_use]
    pub fn retained(&self, t: usize) -> Option<f64> {
        (self.start2 > 0.0).then(|| 1.0 + self.along[t] / self.start2).filter(|r| r.is_finite())
    }

    /// `|W_0| / |W_t|`: by this much [`Trajectory::retained`] is larger than the correlation.
    #[must_use]
    pub fn shrunk(&self, t: usize) -> Option<f64> {
        let ratio = (self.start2 / self.square(t)).sqrt();
        (self.start2 > 0.0).then_some(ratio).filter(|r| r.is_finite())
    }

    /// Cosine of a checkpoint and the start.
    #[must_use]
    pub fn start_cosine(&self, t: usize) -> Option<f64> {
        Some((self.retained(t)? * self.shrunk(t)?).clamp(-1.0, 1.0))
    }

    /// `<d_a, d_b>` without what lies along the start, so that decay, which takes the start away, does not count.
    fn aside(&self, a: usize, b: usize) -> f64 {
        let along = if self.start2 > 0.0 { self.along[a] * self.along[b] / self.start2 } else { 0.0 };
        self.moved[a][b] - along
    }

    /// How much of the displacement from the start to checkpoint `t - 1` is in that to checkpoint `t`: the coefficient of the
    /// regression of one on the other, the direction of the start left out of both. A training goes on from where it
    /// was, so this is near one; a checkpoint of another training from the same start has kept the start and not the path.
    #[must_use]
    pub fn carried(&self, t: usize) -> Option<f64> {
        let before = t.checked_sub(1).filter(|before| *before > 0)?;
        let square = self.aside(before, before);
        // What rounding leaves of a checkpoint that only decayed is no direction.
        (square > 1e-9 * self.moved[before][before]).then(|| self.aside(before, t) / square).filter(|r| r.is_finite())
    }

    /// The correlation that belongs to [`Trajectory::carried`].
    #[must_use]
    pub fn carried_cosine(&self, t: usize) -> Option<f64> {
        let before = t.checked_sub(1).filter(|before| *before > 0)?;
        let cosine = self.aside(before, t) / (self.aside(before, before) * self.aside(t, t)).sqrt();
        Some(cosine).filter(|r| r.is_finite()).map(|r| r.clamp(-1.0, 1.0))
    }

    /// The plane of the path: principal components of the checkpoints around their mean. `None` for fewer than three
    /// checkpoints and for a path that goes nowhere.
    #[must_use]
    pub fn plane(&self) -> Option<Plane> {
        let n = self.points();
        if n < 3 || self.moved.iter().flatten().any(|v| !v.is_finite()) {
            return None;
        }
        let means: Vec<f64> = self.moved.iter().map(|row| row.iter().sum::<f64>() / n as f64).collect();
        let mean = means.iter().sum::<f64>() / n as f64;
        let mut centred: Vec<Vec<f64>> =
            (0..n).map(|a| (0..n).map(|b| self.moved[a][b] - means[a] - means[b] + mean).collect()).collect();
        let variance: f64 = (0..n).map(|t| centred[t][t]).sum();
        if variance <= 0.0 {
            return None;
        }
        let mut plane = Plane { scores: vec![[0.0; 3]; n], shares: [0.0; 3] };
        for component in 0..3.min(n - 1) {
            let (value, vector) = leading(&centred);
            if value <= 1e-12 * variance {
                break;
            }
            let sign = if vector[n - 1] < vector[0] { -1.0 } else { 1.0 };
            plane.shares[component] = value / variance;
            for (scores, v) in plane.scores.iter_mut().zip(&vector) {
                scores[component] = sign * v * value.sqrt();
            }
            for (row, a) in centred.iter_mut().zip(&vector) {
                for (cell, b) in row.iter_mut().zip(&vector) {
                    *cell -= value * a * b;
                }
            }
        }
        Some(plane)
    }
}

/// Rounds of the power iteration; two components whose shares differ by a tenth are apart to 1e-8 after half of them.
const ROUNDS: usize = 400;

/// The leading eigenvalue of a symmetric matrix without negative ones, and its vector: power iteration from its longest
/// row. Two equal eigenvalues give a vector of their common plane, which is as good a picture.
fn leading(matrix: &[Vec<f64>]) -> (f64, Vec<f64>) {
    let square = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>();
    let unit = |v: Vec<f64>| {
        let norm = square(&v).sqrt();
        (v.into_iter().map(|x| x / norm.max(f64::MIN_POSITIVE)).collect::<Vec<f64>>(), norm)
    };
    let longest = matrix.iter().max_by(|a, b| square(a).total_cmp(&square(b)));
    let (mut vector, mut value) = unit(longest.cloned().unwrap_or_default());
    for _ in 0..ROUNDS {
        let next = matrix.iter().map(|row| row.iter().zip(&vector).map(|(a, b)| a * b).sum()).collect();
        let (next, norm) = unit(next);
        let change: f64 = next.iter().zip(&vector).map(|(a, b)| (a - b).abs()).sum();
        (vector, value) = (next, norm);
        if change < 1e-13 {
            break;
        }
    }
    (value, vector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use scratchproof_kernel::{BLOCK, Gram, GramShape, GramTile};

    fn trajectory<const N: usize>(points: &[[f64; N]]) -> Trajectory {
        let mut values = vec![0.0; points.len() * BLOCK];
        for (t, point) in points.iter().enumerate() {
            values[t * BLOCK..t * BLOCK + N].copy_from_slice(point);
        }
        let mut tile = GramTile::new(GramShape { series: points.len(), references: 0 });
        tile.add(&mut values, N);
        let gram: Gram = tile.finish();
        let mut trail = Trail::new(points.len());
        trail.add(&gram);
        trail.trajectory()
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    const POINTS: [[f64; 4]; 5] = [
        [1.0, 2.0, 3.0, -1.0],
        [0.5, 2.5, 2.0, -2.0],
        [1.5, 3.5, 1.0, -2.5],
        [2.5, 3.0, -0.5, -3.0],
        [2.0, 4.0, -1.0, -4.5],
    ];

    /// numpy: `P @ W0 / (W0 @ W0)`, and the same of what is left without `W0`.
    #[test]
    fn regressions_are_those_of_numpy() {
        let trajectory = trajectory(&POINTS);
        let retained = [1.0, 0.9, 0.933_333_333_333, 0.666_666_666_667, 0.766_666_666_667];
        let cosines = [1.0, 0.915_385_729_888, 0.775_091_145_302, 0.521_640_530_957, 0.462_317_395_019];
        let carried = [1.659_574_468_085, 1.372_360_844_530, 1.308_411_214_953];
        let beside = [0.863_351_085_590, 0.957_624_594_192, 0.970_207_726_387];
        for t in 0..5 {
            close(trajectory.retained(t).expect("a start"), retained[t]);
            close(trajectory.start_cosine(t).expect("a start"), cosines[t]);
        }
        assert_eq!((trajectory.carried(0), trajectory.carried(1)), (None, None));
        for t in 2..5 {
            close(trajectory.carried(t).expect("a path"), carried[t - 2]);
            close(trajectory.carried_cosine(t).expect("a path"), beside[t - 2]);
        }
    }

    /// `numpy.linalg.svd` of the centred points.
    #[test]
    fn the_plane_is_that_of_numpy() {
        let plane = trajectory(&POINTS).plane().expect("a plane");
        for (share, expected) in plane.shares.iter().zip([0.920_096_9, 0.061_472_49, 0.015_002_34]) {
            assert!((share - expected).abs() < 1e-8, "{share}");
        }
        let expected = [
            [-2.848_047_569_666, -0.281_987_644_279, -0.035_268_326_504],
            [-1.561_911_435_961, 0.517_089_898_390, 0.310_222_857_879],
            [0.027_238_604_255, 0.187_432_005_086, -0.473_930_755_901],
            [1.515_188_703_940, -0.895_526_801_903, 0.128_345_147_320],
            [2.867_531_697_432, 0.472_992_542_706, 0.070_631_077_206],
        ];
        for (scores, expected) in plane.scores.iter().zip(expected) {
            scores.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "{a} is not {b}"));
        }
    }

    #[test]
    fn decay_alone_leaves_its_factor_and_no_way() {
        let trajectory = trajectory(&[[1.0, -2.0, 0.5], [0.9, -1.8, 0.45], [0.81, -1.62, 0.405]]);
        close(trajectory.retained(2).expect("a start"), 0.81);
        close(trajectory.shrunk(2).expect("a start"), 1.0 / 0.81);
        assert_eq!(trajectory.carried(2), None);
    }

    /// A checkpoint of another training from the same start keeps the start and not the path.
    #[test]
    fn another_way_from_the_same_start_is_not_carried() {
        let trajectory = trajectory(&[[4.0, 0.0, 0.0, 0.0], [4.0, 1.0, 0.0, 0.0], [4.0, 0.0, 1.2, 0.5]]);
        close(trajectory.retained(2).expect("a start"), 1.0);
        close(trajectory.carried(2).expect("a path"), 0.0);
    }

    #[test]
    fn nothing_and_standstill_have_no_figures() {
        let still = trajectory(&[[1.0, 2.0]; 4]);
        assert_eq!((still.plane(), still.carried(2)), (None, None));
        let zero = trajectory(&[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]);
        assert_eq!((zero.retained(1), zero.shrunk(1)), (None, None));
        close(zero.carried(2).expect("a path"), 1.0);
        assert_eq!(Trail::new(0).trajectory().plane(), None);
    }
}
