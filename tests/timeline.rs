//! `scratchproof timeline`: the record alone, as users run it.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::fs;

use scratchproof::evidence::Evidence;
use serde_json::Value;
use support::{cases, fixtures, names, program, refused, run};

fn of(arguments: &[&str]) -> (i32, Value) {
    let run = run(program().args(["--format", "json", "timeline"]).args(arguments));
    let value = serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", run.stdout, run.stderr));
    (run.status, value)
}

fn case(name: &str) -> String {
    fixtures().join("cases").join(name).join("case.toml").display().to_string()
}

fn codes<'a>(value: &'a Value, code: &str) -> Vec<&'a Value> {
    value["findings"].as_array().expect("findings").iter().filter(|finding| finding["code"] == code).collect()
}

#[test]
fn no_record_of_a_fixture_contradicts_itself() {
    for name in cases() {
        let (status, value) = of(&[&case(&name)]);
        assert_eq!(value["schema"], "scratchproof.timeline/1");
        let consistent = value["condition"] == "holds";
        assert_eq!(status, if consistent { 0 } else { 3 }, "{name}");
        assert_ne!(value["outcome"], "contradicted", "{name}: {}", value["findings"]);
        for finding in codes(&value, "time/order") {
            assert_eq!(
                (&finding["grade"], &finding["direction"]),
                (&"weak".into(), &"for".into()),
                "{name}: {finding}"
            );
        }
        let events = value["events"].as_array().expect("events");
        let times: Vec<&str> = events.iter().map(|event| event["at"].as_str().expect("a time")).collect();
        assert!(times.is_sorted(), "{name}");
    }
}

#[test]
fn the_folder_holds_the_record_and_is_the_same_whatever_the_threads() {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, threads: &str| {
        let out = dir.path().join(name);
        let run = run(program().args(["--threads", threads, "timeline"]).arg(case("scratch-moe")).arg("-o").arg(&out));
        assert_eq!(run.status, 0, "{}", run.stderr);
        out
    };
    let (one, two) = (write("one", "1"), write("two", "2"));
    assert_eq!(names(&one), [".scratchproof", "evidence", "report.html", "report.json", "report.md"]);
    let tables = names(&one.join("evidence"));
    assert!(["runs.parquet", "timeline.parquet"].iter().all(|name| tables.iter().any(|table| table == name)));
    assert!(!tables.iter().any(|name| name == "trajectory.parquet"));
    for name in ["report.html", "report.json", "report.md", "evidence/runs.parquet", "evidence/timeline.parquet"] {
        assert!(fs::read(one.join(name)).expect("a file") == fs::read(two.join(name)).expect("a file"), "{name}");
    }
    let evidence = Evidence::read(&one.join("evidence")).expect("tables");
    assert!(evidence.runs.iter().any(|row| &*row.key == "train/loss") && !evidence.timeline.is_empty());
    let page = fs::read_to_string(one.join("report.html")).expect("a page");
    assert!(page.contains("class=\"lanes\""));
    // One script, the page's own, allowed by its digest.
    assert!(page.matches("<script").count() == 1 && page.contains("script-src 'sha256-"));
}

#[test]
fn the_record_is_read_without_the_weights() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = fixtures().join("cases/scratch-moe/wandb");
    let log = log.join(&names(&log)[0]);
    let text = format!(
        "schema = 1\n[subject]\nmodel = \"nowhere\"\n[[run]]\nlog = \"{}\"\n[[parent]]\nname = \"P\"\nmodel = \"nowhere \
         either\"\nreleased = \"2027-01-01\"\n",
        log.display()
    );
    let path = dir.path().join("case.toml");
    fs::write(&path, text).expect("a case");
    let (status, value) = of(&[path.to_str().expect("text")]);
    assert_eq!((status, &value["outcome"]), (0, &"consistent".into()), "{}", value["findings"]);
    let start = codes(&value, "time/run-start");
    assert_eq!((start.len(), &start[0]["direction"], &start[0]["grade"]), (1, &"for".into(), &"weak".into()));
    assert!(value["missing"].to_string().contains("the final checkpoint"));
    assert!(value["skipped"].to_string().contains("final checkpoint"));
}

#[test]
fn nothing_to_read_is_open_and_a_mistake_is_status_2() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("case.toml");
    fs::write(&path, "schema = 1\n[subject]\nmodel = \"nowhere\"\n[[run]]\nlog = \"gone\"\n").expect("a case");
    refused(&run(program().arg("timeline").arg(&path)), &["gone"]);
    fs::write(&path, "schema = 1\n[subject]\nmodel = \"nowhere\"\n").expect("a case");
    let (status, value) = of(&[path.to_str().expect("text")]);
    assert_eq!((status, &value["outcome"], &value["condition"]), (3, &"open".into(), &"untested".into()));
    let saved = "schema = 1\n[subject]\ncheckpoints = [{ step = 0, model = \"a\", saved = \"soon\" }]\n";
    fs::write(&path, saved).expect("a case");
    refused(&run(program().arg("timeline").arg(&path)), &["checkpoint 1 of the list", "soon"]);
}
