//! The matrices of the first checkpoint as draws: the rows of `start.parquet`.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::scales::sizes;
use crate::session::Session;
use scratchproof_evidence::StartRow;
use scratchproof_kernel::{Form, Moments};
use scratchproof_measurements::Unit;
use scratchproof_stats::{Draw, Law, Scale, Sizes, draw, fit, law, log10_upper_tail, rule, scaled_law};

/// A matrix of the first checkpoint, measured.
struct Matrix<'a> {
    /// Position of the unit in the plan.
    index: usize,
    unit: &'a Unit,
    moments: &'a Moments,
    draw: Draw,
    sizes: Sizes,
    /// Whether a formula wrote it.
    formula: bool,
}

impl Matrix<'_> {
    /// Whether it takes part in the search for its family's law.
    fn drawn(&self) -> bool {
        self.draw.form == Form::Free && self.draw.orthogonal.is_none() && !self.formula
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

/// The known matrices of the subject's first checkpoint, by place in the plan; none where there is no series.
pub fn tested<'a>(session: &Session<'a>) -> impl Iterator<Item = (usize, &'a Unit, &'a Moments)> {
    let measured = session.measured;
    let all = measured.plan.units.iter().zip(&measured.tensors).enumerate().filter(|_| session.is_series());
    let known = all.filter(|(_, (unit, _))| unit.in_subject() && unit.role.known && !unit.role.constant);
    known.filter_map(|(index, (unit, figures))| Some((index, unit, figures.start.as_ref()?)))
}

/// The matrices of the first checkpoint as draws; law and rule by family, over all its tensors.
pub fn rows(session: &Session) -> Vec<StartRow> {
    let units: Vec<(usize, &Unit, &Moments)> = tested(session).collect();
    let matrices: Vec<Matrix> = units
        .into_par_iter()
        .map(|(index, unit, moments)| {
            let formula = session.measured.formulas.contains(&unit.tensor);
            Matrix { index, unit, moments, draw: draw(moments), sizes: sizes(session, unit), formula }
        })
        .collect();
    // Towers follow schemes of their own.
    let mut families: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, matrix) in matrices.iter().enumerate().filter(|(_, m)| m.drawn()) {
        families.entry(session.measured.plan.family(&matrix.unit.role)).or_default().push(index);
    }
    let families: Vec<Vec<usize>> = families.into_values().collect();
    let schemes: Vec<(usize, Scheme)> = families.par_iter().flat_map_iter(|own| scheme(&matrices, own)).collect();
    let mut schemes: BTreeMap<usize, Scheme> = schemes.into_iter().collect();
    let mut nearest = nearest(session, &matrices);
    matrices
        .iter()
        .enumerate()
        .map(|(index, matrix)| row(session, matrix, schemes.remove(&index).unwrap_or_default(), nearest[index].take()))
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

fn row(session: &Session, matrix: &Matrix, scheme: Scheme, nearest: Option<Nearest>) -> StartRow {
    let Matrix { unit, draw, .. } = matrix;
    let free = |value: f64| (draw.elements > 0).then_some(value);
    // What a formula wrote is no draw, and nobody's weights: there is nothing to hold against one.
    let formula = matrix.formula;
    let tested = |log10_p: Option<f64>| log10_p.filter(|_| !formula);
    let (name, rule) = match (draw.form, draw.orthogonal) {
        (Form::Free, _) if formula => (Some("sinusoids"), None),
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
        family: session.measured.plan.family(&unit.role),
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
        fit_log10_p: tested(scheme.fit.map(|f| f.log10_p)),
        matrices: draw.matrices as u64,
        edge_ratio: draw.edge.map(|e| e.ratio),
        edge_score: draw.edge.map(|e| e.score),
        edge_log10_p: tested(draw.edge.map(|e| e.log10_p)),
        cosines_z: draw.cosines_z,
        cosines_log10_p: tested(draw.cosines_log10_p),
        row_norm_log10_p: tested(draw.row_norm_log10_p),
        column_norm_log10_p: tested(draw.column_norm_log10_p),
        nearest: nearest.as_ref().map(|t| t.name.clone()),
        nearest_pearson: nearest.as_ref().map(|t| t.pearson),
        nearest_log10_p: nearest.map(|t| t.log10_p),
    }
}

/// Gains that `torch.nn.init.calculate_gain` gives, by name; others as a number.
fn gain_name(gain: f64) -> String {
    let known = [("1", 1.0), ("sqrt(2)", std::f64::consts::SQRT_2), ("5/3", 5.0 / 3.0)];
    let name = known.iter().find(|(_, value)| (gain / value - 1.0).abs() < 0.01);
    name.map_or_else(|| format!("gain {gain:.3}"), |(name, _)| format!("gain {name}"))
}

/// The tensor that another resembles most.
struct Nearest {
    name: String,
    pearson: f64,
    log10_p: f64,
}

/// Of every matrix the one it resembles most, over the pairs that were measured. Of a stack also two of its own matrices.
fn nearest(session: &Session, matrices: &[Matrix]) -> Vec<Option<Nearest>> {
    let places: BTreeMap<usize, usize> = matrices.iter().enumerate().map(|(at, matrix)| (matrix.index, at)).collect();
    let pairs: Vec<(usize, usize, f64)> = session
        .measured
        .kept
        .start
        .iter()
        .filter_map(|pair| Some((*places.get(&pair.units.0)?, *places.get(&pair.units.1)?, pair.pearson)))
        .collect();
    let mut best: Vec<Option<Nearest>> = matrices.iter().map(inner_nearest).collect();
    let mut held = vec![0_usize; matrices.len()];
    for &(a, b, _) in &pairs {
        held[a] += 1;
        held[b] += 1;
    }
    for &(a, b, pearson) in &pairs {
        for (one, other) in [(a, b), (b, a)] {
            let unit = matrices[one].unit;
            let Some(hidden) = unit.view.map(|view| view.hidden()) else { continue };
            let log10_p = two_sided(pearson, unit.kept.len() * (hidden - 1), held[one]);
            if best[one].as_ref().is_none_or(|t| log10_p < t.log10_p) {
                best[one] = Some(Nearest { name: matrices[other].unit.tensor.clone(), pearson, log10_p });
            }
        }
    }
    best
}

fn inner_nearest(matrix: &Matrix) -> Option<Nearest> {
    let alike = matrix.moments.alike?;
    let (a, b) = alike.places;
    let log10_p = two_sided(alike.cosine, alike.elements, alike.pairs);
    Some(Nearest { name: format!("matrix {a} against {b}"), pearson: alike.cosine, log10_p })
}

/// A correlation of `freedom` independent pairs, the largest of so many.
fn two_sided(pearson: f64, freedom: usize, of: usize) -> f64 {
    let z = pearson.abs() * (freedom as f64).sqrt();
    (log10_upper_tail(z) + (2.0 * of.max(1) as f64).log10()).min(0.0)
}
