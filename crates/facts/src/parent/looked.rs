//! What the tests rest on: how many of the subject's layers, matrices and rows, as rows of evidence and in a sentence.

use std::collections::{BTreeMap, BTreeSet};

use crate::session::{Session, references};
use scratchproof_evidence::LookedRow;
use scratchproof_measurements::{Looked, Unit};
use scratchproof_texts::{Text, text};

/// Standard deviations at which a correlation counts as shown.
const SHOWN: f64 = 5.0;

/// Counts of one component.
#[derive(Default)]
struct Count<'a> {
    layers: [BTreeSet<(&'a str, u32)>; 2],
    matrices: [u64; 2],
    rows: [u64; 2],
    hidden: usize,
}

/// By test and component.
#[must_use]
pub fn rows(session: &Session) -> Vec<LookedRow> {
    let units = || session.measured.plan.units.iter().filter(|unit| unit.in_subject() && unit.view.is_some());
    let sizes = session.measured.sizes();
    // Rows in the file, whether they were drawn or not; of a matrix that has the residual axis as rows all are there, shorter.
    let whole = |unit: &Unit| match unit.view {
        Some(view) if view.transposed => view.count(),
        Some(view) => view.count() * sizes(unit) / unit.elements().max(1),
        None => 0,
    };
    let read = |unit: &Unit| unit.view.map_or(0, |view| view.count());
    let mut all = counted("elements", units(), whole, |unit| Some(read(unit)));
    // A tensor that one model alone has is compared with nothing.
    all.extend(counted("matrix", units(), whole, |unit| Some(unit.sampled.len())));
    // Those that are added to a sum have no rows of their own there.
    all.extend(counted("model", units(), whole, |unit| (!unit.added().is_empty()).then_some(unit.kept.len())));
    for ((_, reference), found) in references(session).into_iter().zip(&session.measured.found) {
        all.extend(found.looked.iter().map(|looked| row(looked, &reference.to_string(), session.measured.plan.hidden)));
    }
    of_whole(session, &mut all);
    all
}

/// Where rows were drawn, how many there are in the files of what a search looked at.
fn of_whole(session: &Session, rows: &mut [LookedRow]) {
    if session.measured.sample.is_none() {
        return;
    }
    let sizes = session.measured.sizes();
    let mut elements: BTreeMap<&str, (u128, u128)> = BTreeMap::new();
    for unit in session.measured.plan.units.iter().filter(|unit| unit.in_subject() && unit.view.is_some()) {
        let own = elements.entry(unit.role.judged_as()).or_default();
        *own = (own.0 + sizes(unit) as u128, own.1 + unit.elements() as u128);
    }
    for row in rows.iter_mut().filter(|row| row.reference.is_some()) {
        let Some((whole, drawn)) = elements.get(row.component.as_str()) else { continue };
        row.of_rows = u64::try_from(u128::from(row.of_rows) * whole / (*drawn).max(1)).unwrap_or(u64::MAX);
    }
}

fn counted<'a>(
    test: &str,
    units: impl Iterator<Item = &'a Unit>,
    whole: impl Fn(&Unit) -> usize,
    rows: impl Fn(&Unit) -> Option<usize>,
) -> Vec<LookedRow> {
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    for unit in units {
        let Some(view) = unit.view else { continue };
        let count = counts.entry(unit.role.judged_as()).or_default();
        let layer = unit.role.layer.map(|layer| (unit.role.tower.as_str(), layer));
        let looked = rows(unit);
        count.hidden = view.hidden();
        count.layers[1].extend(layer);
        count.matrices[1] += 1;
        count.rows[1] += whole(unit) as u64;
        if let Some(rows) = looked {
            count.layers[0].extend(layer);
            count.matrices[0] += 1;
            count.rows[0] += rows as u64;
        }
    }
    let row = |(component, count): (&str, Count)| LookedRow {
        test: test.to_owned(),
        reference: None,
        component: component.to_owned(),
        layers: count.layers[0].len() as u64,
        of_layers: count.layers[1].len() as u64,
        matrices: count.matrices[0],
        of_matrices: count.matrices[1],
        rows: count.rows[0],
        of_rows: count.rows[1],
        smallest_correlation: least(count.rows[0], count.hidden).filter(|_| test == "model"),
    };
    counts.into_iter().map(row).collect()
}

fn row(looked: &Looked, reference: &str, hidden: Option<usize>) -> LookedRow {
    let fitted = looked.question == "frame";
    LookedRow {
        test: looked.question.clone(),
        reference: Some(reference.to_owned()),
        component: looked.component.clone(),
        layers: looked.layers,
        of_layers: looked.of_layers,
        matrices: looked.matrices,
        of_matrices: looked.of_matrices,
        rows: looked.rows,
        of_rows: looked.of_rows,
        smallest_correlation: hidden.and_then(|hidden| least(looked.rows, hidden)).filter(|_| fitted),
    }
}

/// A correlation r of n rows of length d has z = r sqrt(n d) (METHODS 2.1).
fn least(rows: u64, hidden: usize) -> Option<f64> {
    let least = SHOWN / ((rows as f64) * hidden as f64).sqrt();
    (least <= 1.0).then_some(least)
}

/// What the verdict's tests rest on, in two sentences; `drawn` where a share of the rows was read.
#[must_use]
pub fn sentences(rows: &[LookedRow], drawn: bool) -> Text {
    let sum = |list: &[&LookedRow], of: fn(&LookedRow) -> u64| list.iter().map(|row| of(row)).sum::<u64>();
    let model: Vec<&LookedRow> = rows.iter().filter(|row| row.test == "model").collect();
    let Some(layers) = model.iter().map(|row| row.layers).max() else { return Text::default() };
    let (read, all) = (sum(&model, |row| row.rows), sum(&model, |row| row.of_rows));
    let (matrices, of_matrices) = (sum(&model, |row| row.matrices), sum(&model, |row| row.of_matrices));
    let of_layers = model.iter().map(|row| row.of_layers).max();
    let least = model.iter().filter_map(|row| row.smallest_correlation).reduce(f64::max);
    let mut said = if drawn {
        text!("report/coverage/drawn", rows = read, all, matrices, of_matrices, layers, of_layers, least)
    } else {
        text!("report/coverage/model", rows = read, all, matrices, of_matrices, layers, of_layers, least)
    };
    let searched: Vec<&LookedRow> = rows.iter().filter(|row| row.reference.is_some()).collect();
    // The reference and question of which the smallest share was looked at.
    let part = |looked: u64, of: u64| looked as f64 / of.max(1) as f64;
    let fewest = |looked: fn(&LookedRow) -> u64, of: fn(&LookedRow) -> u64| {
        let share = |row: &&&LookedRow| part(looked(row), of(row));
        searched.iter().min_by(|a, b| share(a).total_cmp(&share(b))).map(|row| (looked(row), of(row)))
    };
    let layers = fewest(|row| row.layers, |row| row.of_layers);
    let matrices = fewest(|row| row.matrices, |row| row.of_matrices);
    let rows = fewest(|row| row.rows, |row| row.of_rows);
    if let (Some(layers), Some(matrices), Some(rows)) = (layers, matrices, rows) {
        said.push(text!(
            "report/coverage/search",
            layers = layers.0,
            of_layers = layers.1,
            matrices = matrices.0,
            of_matrices = matrices.1,
            share = part(rows.0, rows.1)
        ));
    }
    said
}
