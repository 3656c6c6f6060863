//! Rows to columns and back. The type of a field decides the type of its column.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use polars::prelude::{
    Column, DataFrame, NamedFrom, ParquetCompression, ParquetReader, ParquetWriter, PolarsError, SerReader, Series,
};

use crate::{Reference, seal};
use scratchproof_error::{Error, Result};
use scratchproof_source::plain;
use scratchproof_texts::text;

/// A longer table is not read: the tool writes none.
const LONGEST: u64 = 512 << 20;

/// Rows in one row group. Fixed, so that the bytes of a file depend on its rows alone.
const ROW_GROUP: usize = 1 << 17;

/// A row type that is a file.
pub(super) trait Row: Sized {
    fn frame(rows: &[Self]) -> Result<DataFrame>;
    fn rows(frame: &DataFrame) -> Result<Vec<Self>>;
}

/// A value that is a cell.
pub(super) trait Cell: Sized {
    fn series(name: &str, values: &[&Self]) -> Result<Series>;
    fn cells(column: &Column) -> Result<Vec<Self>>;

    /// The values of a column that is not there, if it may be absent.
    fn absent(_rows: usize) -> Option<Vec<Self>> {
        None
    }
}

/// The struct of all tables, each with its file of the field's name, from the lists of their columns.
macro_rules! tables {
    ($($(#[$doc:meta])* $table:ident: $row:ident { $($column:ident),* })*) => {
        /// Every figure of an audit. The order of the rows is the order in the files.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Evidence {
            $($(#[$doc])* pub $table: Vec<$row>,)*
        }

        impl Evidence {
            /// Names of the files that [`Self::write`] makes.
            pub const FILES: &[&str] = &[$(concat!(stringify!($table), ".parquet")),*];

            /// Writes every table to `dir`, which is made if missing: the same rows give the same bytes.
            ///
            /// # Errors
            /// If a file cannot be written, or a layer or a count is beyond its column's type.
            pub fn write(&self, dir: &Path) -> Result<()> {
                self.write_tables(dir, |_| true)
            }

            /// Writes the tables whose name is wanted and nothing else.
            ///
            /// # Errors
            /// As [`Self::write`].
            pub fn write_tables(&self, dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
                table::make(dir)?;
                self.encode(wanted, |name, bytes| table::put(&dir.join(name), bytes))
            }

            /// Hands on the bytes of every wanted table's file, with the file's name: the same rows give the same bytes.
            ///
            /// # Errors
            /// If a layer or a count is beyond its column's type; those of `sink`.
            pub fn encode(
                &self,
                wanted: impl Fn(&str) -> bool,
                mut sink: impl FnMut(&str, &[u8]) -> Result<()>,
            ) -> Result<()> {
                $(if wanted(stringify!($table)) {
                    sink(concat!(stringify!($table), ".parquet"), &table::encode(&self.$table)?)?;
                })*
                Ok(())
            }

            /// Reads what [`Self::write`] wrote. A table with no file is empty.
            ///
            /// # Errors
            /// If a file cannot be read or has not the columns of its table.
            pub fn read(dir: &Path) -> Result<Self> {
                let mut left = table::CELLS;
                Ok(Self { $($table: table::read(&dir.join(concat!(stringify!($table), ".parquet")), &mut left)?,)* })
            }
        }

        $(impl table::Row for $row {
            fn frame(rows: &[Self]) -> Result<polars::prelude::DataFrame> {
                table::join(rows.len(), vec![
                    $(table::column(stringify!($column), rows.iter().map(|row| &row.$column).collect())?),*
                ])
            }

            fn rows(frame: &polars::prelude::DataFrame) -> Result<Vec<Self>> {
                $(let mut $column = table::cells(frame, stringify!($column))?.into_iter();)*
                (0..frame.height()).map(|_| Ok(Self { $($column: table::next(&mut $column)?),* })).collect()
            }
        })*
    };
}
pub(super) use tables;

pub(super) fn make(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|cause| Error::io(place("make", dir), cause))
}

pub(super) fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|cause| Error::io(place("write", path), cause))
}

pub(super) fn encode<R: Row>(rows: &[R]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let empty = R::frame(&[])?;
    let mut writer = ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .with_row_group_size(Some(ROW_GROUP))
        .set_parallel(false)
        .batched(empty.schema())
        .map_err(|error| polars_error(&error))?;
    // A group at a time: of the values of a long log no second copy is held.
    for group in rows.chunks(ROW_GROUP) {
        writer.write_batch(&R::frame(group)?).map_err(|error| polars_error(&error))?;
    }
    writer.finish().map_err(|error| polars_error(&error))?;
    drop(writer);
    Ok(seal::put(bytes))
}

