//! Measurements in files: `DIR/measurements/`, written piece by piece as they are finished, read back into the same
//! value.
//!
//! Every piece is a JSON file `NAME.json` with the version of the store and of the kernels and the key of the piece, and,
//! where it has many numbers or long lists, parquet tables beside it: `NAME-sums.parquet`, `NAME-rows.parquet` and
//! `NAME-lists.parquet`. The tables are written first, so that a piece is finished when its JSON is there. When everything is
//! measured, what was made of the pieces is gathered in `measurements.json`; beside it only the sums of the tensors stay.

mod inputs;
mod lists;
mod tables;
mod units;

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use inputs::Inputs;
use scratchproof_error::json::fits;
use scratchproof_error::{Context, Error, Result};
use scratchproof_folder::Folder;
use scratchproof_measure::{Journal, Piece, Stored, figures_of, parts};
use scratchproof_measurements::{KERNEL_VERSION, Measurements};
use scratchproof_source::plain;
use scratchproof_texts::text;

pub use inputs::{Seen, case_of, remember_case};
pub use units::{Memory, PLAN, PlanFile, PlannedTensor, PlannedUnit, Then, Units};

/// Version of the files. The first had no lists apart; what it wrote is read.
pub const VERSION: u32 = 2;

/// The folder of the store.
const PLACE: &str = "measurements/";

/// Tables beside the JSON of a piece.
const TABLES: [&str; 3] = ["sums", "rows", "lists"];

/// What of the case is used, where not all of it is: no piece, and sealed as they are.
pub const CHOICE: &str = "measurements/choice.json";

/// The piece that holds everything but the sums of the tensors.
const ALL: &str = "measurements";

/// A longer file of JSON was not written by this tool.
const LONGEST: u64 = scratchproof_folder::LONGEST;

/// What stands in the JSON file of a piece.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    kernels: u32,
    piece: String,
    key: String,
    models: Vec<String>,
    /// By [`TABLES`], whether it has one.
    tables: Vec<bool>,
    value: serde_json::Value,
}

impl Written {
    /// Whether a table of that name stands beside it.
    fn has(&self, table: &str) -> bool {
        let at = TABLES.iter().position(|own| *own == table);
        at.and_then(|at| self.tables.get(at)).is_some_and(|there| *there)
    }
}

/// What every version of the files begins with.
#[derive(Deserialize)]
struct Head {
    version: u32,
    kernels: u32,
}

/// The store of one audit.
pub struct Store<'a> {
    folder: &'a Folder,
    inputs: Mutex<Inputs>,
    /// Pieces that were taken and pieces that were measured.
    counts: Mutex<(usize, usize)>,
}

impl<'a> Store<'a> {
    /// Opens the store in a folder. Pieces of models that are not what they were (`now`) are removed.
    ///
    /// # Errors
    /// If a file of it is of another version or was changed by somebody else, or cannot be removed.
    pub fn open(folder: &'a Folder, now: &[Seen]) -> Result<Self> {
        let mut inputs = Inputs::read(folder.root());
        let store = Self { folder, inputs: Mutex::new(Inputs::default()), counts: Mutex::default() };
        let changed = inputs.changed(now);
        if !changed.is_empty() {
            for name in store.names()? {
                let written = store.read(&name)?;
                if written.is_some_and(|written| written.models.iter().any(|model| changed.contains(model))) {
                    store.remove(&name)?;
                    inputs.measured.remove(&name);
                }
            }
        }
        inputs.note(now);
        inputs.write(folder.root())?;
        *lock(&store.inputs) = inputs;
        Ok(store)
    }

