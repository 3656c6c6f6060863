//! What leaves the machine, and what an output may tell: nothing is connected to unless the case names something remote,
//! and keys stand in no output.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Copy, program, tree};

const CASE: &str = "dense-sgd";

/// Keys that no output may hold.
const KEYS: &[(&str, &str)] = &[
    ("HF_TOKEN", "hf_plantedplantedplanted0001"),
    ("WANDB_API_KEY", "planted0002planted0002planted0002planted"),
    ("GITHUB_TOKEN", "ghp_plantedplantedplanted0003"),
    ("GITLAB_TOKEN", "glpat-plantedplantedplanted0004"),
    ("GITEA_TOKEN", "plantedplantedplantedplantedplanted00005"),
    ("AWS_SECRET_ACCESS_KEY", "planted0006planted0006planted0006planted"),
];

/// Attempts to reach another machine since the network name space was made, as the kernel counts them.
const COUNT: &str = "awk '/^Ip:/ && !seen++ { for (i = 2; i <= NF; i++) name[i] = $i; next } \
                     /^Ip:/ { for (i = 2; i <= NF; i++) if (name[i] == \"OutNoRoutes\" || name[i] == \"OutRequests\") n += $i } \
                     END { print n + 0 }' /proc/net/snmp";

/// A command in a network name space of its own, followed by how many packets it tried to send.
fn alone(script: &str, arguments: &[&Path]) -> Option<u64> {
    let whole = format!("{script}\n{COUNT}");
    let mut command = Command::new("unshare");
    command.args(["-rn", "bash", "-c", &whole, env!("CARGO_BIN_EXE_scratchproof")]).args(arguments);
    command.envs(KEYS.iter().copied());
    let out = command.output().ok().filter(|out| out.status.success())?;
    String::from_utf8_lossy(&out.stdout).lines().last()?.trim().parse().ok()
}

/// Where name spaces may not be made, as in some containers, the kernel cannot be asked.
fn may_be_alone() -> bool {
    let made = Command::new("unshare").args(["-rn", "true"]).status();
    made.is_ok_and(|status| status.success())
}

#[test]
fn an_audit_of_local_files_sends_nothing() {
    if !may_be_alone() {
        return;
    }
    let copy = Copy::of(CASE);
    let (case, out) = (copy.path("case.toml"), copy.path("out"));
    assert_eq!(
        alone("(exec 3<>/dev/tcp/10.1.1.1/80) 2>/dev/null", &[]).map(|sent| sent > 0),
        Some(true),
        "what counts counts"
    );
    for script in [
        "\"$0\" -q audit \"$1\" -o \"$2\" >/dev/null",
        "\"$0\" -q timeline \"$1\" >/dev/null || [ $? = 3 ]",
        "\"$0\" -q report \"$2\" --format markdown >/dev/null",
    ] {
        assert_eq!(alone(script, &[&case, &out]), Some(0), "{script}");
    }
    // A remote input is another matter, unless it is refused before anything is opened.
    copy.replace("../../models/control-llama", "https://192.0.2.1/model");
    assert_eq!(alone("\"$0\" --offline -q audit \"$1\" >/dev/null 2>&1", &[&case]), Some(0));
    assert!(alone("timeout 20 \"$0\" -q audit \"$1\" >/dev/null 2>&1", &[&case]).is_some_and(|sent| sent > 0));
}

#[test]
fn no_key_is_in_any_output() {
    let copy = Copy::of(CASE);
    let home = copy.path("home");
    fs::create_dir(&home).expect("a folder");
    fs::write(
        home.join(".netrc"),
        "machine api.wandb.ai login user password planted0007planted0007planted0007planted\n",
    )
    .expect("written");
    let keys: Vec<&str> =
        KEYS.iter().map(|(_, key)| *key).chain(["planted0007planted0007planted0007planted"]).collect();
    let mut said = BTreeMap::new();
    for (name, arguments) in [
        ("audit", vec!["-v", "audit", "case.toml", "-o", "out"]),
        ("timeline", vec!["-v", "timeline", "case.toml"]),
        ("inspect", vec!["-v", "inspect", "checkpoints/step-0"]),
        ("offline", vec!["--offline", "-v", "inspect", "hf://org/model"]),
        ("unreachable", vec!["-v", "inspect", "https://127.0.0.1:1/hf_plantedplantedplanted0001/model"]),
    ] {
        let mut command = program();
        command.args(&arguments).current_dir(copy.folder()).env("HOME", &home).envs(KEYS.iter().copied());
        let done = support::run(&mut command);
        said.insert(name.to_owned(), format!("{}{}", done.stdout, done.stderr).into_bytes());
    }
    let files = tree(&copy.path("out"));
    assert!(files.contains_key("report.json"), "{:?}", files.keys());
    for (name, bytes) in said.iter().chain(&files) {
        for key in &keys {
            assert!(!bytes.windows(key.len()).any(|part| part == key.as_bytes()), "{name} holds {key}");
        }
    }
}
