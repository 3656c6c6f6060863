//! Checkpoints and models against each other: by tensor, by component and by layer.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::session::{Session, references};
use scratchproof_evidence::{
    CalibrationRow, ComponentRow, ITSELF, ITSELF_FIRST, LayerMapRow, PairRow, PartialRow, Reference, TrajectoryRow,
};
use scratchproof_measurements::{Axis, Elementwise, ResidualFigure, TensorFigures, Unit};
use scratchproof_stats::{Aligned, aligned, vector};

/// What checkpoint `t` is compared with: model and name. The first has no start and nothing before it.
fn compared(session: &Session, t: usize) -> Vec<(usize, Reference)> {
    let own = if t > 0 { vec![(0, Reference::Init), (t - 1, Reference::Previous)] } else { Vec::new() };
    own.into_iter().chain(references(session)).collect()
}

pub fn trajectory(session: &Session) -> Vec<TrajectoryRow> {
    let rows = |(unit, figures): (&Unit, &TensorFigures)| {
        if !unit.in_subject() {
            return Vec::new();
        }
        let mut rows = Vec::new();
        for (t, &step) in session.measured.steps.iter().enumerate() {
            // The first checkpoint against itself starts the curve of similarity to the start.
            let own = (t == 0 && session.is_series()).then_some((0, Reference::Init));
            for (model, reference) in own.into_iter().chain(compared(session, t)) {
                let Some(slot) = unit.slot(model) else { continue };
                rows.push(row(unit, figures, step, (t, slot), reference));
            }
        }
        rows
    };
    let mut all: Vec<TrajectoryRow> =
        session.measured.plan.units.par_iter().zip(&session.measured.tensors).flat_map_iter(rows).collect();
    all.sort_by(|a, b| (a.step, &a.tensor, &a.reference).cmp(&(b.step, &b.tensor, &b.reference)));
    all
}

fn row(
    unit: &Unit,
    figures: &TensorFigures,
    step: i64,
    (t, slot): (usize, usize),
    reference: Reference,
) -> TrajectoryRow {
    let pair = figures.gram.pair(t, slot);
    let pearson = pair.pearson();
    let test = tensor_test(unit, figures, t, slot, pearson);
    TrajectoryRow {
        step,
        tensor: unit.tensor.clone(),
        component: unit.role.judged_as().to_owned(),
        family: unit.role.family.clone(),
        layer: unit.role.layer,
        expert: unit.role.expert,
        reference,
        elements: pair.elements,
        cosine: pair.cosine(),
        pearson,
        l2: pair.l2(),
        relative_l2: pair.relative_l2(),
        rms: pair.rms(),
        z: test.map(|t| t.z),
        log10_p: test.map(|t| t.log10_p),
    }
}

/// The final checkpoint against every parent and control, with all field metrics. Mean absolute difference and the
/// 99th percentiles are of the second read.
pub fn pairs(session: &Session) -> Vec<PairRow> {
    let last = session.measured.plan.last();
    let mut rows = Vec::new();
    let elementwise: BTreeMap<(usize, usize), &Elementwise> =
        session.measured.elementwise.iter().filter(|f| f.models.0 == last).map(|f| ((f.unit, f.models.1), f)).collect();
    for (model, reference) in references(session) {
        for (index, (unit, figures)) in session.measured.plan.units.iter().zip(&session.measured.tensors).enumerate() {
            let slot = unit.slot(model);
            let (Some(slot), true) = (slot, unit.in_subject()) else { continue };
            let pair = figures.gram.pair(last, slot);
            let pearson = pair.pearson();
            let [own, other] = [0, 1].map(|k| pair.variation(k));
            rows.push(PairRow {
                tensor: unit.tensor.clone(),
                component: unit.role.judged_as().to_owned(),
                family: unit.role.family.clone(),
                layer: unit.role.layer,
                expert: unit.role.expert,
                reference: reference.clone(),
                elements: pair.elements,
                cosine: pair.cosine(),
                pearson,
                mean_abs_diff: elementwise.get(&(index, model)).and_then(|f| f.mean_abs_diff),
                relative_l2: Some((pair.distance2 / pair.squares[0]).sqrt()).filter(|v| v.is_finite()),
                p99_diff: elementwise.get(&(index, model)).and_then(|f| f.p99).map(|[a, b]| (a - b).abs()),
                cv_diff: own.zip(other).map(|(a, b)| (a - b).abs()),
                z: tensor_test(unit, figures, last, slot, pearson).map(|t| t.z),
            });
        }
    }
    rows
}

/// The column test of one tensor, or the vector's; none where no axis is exchangeable.
fn tensor_test(unit: &Unit, figures: &TensorFigures, a: usize, b: usize, pearson: Option<f64>) -> Option<Aligned> {
    match unit.view {
        Some(view) => {
            let key = (a.min(b), a.max(b));
            let (_, sums) = figures.columns.iter().find(|(pair, _)| *pair == key)?;
            aligned(*sums, 1.0, view.hidden())
        }
        None if unit.role.residual == Axis::Vector => vector(pearson?, figures.gram.elements()),
        None => None,
    }
}

fn test(figure: &ResidualFigure) -> Option<Aligned> {
    aligned(figure.sums, figure.tensors as f64, figure.hidden)
}

