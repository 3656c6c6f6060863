//! The figures of the published tables, layer by layer.

use std::collections::BTreeMap;

use super::Work;
use scratchproof_evidence::{Evidence, PairRow, Reference};
use scratchproof_report::compare::{LayerFigures, RouterFigures};

/// The subject against every other model, tensor by tensor of the language model's layers: by model, family and layer.
pub(super) fn layers(work: &Work<'_>, evidence: &Evidence) -> Vec<LayerFigures> {
    let measured = work.session.measured;
    let name = |row: &PairRow| match &row.reference {
        Reference::Parent(name) | Reference::Control(name) | Reference::Relabelled(name) => name.clone(),
        Reference::Init | Reference::Previous => String::new(),
    };
    let beside: BTreeMap<(&str, String), &PairRow> =
        evidence.pairs.iter().map(|row| ((row.tensor.as_str(), name(row)), row)).collect();
    let subject = measured.plan.last();
    let mut rows = Vec::new();
    for other in (0..measured.plan.series + measured.plan.references).filter(|other| *other != subject) {
        let second = work.name(other);
        let mut own = Vec::new();
        for (unit, figures) in measured.plan.units.iter().zip(&measured.tensors) {
            let (Some(a), Some(b), Some(layer)) = (unit.slot(subject), unit.slot(other), unit.role.layer) else {
                continue;
            };
            if !unit.in_subject() || unit.role.constant || !unit.role.tower.is_empty() {
                continue;
            }
            let pair = figures.gram.pair(a, b);
            let beside = beside.get(&(unit.tensor.as_str(), second.clone()));
            let scale = (pair.squares[0] * pair.squares[1]).sqrt();
            let shuffled = pair.sums[0] * pair.sums[1] / pair.elements as f64 / scale;
            own.push(LayerFigures {
                first: work.name(subject),
                second: second.clone(),
                family: unit.role.family.clone(),
                layer,
                expert: unit.role.expert,
                tensor: unit.tensor.clone(),
                elements: pair.elements,
                cosine: pair.cosine(),
                shuffled_cosine: Some(shuffled).filter(|value| value.is_finite()),
                pearson: pair.pearson(),
                mean_abs_diff: beside.and_then(|row| row.mean_abs_diff),
                relative_l2: Some((pair.distance2 / pair.squares[0]).sqrt()).filter(|value| value.is_finite()),
                p99_diff: beside.and_then(|row| row.p99_diff),
                cv_diff: beside.and_then(|row| row.cv_diff),
            });
        }
        own.sort_by(|a, b| (&a.family, a.layer, a.expert, &a.tensor).cmp(&(&b.family, b.layer, b.expert, &b.tensor)));
        rows.extend(own);
    }
    rows
}

impl Work<'_> {
    /// Routers of the same layers, the experts assigned to each other.
    pub(super) fn router_figures(&self) -> Vec<RouterFigures> {
        let Some((subject, others)) = self.routers.split_first() else { return Vec::new() };
        let mut rows = Vec::new();
        for (at, theirs) in others.iter().enumerate() {
            for (layer, own) in subject {
                let Some(other) = theirs.get(layer) else { continue };
                let half = own.columns / 2;
                if let (Some(found), Some(shuffled)) = (own.assigned(other, 0), own.assigned(other, half)) {
                    rows.push(RouterFigures {
                        first: self.name(0),
                        second: self.name(at + 1),
                        layer: *layer,
                        experts: [own.rows, other.rows],
                        aligned_row_cosine: found.cosine,
                        shuffled_row_cosine: shuffled.cosine,
                        in_place: found.in_place,
                    });
                }
            }
        }
        rows
    }
}
