//! How much a shape stands for.

/// Elements that the axes of a tensor may stand for, those of length 0 left out: no model has a tensor of a million
/// millions, and sizes made of axes stay far from the ends of a number.
pub(crate) const ELEMENTS: usize = 1 << 40;

/// Bytes of a shape, with room for every sub-shape's.
pub(crate) fn size(shape: &[usize], width: usize) -> Option<usize> {
    let full = shape.iter().filter(|axis| **axis > 0).try_fold(1_usize, |product, axis| product.checked_mul(*axis))?;
    if full > ELEMENTS {
        return None;
    }
    if shape.contains(&0) { Some(0) } else { full.checked_mul(width) }
}
