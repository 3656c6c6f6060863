use std::fs;
use std::path::{Path, PathBuf};

use super::{crc, open};
use crate::leveldb::Tail;
use crate::logs;
use crate::run::{Form, Run};

fn fixture() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("fixtures/logs/tensorboard")
}

fn events() -> Vec<u8> {
    fs::read(fixture().join("events.out.tfevents.1795337596.host")).unwrap()
}

fn read(bytes: &[u8]) -> scratchproof_error::Result<Run> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.out.tfevents.1.h");
    fs::write(&path, bytes).unwrap();
    open(&[path])
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut bytes = length.to_vec();
    bytes.extend(crc::masked(&length).to_le_bytes());
    bytes.extend(data);
    bytes.extend(crc::masked(data).to_le_bytes());
    bytes
}

/// An event with one scalar.
fn scalar(wall: f64, step: u8, tag: &str, value: f32) -> Vec<u8> {
    let mut inner = vec![0x0A, u8::try_from(tag.len()).unwrap()];
    inner.extend(tag.as_bytes());
    inner.push(0x15);
    inner.extend(value.to_le_bytes());
    let length = u8::try_from(inner.len()).unwrap();
    let mut event = vec![0x09];
    event.extend(wall.to_le_bytes());
    event.extend([0x10, step, 0x2A, length + 2, 0x0A, length]);
    event.extend(inner);
    record(&event)
}

#[test]
fn a_real_file_is_read() {
    let runs = logs::open(&fixture()).unwrap();
    assert_eq!(runs.len(), 2, "the folder and the one inside");
    let run = &runs[0];
    assert_eq!((run.form, run.damaged, run.tail), (Form::TensorBoard, 0, Tail::Complete));
    let expected: Vec<(i64, f64)> =
        (0..10_u8).map(|i| (i64::from(i) * 10, f64::from(7.0_f32 - f32::from(i) * 0.1))).collect();
    let loss = run.loss();
    assert!(loss.iter().zip(&expected).all(|(a, b)| a.0 == b.0 && (a.1 - b.1).abs() < 1e-6), "{loss:?}");
    assert_eq!((loss.len(), run.learning_rate().len(), run.history.rows), (10, 10, 11));
    assert!(run.history.columns["train/loss"][10].1.is_nan());
    assert_eq!((run.weight_decay(), run.config["learning_rate"].as_f64()), (Some(0.1), Some(1e-3)));
    assert_eq!(run.times[0].at.earliest.timestamp(), 1_795_337_596);
    assert!(run.started_at.is_some() && run.history.skipped >= 1);
    assert_eq!((&runs[1].config["bs"], &runs[1].config["flag"]), (&32.0.into(), &true.into()));
}

#[test]
fn a_later_file_counts_from_its_first_step_on() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, steps: &[(u8, f32)], wall: f64| {
        let bytes = steps.iter().flat_map(|(step, value)| scalar(wall + f64::from(*step), *step, "loss", *value));
        fs::write(folder.path().join(name), bytes.collect::<Vec<u8>>()).unwrap();
    };
    write("events.out.tfevents.9.h", &[(0, 5.0), (10, 4.0), (20, 3.0)], 1000.0);
    write("events.out.tfevents.5.h", &[(15, 3.5), (20, 3.25)], 2000.0);
    let runs = logs::open(folder.path()).unwrap();
    assert_eq!(runs[0].loss(), [(0, 5.0), (10, 4.0), (15, 3.5), (20, 3.25)]);
    assert!(runs[0].notes[0].contains("tfevents.5.h starts again"), "{:?}", runs[0].notes);
    assert_eq!(runs[0].started_at.unwrap().timestamp(), 1000);
}

#[test]
fn damage_is_told_and_a_cut_is_none() {
    let bytes = events();
    let whole = read(&bytes).unwrap();
    for at in 0..bytes.len() {
        let mut spoiled = bytes.clone();
        spoiled[at] ^= 1 << (at % 8);
        match read(&spoiled) {
            Ok(run) => assert!(run.damaged > 0 || run.tail != Tail::Complete, "{at}"),
            Err(error) => assert!(at < 12 && error.is_input(), "{at}: {error}"),
        }
        if at >= 12 {
            let cut = read(&bytes[..at]).unwrap();
            assert!(cut.damaged == 0 && cut.history.values <= whole.history.values, "{at}");
        }
    }
    let long = [&u64::MAX.to_le_bytes()[..], &crc::masked(&u64::MAX.to_le_bytes()).to_le_bytes()].concat();
    assert!(read(&long).unwrap().damage[0].what.contains("256 MiB"));
    assert_eq!(read(&record(&[0xFF; 9])).unwrap().damaged, 1);
}
