use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Address, Bounds, open, read};
use crate::releases::Trust;
use crate::run::{Form, Run};
use crate::wandb;
use scratchproof_error::Result;
use scratchproof_source::testing::{Reply, Request, Server, network};
use scratchproof_source::{Access, Service};

const KEY: &str = "0123456789abcdef0123456789abcdef01234567";
const ADDRESS: &str = "wandb://lab/scratch/zlqqxshh";

fn fixtures() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("fixtures")
}

/// What `fixtures/service/server.py` serves too.
fn recorded(name: &str) -> String {
    fs::read_to_string(fixtures().join("service/answers").join(name)).unwrap()
}

fn lines(name: &str) -> Vec<String> {
    recorded(name).lines().map(str::to_owned).collect()
}

/// What a question is about, and its variables.
fn question(request: &Request) -> (String, Value) {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let query = body["query"].as_str().unwrap_or_default();
    let what = [
        "parquetHistory(",
        "page: outputArtifacts(first: $first) {",
        "history(",
        "events(",
        "files(",
        "outputArtifacts(",
        "inputArtifacts(",
    ];
    let what = what.iter().find(|what| query.contains(**what)).map_or("run", |what| what.trim_end_matches('('));
    let what = if what.starts_with("page") { "kept" } else { what };
    (what.to_owned(), body["variables"].clone())
}

fn of_run(run: &Value) -> Reply {
    Reply::whole(json!({ "data": { "project": { "run": run } } }).to_string())
}

/// A part of a list, as a connection gives it.
fn page(nodes: &[Value], variables: &Value) -> Reply {
    let from: usize = variables["after"].as_str().map_or(0, |after| after.parse().unwrap());
    let to = nodes.len().min(from + usize::try_from(variables["first"].as_u64().unwrap()).unwrap());
    let edges: Vec<Value> = nodes[from..to].iter().map(|node| json!({ "node": node })).collect();
    let info = json!({ "endCursor": to.to_string(), "hasNextPage": to < nodes.len() });
    of_run(&json!({ "page": { "edges": edges, "pageInfo": info } }))
}

/// The answers of the fixture; files are at another server.
fn answer(request: &Request, store: &str) -> Reply {
    if !request.headers.get("authorization").is_some_and(|given| given.starts_with("Basic YXBpOjAxMjM0NTY3")) {
        return Reply::status(401);
    }
    if let Some(name) = request.path.strip_prefix("/files/") {
        return Reply::status(302).with("location", &format!("{store}/{name}?signature=hidden"));
    }
    let (what, variables) = question(request);
    let number = |name: &str| variables[name].as_i64().unwrap();
    match what.as_str() {
        "history" => {
            let step = |line: &String| serde_json::from_str::<Value>(line).unwrap()["_step"].as_i64().unwrap();
            let within = number("minStep")..number("maxStep");
            let rows: Vec<String> =
                lines("history.jsonl").into_iter().filter(|line| within.contains(&step(line))).collect();
            of_run(&json!({ "history": rows }))
        }
        // As a server that has neither answers.
        "parquetHistory" => Reply::whole(
            json!({ "errors": [{ "message": "Cannot query field \"parquetHistory\" on type \"Run\"." }] }).to_string(),
        ),
        "kept" => of_run(&json!({ "page": { "edges": [] } })),
        "events" => of_run(&json!({ "events": lines("events.jsonl") })),
        "files" => {
            let mut files: Vec<Value> = serde_json::from_str(&recorded("files.json")).unwrap();
            for file in &mut files {
                file["url"] = json!(format!("/files/{}", file["name"].as_str().unwrap()));
            }
            page(&files, &variables)
        }
        "outputArtifacts" | "inputArtifacts" => {
            let mut artifacts: Value = serde_json::from_str(&recorded("artifacts.json")).unwrap();
            let Value::Array(mut nodes) = artifacts[&what].take() else { return Reply::status(500) };
            for node in &mut nodes {
                let name = node["artifactSequence"]["name"].as_str().unwrap();
                let address = format!("{store}/manifest-{name}.json?signature=hidden");
                node["currentManifest"] = json!({ "file": { "directUrl": address } });
            }
            page(&nodes, &variables)
        }
        _ => of_run(&serde_json::from_str(&recorded("run.json")).unwrap()),
    }
}

