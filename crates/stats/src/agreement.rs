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

/// log10 P(X >= k) where units stand in groups of `inside` and the matchings keep groups together: groups agree as often as a
/// Poisson variable of the given mean says, and of the units of each such group as many as a random permutation of
/// `inside` things leaves in place, one in the mean. With `inside` = 1 this is [`log10_poisson_upper`].
///
/// Probabilities follow Panjer (1981): P(n) = mean / n * sum over j of j f(j) P(n - j), in logarithms.
#[must_use]
pub fn log10_compound_upper(k: u64, mean: f64, inside: usize) -> f64 {
    /// Further terms change no digit.
    const BEYOND: usize = 400;
    if inside <= 1 || k == 0 || !(mean > 0.0 && mean.is_finite()) || k > 1 << 20 {
        return log10_poisson_upper(k, mean);
    }
    // More than 20 things that stay in place have a chance below 1e-18.
    let size = inside.min(20);
    let mut inverse = vec![1.0_f64];
    for i in 1..=size {
        inverse.push(inverse[i - 1] / i as f64);
    }
    let fixed = |j: usize| {
        let sum: f64 = (0..=size - j).map(|i| if i % 2 == 0 { inverse[i] } else { -inverse[i] }).sum();
        inverse[j] * sum
    };
    let f: Vec<f64> = (0..=size).map(|j| fixed(j).max(0.0)).collect();
    let Ok(k) = usize::try_from(k) else { return log10_poisson_upper(k, mean) };
    let mut ln = vec![-mean * (1.0 - f[0])];
    for n in 1..=k + BEYOND {
        let terms: Vec<f64> = (1..=size.min(n))
            .filter(|j| f[*j] > 0.0)
            .map(|j| (mean / n as f64 * j as f64 * f[j]).ln() + ln[n - j])
            .collect();
        ln.push(log_sum(&terms));
    }
    log_sum(&ln[k..]).min(0.0) / LN_10
}

/// log10 P(X >= k) for `n` fair coins.
#[must_use]
pub fn log10_binomial_upper(k: u64, n: u64) -> f64 {
    if k == 0 {
        return 0.0;
    }
    if k > n {
        return f64::NEG_INFINITY;
    }
    let (n, k) = (n as f64, k as f64);
    let ln_mass = |k: f64| ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0) - n * std::f64::consts::LN_2;
    // P(X = k) (1 + (n-k)/(k+1) (1 + ...)): ratios below one above the middle; below it the other side is the small one.
    if k > n / 2.0 {
        return (ln_mass(k) + series(|j| ((n - k - j + 1.0) / (k + j)).max(0.0)).ln()).min(0.0) / LN_10;
    }
    let below = (ln_mass(k - 1.0) + series(|j| ((k - j) / (n - k + 1.0 + j)).max(0.0)).ln()).exp();
    (-below.min(1.0)).ln_1p() / LN_10
}

/// ln of a sum of exponentials.
fn log_sum(terms: &[f64]) -> f64 {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_finite() { largest + terms.iter().map(|t| (t - largest).exp()).sum::<f64>().ln() } else { largest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins() {
        for (k, n, chance) in [
            (10, 10, 1.0 / 1024.0),
            (9, 10, 11.0 / 1024.0),
            (5, 10, 638.0 / 1024.0),
            (1, 10, 1023.0 / 1024.0),
            (3, 4, 5.0 / 16.0),
        ] {
            assert!((log10_binomial_upper(k, n) - f64::log10(chance)).abs() < 1e-10, "{k} of {n}");
        }
        assert!((log10_binomial_upper(1000, 1000) + 1000.0 * 2.0_f64.log10()).abs() < 1e-9);
        assert!(log10_binomial_upper(0, 5) == 0.0 && log10_binomial_upper(6, 5).is_infinite());
    }

    /// Groups of one are Poisson; groups of two or more have the same mean and a longer tail.
    #[test]
    fn compound_agreements() {
        assert!((log10_compound_upper(7, 1.0, 1) - log10_poisson_upper(7, 1.0)).abs() < 1e-12);
        // Summed out: the sum over m of Poisson(m; 1) times the tail of m pairs, each 0 or 2 with a chance of a half.
        let pairs = |k: u64| {
            let mut tail = 0.0;
            let mut poisson = (-1.0_f64).exp();
            for m in 0..60_u32 {
                if m > 0 {
                    poisson /= f64::from(m);
                }
                let mut binomial = 0.5_f64.powi(i32::try_from(m).unwrap());
                for twos in 0..=m {
                    if twos > 0 {
                        binomial *= f64::from(m - twos + 1) / f64::from(twos);
                    }
                    if u64::from(2 * twos) >= k {
                        tail += poisson * binomial;
                    }
                }
            }
            tail.log10()
        };
        for k in [1, 2, 5, 12, 20] {
            assert!((log10_compound_upper(k, 1.0, 2) - pairs(k)).abs() < 1e-9, "{k}");
        }
        assert!(log10_compound_upper(20, 1.0, 4) > log10_poisson_upper(20, 1.0));
        assert!(log10_compound_upper(1500, 48.0, 8) < -300.0);
    }

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
