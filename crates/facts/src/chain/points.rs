//! What the judge of made-up points asks: lines and spans of other checkpoints, what is left off them, repeats, tensors
//! that lost their memory, number formats.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::trails::trail_of;
use super::{averages, splices, surgery};
use crate::session::Session;
use crate::time::rates;
use scratchproof_finding::chain::{Detour, OnLine, Points, Recast, Repeat, Resaved, Residue, RowLines, Span};
use scratchproof_kernel::Dtype;
use scratchproof_measurements::{ALL, Kind, LEG, LONG, ON_LINE, Trails, rounding};
use scratchproof_stats::{Hull, hulls, median, middle};

/// Between the ends, over their distance.
const STRAIGHT: f64 = 0.02;

/// Checkpoints of which every three are held against each other; of longer series neighbours within this many.
const EVERY_THREE: usize = 40;

/// A displacement this many times smaller than expected is none, also where the number format would show it.
const STILL: f64 = 200.0;

/// Distinct values in the sample of a matrix from which on their number is compared.
const FEW_VALUES: u32 = 64;

/// Standard deviations that one matrix of independent signs stays within.
const SIGN_Z: f64 = 4.0;

/// By component, every checkpoint against the span of the others.
type Hulls<'a> = BTreeMap<&'a str, Vec<Hull>>;

/// Everything that is asked of the points of a series.
pub fn points(session: &Session, trails: &Trails, distances: &[Vec<f64>]) -> Points {
    if session.measured.plan.series < 2 {
        return Points::default();
    }
    let hulls: Hulls =
        trails.components.iter().map(|(name, trail)| (name.as_str(), hulls(&trail.increments()))).collect();
    let formats = formats(session);
    Points {
        lines: lines(session, trails),
        spans: spans(session, trails, &hulls),
        residues: residues(session, trails),
        rows: row_lines(session),
        repeats: repeats(session, trails, distances),
        detours: detours(session, trails),
        breaks: surgery::breaks(session),
        scaled: surgery::scaled(session),
        redrawn: surgery::redrawn(session),
        returned: surgery::returned(session),
        straightened: averages::straightened(session, trails),
        undone: averages::undone(trails),
        splices: splices::splices(session, trails),
        layer_splices: splices::layers(session),
        recasts: recasts(session, &formats),
        resaved: resaved(session, &formats),
        averaged: session.case.subject.averaged.clone(),
        averaged_steps: session
            .case
            .subject
            .checkpoints
            .iter()
            .filter(|c| c.averaged.is_some())
            .filter_map(|c| c.step)
            .collect(),
    }
}

/// Numbers of a component, at least and for each checkpoint, of which it is asked whether one is a combination of others.
const FEW: u64 = 64;
const EACH: u64 = 8;

/// Three checkpoints of one tensor, the one between, whether it is on the line, how far off in roundings, and where.
type Triple = ([usize; 3], usize, bool, f64, f64);

