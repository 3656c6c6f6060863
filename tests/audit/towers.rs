//! Models with a vision tower of their own, or of somebody else: random tensors and a walk in place of training.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::report::{self, ComponentOutcome, Condition, Direction, Grade, Outcome, Report};
use crate::support::safetensors::File;
use crate::support::{Numbers, program, run};

const TEXT: usize = 48;
const IMAGE: usize = 32;
const TEXT_LAYERS: usize = 3;
const IMAGE_LAYERS: usize = 4;
const STEPS: [u32; 4] = [0, 100, 200, 300];
/// What the text alone is judged by.
const TEXT_PARTS: [&str; 4] = ["embedding", "attention", "mlp", "head"];

/// Tensors by name.
type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Adds a random matrix; `trained` ones have a direction that a draw has not.
fn matrix(weights: &mut Weights, numbers: &mut Numbers, name: String, shape: [usize; 2], trained: bool) {
    let [rows, columns] = shape;
    let mut values: Vec<f32> = (0..rows * columns).map(|_| 0.02 * numbers.noise()).collect();
    if trained {
        let [left, right] = shape.map(|n| (0..n).map(|_| numbers.noise()).collect::<Vec<f32>>());
        for (i, value) in values.iter_mut().enumerate() {
            *value += 0.015 * left[i / columns] * right[i % columns];
        }
    }
    weights.insert(name, (shape.to_vec(), values));
}

fn norm(weights: &mut Weights, name: String, length: usize) {
    weights.insert(name, (vec![length], vec![1.0; length]));
}

/// A Llama-like language model.
fn text(seed: u64, trained: bool) -> Weights {
    let (mut own, mut numbers) = (Weights::new(), Numbers(seed));
    let mut add = |name: &str, shape| matrix(&mut own, &mut numbers, format!("{name}.weight"), shape, trained);
    add("language_model.model.embed_tokens", [96, TEXT]);
    add("language_model.lm_head", [96, TEXT]);
    for layer in 0..TEXT_LAYERS {
        for (name, shape) in [
            ("self_attn.q_proj", [TEXT, TEXT]),
            ("self_attn.k_proj", [TEXT, TEXT]),
            ("self_attn.v_proj", [TEXT, TEXT]),
            ("self_attn.o_proj", [TEXT, TEXT]),
            ("mlp.gate_proj", [2 * TEXT, TEXT]),
            ("mlp.up_proj", [2 * TEXT, TEXT]),
            ("mlp.down_proj", [TEXT, 2 * TEXT]),
        ] {
            add(&format!("language_model.model.layers.{layer}.{name}"), shape);
        }
    }
    for layer in 0..TEXT_LAYERS {
        norm(&mut own, format!("language_model.model.layers.{layer}.input_layernorm.weight"), TEXT);
    }
    own
}

/// A CLIP-like encoder under a prefix.
fn tower(prefix: &str, seed: u64, trained: bool) -> Weights {
    let (mut own, mut numbers) = (Weights::new(), Numbers(seed));
    let mut add = |name: &str, shape| matrix(&mut own, &mut numbers, format!("{prefix}{name}.weight"), shape, trained);
    add("embeddings.patch_embedding", [IMAGE, 12]);
    for layer in 0..IMAGE_LAYERS {
        for (name, shape) in [
            ("self_attn.q_proj", [IMAGE, IMAGE]),
            ("self_attn.k_proj", [IMAGE, IMAGE]),
            ("self_attn.v_proj", [IMAGE, IMAGE]),
            ("self_attn.out_proj", [IMAGE, IMAGE]),
            ("mlp.fc1", [3 * IMAGE, IMAGE]),
            ("mlp.fc2", [IMAGE, 3 * IMAGE]),
        ] {
            add(&format!("encoder.layers.{layer}.{name}"), shape);
        }
    }
    for layer in 0..IMAGE_LAYERS {
        norm(&mut own, format!("{prefix}encoder.layers.{layer}.layer_norm1.weight"), IMAGE);
    }
    own
}

