//! Checkpoints that are other checkpoints again: copies, returns, replaced tensors, another number format.

use super::ChainFacts;
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_texts::text;

/// So many first updates may have changed nothing: a scale of 2^32 is halved as often before a gradient fits.
const SKIPPED: i64 = 32;

/// Two steps with the same weights.
pub(super) fn duplicates(judgement: &mut Judgement, facts: &ChainFacts<'_>) {
    let repeats = &facts.points.repeats;
    for equal in facts.equal {
        let (a, b) = equal.steps;
        if repeats.iter().any(|r| r.returned && r.steps == (a, b)) {
            continue;
        }
        // A warm-up that begins at a rate of zero leaves step 1 what step 0 is, and loss scaling skips the first updates.
        let first = facts.steps.first() == Some(&a) && b.saturating_sub(a) <= SKIPPED;
        let (grade, direction, message) = match equal.idle {
            Some(true) => (Grade::Context, Direction::Neutral, text!("chain/duplicate-step/idle", a, b)),
            None if first => (Grade::Context, Direction::Neutral, text!("chain/duplicate-step/first", a, b)),
            _ => (Grade::Moderate, Direction::Against, text!("chain/duplicate-step/equal", a, b)),
        };
        let mut finding = Finding::new(Code::ChainDuplicate, grade, direction, message);
        finding.subject.steps = vec![a, b];
        finding.effect = Some(1.0);
        finding.null = text!("chain/duplicate-step/null-equal");
        finding.evidence = Some("evidence/trajectory.parquet".into());
        judgement.push(finding);
    }
    for repeat in repeats.iter().filter(|r| r.returned || !r.equal) {
        let (a, b) = repeat.steps;
        let (roundings, expected) = (repeat.roundings, repeat.expected);
        let message = if repeat.returned {
            text!("chain/duplicate-step/returned", a, b, roundings, away = expected)
        } else {
            text!("chain/duplicate-step/near", a, b, roundings, expected, logged = repeat.logged)
        };
        let grade = if repeat.returned { Grade::Strong } else { Grade::Moderate };
        let mut finding = Finding::new(Code::ChainDuplicate, grade, Direction::Against, message);
        finding.subject.steps = vec![a, b];
        finding.statistic = Some(repeat.roundings);
        finding.effect = Some(repeat.roundings / repeat.expected);
        finding.null = text!("chain/duplicate-step/null-near");
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
        let message = if let Some(share) = recast.fewer {
            text!("chain/precision/fewer-values", step = recast.step, share)
        } else {
            text!(
                "chain/precision/recast",
                step = recast.step,
                from = &recast.from,
                to = &recast.to,
                back = recast.back
            )
        };
        let mut finding = Finding::new(Code::ChainPrecision, grade, direction, message);
        finding.subject.steps = vec![recast.step];
        finding.null = text!("chain/precision/null-one");
        finding.evidence = Some("evidence/tensors.parquet".into());
        judgement.push(finding);
    }
    for resaved in &facts.points.resaved {
        let message = text!(
            "chain/precision/resaved",
            steps = resaved.steps.as_slice(),
            all = resaved.steps.len() > 1 && resaved.steps.len() == facts.steps.len(),
            stored = &resaved.stored,
            needed = &resaved.needed
        );
        let mut finding = Finding::new(Code::ChainPrecision, Grade::Context, Direction::Neutral, message);
        finding.subject.steps.clone_from(&resaved.steps);
        finding.null = text!("chain/precision/null-bits");
        finding.evidence = Some("evidence/tensors.parquet".into());
        judgement.push(finding);
    }
}

/// Where the path turns back.
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
    let mut message = text!(
        "chain/turn/to-and-fro",
        steps,
        cosine = worst.cosine,
        step = worst.steps.1,
        from = worst.steps.0,
        to = worst.steps.2
    );
    if worst.last {
        message.push(text!("chain/turn/average"));
    }
    let mut finding = Finding::new(Code::ChainTurn, grade, Direction::Against, message);
    finding.subject.steps = vec![worst.steps.0, worst.steps.1, worst.steps.2];
    finding.statistic = Some(worst.cosine);
    finding.effect = Some(-worst.cosine);
    finding.n = Some(points.detours.len() as u64);
    finding.null = text!("chain/turn/null-to-and-fro");
    finding.evidence = Some("evidence/chain.parquet".into());
    judgement.push(finding);
}
