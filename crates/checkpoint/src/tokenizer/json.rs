//! `tokenizer.json`, read in one pass into lists and nothing else.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{MOST_MERGES, MOST_TOKENS, Raw, TokenizerKind};
use crate::settings::{broken, plain};
use scratchproof_error::Result;

/// The largest id that is kept: beyond it lies no row of an embedding.
const LARGEST_ID: u64 = (1 << 24) - 1;

/// Parts of a file whose types say how words are cut.
#[derive(Default)]
struct Types {
    byte_level: bool,
    metaspace: bool,
}

/// What stands under `model`.
#[derive(Default)]
struct Model {
    kind: Option<String>,
    vocabulary: Vocabulary,
    merges: Option<Merges>,
    byte_fallback: bool,
    prefix: Option<String>,
    word_limit: bool,
}

#[derive(Default)]
struct Vocabulary {
    tokens: Vec<(String, u32)>,
    bad_ids: usize,
    list: bool,
}

#[derive(Default)]
struct Merges {
    pairs: Vec<(String, String)>,
    bad: usize,
}

#[derive(Deserialize)]
struct Added {
    id: Id,
    content: String,
}

/// A token's id; `None` where it is negative or beyond any vocabulary.
struct Id(Option<u32>);

/// Reads the file.
pub(super) fn parse(text: &[u8]) -> Result<Raw> {
    let text = plain(text);
    let mut reader = serde_json::Deserializer::from_slice(&text);
    let raw = reader.deserialize_map(Top).and_then(|raw| reader.end().map(|()| raw));
    raw.map_err(|error| broken(&error))
}

/// Reads `vocab.json`: an object of tokens and ids.
pub(super) fn vocabulary(text: &[u8]) -> Result<Raw> {
    let text = plain(text);
    let mut reader = serde_json::Deserializer::from_slice(&text);
    let read = Vocabulary::deserialize(&mut reader).and_then(|raw| reader.end().map(|()| raw));
    let vocabulary = read.map_err(|error| broken(&error))?;
    Ok(Raw { tokens: vocabulary.tokens, bad_ids: vocabulary.bad_ids, ..Raw::default() })
}

struct Top;

impl<'de> Visitor<'de> for Top {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `model`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let (mut types, mut model, mut added) = (Types::default(), None, Vec::new());
        let mut bad_ids = 0;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "model" => {
                    if model.replace(map.next_value::<Model>()?).is_some() {
                        return Err(de::Error::custom("`model` is there twice"));
                    }
                }
                "pre_tokenizer" | "decoder" => map.next_value_seed(Walk(&mut types))?,
                "added_tokens" => {
                    for Added { id, content } in map.next_value::<Bounded<Added>>()?.0 {
                        match id.0 {
                            Some(id) => added.push((content, id)),
                            None => bad_ids += 1,
                        }
                    }
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let model = model.ok_or_else(|| de::Error::custom("`model` is missing"))?;
        let kind = kind(&model, &types).map_err(de::Error::custom)?;
        let merges = model.merges.unwrap_or_default();
        Ok(Raw {
            kind: Some(kind),
            tokens: model.vocabulary.tokens,
            added,
            merges: merges.pairs,
            prefix: model.prefix,
            byte_fallback: model.byte_fallback,
            bad_ids: bad_ids + model.vocabulary.bad_ids,
            bad_merges: merges.bad,
        })
    }
}

/// The scheme; files of old versions do not name the model's type.
fn kind(model: &Model, types: &Types) -> Result<TokenizerKind, String> {
    let bpe = if types.byte_level && !types.metaspace { TokenizerKind::ByteLevelBpe } else { TokenizerKind::Bpe };
    Ok(match model.kind.as_deref() {
        Some("BPE") => bpe,
        Some("Unigram") => TokenizerKind::Unigram,
        Some("WordPiece") => TokenizerKind::WordPiece,
        Some("WordLevel") => TokenizerKind::WordLevel,
        Some(other) => return Err(format!("the model's type `{}` is not known", other.escape_debug())),
        None if model.merges.is_some() => bpe,
        None if model.vocabulary.list => TokenizerKind::Unigram,
        None if model.word_limit => TokenizerKind::WordPiece,
        None => TokenizerKind::WordLevel,
    })
}