const OWN: &str = "vision_tower.vision_model.";

fn both(mut text: Weights, tower: Weights) -> Weights {
    text.extend(tower);
    text
}

fn write(folder: &Path, weights: &Weights) {
    fs::create_dir_all(folder).expect("a folder");
    let tensors: Vec<_> = weights.iter().map(|(name, (shape, v))| (name.clone(), shape.clone(), v.clone())).collect();
    File::of(&tensors).write(&folder.join("model.safetensors"));
}

/// A case in the making: its subject is a walk from a start.
struct Case {
    root: tempfile::TempDir,
    references: Vec<(&'static str, &'static str)>,
}

impl Case {
    /// The walk from `start`; tensors for which `frozen` says so stay as they are.
    fn new(start: &Weights, frozen: impl Fn(&str) -> bool) -> Self {
        let case = Self { root: tempfile::tempdir().expect("a folder"), references: Vec::new() };
        let mut numbers = Numbers(77);
        let mut weights = start.clone();
        // Steps that lean on the one before and are outer products of few vectors, as those of a training.
        let mut pace: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        for step in STEPS {
            if step > 0 {
                for (name, (shape, values)) in weights.iter_mut().filter(|(name, _)| !frozen(name)) {
                    let pace = pace.entry(name.clone()).or_insert_with(|| vec![0.0; values.len()]);
                    let columns = shape.last().copied().unwrap_or(1);
                    let mut draw = |n: usize| (0..n).map(|_| numbers.noise()).collect::<Vec<f32>>();
                    let factors: [_; 2] = std::array::from_fn(|_| [draw(values.len() / columns), draw(columns)]);
                    for (at, (value, pace)) in values.iter_mut().zip(pace).enumerate() {
                        let update: f32 = factors.iter().map(|[a, b]| a[at / columns] * b[at % columns]).sum();
                        *pace = 0.7 * *pace + 0.004 * update / 2f32.sqrt();
                        *value += *pace;
                    }
                }
            }
            write(&case.root.path().join(format!("checkpoints/step-{step}")), &weights);
        }
        case
    }

    fn with(mut self, kind: &'static str, name: &'static str, weights: &Weights) -> Self {
        write(&self.root.path().join(name), weights);
        self.references.push((kind, name));
        self
    }

    fn judged(&self) -> Report {
        let mut file =
            "schema = 1\nname = \"towers\"\n[claim]\nstatement = \"from-scratch\"\n[subject]\nname = \"s\"\n\
                        checkpoints = \"checkpoints/step-{step}\"\n"
                .to_owned();
        for (kind, name) in &self.references {
            file.push_str(&format!("[[{kind}]]\nname = \"{name}\"\nmodel = \"{name}\"\n"));
        }
        let (case, out) = (self.root.path().join("case.toml"), self.root.path().join("out"));
        fs::write(&case, file).expect("written");
        let run = run(program().arg("audit").arg(&case).arg("-o").arg(&out));
        assert_ne!(run.status, 2, "{}", run.stderr);
        report::read(&out.join("report.json"))
    }
}

fn outcome(report: &Report, component: &str) -> ComponentOutcome {
    let found = report.components.iter().find(|c| c.name == component);
    found.unwrap_or_else(|| panic!("no {component} in {:?}", report.components)).outcome
}

fn shown(report: &Report) -> String {
    let line = |f: &report::Finding| format!("{} {:?} {}", f.code, f.grade, f.message);
    let findings = report.findings.iter().map(line).collect::<Vec<_>>().join("\n");
    format!("{:#?}\n{:#?}\n{findings}", report.verdict, report.components)
}

fn text_is(report: &Report, wanted: ComponentOutcome) {
    for part in TEXT_PARTS {
        assert_eq!(outcome(report, part), wanted, "{part}: {}", shown(report));
    }
}

