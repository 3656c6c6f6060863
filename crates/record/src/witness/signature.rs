//! Public keys and signatures of certificates and time-stamp tokens.

#![allow(clippy::missing_errors_doc, reason = "every error is a sentence that says what is wrong")]

use ed25519_dalek::Verifier as _;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, Pkcs1v15Sign, Pss, RsaPublicKey};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::asn1::{Parsed, Piece, only};

/// RSA keys of more bits are not computed with: the work grows with the cube.
const LARGEST_RSA: usize = 8192;
/// RSA keys of fewer bits can be broken.
const SMALLEST_RSA: usize = 2048;

/// Bytes of a number of the field of P-521.
const P521: usize = 66;

/// Hash functions that a proof may rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// The function of an identifier; what is broken or unknown is refused by name.
    pub fn of(oid: &str) -> Parsed<Self> {
        match oid {
            "2.16.840.1.101.3.4.2.1" => Ok(Self::Sha256),
            "2.16.840.1.101.3.4.2.2" => Ok(Self::Sha384),
            "2.16.840.1.101.3.4.2.3" => Ok(Self::Sha512),
            "1.3.14.3.2.26" => Err("it rests on SHA-1, of which collisions are known".into()),
            "1.2.840.113549.2.5" => Err("it rests on MD5, of which collisions are known".into()),
            other => Err(format!("the hash function {other} is not known here")),
        }
    }

    /// As the field writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }

    /// Bytes of a digest.
    pub fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of some bytes.
    pub fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// A public key.
#[allow(missing_docs)]
pub enum Key {
    Rsa(RsaPublicKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

impl Key {
    /// Reads a `SubjectPublicKeyInfo`.
    pub fn read(info: &Piece<'_>) -> Parsed<Self> {
        let mut fields = info.sequence("public key")?;
        let mut algorithm = fields.next("kind of key")?.sequence("kind of key")?;
        let kind = algorithm.next("kind of key")?.oid("kind of key")?;
        let bytes = fields.next("key")?.bits("key")?;
        match kind.as_str() {
            "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => {
                let mut numbers = only(bytes, "RSA key")?.sequence("RSA key")?;
                let modulus = BigUint::from_bytes_be(numbers.next("modulus")?.magnitude("modulus")?);
                let exponent = BigUint::from_bytes_be(numbers.next("exponent")?.magnitude("exponent")?);
                let key = RsaPublicKey::new_with_max_size(modulus, exponent, LARGEST_RSA)
                    .map_err(|_| format!("an RSA key of more than {LARGEST_RSA} bits, or none"))?;
                let bits = key.n().bits();
                if bits < SMALLEST_RSA {
                    return Err(format!("an RSA key of {bits} bits can be broken"));
                }
                Ok(Self::Rsa(key))
            }
            "1.2.840.10045.2.1" => {
                let curve = algorithm.next("curve")?.oid("curve")?;
                match curve.as_str() {
                    "1.2.840.10045.3.1.7" => p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes).map(Self::P256).ok(),
                    "1.3.132.0.34" => p384::ecdsa::VerifyingKey::from_sec1_bytes(bytes).map(Self::P384).ok(),
                    "1.3.132.0.35" => p521::ecdsa::VerifyingKey::from_sec1_bytes(bytes).map(Self::P521).ok(),
                    _ => {
                        return Err(format!(
                            "keys on the curve {curve} are not read here (P-256, P-384 and P-521 are)"
                        ));
                    }
                }
                .ok_or_else(|| "no point of its curve".to_owned())
            }
            "1.3.101.112" => <&[u8; 32]>::try_from(bytes)
                .ok()
                .and_then(|bytes| ed25519_dalek::VerifyingKey::from_bytes(bytes).ok())
                .map(Self::Ed25519)
                .ok_or_else(|| "no Ed25519 key".to_owned()),
            other => Err(format!("keys of the kind {other} are not read here")),
        }
    }
}

/// How something is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Scheme {
    Rsa(Hash),
    /// With the length of the salt.
    Pss(Hash, usize),
    Ecdsa(Hash),
    Ed25519,
}

