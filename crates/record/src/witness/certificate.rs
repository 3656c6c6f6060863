//! Certificates, and the way from one of them to a root that the auditor trusts (RFC 5280, as far as time-stamping needs).

#![allow(clippy::missing_errors_doc, reason = "every error is a sentence that says what is wrong")]

use chrono::{DateTime, Utc};
use der::Tag;

use super::asn1::{Parsed, Piece, only, pieces};
use super::pem;
use super::signature::{Key, Scheme};

/// Certificates between the signer and the root, at most.
const DEEPEST: usize = 8;
/// Signatures of certificates that are computed for one proof, at most.
const TRIES: usize = 64;
/// Certificates in one file or one token, at most.
const MOST: usize = 256;

/// What a certificate says.
pub struct Certificate<'a> {
    /// All of its bytes.
    pub whole: &'a [u8],
    signed: &'a [u8],
    algorithm: Piece<'a>,
    signature: &'a [u8],
    /// Serial number, as it stands.
    pub serial: &'a [u8],
    /// The issuer's name, as it stands.
    pub issuer: &'a [u8],
    /// Its own name, as it stands.
    pub subject: &'a [u8],
    /// First and last instant it is valid.
    pub valid: (DateTime<Utc>, DateTime<Utc>),
    info: Piece<'a>,
    extensions: Vec<Extension<'a>>,
}

struct Extension<'a> {
    name: String,
    critical: bool,
    value: &'a [u8],
}

const BASIC: &str = "2.5.29.19";
const USAGE: &str = "2.5.29.15";
const PURPOSES: &str = "2.5.29.37";
const POLICIES: &str = "2.5.29.32";
const STAMPING: &str = "1.3.6.1.5.5.7.3.8";
const CODE: &str = "1.3.6.1.5.5.7.3.3";

impl<'a> Certificate<'a> {
    /// Reads one certificate.
    pub fn read(whole: &'a [u8]) -> Parsed<Self> {
        let mut outer = only(whole, "certificate")?.sequence("certificate")?;
        let signed = outer.next("certificate")?;
        let algorithm = outer.next("signature algorithm")?;
        let signature = outer.next("signature")?.bits("signature")?;
        let mut fields = signed.sequence("certificate")?;
        let _version = fields.numbered(0);
        let serial = fields.next("serial number")?.value;
        let inner = fields.next("signature algorithm")?;
        if inner.whole != algorithm.whole {
            return Err("a certificate with two signature algorithms".into());
        }
        let issuer = fields.next("issuer")?.whole;
        let mut validity = fields.next("validity")?.sequence("validity")?;
        let valid = (validity.next("validity")?.time("validity")?, validity.next("validity")?.time("validity")?);
        let subject = fields.next("subject")?.whole;
        let info = fields.next("public key")?;
        let _unique = (fields.numbered(1), fields.numbered(2));
        let extensions = match fields.numbered(3) {
            None => Vec::new(),
            Some(list) => {
                let list = only(list.value, "extensions")?.sequence("extensions")?.rest();
                list.iter().map(Extension::read).collect::<Parsed<_>>()?
            }
        };
        Ok(Self { whole, signed: signed.whole, algorithm, signature, serial, issuer, subject, valid, info, extensions })
    }

    /// Its public key.
    pub fn key(&self) -> Parsed<Key> {
        Key::read(&self.info)
    }

    /// Whose it is, in words: common name, or organisation, or nothing.
    pub fn called(&self) -> String {
        name(self.subject).unwrap_or_else(|| "somebody without a name".into())
    }