/// A stranger with text and tower.
fn stranger() -> Weights {
    both(text(900, true), tower(OWN, 901, true))
}

/// The parent's condition holds, or says which disguise these small models could not have shown.
fn not_accused(report: &Report) {
    let lacks = report.verdict.missing.iter().any(|line| line.starts_with("a search for"));
    let said = lacks || report.verdict.said.parent.contains("is not seen by the search of this tool");
    let expected = if said { Condition::Untested } else { Condition::Holds };
    assert_eq!(report.verdict.conditions.parent, expected, "{}", shown(report));
}

/// Nothing speaks against an honest model, and without a run log nothing is confirmed.
fn unsettled(report: &Report) {
    assert_eq!(report.verdict.outcome, Outcome::Inconclusive, "{}", shown(report));
    not_accused(report);
    assert!(report.verdict.missing.iter().any(|line| line.contains("log")), "{:?}", report.verdict.missing);
    let against = |f: &&report::Finding| f.direction == Direction::Against && f.grade >= Grade::Moderate;
    assert_eq!(report.findings.iter().filter(against).count(), 0, "{}", shown(report));
}

#[test]
fn a_tower_of_its_own_is_independent() {
    let case = Case::new(&both(text(1, false), tower(OWN, 2, false)), |_| false)
        .with("parent", "vlm", &both(text(3, true), tower(OWN, 4, true)))
        .with("control", "stranger", &stranger());
    let report = case.judged();
    unsettled(&report);
    text_is(&report, ComponentOutcome::Independent);
    assert_eq!(outcome(&report, "vision_tower"), ComponentOutcome::Independent, "{}", shown(&report));
    assert!(report.of("parent/no-similarity").iter().any(|f| f.subject.component.as_deref() == Some("vision_tower")));
}

/// The ministry's question: the text is its own, the tower is not.
fn borrowed(report: &Report, parent: &str, text: ComponentOutcome) {
    assert_eq!(report.verdict.outcome, Outcome::Refuted, "{}", shown(report));
    assert_eq!(report.verdict.conditions.parent, Condition::Fails);
    text_is(report, text);
    let tower = report.components.iter().find(|c| c.name == "vision_tower").expect("the tower");
    assert_eq!(
        (tower.outcome, tower.parent.as_deref()),
        (ComponentOutcome::Derived, Some(parent)),
        "{}",
        shown(report)
    );
    assert_eq!(tower.layers, (0..4).collect::<Vec<u32>>());
    for finding in report.findings.iter().filter(|f| f.direction == Direction::Against && f.grade >= Grade::Strong) {
        assert_eq!(finding.subject.component.as_deref(), Some("vision_tower"), "{}", finding.message);
        assert!(finding.message.contains("vision_tower"), "{}", finding.message);
    }
    assert!(
        report.of("start/spectrum").iter().any(|f| f.subject.component.as_deref() == Some("vision_tower")),
        "{}",
        shown(report)
    );
}

#[test]
fn a_borrowed_tower_is_named_and_the_text_is_not_accused() {
    let start = both(text(1, false), tower(OWN, 4, true));
    let report = Case::new(&start, |_| false)
        .with("parent", "vlm", &both(text(3, true), tower(OWN, 4, true)))
        .with("control", "stranger", &stranger())
        .judged();
    borrowed(&report, "vlm", ComponentOutcome::Independent);
    assert!(!report.findings.iter().any(|f| f.message.contains("Frozen")), "{}", shown(&report));
}

#[test]
fn a_frozen_tower_is_called_frozen() {
    let start = both(text(1, false), tower(OWN, 4, true));
    for (part, words) in [("", "Frozen: all its 25"), ("encoder.layers.1.", "Frozen in part: 6 of its 25")] {
        let report = Case::new(&start, |name| name.contains("vision_tower") && name.contains(part))
            .with("parent", "vlm", &both(text(3, true), tower(OWN, 4, true)))
            .with("control", "stranger", &stranger())
            .judged();
        borrowed(&report, "vlm", ComponentOutcome::Independent);
        assert!(report.findings.iter().any(|f| f.message.contains(words)), "{}", shown(&report));
    }
}

