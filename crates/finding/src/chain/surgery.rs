//! Single matrices and rows that no training changed: replaced, zeroed, multiplied, drawn anew.

use super::ChainFacts;
use super::memory::erased;
use super::points::{Break, Points, Scaled};
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_texts::text;

/// Under Muon, whose updates move every direction of a matrix alike, single matrices grow more by themselves: 0.155 was measured
/// in an honest run. After the last interval nothing shows whether the growth goes on: 0.14 to 0.19.
const UNSURE: f64 = 1.5;

/// Matrices that a message names.
const NAMED: usize = 4;

/// Single matrices that were replaced, zeroed or scaled between two steps.
pub(super) fn breaks(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let points: &Points = facts.points;
    let mut intervals: Vec<(i64, i64)> = points.breaks.iter().map(|b| b.steps).collect();
    intervals.dedup();
    for steps in intervals {
        for scaled in [false, true] {
            let own: Vec<&Break> =
                points.breaks.iter().filter(|b| b.steps == steps && b.scaled.is_some() == scaled).collect();
            let share: f64 = own.iter().map(|b| b.share).sum();
            let Some(first) = own.first().filter(|_| share < 0.5) else { continue };
            let tensors: Vec<&str> = own.iter().map(|b| b.tensor.as_str()).take(NAMED).collect();
            let more = own.len().saturating_sub(NAMED);
            let (a, b) = steps;
            let whole = scaled || own.iter().any(|broken| broken.zero);
            let erased = !whole && own.iter().all(|broken| erased(facts, &broken.component, a, policy));
            let message = if let Some(factor) = first.scaled {
                text!("chain/tensor-break/multiplied", from = a, to = b, factor, tensors, more)
            } else if own.iter().all(|b| b.zero) {
                text!("chain/tensor-break/zeroed", from = a, to = b, tensors, more)
            } else {
                let kept = own.iter().map(|b| b.kept.abs()).fold(0.0, f64::max);
                let typical = first.typical;
                text!("chain/tensor-break/replaced", from = a, to = b, kept, typical, tensors, more, erased)
            };
            let grade = match (scaled, erased) {
                (true, _) => Grade::Moderate,
                (_, true) => Grade::Weak,
                _ => Grade::Strong,
            };
            let mut finding = Finding::new(Code::ChainTensor, grade, Direction::Against, message);
            finding.subject.steps = vec![a, b];
            if let [only] = own.as_slice() {
                finding.subject.tensor = Some(only.tensor.clone());
            }
            if own.iter().all(|b| b.component == first.component) {
                finding.subject.component = Some(first.component.clone());
            }
            if own.iter().all(|b| b.layer == first.layer) {
                finding.subject.layer = first.layer;
            }
            finding.statistic = first.scaled.or(Some(first.kept));
            finding.effect = Some(share);
            finding.n = Some(own.len() as u64);
            finding.null = text!("chain/tensor-break/null-breaks");
            finding.evidence = Some("evidence/trajectory.parquet".into());
            judgement.push(finding);
        }
    }
}

/// Single matrices that grew or shrank as a whole, beside what training did to them.
pub(super) fn scaled(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let muon = facts.decay.optimizer.as_deref() == Some("Muon");
    let least = |s: &Scaled| {
        let last = facts.steps.last() == Some(&s.steps.1);
        policy.scaled_matrix * if muon || last { UNSURE } else { 1.0 }
    };
    let told = |s: &&Scaled| {
        let broken = facts.points.breaks.iter().any(|b| b.steps == s.steps && b.tensor == s.tensor);
        s.excess >= least(s) && !broken
    };
    let all: Vec<&Scaled> = facts.points.scaled.iter().filter(told).collect();
    let mut intervals: Vec<(i64, i64)> = all.iter().map(|s| s.steps).collect();
    intervals.sort_unstable();
    intervals.dedup();
    for steps in intervals {
        let own: Vec<&&Scaled> = all.iter().filter(|s| s.steps == steps).collect();
        let Some(first) = own.iter().max_by(|a, b| a.excess.total_cmp(&b.excess)) else { continue };
        let (a, b) = steps;
        let message = text!(
            "chain/tensor-break/grown",
            from = a,
            to = b,
            tensor = &first.tensor,
            more = own.len() - 1,
            factor = first.factor,
            siblings = first.siblings
        );
        let mut finding = Finding::new(Code::ChainTensor, Grade::Moderate, Direction::Against, message);
        finding.subject.steps = vec![a, b];
        if own.len() == 1 {
            finding.subject.tensor = Some(first.tensor.clone());
            finding.subject.layer = first.layer;
        }
        finding.subject.component = own.iter().all(|s| s.component == first.component).then(|| first.component.clone());
        finding.statistic = Some(first.factor);
        finding.effect = Some(own.iter().map(|s| s.share).sum());
        finding.n = Some(own.len() as u64);
        finding.null = text!("chain/tensor-break/null-grown");
        finding.evidence = Some("evidence/trajectory.parquet".into());
        judgement.push(finding);
    }
}

/// Rows of tokens that were drawn anew between two steps while the others went on.
pub(super) fn redrawn(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    // Half of the rows that are drawn anew point the other way; of rows that were only turned far, few do.
    let told =
        facts.points.redrawn.iter().filter(|r| {
            r.reversed >= policy.rows_reversed && r.near >= 0.7 && r.reversed as f64 >= 0.2 * r.turned as f64
        });
    for rows in told {
        let (a, b) = rows.steps;
        let message = text!(
            "chain/tensor-break/redrawn",
            from = a,
            to = b,
            turned = rows.turned,
            rows = rows.of,
            tensor = &rows.tensor,
            reversed = rows.reversed,
            near = rows.near
        );
        let mut finding = Finding::new(Code::ChainTensor, Grade::Moderate, Direction::Against, message);
        finding.subject.steps = vec![a, b];
        finding.subject.tensor = Some(rows.tensor.clone());
        finding.subject.component = Some(rows.component.clone());
        finding.statistic = Some(rows.reversed as f64);
        finding.effect = Some(rows.turned as f64 / rows.of.max(1) as f64);
        finding.n = Some(rows.of);
        finding.null = text!("chain/tensor-break/null-redrawn");
        finding.evidence = Some("evidence/decay.parquet".into());
        judgement.push(finding);
    }
}

/// Rows of tokens that left an earlier direction and stand on it again.
pub(super) fn returned(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    // A whole tensor that came back is a copy of another step, which has its own finding.
    for rows in facts.points.returned.iter().filter(|r| r.rows >= policy.rows_returned && 2 * r.rows < r.of) {
        let (a, b) = rows.steps;
        let message = text!(
            "chain/returned-rows/returned",
            from = a,
            to = b,
            count = rows.rows,
            rows = rows.of,
            tensor = &rows.tensor,
            since = rows.since,
            row = rows.row,
            degrees = rows.moved.asin().to_degrees()
        );
        let mut finding = Finding::new(Code::ChainReturned, Grade::Moderate, Direction::Against, message);
        finding.subject.steps = vec![a, b];
        finding.subject.tensor = Some(rows.tensor.clone());
        finding.subject.component = Some(rows.component.clone());
        finding.statistic = Some(rows.rows as f64);
        finding.effect = Some(rows.moved);
        finding.n = Some(rows.of);
        finding.null = text!("chain/returned-rows/null");
        finding.evidence = Some("evidence/returned.parquet".into());
        judgement.push(finding);
    }
}
