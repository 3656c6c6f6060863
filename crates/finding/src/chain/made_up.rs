//! Checkpoints that no training made: blends, noise, copies, another order.

use super::ChainFacts;
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_measurements::ALL;
use scratchproof_texts::text;

/// How far inner checkpoints are from the chords of their neighbours, where none is on one.
pub(super) fn off_chord(judgement: &mut Judgement, facts: &ChainFacts<'_>) {
    let off: Vec<(i64, f64)> =
        facts.path.iter().filter(|r| r.component == ALL).filter_map(|r| Some((r.from_step, r.off_chord?))).collect();
    let Some(least) = off.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else {
        judgement.missing.push(text!("chain/off-chord/missing-three"));
        return;
    };
    if facts.points.lines.is_empty() {
        let most = off.iter().map(|o| o.1).fold(0.0, f64::max);
        let mut finding = Finding::new(
            Code::ChainOffChord,
            Grade::Weak,
            Direction::For,
            text!("chain/off-chord/apart", count = off.len(), least = least.1, step = least.0, most),
        );
        finding.subject.steps = vec![least.0];
        finding.statistic = Some(least.1);
        finding.effect = Some(least.1);
        finding.n = Some(off.len() as u64);
        finding.null = text!("chain/off-chord/null-apart");
        finding.evidence = Some("evidence/chain.parquet".into());
        judgement.push(finding);
    }
}

/// Whether the path gets shorter when inner checkpoints are exchanged.
pub(super) fn order(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let Some(&(a, b, ratio)) = facts.exchanges.iter().max_by(|x, y| x.2.total_cmp(&y.2)) else { return };
    let (grade, direction, message) = if ratio > policy.order_excess {
        let message = text!("chain/order/shorter", a, b, ratio);
        (Grade::Strong, Direction::Against, message)
    } else if ratio > 1.0 {
        let message = text!("chain/order/hardly-shorter", a, b, ratio);
        (Grade::Moderate, Direction::Against, message)
    } else {
        let message = text!("chain/order/in-order", a, b, longer = 1.0 / ratio);
        (Grade::Weak, Direction::For, message)
    };
    let mut finding = Finding::new(Code::ChainOrder, grade, direction, message);
    finding.subject.steps = vec![a, b];
    finding.statistic = Some(ratio);
    finding.effect = Some(ratio - 1.0);
    finding.n = Some(facts.exchanges.len() as u64);
    finding.null = text!("chain/order/null");
    finding.evidence = Some("evidence/trajectory.parquet".into());
    judgement.push(finding);
}

/// A walk that is away from the straight line stays away for a while; noise laid upon a blend does not.
pub(super) fn noise(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let telling: Vec<_> = facts.residuals.iter().filter(|r| r.expected >= policy.noise_expected).collect();
    let Some(least) = telling.iter().min_by(|a, b| a.cosine.total_cmp(&b.cosine)) else { return };
    let apart = telling.iter().filter(|r| r.cosine < policy.noise_cosine).count();
    let (grade, direction, message) = if telling.len() >= 2 && apart == telling.len() {
        let message = text!(
            "chain/noise/apart",
            pairs = apart,
            expected = telling.iter().map(|r| r.expected).fold(0.0, f64::max),
            cosine = least.cosine,
            a = least.steps.0,
            b = least.steps.1
        );
        (Grade::Strong, Direction::Against, message)
    } else {
        let message = text!("chain/noise/together", cosine = least.cosine, a = least.steps.0, b = least.steps.1);
        let direction = if apart == 0 { Direction::For } else { Direction::Neutral };
        (Grade::Weak, direction, message)
    };
    let mut finding = Finding::new(Code::ChainNoise, grade, direction, message);
    finding.subject.steps = vec![least.steps.0, least.steps.1];
    finding.statistic = Some(least.cosine);
    finding.effect = Some(least.cosine);
    finding.n = Some(telling.len() as u64);
    finding.null = text!("chain/noise/null");
    finding.evidence = Some("evidence/chain.parquet".into());
    judgement.push(finding);
}
