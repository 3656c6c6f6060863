//! Surgery in saved checkpoints: single matrices that were replaced, multiplied or drawn anew in part.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::trails::trail_of;
use crate::session::Session;
use scratchproof_evidence::ReturnedRow;
use scratchproof_finding::chain::{Break, Redrawn, Returned, Scaled, of_like_length};
use scratchproof_measurements::Unit;
use scratchproof_stats::median;

/// A matrix of less than this share of its first squared norm has decayed away.
const FADED: f64 = 0.05;

/// A matrix of less than this share of what the median matrix moved (root mean squares) is overwritten by training.
const TINY: f64 = 0.1;

/// A matrix tells whether it was multiplied if its cosine with the start was above this before the interval, ...
const REMEMBERS: f64 = 0.3;

/// ... it moved by less than this many times its own length, ...
const LEAP: f64 = 1.3;

/// ... the median matrix did not fade by more than this (logarithm), ...
const FADING: f64 = 0.3;

/// ... and it did nothing of the kind in the intervals beside: a third of it at most.
const ISOLATED: f64 = 3.0;

/// The two parts of a matrix, its start and its path, were multiplied by one number: their factors differ by less than this
/// share (of the logarithm).
const ONE_FACTOR: f64 = 0.5;

/// Other matrices of its kind that have to be there.
const SIBLINGS: usize = 3;

/// Whether the later of two is zero but for what the sum of increments leaves.
fn is_zero(pair: &scratchproof_kernel::Pair) -> bool {
    pair.squares[1] <= 1e-12 * pair.squares[0]
}

/// Single matrices that remember nothing of the checkpoint before while the others do, or were scaled.
pub fn breaks(session: &Session) -> Vec<Break> {
    let mut breaks = Vec::new();
    let units: Vec<_> = session.measured.matrices().collect();
    let sizes = session.measured.sizes();
    for t in 1..session.measured.plan.series {
        let figures: Vec<(usize, f64, f64)> = units
            .iter()
            .enumerate()
            .filter_map(|(i, (_, f))| {
                let pair = f.gram.pair(t - 1, t);
                let step = pair.distance2.sqrt() / pair.squares[0].sqrt();
                // A matrix that became zero, or was, remembers nothing.
                let zero = is_zero(&pair) && pair.squares[0] > 0.0;
                let kept = if zero { 0.0 } else { pair.pearson()? };
                step.is_finite().then_some((i, kept, step))
            })
            .collect();
        if figures.len() < 4 {
            continue;
        }
        let typical = median(figures.iter().map(|f| f.1)).unwrap_or(0.0);
        let usual = median(figures.iter().map(|f| f.2)).unwrap_or(0.0);
        let moved = median(figures.iter().filter_map(|f| units[f.0].1.gram.pair(t - 1, t).rms())).unwrap_or(0.0);
        for (i, kept, step) in figures {
            let (unit, f) = units[i];
            let pair = f.gram.pair(t - 1, t);
            let n = unit.elements() as f64;
            // cos(W_t - W_(t-1), W_(t-1)).
            let radial = (pair.product - pair.squares[0]) / (pair.squares[0] * pair.distance2).sqrt();
            let scaled = radial.abs() > 0.98 && step > 0.05 && step > 3.0 * usual && !is_zero(&pair);
            let lost = kept.abs() * n.sqrt() < 6.0 && typical > 0.6 && kept < 0.25 * typical && n >= 1024.0;
            // What decay has brought near zero jitters about it and remembers nothing.
            // Nor does what begins next to zero beside what training does to the others: RWKV draws its embedding at 1e-4.
            let faded = pair.squares[0] < FADED * f.gram.product(0, 0) || (pair.squares[0] / n).sqrt() < TINY * moved;
            if scaled || (lost && !faded) {
                breaks.push(Break {
                    steps: (session.measured.steps[t - 1], session.measured.steps[t]),
                    tensor: unit.tensor.clone(),
                    component: unit.role.judged_as().to_owned(),
                    layer: unit.role.layer,
                    kept,
                    typical,
                    scaled: scaled.then(|| (pair.squares[1] / pair.squares[0]).sqrt()),
                    share: sizes(unit) as f64 / units.iter().map(|(u, _)| sizes(u) as f64).sum::<f64>(),
                    zero: is_zero(&pair),
                });
            }
        }
    }
    breaks
}

