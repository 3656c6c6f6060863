//! `OpenPGP` signatures (RFC 9580) against given public keys.

use std::io::Cursor;

use pgp::composed::{Deserializable, DetachedSignature, SignedPublicKey};
use pgp::packet::{RevocationCode, Signature, SignatureType};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, Tag, VerifyingKey};

use super::Validity;

/// Keys in one file, and signatures in one object.
const KEYS: usize = 1000;
const SIGNATURES: usize = 8;
/// Self-signatures of one key that are looked at, the first ones.
const SELF: usize = 64;

/// A public key with all that its owner says of it.
#[derive(Debug)]
pub struct Certificate(SignedPublicKey);

/// The public keys of a file, armoured (also several blocks) or binary.
pub fn read(bytes: &[u8]) -> Vec<Certificate> {
    const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
    let mut keys = Vec::new();
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.contains(BEGIN));
    if let Some(text) = text {
        for (at, _) in text.match_indices(BEGIN).take(KEYS) {
            if let Ok((found, _)) = SignedPublicKey::from_armor_many(Cursor::new(&text.as_bytes()[at..])) {
                keys.extend(found.take(KEYS).filter_map(Result::ok).map(Certificate));
            }
        }
    } else if let Ok(found) = SignedPublicKey::from_bytes_many(Cursor::new(bytes)) {
        keys.extend(found.take(KEYS).filter_map(Result::ok).map(Certificate));
    }
    keys
}

/// Checks a detached signature.
pub fn check(keys: &[Certificate], signature: &[u8], signed: &[u8]) -> Validity {
    let parsed: Vec<DetachedSignature> = match DetachedSignature::from_armor_many(Cursor::new(signature)) {
        Ok((found, _)) => found.take(SIGNATURES).filter_map(Result::ok).collect(),
        Err(error) => return Validity::Unverified(format!("it cannot be read: {}", short(&error.to_string()))),
    };
    let Some(first) = parsed.first() else { return Validity::Unverified("it holds no signature".into()) };
    // Of several signatures the best one counts: git itself takes any.
    let mut results: Vec<Validity> = parsed.iter().map(|one| of_one(keys, &one.signature, signed)).collect();
    results.sort_by_key(|validity| match validity {
        Validity::Good(_) => 0,
        Validity::Refused(_) => 1,
        Validity::Bad => 2,
        Validity::UnknownKey(_) => 3,
        Validity::Unverified(_) => 4,
    });
    results.into_iter().next().unwrap_or_else(|| Validity::UnknownKey(issuer(&first.signature)))
}

fn of_one(keys: &[Certificate], signature: &Signature, signed: &[u8]) -> Validity {
    if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
        return Validity::Unverified("it is no signature over a text".into());
    }
    let Some(at) = signature.created().map(|at| i64::from(at.as_secs())) else {
        return Validity::Unverified("it does not say when it was made".into());
    };
    let mut known = false;
    for Certificate(key) in keys {
        let primary = &key.primary_key;
        let subkeys = || key.public_subkeys.iter().filter(|subkey| made_by(signature, &subkey.key));
        if made_by(signature, primary) {
            known = true;
            if signature.verify(primary, signed).is_ok() {
                return standing(key, at)
                    .and_then(|name| signs(key, at).map(|()| name))
                    .map_or_else(Validity::Refused, Validity::Good);
            }
        }
        for subkey in subkeys() {
            known = true;
            if signature.verify(&subkey.key, signed).is_ok() {
                let standing = standing(key, at).and_then(|name| bound(key, subkey, at).map(|()| name));
                return standing.map_or_else(Validity::Refused, Validity::Good);
            }
        }
    }
    if known { Validity::Bad } else { Validity::UnknownKey(issuer(signature)) }
}

fn made_by(signature: &Signature, key: &impl KeyDetails) -> bool {
    let (print, id) = (key.fingerprint(), key.legacy_key_id());
    let prints = signature.issuer_fingerprint();
    if prints.is_empty() { signature.issuer_key_id().contains(&&id) } else { prints.contains(&&print) }
}

fn issuer(signature: &Signature) -> String {
    let print = signature.issuer_fingerprint().first().map(|print| format!("{print:x}"));
    print.or(signature.issuer_key_id().first().map(ToString::to_string)).unwrap_or_else(|| "no key is named".into())
}

fn short(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(120).collect()
}

fn seconds(signature: &Signature) -> i64 {
    signature.created().map_or(0, |at| i64::from(at.as_secs()))
}

/// Whether a revocation takes away what was signed at a time: a lost key can have signed anything with any date.
fn takes_away(revocation: &Signature, at: i64) -> bool {
    let mild = matches!(
        revocation.revocation_reason_code(),
        Some(RevocationCode::KeySuperseded | RevocationCode::KeyRetired | RevocationCode::CertUserIdInvalid)
    );
    !mild || at >= seconds(revocation)
}

