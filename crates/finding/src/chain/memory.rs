//! Memory of the start and of the one before: what is left against what decay leaves.

use super::ChainFacts;
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_evidence::{ComponentRow, PathRow, Reference, TrajectoryRow};
use scratchproof_measurements::ALL;
use scratchproof_stats::{Aligned, holm, log10_upper_tail};
use scratchproof_texts::{Text, text};

fn null() -> Text {
    text!("chain/memory/null")
}

/// Matrices that a message names.
const NAMED: usize = 4;

/// Least share of what decay leaves of the start that honest runs kept: over the whole model, and in one component.
const HONEST_WHOLE: f64 = 0.87;
const HONEST_PART: f64 = 0.45;

/// Share over the whole model that is a question by itself, whatever the sampled rows say: they weigh components alike, and a
/// model that is blended in a little at a time (5 % at ten checkpoints: 0.63; 10 % at five, 20 % at two) takes the start away
/// everywhere at once while the rows of small components keep theirs.
const LEAST_WHOLE: f64 = 0.82;

/// Standard deviations that a matrix which was drawn anew stays below, in 999 of 1,000. One above it is remembered, however
/// little: a small matrix under Muon was measured at 3.9, which is nothing among 30.
const FORGOTTEN: f64 = 3.0;

fn figures<'a>(facts: &'a ChainFacts<'_>, reference: &Reference, component: &str) -> Vec<&'a ComponentRow> {
    facts.figures.iter().filter(|r| r.component == component && r.reference == *reference).collect()
}

/// Whether this many columns and rows can show that a part is forgotten: the standard deviation of the null, times what a
/// strong finding needs, is at most half a correlation.
fn visible(row: &ComponentRow, policy: &Policy) -> bool {
    let (Some(z), Some(effect), Some(log10_p)) = (row.z, row.effect, row.log10_p) else { return false };
    Aligned { z, log10_p, effect }.detectable(policy.strong_log10_p) <= 0.5
}

/// What decay alone leaves of one checkpoint in a later one.
#[derive(Clone, Copy)]
struct Expected {
    /// The factor on the weights.
    decay: f64,
    /// The correlation, for the sizes that the two have.
    correlation: f64,
}

impl Expected {
    /// Of the checkpoint before, or of the first; `None` where the log does not say how weights decay.
    fn new(facts: &ChainFacts<'_>, component: &str, before: i64, step: i64) -> Option<Self> {
        let at = |step: i64| facts.trajectory.iter().find(|r| r.component == component && r.step == step);
        let (before, row): (&PathRow, &PathRow) = (at(before)?, at(step)?);
        let decay = row.expected_retained? / before.expected_retained?;
        let correlation = row.expected_cosine? / before.expected_cosine?;
        (decay.is_finite() && correlation.is_finite()).then_some(Self { decay, correlation })
    }

    /// With learning rates `times` the logged ones: parts of a model may have rates of their own.
    fn at_rates(self, times: f64) -> f64 {
        self.correlation * self.decay.powf(times - 1.0)
    }

    /// Whether the test would have seen it beyond doubt, even the least share of it that honest runs kept.
    fn seen(self, row: &ComponentRow, times: f64, policy: &Policy) -> bool {
        let (Some(z), Some(effect)) = (row.z, row.effect) else { return false };
        let deviation = (effect / z).abs();
        let correlation = policy.memory_share * self.at_rates(times).min(1.0);
        deviation > 0.0 && log10_upper_tail(correlation / deviation) <= policy.conclusive_log10_p
    }
}

/// What a component is to the model.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Whole,
    Tower,
    /// Tokens: a vocabulary may be exchanged honestly.
    Tokens,
    Inner,
}

impl Part {
    fn of(facts: &ChainFacts<'_>, component: &str) -> Self {
        match component {
            ALL => Self::Whole,
            _ if facts.towers.contains(&component) => Self::Tower,
            "embedding" | "head" => Self::Tokens,
            _ => Self::Inner,
        }
    }

    /// How many times the logged learning rate it may have had.
    fn rates(self, policy: &Policy) -> f64 {
        if self == Self::Whole { policy.own_rate_whole } else { policy.own_rate_part }
    }
}

