//! Keys and tokens that were given to this process, and their blotting out of every message: a server may say back what it
//! was sent, in an address, a header or its own words.

use std::sync::{Mutex, PoisonError};

use scratchproof_texts::{Param, Text};

/// What stands in a secret's place.
const BLOT: &str = "(the key)";

/// Shorter ones would blot ordinary words.
const SHORTEST: usize = 6;

static KEPT: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Marks a secret: no message of an [`crate::Error`] shows it from now on.
pub fn keep(secret: &str) {
    let secret = secret.trim().to_ascii_lowercase();
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if secret.len() >= SHORTEST && !kept.contains(&secret) {
        kept.push(secret);
        // A secret that holds another one goes first.
        kept.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }
}

/// The text without any secret, in whatever case: host names are written in lower case.
#[must_use]
pub fn blot(text: String) -> String {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = text;
    for secret in kept.iter() {
        let mut from = 0;
        while let Some(at) = text[from..].to_ascii_lowercase().find(secret.as_str()) {
            let at = from + at;
            text.replace_range(at..at + secret.len(), BLOT);
            from = at + BLOT.len();
        }
    }
    text
}

/// The text with no secret in any word that is filled in.
pub(crate) fn blotted(mut text: Text) -> Text {
    text.params = text.params.into_iter().map(|(name, param)| (name, blotted_param(param))).collect();
    text
}

fn blotted_param(param: Param) -> Param {
    match param {
        Param::Word(word) => Param::Word(blot(word)),
        Param::List(list) => Param::List(list.into_iter().map(blotted_param).collect()),
        Param::Text(text) => Param::Text(Box::new(blotted(*text))),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use scratchproof_texts::text;

    use crate::Error;

    #[test]
    fn no_message_shows_a_secret() {
        super::keep("s3cretKEY");
        super::keep("tiny");
        let error = Error::input("redirected to https://S3CRETKEY.example.org/s3cretkey?k=s3cretKEY, tiny")
            .context("asked with s3cretKEY");
        assert_eq!(
            error.to_string(),
            "asked with (the key): redirected to https://(the key).example.org/(the key)?k=(the key), tiny"
        );
        let inner = text!("input/model/parent", name = "S3cretKEY");
        let place = text!("error/place/inside", place = inner, what = vec!["x", "s3cretkey"]);
        let kept = serde_json::to_string(&Error::input("no").context(place).text()).expect("JSON");
        assert!(!kept.to_ascii_lowercase().contains("s3cretkey"), "{kept}");
    }
}
