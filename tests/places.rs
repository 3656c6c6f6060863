//! One series at every place that it can be published at: the audit says what it says of the folder, and no byte of weight is
//! fetched twice.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use scratchproof::source::testing::{Reply, Request, Server};
use serde_json::{Value, json};
use support::{fixtures, program, refused, run};

const STEPS: [i64; 3] = [0, 20, 60];

fn series() -> PathBuf {
    fixtures().join("forms/hf-trainer")
}

/// What is served: path -> bytes, without what lies beside the weights.
fn files(folder: &dyn Fn(i64) -> String) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for step in STEPS {
        for name in ["model.safetensors", "config.json"] {
            let bytes = fs::read(series().join(format!("checkpoint-{step}")).join(name)).unwrap();
            files.insert(format!("{}/{name}", folder(step)), bytes);
        }
    }
    files
}

/// The verdict of a series, and the server's bytes of weights over what they have.
fn audited(pattern: &str, variables: &[(&str, &str)], more: &[&str]) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let truth = fixtures().join("forms/fsdp");
    let truth = truth.display();
    let case = format!(
        "schema = 1\nname = \"places\"\n[claim]\nstatement = \"from-scratch\"\n[subject]\nname = \"tiny\"\n\
         checkpoints = \"{pattern}\"\n[[parent]]\nname = \"parent\"\nmodel = \"{truth}/truth-60\"\n\
         released = \"2026-01-01\"\n[[control]]\nname = \"control\"\nmodel = \"{truth}/truth-0\"\n"
    );
    let (file, output) = (folder.path().join("case.toml"), folder.path().join("output"));
    fs::write(&file, case).unwrap();
    let mut command = program();
    command.arg("audit").arg(&file).arg("-o").arg(&output).args(more);
    for name in ["HF_HUB_CACHE", "AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_ENDPOINT_URL_S3", "GOOGLE_OAUTH_ACCESS_TOKEN"]
    {
        command.env_remove(name);
    }
    let ran = run(command.envs(variables.iter().copied()));
    assert_eq!(ran.status, 3, "{pattern}: {}{}", ran.stderr, ran.stdout);
    let report: Value = serde_json::from_slice(&fs::read(output.join("report.json")).unwrap()).unwrap();
    let steps = report["inputs"].as_array().unwrap().iter().filter(|i| i["role"] == "checkpoint").count();
    let kept = |f: &&Value| {
        let code = f["code"].as_str().unwrap();
        !code.starts_with("chain/optimizer-") && code != "input/publication"
    };
    let codes: Vec<&Value> = report["findings"].as_array().unwrap().iter().filter(kept).map(|f| &f["code"]).collect();
    (json!([report["verdict"]["outcome"], report["components"], codes, steps]), ran.stderr)
}

/// Bytes of weights that a server sent, over what the files have.
fn fetched_over_needed(server: &Server, files: &BTreeMap<String, Vec<u8>>) -> f64 {
    let of = |name: &str| name.ends_with(".safetensors");
    let needed: usize = files.iter().filter(|(name, _)| of(name)).map(|(_, bytes)| bytes.len()).sum();
    let mut sent = 0;
    for request in server.requests() {
        let path = request.path.split('?').next().unwrap_or_default();
        // A branch of the hub is one folder of the whole.
        let branch = path.strip_prefix("/acme/tiny/resolve/").and_then(|rest| rest.split_once('/'));
        let branch = branch.and_then(|(sha, name)| Some((i64::from_str_radix(sha, 16).ok()?, name)));
        let branch =
            branch.filter(|(step, _)| STEPS.contains(step)).map(|(step, name)| format!("hf_ckpt/{step}B/{name}"));
        let is = |name: &str| path.ends_with(name) || branch.as_deref() == Some(name);
        let Some((_, bytes)) = files.iter().find(|(name, _)| of(name) && is(name)) else { continue };
        let (first, last) = request.range().unwrap_or((0, bytes.len() - 1));
        sent += last.min(bytes.len() - 1) + 1 - first;
    }
    sent as f64 / needed as f64
}

