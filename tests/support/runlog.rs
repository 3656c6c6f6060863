//! A run log of W&B to rewrite: records of the `LevelDB` file, and fields of the messages in them.

use std::fs;
use std::path::Path;

use serde_json::Value;

const HEADER: usize = 7;
const BLOCK: usize = 32_768;

/// Numbers of the fields of `wandb_internal.proto` that are rewritten.
const HISTORY: u64 = 2;
const CONFIG: u64 = 5;
const RUN: u64 = 17;
const RUN_CONFIG: u64 = 4;
const ITEM: u64 = 1;
const HISTORY_STEP: u64 = 2;
const KEY: u64 = 1;
const NESTED_KEY: u64 = 2;
const VALUE: u64 = 16;

/// One field of a message: its number and what it holds.
#[derive(Clone)]
struct Field {
    number: u64,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Varint(u64),
    Fixed(Vec<u8>),
    Bytes(Vec<u8>),
}

fn varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn put_varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

fn message(bytes: &[u8]) -> Vec<Field> {
    let (mut fields, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let tag = varint(bytes, &mut at);
        let fixed = |at: &mut usize, length: usize| {
            *at += length;
            bytes[*at - length..*at].to_vec()
        };
        let content = match tag & 7 {
            0 => Content::Varint(varint(bytes, &mut at)),
            1 => Content::Fixed(fixed(&mut at, 8)),
            5 => Content::Fixed(fixed(&mut at, 4)),
            2 => {
                let length = usize::try_from(varint(bytes, &mut at)).expect("a length");
                Content::Bytes(fixed(&mut at, length))
            }
            kind => panic!("field of kind {kind}"),
        };
        fields.push(Field { number: tag >> 3, content });
    }
    fields
}

fn bytes_of(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Field { number, content } in fields {
        let kind = match content {
            Content::Varint(_) => 0,
            Content::Fixed(value) => {
                if value.len() == 8 {
                    1
                } else {
                    5
                }
            }
            Content::Bytes(_) => 2,
        };
        put_varint(number << 3 | kind, &mut bytes);
        match content {
            Content::Varint(value) => put_varint(*value, &mut bytes),
            Content::Fixed(value) => bytes.extend(value),
            Content::Bytes(value) => {
                put_varint(value.len() as u64, &mut bytes);
                bytes.extend(value);
            }
        }
    }
    bytes
}

/// Rewrites the messages in the fields of a number.
fn within(fields: &mut [Field], number: u64, mut change: impl FnMut(&mut Vec<Field>)) {
    for field in fields.iter_mut().filter(|field| field.number == number) {
        if let Content::Bytes(bytes) = &mut field.content {
            let mut inner = message(bytes);
            change(&mut inner);
            *bytes = bytes_of(&inner);
        }
    }
}

fn text(fields: &[Field], number: u64) -> Option<String> {
    let field = fields.iter().find(|field| field.number == number)?;
    let Content::Bytes(bytes) = &field.content else { return None };
    String::from_utf8(bytes.clone()).ok().filter(|text| !text.is_empty())
}

/// Changes the JSON value of an item, a name and a value.
fn item(fields: &mut [Field], change: &mut impl FnMut(&str, &mut Value)) {
    let Some(name) = text(fields, NESTED_KEY).or_else(|| text(fields, KEY)) else { return };
    let Some(mut value) = text(fields, VALUE).and_then(|text| serde_json::from_str(&text).ok()) else { return };
    change(&name, &mut value);
    for field in fields.iter_mut().filter(|field| field.number == VALUE) {
        field.content = Content::Bytes(value.to_string().into_bytes());
    }
}

/// Whole records of a file.
fn records(file: &[u8]) -> Vec<Vec<u8>> {
    let (mut records, mut at) = (Vec::<Vec<u8>>::new(), HEADER);
    while at + HEADER <= file.len() {
        let room = BLOCK - at % BLOCK;
        if room < HEADER {
            at += room;
            continue;
        }
        let length = usize::from(u16::from_le_bytes([file[at + 4], file[at + 5]]));
        if matches!(file[at + 6], 1 | 2) {
            records.push(Vec::new());
        }
        records.last_mut().expect("a first part").extend(&file[at + HEADER..][..length]);
        at += HEADER + length;
    }
    records
}

/// The file of these records, after the first bytes of the old one.
fn file_of(head: &[u8], records: &[Vec<u8>]) -> Vec<u8> {
    let mut file = head.to_vec();
    for record in records {
        let (mut rest, mut first) = (&record[..], true);
        loop {
            let room = BLOCK - file.len() % BLOCK;
            if room < HEADER {
                file.extend(vec![0; room]);
                continue;
            }
            let (part, after) = rest.split_at(rest.len().min(room - HEADER));
            let kind: u8 = match (first, after.is_empty()) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            let mut sum = crc32fast::Hasher::new();
            sum.update(&[kind]);
            sum.update(part);
            file.extend(sum.finalize().to_le_bytes());
            file.extend(u16::try_from(part.len()).expect("a block").to_le_bytes());
            file.push(kind);
            file.extend(part);
            (rest, first) = (after, false);
            if rest.is_empty() {
                break;
            }
        }
    }
    file
}

/// Rewrites every setting of the configuration and every logged value: its name, and what it becomes.
///
/// The step of a row is the value `_step`; the field beside the values follows it.
pub fn rewrite(path: &Path, mut setting: impl FnMut(&str, &mut Value), mut logged: impl FnMut(&str, &mut Value)) {
    let file = fs::read(path).expect("a log");
    let mut all = records(&file);
    for record in &mut all {
        let mut fields = message(record);
        let mut configure = |fields: &mut Vec<Field>| within(fields, ITEM, |fields| item(fields, &mut setting));
        within(&mut fields, CONFIG, &mut configure);
        within(&mut fields, RUN, |run| within(run, RUN_CONFIG, &mut configure));
        within(&mut fields, HISTORY, |row| {
            let mut step = None;
            within(row, ITEM, |fields| {
                item(fields, &mut |name, value| {
                    logged(name, value);
                    step = if name == "_step" { value.as_u64() } else { step };
                });
            });
            within(row, HISTORY_STEP, |own| {
                if let (Some(step), Some(number)) = (step, own.iter_mut().find(|field| field.number == 1)) {
                    number.content = Content::Varint(step);
                }
            });
        });
        *record = bytes_of(&fields);
    }
    fs::write(path, file_of(&file[..HEADER], &all)).expect("written");
}

/// Every logged value of a name times a factor.
pub fn scale_logged(path: &Path, metric: &str, factor: f64) {
    let mut changed = 0;
    rewrite(
        path,
        |_, _| {},
        |name, value| {
            if let Some(number) = value.as_f64().filter(|_| name == metric) {
                *value = if name == "_step" {
                    Value::from((number * factor).round() as u64)
                } else {
                    (number * factor).into()
                };
                changed += 1;
            }
        },
    );
    assert!(changed > 0, "{metric} is not logged");
}

/// A number of the configuration times a factor.
pub fn scale_setting(path: &Path, key: &str, factor: f64) {
    let mut changed = 0;
    rewrite(
        path,
        |name, value| {
            if let Some(number) = value.as_f64().filter(|_| name == key) {
                *value = (number * factor).into();
                changed += 1;
            }
        },
        |_, _| {},
    );
    assert!(changed > 0, "{key} is not in the configuration");
}
