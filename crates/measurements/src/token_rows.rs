//! Rows of tokens that the data never held: they get no gradient (METHODS 5, decay clock).

use serde::{Deserialize, Serialize};

use scratchproof_kernel::RowProducts;

/// What the rows of one tensor did between two neighbouring checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RowsSeen {
    /// Rows that are finite and not zero in both.
    pub usable: u64,
    /// Of those, rows with a cosine of 0.6 or more.
    pub near: u64,
    /// Rows of usual length with a cosine below 0.3, ...
    pub turned: u64,
    /// ... and those of them with a negative one.
    pub reversed: u64,
    /// Rows that are equal.
    pub equal: u64,
    /// Rows that kept their direction, equal ones among them.
    pub kept: u64,
    /// Rows of which every element moved towards zero by about one amount.
    pub even: u64,
    /// Rows that were met: usable and not kept ...
    pub met: u64,
    /// ... the elements of them that were looked at ...
    pub met_elements: u64,
    /// ... and the sum of the squares of what those moved.
    pub met_moved2: f64,
}

/// The chosen rows between two checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowsBetween {
    /// Positions in the series.
    pub from: usize,
    /// See `from`.
    pub to: usize,
    /// By chosen row.
    pub rows: Vec<RowProducts>,
}

/// The rows of one tensor that no gradient reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenRows {
    /// Position among the plan's units.
    pub unit: usize,
    /// Rows of the tensor.
    pub of: u64,
    /// By checkpoint, bits of mantissa that its values really have.
    pub bits: Vec<i32>,
    /// By interval of neighbouring checkpoints.
    pub seen: Vec<RowsSeen>,
    /// The chosen rows, ascending: those that kept their direction in most intervals, the same rows in all of them.
    pub rows: Vec<u64>,
    /// By interval, whether the chosen rows kept their direction there.
    pub holds: Vec<bool>,
    /// Rows that left an earlier direction and stand on it again, ascending.
    pub returned: Vec<Returned>,
    /// Neighbours, then first and last, then every second one (what stands round each inner checkpoint).
    pub between: Vec<RowsBetween>,
}

impl TokenRows {
    /// The chosen rows between two checkpoints.
    #[must_use]
    pub fn pair(&self, from: usize, to: usize) -> Option<&RowsBetween> {
        self.between.iter().find(|pair| pair.from == from && pair.to == to)
    }
}

/// One row of one tensor that stands at `to` where it stood at `from`, and did not at `away`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Returned {
    /// Number of the row.
    pub row: u64,
    /// Positions in the series.
    pub from: usize,
    /// The checkpoint before `to`.
    pub away: usize,
    /// See `from`.
    pub to: usize,
    /// Sine of the angle between the copies at `from` and `away`.
    #[serde(with = "scratchproof_kernel::exact")]
    pub moved: f64,
    /// Sine between those at `from` and `to`.
    #[serde(with = "scratchproof_kernel::exact")]
    pub off: f64,
}
