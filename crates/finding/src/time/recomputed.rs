//! Logged losses against those that were recomputed from the checkpoints on the declared tokens.

use std::collections::BTreeMap;

use super::{Code, Direction, Finding, Grade, Judgement, RUNS, TimeFacts, called};
use scratchproof_record::{Recomputed, Run};
use scratchproof_texts::text;

/// A logged loss is the recomputed one if they differ by no more than this share of it. Measured on a Llama of 144 thousand
/// parameters, 11 checkpoints: the same tokens 1.2e-7, weights in bf16 5.6e-4, another seed's column 6.5e-4 to 1.6e-2
/// (`docs/record.md`).
const AGREES: f64 = 5e-4;

/// Beyond this share it is another figure; between the two nothing is said.
const DIFFERS: f64 = 2e-3;

/// One checkpoint.
struct Compared {
    step: i64,
    logged: f64,
    own: f64,
}

impl Compared {
    fn miss(&self) -> f64 {
        (self.logged / self.own - 1.0).abs()
    }
}

/// Holds every column that was recomputed against every run that logged it.
///
/// The figures come from a table that was computed outside of this program: met, they are weak support and tie nothing; not
/// met, they are a question, as other tokens or another mean look the same.
pub fn judge(to: &mut Judgement, facts: &TimeFacts<'_>) {
    let Some(losses) = facts.losses else { return };
    let source = losses.source.as_str();
    if let Some(why) = &losses.unreadable {
        push(to, Grade::Context, Direction::Neutral, text!("time/recomputed-loss/unreadable", source, why), &[]);
        to.missing.push(text!("time/recomputed-loss/missing", source));
        return;
    }
    if !losses.other.is_empty() {
        let message = text!("time/recomputed-loss/other", source, steps = losses.other.clone());
        push(to, Grade::Context, Direction::Neutral, message, &losses.other);
    }
    let mut compared = 0;
    for run in facts.runs {
        let mut by_key: BTreeMap<&str, Vec<Compared>> = BTreeMap::new();
        for (key, all) in logged(run, losses) {
            by_key.entry(key).or_default().push(all);
        }
        for (key, all) in by_key {
            compared += all.len();
            column(to, losses, run, key, &all);
        }
    }
    if compared == 0 {
        let message = text!("time/recomputed-loss/nothing", source, count = losses.rows.len());
        push(to, Grade::Context, Direction::Neutral, message, &[]);
        to.missing.push(text!("time/recomputed-loss/missing", source));
    }
}

/// The rows of a run that stand at the step of a checkpoint: one before or after it is another model's.
fn logged<'a>(run: &Run, losses: &'a Recomputed) -> Vec<(&'a str, Compared)> {
    let mut series: BTreeMap<&str, Vec<(i64, f64)>> = BTreeMap::new();
    let mut all = Vec::new();
    for row in losses.rows.iter().filter(|row| row.loss > 0.0 && !row.key.is_empty()) {
        let points = series.entry(&row.key).or_insert_with(|| run.history.series(&row.key, &run.keys.step));
        let miss = |value: &f64| (value / row.loss - 1.0).abs();
        let at = points.iter().filter(|point| point.0 == row.step).map(|point| point.1);
        // A step that was logged twice, as by a resumed run, is met by either.
        if let Some(logged) = at.min_by(|a, b| miss(a).total_cmp(&miss(b))) {
            all.push((row.key.as_str(), Compared { step: row.step, logged, own: row.loss }));
        }
    }
    all
}

