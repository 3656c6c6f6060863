//! Sentences made from the entries of the text files.

use std::collections::BTreeMap;

use minijinja::Error;
use minijinja::value::Value;

use crate::entries::entries;
use crate::templates::environment;
use crate::{Language, Param, Text, phrase};

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
            Some(Param::Word(words)) => phrase(words, language),
            _ => String::new(),
        });
    }
    if let (crate::SEVERAL, Some(Param::List(parts))) = (text.key.as_ref(), text.param("parts")) {
        let sentences: Result<Vec<String>, Error> =
            parts.iter().map(|part| value(part, language).map(|value| value.to_string())).collect();
        return Ok(sentences?.join(" "));
    }
    let language = spoken(&text.key, language);
    let template = environment(language).get_template(&text.key)?;
    let params: Result<BTreeMap<&str, Value>, Error> =
        text.params.iter().map(|(name, param)| Ok((name.as_ref(), value(param, language)?))).collect();
    template.render(params?)
}

/// The language an entry is shown in. One that a language lacks is English as a whole: half of a sentence in each helps
/// nobody.
fn spoken(key: &str, language: Language) -> Language {
    if entries(language).contains_key(key) { language } else { Language::English }
}

fn value(param: &Param, language: Language) -> Result<Value, Error> {
    Ok(match param {
        Param::Flag(flag) => (*flag).into(),
        Param::Count(count) => (*count).into(),
        Param::Integer(integer) => (*integer).into(),
        Param::Number(number) => (*number).into(),
        Param::Word(word) => phrase(word, language).into(),
        Param::List(list) => list.iter().map(|param| value(param, language)).collect::<Result<Vec<_>, _>>()?.into(),
        Param::Text(text) => make(text, language)?.into(),
        Param::None => ().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;

    #[test]
    fn an_entry_that_a_language_lacks_is_english() {
        assert_eq!(spoken("report/foot/seal", Language::Korean), Language::Korean);
        assert_eq!(spoken("report/foot/none", Language::Korean), Language::English);
        let own = crate::text!("report/condition/questioned", ids = vec!["F001", "F002"]);
        assert_eq!(render(&own, Language::Korean), "확정되지 않았습니다. 먼저 F001, F002에 대한 설명이 필요합니다.");
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
