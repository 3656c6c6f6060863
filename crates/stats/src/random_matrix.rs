//! The largest singular value of a random draw (METHODS 4).

use std::f64::consts::{LN_10, PI};

use statrs::function::gamma::gamma_ur;

/// A matrix in which not even rank one would have this log10 p has no edge to be held against.
const NO_POWER: f64 = -4.0;

/// The largest singular value of a matrix against the edge of a matrix of independent entries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EdgeTest {
    /// Largest singular value over the Marchenko-Pastur edge sigma (sqrt(m) + sqrt(n)).
    pub ratio: f64,
    /// (ratio - 1) max(m, n)^(2/3), the scale on which METHODS gives its figures.
    pub score: f64,
    /// log10 P of a draw's largest singular value being larger, by the Tracy-Widom law of order one.
    pub log10_p: f64,
}

/// Tests a `rows` x `columns` matrix with entries of root mean square `sigma` about zero.
///
/// Centring and scaling after Johnstone (2001): for (m, n), mu = (sqrt(m - 1) + sqrt(n))^2 and
/// s = (sqrt(m - 1) + sqrt(n)) (1/sqrt(m - 1) + 1/sqrt(n))^(1/3); universal over entry distributions with light tails.
/// Holds down to two rows or columns, where it is mild: over 20,000 draws of 2 x 64 the smallest probability was 0.05, of
/// 3 x 64 0.006, of 4 x 64 0.0025. `None` for vectors, and for
/// matrices so small that not even rank one would stand out (2 x 60, 4 x 12, 6 x 6).
#[must_use]
pub fn edge_test(largest: f64, sigma: f64, rows: usize, columns: usize) -> Option<EdgeTest> {
    let (short, long) = (rows.min(columns) as f64, rows.max(columns) as f64);
    if short < 2.0 || sigma.partial_cmp(&0.0)? != std::cmp::Ordering::Greater || !largest.is_finite() {
        return None;
    }
    let ratio = largest / (sigma * (short.sqrt() + long.sqrt()));
    let width = (long - 1.0).sqrt() + short.sqrt();
    let scale = width * (1.0 / (long - 1.0).sqrt() + 1.0 / short.sqrt()).cbrt();
    let tail = |square: f64| log10_tracy_widom_upper_tail((square - width * width) / scale);
    // The largest singular value of all: that of a matrix of rank one.
    if tail(short * long) > NO_POWER {
        return None;
    }
    let log10_p = tail((largest / sigma).powi(2));
    Some(EdgeTest { ratio, score: (ratio - 1.0) * long.powf(2.0 / 3.0), log10_p })
}

/// log10 P(TW1 > x): a shifted gamma law in the body (Chiani 2014, k 46.446, theta 0.186054, shift 9.84801), the
/// leading term of the asymptotic expansion x^(-3/4) exp(-2/3 x^(3/2)) / (4 sqrt(pi)) in the tail.
#[must_use]
pub fn log10_tracy_widom_upper_tail(x: f64) -> f64 {
    if x < 3.0 {
        let y = (x + 9.848_01) / 0.186_054;
        return if y <= 0.0 { 0.0 } else { gamma_ur(46.446, y).log10() };
    }
    (-2.0 / 3.0 * x.powf(1.5) - 0.75 * x.ln() - (4.0 * PI.sqrt()).ln()) / LN_10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracy_widom_quantiles() {
        // Percentage points of the order-one law (Johnstone 2001, table 1; Bejan 2005).
        for (x, p) in [(-1.2686, 0.5), (0.4501, 0.1), (0.9793, 0.05), (2.0234, 0.01), (3.2724, 0.001)] {
            let got = log10_tracy_widom_upper_tail(x);
            assert!((got - f64::log10(p)).abs() < 0.06, "{x}: 10^{got} against {p}");
        }
        assert!(log10_tracy_widom_upper_tail(100.0) < -280.0);
    }

    #[test]
    fn an_outlier_is_seen_and_a_draw_is_not() {
        let draw = edge_test(0.02 * (8.0 + 16.0) * 0.99, 0.02, 64, 256).expect("wide enough");
        assert!(draw.log10_p > -1.0 && draw.score < 0.0);
        let trained = edge_test(0.02 * (8.0 + 16.0) * 1.6, 0.02, 64, 256).expect("wide enough");
        assert!(trained.log10_p < -30.0 && trained.score > 20.0);
        assert_eq!(
            (edge_test(1.0, 1.0, 1, 100), edge_test(1.0, 1.0, 6, 6), edge_test(1.0, 1.0, 12, 4)),
            (None, None, None)
        );
        assert!(edge_test(1.0, 1.0, 2, 128).is_some() && edge_test(1.0, 1.0, 64, 3).is_some());
        assert_eq!(edge_test(f64::NAN, 1.0, 8, 8), None);
        assert_eq!(edge_test(1.0, 0.0, 8, 8), None);
    }
}