/// Training does not erase what it starts from: neighbours are similar beyond any doubt, or they are not neighbours, unless
/// decay took everything. Asked of the whole model, of every tower and of every component that is large enough. Whether
/// everything is remembered.
pub(super) fn memory(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy, component: &str) -> bool {
    let part = Part::of(facts, component);
    let mut neighbours = figures(facts, &Reference::Previous, component);
    let mut from_start = figures(facts, &Reference::Init, component);
    if part == Part::Whole {
        if neighbours.is_empty() || neighbours.iter().any(|r| r.z.is_none()) {
            judgement.missing.push(text!("chain/memory/missing-axis"));
            return false;
        }
    } else {
        neighbours.retain(|row| visible(row, policy));
        from_start.retain(|row| visible(row, policy));
        if neighbours.is_empty() {
            return true;
        }
    }
    let mut remembered = true;
    let adjusted = holm(&neighbours.iter().map(|r| r.log10_p).collect::<Vec<_>>());
    for (row, log10_p) in neighbours.iter().zip(adjusted) {
        let Some(log10_p) = log10_p.filter(|p| *p > policy.strong_log10_p) else { continue };
        remembered = false;
        broken(judgement, facts, policy, (part, row, log10_p));
    }
    if remembered {
        remembered = start(judgement, facts, policy, part, &from_start);
    }
    if remembered && part == Part::Whole {
        kept(judgement, facts, &neighbours, from_start.last().copied());
    }
    remembered
}

/// The component that a message names: the whole model has no name.
fn place(component: &str, part: Part) -> Option<&str> {
    (part != Part::Whole).then_some(component)
}

fn finding(code: Code, grade: Grade, message: Text, row: &ComponentRow, steps: Vec<i64>) -> Finding {
    let direction = if grade == Grade::Context { Direction::Neutral } else { Direction::Against };
    let mut finding = Finding::new(code, grade, direction, message);
    finding.subject.steps = steps;
    finding.subject.component = (row.component != ALL).then(|| row.component.clone());
    finding.statistic = row.z;
    finding.log10_p = row.log10_p;
    finding.effect = row.effect;
    finding.n = Some(row.rows * row.columns);
    finding.null = null();
    finding.evidence = Some("evidence/components.parquet".into());
    finding
}

/// A checkpoint that has nothing, or little, of the one before.
fn broken(
    judgement: &mut Judgement,
    facts: &ChainFacts<'_>,
    policy: &Policy,
    (part, row, log10_p): (Part, &ComponentRow, f64),
) {
    let before = facts.steps.iter().rev().find(|s| **s < row.step).copied().unwrap_or(row.step);
    let expected = Expected::new(facts, &row.component, before, row.step);
    let nothing = log10_p > policy.moderate_log10_p;
    // Weights that turned against what they were are no other run's: strong decay through the gradients does that.
    let turned = row.z.is_some_and(|z| log10_upper_tail(-z) <= policy.strong_log10_p);
    let sure = expected.is_some_and(|e| e.seen(row, part.rates(policy), policy));
    // A correlation of exactly nothing has no measured deviation, and explains nothing.
    let explained = row.z.is_some_and(|z| z != 0.0) && expected.is_some_and(|e| !e.seen(row, 1.0, policy));
    let leap = expected.is_none() && leap(facts, &row.component, row.step) > policy.leap;
    let erased = if leap { erasable(facts, &row.component, before, policy) } else { Erasable::Perhaps };
    let shrunk = expected.is_none() && self::erased(facts, &row.component, before, policy);
    let grade = match part {
        _ if explained => Grade::Context,
        _ if shrunk => Grade::Weak,
        Part::Tokens => Grade::Moderate,
        _ if nothing && !turned && (sure || leap && erased == Erasable::No) => Grade::Conclusive,
        _ if nothing && !turned && leap && erased == Erasable::Unknown => Grade::Strong,
        _ => Grade::Moderate,
    };
    let conclusive = grade == Grade::Conclusive;
    let message = text!(
        "chain/memory/broken",
        component = place(&row.component, part),
        step = row.step,
        before,
        nothing,
        z = row.z.unwrap_or(0.0),
        correlation = row.effect.unwrap_or(0.0),
        expected = expected.map(|e| e.correlation),
        leap = leap && conclusive,
        conclusive,
        explained,
        shrunk,
        tokens = part == Part::Tokens
    );
    let mut finding = finding(Code::ChainMemory, grade, message, row, vec![before, row.step]);
    finding.log10_p = Some(log10_p);
    judgement.push(finding);
    if explained || shrunk {
        judgement.missing.push(text!("chain/memory/missing-between", before, step = row.step));
    }
}

