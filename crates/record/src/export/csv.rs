//! CSV: what kind of table it is, and the rows of the API.

use std::io::{Cursor, Read};
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder};

use super::delimited::{Table, number};
use super::{Rows, sign, table};
use crate::hashed;
use crate::history::COLUMNS;
use crate::run::{Form, Run};
use scratchproof_error::{Error, Result};
use scratchproof_texts::{Text, text};

/// Of a longer file no more is read.
const LIMIT: u64 = 1 << 30;
/// A longer file in UTF-16 is not read.
const WIDE: u64 = 256 << 20;

/// Reads a file of CSV, separated by commas, semicolons or tabs; `wide` if it is UTF-16.
///
/// # Errors
/// If it is no table with a header, or cannot be read.
pub(super) fn open(path: &Path, wide: bool) -> Result<Vec<Run>> {
    let head = hashed::head(path, 1 << 16)?;
    let mut notes = Vec::new();
    let (mut runs, hashed) = if wide {
        let (bytes, hashed) = hashed::whole(path, WIDE)?;
        let text = narrow(&bytes);
        (read(path, Cursor::new(text.as_bytes()), text.as_bytes())?, hashed)
    } else {
        let mut hashed = hashed::open(path)?;
        let runs = read(path, (&mut hashed).take(LIMIT), &head)?;
        (runs, hashed)
    };
    sign(hashed, &mut runs)?;
    if !wide && runs.first().is_some_and(|run| run.bytes > LIMIT) {
        notes.push(format!("only the first {LIMIT} bytes of the table were read"));
    }
    for run in &mut runs {
        run.notes.extend(notes.iter().cloned());
    }
    Ok(runs)
}

fn narrow(bytes: &[u8]) -> String {
    let large = bytes.starts_with(b"\xFE\xFF");
    let (pairs, _) = bytes.as_chunks::<2>();
    let letters =
        pairs.iter().skip(1).map(|&pair| if large { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) });
    char::decode_utf16(letters).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// The separator that the first line has most of.
fn separator(head: &[u8]) -> u8 {
    let mut quoted = false;
    let mut counts = [0_u64; 3];
    for &byte in head {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => break,
            b',' if !quoted => counts[0] += 1,
            b';' if !quoted => counts[1] += 1,
            b'\t' if !quoted => counts[2] += 1,
            _ => {}
        }
    }
    match counts {
        [comma, semicolon, tab] if semicolon > comma && semicolon >= tab => b';',
        [comma, _, tab] if tab > comma => b'\t',
        _ => b',',
    }
}

fn read(path: &Path, input: impl Read, head: &[u8]) -> Result<Vec<Run>> {
    let named = |what: Text| Error::input(what).context(path.display());
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator(head)).from_reader(input);
    let mut record = ByteRecord::new();
    if !reader.read_byte_record(&mut record).map_err(|error| named(error.to_string().into()))? {
        return Err(named(text!("error-record/csv/table-empty")));
    }
    if record.len() > COLUMNS {
        return Err(named(text!("error-record/csv/table-columns-read", record = record.len(), columns = COLUMNS)));
    }
    let header: Vec<String> = record.iter().map(|name| name_of(name).to_owned()).collect();
    let mut table = Table { reader, record, width: header.len(), uneven: 0, damaged: None };
    let mut runs = if table::is_chart(&header) {
        table::chart(&header, &mut table)?
    } else if table::is_runs(&header) {
        table::runs(&header, &mut table)
    } else {
        vec![rows(&header, &mut table).map_err(|error| error.context(path.display().to_string()))?]
    };
    for run in &mut runs {
        if table.uneven > 0 {
            run.notes.push(format!("{} rows of the table have more or fewer fields than its header", table.uneven));
        }
        run.notes.extend(table.damaged.iter().map(|why| format!("the table could not be read to its end: {why}")));
    }
    if runs.is_empty() {
        return Err(named(text!("error-record/csv/table-header-export-no")));
    }
    Ok(runs)
}

fn name_of(bytes: &[u8]) -> &str {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    // A name that is no UTF-8 is kept as far as it is.
    match std::str::from_utf8(bytes) {
        Ok(name) => name.trim().trim_start_matches('\u{feff}').trim_matches('"'),
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

/// The rows of the API as a data frame writes them, or those of any logger: a column a key.
fn rows(header: &[String], table: &mut Table<impl Read>) -> Result<Run> {
    let mut rows = Rows::default();
    // A data frame's own count of rows has no name.
    let named: Vec<bool> = header.iter().map(|name| !name.is_empty() && !name.starts_with("Unnamed:")).collect();
    let place = |name: &&'static str| Some((*name, header.iter().position(|column| column == name)?));
    let places: Vec<(&str, usize)> = super::STEPS.iter().filter_map(place).collect();
    let mut numbers = 0_u64;
    while let Some(fields) = table.next() {
        let find = |name: &str| {
            let (_, at) = places.iter().find(|(known, _)| *known == name)?;
            fields.get(*at).copied().filter(|field| !field.is_empty())
        };
        let step = rows.begin(find);
        for ((name, field), _) in header.iter().zip(&fields).zip(&named).filter(|(_, named)| **named) {
            if let Some(value) = number(field) {
                rows.history.push_number(step, name, value);
                numbers += 1;
            } else if !field.trim().is_empty() {
                rows.history.skip();
            }
        }
    }
    if numbers == 0 {
        return Err(Error::input(text!("error-record/csv/text-no-table-numbers")));
    }
    rows.finish(Run { form: Form::Rows, ..Run::default() })
}
