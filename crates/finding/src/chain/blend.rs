//! Checkpoints that were computed from other checkpoints: blends, extrapolations, means.

use std::collections::BTreeSet;

use super::ChainFacts;
use super::points::{OnLine, Points, Span};
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_measurements::ALL;
use scratchproof_texts::{Text, text};

/// Checkpoints nearer than this many steps may lie on a line by momentum and small steps.
const GAP: i64 = 10;

/// Share of the rows on lines of their own. Of matrices whose rows are not the stored ones, none is.
const ROWS: f64 = 0.4;

/// Names that a message lists.
const NAMED: usize = 3;

/// Judges lines and spans.
pub(super) fn computed(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let mut explained = BTreeSet::new();
    lines(judgement, facts.points, policy, &mut explained);
    spans(judgement, facts.points, &mut explained);
    rows(judgement, facts.points, &explained);
}

/// The mean of two earlier checkpoints is what averaging of weights makes.
fn is_mean(line: &OnLine) -> bool {
    line.latest && (line.fractions.0 - 0.5).abs() < 0.01 && (line.fractions.1 - 0.5).abs() < 0.01
}

fn lines(judgement: &mut Judgement, points: &Points, policy: &Policy, explained: &mut BTreeSet<i64>) {
    let mut groups: Vec<(Grade, Vec<&OnLine>)> = Vec::new();
    for line in &points.lines {
        let gap = (line.middle - line.ends.0).abs().min((line.middle - line.ends.1).abs());
        if line.share >= 0.5 {
            explained.extend([line.middle, line.ends.0, line.ends.1]);
        }
        if gap < GAP && line.share < 0.5 {
            continue;
        }
        let grade = if is_mean(line) {
            mean(judgement, points, line.middle, &[line.ends.0, line.ends.1], line.roundings);
            continue;
        } else if gap < GAP || line.share < policy.blend_share {
            Grade::Moderate
        } else if line.share < 0.5 {
            Grade::Strong
        } else {
            Grade::Conclusive
        };
        match groups.iter_mut().find(|(own, _)| *own == grade) {
            Some((_, group)) => group.push(line),
            None => groups.push((grade, vec![line])),
        }
    }
    for (grade, group) in groups {
        let steps: Vec<i64> = group.iter().map(|line| line.middle).collect();
        let share = group.iter().map(|line| line.share).fold(0.0, f64::max);
        let roundings = group.iter().map(|line| line.roundings).fold(0.0, f64::max);
        let each = |line: &&OnLine| {
            let (low, high) = line.fractions;
            let (a, b) = line.ends;
            if high - low < 0.01 {
                text!("chain/off-chord/place", step = line.middle, a, b, place = 0.5 * (low + high))
            } else {
                text!("chain/off-chord/places", step = line.middle, a, b, low, high)
            }
        };
        let message = text!(
            "chain/off-chord/on-line",
            tensors = group.iter().flat_map(|l| &l.tensors).map(String::as_str).take(NAMED).collect::<Vec<_>>(),
            share,
            roundings,
            checkpoints = group.iter().take(NAMED).map(each).collect::<Vec<Text>>(),
            more = group.len().saturating_sub(NAMED)
        );
        let mut finding = Finding::new(Code::ChainOffChord, grade, Direction::Against, message);
        finding.subject.steps = steps;
        if let [line] = group.as_slice() {
            finding.subject.tensor = line.tensors.first().filter(|_| line.tensors.len() == 1).cloned();
        }
        finding.statistic = Some(roundings);
        finding.effect = Some(share);
        finding.n = Some(group.len() as u64);
        finding.null = text!("chain/off-chord/null-line");
        finding.evidence = Some("evidence/trajectory.parquet".into());
        judgement.push(finding);
    }
}

