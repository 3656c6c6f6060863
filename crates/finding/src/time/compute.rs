//! Whether the accelerators of the log could have done the work.

use super::config::{GLOBAL_BATCH, LENGTH, WORLD, number};
use super::{Code, Direction, Grade, Judgement, TimeFacts, called, finding};
use scratchproof_case::Policy;
use scratchproof_record::{PeakGrade, Run, accelerator};
use scratchproof_texts::text;

/// Six operations a parameter and token (two forward, four backward; Kaplan et al. 2020) over peak rate times time.
pub fn judge(to: &mut Judgement, facts: &TimeFacts<'_>, policy: &Policy, run: &Run) {
    let Some(active) = facts.active.filter(|n| *n > 0) else { return };
    let Some(tokens) = tokens(run).filter(|tokens| *tokens > 0.0) else { return };
    let runtime = run.history.columns.get("_runtime").or(run.history.columns.get("_timestamp"));
    let seconds = runtime.and_then(|column| Some(column.last()?.1 - column.first()?.1)).filter(|s| *s > 0.0);
    let Some(seconds) = seconds else { return };
    let known: Vec<(&str, u64, f64)> =
        run.devices.iter().filter_map(|d| Some((d.kind.as_str(), d.count, accelerator(&d.kind)?.peak))).collect();
    if known.is_empty() || known.len() < run.devices.len() {
        if !run.devices.is_empty() {
            to.missing.push(text!("time/compute/missing", device = run.devices[0].kind.as_str()));
        }
        return;
    }
    let count: u64 = known.iter().map(|d| d.1).sum();
    let peak: f64 = known.iter().map(|d| d.1 as f64 * d.2).sum::<f64>() * 1e12;
    // The tracker sees one machine; only the configuration can say how many there were.
    let world = number(run, WORLD).filter(|w| *w >= 1.0);
    let machines = number(run, &["num_nodes", "nnodes", "nodes"]).filter(|n| *n >= 1.0);
    let times = world.map(|w| (w / count as f64).max(1.0)).or(machines).unwrap_or(1.0);
    let sure = world.is_some() || machines.is_some();
    let unverified = run
        .devices
        .iter()
        .filter_map(|device| accelerator(&device.kind))
        .find(|accelerator| accelerator.grade == PeakGrade::Unverified);
    let operations = 6.0 * active as f64 * tokens;
    let share = operations / (peak * times * seconds);
    let (grade, direction, words) = if share <= 1.0 {
        (Grade::Context, Direction::Neutral, text!("time/compute/possible"))
    } else if unverified.is_some() {
        (Grade::Weak, Direction::Neutral, text!("time/compute/unverified"))
    } else if !sure {
        (Grade::Weak, Direction::Neutral, text!("time/compute/more-machines"))
    } else if share > policy.compute_impossible {
        (Grade::Strong, Direction::Against, text!("time/compute/impossible"))
    } else {
        (Grade::Moderate, Direction::Against, text!("time/compute/beyond-bf16"))
    };
    let message = text!(
        "time/compute/finding",
        run = called(run),
        active,
        tokens,
        seconds,
        devices = count as f64 * times,
        kind = known[0].0,
        share,
        words
    );
    let mut finding = finding(Code::TimeCompute, grade, direction, message);
    finding.statistic = Some(share);
    finding.n = Some(count);
    finding.null = text!("time/compute/null");
    to.push(finding);
}

/// Tokens of the log, counted or steps times batch times length.
fn tokens(run: &Run) -> Option<f64> {
    let counted = run.tokens();
    if let (Some(first), Some(last)) = (counted.first(), counted.last()) {
        return Some(last.1 - first.1);
    }
    let steps = run.step_range()?;
    Some((steps.last as f64 - steps.first as f64) * number(run, GLOBAL_BATCH)? * number(run, LENGTH)?)
}
