//! From sums to rows: the evidence tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::Session;
use super::path::{self, Trails};
use super::{clock, copies, merge, register, replay, repository, start, surgery, tokens, walk};
use scratchproof_checkpoint::{Checkpoint, Residual as Axis};
use scratchproof_disguise::{Found, Observation};
use scratchproof_evidence::{
    CalibrationRow, ComponentRow, DisguiseRow, Evidence, ITSELF, ITSELF_FIRST, LayerMapRow, PairRow, PartialRow,
    Reference, RunRow, TensorRow, TimelineRow, TrajectoryRow,
};
use scratchproof_finding::chain::DecayFacts;
use scratchproof_plan::{PairFigures, Residual, ResidualFigure, TensorFigures, Unit, layer_map};
use scratchproof_record::Event;
use scratchproof_record::Run;
use scratchproof_stats::{Aligned, aligned, vector};

pub fn evidence(session: &Session, trails: &Trails, decay: &DecayFacts) -> Evidence {
    let residual = Residual::new(&session.plan, &session.measured);
    let components = residual.as_ref().map_or(Vec::new(), |r| components(session, r));
    let components = tokens::stand_in(session, components);
    let mut calibration = residual.as_ref().map_or(Vec::new(), |r| calibration(session, r));
    calibration.extend(session.tokens.calibration.iter().cloned());
    let mut evidence = Evidence {
        trajectory: trajectory(session),
        pairs: pairs(session),
        copies: copies::rows(session),
        layer_map: layer_maps(session),
        tensors: tensors(session),
        runs: runs(&session.record.record.runs),
        timeline: timeline(&session.record.record.events),
        releases: register::rows(&session.record, Some(session.subject())),
        start: start::rows(session),
        replay: replay::rows(&session.replay),
        chain: walk::bounded(session, path::chain(session, trails, &components)),
        path: walk::rows(session, trails),
        returned: surgery::returned_rows(session),
        decay: clock::rows(decay, session.case.policy.clock_tolerance),
        calibration,
        partial: residual.as_ref().map_or(Vec::new(), |r| partial(session, r)),
        merge: merge::rows(session, residual.as_ref()),
        components,
        disguise: disguise(session),
        tokenizers: session.tokens.tokenizers.clone(),
        cka: session.tokens.cka.clone(),
        ..Evidence::default()
    };
    repository::tables(session.record.record.repository.as_ref(), &mut evidence);
    evidence
}

fn disguise(session: &Session) -> Vec<DisguiseRow> {
    let rows = |((_, reference), found): ((usize, Reference), &Found)| -> Vec<DisguiseRow> {
        let row = |o: &Observation| DisguiseRow {
            reference: reference.clone(),
            question: o.question.name().to_owned(),
            frame: o.frame.to_owned(),
            between: o.between.clone(),
            component: o.component.clone(),
            layer_subject: o.layer_subject,
            layer_parent: o.layer_other,
            agreed: o.agreed,
            expected: o.expected,
            of: o.of,
            z: o.z,
            log10_p: Some(o.log10_p),
            effect: Some(o.effect),
            in_place: o.in_place,
        };
        found.observations.iter().map(row).collect()
    };
    references(session).into_iter().zip(&session.found).flat_map(rows).collect()
}

/// What every model after the series is.
pub(super) fn references(session: &Session) -> Vec<(usize, Reference)> {
    let parents = session.case.parents.iter().map(|p| Reference::Parent(p.name.clone()));
    let controls = session.case.controls.iter().map(|c| Reference::Control(c.name.clone()));
    let relabelled = session.material.relabelled.iter();
    let relabelled = relabelled.map(|(parent, _)| Reference::Relabelled(session.case.parents[*parent].name.clone()));
    parents.chain(controls).chain(relabelled).enumerate().map(|(i, r)| (session.plan.series + i, r)).collect()
}

/// What checkpoint `t` is compared with: model and name. The first has no start and nothing before it.
fn compared(session: &Session, t: usize) -> Vec<(usize, Reference)> {
    let own = if t > 0 { vec![(0, Reference::Init), (t - 1, Reference::Previous)] } else { Vec::new() };
    own.into_iter().chain(references(session)).collect()
}

