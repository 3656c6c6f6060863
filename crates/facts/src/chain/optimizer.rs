//! What the log says beside the optimizer's states.

use std::collections::BTreeMap;

use crate::session::Session;
use scratchproof_finding::chain::{DecayFacts, Norm, OptimizerFacts, Rates, Setting};
use scratchproof_measurements::{OptimizerStates, StatePoint};
use scratchproof_record::{Decay, Optimizer, Run};

/// Ages of gradients that a moving average is followed back over, at most.
const MOST_AGES: u64 = 1 << 20;

/// Weight of the oldest gradients that may be left out of a moving average.
const REST: f64 = 1e-7;

/// Keys of the epsilon of an optimizer; a plain `eps` may be that of a norm layer.
const EPS: [&str; 6] = ["adam_epsilon", "adam_eps", "optimizer.eps", "optim.eps", "optimizer.epsilon", "adamw_eps"];

/// What the judge of the states is told.
pub fn facts(session: &Session, decay: &DecayFacts) -> OptimizerFacts {
    let states = &session.measured.optimizer;
    let runs = || session.record.trainings();
    if states.points.is_empty() {
        return OptimizerFacts { coupled: coupled(states, runs().next()), ..OptimizerFacts::default() };
    }
    let step = |point: &StatePoint| session.measured.steps[point.at];
    let tables = states.points.iter().flat_map(|point| point.rows.iter().map(|rows| rows.unit));
    let tables: BTreeMap<usize, (String, bool)> = tables
        .filter_map(|unit| {
            let name = &session.measured.plan.units.get(unit)?.tensor;
            let tied = decay.clocks.iter().find(|clock| clock.tensor == *name).is_none_or(|clock| clock.tied);
            Some((unit, (name.clone(), tied)))
        })
        .collect();
    let rated = runs().map(Run::learning_rate).find(|points| !points.is_empty()).unwrap_or_default();
    let (norms, clipped, custom) = norms(session, states);
    OptimizerFacts {
        rates: states.points.iter().map(|point| around(&rated, step(point))).collect(),
        norms,
        clipped,
        settings: settings(session, states),
        adam: runs().next().and_then(Run::named_optimizer).map(|o| matches!(o, Optimizer::Adam | Optimizer::AdamW)),
        coupled: coupled(states, runs().next()),
        gradient: gradient(session, states, custom),
        tables: tables.into_iter().map(|(unit, (name, tied))| (unit, name, tied)).collect(),
    }
}

/// Whether weight decay goes through gradients that an adaptive optimiser scales: the states' groups say so, or the log names plain Adam with a decay and
/// nothing else says.
fn coupled(states: &OptimizerStates, run: Option<&Run>) -> bool {
    let groups = || states.points.iter().flat_map(|point| &point.groups).filter(|group| group.decay > Some(0.0));
    let said = groups().find_map(|group| group.decoupled);
    let adam = |run: &Run| run.named_optimizer() == Some(Optimizer::Adam) && run.configured_decay() > Some(0.0);
    let named = run.is_some_and(|run| run.decay() == Decay::Unknown && adam(run));
    said.map_or(named, |decoupled| !decoupled)
}

/// The rates of the rows round a step: the row before, the row itself and the row after it; where those were
/// not logged, the nearest on both sides.
fn around(points: &[(i64, f64)], step: i64) -> Option<Rates> {
    let (low, high) = (step.saturating_sub(1), step.saturating_add(1));
    let first = points.partition_point(|point| point.0 <= low).checked_sub(1)?;
    let last = points.partition_point(|point| point.0 < high);
    let near = points
        .get(first..=last)
        .or_else(|| points.get(first..).filter(|rest| rest.last().is_some_and(|point| point.0 >= step)))?;
    let rates = || near.iter().map(|point| point.1);
    let after = near.last().is_some_and(|point| point.0 > step);
    Some(Rates { least: rates().reduce(f64::min)?, most: rates().reduce(f64::max)?, after })
}

fn settings(session: &Session, states: &OptimizerStates) -> Vec<Setting> {
    let Some(run) = session.record.trainings().next() else { return Vec::new() };
    let groups = || states.points.iter().flat_map(|point| &point.groups);
    // What was taken from the states agrees with them by itself.
    let own = |name: &str, value: Option<f64>| value.filter(|_| !run.beside.contains_key(name));
    let eps = EPS.iter().find_map(|name| run.config.get(*name)?.as_f64());
    let wanted = [
        ("beta1", own("beta1", run.beta1()), true),
        ("beta2", own("beta2", run.beta2()), true),
        ("eps", eps, false),
        ("weight decay", run.configured_decay(), false),
    ];
    let mut all = Vec::new();
    for (name, wanted, asks) in wanted {
        let found = groups().filter_map(|group| match name {
            "beta1" => group.betas.map(|betas| betas[0]),
            "beta2" => group.betas.map(|betas| betas[1]),
            "eps" => group.eps,
            _ => group.decay,
        });
        let mut found: Vec<f64> = found.collect();
        found.sort_by(f64::total_cmp);
        found.dedup();
        if let Some(wanted) = wanted.filter(|wanted| wanted.is_finite() && !found.is_empty()) {
            all.push(Setting { name, wanted, found, asks });
        }
    }
    all
}

