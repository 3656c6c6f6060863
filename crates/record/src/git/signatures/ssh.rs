//! SSH signatures, held against the allowed signers.

use ssh_key::{HashAlg, PublicKey, SshSig};

use super::allowed::{NAMESPACE, Signer};
use super::{Validity, certified};

/// A signature with its lines as the reader wants them, 70 letters each. OpenSSH itself, which git asks, takes lines of any
/// length and space between them (`sshsig_dearmor` in `sshsig.c`), and other programs wrap at 64 or 76, or not at all.
fn rewrapped(text: &str) -> String {
    const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
    const END: &str = "-----END SSH SIGNATURE-----";
    let body = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.split_once(END));
    let Some((body, _)) = body.filter(|(_, after)| after.trim().is_empty()) else { return text.to_owned() };
    let letters: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let lines: Vec<String> = letters.chunks(70).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))
}

/// Checks one signature at a time in seconds since 1970.
pub fn check(signers: &[Signer], signature: &[u8], signed: &[u8], at: i64) -> Validity {
    let unverified = |why: String| Validity::Unverified(why);
    let Ok(text) = std::str::from_utf8(signature) else { return unverified("it is not text".into()) };
    let text = rewrapped(text);
    let parsed = match SshSig::from_pem(text.trim_end()) {
        Ok(parsed) => parsed,
        Err(error) => {
            let certified = certified::check(signers, &text, signed, at);
            return certified.unwrap_or_else(|| unverified(format!("it cannot be read ({error})")));
        }
    };
    let key = parsed.public_key();
    let print = key.fingerprint(HashAlg::Sha256).to_string();
    let known: Vec<&Signer> = signers.iter().filter(|signer| !signer.authority && signer.key == *key).collect();
    let Some(first) = known.first().copied() else { return Validity::UnknownKey(print) };
    if parsed.namespace() != NAMESPACE {
        return Validity::Refused("it was made for another purpose than git".into());
    }
    // Keys whose arithmetic is not built in.
    let algorithm = parsed.algorithm();
    let supported = matches!(
        algorithm.as_str(),
        "ssh-ed25519"
            | "ecdsa-sha2-nistp256"
            | "ecdsa-sha2-nistp384"
            | "ecdsa-sha2-nistp521"
            | "rsa-sha2-256"
            | "rsa-sha2-512"
            | "sk-ssh-ed25519@openssh.com"
            | "sk-ecdsa-sha2-nistp256@openssh.com"
    );
    if !supported {
        return unverified(format!("keys of the kind {} are not verified here", algorithm.as_str()));
    }
    if PublicKey::from(key.clone()).verify(NAMESPACE, signed, &parsed).is_err() {
        return Validity::Bad;
    }
    let mut why = "";
    for signer in known {
        match signer.refuses(at) {
            None => return Validity::Good(signer.principals.clone()),
            Some(word) => why = word,
        }
    }
    Validity::Refused(format!("{why} ({})", first.principals))
}