pub fn components(session: &Session) -> Vec<ComponentRow> {
    let pairs: Vec<_> = session
        .measured
        .steps
        .iter()
        .enumerate()
        .flat_map(|(t, &step)| {
            compared(session, t).into_iter().map(move |(model, reference)| (t, step, model, reference))
        })
        .collect();
    let mut rows: Vec<ComponentRow> = pairs
        .into_par_iter()
        .flat_map_iter(|(t, step, model, reference)| {
            session.measured.kept.between(t, model).iter().filter(|f| f.tensors > 0).map(move |figure| {
                let test = test(figure);
                ComponentRow {
                    step,
                    component: figure.component.clone(),
                    reference: reference.clone(),
                    effect: test.map(|t| t.effect),
                    z: test.map(|t| t.z),
                    log10_p: test.map(|t| t.log10_p),
                    rows: figure.rows as u64,
                    columns: figure.hidden as u64,
                }
            })
        })
        .collect();
    rows.sort_by(|a, b| (a.step, &a.reference, &a.component).cmp(&(b.step, &b.reference, &b.component)));
    rows
}

/// Parents against controls, against each other, and against copies of themselves with as much noise as weight.
pub fn calibration(session: &Session) -> Vec<CalibrationRow> {
    let of = |model: &Reference, against: String, figures: &[ResidualFigure]| {
        figures
            .iter()
            .filter(|f| f.tensors > 0)
            .map(|figure| {
                let test = test(figure);
                CalibrationRow {
                    model: model.to_string(),
                    against: against.clone(),
                    component: figure.component.clone(),
                    effect: test.map(|t| t.effect),
                    z: test.map(|t| t.z),
                    log10_p: test.map(|t| t.log10_p),
                    rows: figure.rows as u64,
                }
            })
            .collect::<Vec<_>>()
    };
    let (references, kept) = (references(session), &session.measured.kept);
    let mut rows = Vec::new();
    for (p, parent) in references.iter().filter(|(_, r)| matches!(r, Reference::Parent(_))) {
        // Whether parents are relatives of each other; a merge is judged by it.
        let others = references
            .iter()
            .filter(|(o, r)| matches!(r, Reference::Control(_)) || o != p && matches!(r, Reference::Parent(_)));
        for (c, control) in others {
            rows.extend(of(parent, control.to_string(), kept.between(*p, *c)));
        }
        let perturbed = kept.perturbed.iter().find(|(model, _)| model == p);
        rows.extend(perturbed.into_iter().flat_map(|(_, figures)| of(parent, "perturbed".into(), figures)));
    }
    rows
}

pub fn partial(session: &Session) -> Vec<PartialRow> {
    let last = session.measured.plan.last();
    if last == 0 {
        return Vec::new();
    }
    let parents = references(session).into_iter().filter_map(|(model, reference)| match reference {
        Reference::Parent(name) => Some((model, name)),
        _ => None,
    });
    parents
        .flat_map(|(model, parent)| {
            let given = session.measured.kept.given_start.iter().filter(move |(other, _)| *other == model);
            given.flat_map(|(_, figures)| figures).filter(|f| f.tensors > 0).map(move |figure| {
                let test = test(figure);
                PartialRow {
                    step: session.measured.steps[last],
                    component: figure.component.clone(),
                    parent: parent.clone(),
                    effect: test.map(|t| t.effect),
                    z: test.map(|t| t.z),
                    log10_p: test.map(|t| t.log10_p),
                    rows: figure.rows as u64,
                }
            })
        })
        .collect()
}

/// The layers of the final checkpoint against those of every parent and control, and against one another; those of the
/// first checkpoint against one another.
pub fn layer_maps(session: &Session) -> Vec<LayerMapRow> {
    let (first, last) = (0, session.measured.plan.last());
    let mut wanted: Vec<(String, usize, usize)> = Vec::new();
    for (model, reference) in references(session) {
        let name = match reference {
            Reference::Parent(name) | Reference::Control(name) => name,
            other => other.to_string(),
        };
        wanted.push((name, last, model));
    }
    // Names come from the case file: a parent called so keeps its rows to itself.
    for (name, model) in [(ITSELF, last), (ITSELF_FIRST, first)] {
        if wanted.iter().all(|(taken, ..)| taken != name) && (model == last || session.is_series()) {
            wanted.push((name.to_owned(), model, model));
        }
    }
    let relabelled = session.measured.relabelled.iter().enumerate();
    let numbers: BTreeMap<usize, &BTreeMap<u32, u32>> = relabelled
        .filter_map(|(at, parent)| {
            let model = session.measured.plan.series + session.measured.plan.references + at;
            Some((model, &session.measured.found.get(*parent)?.disguise.as_ref()?.layers))
        })
        .collect();
    let mut rows = Vec::new();
    for (name, own, other) in wanted {
        for map in session.measured.kept.layer_maps(own, other) {
            // What is written in the subject's coordinates has its layers' numbers; the table has the parent's own.
            let numbered = |layer: u32| numbers.get(&other).and_then(|n| n.get(&layer)).copied().unwrap_or(layer);
            rows.extend(map.cells.iter().map(|cell| {
                let test = aligned(cell.sums, cell.tensors as f64, map.hidden);
                LayerMapRow {
                    parent: name.clone(),
                    family: map.family.clone(),
                    layer_subject: cell.subject,
                    layer_parent: numbered(cell.other),
                    pearson: test.map(|t| t.effect),
                    z: test.map(|t| t.z),
                }
            }));
        }
    }
    rows
}
