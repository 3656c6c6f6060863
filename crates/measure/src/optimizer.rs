//! Optimizer states beside the checkpoints of a series (METHODS 10): joined to the weights and held against them.
//!
//! States of files on this computer only: over a network they are twice the size of the weights.

mod alone;
mod displacements;
mod follow;
mod join;
mod point;

use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::Result;
use scratchproof_measurements::{OptimizerStates, Plan, StatePoint, TokenRows};
use scratchproof_plan::Material;

use point::Point;

/// Reads and measures the states beside the checkpoints of the series. What cannot be read is said and breaks nothing.
///
/// # Errors
/// If a weight cannot be read; the message names the model and the tensor.
pub fn optimizer(plan: &Plan, material: &Material, token_rows: &[TokenRows]) -> Result<OptimizerStates> {
    let series: Vec<&Checkpoint> = material.series.checkpoints.iter().collect();
    let mut all = OptimizerStates::default();
    let mut points: Vec<Point> = Vec::new();
    for (at, checkpoint) in series.iter().enumerate() {
        match Point::open(at, checkpoint) {
            Ok(Some(point)) => points.push(point),
            Ok(None) => {}
            Err(error) => all.unread.push((at, error.to_string())),
        }
    }
    let mut measured: Vec<(StatePoint, &Point)> = Vec::new();
    for point in &mut points {
        join::join(point, &series)?;
    }
    for point in &points {
        match point.measure(plan, &series, token_rows) {
            Ok(figures) => measured.push((figures, point)),
            Err(error) => all.unread.push((point.at, error.to_string())),
        }
    }
    for pair in measured.windows(2) {
        let [(before, from), (after, to)] = pair else { continue };
        match follow::between((before, from), (after, to), &series) {
            Ok(figures) => all.between.push(figures),
            Err(error) => all.unread.push((to.at, error.to_string())),
        }
    }
    all.points = measured.into_iter().map(|(figures, _)| figures).collect();
    Ok(all)
}