    fn extension(&self, name: &str) -> Option<&Extension<'a>> {
        self.extensions.iter().find(|extension| extension.name == name)
    }

    fn usage(&self) -> Parsed<Option<u8>> {
        self.extension(USAGE).map(|usage| only(usage.value, "key usage")?.flags("key usage")).transpose()
    }

    /// RFC 5280 4.2: what is critical and not understood makes a certificate unusable.
    fn understood(&self) -> Parsed<()> {
        let known = [BASIC, USAGE, PURPOSES, POLICIES];
        match self.extensions.iter().find(|e| e.critical && !known.contains(&e.name.as_str())) {
            Some(extension) => Err(format!(
                "the certificate of {} has the critical extension {}, which is not evaluated here",
                self.called(),
                extension.name
            )),
            None => Ok(()),
        }
    }

    /// RFC 3161 2.3: for time-stamping and nothing else, and marked as critical.
    pub fn may_stamp(&self) -> Parsed<()> {
        let whose = self.called();
        self.understood()?;
        let Some(purposes) = self.extension(PURPOSES) else {
            return Err(format!("the certificate of {whose} is not for time-stamping: it names no purpose"));
        };
        let list = only(purposes.value, "purposes")?.sequence("purposes")?.rest();
        let names = list.iter().map(|purpose| purpose.oid("purpose")).collect::<Parsed<Vec<_>>>()?;
        if names != [STAMPING] {
            return Err(format!("the certificate of {whose} is not for time-stamping alone"));
        }
        if !purposes.critical {
            return Err(format!("the certificate of {whose} does not mark its purpose, time-stamping, as critical"));
        }
        // digitalSignature and nonRepudiation are the first two bits.
        if self.usage()?.is_some_and(|usage| usage & 0xC0 == 0) {
            return Err(format!("the key of {whose} is not for signatures"));
        }
        Ok(())
    }

    /// Whether it is for signing models, as `OpenSSF` Model Signing has it: its key is for digital signatures, or its purpose
    /// is signing code.
    ///
    /// # Errors
    /// Why it is not.
    pub fn may_sign(&self) -> Parsed<()> {
        self.understood()?;
        // digitalSignature is the first bit.
        if self.usage()?.is_some_and(|usage| usage & 0x80 != 0) {
            return Ok(());
        }
        if let Some(purposes) = self.extension(PURPOSES) {
            for purpose in only(purposes.value, "purposes")?.sequence("purposes")?.rest() {
                if purpose.oid("purpose")? == CODE {
                    return Ok(());
                }
            }
        }
        Err(format!("the certificate of {} is not for signing", self.called()))
    }

    /// Whether it may have issued certificates, with `below` authorities between it and the signer.
    fn may_issue(&self, below: usize) -> Parsed<()> {
        let whose = self.called();
        self.understood()?;
        let Some(basic) = self.extension(BASIC) else {
            return Err(format!("the certificate of {whose} is not that of an authority"));
        };
        let mut fields = only(basic.value, "basic constraints")?.sequence("basic constraints")?;
        if fields.next_if(Tag::Boolean).is_none_or(|ca| ca.value != [0xFF]) {
            return Err(format!("the certificate of {whose} is not that of an authority"));
        }
        if let Some(limit) = fields.next_if(Tag::Integer)
            && limit.number("path length")? < below as u64
        {
            return Err(format!("the certificate of {whose} allows fewer authorities below it"));
        }
        // keyCertSign is the sixth bit.
        if self.usage()?.is_some_and(|usage| usage & 0x04 == 0) {
            return Err(format!("the key of {whose} is not for certificates"));
        }
        Ok(())
    }

    fn valid_at(&self, at: DateTime<Utc>) -> Parsed<()> {
        if self.valid.0 <= at && at <= self.valid.1 {
            return Ok(());
        }
        Err(format!(
            "the certificate of {} is valid from {} to {}, the stamp is of {}",
            self.called(),
            self.valid.0.format("%Y-%m-%d"),
            self.valid.1.format("%Y-%m-%d"),
            at.format("%Y-%m-%d")
        ))
    }

    fn signed_by(&self, issuer: &Self) -> Parsed<bool> {
        let scheme = Scheme::read(&self.algorithm, None)?;
        Ok(scheme.verify(&issuer.key()?, self.signed, self.signature))
    }
}

