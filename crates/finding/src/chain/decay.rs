//! The decay clock: rows that no training reached shrink as the log says, or log and weights are not of one run.

use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_kernel::ONE_DIRECTION;
use scratchproof_stats::{DecayLaw, Expected, Reading, Shrinkage, read, scale};
use scratchproof_texts::{Text, text};

/// A row of which less than this cosine is left was not only rounded to a coarser format.
const OFF: f64 = 0.99;

/// Rows that only decay are off their line by about what rounding leaves: by 1.5 times its variance where they shrank by
/// half a unit of the last bit, and 1.6 at most in 157 honest runs. Rows that were trained a little are off by more.
const CLEAN: f64 = 2.0;

/// Rows that say how decay works that is not decoupled.
const LEAST_EVEN: u64 = 8;

/// All rows but a few are off their line together.
const ALL_ROWS: f64 = 0.95;

/// Intervals that a message names.
const NAMED: usize = 6;

/// A factor of the logged decay below this is none.
const NONE: f64 = 0.02;

/// A growth of rows is told of from this exponent.
const GROWTH: f64 = 1e-4;

/// Largest decay of one update that a weight held in bf16 loses whole, whatever its mantissa: half a unit of its last bit.
const LOST_IN_BF16: f64 = 1.0 / 512.0;

/// A unit of the last bit of a weight in bf16 over the weight, at most.
const UNIT_OF_BF16: f64 = 1.0 / 128.0;

/// A factor of another setting counts as found if it is this near.
const SAME: f64 = 0.005;

/// What was measured of rows that no training reached, and what the log says of the decay.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct DecayFacts {
    /// By tensor of tokens or positions.
    pub clocks: Vec<TokenClock>,
    /// Whether learning rates are logged.
    pub rates: bool,
    /// The largest of them.
    pub largest: Option<f64>,
    /// The logged weight decay. Without it predictions are of a decay of 1.
    pub decay: Option<f64>,
    /// The optimiser's name.
    pub optimizer: Option<String>,
    /// Whether it is known how that optimiser decays rows without a gradient, at the logged rate.
    pub known: bool,
    /// Whether the weight decay is that of the optimiser's states, as the log has none.
    pub beside: bool,
    /// Whether it is SGD without a word on its momentum, through which its decay goes.
    pub no_momentum: bool,
    /// Numbers of the configuration that may explain another scale.
    pub settings: Vec<(String, f64)>,
}

/// The rows of one tensor.
#[derive(Clone, Debug)]
pub struct TokenClock {
    /// Its name.
    pub tensor: String,
    /// Its component.
    pub component: String,
    /// Rows of the tensor.
    pub of: u64,
    /// Rows that were measured, the same in all intervals.
    pub rows: u64,
    /// Most rows of one interval of which every element moved towards zero by about one amount.
    pub even: u64,
    /// Intervals in which these rows kept their direction and others turned.
    pub told: u64,
    /// Whether it may be the output layer too, where every row gets a gradient, however small.
    pub tied: bool,
    /// Whether all checkpoints are on the grid of bf16 or a coarser one.
    pub coarse: bool,
    /// How decay follows the learning rate in the predictions.
    pub law: DecayLaw,
    /// Neighbouring checkpoints.
    pub intervals: Vec<ClockInterval>,
    /// First and last checkpoint, where there are others between.
    pub whole: Option<ClockInterval>,
}

/// The measured rows between two checkpoints.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct ClockInterval {
    /// Their steps.
    pub steps: (i64, i64),
    /// Whether all rows of the tensor kept every bit.
    pub frozen: bool,
    /// Whether the tensor may have been frozen in a part of it: it is in the interval before or after.
    pub partly: bool,
    /// Whether the measured rows kept their direction.
    pub holds: bool,
    /// Whether a later run went on from the earlier checkpoint.
    pub restarted: bool,
    /// Their factor.
    pub measured: Option<Shrinkage>,
    /// What the log predicts.
    pub expected: Option<Expected>,
    /// Share of the rows that left their direction by more than roundings can move them.
    pub lost: f64,
    /// Median and mean cosine, where they did not keep their direction.
    pub turned: Option<(f64, f64)>,
    /// Median cosine between the earlier checkpoint and the one after the later.
    pub across: Option<f64>,
    /// Elements of a row.
    pub elements: u64,
}

