//! Rows that a public seed chooses, for the aligned test.

use serde::{Deserialize, Serialize};

use scratchproof_checkpoint::{Checkpoint, Component, Part};
use scratchproof_error::mixing::mixed;
use scratchproof_error::{Context, Result};

/// Bytes of all rows as bf16, at most.
const BYTES: usize = 4 << 20;

/// Rows, at most: more see nothing that these do not.
const MOST: usize = 2048;

/// Longest row that is taken.
const LONGEST: usize = 1 << 20;

/// Which row it is, by function and not by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Row {
    /// Function of its matrix.
    pub family: String,
    /// Layer.
    pub layer: u32,
    /// Expert, where it is one's.
    pub expert: Option<u32>,
    /// Number of the row.
    pub row: usize,
}

/// Rows of the layers' matrices along the residual axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The seed that chose them.
    pub seed: u64,
    /// Length of a row.
    pub hidden: usize,
    /// Which they are.
    pub rows: Vec<Row>,
    /// The rows, one after the other.
    pub values: Vec<f32>,
}

impl Rows {
    /// The rows that `seed` chooses of a model: every matrix of a layer as often as the others.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn of(checkpoint: &Checkpoint, seed: u64) -> Result<Self> {
        let Some(hidden) = checkpoint.hidden_size().filter(|hidden| (3..=LONGEST).contains(hidden)) else {
            return Ok(Self { seed, ..Self::default() });
        };
        let parts = parts(checkpoint, hidden);
        let count = (BYTES / (2 * hidden)).min(MOST);
        let mut chosen: Vec<Row> = Vec::new();
        if !parts.is_empty() {
            let taken = parts.len().min(count);
            for at in 0..count {
                let part = &parts[(at % taken) * parts.len() / taken];
                let (family, layer) = (part.role.family.clone(), part.role.layer.unwrap_or(0));
                let key = format!("{family} {layer} {:?} {}", part.role.expert, at / taken);
                #[allow(clippy::cast_possible_truncation, reason = "a row below the part's")]
                let row = (drawn(seed, &key) % part.rows as u64) as usize;
                chosen.push(Row { family, layer, expert: part.role.expert, row });
            }
        }
        chosen.sort();
        chosen.dedup();
        let (rows, values) = read(checkpoint, hidden, &chosen)?;
        Ok(Self { seed, hidden, rows, values })
    }

    /// The same rows of another model of the same hidden size: which of these are there, and their values.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn in_model(&self, checkpoint: &Checkpoint) -> Result<(Vec<Row>, Vec<f32>)> {
        if checkpoint.hidden_size() != Some(self.hidden) {
            return Ok((Vec::new(), Vec::new()));
        }
        read(checkpoint, self.hidden, &self.rows)
    }
}

/// Matrices of layers along the residual axis, in the order of layers and functions.
fn parts(checkpoint: &Checkpoint, hidden: usize) -> Vec<Part> {
    let telling = |p: &Part| {
        p.role.tower.is_empty()
            && p.role.known
            && !p.role.constant
            && p.residual
            && p.cols == hidden
            && p.rows > 1
            && p.role.layer.is_some()
            && p.role.component != Component::Norms
    };
    let mut parts: Vec<Part> = checkpoint.parts().into_iter().filter(telling).collect();
    parts.sort_by(|a, b| {
        let key = |p: &Part| (p.role.layer, p.role.family.clone(), p.role.expert);
        key(a).cmp(&key(b))
    });
    parts
}

/// Those of the wanted rows that a model has, in their order.
fn read(checkpoint: &Checkpoint, hidden: usize, wanted: &[Row]) -> Result<(Vec<Row>, Vec<f32>)> {
    let parts = parts(checkpoint, hidden);
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for same in wanted.chunk_by(|a, b| (&a.family, a.layer, a.expert) == (&b.family, b.layer, b.expert)) {
        let first = &same[0];
        let found = parts.iter().find(|p| {
            p.role.family == first.family && p.role.layer == Some(first.layer) && p.role.expert == first.expert
        });
        let Some(part) = found else { continue };
        let numbers: Vec<usize> = same.iter().map(|r| r.row).filter(|row| *row < part.rows).collect();
        if numbers.is_empty() {
            continue;
        }
        let read = checkpoint.rows_of(part, &numbers).context(|| checkpoint.uri.clone())?;
        if read.iter().all(|v| v.is_finite()) {
            rows.extend(same.iter().filter(|r| r.row < part.rows).cloned());
            values.extend(read);
        }
    }
    Ok((rows, values))
}

/// FNV-1a of the key, then `SplitMix64` with the seed.
fn drawn(seed: u64, key: &str) -> u64 {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    mixed(hash.wrapping_add(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}
