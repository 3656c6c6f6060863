//! Checkpoints that are averages of weights, and nobody says so.

use super::{ChainFacts, listed};
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;

/// Judges what averages leave in the angles of the way.
pub(super) fn averages(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let points = facts.points;
    let told: Vec<_> = points
        .straightened
        .iter()
        .filter(|s| s.excess >= policy.average_straightens && !points.declared(s.step))
        .collect();
    if let Some(worst) = told.iter().max_by(|a, b| a.excess.total_cmp(&b.excess)) {
        let steps: Vec<i64> = told.iter().map(|s| s.step).collect();
        let message = format!(
            "At steps {} the way is straighter than at the checkpoints beside them: the displacements before and after step {} have a cosine of {:.2}, those at the next checkpoints {:.2} at most. A mean of a checkpoint and those beside it is so; declare it (averaged = \"swa\" in the checkpoint's entry) if it is one.",
            listed(&steps),
            worst.step,
            worst.cosine,
            worst.beside
        );
        let null = "cosines of neighbouring displacements rise and fall together; honest runs: by 0.55 (inverse hyperbolic tangent) above both beside it";
        finding(judgement, steps, worst.excess, message, null);
    }
    let plain = points.averaged.is_none() && points.averaged_steps.is_empty();
    if let Some(undone) = points.undone.filter(|undone| plain && *undone >= policy.average_undone) {
        let message = format!(
            "Every checkpoint looks like the mean of two that follow each other: where that is undone, neighbouring increments have cosines of {undone:.2} or more, as a training's have; undone where nothing was averaged, they take turns. Declare it (averaged = \"lawa\" for the series) if it is so."
        );
        finding(judgement, facts.steps.to_vec(), undone, message, "honest runs: -0.03 at most");
    }
}

fn finding(judgement: &mut Judgement, steps: Vec<i64>, statistic: f64, message: String, null: &str) {
    let mut finding = Finding::new(Code::ChainAveraged, Grade::Moderate, Direction::Against, message);
    finding.subject.steps = steps;
    finding.statistic = Some(statistic);
    finding.effect = Some(statistic);
    finding.null = null.into();
    finding.evidence = Some("evidence/path.parquet".into());
    judgement.push(finding);
    judgement.missing.push("which checkpoints were averaged, and from what".into());
}
