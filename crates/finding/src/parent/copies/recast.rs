//! Whole matrices that are the parent's but for a rounding to fewer bits.

use super::super::ParentFacts;
use super::super::parts::Controls;
use super::{Copied, CopyFigure, by_component, is_parent, others};
use crate::{Code, Grade, Judgement};
use scratchproof_texts::text;

/// Share of elements within a rounding from which a matrix is a re-cast copy: the rest are too small for the format's normal
/// range.
const RE_CAST: f64 = 0.99;

/// Elements of a matrix below which that share says little.
const LEAST_ELEMENTS: u64 = 256;

/// Whole matrices that differ from the parent's by no more than a rounding to eight bits, on whatever scale it was made:
/// re-cast copies (f8 with block scales, eight-bit integers for most values), component by component. Training moves small
/// weights by more than a sixteenth of themselves long before it moves large ones.
pub(in super::super) fn eight_bits(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    controls: &Controls,
    seeded: bool,
) {
    let close = |figure: &CopyFigure| figure.eight_bits.is_some_and(|share| share >= RE_CAST);
    let whole = |figure: &CopyFigure| figure.equal.is_some_and(|share| share >= RE_CAST);
    if seeded {
        return;
    }
    let found = facts
        .copies
        .iter()
        .filter(|f| is_parent(&f.reference, parent) && close(f) && !whole(f) && f.elements >= LEAST_ELEMENTS)
        .filter(|f| !others(facts, f, controls).any(close));
    for (component, own) in by_component(found.map(|f| (f.component.as_str(), f))) {
        let Some(example) = own.iter().max_by_key(|f| (f.elements, f.step)) else { continue };
        let copied = Copied::new((parent, component), own.iter().map(|f| (f.tensor.as_str(), f.layer, f.step)));
        let count = copied.tensors.len();
        let share = example.eight_bits.unwrap_or(0.0);
        let message = text!(
            "parent/re-cast/eight-bits",
            parent,
            count,
            place = copied.place(),
            tensor = &example.tensor,
            share,
            elements = example.elements,
            controls = facts.controls.len()
        );
        let example = (example.tensor.as_str(), example.layer);
        let mut finding = copied.finding(Code::ParentRecast, Grade::Conclusive, message, example);
        finding.statistic = Some(count as f64);
        finding.effect = Some(share);
        finding.n = Some(own.iter().map(|f| f.elements).sum());
        finding.null = text!("parent/null/eight-bits");
        finding.evidence = Some("evidence/copies.parquet".into());
        judgement.push(finding);
    }
}
