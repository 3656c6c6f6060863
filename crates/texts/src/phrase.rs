//! Words that come without a key, from English to Korean: those of readers by `ko/phrases.toml`, and the sentences of
//! errors, which a report holds in English, by the entries that made them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use toml::Table;

use crate::entries::entries;
use crate::templates::environment;
use crate::{Language, particle};

const PHRASES: &str = include_str!("../ko/phrases.toml");
const HELP: &str = include_str!("../ko/help.toml");
/// Longer words are no phrase, and are not searched through.
const LONGEST: usize = 2000;

/// How particles of two forms are written in the file, and their pair.
const FORMS: [(&str, &str); 4] = [("은(는)", "은/는"), ("이(가)", "이/가"), ("을(를)", "을/를"), ("와(과)", "과/와")];

/// Files whose sentences begin with this are those of errors.
const ERRORS: &str = "error-";
/// A sentence of an error with fewer letters of its own could be anything.
const FEWEST: usize = 12;

/// An English phrase as the pieces between its places, with the names of these, and the Korean one.
struct Phrase {
    pieces: Vec<String>,
    names: Vec<String>,
    korean: Korean,
}

enum Korean {
    /// With its places in braces.
    Words(String),
    /// The entry that makes it.
    Entry(&'static str),
}

fn phrases() -> &'static [Phrase] {
    static ALL: OnceLock<Vec<Phrase>> = OnceLock::new();
    ALL.get_or_init(|| {
        let table: Table = toml::from_str(PHRASES).unwrap_or_default();
        let all = table.get("phrases").and_then(toml::Value::as_table);
        debug_assert!(all.is_some_and(|all| !all.is_empty()), "ko/phrases.toml");
        let phrase = |(english, korean): (&String, &toml::Value)| {
            let (pieces, names) = split(english);
            Some(Phrase { pieces, names, korean: Korean::Words(korean.as_str()?.to_owned()) })
        };
        let mut all: Vec<Phrase> = all.into_iter().flatten().filter_map(phrase).collect();
        all.extend(entries(Language::English).iter().filter_map(|(key, english)| of_error(key, english)));
        // The one with the most words of its own fits best.
        all.sort_by_key(|phrase| std::cmp::Reverse(phrase.pieces.iter().map(String::len).sum::<usize>()));
        all
    })
}

/// The sentence of an error as a phrase, if it is nothing but words and what is filled in.
fn of_error(key: &'static str, english: &str) -> Option<Phrase> {
    let bare = english.replace("{{", "").replace("}}", "");
    if !key.starts_with(ERRORS) || bare.contains(['{', '|', '%']) || !entries(Language::Korean).contains_key(key) {
        return None;
    }
    let (pieces, names) = split(&english.replace("{{ ", "{").replace(" }}", "}"));
    let own = pieces.iter().flat_map(|piece| piece.chars()).filter(|c| c.is_alphabetic()).count();
    (own >= FEWEST).then_some(Phrase { pieces, names, korean: Korean::Entry(key) })
}

fn split(english: &str) -> (Vec<String>, Vec<String>) {
    let (mut pieces, mut names) = (Vec::new(), Vec::new());
    let mut rest = english;
    while let Some((before, name, behind)) = next_place(rest) {
        pieces.push(before.to_owned());
        names.push(name.to_owned());
        rest = behind;
    }
    pieces.push(rest.to_owned());
    (pieces, names)
}

/// A paragraph of the help of the command line in a language, from `ko/help.toml`; line breaks are not looked at. `None` where
/// there is none, and in English.
#[must_use]
pub fn help(english: &str, language: Language) -> Option<&'static str> {
    static ALL: OnceLock<Table> = OnceLock::new();
    if language == Language::English {
        return None;
    }
    let all = ALL.get_or_init(|| toml::from_str(HELP).unwrap_or_default());
    let words = english.split_whitespace().collect::<Vec<_>>().join(" ");
    all.get("help")?.get(&words)?.as_str()
}

/// Words in a language: those of a known phrase, else as they are. Behind any `: ` a phrase may begin: errors name their places
/// first.
#[must_use]
pub fn phrase(words: &str, language: Language) -> String {
    if language == Language::English || words.len() > LONGEST {
        return words.to_owned();
    }
    korean(words).or_else(|| tail(words)).unwrap_or_else(|| words.to_owned())
}

