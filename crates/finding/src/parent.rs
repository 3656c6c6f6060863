//! Condition P: no checkpoint, in no component, is nearer to a parent than independent models are (METHODS 2, 2.1, 2.2).

mod added;
mod aligned;
mod basis;
mod calibration;
mod components;
mod copies;
mod disguise;
mod layers;
mod matched_rows;
mod merge;
mod norms;
mod parts;
mod row_angles;
mod shared_seed;
mod tokens;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::{Code, ComponentResult, Condition, Direction, Finding, Grade, Judgement};
use aligned::{not_comparable, silence, similarities, tested};
use calibration::{calibrate, calibrated, relatives};
use components::{borrowed, components};
use norms::norms;
use parts::{Controls, Tested, demanded, part_of, unreached};
use scratchproof_case::Policy;
use scratchproof_evidence::{
    AngleRow, CalibrationRow, CkaRow, ComponentRow, DisguiseRow, LayerMapRow, LineRow, MatchedRow, MergeRow,
    PartialRow, Reference, TokenizerRow,
};
use scratchproof_measurements::ALL;
use scratchproof_texts::{Text, text};

pub use parts::{Part, Unfit, Unreached};

pub use copies::{Cast, CopyFigure, ranges};

/// The null that the aligned tests are held against.
fn null() -> Text {
    text!("parent/null/relabelling")
}

/// What was measured of parents and controls.
pub struct ParentFacts<'a> {
    /// Names of the candidate parents.
    pub parents: Vec<&'a str>,
    /// Names of the controls.
    pub controls: Vec<&'a str>,
    /// All components of the subject, also those that nothing was compared in.
    pub components: Vec<String>,
    /// The language model and the towers, each with a residual axis of its own.
    pub parts: &'a [Part],
    /// Every checkpoint against every reference.
    pub figures: &'a [ComponentRow],
    /// Parents against controls and against disturbed copies of themselves.
    pub calibration: &'a [CalibrationRow],
    /// Similarity to the parents given the start.
    pub partial: &'a [PartialRow],
    /// The search for a disguise in the final checkpoint.
    pub disguise: &'a [DisguiseRow],
    /// The same in what was added between neighbouring checkpoints.
    pub added: &'a [DisguiseRow],
    /// By parent, how it is written in the subject's coordinates, where a disguise was found.
    pub disguises: BTreeMap<String, Vec<Text>>,
    /// Parents of which the search could look at nothing: in another order or basis they would have gone unseen.
    pub unsearched: &'a BTreeSet<String>,
    /// Parents and the components of which too much has no axis along which the two could be held against each other.
    pub partly: &'a BTreeSet<(String, String)>,
    /// By parent, how its residual axis is read where a disguise was found: `permuted` or `rotated`.
    pub frames: BTreeMap<String, String>,
    /// The final checkpoint as a weighted sum of the parents.
    pub merge: &'a [MergeRow],
    /// Layers of the final checkpoint against layers of every parent and control.
    pub layer_map: &'a [LayerMapRow],
    /// Component of every family in the layer maps.
    pub families: &'a [(String, String)],
    /// Tensors equal to the parent's bit for bit.
    pub equal: &'a [EqualTensor],
    /// First and final checkpoint against parents and controls, row by row.
    pub copies: &'a [CopyFigure],
    /// Rows and columns of the first and the final checkpoint that a parent has somewhere.
    pub lines: &'a [LineRow],
    /// Rows of those that two matchings find in another place of a parent or control.
    pub matched: &'a [MatchedRow],
    /// Angles between rows of MLP matrices of those and of parents and controls.
    pub angles: &'a [AngleRow],
    /// Norm weights: parent, mean raw cosine, mean Pearson, tensors.
    pub norms: &'a [NormFigure],
    /// The subject's tokenizer against the references'.
    pub tokenizers: &'a [TokenizerRow],
    /// Attention after alignment through shared tokens.
    pub cka: &'a [CkaRow],
    /// Steps of the first and the last checkpoint.
    pub steps: (i64, i64),
    /// Parents that were public before the run began, by the run's own clock.
    pub earlier: &'a [String],
    /// Whether the first checkpoint is step 0 and a clean draw, component by component.
    pub clean_start: &'a BTreeSet<String>,
    /// Whether the start is, bit for bit, what its declared seed draws.
    pub drawn_again: bool,
    /// Parents and controls whose silence says nothing.
    pub unfit: &'a [Unfit],
    /// Shares of the final checkpoint's bytes that no test can reach, and why.
    pub unreached: &'a [(Unreached, f64)],
}

