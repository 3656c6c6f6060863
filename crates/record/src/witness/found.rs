//! Things of a case by the digests that a proof may be over.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256, Sha384, Sha512};

use super::signature::Hash;
use super::target::{Target, TargetCheckpoint, Targets};
use crate::git::{self, Object, ObjectKind};
use scratchproof_case::Over;
use scratchproof_error::hexadecimal::{hex, unhex};
use scratchproof_error::{Error, Result};
use scratchproof_source::plain;
use scratchproof_texts::text;

/// A digest that was stamped.
pub type Imprint = (Hash, Vec<u8>);

/// What a digest is of, and in which form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    pub target: Target,
    /// In words: "its bytes".
    pub form: &'static str,
}

/// All that was found, by digest.
pub struct Found(BTreeMap<Imprint, Vec<Match>>);

impl Found {
    /// Looks for the things that these digests are of.
    ///
    /// # Errors
    /// If the repository cannot be read.
    pub fn search(imprints: &[Imprint], targets: &Targets) -> (Self, Option<Error>) {
        let mut found = Self(imprints.iter().map(|imprint| (imprint.clone(), Vec::new())).collect());
        for checkpoint in &targets.checkpoints {
            found.checkpoint(checkpoint);
        }
        let Some(path) = targets.repository.as_ref().filter(|_| !imprints.is_empty()) else { return (found, None) };
        let patience = targets.patience.unwrap_or(Duration::from_secs(30));
        let kept = Self(found.0.clone());
        match git::objects(path, patience, targets.commits.clone(), found, Self::object) {
            Ok(found) => (found, None),
            Err(error) => (kept, Some(error)),
        }
    }

    /// Looks at a file that the case names.
    ///
    /// Returns its SHA-256 and its length.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn file(&mut self, name: &str, path: &Path) -> Result<(Vec<u8>, u64)> {
        let mut wanted: Vec<Hash> = self.0.keys().map(|(hash, _)| *hash).chain([Hash::Sha256]).collect();
        wanted.sort();
        wanted.dedup();
        let (all, length) = digests(path, &wanted)?;
        let mut sha256 = Vec::new();
        for (hash, digest) in all {
            self.note(&(hash, digest.clone()), &Target::File(name.to_owned()), "its bytes");
            if hash == Hash::Sha256 {
                self.text(
                    &hex(&digest),
                    &Target::File(name.to_owned()),
                    ["its SHA-256 as text", "its SHA-256 as bytes"],
                );
                sha256 = digest;
            }
        }
        Ok((sha256, length))
    }

    /// What this digest is of; those that are over `over` first.
    pub fn of(&self, imprint: &Imprint, over: Option<&Over>) -> Vec<Match> {
        let mut all = self.0.get(imprint).cloned().unwrap_or_default();
        all.sort_by(|a, b| {
            (!over.is_none_or(|o| covers(o, &a.target)), a).cmp(&(!over.is_none_or(|o| covers(o, &b.target)), b))
        });
        all.dedup();
        all
    }

    fn note(&mut self, imprint: &Imprint, target: &Target, form: &'static str) {
        if let Some(list) = self.0.get_mut(imprint) {
            list.push(Match { target: target.clone(), form });
        }
    }

    fn bytes(&mut self, bytes: &[u8], target: &Target, form: &'static str) {
        for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            if self.0.keys().any(|(wanted, _)| *wanted == hash) {
                self.note(&(hash, hash.digest(bytes)), target, form);
            }
        }
    }

    /// An id or a digest that was written down: its text, with the ends of line that editors and shells add, or its bytes.
    fn text(&mut self, hexadecimal: &str, target: &Target, forms: [&'static str; 2]) {
        for end in ["", "\n", "\r\n"] {
            self.bytes(format!("{hexadecimal}{end}").as_bytes(), target, forms[0]);
        }
        if let Some(bytes) = unhex(hexadecimal) {
            self.bytes(&bytes, target, forms[1]);
        }
    }

    fn object(&mut self, object: Object<'_>) {
        let target = match object.kind {
            ObjectKind::Commit => Target::Commit(object.id.to_owned()),
            ObjectKind::Tag { name, commit } => Target::Tag { name: name.clone(), commit: commit.clone() },
        };
        self.bytes(object.bytes, &target, "its bytes as git shows them");
        let header = format!("{} {}\0", object.word, object.bytes.len());
        self.bytes(&[header.as_bytes(), object.bytes].concat(), &target, "its bytes as git stores them");
        self.text(object.id, &target, ["its id as text", "its id as bytes"]);
    }

    fn checkpoint(&mut self, checkpoint: &TargetCheckpoint) {
        let forms = ["its digest as text", "its digest as bytes"];
        let mut digest = |sha256: &str, file: Option<String>, form: &'static str| {
            let target = Target::Checkpoint { step: checkpoint.step, file };
            if let Some(bytes) = unhex(sha256) {
                self.note(&(Hash::Sha256, bytes), &target, form);
            }
            self.text(sha256, &target, forms);
        };
        digest(&checkpoint.manifest, None, "the list of its files' digests, or its only file");
        for file in &checkpoint.files {
            digest(&file.sha256, Some(file.name.clone()), "its bytes");
        }
    }
}

/// Whether a target is what the case says a proof is over.
pub fn covers(over: &Over, target: &Target) -> bool {
    match (over, target) {
        (Over::Commit(id), Target::Commit(full)) => full.starts_with(&id.to_ascii_lowercase()),
        (Over::Tag(name), Target::Tag { name: tag, .. }) => name == tag,
        (Over::Checkpoint(step), Target::Checkpoint { step: own, .. }) => step == own,
        (Over::File(file), Target::File(name)) => *name == file.written,
        _ => false,
    }
}

/// What the case says a proof is over, as a target.
pub fn named(over: &Over) -> Target {
    match over {
        Over::Commit(id) => Target::Commit(id.clone()),
        Over::Tag(name) => Target::Tag { name: name.clone(), commit: None },
        Over::Checkpoint(step) => Target::Checkpoint { step: *step, file: None },
        Over::File(file) => Target::File(file.written.clone()),
    }
}

/// Digests of a file, and its length.
fn digests(path: &Path, wanted: &[Hash]) -> Result<(Vec<Imprint>, u64)> {
    let failed = |error| Error::io(path.display(), error);
    let mut file = plain::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Error::usage(text!("error-record/found/not-regular-file", path = path.display())));
    }
    let (mut a, mut b, mut c) = (Sha256::new(), Sha384::new(), Sha512::new());
    let mut length = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        length += read as u64;
        for hash in wanted {
            match hash {
                Hash::Sha256 => a.update(&buffer[..read]),
                Hash::Sha384 => b.update(&buffer[..read]),
                Hash::Sha512 => c.update(&buffer[..read]),
            }
        }
    }
    let of = |hash: &Hash| match hash {
        Hash::Sha256 => a.clone().finalize().to_vec(),
        Hash::Sha384 => b.clone().finalize().to_vec(),
        Hash::Sha512 => c.clone().finalize().to_vec(),
    };
    Ok((wanted.iter().map(|hash| (*hash, of(hash))).collect(), length))
}
