//! The path of the whole model in the plane of its first two principal components: one drawing and one table, from
//! `evidence/path.parquet`.

use super::number;
use super::svg::Svg;
use scratchproof_evidence::{Evidence, PathRow};
use scratchproof_texts::{Text, text};

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 260.0;
const MARGIN: f64 = 26.0;
/// More on the left and below, for the axes.
const AXES: f64 = 24.0;
/// Least distance of two labels.
const APART: f64 = 16.0;

/// The rows of the whole model, by step; none where there is no plane.
pub(super) fn path(evidence: &Evidence) -> Vec<&PathRow> {
    let mut rows: Vec<_> = evidence.path.iter().filter(|row| row.component == "all" && at(row).is_some()).collect();
    rows.sort_by_key(|row| row.step);
    if rows.len() > 2 { rows } else { Vec::new() }
}

fn at(row: &PathRow) -> Option<(f64, f64)> {
    let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
    finite(row.pc1).zip(finite(row.pc2))
}

/// What the table's columns are called.
pub(super) const HEADER: [&str; 6] = ["step", "speed", "turn", "cosine with start", "decay leaves", "progress kept"];

/// One checkpoint of the table.
pub(super) fn cells(row: &PathRow) -> [String; 6] {
    let turn = row.turn.filter(|turn| turn.is_finite()).map_or_else(|| "–".to_owned(), |turn| format!("{turn:.0}°"));
    [
        row.step.to_string(),
        number::effect(row.relative_speed),
        turn,
        number::effect(row.start_cosine),
        number::effect(row.expected_cosine),
        number::effect(row.carried),
    ]
}

/// The drawing in words.
pub(super) fn describe(rows: &[&PathRow]) -> Text {
    let share = |value: Option<f64>| value.filter(|v| v.is_finite()).unwrap_or(0.0);
    let first = rows.first();
    text!(
        "report/path/plane",
        checkpoints = rows.len(),
        one = share(first.and_then(|row| row.share1)),
        two = share(first.and_then(|row| row.share2))
    )
}

/// The drawing: both axes in one scale, so that turns are as they are.
pub(super) fn draw(rows: &[&PathRow]) -> String {
    let mut svg = Svg::named(WIDTH, HEIGHT, "chart", &describe(rows).into());
    let points: Vec<(f64, f64)> = rows.iter().filter_map(|row| at(row)).collect();
    let range = |of: fn(&(f64, f64)) -> f64| {
        points.iter().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)))
    };
    let (x, y) = (range(|p| p.0), range(|p| p.1));
    let room = (WIDTH - 2.0 * MARGIN - AXES, HEIGHT - 2.0 * MARGIN - AXES);
    let scale = (room.0 / (x.1 - x.0)).min(room.1 / (y.1 - y.0));
    let scale = if scale.is_finite() { scale } else { 0.0 };
    let place = |point: &(f64, f64)| {
        let centre = |(low, high): (f64, f64)| f64::midpoint(low, high);
        (
            f64::midpoint(WIDTH, AXES) + scale * (point.0 - centre(x)),
            (HEIGHT - AXES) / 2.0 - scale * (point.1 - centre(y)),
        )
    };
    let places: Vec<(f64, f64)> = points.iter().map(place).collect();
    let (left, bottom) = (AXES + 10.0, HEIGHT - AXES - 10.0);
    svg.line("zero", (left, 6.0), (left, bottom));
    svg.line("zero", (left, bottom), (WIDTH - 6.0, bottom));
    for value in [x.0, x.1] {
        let at = place(&(value, y.0)).0;
        svg.line("grid", (at, bottom), (at, bottom + 4.0));
        svg.text("tick middle", (at, bottom + 14.0), &number::short(Some(value)));
    }
    for value in [y.0, y.1] {
        let at = place(&(x.0, value)).1;
        svg.line("grid", (left - 4.0, at), (left, at));
        svg.upward("tick middle", (left - 8.0, at), &number::short(Some(value)));
    }
    let share = |of: fn(&PathRow) -> Option<f64>| rows.first().and_then(|row| of(row)).unwrap_or(0.0);
    let middle = (f64::midpoint(left, WIDTH), HEIGHT - 6.0);
    svg.said("tick middle", middle, &text!("page/path/first", share = share(|row| row.share1)).into());
    let middle = (11.0, bottom / 2.0);
    svg.said_upward("tick middle", middle, &text!("page/path/second", share = share(|row| row.share2)).into());
    svg.polyline("line own", &places);
    for (row, at) in rows.iter().zip(&places) {
        let note = format!(
            "step {}: scores {} and {}, relative speed {}",
            row.step,
            number::short(row.pc1),
            number::short(row.pc2),
            number::short(row.relative_speed)
        );
        svg.mark("mark own", 0, *at, &note);
    }
    // The ends first: they matter most where there is no room for all.
    let mut labelled: Vec<(f64, f64)> = Vec::new();
    let mut order: Vec<usize> = (0..rows.len()).rev().collect();
    if let Some(first) = order.pop() {
        order.insert(1.min(order.len()), first);
    }
    for (row, &(x, y)) in order.iter().map(|&at| (&rows[at], &places[at])) {
        if labelled.iter().all(|l| (l.0 - x).abs() > 2.0 * APART || (l.1 - y).abs() > APART) {
            let end = x > WIDTH / 2.0;
            svg.text(
                if end { "tick end" } else { "tick" },
                (x + if end { -7.0 } else { 7.0 }, y - 6.0),
                &row.step.to_string(),
            );
            labelled.push((x, y));
        }
    }
    svg.finish()
}
