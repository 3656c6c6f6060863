//! The displacements to and from a checkpoint against the direction that its states give.

use std::ops::Range;

use rayon::prelude::*;

use super::join::{alike, neighbours};
use super::point::{Param, Point, chunks, first, weights};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::Result;
use scratchproof_measurements::StateDisplacement;

/// Sums over rows.
#[derive(Clone, Copy, Default)]
struct Sums {
    product: f64,
    displacement2: f64,
    direction2: f64,
    error2: f64,
    elements: u64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.product += other.product;
        self.displacement2 += other.displacement2;
        self.direction2 += other.direction2;
        self.error2 += other.error2;
        self.elements += other.elements;
    }
}

/// The displacement in and the displacement out.
pub fn displacements(point: &Point, series: &[&Checkpoint]) -> Result<[Option<StateDisplacement>; 2]> {
    let mut both = [None, None];
    for (other, sign) in neighbours(point.at, series) {
        let parts: Vec<Sums> = point
            .params
            .par_iter()
            .map(|param| {
                let mut sums = Sums::default();
                for range in ranges(point, param) {
                    sums.add(&of(point, param, series[other], sign, &range)?);
                }
                Ok(sums)
            })
            .collect::<Result<_>>()?;
        let mut sums = Sums::default();
        for part in &parts {
            sums.add(part);
        }
        let finite = sums.product.is_finite() && sums.displacement2.is_finite() && sums.direction2.is_finite();
        both[usize::from(sign > 0.0)] = (sums.elements > 0 && finite).then(|| StateDisplacement {
            other,
            product: sums.product,
            displacement2: sums.displacement2,
            direction2: sums.direction2,
            error: sums.error2.sqrt(),
            elements: sums.elements,
        });
    }
    Ok(both)
}

fn ranges(point: &Point, param: &Param) -> Vec<Range<usize>> {
    let tensor = param.tensor.map(|at| &point.checkpoint.tensors[at]);
    match (tensor, first(param)) {
        (Some(tensor), Some(m)) if tensor.shape.len() > 1 => {
            // Two rows at a time, so that odd ones stay odd.
            chunks(m, 2 * tensor.shape.last().copied().unwrap_or(1))
        }
        _ => Vec::new(),
    }
}

/// One range of one parameter, by its odd rows: even ones may have joined it to its tensor.
fn of(point: &Point, param: &Param, other: &Checkpoint, sign: f64, range: &Range<usize>) -> Result<Sums> {
    let mut sums = Sums::default();
    let Some(tensor) = param.tensor.map(|at| &point.checkpoint.tensors[at]) else { return Ok(sums) };
    let (Some(there), Some(direction)) = (alike(other, tensor), param.direction(range)?) else { return Ok(sums) };
    let (own, there) = (weights(point.checkpoint, tensor, range)?, weights(other, there, range)?);
    let row = tensor.shape.last().copied().unwrap_or(1).max(1);
    let rows = own.chunks(row).zip(there.chunks(row)).zip(direction.chunks(row));
    for ((own, there), direction) in rows.skip(1).step_by(2) {
        let mut product = 0.0;
        for ((own, there), direction) in
            own.iter().zip(there).zip(direction).filter(|(_, direction)| **direction != 0.0)
        {
            let displacement = sign * (there - own);
            product += displacement * direction;
            sums.displacement2 += displacement * displacement;
            sums.direction2 += direction * direction;
            sums.elements += 1;
        }
        sums.product += product;
        sums.error2 += product * product;
    }
    Ok(sums)
}
