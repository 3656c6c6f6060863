//! The machine: whether its metrics live while steps advance, and whether host, program and commit stay the same.

use super::{Code, Direction, Grade, Judgement, RUNS, called, called_first, finding};
use scratchproof_case::Policy;
use scratchproof_record::Run;

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
    let watts = power.iter().copied().reduce(f64::max).map_or(String::new(), |w| format!("; at most {w:.0} W"));
    let (grade, direction, words) = if busy < policy.device_busy_share {
        (
            Grade::Weak,
            Direction::Neutral,
            "the accelerators were idle while steps were logged: ask what trained the model",
        )
    } else {
        (Grade::Weak, Direction::For, "they worked while steps were logged")
    };
    let message = format!(
        "{}'s accelerators were busy in {:.0} % of {} measurements{watts}: {words}.",
        called_first(run),
        100.0 * busy,
        finite.len()
    );
    let mut finding = finding(Code::TimeSystem, grade, direction, message);
    finding.statistic = Some(busy);
    finding.n = Some(finite.len() as u64);
    finding.null = "a training keeps its accelerators busy".into();
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}

/// Host, program and commit over the runs.
pub fn constant(to: &mut Judgement, runs: &[Run]) {
    if runs.len() < 2 {
        return;
    }
    let mut words = Vec::new();
    for (what, value) in [
        ("host", (|run: &Run| run.host.clone()) as fn(&Run) -> Option<String>),
        ("program", |run| run.program.clone()),
        ("commit", |run| run.commit.clone()),
        ("tracker version", |run| run.sdk.clone()),
    ] {
        let known: Vec<(&Run, String)> = runs.iter().filter_map(|run| Some((run, value(run)?))).collect();
        if let Some(pair) = known.windows(2).find(|pair| pair[0].1 != pair[1].1) {
            words.push(format!(
                "{what} {} in {} and {} in {}",
                pair[0].1,
                called(pair[0].0),
                pair[1].1,
                called(pair[1].0)
            ));
        }
    }
    let (grade, message) = if words.is_empty() {
        (Grade::Weak, format!("Host, program and commit are the same in {} runs, as far as they say.", runs.len()))
    } else {
        (Grade::Context, format!("The runs differ in {}; ask what changed.", words.join(", ")))
    };
    let direction = if words.is_empty() { Direction::For } else { Direction::Neutral };
    let mut finding = finding(Code::TimeConstancy, grade, direction, message);
    finding.statistic = Some(words.len() as f64);
    finding.n = Some(runs.len() as u64);
    to.push(finding);
}