fn object(request: &Request, files: &BTreeMap<String, Vec<u8>>, path: &str) -> Reply {
    files.get(path).map_or_else(|| Reply::status(404), |bytes| Reply::range(request, bytes))
}

fn query(request: &Request, name: &str) -> Option<String> {
    let address = format!("http://h{}", request.path);
    let query = address.split_once('?')?.1.to_owned();
    let plain = |text: &str| text.replace("%2F", "/").replace('+', " ");
    query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(own, _)| *own == name).map(|(_, value)| plain(value)))
}

/// The names right below a prefix: files, folders.
fn below<'a>(files: &'a BTreeMap<String, Vec<u8>>, prefix: &str) -> (Vec<&'a String>, Vec<String>) {
    let (mut own, mut folders) = (Vec::new(), Vec::new());
    for name in files.keys() {
        match name.strip_prefix(prefix).map(|rest| rest.split_once('/')) {
            Some(None) => own.push(name),
            Some(Some((folder, _))) => folders.push(format!("{prefix}{folder}/")),
            None => {}
        }
    }
    folders.dedup();
    (own, folders)
}

fn bucket(files: BTreeMap<String, Vec<u8>>) -> Server {
    Server::start(move |request| {
        let path = request.path.split('?').next().unwrap_or_default().to_owned();
        let list = query(request, "prefix");
        let Some(prefix) = list else {
            let name = path.trim_start_matches("/store/");
            return object(request, &files, name);
        };
        let (own, folders) = below(&files, &prefix);
        if path.starts_with("/storage/v1/b/store/o") {
            let items: Vec<Value> = own
                .iter()
                .map(|name| json!({ "name": name, "size": files[*name].len().to_string(), "md5Hash": name }))
                .collect();
            return Reply::whole(json!({ "items": items, "prefixes": folders }).to_string());
        }
        let azure = query(request, "restype").is_some();
        let item = |name: &&String| {
            let bytes = files[*name].len();
            if azure {
                format!(
                    "<Blob><Name>{name}</Name><Properties><Content-Length>{bytes}</Content-Length></Properties></Blob>"
                )
            } else {
                format!("<Contents><Key>{name}</Key><ETag>\"{name}\"</ETag><Size>{bytes}</Size></Contents>")
            }
        };
        let folder = |name: &String| {
            if azure {
                format!("<BlobPrefix><Name>{name}</Name></BlobPrefix>")
            } else {
                format!("<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>")
            }
        };
        let body: String = own.iter().map(item).chain(folders.iter().map(folder)).collect();
        Reply::whole(format!("<?xml version=\"1.0\"?><List>{body}</List>"))
    })
}

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub with the series in branches (`step20`) and in folders of its main branch (`hf_ckpt/20B`).
fn hub(files: BTreeMap<String, Vec<u8>>) -> Server {
    let commit = |step: i64| format!("{step:040x}");
    Server::start(move |request| {
        let path = request.path.split('?').next().unwrap_or_default().to_owned();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let listing = |all: Vec<(String, usize)>| {
            let file = |(name, bytes): (String, usize)| {
                json!({ "type": "file", "path": name, "size": bytes, "rfilename": name,
                    "lfs": { "oid": format!("{bytes:064x}"), "size": bytes } })
            };
            all.into_iter().map(file).collect::<Vec<_>>()
        };
        let branch = |sha: &str| {
            let step = STEPS.into_iter().find(|step| commit(*step) == sha)?;
            let own = files.iter().filter_map(|(name, bytes)| {
                Some((name.strip_prefix(&format!("hf_ckpt/{step}B/"))?.to_owned(), bytes.len()))
            });
            Some(own.collect::<Vec<_>>())
        };
        let all = || files.iter().map(|(name, bytes)| (name.clone(), bytes.len())).collect::<Vec<_>>();
        match parts[..] {
            ["api", "models", "acme", "tiny", "refs"] => {
                let named = |step: i64| json!({ "name": format!("step{step}"), "targetCommit": commit(step) });
                Reply::whole(json!({ "branches": STEPS.map(named), "tags": [] }).to_string())
            }
            ["api", "models", "acme", "tiny", "tree", sha] => {
                Reply::whole(json!(listing(branch(sha).unwrap_or_else(all))).to_string())
            }
            ["api", "models", "acme", "tiny", "revision", revision] => {
                let own = branch(revision);
                let sha = if own.is_some() { revision } else { SHA };
                Reply::whole(json!({ "sha": sha, "siblings": listing(own.unwrap_or_else(all)) }).to_string())
            }
            ["acme", "tiny", "resolve", sha, ref rest @ ..] => {
                let step = STEPS.into_iter().find(|step| commit(*step) == sha);
                let name = rest.join("/");
                object(request, &files, &step.map_or(name.clone(), |step| format!("hf_ckpt/{step}B/{name}")))
            }
            _ => Reply::status(404),
        }
    })
}

