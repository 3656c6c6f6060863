//! What is in a model's folder, as `OpenSSF` Model Signing lists it
//! (<https://github.com/sigstore/model-transparency>, predicate type `https://model_signing/signature/v1.0`).

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use scratchproof_error::hexadecimal::{self, hex};
use scratchproof_error::{Error, Result};
use scratchproof_source::plain;
use scratchproof_texts::text;

use super::text::{collision, inside};

/// Type of the predicate.
pub const PREDICATE: &str = "https://model_signing/signature/v1.0";

/// What belongs to git and not to a model.
pub const GIT: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// Files of one model, at most.
const MOST: usize = 1 << 20;

/// Folders inside each other, at most.
const DEEPEST: usize = 64;

/// One file, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Path below the folder with `/`; of a part `PATH:START:END`; `.` for a model that is one file.
    pub name: String,
    /// SHA-256.
    pub sha256: [u8; 32],
}

/// The files of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The last part of the model's path; for people.
    pub name: String,
    /// By name, in the order of the specification.
    pub resources: Vec<Resource>,
    /// Paths below the folder that are no part of the model.
    pub ignored: Vec<String>,
    /// Bytes of one part, where files are taken in parts.
    pub shard: Option<u64>,
}

impl Manifest {
    /// Reads a folder or a single file.
    ///
    /// # Errors
    /// If something in it is a link or no plain file, has a name that is no text, or cannot be read.
    pub fn of(model: &Path, ignored: &[String], shard: Option<u64>) -> Result<Self> {
        let mut names = Vec::new();
        let place = || shown(model);
        let about = fs::symlink_metadata(model).map_err(|cause| Error::io(place(), cause))?;
        if about.is_file() {
            names.push(".".to_owned());
        } else if about.is_dir() {
            walk(model, "", ignored, DEEPEST, &mut names)?;
        } else {
            return Err(Error::input(text!("error-attest/manifest/neither-folder-nor-plain", place = place())));
        }
        if let Some(name) = collision(names.iter().map(String::as_str)) {
            return Err(Error::input(text!(
                "error-attest/manifest/name-stands-twice-where",
                place = place(),
                name = name.escape_debug().to_string()
            )));
        }
        let mut resources = Vec::new();
        for name in names {
            let path = if name == "." { model.to_owned() } else { model.join(&name) };
            resources.append(&mut parts(&name, &path, shard)?);
        }
        sort(&mut resources);
        let name = fs::canonicalize(model).ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        Ok(Self { name: name.unwrap_or_default(), resources, ignored: ignored.to_vec(), shard })
    }

    /// From names and digests that are known.
    #[must_use]
    pub fn known(name: String, mut resources: Vec<Resource>) -> Self {
        sort(&mut resources);
        Self { name, resources, ignored: Vec::new(), shard: None }
    }

    /// One digest for all: the SHA-256 of the digests' bytes, one after the other.
    #[must_use]
    pub fn root(&self) -> String {
        let mut hasher = Sha256::new();
        self.resources.iter().for_each(|resource| hasher.update(resource.sha256));
        hex(&hasher.finalize())
    }

    /// The in-toto statement that is signed.
    #[must_use]
    pub fn statement(&self) -> Value {
        let mut serialization = json!({ "method": "files", "hash_type": "sha256", "allow_symlinks": false });
        if let Some(size) = self.shard {
            serialization["method"] = "shards".into();
            serialization["shard_size"] = size.into();
        }
        if !self.ignored.is_empty() {
            serialization["ignore_paths"] = json!(self.ignored);
        }
        let kind = self.shard.map_or_else(|| "sha256".to_owned(), |size| format!("sha256-sharded-{size}"));
        let resource = |own: &Resource| json!({ "name": own.name, "algorithm": kind, "digest": hex(&own.sha256) });
        json!({
            "_type": super::STATEMENT,
            "subject": [{ "name": self.name, "digest": { "sha256": self.root() } }],
            "predicateType": PREDICATE,
            "predicate": {
                "serialization": serialization,
                "resources": self.resources.iter().map(resource).collect::<Vec<_>>(),
            },
        })
    }