/// Rows that were blended each for itself.
fn rows(judgement: &mut Judgement, points: &Points, explained: &BTreeSet<i64>) {
    for lines in &points.rows {
        let share = lines.on as f64 / lines.of as f64;
        if share < ROWS || lines.of < 64 || explained.contains(&lines.step) {
            continue;
        }
        let near = (lines.step - lines.ends.0).min(lines.ends.1 - lines.step) < GAP;
        let mut finding = Finding::new(
            Code::ChainOffChord,
            if near { Grade::Moderate } else { Grade::Strong },
            Direction::Against,
            text!(
                "chain/off-chord/rows",
                count = lines.on,
                rows = lines.of,
                step = lines.step,
                a = lines.ends.0,
                b = lines.ends.1
            ),
        );
        finding.subject.steps = vec![lines.ends.0, lines.step, lines.ends.1];
        finding.statistic = Some(share);
        finding.effect = Some(share);
        finding.n = Some(lines.of);
        finding.null = text!("chain/off-chord/null-rows");
        finding.evidence = Some("evidence/trajectory.parquet".into());
        judgement.push(finding);
        return;
    }
}

/// An average of earlier checkpoints: a usual way to finish a training, if it is said.
fn mean(judgement: &mut Judgement, points: &Points, step: i64, of: &[i64], roundings: f64) {
    let declared = points.declared(step);
    let message = text!("chain/averaged/mean", step, of, roundings, declared);
    let (grade, direction) =
        if declared { (Grade::Context, Direction::Neutral) } else { (Grade::Moderate, Direction::Against) };
    let mut finding = Finding::new(Code::ChainAveraged, grade, direction, message);
    finding.subject.steps = vec![step];
    finding.statistic = Some(roundings);
    finding.effect = Some(1.0);
    finding.n = Some(of.len() as u64);
    finding.null = text!("chain/averaged/null-mean");
    finding.evidence = Some("evidence/trajectory.parquet".into());
    judgement.push(finding);
    if !declared {
        judgement.missing.push(text!("chain/averaged/missing-whether", step));
    }
}

/// Equal weights of earlier checkpoints only.
fn equal_weights(span: &Span) -> bool {
    let share = 1.0 / span.weights.len() as f64;
    !span.later && span.weights.len() > 1 && span.weights.iter().all(|(_, w)| (w - share).abs() < 0.05 * share)
}

fn spans(judgement: &mut Judgement, points: &Points, explained: &mut BTreeSet<i64>) {
    let whole: Vec<&Span> = points.spans.iter().filter(|s| s.component == ALL).collect();
    for span in whole.iter().filter(|span| equal_weights(span)) {
        let of: Vec<i64> = span.weights.iter().map(|(step, _)| *step).collect();
        if explained.contains(&span.step) {
            continue;
        }
        mean(judgement, points, span.step, &of, span.roundings);
        explained.insert(span.step);
        explained.extend(of);
    }
    let mut components: BTreeSet<&str> = points.spans.iter().map(|s| s.component.as_str()).collect();
    if whole.iter().any(|span| !explained.contains(&span.step)) {
        components.retain(|component| *component == ALL);
    }
    for component in components {
        let own: Vec<&Span> =
            points.spans.iter().filter(|s| s.component == component && !explained.contains(&s.step)).collect();
        let Some(example) = own.iter().min_by(|a, b| a.over_nearest.total_cmp(&b.over_nearest)) else { continue };
        let steps: Vec<i64> = own.iter().map(|span| span.step).collect();
        let gap = steps.windows(2).map(|w| w[1] - w[0]).min().unwrap_or(GAP);
        let grade = if gap >= GAP && component == ALL { Grade::Strong } else { Grade::Moderate };
        let weight = |(step, weight): &(i64, f64)| text!("chain/off-chord/weight", step = *step, weight = *weight);
        let message = text!(
            "chain/off-chord/combinations",
            component = (component != ALL).then_some(component),
            steps = steps.as_slice(),
            roundings = own.iter().map(|s| s.roundings).fold(0.0, f64::max),
            step = example.step,
            weights = example.weights.iter().map(weight).collect::<Vec<Text>>()
        );
        let mut finding = Finding::new(Code::ChainOffChord, grade, Direction::Against, message);
        finding.subject.steps = steps;
        finding.subject.component = (component != ALL).then(|| component.to_owned());
        finding.statistic = Some(example.roundings);
        finding.effect = Some(1.0);
        finding.n = Some(own.len() as u64);
        finding.null = text!("chain/off-chord/null-span");
        finding.evidence = Some("evidence/trajectory.parquet".into());
        judgement.push(finding);
    }
}
