//! The parents: in how much of the subject a parent's own matrices would have been seen, as stored or in another basis.
//!
//! As stored, the parent's matrices are put into one component after the other: traces and cross-Grams of the case's own
//! figures add up, so that nothing is read again. In disguise, the parent was written anew and the search was asked
//! ([`Culprit`]).

use std::collections::{BTreeMap, BTreeSet};

use super::{DisguisePower, ParentPower, SMALL, StoredPower};
use crate::parent::shown;
use crate::{Condition, Judgement};
use scratchproof_case::Policy;
use scratchproof_evidence::{CalibrationRow, ComponentRow, DisguiseRow, Reference};
use scratchproof_measurements::{ALL, Class};
use scratchproof_stats::{Aligned, log10_both_tails};
use scratchproof_texts::{Param, Text, text};

/// Share of the parameters of a component that must be reached.
const REACHED: f64 = 0.95;

/// Tables of tokens have one direction in common between all models (the frequency of tokens), which widens the null of the
/// whole table: there half of the parent must show, elsewhere the policy's correlation.
const TABLES: [&str; 2] = ["embedding", "head"];
const OF_TABLES: f64 = 0.5;

/// The quantile of a standard normal number that nine draws of ten exceed.
const NINE_OF_TEN: f64 = -1.2816;

/// Components whose units a search matches: half of them in another order must show there.
const OF_UNITS: [&str; 3] = ["attention", "mlp", "experts"];

/// Correlations that are tried, falling.
const STEPS: i32 = 40;

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
    /// ... of those whose neurons, heads or experts were matched with the parent's, ...
    pub matched: u64,
    /// ... and of those that were neither, whose function no template knows: where it is told, they may be.
    pub unnamed: u64,
}

/// The parent itself in one disguise, and what the search said of it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Culprit {
    pub parent: String,
    pub class: Class,
    pub correlation: f64,
    pub rows: Vec<DisguiseRow>,
}

impl Culprit {
    /// In which components the search shows it; [`ALL`] where it shows how its axis is written.
    #[must_use]
    pub fn seen_in(&self, policy: &Policy) -> BTreeSet<String> {
        shown(&self.rows, &self.parent, policy)
    }
}

/// Why a parent's silence is worth little.
#[derive(Clone, Debug, PartialEq)]
pub enum Blind {
    /// A component could not show it as stored.
    Stored(ParentReach),
    /// A disguise could not, in these components or anywhere.
    Disguised(DisguisePower, Vec<String>),
}

/// The figures of one component against one parent at the last step that has any.
struct Figures<'a> {
    row: &'a ComponentRow,
    /// Standard deviation of the correlation under the null, and of the parent's with itself.
    deviation: (f64, f64),
    tests: usize,
}

impl<'a> Figures<'a> {
    fn of(all: &'a [ComponentRow], selves: &[CalibrationRow], parent: &str, component: &str) -> Option<Self> {
        let reference = Reference::Parent(parent.to_owned());
        let own = all.iter().filter(|row| row.reference == reference && row.component == component);
        let row = own.max_by_key(|row| row.step)?;
        let deviation = |effect: Option<f64>, z: Option<f64>| {
            Some((effect? / z?).abs()).filter(|deviation| deviation.is_finite() && *deviation > 0.0)
        };
        let usual = deviation(row.effect, row.z)?;
        // With as much noise as weight the parent has at least half of its own cross-Gram.
        let itself = selves
            .iter()
            .find(|s| s.against == "perturbed" && s.component == component && s.model == reference.to_string());
        let itself = itself.and_then(|s| deviation(s.effect, s.z)).map_or(usual, |d| d * std::f64::consts::SQRT_2);
        let tests = all.iter().filter(|row| matches!(row.reference, Reference::Parent(_))).count();
        Some(Self { row, deviation: (usual, itself), tests })
    }

    /// Whether the parent's matrices at a correlation of `rho` are moderate in nine of ten draws, all tests paid for.
    fn sees(&self, rho: f64, policy: &Policy) -> bool {
        let (usual, itself) = self.deviation;
        let spread = ((1.0 - rho * rho) * usual * usual + rho * rho * itself * itself).sqrt();
        // A draw on the other side of zero would be a copy times -1, which this is not.
        let z = (rho / spread + NINE_OF_TEN).max(0.0);
        log10_both_tails(z) + (self.tests.max(1) as f64).log10() <= policy.moderate_log10_p
    }

