//! What the judges ask that no table holds.

use std::collections::{BTreeMap, BTreeSet};

use super::Session;
use crate::checkpoint::{Component, Residual as Axis, Shard};
use crate::disguise::Found;
use crate::evidence::{Evidence, Reference};
use crate::finding::chain::OffLine;
use crate::finding::parent::{EqualTensor, NormFigure, Part};
use crate::finding::start::StartVector;
use crate::plan::{ALL, TensorFigures, Unit};
use crate::stats::Turn;

fn own<'a>(session: &'a Session) -> impl Iterator<Item = (&'a Unit, &'a TensorFigures)> {
    session.plan.units.iter().zip(&session.measured.tensors).filter(|(unit, _)| unit.in_subject())
}

/// Share of the final checkpoint's bytes that no test can reach: under names that no template knows, in a number format
/// that cannot be decoded, not finite in some checkpoint, all zero at the end, or of another shape in another checkpoint.
pub fn unreached_share(session: &Session) -> f64 {
    let last = session.plan.last();
    let reached: u64 = own(session)
        .filter(|(unit, figures)| {
            let finite = (0..=last).all(|t| figures.gram.nonfinite(t) == 0);
            let dead = unit.shape.len() > 1 && figures.gram.product(last, last) == 0.0;
            unit.role.known && finite && !dead
        })
        .map(|(unit, _)| (unit.elements() * unit.members[last].dtype.width()) as u64)
        .sum();
    let data = |shard: &Shard| {
        let mut length = [0; 8];
        let header = shard.blob.read_at(0, &mut length).map_or(0, |()| u64::from_le_bytes(length).saturating_add(8));
        shard.blob.len().saturating_sub(header)
    };
    let all: u64 = session.subject().shards.iter().map(data).sum();
    if all > 0 { 1.0 - reached.min(all) as f64 / all as f64 } else { 0.0 }
}

/// Squared distances between all checkpoints over all matrices.
///
/// The products of increments are summed over the tensors first, so that the cost a tensor grows with the square of the
/// number of checkpoints and no faster. A tensor with a value that is not finite is left out.
pub fn distances(session: &Session) -> Vec<Vec<f64>> {
    let n = session.steps.len();
    let mut products = vec![vec![0.0; n]; n];
    for (_, figures) in own(session).filter(|(unit, _)| unit.view.is_some()) {
        if (0..n).any(|t| figures.gram.nonfinite(t) > 0) {
            continue;
        }
        for (i, row) in products.iter_mut().enumerate().skip(1) {
            for (j, sum) in row.iter_mut().enumerate().skip(i) {
                *sum += figures.gram.displacement_product((i - 1, i), (j - 1, j));
            }
        }
    }
    let mut distances = vec![vec![0.0; n]; n];
    for (from, row) in distances.iter_mut().enumerate() {
        let mut square = 0.0;
        for to in from + 1..n {
            // |W_to - W_from|^2 grows by the new increment with itself and twice with those before it.
            let cross: f64 = (from + 1..to).map(|i| products[i][to]).sum();
            square += 2.0 * cross + products[to][to];
            row[to] = f64::max(square, 0.0);
        }
    }
    (0..n).map(|a| (0..n).map(|b| distances[a.min(b)][a.max(b)]).collect()).collect()
}

/// Length of the path over its length with two inner checkpoints exchanged, for every two, and the part between them
/// turned round where that is shorter still.
pub fn exchanges(session: &Session, distances: &[Vec<f64>]) -> Vec<(i64, i64, f64)> {
    let last = session.plan.last();
    // Steps of the path from a checkpoint to the next, in the given order but for what is put at places `a` to `b`.
    let part = |a: usize, b: usize, at: &dyn Fn(usize) -> usize| {
        let place = |t: usize| if (a..=b).contains(&t) { at(t) } else { t };
        (a - 1..=b).map(|t| distances[place(t)][place(t + 1)].sqrt()).sum::<f64>()
    };
    let whole: f64 = (0..last).map(|t| distances[t][t + 1].sqrt()).sum();
    let shorter = |a: usize, b: usize| {
        let given = part(a, b, &|t| t);
        let exchanged = part(a, b, &|t| {
            if t == a {
                b
            } else if t == b {
                a
            } else {
                t
            }
        });
        let turned = part(a, b, &|t| a + b - t);
        let ratio = whole / (whole - given + exchanged.min(turned));
        ratio.is_finite().then(|| (session.steps[a], session.steps[b], ratio))
    };
    (1..last).flat_map(|a| (a + 1..last).map(move |b| (a, b))).filter_map(|(a, b)| shorter(a, b)).collect()
}

