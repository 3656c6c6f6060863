//! Holds the layout to its rules: who may use whom, how long a file may be, where `unsafe` may stand.
//!
//! The sources are read as tokens; code under `#[cfg(test)]` may use anything and be of any length.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

#[path = "support/circles.rs"]
mod circles;
#[path = "support/tokens.rs"]
mod tokens;

use circles::Source;
use tokens::{Token, item, tokens, walk};

/// The modules from top to bottom. A module uses those of the rows above its own and nothing else.
const ROWS: &[&[&str]] = &[
    &["texts"],
    &["error"],
    &["case", "folder", "kernel", "source"],
    &["checkpoint", "record"],
    &["init", "timeline", "stats"],
    &["measurements"],
    &["disguise", "replay", "plan"],
    &["fingerprint"],
    &["measure"],
    &["evidence", "store"],
    &["finding"],
    &["facts", "report"],
    &["attest"],
    &["audit"],
    &["cli"],
    &["main"],
];

/// What is forbidden although it stands above: a report computes nothing and reads nothing.
const FORBIDDEN: &[(&str, &str)] = &[("report", "kernel"), ("report", "plan"), ("report", "source")];

/// The only files that may say `unsafe`, each with the reason beside the word.
const UNSAFE: &[&str] = &["kernel/sha256.rs", "kernel/simd.rs", "record/git/open.rs"];

/// Lines that hold code, at most; longer files are split by thought.
const LONGEST: usize = 600;

