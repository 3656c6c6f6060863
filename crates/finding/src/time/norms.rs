//! Logged norms of the weights against the checkpoints.

use super::{Code, Direction, Grade, Judgement, RUNS, TensorNorm, TimeFacts, called, finding};
use scratchproof_case::Policy;
use scratchproof_record::Run;
use scratchproof_texts::text;

/// L2 norms of one checkpoint, over the tensors that people count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepNorm {
    /// Training step.
    pub step: i64,
    /// What is counted, and its norm; the whole model first.
    pub norms: Vec<(String, f64)>,
    /// Those of single tensors, in the same order at every step.
    pub tensors: Vec<TensorNorm>,
}

/// Columns that hold the norm of all weights, as `normal` writes them.
const TOTAL: &[&str] = &[
    "param_norm",
    "params_norm",
    "train/param_norm",
    "train/params_norm",
    "weight_norm",
    "train/weight_norm",
    "optim/param_norm",
    "model/param_norm",
    "parameter_norm",
    "l2_norm/params",
    "l2_norm/param/global", // Composer
    "param_norm/global",
    "params/norm/total", // Levanter
    "params_norm/params_norm",
];

/// Holds the logged norms against the checkpoints of the same steps.
pub fn judge(to: &mut Judgement, facts: &TimeFacts<'_>, policy: &Policy, run: &Run) {
    let normal = |key: &str| key.to_ascii_lowercase().replace([' ', '-'], "_").replace('.', "/");
    let column = run.history.columns.keys().find(|key| TOTAL.contains(&normal(key).as_str()));
    let Some(column) = column else { return };
    let logged = run.history.series(column, &run.keys.step);
    // Rows are logged before or after the update that they count.
    let at = |step: i64| logged.binary_search_by_key(&step, |point| point.0).ok().map(|at| logged[at].1);
    let pairs: Vec<(&StepNorm, Vec<f64>)> = facts
        .norms
        .iter()
        .map(|norm| {
            let near = [Some(norm.step), norm.step.checked_sub(1), norm.step.checked_add(1)];
            (norm, near.into_iter().flatten().filter_map(at).filter(|v| *v > 0.0).collect::<Vec<f64>>())
        })
        .filter(|(_, logged)| !logged.is_empty())
        .collect();
    if pairs.is_empty() {
        return;
    }
    // One convention must hold at every step.
    let names: Vec<&str> = pairs[0].0.norms.iter().map(|(name, _)| name.as_str()).collect();
    let miss = |name: &str| {
        let of = |norm: &StepNorm| norm.norms.iter().find(|(own, _)| own == name).map(|(_, value)| *value);
        let one = |(norm, logged): &(&StepNorm, Vec<f64>)| {
            let own = of(norm)?;
            logged.iter().map(|value| (value / own - 1.0).abs()).reduce(f64::min)
        };
        pairs.iter().map(|pair| one(pair).unwrap_or(f64::MAX)).fold(0.0, f64::max)
    };
    let Some((name, worst)) = names.into_iter().map(|name| (name, miss(name))).min_by(|a, b| a.1.total_cmp(&b.1))
    else {
        return;
    };
    let n = pairs.len();
    let steps: Vec<i64> = pairs.iter().map(|(norm, _)| norm.step).collect();
    // Norms that move by less than the agreement say nothing of which checkpoint it is.
    let of = |pair: &(&StepNorm, Vec<f64>)| pair.0.norms.iter().find(|(own, _)| own == name).map_or(0.0, |(_, v)| *v);
    let least = pairs.iter().map(of).fold(f64::MAX, f64::min);
    let moved = pairs.iter().map(of).fold(0.0, f64::max) / least - 1.0;
    let (grade, direction, words) = if worst <= policy.norm_agrees {
        let telling = n >= 3 && moved > 10.0 * policy.norm_agrees;
        let grade = if telling { Grade::Moderate } else { Grade::Weak };
        (grade, Direction::For, text!("time/norms/together"))
    } else if worst <= policy.norm_differs {
        (Grade::Context, Direction::Neutral, text!("time/norms/rounding"))
    } else {
        (Grade::Weak, Direction::Neutral, text!("time/norms/which"))
    };
    let message = text!("time/norms/finding", column, run = called(run), name, checkpoints = n, worst, moved, words);
    let mut finding = finding(Code::TimeNorms, grade, direction, message);
    finding.statistic = Some(worst);
    finding.n = Some(n as u64);
    finding.subject.steps = steps;
    finding.null = text!("time/norms/null");
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}
