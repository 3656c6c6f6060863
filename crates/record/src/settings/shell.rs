//! Sizes in launch scripts, parsed and never executed: variables, lists of arguments, the words of commands.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tree_sitter::Node;

use super::python::parse;
use super::{Block, Places, known};

/// Statements inside each other.
const DEPTH: usize = 64;
/// Words of one list after variables are put in, and bytes of one word; variables made of variables grow without end.
const WORDS: usize = 4096;
const BYTES: usize = 65_536;
/// Words of all commands of one file.
const ALL_WORDS: usize = 200_000;

/// A makefile as a script: `$(X)` is `${X}`, `X := 1` is `X=1`, and recipes stand by themselves. Lines stay lines.
pub fn from_make(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let mut script = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.trim_start_matches(['\t', '@', '-', '+']).replace("$(", "${").replace("$$", "$");
        let mut line = if line.contains("${") { line.replace(')', "}") } else { line };
        for sign in [":=", "?=", "+=", "="] {
            if let Some((name, value)) = line.split_once(sign)
                && name.trim().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && !name.trim().is_empty()
            {
                line = format!("{}='{}'", name.trim(), value.trim().replace('\'', ""));
                break;
            }
        }
        script += &line;
        script.push('\n');
    }
    script.into_bytes()
}

/// The blocks of a script.
pub fn read(text: &[u8]) -> Vec<Block> {
    let Some(tree) = parse(text, &tree_sitter_bash::LANGUAGE.into()) else { return Vec::new() };
    let mut walk = Walk {
        text,
        places: Places::default(),
        variables: BTreeMap::new(),
        lists: Vec::new(),
        path: Vec::new(),
        left: ALL_WORDS,
    };
    walk.node(tree.root_node(), 0);
    // Lists that no command of the file took up: another file may.
    for (name, words, line) in std::mem::take(&mut walk.lists) {
        walk.arguments(&name, &words, line);
    }
    walk.places.blocks()
}

struct Walk<'a> {
    text: &'a [u8],
    places: Places,
    /// Words by variable.
    variables: BTreeMap<String, Vec<String>>,
    /// Variables that look like arguments, and their line.
    lists: Vec<(String, Vec<String>, u64)>,
    path: Vec<String>,
    left: usize,
}

