//! The parents: in how much of the subject a parent's own matrices would have been seen, as stored or in another basis.

use std::collections::BTreeMap;

use super::ParentPower;
use crate::{Condition, Judgement};
use scratchproof_case::Policy;
use scratchproof_evidence::{ComponentRow, Reference};
use scratchproof_measurements::ALL;
use scratchproof_stats::Aligned;
use scratchproof_texts::text;

/// Share of the parameters of a component that must be reached.
const REACHED: f64 = 0.95;

/// Components of less than this share of the parameters do not block.
const SMALL: f64 = 0.01;

/// Tables of tokens have one direction in common between all models (the frequency of tokens), which widens the null of the
/// whole table: there half of the parent must show, elsewhere the policy's correlation.
const TABLES: f64 = 0.5;

/// One component of the subject against one parent.
#[derive(Clone, Debug, PartialEq)]
pub struct ParentReach {
    /// The parent.
    pub parent: String,
    /// The component; the router counts with the experts.
    pub component: String,
    /// Elements of the subject's matrices, ...
    pub elements: u64,
    /// ... of those that were held against one of the parent's as stored, ...
    pub stored: u64,
    /// ... and of those whose neurons, heads or experts were matched with the parent's.
    pub matched: u64,
}

/// The correlation that a component's test would have graded moderate against one parent.
fn detectable(figures: &[ComponentRow], parent: &str, component: &str, policy: &Policy) -> Option<f64> {
    let own = figures.iter().filter(|row| row.reference == Reference::Parent(parent.to_owned()));
    let rows = own.filter(|row| row.component == component);
    let test = |row: &ComponentRow| {
        let test = Aligned { z: row.z?, log10_p: row.log10_p?, effect: row.effect? };
        Some(test.detectable(policy.moderate_log10_p)).filter(|d| d.is_finite())
    };
    rows.max_by_key(|row| row.step).and_then(test)
}

/// The power of the condition; the least over the parents.
#[must_use]
pub fn parent(
    reaches: &[ParentReach],
    figures: &[ComponentRow],
    bases: Vec<String>,
    policy: &Policy,
) -> (ParentPower, Vec<ParentReach>) {
    let mut totals: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut blind = Vec::new();
    for reach in reaches {
        let table = ["embedding", "head"].contains(&reach.component.as_str());
        let limit = if table { TABLES } else { policy.detectable_effect };
        let sees = detectable(figures, &reach.parent, &reach.component, policy).is_some_and(|d| d <= limit);
        // Tables of other vocabularies are held against each other by the strings of their tokens, as whole tables.
        let stored = match sees {
            true if table => reach.elements,
            true => reach.stored,
            false => 0,
        };
        let reached = stored.max(reach.matched).min(reach.elements);
        let total = totals.entry(&reach.parent).or_default();
        total.0 += reached;
        total.1 += reach.elements;
        if (reached as f64) < REACHED * reach.elements as f64 {
            blind.push(reach.clone());
        }
    }
    let all = |parent: &str| totals.get(parent).map_or(0, |total| total.1);
    blind.retain(|reach| reach.elements as f64 >= SMALL * all(&reach.parent) as f64);
    let share = |(reached, all): &(u64, u64)| *reached as f64 / (*all).max(1) as f64;
    let whole = totals.keys().filter_map(|parent| detectable(figures, parent, ALL, policy));
    let power = ParentPower {
        reached: totals.values().map(share).reduce(f64::min).unwrap_or(0.0),
        smallest_correlation: whole.reduce(f64::max),
        bases,
    };
    (power, blind)
}

/// A parent condition that holds although a component could not have shown is untested.
pub fn settle(judgement: &mut Judgement, blind: &[ParentReach]) {
    for reach in blind {
        let share = reach.stored.max(reach.matched) as f64 / reach.elements.max(1) as f64;
        judgement.missing.push(text!(
            "power/parent/missing",
            component = reach.component.clone(),
            parent = reach.parent.clone(),
            share
        ));
    }
    if !blind.is_empty() && judgement.condition == Condition::Holds {
        judgement.condition = Condition::Untested;
        let mut parts: Vec<&str> = blind.iter().map(|reach| reach.component.as_str()).collect();
        parts.sort_unstable();
        parts.dedup();
        judgement.said = text!("power/parent/little", parts);
    }
}
