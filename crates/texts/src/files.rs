//! The text files, and sentences made from them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use minijinja::value::Value;
use minijinja::{Environment, Error, UndefinedBehavior};

use crate::{Param, Text, filters};

/// A language that texts exist in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Language {
    #[default]
    English,
    Korean,
}

impl Language {
    /// That of a locale's name such as `ko_KR.UTF-8`; English for any that there are no texts of.
    #[must_use]
    pub fn of_locale(name: &str) -> Self {
        match name.split(['_', '-', '.', '@']).next() {
            Some("ko") => Self::Korean,
            _ => Self::English,
        }
    }
}

/// A file of texts in each language, under the first part of its keys.
struct File {
    name: &'static str,
    english: &'static str,
    /// Empty as long as there is none: its entries are shown in English, each as a whole.
    korean: &'static str,
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(File {
            name: $name,
            english: include_str!(concat!("../en/", $name, ".toml")),
            korean: include_str!(concat!("../ko/", $name, ".toml")),
        }),*]
    };
}

/// The files, by the first part of their keys. A new one is named here and stands in both folders.
const FILES: &[File] = files![
    "answer",
    "attest",
    "chain",
    "checkpoint",
    "compare",
    "docket",
    "input",
    "page",
    "parent",
    "power",
    "profile",
    "report",
    "scan",
    "start",
    "time",
    "title",
    "verdict",
];

fn environment(language: Language) -> &'static Environment<'static> {
    static ENVIRONMENTS: [OnceLock<Environment<'static>>; 2] = [const { OnceLock::new() }; 2];
    ENVIRONMENTS[language as usize].get_or_init(|| {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        filters::add(&mut environment, language);
        for (key, entry) in entries(language) {
            let added = environment.add_template_owned(key.clone(), entry.clone());
            debug_assert!(added.is_ok(), "{key}: {}", added.err().map_or_else(String::new, |e| format!("{e:#}")));
        }
        environment
    })
}

/// All entries of a language, by key.
fn entries(language: Language) -> &'static BTreeMap<String, String> {
    static ENTRIES: [OnceLock<BTreeMap<String, String>>; 2] = [const { OnceLock::new() }; 2];
    ENTRIES[language as usize].get_or_init(|| {
        let mut all = BTreeMap::new();
        for File { name: file, english, korean } in FILES {
            let text = match language {
                Language::English => english,
                Language::Korean => korean,
            };
            let sections: Result<BTreeMap<String, BTreeMap<String, String>>, _> = toml::from_str(text);
            debug_assert!(sections.is_ok(), "{file}: {:?}", sections.as_ref().err());
            for (section, own) in sections.unwrap_or_default() {
                all.extend(own.into_iter().map(|(entry, text)| (format!("{file}/{section}/{entry}"), text)));
            }
        }
        all
    })
}

/// All keys of a language, in order.
pub fn keys(language: Language) -> impl Iterator<Item = &'static str> {
    entries(language).keys().map(String::as_str)
}

/// An entry as it stands in its file.
#[must_use]
pub fn source(key: &str, language: Language) -> Option<&'static str> {
    entries(language).get(key).map(String::as_str)
}

/// The sentence that a text makes. One whose entry or parameters are wrong shows its key and what is wrong, so that
/// nothing is lost; the tests rule that out.
#[must_use]
pub fn render(text: &Text, language: Language) -> String {
    make(text, language).unwrap_or_else(|error| {
        debug_assert!(false, "{}: {error:#}", text.key);
        format!("[{}: {error}]", text.key)
    })
}

/// As [`render`], for a text that comes from outside and may be wrong.
///
/// # Errors
/// If there is no such entry, or its parameters are others.
pub(crate) fn make(text: &Text, language: Language) -> Result<String, Error> {
    if text.key.is_empty() {
        return Ok(match text.param("words") {
            Some(Param::Word(words)) => words.clone(),
            _ => String::new(),
        });
    }
    if let (crate::SEVERAL, Some(Param::List(parts))) = (text.key.as_ref(), text.param("parts")) {
        let sentences: Result<Vec<String>, Error> =
            parts.iter().map(|part| value(part, language).map(|value| value.to_string())).collect();
        return Ok(sentences?.join(" "));
    }
    // An entry that a language lacks is English as a whole: half of a sentence in each helps nobody.
    let language = if entries(language).contains_key(text.key.as_ref()) { language } else { Language::English };
    let template = environment(language).get_template(&text.key)?;
    let params: Result<BTreeMap<&str, Value>, Error> =
        text.params.iter().map(|(name, param)| Ok((name.as_ref(), value(param, language)?))).collect();
    template.render(params?)
}

fn value(param: &Param, language: Language) -> Result<Value, Error> {
    Ok(match param {
        Param::Flag(flag) => (*flag).into(),
        Param::Count(count) => (*count).into(),
        Param::Integer(integer) => (*integer).into(),
        Param::Number(number) => (*number).into(),
        Param::Word(word) => word.as_str().into(),
        Param::List(list) => list.iter().map(|param| value(param, language)).collect::<Result<Vec<_>, _>>()?.into(),
        Param::Text(text) => make(text, language)?.into(),
        Param::None => ().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_korean_lacks_is_english_as_a_whole() {
        let own = crate::text!("report/condition/questioned", ids = vec!["F001", "F002"]);
        assert_eq!(render(&own, Language::Korean), "미확정. 먼저 F001, F002의 설명이 필요합니다.");
        assert!(keys(Language::Korean).count() > 40);
        let without = keys(Language::English)
            .filter(|key| !entries(Language::Korean).contains_key(*key))
            .find(|key| !source(key, Language::English).unwrap_or_default().contains('{'))
            .expect("an entry without Korean");
        let text = Text { key: without.into(), ..Text::default() };
        assert_eq!(render(&text, Language::Korean), source(without, Language::English).unwrap_or_default());
        let mut both = own;
        both.push(text.clone());
        let said = render(&both, Language::Korean);
        assert!(said.starts_with("미확정.") && said.ends_with(&text.english()), "{said}");
    }

    #[test]
    fn locales_have_languages() {
        for name in ["ko", "ko_KR.UTF-8", "ko-KR", "ko.UTF-8"] {
            assert_eq!(Language::of_locale(name), Language::Korean, "{name}");
        }
        for name in ["", "C", "POSIX", "en_GB.UTF-8", "kok_IN", "kok"] {
            assert_eq!(Language::of_locale(name), Language::English, "{name}");
        }
    }

    #[test]
    fn every_entry_is_a_template() {
        for language in [Language::English, Language::Korean] {
            for key in keys(language) {
                environment(language).get_template(key).unwrap_or_else(|error| panic!("{key}: {error:#}"));
            }
        }
    }
}
