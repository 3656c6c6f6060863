//! Overlap of the row spaces of two matrices, such as two attention heads.

use super::normal::log10_upper_tail;

/// The overlap of two subspaces against a uniformly random rotation of one of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Subspace {
    /// (overlap - mean) / standard deviation.
    pub z: f64,
    /// log10 P(Z > z) for a normal Z, which is too small for small spaces. Simulated P(Z > 4), 3e-5 by the normal law: 1e-3
    /// for p = q = 2 in 16 dimensions, 4e-4 for 4 in 32, 1.3e-4 for 8 in 64, 1.5e-4 for 16 in 128, 2.5e-5 for 32 in 96.
    pub log10_p: f64,
    /// (overlap - mean) / (min(p, q) - mean): 1 if one space holds the other.
    pub effect: f64,
}

/// Tests the sum of squared cosines of the principal angles between a p- and a q-dimensional subspace of a d-dimensional
/// space. Under a random rotation of one of them its mean is p q / d and its variance
/// 2 p q (d - p) (d - q) / (d^2 (d - 1) (d + 2)), both exact (two projections of which one is rotated by Haar measure).
/// Neither scaling nor flipping nor mixing of the rows that span a space changes the overlap.
/// `None` where a space is empty or whole.
#[must_use]
pub fn subspace(overlap: f64, p: usize, q: usize, d: usize) -> Option<Subspace> {
    if p == 0 || q == 0 || p >= d || q >= d || !overlap.is_finite() {
        return None;
    }
    let (least, p, q, d) = (p.min(q) as f64, p as f64, q as f64, d as f64);
    let mean = p * q / d;
    let variance = 2.0 * p * q * (d - p) * (d - q) / (d * d * (d - 1.0) * (d + 2.0));
    let z = (overlap - mean) / variance.sqrt();
    Some(Subspace { z, log10_p: log10_upper_tail(z), effect: (overlap - mean) / (least - mean) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use scratchproof_kernel::{overlap, row_basis};

    /// Sums of twelve uniform draws, close enough to normal for a direction to be uniform.
    fn draws(n: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut unit = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 16_777_216.0
        };
        (0..n).map(|_| (0..12).map(|_| unit()).sum::<f32>() - 6.0).collect()
    }

    #[test]
    fn mean_and_variance_are_those_of_random_rotations() {
        let (p, q, d) = (3, 5, 16);
        let fixed = row_basis(&draws(q * d, 3), q, d).expect("finite");
        let zs: Vec<f64> = (0..4000)
            .map(|seed| {
                let turned = row_basis(&draws(p * d, 1000 + seed), p, d).expect("finite");
                subspace(overlap(&turned, &fixed, d), p, q, d).expect("inside").z
            })
            .collect();
        let mean = zs.iter().sum::<f64>() / 4000.0;
        let sd = (zs.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / 4000.0).sqrt();
        assert!(mean.abs() < 0.06 && (sd - 1.0).abs() < 0.05, "mean {mean}, sd {sd}");
    }

    #[test]
    fn a_mixed_copy_has_the_whole_overlap() {
        let (p, d) = (4, 32);
        let a = draws(p * d, 9);
        let mix = [[2.0, 1.0, 0.0, 0.0], [0.0, -3.0, 1.0, 0.5], [0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 4.0]];
        let b: Vec<f32> = mix
            .iter()
            .flat_map(|m| (0..d).map(|c| (0..p).map(|r| m[r] * a[r * d + c]).sum::<f32>()).collect::<Vec<_>>())
            .collect();
        let (a, b) = (row_basis(&a, p, d).expect("finite"), row_basis(&b, p, d).expect("finite"));
        let test = subspace(overlap(&a, &b, d), p, p, d).expect("inside");
        assert!((test.effect - 1.0).abs() < 1e-5 && test.z > 10.0, "{test:?}");
        assert_eq!(subspace(1.0, 4, 32, 32), None);
        assert_eq!(subspace(f64::NAN, 4, 4, 32), None);
    }
}
