//! The decay clock: rows that no training reached shrink as the log says, or log and weights are not of one run.

use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_kernel::ONE_DIRECTION;
use scratchproof_stats::{DecayLaw, Expected, Reading, Shrinkage, read, scale};

/// A row of which less than this cosine is left was not only rounded to a coarser format.
const OFF: f64 = 0.99;

/// Rows that only decay are off their line by about what rounding leaves: by 1.5 times its variance where they shrank by
/// half a unit of the last bit, and 1.6 at most in 157 honest runs. Rows that were trained a little are off by more.
const CLEAN: f64 = 2.0;

/// Rows that say how decay works that is not decoupled.
const LEAST_EVEN: u64 = 8;

/// Intervals that a message names.
const NAMED: usize = 6;

/// A factor of the logged decay below this is none.
const NONE: f64 = 0.02;

/// A growth of rows is told of from this exponent.
const GROWTH: f64 = 1e-4;

/// Largest decay of one update that a weight held in bf16 loses whole, whatever its mantissa: half a unit of its last bit.
const LOST_IN_BF16: f64 = 1.0 / 512.0;

/// A factor of another setting counts as found if it is this near.
const SAME: f64 = 0.005;

/// What was measured of rows that no training reached, and what the log says of the decay.
#[derive(Clone, Debug, Default)]
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
pub struct ClockInterval {
    /// Their steps.
    pub steps: (i64, i64),
    /// Whether all rows of the tensor kept every bit.
    pub frozen: bool,
    /// Whether the tensor may have been frozen in a part of it: it is in the interval before or after.
    pub partly: bool,
    /// Whether the measured rows kept their direction.
    pub holds: bool,
    /// Their factor.
    pub measured: Option<Shrinkage>,
    /// What the log predicts.
    pub expected: Option<Expected>,
    /// Median and mean cosine, where they did not keep their direction.
    pub turned: Option<(f64, f64)>,
    /// Median cosine between the earlier checkpoint and the one after the later.
    pub across: Option<f64>,
    /// Elements of a row.
    pub elements: u64,
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
            let text = format!(
                "All {} rows of {} keep every bit in all intervals: it is frozen, and no clock.",
                clock.of, clock.tensor
            );
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
    message: String,
    more: impl FnOnce(&mut Finding),
) {
    // Small gradients of rows that stand for no token can look like decay, as under SGD.
    let (grade, direction) = match direction {
        Direction::Against if clock.tied => (Grade::Context, Direction::Neutral),
        Direction::For if clock.tied => (grade.min(Grade::Weak), direction),
        _ => (grade, direction),
    };
    let note = if clock.tied && grade < Grade::Moderate && clock.rows > 0 {
        " The model has no head, so these may be the rows of its output layer as well, which always get a gradient: this is not weighed."
    } else {
        ""
    };
    let mut finding = Finding::new(Code::ChainDecayClock, grade, direction, message + note);
    finding.subject.component = Some(clock.component.clone());
    finding.subject.tensor = Some(clock.tensor.clone());
    if let (Some(first), Some(last)) = (clock.intervals.first(), clock.intervals.last()) {
        finding.subject.steps = vec![first.steps.0, last.steps.1];
    }
    finding.n = Some(clock.rows);
    finding.null =
        "rows without a gradient keep their direction and shrink by the product of 1 - learning rate * weight decay"
            .into();
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
        Some(clock) => (
            clock,
            format!(
                "In {} of the {} rows of {} every element moved towards zero by about one amount, and no row kept its direction: so does weight decay that goes through the steps of Adam (L2) or through a sign. There is no decay clock.",
                clock.even, clock.of, clock.tensor
            ),
        ),
        None => (
            &facts.clocks[0],
            format!(
                "No rows of {} keep their direction through the checkpoints: every token was in the data, or its row got gradients all the same, as every row of an embedding does that is the output layer too. There is no decay clock.",
                names.join(", ")
            ),
        ),
    };
    push(judgement, clock, Grade::Context, Direction::Neutral, text, |_| {});
}

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
            let text = format!(
                "{} rows of {} that no training reached have one direction at steps {} and {} (cosine {across:.5}), and another at step {} between them (cosine {median:.4}). {}",
                clock.rows,
                clock.tensor,
                interval.steps.0,
                next.steps.1,
                interval.steps.1,
                if far {
                    "No training leaves a line and comes back to it: the weights of that step are not of this run."
                } else {
                    "So near to the line a checkpoint that was saved in a coarser number format would be."
                }
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
        // Independent rows: the mean of their cosines has mean 0 and variance 1 / (rows * elements).
        let z = mean * ((clock.rows * interval.elements) as f64).sqrt();
        let inner = at > 0 && at + 1 < intervals.len();
        let anew = z < 3.0;
        let (grade, why) = if anew && inner && enough {
            (
                Grade::Strong,
                "what two draws have in common, which is nothing: the checkpoints before and after are not of one run, unless these rows were drawn anew in between",
            )
        } else if anew {
            (
                Grade::Moderate,
                "what two draws have in common, which is nothing: these rows were drawn anew in between, or the two checkpoints are not of one run",
            )
        } else {
            (Grade::Weak, "they were trained in between, or their tokens were put into use")
        };
        let text = format!(
            "{} rows of {} keep their direction in {held} of {} intervals and lose it between steps {} and {}: mean cosine {mean:.4} (z {z:.1}), {why}.",
            clock.rows,
            clock.tensor,
            intervals.len(),
            interval.steps.0,
            interval.steps.1
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
    let text = format!(
        "{} rows of {} that got no gradient grow by the factor {:.5} (standard error {:.1e}) between steps {} and {}{}. Weight decay only shrinks: the later checkpoint stands before the earlier one in the training, or is not of it.",
        measured.rows,
        clock.tensor,
        measured.ratio,
        measured.error,
        interval.steps.0,
        interval.steps.1,
        if all.len() > 1 { format!(" and in {} more intervals", all.len() - 1) } else { String::new() }
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
        let text = format!(
            "{} rows of {} got no gradient: the factor {:.5} (standard error {:.1e}) between steps {} and {}, {:.5} predicted from the log (doubt {:.1e}). The errors are too large to see a tenth more or less, so the clock says nothing.",
            m.rows,
            clock.tensor,
            m.ratio,
            m.error,
            interval.steps.0,
            interval.steps.1,
            (-e.exponent).exp(),
            e.doubt
        );
        return push(judgement, clock, Grade::Context, Direction::Neutral, text, |f| f.statistic = Some(m.ratio));
    };
    let differs: Vec<&&Figure> = telling.iter().filter(|figure| reading(figure) == Reading::Differs).collect();
    if differs.is_empty() {
        return agrees(judgement, clock, policy, shown, &telling);
    }
    apart(judgement, facts, clock, policy, decay, &telling, differs.len());
}

fn agrees(judgement: &mut Judgement, clock: &TokenClock, policy: &Policy, shown: &Figure, telling: &[&Figure]) {
    let (interval, m, e) = shown;
    let off = |figure: &Figure| figure.1.exponent() / figure.2.exponent - 1.0;
    let worst = telling.iter().map(|figure| off(figure).abs()).fold(0.0, f64::max);
    let clear = telling.iter().all(|figure| read(&figure.1, &figure.2, policy.clock_tolerance) == Reading::Agrees);
    let strong = clear && m.rows >= policy.clock_rows && matches!(clock.law, DecayLaw::Rate | DecayLaw::Momentum);
    let text = format!(
        "{} of {} rows of {} got no gradient and only decay: by the factor {:.5} (standard error {:.1e}) from step {} to {}, where the log predicts {:.5} ({}); {:+.2} % of the decay. {}. With a tenth more rate, weight decay or steps it would be {:.5}. So the logged rates, the weight decay and the steps are those of these weights.",
        m.rows,
        clock.of,
        clock.tensor,
        m.ratio,
        m.error,
        interval.steps.0,
        interval.steps.1,
        (-e.exponent).exp(),
        clock.law.name(),
        100.0 * off(shown),
        if telling.len() == 1 {
            "No other interval can tell a tenth more or less".to_owned()
        } else {
            format!(
                "Of the {} intervals that can tell a tenth more or less, none is off by more than its error (at most {:.2} %)",
                telling.len(),
                100.0 * worst
            )
        },
        (-1.1 * e.exponent).exp(),
    );
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
            (if enough { Grade::Moderate } else { Grade::Weak }, "as they must without weight decay".to_owned())
        }
        (Some(_), Some(rate)) if clock.coarse && rate < LOST_IN_BF16 => (
            Grade::Weak,
            format!(
                "they are not decayed, or the weights are held in bf16, where an update of {rate:.1e} of a weight is lost by rounding"
            ),
        ),
        (Some(decay), _) => (Grade::Weak, format!("the weight decay of {decay} is not applied to them")),
        (None, _) => (Grade::Weak, "no weight decay is applied to them".to_owned()),
    };
    let text = format!(
        "{} of {} rows of {} got no gradient and keep every bit through all checkpoints: {why}. There is no decay to hold against the log, but one run leaves such rows alone and two do not share them.",
        clock.rows, clock.of, clock.tensor
    );
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
    let lacks = if facts.rates { "weight decay" } else { "learning rate" };
    let fitted = scale(&shape, policy.clock_tolerance).filter(|_| facts.rates && shape.len() >= 3);
    let told = match fitted {
        Some((factor, true)) => format!(
            " The {} intervals follow the logged learning rates, with a weight decay of {factor:.4}.",
            shape.len()
        ),
        Some((_, false)) => " No one weight decay explains all intervals.".to_owned(),
        None => String::new(),
    };
    judgement.missing.push(format!("the {lacks} of the run, to hold the decay of unused rows against it").into());
    let text = format!(
        "{} of {} rows of {} got no gradient and only decay, by the factor {product:.5} in all. The log has no {lacks}, so nothing is predicted.{told}",
        clock.rows, clock.of, clock.tensor
    );
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
    let times = |figure: &Figure| match 1.0 + off(figure) {
        times if times.is_finite() => format!("{times:.3}"),
        _ => "no decay predicted".to_owned(),
    };
    let shape: Vec<(Shrinkage, Expected)> = telling.iter().map(|(_, m, e)| (*m, *e)).collect();
    let one = scale(&shape, policy.clock_tolerance);
    let written = one.filter(|(_, even)| *even).and_then(|(factor, _)| declared(facts, decay, factor));
    let (mut grade, mut direction) = (Grade::Moderate, Direction::Against);
    let why = match (one, &written) {
        (_, Some(setting)) => {
            direction = Direction::For;
            format!("That is explained by the setting {setting}.")
        }
        (Some((factor, true)), None) if factor.abs() < NONE => {
            direction = Direction::Neutral;
            "They are not decayed at all.".to_owned()
        }
        (Some((factor, true)), None) => format!(
            "One factor explains all {} intervals that can tell: {factor:.4} of the logged decay. The rows of tokens have a rate or a weight decay of their own, steps are counted otherwise, or the log is not of this run.",
            telling.len()
        ),
        _ => format!(
            "{differs} of {} intervals that can tell are off, each by another factor ({}). The decay of these rows does not follow the log: another schedule for them, or the log is not of this run.",
            telling.len(),
            telling
                .iter()
                .take(NAMED)
                .map(|f| format!("{}-{}: {}", f.0.steps.0, f.0.steps.1, times(f)))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    let optimizer = facts.optimizer.clone().unwrap_or_else(|| "an unnamed optimiser".into());
    let doubt = if facts.known || direction != Direction::Against {
        String::new()
    } else {
        (grade, direction) = (Grade::Context, Direction::Neutral);
        format!(" Under {optimizer} the rows of tokens need not decay at the logged rate, so this is no contradiction.")
    };
    if direction == Direction::Against {
        judgement
            .missing
            .push(format!("the learning rate and the weight decay of {}, if it has its own", clock.tensor).into());
    }
    let text = format!(
        "{} of {} rows of {} got no gradient and only decay: by the factor {:.5} (standard error {:.1e}) from step {} to {}, where the log predicts {:.5} (doubt {:.1e}){}. {why}{doubt}",
        m.rows,
        clock.of,
        clock.tensor,
        m.ratio,
        m.error,
        interval.steps.0,
        interval.steps.1,
        (-e.exponent).exp(),
        e.doubt,
        Some(100.0 * off(&(*interval, *m, *e)))
            .filter(|x| x.is_finite())
            .map_or(String::new(), |x| format!("; {x:+.1} % of the decay")),
    );
    push(judgement, clock, grade, direction, text, |f| {
        f.statistic = Some(m.ratio);
        f.effect = Some(off(&(*interval, *m, *e))).filter(|x| x.is_finite());
        f.n = Some(m.rows);
    });
}

/// A setting that says the factor: a multiplier, a rate or a decay of the embedding's own, steps that are parts of an update.
fn declared(facts: &DecayFacts, decay: f64, factor: f64) -> Option<String> {
    let near = |value: f64, wanted: f64| wanted > 0.0 && (value / wanted - 1.0).abs() < SAME;
    let says = |(key, value): &&(String, f64)| {
        if key.to_ascii_lowercase().contains("accum") {
            return near(*value, 1.0 / factor);
        }
        near(*value, factor)
            || near(*value, factor * decay)
            || facts.largest.is_some_and(|rate| near(*value, factor * rate))
    };
    facts.settings.iter().find(says).map(|(key, value)| format!("{key} = {value}"))
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
            measured: Some(Shrinkage {
                rows: 100,
                ratio,
                error: 3e-5,
                equal: measured == 0.0,
                cosine: 0.999_99,
                excess: 1.0,
            }),
            expected: Some(Expected { exponent: predicted, doubt: 1e-6 }),
            turned: None,
            across: None,
            elements: 64,
        }
    }

    fn turned(at: i64, cosine: f64, across: f64) -> ClockInterval {
        let (measured, expected) = (None, None);
        let base = interval(at, 0.1, 0.1);
        ClockInterval { holds: false, measured, expected, turned: Some((cosine, cosine)), across: Some(across), ..base }
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
