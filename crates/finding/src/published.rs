//! What the list of files of a published series shows, by digests alone: faults of publication, never of training.

use std::collections::{BTreeMap, BTreeSet};

use scratchproof_case::{PublishedFile, PublishedStep};
use scratchproof_texts::{Text, text};

use super::{Code, Direction, Finding, Grade, Judgement};

/// Hours between files of one step from which on it was changed later.
const LATER: i64 = 24;

/// Minutes by which a step may have been uploaded before the one before it.
const BEFORE: i64 = 60;

/// Judges the list.
#[must_use]
pub fn judge(steps: &[PublishedStep]) -> Judgement {
    let mut judgement = Judgement::untested();
    empty(&mut judgement, steps);
    equal(&mut judgement, steps);
    mixed(&mut judgement, steps);
    shards(&mut judgement, steps);
    changed(&mut judgement, steps);
    order(&mut judgement, steps);
    labels(&mut judgement, steps);
    if steps.len() > 1 && steps.iter().any(|step| !step.weights.is_empty() && contents(step).is_none()) {
        let text = text!("input/publication/undigested", count = steps.len());
        push(&mut judgement, steps.iter().map(|step| step.step).collect(), text);
    } else if judgement.findings.is_empty() && steps.len() > 1 {
        let text = text!("input/publication/clean", count = steps.len());
        push(&mut judgement, steps.iter().map(|step| step.step).collect(), text);
    }
    judgement
}

fn push(judgement: &mut Judgement, steps: Vec<i64>, message: Text) {
    let mut finding = Finding::new(Code::InputPublication, Grade::Context, Direction::Neutral, message);
    finding.n = Some(steps.len() as u64);
    finding.subject.steps = steps;
    judgement.push(finding);
}

fn empty(judgement: &mut Judgement, steps: &[PublishedStep]) {
    let none: Vec<i64> = steps.iter().filter(|step| step.weights.is_empty()).map(|step| step.step).collect();
    if !none.is_empty() {
        let text = text!("input/publication/empty", steps = none.as_slice());
        push(judgement, none, text);
    }
}

/// What is equal where the content is.
fn digest(file: &PublishedFile) -> Option<&str> {
    file.sha256.as_deref().or(file.mark.as_deref())
}

/// What a step holds, whatever its files are called.
fn contents(step: &PublishedStep) -> Option<Vec<(&str, u64)>> {
    let mut all: Vec<(&str, u64)> =
        step.weights.iter().map(|file| Some((digest(file)?, file.bytes))).collect::<Option<_>>()?;
    all.sort_unstable();
    (!all.is_empty()).then_some(all)
}

/// Steps with the same weights.
fn equal(judgement: &mut Judgement, steps: &[PublishedStep]) {
    let mut groups: BTreeMap<Vec<(&str, u64)>, Vec<i64>> = BTreeMap::new();
    for step in steps {
        if let Some(contents) = contents(step) {
            groups.entry(contents).or_default().push(step.step);
        }
    }
    let mut groups: Vec<Vec<i64>> = groups.into_values().filter(|steps| steps.len() > 1).collect();
    groups.sort();
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return };
    for group in groups {
        let start = group.len() == 2 && group[0] == first.step && steps.get(1).is_some_and(|s| s.step == group[1]);
        let text = text!(
            "input/publication/equal",
            count = group.len(),
            all = steps.len(),
            steps = group.as_slice(),
            start,
            late = group.contains(&last.step)
        );
        push(judgement, group, text);
    }
}

/// Single files of one step that are another's, where the rest is not.
fn mixed(judgement: &mut Judgement, steps: &[PublishedStep]) {
    let mut holders: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        for file in &step.weights {
            if let Some(digest) = digest(file) {
                holders.entry((file.name.as_str(), digest)).or_default().push(at);
            }
        }
    }
    let mut found: BTreeMap<Vec<usize>, Vec<&str>> = BTreeMap::new();
    for ((name, _), at) in holders {
        // A part that is frozen is the same in every step.
        let whole = at.windows(2).all(|pair| contents(&steps[pair[0]]) == contents(&steps[pair[1]]));
        if at.len() > 1 && at.len() < steps.len() && !whole {
            found.entry(at).or_default().push(name);
        }
    }
    for (at, names) in found {
        let all: Vec<i64> = at.iter().map(|at| steps[*at].step).collect();
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let text = text!("input/publication/mixed", steps = all.as_slice(), files = names);
        push(judgement, all, text);
    }
}

