//! Movement: how far the layers moved beside the rows of tokens that were met, and how far single weights did (METHODS 11).
//!
//! Where the summed rates exceed the size of the weights, a whole model fits between two checkpoints, and neither memory nor
//! budget nor decay clock can notice. What does not fit is the proportion of the parts: another model's layers beside a
//! vocabulary that had to be learned anew move several times farther than training moves them beside it, before and after.

use super::{Bound, ChainFacts};
use crate::power::SMALL;
use crate::{Code, Direction, Finding, Grade, Judgement, Tie};
use scratchproof_case::Policy;
use scratchproof_measurements::ALL;
use scratchproof_texts::text;

/// The matrices of all layers together, as a component.
pub const LAYERS: &str = "layers";

/// The rows of tokens that were met: what the layers are held against.
const ANCHOR: &str = "embedding";

/// The output layer.
const HEAD: &str = "head";

/// One part between two neighbouring checkpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    /// Steps of the two.
    pub steps: (i64, i64),
    /// The component; [`LAYERS`] for the matrices of all layers, `all` for every matrix.
    pub component: String,
    /// Elements.
    pub elements: u64,
    /// Root mean square of the displacement; of an embedding, over the rows that were met.
    pub rms: f64,
    /// Root mean square of the weights at the earlier one ...
    pub before: f64,
    /// ... and at the last checkpoint of the series.
    pub last: f64,
    /// The farthest step of a weight, rounding apart.
    pub farthest: f64,
    /// Of an output layer, the share of the squares of the displacement that lies along one direction (zero of all others), ...
    pub along: f64,
    /// ... and the same of the weights at the last checkpoint of the series.
    pub last_along: f64,
    /// Root mean square of the roundings of both checkpoints.
    pub rounding: f64,
    /// Sum of the logged learning rates.
    pub rates: Option<f64>,
    /// The largest sum by any custom of writers (row N holds the rate of the update before it, or of the one after it).
    pub most_rates: Option<f64>,
    /// Share of a weight that decoupled decay takes away.
    pub decay: f64,
}

/// How a component moved beside its anchor in one interval, over the same in the intervals beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Excess {
    /// The interval.
    pub steps: (i64, i64),
    /// The component.
    pub component: String,
    /// Movement over the anchor's.
    pub ratio: f64,
    /// The same over its mean (of the logarithms) in the intervals beside.
    pub excess: f64,
    /// Speed over that of the intervals beside, for a path that grows with the steps or with their root, whichever is more.
    pub pace: f64,
    /// Whether there is an interval on either side.
    pub inner: bool,
}

/// Whether a component holds so little of the model ([`SMALL`]) that what it did beside the others is shown and asks nothing.
/// **Measured**: the router of five honest mixtures (0.5 % of the parameters) moved 1.5 to 2.2 times as far beside the embedding as
/// in the intervals beside.
#[must_use]
pub fn small(moved: &[Moved], component: &str) -> bool {
    let of = |name: &str| moved.iter().find(|m| m.component == name).map(|m| m.elements as f64);
    of(component).zip(of(ALL)).is_some_and(|(own, all)| own < SMALL * all)
}

/// What a component is held against in one interval: the layers for an embedding, the embedding for the layers, and for an
/// output layer and one kind of matrix the embedding and the other kinds, all weighing alike, but for `few` of the parameters.
fn anchor(moved: &[Moved], few: &[&str], component: &str, steps: (i64, i64)) -> Option<f64> {
    let beside = |m: &&Moved| {
        m.steps == steps
            && m.component != component
            && match component {
                ANCHOR => m.component == LAYERS,
                LAYERS => m.component == ANCHOR,
                _ => ![LAYERS, HEAD, ALL].contains(&m.component.as_str()) && !few.contains(&m.component.as_str()),
            }
    };
    // Below some roundings a movement is the number format's.
    let clear: Vec<f64> =
        moved.iter().filter(beside).filter(|m| m.rms > 4.0 * m.rounding).map(|m| m.rms.ln()).collect();
    (!clear.is_empty()).then(|| (clear.iter().sum::<f64>() / clear.len() as f64).exp())
}

impl Moved {
    /// Root mean square of the displacement beside its one direction. An output layer learns the frequency of tokens first,
    /// which is one direction times a number a token: **measured** 100 % of its squares within 40 steps of a warm-up of 20, and a
    /// path 1.9 times as far beside the other parts as in the intervals beside. Another model's output layer is more than that.
    #[must_use]
    pub fn beside_one_direction(&self) -> f64 {
        (self.rms * (1.0 - self.along).max(0.0).sqrt()).max(self.rounding)
    }
}

