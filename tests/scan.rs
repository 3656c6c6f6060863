//! Fingerprints, and one model against many of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use scratchproof::checkpoint::Checkpoint;
use scratchproof::fingerprint::{Fingerprint, LARGEST};
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn run(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_scratchproof");
    Command::new(program).current_dir(fixtures()).args(arguments).output().expect("the program runs")
}

/// Fingerprints of all parents and controls with heads, in a folder.
fn prints() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["parent-llama", "parent-glm", "control-llama", "control-mixtral", "control-phi"] {
        let file = folder.path().join(format!("{name}.fp"));
        let done = run(&["fingerprint", &format!("models/{name}"), "-o", file.to_str().expect("text")]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(fs::metadata(file).expect("a file").len() <= LARGEST);
    }
    folder
}

fn scanned(subject: &str, folder: &Path) -> (i32, Vec<(String, String)>) {
    let done = run(&["scan", subject, folder.to_str().expect("text"), "--format", "json"]);
    let json: Value = serde_json::from_slice(&done.stdout).expect("json");
    let text = |v: &Value| v.as_str().expect("text").to_owned();
    let one = |c: &Value| (text(&c["candidate"]["name"]), text(&c["outcome"]));
    (done.status.code().expect("a status"), json["candidates"].as_array().expect("a list").iter().map(one).collect())
}

/// Whoever continued, stacked, up-cycled or pruned a parent is at least a question, also where no axis has the same length;
/// nobody else is anything.
#[test]
fn the_parent_is_found_among_many_and_nobody_else() {
    let prints = prints();
    for (case, parent) in [
        ("continued", "parent-glm"),
        ("dense-continued", "parent-llama"),
        ("depth-upscaled", "parent-glm"),
        ("upcycled", "parent-llama"),
        ("pruned", "parent-llama"),
        ("pruned-depth", "parent-llama"),
    ] {
        let (_, answers) = scanned(&format!("cases/{case}/checkpoints/step-600"), prints.path());
        assert_eq!(answers.len(), 5, "{answers:?}");
        for (name, outcome) in &answers {
            let found = outcome == "similar" || outcome == "question";
            assert_eq!(found, name == parent, "{case}: {answers:?}");
        }
        assert_eq!(answers[0].0, parent, "the nearest stands first: {answers:?}");
    }
    for case in ["scratch-moe", "scratch-same-arch", "dense-sgd", "distilled"] {
        let (status, answers) = scanned(&format!("cases/{case}/checkpoints/step-600"), prints.path());
        assert!(answers.iter().all(|(_, outcome)| outcome == "silent" || outcome == "untested"), "{case}: {answers:?}");
        assert_eq!(status, 0, "{case}: {answers:?}");
    }
}

#[test]
fn a_fingerprint_comes_back_as_it_was_and_is_the_same_every_time() {
    let model = Checkpoint::open(&fixtures().join("models/parent-llama")).expect("a model");
    let made = Fingerprint::of(&model, "parent", 7).expect("a fingerprint");
    let bytes = made.to_bytes().expect("bytes");
    let again = Fingerprint::of(&model, "parent", 7).expect("a fingerprint").to_bytes().expect("bytes");
    assert!(bytes == again);
    let read = Fingerprint::from_bytes(bytes.clone()).expect("a fingerprint");
    assert_eq!((&read.catalogue, &read.rows.rows), (&made.catalogue, &made.rows.rows));
    assert!(read.to_bytes().expect("bytes") == bytes, "bf16 of bf16 is itself");
    let other = Fingerprint::of(&model, "parent", 8).expect("a fingerprint");
    assert_ne!(other.rows.rows, made.rows.rows, "another seed chooses other rows");
}

/// Files cut short or altered are refused or read, and nothing panics.
#[test]
fn broken_fingerprints_are_refused_in_one_sentence() {
    let model = Checkpoint::open(&fixtures().join("models/control-llama")).expect("a model");
    let made = Fingerprint::of(&model, "control", 1).expect("a fingerprint");
    let bytes = made.to_bytes().expect("bytes");
    for end in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        assert!(Fingerprint::from_bytes(bytes[..end].to_vec()).is_err(), "{end}");
    }
    let text = String::from_utf8_lossy(&bytes[8..]).into_owned();
    let head = &text[..text.find("}}").expect("an end of the header")];
    for (from, to) in [
        ("\\\"side\\\":8", "\\\"side\\\":9"),
        ("\\\"side\\\":8", "\\\"side\\\":0"),
        ("\\\"version\\\":1", "\\\"version\\\":2"),
        ("\\\"cross_groups\\\":[0,", "\\\"cross_groups\\\":[9,"),
    ] {
        assert!(head.contains(from), "{from}");
        let at = 8 + text.find(from).expect("a place");
        let mut altered = bytes.clone();
        altered[at..at + to.len()].copy_from_slice(to.as_bytes());
        assert!(Fingerprint::from_bytes(altered).is_err(), "{to}");
    }
    for at in (8..bytes.len().min(4000)).step_by(13) {
        let mut altered = bytes.clone();
        altered[at] ^= 0x11;
        if let Ok(read) = Fingerprint::from_bytes(altered)
            && let (Some(a), Some(b)) = (&read.products, &made.products)
        {
            let _ = scratchproof::disguise::alike(a, b);
        }
    }
}

