//! Condition C: every checkpoint follows from the one before by training (METHODS 5).

use super::{Code, Condition, Direction, Finding, Grade, Judgement};
use crate::case::Policy;
use crate::evidence::{ChainRow, ComponentRow, Reference};
use crate::plan::ALL;
use crate::stats::{Aligned, holm};

/// What was measured of the series.
pub struct ChainFacts<'a> {
    /// Steps of the checkpoints, ascending.
    pub steps: &'a [i64],
    /// Names of the towers, which have a memory of their own.
    pub towers: Vec<&'a str>,
    /// Every checkpoint against the first and the one before.
    pub figures: &'a [ComponentRow],
    /// Every neighbouring pair.
    pub path: &'a [ChainRow],
    /// Largest displacement over the sum of learning rates, for optimisers that have one, and the optimiser's name.
    pub bound: Option<(f64, String)>,
    /// Why there is no bound or no budget, in words.
    pub unbounded: Option<String>,
    /// Triples whose middle is a blend of its neighbours: step, where along the chord, roundings off it.
    pub blends: &'a [(i64, f64, f64)],
    /// Pairs of steps with equal weights.
    pub equal: &'a [(i64, i64)],
    /// Length of the path over its length with two inner checkpoints exchanged, or the part from one to the other turned
    /// round: their steps and the ratio.
    pub exchanges: &'a [(i64, i64, f64)],
    /// Inner neighbours off the straight line from first to last.
    pub residuals: &'a [OffLine],
    /// Checkpoints of another architecture: step and why they were left out.
    pub left_out: &'a [(i64, String)],
}

/// Two neighbouring inner checkpoints, without what lies on the straight line from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OffLine {
    /// Their steps.
    pub steps: (i64, i64),
    /// Cosine of what is left of them.
    pub cosine: f64,
    /// The cosine that a random walk tied at both ends would have there.
    pub expected: f64,
}

