//! Similarity over the steps: one small drawing a component.

use std::fmt::Write;

use super::number;
use super::scene::{Line, Point, Series};
use super::svg::Svg;
use scratchproof_evidence::Reference;

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 196.0;
const LEFT: f64 = 34.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 36.0;
const LOWEST: f64 = -0.1;
const HIGHEST: f64 = 1.0;
/// Least room for the label of a step.
const LABEL: f64 = 34.0;

/// Where the steps are on the axis, the same for all drawings.
pub(super) struct Axis {
    steps: Vec<i64>,
    root: bool,
}

impl Axis {
    /// The steps of all series. Steps that would lie on each other are spread by their square root.
    pub fn new(series: &[Series]) -> Self {
        let mut steps: Vec<i64> =
            series.iter().flat_map(|one| &one.lines).flat_map(|line| &line.points).map(|point| point.step).collect();
        steps.sort_unstable();
        steps.dedup();
        let span = spread(steps.first(), steps.last());
        let gap = steps.windows(2).map(|pair| spread(pair.first(), pair.last())).fold(f64::INFINITY, f64::min);
        Self { root: span > 16.0 * gap, steps }
    }

    /// Whether the axis shows square roots.
    pub fn is_root(&self) -> bool {
        self.root
    }

    fn x(&self, step: i64) -> f64 {
        let (first, last) = (self.steps.first(), self.steps.last());
        let scale = |value: f64| if self.root { value.max(0.0).sqrt() } else { value };
        let (at, span) = (scale(spread(first, Some(&step))), scale(spread(first, last)));
        let room = WIDTH - LEFT - RIGHT;
        if span > 0.0 { LEFT + room * at / span } else { LEFT + room / 2.0 }
    }

    /// Steps with a label: the last, the first, and from right to left those with room between.
    fn labelled(&self) -> Vec<i64> {
        let mut labelled: Vec<i64> = Vec::new();
        let first = self.steps.first().map_or(0.0, |&step| self.x(step));
        for (at, &step) in self.steps.iter().enumerate().rev() {
            let x = self.x(step);
            let clear = labelled.last().is_none_or(|&next| self.x(next) - x >= LABEL);
            if clear && (at == 0 || x - first >= LABEL || labelled.is_empty()) {
                labelled.push(step);
            }
        }
        labelled
    }
}

fn spread(first: Option<&i64>, last: Option<&i64>) -> f64 {
    match (first, last) {
        (Some(&first), Some(&last)) => last as f64 - first as f64,
        _ => 0.0,
    }
}

fn y(effect: f64) -> f64 {
    let share = (effect.clamp(LOWEST, HIGHEST) - LOWEST) / (HIGHEST - LOWEST);
    HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
}

/// How a line looks: class and mark by what it is and which of its kind.
pub(super) fn look(lines: &[&Reference], reference: &Reference) -> (String, usize) {
    let nth = |same: fn(&Reference) -> bool| {
        lines.iter().filter(|other| same(other)).position(|other| *other == reference).unwrap_or(0)
    };
    match reference {
        Reference::Init | Reference::Previous => ("own".to_owned(), 0),
        Reference::Parent(_) | Reference::Relabelled(_) => {
            let at = nth(|other| matches!(other, Reference::Parent(_) | Reference::Relabelled(_)));
            (format!("parent{}", at % 4), 1 + (at + at / 4) % 4)
        }
        Reference::Control(_) => ("control".to_owned(), 4),
    }
}

/// One component: effect against the start, the parents and the controls, over the band of the null.
pub(super) fn draw(series: &Series, axis: &Axis, references: &[&Reference]) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT, "chart", &describe(series));
    for (at, label) in [(0.0, "0"), (0.5, "0.5"), (1.0, "1")] {
        svg.line(if at == 0.0 { "zero" } else { "grid" }, (LEFT, y(at)), (WIDTH - RIGHT, y(at)));
        svg.text("tick end", (LEFT - 9.0, y(at) + 3.5), label);
    }
    band(&mut svg, &series.null(), axis);
    for &step in &axis.steps {
        svg.line("grid", (axis.x(step), HEIGHT - BOTTOM), (axis.x(step), HEIGHT - BOTTOM + 4.0));
    }
    let labelled = axis.labelled();
    for &step in &labelled {
        let class = if labelled.first() == Some(&step) && labelled.len() > 1 { "tick end" } else { "tick middle" };
        let x = if class == "tick end" { WIDTH - 1.0 } else { axis.x(step) };
        svg.text(class, (x, HEIGHT - BOTTOM + 16.0), &compact(step));
    }
    svg.text(
        "tick middle",
        (LEFT + (WIDTH - LEFT - RIGHT) / 2.0, HEIGHT - 5.0),
        if axis.root { "step, square-root scale" } else { "step" },
    );
    // What matters least first, so that parents lie on top.
    for line in series.lines.iter().rev() {
        let (class, mark) = look(references, &line.reference);
        draw_line(&mut svg, line, axis, &class, mark);
    }
    svg.finish()
}

fn draw_line(svg: &mut Svg, line: &Line, axis: &Axis, class: &str, mark: usize) {
    let known: Vec<(&Point, (f64, f64))> = line
        .points
        .iter()
        .filter_map(|point| point.effect.map(|effect| (point, (axis.x(point.step), y(effect)))))
        .collect();
    let path: Vec<_> = known.iter().map(|(_, at)| *at).collect();
    if path.len() > 1 {
        svg.polyline(&format!("line {class}"), &path);
    }
    for (point, at) in known {
        let note = format!(
            "{}, step {}: effect {}, z {}",
            line.label(),
            point.step,
            number::effect(point.effect),
            number::z(point.z)
        );
        svg.mark(&format!("mark {class}"), mark, at, &note);
    }
}

fn band(svg: &mut Svg, null: &[(i64, f64)], axis: &Axis) {
    let edge = |&(step, width): &(i64, f64), sign: f64| (axis.x(step), y(sign * width));
    let mut points: Vec<_> = null.iter().map(|at| edge(at, 1.0)).collect();
    points.extend(null.iter().rev().map(|at| edge(at, -1.0)));
    if points.len() > 2 {
        svg.polygon("null", &points);
    }
}

/// The drawing in words.
fn describe(series: &Series) -> String {
    let mut words = format!("{}, effect over the steps.", series.title());
    for line in &series.lines {
        if let (Some(first), Some(last)) = (line.points.first(), line.points.last()) {
            // Writing to a string cannot fail.
            let _ = write!(
                words,
                " Against {}: {} at step {}, {} at step {}.",
                line.label(),
                number::effect(first.effect),
                first.step,
                number::effect(last.effect),
                last.step
            );
        }
    }
    words
}

/// A step that fits under its tick.
fn compact(step: i64) -> String {
    let size = step.unsigned_abs();
    match size {
        10_000_000.. => format!("{}M", step / 1_000_000),
        1_000_000.. => format!("{:.1}M", step as f64 / 1e6),
        10_000.. => format!("{}k", step / 1000),
        _ => step.to_string(),
    }
}
