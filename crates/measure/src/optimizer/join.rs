//! Which tensor a state is of: by name where there is one, else by content. torch numbers parameters in the order of its
//! groups, which nothing in the file tells; but the displacement of a tensor goes along its own moments and no other's.

use std::collections::BTreeMap;

use super::point::{FOR_JOINING, Param, Point, weights};
use scratchproof_checkpoint::{Checkpoint, Parameter, TensorRecord, bare_name};
use scratchproof_error::Result;
use scratchproof_kernel::assign;

/// Parameters of one shape that are told apart by content, at most.
const MOST: usize = 1024;

/// Products that telling one shape's parameters apart may cost.
const PRODUCTS: usize = 1 << 30;

/// A join by content is sure from this score in standard errors, and twice the next best.
const SURE: f64 = 5.0;

/// Finds the tensor of every parameter.
pub fn join(point: &mut Point, series: &[&Checkpoint]) -> Result<()> {
    let checkpoint = point.checkpoint;
    let mut classes: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for (at, param) in point.params.iter_mut().enumerate() {
        let Some(shape) = param.state.tensors.values().next().map(|tensor| tensor.shape().to_vec()) else { continue };
        match &param.state.parameter {
            Parameter::Named(name) => {
                let bare = bare_name(name);
                let found = [name.as_str(), &*bare].into_iter().find_map(|name| index(checkpoint, name));
                let found = found.filter(|at| checkpoint.tensors[*at].shape == shape);
                point.strange += u64::from(found.is_none());
                (param.tensor, param.sure) = (found, found.is_some());
            }
            Parameter::Numbered(_) => classes.entry(shape).or_default().push(at),
        }
    }
    for (shape, params) in classes {
        let tensors: Vec<usize> = checkpoint
            .tensors
            .iter()
            .enumerate()
            .filter(|(_, tensor)| tensor.shape == shape)
            .map(|(at, _)| at)
            .collect();
        point.strange += params.len().saturating_sub(tensors.len()) as u64;
        if let ([param], [tensor]) = (params.as_slice(), tensors.as_slice()) {
            let param = &mut point.params[*param];
            (param.tensor, param.sure) = (Some(*tensor), true);
        } else if shape.len() > 1 && !tensors.is_empty() && params.len().max(tensors.len()) <= MOST {
            by_content(point, &params, &tensors, series)?;
        }
    }
    Ok(())
}

fn index(checkpoint: &Checkpoint, name: &str) -> Option<usize> {
    checkpoint.tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name)).ok()
}

/// Elements of even rows: the odd ones are left for the tests.
pub fn even_rows(values: &[f64], row: usize) -> impl Iterator<Item = f64> + '_ {
    values.chunks(row.max(1)).step_by(2).flatten().copied()
}

/// Joins the parameters of one shape so that directions and displacements agree best, by the even rows of their heads.
fn by_content(point: &mut Point, params: &[usize], tensors: &[usize], series: &[&Checkpoint]) -> Result<()> {
    let first = &point.checkpoint.tensors[tensors[0]];
    let (row, all) = (first.shape.last().copied().unwrap_or(1).max(1), first.shape.iter().product::<usize>());
    let size = FOR_JOINING.min(PRODUCTS / (params.len() * tensors.len())).max(2 * row) / row * row;
    let range = 0..size.min(all);
    let mut displacements: Vec<Vec<Vec<f64>>> = Vec::new();
    for tensor in tensors {
        let tensor = &point.checkpoint.tensors[*tensor];
        let own = weights(point.checkpoint, tensor, &range)?;
        let mut both = Vec::new();
        for (other, sign) in neighbours(point.at, series) {
            let Some(there) = alike(series[other], tensor) else { continue };
            let there = weights(series[other], there, &range)?;
            let displacement: Vec<f64> = there.iter().zip(&own).map(|(there, own)| sign * (there - own)).collect();
            both.push(unit(even_rows(&displacement, row).collect()));
        }
        displacements.push(both);
    }
    let mut scores = Vec::with_capacity(params.len() * tensors.len());
    for param in params {
        let Some(direction) = point.params[*param].direction(&range)? else { return Ok(()) };
        let direction = unit(even_rows(&direction, row).collect());
        for both in &displacements {
            scores.push(both.iter().map(|displacement| dot(displacement, &direction)).sum::<f64>());
        }
    }
    #[allow(clippy::cast_possible_truncation, reason = "a score")]
    let short: Vec<f32> = scores.iter().map(|score| *score as f32).collect();
    let found = assign(&short, params.len(), tensors.len());
    let error = 1.0 / (range.len() as f64 / 2.0).sqrt();
    for ((at, found), scores) in params.iter().zip(found).zip(scores.chunks(tensors.len())) {
        let Some(found) = found else { continue };
        let next = scores.iter().enumerate().filter(|(at, _)| *at != found).map(|(_, s)| *s).fold(0.0, f64::max);
        let param: &mut Param = &mut point.params[*at];
        param.tensor = Some(tensors[found]);
        param.sure = scores[found] > SURE * error && scores[found] > 2.0 * next;
    }
    Ok(())
}

/// The checkpoints beside: position, and the sign that makes the difference a displacement forward in time.
pub fn neighbours(at: usize, series: &[&Checkpoint]) -> impl Iterator<Item = (usize, f64)> {
    let before = at.checked_sub(1).map(|before| (before, -1.0));
    let after = Some(at + 1).filter(|after| *after < series.len()).map(|after| (after, 1.0));
    before.into_iter().chain(after)
}

/// The tensor of another checkpoint that has the name and the shape of one.
pub fn alike<'c>(checkpoint: &'c Checkpoint, tensor: &TensorRecord) -> Option<&'c TensorRecord> {
    checkpoint.find(&tensor.name).filter(|other| other.shape == tensor.shape)
}

fn unit(mut values: Vec<f64>) -> Vec<f64> {
    let norm = dot(&values, &values).sqrt();
    if norm > 0.0 && norm.is_finite() {
        for value in &mut values {
            *value /= norm;
        }
    } else {
        values.fill(0.0);
    }
    values
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