/// A case whose parent is a fingerprint: who continued it is refuted, who did not is not cleared.
#[test]
fn a_case_takes_a_fingerprint_for_a_parent() {
    let prints = prints();
    for (case, parent, status) in [("dense-continued", "parent-llama", 1), ("dense-sgd", "parent-llama", 3)] {
        let subject = fixtures().join("cases").join(case).join("checkpoints/step-600");
        let text = format!(
            "schema = 1\n[claim]\nstatement = \"from-scratch\"\n[subject]\nmodel = {subject:?}\n[[parent]]\nname = \"closed\"\nfingerprint = \"{parent}.fp\"\n"
        );
        let file = prints.path().join("case.toml");
        fs::write(&file, text).expect("a file");
        let done = run(&["audit", file.to_str().expect("text"), "--format", "json"]);
        let report: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| {
            panic!("{}", String::from_utf8_lossy(&done.stderr));
        });
        let codes: Vec<&str> =
            report["findings"].as_array().expect("findings").iter().filter_map(|f| f["code"].as_str()).collect();
        assert!(codes.contains(&"parent/fingerprint"), "{codes:?}");
        assert_eq!(codes.contains(&"parent/head-signs"), status == 1, "{codes:?}");
        assert_eq!(done.status.code(), Some(status), "{}", report["verdict"]);
        assert!(report["verdict"]["missing"].to_string().contains("the weights of closed"), "{}", report["verdict"]);
    }
}

/// Folders of organisations, a hub's cache, single files of any form: all are opened, and what is not is named with the reason.
#[test]
fn models_are_found_however_deep_they_lie_and_nothing_is_passed_over_in_silence() {
    let root = tempfile::tempdir().expect("a folder");
    let copy = |from: &str, to: &str| {
        let (from, to) = (fixtures().join("models").join(from), root.path().join(to));
        fs::create_dir_all(&to).expect("a folder");
        for file in ["config.json", "model.safetensors"] {
            fs::copy(from.join(file), to.join(file)).expect("a copy");
        }
    };
    copy("parent-llama", "org/parent-llama");
    copy("control-llama", "control-llama");
    copy("control-llama", "hub/models--org--name/snapshots/0123abc");
    fs::create_dir_all(root.path().join("empty/inside")).expect("a folder");
    fs::create_dir_all(root.path().join("broken")).expect("a folder");
    fs::write(root.path().join("broken/model.pth"), b"no model").expect("a file");
    let done = run(&["scan", "models/parent-llama", root.path().to_str().expect("text"), "--format", "json"]);
    let json: Value = serde_json::from_slice(&done.stdout).expect("json");
    let outcomes: Vec<(&str, &str)> = json["candidates"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|c| (c["candidate"]["name"].as_str().expect("a name"), c["outcome"].as_str().expect("an outcome")))
        .collect();
    assert!(outcomes.contains(&("org/parent-llama", "similar")), "{outcomes:?}");
    assert!(outcomes.contains(&("control-llama", "silent")), "{outcomes:?}");
    assert!(outcomes.contains(&("org/name@0123abc", "silent")), "{outcomes:?}");
    let left = json["unread"].to_string();
    assert!(left.contains("empty: no model and no fingerprint is in it") && left.contains("model.pth"), "{left}");
    assert_eq!(done.status.code(), Some(1));
    // Without the model that is alike: one that could not be opened keeps the answer open, an empty folder does not.
    fs::remove_dir_all(root.path().join("org")).expect("removed");
    let status = || run(&["scan", "models/parent-llama", root.path().to_str().expect("text")]).status.code();
    assert_eq!(status(), Some(3));
    fs::remove_dir_all(root.path().join("broken")).expect("removed");
    assert_eq!(status(), Some(0));
}
