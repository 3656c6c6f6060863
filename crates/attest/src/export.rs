//! The audit in the forms that others read: in-toto's verification result, `CycloneDX` declarations, a model card's metadata,
//! a block of text for the form of the EU's AI Act. All are made from the statement and from nothing else.

use serde_json::{Value, json};

use scratchproof_report::text::printable;
use scratchproof_texts::{Text, text};

/// Type of in-toto's simple verification result
/// (<https://github.com/in-toto/attestation/blob/main/spec/predicates/svr.md>).
pub const SVR: &str = "https://in-toto.io/attestation/svr/v0.1";

/// The conditions of a claim, in the order in which people read them.
const CONDITIONS: [&str; 4] = ["start", "chain", "parent", "time"];

/// This moment, as a statement writes it.
#[must_use]
pub fn now() -> String {
    scratchproof_source::now::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// The statement as a simple verification result: properties are what holds, and nothing else may be concluded. `at` is
/// when it was verified (RFC 3339), which the statement itself does not say.
#[must_use]
pub fn svr(statement: &Value, at: &str) -> Value {
    let predicate = &statement["predicate"];
    let verdict = &predicate["verdict"];
    let outcome = words(&verdict["outcome"]).to_uppercase();
    let mut properties = vec![format!("SCRATCHPROOF_FROM_SCRATCH_{outcome}")];
    for condition in CONDITIONS {
        let state = words(&verdict["conditions"][condition]).to_uppercase();
        properties.push(format!("SCRATCHPROOF_{}_{state}", condition.to_uppercase()));
    }
    json!({
        "_type": super::STATEMENT,
        "subject": statement["subject"],
        "predicateType": SVR,
        "predicate": {
            "verifier": { "id": verifier(predicate) },
            "timeCreated": at,
            "properties": properties,
        },
    })
}

/// The statement as a `CycloneDX` 1.6 bill with declarations: the claim, the findings for it as evidence and those against it
/// as counter-evidence, both by the ids of the report, and what is missing.
#[must_use]
pub fn cyclonedx(statement: &Value, report: &Value) -> Value {
    let predicate = &statement["predicate"];
    let verdict = &predicate["verdict"];
    let components: Vec<Value> = models(predicate, "checkpoint")
        .map(|model| {
            json!({
                "type": "machine-learning-model",
                "bom-ref": format!("model:{}", words(&model["name"])),
                "name": model["name"],
                "hashes": [{ "alg": "SHA-256", "content": model["digest"]["sha256"] }],
            })
        })
        .collect();
    let target = components.last().map_or(Value::Null, |last| last["bom-ref"].clone());
    let (mut evidence, mut support, mut counter) = (Vec::new(), Vec::new(), Vec::new());
    for finding in report["findings"].as_array().map_or(&[][..], Vec::as_slice) {
        let reference = format!("finding:{}", words(&finding["id"]));
        match finding["direction"].as_str() {
            Some("for") => support.push(reference.clone()),
            Some("against") => counter.push(reference.clone()),
            _ => continue,
        }
        evidence.push(json!({
            "bom-ref": reference,
            "propertyName": format!("scratchproof:{}", words(&finding["code"])),
            "description": finding["message"],
            "data": [{ "name": "grade", "contents": { "attachment": { "contentType": "text/plain", "content": finding["grade"] } } }],
        }));
    }
    let missing: Vec<&str> = verdict["missing"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let claim = json!({
        "bom-ref": "claim:from-scratch",
        "target": target,
        "predicate": text!("attest/export/claim", against = names(&verdict["against"])).english(),
        "reasoning": verdict["ground"],
        "evidence": support,
        "counterEvidence": counter,
    });
    let score = match verdict["outcome"].as_str() {
        Some("confirmed") => 1.0,
        _ => 0.0,
    };
    let map = json!({
        "requirement": "requirement:from-scratch",
        "claims": ["claim:from-scratch"],
        "counterClaims": [],
        "conformance": { "score": score, "rationale": summary(predicate).english() },
    });
    let mut bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": { "components": [{
                "type": "application", "name": predicate["tool"]["name"], "version": predicate["tool"]["version"],
            }] },
        },
        "components": components,
        "declarations": {
            "assessors": [{ "bom-ref": "assessor", "thirdParty": false }],
            "attestations": [{ "summary": summary(predicate).english(), "assessor": "assessor", "map": [map] }],
            "claims": [claim],
            "evidence": evidence,
        },
        "definitions": { "standards": [{
            "bom-ref": "standard:scratchproof",
            "name": "scratchproof",
            "requirements": [{
                "bom-ref": "requirement:from-scratch",
                "identifier": "from-scratch",
                "title": text!("attest/export/requirement").english(),
            }],
        }] },
    });
    if !missing.is_empty() {
        let strategy = text!("attest/export/missing", parts = names(&verdict["missing"])).english();
        bill["declarations"]["evidence"].as_array_mut().into_iter().for_each(|list| {
            list.push(json!({ "bom-ref": "missing", "propertyName": "scratchproof:missing", "description": strategy }));
        });
        bill["declarations"]["claims"][0]["mitigationStrategies"] = json!(["missing"]);
    }
    bill
}

