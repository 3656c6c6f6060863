//! The distance between neighbours against what the optimiser can do, and against the intervals beside it.

use super::ChainFacts;
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_evidence::ChainRow;
use scratchproof_measurements::ALL;
use scratchproof_texts::{Text, text};

/// The optimiser of the log, where its steps have a bound.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// Its name.
    pub optimiser: String,
    /// Whether the bound cannot be crossed. Not where only some gradient norms are logged, and not where parts of the model
    /// usually have learning rates of their own that the log does not hold.
    pub exact: bool,
    /// Whether only the optimiser's states say which it is, and not the log: that binds nobody who exceeds it, as other rules keep
    /// the same moments.
    pub beside: bool,
}

impl Bound {
    /// Whether staying within it says something.
    #[must_use]
    pub fn tells(&self) -> bool {
        self.exact || self.beside
    }
}

fn finding(row: &ChainRow, grade: Grade, direction: Direction, message: Text) -> Finding {
    let mut finding = Finding::new(Code::ChainBudget, grade, direction, message);
    finding.subject.component = (row.component != ALL).then(|| row.component.clone());
    finding.subject.steps = vec![row.from_step, row.to_step];
    finding.evidence = Some("evidence/chain.parquet".into());
    finding
}

/// What the optimiser can do with the logged learning rates.
pub(super) fn budget(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let spent: Vec<(&ChainRow, f64)> =
        facts.path.iter().filter_map(|r| Some((r, r.budget? * facts.of_most(r)))).collect();
    let whole = || spent.iter().filter(|(r, _)| r.component == ALL).copied();
    let over = |(row, budget): (&ChainRow, f64)| budget / row.bound.unwrap_or(1.0);
    let Some((worst, budget)) = whole().max_by(|a, b| over(*a).total_cmp(&over(*b))) else {
        let why = facts.unbounded.clone().unwrap_or_else(|| text!("chain/budget/no-rates"));
        judgement.missing.push(text!("chain/budget/missing-test", why));
        return;
    };
    let intervals = whole().count();
    let mut shown = (worst, budget);
    let part = spent.iter().filter(|(r, _)| r.component != ALL && r.bound.is_some()).copied();
    let part = part.filter(|p| over(*p) > policy.budget_excess).max_by(|a, b| over(*a).total_cmp(&over(*b)));
    let (from, to) = (worst.from_step, worst.to_step);
    let (grade, direction, message) = match (&facts.bound, worst.bound) {
        (Some(Bound { optimiser, exact, .. }), Some(bound)) if budget > bound * policy.budget_excess => {
            if *exact && parts_over(facts, worst) && !facts.moved_layers_alone((from, to)) {
                let message = text!("chain/budget/beyond", ratio = budget, from, to, optimiser, bound);
                (Grade::Conclusive, Direction::Against, message)
            } else if *exact {
                judgement.missing.push(text!("chain/budget/missing-rates"));
                let message = text!("chain/budget/beyond-unless", ratio = budget, from, to, optimiser, bound);
                (Grade::Moderate, Direction::Against, message)
            } else {
                let message = text!("chain/budget/beyond-logged", ratio = budget, from, to, optimiser, bound);
                (Grade::Weak, Direction::Against, message)
            }
        }
        (Some(Bound { optimiser, exact: true, .. }), _) if part.is_some() => {
            let (row, excess) = part.unwrap_or(shown);
            shown = (row, excess);
            let component = &row.component;
            judgement.missing.push(text!("chain/budget/missing-rate", component));
            let message = text!(
                "chain/budget/component-beyond",
                component,
                ratio = excess,
                from = row.from_step,
                to = row.to_step,
                optimiser,
                bound = row.bound.unwrap_or(1.0)
            );
            (Grade::Moderate, Direction::Against, message)
        }
        (Some(own @ Bound { optimiser, beside, .. }), Some(bound)) => {
            let mut message = text!("chain/budget/within", intervals, ratio = budget, from, to, optimiser, bound);
            if *beside {
                message.push(text!("chain/budget/of-states"));
            }
            (if own.tells() { Grade::Moderate } else { Grade::Weak }, Direction::For, message)
        }
        _ => {
            let why = facts.unbounded.clone().unwrap_or_else(|| text!("chain/budget/unknown-optimiser"));
            let message = text!("chain/budget/unbounded", intervals, ratio = budget, from, to, why);
            (Grade::Context, Direction::Neutral, message)
        }
    };
    let (worst, budget) = shown;
    let mut finding = finding(worst, grade, direction, message);
    finding.statistic = Some(budget);
    finding.effect = worst.bound.map(|bound| budget / bound);
    finding.n = Some(intervals as u64);
    finding.null = match (&facts.bound, worst.bound) {
        (Some(Bound { optimiser, .. }), Some(bound)) => {
            text!("chain/budget/null-bound", optimiser, bound)
        }
        _ => text!("chain/budget/null-none"),
    };
    judgement.push(finding);
}

