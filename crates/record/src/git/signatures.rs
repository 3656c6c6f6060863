//! Signatures of commits and tags, checked against given keys. A signature says who, not when: the times in it are the
//! signer's own.

mod allowed;
mod certified;
mod openpgp;
mod reading;
mod ssh;

pub use reading::read;

use crate::listed::Shelf;

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
