//! The null of the column test, from the evidence that users get: over all independent pairs of the fixtures' models its
//! z has mean 0 and variance 1.

use std::collections::BTreeMap;
use std::fs;

use scratchproof::evidence::{Evidence, Reference};

use crate::support::{fixtures, program, run};

/// Models of one hidden size that have nothing of each other, with whether their last checkpoint is `step-600` of a case.
const MODELS: [&str; 14] = [
    "models/parent-glm",
    "models/parent-llama",
    "models/control-llama",
    "models/control-mixtral",
    "models/control-phi",
    "cases/scratch-moe/checkpoints/step-0",
    "cases/scratch-moe/checkpoints/step-600",
    "cases/scratch-same-arch/checkpoints/step-0",
    "cases/scratch-same-arch/checkpoints/step-600",
    "cases/dense-sgd/checkpoints/step-0",
    "cases/dense-sgd/checkpoints/step-600",
    "cases/distilled/checkpoints/step-0",
    "cases/distilled/checkpoints/step-600",
    "cases/shared-seed/checkpoints/step-600",
];

/// What two models must not share to be strangers: a run, or a seed.
fn family(model: &str) -> &str {
    match model.strip_prefix("cases/").and_then(|rest| rest.split('/').next()) {
        Some("shared-seed") => "models/parent-glm",
        Some(case) => case,
        None => model,
    }
}

/// z of every matrix of every independent pair; a pair is measured once.
fn figures() -> Vec<f64> {
    let place = tempfile::tempdir().expect("a folder");
    let mut figures = Vec::new();
    for (i, subject) in MODELS.iter().enumerate() {
        let others = MODELS[i + 1..].iter().filter(|other| family(other) != family(subject));
        let names: BTreeMap<String, &str> = others.map(|other| (other.replace('/', "-"), *other)).collect();
        if names.is_empty() {
            continue;
        }
        let path = |model: &str| fixtures().join(model).display().to_string();
        let mut case = format!(
            "schema = 1\nname = \"strangers\"\n[claim]\nstatement = \"from-scratch\"\n[subject]\nname = \"one\"\nmodel = {:?}\n",
            path(subject)
        );
        for (name, other) in &names {
            case += &format!("[[parent]]\nname = {name:?}\nmodel = {:?}\n", path(other));
        }
        let (file, out) = (place.path().join("case.toml"), place.path().join(format!("out-{i}")));
        fs::write(&file, case).expect("written");
        let run = run(program().arg("audit").arg(&file).arg("-o").arg(&out));
        assert_ne!(run.status, 2, "{}", run.stderr);
        assert_ne!(run.status, 1, "{subject} among strangers is refuted: {}", run.stdout);
        let rows = Evidence::read(&out.join("evidence")).expect("evidence").trajectory;
        // Vectors are shown and do not vote.
        let matrices = rows.iter().filter(|row| row.elements > 64 && matches!(row.reference, Reference::Parent(_)));
        figures.extend(matrices.filter_map(|row| row.z));
    }
    figures
}

#[test]
fn strangers_have_mean_0_and_variance_1() {
    let mut figures = figures();
    let n = figures.len() as f64;
    assert!(figures.len() >= 500, "{n} pairs");
    let mean = figures.iter().sum::<f64>() / n;
    let deviation = (figures.iter().map(|z| (z - mean) * (z - mean)).sum::<f64>() / n).sqrt();
    figures.sort_by(f64::total_cmp);
    let beyond = figures.iter().filter(|z| z.abs() > 3.0).count() as f64 / n;
    let shown = format!(
        "{n} pairs: mean {mean:.3}, sd {deviation:.3}, {beyond:.4} beyond 3, from {:.2} to {:.2}",
        figures[0],
        figures[figures.len() - 1]
    );
    assert!(mean.abs() <= 0.2 && (0.85..=1.15).contains(&deviation), "{shown}");
    // Of a standard normal, 0.0027; tails are heavier where both are nearly of rank one.
    assert!(beyond <= 0.01, "{shown}");
}
