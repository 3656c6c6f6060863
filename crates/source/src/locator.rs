//! What a user calls a model -> the place it is in.

use std::path::Path;

use super::hub::{cached, place};
use super::{Bucket, HttpDir, Hub, HubModel, LocalDir, Network, Rehearsal, Store};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// How models may be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Refuse every address of a network.
    pub offline: bool,
}

/// Whether this is an address (`scheme://...`) and not a path.
#[must_use]
pub fn is_address(model: &str) -> bool {
    scheme(model).is_some()
}

/// Whether this is the address of a model that the tool draws to rehearse with.
#[must_use]
pub fn is_rehearsal(model: &str) -> bool {
    scheme(model).is_some_and(|scheme| scheme == MADE)
}

/// Models that lie nowhere.
const MADE: &str = "made";

/// The scheme of an address, in lower case.
fn scheme(model: &str) -> Option<String> {
    let (scheme, _) = model.split_once("://")?;
    let mut bytes = scheme.bytes();
    let named = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    named.then(|| scheme.to_ascii_lowercase())
}

/// The place of a model: a folder or a file of this computer, `hf://org/name[@revision]`, `https://` with the address
/// of a folder or of a file with tensors, `s3://`, `gs://`, `az://` with a bucket and a path, or `made://` with the sizes of a model to rehearse with.
///
/// # Errors
/// A usage error if the address is of a kind that is not read, or of a network and `access` is offline; otherwise if the
/// place cannot be reached.
pub fn locate(model: &str, access: Access) -> Result<Box<dyn Store>> {
    let Some(scheme) = scheme(model) else {
        return Ok(Box::new(LocalDir::open(Path::new(model))?));
    };
    if let (true, "hf", Some(snapshot)) = (access.offline, scheme.as_str(), cached(model)) {
        return Ok(Box::new(LocalDir::open(&snapshot)?));
    }
    refuse_offline(model, access)?;
    match scheme.as_str() {
        "hf" => Ok(Box::new(HubModel::open(&Network::shared(), &Hub::from_environment()?, model)?)),
        "https" | "http" => Ok(Box::new(HttpDir::open(&Network::shared(), model)?)),
        "s3" | "gs" | "az" => Ok(Box::new(Bucket::open(&Network::shared(), model)?)),
        MADE => Ok(Box::new(Rehearsal::open(model)?)),
        "file" => Ok(Box::new(LocalDir::open(Path::new(&model[7..]))?)),
        _ => Err(Error::usage(text!("error-source/locator/addresses-not-read-give", scheme))),
    }
}

/// Refuses an address of a network where `access` is offline.
pub(super) fn refuse_offline(address: &str, access: Access) -> Result<()> {
    match scheme(address).as_deref() {
        Some(scheme @ ("hf" | "https" | "http" | "s3" | "gs" | "az")) if access.offline => {
            // Of a web address only the scheme is repeated: the rest may hold a password or a signature.
            if scheme == "hf" {
                let (model, revision, _) = place(address)?;
                let revision = address.contains('@').then_some(revision);
                return Err(Error::usage(text!("error-source/locator/not-in-cache", model, revision)));
            }
            let what = format!("an {scheme}:// address");
            Err(Error::usage(text!("error-source/locator/cannot-read-offline-give", what)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        for (text, address) in [
            ("hf://a/b", true),
            ("HTTPS://h/x", true),
            ("s3://bucket/x", true),
            ("models/step-1", false),
            ("/a://b", false),
            ("C:\\x", false),
            ("://x", false),
        ] {
            assert_eq!(is_address(text), address, "{text}");
        }
    }

    #[test]
    fn what_is_not_read_is_a_usage_error() {
        let refused = |model: &str, offline| {
            let error = locate(model, Access { offline }).err().expect("a refusal");
            assert!(error.is_usage(), "{error:?}");
            error.to_string()
        };
        for model in ["s3://", "s3://Bucket!/x", "gs:///x", "s3://bucket/../x"] {
            assert!(refused(model, false).contains("names no bucket"), "{model}");
        }
        assert!(refused("ftp://h/x", false).contains("ftp:// addresses are not read"));
        for model in [
            "s3://bucket/x",
            "gs://bucket/x",
            "az://bucket/x",
            "hf://a/b",
            "https://user:secret@h/x?sig=secret",
            "http://127.0.0.1:1/x",
            "HF://a/b@main",
        ] {
            let message = refused(model, true);
            assert!(message.contains("--offline") && !message.contains("secret"), "{message}");
        }
        assert!(locate("no/such/folder", Access { offline: true }).err().unwrap().is_input());
    }
}
