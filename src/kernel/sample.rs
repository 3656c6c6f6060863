//! Rows sampled along the residual axis, and the column test's sums over them (METHODS 2 and 2.1).

use super::dot::{cross, inner, trace};
use super::spectrum::transpose;

/// How a tensor is seen as a matrix whose columns are the residual axis.
///
/// A stored tensor is `outer` matrices of `rows` x `cols`; if the residual axis is the stored rows, a row of the view
/// is a stored column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

    /// Copies from `block`, the decoded elements `start..start + block.len()` of the tensor, what belongs to the view's
    /// rows `chosen` (ascending) into `out` (`chosen.len()` x [`View::hidden`]).
    pub fn gather(&self, chosen: &[usize], start: usize, block: &[f64], out: &mut [f32]) {
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
                let target = &mut out[slot * self.cols + from - row * self.cols..];
                narrow(&block[from - start..to - start], target);
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
                #[allow(clippy::cast_possible_truncation)]
                let value = block[base + column - start] as f32;
                out[slot * self.rows + r] = value;
            }
        }
    }
}

fn narrow(from: &[f64], to: &mut [f32]) {
    for (out, value) in to.iter_mut().zip(from) {
        #[allow(clippy::cast_possible_truncation)]
        let value = *value as f32;
        *out = value;
    }
}

/// Subtracts from each row of `values` its mean over the `hidden` columns.
pub fn centre(values: &mut [f32], hidden: usize) {
    for row in values.chunks_exact_mut(hidden) {
        let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / hidden as f64;
        for value in row {
            #[allow(clippy::cast_possible_truncation)]
            let centred = (f64::from(*value) - mean) as f32;
            *value = centred;
        }
    }
}

/// Scales `values` to Frobenius norm 1. Leaves a zero or non-finite sample as zeros and says `false`: it takes no part.
pub fn normalise(values: &mut [f32]) -> bool {
    let norm = trace(values, values).sqrt();
    if norm.is_finite() && norm > 0.0 {
        for value in values {
            #[allow(clippy::cast_possible_truncation)]
            let scaled = (f64::from(*value) / norm) as f32;
            *value = scaled;
        }
        true
    } else {
        values.fill(0.0);
        false
    }
}

/// Centred, scaled rows of one model, laid out alike for all models of a case: rows a model lacks are zero, and then
/// take no part in any sum.
#[derive(Clone, Debug)]
pub struct Rows {
    hidden: usize,
    values: Vec<f32>,
    form: Form,
}

/// What is kept for ||A^T B||_F^2, whichever costs less: the Gram matrix of the rows (n x n), whose inner product with
/// the other model's is that norm, or the transpose, from which M = A^T B is made for each pair.
#[derive(Clone, Debug)]
enum Form {
    Gram(Vec<f64>),
    Transposed(Vec<f32>),
}

impl Rows {
    /// Takes `values`, n x `hidden`.
    ///
    /// # Panics
    /// If the length is not a multiple of `hidden`.
    #[must_use]
    pub fn new(values: Vec<f32>, hidden: usize) -> Self {
        assert!(hidden > 0 && values.len().is_multiple_of(hidden));
        let n = values.len() / hidden;
        let form = if n > 2 * hidden {
            Form::Transposed(transpose(&values, n, hidden))
        } else {
            Form::Gram(cross(&values, &values, hidden))
        };
        Self { hidden, values, form }
    }

    /// Rows.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len() / self.hidden
    }

    /// The rows themselves.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// tr(A^T B).
    #[must_use]
    pub fn trace(&self, other: &Self) -> f64 {
        trace(&self.values, &other.values)
    }

    /// ||A^T B||_F^2.
    #[must_use]
    pub fn frobenius2(&self, other: &Self) -> f64 {
        match (&self.form, &other.form) {
            (Form::Gram(a), Form::Gram(b)) => inner(a, b),
            (Form::Transposed(a), Form::Transposed(b)) => {
                let m = cross(a, b, self.count());
                inner(&m, &m)
            }
            // Both forms are chosen by the same rule from the same shape.
            _ => unreachable!("rows of one layout have one form"),
        }
    }

    /// M = A^T B as a hidden x hidden matrix.
    #[must_use]
    pub fn cross_gram(&self, other: &Self) -> Vec<f64> {
        let n = self.count();
        let columns = |rows: &Self| match &rows.form {
            Form::Transposed(t) => t.clone(),
            Form::Gram(_) => transpose(&rows.values, n, rows.hidden),
        };
        cross(&columns(self), &columns(other), n)
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
                    view.gather(&chosen, i * size, block, &mut out);
                }
                for (slot, &row) in chosen.iter().enumerate() {
                    for h in 0..view.hidden() {
                        let element = if view.transposed {
                            (row / view.cols * view.rows + h) * view.cols + row % view.cols
                        } else {
                            row * view.cols + h
                        };
                        assert_eq!(out[slot * view.hidden() + h] as usize, element, "{view:?} {size}");
                    }
                }
            }
        }
    }

    #[test]
    fn both_forms_give_one_norm() {
        let hidden = 8;
        let make = |n: usize, seed: usize| -> Vec<f32> {
            (0..n * hidden).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 - 0.5).collect()
        };
        for n in [3, 40] {
            let (a, b) = (Rows::new(make(n, 1), hidden), Rows::new(make(n, 2), hidden));
            let m = a.cross_gram(&b);
            let direct: f64 = m.iter().map(|x| x * x).sum();
            assert!((a.frobenius2(&b) / direct - 1.0).abs() < 1e-5);
            let diagonal: f64 = (0..hidden).map(|i| m[i * hidden + i]).sum();
            assert!((a.trace(&b) - diagonal).abs() < 1e-5);
        }
    }
}
