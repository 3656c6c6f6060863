//! Memory of the start and of the one before.

use super::ChainFacts;
use crate::case::Policy;
use crate::evidence::{ComponentRow, Reference};
use crate::finding::{Code, Direction, Finding, Grade, Judgement};
use crate::plan::ALL;
use crate::stats::{Aligned, holm};

fn figures<'a>(facts: &'a ChainFacts<'_>, reference: &Reference, component: &str) -> Vec<&'a ComponentRow> {
    facts.figures.iter().filter(|r| r.component == component && r.reference == *reference).collect()
}

/// Whether this many columns and rows can show that a tower is forgotten: the standard deviation of the null, times what
/// a strong finding needs, is at most half a correlation.
fn visible(row: &ComponentRow, policy: &Policy) -> bool {
    let (Some(z), Some(effect), Some(log10_p)) = (row.z, row.effect, row.log10_p) else { return false };
    Aligned { z, log10_p, effect }.detectable(policy.strong_log10_p) <= 0.5
}

/// Training does not erase what it starts from: neighbours are similar beyond any doubt, or they are not neighbours. Asked
/// of the whole model and of every tower.
pub(super) fn memory(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy, component: &str) -> bool {
    let null = "relabelling of the residual axis: what checkpoints of two different runs show";
    let mut neighbours = figures(facts, &Reference::Previous, component);
    let mut from_start = figures(facts, &Reference::Init, component);
    let tower = component != ALL;
    if tower {
        neighbours.retain(|row| visible(row, policy));
        from_start.retain(|row| visible(row, policy));
        if neighbours.is_empty() {
            return true;
        }
    }
    let place = if tower { format!("Component {component}: ") } else { String::new() };
    let own = tower.then(|| component.to_owned());
    if neighbours.is_empty() || neighbours.iter().any(|r| r.z.is_none()) {
        judgement
            .missing
            .push("matrices with a residual axis in every checkpoint, to test the memory of the start".into());
        return false;
    }
    let adjusted = holm(&neighbours.iter().map(|r| r.log10_p).collect::<Vec<_>>());
    let mut remembered = true;
    for (row, log10_p) in neighbours.iter().zip(adjusted) {
        let (Some(z), Some(effect), Some(log10_p)) = (row.z, row.effect, log10_p) else { continue };
        if log10_p <= policy.strong_log10_p {
            continue;
        }
        remembered = false;
        let before = facts.steps.iter().rev().find(|s| **s < row.step).copied().unwrap_or(row.step);
        let broken = log10_p > policy.moderate_log10_p;
        let mut finding = Finding::new(
            Code::ChainMemory,
            if broken { Grade::Conclusive } else { Grade::Moderate },
            Direction::Against,
            format!(
                "{place}The checkpoint of step {} {} of step {before}: z = {z:.1}, correlation {effect:.3}{}.",
                row.step,
                if broken { "keeps nothing of the weights" } else { "keeps little of the weights" },
                if broken { ", what two different runs show. It does not descend from it" } else { "" },
            ),
        );
        finding.subject.steps = vec![before, row.step];
        finding.subject.component.clone_from(&own);
        finding.statistic = Some(z);
        finding.log10_p = Some(log10_p);
        finding.effect = Some(effect);
        finding.n = Some(row.rows * row.columns);
        null.clone_into(&mut finding.null);
        finding.evidence = Some("evidence/components.parquet".into());
        judgement.push(finding);
    }
    if let Some(last) = from_start.last()
        && remembered
        && last.log10_p.is_some_and(|p| p > policy.moderate_log10_p)
    {
        remembered = false;
        let mut finding = Finding::new(
            Code::ChainMemory,
            Grade::Moderate,
            Direction::Against,
            format!(
                "{place}The last checkpoint, step {}, keeps nothing of the first that could be seen: z = {:.1}, correlation {:.3}. Training does not erase its start unless weight decay does; so nothing joins the two.",
                last.step,
                last.z.unwrap_or(0.0),
                last.effect.unwrap_or(0.0)
            ),
        );
        finding.subject.steps = vec![facts.steps[0], last.step];
        finding.subject.component.clone_from(&own);
        finding.statistic = last.z;
        finding.log10_p = last.log10_p;
        finding.effect = last.effect;
        finding.n = Some(last.rows * last.columns);
        null.clone_into(&mut finding.null);
        finding.evidence = Some("evidence/components.parquet".into());
        judgement.push(finding);
        judgement.missing.push("checkpoints that show how the last one came from the first".into());
    }
    if remembered && !tower {
        kept(judgement, facts, &neighbours, from_start.last().copied(), null);
    }
    remembered
}

/// The finding of a whole model that remembers.
fn kept(
    judgement: &mut Judgement,
    facts: &ChainFacts<'_>,
    neighbours: &[&ComponentRow],
    last: Option<&ComponentRow>,
    null: &str,
) {
    let weakest = neighbours.iter().min_by(|a, b| a.z.unwrap_or(0.0).total_cmp(&b.z.unwrap_or(0.0)));
    if let Some(weakest) = weakest {
        let mut finding = Finding::new(
            Code::ChainMemory,
            Grade::Strong,
            Direction::For,
            format!(
                "Every checkpoint remembers the one before: smallest z = {:.1} (step {}, correlation {:.3}){}.",
                weakest.z.unwrap_or(0.0),
                weakest.step,
                weakest.effect.unwrap_or(0.0),
                last.map_or(String::new(), |l| format!(
                    "; the last, step {}, remembers the first with z = {:.1} and correlation {:.3}",
                    l.step,
                    l.z.unwrap_or(0.0),
                    l.effect.unwrap_or(0.0)
                )),
            ),
        );
        finding.subject.steps = facts.steps.to_vec();
        finding.statistic = weakest.z;
        finding.log10_p = weakest.log10_p;
        finding.effect = weakest.effect;
        finding.n = Some(neighbours.len() as u64);
        null.clone_into(&mut finding.null);
        finding.evidence = Some("evidence/components.parquet".into());
        judgement.push(finding);
    }
}
