//! The first checkpoint as a draw: the rows of `start.parquet`, and what the judge of the start asks beside them.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::facts::own;
use super::{Session, record};
use scratchproof_checkpoint::Component;
use scratchproof_evidence::StartRow;
use scratchproof_finding::start::{Clock, Drift, StartVector};
use scratchproof_kernel::{Form, Moments, trace};
use scratchproof_plan::{TensorFigures, Unit};
use scratchproof_stats::{Draw, Law, Scale, Sizes, draw, fit, law, log10_upper_tail, rule, scaled_law};

/// Tensors of one layer and shape beyond which only neighbours are held against each other.
const MANY: usize = 16;

/// A matrix of the first checkpoint, measured.
struct Matrix<'a> {
    unit: &'a Unit,
    figures: &'a TensorFigures,
    moments: &'a Moments,
    draw: Draw,
    sizes: Sizes,
}

impl Matrix<'_> {
    /// Whether it takes part in the search for its family's law.
    fn drawn(&self) -> bool {
        self.draw.form == Form::Free && self.draw.orthogonal.is_none()
    }

    fn scale(&self) -> Scale {
        Scale {
            std: self.draw.std,
            elements: self.draw.elements,
            kurtosis: self.draw.excess_kurtosis + 3.0,
            sizes: self.sizes,
        }
    }
}

fn sizes(session: &Session, unit: &Unit) -> Sizes {
    let (fan_out, fan_in) = match (unit.view, unit.shape.as_slice()) {
        (Some(view), _) => (view.rows, view.cols),
        (None, [rows, rest @ ..]) => (*rows, rest.iter().product()),
        (None, []) => (1, 1),
    };
    let hidden = session.plan.axes.get(&unit.role.tower).copied().or(session.plan.hidden);
    Sizes {
        hidden: hidden.unwrap_or(fan_in),
        layers: session.subject().layers(),
        layer: unit.role.layer,
        fan_in,
        fan_out,
    }
}

/// The matrices of the first checkpoint as draws; law and rule by family, over all its tensors.
pub fn rows(session: &Session) -> Vec<StartRow> {
    if !session.is_series() {
        return Vec::new();
    }
    let units: Vec<_> = own(session).filter(|(unit, _)| unit.role.known && !unit.role.constant).collect();
    let matrices: Vec<Matrix> = units
        .into_par_iter()
        .filter_map(|(unit, figures)| {
            let moments = figures.start.as_ref()?;
            Some(Matrix { unit, figures, moments, draw: draw(moments), sizes: sizes(session, unit) })
        })
        .collect();
    // Towers follow schemes of their own.
    let mut families: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, matrix) in matrices.iter().enumerate().filter(|(_, m)| m.drawn()) {
        families.entry(session.plan.family(&matrix.unit.role)).or_default().push(index);
    }
    let families: Vec<Vec<usize>> = families.into_values().collect();
    let schemes: Vec<(usize, Scheme)> = families.par_iter().flat_map_iter(|own| scheme(&matrices, own)).collect();
    let mut schemes: BTreeMap<usize, Scheme> = schemes.into_iter().collect();
    let mut twins = twins(&matrices);
    matrices
        .iter()
        .enumerate()
        .map(|(index, matrix)| row(session, matrix, schemes.remove(&index).unwrap_or_default(), twins[index].take()))
        .collect()
}

/// Law, rule and fit of one matrix.
#[derive(Default)]
struct Scheme {
    law: Option<Law>,
    rule: Option<String>,
    fit: Option<scratchproof_stats::Fit>,
}

/// Law and rule of a family, and the fit of each of its matrices.
fn scheme(matrices: &[Matrix], family: &[usize]) -> Vec<(usize, Scheme)> {
    let law = law(family.iter().map(|&i| matrices[i].moments));
    let scales: Vec<Scale> = family.iter().map(|&i| matrices[i].scale()).collect();
    let rule = rule(&scales, law.unwrap_or(Law::Normal));
    let one = |(place, &index): (usize, &usize)| {
        let Matrix { moments, draw, .. } = &matrices[index];
        let std = rule.as_ref().map_or(draw.std, |(_, stds)| stds[place]);
        let fit = law.and_then(|law| fit(&moments.levels, std, law));
        (index, Scheme { law, rule: rule.as_ref().map(|(name, _)| name.clone()), fit })
    };
    family.iter().enumerate().map(one).collect()
}

