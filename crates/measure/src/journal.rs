//! Where finished pieces of the work are kept, so that an audit that was interrupted goes on, and another machine can do a
//! part.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use scratchproof_error::hexadecimal::hex;
use scratchproof_error::{Error, Result};
use scratchproof_measurements::KERNEL_VERSION;
use scratchproof_texts::text;

/// A piece of the work: finished as a whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its name: letters, digits and hyphens.
    pub name: String,
    /// SHA-256 of everything that decides what comes out: kernels, rules, what is read and where it lies.
    pub key: String,
    /// Where the models are that it reads.
    pub models: Vec<String>,
}

impl Piece {
    /// A piece that `parts` decide.
    pub fn new<'a>(name: impl Into<String>, models: Vec<String>, parts: impl IntoIterator<Item = &'a str>) -> Self {
        let name = name.into();
        let mut hash = Sha256::new();
        hash.update(format!("{KERNEL_VERSION}\n{name}\n"));
        for part in parts {
            hash.update(format!("{}\n{part}\n", part.len()));
        }
        Self { key: hex(&hash.finalize()), name, models }
    }
}

/// The sums that are kept of a unit.
pub const SUMS: [&str; 9] = ["product", "sum", "distance", "trace", "frobenius", "scale", "farthest", "along", "line"];

/// What came out of a piece.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// What JSON can say.
    pub value: serde_json::Value,
    /// Sums: unit, which of [`SUMS`], value.
    pub sums: Vec<(u32, &'static str, f64)>,
    /// Kept rows, one value after the other: unit, member, value.
    pub rows: Vec<(u32, u32, f32)>,
}

/// Keeps pieces.
pub trait Journal: Sync {
    /// Whether anything is kept at all.
    fn keeps(&self) -> bool;

    /// A finished piece.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    fn get(&self, piece: &Piece) -> Result<Option<Stored>>;

    /// Keeps a piece: when this returns, it is finished whatever happens.
    ///
    /// # Errors
    /// If it cannot be written.
    fn put(&self, piece: &Piece, stored: &Stored) -> Result<()>;
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug)]
pub struct Nowhere;

impl Journal for Nowhere {
    fn keeps(&self) -> bool {
        false
    }

    fn get(&self, _: &Piece) -> Result<Option<Stored>> {
        Ok(None)
    }

    fn put(&self, _: &Piece, _: &Stored) -> Result<()> {
        Ok(())
    }
}

/// A piece that JSON can say: taken from the journal, or made and kept.
///
/// # Errors
/// Those of the work, and of the journal.
pub fn kept<T: Serialize + DeserializeOwned>(
    journal: &dyn Journal,
    piece: &Piece,
    make: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if let Some(stored) = stored(journal, piece)? {
        return Ok(stored);
    }
    let made = make()?;
    keep(journal, piece, &made)?;
    Ok(made)
}

/// A finished piece that JSON can say.
///
/// # Errors
/// Those of the journal; if it is another piece.
pub fn stored<T: DeserializeOwned>(journal: &dyn Journal, piece: &Piece) -> Result<Option<T>> {
    let Some(stored) = journal.get(piece)? else { return Ok(None) };
    serde_json::from_value(stored.value).map(Some).map_err(|cause| strange(piece, &cause))
}

/// Keeps a piece that JSON can say, where anything is kept.
///
/// # Errors
/// Those of the journal.
pub fn keep<T: Serialize>(journal: &dyn Journal, piece: &Piece, made: &T) -> Result<()> {
    if !journal.keeps() {
        return Ok(());
    }
    let value = serde_json::to_value(made).map_err(|cause| strange(piece, &cause))?;
    journal.put(piece, &Stored { value, ..Stored::default() })
}

fn strange(piece: &Piece, cause: &serde_json::Error) -> Error {
    Error::input(text!("error-measure/journal/piece-store", name = &piece.name, cause = cause.to_string()))
}
