//! Rows sampled along the residual axis, and the column test's sums over them (METHODS 2 and 2.1).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::dot::{cross, gram, inner, trace};
use super::spectrum::transpose;

/// How a tensor is seen as a matrix whose columns are the residual axis.
///
/// A stored tensor is `outer` matrices of `rows` x `cols`; if the residual axis is the stored rows, a row of the view
/// is a stored column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct View {
    /// Stacked matrices (experts), 1 for a plain matrix.
    pub outer: usize,
    /// Stored rows.
    pub rows: usize,
    /// Stored columns.
    pub cols: usize,
    /// Whether the residual axis is the stored rows.
    pub transposed: bool,
}

impl View {
    /// Length of the residual axis.
    #[must_use]
    pub fn hidden(&self) -> usize {
        if self.transposed { self.rows } else { self.cols }
    }

    /// Rows of the view: everything that is not the residual axis.
    #[must_use]
    pub fn count(&self) -> usize {
        self.outer * if self.transposed { self.cols } else { self.rows }
    }

    /// `wanted` rows of the view, spread evenly; the same for every tensor of this shape.
    #[must_use]
    pub fn spread(&self, wanted: usize) -> Vec<usize> {
        let count = self.count();
        let wanted = wanted.min(count);
        (0..wanted).map(|i| (2 * i + 1) * count / (2 * wanted)).collect()
    }

    /// Hands out from `block`, the decoded elements `start..start + block.len()` of the tensor, what belongs to the
    /// view's rows `chosen` (ascending): `put(i, value)` for element i of the `chosen.len()` x [`View::hidden`] sample.
    pub fn gather(&self, chosen: &[usize], start: usize, block: &[f64], mut put: impl FnMut(usize, f32)) {
        if block.is_empty() || chosen.is_empty() {
            return;
        }
        let end = start + block.len();
        if !self.transposed {
            let first = chosen.partition_point(|&row| (row + 1) * self.cols <= start);
            for (slot, &row) in chosen.iter().enumerate().skip(first) {
                let (from, to) = ((row * self.cols).max(start), ((row + 1) * self.cols).min(end));
                if from >= to {
                    break;
                }
                for (i, value) in block[from - start..to - start].iter().enumerate() {
                    put(slot * self.cols + from - row * self.cols + i, narrow(*value));
                }
            }
            return;
        }
        // Each stored row in the block holds one element of every chosen column of its matrix.
        for stored in start / self.cols..=(end - 1) / self.cols {
            let (matrix, r) = (stored / self.rows, stored % self.rows);
            let base = stored * self.cols;
            let (from, to) = (base.max(start) - base, (base + self.cols).min(end) - base);
            let first = chosen.partition_point(|&row| row < matrix * self.cols + from);
            for (slot, &row) in chosen.iter().enumerate().skip(first) {
                let column = row - matrix * self.cols;
                if column >= to {
                    break;
                }
                put(slot * self.rows + r, narrow(block[base + column - start]));
            }
        }
    }
}

#[allow(clippy::cast_possible_truncation)]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// Subtracts from each row of `values` its mean over the `hidden` columns.
pub fn centre(values: &mut [f32], hidden: usize) {
    for row in values.chunks_exact_mut(hidden) {
        let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / hidden as f64;
        for value in row {
            *value = narrow(f64::from(*value) - mean);
        }
    }
}

/// Subtracts from each row of `values` the mean of all rows, column by column: what a common vector added to every row of a table
/// leaves as it was. A relabelling of the columns does the same to the result as to the rows.
pub fn without_mean_row(values: &mut [f32], hidden: usize) {
    let rows = values.len() / hidden.max(1);
    if rows < 2 {
        return;
    }
    let mut mean = vec![0.0_f64; hidden];
    for row in values.chunks_exact(hidden) {
        mean.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(*v));
    }
    for sum in &mut mean {
        *sum /= rows as f64;
    }
    for row in values.chunks_exact_mut(hidden) {
        row.iter_mut().zip(&mean).for_each(|(v, mean)| *v = narrow(f64::from(*v) - mean));
    }
}

/// Scales `values` to Frobenius norm 1. Leaves a zero or non-finite sample as zeros and says `false`: it takes no part.
pub fn normalise(values: &mut [f32]) -> bool {
    let norm = trace(values, values).sqrt();
    if norm.is_finite() && norm > 0.0 {
        for value in values {
            *value = narrow(f64::from(*value) / norm);
        }
        true
    } else {
        values.fill(0.0);
        false
    }
}

/// Centred, scaled rows of one model in several parts, laid out alike for all models of a case: rows a model lacks are
/// zero, and then take no part in any sum.
#[derive(Clone, Debug)]
pub struct Rows {
    hidden: usize,
    parts: Vec<Range<usize>>,
    values: Vec<f32>,
    form: Form,
}

/// What is kept for ||A^T B||_F^2, whichever costs less: the Gram matrix of the rows (n x n), whose inner product with
/// the other model's is that norm, or the transpose of every part, from which M = A^T B is made for each pair.
#[derive(Clone, Debug)]
enum Form {
    Gram(Vec<f64>),
    Transposed(Vec<Vec<f32>>),
}

/// The sums of one column test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// tr(A^T B).
    #[serde(with = "super::exact")]
    pub trace: f64,
    /// ||A^T B||_F^2.
    #[serde(with = "super::exact")]
    pub frobenius2: f64,
}

