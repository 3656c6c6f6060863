//! Tensors that are put together from parts in several files, and parts of tensors as tensors of their own.

use std::sync::Arc;

use super::zip::Slice;
use super::{Catalogue, Entry, Place, gather};
use crate::header::quoted;
use crate::shape::size;
use crate::{Dtype, Shard};
use scratchproof_error::{Error, Result};
use scratchproof_source::{Blob, MemoryFile};
use scratchproof_texts::text;

/// Files of several archives, with entries that know their place in them.
#[derive(Default)]
pub(super) struct Files {
    pub(super) shards: Vec<Shard>,
}

impl Files {
    /// Takes over an archive's files; its entries are shifted to their new numbers.
    pub(super) fn take(&mut self, catalogue: &mut Catalogue) {
        let first = self.shards.len();
        self.shards.append(&mut catalogue.files);
        for entry in &mut catalogue.entries {
            match &mut entry.place {
                Place::Run { file, .. } | Place::Strided { file, .. } => *file += first,
                Place::Made(_) => {}
            }
        }
    }

    /// The files as they are shared with what is made of them.
    pub(super) fn shared(&self) -> Arc<[Shard]> {
        self.shards.clone().into()
    }
}

/// A block of a tensor: where it begins along each axis, and its elements.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) at: Vec<usize>,
    pub(super) entry: Entry,
}

/// A tensor of several blocks that fill it without a hole.
///
/// # Errors
/// If a block lies outside, has another number format, or they do not fill the tensor.
pub(super) fn assembled(
    name: &str,
    dtype: Dtype,
    shape: &[usize],
    blocks: Vec<Block>,
    files: &Arc<[Shard]>,
) -> Result<Entry> {
    let shown = quoted(name);
    let mut covered = 0_usize;
    for Block { at, entry } in &blocks {
        let inside = at.len() == shape.len()
            && entry.shape.len() == shape.len()
            && at
                .iter()
                .zip(&entry.shape)
                .zip(shape)
                .all(|((at, length), axis)| at.checked_add(*length).is_some_and(|end| end <= *axis));
        if !inside || entry.dtype != dtype {
            return Err(Error::input(text!(
                "error-checkpoint/parts/tensor-shape-part-shape",
                shown,
                shape = format!("{shape:?}"),
                dtype = dtype.to_string(),
                shape_2 = format!("{:?}", entry.shape),
                dtype_2 = entry.dtype.to_string(),
                at = format!("{at:?}")
            )));
        }
        covered = covered.saturating_add(entry.shape.iter().product());
    }
    let whole = size(shape, dtype.width()).ok_or_else(|| {
        Error::input(text!("error-checkpoint/parts/shape-overflows", shape = format!("{shape:?}"), shown = &shown))
    })?;
    if covered != whole / dtype.width() {
        return Err(Error::input(text!(
            "error-checkpoint/parts/parts-tensor-elements-but",
            shown,
            covered,
            shape = format!("{shape:?}"),
            all = whole / dtype.width()
        )));
    }
    if let [Block { entry, .. }] = &blocks[..] {
        return Ok(Entry { name: name.to_owned(), ..entry.clone() });
    }
    let (files, shape) = (Arc::clone(files), shape.to_vec());
    let own = shape.clone();
    let make = move || {
        let mut out = vec![0; whole];
        for Block { at, entry } in &blocks {
            if whole > 0 && !entry.shape.contains(&0) {
                gather::place(&mut out, &own, &entry.read(&files)?, &entry.shape, at, dtype.width());
            }
        }
        Ok(out)
    };
    Ok(Entry { name: name.to_owned(), dtype, shape, place: Place::Made(Arc::new(make)) })
}

/// Parts of one tensor, one after the other along an axis.
///
/// # Errors
/// If they do not fit together.
pub(super) fn joined(name: &str, parts: Vec<Entry>, axis: usize, files: &Arc<[Shard]>) -> Result<Entry> {
    let first = parts.first().ok_or_else(|| Error::input(text!("error-checkpoint/megatron/tensor-no-parts")))?;
    let (dtype, mut shape) = (first.dtype, first.shape.clone());
    if axis >= shape.len() {
        return Err(Error::input(text!("error-checkpoint/parts/tensor-no-axis-joined", name = quoted(name))));
    }
    let mut end = 0;
    let mut blocks = Vec::with_capacity(parts.len());
    for entry in parts {
        let mut at = vec![0; shape.len()];
        at[axis] = end;
        end += entry.shape.get(axis).copied().unwrap_or(0);
        blocks.push(Block { at, entry });
    }
    shape[axis] = end;
    assembled(name, dtype, &shape, blocks, files)
}

/// A view of a tensor: `view` with `strides` from element `offset` of its elements in order, as a tensor of `shape`.
///
/// # Errors
/// If the view leaves the tensor.
pub(super) fn viewed(
    whole: &Entry,
    name: &str,
    offset: usize,
    (view, strides): (&[usize], &[usize]),
    shape: &[usize],
    files: &Arc<[Shard]>,
) -> Result<Entry> {
    let (elements, dtype) = (whole.shape.iter().product::<usize>(), whole.dtype);
    let end = gather::extent(view, strides).and_then(|extent| extent.checked_add(offset));
    if end.is_none_or(|end| end > elements) || view.iter().product::<usize>() != shape.iter().product::<usize>() {
        return Err(Error::input(text!(
            "error-checkpoint/parts/tensor-no-such-part",
            name = quoted(&whole.name),
            name_2 = quoted(name)
        )));
    }
    let (view, strides, own) = (view.to_vec(), strides.to_vec(), name.to_owned());
    #[allow(clippy::single_match_else, reason = "one way of lying against all others")]
    let place = match &whole.place {
        Place::Run { file, offset: start } => {
            let offset = start + (offset * dtype.width()) as u64;
            if gather::contiguous(&view, &strides) {
                Place::Run { file: *file, offset }
            } else {
                Place::Strided { file: *file, offset, shape: view, strides }
            }
        }
        _ => {
            let (whole, files) = (whole.clone(), Arc::clone(files));
            Place::Made(Arc::new(move || {
                let bytes = MemoryFile::new("whole", whole.read(&files)?).borrowed();
                gather::strided(&bytes, (offset * dtype.width()) as u64, &view, &strides, dtype.width())
            }))
        }
    };
    Ok(Entry { name: own, dtype, shape: shape.to_vec(), place })
}

/// Rows of a matrix (or elements of a vector): `count` groups of `length` rows, `step` rows apart, from row `first`.
///
/// # Errors
/// As [`viewed`].
pub(super) fn rows(
    whole: &Entry,
    name: &str,
    first: usize,
    (count, length, step): (usize, usize, usize),
    files: &Arc<[Shard]>,
) -> Result<Entry> {
    let rest = whole.shape.get(1..).unwrap_or_default();
    let width: usize = rest.iter().product();
    let mut shape = vec![count * length];
    shape.extend_from_slice(rest);
    let (view, strides) = ([count, length, width], [step * width, width, 1]);
    viewed(whole, name, first * width, (&view, &strides), &shape, files)
}

/// A part of a file as a file: of the same name, so that messages name the file.
pub(super) fn slice(shard: &Shard, start: u64, length: u64) -> Result<Arc<dyn Blob>> {
    if start.checked_add(length).is_none_or(|end| end > shard.blob.len()) {
        return Err(Error::input(text!(
            "error-checkpoint/parts/bytes-byte-not",
            length,
            start,
            name = quoted(&shard.name),
            blob = shard.blob.len()
        )));
    }
    Ok(Arc::new(Slice { blob: Arc::clone(&shard.blob), start, length }))
}