impl<'a> Extension<'a> {
    fn read(piece: &Piece<'a>) -> Parsed<Self> {
        let mut fields = piece.sequence("extension")?;
        let name = fields.next("extension")?.oid("extension")?;
        let critical = fields.next_if(Tag::Boolean).is_some_and(|flag| flag.value != [0]);
        let value = fields.next("extension")?.octets("extension")?;
        Ok(Self { name, critical, value })
    }
}

/// The common name of a distinguished name, otherwise its organisation.
fn name(bytes: &[u8]) -> Option<String> {
    let mut found: [Option<String>; 2] = [None, None];
    for part in only(bytes, "name").ok()?.sequence("name").ok()?.rest() {
        for pair in part.set("name").ok()? {
            let mut pair = pair.sequence("name").ok()?;
            let kind = pair.next("name").ok()?.oid("name").ok()?;
            let value = pair.next("name").ok()?;
            let place = match kind.as_str() {
                "2.5.4.3" => 0,
                "2.5.4.10" => 1,
                _ => continue,
            };
            let text = String::from_utf8_lossy(value.value);
            found[place] = Some(text.chars().take(100).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect());
        }
    }
    found.into_iter().flatten().next()
}

/// The certificates in a file: PEM, any number, or DER, one after the other.
pub fn bundle(bytes: &[u8]) -> Parsed<Vec<Vec<u8>>> {
    let all = match pem::decode(bytes) {
        Some(blocks) => {
            blocks?.into_iter().filter(|(label, _)| label.ends_with("CERTIFICATE")).map(|(_, b)| b).collect()
        }
        None => pieces(bytes)?.iter().map(|piece| piece.whole.to_vec()).collect::<Vec<_>>(),
    };
    match all.len() {
        0 => Err("no certificate in it".into()),
        n if n > MOST => Err(format!("{n} certificates are too many (at most {MOST})")),
        _ => Ok(all),
    }
}

/// The way from `signer` to one of the roots, all valid at `at`; the names on it, the signer's first.
///
/// # Errors
/// The nearest reason why there is none.
pub fn chain(
    signer: &Certificate<'_>,
    others: &[Certificate<'_>],
    roots: &[Certificate<'_>],
    at: DateTime<Utc>,
) -> Parsed<Vec<String>> {
    signer.valid_at(at)?;
    let mut search = Search { others, roots, at, tries: 0, why: None };
    let mut path = vec![signer];
    if search.climb(&mut path) {
        return Ok(path.iter().map(|certificate| certificate.called()).collect());
    }
    let issuer = name(signer.issuer).unwrap_or_else(|| "somebody without a name".into());
    Err(search.why.unwrap_or_else(|| {
        format!("the certificate of {} was issued by {issuer}, which leads to none of the given roots", signer.called())
    }))
}

struct Search<'s, 'a> {
    others: &'s [Certificate<'a>],
    roots: &'s [Certificate<'a>],
    at: DateTime<Utc>,
    tries: usize,
    why: Option<String>,
}

impl<'s, 'a> Search<'s, 'a> {
    fn climb(&mut self, path: &mut Vec<&'s Certificate<'a>>) -> bool {
        let Some(&below) = path.last() else { return false };
        if self.roots.iter().any(|root| root.whole == below.whole) {
            return true;
        }
        if path.len() > DEEPEST {
            return false;
        }
        for issuer in self.roots.iter().chain(self.others).filter(|c| c.subject == below.issuer) {
            if path.iter().any(|step| step.whole == issuer.whole) || self.tries >= TRIES {
                continue;
            }
            self.tries += 1;
            let fits = match below.signed_by(issuer) {
                Ok(true) => issuer.may_issue(path.len() - 1).and_then(|()| issuer.valid_at(self.at)),
                Ok(false) => Err(format!(
                    "the certificate of {} is not signed by the {} that is at hand",
                    below.called(),
                    issuer.called()
                )),
                Err(why) => Err(why),
            };
            if let Err(why) = fits {
                self.why.get_or_insert(why);
                continue;
            }
            path.push(issuer);
            if self.climb(path) {
                return true;
            }
            path.pop();
        }
        false
    }
}