fn trajectory(session: &Session) -> Vec<TrajectoryRow> {
    let rows = |(unit, figures): (&Unit, &TensorFigures)| {
        if !unit.in_subject() {
            return Vec::new();
        }
        let mut rows = Vec::new();
        for (t, &step) in session.steps.iter().enumerate() {
            // The first checkpoint against itself starts the curve of similarity to the start.
            let own = (t == 0 && session.is_series()).then_some((0, Reference::Init));
            for (model, reference) in own.into_iter().chain(compared(session, t)) {
                let Some(slot) = unit.members.iter().position(|m| m.model == model) else { continue };
                rows.push(row(unit, figures, step, (t, slot), reference));
            }
        }
        rows
    };
    let mut all: Vec<TrajectoryRow> =
        session.plan.units.par_iter().zip(&session.measured.tensors).flat_map_iter(rows).collect();
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
fn pairs(session: &Session) -> Vec<PairRow> {
    let last = session.plan.last();
    let mut rows = Vec::new();
    let twins: BTreeMap<(usize, usize), &PairFigures> =
        session.twins.iter().filter(|f| f.models.0 == last).map(|f| ((f.unit, f.models.1), f)).collect();
    for (model, reference) in references(session) {
        for (index, (unit, figures)) in session.plan.units.iter().zip(&session.measured.tensors).enumerate() {
            let slot = unit.members.iter().position(|m| m.model == model);
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
                mean_abs_diff: twins.get(&(index, model)).and_then(|f| f.mean_abs_diff),
                relative_l2: Some((pair.distance2 / pair.squares[0]).sqrt()).filter(|v| v.is_finite()),
                p99_diff: twins.get(&(index, model)).and_then(|f| f.p99).map(|[a, b]| (a - b).abs()),
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

fn components(session: &Session, residual: &Residual) -> Vec<ComponentRow> {
    let pairs: Vec<_> = session
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
            residual.figures(t, model).into_iter().filter(|f| f.tensors > 0).map(move |figure| {
                let test = test(&figure);
                ComponentRow {
                    step,
                    component: figure.component,
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
fn calibration(session: &Session, residual: &Residual) -> Vec<CalibrationRow> {
    let of = |model: &Reference, against: String, figures: Vec<ResidualFigure>| {
        figures
            .into_iter()
            .filter(|f| f.tensors > 0)
            .map(|figure| {
                let test = test(&figure);
                CalibrationRow {
                    model: model.to_string(),
                    against: against.clone(),
                    component: figure.component,
                    effect: test.map(|t| t.effect),
                    z: test.map(|t| t.z),
                    log10_p: test.map(|t| t.log10_p),
                    rows: figure.rows as u64,
                }
            })
            .collect::<Vec<_>>()
    };
    let references = references(session);
    let mut rows = Vec::new();
    for (p, parent) in references.iter().filter(|(_, r)| matches!(r, Reference::Parent(_))) {
        // Whether parents are relatives of each other; a merge is judged by it.
        let others = references
            .iter()
            .filter(|(o, r)| matches!(r, Reference::Control(_)) || o != p && matches!(r, Reference::Parent(_)));
        for (c, control) in others {
            rows.extend(of(parent, control.to_string(), residual.figures(*p, *c)));
        }
        rows.extend(of(parent, "perturbed".into(), residual.perturbed_figures(*p)));
    }
    rows
}

fn partial(session: &Session, residual: &Residual) -> Vec<PartialRow> {
    let last = session.plan.last();
    if last == 0 {
        return Vec::new();
    }
    let parents = references(session).into_iter().filter_map(|(model, reference)| match reference {
        Reference::Parent(name) => Some((model, name)),
        _ => None,
    });
    parents
        .flat_map(|(model, parent)| {
            residual.partial_figures(last, model, &[0]).into_iter().filter(|f| f.tensors > 0).map(move |figure| {
                let test = test(&figure);
                PartialRow {
                    step: session.steps[last],
                    component: figure.component,
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
fn layer_maps(session: &Session) -> Vec<LayerMapRow> {
    let (first, last) = (0, session.plan.last());
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
    let relabelled = session.material.relabelled.iter().enumerate();
    let numbers: BTreeMap<usize, &BTreeMap<u32, u32>> = relabelled
        .filter_map(|(at, (parent, _))| {
            let model = session.plan.series + session.plan.references + at;
            Some((model, &session.found[*parent].relabelling.as_ref()?.layers))
        })
        .collect();
    let mut rows = Vec::new();
    for (name, own, other) in wanted {
        for map in layer_map(&session.plan, &session.measured, own, other) {
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

fn tensors(session: &Session) -> Vec<TensorRow> {
    let mut models: Vec<(String, &Checkpoint)> = vec![("subject".into(), session.subject())];
    let references = references(session).into_iter().zip(&session.material.references);
    models.extend(references.map(|((_, reference), checkpoint)| (reference.to_string(), checkpoint.as_ref())));
    let mut rows = Vec::new();
    for (model, checkpoint) in models {
        rows.extend(checkpoint.tensors.iter().map(|tensor| {
            let axis = match tensor.role.residual {
                Axis::Rows => "rows",
                Axis::Columns => "columns",
                Axis::Vector => "vector",
                Axis::None => "none",
            };
            let sizes: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
            TensorRow {
                model: model.clone(),
                tensor: tensor.name.clone(),
                component: tensor.role.judged_as().to_owned(),
                family: tensor.role.family.clone(),
                layer: tensor.role.layer,
                expert: tensor.role.expert,
                residual: axis.to_owned(),
                dtype: tensor.dtype.name().to_owned(),
                shape: sizes.join("x"),
                elements: tensor.elements() as u64,
                bytes: tensor.bytes,
                known: tensor.role.known,
                constant: tensor.role.constant,
            }
        }));
    }
    rows
}

/// Every logged value.
pub(super) fn runs(runs: &[Run]) -> Vec<RunRow> {
    let mut rows = Vec::with_capacity(runs.iter().flat_map(|run| run.history.columns.values()).map(Vec::len).sum());
    for run in runs {
        let id: Arc<str> = run.id.as_str().into();
        for (key, values) in &run.history.columns {
            let key: Arc<str> = key.as_str().into();
            rows.extend(values.iter().map(|(step, value)| RunRow {
                run: Arc::clone(&id),
                key: Arc::clone(&key),
                step: *step,
                value: Some(*value),
            }));
        }
    }
    rows
}

/// Every dated fact.
pub(super) fn timeline(events: &[Event]) -> Vec<TimelineRow> {
    let text = |at: &chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let rows = events.iter().map(|event| TimelineRow {
        at: text(&event.at),
        until: event.until.as_ref().map(text),
        what: event.what.clone(),
        source: event.source.clone(),
        grade: event.grade.name().to_owned(),
    });
    rows.collect()
}
