use std::fs;

use polars::prelude::{DataType, ParquetReader, SerReader};

use super::sample;
use super::{Evidence, Reference, RunRow, StartRow, TensorRow, TimelineRow, TrajectoryRow, seal};

#[test]
fn what_was_written_is_read_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let evidence = full();
    evidence.write(dir.path()).expect("written");
    assert_eq!(Evidence::read(dir.path()).expect("read"), evidence);
    for file in Evidence::FILES {
        assert!(dir.path().join(file).is_file(), "{file}");
    }
}

#[test]
fn empty_tables_keep_their_columns_and_missing_files_are_empty() {
    let dir = tempfile::tempdir().expect("a folder");
    assert_eq!(Evidence::read(dir.path()).expect("nothing to read"), Evidence::default());
    Evidence::default().write(dir.path()).expect("written");
    assert_eq!(Evidence::read(dir.path()).expect("read"), Evidence::default());
}

#[test]
fn two_writes_give_the_same_bytes() {
    let (first, second) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    full().write(first.path()).expect("written");
    full().write(second.path()).expect("written");
    for file in Evidence::FILES {
        let read = |dir: &tempfile::TempDir| fs::read(dir.path().join(file)).expect("a file");
        assert!(read(&first) == read(&second), "{file}");
    }
}

#[test]
fn columns_have_the_types_of_the_contract() {
    let dir = tempfile::tempdir().expect("a folder");
    full().write(dir.path()).expect("written");
    let types = |file: &str| -> Vec<(String, DataType)> {
        let file = fs::File::open(dir.path().join(file)).expect("a file");
        let frame = ParquetReader::new(file).finish().expect("parquet");
        frame.columns().iter().map(|column| (column.name().to_string(), column.dtype().clone())).collect()
    };
    let (text, count, index, figure) = (DataType::String, DataType::Int64, DataType::Int32, DataType::Float64);
    let is = |found: Vec<(String, DataType)>, expected: &[(&str, &DataType)]| {
        let expected: Vec<_> = expected.iter().map(|&(name, dtype)| (name.to_owned(), dtype.clone())).collect();
        assert_eq!(found, expected);
    };
    let names = [("tensor", &text), ("component", &text), ("family", &text), ("layer", &index), ("expert", &index)];
    let mut trajectory = vec![("step", &count)];
    trajectory.extend(names);
    trajectory.extend([("reference", &text), ("elements", &count)]);
    trajectory.extend(["cosine", "pearson", "l2", "relative_l2", "rms", "z", "log10_p"].map(|name| (name, &figure)));
    is(types("trajectory.parquet"), &trajectory);
    let map = [("parent", &text), ("family", &text), ("layer_subject", &index), ("layer_parent", &index)];
    is(types("layer_map.parquet"), &[&map[..], &[("pearson", &figure), ("z", &figure)]].concat());
    is(types("timeline.parquet"), &["at", "until", "what", "source", "grade"].map(|name| (name, &text)));
    is(types("runs.parquet"), &[("run", &text), ("key", &text), ("step", &count), ("value", &figure)]);
}

#[test]
fn figures_that_are_not_finite_are_null() {
    let dir = tempfile::tempdir().expect("a folder");
    let row = |value| RunRow { run: "r".into(), key: "loss".into(), step: 1, value };
    let rows = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 2.5].map(|value| row(Some(value)));
    Evidence { runs: rows.to_vec(), ..Evidence::default() }.write(dir.path()).expect("written");
    let read = Evidence::read(dir.path()).expect("read");
    assert_eq!(read.runs.iter().map(|row| row.value).collect::<Vec<_>>(), [None, None, None, Some(2.5)]);
}

#[test]
fn a_file_that_is_no_table_is_an_error_of_input() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("runs.parquet"), b"PAR1 and then nothing").expect("written");
    assert!(Evidence::read(dir.path()).expect_err("not parquet").is_input());
    Evidence::default().write(dir.path()).expect("written");
    fs::copy(dir.path().join("chain.parquet"), dir.path().join("runs.parquet")).expect("copied");
    assert!(Evidence::read(dir.path()).expect_err("other columns").is_input());
}

#[test]
fn a_damaged_table_is_an_error_and_never_a_panic() {
    let dir = tempfile::tempdir().expect("a folder");
    full().write(dir.path()).expect("written");
    let path = dir.path().join("chain.parquet");
    let whole = fs::read(&path).expect("a file");
    assert!(seal::holds(&whole));
    for at in 0..whole.len() {
        assert!(!seal::holds(&whole[..at]), "cut at {at}");
        for damage in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= damage;
            assert!(!seal::holds(&bytes), "byte {at}");
        }
    }
    fs::write(&path, &whole[1..]).expect("written");
    assert!(Evidence::read(dir.path()).expect_err("damaged").is_input());
}

#[test]
fn references_are_read_as_they_are_written() {
    let named = Reference::Parent("a:b".into());
    for reference in [Reference::Init, Reference::Previous, named, Reference::Control(String::new())] {
        assert_eq!(reference.to_string().parse::<Reference>().expect("a reference"), reference);
    }
    assert!("parents:x".parse::<Reference>().is_err());
}

/// The sample with something in every table.
fn full() -> Evidence {
    let mut evidence = sample::evidence(true);
    let tensor = "model.layers.3.mlp.experts.1.up_proj.weight";
    evidence.trajectory.push(TrajectoryRow {
        step: 320,
        tensor: tensor.into(),
        component: "experts".into(),
        family: "up".into(),
        layer: Some(3),
        expert: Some(1),
        reference: Reference::Parent("GLM-like".into()),
        elements: 16_384,
        cosine: Some(0.1),
        pearson: Some(0.099),
        l2: Some(1.5),
        relative_l2: None,
        rms: Some(0.01),
        z: Some(12.5),
        log10_p: Some(-35.2),
    });
    evidence.tensors.push(TensorRow {
        model: "subject".into(),
        tensor: tensor.into(),
        component: "experts".into(),
        family: "up".into(),
        layer: Some(3),
        expert: None,
        residual: "columns".into(),
        dtype: "BF16".into(),
        shape: "256x64".into(),
        elements: 16_384,
        bytes: 32_768,
        known: true,
        constant: false,
    });
    evidence.timeline.push(TimelineRow {
        at: "2026-08-02T03:04:05Z".into(),
        until: None,
        what: "run started".into(),
        source: "run log".into(),
        grade: "self-asserted".into(),
    });
    evidence.start.push(StartRow {
        tensor: tensor.into(),
        component: "experts".into(),
        family: "up".into(),
        layer: Some(3),
        expert: Some(1),
        elements: 16_384,
        mean: Some(0.0),
        std: Some(0.02),
        excess_kurtosis: Some(0.01),
        max_abs: Some(0.08),
        scheme: Some("normal".into()),
        rule: None,
        fit_distance: Some(0.004),
        fit_log10_p: Some(-0.2),
        matrices: 4,
        edge_ratio: Some(0.99),
        edge_score: Some(-0.5),
        edge_log10_p: Some(-0.4),
        cosines_z: Some(-0.5),
        cosines_log10_p: Some(-0.1),
        row_norm_log10_p: Some(-0.3),
        column_norm_log10_p: None,
        nearest: Some("matrix 0 against 1".into()),
        nearest_pearson: Some(0.01),
        nearest_log10_p: Some(0.0),
    });
    evidence
}
