//! The decay clock: by how much rows shrank that no training reached, against what the log predicts (METHODS 5).
//!
//! With decoupled weight decay such a row is multiplied by `1 - lr * wd` in every update and by nothing else; so is it by
//! L2 regularisation under SGD, by way of the momentum. The measured shrinkage is the mean over the rows, its standard
//! error that of their spread, and no less than the roundings of the stored formats leave.

use super::median;
use scratchproof_kernel::{LEAST_SINE2, RowProducts, common_factor};
use scratchproof_record::RateSum;

/// Standard errors within which a measurement agrees.
const NEAR: f64 = 3.0;

/// Standard errors beyond which it does not.
const FAR: f64 = 5.0;

/// The change of the prediction that a measurement must be able to show.
const NOTICED: f64 = 0.1;

/// Half a unit of the last bit of an f32 just below 1: what rounding the factor `1 - lr * wd` to f32 can add to or take
/// from the shrinkage of one update.
const FACTOR_ROUNDING: f64 = 1.0 / 33_554_432.0;

/// How rows shrank between two checkpoints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shrinkage {
    /// Rows of the common factor.
    pub rows: u64,
    /// Their mean factor.
    pub ratio: f64,
    /// Its standard error.
    pub error: f64,
    /// Whether nine rows of ten are equal in every element.
    pub equal: bool,
    /// Smallest cosine of a row.
    pub cosine: f64,
    /// Median squared sine of a row over the one that the roundings leave: about 1, less where most elements are still
    /// equal, more where rows were trained.
    pub excess: f64,
}

impl Shrinkage {
    /// Minus the logarithm of the factor: what `lr * wd` adds up to.
    #[must_use]
    pub fn exponent(&self) -> f64 {
        -self.ratio.ln()
    }
}

/// The common factor of rows whose two copies were rounded with these relative variances.
#[must_use]
pub fn shrinkage(rows: &[RowProducts], rounding: [f64; 2]) -> Option<Shrinkage> {
    let usable: Vec<&RowProducts> = rows.iter().filter(|row| row.usable()).collect();
    let factor = common_factor(usable.iter().filter_map(|row| row.ratio()).collect())?;
    let off = median(usable.iter().filter_map(|row| row.off_line()));
    let n = factor.rows as f64;
    let elements = usable.first().map_or(1, |row| row.elements.max(1)) as f64;
    // The factor's own variance is the rounding's over the elements of all rows.
    let least = ((rounding[0] + rounding[1]) / (elements * n)).sqrt() * factor.ratio;
    let spread = factor.sd / (n - 1.0).max(1.0).sqrt();
    Some(Shrinkage {
        rows: factor.rows,
        ratio: factor.ratio,
        error: least.max(spread),
        equal: 10 * usable.iter().filter(|row| row.equal).count() >= 9 * usable.len(),
        cosine: usable.iter().filter_map(|row| row.cosine()).fold(1.0, f64::min),
        excess: off.unwrap_or(0.0) / (rounding[0] + rounding[1] + LEAST_SINE2),
    })
}

/// A predicted exponent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Expected {
    /// Minus the logarithm of the predicted factor.
    pub exponent: f64,
    /// By how much it can be off.
    pub doubt: f64,
}

/// By how much the measured exponent can differ from the true one, `exponent`, if the rows stood exactly on the grid of this
/// many bits of mantissa at first, as those of a model do that was drawn in bf16 or loaded from it, and are rounded to it
/// now: shrinking by less than half a unit of the last bit does not show, and after some units nothing is left of that.
///
/// The largest over three distributions of the mantissas: which are frequent depends on where the scale of the weights lies
/// between two powers of two.
#[must_use]
pub fn grid_bias(exponent: f64, bits: i32) -> f64 {
    if !(1..=10).contains(&bits) || !exponent.is_finite() || exponent.abs() > 1.0 {
        return 0.0;
    }
    let (least, factor) = (1_u32 << bits, (-exponent).exp());
    let (mut before, mut after) = ([0.0; 3], [0.0; 3]);
    for mantissa in least..2 * least {
        let own = f64::from(mantissa);
        let moved = own * factor;
        let unit = 2f64.powf((moved / f64::from(least)).log2().floor());
        let rounded = (moved / unit).round_ties_even() * unit;
        // The share of a mantissa in the sum of squares; 1 is that of numbers of every size.
        for (at, power) in [-1, 1, 3].into_iter().enumerate() {
            let energy = (own / f64::from(least)).powi(power);
            before[at] += energy;
            after[at] += energy * (rounded / own).powi(2);
        }
    }
    let bias = |at: usize| (-(after[at] / before[at]).ln() / 2.0 - exponent).abs();
    (0..3).map(bias).fold(0.0, f64::max)
}

