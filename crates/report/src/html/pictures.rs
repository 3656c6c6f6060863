//! The pictures and the tables of their figures.

use std::collections::BTreeSet;

use minijinja::Value;
use scratchproof_texts::text;
use serde::Serialize;

use crate::answer::part;
use crate::said::Said;
use crate::scene::{self, Map, Series};
use crate::svg::Svg;
use crate::{chart, heatmap, lanes, number, plane};
use scratchproof_evidence::{Evidence, Reference, TimelineRow};

/// Cells of a layer map that are also given as a table.
const TABLED: usize = 1200;

#[derive(Serialize)]
pub(super) struct Legend {
    pub label: String,
    pub swatch: Value,
}

#[derive(Serialize)]
pub(super) struct ChartView {
    title: Said,
    drawing: Value,
    steps: Vec<i64>,
    rows: Vec<ChartRow>,
}

#[derive(Serialize)]
struct ChartRow {
    label: String,
    cells: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct PathView {
    note: Said,
    drawing: Value,
    header: [&'static str; 6],
    rows: Vec<[String; 6]>,
}

#[derive(Serialize)]
pub(super) struct EventsView<'a> {
    drawing: Value,
    more: Said,
    rows: Vec<EventView<'a>>,
}

#[derive(Serialize)]
struct EventView<'a> {
    when: String,
    what: &'a str,
    grade: &'a str,
    source: &'a str,
    left_out: Said,
}

#[derive(Serialize)]
pub(super) struct MapGroup {
    title: String,
    main: MapView,
    others: Vec<MapView>,
}

#[derive(Serialize)]
struct MapView {
    family: Said,
    words: Said,
    drawing: Value,
    /// Too many layers for a narrow drawing.
    wide: bool,
    columns: Vec<u32>,
    rows: Vec<(u32, Vec<String>)>,
}

pub(super) fn charts(series: &[Series]) -> Vec<ChartView> {
    let axis = chart::Axis::new(series);
    let references: BTreeSet<&Reference> =
        series.iter().flat_map(|one| &one.lines).map(|line| &line.reference).collect();
    let references: Vec<&Reference> = references.into_iter().collect();
    series.iter().map(|one| chart_view(one, &axis, &references)).collect()
}

fn chart_view(series: &Series, axis: &chart::Axis, references: &[&Reference]) -> ChartView {
    let steps: BTreeSet<i64> = series.lines.iter().flat_map(|line| &line.points).map(|point| point.step).collect();
    let rows = series.lines.iter().map(|line| ChartRow {
        label: line.label(),
        cells: steps
            .iter()
            .map(|step| match line.points.iter().find(|point| point.step == *step) {
                Some(point) => format!("{} (z {})", number::effect(point.effect), number::z(point.z)),
                None => "–".to_owned(),
            })
            .collect(),
    });
    ChartView {
        title: part(&series.name).into(),
        drawing: Value::from_safe_string(chart::draw(series, axis, references)),
        rows: rows.collect(),
        steps: steps.into_iter().collect(),
    }
}

/// The path of the whole model.
pub(super) fn path(evidence: &Evidence) -> Option<PathView> {
    let rows = plane::path(evidence);
    (!rows.is_empty()).then(|| PathView {
        note: text!("page/path/note", plane = plane::describe(&rows)).into(),
        drawing: Value::from_safe_string(plane::draw(&rows)),
        header: plane::HEADER,
        rows: rows.into_iter().map(plane::cells).collect(),
    })
}

/// One group a parent or control: its first map (family `all` where there is one) and the others.
pub(super) fn maps(maps: &[Map<'_>], side: f64) -> Vec<MapGroup> {
    maps.chunk_by(|one, next| one.parent == next.parent)
        .filter_map(|group| {
            let (main, others) = group.split_first()?;
            let others = others.iter().map(|one| map(one, side)).collect();
            Some(MapGroup { title: main.title(), main: map(main, side), others })
        })
        .collect()
}

fn map(map: &Map<'_>, side: f64) -> MapView {
    let columns: BTreeSet<u32> = map.cells.keys().map(|key| key.1).collect();
    let rows: BTreeSet<u32> = map.cells.keys().map(|key| key.0).collect();
    let tabled = map.cells.len() <= TABLED;
    let cells = |row: u32| columns.iter().map(|&at| number::z(map.cells.get(&(row, at)).copied().flatten())).collect();
    MapView {
        family: if map.family == "all" { text!("page/map/all").into() } else { Said::plain(map.family) },
        words: heatmap::describe(map),
        wide: side * columns.len().max(rows.len()) as f64 > 330.0,
        drawing: Value::from_safe_string(heatmap::draw(map, side)),
        rows: if tabled { rows.iter().map(|&row| (row, cells(row))).collect() } else { Vec::new() },
        columns: if tabled { columns.iter().copied().collect() } else { Vec::new() },
    }
}

/// `rows` are told one by one, `all` are drawn; `more` is what is to be said of the others.
pub(super) fn events<'a>(rows: &'a [TimelineRow], all: &[TimelineRow], more: Said) -> Option<EventsView<'a>> {
    (!rows.is_empty()).then(|| EventsView {
        drawing: Value::from_safe_string(lanes::draw(all)),
        more,
        rows: lanes::shown(rows)
            .into_iter()
            .map(|(row, left_out)| EventView {
                when: lanes::when(row),
                what: &row.what,
                grade: &row.grade,
                source: &row.source,
                left_out: if left_out > 0 {
                    text!("page/timeline/more", count = left_out).into()
                } else {
                    Said::default()
                },
            })
            .collect(),
    })
}

/// The marks of the timeline.
pub(super) fn grades() -> Vec<Legend> {
    lanes::GRADES
        .iter()
        .map(|&(label, class, shape)| {
            let mut svg = Svg::new(14.0, 12.0, "swatch", label);
            svg.mark(&format!("mark {class}"), shape, (7.0, 6.0), "");
            Legend { label: label.to_owned(), swatch: Value::from_safe_string(svg.finish()) }
        })
        .collect()
}

/// The lines of all components.
pub(super) fn series(evidence: &Evidence, order: &[&str]) -> Vec<Series> {
    scene::series(evidence, order)
}
