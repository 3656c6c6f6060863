//! A model's folder, signed and verified as `OpenSSF` Model Signing does: a Sigstore bundle around a DSSE envelope around
//! the manifest, by a key on an elliptic curve or by a certificate for one.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use scratchproof_error::{Context as _, Error, Result};
use scratchproof_record::witness::asn1::Parsed;
use scratchproof_record::witness::certificate::{Certificate, bundle, chain};
use scratchproof_source::now::now;
use scratchproof_texts::text;

use super::dsse::{Envelope, IN_TOTO};
use super::item::Items;
use super::keys::{self, Public, Signer};
use super::manifest::{GIT, Manifest, PREDICATE, Resource};
use super::text::{base64, strict, unbase64};

/// Media type of the file.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// What may stand at each place of a bundle (`sigstore_bundle.proto`).
const NAMES: [(&str, &[&str]); 5] = [
    ("", &["mediaType", "verificationMaterial", "dsseEnvelope"]),
    (
        "/verificationMaterial",
        &["publicKey", "x509CertificateChain", "certificate", "tlogEntries", "timestampVerificationData"],
    ),
    ("/verificationMaterial/publicKey", &["hint"]),
    ("/verificationMaterial/x509CertificateChain", &["certificates"]),
    ("/verificationMaterial/certificate", &["rawBytes"]),
];

/// What of it is not checked here.
const BESIDE: [&str; 2] = ["tlogEntries", "timestampVerificationData"];

/// Certificates of one bundle, at most.
const MOST: usize = 32;

