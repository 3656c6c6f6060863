//! The start: in how much of it a trained matrix would have shown.

use super::StartPower;
use crate::{Condition, Judgement};
use scratchproof_evidence::StartRow;
use scratchproof_measurements::Replay;
use scratchproof_texts::text;

/// Parameters in matrices of which something is known, at least.
const REACHED: f64 = 0.9;

/// A singular value of so many edges of the whole matrix must show in the rows that were looked at: 20 steps of training leave
/// one of 10 edges and more (methods.md).
const SPIKE: f64 = 3.0;

/// How far above the threshold of Baik, Ben Arous and Peche (2005), below which no test of the spectrum sees it, that must lie.
/// **Simulated** for 256 rows of 1,024 to 128,000: at 1.5 it stands 11 to 24 deviations of Tracy and Widom above the edge.
const ABOVE: f64 = 1.5;

/// The matrix, or the matrices of one shape, that a row of `start.parquet` is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// Parameters of all of it.
    pub parameters: u64,
    /// Rows of one matrix, ...
    pub rows: f64,
    /// ... and its columns.
    pub columns: f64,
    /// Matrices.
    pub matrices: f64,
}

impl Span {
    /// Whether [`SPIKE`] shows in so many of its elements: of a spike spread over all rows, r of n rows hold sqrt(r / n), and
    /// (r d)^(1/4) is where it leaves the bulk.
    pub(super) fn shows(&self, looked: u64) -> bool {
        let rows = looked as f64 / (self.matrices * self.columns).max(1.0);
        let spike = SPIKE * (self.rows.sqrt() + self.columns.sqrt()) * (rows / self.rows.max(1.0)).min(1.0).sqrt();
        spike >= ABOVE * (rows * self.columns).sqrt().sqrt()
    }
}

/// The share of the parameters that lie in matrices whose spectrum was tested, or which are nothing but zeros, ones or the
/// like; `spans` are those of the rows. The spectrum of a matrix is tested only where rank one would show at all, in some of
/// its rows where it has many; 20 steps of training leave a singular value of 10 edges and more, and a fifth of a trained
/// matrix is seen from hidden size 64 on (methods.md).
#[must_use]
pub fn start(rows: &[StartRow], spans: &[Span], parameters: u64, replay: &Replay) -> StartPower {
    if matches!(replay, Replay::Done(_, replayed) if replayed.whole()) {
        return StartPower { reached: 1.0 };
    }
    let named = |row: &StartRow| {
        row.scheme.as_deref().is_some_and(|s| ["zero", "constant", "identity", "orthogonal", "sinusoids"].contains(&s))
    };
    let shows = |(row, span): &(&StartRow, &Span)| named(row) || row.edge_log10_p.is_some() && span.shows(row.elements);
    let reached: u64 = rows.iter().zip(spans).filter(shows).map(|(_, span)| span.parameters).sum();
    StartPower { reached: if parameters > 0 { (reached as f64 / parameters as f64).min(1.0) } else { 0.0 } }
}

impl StartPower {
    /// A start that holds although most of it was not looked at is untested. `unknown` are tensors without a known function.
    pub fn settle(&self, judgement: &mut Judgement, unknown: usize) {
        if judgement.condition == Condition::Holds && self.reached < REACHED {
            judgement.condition = Condition::Untested;
            judgement.missing.push(text!("power/start/missing", reached = self.reached, unknown));
            judgement.said = text!("power/start/little", reached = self.reached);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What rows show of a matrix does not end with the rows: a matrix of which 256 rows were looked at counts whole, one of
    /// which 4 were does not.
    #[test]
    fn a_matrix_counts_whole_where_its_rows_show_what_training_leaves() {
        for (rows, columns) in [(64, 64), (1024, 1024), (14_336, 4096), (128_000, 4096), (256_000, 2048_u32)] {
            let (rows, columns): (u32, u32) = (rows, columns);
            let span = Span { parameters: 0, rows: rows.into(), columns: columns.into(), matrices: 1.0 };
            let looked = |rows: u32| u64::from(rows) * u64::from(columns);
            assert!(span.shows(looked(rows.min(256))), "{rows} x {columns}");
            assert!(rows < 10_000 || !span.shows(looked(4)), "{rows} x {columns}");
        }
        let experts = Span { parameters: 0, rows: 1408.0, columns: 4096.0, matrices: 128.0 };
        assert!(experts.shows(128 * 64 * 4096) && !experts.shows(128 * 4096));
    }
}
