//! Losses that were recomputed from checkpoints, as `scratchproof.recompute_loss` writes them.

use std::fs::File;
use std::path::Path;

use polars::prelude::{DataType, ParallelStrategy, ParquetReader, PolarsError, SerReader};

use super::footer;
use crate::hashed;
use crate::quiet;
use crate::run::Run;
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::plain;
use scratchproof_texts::{Text, text};

/// A longer file is not read: it is a row a checkpoint and column.
const LONGEST: u64 = 64 << 20;

/// More rows are not read.
const ROWS: i64 = 1 << 20;

/// Columns that must be there.
const COLUMNS: [&str; 5] = ["step", "key", "loss", "tokens", "weights"];

/// The loss of one checkpoint on one set of tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// Step of the checkpoint.
    pub step: i64,
    /// Column of the log that should hold the same figure; empty for a text that was never logged.
    pub key: String,
    /// Mean cross-entropy of a token, natural logarithm.
    pub loss: f64,
    /// Tokens that it is the mean over.
    pub tokens: i64,
    /// Digest of the weights it was computed with: SHA-256 of the one file, or of the lines that `sha256sum` prints for
    /// several by name.
    pub weights: String,
}

/// All of one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Losses {
    /// The file as the case names it.
    pub source: String,
    /// SHA-256 and length of its bytes.
    pub sha256: String,
    #[allow(missing_docs)]
    pub bytes: u64,
    /// What it holds.
    pub rows: Vec<Loss>,
}

/// Reads `loss.parquet`: `step` i64, `key` str, `loss` f64, `tokens` i64, `weights` str; other columns are left alone.
///
/// # Errors
/// If it cannot be read, is damaged or too long, or lacks one of the columns.
pub fn losses(path: &Path) -> Result<Losses> {
    let place = || path.display().to_string();
    let mut file = plain::open(path).map_err(|cause| Error::io(path.display(), cause))?;
    let length = file.metadata().map_err(|cause| Error::io(path.display(), cause))?.len();
    let wrong = |why: Text| Error::input(text!("error-record/losses/table-losses-cannot-read", why));
    if length > LONGEST {
        return Err(wrong(text!("error-record/losses/longer-bytes", longest = LONGEST))).context(place);
    }
    let mut signed = Run::default();
    hashed::open(path)?.sign(&mut signed)?;
    let footer = footer::read(&mut file, length).map_err(|why| wrong(why.into())).context(place)?;
    if footer.rows > ROWS {
        return Err(wrong(text!("error-record/losses/rows-more", rows = &footer.rows, rows_2 = ROWS))).context(place);
    }
    for name in COLUMNS {
        if !footer.leaves.iter().any(|leaf| leaf.path == [name] && !leaf.repeated) {
            return Err(wrong(text!("error-record/losses/no-column", name))).context(place);
        }
    }
    let rows = quiet::caught(|| rows(file)).unwrap_or_else(|| Err("its pages are damaged".into()));
    let rows = rows.map_err(|why| wrong(why.into())).context(place)?;
    Ok(Losses { source: place(), sha256: signed.sha256, bytes: signed.bytes, rows })
}

fn rows(file: File) -> Result<Vec<Loss>, String> {
    let failed = |error: PolarsError| error.to_string();
    let wanted = COLUMNS.iter().map(|name| (*name).to_owned()).collect();
    let reader = ParquetReader::new(file).with_columns(Some(wanted)).read_parallel(ParallelStrategy::None);
    let frame = reader.finish().map_err(failed)?;
    let cast = |name: &str, kind: &DataType| frame.column(name).and_then(|own| own.cast(kind)).map_err(failed);
    let (steps, keys) = (cast("step", &DataType::Int64)?, cast("key", &DataType::String)?);
    let (losses, tokens) = (cast("loss", &DataType::Float64)?, cast("tokens", &DataType::Int64)?);
    let weights = cast("weights", &DataType::String)?;
    let (steps, keys) = (steps.i64().map_err(failed)?, keys.str().map_err(failed)?);
    let (losses, tokens) = (losses.f64().map_err(failed)?, tokens.i64().map_err(failed)?);
    let weights = weights.str().map_err(failed)?;
    let mut all = Vec::with_capacity(frame.height());
    for at in 0..frame.height() {
        let row = (steps.get(at), keys.get(at), losses.get(at), tokens.get(at), weights.get(at));
        let (Some(step), Some(key), Some(loss), Some(tokens), Some(weights)) = row else {
            return Err(format!("row {} has no value in one of its columns", at + 1));
        };
        if !loss.is_finite() || tokens < 1 {
            return Err(format!("row {}: a loss of {loss} over {tokens} tokens", at + 1));
        }
        all.push(Loss { step, key: key.to_owned(), loss, tokens, weights: weights.to_ascii_lowercase() });
    }
    Ok(all)
}