#[test]
fn modules_use_only_what_stands_above_them() {
    let row = |module: &str| ROWS.iter().position(|row| row.contains(&module));
    let mut wrong = BTreeSet::new();
    for (path, file) in sources() {
        let Some(module) = file.module.first().map(String::as_str).filter(|&module| module != "lib") else { continue };
        let Some(own) = row(module) else {
            wrong.insert(format!("{path}: the module `{module}` is not in the table"));
            continue;
        };
        for (used, line) in &file.uses {
            let forbidden = FORBIDDEN.contains(&(module, used.as_str()));
            if used != module && (forbidden || row(used).is_some_and(|row| row >= own)) {
                wrong.insert(format!("{path}:{line}: `{module}` may not use `{used}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", list(&wrong));
}

#[test]
fn no_files_need_each_other() {
    let files = texts();
    let modules: BTreeSet<Vec<String>> = files.keys().cloned().collect();
    let read: Vec<Source> = files.into_iter().map(|(module, text)| Source::read(module, &text, &modules)).collect();
    let needs = circles::needs(&read);
    let shown = |module: &Vec<String>| module.join("::");
    let mut wrong = BTreeSet::new();
    for circle in circles::circles(&needs) {
        let inside = |module: &Vec<String>| {
            needs[module].iter().filter(|used| circle.contains(*used)).map(shown).collect::<Vec<_>>()
        };
        wrong.extend(circle.iter().map(|module| format!("{} needs {}", shown(module), inside(module).join(", "))));
        wrong.insert(String::from("--"));
    }
    assert!(wrong.is_empty(), "{}", list(&wrong));
}

/// The rooms that judge: they see values alone, so that the same values are judged the same wherever the weights are.
const JUDGES: &[&str] = &["facts", "finding"];

#[test]
fn what_judges_opens_no_file() {
    let files = texts();
    let modules: BTreeSet<Vec<String>> = files.keys().cloned().collect();
    let read: Vec<Source> = files.into_iter().map(|(module, text)| Source::read(module, &text, &modules)).collect();
    let wrong = openings(&read);
    assert!(wrong.is_empty(), "{}", list(&wrong));
}

/// Files of the judging rooms that can open something themselves, or name what stands in a file that can.
fn openings(read: &[Source]) -> BTreeSet<String> {
    let opens: BTreeSet<&Vec<String>> =
        read.iter().filter(|source| source.opens).map(|source| &source.module).collect();
    let needs = circles::needs(read);
    let mut wrong = BTreeSet::new();
    for (module, used) in &needs {
        if !JUDGES.contains(&module[0].as_str()) {
            continue;
        }
        if opens.contains(module) {
            wrong.insert(format!("{} can open a file", module.join("::")));
        }
        for used in used.iter().filter(|used| opens.contains(used)) {
            wrong.insert(format!("{} uses {}, which can open a file", module.join("::"), used.join("::")));
        }
    }
    wrong
}

#[test]
fn an_opening_is_seen_behind_a_name_that_is_passed_on() {
    let files = [
        (&["record"][..], "mod values; mod reading; pub use reading::read; pub use values::Value;"),
        (&["record", "values"], "pub struct Value; #[cfg(test)] mod tests { use std::fs; }"),
        (&["record", "reading"], "use std::{fs::File, io}; pub fn read() -> impl Iterator + use<'a> { File::open(1) }"),
        (&["record", "repository"], "pub fn open() { git2::Repository::open(2) }"),
        (&["facts"], "use scratchproof_record::Value;"),
        (&["facts", "own"], "use scratchproof_record::{Value, read};"),
        (&["finding"], "fn f() { scratchproof_record::repository::open() }"),
        (&["finding", "own"], "fn f() { std::fs::read(3) }"),
        (&["audit"], "use std::fs; use scratchproof_record::read;"),
    ];
    let module = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
    let modules: BTreeSet<Vec<String>> = files.iter().map(|(parts, _)| module(parts)).collect();
    let read: Vec<Source> = files.iter().map(|(parts, text)| Source::read(module(parts), text, &modules)).collect();
    let expected = [
        "facts::own uses record::reading, which can open a file",
        "finding uses record::repository, which can open a file",
        "finding::own can open a file",
    ];
    assert_eq!(openings(&read), expected.map(ToString::to_string).into());
}

#[test]
fn no_file_is_too_long() {
    let long: BTreeSet<String> = sources()
        .into_iter()
        .filter(|(_, file)| file.lines > LONGEST)
        .map(|(path, file)| format!("{path}: {} lines of code, {LONGEST} allowed", file.lines))
        .collect();
    assert!(long.is_empty(), "{}", list(&long));
}

#[test]
fn unsafe_stands_only_where_it_may() {
    let files: BTreeSet<String> =
        sources().into_iter().filter(|(_, file)| file.says_unsafe).map(|(path, _)| path).collect();
    let allowed: BTreeSet<String> = UNSAFE.iter().map(ToString::to_string).collect();
    assert_eq!(files, allowed, "the files that say `unsafe` against those that may");
}

fn list(lines: &BTreeSet<String>) -> String {
    lines.iter().fold(String::new(), |all, line| all + "\n" + line)
}

/// What is asked of one file.
#[derive(Default, Debug, PartialEq)]
struct File {
    /// Its place in the tree of modules.
    module: Vec<String>,
    /// Modules of the first level that its code names, with the line.
    uses: BTreeSet<(String, usize)>,
    /// Files that are only for tests.
    tests: Vec<Vec<String>>,
    /// Lines with code.
    lines: usize,
    /// Whether `unsafe` stands anywhere, tests included.
    says_unsafe: bool,
}

/// The files of every crate below `crates` and of the program, without those that are only for tests. A crate's name is
/// the first part of its modules'.
fn sources() -> BTreeMap<String, File> {
    let mut files: BTreeMap<String, File> =
        found().into_iter().map(|(path, (module, text))| (path, read(module, &text))).collect();
    let tests: Vec<Vec<String>> = files.values().flat_map(|file| file.tests.clone()).collect();
    files.retain(|_, file| !tests.iter().any(|test| file.module.starts_with(test)));
    files
}

/// The text of each file by its module, a crate's name first; the program's own is `scratchproof`.
fn texts() -> BTreeMap<Vec<String>, String> {
    let kept: BTreeSet<String> = sources().into_keys().collect();
    let own = |(path, (mut module, text)): (String, (Vec<String>, String))| {
        if !path.contains('/') || path.starts_with("cli/") {
            module.insert(0, "scratchproof".to_owned());
            module.pop_if(|last| last == "lib");
        }
        kept.contains(&path).then_some((module, text))
    };
    found().into_iter().filter_map(own).collect()
}

/// By path, module and text.
fn found() -> BTreeMap<String, (Vec<String>, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut rooms = vec![(String::new(), root.join("src"))];
    for entry in fs::read_dir(root.join("crates")).expect("the folder of crates") {
        let entry = entry.expect("an entry");
        rooms.push((entry.file_name().into_string().expect("a plain name"), entry.path().join("src")));
    }
    let mut files = BTreeMap::new();
    for (room, folder) in rooms {
        let mut paths = Vec::new();
        walk(&folder, &mut paths);
        for path in paths {
            let name = path.strip_prefix(&folder).expect("a path below src").to_str().expect("a plain name");
            let within = name.trim_end_matches(".rs").split('/').map(Into::into);
            let mut module: Vec<String> =
                std::iter::once(room.clone()).filter(|room| !room.is_empty()).chain(within).collect();
            module.pop_if(|last| last == "mod" || (last == "lib" && !room.is_empty()));
            let shown = if room.is_empty() { name.to_owned() } else { format!("{room}/{name}") };
            files.insert(shown, (module, fs::read_to_string(path).expect("a source file")));
        }
    }
    assert!(files.len() > 200, "the sources were not found");
    files
}

fn read(module: Vec<String>, text: &str) -> File {
    let tokens = tokens(text);
    let word = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut file = File { module, says_unsafe: tokens.iter().any(|token| token.text == "unsafe"), ..File::default() };
    let mut lines = BTreeSet::new();
    // Names of the modules that are open in the file itself, with the depth of their brace.
    let mut inline: Vec<(&str, usize)> = Vec::new();
    let (mut at, mut depth) = (0, 0);
    while at < tokens.len() {
        let place = || file.module.iter().map(String::as_str).chain(inline.iter().map(|(name, _)| *name));
        if ["#", "[", "cfg", "(", "test", ")", "]"].iter().enumerate().all(|(i, part)| word(at + i) == *part) {
            let end = item(&tokens, at + 7);
            if let Some(name) = (at..end).find(|&i| word(i) == "mod" && word(i + 2) == ";").map(|i| word(i + 1)) {
                let test = place().chain([name]).map(Into::into).collect();
                file.tests.push(test);
            }
            at = end;
            continue;
        }
        match word(at) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.pop_if(|(_, opened)| *opened == depth);
            }
            "mod" if word(at + 2) == "{" => inline.push((word(at + 1), depth)),
            name if name.starts_with("scratchproof_") => {
                file.uses.insert((name["scratchproof_".len()..].to_owned(), tokens[at].line));
            }
            "crate" | "scratchproof" | "super" if word(at + 1) == "::" && word(at.wrapping_sub(1)) != "::" => {
                let mut path: Vec<&str> = if word(at) == "super" { place().collect() } else { Vec::new() };
                let mut next = at;
                while word(next) == "super" {
                    path.pop();
                    next += 2;
                }
                if word(at) != "super" {
                    next += 2;
                }
                let own = file.module.first().filter(|_| word(at) == "crate" && file.module.len() > 1);
                let uses = match own.map(String::as_str).or(path.first().copied()) {
                    Some(first) => vec![first],
                    None if word(next) == "{" => firsts(&tokens, next),
                    None => vec![word(next)],
                };
                file.uses.extend(uses.into_iter().map(|used| (used.to_owned(), tokens[at].line)));
            }
            _ => {}
        }
        lines.extend(tokens[at].line..=tokens[at].last);
        at += 1;
    }
    file.lines = lines.len();
    file
}

/// The first names in the braces that open at `at`.
fn firsts<'a>(tokens: &[Token<'a>], at: usize) -> Vec<&'a str> {
    let (mut names, mut depth) = (Vec::new(), 0);
    for pair in tokens[at..].windows(2) {
        match pair[0].text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(pair[0].text, "{" | ",") && pair[1].text != "}" {
            names.push(pair[1].text);
        }
    }
    names
}