/// Speed into a checkpoint over the larger of those of the intervals beside it: a leap between intervals that crept.
fn leap(facts: &ChainFacts<'_>, component: &str, step: i64) -> f64 {
    let rows: Vec<&PathRow> = facts.trajectory.iter().filter(|r| r.component == component).collect();
    let Some(at) = rows.iter().position(|r| r.step == step) else { return 0.0 };
    let speed = |t: usize| rows.get(t).and_then(|r| r.relative_speed);
    let beside = [at.checked_sub(1).and_then(speed), speed(at + 1)].into_iter().flatten().fold(0.0, f64::max);
    // The first interval of a training is the fastest, and has nothing before it to be held against.
    if at > 1 && beside > 0.0 { speed(at).unwrap_or(0.0) / beside } else { 0.0 }
}

/// Whether gradients of a squared norm could have taken all of a component's weights away between two checkpoints.
#[derive(Clone, Copy, PartialEq)]
enum Erasable {
    /// The logged rates are too small for it, whatever the gradients.
    No,
    /// They are not, or the optimiser has no bound that is known.
    Perhaps,
    /// No rates are logged.
    Unknown,
}

/// Under L2 that an adaptive optimiser scales, every weight may go its bound times the rate in each step towards zero and
/// beyond, so weights are erased where the summed rates times the bound reach their size (root mean square); **measured**
/// under Adam and `NAdam` with L2 of 0.1: correlations of -0.41 to -0.02 across 40 steps, with a leap.
fn erasable(facts: &ChainFacts<'_>, component: &str, before: i64, policy: &Policy) -> Erasable {
    let Some(row) = facts.path.iter().find(|r| r.component == component && r.from_step == before) else {
        return Erasable::Unknown;
    };
    let Some(rates) = row.lr_sum else { return Erasable::Unknown };
    let bound = row.bound.filter(|_| facts.bound.as_ref().is_some_and(|bound| bound.exact));
    let size = facts.trajectory.iter().find(|r| r.component == component && r.step == before).and_then(|r| r.size);
    match bound.zip(size) {
        Some((bound, size)) if rates * bound * policy.budget_excess < size => Erasable::No,
        _ => Erasable::Perhaps,
    }
}

/// Whether decay that goes through the gradients may have taken single matrices away: those with small gradients shrink at the
/// whole rate, however small the decay is. **Measured** under Adam with L2 of 0.01: correlations of 0.12 at most over 20 steps
/// in 2 of 30 matrices, where the median was 0.65.
pub(super) fn erased(facts: &ChainFacts<'_>, component: &str, before: i64, policy: &Policy) -> bool {
    facts.optimizer.coupled && erasable(facts, component, before, policy) == Erasable::Perhaps
}

/// Every later checkpoint against the first. Whether it is remembered.
fn start(
    judgement: &mut Judgement,
    facts: &ChainFacts<'_>,
    policy: &Policy,
    part: Part,
    rows: &[&ComponentRow],
) -> bool {
    let first = facts.steps[0];
    let Some(last) = rows.last() else { return true };
    let with = |row: &ComponentRow| Expected::new(facts, &row.component, first, row.step);
    let retained = |row: &ComponentRow| {
        facts
            .trajectory
            .iter()
            .find(|r| r.component == row.component && r.step == row.step)
            .and_then(|r| r.start_retained)
    };
    // The worst checkpoint of those where decay leaves enough to be seen: share of the expected that is there.
    let low = if part == Part::Whole { policy.start_retained_whole } else { policy.start_retained_part };
    let short: Vec<(&ComponentRow, Expected, f64)> = rows
        .iter()
        .filter_map(|row| {
            let expected = with(row).filter(|e| e.seen(row, 1.0, policy))?;
            let share = retained(row)? / expected.decay;
            // Both the products of all elements and the correlation of the sampled rows must miss it.
            let seen = row.effect? / expected.correlation;
            let alone = part == Part::Whole && share < LEAST_WHOLE;
            (alone || share.max(seen) < low).then_some((*row, expected, share))
        })
        .collect();
    let name = place(&last.component, part);
    if let Some((row, expected, share)) = short.iter().min_by(|a, b| a.2.total_cmp(&b.2)) {
        let nothing = row.log10_p.is_some_and(|p| p > policy.moderate_log10_p);
        let sure = part != Part::Tokens && expected.seen(row, part.rates(policy), policy);
        // A share is a figure of the whole; at rates of its own a part would keep less.
        let at_rates = share * expected.decay / expected.decay.powf(part.rates(policy));
        let grade = match part {
            _ if nothing && sure => Grade::Conclusive,
            Part::Whole | Part::Tower if sure && at_rates < low / 2.0 => Grade::Strong,
            _ => Grade::Moderate,
        };
        let message = text!(
            "chain/memory/start-short",
            component = name,
            step = row.step,
            share = *share,
            retained = share * expected.decay,
            expected = expected.decay,
            correlation = row.effect.unwrap_or(0.0),
            z = row.z.unwrap_or(0.0),
            expected_correlation = expected.correlation,
            honest = if part == Part::Whole { HONEST_WHOLE } else { HONEST_PART },
            count = short.len(),
            all = rows.len(),
            first = short[0].0.step
        );
        let mut finding = finding(Code::ChainMemory, grade, message, row, vec![first, row.step]);
        finding.effect = Some(*share);
        finding.evidence = Some("evidence/path.parquet".into());
        judgement.push(finding);
        judgement.missing.push(text!("chain/memory/missing-path"));
        return false;
    }
    if part != Part::Whole && part != Part::Tower || last.log10_p.is_none_or(|p| p <= policy.moderate_log10_p) {
        return true;
    }
    let expected = with(last).map(|e| e.correlation);
    let message = text!(
        "chain/memory/start-unseen",
        component = name,
        step = last.step,
        z = last.z.unwrap_or(0.0),
        correlation = last.effect.unwrap_or(0.0),
        expected
    );
    let grade = if expected.is_some() { Grade::Context } else { Grade::Moderate };
    judgement.push(finding(Code::ChainMemory, grade, message, last, vec![first, last.step]));
    judgement.missing.push(text!("chain/memory/missing-path"));
    false
}

