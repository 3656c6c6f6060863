//! What an update must do to moments and weights.

use super::{ChainFacts, Told, step_of, updates};
use crate::{Code, Direction, Grade, Judgement};
use scratchproof_measurements::{StateDisplacement, StateKind, StatePoint, StateReplay, StatesBetween};
use scratchproof_texts::text;

/// Shares of second moments that fell too fast: by chance of rounding, a question, and more than any rule can explain.
const FELL: (f64, f64, f64) = (1e-5, 1e-3, 1e-2);

/// Shares of a replay that may be off, and that are.
const OFF: (f64, f64) = (1e-3, 1e-2);

/// A replay of weights tells something from this share of elements on.
const TOLD: f64 = 0.01;

/// Standard errors from which a direction is there, and cosines.
const ALONG: (f64, f64) = (6.0, 0.01);

/// Standard errors that the momentum alone would give where its absence says something, and the share of it that is none.
const ABSENT: (f64, f64) = (12.0, 0.25);

/// Decay rates of the moments.
fn betas(point: &StatePoint) -> Option<[f64; 2]> {
    point.groups.iter().find_map(|group| group.betas)
}

fn point<'f>(facts: &ChainFacts<'f>, at: usize) -> Option<&'f StatePoint> {
    facts.states.points.iter().find(|point| point.at == at)
}

/// Whether the states of the two count as many updates as their checkpoints have steps, under one pair of decay rates.
fn in_step(facts: &ChainFacts<'_>, pair: &StatesBetween) -> bool {
    let (from, to) = (point(facts, pair.from), point(facts, pair.to));
    let one = from.and_then(betas) == to.and_then(betas);
    let steps = u64::try_from(step_of(facts, pair.to).saturating_sub(step_of(facts, pair.from))).unwrap_or(0);
    let single = |point: Option<&StatePoint>| point.is_some_and(|point| point.steps.len() == 1);
    one && pair.updates == steps && single(from) && single(to)
}

/// How much a broken rule of Adam weighs: nothing where another optimizer is named, which may have another rule.
fn broken(facts: &ChainFacts<'_>, much: bool) -> (Grade, Direction) {
    match facts.optimizer.adam {
        Some(false) => (Grade::Context, Direction::Neutral),
        Some(true) if much => (Grade::Strong, Direction::Against),
        _ => (Grade::Moderate, Direction::Against),
    }
}

/// Second moments cannot fall faster than their decay rate.
pub(super) fn moments(judgement: &mut Judgement, facts: &ChainFacts<'_>) {
    let told: Vec<&StatesBetween> =
        facts.states.between.iter().filter(|pair| pair.compared > 0 && in_step(facts, pair)).collect();
    let share = |pair: &&StatesBetween| pair.fell as f64 / pair.compared as f64;
    let Some(worst) = told.iter().max_by(|a, b| share(a).total_cmp(&share(b))) else { return };
    let (from, to) = (step_of(facts, worst.from), step_of(facts, worst.to));
    let own = |grade: Grade, direction: Direction, steps: Vec<i64>| {
        let null = text!("chain/optimizer-moments/null");
        let mut own = Told::new(Code::ChainOptimizerMoments, grade, direction, steps, null);
        (own.statistic, own.n) = (Some(share(worst)), Some(worst.compared));
        own
    };
    if share(worst) > FELL.1 {
        let (grade, direction) = broken(facts, share(worst) > FELL.2);
        let message = text!("chain/optimizer-moments/fell", from, to, share = share(worst), updates = worst.updates);
        own(grade, direction, vec![from, to]).push(judgement, message);
    } else if share(worst) <= FELL.0 {
        let (compared, fell) = told.iter().fold((0, 0), |sum, pair| (sum.0 + pair.compared, sum.1 + pair.fell));
        let message = text!("chain/optimizer-moments/holds", pairs = told.len(), compared, fell);
        let steps = vec![step_of(facts, told[0].from), step_of(facts, told[told.len() - 1].to)];
        own(Grade::Weak, Direction::For, steps).push(judgement, message);
    }
}

