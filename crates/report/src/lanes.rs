//! The dated facts as lanes, one a source: one drawing and one table, from `evidence/timeline.parquet`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::said::Said;
use super::svg::Svg;
use super::text;
use scratchproof_evidence::TimelineRow;
use scratchproof_texts::text;

const WIDTH: f64 = 760.0;
const LANE: f64 = 40.0;
const TOP: f64 = 36.0;
const AXIS: f64 = 30.0;
const MARGIN: f64 = 12.0;
/// Least distance of two labels of the axis.
const APART: f64 = 74.0;
/// More sources than this share the last lane.
const LANES: usize = 12;
/// More rows of one source than this are shown by their first and last ones.
pub(super) const SHOWN: usize = 12;
/// From so many rows on a lane shows one mark a unit of width.
const CROWD: usize = 1000;
/// Gaps are drawn by the logarithm of their length in these units.
const HOUR: f64 = 3600.0;

/// Grades with their class and mark; a grade that is not here looks like the second.
pub(super) const GRADES: [(&str, &str, usize); 4] = [
    ("self-asserted", "own", 0),
    ("announcement", "control", 2),
    ("platform", "parent2", 1),
    ("anchored", "parent1", 3),
];

/// The rows of one source.
pub(super) struct Lane<'a> {
    pub source: &'a str,
    pub rows: Vec<&'a TimelineRow>,
}

/// One lane a source, by its first date; rows whose date cannot be read are left out.
pub(super) fn lanes(rows: &[TimelineRow]) -> Vec<Lane<'_>> {
    let mut by: BTreeMap<&str, Vec<&TimelineRow>> = BTreeMap::new();
    for row in rows.iter().filter(|row| time(&row.at).is_some()) {
        by.entry(&row.source).or_default().push(row);
    }
    let mut lanes: Vec<Lane<'_>> = by.into_iter().map(|(source, rows)| Lane { source, rows }).collect();
    lanes.sort_by_key(|lane| lane.rows.first().and_then(|row| time(&row.at)));
    if lanes.len() > LANES {
        let rest = lanes.split_off(LANES - 1);
        lanes.push(Lane { source: "other sources", rows: rest.into_iter().flat_map(|lane| lane.rows).collect() });
    }
    lanes
}

/// The rows that a reader is shown: of every source with too many the first and the last ones, and how many lie between.
pub(super) fn shown(rows: &[TimelineRow]) -> Vec<(&TimelineRow, usize)> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        *count.entry(&row.source).or_default() += 1;
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut kept = Vec::new();
    for row in rows {
        let (at, of) = (seen.entry(&row.source).or_default(), count[row.source.as_str()]);
        *at += 1;
        if of <= SHOWN || *at <= SHOWN / 2 || *at > of - SHOWN / 2 {
            let left_out = if of > SHOWN && *at == SHOWN / 2 { of - SHOWN } else { 0 };
            kept.push((row, left_out));
        }
    }
    kept
}

/// The date of a row in words.
pub(super) fn when(row: &TimelineRow) -> String {
    let minute = |text: &str| time(text).map_or_else(|| text.to_owned(), |at| at.format("%Y-%m-%d %H:%M").to_string());
    match &row.until {
        Some(until) => format!("{} to {}", minute(&row.at), minute(until)),
        None => minute(&row.at),
    }
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.with_timezone(&Utc))
}

/// The drawing in words.
pub(super) fn describe(rows: &[TimelineRow]) -> Said {
    text!("page/timeline/describe", facts = rows.len(), sources = lanes(rows).len()).into()
}

/// The start of the training and the release of a parent that is nearest to it: what the question of time is about.
pub(super) fn question(rows: &[TimelineRow]) -> Option<(&TimelineRow, &TimelineRow)> {
    let dated = |row: &&TimelineRow| time(&row.at).is_some();
    let start = rows.iter().filter(dated).filter(|row| started(&row.what)).min_by_key(|row| time(&row.at))?;
    let from = time(&start.at)?;
    let released = rows.iter().filter(dated).filter(|row| row.what.ends_with(" became public"));
    let nearest = released.min_by_key(|row| time(&row.at).map(|at| (at - from).num_seconds().abs()))?;
    Some((nearest, start))
}

/// As the story of a record says it: `run ID started`, `run ID was created on the server`.
fn started(what: &str) -> bool {
    what.starts_with("run ") && (what.ends_with(" started") || what.ends_with(" was created on the server"))
}

/// Where the instants lie on the axis, between 0 and 1: every gap by its logarithm, so that an hour of a run and the years
/// between two releases can both be seen.
struct Axis {
    at: Vec<(DateTime<Utc>, f64)>,
}

impl Axis {
    fn new(mut times: Vec<DateTime<Utc>>) -> Self {
        times.sort();
        times.dedup();
        let mut at = Vec::with_capacity(times.len());
        let mut sum = 0.0;
        for (i, &time) in times.iter().enumerate() {
            if let Some(before) = i.checked_sub(1) {
                sum += ((time - times[before]).as_seconds_f64() / HOUR).ln_1p();
            }
            at.push((time, sum));
        }
        for place in &mut at {
            place.1 = if sum > 0.0 { place.1 / sum } else { 0.5 };
        }
        Self { at }
    }

    fn place(&self, time: DateTime<Utc>) -> f64 {
        let found = self.at.binary_search_by_key(&time, |place| place.0);
        MARGIN + (WIDTH - 2.0 * MARGIN) * found.map_or(0.0, |at| self.at[at].1)
    }
}

