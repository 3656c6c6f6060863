//! Two copies of one row: whether it only changed its length, and by which factor (METHODS 5, decay clock).

use serde::{Deserialize, Serialize};

/// Ratios of rows count as one factor if they are this near to their median.
const ONE_FACTOR: f64 = 0.01;

/// Lanes of the sums: fixed, so that the bits do not depend on the machine.
const LANES: usize = 8;

/// Variance of the rounding of a value to this many bits of mantissa, relative to its square, over values of every mantissa:
/// a twelfth of the square of a unit of the last bit, and the mean square of a mantissa in [1, 2) is about 2.1.
#[must_use]
pub fn rounding(bits: i32) -> f64 {
    4f64.powi(-bits) / 25.0
}

/// The same of the updates of a weight that is held in f32, each of which rounds it once more, from one step to another.
#[must_use]
pub fn updated((from, to): (i64, i64)) -> f64 {
    to.saturating_sub(from).clamp(0, 1 << 30) as f64 * rounding(23)
}

/// Squared sine of a row that counts as rounding in any format: sums in another order, a fused update.
pub const LEAST_SINE2: f64 = 1e-10;

/// Sums over two copies `a` (earlier) and `b` (later) of one row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowProducts {
    /// Elements.
    pub elements: usize,
    /// |a|^2.
    #[serde(with = "super::exact")]
    pub aa: f64,
    /// <a, b>.
    #[serde(with = "super::exact")]
    pub ab: f64,
    /// |b|^2.
    #[serde(with = "super::exact")]
    pub bb: f64,
    /// |a - b|^2.
    #[serde(with = "super::exact")]
    pub distance2: f64,
    /// Sum of what every element moved towards zero.
    #[serde(with = "super::exact")]
    pub towards: f64,
    /// Whether all elements are equal.
    pub equal: bool,
}

impl RowProducts {
    /// The sums of two rows of one length; of two lengths, over the shorter one.
    #[must_use]
    pub fn new(a: &[f64], b: &[f64]) -> Self {
        let elements = a.len().min(b.len());
        let (a, b) = (&a[..elements], &b[..elements]);
        let mut lanes = [[0.0; LANES]; 5];
        let mut add = |lane: usize, x: f64, y: f64| {
            let moved = x - y;
            lanes[0][lane] += x * x;
            lanes[1][lane] += x * y;
            lanes[2][lane] += y * y;
            lanes[3][lane] += moved * moved;
            lanes[4][lane] += moved * 1f64.copysign(x);
        };
        let ((a_chunks, a_rest), (b_chunks, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (x, y) in a_chunks.iter().zip(b_chunks) {
            for lane in 0..LANES {
                add(lane, x[lane], y[lane]);
            }
        }
        for (lane, (x, y)) in a_rest.iter().zip(b_rest).enumerate() {
            add(lane, *x, *y);
        }
        let [aa, ab, bb, distance2, towards] = lanes.map(|sums| sums.iter().sum());
        // A sum of squares that is zero has no element that moved; what is not finite is equal to nothing.
        Self { elements, aa, ab, bb, distance2, towards, equal: distance2 == 0.0 }
    }

    /// Whether both copies are finite and not zero.
    #[must_use]
    pub fn usable(&self) -> bool {
        self.aa > 0.0 && self.bb > 0.0 && self.aa.is_finite() && self.bb.is_finite() && self.ab.is_finite()
    }

    /// Cosine; `None` where a copy is zero or not finite.
    #[must_use]
    pub fn cosine(&self) -> Option<f64> {
        self.usable().then(|| self.ab / (self.aa.sqrt() * self.bb.sqrt()))
    }

    /// Squared sine of the angle: the share of the later row that is not the earlier one times a factor. 1 for rows of
    /// opposite directions.
    #[must_use]
    pub fn off_line(&self) -> Option<f64> {
        self.cosine().map(|cosine| if cosine > 0.0 { (1.0 - cosine * cosine).max(0.0) } else { 1.0 })
    }

    /// The factor |b| / |a|. Roundings of both copies lengthen both alike, so that it is not biased where they are in one
    /// format.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        self.usable().then(|| (self.bb / self.aa).sqrt())
    }

    /// 1 if every element moved towards zero by one and the same amount, 0.80 if a normal row was multiplied by a factor,
    /// about 0 (standard deviation 1 / sqrt(elements)) if it moved anyhow.
    #[must_use]
    pub fn evenness(&self) -> f64 {
        let whole = (self.distance2 * self.elements as f64).sqrt();
        if whole > 0.0 { self.towards / whole } else { 0.0 }
    }
}

/// The one factor of most rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommonFactor {
    /// Rows that have it.
    pub rows: u64,
    /// Their mean.
    #[serde(with = "super::exact")]
    pub ratio: f64,
    /// Their standard deviation.
    #[serde(with = "super::exact")]
    pub sd: f64,
}