/// How much of its start and of its path a matrix has at every checkpoint, over what it had at the one before (logarithms).
struct Growth<'a> {
    unit: &'a Unit,
    family: String,
    start: Vec<Option<f64>>,
    path: Vec<Option<f64>>,
    /// Cosine with the start before the interval, and its length over that of the matrix.
    cosine: Vec<f64>,
    step: Vec<f64>,
}

fn growths<'a>(session: &'a Session) -> Vec<Growth<'a>> {
    let points = session.measured.plan.series;
    let units: Vec<_> = session.measured.matrices().collect();
    units
        .into_par_iter()
        .filter_map(|(unit, figures)| {
            let trail = trail_of(points, figures)?;
            let path = trail.trajectory();
            let ln = |ratio: f64| (ratio.is_finite() && ratio > 0.0).then(|| ratio.ln());
            let held = |t: usize| path.retained(t).filter(|held| *held > 0.05);
            let start = |t: usize| ln(path.retained(t)? / held(t - 1)?);
            let step = |t: usize| (trail.distance2(t - 1, t) / trail.product(t - 1, t - 1)).sqrt();
            let each =
                |f: &dyn Fn(usize) -> Option<f64>| (0..points).map(|t| if t > 0 { f(t) } else { None }).collect();
            Some(Growth {
                unit,
                family: session.measured.plan.family(&unit.role),
                start: each(&start),
                path: each(&|t| ln(path.carried(t)?)),
                cosine: (0..points)
                    .map(|t| t.checked_sub(1).and_then(|b| path.start_cosine(b)).unwrap_or(0.0))
                    .collect(),
                step: (0..points).map(|t| if t > 0 { step(t) } else { f64::INFINITY }).collect(),
            })
        })
        .collect()
}

/// Single matrices whose start and whose path so far both grew by one factor in one interval, unlike those of their kind.
/// Training adds to a matrix; what it takes from the start or adds to it, it does in many intervals and to its siblings as well.
pub fn scaled(session: &Session) -> Vec<Scaled> {
    let growths = growths(session);
    let points = session.measured.plan.series;
    let all: f64 = growths.iter().map(|g| g.unit.elements() as f64).sum();
    let mut kinds: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, growth) in growths.iter().enumerate() {
        kinds.entry(&growth.family).or_default().push(i);
    }
    // The median over all matrices, by checkpoint.
    let usual = |of: fn(&Growth<'_>, usize) -> Option<f64>| -> Vec<Option<f64>> {
        (0..points).map(|t| median(growths.iter().filter_map(|g| of(g, t)))).collect()
    };
    let (start, path) = (usual(|g, t| g.start[t]), usual(|g, t| g.path[t]));
    let mut found = Vec::new();
    for (i, growth) in growths.iter().enumerate() {
        let siblings: Vec<&Growth<'_>> =
            kinds[growth.family.as_str()].iter().filter(|j| **j != i).map(|j| &growths[*j]).collect();
        // Against the median of all, in the direction in which the interval `t` stands out.
        let apart = |t: usize| Some(growth.start.get(t)?.as_ref()? - start[t]?);
        for t in 2..points {
            let (Some(own), Some(of_path), Some(usual)) = (apart(t), growth.path[t], start[t]) else { continue };
            let sign = own.signum();
            // In an interval of a single step a matrix does next to nothing: the nearest of a like length is held against it.
            let like = |other: &usize| {
                let ends = |t: usize| (session.measured.steps[t - 1], session.measured.steps[t]);
                *other >= 1 && *other < points && of_like_length(ends(*other), ends(t))
            };
            let Some(before) = [t - 1, t - 2].into_iter().find(like).and_then(&apart) else { continue };
            let Some(usual_path) = path[t] else { continue };
            let after = match [t + 1, t + 2].into_iter().find(like) {
                Some(next) => apart(next),
                None => Some(0.0),
            };
            let Some(after) = after else { continue };
            let beside = (sign * before).max(sign * after).max(0.0);
            let nearest = siblings.iter().filter_map(|s| Some(sign * (growth.start[t]? - s.start[t]?)));
            let (siblings, nearest) = nearest.fold((0, f64::INFINITY), |(n, least), d| (n + 1, least.min(d)));
            let along = sign * (of_path - usual_path);
            let known = siblings >= SIBLINGS && growth.cosine[t] >= REMEMBERS && growth.step[t] < LEAP;
            let one = (along - own.abs()).abs() <= ONE_FACTOR * own.abs() && own.abs() >= ISOLATED * beside;
            let excess = own.abs().min(nearest).min(along).min(own.abs() - beside);
            if known && one && usual.abs() < FADING && excess > 0.0 {
                found.push(Scaled {
                    steps: (session.measured.steps[t - 1], session.measured.steps[t]),
                    tensor: growth.unit.tensor.clone(),
                    component: growth.unit.role.judged_as().to_owned(),
                    layer: growth.unit.role.layer,
                    factor: own.exp(),
                    excess,
                    siblings,
                    share: growth.unit.elements() as f64 / all,
                });
            }
        }
    }
    found
}

