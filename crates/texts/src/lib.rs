//! Everything a person reads. A judge hands on a [`Text`]: a key and named parameters, no sentence. The sentence is made
//! from the text files, one entry a key, when something is shown: `en/chain.toml` has `chain/…` and so on.
//!
//! An entry is a template with the parameters' names in it: `{{ count }} of {{ of }}`, `{{ share|percent(1) }}`. The
//! filters are in [`filters`]. A parameter that an entry names and a text lacks is an error, not an empty place.

mod beside;
mod entries;
mod filters;
mod param;
mod particle;
mod phrase;
mod sentences;
mod templates;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use beside::{ground, message, missing, null, said_chain, said_parent, said_start, said_time};
pub use entries::{Explanation, Language, explanation, keys, source, term};
pub use param::Param;
pub use phrase::{help, phrase};
pub use sentences::render;

/// The key of several sentences, one after the other.
pub(crate) const SEVERAL: &str = "+";

/// A sentence to be: its entry in the text files, and what is filled in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// `file/section/entry`; empty for words that are no entry's and are shown as they are ([`Text::plain`]).
    pub key: Cow<'static, str>,
    /// What is filled in, by name.
    pub params: BTreeMap<Cow<'static, str>, Param>,
}

impl Text {
    /// A text with no parameters yet.
    #[must_use]
    pub const fn new(key: &'static str) -> Self {
        Self { key: Cow::Borrowed(key), params: BTreeMap::new() }
    }

    /// Adds a parameter.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Param>) -> Self {
        self.params.insert(Cow::Borrowed(name), value.into());
        self
    }

    /// Words that are shown as they are, in any language: what another program or a file says.
    #[must_use]
    pub fn plain(words: impl Into<String>) -> Self {
        Self::default().with("words", words.into())
    }

    /// As [`Text::plain`], but no words are nothing to say.
    pub(crate) fn words(words: String) -> Self {
        if words.is_empty() { Self::default() } else { Self::plain(words) }
    }

    /// Adds a sentence after this one.
    pub fn push(&mut self, more: impl Into<Self>) {
        let more = more.into();
        if self.key == SEVERAL
            && let Some(Param::List(parts)) = self.params.get_mut("parts")
        {
            parts.push(more.into());
        } else {
            let first = std::mem::take(self);
            *self = Self::new(SEVERAL).with("parts", vec![first, more]);
        }
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.key.is_empty() && self.params.is_empty()
    }

    /// A parameter, by name.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&Param> {
        self.params.get(name)
    }

    /// Whether its key ends so, or that of one of its parts: what a text says is told by its key and not by words.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        fn within(param: &Param, key: &str) -> bool {
            match param {
                Param::Text(text) => text.has(key),
                Param::List(parts) => parts.iter().any(|part| within(part, key)),
                _ => false,
            }
        }
        self.key.ends_with(key) || self.params.values().any(|param| within(param, key))
    }

    /// Whether the English sentence has these words.
    #[must_use]
    pub fn contains(&self, words: &str) -> bool {
        self.english().contains(words)
    }

    /// The sentence, in a language.
    #[must_use]
    pub fn say(&self, language: Language) -> String {
        render(self, language)
    }

    /// The sentence, in English.
    #[must_use]
    pub fn english(&self) -> String {
        render(self, Language::English)
    }
}

impl fmt::Display for Text {
    /// The English sentence, for logs and tests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.english())
    }
}

impl From<&str> for Text {
    fn from(words: &str) -> Self {
        Self::plain(words)
    }
}

impl From<String> for Text {
    fn from(words: String) -> Self {
        Self::plain(words)
    }
}

impl From<&String> for Text {
    fn from(words: &String) -> Self {
        Self::plain(words)
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(words: Cow<'_, str>) -> Self {
        Self::plain(words)
    }
}

impl From<std::path::Display<'_>> for Text {
    fn from(path: std::path::Display<'_>) -> Self {
        Self::plain(path.to_string())
    }
}

/// Writes a text as its English sentence: what JSON holds for people.
///
/// # Errors
/// Those of the serializer.
pub fn sentence<S: Serializer>(text: &Text, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text.english())
}

/// As [`sentence`], for a list.
///
/// # Errors
/// Those of the serializer.
pub fn sentences<S: Serializer>(texts: &[Text], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(texts.iter().map(Text::english))
}

/// Reads a sentence back that stands alone, as words that are shown as they are.
///
/// # Errors
/// Those of the deserializer.
pub fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
    String::deserialize(deserializer).map(Text::words)
}

/// `text!("chain/off-chord/apart", count = 3, least = 0.04)`: a [`Text`] with its parameters.
#[macro_export]
macro_rules! text {
    ($key:literal $(, $name:ident $(= $value:expr)?)* $(,)?) => {
        $crate::Text::new($key)$(.with(stringify!($name), $crate::text!(@value $name $(= $value)?)))*
    };
    (@value $name:ident = $value:expr) => { $value };
    (@value $name:ident) => { $name };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_key_and_parameters_and_survives_json() {
        let least = 0.25;
        let text = text!("chain/x/y", count = 3_usize, least, inner = text!("chain/x/z"), list = vec!["a", "b"]);
        assert_eq!(text.param("count"), Some(&Param::Count(3)));
        let json = serde_json::to_string(&text).expect("json");
        assert_eq!(serde_json::from_str::<Text>(&json).expect("text"), text, "{json}");
    }

    #[test]
    fn what_is_said_is_told_by_its_key_wherever_it_stands() {
        let mut text = Text::plain("first.");
        text.push(text!("chain/x/y", list = vec![text!("chain/x/z", inner = Text::new("chain/x/w"))]));
        for key in ["chain/x/y", "chain/x/z", "chain/x/w"] {
            assert!(text.has(key), "{key}");
        }
        assert!(text.has("/z") && !text.has("chain/x") && !Text::plain("chain/x/y").has("chain/x/y"));
    }

    /// Korean sets the sign right behind the number.
    #[test]
    fn a_share_is_written_as_each_language_writes_it() {
        let text = text!("answer/limit/unjudged", files = vec!["a"]);
        assert!(text.english().contains('a') && text.say(Language::Korean).contains('a'));
        let text =
            text!("input/left-out-files/missing", files = vec!["a"], count = 1_usize, bytes = 9_u64, share = 0.123);
        assert!(text.english().contains("12.3 %") && text.say(Language::Korean).contains("12.3%"));
    }

    #[test]
    fn words_of_others_are_shown_as_they_are() {
        assert_eq!(Text::plain("{{ no }} <b>").english(), "{{ no }} <b>");
    }
}
