//! What cannot be a coincidence of two trainings: equal tensors, equal rows, rows that share one factor.

mod decayed;
mod equal;
mod lines;
mod recast;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::ParentFacts;
use super::parts::{Controls, part_of};
use crate::{Code, Direction, Finding, Grade, Subject};
use scratchproof_case::Policy;
use scratchproof_evidence::Reference;
use scratchproof_stats::log10_upper_tail;
use scratchproof_texts::{Param, Text, text};

pub(super) use decayed::proportional;
pub(super) use equal::{rows, tensors};
pub(super) use lines::lines;
pub(super) use recast::eight_bits;

/// Fewest rows that are told of.
const LEAST_ROWS: u64 = 2;

/// Cosine of rows of one direction, as the kernel has it.
const ONE_DIRECTION: f64 = 0.999;

/// Tensors that a message names.
const NAMED: usize = 4;

/// One matrix of a checkpoint against one of a parent or a control, row by row.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct CopyFigure {
    pub reference: Reference,
    pub tensor: String,
    pub component: String,
    pub layer: Option<u32>,
    pub step: i64,
    pub elements: u64,
    /// Rows as stored, and elements of each.
    pub rows: u64,
    pub row: u64,
    /// Rows that are equal and not constant.
    pub blocks: Vec<Range<u64>>,
    /// If the two are equal only after one was brought to the other's number format.
    pub cast: Option<Cast>,
    /// Share of equal elements between unrelated models in these formats.
    pub shifted: Option<f64>,
    /// Share of equal elements.
    pub equal: Option<f64>,
    /// Share of elements that differ by no more than a rounding to eight bits.
    pub eight_bits: Option<f64>,
    /// Rows of one direction that are not equal: how many, their factor, its standard deviation.
    pub proportional: Option<(u64, f64, f64)>,
    /// Correlation over all other rows.
    pub rest: Option<f64>,
}

/// How one of two models was brought to the other's number format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cast {
    /// The format of both, or the formats of the two.
    pub formats: Vec<String>,
    /// Whether the values were rounded to the nearest; else what did not fit was cut off.
    pub nearest: bool,
}

impl CopyFigure {
    /// log10 p of that many rows: each equal by chance in every element, and any rows could have been.
    fn equal_log10_p(&self, rows: u64) -> f64 {
        let share = self.shifted.unwrap_or(1.0).max(1.0 / self.elements.max(1) as f64);
        rows as f64 * (self.row as f64 * share.log10() + (self.rows as f64).log10()).min(0.0)
    }

    /// log10 p of the proportional rows: the cosine of two independent rows has mean 0 and variance 1/d.
    fn proportional_log10_p(&self, rows: u64) -> f64 {
        let one = log10_upper_tail(ONE_DIRECTION * (self.row as f64).sqrt());
        rows as f64 * (one + (self.rows as f64).log10()).min(0.0)
    }

    /// Whether nothing is left of a similarity without the shared rows.
    fn silent_otherwise(&self, policy: &Policy) -> bool {
        self.rest.is_some_and(|rest| rest < policy.conclusive_effect)
    }

    /// Rows of tokens can be left untouched in both models since one common start; rows of layers are all trained.
    fn of_tokens(&self) -> bool {
        matches!(self.component.as_str(), "embedding" | "head")
    }
}

/// Blocks as in `0-31, 40`.
#[must_use]
pub fn ranges(blocks: &[Range<u64>]) -> String {
    let one = |block: &Range<u64>| match block.end - block.start {
        1 => block.start.to_string(),
        _ => format!("{}-{}", block.start, block.end - 1),
    };
    blocks.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn count(blocks: &[Range<u64>]) -> u64 {
    blocks.iter().map(|block| block.end - block.start).sum()
}

/// The blocks without what the others hold. Both are in order and do not overlap themselves.
fn without(blocks: &[Range<u64>], others: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut left: Vec<Range<u64>> = Vec::new();
    let mut next = 0;
    for block in blocks {
        let mut start = block.start;
        while others.get(next).is_some_and(|other| other.end <= start) {
            next += 1;
        }
        for other in others[next..].iter().take_while(|other| other.start < block.end) {
            if other.start > start {
                left.push(start..other.start);
            }
            start = start.max(other.end);
        }
        if start < block.end {
            left.push(start..block.end);
        }
    }
    left
}

fn is_parent(reference: &Reference, parent: &str) -> bool {
    matches!(reference, Reference::Parent(name) if name == parent)
}

/// The same tensor and step of the controls that count.
fn others<'a>(
    facts: &'a ParentFacts<'_>,
    figure: &'a CopyFigure,
    controls: &'a Controls,
) -> impl Iterator<Item = &'a CopyFigure> {
    facts.copies.iter().filter(move |other| {
        let part = part_of(facts, &figure.component);
        // Where no control is unrelated, rows that the controls have as well say nothing of the subject.
        let counts = |name: &str| controls.uncalibrated(part) || !controls.is_aside(name, part);
        matches!(&other.reference, Reference::Control(name) if counts(name))
            && other.tensor == figure.tensor
            && other.step == figure.step
    })
}

