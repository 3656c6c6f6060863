//! Tails of the standard normal distribution, far beyond where a probability underflows.

use std::f64::consts::{LN_10, PI};

use statrs::function::erf::erfc;

/// log10 P(Z > z) for a standard normal Z.
#[must_use]
pub fn log10_upper_tail(z: f64) -> f64 {
    if z < 5.0 {
        return (erfc(z / std::f64::consts::SQRT_2) / 2.0).log10();
    }
    // Laplace's continued fraction of Mills' ratio: P = phi(z) / (z + 1/(z + 2/(z + 3/(z + ...)))).
    let mut tail = z;
    for k in (1..=60).rev() {
        tail = z + f64::from(k) / tail;
    }
    (-z * z / 2.0 - 0.5 * (2.0 * PI).ln() - tail.ln()) / LN_10
}

/// log10 P(|Z| > |z|) for a standard normal Z: where a likeness counts whatever its sign.
#[must_use]
pub fn log10_both_tails(z: f64) -> f64 {
    (log10_upper_tail(z.abs()) + std::f64::consts::LOG10_2).min(0.0)
}

#[cfg(test)]
mod tests {
    use super::{log10_both_tails, log10_upper_tail};

    #[test]
    fn both_tails_are_twice_one() {
        // scipy.stats.norm.sf(z) * 2
        for (z, expected) in [(0.0, 1.0), (1.959_964, 0.05), (-1.959_964, 0.05), (3.890_592, 1e-4)] {
            let got = 10.0_f64.powf(log10_both_tails(z));
            assert!((got - expected).abs() < 1e-6 * expected.max(1e-3), "{z}: {got} against {expected}");
        }
    }

    #[test]
    fn agrees_with_scipy() {
        // scipy.stats.norm.logsf(z) / ln(10)
        for (z, expected) in [
            (-3.0, -0.000_586_644_5),
            (0.0, -std::f64::consts::LOG10_2),
            (3.0, -2.869_699_021_6),
            (4.999, -6.540_509_8),
            (5.0, -6.542_645_906_5),
            (8.0, -15.206_147_5),
            (41.8, -381.456_5),
        ] {
            let got = log10_upper_tail(z);
            assert!((got - expected).abs() < 2e-4 * expected.abs().max(1e-3), "{z}: {got} against {expected}");
        }
    }
}
