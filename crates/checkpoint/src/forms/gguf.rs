//! GGUF, the form of llama.cpp (its `docs/gguf.md`): settings, then names, shapes and offsets, then the tensors, plain or
//! in blocks of quantised numbers, which are decoded as the reference does.

mod blocks;
mod names;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::tape::Tape;
use super::{Catalogue, Entry, Form, Glance, Place};
use crate::header::quoted;
use crate::index::numbered;
use crate::shape::size;
use crate::{Dtype, Shard, Skipped};
use blocks::Blocks;
use names::{Heads, Undo, is_known, published};
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::Blob;
use scratchproof_texts::text;

/// Settings, tensors and items of a list, at most.
const SETTINGS: u64 = 1 << 16;
const TENSORS: u64 = 1 << 20;
const ITEMS: u64 = 1 << 26;

/// The longest text that is kept, and the longest name.
const TEXT: u64 = 1 << 12;

/// Lists within lists, at most.
const DEPTH: usize = 4;

/// The most axes.
const AXES: u32 = 8;

pub(super) struct Gguf;

/// One tensor as the file describes it.
struct Described {
    name: String,
    /// Outermost axis first.
    shape: Vec<usize>,
    kind: u32,
    offset: u64,
}

impl Form for Gguf {
    fn name(&self) -> &'static str {
        "checkpoint/form/gguf"
    }

    fn holds(&self, file: &Glance<'_>) -> bool {
        file.head.starts_with(b"GGUF")
    }

    fn catalogue(&self, file: &Glance<'_>) -> Result<Catalogue> {
        let mut tape = Tape::new("the GGUF file", &**file.blob, 4, file.blob.len());
        let (tensors, settings) = opened(&mut tape)?;
        let described = (0..tensors).map(|_| describe(&mut tape)).collect::<Result<Vec<_>>>()?;
        let align = settings.get("general.alignment").and_then(Value::as_u64).unwrap_or(32).clamp(1, 1 << 20);
        let start = tape.at.div_ceil(align) * align;
        let mut catalogue = Catalogue {
            files: vec![Shard { name: file.name.to_owned(), blob: Arc::clone(file.blob) }],
            ..Catalogue::default()
        };
        let settings = of_set(settings, file)?;
        let architecture = settings.get("general.architecture").and_then(Value::as_str).unwrap_or_default().to_owned();
        let heads = heads(&settings, &architecture);
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for tensor in described {
            let read = place(&tensor, file.blob, start, &architecture, heads, &mut catalogue);
            if let Some(kind) = read.context(|| text!("error-checkpoint/forms/tensor", name = quoted(&tensor.name)))? {
                *kinds.entry(kind).or_default() += 1;
            }
        }
        if !kinds.is_empty() {
            let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind} ({count})")).collect();
            catalogue.notes.push(text!("checkpoint/gguf/decoded", kinds));
        }
        if !architecture.is_empty() {
            let rows = is_known(&architecture);
            catalogue.notes.push(text!("checkpoint/gguf/names", architecture = quoted(&architecture), rows));
        }
        catalogue.settings = Some(published_settings(&settings, &architecture));
        Ok(catalogue)
    }
}

type Settings = BTreeMap<String, Value>;

/// The number of tensors, and the settings; the tape is then at the tensors' descriptions.
fn opened(tape: &mut Tape<'_>) -> Result<(u64, Settings)> {
    let version = tape.number(4)?;
    if matches!(version, 0x0200_0000 | 0x0300_0000) {
        return Err(Error::input(text!("error-checkpoint/gguf/big-endian")));
    }
    if !(2..=3).contains(&version) {
        return Err(Error::input(text!("error-checkpoint/gguf/gguf-version-not-read", version)));
    }
    let (tensors, count) = (tape.number(8)?, tape.number(8)?);
    if tensors > TENSORS || count > SETTINGS {
        return Err(Error::input(text!("error-checkpoint/gguf/tensors-settings-more-gguf", tensors, count)));
    }
    let mut settings = BTreeMap::new();
    for _ in 0..count {
        let key = word(tape)?;
        let kind = tape.number(4)?;
        if let Some(value) =
            value(tape, kind, 0).context(|| text!("error-checkpoint/gguf/setting", key = quoted(&key)))?
        {
            settings.insert(key, value);
        }
    }
    Ok((tensors, settings))
}

