//! The drivers of clusters: an array of processes, and Ray with two nodes of which one is killed, give the bytes of one
//! machine.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{Copy, program, run, tree};

const CASE: &str = "scratch-moe";

/// What an audit left, but for the file that is this computer's own.
fn left(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    tree(folder).into_iter().filter(|(name, _)| name != ".scratchproof-inputs").collect()
}

fn driver(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers").join(name)
}

fn alone(case: &Path, folder: &Path) -> i32 {
    run(program().arg("audit").arg(case).arg("-o").arg(folder)).status
}

#[test]
fn an_array_of_eight_tasks() {
    let copy = Copy::of(CASE);
    let (case, plan, one) = (copy.path("case.toml"), copy.path("plan.json"), copy.path("one"));
    let status = alone(&case, &one);
    assert_eq!(run(program().arg("plan").arg(&case).arg("-o").arg(&plan)).status, 0);
    // Slurm counts from 1 here, Kubernetes from 0.
    let task = |number: usize| {
        let mut task = Command::new("bash");
        task.arg(driver("array.sh")).arg(&plan).env("SCRATCHPROOF", env!("CARGO_BIN_EXE_scratchproof"));
        if number < 4 {
            task.envs([("SLURM_ARRAY_TASK_ID", (number + 1).to_string())]);
            task.envs([("SLURM_ARRAY_TASK_COUNT", "8"), ("SLURM_ARRAY_TASK_MIN", "1")]);
        } else {
            task.envs([("JOB_COMPLETION_INDEX", number.to_string()), ("SHARES", "8".to_owned())]);
        }
        task.stderr(Stdio::piped()).spawn().expect("bash is there")
    };
    let tasks: Vec<_> = (0..8).map(task).collect();
    for task in tasks {
        let done = task.wait_with_output().expect("a task");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let out = copy.path("reduced");
    let reduced = run(program().arg("reduce").arg(&plan).arg(copy.path("units")).arg("-o").arg(&out));
    assert_eq!(reduced.status, status, "{}", reduced.stderr);
    assert_eq!(left(&out), left(&one));
}

/// The search for disguises is work like any other: the plan makes none, and what rests on it has the bytes of one machine
/// whoever made it. This parent was written in other coordinates.
#[test]
fn a_parent_in_disguise_is_found_by_units_in_any_split_and_order() {
    let copy = Copy::of("pruned");
    let (case, plan, one) = (copy.path("case.toml"), copy.path("plan.json"), copy.path("one"));
    let status = alone(&case, &one);
    let figures = std::fs::read_to_string(one.join("report.json")).expect("a report");
    assert!(figures.contains("relabelled:"), "the parent is in disguise");
    assert_eq!(run(program().arg("plan").arg(&case).arg("-o").arg(&plan)).status, 0);
    let planned: serde_json::Value = serde_json::from_slice(&std::fs::read(&plan).expect("a plan")).expect("JSON");
    let done: Vec<&String> = planned["done"].as_object().expect("pieces").keys().collect();
    assert_eq!(done, ["formulas", "growth"], "the plan searched for nothing");
    let units = planned["units"].as_array().expect("units");
    let place = |name: &str| units.iter().position(|unit| unit["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    assert!(place("search-0000") < place("figures-00000") && place("injected-0000") < place("figures-00000"));
    assert_eq!(units[place("figures-00000")]["after"], serde_json::json!(["search-0000"]));
    let worker = |only: &str, folder: &Path| {
        let mut command = program();
        let done = run(command.arg("worker").arg(&plan).args(["--only", only]).arg("-o").arg(folder));
        assert_eq!(done.status, 0, "{only}: {}", done.stderr);
    };
    let reduced = |folder: &Path, out: &Path| {
        let done = run(program().arg("reduce").arg(&plan).arg(folder).arg("-o").arg(out));
        assert_eq!(done.status, status, "{}", done.stderr);
        assert_eq!(left(out), left(&one));
    };
    // The last share first, each in a folder of its own: those that lack the search make it for themselves.
    let apart = copy.path("apart");
    for share in ["2/3", "1/3", "0/3"] {
        worker(share, &apart.join(share.replace('/', "-of-")));
    }
    reduced(&apart, &copy.path("from-apart"));
    // One folder, unit after unit from the last one on: the first that needs the search makes it for all.
    let shared = copy.path("shared");
    for at in (0..units.len()).rev() {
        worker(&at.to_string(), &shared);
    }
    reduced(&shared, &copy.path("from-shared"));
    std::fs::remove_file(shared.join("search-0000.json")).expect("removed");
    let lacking = run(program().arg("reduce").arg(&plan).arg(&shared).arg("-o").arg(copy.path("none")));
    assert_eq!(lacking.status, 2);
    assert!(lacking.stderr.contains("search-0000, is lacking"), "{}", lacking.stderr);
}

/// A Python that has Ray, as `.ci/run` installs it and names it in `SCRATCHPROOF_PYTHON`; elsewhere the test says what it
/// lacks and ends.
#[test]
#[allow(clippy::print_stderr, reason = "what was left out must be seen")]
fn ray_with_two_nodes_of_which_one_is_killed() {
    let Some(python) = std::env::var_os("SCRATCHPROOF_PYTHON") else {
        eprintln!("not run: SCRATCHPROOF_PYTHON names no Python that has Ray (pip install -r .ci/python.txt)");
        return;
    };
    let copy = Copy::of(CASE);
    let (case, one, out) = (copy.path("case.toml"), copy.path("one"), copy.path("out"));
    let status = alone(&case, &one);
    let mut command = Command::new(python);
    command.arg(driver("ray_two_nodes.py")).arg(env!("CARGO_BIN_EXE_scratchproof")).arg(&case).arg(&out);
    let done = command.output().expect("Python starts");
    let talk = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{talk}");
    let said: serde_json::Value =
        serde_json::from_slice(done.stdout.split(|byte| *byte == b'\n').next().unwrap_or_default()).expect("JSON");
    let count = |key: &str| said[key].as_i64().unwrap_or_else(|| panic!("{key} in {said}"));
    assert_eq!(count("status"), i64::from(status), "{talk}");
    assert_eq!(count("lost"), 1, "one unit was under way on the node that was killed");
    // The unit under way may have ended in the moment of the kill.
    assert!(count("begun") - count("units") <= 1, "the lost unit alone is done again: {said}");
    assert_eq!(left(&out), left(&one));
}