fn row(session: &Session, matrix: &Matrix, scheme: Scheme, twin: Option<Twin>) -> StartRow {
    let Matrix { unit, draw, .. } = matrix;
    let free = |value: f64| (draw.elements > 0).then_some(value);
    let (name, rule) = match (draw.form, draw.orthogonal) {
        (Form::Zero, _) => (Some("zero"), None),
        (Form::Constant, _) => (Some("constant"), Some(format!("{}", draw.mean))),
        (Form::Diagonal, _) => (Some("identity"), Some(format!("{}", draw.max_abs))),
        (Form::Repeated, _) => (Some("repeated"), None),
        (Form::Free, Some(gain)) => (Some("orthogonal"), Some(gain_name(gain))),
        (Form::Free, None) => match (scheme.law, scaled_law(matrix.moments)) {
            (Some(law), _) => (Some(law.name()), scheme.rule),
            (None, Some(_)) => (Some("scaled"), scheme.rule),
            (None, None) => (None, scheme.rule),
        },
    };
    StartRow {
        tensor: unit.tensor.clone(),
        component: unit.role.judged_as().to_owned(),
        family: session.plan.family(&unit.role),
        layer: unit.role.layer,
        expert: unit.role.expert,
        elements: draw.elements as u64,
        mean: free(draw.mean),
        std: free(draw.std),
        excess_kurtosis: free(draw.excess_kurtosis).filter(|k| k.is_finite()),
        max_abs: free(draw.max_abs),
        scheme: name.map(str::to_owned),
        rule,
        fit_distance: scheme.fit.map(|f| f.distance),
        fit_log10_p: scheme.fit.map(|f| f.log10_p),
        matrices: draw.matrices as u64,
        edge_ratio: draw.edge.map(|e| e.ratio),
        edge_score: draw.edge.map(|e| e.score),
        edge_log10_p: draw.edge.map(|e| e.log10_p),
        cosines_z: draw.cosines_z,
        cosines_log10_p: draw.cosines_log10_p,
        row_norm_log10_p: draw.row_norm_log10_p,
        column_norm_log10_p: draw.column_norm_log10_p,
        twin: twin.as_ref().map(|t| t.name.clone()),
        twin_pearson: twin.as_ref().map(|t| t.pearson),
        twin_log10_p: twin.map(|t| t.log10_p),
    }
}

/// Gains that `torch.nn.init.calculate_gain` gives, by name; others as a number.
fn gain_name(gain: f64) -> String {
    let known = [("1", 1.0), ("sqrt(2)", std::f64::consts::SQRT_2), ("5/3", 5.0 / 3.0)];
    let name = known.iter().find(|(_, value)| (gain / value - 1.0).abs() < 0.01);
    name.map_or_else(|| format!("gain {gain:.3}"), |(name, _)| format!("gain {name}"))
}

/// The tensor that another resembles most.
struct Twin {
    name: String,
    pearson: f64,
    log10_p: f64,
}

/// Of every matrix the one it resembles most: among those of its tower, layer and shape, and that of its family in the
/// next layer; the kept rows, each less its mean. Of a stack also two of its own matrices.
fn twins(matrices: &[Matrix]) -> Vec<Option<Twin>> {
    let mut layers: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    let mut next: BTreeMap<_, usize> = BTreeMap::new();
    for (index, matrix) in matrices.iter().enumerate() {
        let (Some(view), role) = (matrix.unit.view, &matrix.unit.role) else { continue };
        let kept = matrix.figures.kept.first().map_or(0, Vec::len);
        // Position embeddings may be a formula, and equal ones are no copies.
        if kept == 0 || !matrix.figures.usable[0] || !matrix.drawn() || role.family.contains("position") {
            continue;
        }
        let shape = (&role.tower, view.hidden(), kept);
        layers.entry((shape, role.layer)).or_default().push(index);
        next.insert((shape, &role.family, role.expert, role.layer), index);
    }
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for group in layers.values() {
        for (b, &second) in group.iter().enumerate() {
            for (a, &first) in group[..b].iter().enumerate() {
                if group.len() <= MANY || a == 0 || a + 1 == b {
                    pairs.push((first, second));
                }
            }
        }
    }
    for (&(shape, family, expert, layer), &index) in &next {
        let after = layer.and_then(|l| next.get(&(shape, family, expert, Some(l.checked_add(1)?))));
        pairs.extend(after.map(|&other| (index, other)));
    }
    // An embedding that serves as head is one tensor.
    pairs.retain(|&(a, b)| {
        let [a, b] = [a, b].map(|i| (&matrices[i].unit.role.family, &matrices[i].unit.members[0]));
        let tied = |x: &str, y: &str| x.contains("embedding") && y.contains("head");
        !tied(a.0, b.0) && !tied(b.0, a.0) && (a.1.shard, a.1.offset) != (b.1.shard, b.1.offset)
    });
    let pearson: Vec<f64> =
        pairs.par_iter().map(|&(a, b)| trace(&matrices[a].figures.kept[0], &matrices[b].figures.kept[0])).collect();
    let mut best: Vec<Option<Twin>> = matrices.iter().map(inner_twin).collect();
    let mut held = vec![0_usize; matrices.len()];
    for &(a, b) in &pairs {
        held[a] += 1;
        held[b] += 1;
    }
    for (&(a, b), &pearson) in pairs.iter().zip(&pearson) {
        for (one, other) in [(a, b), (b, a)] {
            let Some(hidden) = matrices[one].unit.view.map(|view| view.hidden()) else { continue };
            let elements = matrices[one].figures.kept[0].len();
            let log10_p = two_sided(pearson, elements - elements / hidden, held[one]);
            if best[one].as_ref().is_none_or(|t| log10_p < t.log10_p) {
                best[one] = Some(Twin { name: matrices[other].unit.tensor.clone(), pearson, log10_p });
            }
        }
    }
    best
}

