//! Logged norms of single tensors against the checkpoints'.

use std::collections::BTreeMap;

use super::{Code, Direction, Grade, Judgement, RUNS, TimeFacts, called, finding};
use scratchproof_case::Policy;
use scratchproof_checkpoint::bare_name;
use scratchproof_record::{HISTOGRAM_NORM, Run};
use scratchproof_texts::text;

/// L2 norm of one tensor of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorNorm {
    /// Its name in the file.
    pub name: String,
    /// Its norm.
    pub norm: f64,
    /// Whether it is a vector, whose values may all be rounded to one side.
    pub vector: bool,
}

/// What comes before a tensor's name: W&B's `watch` (`parameters/`, as histograms), Composer (`l2_norm/param/`,
/// `callbacks/optimizer_monitor.py`), Levanter (`params/norm/`), and what programs of their own write.
const BEFORE: &[&str] = &[
    "parameters/",
    "l2_norm/param/",
    "params/norm/",
    "param_norm/",
    "params_norm/",
    "parameter_norm/",
    "parameter_norms/",
    "weight_norm/",
    "weights_norm/",
    "weight_norms/",
    "norm/param/",
    "norms/",
];

/// What comes before it and after it: `OLMo` (`optim/param/NAME.norm`), and programs' own.
const AROUND: &[(&str, &str)] = &[
    ("param/", ".norm"),
    ("params/", ".norm"),
    ("params/", "/norm"),
    ("parameters/", "/norm"),
    ("weights/", "/norm"),
    ("weight/", "/norm"),
    ("weights/", "/l2_norm"),
];

/// Columns that are looked at.
const COLUMNS: usize = 20_000;

/// The tensor a column is of, and whether the norm is of a histogram.
fn tensor(column: &str) -> Option<(String, bool)> {
    let (column, histogram) = match column.strip_suffix(HISTOGRAM_NORM) {
        Some(name) => (name, true),
        None => (column, false),
    };
    let column = ["train/", "metrics/", "optim/"].iter().find_map(|group| column.strip_prefix(group)).unwrap_or(column);
    let around = AROUND.iter().find_map(|(before, after)| column.strip_prefix(before)?.strip_suffix(after));
    // A column of the same prefix that is no histogram is no norm.
    let plain = || {
        let named = |before: &&&str| histogram || **before != "parameters/";
        BEFORE.iter().filter(named).find_map(|before| column.strip_prefix(before))
    };
    let name = around.or_else(plain)?;
    // W&B numbers the models it watches, but for the first.
    let numbered = name.strip_prefix("graph_").map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    let name = numbered.filter(|rest| histogram && rest.len() + 6 < name.len()).unwrap_or(name);
    Some((bare(name), histogram))
}

/// A tensor's name without what wrappers add, whatever stands between its parts.
fn bare(name: &str) -> String {
    bare_name(&name.replace('/', ".")).into_owned()
}

/// One tensor at one step.
struct Compared<'a> {
    tensor: &'a str,
    step: i64,
    logged: f64,
    own: f64,
    /// Agrees up to this share.
    room: f64,
}

impl Compared<'_> {
    fn miss(&self) -> f64 {
        (self.logged / self.own - 1.0).abs()
    }

    fn agrees(&self) -> bool {
        self.miss() <= self.room
    }

    /// Beyond rounding, the bins of a histogram, and one step more or less.
    fn differs(&self) -> bool {
        self.miss() > 10.0 * self.room
    }
}

