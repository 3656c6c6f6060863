//! Kept rows of one tensor in all checkpoints: whether what lies between them has any structure, and whether rows lie on
//! lines of their own (METHODS 5, made-up points).

use std::collections::BTreeMap;

use rayon::prelude::*;

use scratchproof_kernel::trace;
use scratchproof_measurements::{Kept, Kind, LEG, LONG, ON_LINE, Plan, RowLine, SignFigure, Trails, Unit, rounding};
use scratchproof_stats::{Hull, SIGN_ROWS, hulls, signs};

/// Roundings that a residue must exceed to be looked at: below, it is what the number format left.
const ABOVE_ROUNDING: f64 = 5.0;

/// Weights of checkpoints in one combination.
type Combination = Vec<(usize, f64)>;

/// Increments, distances from the chord of the neighbours and from the span of all others, each tested for structure.
pub fn sign_figures(plan: &Plan, kept: &[Kept], trails: &Trails) -> Vec<SignFigure> {
    let points = plan.series;
    let hulls: BTreeMap<&str, Vec<Hull>> =
        trails.components.iter().map(|(name, trail)| (name.as_str(), hulls(&trail.increments()))).collect();
    let units: Vec<(usize, &Unit)> = matrices(plan).filter(|(_, unit)| unit.kept.len() >= 4).collect();
    units
        .par_iter()
        .flat_map_iter(|&(index, unit)| {
            let mut tested = BTreeMap::new();
            let Some(rows) = Sample::of(unit, &kept[index], points) else { return Vec::new() };
            let mut look = |kind: Kind, at: usize, combination: &Combination| {
                let Some((values, over)) = rows.combine(combination, at, trails.bits(0..=points - 1)) else { return };
                if over >= ABOVE_ROUNDING
                    && let Some(signs) = signs(&values, rows.hidden)
                {
                    let figure = SignFigure { unit: index, kind, at, ratio: signs.ratio, z: signs.z, over };
                    tested.insert((kind, at), figure);
                }
            };
            for t in 1..points {
                look(Kind::Increment, t, &vec![(t, 1.0), (t - 1, -1.0)]);
                if t + 1 == points {
                    break;
                }
                let (u, c) = (rows.difference(t - 1, t), rows.difference(t - 1, t + 1));
                let along = trace(&u, &c) / trace(&c, &c);
                if along.is_finite() {
                    look(Kind::OffChord, t, &vec![(t, 1.0), (t - 1, along - 1.0), (t + 1, -along)]);
                }
                if points > 3
                    && let Some(hull) = hulls.get(unit.role.judged_as()).and_then(|hulls| hulls.get(t))
                {
                    let others = hull.weights.iter().enumerate().filter(|(_, w)| **w != 0.0).map(|(s, w)| (s, -w));
                    look(Kind::OffSpan, t, &others.chain([(t, 1.0)]).collect());
                }
            }
            tested.into_values().collect()
        })
        .collect()
}

/// Rows that lie on the line through the same rows of the neighbours, or of the first and the last checkpoint.
pub fn row_lines(plan: &Plan, kept: &[Kept], trails: &Trails) -> Vec<RowLine> {
    let points = plan.series;
    let units: Vec<(usize, &Unit)> = matrices(plan).filter(|(_, unit)| !unit.kept.is_empty()).collect();
    let triples: Vec<[usize; 3]> = (1..points.saturating_sub(1))
        .flat_map(|t| {
            let ends = [0, t, points - 1];
            [[t - 1, t, t + 1], ends].into_iter().take(if ends == [t - 1, t, t + 1] { 1 } else { 2 })
        })
        .collect();
    let counted: Vec<Vec<[u64; 4]>> = units
        .par_iter()
        .map(|&(index, unit)| {
            let Some(rows) = Sample::of(unit, &kept[index], points) else { return Vec::new() };
            triples.iter().map(|&triple| rows.on_line(triple, trails.bits(0..=points - 1))).collect()
        })
        .collect();
    let sum = |at: usize, which: usize| counted.iter().filter_map(|c| c.get(at)).map(|c| c[which]).sum::<u64>();
    let line = |(at, &checkpoints): (usize, &[usize; 3])| RowLine {
        checkpoints,
        rows: [sum(at, 0), sum(at, 1), sum(at, 2), sum(at, 3)],
    };
    triples.iter().enumerate().map(line).collect()
}