    /// Reads such a statement.
    ///
    /// # Errors
    /// If it is none, is hashed in a way that is not read here, or names files outside of a folder.
    pub fn read(statement: &Value) -> Result<Self> {
        parse(statement).map_err(|why| Error::input(text!("error-attest/manifest/signed-manifest", why)))
    }
}

fn parse(statement: &Value) -> Result<Manifest, String> {
    let text = |value: &Value, what: &str| -> Result<String, String> {
        value.as_str().map(str::to_owned).ok_or_else(|| format!("{what} is missing"))
    };
    let predicate = &statement["predicate"];
    let [subject] = statement["subject"].as_array().map_or(&[][..], Vec::as_slice) else {
        return Err("it has not one subject".into());
    };
    let serialization = &predicate["serialization"];
    let method = text(&serialization["method"], "the method")?;
    let hash = text(&serialization["hash_type"], "the hash function")?;
    let shard = match method.as_str() {
        "files" => None,
        "shards" => Some(serialization["shard_size"].as_u64().filter(|size| *size > 0).ok_or("no size of parts")?),
        other => return Err(format!("files are taken by the method `{}`, which is not known", other.escape_debug())),
    };
    if hash.split('-').next() != Some("sha256") {
        return Err(format!("its digests are {}, which is not computed here (SHA-256 is)", hash.escape_debug()));
    }
    if serialization["allow_symlinks"].as_bool() == Some(true) {
        return Err("it allows links, which are not followed here".into());
    }
    let ignored = serialization["ignore_paths"].as_array().map_or(&[][..], Vec::as_slice).iter();
    let ignored = ignored.map(|path| text(path, "an ignored path")).collect::<Result<Vec<_>, _>>()?;
    let list = predicate["resources"].as_array().ok_or("the list of files is missing")?;
    if list.len() > MOST {
        return Err(format!("it lists more than {MOST} files"));
    }
    let mut resources = Vec::new();
    for entry in list {
        let name = text(&entry["name"], "a name")?;
        let algorithm = text(&entry["algorithm"], "a hash function")?;
        let digest = text(&entry["digest"], "a digest")?;
        if algorithm.split('-').next() != Some("sha256") {
            return Err(format!("`{}` is hashed by {}", name.escape_debug(), algorithm.escape_debug()));
        }
        let path = if shard.is_some() { part(&name).ok_or("a part without its place")?.0 } else { &name };
        if path != "." {
            inside(path)?;
        }
        let sha256 = unhex(&digest).ok_or_else(|| format!("the digest of `{}` is none", name.escape_debug()))?;
        resources.push(Resource { name, sha256 });
    }
    if let Some(name) = collision(resources.iter().map(|own| own.name.as_str())) {
        return Err(format!("the name `{}` stands twice where case does not count", name.escape_debug()));
    }
    let manifest = Manifest { name: text(&subject["name"], "the name")?, resources, ignored, shard };
    if subject["digest"]["sha256"].as_str() != Some(&manifest.root()) {
        return Err("its one digest is not that of the files it lists".into());
    }
    Ok(manifest)
}

/// `PATH:START:END`.
pub(super) fn part(name: &str) -> Option<(&str, u64, u64)> {
    let mut pieces = name.split(':');
    let (path, start, end) = (pieces.next()?, pieces.next()?.parse().ok()?, pieces.next()?.parse().ok()?);
    (pieces.next().is_none() && start < end).then_some((path, start, end))
}

/// The specification's order: paths part by part, then the places of parts.
fn sort(resources: &mut [Resource]) {
    let key = |own: &Resource| {
        let (path, start, end) = part(&own.name).unwrap_or((&own.name, 0, 0));
        (path.split('/').map(str::to_owned).collect::<Vec<_>>(), start, end)
    };
    resources.sort_by_cached_key(key);
}