#[test]
fn the_reader_sees_what_a_compiler_would() {
    let text = r##"
//! use crate::comment::X;
use crate::{a::{x, y}, b, c as d,}; use scratchproof_k::X;
use super::e::F; /* crate::no */
const TEXT: &str = r#"crate::quoted "inner" "#; const C: char = '{'; const Q: char = '\''; fn f<'a>() {}
mod inner {
    use super::G;
    use super::super::super::h::I;
}
fn g() -> Box<dyn crate::i::T> { "crate::string \" crate::more"; scratchproof::j::k() }
#[cfg(test)]
#[path = "x"]
mod tests;
#[cfg(test)]
fn only() -> [u8; 2] { crate::hidden::x() }
#[cfg(test)]
mod more { use crate::hidden::X; fn f() { unsafe {} } }
use crate::last;
"##;
    let file = read(vec!["m".into(), "n".into()], text);
    let uses: Vec<(&str, usize)> = file.uses.iter().map(|(name, line)| (name.as_str(), *line)).collect();
    let expected = [("h", 8), ("j", 10), ("k", 3), ("m", 3), ("m", 4), ("m", 7), ("m", 10), ("m", 18)];
    assert_eq!(uses, expected);
    assert_eq!(file.tests, [["m", "n", "tests"]]);
    assert_eq!((file.lines, file.says_unsafe), (9, true));
}
