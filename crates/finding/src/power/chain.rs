//! The chain: the weights of an unrelated model are put into each interval, component by component, and the tests of movement, reach,
//! budget, pace and rows without gradient are asked again.
//!
//! What is added is another model's weights in a random basis: independent of all that is there, so that squares add up and
//! the cross products are drawn (normal, with the variance of independent weights). Their size is the component's own in the
//! final checkpoint: a hidden model that the rest of the training rests on is as large as a trained one.
//!
//! What moved farther beside its anchor than in the intervals beside may have moved so because something is in it: it is
//! taken back to what the intervals beside show before anything is added. Otherwise a culprit that stays just below a limit
//! would be taken as a sign that the next grain would be seen (**measured**: half of a parent in steps 0 to 60, excess 2.06
//! where 2.1 was the limit: "a share of 0.11 would have been seen"; taken back it is 0.50).

use std::collections::{BTreeMap, BTreeSet};

use super::{ChainPower, Reach};
use crate::chain::budget::leaps;
use crate::chain::decay::would_speak;
use crate::chain::movement::{element_bound, excesses, reach, rounded, slack, small, stands_out};
use crate::chain::{ChainFacts, LAYERS, Moved};
use crate::{Condition, Judgement};
use scratchproof_case::Policy;
use scratchproof_evidence::ChainRow;
use scratchproof_measurements::ALL;
use scratchproof_texts::text;

/// Shares that are tried, as powers of two: from 1/16 to 16.
const SHARES: (f64, f64) = (-4.0, 4.0);

/// Draws, and how many of them must be seen.
const DRAWS: u64 = 10;
const SEEN: usize = 9;

/// Intervals on either side of one that its tests look at.
const WINDOW: usize = 2;

/// The normal quantile of the eighth largest of 16,384 independent values, two-sided: the least that a tensor's sample holds
/// of a normal matrix.
const FAR: f64 = 3.49;

/// One interval with those beside it.
struct Window<'a> {
    facts: &'a ChainFacts<'a>,
    policy: &'a Policy,
    steps: (i64, i64),
    moved: Vec<Moved>,
    path: Vec<&'a ChainRow>,
    bound: Option<f64>,
    rounded: f64,
    exact: bool,
    /// By component, what takes its movement back to that of the intervals beside, where it went farther.
    calm: BTreeMap<String, f64>,
}

/// Whose weights are added: one component, all of the layers, or all.
fn is_hit(culprit: &str, component: &str) -> bool {
    match culprit {
        ALL => component != ALL && component != LAYERS,
        LAYERS => ![ALL, LAYERS, "embedding", "head"].contains(&component),
        own => own == component,
    }
}

fn in_layers(component: &str) -> bool {
    is_hit(LAYERS, component)
}

impl<'a> Window<'a> {
    fn new(facts: &'a ChainFacts<'a>, policy: &'a Policy, all: &[(i64, i64)], at: usize) -> Self {
        let near = &all[at.saturating_sub(WINDOW)..(at + WINDOW + 1).min(all.len())];
        let (first, last) = (near[0].0, near[near.len() - 1].1);
        let within = |from: i64, to: i64| first <= from && to <= last;
        let moved: Vec<Moved> = facts.moved.iter().filter(|m| within(m.steps.0, m.steps.1)).cloned().collect();
        let farther = excesses(&moved).into_iter().filter(|e| e.steps == all[at] && e.excess > 1.0);
        Self {
            facts,
            policy,
            steps: all[at],
            calm: farther.map(|e| (e.component, e.excess.recip())).collect(),
            moved,
            path: facts.path.iter().filter(|row| within(row.from_step, row.to_step)).collect(),
            bound: element_bound(facts),
            rounded: rounded(facts, policy),
            exact: facts.bound.as_ref().is_some_and(|bound| bound.exact),
        }
    }

    /// What a component's movement is taken back by: by its own excess, and by that of the layers where all of them are hit.
    fn calmed(&self, culprit: &str, component: &str) -> f64 {
        let of = |name: &str| self.calm.get(name).copied().unwrap_or(1.0);
        if [ALL, LAYERS].contains(&culprit) && in_layers(component) {
            of(component).min(of(LAYERS))
        } else {
            of(component)
        }
    }