/// Neighbouring inner checkpoints without what lies on the line from the first to the last, and the cosine that a random
/// walk tied at both ends has there: sqrt(s (1 - t) / (t (1 - s))) for the shares s < t of the steps that are done.
pub fn residuals(session: &Session, distances: &[Vec<f64>]) -> Vec<OffLine> {
    let last = session.plan.last();
    let chord2 = distances[0][last];
    if last < 3 || chord2 <= 0.0 {
        return Vec::new();
    }
    // <W_a - W_0, W_b - W_0> from the three distances.
    let product = |a: usize, b: usize| f64::midpoint(distances[0][a], distances[0][b]) - distances[a][b] / 2.0;
    let residual = |a: usize, b: usize| product(a, b) - product(a, last) * product(b, last) / chord2;
    let (first, span) = (session.steps[0], (session.steps[last] - session.steps[0]) as f64);
    let share = |t: usize| (session.steps[t] - first) as f64 / span;
    (1..last - 1)
        .filter_map(|t| {
            let (s, u) = (share(t), share(t + 1));
            let cosine = residual(t, t + 1) / (residual(t, t) * residual(t + 1, t + 1)).sqrt();
            cosine.is_finite().then(|| OffLine {
                steps: (session.steps[t], session.steps[t + 1]),
                cosine,
                expected: (s * (1.0 - u) / (u * (1.0 - s))).sqrt(),
            })
        })
        .collect()
}

/// All components of the subject that hold weights, by name.
pub fn components(session: &Session) -> Vec<String> {
    let names: BTreeSet<String> =
        own(session).filter(|(u, _)| !u.role.constant).map(|(u, _)| u.role.judged_as().to_owned()).collect();
    names.into_iter().collect()
}

/// The component of every family that a layer map can have.
pub fn families(session: &Session) -> Vec<(String, String)> {
    let pairs: BTreeSet<(String, String)> = own(session)
        .filter(|(u, _)| u.role.layer.is_some())
        .map(|(u, _)| (session.plan.family(&u.role), u.role.judged_as().to_owned()))
        .collect();
    pairs.into_iter().collect()
}

/// The language model, which stands for the whole, and the towers.
pub fn parts(session: &Session) -> Vec<Part> {
    let plan = &session.plan;
    let parents = session.case.parents.iter().map(|p| Reference::Parent(p.name.clone()));
    let controls = session.case.controls.iter().map(|c| Reference::Control(c.name.clone()));
    let references: Vec<Reference> = parents.chain(controls).collect();
    let all: u64 = session.subject().bytes();
    let part = |tower: &str| {
        let tensors = session.subject().tensors.iter().filter(|t| t.role.tower == tower);
        let met = plan.meetings.iter().zip(&references).filter_map(|(meetings, reference)| {
            let meeting = meetings.iter().find(|m| m.tower == tower)?;
            Some((reference.clone(), meeting.other.clone()))
        });
        Part {
            name: if tower == plan.lead() { ALL.to_owned() } else { tower.to_owned() },
            map: if tower.is_empty() { ALL.to_owned() } else { format!("{tower}.{ALL}") },
            share: tensors.map(|t| t.bytes).sum::<u64>() as f64 / all.max(1) as f64,
            matrices: own(session).filter(|(u, _)| u.role.tower == tower && telling(u)).count(),
            met: met.collect(),
        }
    };
    let towers = plan.towers().map(|(tower, _)| tower);
    std::iter::once(plan.lead()).chain(towers).map(part).collect()
}

/// Vectors of the first checkpoint.
pub fn start_vectors(session: &Session) -> Vec<StartVector> {
    let vectors = own(session).filter(|(u, _)| u.role.known && !u.role.constant && u.shape.len() == 1);
    let vectors = vectors.filter_map(|(unit, figures)| {
        let n = figures.gram.elements() as f64;
        let mean = figures.gram.sum(0) / n;
        let variance = figures.gram.product(0, 0) / n - mean * mean;
        // Rounding of the two sums is no spread.
        let std = if variance > 1e-12 * mean * mean { variance.sqrt() } else { 0.0 };
        (n > 0.0 && mean.is_finite() && std.is_finite()).then(|| StartVector {
            tensor: unit.tensor.clone(),
            component: unit.role.judged_as().to_owned(),
            norm: unit.role.component == Component::Norms && unit.role.family.strip_suffix(".bias").is_none(),
            elements: figures.gram.elements(),
            mean,
            std,
        })
    });
    vectors.collect()
}

/// Matrices whose entries can be evidence of descent when they are equal: known weights that are not constant. Position
/// embeddings may be a formula.
pub(super) fn telling(unit: &Unit) -> bool {
    unit.role.known && unit.view.is_some() && !unit.role.family.contains("position")
}

