//! By how many steps a start looks trained, and what can be said of step 0 where it is not shown.

use std::collections::BTreeSet;

use super::{Code, Direction, Finding, Grade, Judgement, StartFacts};
use scratchproof_texts::{Text, text};

/// The learning rate of the log, summed from its first step on.
#[derive(Clone, Debug, PartialEq)]
pub struct Clock {
    points: Vec<(i64, f64)>,
}

impl Clock {
    /// Takes the sums at the logged steps. `None` unless steps rise and sums never fall.
    #[must_use]
    pub fn new(points: Vec<(i64, f64)>) -> Option<Self> {
        let rising = points.windows(2).all(|p| p[0].0 < p[1].0 && p[0].1 <= p[1].1);
        let finite = points.iter().all(|(_, sum)| sum.is_finite());
        (points.len() > 1 && rising && finite).then_some(Self { points })
    }

    /// The sum up to a step, between logged ones by a line; `None` outside the log.
    fn at(&self, step: i64) -> Option<f64> {
        let after = self.points.partition_point(|(s, _)| *s < step);
        let right = self.points.get(after)?;
        if right.0 == step {
            return Some(right.1);
        }
        let left = self.points.get(after.checked_sub(1)?)?;
        let share = (step as f64 - left.0 as f64) / (right.0 as f64 - left.0 as f64);
        Some(left.1 + share * (right.1 - left.1))
    }

    /// Steps from the first logged one until the sum has grown by so much; `None` if it never does.
    fn steps(&self, sum: f64) -> Option<f64> {
        let first = self.points.first()?;
        let wanted = first.1 + sum;
        let after = self.points.partition_point(|(_, s)| *s < wanted);
        let right = self.points.get(after)?;
        let Some(left) = after.checked_sub(1).and_then(|before| self.points.get(before)) else { return Some(0.0) };
        let share = (wanted - left.1) / (right.1 - left.1);
        Some(left.0 as f64 + share * (right.0 as f64 - left.0 as f64) - first.0 as f64)
    }
}

/// How a family's standard deviation looks, carried back to step 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    /// The family.
    pub family: String,
    /// At the first checkpoint.
    pub std: f64,
    /// At step 0, if its square grew evenly.
    pub back: f64,
    /// The known rule that this follows.
    pub rule: Option<String>,
}

/// Steps that the norm weights of a checkpoint look trained for; `None` for more than the log holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trained {
    low: Option<f64>,
    /// `None` together with `high` if the speed of the run gives only a least number.
    best: Option<f64>,
    high: Option<f64>,
    /// Whether `best` and `high` are beyond the log rather than unknown.
    beyond: bool,
}

/// The path from their known constant grows with the summed learning rate to a power between 1/2 (steps that do not
/// agree) and 1 (steps that do). Measured over 66 honest runs of ten architectures and seven optimisers whose checkpoint
/// of step 20 was passed off as step 0, the range of the two held 20 in 62; beside it were two runs of SGD, one at ten
/// times the learning rate and one without warm-up at a constant rate.
const POWERS: [f64; 3] = [0.5, 0.75, 1.0];

/// Families that a message names.
const NAMED: usize = 3;

/// Below this growth between the first two checkpoints the ratio says nothing: the path was long before.
const LEAST_GROWTH: f64 = 1.1;

