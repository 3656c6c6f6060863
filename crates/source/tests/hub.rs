//! Models of a hub and of web servers, over a server that the tests start.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use scratchproof_checkpoint::Checkpoint;
use scratchproof_source::HttpDir;
use scratchproof_source::testing::{Reply, Request, Server, network};
use scratchproof_source::*;

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

fn fixture() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("fixtures/models/parent-llama")
}

fn listing(files: &[&str]) -> String {
    let files: Vec<_> = files.iter().map(|name| serde_json::json!({ "rfilename": name })).collect();
    serde_json::json!({ "id": "x", "sha": SHA, "siblings": files }).to_string()
}

/// A hub with the fixture in it, whose large files are at another server.
fn hub() -> (Server, Server) {
    let store = Server::start(|request| {
        let name = request.path.split('?').next().unwrap_or_default().trim_start_matches('/');
        Reply::range(request, &std::fs::read(fixture().join(name)).unwrap())
    });
    let base = store.base.clone();
    let server = Server::start(move |request| answer(request, &base));
    (server, store)
}

fn answer(request: &Request, store: &str) -> Reply {
    let resolve = format!("/acme/llama/resolve/{SHA}/");
    match request.path.strip_prefix(&resolve) {
        _ if request.headers.get("authorization").is_none_or(|token| token != "Bearer secret") => Reply::status(401),
        Some("config.json") => Reply::whole(std::fs::read(fixture().join("config.json")).unwrap()),
        Some(name) => Reply::status(302).with("location", &format!("{store}/{name}?sig=hidden")),
        None if request.path == "/api/models/acme/llama/revision/refs%2Fpr%2F1" => {
            Reply::whole(listing(&["model.safetensors", "config.json", "../x", "sub/y", "README.md", "config.json"]))
        }
        None if request.path.ends_with("/revision/main") => Reply::whole(r#"{"sha":"../../x"}"#),
        None if request.path.contains("/revision/aaaa") => Reply::whole(listing(&[])),
        None => Reply::status(404),
    }
}

fn open(server: &Server, token: Option<&str>, address: &str) -> Result<HubModel, scratchproof_error::Error> {
    HubModel::open(&network(), &Hub::new(&server.base, token).unwrap(), address)
}

/// Every tensor of both, byte for byte.
fn assert_same(remote: &Checkpoint, local: &Checkpoint) {
    let names = |model: &Checkpoint| serde_json::to_value(&model.tensors).unwrap();
    assert_eq!(names(remote), names(local));
    assert_eq!((&remote.config, &remote.architecture), (&local.config, &local.architecture));
    assert!(!local.tensors.is_empty() && local.config.is_some());
    for tensor in &local.tensors {
        assert!(remote.read(tensor).unwrap() == local.read(tensor).unwrap(), "{}", tensor.name);
    }
}

#[test]
fn a_model_of_a_hub_is_the_same_as_the_local_one_and_pinned() {
    let (server, store) = hub();
    let network = network();
    let hub = Hub::new(&server.base, Some(" secret\n")).unwrap();
    assert!(!format!("{hub:?}").contains("secret"));
    let model = HubModel::open(&network, &hub, "hf://acme/llama@refs/pr/1").unwrap();
    assert_eq!(model.uri(), format!("hf://acme/llama@{SHA}"));
    assert_eq!(model.list().unwrap(), ["README.md", "config.json", "model.safetensors"]);
    assert!(!format!("{model:?}").contains("secret"));
    for name in ["../x", "sub/y", "absent", ""] {
        assert!(model.open(name).err().unwrap().is_input(), "{name}");
    }
    let remote = Checkpoint::from_store(&model).unwrap();
    let local = Checkpoint::open(&fixture()).unwrap();
    assert_same(&remote, &local);
    assert_eq!(remote.uri, format!("hf://acme/llama@{SHA}"));
    assert_eq!(remote.shards[0].blob.uri(), format!("hf://acme/llama@{SHA}/model.safetensors"));
    assert!(network.blocks_held() <= 4);
    let (remote, local) =
        (scratchproof_measure::digests(&[&remote]).unwrap(), scratchproof_measure::digests(&[&local]).unwrap());
    assert_eq!(remote, local);
    assert!(store.requests().iter().all(|request| !request.headers.contains_key("authorization")));
}

#[test]
fn what_a_hub_refuses_is_told_without_the_token() {
    let (server, _store) = hub();
    for (token, address, words) in [
        (None, "hf://acme/llama", &["does not allow", "HF_TOKEN", "gated"][..]),
        (Some("secret2"), "hf://acme/llama", &["the token in HF_TOKEN may not read it"]),
        (Some("secret"), "hf://acme/none@v1", &["there is no hf://acme/none@v1"]),
        (Some("secret"), "hf://acme/llama", &["names no commit"]),
        (Some("secret"), &format!("hf://acme/llama@{}", "a".repeat(40)), &["another commit"]),
    ] {
        let error = open(&server, token, address).unwrap_err();
        for word in words {
            assert!(error.to_string().contains(word), "{error}");
        }
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    for address in [
        "hf://llama",
        "hf:///x",
        "hf://a/b/../c",
        "hf://a/..",
        "hf://a/b@",
        "hf://a/b@..",
        "hf://a/b@x y",
        "hf://a/b?c",
    ] {
        assert!(open(&server, None, address).unwrap_err().is_usage(), "{address}");
    }
    assert!(Hub::new("http://example.org", None).unwrap_err().is_usage());
    let error = Hub::new("https://example.org", Some("sec\nret")).unwrap_err();
    assert!(error.is_usage() && !error.to_string().contains("ret\""), "{error}");
}

#[test]
fn a_folder_of_a_web_server_and_one_file_of_it() {
    let server = Server::start(|request| {
        let path = request.path.split('?').next().unwrap_or_default();
        match path.strip_prefix("/m/").map(|name| std::fs::read(fixture().join(name))) {
            Some(Ok(bytes)) if path.ends_with(".json") => Reply::whole(bytes),
            Some(Ok(bytes)) => Reply::range(request, &bytes),
            _ => Reply::status(404),
        }
    });
    let local = Checkpoint::open(&fixture()).unwrap();
    for address in ["/m", "/m/", "/m/model.safetensors", "/m/model.safetensors#x"] {
        let place = HttpDir::open(&network(), &server.url(address)).unwrap();
        assert_eq!(place.list().unwrap(), ["config.json", "model.safetensors"]);
        assert_same(&Checkpoint::from_store(&place).unwrap(), &local);
        assert!(place.open("../x").is_err());
    }
    let place = HttpDir::open(&network(), &server.url("/m/model.safetensors?sig=secret")).unwrap();
    let signed = Checkpoint::from_store(&place).unwrap();
    assert_eq!((signed.uri, signed.config), (server.url("/m/model.safetensors"), None));
    assert!(place.open("other").is_err());
    let error = Checkpoint::from_store(&HttpDir::open(&network(), &server.url("/none")).unwrap()).unwrap_err();
    assert!(error.to_string().contains("neither model.safetensors nor"), "{error}");
    for address in ["/m/model.safetensors.index.json", "/m/?sig=secret"] {
        let error = HttpDir::open(&network(), &server.url(address)).unwrap_err();
        assert!(error.is_usage() && !error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn shards_of_a_web_folder_come_from_its_index_which_is_hostile() {
    let server = Server::start(|request| {
        let map = |shard: &str| serde_json::json!({ "weight_map": { "a": shard } }).to_string();
        match request.path.as_str() {
            "/good/model.safetensors.index.json" => Reply::whole(map("m-1.safetensors")),
            "/good/m-1.safetensors" => {
                let shape: &[usize] = &[2, 2];
                Reply::range(
                    request,
                    &scratchproof_checkpoint::testing::file(&[("a", scratchproof_checkpoint::Dtype::F32, shape)]),
                )
            }
            "/bad/model.safetensors.index.json" => Reply::whole(map("../good/m-1.safetensors")),
            "/lost/model.safetensors.index.json" => Reply::whole(map("m-2.safetensors")),
            "/text/model.safetensors.index.json" => Reply::whole("<html>"),
            // What an object store says of what is not there.
            _ => Reply::status(403),
        }
    });
    let open = |path: &str| Checkpoint::from_store(&HttpDir::open(&network(), &server.url(path)).unwrap());
    let model = open("/good").unwrap();
    assert_eq!((model.tensors.len(), model.shards[0].name.as_str()), (1, "m-1.safetensors"));
    for (path, word) in [("/bad/", "refused"), ("/lost/", "m-2.safetensors"), ("/text/", "index.json")] {
        let error = open(path).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    assert!(server.requests().iter().all(|request| !request.path.contains("..")));
}

#[test]
fn what_a_hub_says_of_a_model_is_fetched_with_its_commits() {
    let server = Server::start(|request| match request.path.as_str() {
        "/api/models/acme/llama?blobs=true" | "/api/models/acme/old?blobs=true" => Reply::whole("{}"),
        "/api/models/acme/llama/commits/refs%2Fpr%2F1" => Reply::whole("[1]"),
        "/api/models/acme/llama/commits/refs%2Fpr%2F1?p=1" => Reply::whole("[2]"),
        "/api/models/acme/llama/commits/refs%2Fpr%2F1?p=2" => Reply::whole("[]"),
        "/api/models/acme/llama/tree/refs%2Fpr%2F1?expand=true&recursive=true" => Reply::whole("[3]"),
        path if path.starts_with("/api/models/acme/old/commits/main") => Reply::whole("[4]"),
        _ => Reply::status(404),
    });
    let hub = Hub::new(&server.base, None).unwrap();
    let answers = hub.answers(&network(), "hf://acme/llama@refs/pr/1", 100).unwrap();
    assert_eq!(answers, ["{}", "[1]", "[2]", "[3]"].map(|text| text.as_bytes().to_vec()));
    // One that knows no pages and shows no files.
    let answers = hub.answers(&network(), "hf://acme/old", 100).unwrap();
    assert_eq!(answers, ["{}", "[4]"].map(|text| text.as_bytes().to_vec()));
    assert!(
        hub.answers(&network(), "hf://acme/other", 100)
            .unwrap_err()
            .to_string()
            .contains("there is no hf://acme/other@main")
    );
    assert!(hub.answers(&network(), "hf://acme/llama@refs/pr/1", 1).unwrap_err().is_input(), "too long");
}
