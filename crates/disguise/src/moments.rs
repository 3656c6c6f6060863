//! Second moments over the residual axis: W^T W, blind to the order, scale and sign of the rows.

use std::collections::BTreeMap;

use super::matrix::{Matrix, narrow};
use scratchproof_kernel::{deflate, product, square, transpose};
use scratchproof_stats::{above, correlations};

/// Dimensions of the residual axis that are looked at: a subset of exchangeable dimensions is as exchangeable.
pub const DIMENSIONS: usize = 512;

/// The same where single matrices are told from each other: 32,640 correlations, whose product for unrelated ones has a
/// standard deviation of 0.006.
const PROFILED: usize = 256;

/// Sum of W^T W of unit rows, over the first [`DIMENSIONS`] spread dimensions.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Dimensions.
    pub size: usize,
    /// size x size.
    pub values: Vec<f64>,
    /// Rows that took part.
    pub rows: usize,
}

/// Second moments of a model: those of each component summed over the layers, and how the dimensions of each layer go together.
/// What a layer's own moments were is not held.
#[derive(Clone, Debug, Default)]
pub struct LayerMoments {
    /// By component, and those of all as `all`.
    pub components: BTreeMap<&'static str, Moments>,
    /// By layer, all of its components together: [`Moments::correlations`].
    pub layers: BTreeMap<u32, Option<Vec<f64>>>,
    /// Rows that took part, by layer and component.
    pub rows: BTreeMap<u32, BTreeMap<&'static str, usize>>,
}

/// The moments of all components of a layer together.
pub fn whole(parts: &BTreeMap<&'static str, Moments>, hidden: usize) -> Moments {
    let mut all = Moments::empty(hidden);
    for moments in parts.values() {
        all.and(moments);
    }
    all
}

/// The correlations of an `n` x `n` Gram matrix, zero on its diagonal, less their leading direction: one dimension that is larger than
/// the others, or one direction that all share, would carry a test of two of them alone ([`scratchproof_stats::mantel`]). `None` where
/// a dimension is zero, there are too few, or nothing else is left.
#[must_use]
pub fn without_direction(mut gram: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    if n < 4 || gram.iter().step_by(n + 1).any(|length| *length <= 0.0) {
        return None;
    }
    correlations(&mut gram, n);
    gram.iter_mut().step_by(n + 1).for_each(|v| *v = 0.0);
    deflate(&mut gram, n, n, 1);
    // Of matrices of rank one nothing is left but rounding.
    let left: f64 = gram.iter().map(|v| v * v).sum();
    (left > 1e-9 * (n * n) as f64).then_some(gram)
}

impl LayerMoments {
    /// Adds a layer, of a model whose residual axis has that length.
    pub fn add(
        &mut self,
        layer: u32,
        parts: &BTreeMap<&'static str, Moments>,
        correlations: Option<Vec<f64>>,
        hidden: usize,
    ) {
        for (component, moments) in parts {
            for name in [component, "all"] {
                self.components.entry(name).or_insert_with(|| Moments::empty(hidden)).and(moments);
            }
        }
        self.layers.insert(layer, correlations);
        self.rows.insert(layer, parts.iter().map(|(component, moments)| (*component, moments.rows)).collect());
    }
}

impl Moments {
    /// Nothing yet, for a residual axis of that length.
    pub fn empty(hidden: usize) -> Self {
        Self::within(hidden, DIMENSIONS)
    }

    fn within(hidden: usize, dimensions: usize) -> Self {
        let size = hidden.min(dimensions);
        Self { size, values: vec![0.0; size * size], rows: 0 }
    }

    /// Of one matrix, to be told from others of its kind: over fewer dimensions, as there are many of them.
    pub fn of(matrix: &Matrix) -> Self {
        let mut own = Self::within(matrix.cols, PROFILED);
        own.add(matrix.clone());
        own
    }

    /// Adds a matrix.
    pub fn add(&mut self, matrix: Matrix) {
        let rows = matrix.rows();
        let picked = self.picked(matrix);
        self.add_picked(&picked, rows);
    }

    /// Its rows of length 1 over the dimensions that are looked at.
    pub fn picked(&self, matrix: Matrix) -> Vec<f32> {
        let unit = matrix.normalised();
        let dimensions = self.dimensions(unit.cols);
        unit.values.chunks_exact(unit.cols).flat_map(|row| dimensions.iter().map(|&d| row[d])).collect()
    }

