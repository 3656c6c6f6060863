//! How far the parts of a model moved between neighbouring checkpoints: what the judge of movement asks, from the products of
//! the increments, the rows of tokens that were met, and the farthest steps of the samples.

use std::collections::BTreeMap;

use crate::session::Session;
use crate::time::rates;
use scratchproof_finding::chain::{LAYERS, Moved};
use scratchproof_measurements::{ALL, TensorFigures, Trails, Unit};
use scratchproof_stats::Trail;

/// Rows that were met, at least, before their movement says anything.
const LEAST_MET: u64 = 16;

/// A part of the language model: its path, and the farthest step of any of its tensors by interval.
struct Part {
    trail: Trail,
    farthest: Vec<f64>,
    /// See [`Moved::along`].
    along: Vec<f64>,
}

/// Every interval of every part.
pub(crate) fn moved(session: &Session, trails: &Trails) -> Vec<Moved> {
    let points = session.measured.plan.series;
    if points < 2 || !session.is_series() {
        return Vec::new();
    }
    let mut parts: BTreeMap<&str, Part> = BTreeMap::new();
    let own = session.measured.own().filter(|(unit, figures)| counts(session, unit, figures));
    for (unit, figures) in own {
        let own_name = session.counted_with(unit.role.judged_as());
        let names = [Some(own_name), unit.role.layer.map(|_| LAYERS), Some(ALL)];
        for name in names.into_iter().flatten() {
            let part = parts.entry(name).or_insert_with(|| Part {
                trail: Trail::new(points),
                farthest: vec![0.0; points - 1],
                along: Vec::new(),
            });
            part.trail.add(&figures.gram);
            if name == own_name && figures.along.len() == points {
                part.along.clone_from(&figures.along);
            }
            part.farthest.iter_mut().zip(&figures.farthest).for_each(|(held, own)| *held = held.max(*own));
        }
    }
    let mut moved = Vec::new();
    for t in 1..points {
        let (from, to) = (session.measured.steps[t - 1], session.measured.steps[t]);
        let rates = rates::rates(session.record, from, to);
        for (name, part) in &parts {
            let (Some(before), Some(after), Some(last)) =
                (part.trail.size(t - 1), part.trail.size(t), part.trail.size(points - 1))
            else {
                continue;
            };
            let whole = part.trail.rms(t - 1, t);
            let Some(rms) = (if *name == "embedding" { met(session, t - 1).or(whole) } else { whole }) else {
                continue;
            };
            moved.push(Moved {
                steps: (from, to),
                component: (*name).to_owned(),
                elements: part.trail.elements(),
                rms,
                before,
                last,
                farthest: part.farthest[t - 1],
                along: part.along.get(t - 1).copied().unwrap_or(0.0),
                last_along: part.along.last().copied().unwrap_or(0.0),
                rounding: trails.rounding(after, t - 1..=t),
                rates: rates.as_ref().map(|rates| rates.sum),
                most_rates: rates.as_ref().map(|rates| rates.most),
                decay: rates.as_ref().map_or(0.0, |rates| rates.decay),
            });
        }
    }
    moved
}

/// Matrices of the language model that were trained in every interval: one that is frozen in some of them says nothing of
/// how far the others moved.
fn counts(session: &Session, unit: &Unit, figures: &TensorFigures) -> bool {
    let points = session.measured.plan.series;
    unit.view.is_some()
        && !unit.role.constant
        && unit.role.known
        && unit.role.tower == session.measured.plan.lead()
        && (1..points).all(|t| figures.gram.distance2(t - 1, t) > 0.0)
}

/// Root mean square movement of the rows of tokens that were met in an interval; `None` where nothing says which those are.
fn met(session: &Session, interval: usize) -> Option<f64> {
    let of = session.measured.token_rows.iter().find(|table| {
        let role = &session.measured.plan.units[table.unit].role;
        role.tower == session.measured.plan.lead() && !role.family.contains("position")
    })?;
    let seen = of.seen.get(interval)?;
    (seen.met >= LEAST_MET && seen.met_elements > 0).then(|| (seen.met_moved2 / seen.met_elements as f64).sqrt())
}