    fn smallest(&self, policy: &Policy) -> Option<f64> {
        let tried = (0..STEPS).map(|step| 10.0_f64.powf(-f64::from(step) / 20.0));
        tried.take_while(|rho| self.sees(*rho, policy)).last()
    }

    /// As the test of the whole table is graded: the frequency of tokens is in every model, so that what is left of a parent
    /// beside it decides.
    fn detectable(&self, policy: &Policy) -> Option<f64> {
        let test = Aligned { z: self.row.z?, log10_p: self.row.log10_p?, effect: self.row.effect? };
        Some(test.detectable_either_way(policy.moderate_log10_p)).filter(|d| d.is_finite())
    }
}

/// The power of the condition, and what it lacks.
#[must_use]
pub fn parent(
    reaches: &[ParentReach],
    figures: &[ComponentRow],
    selves: &[CalibrationRow],
    culprits: &[Culprit],
    bases: Vec<String>,
    policy: &Policy,
) -> (ParentPower, Vec<Blind>) {
    let mut totals: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut power = ParentPower { bases, ..ParentPower::default() };
    let mut few: Vec<&ParentReach> = Vec::new();
    for reach in reaches {
        let own = Figures::of(figures, selves, &reach.parent, &reach.component);
        let table = TABLES.contains(&reach.component.as_str());
        let sees = own.as_ref().is_some_and(|own| {
            if table {
                own.detectable(policy).is_some_and(|d| d <= OF_TABLES)
            } else {
                own.sees(policy.detectable_effect, policy)
            }
        });
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
            few.push(reach);
        }
        power.stored.push(StoredPower {
            parent: reach.parent.clone(),
            component: reach.component.clone(),
            compared: if table && sees { 1.0 } else { reach.stored as f64 / reach.elements.max(1) as f64 },
            smallest_correlation: own.and_then(|own| own.smallest(policy)),
        });
    }
    let large = |reach: &ParentReach| {
        let all = totals.get(reach.parent.as_str()).map_or(0, |total| total.1);
        reach.elements as f64 >= SMALL * all as f64
    };
    let mut blind: Vec<Blind> =
        few.into_iter().filter(|reach| large(reach)).map(|reach| Blind::Stored(reach.clone())).collect();
    for parent in reaches.iter().map(|reach| reach.parent.as_str()).collect::<BTreeSet<_>>() {
        let units =
            reaches.iter().filter(|r| r.parent == parent && large(r) && OF_UNITS.contains(&r.component.as_str()));
        let units: Vec<&str> = units.map(|reach| reach.component.as_str()).collect();
        let own: Vec<&Culprit> = culprits.iter().filter(|culprit| culprit.parent == parent).collect();
        if own.is_empty() {
            let nothing = DisguisePower {
                parent: parent.to_owned(),
                class: String::new(),
                correlation: 0.0,
                seen_in: Vec::new(),
            };
            blind.push(Blind::Disguised(nothing, Vec::new()));
        }
        for culprit in own {
            let seen = culprit.seen_in(policy);
            let disguise = DisguisePower {
                parent: parent.to_owned(),
                class: culprit.class.name().to_owned(),
                correlation: culprit.correlation,
                seen_in: seen.iter().cloned().collect(),
            };
            let unseen: Vec<String> = match culprit.class {
                Class::Half => units.iter().filter(|c| !seen.contains(**c)).map(|c| (*c).to_owned()).collect(),
                _ => Vec::new(),
            };
            if seen.is_empty() || !unseen.is_empty() {
                blind.push(Blind::Disguised(disguise.clone(), unseen));
            }
            power.disguised.push(disguise);
        }
    }
    let share = |(reached, all): &(u64, u64)| *reached as f64 / (*all).max(1) as f64;
    power.reached = totals.values().map(share).reduce(f64::min).unwrap_or(0.0);
    let whole = totals.keys().filter_map(|parent| Figures::of(figures, selves, parent, ALL)?.smallest(policy));
    power.smallest_correlation = whole.reduce(f64::max);
    (power, blind)
}

