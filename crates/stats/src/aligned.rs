//! Aligned similarity under the exact column-permutation null (METHODS 2 and 2.1).

use super::normal::{log10_both_tails, log10_upper_tail};
use scratchproof_kernel::Sums;

/// How similar two models are over the rows that were compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aligned {
    /// tr(M) / sqrt(||M||_F^2 / (d - 1)): mean 0 and variance 1 under a random relabelling of the residual axis.
    pub z: f64,
    /// log10 P(Z > z): what a checkpoint keeps of another is likeness, so one-sided. Of a parent both tails count
    /// ([`Self::log10_either_way`]).
    pub log10_p: f64,
    /// Mean correlation of the tensors, centred over the residual axis.
    pub effect: f64,
}

impl Aligned {
    /// log10 P(|Z| > |z|): what is another model's times -1 is that model's.
    #[must_use]
    pub fn log10_either_way(&self) -> f64 {
        log10_both_tails(self.z)
    }

    /// The effect that a one-sided test at `log10_p` would have seen on these rows: its null's standard deviation times the
    /// normal quantile.
    #[must_use]
    pub fn detectable(&self, log10_p: f64) -> f64 {
        self.deviation() * quantile(log10_upper_tail, log10_p)
    }

    /// The same of a test of both tails.
    #[must_use]
    pub fn detectable_either_way(&self, log10_p: f64) -> f64 {
        self.deviation() * quantile(log10_both_tails, log10_p)
    }

    /// Standard deviation of the effect under the null.
    fn deviation(&self) -> f64 {
        (self.effect / self.z).abs()
    }
}

/// The z from which on a tail is below `log10_p`.
fn quantile(tail: fn(f64) -> f64, log10_p: f64) -> f64 {
    // Bisection on a monotone function; 60 halvings of [0, 100] are exact to rounding.
    let (mut low, mut high) = (0.0, 100.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if tail(middle) > log10_p { low = middle } else { high = middle }
    }
    high
}

/// The test for rows centred over `columns` exchangeable columns, where `weight` is the trace two equal models would have
/// (the number of unit-norm tensors). The variance is exact under column permutation. `None` where nothing was compared.
#[must_use]
pub fn aligned(sums: Sums, weight: f64, columns: usize) -> Option<Aligned> {
    let Sums { trace, frobenius2 } = sums;
    if columns < 3 || weight <= 0.0 || !trace.is_finite() || !frobenius2.is_finite() || frobenius2 <= 0.0 {
        return None;
    }
    let z = trace / (frobenius2 / (columns - 1) as f64).sqrt();
    Some(Aligned { z, log10_p: log10_upper_tail(z), effect: trace / weight })
}

/// The same for a vector over the residual axis: z = r sqrt(n - 1). Shown, but vectors do not vote.
#[must_use]
pub fn vector(pearson: f64, elements: u64) -> Option<Aligned> {
    if elements < 3 {
        return None;
    }
    let z = pearson * ((elements - 1) as f64).sqrt();
    Some(Aligned { z, log10_p: log10_upper_tail(z), effect: pearson })
}

#[cfg(test)]
mod tests {
    use super::*;
    use scratchproof_kernel::{Rows, centre, normalise, without_mean_row};

    /// Column permutations of one matrix against another: the variance of the null is exact, so z has mean 0 and
    /// standard deviation 1 even for matrices that are far from random.
    #[test]
    fn z_is_standard_under_column_permutations() {
        let (rows, columns) = (24, 32);
        let mut state = 1_u64;
        let mut draw = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let mut matrix = |outlier: usize| {
            let mut values: Vec<f32> = (0..rows * columns)
                .map(|i| (draw() % 1000) as f32 / 500.0 - 1.0 + if i % columns < outlier { 1.5 } else { 0.0 })
                .collect();
            centre(&mut values, columns);
            assert!(normalise(&mut values));
            values
        };
        let (a, b) = (matrix(8), matrix(3));
        let a = Rows::whole(a, columns);
        let zs: Vec<f64> = (0..2000)
            .map(|_| {
                let mut order: Vec<usize> = (0..columns).collect();
                for i in (1..columns).rev() {
                    order.swap(i, draw() % (i + 1));
                }
                let shuffled = b.chunks_exact(columns).flat_map(|row| order.iter().map(|&c| row[c])).collect();
                let shuffled = Rows::whole(shuffled, columns);
                aligned(a.total(&shuffled), 1.0, columns).expect("rows").z
            })
            .collect();
        let mean = zs.iter().sum::<f64>() / 2000.0;
        let sd = (zs.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / 2000.0).sqrt();
        assert!(mean.abs() < 0.08 && (sd - 1.0).abs() < 0.06, "mean {mean}, sd {sd}");
    }

