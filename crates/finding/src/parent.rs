//! Condition P: no checkpoint, in no component, is nearer to a parent than independent models are (METHODS 2, 2.1, 2.2).

mod copies;
mod disguise;
mod layers;
mod merge;
mod parts;
mod shared_seed;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};

use super::{Code, ComponentOutcome, ComponentResult, Condition, Direction, Finding, Grade, Judgement, Subject};
use parts::{Controls, alias, demanded, frozen, named, part_of, unreached};
use scratchproof_case::Policy;
use scratchproof_evidence::{
    CalibrationRow, CkaRow, ComponentRow, DisguiseRow, LayerMapRow, MergeRow, PartialRow, Reference, TokenizerRow,
};
use scratchproof_measurements::ALL;
use scratchproof_stats::{Aligned, holm};
use scratchproof_texts::{Param, Text, text};

pub use parts::Part;

pub use copies::{Cast, CopyFigure, ranges};

/// The null that the aligned tests are held against.
const NULL: Text = Text::new("parent/null/relabelling");

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
    /// The search for a disguise.
    pub disguise: &'a [DisguiseRow],
    /// By parent, how it is written in the subject's coordinates, where a disguise was found.
    pub disguises: BTreeMap<String, Vec<Text>>,
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
    /// Share of the final checkpoint's bytes that no test can reach.
    pub unreached_share: f64,
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

/// One component against one reference at one step, after multiplicity.
#[derive(Clone, Debug)]
struct Tested<'a> {
    row: &'a ComponentRow,
    z: f64,
    effect: f64,
    log10_p: f64,
}

impl Tested<'_> {
    fn grade(&self, policy: &Policy) -> Option<Grade> {
        grade(self.log10_p, self.effect, policy)
    }

    /// The effect that would have been graded moderate on these rows.
    fn detectable(&self, policy: &Policy) -> f64 {
        Aligned { z: self.z, log10_p: self.log10_p, effect: self.effect }.detectable(policy.moderate_log10_p)
    }
}