impl<'de> Deserialize<'de> for Model {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Model;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`model` to be an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Model, A::Error> {
                let mut model = Model::default();
                let mut vocabulary = None;
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "type" => model.kind = map.next_value()?,
                        "vocab" => {
                            if vocabulary.replace(map.next_value::<Vocabulary>()?).is_some() {
                                return Err(de::Error::custom("`vocab` is there twice"));
                            }
                        }
                        "merges" => {
                            if model.merges.replace(map.next_value::<Merges>()?).is_some() {
                                return Err(de::Error::custom("`merges` is there twice"));
                            }
                        }
                        "byte_fallback" => {
                            model.byte_fallback = map.next_value::<Option<bool>>()?.unwrap_or_default();
                        }
                        "continuing_subword_prefix" => model.prefix = map.next_value()?,
                        "max_input_chars_per_word" => {
                            map.next_value::<IgnoredAny>()?;
                            model.word_limit = true;
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                model.vocabulary = vocabulary.ok_or_else(|| de::Error::custom("`vocab` is missing"))?;
                Ok(model)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vocabulary;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary: an object of tokens and ids, or a list of [piece, score]")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
                let mut vocabulary = Vocabulary::default();
                while let Some((text, id)) = map.next_entry::<String, Id>()? {
                    vocabulary.put(text, id.0)?;
                }
                Ok(vocabulary)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocabulary, A::Error> {
                let mut vocabulary = Vocabulary { list: true, ..Vocabulary::default() };
                let mut next = 0;
                while let Some((text, _score)) = list.next_element::<(String, f64)>()? {
                    vocabulary.put(text, Some(next))?;
                    next += 1;
                }
                Ok(vocabulary)
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

impl Vocabulary {
    fn put<E: de::Error>(&mut self, text: String, id: Option<u32>) -> Result<(), E> {
        if self.tokens.len() + self.bad_ids == MOST_TOKENS {
            return Err(E::custom(format!("there are more than {MOST_TOKENS} tokens")));
        }
        match id {
            Some(id) => self.tokens.push((text, id)),
            None => self.bad_ids += 1,
        }
        Ok(())
    }
}

/// A list of at most [`MOST_TOKENS`].
struct Bounded<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Bounded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(Vec<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Vec<T>, E> {
                Ok(Vec::new())
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Vec<T>, A::Error> {
                while let Some(item) = list.next_element()? {
                    if self.0.len() == MOST_TOKENS {
                        return Err(de::Error::custom(format!("a list has more than {MOST_TOKENS} entries")));
                    }
                    self.0.push(item);
                }
                Ok(self.0)
            }
        }
        deserializer.deserialize_any(Items(Vec::new())).map(Self)
    }
}

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lines;
        impl<'de> Visitor<'de> for Lines {
            type Value = Merges;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`merges` to be a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merges, A::Error> {
                let mut merges = Merges::default();
                while let Some(merge) = list.next_element::<Merge>()? {
                    if merges.pairs.len() + merges.bad == MOST_MERGES {
                        return Err(de::Error::custom(format!("there are more than {MOST_MERGES} merges")));
                    }
                    match merge.0 {
                        Some(pair) => merges.pairs.push(pair),
                        None => merges.bad += 1,
                    }
                }
                Ok(merges)
            }
        }
        deserializer.deserialize_seq(Lines)
    }
}

/// `"a b"` or `["a", "b"]`.
struct Merge(Option<(String, String)>);

/// The two parts of a merge written as one string.
pub(super) fn parts(line: &str) -> Option<(String, String)> {
    let (a, b) = line.split_once(' ')?;
    (!a.is_empty() && !b.is_empty() && !b.contains(' ')).then(|| (a.to_owned(), b.to_owned()))
}

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = Merge;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge to be \"a b\" or [\"a\", \"b\"]")
            }

            fn visit_str<E>(self, line: &str) -> Result<Merge, E> {
                Ok(Merge(parts(line)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merge, A::Error> {
                let (a, b) = (list.next_element::<String>()?, list.next_element::<String>()?);
                let more = list.next_element::<IgnoredAny>()?.is_some();
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Merge(a.zip(b).filter(|_| !more)))
            }
        }
        deserializer.deserialize_any(Parts)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id to be a whole number")
            }

            fn visit_u64<E>(self, id: u64) -> Result<Id, E> {
                Ok(Id(u32::try_from(id).ok().filter(|_| id <= LARGEST_ID)))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Id, E> {
                Ok(Id(None))
            }
        }
        deserializer.deserialize_i64(Number)
    }
}

/// Looks for the types of parts, however they are nested, and keeps nothing else.
struct Walk<'a>(&'a mut Types);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            map.next_value_seed(Value { types: self.0, is_type: key == "type" })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Walk(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// The value of a key.
struct Value<'a> {
    types: &'a mut Types,
    is_type: bool,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !self.is_type {
            return Walk(self.types).deserialize(deserializer);
        }
        let name = Option::<String>::deserialize(deserializer)?;
        self.types.byte_level |= name.as_deref() == Some("ByteLevel");
        self.types.metaspace |= name.as_deref() == Some("Metaspace");
        Ok(())
    }
}
