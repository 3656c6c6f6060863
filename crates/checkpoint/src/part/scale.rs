//! Scales of 8-bit weights: the stored numbers times the scale of their block are the weights.
//!
//! A block is a rectangle (DeepSeek: 128 x 128), a row, a matrix of a stack, or the whole tensor. `weight_scale_inv` and
//! `weight_scale` are both multiplied: the former is the inverse of the scale that was used when storing.

use std::ops::Range;

use super::super::forms::quantised::{SCALES, power};
use super::super::header::quoted;
use super::super::{Checkpoint, Dtype, TensorRecord};
use scratchproof_error::{Context, Error, Result};
use scratchproof_kernel::decode;
use scratchproof_texts::text;

/// Rows and columns of a block where nothing else is said and the shapes allow it (DeepSeek-V3).
const BLOCK: usize = 128;

/// The scales of one tensor.
#[derive(Debug)]
pub(super) struct Scales {
    values: Vec<f64>,
    grid: Grid,
}

/// How scales lie over a stack of matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grid {
    /// Rows and columns of one matrix of the tensor.
    rows: usize,
    cols: usize,
    /// Rows and columns of a block.
    height: usize,
    width: usize,
    /// Scales for one matrix: rows and columns.
    down: usize,
    across: usize,
    /// Whether each matrix of the stack has its own.
    stacked: bool,
}

/// Whether a tensor is the scales of another one in the same model.
pub(super) fn is_scale(checkpoint: &Checkpoint, tensor: &TensorRecord) -> bool {
    SCALES.iter().any(|suffix| {
        let weight = tensor.name.strip_suffix(suffix).and_then(|name| checkpoint.find(name));
        weight.is_some_and(is_scalable)
    })
}

/// Whether a tensor has scales.
pub(super) fn is_scaled(checkpoint: &Checkpoint, tensor: &TensorRecord) -> bool {
    record(checkpoint, tensor).is_some()
}

/// Formats too coarse to hold weights as they are.
fn is_scalable(tensor: &TensorRecord) -> bool {
    tensor.dtype.width() == 1
}

fn record<'a>(checkpoint: &'a Checkpoint, tensor: &TensorRecord) -> Option<&'a TensorRecord> {
    if !is_scalable(tensor) {
        return None;
    }
    SCALES.iter().find_map(|suffix| checkpoint.find(&format!("{}{suffix}", tensor.name)))
}

/// Whether the scales of a tensor, if it has any, fit its shape.
pub(super) fn check(checkpoint: &Checkpoint, tensor: &TensorRecord) -> Result<()> {
    record(checkpoint, tensor).map_or(Ok(()), |scale| Grid::of(checkpoint, tensor, scale).map(|_| ()))
}

/// The scales of a tensor, if it has any.
pub(super) fn read(checkpoint: &Checkpoint, tensor: &TensorRecord) -> Result<Option<Scales>> {
    let Some(scale) = record(checkpoint, tensor) else { return Ok(None) };
    let grid = Grid::of(checkpoint, tensor, scale)?;
    let mut values = vec![0.0; scale.elements()];
    let bytes = checkpoint.read(scale).context(|| scale.name.clone())?;
    if scale.dtype == Dtype::U8 {
        // A byte is a power of two, as beside any eight-bit float.
        values.iter_mut().zip(&*bytes).for_each(|(value, code)| *value = power(*code));
    } else {
        decode(scale.dtype, &bytes, &mut values);
    }
    Ok(Some(Scales { values, grid }))
}

impl Scales {
    /// Multiplies the elements of the tensor in `span` by their scales.
    pub(super) fn apply(&self, span: Range<usize>, elements: &mut [f64]) {
        let Grid { rows, cols, height, width, down, across, stacked } = self.grid;
        let mut at = span.start;
        let mut rest = elements;
        // A run inside one row and one block has one scale.
        while !rest.is_empty() {
            let (row, col) = (at / cols, at % cols);
            let first = if stacked { row / rows * down * across } else { 0 };
            let scale = self.values[first + row % rows / height * across + col / width];
            let run = (width - col % width).min(cols - col).min(rest.len());
            let (now, later) = rest.split_at_mut(run);
            for value in now {
                *value *= scale;
            }
            rest = later;
            at += run;
        }
    }
}

impl Grid {
    /// Decides by the shapes; where they leave a choice, by the block size in config.json, then by the usual one.
    fn of(checkpoint: &Checkpoint, tensor: &TensorRecord, scale: &TensorRecord) -> Result<Self> {
        let (outer, rows, cols) = match &tensor.shape[..] {
            [] => (1, 1, 1),
            [cols] => (1, 1, *cols),
            [outer @ .., rows, cols] => (outer.iter().product(), *rows, *cols),
        };
        let refused = || {
            let (name, shape) = (quoted(&scale.name), &scale.shape);
            Error::input(text!(
                "error-checkpoint/scale/scales-shape-do-not",
                name,
                shape = format!("{shape:?}"),
                shape_2 = format!("{:?}", tensor.shape)
            ))
        };
        let plain = Self { rows, cols, height: rows, width: cols, down: 1, across: 1, stacked: false };
        if tensor.elements() == 0 || scale.elements() == 0 {
            return Err(refused());
        }
        if scale.elements() == 1 {
            return Ok(plain);
        }
        let (own, down, across) = match &scale.shape[..] {
            [length] if *length == rows && outer == 1 => (1, rows, 1),
            [length] if *length == outer => (outer, 1, 1),
            [own @ .., down, across] => (own.iter().product(), *down, *across),
            _ => return Err(refused()),
        };
        let block = checkpoint.config.as_ref().and_then(|config| {
            let size = config.get("quantization_config")?.get("weight_block_size")?;
            let number = |i: usize| usize::try_from(size.get(i)?.as_u64()?).ok();
            Some((number(0)?, number(1)?))
        });
        let (height, width) = (block.map(|block| block.0), block.map(|block| block.1));
        let grid = Self {
            height: step(rows, down, height).ok_or_else(refused)?,
            width: step(cols, across, width).ok_or_else(refused)?,
            down,
            across,
            stacked: own > 1,
            ..plain
        };
        if own == 1 || own == outer { Ok(grid) } else { Err(refused()) }
    }
}

/// The length of a block of which `count` cover `length`.
fn step(length: usize, count: usize, asked: Option<usize>) -> Option<usize> {
    let fits = |step: &usize| *step > 0 && length.div_ceil(*step) == count;
    if count == 1 {
        return Some(length);
    }
    let even = length.checked_div(count).filter(|step| step * count == length);
    asked
        .filter(fits)
        .or_else(|| Some(BLOCK).filter(fits))
        .or(even)
        .or_else(|| Some(length.div_ceil(count)))
        .filter(fits)
}
