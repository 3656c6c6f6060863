//! Many submissions as one table and one page: each with its answer, what that rests on, and what is missing from its team.

use serde::Serialize;

use super::answer::{self, part};
use super::html::{code, page};
use super::said::Said;
use super::text::{printable, shortened};
use super::{ComponentOutcome, Outcome, Report, json, note, wording};
use scratchproof_error::Result;
use scratchproof_evidence::docket::DocketRow;
use scratchproof_texts::{Language, Text, text};

/// Schema of `docket.json`.
pub const SCHEMA: &str = "scratchproof.docket/1";

const PAGE: &str = include_str!("html/docket.html");
const SCRIPT: &str = include_str!("html/docket.js");
/// Letters of a name in a cell.
const LETTERS: usize = 120;

/// One submission of a docket.
#[derive(Clone, Debug)]
pub struct Entry {
    /// As it was given on the command line.
    pub given: String,
    /// Folder of its pages, relative to the docket; none where it could not be run.
    pub folder: Option<String>,
    /// Its report, or why there is none.
    pub report: std::result::Result<Box<Report>, String>,
}

/// The docket as JSON.
#[derive(Serialize)]
struct Whole<'a> {
    schema: &'static str,
    tool: super::Tool,
    submissions: Vec<Submission<'a>>,
}

#[derive(Serialize)]
struct Submission<'a> {
    #[serde(flatten)]
    row: DocketRow,
    /// What `answer` is made of, for another language.
    text: &'a Text,
    /// What each part of `missing` is made of.
    missing_texts: Vec<Text>,
}

/// The table: a row for each entry, in order.
#[must_use]
pub fn rows(entries: &[Entry]) -> Vec<DocketRow> {
    entries.iter().map(row).collect()
}

fn row(entry: &Entry) -> DocketRow {
    let given = entry.given.clone();
    let report = match &entry.report {
        Ok(report) => report,
        Err(why) => {
            let answer = failed(why).english();
            return DocketRow { given, outcome: "failed".into(), answer, ..DocketRow::default() };
        }
    };
    let states = report.verdict.conditions;
    let power = &report.verdict.power;
    let of = |outcome: ComponentOutcome| {
        let own = report.components.iter().filter(|component| component.outcome == outcome);
        own.map(|component| component.name.as_str()).collect::<Vec<_>>().join("; ")
    };
    let state = |state| wording::condition(state).to_owned();
    DocketRow {
        given,
        case: report.case.name.clone(),
        subject: report.case.subject.clone(),
        claimant: report.case.claimant.clone(),
        outcome: wording::outcome(report.verdict.outcome).into(),
        answer: report.answer.sentence.said.english(),
        start: state(states.start),
        chain: state(states.chain),
        parent: state(states.parent),
        time: state(states.time),
        start_reached: power.start.as_ref().map(|start| start.reached),
        parent_reached: power.parent.as_ref().map(|parent| parent.reached),
        smallest_correlation: power.parent.as_ref().and_then(|parent| parent.smallest_correlation),
        chain_untested: power.chain.as_ref().map(|chain| chain.untested.len() as u64),
        accused: report.answer.accused.join("; "),
        derived: of(ComponentOutcome::Derived),
        independent: of(ComponentOutcome::Independent),
        undetermined: of(ComponentOutcome::Undetermined),
        missing: report.verdict.missing.iter().map(Text::english).collect::<Vec<_>>().join("; "),
        missing_count: report.verdict.missing.len() as u64,
        digest: report.case.digest.clone(),
        seal: report.seal.as_ref().map(|seal| seal.root.clone()),
        report: entry.folder.as_ref().map(|folder| format!("{folder}/report.html")),
    }
}

fn failed(why: &str) -> Text {
    text!("docket/row/failed", why)
}

/// The docket as JSON, one newline at the end.
#[must_use]
pub fn to_json(entries: &[Entry]) -> String {
    let texts: Vec<Text> = entries
        .iter()
        .map(|entry| match &entry.report {
            Ok(report) => report.answer.sentence.said.clone(),
            Err(why) => failed(why),
        })
        .collect();
    let missing = |entry: &'_ Entry| -> Vec<Text> {
        entry.report.as_ref().map_or_else(|_| Vec::new(), |report| report.verdict.missing.clone())
    };
    let submissions = entries.iter().zip(&texts);
    let submissions =
        submissions.map(|(entry, text)| Submission { row: row(entry), text, missing_texts: missing(entry) }).collect();
    json::rounded(&Whole { schema: SCHEMA, tool: super::Tool::this(), submissions })
}

