//! Layer maps: layers of the subject against layers of another model, z by colour.

use super::number;
use super::scene::Map;
use super::svg::Svg;

/// A cell with at least this |z| is outlined: the largest of 6,400 cells of independent models is below it in 99.6 % of
/// maps.
pub(super) const BEYOND: f64 = 5.0;
/// Maps larger than this leave out the cells in which there is nothing to see.
const MANY: usize = 400;
const FAINT: f64 = 2.0;
const LEFT: f64 = 46.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 42.0;
const ROOM: f64 = 460.0;

/// The drawing of one map.
pub(super) fn draw(map: &Map<'_>) -> String {
    let rows: Vec<u32> = distinct(map.cells.keys().map(|key| key.0));
    let columns: Vec<u32> = distinct(map.cells.keys().map(|key| key.1));
    let side = (ROOM / columns.len().max(rows.len()).max(1) as f64).clamp(5.0, 38.0);
    let (width, height) = (side * columns.len() as f64, side * rows.len() as f64);
    let mut svg = Svg::new(LEFT + width + 12.0, TOP + height + BOTTOM, "heat", &describe(map));
    let place = |at: usize| side * at as f64;
    svg.frame("ground", (LEFT, TOP), (width, height));
    let most = strongest(map).map_or(0.0, |(_, z)| z.abs()).max(BEYOND * 2.0);
    let mut outlines = Vec::new();
    for (&(subject, parent), z) in &map.cells {
        let (Ok(row), Ok(column)) = (rows.binary_search(&subject), columns.binary_search(&parent)) else { continue };
        let corner = (LEFT + place(column), TOP + place(row));
        let note = format!("subject layer {subject}, other layer {parent}: z {}", number::z(*z));
        let size = z.unwrap_or(0.0).abs();
        if map.cells.len() > MANY && size < FAINT {
            continue;
        }
        // Never so dark that the figure on it could not be read.
        let strength = 0.75 * (size / most).min(1.0);
        let class = match z {
            None => "none",
            Some(z) if *z < 0.0 => "minus",
            Some(_) => "plus",
        };
        svg.cell(class, corner, (side, side), if z.is_none() { 1.0 } else { strength }, &note);
        if side >= 25.0 {
            svg.text("figure", (corner.0 + side / 2.0, corner.1 + side / 2.0 + 3.5), &brief(*z));
        }
        if z.is_some_and(|z| z >= BEYOND) {
            outlines.push(corner);
        }
    }
    for corner in outlines {
        svg.frame(
            if side < 12.0 { "beyond thin" } else { "beyond" },
            (corner.0 + 0.75, corner.1 + 0.75),
            (side - 1.5, side - 1.5),
        );
    }
    let every = |count: usize| (1..=count).find(|every| side * *every as f64 >= 16.0).unwrap_or(count.max(1));
    for (at, layer) in rows.iter().enumerate().step_by(every(rows.len())) {
        svg.text("tick end", (LEFT - 6.0, TOP + place(at) + side / 2.0 + 3.5), &layer.to_string());
    }
    for (at, layer) in columns.iter().enumerate().step_by(every(columns.len())) {
        svg.text("tick middle", (LEFT + place(at) + side / 2.0, TOP + height + 15.0), &layer.to_string());
    }
    svg.text("tick middle", (LEFT + width / 2.0, TOP + height + 34.0), "its layer");
    svg.upward("tick middle", (14.0, TOP + height / 2.0), "layer of the subject");
    svg.finish()
}

fn distinct(layers: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut layers: Vec<u32> = layers.collect();
    layers.sort_unstable();
    layers.dedup();
    layers
}

fn brief(z: Option<f64>) -> String {
    match z {
        None => "–".to_owned(),
        Some(z) if z.abs() < 0.5 => "0".to_owned(),
        Some(z) if z.abs() >= 999.5 => "999+".to_owned(),
        Some(z) => format!("{z:.0}"),
    }
}

/// The cell with the largest |z|, the first of equals.
pub(super) fn strongest(map: &Map<'_>) -> Option<((u32, u32), f64)> {
    let mut best: Option<((u32, u32), f64)> = None;
    for (&key, z) in &map.cells {
        if let Some(z) = *z
            && best.is_none_or(|(_, most)| z.abs() > most.abs())
        {
            best = Some((key, z));
        }
    }
    best
}

/// Cells that are outlined.
pub(super) fn beyond(map: &Map<'_>) -> usize {
    map.cells.values().flatten().filter(|z| **z >= BEYOND).count()
}

/// The drawing in words.
pub(super) fn describe(map: &Map<'_>) -> String {
    let cells = map.cells.len();
    let Some(((subject, parent), z)) = strongest(map) else { return format!("{cells} cells, none with a figure.") };
    let beyond = match beyond(map) {
        0 => "No cell stands out".to_owned(),
        1 => "One cell stands out".to_owned(),
        many => format!("{many} of {cells} cells stand out"),
    };
    format!(
        "{beyond}. The largest |z| is {} at layer {subject} of the subject and its layer {parent}.",
        number::z(Some(z.abs()))
    )
}
