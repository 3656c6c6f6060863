//! Sentences and outcomes of the judge on figures made by hand.

use std::collections::{BTreeMap, BTreeSet};

use super::{ParentFacts, Part, Unfit, Unreached, judge, untested};
use crate::{Code, ComponentOutcome, Direction, Finding, Grade};
use scratchproof_case::Policy;
use scratchproof_evidence::{
    AngleRow, CalibrationRow, ComponentRow, DisguiseRow, LayerMapRow, LineRow, MatchedRow, PartialRow, Reference,
};
use scratchproof_measurements::ALL;

fn figure(reference: Reference, component: &str, step: i64, effect: f64, z: f64) -> ComponentRow {
    let log10_p = Some(scratchproof_stats::log10_upper_tail(z));
    let (component, effect, z) = (component.to_owned(), Some(effect), Some(z));
    ComponentRow { step, component, reference, effect, z, log10_p, rows: 10_000, columns: 64 }
}

/// A subject of four layers with one parent and one control that is silent.
struct Case {
    figures: Vec<ComponentRow>,
    partial: Vec<PartialRow>,
    layer_map: Vec<LayerMapRow>,
    parts: Vec<Part>,
    families: Vec<(String, String)>,
    calibration: Vec<CalibrationRow>,
    clean_start: BTreeSet<String>,
    unsearched: BTreeSet<String>,
    partly: BTreeSet<(String, String)>,
    lines: Vec<LineRow>,
    matched: Vec<MatchedRow>,
    angles: Vec<AngleRow>,
}

impl Case {
    fn new() -> Self {
        Self {
            figures: vec![figure(Reference::Control("C".into()), ALL, 100, 0.001, 0.5)],
            partial: Vec::new(),
            layer_map: Vec::new(),
            parts: vec![Part { name: ALL.into(), map: "all".into(), share: 1.0, matrices: 8, met: Vec::new() }],
            families: vec![("q_proj".into(), "attention".into())],
            calibration: Vec::new(),
            clean_start: BTreeSet::from(["attention".to_owned()]),
            unsearched: BTreeSet::new(),
            partly: BTreeSet::new(),
            lines: Vec::new(),
            matched: Vec::new(),
            angles: Vec::new(),
        }
    }

    /// Every layer of the subject against every layer of P: `z` where `answers` has the pair, else half a deviation.
    fn map(&mut self, family: &str, answers: &[(u32, u32)], z: f64) {
        for layer_subject in 0..4 {
            for layer_parent in 0..4 {
                let hit = answers.contains(&(layer_subject, layer_parent));
                self.layer_map.push(LayerMapRow {
                    parent: "P".into(),
                    family: family.into(),
                    layer_subject,
                    layer_parent,
                    pearson: Some(if hit { 0.8 } else { 0.01 }),
                    z: Some(if hit { z } else { 0.5 }),
                });
            }
        }
    }

    fn facts(&self) -> ParentFacts<'_> {
        ParentFacts {
            parents: vec!["P"],
            controls: vec!["C"],
            components: vec!["attention".into()],
            parts: &self.parts,
            figures: &self.figures,
            calibration: &self.calibration,
            partial: &self.partial,
            disguise: &[],
            added: &[],
            disguises: BTreeMap::new(),
            frames: BTreeMap::new(),
            unsearched: &self.unsearched,
            partly: &self.partly,
            merge: &[],
            layer_map: &self.layer_map,
            families: &self.families,
            equal: &[],
            copies: &[],
            lines: &self.lines,
            matched: &self.matched,
            angles: &self.angles,
            norms: &[],
            tokenizers: &[],
            cka: &[],
            steps: (0, 100),
            earlier: &[],
            clean_start: &self.clean_start,
            drawn_again: false,
            unreached: &[],
            unfit: &[],
        }
    }
}

