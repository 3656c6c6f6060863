//! Splices: intervals that are longer than those beside them and take back what the one before had done.

use std::collections::BTreeMap;

use super::ChainFacts;
use super::points::Splice;
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_texts::text;

/// Components that seldom move alike: routers are small and follow the experts.
const ERRATIC: &[&str] = &["router"];

/// Components of few numbers, which a warm-up and a falling rate drive up and down together: alone they ask nothing. **Measured** in an
/// honest Mamba of hidden size 64: norms turn with a cosine of -0.65, where 0.83 stands beside it.
const FEW: &[&str] = &["norms"];

/// What a turn of these components weighs.
fn weight(own: &[&Splice]) -> Grade {
    if own.iter().all(|splice| FEW.contains(&splice.component.as_str())) { Grade::Weak } else { Grade::Moderate }
}

/// By how much such a turn is sharper than those beside it, as inverse hyperbolic tangents.
const RETURN: f64 = 0.5;

/// Judges splices. A last interval has one neighbour only, so two components have to say it, and more plainly.
pub(super) fn splices(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let undeclared =
        |splice: &&Splice| ![splice.steps.1, splice.steps.2].iter().any(|step| facts.points.declared(*step));
    let back = |splice: &&Splice| {
        let (dip, faster) = if splice.last {
            (policy.splice_dip_last, policy.splice_faster_last)
        } else {
            (policy.splice_dip, policy.splice_faster)
        };
        splice.cosine <= -policy.splice_cosine
            && splice.dip >= dip
            && splice.faster >= faster
            && !ERRATIC.contains(&splice.component.as_str())
            && undeclared(splice)
    };
    returns(judgement, facts, policy, &undeclared);
    layers(judgement, facts, policy);
    let mut intervals: BTreeMap<(i64, i64, i64), Vec<&Splice>> = BTreeMap::new();
    for splice in facts.points.splices.iter().filter(back) {
        intervals.entry(splice.steps).or_default().push(splice);
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
        let mut finding = Finding::new(Code::ChainTurn, weight(&own), Direction::Against, message);
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
fn returns(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy, asked: &dyn Fn(&&Splice) -> bool) {
    let mut told: BTreeMap<(i64, i64, i64), Vec<&Splice>> = BTreeMap::new();
    for splice in facts.points.splices.iter().filter(|s| s.cosine < -policy.turn_strong && s.dip > RETURN).filter(asked)
    {
        told.entry(splice.steps).or_default().push(splice);
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
        let mut finding = Finding::new(Code::ChainTurn, weight(&own), Direction::Against, message);
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
    let told = facts.points.layer_splices.iter().filter(|s| {
        s.cosine <= -policy.splice_cosine
            && s.dip >= policy.layer_splice_dip
            && s.faster >= policy.layer_splice_faster
            && ![s.steps.1, s.steps.2].iter().any(|step| facts.points.declared(*step))
    });
    for splice in told {
        let message = text!(
            "chain/turn/layer",
            layer = splice.layer,
            tower = Some(splice.tower.as_str()).filter(|tower| !tower.is_empty()),
            before = splice.steps.0,
            from = splice.steps.1,
            to = splice.steps.2,
            cosine = splice.cosine,
            sharpest = splice.sharpest,
            faster = splice.faster
        );
        let mut finding = Finding::new(Code::ChainTurn, Grade::Moderate, Direction::Against, message);
        finding.subject.steps = vec![splice.steps.1, splice.steps.2];
        finding.subject.layer = Some(splice.layer);
        finding.statistic = Some(splice.dip);
        finding.effect = Some(-splice.cosine);
        finding.n = Some(facts.steps.len() as u64);
        finding.null = text!("chain/turn/null-layer");
        finding.evidence = Some("evidence/trajectory.parquet".into());
        judgement.push(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(component: &str) -> Splice {
        let steps = (15, 40, 120);
        Splice { steps, component: component.into(), cosine: -0.65, beside: 0.83, dip: 1.9, faster: 1.0, last: true }
    }

    #[test]
    fn norms_alone_ask_nothing() {
        let (norms, attention) = (turned("norms"), turned("attention"));
        assert_eq!(weight(&[&norms]), Grade::Weak);
        assert_eq!(weight(&[&norms, &attention]), Grade::Moderate);
    }
}
