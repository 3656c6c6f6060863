//! The machine: whether its metrics live while steps advance, and whether host, program and commit stay the same.

use super::{Code, Direction, Grade, Judgement, RUNS, called, finding};
use scratchproof_case::Policy;
use scratchproof_record::Run;
use scratchproof_texts::{Text, text};

/// Measurements of accelerators while the run logs.
pub fn alive(to: &mut Judgement, policy: &Policy, run: &Run) {
    let gpu = |key: &str| {
        let key = key.to_ascii_lowercase();
        (key.contains("gpu.") || key.contains("gpu_") || key.contains("tpu") || key.contains("hpu"))
            && !key.contains("process")
    };
    let used = |key: &str| {
        let last = key.rsplit('.').next().unwrap_or(key).to_ascii_lowercase();
        gpu(key) && (last == "gpu" || last.contains("util") || last.contains("duty"))
    };
    let values: Vec<f64> =
        run.system.columns.iter().filter(|(key, _)| used(key)).flat_map(|(_, c)| c.iter().map(|p| p.1)).collect();
    let finite: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    if finite.len() < 20 {
        return;
    }
    let busy = finite.iter().filter(|v| **v > policy.device_busy_percent).count() as f64 / finite.len() as f64;
    let power: Vec<f64> = run
        .system
        .columns
        .iter()
        .filter(|(key, _)| gpu(key) && key.to_ascii_lowercase().contains("watt"))
        .flat_map(|(_, c)| c.iter().map(|p| p.1))
        .filter(|w| w.is_finite())
        .collect();
    let watts = power.iter().copied().reduce(f64::max);
    let idle = busy < policy.device_busy_share;
    let direction = if idle { Direction::Neutral } else { Direction::For };
    let message = text!("time/system/finding", run = called(run), busy, count = finite.len(), watts, idle);
    let mut finding = finding(Code::TimeSystem, Grade::Weak, direction, message);
    finding.statistic = Some(busy);
    finding.n = Some(finite.len() as u64);
    finding.null = text!("time/system/null");
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}

/// Host, program and commit over the runs.
pub fn constant(to: &mut Judgement, runs: &[Run]) {
    if runs.len() < 2 {
        return;
    }
    let mut differ: Vec<Text> = Vec::new();
    for (what, value) in [
        ("host", (|run: &Run| run.host.clone()) as fn(&Run) -> Option<String>),
        ("program", |run| run.program.clone()),
        ("commit", |run| run.commit.clone()),
        ("tracker", |run| run.sdk.clone()),
    ] {
        let known: Vec<(&Run, String)> = runs.iter().filter_map(|run| Some((run, value(run)?))).collect();
        if let Some([first, second]) = known.array_windows().find(|[a, b]| a.1 != b.1) {
            differ.push(text!(
                "time/constancy/other",
                what,
                one = first.1.as_str(),
                run = called(first.0),
                other = second.1.as_str(),
                other_run = called(second.0)
            ));
        }
    }
    let count = differ.len();
    let (grade, direction, message) = if differ.is_empty() {
        (Grade::Weak, Direction::For, text!("time/constancy/same", runs = runs.len()))
    } else {
        (Grade::Context, Direction::Neutral, text!("time/constancy/differ", differ))
    };
    let mut finding = finding(Code::TimeConstancy, grade, direction, message);
    finding.statistic = Some(count as f64);
    finding.n = Some(runs.len() as u64);
    to.push(finding);
}
