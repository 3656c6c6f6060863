//! ONNX models: the initialisers of the graph (`onnx/onnx.proto`: `ModelProto.graph` 7, `GraphProto.initializer` 5,
//! `TensorProto`). The wire format of protocol buffers is walked by range, so that no weight is held in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Catalogue, Entry, Form, Glance, Place};
use crate::header::quoted;
use crate::shape::size;
use crate::{Dtype, Shard, Skipped};
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::Blob;
use scratchproof_texts::text;

/// Messages of a graph, at most.
const MESSAGES: usize = 1 << 22;

/// Graphs inside graphs, at most.
const DEPTH: usize = 8;

/// Bytes that are looked at at a time.
const WINDOW: u64 = 1 << 20;

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
            if field == 7 { graph(file, &span, DEPTH, budget, &mut catalogue) } else { Ok(()) }
        })?;
        distinct(&mut catalogue);
        if catalogue.entries.is_empty() && catalogue.skipped.is_empty() {
            return Err(Error::input(text!("error-checkpoint/onnx/onnx-model-no-initialisers")));
        }
        Ok(catalogue)
    }
}

/// The tensors of a graph: its initialisers, and the constants among its nodes, those of graphs inside them too (`If`, `Loop`).
fn graph(file: &Glance<'_>, span: &Span, depth: usize, budget: &mut usize, catalogue: &mut Catalogue) -> Result<()> {
    each(&**file.blob, span.start, span.end, budget, &mut |field, span, budget| match field {
        1 => node(file, &span, depth, budget, catalogue),
        5 => tensor(file, &span, None, budget, catalogue),
        _ => Ok(()),
    })
}

/// `NodeProto`: output 2, `op_type` 4, attribute 5; `AttributeProto`: tensor 5, graph 6, graphs 11.
fn node(file: &Glance<'_>, span: &Span, depth: usize, budget: &mut usize, catalogue: &mut Catalogue) -> Result<()> {
    let blob = &**file.blob;
    let (mut output, mut constant, mut attributes) = (String::new(), false, Vec::new());
    each(blob, span.start, span.end, budget, &mut |field, span, _| {
        match field {
            2 if output.is_empty() => output = words(blob, &span)?,
            4 => constant = words(blob, &span)? == "Constant",
            5 => attributes.push(span),
            _ => {}
        }
        Ok(())
    })?;
    for attribute in attributes {
        each(blob, attribute.start, attribute.end, budget, &mut |field, span, budget| match field {
            5 if constant => tensor(file, &span, Some(&output), budget, catalogue),
            6 | 11 if depth > 0 => graph(file, &span, depth - 1, budget, catalogue),
            _ => Ok(()),
        })?;
    }
    Ok(())
}

fn words(blob: &dyn Blob, span: &Span) -> Result<String> {
    if span.end - span.start > NAME {
        return Err(Error::input(text!("error-checkpoint/onnx/name-longer-read")));
    }
    let length = usize::try_from(span.end - span.start).unwrap_or(0);
    Ok(String::from_utf8_lossy(&blob.bytes(span.start, length)?).into_owned())
}

