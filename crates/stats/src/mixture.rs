//! One model as a weighted sum of others, by least squares.

/// The best weighted sum of parents.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    /// Weight of every parent.
    pub weights: Vec<f64>,
    /// Share of the subject's squared norm that all of them explain together.
    pub share: f64,
    /// Share that each explains alone.
    pub alone: Vec<f64>,
    /// What each adds to the share that the others explain.
    pub gain: Vec<f64>,
    /// Squared norm of the subject.
    pub whole: f64,
    /// Squared norm of what is left; the difference of the two loses 1e-15 of the squared norm.
    pub left: f64,
}

/// Solves min |y - sum of `w_i` `x_i`|^2 from products alone: `gram` is the square matrix of the products of `x_1`, ...,
/// `x_p`, `y`, in this order, row by row. `None` if the parents depend on each other (to 1e-10 of a squared norm), if
/// there is none, or if anything is not finite.
///
/// # Panics
/// If `gram` is not (parents + 1)^2 long.
#[must_use]
pub fn mixture(gram: &[f64], parents: usize) -> Option<Mixture> {
    let n = parents + 1;
    assert_eq!(gram.len(), n * n, "{parents} parents and the subject");
    let whole = gram[n * n - 1];
    if parents == 0 || !gram.iter().all(|value| value.is_finite()) || whole <= 0.0 {
        return None;
    }
    let all: Vec<usize> = (0..parents).collect();
    let (weights, explained) = solve(gram, n, &all)?;
    let without = |i: usize| -> Option<f64> {
        let others: Vec<usize> = all.iter().copied().filter(|&j| j != i).collect();
        Some(if others.is_empty() { 0.0 } else { solve(gram, n, &others)?.1 })
    };
    let alone = all.iter().map(|&i| Some(solve(gram, n, &[i])?.1 / whole)).collect::<Option<_>>()?;
    let gain = all.iter().map(|&i| Some((explained - without(i)?) / whole)).collect::<Option<_>>()?;
    let fit = Mixture { weights, share: explained / whole, alone, gain, whole, left: (whole - explained).max(0.0) };
    let figures = fit.weights.iter().chain(&fit.alone).chain(&fit.gain).chain([&fit.share, &fit.left]);
    let finite = figures.copied().all(f64::is_finite);
    finite.then_some(fit)
}

/// Weights of the chosen parents and the squared norm they explain, by Cholesky's decomposition.
fn solve(gram: &[f64], n: usize, chosen: &[usize]) -> Option<(Vec<f64>, f64)> {
    let p = chosen.len();
    let mut factor = vec![0.0; p * p];
    let mut half = vec![0.0; p];
    for i in 0..p {
        for j in 0..=i {
            let inner: f64 = (0..j).map(|k| factor[i * p + k] * factor[j * p + k]).sum();
            let rest = gram[chosen[i] * n + chosen[j]] - inner;
            if i != j {
                factor[i * p + j] = rest / factor[j * p + j];
            } else if rest > gram[chosen[i] * n + chosen[i]] * 1e-10 {
                factor[i * p + i] = rest.sqrt();
            } else {
                return None;
            }
        }
        let inner: f64 = (0..i).map(|k| factor[i * p + k] * half[k]).sum();
        half[i] = (gram[chosen[i] * n + n - 1] - inner) / factor[i * p + i];
    }
    let mut weights = half.clone();
    for i in (0..p).rev() {
        let inner: f64 = (i + 1..p).map(|k| factor[k * p + i] * weights[k]).sum();
        weights[i] = (weights[i] - inner) / factor[i * p + i];
    }
    Some((weights, half.iter().map(|h| h * h).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn products(rows: &[&[f64]]) -> Vec<f64> {
        rows.iter().flat_map(|a| rows.iter().map(|b| a.iter().zip(*b).map(|(x, y)| x * y).sum())).collect()
    }

    #[test]
    fn agrees_with_numpy() {
        // numpy.linalg.lstsq of y on the two rows gives these weights and this squared residual.
        let gram = products(&[&[1.0, 2.0, -1.0, 0.0], &[0.0, 1.0, 3.0, 1.0], &[0.6, 1.6, 0.5, 0.3]]);
        let fit = mixture(&gram, 2).expect("independent");
        assert!((fit.weights[0] - 0.610_769_23).abs() < 1e-8 && (fit.weights[1] - 0.364_615_38).abs() < 1e-8);
        assert!((fit.left - 0.004_769_23).abs() < 1e-8);
        let residual: f64 = [(1.0, 0.0, 0.6), (2.0, 1.0, 1.6), (-1.0, 3.0, 0.5), (0.0, 1.0, 0.3)]
            .iter()
            .map(|(x, y, z)| (z - fit.weights[0] * x - fit.weights[1] * y).powi(2))
            .sum();
        assert!((fit.left - residual).abs() < 1e-12 && (fit.share + residual / fit.whole - 1.0).abs() < 1e-12);
        assert!((fit.alone[0] - gram[2] * gram[2] / (gram[0] * fit.whole)).abs() < 1e-12);
        assert!((fit.alone[1] + fit.gain[0] - fit.share).abs() < 1e-12);
    }

    #[test]
    fn parents_that_depend_on_each_other_have_no_weights() {
        assert_eq!(mixture(&products(&[&[1.0, 2.0], &[2.0, 4.0], &[1.0, 1.0]]), 2), None);
        assert_eq!(mixture(&[f64::NAN; 4], 1), None);
        assert_eq!(mixture(&[1.0], 0), None);
        assert_eq!(mixture(&[0.0; 9], 2), None);
    }
}
