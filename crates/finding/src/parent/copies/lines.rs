//! Rows, columns and vectors that the parent has in another place: under another name, in another layer or tower, among other
//! rows, or stored the other way round.

use super::super::ParentFacts;
use super::equal::open;
use super::{Copied, by_component, count, is_parent};
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_evidence::LineRow;
use scratchproof_measurements::{Component, LINE_LOOKED};
use scratchproof_texts::text;

/// Lines of matrices, and vectors, below which equal ones are a question.
const LEAST: (u64, usize) = (4, 2);

/// Lines of a component that are the parent's and no control's, wherever they lie there.
pub(in super::super) fn lines(judgement: &mut Judgement, facts: &ParentFacts<'_>, parent: &str, seeded: bool) {
    let own = |row: &LineRow| row.lines.saturating_sub(row.controls);
    // Of one seed the rows that one model drew for tokens may be those that the other drew for its first matrix, and both stay what they
    // were drawn as: in a start, and where no training reached them.
    let drawn = |row: &LineRow| {
        seeded && (row.like == row.tensor || row.step == facts.steps.0 && facts.steps.0 != facts.steps.1)
    };
    let found = facts
        .lines
        .iter()
        .filter(|row| is_parent(&row.reference, parent) && own(row) > 0 && !in_place(facts, row) && !drawn(row));
    for (component, rows) in by_component(found.map(|row| (row.component.as_str(), row))) {
        for vector in [false, true] {
            let rows: Vec<&LineRow> = rows.iter().copied().filter(|row| row.vector == vector).collect();
            // The first and the last step may both be there: the one with more is told.
            let at = |step: i64| rows.iter().filter(|row| row.step == step).map(|row| own(row)).sum::<u64>();
            let (first, last) = facts.steps;
            let step = if at(first) >= at(last) { first } else { last };
            let told = || rows.iter().filter(|row| row.step == step);
            // Norm weights are no part that is taken by itself, and what a parent is shown to have given needs no vector more.
            let norms = component == Component::Norms.name();
            let shown = |f: &Finding| f.subject.parent.as_deref() == Some(parent) && f.grade >= Grade::Strong;
            if vector && judgement.findings.iter().any(|f| f.direction == Direction::Against && shown(f)) {
                continue;
            }
            let Some(example) = told().max_by_key(|row| (own(row), std::cmp::Reverse(&row.tensor))) else { continue };
            let copied = Copied::new((parent, component), rows.iter().map(|r| (r.tensor.as_str(), r.layer, r.step)));
            let tensors = told().count();
            // Lines that a control has are not counted.
            let controls = facts.controls.len();
            let at_step = Some(step).filter(|_| first != last);
            let mut message = if vector {
                text!(
                    "parent/bit-equal/vectors",
                    parent,
                    count = tensors,
                    place = copied.place(),
                    tensor = &example.tensor,
                    like = &example.like,
                    step = at_step,
                    controls
                )
            } else {
                text!(
                    "parent/bit-equal/elsewhere",
                    parent,
                    lines = own(example),
                    of = example.of,
                    tensor = &example.tensor,
                    like = &example.like,
                    looked = LINE_LOOKED,
                    more = tensors - 1,
                    place = copied.place(),
                    step = at_step,
                    controls
                )
            };
            let enough = if vector { tensors >= LEAST.1 } else { at(step) >= LEAST.0 };
            let deduced = rows.iter().all(|row| row.deduced);
            if deduced {
                message.push(text!("parent/bit-equal/few"));
            }
            let open = open(facts, parent, seeded);
            if open {
                message.push(text!("parent/bit-equal/open"));
            }
            let sure = enough && !norms && !open && !deduced;
            let grade = if sure { Grade::Conclusive } else { Grade::Moderate };
            let mut finding =
                copied.finding(Code::ParentBitEqual, grade, message, (example.tensor.as_str(), example.layer));
            finding.statistic = Some(at(step) as f64);
            finding.effect = Some(own(example) as f64 / example.of.max(1) as f64);
            finding.n = Some(told().map(|row| row.of).sum());
            finding.null = text!("parent/null/equal-lines");
            finding.evidence = Some("evidence/lines.parquet".into());
            judgement.push(finding);
        }
    }
}

/// Whether the tests of equal tensors and equal rows speak of it already: most of them lie where they lie in the parent.
fn in_place(facts: &ParentFacts<'_>, row: &LineRow) -> bool {
    let here = |tensor: &str, step: i64| tensor == row.tensor && step == row.step;
    let rows = || {
        let mut of = facts.copies.iter().filter(|f| f.reference == row.reference && here(&f.tensor, f.step));
        of.any(|figure| 2 * count(&figure.blocks) >= row.lines.min(figure.rows))
    };
    let whole = facts.equal.iter().any(|e| is_parent(&row.reference, &e.parent) && here(&e.tensor, e.step));
    row.like == row.tensor && (whole || rows())
}