/// Tensors of a checkpoint that equal a parent's and no control's.
pub fn equal_tensors(session: &Session) -> Vec<EqualTensor> {
    let mut equal = Vec::new();
    let parents = session.case.parents.len();
    for (unit, figures) in own(session).filter(|(unit, _)| telling(unit)) {
        for (t, &step) in session.steps.iter().enumerate() {
            if figures.gram.pair(t, t).pearson().is_none() {
                continue;
            }
            let matches = |model: usize| {
                let slot = unit.members.iter().position(|m| m.model == model)?;
                (figures.gram.distance2(t, slot) == 0.0).then_some(())
            };
            let controls: Vec<String> = (parents..session.plan.references)
                .filter(|c| matches(session.plan.series + c).is_some())
                .map(|c| session.case.controls[c - parents].name.clone())
                .collect();
            for (p, parent) in session.case.parents.iter().enumerate() {
                if matches(session.plan.series + p).is_some() {
                    equal.push(EqualTensor {
                        parent: parent.name.clone(),
                        tensor: unit.tensor.clone(),
                        component: unit.role.judged_as().to_owned(),
                        layer: unit.role.layer,
                        step,
                        elements: figures.gram.elements(),
                        untouched: figures.gram.distance2(0, t) == 0.0,
                        controls: controls.clone(),
                    });
                }
            }
        }
    }
    equal
}

/// Pairs of steps whose matrices are all equal.
pub fn equal_steps(session: &Session) -> Vec<(i64, i64)> {
    let matrices: Vec<_> = own(session).filter(|(unit, _)| unit.view.is_some()).collect();
    let mut pairs = Vec::new();
    for (b, &later) in session.steps.iter().enumerate() {
        for (a, &earlier) in session.steps[..b].iter().enumerate() {
            if !matrices.is_empty() && matrices.iter().all(|(_, f)| f.gram.distance2(a, b) == 0.0) {
                pairs.push((earlier, later));
            }
        }
    }
    pairs
}

/// Inner checkpoints that are a blend of their neighbours: step, where on the way, roundings off the line.
pub fn blends(session: &Session) -> Vec<(i64, f64, f64)> {
    let mut blends = Vec::new();
    for t in 1..session.steps.len().saturating_sub(1) {
        let mut turn = Turn::default();
        let mut bits = 52;
        for (unit, figures) in own(session).filter(|(unit, _)| unit.view.is_some()) {
            turn.add(&figures.gram, [t - 1, t, t + 1]);
            let formats = unit.members[t - 1..=t + 1].iter().filter_map(|m| m.dtype.fraction_bits());
            bits = formats.fold(bits, i32::min);
        }
        // The way itself must be long against the rounding, or a standstill would look like a blend.
        if let (Some(off), Some(fraction), Some(roundings)) =
            (turn.off_chord(), turn.fraction(), turn.over_rounding(bits))
            && roundings < session.case.policy.blend_roundings
            && roundings > 0.0
            && off < 0.02
            && (0.0..=1.0).contains(&fraction)
        {
            blends.push((session.steps[t], fraction, roundings));
        }
    }
    blends
}

/// Raw cosine and Pearson of the final norm weights against every reference, averaged over the tensors.
pub fn norms(session: &Session, evidence: &Evidence) -> Vec<NormFigure> {
    let last = session.steps[session.plan.last()];
    let norms: BTreeSet<&str> = own(session)
        .filter(|(u, _)| u.role.component == Component::Norms && u.role.residual == Axis::Vector)
        .map(|(u, _)| u.tensor.as_str())
        .collect();
    let rows: Vec<_> =
        evidence.trajectory.iter().filter(|r| r.step == last && norms.contains(r.tensor.as_str())).collect();
    let references: BTreeSet<&Reference> = rows.iter().map(|r| &r.reference).collect();
    let outside = references.into_iter().filter(|r| matches!(r, Reference::Parent(_) | Reference::Control(_)));
    outside
        .filter_map(|reference| {
            let of: Vec<_> = rows.iter().filter(|r| r.reference == *reference).collect();
            let mean =
                |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
            Some(NormFigure {
                reference: reference.clone(),
                cosine: mean(of.iter().filter_map(|r| r.cosine).collect())?,
                pearson: mean(of.iter().filter_map(|r| r.pearson).collect()),
                tensors: of.len() as u64,
            })
        })
        .collect()
}

/// By parent, how it is written in the subject's coordinates.
pub fn disguises(session: &Session) -> BTreeMap<String, Vec<String>> {
    let parents = session.case.parents.iter().zip(&session.found);
    parents.filter_map(|(p, found)| Some((p.name.clone(), found.relabelling.as_ref()?.words.clone()))).collect()
}

/// By parent, how its residual axis is read.
pub fn frames(session: &Session) -> BTreeMap<String, String> {
    let parents = session.case.parents.iter().zip(&session.found);
    let frame = |found: &Found| Some(found.relabelling.as_ref()?.frame.name().to_owned());
    parents.filter_map(|(p, found)| Some((p.name.clone(), frame(found)?))).collect()
}
