//! Files and artifacts of a run, with their digests.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::client::Client;
use super::machine::time;
use super::queries::{self, ARTIFACT, FILE, Fields};
use crate::console::Console;
use crate::releases::{Interval, Trust};
use crate::run::{Dated, Happened, LoggedFile, Run};
use crate::wandb;
use scratchproof_error::Result;
use scratchproof_error::json::fits;
use scratchproof_texts::text;

/// Nodes a page.
const PAGE: usize = 100;

/// What the SDK notes of program and machine when the run starts.
const METADATA: &str = "wandb-metadata.json";

/// What the program printed.
const OUTPUT: &str = "output.log";

/// Reads the list of the run's files, what the program printed (the columns must be chosen), and [`METADATA`], if it is
/// there.
pub(super) fn files(client: &mut Client, run: &mut Run) -> Result<Option<Value>> {
    let mut fields = Fields::new(FILE);
    let (mut metadata, mut output) = (None, None);
    let most = client.bounds.files;
    let nodes = pages(client, &mut fields, most, queries::files)?;
    if nodes.len() == most {
        run.notes.push(format!("only the first {most} files of the run are listed"));
    }
    for node in &nodes {
        let Some(name) = text(node, "/name") else { continue };
        client.digest_json("file", node);
        let dated = |at| stored(name, at);
        match name {
            METADATA => metadata = text(node, "/url"),
            OUTPUT => output = text(node, "/url"),
            _ => {}
        }
        run.files.push(LoggedFile {
            name: name.to_owned(),
            artifact: None,
            bytes: size(node.get("sizeBytes")),
            md5: text(node, "/md5").and_then(md5),
            sha256: None,
            at: text(node, "/updatedAt").and_then(time).map(dated),
        });
    }
    left_out(run, "files", &fields);
    let noted = content(client, run, metadata, METADATA, "metadata").map(|bytes| {
        fits(&bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    });
    if noted == Some(None) {
        run.notes.push(format!("{METADATA} is not JSON and was left out"));
    }
    if let Some(bytes) = content(client, run, output, OUTPUT, "output") {
        let mut console = Console::default();
        console.feed(&bytes);
        run.printed = console.finish(&run.loss());
    }
    Ok(noted.flatten())
}

/// A file of the run, if it is there; a note if it cannot be read.
fn content(client: &mut Client, run: &mut Run, address: Option<&str>, name: &str, kind: &str) -> Option<Vec<u8>> {
    match client.file(address?, name) {
        Ok(bytes) => {
            client.digest(kind, &bytes);
            Some(bytes)
        }
        Err(error) => {
            run.notes.push(format!("{name} could not be read: {error}"));
            None
        }
    }
}

/// Reads the artifacts that the run logged (`outputArtifacts`) or took in (`inputArtifacts`), and their manifests.
pub(super) fn artifacts(client: &mut Client, run: &mut Run, connection: &str) -> Result<()> {
    let used = connection == "inputArtifacts";
    let mut fields = Fields::new(ARTIFACT);
    let most = client.bounds.artifacts;
    let nodes = pages(client, &mut fields, most, |fields| queries::artifacts(connection, fields))?;
    if nodes.len() == most {
        run.notes.push(format!("only the first {most} artifacts are listed ({connection})"));
    }
    for node in &nodes {
        let Some(name) = artifact_name(node, run) else { continue };
        client.digest_json("artifact", node);
        let at = text(node, "/createdAt").and_then(time);
        let kind = text(node, "/artifactType/name").unwrap_or("artifact");
        if used {
            run.used.push(name.clone());
            run.notes.push(format!("the run took in the artifact {name} ({kind})"));
        } else if let Some(at) = at {
            let what = format!("logged the artifact {name}");
            run.times.push(Dated { what, ..stored(&name, at) });
        }
        let Some(address) = text(node, "/currentManifest/file/directUrl") else {
            run.notes.push(format!("the service gives no manifest of the artifact {name}"));
            continue;
        };
        match client.file(address, &format!("manifest of {name}")) {
            Ok(bytes) => {
                client.digest("manifest", &bytes);
                let dated = at.map(|at| stored(&name, at));
                if !manifest(client, run, &bytes, &name, text(node, "/digestAlgorithm"), dated.as_ref()) {
                    run.notes.push(format!("the manifest of {name} is no manifest and was left out"));
                }
            }
            Err(error) => run.notes.push(format!("the manifest of {name} could not be read: {error}")),
        }
    }
    left_out(run, "artifacts", &fields);
    Ok(())
}

/// The server had something at this time.
fn stored(name: &str, at: Interval) -> Dated {
    Dated { happened: Happened::Other, what: format!("stored {name}"), at, trust: Trust::Platform }
}

/// `name:v3`, of another project `entity/project/name:v3`, as far as the service says it.
fn artifact_name(node: &Value, run: &Run) -> Option<String> {
    let name = text(node, "/artifactSequence/name").or(text(node, "/id"))?;
    let project = text(node, "/artifactSequence/project/name");
    let entity = text(node, "/artifactSequence/project/entity/name");
    let place = match (entity, project) {
        _ if entity == run.entity.as_deref() && project == run.project.as_deref() => String::new(),
        (Some(entity), Some(project)) => format!("{entity}/{project}/"),
        _ => String::new(),
    };
    let version = node.get("versionIndex").and_then(Value::as_u64).map_or(String::new(), |index| format!(":v{index}"));
    Some(format!("{place}{name}{version}"))
}

/// Adds the files of a manifest. Whether it is one.
fn manifest(
    client: &Client,
    run: &mut Run,
    bytes: &[u8],
    artifact: &str,
    algorithm: Option<&str>,
    at: Option<&Dated>,
) -> bool {
    if fits(bytes).is_err() {
        return false;
    }
    let manifest: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let Some(contents) = manifest.get("contents").and_then(Value::as_object) else { return false };
    for (name, entry) in contents {
        if run.files.len() >= client.bounds.files {
            run.notes.push(format!("only the first {} files are listed", client.bounds.files));
            break;
        }
        // A reference has the mark of its store for a digest, and newer writers can take other algorithms.
        let other = entry.get("ref").is_some_and(|to| !to.is_null())
            || entry
                .pointer("/extra/alg")
                .and_then(Value::as_str)
                .is_some_and(|name| !name.eq_ignore_ascii_case("MD5"))
            || algorithm.is_some_and(|name| !name.to_ascii_uppercase().contains("MD5"));
        run.files.push(LoggedFile {
            name: name.clone(),
            artifact: Some(artifact.to_owned()),
            bytes: size(entry.get("size")),
            md5: text(entry, "/digest").filter(|_| !other).and_then(md5),
            sha256: None,
            at: at.cloned(),
        });
    }
    true
}

/// All nodes of a connection, at most so many.
fn pages(
    client: &mut Client,
    fields: &mut Fields,
    most: usize,
    query: impl Fn(&Fields) -> String,
) -> Result<Vec<Value>> {
    let (mut nodes, mut after, mut seen) = (Vec::new(), Value::Null, BTreeSet::new());
    while nodes.len() < most {
        let variables = json!({ "first": PAGE, "after": after });
        let mut answer = client.ask_for(fields, &query, &variables)?;
        let Some(Value::Object(mut page)) = answer.remove("page") else { break };
        let Some(Value::Array(edges)) = page.remove("edges") else { break };
        let got = edges.len();
        nodes.extend(edges.into_iter().filter_map(node).take(most - nodes.len()));
        let info: Map<String, Value> = match page.remove("pageInfo") {
            Some(Value::Object(info)) => info,
            _ => break,
        };
        if info.get("hasNextPage").and_then(Value::as_bool) != Some(true) {
            break;
        }
        let cursor = info.get("endCursor").and_then(Value::as_str).unwrap_or_default().to_owned();
        if got == 0 || cursor.is_empty() || !seen.insert(cursor.clone()) {
            return Err(client.broken(text!("error-record/files/gives-pages-without-end")));
        }
        after = Value::String(cursor);
    }
    Ok(nodes)
}

fn node(mut edge: Value) -> Option<Value> {
    edge.get_mut("node").map(Value::take).filter(Value::is_object)
}

fn left_out(run: &mut Run, of: &str, fields: &Fields) {
    if let Some(missing) = fields.missing() {
        run.notes.push(format!("the server does not know these fields of {of}: {missing}"));
    }
}

fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path)?.as_str().filter(|text| !text.is_empty())
}

/// A length, which is a number or, being 64 bits long, its text.
fn size(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// MD5 in lower-case hexadecimal; the service writes it in base64.
fn md5(text: &str) -> Option<String> {
    let hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex {
        return Some(text.to_ascii_lowercase());
    }
    wandb::records::md5(text)
}

#[cfg(test)]
mod tests {
    use super::{md5, size};

    #[test]
    fn digests_and_lengths_come_in_two_forms() {
        let empty = "d41d8cd98f00b204e9800998ecf8427e";
        assert_eq!(md5("1B2M2Y8AsgTpgAmY7PhCfg==").as_deref(), Some(empty));
        assert_eq!(md5(&empty.to_ascii_uppercase()).as_deref(), Some(empty));
        for text in ["", "abc", "\"etag-1\"", "1B2M2Y8AsgTpgAmY7PhCfg", "AAAA"] {
            assert_eq!(md5(text), None, "{text}");
        }
        assert_eq!(size(Some(&serde_json::json!("12"))), Some(12));
        assert_eq!(size(Some(&serde_json::json!(12))), Some(12));
        assert_eq!(size(Some(&serde_json::json!(-1))), None);
    }
}
