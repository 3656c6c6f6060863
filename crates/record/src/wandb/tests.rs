use std::path::{Path, PathBuf};

use prost::Message;
use serde_json::json;

use super::{open, proto, read};
use crate::leveldb::{Tail, tests::write};

fn data(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("tests/data/wandb").join(name)
}

fn item(name: &[&str], value: &str) -> proto::Item {
    let nested_key = name.iter().map(|part| (*part).to_owned()).collect();
    proto::Item { key: String::new(), nested_key, value_json: value.into() }
}

fn row(items: Vec<proto::Item>, step: i64) -> Vec<u8> {
    let history = proto::HistoryRecord { item: items, step: Some(proto::HistoryStep { num: step }) };
    proto::Record { history: Some(history), ..proto::Record::default() }.encode_to_vec()
}

fn small_log() -> Vec<Vec<u8>> {
    let update = vec![
        item(&["optimizer"], "\"adamw\""),
        item(&["model", "hidden_size"], "64"),
        item(&["old"], r#"{"desc": null, "value": {"lr": 1e-3, "deep": {"x": [1]}}}"#),
        item(&["_wandb"], r#"{"value": {"cli_version": "0.13.1"}}"#),
        item(&["gone"], r#"{"a": 1}"#),
    ];
    let config = Some(proto::ConfigRecord { update, remove: Vec::new() });
    let run = proto::RunRecord {
        run_id: "abc".into(),
        display_name: "a run".into(),
        config,
        start_time: Some(proto::Timestamp { seconds: 1_785_628_800, nanos: 500_000_000 }),
        git: Some(proto::GitRecord { remote_url: "r".into(), commit: "c0ffee00".into() }),
        ..proto::RunRecord::default()
    };
    let removed = proto::ConfigRecord { update: vec![item(&["late"], "2")], remove: vec![item(&["gone"], "")] };
    let record = proto::Record { run: Some(run), ..proto::Record::default() };
    let exit = Some(proto::ExitRecord { exit_code: 0 });
    vec![
        record.encode_to_vec(),
        proto::Record { config: Some(removed), ..proto::Record::default() }.encode_to_vec(),
        row(vec![item(&["train", "loss"], "7.5"), item(&["_step"], "0"), item(&["pic"], r#"{"_type": "image"}"#)], 0),
        row(vec![item(&["train", "loss"], "\"NaN\""), item(&["_step"], "10")], 10),
        row(vec![item(&["train", "loss"], "6.5")], 20),
        proto::Record { exit, ..proto::Record::default() }.encode_to_vec(),
    ]
}

#[test]
fn a_log_is_read_whole() {
    let bytes = write(&small_log());
    let run = read(&bytes[..]).unwrap();
    assert_eq!((run.id.as_str(), run.name.as_deref(), run.ended), ("abc", Some("a run"), Some(0)));
    assert_eq!(run.started_at.unwrap().to_rfc3339(), "2026-08-02T00:00:00.500+00:00");
    assert_eq!((run.commit.as_deref(), run.sdk.as_deref()), (Some("c0ffee00"), Some("0.13.1")));
    let config = json!({ "optimizer": "adamw", "model.hidden_size": 64, "old.lr": 1e-3, "old.deep.x": [1], "late": 2 });
    assert_eq!(serde_json::to_value(&run.config).unwrap(), config);
    assert_eq!((run.history.rows, run.history.skipped), (3, 1));
    assert_eq!(run.keys.loss.as_deref(), Some("train.loss"));
    assert_eq!(run.loss(), [(0, 7.5), (20, 6.5)]);
    assert_eq!((run.damaged, run.tail, run.bytes), (0, Tail::Complete, bytes.len() as u64));
    assert_eq!(run.sha256.len(), 64);
}

#[test]
fn a_whole_record_that_is_no_record_is_damage() {
    let mut records = small_log();
    records.insert(1, vec![0xFF; 9]);
    let run = read(&write(&records)[..]).unwrap();
    assert_eq!((run.damaged, run.history.rows), (1, 3));
    assert!(run.damage[0].what.contains("no W&B record"));
}

#[test]
fn real_logs_of_old_writers_are_read() {
    let sdk = open(&data("run-g9dvvkua.wandb")).unwrap();
    assert_eq!((sdk.id.as_str(), sdk.history.rows, sdk.ended, sdk.damaged), ("g9dvvkua", 0, Some(0), 0));
    assert_eq!((sdk.project.as_deref(), sdk.tail), (Some("code-toad"), Tail::Complete));
    assert!(sdk.sdk.unwrap().starts_with("0.10.20"));
    assert_eq!(sdk.started_at.unwrap().to_rfc3339(), "2021-02-16T23:44:07+00:00");

    let crashed = open(&data("run-u1pue59s.wandb")).unwrap();
    assert_eq!((crashed.id.as_str(), crashed.history.rows, crashed.ended), ("u1pue59s", 0, Some(255)));
    assert_eq!((crashed.sdk.as_deref(), crashed.damaged, crashed.commit.as_deref()), (Some("0.15.8"), 0, None));
    assert_eq!(crashed.config["weight_decay"], json!(0.1));
    assert_eq!((crashed.weight_decay(), crashed.beta2(), crashed.optimizer()), (Some(0.1), Some(0.95), None));
}

#[test]
fn a_real_log_survives_every_flip_and_every_cut() {
    let bytes = std::fs::read(data("run-u1pue59s.wandb")).unwrap();
    let whole = read(&bytes[..]).unwrap();
    for at in 7..bytes.len() {
        let mut spoiled = bytes.clone();
        spoiled[at] ^= 1 << (at % 8);
        let run = read(&spoiled[..]).unwrap();
        assert!(run.damaged > 0 || run.tail != Tail::Complete || run.config == whole.config, "{at}");
        let cut = read(&bytes[..at]).unwrap();
        assert_eq!(cut.damaged, 0, "{at}");
    }
}

#[test]
fn a_log_is_found_from_its_folder_and_errors_name_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let none = open(root).unwrap_err();
    assert!(none.is_input() && none.to_string().contains("holds no `.wandb` file"), "{none}");
    let run = root.join("offline-run-20260802_000000-abc");
    std::fs::create_dir_all(run.join("files")).unwrap();
    std::fs::write(run.join("run-abc.wandb"), write(&small_log())).unwrap();
    std::fs::write(run.join("files/wandb-metadata.json"), r#"{"program": "train.py", "git": {"commit": "other"}}"#)
        .unwrap();
    for path in [root.to_owned(), run.clone(), run.join("run-abc.wandb")] {
        let read = open(&path).unwrap();
        assert_eq!((read.id.as_str(), read.commit.as_deref()), ("abc", Some("c0ffee00")));
        assert_eq!(read.program.as_deref(), Some("train.py"));
        assert!(read.notes[0].ends_with("not from the log: program"));
    }
    std::fs::write(run.join("second.wandb"), "").unwrap();
    assert!(open(root).unwrap_err().to_string().contains("holds 2 `.wandb` files"));
    for (name, why) in [("second.wandb", "empty"), ("files/wandb-metadata.json", "does not begin as a W&B log")] {
        let error = open(&run.join(name)).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(why), "{error}");
    }
    assert!(open(&root.join("nothing")).unwrap_err().is_io());
}
