//! RFC 3161 time-stamp tokens: what they say, and whether an authority that the auditor trusts says it.
//!
//! Revocation is not looked at: lists of revoked certificates are on servers, and a token is verified offline.

#![allow(clippy::missing_errors_doc, reason = "every error is a sentence that says what is wrong")]

use chrono::{DateTime, TimeDelta, Utc};
use der::Tag;

use super::asn1::{Parsed, Piece, only, pieces, unsigned};
use super::ber;
use super::certificate::{Certificate, chain};
use super::pem;
use super::signature::{Hash, Scheme};
use crate::Interval;

/// Tokens of more bytes are not read; real ones have a few thousand.
pub const LARGEST: usize = 1 << 20;
/// Certificates in a token, at most.
const MOST: usize = 64;

const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";
const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
const SIGNING_CERTIFICATE: &str = "1.2.840.113549.1.9.16.2.12";
const SIGNING_CERTIFICATE_V2: &str = "1.2.840.113549.1.9.16.2.47";

/// What a token says, whoever says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Hash function of the imprint.
    pub hash: Hash,
    /// The digest that was stamped.
    pub imprint: Vec<u8>,
    /// Time of the stamp.
    pub at: DateTime<Utc>,
    /// How exact the authority says that is.
    pub accuracy: Option<TimeDelta>,
    /// Whether the authority's stamps can be ordered by their times alone.
    pub ordering: bool,
}

impl Stamp {
    /// When it was stamped. Without an accuracy a second is allowed for, the least that a token without fractions can mean.
    pub fn interval(&self) -> Interval {
        let span = self.accuracy.unwrap_or(TimeDelta::seconds(1));
        Interval {
            earliest: self.at.checked_sub_signed(span).unwrap_or(self.at),
            latest: self.at.checked_add_signed(span).unwrap_or(self.at),
        }
    }
}

/// A token that was read but not believed yet.
pub struct Token<'a> {
    /// What it says.
    pub stamp: Stamp,
    content: &'a [u8],
    certificates: Vec<&'a [u8]>,
    signer: Signer<'a>,
}

struct Signer<'a> {
    /// Issuer and serial number, or the key's identifier.
    id: Piece<'a>,
    hash: Piece<'a>,
    /// As they stand, with their tag.
    attributes: Piece<'a>,
    algorithm: Piece<'a>,
    signature: &'a [u8],
}

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Its own numbers do not agree: bytes were changed, or it was made up.
    Broken(String),
    /// Nothing is wrong in itself, but it does not lead to a trusted root.
    Unanchored(String),
}

/// The bytes of a token in any of the forms people keep: DER, PEM, with or without the response around it.
pub fn binary(bytes: &[u8]) -> Parsed<Vec<u8>> {
    let bytes = match pem::decode(bytes) {
        None => bytes.to_vec(),
        Some(blocks) => match blocks?.into_iter().next() {
            Some((_, body)) => body,
            None => return Err("PEM without a block".into()),
        },
    };
    if bytes.len() <= LARGEST && has_open_lengths(&bytes) {
        // What is no BER either is refused with what is wrong with it as DER.
        return Ok(ber::to_der(&bytes).unwrap_or(bytes));
    }
    Ok(bytes)
}

/// Whether a value on the way to what is signed has no length of its own.
fn has_open_lengths(bytes: &[u8]) -> bool {
    let mut next = vec![bytes];
    for _ in 0..8 {
        for list in std::mem::take(&mut next) {
            let Ok(found) = pieces(list) else { return true };
            // Lists, and what stands in numbered places.
            next.extend(found.iter().filter(|p| p.whole.first().is_some_and(|tag| tag & 0x20 != 0)).map(|p| p.value));
        }
    }
    false
}

/// Reads a response or a token.
pub fn read(bytes: &[u8]) -> Parsed<Token<'_>> {
    if bytes.len() > LARGEST {
        return Err(format!("{} bytes are too many for a time-stamp token (at most {LARGEST})", bytes.len()));
    }
    let outer = only(bytes, "token")?;
    let mut fields = outer.sequence("token")?;
    let first = fields.next("content type")?;
    if first.tag == Tag::Sequence {
        let status = first.sequence("status")?.next("status")?.number("status")?;
        if status > 1 {
            return Err(format!("the authority refused to stamp (status {status})"));
        }
        return content_info(&fields.next("token (the response holds none)")?);
    }
    content_info(&outer)
}