/// The name of a key's owner, if the key itself was valid at a time; otherwise why it was not, in words.
fn standing(key: &SignedPublicKey, at: i64) -> Result<String, String> {
    let primary = &key.primary_key;
    let name = owner(key);
    let born = i64::from(primary.created_at().as_secs());
    if at < born {
        return Err(format!("the signature is older than the key of {name}"));
    }
    let revoked = key.details.revocation_signatures.iter().take(SELF).filter(|one| one.verify_key(primary).is_ok());
    if revoked.into_iter().any(|one| takes_away(one, at)) {
        return Err(format!("the key of {name} is revoked"));
    }
    match own_words(key).iter().max_by_key(|one| seconds(one)) {
        None => Err(format!("the key of {name} has no valid signature of its own")),
        Some(latest) => lives(born, latest, at).then(|| name.clone()).ok_or(format!("the key of {name} had expired")),
    }
}

/// What the key says of itself and can prove.
fn own_words(key: &SignedPublicKey) -> Vec<&Signature> {
    let primary = &key.primary_key;
    let direct = key.details.direct_signatures.iter().take(SELF).filter(|one| one.verify_key(primary).is_ok());
    let users = key.details.users.iter().take(SELF).flat_map(|user| {
        let own = user.signatures.iter().take(SELF).filter(|one| made_by(one, primary) && one.is_certification());
        own.filter(|one| one.typ() != Some(SignatureType::CertRevocation))
            .filter(|one| one.verify_certification(primary, Tag::UserId, &user.id).is_ok())
    });
    direct.chain(users).collect()
}

fn owner(key: &SignedPublicKey) -> String {
    let proven = key.details.users.iter().take(SELF).find(|user| {
        let mut own = user.signatures.iter().take(SELF).filter(|one| made_by(one, &key.primary_key));
        own.any(|one| one.verify_certification(&key.primary_key, Tag::UserId, &user.id).is_ok())
    });
    let name = proven.map(|user| short(&String::from_utf8_lossy(user.id.id())));
    name.unwrap_or_else(|| format!("{:x}", key.primary_key.fingerprint()))
}

fn lives(born: i64, words: &Signature, at: i64) -> bool {
    let span = words.key_expiration_time().map(|span| i64::from(span.as_secs())).filter(|span| *span > 0);
    span.is_none_or(|span| at < born.saturating_add(span))
}

/// Whether the primary key may sign texts: by its newest own words, where they say anything.
fn signs(key: &SignedPublicKey, _at: i64) -> Result<(), String> {
    let words = own_words(key);
    let latest = words.iter().max_by_key(|one| seconds(one));
    let flags = latest.map(|one| one.key_flags());
    // A key without any flags is an old one, which may do everything.
    let any = flags
        .as_ref()
        .is_none_or(|f| !(f.certify() || f.sign() || f.encrypt_comms() || f.encrypt_storage() || f.authentication()));
    if any || flags.is_some_and(|f| f.sign()) {
        Ok(())
    } else {
        Err(format!("the key of {} is not for signing", owner(key)))
    }
}

/// Whether a subkey belonged to its key and could sign at a time.
fn bound(key: &SignedPublicKey, subkey: &pgp::composed::SignedPublicSubKey, at: i64) -> Result<(), String> {
    let primary = &key.primary_key;
    let name = owner(key);
    let of = |typ: SignatureType| {
        let list = subkey.signatures.iter().take(SELF).filter(move |one| one.typ() == Some(typ));
        list.filter(|one| one.verify_subkey_binding(primary, &subkey.key).is_ok()).collect::<Vec<_>>()
    };
    if of(SignatureType::SubkeyRevocation).into_iter().any(|one| takes_away(one, at)) {
        return Err(format!("the signing subkey of {name} is revoked"));
    }
    let bindings = of(SignatureType::SubkeyBinding);
    let Some(latest) = bindings.iter().max_by_key(|one| seconds(one)) else {
        return Err(format!("the subkey does not belong to the key of {name}"));
    };
    let back = |one: &Signature| one.embedded_signature().is_some_and(|back| back_holds(back, &subkey.key, primary));
    if !latest.key_flags().sign() || !back(latest) {
        return Err(format!("the subkey of {name} is not for signing"));
    }
    if lives(i64::from(subkey.key.created_at().as_secs()), latest, at) {
        Ok(())
    } else {
        Err(format!("the signing subkey of {name} had expired"))
    }
}

fn back_holds<V: VerifyingKey + Serialize, K: KeyDetails + Serialize>(
    back: &Signature,
    subkey: &V,
    primary: &K,
) -> bool {
    back.verify_primary_key_binding(subkey, primary).is_ok()
}
