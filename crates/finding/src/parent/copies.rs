//! What cannot be a coincidence of two trainings: equal tensors, equal rows, rows that share one factor.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::parts::{Controls, part_of};
use super::{ALL, EqualTensor, ParentFacts};
use crate::{Code, Direction, Finding, Grade, Judgement, Subject};
use scratchproof_case::Policy;
use scratchproof_evidence::Reference;
use scratchproof_stats::log10_upper_tail;
use scratchproof_texts::{Param, Text, text};

/// Fewest rows that are told of.
const LEAST_ROWS: u64 = 2;

/// Cosine of rows of one direction, as the kernel has it.
const ONE_DIRECTION: f64 = 0.999;

/// Share of the token rows that a training may never have reached.
const UNMET: f64 = 0.4;

/// Share of elements within a rounding from which a matrix is a re-cast copy: the rest are too small for the format's normal
/// range.
const RE_CAST: f64 = 0.99;

/// Elements of a matrix below which that share says little.
const LEAST_ELEMENTS: u64 = 256;

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
    /// Share of equal elements between strangers in these formats.
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

impl Cast {
    fn text(&self) -> Text {
        let formats = self.formats.clone();
        if self.nearest {
            text!("parent/bit-equal/cast-rounded", formats)
        } else {
            text!("parent/bit-equal/cast-cut", formats)
        }
    }
}

/// A matrix with the equal rows that no control has.
type Shared<'a> = (&'a CopyFigure, Vec<Range<u64>>);

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
        // Where no control is a stranger, rows that the controls have as well say nothing of the subject.
        let counts = |name: &str| controls.uncalibrated(part) || !controls.is_aside(name, part);
        matches!(&other.reference, Reference::Control(name) if counts(name))
            && other.tensor == figure.tensor
            && other.step == figure.step
    })
}

/// Whether the parent can be a copy of the subject: the start is the subject's own, and nothing says the parent was there
/// before.
fn open(facts: &ParentFacts<'_>, parent: &str, seeded: bool) -> bool {
    seeded && !facts.earlier.iter().any(|earlier| earlier == parent)
}

/// Whole tensors equal to the parent's, component by component: conclusive, unless one seed left them untouched in both.
pub(super) fn tensors(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    controls: &Controls,
    seeded: bool,
) {
    let counts = |e: &&EqualTensor| {
        let part = part_of(facts, &e.component);
        let aside = e.controls.iter().all(|control| controls.is_aside(control, part));
        e.parent == parent && !(seeded && e.untouched) && aside
    };
    let mut components: BTreeMap<&str, Vec<&EqualTensor>> = BTreeMap::new();
    for equal in facts.equal.iter().filter(counts) {
        components.entry(&equal.component).or_default().push(equal);
    }
    // A parent that is the subject's own later checkpoint is equal to it as well. Only a parent that was public before
    // the run began cannot be.
    let open = open(facts, parent, seeded);
    for (component, own) in components {
        let Some(example) = own.iter().max_by_key(|e| e.elements) else { continue };
        let names: BTreeSet<&str> = own.iter().map(|e| e.tensor.as_str()).collect();
        let steps: BTreeSet<i64> = own.iter().map(|e| e.step).collect();
        let layers: BTreeSet<u32> = own.iter().filter_map(|e| e.layer).collect();
        let at = |step: i64| own.iter().filter(|e| e.step == step).count();
        let (first, last) = facts.steps;
        let mut message = text!(
            "parent/bit-equal/tensors",
            parent,
            count = names.len(),
            place = place(component, &layers),
            at_step = at(example.step),
            step = example.step,
            tensor = &example.tensor,
            elements = example.elements
        );
        if first == last {
        } else if at(last) == names.len() && own.iter().all(|e| e.untouched || e.step == first) {
            message.push(text!("parent/bit-equal/frozen"));
        } else if at(last) == 0 && at(first) > 0 {
            message.push(text!("parent/bit-equal/trained"));
        } else {
            message.push(text!("parent/bit-equal/course", first = at(first), last = at(last)));
        }
        if open {
            message.push(text!("parent/bit-equal/open"));
        }
        let mut finding = Finding::new(
            Code::ParentBitEqual,
            if open { Grade::Moderate } else { Grade::Conclusive },
            Direction::Against,
            message,
        );
        finding.subject = Subject {
            component: Some(component.to_owned()),
            layer: example.layer,
            tensor: Some(example.tensor.clone()),
            parent: Some(parent.to_owned()),
            steps: steps.into_iter().collect(),
        };
        finding.statistic = Some(names.len() as f64);
        finding.effect = Some(1.0);
        finding.n = Some(own.iter().map(|e| e.elements).sum());
        finding.null = text!("parent/null/equal-tensors");
        finding.evidence = Some("evidence/trajectory.parquet".into());
        judgement.push(finding);
    }
}

