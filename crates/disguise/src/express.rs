//! The other model written in the subject's coordinates, so that the ordinary measurement can be made of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::found::Relabelling;
use super::frame::Frame;
use super::matrix::{Function, Slot};
use super::weights::{TokenRows, Weights};
use scratchproof_checkpoint::{Checkpoint, Component, Fill, Part};
use scratchproof_error::Result;

/// What a part of the other model is found by: component family without its expert's name, layer, MLP.
type Key = (String, Option<u32>, Option<Slot>);

/// How the rows of one part are found.
enum RowsOf {
    /// Row i is row i.
    InOrder,
    /// Row i is the row named there; `None` is a row of zeros, which takes part in nothing.
    Picked(Vec<Option<usize>>),
}

/// The other model with the subject's tensors, names and shapes. Rows and dimensions without a counterpart are zero;
/// tensors without one are left out.
///
/// # Errors
/// If norm weights cannot be read.
pub fn express(
    own: &Checkpoint,
    other: &Arc<Checkpoint>,
    relabelling: &Relabelling,
    tokens: Option<&TokenRows>,
) -> Result<Checkpoint> {
    let uri = format!("{} ({})", other.uri, described(relabelling));
    let (ours, theirs) = (Weights::new(own)?, Weights::new(other)?);
    let mut sources: BTreeMap<Key, Part> = BTreeMap::new();
    for part in other.parts().into_iter().filter(|p| p.role.tower.is_empty() && p.role.known && !p.role.constant) {
        sources.entry(key(&part)).or_insert(part);
    }
    let hidden = (own.hidden_size().unwrap_or(0), other.hidden_size().unwrap_or(0));
    let frame = Arc::new(relabelling.frame.clone());
    Ok(Checkpoint::assembled(uri, own, |part| {
        let (source, rows) = source(part, &sources, relabelling, tokens)?;
        if part.residual != source.residual || part.residual && (part.cols, source.cols) != hidden {
            return None;
        }
        if !part.residual && part.cols != source.cols || matches!(rows, RowsOf::InOrder) && part.rows != source.rows {
            return None;
        }
        let turned = matches!(*frame, Frame::Rotated(_));
        // A rotation has no norm weights of its own: they are folded in before, and the subject's taken out after.
        if turned && part.role.component == Component::Norms {
            return None;
        }
        let before = |weights: &Option<Weights<'_>>, part: &Part, layer: Option<u32>| {
            let weights = weights.as_ref()?;
            if part.role.family == "head" {
                return weights.before_head();
            }
            weights.before(layer?, Function::of(part)?)
        };
        let (fold, unfold) = if turned && part.residual {
            (before(&theirs, &source, source.role.layer), before(&ours, part, part.role.layer))
        } else {
            (None, None)
        };
        let (other, source, frame) = (Arc::clone(other), source.clone(), Arc::clone(&frame));
        let (wanted, residual) = (part.rows, part.residual);
        let fill: Fill = Arc::new(move || {
            let mut values = other.matrix(&source)?;
            if let Some(fold) = &fold {
                values
                    .chunks_exact_mut(source.cols)
                    .for_each(|row| row.iter_mut().zip(fold).for_each(|(v, f)| *v *= f));
            }
            let values = gather(values, source.cols, wanted, &rows);
            if !residual {
                return Ok(values);
            }
            let mut values = frame.express(&values, hidden.1, hidden.0);
            if let Some(unfold) = &unfold {
                let divide = |(v, f): (&mut f32, &f32)| *v = if *f == 0.0 { 0.0 } else { *v / f };
                values.chunks_exact_mut(hidden.0).for_each(|row| row.iter_mut().zip(unfold).for_each(divide));
            }
            Ok(values)
        });
        Some(fill)
    }))
}

/// The disguise in words.
fn described(relabelling: &Relabelling) -> String {
    if relabelling.changes.is_empty() {
        "in the subject's coordinates".into()
    } else {
        relabelling.changes.iter().map(|change| change.text().english()).collect::<Vec<_>>().join(", ")
    }
}

