//! Holds the text files and the sources to each other: every key that a `text!` names has its entry, every entry is named,
//! both have the same parameters, and every code of a finding has its title and is made where texts are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use minijinja::Environment;
use scratchproof_texts::{Language, explanation, keys, source};

#[path = "../../../tests/support/tokens.rs"]
mod tokens;

use tokens::{Token, item, tokens, walk};

/// Where the codes of findings stand, and the texts of their titles are made.
const CODES: &str = "finding/src/code.rs";

/// One `text!`.
#[derive(Debug, PartialEq)]
struct Use {
    key: String,
    params: BTreeSet<String>,
    line: usize,
}

#[test]
fn every_key_has_an_entry_and_every_entry_is_used() {
    let entries: BTreeSet<&str> = keys(Language::English).collect();
    assert!(entries.len() > 300, "the text files were not found");
    let mut wrong = BTreeSet::new();
    let mut used = BTreeSet::new();
    for (path, text) in sources() {
        for Use { key, line, .. } in uses(&text) {
            if !entries.contains(key.as_str()) {
                wrong.insert(format!("{path}:{line} names {key}, which has no entry"));
            }
            used.insert(key);
        }
    }
    for (path, key) in in_templates() {
        let plain = source(&key, Language::English).is_some_and(|entry| wanted(entry).is_empty());
        if !plain {
            wrong.insert(format!("{path} names {key}, which has no entry or one with parameters"));
        }
        used.insert(key);
    }
    for (_, name) in codes() {
        let title = format!("title/{name}");
        if !entries.contains(title.as_str()) {
            wrong.insert(format!("{name} has no title"));
        }
        used.insert(title);
        for part in ["meaning", "formula", "null", "fools", "next"] {
            used.insert(format!("explain/{}/{part}", name.replacen('/', "-", 1)));
        }
        if explanation(&name).is_none() {
            wrong.insert(format!("{name} is not explained"));
        }
    }
    // Words that stand alone are looked up by what they are called.
    used.extend(entries.iter().filter(|key| key.starts_with("term/")).map(ToString::to_string));
    wrong.extend(entries.iter().filter(|key| !used.contains(**key)).map(|key| format!("{key} is never used")));
    assert!(wrong.is_empty(), "{}", list(&wrong));
}