/// How many times its size the summed rates reach where nothing of a matrix has to be left.
const OVERRUN: f64 = 3.0;

/// Whether the logged rates of an interval are so far above the size of a matrix that training may have left nothing of it.
/// **Measured** on an honest run that was drawn at 0.001: one matrix of 30 of 0.015 kept nothing over rates of 0.12.
fn overrun(facts: &ChainFacts<'_>, row: &TrajectoryRow, before: i64) -> bool {
    let rates = facts.path.iter().find(|r| r.component == ALL && r.from_step == before).and_then(|r| r.lr_sum);
    let size = row.rms.zip(row.relative_l2).map(|(rms, relative)| rms / relative);
    rates.zip(size).is_some_and(|(rates, size)| size.is_finite() && rates > OVERRUN * size)
}

/// Single tensors that have nothing of themselves in the checkpoint before, while their component has.
pub(super) fn tensors(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let sure = |row: &TrajectoryRow| row.log10_p.is_some_and(|p| p <= policy.conclusive_log10_p);
    for pair in facts.steps.windows(2) {
        let component = |name: &str| {
            let mut rows = facts.figures.iter().filter(|r| r.step == pair[1] && r.reference == Reference::Previous);
            rows.find(|r| r.component == name)
        };
        let of: Vec<&TrajectoryRow> = facts
            .tensors
            .iter()
            .filter(|r| r.step == pair[1] && r.reference == Reference::Previous && r.z.is_some())
            .collect();
        let adjusted = holm(&of.iter().map(|r| r.log10_p).collect::<Vec<_>>());
        let lost: Vec<&TrajectoryRow> = of
            .iter()
            .zip(adjusted)
            .filter(|(row, _)| !overrun(facts, row, pair[0]))
            .filter(|(row, p)| {
                let usual =
                    || facts.tensors.iter().filter(|r| r.tensor == row.tensor && r.reference == Reference::Previous);
                let others = usual().filter(|r| r.step != row.step);
                p.is_some_and(|p| p > policy.moderate_log10_p)
                    && row.z.is_some_and(|z| z < FORGOTTEN)
                    && row.cosine.is_some_and(|c| c < 1.0)
                    && 2 * others.clone().filter(|r| sure(r)).count() > others.count()
                    && component(&row.component).is_some_and(|r| r.effect.is_some_and(|e| e >= 0.3))
            })
            .map(|(row, _)| *row)
            .collect();
        let Some(worst) = lost.iter().max_by_key(|r| r.elements) else { continue };
        let layers: std::collections::BTreeSet<u32> = lost.iter().filter_map(|r| r.layer).collect();
        let erased = lost.iter().all(|row| erased(facts, &row.component, pair[0], policy));
        let message = text!(
            "chain/memory/tensors",
            count = lost.len(),
            all = of.len(),
            from = pair[0],
            to = pair[1],
            tensors = lost.iter().take(NAMED).map(|r| r.tensor.as_str()).collect::<Vec<_>>(),
            more = lost.len().saturating_sub(NAMED),
            layers = layers.iter().copied().collect::<Vec<_>>(),
            erased
        );
        let grade = if erased { Grade::Weak } else { Grade::Moderate };
        let mut finding = Finding::new(Code::ChainMemory, grade, Direction::Against, message);
        finding.subject.steps = pair.to_vec();
        let same = lost.iter().all(|r| r.component == worst.component);
        finding.subject.component = same.then(|| worst.component.clone());
        finding.subject.layer = if layers.len() == 1 { layers.first().copied() } else { None };
        finding.subject.tensor = (lost.len() == 1).then(|| worst.tensor.clone());
        finding.statistic = worst.z;
        finding.log10_p = worst.log10_p;
        finding.effect = worst.pearson;
        finding.n = Some(lost.len() as u64);
        finding.null = null();
        finding.evidence = Some("evidence/trajectory.parquet".into());
        judgement.push(finding);
    }
}