/// The settings of the model that a file is a part of: only the first part of a set says how names and rows are to be read.
fn of_set(settings: Settings, file: &Glance<'_>) -> Result<Settings> {
    let parts = settings.get("split.count").and_then(Value::as_u64).unwrap_or(1);
    if parts < 2 || settings.contains_key("general.architecture") {
        return Ok(settings);
    }
    let own = numbered(file.name);
    let first = own.map(|own| {
        let (one, of) =
            (format!("{:0width$}", 1, width = own.digits), format!("{:0width$}", own.of, width = own.digits));
        format!("{}-{one}-of-{of}{}", own.stem, own.ending)
    });
    let found = match &first {
        Some(name) => (file.beside)(name)?,
        None => None,
    };
    let lost = || Error::input(text!("error-checkpoint/gguf/first-part", parts));
    let blob = found.ok_or_else(lost)?;
    let mut head = [0; 4];
    if blob.len() < 4 || blob.read_at(0, &mut head).is_err() || &head != b"GGUF" {
        return Err(lost());
    }
    let (_, first) = opened(&mut Tape::new("the GGUF file", &*blob, 4, blob.len()))?;
    if first.contains_key("general.architecture") { Ok(first) } else { Err(lost()) }
}

fn word(tape: &mut Tape<'_>) -> Result<String> {
    let length = tape.number(8)?;
    if length > TEXT {
        return Err(Error::input(text!("error-checkpoint/gguf/name-bytes-refused", length)));
    }
    String::from_utf8(tape.take(length)?).map_err(|_| Error::input(text!("error-checkpoint/gguf/name-not-utf")))
}

/// A setting: numbers and short texts are kept, lists and long texts are not.
fn value(tape: &mut Tape<'_>, kind: u64, depth: usize) -> Result<Option<Value>> {
    Ok(match kind {
        0 => Some(json!(tape.number(1)?)),
        1 => Some(json!(u8::try_from(tape.number(1)?).unwrap_or(0).cast_signed())),
        2 => Some(json!(tape.number(2)?)),
        3 => Some(json!(u16::try_from(tape.number(2)?).unwrap_or(0).cast_signed())),
        4 => Some(json!(tape.number(4)?)),
        5 => Some(json!(u32::try_from(tape.number(4)?).unwrap_or(0).cast_signed())),
        6 => Some(json!(f32::from_bits(u32::try_from(tape.number(4)?).unwrap_or(0)))),
        7 => Some(json!(tape.number(1)? != 0)),
        10 => Some(json!(tape.number(8)?)),
        11 => Some(json!(tape.number(8)?.cast_signed())),
        12 => Some(json!(f64::from_bits(tape.number(8)?))),
        8 => {
            let length = tape.number(8)?;
            if length > TEXT {
                tape.skip(length)?;
                return Ok(None);
            }
            String::from_utf8(tape.take(length)?).ok().map(Value::from)
        }
        9 if depth < DEPTH => {
            let (inner, count) = (tape.number(4)?, tape.number(8)?);
            let width = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8].get(usize::try_from(inner).unwrap_or(99)).copied();
            match width {
                Some(width @ 1..) => tape.skip(count.saturating_mul(width))?,
                _ if count > ITEMS => {
                    return Err(Error::input(text!("error-checkpoint/gguf/list-items-refused", count)));
                }
                _ if inner == 8 => {
                    for _ in 0..count {
                        let length = tape.number(8)?;
                        tape.skip(length)?;
                    }
                }
                _ => {
                    for _ in 0..count {
                        value(tape, inner, depth + 1)?;
                    }
                }
            }
            None
        }
        _ => return Err(Error::input(text!("error-checkpoint/gguf/value-kind-not-known", kind))),
    })
}

