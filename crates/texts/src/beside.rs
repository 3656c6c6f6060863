//! How a report holds a text: the English sentence for people and scripts, and beside it key and parameters, from which
//! the sentence of another language is made. For `#[serde(flatten, with = "…")]`.
//!
//! A text that is read back keeps its key where it makes the very sentence that stands beside it. Where it does not (a
//! report of another version, or one that was altered), the sentence holds, as words of an unknown language.

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Language, Text, sentences};

/// What a finding says: `message` and `text`.
pub mod message {
    use super::{Deserialize, Deserializer, Serializer, Text, both, kept};

    #[derive(Deserialize)]
    struct Read {
        message: String,
        text: Option<Text>,
    }

    /// Writes both.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(text: &Text, serializer: S) -> Result<S::Ok, S::Error> {
        both(serializer, ["message", "text"], &text.english(), text)
    }

    /// Reads both.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        Read::deserialize(deserializer).map(|read| kept(read.message, read.text))
    }
}

/// The null that a figure was held against: `null` and `null_text`.
pub mod null {
    use super::{Deserialize, Deserializer, Serializer, Text, both, kept};

    #[derive(Deserialize)]
    struct Read {
        null: String,
        null_text: Option<Text>,
    }

    /// Writes both.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(text: &Text, serializer: S) -> Result<S::Ok, S::Error> {
        both(serializer, ["null", "null_text"], &text.english(), text)
    }

    /// Reads both.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        Read::deserialize(deserializer).map(|read| kept(read.null, read.null_text))
    }
}

/// What is missing: `missing` and `missing_texts`, in one order.
pub mod missing {
    use super::{Deserialize, Deserializer, Serializer, Text, both, kept};

    #[derive(Deserialize)]
    struct Read {
        missing: Vec<String>,
        missing_texts: Option<Vec<Text>>,
    }

    /// Writes both.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(texts: &[Text], serializer: S) -> Result<S::Ok, S::Error> {
        let sentences: Vec<String> = texts.iter().map(Text::english).collect();
        both(serializer, ["missing", "missing_texts"], &sentences, texts)
    }

    /// Reads both.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Text>, D::Error> {
        let read = Read::deserialize(deserializer)?;
        let mut texts = read.missing_texts.unwrap_or_default().into_iter();
        Ok(read.missing.into_iter().map(|sentence| kept(sentence, texts.next())).collect())
    }
}

/// A sentence and its text under the names that a field of a struct has.
macro_rules! named {
    ($($(#[$doc:meta])* $module:ident: $sentence:literal, $text:literal;)*) => {
        $($(#[$doc])* pub mod $module {
            use super::{Deserialize, Deserializer, Serializer, Text, both, kept};

            #[derive(Deserialize)]
            struct Read {
                #[serde(rename = $sentence)]
                sentence: String,
                #[serde(rename = $text)]
                text: Option<Text>,
            }

            /// Writes both.
            ///
            /// # Errors
            /// Those of the serializer.
            pub fn serialize<S: Serializer>(text: &Text, serializer: S) -> Result<S::Ok, S::Error> {
                both(serializer, [$sentence, $text], &text.english(), text)
            }

            /// Reads both.
            ///
            /// # Errors
            /// Those of the deserializer.
            pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
                Read::deserialize(deserializer).map(|read| kept(read.sentence, read.text))
            }
        })*
    };
}

named! {
    /// What a verdict rests on: `ground` and `ground_text`.
    ground: "ground", "ground_text";
    /// What is said of the start: `start` and `start_text`.
    said_start: "start", "start_text";
    /// What is said of the chain: `chain` and `chain_text`.
    said_chain: "chain", "chain_text";
    /// What is said of the parents: `parent` and `parent_text`.
    said_parent: "parent", "parent_text";
    /// What is said of the record: `time` and `time_text`.
    said_time: "time", "time_text";
}

fn both<S: Serializer, A: Serialize + ?Sized, B: Serialize + ?Sized>(
    serializer: S,
    names: [&'static str; 2],
    english: &A,
    made_from: &B,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(2))?;
    map.serialize_entry(names[0], english)?;
    map.serialize_entry(names[1], made_from)?;
    map.end()
}

/// The text if it makes this sentence, else the sentence as it stands.
fn kept(sentence: String, text: Option<Text>) -> Text {
    let makes = |text: &Text| sentences::make(text, Language::English).is_ok_and(|made| made == sentence);
    text.filter(makes).unwrap_or_else(|| Text::words(sentence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Held {
        id: String,
        #[serde(flatten, with = "message")]
        message: Text,
        #[serde(flatten, with = "null")]
        null: Text,
        #[serde(flatten, with = "missing")]
        missing: Vec<Text>,
        count: Option<u64>,
    }

    fn held() -> Held {
        Held {
            id: "F001".into(),
            message: text!("report/foot/seal", root = "abc"),
            null: Text::default(),
            missing: vec![Text::plain("words"), text!("report/coverage/more", count = 3_u64)],
            count: Some(7),
        }
    }

    #[test]
    fn what_is_written_is_read_again_with_keys_and_parameters() {
        let json = serde_json::to_value(held()).expect("JSON");
        assert_eq!(json["message"], "seal abc");
        assert_eq!(json["text"]["key"], "report/foot/seal");
        assert_eq!(serde_json::from_value::<Held>(json).expect("read"), held());
    }

    #[test]
    fn the_sentence_holds_where_the_key_does_not_make_it() {
        let read = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut json = serde_json::to_value(held()).expect("JSON");
            change(&mut json);
            serde_json::from_value::<Held>(json).expect("read")
        };
        let plain = |words: &str| Held { message: Text::plain(words), ..held() };
        assert_eq!(read(&|json| json["message"] = "another".into()), plain("another"));
        assert_eq!(read(&|json| json["text"]["key"] = "no/such/entry".into()), plain("seal abc"));
        assert_eq!(read(&|json| json["text"]["params"] = serde_json::json!({})), plain("seal abc"));
        assert_eq!(read(&|json| json["text"] = serde_json::Value::Null), plain("seal abc"));
        let without = read(&|json| drop(json.as_object_mut().expect("an object").remove("missing_texts")));
        assert_eq!(without.missing[1], Text::plain("... and 3 more in report.json."));
    }
}
