//! Optimizer states beside the checkpoints: whether log, weights and time agree with them (METHODS 10).
//!
//! True states are had by training and forged by training: that they fit says that the updates were made, not on what data.

mod update;

use super::ChainFacts;
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_measurements::{OptimizerStates, StateKind, StatePoint};
use scratchproof_texts::{Text, text};

/// Two rates or settings are one if they differ by no more.
const SAME: f64 = 1e-3;

/// Rates of the points vary from this ratio on.
const VARIES: f64 = 1.05;

/// Checkpoints whose states have the logged rates, at least, before they tie a log.
const TYING: usize = 3;

/// Sums of second moments agree within this; with a log of every step they do to 1e-5.
const NORMS: f64 = 0.01;

/// ... and tell one run of a recipe from another within this.
const TIGHT: f64 = 1e-3;

/// Master weights that may be off, and from where on they are.
const MASTER: (f64, f64) = (1e-3, 0.01);

/// Rows with zero moments among those of the clock: agreement, and contradiction.
const ROWS: (f64, f64) = (0.98, 0.5);

/// What the log says beside the states.
#[derive(Clone, Debug, Default)]
pub struct OptimizerFacts {
    /// By point, the rates that were logged around it.
    pub rates: Vec<Option<Rates>>,
    /// The sums of second moments that the logged norms give.
    pub norms: Vec<Option<Norm>>,
    /// Whether those are of clipped gradients.
    pub clipped: bool,
    /// Names of settings with what the configuration has, and what the groups have.
    pub settings: Vec<Setting>,
    /// Whether the optimizer that the log names is Adam or `AdamW`; nothing where none is named. Other rules keep moments of
    /// the same names.
    pub adam: Option<bool>,
    /// Whether weight decay goes through the gradients, as the groups of the states say, or may by the log.
    pub coupled: bool,
    /// Norm of the gradient of a replayed update: step before it, as replayed and as logged.
    pub gradient: Option<(i64, f64, f64)>,
    /// Names of the tables of tokens by unit, with whether they may be the output layer too.
    pub tables: Vec<(usize, String, bool)>,
}

/// The learning rates of the rows around a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
    /// Whether a row lies behind the step. States hold the rate of the next update, which a log that ends with the step never
    /// has: a schedule that ends at zero leaves zero in the last states.
    pub after: bool,
}

/// A sum of second moments beside the logged norms.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// Found over expected.
    pub ratio: f64,
    /// Share of the average's weight that lies on logged steps.
    pub logged: f64,
    /// Share of it that lies on gradients below the limit they are clipped to.
    pub free: f64,
}

/// One setting.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What it is.
    pub name: &'static str,
    /// As configured.
    pub wanted: f64,
    /// Of the groups.
    pub found: Vec<f64>,
    /// Whether a contradiction is a question.
    pub asks: bool,
}

/// Judges the states.
pub(super) fn judge(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let states = facts.states;
    unused(judgement, facts);
    if states.points.is_empty() {
        return;
    }
    let counted = steps(judgement, facts);
    copies(judgement, facts);
    rows(judgement, facts, policy);
    update::moments(judgement, facts);
    let replayed = update::replay(judgement, facts);
    let along = update::displacements(judgement, facts);
    let belongs = replayed.unwrap_or(along);
    settings(judgement, facts, counted && belongs);
    norms(judgement, facts, belongs);
    master(judgement, facts);
}

/// A finding about some steps.
struct Told {
    code: Code,
    grade: Grade,
    direction: Direction,
    steps: Vec<i64>,
    statistic: Option<f64>,
    effect: Option<f64>,
    n: Option<u64>,
    null: Text,
}

impl Told {
    fn new(code: Code, grade: Grade, direction: Direction, steps: Vec<i64>, null: Text) -> Self {
        Self { code, grade, direction, steps, statistic: None, effect: None, n: None, null }
    }

    fn push(self, judgement: &mut Judgement, message: Text) {
        let mut finding = Finding::new(self.code, self.grade, self.direction, message);
        finding.subject.steps = self.steps;
        (finding.statistic, finding.effect, finding.n) = (self.statistic, self.effect, self.n);
        finding.null = self.null;
        judgement.push(finding);
    }
}

fn step_of(facts: &ChainFacts<'_>, at: usize) -> i64 {
    facts.steps.get(at).copied().unwrap_or_default()
}

