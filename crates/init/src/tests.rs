use std::fs;
use std::path::Path;

use scratchproof_case::Case;
use scratchproof_texts::Language;

use super::*;

fn model(place: &Path) {
    fs::create_dir_all(place.parent().expect("a folder")).expect("made");
    let header = r#"{"model.norm.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([0; 8]);
    fs::write(place, bytes).expect("written");
}

fn case_of(folder: &Path, found: &Found, language: Language) -> Case {
    let file = folder.join("case.toml");
    fs::write(&file, write(found, "case.toml", language)).expect("written");
    Case::read(&file).unwrap_or_else(|error| panic!("{error}: {}", fs::read_to_string(&file).expect("read")))
}

#[test]
fn what_a_trainer_leaves_is_a_case_without_a_line_edited() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("my \"run\" {1}");
    for step in [10, 20, 100] {
        model(&out.join(format!("checkpoint-{step}/model.safetensors")));
        let state = r#"{"global_step":STEP,"max_steps":100,"log_history":[{"loss":4.5,"learning_rate":0.001,"step":5},{"loss":4.1,"learning_rate":0.001,"step":10}]}"#;
        fs::write(out.join(format!("checkpoint-{step}/trainer_state.json")), state.replace("STEP", &step.to_string()))
            .expect("written");
        fs::write(out.join(format!("checkpoint-{step}/optimizer.pt")), "x").expect("written");
    }
    model(&out.join("model.safetensors"));
    fs::write(out.join("checkpoint-20/training_args.bin"), "x").expect("written");
    let found = look(&out).expect("found");
    assert_eq!(found.pattern.as_deref(), Some("checkpoint-{step}"), "{found:?}");
    assert_eq!((found.runs.as_slice(), found.models.as_slice()), (&[".".to_owned()][..], &[".".to_owned()][..]));
    for language in [Language::English, Language::Korean] {
        let case = case_of(&out, &found, language);
        let steps: Vec<_> = case.subject.checkpoints.iter().map(|saved| saved.step).collect();
        assert_eq!((steps, case.name.as_str()), (vec![Some(10), Some(20), Some(100)], "my \"run\" {1}"));
        assert_eq!((case.parents.len(), case.runs.len()), (0, 1));
    }
    assert!(write(&found, "case.toml", Language::English).contains("cannot be made afterwards"));
}

#[test]
fn files_with_steps_parents_and_controls_have_their_places() {
    let dir = tempfile::tempdir().expect("a folder");
    let root = dir.path();
    for name in [
        "ckpts/epoch=0-step=50.safetensors",
        "ckpts/epoch=1-step=100.safetensors",
        "parent/model.safetensors",
        "control-0/model.safetensors",
        "control-1/model.safetensors",
        "other/model.safetensors",
    ] {
        model(&root.join(name));
    }
    fs::create_dir_all(root.join("broken")).expect("made");
    fs::write(root.join("broken/model.safetensors"), "no model").expect("written");
    let found = look(root).expect("found");
    let case = case_of(root, &found, Language::English);
    let steps: Vec<_> = case.subject.checkpoints.iter().map(|saved| saved.step).collect();
    // The epoch stands before the step, so no pattern says it.
    assert_eq!((steps, found.pattern), (vec![Some(50), Some(100)], None));
    assert_eq!((case.parents.len(), case.controls.len()), (1, 2));
    assert_eq!(found.models, ["other"]);
    assert_eq!(found.broken[0].0, "broken");
}

#[test]
fn counts_with_a_unit_are_a_series() {
    for (names, pattern, steps) in [
        (["0k", "10k", "20k"], "{step}k", [0, 10_000, 20_000]),
        (["ckpt/0B", "ckpt/10.49B", "ckpt/20.97B"], "ckpt/{tokens}B", [0, 10_490_000_000, 20_970_000_000]),
        (["run-300M", "run-1B", "run-2.5B"], "run-{tokens}", [300_000_000, 1_000_000_000, 2_500_000_000]),
        (["step_0", "step_1_000", "step_2_000"], "step_{step}", [0, 1000, 2000]),
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        for name in names {
            model(&dir.path().join(name).join("model.safetensors"));
        }
        let found = look(dir.path()).expect("found");
        assert_eq!(found.pattern.as_deref(), Some(pattern), "{found:?}");
        let case = case_of(dir.path(), &found, Language::English);
        assert_eq!(case.subject.checkpoints.iter().filter_map(|saved| saved.step).collect::<Vec<_>>(), steps);
    }
}

#[test]
fn a_pattern_that_would_match_more_is_a_list() {
    let dir = tempfile::tempdir().expect("a folder");
    for step in [0, 20] {
        model(&dir.path().join(format!("step-{step}/model.safetensors")));
    }
    fs::create_dir(dir.path().join("step-40")).expect("made");
    let found = look(dir.path()).expect("found");
    assert_eq!((found.series.len(), &found.pattern), (2, &None));
    assert_eq!(case_of(dir.path(), &found, Language::English).subject.checkpoints.len(), 2);
}

#[test]
fn a_single_model_and_no_model() {
    let dir = tempfile::tempdir().expect("a folder");
    let error = look(dir.path()).expect_err("nothing is there").to_string();
    assert!(error.contains("no checkpoint found"), "{error}");
    assert!(look(&dir.path().join("none")).is_err());
    model(&dir.path().join("final/model.safetensors"));
    let found = look(dir.path()).expect("found");
    let case = case_of(dir.path(), &found, Language::Korean);
    assert_eq!((case.subject.checkpoints.len(), case.subject.is_series()), (1, false));
}

#[test]
fn a_recipe_asks_for_its_seed() {
    let dir = tempfile::tempdir().expect("a folder");
    model(&dir.path().join("checkpoint-0/model.safetensors"));
    fs::write(dir.path().join("init-recipe.json"), r#"{"format": "scratchproof.init-recipe/1"}"#).expect("written");
    let found = look(dir.path()).expect("found");
    let text = write(&found, "case.toml", Language::English);
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| *line == "recipe = \"init-recipe.json\"").expect("the recipe");
    assert!(lines[at + 1..at + 4].contains(&"# seed = 42") && lines[at + 1].starts_with("# "), "{text}");
}