/// What most ratios are, without those that are far from the median: rows that did not only decay.
#[must_use]
pub fn common_factor(mut ratios: Vec<f64>) -> Option<CommonFactor> {
    ratios.retain(|ratio| ratio.is_finite());
    if ratios.is_empty() {
        return None;
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    ratios.retain(|ratio| (ratio / median - 1.0).abs() <= ONE_FACTOR);
    let n = ratios.len() as f64;
    let ratio = ratios.iter().sum::<f64>() / n;
    let sd = (ratios.iter().map(|r| (r - ratio).powi(2)).sum::<f64>() / n).sqrt();
    (n > 0.0).then_some(CommonFactor { rows: ratios.len() as u64, ratio, sd })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row(n: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 24) - 0.5
        };
        (0..n).map(|_| (0..12).map(|_| next()).sum::<f64>() * 0.02).collect()
    }

    #[test]
    fn sums_are_those_of_plain_loops() {
        for n in [1, 7, 8, 9, 64, 131] {
            let (a, b) = (row(n, 1), row(n, 2));
            let products = RowProducts::new(&a, &b);
            let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(&b).map(|(x, y)| f(*x, *y)).sum::<f64>();
            for (own, reference) in [
                (products.aa, sum(&|x, _| x * x)),
                (products.ab, sum(&|x, y| x * y)),
                (products.bb, sum(&|_, y| y * y)),
                (products.distance2, sum(&|x, y| (x - y).powi(2))),
                (products.towards, sum(&|x, y| if x < 0.0 { y - x } else { x - y })),
            ] {
                assert!((own - reference).abs() <= 1e-14, "{n}: {own} {reference}");
            }
            assert!(!products.equal && RowProducts::new(&a, &a).equal);
        }
    }

    #[test]
    fn a_factor_a_shift_and_a_walk_are_told_apart() {
        let a = row(4096, 3);
        let decayed: Vec<f64> = a.iter().map(|x| x * 0.9).collect();
        let products = RowProducts::new(&a, &decayed);
        assert!(products.off_line().unwrap() < 1e-14);
        assert!((products.ratio().unwrap() - 0.9).abs() < 1e-12);
        assert!((products.evenness() - (2.0 / std::f64::consts::PI).sqrt()).abs() < 0.02, "{}", products.evenness());
        let shifted: Vec<f64> = a.iter().map(|x| x - 1e-4 * 1f64.copysign(*x)).collect();
        assert!((RowProducts::new(&a, &shifted).evenness() - 1.0).abs() < 1e-9);
        let walked: Vec<f64> = a.iter().zip(row(4096, 4)).map(|(x, y)| x + y).collect();
        assert!(RowProducts::new(&a, &walked).evenness().abs() < 0.06);
        let turned: Vec<f64> = a.iter().map(|x| -x).collect();
        assert_eq!(RowProducts::new(&a, &turned).off_line(), Some(1.0));
    }

    #[test]
    fn roundings_have_the_variance_that_is_said() {
        let values = row(20_000, 5);
        for (dtype, bits) in [(crate::Dtype::Bf16, 7), (crate::Dtype::F8E4M3, 3)] {
            // Far from the formats' subnormal numbers.
            let off = |x: &f64| (crate::round(x * 64.0, dtype, crate::Rounding::Nearest) - x * 64.0).powi(2);
            let found = values.iter().map(off).sum::<f64>() / values.iter().map(|x| (x * 64.0).powi(2)).sum::<f64>();
            assert!((0.8..1.25).contains(&(found / rounding(bits))), "{bits}: {}", found / rounding(bits));
        }
    }

    #[test]
    fn hostile_rows_have_no_figures() {
        for b in [vec![0.0; 4], vec![f64::NAN; 4], vec![f64::INFINITY; 4], vec![1e300; 4]] {
            let products = RowProducts::new(&[1.0, 2.0, 3.0, 4.0], &b);
            assert!(products.ratio().is_none() && products.off_line().is_none() && !products.equal, "{b:?}");
        }
        assert!(RowProducts::new(&[], &[]).ratio().is_none());
        assert!(common_factor(vec![f64::NAN]).is_none() && common_factor(Vec::new()).is_none());
        assert!(common_factor(vec![0.0]).is_none());
    }

    #[test]
    fn a_few_rows_that_were_trained_do_not_move_the_factor() {
        let mut ratios = vec![0.9; 40];
        ratios.extend([0.95, 1.2, 0.4]);
        let factor = common_factor(ratios).unwrap();
        assert_eq!(factor.rows, 40);
        assert!((factor.ratio - 0.9).abs() < 1e-12 && factor.sd < 1e-12);
    }
}
