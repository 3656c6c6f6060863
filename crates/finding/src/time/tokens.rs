//! Counted tokens: steps times batch times length.

use super::config::{ACCUMULATION, BATCH, GLOBAL_BATCH, LENGTH, WORLD, number};
use super::{Code, Direction, Grade, Judgement, RUNS, called, finding};
use scratchproof_case::Policy;
use scratchproof_record::Run;
use scratchproof_texts::text;

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
    // Renumbered steps are rounded: over the whole log the rate is one all the same.
    let (first, last) = (points[0], points[points.len() - 1]);
    let mean = (last.1 - first.1) / (last.0 as f64 - first.0 as f64);
    let length = number(run, LENGTH).filter(|length| *length >= 2.0);
    let along = |p: &(i64, f64)| (p.1 - first.1 - mean * (p.0 as f64 - first.0 as f64)).abs() <= 1.5 * mean;
    let whole = |p: &(i64, f64)| length.is_some_and(|length| (p.1 / length).fract().abs() < 1e-9);
    let rounded = points.iter().all(|p| along(p) && whole(p));
    let (usual, constant) = if constant || !rounded { (usual, constant) } else { (mean, true) };
    if !block(to, policy, run, &gaps, usual) && !splices(to, policy, run, &gaps) {
        parts(to, policy, run, &gaps, usual);
    }
    configured(to, policy, run, usual, constant, gaps.len());
}

/// One block of gaps inside the log with another number of tokens a step, where the configured batch is that of all others.
fn block(to: &mut Judgement, policy: &Policy, run: &Run, gaps: &[Gap], usual: f64) -> bool {
    let batch = number(run, GLOBAL_BATCH).zip(number(run, LENGTH)).map(|(batch, length)| batch * length);
    let set = batch.is_some_and(|batch| (usual / batch - 1.0).abs() <= policy.tokens_even);
    let odd = |gap: &Gap| (gap.rate / usual - 1.0).abs() > policy.tokens_even;
    let (Some(first), Some(last)) = (gaps.iter().position(odd), gaps.iter().rposition(odd)) else { return false };
    let inside = gaps[first..=last].iter().filter(|gap| odd(gap)).count();
    let outside = gaps.len() - (last + 1 - first);
    // A batch that grows does so from the beginning, and does not shrink to its first size again.
    if !set || first < 3 || last + 4 > gaps.len() || outside * 4 < gaps.len() || inside * 2 < last + 1 - first {
        return false;
    }
    let (from, until) = (gaps[first].from, gaps[last].to);
    let message = text!("time/tokens/block", run = called(run), inside, from, until, usual, outside);
    let mut finding = finding(Code::TimeTokens, Grade::Moderate, Direction::Against, message);
    finding.statistic = Some(inside as f64 / gaps.len() as f64);
    finding.n = Some(gaps.len() as u64);
    finding.subject.steps = vec![from, until];
    finding.null = text!("time/tokens/batch-null");
    finding.evidence = Some(RUNS.into());
    to.push(finding);
    true
}

/// Single gaps that hold more steps, or fewer, than their tokens pay for, between stretches of one rate.
fn splices(to: &mut Judgement, policy: &Policy, run: &Run, gaps: &[Gap]) -> bool {
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
    let Some((gap, around)) = odd.first() else { return false };
    let lost = (gap.to as f64 - gap.from as f64) * (1.0 - gap.rate / around);
    let message = text!(
        "time/tokens/splices",
        run = called(run),
        count = odd.len(),
        from = gap.from,
        until = gap.to,
        rate = gap.rate,
        around = *around,
        lost = lost.abs()
    );
    let mut finding = finding(Code::TimeTokens, Grade::Moderate, Direction::Against, message);
    finding.statistic = Some(gap.rate / around);
    finding.n = Some(gaps.len() as u64);
    finding.subject.steps = odd.iter().take(5).flat_map(|(gap, _)| [gap.from, gap.to]).collect();
    finding.null = text!("time/tokens/batch-null");
    finding.evidence = Some(RUNS.into());
    to.push(finding);
    true
}

/// A block of gaps whose tokens are no whole sequences, where those of the others are.
fn parts(to: &mut Judgement, policy: &Policy, run: &Run, gaps: &[Gap], usual: f64) {
    let Some(length) = number(run, LENGTH).filter(|length| *length >= 2.0) else { return };
    let whole = |gap: &Gap| {
        let sequences = gap.rate / length;
        (sequences - sequences.round()).abs() <= policy.tokens_even * sequences.abs().max(1.0)
    };
    let odd: Vec<usize> = (0..gaps.len()).filter(|i| !whole(&gaps[*i])).collect();
    let (Some(&first), Some(&last)) = (odd.first(), odd.last()) else { return };
    // Gaps over which a batch grows hold two sizes; they are few and stand apart.
    let block = last + 1 - first;
    if odd.len() < 4 || odd.len() * 2 < block || block * 10 > gaps.len() * 9 {
        return;
    }
    let (from, until) = (gaps[first].from, gaps[last].to);
    let (count, outside) = (odd.len(), gaps.len() - block);
    let message = text!("time/tokens/parts", run = called(run), count, block, from, until, length, outside, usual);
    let mut finding = finding(Code::TimeTokens, Grade::Moderate, Direction::Against, message);
    finding.statistic = Some(odd.len() as f64 / gaps.len() as f64);
    finding.n = Some(gaps.len() as u64);
    finding.subject.steps = vec![from, until];
    finding.null = text!("time/tokens/parts-null");
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
    // Some count what is predicted: one token less a sequence.
    let edge = factors.iter().any(|k| ((ratio / k * length - length).abs() - 1.0).abs() <= 0.05);
    let (grade, direction, words) = if factors.iter().copied().any(fits) {
        (Grade::Weak, Direction::For, text!("time/tokens/as-configured"))
    } else if !constant || global.is_none() || edge || whole(ratio) || whole(1.0 / ratio) {
        (Grade::Context, Direction::Neutral, text!("time/tokens/padding", ratio))
    } else {
        (Grade::Moderate, Direction::Against, text!("time/tokens/no-whole-number", ratio))
    };
    let message = text!("time/tokens/configured", run = called(run), usual, batch, length, product, words);
    let mut finding = finding(Code::TimeTokens, grade, direction, message);
    finding.statistic = Some(ratio);
    finding.n = Some(n as u64);
    finding.null = text!("time/tokens/configured-null");
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}