/// The table as CSV (RFC 4180, line feeds). A cell that a spreadsheet would take for a formula begins with an apostrophe.
#[must_use]
pub fn to_csv(entries: &[Entry]) -> String {
    let mut out = DocketRow::COLUMNS.join(",") + "\n";
    for row in rows(entries) {
        let value = serde_json::to_value(&row).unwrap_or_default();
        let cells = DocketRow::COLUMNS.iter().map(|name| match value.get(name) {
            Some(serde_json::Value::String(words)) => cell(words),
            Some(serde_json::Value::Number(figure)) => figure.to_string(),
            _ => String::new(),
        });
        out += &(cells.collect::<Vec<_>>().join(",") + "\n");
    }
    out
}

fn cell(words: &str) -> String {
    let shown = printable(words);
    let formula = shown.starts_with(['=', '+', '-', '@']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, shown.replace('"', "\"\""))
}

/// The docket in lines: verdict, submission, answer.
#[must_use]
pub fn to_terminal(entries: &[Entry], language: Language) -> String {
    let mut out = String::new();
    for entry in entries {
        let (word, name, found) = told(entry, language);
        out += &format!("{word:<13} {}: {}\n", printable(&name), printable(&found));
    }
    out += &(scratchproof_texts::render(&counted(entries), language) + "\n");
    out
}

/// The docket as a Markdown table.
#[must_use]
pub fn to_markdown(entries: &[Entry], language: Language) -> String {
    let mut out = note::Note::new(language);
    let heading = [text!("docket/page/verdict"), text!("docket/page/subject"), text!("docket/page/answer")]
        .map(|name| scratchproof_texts::render(&name, language));
    note::table(&mut out, &heading.each_ref().map(String::as_str), &[]);
    for entry in entries {
        let (word, name, found) = told(entry, language);
        note::row(&mut out, &[&word, &note::safe(&name), &note::safe(&found)]);
    }
    out.text
}

fn told(entry: &Entry, language: Language) -> (String, String, String) {
    let say = |text: &Text| scratchproof_texts::render(text, language);
    match &entry.report {
        Ok(report) => {
            let word = say(&answer::word(report.verdict.outcome)).to_uppercase();
            (word, shortened(&wording_name(report), LETTERS), say(&report.answer.found))
        }
        Err(why) => {
            (say(&text!("docket/page/failed")).to_uppercase(), shortened(&entry.given, LETTERS), say(&failed(why)))
        }
    }
}

fn wording_name(report: &Report) -> String {
    if report.case.subject.is_empty() { report.case.name.clone() } else { report.case.subject.clone() }
}

fn counted(entries: &[Entry]) -> Text {
    let of = |outcome: Outcome| {
        entries.iter().filter(|one| one.report.as_ref().is_ok_and(|report| report.verdict.outcome == outcome)).count()
    };
    text!(
        "docket/page/counted",
        all = entries.len(),
        confirmed = of(Outcome::Confirmed),
        refuted = of(Outcome::Refuted),
        inconclusive = of(Outcome::Inconclusive),
        failed = entries.iter().filter(|one| one.report.is_err()).count()
    )
}

#[derive(Serialize)]
struct View {
    language: &'static str,
    title: Said,
    counted: Said,
    entries: Vec<EntryView>,
}

#[derive(Serialize)]
struct EntryView {
    outcome: &'static str,
    /// Order of the verdicts: what needs a reader first.
    rank: usize,
    word: Said,
    name: String,
    claimant: String,
    case: String,
    digest: String,
    found: Said,
    sure: Said,
    conditions: Vec<ConditionView>,
    parts: Vec<Said>,
    missing: Vec<Said>,
    items: Said,
    folder: Option<String>,
}

#[derive(Serialize)]
struct ConditionView {
    name: Said,
    state: &'static str,
    word: Said,
    power: Said,
}

/// The page of the docket: one file, sorted, filtered and printed in the browser, with links to the pages beside it.
///
/// # Errors
/// If the page's own template is broken, which the tests rule out.
pub fn to_html(entries: &[Entry], language: Language) -> Result<String> {
    let view = View {
        language: code(language),
        title: text!("docket/page/title").into(),
        counted: counted(entries).into(),
        entries: entries.iter().map(entry_view).collect(),
    };
    page(PAGE, SCRIPT, "docket", &view)
}

