//! Holds the text files and the sources to each other: every key that a `text!` names has its entry, every entry is named,
//! and both have the same parameters.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use minijinja::Environment;
use scratchproof_texts::{Language, keys, source};

#[path = "../../../tests/support/tokens.rs"]
mod tokens;

use tokens::{Token, item, tokens, walk};

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
    assert!(entries.len() > 100, "the text files were not found");
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

/// A key that is put together, or a parameter that is added later, would be out of sight of the other tests.
#[test]
fn texts_are_made_by_the_macro_only() {
    let mut wrong = BTreeSet::new();
    for (path, text) in sources() {
        let tokens = code(&text);
        for (at, token) in tokens.iter().enumerate() {
            let is = |words: &[&str]| {
                words.iter().enumerate().all(|(i, w)| tokens.get(at + i).is_some_and(|t| t.text == *w))
            };
            if is(&["Text", "::", "new", "("]) && !path.ends_with("finding/src/code.rs") {
                wrong.insert(format!("{path}:{} makes a text without the macro", token.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", list(&wrong));
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

/// Every `text!` of a source.
fn uses(source: &str) -> Vec<Use> {
    let tokens = code(source);
    let word = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut all = Vec::new();
    for at in (0..tokens.len()).filter(|&at| word(at) == "text" && word(at + 1) == "!" && word(at + 2) == "(") {
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
fn the_reader_sees_what_the_macro_does() {
    let source = r#"
fn f() {
    let one = text!("a/b/c", count, of = g(x, |a| a, [1, 2]), last = text!("a/b/d", inner = 3),);
    // text!("a/b/comment")
    "text!(\"a/b/quoted\")"
}
#[cfg(test)]
mod tests { fn f() { text!("a/b/test") } }
"#;
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let expected = [
        Use { key: "a/b/c".into(), params: set(&["count", "of", "last"]), line: 3 },
        Use { key: "a/b/d".into(), params: set(&["inner"]), line: 3 },
    ];
    assert_eq!(uses(source), expected);
    assert_eq!(wanted("{{ a|f(b) }}{% if c %}{{ d.e }}{% endif %}"), set(&["a", "b", "c", "d"]));
}
