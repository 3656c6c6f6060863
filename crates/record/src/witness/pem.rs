//! Text around binary: PEM.

#![allow(clippy::missing_errors_doc, reason = "every error is a sentence that says what is wrong")]

use base64ct::{Base64, Encoding as _};

use super::asn1::Parsed;

/// A label and the bytes under it.
type Block = (String, Vec<u8>);

/// The blocks of a PEM file with their labels; `None` if the file is none.
pub fn decode(bytes: &[u8]) -> Option<Parsed<Vec<Block>>> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.contains("-----BEGIN ").then(|| blocks(text))
}

fn blocks(text: &str) -> Parsed<Vec<Block>> {
    let mut all = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines().map(str::trim) {
        let mark = |word: &str| line.strip_prefix(word).and_then(|rest| rest.strip_suffix("-----"));
        if let Some(label) = mark("-----BEGIN ") {
            open = Some((label.to_owned(), String::new()));
        } else if mark("-----END ").is_some() {
            let Some((label, body)) = open.take() else { return Err("PEM: an end without a beginning".into()) };
            let bytes = Base64::decode_vec(&body).map_err(|_| format!("PEM: {label} is not base64"))?;
            all.push((label, bytes));
        } else if let Some((_, body)) = &mut open {
            body.push_str(line);
        }
    }
    match open {
        Some((label, _)) => Err(format!("PEM: {label} has no end")),
        None => Ok(all),
    }
}
