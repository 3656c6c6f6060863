//! Exports of a tracker: tables of the web page, rows of the API.

mod csv;
mod delimited;
mod elements;
mod footer;
mod frame;
mod json;
mod losses;
mod parquet;
mod table;

use std::path::Path;

use super::hashed::Hashed;
use super::history::Collector;
use super::keys::{KeyMap, Keys};
use super::run::Run;
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

pub(super) use elements::{elements, members};
pub(super) use json::lines;
pub use losses::{Loss, Losses, losses};
pub(super) use parquet::{bytes as parquet_bytes, open as parquet};

/// Reads an export that is text: JSON or CSV.
///
/// # Errors
/// If it is neither, or cannot be read.
pub(super) fn text(path: &Path, head: &[u8]) -> Result<Vec<Run>> {
    let wide = head.starts_with(b"\xFF\xFE") || head.starts_with(b"\xFE\xFF");
    let start = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    if start.starts_with(b"{") || start.starts_with(b"[") {
        return json::open(path);
    }
    if !wide && (start.contains(&0) || start.is_empty()) {
        return Err(Error::input(text!("error-record/export/no-run-log-known", path = path.display())));
    }
    csv::open(path, wide)
}

/// Columns that may hold the step of a row; the first one present counts.
const STEPS: &[&str] = &[
    "_step",
    "step",
    "Step",
    "global_step",
    "train/global_step",
    "trainer/global_step",
    "iter",
    "iteration",
    "current_steps",
];

/// Gathers rows that name their step themselves.
#[derive(Default)]
struct Rows {
    history: Collector,
    /// The step of the row before, for a row without one.
    last: Option<i64>,
}

impl Rows {
    /// Begins a row whose columns have these texts; gives its step.
    fn begin<'a>(&mut self, find: impl Fn(&str) -> Option<&'a str>) -> i64 {
        let whole = |text: &str| {
            let text = text.trim();
            let float = || text.parse().ok().filter(|value| super::history::is_whole(*value)).map(cut);
            text.parse().ok().or_else(float)
        };
        let step = STEPS.iter().find_map(|name| whole(find(name)?));
        let row = i64::try_from(self.history.rows).unwrap_or(i64::MAX);
        let step = step.or(self.last).unwrap_or(row);
        if STEPS.iter().any(|name| find(name).is_some()) {
            self.last = Some(step);
        }
        self.history.rows += 1;
        step
    }

    /// The run, with the columns chosen by their spelling.
    fn finish(self, mut run: Run) -> Result<Run> {
        run.history = self.history.finish();
        run.notes.extend(run.history.excess());
        run.keys = Keys::choose(&run.history, &KeyMap::default())?;
        Ok(run)
    }
}

#[allow(clippy::cast_possible_truncation)] // only whole numbers below 2^53 come here
fn cut(value: f64) -> i64 {
    value as i64
}

/// Writes the digest of a read file into its runs.
fn sign(hashed: Hashed<impl std::io::Read>, runs: &mut [Run]) -> Result<()> {
    let mut signed = Run::default();
    hashed.sign(&mut signed)?;
    for run in runs {
        run.bytes = signed.bytes;
        run.sha256.clone_from(&signed.sha256);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
