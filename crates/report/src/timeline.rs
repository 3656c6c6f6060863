//! The record alone, as `scratchproof timeline` shows it. Nothing is computed here.

use std::borrow::Cow;

use anstyle::{AnsiColor, Style};
use scratchproof_texts::{Language, Text, phrase, term, text};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::note::{Note, heading, line, row, safe, table};
use super::terminal::{Look, Page};
use super::{CaseSummary, Input, Seal, Skipped, Tool, json, lanes, markdown, number, text, wording};
use scratchproof_evidence::TimelineRow;
use scratchproof_finding::{Condition, Direction, Finding, Grade};

/// Schema of what `timeline` prints as JSON.
pub const SCHEMA: &str = "scratchproof.timeline/1";

/// What the record comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing in it contradicts the claim or itself.
    Consistent,
    /// It leaves a question, or there is too little of it.
    Open,
    /// It contradicts itself or the claim.
    Contradicted,
}

/// The record with what was found in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Timeline {
    pub schema: Cow<'static, str>,
    pub tool: Tool,
    pub case: CaseSummary,
    pub outcome: Outcome,
    /// Condition `time` of the claim.
    pub condition: Condition,
    #[serde(flatten, with = "scratchproof_texts::missing")]
    pub missing: Vec<Text>,
    pub findings: Vec<Finding>,
    /// The dated facts, but of a long history only the commits that something else speaks of.
    #[serde(serialize_with = "events", deserialize_with = "rows")]
    pub events: Vec<TimelineRow>,
    /// The other commits, counted; empty where every commit is an event.
    pub months: Vec<Month>,
    /// Every dated fact, as in `evidence/timeline.parquet`.
    #[serde(skip)]
    pub all: Vec<TimelineRow>,
    pub skipped: Vec<Skipped>,
    pub inputs: Vec<Input>,
    pub policy: serde_json::Value,
    /// What it rests on, once its folder is written; null without one.
    pub seal: Option<Seal>,
}

/// Commits of one month of which nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Month {
    /// `2026-08`, by the committer's clock in UTC.
    pub month: String,
    pub source: String,
    pub commits: u64,
}

/// What was counted, in words; empty where every commit is an event.
pub(super) fn counted(months: &[Month]) -> Text {
    let commits: u64 = months.iter().map(|month| month.commits).sum();
    match (months.first(), months.last()) {
        (Some(first), Some(last)) => {
            let commits = number::count(commits);
            text!("report/timeline/counted", commits, first = &first.month, last = &last.month)
        }
        _ => Text::default(),
    }
}

#[derive(Serialize, Deserialize)]
struct Event<'a> {
    at: Cow<'a, str>,
    until: Option<Cow<'a, str>>,
    what: Cow<'a, str>,
    source: Cow<'a, str>,
    grade: Cow<'a, str>,
}

fn rows<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<TimelineRow>, D::Error> {
    let row = |event: Event<'_>| TimelineRow {
        at: event.at.into_owned(),
        until: event.until.map(Cow::into_owned),
        what: event.what.into_owned(),
        source: event.source.into_owned(),
        grade: event.grade.into_owned(),
    };
    Ok(Vec::<Event<'_>>::deserialize(deserializer)?.into_iter().map(row).collect())
}

#[allow(clippy::ptr_arg)] // as the derive hands it over
fn events<S: Serializer>(rows: &Vec<TimelineRow>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(rows.iter().map(|row| Event {
        at: row.at.as_str().into(),
        until: row.until.as_deref().map(Into::into),
        what: row.what.as_str().into(),
        source: row.source.as_str().into(),
        grade: row.grade.as_str().into(),
    }))
}

impl Outcome {
    /// The word for a heading.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Consistent => "consistent",
            Self::Open => "open",
            Self::Contradicted => "contradicted",
        }
    }

    /// The word of the verdict that looks alike.
    pub(super) fn look(self) -> &'static str {
        match self {
            Self::Consistent => "confirmed",
            Self::Open => "inconclusive",
            Self::Contradicted => "refuted",
        }
    }

    /// The sentence after the word.
    pub(super) fn meaning(self) -> Text {
        match self {
            Self::Consistent => text!("report/timeline/consistent"),
            Self::Open => text!("report/timeline/open"),
            Self::Contradicted => text!("report/timeline/contradicted"),
        }
    }
}

/// Why this is not a verdict on the claim.
pub(super) fn no_verdict() -> Text {
    text!("report/timeline/no-verdict")
}

/// The findings to be shown: against first, then by weight.
pub(super) fn ordered(timeline: &Timeline) -> Vec<&Finding> {
    let mut findings: Vec<&Finding> = timeline.findings.iter().collect();
    findings.sort_by_key(|f| (f.direction != Direction::Against, std::cmp::Reverse(f.grade)));
    findings
}

/// As JSON.
#[must_use]
pub fn to_json(timeline: &Timeline) -> String {
    json::rounded(timeline)
}