impl DecayFacts {
    /// Whether the weights themselves were held in bf16 while they were trained, and not a copy in single precision: rows without a
    /// gradient kept every bit although the logged decay would have moved such a copy by a unit of the last bit or more in all.
    #[must_use]
    pub fn held_in_bf16(&self, policy: &Policy) -> bool {
        let step = self.largest.zip(self.decay).map(|(rate, decay)| rate * decay);
        let lost = step.is_some_and(|step| step > 0.0 && step < LOST_IN_BF16);
        let kept = |clock: &TokenClock| {
            let all = || clock.intervals.iter().chain(&clock.whole);
            let decayed: f64 = clock.intervals.iter().filter_map(|i| i.expected).map(|e| e.exponent).sum();
            clock.coarse
                && !clock.tied
                && clock.rows >= policy.clock_rows
                && clock.sound()
                && clock.intervals.iter().all(ClockInterval::counts)
                && all().all(|i| i.measured.is_some_and(|m| m.equal))
                && decayed >= UNIT_OF_BF16
        };
        lost && self.rates && self.clocks.iter().any(kept)
    }
}

impl TokenClock {
    /// Whether the rows are off their line by no more than rounding, in most intervals, and trained rows are not.
    fn sound(&self) -> bool {
        let held: Vec<&ClockInterval> = self.intervals.iter().filter(|interval| interval.holds).collect();
        let clean = held.iter().all(|interval| interval.measured.is_none_or(|measured| measured.excess <= CLEAN));
        self.told > 0 && clean && 2 * held.len() > self.intervals.len()
    }

    /// Whether what such rows did in the other intervals can be held against the series.
    fn steady(&self) -> bool {
        self.told > 1 && self.sound()
    }
}

impl ClockInterval {
    /// Whether the interval is one of the clock: the tensor was trained in all of it.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.holds && !self.frozen && !self.partly
    }

    /// In a word.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.measured {
            _ if self.frozen => "frozen",
            Some(_) if self.partly => "part",
            Some(measured) if measured.equal => "equal",
            Some(_) => "decays",
            None => "turned",
        }
    }
}

/// Asks every tensor of tokens.
pub(super) fn decay(judgement: &mut Judgement, facts: &DecayFacts, policy: &Policy) {
    let before = judgement.findings.len();
    for clock in facts.clocks.iter().filter(|clock| clock.rows > 0) {
        if clock.intervals.iter().all(|interval| interval.frozen) {
            let text = text!("chain/decay-clock/frozen", rows = clock.of, tensor = &clock.tensor);
            push(judgement, clock, Grade::Context, Direction::Neutral, text, |_| {});
            continue;
        }
        let broken = clock.steady() && turned(judgement, clock, policy) | grown(judgement, clock, policy);
        if !broken && clock.sound() {
            tick(judgement, facts, clock, policy);
        }
    }
    if judgement.findings.len() == before && !facts.clocks.is_empty() {
        silent(judgement, facts);
    }
}

fn push(
    judgement: &mut Judgement,
    clock: &TokenClock,
    grade: Grade,
    direction: Direction,
    mut message: Text,
    more: impl FnOnce(&mut Finding),
) {
    // Small gradients of rows that stand for no token can look like decay, as under SGD.
    let (grade, direction) = match direction {
        Direction::Against if clock.tied => (Grade::Context, Direction::Neutral),
        Direction::For if clock.tied => (grade.min(Grade::Weak), direction),
        _ => (grade, direction),
    };
    if clock.tied && grade < Grade::Moderate && clock.rows > 0 {
        message.push(text!("chain/decay-clock/tied"));
    }
    let mut finding = Finding::new(Code::ChainDecayClock, grade, direction, message);
    finding.subject.component = Some(clock.component.clone());
    finding.subject.tensor = Some(clock.tensor.clone());
    if let (Some(first), Some(last)) = (clock.intervals.first(), clock.intervals.last()) {
        finding.subject.steps = vec![first.steps.0, last.steps.1];
    }
    finding.n = Some(clock.rows);
    finding.null = text!("chain/decay-clock/null");
    finding.evidence = Some("evidence/decay.parquet".into());
    more(&mut finding);
    judgement.push(finding);
}

/// No row that only decays: said, with the reason where one shows.
fn silent(judgement: &mut Judgement, facts: &DecayFacts) {
    let names: Vec<&str> = facts.clocks.iter().map(|clock| clock.tensor.as_str()).collect();
    let coupled =
        facts.clocks.iter().filter(|clock| clock.even >= LEAST_EVEN && !clock.tied).max_by_key(|clock| clock.even);
    let (clock, text) = match coupled {
        Some(clock) => {
            (clock, text!("chain/decay-clock/coupled", count = clock.even, rows = clock.of, tensor = &clock.tensor))
        }
        None => (&facts.clocks[0], text!("chain/decay-clock/none", tensors = names)),
    };
    push(judgement, clock, Grade::Context, Direction::Neutral, text, |_| {});
}

/// One less the cosine that rounding to bf16 leaves at most: half of the mean square of a rounding, `2^-14 / 12`, over the smallest
/// mean square of what is rounded to that grid, 1.
const COPIED: f64 = 1.0 / (24.0 * 16384.0);

