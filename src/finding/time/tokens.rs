//! Counted tokens: steps times batch times length.

use super::config::{ACCUMULATION, BATCH, GLOBAL_BATCH, LENGTH, WORLD, number};
use super::{Code, Direction, Grade, Judgement, RUNS, called, called_first, finding};
use crate::case::Policy;
use crate::timeline::Run;

/// Tokens a step between two logged rows.
#[derive(Clone, Copy, Debug)]
struct Gap {
    from: i64,
    to: i64,
    rate: f64,
}

/// Holds the counted tokens against the steps and against the configuration.
pub fn judge(to: &mut Judgement, policy: &Policy, run: &Run) {
    let points = run.tokens();
    if points.len() < 8 {
        return;
    }
    let gaps: Vec<Gap> = points
        .windows(2)
        .map(|p| Gap { from: p[0].0, to: p[1].0, rate: (p[1].1 - p[0].1) / (p[1].0 as f64 - p[0].0 as f64) })
        .collect();
    let mut sorted: Vec<f64> = gaps.iter().map(|gap| gap.rate).collect();
    sorted.sort_by(f64::total_cmp);
    let usual = sorted[sorted.len() / 2];
    if usual <= 0.0 {
        return;
    }
    // Counters of less than a step's worth round; padding makes them uneven.
    let near = |rate: f64| (rate / usual - 1.0).abs() <= policy.tokens_even;
    let even = gaps.iter().filter(|gap| near(gap.rate)).count();
    let constant = even * 10 >= gaps.len() * 9;
    seams(to, policy, run, &gaps);
    configured(to, policy, run, usual, constant, gaps.len());
}

/// Single gaps that hold more steps, or fewer, than their tokens pay for, between stretches of one rate.
fn seams(to: &mut Judgement, policy: &Policy, run: &Run, gaps: &[Gap]) {
    let same = |a: f64, b: f64| (a / b - 1.0).abs() <= policy.tokens_even;
    let level = |part: &[Gap]| -> Option<f64> {
        let first = part.first()?.rate;
        (part.len() >= 3 && first > 0.0 && part.iter().all(|gap| same(gap.rate, first))).then_some(first)
    };
    let odd: Vec<(&Gap, f64)> = (3..gaps.len().saturating_sub(3))
        .filter_map(|i| {
            let (before, after) = (level(&gaps[i - 3..i])?, level(&gaps[i + 1..i + 4])?);
            // A batch that changes has another rate from there on.
            (same(before, after) && !same(gaps[i].rate, before)).then_some((&gaps[i], before))
        })
        .collect();
    let Some((gap, around)) = odd.first() else { return };
    let lost = (gap.to as f64 - gap.from as f64) * (1.0 - gap.rate / around);
    let message = format!(
        "In {} {} gap(s) have another number of tokens a step than the rows before and after: from step {} to {} {:.1}, \
         around it {around:.1}. As many steps as {:.1} have no tokens of their own: skipped data, a resumed count, or \
         renumbered steps.",
        called(run),
        odd.len(),
        gap.from,
        gap.to,
        gap.rate,
        lost.abs()
    );
    let mut finding = finding(Code::TimeTokens, Grade::Moderate, Direction::Against, message);
    finding.statistic = Some(gap.rate / around);
    finding.n = Some(gaps.len() as u64);
    finding.subject.steps = odd.iter().take(5).flat_map(|(gap, _)| [gap.from, gap.to]).collect();
    finding.null = "every step reads the batch that the configuration sets".into();
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}

/// Tokens a step against batch times length.
fn configured(to: &mut Judgement, policy: &Policy, run: &Run, usual: f64, constant: bool, n: usize) {
    let global = number(run, GLOBAL_BATCH).filter(|b| *b > 0.0);
    let Some((batch, length)) = global.or(number(run, BATCH)).zip(number(run, LENGTH)) else { return };
    let product = batch * length;
    if product <= 0.0 {
        return;
    }
    let devices: u64 = run.devices.iter().map(|d| d.count).sum();
    let mut factors = vec![1.0];
    let more = [number(run, ACCUMULATION), number(run, WORLD), Some(devices as f64)];
    for factor in more.into_iter().flatten().filter(|f| *f > 1.0) {
        let with: Vec<f64> = factors.iter().map(|f| f * factor).collect();
        factors.extend(with);
    }
    let ratio = usual / product;
    let fits = |k: f64| (ratio / k - 1.0).abs() <= policy.tokens_product;
    let whole = |r: f64| r >= 0.99 && (r - r.round()).abs() <= policy.tokens_product * r;
    let figures =
        format!("{} counts {usual:.1} tokens a step; {batch:.0} sequences of {length:.0} are {product:.0}", called_first(run));
    let (grade, direction, words) = if factors.iter().copied().any(fits) {
        (Grade::Weak, Direction::For, "as configured".to_owned())
    } else if !constant || global.is_none() || whole(ratio) || whole(1.0 / ratio) {
        (Grade::Context, Direction::Neutral, format!("{ratio:.4} times that: padding, a ramp, or counts not in the configuration"))
    } else {
        let words = format!("{ratio:.4} times that at every step, which no whole number of devices or calls makes");
        (Grade::Moderate, Direction::Against, words)
    };
    let mut finding = finding(Code::TimeTokens, grade, direction, format!("{figures}: {words}."));
    finding.statistic = Some(ratio);
    finding.n = Some(n as u64);
    finding.null = "tokens a step are sequences a step times their length".into();
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}
