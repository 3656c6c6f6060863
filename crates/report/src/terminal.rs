//! The report for a terminal: readable without colour, in any width from about 40 columns.

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width, presets};

use super::{Condition, Outcome, Report, number, plane, scene, text, wording};
use scratchproof_evidence::Evidence;
use scratchproof_finding::{Direction, Finding, Grade};
use scratchproof_texts::{Language, Text, phrase, term, text};

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
    page.path(evidence);
    page.findings(report);
    page.missing(report);
    page.coverage(report);
    page.out
}

/// The verdict alone, in one line.
#[must_use]
pub fn verdict_line(report: &Report, language: Language) -> String {
    let said = wording::headline(report).say(language);
    let word = wording::outcome_word(report.verdict.outcome, language).to_uppercase();
    format!("{word}: {}\n", text::printable(&said))
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
        let style = match report.verdict.outcome {
            Outcome::Confirmed => AnsiColor::Green,
            Outcome::Refuted => AnsiColor::Red,
            Outcome::Inconclusive => AnsiColor::Yellow,
        };
        let word = format!("{}:", wording::outcome_word(report.verdict.outcome, self.look.language).to_uppercase());
        self.hanging(&word, style.on_default().bold(), &self.say(&wording::headline(report)), 2);
        self.paragraph(2, &self.say(&wording::meaning(report)));
    }

    fn conditions(&mut self, report: &Report) {
        self.out.push('\n');
        let stated = wording::conditions(report);
        let names = stated.iter().map(|one| text::width(&self.say(&one.name))).max().unwrap_or(0).min(12);
        for stated in stated {
            let style = match stated.state {
                Condition::Holds => AnsiColor::Green.on_default(),
                Condition::Fails => AnsiColor::Red.on_default().bold(),
                Condition::Untested => AnsiColor::Yellow.on_default(),
            };
            let name = self.say(&stated.name);
            let state = term("condition", wording::condition(stated.state), self.look.language);
            // Columns, not characters: Hangul is two columns wide.
            let gap = " ".repeat(names.saturating_sub(text::width(&name)) + 2);
            let label = format!("{name}{gap}{state}");
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
                text::printable(&term("component", &component.name, self.look.language)),
                term("part", wording::component(component.outcome), self.look.language),
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
                text::printable(&line.label_in(self.look.language)),
                first.step.to_string(),
                number::z(first.z),
                last.step.to_string(),
                number::z(last.z),
                number::effect(last.effect),
            ]);
        }
        self.put(table, &[1, 2, 3, 4, 5]);
    }

    /// The path of the whole model, step by step.
    fn path(&mut self, evidence: &Evidence) {
        let rows = plane::path(evidence);
        if rows.is_empty() {
            return;
        }
        self.heading(&text!("report/heading/path"));
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
        let weight = wording::weight(finding, self.look.language);
        let mut head = format!("{} ({weight})", finding.code);
        let about = self.say(&wording::subject(finding));
        if !about.is_empty() {
            head = format!("{head} {about}");
        }
        self.hanging(&format!("  {}", text::printable(&finding.id)), style, &head, 7);
        self.paragraph(7, &self.say(&finding.message));
        let figures = figures(finding, self.look.language);
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
            self.hanging(
                "  -",
                Style::new(),
                &format!(
                    "{}: {}",
                    phrase(&skipped.tensor, self.look.language),
                    phrase(&skipped.why, self.look.language)
                ),
                4,
            );
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
        let mut table = self.plain_table();
        table.set_header(header.iter().map(|word| term("column", word, self.look.language)));
        table
    }

    fn plain_table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(self.look.width - 1).unwrap_or(u16::MAX));
        table
    }

    /// Puts a table, in several below each other where its words are wider than the page.
    pub(super) fn put(&mut self, table: Table, right: &[usize]) {
        let columns = columns(&table);
        let blocks = blocks(&columns, right, self.look.width);
        if let [_] = &blocks[..] {
            return self.put_whole(table, right, &columns);
        }
        for (number, block) in blocks.iter().enumerate() {
            let chosen = |cells: &[String]| block.iter().map(|at| cells[*at].clone()).collect::<Vec<_>>();
            let mut own = self.plain_table();
            if let Some(header) = table.header() {
                own.set_header(chosen(&cells(header)));
            }
            for row in table.row_iter() {
                own.add_row(chosen(&cells(row)));
            }
            let right: Vec<usize> = (0..block.len()).filter(|at| right.contains(&block[*at])).collect();
            let columns: Vec<Column> = block.iter().map(|at| columns[*at]).collect();
            if number > 0 {
                self.out.push('\n');
            }
            self.put_whole(own, &right, &columns);
        }
    }

    fn put_whole(&mut self, mut table: Table, right: &[usize], columns: &[Column]) {
        for &index in right {
            if let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        keep_words(&mut table, columns, self.look.width);
        for line in table.lines() {
            self.out.push_str(format!(" {line}").trim_end());
            self.out.push('\n');
        }
    }
}

