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

/// Rows of a table of sums, at some 60 bytes each: a piece is a part of a model, and a file of more was not written by this tool.
const MOST_SUMS: usize = 1 << 24;

/// Rows of a table of kept rows, at 24 bytes each.
const MOST_VALUES: usize = 1 << 25;

/// Rows of a table of lists, at some 80 bytes each beside their text.
const MOST_ELEMENTS: usize = 1 << 23;

/// Bytes of the text of one table of lists.
const TEXT: usize = 512 << 20;

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
    let frame = from_bytes(bytes, MOST_SUMS)?;
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
    let frame = from_bytes(bytes, MOST_VALUES)?;
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
    let frame = from_bytes(bytes, MOST_ELEMENTS)?;
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

/// The table, if it has no more rows than these. A row of nothing costs a file no byte, and memory as much as any other.
fn from_bytes(bytes: Vec<u8>, most: usize) -> Result<DataFrame> {
    let mut reader = ParquetReader::new(Cursor::new(bytes));
    if reader.num_rows().map_err(|error| bad(&error))? > most {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let sums: Vec<SumRow> = vec![(0, SUMS[0], 0.5), (7, SUMS[1], f64::MIN_POSITIVE)];
        let rows: Vec<RowValue> = vec![(0, 1, 0.25), (2, 3, -0.0)];
        let lists: Vec<Element> = vec![("/a".into(), "{\"b\":1}".into())];
        let [a, b, c] = [sums_to_bytes(&sums), rows_to_bytes(&rows), lists_to_bytes(&lists)].map(Result::unwrap);
        assert_eq!(sums_from_bytes(a.clone()).unwrap(), sums);
        assert_eq!(rows_from_bytes(b.clone()).unwrap(), rows);
        assert_eq!(lists_from_bytes(c.clone()).unwrap(), lists);
        // A table in the place of another, one that is cut short, and none.
        assert!(
            sums_from_bytes(b.clone()).is_err() && rows_from_bytes(c).is_err() && lists_from_bytes(a.clone()).is_err()
        );
        for bad in [&a[..a.len() - 9], &a[9..], b"PAR1", b""] {
            assert!(sums_from_bytes(bad.to_vec()).is_err());
        }
        let strange: Vec<SumRow> = vec![(0, "no sum of this tool", 1.0)];
        assert!(sums_from_bytes(sums_to_bytes(&strange).unwrap()).is_err());
    }

    #[test]
    fn more_rows_than_a_piece_has_are_not_read() {
        let rows = vec![(0, 0, 0.0); 1000];
        let bytes = rows_to_bytes(&rows).unwrap();
        assert!(from_bytes(bytes.clone(), 1000).is_ok());
        assert!(from_bytes(bytes, 999).is_err());
    }
}
