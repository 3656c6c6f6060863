//! Two neighbouring states: whether the second moments could fall so, and a replay of the update between consecutive ones.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;

use super::join::alike;
use super::point::{Param, Point, chunks, first, half_unit, weights};
use scratchproof_checkpoint::{Checkpoint, Parameter, StateTensor};
use scratchproof_error::Result;
use scratchproof_measurements::{StateKind, StatePoint, StateReplay, StatesBetween};

/// Second moments below this are not looked at: numbers that small may be set to zero.
const LEAST: f64 = 1e-30;

/// Roundings of one update of a second moment.
const ROUNDINGS: f64 = 3.0;

/// Part of a step by which arithmetic in single precision may miss it, beside what is rounded when it is stored.
const FREE: f64 = 1e-4;

/// Parameters of fewer elements say no learning rate.
const TELLING: u64 = 256;

/// One parameter before and after.
struct Pair<'a, 'p> {
    before: &'p Param<'a>,
    after: &'p Param<'a>,
}

/// What is compared of two neighbours.
pub fn between(
    (before, from): (&StatePoint, &Point),
    (after, to): (&StatePoint, &Point),
    series: &[&Checkpoint],
) -> Result<StatesBetween> {
    let updates = match (from.step(), to.step()) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => 0,
    };
    let mut all = StatesBetween {
        from: before.at,
        to: after.at,
        updates,
        equal: before.digest == after.digest && before.kind != StateKind::Other,
        compared: 0,
        fell: 0,
        replay: None,
    };
    let known: BTreeMap<&Parameter, &Param> = from.params.iter().map(|param| (&param.state.parameter, param)).collect();
    let adam = |param: &&Param| param.kind == StateKind::Adam;
    let pairs: Vec<Pair> = to
        .params
        .iter()
        .filter(adam)
        .filter_map(|after| Some(Pair { before: known.get(&after.state.parameter).copied().filter(adam)?, after }))
        .filter(Pair::fits)
        .collect();
    if updates == 0 || pairs.is_empty() || all.equal {
        return Ok(all);
    }
    let falls: Vec<(u64, u64)> = pairs.par_iter().map(|pair| pair.falls(updates)).collect::<Result<_>>()?;
    for (compared, fell) in falls {
        all.compared += compared;
        all.fell += fell;
    }
    if updates == 1 && to.at == from.at + 1 && pairs.iter().all(|pair| pair.after.betas().is_some()) {
        let whole = pairs.len() == to.params.len();
        let parts: Vec<Part> =
            pairs.par_iter().map(|pair| pair.replay(from.checkpoint, series[to.at])).collect::<Result<_>>()?;
        all.replay = Some(together(&parts, whole));
    }
    Ok(all)
}

/// Sums of a replay over one parameter.
#[derive(Clone, Copy, Default)]
struct Part {
    elements: u64,
    moments_off: u64,
    error2: f64,
    second2: f64,
    gradient2: f64,
    weights: u64,
    weights_off: u64,
    weights_told: u64,
    step2: f64,
    left2: f64,
    given2: f64,
    product: f64,
    rate: Option<f64>,
}

fn together(parts: &[Part], whole: bool) -> StateReplay {
    let sum = |of: fn(&Part) -> f64| parts.iter().map(of).sum::<f64>();
    let count = |of: fn(&Part) -> u64| parts.iter().map(of).sum::<u64>();
    let share = |a: f64, b: f64| Some((a / b).sqrt()).filter(|share| share.is_finite()).unwrap_or(0.0);
    let rates: Vec<f64> = parts.iter().filter_map(|part| part.rate).filter(|rate| rate.is_finite()).collect();
    let cosine = sum(|part| part.product) / (sum(|part| part.step2) * sum(|part| part.given2)).sqrt();
    StateReplay {
        elements: count(|part| part.elements),
        moments_off: count(|part| part.moments_off),
        moments_error: share(sum(|part| part.error2), sum(|part| part.second2)),
        weights: count(|part| part.weights),
        weights_off: count(|part| part.weights_off),
        weights_told: count(|part| part.weights_told),
        step_error: share(sum(|part| part.left2), sum(|part| part.step2)),
        step_cosine: if cosine.is_finite() { cosine } else { 0.0 },
        rate: rates.iter().copied().reduce(f64::min).zip(rates.iter().copied().reduce(f64::max)),
        gradient: Some(sum(|part| part.gradient2).sqrt()).filter(|norm| whole && norm.is_finite()),
    }
}