/// The update between consecutive checkpoints: whether every one that can be replayed follows in weights too; nothing where
/// none tells.
pub(super) fn replay(judgement: &mut Judgement, facts: &ChainFacts<'_>) -> Option<bool> {
    let mut follows = None;
    for pair in facts.states.between.iter().filter(|pair| in_step(facts, pair)) {
        let Some(replay) = pair.replay else { continue };
        if let Some(own) = replayed(judgement, facts, pair, &replay) {
            follows = Some(follows.unwrap_or(true) && own);
        }
    }
    follows
}

fn replayed(
    judgement: &mut Judgement,
    facts: &ChainFacts<'_>,
    pair: &StatesBetween,
    replay: &StateReplay,
) -> Option<bool> {
    let (from, to) = (step_of(facts, pair.from), step_of(facts, pair.to));
    let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
    let own = |grade: Grade, direction: Direction, statistic: f64, n: u64| {
        let null = text!("chain/optimizer-replay/null");
        let mut own = Told::new(Code::ChainOptimizerReplay, grade, direction, vec![from, to], null);
        (own.statistic, own.n) = (Some(statistic), Some(n));
        own
    };
    let moments_off = share(replay.moments_off, replay.elements);
    let weights_off = share(replay.weights_off, replay.weights);
    if moments_off > OFF.1 {
        let (grade, direction) = broken(facts, moments_off > 0.1);
        let error = replay.moments_error;
        let known = facts.optimizer.adam == Some(true);
        let message = text!("chain/optimizer-replay/moments", from, to, share = moments_off, error, known);
        own(grade, direction, moments_off, replay.elements).push(judgement, message);
        return Some(false);
    }
    let tells = share(replay.weights_told, replay.weights) >= TOLD;
    if weights_off > OFF.1 && tells {
        let declared = [from, to].iter().any(|step| facts.points.declared(*step));
        let (grade, direction) = match replay.step_cosine {
            _ if declared => (Grade::Context, Direction::Neutral),
            cosine if cosine < 0.3 => (Grade::Strong, Direction::Against),
            _ => (Grade::Moderate, Direction::Against),
        };
        let cosine = replay.step_cosine;
        let message = text!("chain/optimizer-replay/weights", from, to, share = weights_off, cosine);
        own(grade, direction, weights_off, replay.weights).push(judgement, message);
        return Some(false);
    }
    if moments_off > OFF.0 || weights_off > OFF.0 {
        return None;
    }
    let rate = replay.rate.filter(|(low, high)| high - low <= 1e-2 * high).map(|(low, high)| f64::midpoint(low, high));
    let message = text!(
        "chain/optimizer-replay/follows",
        from,
        to,
        moments = replay.moments_error,
        weights = tells,
        step_error = replay.step_error,
        rate
    );
    let grade = if tells { Grade::Strong } else { Grade::Weak };
    let mut own = own(grade, Direction::For, replay.step_error, replay.elements);
    own.effect = Some(replay.moments_error);
    own.push(judgement, message);
    tells.then_some(true)
}

/// One displacement of one point: standard errors that momentum alone would give, and the share of it that is there.
fn carried(
    facts: &ChainFacts<'_>,
    point: &StatePoint,
    displacement: &StateDisplacement,
    out: bool,
) -> Option<(f64, f64)> {
    let at = facts.states.points.iter().position(|own| own.at == point.at)?;
    let logged = facts.optimizer.rates.get(at).copied().flatten().map(|rates| rates.least);
    let rate = point.groups.iter().filter_map(|group| group.rate).reduce(f64::min).or(logged)?;
    let [beta, _] = betas(point).filter(|_| point.kind == StateKind::Adam)?;
    let gap =
        step_of(facts, displacement.other).saturating_sub(step_of(facts, point.at)).unsigned_abs().min(updates(point)?);
    let sum = (1.0 - beta.powf(gap as f64)) / (1.0 - beta) * if out { beta } else { 1.0 };
    let expected = rate * sum * displacement.direction2;
    (expected > 0.0 && displacement.error > 0.0)
        .then(|| (expected / displacement.error, displacement.product / expected))
}