impl Rows {
    /// Takes `values`, n x `hidden`, divided into `parts`, consecutive ranges of rows that cover all of them.
    ///
    /// # Panics
    /// If the length is not a multiple of `hidden` or the parts do not cover the rows.
    #[must_use]
    pub fn new(values: Vec<f32>, hidden: usize, parts: Vec<Range<usize>>) -> Self {
        assert!(hidden > 0 && values.len().is_multiple_of(hidden));
        let n = values.len() / hidden;
        assert!(parts.iter().map(ExactSizeIterator::len).sum::<usize>() == n, "parts cover the rows");
        let form = if n > 2 * hidden {
            let part = |p: &Range<usize>| transpose(&values[p.start * hidden..p.end * hidden], p.len(), hidden);
            Form::Transposed(parts.iter().map(part).collect())
        } else {
            Form::Gram(gram(&values, hidden))
        };
        Self { hidden, parts, values, form }
    }

    /// Rows in one part.
    #[must_use]
    pub fn whole(values: Vec<f32>, hidden: usize) -> Self {
        let n = values.len() / hidden;
        Self::new(values, hidden, std::iter::once(0..n).collect())
    }

    /// Number of rows.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len() / self.hidden
    }

    /// The sums of every part against the same part of `other`.
    #[must_use]
    pub fn by_part(&self, other: &Self) -> Vec<Sums> {
        let n = self.count();
        let one = |(index, part): (usize, &Range<usize>)| {
            let span = part.start * self.hidden..part.end * self.hidden;
            let trace = trace(&self.values[span.clone()], &other.values[span]);
            let frobenius2 = match (&self.form, &other.form) {
                (Form::Gram(a), Form::Gram(b)) => {
                    part.clone().map(|r| inner(&a[r * n..][part.clone()], &b[r * n..][part.clone()])).sum()
                }
                _ => self.part_cross_gram(other, index).iter().map(|m| m * m).sum(),
            };
            Sums { trace, frobenius2 }
        };
        self.parts.iter().enumerate().map(one).collect()
    }

    /// The sums over all rows.
    #[must_use]
    pub fn total(&self, other: &Self) -> Sums {
        let frobenius2 = if let (Form::Gram(a), Form::Gram(b)) = (&self.form, &other.form) {
            inner(a, b)
        } else {
            let mut total = vec![0.0; self.hidden * self.hidden];
            for part in 0..self.parts.len() {
                for (sum, m) in total.iter_mut().zip(self.part_cross_gram(other, part)) {
                    *sum += m;
                }
            }
            inner(&total, &total)
        };
        Sums { trace: trace(&self.values, &other.values), frobenius2 }
    }

    /// M = A^T B of one part, hidden x hidden. Both forms are chosen by the same rule from the same layout, so a pair
    /// of different forms cannot be.
    fn part_cross_gram(&self, other: &Self, part: usize) -> Vec<f64> {
        match (&self.form, &other.form) {
            (Form::Transposed(a), Form::Transposed(b)) => {
                let n = self.parts[part].len();
                if n == 0 { vec![0.0; self.hidden * self.hidden] } else { cross(&a[part], &b[part], n) }
            }
            _ => unreachable!("rows of one layout have one form"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gather_finds_the_same_rows_whatever_the_blocks() {
        for view in [
            View { outer: 1, rows: 5, cols: 7, transposed: false },
            View { outer: 1, rows: 5, cols: 7, transposed: true },
            View { outer: 3, rows: 5, cols: 7, transposed: true },
        ] {
            let n = view.outer * view.rows * view.cols;
            let values: Vec<f64> = (0..n).map(|v| v as f64).collect();
            let chosen = view.spread(4);
            for size in [1, 3, 7, 8, n] {
                let mut out = vec![f32::NAN; chosen.len() * view.hidden()];
                for (i, block) in values.chunks(size).enumerate() {
                    view.gather(&chosen, i * size, block, |element, value| out[element] = value);
                }
                for (slot, &row) in chosen.iter().enumerate() {
                    for h in 0..view.hidden() {
                        let element = if view.transposed {
                            (row / view.cols * view.rows + h) * view.cols + row % view.cols
                        } else {
                            row * view.cols + h
                        };
                        assert_eq!(
                            out[slot * view.hidden() + h].to_bits(),
                            (element as f32).to_bits(),
                            "{view:?} {size}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn both_forms_give_the_sums_of_the_plain_product() {
        let hidden = 8;
        let make = |n: usize, seed: usize| -> Vec<f32> {
            (0..n * hidden).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 - 0.5).collect()
        };
        let plain = |a: &[f32], b: &[f32]| {
            let (mut trace, mut frobenius2) = (0.0, 0.0);
            for i in 0..hidden {
                for j in 0..hidden {
                    let rows = a.chunks_exact(hidden).zip(b.chunks_exact(hidden));
                    let m: f64 = rows.map(|(x, y)| f64::from(x[i]) * f64::from(y[j])).sum();
                    frobenius2 += m * m;
                    trace += if i == j { m } else { 0.0 };
                }
            }
            Sums { trace, frobenius2 }
        };
        let close =
            |a: Sums, b: Sums| (a.trace - b.trace).abs() < 1e-5 && (a.frobenius2 / b.frobenius2 - 1.0).abs() < 1e-5;
        for n in [5, 40] {
            let (a, b) = (make(n, 1), make(n, 2));
            let parts = || vec![0..2, 2..n];
            let (left, right) = (Rows::new(a.clone(), hidden, parts()), Rows::new(b.clone(), hidden, parts()));
            assert!(close(left.total(&right), plain(&a, &b)));
            let by_part = left.by_part(&right);
            assert!(close(by_part[0], plain(&a[..2 * hidden], &b[..2 * hidden])));
            assert!(close(by_part[1], plain(&a[2 * hidden..], &b[2 * hidden..])));
        }
    }
}
