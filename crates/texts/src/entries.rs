//! The text files and their entries.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::Text;

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
    "error",
    "error-attest",
    "error-audit",
    "error-case",
    "error-checkpoint",
    "error-cli",
    "error-evidence",
    "error-fingerprint",
    "error-folder",
    "error-init",
    "error-measure",
    "error-record",
    "error-replay",
    "error-report",
    "error-source",
    "error-store",
    "error-timeline",
    "explain",
    "init",
    "input",
    "inspect",
    "page",
    "parent",
    "power",
    "profile",
    "report",
    "scan",
    "start",
    "term",
    "time",
    "title",
    "verdict",
];

/// All entries of a language, by key.
pub(crate) fn entries(language: Language) -> &'static BTreeMap<String, String> {
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

/// A word that stands alone, in a language: `section` is one of those of `term.toml`. The word itself where it has no entry.
#[must_use]
pub fn term(section: &str, word: &str, language: Language) -> String {
    entries(language).get(&format!("term/{section}/{word}")).map_or_else(|| word.to_owned(), Clone::clone)
}

/// What there is to say of a code of findings, whatever was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What it means.
    pub meaning: Text,
    /// How the figure is computed.
    pub formula: Text,
    /// What the figure is held against.
    pub null: Text,
    /// What looks alike and is honest, and what hides from it.
    pub fools: Text,
    /// What an honest developer does next.
    pub next: Text,
}

/// The explanation of a code such as `chain/memory`.
#[must_use]
pub fn explanation(code: &str) -> Option<Explanation> {
    let section = code.replacen('/', "-", 1);
    let part = |name: &str| {
        let key = format!("explain/{section}/{name}");
        entries(Language::English).contains_key(&key).then(|| Text { key: key.into(), ..Text::default() })
    };
    Some(Explanation {
        meaning: part("meaning")?,
        formula: part("formula")?,
        null: part("null")?,
        fools: part("fools")?,
        next: part("next")?,
    })
}

/// An entry as it stands in its file.
#[must_use]
pub fn source(key: &str, language: Language) -> Option<&'static str> {
    entries(language).get(key).map(String::as_str)
}
