//! The header of a safetensors file, validated as a whole before a single tensor is trusted.
//!
//! A file is an 8-byte length, that many bytes of JSON, and the tensors' bytes. What is checked is a whole theory of the
//! file: every name once, every shape times the width of its number format equal to its span, the spans one after another
//! from the first byte to the last. A file that keeps it has no room for anything that is not a tensor.

mod json;

use std::collections::BTreeMap;

use super::Dtype;
use super::shape::ELEMENTS;
use json::Entry;
use scratchproof_error::json::fits;
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::Blob;
use scratchproof_texts::text;

/// The largest header that is read, as in the reference implementation.
const LARGEST: u64 = 100_000_000;

/// Bytes of the length before the header.
const PREFIX: u64 = 8;

/// What a safetensors file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Free words of whoever wrote the file.
    pub metadata: BTreeMap<String, String>,
    /// The tensors, in the order of their bytes.
    pub tensors: Vec<HeaderTensor>,
    /// Tensors in number formats that cannot be decoded: name and reason. Their bytes are accounted for all the same.
    pub skipped: Vec<(String, String)>,
    /// Those of the skipped that are powers of two, a byte each (`F8_E8M0`): scales of blocks, by which others are put back.
    pub powers: Vec<HeaderTensor>,
    /// Bytes of all tensors.
    pub data: u64,
}

/// One tensor as the header describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderTensor {
    /// Name.
    pub name: String,
    /// Number format.
    pub dtype: Dtype,
    /// Shape, outermost axis first; empty for a single number.
    pub shape: Vec<usize>,
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Length in bytes: the product of the shape times the width of the format.
    pub bytes: u64,
}

/// The number format of a power of two in a byte.
const POWERS: &str = "F8_E8M0";

impl Header {
    /// Reads and validates the header of a file.
    ///
    /// # Errors
    /// If the file cannot be read, or is not wholly what the format says: one sentence with the tensor or the byte.
    pub fn read(blob: &dyn Blob) -> Result<Self> {
        Self::read_from(blob).context(|| blob.uri())
    }

    pub(super) fn read_from(blob: &dyn Blob) -> Result<Self> {
        let file = blob.len();
        if file < PREFIX {
            return Err(Error::input(text!("error-checkpoint/header/file-bytes-too-few", file)));
        }
        let mut prefix = [0; 8];
        blob.read_at(0, &mut prefix)?;
        let length = u64::from_le_bytes(prefix);
        if length > LARGEST {
            return Err(Error::input(match recognised(prefix) {
                Some(what) => text!("error-checkpoint/header/not-safetensors-but", what),
                None => text!("error-checkpoint/header/header-too-long", length, largest = LARGEST),
            }));
        }
        if length > file - PREFIX {
            return Err(Error::input(text!(
                "error-checkpoint/header/header-s-length-given",
                length,
                follow = file - PREFIX,
                short = length - (file - PREFIX)
            )));
        }
        let length =
            usize::try_from(length).map_err(|_| Error::input(text!("error-checkpoint/header/header-does-not-fit")))?;
        Self::parse(&blob.bytes(PREFIX, length)?, file)
    }

    /// Validates the JSON of a header against the length of its whole file.
    ///
    /// # Errors
    /// As [`Header::read`].
    pub fn parse(json: &[u8], file: u64) -> Result<Self> {
        fits(json)?;
        let (metadata, entries) = json::parse(json)?;
        let start = PREFIX + json.len() as u64;
        let data = file
            .checked_sub(start)
            .ok_or_else(|| Error::input(text!("error-checkpoint/header/file-ends-inside-header")))?;
        let mut header = Self { metadata, data, ..Self::default() };
        for entry in &entries {
            check_span(entry)?;
        }
        check_layout(&entries, start, data)?;
        for entry in entries {
            let Some(dtype) = Dtype::parse(&entry.dtype) else {
                let reason = format!("the number format {} is not known", quoted(&entry.dtype));
                let bytes = entry.end - entry.begin;
                if entry.dtype == POWERS && entry.shape.iter().product::<usize>() as u64 == bytes {
                    let offset = start + entry.begin;
                    let (name, shape) = (entry.name.clone(), entry.shape.clone());
                    header.powers.push(HeaderTensor { name, dtype: Dtype::U8, shape, offset, bytes });
                }
                header.skipped.push((entry.name, reason));
                continue;
            };
            header.tensors.push(HeaderTensor {
                name: entry.name,
                dtype,
                shape: entry.shape,
                offset: start + entry.begin,
                bytes: entry.end - entry.begin,
            });
        }
        header.skipped.sort();
        Ok(header)
    }
}