/// The weights come and leave along their states. Whether they do at most points and are missed at none.
pub(super) fn displacements(judgement: &mut Judgement, facts: &ChainFacts<'_>) -> bool {
    let own = |grade: Grade, direction: Direction, steps: Vec<i64>| {
        Told::new(Code::ChainOptimizerDirection, grade, direction, steps, text!("chain/optimizer-direction/null"))
    };
    let along = |displacement: &StateDisplacement| {
        let cosine = displacement.cosine().filter(|cosine| *cosine >= ALONG.1);
        cosine.filter(|_| displacement.z().is_some_and(|z| z >= ALONG.0))
    };
    let points: Vec<&StatePoint> =
        facts.states.points.iter().filter(|point| point.displacements.iter().any(Option::is_some)).collect();
    let mut found: Vec<(i64, f64, f64)> = Vec::new();
    // Another rule may move the weights by a part of what Adam would: then the points that are found say by which.
    let mut usual = if facts.optimizer.adam == Some(false) { None } else { Some(1.0) };
    for point in &points {
        let step = step_of(facts, point.at);
        for out in [false, true] {
            let Some(displacement) = &point.displacements[usize::from(out)] else { continue };
            let (Some(cosine), Some(z)) = (along(displacement), displacement.z()) else { continue };
            found.push((step, cosine, z));
            if let Some((_, share)) = carried(facts, point, displacement, out) {
                usual = Some(usual.unwrap_or(1.0_f64).min(share));
            }
        }
    }
    let mut absent: Vec<(i64, f64, f64)> = Vec::new();
    for point in points.iter().filter(|point| found.iter().all(|(step, ..)| *step != step_of(facts, point.at))) {
        let told = [false, true]
            .into_iter()
            .filter_map(|out| carried(facts, point, point.displacements[usize::from(out)].as_ref()?, out))
            .filter_map(|(power, share)| Some((power * usual?, share / usual?)));
        let told = told.filter(|(power, share)| *power >= ABSENT.0 && *share < ABSENT.1);
        if let Some((power, share)) = told.max_by(|a, b| a.0.total_cmp(&b.0)) {
            absent.push((step_of(facts, point.at), power, share));
        }
    }
    // The better of the two displacements of a checkpoint.
    found.sort_by(|a, b| a.0.cmp(&b.0).then(b.2.total_cmp(&a.2)));
    found.dedup_by_key(|(step, ..)| *step);
    for (step, power, share) in &absent {
        let mut message = text!(
            "chain/optimizer-direction/apart",
            step = *step,
            power = *power,
            share = *share,
            others = found.len()
        );
        let declared = facts.points.declared(*step);
        if declared {
            message.push(text!("chain/optimizer-direction/averaged"));
        }
        let (grade, direction) = match declared {
            true => (Grade::Context, Direction::Neutral),
            false if !found.is_empty() || absent.len() > 1 => (Grade::Strong, Direction::Against),
            false => (Grade::Moderate, Direction::Against),
        };
        let mut told = own(grade, direction, vec![*step]);
        (told.statistic, told.effect) = (Some(*power), Some(*share));
        told.push(judgement, message);
    }
    let least = found.iter().map(|(_, cosine, _)| *cosine).fold(f64::INFINITY, f64::min);
    let most = found.iter().map(|(_, cosine, _)| *cosine).fold(0.0, f64::max);
    let z = found.iter().map(|(.., z)| *z).fold(f64::INFINITY, f64::min);
    let steps: Vec<i64> = points.iter().map(|point| step_of(facts, point.at)).collect();
    if found.is_empty() {
        if absent.is_empty() && !points.is_empty() {
            own(Grade::Context, Direction::Neutral, steps).push(judgement, text!("chain/optimizer-direction/silent"));
        }
        return false;
    }
    let all = absent.is_empty() && 2 * found.len() > points.len();
    let message = text!("chain/optimizer-direction/agree", points = found.len(), of = points.len(), least, most, z);
    let mut told = own(if all { Grade::Moderate } else { Grade::Weak }, Direction::For, steps);
    (told.statistic, told.effect, told.n) = (Some(z), Some(least), Some(found.len() as u64));
    told.push(judgement, message);
    all
}
