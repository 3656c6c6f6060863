//! Checkpoints that are averages of weights, and nobody says so.

use super::ChainFacts;
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_texts::{Text, text};

/// Judges what averages leave in the angles of the path.
pub(super) fn averages(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let points = facts.points;
    let told: Vec<_> = points
        .straightened
        .iter()
        .filter(|s| s.excess >= policy.average_straightens && !points.declared(s.step))
        .collect();
    if let Some(worst) = told.iter().max_by(|a, b| a.excess.total_cmp(&b.excess)) {
        let steps: Vec<i64> = told.iter().map(|s| s.step).collect();
        let message = text!(
            "chain/averaged/straight",
            steps = steps.as_slice(),
            step = worst.step,
            cosine = worst.cosine,
            beside = worst.beside
        );
        let null = text!("chain/averaged/null-straight");
        finding(judgement, steps, worst.excess, message, null);
    }
    let plain = points.averaged.is_none() && points.averaged_steps.is_empty();
    if let Some(undone) = points.undone.filter(|undone| plain && *undone >= policy.average_undone) {
        let (message, null) = (text!("chain/averaged/undone", cosine = undone), text!("chain/averaged/null-undone"));
        finding(judgement, facts.steps.to_vec(), undone, message, null);
    }
}

fn finding(judgement: &mut Judgement, steps: Vec<i64>, statistic: f64, message: Text, null: Text) {
    let mut finding = Finding::new(Code::ChainAveraged, Grade::Moderate, Direction::Against, message);
    finding.subject.steps = steps;
    finding.statistic = Some(statistic);
    finding.effect = Some(statistic);
    finding.null = null;
    finding.evidence = Some("evidence/path.parquet".into());
    judgement.push(finding);
    judgement.missing.push(text!("chain/averaged/missing-which"));
}
