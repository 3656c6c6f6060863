//! Keys as people keep them: PKCS#8 in PEM, encrypted too, and the public keys beside them.

use ed25519_dalek::Signer as _;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use scratchproof_error::hexadecimal::hex;
use scratchproof_error::{Error, Result};
use scratchproof_record::witness::asn1::{Parsed, Piece, only};
use scratchproof_record::witness::pem;
use scratchproof_record::witness::signature::{Hash, Key, Scheme};
use scratchproof_texts::text;
use sha2::{Digest as _, Sha256};

use super::pbes2;
use super::text::base64;

const ED25519: &str = "1.3.101.112";
const EC: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const P521: &str = "1.3.132.0.35";

/// What stands in a `SubjectPublicKeyInfo` (RFC 5480, RFC 8410) before the key's own bytes.
const INFO_ED25519: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const INFO_P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const INFO_P384: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
];
const INFO_P521: &[u8] = &[
    0x30, 0x81, 0x9b, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
    0x00, 0x23, 0x03, 0x81, 0x86, 0x00,
];

/// A private key.
pub struct Signer {
    kind: Kind,
    public: Public,
}

enum Kind {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
}

impl Signer {
    /// Reads a PEM file with a private key: PKCS#8, encrypted (PBES2 with PBKDF2 and AES-CBC) or not, or SEC 1.
    ///
    /// # Errors
    /// In one sentence, what is wrong with it; a key of another kind than Ed25519, P-256, P-384 and P-521 is refused.
    pub fn read(bytes: &[u8], password: Option<&[u8]>) -> Result<Self> {
        Self::parse(bytes, password).map_err(|why| Error::usage(text!("error-attest/keys/private-key", why)))
    }

    fn parse(bytes: &[u8], password: Option<&[u8]>) -> Parsed<Self> {
        let blocks = pem::decode(bytes).ok_or("it is no PEM file")??;
        let mut public = false;
        for (label, body) in blocks {
            match label.as_str() {
                "PRIVATE KEY" => return Self::pkcs8(&body),
                "ENCRYPTED PRIVATE KEY" => {
                    let password = password.ok_or("it is encrypted, and no password is given")?;
                    return Self::pkcs8(&pbes2::decrypt(&body, password)?);
                }
                "EC PRIVATE KEY" => return Self::sec1(&only(&body, "EC key")?, None),
                // Beside a key of SEC 1 stand the curve's parameters, and certificates may stand anywhere.
                "EC PARAMETERS" | "CERTIFICATE" => {}
                "PUBLIC KEY" => public = true,
                other => return Err(format!("a block of the kind {other} is not read here")),
            }
        }
        Err(if public {
            "it holds a public key, which cannot sign: give the private one of the pair".into()
        } else {
            "there is no private key in it".into()
        })
    }

