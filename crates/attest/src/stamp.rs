//! RFC 3161 stamps over files: an authority's word that the bytes were there by then.

use std::path::Path;

use scratchproof_error::Result;
use scratchproof_record::witness::token::{self, Doubt};
use scratchproof_source::plain;
use scratchproof_texts::text;

use super::item::Items;

/// Holds a stamp (a token or a response, DER or PEM) against the bytes it should be over and the roots that are trusted.
///
/// # Errors
/// If the file of the stamp cannot be read.
pub fn verify(file: &Path, over: &[u8], roots: &[Vec<u8>], items: &mut Items) -> Result<()> {
    let bytes = plain::read(file, token::LARGEST as u64)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = match token::binary(&bytes) {
        Ok(bytes) => bytes,
        Err(why) => {
            items.contradicts(text!("attest/stamp/unreadable", name, why));
            return Ok(());
        }
    };
    let read = match token::read(&bytes) {
        Ok(read) => read,
        Err(why) => {
            items.contradicts(text!("attest/stamp/unreadable", name, why));
            return Ok(());
        }
    };
    if read.stamp.hash.digest(over) != read.stamp.imprint {
        items.contradicts(text!("attest/stamp/other", name));
        return Ok(());
    }
    let at = read.stamp.at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    match read.verify(roots) {
        Ok(names) => items.verified(text!("attest/stamp/holds", name, at, names)),
        Err(Doubt::Broken(why)) => items.contradicts(text!("attest/stamp/fails", name, why)),
        Err(Doubt::Unanchored(why)) => items.unchecked(text!("attest/stamp/unanchored", name, at, why)),
    }
    Ok(())
}