/// All excesses of the components that have an anchor.
#[must_use]
pub fn excesses(moved: &[Moved]) -> Vec<Excess> {
    let mut steps: Vec<(i64, i64)> = moved.iter().map(|m| m.steps).collect();
    steps.sort_unstable();
    steps.dedup();
    let mut names: Vec<&str> = moved.iter().map(|m| m.component.as_str()).filter(|c| *c != ALL).collect();
    names.sort_unstable();
    names.dedup();
    let few: Vec<&str> = names.iter().copied().filter(|name| small(moved, name)).collect();
    let find = |component: &str, steps: (i64, i64)| moved.iter().find(|m| m.component == component && m.steps == steps);
    let mut excesses = Vec::new();
    for name in names {
        let paths: Vec<Option<(f64, &Moved)>> = steps
            .iter()
            .map(|&steps| {
                let own = find(name, steps).filter(|own| own.rms > 4.0 * own.rounding)?;
                Some((own.rms / anchor(moved, &few, name, steps)?, own))
            })
            .collect();
        for (t, path) in paths.iter().enumerate() {
            let Some((ratio, own)) = path else { continue };
            let sides = [[t.checked_sub(1), t.checked_sub(2)], [Some(t + 1), Some(t + 2)]];
            let beside: Vec<(f64, &Moved)> =
                sides.into_iter().filter_map(|near| *paths.get(beside(&steps, t, near)?)?).collect();
            if beside.is_empty() {
                continue;
            }
            let mean = |values: &dyn Fn(&(f64, &Moved)) -> f64| {
                (beside.iter().map(|b| values(b).ln()).sum::<f64>() / beside.len() as f64).exp()
            };
            let speed = |m: &Moved, power: f64| {
                let steps = ((i128::from(m.steps.1) - i128::from(m.steps.0)) as f64).max(1.0);
                let over = m.rates.unwrap_or(steps) / steps;
                (m.rms.powi(2) - m.rounding.powi(2)).max(0.0).sqrt() / (over * steps.powf(power))
            };
            let pace = |power: f64| speed(own, power) / mean(&|b| speed(b.1, power));
            let (excess, pace) = (ratio / mean(&|b| b.0), f64::max(pace(0.5), pace(1.0)));
            let rest = |m: &Moved| m.beside_one_direction() / m.rms;
            let excess = excess.min(excess * rest(own) / mean(&|b| rest(b.1)));
            if excess.is_finite() && pace.is_finite() {
                let inner = beside.len() == 2;
                excesses.push(Excess {
                    steps: own.steps,
                    component: name.to_owned(),
                    ratio: *ratio,
                    excess,
                    pace,
                    inner,
                });
            }
        }
    }
    excesses
}

/// The interval to hold one against, the nearest of a like length on one side: in a single step only the rows of its batch have
/// a gradient, and the updates of many steps add up otherwise than one, so the proportions are others. **Measured** on nanoGPT
/// (saved at 99 and 100 among steps 50 apart): the layers 2.0 times what they are in the intervals beside it.
fn beside(steps: &[(i64, i64)], t: usize, near: [Option<usize>; 2]) -> Option<usize> {
    let own = *steps.get(t)?;
    near.into_iter().flatten().find(|at| steps.get(*at).is_some_and(|other| of_like_length(own, *other)))
}

/// Whether two intervals, by the steps of their ends, may be held against each other: neither has more than this many times the
/// steps of the other.
#[must_use]
pub fn of_like_length(a: (i64, i64), b: (i64, i64)) -> bool {
    let length = |(from, to): (i64, i64)| (i128::from(to) - i128::from(from)).max(1);
    let (a, b) = (length(a), length(b));
    a <= ALIKE * b && b <= ALIKE * a
}

/// See [`of_like_length`].
const ALIKE: i128 = 8;

/// What the limits of layers and their parts are multiplied by where a step is as large as its gradient: parts then move in no
/// fixed proportion. **Measured** over six runs of SGD (momentum 0 to 0.95, with and without L2): layers 2.31 at an end, (1.52, 1.32)
/// inside, MLPs (1.73, 1.61) and once (2.51, 2.08), where 16 of Adam, Lion, Muon, Adafactor and their like have 1.69, (1.44, 1.14)
/// and (1.31, 0.81). More than this would leave too little of the power: an unrelated model as large as this one must show.
const BY_GRADIENT: f64 = 1.3;

