//! Growth and surgery in mid-run: two neighbours of different architecture.

use super::ChainFacts;
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_plan::Growth;
use scratchproof_stats::median;

/// Matrices that a message names.
const NAMED: usize = 3;

fn shape(sizes: &[usize]) -> String {
    sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ")
}

/// Names the first few of a list.
fn some(mut words: Vec<String>) -> String {
    let more = words.len().saturating_sub(NAMED);
    words.truncate(NAMED);
    words.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

/// Judges every change of architecture between neighbours.
pub(super) fn growth(judgement: &mut Judgement, facts: &ChainFacts<'_>) {
    for (from, to, growth) in facts.growth {
        let old = growth.same.iter().copied().chain(growth.resized.iter().filter_map(|r| r.kept));
        let typical = median(old);
        // Leftovers of another run have nothing in common; the checkpoint is left out and named elsewhere.
        let Some(typical) = typical.filter(|t| *t >= 0.2) else { continue };
        let forgotten: Vec<&scratchproof_plan::Resized> = growth
            .resized
            .iter()
            .filter(|r| r.kept.is_some_and(|k| k.abs() * (r.elements as f64).sqrt() < 6.0) && r.elements >= 1024)
            .collect();
        let (grade, direction) = if forgotten.is_empty() || typical < 0.5 {
            (Grade::Context, Direction::Neutral)
        } else {
            (Grade::Strong, Direction::Against)
        };
        let end = if forgotten.is_empty() {
            format!("what both have is remembered (median correlation {typical:.2}).")
        } else {
            format!(
                "the part that both have is not remembered in {}, while the median correlation of all is {typical:.2}: it was replaced.",
                some(forgotten.iter().map(|r| r.tensor.clone()).collect())
            )
        };
        let mut finding = Finding::new(
            Code::ChainGrowth,
            grade,
            direction,
            format!("Between steps {from} and {to} the model changed its sizes: {}; {end}", changes(growth)),
        );
        finding.subject.steps = vec![*from, *to];
        if let [only] = growth.resized.as_slice() {
            finding.subject.tensor = Some(only.tensor.clone());
        }
        finding.statistic = Some(typical);
        finding.effect = Some(typical);
        finding.n = Some(growth.same.len() as u64 + growth.resized.len() as u64);
        finding.null = "two runs have nothing in common: correlation 0".into();
        judgement.push(finding);
    }
}

fn changes(growth: &Growth) -> String {
    let mut parts = Vec::new();
    if !growth.resized.is_empty() {
        let words =
            growth.resized.iter().map(|r| format!("{} from {} to {}", r.tensor, shape(&r.before), shape(&r.after)));
        parts.push(some(words.collect()));
    }
    let copies: Vec<String> = growth
        .new
        .iter()
        .filter_map(|n| n.copy.as_ref().map(|(of, r)| format!("{} like {of} ({r:.2})", n.tensor)))
        .collect();
    let zeros: Vec<String> = growth.new.iter().filter(|n| n.zero).map(|n| n.tensor.clone()).collect();
    let others: Vec<String> =
        growth.new.iter().filter(|n| !n.zero && n.copy.is_none()).map(|n| n.tensor.clone()).collect();
    for (what, list) in [("copies of earlier matrices: ", copies), ("all zero: ", zeros), ("new: ", others)] {
        if !list.is_empty() {
            parts.push(format!("{what}{}", some(list)));
        }
    }
    if growth.dropped > 0 {
        parts.push(format!("{} of {} matrices are gone", growth.dropped, growth.matrices.0));
    }
    parts.join("; ")
}