/// A child given as the parent contains the subject's own start: whose the layers are is open, so no component of the
/// original author's is called derived. Without the common start the same map is a derivation.
#[test]
fn a_subjects_child_given_as_its_parent_makes_no_component_derived() {
    for own_start in [true, false] {
        let mut case = Case::new();
        case.map("q_proj", &[(0, 0), (1, 1), (2, 2), (3, 3)], 50.0);
        let parent = || Reference::Parent("P".into());
        let (at_start, z) = if own_start { (0.6, 300.0) } else { (0.001, 0.2) };
        for component in [ALL, "attention"] {
            case.figures.push(figure(parent(), component, 0, at_start, z));
            case.figures.push(figure(parent(), component, 100, 0.001, 0.2));
        }
        case.partial.push(PartialRow {
            parent: "P".into(),
            component: ALL.into(),
            step: 100,
            effect: Some(0.5),
            z: Some(100.0),
            log10_p: Some(-1000.0),
            rows: 10_000,
        });
        let (judgement, components) = judge(&case.facts(), &Policy::default());
        let lineage = judgement.findings.iter().any(|f| f.code == Code::ParentLineage);
        assert_eq!(lineage, own_start, "{:#?}", judgement.findings);
        assert_eq!(components[0].outcome == ComponentOutcome::Derived, !own_start, "{:#?}", components[0]);
    }
}

/// Where the search could look at nothing, silence as stored clears nothing.
#[test]
fn what_was_not_searched_is_not_independent() {
    for unsearched in [false, true] {
        let mut case = Case::new();
        case.unsearched.extend(Some("P".to_owned()).filter(|_| unsearched));
        for component in [ALL, "attention"] {
            case.figures.push(figure(Reference::Parent("P".into()), component, 100, 0.001, 0.2));
        }
        let (judgement, components) = judge(&case.facts(), &Policy::default());
        assert_eq!(components[0].outcome == ComponentOutcome::Independent, !unsearched);
        case.unsearched.clear();
        case.partly.insert(("P".to_owned(), "attention".to_owned()));
        let (_, components) = judge(&case.facts(), &Policy::default());
        assert_ne!(components[0].outcome, ComponentOutcome::Independent, "half of it has no axis");
        case.partly.clear();
        let silent = judgement.findings.iter().find(|f| f.code == Code::ParentSilent).expect("a finding");
        assert_eq!(silent.grade >= Grade::Strong, !unsearched);
    }
}

/// A layer without an answer may have been inserted, or trained until nothing was left: the map cannot tell.
#[test]
fn a_layer_without_an_answer_is_not_said_to_be_inserted() {
    let mut case = Case::new();
    case.map("all", &[(0, 0), (1, 1), (3, 3)], 50.0);
    let (judgement, _) = judge(&case.facts(), &Policy::default());
    let found = judgement.findings.iter().find(|f| f.code == Code::ParentLayerMap).expect("a layer map");
    let told = "Layers 2 of the subject correspond to none: inserted, or trained until nothing of P is left in them.";
    assert!(found.message.contains(told), "{}", found.message);
}

/// A layer of which two of the subject's have a part was not stacked twice.
#[test]
fn layers_that_hold_a_part_of_one_were_not_stacked_from_it() {
    let told = |effect: f64| {
        let mut case = Case::new();
        case.map("all", &[(0, 0), (1, 1), (2, 1), (3, 2)], 50.0);
        case.layer_map.iter_mut().filter(|c| c.z == Some(50.0)).for_each(|c| c.pearson = Some(effect));
        let (judgement, _) = judge(&case.facts(), &Policy::default());
        let found = judgement.findings.iter().find(|f| f.code == Code::ParentLayerMap).expect("a layer map");
        assert!(found.message.contains("Layers 1 of P correspond to more than one layer"), "{}", found.message);
        let ordered = found.message.contains("dropped");
        assert_eq!(found.message.contains("depth up-scaling"), ordered, "{}", found.message);
        ordered
    };
    assert!(told(0.8) && !told(0.18));
}

