//! A model taken apart into matrices of one function each, whatever tensors they are stored in, and put together again
//! in the packaging of another model.
//!
//! Every part has the function's own units (tokens, neurons, head dimensions, experts, ranks) as rows and the residual
//! axis as columns. So `down_proj` and `o_proj` are the transpose of what PyTorch's `Linear` stores.

mod assemble;
mod heads;
mod layout;
mod read;
mod repack;
mod scale;

use std::sync::Arc;

use super::{Role, TensorRecord};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

pub(crate) use heads::of as heads_of;
pub use repack::packaged_alike;

/// Makes the values of a part: `rows x cols`, row by row; the same ones every time.
pub type Fill = Arc<dyn Fn() -> Result<Vec<f32>> + Send + Sync>;

/// One matrix of one function, whatever tensor it is stored in and however.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Index into the checkpoint's tensors.
    pub tensor: usize,
    /// What it is for. The family is the matrix's own (`q_proj`, never `qkv_proj`), and so is the expert.
    pub role: Role,
    /// Units of the function: tokens, neurons, head dimensions, experts.
    pub rows: usize,
    /// Length of the residual axis, or of the other stored axis where there is none.
    pub cols: usize,
    /// Whether the columns are the residual axis.
    pub residual: bool,
    place: Place,
}

/// Where the elements of a part are in its tensor, counted in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// The first element.
    base: usize,
    /// Rows that are `row_step` apart; then the next group begins, `group_step` after the one before.
    group: usize,
    group_step: usize,
    row_step: usize,
    col_step: usize,
}

/// What two parts must share to be the same in two models.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Known { tower: String, family: String, layer: Option<u32>, expert: Option<u32> },
    Unknown(String),
}

impl Part {
    /// Whether the residual axis is not stored last, so that some of the rows cannot be read without the others.
    #[must_use]
    pub fn is_turned(&self) -> bool {
        !(self.place.col_step == 1 && (self.cols > 1 || self.rows == 1))
    }

    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.rows * self.cols
    }

    fn key(&self, tensor: &TensorRecord) -> Key {
        let Role { tower, family, layer, expert, known, .. } = &self.role;
        if !known {
            return Key::Unknown(tensor.name.clone());
        }
        Key::Known { tower: tower.clone(), family: family.clone(), layer: *layer, expert: *expert }
    }

    /// The elements of the tensor from the first of the part's to behind its last.
    ///
    /// # Errors
    /// If that is not inside the tensor: the part is another model's.
    fn span(&self, tensor: &TensorRecord) -> Result<std::ops::Range<usize>> {
        let Place { base, group, group_step, row_step, col_step } = self.place;
        if self.rows == 0 || self.cols == 0 {
            return Ok(base..base);
        }
        let last = |count: usize, step: usize| (count - 1).checked_mul(step);
        let end = || {
            let groups = last(self.rows.div_ceil(group.max(1)), group_step)?;
            let rows = last(group.min(self.rows).max(1), row_step)?;
            base.checked_add(groups)?.checked_add(rows)?.checked_add(last(self.cols, col_step)?)?.checked_add(1)
        };
        let end = end().filter(|end| *end <= tensor.elements());
        end.map(|end| base..end)
            .ok_or_else(|| Error::usage(text!("error-checkpoint/part/no-such-part", name = &tensor.name)))
    }
}

impl Place {
    /// The place of the first column of a row.
    fn row(&self, row: usize) -> usize {
        let group = self.group.max(1);
        self.base + row / group * self.group_step + row % group * self.row_step
    }
}

#[cfg(test)]
mod names;
#[cfg(test)]
mod tests;
