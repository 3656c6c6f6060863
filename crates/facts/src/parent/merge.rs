//! The final checkpoint as a weighted sum of the parents.

use std::collections::BTreeMap;

use crate::session::Session;
use scratchproof_evidence::MergeRow;
use scratchproof_measurements::{ALL, TensorFigures, Unit};
use scratchproof_stats::{Mixture, aligned, mixture};

/// Sums over some tensors.
#[derive(Clone, Default)]
struct Pool {
    /// Centred products of the parents and the subject, which is the last.
    gram: Vec<f64>,
    /// Squared norm of what each tensor's own best sum leaves, and of the rounding of the subject's format.
    left: f64,
    rounding: f64,
    elements: u64,
    tensors: u64,
}

impl Pool {
    fn add(&mut self, other: &Self) {
        self.gram.resize(other.gram.len(), 0.0);
        for (sum, value) in self.gram.iter_mut().zip(&other.gram) {
            *sum += value;
        }
        self.left += other.left;
        self.rounding += other.rounding;
        self.elements += other.elements;
        self.tensors += other.tensors;
    }
}

/// Weights of two or more parents by component, by layer and over the whole model, over the matrices that two parents have.
/// A tensor that a parent lacks counts as zero in it.
pub fn rows(session: &Session) -> Vec<MergeRow> {
    let parents = session.case.parents.len();
    if parents < 2 {
        return Vec::new();
    }
    let mut pools: BTreeMap<(String, Option<u32>), Pool> = BTreeMap::new();
    let units = session.measured.plan.units.iter().zip(&session.measured.tensors);
    for (unit, figures) in units.filter(|(unit, _)| unit.in_subject() && unit.is_telling()) {
        let Some(pool) = tensor(session, unit, figures) else { continue };
        pools.entry((unit.role.judged_as().to_owned(), None)).or_default().add(&pool);
        pools.entry((ALL.to_owned(), None)).or_default().add(&pool);
        if let Some(layer) = unit.role.layer {
            pools.entry((ALL.to_owned(), Some(layer))).or_default().add(&pool);
        }
    }
    let tests = tests(session);
    let mut rows = Vec::new();
    for ((component, layer), pool) in pools {
        let Some((present, fit)) = fit(&pool.gram, parents) else { continue };
        for (at, &parent) in present.iter().enumerate() {
            let test = if layer.is_none() { tests.get(&(component.clone(), parent)).copied() } else { None };
            rows.push(MergeRow {
                component: component.clone(),
                layer,
                parent: session.case.parents[parent].name.clone(),
                weight: fit.weights[at],
                alone: fit.alone[at],
                gain: fit.gain[at],
                share: fit.share,
                roundings: (pool.rounding > 0.0).then(|| (pool.left / pool.rounding).sqrt()),
                effect: test.map(|t| t.effect),
                z: test.map(|t| t.z),
                log10_p: test.map(|t| t.log10_p),
                tensors: pool.tensors,
                elements: pool.elements,
            });
        }
    }
    rows
}

/// The fit over the parents that have any of these tensors.
fn fit(gram: &[f64], parents: usize) -> Option<(Vec<usize>, Mixture)> {
    let n = parents + 1;
    let mut present: Vec<usize> = (0..parents).filter(|&p| gram[p * n + p] > 0.0).collect();
    if present.len() < 2 {
        return None;
    }
    present.push(parents);
    let own: Vec<f64> = present.iter().flat_map(|&a| present.iter().map(move |&b| gram[a * n + b])).collect();
    present.pop();
    let fit = mixture(&own, present.len())?;
    Some((present, fit))
}

/// Centred products of one tensor; `None` if fewer than two parents have it or something is not finite or constant.
fn tensor(session: &Session, unit: &Unit, figures: &TensorFigures) -> Option<Pool> {
    let (parents, last) = (session.case.parents.len(), session.measured.plan.last());
    let gram = &figures.gram;
    let slot = |p: usize| {
        let model = session.measured.plan.series + p;
        unit.slot(model).filter(|&slot| gram.nonfinite(slot) == 0)
    };
    let slots: Vec<Option<usize>> = (0..parents).map(slot).chain([Some(last)]).collect();
    if slots.iter().flatten().count() < 3 || gram.nonfinite(last) > 0 || gram.elements() == 0 {
        return None;
    }
    let n = gram.elements() as f64;
    let product = |a: &Option<usize>, b: &Option<usize>| match (a, b) {
        (Some(a), Some(b)) => gram.product(*a, *b) - gram.sum(*a) * gram.sum(*b) / n,
        _ => 0.0,
    };
    let products: Vec<f64> = slots.iter().flat_map(|a| slots.iter().map(|b| product(a, b))).collect();
    if !products.iter().all(|value| value.is_finite()) {
        return None;
    }
    // The same rounding as for a checkpoint on the line between two others: the subject's, and those of the parents.
    let bits = unit.members[last].dtype.fraction_bits().unwrap_or(52).min(52);
    let square = gram.product(last, last);
    // Sums of products hold 1e-15 of the squared norm; f32 weights are rounded more finely than that can show.
    let rounding = square * (2f64.powi(-2 * bits - 2) / 3.0).max(1e-13);
    let left = fit(&products, parents).map_or(products[products.len() - 1], |(_, fit)| fit.left);
    Some(Pool { gram: products, left, rounding, elements: gram.elements(), tensors: 1 })
}

#[derive(Clone, Copy)]
struct Test {
    z: f64,
    effect: f64,
    log10_p: f64,
}

/// The column test of the final checkpoint and each parent after the other parents are projected out of both.
fn tests(session: &Session) -> BTreeMap<(String, usize), Test> {
    let mut tests = BTreeMap::new();
    for (model, figures) in &session.measured.kept.given_others {
        for figure in figures {
            if let Some(test) = aligned(figure.sums, figure.tensors as f64, figure.hidden) {
                let test = Test { z: test.z, effect: test.effect, log10_p: test.log10_p };
                tests.insert((figure.component.clone(), model.saturating_sub(session.measured.plan.series)), test);
            }
        }
    }
    tests
}