fn content_info<'a>(outer: &Piece<'a>) -> Parsed<Token<'a>> {
    let mut fields = outer.sequence("token")?;
    if fields.next("content type")?.oid("content type")? != SIGNED_DATA {
        return Err("it is not signed data".into());
    }
    let inner = fields.numbered(0).ok_or("signed data is missing")?;
    let mut data = only(inner.value, "signed data")?.sequence("signed data")?;
    let _version = data.next("version")?.number("version")?;
    let _hashes = data.next("hash functions")?.set("hash functions")?;
    let mut content = data.next("content")?.sequence("content")?;
    if content.next("content type")?.oid("content type")? != TST_INFO {
        return Err("what is signed is not a time stamp".into());
    }
    let content = content.numbered(0).ok_or("the time stamp is missing")?;
    let content = only(content.value, "time stamp")?.octets("time stamp")?;
    let stamp = tst_info(content)?;
    let certificates = match data.numbered(0) {
        Some(set) => set.walk()?.rest().iter().filter(|c| c.tag == Tag::Sequence).map(|c| c.whole).collect(),
        None => Vec::new(),
    };
    if certificates.len() > MOST {
        return Err(format!("{} certificates are too many for a token (at most {MOST})", certificates.len()));
    }
    let _revoked = data.numbered(1);
    let signers = data.next("signature")?.set("signatures")?;
    let [signer] = signers.as_slice() else {
        return Err(format!("a token has one signature, this one has {}", signers.len()));
    };
    let signer = Signer::read(signer)?;
    Ok(Token { stamp, content, certificates, signer })
}

fn tst_info(bytes: &[u8]) -> Parsed<Stamp> {
    let mut fields = only(bytes, "time stamp")?.sequence("time stamp")?;
    let version = fields.next("version")?.number("version")?;
    if version != 1 {
        return Err(format!("a time stamp of version {version}; 1 is read"));
    }
    let _policy = fields.next("policy")?.oid("policy")?;
    let mut imprint = fields.next("imprint")?.sequence("imprint")?;
    let hash =
        Hash::of(&imprint.next("hash function")?.sequence("hash function")?.next("hash function")?.oid("hash")?)?;
    let imprint = imprint.next("digest")?.octets("digest")?.to_vec();
    if imprint.len() != hash.length() {
        return Err(format!("a digest of {} bytes is none of {}", imprint.len(), hash.name()));
    }
    let _serial = fields.next("serial number")?;
    let at = fields.next("time")?;
    if at.tag != Tag::GeneralizedTime {
        return Err("the time is missing".into());
    }
    let at = at.time("time")?;
    let accuracy = fields.next_if(Tag::Sequence).map(|span| accuracy(&span)).transpose()?;
    let ordering = fields.next_if(Tag::Boolean).is_some_and(|flag| flag.value != [0]);
    Ok(Stamp { hash, imprint, at, accuracy, ordering })
}

fn accuracy(piece: &Piece<'_>) -> Parsed<TimeDelta> {
    let mut fields = piece.sequence("accuracy")?;
    let seconds = fields.next_if(Tag::Integer).map_or(Ok(0), |p| p.number("accuracy"))?;
    let mut part = |number: u8| -> Parsed<u64> {
        let value = fields.numbered(number).map_or(Some(0), |piece| unsigned(piece.value));
        value.filter(|value| *value < 1000).ok_or_else(|| "accuracy: a fraction of more than a second".to_owned())
    };
    let nanos = part(0)? * 1_000_000 + part(1)? * 1000;
    // A stamp that is exact to ten years only says nothing.
    let seconds = i64::try_from(seconds).ok().filter(|seconds| *seconds < 315_576_000);
    let span = seconds.and_then(|seconds| TimeDelta::new(seconds, u32::try_from(nanos).ok()?));
    span.ok_or_else(|| "an accuracy of ten years or more".into())
}

impl<'a> Signer<'a> {
    fn read(piece: &Piece<'a>) -> Parsed<Self> {
        let mut fields = piece.sequence("signature")?;
        let _version = fields.next("version")?.number("version")?;
        let id = fields.next("signer")?;
        let hash = fields.next("hash function")?;
        let attributes = fields.numbered(0).ok_or("the signed attributes are missing")?;
        let algorithm = fields.next("signature algorithm")?;
        let signature = fields.next("signature")?.octets("signature")?;
        Ok(Self { id, hash, attributes, algorithm, signature })
    }