/// A server that answers for folders with a page of links, as the usual ones do.
fn pages(files: BTreeMap<String, Vec<u8>>) -> Server {
    Server::start(move |request| {
        let path = request.path.trim_start_matches('/');
        if !path.ends_with('/') {
            return object(request, &files, path);
        }
        let (own, folders) = below(&files, path);
        let names = own.into_iter().cloned().chain(folders);
        let links = names.fold(String::new(), |all, name| all + &format!("<li><a href=\"/{name}\">x</a>"));
        Reply::whole(format!("<html><a href=\"../\">..</a>{links}</html>"))
    })
}

fn local() -> Value {
    let copied = tempfile::tempdir().unwrap();
    for (name, bytes) in files(&|step| format!("step{step}")) {
        let path = copied.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).unwrap();
        fs::write(path, bytes).unwrap();
    }
    audited(&format!("file://{}/step{{step}}", copied.path().display()), &[], &[]).0
}

#[test]
fn a_series_is_the_same_wherever_it_is_and_fetched_once() {
    let truth = local();
    let held = |place: &str, found: &(Value, String), server: &Server, files: &BTreeMap<String, Vec<u8>>| {
        assert_eq!(found.0, truth, "{place}");
        let ratio = fetched_over_needed(server, files);
        assert!((0.99..=1.05).contains(&ratio), "{place}: {ratio}");
        assert!(found.1.contains("were fetched, of files that have"), "{place}: {}", found.1);
    };
    let own = files(&|step| format!("run/step{step}"));
    let server = bucket(own.clone());
    let base = server.base.as_str();
    held("s3", &audited("s3://store/run/step{step}", &[("AWS_ENDPOINT_URL", base)], &[]), &server, &own);
    let server = bucket(own.clone());
    let base = server.base.as_str();
    held("gs", &audited("gs://store/run/step{step}", &[("STORAGE_EMULATOR_HOST", base)], &[]), &server, &own);
    let server = bucket(own.clone());
    let base = server.base.as_str();
    held("az", &audited("az://store/run/step{step}", &[("AZURE_STORAGE_ENDPOINT", base)], &[]), &server, &own);
    let server = pages(own.clone());
    held("pages", &audited(&server.url("/run/step{step}"), &[], &[]), &server, &own);
    let server = pages(own.clone());
    let found = audited(&server.url("/run/step{step}"), &[], &["--steps", "0,20,60"]);
    held("steps that are named", &found, &server, &own);
    let own = files(&|step| format!("hf_ckpt/{step}B"));
    let server = hub(own.clone());
    let found = audited("hf://acme/tiny@step{step}", &[("HF_ENDPOINT", &server.base)], &[]);
    assert!(found.1.contains("of weights are to be fetched"), "{}", found.1);
    held("branches", &found, &server, &own);
}