/// Checkpoints on a line through two others, tensor by tensor.
fn lines(session: &Session, trails: &Trails) -> Vec<OnLine> {
    let points = session.measured.plan.series;
    let reach = if points <= EVERY_THREE { points } else { 8 };
    let units: Vec<_> = session.measured.matrices().collect();
    let found: Vec<Vec<Triple>> = units
        .par_iter()
        .map(|(_, figures)| {
            let Some(trail) = trail_of(points, figures) else { return Vec::new() };
            let distances = trail.distances();
            let n = trail.elements() as f64;
            let sizes: Vec<f64> = (0..points).map(|t| trail.size(t).unwrap_or(0.0)).collect();
            let mut found = Vec::new();
            for a in 0..points {
                for b in a + 1..points.min(a + reach) {
                    for c in b + 1..points.min(a + reach) {
                        let Some((place, line)) = middle([distances[b][c], distances[a][c], distances[a][b]]) else {
                            continue;
                        };
                        let at = [a, b, c][place];
                        let bits = trails.bits[a].min(trails.bits[b]).min(trails.bits[c]);
                        let unit = rounding(sizes[a].max(sizes[b]).max(sizes[c]), bits) * n.sqrt();
                        let [off, chord] = [line.off2, line.chord2].map(|square| square.sqrt() / unit);
                        let legs = line.legs2.map(|square| square.sqrt() / unit);
                        if !(chord >= LONG && legs[0].min(legs[1]) >= LEG) {
                            continue;
                        }
                        // A tensor without a gradient shrinks towards zero, which is a line as well.
                        let radial = {
                            let product = trail.product(a, c).powi(2);
                            let squares = trail.product(a, a) * trail.product(c, c);
                            let across = ((1.0 - product / squares).max(0.0) * trail.product(c, c)).sqrt() / unit;
                            across.is_nan() || across < LEG
                        };
                        if radial {
                            continue;
                        }
                        let on = off < ON_LINE && off < STRAIGHT * chord;
                        // Of the legs, the first ends at the next of the three in turn after the middle one.
                        let first = (place + 1) % 3;
                        let fraction = {
                            let to_lower = if first < (place + 2) % 3 { line.legs2[1] } else { line.legs2[0] };
                            (to_lower / line.chord2).sqrt()
                        };
                        found.push(([a, b, c], at, on, off, fraction));
                    }
                }
            }
            found
        })
        .collect();
    let mut triples: BTreeMap<([usize; 3], usize), OnLine> = BTreeMap::new();
    let mut moved: BTreeMap<[usize; 3], f64> = BTreeMap::new();
    for ((unit, _), found) in units.iter().zip(found) {
        let elements = unit.elements() as f64;
        for (triple, at, on, off, fraction) in found {
            *moved.entry(triple).or_default() += elements;
            if on {
                let entry = triples.entry((triple, at)).or_insert_with(|| OnLine {
                    middle: session.measured.steps[at],
                    latest: at == triple[2],
                    ends: {
                        let ends: Vec<i64> =
                            triple.iter().filter(|&&t| t != at).map(|&t| session.measured.steps[t]).collect();
                        (ends[0], ends[1])
                    },
                    share: 0.0,
                    tensors: Vec::new(),
                    roundings: 0.0,
                    fractions: (f64::INFINITY, f64::NEG_INFINITY),
                });
                entry.share += elements;
                entry.tensors.push(unit.tensor.clone());
                entry.roundings = entry.roundings.max(off);
                entry.fractions = (entry.fractions.0.min(fraction), entry.fractions.1.max(fraction));
            }
        }
    }
    for ((triple, _), line) in &mut triples {
        line.share /= moved[triple].max(1.0);
    }
    // One line for every middle one: that of most weights, the nearest ends first.
    let mut best: BTreeMap<i64, OnLine> = BTreeMap::new();
    for line in triples.into_values() {
        let length = |l: &OnLine| l.ends.1 - l.ends.0;
        let better = best.get(&line.middle).is_none_or(|old| {
            line.share > old.share + 1e-9 || (line.share > old.share - 1e-9 && length(&line) < length(old))
        });
        if better {
            best.insert(line.middle, line);
        }
    }
    best.into_values().collect()
}

/// Checkpoints in the span of all others, over the whole model and by component.
fn spans(session: &Session, trails: &Trails, hulls: &Hulls) -> Vec<Span> {
    let mut spans = Vec::new();
    for (component, trail) in &trails.components {
        // A few numbers lie on the lines and planes of others whatever made them: one number always does.
        if trail.points() < 4 || trail.elements() < (EACH * trail.points() as u64).max(FEW) {
            continue;
        }
        let n = trail.elements() as f64;
        for (t, hull) in hulls.get(component.as_str()).into_iter().flatten().enumerate() {
            let bits = trails.bits(0..=trail.points() - 1);
            let Some(size) = trail.size(t) else { continue };
            let own = rounding(size, bits);
            let amplified = own * (1.0 + hull.weights.iter().map(|w| w * w).sum::<f64>()).sqrt();
            let nearest =
                (0..trail.points()).filter(|&s| s != t).map(|s| trail.distance2(s, t)).fold(f64::INFINITY, f64::min);
            let [off, nearest] = [hull.off2, nearest].map(|square| (square.max(0.0) / n).sqrt());
            if off < ON_LINE * amplified && off < STRAIGHT * nearest && nearest > LONG * own {
                spans.push(Span {
                    component: component.clone(),
                    step: session.measured.steps[t],
                    weights: session
                        .measured
                        .steps
                        .iter()
                        .copied()
                        .zip(hull.weights.clone())
                        .filter(|(_, w)| w.abs() > 0.01)
                        .collect(),
                    later: hull.weights[t + 1..].iter().any(|w| w.abs() > 0.01),
                    roundings: off / own,
                    over_nearest: off / nearest,
                });
            }
        }
    }
    spans
}

/// Ratio and z of the test of signs, and the size in roundings.
type Figures = (f64, f64, f64);