    /// Removes everything that was measured of these models.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn forget(&self, models: &[String]) -> Result<()> {
        for name in self.names()? {
            if self.read(&name)?.is_some_and(|written| written.models.iter().any(|model| models.contains(model))) {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Everything that was measured, if it answers this question.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn complete(&self, question: &Piece) -> Result<Option<Measurements>> {
        let Some(mut written) = self.read(ALL)?.filter(|written| written.key == question.key) else { return Ok(None) };
        if !self.join(ALL, &mut written)? {
            return Ok(None);
        }
        let strange = |cause: String| Error::input(text!("error-store/room/json", place = PLACE, all = ALL, cause));
        let mut all: Measurements =
            serde_json::from_value(written.value).map_err(|cause| strange(cause.to_string()))?;
        for part in parts(&all.plan) {
            let name = format!("figures-{:05}", part.number);
            let Some(stored) = self.stored(&name, false)? else { return Ok(None) };
            let figures = figures_of(&all.plan, &part, stored).context(|| format!("{PLACE}{name}.json"))?;
            all.tensors.extend(figures);
        }
        all.check().map_err(strange)?;
        self.tidy()?;
        Ok(Some(all))
    }

    /// Gathers everything that was measured: from here on no weight is needed to judge.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(&self, question: &Piece, all: &Measurements) -> Result<()> {
        let value = serde_json::to_value(all).map_err(|cause| Error::input(cause.to_string()))?;
        self.write(question, ALL, &Stored { value, ..Stored::default() })?;
        self.tidy()
    }

    /// How many pieces were finished before, and how many were measured now.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        *lock(&self.counts)
    }

