//! A series as a hub lists it, rendered. Names come from strangers: they cannot move a cursor or make markup.

use serde::Serialize;

use super::inspect::{push_folded, safe};
use super::{number, text};
use scratchproof_case::PublishedStep;
use scratchproof_finding::Finding;

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
    fn facts(&self) -> [(&'static str, String); 3] {
        let files = self.steps.iter().map(|step| step.weights.len() as u64).sum();
        let bytes =
            self.steps.iter().flat_map(|step| &step.weights).fold(0u64, |sum, file| sum.saturating_add(file.bytes));
        let span = match (self.steps.first(), self.steps.last()) {
            (Some(first), Some(last)) => {
                format!("{} of steps {} to {}", number::count(self.steps.len() as u64), first.step, last.step)
            }
            _ => "none".to_owned(),
        };
        [
            ("checkpoints", span),
            ("weights", format!("{} files, {}", number::count(files), number::bytes(bytes))),
            ("fetched", format!("{} of lists, no weight", number::bytes(self.fetched))),
        ]
    }
}

/// For a terminal of so many columns; one newline at the end.
#[must_use]
pub fn to_terminal(listed: &Listed, width: usize) -> String {
    let width = width.max(40);
    let mut out = format!("{}\n", text::printable(listed.pattern));
    for (name, value) in listed.facts() {
        push_folded(&mut out, &format!("  {name:11}  "), &value, width);
    }
    out.push('\n');
    for finding in listed.findings {
        push_folded(&mut out, "  ", &text::printable(&finding.message.english()), width);
    }
    out
}

/// For a pull request or a mail; one newline at the end.
#[must_use]
pub fn to_markdown(listed: &Listed) -> String {
    let mut out = format!("# {}\n\n", safe(listed.pattern));
    for (name, value) in listed.facts() {
        out.push_str(&["- ", name, ": ", &safe(&value), "\n"].concat());
    }
    out.push('\n');
    for finding in listed.findings {
        out.push_str(&["- ", &safe(&finding.message.english()), "\n"].concat());
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
    let mut out = serde_json::to_string_pretty(&document).unwrap_or_default();
    out.push('\n');
    out
}
