//! What was added between two checkpoints, and the first checkpoint, held against a reference as the final model is (METHODS 2.1, 3
//! and 11).
//!
//! A model put into a training half-way fades: **measured** at hidden size 64, a parent in disguise that was added at half its
//! size after 100 or 200 of 600 steps correlates with the final checkpoint by 0.35 and 0.36, and with what the interval added
//! by 0.63 and 0.62. What an honest interval adds are gradients, which know nothing of another model's neurons, heads or axis, so
//! the nulls of the questions are the same.

use super::injections::BUDGET;
use super::search::between;
use super::weights::Weights;
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::Result;
use scratchproof_measurements::{Observation, SearchRules};

/// One reference, opened to be held against what many intervals added.
pub struct Movements<'a> {
    reference: &'a Checkpoint,
    opened: Option<Weights<'a>>,
}

impl<'a> Movements<'a> {
    /// Opens it.
    ///
    /// # Errors
    /// If norm weights cannot be read.
    pub fn new(reference: &'a Checkpoint) -> Result<Self> {
        let opened = Weights::new(reference)?.map(|weights| weights.within(BUDGET));
        Ok(Self { reference, opened })
    }

    /// What the search says of what was added between two checkpoints. As far as the search looks for a parent that was made
    /// up to be found; where that shows anything, as far as it looks at the final checkpoint.
    ///
    /// # Errors
    /// If weights cannot be read.
    pub fn between(&self, earlier: &Checkpoint, later: &Checkpoint, rules: &SearchRules) -> Result<Vec<Observation>> {
        self.asked(&|| Weights::added(earlier, later), rules)
    }

    /// The same of a checkpoint as it is: the first, in which a parent that a training began with is forgotten least.
    ///
    /// # Errors
    /// If weights cannot be read.
    pub fn within(&self, checkpoint: &Checkpoint, rules: &SearchRules) -> Result<Vec<Observation>> {
        self.asked(&|| Weights::new(checkpoint), rules)
    }

    fn asked<'w>(
        &self,
        open: &dyn Fn() -> Result<Option<Weights<'w>>>,
        rules: &SearchRules,
    ) -> Result<Vec<Observation>> {
        let (Some(own), Some(other)) = (open()?, &self.opened) else { return Ok(Vec::new()) };
        let own = own.within(BUDGET);
        let first = between(&own, other, None, rules)?.observations;
        if !first.iter().any(|answer| answer.log10_p <= rules.shown_log10_p) {
            return Ok(whole(first));
        }
        let (Some(own), Some(other)) = (open()?, Weights::new(self.reference)?) else { return Ok(whole(first)) };
        Ok(whole(between(&own, &other, None, rules)?.observations))
    }
}

/// The answers that are not of single layers.
fn whole(all: Vec<Observation>) -> Vec<Observation> {
    all.into_iter().filter(|answer| answer.layer_subject.is_none()).collect()
}