fn steps_of(facts: &ChainFacts<'_>, states: &OptimizerStates) -> Vec<i64> {
    states.points.iter().map(|point| step_of(facts, point.at)).collect()
}

/// The number of updates that most parameters have seen.
fn updates(point: &StatePoint) -> Option<u64> {
    point.steps.iter().max_by_key(|(_, count)| *count).map(|(updates, _)| *updates)
}

fn unused(judgement: &mut Judgement, facts: &ChainFacts<'_>) {
    let told = |steps: Vec<i64>| {
        Told::new(Code::ChainOptimizerUnused, Grade::Context, Direction::Neutral, steps, Text::default())
    };
    if let Some((at, why)) = facts.states.unread.first() {
        let step = step_of(facts, *at);
        let all = facts.states.unread.iter().map(|(at, _)| step_of(facts, *at)).collect();
        told(all).push(judgement, text!("chain/optimizer-unused/unread", step, why));
    }
    if let Some(other) = facts.states.points.iter().find(|point| point.kind == StateKind::Other) {
        let message = text!("chain/optimizer-unused/kept", source = &other.source, keeps = other.keeps.clone());
        told(vec![step_of(facts, other.at)]).push(judgement, message);
    }
    if let Some(odd) = facts.states.points.iter().find(|point| 10 * point.strange > point.parameters) {
        let step = step_of(facts, odd.at);
        let (strange, parameters) = (odd.strange, odd.parameters);
        told(vec![step]).push(judgement, text!("chain/optimizer-unused/shapes", strange, parameters, step));
    }
}

/// Whether all states have seen as many updates as their checkpoints.
fn steps(judgement: &mut Judgement, facts: &ChainFacts<'_>) -> bool {
    let all: Vec<(i64, i64)> = facts
        .states
        .points
        .iter()
        .filter_map(|point| Some((step_of(facts, point.at), i64::try_from(updates(point)?).ok()?)))
        .collect();
    let Some(&(last, seen)) = all.last() else { return false };
    let told = |grade: Grade, direction: Direction, steps: Vec<i64>| {
        let null = text!("chain/optimizer-steps/null");
        Told { n: Some(all.len() as u64), ..Told::new(Code::ChainOptimizerSteps, grade, direction, steps, null) }
    };
    let every: Vec<i64> = all.iter().map(|(step, _)| *step).collect();
    if all.iter().all(|(step, updates)| step == updates) {
        let message = text!("chain/optimizer-steps/agree", points = all.len());
        told(Grade::Weak, Direction::For, every).push(judgement, message);
        return true;
    }
    let unequal = |before: i64, after: i64| !facts.equal.iter().any(|equal| equal.steps == (before, after));
    if let Some(pair) = all.windows(2).find(|pair| pair[0].1 == pair[1].1 && unequal(pair[0].0, pair[1].0)) {
        let (before, step) = (pair[0].0, pair[1].0);
        let message = text!("chain/optimizer-steps/stands", updates = pair[0].1, before, step);
        told(Grade::Moderate, Direction::Against, vec![before, step]).push(judgement, message);
        return false;
    }
    let shift = last.saturating_sub(seen);
    if all.iter().all(|(step, updates)| step.saturating_sub(*updates) == shift) {
        let message = text!("chain/optimizer-steps/shifted", updates = seen, step = last, more = shift < 0);
        told(Grade::Context, Direction::Neutral, every).push(judgement, message);
        return false;
    }
    let scale = last as f64 / (seen as f64).max(1.0);
    if all.iter().all(|(step, updates)| (*step as f64 - scale * *updates as f64).abs() <= SAME * *step as f64 + 1.0) {
        let message = text!("chain/optimizer-steps/scaled", updates = seen, step = last);
        told(Grade::Context, Direction::Neutral, every).push(judgement, message);
        return false;
    }
    // More updates than steps between two states that go on from each other.
    let gap = |pair: &[(i64, i64)]| pair[1].0.saturating_sub(pair[0].0);
    let beyond = |pair: &[(i64, i64)]| (pair[1].1 - pair[0].1).saturating_sub(gap(pair));
    let over = all.windows(2).find(|pair| beyond(pair) > 1 + gap(pair) / 50);
    if let Some(pair) = over {
        let (before, step) = (pair[0].0, pair[1].0);
        let message = text!("chain/optimizer-steps/more", updates = pair[1].1, step, before, beyond = beyond(pair));
        told(Grade::Moderate, Direction::Against, vec![before, step]).push(judgement, message);
        return false;
    }
    let times = all.windows(2).filter(|pair| beyond(pair) < -1).count();
    let first = all.windows(2).find(|pair| beyond(pair) < -1).map_or(all[0], |pair| pair[1]);
    let message = text!("chain/optimizer-steps/begun", times = times.max(1), step = first.0, updates = first.1);
    told(Grade::Context, Direction::Neutral, every).push(judgement, message);
    false
}

