//! The values of a part.

use std::collections::BTreeMap;

use super::super::{Checkpoint, TensorRecord};
use super::scale::{self, Scales};
use super::{Part, Place};
use scratchproof_error::{Context, Error, Result};
use scratchproof_kernel::decode;
use scratchproof_texts::text;

/// Elements that are read and decoded at a time.
const WINDOW: usize = 1 << 18;

/// Columns of a transposed part that are written at a time: a line of the processor's cache.
const STRIP: usize = 16;

impl Checkpoint {
    /// The values of a part: `rows x cols`, row by row, with their scales applied.
    ///
    /// # Errors
    /// If the bytes cannot be read, the scales do not fit, or the part is another model's.
    pub fn matrix(&self, part: &Part) -> Result<Vec<f32>> {
        self.gather(part, None)
    }

    /// The same for some of the rows, in the order asked for; where the residual axis is stored last, only they are read.
    ///
    /// # Errors
    /// As [`Checkpoint::matrix`], and if there is no such row.
    pub fn rows_of(&self, part: &Part, rows: &[usize]) -> Result<Vec<f32>> {
        if let Some(row) = rows.iter().find(|row| **row >= part.rows) {
            return Err(Error::usage(text!("error-checkpoint/read/row-part-rows", row, rows = &part.rows)));
        }
        self.gather(part, Some(rows))
    }

    fn gather(&self, part: &Part, rows: Option<&[usize]>) -> Result<Vec<f32>> {
        let no_such = || Error::usage(text!("error-checkpoint/read/no-such-part", uri = &self.uri));
        let tensor = self.tensors.get(part.tensor).ok_or_else(no_such)?;
        let span = part.span(tensor)?;
        let count = rows.map_or(part.rows, <[usize]>::len);
        let size = count.checked_mul(part.cols).ok_or_else(no_such)?;
        let mut out = vec![0.0; size];
        if size > 0 {
            let mut reader = Reader::new(self, tensor)?;
            if part.is_turned() { reader.columns(part, rows, &mut out) } else { reader.rows(part, rows, &mut out) }
                .context(|| tensor.name.clone())?;
            let width = tensor.dtype.width();
            let offset = tensor.offset + (span.start * width) as u64;
            self.shards[tensor.shard].blob.release(offset, span.len() * width);
        }
        Ok(out)
    }
}

/// Decodes runs of a tensor.
struct Reader<'a> {
    checkpoint: &'a Checkpoint,
    tensor: &'a TensorRecord,
    scales: Option<Scales>,
    bytes: Vec<u8>,
    values: Vec<f64>,
}

impl<'a> Reader<'a> {
    fn new(checkpoint: &'a Checkpoint, tensor: &'a TensorRecord) -> Result<Self> {
        let scales = scale::read(checkpoint, tensor).context(|| tensor.name.clone())?;
        Ok(Self { checkpoint, tensor, scales, bytes: Vec::new(), values: Vec::new() })
    }

    /// The bytes of `length` elements from `start`.
    fn bytes_of(&mut self, start: usize, length: usize) -> Result<&[u8]> {
        let Self { checkpoint, tensor, .. } = self;
        let shard = checkpoint.shards.get(tensor.shard);
        let blob = &shard
            .ok_or_else(|| Error::usage(text!("error-checkpoint/catalogue/no-such-shard", uri = &checkpoint.uri)))?
            .blob;
        let width = tensor.dtype.width();
        let (offset, size) = (tensor.offset + (start * width) as u64, length * width);
        if let Some(bytes) = blob.resident(offset, size) {
            return Ok(bytes);
        }
        self.bytes.resize(size, 0);
        blob.read_at(offset, &mut self.bytes)?;
        Ok(&self.bytes)
    }

    /// The values of `length` elements from `start`.
    fn run(&mut self, start: usize, length: usize) -> Result<&[f64]> {
        let mut values = std::mem::take(&mut self.values);
        values.resize(length, 0.0);
        let dtype = self.tensor.dtype;
        decode(dtype, self.bytes_of(start, length)?, &mut values);
        self.values = values;
        if let Some(scales) = &self.scales {
            scales.apply(start..start + length, &mut self.values);
        }
        Ok(&self.values)
    }

