//! Optimizer states beside checkpoints, through the whole audit.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{fixtures, program, run};

/// A copy of the series with its case.
fn copied(folder: &Path) {
    let from = fixtures().join("optimizer/run");
    for step in fs::read_dir(&from).unwrap().flatten() {
        let to = folder.join("run").join(step.file_name());
        if step.path().is_file() {
            fs::copy(step.path(), to).unwrap();
            continue;
        }
        fs::create_dir_all(&to).unwrap();
        for file in fs::read_dir(step.path()).unwrap().flatten() {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    let case = "schema = 1\nname = \"states\"\n[claim]\nstatement = \"from-scratch\"\n[subject]\n\
                checkpoints = \"run/step-{step}\"\n[[run]]\nlog = \"run/history.json\"\n";
    fs::write(folder.join("case.toml"), case).unwrap();
}

/// The report of a series that `change` was done to.
fn audited(change: impl FnOnce(&Path)) -> Value {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("run")).unwrap();
    copied(folder.path());
    change(&folder.path().join("run"));
    let output = folder.path().join("output");
    run(program().arg("audit").arg(folder.path().join("case.toml")).arg("-o").arg(&output));
    serde_json::from_slice(&fs::read(output.join("report.json")).unwrap()).unwrap()
}

/// Grade and direction of the findings of a code.
fn found(report: &Value, code: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = report["findings"].as_array().unwrap().iter().filter(|finding| finding["code"] == code);
    all.map(|finding| (text(&finding["grade"]), text(&finding["direction"]))).collect()
}

#[track_caller]
fn says(report: &Value, code: &str, grade: &str, direction: &str) {
    let found = found(report, code);
    assert!(found.contains(&(grade.to_owned(), direction.to_owned())), "{code}: {found:?}\n{:#}", report["findings"]);
}

fn against(report: &Value) -> Vec<String> {
    let all = report["findings"].as_array().unwrap().iter();
    let of = all.filter(|f| f["direction"] == "against" && f["code"].as_str().unwrap().starts_with("chain/optimizer-"));
    of.map(|finding| finding["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn true_states_tie_log_and_weights() {
    let report = audited(|_| {});
    assert_eq!(against(&report), Vec::<String>::new());
    says(&report, "chain/optimizer-replay", "strong", "for");
    says(&report, "chain/optimizer-norm", "moderate", "for");
    says(&report, "chain/optimizer-rows", "moderate", "for");
    says(&report, "chain/optimizer-direction", "moderate", "for");
    says(&report, "chain/optimizer-settings", "moderate", "for");
    for code in ["steps", "moments"] {
        says(&report, &format!("chain/optimizer-{code}"), "weak", "for");
    }
    let ground = report["verdict"]["ground"].as_str().unwrap();
    assert!(ground.contains("optimiser's states"), "{ground}");
}

#[test]
fn states_of_other_weights_are_found() {
    // The same states beside weights of another sign: nothing follows.
    let report = audited(|run| {
        for step in [0, 20, 60, 99, 100, 150] {
            let path = run.join(format!("step-{step}/model.safetensors"));
            let mut bytes = fs::read(&path).unwrap();
            let header = 8 + usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
            bytes[header..].as_chunks_mut::<4>().0.iter_mut().for_each(|four| four[3] ^= 0x80);
            fs::write(path, bytes).unwrap();
        }
    });
    says(&report, "chain/optimizer-replay", "moderate", "against");
    says(&report, "chain/optimizer-direction", "strong", "against");
    assert!(!report["verdict"]["ground"].as_str().unwrap().contains("optimiser's states"));
}

#[test]
fn one_state_under_several_steps_is_found() {
    let report = audited(|run| {
        fs::copy(run.join("step-99/optimizer.pt"), run.join("step-150/optimizer.pt")).unwrap();
    });
    says(&report, "chain/optimizer-copies", "moderate", "against");
}

#[test]
fn states_of_another_step_do_not_follow() {
    let report = audited(|run| {
        fs::copy(run.join("step-60/optimizer.pt"), run.join("other.pt")).unwrap();
        fs::copy(run.join("step-100/optimizer.pt"), run.join("step-60/optimizer.pt")).unwrap();
        fs::copy(run.join("other.pt"), run.join("step-100/optimizer.pt")).unwrap();
        fs::remove_file(run.join("other.pt")).unwrap();
    });
    assert!(!against(&report).is_empty(), "{:#}", report["findings"]);
    assert!(found(&report, "chain/optimizer-replay").is_empty(), "states of steps 99 and 60");
}

#[test]
fn missing_and_broken_states_accuse_nobody() {
    let report = audited(|run| {
        fs::remove_file(run.join("step-20/optimizer.pt")).unwrap();
        fs::remove_file(run.join("step-99/optimizer.pt")).unwrap();
        fs::write(run.join("step-60/optimizer.pt"), b"PK\x03\x04 not a zip").unwrap();
    });
    assert_eq!(against(&report), Vec::<String>::new());
    says(&report, "chain/optimizer-unused", "context", "neutral");
    says(&report, "chain/optimizer-norm", "moderate", "for");
}

/// States hold the rate of the next update. Behind the last one no row has it: a schedule that ends leaves it beside the log.
#[test]
fn the_rate_behind_the_end_of_a_log_is_no_contradiction() {
    let asked = |last: i64| {
        let report = audited(|run| {
            let path = run.join("history.json");
            let mut log: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let rows = log["history"].as_array_mut().unwrap();
            rows.retain(|row| row["_step"].as_i64().unwrap() <= last);
            for row in rows.iter_mut().filter(|row| row["_step"].as_i64().unwrap() >= 98) {
                row["train/learning_rate"] = 0.007.into();
            }
            fs::write(&path, log.to_string()).unwrap();
            fs::remove_dir_all(run.join("step-150")).unwrap();
            fs::remove_dir_all(run.join("step-99")).unwrap();
        });
        found(&report, "chain/optimizer-settings").contains(&("moderate".to_owned(), "against".to_owned()))
    };
    assert!(!asked(100) && asked(101));
}

#[test]
fn a_log_of_another_run_is_not_tied_by_them() {
    // Another run's gradient norms: those of this one in another order.
    let report = audited(|run| {
        let path = run.join("history.json");
        let mut log: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let rows = log["history"].as_array_mut().unwrap();
        let norms: Vec<Value> = rows.iter().map(|row| row["train/grad_norm"].clone()).collect();
        let count = norms.len();
        rows.iter_mut().enumerate().for_each(|(at, row)| row["train/grad_norm"] = norms[(at + 7) % count].clone());
        fs::write(path, log.to_string()).unwrap();
    });
    assert!(!found(&report, "chain/optimizer-norm").contains(&("moderate".into(), "for".into())));
    assert!(!report["verdict"]["ground"].as_str().unwrap().contains("optimiser's states"));
}