impl Pair<'_, '_> {
    fn tensors<'t>(param: &'t Param<'_>) -> Option<[&'t StateTensor; 2]> {
        Some([param.state.tensors.get("exp_avg")?, param.state.tensors.get("exp_avg_sq")?])
    }

    fn fits(&self) -> bool {
        let readable = |param: &Param<'_>| first(param).is_some();
        let both = (Self::tensors(self.before), Self::tensors(self.after));
        let same = matches!(both, (Some([a, b]), Some([c, d]))
            if [b, c, d].iter().all(|other| other.shape() == a.shape()));
        same && readable(self.before) && readable(self.after)
    }

    /// Second moments that were looked at, and those that fell too fast.
    fn falls(&self, updates: u64) -> Result<(u64, u64)> {
        let Some([_, beta]) = self.after.betas().filter(|betas| betas[1] > 0.0) else { return Ok((0, 0)) };
        let (Some([_, v]), Some([_, then])) = (Self::tensors(self.before), Self::tensors(self.after)) else {
            return Ok((0, 0));
        };
        let lost = ROUNDINGS * half_unit(v.dtype()).max(half_unit(then.dtype()));
        let least = ((beta.ln() - lost) * updates as f64).exp() * (1.0 - lost);
        let (mut compared, mut fell) = (0, 0);
        for range in chunks(v, 1) {
            let (before, after) = (self.before.values(v, &range)?, self.after.values(then, &range)?);
            for (before, after) in before.iter().zip(&after).filter(|(before, _)| **before * least > LEAST) {
                compared += 1;
                fell += u64::from(*after < before * least);
            }
        }
        Ok((compared, fell))
    }

    /// The update between the two, from the moments after it.
    fn replay(&self, from: &Checkpoint, to: &Checkpoint) -> Result<Part> {
        let mut part = Part::default();
        let tensor = self.before.tensor.or(self.after.tensor).map(|at| &from.tensors[at]);
        let joined = tensor.and_then(|own| alike(to, own).map(|other| (own, other)));
        let (Some([m, v]), Some([m2, v2]), Some(betas)) =
            (Self::tensors(self.before), Self::tensors(self.after), self.after.betas())
        else {
            return Ok(part);
        };
        let (unit, kept) = (half_unit(m.dtype()).max(half_unit(m2.dtype())), half_unit(v2.dtype()));
        let mut fit = Fit::default();
        for range in chunks(m, 1) {
            let [m, v] = [self.before.values(m, &range)?, self.before.values(v, &range)?];
            let [m2, v2] = [self.after.values(m2, &range)?, self.after.values(v2, &range)?];
            for ((m, v), (m2, v2)) in m.iter().zip(&v).zip(m2.iter().zip(&v2)) {
                let gradient = (m2 - betas[0] * m) / (1.0 - betas[0]);
                let doubt = unit * (m2.abs() + betas[0] * m.abs()) / (1.0 - betas[0]);
                let error = betas[1] * v + (1.0 - betas[1]) * gradient * gradient - v2;
                let allowed = (1.0 - betas[1]) * doubt * (2.0 * gradient.abs() + doubt) + ROUNDINGS * kept * v2.abs();
                part.elements += 1;
                part.moments_off += u64::from(error.abs() > 4.0 * allowed + LEAST);
                part.error2 += error * error;
                part.second2 += v2 * v2;
                part.gradient2 += gradient * gradient;
            }
            if let (Some((own, other)), Some(direction)) = (joined, self.after.direction(&range)?) {
                fit.add(&weights(from, own, &range)?, &weights(to, other, &range)?, &direction);
            }
        }
        let Some((own, other)) = joined else { return Ok(part) };
        let Some([rate, decay]) = fit.solve() else { return Ok(part) };
        let half = [half_unit(own.dtype) + half_unit(other.dtype), FREE + 2.0 * (unit + kept)];
        for range in chunks(m, 1) {
            self.left(&mut part, [rate, decay], half, (from, own), (to, other), &range)?;
        }
        let told = part.weights >= TELLING && part.left2 < 0.01 * part.step2;
        part.rate = told.then_some(rate);
        Ok(part)
    }

    /// What the fit leaves of the step.
    fn left(
        &self,
        part: &mut Part,
        [rate, decay]: [f64; 2],
        [half, free]: [f64; 2],
        (from, own): (&Checkpoint, &scratchproof_checkpoint::TensorRecord),
        (to, other): (&Checkpoint, &scratchproof_checkpoint::TensorRecord),
        range: &Range<usize>,
    ) -> Result<()> {
        let Some(direction) = self.after.direction(range)? else { return Ok(()) };
        let (own, other) = (weights(from, own, range)?, weights(to, other, range)?);
        for ((own, other), direction) in own.iter().zip(&other).zip(&direction) {
            let (step, given) = (other - own, rate * direction - decay * own);
            let allowed = 1.05 * half * own.abs().max(other.abs()) + free * given.abs() + f64::MIN_POSITIVE;
            part.weights += 1;
            part.weights_off += u64::from((step - given).abs() > allowed);
            part.weights_told += u64::from(given.abs().max(step.abs()) > 2.0 * allowed);
            part.step2 += step * step;
            part.given2 += given * given;
            part.left2 += (step - given) * (step - given);
            part.product += step * given;
        }
        Ok(())
    }
}

