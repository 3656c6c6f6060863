//! Single matrices and rows that no training changed: replaced, zeroed, multiplied, drawn anew.

use super::ChainFacts;
use super::points::{Break, Points, Scaled};
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;

/// Under Muon, whose updates move every direction of a matrix alike, single matrices grow more by themselves: 0.155 was measured
/// in an honest run. After the last interval nothing shows whether the growth goes on: 0.14 to 0.19.
const UNSURE: f64 = 1.5;

/// Single matrices that were replaced, zeroed or scaled between two steps.
pub(super) fn breaks(judgement: &mut Judgement, facts: &ChainFacts<'_>) {
    let points: &Points = facts.points;
    let mut intervals: Vec<(i64, i64)> = points.breaks.iter().map(|b| b.steps).collect();
    intervals.dedup();
    for steps in intervals {
        for scaled in [false, true] {
            let own: Vec<&Break> =
                points.breaks.iter().filter(|b| b.steps == steps && b.scaled.is_some() == scaled).collect();
            let share: f64 = own.iter().map(|b| b.share).sum();
            let Some(first) = own.first().filter(|_| share < 0.5) else { continue };
            let names: Vec<&str> = own.iter().map(|b| b.tensor.as_str()).take(4).collect();
            let names = if own.len() > 4 {
                format!("{} and {} more", names.join(", "), own.len() - 4)
            } else {
                names.join(", ")
            };
            let (a, b) = steps;
            let message = if let Some(factor) = first.scaled {
                format!(
                    "Between steps {a} and {b} these matrices were multiplied by a number ({factor:.3} for the first) and hardly changed else, unlike all others: {names}."
                )
            } else if own.iter().all(|b| b.zero) {
                format!("Between steps {a} and {b} these matrices became zero, unlike all others: {names}.")
            } else {
                format!(
                    "Between steps {a} and {b} these matrices kept nothing of the weights (correlation {:.3} at most), while the median over all matrices is {:.2}: {names}. They were replaced.",
                    own.iter().map(|b| b.kept.abs()).fold(0.0, f64::max),
                    first.typical
                )
            };
            let grade = if scaled { Grade::Moderate } else { Grade::Strong };
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
            finding.null = "the matrices of one interval are remembered alike; the other matrices of it".into();
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
        let more = if own.len() > 1 { format!(" and {} more matrices", own.len() - 1) } else { String::new() };
        let message = format!(
            "Between steps {a} and {b} what {}{more} had of the start, and of the way so far, both became {:.2} times as much, which the {} other matrices of its kind and the intervals beside do not show: it was multiplied by a number.",
            first.tensor, first.factor, first.siblings
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
        finding.null =
            "matrices of one kind keep alike shares of start and way; honest runs: 0.104 (logarithm) at most".into();
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
        let message = format!(
            "Between steps {a} and {b} about {} of {} rows of {} were drawn anew: {} of usual length point the other way, while {:.0} % of all keep a cosine of 0.6 or more. If these tokens were exchanged or reset, say so.",
            rows.turned,
            rows.of,
            rows.tensor,
            rows.reversed,
            100.0 * rows.near
        );
        let mut finding = Finding::new(Code::ChainTensor, Grade::Moderate, Direction::Against, message);
        finding.subject.steps = vec![a, b];
        finding.subject.tensor = Some(rows.tensor.clone());
        finding.subject.component = Some(rows.component.clone());
        finding.statistic = Some(rows.reversed as f64);
        finding.effect = Some(rows.turned as f64 / rows.of.max(1) as f64);
        finding.n = Some(rows.of);
        finding.null =
            "training turns rows and does not reverse them; honest runs: 3 rows, 8 under Adam with L2".into();
        finding.evidence = Some("evidence/decay.parquet".into());
        judgement.push(finding);
    }
}

/// Rows of tokens that left an earlier direction and stand on it again.
pub(super) fn returned(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    // A whole tensor that came back is a copy of another step, which has its own finding.
    for rows in facts.points.returned.iter().filter(|r| r.rows >= policy.rows_returned && 2 * r.rows < r.of) {
        let (a, b) = rows.steps;
        let message = format!(
            "Between steps {a} and {b}, {} of the {} rows of {} came back to the direction of step {}, to within roundings; row {} had turned away from it by {:.1} degrees. Training moves the row of a token that is met and only shortens it otherwise: the checkpoints before and after are of two ways. If the training was set back to an earlier checkpoint, leave those that it gave up out of the case file.",
            rows.rows,
            rows.of,
            rows.tensor,
            rows.since,
            rows.row,
            rows.moved.asin().to_degrees()
        );
        let mut finding = Finding::new(Code::ChainReturned, Grade::Moderate, Direction::Against, message);
        finding.subject.steps = vec![a, b];
        finding.subject.tensor = Some(rows.tensor.clone());
        finding.subject.component = Some(rows.component.clone());
        finding.statistic = Some(rows.rows as f64);
        finding.effect = Some(rows.moved);
        finding.n = Some(rows.of);
        finding.null =
            "a row in 16 or more dimensions meets an earlier direction to within roundings by chance less than once in 10^17; honest runs: none".into();
        finding.evidence = Some("evidence/returned.parquet".into());
        judgement.push(finding);
    }
}