/// How weight decay follows the learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DecayLaw {
    /// `1 - lr * wd`: AdamW as PyTorch has it, Lion, Muon, decoupled SGD.
    Rate,
    /// `1 - wd * lr / largest lr`: decay that only follows the shape of the schedule, as the AdamW paper has it.
    Share,
    /// `1 - wd * lr^2 / largest lr`: corrected decay.
    Square,
    /// L2 regularisation through the momentum of SGD.
    Momentum,
}

impl DecayLaw {
    /// In formulas.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "1 - lr * wd",
            Self::Share => "1 - wd * lr / largest lr",
            Self::Square => "1 - wd * lr^2 / largest lr",
            Self::Momentum => "L2 through the momentum",
        }
    }

    /// The exponent of a sum of learning rates; nothing for [`DecayLaw::Momentum`], which sums do not tell.
    #[must_use]
    pub fn exponent(self, sum: &RateSum, decay: f64, largest: f64) -> Option<Expected> {
        let (exponent, slope) = match self {
            Self::Rate => (-sum.ln_decay(decay), decay),
            Self::Share => (-sum.ln_decay(decay / largest), decay / largest),
            // The doubt is of the sum of the rates, which are the largest at most.
            Self::Square => (decay / largest * sum.squares, 2.0 * decay),
            Self::Momentum => return None,
        };
        let rounding = if exponent > 0.0 { sum.covered as f64 * FACTOR_ROUNDING } else { 0.0 };
        let expected = Expected { exponent, doubt: slope * sum.doubt + rounding };
        (exponent.is_finite() && expected.doubt.is_finite()).then_some(expected)
    }
}

/// Exponents after every update of L2 regularisation under SGD with momentum, with and without Nesterov's step:
/// `v = momentum * v + decay * w`, `w = w - lr * v` (or `w - lr * (decay * w + momentum * v)`). `fresh` says that the
/// momentum begins empty; otherwise it begins as it stands after long training.
#[must_use]
pub fn momentum_exponents(rates: &[f64], decay: f64, momentum: f64, fresh: bool) -> Vec<[f64; 2]> {
    let begin = if fresh { 0.0 } else { decay / (1.0 - momentum) };
    let (mut weights, mut speeds) = ([1.0_f64; 2], [begin; 2]);
    let mut exponents = [0.0_f64; 2];
    let one = |rate: &f64| {
        for nesterov in 0..2 {
            let gradient = decay * weights[nesterov];
            speeds[nesterov] = momentum * speeds[nesterov] + gradient;
            let step = if nesterov == 1 { gradient + momentum * speeds[1] } else { speeds[0] };
            let next = weights[nesterov] - rate * step;
            exponents[nesterov] -= (next / weights[nesterov]).ln();
            // Kept at 1, so that a long run does not vanish.
            speeds[nesterov] /= next;
            weights[nesterov] = 1.0;
        }
        exponents
    };
    rates.iter().map(one).collect()
}

/// What a measurement says of a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// A tenth more or less would not be seen.
    Blind,
    /// Within `tolerance` of the prediction, or 3 standard errors, and the prediction's own doubt.
    Agrees,
    /// Between that and 5 standard errors.
    Unclear,
    /// Beyond.
    Differs,
}

/// Reads a measurement; `tolerance` is a share of the prediction.
#[must_use]
pub fn read(measured: &Shrinkage, expected: &Expected, tolerance: f64) -> Reading {
    let (own, error) = (measured.exponent(), measured.error / measured.ratio);
    let apart = (own - expected.exponent).abs();
    let within = |errors: f64| (tolerance * expected.exponent.abs()).max(errors * error) + expected.doubt;
    if NOTICED * own.abs().max(expected.exponent) <= within(FAR) {
        Reading::Blind
    } else if apart <= within(NEAR) {
        Reading::Agrees
    } else if apart <= within(FAR) {
        Reading::Unclear
    } else {
        Reading::Differs
    }
}