    /// The tests that see an unrelated model of `share` times the own size. `draw` is a standard normal number a component.
    fn seen(&self, culprit: &str, share: f64, draw: &mut dyn FnMut() -> f64) -> BTreeSet<&'static str> {
        let mut seen = BTreeSet::new();
        let mut moved = self.moved.clone();
        let (mut added, mut in_all) = (0.0, 0.0);
        for row in moved.iter_mut().filter(|row| row.steps == self.steps && is_hit(culprit, &row.component)) {
            let before = row.rms * row.rms;
            let calm = self.calmed(culprit, &row.component);
            row.rms *= calm;
            row.farthest *= calm;
            let size = share * row.last;
            let square = size * size + 2.0 * draw() * row.rms * size / (row.elements.max(1) as f64).sqrt();
            let beside = (1.0 - row.along) * row.rms * row.rms + (1.0 - row.last_along) * square;
            row.rms = (row.rms * row.rms + square).max(0.0).sqrt();
            if row.along > 0.0 && row.rms > 0.0 {
                row.along = (1.0 - beside / (row.rms * row.rms)).clamp(0.0, 1.0);
            }
            row.farthest = row.farthest.max(size * (FAR + 0.1 * draw()));
            let sum = (row.rms * row.rms - before) * row.elements as f64;
            in_all += sum;
            added += if in_layers(&row.component) { sum } else { 0.0 };
        }
        for row in moved.iter_mut().filter(|row| row.steps == self.steps) {
            let sum = if row.component == LAYERS { added } else { in_all };
            if [ALL, LAYERS].contains(&row.component.as_str()) {
                row.rms = (row.rms * row.rms + sum / row.elements.max(1) as f64).max(0.0).sqrt();
            }
        }
        if excesses(&moved).iter().any(|e| e.steps == self.steps && stands_out(e, self.policy, slack(self.facts))) {
            seen.insert("movement");
        }
        if let Some(bound) = self.bound {
            let own = moved.iter().filter(|row| row.steps == self.steps && is_hit(culprit, &row.component));
            let far =
                |row: &Moved| reach(row, bound, self.rounded).is_some_and(|reach| reach >= self.policy.reach_moderate);
            if own.clone().any(far) {
                seen.insert("reach");
            }
        }
        self.old_tests(culprit, &moved, &mut seen);
        let rows = culprit == ALL || culprit == "embedding";
        if rows && self.facts.decay.clocks.iter().any(|clock| would_speak(clock, self.steps, self.policy)) {
            seen.insert("rows without gradient");
        }
        seen
    }

    /// Budget and pace, from the rows of the chain with what was added.
    fn old_tests(&self, culprit: &str, moved: &[Moved], seen: &mut BTreeSet<&'static str>) {
        let grown = |component: &str| {
            let find = |all: &[Moved]| {
                all.iter().find(|m| m.component == component && m.steps == self.steps).map(|m| m.rms * m.rms)
            };
            Some(find(moved)? - find(&self.moved)?)
        };
        let rows: Vec<ChainRow> = self
            .path
            .iter()
            .map(|row| {
                let mut row = (*row).clone();
                let here = (row.from_step, row.to_step) == self.steps;
                if here
                    && (row.component == ALL || is_hit(culprit, &row.component))
                    && let (Some(square), Some(rms)) = (grown(&row.component), row.rms)
                {
                    let new = (rms * rms + square).max(0.0).sqrt();
                    row.budget = row.budget.zip(row.lr_sum).map(|(budget, sum)| budget + (new - rms) / sum);
                    row.rms = Some(new);
                }
                row
            })
            .collect();
        let over = |row: &ChainRow| {
            row.from_step == self.steps.0
                && row.budget.zip(row.bound).is_some_and(|(budget, bound)| budget > bound * self.policy.budget_excess)
        };
        if self.exact && rows.iter().any(over) {
            seen.insert("budget");
        }
        let names: BTreeSet<&str> = rows.iter().map(|row| row.component.as_str()).collect();
        for name in names {
            let own: Vec<&ChainRow> = rows.iter().filter(|row| row.component == name).collect();
            if leaps(&own, self.steps.0, self.policy) {
                seen.insert("pace");
            }
        }
    }

    /// The smallest share that is seen, by halving its logarithm; `None` where the largest is not.
    fn smallest(&self, culprit: &str) -> Option<f64> {
        let sees = |power: f64| !self.seen(culprit, power.exp2(), &mut || 0.0).is_empty();
        let (mut low, mut high) = SHARES;
        if !sees(high) {
            return None;
        }
        if sees(low) {
            return Some(low.exp2());
        }
        while high - low > 0.1 {
            let middle = f64::midpoint(low, high);
            if sees(middle) { high = middle } else { low = middle }
        }
        Some(high.exp2())
    }
}