fn compare<'a>(facts: &'a TimeFacts<'_>, policy: &Policy, run: &Run) -> Vec<Compared<'a>> {
    let Some(first) = facts.norms.first() else { return Vec::new() };
    let names: Vec<(String, usize)> = first.tensors.iter().enumerate().map(|(at, t)| (bare(&t.name), at)).collect();
    let exact: BTreeMap<&str, usize> = names.iter().map(|(name, at)| (name.as_str(), *at)).collect();
    let find = |logged: &str| {
        let ends = |long: &str, short: &str| long.strip_suffix(short).is_some_and(|rest| rest.ends_with('.'));
        exact.get(logged).copied().or_else(|| {
            let mut fits = names.iter().filter(|(own, _)| ends(own, logged) || ends(logged, own));
            // A name that could be of several tensors is of none.
            let (one, more) = (fits.next(), fits.next());
            one.filter(|_| more.is_none()).map(|(_, at)| *at)
        })
    };
    let mut all = Vec::new();
    let columns = run.history.columns.keys().filter_map(|key| Some((key, tensor(key)?)));
    for (key, (name, histogram)) in columns.take(COLUMNS) {
        let Some(at) = find(&name) else { continue };
        let series = run.history.series(key, &run.keys.step);
        for norm in facts.norms {
            let Some(own) = norm.tensors.get(at).filter(|own| own.norm > 0.0) else { continue };
            let near = beside(&series, norm.step, histogram).iter().map(|point| point.1);
            // Between two rows a histogram may be of either, or of a step between them.
            let logged = if histogram {
                let ends = near.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
                (ends.0 <= ends.1).then(|| own.norm.clamp(ends.0, ends.1))
            } else {
                let miss = |value: &f64| (value / own.norm - 1.0).abs();
                near.min_by(|a, b| miss(a).total_cmp(&miss(b)))
            };
            let Some(logged) = logged else { continue };
            let exact = if own.vector { policy.norm_vector_agrees } else { policy.norm_agrees };
            let room = if histogram { policy.norm_histogram_agrees } else { exact };
            all.push(Compared { tensor: &own.name, step: norm.step, logged, own: own.norm, room });
        }
    }
    all
}

/// What was logged about a step. Rows are logged before or after the update that they count; a histogram stands in the row
/// that is open when the program computes it, so that its neighbours may be the ones of the step.
fn beside(series: &[(i64, f64)], step: i64, histogram: bool) -> &[(i64, f64)] {
    let reach = if histogram { i64::MAX } else { 1 };
    let at = series.partition_point(|point| point.0 < step);
    let after = at + usize::from(series.get(at).is_some_and(|point| point.0 == step));
    let (mut from, mut to) = (at.saturating_sub(1), (after + 1).min(series.len()));
    while from < to && step.abs_diff(series[from].0) > reach.unsigned_abs() {
        from += 1;
    }
    while from < to && step.abs_diff(series[to - 1].0) > reach.unsigned_abs() {
        to -= 1;
    }
    // Beyond either end of what was logged nothing is said.
    let inside = |point: &[(i64, f64)]| {
        point.first().is_some_and(|p| p.0 <= step.saturating_add(1))
            && point.last().is_some_and(|p| p.0 >= step.saturating_sub(1))
    };
    if inside(&series[from..to]) { &series[from..to] } else { &[] }
}

