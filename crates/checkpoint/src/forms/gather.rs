//! Elements that do not stand one after the other.

use crate::shape::size;
use scratchproof_error::{Error, Result};
use scratchproof_source::Blob;
use scratchproof_texts::text;

/// Bytes that are read at once for a part of a strided tensor.
const SPAN: usize = 64 << 20;

/// Elements from the first to behind the last of a view; 0 for an empty one. `None` if that overflows.
pub(super) fn extent(shape: &[usize], strides: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    let axes = shape.iter().zip(strides);
    axes.into_iter().try_fold(1_usize, |sum, (axis, stride)| sum.checked_add((axis - 1).checked_mul(*stride)?))
}

/// Whether the elements stand one after the other.
pub(super) fn contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1_usize;
    for (axis, stride) in shape.iter().zip(strides).rev() {
        if *axis != 1 && *stride != expected {
            return shape.contains(&0);
        }
        expected = expected.saturating_mul(*axis);
    }
    true
}

/// The elements of a view in order, outermost axis first.
///
/// # Errors
/// If the bytes cannot be read.
pub(super) fn strided(
    blob: &dyn Blob,
    offset: u64,
    shape: &[usize],
    strides: &[usize],
    width: usize,
) -> Result<Vec<u8>> {
    let bytes =
        size(shape, width).ok_or_else(|| Error::input(text!("error-checkpoint/deepspeed/shape-overflows-2")))?;
    let mut out = Vec::with_capacity(bytes);
    part(blob, offset, shape, strides, width, &mut out)?;
    Ok(out)
}

fn part(
    blob: &dyn Blob,
    offset: u64,
    shape: &[usize],
    strides: &[usize],
    width: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    let span = extent(shape, strides).and_then(|extent| extent.checked_mul(width));
    let span = span.ok_or_else(|| Error::input(text!("error-checkpoint/gather/strides-overflow")))?;
    match (shape, strides) {
        _ if span == 0 => Ok(()),
        ([axis, shape @ ..], [stride, strides @ ..]) if span > SPAN => {
            for i in 0..*axis {
                part(blob, offset + (i * stride * width) as u64, shape, strides, width, out)?;
            }
            Ok(())
        }
        _ => {
            let bytes = blob.bytes(offset, span)?;
            copy(&bytes, shape, strides, width, out);
            Ok(())
        }
    }
}

/// Copies a view that begins with the first byte. Depth: one call for each axis.
fn copy(bytes: &[u8], shape: &[usize], strides: &[usize], width: usize, out: &mut Vec<u8>) {
    match (shape, strides) {
        ([axis], [1]) => out.extend_from_slice(&bytes[..axis * width]),
        ([axis, shape @ ..], [stride, strides @ ..]) => {
            for i in 0..*axis {
                copy(&bytes[i * stride * width..], shape, strides, width, out);
            }
        }
        _ => out.extend_from_slice(&bytes[..width]),
    }
}

/// Puts the block `from`, of the shape `block`, at the place `at` of `whole`, whose shape is `shape`.
pub(super) fn place(whole: &mut [u8], shape: &[usize], from: &[u8], block: &[usize], at: &[usize], width: usize) {
    match (shape, block, at) {
        ([_], [length], [at]) => {
            whole[at * width..(at + length) * width].copy_from_slice(&from[..length * width]);
        }
        ([_, shape @ ..], [rows, block @ ..], [first, at @ ..]) => {
            let step = shape.iter().product::<usize>() * width;
            let size = block.iter().product::<usize>() * width;
            for row in 0..*rows {
                let whole = &mut whole[(first + row) * step..(first + row + 1) * step];
                place(whole, shape, &from[row * size..(row + 1) * size], block, at, width);
            }
        }
        _ => whole[..width].copy_from_slice(&from[..width]),
    }
}