/// What is left between the checkpoints: increments, distances from the chord of the neighbours and from the span of all
/// others, each tested for structure over the kept rows.
fn residues(session: &Session, trails: &Trails) -> Vec<Residue> {
    let mut totals: BTreeMap<&str, usize> = BTreeMap::new();
    for (unit, _) in session.measured.matrices().filter(|(unit, _)| unit.kept.len() >= 4) {
        *totals.entry(unit.role.judged_as()).or_default() += 1;
    }
    let mut groups: BTreeMap<(Kind, usize, &str), Vec<Figures>> = BTreeMap::new();
    for figure in &session.measured.kept.signs {
        let Some(unit) = session.measured.plan.units.get(figure.unit) else { continue };
        let group = groups.entry((figure.kind, figure.at, unit.role.judged_as())).or_default();
        group.push((figure.ratio, figure.z, figure.over));
    }
    groups
        .into_iter()
        .map(|((kind, t, component), figures)| {
            let n = figures.len();
            let before = t - 1;
            let after = if kind == Kind::Increment { t } else { t + 1 };
            let trail = &trails.components[component];
            let cosine =
                trail.product(before, after) / (trail.product(before, before) * trail.product(after, after)).sqrt();
            Residue {
                kind,
                component: component.to_owned(),
                steps: (session.measured.steps[before], session.measured.steps[t], session.measured.steps[after]),
                tensors: n,
                of: totals[component],
                clean: figures.iter().filter(|f| f.1.abs() < SIGN_Z).count() as f64 / n as f64,
                ratio: median(figures.iter().map(|f| f.0)).unwrap_or(0.0),
                z: figures.iter().map(|f| f.1).sum::<f64>() / (n as f64).sqrt(),
                roundings: median(figures.iter().map(|f| f.2)).unwrap_or(0.0),
                remembered: cosine.is_finite() && cosine > 0.5,
            }
        })
        .collect()
}

/// Rows that lie on the line through the same rows of the neighbours, or of the first and the last checkpoint.
fn row_lines(session: &Session) -> Vec<RowLines> {
    let lines = session.measured.kept.row_lines.iter().filter(|line| line.rows[3] > 0);
    lines
        .map(|line| {
            let ([a, t, b], [on, first, last, of]) = (line.checkpoints, line.rows);
            // A checkpoint that stands still has all its rows at one end; one put together has some at each.
            let on = on + 2 * first.min(last);
            let step = |at: usize| session.measured.steps[at];
            RowLines { step: step(t), ends: (step(a), step(b)), on, of }
        })
        .collect()
}

/// Two checkpoints that are one up to rounding, or nearly.
fn repeats(session: &Session, trails: &Trails, distances: &[Vec<f64>]) -> Vec<Repeat> {
    let points = session.measured.plan.series;
    let n = trails.matrices.elements() as f64;
    if n == 0.0 {
        return Vec::new();
    }
    let rms = |a: usize, b: usize| (distances[a][b] / n).sqrt();
    let sizes: Vec<f64> = (0..points).map(|t| trails.matrices.size(t).unwrap_or(0.0)).collect();
    let unit = |a: usize, b: usize| {
        let size = sizes[a].max(sizes[b]);
        rounding(size, trails.bits[a].min(trails.bits[b]))
    };
    // What a learning rate of one moves, or a step where no rates are logged: the least of the other intervals.
    let rates: Option<Vec<f64>> =
        session.measured.steps.windows(2).map(|w| rates::rates(session.record, w[0], w[1]).map(|r| r.sum)).collect();
    let logged = rates.is_some();
    let spent = rates.unwrap_or_else(|| session.measured.steps.windows(2).map(|w| (w[1] - w[0]) as f64).collect());
    let mut repeats = Vec::new();
    for a in 0..points {
        for b in a + 1..points {
            let own = rms(a, b);
            let between = (a + 1..b).map(|m| rms(a, m).min(rms(m, b))).fold(0.0, f64::max);
            let expected = if b == a + 1 {
                let others = (0..points - 1).filter(|&i| i != a && rms(i, i + 1) > LEG * unit(i, i + 1));
                let least = others.map(|i| rms(i, i + 1) / spent[i]).fold(f64::INFINITY, f64::min);
                if least.is_finite() { least * spent[a] } else { 0.0 }
            } else {
                between
            };
            let rounded = own < 4.0 * unit(a, b) && expected > 20.0 * own;
            if (rounded || expected > STILL * own) && expected > 20.0 * unit(a, b) {
                repeats.push(Repeat {
                    steps: (session.measured.steps[a], session.measured.steps[b]),
                    roundings: own / unit(a, b),
                    expected: expected / unit(a, b),
                    returned: b > a + 1,
                    logged,
                    equal: own == 0.0,
                });
            }
        }
    }
    repeats
}