fn column(to: &mut Judgement, losses: &Recomputed, run: &Run, key: &str, all: &[Compared]) {
    let met = all.iter().filter(|one| one.miss() <= AGREES).count();
    let mut off: Vec<&Compared> = all.iter().filter(|one| one.miss() > DIFFERS).collect();
    off.sort_by(|a, b| b.miss().total_cmp(&a.miss()));
    let spread = |value: fn(&Compared) -> f64| {
        let (low, high) = all.iter().map(value).fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        high / low - 1.0
    };
    // A loss that does not move says nothing of which checkpoint it is.
    let telling = all.len() >= 3 && spread(|one| one.own) > 10.0 * DIFFERS;
    let (grade, direction, words) = match off.first() {
        Some(worst) => {
            let (step, logged, own) = (worst.step, worst.logged, worst.own);
            let (count, of) = (off.len(), all.len());
            let words = text!("time/recomputed-loss/off", count, of, met, step, logged, own);
            (Grade::Moderate, Direction::Against, words)
        }
        None if met < all.len() => (Grade::Weak, Direction::Neutral, text!("time/recomputed-loss/near")),
        None if telling => (Grade::Weak, Direction::For, text!("time/recomputed-loss/met")),
        None => (Grade::Context, Direction::Neutral, text!("time/recomputed-loss/still")),
    };
    let steps: Vec<i64> = if off.is_empty() { all.iter().map(|one| one.step).collect() } else { at(&off) };
    let largest = all.iter().map(Compared::miss).fold(0.0, f64::max);
    let message = text!(
        "time/recomputed-loss/finding",
        run = called(run),
        key,
        source = losses.source.as_str(),
        count = all.len(),
        largest,
        words
    );
    let finding = push(to, grade, direction, message, &steps);
    finding.statistic = Some(largest);
    finding.n = Some(all.len() as u64);
}

fn at(off: &[&Compared]) -> Vec<i64> {
    let mut steps: Vec<i64> = off.iter().map(|one| one.step).collect();
    steps.sort_unstable();
    steps
}

fn push<'a>(
    to: &'a mut Judgement,
    grade: Grade,
    direction: Direction,
    message: scratchproof_texts::Text,
    steps: &[i64],
) -> &'a mut Finding {
    let mut finding = Finding::new(Code::TimeRecomputedLoss, grade, direction, message);
    finding.null = text!("time/recomputed-loss/null");
    finding.subject.steps = steps.to_vec();
    finding.evidence = Some(RUNS.into());
    to.push(finding);
    let last = to.findings.len() - 1;
    &mut to.findings[last]
}

#[cfg(test)]
mod tests {
    use super::*;
    use scratchproof_record::Loss;

    fn judged(logged: &[f64], own: &[f64]) -> Vec<(Grade, Direction)> {
        let mut run = Run::default();
        let rows = logged.iter().zip(0..).map(|(value, step)| (10 * step, *value)).collect();
        run.history.columns.insert("eval/loss".into(), rows);
        let row = |(loss, step): (&f64, i64)| Loss {
            step: 10 * step,
            key: "eval/loss".into(),
            loss: *loss,
            tokens: 100,
            weights: String::new(),
        };
        let losses =
            Recomputed { source: "l".into(), rows: own.iter().zip(0..).map(row).collect(), ..Recomputed::default() };
        let mut judgement = Judgement::untested();
        let runs = [run];
        judge(&mut judgement, &TimeFacts { runs: &runs, losses: Some(&losses), ..TimeFacts::default() });
        judgement.findings.iter().map(|finding| (finding.grade, finding.direction)).collect()
    }

    #[test]
    fn what_is_met_is_weak_and_what_is_not_is_asked() {
        let own = [5.5, 4.0, 3.0, 2.5];
        assert_eq!(judged(&own, &own), [(Grade::Weak, Direction::For)]);
        assert_eq!(judged(&[5.5, 4.0, 3.1, 2.5], &own), [(Grade::Moderate, Direction::Against)]);
        assert_eq!(judged(&[5.503, 4.002, 3.0, 2.5], &own), [(Grade::Weak, Direction::Neutral)]);
        assert_eq!(judged(&[2.5, 2.5], &[2.5, 2.5]), [(Grade::Context, Direction::Neutral)]);
        assert_eq!(judged(&[], &own), [(Grade::Context, Direction::Neutral)]);
    }
}