#[test]
fn every_use_gives_the_parameters_that_its_entry_names() {
    let named: BTreeMap<&str, BTreeSet<String>> =
        keys(Language::English).map(|key| (key, wanted(source(key, Language::English).unwrap_or_default()))).collect();
    let mut wrong = BTreeSet::new();
    for (path, text) in sources() {
        for Use { key, params, line } in uses(&text) {
            let Some(named) = named.get(key.as_str()) else { continue };
            let differ: Vec<&String> = named.symmetric_difference(&params).collect();
            if !differ.is_empty() {
                wrong.insert(format!("{path}:{line} {key}: {differ:?} is given or named, not both"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", list(&wrong));
}

/// A key that is put together would be out of sight of the other tests.
#[test]
fn no_key_is_put_together() {
    let mut wrong = BTreeSet::new();
    for (path, text) in sources() {
        for token in code(&text) {
            if in_files(token.text) && token.text.contains(['{', '}']) {
                wrong.insert(format!("{path}:{} puts together {}", token.line, token.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", list(&wrong));
}

/// Where an error begins, and where one of its places does.
const ERRORS: [&[&str]; 5] = [
    &["Error", "::", "usage", "("],
    &["Error", "::", "input", "("],
    &["Error", "::", "refused", "("],
    &["Error", "::", "io", "("],
    &[".", "context", "("],
];

/// What goes wrong is said in the reader's language: an error that is words alone would be English to everybody.
#[test]
fn no_error_is_words_alone() {
    let mut wrong = BTreeSet::new();
    for (path, text) in sources() {
        let tokens = code(&text);
        for at in 0..tokens.len() {
            let begins = |call: &&&[&str]| call.iter().zip(&tokens[at..]).all(|(word, token)| *word == token.text);
            let Some(call) = ERRORS.iter().find(begins) else { continue };
            let mut rest = tokens[at + call.len()..].iter().map(|token| token.text);
            let literal = rest.find(|word| !matches!(*word, "|" | "||" | "&" | "format" | "!" | "(" | "move"));
            if literal.is_some_and(is_sentence) {
                wrong.insert(format!("{path}:{} says {}", tokens[at].line, literal.unwrap_or_default()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", list(&wrong));
}

/// Whether a literal holds words of a language, and not names and places to be filled alone.
fn is_sentence(literal: &str) -> bool {
    let mut depth = 0_usize;
    let outside = literal.strip_prefix('"').unwrap_or_default().trim_end_matches('"').chars().filter(|c| {
        depth = if *c == '{' { depth + 1 } else { depth };
        let kept = depth == 0;
        depth = if *c == '}' { depth.saturating_sub(1) } else { depth };
        kept
    });
    let outside: String = outside.collect();
    let word = |word: &str| word.len() > 1 && word.chars().all(|c| c.is_ascii_lowercase());
    outside.split([' ', ':', ',', ';']).filter(|part| word(part)).count() > 1
}

/// A Korean entry stands for an English one and has nothing else to fill in.
#[test]
fn both_languages_have_the_same_entries_with_the_same_parameters() {
    let parameters = |key, language| wanted(source(key, language).unwrap_or_default());
    let mut wrong = BTreeSet::new();
    for key in keys(Language::Korean) {
        if source(key, Language::English).is_none() {
            wrong.insert(format!("{key} is in no English file"));
        } else if parameters(key, Language::English) != parameters(key, Language::Korean) {
            wrong.insert(format!("{key} has other parameters in Korean"));
        }
    }
    for key in keys(Language::English) {
        if source(key, Language::Korean).is_none() {
            wrong.insert(format!("{key} has no Korean"));
        }
    }
    assert!(keys(Language::Korean).count() > 40, "the Korean files were not found");
    assert!(wrong.is_empty(), "{}", list(&wrong));
}

#[test]
fn every_code_is_made_where_texts_are() {
    let mut made = BTreeSet::new();
    for (path, text) in sources() {
        if path.ends_with(CODES) || uses(&text).is_empty() {
            continue;
        }
        let tokens = code(&text);
        let named =
            tokens.windows(4).filter(|w| w[0].text == "Code" && w[1].text == "::").map(|w| w[2].text.to_owned());
        made.extend(named);
    }
    let lacking: BTreeSet<String> =
        codes().into_iter().map(|(variant, _)| variant).filter(|variant| !made.contains(variant)).collect();
    assert!(lacking.is_empty(), "codes without a text:{}", list(&lacking));
}

/// The codes of findings: variant and name.
fn codes() -> Vec<(String, String)> {
    let sources = sources();
    let (_, text) = sources.iter().find(|(path, _)| path.ends_with(CODES)).expect("the codes");
    let words: Vec<&str> = code(text).iter().map(|token| token.text).collect();
    let start = words.windows(3).position(|w| w == ["codes", "!", "{"]).expect("the list of codes") + 3;
    let listed = words[start..].split(|word| *word == ",").take_while(|item| item.len() == 2);
    let codes: Vec<_> = listed.map(|item| (item[0].to_owned(), item[1].trim_matches('"').to_owned())).collect();
    assert!(codes.len() > 80, "the codes were not found");
    codes
}

fn list(lines: &BTreeSet<String>) -> String {
    lines.iter().fold(String::new(), |all, line| all + "\n" + line)
}

/// What an entry asks for.
fn wanted(entry: &str) -> BTreeSet<String> {
    let mut environment = Environment::new();
    environment.add_template("entry", entry).expect("a template");
    environment.get_template("entry").expect("a template").undeclared_variables(false).into_iter().collect()
}

/// The sources of every crate but this one, and of the program.
fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths: Vec<PathBuf> = Vec::new();
    walk(&root.join("src"), &mut paths);
    for entry in fs::read_dir(root.join("crates")).expect("the folder of crates") {
        let entry = entry.expect("an entry");
        if entry.file_name() != "texts" {
            walk(&entry.path().join("src"), &mut paths);
        }
    }
    assert!(paths.len() > 200, "the sources were not found");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file");
        let name = path.strip_prefix(&root).expect("a path below the root").to_str().expect("a plain name").to_owned();
        (name, text)
    };
    paths.into_iter().filter(|path| !path.ends_with("tests.rs")).map(read).collect()
}

/// The keys that the templates of pages name, with the file: those whose every part stands there.
fn in_templates() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../report/src/html");
    let mut named = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of templates") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "html") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a template");
        let literals = text.split('"');
        let keys = literals.filter(|word| in_files(&format!("\"{word}\"")) && !word.ends_with('/'));
        named.extend(keys.map(|key| (path.display().to_string(), key.to_owned())));
    }
    assert!(named.len() > 50, "the templates were not found");
    named
}

/// The tokens without what is only for tests.
fn code(text: &str) -> Vec<Token<'_>> {
    let all = tokens(text);
    let mut kept = Vec::new();
    let mut at = 0;
    while at < all.len() {
        let test = ["#", "[", "cfg", "(", "test", ")", "]"];
        if test.iter().enumerate().all(|(i, part)| all.get(at + i).is_some_and(|token| token.text == *part)) {
            at = item(&all, at + test.len());
        } else {
            kept.push(all[at]);
            at += 1;
        }
    }
    kept
}

/// Whether a literal begins as a key does.
fn in_files(literal: &str) -> bool {
    let mut parts = literal.trim_matches('"').split('/');
    let file = parts.next().unwrap_or_default();
    literal.starts_with('"')
        && parts.count() == 2
        && keys(Language::English).any(|key| key.split('/').next() == Some(file))
}

/// Every `text!` of a source, and every key that stands elsewhere, which has no parameters.
fn uses(source: &str) -> Vec<Use> {
    let tokens = code(source);
    let word = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut all = Vec::new();
    for at in 0..tokens.len() {
        let is_macro = word(at) == "text" && word(at + 1) == "!" && word(at + 2) == "(";
        if !is_macro {
            if in_files(word(at)) && (at < 3 || word(at - 3) != "text" || word(at - 2) != "!") {
                let key = word(at).trim_matches('"').to_owned();
                all.push(Use { key, params: BTreeSet::new(), line: tokens[at].line });
            }
            continue;
        }
        let key = word(at + 3).trim_matches('"').to_owned();
        let mut params = BTreeSet::new();
        let (mut depth, mut next) = (1, at + 4);
        while depth > 0 && next < tokens.len() {
            match word(next) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                // A name after a comma of the macro's own. Those inside of `|a, b|` or `<A, B>` are no parameters: none
                // is followed by `=`, `,` or the end where the grammar of the macro wants it, and no text has them.
                "," if depth == 1 && matches!(word(next + 2), "=" | "," | ")") && word(next + 1) != ")" => {
                    params.insert(word(next + 1).to_owned());
                }
                _ => {}
            }
            next += 1;
        }
        all.push(Use { key, params, line: tokens[at].line });
    }
    all
}

#[test]
fn a_sentence_is_told_from_names() {
    for sentence in ["\"no such file\"", "\"{name}: the file has {n} bytes\""] {
        assert!(is_sentence(sentence), "{sentence}");
    }
    for name in ["\"{}: {CONFIG}\"", "\"merges.txt\"", "\"{uri} {n}\"", "place"] {
        assert!(!is_sentence(name), "{name}");
    }
}

#[test]
fn the_reader_sees_what_the_macro_does() {
    let source = r#"
fn f() {
    let one = text!("a/b/c", count, of = g(x, |a| a, [1, 2]), last = text!("a/b/d", inner = 3),);
    // text!("a/b/comment")
    "text!(\"a/b/quoted\")"
    const OTHER: Text = Text::new("chain/b/alone");
}
#[cfg(test)]
mod tests { fn f() { text!("a/b/test") } }
"#;
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let expected = [
        Use { key: "a/b/c".into(), params: set(&["count", "of", "last"]), line: 3 },
        Use { key: "a/b/d".into(), params: set(&["inner"]), line: 3 },
        Use { key: "chain/b/alone".into(), params: set(&[]), line: 6 },
    ];
    assert_eq!(uses(source), expected);
    assert_eq!(wanted("{{ a|f(b) }}{% if c %}{{ d.e }}{% endif %}"), set(&["a", "b", "c", "d"]));
}