/// One less the cosine up to which rows are not said to have lost their direction: **measured** 1.7e-5 where checkpoints were saved on
/// a grid of eight bits.
const LITTLE: f64 = 1e-3;

/// Rows that turned between two checkpoints and kept their direction in the others.
fn turned(judgement: &mut Judgement, clock: &TokenClock, policy: &Policy) -> bool {
    let intervals = &clock.intervals;
    let held = intervals.iter().filter(|interval| interval.holds).count();
    let enough = clock.rows >= policy.clock_rows;
    let mut found = false;
    let mut at = 0;
    while at < intervals.len() {
        let interval = &intervals[at];
        let Some((median, mean)) = interval.turned else {
            at += 1;
            continue;
        };
        let next = intervals.get(at + 1).filter(|next| !next.holds);
        if let (Some(next), Some(across)) = (next, interval.across.filter(|across| *across > ONE_DIRECTION)) {
            let far = median < OFF;
            let text = text!(
                "chain/decay-clock/left-the-line",
                rows = clock.rows,
                tensor = &clock.tensor,
                before = interval.steps.0,
                after = next.steps.1,
                across,
                step = interval.steps.1,
                cosine = median,
                far
            );
            let grade = if far && enough { Grade::Strong } else { Grade::Moderate };
            push(judgement, clock, grade, Direction::Against, text, |f| {
                f.subject.steps = vec![interval.steps.1];
                f.statistic = Some(median);
            });
            found = true;
            at += 2;
            continue;
        }
        if interval.restarted && 1.0 - mean <= COPIED {
            let (from, to) = interval.steps;
            let text =
                text!("chain/decay-clock/copied", rows = clock.rows, tensor = &clock.tensor, from, to, cosine = mean);
            push(judgement, clock, Grade::Context, Direction::Neutral, text, |f| {
                f.subject.steps = vec![from, to];
                f.effect = Some(mean);
            });
            at += 1;
            continue;
        }
        // Independent rows: the mean of their cosines has mean 0 and variance 1 / (rows * elements).
        let z = mean * ((clock.rows * interval.elements) as f64).sqrt();
        let inner = at > 0 && at + 1 < intervals.len();
        let anew = z < 3.0;
        // Rows that the data meets are met here and there; what is added to a whole table moves all of them at once.
        let all = interval.lost >= ALL_ROWS && enough && beside_holds(intervals, at);
        let grade = match anew {
            true if inner && enough => Grade::Strong,
            false if inner && all => Grade::Strong,
            true => Grade::Moderate,
            false if all => Grade::Moderate,
            false => Grade::Weak,
        };
        let text = text!(
            "chain/decay-clock/turned",
            rows = clock.rows,
            tensor = &clock.tensor,
            held,
            intervals = intervals.len(),
            from = interval.steps.0,
            to = interval.steps.1,
            cosine = mean,
            degrees = mean.clamp(-1.0, 1.0).acos().to_degrees(),
            little = 1.0 - mean <= LITTLE,
            z,
            anew,
            all,
            two_runs = anew && grade == Grade::Strong
        );
        push(judgement, clock, grade, Direction::Against, text, |f| {
            f.subject.steps = vec![interval.steps.0, interval.steps.1];
            f.statistic = Some(z);
            f.effect = Some(mean);
        });
        found |= grade >= Grade::Moderate;
        at += 1;
    }
    found
}

/// Whether the rows kept their direction in the intervals beside.
fn beside_holds(intervals: &[ClockInterval], at: usize) -> bool {
    [at.checked_sub(1), Some(at + 1)].into_iter().flatten().filter_map(|beside| intervals.get(beside)).all(|i| i.holds)
}

/// Whether this clock would speak, at moderate or above, if all its rows lost their direction in one interval.
#[must_use]
pub fn would_speak(clock: &TokenClock, steps: (i64, i64), policy: &Policy) -> bool {
    let Some(at) = clock.intervals.iter().position(|interval| interval.steps == steps) else { return false };
    let held = clock.intervals.iter().filter(|interval| interval.holds && interval.steps != steps).count();
    // Intervals in which others turned, as far as this one may have been one of them.
    let told = clock.told.saturating_sub(u64::from(clock.intervals[at].holds));
    clock.rows >= policy.clock_rows
        && !clock.tied
        && told > 1
        && clock.sound()
        && 2 * held > clock.intervals.len()
        && beside_holds(&clock.intervals, at)
}