fn describe(tape: &mut Tape<'_>) -> Result<Described> {
    let name = word(tape)?;
    let axes = tape.number(4)?;
    if axes > u64::from(AXES) {
        return Err(Error::input(text!("error-checkpoint/gguf/tensor-axes", name = quoted(&name), axes)));
    }
    let mut shape = (0..axes)
        .map(|_| {
            usize::try_from(tape.number(8)?).map_err(|_| Error::input(text!("error-checkpoint/gguf/axis-overflows")))
        })
        .collect::<Result<Vec<usize>>>()?;
    // The innermost axis is written first.
    shape.reverse();
    let kind = u32::try_from(tape.number(4)?).unwrap_or(u32::MAX);
    Ok(Described { name, shape, kind, offset: tape.number(8)? })
}

fn plain(kind: u32) -> Option<Dtype> {
    Some(match kind {
        0 => Dtype::F32,
        1 => Dtype::F16,
        24 => Dtype::I8,
        25 => Dtype::I16,
        26 => Dtype::I32,
        27 => Dtype::I64,
        28 => Dtype::F64,
        30 => Dtype::Bf16,
        _ => return None,
    })
}

/// Puts a tensor into the catalogue; the name of its blocks if it is quantised.
fn place(
    tensor: &Described,
    blob: &Arc<dyn Blob>,
    start: u64,
    architecture: &str,
    heads: Heads,
    catalogue: &mut Catalogue,
) -> Result<Option<&'static str>> {
    let Described { name, shape, kind, offset } = tensor;
    let overflow = || Error::input(text!("error-checkpoint/deepspeed/shape-overflows", shape = format!("{shape:?}")));
    let elements = size(shape, 4).ok_or_else(overflow)? / 4;
    let last = shape.last().copied().unwrap_or(1);
    let blocks = Blocks::of(*kind);
    let sizes = blocks.map(|blocks| (blocks.numbers, blocks.bytes));
    let sizes = sizes.or_else(|| plain(*kind).map(|dtype| (1, dtype.width())));
    let sizes = sizes.or_else(|| blocks::unread(*kind).map(|(_, numbers, bytes)| (numbers, bytes)));
    let Some((numbers, width)) = sizes else {
        // A format of later than this table: how long its blocks are is not known, so a bit for each number.
        catalogue.unread += (elements / 8) as u64;
        let why = format!("its number format {kind} is not known");
        catalogue.skipped.push(Skipped { tensor: name.clone(), why });
        return Ok(None);
    };
    if !last.is_multiple_of(numbers) {
        return Err(Error::input(text!("error-checkpoint/gguf/rows-numbers-no-whole", last, numbers)));
    }
    let bytes = elements / numbers * width;
    let at = start.checked_add(*offset).filter(|at| at.checked_add(bytes as u64).is_some_and(|end| end <= blob.len()));
    let at = at.ok_or_else(|| {
        Error::input(text!("error-checkpoint/gguf/bytes-byte-data-not", bytes, offset, blob = blob.len()))
    })?;
    if let Some((kind, ..)) = blocks::unread(*kind) {
        let why = format!("it is quantised to {kind}, which is not decoded");
        catalogue.unread += bytes as u64;
        catalogue.skipped.push(Skipped { tensor: name.clone(), why });
        return Ok(None);
    }
    let (published, undo) = published(architecture, name, heads);
    let bits = (numbers, width);
    if undo == Undo::Experts && published.contains("{}") && shape.len() == 3 && shape[0] <= 1 << 12 {
        let size = bytes / shape[0].max(1);
        for expert in 0..shape[0] {
            let name = published.replacen("{}", &expert.to_string(), 1);
            let at = at + (expert * size) as u64;
            catalogue.entries.push(entry(name, &shape[1..], *kind, at, blob, Undo::Nothing, bits)?);
        }
    } else {
        let name = if published.contains("{}") { name.clone() } else { published };
        catalogue.entries.push(entry(name, shape, *kind, at, blob, undo, bits)?);
    }
    Ok(blocks.map(|blocks| blocks.name))
}