/// The service with `change` before its answers, and the store of its files.
fn servers(change: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> (Server, Server) {
    let store = Server::start(|request| {
        let name = request.path.split('?').next().unwrap_or_default().trim_start_matches('/').to_owned();
        let path = fixtures().join("service/answers").join(name);
        fs::read(path).map_or_else(|_| Reply::status(404), Reply::whole)
    });
    let base = store.base.clone();
    (Server::start(move |request| change(request).unwrap_or_else(|| answer(request, &base))), store)
}

fn service(base: &str, key: Option<&str>) -> Service {
    let key = key.map(|key| ("api", key, "WANDB_API_KEY"));
    Service::new(&network(), base, "WANDB_BASE_URL", key).unwrap()
}

fn bounds() -> Bounds {
    Bounds { time: Duration::from_secs(20), ..Bounds::default() }
}

fn get(server: &Server) -> Result<Run> {
    read::run(service(&server.base, Some(KEY)), &Address::parse(ADDRESS).unwrap(), &bounds())
}

/// Reading with one kind of answer changed.
fn changed(change: impl Fn(&str, &Value) -> Option<Reply> + Send + Sync + 'static) -> Result<Run> {
    let (server, _store) = servers(move |request| {
        let (what, variables) = question(request);
        change(&what, &variables)
    });
    get(&server)
}

fn noted(run: &Run, words: &str) -> bool {
    run.notes.iter().any(|note| note.contains(words))
}

#[test]
fn a_run_is_read_as_its_own_log_has_it() {
    let (server, store) = servers(|_| None);
    let run = get(&server).unwrap();
    let log = wandb::open(&fixtures().join("cases/scratch-same-arch/wandb")).unwrap();
    assert_eq!(run.form, Form::Service);
    assert_eq!((run.id.as_str(), run.name.as_deref()), ("zlqqxshh", Some("quiet-river-1")));
    assert_eq!(
        (run.entity.as_deref(), run.project.as_deref(), run.state.as_deref()),
        (Some("lab"), Some("scratch"), Some("finished"))
    );
    assert_eq!((run.source.as_str(), &run.commit), (ADDRESS, &log.commit));
    assert_eq!(run.config, log.config);
    assert_eq!(run.history.rows, log.history.rows);
    for (name, column) in &log.history.columns {
        assert_eq!(&run.history.columns[name], column, "{name}");
    }
    assert!(run.history.columns["odd"][0].1.is_nan() && run.history.columns["far"][0].1 == f64::NEG_INFINITY);
    assert_eq!((run.history.skipped, &run.keys), (1, &log.keys));
    assert_eq!((run.system.rows, run.system.columns["gpu.0.gpu"].len()), (12, 12));
    assert_eq!(run.started_at, log.started_at);
    assert_eq!(run.arguments, ["--seed", "101"]);
    assert_eq!((run.program.as_deref(), run.host.as_deref()), (Some("train.py"), Some("node-1")));
    assert_eq!((run.devices.len(), run.devices[0].count), (1, 2));
    assert!(run.summary.contains_key("train/loss") && !run.summary.contains_key("_wandb.runtime"));

    let created = run.times.iter().find(|time| time.what == "was created on the server").unwrap();
    assert_eq!((created.at.earliest.timestamp(), created.trust), (1_795_302_227, Trust::Platform));
    let what: Vec<&str> = run.times.iter().map(|time| time.what.as_str()).collect();
    assert_eq!(
        what[1..],
        ["last reported to the server", "was last changed on the server", "logged the artifact model:v0"]
    );
    assert!(noted(&run, "the clock of http://127.0.0.1"), "{:?}", run.notes);

    assert_eq!(run.files.len(), 232 + 3 + 3);
    let printed: Vec<(i64, f64)> = run.printed.iter().map(|printed| (printed.step, printed.loss)).collect();
    assert_eq!((printed.len(), printed[0]), (7, (0, 6.4776)));
    let weights = run.files.iter().find(|file| file.name == "model.safetensors").unwrap();
    let stored = fs::read(fixtures().join("cases/scratch-same-arch/checkpoints/step-600/model.safetensors")).unwrap();
    assert_eq!(weights.artifact.as_deref(), Some("model:v0"));
    assert_eq!(weights.bytes, Some(stored.len() as u64));
    assert_eq!(weights.md5.as_ref().map(String::len), Some(32));
    assert_eq!(weights.at.as_ref().unwrap().trust, Trust::Platform);
    assert_eq!(run.used, ["elsewhere/texts/corpus:v1"]);
    let used: Vec<_> = run.files.iter().filter(|file| file.artifact.as_ref() == run.used.first()).collect();
    let digests: Vec<_> = used.iter().map(|file| (file.name.as_str(), file.md5.is_some())).collect();
    assert_eq!(
        digests,
        [("README.md", true), ("train.bin", false), ("val.bin", false)],
        "a reference and another algorithm"
    );

    assert!(server.requests().iter().all(|request| request.headers.contains_key("authorization")));
    assert!(
        store.requests().len() == 4
            && store.requests().iter().all(|request| !request.headers.contains_key("authorization"))
    );
    let shown = format!("{run:?}");
    assert!(!shown.contains(KEY) && !shown.contains("signature"));
    assert!(run.bytes > 50_000 && run.sha256.len() == 64);
}

#[test]
fn the_digest_is_of_what_was_said_and_not_of_how() {
    let (server, _store) = servers(|_| None);
    let first = get(&server).unwrap().sha256;
    // Another server, with other addresses for the same files.
    let (server, _store) = servers(|_| None);
    assert_eq!(get(&server).unwrap().sha256, first);
    let other = changed(|what, _| (what == "events").then(|| of_run(&json!({ "events": [] })))).unwrap();
    assert_ne!(other.sha256, first);
}

#[test]
fn pages_follow_the_steps_however_they_lie() {
    // Dense, with gaps, and with a last step that nobody says.
    for (steps, last, most) in [
        ((0..25_000).collect::<Vec<i64>>(), Some(24_999), 12),
        ((0..40).map(|i| i * 1_000_000).collect(), Some(39_000_000), 80),
        (vec![0, 1, 5_000_000_000], None, 80),
        ((0..3000).chain(9_000_000..9_003_000).collect(), Some(9_002_999), 80),
    ] {
        let rows = Arc::new(steps);
        let held = Arc::clone(&rows);
        let (server, _store) = servers(move |request| match question(request) {
            (what, variables) if what == "history" => {
                let number = |name: &str| variables[name].as_i64().unwrap();
                let within: Vec<i64> =
                    held.iter().copied().filter(|step| (number("minStep")..number("maxStep")).contains(step)).collect();
                // As the service does: no more rows than asked for, thinned evenly.
                let most = usize::try_from(number("samples")).unwrap();
                let kept = within.len().min(most);
                let rows: Vec<String> = (0..kept)
                    .map(|i| format!("{{\"_step\": {}, \"loss\": 1.5}}", within[i * within.len() / kept]))
                    .collect();
                Some(of_run(&json!({ "history": rows })))
            }
            (what, _) if what == "run" => {
                let keys = last.map_or(Value::Null, |last| json!({ "lastStep": last }));
                Some(of_run(&json!({ "name": "x", "historyLineCount": held.len(), "historyKeys": keys })))
            }
            _ => None,
        });
        let run = get(&server).unwrap();
        let read: Vec<i64> = run.history.columns["loss"].iter().map(|(step, _)| *step).collect();
        assert_eq!(read, *rows);
        let asked = server.requests().iter().filter(|request| question(request).0 == "history").count();
        assert!(asked <= most, "{asked} pages for {} rows", rows.len());
    }
}

#[test]
fn fields_that_an_old_server_has_not_are_left_out() {
    let run = changed(|what, _| None.filter(|_: &Reply| what.is_empty())).unwrap();
    let (server, _store) = servers(|request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let unknown = ["updatedAt", "runInfo", "digestAlgorithm"].into_iter().find(|field| body.contains(field))?;
        let message = format!("Cannot query field \"{unknown}\" on type \"Run\".");
        let errors = json!({ "errors": [{ "message": message }] }).to_string();
        // Old servers say it with 200, newer ones with 400.
        Some(if unknown == "runInfo" { Reply::whole(errors) } else { Reply::whole(errors).coded(400) })
    });
    let old = get(&server).unwrap();
    assert_eq!(old.history.columns["train/loss"], run.history.columns["train/loss"]);
    assert!(noted(&old, "does not know these fields of a run: updatedAt, runInfo"), "{:?}", old.notes);
    assert!(noted(&old, "of files: updatedAt") && noted(&old, "of artifacts: digestAlgorithm"));
    let error = changed(|what, _| {
        (what == "run").then(|| Reply::whole(json!({ "errors": [{ "message": "internal error" }] }).to_string()))
    });
    let error = error.unwrap_err();
    assert!(error.is_input() && error.to_string().ends_with("refuses the question: internal error"), "{error}");
}

