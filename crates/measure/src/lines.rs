//! Rows and columns of tensors as numbers, so that one that lies somewhere else in another model is found: under another name, in
//! another layer or tower, among other rows, or stored the other way round.
//!
//! The key of a line is the sum over its first [`LINE_LOOKED`] elements (all of a vector's) of a hash of place and value, the value
//! rounded to bf16: equal values have equal keys in any number format that holds them, whatever thread saw which part of them
//! first. A line of few different values, as tables and masks are made of, has none.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use scratchproof_checkpoint::{Checkpoint, TensorRecord};
use scratchproof_error::mixing::mixed;
use scratchproof_error::{Context, Result};
use scratchproof_kernel::{Dtype, Rounding, decode, round};
use scratchproof_measurements::{LINE_BITS, LINE_LOOKED, OtherLines, Plan, Unit};

/// A line of fewer elements could be another's by chance.
const SHORTEST: usize = 16;

/// Different values that a line has at least, counted by 64 places that they are thrown at.
const LEAST_VALUES: u32 = 8;

/// Keys that are kept of a model, about; of more one in a power of two, chosen by the key itself: the same ones in every model.
const KEPT: usize = 1 << 18;

/// Elements of a window of a tensor that is read for its lines alone.
const WINDOW: usize = 1 << 18;

/// A tensor as one or many matrices; one row where it is a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Layout {
    matrices: usize,
    rows: usize,
    columns: usize,
    vector: bool,
}

impl Layout {
    /// None where neither a row nor a column is long enough.
    fn of(shape: &[usize]) -> Option<Self> {
        let layout = match *shape {
            [] => return None,
            [columns] => Self { matrices: 1, rows: 1, columns, vector: true },
            [ref outer @ .., rows, columns] if columns >= SHORTEST => {
                Self { matrices: outer.iter().product(), rows, columns, vector: false }
            }
            [rows, ref rest @ ..] => Self { matrices: 1, rows, columns: rest.iter().product(), vector: false },
        };
        (layout.elements() > 0 && (layout.has_rows() || layout.has_columns())).then_some(layout)
    }

    fn elements(&self) -> usize {
        self.matrices * self.rows * self.columns
    }

    fn has_rows(&self) -> bool {
        self.columns >= SHORTEST
    }

    fn has_columns(&self) -> bool {
        !self.vector && self.rows >= SHORTEST
    }

    /// How many lines it has.
    fn count(&self) -> usize {
        let rows = if self.has_rows() { self.matrices * self.rows } else { 0 };
        rows + if self.has_columns() { self.matrices * self.columns } else { 0 }
    }
}

/// Which keys of a model are kept: those of which these bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share(u64);

impl Share {
    /// Of a model with these tensors.
    pub(super) fn of(model: &Checkpoint) -> Self {
        let lines: usize = model.tensors.iter().filter_map(|t| Layout::of(&t.shape)).map(|own| own.count()).sum();
        Self((lines.div_ceil(KEPT).next_power_of_two() - 1) as u64)
    }

    fn keeps(self, key: u64) -> bool {
        key & self.0 == 0
    }
}

/// By model of a plan whether its lines are kept, and which: the first and the final checkpoint and everything that the series
/// is held against.
pub(super) fn shares(plan: &Plan, models: &[&Checkpoint]) -> Vec<Option<Share>> {
    let others = plan.series..plan.series + plan.references;
    let listened = |at: usize| others.contains(&at) || plan.ends().any(|end| end == at);
    models.iter().enumerate().map(|(at, model)| listened(at).then(|| Share::of(model))).collect()
}

/// One line as far as it was seen; parts of it come in any order.
#[derive(Default)]
struct Line {
    sum: AtomicU64,
    values: AtomicU64,
}

impl Line {
    fn add(&self, sum: u64, values: u64) {
        self.sum.fetch_add(sum, Ordering::Relaxed);
        self.values.fetch_or(values, Ordering::Relaxed);
    }
}

/// The lines of one copy of a tensor, under way.
struct Copy {
    share: Share,
    rows: Vec<Line>,
    columns: Vec<Line>,
}

/// The lines of all copies of a tensor.
pub(super) struct Lines {
    layout: Option<Layout>,
    copies: Vec<Option<Copy>>,
}

impl Lines {
    /// Of a unit; `shares` by model.
    pub(super) fn new(unit: &Unit, shares: &[Option<Share>]) -> Self {
        let of = |model: usize| shares.get(model).copied().flatten();
        Self::of(&unit.shape, unit.members.iter().map(|member| of(member.model)))
    }