impl Scheme {
    /// Reads an `AlgorithmIdentifier`. `hash` is what the message is hashed with where the identifier does not say so, as
    /// in signed messages it need not.
    pub fn read(algorithm: &Piece<'_>, hash: Option<Hash>) -> Parsed<Self> {
        let mut fields = algorithm.sequence("signature algorithm")?;
        let name = fields.next("signature algorithm")?.oid("signature algorithm")?;
        let given = || hash.ok_or_else(|| "the signature names no hash function".to_owned());
        match name.as_str() {
            "1.2.840.113549.1.1.1" => Ok(Self::Rsa(given()?)),
            "1.2.840.113549.1.1.11" => Ok(Self::Rsa(Hash::Sha256)),
            "1.2.840.113549.1.1.12" => Ok(Self::Rsa(Hash::Sha384)),
            "1.2.840.113549.1.1.13" => Ok(Self::Rsa(Hash::Sha512)),
            "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" => {
                Err("it is signed over a SHA-1 digest, of which collisions are known".into())
            }
            "1.2.840.113549.1.1.4" => Err("it is signed over an MD5 digest, of which collisions are known".into()),
            "1.2.840.113549.1.1.10" => pss(&fields.next("RSASSA-PSS parameters")?),
            "1.2.840.10045.2.1" => Ok(Self::Ecdsa(given()?)),
            "1.2.840.10045.4.3.2" => Ok(Self::Ecdsa(Hash::Sha256)),
            "1.2.840.10045.4.3.3" => Ok(Self::Ecdsa(Hash::Sha384)),
            "1.2.840.10045.4.3.4" => Ok(Self::Ecdsa(Hash::Sha512)),
            "1.3.101.112" => Ok(Self::Ed25519),
            other => Err(format!("signatures of the kind {other} are not read here")),
        }
    }

    /// Whether `signature` over `message` is by `key`.
    pub fn verify(self, key: &Key, message: &[u8], signature: &[u8]) -> bool {
        match (self, key) {
            (Self::Rsa(hash), Key::Rsa(key)) => {
                let scheme = match hash {
                    Hash::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
                    Hash::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
                    Hash::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
                };
                key.verify(scheme, &hash.digest(message), signature).is_ok()
            }
            (Self::Pss(hash, salt), Key::Rsa(key)) => {
                let scheme = match hash {
                    Hash::Sha256 => Pss::new_with_salt::<Sha256>(salt),
                    Hash::Sha384 => Pss::new_with_salt::<Sha384>(salt),
                    Hash::Sha512 => Pss::new_with_salt::<Sha512>(salt),
                };
                key.verify(scheme, &hash.digest(message), signature).is_ok()
            }
            (Self::Ecdsa(hash), Key::P256(key)) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&hash.digest(message), &signature).is_ok()),
            (Self::Ecdsa(hash), Key::P384(key)) => p384::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&hash.digest(message), &signature).is_ok()),
            (Self::Ecdsa(hash), Key::P521(key)) => {
                // The digest as a number (FIPS 186-5 6.4.2); the crate takes no digest of less than half of the field.
                let mut number = vec![0; P521.saturating_sub(hash.length())];
                number.append(&mut hash.digest(message));
                p521::ecdsa::Signature::from_der(signature)
                    .is_ok_and(|signature| key.verify_prehash(&number, &signature).is_ok())
            }
            (Self::Ed25519, Key::Ed25519(key)) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            _ => false,
        }
    }
}

/// RFC 4055: the defaults are SHA-1 and 20 bytes of salt.
fn pss(parameters: &Piece<'_>) -> Parsed<Scheme> {
    let mut fields = parameters.sequence("RSASSA-PSS parameters")?;
    let hash = |piece: Piece<'_>| -> Parsed<Hash> {
        Hash::of(&piece.sequence("hash function")?.next("hash function")?.oid("hash function")?)
    };
    let sha1 = || "it is signed over a SHA-1 digest, of which collisions are known".to_owned();
    let own = hash(only(fields.numbered(0).ok_or_else(sha1)?.value, "hash function")?)?;
    let mut mask = only(fields.numbered(1).ok_or_else(sha1)?.value, "mask")?.sequence("mask")?;
    let name = mask.next("mask")?.oid("mask")?;
    if name != "1.2.840.113549.1.1.8" || hash(mask.next("mask")?)? != own {
        return Err("its mask is not of the same hash function".into());
    }
    let salt = match fields.numbered(2) {
        Some(salt) => only(salt.value, "salt")?.number("salt")?,
        None => 20,
    };
    let salt = usize::try_from(salt).ok().filter(|salt| *salt <= 512).ok_or("a salt of more than 512 bytes")?;
    Ok(Scheme::Pss(own, salt))
}
