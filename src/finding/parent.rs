//! Condition P: no checkpoint, in no component, is nearer to a parent than independent models are (METHODS 2, 2.1, 2.2).

mod layers;
mod merge;
mod shared_seed;

use std::collections::BTreeSet;

use super::{Code, ComponentOutcome, ComponentResult, Condition, Direction, Finding, Grade, Judgement, Subject};
use crate::case::Policy;
use crate::evidence::{CalibrationRow, ComponentRow, LayerMapRow, MergeRow, PartialRow, Reference};
use crate::plan::ALL;
use crate::stats::{Aligned, holm};

/// The null that the aligned tests are held against.
const NULL: &str = "relabelling of the residual axis: exact mean 0 and variance 1 for any two independent models";

/// What was measured of parents and controls.
pub struct ParentFacts<'a> {
    /// Names of the candidate parents.
    pub parents: Vec<&'a str>,
    /// Names of the controls.
    pub controls: Vec<&'a str>,
    /// All components of the subject, also those that nothing was compared in.
    pub components: Vec<String>,
    /// Every checkpoint against every reference.
    pub figures: &'a [ComponentRow],
    /// Parents against controls and against disturbed copies of themselves.
    pub calibration: &'a [CalibrationRow],
    /// Similarity to the parents given the start.
    pub partial: &'a [PartialRow],
    /// The final checkpoint as a weighted sum of the parents.
    pub merge: &'a [MergeRow],
    /// Layers of the final checkpoint against layers of every parent and control.
    pub layer_map: &'a [LayerMapRow],
    /// Component of every family in the layer maps.
    pub families: &'a [(String, String)],
    /// Tensors equal to the parent's bit for bit.
    pub equal: &'a [EqualTensor],
    /// Norm weights: parent, mean raw cosine, mean Pearson, tensors.
    pub norms: &'a [NormFigure],
    /// Steps of the first and the last checkpoint.
    pub steps: (i64, i64),
    /// Parents that were public before the run began, by the run's own clock.
    pub earlier: &'a [String],
    /// Whether the first checkpoint is step 0 and a clean draw, component by component.
    pub clean_start: &'a BTreeSet<String>,
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
        judgement.missing.push("the weights of a candidate parent".into());
        return (judgement, components(facts, policy, &[], &[]));
    }
    let parent_tests = tested(facts.figures, |r| matches!(r, Reference::Parent(_)));
    let control_tests = tested(facts.figures, |r| matches!(r, Reference::Control(_)));
    let aside = calibrate(&mut judgement, facts, &control_tests, policy);
    let usable = |t: &&Tested| matches!(&t.row.reference, Reference::Control(c) if !aside.contains(c));
    let control_tests: Vec<&Tested> = control_tests.iter().filter(usable).collect();
    // Controls were given and all of them fire: then nothing says that the tests are silent between strangers.
    let uncalibrated = !aside.is_empty() && control_tests.is_empty();
    let seeds = shared_seed::find(&mut judgement, facts, &parent_tests, policy);
    let mut silent = Vec::new();
    for &parent in &facts.parents {
        let own: Vec<&Tested> =
            parent_tests.iter().filter(|t| t.row.reference == Reference::Parent(parent.to_owned())).collect();
        if own.is_empty() {
            not_comparable(&mut judgement, parent);
            continue;
        }
        let seeded = seeds.contains(parent);
        let before = judgement.findings.len();
        similarities(&mut judgement, facts, parent, &own, uncalibrated, seeded, policy);
        layers::findings(&mut judgement, facts, parent, uncalibrated, &aside, seeded, policy);
        equal_tensors(&mut judgement, facts, parent, &aside, seeded);
        if judgement.findings.len() == before {
            silent.extend(own);
        }
    }
    merge::find(&mut judgement, facts, uncalibrated, &seeds, policy);
    let enough = silence(&mut judgement, facts, &silent, policy);
    norms(&mut judgement, facts);
    let calibrated = calibrated(&mut judgement, facts, &control_tests, uncalibrated);
    let tested_all = facts
        .parents
        .iter()
        .all(|p| parent_tests.iter().any(|t| t.row.reference == Reference::Parent((*p).to_owned())));
    // The accused makes the files: weights that no test can reach are not cleared by the rest.
    let reached = facts.unreached_share <= policy.unreached_share;
    if !reached {
        judgement.missing.push(format!(
            "{:.1} % of the subject's weights in a form that can be tested: finite, in a known number format, under known names, and of one shape in all checkpoints (policy: all but {:.0} %)",
            facts.unreached_share * 100.0,
            policy.unreached_share * 100.0
        ));
    }
    let silent_all = reached && tested_all && enough && calibrated;
    judgement.settle(if silent_all { Condition::Holds } else { Condition::Untested });
    let results = components(facts, policy, &parent_tests, &judgement.findings);
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