impl ParentFacts<'_> {
    /// Controls whose silence says something. Of the others it is said why they are not, and not that they could not be compared.
    fn fit_controls(&self) -> Vec<&str> {
        self.controls.iter().copied().filter(|control| !self.is_unfit(control)).collect()
    }

    /// Whether the silence of a parent or control says nothing.
    fn is_unfit(&self, model: &str) -> bool {
        self.unfit.iter().any(|unfit| unfit.model == model)
    }
}

/// A tensor of a checkpoint that equals a parent's, value by value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct EqualTensor {
    pub parent: String,
    pub tensor: String,
    pub component: String,
    pub layer: Option<u32>,
    pub step: i64,
    pub elements: u64,
    /// Whether it never changed since the first checkpoint.
    pub untouched: bool,
    /// Controls that have it too.
    pub controls: Vec<String>,
    /// Whether what it is for was deduced, and not known by its name.
    pub deduced: bool,
    /// Its share of the subject's elements.
    pub share: f64,
}

/// Raw cosine of norm weights beside the centred figure.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct NormFigure {
    pub reference: Reference,
    pub cosine: f64,
    pub pearson: Option<f64>,
    pub tensors: u64,
}

/// The grade of a similarity (METHODS 7); `None` where it is what independent models show.
fn grade(log10_p: f64, effect: f64, policy: &Policy) -> Option<Grade> {
    // A table of a parent times -1 is the parent's.
    let effect = effect.abs();
    if log10_p <= policy.conclusive_log10_p && effect >= policy.conclusive_effect {
        Some(Grade::Conclusive)
    } else if log10_p <= policy.strong_log10_p && effect >= policy.strong_effect {
        Some(Grade::Strong)
    } else if log10_p <= policy.moderate_log10_p {
        Some(Grade::Moderate)
    } else {
        None
    }
}