/// What the limits of layers and their parts are multiplied by in a series.
#[must_use]
pub fn slack(facts: &ChainFacts<'_>) -> f64 {
    let by_gradient = facts.decay.optimizer.as_ref().is_some_and(|name| name.to_ascii_lowercase().contains("sgd"));
    // Matrices with small gradients go towards zero at the whole rate where decay goes through Adam's: 1.93 at an end.
    if by_gradient || facts.optimizer.coupled { BY_GRADIENT } else { 1.0 }
}

/// The excess from which on it is a question: the layers together, one kind of matrix, output layer and embedding.
#[must_use]
pub fn limit(excess: &Excess, policy: &Policy) -> f64 {
    let [inner, end] = match excess.component.as_str() {
        LAYERS => [policy.moved_layers, policy.moved_layers_end],
        HEAD | ANCHOR => [policy.moved_tokens, policy.moved_tokens_end],
        _ => [policy.moved_part, policy.moved_part_end],
    };
    if excess.inner { inner } else { end }
}

/// Whether an excess is a question, by the [`slack`] of the series.
#[must_use]
pub fn stands_out(excess: &Excess, policy: &Policy, slack: f64) -> bool {
    let slack = if [HEAD, ANCHOR].contains(&excess.component.as_str()) { 1.0 } else { slack };
    let pace = if excess.component == LAYERS { policy.moved_layers_pace } else { policy.moved_pace };
    excess.excess >= slack * limit(excess, policy) && (!excess.inner || excess.pace >= pace)
}

/// A part that moved by less than this share of its own size holds nobody's weights, whatever it did beside the others. **Measured**
/// on an honest T5, whose embedding has a standard deviation of 1 and starts slowly: in the first 20 steps the layers moved 2.7
/// times what they do later beside it, which was 0.09 of their size.
const FITS: f64 = 0.2;

/// Judges the proportions.
pub(super) fn proportions(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let all = excesses(facts.moved);
    let over = |e: &Excess| e.excess / limit(e, policy);
    let slack = slack(facts);
    let large = |e: &&Excess| {
        let own = facts.moved.iter().find(|m| m.component == e.component && m.steps == e.steps);
        own.is_none_or(|m| m.rms >= FITS * m.before)
    };
    let out = |e: &&Excess| stands_out(e, policy, slack) && large(e);
    // What asks comes before what is only shown.
    let asks = |e: &Excess| !small(facts.moved, &e.component);
    let rank = |a: &&Excess, b: &&Excess| asks(a).cmp(&asks(b)).then(over(a).total_cmp(&over(b)));
    let Some(worst) = all.iter().filter(out).max_by(rank) else {
        return;
    };
    let whole = all.iter().find(|e| e.component == LAYERS && e.steps == worst.steps);
    let strong = whole.is_some_and(|e| e.excess >= slack * policy.moved_layers_strong && out(&e));
    let shown = whole.filter(|e| strong || out(e)).unwrap_or(worst);
    let own = facts.moved.iter().find(|m| m.component == shown.component && m.steps == shown.steps);
    let message = text!(
        "power/movement/apart",
        component = shown.component.clone(),
        from = shown.steps.0,
        to = shown.steps.1,
        ratio = shown.ratio,
        excess = shown.excess,
        size = own.map(|m| m.rms / m.before),
        small = !asks(shown)
    );
    let grade = match (strong, asks(shown)) {
        (true, _) => Grade::Strong,
        (_, true) => Grade::Moderate,
        _ => Grade::Weak,
    };
    let mut finding = Finding::new(Code::ChainMovement, grade, Direction::Against, message);
    finding.subject.steps = vec![shown.steps.0, shown.steps.1];
    finding.subject.component = (shown.component != LAYERS).then(|| shown.component.clone());
    finding.statistic = Some(shown.ratio);
    finding.effect = Some(shown.excess);
    finding.n = own.map(|m| m.elements);
    finding.null = text!("power/movement/null");
    finding.evidence = Some("evidence/chain.parquet".into());
    judgement.push(finding);
    if grade >= Grade::Moderate {
        judgement.missing.push(text!("power/movement/missing", from = shown.steps.0, to = shown.steps.1));
    }
}

/// Optimisers that move every weight by no more than their bound a step.
fn by_element(bound: &Bound) -> bool {
    bound.exact && ["adam", "lion"].iter().any(|name| bound.optimiser.to_ascii_lowercase().starts_with(name))
}

/// What the rounding of updates may multiply them by. Weights that are themselves held in bf16 are rounded to it at every step, to the
/// nearest: an update below half a unit of the last bit is lost, and one of half a unit becomes a whole one, which is twice as far.
/// **Measured** in four honest runs: 1.30 to 1.41 times the sum of the rates.
#[must_use]
pub fn rounded(facts: &ChainFacts<'_>, policy: &Policy) -> f64 {
    if facts.decay.held_in_bf16(policy) { 2.0 } else { 1.0 }
}

