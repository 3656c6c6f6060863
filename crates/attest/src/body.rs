//! What may stand in the body of a ledger's entry (`docs/formats/ledger.md`): what is unknown, or could be read in two ways, is
//! refused, since a later reader would take it for something that was fixed.

use serde_json::{Map, Value};

use super::manifest::unhex;
use super::text::{collision, inside};

/// Checks the body of an entry.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn check(body: &Value) -> Result<(), String> {
    for (name, own) in object(body, "`body`")? {
        match name.as_str() {
            "manifest" => manifest(own)?,
            "tree" => {
                let own = exactly(own, name, &["root", "tensors"])?;
                digest(own, "root")?;
                whole(own, "tensors")?;
            }
            "log" => {
                let own = exactly(own, name, &["bytes", "name", "sha256"])?;
                digest(own, "sha256")?;
                whole(own, "bytes")?;
                text(own, "name")?;
            }
            "settings" => {
                let settings = object(own, "`settings`")?;
                if let Some((odd, _)) = settings.iter().find(|(_, value)| !value.is_string()) {
                    return Err(format!("the setting `{}` is no text", odd.escape_debug()));
                }
            }
            "step" | "tokens" => drop(own.as_u64().ok_or_else(|| format!("`{name}` is no count"))?),
            "note" | "commit" if own.is_string() => {}
            "note" | "commit" => return Err(format!("`{name}` is no text")),
            _ => return Err(format!("nothing called `{}` belongs in an entry", name.escape_debug())),
        }
    }
    Ok(())
}

/// A checkpoint's files: names that mean one file below its folder on every system.
fn manifest(own: &Value) -> Result<(), String> {
    let own = exactly(own, "manifest", &["files", "name", "sha256"])?;
    digest(own, "sha256")?;
    text(own, "name")?;
    let files = own["files"].as_array().ok_or("`files` of the manifest is no list")?;
    let mut names = Vec::with_capacity(files.len());
    for file in files {
        let file = exactly(file, "files", &["name", "sha256"])?;
        digest(file, "sha256")?;
        names.push(text(file, "name")?);
    }
    // A model that is one file has this name alone.
    for name in names.iter().filter(|name| names.len() > 1 || **name != ".") {
        inside(name)?;
    }
    match collision(names.into_iter()) {
        Some(twice) => {
            Err(format!("`{}` stands twice in the manifest, but for upper and lower case", twice.escape_debug()))
        }
        None => Ok(()),
    }
}

fn object<'a>(own: &'a Value, name: &str) -> Result<&'a Map<String, Value>, String> {
    own.as_object().ok_or_else(|| format!("{name} is no object"))
}

fn exactly<'a>(own: &'a Value, name: &str, keys: &[&str]) -> Result<&'a Map<String, Value>, String> {
    let map = object(own, &format!("`{name}`"))?;
    if map.len() == keys.len() && keys.iter().all(|key| map.contains_key(*key)) {
        Ok(map)
    } else {
        Err(format!("`{name}` has other names than {}", keys.join(", ")))
    }
}

fn digest(own: &Map<String, Value>, name: &str) -> Result<(), String> {
    own[name].as_str().and_then(unhex).map(drop).ok_or_else(|| format!("`{name}` is no SHA-256 digest"))
}

fn whole(own: &Map<String, Value>, name: &str) -> Result<(), String> {
    own[name].as_u64().map(drop).ok_or_else(|| format!("`{name}` is no count"))
}

fn text<'a>(own: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    own[name].as_str().ok_or_else(|| format!("`{name}` is no text"))
}

#[cfg(test)]
mod tests {
    use super::check;
    use serde_json::{Value, json};

    #[test]
    fn what_is_no_body_is_named() {
        let zeros = "0".repeat(64);
        let manifest = |names: &[&str]| {
            let files: Vec<Value> = names.iter().map(|name| json!({ "name": name, "sha256": zeros })).collect();
            json!({ "manifest": { "name": "x", "sha256": zeros, "files": files }, "step": 3, "tokens": 0 })
        };
        let tree = json!({ "tree": { "root": zeros, "tensors": 4 }, "settings": { "lr": "0.1" }, "commit": "ab12" });
        let log = json!({ "log": { "name": "l", "bytes": 3, "sha256": zeros }, "note": "a" });
        for good in [json!({}), manifest(&["a", "b/c"]), manifest(&["."]), tree, log] {
            assert_eq!(check(&good), Ok(()), "{good}");
        }
        for (bad, part) in [
            (json!([]), "no object"),
            (json!({ "step": -1 }), "`step` is no count"),
            (json!({ "tokens": "1" }), "`tokens` is no count"),
            (json!({ "commit": 1 }), "`commit` is no text"),
            (json!({ "note": 1 }), "no text"),
            (json!({ "other": 1 }), "nothing called `other`"),
            (json!({ "settings": { "a": 1 } }), "the setting `a`"),
            (json!({ "tree": { "root": "0", "tensors": 1 } }), "`root` is no SHA-256"),
            (json!({ "tree": { "root": zeros } }), "other names"),
            (manifest(&["../a"]), "leads out"),
            (manifest(&[".", "a"]), "leads out"),
            (manifest(&["/a"]), "no place below"),
            (manifest(&["a", "A"]), "stands twice"),
        ] {
            let why = check(&bad).unwrap_err();
            assert!(why.contains(part), "{bad}: {why}");
        }
    }
}
