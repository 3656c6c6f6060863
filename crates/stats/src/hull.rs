//! Checkpoints that others were computed into: on a line through two, or in the span of several (METHODS 5).

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};

/// A checkpoint between two others, from the three distances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Square of the distance of the middle one from the line through the others.
    pub off2: f64,
    /// Squares of its distances from the two.
    pub legs2: [f64; 2],
    /// Square of the distance between the two.
    pub chord2: f64,
}

/// The one of three checkpoints that stands between the others, its place (0 to 2) and its distance from their line;
/// `distances2` are the squares of the sides, each opposite to the checkpoint of its number. `None` where two are one.
#[must_use]
pub fn middle(distances2: [f64; 3]) -> Option<(usize, Line)> {
    let [a, b, c] = distances2;
    let between = (0..3).max_by(|&x, &y| distances2[x].total_cmp(&distances2[y]))?;
    let chord2 = distances2[between];
    // Heron: 16 area^2 = 4 a b - (a + b - c)^2 for squared sides; the height over the longest side is 2 area / side.
    let (first, second) = (distances2[(between + 1) % 3], distances2[(between + 2) % 3]);
    let area = (4.0 * first * second - (first + second - chord2).powi(2)).max(0.0);
    (a > 0.0 && b > 0.0 && c > 0.0 && chord2.is_finite())
        .then_some((between, Line { off2: area / (4.0 * chord2), legs2: [first, second], chord2 }))
}

/// A checkpoint against the affine span of all others.
#[derive(Clone, Debug, PartialEq)]
pub struct Hull {
    /// Square of its distance from the span.
    pub off2: f64,
    /// Weights of all checkpoints in the point of the span nearest to it, its own 0; they sum to 1.
    pub weights: Vec<f64>,
}

/// Every checkpoint against the affine span of the others, from the products of the increments `W_t - W_(t-1)`,
/// `(points - 1) x (points - 1)`: the rows of the inverse of that matrix are the gradients of the barycentric
/// coordinates, and the gradient of a checkpoint's own has the length of one over its distance from the opposite face.
///
/// Empty if a checkpoint equals another up to rounding in f64, or something is not finite.
#[must_use]
pub fn hulls(increments: &[Vec<f64>]) -> Vec<Hull> {
    let n = increments.len();
    let scale: Vec<f64> = (0..n).map(|i| increments[i][i].sqrt()).collect();
    if n < 2 || !scale.iter().all(|s| s.is_finite() && *s > 0.0) {
        return Vec::new();
    }
    // Scaled to unit increments; a ridge of the size of what f64 keeps makes nearly singular matrices invertible.
    let ridge = 1e-14 * n as f64;
    let matrix = Mat::from_fn(n, n, |i, j| increments[i][j] / (scale[i] * scale[j]) + if i == j { ridge } else { 0.0 });
    let Ok(factor) = matrix.llt(Side::Lower) else { return Vec::new() };
    let inverse = factor.solve(Mat::<f64>::identity(n, n));
    // dual(i) . dual(j), with nothing before the first increment and after the last.
    let dual = |i: usize, j: usize| {
        if i == 0 || j == 0 || i > n || j > n { 0.0 } else { inverse[(i - 1, j - 1)] / (scale[i - 1] * scale[j - 1]) }
    };
    // Increment t leads to checkpoint t: the gradient of its coordinate is dual(t) - dual(t + 1).
    let gradient = |s: usize, t: usize| dual(s, t) - dual(s + 1, t) - dual(s, t + 1) + dual(s + 1, t + 1);
    (0..=n)
        .map(|t| {
            let own = gradient(t, t);
            let weights = (0..=n).map(|s| if s == t { 0.0 } else { -gradient(s, t) / own }).collect();
            Hull { off2: 1.0 / own, weights }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn increments(points: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let steps: Vec<Vec<f64>> =
            points.windows(2).map(|w| w[1].iter().zip(&w[0]).map(|(a, b)| a - b).collect()).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        steps.iter().map(|a| steps.iter().map(|b| dot(a, b)).collect()).collect()
    }

    #[test]
    fn heights_of_a_tetrahedron() {
        // Over the face of the others; numpy: least squares with weights that sum to 1.
        let points = [vec![0.0, 0.0, 0.0], vec![2.0, 0.0, 0.0], vec![0.0, 3.0, 0.0], vec![0.5, 0.5, 4.0]];
        let hulls = hulls(&increments(&points));
        assert!((hulls[3].off2 - 16.0).abs() < 1e-9, "{hulls:?}");
        let expected = [1.0 - 0.25 - 1.0 / 6.0, 0.25, 1.0 / 6.0, 0.0];
        for (weight, expected) in hulls[3].weights.iter().zip(expected) {
            assert!((weight - expected).abs() < 1e-9, "{hulls:?}");
        }
        assert!(hulls.iter().all(|h| (h.weights.iter().sum::<f64>() - 1.0).abs() < 1e-9));
    }

    #[test]
    fn a_mean_of_three_others_lies_in_their_span() {
        let mut points = vec![
            vec![1.0, 0.0, 0.0, 2.0, 0.3],
            vec![0.0, 2.0, 0.0, 1.0, 0.1],
            vec![0.0, 0.0, 3.0, -1.0, 0.7],
            vec![4.0, 1.0, 1.0, 1.0, -0.2],
        ];
        points.push((0..5).map(|k| (points[0][k] + points[1][k] + points[2][k]) / 3.0).collect());
        let hull = &hulls(&increments(&points))[4];
        assert!(hull.off2 < 1e-10, "{hull:?}");
        for (weight, expected) in hull.weights.iter().zip([1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]) {
            assert!((weight - expected).abs() < 1e-4, "{hull:?}");
        }
    }

    #[test]
    fn the_middle_of_three_and_its_height() {
        // 3-4-5: the right angle stands between, its height over the hypotenuse is 12/5.
        let (between, line) = middle([9.0, 25.0, 16.0]).expect("a triangle");
        assert_eq!(between, 1);
        assert!((line.off2 - 144.0 / 25.0).abs() < 1e-12 && (line.chord2 - 25.0).abs() < 1e-12);
        assert_eq!(middle([0.0, 1.0, 1.0]), None);
        assert_eq!(middle([f64::NAN, 1.0, 1.0]), None);
    }
}