/// Rows that only decay cannot grow.
fn grown(judgement: &mut Judgement, clock: &TokenClock, policy: &Policy) -> bool {
    let grows = |interval: &&ClockInterval| {
        interval.counts()
            && interval.measured.is_some_and(|measured| {
                let exponent = measured.exponent();
                exponent < -GROWTH && -exponent > 10.0 * measured.error
            })
    };
    let all: Vec<&ClockInterval> = clock.intervals.iter().filter(grows).collect();
    let worst = all
        .iter()
        .filter_map(|interval| Some((*interval, interval.measured?)))
        .min_by(|a, b| a.1.exponent().total_cmp(&b.1.exponent()));
    let Some((interval, measured)) = worst else { return false };
    let grade = if measured.rows >= policy.clock_rows { Grade::Strong } else { Grade::Moderate };
    let text = text!(
        "chain/decay-clock/grown",
        rows = measured.rows,
        tensor = &clock.tensor,
        ratio = measured.ratio,
        error = measured.error,
        from = interval.steps.0,
        to = interval.steps.1,
        more = all.len() - 1
    );
    push(judgement, clock, grade, Direction::Against, text, |f| {
        f.subject.steps = vec![interval.steps.0, interval.steps.1];
        f.statistic = Some(measured.ratio);
    });
    true
}

/// An interval with both figures.
type Figure<'a> = (&'a ClockInterval, Shrinkage, Expected);

/// The shrinkage against the log.
fn tick(judgement: &mut Judgement, facts: &DecayFacts, clock: &TokenClock, policy: &Policy) {
    let of = |interval: &'_ ClockInterval| interval.counts();
    let measured: Vec<&ClockInterval> = clock.intervals.iter().filter(|i| of(i) && i.measured.is_some()).collect();
    if measured.is_empty() {
        return;
    }
    if measured.iter().copied().chain(&clock.whole).all(|i| i.measured.is_none_or(|m| m.equal)) {
        return kept(judgement, facts, clock, policy);
    }
    let frozen = clock.intervals.iter().any(|i| i.frozen);
    let whole = clock.whole.iter().filter(|whole| whole.holds && !frozen);
    let figures: Vec<Figure> = measured
        .iter()
        .copied()
        .chain(whole)
        .filter_map(|interval| Some((interval, interval.measured?, interval.expected?)))
        .collect();
    let Some(decay) = facts.decay.filter(|_| facts.rates && !figures.is_empty()) else {
        return relative(judgement, facts, clock, policy, &measured, &figures);
    };
    let tolerance = policy.clock_tolerance;
    let reading = |(_, m, e): &Figure| read(m, e, tolerance);
    let telling: Vec<&Figure> = figures.iter().filter(|figure| reading(figure) != Reading::Blind).collect();
    let Some(shown) = telling.iter().max_by(|a, b| a.2.exponent.total_cmp(&b.2.exponent)) else {
        let (interval, m, e) = figures[figures.len() - 1];
        let text = text!(
            "chain/decay-clock/blind",
            rows = m.rows,
            tensor = &clock.tensor,
            ratio = m.ratio,
            error = m.error,
            from = interval.steps.0,
            to = interval.steps.1,
            predicted = (-e.exponent).exp(),
            doubt = e.doubt
        );
        return push(judgement, clock, Grade::Context, Direction::Neutral, text, |f| f.statistic = Some(m.ratio));
    };
    let differs: Vec<&&Figure> = telling.iter().filter(|figure| reading(figure) == Reading::Differs).collect();
    if differs.is_empty() {
        return agrees(judgement, facts, clock, policy, shown, &telling);
    }
    apart(judgement, facts, clock, policy, decay, &telling, differs.len());
}

fn agrees(
    judgement: &mut Judgement,
    facts: &DecayFacts,
    clock: &TokenClock,
    policy: &Policy,
    shown: &Figure,
    telling: &[&Figure],
) {
    let (interval, m, e) = shown;
    let off = |figure: &Figure| figure.1.exponent() / figure.2.exponent - 1.0;
    let worst = telling.iter().map(|figure| off(figure).abs()).fold(0.0, f64::max);
    let clear = telling.iter().all(|figure| read(&figure.1, &figure.2, policy.clock_tolerance) == Reading::Agrees);
    let strong = clear && m.rows >= policy.clock_rows && matches!(clock.law, DecayLaw::Rate | DecayLaw::Momentum);
    let mut text = text!(
        "chain/decay-clock/agrees",
        rows = m.rows,
        all = clock.of,
        tensor = &clock.tensor,
        ratio = m.ratio,
        error = m.error,
        from = interval.steps.0,
        to = interval.steps.1,
        predicted = (-e.exponent).exp(),
        law = clock.law.name(),
        off = 100.0 * off(shown),
        intervals = telling.len(),
        worst,
        tenth_more = (-1.1 * e.exponent).exp()
    );
    if facts.beside {
        text.push(text!("chain/decay-clock/of-states"));
    }
    let grade = if strong { Grade::Strong } else { Grade::Moderate };
    push(judgement, clock, grade, Direction::For, text, |f| {
        f.statistic = Some(m.ratio);
        f.effect = Some(off(shown));
        f.n = Some(m.rows);
    });
}

