//! The report for a terminal: readable without colour, in any width from about 40 columns.

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::{Condition, Outcome, Report, number, plane, scene, text, wording};
use scratchproof_evidence::Evidence;
use scratchproof_finding::{Direction, Finding, Grade};
use scratchproof_texts::{Language, Text, text};

/// How the terminal wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whether to write ANSI colours.
    pub colour: bool,
    /// Columns.
    pub width: usize,
    /// Whether findings of grade `context` are written out rather than counted.
    pub verbose: bool,
    /// Of sentences and headings.
    pub language: Language,
}

impl Default for Look {
    fn default() -> Self {
        Self { colour: false, width: 80, verbose: false, language: Language::English }
    }
}

/// The whole report, verdict first, one newline at the end.
#[must_use]
pub fn render(report: &Report, evidence: &Evidence, look: Look) -> String {
    let mut page = Page::new(look);
    page.verdict(report);
    page.conditions(report);
    page.components(report);
    page.series(evidence);
    page.way(evidence);
    page.findings(report);
    page.missing(report);
    page.coverage(report);
    page.out
}

/// The verdict alone, in one line.
#[must_use]
pub fn verdict_line(report: &Report, language: Language) -> String {
    let said = wording::headline(report).say(language);
    format!("{}: {}\n", wording::outcome(report.verdict.outcome).to_uppercase(), text::printable(&said))
}

pub(super) struct Page {
    pub look: Look,
    pub out: String,
}

impl Page {
    pub(super) fn new(look: Look) -> Self {
        Self { look: Look { width: look.width.max(24), ..look }, out: String::new() }
    }

    fn verdict(&mut self, report: &Report) {
        let (word, style) = match report.verdict.outcome {
            Outcome::Confirmed => ("CONFIRMED:", AnsiColor::Green),
            Outcome::Refuted => ("REFUTED:", AnsiColor::Red),
            Outcome::Inconclusive => ("INCONCLUSIVE:", AnsiColor::Yellow),
        };
        self.hanging(word, style.on_default().bold(), &self.say(&wording::headline(report)), 2);
        self.paragraph(2, &self.say(&wording::meaning(report)));
    }

    fn conditions(&mut self, report: &Report) {
        self.out.push('\n');
        for stated in wording::conditions(report) {
            let style = match stated.state {
                Condition::Holds => AnsiColor::Green.on_default(),
                Condition::Fails => AnsiColor::Red.on_default().bold(),
                Condition::Untested => AnsiColor::Yellow.on_default(),
            };
            let name = self.say(&stated.name);
            let label = format!(
                "{name}{}{:<9}",
                " ".repeat(7_usize.saturating_sub(text::width(&name))),
                wording::condition(stated.state)
            );
            self.hanging(&label, style, &self.say(&stated.sentence), 18);
        }
    }

    fn components(&mut self, report: &Report) {
        if report.components.is_empty() {
            return;
        }
        self.heading(&text!("report/heading/components"));
        let mut table = self.table(&["component", "outcome", "z", "effect", "nearest parent", "derived layers"]);
        for component in &report.components {
            table.add_row([
                text::printable(&component.name),
                wording::component(component.outcome).to_owned(),
                number::z(component.z),
                number::effect(component.effect),
                component.parent.as_deref().map_or_else(|| "–".to_owned(), text::printable),
                wording::layers(&component.layers),
            ]);
        }
        self.put(table, &[2, 3]);
    }

    /// The whole model against every reference, at the first and the last step.
    fn series(&mut self, evidence: &Evidence) {
        let scene = scene::series(evidence, &[]);
        let Some(whole) = scene.iter().find(|component| component.name == "all") else { return };
        self.heading(&text!("report/heading/whole-model"));
        let mut table = self.table(&["against", "first step", "z", "last step", "z", "effect"]);
        for line in &whole.lines {
            let (Some(first), Some(last)) = (line.points.first(), line.points.last()) else { continue };
            table.add_row([
                text::printable(&line.label()),
                first.step.to_string(),
                number::z(first.z),
                last.step.to_string(),
                number::z(last.z),
                number::effect(last.effect),
            ]);
        }
        self.put(table, &[1, 2, 3, 4, 5]);
    }

    /// The way of the whole model, step by step.
    fn way(&mut self, evidence: &Evidence) {
        let rows = plane::way(evidence);
        if rows.is_empty() {
            return;
        }
        self.heading(&text!("report/heading/way"));
        self.paragraph(2, &self.say(&plane::describe(&rows)));
        let mut table = self.table(&plane::HEADER);
        for row in rows {
            table.add_row(plane::cells(row));
        }
        self.put(table, &[0, 1, 2, 3, 4, 5]);
    }

