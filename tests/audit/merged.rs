//! Merges of two models, made here from the fixtures and given as a single model.

use std::fs;
use std::path::{Path, PathBuf};

use scratchproof::evidence::{Evidence, MergeRow};

use crate::support::report::{Direction, Finding, Grade, Outcome, Report};
use crate::support::safetensors::File;
use crate::support::{fixtures, program, report, run};

fn glm() -> [PathBuf; 2] {
    [fixtures().join("models/parent-glm"), fixtures().join("cases/continued/checkpoints/step-600")]
}

fn llama() -> [PathBuf; 2] {
    [fixtures().join("models/parent-llama"), fixtures().join("models/control-llama")]
}

fn weights(model: &Path) -> File {
    File::read(&model.join("model.safetensors"))
}

/// Audits a merge of two models, with both of them as parents.
fn audit([a, b]: &[PathBuf; 2], merge: impl Fn(&str, &[f32], &[f32]) -> Vec<f32>) -> (Report, Vec<MergeRow>) {
    let root = tempfile::tempdir().expect("a folder");
    let (mut own, mut other) = (weights(a), weights(b));
    for name in own.names() {
        let (x, y) = (own.numbers(&name), other.numbers(&name));
        own.put(&name, &merge(&name, &x, &y));
    }
    fs::create_dir(root.path().join("model")).expect("a folder");
    own.write(&root.path().join("model/model.safetensors"));
    fs::copy(a.join("config.json"), root.path().join("model/config.json")).expect("copied");
    let case = root.path().join("case.toml");
    let control = fixtures().join("models/control-phi");
    let text = format!(
        "schema = 1\nname = \"merge\"\n[claim]\nstatement = \"from-scratch\"\n[subject]\nname = \"merge\"\nmodel = \"model\"\n[[parent]]\nname = \"A\"\nmodel = '{}'\n[[parent]]\nname = \"B\"\nmodel = '{}'\n[[control]]\nname = \"C\"\nmodel = '{}'\n",
        a.display(),
        b.display(),
        control.display()
    );
    fs::write(&case, text).expect("written");
    let out = root.path().join("out");
    let done = run(program().arg("audit").arg(&case).arg("-o").arg(&out));
    assert_ne!(done.status, 2, "{}", done.stderr);
    (report::read(&out.join("report.json")), Evidence::read(&out.join("evidence")).expect("evidence").merge)
}

fn line(share: f32) -> impl Fn(&[f32], &[f32]) -> Vec<f32> {
    move |x, y| x.iter().zip(y).map(|(x, y)| share * x + (1.0 - share) * y).collect()
}

fn only(report: &Report) -> &Finding {
    let found = report.of("parent/merge");
    assert_eq!(found.len(), 1, "{:#?}", report.findings.iter().map(|f| &f.message).collect::<Vec<_>>());
    found[0]
}

/// The weights of A and B over a component or a layer.
fn pair(rows: &[MergeRow], component: &str, layer: Option<u32>) -> [f64; 2] {
    ["A", "B"].map(|parent| {
        let row = rows.iter().find(|r| r.component == component && r.layer == layer && r.parent == parent);
        row.unwrap_or_else(|| panic!("no weight of {parent} in {component}")).weight
    })
}

fn near(found: [f64; 2], expected: [f64; 2]) {
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(off < 0.02, "{found:?}, in truth {expected:?}");
}

#[test]
fn linear_merges_of_relatives_and_of_strangers_are_exact_blends_with_their_weights() {
    for (models, share) in [(glm(), 0.5), (glm(), 0.7), (llama(), 0.5), (llama(), 0.7)] {
        let blend = line(share);
        let (report, rows) = audit(&models, |_, x, y| blend(x, y));
        let finding = only(&report);
        assert_eq!(report.verdict.outcome, Outcome::Refuted);
        assert_eq!((finding.grade, finding.direction), (Grade::Conclusive, Direction::Against), "{}", finding.message);
        let wanted = format!("{share:.2} x A + {:.2} x B", 1.0 - share);
        assert!(finding.message.contains(&wanted) && finding.message.contains("exact blend"), "{}", finding.message);
        let expected = [f64::from(share), 1.0 - f64::from(share)];
        for component in ["all", "attention", "embedding", "mlp"] {
            near(pair(&rows, component, None), expected);
        }
    }
}

#[test]
fn weights_that_differ_between_layers_are_named_for_every_layer() {
    let layer = |name: &str| -> Option<u32> {
        let (_, rest) = name.split_once("layers.")?;
        rest.split('.').next()?.parse().ok()
    };
    let (report, rows) = audit(&llama(), |name, x, y| line(layer(name).map_or(0.5, |l| 0.2 + 0.1 * l as f32))(x, y));
    let finding = only(&report);
    assert!(finding.message.contains("exact blend") && finding.message.contains("differ between layers"));
    for l in 0..4 {
        let share = 0.2 + 0.1 * f64::from(l);
        near(pair(&rows, "all", Some(l)), [share, 1.0 - share]);
    }
    near(pair(&rows, "embedding", None), [0.5, 0.5]);
}