/// Judges the parents.
#[must_use]
#[allow(clippy::too_many_lines, reason = "one test after the other, in the order in which they rest on each other")]
pub fn judge(facts: &ParentFacts<'_>, policy: &Policy) -> (Judgement, Vec<ComponentResult>) {
    let mut judgement = Judgement::untested();
    if facts.parents.is_empty() {
        judgement.missing.push(text!("parent/missing/parent"));
        judgement.said = text!("power/parent/none");
        let controls = Controls::new(facts, &[], BTreeSet::new());
        return (judgement, components(facts, policy, &[], &[], &controls));
    }
    let parent_tests = tested(facts.figures, |r| matches!(r, Reference::Parent(_)));
    let control_tests = tested(facts.figures, |r| matches!(r, Reference::Control(_)));
    let aside = calibrate(&mut judgement, facts, &control_tests, policy);
    let controls = Controls::new(facts, &control_tests, aside);
    let mut seeds = shared_seed::find(&mut judgement, facts, &parent_tests, policy);
    seeds.extend(shared_seed::disguised(&mut judgement, facts, &seeds, policy));
    let parts_of_seeds = shared_seed::parts(&mut judgement, facts, &parent_tests, &seeds, policy);
    let relabelled_tests = tested(facts.figures, |r| matches!(r, Reference::Relabelled(_)));
    let mut silent = Vec::new();
    let mut wanted = BTreeSet::new();
    let mut tested_all = true;
    for &parent in &facts.parents {
        let own: Vec<&Tested> =
            parent_tests.iter().filter(|t| t.row.reference == Reference::Parent(parent.to_owned())).collect();
        let parts = demanded(facts, parent, &own);
        let lacks = |part: &String| !own.iter().any(|t| part_of(facts, &t.row.component) == part);
        if let Some(row) = basis::fingerprint(facts, parent) {
            basis::chosen_rows(&mut judgement, facts, parent, row, seeds.contains(parent), policy);
            tested_all = false;
        } else if parts.iter().any(lacks)
            && !relabelled_tests.iter().any(|t| parent_of(&t.row.reference) == Some(parent))
        {
            not_comparable(&mut judgement, facts, parent, own.is_empty());
            tested_all = false;
        }
        wanted.extend(parts);
        let before = judgement.findings.len();
        let found = disguise::findings(&mut judgement, facts, parent, &controls, seeds.contains(parent), policy);
        let added = added::findings(&mut judgement, facts, parent, &controls, seeds.contains(parent), policy);
        let by_heads = basis::findings(&mut judgement, facts, parent, &controls, seeds.contains(parent), policy);
        if by_heads.is_none() && !added {
            basis::silent(&mut judgement, facts, parent, policy);
        }
        let found = found.max(by_heads);
        disguise::re_expressed(&mut judgement, facts, parent, &relabelled_tests, found, policy);
        // A common start is the language model's; a tower shares it only if it did so from the first.
        let seeded = |part: &str| {
            let from_first =
                |t: &&Tested| t.row.step == facts.steps.0 && t.row.component == part && t.grade(policy).is_some();
            seeds.contains(parent) && (part == ALL || own.iter().copied().any(|t| from_first(&t)))
        };
        let common = |component: &str| {
            seeded(part_of(facts, component)) || parts_of_seeds.contains(&(parent.to_owned(), component.to_owned()))
        };
        similarities(&mut judgement, facts, parent, &own, &controls, &common, policy);
        for part in facts.parts {
            layers::findings(&mut judgement, facts, part, parent, &controls, (seeded(&part.name), found), policy);
        }
        let seeded = seeds.contains(parent);
        copies::tensors(&mut judgement, facts, parent, &controls, &control_tests, seeded, policy);
        copies::rows(&mut judgement, facts, parent, &controls, seeded, policy);
        copies::lines(&mut judgement, facts, parent, seeded);
        copies::eight_bits(&mut judgement, facts, parent, &controls, seeded);
        copies::proportional(&mut judgement, facts, parent, &controls, seeded, policy);
        matched_rows::findings(&mut judgement, facts, parent, &controls, seeded, policy);
        row_angles::findings(&mut judgement, facts, parent, &controls, seeded, policy);
        for component in &facts.components {
            let here = |f: &Finding| {
                f.subject.parent.as_deref() == Some(parent)
                    && f.subject.component.as_ref().is_none_or(|own| own == component)
            };
            // Of one start or one lineage the parent may be the subject's own child.
            let open = judgement.findings.iter().filter(|f| here(f)).any(|f| {
                matches!(f.code, Code::ParentSharedSeed | Code::ParentLineage)
                    || f.direction == Direction::Against
                        && f.grade >= Grade::Strong
                        && f.subject.component.as_ref() == Some(component)
            });
            if !open {
                layers::of_one(&mut judgement, facts, parent, component, &controls, policy);
            }
        }
        // Heads taken together are silent where a few of many are the parent's: then nothing is said for the rest.
        let of_attention = |f: &Finding| {
            f.direction == Direction::Against
                && f.grade >= Grade::Moderate
                && f.subject.component.as_deref() == Some("attention")
        };
        if judgement.findings[before..].iter().any(of_attention) {
            judgement
                .findings
                .retain(|f| f.code != Code::ParentHeadsSilent || f.subject.parent.as_deref() != Some(parent));
        }
        let spoken: BTreeSet<String> = judgement.findings[before..]
            .iter()
            .filter(|f| f.code != Code::ParentHeadsSilent)
            .map(|f| f.subject.component.as_deref().map_or(ALL, |c| part_of(facts, c)).to_owned())
            .collect();
        silent.extend(own.into_iter().filter(|t| !spoken.contains(part_of(facts, &t.row.component))));
    }
    for part in facts.parts {
        layers::itself(&mut judgement, facts, part, policy);
    }
    unreached(&mut judgement, facts, &parent_tests, &controls);
    merge::find(&mut judgement, facts, controls.uncalibrated(ALL), &seeds, policy);
    let enough = silence(&mut judgement, facts, &silent, policy);
    norms(&mut judgement, facts);
    tokens::findings(&mut judgement, facts, controls.uncalibrated(ALL), |parent| seeds.contains(parent), policy);
    let calibrated = calibrated(&mut judgement, facts, &controls, &wanted);
    // The accused makes the files: weights that no test can reach are not cleared by the rest.
    let unreached: f64 = facts.unreached.iter().map(|(_, share)| share).sum();
    let reached = unreached <= policy.unreached_share;
    if !reached {
        judgement.missing.push(text!(
            "parent/missing/reach",
            share = unreached,
            allowed = policy.unreached_share,
            why = facts.unreached.iter().map(|(why, share)| why.words(*share)).collect::<Vec<_>>()
        ));
    }
    judgement.said = said(facts, &parent_tests, &controls, |parent| seeds.contains(parent));
    for unfit in facts.unfit {
        let parent = facts.parents.contains(&unfit.model.as_str());
        judgement.missing.push(text!(
            "power/parent/unfit",
            model = &unfit.model,
            parent,
            same = unfit.same_as.as_ref()
        ));
        tested_all &= !parent;
    }
    for (control, z, effect) in relatives(&control_tests, policy) {
        judgement.missing.push(text!("parent/missing/relative", control, z, effect));
        tested_all = false;
    }
    let silent_all = reached && tested_all && enough && calibrated;
    judgement.settle(if silent_all { Condition::Holds } else { Condition::Untested });
    let all: Vec<Tested> = parent_tests.into_iter().chain(relabelled_tests).collect();
    let results = components(facts, policy, &all, &judgement.findings, &controls);
    borrowed(&mut judgement, facts, &results);
    (judgement, results)
}