/// The factor between measured and predicted exponents, weighted by their uncertainties, and whether one factor explains
/// all of them. `None` without two figures that can tell.
#[must_use]
pub fn scale(figures: &[(Shrinkage, Expected)], tolerance: f64) -> Option<(f64, bool)> {
    let (mut products, mut squares) = (0.0, 0.0);
    for (measured, expected) in figures {
        let variance = (measured.error / measured.ratio).powi(2)
            + expected.doubt.powi(2)
            + (tolerance * expected.exponent).powi(2)
            + f64::MIN_POSITIVE;
        products += measured.exponent() * expected.exponent / variance;
        squares += expected.exponent * expected.exponent / variance;
    }
    let factor = products / squares;
    if !factor.is_finite() {
        return None;
    }
    let one = figures.iter().all(|(measured, expected)| {
        let scaled = Expected { exponent: factor * expected.exponent, doubt: factor.abs() * expected.doubt };
        read(measured, &scaled, tolerance) != Reading::Differs
    });
    Some((factor, one))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use scratchproof_record::rate_sum;

    /// Normal numbers enough: a sum of twelve uniform ones.
    fn normal(state: &mut u64) -> f64 {
        let mut next = || {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
        };
        (0..12).map(|_| next()).sum()
    }

    fn bf16(value: f64) -> f64 {
        scratchproof_kernel::round(value, scratchproof_kernel::Dtype::Bf16, scratchproof_kernel::Rounding::Nearest)
    }

    fn rows(n: usize, elements: usize, factor: f64, state: &mut u64) -> Vec<RowProducts> {
        (0..n)
            .map(|_| {
                let row: Vec<f64> = (0..elements).map(|_| 0.02 * normal(state)).collect();
                let a: Vec<f64> = row.iter().map(|x| bf16(*x)).collect();
                let b: Vec<f64> = row.iter().map(|x| bf16(*x * factor)).collect();
                RowProducts::new(&a, &b)
            })
            .collect()
    }

    const BF16: [f64; 2] = [1.0 / 25.0 / 16384.0; 2];

    #[test]
    fn the_error_is_that_of_the_rounding() {
        let mut state = 7;
        let mut scores = Vec::new();
        for _ in 0..200 {
            let found = shrinkage(&rows(24, 64, 0.9, &mut state), BF16).unwrap();
            assert_eq!(found.rows, 24);
            assert!((0.6..1.6).contains(&found.excess), "{}", found.excess);
            scores.push((found.ratio - 0.9) / found.error);
        }
        let n = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / n;
        let sd = (scores.iter().map(|s| s * s).sum::<f64>() / n).sqrt();
        assert!(mean.abs() < 0.25 && (0.7..1.2).contains(&sd), "mean {mean}, sd {sd}");
    }

    #[test]
    fn a_tenth_is_seen_and_a_thousandth_is_not() {
        let found = shrinkage(&rows(24, 64, 0.9, &mut 3), BF16).unwrap();
        let exponent = -(0.9_f64.ln());
        for (factor, reading) in [(1.0, Reading::Agrees), (1.001, Reading::Agrees), (1.1, Reading::Differs)] {
            let expected = Expected { exponent: factor * exponent, doubt: 0.0 };
            assert_eq!(read(&found, &expected, 0.002), reading, "{factor}");
        }
        let small = shrinkage(&rows(24, 64, 0.9999, &mut 3), BF16).unwrap();
        assert_eq!(read(&small, &Expected { exponent: 1e-4, doubt: 0.0 }, 0.002), Reading::Blind);
        assert_eq!(read(&found, &Expected { exponent, doubt: 0.02 }, 0.002), Reading::Blind);
        assert!(shrinkage(&[], BF16).is_none());
        assert!(shrinkage(&[RowProducts::new(&[0.0; 8], &[0.0; 8])], BF16).is_none());
    }

    #[test]
    fn what_stood_on_the_grid_moves_late() {
        // By less than half a unit of the last bit of any mantissa: not at all.
        assert!((grid_bias(0.0019, 7) - 0.0019).abs() < 1e-9, "{}", grid_bias(0.0019, 7));
        assert_eq!((grid_bias(0.0, 7), grid_bias(0.01, 23)), (0.0, 0.0));
        for exponent in [0.05, 0.1, 0.3] {
            assert!(grid_bias(exponent, 7) < 3e-4, "{}", grid_bias(exponent, 7));
        }
        let mut state = 11;
        let grid: Vec<f64> = (0..40_000).map(|_| bf16(0.02 * normal(&mut state))).collect();
        for exponent in [0.003_f64, 0.006, 0.0125] {
            let later: Vec<f64> = grid.iter().map(|x| bf16(x * (-exponent).exp())).collect();
            let found = -RowProducts::new(&grid, &later).ratio().unwrap().ln() - exponent;
            assert!(
                found.abs() < 1.3 * grid_bias(exponent, 7) + 1e-4,
                "{exponent}: {found} {}",
                grid_bias(exponent, 7)
            );
        }
    }

    #[test]
    fn laws_are_those_of_their_products() {
        let points: Vec<(i64, f64)> = (0..=1000).map(|s| (s, 1e-3 * (1.0 - s as f64 / 1100.0))).collect();
        let sum = rate_sum(&points, 0, 1000).unwrap();
        let product = |f: &dyn Fn(f64) -> f64| points[1..].iter().map(|(_, rate)| -(1.0 - f(*rate)).ln()).sum::<f64>();
        for (law, reference) in [
            (DecayLaw::Rate, product(&|lr| lr * 0.1)),
            (DecayLaw::Share, product(&|lr| 1e-4 * lr / 1e-3)),
            (DecayLaw::Square, product(&|lr| 0.1 * lr * lr / 1e-3)),
        ] {
            let decay = if law == DecayLaw::Share { 1e-4 } else { 0.1 };
            let expected = law.exponent(&sum, decay, 1e-3).unwrap();
            assert!((expected.exponent / reference - 1.0).abs() < 1e-4, "{law:?} {expected:?} {reference}");
        }
        assert!(DecayLaw::Momentum.exponent(&sum, 0.1, 1e-3).is_none());
        assert!(DecayLaw::Share.exponent(&sum, 0.1, 0.0).is_none());
    }

    #[test]
    fn momentum_shrinks_by_the_gain_of_its_filter() {
        let exponents = momentum_exponents(&vec![0.01; 4000], 1e-3, 0.9, true);
        for (before, after) in exponents[3998].iter().zip(exponents[3999]) {
            let rate = after - before;
            assert!((rate / (0.01 * 1e-3 / 0.1) - 1.0).abs() < 1e-2, "{rate}");
        }
        assert!((momentum_exponents(&[0.01], 1e-3, 0.9, true)[0][0] / 1e-5 - 1.0).abs() < 1e-3);
        assert!((momentum_exponents(&[0.01], 1e-3, 0.9, false)[0][0] / 1e-4 - 1.0).abs() < 1e-3);
        assert!((momentum_exponents(&[0.01; 5], 1e-3, 0.0, true)[4][0] / 5e-5 - 1.0).abs() < 1e-3);
    }

    #[test]
    fn one_scale_is_told_from_many() {
        let figure = |measured: f64, predicted: f64| {
            let ratio = (-measured).exp();
            let shrinkage = Shrinkage { rows: 24, ratio, error: 1e-5, equal: false, cosine: 1.0, excess: 1.0 };
            (shrinkage, Expected { exponent: predicted, doubt: 0.0 })
        };
        let (factor, one) = scale(&[figure(0.11, 0.1), figure(0.22, 0.2), figure(0.055, 0.05)], 0.002).unwrap();
        assert!((factor - 1.1).abs() < 1e-3 && one);
        assert!(!scale(&[figure(0.11, 0.1), figure(0.2, 0.2)], 0.002).unwrap().1);
        assert!(scale(&[], 0.002).is_none() && scale(&[figure(0.1, 0.0)], 0.002).is_none());
    }
}
