//! Whether a matrix is a random draw, and from which law (METHODS 4).

use statrs::function::gamma::gamma_ur;

use super::random_matrix::{EdgeTest, edge_test};
use crate::kernel::Moments;

/// What a sample of a tensor looks like as a draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// Elements looked at; rows that are all zero (padding tokens) are left out.
    pub elements: usize,
    /// Mean.
    pub mean: f64,
    /// Root mean square.
    pub std: f64,
    /// Fourth moment over the squared second, less 3.
    pub excess_kurtosis: f64,
    /// Largest absolute value.
    pub max_abs: f64,
    /// The largest singular value against the edge.
    pub edge: Option<EdgeTest>,
    /// log10 p of the squared row norms as those of independent rows.
    pub row_norm_log10_p: Option<f64>,
}

/// Tests the sums of a matrix.
#[must_use]
pub fn draw(moments: &Moments) -> Draw {
    let &Moments { rows, columns, mean, square, fourth, max_abs, largest, .. } = moments;
    let kurtosis = fourth / (square * square);
    Draw {
        elements: moments.elements(),
        mean,
        std: square.sqrt(),
        excess_kurtosis: kurtosis - 3.0,
        max_abs,
        edge: largest.and_then(|largest| edge_test(largest, square.sqrt(), rows, columns)),
        row_norm_log10_p: row_norms(moments, kurtosis),
    }
}

/// Squared norms of independent rows have mean c s^2 and variance c (kurtosis - 1) s^4 for c columns; the sum of their
/// squared standard scores is about chi-square with as many degrees of freedom as rows, less one.
fn row_norms(moments: &Moments, kurtosis: f64) -> Option<f64> {
    let variance = moments.columns as f64 * (kurtosis - 1.0) * moments.square * moments.square;
    if moments.rows < 8 || variance <= 0.0 {
        return None;
    }
    let (shape, x) = ((moments.rows - 1) as f64 / 2.0, moments.row_spread / variance / 2.0);
    // Beyond what an incomplete gamma function resolves, the leading term of its tail is enough for a grade.
    let tail = gamma_ur(shape, x);
    Some(if tail > 1e-250 {
        tail.log10()
    } else {
        let ln = (shape - 1.0) * x.ln() - x - statrs::function::gamma::ln_gamma(shape);
        ln / std::f64::consts::LN_10
    })
}

/// The laws that models are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// Normal, also truncated beyond three standard deviations, which no moment tells apart.
    Normal,
    /// Normal, truncated at two standard deviations.
    TruncatedNormal,
    /// Uniform about zero.
    Uniform,
}

impl Law {
    /// The name the case file uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::TruncatedNormal => "truncated-normal",
            Self::Uniform => "uniform",
        }
    }

    /// Excess kurtosis: 0; for the cut at +-2, with Z = P(|x| < 2) and phi the density, variance v = 1 - 4 phi(2)/Z and
    /// fourth moment 3 v - 16 phi(2)/Z give -0.634; -6/5 for the uniform law.
    fn excess_kurtosis(self) -> f64 {
        match self {
            Self::Normal => 0.0,
            Self::TruncatedNormal => -0.634,
            Self::Uniform => -1.2,
        }
    }
}

/// The law whose kurtosis is nearest to that of `elements` pooled values, if it is within five standard errors
/// (sqrt(24/n)) or 0.1, which is what rounding and slight truncation change.
#[must_use]
pub fn law(excess_kurtosis: f64, elements: usize) -> Option<Law> {
    let tolerance = (5.0 * (24.0 / elements.max(1) as f64).sqrt()).clamp(0.1, 0.3);
    [Law::Normal, Law::TruncatedNormal, Law::Uniform]
        .into_iter()
        .map(|law| (law, (excess_kurtosis - law.excess_kurtosis()).abs()))
        .filter(|(_, distance)| *distance <= tolerance)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(law, _)| law)
}

/// The sizes that rules of scale depend on.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Hidden size.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Inputs of the matrix.
    pub fan_in: usize,
    /// Outputs of the matrix.
    pub fan_out: usize,
}