    fn findings(&mut self, report: &Report) {
        let decided = wording::decided(report);
        if !decided.is_empty() {
            self.heading(&text!("report/heading/decided"));
            for finding in &decided {
                self.finding(finding);
            }
        }
        for (key, name) in wording::groups() {
            let rest: Vec<_> = wording::of(report, key).filter(|finding| !wording::decides(report, finding)).collect();
            let (shown, counted): (Vec<_>, Vec<_>) =
                rest.into_iter().partition(|finding| self.look.verbose || finding.grade != Grade::Context);
            if shown.is_empty() && counted.is_empty() {
                continue;
            }
            self.heading(&name);
            for finding in shown {
                self.finding(finding);
            }
            if !counted.is_empty() {
                self.paragraph(2, &self.say(&text!("report/finding/context", count = counted.len())));
            }
        }
    }

    pub(super) fn finding(&mut self, finding: &Finding) {
        let style = match (finding.direction, finding.grade) {
            (Direction::Against, Grade::Conclusive | Grade::Strong) => AnsiColor::Red.on_default().bold(),
            (Direction::Against, _) => AnsiColor::Yellow.on_default(),
            (Direction::For, _) => AnsiColor::Green.on_default(),
            (Direction::Neutral, _) => Style::new().dimmed(),
        };
        let weight = match finding.direction {
            Direction::Neutral => wording::grade(finding.grade).to_owned(),
            direction => format!("{}, {} the claim", wording::grade(finding.grade), wording::direction(direction)),
        };
        let mut head = format!("{} ({weight})", finding.code);
        let about = self.say(&wording::subject(finding));
        if !about.is_empty() {
            head = format!("{head} {about}");
        }
        self.hanging(&format!("  {}", text::printable(&finding.id)), style, &head, 7);
        self.paragraph(7, &self.say(&finding.message));
        let figures = figures(finding);
        if !figures.is_empty() {
            self.paragraph(7, &figures);
        }
    }

    fn missing(&mut self, report: &Report) {
        if report.verdict.missing.is_empty() {
            return;
        }
        self.heading(&text!("report/heading/missing"));
        for item in &report.verdict.missing {
            self.hanging("  -", Style::new(), &self.say(item), 4);
        }
    }

    fn coverage(&mut self, report: &Report) {
        self.heading(&text!("report/heading/coverage"));
        let coverage = &report.coverage;
        let line = self.say(&wording::coverage(coverage));
        self.paragraph(2, &line.replace('\u{a0}', " "));
        let shown = if self.look.verbose { coverage.skipped.len() } else { 5 };
        for skipped in coverage.skipped.iter().take(shown) {
            self.hanging("  -", Style::new(), &format!("{}: {}", skipped.tensor, skipped.why), 4);
        }
        if coverage.skipped.len() > shown {
            self.paragraph(2, &self.say(&text!("report/coverage/more", count = coverage.skipped.len() - shown)));
        }
    }

    /// A text in the language of the page.
    pub(super) fn say(&self, text: &Text) -> String {
        text.say(self.look.language)
    }

    pub(super) fn heading(&mut self, name: &Text) {
        self.out.push('\n');
        let styled = self.paint(Style::new().bold(), &self.say(name));
        self.out.push_str(&styled);
        self.out.push('\n');
    }

    /// Lines of words behind a margin.
    pub(super) fn paragraph(&mut self, margin: usize, words: &str) {
        for line in text::fold(&text::printable(words), self.look.width.saturating_sub(margin)) {
            self.out.push_str(format!("{:margin$}{line}", "").trim_end());
            self.out.push('\n');
        }
    }

    /// A label, and words beside it that keep their margin when they wrap.
    pub(super) fn hanging(&mut self, label: &str, style: Style, words: &str, margin: usize) {
        let label = label.trim_end();
        let used = text::width(label);
        let gap = if used < margin { margin - used } else { 1 };
        let room = |margin: usize| self.look.width.saturating_sub(margin);
        let lines = text::fold_after(&text::printable(words), room(used + gap), room(margin));
        let painted = self.paint(style, label);
        self.out.push_str(&painted);
        for (at, line) in lines.iter().enumerate() {
            self.out.push_str(&" ".repeat(if at == 0 { gap } else { margin }));
            self.out.push_str(line);
            self.out.push('\n');
        }
    }

    pub(super) fn paint(&self, style: Style, words: &str) -> String {
        let body = words.trim_start();
        let margin = &words[..words.len() - body.len()];
        if self.look.colour { format!("{margin}{style}{body}{style:#}") } else { words.to_owned() }
    }

    pub(super) fn table(&self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(self.look.width - 1).unwrap_or(u16::MAX)).set_header(header.iter().copied());
        table
    }

    pub(super) fn put(&mut self, mut table: Table, right: &[usize]) {
        for &index in right {
            if let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for line in table.lines() {
            self.out.push_str(format!(" {line}").trim_end());
            self.out.push('\n');
        }
    }
}

fn figures(finding: &Finding) -> String {
    let mut parts = Vec::new();
    parts.extend(finding.statistic.map(|value| format!("figure {}", number::short(Some(value)))));
    parts.extend(finding.log10_p.map(|value| format!("log10 p {}", number::short(Some(value)))));
    parts.extend(finding.effect.map(|value| format!("effect {}", number::effect(Some(value)))));
    parts.extend(finding.n.map(|value| format!("n {value}")));
    parts.join(", ")
}