/// Names of two graphs may be equal.
fn distinct(catalogue: &mut Catalogue) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let names = catalogue.entries.iter_mut().map(|entry| &mut entry.name);
    for name in names.chain(catalogue.skipped.iter_mut().map(|skipped| &mut skipped.tensor)) {
        let times = seen.entry(name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            name.push_str(&["#", &times.to_string()].concat());
        }
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
    Err(Error::input(text!("error-checkpoint/onnx/onnx-model-cut-short")))
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
        *budget =
            budget.checked_sub(1).ok_or_else(|| Error::input(text!("error-checkpoint/onnx/onnx-model-more-parts")))?;
        let key = varint(blob, &mut at, end)?;
        let cut = || Error::input(text!("error-checkpoint/onnx/onnx-model-cut-short"));
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

/// One tensor. A constant is called as its node's `output`, and only matrices and more are taken: numbers beside them are
/// shapes and indices.
fn tensor(
    file: &Glance<'_>,
    span: &Span,
    output: Option<&str>,
    budget: &mut usize,
    catalogue: &mut Catalogue,
) -> Result<()> {
    let blob = &**file.blob;
    let (mut shape, mut name, mut kind, mut raw, mut external, mut typed, mut whole) =
        (Vec::new(), String::new(), 0, None, false, None, None);
    let mut apart = External::default();
    each(blob, span.start, span.end, budget, &mut |field, span, budget| {
        match field {
            1 if span.start == span.end => shape.push(span.number),
            1 => {
                let mut at = span.start;
                while at < span.end {
                    *budget = budget
                        .checked_sub(1)
                        .ok_or_else(|| Error::input(text!("error-checkpoint/onnx/shape-more-axes-read")))?;
                    shape.push(varint(blob, &mut at, span.end)?);
                }
            }
            2 => kind = span.number,
            4 if span.end > span.start => typed = Some((Dtype::F32, span)),
            5 if span.end > span.start => whole = Some(span),
            8 => name = words(blob, &span)?,
            9 => raw = Some(span),
            10 if span.end > span.start => typed = Some((Dtype::F64, span)),
            13 => apart.entry(blob, &span, budget)?,
            14 => external = span.number == 1,
            _ => {}
        }
        Ok(())
    })?;
    if let Some(output) = output {
        output.clone_into(&mut name);
    }
    if output.is_some() && (shape.len() < 2 || raw.is_none() && !external) {
        return Ok(());
    }
    let shown = || text!("error-checkpoint/forms/tensor", name = quoted(&name));
    let shape = shape
        .iter()
        .map(|axis| usize::try_from(*axis).map_err(|_| Error::input(text!("error-checkpoint/gguf/axis-overflows"))));
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
        let place = apart.place(file, &shape, dtype, catalogue).context(shown)?;
        catalogue.entries.push(Entry { name, dtype, shape, place });
        return Ok(());
    }
    let place = raw.or_else(|| typed.filter(|(as_is, _)| *as_is == dtype).map(|(_, span)| span));
    if let (None, Some(span)) = (&place, whole)
        && is_in_whole_numbers(dtype)
    {
        let place = whole_numbers(file.blob, &span, &shape, dtype).context(shown)?;
        catalogue.entries.push(Entry { name, dtype, shape, place });
        return Ok(());
    }
    let Some(place) = place else {
        let why = "its numbers are written one by one, as constants are".to_owned();
        catalogue.skipped.push(Skipped { tensor: name, why });
        return Ok(());
    };
    let bytes = size(&shape, dtype.width());
    if bytes.map(|bytes| bytes as u64) != Some(place.end - place.start) {
        return Err(Error::input(text!(
            "error-checkpoint/onnx/shape-does-not-fit",
            shape = format!("{shape:?}"),
            dtype = dtype.to_string(),
            bytes = place.end - place.start
        )))
        .context(shown);
    }
    catalogue.entries.push(Entry { name, dtype, shape, place: Place::Run { file: 0, offset: place.start } });
    Ok(())
}

/// Whether `int32_data` holds the numbers of a format: whole ones of at most 32 bits, and the bits of short floats.
fn is_in_whole_numbers(dtype: Dtype) -> bool {
    !matches!(dtype, Dtype::F32 | Dtype::F64 | Dtype::I64 | Dtype::U64 | Dtype::U32)
}

/// Numbers that are written one by one, seven bits a byte, a number of the file for each: `onnx.helper.make_tensor` writes the
/// bits of bfloat16 and of the 8-bit floats so. They are counted here and put together when they are asked for.
fn whole_numbers(blob: &Arc<dyn Blob>, span: &Span, shape: &[usize], dtype: Dtype) -> Result<Place> {
    let (start, end) = (span.start, span.end);
    let unfit = |count: u64| {
        Error::input(text!(
            "error-checkpoint/onnx/shape-does-not-fit",
            shape = format!("{shape:?}"),
            dtype = dtype.to_string(),
            bytes = count
        ))
    };
    let mut count = 0_u64;
    let mut at = start;
    while at < end {
        let length = usize::try_from((end - at).min(WINDOW)).unwrap_or(0);
        let bytes = blob.bytes(at, length)?;
        count += bytes.iter().filter(|byte| **byte & 0x80 == 0).count() as u64;
        at += length as u64;
    }
    let wanted = size(shape, 1).ok_or_else(|| unfit(count))?;
    let last = blob.bytes(end - 1, 1)?.first().is_none_or(|byte| byte & 0x80 != 0);
    if count != wanted as u64 || last {
        return Err(unfit(count));
    }
    let (blob, width) = (Arc::clone(blob), dtype.width());
    Ok(Place::Made(Arc::new(move || {
        let written = blob.bytes(start, usize::try_from(end - start).unwrap_or(usize::MAX))?;
        let mut numbers = Vec::with_capacity(wanted * width);
        let (mut value, mut shift) = (0_u64, 0_u32);
        for byte in written.iter() {
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift = shift.saturating_add(7);
            if byte & 0x80 == 0 {
                numbers.extend_from_slice(&value.to_le_bytes()[..width]);
                (value, shift) = (0, 0);
            }
        }
        Ok(numbers)
    })))
}

