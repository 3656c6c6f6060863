//! Checkpoints that were computed from other checkpoints: blends, extrapolations, means.

use std::collections::BTreeSet;

use super::points::{OnLine, Points, Span};
use super::{ChainFacts, listed};
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_plan::ALL;

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
        let each: Vec<String> = group
            .iter()
            .take(NAMED)
            .map(|line| {
                let (low, high) = line.fractions;
                let place = if high - low < 0.01 {
                    format!("{:.0} % of the way", 50.0 * (low + high))
                } else {
                    format!("{:.0} to {:.0} % of the way, by tensor", 100.0 * low, 100.0 * high)
                };
                format!("step {} between steps {} and {}, {place}", line.middle, line.ends.0, line.ends.1)
            })
            .collect();
        let more = if group.len() > NAMED { format!("; and {} more", group.len() - NAMED) } else { String::new() };
        let place = if share > 0.99 {
            "in all matrices".to_owned()
        } else {
            let names: Vec<&str> = group.iter().flat_map(|l| &l.tensors).map(String::as_str).take(NAMED).collect();
            format!("in {:.0} % of the weights ({} and others)", 100.0 * share, names.join(", "))
        };
        let mut finding = Finding::new(
            Code::ChainOffChord,
            grade,
            Direction::Against,
            format!(
                "Checkpoints lie on a line through two others {place}, exact to {roundings:.2} roundings of the number format: {}{more}. One of each three was computed from the others; training does not walk a straight line.",
                each.join("; ")
            ),
        );
        finding.subject.steps = steps;
        if let [line] = group.as_slice() {
            finding.subject.tensor = line.tensors.first().filter(|_| line.tensors.len() == 1).cloned();
        }
        finding.statistic = Some(roundings);
        finding.effect = Some(share);
        finding.n = Some(group.len() as u64);
        finding.null = "honest runs leave the line by 0.02 of its length or more where it is above rounding".into();
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
            format!(
                "{} of {} sampled rows of the checkpoint of step {} lie on the line through the same rows of steps {} and {} up to rounding, each at its own place: they were put together from these two.",
                lines.on, lines.of, lines.step, lines.ends.0, lines.ends.1
            ),
        );
        finding.subject.steps = vec![lines.ends.0, lines.step, lines.ends.1];
        finding.statistic = Some(share);
        finding.effect = Some(share);
        finding.n = Some(lines.of);
        finding.null = "rows of an honest run that move at all leave the line, as the whole does".into();
        finding.evidence = Some("evidence/trajectory.parquet".into());
        judgement.push(finding);
        return;
    }
}

/// An average of earlier checkpoints: a usual way to finish a training, if it is said.
fn mean(judgement: &mut Judgement, points: &Points, step: i64, of: &[i64], roundings: f64) {
    let declared = points.declared(step);
    let message = format!(
        "The checkpoint of step {step} is the mean of the checkpoints of steps {}, exact to {roundings:.2} roundings of the number format{}.",
        listed(of),
        if declared {
            ", as declared"
        } else {
            ": no training made it. Averaging weights at the end of a training is legitimate, if it is declared (averaged = \"swa\" in the checkpoint's entry)"
        }
    );
    let (grade, direction) =
        if declared { (Grade::Context, Direction::Neutral) } else { (Grade::Moderate, Direction::Against) };
    let mut finding = Finding::new(Code::ChainAveraged, grade, direction, message);
    finding.subject.steps = vec![step];
    finding.statistic = Some(roundings);
    finding.effect = Some(1.0);
    finding.n = Some(of.len() as u64);
    finding.null = "a training step adds what no earlier checkpoint holds".into();
    finding.evidence = Some("evidence/trajectory.parquet".into());
    judgement.push(finding);
    if !declared {
        judgement.missing.push(format!("whether the checkpoint of step {step} was averaged, and from what").into());
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
        let weights: Vec<String> = example.weights.iter().map(|(step, w)| format!("{w:.2} of step {step}")).collect();
        let place = if component == ALL { String::new() } else { format!("Component {component}: ") };
        let mut finding = Finding::new(
            Code::ChainOffChord,
            grade,
            Direction::Against,
            format!(
                "{place}The checkpoints of steps {} are combinations of other checkpoints, exact to {:.2} roundings of the number format; step {} is {}. Training adds what no other checkpoint holds.",
                listed(&steps),
                own.iter().map(|s| s.roundings).fold(0.0, f64::max),
                example.step,
                weights.join(" + "),
            ),
        );
        finding.subject.steps = steps;
        finding.subject.component = (component != ALL).then(|| component.to_owned());
        finding.statistic = Some(example.roundings);
        finding.effect = Some(1.0);
        finding.n = Some(own.len() as u64);
        finding.null = "a checkpoint leaves the span of all others by 0.05 of its way or more".into();
        finding.evidence = Some("evidence/trajectory.parquet".into());
        judgement.push(finding);
    }
}