#[test]
fn what_the_hubs_own_program_fetched_is_read_from_its_cache() {
    let own = files(&|step| format!("hf_ckpt/{step}B"));
    let home = tempfile::tempdir().unwrap();
    let snapshot = home.path().join("hub/models--acme--tiny/snapshots").join(format!("{:040x}", 20));
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(snapshot.join("model.safetensors"), &own["hf_ckpt/20B/model.safetensors"]).unwrap();
    let server = hub(own.clone());
    let variables = [("HF_ENDPOINT", server.base.as_str()), ("HF_HOME", home.path().to_str().unwrap())];
    let (found, _) = audited("hf://acme/tiny@step{step}", &variables, &[]);
    assert_eq!(found, local());
    let ratio = fetched_over_needed(&server, &own);
    assert!((0.6..0.7).contains(&ratio), "two of three are fetched: {ratio}");
    // Without a network the cache is all there is.
    fs::create_dir_all(home.path().join("hub/models--acme--tiny/refs")).unwrap();
    fs::write(home.path().join("hub/models--acme--tiny/refs/main"), format!("{:040x}", 20)).unwrap();
    let mut inspect = program();
    inspect.args(["inspect", "--offline", "hf://acme/tiny"]).env("HF_HOME", home.path());
    let ran = run(&mut inspect);
    assert!(ran.status == 0 && ran.stdout.contains("21 in 1 file"), "{}{}", ran.stdout, ran.stderr);
    let mut inspect = program();
    inspect.args(["inspect", "--offline", "hf://acme/tiny@step20"]).env("HF_HOME", home.path());
    let ran = run(&mut inspect);
    assert!(
        ran.status == 2 && ran.stderr.contains("acme/tiny@step20") && ran.stderr.contains("cache"),
        "{}",
        ran.stderr
    );
    // A pattern is looked up among the revisions that are there.
    for step in [0, 20, 60] {
        let commit = format!("{step:040x}");
        let snapshot = home.path().join("hub/models--acme--tiny/snapshots").join(&commit);
        fs::create_dir_all(&snapshot).unwrap();
        let of = format!("hf_ckpt/{step}B/");
        for (name, bytes) in own.iter().filter_map(|(name, bytes)| Some((name.strip_prefix(&of)?, bytes))) {
            fs::write(snapshot.join(name), bytes).unwrap();
        }
        fs::write(home.path().join(format!("hub/models--acme--tiny/refs/step{step}")), commit).unwrap();
    }
    let (found, _) = audited("hf://acme/tiny@step{step}", &variables[1..], &["--offline"]);
    assert_eq!(found, local());
}

#[test]
fn folders_by_tokens_and_a_budget() {
    let own = files(&|step| format!("hf_ckpt/{step}B"));
    let server = hub(own.clone());
    let hub = [("HF_ENDPOINT", server.base.as_str())];
    let (found, _) = audited("hf://acme/tiny/hf_ckpt/{tokens}B", &hub, &[]);
    assert_eq!(found[3], 3);
    assert!(fetched_over_needed(&server, &own) <= 1.05);
    // Three checkpoints of 56 kB each: two are within the limit, one is not.
    let (found, said) = audited("hf://acme/tiny/hf_ckpt/{tokens}B", &hub, &["--max-fetch", "120kB"]);
    assert!(found[3] == 2 && said.contains("1 checkpoint of the series left out, 2 used"), "{found} {said}");
    let folder = tempfile::tempdir().unwrap();
    let case = folder.path().join("case.toml");
    let text = "schema = 1\nname = \"x\"\n[claim]\nstatement = \"from-scratch\"\n[subject]\nname = \"x\"\n\
                checkpoints = \"hf://acme/tiny@step{step}\"\n";
    fs::write(&case, text).unwrap();
    let mut small = program();
    small.arg("audit").arg(&case).args(["--max-fetch", "60kB"]).envs(hub);
    refused(&run(&mut small), &["--max-fetch", "60000 bytes", "first and the last"]);
}
