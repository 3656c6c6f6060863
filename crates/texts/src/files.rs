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

/// The files, by the first part of their keys.
const ENGLISH: &[(&str, &str)] = &[
    ("attest", include_str!("../en/attest.toml")),
    ("chain", include_str!("../en/chain.toml")),
    ("checkpoint", include_str!("../en/checkpoint.toml")),
    ("input", include_str!("../en/input.toml")),
    ("parent", include_str!("../en/parent.toml")),
    ("power", include_str!("../en/power.toml")),
    ("report", include_str!("../en/report.toml")),
    ("scan", include_str!("../en/scan.toml")),
    ("start", include_str!("../en/start.toml")),
    ("time", include_str!("../en/time.toml")),
    ("title", include_str!("../en/title.toml")),
    ("verdict", include_str!("../en/verdict.toml")),
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
        let files = match language {
            Language::English | Language::Korean => ENGLISH,
        };
        let mut all = BTreeMap::new();
        for (file, text) in files {
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
    fn every_entry_is_a_template() {
        for language in [Language::English, Language::Korean] {
            for key in keys(language) {
                environment(language).get_template(key).unwrap_or_else(|error| panic!("{key}: {error:#}"));
            }
        }
    }
}
