//! What the run logs say of the updates between two checkpoints.

use super::Reading;
use scratchproof_record::{Decay, Optimizer, RateSum, Run};
use scratchproof_stats::Rule;
use scratchproof_texts::{Text, text};

/// Learning rates between two checkpoints.
pub struct Rates {
    /// Sum over the steps.
    pub sum: f64,
    /// The largest sum by any custom of writers: row N may hold the rate of the update before it, as [`Rates::sum`] takes it, or
    /// of the one after it. Where rates fall to zero the two are far apart.
    pub most: f64,
    /// Share of a weight that decoupled decay takes away.
    pub decay: f64,
}

/// Whether all logged learning rates between two checkpoints are zero, in the first run that logs any: those of the rows from
/// the first checkpoint up to the second, or from the row after it where programs log what was used. Nothing where none is.
#[must_use]
pub fn idle(reading: &Reading, from: i64, to: i64) -> Option<bool> {
    reading.trainings().find_map(|run| {
        let rates = run.learning_rate();
        let within = |least: i64, most: i64| -> Option<bool> {
            let mut all = rates.iter().filter(|(step, _)| (least..=most).contains(step)).peekable();
            all.peek()?;
            Some(all.all(|(_, rate)| *rate == 0.0))
        };
        let before = within(from, to.saturating_sub(1));
        let after = within(from.saturating_add(1), to) == Some(true);
        if after { Some(true) } else { before }
    })
}

/// Learning rates between two checkpoints, from the first run that logged all of them. Where no row lies between the two, as in a
/// warm-up of which one row is logged, the most is what interpolation may hide as well: **measured** on an honest run logged
/// every 50 steps, 2.80 times the interpolated sum between steps 8 and 16, where 2.2 times it may be hidden beside.
pub fn rates(reading: &Reading, from: i64, to: i64) -> Option<Rates> {
    reading.trainings().find_map(|run| {
        let sum = run.learning_rate_sum(from, to)?;
        if !sum.whole() || sum.sum <= 0.0 {
            return None;
        }
        let decay = run.weight_decay().map_or(0.0, |decay| 1.0 - sum.ln_decay(decay).exp());
        let after = run.learning_rate_sum(from.saturating_sub(1), to.saturating_sub(1)).filter(RateSum::whole);
        let logged = run.learning_rate().iter().any(|(step, _)| (from.saturating_add(1)..=to).contains(step));
        let at_most = |sum: &RateSum| sum.sum + if logged { 0.0 } else { sum.doubt };
        let most = after.map_or(at_most(&sum), |after| at_most(&after).max(at_most(&sum)));
        Some(Rates { sum: sum.sum, most, decay })
    })
}

/// Stretches of training that were given up: where a later run begins before the one before it ends.
pub fn given_up(reading: &Reading) -> Vec<(i64, i64)> {
    let span = |run: &Run| {
        let points = run.loss();
        Some((run.started_at, points.first()?.0, points.last()?.0))
    };
    let mut spans: Vec<_> = reading.record.runs.iter().filter_map(span).collect();
    spans.sort_by_key(|span| (span.0, span.1));
    let back = |pair: &[(_, i64, i64)]| {
        let ((_, first, end), (_, begin, _)) = (pair[0], pair[1]);
        (begin > first && begin < end).then_some((begin.saturating_sub(1), end))
    };
    spans.windows(2).filter_map(back).collect()
}

/// The learning rate summed over the steps from the first logged one, at every logged step; of the first run that logs it.
pub fn summed_rates(reading: &Reading) -> Option<Vec<(i64, f64)>> {
    let points = reading.trainings().map(Run::learning_rate).find(|rates| rates.len() > 1)?;
    let mut sum = 0.0;
    let mut before = *points.first()?;
    Some(
        points
            .into_iter()
            .map(|(step, rate)| {
                sum += (step as f64 - before.0 as f64) * f64::midpoint(rate, before.1);
                before = (step, rate);
                (step, sum)
            })
            .collect(),
    )
}