/// An axis that is the parent's in its own order is not called another order, in what was added and in the first checkpoint.
#[test]
fn an_order_that_is_none_is_not_called_one() {
    let told = |in_place: f64| {
        let case = Case::new();
        let row = DisguiseRow {
            reference: Reference::Parent("P".into()),
            question: "order".into(),
            frame: "permuted".into(),
            between: "MLPs of even layers against MLPs of odd layers".into(),
            component: ALL.into(),
            layer_subject: None,
            layer_parent: None,
            agreed: Some(64.0),
            expected: Some(0.5),
            of: 64,
            z: None,
            log10_p: Some(-100.0),
            effect: None,
            in_place: Some(in_place),
            from_step: None,
            to_step: Some(0),
        };
        let added = [row];
        let facts = ParentFacts { added: &added, ..case.facts() };
        let (judgement, _) = judge(&facts, &Policy::default());
        let found = judgement.findings.into_iter().find(|f| f.code == Code::ParentAdded).expect("an answer");
        found.message.english()
    };
    let (own, other) = (told(1.0), told(0.02));
    assert!(own.contains("in its own order") && !own.contains("permuted"), "{own}");
    assert!(other.contains("in another order (permuted)"), "{other}");
}

/// Of a control that is no more than a draw it is said that it is one, and not that it could not be compared.
#[test]
fn what_is_said_of_controls_that_are_unfit_is_why() {
    let asked = |unfit: &[Unfit]| {
        let mut case = Case::new();
        case.figures.clear();
        for component in [ALL, "attention"] {
            case.figures.push(figure(Reference::Parent("P".into()), component, 100, 0.001, 0.2));
        }
        let (judgement, _) = judge(&ParentFacts { unfit, ..case.facts() }, &Policy::default());
        let said = |words: &str| judgement.missing.iter().any(|missing| missing.contains(words));
        (said("shares a tensor's function and shape"), said("looks like an untrained draw"))
    };
    assert_eq!(asked(&[]), (true, false));
    assert_eq!(asked(&[Unfit { model: "C".into(), same_as: None }]), (false, true));
}

