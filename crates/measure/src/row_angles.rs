//! Angles between the rows of one MLP matrix against those of another: no change of the residual basis moves them, so a single
//! matrix of a parent is seen behind a permuted or rotated axis, where its neurons stand in the parent's order.
//!
//! The neurons of an MLP are exchangeable: initialisations draw them alike and optimisers treat them alike. So the correlation of the
//! cosines between the rows of two matrices has an exact null over all orders of the neurons of one ([`mantel`]). Rows of
//! heads are not exchangeable, nor are those of fused matrices, and take no part.

use std::collections::BTreeMap;

use rayon::prelude::*;

use scratchproof_disguise::without_direction;
use scratchproof_kernel::square;
use scratchproof_measurements::{AngleCell, Component, Kept, Plan, RowAngles, Unit};
use scratchproof_stats::{above, mantel};

/// Neurons of a matrix that take part, at least and at most.
const NEURONS: (usize, usize) = (8, 128);

/// Pairs of matrices of one family that are held against each other; of more, those in the same place alone.
const CELLS: usize = 4096;

/// The standard score from which a pair of matrices is kept.
const KEPT: f64 = 4.0;

/// The first and the final checkpoint of the series against every other given model, family by family.
pub(super) fn row_angles(plan: &Plan, kept: &[Kept]) -> Vec<RowAngles> {
    let others = plan.series..plan.series + plan.references;
    let mut families: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, unit) in plan.units.iter().enumerate().filter(|(_, unit)| takes_part(unit)) {
        families.entry(plan.family(&unit.role)).or_default().push(at);
    }
    let one = |(family, units): (String, Vec<usize>)| -> Vec<RowAngles> {
        let of = |model: usize| -> Vec<Matrix> {
            units.iter().flat_map(|at| matrices(&plan.units[*at], *at, &kept[*at], model)).collect()
        };
        let own: Vec<(usize, Vec<Matrix>)> = plan.ends().map(|t| (t, of(t))).collect();
        let theirs = others.clone().map(|model| (model, of(model)));
        let component = plan.units[units[0]].role.judged_as().to_owned();
        let between = |(b, theirs): (usize, Vec<Matrix>)| {
            let against = |(a, own): &(usize, Vec<Matrix>)| against(own, &theirs, (*a, b), &family, &component);
            own.iter().filter_map(against).collect::<Vec<_>>()
        };
        theirs.flat_map(between).collect()
    };
    families.into_par_iter().flat_map_iter(one).collect()
}

/// Whether the rows of a tensor are neurons.
fn takes_part(unit: &Unit) -> bool {
    let name = unit.role.family.rsplit('.').next().unwrap_or_default();
    let neurons = matches!(name, "gate_proj" | "up_proj" | "down_proj");
    let mlp = matches!(unit.role.component, Component::Mlp | Component::Experts);
    neurons && mlp && unit.is_telling() && !unit.formula && unit.pool.is_none()
}

/// One matrix of a model.
struct Matrix {
    /// Unit of the plan, and which matrix of its stack.
    place: (usize, usize),
    /// Which neurons take part.
    neurons: Vec<usize>,
    /// The cosines between their rows above the diagonal, the leading direction taken out.
    angles: Vec<f64>,
}

/// The matrices of one tensor of a model.
fn matrices(unit: &Unit, at: usize, kept: &Kept, model: usize) -> Vec<Matrix> {
    let (Some(slot), Some(view)) = (unit.slot(model), unit.view) else { return Vec::new() };
    if !kept.usable[slot] {
        return Vec::new();
    }
    let each = view.count() / view.outer.max(1);
    let mut stack: BTreeMap<usize, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
    for (place, row) in unit.added().iter().zip(kept.rows[slot].chunks_exact(view.hidden())) {
        let stored = unit.sampled[*place];
        let (neurons, rows) = stack.entry(stored / each).or_default();
        if neurons.len() < NEURONS.1 {
            neurons.push(stored % each);
            rows.extend(row);
        }
    }
    let one = |(matrix, (neurons, rows)): (usize, (Vec<usize>, Vec<f32>))| {
        let angles = angles(&rows, view.hidden(), neurons.len())?;
        Some(Matrix { place: (at, matrix), neurons, angles })
    };
    stack.into_iter().filter_map(one).collect()
}

