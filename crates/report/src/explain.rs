//! What a code of findings means, whatever was found: for a terminal, for Markdown and as JSON.

use std::fmt::Write as _;

use anstyle::Style;
use scratchproof_finding::Code;
use scratchproof_texts::{Explanation, Language, Text, explanation, text};
use serde_json::json;

use super::terminal::{Look, Page};

/// The codes that a word means: the code itself, else every code with the word in it.
#[must_use]
pub fn codes(word: &str) -> Vec<Code> {
    let word = word.trim().to_ascii_lowercase();
    let all = Code::ALL.iter().copied();
    let named = |code: &Code| code.name() == word || code.name().split_once('/').is_some_and(|(_, what)| what == word);
    let exact: Vec<Code> = all.clone().filter(named).collect();
    if exact.is_empty() { all.filter(|code| code.name().contains(&word)).collect() } else { exact }
}

/// The parts, each with its heading.
pub(crate) fn parts(code: Code) -> Vec<(Text, Text)> {
    let Some(all) = explanation(code.name()) else { return Vec::new() };
    vec![
        (text!("report/explain/meaning"), all.meaning),
        (text!("report/explain/formula"), all.formula),
        (text!("report/explain/null"), all.null),
        (text!("report/explain/fools"), all.fools),
        (text!("report/explain/next"), all.next),
    ]
}

/// For a terminal.
#[must_use]
pub fn to_terminal(code: Code, look: Look) -> String {
    let mut page = Page::new(look);
    page.hanging(&format!("{}:", code.name()), Style::new().bold(), &code.title().say(look.language), 2);
    for (heading, words) in parts(code) {
        page.heading(&heading);
        page.paragraph(2, &words.say(look.language));
    }
    page.out
}

/// Every code with its title.
#[must_use]
pub fn list(look: Look) -> String {
    let mut page = Page::new(look);
    for code in Code::ALL {
        page.hanging(code.name(), Style::new().bold(), &code.title().say(look.language), 28);
    }
    page.out
}

/// For a pull request or a mail.
#[must_use]
pub fn to_markdown(code: Code, language: Language) -> String {
    let mut out = format!("## `{}`: {}\n", code.name(), code.title().say(language));
    for (heading, words) in parts(code) {
        let _ = write!(out, "\n**{}.** {}\n", heading.say(language), words.say(language));
    }
    out
}

/// As one JSON document, in English.
#[must_use]
pub fn to_json(code: Code) -> String {
    let all = explanation(code.name());
    let said = |part: fn(&Explanation) -> &Text| all.as_ref().map(|all| part(all).english());
    let document = json!({
        "code": code.name(),
        "title": code.title().english(),
        "meaning": said(|all| &all.meaning),
        "formula": said(|all| &all.formula),
        "null": said(|all| &all.null),
        "fools": said(|all| &all.fools),
        "next": said(|all| &all.next),
    });
    format!("{document:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_in_both_languages() {
        for &code in Code::ALL {
            for language in [Language::English, Language::Korean] {
                let said = to_terminal(code, Look { width: 60, language, ..Look::default() });
                assert!(said.lines().count() > 10, "{said}");
                assert!(said.lines().all(|line| crate::text::width(line) <= 60), "{said}");
                let hangul = said.chars().any(|c| ('가'..='힣').contains(&c));
                assert_eq!(hangul, language == Language::Korean, "{said}");
            }
            assert!(to_markdown(code, Language::Korean).contains(code.name()));
            let json: serde_json::Value = serde_json::from_str(&to_json(code)).expect("JSON");
            assert!(
                ["meaning", "formula", "null", "fools", "next"].iter().all(|part| json[part].is_string()),
                "{json}"
            );
        }
    }

    #[test]
    fn a_word_finds_its_codes() {
        assert_eq!(codes("chain/memory"), [Code::ChainMemory]);
        assert_eq!(codes("memory"), [Code::ChainMemory]);
        assert!(codes("head").len() > 2);
        assert!(codes("no such thing").is_empty());
    }
}
