//! Pairs of models element by element, as rows of evidence and as facts for the judge.

use std::ops::Range;

use crate::session::{Session, references};
use scratchproof_evidence::{CopyRow, Reference};
use scratchproof_finding::parent::{Cast, CopyFigure};
use scratchproof_kernel::Rounding;
use scratchproof_measurements::{Elementwise, Unit};
use scratchproof_stats::log10_coincidences;

/// Blocks of rows that a cell lists.
const LISTED: usize = 32;

/// Every pair of tensors that was read twice, with what the other model is.
fn pairs<'a>(session: &'a Session) -> impl Iterator<Item = (&'a Unit, &'a Elementwise, i64, Reference)> {
    let references = references(session);
    session.measured.elementwise.iter().filter_map(move |figures| {
        let (_, reference) = references.iter().find(|(model, _)| *model == figures.models.1)?;
        Some((
            &session.measured.plan.units[figures.unit],
            figures,
            session.measured.steps[figures.models.0],
            reference.clone(),
        ))
    })
}

pub fn rows(session: &Session) -> Vec<CopyRow> {
    let mut rows: Vec<CopyRow> = pairs(session)
        .map(|(unit, figures, step, reference)| CopyRow {
            step,
            tensor: unit.tensor.clone(),
            component: unit.role.judged_as().to_owned(),
            family: unit.role.family.clone(),
            layer: unit.role.layer,
            expert: unit.role.expert,
            reference,
            elements: unit.elements() as u64,
            formats: formats(figures),
            rounding: figures.rounding.map(|rounding| name(rounding).to_owned()),
            equal: figures.equal,
            equal_shifted: figures.shifted,
            eight_bits: figures.eight_bits,
            rows: figures.rows,
            equal_rows: figures.equal_rows(),
            blocks: ranges(&figures.blocks),
            extremes: figures.extremes.1,
            extremes_shared: figures.extremes.0,
            extremes_log10_p: Some(log10_coincidences(
                figures.extremes.0,
                figures.extremes.1,
                figures.extremes.1,
                unit.elements() as u64,
            )),
            proportional_rows: figures.decayed.map_or(0, |d| d.rows),
            ratio: figures.decayed.map(|d| d.ratio),
            ratio_sd: figures.decayed.map(|d| d.sd),
            rest: figures.rest,
        })
        .collect();
    rows.sort_by(|a, b| (a.step, &a.reference, &a.tensor).cmp(&(b.step, &b.reference, &b.tensor)));
    rows
}

/// The matrices that can be evidence of a copy.
pub fn figures(session: &Session) -> Vec<CopyFigure> {
    pairs(session)
        .filter(|(unit, figures, ..)| unit.role.known && unit.view.is_some() && figures.row > 1)
        .map(|(unit, figures, step, reference)| CopyFigure {
            reference,
            tensor: unit.tensor.clone(),
            component: unit.role.judged_as().to_owned(),
            layer: unit.role.layer,
            step,
            elements: unit.elements() as u64,
            rows: figures.rows,
            row: figures.row as u64,
            // Equal rows of a formula are none of anybody's.
            blocks: if unit.can_be_copied() { figures.blocks.clone() } else { Vec::new() },
            cast: figures.rounding.map(|rounding| Cast {
                formats: formats(figures).split(' ').map(str::to_owned).collect(),
                nearest: rounding == Rounding::Nearest,
            }),
            shifted: figures.shifted,
            equal: figures.equal,
            eight_bits: figures.eight_bits,
            proportional: figures.decayed.map(|d| (d.rows, d.ratio, d.sd)),
            rest: figures.rest,
        })
        .collect()
}

fn formats(figures: &Elementwise) -> String {
    let [own, other] = figures.formats;
    if own == other { own.to_string() } else { format!("{own} {other}") }
}

fn name(rounding: Rounding) -> &'static str {
    match rounding {
        Rounding::Nearest => "nearest",
        Rounding::Truncated => "truncated",
    }
}

fn ranges(blocks: &[Range<u64>]) -> String {
    let mut text = scratchproof_finding::parent::ranges(&blocks[..blocks.len().min(LISTED)]);
    if blocks.len() > LISTED {
        text.push_str(", ...");
    }
    text
}
