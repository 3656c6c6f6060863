//! ONNX models: the initialisers of the graph (`onnx/onnx.proto`: `ModelProto.graph` 7, `GraphProto.initializer` 5,
//! `TensorProto`). The wire format of protocol buffers is walked by range, so that no weight is held in memory.

use std::sync::Arc;

use super::{Catalogue, Entry, Form, Glance, Place};
use crate::header::quoted;
use crate::{Dtype, Shard, Skipped};
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::Blob;

/// Messages of a graph, at most.
const MESSAGES: usize = 1 << 22;

/// The longest name.
const NAME: u64 = 1 << 12;

pub(super) struct Onnx;

impl Form for Onnx {
    fn name(&self) -> &'static str {
        "checkpoint/form/onnx"
    }

    fn holds(&self, file: &Glance<'_>) -> bool {
        // A version of the format, then who made it: there is no magic number.
        file.name.ends_with(".onnx") && matches!(file.head[..], [0x08, 1..=20, ..])
    }

    fn catalogue(&self, file: &Glance<'_>) -> Result<Catalogue> {
        let mut catalogue = Catalogue {
            files: vec![Shard { name: file.name.to_owned(), blob: Arc::clone(file.blob) }],
            ..Catalogue::default()
        };
        let mut budget = MESSAGES;
        let blob = &**file.blob;
        each(blob, 0, blob.len(), &mut budget, &mut |field, span, budget| {
            if field != 7 {
                return Ok(());
            }
            each(blob, span.start, span.end, budget, &mut |field, span, budget| {
                if field == 5 {
                    tensor(blob, &span, budget, &mut catalogue)?;
                }
                Ok(())
            })
        })?;
        if catalogue.entries.is_empty() && catalogue.skipped.is_empty() {
            return Err(Error::input("the ONNX model has no initialisers"));
        }
        Ok(catalogue)
    }
}

/// What a field holds: the bytes of a message or text, or the place of a number.
struct Span {
    start: u64,
    end: u64,
    number: u64,
}

fn varint(blob: &dyn Blob, at: &mut u64, end: u64) -> Result<u64> {
    let length = usize::try_from(end.saturating_sub(*at).min(10)).unwrap_or(0);
    let mut value = 0_u64;
    for (place, byte) in blob.bytes(*at, length)?.iter().enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(place).unwrap_or(99)).unwrap_or(0);
        if byte & 0x80 == 0 {
            *at += place as u64 + 1;
            return Ok(value);
        }
    }
    Err(Error::input("the ONNX model is cut short or damaged"))
}

/// Every field of the message between two bytes.
fn each(
    blob: &dyn Blob,
    start: u64,
    end: u64,
    budget: &mut usize,
    take: &mut dyn FnMut(u64, Span, &mut usize) -> Result<()>,
) -> Result<()> {
    let mut at = start;
    while at < end {
        *budget = budget.checked_sub(1).ok_or_else(|| Error::input("the ONNX model has more parts than are read"))?;
        let key = varint(blob, &mut at, end)?;
        let cut = || Error::input("the ONNX model is cut short or damaged");
        let (length, number) = match key & 7 {
            0 => (0, varint(blob, &mut at, end)?),
            1 => (8, 0),
            2 => (varint(blob, &mut at, end)?, 0),
            5 => (4, 0),
            _ => return Err(cut()),
        };
        let after = at.checked_add(length).filter(|after| *after <= end).ok_or_else(cut)?;
        take(key >> 3, Span { start: at, end: after, number }, budget)?;
        at = after;
    }
    Ok(())
}

fn tensor(blob: &dyn Blob, span: &Span, budget: &mut usize, catalogue: &mut Catalogue) -> Result<()> {
    let (mut shape, mut name, mut kind, mut raw, mut external, mut typed) =
        (Vec::new(), String::new(), 0, None, false, None);
    each(blob, span.start, span.end, budget, &mut |field, span, budget| {
        match field {
            1 if span.start == span.end => shape.push(span.number),
            1 => {
                let mut at = span.start;
                while at < span.end {
                    *budget =
                        budget.checked_sub(1).ok_or_else(|| Error::input("a shape has more axes than are read"))?;
                    shape.push(varint(blob, &mut at, span.end)?);
                }
            }
            2 => kind = span.number,
            4 if span.end > span.start => typed = Some((Dtype::F32, span)),
            8 => {
                if span.end - span.start > NAME {
                    return Err(Error::input("a name is longer than is read"));
                }
                let length = usize::try_from(span.end - span.start).unwrap_or(0);
                name = String::from_utf8_lossy(&blob.bytes(span.start, length)?).into_owned();
            }
            9 => raw = Some(span),
            10 if span.end > span.start => typed = Some((Dtype::F64, span)),
            14 => external = span.number == 1,
            _ => {}
        }
        Ok(())
    })?;
    let shown = || format!("tensor {}", quoted(&name));
    let shape = shape.iter().map(|axis| usize::try_from(*axis).map_err(|_| Error::input("an axis overflows")));
    let shape = shape.collect::<Result<Vec<usize>>>().context(shown)?;
    let dtype = match kind {
        1 => Dtype::F32,
        2 => Dtype::U8,
        3 => Dtype::I8,
        4 => Dtype::U16,
        5 => Dtype::I16,
        6 => Dtype::I32,
        7 => Dtype::I64,
        9 => Dtype::Bool,
        10 => Dtype::F16,
        11 => Dtype::F64,
        12 => Dtype::U32,
        13 => Dtype::U64,
        16 => Dtype::Bf16,
        17 => Dtype::F8E4M3,
        19 => Dtype::F8E5M2,
        other => {
            catalogue
                .skipped
                .push(Skipped { tensor: name, why: format!("the number format {other} of ONNX is not read") });
            return Ok(());
        }
    };
    if external {
        let why = "its bytes are in another file (external data), which is not read: save the model in one file with \
                   `onnx.save(onnx.load(file), file)`";
        catalogue.skipped.push(Skipped { tensor: name, why: why.to_owned() });
        return Ok(());
    }
    let place = raw.or_else(|| typed.filter(|(as_is, _)| *as_is == dtype).map(|(_, span)| span));
    let Some(place) = place else {
        let why = "its numbers are written one by one, as constants are".to_owned();
        catalogue.skipped.push(Skipped { tensor: name, why });
        return Ok(());
    };
    let bytes = super::size(&shape, dtype.width());
    if bytes.map(|bytes| bytes as u64) != Some(place.end - place.start) {
        return Err(Error::input(format!(
            "the shape {shape:?} in {dtype} does not fit its {} bytes",
            place.end - place.start
        )))
        .context(shown);
    }
    catalogue.entries.push(Entry { name, dtype, shape, place: Place::Run { file: 0, offset: place.start } });
    Ok(())
}
