//! Coincidences of two sets of places.

/// log10 P(X >= `shared`) where X places of one set of `first` are also in another of `second`, both drawn from `n` without
/// replacement: the hypergeometric law, summed term by term.
#[must_use]
pub fn log10_coincidences(shared: u64, first: u64, second: u64, n: u64) -> f64 {
    let (most, least) = (first.min(second), (first + second).saturating_sub(n));
    if shared <= least {
        return 0.0;
    }
    if shared > most || n == 0 {
        return f64::NEG_INFINITY;
    }
    let choose = |n: u64, k: u64| (0..k.min(n - k)).map(|i| ((n - i) as f64 / (i + 1) as f64).ln()).sum::<f64>();
    let term = |x: u64| choose(first, x) + choose(n - first, second - x) - choose(n, second);
    let terms: Vec<f64> = (shared..=most).map(term).collect();
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = terms.iter().map(|t| (t - largest).exp()).sum();
    ((largest + sum.ln()) / std::f64::consts::LN_10).min(0.0)
}

#[cfg(test)]
mod tests {
    use super::log10_coincidences;

    /// `scipy.stats.hypergeom.logsf(x - 1, n, k, k) / log(10)`, computed from whole numbers where that has too few digits.
    #[test]
    #[allow(clippy::float_cmp)] // 0 and infinity are exact
    fn tails_are_those_of_scipy() {
        for (shared, k, n, expected) in REFERENCE {
            let found = log10_coincidences(shared, k, k, n);
            assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{shared} {k} {n}: {found} {expected}");
        }
        assert_eq!(log10_coincidences(0, 32, 32, 4096), 0.0);
        assert_eq!(log10_coincidences(33, 32, 32, 4096), f64::NEG_INFINITY);
        assert_eq!(log10_coincidences(4, 32, 32, 60), 0.0);
    }

    const REFERENCE: [(u64, u64, u64, f64); 5] = [
        (1, 32, 4096, -0.652_262_796_223_910_5),
        (3, 32, 4096, -2.734_594_734_661_236),
        (10, 32, 65_536, -25.988_370_845_225_074),
        (32, 32, 65_536, -118.703_898_609_420_59),
        (32, 32, 1_000_000_000, -252.579_828_037_510_03),
    ];
}