fn slot(part: &Part) -> Option<Slot> {
    Function::of(part).and_then(Function::slot)
}

/// The family without the kind of MLP it is in.
fn key(part: &Part) -> Key {
    let family = ["experts.", "shared_experts.", "shared_expert."]
        .iter()
        .find_map(|prefix| part.role.family.strip_prefix(prefix))
        .unwrap_or(&part.role.family);
    (family.to_owned(), part.role.layer, slot(part))
}

fn source(
    part: &Part,
    sources: &BTreeMap<Key, Part>,
    relabelling: &Relabelling,
    tokens: Option<&TokenRows>,
) -> Option<(Part, RowsOf)> {
    let (family, layer, slot) = key(part);
    let Some(layer) = layer else {
        let source = sources.get(&(family, None, slot))?;
        let by_token = matches!(part.role.component, Component::Embedding | Component::Head) && part.rows > 1;
        let rows = if !by_token {
            RowsOf::InOrder
        } else if let Some(tokens) = tokens {
            let known = |i: usize| tokens.get(i).copied().flatten().map(|j| j as usize).filter(|j| *j < source.rows);
            RowsOf::Picked((0..part.rows).map(known).collect())
        } else if part.rows == source.rows {
            RowsOf::InOrder
        } else {
            RowsOf::Picked((0..part.rows).map(|i| (i < source.rows).then_some(i)).collect())
        };
        return Some((source.clone(), rows));
    };
    let theirs = *relabelling.layers.get(&layer)?;
    if let Some(slot) = slot {
        let (other, order) = relabelling.mlps.get(&(layer, slot))?;
        let source = sources.get(&(family, Some(theirs), Some(*other)))?;
        return Some((source.clone(), RowsOf::Picked(order.clone())));
    }
    let source = sources.get(&(family.clone(), Some(theirs), None))?;
    let rows = match (part.role.component, relabelling.heads.get(&layer)) {
        (Component::Attention, Some([queries, keys])) if part.rows > 1 => {
            let base = family.strip_suffix(".bias").unwrap_or(&family);
            match base {
                "q_proj" | "o_proj" => by_block(queries, part.rows),
                "k_proj" | "v_proj" => by_block(keys, part.rows),
                _ => RowsOf::InOrder,
            }
        }
        (Component::Router, _) if part.rows > 1 => {
            let expert = |e: u32| match relabelling.mlps.get(&(layer, Slot::Expert(e))) {
                Some((Slot::Expert(other), _)) => Some(*other as usize),
                _ => None,
            };
            let order: Vec<Option<usize>> = (0..).take(part.rows).map(expert).collect();
            // Experts that were not looked at stand where they stood.
            if order.iter().all(Option::is_none) { RowsOf::InOrder } else { RowsOf::Picked(order) }
        }
        _ => RowsOf::InOrder,
    };
    Some((source.clone(), rows))
}

/// An order of heads as one of their rows.
fn by_block(order: &[Option<usize>], rows: usize) -> RowsOf {
    if order.is_empty() || !rows.is_multiple_of(order.len()) {
        return RowsOf::InOrder;
    }
    let dim = rows / order.len();
    RowsOf::Picked(order.iter().flat_map(|head| (0..dim).map(move |i| head.map(|h| h * dim + i))).collect())
}

fn gather(values: Vec<f32>, cols: usize, wanted: usize, rows: &RowsOf) -> Vec<f32> {
    let RowsOf::Picked(picked) = rows else { return values };
    let mut out = vec![0.0; wanted * cols];
    for (into, from) in out.chunks_exact_mut(cols.max(1)).zip(picked) {
        if let Some(from) = from.filter(|from| (from + 1) * cols <= values.len()) {
            into.copy_from_slice(&values[from * cols..(from + 1) * cols]);
        }
    }
    out
}
