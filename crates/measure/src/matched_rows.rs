//! Rows over the residual axis that two models have in common, whatever the role, layer and place of each: two matchings, one by
//! the even and one by the odd columns, agree where a row is the other's.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use scratchproof_error::mixing::mixed;
use scratchproof_kernel::{normalise, product, trace};
use scratchproof_measurements::{Kept, MatchedRows, MatchedTensors, Plan};

/// Operations that a matching may cost: of more rows an even share is taken of every tensor, the same of both models.
const OPERATIONS: f64 = 1e9;

/// Rows of the product that are held at a time.
const BAND: usize = 256;

/// A row of fewer columns has no halves to tell it by.
const LEAST_COLUMNS: usize = 32;

/// Agreements up to which it is not asked how many there are where columns do not correspond.
const FEW: usize = 3;

/// The first and the final checkpoint of the series against every other model.
pub(super) fn matched_rows(plan: &Plan, kept: &[Kept]) -> Vec<MatchedRows> {
    let lengths: BTreeSet<usize> = plan.axes.values().copied().filter(|hidden| *hidden >= LEAST_COLUMNS).collect();
    let mut found = Vec::new();
    for hidden in lengths {
        for own in plan.ends() {
            for other in plan.series..plan.models() {
                found.extend(between(plan, kept, hidden, (own, other)));
            }
        }
    }
    found
}

/// The kept rows of one model over an axis of one length; where each stands.
struct Side {
    /// Centred by half of the columns and of unit length: the even ones, the odd ones.
    halves: [Vec<f32>; 2],
    /// Centred over all columns and of unit length.
    whole: Vec<f32>,
    /// Unit and row of each.
    places: Vec<(usize, usize)>,
}

/// How many rows of that length a model keeps.
fn count(plan: &Plan, kept: &[Kept], hidden: usize, model: usize) -> usize {
    tensors(plan, kept, hidden, model).map(|(_, rows)| rows.len() / hidden).sum()
}

/// The tensors of a model whose rows are its own and tell of descent. A sum of experts is of many.
fn tensors<'a>(
    plan: &'a Plan,
    kept: &'a [Kept],
    hidden: usize,
    model: usize,
) -> impl Iterator<Item = (usize, &'a [f32])> {
    plan.units.iter().zip(kept).enumerate().filter_map(move |(at, (unit, own))| {
        let slot = unit.slot(model)?;
        let tells = unit.is_telling() && !unit.formula && unit.pool.is_none();
        (tells && own.usable[slot] && unit.view?.hidden() == hidden).then(|| (at, own.rows[slot].as_slice()))
    })
}

impl Side {
    fn new(plan: &Plan, kept: &[Kept], hidden: usize, model: usize, share: f64) -> Self {
        let mut side = Self { halves: [Vec::new(), Vec::new()], whole: Vec::new(), places: Vec::new() };
        for (at, rows) in tensors(plan, kept, hidden, model) {
            let all = rows.len() / hidden;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let wanted = ((all as f64 * share).ceil() as usize).min(all);
            for row in (0..wanted).map(|i| (2 * i + 1) * all / (2 * wanted)) {
                let values = &rows[row * hidden..(row + 1) * hidden];
                let half = |odd: usize| unit_row(values.iter().skip(odd).step_by(2).copied().collect());
                // A row of zeros but for a few is no row to tell anything by.
                let (Some(even), Some(odd), Some(whole)) = (half(0), half(1), unit_row(values.to_vec())) else {
                    continue;
                };
                side.halves[0].extend(even);
                side.halves[1].extend(odd);
                side.whole.extend(whole);
                side.places.push((at, row));
            }
        }
        side
    }

    /// A row over all columns.
    fn whole(&self, at: usize, hidden: usize) -> &[f32] {
        &self.whole[at * hidden..(at + 1) * hidden]
    }
}

/// Centred, of unit length; none where nothing is left.
fn unit_row(mut row: Vec<f32>) -> Option<Vec<f32>> {
    #[allow(clippy::cast_possible_truncation, reason = "the mean of numbers of single precision")]
    let mean = (row.iter().map(|v| f64::from(*v)).sum::<f64>() / row.len().max(1) as f64) as f32;
    for value in &mut row {
        *value -= mean;
    }
    normalise(&mut row).then_some(row)
}

