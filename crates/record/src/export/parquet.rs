//! Parquet: the history as W&B exports it, or a data frame of it.

use std::io::{Cursor, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use polars::io::mmap::MmapBytesReader;
use polars::prelude::{DataType, ParallelStrategy, ParquetReader, SerReader, Series};

use super::{Rows, footer, sign};
use crate::hashed;
use crate::history::{VALUES, is_whole};
use crate::quiet;
use crate::run::{Form, Run};
use scratchproof_error::{Error, Result};
use scratchproof_source::plain;
use scratchproof_texts::{Text, text};

/// A longer file is not read.
const LIMIT: u64 = 8 << 30;

/// Reads the numbers of a parquet file, column by column; texts, lists and pictures are counted and left out.
///
/// # Errors
/// If the file cannot be read, is damaged, or its sizes are beyond the limits.
pub(crate) fn open(path: &Path) -> Result<Run> {
    let hashed = hashed::open(path)?;
    let file = plain::open(path).map_err(|error| Error::io(path.display(), error))?;
    let length = file.metadata().map_err(|error| Error::io(path.display(), error))?.len();
    let run = table(|| file.try_clone(), length, &path.display().to_string())?;
    let mut runs = vec![run];
    sign(hashed, &mut runs)?;
    runs.pop().ok_or_else(|| Error::input(text!("error-record/json/no-run")))
}

/// As [`open`], of a file that was read already; `name` stands in messages.
///
/// # Errors
/// If it is damaged, or its sizes are beyond the limits.
pub(crate) fn bytes(content: Vec<u8>, name: &str) -> Result<Run> {
    let (length, content) = (content.len() as u64, Arc::<[u8]>::from(content));
    table(|| Ok(Cursor::new(Arc::clone(&content))), length, name)
}

fn table<R: Read + Seek + MmapBytesReader>(
    open: impl Fn() -> std::io::Result<R>,
    length: u64,
    name: &str,
) -> Result<Run> {
    let named = |why: Text| Error::input(text!("error-record/parquet/parquet-file-cannot-read", name, why));
    if length > LIMIT {
        return Err(named(text!("error-record/parquet/longer-bytes", limit = LIMIT)));
    }
    let mut file = open().map_err(|error| Error::io(name, error))?;
    let footer = footer::read(&mut file, length).map_err(|why| named(why.into()))?;
    let count = u64::try_from(footer.rows).unwrap_or(0);
    // A number at the top; what stands in a group or a list is a picture or a histogram of the tracker.
    let number = |leaf: &&footer::Leaf| leaf.path.len() == 1 && !leaf.repeated && matches!(leaf.kind, 1 | 2 | 4 | 5);
    let names: Vec<&str> = footer.leaves.iter().filter(number).map(|leaf| leaf.path[0].as_str()).collect();
    if count.saturating_mul(names.len() as u64) > VALUES {
        return Err(named(text!(
            "error-record/parquet/rows-numbers-more-values",
            count,
            names = names.len(),
            values = VALUES
        )));
    }
    let whole = |values: Series| -> std::result::Result<Series, String> {
        if values.len() as u64 == count { Ok(values) } else { Err("it has another length than the table".into()) }
    };
    let read =
        |name: &str| columns(&open, &[name]).and_then(|mut one| one.pop().ok_or(GONE.to_owned())?).and_then(whole);
    let mut rows = Rows::default();
    let own = super::STEPS.iter().find(|step| names.contains(step)).and_then(|step| read(step).ok());
    let mut own = own.as_ref().and_then(|own| Some(own.f64().ok()?.iter()));
    let mut last = None;
    let steps: Vec<i64> = (0..count)
        .map(|row| {
            let own = own.as_mut().and_then(|own| own.next()?);
            last = own.filter(|value| is_whole(*value)).map(super::cut).or(last);
            last.unwrap_or(i64::try_from(row).unwrap_or(i64::MAX))
        })
        .collect();
    let (mut notes, mut any) = (Vec::new(), false);
    // A data frame's own count of rows is no figure of the run.
    let names: Vec<&str> = names.into_iter().filter(|name| !name.starts_with("__index_level_")).collect();
    // Many columns at a time: every opening reads the footer, which names them all.
    let portion = usize::try_from(PORTION / count.max(1)).unwrap_or(usize::MAX).max(1);
    for some in names.chunks(portion) {
        // One that is damaged must not take the others with it.
        let together = columns(&open, some).unwrap_or_default();
        let apart = together.len() != some.len();
        for (at, name) in some.iter().enumerate() {
            let values = if apart { read(name) } else { together[at].clone().and_then(whole) };
            match values {
                Ok(values) => {
                    any = true;
                    let Ok(values) = values.f64() else { continue };
                    for (step, value) in steps.iter().zip(values.iter()) {
                        if let Some(value) = value {
                            rows.history.push_number(*step, name, value);
                        }
                    }
                }
                Err(why) => {
                    let why: String = why.chars().filter(|c| !c.is_control()).take(200).collect();
                    notes.push(format!("column {name} was left out: {why}"));
                }
            }
        }
    }
    if !any {
        return Err(named(notes.pop().map_or_else(|| text!("error-record/parquet/no-column"), Text::plain)));
    }
    rows.history.rows = count;
    let mut run = rows.finish(Run { form: Form::Rows, ..Run::default() })?;
    run.history.skipped += count.saturating_mul((footer.leaves.len() - names.len()) as u64);
    run.notes.extend(notes.into_iter().take(20));
    Ok(run)
}

/// Values that are read at a time.
const PORTION: u64 = 1 << 22;

/// Said of a column that the library does not hand out.
const GONE: &str = "it is not there";

/// Columns of numbers, each as it could be read; the library may panic on a page that is damaged inside.
fn columns<R: MmapBytesReader>(
    open: &impl Fn() -> std::io::Result<R>,
    names: &[&str],
) -> std::result::Result<Vec<std::result::Result<Series, String>>, String> {
    let read = || {
        let failed = |error: polars::prelude::PolarsError| error.to_string();
        let file = open().map_err(|error| error.to_string())?;
        let wanted = names.iter().map(|name| (*name).to_owned()).collect();
        // On this thread alone, where a panic of it is kept quiet.
        let reader =
            ParquetReader::new(file).with_columns(Some(wanted)).set_rechunk(true).read_parallel(ParallelStrategy::None);
        let frame = reader.finish().map_err(failed)?;
        let one = |name: &&str| {
            let series: &Series = frame.column(name).map_err(failed)?.as_materialized_series();
            if !series.dtype().is_primitive_numeric() {
                return Err(format!("its type {} is no number", series.dtype()));
            }
            series.cast(&DataType::Float64).map_err(failed)
        };
        Ok(names.iter().map(one).collect())
    };
    quiet::caught(read).unwrap_or_else(|| Err("its pages are damaged".into()))
}