#[test]
fn what_is_beside_the_history_may_be_missing() {
    let run = changed(|what, _| (what != "run" && what != "history").then(|| Reply::status(500))).unwrap();
    assert_eq!((run.history.rows, run.files.len()), (137, 0));
    for words in
        ["the metrics of the machine could not", "the list of files could not", "artifacts (inputArtifacts) could not"]
    {
        assert!(noted(&run, words), "{:?}", run.notes);
    }
    let gone = |request: &Request| request.path.starts_with("/files/").then(|| Reply::status(403));
    let (server, _store) = servers(gone);
    let run = get(&server).unwrap();
    assert!(noted(&run, "wandb-metadata.json could not be read") && run.host.as_deref() == Some("node-1"));
}

/// The history of the fixture as parquet in two files, the later rows first.
fn parquet() -> Vec<Vec<u8>> {
    use polars::prelude::{Column, DataFrame, ParquetWriter};

    let log = wandb::open(&fixtures().join("cases/scratch-same-arch/wandb")).unwrap();
    let steps: Vec<i64> = log.history.columns["_step"].iter().map(|row| row.0).collect();
    let one = |steps: &[i64]| {
        let column = |name: &str| {
            let of = |step: &i64| log.history.columns[name].iter().find(|row| row.0 == *step).map(|row| row.1);
            Column::new(name.into(), steps.iter().map(of).collect::<Vec<Option<f64>>>())
        };
        let columns = ["_step", "_timestamp", "train/loss", "train/learning_rate"].map(column).to_vec();
        let mut frame = DataFrame::new(steps.len(), columns).unwrap();
        let mut bytes = Vec::new();
        ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
        bytes
    };
    vec![one(&steps[40..]), one(&steps[..40])]
}