/// The rows keep every bit.
fn kept(judgement: &mut Judgement, facts: &DecayFacts, clock: &TokenClock, policy: &Policy) {
    let enough = clock.rows >= policy.clock_rows;
    let rate = facts.largest.zip(facts.decay).map(|(rate, decay)| rate * decay);
    let (grade, why) = match (facts.decay, rate) {
        (Some(0.0), _) => {
            (if enough { Grade::Moderate } else { Grade::Weak }, text!("chain/decay-clock/kept-no-decay"))
        }
        (Some(_), Some(rate)) if clock.coarse && rate < LOST_IN_BF16 => {
            (Grade::Weak, text!("chain/decay-clock/kept-rounding", update = rate))
        }
        (Some(decay), _) => (Grade::Weak, text!("chain/decay-clock/kept-not-applied", decay)),
        (None, _) => (Grade::Weak, text!("chain/decay-clock/kept-none-logged")),
    };
    let text = text!("chain/decay-clock/kept", rows = clock.rows, all = clock.of, tensor = &clock.tensor, why);
    push(judgement, clock, grade, Direction::For, text, |f| f.statistic = Some(1.0));
}

/// No prediction: the shape of the schedule, or the figures alone.
fn relative(
    judgement: &mut Judgement,
    facts: &DecayFacts,
    clock: &TokenClock,
    policy: &Policy,
    measured: &[&ClockInterval],
    figures: &[Figure],
) {
    let shape: Vec<(Shrinkage, Expected)> = figures.iter().map(|(_, m, e)| (*m, *e)).collect();
    let product: f64 = measured.iter().filter_map(|i| i.measured).map(|m| m.ratio).product();
    let rates = facts.rates;
    let fitted = scale(&shape, policy.clock_tolerance).filter(|_| facts.rates && shape.len() >= 3);
    judgement.missing.push(text!("chain/decay-clock/missing-setting", rates));
    let mut text = text!(
        "chain/decay-clock/unpredicted",
        rows = clock.rows,
        all = clock.of,
        tensor = &clock.tensor,
        ratio = product,
        rates
    );
    match fitted {
        Some((factor, true)) => {
            text.push(text!("chain/decay-clock/one-decay", intervals = shape.len(), decay = factor));
        }
        Some((_, false)) => text.push(text!("chain/decay-clock/no-one-decay")),
        None => {}
    }
    push(judgement, clock, Grade::Context, Direction::Neutral, text, |f| f.statistic = Some(product));
}

/// The clock and the log differ.
fn apart(
    judgement: &mut Judgement,
    facts: &DecayFacts,
    clock: &TokenClock,
    policy: &Policy,
    decay: f64,
    telling: &[&Figure],
    differs: usize,
) {
    let off = |figure: &Figure| figure.1.exponent() / figure.2.exponent - 1.0;
    let Some((interval, m, e)) = telling
        .iter()
        .filter(|f| read(&f.1, &f.2, policy.clock_tolerance) == Reading::Differs)
        .max_by(|a, b| a.2.exponent.total_cmp(&b.2.exponent))
    else {
        return;
    };
    let shape: Vec<(Shrinkage, Expected)> = telling.iter().map(|(_, m, e)| (*m, *e)).collect();
    let one = scale(&shape, policy.clock_tolerance);
    let written = one.filter(|(_, even)| *even).and_then(|(factor, _)| declared(facts, decay, factor));
    let (mut grade, mut direction) = (Grade::Moderate, Direction::Against);
    let why = match (one, &written) {
        (_, Some(setting)) => {
            direction = Direction::For;
            text!("chain/decay-clock/setting", key = &setting.0, value = setting.1)
        }
        (Some((factor, true)), None) if factor.abs() < NONE => {
            direction = Direction::Neutral;
            text!("chain/decay-clock/no-decay")
        }
        (Some((factor, true)), None) => {
            text!("chain/decay-clock/one-factor", intervals = telling.len(), factor)
        }
        _ => {
            let each = |f: &&Figure| {
                let times = Some(1.0 + off(f)).filter(|times| times.is_finite());
                text!("chain/decay-clock/factor-of", from = f.0.steps.0, to = f.0.steps.1, times)
            };
            let factors: Vec<Text> = telling.iter().take(NAMED).map(each).collect();
            text!("chain/decay-clock/many-factors", differs, intervals = telling.len(), factors)
        }
    };
    let doubtful = (!facts.known || facts.no_momentum) && direction == Direction::Against;
    if doubtful {
        (grade, direction) = (Grade::Context, Direction::Neutral);
        if facts.no_momentum {
            judgement.missing.push(text!("chain/budget/momentum-missing"));
        }
    }
    if direction == Direction::Against {
        judgement.missing.push(text!("chain/decay-clock/missing-own", tensor = &clock.tensor));
    }
    let mut text = text!(
        "chain/decay-clock/apart",
        rows = m.rows,
        all = clock.of,
        tensor = &clock.tensor,
        ratio = m.ratio,
        error = m.error,
        from = interval.steps.0,
        to = interval.steps.1,
        predicted = (-e.exponent).exp(),
        doubt = e.doubt,
        off = Some(100.0 * off(&(*interval, *m, *e))).filter(|x| x.is_finite())
    );
    text.push(why);
    if doubtful && facts.no_momentum {
        text.push(text!("chain/decay-clock/no-momentum"));
    } else if doubtful {
        text.push(text!("chain/decay-clock/other-optimiser", optimiser = facts.optimizer.as_deref()));
    }
    push(judgement, clock, grade, direction, text, |f| {
        f.statistic = Some(m.ratio);
        f.effect = Some(off(&(*interval, *m, *e))).filter(|x| x.is_finite());
        f.n = Some(m.rows);
    });
}