/// The drawing.
pub(super) fn draw(rows: &[TimelineRow]) -> String {
    let lanes = lanes(rows);
    let rows_of = lanes.iter().flat_map(|lane| &lane.rows);
    let ends = rows_of.flat_map(|row| [Some(row.at.as_str()), row.until.as_deref()]).flatten();
    let times: Vec<DateTime<Utc>> = ends.filter_map(time).collect();
    let axis = Axis::new(times);
    let bottom = TOP + LANE * lanes.len() as f64;
    let mut svg = Svg::named(WIDTH, bottom + AXIS, "lanes", &describe(rows));
    if let Some((released, start)) = question(rows)
        && let (Some(public), Some(began)) = (time(&released.at), time(&start.at))
    {
        let (from, to) = (axis.place(public), axis.place(began));
        svg.frame("span", (from.min(to), 4.0), ((to - from).abs(), bottom - 4.0));
        let days = (began - public).num_hours() as f64 / 24.0;
        let began = text!("page/timeline/start", days = days.abs(), after = days >= 0.0);
        for (x, height, words) in
            [(from, 14.0, Said::plain(text::shortened(&released.what, 60))), (to, 29.0, began.into())]
        {
            svg.line("edge", (x, 4.0), (x, bottom));
            let end = x > WIDTH / 2.0;
            svg.said(if end { "name end" } else { "name" }, (x + if end { -5.0 } else { 5.0 }, height), &words);
        }
    }
    for (index, lane) in lanes.iter().enumerate() {
        let top = TOP + LANE * index as f64;
        let middle = top + 27.0;
        svg.text("tick", (MARGIN, top + 13.0), &shorten(lane.source));
        svg.line("grid", (MARGIN, middle), (WIDTH - MARGIN, middle));
        let mut drawn = f64::NEG_INFINITY;
        for row in &lane.rows {
            let Some(at) = time(&row.at) else { continue };
            let x = axis.place(at);
            // A history of 100,000 commits is a line of marks; the table of the evidence has each.
            if lane.rows.len() > CROWD && x - drawn < 1.0 {
                continue;
            }
            drawn = x;
            let (_, look, shape) = GRADES.iter().find(|one| one.0 == row.grade).unwrap_or(&GRADES[1]);
            if let Some(until) = row.until.as_deref().and_then(time) {
                svg.line(&format!("line {look}"), (x, middle), (axis.place(until), middle));
            }
            let note = format!("{}: {} ({}, {})", when(row), row.what, row.grade, row.source);
            svg.mark(&format!("mark {look}"), *shape, (x, middle), &note);
        }
    }
    svg.line("zero", (MARGIN, bottom), (WIDTH - MARGIN, bottom));
    // The last date first: its label runs to the left.
    let mut labelled: Vec<(f64, f64)> = Vec::new();
    for (index, &(at, _)) in axis.at.iter().enumerate().rev().take(1).chain(axis.at.iter().enumerate()) {
        let x = axis.place(at);
        let end = index > 0 && index + 1 == axis.at.len();
        let span = if end { (x - APART, x) } else { (x, x + APART) };
        if labelled.iter().all(|taken| span.1 <= taken.0 || span.0 >= taken.1) {
            svg.line("grid", (x, TOP), (x, bottom + 4.0));
            svg.text(if end { "tick end" } else { "tick" }, (x, bottom + 18.0), &at.format("%Y-%m-%d").to_string());
            labelled.push(span);
        }
    }
    svg.finish()
}

fn shorten(source: &str) -> String {
    let letters: Vec<char> = source.chars().collect();
    if letters.len() <= 90 {
        return source.to_owned();
    }
    let tail: String = letters[letters.len() - 86..].iter().collect();
    format!("... {tail}")
}

#[cfg(test)]
mod tests {
    use super::{SHOWN, draw, lanes, shown, when};
    use scratchproof_evidence::TimelineRow;

    fn row(at: &str, until: Option<&str>, source: &str) -> TimelineRow {
        TimelineRow {
            at: at.into(),
            until: until.map(Into::into),
            what: "<b>".into(),
            source: source.into(),
            grade: "platform".into(),
        }
    }

    #[test]
    fn sources_are_lanes_by_their_first_date_and_the_last_one_takes_the_rest() {
        let mut rows = vec![row("2026-08-02T00:00:00Z", None, "b"), row("2026-08-01T00:00:00Z", None, "a")];
        assert_eq!(lanes(&rows).iter().map(|lane| lane.source).collect::<Vec<_>>(), ["a", "b"]);
        rows.extend((0..40).map(|i| row("2026-09-01T00:00:00Z", None, &format!("s{i}"))));
        let all = lanes(&rows);
        assert_eq!((all.len(), all[11].source, all[11].rows.len()), (12, "other sources", 31));
        let crowd: Vec<_> =
            (0..5000).map(|i| row(&format!("2026-08-01T00:{:02}:{:02}Z", i / 60 % 60, i % 60), None, "g")).collect();
        assert!(draw(&crowd).matches("<circle").count() + draw(&crowd).matches("<polygon").count() < 1000);
        rows.push(row("no date", None, "z"));
        assert!(draw(&rows).contains("&lt;b&gt;"));
    }

    #[test]
    fn of_many_rows_of_one_source_the_ends_are_shown() {
        let rows: Vec<_> = (0..100).map(|i| row(&format!("2026-08-01T00:00:{:02}Z", i % 60), None, "git")).collect();
        let kept = shown(&rows);
        assert_eq!(kept.len(), SHOWN);
        assert_eq!(kept.iter().map(|(_, left_out)| left_out).sum::<usize>(), 100 - SHOWN);
        assert_eq!(
            when(&row("2026-08-01T00:00:00Z", Some("2026-08-03T12:00:00Z"), "")),
            "2026-08-01 00:00 to 2026-08-03 12:00"
        );
    }
}