    fn of(shape: &[usize], shares: impl Iterator<Item = Option<Share>>) -> Self {
        let layout = Layout::of(shape);
        let lines = |count: usize, wanted: bool| (0..if wanted { count } else { 0 }).map(|_| Line::default()).collect();
        let copy = |layout: Layout, share: Share| Copy {
            share,
            rows: lines(layout.matrices * layout.rows, layout.has_rows()),
            columns: lines(layout.matrices * layout.columns, layout.has_columns()),
        };
        Self { layout, copies: shares.map(|share| Some(copy(layout?, share?))).collect() }
    }

    /// Takes the values of one copy that begin at element `first`.
    pub(super) fn add(&self, copy: usize, first: usize, mut values: &[f64]) {
        let (Some(layout), Some(Copy { rows, columns, .. })) = (self.layout, &self.copies[copy]) else { return };
        let looked = if layout.vector { layout.columns } else { LINE_LOOKED };
        let mut at = first;
        while !values.is_empty() {
            let (line, column) = (at / layout.columns, at % layout.columns);
            let (segment, rest) = values.split_at(values.len().min(layout.columns - column));
            if let Some(own) = rows.get(line).filter(|_| column < looked) {
                let (mut sum, mut seen) = (0_u64, 0);
                for (value, place) in segment.iter().zip(column..looked) {
                    let (key, value) = element(place, *value);
                    sum = sum.wrapping_add(key);
                    seen |= value;
                }
                own.add(sum, seen);
            }
            let (matrix, row) = (line / layout.rows, line % layout.rows);
            if row < LINE_LOOKED && !columns.is_empty() {
                for (value, own) in segment.iter().zip(&columns[matrix * layout.columns + column..]) {
                    let (key, value) = element(row, *value);
                    own.add(key, value);
                }
            }
            at += segment.len();
            values = rest;
        }
    }

    /// By copy the keys of its lines, ascending, each once.
    pub(super) fn finish(self) -> Vec<Vec<u64>> {
        let vector = self.layout.is_some_and(|layout| layout.vector);
        let keys = |copy: Option<Copy>| {
            let Some(Copy { share, rows, columns }) = copy else { return Vec::new() };
            let telling = rows.into_iter().chain(columns).filter_map(|line| {
                let key = mixed(line.sum.into_inner());
                // There are few vectors, and each is a tensor of its own.
                (line.values.into_inner().count_ones() >= LEAST_VALUES && (vector || share.keeps(key)))
                    .then_some(key >> (u64::BITS - LINE_BITS))
            });
            let mut keys: Vec<u64> = telling.collect();
            keys.sort_unstable();
            keys.dedup();
            keys
        };
        self.copies.into_iter().map(keys).collect()
    }
}

/// What an element adds to the key of a line, and the place of its value among 64.
fn element(place: usize, value: f64) -> (u64, u64) {
    #[allow(clippy::cast_possible_truncation, reason = "what is rounded to bf16 fits single precision")]
    let upper = |value: f64| (value as f32).to_bits() >> 16;
    // One zero, one that is no number.
    let rounded = if value == 0.0 {
        0
    } else if value.is_nan() {
        upper(f64::NAN)
    } else {
        upper(round(value, Dtype::Bf16, Rounding::Nearest))
    };
    (mixed((place as u64) << 16 | u64::from(rounded)), 1 << (mixed(u64::from(rounded)) & 63))
}

/// The lines of tensors that no unit of the plan has: what has no counterpart in the other models is read for them here.
///
/// # Errors
/// If a file cannot be read.
pub(super) fn others(plan: &Plan, models: &[&Checkpoint]) -> Result<Vec<OtherLines>> {
    let members = plan.units.iter().flat_map(|unit| &unit.members);
    let planned: BTreeSet<(usize, usize, u64)> = members.map(|own| (own.model, own.shard, own.offset)).collect();
    let mut all = Vec::new();
    for (at, share) in shares(plan, models).into_iter().enumerate().filter_map(|(at, share)| Some((at, share?))) {
        let model = models[at];
        for tensor in model
            .tensors
            .iter()
            .filter(|tensor| !tensor.role.constant && !planned.contains(&(at, tensor.shard, tensor.offset)))
        {
            let keys = alone(model, tensor, share).context(|| tensor.name.clone()).context(|| model.uri.clone())?;
            if !keys.is_empty() {
                all.push(OtherLines { model: at, tensor: tensor.name.clone(), role: tensor.role.clone(), keys });
            }
        }
    }
    Ok(all)
}