    fn pkcs8(body: &[u8]) -> Parsed<Self> {
        let mut fields = only(body, "private key")?.sequence("private key")?;
        let _version = fields.next("version")?.number("version")?;
        let mut algorithm = fields.next("kind of key")?.sequence("kind of key")?;
        let kind = algorithm.next("kind of key")?.oid("kind of key")?;
        let key = fields.next("key")?.octets("key")?;
        match kind.as_str() {
            ED25519 => {
                let seed: &[u8; 32] =
                    only(key, "key")?.octets("key")?.try_into().map_err(|_| "no Ed25519 key".to_owned())?;
                Self::new(Kind::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(seed))))
            }
            EC => {
                let curve = algorithm.next("curve")?.oid("curve")?;
                Self::sec1(&only(key, "EC key")?, Some(curve))
            }
            "1.2.840.113549.1.1.1" => {
                Err("RSA keys are not used for attestations: make an Ed25519 or a P-256 key".into())
            }
            other => Err(format!("keys of the kind {other} are not read here (Ed25519, P-256, P-384 and P-521 are)")),
        }
    }

    /// RFC 5915.
    fn sec1(piece: &Piece<'_>, curve: Option<String>) -> Parsed<Self> {
        let mut fields = piece.sequence("EC key")?;
        let _version = fields.next("version")?.number("version")?;
        let bytes = fields.next("key")?.octets("key")?;
        let curve = match (curve, fields.numbered(0)) {
            (Some(curve), _) => curve,
            (None, Some(named)) => only(named.value, "curve")?.oid("curve")?,
            (None, None) => return Err("the curve is not named".into()),
        };
        // Leading zeros may have been left out, or added.
        let number = |length: usize| -> Parsed<Vec<u8>> {
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let short = &bytes[zeros..];
            let lacking = length.checked_sub(short.len()).ok_or("the key is longer than its curve's")?;
            Ok([vec![0; lacking], short.to_vec()].concat())
        };
        let wrong = |_| "the key is no number of its curve".to_owned();
        Self::new(match curve.as_str() {
            P256 => Kind::P256(p256::ecdsa::SigningKey::from_slice(&number(32)?).map_err(wrong)?),
            P384 => Kind::P384(p384::ecdsa::SigningKey::from_slice(&number(48)?).map_err(wrong)?),
            P521 => Kind::P521(p521::ecdsa::SigningKey::from_slice(&number(66)?).map_err(wrong)?),
            other => return Err(format!("keys on the curve {other} are not read here (P-256, P-384 and P-521 are)")),
        })
    }

    fn new(kind: Kind) -> Parsed<Self> {
        let info = match &kind {
            Kind::Ed25519(key) => [INFO_ED25519, key.verifying_key().as_bytes()].concat(),
            Kind::P256(key) => [INFO_P256, key.verifying_key().to_encoded_point(false).as_bytes()].concat(),
            Kind::P384(key) => [INFO_P384, key.verifying_key().to_encoded_point(false).as_bytes()].concat(),
            Kind::P521(key) => {
                let public = p521::ecdsa::VerifyingKey::from(key);
                [INFO_P521, public.to_encoded_point(false).as_bytes()].concat()
            }
        };
        Ok(Self { public: Public::new(&info)?, kind })
    }

    /// The key that verifies.
    #[must_use]
    pub fn public(&self) -> &Public {
        &self.public
    }

    /// Whether it is on a curve that `OpenSSF` Model Signing takes (Ed25519 is not).
    #[must_use]
    pub fn is_elliptic(&self) -> bool {
        !matches!(self.kind, Kind::Ed25519(_))
    }

    /// The signature over a message: 64 bytes (RFC 8032) of an Ed25519 key, otherwise ECDSA in DER with the hash function
    /// of the curve's strength (SHA-256, SHA-384, SHA-512), deterministic (RFC 6979).
    ///
    /// # Errors
    /// If the key cannot sign, which does not happen with a key that was read.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let failed = |_| Error::usage(text!("error-attest/keys/private-key-cannot-sign"));
        Ok(match &self.kind {
            Kind::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Kind::P256(key) => {
                let signature: p256::ecdsa::Signature =
                    key.sign_prehash(&Hash::Sha256.digest(message)).map_err(failed)?;
                signature.to_der().as_bytes().to_vec()
            }
            Kind::P384(key) => {
                let signature: p384::ecdsa::Signature =
                    key.sign_prehash(&Hash::Sha384.digest(message)).map_err(failed)?;
                signature.to_der().as_bytes().to_vec()
            }
            Kind::P521(key) => {
                let signature: p521::ecdsa::Signature =
                    key.sign_prehash(&Hash::Sha512.digest(message)).map_err(failed)?;
                signature.to_der().as_bytes().to_vec()
            }
        })
    }
}

/// A public key.
pub struct Public {
    key: Key,
    id: String,
    pem: String,
}

impl Public {
    /// Reads a PEM file with a public key (`SubjectPublicKeyInfo`).
    ///
    /// # Errors
    /// In one sentence, what is wrong with it. RSA keys and points of small order are refused.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let parse = || -> Parsed<Self> {
            let blocks = pem::decode(bytes).ok_or("it is no PEM file")??;
            let private = blocks.iter().any(|(label, _)| label.ends_with("PRIVATE KEY"));
            let block = blocks.into_iter().find(|(label, _)| label == "PUBLIC KEY");
            let block = block.ok_or(if private {
                "it holds a private key: `openssl pkey -in KEY -pubout` writes the public one"
            } else {
                "there is no public key in it"
            })?;
            Self::new(&block.1)
        };
        parse().map_err(|why| Error::usage(text!("error-attest/keys/public-key", why)))
    }

    /// From the DER of a `SubjectPublicKeyInfo`.
    pub(super) fn new(info: &[u8]) -> Parsed<Self> {
        let key = Key::read(&only(info, "public key")?)?;
        match &key {
            Key::Rsa(_) => return Err("RSA keys are not used for attestations".into()),
            Key::Ed25519(key) if key.is_weak() => {
                return Err("a weak key: its point is of small order, and signatures by it prove nothing".into());
            }
            _ => {}
        }
        let body = base64(info);
        let lines: Vec<&str> =
            body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
        Ok(Self { key, id: hex(&Sha256::digest(pem.as_bytes())), pem })
    }

    /// What it is called in signatures: the SHA-256 of its PEM, as `OpenSSF` Model Signing has it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// As `openssl pkey -pubout` writes it.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Whether a signature over a message is by the private key to this.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        verifies(&self.key, message, signature)
    }
}