    /// A part whose rows are each in one run.
    fn rows(&mut self, part: &Part, rows: Option<&[usize]>, out: &mut [f32]) -> Result<()> {
        let (Place { base, row_step, group, .. }, cols) = (part.place, part.cols);
        if rows.is_none() && row_step == cols && group >= part.rows {
            for (i, out) in out.chunks_mut(WINDOW).enumerate() {
                narrow(self.run(base + i * WINDOW, out.len())?, 1, out);
            }
            return Ok(());
        }
        for (i, out) in out.chunks_exact_mut(cols).enumerate() {
            let row = rows.map_or(i, |rows| rows[i]);
            for (j, out) in out.chunks_mut(WINDOW).enumerate() {
                narrow(self.run(part.place.row(row) + j * WINDOW, out.len())?, 1, out);
            }
        }
        Ok(())
    }

    /// A part whose columns are in one run for each group of rows.
    fn columns(&mut self, part: &Part, rows: Option<&[usize]>, out: &mut [f32]) -> Result<()> {
        let (place, cols, group) = (part.place, part.cols, part.place.group.max(1));
        let all: Vec<usize>;
        let rows = if let Some(rows) = rows {
            rows
        } else {
            all = (0..part.rows).collect();
            &all
        };
        let mut column = vec![0.0_f32; part.rows.min(WINDOW) * STRIP];
        // The rows wanted of each run of rows that is read at once: (place in the output, row).
        let size = group.min(WINDOW);
        let mut wanted: BTreeMap<(usize, usize), Vec<(usize, usize)>> = BTreeMap::new();
        for (i, row) in rows.iter().enumerate() {
            wanted.entry((row / group, row % group / size)).or_default().push((i, row % group % size));
        }
        for ((which, window), wanted) in wanted {
            let first = which * group + window * size;
            let length = size.min(group - window * size).min(part.rows - first);
            if self.scales.is_none() && place.row_step == 1 && 2 * wanted.len() <= length {
                self.few_of_columns(place.row(first), place.col_step, (length, cols), &wanted, out)?;
                continue;
            }
            let span = (length - 1) * place.row_step + 1;
            for start in (0..cols).step_by(STRIP) {
                let strip = STRIP.min(cols - start);
                for (k, out) in column.chunks_exact_mut(length).take(strip).enumerate() {
                    let at = place.row(first) + (start + k) * place.col_step;
                    narrow(self.run(at, span)?, place.row_step, out);
                }
                for (i, row) in &wanted {
                    let out = &mut out[i * cols + start..i * cols + start + strip];
                    for (k, out) in out.iter_mut().enumerate() {
                        *out = column[k * length + row];
                    }
                }
            }
        }
        Ok(())
    }

    /// The same where few of the rows of a run are wanted: many columns are read at once, and of them nothing else is decoded.
    /// `wanted` are places in the output, each with its row among the `length` of the run that begins at `first`.
    fn few_of_columns(
        &mut self,
        first: usize,
        step: usize,
        (length, cols): (usize, usize),
        wanted: &[(usize, usize)],
        out: &mut [f32],
    ) -> Result<()> {
        let width = self.tensor.dtype.width();
        // What lies between two columns is read with them where it is less than they are.
        let at_once = if step <= 2 * length { (WINDOW / step.max(1)).clamp(1, cols) } else { 1 };
        let mut picked = Vec::new();
        for start in (0..cols).step_by(at_once) {
            let count = at_once.min(cols - start);
            let bytes = self.bytes_of(first + start * step, (count - 1) * step + length)?;
            picked.clear();
            for (_, row) in wanted {
                let places = (0..count).map(|k| (k * step + row) * width);
                match width {
                    // A size that is known is one move each.
                    2 => places.for_each(|at| picked.extend_from_slice(&[bytes[at], bytes[at + 1]])),
                    _ => places.for_each(|at| picked.extend_from_slice(&bytes[at..at + width])),
                }
            }
            self.values.resize(count * wanted.len(), 0.0);
            decode(self.tensor.dtype, &picked, &mut self.values);
            for ((i, _), values) in wanted.iter().zip(self.values.chunks_exact(count)) {
                narrow(values, 1, &mut out[i * cols + start..][..count]);
            }
        }
        Ok(())
    }
}

#[allow(clippy::cast_possible_truncation, reason = "parts are single precision; only 64-bit numbers lose anything")]
fn narrow(values: &[f64], step: usize, out: &mut [f32]) {
    for (out, value) in out.iter_mut().zip(values.iter().step_by(step.max(1))) {
        *out = *value as f32;
    }
}
