//! Checkpoints that are other checkpoints again: copies, returns, replaced tensors, another number format.

use super::{ChainFacts, listed};
use crate::{Code, Direction, Finding, Grade, Judgement};

/// Two steps with the same weights.
pub(super) fn duplicates(judgement: &mut Judgement, facts: &ChainFacts<'_>) {
    let repeats = &facts.points.repeats;
    for (a, b) in facts.equal {
        if repeats.iter().any(|r| r.returned && r.steps == (*a, *b)) {
            continue;
        }
        let mut finding = Finding::new(
            Code::ChainDuplicate,
            Grade::Moderate,
            Direction::Against,
            format!(
                "Steps {a} and {b} hold the same weights, element by element: one of them is a copy, or nothing was trained between them."
            ),
        );
        finding.subject.steps = vec![*a, *b];
        finding.effect = Some(1.0);
        finding.null = "a training step changes weights".into();
        finding.evidence = Some("evidence/trajectory.parquet".into());
        judgement.push(finding);
    }
    for repeat in repeats.iter().filter(|r| r.returned || !r.equal) {
        let (a, b) = repeat.steps;
        let message = if repeat.returned {
            format!(
                "The weights of step {b} are those of step {a} again, to {:.1} roundings of the number format, and a checkpoint between them is {:.0} roundings away: training does not return.",
                repeat.roundings, repeat.expected
            )
        } else {
            format!(
                "Steps {a} and {b} differ by {:.1} roundings of the number format, where {:.0} are to be expected of the slowest other interval{}: one of them is a copy, or next to nothing was trained between them.",
                repeat.roundings,
                repeat.expected,
                if repeat.logged { " and the logged learning rates" } else { "" }
            )
        };
        let grade = if repeat.returned { Grade::Strong } else { Grade::Moderate };
        let mut finding = Finding::new(Code::ChainDuplicate, grade, Direction::Against, message);
        finding.subject.steps = vec![a, b];
        finding.statistic = Some(repeat.roundings);
        finding.effect = Some(repeat.roundings / repeat.expected);
        finding.null = "honest neighbours differ by 0.05 of what the other intervals let expect, or more".into();
        finding.evidence = Some("evidence/chain.parquet".into());
        judgement.push(finding);
    }
}

/// Changes of precision along the series.
pub(super) fn precision(judgement: &mut Judgement, facts: &ChainFacts<'_>) {
    for recast in facts.points.recasts.iter().filter(|r| r.coarser || r.fewer.is_some()) {
        let eight = recast.to.starts_with("F8");
        let (grade, direction) = if recast.back || eight || recast.fewer.is_some() {
            (Grade::Moderate, Direction::Against)
        } else {
            (Grade::Context, Direction::Neutral)
        };
        let mut finding = Finding::new(
            Code::ChainPrecision,
            grade,
            direction,
            if let Some(share) = recast.fewer {
                format!(
                    "The matrices of step {} hold {:.0} % as many different values as those of the steps beside it: this checkpoint went through a coarser number format, apart from the others.",
                    recast.step,
                    100.0 * share
                )
            } else {
                format!(
                    "The values of step {} are in {}, those of the step before in {}{}.",
                    recast.step,
                    recast.to,
                    recast.from,
                    if recast.back {
                        "; a later step is as those before: this checkpoint went through another precision, apart from the others"
                    } else {
                        ", and the series stays so"
                    }
                )
            },
        );
        finding.subject.steps = vec![recast.step];
        finding.null = "checkpoints of one run are saved in one precision".into();
        finding.evidence = Some("evidence/tensors.parquet".into());
        judgement.push(finding);
    }
    for resaved in &facts.points.resaved {
        let which = match resaved.steps.as_slice() {
            [one] => format!("step {one}"),
            all if all.len() == facts.steps.len() => "all steps".to_owned(),
            all => format!("steps {}", all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        };
        let message = format!(
            "The matrices of {which} are stored in {} and hold numbers of {} only: they were in {} before they were saved, and lost nothing since.",
            resaved.stored, resaved.needed, resaved.needed
        );
        let mut finding = Finding::new(Code::ChainPrecision, Grade::Context, Direction::Neutral, message);
        finding.subject.steps.clone_from(&resaved.steps);
        finding.null = "a format shows all of its bits unless the values come from a coarser one".into();
        finding.evidence = Some("evidence/tensors.parquet".into());
        judgement.push(finding);
    }
}

/// Where the way turns back.
pub(super) fn turns(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &scratchproof_case::Policy) {
    let points = facts.points;
    let back: Vec<_> = points
        .detours
        .iter()
        .filter(|d| d.cosine < -policy.turn_moderate && !(d.last && points.declared(d.steps.2)))
        .collect();
    let Some(worst) = back.iter().min_by(|a, b| a.cosine.total_cmp(&b.cosine)) else { return };
    let grade =
        if back.iter().any(|d| !d.last && d.cosine < -policy.turn_strong) { Grade::Strong } else { Grade::Moderate };
    let steps: Vec<i64> = back.iter().map(|d| d.steps.1).collect();
    let advice = if worst.last {
        " An average of earlier weights lies behind the last checkpoint; if it is one, declare it (averaged = \"ema\" or \"swa\" in the checkpoint's entry)."
    } else {
        ""
    };
    let mut finding = Finding::new(
        Code::ChainTurn,
        grade,
        Direction::Against,
        format!(
            "The way turns back at steps {}: the displacements before and after have a cosine of {:.2} at step {} (from step {} to step {}). Checkpoints of one run, in the order of their steps, do not go to and fro.{advice}",
            listed(&steps),
            worst.cosine,
            worst.steps.1,
            worst.steps.0,
            worst.steps.2
        ),
    );
    finding.subject.steps = vec![worst.steps.0, worst.steps.1, worst.steps.2];
    finding.statistic = Some(worst.cosine);
    finding.effect = Some(-worst.cosine);
    finding.n = Some(points.detours.len() as u64);
    finding.null =
        "a walk about a minimum turns back with a cosine of -0.5 at most; honest runs were measured down to -0.40"
            .into();
    finding.evidence = Some("evidence/chain.parquet".into());
    judgement.push(finding);
}