/// Holds them against each other.
pub fn judge(to: &mut Judgement, facts: &TimeFacts<'_>, policy: &Policy, run: &Run) {
    let all = compare(facts, policy, run);
    if all.is_empty() {
        return;
    }
    let mut tensors: BTreeMap<&str, Vec<&Compared>> = BTreeMap::new();
    for one in &all {
        tensors.entry(one.tensor).or_default().push(one);
    }
    let mut steps: Vec<i64> = all.iter().map(|one| one.step).collect();
    steps.sort_unstable();
    steps.dedup();
    let agree = all.iter().filter(|one| one.agrees()).count();
    // A norm that hardly moves says nothing of which checkpoint it is.
    let moves = |own: &&Vec<&Compared>| {
        let least = own.iter().map(|one| one.own).fold(f64::MAX, f64::min);
        own.iter().any(|one| one.own / least - 1.0 > 10.0 * one.room)
    };
    let telling = tensors.values().filter(moves).count();
    // One that agrees elsewhere is counted as the program counts it.
    let odd: Vec<&Compared> = tensors
        .values()
        .filter(|own| own.iter().filter(|one| one.agrees()).count() >= 2)
        .flat_map(|own| own.iter().copied().filter(|one| one.differs()))
        .collect();
    let at_steps = steps.len();
    let (grade, direction, words) = if let Some(worst) = odd.iter().max_by(|a, b| a.miss().total_cmp(&b.miss())) {
        let mut at: Vec<i64> = odd.iter().map(|one| one.step).collect();
        at.sort_unstable();
        at.dedup();
        steps.clone_from(&at);
        let words = text!(
            "time/tensor-norms/changed",
            count = odd.len(),
            steps = &at[..at.len().min(5)],
            tensor = worst.tensor,
            own = worst.own,
            step = worst.step,
            logged = worst.logged
        );
        (Grade::Moderate, Direction::Against, words)
    } else if (agree as f64) < policy.norm_tensors_agree * all.len() as f64 {
        (Grade::Weak, Direction::Neutral, text!("time/tensor-norms/which"))
    } else if steps.len() >= 3 && telling * 2 >= tensors.len() {
        (Grade::Moderate, Direction::For, text!("time/tensor-norms/together"))
    } else {
        (Grade::Weak, Direction::For, text!("time/tensor-norms/together"))
    };
    let message = text!(
        "time/tensor-norms/finding",
        run = called(run),
        tensors = tensors.len(),
        steps = at_steps,
        agree,
        of = all.len(),
        telling,
        words
    );
    let mut finding = finding(Code::TimeTensorNorms, grade, direction, message);
    finding.statistic = Some(agree as f64 / all.len() as f64);
    finding.n = Some(all.len() as u64);
    finding.subject.steps = steps;
    finding.null = text!("time/tensor-norms/null");
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}

#[cfg(test)]
mod tests {
    use super::{bare, beside, tensor};

    #[test]
    fn rows_beside_a_step_are_of_it() {
        let rows: Vec<(i64, f64)> =
            [10, 20, 30].map(|step| (step, f64::from(i32::try_from(step).unwrap_or(0)))).to_vec();
        let of = |step, histogram| beside(&rows, step, histogram).iter().map(|row| row.0).collect::<Vec<_>>();
        assert_eq!((of(20, false), of(21, false), of(15, false)), (vec![20], vec![20], vec![]));
        assert_eq!((of(20, true), of(15, true)), (vec![10, 20, 30], vec![10, 20]));
        assert_eq!((of(9, true), of(31, true)), (vec![10], vec![30]));
        assert_eq!((of(5, true), of(40, true), of(i64::MIN, true)), (vec![], vec![], vec![]));
        assert_eq!(of(i64::MAX, true), Vec::<i64>::new());
    }

    #[test]
    fn columns_name_their_tensor() {
        let name = "layers.0.mlp.up.weight";
        for (column, expected) in [
            ("l2_norm/param/model.layers.0.mlp.up.weight", Some(("model.layers.0.mlp.up.weight", false))),
            ("train/param_norm/module.layers.0.mlp.up.weight", Some((name, false))),
            ("param/_orig_mod.layers.0.mlp.up.weight.norm", Some((name, false))),
            ("weights/layers/0/mlp/up/weight/norm", Some((name, false))),
            ("parameters/layers.0.mlp.up.weight (norm of histogram)", Some((name, true))),
            ("parameters/graph_12layers.0.mlp.up.weight (norm of histogram)", Some((name, true))),
            ("parameters/layers.0.mlp.up.weight", None),
            ("l2_norm/grad/layers.0.mlp.up.weight", None),
            ("gradients/layers.0.mlp.up.weight (norm of histogram)", None),
        ] {
            assert_eq!(tensor(column), expected.map(|(name, histogram)| (name.to_owned(), histogram)), "{column}");
        }
        assert_eq!(bare("_forward_module.module.h.0/attn"), "h.0.attn");
    }
}
