//! A page of Markdown: its lines, headings and tables; words from outside cannot make markup.

use scratchproof_texts::{Language, Text, term};

use super::text;

/// A page of Markdown as it grows.
pub(crate) struct Note {
    pub text: String,
    /// Of sentences and headings.
    pub language: Language,
}

impl Note {
    pub(crate) const fn new(language: Language) -> Self {
        Self { text: String::new(), language }
    }

    pub(crate) fn push(&mut self, character: char) {
        self.text.push(character);
    }
}

pub(crate) fn heading(out: &mut Note, name: &Text) {
    let language = out.language;
    out.push('\n');
    line(out, &format!("## {}", name.say(language)));
    out.push('\n');
}

pub(crate) fn table(out: &mut Note, header: &[&str], right: &[usize]) {
    let words: Vec<String> = header.iter().map(|word| term("column", word, out.language)).collect();
    row(out, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let rule: Vec<_> = (0..header.len()).map(|at| if right.contains(&at) { "---:" } else { "---" }).collect();
    row(out, &rule);
}

pub(crate) fn row(out: &mut Note, cells: &[&str]) {
    line(out, &format!("| {} |", cells.join(" | ")));
}

pub(crate) fn line(out: &mut Note, text: &str) {
    out.text.push_str(text);
    out.push('\n');
}

pub(crate) fn bold(text: &str) -> String {
    format!("**{text}**")
}

/// The text with everything that Markdown or HTML would take for markup escaped, and no bare address that a forge would
/// turn into a link or a mention.
pub(crate) fn safe(text: &str) -> String {
    let shown = text::printable(text);
    let mut escaped = String::with_capacity(shown.len());
    for (at, character) in shown.char_indices() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '@' => escaped.push_str("&#64;"),
            ':' if shown[at..].starts_with("://") => escaped.push_str("&#58;"),
            '.' if shown[..at].ends_with("www") => escaped.push_str("&#46;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '$' => {
                escaped.push('\\');
                escaped.push(character);
            }
            _ => escaped.push(character),
        }
    }
    escaped
}
