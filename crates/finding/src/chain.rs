//! Condition C: every checkpoint follows from the one before by training (METHODS 5).

mod averages;
mod blend;
pub(crate) mod budget;
mod copies;
pub(crate) mod decay;
mod growth;
mod made_up;
mod memory;
pub mod movement;
mod optimizer;
mod points;
mod sizes;
mod splices;
mod structure;
mod surgery;
#[cfg(test)]
mod tests;

pub use budget::Bound;
pub use decay::{ClockInterval, DecayFacts, TokenClock};
pub use movement::{LAYERS, Moved, of_like_length};
pub use optimizer::{Norm, OptimizerFacts, Rates, Setting};
pub use sizes::VARIES;

use std::collections::BTreeSet;

use super::{Code, Condition, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_evidence::{ChainRow, ComponentRow, PathRow, TrajectoryRow};
use scratchproof_measurements::{ALL, Growth, OptimizerStates};
use scratchproof_texts::{Text, text};

pub use points::{
    Break, Detour, LayerSplice, OnLine, Points, Recast, Redrawn, Repeat, Resaved, Residue, Returned, RowLines, Scaled,
    Span, Splice, Straightened,
};

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
    /// The path of every component.
    pub trajectory: &'a [PathRow],
    /// Every tensor of every checkpoint against the first and the one before.
    pub tensors: &'a [TrajectoryRow],
    /// How far every part moved in every interval.
    pub moved: &'a [Moved],
    /// The optimiser, where its steps have a bound.
    pub bound: Option<Bound>,
    /// Why there is no bound or no budget, as a part of a sentence.
    pub unbounded: Option<Text>,
    /// Rows that no training reached.
    pub decay: &'a DecayFacts,
    /// Optimizer states beside the checkpoints, ...
    pub states: &'a OptimizerStates,
    /// ... and what the log says beside them.
    pub optimizer: &'a OptimizerFacts,
    /// Single checkpoints and what lies between them.
    pub points: &'a Points,
    /// Pairs of steps with equal weights.
    pub equal: &'a [EqualSteps],
    /// Length of the path over its length with two inner checkpoints exchanged, or the part from one to the other turned
    /// round: their steps and the ratio.
    pub exchanges: &'a [(i64, i64, f64)],
    /// Inner neighbours off the straight line from first to last.
    pub residuals: &'a [OffLine],
    /// Stretches of training that were given up: the step that a later run began at, and the last logged one of the run
    /// before.
    pub given_up: &'a [(i64, i64)],
    /// Neighbours of different architecture: their steps and what changed.
    pub growth: &'a [(i64, i64, Growth)],
    /// The steps between which the model grew from checkpoints that were left out.
    pub grown: Option<(i64, i64)>,
    /// Checkpoints of another architecture: step and why they were left out.
    pub left_out: &'a [(i64, String)],
}

impl ChainFacts<'_> {
    /// Whether an interval moved the layers and nothing else, neither embedding nor output layer nor norms: as adapters that were
    /// trained and merged do, whose steps no bound of the optimiser limits.
    pub(crate) fn moved_layers_alone(&self, steps: (i64, i64)) -> bool {
        layers_alone(self.path, steps)
    }

    /// The interpolated sum of an interval's rates over the most that they can be, where no row of the log lies in it; else 1.
    pub(crate) fn of_most(&self, row: &ChainRow) -> f64 {
        let here = |m: &&Moved| m.component == ALL && m.steps == (row.from_step, row.to_step);
        let most = self.moved.iter().find(here).and_then(|m| m.most_rates);
        match row.lr_sum.zip(most) {
            Some((sum, most)) if sum > 0.0 && most > DOUBTED * sum => sum / most,
            _ => 1.0,
        }
    }
}

/// How much more than the interpolated sum of rates the true one may be before the budget is held against that.
const DOUBTED: f64 = 1.1;

fn layers_alone(path: &[ChainRow], (from, to): (i64, i64)) -> bool {
    let here = |row: &&ChainRow| (row.from_step, row.to_step) == (from, to);
    let outside = ["embedding", "head", "norms"];
    let others = || path.iter().filter(here).filter(|row| outside.contains(&row.component.as_str()));
    others().any(|row| row.component == "embedding") && others().all(|row| row.rms == Some(0.0))
}