/// What the parents were tested in, with which controls, and which of them share the subject's seed.
fn said(facts: &ParentFacts<'_>, tests: &[Tested<'_>], controls: &Controls, seeded: impl Fn(&str) -> bool) -> Text {
    let told = facts.parents.iter().map(|&parent| {
        let of = |t: &&Tested<'_>| parent_of(&t.row.reference) == Some(parent) && t.row.component != ALL;
        let components: BTreeSet<&str> = tests.iter().filter(of).map(|t| t.row.component.as_str()).collect();
        text!("power/parent/of", parent, components = components.into_iter().collect::<Vec<_>>())
    });
    let usable: Vec<&str> = facts.controls.iter().copied().filter(|c| controls.unrelated(c)).collect();
    let seeds: Vec<&str> = facts.parents.iter().copied().filter(|parent| seeded(parent)).collect();
    text!("power/parent/tested", parents = told.collect::<Vec<_>>(), controls = usable, seeds)
}

/// Whether nothing of a parent could be compared, so that nothing was tested against it.
#[must_use]
pub fn untested(findings: &[Finding], parent: &str) -> bool {
    let mut own = findings.iter().filter(|f| f.subject.parent.as_deref() == Some(parent));
    let lacks = |f: &Finding| f.code == Code::ParentNotComparable && f.subject.component.is_none();
    own.clone().any(lacks) && !own.any(|f| f.direction == Direction::Against)
}

/// The components in which answers to a search for `parent` are at moderate or above; [`ALL`] where the whole model is shown.
#[must_use]
pub fn shown(rows: &[DisguiseRow], parent: &str, policy: &Policy) -> BTreeSet<String> {
    let reference = Reference::Parent(parent.to_owned());
    let mut shown = disguise::shown(rows, &reference, policy);
    if basis::speaks(rows, &reference, policy) {
        shown.insert("attention".to_owned());
    }
    shown
}

/// Whether a finding holds a component, or the whole, against the subject as this parent's already.
fn shown_by_now(judgement: &Judgement, parent: &str, component: &str) -> bool {
    judgement.findings.iter().any(|f| {
        f.direction == Direction::Against
            && f.grade >= Grade::Strong
            && f.subject.parent.as_deref() == Some(parent)
            && f.subject.component.as_ref().is_none_or(|own| own == component)
    })
}

fn parent_of(reference: &Reference) -> Option<&str> {
    match reference {
        Reference::Parent(name) | Reference::Relabelled(name) => Some(name),
        _ => None,
    }
}