#[test]
fn another_name_or_a_standalone_encoder_hides_nothing() {
    let start = both(text(1, false), tower(OWN, 4, true));
    for (prefix, words) in [("visual.vision_model.", "(`visual` there)"), ("vision_model.", "(`vision_model` there)")] {
        let report = Case::new(&start, |_| false)
            .with("parent", "vlm", &both(text(3, true), tower(prefix, 4, true)))
            .with("control", "stranger", &stranger())
            .judged();
        borrowed(&report, "vlm", ComponentOutcome::Independent);
        assert!(report.findings.iter().any(|f| f.message.contains(words)), "{prefix}: {}", shown(&report));
    }
    for prefix in ["", "vision_model."] {
        let case = Case::new(&start, |_| false).with("parent", "encoder", &tower(prefix, 4, true)).with(
            "control",
            "stranger",
            &stranger(),
        );
        // Nothing of the text was compared with a parent.
        borrowed(&case.judged(), "encoder", ComponentOutcome::Undetermined);
        let report = case.with("parent", "text", &text(3, true)).judged();
        borrowed(&report, "encoder", ComponentOutcome::Independent);
    }
}

#[test]
fn an_encoder_is_no_candidate_for_the_text() {
    let start = both(text(1, false), tower(OWN, 2, false));
    let report = Case::new(&start, |_| false)
        .with("parent", "encoder", &tower("", 4, true))
        .with("parent", "text", &text(3, true))
        .with("control", "stranger", &stranger())
        .judged();
    unsettled(&report);
    assert!(report.of("parent/not-comparable").is_empty(), "{}", shown(&report));
    assert_eq!(outcome(&report, "vision_tower"), ComponentOutcome::Independent);
    text_is(&report, ComponentOutcome::Independent);
    assert!(report.coverage.skipped.iter().any(|s| s.tensor == "(vision_tower)" && s.why.contains("main model")));
}

#[test]
fn a_tower_that_no_control_or_parent_reaches_is_undetermined() {
    let start = both(text(1, false), tower(OWN, 2, false));
    for (parent, words) in [
        (both(text(3, true), tower(OWN, 4, true)), "a control that reaches vision_tower"),
        (text(3, true), "a candidate source of vision_tower"),
    ] {
        let report = Case::new(&start, |_| false)
            .with("parent", "p", &parent)
            .with("control", "words", &text(900, true))
            .judged();
        assert_eq!(outcome(&report, "vision_tower"), ComponentOutcome::Undetermined, "{}", shown(&report));
        assert!(report.misses(words), "no {words}: {:?}", report.verdict.missing);
        text_is(&report, ComponentOutcome::Independent);
    }
    // An encoder alone, and nothing unrelated beside it: then nobody is cleared.
    let report = Case::new(&start, |_| false)
        .with("parent", "encoder", &tower("", 4, true))
        .with("control", "words", &text(900, true))
        .judged();
    assert_eq!(report.verdict.outcome, Outcome::Inconclusive, "{}", shown(&report));
}

#[test]
fn a_control_with_the_same_tower_is_still_a_stranger_to_the_text() {
    let start = both(text(1, false), tower(OWN, 2, false));
    let report = Case::new(&start, |_| false)
        .with("parent", "vlm", &both(text(3, true), tower(OWN, 4, true)))
        .with("control", "same", &both(text(900, true), tower(OWN, 4, true)))
        .judged();
    text_is(&report, ComponentOutcome::Independent);
    assert_eq!(outcome(&report, "vision_tower"), ComponentOutcome::Undetermined, "{}", shown(&report));
    assert!(report.misses("not unrelated in vision_tower"), "{}", shown(&report));
}