/// Cells of all tables of a folder, at most, at some 40 bytes each: a cell of nothing costs a file no byte.
pub(super) const CELLS: usize = 1 << 25;

/// The rows of a table, if it has no more cells than are `left`.
pub(super) fn read<R: Row>(path: &Path, left: &mut usize) -> Result<Vec<R>> {
    if fs::symlink_metadata(path).is_err_and(|cause| cause.kind() == std::io::ErrorKind::NotFound) {
        return Ok(Vec::new());
    }
    let bytes = plain::read(path, LONGEST)?;
    let bad = |error: Error| error.context(path.display().to_string().escape_debug().to_string());
    if !seal::holds(&bytes) {
        return Err(bad(Error::input(text!("error-evidence/table/table-damaged-or-written"))));
    }
    let mut reader = ParquetReader::new(Cursor::new(bytes));
    let size = reader.schema().and_then(|schema| Ok(reader.num_rows()?.saturating_mul(schema.len())));
    let rest = left.checked_sub(size.map_err(|error| bad(polars_error(&error)))?);
    *left = rest.ok_or_else(|| bad(Error::input(text!("error-evidence/table/cells", most = CELLS))))?;
    let frame = reader.finish().map_err(|error| bad(polars_error(&error)))?;
    R::rows(&frame).map_err(bad)
}

pub(super) fn join(height: usize, columns: Vec<Column>) -> Result<DataFrame> {
    DataFrame::new(height, columns).map_err(|error| polars_error(&error))
}

#[allow(clippy::needless_pass_by_value)] // the macro has the list and nobody else wants it
pub(super) fn column<T: Cell>(name: &str, values: Vec<&T>) -> Result<Column> {
    Ok(T::series(name, &values)?.into())
}

/// Columns of today and what version 0.1 called them: its tables are read.
const FORMER: [(&str, &str); 3] =
    [("nearest", "twin"), ("nearest_pearson", "twin_pearson"), ("nearest_log10_p", "twin_log10_p")];

pub(super) fn cells<T: Cell>(frame: &DataFrame, name: &str) -> Result<Vec<T>> {
    let column = frame.column(name).or_else(|error| match FORMER.iter().find(|(new, _)| *new == name) {
        Some((_, former)) => frame.column(former),
        None => Err(error),
    });
    if column.is_err()
        && let Some(absent) = T::absent(frame.height())
    {
        return Ok(absent);
    }
    T::cells(column.map_err(|error| polars_error(&error))?)
        .map_err(|error| error.context(text!("error-evidence/table/column", name)))
}

pub(super) fn next<T>(cells: &mut impl Iterator<Item = T>) -> Result<T> {
    cells.next().ok_or_else(|| Error::input(text!("error-evidence/table/column-shorter-others")))
}

fn place(what: &str, path: &Path) -> String {
    format!("cannot {what} {}", path.display().to_string().escape_debug())
}

fn polars_error(error: &PolarsError) -> Error {
    Error::input(error.to_string())
}

fn missing() -> Error {
    Error::input(text!("error-evidence/table/value-missing"))
}

fn number<T: TryFrom<V>, V: Copy + std::fmt::Display>(name: &str, value: V) -> Result<T> {
    T::try_from(value)
        .map_err(|_| Error::input(text!("error-evidence/table/too-large-column", value = value.to_string(), name)))
}

impl Cell for i64 {
    fn series(name: &str, values: &[&Self]) -> Result<Series> {
        Ok(Series::new(name.into(), values.iter().map(|&&value| value).collect::<Vec<_>>()))
    }

    fn cells(column: &Column) -> Result<Vec<Self>> {
        let values = column.i64().map_err(|error| polars_error(&error))?;
        values.iter().map(|value| value.ok_or_else(missing)).collect()
    }
}

impl Cell for u64 {
    fn series(name: &str, values: &[&Self]) -> Result<Series> {
        let values: Vec<i64> = values.iter().map(|&&value| number(name, value)).collect::<Result<_>>()?;
        Ok(Series::new(name.into(), values))
    }

    fn cells(column: &Column) -> Result<Vec<Self>> {
        i64::cells(column)?.into_iter().map(|value| number(column.name(), value)).collect()
    }
}