/// Least squares of the step on the direction and on the weights, which decay.
#[derive(Default)]
struct Fit {
    /// Direction by direction, direction by weight, weight by weight.
    own: [f64; 3],
    /// Step by direction, step by weight.
    step: [f64; 2],
}

impl Fit {
    fn add(&mut self, own: &[f64], other: &[f64], direction: &[f64]) {
        for ((own, other), direction) in own.iter().zip(other).zip(direction) {
            let step = other - own;
            self.own[0] += direction * direction;
            self.own[1] += direction * own;
            self.own[2] += own * own;
            self.step[0] += step * direction;
            self.step[1] += step * own;
        }
    }

    /// Rate, and rate times decay; `None` where the moments say nothing.
    fn solve(&self) -> Option<[f64; 2]> {
        let [dd, dw, ww] = self.own;
        let [sd, sw] = self.step;
        let determinant = dd * ww - dw * dw;
        if dd <= 0.0 || !dd.is_finite() {
            return None;
        }
        if ww <= 0.0 || determinant <= 1e-9 * dd * ww {
            return Some([(sd / dd).max(0.0), 0.0]);
        }
        let both = [(sd * ww - sw * dw) / determinant, -(sw * dd - sd * dw) / determinant];
        // No optimizer goes up: a rate below zero is none.
        let both = if both[0] > 0.0 { both } else { [0.0, -sw / ww] };
        both.iter().all(|value| value.is_finite()).then_some(both)
    }
}

#[cfg(test)]
mod tests {
    use super::Fit;

    #[test]
    fn a_step_gives_its_rate_and_its_decay() {
        let (own, direction) = ([1.0, -2.0, 0.5, 3.0], [0.3, 1.0, -0.7, 0.2]);
        let step = |(own, direction): (&f64, &f64)| own * (1.0 - 0.01 * 0.1) + 0.01 * direction;
        let other: Vec<f64> = own.iter().zip(&direction).map(step).collect();
        let mut fit = Fit::default();
        fit.add(&own, &other, &direction);
        let [rate, decay] = fit.solve().expect("it can be solved");
        assert!((rate - 0.01).abs() < 1e-12 && (decay - 0.001).abs() < 1e-12, "{rate} {decay}");
        assert!(Fit::default().solve().is_none());
        // The other way round it is no step of these moments.
        let mut fit = Fit::default();
        let back: Vec<f64> = own.iter().zip(&direction).map(|(own, direction)| own - 0.01 * direction).collect();
        fit.add(&own, &back, &direction);
        assert_eq!(fit.solve().expect("it can be solved")[0].to_bits(), 0.0_f64.to_bits());
    }
}