/// By checkpoint, the share of the first one that weight decay alone leaves, from the first run that logged all of it.
/// `None` where that is not known: no log, no weight decay in the configuration, or one that is not decoupled.
pub fn left_by_decay(reading: &Reading, steps: &[i64]) -> Vec<Option<f64>> {
    let left = |run: &Run| -> Option<Vec<Option<f64>>> {
        let (first, last) = (*steps.first()?, *steps.last()?);
        let whole = run.learning_rate_sum(first, last)?;
        if !whole.whole() {
            return None;
        }
        let decay = run.decay();
        let at = |step: i64| match decay {
            Decay::None => Some(1.0),
            Decay::Unknown => None,
            Decay::Decoupled(_) | Decay::Coupled(_) if step == first => Some(1.0),
            Decay::Decoupled(decay) => Some(run.learning_rate_sum(first, step)?.ln_decay(decay).exp()),
            // The gradient of L2 goes through the momentum, which makes it 1 / (1 - momentum) steps.
            Decay::Coupled(decay) => Some((-decay * run.learning_rate_sum(first, step)?.sum).exp()),
        };
        Some(steps.iter().map(|step| at(*step)).collect())
    };
    reading.trainings().find_map(left).unwrap_or_else(|| vec![None; steps.len()])
}

/// How the weights are updated, as far as that limits a step.
pub struct Limit {
    /// The rule.
    pub rule: Rule,
    /// The optimiser's name.
    pub name: String,
    /// Whether it cannot be crossed.
    pub exact: bool,
    /// Whether only the optimiser's states say which rule it is: other rules keep moments of the same names.
    pub beside: bool,
}

/// The rule of the first run, or why nothing is known.
///
/// # Errors
/// Why there is none, as a text.
pub fn rule(reading: &Reading) -> std::result::Result<Limit, Text> {
    let Some(run) = reading.trainings().next() else { return Err(text!("chain/budget/no-log")) };
    // Without logged betas the widest usual ones: a bound must not accuse anybody of a setting nobody wrote down.
    let rate = |given: Option<f64>, usual: f64| given.filter(|b| (0.0..1.0).contains(b)).unwrap_or(usual);
    let (beta1, beta2) = (rate(run.beta1(), 0.9), rate(run.beta2(), 0.999));
    let Some(optimizer) = run.optimizer() else { return Err(text!("chain/budget/no-optimiser")) };
    let name = optimizer.name().to_owned();
    let beside = run.named_optimizer().is_none();
    let limit = |rule: Rule, exact: bool| Ok(Limit { rule, name: name.clone(), exact: exact && !beside, beside });
    match optimizer {
        Optimizer::AdamW | Optimizer::Adam => limit(Rule::Adam { beta1, beta2 }, true),
        Optimizer::Lion => limit(Rule::Sign, true),
        Optimizer::Adafactor => limit(Rule::Adafactor, true),
        Optimizer::Muon => limit(Rule::Muon { beta1, beta2 }, false),
        Optimizer::Sgd => {
            let clip = run.grad_clip().filter(|clip| *clip > 0.0);
            let logged = run.grad_norm().into_iter().map(|(_, norm)| norm).filter(|norm| *norm > 0.0).reduce(f64::max);
            let Some(momentum) = run.momentum().filter(|m| (0.0..1.0).contains(m)) else {
                return Err(text!("chain/budget/no-momentum"));
            };
            let Some(gradient) = clip.or(logged) else {
                return Err(text!("chain/budget/no-clipping"));
            };
            let decay = run.weight_decay().filter(|d| *d >= 0.0).unwrap_or(0.0);
            limit(Rule::Momentum { momentum, gradient, decay }, clip.is_some())
        }
        Optimizer::Unknown(_) => Err(text!("chain/budget/no-bound", optimiser = name)),
    }
}
