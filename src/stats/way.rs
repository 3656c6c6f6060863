//! The way of the weights seen from the start: what is left of the start, what is left of the way so far, and the plane
//! in which the way lies (METHODS 5). All from the products of the increments.

use super::Trail;

/// A way through the checkpoints as displacements from the first one, `d_t = W_t - W_0`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Way {
    /// `|W_0|^2`.
    start2: f64,
    /// `<W_0, d_t>`.
    along: Vec<f64>,
    /// `<d_a, d_b>`.
    moved: Vec<Vec<f64>>,
    elements: u64,
}

/// The first three principal components of a way.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// By checkpoint, its scores: distances from the mean of all checkpoints along the components. The sign of each is
    /// such that the last checkpoint's score is not below the first's.
    pub scores: Vec<[f64; 3]>,
    /// Shares of the variance.
    pub shares: [f64; 3],
}

impl Trail {
    /// The way seen from the start, in the time that one pass over the products takes.
    #[must_use]
    pub fn way(&self) -> Way {
        let n = self.points();
        let mut moved = vec![vec![0.0; n]; n];
        let mut along = vec![0.0; n];
        for a in 1..n {
            along[a] = along[a - 1] + self.step_product_with_start(a);
            // A running sum along the row, upon the row before.
            let mut row = 0.0;
            for b in 1..n {
                row += self.step_product((a - 1, a), (b - 1, b));
                moved[a][b] = moved[a - 1][b] + row;
            }
        }
        Way { start2: if n > 0 { self.product(0, 0) } else { 0.0 }, along, moved, elements: self.elements() }
    }

    /// `<W_0, W_t - W_(t-1)>`.
    fn step_product_with_start(&self, t: usize) -> f64 {
        self.weight_step_product(0, (t - 1, t))
    }
}

impl Way {
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

    /// `|W_0| / |W_t|`: by this much [`Way::retained`] is larger than the correlation.
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

    /// How much of the way from the start to checkpoint `t - 1` is in the way to checkpoint `t`: the coefficient of the
    /// regression of one on the other, the direction of the start left out of both. A training goes on from where it
    /// was, so this is near one; a checkpoint of another training from the same start has kept the start and not the way.
    #[must_use]
    pub fn carried(&self, t: usize) -> Option<f64> {
        let before = t.checked_sub(1).filter(|before| *before > 0)?;
        let square = self.aside(before, before);
        // What rounding leaves of a checkpoint that only decayed is no direction.
        (square > 1e-9 * self.moved[before][before]).then(|| self.aside(before, t) / square).filter(|r| r.is_finite())
    }

    /// The correlation that belongs to [`Way::carried`].
    #[must_use]
    pub fn carried_cosine(&self, t: usize) -> Option<f64> {
        let before = t.checked_sub(1).filter(|before| *before > 0)?;
        let cosine = self.aside(before, t) / (self.aside(before, before) * self.aside(t, t)).sqrt();
        Some(cosine).filter(|r| r.is_finite()).map(|r| r.clamp(-1.0, 1.0))
    }

    /// The plane of the way: principal components of the checkpoints around their mean. `None` for fewer than three
    /// checkpoints and for a way that goes nowhere.
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
    let unit = |mut v: Vec<f64>| {
        let norm = square(&v).sqrt();
        v.iter_mut().for_each(|x| *x /= norm.max(f64::MIN_POSITIVE));
        (v, norm)
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