fn walk(root: &Path, below: &str, ignored: &[String], deep: usize, names: &mut Vec<String>) -> Result<()> {
    let folder = root.join(below);
    let Some(deep) = deep.checked_sub(1) else {
        return Err(Error::input(text!(
            "error-attest/manifest/more-folders-inside-each",
            root = shown(root),
            deepest = DEEPEST
        )));
    };
    let mut entries = BTreeMap::new();
    for entry in fs::read_dir(&folder).map_err(|cause| Error::io(shown(&folder), cause))? {
        let entry = entry.map_err(|cause| Error::io(shown(&folder), cause))?;
        let kind = entry.file_type().map_err(|cause| Error::io(shown(&entry.path()), cause))?;
        entries.insert(entry.file_name(), (entry.path(), kind));
    }
    for (name, (path, kind)) in entries {
        let Some(name) = name.to_str() else {
            return Err(Error::input(text!("error-attest/manifest/name-no-text", path = shown(&path))));
        };
        let name = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        if ignored.iter().any(|own| own.trim_end_matches('/') == name) {
            continue;
        }
        if kind.is_symlink() {
            return Err(Error::input(text!("error-attest/manifest/link-what-leads-not", path = shown(&path))));
        } else if kind.is_dir() {
            walk(root, &name, ignored, deep, names)?;
        } else if kind.is_file() {
            names.push(name);
        } else {
            return Err(Error::input(text!(
                "error-attest/manifest/neither-folder-nor-plain-file",
                path = shown(&path)
            )));
        }
        if names.len() > MOST {
            return Err(Error::input(text!("error-attest/manifest/more-files", root = shown(root), most = MOST)));
        }
    }
    Ok(())
}

/// The digests of a file: one, or one a part.
pub(super) fn parts(name: &str, path: &Path, shard: Option<u64>) -> Result<Vec<Resource>> {
    let failed = |cause| Error::io(shown(path), cause);
    let mut file = plain::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let Some(size) = shard else {
        let mut hasher = Sha256::new();
        std::io::copy(&mut file, &mut hasher).map_err(failed)?;
        return Ok(vec![Resource { name: name.to_owned(), sha256: hasher.finalize().into() }]);
    };
    let mut all = Vec::new();
    let mut start = 0;
    while start < length {
        let end = start.saturating_add(size).min(length);
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        let mut hasher = Sha256::new();
        std::io::copy(&mut (&mut file).take(end - start), &mut hasher).map_err(failed)?;
        all.push(Resource { name: format!("{name}:{start}:{end}"), sha256: hasher.finalize().into() });
        start = end;
    }
    Ok(all)
}

/// 32 bytes of 64 hexadecimal digits.
pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    hexadecimal::unhex(text)?.try_into().ok()
}

pub(super) fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_ordered_part_by_part() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        for name in ["a-b", "a/c", "b"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let manifest = Manifest::of(dir.path(), &["b".into()], None).unwrap();
        assert_eq!(manifest.resources.iter().map(|own| own.name.as_str()).collect::<Vec<_>>(), ["a/c", "a-b"]);
        assert_eq!(Manifest::read(&manifest.statement()).unwrap(), manifest);
        std::os::unix::fs::symlink("b", dir.path().join("l")).unwrap();
        assert!(Manifest::of(dir.path(), &[], None).unwrap_err().to_string().contains("is a link"));
    }

    #[test]
    fn a_manifest_that_leads_out_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), "x").unwrap();
        let good = Manifest::of(dir.path(), &[], None).unwrap().statement();
        for (place, value) in [
            ("/predicate/resources/0/name", json!("../x")),
            ("/predicate/resources/0/name", json!("/x")),
            ("/predicate/resources/0/digest", json!("00")),
            ("/predicate/resources/0/algorithm", json!("md5")),
            ("/predicate/serialization/hash_type", json!("blake3")),
            ("/predicate/serialization/method", json!("guess")),
            ("/subject/0/digest/sha256", json!("00")),
            ("/subject", json!([])),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(place).unwrap() = value;
            assert!(Manifest::read(&bad).is_err(), "{place}");
        }
    }
}
