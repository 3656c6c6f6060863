//! Reading the files of keys, and the signatures of a repository.

use std::io::Read;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid};

use super::super::{Commit, Pulse, Repository, clean};
use super::{Keys, Signature, SignatureKind, allowed, openpgp, split_commit, split_tag};
use crate::listed::Given;
use scratchproof_error::{Error, Result};
use scratchproof_source::plain;
use scratchproof_texts::text;

/// Bytes of a file of keys, and of a signed object.
const KEY_FILE: u64 = 16 << 20;
const OBJECT: usize = 4 << 20;
/// Signatures checked, the newest first.
const LIMIT: usize = 20_000;

impl Keys {
    /// Reads an allowed-signers file (`ssh-keygen(1)`) and `OpenPGP` public keys, armoured or binary.
    ///
    /// # Errors
    /// If a file cannot be read or holds no key at all.
    pub fn read(allowed: Option<&Path>, openpgp: &[PathBuf]) -> Result<Self> {
        let mut keys = Self::default();
        if let Some(path) = allowed {
            let place = path.display().to_string();
            let text = bytes(path)?;
            keys.files.add(Given::Signers, &place, &text);
            let (signers, notes) = allowed::read(&String::from_utf8_lossy(&text));
            if signers.is_empty() {
                let why = notes.first().cloned();
                return Err(Error::input(text!("error-record/reading/no-signer-can-used", place, why)));
            }
            keys.allowed = signers;
            keys.notes.extend(notes);
        }
        for path in openpgp {
            let text = bytes(path)?;
            keys.files.add(Given::Signers, &path.display().to_string(), &text);
            let found = openpgp::read(&text);
            if found.is_empty() {
                return Err(Error::input(text!("error-record/reading/no-openpgp-public-key", path = path.display())));
            }
            keys.openpgp.extend(found);
        }
        Ok(keys)
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    let failed = |error| Error::io(path.display(), error);
    let mut bytes = Vec::new();
    let about = std::fs::metadata(path).map_err(failed)?;
    if !about.is_file() || about.len() > KEY_FILE {
        return Err(Error::input(text!("error-record/reading/no-file-keys", path = path.display())));
    }
    plain::open(path).map_err(failed)?.take(KEY_FILE).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Checks the signatures of commits and tags.
pub fn read(repository: &git2::Repository, facts: &mut Repository, keys: &Keys, tags: &[(String, Oid)], pulse: &Pulse) {
    let Ok(odb) = repository.odb() else { return };
    let object = |id: Oid, kind: ObjectType| -> Option<Vec<u8>> {
        let (size, found) = odb.read_header(id).ok()?;
        (size <= OBJECT && found == kind).then(|| odb.read(id).ok().map(|object| object.data().to_vec())).flatten()
    };
    let mut signatures = Vec::new();
    let mut signed: Vec<&Commit> = facts.commits.iter().filter(|commit| commit.signature.is_some()).collect();
    if signed.len() > LIMIT {
        facts.notes.push(format!("only the newest {LIMIT} of {} signed commits were checked", signed.len()));
        signed = signed.split_off(signed.len() - LIMIT);
    }
    for commit in signed {
        pulse.beat("commit", &commit.id);
        let content = Oid::from_str(&commit.id).ok().and_then(|id| object(id, ObjectType::Commit));
        let Some((signature, over)) = content.as_deref().and_then(split_commit) else { continue };
        let kind = SignatureKind::of(&signature);
        let validity = keys.check(kind, &signature, &over, commit.committer.at.timestamp());
        signatures.push(Signature { object: commit.id.clone(), tag: None, kind, validity });
    }
    for (name, id) in tags.iter().take(LIMIT) {
        pulse.beat("tag", id);
        let Some(content) = object(*id, ObjectType::Tag) else { continue };
        let Some((signature, over)) = split_tag(&content) else { continue };
        let kind = SignatureKind::of(&signature);
        let validity = keys.check(kind, &signature, &over, tagged_at(&content));
        signatures.push(Signature { object: id.to_string(), tag: Some(clean(name)), kind, validity });
    }
    facts.signatures = signatures;
    facts.notes.extend(keys.notes.iter().cloned());
    facts.key_files = keys.files.clone();
}

/// The seconds in a tag's own header.
fn tagged_at(content: &[u8]) -> i64 {
    let mut header = content.split(|&b| b == b'\n').take_while(|line| !line.is_empty());
    let line = header.find_map(|line| line.strip_prefix(b"tagger ")).unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    line.rsplit(' ').nth(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}