/// The known rule of scale that `std` follows within 3 % or three standard errors of `elements` values.
#[must_use]
pub fn rule(std: f64, elements: usize, sizes: Sizes) -> Option<&'static str> {
    let Sizes { hidden, layers, fan_in, fan_out } = sizes;
    let [d, l, i, o] = [hidden, layers.max(1), fan_in, fan_out].map(|size| size as f64);
    let rules: [(&str, f64); 15] = [
        ("0.02", 0.02),
        ("0.006", 0.006),
        ("0.01", 0.01),
        ("1", 1.0),
        ("0.02/sqrt(2 layers)", 0.02 / (2.0 * l).sqrt()),
        ("0.006/sqrt(2 layers)", 0.006 / (2.0 * l).sqrt()),
        ("1/sqrt(hidden)", 1.0 / d.sqrt()),
        ("sqrt(2/(5 hidden))", (0.4 / d).sqrt()),
        ("2/(layers sqrt(hidden))", 2.0 / (l * d.sqrt())),
        ("sqrt(2/(5 hidden))/sqrt(2 layers)", (0.4 / d / (2.0 * l)).sqrt()),
        ("Kaiming sqrt(2/fan_in)", (2.0 / i).sqrt()),
        ("PyTorch Linear 1/sqrt(3 fan_in)", 1.0 / (3.0 * i).sqrt()),
        ("LeCun 1/sqrt(fan_in)", 1.0 / i.sqrt()),
        ("Xavier sqrt(2/(fan_in+fan_out))", (2.0 / (i + o)).sqrt()),
        ("1/sqrt(2 hidden layers)", 1.0 / (2.0 * d * l).sqrt()),
    ];
    let tolerance = (3.0 / (2.0 * elements.max(1) as f64).sqrt()).max(0.03);
    // The first rule wins where two give one number: the plainest stands first.
    rules.into_iter().find(|(_, value)| (std / value - 1.0).abs() <= tolerance).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uniform(n: usize) -> Vec<f32> {
        let mut state = 99_u64;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 40) as f32 / 16_777_216.0 - 0.5) * 0.2
            })
            .collect()
    }

    fn look(values: &[f32]) -> Draw {
        draw(&Moments::of(values, 64).expect("a draw"))
    }

    #[test]
    fn a_uniform_draw_is_recognised_and_clean() {
        let values = uniform(128 * 64);
        let draw = look(&values);
        assert_eq!(law(draw.excess_kurtosis, draw.elements), Some(Law::Uniform));
        assert!((draw.std - 0.2 / 12f64.sqrt()).abs() < 1e-3);
        assert!(draw.edge.expect("an edge").log10_p > -3.0);
        assert!(draw.row_norm_log10_p.expect("rows") > -3.0);
        let sizes = Sizes { hidden: 64, layers: 2, fan_in: 64, fan_out: 128 };
        assert_eq!(rule(0.02, 8192, sizes), Some("0.02"));
        assert_eq!(rule((1.0 / (3.0 * 64.0_f64)).sqrt(), 8192, sizes), Some("PyTorch Linear 1/sqrt(3 fan_in)"));
    }

    #[test]
    fn rows_that_grew_and_a_common_direction_are_seen() {
        let mut values = uniform(128 * 64);
        for row in values.chunks_exact_mut(64).take(20) {
            for v in row {
                *v *= 3.0;
            }
        }
        assert!(look(&values).row_norm_log10_p.expect("rows") < -30.0);
        let mut values = uniform(128 * 64);
        for row in values.chunks_exact_mut(64) {
            for v in row {
                *v += 0.05;
            }
        }
        assert!(look(&values).edge.expect("an edge").log10_p < -30.0);
    }

    #[test]
    fn padding_rows_do_not_count_and_zeros_are_no_draw() {
        let mut values = uniform(32 * 64);
        let full = look(&values);
        values.extend([0.0; 64]);
        assert_eq!(look(&values), full);
        assert_eq!(Moments::of(&[0.0; 64], 64), None);
    }
}