    /// The value of an attribute that there is once.
    fn attribute(&self, name: &str) -> Parsed<Option<Piece<'a>>> {
        let mut found = None;
        for attribute in self.attributes.walk()?.rest() {
            let mut fields = attribute.sequence("attribute")?;
            if fields.next("attribute")?.oid("attribute")? == name {
                let values = fields.next("attribute")?.set("attribute")?;
                match (values.as_slice(), &found) {
                    ([value], None) => found = Some(*value),
                    _ => return Err(format!("the attribute {name} is there more than once")),
                }
            }
        }
        Ok(found)
    }

    /// Whether the attributes and the identifier name this certificate as the signer's.
    fn is(&self, certificate: &Certificate<'_>) -> Parsed<bool> {
        let mut named = false;
        for (attribute, old) in [(SIGNING_CERTIFICATE, true), (SIGNING_CERTIFICATE_V2, false)] {
            let Some(value) = self.attribute(attribute)? else { continue };
            let list = value.sequence("signing certificate")?.next("signing certificate")?;
            // The first is the signer's; others would only limit who may have issued it.
            let mut first =
                list.sequence("signing certificate")?.next("signing certificate")?.sequence("certificate id")?;
            let digest = if old {
                // RFC 2634: SHA-1, here only to point at a certificate whose signature is verified besides.
                pgp::crypto::hash::HashAlgorithm::Sha1
                    .digest(certificate.whole)
                    .map_err(|_| "the certificate is one of two made to have one SHA-1 digest".to_owned())?
            } else {
                let hash = match first.next_if(Tag::Sequence) {
                    Some(name) => Hash::of(&name.sequence("hash")?.next("hash")?.oid("hash")?)?,
                    None => Hash::Sha256,
                };
                hash.digest(certificate.whole)
            };
            if first.next("digest")?.octets("digest")? != digest {
                return Ok(false);
            }
            named = true;
        }
        if !named {
            return Err("the signed attributes do not name the signer's certificate".into());
        }
        if self.id.tag != Tag::Sequence {
            return Ok(true);
        }
        let mut id = self.id.sequence("signer")?;
        Ok(id.next("issuer")?.whole == certificate.issuer && id.next("serial number")?.value == certificate.serial)
    }
}

impl Token<'_> {
    /// Verifies signature, certificate and chain against the given roots (whole certificates in DER). Returns the names
    /// on the way from the signer to the root.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self, roots: &[Vec<u8>]) -> Result<Vec<String>, Doubt> {
        let broken = Doubt::Broken;
        self.content_is_signed().map_err(broken)?;
        let read = |bytes: &[&'_ [u8]]| -> Vec<Parsed<()>> {
            bytes.iter().map(|b| Certificate::read(b).map(|_| ())).collect()
        };
        let own = &self.certificates;
        if let Some(Err(why)) = read(own).into_iter().find(Result::is_err) {
            return Err(Doubt::Broken(format!("a certificate in the token cannot be read: {why}")));
        }
        let others: Vec<Certificate<'_>> = own.iter().filter_map(|bytes| Certificate::read(bytes).ok()).collect();
        let mut trusted = Vec::new();
        for root in roots {
            trusted.push(Certificate::read(root).map_err(|why| Doubt::Unanchored(format!("a given root: {why}")))?);
        }
        let signer = self.signer(others.iter().chain(&trusted))?;
        let hash = hash_of(&self.signer.hash).map_err(Doubt::Broken)?;
        let scheme = Scheme::read(&self.signer.algorithm, Some(hash)).map_err(Doubt::Unanchored)?;
        let key = signer.key().map_err(Doubt::Unanchored)?;
        // RFC 5652 5.4: what is signed is the set itself, not the tag it has in the message.
        let mut attributes = self.signer.attributes.whole.to_vec();
        if let Some(tag) = attributes.first_mut() {
            *tag = 0x31;
        }
        if !scheme.verify(&key, &attributes, self.signer.signature) {
            return Err(Doubt::Broken(format!("the signature is not that of {}", signer.called())));
        }
        signer.may_stamp().map_err(Doubt::Unanchored)?;
        if roots.is_empty() {
            return Err(Doubt::Unanchored("the case names no root to trust".into()));
        }
        chain(signer, &others, &trusted, self.stamp.at).map_err(Doubt::Unanchored)
    }

    fn content_is_signed(&self) -> Parsed<()> {
        let kind = self.signer.attribute(CONTENT_TYPE)?.ok_or("the signed attributes name no content type")?;
        if kind.oid("content type")? != TST_INFO {
            return Err("the signature is over something else than a time stamp".into());
        }
        let digest = self.signer.attribute(MESSAGE_DIGEST)?.ok_or("the signed attributes hold no digest")?;
        if digest.octets("digest")? != hash_of(&self.signer.hash)?.digest(self.content) {
            return Err("what is signed is another time stamp than the one in the token".into());
        }
        Ok(())
    }

    fn signer<'s, 'c: 's>(
        &self,
        candidates: impl Iterator<Item = &'s Certificate<'c>>,
    ) -> Result<&'s Certificate<'c>, Doubt> {
        for candidate in candidates {
            if self.signer.is(candidate).map_err(Doubt::Broken)? {
                return Ok(candidate);
            }
        }
        Err(Doubt::Unanchored(
            "the signer's certificate is neither in the token nor among the given roots; give it with them".into(),
        ))
    }
}

fn hash_of(algorithm: &Piece<'_>) -> Parsed<Hash> {
    Hash::of(&algorithm.sequence("hash function")?.next("hash function")?.oid("hash function")?)
}