/// How far the farthest weight went over the sum of the rates and what [`rounded`] makes of them, decay and rounding apart. A weight that gets a gradient now
/// and then (a row of a token, an expert) can go farther in one step where the second moment remembers longer than the first.
#[must_use]
pub fn reach(moved: &Moved, bound: f64, rounded: f64) -> Option<f64> {
    let rare = [ANCHOR, HEAD, "experts", "router", ALL].contains(&moved.component.as_str());
    let rates = moved.most_rates.filter(|rates| *rates > 0.0 && !(rare && bound > 1.0))?;
    // The farthest weight may be several times as large as most.
    let decayed = 4.0 * moved.decay * moved.before;
    Some((moved.farthest - decayed).max(0.0) / (rounded * rates)).filter(|reach| reach.is_finite())
}

/// The bound of single weights: that of the optimiser, of which components with rare gradients may use the whole and others
/// have never been seen to use more than 1.
#[must_use]
pub fn element_bound(facts: &ChainFacts<'_>) -> Option<f64> {
    let bound = facts.bound.as_ref().filter(|bound| by_element(bound))?;
    let most = facts.path.iter().filter_map(|row| row.bound).fold(0.0, f64::max);
    (bound.exact && most > 0.0).then_some(most)
}

/// How many times its bound a step is beyond an accusation. Adapters that are merged into the weights move by the product of two
/// matrices, and neither that nor a rate of a group's own has this bound: **measured** 1.8 times for a merged `LoRA` of rank 16, 4.3 to
/// 4.8 times for another model's weights.
const FAR: f64 = 3.0;

/// Judges the farthest steps.
pub(super) fn farthest(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let Some(bound) = element_bound(facts) else { return };
    let rounded = rounded(facts, policy);
    let reached: Vec<(&Moved, f64)> = facts.moved.iter().filter_map(|m| Some((m, reach(m, bound, rounded)?))).collect();
    let parts = || reached.iter().filter(|(m, _)| m.component != ALL && m.component != LAYERS);
    let asks = |m: &Moved| !small(facts.moved, &m.component);
    // What asks comes before what is only shown.
    let over = parts().filter(|(_, reach)| *reach >= policy.reach_moderate);
    let Some(&(worst, most)) = over.max_by(|a, b| asks(a.0).cmp(&asks(b.0)).then(a.1.total_cmp(&b.1))) else { return };
    // A part with a rate of its own goes too far in every interval.
    let elsewhere = |component: &str| {
        let others = parts().filter(|(m, _)| m.component == component && m.steps != worst.steps);
        others.map(|(_, reach)| *reach).reduce(f64::max)
    };
    let at = || parts().filter(|(m, _)| m.steps == worst.steps);
    let beyond = at().filter(|(m, reach)| {
        asks(m)
            && *reach > bound * policy.budget_excess
            && elsewhere(&m.component).is_some_and(|e| e < policy.reach_moderate)
    });
    let (beyond, of) = (beyond.count(), at().count());
    let tied = judgement.findings.iter().any(|finding| Tie::of(finding) == Some(Tie::DecayClock));
    let adapter = facts.moved_layers_alone(worst.steps);
    let grade = match 2 * beyond >= of && beyond > 1 && most >= FAR * bound {
        _ if adapter || !asks(worst) => Grade::Weak,
        true if tied => Grade::Conclusive,
        true => Grade::Strong,
        false => Grade::Moderate,
    };
    let optimiser = facts.bound.as_ref().map(|b| b.optimiser.clone()).unwrap_or_default();
    let message = text!(
        "power/reach/beyond",
        component = worst.component.clone(),
        from = worst.steps.0,
        to = worst.steps.1,
        most,
        bound,
        optimiser,
        beyond,
        of,
        limit = bound * policy.budget_excess,
        near = policy.reach_moderate,
        rounded = rounded > 1.0,
        elsewhere = elsewhere(&worst.component),
        small = !asks(worst),
        adapter
    );
    let mut finding = Finding::new(Code::ChainReach, grade, Direction::Against, message);
    finding.subject.steps = vec![worst.steps.0, worst.steps.1];
    finding.subject.component = (beyond < 2).then(|| worst.component.clone());
    finding.statistic = Some(most);
    finding.effect = Some(most / bound);
    finding.n = Some(worst.elements);
    finding.null = text!("power/reach/null");
    finding.evidence = Some("evidence/chain.parquet".into());
    judgement.push(finding);
    if grade == Grade::Moderate {
        judgement.missing.push(text!("chain/budget/missing-rate", component = worst.component.clone()));
        if rounded < 2.0 && most < 2.0 * bound && facts.decay.clocks.iter().any(|clock| clock.coarse) {
            judgement.missing.push(text!("power/reach/missing-format"));
        }
    }
}