impl Cell for Option<u32> {
    fn series(name: &str, values: &[&Self]) -> Result<Series> {
        let values: Vec<Option<i32>> =
            values.iter().map(|value| value.map(|value| number(name, value)).transpose()).collect::<Result<_>>()?;
        Ok(Series::new(name.into(), values))
    }

    fn cells(column: &Column) -> Result<Vec<Self>> {
        let values = column.i32().map_err(|error| polars_error(&error))?;
        values.iter().map(|value| value.map(|value| number(column.name(), value)).transpose()).collect()
    }
}

impl Cell for Option<i64> {
    fn series(name: &str, values: &[&Self]) -> Result<Series> {
        Ok(Series::new(name.into(), values.iter().map(|&&value| value).collect::<Vec<_>>()))
    }

    fn cells(column: &Column) -> Result<Vec<Self>> {
        Ok(column.i64().map_err(|error| polars_error(&error))?.iter().collect())
    }

    /// Steps and numbers that a version of the tool added to a table are missing in what earlier ones wrote.
    fn absent(rows: usize) -> Option<Vec<Self>> {
        Some(vec![None; rows])
    }
}

impl Cell for u32 {
    fn series(name: &str, values: &[&Self]) -> Result<Series> {
        let values: Vec<i32> = values.iter().map(|&&value| number(name, value)).collect::<Result<_>>()?;
        Ok(Series::new(name.into(), values))
    }

    fn cells(column: &Column) -> Result<Vec<Self>> {
        Option::<Self>::cells(column)?.into_iter().map(|value| value.ok_or_else(missing)).collect()
    }
}

impl Cell for Option<f64> {
    /// What is not a finite number is null.
    fn series(name: &str, values: &[&Self]) -> Result<Series> {
        let values: Vec<Self> = values.iter().map(|value| value.filter(|value| value.is_finite())).collect();
        Ok(Series::new(name.into(), values))
    }

    fn cells(column: &Column) -> Result<Vec<Self>> {
        Ok(column.f64().map_err(|error| polars_error(&error))?.iter().collect())
    }
}

impl Cell for f64 {
    fn series(name: &str, values: &[&Self]) -> Result<Series> {
        Ok(Series::new(name.into(), values.iter().map(|&&value| value).collect::<Vec<_>>()))
    }

    fn cells(column: &Column) -> Result<Vec<Self>> {
        Option::<Self>::cells(column)?.into_iter().map(|value| value.ok_or_else(missing)).collect()
    }
}

impl Cell for bool {
    fn series(name: &str, values: &[&Self]) -> Result<Series> {
        Ok(Series::new(name.into(), values.iter().map(|&&value| value).collect::<Vec<_>>()))
    }

    fn cells(column: &Column) -> Result<Vec<Self>> {
        let values = column.bool().map_err(|error| polars_error(&error))?;
        values.iter().map(|value| value.ok_or_else(missing)).collect()
    }
}

impl Cell for Option<String> {
    fn series(name: &str, values: &[&Self]) -> Result<Series> {
        Ok(Series::new(name.into(), values.iter().map(|value| value.as_deref()).collect::<Vec<_>>()))
    }

    fn cells(column: &Column) -> Result<Vec<Self>> {
        let values = column.str().map_err(|error| polars_error(&error))?;
        Ok(values.iter().map(|value| value.map(str::to_owned)).collect())
    }
}

impl Cell for String {
    fn series(name: &str, values: &[&Self]) -> Result<Series> {
        Ok(Series::new(name.into(), values.iter().map(|value| value.as_str()).collect::<Vec<_>>()))
    }

    fn cells(column: &Column) -> Result<Vec<Self>> {
        Option::<Self>::cells(column)?.into_iter().map(|value| value.ok_or_else(missing)).collect()
    }
}

impl Cell for Arc<str> {
    fn series(name: &str, values: &[&Self]) -> Result<Series> {
        Ok(Series::new(name.into(), values.iter().map(AsRef::as_ref).collect::<Vec<&str>>()))
    }

    fn cells(column: &Column) -> Result<Vec<Self>> {
        Ok(String::cells(column)?.into_iter().map(Self::from).collect())
    }
}

impl Cell for Reference {
    fn series(name: &str, values: &[&Self]) -> Result<Series> {
        Ok(Series::new(name.into(), values.iter().map(ToString::to_string).collect::<Vec<_>>()))
    }

    fn cells(column: &Column) -> Result<Vec<Self>> {
        String::cells(column)?.iter().map(|text| text.parse()).collect()
    }
}
