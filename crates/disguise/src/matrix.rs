//! Some rows of a matrix of a layer, and what the matrix is for.

use scratchproof_checkpoint::{Component, Part, Role};
use serde::{Deserialize, Serialize};

/// Rows of one matrix that are looked at; of a longer one as many, spread evenly.
pub const ROWS: usize = 2048;

/// Some rows of a matrix, over the residual axis as columns.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Length of a row.
    pub cols: usize,
    /// Which rows of the part these are, ascending.
    pub picked: Vec<usize>,
    /// Rows of the part.
    pub total: usize,
    /// The rows, one after the other.
    pub values: Vec<f32>,
}

impl Matrix {
    /// Rows that are here.
    pub fn rows(&self) -> usize {
        self.picked.len()
    }

    /// Whether any value is not zero and all are finite.
    pub fn usable(&self) -> bool {
        self.values.iter().all(|v| v.is_finite()) && self.values.iter().any(|v| *v != 0.0)
    }

    /// The row with index `i` among those that are here.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.cols..(i + 1) * self.cols]
    }

    /// These of its rows.
    pub fn chosen(&self, rows: &[usize]) -> Self {
        Self {
            cols: self.cols,
            picked: rows.iter().map(|i| self.picked[*i]).collect(),
            total: self.total,
            values: rows.iter().flat_map(|i| self.row(*i)).copied().collect(),
        }
    }

    /// With the sign of each row such that `seen`, the same rows in another frame, points the way of `like`.
    pub fn signed_like(mut self, like: &Self, seen: &Self) -> Self {
        let cols = self.cols.max(1);
        for (i, row) in self.values.chunks_exact_mut(cols).enumerate() {
            let product: f64 = like.row(i).iter().zip(seen.row(i)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            if product < 0.0 {
                for value in row {
                    *value = -*value;
                }
            }
        }
        self
    }

    /// Scales every row to length 1; a zero row stays zero. Rescaled pairs of rows hide nothing after that.
    pub fn normalised(mut self) -> Self {
        unit_rows(&mut self.values, self.cols);
        self
    }
}

/// Rounds to single precision.
#[allow(clippy::cast_possible_truncation)]
pub fn narrow(value: f64) -> f32 {
    value as f32
}

/// Scales every row to length 1; a row of zeros stays.
pub fn unit_rows(values: &mut [f32], cols: usize) {
    for row in values.chunks_exact_mut(cols.max(1)) {
        let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        if norm > 0.0 {
            for value in row {
                *value = narrow(f64::from(*value) / norm);
            }
        }
    }
}

/// Which MLP of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Slot {
    /// The layer's only one.
    Dense,
    /// The one that sees every token beside the experts.
    Shared,
    /// One of the experts.
    Expert(u32),
}

/// The function of a matrix inside a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Function {
    /// Queries, keys, values and the projection of their sum.
    Query,
    /// See [`Function::Query`].
    Key,
    /// See [`Function::Query`].
    Value,
    /// See [`Function::Query`].
    Output,
    /// A row for each expert.
    Router,
    /// The three matrices of an MLP; a model without gates has no [`Function::Gate`].
    Gate(Slot),
    /// See [`Function::Gate`].
    Up(Slot),
    /// See [`Function::Gate`].
    Down(Slot),
    /// A matrix of which nothing is known but the component that it is judged with and a number of its name: in a layer
    /// no name of which a template knows.
    Other(Component, u64),
}

impl Function {
    /// The four matrices of an attention.
    pub const ATTENTION: [Self; 4] = [Self::Query, Self::Key, Self::Value, Self::Output];

    /// Of a matrix of an attention in one of several stacks (`decoder.cross.q_proj`), the stack and what it is for.
    pub fn of_stack(role: &Role) -> Option<(&str, Self)> {
        let (stack, family) = role.family.rsplit_once('.')?;
        let function = match family {
            "q_proj" => Self::Query,
            "k_proj" => Self::Key,
            "v_proj" => Self::Value,
            "o_proj" => Self::Output,
            _ => return None,
        };
        Some((stack, function))
    }

    /// What a part is for, if it is one of those that the search knows.
    pub fn of(part: &Part) -> Option<Self> {
        if !part.role.tower.is_empty() || !part.residual || part.role.constant || part.rows < 2 {
            return None;
        }
        let (family, slot) = if let Some(family) = part.role.family.strip_prefix("experts.") {
            (family, Slot::Expert(part.role.expert?))
        } else if let Some(family) = part.role.family.strip_prefix("shared_experts.") {
            (family, Slot::Shared)
        } else if let Some(family) = part.role.family.strip_prefix("shared_expert.") {
            (family, Slot::Shared)
        } else {
            (part.role.family.as_str(), Slot::Dense)
        };
        Some(match family {
            // The low ranks of multi-head latent attention read the residual axis in the place of queries and keys.
            "q_proj" | "q_a_proj" => Self::Query,
            "k_proj" | "kv_a_proj" => Self::Key,
            "v_proj" => Self::Value,
            "o_proj" => Self::Output,
            "router" => Self::Router,
            "gate_proj" => Self::Gate(slot),
            "up_proj" => Self::Up(slot),
            "down_proj" => Self::Down(slot),
            _ => return None,
        })
    }

    /// Which of two groups of a layer's matrices it is fitted with: attention, or MLPs. What nothing is known of is divided.
    pub fn group(self) -> usize {
        match (self.component(), self) {
            (name, _) if name == Component::Attention.name() => 0,
            (_, Self::Other(Component::Other, number)) => usize::from(number % 2 == 1),
            _ => 1,
        }
    }

    /// The MLP it belongs to.
    pub fn slot(self) -> Option<Slot> {
        match self {
            Self::Gate(slot) | Self::Up(slot) | Self::Down(slot) => Some(slot),
            _ => None,
        }
    }

    /// The component it is judged with.
    pub fn component(self) -> &'static str {
        match self {
            Self::Query | Self::Key | Self::Value | Self::Output => Component::Attention.name(),
            Self::Router => Component::Router.name(),
            Self::Gate(slot) | Self::Up(slot) | Self::Down(slot) => match slot {
                Slot::Dense => Component::Mlp.name(),
                Slot::Shared | Slot::Expert(_) => Component::Experts.name(),
            },
            Self::Other(component, _) => component.name(),
        }
    }
}

/// `wanted` of `count`, spread evenly.
pub fn spread(count: usize, wanted: usize) -> Vec<usize> {
    let wanted = wanted.min(count);
    (0..wanted).map(|i| (2 * i + 1) * count / (2 * wanted)).collect()
}
