//! What is said without a key: every slip of a user that the sources name, and every label of progress, has its Korean.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use scratchproof_texts::{Language, phrase};

#[allow(dead_code, reason = "other tests ask for more of it")]
#[path = "../../../tests/support/tokens.rs"]
mod tokens;

use tokens::{Token, tokens, walk};

/// Calls whose first literal reaches a person: what was asked and cannot be, talk beside a result, progress by phases.
const CALLS: [&[&str]; 4] = [&["Error", "::", "usage", "("], &["say", "("], &[".", "phase", "("], &[".", "begin", "("]];

/// Words that are said in both languages as they are: figures between names.
const NEUTRAL: [&str; 3] = ["{}: {}", "{pattern:?}: {why}", "{shown}{place}: {}"];

#[test]
fn every_slip_and_every_label_has_its_korean() {
    let mut missing = BTreeSet::new();
    let mut seen = 0;
    for path in sources() {
        let text = fs::read_to_string(&path).expect("a source");
        let all = tokens(&text);
        let code = before_tests(&all);
        for (at, _) in code.iter().enumerate() {
            let Some(words) = CALLS.iter().find_map(|call| called(&code[at..], call)) else { continue };
            seen += 1;
            let example = filled(&words);
            let known = NEUTRAL.contains(&words.as_str())
                || phrase(&example, Language::Korean) != example
                || example.chars().all(|c| !c.is_alphabetic() || c == 'x');
            if !known {
                missing.insert(format!("{}:{}: {words}", path.display(), code[at].line));
            }
        }
    }
    assert!(seen > 20, "{seen} sentences were found");
    assert!(missing.is_empty(), "{} have no Korean:\n{}", missing.len(), Vec::from_iter(missing).join("\n"));
}

/// The tests at the end of a file say nothing to a person.
fn before_tests<'a, 'b>(all: &'a [Token<'b>]) -> &'a [Token<'b>] {
    let tests = |window: &[Token<'_>]| window[0].text == "cfg" && window[1].text == "(" && window[2].text == "test";
    all.windows(3).position(tests).map_or(all, |at| &all[..at])
}

/// The literal that a call begins with, perhaps inside of `format!` or behind a `&`.
fn called(code: &[Token<'_>], call: &[&str]) -> Option<String> {
    let begins = code.len() > call.len() && call.iter().zip(code).all(|(wanted, token)| *wanted == token.text);
    let rest = begins.then(|| &code[call.len()..])?;
    let rest = if rest.first()?.text == "&" { &rest[1..] } else { rest };
    let rest = if rest.first()?.text == "format" { rest.get(3..)? } else { rest };
    let literal = rest.first()?.text.strip_prefix('"')?.strip_suffix('"')?;
    Some(plain(literal))
}

/// What a literal stands for.
fn plain(literal: &str) -> String {
    let mut words = String::new();
    let mut rest = literal.chars().peekable();
    while let Some(letter) = rest.next() {
        match (letter, rest.peek()) {
            ('\\', Some('\n')) => while rest.next_if(|next| next.is_whitespace()).is_some() {},
            ('\\', Some(_)) => words.extend(rest.next()),
            _ => words.push(letter),
        }
    }
    words
}

/// The sentence with a figure in every place; doubled braces are one.
fn filled(words: &str) -> String {
    let mut said = String::new();
    let mut rest = words.replace("{{", "\u{1}").replace("}}", "\u{2}");
    while let Some((before, after)) = rest.split_once('{') {
        said += before;
        let (place, behind) = after.split_once('}').unwrap_or((after, ""));
        said += if place.ends_with(":?") { "\"7\"" } else { "7" };
        rest = behind.to_owned();
    }
    (said + &rest).replace('\u{1}', "{").replace('\u{2}', "}")
}

fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths = Vec::new();
    walk(&root.join("src"), &mut paths);
    for room in fs::read_dir(root.join("crates")).expect("rooms") {
        walk(&room.expect("a room").path().join("src"), &mut paths);
    }
    paths.retain(|path| !path.to_string_lossy().contains("tests"));
    paths
}

#[test]
fn a_literal_is_read_as_it_is_said() {
    assert_eq!(plain("a \\\n   b \\\"c\\\""), "a b \"c\"");
    assert_eq!(filled("{a} of {b:?}, {{step}}"), "7 of \"7\", {step}");
    let code = tokens("return Err(Error::usage(format!(\"no {x}\"))); say(&format!(\"{y}\"));");
    let found: Vec<String> =
        (0..code.len()).filter_map(|at| CALLS.iter().find_map(|call| called(&code[at..], call))).collect();
    assert_eq!(found, ["no {x}", "{y}"]);
}