/// Where the bytes of a tensor are that are in another file of the folder (`StringStringEntryProto`: key 1, value 2).
#[derive(Default)]
struct External {
    location: String,
    offset: String,
    length: String,
}

impl External {
    fn entry(&mut self, blob: &dyn Blob, span: &Span, budget: &mut usize) -> Result<()> {
        let (mut key, mut value) = (String::new(), String::new());
        each(blob, span.start, span.end, budget, &mut |field, span, _| {
            match field {
                1 => key = words(blob, &span)?,
                2 => value = words(blob, &span)?,
                _ => {}
            }
            Ok(())
        })?;
        match key.as_str() {
            "location" => self.location = value,
            "offset" => self.offset = value,
            "length" => self.length = value,
            _ => {}
        }
        Ok(())
    }

    /// The run of bytes in a file that lies beside the model: never one in another folder.
    fn place(&self, file: &Glance<'_>, shape: &[usize], dtype: Dtype, catalogue: &mut Catalogue) -> Result<Place> {
        let location = self.location.strip_prefix("./").unwrap_or(&self.location);
        let number = |words: &str, without: u64| if words.is_empty() { Some(without) } else { words.parse().ok() };
        let wanted = size(shape, dtype.width()).and_then(|bytes| u64::try_from(bytes).ok());
        let (Some(offset), Some(wanted)) = (number(&self.offset, 0), wanted) else {
            return Err(Error::input(text!("error-checkpoint/onnx/external-damaged")));
        };
        let index = if let Some(index) = catalogue.files.iter().skip(1).position(|shard| shard.name == location) {
            index + 1
        } else {
            let lost = || Error::input(text!("error-checkpoint/onnx/external-lost", file = quoted(location)));
            let blob = (file.beside)(location).ok().flatten().ok_or_else(lost)?;
            catalogue.files.push(Shard { name: location.to_owned(), blob });
            catalogue.files.len() - 1
        };
        let there = catalogue.files[index].blob.len();
        let inside = offset.checked_add(wanted).is_some_and(|end| end <= there);
        if number(&self.length, wanted) != Some(wanted) || !inside {
            return Err(Error::input(text!(
                "error-checkpoint/onnx/external-short",
                bytes = wanted,
                offset,
                file = quoted(location),
                there
            )));
        }
        Ok(Place::Run { file: index, offset })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::{Checkpoint, Dtype};
    use scratchproof_source::MemoryStore;

    fn field(number: u8, body: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(body.len()).unwrap()], body].concat()
    }

    /// A model of one tensor of two by two, with its numbers written one by one.
    fn model(kind: u8, numbers: &[u8]) -> scratchproof_error::Result<Checkpoint> {
        let tensor = [field(1, &[2, 2]), vec![2 << 3, kind], field(5, numbers), field(8, b"a.weight")].concat();
        let file = [vec![8, 8], field(7, &field(5, &tensor))].concat();
        Checkpoint::from_store(&MemoryStore::new().with("m.onnx", file))
    }

    #[test]
    fn numbers_that_are_written_one_by_one() {
        // 1, -2, 0.5 and 0 in bfloat16: 0x3f80, 0xc000, 0x3f00, 0.
        let read = model(16, &[0x80, 0x7f, 0x80, 0x80, 0x03, 0x80, 0x7e, 0]).unwrap();
        let tensor = &read.tensors[0];
        assert_eq!((tensor.dtype, tensor.shape.as_slice()), (Dtype::Bf16, &[2, 2][..]));
        assert_eq!(&*read.read(tensor).unwrap(), [0x80, 0x3f, 0, 0xc0, 0, 0x3f, 0, 0]);
        // A negative number is ten bytes long.
        let minus = [&[0xff; 9][..], &[1, 7, 0, 1]].concat();
        let read = model(3, &minus).unwrap();
        assert_eq!(&*read.read(&read.tensors[0]).unwrap(), [255, 7, 0, 1]);
        for damaged in [&[0x80, 0x7f, 0, 0][..], &[0, 0, 0, 0, 0], &[0, 0, 0, 0x80]] {
            assert!(model(16, damaged).is_err(), "{damaged:?}");
        }
    }
}
