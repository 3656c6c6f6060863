//! Parquet: the history as W&B exports it, or a data frame of it.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use polars::prelude::{DataType, ParquetReader, SerReader, Series};

use super::{Rows, footer, sign};
use crate::error::{Error, Result};
use crate::timeline::hashed;
use crate::timeline::history::is_whole;
use crate::timeline::run::{Form, Run};

/// A longer file is not read.
const LIMIT: u64 = 8 << 30;

/// Reads the numbers of a parquet file, column by column; texts, lists and pictures are counted and left out.
///
/// # Errors
/// If the file cannot be read, is damaged, or its sizes are beyond the limits.
pub(in crate::timeline) fn open(path: &Path) -> Result<Run> {
    let named = |why: String| Error::input(format!("{}: the parquet file cannot be read: {why}", path.display()));
    let hashed = hashed::open(path)?;
    let mut file = File::open(path).map_err(|error| Error::io(path.display(), error))?;
    let length = file.metadata().map_err(|error| Error::io(path.display(), error))?.len();
    if length > LIMIT {
        return Err(named(format!("it is longer than {LIMIT} bytes")));
    }
    let footer = footer::read(&mut file, length).map_err(named)?;
    let count = u64::try_from(footer.rows).unwrap_or(0);
    let mut columns = Vec::new();
    let mut skipped = 0_u64;
    let mut notes = Vec::new();
    for leaf in &footer.leaves {
        // A number at the top: what stands in a group or a list is a picture or a histogram of the tracker.
        let [name] = &leaf.path[..] else {
            skipped += count;
            continue;
        };
        if leaf.repeated || !matches!(leaf.kind, 1 | 2 | 4 | 5) {
            skipped += count;
            continue;
        }
        match column(&file, name) {
            Ok(values) if values.len() as u64 == count => columns.push((name.clone(), values)),
            Ok(_) => return Err(named(format!("column {name} has another length than the table"))),
            Err(why) => {
                let why: String = why.chars().filter(|c| !c.is_control()).take(200).collect();
                notes.push(format!("column {name} was left out: {why}"));
            }
        }
    }
    if columns.is_empty() {
        return Err(named(notes.pop().unwrap_or_else(|| "it has no column of numbers".into())));
    }
    let mut run = rows(&columns, footer.rows)?;
    run.history.skipped += skipped;
    run.notes.extend(notes.into_iter().take(20));
    let mut runs = vec![run];
    sign(hashed, &mut runs)?;
    runs.pop().ok_or_else(|| Error::input("no run"))
}

fn rows(columns: &[(String, Vec<Option<f64>>)], count: i64) -> Result<Run> {
    let step = super::STEPS.iter().find_map(|name| columns.iter().find(|(column, _)| column == name));
    let mut rows = Rows::default();
    let mut last = None;
    for at in 0..usize::try_from(count).unwrap_or(0) {
        let own = step.and_then(|(_, values)| values[at]).filter(|value| is_whole(*value)).map(super::cut);
        let row = own.or(last).unwrap_or(i64::try_from(at).unwrap_or(i64::MAX));
        last = own.or(last);
        rows.history.rows += 1;
        for (name, values) in columns {
            // A data frame's own count of rows is no figure of the run.
            if let Some(value) = values[at].filter(|_| !name.starts_with("__index_level_")) {
                rows.history.push_number(row, name, value);
            }
        }
    }
    rows.finish(Run { form: Form::Rows, ..Run::default() })
}

/// One column of numbers; the library may panic on a page that is damaged inside.
fn column(file: &File, name: &str) -> std::result::Result<Vec<Option<f64>>, String> {
    let read = || -> std::result::Result<Vec<Option<f64>>, String> {
        let failed = |error: polars::prelude::PolarsError| error.to_string();
        let file = file.try_clone().map_err(|error| error.to_string())?;
        let reader = ParquetReader::new(file).with_columns(Some(vec![name.to_owned()])).set_rechunk(true);
        let frame = reader.finish().map_err(failed)?;
        let series: &Series = frame.column(name).map_err(failed)?.as_materialized_series();
        if !series.dtype().is_primitive_numeric() {
            return Err(format!("its type {} is no number", series.dtype()));
        }
        let series = series.cast(&DataType::Float64).map_err(failed)?;
        Ok(series.f64().map_err(failed)?.iter().collect())
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("its pages are damaged".into()))
}
