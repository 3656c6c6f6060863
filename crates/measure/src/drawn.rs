//! Whether the kept rows of a reference look like a draw: cosines between rows of one matrix, against those of random directions.

use std::collections::BTreeMap;

use rayon::prelude::*;

use scratchproof_kernel::trace;
use scratchproof_measurements::{Drawn, Kept, Plan};

/// Rows of a matrix that are held against each other, and the axis up to which they may be more at no more cost: what trained a little
/// shows in all of them. **Measured** on convolutions of 150 steps: z of 0.7 and 2.7 over 64 rows of each, 4.2 and 5.3 over 512.
const ROWS: f64 = 64.0;
const WIDE: f64 = 4096.0;

/// Rows of `n` numbers each that are held against each other.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "64 to 1,448")]
fn rows(n: f64) -> usize {
    (ROWS * (WIDE / n).sqrt().max(1.0)) as usize
}

/// Sums over the pairs of one family.
#[derive(Default)]
struct Pairs {
    excess: f64,
    variance: f64,
    count: u64,
}

/// Of every family of every parent and control: the squared cosines between the rows of a matrix, less their mean for independent
/// random directions, summed over its matrices, in standard deviations (John 1971). In n dimensions (one less than the
/// columns, for rows are centred) a squared cosine has mean 1 / n and variance 2 (n - 1) / (n^2 (n + 2)), and those of
/// different pairs are uncorrelated. Sums of experts are left out.
pub(super) fn drawn(plan: &Plan, kept: &[Kept]) -> Vec<Drawn> {
    let of = |model: usize| {
        let mut families: BTreeMap<&str, Pairs> = BTreeMap::new();
        for (unit, own) in plan.units.iter().zip(kept) {
            let slot = unit.members.iter().position(|member| member.model == model);
            let (Some(slot), Some(view), None) = (slot, unit.view, &unit.pool) else { continue };
            let n = view.hidden().saturating_sub(1) as f64;
            if n < 8.0 || unit.role.constant || !own.usable[slot] {
                continue;
            }
            let rows: Vec<(&[f32], f64)> = own.rows[slot]
                .chunks_exact(view.hidden())
                .take(rows(n))
                .map(|row| (row, trace(row, row)))
                .filter(|(_, square)| *square > 0.0)
                .collect();
            let pairs = families.entry(&unit.role.family).or_default();
            for (at, (a, a2)) in rows.iter().enumerate() {
                for (b, b2) in &rows[..at] {
                    pairs.excess += trace(a, b).powi(2) / (a2 * b2) - 1.0 / n;
                    pairs.variance += 2.0 * (n - 1.0) / (n * n * (n + 2.0));
                    pairs.count += 1;
                }
            }
        }
        let told = families.into_iter().filter(|(_, pairs)| pairs.variance > 0.0);
        let one = |(family, pairs): (&str, Pairs)| {
            let z = pairs.excess / pairs.variance.sqrt();
            Drawn { model, family: family.to_owned(), pairs: pairs.count, z }
        };
        told.map(one).collect::<Vec<_>>()
    };
    (plan.series..plan.series + plan.references).into_par_iter().flat_map_iter(of).collect()
}
