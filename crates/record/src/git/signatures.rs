//! Signatures of commits and tags, checked against given keys. A signature says who, not when: the times in it are the
//! signer's own.

mod allowed;
mod certified;
mod openpgp;
mod ssh;

use std::io::Read;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid};

use super::{Commit, Pulse, Repository, clean};
use crate::listed::{Given, Shelf};
use scratchproof_error::{Error, Result};
use scratchproof_source::plain;

/// Bytes of a file of keys, and of a signed object.
const KEY_FILE: u64 = 16 << 20;
const OBJECT: usize = 4 << 20;
/// Signatures checked, the newest first.
const LIMIT: usize = 20_000;

/// The kind of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignatureKind {
    /// SSHSIG.
    Ssh,
    /// `OpenPGP`, RFC 9580.
    OpenPgp,
    /// CMS with X.509 certificates.
    X509,
    /// Something else in the place of a signature.
    Unknown,
}

impl SignatureKind {
    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ssh => "SSH",
            Self::OpenPgp => "OpenPGP",
            Self::X509 => "X.509",
            Self::Unknown => "unknown",
        }
    }

    /// By the first line.
    pub fn of(signature: &[u8]) -> Self {
        let begins = |text: &str| signature.trim_ascii_start().starts_with(text.as_bytes());
        if begins("-----BEGIN SSH SIGNATURE-----") {
            Self::Ssh
        } else if begins("-----BEGIN PGP SIGNATURE-----") || begins("-----BEGIN PGP MESSAGE-----") {
            Self::OpenPgp
        } else if begins("-----BEGIN SIGNED MESSAGE-----") {
            Self::X509
        } else {
            Self::Unknown
        }
    }
}

/// What checking a signature said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It is of this key over just this content; the signer by the name that the given keys have.
    Good(String),
    /// It is of a given key that may not sign so, or not then; why, in words.
    Refused(String),
    /// It does not belong to this content: the content or the signature was altered.
    Bad,
    /// It is of a key that was not given; its fingerprint.
    UnknownKey(String),
    /// It cannot be checked here; why, in words.
    Unverified(String),
}

/// One signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Id of the commit or tag object.
    pub object: String,
    /// Name of the tag, for one.
    pub tag: Option<String>,
    /// Its kind.
    pub kind: SignatureKind,
    /// What checking it said.
    pub validity: Validity,
}

/// Public keys to check signatures with.
#[derive(Debug, Default)]
pub struct Keys {
    allowed: Vec<allowed::Signer>,
    openpgp: Vec<openpgp::Certificate>,
    /// Lines and keys that cannot be used, in words.
    pub notes: Vec<String>,
    /// The files they are from, by path.
    pub files: Shelf,
}

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
                let why = notes.first().map_or(String::new(), |note| format!(": {note}"));
                return Err(Error::input(format!("{place}: no signer that can be used{why}")));
            }
            keys.allowed = signers;
            keys.notes.extend(notes);
        }
        for path in openpgp {
            let text = bytes(path)?;
            keys.files.add(Given::Signers, &path.display().to_string(), &text);
            let found = openpgp::read(&text);
            if found.is_empty() {
                return Err(Error::input(format!("{}: no OpenPGP public key", path.display())));
            }
            keys.openpgp.extend(found);
        }
        Ok(keys)
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.allowed.is_empty() && self.openpgp.is_empty()
    }

    /// Checks a signature over some bytes. `at` is the time the object gives itself, in seconds since 1970: SSH signatures
    /// have none of their own.
    pub fn check(&self, kind: SignatureKind, signature: &[u8], signed: &[u8], at: i64) -> Validity {
        match kind {
            SignatureKind::Ssh => ssh::check(&self.allowed, signature, signed, at),
            SignatureKind::OpenPgp => openpgp::check(&self.openpgp, signature, signed),
            SignatureKind::X509 => Validity::Unverified("X.509 signatures are not verified here".into()),
            SignatureKind::Unknown => Validity::Unverified("it is no signature of a kind known here".into()),
        }
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    let failed = |error| Error::io(path.display(), error);
    let mut bytes = Vec::new();
    let about = std::fs::metadata(path).map_err(failed)?;
    if !about.is_file() || about.len() > KEY_FILE {
        return Err(Error::input(format!("{}: no file of keys", path.display())));
    }
    plain::open(path).map_err(failed)?.take(KEY_FILE).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The kind of the signature in a commit's header, if there is one.
pub fn of_header(header: &[u8]) -> Option<SignatureKind> {
    header.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(b"gpgsig ")).map(SignatureKind::of)
}

/// A commit's signature and what it is over: the commit without it.
pub fn split_commit(content: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut signature, mut signed) = (Vec::new(), Vec::with_capacity(content.len()));
    // 0: none, 1: inside the signature, 2: inside one for another hash.
    let (mut inside, mut header) = (0, true);
    for line in content.split_inclusive(|&b| b == b'\n') {
        if header {
            if line == b"\n" {
                header = false;
                inside = 0;
            } else if let Some(rest) = line.strip_prefix(b" ") {
                match inside {
                    1 => signature.extend_from_slice(rest),
                    2 => {}
                    _ => signed.extend_from_slice(line),
                }
                continue;
            } else if let Some(rest) = line.strip_prefix(b"gpgsig ") {
                inside = 1;
                signature.extend_from_slice(rest);
                continue;
            } else if line.starts_with(b"gpgsig-sha256 ") {
                inside = 2;
                continue;
            } else {
                inside = 0;
            }
        }
        signed.extend_from_slice(line);
    }
    (!signature.is_empty()).then_some((signature, signed))
}

/// A tag's signature and what it is over: all that stands before its last beginning.
pub fn split_tag(content: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut at, mut place) = (0, None);
    for line in content.split_inclusive(|&b| b == b'\n') {
        if SignatureKind::of(line) != SignatureKind::Unknown && line.starts_with(b"-----BEGIN ") {
            place = Some(at);
        }
        at += line.len();
    }
    let (signed, signature) = content.split_at(place?);
    Some((signature.to_vec(), signed.to_vec()))
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