/// The cosines between rows above their diagonal, row after row, without the direction that all rows share.
fn angles(rows: &[f32], hidden: usize, n: usize) -> Option<Vec<f64>> {
    if n < NEURONS.0 {
        return None;
    }
    let gram = square(rows, hidden).into_iter().map(f64::from).collect();
    Some(above(&without_direction(gram, n)?, n))
}

fn against(
    own: &[Matrix],
    theirs: &[Matrix],
    models: (usize, usize),
    family: &str,
    component: &str,
) -> Option<RowAngles> {
    let all = own.len() * theirs.len() <= CELLS;
    let pairs = own.iter().flat_map(|a| theirs.iter().map(move |b| (a, b)));
    let pairs = pairs.filter(|(a, b)| a.neurons == b.neurons && (all || a.place == b.place));
    let (mut tried, mut cells) = (0, Vec::new());
    let (mut matrices, mut z, mut effect) = (0_u64, 0.0, 0.0);
    for (a, b) in pairs {
        let Some(test) = mantel(&a.angles, &b.angles, a.neurons.len()) else { continue };
        tried += 1;
        if a.place == b.place {
            matrices += 1;
            z += test.z;
            effect += test.effect;
        }
        if test.z >= KEPT {
            cells.push(AngleCell { own: a.place, other: b.place, z: test.z, effect: test.effect });
        }
    }
    // Stouffer: the sum of independent standard scores over the root of their number.
    let together = (matrices > 0).then(|| (z / (matrices as f64).sqrt(), effect / matrices as f64));
    (tried > 0).then(|| RowAngles {
        models,
        family: family.to_owned(),
        component: component.to_owned(),
        tried,
        matrices,
        z: together.map(|(z, _)| z),
        effect: together.map(|(_, effect)| effect),
        cells,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use scratchproof_error::mixing::mixed;

    fn draw(rows: usize, k: usize, seed: u64) -> Vec<f32> {
        let unit = |at: u64| f32::from((mixed(seed << 32 | at) >> 48) as u16) / 32768.0 - 1.0;
        (0..(rows * k) as u64).map(|at| unit(at * 2) + unit(at * 2 + 1)).collect()
    }

    /// A matrix behind another order of the axis, with half as much noise as weight, is seen; one in another order of neurons is not.
    #[test]
    fn angles_know_no_basis() {
        let (n, k) = (40, 24);
        let rows = draw(n, k, 1);
        let noise = draw(n, k, 2);
        let turned: Vec<f32> = (0..n)
            .flat_map(|i| (0..k).map(move |j| (i, j * 7 % k)))
            .map(|(i, j)| rows[i * k + j] + 0.5 * noise[i * k + j])
            .collect();
        let z = |a: &[f32], b: &[f32]| {
            let (a, b) = (angles(a, k, n).expect("rows"), angles(b, k, n).expect("rows"));
            mantel(&a, &b, n).expect("a test").z
        };
        assert!(z(&rows, &turned) > 12.0, "{}", z(&rows, &turned));
        let other: Vec<f32> = (0..n).flat_map(|i| rows[i * 7 % n * k..(i * 7 % n + 1) * k].to_vec()).collect();
        assert!(z(&rows, &other).abs() < 4.0, "{}", z(&rows, &other));
        let unrelated: Vec<f64> = (0..40).map(|seed| z(&rows, &draw(n, k, 10 + seed))).collect();
        let square = unrelated.iter().map(|z| z * z).sum::<f64>() / 40.0;
        assert!((0.5..1.7).contains(&square), "{square}");
        assert!(angles(&rows[..7 * k], k, 7).is_none());
    }
}