/// What no test reached is told by why.
#[test]
fn weights_that_no_test_reaches_are_told_by_why() {
    let case = Case::new();
    let unreached = [(Unreached::Unknown, 0.012), (Unreached::Alone, 0.02)];
    let (judgement, _) = judge(&ParentFacts { unreached: &unreached, ..case.facts() }, &Policy::default());
    let told = judgement.missing.iter().find(|missing| missing.key == "parent/missing/reach").expect("a share");
    for words in ["3.2 %", "1.2 % are under names that no template knows", "2.0 % have a function"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let few = [(Unreached::Zero, 0.009)];
    let (judgement, _) = judge(&ParentFacts { unreached: &few, ..case.facts() }, &Policy::default());
    assert!(judgement.missing.iter().all(|missing| missing.key != "parent/missing/reach"));
}

#[test]
fn nothing_was_tested_against_a_parent_of_which_nothing_could_be_compared() {
    let case = Case::new();
    let (judgement, _) = judge(&case.facts(), &Policy::default());
    assert!(untested(&judgement.findings, "P"), "{:#?}", judgement.findings);
    assert!(!untested(&judgement.findings, "Q"));
    // What speaks against it anyway was a test.
    let mut findings = judgement.findings;
    let mut copy = Finding::new(Code::ParentBitEqual, Grade::Conclusive, Direction::Against, "");
    copy.subject.parent = Some("P".into());
    findings.push(copy);
    assert!(!untested(&findings, "P"));
}

/// Both are the parent's in another place; what a control has as well, or finds too, is not held against the subject.
#[test]
fn rows_that_lie_elsewhere_in_the_parent_are_derived_unless_a_control_has_them() {
    let silent = || {
        let mut case = Case::new();
        for component in [ALL, "attention"] {
            case.figures.push(figure(Reference::Parent("P".into()), component, 100, 0.001, 0.2));
        }
        case
    };
    let outcome = |case: &Case| {
        let (judgement, components) = judge(&case.facts(), &Policy::default());
        let found = judgement.findings.iter().filter(|f| f.direction == Direction::Against).map(|f| (f.code, f.grade));
        (components[0].outcome, found.collect::<Vec<_>>())
    };
    let line = |lines: u64, controls: u64| LineRow {
        step: 100,
        tensor: "q.weight".into(),
        component: "attention".into(),
        family: "q_proj".into(),
        layer: Some(0),
        expert: None,
        reference: Reference::Parent("P".into()),
        like: "o.weight".into(),
        vector: false,
        deduced: false,
        lines,
        controls,
        of: 64,
    };
    for (lines, controls, grade) in [
        (40, 0, Some(Grade::Conclusive)),
        (40, 38, Some(Grade::Moderate)),
        (40, 40, None),
        (3, 0, Some(Grade::Moderate)),
    ] {
        let mut case = silent();
        case.lines.push(line(lines, controls));
        let (derived, found) = outcome(&case);
        assert_eq!(found, grade.map(|grade| (Code::ParentBitEqual, grade)).into_iter().collect::<Vec<_>>());
        assert_eq!(derived == ComponentOutcome::Derived, grade == Some(Grade::Conclusive), "{lines} {controls}");
    }
    let rows = |reference: Reference, rows: u64, by_chance: u64| MatchedRow {
        step: 0,
        tensor: "q.weight".into(),
        component: "attention".into(),
        family: "q_proj".into(),
        layer: Some(0),
        expert: None,
        reference,
        like: "o.weight".into(),
        rows,
        of: 64,
        cosine: 0.7,
        by_chance,
    };
    let parent = || Reference::Parent("P".into());
    for (agreed, by_chance, grade) in [(40, 0, Some(Grade::Conclusive)), (4, 0, None), (40, 30, None)] {
        let mut case = silent();
        case.matched.push(rows(parent(), agreed, by_chance));
        let (derived, found) = outcome(&case);
        assert_eq!(found, grade.map(|grade| (Code::ParentMatchedRows, grade)).into_iter().collect::<Vec<_>>());
        assert_eq!(derived == ComponentOutcome::Derived, grade.is_some(), "{agreed} {by_chance}");
    }
    let mut case = silent();
    case.matched.extend([rows(parent(), 40, 0), rows(Reference::Control("C".into()), 40, 0)]);
    assert_eq!(outcome(&case).1, []);
}

/// One matrix against another pays for all pairs that were tried.
#[test]
fn angles_between_rows_name_a_component_unless_a_control_has_them() {
    let row = |reference: Reference, layer: Option<u32>, z: f64, effect: f64| AngleRow {
        step: 100,
        component: "mlp".into(),
        family: "down_proj".into(),
        reference,
        layer,
        expert: None,
        layer_other: layer,
        expert_other: None,
        tried: 1000,
        matrices: 1,
        z: Some(z),
        effect: Some(effect),
        log10_p: Some(scratchproof_stats::log10_upper_tail(z)),
    };
    let parent = || Reference::Parent("P".into());
    let found = |angles: Vec<AngleRow>| {
        let case = Case { angles, ..Case::new() };
        let (judgement, _) = judge(&case.facts(), &Policy::default());
        judgement.findings.into_iter().find(|f| f.code == Code::ParentRowAngles).map(|f| (f.grade, f.direction))
    };
    let against = |grade| Some((grade, Direction::Against));
    assert_eq!(found(vec![row(parent(), None, 20.0, 0.5)]), against(Grade::Conclusive));
    assert_eq!(found(vec![row(parent(), Some(2), 7.5, 0.5)]), against(Grade::Strong));
    assert_eq!(found(vec![row(parent(), None, 5.0, 0.5)]), against(Grade::Moderate));
    assert_eq!(found(vec![row(parent(), Some(2), 5.0, 0.5)]), None, "one of a thousand pairs");
    assert_eq!(found(vec![row(parent(), None, -20.0, -0.5)]), None);
    let control = row(Reference::Control("C".into()), None, 20.0, 0.5);
    assert_eq!(found(vec![row(parent(), None, 20.0, 0.5), control]), Some((Grade::Context, Direction::Neutral)));
}
