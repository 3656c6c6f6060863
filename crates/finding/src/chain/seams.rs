//! Seams: intervals that are longer than those beside them and take back what the one before had done.

use std::collections::BTreeMap;

use super::ChainFacts;
use super::points::Seam;
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_texts::text;

/// Components that seldom move alike: routers are small and follow the experts.
const ERRATIC: &[&str] = &["router"];

/// By how much such a turn is sharper than those beside it, as inverse hyperbolic tangents.
const RETURN: f64 = 0.5;

/// Judges seams. A last interval has one neighbour only, so two components have to say it, and more plainly.
pub(super) fn seams(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let undeclared = |seam: &&Seam| ![seam.steps.1, seam.steps.2].iter().any(|step| facts.points.declared(*step));
    let back = |seam: &&Seam| {
        let (dip, faster) = if seam.last {
            (policy.seam_dip_last, policy.seam_faster_last)
        } else {
            (policy.seam_dip, policy.seam_faster)
        };
        seam.cosine <= -policy.seam_cosine
            && seam.dip >= dip
            && seam.faster >= faster
            && !ERRATIC.contains(&seam.component.as_str())
            && undeclared(seam)
    };
    returns(judgement, facts, policy, &undeclared);
    layers(judgement, facts, policy);
    let mut intervals: BTreeMap<(i64, i64, i64), Vec<&Seam>> = BTreeMap::new();
    for seam in facts.points.seams.iter().filter(back) {
        intervals.entry(seam.steps).or_default().push(seam);
    }
    for (steps, own) in intervals {
        let Some(worst) = own.iter().max_by(|a, b| a.dip.total_cmp(&b.dip)) else { continue };
        if worst.last && own.len() < 2 {
            continue;
        }
        let names: Vec<&str> = own.iter().map(|s| s.component.as_str()).collect();
        let message = text!(
            "chain/turn/back",
            components = names,
            before = steps.0,
            from = steps.1,
            to = steps.2,
            cosine = worst.cosine,
            beside = worst.beside,
            faster = worst.faster
        );
        let mut finding = Finding::new(Code::ChainTurn, Grade::Moderate, Direction::Against, message);
        finding.subject.steps = vec![steps.1, steps.2];
        if let [only] = own.as_slice() {
            finding.subject.component = Some(only.component.clone());
        }
        finding.statistic = Some(worst.dip);
        finding.effect = Some(-worst.cosine);
        finding.n = Some(own.len() as u64);
        finding.null = text!("chain/turn/null-back");
        finding.evidence = Some("evidence/path.parquet".into());
        judgement.push(finding);
    }
}

/// Components that undo an interval in the next one.
fn returns(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy, asked: &dyn Fn(&&Seam) -> bool) {
    let mut told: BTreeMap<(i64, i64, i64), Vec<&Seam>> = BTreeMap::new();
    for seam in facts.points.seams.iter().filter(|s| s.cosine < -policy.turn_strong && s.dip > RETURN).filter(asked) {
        told.entry(seam.steps).or_default().push(seam);
    }
    for (steps, own) in told {
        let Some(worst) = own.iter().min_by(|a, b| a.cosine.total_cmp(&b.cosine)) else { continue };
        let names: Vec<&str> = own.iter().map(|s| s.component.as_str()).collect();
        let message = text!(
            "chain/turn/undone",
            components = names,
            before = steps.0,
            from = steps.1,
            to = steps.2,
            cosine = worst.cosine,
            beside = worst.beside
        );
        let mut finding = Finding::new(Code::ChainTurn, Grade::Moderate, Direction::Against, message);
        finding.subject.steps = vec![steps.0, steps.1, steps.2];
        if let [only] = own.as_slice() {
            finding.subject.component = Some(only.component.clone());
        }
        finding.statistic = Some(worst.cosine);
        finding.effect = Some(-worst.cosine);
        finding.n = Some(own.len() as u64);
        finding.null = text!("chain/turn/null-undone");
        finding.evidence = Some("evidence/path.parquet".into());
        judgement.push(finding);
    }
}

/// Single layers of another training.
fn layers(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let told = facts.points.layer_seams.iter().filter(|s| {
        s.cosine <= -policy.seam_cosine
            && s.dip >= policy.layer_seam_dip
            && s.faster >= policy.layer_seam_faster
            && ![s.steps.1, s.steps.2].iter().any(|step| facts.points.declared(*step))
    });
    for seam in told {
        let message = text!(
            "chain/turn/layer",
            layer = seam.layer,
            tower = Some(seam.tower.as_str()).filter(|tower| !tower.is_empty()),
            before = seam.steps.0,
            from = seam.steps.1,
            to = seam.steps.2,
            cosine = seam.cosine,
            sharpest = seam.sharpest,
            faster = seam.faster
        );
        let mut finding = Finding::new(Code::ChainTurn, Grade::Moderate, Direction::Against, message);
        finding.subject.steps = vec![seam.steps.1, seam.steps.2];
        finding.subject.layer = Some(seam.layer);
        finding.statistic = Some(seam.dip);
        finding.effect = Some(-seam.cosine);
        finding.n = Some(facts.steps.len() as u64);
        finding.null = text!("chain/turn/null-layer");
        finding.evidence = Some("evidence/trajectory.parquet".into());
        judgement.push(finding);
    }
}
