//! A sentence in both languages, for the page, which holds both.

use scratchproof_texts::{Language, Text, render};
use serde::Serialize;

/// A sentence in English and in Korean; the template shows the one that the reader chose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Said {
    pub en: String,
    pub ko: String,
}

impl Said {
    /// Words that are no sentence: names, figures, codes.
    pub fn plain(words: impl Into<String>) -> Self {
        let en: String = words.into();
        Self { ko: en.clone(), en }
    }
}

impl From<&Text> for Said {
    fn from(text: &Text) -> Self {
        Self { en: render(text, Language::English), ko: render(text, Language::Korean) }
    }
}

impl From<Text> for Said {
    fn from(text: Text) -> Self {
        Self::from(&text)
    }
}