/// Signs a model's folder or file. `file` is where the signature will be: in the folder it is no part of the model.
/// `certificates` are the signer's own and those above it, in PEM or DER; without any the key alone signs.
///
/// # Errors
/// If the key is not on an elliptic curve or not that of the certificate, or the folder cannot be read.
pub fn sign(model: &Path, file: &Path, signer: &Signer, certificates: &[Vec<u8>]) -> Result<String> {
    if !signer.is_elliptic() {
        return Err(Error::usage(text!("error-attest/model/openssf-model-signing-takes")));
    }
    let mut ignored: Vec<String> = GIT.iter().map(ToString::to_string).collect();
    ignored.extend(below(model, file));
    let manifest = Manifest::of(model, &ignored, None)?;
    let statement = serde_json::to_vec(&manifest.statement()).map_err(|cause| Error::input(cause.to_string()))?;
    let mut envelope = Envelope::around(&statement);
    envelope.sign(signer, false)?;
    let mut all = Vec::new();
    for certificate in certificates {
        all.extend(bundle(certificate).map_err(|why| Error::usage(text!("error-attest/model/certificate", why)))?);
    }
    let material = match all.first() {
        None => json!({ "publicKey": { "hint": signer.public().id() }, "tlogEntries": [] }),
        Some(own) => {
            let own =
                Certificate::read(own).map_err(|why| Error::usage(text!("error-attest/model/certificate", why)))?;
            let fits = own.key().is_ok_and(|key| envelope.holds(0, |m, s| keys::verifies(&key, m, s)));
            if !fits {
                return Err(Error::usage(text!("error-attest/model/first-certificate-not-private")));
            }
            own.may_sign().map_err(Error::usage)?;
            let raw = all.iter().map(|bytes| json!({ "rawBytes": base64(bytes) })).collect::<Vec<_>>();
            json!({ "x509CertificateChain": { "certificates": raw }, "tlogEntries": [] })
        }
    };
    let whole = json!({ "mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope });
    Ok(whole.to_string() + "\n")
}

/// What is not part of the model because it lies in its folder for another reason: the signature.
fn below(model: &Path, file: &Path) -> Option<String> {
    let folder =
        std::fs::canonicalize(file.parent().filter(|own| !own.as_os_str().is_empty()).unwrap_or(Path::new(".")))
            .ok()?;
    let inside = folder.strip_prefix(std::fs::canonicalize(model).ok()?).ok()?.join(file.file_name()?);
    inside.to_str().map(str::to_owned)
}

/// A signature that was read.
pub struct Signed {
    envelope: Envelope,
    manifest: Manifest,
    /// DER, the signer's first; none where a key signed.
    certificates: Vec<Vec<u8>>,
    hint: String,
    /// Other evidence of the time of signing, which is not read here.
    beside: Vec<&'static str>,
}

impl Signed {
    /// Whether JSON is such a bundle.
    #[must_use]
    pub fn is(value: &Value) -> bool {
        value.get("mediaType").is_some() && value.get("dsseEnvelope").is_some()
    }

    /// Reads a bundle.
    ///
    /// # Errors
    /// If it is none that is read here.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let value = strict(bytes)?;
        // What nobody signs and nobody reads may not stand there: a changed name would hide what it names.
        for (place, names) in NAMES {
            let mut own = value.pointer(place).and_then(Value::as_object).into_iter().flatten();
            if let Some((name, _)) = own.find(|(name, _)| !names.contains(&name.as_str())) {
                let name = name.escape_debug().to_string();
                let place = if place.is_empty() { "/" } else { place };
                return Err(Error::input(text!("error-attest/model/strange-name", name, place)));
            }
        }
        let refuse = |why: String| Err(Error::input(why));
        if value["mediaType"] != BUNDLE {
            return refuse(format!("the bundle is of the type {}, not {BUNDLE}", value["mediaType"]));
        }
        let envelope = Envelope::from_value(value["dsseEnvelope"].clone())?;
        if envelope.signatures().len() != 1 {
            return refuse("a bundle holds one signature".into());
        }
        let statement = strict(&envelope.payload()?).context(|| text!("error-attest/folder/what-signed-no-json"))?;
        if statement["_type"] != super::STATEMENT || statement["predicateType"] != PREDICATE {
            return refuse(format!(
                "what is signed has the type {} and the predicate {}; {} and {PREDICATE} are read ({IN_TOTO})",
                statement["_type"],
                statement["predicateType"],
                super::STATEMENT
            ));
        }
        let material = &value["verificationMaterial"];
        let list = material["x509CertificateChain"]["certificates"].as_array().map_or(&[][..], Vec::as_slice);
        if list.len() > MOST {
            return refuse(format!("the bundle has more than {MOST} certificates"));
        }
        let mut certificates = Vec::new();
        for entry in list {
            let Some(bytes) = entry["rawBytes"].as_str().and_then(unbase64) else {
                return refuse("a certificate of the bundle is no base64".into());
            };
            certificates.push(bytes);
        }
        if certificates.is_empty() && material["publicKey"].is_null() {
            return refuse("the bundle names neither a public key nor certificates; those of Sigstore's own authority are not verified here".into());
        }
        let hint = material["publicKey"]["hint"].as_str().unwrap_or_default().to_owned();
        let empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        let beside = BESIDE.into_iter().filter(|name| !empty(&material[*name])).collect();
        Ok(Self { envelope, manifest: Manifest::read(&statement)?, certificates, hint, beside })
    }

    /// The files that were signed.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Holds the signature against keys or roots that are trusted.
    pub fn signature(&self, keys: &[Public], roots: &[Vec<u8>], items: &mut Items) {
        for name in &self.beside {
            items.unchecked(text!("attest/signature/material", name = *name));
        }
        if !self.certificates.is_empty() {
            return self.by_certificate(roots, items);
        }
        if keys.is_empty() {
            items.unchecked(text!("attest/signature/no-key", id = &self.hint));
        } else if let Some(key) = keys.iter().find(|key| self.envelope.is_by(0, key)) {
            items.verified(text!("attest/signature/holds", id = key.id()));
            let named = self.envelope.signatures().first().map_or("", |own| own.keyid.as_str());
            for name in [self.hint.as_str(), named].into_iter().filter(|name| !name.is_empty() && *name != key.id()) {
                items.unchecked(text!("attest/signature/named", id = key.id(), name));
            }
        } else {
            items.contradicts(text!("attest/signature/fails", id = &self.hint));
        }
    }

    fn by_certificate<'a>(&'a self, roots: &'a [Vec<u8>], items: &mut Items) {
        let read = |list: &'a [Vec<u8>]| list.iter().map(|bytes| Certificate::read(bytes)).collect::<Parsed<Vec<_>>>();
        let (own, trusted) = match read(&self.certificates).and_then(|own| Ok((own, read(roots)?))) {
            Ok(both) => both,
            Err(why) => return items.contradicts(text!("attest/certificate/unreadable", why)),
        };
        let Some((signer, others)) = own.split_first() else { return };
        let whose = signer.called();
        let holds = signer.key().is_ok_and(|key| self.envelope.holds(0, |m, s| keys::verifies(&key, m, s)));
        if !holds {
            return items.contradicts(text!("attest/certificate/fails", whose));
        }
        if let Err(why) = signer.may_sign() {
            return items.contradicts(text!("attest/certificate/refused", why));
        }
        if roots.is_empty() {
            return items.unchecked(text!("attest/certificate/no-root", whose));
        }
        // As the specification has it, at the first instant at which the signer's certificate is valid.
        match chain(signer, others, &trusted, signer.valid.0) {
            Err(why) => items.contradicts(text!("attest/certificate/refused", why)),
            Ok(names) => {
                items.verified(text!("attest/certificate/holds", names));
                // One without which the way is the same has nothing that holds its bytes.
                for (at, other) in self.certificates.iter().enumerate().skip(1).filter(|own| !roots.contains(own.1)) {
                    let rest = self.certificates.iter().enumerate().skip(1).filter(|own| own.0 != at);
                    let rest: Parsed<Vec<_>> = rest.map(|own| Certificate::read(own.1)).collect();
                    if rest.is_ok_and(|rest| chain(signer, &rest, &trusted, signer.valid.0).is_ok()) {
                        let whose = Certificate::read(other).map_or_else(|_| String::new(), |own| own.called());
                        items.unchecked(text!("attest/certificate/beside", whose));
                    }
                }
                if now() > signer.valid.1 {
                    let until = signer.valid.1.format("%Y-%m-%d").to_string();
                    items.unchecked(text!("attest/certificate/expired", whose, until));
                }
            }
        }
    }

    /// Holds a folder against the manifest.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn files(&self, model: &Path, file: &Path, items: &mut Items) -> Result<()> {
        let mut ignored = self.manifest.ignored.clone();
        ignored.extend(GIT.iter().map(ToString::to_string));
        ignored.extend(below(model, file));
        let there = Manifest::of(model, &ignored, self.manifest.shard)?;
        differences(&self.manifest.resources, &there.resources, items);
        Ok(())
    }
}

/// What is not as it was signed, one item each; or one item for all.
fn differences(signed: &[Resource], there: &[Resource], items: &mut Items) {
    let by_name = |list: &[Resource]| -> BTreeMap<String, [u8; 32]> {
        list.iter().map(|own| (own.name.clone(), own.sha256)).collect()
    };
    let (wanted, found) = (by_name(signed), by_name(there));
    let mut all_equal = true;
    for (name, digest) in &wanted {
        match found.get(name) {
            Some(own) if own == digest => continue,
            Some(_) => items.contradicts(text!("attest/file/changed", name)),
            None => items.contradicts(text!("attest/file/missing", name)),
        }
        all_equal = false;
    }
    for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
        items.contradicts(text!("attest/file/unsigned", name));
        all_equal = false;
    }
    if all_equal {
        items.verified(text!("attest/file/all", count = wanted.len()));
    }
}