/// Sets aside the controls that fire: they are no strangers to the subject or to a parent. Returns their names.
fn calibrate(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    controls: &[Tested<'_>],
    policy: &Policy,
) -> BTreeSet<String> {
    let mut aside = BTreeSet::new();
    let mut fire = |control: &str, component: &str, who: String, z: f64, log10_p: f64, effect: f64, rows: u64| {
        if !aside.insert(control.to_owned()) {
            return;
        }
        judgement
            .missing
            .push(format!("an unrelated model in place of the control {control}, which is no stranger here"));
        let mut finding = Finding::new(
            Code::ParentUncalibrated,
            Grade::Context,
            Direction::Neutral,
            format!(
                "{who} in {}: z = {z:.1}, correlation {effect:.3}. A control must be a stranger, so this one is set aside.",
                named(component)
            ),
        );
        finding.subject.component = Some(component.to_owned());
        finding.statistic = Some(z);
        finding.log10_p = Some(log10_p);
        finding.effect = Some(effect);
        finding.n = Some(rows);
        NULL.clone_into(&mut finding.null);
        finding.evidence = Some("evidence/calibration.parquet".into());
        judgement.push(finding);
    };
    for test in controls {
        if let Reference::Control(control) = &test.row.reference
            && test.grade(policy).is_some()
            && test.effect >= policy.strong_effect
        {
            let who = format!("Control {control} is similar to the subject at step {}", test.row.step);
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
            let who = format!("Control {control} is similar to {}", row.model);
            fire(control, &row.component, who, z, log10_p, effect, row.rows);
        }
    }
    let mut numb = BTreeSet::new();
    for row in facts.calibration.iter().filter(|row| row.against == "perturbed" && row.component == ALL) {
        if row.log10_p.is_none_or(|p| p > policy.strong_log10_p) && numb.insert(&row.model) {
            judgement.missing.push(format!(
                "enough comparable tensors: the test does not see {} in a copy of itself with noise of its own size",
                row.model
            ));
        }
    }
    aside
}

/// Whether there is a control whose figures stand beside the parents'.
fn calibrated(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    controls: &[&Tested<'_>],
    uncalibrated: bool,
) -> bool {
    let positive = facts
        .parents
        .iter()
        .all(|p| facts.calibration.iter().any(|row| row.against == "perturbed" && row.model == format!("parent:{p}")));
    if facts.controls.is_empty() {
        judgement.missing.push("a control: an unrelated model of the same hidden size".into());
        false
    } else if uncalibrated {
        false
    } else if controls.is_empty() {
        judgement.missing.push(format!(
            "a control that can be compared: none of {} shares a tensor's function and shape with the subject",
            facts.controls.join(", ")
        ));
        false
    } else {
        positive
    }
}

fn not_comparable(judgement: &mut Judgement, parent: &str) {
    let mut finding = Finding::new(
        Code::ParentNotComparable,
        Grade::Context,
        Direction::Neutral,
        format!(
            "No matrix of {parent} has the function, the shape and the hidden size of one of the subject's: nothing was tested."
        ),
    );
    finding.subject.parent = Some(parent.to_owned());
    judgement.push(finding);
    judgement.missing.push(format!("a test for models of other sizes: no tensor of {parent} could be compared"));
}

fn named(component: &str) -> String {
    if component == ALL { "the whole model".to_owned() } else { format!("component {component}") }
}

/// One finding for each component that is nearer to the parent than the null allows, at the step where it is nearest.
fn similarities(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    own: &[&Tested<'_>],
    uncalibrated: bool,
    seeded: bool,
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
        let mut message = format!(
            "{} is aligned with {parent} beyond the null at {} of {} checkpoints: nearest at step {} with z = {:.1} and correlation {:.3}",
            capital(&named(component)),
            fired.len(),
            tests.len(),
            nearest.row.step,
            nearest.z,
            nearest.effect
        );
        if let Some(last) = last {
            message.push_str(&format!(
                ", at the last step {} with z = {:.1} and {:.3}",
                facts.steps.1, last.z, last.effect
            ));
        }
        message.push('.');
        let mut direction = Direction::Against;
        if seeded {
            (grade, direction) = (Grade::Context, Direction::Neutral);
            message.push_str(" Explained by the common random start.");
        } else if uncalibrated {
            (grade, direction) = (Grade::Context, Direction::Neutral);
            message.push_str(" Not counted: every control fires.");
        } else if facts.controls.is_empty() && grade == Grade::Conclusive {
            grade = Grade::Strong;
            message.push_str(" Graded strong, not conclusive: there is no control.");
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
        NULL.clone_into(&mut finding.null);
        finding.evidence = Some("evidence/components.parquet".into());
        judgement.push(finding);
    }
}

/// Orders tests by how near they are: the grade first, then the correlation.
fn nearness(test: &Tested<'_>, policy: &Policy) -> f64 {
    test.effect + test.grade(policy).map_or(0.0, |grade| 10.0 * f64::from(grade as u8))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// Tensors equal to the parent's: conclusive, unless one seed left them untouched in both.
fn equal_tensors(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    aside: &BTreeSet<String>,
    seeded: bool,
) {
    let counts = |e: &&EqualTensor| {
        e.parent == parent && !(seeded && e.untouched) && e.controls.iter().all(|control| aside.contains(control))
    };
    let own: Vec<&EqualTensor> = facts.equal.iter().filter(counts).collect();
    // A parent that is the subject's own later checkpoint is equal to it as well. Only a parent that was public before
    // the run began cannot be.
    let open = seeded && !facts.earlier.iter().any(|earlier| earlier == parent);
    let names: BTreeSet<&str> = own.iter().map(|e| e.tensor.as_str()).collect();
    let Some(example) = own.iter().max_by_key(|e| e.elements) else { return };
    let steps: BTreeSet<i64> = own.iter().map(|e| e.step).collect();
    let mut finding = Finding::new(
        Code::ParentBitEqual,
        if open { Grade::Moderate } else { Grade::Conclusive },
        Direction::Against,
        format!(
            "{} of the subject's weight matrices equal those of {parent} value by value, {} of them at step {} ({}, {} elements). No control has them.{}",
            names.len(),
            own.iter().filter(|e| e.step == example.step).count(),
            example.step,
            example.tensor,
            example.elements,
            if open { " The start is the subject's own, so the parent may be a copy of the subject." } else { "" }
        ),
    );
    finding.subject = Subject {
        component: Some(example.component.clone()),
        layer: example.layer,
        tensor: Some(example.tensor.clone()),
        parent: Some(parent.to_owned()),
        steps: steps.into_iter().collect(),
    };
    finding.statistic = Some(names.len() as f64);
    finding.effect = Some(1.0);
    finding.n = Some(own.iter().map(|e| e.elements).sum());
    finding.null = "independent training leaves no two matrices equal".into();
    finding.evidence = Some("evidence/trajectory.parquet".into());
    judgement.push(finding);
}

/// The finding that supports the claim; `false` if too little could be seen to say anything.
fn silence(judgement: &mut Judgement, facts: &ParentFacts<'_>, silent: &[&Tested<'_>], policy: &Policy) -> bool {
    let parents: BTreeSet<&Reference> = silent.iter().map(|t| &t.row.reference).collect();
    let mut enough = true;
    for reference in parents {
        let Reference::Parent(parent) = reference else { continue };
        let own: Vec<_> = silent.iter().filter(|t| &t.row.reference == reference).collect();
        let Some(whole) = own.iter().filter(|t| t.row.component == ALL).max_by(|a, b| a.z.total_cmp(&b.z)) else {
            continue;
        };
        let detectable = whole.detectable(policy);
        let tested: BTreeSet<&str> = own.iter().map(|t| t.row.component.as_str()).filter(|c| *c != ALL).collect();
        let untested: Vec<&str> =
            facts.components.iter().map(String::as_str).filter(|c| !tested.contains(c) && *c != "norms").collect();
        if detectable > policy.detectable_effect {
            enough = false;
            judgement.missing.push(format!(
                "more comparable tensors: against {parent} only a correlation of {detectable:.2} or more would have been seen (policy: {})",
                policy.detectable_effect
            ));
        }
        if !untested.is_empty() {
            judgement.missing.push(format!(
                "a test of {} against {parent}: no tensor of these components has the same function and shape in both",
                untested.join(", ")
            ));
        }
        let mut finding = Finding::new(
            Code::ParentSilent,
            if detectable > policy.detectable_effect { Grade::Weak } else { Grade::Strong },
            Direction::For,
            format!(
                "Over {} checkpoints the whole model is no nearer to {parent} than independent models are: largest z = {:.1} (correlation {:.4}, log10 p {:.1} after multiplicity). A correlation of {detectable:.3} would have been seen. Tested: {}.",
                own.iter().filter(|t| t.row.component == ALL).count(),
                whole.z,
                whole.effect,
                whole.log10_p,
                tested.into_iter().collect::<Vec<_>>().join(", ")
            ),
        );
        finding.subject.parent = Some(parent.clone());
        finding.statistic = Some(whole.z);
        finding.log10_p = Some(whole.log10_p);
        finding.effect = Some(whole.effect);
        finding.n = Some(whole.row.rows * whole.row.columns);
        NULL.clone_into(&mut finding.null);
        finding.evidence = Some("evidence/components.parquet".into());
        judgement.push(finding);
    }
    enough
}

/// The figure the public dispute was argued with, beside the one that means something.
fn norms(judgement: &mut Judgement, facts: &ParentFacts<'_>) {
    let figure = |n: &NormFigure| {
        format!(
            "{}: cosine {:.4}, Pearson {}",
            n.reference,
            n.cosine,
            n.pearson.map_or("undefined".into(), |p| format!("{p:.3}"))
        )
    };
    let Some(parent) = facts.norms.iter().find(|n| matches!(n.reference, Reference::Parent(_))) else { return };
    let all: Vec<String> = facts.norms.iter().map(figure).collect();
    let mut finding = Finding::new(
        Code::ParentNormCosine,
        Grade::Context,
        Direction::Neutral,
        format!(
            "Mean over the norm weights of the final checkpoint: {}. Norm weights start at one and stay positive, so their raw cosine is near one between strangers; it is never evidence.",
            all.join("; ")
        ),
    );
    finding.subject.component = Some("norms".into());
    finding.statistic = Some(parent.cosine);
    finding.effect = parent.pearson;
    finding.n = Some(parent.tensors);
    finding.null = "none: a raw cosine has no null".into();
    finding.evidence = Some("evidence/trajectory.parquet".into());
    judgement.push(finding);
}

/// Every component of the subject against the parent it is nearest to.
fn components(
    facts: &ParentFacts<'_>,
    policy: &Policy,
    tests: &[Tested<'_>],
    findings: &[Finding],
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
            let near = nearest.and_then(|t| parent_of(&t.row.reference));
            let seeded =
                findings.iter().any(|f| f.code == Code::ParentSharedSeed && f.subject.parent.as_deref() == near);
            let outcome = match (derived, nearest) {
                (Some(_), _) => ComponentOutcome::Derived,
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
        Reference::Parent(name) => Some(name),
        _ => None,
    }
}