/// A parent condition that holds although a component could not have shown is untested. `intervals` are those in which the
/// search was held against what was added as well; `drawn` says that only a share of the rows was read.
pub fn settle(judgement: &mut Judgement, power: &ParentPower, blind: &[Blind], intervals: usize, drawn: bool) {
    let tried: BTreeSet<&str> = power.disguised.iter().map(|disguise| disguise.parent.as_str()).collect();
    let correlation = power.disguised.iter().map(|disguise| disguise.correlation).reduce(f64::max);
    if let Some(correlation) = correlation.filter(|_| blind.is_empty() && judgement.condition == Condition::Holds) {
        let parents = tried.into_iter().collect::<Vec<_>>();
        judgement.said.push(text!("power/parent/disguised", parents, correlation, intervals));
    }
    let mut parts: BTreeSet<&str> = BTreeSet::new();
    // What the parent has nothing for, and what was compared whole and would not have stood out, nothing that is handed over changes.
    let mut beside: BTreeMap<&str, (Vec<&str>, f64)> = BTreeMap::new();
    let mut limits: Vec<Text> = Vec::new();
    for one in blind {
        match one {
            Blind::Stored(reach) => {
                let share = reach.stored.max(reach.matched) as f64 / reach.elements.max(1) as f64;
                parts.insert(&reach.component);
                let (component, parent) = (reach.component.clone(), reach.parent.clone());
                match (share < REACHED, drawn || reach.unnamed > 0) {
                    (true, true) => judgement.missing.push(text!("power/parent/missing", component, parent, share)),
                    (true, false) => {
                        let (components, most) = beside.entry(&reach.parent).or_default();
                        components.push(&reach.component);
                        *most = most.max(share);
                    }
                    (false, _) if drawn => {
                        judgement.missing.push(text!("power/parent/missing-sharper", component, parent));
                    }
                    (false, _) => limits.push(text!("power/parent/sharper-limit", component, parent)),
                }
            }
            // What the search does not find although its matrices are known and read whole, nothing that is handed over makes it find.
            Blind::Disguised(power, components) if !power.class.is_empty() && !drawn => {
                parts.extend(components.iter().map(String::as_str));
                limits.push(text!(
                    "power/parent/disguise-limit",
                    parent = power.parent.clone(),
                    class = power.class.clone(),
                    components = components.clone()
                ));
            }
            Blind::Disguised(power, components) => {
                parts.extend(components.iter().map(String::as_str));
                judgement.missing.push(text!(
                    "power/parent/disguise-missing",
                    parent = power.parent.clone(),
                    class = power.class.clone(),
                    components = components.clone()
                ));
            }
        }
    }
    if !blind.is_empty() && judgement.condition == Condition::Holds {
        judgement.condition = Condition::Untested;
        judgement.said = text!("power/parent/little", parts = parts.into_iter().collect::<Vec<_>>());
    }
    for (parent, (components, share)) in beside {
        // Said once, and of what it is.
        let said_again = |missing: &Text| {
            let of_this = matches!(missing.param("parent"), Some(Param::Word(name)) if name == parent);
            let covered = |one: &Param| matches!(one, Param::Word(name) if components.contains(&name.as_str()));
            let all = || match missing.param("components") {
                Some(Param::List(own)) => own.iter().all(covered),
                _ => false,
            };
            of_this && (missing.key.ends_with("/other-sizes") || missing.key.ends_with("/missing/components") && all())
        };
        judgement.missing.retain(|missing| !said_again(missing));
        limits.push(text!("power/parent/beside-limit", components, parent, share));
    }
    for limit in limits {
        judgement.said.push(limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(class: &str, drawn: bool) -> (Vec<String>, String) {
        let (parent, seen_in) = ("other".to_owned(), Vec::new());
        let power = DisguisePower { parent, class: class.to_owned(), correlation: 1.0, seen_in };
        let mut judgement = Judgement { condition: Condition::Holds, ..Judgement::untested() };
        settle(&mut judgement, &ParentPower::default(), &[Blind::Disguised(power, Vec::new())], 0, drawn);
        assert_eq!(judgement.condition, Condition::Untested);
        (judgement.missing.iter().map(Text::english).collect(), judgement.said.english())
    }

    #[test]
    fn what_the_search_cannot_see_is_a_limit_and_not_for_the_team_to_hand_over() {
        let (missing, said) = told("moved", false);
        assert!(missing.is_empty() && said.contains("layers moved") && said.contains("limit of the tool"), "{said}");
        // A template, or all rows, can be handed over.
        for (class, drawn, wanted) in [("", false, "template"), ("permuted", true, "in another order")] {
            let (missing, said) = told(class, drawn);
            assert!(missing.len() == 1 && missing[0].contains(wanted), "{missing:?}");
            assert!(!said.contains("limit of the tool"), "{said}");
        }
    }
}