/// `model-00002-of-00003.safetensors`: what comes before the numbers, the number, the count and the ending.
fn shard(name: &str) -> Option<(&str, u64, u64, &str)> {
    let (before, after) = name.split_once("-of-")?;
    let (stem, number) = before.rsplit_once('-')?;
    let end = after.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(after.len());
    Some((stem, number.parse().ok()?, after[..end].parse().ok()?, &after[end..]))
}

/// Shards that are missing, and those of another count beside them.
fn shards(judgement: &mut Judgement, steps: &[PublishedStep]) {
    let (mut missing, mut extra) = (Vec::new(), Vec::new());
    for step in steps {
        let mut sets: BTreeMap<(&str, &str), BTreeMap<u64, BTreeSet<u64>>> = BTreeMap::new();
        for (stem, number, of, ending) in step.weights.iter().filter_map(|file| shard(&file.name)) {
            sets.entry((stem, ending)).or_default().entry(of).or_default().insert(number);
        }
        let whole = |(of, held): (&u64, &BTreeSet<u64>)| held.len() as u64 == *of;
        missing.extend(sets.values().any(|set| !set.iter().any(whole)).then_some(step.step));
        extra.extend(sets.values().any(|set| set.len() > 1).then_some(step.step));
    }
    for (key, steps) in [("missing", missing), ("extra", extra)] {
        if !steps.is_empty() {
            let text = match key {
                "missing" => text!("input/publication/missing", steps = steps.as_slice()),
                _ => text!("input/publication/extra", steps = steps.as_slice()),
            };
            push(judgement, steps, text);
        }
    }
}

fn times(step: &PublishedStep) -> impl Iterator<Item = (&PublishedFile, chrono::DateTime<chrono::Utc>)> {
    step.weights.iter().filter_map(|file| Some((file, file.at?)))
}

/// Weights of one step that came a day after others of it.
fn changed(judgement: &mut Judgement, steps: &[PublishedStep]) {
    for step in steps {
        let Some(first) = times(step).map(|(_, at)| at).min() else { continue };
        let late: Vec<_> = times(step).filter(|(_, at)| (*at - first).num_hours() >= LATER).collect();
        if let Some(last) = late.iter().map(|(_, at)| *at).max() {
            let files: Vec<String> = late.iter().map(|(file, _)| file.name.clone()).collect();
            let (first, last) = (first.date_naive().to_string(), last.date_naive().to_string());
            let text = text!("input/publication/changed", step = step.step, files, first, last);
            push(judgement, vec![step.step], text);
        }
    }
}

/// Steps that were uploaded before those they follow.
fn order(judgement: &mut Judgement, steps: &[PublishedStep]) {
    let at: Vec<(i64, chrono::DateTime<chrono::Utc>)> =
        steps.iter().filter_map(|step| Some((step.step, times(step).map(|(_, at)| at).max()?))).collect();
    let mut newest = None;
    let mut early = Vec::new();
    for (step, at) in &at {
        if newest.is_some_and(|newest: chrono::DateTime<chrono::Utc>| (newest - *at).num_minutes() >= BEFORE) {
            early.push(*step);
        }
        newest = newest.max(Some(*at));
    }
    if !early.is_empty() {
        let text = text!("input/publication/order", steps = early.as_slice(), all = at.len());
        push(judgement, early, text);
    }
}

/// So many times what the intervals beside it have, in tokens a step, is more than a batch that grows.
const LEAP: f64 = 1.6;

/// Labels of tokens that do not grow with the steps, or leap between two of them: one of the two is another than it says. A
/// batch that grows makes the tokens of a step more and leaves them so.
fn labels(judgement: &mut Judgement, steps: &[PublishedStep]) {
    let told: Vec<(i64, u64)> = steps.iter().filter_map(|step| Some((step.step, step.tokens?))).collect();
    // Labels are rounded: to the power of ten that all of them are multiples of, by at most half of it each.
    let common = told.iter().fold(0, |unit, (_, tokens)| greatest(unit, *tokens)).max(1);
    let unit =
        std::iter::successors(Some(1_u64), |unit| unit.checked_mul(10)).take_while(|unit| common % unit == 0).last();
    let unit = unit.unwrap_or(1);
    if told.len() < 3 || told.iter().all(|(step, tokens)| u64::try_from(*step).is_ok_and(|step| step == *tokens)) {
        return;
    }
    #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
    let rate = |pair: &[(i64, u64)], rounding: f64| {
        (pair[1].1 as f64 - pair[0].1 as f64 + rounding * unit as f64) / (pair[1].0 - pair[0].0) as f64
    };
    let rates: Vec<[f64; 2]> = told.windows(2).map(|pair| [rate(pair, -1.0), rate(pair, 1.0)]).collect();
    let mut off: BTreeSet<i64> = BTreeSet::new();
    for (at, pair) in told.windows(2).enumerate() {
        let beside = [at.checked_sub(1), Some(at + 1)].into_iter().flatten().filter_map(|at| rates.get(at));
        let (most, known) = beside.fold((0.0_f64, 0), |(most, known), rate| (most.max(rate[1]), known + 1));
        let back = pair[1].1 < pair[0].1;
        if back || known == 2 && most > 0.0 && rates[at][0] > LEAP * most {
            off.extend([pair[0].0, pair[1].0]);
        }
    }
    if !off.is_empty() {
        let off: Vec<i64> = off.into_iter().collect();
        let text = text!("input/publication/labels", steps = off.as_slice(), all = told.len());
        push(judgement, off, text);
    }
}