#[test]
fn the_history_is_read_from_parquet_files_where_its_pages_fail() {
    let log = wandb::open(&fixtures().join("cases/scratch-same-arch/wandb")).unwrap();
    let files = parquet();
    let store = Server::start(move |request| match request.path.split('?').next().unwrap_or_default() {
        "/0.parquet" => Reply::whole(files[0].clone()),
        "/1.parquet" => Reply::whole(files[1].clone()),
        _ => Reply::whole("PAR1 is not all"),
    });
    let base = store.base.clone();
    let address = move |name: &str| format!("{base}/{name}?signature=hidden");
    let refused = || Reply::whole(json!({ "errors": [{ "message": "history is archived" }] }).to_string());
    let urls = {
        let address = address.clone();
        move |names: &[&str], live: usize| {
            let urls: Vec<String> = names.iter().map(|name| address(name)).collect();
            let live: Vec<Value> = (0..live).map(|step| json!({ "_step": 600 + step })).collect();
            of_run(&json!({ "parquetHistory": { "parquetUrls": urls, "liveData": live } }))
        }
    };
    let exported = {
        let urls = urls.clone();
        changed(move |what, _| match what {
            "history" => Some(refused()),
            "parquetHistory" => Some(urls(&["0.parquet", "1.parquet"], 2)),
            _ => None,
        })
        .unwrap()
    };
    for name in ["train/loss", "train/learning_rate", "_timestamp"] {
        assert_eq!(exported.history.columns[name], log.history.columns[name], "{name}");
    }
    assert_eq!((exported.history.rows, &exported.keys.loss), (log.history.rows, &log.keys.loss));
    assert!(noted(&exported, "2 parquet file(s)") && noted(&exported, "2 rows are not in"), "{:?}", exported.notes);
    assert!(!format!("{exported:?}").contains("signature"));
    assert!(store.requests().iter().all(|request| !request.headers.contains_key("authorization")));

    // Pages that lack rows.
    let short = {
        let urls = urls.clone();
        changed(move |what, variables| match what {
            "history" if variables["minStep"].as_i64() == Some(0) => Some(of_run(&json!({ "history": [] }))),
            "parquetHistory" => Some(urls(&["1.parquet", "0.parquet"], 0)),
            _ => None,
        })
        .unwrap()
    };
    assert_eq!(short.history.columns["train/loss"], log.history.columns["train/loss"]);

    // The same files as an artifact of the run, of which the newest counts.
    let kept = changed(move |what, _| match what {
        "history" => Some(refused()),
        "kept" => {
            let node = |kind: &str, version: u64, names: &[&str]| {
                let files: Vec<Value> =
                    names.iter().map(|name| json!({ "node": { "name": name, "directUrl": address(name) } })).collect();
                let kind = json!({ "name": kind });
                json!({ "node": { "versionIndex": version, "artifactType": kind, "files": { "edges": files } } })
            };
            let edges = [
                node("wandb-history", 0, &["1.parquet"]),
                node("wandb-history", 1, &["1.parquet", "0.parquet", "notes.txt"]),
                node("model", 7, &["2.parquet"]),
            ];
            Some(of_run(&json!({ "page": { "edges": edges } })))
        }
        _ => None,
    })
    .unwrap();
    assert_eq!(kept.history.columns["train/loss"], log.history.columns["train/loss"]);

    // A file that is none, and none at all: what the pages said is the error.
    let error = changed(move |what, _| match what {
        "history" => Some(refused()),
        "parquetHistory" => Some(urls(&["0.parquet", "bad.parquet"], 0)),
        _ => None,
    })
    .unwrap_err();
    assert!(error.to_string().contains("archived") && !error.to_string().contains("signature"), "{error}");
    let error = changed(move |what, _| (what == "history").then(refused)).unwrap_err();
    assert!(error.to_string().contains("archived"), "{error}");
}

