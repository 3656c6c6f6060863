//! DSSE: the envelope around a statement (<https://github.com/secure-systems-lab/dsse>, version 1.0).

use serde::{Deserialize, Serialize};

use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

use super::keys::{Public, Signer};
use super::text::{base64, strict, unbase64};

/// The type of every payload here.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// An envelope of more bytes is refused.
pub const LONGEST: u64 = 64 << 20;

/// Signatures of one envelope, at most.
const MOST: usize = 64;

/// A payload and who signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    kind: String,
    signatures: Vec<Signature>,
}

/// One signature of an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// What the signer calls its key; a hint, never trusted.
    #[serde(default)]
    pub keyid: String,
    sig: String,
}

/// What is signed: the pre-authentication encoding, `DSSEv1 LEN TYPE LEN PAYLOAD`.
#[must_use]
pub fn encoding(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

impl Envelope {
    /// An envelope that nobody signed yet.
    #[must_use]
    pub fn around(payload: &[u8]) -> Self {
        Self { payload: base64(payload), kind: IN_TOTO.into(), signatures: Vec::new() }
    }

    /// Reads an envelope. What is unknown in it is refused.
    ///
    /// # Errors
    /// If it is none, its payload is of another type, or it has no signature.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        // Twice: names that stand twice are refused, then every name is a known one.
        Self::from_value(strict(bytes)?)
    }

    /// The same, of JSON that was read.
    ///
    /// # Errors
    /// As [`Envelope::read`].
    pub fn from_value(value: serde_json::Value) -> Result<Self> {
        let envelope: Self = serde_json::from_value(value).map_err(|cause| Error::input(cause.to_string()))?;
        if envelope.kind != IN_TOTO {
            return Err(Error::input(text!(
                "error-attest/dsse/payload-type-not",
                kind = envelope.kind.escape_debug().to_string(),
                in_toto = IN_TOTO
            )));
        }
        if envelope.signatures.is_empty() {
            return Err(Error::input(text!("error-attest/dsse/envelope-no-signature")));
        }
        if envelope.signatures.len() > MOST {
            return Err(Error::input(text!("error-attest/dsse/envelope-more-signatures", most = MOST)));
        }
        envelope.payload()?;
        Ok(envelope)
    }

    /// The bytes that are signed.
    ///
    /// # Errors
    /// If they are no base64.
    pub fn payload(&self) -> Result<Vec<u8>> {
        unbase64(&self.payload).ok_or_else(|| Error::input(text!("error-attest/dsse/payload-no-base64")))
    }

    /// The signatures.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds a signature; one of the same key is replaced.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn sign(&mut self, signer: &Signer, named: bool) -> Result<()> {
        let signature = signer.sign(&encoding(&self.kind, &self.payload()?))?;
        let keyid = if named { signer.public().id().to_owned() } else { String::new() };
        self.signatures.retain(|own| own.keyid != keyid);
        self.signatures.push(Signature { keyid, sig: base64(&signature) });
        Ok(())
    }

    /// Whether one of the signatures, by its place, is by this key.
    #[must_use]
    pub fn is_by(&self, at: usize, key: &Public) -> bool {
        self.holds(at, |message, signature| key.verifies(message, signature))
    }

    /// The same with any way to verify.
    pub(super) fn holds(&self, at: usize, verify: impl Fn(&[u8], &[u8]) -> bool) -> bool {
        self.signed(&self.message(), at, verify)
    }

    /// What every signature is over.
    pub(super) fn message(&self) -> Vec<u8> {
        self.payload().map_or_else(|_| Vec::new(), |payload| encoding(&self.kind, &payload))
    }

    /// As [`Envelope::holds`], with the message at hand: of many signatures it is made once.
    pub(super) fn signed(&self, message: &[u8], at: usize, verify: impl Fn(&[u8], &[u8]) -> bool) -> bool {
        let signature = self.signatures.get(at).and_then(|own| unbase64(&own.sig));
        signature.is_some_and(|signature| verify(message, &signature))
    }

    /// As a file: one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::tests::signer;

    #[test]
    fn the_encoding_is_the_specifications_own_example() {
        // https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
        let encoded = encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn signatures_are_by_who_made_them_and_over_what_they_are_over() {
        let (one, two) = (signer(1), signer(2));
        let mut envelope = Envelope::around(b"{}");
        envelope.sign(&one, true).unwrap();
        envelope.sign(&two, true).unwrap();
        envelope.sign(&one, true).unwrap();
        assert_eq!(envelope.signatures().len(), 2, "one of each key");
        let envelope = Envelope::read(envelope.to_json().as_bytes()).unwrap();
        let at = |key: &Signer| envelope.signatures().iter().position(|own| own.keyid == key.public().id()).unwrap();
        assert!(envelope.is_by(at(&one), one.public()) && envelope.is_by(at(&two), two.public()));
        assert!(!envelope.is_by(at(&one), two.public()) && !envelope.is_by(2, one.public()));
        // The same signatures over something else, and under another type.
        for other in
            [Envelope { payload: base64(b"[]"), ..envelope.clone() }, Envelope { kind: "x".into(), ..envelope.clone() }]
        {
            assert!((0..2).all(|at| !other.is_by(at, one.public()) && !other.is_by(at, two.public())));
        }
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let good = r#"{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"keyid":"a","sig":"AA=="}]}"#;
        assert!(Envelope::read(good.as_bytes()).is_ok());
        for (from, to) in [
            ("vnd.in-toto+json", "json"),
            (r#"[{"keyid":"a","sig":"AA=="}]"#, "[]"),
            (r#""sig":"AA==""#, r#""sig":"AA==","cert":"x""#),
            (r#"{"payload""#, r#"{"more":1,"payload""#),
            (r#"{"payload""#, r#"{"payload":"e30=","payload""#),
            ("e30=", "e3*="),
        ] {
            assert!(Envelope::read(good.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
        }
    }
}