/// The greatest number that divides both.
fn greatest(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_tokens_that_cannot_be() {
        let labelled = |labels: &[u64]| {
            let of = |(at, tokens): (usize, &u64)| {
                let digest = at.to_string();
                let file = [("model.safetensors", digest.as_str())];
                let at = i64::try_from(at).unwrap();
                PublishedStep { tokens: Some(tokens * 1_000_000_000), ..step(1000 * at, &file, 1) }
            };
            let steps: Vec<PublishedStep> = labels.iter().enumerate().map(of).collect();
            let told = judge(&steps).findings;
            told.into_iter().find(|f| f.message.english().contains("tokens")).map(|f| f.subject.steps)
        };
        assert_eq!(labelled(&[0, 40, 80, 120, 160, 200]), None);
        // The batch doubles at the fourth, and labels of few units are coarse.
        assert_eq!(labelled(&[0, 40, 80, 120, 200, 280, 360]), None);
        assert_eq!(labelled(&[0, 1, 1, 2, 3, 3, 4]), None);
        // The first half says half of what it is.
        assert_eq!(labelled(&[0, 20, 40, 60, 160, 200, 240]), Some(vec![3000, 4000]));
        assert_eq!(labelled(&[0, 40, 80, 60, 160, 200]).unwrap(), [2000, 3000, 4000]);
    }

    fn step(step: i64, files: &[(&str, &str)], day: u32) -> PublishedStep {
        let file = |(name, digest): &(&str, &str)| PublishedFile {
            name: (*name).to_owned(),
            bytes: 9,
            sha256: Some((*digest).to_owned()),
            mark: None,
            at: format!("2026-01-{day:02}T00:00:00Z").parse().ok(),
        };
        let (name, address) = (format!("step{step}"), String::new());
        PublishedStep { step, tokens: None, name, address, weights: files.iter().map(file).collect() }
    }

    fn told(steps: &[PublishedStep]) -> Vec<(Vec<i64>, String)> {
        let told = judge(steps).findings;
        assert!(told.iter().all(|f| f.direction == Direction::Neutral && f.grade == Grade::Context));
        told.into_iter().map(|f| (f.subject.steps, f.message.english())).collect()
    }

    const A: &str = "model-00001-of-00002.safetensors";
    const B: &str = "model-00002-of-00002.safetensors";

    #[test]
    fn faults_of_publication_are_named() {
        let clean = [step(0, &[(A, "1"), (B, "f")], 1), step(10, &[(A, "2"), (B, "f")], 2)];
        assert!(told(&clean)[0].1.contains("no fault"), "a frozen part: {:?}", told(&clean));
        let mixed =
            [step(0, &[(A, "1"), (B, "a")], 1), step(10, &[(A, "2"), (B, "b")], 2), step(20, &[(A, "3"), (B, "b")], 3)];
        assert!(
            told(&mixed).iter().any(|(steps, words)| *steps == [10, 20] && words.contains(B)),
            "{:?}",
            told(&mixed)
        );
        let equal = [step(0, &[(A, "1"), (B, "a")], 1), step(10, &[(A, "1"), (B, "a")], 2), step(20, &[(A, "3")], 1)];
        let words = told(&equal);
        assert!(words.iter().any(|(steps, words)| *steps == [0, 10] && words.contains("same weights")), "{words:?}");
        assert!(words.iter().any(|(steps, words)| *steps == [20] && words.contains("missing")), "{words:?}");
        assert!(words.iter().any(|(steps, words)| *steps == [20] && words.contains("uploaded")), "{words:?}");
        assert_eq!(words.len(), 3, "{words:?}");
    }
}
