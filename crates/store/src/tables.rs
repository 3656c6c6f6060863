//! Numbers as parquet, and back.

use std::io::Cursor;

use polars::prelude::{
    Column, DataFrame, NamedFrom, ParquetCompression, ParquetReader, ParquetWriter, PolarsError, SerReader, Series,
};

use super::lists::Element;
use scratchproof_error::{Error, Result};
use scratchproof_measure::journal::SUMS;
use scratchproof_texts::text;

/// Rows in one row group. Fixed, so that the bytes of a file depend on its rows alone.
const ROW_GROUP: usize = 1 << 17;

/// A file of more rows was not written by this tool: a piece is a part of a model.
const MOST: usize = 1 << 27;

/// Bytes of the text of one table of lists.
const TEXT: usize = 1 << 30;

/// Sums of units: `unit`, `sum`, `value`.
pub type SumRow = (u32, &'static str, f64);

/// Kept rows: `unit`, `member`, `value`.
pub type RowValue = (u32, u32, f32);

pub fn sums_to_bytes(rows: &[SumRow]) -> Result<Vec<u8>> {
    let unit = Series::new("unit".into(), rows.iter().map(|row| row.0).collect::<Vec<u32>>());
    let sum = Series::new("sum".into(), rows.iter().map(|row| row.1).collect::<Vec<&str>>());
    let value = Series::new("value".into(), rows.iter().map(|row| row.2).collect::<Vec<f64>>());
    to_bytes(rows.len(), [unit, sum, value])
}

pub fn sums_from_bytes(bytes: Vec<u8>) -> Result<Vec<SumRow>> {
    let frame = from_bytes(bytes)?;
    let column = |name: &str| frame.column(name).map_err(|error| bad(&error));
    let units = column("unit")?.u32().map_err(|error| bad(&error))?;
    let sums = column("sum")?.str().map_err(|error| bad(&error))?;
    let values = column("value")?.f64().map_err(|error| bad(&error))?;
    let row = |((unit, sum), value): ((Option<u32>, Option<&str>), Option<f64>)| {
        let known = SUMS.iter().find(|known| sum == Some(**known));
        Some((unit?, *known?, value?))
    };
    units.iter().zip(sums.iter()).zip(values.iter()).map(row).collect::<Option<_>>().ok_or_else(strange)
}

pub fn rows_to_bytes(rows: &[RowValue]) -> Result<Vec<u8>> {
    let unit = Series::new("unit".into(), rows.iter().map(|row| row.0).collect::<Vec<u32>>());
    let member = Series::new("member".into(), rows.iter().map(|row| row.1).collect::<Vec<u32>>());
    let value = Series::new("value".into(), rows.iter().map(|row| row.2).collect::<Vec<f32>>());
    to_bytes(rows.len(), [unit, member, value])
}

pub fn rows_from_bytes(bytes: Vec<u8>) -> Result<Vec<RowValue>> {
    let frame = from_bytes(bytes)?;
    let column = |name: &str| frame.column(name).map_err(|error| bad(&error));
    let units = column("unit")?.u32().map_err(|error| bad(&error))?;
    let members = column("member")?.u32().map_err(|error| bad(&error))?;
    let values = column("value")?.f32().map_err(|error| bad(&error))?;
    let row = |((unit, member), value): ((Option<u32>, Option<u32>), Option<f32>)| Some((unit?, member?, value?));
    units.iter().zip(members.iter()).zip(values.iter()).map(row).collect::<Option<_>>().ok_or_else(strange)
}

pub fn lists_to_bytes(elements: &[Element]) -> Result<Vec<u8>> {
    let list = Series::new("list".into(), elements.iter().map(|own| own.0.as_str()).collect::<Vec<&str>>());
    let json = Series::new("json".into(), elements.iter().map(|own| own.1.as_str()).collect::<Vec<&str>>());
    to_bytes(elements.len(), [list, json])
}

pub fn lists_from_bytes(bytes: Vec<u8>) -> Result<Vec<Element>> {
    let frame = from_bytes(bytes)?;
    let column = |name: &str| frame.column(name).map_err(|error| bad(&error));
    let lists = column("list")?.str().map_err(|error| bad(&error))?;
    let texts = column("json")?.str().map_err(|error| bad(&error))?;
    let text: usize = lists.iter().chain(texts.iter()).flatten().map(str::len).sum();
    if text > TEXT {
        return Err(strange());
    }
    let row = |(list, json): (Option<&str>, Option<&str>)| Some((list?.to_owned(), json?.to_owned()));
    lists.iter().zip(texts.iter()).map(row).collect::<Option<_>>().ok_or_else(strange)
}

fn to_bytes<const N: usize>(height: usize, columns: [Series; N]) -> Result<Vec<u8>> {
    let columns: Vec<Column> = columns.into_iter().map(Into::into).collect();
    let mut frame = DataFrame::new(height, columns).map_err(|error| bad(&error))?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .with_row_group_size(Some(ROW_GROUP))
        .set_parallel(false)
        .finish(&mut frame)
        .map_err(|error| bad(&error))?;
    Ok(bytes)
}

fn from_bytes(bytes: Vec<u8>) -> Result<DataFrame> {
    let mut reader = ParquetReader::new(Cursor::new(bytes));
    if reader.num_rows().map_err(|error| bad(&error))? > MOST {
        return Err(strange());
    }
    reader.finish().map_err(|error| bad(&error))
}

fn bad(error: &PolarsError) -> Error {
    Error::input(error.to_string())
}

fn strange() -> Error {
    Error::input(text!("error-store/tables/no-table-store"))
}