/// A component, and the layers of it that are meant.
fn place(component: &str, layers: &BTreeSet<u32>) -> Param {
    let blocks = layers.iter().fold(Vec::<Range<u64>>::new(), |mut blocks, &layer| {
        let layer = u64::from(layer);
        match blocks.last_mut() {
            Some(last) if last.end == layer => last.end += 1,
            _ => blocks.push(layer..layer + 1),
        }
        blocks
    });
    match layers.len() {
        0 => component.into(),
        count => text!("parent/name/in-layers", component, count, layers = ranges(&blocks)).into(),
    }
}

/// Blocks of equal rows, and whole tensors that are equal after one was brought to the other's number format.
pub(super) fn rows(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    controls: &Controls,
    seeded: bool,
    policy: &Policy,
) {
    let whole = |figure: &CopyFigure| {
        facts.equal.iter().any(|e| e.parent == parent && e.tensor == figure.tensor && e.step == figure.step)
    };
    let mut components: BTreeMap<&str, Vec<Shared<'_>>> = BTreeMap::new();
    for figure in facts.copies.iter().filter(|f| is_parent(&f.reference, parent) && !f.blocks.is_empty()) {
        // Few tokens are never met; half of them cannot be.
        let unmet = count(&figure.blocks) as f64 <= UNMET * figure.rows as f64;
        if whole(figure) || seeded || figure.of_tokens() && unmet && figure.silent_otherwise(policy) {
            continue;
        }
        let blocks =
            others(facts, figure, controls).fold(figure.blocks.clone(), |left, other| without(&left, &other.blocks));
        if count(&blocks) >= LEAST_ROWS && figure.equal_log10_p(count(&blocks)) <= policy.strong_log10_p {
            components.entry(&figure.component).or_default().push((figure, blocks));
        }
    }
    for (component, own) in components {
        // The first and the last step may both be there: the largest share is told.
        let Some((example, blocks)) = own.iter().max_by_key(|(f, blocks)| (count(blocks), f.step)) else { continue };
        let named: Vec<Text> = own
            .iter()
            .filter(|(figure, _)| figure.step == example.step)
            .take(NAMED)
            .map(|(figure, blocks)| {
                let shown = &blocks[..blocks.len().min(NAMED)];
                let rows = figure.rows;
                if count(blocks) == rows {
                    text!("parent/bit-equal/rows-all", tensor = &figure.tensor, rows)
                } else {
                    let more = blocks.len() > NAMED;
                    text!("parent/bit-equal/rows-some", tensor = &figure.tensor, blocks = ranges(shown), more, rows)
                }
            })
            .collect();
        let tensors: BTreeSet<&str> = own.iter().map(|(f, _)| f.tensor.as_str()).collect();
        let layers: BTreeSet<u32> = own.iter().filter_map(|(f, _)| f.layer).collect();
        let steps: BTreeSet<i64> = own.iter().map(|(f, _)| f.step).collect();
        let single = facts.steps.0 == facts.steps.1;
        let has = |step: i64| own.iter().any(|(f, _)| f.step == step);
        let mut message = text!(
            "parent/bit-equal/rows",
            parent,
            count = tensors.len(),
            place = place(component, &layers),
            cast = example.cast.as_ref().map(Cast::text),
            step = Some(example.step).filter(|_| !single),
            more = tensors.len() > named.len(),
            named
        );
        match (has(facts.steps.0), has(facts.steps.1)) {
            _ if single => {}
            (true, false) => message.push(text!("parent/bit-equal/rows-trained")),
            (true, true) => message.push(text!("parent/bit-equal/rows-frozen")),
            _ => message.push(text!("parent/bit-equal/rows-later")),
        }
        let log10_p = own.iter().map(|(f, blocks)| f.equal_log10_p(count(blocks))).fold(0.0, f64::min);
        let all: u64 = own.iter().map(|(_, blocks)| count(blocks)).sum();
        let mut finding = Finding::new(
            Code::ParentBitEqual,
            if log10_p <= policy.conclusive_log10_p { Grade::Conclusive } else { Grade::Strong },
            Direction::Against,
            message,
        );
        finding.subject = Subject {
            component: Some(component.to_owned()),
            layer: example.layer,
            tensor: Some(example.tensor.clone()),
            parent: Some(parent.to_owned()),
            steps: steps.into_iter().collect(),
        };
        finding.statistic = Some(all as f64);
        finding.log10_p = Some(log10_p);
        finding.effect = Some(count(blocks) as f64 / example.rows.max(1) as f64);
        finding.n = Some(own.iter().map(|(f, _)| f.rows).sum());
        finding.null = text!("parent/null/equal-rows");
        finding.evidence = Some("evidence/copies.parquet".into());
        judgement.push(finding);
    }
}