/// Judges the chain.
#[must_use]
pub fn judge(facts: &ChainFacts<'_>, policy: &Policy) -> Judgement {
    let mut judgement = Judgement::untested();
    for (step, why) in facts.left_out {
        let mut finding = Finding::new(
            Code::ChainArchitecture,
            Grade::Context,
            Direction::Neutral,
            format!("The checkpoint of step {step} was left out: {why}. Leftovers of an earlier run look like this."),
        );
        finding.subject.steps = vec![*step];
        judgement.push(finding);
        judgement.missing.push(format!("the checkpoint of step {step} in the final architecture"));
    }
    if facts.steps.len() < 2 {
        judgement.missing.push("two or more checkpoints of the training".into());
        return judgement;
    }
    let mut remembered = memory(&mut judgement, facts, policy, ALL);
    for tower in &facts.towers {
        remembered &= memory(&mut judgement, facts, policy, tower);
    }
    budget(&mut judgement, facts, policy);
    off_chord(&mut judgement, facts, policy);
    for (a, b) in facts.equal {
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
    order(&mut judgement, facts, policy);
    noise(&mut judgement, facts, policy);
    judgement.settle(if remembered { Condition::Holds } else { Condition::Untested });
    judgement
}

/// Whether the path gets shorter when inner checkpoints are exchanged.
fn order(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let Some(&(a, b, ratio)) = facts.exchanges.iter().max_by(|x, y| x.2.total_cmp(&y.2)) else { return };
    let (grade, direction, message) = if ratio > policy.order_excess {
        let message = format!(
            "The path is {ratio:.2} times shorter with steps {a} and {b} exchanged: these checkpoints do not lie in the order of their steps."
        );
        (Grade::Strong, Direction::Against, message)
    } else if ratio > 1.0 {
        let message = format!(
            "The path is {ratio:.2} times shorter with steps {a} and {b} exchanged; honest runs were measured up to 0.88."
        );
        (Grade::Moderate, Direction::Against, message)
    } else {
        let message = format!(
            "The checkpoints lie along the path in the order of their steps: exchanging any two inner checkpoints makes it longer, least steps {a} and {b} ({:.2} times).",
            1.0 / ratio
        );
        (Grade::Weak, Direction::For, message)
    };
    let mut finding = Finding::new(Code::ChainOrder, grade, direction, message);
    finding.subject.steps = vec![a, b];
    finding.statistic = Some(ratio);
    finding.effect = Some(ratio - 1.0);
    finding.n = Some(facts.exchanges.len() as u64);
    finding.null = "the path of a training in the order of its steps is the shortest; honest runs reach 0.88".into();
    finding.evidence = Some("evidence/trajectory.parquet".into());
    judgement.push(finding);
}

/// A walk that is away from the straight line stays away for a while; noise laid upon a blend does not.
fn noise(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let telling: Vec<_> = facts.residuals.iter().filter(|r| r.expected >= policy.noise_expected).collect();
    let Some(least) = telling.iter().min_by(|a, b| a.cosine.total_cmp(&b.cosine)) else { return };
    let apart = telling.iter().filter(|r| r.cosine < policy.noise_cosine).count();
    let (grade, direction, message) = if telling.len() >= 2 && apart == telling.len() {
        let message = format!(
            "Away from the straight line between first and last checkpoint, none of {apart} pairs of neighbours has anything in common (largest expected {:.2}, smallest cosine {:.3} at steps {} and {}): like a blend with fresh noise, not like a walk.",
            telling.iter().map(|r| r.expected).fold(0.0, f64::max),
            least.cosine,
            least.steps.0,
            least.steps.1
        );
        (Grade::Strong, Direction::Against, message)
    } else {
        let message = format!(
            "Away from the straight line between first and last checkpoint, neighbours have a cosine of {:.2} or more (steps {} and {}), as a walk has; a blend with fresh noise has 0.",
            least.cosine, least.steps.0, least.steps.1
        );
        let direction = if apart == 0 { Direction::For } else { Direction::Neutral };
        (Grade::Weak, direction, message)
    };
    let mut finding = Finding::new(Code::ChainNoise, grade, direction, message);
    finding.subject.steps = vec![least.steps.0, least.steps.1];
    finding.statistic = Some(least.cosine);
    finding.effect = Some(least.cosine);
    finding.n = Some(telling.len() as u64);
    finding.null = "independent noise on a straight line: cosine 0; honest runs were measured from 0.16 up".into();
    finding.evidence = Some("evidence/chain.parquet".into());
    judgement.push(finding);
}

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
fn memory(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy, component: &str) -> bool {
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

/// What the optimiser can do with the logged learning rates.
fn budget(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let spent: Vec<(&ChainRow, f64)> = facts.path.iter().filter_map(|r| Some((r, r.budget?))).collect();
    let Some((worst, budget)) =
        spent.iter().filter(|(r, _)| r.component == ALL).max_by(|a, b| a.1.total_cmp(&b.1)).copied()
    else {
        let why =
            facts.unbounded.clone().unwrap_or_else(|| "no learning rates are logged between the checkpoints".into());
        judgement.missing.push(format!("a test of the step sizes: {why}"));
        return;
    };
    let intervals = spent.iter().filter(|(r, _)| r.component == ALL).count();
    let range = format!("between steps {} and {}", worst.from_step, worst.to_step);
    let own_rate = |bound: f64| {
        let above = spent.iter().filter(|(r, b)| r.component != ALL && *b > bound * policy.budget_excess);
        above.max_by(|a, b| a.1.total_cmp(&b.1)).copied()
    };
    let null = |bound: f64, optimiser: &str| {
        format!("{optimiser}: root mean square displacement at most {bound:.2} times the sum of the learning rates")
    };
    let mut shown = (worst, budget);
    let (grade, direction, message, null) = match &facts.bound {
        Some((bound, optimiser)) if budget > bound * policy.budget_excess => (
            Grade::Conclusive,
            Direction::Against,
            format!(
                "The whole model moved {budget:.2} times the sum of the logged learning rates {range}; {optimiser} cannot exceed {bound:.2}. These two checkpoints are not joined by the logged training."
            ),
            null(*bound, optimiser),
        ),
        Some((bound, optimiser)) => {
            if let Some((row, excess)) = own_rate(*bound) {
                shown = (row, excess);
                judgement
                    .missing
                    .push(format!("the learning rate of component {}, if it has one of its own", row.component));
                (
                    Grade::Moderate,
                    Direction::Against,
                    format!(
                        "Component {} moved {excess:.2} times the sum of the logged learning rates between steps {} and {}; {optimiser} cannot exceed {bound:.2} unless this component has a learning rate of its own.",
                        row.component, row.from_step, row.to_step
                    ),
                    null(*bound, optimiser),
                )
            } else {
                (
                    Grade::Moderate,
                    Direction::For,
                    format!(
                        "In all {intervals} intervals the model moved at most {budget:.2} times the sum of the logged learning rates ({range}); {optimiser} can reach {bound:.2}."
                    ),
                    null(*bound, optimiser),
                )
            }
        }
        None => (
            Grade::Context,
            Direction::Neutral,
            format!(
                "In {intervals} intervals the model moved at most {budget:.2} times the sum of the logged learning rates ({range}). No bound applies: {}.",
                facts.unbounded.as_deref().unwrap_or("the optimiser is not known")
            ),
            "none: the step of this optimiser depends on the size of the gradient".to_owned(),
        ),
    };
    let (worst, budget) = shown;
    let mut finding = Finding::new(Code::ChainBudget, grade, direction, message);
    if worst.component != ALL {
        finding.subject.component = Some(worst.component.clone());
    }
    finding.subject.steps = vec![worst.from_step, worst.to_step];
    finding.statistic = Some(budget);
    finding.effect = facts.bound.as_ref().map(|(bound, _)| budget / bound);
    finding.n = Some(intervals as u64);
    finding.null = null;
    finding.evidence = Some("evidence/chain.parquet".into());
    judgement.push(finding);
}

/// A checkpoint on the line between its neighbours was computed from them.
fn off_chord(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    for (step, fraction, roundings) in facts.blends {
        let mut finding = Finding::new(
            Code::ChainOffChord,
            Grade::Conclusive,
            Direction::Against,
            format!(
                "The checkpoint of step {step} is a blend of its neighbours, {:.0} % of the way between them, exact to {roundings:.2} roundings of its number format (policy: {}). Training does not walk a straight line.",
                fraction * 100.0,
                policy.blend_roundings
            ),
        );
        finding.subject.steps = vec![*step];
        finding.statistic = Some(*roundings);
        finding.effect = Some(1.0);
        finding.null = "honest runs leave the chord by 0.04 of its length or more".into();
        finding.evidence = Some("evidence/chain.parquet".into());
        judgement.push(finding);
    }
    let off: Vec<(i64, f64)> =
        facts.path.iter().filter(|r| r.component == ALL).filter_map(|r| Some((r.from_step, r.off_chord?))).collect();
    let Some(least) = off.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else {
        judgement.missing.push("three or more checkpoints, to see whether one was computed from others".into());
        return;
    };
    if facts.blends.is_empty() {
        let most = off.iter().map(|o| o.1).fold(0.0, f64::max);
        let mut finding = Finding::new(
            Code::ChainOffChord,
            Grade::Weak,
            Direction::For,
            format!(
                "{} of {} inner checkpoints lie off the chord between their neighbours, by {:.3} (step {}) to {most:.3} of its length.",
                off.len(),
                off.len(),
                least.1,
                least.0
            ),
        );
        finding.subject.steps = vec![least.0];
        finding.statistic = Some(least.1);
        finding.effect = Some(least.1);
        finding.n = Some(off.len() as u64);
        finding.null = "a blend of two checkpoints lies on the line between them up to rounding".into();
        finding.evidence = Some("evidence/chain.parquet".into());
        judgement.push(finding);
    }
}
