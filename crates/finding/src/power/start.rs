//! The start: in how much of it a trained matrix would have shown.

use super::StartPower;
use crate::{Condition, Judgement};
use scratchproof_evidence::StartRow;
use scratchproof_measurements::Replay;
use scratchproof_texts::text;

/// Parameters in matrices of which something is known, at least.
const REACHED: f64 = 0.9;

/// The share of the parameters that lie in matrices whose spectrum was tested, or which are nothing but zeros, ones or the
/// like. The spectrum of a matrix is tested only where rank one would show at all; 20 steps of training leave a singular value
/// of 10 edges and more, and a fifth of a trained matrix is seen from hidden size 64 on (methods.md).
#[must_use]
pub fn start(rows: &[StartRow], parameters: u64, replay: &Replay) -> StartPower {
    if matches!(replay, Replay::Done(_, replayed) if replayed.whole()) {
        return StartPower { reached: 1.0 };
    }
    let named = |row: &StartRow| {
        row.scheme.as_deref().is_some_and(|s| ["zero", "constant", "identity", "orthogonal"].contains(&s))
    };
    let reached = rows.iter().filter(|row| row.edge_log10_p.is_some() || named(row)).map(|row| row.elements);
    let reached: u64 = reached.sum();
    StartPower { reached: if parameters > 0 { (reached as f64 / parameters as f64).min(1.0) } else { 0.0 } }
}

impl StartPower {
    /// A start that holds although most of it was not looked at is untested. `unknown` are tensors without a known function.
    pub fn settle(&self, judgement: &mut Judgement, unknown: usize) {
        if judgement.condition == Condition::Holds && self.reached < REACHED {
            judgement.condition = Condition::Untested;
            judgement.missing.push(text!("power/start/missing", reached = self.reached, unknown));
            judgement.said = text!("power/start/little", reached = self.reached);
        }
    }
}