/// Rows of tokens that point the other way at the next checkpoint, as half of those do that are drawn anew.
pub fn redrawn(session: &Session) -> Vec<Redrawn> {
    let each = session
        .measured
        .token_rows
        .iter()
        .flat_map(|table| table.seen.iter().enumerate().map(move |(t, seen)| (table, t, seen)));
    each.map(|(table, t, seen)| {
        let unit = &session.measured.plan.units[table.unit];
        Redrawn {
            steps: (session.measured.steps[t], session.measured.steps[t + 1]),
            tensor: unit.tensor.clone(),
            component: unit.role.judged_as().to_owned(),
            reversed: seen.reversed,
            turned: seen.turned,
            near: seen.near as f64 / seen.usable.max(1) as f64,
            of: seen.usable,
        }
    })
    .filter(|rows| rows.reversed > 0)
    .collect()
}

/// Rows of tokens that came back, by tensor and interval.
pub fn returned(session: &Session) -> Vec<Returned> {
    let mut found = Vec::new();
    for table in &session.measured.token_rows {
        let unit = &session.measured.plan.units[table.unit];
        for to in 2..session.measured.steps.len() {
            let own: Vec<&scratchproof_measurements::Returned> =
                table.returned.iter().filter(|row| row.to == to).collect();
            let Some(farthest) = own.iter().max_by(|a, b| a.moved.total_cmp(&b.moved)) else { continue };
            let since = |from: &usize| own.iter().filter(|row| row.from == *from).count();
            let usual = (0..to).max_by_key(since).unwrap_or(0);
            found.push(Returned {
                steps: (session.measured.steps[to - 1], session.measured.steps[to]),
                since: session.measured.steps[usual],
                tensor: unit.tensor.clone(),
                component: unit.role.judged_as().to_owned(),
                rows: own.len() as u64,
                row: farthest.row,
                moved: farthest.moved,
                of: table.of,
            });
        }
    }
    found
}

/// Rows of `evidence/returned.parquet` a tensor, those that had gone farthest first.
const MOST_RETURNED: usize = 1000;

/// `evidence/returned.parquet`.
pub fn returned_rows(session: &Session) -> Vec<ReturnedRow> {
    let mut rows = Vec::new();
    for table in &session.measured.token_rows {
        let unit = &session.measured.plan.units[table.unit];
        let mut own: Vec<&scratchproof_measurements::Returned> = table.returned.iter().collect();
        own.sort_by(|a, b| b.moved.total_cmp(&a.moved).then(a.row.cmp(&b.row)));
        rows.extend(own.into_iter().take(MOST_RETURNED).map(|row| ReturnedRow {
            tensor: unit.tensor.clone(),
            component: unit.role.judged_as().to_owned(),
            row: row.row,
            from_step: session.measured.steps[row.from],
            away_step: session.measured.steps[row.away],
            to_step: session.measured.steps[row.to],
            moved: row.moved,
            off: row.off,
        }));
    }
    rows
}
