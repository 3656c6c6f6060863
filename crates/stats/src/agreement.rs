//! Agreements between independent matchings (METHODS 3).

use std::f64::consts::LN_10;

use statrs::function::gamma::ln_gamma;

/// log10 P(X >= k) for a Poisson variable X of the given mean, far beyond where a probability underflows.
///
/// Two independent uniform matchings of n things agree on about Poisson(1) of them, m pairs of matchings on Poisson(m)
/// (Montmort 1708; the error of the law falls like 2^n / n!). Absolute error of the logarithm below 1e-9 up to 1e5
/// agreements. NaN for a mean that is negative or not finite.
#[must_use]
pub fn log10_poisson_upper(k: u64, mean: f64) -> f64 {
    if !mean.is_finite() || mean < 0.0 {
        return f64::NAN;
    }
    if k == 0 {
        return 0.0;
    }
    if mean == 0.0 {
        return f64::NEG_INFINITY;
    }
    let n = k as f64;
    let ln_mass = |n: f64| n * mean.ln() - mean - ln_gamma(n + 1.0);
    if n > mean {
        // P(X = k) (1 + m/(k+1) (1 + m/(k+2) (1 + ...))): ratios below one and falling.
        return (ln_mass(n) + series(|j| mean / (n + j)).ln()) / LN_10;
    }
    // The other side is the small one: P(X = k-1) (1 + (k-1)/m (1 + (k-2)/m (1 + ...))).
    let below = (ln_mass(n - 1.0) + series(|j| (n - j).max(0.0) / mean).ln()).exp();
    (-below.min(1.0)).ln_1p() / LN_10
}

/// 1 + r(1) + r(1) r(2) + ..., until a term no longer counts.
fn series(ratio: impl Fn(f64) -> f64) -> f64 {
    let (mut sum, mut term, mut j) = (1.0, 1.0, 0.0);
    while term > sum * f64::EPSILON / 64.0 && j < 1e8 {
        j += 1.0;
        term *= ratio(j);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_mpmath() {
        // log10 of the upper tail at 60 digits.
        for (k, mean, expected) in [
            (1, 1.0, -0.199_200_084_627_78),
            (2, 1.0, -0.577_999_602_383_21),
            (5, 1.0, -2.436_537_090_406_5),
            (51, 46.0, -0.603_631_952_055_84),
            (46, 46.0, -0.284_323_171_334_96),
            (20, 46.0, -2.448_522_309_294_6e-6),
            (64, 1.0, -89.530_979_601_569),
            (600, 46.0, -430.390_557_588_98),
            (1045, 46.0, -985.423_553_893_76),
            (1600, 46.0, -1_793.274_328_525),
            (4096, 1.0, -13_019.995_616_21),
            (100_000, 3.0, -408_862.628_298_42),
            (3, 1e-12, -36.778_151_250_384),
            (10, 0.5, -9.767_087_701_456_5),
            (1200, 1000.0, -9.329_364_212_755_5),
            (100_300, 100_000.0, -0.765_028_792_206_98),
        ] {
            let got = log10_poisson_upper(k, mean);
            assert!((got - expected).abs() < 1e-9 + 1e-14 * expected.abs(), "{k} {mean}: {got} against {expected}");
        }
    }

    #[test]
    fn edges() {
        assert_eq!(log10_poisson_upper(0, 3.0).to_bits(), 0.0_f64.to_bits());
        assert!(log10_poisson_upper(3, 0.0).is_infinite());
        assert!(log10_poisson_upper(1, -1.0).is_nan() && log10_poisson_upper(1, f64::INFINITY).is_nan());
        assert!(log10_poisson_upper(1, 1e9).abs() < 1e-12);
        assert!(log10_poisson_upper(u64::MAX, 1.0) < -1e19);
    }
}