fn entry_view(entry: &Entry) -> EntryView {
    let report = match &entry.report {
        Ok(report) => report,
        Err(why) => {
            return EntryView {
                outcome: "failed",
                rank: 3,
                word: text!("docket/page/failed").into(),
                name: shortened(&entry.given, LETTERS),
                claimant: String::new(),
                case: String::new(),
                digest: String::new(),
                found: failed(why).into(),
                sure: Said::default(),
                conditions: Vec::new(),
                parts: Vec::new(),
                missing: Vec::new(),
                items: Said::default(),
                folder: None,
            };
        }
    };
    let conditions = report.answer.rests.iter().map(|rest| ConditionView {
        name: super::html::condition(&rest.condition),
        state: wording::condition(rest.state),
        word: super::html::state(rest.state),
        power: (&rest.power.said).into(),
    });
    let missing: Vec<Said> = report.verdict.missing.iter().map(Said::from).collect();
    EntryView {
        outcome: wording::outcome(report.verdict.outcome),
        rank: match report.verdict.outcome {
            Outcome::Refuted => 0,
            Outcome::Inconclusive => 1,
            Outcome::Confirmed => 2,
        },
        word: answer::word(report.verdict.outcome).into(),
        name: shortened(&wording_name(report), LETTERS),
        claimant: report.case.claimant.as_deref().map(|name| shortened(name, LETTERS)).unwrap_or_default(),
        case: shortened(&report.case.name, LETTERS),
        digest: report.case.digest.clone(),
        found: (&report.answer.found).into(),
        sure: (&report.answer.sure.said).into(),
        conditions: conditions.collect(),
        parts: parts(report),
        items: text!("docket/page/items", count = missing.len()).into(),
        missing,
        folder: entry.folder.clone(),
    }
}

fn parts(report: &Report) -> Vec<Said> {
    let of = |outcome: ComponentOutcome, parent: Option<&String>| -> Vec<Text> {
        report
            .components
            .iter()
            .filter(|one| one.outcome == outcome && parent.is_none_or(|parent| one.parent.as_ref() == Some(parent)))
            .map(|one| part(&one.name))
            .collect()
    };
    let mut told = Vec::new();
    for parent in &report.answer.accused {
        let parts = of(ComponentOutcome::Derived, Some(parent));
        if !parts.is_empty() {
            told.push(text!("docket/page/taken", parent, parts).into());
        }
    }
    let own = of(ComponentOutcome::Independent, None);
    if !own.is_empty() {
        told.push(text!("docket/page/own", parts = own).into());
    }
    let open = of(ComponentOutcome::Undetermined, None);
    if !open.is_empty() {
        told.push(text!("docket/page/open", parts = open).into());
    }
    told
}

#[cfg(test)]
mod tests {
    use super::{Entry, to_csv, to_html, to_json, to_markdown};
    use crate::sample;
    use scratchproof_texts::Language;

    fn entries(word: &str) -> Vec<Entry> {
        let (mut report, _) = sample::refuted();
        report.case.name = word.into();
        report.case.subject = word.into();
        report.case.claimant = Some(word.into());
        let report = report.answered();
        vec![
            Entry { given: word.into(), folder: Some("cases/one".into()), report: Ok(Box::new(report)) },
            Entry { given: word.into(), folder: None, report: Err(word.into()) },
        ]
    }

    #[test]
    fn names_of_others_stay_text_in_every_form() {
        for word in [
            "=HYPERLINK(\"http://x\")",
            "</script><script>alert(1)</script>\u{202e}\u{1b}[2J\u{0}",
            &"가".repeat(10_000),
        ] {
            let entries = entries(word);
            for text in [
                to_csv(&entries),
                to_html(&entries, Language::English).expect("a page"),
                to_markdown(&entries, Language::Korean),
                to_json(&entries),
            ] {
                assert!(!text.contains(['\u{1b}', '\u{0}']), "{word}");
            }
            let page = to_html(&entries, Language::Korean).expect("a page");
            assert_eq!(page.matches("<script").count(), 1);
            assert!(!page.contains('\u{202e}') && page.len() < 400_000);
            let csv = to_csv(&entries);
            assert!(!csv.lines().any(|line| line.starts_with("\"=") || line.contains(",\"=")), "{csv}");
            assert_eq!(csv.lines().count(), 3);
            assert!(serde_json::from_str::<serde_json::Value>(&to_json(&entries)).is_ok());
        }
    }
}
