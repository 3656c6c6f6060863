//! The start drawn again from the declared seed, by the program on the fixtures.

use std::fs;

use scratchproof::evidence::Evidence;

use crate::support::report::{Condition, Direction, Grade, Report};
use crate::support::safetensors::File;
use crate::support::{audited, fixtures, program, report, run};

const DRAWN: [&str; 5] = ["dense-sgd", "distilled", "scratch-moe", "scratch-same-arch", "shared-seed"];

#[test]
fn every_tensor_of_step_0_of_a_fixture_is_drawn_again_bit_for_bit() {
    for case in DRAWN {
        let done = audited(case);
        let [finding] = done.report.of("start/replay")[..] else { panic!("{case}: one finding") };
        assert_eq!(
            (finding.grade, finding.direction),
            (Grade::Conclusive, Direction::For),
            "{case}: {}",
            finding.message
        );
        let rows = Evidence::read(&done.folder.join("evidence")).expect("evidence").replay;
        assert!(rows.len() > 40 && rows.iter().all(|r| r.share == Some(1.0) && r.variant == "avx2"), "{case}");
        assert_eq!(finding.n, Some(rows.iter().map(|r| r.elements).sum()), "{case}");
    }
}

/// Audits `dense-sgd` with its step 0 and its recipe changed.
fn changed(weights: impl Fn(&mut File), recipe: impl Fn(String) -> String, seed: &str) -> Report {
    let root = tempfile::tempdir().expect("a folder");
    let from = fixtures().join("cases/dense-sgd");
    let step = root.path().join("step-0");
    fs::create_dir(&step).expect("a folder");
    let mut file = File::read(&from.join("checkpoints/step-0/model.safetensors"));
    weights(&mut file);
    file.write(&step.join("model.safetensors"));
    fs::copy(from.join("checkpoints/step-0/config.json"), step.join("config.json")).expect("copied");
    let text = fs::read_to_string(from.join("init-recipe.json")).expect("a recipe");
    fs::write(root.path().join("recipe.json"), recipe(text)).expect("written");
    let case = root.path().join("case.toml");
    let text = format!(
        "schema = 1\n[subject]\ncheckpoints = [{{ step = 0, model = \"step-0\" }}, {{ step = 20, model = '{}' }}]\n[subject.init]\n{seed}recipe = \"recipe.json\"\n",
        from.join("checkpoints/step-20").display()
    );
    fs::write(&case, text).expect("written");
    let out = root.path().join("out");
    let done = run(program().arg("audit").arg(&case).arg("-o").arg(&out));
    assert_ne!(done.status, 2, "{}", done.stderr);
    report::read(&out.join("report.json"))
}

const SEED: &str = "seed = 2031\nframework = \"torch-cpu\"\n";

#[test]
fn a_tensor_put_in_after_the_draw_is_named() {
    let name = "model.layers.2.mlp.up_proj.weight";
    let swap = |file: &mut File| {
        let other = file.numbers("model.layers.1.mlp.up_proj.weight");
        file.put(name, &other);
    };
    let report = changed(swap, |recipe| recipe, SEED);
    let finding = report.of("start/replay")[0];
    assert_eq!((finding.grade, finding.direction), (Grade::Moderate, Direction::Against), "{}", finding.message);
    assert_eq!(finding.subject.tensor.as_deref(), Some(name));
    assert_eq!(report.verdict.conditions.start, Condition::Untested);
}

#[test]
fn another_seed_or_framework_and_a_hostile_recipe_are_questions() {
    let keep = |_: &mut File| {};
    let text = fs::read_to_string(fixtures().join("cases/dense-sgd/init-recipe.json")).expect("a recipe");
    let large = text.replace("\"count\":2048", "\"count\":2000000000000");
    let cases = [
        ("seed = 2032\n", text.clone(), "No drawn tensor of step 0"),
        ("seed = 2031\nframework = \"torch-cuda\"\n", text, "`torch-cuda` is not known"),
        (SEED, "[".repeat(1 << 20), "recipe.json"),
        (SEED, large, "do not fit"),
    ];
    for (seed, recipe, part) in cases {
        let report = changed(keep, |_| recipe.clone(), seed);
        let finding = report.of("start/replay")[0];
        assert_eq!(finding.direction, Direction::Neutral, "{}", finding.message);
        assert!(finding.grade <= Grade::Weak && finding.message.contains(part), "{} lacks {part}", finding.message);
    }
}
