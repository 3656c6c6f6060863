//! What a checkpoint keeps of an earlier one.

use std::collections::BTreeMap;

use super::matrix::narrow;
use scratchproof_checkpoint::{Checkpoint, Part};
use scratchproof_error::{Context, Result};

/// The checkpoint that something was added to.
pub struct Earlier<'a> {
    checkpoint: &'a Checkpoint,
    parts: BTreeMap<Key, Part>,
}

/// What a part is: its tower, family, layer and expert.
type Key = (String, String, Option<u32>, Option<u32>);

fn key(part: &Part) -> Key {
    (part.role.tower.clone(), part.role.family.clone(), part.role.layer, part.role.expert)
}

impl<'a> Earlier<'a> {
    pub fn new(checkpoint: &'a Checkpoint) -> Self {
        let mut parts = BTreeMap::new();
        for part in checkpoint.parts() {
            parts.entry(key(&part)).or_insert(part);
        }
        Self { checkpoint, parts }
    }

    /// Takes from these rows of a part what they keep of the earlier rows: the multiple of those that leaves the least. `false`
    /// where the earlier checkpoint has no such part.
    pub fn leave(&self, part: &Part, rows: &[usize], values: &mut [f32]) -> Result<bool> {
        let own = self.parts.get(&key(part)).filter(|own| (own.rows, own.cols) == (part.rows, part.cols));
        let Some(own) = own else { return Ok(false) };
        let before = self.checkpoint.rows_of(own, rows).context(|| self.checkpoint.uri.clone())?;
        let (mut both, mut alone) = (0.0, 0.0);
        for (now, then) in values.iter().zip(&before) {
            let then = f64::from(*then);
            both += f64::from(*now) * then;
            alone += then * then;
        }
        let kept = if alone > 0.0 { narrow(both / alone) } else { 0.0 };
        values.iter_mut().zip(&before).for_each(|(now, then)| *now -= kept * then);
        Ok(true)
    }
}