#[test]
fn every_refusal_says_what_to_do_and_none_says_the_key() {
    let null = || Reply::whole(r#"{"data":{"project":null}}"#);
    let denied = r#"{"errors":[{"message":"permission denied","extensions":{"code":"PERMISSION_ERROR"}}],"data":{"project":null}}"#;
    let echo = format!(r#"{{"errors":[{{"message":"bad key {KEY}"}}]}}"#);
    let cases: Vec<(Reply, &str)> = vec![
        (Reply::status(401), "does not accept the key: it is wrong, of another server, or has expired"),
        (Reply::status(403), "shows no such run"),
        (Reply::status(404), "is WANDB_BASE_URL the address of a W&B server?"),
        (Reply::whole(r#"{"errors":["run not found"]}"#).coded(404), "shows no such run"),
        (null(), "shows no such run: it does not exist, or the key may not read it"),
        (Reply::whole(r#"{"data":{"project":{"run":null}}}"#), "shows no such run"),
        (Reply::whole(denied), "shows no such run"),
        (Reply::whole(echo), "refuses the question: bad key"),
        (Reply::status(429).with("retry-after", "3600"), "try again later"),
        (Reply::status(502), "502 Bad Gateway (4 tries)"),
        (Reply::status(418), "answers 418"),
        (Reply::whole(""), "answers with nothing"),
        (Reply::whole(r#"{"data":{"project":{"run":{"na"#), "is cut off"),
        (Reply::whole("<html>log in</html>"), "no answer of W&B"),
        (Reply::whole("[".repeat(100_000)), "no answer of W&B"),
        (Reply::whole(r#"{"data":{"project":{"run":[1]}}}"#), "something that is no run"),
        (Reply::whole(r#"{"data":{}}"#).cut(5), "the connection broke"),
        (Reply::status(301).with("location", "https://example.org/?secret=x"), "redirects to https://example.org/"),
    ];
    for (reply, words) in cases {
        let error = changed(move |_, _| Some(reply.clone())).unwrap_err();
        let message = format!("{error:?}");
        assert!(message.contains(words) && message.contains(ADDRESS), "{message} lacks {words}");
        assert!(!message.contains(KEY) && !message.contains("secret"), "{message}");
    }
    let (server, _store) = servers(|_| None);
    let without = || read::run(service(&server.base, None), &Address::parse(ADDRESS).unwrap(), &bounds());
    assert!(without().unwrap_err().to_string().contains("wants a key: put one in WANDB_API_KEY"));
    let (server, _store) = servers(move |_| Some(null()));
    let private = read::run(service(&server.base, None), &Address::parse(ADDRESS).unwrap(), &bounds()).unwrap_err();
    assert!(private.is_input() && private.to_string().contains("it is private and needs a key"));
}

#[test]
fn a_key_in_an_answer_does_not_come_into_the_run() {
    let run = changed(|what, _| {
        (what == "run").then(|| {
            of_run(&json!({ "name": "x", "displayName": KEY, "createdAt": KEY, "config": KEY, "historyLineCount": 0 }))
        })
    });
    let run = run.unwrap();
    assert!(!format!("{run:?}").contains(KEY) && run.name.is_some_and(|name| name.starts_with("xxx")));
}

#[test]
fn a_service_without_an_end_has_one() {
    let endless = json!({ "page": { "edges": [{ "node": { "name": "a" } }], "pageInfo": { "endCursor": "x", "hasNextPage": true } } });
    let run = changed(move |what, _| (what == "files").then(|| of_run(&endless))).unwrap();
    assert!(noted(&run, "gives pages without an end"), "{:?}", run.notes);

    let same = changed(|what, variables| {
        (what == "history").then(|| {
            let rows = vec![r#"{"_step": 0, "loss": 1}"#; 1];
            of_run(&json!({ "history": rows, "asked": variables }))
        })
    });
    assert_eq!(same.unwrap().history.rows, 1, "one page holds all steps of the fixture");
    let stuck = changed(|what, _| match what {
        "run" => Some(of_run(&json!({ "name": "x", "historyLineCount": 9000, "historyKeys": { "lastStep": 9000 } }))),
        "history" => Some(of_run(&json!({ "history": [r#"{"_step": 0, "loss": 1}"#] }))),
        _ => None,
    });
    assert!(stuck.unwrap_err().to_string().contains("rows of other steps"));

    let limited = |bounds: Bounds, words: &str| {
        let (server, _store) = servers(|_| None);
        let error =
            read::run(service(&server.base, Some(KEY)), &Address::parse(ADDRESS).unwrap(), &bounds).unwrap_err();
        assert!(error.to_string().contains(words) && error.is_input(), "{error}");
    };
    limited(Bounds { rows: 100, ..bounds() }, "more than 100 rows of history; export the run's history");
    limited(Bounds { columns: 3, ..bounds() }, "more than 3 columns");
    limited(Bounds { bytes: 10_000, ..bounds() }, "more than 10000 bytes of answers");
    limited(Bounds { answer: 1000, ..bounds() }, "at most 1000");
    limited(Bounds { time: Duration::ZERO, ..bounds() }, "more than 0 seconds");
    let (server, _store) = servers(|_| None);
    let few = Bounds { files: 120, artifacts: 1, ..bounds() };
    let run = read::run(service(&server.base, Some(KEY)), &Address::parse(ADDRESS).unwrap(), &few).unwrap();
    assert_eq!(run.files.len(), 120);
    assert!(noted(&run, "only the first 120 files"));
}

#[test]
fn an_answer_in_part_is_told_and_none_is_an_error() {
    let part = |what: &str, field: &str| {
        let mut run = json!({ "name": "x", "historyLineCount": 0, "config": null });
        run[field] = Value::Null;
        let answer = json!({ "errors": [{ "message": "timed out" }], "data": { "project": { "run": run } } });
        (what == "run").then(|| Reply::whole(answer.to_string()))
    };
    assert!(noted(
        &changed(move |what, _| part(what, "config")).unwrap(),
        "could not answer all that was asked: timed out"
    ));
    let none = changed(|what, _| {
        let answer =
            json!({ "errors": [{ "message": "timed out" }], "data": { "project": { "run": { "history": null } } } });
        (what == "history").then(|| Reply::whole(answer.to_string()))
    });
    assert!(none.unwrap_err().to_string().ends_with("refuses the question: timed out"));
}

#[test]
fn a_page_that_is_too_heavy_is_asked_for_in_parts() {
    let heavy = |what: &str, variables: &Value| {
        let wide = variables["maxStep"].as_i64()? - variables["minStep"].as_i64()? > 100;
        (what == "history" && wide).then(|| Reply::status(500))
    };
    let run = changed(heavy).unwrap();
    assert_eq!(run.history.rows, 137);
    assert!(!noted(&run, "rows of history"), "{:?}", run.notes);
}

#[test]
fn rows_that_are_none_and_numbers_that_are_none_do_no_harm() {
    let run = changed(|what, _| match what {
        "run" => Some(of_run(&json!({
            "name": "x", "state": 7, "createdAt": "yesterday", "heartbeatAt": null, "config": "[1]", "summaryMetrics": "{broken",
            "historyLineCount": -3, "historyKeys": "{\"lastStep\": 50}", "runInfo": [], "host": "",
        }))),
        "history" => Some(of_run(&json!({ "history": [
            "not json", null, 7, "{\"_step\": 2, \"loss\": NaN, \"a\": \"text\", \"h\": {\"_type\": \"histogram\"}}",
            "{\"_step\": \"three\", \"loss\": 1e400}", "{\"_step\": 4.0, \"loss\": 0.1}",
        ] }))),
        "events" => Some(of_run(&json!({ "events": "none" }))),
        "files" => Some(of_run(
            &json!({ "page": { "edges": [null, {}, { "node": { "name": "" } }, { "node": { "name": "f", "sizeBytes": -1, "md5": 3, "updatedAt": {} } }], "pageInfo": null } }),
        )),
        _ => Some(of_run(&json!({ "page": null }))),
    });
    let run = run.unwrap();
    assert_eq!((run.history.rows, run.damaged, run.files.len()), (6, 3, 1));
    assert_eq!(run.history.columns["loss"].last(), Some(&(4, 0.1)));
    assert!(run.times.is_empty() && run.config.is_empty() && run.summary.is_empty());
    for words in [
        "createdAt of the server is no time",
        "the configuration is no object",
        "the summary is no object",
        "row 1 of the history",
    ] {
        assert!(noted(&run, words), "{words}: {:?}", run.notes);
    }
}

#[test]
fn no_answer_of_chance_bytes_is_a_panic() {
    let whole =
        json!({ "data": { "project": { "run": serde_json::from_str::<Value>(&recorded("run.json")).unwrap() } } })
            .to_string();
    for cut in (0..whole.len()).step_by(97) {
        let mut body = whole.clone().into_bytes();
        body[cut] = b"\"{}[]\0\xff9"[cut % 8];
        let _ =
            changed(move |what, _| Some(if what == "run" { Reply::whole(body.clone()) } else { of_run(&json!({})) }));
    }
}

#[test]
fn offline_is_offline_and_an_address_must_be_one() {
    let error = open(ADDRESS, Access { offline: true }).unwrap_err();
    assert!(
        error.is_usage() && error.to_string().contains("wandb://lab/scratch/zlqqxshh cannot be read with --offline")
    );
    assert!(open("wandb://lab/scratch", Access::default()).unwrap_err().is_usage());
    let slow = servers(|_| Some(Reply::whole("{}").after(Duration::from_secs(2)))).0;
    let error = get(&slow).unwrap_err();
    assert!(error.is_io() && error.to_string().contains("does not answer in time"), "{error}");
    let nobody = read::run(service("http://127.0.0.1:1", Some(KEY)), &Address::parse(ADDRESS).unwrap(), &bounds());
    assert!(nobody.unwrap_err().to_string().contains("no connection"));
}