/// Two steps whose weights are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EqualSteps {
    /// The two.
    pub steps: (i64, i64),
    /// Whether all logged learning rates between them are zero; nothing where none is logged.
    pub idle: Option<bool>,
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
            match facts.grown.filter(|(from, _)| step <= from) {
                Some((from, to)) => text!("chain/architecture-change/grown", step = *step, why, from, to),
                None => text!("chain/architecture-change/left-out", step = *step, why),
            },
        );
        finding.subject.steps = vec![*step];
        judgement.push(finding);
        if facts.grown.is_none_or(|(from, _)| *step > from) {
            judgement.missing.push(text!("chain/missing/architecture", step = *step));
        }
    }
    if let Some((from, to)) = facts.grown {
        judgement.missing.push(text!("chain/missing/grown", from, to));
    }
    growth::growth(&mut judgement, facts);
    if facts.steps.len() < 2 {
        judgement.missing.push(text!("chain/missing/series"));
        judgement.said = text!("power/chain/none");
        return judgement;
    }
    let mut remembered = memory::memory(&mut judgement, facts, policy, ALL);
    for tower in &facts.towers {
        remembered &= memory::memory(&mut judgement, facts, policy, tower);
    }
    let parts: BTreeSet<&str> = facts.trajectory.iter().map(|r| r.component.as_str()).collect();
    for part in parts.into_iter().filter(|part| *part != ALL && !facts.towers.contains(part)) {
        if remembered {
            remembered &= memory::memory(&mut judgement, facts, policy, part);
        }
    }
    memory::tensors(&mut judgement, facts, policy);
    memory::displacement(&mut judgement, facts, policy);
    budget::budget(&mut judgement, facts, policy);
    budget::relative(&mut judgement, facts, policy);
    sizes::judge(&mut judgement, facts, policy);
    decay::decay(&mut judgement, facts.decay, policy);
    optimizer::judge(&mut judgement, facts, policy);
    movement::proportions(&mut judgement, facts, policy);
    movement::farthest(&mut judgement, facts, policy);
    blend::computed(&mut judgement, facts, policy);
    averages::averages(&mut judgement, facts, policy);
    splices::splices(&mut judgement, facts, policy);
    made_up::off_chord(&mut judgement, facts);
    structure::structure(&mut judgement, facts, policy);
    copies::duplicates(&mut judgement, facts);
    surgery::breaks(&mut judgement, facts, policy);
    surgery::scaled(&mut judgement, facts, policy);
    surgery::redrawn(&mut judgement, facts, policy);
    surgery::returned(&mut judgement, facts, policy);
    copies::precision(&mut judgement, facts);
    copies::turns(&mut judgement, facts, policy);
    made_up::order(&mut judgement, facts, policy);
    made_up::noise(&mut judgement, facts, policy);
    excuse_averages(&mut judgement, facts.points);
    excuse_given_up(&mut judgement, facts.given_up);
    excuse_growth(&mut judgement, facts.growth);
    judgement.said = text!("power/chain/tested", remembered, intervals = facts.steps.len() - 1);
    judgement.settle(if remembered { Condition::Holds } else { Condition::Untested });
    judgement
}

/// An average lags behind: it holds less of the path than the checkpoint before, and its rows stand where they stood. What
/// is strong all the same stays a question: a declaration is no pardon.
fn excuse_averages(judgement: &mut Judgement, points: &Points) {
    let codes = [Code::ChainDecayClock, Code::ChainDisplacement, Code::ChainTurn, Code::ChainOrder];
    let told = |finding: &&mut Finding| {
        let any = finding.subject.steps.iter().any(|step| points.declared(*step));
        codes.contains(&finding.code) && finding.direction == Direction::Against && any
    };
    for finding in judgement.findings.iter_mut().filter(told) {
        if finding.grade >= Grade::Strong && finding.code != Code::ChainDecayClock {
            finding.grade = Grade::Moderate;
        } else {
            (finding.direction, finding.grade) = (Direction::Neutral, Grade::Context);
        }
        finding.message.push(text!("chain/averaged/lags"));
    }
}

/// Where a model grows, layers get other numbers and matrices other sizes, so that what has one name before and after need not be one
/// matrix: across a change that is remembered, what was measured by name is a question and no accusation. Rows of tokens keep their
/// numbers, and what the change itself shows is told by [`growth`].
fn excuse_growth(judgement: &mut Judgement, growth: &[(i64, i64, Growth)]) {
    for (from, to, _) in growth {
        let changed = |f: &&Finding| f.code == Code::ChainGrowth && f.subject.steps == [*from, *to];
        if !judgement.findings.iter().any(|f| changed(&f)) {
            continue;
        }
        let mut asked = false;
        let across = |steps: &[i64]| steps.iter().any(|step| step <= from) && steps.iter().any(|step| step >= to);
        for finding in &mut judgement.findings {
            let by_name = ![Code::ChainGrowth, Code::ChainDecayClock].contains(&finding.code);
            if by_name && finding.direction == Direction::Against && across(&finding.subject.steps) {
                finding.grade = finding.grade.min(Grade::Moderate);
                finding.message.push(text!("chain/growth/by-name", from = *from, to = *to));
                asked = true;
            }
        }
        if asked {
            judgement.missing.push(text!("chain/missing/grown-inside", from = *from, to = *to));
        }
    }
}

/// A training that was set back goes on beside what it had saved since: a checkpoint of the stretch that was given up is no
/// step of the path, which is a question and no accusation. Which of the two stands is for the record to say.
fn excuse_given_up(judgement: &mut Judgement, given_up: &[(i64, i64)]) {
    let within = |step: &i64| given_up.iter().any(|(begin, end)| begin < step && step <= end);
    let mut asked: BTreeSet<i64> = BTreeSet::new();
    for finding in &mut judgement.findings {
        let strong = finding.direction == Direction::Against && finding.grade >= Grade::Strong;
        let of: Vec<i64> = finding.subject.steps.iter().copied().filter(within).collect();
        if strong && !of.is_empty() {
            finding.grade = Grade::Moderate;
            finding.message.push(text!("power/chain/given-up"));
            asked.extend(of);
        }
    }
    for step in asked {
        judgement.missing.push(text!("power/chain/missing-given-up", step));
    }
}