#[test]
fn a_tower_exchanged_on_the_way_is_a_broken_chain() {
    let case = Case::new(&both(text(1, false), tower(OWN, 2, false)), |_| false)
        .with("parent", "vlm", &both(text(3, true), tower(OWN, 4, true)))
        .with("control", "stranger", &stranger());
    for step in [200_u32, 300] {
        let path = case.root.path().join(format!("checkpoints/step-{step}/model.safetensors"));
        crate::support::safetensors::edit(&path, |file| {
            for (name, (_, values)) in tower(OWN, 50, true) {
                file.put(&name, &values);
            }
        });
    }
    let report = case.judged();
    assert_eq!(report.verdict.conditions.chain, Condition::Fails, "{}", shown(&report));
    let broken = report.of("chain/memory");
    assert!(broken.iter().any(|f| f.subject.component.as_deref() == Some("vision_tower")), "{}", shown(&report));
}

/// Turned round, repeated, with a new one, one left out, and deeper than the parent's.
#[test]
fn the_layers_of_a_tower_are_found_wherever_they_went() {
    let source = tower(OWN, 4, true);
    let mut own: Weights = tower(OWN, 60, false).into_iter().filter(|(name, _)| !name.contains(".layers.")).collect();
    let fresh = tower(OWN, 61, false);
    for (layer, from) in [Some(3), Some(1), None, Some(0), Some(1)].into_iter().enumerate() {
        let (weights, old) = from.map_or((&fresh, 0), |from| (&source, from));
        let old = format!(".layers.{old}.");
        let moved = weights.iter().filter(|(name, _)| name.contains(&old));
        own.extend(moved.map(|(name, tensor)| (name.replace(&old, &format!(".layers.{layer}.")), tensor.clone())));
    }
    let report = Case::new(&both(text(1, false), own), |_| false)
        .with("parent", "vlm", &both(text(3, true), source))
        .with("control", "stranger", &stranger())
        .judged();
    let found = report.of("parent/layer-map");
    assert_eq!(found.len(), 1, "{}", shown(&report));
    for words in [
        "layer map [3,1,-,0,1]",
        "Layers 1 of vlm correspond to more than one layer of the subject",
        "falls into 3 slices",
        "Layers 2 of the subject correspond to none",
        "Layers 2 of vlm have no corresponding layer: dropped",
        "Best monotone path: [",
    ] {
        assert!(found[0].message.contains(words), "{words}: {}", found[0].message);
    }
    let tower = report.components.iter().find(|c| c.name == "vision_tower").expect("the tower");
    assert_eq!(tower.layers, [0, 1, 3, 4], "{}", shown(&report));
    let alike = report.of("parent/self-map");
    assert!(alike.len() == 1 && alike[0].message.contains("1 and 4"), "{}", shown(&report));
}

#[test]
fn layers_copied_within_the_subject_are_shown_and_accuse_nobody() {
    let mut start = both(text(1, false), tower(OWN, 2, false));
    let copies: Vec<_> = start
        .iter()
        .filter(|(name, _)| name.contains("language_model.model.layers.0."))
        .map(|(name, tensor)| (name.replace("layers.0.", "layers.2."), tensor.clone()))
        .collect();
    start.extend(copies);
    let case = Case::new(&start, |_| false).with("parent", "vlm", &both(text(3, true), tower(OWN, 4, true))).with(
        "control",
        "stranger",
        &stranger(),
    );
    let report = case.judged();
    let found = report.of("parent/self-map");
    assert_eq!(found.len(), 1, "{}", shown(&report));
    assert!(
        found[0].message.contains(": 0 and 2;") && found[0].direction == Direction::Neutral,
        "{}",
        found[0].message
    );
    not_accused(&report);
    let page = fs::read_to_string(case.root.path().join("out/report.html")).expect("a page");
    assert!(page.contains("the subject itself"));
}
