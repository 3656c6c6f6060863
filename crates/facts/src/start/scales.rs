//! What the judge of the start asks beside the draws of matrices: vectors, and scales carried back to step 0.

use std::collections::BTreeMap;

use crate::session::Session;
use scratchproof_finding::start::{Drift, StartVector};
use scratchproof_measurements::{Axis, Component, Unit};
use scratchproof_stats::{Law, Scale, Sizes, rule};

/// The sizes that a rule of initialisation may depend on.
pub fn sizes(session: &Session, unit: &Unit) -> Sizes {
    // A rule of initialisation is of the whole tensor, whatever rows of it were read.
    let whole = session.measured.sample.as_ref().and_then(|_| {
        let tensor = session.measured.subject().tensors.iter().find(|tensor| tensor.name == unit.tensor)?;
        let axes = tensor.shape.len();
        (axes == unit.shape.len() && axes > 1).then_some(&tensor.shape)
    });
    if let Some([.., fan_out, fan_in]) = whole.map(Vec::as_slice).filter(|_| unit.role.residual != Axis::First) {
        return sized(session, unit, (*fan_out, *fan_in));
    }
    let fans = match (unit.view, unit.shape.as_slice()) {
        (Some(view), _) => (view.rows, view.cols),
        (None, [rows, rest @ ..]) => (*rows, rest.iter().product()),
        (None, []) => (1, 1),
    };
    sized(session, unit, fans)
}

fn sized(session: &Session, unit: &Unit, (fan_out, fan_in): (usize, usize)) -> Sizes {
    let hidden = session.measured.plan.axes.get(&unit.role.tower).copied().or(session.measured.plan.hidden);
    Sizes {
        hidden: hidden.unwrap_or(fan_in),
        layers: session.measured.subject().layers,
        layer: unit.role.layer,
        fan_in,
        fan_out,
    }
}

/// Vectors of the first checkpoint, and how far they are from what untrained ones hold at every checkpoint.
pub fn vectors(session: &Session) -> Vec<StartVector> {
    let vectors = session.measured.own().filter(|(u, _)| u.role.known && !u.role.constant && u.shape.len() == 1);
    let vectors = vectors.filter_map(|(unit, figures)| {
        let gram = &figures.gram;
        let n = gram.elements() as f64;
        let mean = gram.sum(0) / n;
        let variance = gram.product(0, 0) / n - mean * mean;
        // Rounding of the two sums is no spread.
        let std = if variance > 1e-12 * mean * mean { variance.sqrt() } else { 0.0 };
        // Norm weights start at one, or at zero where one is added to them.
        let constant = if mean > 0.5 { 1.0 } else { 0.0 };
        let away = |t: usize| {
            let square = gram.product(t, t) - 2.0 * constant * gram.sum(t) + n * constant * constant;
            // Cancelled digits are no path.
            if square > 1e-13 * gram.product(t, t) { square } else { 0.0 }
        };
        (n > 0.0 && mean.is_finite() && std.is_finite()).then(|| StartVector {
            tensor: unit.tensor.clone(),
            component: unit.role.judged_as().to_owned(),
            family: session.measured.plan.family(&unit.role),
            norm: unit.role.component == Component::Norms && unit.role.family.strip_suffix(".bias").is_none(),
            elements: gram.elements(),
            mean,
            std,
            away: (0..session.measured.steps.len()).map(away).collect(),
            moved: if session.measured.steps.len() > 1 { gram.distance2(0, 1) } else { 0.0 },
        })
    });
    vectors.collect()
}

/// Of every family that is drawn by a known law, the standard deviation at the first checkpoint and what it would have
/// been at step 0 if its square had grown evenly since, with the rule that number follows.
pub fn drift(session: &Session) -> Vec<Drift> {
    let [first, second, ..] = session.measured.steps.as_slice() else { return Vec::new() };
    let share = *first as f64 / (*second as f64 - *first as f64);
    if *first <= 0 || !share.is_finite() {
        return Vec::new();
    }
    let mut families: BTreeMap<String, Vec<(Scale, f64)>> = BTreeMap::new();
    for (unit, figures) in session.measured.own().filter(|(u, _)| u.role.known && !u.role.constant && u.shape.len() > 1)
    {
        let n = figures.gram.elements() as f64;
        let [now, then] = [0, 1].map(|t| figures.gram.product(t, t) / n);
        let back = (now - share * (then - now)).max(0.0).sqrt();
        if back.is_normal() && now.is_normal() {
            let elements = unit.elements();
            let scale = Scale { std: back, elements, kurtosis: 3.0, sizes: sizes(session, unit) };
            families.entry(session.measured.plan.family(&unit.role)).or_default().push((scale, now));
        }
    }
    let drift = |(family, own): (String, Vec<(Scale, f64)>)| {
        let scales: Vec<Scale> = own.iter().map(|(scale, _)| *scale).collect();
        let mean = |values: &dyn Fn(&(Scale, f64)) -> f64| own.iter().map(values).sum::<f64>() / own.len() as f64;
        Drift {
            family,
            std: mean(&|(_, now)| *now).sqrt(),
            back: mean(&|(scale, _)| scale.std.powi(2)).sqrt(),
            rule: rule(&scales, Law::Normal).map(|(name, _)| name),
        }
    };
    families.into_iter().map(drift).collect()
}
