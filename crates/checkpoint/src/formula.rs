//! Tables of tokens that a formula wrote: every column is a sine down the rows (sines and cosines of the number of a token,
//! constants and straight lines as those of a slow one). Nothing that was drawn or trained is one, and a column of one has three
//! numbers to choose, so that nobody's weights are in it.

use super::constants::ROUNDED;
use super::{Checkpoint, TensorRecord};
use scratchproof_error::{Error, Result};
use scratchproof_kernel::decode;

/// Rows, at least: fewer are a sine of some frequency sooner.
const ROWS: usize = 64;

/// Numbers that are read at once.
const AT_ONCE: usize = 1 << 20;

/// Sums over the three-row windows of one column: x(n - 1) + x(n + 1) = 2 cos(w) x(n) for a sine of frequency w.
#[derive(Clone, Copy, Default)]
struct Column {
    /// Square of the middle, product of the middle and the sum of its neighbours, square of that sum.
    middle2: f64,
    product: f64,
    beside2: f64,
}

impl Column {
    fn add(&mut self, before: f64, middle: f64, after: f64) {
        let beside = before + after;
        self.middle2 += middle * middle;
        self.product += middle * beside;
        self.beside2 += beside * beside;
    }

    /// Whether the least-squares recurrence leaves no more than rounding to sixteen bits does.
    fn is_wave(&self) -> bool {
        if !self.beside2.is_finite() {
            return false;
        }
        if self.middle2 <= 0.0 {
            return self.beside2 <= 0.0;
        }
        let factor = (self.product / self.middle2).clamp(-2.0, 2.0);
        let off = self.beside2 - 2.0 * factor * self.product + factor * factor * self.middle2;
        off <= ROUNDED * self.middle2
    }
}

/// The columns of a table that is handed over in blocks of rows.
struct Waves {
    columns: Vec<Column>,
    /// The last two rows that were added.
    last: [Vec<f64>; 2],
    rows: usize,
}

impl Waves {
    fn new(columns: usize) -> Self {
        Self { columns: vec![Column::default(); columns], last: [Vec::new(), Vec::new()], rows: 0 }
    }

    fn add(&mut self, row: &[f64]) {
        if self.rows >= 2 {
            let [before, middle] = &self.last;
            let three = before.iter().zip(middle).zip(row);
            self.columns.iter_mut().zip(three).for_each(|(column, ((a, b), c))| column.add(*a, *b, *c));
        }
        self.last.swap(0, 1);
        row.clone_into(&mut self.last[1]);
        self.rows += 1;
    }

    fn are_all(&self) -> bool {
        self.columns.iter().all(Column::is_wave)
    }
}

impl Checkpoint {
    /// Names of the tables of tokens that a formula wrote. Of a file elsewhere every byte is counted before it is fetched, and nobody
    /// has counted these; where rows were drawn, the rows beside each other are not there.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn formulas(&self) -> Result<Vec<String>> {
        if self.sample.is_some() {
            return Ok(Vec::new());
        }
        let tables = self.tensors.iter().filter(|tensor| {
            let role = &tensor.role;
            role.is_of_tokens() && role.known && !role.constant
        });
        let mut found = Vec::new();
        for tensor in tables {
            if self.is_formula(tensor)? {
                found.push(tensor.name.clone());
            }
        }
        Ok(found)
    }

    fn is_formula(&self, tensor: &TensorRecord) -> Result<bool> {
        let [rows, columns] = tensor.shape[..] else { return Ok(false) };
        let here = self.shards.get(tensor.shard).filter(|shard| !shard.blob.is_elsewhere());
        let (Some(shard), true) = (here, rows >= ROWS && columns > 0) else { return Ok(false) };
        let width = tensor.dtype.width().max(1) * columns;
        let mut waves = Waves::new(columns);
        let mut values = Vec::new();
        // The first rows say of nearly every table that it is none.
        let mut many = ROWS;
        let mut from = 0;
        while from < rows {
            let count = many.min(rows - from);
            let offset = u64::try_from(from * width).map_err(|cause| Error::io(&self.uri, cause))?;
            let bytes = shard.blob.bytes(tensor.offset + offset, count * width)?;
            values.resize(count * columns, 0.0);
            decode(tensor.dtype, &bytes, &mut values);
            values.chunks_exact(columns).for_each(|row| waves.add(row));
            if !waves.are_all() {
                return Ok(false);
            }
            from += count;
            many = (AT_ONCE / columns).max(ROWS);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// An embedding of 256 tokens over 32 dimensions, as float 32 or cut to the bits of bfloat16.
    fn found(bits: u32, value: impl Fn(usize, usize) -> f64) -> bool {
        #[allow(clippy::cast_possible_truncation)]
        let cut = |value: f64| f32::from_bits((value as f32).to_bits() & (u32::MAX << (32 - bits)));
        let data: Vec<u8> = (0..256 * 32).flat_map(|at| cut(value(at / 32, at % 32)).to_le_bytes()).collect();
        let header = serde_json::json!({
            "model.embed_tokens.weight": { "dtype": "F32", "shape": [256, 32], "data_offsets": [0, data.len()] }
        });
        let store =
            scratchproof_source::MemoryStore::new().with("model.safetensors", testing::raw(&header.to_string(), &data));
        let model = Checkpoint::from_store(&store).expect("a model");
        let names = model.formulas().expect("read");
        assert!(names.is_empty() || names == ["model.embed_tokens.weight"]);
        !names.is_empty()
    }

    fn sines(row: usize, column: usize) -> f64 {
        let angle = row as f64 * 10000_f64.powf(-((column / 2) as f64) / 16.0);
        0.3 * if column.is_multiple_of(2) { angle.sin() } else { angle.cos() }
    }

    fn draw(row: usize, column: usize) -> f64 {
        let mixed = ((row * 32 + column) as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) as f64 / u64::MAX as f64 - 0.5
    }

    #[test]
    fn a_table_of_sines_is_a_formula_and_a_draw_is_none() {
        assert!(found(32, sines) && found(32, |row, column| 0.01 * sines(row, column)));
        assert!(found(17, sines), "rounded to sixteen bits");
        assert!(!found(32, draw));
        assert!(found(32, |row, column| 0.001 * row as f64 * (column + 1) as f64), "lines");
    }

    /// Whatever is hidden in it makes it none: a little everywhere, one column, one row, the last rows.
    #[test]
    fn what_is_beside_the_formula_is_seen() {
        assert!(!found(32, |row, column| sines(row, column) + 0.02 * draw(row, column)));
        assert!(!found(32, |row, column| if column == 17 { draw(row, column) } else { sines(row, column) }));
        assert!(!found(32, |row, column| if row == 200 { draw(row, column) } else { sines(row, column) }));
        assert!(!found(32, |row, column| if row > 250 { draw(row, column) } else { sines(row, column) }));
        // Small columns have no slack of their own.
        assert!(!found(32, |row, column| if column < 3 { 1e-4 * draw(row, column) } else { sines(row, column) }));
    }
}