/// Shape, width and span of one tensor.
fn check_span(entry: &Entry) -> Result<()> {
    let Entry { name, dtype, shape, begin, end } = entry;
    let name = quoted(name);
    if end < begin {
        return Err(Error::input(text!("error-checkpoint/header/tensor-ends-byte-before", name, end, begin)));
    }
    // The product over the axes that are not zero has to fit as well, so that sub-shapes never overflow later.
    let full = shape.iter().filter(|axis| **axis > 0).try_fold(1_usize, |product, axis| product.checked_mul(*axis));
    let elements = full.map(|full| if shape.contains(&0) { 0 } else { full });
    let too_large = || {
        Error::input(text!(
            "error-checkpoint/forms/shape-tensor-overflows-elements",
            shape = format!("{shape:?}"),
            name = &name,
            elements = ELEMENTS
        ))
    };
    let elements = elements.filter(|_| full.is_some_and(|full| full <= ELEMENTS)).ok_or_else(too_large)?;
    if let Some(dtype) = Dtype::parse(dtype) {
        let bytes = elements as u64 * dtype.width() as u64;
        if bytes != end - begin {
            return Err(Error::input(text!(
                "error-checkpoint/header/tensor-shape-needs-bytes",
                name,
                shape = format!("{shape:?}"),
                dtype = dtype.to_string(),
                bytes,
                span = end - begin
            )));
        }
    }
    Ok(())
}

/// The spans, in order, from the first byte of data to the last: no hole, no overlap, nothing behind.
fn check_layout(entries: &[Entry], start: u64, data: u64) -> Result<()> {
    let mut position = 0;
    let mut before: Option<&Entry> = None;
    for entry in entries {
        let name = quoted(&entry.name);
        if entry.begin < position {
            let other = before.map_or_else(|| "another".to_owned(), |before| quoted(&before.name));
            return Err(Error::input(text!(
                "error-checkpoint/header/tensor-begins-byte-overlaps",
                name,
                begin = &entry.begin,
                other,
                position
            )));
        }
        if entry.begin > position {
            return Err(Error::input(text!(
                "error-checkpoint/header/bytes-before-tensor-byte",
                bytes = entry.begin - position,
                name,
                from = start.saturating_add(position)
            )));
        }
        if entry.end > data {
            return Err(Error::input(text!(
                "error-checkpoint/header/tensor-ends-byte-data",
                name,
                end = &entry.end,
                data,
                short = entry.end - data
            )));
        }
        position = entry.end;
        before = Some(entry);
    }
    if position < data {
        return Err(Error::input(text!("error-checkpoint/header/last-bytes-file-belong", bytes = data - position)));
    }
    Ok(())
}

/// What people take for a safetensors file, by its first bytes.
fn recognised(prefix: [u8; 8]) -> Option<&'static str> {
    match &prefix {
        b"version " => Some("a Git LFS pointer: fetch the real file with `git lfs pull`"),
        [b'P', b'K', 3, 4, ..] => Some("a zip archive, probably a PyTorch pickle"),
        [b'G', b'G', b'U', b'F', ..] => Some("a GGUF file"),
        [0x1f, 0x8b, ..] => Some("a gzip archive"),
        [b'{', ..] => Some("a text file in JSON: give the folder of the model, or one of its safetensors files"),
        [b'<', b'!' | b'h' | b'H', ..] => Some("a web page: the download needed a login or failed"),
        _ => None,
    }
}

/// A name from outside as it may stand in a message: escaped, and not longer than a line.
pub(super) fn quoted(name: &str) -> String {
    const LONGEST: usize = 120;
    match name.char_indices().nth(LONGEST) {
        None => format!("{name:?}"),
        Some((end, _)) => format!("{:?}... ({} bytes)", &name[..end], name.len()),
    }
}

#[cfg(test)]
mod tests;
