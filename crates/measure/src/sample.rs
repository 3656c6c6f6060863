//! What was drawn of the models, as it is remembered.

use scratchproof_checkpoint::Checkpoint;
use scratchproof_measurements::{FileDigest, Plan, SampleRecord};

/// What was drawn of the models of a case; nothing if they were read whole. Digests of what was read are moved there: they are
/// digests of no file.
pub(super) fn record(plan: &Plan, models: &[&Checkpoint], digests: &mut [Vec<FileDigest>]) -> Option<SampleRecord> {
    let samples: Vec<_> = models.iter().filter_map(|model| model.sample.as_deref()).collect();
    let subject = models.get(plan.last())?.sample.as_deref()?;
    let sum = |of: fn(&(u64, u64)) -> u64| samples.iter().map(|sample| of(&sample.bytes)).sum();
    Some(SampleRecord {
        sampling: subject.sampling,
        tensors: subject.tensors as u64,
        rows: subject.rows,
        heads: !subject.heads.is_empty(),
        bytes: (sum(|bytes| bytes.0), sum(|bytes| bytes.1)),
        drawn: digests.iter_mut().map(std::mem::take).collect(),
    })
}
