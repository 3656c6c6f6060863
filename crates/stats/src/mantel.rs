//! Two symmetric matrices under simultaneous relabelling of one of them (Mantel 1967).

use statrs::function::erf::erfc_inv;

use super::normal::log10_upper_tail;

/// How similar two symmetric matrices are off their diagonals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mantel {
    /// (statistic - mean) / standard deviation over all relabellings of one matrix, both exact.
    pub z: f64,
    /// log10 P(Z > z) for a normal Z.
    pub log10_p: f64,
    /// Correlation of the entries off the diagonal.
    pub effect: f64,
}

/// Tests the sum over i < j of `x_ij` `y_ij` for two symmetric `d` x `d` matrices, given by their entries above the diagonal
/// ([`above`]).
///
/// With entries centred over the pairs i != j, q the sum of their squares and r the sum of squared row sums, the mean over
/// all d! relabellings is 0 and the variance of the sum over ordered pairs is 2 `q_x` `q_y` / d(d-1) + 4 (`r_x` - `q_x`)
/// (`r_y` - `q_y`) / d(d-1)(d-2) + (4 `r_x` - 2 `q_x`)(4 `r_y` - 2 `q_y`) / d(d-1)(d-2)(d-3): pairs of pairs that share two
/// labels, one or none.
///
/// The moments are exact; the tail is normal only where no few labels and no shared direction carry the sum. Simulated over
/// 200,000 relabellings of Gram matrices of 64 dimensions, P(z > 4), 3e-5 by the normal law: 2e-5 for plain draws; 4e-3 with
/// one dimension ten times as large, which [`correlations`] cures (3e-5); and 1e-2 with a direction that all rows share,
/// which normal scores do not cure (9e-3) and taking the leading direction out of the correlations without their diagonal
/// does ([`deflate`](scratchproof_kernel::deflate) by one: 5e-5 to 7e-5 over 40,000). So both matrices go through both before the
/// test.
///
/// `None` below four labels, and for entries that are all equal or not finite.
#[must_use]
pub fn mantel(x: &[f64], y: &[f64], d: usize) -> Option<Mantel> {
    if d < 4 || x.len() != d * (d - 1) / 2 || y.len() != x.len() {
        return None;
    }
    let (mx, my) = (mean(x, d), mean(y, d));
    let (mut product, mut qx, mut qy) = (0.0, 0.0, 0.0);
    let (mut sums_x, mut sums_y) = (vec![0.0; d], vec![0.0; d]);
    let mut at = 0;
    for i in 0..d {
        for j in i + 1..d {
            let (a, b) = (x[at] - mx, y[at] - my);
            at += 1;
            product += a * b;
            qx += a * a;
            qy += b * b;
            sums_x[i] += a;
            sums_x[j] += a;
            sums_y[i] += b;
            sums_y[j] += b;
        }
    }
    let effect = product / (qx * qy).sqrt();
    let squares = |sums: Vec<f64>| sums.into_iter().map(|s| s * s).sum::<f64>();
    let (qx, qy, rx, ry) = (2.0 * qx, 2.0 * qy, squares(sums_x), squares(sums_y));
    let n = d as f64;
    let (two, three) = (n * (n - 1.0), n * (n - 1.0) * (n - 2.0));
    let variance = 2.0 * qx * qy / two
        + 4.0 * (rx - qx) * (ry - qy) / three
        + (4.0 * rx - 2.0 * qx) * (4.0 * ry - 2.0 * qy) / (three * (n - 3.0));
    let z = 2.0 * product / variance.sqrt();
    (effect.is_finite() && z.is_finite()).then(|| Mantel { z, log10_p: log10_upper_tail(z), effect })
}

fn mean(above: &[f64], d: usize) -> f64 {
    let mut rest = above;
    let mut row = |i: usize| {
        let (row, later) = rest.split_at(d - 1 - i);
        rest = later;
        row.iter().sum::<f64>()
    };
    let sum: f64 = (0..d).map(&mut row).sum();
    sum / above.len() as f64
}

/// The entries of a `d` x `d` matrix above its diagonal, row after row: d (d - 1) / 2 of them.
#[must_use]
pub fn above(matrix: &[f64], d: usize) -> Vec<f64> {
    matrix.chunks_exact(d.max(1)).take(d).enumerate().flat_map(|(i, row)| row[i + 1..].iter().copied()).collect()
}

