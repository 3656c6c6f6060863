//! A share of the rows: what is fetched, what is said of it, and that the same is made again.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use scratchproof::source::testing::{Reply, Request, Server};
use serde_json::{Value, json};
use support::safetensors::File;
use support::{Numbers, program, refused, run};

const STEPS: [i64; 4] = [0, 20, 60, 120];
const HIDDEN: usize = 256;

/// A model of 5 MB whose matrices walk away from their draw step by step.
fn model(run: u64, step: i64) -> Vec<u8> {
    let shapes: [(&str, &[usize]); 9] = [
        ("model.embed_tokens.weight", &[1536, HIDDEN]),
        ("lm_head.weight", &[1536, HIDDEN]),
        ("model.layers.0.self_attn.q_proj.weight", &[HIDDEN, HIDDEN]),
        ("model.layers.0.self_attn.o_proj.weight", &[HIDDEN, HIDDEN]),
        ("model.layers.0.mlp.gate_proj.weight", &[640, HIDDEN]),
        ("model.layers.0.mlp.up_proj.weight", &[640, HIDDEN]),
        ("model.layers.0.mlp.down_proj.weight", &[HIDDEN, 640]),
        ("model.layers.0.input_layernorm.weight", &[HIDDEN]),
        ("model.norm.weight", &[HIDDEN]),
    ];
    let tensors: Vec<(String, Vec<usize>, Vec<f32>)> = (0..)
        .zip(shapes)
        .map(|(at, (name, shape))| {
            let size: usize = shape.iter().product();
            let mut values: Vec<f32> = vec![if shape.len() > 1 { 0.0 } else { 1.0 }; size];
            for (number, _) in STEPS.iter().enumerate().filter(|(_, s)| shape.len() > 1 && **s <= step) {
                let mut draws = Numbers((run * 1000 + at * 10 + number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let scale = if number == 0 { 0.02 } else { 0.004 };
                for value in &mut values {
                    *value += scale * draws.noise();
                }
            }
            (name.to_owned(), shape.to_vec(), values)
        })
        .collect();
    File::of(&tensors).bytes()
}

/// What is served: path -> bytes.
fn files() -> BTreeMap<String, Vec<u8>> {
    let config = format!("{{\"model_type\":\"llama\",\"hidden_size\":{HIDDEN},\"num_attention_heads\":4}}");
    let mut files = BTreeMap::new();
    let mut add = |folder: String, bytes: Vec<u8>| {
        files.insert(format!("{folder}/model.safetensors"), bytes);
        files.insert(format!("{folder}/config.json"), config.clone().into_bytes());
    };
    for step in STEPS {
        add(format!("run/step{step}"), model(1, step));
    }
    add("parent".to_owned(), model(2, 120));
    add("control".to_owned(), model(3, 120));
    files
}

/// A server that answers for folders with a page of links.
fn served(files: BTreeMap<String, Vec<u8>>) -> Server {
    Server::start(move |request| {
        let path = request.path.trim_start_matches('/');
        if !path.ends_with('/') {
            return files.get(path).map_or(Reply::status(404), |bytes| Reply::range(request, bytes));
        }
        let mut names: Vec<String> = files
            .keys()
            .filter_map(|name| name.strip_prefix(path))
            .map(|rest| rest.split_once('/').map_or(rest.to_owned(), |(folder, _)| format!("{folder}/")))
            .collect();
        names.dedup();
        let links = names.iter().fold(String::new(), |all, name| all + &format!("<li><a href=\"/{path}{name}\">x</a>"));
        Reply::whole(format!("<html><a href=\"../\">..</a>{links}</html>"))
    })
}

fn case(at: &Path, base: &str) {
    let text = format!(
        "schema = 1\nname = \"rows\"\n[claim]\nstatement = \"from-scratch\"\n[subject]\nname = \"tiny\"\n\
         checkpoints = \"{base}/run/step{{step}}\"\n[[parent]]\nname = \"parent\"\nmodel = \"{base}/parent\"\n\
         [[control]]\nname = \"control\"\nmodel = \"{base}/control\"\n"
    );
    fs::write(at.join("case.toml"), text).unwrap();
}

/// Bytes of weights that a server sent, and of the files; and whether a byte was sent twice but for headers.
fn fetched(server: &Server, files: &BTreeMap<String, Vec<u8>>) -> (usize, usize) {
    let weights = |name: &str| name.ends_with(".safetensors");
    let of = |request: &Request| {
        let bytes = files.get(request.path.trim_start_matches('/')).filter(|_| weights(&request.path))?;
        let (first, last) = request.range()?;
        Some(last.min(bytes.len() - 1) + 1 - first)
    };
    let all = files.iter().filter(|(name, _)| weights(name)).map(|(_, bytes)| bytes.len()).sum();
    (server.requests().iter().filter_map(of).sum(), all)
}

fn audit(at: &Path, more: &[&str]) -> (Value, String) {
    let output = at.join("output");
    let mut command = program();
    command.arg("audit").arg(at.join("case.toml")).arg("-o").arg(&output).args(more);
    let ran = run(&mut command);
    assert!([0, 1, 3].contains(&ran.status), "{}{}", ran.stderr, ran.stdout);
    (serde_json::from_slice(&fs::read(output.join("report.json")).unwrap()).unwrap(), ran.stderr)
}

fn drawn(report: &Value) -> &Value {
    let mut all = report["findings"].as_array().unwrap().iter();
    all.find(|finding| finding["code"] == "input/drawn-rows").expect("a finding that says it")
}

#[test]
fn bytes_go_down_with_the_share_and_what_was_done_is_done_again() {
    let files = files();
    for (share, most) in [(0.5, 0.56), (0.1, 0.2)] {
        let server = served(files.clone());
        let folder = tempfile::tempdir().unwrap();
        case(folder.path(), &server.base);
        let (report, said) = audit(folder.path(), &["--sample", &share.to_string(), "--seed", "11"]);
        let (sent, all) = fetched(&server, &files);
        assert!((sent as f64) < most * all as f64, "{share}: {sent} of {all}");
        assert!(said.contains("drawn by the seed 11"), "{said}");
        let finding = drawn(&report);
        let effect = finding["effect"].as_f64().unwrap();
        assert!((effect - share).abs() < 0.1, "{finding:#}");
        // No digest of a whole file, and never confirmed of a walk of noise.
        for input in report["inputs"].as_array().unwrap() {
            assert_eq!(input["sha256"], "", "{input:#}");
        }
        assert_eq!(report["verdict"]["outcome"], "inconclusive");
        // The folder remembers: nothing more is fetched.
        let (again, said) = audit(folder.path(), &[]);
        assert_eq!(again, report);
        assert!(said.contains("the folder remembers"), "{said}");
        assert!(fetched(&server, &files).0 < sent + 6 * (64 << 10));
        let mut verify = program();
        verify.arg("verify").arg("--recompute").arg(folder.path().join("output"));
        let ran = run(&mut verify);
        assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("audited again from the inputs"), "{}", ran.stdout);
    }
}

#[test]
fn a_limit_takes_rows_first_and_checkpoints_then() {
    let files = files();
    let all: usize = files.values().map(Vec::len).sum();
    for (limit, left) in [(0.7, 0), (0.35, 0), (0.085, 1)] {
        let server = served(files.clone());
        let folder = tempfile::tempdir().unwrap();
        case(folder.path(), &server.base);
        let limit = (limit * all as f64).round();
        let (report, said) = audit(folder.path(), &["--max-fetch", &format!("{limit}")]);
        let sent = fetched(&server, &files).0 as f64;
        assert!(sent <= limit, "{sent} of {limit}: {said}");
        let used = report["inputs"].as_array().unwrap().iter().filter(|input| input["role"] == "checkpoint").count();
        assert!(if left == 0 { used == STEPS.len() } else { used < STEPS.len() }, "{limit}: {used} {said}");
        assert!(drawn(&report)["message"].as_str().unwrap().contains("of every large tensor was read"), "{said}");
        assert!(said.contains("of the rows is read") && said.contains("of weights are to be fetched"), "{said}");
    }
    // Everything fits: nothing is drawn.
    let server = served(files.clone());
    let folder = tempfile::tempdir().unwrap();
    case(folder.path(), &server.base);
    let (report, _) = audit(folder.path(), &["--max-fetch", &format!("{}", all + (1 << 20))]);
    assert!(report["findings"].as_array().unwrap().iter().all(|finding| finding["code"] != "input/drawn-rows"));
    let mut small = program();
    small.arg("audit").arg(folder.path().join("case.toml")).args(["--max-fetch", "100kB"]);
    refused(&run(&mut small), &["--max-fetch", "100000 bytes", "first and the last", "of the rows"]);
}

/// A plan carries the rows and the steps, whatever is listed when its parts are done.
#[test]
fn workers_read_the_rows_of_the_plan() {
    let files = files();
    let server = served(files.clone());
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    case(at, &server.base);
    let asked = ["--sample", "25%", "--seed", "5", "--every", "2"];
    let (whole, _) = audit(at, &asked);
    let plan = at.join("plan.json");
    let done = |command: &mut std::process::Command| {
        let ran = run(command);
        assert!([0, 1, 3].contains(&ran.status), "{}{}", ran.stderr, ran.stdout);
    };
    done(program().arg("plan").arg(at.join("case.toml")).arg("-o").arg(&plan).args(asked));
    done(program().arg("worker").arg(&plan).args(["--only", "0/2"]));
    done(program().arg("worker").arg(&plan).args(["--only", "1/2"]));
    done(program().arg("reduce").arg(&plan).arg(at.join("units")).arg("-o").arg(at.join("reduced")));
    let reduced: Value = serde_json::from_slice(&fs::read(at.join("reduced/report.json")).unwrap()).unwrap();
    assert_eq!(reduced, whole);
    assert_eq!(reduced["inputs"].as_array().unwrap().iter().filter(|i| i["role"] == "checkpoint").count(), 3);
    let skipped = reduced["coverage"]["skipped"].as_array().unwrap();
    assert!(skipped.iter().any(|s| s["tensor"] == "(series)"), "{skipped:?}");
}

#[test]
fn a_compared_model_is_drawn_too() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files() {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let at = |name: &str| folder.path().join(name);
    let compare = |subject: &str, more: &[&str]| {
        let mut command = program();
        command.arg("compare").args([at(subject), at("parent")]).arg("--control").arg(at("control"));
        let ran = run(command.args(["--format", "json"]).args(more));
        let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
        (ran.status, report)
    };
    let rows = ["--sample", "0.25", "--seed", "3"];
    let (status, report) = compare("run/step120", &rows);
    assert!(status == 0 && report["models"][0]["sha256"] == "", "{status} {:#}", report["models"]);
    assert!(drawn(&report)["message"].as_str().unwrap().contains("seed 3"));
    assert!(report["missing"].to_string().contains("All rows"), "{}", report["missing"]);
    // Silence of a share of the rows is worth what copies made to be found say: half of the neurons in another order are not
    // seen in a fiftieth.
    let (_, report) = compare("run/step120", &["--sample", "2%", "--seed", "3"]);
    assert_eq!(report["outcome"], "undetermined");
    let missing = report["missing"].to_string();
    assert!(missing.contains("in another order: the search did not find it in a copy made for that"), "{missing}");
    // A copy is one in the rows that were read too.
    fs::copy(at("parent/model.safetensors"), at("run/step120/model.safetensors")).unwrap();
    let (status, report) = compare("run/step120", &rows);
    assert_eq!((status, &report["outcome"]), (1, &json!("similar")));
    for wrong in ["0", "1.5", "-1", "many"] {
        let mut command = program();
        command.arg("compare").args([at("run/step0"), at("parent")]).arg(format!("--sample={wrong}"));
        let ran = run(&mut command);
        assert!(ran.status == 2 && ran.stderr.contains("a share such as 0.1 or 10%"), "{}", ran.stderr);
    }
}