/// For a terminal.
#[must_use]
pub fn render(timeline: &Timeline, look: Look) -> String {
    let language = look.language;
    let mut page = Page::new(look);
    let style = match timeline.outcome {
        Outcome::Consistent => AnsiColor::Green,
        Outcome::Open => AnsiColor::Yellow,
        Outcome::Contradicted => AnsiColor::Red,
    };
    let label = format!("{}:", term("record", timeline.outcome.word(), language).to_uppercase());
    page.hanging(&label, style.on_default().bold(), &timeline.outcome.meaning().say(language), 2);
    page.paragraph(2, &no_verdict().say(language));
    events_to(&mut page, &timeline.events);
    if !timeline.months.is_empty() {
        page.paragraph(2, &counted(&timeline.months).say(language));
    }
    let (counted, context): (Vec<_>, Vec<_>) =
        ordered(timeline).into_iter().partition(|f| look.verbose || f.grade != Grade::Context);
    if !timeline.findings.is_empty() {
        page.heading(&text!("report/heading/findings"));
        for finding in counted {
            page.finding(finding);
        }
        if !context.is_empty() {
            page.paragraph(2, &text!("report/timeline/context", count = context.len()).say(language));
        }
    }
    if !timeline.missing.is_empty() {
        page.heading(&text!("report/heading/missing"));
        for item in &timeline.missing {
            page.hanging("  -", Style::new(), &item.say(language), 4);
        }
    }
    if !timeline.skipped.is_empty() {
        page.heading(&text!("report/heading/not-read"));
        for skipped in &timeline.skipped {
            page.hanging(
                "  -",
                Style::new(),
                &format!("{}: {}", phrase(&skipped.tensor, language), phrase(&skipped.why, language)),
                4,
            );
        }
    }
    page.out
}

/// The dated facts, the earliest first.
fn events_to(page: &mut Page, events: &[TimelineRow]) {
    let language = page.look.language;
    if events.is_empty() {
        return;
    }
    page.heading(&text!("report/heading/timeline"));
    for (row, left_out) in lanes::shown(events) {
        let style = match row.grade.as_str() {
            "anchored" | "platform" => Style::new().bold(),
            _ => Style::new(),
        };
        let when = format!("  {}", lanes::when(row));
        page.hanging(
            &when,
            style,
            &format!("{} ({})", phrase(&row.what, language), term("trust", &row.grade, language)),
            20,
        );
        if left_out > 0 {
            page.paragraph(
                20,
                &text!("report/timeline/left-out", count = left_out, source = text::printable(&row.source))
                    .say(language),
            );
        }
    }
}

/// As Markdown.
#[must_use]
pub fn to_markdown(timeline: &Timeline, language: Language) -> String {
    let mut out = Note::new(language);
    line(&mut out, &format!("# scratchproof timeline: {}", safe(&timeline.case.name)));
    out.push('\n');
    let word = term("record", timeline.outcome.word(), language).to_uppercase();
    line(&mut out, &format!("**{word}:** {} {}", timeline.outcome.meaning().say(language), no_verdict().say(language)));
    markdown::timeline(&mut out, &timeline.events);
    if !timeline.months.is_empty() {
        out.push('\n');
        line(&mut out, &counted(&timeline.months).say(language));
    }
    if !timeline.findings.is_empty() {
        heading(&mut out, &text!("report/heading/findings"));
        table(&mut out, &["no.", "finding", "grade", "direction", "statistic", "n", "words"], &[4, 5]);
        for finding in ordered(timeline) {
            row(
                &mut out,
                &[
                    &safe(&finding.id),
                    finding.code.name(),
                    &term("grade", wording::grade(finding.grade), language),
                    &term("direction", wording::direction(finding.direction), language),
                    &number::short(finding.statistic),
                    &finding.n.map_or_else(|| "–".to_owned(), number::count),
                    &safe(&finding.message.say(language)),
                ],
            );
        }
    }
    if !timeline.missing.is_empty() {
        heading(&mut out, &text!("report/heading/missing"));
        for item in &timeline.missing {
            line(&mut out, &format!("- {}", safe(&item.say(language))));
        }
    }
    if !timeline.skipped.is_empty() {
        heading(&mut out, &text!("report/heading/not-read"));
        for skipped in &timeline.skipped {
            line(
                &mut out,
                &format!("- {}: {}", safe(&phrase(&skipped.tensor, language)), safe(&phrase(&skipped.why, language))),
            );
        }
    }
    out.text
}

/// What the record comes to, in one line.
#[must_use]
pub fn verdict_line(timeline: &Timeline) -> String {
    format!("{}: {}\n", timeline.outcome.word().to_uppercase(), text::printable(&timeline.case.name))
}

/// Tables that belong to the record: every one that a finding of it may name.
pub(super) const TABLES: [&str; 6] = ["runs", "timeline", "settings", "releases", "mentions", "signatures"];