/// Whole matrices that differ from the parent's by no more than a rounding to eight bits, on whatever scale it was made:
/// re-cast copies (f8 with block scales, eight-bit integers for most values), component by component. Training moves small
/// weights by more than a sixteenth of themselves long before it moves large ones.
pub(super) fn eight_bits(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    controls: &Controls,
    seeded: bool,
) {
    let close = |figure: &CopyFigure| figure.eight_bits.is_some_and(|share| share >= RE_CAST);
    let whole = |figure: &CopyFigure| figure.equal.is_some_and(|share| share >= RE_CAST);
    let mut components: BTreeMap<&str, Vec<&CopyFigure>> = BTreeMap::new();
    for figure in facts.copies.iter().filter(|f| is_parent(&f.reference, parent) && close(f) && !whole(f)) {
        if !seeded && figure.elements >= LEAST_ELEMENTS && !others(facts, figure, controls).any(close) {
            components.entry(&figure.component).or_default().push(figure);
        }
    }
    for (component, own) in components {
        let Some(example) = own.iter().max_by_key(|f| (f.elements, f.step)) else { continue };
        let tensors: BTreeSet<&str> = own.iter().map(|f| f.tensor.as_str()).collect();
        let layers: BTreeSet<u32> = own.iter().filter_map(|f| f.layer).collect();
        let steps: BTreeSet<i64> = own.iter().map(|f| f.step).collect();
        let share = example.eight_bits.unwrap_or(0.0);
        let mut finding = Finding::new(
            Code::ParentRecast,
            Grade::Conclusive,
            Direction::Against,
            text!(
                "parent/re-cast/eight-bits",
                parent,
                count = tensors.len(),
                place = place(component, &layers),
                tensor = &example.tensor,
                share,
                elements = example.elements
            ),
        );
        finding.subject = Subject {
            component: Some(component.to_owned()),
            layer: example.layer,
            tensor: Some(example.tensor.clone()),
            parent: Some(parent.to_owned()),
            steps: steps.into_iter().collect(),
        };
        finding.statistic = Some(tensors.len() as f64);
        finding.effect = Some(share);
        finding.n = Some(own.iter().map(|f| f.elements).sum());
        finding.null = text!("parent/null/eight-bits");
        finding.evidence = Some("evidence/copies.parquet".into());
        judgement.push(finding);
    }
}

