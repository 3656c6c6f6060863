//! Similarity over the steps: one small drawing a component, all on one scale.

use std::fmt::Write;

use super::number;
use super::said::Said;
use super::scene::{Line, Point, Series};
use super::svg::Svg;
use super::text::shortened;
use scratchproof_evidence::Reference;
use scratchproof_texts::text;

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 48.0;
/// Room for the names at the ends of the lines.
const RIGHT: f64 = 128.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 38.0;
const LOWEST: f64 = -0.1;
const HIGHEST: f64 = 1.0;
/// Least room for the label of a step.
const LABEL: f64 = 34.0;
/// Least distance of two names.
const NAMES: f64 = 13.0;
/// Letters of a name at the end of a line.
const LETTERS: usize = 15;

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
fn look(lines: &[&Reference], reference: &Reference) -> (String, usize) {
    match reference {
        Reference::Init | Reference::Previous => ("own".to_owned(), 0),
        Reference::Control(_) => ("control".to_owned(), 4),
        Reference::Parent(_) | Reference::Relabelled(_) => {
            let parents = lines.iter().filter(|other| matches!(other, Reference::Parent(_) | Reference::Relabelled(_)));
            let at = parents.clone().position(|other| *other == reference).unwrap_or(0);
            (format!("parent{}", at % 4), 1 + (at + at / 4) % 4)
        }
    }
}

/// One component: the correlation with the parents, and with its own start, over the band in which the controls and other
/// independent models lie.
pub(super) fn draw(series: &Series, axis: &Axis, references: &[&Reference]) -> String {
    let mut svg = Svg::named(WIDTH, HEIGHT, "chart", &describe(series));
    for (at, label) in [(0.0, "0"), (0.5, "0.5"), (1.0, "1")] {
        svg.line(if at == 0.0 { "zero" } else { "grid" }, (LEFT, y(at)), (WIDTH - RIGHT, y(at)));
        svg.text("tick end", (LEFT - 7.0, y(at) + 3.5), label);
    }
    let null = series.null();
    band(&mut svg, &null, axis);
    for &step in &axis.steps {
        svg.line("grid", (axis.x(step), HEIGHT - BOTTOM), (axis.x(step), HEIGHT - BOTTOM + 4.0));
    }
    for step in axis.labelled() {
        svg.text("tick middle", (axis.x(step), HEIGHT - BOTTOM + 16.0), &compact(step));
    }
    let middle = (LEFT + (WIDTH - LEFT - RIGHT) / 2.0, HEIGHT - 6.0);
    let steps = if axis.root { text!("page/chart/steps-root") } else { text!("page/chart/steps") };
    svg.said("tick middle", middle, &steps.into());
    svg.said_upward("tick middle", (12.0, y(0.45)), &text!("page/chart/correlation").into());
    // What matters least first, so that parents lie above the start.
    let mut shown: Vec<&Line> =
        series.lines.iter().filter(|line| !matches!(line.reference, Reference::Control(_))).collect();
    shown.sort_by_key(|line| line.reference != Reference::Init);
    let mut ends = Vec::new();
    for line in shown {
        let (class, mark) = look(references, &line.reference);
        if let Some(end) = draw_line(&mut svg, line, axis, &class, mark) {
            ends.push((end, class, name(&line.reference)));
        }
    }
    if !null.is_empty() {
        ends.push((y(0.0), "control".to_owned(), text!("page/chart/unrelated").into()));
    }
    names(&mut svg, ends);
    svg.finish()
}

fn name(reference: &Reference) -> Said {
    match reference {
        Reference::Init | Reference::Previous => text!("page/chart/start").into(),
        Reference::Parent(name) | Reference::Control(name) => Said::plain(shortened(name, LETTERS)),
        Reference::Relabelled(name) => text!("page/chart/relabelled", name = shortened(name, LETTERS - 4)).into(),
    }
}

/// The names at the ends of the lines, moved apart where they would lie on each other.
fn names(svg: &mut Svg, mut ends: Vec<(f64, String, Said)>) {
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let lowest = HEIGHT - BOTTOM - 4.0;
    let count = ends.len() as f64;
    let mut above = TOP - NAMES;
    for (at, (end, class, name)) in ends.into_iter().enumerate() {
        let room = lowest - (count - 1.0 - at as f64) * NAMES;
        above = end.max(above + NAMES).min(room.max(TOP));
        svg.said(&format!("name {class}"), (WIDTH - RIGHT + 8.0, above + 3.5), &name);
    }
}

/// Draws it and gives the height of its end.
fn draw_line(svg: &mut Svg, line: &Line, axis: &Axis, class: &str, mark: usize) -> Option<f64> {
    let known: Vec<(&Point, (f64, f64))> = line
        .points
        .iter()
        .filter_map(|point| point.effect.map(|effect| (point, (axis.x(point.step), y(effect)))))
        .collect();
    let path: Vec<_> = known.iter().map(|(_, at)| *at).collect();
    if path.len() > 1 {
        svg.polyline(&format!("line {class}"), &path);
    }
    for (point, at) in &known {
        let note = format!("{}: {} (z {})", point.step, number::effect(point.effect), number::z(point.z));
        svg.mark(&format!("mark {class}"), mark, *at, &note);
    }
    path.last().map(|end| end.1)
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
fn describe(series: &Series) -> Said {
    let lines: Vec<_> = series
        .lines
        .iter()
        .filter_map(|line| {
            let (first, last) = (line.points.first()?, line.points.last()?);
            let mut ends = String::new();
            // Writing to a string cannot fail.
            let _ = write!(
                ends,
                "{} ({}), {} ({})",
                number::effect(first.effect),
                first.step,
                number::effect(last.effect),
                last.step
            );
            Some(text!("page/chart/line", name = line.label(), ends))
        })
        .collect();
    text!("page/chart/describe", component = super::answer::part(&series.name), lines).into()
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
