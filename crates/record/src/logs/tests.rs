use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{join, open};
use crate::leveldb::Tail;
use crate::run::{Continues, Form, Run};

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("fixtures/logs").join(name)
}

#[test]
fn a_run_folder_is_completed_from_the_files_beside_the_log() {
    let runs = open(&fixture("tinylm")).unwrap();
    assert_eq!(runs.len(), 1);
    let run = &runs[0];
    assert_eq!((run.id.as_str(), run.form, run.ended, run.damaged), ("kj3gdsjx", Form::Wandb, None, 0));
    assert_ne!(run.tail, Tail::Complete, "the fixture is cut");
    let loss = run.loss();
    assert_eq!((loss[0], loss.len() > 100), ((0, 8.947_674_751_281_738), true));
    assert_eq!((run.devices[0].kind.as_str(), run.devices[0].count), ("NVIDIA GeForce RTX 4090", 1));
    assert!(run.commit.as_deref().unwrap().starts_with("9b6ecb7a") && run.arguments.contains(&"5e-4".to_owned()));
    let printed = &run.printed[1];
    assert_eq!((printed.step, printed.loss), (50, 8.9444));
    assert!(run.system.columns["gpu.0.gpu"].len() > 5 && run.system.columns.contains_key("_timestamp"));
    let named = &run.times[0];
    assert!(named.what.contains("name of its folder"));
    assert!(named.at.earliest < run.started_at.unwrap() && run.started_at.unwrap() < named.at.latest);
    // The whole summary is of the whole run: its last values are not in the part of the log that is here.
    let differ: Vec<&str> = run.differences.iter().map(|difference| difference.what.as_str()).collect();
    assert!(differ.contains(&"summary._step") && differ.iter().all(|what| what.starts_with("summary.")), "{differ:?}");
}

#[test]
fn an_old_run_folder_is_read() {
    let runs = open(&fixture("nanogpt")).unwrap();
    let run = &runs[0];
    assert_eq!((runs.len(), run.id.as_str(), run.ended), (1, "u1pue59s", Some(255)));
    assert_eq!((run.state.as_deref(), run.history.rows), (Some("running"), 0));
    assert_eq!(run.times[1].at.earliest.to_rfc3339(), "2024-10-23T06:25:52.237797+00:00");
    assert!(run.differences.is_empty(), "{:?}", run.differences);
}

#[test]
fn changed_side_files_are_differences() {
    let from = fixture("nanogpt/run-20241022_232552-u1pue59s");
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run-20241022_232552-another");
    fs::create_dir_all(run.join("files")).unwrap();
    fs::copy(from.join("run-u1pue59s.wandb"), run.join("run-u1pue59s.wandb")).unwrap();
    let yaml = fs::read_to_string(from.join("files/config.yaml")).unwrap();
    fs::write(run.join("files/config.yaml"), yaml.replace("value: 0.95", "value: 0.99")).unwrap();
    fs::write(
        run.join("files/wandb-metadata.json"),
        r#"{"host": "other", "program": "p", "args": ["--x"], "gpu_count": 2, "gpu": "A"}"#,
    )
    .unwrap();
    fs::write(run.join("files/output.log"), "step 1: loss 3.5\n").unwrap();
    let read = &open(folder.path()).unwrap()[0];
    let differences: BTreeMap<&str, (&str, &str)> =
        read.differences.iter().map(|d| (d.what.as_str(), (d.log.as_str(), d.other.as_str()))).collect();
    assert_eq!(differences["config.beta2"], ("0.95", "0.99"));
    assert_eq!((differences["id"], differences["host"].1), (("u1pue59s", "another"), "other"));
    assert_eq!((read.devices[0].count, read.printed[0].step), (2, 1));
    assert_eq!(read.beta2(), Some(0.95), "the log wins");
}

#[test]
fn a_folder_of_the_oldest_sdk_has_its_history_in_lines() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("wandb/dryrun-20191105_120000-abc");
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("wandb-history.jsonl"), "{\"loss\": 5.0, \"_step\": 0}\n{\"loss\": \"NaN\", \"_step\": 10}\n")
        .unwrap();
    fs::write(run.join("config.yaml"), "wandb_version: 1\n\nlr:\n  desc: null\n  value: 0.1\n").unwrap();
    fs::write(run.join("wandb-metadata.json"), "{broken").unwrap();
    for path in [folder.path().to_owned(), run.clone(), run.join("wandb-history.jsonl")] {
        let runs = open(&path).unwrap();
        assert_eq!((runs.len(), runs[0].form, runs[0].id.as_str()), (1, Form::Folder, "abc"));
        assert_eq!((runs[0].loss(), &runs[0].config["lr"]), (vec![(0, 5.0)], &0.1.into()));
        assert!(runs[0].notes.iter().any(|note| note.contains("not JSON")));
    }
}