/// Cells stand this far apart, both sides together.
const PADDING: usize = 2;

/// What a column needs.
#[derive(Clone, Copy, Default)]
struct Column {
    /// Width of its longest word.
    word: usize,
    /// Whether a cell is empty because it says what the one above says.
    gaps: bool,
}

fn cells(row: &Row) -> Vec<String> {
    row.cell_iter().map(comfy_table::Cell::content).collect()
}

fn columns(table: &Table) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for row in table.header().into_iter().chain(table.row_iter()) {
        for (at, cell) in cells(row).iter().enumerate() {
            if columns.len() <= at {
                columns.push(Column::default());
            }
            let word = cell.split_whitespace().map(text::width).max().unwrap_or(0);
            columns[at].word = columns[at].word.max(word);
            columns[at].gaps |= cell.is_empty();
        }
    }
    columns
}

/// The columns of each table that a wide one is divided into. What names a row stands in all of them: the columns before the
/// first of figures, and the one after a column with gaps.
fn blocks(columns: &[Column], right: &[usize], width: usize) -> Vec<Vec<usize>> {
    let room = width.saturating_sub(1);
    let needed = |block: &[usize]| block.iter().map(|at| columns[*at].word + PADDING).sum::<usize>();
    let whole: Vec<usize> = (0..columns.len()).collect();
    let names = right.first().map_or(columns.len(), |first| (*first).max(1));
    let names = if names == 1 && columns.first().is_some_and(|first| first.gaps) { 2 } else { names };
    let fits = |at: usize| needed(&whole[..names]) + columns[at].word + PADDING <= room;
    if needed(&whole) <= room || names >= columns.len() || !(names..columns.len()).all(fits) {
        return vec![whole];
    }
    let mut blocks = vec![whole[..names].to_vec()];
    for (at, own) in columns.iter().enumerate().skip(names) {
        let last = blocks.len() - 1;
        if needed(&blocks[last]) + own.word + PADDING > room {
            blocks.push(whole[..names].to_vec());
        }
        let last = blocks.len() - 1;
        blocks[last].push(at);
    }
    blocks
}

/// Gives every column the room of its longest word, where there is room for all of them: no word is cut.
fn keep_words(table: &mut Table, columns: &[Column], width: usize) {
    if columns.iter().map(|column| column.word + PADDING).sum::<usize>() > width.saturating_sub(1) {
        return;
    }
    for (at, own) in columns.iter().enumerate() {
        let least = u16::try_from(own.word + PADDING).unwrap_or(u16::MAX);
        if let Some(column) = table.column_mut(at) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
        }
    }
}

fn figures(finding: &Finding, language: Language) -> String {
    let parts = [
        ("statistic", finding.statistic.map(|value| number::short(Some(value)))),
        ("log10 p", finding.log10_p.map(|value| number::short(Some(value)))),
        ("effect", finding.effect.map(|value| number::effect(Some(value)))),
        ("n", finding.n.map(|value| value.to_string())),
    ];
    let said = |(name, value): (&str, Option<String>)| Some(format!("{} {}", term("column", name, language), value?));
    parts.into_iter().filter_map(said).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{Column, blocks};

    #[test]
    fn a_wide_table_becomes_several_and_no_word_is_cut() {
        let column = |word| Column { word, gaps: false };
        let columns = [column(9), column(5), column(7), column(6), column(8)];
        assert_eq!(blocks(&columns, &[1, 2, 3, 4], 46), [[0, 1, 2, 3, 4]]);
        assert_eq!(blocks(&columns, &[1, 2, 3, 4], 45), [vec![0, 1, 2, 3], vec![0, 4]]);
        assert_eq!(blocks(&columns, &[1, 2, 3, 4], 30), [[0, 1, 2], [0, 3, 4]]);
        // What says which row it is stands in each, and where nothing fits beside it the table stays one.
        let gaps = [Column { word: 9, gaps: true }, column(5), column(7), column(6)];
        assert_eq!(blocks(&gaps, &[1, 2, 3], 30), [vec![0, 1, 2], vec![0, 1, 3]]);
        assert_eq!(blocks(&gaps, &[1, 2, 3], 20), [[0, 1, 2, 3]]);
    }
}
