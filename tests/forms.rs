//! One series in every form: the audit says of each what it says of the safetensors.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{fixtures, program, refused, run};

/// Verdict, components, findings and coverage of a series, without what names its files.
fn audited(folder: &Path, checkpoints: &str) -> Value {
    let models = fixtures().join("forms");
    let shown = models.display();
    let case = format!(
        "schema = 1\nname = \"forms\"\n[claim]\nstatement = \"from-scratch\"\n[subject]\nname = \"tiny\"\n\
         checkpoints = \"{shown}/{checkpoints}\"\n[[parent]]\nname = \"parent\"\nmodel = \"{shown}/fsdp/truth-60\"\n\
         released = \"2026-01-01\"\n[[control]]\nname = \"control\"\nmodel = \"{shown}/fsdp/truth-0\"\n"
    );
    let (file, output) = (folder.join("case.toml"), folder.join("output"));
    fs::write(&file, case).unwrap();
    let ran = run(program().arg("audit").arg(&file).arg("-o").arg(&output));
    assert_eq!(ran.status, 3, "{checkpoints}: {}{}", ran.stderr, ran.stdout);
    let report = fs::read(output.join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let part = |name: &str| report[name].clone();
    // Not every form keeps the optimizer's states; without their findings the others have other numbers.
    let states = |finding: &Value| finding["code"].as_str().unwrap().starts_with("chain/optimizer-");
    let mut findings = part("findings").as_array().unwrap().clone();
    findings.retain(|finding| !states(finding));
    for finding in &mut findings {
        finding["id"] = Value::Null;
    }
    let mut verdict = part("verdict");
    let reasons = verdict["reasons"].as_array().unwrap().clone();
    let code =
        |id: &Value| report["findings"].as_array().unwrap().iter().find(|f| f["id"] == *id).unwrap()["code"].clone();
    verdict["reasons"] = reasons.iter().map(code).collect();
    serde_json::json!([verdict, part("components"), findings, report["coverage"]["compared"].clone()])
}

#[test]
fn every_form_of_a_series_has_the_verdict_of_its_safetensors() {
    let truth = audited(tempfile::tempdir().unwrap().path(), "hf-trainer/checkpoint-{step}");
    for checkpoints in [
        "bin/checkpoint-{step}",
        "bin-sharded/checkpoint-{step}",
        "legacy/checkpoint-{step}",
        "nested/step={step}.ckpt",
        "gguf/step{step}.gguf",
        "npz/step{step}.npz",
        "megatron/iter_{step}",
        "consolidated/step{step}",
    ] {
        let found = audited(tempfile::tempdir().unwrap().path(), checkpoints);
        assert!(found == truth, "{checkpoints}: {found:#}\n{truth:#}");
    }
}

#[test]
fn a_training_of_two_processes_is_judged_from_its_distributed_checkpoints() {
    let distributed = audited(tempfile::tempdir().unwrap().path(), "fsdp/checkpoint-{step}");
    assert_eq!(distributed, audited(tempfile::tempdir().unwrap().path(), "fsdp/truth-{step}"));
    assert_ne!(distributed[0]["conditions"]["chain"], "fails");
}

/// 450 steps by two processes of FSDP2, with log and repository: the claim is confirmed from the distributed checkpoints, and
/// the two states that follow each other replay the update between them.
#[test]
fn a_training_of_two_processes_is_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("output");
    let case = fixtures().join("forms/fsdp-series/case.toml");
    let ran = run(program().arg("audit").arg(case).arg("-o").arg(&output));
    assert_eq!(ran.status, 0, "{}{}", ran.stderr, ran.stdout);
    let report: Value = serde_json::from_slice(&fs::read(output.join("report.json")).unwrap()).unwrap();
    for condition in ["start", "chain", "parent", "time"] {
        assert_eq!(report["verdict"]["conditions"][condition], "holds", "{condition}");
    }
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().all(|finding| finding["direction"] != "against"), "{findings:#?}");
    for code in ["steps", "moments", "replay", "direction", "rows"] {
        let code = format!("chain/optimizer-{code}");
        assert!(
            findings.iter().any(|f| f["code"] == code.as_str() && f["direction"] == "for"),
            "{code}: {findings:#?}"
        );
    }
}

#[test]
fn what_is_not_read_has_its_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let inspect = |name: &str, bytes: &[u8], words: &[&str]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        refused(&run(program().arg("inspect").arg(&path)), words);
    };
    inspect("model.h5", b"\x89HDF\r\n\x1a\n0000", &["model.h5", "HDF5", "numpy.savez"]);
    inspect("model.pt", b"<!DOCTYPE html>", &["model.pt", "web page"]);
    inspect("model.pt", &[0x1f, 0x8b, 8, 0], &["model.pt", "gzip"]);
    inspect("flax_model.msgpack", &[0x81, 0xa6, 1, 2], &["flax_model.msgpack", "safetensors.flax"]);
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 99\n";
    inspect("pytorch_model.bin", pointer, &["Git LFS pointer", "sha256:0123", "99", "git lfs pull"]);
    inspect("model.pt", b"cos\nsystem\n(X\x04\0\0\0touctR.", &["model.pt"]);
    let nested = folder.path().join("run");
    fs::create_dir_all(nested.join("global_step1")).unwrap();
    fs::write(nested.join("latest"), "global_step7").unwrap();
    refused(&run(program().arg("inspect").arg(&nested)), &["latest", "global_step7", "global_step1"]);
}