/// A setting that says the factor: a multiplier, a rate or a decay of the embedding's own, steps that are parts of an update.
fn declared(facts: &DecayFacts, decay: f64, factor: f64) -> Option<&(String, f64)> {
    let near = |value: f64, wanted: f64| wanted > 0.0 && (value / wanted - 1.0).abs() < SAME;
    let says = |(key, value): &&(String, f64)| {
        if key.to_ascii_lowercase().contains("accum") {
            return near(*value, 1.0 / factor);
        }
        near(*value, factor)
            || near(*value, factor * decay)
            || facts.largest.is_some_and(|rate| near(*value, factor * rate))
    };
    facts.settings.iter().find(says)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Exponents as measured and as predicted, with the errors of some hundred rows in bf16.
    fn interval(at: i64, measured: f64, predicted: f64) -> ClockInterval {
        let ratio = (-measured).exp();
        ClockInterval {
            steps: (100 * at, 100 * (at + 1)),
            frozen: false,
            partly: false,
            holds: true,
            restarted: false,
            measured: Some(Shrinkage {
                rows: 100,
                ratio,
                error: 3e-5,
                equal: measured == 0.0,
                cosine: 0.999_99,
                excess: 1.0,
            }),
            expected: Some(Expected { exponent: predicted, doubt: 1e-6 }),
            lost: 0.0,
            turned: None,
            across: None,
            elements: 64,
        }
    }

    fn turned(at: i64, cosine: f64, across: f64) -> ClockInterval {
        let (measured, expected) = (None, None);
        let base = interval(at, 0.1, 0.1);
        ClockInterval {
            holds: false,
            measured,
            expected,
            lost: 0.5,
            turned: Some((cosine, cosine)),
            across: Some(across),
            ..base
        }
    }

    fn clock(intervals: Vec<ClockInterval>) -> TokenClock {
        TokenClock {
            tensor: "embed".into(),
            component: "embedding".into(),
            of: 1000,
            rows: 100,
            even: 0,
            told: 3,
            tied: false,
            coarse: true,
            law: DecayLaw::Rate,
            intervals,
            whole: None,
        }
    }

    fn facts(clock: TokenClock) -> DecayFacts {
        DecayFacts {
            clocks: vec![clock],
            rates: true,
            largest: Some(1e-3),
            decay: Some(0.1),
            optimizer: Some("AdamW".into()),
            known: true,
            beside: false,
            no_momentum: false,
            settings: Vec::new(),
        }
    }

    fn judged(facts: &DecayFacts) -> Finding {
        let mut judgement = Judgement::untested();
        decay(&mut judgement, facts, &Policy::default());
        assert_eq!(judgement.findings.len(), 1, "{:#?}", judgement.findings);
        judgement.findings.remove(0)
    }

    fn ticking(factor: f64) -> TokenClock {
        clock([0.02, 0.05, 0.04, 0.01].iter().zip(0..).map(|(e, at)| interval(at, factor * e, *e)).collect())
    }

    const AGAINST: (Grade, Direction) = (Grade::Moderate, Direction::Against);
    const SILENT: (Grade, Direction) = (Grade::Context, Direction::Neutral);

    /// The decay of SGD goes through its momentum: where nobody says which it was, ten times the decay contradicts nothing.
    #[test]
    fn sgd_without_its_momentum_contradicts_nothing() {
        let of = |no_momentum: bool| {
            let facts = DecayFacts { optimizer: Some("SGD".into()), no_momentum, ..facts(ticking(10.0)) };
            let finding = judged(&facts);
            ((finding.grade, finding.direction), finding.message.contains("momentum"))
        };
        assert_eq!(of(false), (AGAINST, false));
        assert_eq!(of(true), (SILENT, true));
    }

    fn weight(finding: &Finding) -> (Grade, Direction) {
        (finding.grade, finding.direction)
    }

    #[test]
    fn what_agrees_is_strong_and_a_tenth_is_a_question() {
        assert_eq!(weight(&judged(&facts(ticking(1.001)))), (Grade::Strong, Direction::For));
        for factor in [0.9, 1.1, 2.0] {
            let finding = judged(&facts(ticking(factor)));
            assert_eq!(weight(&finding), AGAINST, "{factor}");
            assert!(finding.message.contains("One factor explains all 4 intervals"), "{}", finding.message);
        }
        let mut own = ticking(1.0);
        own.intervals[1] = interval(1, 0.06, 0.05);
        let finding = judged(&facts(own));
        assert_eq!(weight(&finding), AGAINST);
        assert!(finding.message.contains("each by another factor"), "{}", finding.message);
        let mut few = ticking(1.0);
        few.intervals.iter_mut().for_each(|i| i.measured = i.measured.map(|m| Shrinkage { rows: 3, ..m }));
        assert_eq!(weight(&judged(&facts(few))), (Grade::Moderate, Direction::For));
    }

    #[test]
    fn a_log_without_decay_or_rates_predicts_nothing() {
        let mut none = facts(ticking(1.0));
        none.decay = None;
        none.clocks[0]
            .intervals
            .iter_mut()
            .for_each(|i| i.expected = i.expected.map(|e| Expected { exponent: 10.0 * e.exponent, ..e }));
        let finding = judged(&none);
        assert_eq!(weight(&finding), SILENT);
        assert!(finding.message.contains("with a weight decay of 0.1000"), "{}", finding.message);
        let mut zero = facts(ticking(1.0));
        zero.decay = Some(0.0);
        zero.clocks[0].intervals.iter_mut().for_each(|i| i.expected = Some(Expected::default()));
        let finding = judged(&zero);
        assert_eq!(weight(&finding), AGAINST);
        assert!(
            finding.message.contains("no decay predicted") && !finding.message.contains("inf"),
            "{}",
            finding.message
        );
    }

    #[test]
    fn settings_of_their_own_and_optimisers_of_their_own_are_no_contradiction() {
        for (key, value) in [("emb_lr_mult", 2.0), ("embedding_lr", 2e-3), ("embed_weight_decay", 0.2)] {
            let mut own = facts(ticking(2.0));
            own.settings = vec![(key.into(), value)];
            let finding = judged(&own);
            assert_eq!(weight(&finding), (Grade::Moderate, Direction::For), "{key}");
            assert!(finding.message.contains(key), "{}", finding.message);
        }
        let mut parts = facts(ticking(0.25));
        parts.settings = vec![("gradient_accumulation_steps".into(), 4.0)];
        assert_eq!(judged(&parts).direction, Direction::For);
        let mut other = facts(ticking(2.0));
        other.known = false;
        assert_eq!(weight(&judged(&other)), SILENT);
        let mut tied = facts(ticking(2.0));
        tied.clocks[0].tied = true;
        assert_eq!(weight(&judged(&tied)), SILENT);
    }

    #[test]
    fn rows_that_outlast_a_decay_show_weights_held_in_bf16() {
        let policy = Policy::default();
        let held = |change: &dyn Fn(&mut DecayFacts)| {
            let mut own = facts(ticking(0.0));
            change(&mut own);
            own.held_in_bf16(&policy)
        };
        assert!(held(&|_| {}));
        // In single precision they would shrink; without decay, or with too little of it, they tell nothing.
        assert!(!held(&|own| own.clocks[0] = ticking(1.0)));
        assert!(!held(&|own| own.clocks[0].coarse = false));
        assert!(!held(&|own| own.decay = Some(0.0)));
        assert!(!held(&|own| own.clocks[0].tied = true));
        let little =
            |i: &mut ClockInterval| i.expected = i.expected.map(|e| Expected { exponent: e.exponent / 100.0, ..e });
        assert!(!held(&|own| own.clocks[0].intervals.iter_mut().for_each(little)));
        // One interval in which they move is a copy in another precision, or another run.
        assert!(!held(&|own| own.clocks[0].intervals[1] = interval(1, 0.05, 0.05)));
    }

    #[test]
    fn rows_that_keep_every_bit_are_said_to() {
        let finding = judged(&facts(ticking(0.0)));
        assert_eq!(weight(&finding), (Grade::Weak, Direction::For));
        assert!(finding.message.contains("held in bf16"), "{}", finding.message);
        let mut without = facts(ticking(0.0));
        without.decay = Some(0.0);
        assert_eq!(weight(&judged(&without)), (Grade::Moderate, Direction::For));
        let mut frozen = ticking(0.0);
        frozen.intervals.iter_mut().for_each(|i| i.frozen = true);
        assert!(judged(&facts(frozen)).message.contains("frozen"));
        // Frozen at first: the clock runs from then on.
        let mut late = ticking(1.0);
        late.intervals[0] = ClockInterval { frozen: true, ..interval(0, 0.0, 0.02) };
        assert_eq!(weight(&judged(&facts(late.clone()))), (Grade::Strong, Direction::For));
        // It may have been let go between two checkpoints.
        late.intervals[1] = interval(1, 0.003, 0.02);
        assert_eq!(weight(&judged(&facts(late.clone()))), (Grade::Moderate, Direction::Against));
        late.intervals[1].partly = true;
        assert_eq!(weight(&judged(&facts(late))), (Grade::Strong, Direction::For));
    }

    #[test]
    fn rows_that_turn_grow_or_leave_the_line_are_not_of_one_run() {
        let strong = (Grade::Strong, Direction::Against);
        let mut drawn = ticking(1.0);
        drawn.intervals[2] = turned(2, 0.001, 0.001);
        assert_eq!(weight(&judged(&facts(drawn.clone()))), strong);
        drawn.intervals[2] = turned(2, 0.7, 0.7);
        let mut judgement = Judgement::untested();
        decay(&mut judgement, &facts(drawn.clone()), &Policy::default());
        assert!(!judgement.against(Grade::Moderate), "{:#?}", judgement.findings);
        // All of them at once were not met.
        drawn.intervals[2].lost = 1.0;
        assert_eq!(weight(&judged(&facts(drawn.clone()))), strong);
        // A degree is no direction that was lost: a grid of eight bits leaves as much.
        let said = judged(&facts(drawn.clone())).message;
        assert!(said.contains("lose it") && said.contains("was added to the whole table"), "{said}");
        drawn.intervals[2].turned = Some((0.999_98, 0.999_98));
        let said = judged(&facts(drawn.clone())).message;
        assert!(said.contains("turn a little") && said.contains("number formats") && !said.contains("lose"), "{said}");
        // At the ends rows may have been met, or drawn anew.
        drawn.intervals[2] = interval(2, 0.04, 0.04);
        drawn.intervals[0] = turned(0, 0.001, 0.001);
        assert_eq!(weight(&judged(&facts(drawn.clone()))), AGAINST);
        drawn.told = 1;
        let mut judgement = Judgement::untested();
        decay(&mut judgement, &facts(drawn), &Policy::default());
        assert!(!judgement.against(Grade::Moderate));

        let mut foreign = clock((0..6).map(|at| interval(at, 0.02, 0.02)).collect());
        (foreign.intervals[2], foreign.intervals[3]) = (turned(2, 0.6, 1.0), turned(3, 0.6, 0.6));
        let finding = judged(&facts(foreign.clone()));
        assert_eq!((weight(&finding), &finding.subject.steps[..]), (strong, &[300][..]));
        (foreign.intervals[2], foreign.intervals[3]) = (turned(2, 0.9985, 1.0), turned(3, 0.9985, 0.9985));
        assert_eq!(weight(&judged(&facts(foreign))), AGAINST);

        let mut grown = ticking(1.0);
        grown.intervals[1] = interval(1, -0.01, 0.05);
        assert_eq!(weight(&judged(&facts(grown))), strong);
    }

    #[test]
    fn what_is_no_clock_is_said_and_not_weighed() {
        let none = TokenClock { rows: 0, ..ticking(1.0) };
        assert!(judged(&facts(none.clone())).message.contains("There is no decay clock"));
        let coupled = judged(&facts(TokenClock { even: 40, ..none }));
        assert!(weight(&coupled) == SILENT && coupled.message.contains("L2"), "{}", coupled.message);
        // Rows that are off their line by more than rounding were trained.
        let mut trained = ticking(0.5);
        trained.intervals.iter_mut().for_each(|i| i.measured = i.measured.map(|m| Shrinkage { excess: 3.0, ..m }));
        assert_eq!(weight(&judged(&facts(trained))), SILENT);
        assert_eq!(weight(&judged(&facts(TokenClock { told: 0, ..ticking(0.5) }))), SILENT);
        let blind = clock(vec![interval(0, 1e-4, 1e-4)]);
        assert!(judged(&facts(blind)).message.contains("says nothing"));
        let empty = DecayFacts { clocks: Vec::new(), ..facts(ticking(1.0)) };
        let mut judgement = Judgement::untested();
        decay(&mut judgement, &empty, &Policy::default());
        assert!(judgement.findings.is_empty());
    }
}
