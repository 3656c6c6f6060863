//! The laws of learning rates that schedules are made of.

/// A law of the learning rate over the steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RateLaw {
    /// The same rate.
    Constant {
        /// The rate.
        rate: f64,
    },
    /// `at + slope * step`.
    Linear {
        /// Rate at step 0.
        at: f64,
        /// Change a step.
        slope: f64,
    },
    /// `exp(at + slope * step)`.
    Exponential {
        /// Logarithm of the rate at step 0.
        at: f64,
        /// Its change a step.
        slope: f64,
    },
    /// `1 / sqrt(at + slope * step)`, the inverse square root of a shifted step.
    InverseSqrt {
        /// Inverse square of the rate at step 0.
        at: f64,
        /// Its change a step.
        slope: f64,
    },
    /// `middle + cosine * cos(turn * step) + sine * sin(turn * step)`, steps from `origin`.
    Cosine {
        /// The mean of largest and smallest.
        middle: f64,
        /// Amplitude of the cosine.
        cosine: f64,
        /// Amplitude of the sine.
        sine: f64,
        /// Radians a step; half a period is `PI / turn` steps.
        turn: f64,
        /// The step that counts as 0.
        origin: f64,
    },
}

impl RateLaw {
    /// The rate at a step; not a number where the law has none.
    #[must_use]
    pub fn at(&self, step: f64) -> f64 {
        match *self {
            Self::Constant { rate } => rate,
            Self::Linear { at, slope } => at + slope * step,
            Self::Exponential { at, slope } => (at + slope * step).exp(),
            Self::InverseSqrt { at, slope } => (at + slope * step).sqrt().recip(),
            Self::Cosine { middle, cosine, sine, turn, origin } => {
                let (s, c) = (turn * (step - origin)).sin_cos();
                middle + cosine * c + sine * s
            }
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Constant { .. } => "constant",
            Self::Linear { .. } => "linear",
            Self::Exponential { .. } => "exponential",
            Self::InverseSqrt { .. } => "inverse square root",
            Self::Cosine { .. } => "cosine",
        }
    }

    /// Largest and smallest rate of a cosine.
    #[must_use]
    pub fn extremes(&self) -> Option<(f64, f64)> {
        match *self {
            Self::Cosine { middle, cosine, sine, .. } => {
                let amplitude = cosine.hypot(sine);
                Some((middle + amplitude, middle - amplitude))
            }
            _ => None,
        }
    }

    /// Its number among the kinds.
    pub(crate) fn kind(&self) -> usize {
        match self {
            Self::Constant { .. } => 0,
            Self::Linear { .. } => 1,
            Self::Exponential { .. } => 2,
            Self::InverseSqrt { .. } => 3,
            Self::Cosine { .. } => 4,
        }
    }

    /// Parameters that were fitted.
    pub(crate) fn free(&self) -> usize {
        match self {
            Self::Constant { .. } => 1,
            Self::Cosine { .. } => 4,
            _ => 2,
        }
    }
}