/// Rows that both models have up to one factor while nothing else of the matrix is alike: rows that no training reached,
/// which only decayed, or stayed as they were, since one common start. A question of origin, not a derivation; what the
/// aligned test sees of these rows is explained by them.
pub(super) fn proportional(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    controls: &Controls,
    seeded: bool,
    policy: &Policy,
) {
    /// Rows that are of one direction, and those among them that are equal.
    fn shared(figure: &CopyFigure) -> (u64, u64) {
        (figure.proportional.map_or(0, |p| p.0), count(&figure.blocks))
    }
    let last = facts.steps.1;
    let found: Vec<&CopyFigure> = facts
        .copies
        .iter()
        .filter(|f| is_parent(&f.reference, parent) && f.step == last && f.silent_otherwise(policy))
        .filter(|f| {
            let (scaled, equal) = shared(f);
            let equal = if f.of_tokens() { equal } else { 0 };
            scaled + equal >= LEAST_ROWS
                && f.proportional_log10_p(scaled + equal) <= policy.conclusive_log10_p
                && others(facts, f, controls).all(|c| shared(c).0 < LEAST_ROWS)
        })
        .collect();
    let mut components: BTreeMap<&str, Vec<&CopyFigure>> = BTreeMap::new();
    for figure in found {
        components.entry(&figure.component).or_default().push(figure);
    }
    for (component, own) in &components {
        let told: Vec<Text> = own
            .iter()
            .take(NAMED)
            .map(|f| {
                let (scaled, equal) = shared(f);
                text!(
                    "parent/decayed-rows/matrix",
                    rows = f.rows,
                    tensor = &f.tensor,
                    scaled,
                    ratio = f.proportional.map(|p| p.1),
                    sd = f.proportional.map(|p| p.2),
                    equal
                )
            })
            .collect();
        let rest = own.iter().filter_map(|f| f.rest).fold(f64::NEG_INFINITY, f64::max);
        let rows: u64 = own.iter().map(|f| shared(f).0 + shared(f).1).sum();
        let log10_p = own.iter().map(|f| f.proportional_log10_p(shared(f).0 + shared(f).1)).fold(0.0, f64::min);
        let (grade, direction) =
            if seeded { (Grade::Context, Direction::Neutral) } else { (Grade::Moderate, Direction::Against) };
        let mut finding = Finding::new(
            Code::ParentDecayedRows,
            grade,
            direction,
            text!("parent/decayed-rows/common", told, parent, rest),
        );
        if seeded {
            finding.message.push(text!("parent/note/seeded"));
        }
        finding.subject = Subject {
            component: Some((*component).to_owned()),
            tensor: own.first().map(|f| f.tensor.clone()),
            steps: vec![last],
            parent: Some(parent.to_owned()),
            ..Subject::default()
        };
        finding.statistic = Some(rows as f64);
        finding.log10_p = Some(log10_p);
        finding.effect = own.first().and_then(|f| f.proportional).map(|p| p.1);
        finding.n = Some(own.iter().map(|f| f.rows).sum());
        finding.null = text!("parent/null/decayed-rows");
        finding.evidence = Some("evidence/copies.parquet".into());
        judgement.push(finding);
    }
    explain(judgement, facts, parent, &components.keys().copied().collect(), policy);
}

/// Takes the force from similarities that are nothing but the shared rows.
fn explain(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    components: &BTreeSet<&str>,
    policy: &Policy,
) {
    let silent = |component: &str| {
        let own = facts.copies.iter().filter(|f| is_parent(&f.reference, parent) && f.component == component);
        own.filter(|f| f.rest.is_some()).all(|f| f.silent_otherwise(policy))
    };
    let explained: BTreeSet<&str> = components.iter().copied().filter(|component| silent(component)).collect();
    if explained.is_empty() {
        return;
    }
    let similar = |f: &Finding| {
        f.code == Code::ParentSimilarity
            && f.subject.parent.as_deref() == Some(parent)
            && f.direction == Direction::Against
    };
    let others = judgement.findings.iter().filter(|f| similar(f)).filter_map(|f| f.subject.component.as_deref());
    let only = others.filter(|c| *c != ALL).all(|c| explained.contains(c));
    for finding in judgement.findings.iter_mut().filter(|f| similar(f)) {
        let component = finding.subject.component.as_deref().unwrap_or(ALL);
        if explained.contains(component) || component == ALL && only {
            finding.grade = Grade::Context;
            finding.direction = Direction::Neutral;
            finding.message.push(text!("parent/note/shared-rows"));
        }
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
