//! The header's JSON, where `serde_json` alone would be too kind: it keeps the last of two equal keys.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::quoted;
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// More axes than any tensor has; a longer list is an attack on memory.
const MOST_AXES: usize = 32;

/// One tensor of the header, before it is believed.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: String,
    pub(super) shape: Vec<usize>,
    pub(super) begin: u64,
    pub(super) end: u64,
}

type Words = BTreeMap<String, String>;

/// The metadata and the entries in the order of their spans.
pub(super) fn parse(json: &[u8]) -> Result<(Words, Vec<Entry>)> {
    match json.first() {
        Some(b'{') => {}
        Some(byte) => {
            return Err(Error::input(text!(
                "error-checkpoint/json/header-does-not-begin",
                byte = format!("{byte:#04x}")
            )));
        }
        None => return Err(Error::input(text!("error-checkpoint/json/header-empty"))),
    }
    if let Err(error) = std::str::from_utf8(json) {
        return Err(Error::input(text!("error-checkpoint/json/header-not-utf-byte", byte = 8 + error.valid_up_to())));
    }
    let place = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(json);
    let read = Top { place: &place }.deserialize(&mut reader).and_then(|top| reader.end().map(|()| top));
    let (words, mut entries) = read.map_err(|error| {
        let byte = 8 + byte_of(json, error.line(), error.column());
        let tensor = place.borrow().as_ref().map(|name: &String| quoted(name));
        Error::input(text!(
            "error-checkpoint/json/header-wrong-byte",
            byte,
            tensor,
            error = without_place(&error.to_string())
        ))
    })?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(Error::input(text!(
            "error-checkpoint/json/header-names-tensor-twice",
            name = quoted(&pair[0].name)
        )));
    }
    entries.sort_by(|a, b| (a.begin, a.end, &a.name).cmp(&(b.begin, b.end, &b.name)));
    Ok((words, entries))
}

/// The offset of `serde_json`'s line and column, both from 1.
fn byte_of(json: &[u8], line: usize, column: usize) -> usize {
    let before: usize = json.split(|byte| *byte == b'\n').take(line.saturating_sub(1)).map(|line| line.len() + 1).sum();
    before + column.saturating_sub(1)
}

/// The message without `serde_json`'s own words for the place.
fn without_place(message: &str) -> &str {
    message.rfind(" at line ").map_or(message, |end| &message[..end])
}

/// The outermost object.
struct Top<'a> {
    /// The key that is being read, for the message.
    place: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = (Words, Vec<Entry>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = (Words, Vec<Entry>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut words = None;
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            self.place.replace(Some(name.clone()));
            if name == "__metadata__" {
                if words.is_some() {
                    return Err(de::Error::custom("`__metadata__` is there twice"));
                }
                words = Some(map.next_value_seed(Metadata)?);
            } else {
                entries.push(map.next_value_seed(Tensor { name })?);
            }
            self.place.replace(None);
        }
        Ok((words.unwrap_or_default(), entries))
    }
}

/// `__metadata__`: words to words.
struct Metadata;

impl<'de> DeserializeSeed<'de> for Metadata {
    type Value = Words;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Words, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Metadata {
    type Value = Words;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    /// The reference reader takes null for no metadata, and some writers write it.
    fn visit_unit<E: de::Error>(self) -> Result<Words, E> {
        Ok(Words::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Words, A::Error> {
        let mut words = Words::new();
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            if words.contains_key(&key) {
                return Err(de::Error::custom(format!("the key {} is there twice", quoted(&key))));
            }
            words.insert(key, value);
        }
        Ok(words)
    }
}

/// `{"dtype": ..., "shape": [...], "data_offsets": [begin, end]}`.
struct Tensor {
    name: String,
}

impl<'de> DeserializeSeed<'de> for Tensor {
    type Value = Entry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Tensor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let (mut dtype, mut shape, mut span) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            let twice = match key.as_str() {
                "dtype" => dtype.replace(map.next_value::<String>()?).is_some(),
                "shape" => shape.replace(map.next_value_seed(Numbers("shape"))?).is_some(),
                "data_offsets" => span.replace(map.next_value_seed(Numbers("data_offsets"))?).is_some(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    false
                }
            };
            if twice {
                return Err(de::Error::custom(format!("`{key}` is there twice")));
            }
        }
        let missing = |what: &str| de::Error::custom(format!("`{what}` is missing"));
        let dtype = dtype.ok_or_else(|| missing("dtype"))?;
        let shape = shape.ok_or_else(|| missing("shape"))?;
        let span = span.ok_or_else(|| missing("data_offsets"))?;
        let [begin, end] = span[..] else {
            return Err(de::Error::custom(format!("`data_offsets` has {} numbers, not 2", span.len())));
        };
        let axes: Result<Vec<usize>, _> = shape.into_iter().map(usize::try_from).collect();
        let shape = axes.map_err(|_| de::Error::custom("`shape` has an axis that is too long"))?;
        Ok(Entry { name: self.name, dtype, shape, begin, end })
    }
}

/// A short list of whole numbers from 0, with the key it stands under.
struct Numbers(&'static str);

impl<'de> DeserializeSeed<'de> for Numbers {
    type Value = Vec<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u64>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Numbers {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` to be a list of whole numbers from 0", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u64>, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = list.next_element_seed(Number(self.0))? {
            if numbers.len() == MOST_AXES {
                return Err(de::Error::custom(format!("`{}` has more than {MOST_AXES} numbers", self.0)));
            }
            numbers.push(number);
        }
        Ok(numbers)
    }
}

/// One whole number from 0.
struct Number(&'static str);

impl<'de> DeserializeSeed<'de> for Number {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_u64(self)
    }
}

impl Visitor<'_> for Number {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "whole numbers from 0 in `{}`", self.0)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }
}
