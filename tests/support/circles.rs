//! Which file needs which, the circles among them, and which can open a file.

use std::collections::{BTreeMap, BTreeSet};

use super::tokens::{Token, item, tokens};

/// A name that a file takes from elsewhere, or a path that its code walks.
#[derive(Debug)]
struct Path {
    /// From the crate's root, the crate's name first.
    parts: Vec<String>,
    /// The name under which a `use` makes it known.
    known_as: Option<String>,
    /// Whether it is only passed on (`pub use`).
    passed_on: bool,
}

/// One file: its place in the tree of modules and the paths in it.
pub struct Source {
    pub module: Vec<String>,
    paths: Vec<Path>,
    /// Whether it can reach a file, a network or another process.
    pub opens: bool,
}

/// What leads out of the process, as code names it: rooms of the standard library, our own of bytes and of folders, and what
/// opens repositories and connections.
const OUT: &[&[&str]] = &[
    &["std", "::", "fs"],
    &["std", "::", "net"],
    &["std", "::", "os"],
    &["std", "::", "process"],
    &["scratchproof_source"],
    &["scratchproof_folder"],
    &["git2", "::", "Repository"],
    &["tokio"],
];

impl Source {
    /// Reads a file, of which code for tests is left out.
    pub fn read(module: Vec<String>, text: &str, modules: &BTreeSet<Vec<String>>) -> Self {
        let tokens = tokens(text);
        let word = |at: usize| tokens.get(at).map_or("", |token| token.text);
        let mut own = Self { module, paths: Vec::new(), opens: false };
        let mut inline: Vec<(String, usize)> = Vec::new();
        let (mut at, mut depth) = (0, 0);
        while at < tokens.len() {
            if ["#", "[", "cfg", "(", "test", ")", "]"].iter().enumerate().all(|(i, part)| word(at + i) == *part) {
                at = item(&tokens, at + 7);
                continue;
            }
            own.opens |= OUT.iter().any(|out| out.iter().enumerate().all(|(i, part)| word(at + i) == *part));
            let place: Vec<String> =
                own.module.iter().cloned().chain(inline.iter().map(|(name, _)| name.clone())).collect();
            match word(at) {
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    inline.pop_if(|(_, opened)| *opened == depth);
                }
                "mod" if word(at + 2) == "{" => inline.push((word(at + 1).to_owned(), depth)),
                // `use<'a>` is a bound, no import.
                "use" if word(at + 1) != "<" => {
                    let before = at.wrapping_sub(1);
                    let passed_on = matches!(word(before), "pub" | ")");
                    let end = (at..tokens.len()).find(|&i| word(i) == ";").unwrap_or(tokens.len());
                    own.opens |= leads_out(&tokens[at + 1..end]);
                    own.tree(&tokens[at + 1..end], &[], &place, passed_on, modules);
                    at = end;
                    continue;
                }
                first if word(at + 1) == "::" && word(at.wrapping_sub(1)) != "::" => {
                    let mut parts = vec![first.to_owned()];
                    let mut next = at + 1;
                    while word(next) == "::" && word(next + 1).starts_with(|c: char| c.is_alphabetic() || c == '_') {
                        parts.push(word(next + 1).to_owned());
                        next += 2;
                    }
                    if let Some(parts) = from_root(&parts, &place, modules) {
                        own.paths.push(Path { parts, known_as: None, passed_on: false });
                    }
                    at = next;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        own
    }

    /// The tree of a `use`.
    fn tree(
        &mut self,
        tokens: &[Token],
        before: &[String],
        place: &[String],
        passed_on: bool,
        modules: &BTreeSet<Vec<String>>,
    ) {
        let mut parts = before.to_vec();
        let mut at = 0;
        while at < tokens.len() {
            match tokens[at].text {
                "::" => at += 1,
                "{" => {
                    let (mut depth, mut start) = (0, at + 1);
                    for (i, token) in tokens.iter().enumerate().skip(at) {
                        match token.text {
                            "{" => depth += 1,
                            "}" => depth -= 1,
                            _ => {}
                        }
                        if (depth == 1 && token.text == ",") || depth == 0 {
                            self.tree(&tokens[start.min(i)..i], &parts, place, passed_on, modules);
                            start = i + 1;
                        }
                        if depth == 0 {
                            break;
                        }
                    }
                    return;
                }
                "as" => {
                    let known_as = tokens.get(at + 1).map(|token| token.text.to_owned());
                    self.add(&parts, known_as, place, passed_on, modules);
                    return;
                }
                name => {
                    parts.push(name.to_owned());
                    at += 1;
                }
            }
        }
        if parts.len() > before.len() {
            let known_as = parts.last().cloned();
            if known_as.as_deref() == Some("self") {
                parts.pop();
            }
            let known_as = parts.last().cloned();
            self.add(&parts, known_as, place, passed_on, modules);
        }
    }

    fn add(
        &mut self,
        parts: &[String],
        known_as: Option<String>,
        place: &[String],
        passed_on: bool,
        modules: &BTreeSet<Vec<String>>,
    ) {
        if let Some(parts) = from_root(parts, place, modules) {
            self.paths.push(Path { parts, known_as, passed_on });
        }
    }
}

/// Whether the tree of a `use` has a name in it that leads out.
fn leads_out(tokens: &[Token]) -> bool {
    let first = tokens.first().map_or("", |token| token.text);
    OUT.iter().any(|out| first == out[0] && tokens.iter().any(|token| Some(&token.text) == out.last()))
}

/// A path from the root of its crate, whose name is first; none if it begins in a crate of others or at something of the file
/// itself.
fn from_root(parts: &[String], place: &[String], modules: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
    let (first, rest) = parts.split_first()?;
    let mut base = match first.as_str() {
        "crate" => place[..1].to_vec(),
        "self" => place.to_vec(),
        "super" => place[..place.len().checked_sub(1)?].to_vec(),
        name if name.starts_with("scratchproof_") => vec![name["scratchproof_".len()..].to_owned()],
        name => {
            let mut child = place.to_vec();
            child.push(name.to_owned());
            if !modules.contains(&child) {
                return None;
            }
            child
        }
    };
    for part in rest {
        if part == "super" {
            base.pop()?;
        } else {
            base.push(part.clone());
        }
    }
    Some(base)
}

/// Which file needs which others, by module. What is only passed on needs nothing; a name that another file passes on is
/// looked for where it comes from. A file below another may use what that one defines for all that are below it: the two
/// are one thought, told from the outside in.
pub fn needs(sources: &[Source]) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let known: BTreeMap<&[String], &Source> = sources.iter().map(|source| (source.module.as_slice(), source)).collect();
    let mut needs = BTreeMap::new();
    for source in sources {
        let own = source.paths.iter().filter(|path| !path.passed_on);
        let used: BTreeSet<Vec<String>> = own
            .filter_map(|path| resolve(&path.parts, &known, 0))
            .filter(|module| !source.module.starts_with(module))
            .collect();
        needs.insert(source.module.clone(), used);
    }
    needs
}

fn resolve(parts: &[String], known: &BTreeMap<&[String], &Source>, depth: usize) -> Option<Vec<String>> {
    let length = (1..=parts.len()).rev().find(|&length| known.contains_key(&parts[..length]))?;
    let source = known[&parts[..length]];
    let Some(name) = parts.get(length).filter(|_| depth < 8) else { return Some(source.module.clone()) };
    let from = source.paths.iter().find(|path| path.known_as.as_ref() == Some(name) && path.parts != parts[..=length]);
    match from {
        Some(path) => {
            let further: Vec<String> = path.parts.iter().chain(&parts[length + 1..]).cloned().collect();
            resolve(&further, known, depth + 1)
        }
        None => Some(source.module.clone()),
    }
}

/// Files that need each other, directly or around corners: each circle once.
pub fn circles(needs: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>) -> BTreeSet<BTreeSet<Vec<String>>> {
    let reached = |from: &Vec<String>| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(next) = open.pop() {
            open.extend(needs.get(next).into_iter().flatten().filter(|module| seen.insert((*module).clone())));
        }
        seen
    };
    let all: BTreeMap<&Vec<String>, BTreeSet<Vec<String>>> =
        needs.keys().map(|module| (module, reached(module))).collect();
    let mut circles = BTreeSet::new();
    for (module, own) in &all {
        let circle: BTreeSet<Vec<String>> =
            own.iter().filter(|other| all.get(other).is_some_and(|back| back.contains(*module))).cloned().collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles
}
