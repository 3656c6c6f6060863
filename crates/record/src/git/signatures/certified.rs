//! SSH signatures whose key is vouched for by a certificate (PROTOCOL.certkeys of OpenSSH).

use base64ct::{Base64, Encoding as _};
use ed25519_dalek::Verifier as _;
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, PublicKey, Signature, SshSig};

use super::Validity;
use super::allowed::{NAMESPACE, Signer, matches};

/// Signatures of more bytes are not read.
const LARGEST: usize = 1 << 16;

/// What is read of a certificate. The crate's own reader takes none that is valid for ever.
struct Certificate<'a> {
    key: KeyData,
    user: bool,
    name: String,
    principals: Vec<String>,
    /// Seconds since 1970; the second is the first in which it is not valid.
    valid: (u64, u64),
    authority: KeyData,
    /// What the authority signed.
    signed: &'a [u8],
    signature: Signature,
}

impl<'a> Certificate<'a> {
    fn read(whole: &'a [u8]) -> Option<Self> {
        let mut rest = Fields(whole);
        let kind = std::str::from_utf8(rest.string()?).ok()?;
        let plain = kind.strip_suffix("-cert-v01@openssh.com")?;
        let hardware = plain.starts_with("sk-");
        // Of a security key the plain name has its own ending.
        let plain = if hardware { format!("{plain}@openssh.com") } else { plain.to_owned() };
        let _nonce = rest.string()?;
        let count = match plain.as_str() {
            "ssh-ed25519" => 1,
            "ssh-rsa"
            | "ecdsa-sha2-nistp256"
            | "ecdsa-sha2-nistp384"
            | "ecdsa-sha2-nistp521"
            | "sk-ssh-ed25519@openssh.com" => 2,
            "sk-ecdsa-sha2-nistp256@openssh.com" => 3,
            _ => return None,
        };
        // The key as it would stand without a certificate.
        let mut key = u32::try_from(plain.len()).ok()?.to_be_bytes().to_vec();
        key.extend_from_slice(plain.as_bytes());
        let before = rest.0;
        for _ in 0..count {
            rest.string()?;
        }
        key.extend_from_slice(before.get(..before.len() - rest.0.len())?);
        let _serial = rest.number()?;
        let user = rest.take(4)? == [0, 0, 0, 1];
        let name = shown(&String::from_utf8_lossy(rest.string()?));
        let mut list = Fields(rest.string()?);
        let mut principals = Vec::new();
        while !list.0.is_empty() {
            principals.push(String::from_utf8(list.string()?.to_vec()).ok()?);
        }
        let valid = (rest.number()?, rest.number()?);
        let (_options, _extensions, _reserved) = (rest.string()?, rest.string()?, rest.string()?);
        let authority = rest.string()?;
        let signed = whole.get(..whole.len() - rest.0.len())?;
        let signature = Signature::try_from(rest.string()?).ok()?;
        let read = |bytes: &[u8]| PublicKey::from_bytes(bytes).ok().map(|key| key.key_data().clone());
        let (key, authority) = (read(&key)?, read(authority)?);
        rest.0.is_empty().then_some(Self { key, user, name, principals, valid, authority, signed, signature })
    }

    /// Whether the authority that it names signed it.
    fn holds(&self) -> bool {
        self.authority.verify(self.signed, &self.signature).is_ok()
    }
}

/// Values as SSH writes them (RFC 4251).
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        self.take(usize::try_from(length).ok()?)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }
}

/// The bytes of a signature file.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let body: String = text.trim().lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    (body.len() <= LARGEST).then(|| Base64::decode_vec(&body).ok()).flatten()
}

/// Checks a signature of a certificate at a time in seconds since 1970, as `ssh-keygen -Y find-principals` and `-Y verify`
/// do. `None` if it is none.
pub fn check(signers: &[Signer], text: &str, signed: &[u8], at: i64) -> Option<Validity> {
    let bytes = bytes(text)?;
    let mut rest = Fields(bytes.strip_prefix(b"SSHSIG")?.strip_prefix(&[0, 0, 0, 1])?);
    let certificate = Certificate::read(rest.string()?)?;
    let (namespace, _reserved) = (rest.string()?, rest.string()?);
    let hash = std::str::from_utf8(rest.string()?).ok()?.parse().ok()?;
    let signature = Signature::try_from(rest.string()?).ok()?;
    let key = &certificate.key;
    let print = key.fingerprint(HashAlg::Sha256).to_string();
    let ours = |signer: &&Signer| signer.authority && signer.key == certificate.authority;
    let known: Vec<&Signer> = signers.iter().filter(ours).collect();
    if known.is_empty() {
        return Some(Validity::UnknownKey(print));
    }
    if namespace != NAMESPACE.as_bytes() {
        return Some(Validity::Refused("it was made for another purpose than git".into()));
    }
    let plain = SshSig::new(key.clone(), NAMESPACE, hash, signature).ok()?;
    if PublicKey::from(key.clone()).verify(NAMESPACE, signed, &plain).is_err() {
        return Some(Validity::Bad);
    }
    let refused = |why: &str| Some(Validity::Refused(format!("{why} ({})", certificate.name)));
    if !certificate.holds() {
        return refused("the authority did not sign its certificate");
    }
    if !certificate.user {
        return refused("its certificate is that of a host");
    }
    let now = u64::try_from(at).unwrap_or(0);
    if now < certificate.valid.0 {
        return refused("its certificate was not valid yet at the time of the commit");
    }
    if now >= certificate.valid.1 {
        return refused("its certificate was no longer valid at the time of the commit");
    }
    let mut why = "the allowed signers accept none of the names in its certificate".to_owned();
    for signer in known {
        let mut names = certificate.principals.iter();
        let Some(name) = names.find(|name| matches(&signer.patterns, name)) else { continue };
        match signer.refuses(at) {
            None => return Some(Validity::Good(shown(name))),
            Some(word) => word.clone_into(&mut why),
        }
    }
    refused(&why)
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