fn copies(judgement: &mut Judgement, facts: &ChainFacts<'_>) {
    let points = &facts.states.points;
    let empty = |point: &StatePoint| point.kind == StateKind::Other;
    for (at, point) in points.iter().enumerate().filter(|(_, point)| !empty(point)) {
        if points[..at].iter().any(|before| before.digest == point.digest) {
            continue;
        }
        let own = step_of(facts, point.at);
        let mut steps = vec![own];
        for other in points[at + 1..].iter().filter(|other| other.digest == point.digest) {
            let step = step_of(facts, other.at);
            if !facts.equal.iter().any(|equal| equal.steps == (own, step)) {
                steps.push(step);
            }
        }
        if steps.len() > 1 {
            let message = text!("chain/optimizer-copies/equal", steps = steps.as_slice());
            let null = text!("chain/optimizer-copies/null");
            Told::new(Code::ChainOptimizerCopies, Grade::Moderate, Direction::Against, steps, null)
                .push(judgement, message);
        }
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= SAME * a.abs().max(b.abs())
}

/// Whether rates at so many checkpoints, and settings, would be met by this recipe's log only: one of another recipe has other rates
/// at these steps, or where all have one rate, another one, or another second decay rate or weight decay.
fn tells(points: usize, varies: bool, same: &[String]) -> bool {
    let all = ["beta2", "weight decay"].iter().all(|name| same.iter().any(|own| own == name));
    points >= TYING && (varies || all)
}

#[allow(clippy::single_match_else, reason = "two sentences side by side")]
fn settings(judgement: &mut Judgement, facts: &ChainFacts<'_>, belong: bool) {
    let states = facts.states;
    let told = |grade: Grade, direction: Direction, steps: Vec<i64>| {
        Told::new(Code::ChainOptimizerSettings, grade, direction, steps, text!("chain/optimizer-settings/null"))
    };
    let mut agree: Vec<f64> = Vec::new();
    let mut apart: Vec<(i64, Vec<f64>, (f64, f64))> = Vec::new();
    for (point, logged) in states.points.iter().zip(&facts.optimizer.rates) {
        let Some(Rates { least: low, most: high, after }) = *logged else { continue };
        let mut rates: Vec<f64> = point.groups.iter().filter_map(|group| group.rate).collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        let within = |rate: &&f64| **rate >= low * (1.0 - SAME) && **rate <= high * (1.0 + SAME);
        match rates.iter().find(within) {
            Some(rate) => agree.push(*rate),
            None if rates.is_empty() || !after => {}
            None => apart.push((step_of(facts, point.at), rates, (low, high))),
        }
    }
    let of = agree.len() + apart.len();
    let factors: Vec<f64> = apart.iter().map(|(_, rates, (low, high))| rates[0] / f64::midpoint(*low, *high)).collect();
    let one = factors.first().filter(|first| factors.iter().all(|factor| (factor / **first - 1.0).abs() < 0.02));
    if let Some((step, rates, (low, high))) = apart.first() {
        let all = apart.iter().map(|(step, ..)| *step).collect();
        match one.filter(|factor| agree.is_empty() && factor.is_finite() && apart.len() > 1) {
            Some(factor) => {
                let message = text!("chain/optimizer-settings/factor", factor = *factor);
                told(Grade::Context, Direction::Neutral, all).push(judgement, message);
            }
            None => {
                let message = text!(
                    "chain/optimizer-settings/rate",
                    step = *step,
                    rates = rates.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    low = *low,
                    high = *high,
                    count = apart.len(),
                    of
                );
                told(Grade::Moderate, Direction::Against, all).push(judgement, message);
            }
        }
    }
    let mut same = Vec::new();
    for setting in &facts.optimizer.settings {
        if setting.found.iter().any(|found| near(*found, setting.wanted)) {
            same.push(setting.name.to_owned());
            continue;
        }
        let message = text!(
            "chain/optimizer-settings/setting",
            name = setting.name,
            found = setting.found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            wanted = setting.wanted.to_string()
        );
        let grade = if setting.asks { Grade::Moderate } else { Grade::Weak };
        told(grade, Direction::Against, steps_of(facts, states)).push(judgement, message);
    }
    if apart.is_empty() && !(agree.is_empty() && same.is_empty()) {
        let most = agree.iter().copied().fold(0.0, f64::max);
        let varies = most > VARIES * agree.iter().copied().fold(f64::INFINITY, f64::min);
        let none_apart = same.len() == facts.optimizer.settings.len();
        let ties = belong && none_apart && !norms_of_others(facts) && tells(agree.len(), varies, &same);
        let mut message = text!("chain/optimizer-settings/agree", rates = agree.len(), settings = same);
        if ties {
            message.push(text!("chain/optimizer-settings/ties"));
        }
        let grade = match (ties, varies) {
            (true, _) => Grade::Moderate,
            (false, true) => Grade::Weak,
            (false, false) => Grade::Context,
        };
        let direction = if grade > Grade::Context { Direction::For } else { Direction::Neutral };
        let mut own = told(grade, direction, steps_of(facts, states));
        own.n = Some(agree.len() as u64);
        own.push(judgement, message);
    }
}

fn rows(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    for (unit, tensor, tied) in &facts.optimizer.tables {
        let seen = facts.states.points.iter().filter(|point| point.kind == StateKind::Adam);
        let seen = seen.filter_map(|point| {
            let rows = point.rows.iter().find(|rows| rows.unit == *unit)?;
            (rows.clock >= policy.clock_rows).then(|| (step_of(facts, point.at), rows))
        });
        let share = |(_, rows): &(i64, &scratchproof_measurements::ZeroRows)| rows.still as f64 / rows.clock as f64;
        let all: Vec<_> = seen.collect();
        let Some(worst) = all.iter().min_by(|a, b| share(a).total_cmp(&share(b))) else { continue };
        let told = |grade: Grade, direction: Direction, step: i64, n: u64| {
            let null = text!("chain/optimizer-rows/null");
            let mut own = Told::new(Code::ChainOptimizerRows, grade, direction, vec![step], null);
            (own.n, own.statistic) = (Some(n), Some(share(worst)));
            own
        };
        let (still, clock) = (worst.1.still, worst.1.clock);
        if share(worst) < ROWS.1 && !tied {
            let message = text!("chain/optimizer-rows/apart", tensor, step = worst.0, still, clock);
            told(Grade::Moderate, Direction::Against, worst.0, clock).push(judgement, message);
        } else if let Some((step, rows)) = all.last().filter(|_| share(worst) >= ROWS.0) {
            let exact = rows.zero == rows.clock && rows.still == rows.clock;
            let message = text!(
                "chain/optimizer-rows/agree",
                tensor,
                step = *step,
                still = rows.still,
                clock = rows.clock,
                zero = rows.zero,
                of = rows.of,
                exact
            );
            let grade = if exact { Grade::Moderate } else { Grade::Weak };
            told(grade, Direction::For, *step, rows.clock).push(judgement, message);
        }
    }
}

/// The points whose second moments can be held against logged gradient norms, with their steps.
fn held(facts: &ChainFacts<'_>) -> Vec<(i64, Norm)> {
    let points = facts.states.points.iter().zip(&facts.optimizer.norms);
    points.filter_map(|(point, norm)| Some((step_of(facts, point.at), (*norm)?))).collect()
}

/// How far second moments are from those of the logged norms.
fn off(norm: &Norm) -> f64 {
    (norm.ratio - 1.0).abs()
}

/// Whether all of them are so by one factor, as where the norm is logged in another unit.
fn by_one_factor(all: &[(i64, Norm)]) -> bool {
    all.len() > 1 && all.iter().all(|(_, norm)| (norm.ratio / all[0].1.ratio - 1.0).abs() < 0.02)
}

/// Whether the logged gradient norms are those of other states: then no agreement of rates and settings ties the log.
fn norms_of_others(facts: &ChainFacts<'_>) -> bool {
    let all = held(facts);
    let known = all.iter().all(|(_, norm)| norm.logged > 0.9);
    known && all.iter().any(|(_, norm)| off(norm) > NORMS) && !by_one_factor(&all)
}

fn norms(judgement: &mut Judgement, facts: &ChainFacts<'_>, belongs: bool) {
    let all = held(facts);
    let Some(worst) = all.iter().max_by(|a, b| off(&a.1).total_cmp(&off(&b.1))) else { return };
    let steps: Vec<i64> = all.iter().map(|(step, _)| *step).collect();
    let told = |grade: Grade, direction: Direction| {
        let null = text!("chain/optimizer-norm/null");
        let mut own = Told::new(Code::ChainOptimizerNorm, grade, direction, steps.clone(), null);
        (own.statistic, own.effect, own.n) = (Some(worst.1.ratio), Some(off(&worst.1)), Some(all.len() as u64));
        own
    };
    if off(&worst.1) <= NORMS {
        let telling = all.iter().filter(|(_, norm)| norm.logged > 0.99 && norm.free > 0.3 && off(norm) <= TIGHT);
        let replayed = facts.optimizer.gradient.filter(|(_, own, logged)| (own / logged - 1.0).abs() <= TIGHT);
        let tight = telling.count() + usize::from(replayed.is_some()) >= 2;
        let message = text!(
            "chain/optimizer-norm/agree",
            points = all.len(),
            clipped = facts.optimizer.clipped,
            worst = off(&worst.1),
            step = replayed.map(|(step, ..)| step),
            gradient = replayed.map(|(_, own, _)| own),
            logged = replayed.map(|(_, _, logged)| logged),
            tight
        );
        let grade = if tight && belongs { Grade::Moderate } else { Grade::Weak };
        told(grade, Direction::For).push(judgement, message);
        return;
    }
    let known = all.iter().filter(|(_, norm)| norm.logged > 0.9).count();
    if known < all.len() {
        return;
    }
    if by_one_factor(&all) {
        let message = text!("chain/optimizer-norm/factor", factor = worst.1.ratio);
        told(Grade::Context, Direction::Neutral).push(judgement, message);
    } else {
        let message = text!("chain/optimizer-norm/apart", step = worst.0, ratio = worst.1.ratio);
        told(Grade::Context, Direction::Neutral).push(judgement, message);
    }
}

fn master(judgement: &mut Judgement, facts: &ChainFacts<'_>) {
    let all: Vec<(i64, u64, u64)> = facts
        .states
        .points
        .iter()
        .filter_map(|point| point.master.map(|(compared, off)| (step_of(facts, point.at), compared, off)))
        .collect();
    let share = |own: &(i64, u64, u64)| own.2 as f64 / own.1.max(1) as f64;
    let Some(worst) = all.iter().max_by(|a, b| share(a).total_cmp(&share(b))) else { return };
    let told = |grade: Grade, direction: Direction| {
        let null = text!("chain/optimizer-master/null");
        let steps = all.iter().map(|(step, ..)| *step).collect();
        Told { statistic: Some(share(worst)), ..Told::new(Code::ChainOptimizerMaster, grade, direction, steps, null) }
    };
    if share(worst) > MASTER.1 && !facts.points.declared(worst.0) {
        let message = text!("chain/optimizer-master/apart", share = share(worst), step = worst.0);
        told(Grade::Moderate, Direction::Against).push(judgement, message);
    } else if share(worst) <= MASTER.0 {
        let (compared, off) = all.iter().fold((0, 0), |sum, own| (sum.0 + own.1, sum.1 + own.2));
        let message = text!("chain/optimizer-master/agree", points = all.len(), compared, off);
        told(Grade::Weak, Direction::For).push(judgement, message);
    }
}

#[cfg(test)]
mod tests {
    use super::{TYING, tells};

    #[test]
    fn one_rate_ties_only_with_the_other_settings() {
        let same: Vec<String> = ["beta1", "beta2", "weight decay"].map(str::to_owned).to_vec();
        assert!(tells(TYING, true, &[]) && tells(TYING, false, &same));
        assert!(!tells(TYING, false, &same[..2]) && !tells(TYING - 1, true, &same));
    }
}
