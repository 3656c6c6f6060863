//! NumPy archives: a zip of `.npy` files (`numpy/lib/format.py`), stored or deflated.

use std::sync::Arc;

use super::torch::unpacking;
use super::zip::{Directory, Member, unpack, unpackable};
use super::{Catalogue, Entry, Form, Glance, Place};
use crate::header::quoted;
use crate::shape::size;
use crate::{Dtype, Shard, Skipped};
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::Blob;
use scratchproof_texts::text;

/// The longest header that is read.
const HEADER: u64 = 1 << 16;

pub(super) struct Npz;

impl Form for Npz {
    fn name(&self) -> &'static str {
        "checkpoint/form/npz"
    }

    fn holds(&self, file: &Glance<'_>) -> bool {
        let arrays = |zip: Directory| !zip.members.is_empty() && zip.members.keys().all(|name| name.ends_with(".npy"));
        file.head.starts_with(b"PK\x03\x04") && Directory::read(&**file.blob).is_ok_and(arrays)
    }

    fn catalogue(&self, file: &Glance<'_>) -> Result<Catalogue> {
        let zip = Directory::read(&**file.blob)?;
        let mut catalogue = Catalogue {
            files: vec![Shard { name: file.name.to_owned(), blob: Arc::clone(file.blob) }],
            ..Catalogue::default()
        };
        for (path, member) in &zip.members {
            let name = path.trim_end_matches(".npy");
            let read = array(file.blob, path, member)
                .context(|| text!("error-checkpoint/forms/tensor", name = quoted(name)))?;
            match read {
                Ok((dtype, shape, place)) => {
                    catalogue.entries.push(Entry { name: name.to_owned(), dtype, shape, place });
                }
                Err(why) => {
                    catalogue.unread += member.size;
                    catalogue.skipped.push(Skipped { tensor: name.to_owned(), why });
                }
            }
        }
        Ok(catalogue)
    }
}

type Array = (Dtype, Vec<usize>, Place);

/// One array, or why it is not read.
fn array(blob: &Arc<dyn Blob>, path: &str, member: &Member) -> Result<Result<Array, String>> {
    unpackable(path, member)?;
    let head = if member.deflated {
        unpack(&**blob, path, member)?
    } else {
        let length = usize::try_from(member.size.min(HEADER + 12)).unwrap_or(0);
        blob.bytes(member.offset, length)?.into_owned()
    };
    let damaged = || Error::input(text!("error-checkpoint/npz/numpy-header-damaged"));
    if !head.starts_with(b"\x93NUMPY") {
        return Err(Error::input(text!("error-checkpoint/npz/no-numpy-array")));
    }
    let (length, start) = match head.get(6..12).ok_or_else(damaged)? {
        [1, _, a, b, ..] => (usize::from(u16::from_le_bytes([*a, *b])), 10),
        [2 | 3, _, a, b, c, d] => {
            (usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX), 12_usize)
        }
        _ => return Err(Error::input(text!("error-checkpoint/npz/version-numpy-s-format"))),
    };
    let words = head.get(start..start.saturating_add(length)).ok_or_else(damaged)?;
    let words = std::str::from_utf8(words).map_err(|_| damaged())?;
    let field = |name: &str| words.split_once(&format!("'{name}':")).map(|(_, rest)| rest.trim_start());
    let format = field("descr").and_then(|rest| rest.strip_prefix('\'')?.split_once('\''));
    let Some((format, _)) = format else { return Ok(Err("it is a table of fields, not a tensor".to_owned())) };
    let fortran = field("fortran_order").is_some_and(|rest| rest.starts_with("True"));
    let shape = field("shape").and_then(|rest| rest.strip_prefix('(')?.split_once(')')).ok_or_else(damaged)?.0;
    let shape =
        shape.split(',').map(str::trim).filter(|axis| !axis.is_empty()).map(|axis| axis.parse().map_err(|_| damaged()));
    let shape = shape.collect::<Result<Vec<usize>>>()?;
    // The highest byte first: turned round when it is read.
    let (format, swapped) = match format.strip_prefix('>') {
        Some(rest) => (["<", rest].concat(), true),
        None => (format.to_owned(), false),
    };
    let dtype = match format.as_str() {
        // NumPy has no name for the two-byte numbers of JAX's models, which are bfloat16.
        "<V2" | "|V2" => Dtype::Bf16,
        "<V1" | "|V1" => {
            let why = "its eight-bit numbers are of a format that the archive does not name: write them with \
                       `array.astype(numpy.float32)`";
            return Ok(Err(why.to_owned()));
        }
        "<f8" => Dtype::F64,
        "<f4" => Dtype::F32,
        "<f2" => Dtype::F16,
        "<i8" => Dtype::I64,
        "<i4" => Dtype::I32,
        "<i2" => Dtype::I16,
        "|i1" => Dtype::I8,
        "<u8" => Dtype::U64,
        "<u4" => Dtype::U32,
        "<u2" => Dtype::U16,
        "|u1" => Dtype::U8,
        "|b1" => Dtype::Bool,
        "|O" => return Ok(Err("it holds Python objects, which are not read".to_owned())),
        other => return Ok(Err(format!("the number format {} is not read", quoted(other)))),
    };
    let bytes = size(&shape, dtype.width()).ok_or_else(|| {
        Error::input(text!("error-checkpoint/deepspeed/shape-overflows", shape = format!("{shape:?}")))
    })?;
    let begin = (start + length) as u64;
    if begin.checked_add(bytes as u64) != Some(member.size) {
        return Err(Error::input(text!(
            "error-checkpoint/npz/shape-needs-bytes-but",
            shape = format!("{shape:?}"),
            dtype = dtype.to_string(),
            bytes,
            there = member.size.saturating_sub(begin)
        )));
    }
    // Columns first: the axes are stored the other way round.
    let (view, mut strides) = (shape.clone(), vec![1_usize; shape.len()]);
    for axis in 1..shape.len() {
        strides[axis] = strides[axis - 1].saturating_mul(shape[axis - 1]);
    }
    let turned = fortran && shape.len() > 1 && bytes > 0;
    let place = match (member.deflated || swapped, turned) {
        (false, false) => Place::Run { file: 0, offset: member.offset + begin },
        (false, true) => Place::Strided { file: 0, offset: member.offset + begin, shape: view, strides },
        (true, _) => {
            let (unpacked, blob) = (member.deflated.then(|| unpacking(blob, path, member)), Arc::clone(blob));
            let (at, width) = (member.offset + begin, dtype.width());
            let begin = usize::try_from(begin).unwrap_or(usize::MAX);
            Place::Made(Arc::new(move || {
                let mut whole = match &unpacked {
                    Some(unpacked) => {
                        let mut whole = unpacked()?;
                        whole.drain(..begin.min(whole.len()));
                        whole
                    }
                    None => blob.bytes(at, bytes)?.into_owned(),
                };
                if swapped {
                    whole.chunks_exact_mut(width).for_each(<[u8]>::reverse);
                }
                if !turned {
                    return Ok(whole);
                }
                let whole = scratchproof_source::MemoryFile::new("unpacked", whole).borrowed();
                super::gather::strided(&whole, 0, &view, &strides, width)
            }))
        }
    };
    Ok(Ok((dtype, shape, place)))
}
