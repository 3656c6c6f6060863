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
        (1, 32, 4096, -0.6522627962239105),
        (3, 32, 4096, -2.734594734661236),
        (10, 32, 65536, -25.988370845225074),
        (32, 32, 65536, -118.70389860942059),
        (32, 32, 1000000000, -252.57982803751003),
    ];
}