/// How the rows of a log belong to updates (what is added to the number of an update to get the row of its gradient), and
/// whether the gradients were clipped to the configured norm.
type Custom = (i64, Option<f64>);

/// The sums of second moments beside what the logged norms give, under the custom that explains them best.
fn norms(session: &Session, states: &OptimizerStates) -> (Vec<Option<Norm>>, bool, i64) {
    let none = || (vec![None; states.points.len()], false, -1);
    let Some(run) = session.record.trainings().find(|run| !run.grad_norm().is_empty()) else { return none() };
    let rows = run.grad_norm();
    let clip = run.grad_clip().filter(|clip| *clip > 0.0);
    let mut best: Option<(f64, Vec<Option<Norm>>, Custom)> = None;
    for shift in [-1, 0] {
        for limit in [clip, None] {
            let all: Vec<Option<Norm>> = states
                .points
                .iter()
                .map(|point| norm(point, &rows, session.measured.steps[point.at], (shift, limit), run))
                .collect();
            let told: Vec<f64> = all.iter().flatten().map(|norm| norm.ratio.ln().abs()).collect();
            if told.is_empty() {
                continue;
            }
            let off = told.iter().copied().fold(0.0, f64::max);
            if best.as_ref().is_none_or(|best| off < best.0) {
                best = Some((off, all, (shift, limit)));
            }
        }
    }
    best.map_or_else(none, |(_, all, (shift, limit))| (all, limit.is_some(), shift))
}

fn norm(point: &StatePoint, rows: &[(i64, f64)], step: i64, (shift, limit): Custom, run: &Run) -> Option<Norm> {
    let second = point.second.filter(|second| *second > 0.0)?;
    let beta = point.groups.iter().find_map(|group| group.betas).map(|betas| betas[1]).or_else(|| run.beta2())?;
    let [(updates, _)] = point.steps.as_slice() else { return None };
    if !(beta > 0.0 && beta < 1.0) {
        return None;
    }
    let (mut sum, mut weight, mut logged, mut free) = (0.0, 1.0 - beta, 0.0, 0.0);
    let mut left = 1.0;
    for age in 0..(*updates).min(MOST_AGES) {
        if left < REST {
            break;
        }
        let row = step.checked_sub(i64::try_from(age).ok()?)?.checked_add(shift)?;
        let (norm, exact) = at(rows, row)?;
        let clipped = limit.map_or(norm, |limit| norm.min(limit));
        sum += weight * clipped * clipped;
        logged += if exact { weight } else { 0.0 };
        free += if clipped < norm { 0.0 } else { weight };
        weight *= beta;
        left *= beta;
    }
    let whole = 1.0 - left;
    let ratio = second / sum;
    (ratio.is_finite() && ratio > 0.0).then_some(Norm { ratio, logged: logged / whole, free: free / whole })
}

/// The logged value of a row, or what lies between those round it; and whether it was logged itself.
fn at(rows: &[(i64, f64)], row: i64) -> Option<(f64, bool)> {
    let next = rows.partition_point(|point| point.0 < row);
    let after = rows.get(next)?;
    if after.0 == row {
        return Some((after.1, true));
    }
    let before = rows.get(next.checked_sub(1)?)?;
    let share = (i128::from(row) - i128::from(before.0)) as f64 / (i128::from(after.0) - i128::from(before.0)) as f64;
    Some((before.1 + share * (after.1 - before.1), false))
}

/// The gradient of a replayed update as it was logged.
fn gradient(session: &Session, states: &OptimizerStates, shift: i64) -> Option<(i64, f64, f64)> {
    let run = session.record.trainings().find(|run| !run.grad_norm().is_empty())?;
    let rows = run.grad_norm();
    let clip = run.grad_clip().filter(|clip| *clip > 0.0).unwrap_or(f64::INFINITY);
    states.between.iter().find_map(|pair| {
        let own = pair.replay?.gradient?;
        let (from, to) = (session.measured.steps[pair.from], session.measured.steps[pair.to]);
        let (logged, exact) = at(&rows, to.saturating_add(shift))?;
        // A gradient at the limit is the limit's, whichever run it is of.
        (exact && logged > 0.0 && logged < clip).then_some((from, own, logged))
    })
}

#[cfg(test)]
mod tests {
    use super::{Rates, around, at};

    #[test]
    fn rows_round_a_step() {
        let rows = [(0, 1.0), (1, 2.0), (2, 3.0), (5, 6.0)];
        let rates = |least, most, after| Some(Rates { least, most, after });
        assert_eq!(around(&rows, 1), rates(1.0, 3.0, true));
        assert_eq!(around(&rows, 4), rates(3.0, 6.0, true));
        assert_eq!(around(&rows, 5), rates(3.0, 6.0, false));
        assert_eq!((around(&rows, 6), around(&rows, 0)), (None, None));
        assert_eq!((at(&rows, 2), at(&rows, 4), at(&rows, 6)), (Some((3.0, true)), Some((5.0, false)), None));
    }
}
