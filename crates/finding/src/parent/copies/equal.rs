//! Whole tensors, and rows of tensors, that are the parent's value by value.

use std::collections::BTreeMap;

use super::super::parts::{Controls, Tested, part_of};
use super::super::{ALL, EqualTensor, ParentFacts};
use super::{Cast, Copied, CopyFigure, LEAST_ROWS, NAMED, by_component, count, is_parent, others, ranges, without};
use crate::{Code, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_evidence::Reference;
use scratchproof_texts::{Text, text};

/// Share of the token rows that may have had no gradient in a training.
const WITHOUT_GRADIENT: f64 = 0.4;

/// Tensors whose function was deduced, and their share of the model, below which equal ones alone are a question.
const LEAST_DEDUCED: (usize, f64) = (4, 0.01);

/// Whether the parent can be a copy of the subject: the start is the subject's own, and nothing says the parent was there
/// before.
pub(super) fn open(facts: &ParentFacts<'_>, parent: &str, seeded: bool) -> bool {
    seeded && !facts.earlier.iter().any(|earlier| earlier == parent)
}

/// Whole tensors equal to the parent's, component by component: conclusive, unless one seed left them untouched in both.
pub(in super::super) fn tensors(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    controls: &Controls,
    control_tests: &[Tested<'_>],
    seeded: bool,
    policy: &Policy,
) {
    // A control that has the tensor too is a relative if other components say so: a table that anybody computes is in all of them.
    let relative = |control: &str, component: &str| {
        control_tests.iter().any(|t| {
            t.row.reference == Reference::Control(control.to_owned())
                && ![ALL, component].contains(&t.row.component.as_str())
                && t.grade(policy).is_some()
        })
    };
    let counts = |e: &&EqualTensor| {
        let part = part_of(facts, &e.component);
        let aside = e.controls.iter().all(|c| controls.is_aside(c, part) && relative(c, &e.component));
        e.parent == parent && !(seeded && e.untouched) && aside
    };
    let components = by_component(facts.equal.iter().filter(counts).map(|e| (e.component.as_str(), e)));
    // A parent that is the subject's own later checkpoint is equal to it as well. Only a parent that was public before
    // the run began cannot be.
    let open = open(facts, parent, seeded);
    for (component, own) in components {
        let Some(example) = own.iter().max_by_key(|e| e.elements) else { continue };
        let copied = Copied::new((parent, component), own.iter().map(|e| (e.tensor.as_str(), e.layer, e.step)));
        let names = copied.tensors.len();
        let at = |step: i64| own.iter().filter(|e| e.step == step).count();
        let (first, last) = facts.steps;
        let mut message = text!(
            "parent/bit-equal/tensors",
            parent,
            count = names,
            place = copied.place(),
            at_step = at(example.step),
            step = Some(example.step).filter(|_| facts.steps.0 != facts.steps.1),
            tensor = &example.tensor,
            elements = example.elements,
            controls = if own.iter().all(|e| e.controls.is_empty()) { facts.controls.len() } else { 0 }
        );
        // What a tensor is for was guessed: alone and small it may be a table that both authors computed.
        let shares: BTreeMap<&str, f64> = own.iter().map(|e| (e.tensor.as_str(), e.share)).collect();
        let few = own.iter().all(|e| e.deduced)
            && shares.len() < LEAST_DEDUCED.0
            && shares.values().sum::<f64>() < LEAST_DEDUCED.1;
        if few {
            message.push(text!("parent/bit-equal/few"));
        }
        if first == last {
        } else if at(last) == names && own.iter().all(|e| e.untouched || e.step == first) {
            message.push(text!("parent/bit-equal/frozen"));
        } else if at(last) == 0 && at(first) > 0 {
            message.push(text!("parent/bit-equal/trained"));
        } else {
            message.push(text!("parent/bit-equal/course", first = at(first), last = at(last)));
        }
        if open {
            message.push(text!("parent/bit-equal/open"));
        }
        let grade = if open || few { Grade::Moderate } else { Grade::Conclusive };
        let mut finding =
            copied.finding(Code::ParentBitEqual, grade, message, (example.tensor.as_str(), example.layer));
        finding.statistic = Some(names as f64);
        finding.effect = Some(1.0);
        finding.n = Some(own.iter().map(|e| e.elements).sum());
        finding.null = text!("parent/null/equal-tensors");
        finding.evidence = Some("evidence/trajectory.parquet".into());
        judgement.push(finding);
    }
}

/// Blocks of equal rows, and whole tensors that are equal after one was brought to the other's number format.
pub(in super::super) fn rows(
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
    let found = facts.copies.iter().filter(|f| is_parent(&f.reference, parent) && !f.blocks.is_empty());
    let found = found.filter_map(|figure| {
        // The rows of few tokens never get a gradient; those of half of them cannot be without one.
        let few = count(&figure.blocks) as f64 <= WITHOUT_GRADIENT * figure.rows as f64;
        if whole(figure) || seeded || figure.of_tokens() && few && figure.silent_otherwise(policy) {
            return None;
        }
        let blocks =
            others(facts, figure, controls).fold(figure.blocks.clone(), |left, other| without(&left, &other.blocks));
        let enough = count(&blocks) >= LEAST_ROWS && figure.equal_log10_p(count(&blocks)) <= policy.strong_log10_p;
        enough.then_some((figure.component.as_str(), (figure, blocks)))
    });
    for (component, own) in by_component(found) {
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
        let copied = Copied::new((parent, component), own.iter().map(|(f, _)| (f.tensor.as_str(), f.layer, f.step)));
        let single = facts.steps.0 == facts.steps.1;
        let has = |step: i64| own.iter().any(|(f, _)| f.step == step);
        let mut message = text!(
            "parent/bit-equal/rows",
            parent,
            count = copied.tensors.len(),
            place = copied.place(),
            cast = example.cast.as_ref().map(cast),
            step = Some(example.step).filter(|_| !single),
            more = copied.tensors.len() > named.len(),
            named,
            controls = facts.controls.len()
        );
        match (has(facts.steps.0), has(facts.steps.1)) {
            _ if single => {}
            (true, false) => message.push(text!("parent/bit-equal/rows-trained")),
            (true, true) => message.push(text!("parent/bit-equal/rows-frozen")),
            _ => message.push(text!("parent/bit-equal/rows-later")),
        }
        let log10_p = own.iter().map(|(f, blocks)| f.equal_log10_p(count(blocks))).fold(0.0, f64::min);
        let all: u64 = own.iter().map(|(_, blocks)| count(blocks)).sum();
        let grade = if log10_p <= policy.conclusive_log10_p { Grade::Conclusive } else { Grade::Strong };
        let mut finding =
            copied.finding(Code::ParentBitEqual, grade, message, (example.tensor.as_str(), example.layer));
        finding.statistic = Some(all as f64);
        finding.log10_p = Some(log10_p);
        finding.effect = Some(count(blocks) as f64 / example.rows.max(1) as f64);
        finding.n = Some(own.iter().map(|(f, _)| f.rows).sum());
        finding.null = text!("parent/null/equal-rows");
        finding.evidence = Some("evidence/copies.parquet".into());
        judgement.push(finding);
    }
}

fn cast(cast: &Cast) -> Text {
    let formats = cast.formats.clone();
    if cast.nearest {
        text!("parent/bit-equal/cast-rounded", formats)
    } else {
        text!("parent/bit-equal/cast-cut", formats)
    }
}