    /// Adds a matrix of the other model in a rotated frame, `directions` the frame's columns of these dimensions one after
    /// the other. A rotation keeps the length of a row, so no other direction of it is needed.
    pub fn add_rotated(&mut self, matrix: Matrix, directions: &[f32]) {
        let unit = matrix.normalised();
        self.add_picked(&product(&unit.values, directions, unit.cols.max(1)), unit.rows());
    }

    /// Which dimensions of a residual axis of that length these are.
    pub fn dimensions(&self, hidden: usize) -> Vec<usize> {
        (0..self.size).map(|i| (2 * i + 1) * hidden / (2 * self.size)).collect()
    }

    /// Adds rows over the dimensions that are looked at.
    pub fn add_picked(&mut self, picked: &[f32], rows: usize) {
        let columns = transpose(picked, rows, self.size);
        for (sum, v) in self.values.iter_mut().zip(square(&columns, rows.max(1))) {
            *sum += f64::from(v);
        }
        self.rows += rows;
    }

    /// Adds another.
    pub fn and(&mut self, other: &Self) {
        self.values.iter_mut().zip(&other.values).for_each(|(a, b)| *a += b);
        self.rows += other.rows;
    }

    /// The correlations of the dimensions above their diagonal, row after row, without the leading direction: one
    /// dimension that is larger than the others, or one direction that all rows share, would carry the test alone.
    /// `None` where a dimension is zero or there are too few.
    pub fn correlations(&self) -> Option<Vec<f64>> {
        self.without_direction().map(|all| above(&all, self.size))
    }

    /// All of them, size x size.
    fn without_direction(&self) -> Option<Vec<f64>> {
        without_direction(self.values.clone(), self.size)
    }

    /// The correlations below the diagonal, less their mean, scaled to length 1.
    pub fn profile(&self) -> Option<Vec<f32>> {
        let n = self.size;
        let all = self.without_direction()?;
        let mut entries: Vec<f64> = (0..n).flat_map(|i| all[i * n..i * n + i].iter().copied()).collect();
        let mean = entries.iter().sum::<f64>() / entries.len() as f64;
        for value in &mut entries {
            *value -= mean;
        }
        let norm = entries.iter().map(|v| v * v).sum::<f64>().sqrt();
        (norm > 0.0).then(|| entries.into_iter().map(|v| narrow(v / norm)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;
    use crate::noise::Noise;
    use scratchproof_kernel::nearest_orthogonal;

    fn values(count: usize, seed: u64) -> Vec<f32> {
        let mut noise = Noise(seed);
        (0..count).map(|_| narrow((noise.next() >> 11) as f64 / (1_u64 << 53) as f64 - 0.5)).collect()
    }

    /// Second moments over some directions of a rotation are those of the rotated rows.
    #[test]
    fn some_directions_of_a_rotation_are_enough() {
        let (side, rows) = (600, 40);
        let wide: Vec<f64> = values(side * side, 3).into_iter().map(f64::from).collect();
        let q = nearest_orthogonal(&wide, side, side).expect("finite");
        let frame = Frame::Rotated(q.iter().map(|v| narrow(*v)).collect());
        let matrix = Matrix { cols: side, picked: (0..rows).collect(), total: rows, values: values(rows * side, 4) };
        let mut whole = Moments::empty(side);
        whole.add(Matrix { values: frame.express(&matrix.values, side, side), ..matrix.clone() });
        let mut some = Moments::empty(side);
        let directions = frame.directions(side, &some.dimensions(side)).expect("a rotation");
        some.add_rotated(matrix, &directions);
        assert_eq!(whole.rows, some.rows);
        assert!(whole.values.iter().zip(&some.values).all(|(a, b)| (a - b).abs() < 1e-5));
        // One that lacks a direction is none.
        let mut short = q;
        short[..side].fill(0.0);
        let short = Frame::Rotated(short.iter().map(|v| narrow(*v)).collect());
        assert_eq!(short.directions(side, &[0]), None);
        assert_eq!(Frame::AsItStands.directions(side, &[0]), None);
    }
}
