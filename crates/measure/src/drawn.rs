//! Whether the kept rows of a reference look like a draw: cosines between rows of one matrix, against those of random directions.

use rayon::prelude::*;

use scratchproof_kernel::trace;
use scratchproof_measurements::{Drawn, Kept, Plan};

/// Rows of a matrix that are held against each other.
const ROWS: usize = 64;

/// Of every parent and control: the squared cosines between the rows of a matrix, less their mean for independent random
/// directions, summed over all matrices, in standard deviations (John 1971, pooled). In n dimensions (one less than the
/// columns, for rows are centred) a squared cosine has mean 1 / n and variance 2 (n - 1) / (n^2 (n + 2)), and those of
/// different pairs are uncorrelated. Sums of experts are left out.
pub(super) fn drawn(plan: &Plan, kept: &[Kept]) -> Vec<Drawn> {
    let of = |model: usize| {
        let (mut excess, mut variance, mut pairs) = (0.0, 0.0, 0u64);
        for (unit, own) in plan.units.iter().zip(kept) {
            let slot = unit.members.iter().position(|member| member.model == model);
            let (Some(slot), Some(view), None) = (slot, unit.view, &unit.pool) else { continue };
            let n = view.hidden().saturating_sub(1) as f64;
            if n < 8.0 || unit.role.constant || !own.usable[slot] {
                continue;
            }
            let rows: Vec<(&[f32], f64)> = own.rows[slot]
                .chunks_exact(view.hidden())
                .take(ROWS)
                .map(|row| (row, trace(row, row)))
                .filter(|(_, square)| *square > 0.0)
                .collect();
            for (at, (a, a2)) in rows.iter().enumerate() {
                for (b, b2) in &rows[..at] {
                    excess += trace(a, b).powi(2) / (a2 * b2) - 1.0 / n;
                    variance += 2.0 * (n - 1.0) / (n * n * (n + 2.0));
                    pairs += 1;
                }
            }
        }
        Drawn { model, pairs, z: if variance > 0.0 { excess / variance.sqrt() } else { 0.0 } }
    };
    (plan.series..plan.series + plan.references).into_par_iter().map(of).collect()
}