/// Turns a `d` x `d` Gram matrix into correlations `g_ij` / sqrt(`g_ii` `g_jj`). A dimension without length has none.
pub fn correlations(gram: &mut [f64], d: usize) {
    let lengths: Vec<f64> = gram.iter().step_by(d + 1).map(|g| g.sqrt()).collect();
    for (row, a) in gram.chunks_exact_mut(d).zip(&lengths) {
        for (value, b) in row.iter_mut().zip(&lengths) {
            *value = if *a > 0.0 && *b > 0.0 { *value / (a * b) } else { 0.0 };
        }
    }
}

/// Replaces the entries above the diagonal by the normal scores of their ranks (van der Waerden), equal entries by that of
/// their mean rank. The moments stay exact; single
/// heavy entries no longer matter.
pub fn normal_scores(x: &mut [f64], d: usize) {
    let mut order: Vec<(f64, usize)> =
        (0..d).flat_map(|i| (i + 1..d).map(move |j| i * d + j)).filter_map(|at| Some((*x.get(at)?, at))).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let n = order.len() as f64;
    for group in order.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()).scan(0, |before, group| {
        let middle = *before as f64 + (group.len() + 1) as f64 / 2.0;
        *before += group.len();
        Some((middle, group))
    }) {
        let score = -std::f64::consts::SQRT_2 * erfc_inv(2.0 * group.0 / (n + 1.0));
        for &(_, at) in group.1 {
            x[at] = score;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symmetric(d: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut x = vec![0.0; d * d];
        for i in 0..d {
            for j in i..d {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // One label is much heavier than the others.
                let value = ((state >> 33) % 1000) as f64 / 100.0 * if i == 1 || j == 1 { 10.0 } else { 1.0 };
                (x[i * d + j], x[j * d + i]) = (value, value);
            }
        }
        x
    }

    fn orders(d: usize) -> Vec<Vec<usize>> {
        if d == 0 {
            return vec![Vec::new()];
        }
        let shorter = orders(d - 1);
        shorter
            .iter()
            .flat_map(|order| {
                (0..d).map(move |at| {
                    let mut order = order.clone();
                    order.insert(at, d - 1);
                    order
                })
            })
            .collect()
    }

    #[test]
    fn moments_are_those_of_all_relabellings() {
        for d in [4, 5, 6] {
            let (x, y) = (symmetric(d, 1), symmetric(d, 2));
            let zs: Vec<f64> = orders(d)
                .iter()
                .map(|order| {
                    let turned: Vec<f64> = (0..d * d).map(|at| y[order[at / d] * d + order[at % d]]).collect();
                    mantel(&above(&x, d), &above(&turned, d), d).expect("varied").z
                })
                .collect();
            let n = zs.len() as f64;
            let mean = zs.iter().sum::<f64>() / n;
            let variance = zs.iter().map(|z| z * z).sum::<f64>() / n;
            assert!(mean.abs() < 1e-9 && (variance - 1.0).abs() < 1e-9, "{d}: mean {mean}, variance {variance}");
        }
    }

    #[test]
    fn a_copy_is_seen_whatever_its_rows_were_turned_into() {
        let d = 64;
        let x = symmetric(d, 3);
        let test = mantel(&above(&x, d), &above(&x, d), d).expect("varied");
        assert!((test.effect - 1.0).abs() < 1e-12 && test.z > 6.0, "{test:?}");
        let other = mantel(&above(&x, d), &above(&symmetric(d, 4), d), d).expect("varied");
        assert!(test.z > other.z);
        assert_eq!(mantel(&[1.0; 10], &above(&symmetric(5, 1), 5), 5), None);
        assert_eq!(mantel(&[f64::NAN; 10], &above(&symmetric(5, 1), 5), 5), None);
    }

    #[test]
    fn correlations_and_scores() {
        let mut gram = vec![4.0, 2.0, 0.0, 2.0, 9.0, 0.0, 0.0, 0.0, 0.0];
        correlations(&mut gram, 3);
        assert!((gram[1] - 1.0 / 3.0).abs() < 1e-15 && gram[8].abs() < 1e-15);
        let mut x = vec![0.0, 5.0, 5.0, 0.0, 0.0, 7.0, 0.0, 0.0, 0.0];
        normal_scores(&mut x, 3);
        // scipy.stats.norm.ppf([1.5 / 4, 3 / 4])
        assert!((x[1] + 0.318_639_363_964_375).abs() < 1e-9 && (x[2] - x[1]).abs() < 1e-15);
        assert!((x[5] - 0.674_489_750_196_082).abs() < 1e-9);
    }
}
