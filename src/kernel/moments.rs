//! The sums of a matrix that tell a random draw from anything else.

use super::spectrum::singular_values;

/// Sums over a sample of a matrix. Rows that are all zero (padding tokens) are left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Rows that were looked at.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Mean of the elements.
    pub mean: f64,
    /// Mean of their squares.
    pub square: f64,
    /// Mean of their fourth powers.
    pub fourth: f64,
    /// Largest absolute value.
    pub max_abs: f64,
    /// Largest singular value.
    pub largest: Option<f64>,
    /// Sum over the rows of (squared norm - columns x mean square)^2.
    pub row_spread: f64,
}

impl Moments {
    /// Looks at row-major `values` with that many `columns`. `None` if everything is zero or anything is not finite.
    ///
    /// # Panics
    /// If `columns` is 0.
    #[must_use]
    pub fn of(values: &[f32], columns: usize) -> Option<Self> {
        let values: Vec<f32> =
            values.chunks_exact(columns).filter(|row| row.iter().any(|&v| v != 0.0)).flatten().copied().collect();
        let n = values.len() as f64;
        if values.is_empty() || values.iter().any(|v| !v.is_finite()) {
            return None;
        }
        let rows = values.len() / columns;
        let moment = |power: i32| values.iter().map(|&v| f64::from(v).powi(power)).sum::<f64>() / n;
        let square = moment(2);
        let norms = values.chunks_exact(columns).map(|row| row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>());
        Some(Self {
            rows,
            columns,
            mean: moment(1),
            square,
            fourth: moment(4),
            max_abs: values.iter().fold(0.0, |max, &v| f64::from(v).abs().max(max)),
            largest: singular_values(&values, rows, columns).and_then(|s| s.first().copied()),
            row_spread: norms.map(|norm| (norm - columns as f64 * square).powi(2)).sum(),
        })
    }

    /// Elements that were looked at.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.rows * self.columns
    }
}