fn entry(
    name: String,
    shape: &[usize],
    kind: u32,
    at: u64,
    blob: &Arc<dyn Blob>,
    undo: Undo,
    (numbers, width): (usize, usize),
) -> Result<Entry> {
    // The stored rows as they are wanted: a view of the plain numbers.
    let (view, strides, out): (Vec<usize>, Vec<usize>, Vec<usize>) = match (undo, shape) {
        (Undo::Interleaved { heads }, [rows, rest @ ..])
            if rest.len() < 2 && heads > 0 && rows.is_multiple_of(2 * heads) && *rows > 0 =>
        {
            let (half, cols) = (rows / heads / 2, rest.first().copied().unwrap_or(1));
            (vec![heads, 2, half, cols], vec![2 * half * cols, cols, 2 * cols, 1], shape.to_vec())
        }
        (Undo::Transposed, [rows, cols]) => (vec![*cols, *rows], vec![1, *cols], vec![*cols, *rows]),
        _ => (Vec::new(), Vec::new(), shape.to_vec()),
    };
    let plus_one = undo == Undo::PlusOne;
    if let Some(dtype) = plain(kind)
        && !(plus_one && dtype == Dtype::F32)
    {
        let place = if view.is_empty() || out.contains(&0) {
            Place::Run { file: 0, offset: at }
        } else {
            Place::Strided { file: 0, offset: at, shape: view, strides }
        };
        return Ok(Entry { name, dtype, shape: out, place });
    }
    let elements = size(shape, 4).ok_or_else(|| Error::input(text!("error-checkpoint/gguf/shape-overflows")))? / 4;
    let (blob, blocks) = (Arc::clone(blob), Blocks::of(kind));
    let make = move || {
        let bytes = blob.bytes(at, elements / numbers * width)?;
        let mut values = match blocks {
            Some(blocks) => blocks.decode(&bytes),
            None => bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect(),
        };
        if plus_one {
            for value in &mut *values {
                *value -= 1.0;
            }
        }
        let flat: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        if view.is_empty() {
            return Ok(flat);
        }
        let flat = scratchproof_source::MemoryFile::new("decoded", flat).borrowed();
        super::gather::strided(&flat, 0, &view, &strides, 4)
    };
    Ok(Entry { name, dtype: Dtype::F32, shape: out, place: Place::Made(Arc::new(make)) })
}

fn number(settings: &Settings, architecture: &str, name: &str) -> Option<usize> {
    settings.get(&format!("{architecture}.{name}")).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok())
}

fn heads(settings: &Settings, architecture: &str) -> Heads {
    let query = number(settings, architecture, "attention.head_count").unwrap_or(0);
    Heads { query, key: number(settings, architecture, "attention.head_count_kv").unwrap_or(query) }
}

/// The settings under the names that a config.json has.
fn published_settings(settings: &Settings, architecture: &str) -> Value {
    let mut found = serde_json::Map::new();
    for (own, name) in [
        ("embedding_length", "hidden_size"),
        ("block_count", "num_hidden_layers"),
        ("feed_forward_length", "intermediate_size"),
        ("attention.head_count", "num_attention_heads"),
        ("attention.head_count_kv", "num_key_value_heads"),
        ("attention.key_length", "head_dim"),
        ("vocab_size", "vocab_size"),
    ] {
        if let Some(number) = number(settings, architecture, own) {
            found.insert(name.to_owned(), Value::from(number));
        }
    }
    if !architecture.is_empty() {
        found.insert("model_type".to_owned(), Value::from(architecture));
    }
    Value::Object(found)
}
