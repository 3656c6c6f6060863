//! Floating-point numbers in JSON: JSON has no word for those that are not finite, so these are strings.

use serde::{Deserialize, Deserializer, Serializer};

/// A number, or one of the words.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Word(String),
}

/// Writes a number, or `NaN`, `inf`, `-inf`.
///
/// # Errors
/// Those of the writer.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() { to.serialize_f64(*value) } else { to.serialize_str(&value.to_string()) }
}

/// Reads what [`serialize`] wrote.
///
/// # Errors
/// If it is something else.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    match Written::deserialize(from)? {
        Written::Number(value) => Ok(value),
        Written::Word(word) if ["NaN", "inf", "-inf"].contains(&word.as_str()) => {
            word.parse().map_err(serde::de::Error::custom)
        }
        Written::Word(word) => Err(serde::de::Error::custom(format!("{word:?} is no number"))),
    }
}