/// What a part of so many elements did in the interval from 100 `at`: it moved by `rms` at a constant rate, and its weights are 0.04.
#[cfg(test)]
pub fn plain(component: &str, at: i64, elements: u64, rms: f64) -> Moved {
    Moved {
        steps: (100 * at, 100 * (at + 1)),
        component: component.to_owned(),
        elements,
        rms,
        before: 0.04,
        last: 0.04,
        farthest: 5.0 * rms,
        along: 0.0,
        last_along: 0.0,
        rounding: 0.0,
        rates: Some(0.1),
        most_rates: Some(0.1),
        decay: 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(component: &str, at: i64, rms: f64) -> Moved {
        Moved { before: 0.02, ..plain(component, at, 1 << 16, rms) }
    }

    fn series(layers: [f64; 4]) -> Vec<Moved> {
        let at = |(t, rms): (i64, f64)| [moved(LAYERS, t, rms), moved(ANCHOR, t, 0.01)];
        (0..4).zip(layers).flat_map(at).collect()
    }

    #[test]
    fn a_single_step_is_not_held_against_fifty() {
        let mut all = series([0.01; 4]);
        // Steps 0, 100, 200, 201, 300, 400: in one step only the rows of its batch move.
        for own in &mut all {
            own.steps = match own.steps {
                (200, 300) => (200, 201),
                (300, 400) => (201, 300),
                other => other,
            };
            if own.steps == (200, 201) {
                own.rms = if own.component == ANCHOR { 1e-5 } else { 1e-4 };
            }
        }
        let found = excesses(&all);
        assert!(found.iter().all(|e| e.steps != (200, 201)), "{found:?}");
        assert!(found.iter().all(|e| (e.excess - 1.0).abs() < 1e-9), "{found:?}");
    }

    #[test]
    fn a_model_in_one_interval_stands_out_and_a_fast_start_does_not() {
        let policy = Policy::default();
        let layers = |moved: &[Moved]| -> Vec<(i64, f64)> {
            let all = excesses(moved);
            all.iter()
                .filter(|e| e.component == LAYERS && stands_out(e, &policy, 1.0))
                .map(|e| (e.steps.0, e.excess))
                .collect()
        };
        assert!(layers(&series([0.015, 0.010, 0.009, 0.010])).is_empty());
        let hidden = layers(&series([0.034, 0.008, 0.010, 0.010]));
        assert!(hidden.len() == 1 && hidden[0].0 == 0 && (hidden[0].1 - 4.25).abs() < 1e-9, "{hidden:?}");
        let later = layers(&series([0.012, 0.010, 0.018, 0.010]));
        assert!(later.len() == 1 && later[0].0 == 200, "{later:?}");
    }

    /// An output layer that learns the frequency of tokens goes far along one direction, and another model's in every one.
    #[test]
    fn an_output_layer_may_go_far_along_one_direction() {
        let policy = Policy::default();
        let stands = |along: f64| {
            let head = |t: i64, rms: f64, along: f64| Moved { along, ..moved(HEAD, t, rms) };
            let heads = [head(0, 0.01, 0.99), head(1, 0.03, along), head(2, 0.01, 0.9), head(3, 0.01, 0.9)];
            let paths = heads.into_iter().chain((0..4).map(|t| moved(ANCHOR, t, 0.01)));
            excesses(&paths.collect::<Vec<_>>()).iter().any(|e| e.component == HEAD && stands_out(e, &policy, 1.0))
        };
        assert!(!stands(0.999) && stands(0.5));
    }

    #[test]
    fn rare_gradients_may_go_farther_where_the_second_moment_is_long() {
        let row = moved("experts", 0, 0.05);
        assert_eq!(reach(&row, 3.2, 1.0), None);
        assert!(reach(&row, 1.0, 1.0).is_some_and(|reach| reach > 1.25));
        assert!(
            reach(&row, 1.0, 2.0).zip(reach(&row, 1.0, 1.0)).is_some_and(|(half, all)| (2.0 * half - all).abs() < 1e-9)
        );
        assert!(reach(&moved("mlp", 0, 0.05), 3.2, 1.0).is_some());
    }
}
