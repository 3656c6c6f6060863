//! The small JSON files beside weights: `config.json`, `params.json`, an index. One reader for all, as kind as the programs that
//! load such models, and one sentence for what it cannot read.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::error::Category;

use scratchproof_error::json::fits;
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// What Python's `json` writes for numbers that JSON has not, the longer of two that begin alike first.
const BARE: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];

/// Reads a file of settings. Numbers that are none (`NaN`, `Infinity`, which Python writes bare) are null, and a byte order mark
/// is no part of it.
///
/// # Errors
/// If it is no JSON, or would take too much memory: one sentence with the place.
pub fn read_settings(bytes: &[u8]) -> Result<Value> {
    fits(bytes)?;
    serde_json::from_slice(&plain(bytes)).map_err(|error| broken(&error))
}

/// As [`read_settings`], into a type of its own.
pub(crate) fn read_as<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T> {
    fits(bytes)?;
    serde_json::from_slice(&plain(bytes)).map_err(|error| broken(&error))
}

/// What is wrong, in a sentence that is no library's.
pub(crate) fn broken(error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    Error::input(match error.classify() {
        Category::Eof => text!("error-checkpoint/settings/cut", line, column),
        Category::Syntax => text!("error-checkpoint/settings/broken", line, column),
        // What is JSON and not what it must be is said by whoever asked for it.
        Category::Data | Category::Io => return Error::input(error.to_string()),
    })
}

/// The bytes as JSON has them.
pub(crate) fn plain(bytes: &[u8]) -> Cow<'_, [u8]> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut out = Cow::Borrowed(bytes);
    let (mut at, mut copied, mut inside) = (0, 0, false);
    while let Some(byte) = bytes.get(at) {
        let bare = BARE.iter().find(|bare| !inside && bytes[at..].starts_with(bare));
        if let Some(bare) = bare {
            let from = if let Cow::Borrowed(_) = out { 0 } else { copied };
            if let Cow::Borrowed(_) = out {
                out = Cow::Owned(Vec::with_capacity(bytes.len() + 64));
            }
            let all = out.to_mut();
            all.extend_from_slice(&bytes[from..at]);
            all.extend_from_slice(b"null");
            // Lines keep their length, so that a place is told as it is.
            all.extend(std::iter::repeat_n(b' ', bare.len().saturating_sub(4)));
            at += bare.len();
            copied = at;
            continue;
        }
        match byte {
            b'"' => inside = !inside,
            b'\\' => at += usize::from(inside),
            _ => {}
        }
        at += 1;
    }
    if let Cow::Owned(all) = &mut out {
        all.extend_from_slice(&bytes[copied..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{plain, read_settings};

    #[test]
    fn numbers_that_are_none_are_null_and_texts_stay() {
        let read =
            |text: &str| read_settings(text.as_bytes()).map(|value| value.to_string()).map_err(|e| e.to_string());
        let kept = |text: &str| plain(text.as_bytes()).into_owned() == text.as_bytes();
        assert_eq!(read("\u{feff}{\"a\": [0.0, Infinity, -Infinity, NaN]}").unwrap(), r#"{"a":[0.0,null,null,null]}"#);
        assert_eq!(read("NaN").unwrap(), "null");
        assert!(kept(r#"{"a": "NaN \" Infinity \\", "-Infinity": 1}"#) && kept("") && kept("\"\\"));
        // No part of a word is one, and what is broken is told with its place.
        for (text, words) in [
            ("{\"a\": Infinity2}", "line 1, column 15"),
            ("{\"a\": xNaN}", "line 1, column 7"),
            ("{\"a\":\n [1,", "line 2, column 4"),
            ("", "ends"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
    }
}