fn between(plan: &Plan, kept: &[Kept], hidden: usize, models: (usize, usize)) -> Option<MatchedRows> {
    let (own, other) = (count(plan, kept, hidden, models.0), count(plan, kept, hidden, models.1));
    if own == 0 || other == 0 {
        return None;
    }
    let share = (OPERATIONS / (own as f64 * other as f64 * hidden as f64)).sqrt().min(1.0);
    let [a, b] = [models.0, models.1].map(|model| Side::new(plan, kept, hidden, model, share));
    if a.places.is_empty() || b.places.is_empty() {
        return None;
    }
    let by = |columns: [usize; 2], other: &Side| {
        let [even, odd] = columns;
        nearest(&a.halves[0], &other.halves[0], even).into_iter().zip(nearest(&a.halves[1], &other.halves[1], odd))
    };
    let columns = [hidden.div_ceil(2), hidden / 2];
    let agreed = |other: &Side| -> Vec<(usize, usize)> {
        by(columns, other).enumerate().filter_map(|(i, (p, q))| Some((i, p.filter(|_| p == q)?))).collect()
    };
    let pairs = agreed(&b);
    // What lies where it lies in the other model is compared by the tests of the whole.
    let elsewhere: Vec<(usize, usize)> = pairs.iter().copied().filter(|(i, j)| a.places[*i] != b.places[*j]).collect();
    let by_chance = if elsewhere.len() > FEW { agreed(&relabelled(&b, columns)).len() } else { 0 };
    let mut tensors: BTreeMap<(usize, usize), (u64, f64)> = BTreeMap::new();
    for &(i, j) in &elsewhere {
        let entry = tensors.entry((a.places[i].0, b.places[j].0)).or_default();
        entry.0 += 1;
        entry.1 += trace(a.whole(i, hidden), b.whole(j, hidden));
    }
    let mut compared: BTreeMap<usize, u64> = BTreeMap::new();
    a.places.iter().for_each(|(unit, _)| *compared.entry(*unit).or_default() += 1);
    let tensors = tensors.into_iter().map(|(units, (rows, cosines))| MatchedTensors {
        units,
        rows,
        of: compared[&units.0],
        cosine: cosines / rows as f64,
    });
    Some(MatchedRows {
        models,
        hidden,
        rows: (a.places.len() as u64, b.places.len() as u64),
        by_chance: by_chance as u64,
        tensors: tensors.collect(),
    })
}

/// By row of the first the row of the second that it is nearest to, where that is nearest to it as well.
fn nearest(a: &[f32], b: &[f32], k: usize) -> Vec<Option<usize>> {
    let (rows, columns) = (a.len() / k, b.len() / k);
    let mut forth = vec![(f32::NEG_INFINITY, 0); rows];
    let mut back = vec![(f32::NEG_INFINITY, 0); columns];
    for (band, own) in a.chunks(BAND * k).enumerate() {
        let products = product(own, b, k);
        for (i, line) in products.chunks_exact(columns).enumerate().map(|(i, line)| (band * BAND + i, line)) {
            for (j, value) in line.iter().enumerate() {
                if *value > forth[i].0 {
                    forth[i] = (*value, j);
                }
                if *value > back[j].0 {
                    back[j] = (*value, i);
                }
            }
        }
    }
    forth.into_iter().enumerate().map(|(i, (_, j))| (back[j].1 == i).then_some(j)).collect()
}

/// The rows with the columns of each half in an order of their own: what is left is chance.
fn relabelled(side: &Side, columns: [usize; 2]) -> Side {
    let shuffled = |rows: &[f32], k: usize| -> Vec<f32> {
        let mut order: Vec<usize> = (0..k).collect();
        order.sort_by_cached_key(|column| mixed(*column as u64));
        rows.par_chunks_exact(k).flat_map_iter(|row| order.iter().map(|column| row[*column])).collect()
    };
    Side {
        halves: [shuffled(&side.halves[0], columns[0]), shuffled(&side.halves[1], columns[1])],
        whole: Vec::new(),
        places: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(rows: usize, k: usize, seed: u64) -> Vec<f32> {
        let unit = |at: u64| (mixed(seed << 32 | at) >> 40) as f32 / (1 << 23) as f32 - 1.0;
        (0..(rows * k) as u64).map(|at| unit(at * 2) + unit(at * 2 + 1)).collect()
    }

    #[test]
    fn rows_in_another_order_are_nearest_to_themselves_and_others_to_none() {
        let (k, n) = (32, 200);
        let a = draw(n, k, 1);
        let noise = draw(n, k, 2);
        let mut b = vec![0.0; n * k];
        for i in 0..n {
            let j = i * 7 % n;
            for c in 0..k {
                b[j * k + c] = a[i * k + c] + 0.5 * noise[i * k + c];
            }
        }
        let unit =
            |rows: &[f32]| rows.chunks(k).flat_map(|row| unit_row(row.to_vec()).expect("a row")).collect::<Vec<_>>();
        let found = nearest(&unit(&a), &unit(&b), k);
        let right = found.iter().enumerate().filter(|(i, j)| **j == Some(i * 7 % n)).count();
        assert!(right > 190, "{right}");
        let (other, third) = (unit(&draw(n, k, 3)), unit(&draw(n, k, 4)));
        let one = nearest(&unit(&a), &other, k);
        let two = nearest(&unit(&noise), &third, k);
        let agreed = one.iter().zip(&two).filter(|(p, q)| p.is_some() && p == q).count();
        assert!(agreed <= 4, "{agreed} of about a half");
    }
}
