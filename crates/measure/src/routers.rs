//! The routers of a model, layer by layer, to be held against another model's whatever the order of the experts.

use std::collections::BTreeMap;

use scratchproof_checkpoint::{Checkpoint, Component, Residual as Axis};
use scratchproof_error::Result;
use scratchproof_kernel::{assign, decode};

/// Largest router that is taken, in elements.
const LARGEST: usize = 1 << 24;
/// Most experts that are assigned.
const EXPERTS: usize = 4096;

/// One router: a row an expert, of length 1 each.
#[derive(Clone, Debug, PartialEq)]
pub struct Router {
    /// Experts.
    pub rows: usize,
    /// Hidden size.
    pub columns: usize,
    values: Vec<f32>,
}

/// Routers by layer.
pub type Routers = BTreeMap<u32, Router>;

/// What two routers have in common once their rows are assigned to each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assigned {
    /// Mean cosine of assigned rows.
    pub cosine: f64,
    /// Share of the assigned rows that have one number in both.
    pub in_place: f64,
}

/// The routers of the language model's layers.
///
/// # Errors
/// If a file cannot be read.
pub fn routers(model: &Checkpoint) -> Result<Routers> {
    let mut routers = Routers::new();
    for tensor in &model.tensors {
        let role = &tensor.role;
        let (Some(layer), [rows, columns]) = (role.layer, tensor.shape.as_slice()) else { continue };
        let fits = role.component == Component::Router
            && role.residual == Axis::Columns
            && role.tower.is_empty()
            && (2..=EXPERTS).contains(rows)
            && tensor.elements() <= LARGEST;
        if !fits {
            continue;
        }
        let mut wide = vec![0.0; tensor.elements()];
        decode(tensor.dtype, &model.read(tensor)?, &mut wide);
        if let Some(router) = Router::new(*rows, *columns, &wide) {
            routers.insert(layer, router);
        }
    }
    Ok(routers)
}

impl Router {
    /// Rows brought to length 1; none if one has no length.
    fn new(rows: usize, columns: usize, wide: &[f64]) -> Option<Self> {
        let mut values = Vec::with_capacity(wide.len());
        for row in wide.chunks_exact(columns.max(1)) {
            let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
            if length <= 0.0 || !length.is_finite() {
                return None;
            }
            #[allow(clippy::cast_possible_truncation, reason = "a share of a length of 1")]
            values.extend(row.iter().map(|value| (value / length) as f32));
        }
        (values.len() == rows * columns).then_some(Self { rows, columns, values })
    }

    /// This router against another one of the same hidden size, its columns turned by some places.
    #[must_use]
    pub fn assigned(&self, other: &Self, turned: usize) -> Option<Assigned> {
        if self.columns != other.columns || self.rows == 0 || other.rows == 0 {
            return None;
        }
        let turned = turned % self.columns;
        let mut scores = Vec::with_capacity(self.rows * other.rows);
        for own in self.values.chunks_exact(self.columns) {
            for theirs in other.values.chunks_exact(self.columns) {
                let (tail, head) = theirs.split_at(turned);
                let cosine: f32 = own.iter().zip(head.iter().chain(tail)).map(|(a, b)| a * b).sum();
                scores.push(cosine);
            }
        }
        let found = assign(&scores, self.rows, other.rows);
        let (mut sum, mut same, mut count) = (0.0, 0.0, 0.0);
        for (row, column) in found.iter().enumerate() {
            let Some(column) = column else { continue };
            sum += f64::from(scores[row * other.rows + column]);
            same += f64::from(u8::from(row == *column));
            count += 1.0;
        }
        (count > 0.0).then(|| Assigned { cosine: sum / count, in_place: same / count })
    }
}

#[cfg(test)]
mod tests {
    use super::Router;

    #[test]
    fn experts_in_another_order_are_found() {
        let rows: Vec<f64> = (0..40).map(|at: u32| f64::from((at * 37 + 11) % 19) - 9.0).collect();
        let turned: Vec<f64> = [3, 0, 4, 1, 2].iter().flat_map(|row| rows[row * 8..row * 8 + 8].to_vec()).collect();
        let [a, b] = [&rows, &turned].map(|rows| Router::new(5, 8, rows).expect("a router"));
        let found = a.assigned(&b, 0).expect("assigned");
        assert!((found.cosine - 1.0).abs() < 1e-6 && found.in_place == 0.0, "{found:?}");
        let shuffled = a.assigned(&b, 4).expect("assigned");
        assert!(shuffled.cosine < 0.9, "{shuffled:?}");
        assert!(Router::new(1, 2, &[0.0, 0.0]).is_none());
        assert!(a.assigned(&Router::new(1, 2, &[1.0, 0.0]).expect("a router"), 0).is_none());
    }
}