/// By component, in order.
fn by_component<'a, T>(found: impl Iterator<Item = (&'a str, T)>) -> BTreeMap<&'a str, Vec<T>> {
    let mut components: BTreeMap<&str, Vec<T>> = BTreeMap::new();
    for (component, one) in found {
        components.entry(component).or_default().push(one);
    }
    components
}

/// Matrices of one component that are the parent's, at one or more steps.
struct Copied<'a> {
    parent: &'a str,
    component: &'a str,
    tensors: BTreeSet<&'a str>,
    layers: BTreeSet<u32>,
    steps: BTreeSet<i64>,
}

impl<'a> Copied<'a> {
    /// `matrices`: tensor, layer and step of each.
    fn new(
        (parent, component): (&'a str, &'a str),
        matrices: impl Iterator<Item = (&'a str, Option<u32>, i64)>,
    ) -> Self {
        let mut copied =
            Self { parent, component, tensors: BTreeSet::new(), layers: BTreeSet::new(), steps: BTreeSet::new() };
        for (tensor, layer, step) in matrices {
            copied.tensors.insert(tensor);
            copied.layers.extend(layer);
            copied.steps.insert(step);
        }
        copied
    }

    /// The component, and the layers of it that are meant.
    fn place(&self) -> Param {
        let blocks = self.layers.iter().fold(Vec::<Range<u64>>::new(), |mut blocks, &layer| {
            let layer = u64::from(layer);
            match blocks.last_mut() {
                Some(last) if last.end == layer => last.end += 1,
                _ => blocks.push(layer..layer + 1),
            }
            blocks
        });
        match self.layers.len() {
            0 => self.component.into(),
            count => text!("parent/name/in-layers", component = self.component, count, layers = ranges(&blocks)).into(),
        }
    }

    /// The finding against the subject, with the tensor that it names as an example; no figure yet.
    fn finding(&self, code: Code, grade: Grade, message: Text, (tensor, layer): (&str, Option<u32>)) -> Finding {
        let mut finding = Finding::new(code, grade, Direction::Against, message);
        finding.subject = Subject {
            component: Some(self.component.to_owned()),
            layer,
            tensor: Some(tensor.to_owned()),
            parent: Some(self.parent.to_owned()),
            steps: self.steps.iter().copied().collect(),
        };
        finding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::single_range_in_vec_init)] // one block is a list of blocks
    fn blocks_without_others() {
        let blocks = [0..10, 20..30, 40..41];
        assert_eq!(without(&blocks, &[]), blocks);
        assert_eq!(without(&blocks, &[5..25]), [0..5, 25..30, 40..41]);
        assert_eq!(without(&blocks, &[0..3, 4..6, 20..30, 40..50]), [3..4, 6..10]);
        assert_eq!(ranges(&[0..32, 40..41]), "0-31, 40");
    }

    #[test]
    #[allow(clippy::float_cmp)] // nothing is exactly 0
    fn chance_is_counted_by_row() {
        let figure = CopyFigure {
            reference: Reference::Parent("p".into()),
            tensor: "t".into(),
            component: "embedding".into(),
            layer: None,
            step: 0,
            elements: 64_000,
            rows: 1000,
            row: 64,
            blocks: Vec::new(),
            cast: None,
            shifted: Some(0.1),
            equal: Some(0.1),
            eight_bits: Some(0.1),
            proportional: None,
            rest: Some(0.01),
        };
        assert!((figure.equal_log10_p(2) - 2.0 * (3.0 - 64.0)).abs() < 1e-9);
        assert!((figure.proportional_log10_p(10) - 10.0 * (log10_upper_tail(7.992) + 3.0)).abs() < 1e-9);
        // Rows of zeros and ones are equal everywhere.
        assert_eq!(CopyFigure { shifted: Some(1.0), ..figure }.equal_log10_p(500), 0.0);
    }
}
