//! Growth and surgery in mid-run: two neighbours of different architecture.

use super::ChainFacts;
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_measurements::Growth;
use scratchproof_stats::median;
use scratchproof_texts::{Text, text};

/// Matrices that a message names.
const NAMED: usize = 3;

/// The first few of a list.
fn some<T>(list: impl IntoIterator<Item = T>) -> Vec<T> {
    list.into_iter().take(NAMED).collect()
}

/// How many of a list are not among them.
fn rest(count: usize) -> usize {
    count.saturating_sub(NAMED)
}

/// Judges every change of architecture between neighbours.
pub(super) fn growth(judgement: &mut Judgement, facts: &ChainFacts<'_>) {
    for (from, to, growth) in facts.growth {
        let old = growth.same.iter().copied().chain(growth.resized.iter().filter_map(|r| r.kept));
        let typical = median(old);
        // Leftovers of another run have nothing in common; the checkpoint is left out and named elsewhere.
        let Some(typical) = typical.filter(|t| *t >= 0.2) else { continue };
        let forgotten: Vec<&scratchproof_measurements::Resized> = growth
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
            text!("chain/growth/remembered", typical)
        } else {
            let tensors = some(forgotten.iter().map(|r| r.tensor.as_str()));
            text!("chain/growth/forgotten", tensors, more = rest(forgotten.len()), typical)
        };
        let message = text!("chain/growth/changed", from = *from, to = *to, changes = changes(growth), end);
        let mut finding = Finding::new(Code::ChainGrowth, grade, direction, message);
        finding.subject.steps = vec![*from, *to];
        if let [only] = growth.resized.as_slice() {
            finding.subject.tensor = Some(only.tensor.clone());
        }
        finding.statistic = Some(typical);
        finding.effect = Some(typical);
        finding.n = Some(growth.same.len() as u64 + growth.resized.len() as u64);
        finding.null = text!("chain/growth/null");
        judgement.push(finding);
    }
}

/// What changed, part by part.
fn changes(growth: &Growth) -> Vec<Text> {
    let mut parts = Vec::new();
    if !growth.resized.is_empty() {
        let matrices = some(growth.resized.iter().map(|r| {
            let (before, after) = (r.before.as_slice(), r.after.as_slice());
            text!("chain/growth/size", tensor = &r.tensor, before, after)
        }));
        parts.push(text!("chain/growth/resized", matrices, more = rest(growth.resized.len())));
    }
    let copies: Vec<Text> = growth
        .new
        .iter()
        .filter_map(|n| Some((n, n.copy.as_ref()?)))
        .map(|(n, (of, r))| text!("chain/growth/copy", tensor = &n.tensor, of, correlation = *r))
        .collect();
    let zeros: Vec<&str> = growth.new.iter().filter(|n| n.zero).map(|n| n.tensor.as_str()).collect();
    let others: Vec<&str> =
        growth.new.iter().filter(|n| !n.zero && n.copy.is_none()).map(|n| n.tensor.as_str()).collect();
    if !copies.is_empty() {
        let more = rest(copies.len());
        parts.push(text!("chain/growth/copies", matrices = some(copies), more));
    }
    if !zeros.is_empty() {
        let more = rest(zeros.len());
        parts.push(text!("chain/growth/zero", matrices = some(zeros), more));
    }
    if !others.is_empty() {
        let more = rest(others.len());
        parts.push(text!("chain/growth/new", matrices = some(others), more));
    }
    if growth.dropped > 0 {
        parts.push(text!("chain/growth/gone", count = growth.dropped, all = growth.matrices.0));
    }
    parts
}