/// Where the path turns back on itself, over the whole model.
fn detours(session: &Session, trails: &Trails) -> Vec<Detour> {
    let Some(trail) = trails.components.get(ALL) else { return Vec::new() };
    let last = session.measured.plan.last();
    (1..last)
        .filter_map(|t| {
            let turn = trail.turn([t - 1, t, t + 1]);
            let unit = rounding(trail.size(t)?, trails.bits(t - 1..=t + 1));
            let short = trail.rms(t - 1, t)?.min(trail.rms(t, t + 1)?);
            Some(Detour {
                steps: (session.measured.steps[t - 1], session.measured.steps[t], session.measured.steps[t + 1]),
                cosine: turn.lag1_cosine().filter(|_| short > LEG * unit)?,
                off_chord: turn.off_chord()?,
                last: t + 1 == last,
            })
        })
        .collect()
}

/// Checkpoints whose values all lie on a coarser grid than those before: in a coarser format, or fewer values in all, as a
/// format on a scale of its own leaves them. A file in a finer format than its values need has lost nothing.
fn recasts(session: &Session, formats: &[Formats]) -> Vec<Recast> {
    let points = session.measured.plan.series;
    let needed: Vec<Option<Dtype>> = formats.iter().map(|f| f.map(|[_, needed]| needed)).collect();
    let mut shares: Vec<Vec<f64>> = vec![Vec::new(); points];
    for (_, figures) in session.measured.matrices().filter(|(_, f)| f.formats.len() >= points) {
        for (t, shares) in shares.iter_mut().enumerate().skip(1) {
            let others = [t - 1, (t + 1).min(points - 1)].into_iter().filter(|s| *s != t);
            let least = others.map(|s| figures.distinct[s]).min().unwrap_or(0);
            if least >= FEW_VALUES {
                shares.push(f64::from(figures.distinct[t]) / f64::from(least));
            }
        }
    }
    (1..points)
        .filter_map(|t| {
            let (before, own) = (needed[t - 1]?, needed[t]?);
            let bits = [significant(before), significant(own)];
            let after = needed[t + 1..].iter().flatten().map(|format| significant(*format)).max();
            let fewer = median(shares[t].iter().copied()).filter(|share| *share < 0.4);
            // Fewer values are no riddle where the format says as much.
            let fewer = fewer.filter(|_| bits[1] >= bits[0]);
            (bits[1] != bits[0] || fewer.is_some()).then(|| Recast {
                step: session.measured.steps[t],
                from: before.name().to_owned(),
                to: own.name().to_owned(),
                coarser: bits[1] < bits[0],
                back: after.is_some_and(|after| after > bits[1]),
                fewer,
            })
        })
        .collect()
}

/// Bits of the fraction of a number format.
fn significant(dtype: Dtype) -> i32 {
    dtype.fraction_bits().unwrap_or(52)
}

/// Of a checkpoint, the finest format that a matrix is stored in, and the finest that the values of one need.
type Formats = Option<[Dtype; 2]>;

/// By checkpoint.
fn formats(session: &Session) -> Vec<Formats> {
    let points = session.measured.plan.series;
    let mut finest: Vec<Formats> = vec![None; points];
    for (unit, figures) in
        session.measured.matrices().filter(|(unit, f)| f.formats.len().min(unit.members.len()) >= points)
    {
        for ((finest, member), needed) in finest.iter_mut().zip(&unit.members).zip(&figures.formats) {
            let [stored, most] = finest.get_or_insert([member.dtype, *needed]);
            for (most, own) in [(stored, member.dtype), (most, *needed)] {
                if significant(own) > significant(*most) {
                    *most = own;
                }
            }
        }
    }
    finest
}

/// Checkpoints whose values need less than their format has, by the two formats.
fn resaved(session: &Session, formats: &[Formats]) -> Vec<Resaved> {
    let mut found: Vec<Resaved> = Vec::new();
    for (formats, step) in formats.iter().zip(&session.measured.steps) {
        let Some([stored, needed]) = formats.filter(|[a, b]| significant(*a) > significant(*b)) else { continue };
        let (stored, needed) = (stored.name().to_owned(), needed.name().to_owned());
        match found.iter_mut().find(|f| f.stored == stored && f.needed == needed) {
            Some(own) => own.steps.push(*step),
            None => found.push(Resaved { steps: vec![*step], stored, needed }),
        }
    }
    found
}