/// The grade of a similarity (METHODS 7); `None` where it is what independent models show.
fn grade(log10_p: f64, effect: f64, policy: &Policy) -> Option<Grade> {
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
pub fn judge(facts: &ParentFacts<'_>, policy: &Policy) -> (Judgement, Vec<ComponentResult>) {
    let mut judgement = Judgement::untested();
    if facts.parents.is_empty() {
        judgement.missing.push(text!("parent/missing/parent"));
        let controls = Controls::new(facts, &[], BTreeSet::new());
        return (judgement, components(facts, policy, &[], &[], &controls));
    }
    let parent_tests = tested(facts.figures, |r| matches!(r, Reference::Parent(_)));
    let control_tests = tested(facts.figures, |r| matches!(r, Reference::Control(_)));
    let aside = calibrate(&mut judgement, facts, &control_tests, policy);
    let controls = Controls::new(facts, &control_tests, aside);
    let seeds = shared_seed::find(&mut judgement, facts, &parent_tests, policy);
    let relabelled_tests = tested(facts.figures, |r| matches!(r, Reference::Relabelled(_)));
    let mut silent = Vec::new();
    let mut wanted = BTreeSet::new();
    let mut tested_all = true;
    for &parent in &facts.parents {
        let own: Vec<&Tested> =
            parent_tests.iter().filter(|t| t.row.reference == Reference::Parent(parent.to_owned())).collect();
        let parts = demanded(facts, parent, &own);
        let lacks = |part: &String| !own.iter().any(|t| part_of(facts, &t.row.component) == part);
        if parts.iter().any(lacks) && !relabelled_tests.iter().any(|t| parent_of(&t.row.reference) == Some(parent)) {
            not_comparable(&mut judgement, facts, parent, own.is_empty());
            tested_all = false;
        }
        wanted.extend(parts);
        let before = judgement.findings.len();
        let found = disguise::findings(&mut judgement, facts, parent, &controls, seeds.contains(parent), policy);
        disguise::re_expressed(&mut judgement, facts, parent, &relabelled_tests, found, policy);
        // A common start is the language model's; a tower shares it only if it did so from the first.
        let seeded = |part: &str| {
            let from_first =
                |t: &&Tested| t.row.step == facts.steps.0 && t.row.component == part && t.grade(policy).is_some();
            seeds.contains(parent) && (part == ALL || own.iter().copied().any(|t| from_first(&t)))
        };
        similarities(&mut judgement, facts, parent, &own, &controls, &seeded, policy);
        for part in facts.parts {
            layers::findings(&mut judgement, facts, part, parent, &controls, (seeded(&part.name), found), policy);
        }
        let seeded = seeds.contains(parent);
        copies::tensors(&mut judgement, facts, parent, &controls, seeded);
        copies::rows(&mut judgement, facts, parent, &controls, seeded, policy);
        copies::eight_bits(&mut judgement, facts, parent, &controls, seeded);
        copies::proportional(&mut judgement, facts, parent, &controls, seeded, policy);
        let spoken: BTreeSet<String> = judgement.findings[before..]
            .iter()
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
    let reached = facts.unreached_share <= policy.unreached_share;
    if !reached {
        judgement.missing.push(text!(
            "parent/missing/reach",
            share = facts.unreached_share,
            allowed = policy.unreached_share
        ));
    }
    let silent_all = reached && tested_all && enough && calibrated;
    judgement.settle(if silent_all { Condition::Holds } else { Condition::Untested });
    let all: Vec<Tested> = parent_tests.into_iter().chain(relabelled_tests).collect();
    let results = components(facts, policy, &all, &judgement.findings, &controls);
    borrowed(&mut judgement, facts, &results);
    (judgement, results)
}

/// All tests against one kind of reference as one family: Holm over components, steps and references.
fn tested(rows: &[ComponentRow], of: impl Fn(&Reference) -> bool) -> Vec<Tested<'_>> {
    let rows: Vec<&ComponentRow> = rows.iter().filter(|r| of(&r.reference)).collect();
    let adjusted = holm(&rows.iter().map(|r| r.log10_p).collect::<Vec<_>>());
    rows.into_iter()
        .zip(adjusted)
        .filter_map(|(row, log10_p)| Some(Tested { row, z: row.z?, effect: row.effect?, log10_p: log10_p? }))
        .collect()
}

/// Sets aside the controls that fire in a part: they are no strangers to the subject or to a parent. Returns control and
/// part.
fn calibrate(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    controls: &[Tested<'_>],
    policy: &Policy,
) -> BTreeSet<(String, String)> {
    let mut aside = BTreeSet::new();
    let mut fire = |control: &str, component: &str, who: Text, z: f64, log10_p: f64, effect: f64, rows: u64| {
        let part = part_of(facts, component);
        if !aside.insert((control.to_owned(), part.to_owned())) {
            return;
        }
        judgement.missing.push(text!(
            "parent/missing/stranger",
            control,
            part = Some(part).filter(|part| *part != ALL)
        ));
        let message =
            who.with("control", control).with("what", named(facts, component)).with("z", z).with("effect", effect);
        let mut finding = Finding::new(Code::ParentUncalibrated, Grade::Context, Direction::Neutral, message);
        finding.subject.component = Some(component.to_owned());
        finding.statistic = Some(z);
        finding.log10_p = Some(log10_p);
        finding.effect = Some(effect);
        finding.n = Some(rows);
        finding.null = NULL;
        finding.evidence = Some("evidence/calibration.parquet".into());
        judgement.push(finding);
    };
    for test in controls {
        if let Reference::Control(control) = &test.row.reference
            && test.grade(policy).is_some()
            && test.effect >= policy.strong_effect
        {
            let who = text!("parent/uncalibrated/subject", step = test.row.step);
            fire(control, &test.row.component, who, test.z, test.log10_p, test.effect, test.row.rows);
        }
    }
    let strangers: Vec<&CalibrationRow> =
        facts.calibration.iter().filter(|row| row.against.starts_with("control:")).collect();
    let adjusted = holm(&strangers.iter().map(|row| row.log10_p).collect::<Vec<_>>());
    for (row, log10_p) in strangers.into_iter().zip(adjusted) {
        if let (Some(control), Some(z), Some(effect), Some(log10_p)) =
            (row.against.strip_prefix("control:"), row.z, row.effect, log10_p)
            && log10_p <= policy.moderate_log10_p
            && effect >= policy.strong_effect
        {
            let who = text!("parent/uncalibrated/model", model = &row.model);
            fire(control, &row.component, who, z, log10_p, effect, row.rows);
        }
    }
    let mut numb = BTreeSet::new();
    for row in facts.calibration.iter().filter(|row| row.against == "perturbed" && row.component == ALL) {
        if row.log10_p.is_none_or(|p| p > policy.strong_log10_p) && numb.insert(&row.model) {
            judgement.missing.push(text!("parent/missing/sensitive", model = &row.model));
        }
    }
    aside
}

/// Whether every part whose silence clears a parent has a control whose figures stand beside the parents'.
fn calibrated(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    controls: &Controls,
    wanted: &BTreeSet<String>,
) -> bool {
    let positive = facts
        .parents
        .iter()
        .all(|p| facts.calibration.iter().any(|row| row.against == "perturbed" && row.model == format!("parent:{p}")));
    if facts.controls.is_empty() {
        judgement.missing.push(text!("parent/missing/control"));
        return false;
    }
    if wanted.contains(ALL) && !controls.usable(ALL) && !controls.uncalibrated(ALL) {
        judgement.missing.push(text!("parent/missing/comparable-control", controls = facts.controls.clone()));
    }
    positive && wanted.iter().all(|part| controls.usable(part))
}

fn not_comparable(judgement: &mut Judgement, facts: &ParentFacts<'_>, parent: &str, entirely: bool) {
    let message = if entirely {
        text!("parent/not-comparable/nothing", parent)
    } else {
        text!("parent/not-comparable/language-model", parent)
    };
    let mut finding = Finding::new(Code::ParentNotComparable, Grade::Context, Direction::Neutral, message);
    finding.subject.parent = Some(parent.to_owned());
    judgement.push(finding);
    let language_model = facts.parts.len() > 1 && !entirely;
    judgement.missing.push(text!("parent/missing/other-sizes", parent, language_model));
}

/// One finding for each component that is nearer to the parent than the null allows, at the step where it is nearest.
fn similarities(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    own: &[&Tested<'_>],
    controls: &Controls,
    seeded: &dyn Fn(&str) -> bool,
    policy: &Policy,
) {
    let components: BTreeSet<&str> = own.iter().map(|t| t.row.component.as_str()).collect();
    for component in components {
        let tests: Vec<_> = own.iter().filter(|t| t.row.component == component).collect();
        let fired: Vec<_> = tests.iter().filter(|t| t.grade(policy).is_some()).collect();
        let Some(nearest) = fired.iter().max_by(|a, b| nearness(a, policy).total_cmp(&nearness(b, policy))) else {
            continue;
        };
        let mut grade = fired.iter().filter_map(|t| t.grade(policy)).max().unwrap_or(Grade::Moderate);
        let last = tests.iter().find(|t| t.row.step == facts.steps.1);
        let single = facts.steps.0 == facts.steps.1;
        let course = if single {
            text!("parent/aligned-similarity/single")
        } else {
            text!(
                "parent/aligned-similarity/series",
                fired = fired.len(),
                of = tests.len(),
                step = nearest.row.step,
                last = facts.steps.1,
                last_z = last.map(|t| t.z),
                last_effect = last.map(|t| t.effect)
            )
        };
        let mut message = course
            .with("what", named(facts, component))
            .with("parent", alias(facts, component, parent))
            .with("z", nearest.z)
            .with("effect", nearest.effect);
        if let Some(frozen) = frozen(facts, component, parent) {
            message.push(frozen);
        }
        let mut direction = Direction::Against;
        let part = part_of(facts, component);
        if seeded(part) {
            (grade, direction) = (Grade::Context, Direction::Neutral);
            message.push(text!("parent/note/seeded"));
        } else if controls.uncalibrated(part) {
            (grade, direction) = (Grade::Context, Direction::Neutral);
            message.push(text!("parent/note/every-control-fires"));
        } else if grade == Grade::Conclusive
            && let Some(lacking) = controls.lacking(facts, part)
        {
            grade = Grade::Strong;
            message.push(lacking);
        }
        let mut finding = Finding::new(Code::ParentSimilarity, grade, direction, message);
        finding.subject = Subject {
            component: Some(component.to_owned()),
            parent: Some(parent.to_owned()),
            steps: fired.iter().map(|t| t.row.step).collect(),
            ..Subject::default()
        };
        finding.statistic = Some(nearest.z);
        finding.log10_p = Some(nearest.log10_p);
        finding.effect = Some(nearest.effect);
        finding.n = Some(nearest.row.rows * nearest.row.columns);
        finding.null = NULL;
        finding.evidence = Some("evidence/components.parquet".into());
        judgement.push(finding);
    }
}

/// Orders tests by how near they are: the grade first, then the correlation.
fn nearness(test: &Tested<'_>, policy: &Policy) -> f64 {
    test.effect + test.grade(policy).map_or(0.0, |grade| 10.0 * f64::from(grade as u8))
}

/// The findings that support the claim, one for each parent and part; `false` if too little could be seen to say
/// anything.
fn silence(judgement: &mut Judgement, facts: &ParentFacts<'_>, silent: &[&Tested<'_>], policy: &Policy) -> bool {
    let parents: BTreeSet<(&str, &str)> =
        silent.iter().filter_map(|t| Some((parent_of(&t.row.reference)?, part_of(facts, &t.row.component)))).collect();
    let towers: BTreeSet<&str> = facts.parts.iter().map(|part| part.name.as_str()).collect();
    let mut enough = true;
    for (parent, part) in parents {
        let here =
            |t: &&&Tested| parent_of(&t.row.reference) == Some(parent) && part_of(facts, &t.row.component) == part;
        let own: Vec<_> = silent.iter().filter(here).collect();
        let Some(whole) = own.iter().filter(|t| t.row.component == part).max_by(|a, b| a.z.total_cmp(&b.z)) else {
            enough = false;
            judgement.missing.push(text!("parent/missing/whole", parent));
            continue;
        };
        let detectable = whole.detectable(policy);
        let tested: BTreeSet<&str> = own.iter().map(|t| t.row.component.as_str()).filter(|c| *c != ALL).collect();
        let components = facts.components.iter().map(String::as_str).filter(|c| part == ALL && !towers.contains(c));
        let untested: Vec<&str> = components.filter(|c| !tested.contains(c) && *c != "norms").collect();
        if detectable > policy.detectable_effect {
            // A tower too small to be seen clears nobody, unless it is so small that nothing depends on it.
            let share = facts.parts.iter().find(|p| p.name == part).map_or(1.0, |p| p.share);
            enough &= part != ALL && share <= policy.unreached_share;
            judgement.missing.push(text!(
                "parent/missing/sharper",
                part = Some(part).filter(|part| *part != ALL),
                parent,
                detectable,
                policy = policy.detectable_effect
            ));
        }
        if !untested.is_empty() {
            judgement.missing.push(text!("parent/missing/components", components = untested, parent));
        }
        let mut finding = Finding::new(
            Code::ParentSilent,
            if detectable > policy.detectable_effect { Grade::Weak } else { Grade::Strong },
            Direction::For,
            text!(
                "parent/no-similarity/silent",
                checkpoints = own.iter().filter(|t| t.row.component == part).count(),
                what = named(facts, part),
                parent = alias(facts, part, parent),
                z = whole.z,
                effect = whole.effect,
                log10_p = whole.log10_p,
                detectable,
                tested = tested.into_iter().collect::<Vec<_>>()
            ),
        );
        finding.subject.parent = Some(parent.to_owned());
        finding.subject.component = (part != ALL).then(|| part.to_owned());
        finding.statistic = Some(whole.z);
        finding.log10_p = Some(whole.log10_p);
        finding.effect = Some(whole.effect);
        finding.n = Some(whole.row.rows * whole.row.columns);
        finding.null = NULL;
        finding.evidence = Some("evidence/components.parquet".into());
        judgement.push(finding);
    }
    enough
}

/// The figure the public dispute was argued with, beside the one that means something.
fn norms(judgement: &mut Judgement, facts: &ParentFacts<'_>) {
    let figure = |n: &NormFigure| {
        text!("parent/norm-cosine/figure", model = n.reference.to_string(), cosine = n.cosine, pearson = n.pearson)
    };
    let Some(parent) = facts.norms.iter().find(|n| matches!(n.reference, Reference::Parent(_))) else { return };
    let figures: Vec<Text> = facts.norms.iter().map(figure).collect();
    let message = text!("parent/norm-cosine/mean", figures);
    let mut finding = Finding::new(Code::ParentNormCosine, Grade::Context, Direction::Neutral, message);
    finding.subject.component = Some("norms".into());
    finding.statistic = Some(parent.cosine);
    finding.effect = parent.pearson;
    finding.n = Some(parent.tensors);
    finding.null = text!("parent/null/norm-cosine");
    finding.evidence = Some("evidence/trajectory.parquet".into());
    judgement.push(finding);
}

/// Where a part of the subject is a parent's and another part is not: which, in one sentence for each parent.
fn borrowed(judgement: &mut Judgement, facts: &ParentFacts<'_>, results: &[ComponentResult]) {
    let own: Vec<&str> =
        results.iter().filter(|c| c.outcome == ComponentOutcome::Independent).map(|c| c.name.as_str()).collect();
    let depth: BTreeSet<u32> = facts.layer_map.iter().map(|cell| cell.layer_subject).collect();
    for &parent in &facts.parents {
        let taken: Vec<&ComponentResult> = results
            .iter()
            .filter(|c| c.outcome == ComponentOutcome::Derived && c.parent.as_deref() == Some(parent))
            .collect();
        let partly = |c: &ComponentResult| !c.layers.is_empty() && c.layers.len() < depth.len();
        if taken.is_empty() || own.is_empty() && !taken.iter().copied().any(partly) {
            continue;
        }
        let told: Vec<Param> = taken
            .iter()
            .map(|c| match &c.layers[..] {
                [] => Param::from(&c.name),
                layers => text!("parent/borrowed/layers", component = &c.name, layers).into(),
            })
            .collect();
        let message = text!("parent/borrowed/parts", parent, taken = told, own = own.clone());
        let mut finding = Finding::new(Code::ParentBorrowed, Grade::Context, Direction::Against, message);
        finding.subject.parent = Some(parent.to_owned());
        finding.null = text!("parent/null/summary");
        judgement.push(finding);
    }
}

/// Every component of the subject against the parent it is nearest to.
fn components(
    facts: &ParentFacts<'_>,
    policy: &Policy,
    tests: &[Tested<'_>],
    findings: &[Finding],
    controls: &Controls,
) -> Vec<ComponentResult> {
    facts
        .components
        .iter()
        .map(|name| {
            let counted = |f: &&Finding| {
                f.direction == Direction::Against
                    && f.grade >= Grade::Strong
                    && f.subject.component.as_deref() == Some(name)
            };
            let derived = findings.iter().filter(counted).max_by(|a, b| {
                a.grade.cmp(&b.grade).then(a.statistic.unwrap_or(0.0).total_cmp(&b.statistic.unwrap_or(0.0)))
            });
            let nearest = tests
                .iter()
                .filter(|t| t.row.component == *name)
                .filter(|t| derived.is_none_or(|f| f.subject.parent.as_deref() == parent_of(&t.row.reference)))
                .max_by(|a, b| nearness(a, policy).total_cmp(&nearness(b, policy)));
            let seeded = |parent: Option<&str>| {
                findings.iter().any(|f| f.code == Code::ParentSharedSeed && f.subject.parent.as_deref() == parent)
            };
            // One layer of many is lost in the sum over them.
            let by_layer = facts.parents.iter().copied().find(|parent| {
                derived.is_none() && !seeded(Some(parent)) && layers::derived(facts, parent, name, controls, policy)
            });
            let near = nearest.and_then(|t| parent_of(&t.row.reference));
            let seeded = seeded(near);
            // Whatever names the component and weighs something keeps it from being cleared.
            let doubted = |name: &String| {
                findings.iter().any(|f| {
                    f.direction == Direction::Against
                        && f.grade >= Grade::Moderate
                        && f.subject.component.as_ref() == Some(name)
                })
            };
            let outcome = match (derived, nearest) {
                (Some(_), _) => ComponentOutcome::Derived,
                _ if by_layer.is_some() => ComponentOutcome::Derived,
                // Nothing stands beside the figures of a tower that no control reaches.
                (None, Some(_)) if part_of(facts, name) != ALL && !controls.usable(name) => {
                    ComponentOutcome::Undetermined
                }
                (None, _) if !seeded && doubted(name) => ComponentOutcome::Undetermined,
                (None, Some(test))
                    if seeded
                        || (test.grade(policy).is_none() && test.detectable(policy) <= policy.detectable_effect) =>
                {
                    ComponentOutcome::Independent
                }
                _ => ComponentOutcome::Undetermined,
            };
            let parent = derived
                .and_then(|f| f.subject.parent.clone())
                .or_else(|| by_layer.map(str::to_owned))
                .or_else(|| nearest.and_then(|t| parent_of(&t.row.reference).map(str::to_owned)));
            let layers = if outcome == ComponentOutcome::Derived {
                parent.as_deref().map_or(Vec::new(), |parent| layers::of_component(facts, parent, name, policy))
            } else {
                Vec::new()
            };
            ComponentResult {
                name: name.clone(),
                outcome,
                parent,
                z: nearest.map(|t| t.z),
                log10_p: nearest.map(|t| t.log10_p),
                effect: nearest.map(|t| t.effect),
                layers,
            }
        })
        .collect()
}

fn parent_of(reference: &Reference) -> Option<&str> {
    match reference {
        Reference::Parent(name) | Reference::Relabelled(name) => Some(name),
        _ => None,
    }
}
