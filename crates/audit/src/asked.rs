//! What somebody asks for when a case is audited.

use std::hash::{BuildHasher, Hasher};

use scratchproof_case::{Choice, Sampling};

/// What somebody asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// These steps of the series; empty for all.
    pub steps: Vec<i64>,
    /// Every so many of those that are there, the first and the last among them.
    pub every: Option<usize>,
    /// Bytes that may be fetched for the whole case.
    pub most: Option<u64>,
    /// The share of the rows of every large tensor; 1 for all.
    pub share: Option<f64>,
    /// What they are drawn by.
    pub seed: Option<u64>,
}

impl Asked {
    /// Whether something was asked for.
    #[must_use]
    pub fn is_something(&self) -> bool {
        *self != Self::default()
    }

    /// The share of the rows with its seed, if it is not all of them; without a seed one is drawn.
    #[must_use]
    pub fn sampling(&self) -> Option<Sampling> {
        let share = self.share.filter(|share| *share < 1.0)?;
        Some(Sampling { share, seed: self.seed() })
    }

    /// The seed that was given, or one that nobody could know before.
    pub(super) fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| std::hash::RandomState::new().build_hasher().finish() >> 16)
    }

    /// Whether that was asked before.
    pub(super) fn is_as(&self, before: &Choice) -> bool {
        let share = before.sampling.map(|sampling| sampling.share);
        let given = before.most.is_some() && self.share.is_none() || self.share.filter(|s| *s < 1.0) == share;
        let seed = self.seed.is_none_or(|seed| before.sampling.is_some_and(|sampling| sampling.seed == seed));
        (&self.steps, self.every, self.most) == (&before.steps, before.every, before.most) && given && seed
    }
}
