//! Rows of embeddings picked out by what they stand for, and attention matrices over chosen residual dimensions: what
//! models of other vocabularies and other sizes can still be compared by (METHODS 2 and 3).

use rayon::prelude::*;

use scratchproof_checkpoint::{Checkpoint, TensorRecord, Tokenizer};
use scratchproof_error::{Context, Result};
use scratchproof_kernel::{Rows, Sums, centre, decode, gram, normalise, without_mean_row};

/// Rows of an embedding that are read at most.
const MOST_ROWS: usize = 2048;

/// Elements of rows beyond which no more are read.
const ROW_ELEMENTS: usize = 1 << 20;

/// Outputs of an attention matrix that are read at most, spread evenly.
const MOST_OUTPUTS: usize = 1024;

/// Fewer shared rows say nothing.
const LEAST_ROWS: usize = 32;

/// Which rows of two embeddings belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowPairs {
    /// Row of the first and of the second, ascending by the first.
    pub pairs: Vec<(u32, u32)>,
    /// Whether by the strings of two tokenizers; otherwise row by row.
    pub by_string: bool,
}

impl RowPairs {
    /// By the tokenizers' strings if both are known, else row by row over what both have: any fixed order of rows has the
    /// same null over the columns, though not the same power.
    #[must_use]
    pub fn new(tokenizers: Option<(&Tokenizer, &Tokenizer)>, rows: (usize, usize)) -> Self {
        let pairs = match tokenizers {
            Some((a, b)) => {
                let map = a.row_map(b, rows.0, rows.1);
                (0..).zip(map).filter_map(|(row, other)| Some((row, other?))).collect()
            }
            None => (0..u32::try_from(rows.0.min(rows.1)).unwrap_or(u32::MAX)).map(|row| (row, row)).collect(),
        };
        Self { pairs, by_string: tokenizers.is_some() }
    }

    /// Whether every row belongs to the row of its own number.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.pairs.iter().all(|(a, b)| a == b)
    }

    /// Pairs spread evenly, as many as are worth reading at this width; none if there are too few.
    #[must_use]
    pub fn sample(&self, columns: usize) -> Vec<(u32, u32)> {
        let wanted = (ROW_ELEMENTS / columns.max(1)).clamp(256, MOST_ROWS).min(self.pairs.len());
        if wanted < LEAST_ROWS {
            return Vec::new();
        }
        (0..wanted).map(|i| self.pairs[(2 * i + 1) * self.pairs.len() / (2 * wanted)]).collect()
    }
}

/// The embedding (`embedding`) or the output layer (`head`) of a language model, as tokens x hidden.
#[must_use]
pub fn token_matrix<'a>(checkpoint: &'a Checkpoint, family: &str) -> Option<&'a TensorRecord> {
    checkpoint.tensors.iter().find(|tensor| plain(tensor, family) && tensor.role.layer.is_none())
}

fn plain(tensor: &TensorRecord, family: &str) -> bool {
    let role = &tensor.role;
    role.known && role.tower.is_empty() && role.family == family && tensor.shape.len() == 2 && tensor.dtype.is_float()
}

/// Rows of a matrix, rows x columns.
///
/// # Errors
/// If the file cannot be read, or a row is beyond the matrix.
pub fn rows(checkpoint: &Checkpoint, tensor: &TensorRecord, wanted: &[u32]) -> Result<Vec<f32>> {
    let columns = tensor.shape.last().copied().unwrap_or(0);
    let width = columns * tensor.dtype.width();
    let one = |row: &u32| -> Result<Vec<f32>> {
        let part = TensorRecord {
            offset: tensor.offset + u64::from(*row) * width as u64,
            bytes: width as u64,
            ..tensor.clone()
        };
        let bytes = checkpoint.read(&part).context(|| format!("{}: {}", checkpoint.uri, tensor.name))?;
        let mut values = vec![0.0; columns];
        decode(tensor.dtype, &bytes, &mut values);
        #[allow(clippy::cast_possible_truncation)]
        Ok(values.into_iter().map(|v| v as f32).collect())
    };
    let all: Vec<Vec<f32>> = wanted.par_iter().map(one).collect::<Result<_>>()?;
    Ok(all.concat())
}

/// The column test's sums over rows that belong together; `None` if one side has no finite, differing values.
#[must_use]
pub fn row_sums(mut a: Vec<f32>, mut b: Vec<f32>, hidden: usize) -> Option<Sums> {
    for values in [&mut a, &mut b] {
        centre(values, hidden);
        without_mean_row(values, hidden);
        if !normalise(values) {
            return None;
        }
    }
    Some(Rows::whole(a, hidden).total(&Rows::whole(b, hidden)))
}

/// Gram matrices of the attention's inputs over chosen residual dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionGrams {
    /// The layers' numbers.
    pub layers: Vec<u32>,
    /// By layer, of queries and keys.
    pub grams: Vec<Vec<Vec<f64>>>,
}

/// W^T W of query and key projections, by layer, over the residual dimensions `chosen` with their signs; only layers that
/// have both as plain matrices.
///
/// # Errors
/// If a file cannot be read.
pub fn attention_grams(checkpoint: &Checkpoint, hidden: usize, chosen: &[(usize, f32)]) -> Result<AttentionGrams> {
    let of = |family: &str, layer: u32| {
        let own = |t: &&TensorRecord| t.role.layer == Some(layer) && plain(t, family) && t.shape[1] == hidden;
        checkpoint.tensors.iter().find(own)
    };
    let mut numbers: Vec<u32> =
        checkpoint.tensors.iter().filter(|t| plain(t, "q_proj")).filter_map(|t| t.role.layer).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let layers: Vec<_> = numbers.into_iter().filter_map(|l| Some((l, [of("q_proj", l)?, of("k_proj", l)?]))).collect();
    let one = |tensor: &TensorRecord| -> Result<Vec<f64>> {
        let count = tensor.shape[0].min(MOST_OUTPUTS);
        let wanted = (0..count).map(|i| u32::try_from((2 * i + 1) * tensor.shape[0] / (2 * count)).unwrap_or(u32::MAX));
        let values = rows(checkpoint, tensor, &wanted.collect::<Vec<_>>())?;
        let mut columns = Vec::with_capacity(chosen.len() * count);
        for &(dimension, sign) in chosen {
            columns.extend((0..count).map(|row| sign * values[row * hidden + dimension]));
        }
        Ok(if count == 0 { Vec::new() } else { gram(&columns, count) })
    };
    let grams = layers.par_iter().map(|(_, pair)| pair.iter().map(|t| one(t)).collect()).collect::<Result<_>>()?;
    Ok(AttentionGrams { layers: layers.into_iter().map(|(layer, _)| layer).collect(), grams })
}
