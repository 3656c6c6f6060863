//! The declared start drawn again, as rows of evidence.

use scratchproof_evidence::ReplayRow;
use scratchproof_measurements::{Replay, TensorReplay};

/// One row a tensor.
pub fn rows(replay: &Replay) -> Vec<ReplayRow> {
    let Replay::Done(_, replayed) = replay else { return Vec::new() };
    let row = |t: &TensorReplay| ReplayRow {
        tensor: t.tensor.clone(),
        component: t.component.clone(),
        elements: t.elements,
        drawn: t.drawn,
        constant: t.constant,
        equal: t.equal,
        share: (t.elements > 0).then(|| t.equal as f64 / t.elements as f64),
        within_ulp: t.within_ulp,
        explained: t.explained,
        generator: replayed.generator.clone(),
        variant: replayed.variant.clone(),
    };
    replayed.tensors.iter().map(row).collect()
}