impl<'a> Walk<'a> {
    fn text(&self, node: Node<'_>) -> Cow<'a, str> {
        String::from_utf8_lossy(self.text.get(node.byte_range()).unwrap_or_default())
    }

    fn node(&mut self, node: Node<'_>, depth: usize) {
        if depth > DEPTH {
            return;
        }
        match node.kind() {
            "variable_assignment" => self.assignment(node),
            "command" => self.command(node),
            "comment" | "heredoc_body" => {}
            "case_item"
            | "elif_clause"
            | "else_clause"
            | "if_statement"
            | "for_statement"
            | "while_statement"
            | "function_definition" => {
                let text = self.text(node);
                let first: String = text.lines().next().unwrap_or_default().trim().chars().take(40).collect();
                // What is set in a branch that need not be taken is not known after it.
                let before = self.variables.clone();
                self.path.push(format!("[{first}]"));
                self.children(node, depth);
                self.path.pop();
                let after = std::mem::replace(&mut self.variables, before);
                for (name, words) in after {
                    if self.variables.get(&name) != Some(&words) {
                        self.variables.remove(&name);
                    }
                }
            }
            _ => self.children(node, depth),
        }
    }

    fn children(&mut self, node: Node<'_>, depth: usize) {
        let mut cursor = node.walk();
        for child in node.named_children(&mut cursor) {
            self.node(child, depth + 1);
        }
    }

    fn assignment(&mut self, node: Node<'_>) {
        let (Some(name), Some(value)) = (node.child_by_field_name("name"), node.child_by_field_name("value")) else {
            return;
        };
        let (name, line) = (self.text(name).into_owned(), node.start_position().row as u64 + 1);
        let added = self.text(node).get(name.len()..).is_some_and(|rest| rest.starts_with("+="));
        let mut words = if added { self.variables.get(&name).cloned().unwrap_or_default() } else { Vec::new() };
        if value.kind() == "array" {
            let mut cursor = value.walk();
            for item in value.named_children(&mut cursor) {
                self.words(item, &mut words);
            }
        } else {
            self.words(value, &mut words);
        }
        words.truncate(WORDS);
        if let [word] = words.as_slice()
            && let Ok(number) = word.parse()
            && known(name.as_bytes()).is_some()
        {
            let place = self.places.place(&self.path.join("."));
            self.places.set(place, &name, number, line);
        }
        if words.len() > 1 && words.iter().any(|word| option(word).is_some()) && self.lists.len() < WORDS {
            self.lists.retain(|(other, ..)| *other != name);
            self.lists.push((name.clone(), words.clone(), line));
        }
        self.variables.insert(name, words);
    }

    fn command(&mut self, node: Node<'_>) {
        let mut words = Vec::new();
        let mut cursor = node.walk();
        for child in node.named_children(&mut cursor) {
            match child.kind() {
                "variable_assignment" => self.assignment(child),
                _ => self.words(child, &mut words),
            }
        }
        words.truncate(WORDS);
        let used = self.text(node).into_owned();
        let before = self.places.places.len();
        self.arguments(&command_name(&words), &words, node.start_position().row as u64 + 1);
        if self.places.places.len() > before {
            self.lists.retain(|(name, ..)| !used.contains(name.as_str()));
        }
    }

    /// `--num-layers 24 --hidden-size=1024 model.n_heads=16`
    fn arguments(&mut self, name: &str, words: &[String], line: u64) {
        self.left = self.left.saturating_sub(words.len());
        if self.left == 0 {
            return;
        }
        let mut found: BTreeMap<&str, Vec<(&str, i64)>> = BTreeMap::new();
        for (at, word) in words.iter().enumerate() {
            let Some((group, name, value)) = option(word) else { continue };
            let value = value.or_else(|| words.get(at + 1).map(String::as_str));
            if let Some(value) = value.and_then(|value| value.replace('_', "").parse().ok()) {
                found.entry(group).or_default().push((name, value));
            }
        }
        for (group, sizes) in found.into_iter().filter(|(_, sizes)| sizes.len() > 2) {
            let parts = self.path.iter().map(String::as_str).chain([name, group]).filter(|part| !part.is_empty());
            let place = self.places.new_place(&parts.collect::<Vec<_>>().join("."));
            for (name, value) in sizes {
                self.places.set(place, name, value, line);
            }
        }
    }

    /// The words that a node becomes once variables are put in.
    fn words(&self, node: Node<'_>, to: &mut Vec<String>) {
        let text = self.text(node);
        // A list kept as one text is split where it is used; a quoted text with blanks counts as such a list.
        let plain = text.trim_matches(['"', '\'']);
        let literal = node.kind() == "raw_string";
        let filled = if literal { plain.to_owned() } else { self.fill(plain) };
        for word in filled.split_whitespace() {
            if to.len() >= WORDS {
                return;
            }
            if word != "\\" {
                to.push(word.trim_matches(['"', '\'']).to_owned());
            }
        }
    }

    /// Puts variables in: `$X`, `${X}`, `${X[@]}`, `${X:-12}`, `$((4 * X))`.
    fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            filled += before;
            let after = from.get(1..).unwrap_or_default();
            if let Some(inner) = after.strip_prefix("((") {
                let end = inner.find("))").unwrap_or(inner.len());
                let sum = inner.get(..end).and_then(|sum| self.arithmetic(sum));
                filled += &sum.map_or_else(|| "?".to_owned(), |sum| sum.to_string());
                rest = inner.get(end + 2..).unwrap_or_default();
            } else if let Some(inner) = after.strip_prefix('{') {
                let end = inner.find('}').unwrap_or(inner.len());
                let inside = inner.get(..end).unwrap_or_default();
                let name = inside.split([':', '[', '-']).next().unwrap_or_default();
                let default = inside.split_once(":-").or_else(|| inside.split_once(":="));
                match (self.variables.get(name), default) {
                    (Some(words), _) => filled += &words.join(" "),
                    (None, Some((_, default))) => filled += default,
                    (None, None) => filled.push('?'),
                }
                rest = inner.get(end + 1..).unwrap_or_default();
            } else {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                let (name, more) = after.split_at(end);
                filled += &self.variables.get(name).map_or_else(|| "?".to_owned(), |words| words.join(" "));
                rest = more;
            }
            if filled.len() > BYTES {
                return filled.chars().take(BYTES).collect();
            }
        }
        filled + rest
    }

    /// Products and sums from left to right, products first, without brackets.
    fn arithmetic(&self, text: &str) -> Option<i64> {
        let number = |word: &str| -> Option<i64> {
            let word = word.trim().trim_start_matches('$').trim_matches(['{', '}']);
            word.parse().ok().or_else(|| match self.variables.get(word)?.as_slice() {
                [value] => value.parse().ok(),
                _ => None,
            })
        };
        text.split('+').try_fold(0_i64, |sum, term| {
            let mut factors = term.split('*');
            let first = number(factors.next()?)?;
            let product = factors.try_fold(first, |product, factor| match factor.split_once('/') {
                Some((by, over)) => product.checked_mul(number(by)?)?.checked_div(number(over)?),
                None => product.checked_mul(number(factor)?),
            })?;
            sum.checked_add(product)
        })
    }
}

/// Group, name and value of an argument that names a size: `--model.n_layers=12` is `model`, `n_layers`, `12`.
fn option(word: &str) -> Option<(&str, &str, Option<&str>)> {
    let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    // A bare word is an argument only where it has its value with it.
    if value.is_none() && !name.starts_with("--") {
        return None;
    }
    let name = name.trim_start_matches(['-', '+', '~']);
    let (group, name) = name.rsplit_once('.').unwrap_or(("", name));
    known(name.as_bytes()).map(|_| (group, name, value))
}

/// The program, without its folder; of an interpreter or a launcher the script it runs.
fn command_name(words: &[String]) -> String {
    let script = words.iter().find(|word| word.strip_suffix(".py").is_some() && !word.starts_with('-'));
    let word = script.or(words.first()).map_or("", String::as_str);
    word.rsplit('/').next().unwrap_or_default().chars().take(60).collect()
}