#[test]
fn a_folder_gives_what_can_be_read_and_says_what_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(error.is_input() && error.to_string().contains("holds no run log"), "{error}");
    assert!(open(&folder.path().join("nothing")).unwrap_err().is_io());
    let good = folder.path().join("checkpoint-10");
    fs::create_dir(&good).unwrap();
    fs::write(good.join("trainer_state.json"), r#"{"global_step": 10, "log_history": [{"loss": 5, "step": 10}]}"#)
        .unwrap();
    fs::write(folder.path().join("bad.wandb"), "no log").unwrap();
    let runs = open(folder.path()).unwrap();
    assert_eq!((runs.len(), runs[0].form, runs[0].loss()), (1, Form::TrainerState, vec![(10, 5.0)]));
    assert!(runs[0].notes.iter().any(|note| note.contains("bad.wandb")), "{:?}", runs[0].notes);
}

#[cfg(unix)]
#[test]
fn links_in_a_circle_and_pipes_do_not_hold_it_up() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("run-20240101_000000-x")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("z.wandb")).unwrap();
    let pipe = folder.path().join("pipe.jsonl");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [folder.path().to_owned(), pipe, folder.path().join("z.wandb")] {
        assert!(open(&path).is_err());
    }
}

fn part(id: &str, started: &str, steps: std::ops::Range<i64>) -> Run {
    let mut run = Run { id: id.into(), started_at: Some(started.parse().unwrap()), ..Run::default() };
    for step in steps.step_by(10) {
        run.history.rows += 1;
        run.history.push(step, "_step", &step.to_string());
        run.history.push(step, "loss", &format!("{}.5", id.len()));
    }
    run.config = [("lr", 1), ("layers", 2), ("width", 3)].map(|(key, value)| (key.to_owned(), value.into())).into();
    run
}

#[test]
fn resumed_forked_and_rewound_runs_are_joined() {
    let runs = [
        part("a", "2026-01-02T00:00:00Z", 80..150),
        part("a", "2026-01-01T00:00:00Z", 0..100),
        Run {
            continues: Some(Continues { run: "a".into(), step: Some(109) }),
            ..part("fork", "2026-01-03T00:00:00Z", 110..200)
        },
        part("alone", "2026-01-01T00:00:00Z", 0..50),
    ];
    let all = join(&runs);
    let parts: Vec<_> = all.iter().map(|joined| joined.parts.clone()).collect();
    assert_eq!(parts, [vec![1, 0, 2], vec![3]]);
    let run = &all[0].run;
    let steps: Vec<i64> = run.history.columns["loss"].iter().map(|row| row.0).collect();
    assert_eq!(steps, (0..200).step_by(10).collect::<Vec<_>>());
    assert_eq!((run.history.rows, run.id.as_str(), run.resumed), (20, "fork", true));
    assert_eq!(run.started_at, runs[1].started_at);
    let notes = run.notes.join("\n");
    assert!(
        notes.contains("a goes on from a: it has the same id") && notes.contains("fork goes on from a: it says so")
    );
    assert!(
        notes.contains("steps 80 to 90 are left out") && notes.contains("steps 110 to 140 are left out"),
        "{notes}"
    );
    assert_eq!(all[1].run.history, runs[3].history);

    let rewound = Run {
        continues: Some(Continues { run: "a".into(), step: Some(49) }),
        ..part("a", "2026-01-05T00:00:00Z", 50..70)
    };
    let all = join(&[part("a", "2026-01-01T00:00:00Z", 0..100), rewound]);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].run.step_range().unwrap().last, 60, "what was rewound does not count");
}

#[test]
fn a_silent_resume_is_joined_as_likely_only() {
    let first = part("a", "2026-01-01T00:00:00Z", 0..100);
    let second = part("bb", "2026-01-02T00:00:00Z", 100..150);
    let all = join(&[first.clone(), second.clone()]);
    assert_eq!(all[0].parts, [0, 1]);
    assert!(all[0].run.notes[0].contains("likely, not said"));
    let other = Run { config: [("lr".to_owned(), 7.into())].into(), ..second.clone() };
    assert_eq!(join(&[first.clone(), other]).len(), 2, "another configuration");
    assert_eq!(join(&[first, part("bb", "2026-01-02T00:00:00Z", 500..600)]).len(), 2, "far beyond the end");
    let circle = |id: &str, of: &str| Run {
        continues: Some(Continues { run: of.into(), step: None }),
        ..part(id, "2026-01-01T00:00:00Z", 0..10)
    };
    assert_eq!(join(&[circle("x", "yy"), circle("yy", "x")]).len(), 2);
    assert!(join(&[]).is_empty());
}