#[test]
fn spherical_merges_are_exact_blends_whose_weights_do_not_add_up_to_one() {
    let (report, rows) = audit(&llama(), |_, x, y| {
        let inner = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let angle = (inner(x, y) / (inner(x, x) * inner(y, y)).sqrt().max(1e-12)).clamp(-1.0, 1.0).acos();
        let share = |t: f32| if angle < 1e-4 { t } else { (t * angle).sin() / angle.sin() };
        x.iter().zip(y).map(|(a, b)| share(0.6) * a + share(0.4) * b).collect()
    });
    assert!(only(&report).message.contains("exact blend"));
    // Strangers are at right angles: sin(0.6 pi / 2) and sin(0.4 pi / 2).
    near(pair(&rows, "attention", None), [0.809, 0.588]);
}

/// As large as 0.3 standard deviations of the tensor, and unrelated to it.
fn noisy(values: &[f32], salt: usize) -> Vec<f32> {
    let size = (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt();
    let mut state = salt as u64 + 1;
    let mut unit = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 16_777_216.0 - 0.5
    };
    values.iter().map(|v| v + size * unit()).collect()
}

#[test]
fn a_merge_that_moved_on_keeps_its_weights_and_is_not_exact() {
    let (report, rows) = audit(&llama(), |name, x, y| {
        let mixed = line(0.62)(x, y);
        if name.contains("norm") { mixed } else { noisy(&mixed, name.len() * 31 + x.len()) }
    });
    let finding = only(&report);
    assert_eq!(finding.grade, Grade::Conclusive);
    assert!(
        finding.message.contains("0.62 x A + 0.38 x B") && !finding.message.contains("exact"),
        "{}",
        finding.message
    );
    near(pair(&rows, "all", None), [0.62, 0.38]);
}

#[test]
fn one_parent_alone_is_no_merge_even_if_the_other_is_its_relative() {
    for models in [glm(), llama()] {
        for noise in [false, true] {
            let (report, rows) = audit(&models, |name, x, _| {
                if noise && !name.contains("norm") { noisy(x, name.len() * 17 + x.len()) } else { x.to_vec() }
            });
            assert!(report.of("parent/merge").is_empty(), "{}", only(&report).message);
            near(pair(&rows, "all", None), [1.0, 0.0]);
        }
    }
}

/// A checkpoint half way lies near the line between the two ends, and nobody merged anything.
#[test]
fn a_checkpoint_on_the_way_from_one_parent_to_the_other_is_not_called_a_merge() {
    let mut half = weights(&fixtures().join("cases/continued/checkpoints/step-300"));
    let numbers: std::collections::BTreeMap<String, Vec<f32>> =
        half.names().into_iter().map(|name| (name.clone(), half.numbers(&name))).collect();
    let (report, _) = audit(&glm(), |name, _, _| numbers[name].clone());
    let finding = only(&report);
    assert!(finding.grade <= Grade::Moderate && !finding.message.contains("is a merge"), "{}", finding.message);
    assert!(finding.message.contains("of a training that goes"), "{}", finding.message);
}

#[test]
fn a_graft_is_told_as_one_and_not_as_a_sum() {
    // Attention of A in everything else of B, as it is and after something more.
    for moved in [false, true] {
        let (report, rows) = audit(&llama(), |name, x, y| {
            let taken = if name.contains("self_attn") { x } else { y };
            if moved && !name.contains("norm") { noisy(taken, name.len() * 31 + x.len()) } else { taken.to_vec() }
        });
        let finding = only(&report);
        assert_eq!((finding.direction, report.verdict.outcome), (Direction::Against, Outcome::Refuted));
        let told = "put together from the parents, part by part: attention of A; embedding";
        assert!(finding.message.contains(told), "{}", finding.message);
        assert!(!finding.message.contains("a merge"), "{}", finding.message);
        assert_eq!(finding.message.contains("exact copies"), !moved, "{}", finding.message);
        let all = pair(&rows, "all", None);
        assert!(all.iter().all(|weight| *weight > 0.02), "the sum over the model is of both: {all:?}");
    }
    // By layers: the first two of A, the rest of B.
    let layer =
        |name: &str| name.split_once("layers.").and_then(|(_, rest)| rest.split('.').next()?.parse::<u32>().ok());
    let (report, _) = audit(&llama(), |name, x, y| if layer(name).is_some_and(|l| l < 2) { x } else { y }.to_vec());
    let message = &only(&report).message;
    assert!(message.contains("layers 0, 1 of A; layers 2, 3, 4 of B"), "{message}");
}