/// As [`Public::verifies`].
pub(super) fn verifies(key: &Key, message: &[u8], signature: &[u8]) -> bool {
    let scheme = match key {
        Key::Ed25519(key) => {
            return ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok());
        }
        Key::P256(_) => Scheme::Ecdsa(Hash::Sha256),
        Key::P384(_) => Scheme::Ecdsa(Hash::Sha384),
        Key::P521(_) => Scheme::Ecdsa(Hash::Sha512),
        Key::Rsa(_) => return false,
    };
    scheme.verify(key, message, signature)
}

#[cfg(test)]
pub(super) mod tests {
    use super::{INFO_ED25519, Public, Signer};
    use scratchproof_record::witness::pem;

    // Made with openssl of the seed 1, 2, ... 32; the last two of chance. They are used for nothing else.
    const PLAIN: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAebVWLo/mVPlAeLES6KmLp5AfhTrmlb7X4OORC60ElmQ=\n-----END PUBLIC KEY-----\n";
    const AES_256: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgc7YQtb9/ZVgICCAAw\nDAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEFZtFmXwTbgyYlRCUZuRDAAEQIlO\nnhEjidDhuQuUOXZ5Lb8DRLIUClVjMv13170QPU/+s1scyZtSa/oxQ3ysArl9DFF8\nTcUBmW1EX+qEQWx/6Gs=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    const AES_128_SHA_512: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAheBuhp33Zb+wICCAAw\nDAYIKoZIhvcNAgsFADAdBglghkgBZQMEAQIEEFryQwTvmDBxuFILpO/CZCUEQEWf\nlaNLIHdKqTIncyzXe7ogR2tnA2PyZ/5DB3d8hOGIRYjywAfZaiLO8s5Yx3XFZUsn\n4JwpWdewzhtPsZH4BZk=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    const AES_192: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgODrXKAFBWcAICCAAw\nDAYIKoZIhvcNAgkFADAdBglghkgBZQMEARYEEL5r10vyTbyn/wiFoPk5vEEEQLHw\n9uVD2g1e3vfsO4FLa+9EozFgORc3ad8ko10HjEs/cNcbBXFyEOXog3F+OheyHDN4\nN9Bt7zka2YEfSOoJ6DA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    const SHA_1: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGNMEkGCSqGSIb3DQEFDTA8MBsGCSqGSIb3DQEFDDAOBAgA+CyEiHfuIgICCAAw\nHQYJYIZIAWUDBAEqBBCbF7X+Nj+Rfayzpnq8kqyXBEAXhMPRJvEQ0jEypLlNFl2B\nAc50Cal62GhI2s9tH8AE8rkPnNqSavoCo9D58ZUwkmnZ+ewJ/Kx+hQ69k5c7nKhD\n-----END ENCRYPTED PRIVATE KEY-----\n";
    const SCRYPT: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGTME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAj4T/K5gjPlewICQAAC\nAQgCAQEwHQYJYIZIAWUDBAEqBBCE4Ia0yaNUVepHNPDfo4cjBECfzJ8zLNjXxfY3\nfwC7OkfDlPkL8C6c+/SvWvKycKokzDH+zPH3f9i9UNcHfdsX8zSog10vaRg85zcr\n2FktXQBQ\n-----END ENCRYPTED PRIVATE KEY-----\n";
    const X25519: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEINBWS+LiJ9a0ETI5qTRH8c1zILjwawbUsDK3YL+PsR5m\n-----END PRIVATE KEY-----\n";
    const SECP256K1: &str = "-----BEGIN EC PRIVATE KEY-----\nMHQCAQEEIDL5I1TGPWBwIdqESiQGLylEXMPPRRuWc/aHwJmLUAAgoAcGBSuBBAAK\noUQDQgAE4n0QI2/+NJ2+ZZ31T44WPkuLu2LHkVVR3aL2YrOfRgNV+C/voe7sYj78\nryLog83H6qjGqVvtDTxdMyvIumsGQw==\n-----END EC PRIVATE KEY-----\n";

