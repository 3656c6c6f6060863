//! Bytes as text and JSON that two readers read alike.

use std::fmt;

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use scratchproof_error::json::fits;
use scratchproof_error::{Error, Result};

/// Standard base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// Standard base64, or the alphabet for addresses, padded or not: a reader of envelopes takes both (DSSE 1.0).
pub(super) fn unbase64(text: &str) -> Option<Vec<u8>> {
    Base64::decode_vec(text).or_else(|_| Base64UrlUnpadded::decode_vec(text.trim_end_matches('='))).ok()
}

/// JSON in which no name stands twice in one object: of two readers one would take the first and the other the last.
///
/// # Errors
/// If it is no JSON, is too much of it, or a name stands twice.
pub fn strict(bytes: &[u8]) -> Result<Value> {
    fits(bytes)?;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|cause| Error::input(cause.to_string()))
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = access.next_element_seed(Strict)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(Strict)?;
            if map.contains_key(&name) {
                return Err(serde::de::Error::custom(format!("the name {name:?} stands twice in one object")));
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

/// Whether a name of a manifest stays inside its folder and means one file on every system.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn inside(name: &str) -> Result<(), String> {
    let shown = || name.escape_debug().to_string();
    if name.is_empty() || name.starts_with('/') || name.contains(['\\', '\0']) {
        return Err(format!("the name `{}` is no place below a folder", shown()));
    }
    if name.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(format!("the name `{}` leads out of its folder, or has more than one spelling", shown()));
    }
    Ok(())
}

/// The first of some names that another one equals where case does not count.
pub(super) fn collision<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::BTreeSet::new();
    names.into_iter().find(|name| !seen.insert(name.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stands_twice_is_refused_at_any_depth() {
        assert_eq!(strict(br#"{"a":[1,-2,0.5,null,true,"x",{"b":{}}]}"#).unwrap()["a"][2], 0.5);
        for bad in [&br#"{"a":1,"a":1}"#[..], br#"[{"b":{"c":1,"c":2}}]"#, b"{} {}", b"{", br#"{"a\u0062":1,"ab":1}"#] {
            assert!(strict(bad).is_err());
        }
    }

    #[test]
    fn names_stay_inside() {
        assert!(inside("a/b.c").is_ok());
        for bad in ["", "/a", "../a", "a/../b", "a//b", "a/", "./a", "a\\b", "a\0"] {
            assert!(inside(bad).is_err(), "{bad}");
        }
        assert_eq!(collision(["a", "b", "A"].into_iter()), Some("A"));
    }
}
