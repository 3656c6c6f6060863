//! A run log that is at the W&B service, as users name it: address, key and server come from the environment.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{fixtures, names, program, refused, run};

const KEY: &str = "0123456789abcdef0123456789abcdef01234567";
/// `api:KEY` in base64.
const BASIC: &str = "Basic YXBpOjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc=";

fn recorded(name: &str) -> String {
    fs::read_to_string(fixtures().join("service/answers").join(name)).expect("a recorded answer")
}

/// A server that answers what `fixtures/service/server.py` answers, to those who have the key.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(&stream));
        }
    });
    base
}

fn serve(stream: &TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut known, mut length) = (false, 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let Some((name, value)) = line.trim().split_once(": ") else {
                if line.trim().is_empty() {
                    break;
                }
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "authorization" => known = value == BASIC,
                "content-length" => length = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let (status, answer) = if known { (200, answer(&body)) } else { (401, json!({})) };
        let answer = answer.to_string();
        let mut writer = stream;
        writer
            .write_all(format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{answer}", answer.len()).as_bytes())?;
    }
}

fn answer(body: &[u8]) -> Value {
    let question: Value = serde_json::from_slice(body).unwrap_or_default();
    let query = question["query"].as_str().unwrap_or_default();
    let rows = |name: &str| recorded(name).lines().map(Value::from).collect::<Vec<_>>();
    let run = if query.contains("history(") {
        json!({ "history": rows("history.jsonl") })
    } else if query.contains("events(") {
        json!({ "events": rows("events.jsonl") })
    } else if query.contains("page:") {
        json!({ "page": { "edges": [], "pageInfo": { "hasNextPage": false } } })
    } else {
        serde_json::from_str(&recorded("run.json")).expect("JSON")
    };
    json!({ "data": { "project": { "run": run } } })
}

/// A case that has nothing but the run and a parent.
fn case(folder: &Path, log: &str) -> PathBuf {
    let parent = "[[parent]]\nname = \"P\"\nmodel = \"nowhere\"\nreleased = \"2027-01-01\"\n";
    let text = format!("schema = 1\n[subject]\nmodel = \"nowhere\"\n[[run]]\nlog = \"{log}\"\n{parent}");
    let path = folder.join("case.toml");
    fs::write(&path, text).expect("a case");
    path
}

/// `timeline` with this environment and no other that has to do with the service.
fn timeline(path: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> support::Run {
    let mut command = program();
    for name in ["WANDB_BASE_URL", "WANDB_API_KEY", "NETRC"] {
        command.env_remove(name);
    }
    command.env("HOME", path.parent().expect("a folder")).envs(variables.iter().copied());
    let run = run(command.args(["--format", "json", "timeline"]).arg(path).args(arguments));
    assert!(!run.stdout.contains(KEY) && !run.stderr.contains(KEY), "the key is shown");
    run
}

const LOG: &str = "wandb://lab/scratch/zlqqxshh";

#[test]
fn a_run_of_the_service_is_an_input_like_another() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, base) = (case(dir.path(), LOG), server());
    let out = dir.path().join("out");
    let variables = [("WANDB_BASE_URL", base.as_str()), ("WANDB_API_KEY", KEY)];
    let run = timeline(&path, &variables, &["-o", out.to_str().expect("text")]);
    let value: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let input = value["inputs"].as_array().expect("inputs").iter().find(|input| input["role"] == "run");
    let input = input.expect("the run");
    assert_eq!((&input["uri"], &input["name"]), (&LOG.into(), &"zlqqxshh".into()));
    assert_eq!(input["sha256"].as_str().map(str::len), Some(64));
    assert!(input["bytes"].as_u64().expect("bytes") > 10_000);
    let created = value["events"].as_array().expect("events").iter().find(|event| event["grade"] == "platform");
    assert!(
        created.is_some_and(|event| event.to_string().contains("was created on the server")),
        "{}",
        value["events"]
    );
    assert!(
        value["skipped"].as_array().is_some_and(|skipped| !skipped.iter().any(|s| s.to_string().contains("wandb")))
    );
    for name in names(&out).iter().filter(|name| name.contains('.')) {
        assert!(!fs::read_to_string(out.join(name)).expect("text").contains(KEY), "{name}");
    }
}

#[test]
fn the_key_may_be_in_the_file_of_wandb_login() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, base) = (case(dir.path(), LOG), server());
    let machine = base.trim_start_matches("http://");
    fs::write(dir.path().join(".netrc"), format!("machine {machine}\n  login user\n  password {KEY}\n"))
        .expect("a file");
    assert!(timeline(&path, &[("WANDB_BASE_URL", &base)], &[]).stdout.contains("was created on the server"));
    let elsewhere = dir.path().join("other");
    fs::write(&elsewhere, format!("machine example.org login user password {KEY}\n")).expect("a file");
    let other = [("WANDB_BASE_URL", base.as_str()), ("NETRC", elsewhere.to_str().expect("text"))];
    assert!(timeline(&path, &other, &[]).stdout.contains("wants a key: put one in WANDB_API_KEY"));
}

#[test]
fn what_cannot_be_read_says_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, base) = (case(dir.path(), LOG), server());
    let wrong = KEY.replace('0', "1");
    let run = timeline(&path, &[("WANDB_BASE_URL", &base), ("WANDB_API_KEY", &wrong)], &[]);
    assert!(run.stdout.contains("does not accept the key") && !run.stdout.contains(&wrong), "{}", run.stdout);
    let good = [("WANDB_BASE_URL", base.as_str()), ("WANDB_API_KEY", KEY)];
    refused(&timeline(&path, &good, &["--offline"]), &[LOG, "--offline", "local path"]);
    let plain = [("WANDB_BASE_URL", "http://wandb.example.org"), ("WANDB_API_KEY", KEY)];
    refused(&timeline(&path, &plain, &[]), &["WANDB_BASE_URL", "https://"]);
    refused(
        &timeline(&path, &[("WANDB_BASE_URL", &base), ("WANDB_API_KEY", "short")], &[]),
        &["WANDB_API_KEY", "no key"],
    );
    refused(&timeline(&case(dir.path(), "wandb://lab/scratch"), &good, &[]), &["wandb://entity/project/run"]);
}

#[test]
fn a_service_or_a_proxy_that_is_not_there_is_named_and_no_password_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let proxy = ("HTTPS_PROXY", "http://auditor:password-of-the-proxy@127.0.0.1:1");
    for variables in
        [[("WANDB_BASE_URL", "http://127.0.0.1:1"), ("WANDB_API_KEY", KEY)], [proxy, ("WANDB_API_KEY", KEY)]]
    {
        let run = timeline(&case(dir.path(), LOG), &variables, &[]);
        assert!(run.stdout.contains("no connection") && run.stdout.contains(LOG), "{}", run.stdout);
        assert!(!run.stdout.contains("password") && !run.stderr.contains("password"), "{}", run.stdout);
    }
}
