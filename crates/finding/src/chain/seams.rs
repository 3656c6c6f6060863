//! Seams: intervals that are longer than those beside them and take back what the one before had done.

use std::collections::BTreeMap;

use super::ChainFacts;
use super::points::Seam;
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;

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
        let message = format!(
            "Between steps {} and {} {} went back on what it had done from step {} on (cosine {:.2}; {:.2} at the checkpoints beside) and moved {:.2} times as fast as in the intervals beside: a checkpoint of another training of the same start follows so.",
            steps.1,
            steps.2,
            names.join(", "),
            steps.0,
            worst.cosine,
            worst.beside,
            worst.faster
        );
        let mut finding = Finding::new(Code::ChainTurn, Grade::Moderate, Direction::Against, message);
        finding.subject.steps = vec![steps.1, steps.2];
        if let [only] = own.as_slice() {
            finding.subject.component = Some(only.component.clone());
        }
        finding.statistic = Some(worst.dip);
        finding.effect = Some(-worst.cosine);
        finding.n = Some(own.len() as u64);
        finding.null =
            "the way of a component bends as much at one checkpoint as at those beside it, and does not hasten where it turns".into();
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
        let message = format!(
            "What {} did from step {} to step {} was undone by step {}: the displacements have a cosine of {:.2} ({:.2} at the checkpoints beside).",
            names.join(", "),
            steps.0,
            steps.1,
            steps.2,
            worst.cosine,
            worst.beside
        );
        let mut finding = Finding::new(Code::ChainTurn, Grade::Moderate, Direction::Against, message);
        finding.subject.steps = vec![steps.0, steps.1, steps.2];
        if let [only] = own.as_slice() {
            finding.subject.component = Some(only.component.clone());
        }
        finding.statistic = Some(worst.cosine);
        finding.effect = Some(-worst.cosine);
        finding.n = Some(own.len() as u64);
        finding.null = "a walk about a minimum turns back with a cosine of -0.5 at most; components of honest runs were measured down to -0.53".into();
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
        let tower = if seam.tower.is_empty() { String::new() } else { format!(" of {}", seam.tower) };
        let message = format!(
            "Between steps {} and {} layer {}{tower} went back on what it had done from step {} on (cosine {:.2}; {:.2} or more in the other layers) and hastened {:.2} times as much as they: a layer of another training of the same start follows so.",
            seam.steps.1, seam.steps.2, seam.layer, seam.steps.0, seam.cosine, seam.sharpest, seam.faster
        );
        let mut finding = Finding::new(Code::ChainTurn, Grade::Moderate, Direction::Against, message);
        finding.subject.steps = vec![seam.steps.1, seam.steps.2];
        finding.subject.layer = Some(seam.layer);
        finding.statistic = Some(seam.dip);
        finding.effect = Some(-seam.cosine);
        finding.n = Some(facts.steps.len() as u64);
        finding.null = "the layers of one training bend and hasten together".into();
        finding.evidence = Some("evidence/trajectory.parquet".into());
        judgement.push(finding);
    }
}
