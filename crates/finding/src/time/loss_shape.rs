//! The shape of the loss: spikes and shifts of its level, and the digits it is written with.

use super::{Code, Direction, Grade, Judgement, RUNS, called, finding};
use scratchproof_case::Policy;
use scratchproof_record::Run;
use scratchproof_stats::median;
use scratchproof_texts::{Text, text};

/// Rows on either side that a row is held against.
const BESIDE: usize = 6;

/// Spikes of the loss, reported and never counted.
pub fn spikes(to: &mut Judgement, policy: &Policy, run: &Run) {
    let loss = run.loss();
    if loss.len() < 40 {
        return;
    }
    let residual = |i: usize| {
        let (from, to) = (i.saturating_sub(BESIDE), (i + BESIDE + 1).min(loss.len()));
        loss[i].1 - median((from..to).filter(|j| *j != i).map(|j| loss[j].1)).unwrap_or(f64::NAN)
    };
    // The steep beginning is no spike.
    let residuals: Vec<(i64, f64)> = (loss.len() / 20..loss.len()).map(|i| (loss[i].0, residual(i))).collect();
    let spread = 1.4826 * median(residuals.iter().map(|r| r.1.abs())).unwrap_or(f64::NAN);
    if spread <= 0.0 {
        return;
    }
    let mut high: Vec<&(i64, f64)> = residuals.iter().filter(|r| r.1 > policy.loss_spike * spread).collect();
    if high.is_empty() {
        return;
    }
    high.sort_by(|a, b| b.1.total_cmp(&a.1));
    let spike = |r: &&(i64, f64)| text!("time/loss-shape/spike", step = r.0, deviations = r.1 / spread);
    let spikes: Vec<Text> = high.iter().take(5).map(spike).collect();
    let message = text!("time/loss-shape/spikes", run = called(run), count = high.len(), spikes);
    let mut finding = finding(Code::TimeLossShape, Grade::Context, Direction::Neutral, message);
    finding.statistic = Some(high[0].1 / spread);
    finding.n = Some(loss.len() as u64);
    finding.subject.steps = high.iter().take(5).map(|r| r.0).collect();
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}

/// A loss that is the same in every row: ten equal rows have been an honest mistake, a whole log of them is a question.
pub fn flat(to: &mut Judgement, policy: &Policy, run: &Run) {
    let loss = run.loss();
    let Some(&(_, first)) = loss.first() else { return };
    if loss.len() < policy.flat_rows || loss.iter().any(|(_, value)| value.to_bits() != first.to_bits()) {
        return;
    }
    let message = text!("time/loss-shape/flat", run = called(run), loss = first, rows = loss.len());
    let mut finding = finding(Code::TimeLossShape, Grade::Moderate, Direction::Against, message);
    finding.statistic = Some(first);
    finding.n = Some(loss.len() as u64);
    finding.null = text!("time/loss-shape/flat-null");
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}

/// How a number is held: the coarsest of these that is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Digits {
    /// So many decimals.
    Decimals(u8),
    /// 24 bits of a mantissa.
    Single,
    /// All 53.
    Double,
}

impl Digits {
    #[allow(clippy::cast_possible_truncation)] // to the nearest f32 is what is asked
    fn of(value: f64) -> Self {
        for decimals in 0..=6_u8 {
            let scaled = value * 10_f64.powi(i32::from(decimals));
            if (scaled - scaled.round()).abs() <= 1e-9 * scaled.abs().max(1.0) {
                return Self::Decimals(decimals);
            }
        }
        if f64::from(value as f32).to_bits() == value.to_bits() { Self::Single } else { Self::Double }
    }

    fn words(self) -> Text {
        match self {
            Self::Decimals(decimals) => text!("time/digits/decimals", decimals),
            Self::Single => text!("time/digits/bits", bits = 32_u8),
            Self::Double => text!("time/digits/bits", bits = 64_u8),
        }
    }
}

/// One block of values of a column that are written with more digits than the others.
///
/// A program computes a column one way, and a value in 32 bits or of few decimals that is multiplied or averaged needs more.
/// Where the program itself changes, as from every step to averages over several, the distance of the rows changes with it.
pub fn digits(to: &mut Judgement, policy: &Policy, run: &Run) {
    let columns = [&run.keys.loss, &run.keys.grad_norm];
    for key in columns.into_iter().flatten() {
        let points = run.history.series(key, &run.keys.step);
        if points.len() < 40 {
            continue;
        }
        let all: Vec<Digits> = points.iter().map(|p| Digits::of(p.1)).collect();
        for coarse in [Digits::Decimals(4), Digits::Decimals(6), Digits::Single] {
            let finer = |i: usize| all[i] > coarse;
            let (Some(first), Some(last)) =
                ((0..all.len()).find(|i| finer(*i)), (0..all.len()).rev().find(|i| finer(*i)))
            else {
                continue;
            };
            let block = last + 1 - first;
            let count = (first..=last).filter(|i| finer(*i)).count();
            // A tenth of the values in 32 bits times 0.9 are 32 bits long again.
            let outside = all.len() - block;
            if (block as u64) < policy.odd_digits || outside < 8 || count * 10 < block * 7 {
                continue;
            }
            if !even(&points, first) || !even(&points, last + 1) {
                continue;
            }
            let (from, until) = (points[first].0, points[last].0);
            let message = text!(
                "time/digits/finding",
                run = called(run),
                block,
                column = key,
                from,
                until,
                outside,
                digits = coarse.words()
            );
            let mut finding = finding(Code::TimeDigits, Grade::Moderate, Direction::Against, message);
            finding.statistic = Some(block as f64 / all.len() as f64);
            finding.n = Some(all.len() as u64);
            finding.subject.steps = vec![from, until];
            finding.null = text!("time/digits/null");
            finding.evidence = Some(RUNS.into());
            to.push(finding);
            break;
        }
    }
}

/// Whether the rows lie as far apart before a row as after it.
fn even(points: &[(i64, f64)], at: usize) -> bool {
    if at == 0 || at >= points.len() {
        return true;
    }
    let (from, to) = (at.saturating_sub(3), (at + 2).min(points.len() - 1));
    let gap = |i: usize| points[i + 1].0.saturating_sub(points[i].0);
    (from..to).all(|i| gap(i) == gap(from))
}