    /// A vector that is added to all rows hides what is in them, until the mean row is taken out of both; the null is exact all the same.
    #[test]
    fn a_common_vector_hides_nothing_where_the_mean_row_is_taken_out() {
        let (rows, columns) = (48, 32);
        let mut state = 3_u64;
        let mut draw = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f32 / (1_u64 << 31) as f32 - 0.5
        };
        let parent: Vec<f32> = (0..rows * columns).map(|_| draw()).collect();
        let other: Vec<f32> = (0..rows * columns).map(|_| draw()).collect();
        let common: Vec<f32> = (0..columns).map(|_| 10.0 * draw()).collect();
        let added: Vec<f32> = parent.iter().enumerate().map(|(i, v)| v + common[i % columns]).collect();
        let ready = |values: &[f32], levelled: bool| {
            let mut values = values.to_vec();
            centre(&mut values, columns);
            if levelled {
                without_mean_row(&mut values, columns);
            }
            assert!(normalise(&mut values));
            values
        };
        let test = |a: &[f32], b: &[f32], levelled: bool| {
            let (a, b) = (Rows::whole(ready(a, levelled), columns), Rows::whole(ready(b, levelled), columns));
            aligned(a.total(&b), 1.0, columns).expect("rows")
        };
        assert!(test(&added, &parent, false).z < 6.0, "{:?}", test(&added, &parent, false));
        assert!(test(&added, &parent, true).z > 20.0, "{:?}", test(&added, &parent, true));
        assert!(test(&added, &other, true).z.abs() < 4.0, "{:?}", test(&added, &other, true));
        let zs: Vec<f64> = (0..2000)
            .map(|_| {
                let mut order: Vec<usize> = (0..columns).collect();
                for i in (1..columns).rev() {
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                    let other = ((draw() + 0.5) * (i + 1) as f32) as usize % (i + 1);
                    order.swap(i, other);
                }
                let shuffled: Vec<f32> =
                    parent.chunks_exact(columns).flat_map(|row| order.iter().map(|&c| row[c])).collect();
                test(&added, &shuffled, true).z
            })
            .collect();
        let mean = zs.iter().sum::<f64>() / 2000.0;
        let sd = (zs.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / 2000.0).sqrt();
        assert!(mean.abs() < 0.08 && (sd - 1.0).abs() < 0.06, "mean {mean}, sd {sd}");
    }

    #[test]
    fn equal_models_reach_the_largest_z_and_an_effect_of_one() {
        let columns = 16;
        let mut values: Vec<f32> = (0..64 * columns).map(|i| ((i * 7919) % 1013) as f32).collect();
        centre(&mut values, columns);
        assert!(normalise(&mut values));
        let a = Rows::whole(values, columns);
        let test = aligned(a.total(&a), 1.0, columns).expect("rows");
        assert!((test.effect - 1.0).abs() < 1e-6 && test.z > 8.0 && test.z <= 15.0 + 1e-6, "{test:?}");
        assert!((test.detectable(-10.0) - 6.361 * test.effect / test.z).abs() < 1e-3);
        // scipy.stats.norm.isf(5e-11)
        assert!((test.detectable_either_way(-10.0) - 6.467 * test.effect / test.z).abs() < 1e-3);
        let negated = Aligned { z: -test.z, effect: -test.effect, ..test };
        assert!((negated.detectable_either_way(-10.0) - test.detectable_either_way(-10.0)).abs() < 1e-12);
        assert!((negated.log10_either_way() - test.log10_either_way()).abs() < 1e-12);
    }
}