/// A training goes on from where it was: what it moved since the start is still there at the next checkpoint.
pub(super) fn displacement(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let mut worst: Option<(&PathRow, f64, f64, i64)> = None;
    let mut least = f64::INFINITY;
    let mut tested = 0;
    for pair in facts.steps.windows(2) {
        for row in facts.trajectory.iter().filter(|r| r.step == pair[1]) {
            let (Some(carried), Some(expected)) = (row.carried, Expected::new(facts, &row.component, pair[0], pair[1]))
            else {
                continue;
            };
            let share = carried / expected.decay;
            let low = if row.component == ALL {
                tested += 1;
                least = least.min(share);
                policy.carried_whole
            } else {
                let seen = figures(facts, &Reference::Previous, &row.component);
                if !seen.iter().any(|r| r.step == row.step && visible(r, policy)) {
                    continue;
                }
                match row.component.as_str() {
                    "embedding" | "head" | "mlp" | "experts" => policy.carried_matrices,
                    "attention" => policy.carried_attention,
                    _ => policy.carried_part,
                }
            };
            // The farthest below its own limit, the whole model before its parts.
            let rank = share / low + if row.component == ALL { -1.0 } else { 0.0 };
            if share < low && worst.is_none_or(|w| rank < w.2) {
                worst = Some((row, share, rank, pair[0]));
            }
        }
    }
    let null = text!("chain/displacement/null");
    let Some((row, share, _, before)) = worst else {
        if tested > 0 {
            let mut finding = Finding::new(
                Code::ChainDisplacement,
                Grade::Weak,
                Direction::For,
                text!("chain/displacement/held", share = least),
            );
            finding.statistic = Some(least);
            finding.effect = Some(least);
            finding.n = Some(tested);
            finding.null = null;
            finding.evidence = Some("evidence/path.parquet".into());
            judgement.push(finding);
        }
        return;
    };
    let at_rates = Expected::new(facts, &row.component, before, row.step)
        .map_or(share, |e| share * e.decay / e.decay.powf(policy.own_rate_whole));
    let strong = row.component == ALL && at_rates < policy.carried_strong;
    let message = text!(
        "chain/displacement/short",
        component = (row.component != ALL).then_some(row.component.as_str()),
        step = row.step,
        share,
        before
    );
    let grade = if strong { Grade::Strong } else { Grade::Moderate };
    let mut finding = Finding::new(Code::ChainDisplacement, grade, Direction::Against, message);
    finding.subject.steps = vec![before, row.step];
    finding.subject.component = (row.component != ALL).then(|| row.component.clone());
    finding.statistic = row.carried;
    finding.effect = Some(share);
    finding.n = Some(tested);
    finding.null = null;
    finding.evidence = Some("evidence/path.parquet".into());
    judgement.push(finding);
}

/// The finding of a whole model that remembers.
fn kept(judgement: &mut Judgement, facts: &ChainFacts<'_>, neighbours: &[&ComponentRow], last: Option<&ComponentRow>) {
    let weakest = neighbours.iter().min_by(|a, b| a.z.unwrap_or(0.0).total_cmp(&b.z.unwrap_or(0.0)));
    if let Some(weakest) = weakest {
        let mut finding = Finding::new(
            Code::ChainMemory,
            Grade::Strong,
            Direction::For,
            text!(
                "chain/memory/kept",
                z = weakest.z.unwrap_or(0.0),
                step = weakest.step,
                correlation = weakest.effect.unwrap_or(0.0),
                last = last.map(|l| l.step),
                last_z = last.map(|l| l.z.unwrap_or(0.0)),
                last_correlation = last.map(|l| l.effect.unwrap_or(0.0))
            ),
        );
        finding.subject.steps = facts.steps.to_vec();
        finding.statistic = weakest.z;
        finding.log10_p = weakest.log10_p;
        finding.effect = weakest.effect;
        finding.n = Some(neighbours.len() as u64);
        finding.null = null();
        finding.evidence = Some("evidence/components.parquet".into());
        judgement.push(finding);
    }
}
