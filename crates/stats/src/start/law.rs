//! The laws that weights are drawn from, and how well a sample follows one on whatever grid it is stored (METHODS 4).

use std::f64::consts::{FRAC_1_SQRT_2, LN_2, LN_10};

use statrs::function::erf::erfc;

use scratchproof_kernel::Rank;

/// The laws that models are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// Normal.
    Normal,
    /// Normal, cut at two standard deviations.
    TruncatedNormal,
    /// Normal, cut at three standard deviations.
    TruncatedNormal3,
    /// Uniform about zero.
    Uniform,
}

impl Law {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Normal, Self::TruncatedNormal3, Self::TruncatedNormal, Self::Uniform];

    /// The name the case file uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::TruncatedNormal => "truncated-normal",
            Self::TruncatedNormal3 => "truncated-normal-3",
            Self::Uniform => "uniform",
        }
    }

    /// Of a name that [`Self::name`] gives.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|law| law.name() == name)
    }

    /// Where the normal law is cut, in its standard deviations before the cut.
    fn cut(self) -> Option<f64> {
        match self {
            Self::TruncatedNormal => Some(2.0),
            Self::TruncatedNormal3 => Some(3.0),
            Self::Normal | Self::Uniform => None,
        }
    }

    /// Largest possible value, in standard deviations of what is drawn.
    fn bound(self) -> Option<f64> {
        if self == Self::Uniform { Some(3f64.sqrt()) } else { self.cut().map(|c| c / self.kept()) }
    }

    /// Standard deviation of what is drawn, over that of the normal law before the cut:
    /// sqrt(1 - 2 c phi(c) / (2 Phi(c) - 1)), 0.8796 and 0.9866.
    #[must_use]
    pub fn kept(self) -> f64 {
        self.cut().map_or(1.0, |c| {
            let density = (-c * c / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            (1.0 - 2.0 * c * density / (1.0 - 2.0 * below(-c))).sqrt()
        })
    }

    /// Probability of a value below `x` standard deviations of the law itself.
    #[must_use]
    pub fn cdf(self, x: f64) -> f64 {
        match (self, self.cut()) {
            (Self::Uniform, _) => (0.5 + x / 12f64.sqrt()).clamp(0.0, 1.0),
            (_, None) => below(x),
            (_, Some(c)) => {
                let tail = below(-c);
                ((below((x * self.kept()).clamp(-c, c)) - tail) / (1.0 - 2.0 * tail)).clamp(0.0, 1.0)
            }
        }
    }
}

/// The normal distribution function.
fn below(x: f64) -> f64 {
    erfc(-x * FRAC_1_SQRT_2) / 2.0
}

/// ln of the probability of the counts between the levels if the values follow `law` with standard deviation `std`, or
/// with the larger one that lets the largest value happen at all.
#[must_use]
pub fn ln_likelihood(levels: &[Rank], std: f64, law: Law) -> f64 {
    let (Some(last), bound) = (levels.last(), law.bound()) else { return 0.0 };
    let std = bound.map_or(std, |bound| std.max(last.at / bound));
    let between = levels.windows(2).map(|pair| {
        let share = law.cdf(pair[1].at / std) - law.cdf(pair[0].at / std);
        (pair[1].below - pair[0].below) as f64 * share.max(1e-9).ln()
    });
    between.sum()
}

/// A sample against a law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Largest difference of the two distribution functions (Kolmogorov and Smirnov) over the levels.
    pub distance: f64,
    /// log10 of its probability, by Kolmogorov's limit with Stephens' correction for finite samples. The levels are few
    /// and lie between the values of the grid, so the true one is not smaller.
    pub log10_p: f64,
}

/// Tests whether the values follow `law` with standard deviation `std`. `None` for fewer than 8 values.
#[must_use]
pub fn fit(levels: &[Rank], std: f64, law: Law) -> Option<Fit> {
    let n = levels.last()?.below as f64;
    if n < 8.0 || !std.is_normal() {
        return None;
    }
    let distance =
        levels.iter().map(|level| (level.below as f64 / n - law.cdf(level.at / std)).abs()).fold(0.0, f64::max);
    Some(Fit { distance, log10_p: log10_kolmogorov((n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance) })
}

/// log10 P(sqrt(n) D > t) for large n: 2 sum (-1)^(k-1) exp(-2 k^2 t^2).
#[must_use]
pub fn log10_kolmogorov(t: f64) -> f64 {
    if t < 0.3 {
        return 0.0;
    }
    if t > 4.0 {
        return (LN_2 - 2.0 * t * t) / LN_10;
    }
    let terms = (1..=20).map(|k| {
        let sign = if k % 2 == 1 { 1.0 } else { -1.0 };
        sign * (-2.0 * f64::from(k * k) * t * t).exp()
    });
    (2.0 * terms.sum::<f64>()).clamp(0.0, 1.0).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distribution_functions_and_tails_agree_with_scipy() {
        // scipy.stats: norm.cdf, truncnorm(-c, c, scale=1/truncnorm.std(-c, c)).cdf, uniform(-sqrt(3), 2 sqrt(3)).cdf
        let expected = [
            (Law::Normal, [0.691_462_461_3, 0.933_192_798_7, 0.977_249_868_1]),
            (Law::TruncatedNormal3, [0.689_607_771_8, 0.931_711_238_9, 0.977_049_084_1]),
            (Law::TruncatedNormal, [0.678_065_699_3, 0.925_865_722_5, 0.982_695_350_5]),
            (Law::Uniform, [0.644_337_567_3, 0.933_012_701_9, 1.0]),
        ];
        for (law, values) in expected {
            for (x, value) in [0.5, 1.5, 2.0].into_iter().zip(values) {
                assert!((law.cdf(x) - value).abs() < 2e-9, "{law:?} {x}: {} against {value}", law.cdf(x));
                assert!((law.cdf(-x) + law.cdf(x) - 1.0).abs() < 1e-12);
            }
        }
        assert!((Law::TruncatedNormal.kept() - 0.879_625_661).abs() < 1e-8);
        // scipy.special.kolmogorov
        for (t, p) in [(0.5, 0.963_945_243_6), (1.0, 0.269_999_671_7), (1.5, 0.022_217_963), (3.0, 3.045_995_949e-8)] {
            assert!((log10_kolmogorov(t) - f64::log10(p)).abs() < 1e-6, "{t}");
        }
        assert!((log10_kolmogorov(10.0) + 86.557_866).abs() < 1e-5);
    }

    #[test]
    fn too_little_and_nothing_are_no_fit() {
        assert_eq!(fit(&[], 1.0, Law::Normal), None);
        let levels = [Rank { at: -1.0, below: 0 }, Rank { at: 1.0, below: 7 }];
        assert_eq!(fit(&levels, 1.0, Law::Normal), None);
        assert_eq!(fit(&[Rank { at: 1.0, below: 70 }], 0.0, Law::Normal), None);
    }
}
