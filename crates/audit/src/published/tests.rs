//! A hub of 154 branches with the faults that published series have.
#![allow(clippy::unwrap_used)]

use scratchproof_finding::published::judge;
use scratchproof_source::testing::{Reply, Server, network};
use scratchproof_source::{Access, Hub};

use super::listed;

const BRANCHES: i64 = 154;

fn commit(step: i64) -> String {
    format!("{step:040x}")
}

/// The files of a branch: two parts, each with a digest of its own but for the faults.
fn files(at: i64) -> serde_json::Value {
    // Branches 1 to 85 and 0 serve the last one's weights.
    let served = if at < 86 { BRANCHES - 1 } else { at };
    let part = |number: i64| {
        // Branch 100 holds the second part of branch 120.
        let of = if at == 100 && number == 2 { 120 } else { served };
        let day = if at == 130 && number == 1 { 20 } else { 1 };
        // Branch 140 was uploaded long before.
        let month = if at == 140 { 1 } else { 3 };
        serde_json::json!({
            "type": "file", "path": format!("model-0000{number}-of-00002.safetensors"), "size": 134,
            "lfs": { "oid": format!("{:064x}", 10 * of + number), "size": 1_000_000_000 + of },
            "lastCommit": { "id": commit(at), "date": format!("2026-{month:02}-{day:02}T{:02}:{:02}:00.000Z", at / 60, at % 60) }
        })
    };
    let mut all = vec![serde_json::json!({ "type": "file", "path": "config.json", "size": 600 }), part(1)];
    // Branch 150 lacks its second part.
    if at != 150 {
        all.push(part(2));
    }
    if at == 152 {
        all.push(serde_json::json!({ "type": "file", "path": "model-00001-of-00003.safetensors", "size": 1,
            "lfs": { "oid": "f".repeat(64), "size": 5 } }));
    }
    all.into()
}

fn hub() -> Server {
    Server::start(|request| {
        let api = "/api/models/acme/series/";
        let rest = request.path.strip_prefix(api).unwrap_or_default();
        if rest == "refs" {
            let branch = |at: i64| serde_json::json!({ "name": format!("step{}", 1000 * at), "ref": "", "targetCommit": commit(at) });
            let mut branches: Vec<_> = (0..BRANCHES).map(branch).collect();
            branches.push(serde_json::json!({ "name": "main", "ref": "", "targetCommit": commit(999) }));
            return Reply::whole(serde_json::json!({ "branches": branches, "tags": [] }).to_string());
        }
        let Some(rest) = rest.strip_prefix("tree/") else { return Reply::status(404) };
        let Ok(at) = i64::from_str_radix(&rest[..40], 16) else { return Reply::status(404) };
        let all = files(at);
        // Two pages of one branch.
        if at == 90 && !rest.contains("cursor") {
            let next = format!("<{api}tree/{}?recursive=true&expand=true&cursor=x>; rel=\"next\"", &rest[..40]);
            return Reply::whole(serde_json::json!([all[0]]).to_string()).with("link", &next);
        }
        let all = if at == 90 { serde_json::json!([all[1], all[2]]) } else { all };
        Reply::whole(all.to_string())
    })
}

#[test]
fn faults_are_found_from_digests_alone() {
    let server = hub();
    let hub = Hub::new(&server.base, None).unwrap();
    let network = network();
    let found = listed("hf://acme/series@step{step}", Access::default(), &network, &hub).unwrap();
    assert_eq!(found.steps.len(), 154);
    assert_eq!(
        (found.steps[1].step, found.steps[1].address.as_str()),
        (1000, &*format!("hf://acme/series@{}", commit(1)))
    );
    assert_eq!(found.steps[90].weights.len(), 2, "two pages");
    assert_eq!(server.requests().len(), 156, "one for the branches, one a branch, one more page");
    assert!(found.fetched > 0 && found.fetched < 200_000, "{}", found.fetched);
    let judgement = judge(&found.steps);
    let told: Vec<(String, Vec<i64>)> =
        judgement.findings.iter().map(|f| (f.message.english(), f.subject.steps.clone())).collect();
    let with = |word: &str| told.iter().filter(|(words, _)| words.contains(word)).collect::<Vec<_>>();
    let [(words, steps)] = with("the same weights")[..] else { panic!("{told:?}") };
    assert!(steps.len() == 87 && words.contains("87 of 154") && words.contains("late"), "{words}");
    let [(words, steps)] =
        with("are the same at steps").into_iter().chain(with("is the same at steps")).collect::<Vec<_>>()[..]
    else {
        panic!("{told:?}")
    };
    assert!(*steps == [100_000, 120_000] && words.contains("model-00002-of-00002"), "{words}");
    assert_eq!(with("missing")[0].1, [150_000]);
    assert_eq!(with("two sets")[0].1, [152_000]);
    assert_eq!(with("after it was published")[0].1, [130_000]);
    assert!(with("uploaded before")[0].1.contains(&140_000), "{told:?}");
    assert_eq!(told.len(), 6, "{told:?}");
}

#[test]
fn patterns_that_name_nothing() {
    let server = hub();
    let hub = Hub::new(&server.base, None).unwrap();
    let ask = |pattern: &str, offline: bool| {
        let access = Access { offline };
        listed(pattern, access, &network(), &hub).expect_err("a refusal").to_string()
    };
    assert!(ask("hf://acme/series@checkpoint-{step}", false).contains("nothing there matches"));
    assert!(ask("hf://acme/series@step{step}", true).contains("--offline"));
    assert!(ask("acme/series@step{step}", false).contains("hf://org/name"));
    assert!(ask("hf://acme/none@step{step}", false).contains("there is no hf://acme/none"));
}