    /// An Ed25519 key for tests.
    pub(crate) fn signer(seed: u8) -> Signer {
        let head =
            [&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20][..], &[seed; 32]].concat();
        let text = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", super::base64(&head));
        Signer::read(text.as_bytes(), None).unwrap()
    }

    #[test]
    fn a_key_is_the_same_however_it_is_kept() {
        let public = Public::read(PUBLIC.as_bytes()).unwrap();
        assert_eq!(public.pem(), PUBLIC);
        for (text, word) in
            [(PLAIN, None), (PLAIN, Some("any")), (AES_256, Some("word")), (AES_128_SHA_512, Some("word"))]
        {
            let own = Signer::read(text.as_bytes(), word.map(str::as_bytes)).unwrap();
            assert_eq!(own.public().id(), public.id());
            assert!(!own.is_elliptic());
            let signature = own.sign(b"message").unwrap();
            assert!(public.verifies(b"message", &signature));
            assert!(!public.verifies(b"Message", &signature) && !public.verifies(b"message", &signature[1..]));
        }
    }

    #[test]
    fn what_is_no_private_key_is_refused_in_a_sentence() {
        let cut = PLAIN.replace("BCIEIAEC", "BCIEHwEC");
        for (text, word, part) in [
            ("", None, "no PEM"),
            (PUBLIC, None, "give the private one"),
            (AES_256, None, "no password"),
            (AES_256, Some("Word"), "password is wrong"),
            (AES_256, Some(""), "password is wrong"),
            (AES_192, Some("word"), "cipher 2.16.840.1.101.3.4.1.22"),
            (SHA_1, Some("word"), "SHA-1"),
            (SCRYPT, Some("word"), "1.3.6.1.4.1.11591.4.11"),
            (X25519, None, "1.3.101.110"),
            (SECP256K1, None, "1.3.132.0.10"),
            (&cut, None, "private key"),
        ] {
            let why = Signer::read(text.as_bytes(), word.map(str::as_bytes)).err().expect(part);
            assert!(why.is_usage() && why.to_string().contains(part), "{part}: {why}");
        }
        // Any bit of an encrypted key: refused, or the key that it was (a bit of base64 or of a name that says nothing).
        let mut bad = AES_256.as_bytes().to_vec();
        let at = bad.len() / 2;
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        assert!(Signer::read(&bad, Some(b"word")).is_err());
    }

    /// The other key of the pair is what people take for it.
    #[test]
    fn a_private_key_is_no_public_one_and_the_way_out_is_said() {
        for private in [PLAIN, AES_256] {
            let why = Public::read(private.as_bytes()).err().expect("an error");
            assert!(why.is_usage() && why.to_string().contains("openssl pkey -in KEY -pubout"), "{why}");
        }
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        // Points of small order: signatures by them hold over everything (RFC 8032, 5.1.7; libsodium's list).
        let one = [&[1_u8][..], &[0; 31]].concat();
        let minus = [&[0xec_u8][..], &[0xff; 30], &[0x7f]].concat();
        for point in [one, minus, vec![0; 32]] {
            let why = Public::new(&[INFO_ED25519, &point].concat()).err().expect("a weak key");
            assert!(why.contains("weak") || why.contains("Ed25519"), "{why}");
        }
        for text in ["", PLAIN, X25519, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert!(Public::read(text.as_bytes()).is_err(), "{text}");
        }
        let (_, info) = pem::decode(PUBLIC.as_bytes()).unwrap().unwrap().remove(0);
        assert!(Public::new(&info[..info.len() - 1]).is_err());
        assert!(Public::new(&[&info[..], &[0]].concat()).is_err(), "bytes behind it");
    }
}