/// Whether half of the components or more are beyond the bound where the whole model is: one alone may have a learning rate
/// of its own, and be most of the model.
fn parts_over(facts: &ChainFacts<'_>, whole: &ChainRow) -> bool {
    let parts = || facts.path.iter().filter(|r| r.component != ALL && r.from_step == whole.from_step);
    let over = parts().filter(|r| r.budget.zip(r.bound).is_some_and(|(budget, bound)| budget > bound)).count();
    2 * over >= parts().filter(|r| r.budget.is_some()).count()
}

/// An interval's speed over that of the ones beside it.
struct Pace<'a> {
    row: &'a ChainRow,
    /// Over the faster one.
    fast: f64,
    /// Over the slower one.
    slow: f64,
    /// Whether there is one on either side.
    inner: bool,
}

/// Speeds by the sum of the learning rates, as a path straight on would have it, and by that sum over the root of the steps,
/// as a random walk would; a training lies between the two, so the milder figure counts.
fn paces<'a>(rows: &[&'a ChainRow], rates: bool) -> Vec<Pace<'a>> {
    let speed = |row: &ChainRow, beyond: bool| {
        let steps = ((i128::from(row.to_step) - i128::from(row.from_step)) as f64).max(1.0);
        let over = if rates { row.lr_sum? } else { steps };
        let speed =
            if beyond { row.budget.filter(|_| rates).or(row.rms.map(|rms| rms / over))? } else { row.rms? / over };
        (speed > 0.0 && speed.is_finite()).then_some([speed, speed * steps.sqrt()])
    };
    let speeds: Vec<Option<[f64; 2]>> = rows.iter().map(|row| speed(row, false)).collect();
    let pace = |t: usize| {
        // Where rates are small a movement in a short number format is its rounding: nothing beyond it is no speed.
        speed(rows[t], true)?;
        // The first interval of a training has its warm-up and its largest gradients.
        let own = speeds[t].filter(|_| t > 0)?;
        let beside: Vec<[f64; 2]> = [t.checked_sub(1), Some(t + 1)]
            .into_iter()
            .flatten()
            .filter_map(|at| speeds.get(at).copied().flatten())
            .collect();
        let of = |k: usize| beside.iter().map(move |s| s[k]);
        let fast = (0..2).map(|k| own[k] / of(k).fold(0.0, f64::max)).fold(f64::INFINITY, f64::min);
        let slow = (0..2).map(|k| own[k] / of(k).fold(f64::INFINITY, f64::min)).fold(0.0, f64::max);
        (!beside.is_empty()).then_some(Pace { row: rows[t], fast, slow, inner: beside.len() == 2 })
    };
    (0..rows.len()).filter_map(pace).collect()
}

/// A pace over the limit: a last interval is held against one neighbour, a component against fewer elements.
fn leap(pace: &Pace<'_>, policy: &Policy) -> f64 {
    let end = if pace.inner { 1.0 } else { 1.75 };
    let own = if pace.row.component == ALL { 1.0 } else { 1.75 };
    pace.fast / (policy.leap * end * own)
}

/// Whether the interval that begins at a step is a leap of one component, as [`relative`] tells it at moderate.
pub(crate) fn leaps(rows: &[&ChainRow], from: i64, policy: &Policy) -> bool {
    let rates = rows.iter().all(|row| row.lr_sum.is_some());
    rates && paces(rows, true).iter().any(|pace| pace.row.from_step == from && leap(pace, policy) > 1.0)
}

/// Every interval against those beside it, whatever the optimiser.
pub(super) fn relative(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let rates = facts.path.iter().all(|r| r.lr_sum.is_some());
    let mut names: Vec<&str> = facts.path.iter().map(|r| r.component.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut fastest: Option<(Pace<'_>, f64)> = None;
    let mut slowest: Option<Pace<'_>> = None;
    for name in names {
        let rows: Vec<&ChainRow> = facts.path.iter().filter(|r| r.component == name).collect();
        for pace in paces(&rows, rates) {
            let excess = leap(&pace, policy);
            if name == ALL && pace.slow * policy.standstill < 1.0 && slowest.as_ref().is_none_or(|s| pace.slow < s.slow)
            {
                slowest = Some(Pace { ..pace });
            }
            if excess > 1.0 && fastest.as_ref().is_none_or(|f| excess > f.1) {
                fastest = Some((pace, excess));
            }
        }
    }
    let grade = if rates { Grade::Moderate } else { Grade::Weak };
    // The whole model has no name.
    let name = |row: &ChainRow| (row.component != ALL).then(|| row.component.clone());
    if let Some((pace, _)) = fastest {
        let message = text!(
            "chain/budget/faster",
            component = name(pace.row),
            times = pace.fast,
            from = pace.row.from_step,
            to = pace.row.to_step,
            rates
        );
        let mut finding = finding(pace.row, grade, Direction::Against, message);
        finding.effect = Some(pace.fast);
        finding.null = text!("chain/budget/null-beside");
        judgement.push(finding);
    }
    if let Some(pace) = slowest {
        let message = text!(
            "chain/budget/slower",
            component = name(pace.row),
            times = pace.slow,
            from = pace.row.from_step,
            to = pace.row.to_step,
            rates
        );
        let mut finding = finding(pace.row, grade, Direction::Against, message);
        finding.effect = Some(pace.slow);
        finding.null = text!("chain/budget/null-beside");
        judgement.push(finding);
    }
}
