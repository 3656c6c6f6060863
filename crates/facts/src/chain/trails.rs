//! The trail of one tensor.

use scratchproof_measurements::TensorFigures;
use scratchproof_stats::Trail;

/// The trail of one tensor, if it is finite throughout.
pub fn trail_of(points: usize, figures: &TensorFigures) -> Option<Trail> {
    let mut trail = Trail::new(points);
    trail.add(&figures.gram);
    (trail.elements() > 0).then_some(trail)
}