    /// Removes what `measurements.json` holds as well, and the kept rows, of which the products are made.
    fn tidy(&self) -> Result<()> {
        for name in self.names()? {
            if name.starts_with("figures-") {
                self.folder.remove(&format!("{PLACE}{name}-rows.parquet"))?;
            } else if name != ALL {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Names of the pieces.
    fn names(&self) -> Result<Vec<String>> {
        let files = self.folder.files(PLACE)?;
        let pieces = files.iter().filter(|file| file.name != CHOICE);
        let names = pieces.filter_map(|file| file.name.strip_prefix(PLACE)?.strip_suffix(".json"));
        Ok(names.map(str::to_owned).collect())
    }

    fn remove(&self, name: &str) -> Result<()> {
        // The JSON goes first: tables without it are no piece.
        self.folder.remove(&format!("{PLACE}{name}.json"))?;
        TABLES.iter().try_for_each(|table| self.folder.remove(&format!("{PLACE}{name}-{table}.parquet")))
    }

    /// Bytes of a file of the store.
    fn bytes(&self, file: &str) -> Result<Option<Vec<u8>>> {
        let name = format!("{PLACE}{file}");
        let Some(written) = self.folder.files(&name)?.into_iter().find(|written| written.name == name) else {
            return Ok(None);
        };
        if written.bytes > LONGEST {
            return Err(Error::input(text!("error-store/room/bytes-more-tool-writes", name, bytes = &written.bytes)));
        }
        fs::read(self.folder.root().join(&name)).map(Some).map_err(|cause| Error::io(name, cause))
    }

    fn read(&self, name: &str) -> Result<Option<Written>> {
        let Some(bytes) = self.bytes(&format!("{name}.json"))? else { return Ok(None) };
        parsed(name, &bytes).map(Some)
    }

    /// Puts the lists of a piece back into its value; whether they are there.
    fn join(&self, name: &str, written: &mut Written) -> Result<bool> {
        if !written.has("lists") {
            return Ok(true);
        }
        let file = format!("{name}-lists.parquet");
        let Some(bytes) = self.bytes(&file)? else { return Ok(false) };
        joined(&mut written.value, bytes).context(|| format!("{PLACE}{file}"))?;
        Ok(true)
    }

    /// A piece with its tables.
    fn stored(&self, name: &str, with_rows: bool) -> Result<Option<Stored>> {
        let Some(mut written) = self.read(name)? else { return Ok(None) };
        if !self.join(name, &mut written)? {
            return Ok(None);
        }
        let mut stored = Stored { value: std::mem::take(&mut written.value), ..Stored::default() };
        if written.has("sums") {
            let file = format!("{name}-sums.parquet");
            let Some(bytes) = self.bytes(&file)? else { return Ok(None) };
            stored.sums = tables::sums_from_bytes(bytes).context(|| format!("{PLACE}{file}"))?;
        }
        if written.has("rows") && with_rows {
            let file = format!("{name}-rows.parquet");
            // Without its rows a piece is not what it was.
            let Some(bytes) = self.bytes(&file)? else { return Ok(None) };
            stored.rows = tables::rows_from_bytes(bytes).context(|| format!("{PLACE}{file}"))?;
        }
        Ok(Some(stored))
    }

    fn write(&self, piece: &Piece, name: &str, stored: &Stored) -> Result<()> {
        let mut value = stored.value.clone();
        let lists = lists::cut(&mut value);
        let tables = vec![!stored.sums.is_empty(), !stored.rows.is_empty(), !lists.is_empty()];
        for (which, table) in TABLES.into_iter().enumerate().filter(|(which, _)| tables[*which]) {
            let bytes = match which {
                0 => tables::sums_to_bytes(&stored.sums)?,
                1 => tables::rows_to_bytes(&stored.rows)?,
                _ => tables::lists_to_bytes(&lists)?,
            };
            self.folder.write(&format!("{PLACE}{name}-{table}.parquet"), &bytes)?;
        }
        let written = Written {
            version: VERSION,
            kernels: KERNEL_VERSION,
            piece: name.to_owned(),
            key: piece.key.clone(),
            models: piece.models.clone(),
            tables,
            value,
        };
        let text = serde_json::to_vec(&written).map_err(|cause| Error::input(cause.to_string()))?;
        self.folder.write(&format!("{PLACE}{name}.json"), &text).map(|_| ())
    }
}

impl Journal for Store<'_> {
    fn keeps(&self) -> bool {
        true
    }

    fn get(&self, piece: &Piece) -> Result<Option<Stored>> {
        if self.read(&piece.name)?.is_none_or(|written| written.key != piece.key) {
            return Ok(None);
        }
        let stored = self.stored(&piece.name, true)?;
        lock(&self.counts).0 += usize::from(stored.is_some());
        Ok(stored)
    }

    fn put(&self, piece: &Piece, stored: &Stored) -> Result<()> {
        self.write(piece, &piece.name, stored)?;
        lock(&self.counts).1 += 1;
        let mut inputs = lock(&self.inputs);
        *inputs.measured.entry(piece.name.clone()).or_default() += 1;
        inputs.write(self.folder.root())
    }
}

/// What stands in the JSON of a piece, if it is of this version or an earlier one. What is under way never takes up a piece of other
/// kernels: they are in its key.
fn parsed(name: &str, bytes: &[u8]) -> Result<Written> {
    let place = || format!("{PLACE}{name}.json");
    let strange = |cause: serde_json::Error| Error::input(cause.to_string()).context(place());
    fits(bytes).context(place)?;
    let head: Head = serde_json::from_slice(bytes).map_err(strange)?;
    if !(1..=VERSION).contains(&head.version) || !(1..=KERNEL_VERSION).contains(&head.kernels) {
        return Err(Error::input(text!(
            "error-store/room/version-store-kernels-tool",
            version = &head.version,
            kernels = &head.kernels,
            version_2 = VERSION,
            kernel_version = KERNEL_VERSION
        ))
        .context(place()));
    }
    serde_json::from_slice(bytes).map_err(strange)
}

fn joined(value: &mut serde_json::Value, table: Vec<u8>) -> Result<()> {
    lists::join(value, tables::lists_from_bytes(table)?)
}

/// What was gathered in the store of a finished folder, as JSON, and the version of the kernels.
///
/// # Errors
/// If it is not there, of another version, or cannot be read.
pub fn gathered(dir: &Path) -> Result<(u32, serde_json::Value)> {
    let file = |end: &str| dir.join(format!("{PLACE}{ALL}{end}"));
    let mut written = parsed(ALL, &plain::read(&file(".json"), LONGEST)?)?;
    if written.has("lists") {
        let lists = file("-lists.parquet");
        joined(&mut written.value, plain::read(&lists, LONGEST)?).context(|| lists.display().to_string())?;
    }
    Ok((written.kernels, written.value))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