fn tail(words: &str) -> Option<String> {
    words.match_indices(": ").find_map(|(at, colon)| {
        let after = korean(&words[at + colon.len()..])?;
        let places = words[..at].split(colon).map(|place| korean(place).unwrap_or_else(|| place.to_owned()));
        Some(places.chain([after]).collect::<Vec<_>>().join(colon))
    })
}

fn korean(words: &str) -> Option<String> {
    phrases().iter().find_map(|phrase| {
        let found = fit(words, &phrase.pieces)?;
        let places: Vec<(&str, &str)> = phrase.names.iter().map(String::as_str).zip(found).collect();
        let number = |(name, value): &(&str, &str)| *name != "n" || value.bytes().all(|b| b.is_ascii_digit());
        match &phrase.korean {
            Korean::Words(korean) => places.iter().all(number).then(|| filled(korean, &places)),
            Korean::Entry(key) => {
                let value = |(name, value): (&str, &str)| (name.to_owned(), crate::phrase(value, Language::Korean));
                let values: BTreeMap<String, String> = places.into_iter().map(value).collect();
                environment(Language::Korean).get_template(key).ok()?.render(values).ok()
            }
        }
    })
}

/// The Korean phrase with its places filled, piece by piece: what is filled in is text, whatever is in it.
fn filled(korean_phrase: &str, places: &[(&str, &str)]) -> String {
    let mut said = String::new();
    let mut rest = korean_phrase;
    while let Some((before, name, behind)) = next_place(rest) {
        said.push_str(before);
        let value = places.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| *value);
        // What stands in a place may be a phrase itself: an interval of time.
        let value = korean(value).unwrap_or_else(|| value.to_owned());
        said.push_str(&value);
        let form = FORMS.iter().find(|(written, _)| behind.starts_with(written));
        rest = behind;
        if let Some((written, pair)) = form {
            said.push_str(particle::after(&value, pair).unwrap_or_default());
            rest = &behind[written.len()..];
        }
    }
    said + rest
}

fn next_place(text: &str) -> Option<(&str, &str, &str)> {
    let (before, after) = text.split_once('{')?;
    let (name, behind) = after.split_once('}')?;
    Some((before, name, behind))
}

/// What stands in the places between the pieces, each as short as can be.
fn fit<'a>(words: &'a str, pieces: &[String]) -> Option<Vec<&'a str>> {
    let (first, rest) = pieces.split_first()?;
    let mut left = words.strip_prefix(first.as_str())?;
    let Some((last, inner)) = rest.split_last() else { return left.is_empty().then(Vec::new) };
    let mut found = Vec::new();
    for piece in inner {
        let at = left.find(piece.as_str()).filter(|at| *at > 0)?;
        found.push(&left[..at]);
        left = &left[at + piece.len()..];
    }
    let value = left.strip_suffix(last.as_str()).filter(|value| !value.is_empty())?;
    found.push(value);
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_readers_are_said_in_korean() {
        let said = |words: &str| phrase(words, Language::Korean);
        assert_eq!(said("run 8mnka2ol reached step 200"), "학습 8mnka2ol의 스텝 200 도달");
        assert_eq!(
            said("../m/control-phi: shape [4, 64] against [6, 64]"),
            "../m/control-phi: 형태 [4, 64], 상대 [6, 64]"
        );
        assert_eq!(said("made 2.5 days after it was committed"), "커밋 2.5일 뒤에 작성됨");
        assert_eq!(said("words that nobody knows"), "words that nobody knows");
        assert_eq!(phrase("all zero", Language::English), "all zero");
        assert_eq!(said(""), "");
        assert_eq!(
            said("m/x: the file has 5 bytes, too few for a safetensors file"),
            "m/x: 파일이 5바이트로, safetensors 파일로는 너무 짧습니다"
        );
        assert_eq!(said("é: all zero"), "é: 모두 0");
        assert_eq!(
            said("{b} line 3: [run] must be [[run]]: there may be several"),
            "{b} 3행: [run]은 [[run]]로 적어야 합니다. 여러 개일 수 있습니다"
        );
    }

    #[test]
    fn every_phrase_says_what_it_is_given_and_is_found() {
        for phrase in phrases() {
            if let Korean::Words(korean) = &phrase.korean {
                for name in &phrase.names {
                    assert!(korean.contains(&format!("{{{name}}}")), "{korean}");
                }
            }
            let example: String = phrase.pieces.join("7");
            assert_ne!(super::phrase(&example, Language::Korean), example, "{example}");
        }
    }
}