fn inner_twin(matrix: &Matrix) -> Option<Twin> {
    let alike = matrix.moments.alike?;
    let (a, b) = alike.places;
    let log10_p = two_sided(alike.cosine, alike.elements, alike.pairs);
    Some(Twin { name: format!("matrix {a} against {b}"), pearson: alike.cosine, log10_p })
}

/// A correlation of `freedom` independent pairs, the largest of so many.
fn two_sided(pearson: f64, freedom: usize, of: usize) -> f64 {
    let z = pearson.abs() * (freedom as f64).sqrt();
    (log10_upper_tail(z) + (2.0 * of.max(1) as f64).log10()).min(0.0)
}

/// Vectors of the first checkpoint, and how far they are from what untrained ones hold at every checkpoint.
pub fn vectors(session: &Session) -> Vec<StartVector> {
    let vectors = own(session).filter(|(u, _)| u.role.known && !u.role.constant && u.shape.len() == 1);
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
            // Cancelled digits are no way.
            if square > 1e-13 * gram.product(t, t) { square } else { 0.0 }
        };
        (n > 0.0 && mean.is_finite() && std.is_finite()).then(|| StartVector {
            tensor: unit.tensor.clone(),
            component: unit.role.judged_as().to_owned(),
            family: session.plan.family(&unit.role),
            norm: unit.role.component == Component::Norms && unit.role.family.strip_suffix(".bias").is_none(),
            elements: gram.elements(),
            mean,
            std,
            away: (0..session.steps.len()).map(away).collect(),
            moved: if session.steps.len() > 1 { gram.distance2(0, 1) } else { 0.0 },
        })
    });
    vectors.collect()
}

/// The learning rate summed from the first logged step on, of the first run that logs it.
pub fn clock(session: &Session) -> Option<Clock> {
    let points = record::summed_rates(&session.record)?;
    Clock::new(points)
}

/// Of every family that is drawn by a known law, the standard deviation at the first checkpoint and what it would have
/// been at step 0 if its square had grown evenly since, with the rule that number follows.
pub fn drift(session: &Session) -> Vec<Drift> {
    let [first, second, ..] = session.steps.as_slice() else { return Vec::new() };
    let share = *first as f64 / (*second as f64 - *first as f64);
    if *first <= 0 || !share.is_finite() {
        return Vec::new();
    }
    let mut families: BTreeMap<String, Vec<(Scale, f64)>> = BTreeMap::new();
    for (unit, figures) in own(session).filter(|(u, _)| u.role.known && !u.role.constant && u.shape.len() > 1) {
        let n = figures.gram.elements() as f64;
        let [now, then] = [0, 1].map(|t| figures.gram.product(t, t) / n);
        let back = (now - share * (then - now)).max(0.0).sqrt();
        if back.is_normal() && now.is_normal() {
            let elements = unit.elements();
            let scale = Scale { std: back, elements, kurtosis: 3.0, sizes: sizes(session, unit) };
            families.entry(session.plan.family(&unit.role)).or_default().push((scale, now));
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
