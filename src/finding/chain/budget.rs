//! The distance between neighbours against what the optimiser can do.

use super::ChainFacts;
use crate::case::Policy;
use crate::evidence::ChainRow;
use crate::finding::{Code, Direction, Finding, Grade, Judgement};
use crate::plan::ALL;

/// What the optimiser can do with the logged learning rates.
pub(super) fn budget(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
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