fn matrices(plan: &Plan) -> impl Iterator<Item = (usize, &Unit)> {
    plan.units.iter().enumerate().filter(|(_, unit)| unit.in_subject() && unit.is_matrix())
}

/// Some kept rows of one tensor in all checkpoints, on their own scale.
struct Sample<'a> {
    hidden: usize,
    chosen: Vec<usize>,
    kept: &'a [Vec<f32>],
    scales: &'a [f64],
}

impl<'a> Sample<'a> {
    fn of(unit: &Unit, all: &'a Kept, points: usize) -> Option<Self> {
        let hidden = unit.view?.hidden();
        if !(0..points).all(|t| all.usable[t]) {
            return None;
        }
        let wanted = SIGN_ROWS.min(((1 << 20) / hidden).isqrt().max(16)).min(unit.kept.len());
        let chosen = (0..wanted).map(|i| (2 * i + 1) * unit.kept.len() / (2 * wanted)).collect();
        Some(Self { hidden, chosen, kept: &all.rows, scales: &all.scales })
    }

    fn rows(&self, t: usize) -> impl Iterator<Item = f64> + '_ {
        let row = move |&r: &usize| self.kept[t][r * self.hidden..(r + 1) * self.hidden].iter();
        self.chosen.iter().flat_map(row).map(move |&v| f64::from(v) * self.scales[t])
    }

    #[allow(clippy::cast_possible_truncation)]
    fn difference(&self, a: usize, b: usize) -> Vec<f32> {
        self.rows(a).zip(self.rows(b)).map(|(a, b)| (b - a) as f32).collect()
    }

    /// Of the rows that went a long way from the first to the last of three checkpoints, other than towards zero, those
    /// whose middle one is on the line between, at its first and at its last end; and how many there are.
    fn on_line(&self, [a, t, b]: [usize; 3], bits: i32) -> [u64; 4] {
        let values = [a, t, b].map(|s| self.rows(s).collect::<Vec<f64>>());
        let (mut on, mut of, mut near) = (0, 0, [0_u64; 2]);
        for r in 0..self.chosen.len() {
            let row = |s: usize| &values[s][r * self.hidden..(r + 1) * self.hidden];
            let (mut uu, mut uc, mut cc, mut cw, mut ww) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for ((w, x), y) in row(0).iter().zip(row(1)).zip(row(2)) {
                let (u, c) = (x - w, y - w);
                uu += u * u;
                uc += u * c;
                cc += c * c;
                cw += c * w;
                ww += w * w;
            }
            let unit = rounding((ww.max(cc) / self.hidden as f64).sqrt(), bits) * (self.hidden as f64).sqrt();
            let across = (cc - cw * cw / ww).max(0.0).sqrt();
            let off = (uu - uc * uc / cc).max(0.0).sqrt();
            if across >= LONG * unit {
                of += 1;
                let legs = [uu.sqrt(), (uu - 2.0 * uc + cc).max(0.0).sqrt()].map(|leg| leg / unit);
                if legs[0].min(legs[1]) >= LEG {
                    on += u64::from(off < ON_LINE * unit && (0.0..=1.0).contains(&(uc / cc)));
                } else {
                    near[usize::from(legs[1] < legs[0])] += u64::from(legs[0].min(legs[1]) < ON_LINE);
                }
            }
        }
        [on, near[0], near[1], of]
    }

    /// The combination of the rows, scaled to unit size, and its size in roundings of a format at checkpoint `t`.
    fn combine(&self, combination: &Combination, t: usize, bits: i32) -> Option<(Vec<f32>, f64)> {
        let mut sum = vec![0.0; self.chosen.len() * self.hidden];
        for &(s, weight) in combination {
            sum.iter_mut().zip(self.rows(s)).for_each(|(sum, value)| *sum += weight * value);
        }
        let square = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
        let own = square(&self.rows(t).collect::<Vec<_>>()).sqrt();
        let amplified = combination.iter().map(|(_, w)| w * w).sum::<f64>().sqrt();
        let size = square(&sum).sqrt();
        let over = size / (rounding(own, bits) * amplified);
        #[allow(clippy::cast_possible_truncation)]
        let values = sum.iter().map(|v| (v / size) as f32).collect();
        (over.is_finite() && size > 0.0).then_some((values, over))
    }
}