/// Standard normal numbers, near enough, the same on every machine: twelve uniform ones of a linear congruential generator.
fn normal(state: &mut u64) -> f64 {
    let mut uniform = || {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 40) as f64 / f64::from(1 << 24)
    };
    (0..12).map(|_| uniform()).sum::<f64>() - 6.0
}

/// What could have been put into the chain unseen. `None` where no movement was measured.
#[must_use]
pub fn chain(facts: &ChainFacts<'_>, policy: &Policy) -> Option<ChainPower> {
    let mut all: Vec<(i64, i64)> = facts.moved.iter().map(|m| m.steps).collect();
    all.sort_unstable();
    all.dedup();
    facts.moved.iter().find(|m| m.component == ALL)?;
    let mut culprits: Vec<&str> = facts.moved.iter().map(|m| m.component.as_str()).collect();
    culprits.sort_unstable();
    culprits.dedup();
    let mut power = ChainPower::default();
    for (at, &steps) in all.iter().enumerate() {
        let window = Window::new(facts, policy, &all, at);
        let mut blind = false;
        for &culprit in &culprits {
            let mut state = 1;
            let draws: Vec<_> = (0..DRAWS).map(|_| window.seen(culprit, 1.0, &mut || normal(&mut state))).collect();
            let tells = draws.iter().filter(|seen| !seen.is_empty()).count() >= SEEN;
            blind |= !tells && !small(facts.moved, culprit);
            power.intervals.push(Reach {
                steps,
                component: culprit.to_owned(),
                smallest_share: window.smallest(culprit),
                by: draws.into_iter().next().unwrap_or_default().into_iter().map(str::to_owned).collect(),
            });
        }
        if blind {
            power.untested.push(steps);
        }
    }
    Some(power)
}

impl ChainPower {
    /// A chain that holds although something could have been put into it is untested.
    pub fn settle(&self, judgement: &mut Judgement) {
        if self.untested.is_empty() {
            // Rows without a test are of components that do not block.
            let tells = self.intervals.iter().filter(|r| !r.by.is_empty());
            let least = tells.filter_map(|r| Some((r, r.smallest_share?))).max_by(|a, b| a.1.total_cmp(&b.1));
            if let Some((reach, share)) = least.filter(|_| judgement.condition == Condition::Holds) {
                let (from, to) = reach.steps;
                let component = reach.component.clone();
                judgement.said.push(text!("power/chain/visible", component, from, to, share));
            }
            return;
        }
        for &(from, to) in &self.untested {
            let blind = |r: &&Reach| r.steps == (from, to) && r.by.is_empty();
            let parts: Vec<&str> = self.intervals.iter().filter(blind).map(|r| r.component.as_str()).collect();
            // Nothing lies between neighbours that could be handed over.
            if to.saturating_sub(from) <= 1 {
                judgement.missing.push(text!("power/chain/missing-rate", from, to, parts));
                continue;
            }
            let least = self
                .intervals
                .iter()
                .filter(blind)
                .map(|r| r.smallest_share.unwrap_or(f64::INFINITY))
                .fold(0.0, f64::max);
            judgement.missing.push(text!(
                "power/chain/missing",
                from,
                to,
                parts,
                least = Some(least).filter(|least| least.is_finite())
            ));
        }
        if judgement.condition == Condition::Holds {
            judgement.condition = Condition::Untested;
            let (from, to) = self.untested[0];
            judgement.said = text!("power/chain/untested", from, to, count = self.untested.len());
        }
    }
}