/// Metadata for the head of a model card: `model-index` of the hub's format, in YAML.
#[must_use]
pub fn model_card(statement: &Value) -> String {
    let predicate = &statement["predicate"];
    let last = models(predicate, "checkpoint").last();
    let digest = last.map_or("", |model| words(&model["digest"]["sha256"]));
    // Strings of JSON are strings of YAML.
    let quoted = |text: &str| Value::from(text).to_string();
    let outcome = words(&predicate["verdict"]["outcome"]);
    format!(
        "model-index:\n- name: {}\n  results:\n  - task:\n      type: provenance\n      name: {}\n    dataset:\n      \
         type: none\n      name: {}\n    metrics:\n    - type: from-scratch\n      name: {}\n      value: {}\n      \
         verified: false\n    source:\n      name: {}\n      url: {}\n# sha256 of the manifest: {digest}\n",
        quoted(words(&predicate["claim"]["case"])),
        quoted("Provenance of the weights"),
        quoted("the model's own checkpoints"),
        quoted(&summary(predicate).english()),
        quoted(outcome),
        quoted(&format!("{} {}", words(&predicate["tool"]["name"]), words(&predicate["tool"]["version"]))),
        quoted("https://github.com/scratchproof/scratchproof"),
    )
}

/// A block of text for the documentation of a general-purpose model (Regulation (EU) 2024/1689, Annex XI, section 1,
/// points 1 and 2): what was claimed, tested, found, and what was not.
#[must_use]
pub fn eu_form(statement: &Value) -> String {
    let predicate = &statement["predicate"];
    let verdict = &predicate["verdict"];
    let models: Vec<String> = models(predicate, "checkpoint")
        .map(|model| format!("{} (sha256 {})", printable(words(&model["name"])), words(&model["digest"]["sha256"])))
        .collect();
    let conditions: Vec<String> = CONDITIONS
        .iter()
        .map(|condition| format!("{condition}: {}", words(&verdict["conditions"][condition])))
        .collect();
    text!(
        "attest/export/eu",
        case = printable(words(&predicate["claim"]["case"])),
        summary = summary(predicate),
        conditions = conditions,
        models = models,
        missing = names(&verdict["missing"]),
        root = words(&predicate["evidence"]["root"]["sha256"]),
        tool = words(&predicate["tool"]["name"]),
        version = words(&predicate["tool"]["version"]),
    )
    .english()
}

fn summary(predicate: &Value) -> Text {
    let verdict = &predicate["verdict"];
    text!("attest/export/summary", outcome = words(&verdict["outcome"]), against = names(&verdict["against"]))
}

fn verifier(predicate: &Value) -> String {
    format!("https://github.com/scratchproof/scratchproof@{}", words(&predicate["tool"]["version"]))
}

fn models<'a>(predicate: &'a Value, role: &'a str) -> impl Iterator<Item = &'a Value> {
    predicate["models"].as_array().into_iter().flatten().filter(move |model| model["role"] == role)
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn names(list: &Value) -> Vec<Text> {
    list.as_array().into_iter().flatten().map(|name| Text::plain(printable(words(name)))).collect()
}