/// The keys of one tensor's lines.
fn alone(model: &Checkpoint, tensor: &TensorRecord, share: Share) -> Result<Vec<u64>> {
    let lines = Lines::of(&tensor.shape, std::iter::once(Some(share)));
    if lines.layout.is_none() || !tensor.dtype.is_float() {
        return Ok(Vec::new());
    }
    let (blob, width, elements) = (&model.shards[tensor.shard].blob, tensor.dtype.width(), tensor.elements());
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for first in (0..elements).step_by(WINDOW) {
        let count = WINDOW.min(elements - first);
        let offset = tensor.offset + (first * width) as u64;
        bytes.resize(count * width, 0);
        values.resize(count, 0.0);
        blob.read_at(offset, &mut bytes)?;
        decode(tensor.dtype, &bytes, &mut values);
        lines.add(0, first, &values);
        blob.release(offset, bytes.len());
    }
    Ok(lines.finish().pop().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that bf16 holds, all different in every row and column.
    fn matrix(rows: usize, columns: usize, seed: u64) -> Vec<f64> {
        let one = |at: u64| f64::from((mixed(seed << 40 | at) % 251) as u8) / 8.0 - 13.0;
        (0..(rows * columns) as u64).map(one).collect()
    }

    /// The keys of a matrix whose values come in pieces of some length, the last first.
    fn keys(values: &[f64], shape: &[usize], piece: usize) -> Vec<u64> {
        let lines = Lines::of(shape, std::iter::once(Some(Share(0))));
        for (at, piece_of) in values.chunks(piece).enumerate().collect::<Vec<_>>().into_iter().rev() {
            lines.add(0, at * piece, piece_of);
        }
        lines.finish().pop().expect("one copy")
    }

    fn common(a: &[u64], b: &[u64]) -> usize {
        a.iter().filter(|key| b.binary_search(key).is_ok()).count()
    }

    #[test]
    fn keys_do_not_depend_on_the_pieces_in_which_values_come() {
        let values = matrix(40, 50, 1);
        let whole = keys(&values, &[40, 50], values.len());
        assert_eq!(whole.len(), 90, "40 rows and 50 columns");
        for piece in [1, 7, 49, 50, 51, 333] {
            assert_eq!(keys(&values, &[40, 50], piece), whole, "{piece}");
        }
    }

    #[test]
    fn rows_in_another_order_and_a_matrix_stored_the_other_way_round_are_found() {
        let (rows, columns) = (40, 50);
        let values = matrix(rows, columns, 1);
        let own = keys(&values, &[rows, columns], 64);
        let order = |i: usize| i * 7 % rows;
        let moved: Vec<f64> =
            (0..rows).flat_map(|i| values[order(i) * columns..(order(i) + 1) * columns].to_vec()).collect();
        assert_eq!(common(&own, &keys(&moved, &[rows, columns], 64)), rows, "rows, and no column");
        let turned: Vec<f64> =
            (0..columns).flat_map(|j| (0..rows).map(move |i| (i, j))).map(|(i, j)| values[i * columns + j]).collect();
        assert_eq!(keys(&turned, &[columns, rows], 64), own);
        // One matrix of a stack.
        let mut stack = matrix(rows, columns, 2);
        stack.extend(&values);
        assert_eq!(common(&own, &keys(&stack, &[2, rows, columns], 64)), own.len());
        assert_eq!(common(&own, &keys(&matrix(rows, columns, 3), &[rows, columns], 64)), 0);
    }

    #[test]
    fn values_that_bf16_holds_alike_have_one_key_and_tables_none() {
        let values = matrix(20, 20, 1);
        let own = keys(&values, &[20, 20], 64);
        let near: Vec<f64> = values.iter().map(|v| v * (1.0 + 1e-5)).collect();
        assert_eq!(keys(&near, &[20, 20], 64), own);
        let other: Vec<f64> = values.iter().map(|v| v * 1.02).collect();
        assert_eq!(common(&keys(&other, &[20, 20], 64), &own), 0);
        let identity: Vec<f64> = (0..400).map(|at| f64::from(u8::from(at / 20 == at % 20))).collect();
        assert!(keys(&identity, &[20, 20], 64).is_empty());
        let ternary: Vec<f64> = (0..400).map(|at| f64::from((mixed(at) % 3) as u8) - 1.0).collect();
        assert!(keys(&ternary, &[20, 20], 64).is_empty());
        assert!(Layout::of(&[15, 3]).is_none() && Layout::of(&[0, 64]).is_none() && Layout::of(&[]).is_none());
        // A vector has one, of all of it.
        let mut vector = matrix(1, 100, 4);
        let own = keys(&vector, &[100], 9);
        assert_eq!(own.len(), 1);
        vector[99] += 1.0;
        assert_ne!(keys(&vector, &[100], 9), own);
    }
}