/// From the distance of the norm weights from one (or zero) at the first two checkpoints.
fn trained(facts: &StartFacts<'_>) -> Option<Trained> {
    // Those of a frozen or borrowed tower beside an own model would otherwise be counted with the untouched ones.
    let norms: Vec<_> =
        facts.vectors.iter().filter(|v| v.norm && v.varies() && v.away.len() == facts.steps.len()).collect();
    let [first, second, ..] = facts.steps else { return None };
    let away = |t: usize| norms.iter().map(|v| v.away[t]).sum::<f64>().sqrt();
    let (before, after) = (away(0), away(1));
    if before <= 0.0 || !before.is_finite() || !after.is_finite() {
        return None;
    }
    let span = *second as f64 - *first as f64;
    let clock = facts.clock.as_ref().and_then(|clock| {
        let rates = clock.at(*second)? - clock.at(*first)?;
        (rates > 0.0).then_some((clock, rates))
    });
    let growth = after / before;
    if growth < LEAST_GROWTH {
        let moved = norms.iter().map(|v| v.moved).sum::<f64>().sqrt();
        let ratio = (before / moved).min((before / moved).powi(2));
        let low = match clock {
            Some((clock, rates)) => clock.steps(rates * ratio),
            None => Some(span * ratio),
        };
        return Some(Trained { low: low.filter(|l| l.is_finite()), best: None, high: None, beyond: false });
    }
    let [low, best, high] = match clock {
        Some((clock, rates)) => POWERS.map(|power| clock.steps(rates / (growth.powf(1.0 / power) - 1.0))),
        // Without a log the rate may have risen evenly, so that its sum grew with the square of the steps.
        None => [2.0, 1.0, 0.5].map(|power| Some(span / (growth.powf(power) - 1.0))),
    };
    Some(Trained { low, best, high, beyond: true })
}

impl Trained {
    /// The range as a part of a sentence. A bound that the log does not reach is `none`.
    fn range(&self) -> Text {
        match (self.low, self.best) {
            (Some(low), None) if !self.beyond => text!("start/trained-steps/at-least", low),
            _ => text!("start/trained-steps/range", low = self.low, best = self.best, high = self.high),
        }
    }
}

/// Says it of a start whose norm weights are not what untrained ones are.
pub fn judge(judgement: &mut Judgement, facts: &StartFacts<'_>, step: i64) -> Option<Trained> {
    let moved = facts.vectors.iter().filter(|v| v.norm && v.varies()).count();
    let trained = trained(facts).filter(|_| moved > 0)?;
    if step == 0 {
        let next = facts.steps.get(1).copied().unwrap_or(0);
        let message = text!("start/trained-steps/looks", range = trained.range(), next);
        let mut finding = Finding::new(Code::StartTrained, Grade::Weak, Direction::Against, message);
        finding.subject.steps = vec![step];
        finding.subject.component = Some("norms".into());
        finding.statistic = trained.best.or(trained.low);
        finding.n = Some(moved as u64);
        finding.null = text!("start/trained-steps/null");
        judgement.push(finding);
    }
    Some(trained)
}

/// What can be said of step 0 where the first checkpoint is later. None of it proves a random start: a trained model
/// that was trained on can look the same.
pub fn carried_back(text: &mut Text, facts: &StartFacts<'_>, clean: &BTreeSet<String>, trained: Option<&Trained>) {
    let step = facts.steps.first().copied().unwrap_or(0);
    if let Some(trained) = trained {
        text.push(text!("start/not-at-zero/norms", range = trained.range(), step));
    }
    if !facts.drift.is_empty() {
        let follows = |d: &Drift| {
            let rule = d.rule.as_deref()?;
            Some(text!("start/not-at-zero/family", family = &d.family, std = d.std, back = d.back, rule))
        };
        let mut named: Vec<Text> = facts.drift.iter().filter_map(follows).collect();
        let count = named.len();
        named.truncate(NAMED);
        text.push(text!("start/not-at-zero/scales", count, all = facts.drift.len(), named));
    }
    if !clean.is_empty() {
        let components: Vec<&str> = clean.iter().map(String::as_str).collect();
        text.push(text!("start/not-at-zero/clean", components));
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn a_clock_runs_both_ways() {
        let clock = Clock::new(vec![(0, 0.0), (10, 1.0), (30, 5.0)]).expect("rising");
        assert_eq!((clock.at(20), clock.at(10), clock.at(31), clock.at(-1)), (Some(3.0), Some(1.0), None, None));
        assert_eq!((clock.steps(3.0), clock.steps(0.0), clock.steps(5.1)), (Some(20.0), Some(0.0), None));
        assert_eq!(Clock::new(vec![(0, 0.0)]), None);
        assert_eq!(Clock::new(vec![(0, 0.0), (1, f64::NAN)]), None);
        assert_eq!(Clock::new(vec![(0, 1.0), (1, 0.5)]), None);
        assert!(Clock::new(vec![(i64::MIN, 0.0), (i64::MAX, 1.0)]).expect("rising").steps(0.5).is_some());
    }
}
