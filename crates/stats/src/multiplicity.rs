//! Many tests at once.

/// Holm's step-down adjustment of log10 p-values: controls the chance of any false alarm in the family, whatever the
/// dependence between its tests (Holm 1979). Missing values stay missing and do not count.
#[must_use]
pub fn holm(log10_p: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<usize> = (0..log10_p.len()).filter(|&i| log10_p[i].is_some()).collect();
    order.sort_by(|&a, &b| log10_p[a].unwrap_or(0.0).total_cmp(&log10_p[b].unwrap_or(0.0)).then(a.cmp(&b)));
    let mut adjusted = vec![None; log10_p.len()];
    let mut largest = f64::NEG_INFINITY;
    for (rank, &i) in order.iter().enumerate() {
        let remaining = (order.len() - rank) as f64;
        largest = largest.max(log10_p[i].unwrap_or(0.0) + remaining.log10()).min(0.0);
        adjusted[i] = Some(largest);
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::holm;

    #[test]
    fn agrees_with_r() {
        // R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") = 0.03 0.06 0.06 0.02
        let p = [0.01_f64, 0.04, 0.03, 0.005];
        let mut given: Vec<_> = p.iter().map(|p| Some(p.log10())).collect();
        given.push(None);
        let adjusted = holm(&given);
        for (got, expected) in adjusted.iter().zip([0.03_f64, 0.06, 0.06, 0.02]) {
            assert!((got.expect("some") - expected.log10()).abs() < 1e-12);
        }
        assert_eq!(adjusted[4], None);
    }
}
