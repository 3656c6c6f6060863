//! A series as a hub lists it, rendered. Names come from strangers: they cannot move a cursor or make markup.

use serde::Serialize;

use super::inspect::{push_facts, push_folded, safe};
use super::number;
use super::text::{self as letters, printable};
use scratchproof_case::PublishedStep;
use scratchproof_finding::Finding;
use scratchproof_texts::{Language, Text, text};

/// Schema of the JSON form.
pub const SCHEMA: &str = "scratchproof.series/1";

/// What was listed.
pub struct Listed<'a> {
    /// The pattern as it was given.
    pub pattern: &'a str,
    /// By ascending step.
    pub steps: &'a [PublishedStep],
    /// What the lists show.
    pub findings: &'a [Finding],
    /// Bytes that were received for it.
    pub fetched: u64,
}

impl Listed<'_> {
    fn facts(&self, language: Language) -> [(Text, String); 3] {
        let files: u64 = self.steps.iter().map(|step| step.weights.len() as u64).sum();
        let bytes =
            self.steps.iter().flat_map(|step| &step.weights).fold(0u64, |sum, file| sum.saturating_add(file.bytes));
        let span = match (self.steps.first(), self.steps.last()) {
            (Some(first), Some(last)) => {
                let count = number::count(self.steps.len() as u64);
                text!("inspect/value/span", count, first = first.step, last = last.step)
            }
            _ => text!("inspect/value/none"),
        };
        let weights = text!("inspect/value/weights", files = number::count(files), bytes = number::bytes(bytes));
        let fetched = text!("inspect/value/fetched", bytes = number::bytes(self.fetched));
        [
            (text!("inspect/fact/checkpoints"), span.say(language)),
            (text!("inspect/fact/weights"), weights.say(language)),
            (text!("inspect/fact/fetched"), fetched.say(language)),
        ]
    }
}

/// For a terminal of so many columns; one newline at the end.
#[must_use]
pub fn to_terminal(listed: &Listed, width: usize, language: Language) -> String {
    let width = width.max(40);
    let mut out = format!("{}\n", printable(listed.pattern));
    push_facts(&mut out, &listed.facts(language), width, language);
    out.push('\n');
    for finding in listed.findings {
        push_folded(&mut out, "  ", &printable(&finding.message.say(language)), width);
    }
    out
}

/// For a pull request or a mail; one newline at the end.
#[must_use]
pub fn to_markdown(listed: &Listed, language: Language) -> String {
    let mut out = format!("# {}\n\n", safe(listed.pattern));
    for (name, value) in listed.facts(language) {
        out.push_str(&["- ", &name.say(language), ": ", &safe(&value), "\n"].concat());
    }
    out.push('\n');
    for finding in listed.findings {
        out.push_str(&["- ", &safe(&finding.message.say(language)), "\n"].concat());
    }
    out
}

/// For scripts: everything that was listed; one newline at the end.
#[must_use]
pub fn to_json(listed: &Listed) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        schema: &'static str,
        pattern: &'a str,
        fetched: u64,
        steps: Vec<serde_json::Value>,
        findings: &'a [Finding],
    }
    let step = |step: &PublishedStep| {
        let file = |file: &scratchproof_case::PublishedFile| {
            let at = file.at.map(|at| at.to_rfc3339());
            serde_json::json!({ "name": file.name, "bytes": file.bytes, "sha256": file.sha256, "at": at })
        };
        serde_json::json!({
            "step": step.step, "tokens": step.tokens, "name": step.name, "address": step.address,
            "weights": step.weights.iter().map(file).collect::<Vec<_>>(),
        })
    };
    let steps = listed.steps.iter().map(step).collect();
    let document =
        Document { schema: SCHEMA, pattern: listed.pattern, fetched: listed.fetched, steps, findings: listed.findings };
    let mut out = letters::json(serde_json::to_string_pretty(&document).unwrap_or_default());
    out.push('\n');
    out
}
