//! Layer maps: layers of the subject against layers of another model, z by colour. Cells are squares of one size in all
//! maps of a page.

use super::number;
use super::said::Said;
use super::scene::{BEYOND, Map};
use super::svg::Svg;
use scratchproof_texts::{Text, text};

/// Maps larger than this leave out the cells in which there is nothing to see.
const MANY: usize = 400;
const FAINT: f64 = 2.0;
/// In maps larger than this chance alone has hundreds of faint cells: there is nothing to see below a higher figure.
const VAST: usize = 2500;
const CHANCE: f64 = 3.5;
const LEFT: f64 = 46.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 42.0;
const ROOM: f64 = 460.0;
/// Side of a cell, at most: the map of the first screen fits beside the components.
const LARGEST: f64 = 26.0;

/// The side of a cell that lets the largest of the maps fit.
pub(super) fn side<'a>(maps: impl IntoIterator<Item = &'a Map<'a>>) -> f64 {
    let most = maps.into_iter().map(|map| {
        let (rows, columns) = sizes(map);
        rows.len().max(columns.len())
    });
    (ROOM / most.max().unwrap_or(1).max(1) as f64).clamp(4.0, LARGEST)
}

fn sizes(map: &Map<'_>) -> (Vec<u32>, Vec<u32>) {
    (distinct(map.cells.keys().map(|key| key.0)), distinct(map.cells.keys().map(|key| key.1)))
}

/// The drawing of one map, its cells of a side.
pub(super) fn draw(map: &Map<'_>, side: f64) -> String {
    let (rows, columns) = sizes(map);
    let (width, height) = (side * columns.len() as f64, side * rows.len() as f64);
    let mut svg =
        Svg::named((LEFT + width + 12.0).max(150.0), (TOP + height).max(110.0) + BOTTOM, "heat", &describe(map));
    let place = |at: usize| side * at as f64;
    svg.frame("ground", (LEFT, TOP), (width, height));
    let most = strongest(map).map_or(0.0, |(_, z)| z.abs()).max(BEYOND * 2.0);
    let mut outlines = Vec::new();
    for (&(subject, parent), z) in &map.cells {
        let (Ok(row), Ok(column)) = (rows.binary_search(&subject), columns.binary_search(&parent)) else { continue };
        let corner = (LEFT + place(column), TOP + place(row));
        let note = format!("{subject} – {parent}: z {}", number::z(*z));
        let size = z.unwrap_or(0.0).abs();
        let least = if map.cells.len() > VAST { CHANCE } else { FAINT };
        if map.cells.len() > MANY && size < least {
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
        if side >= 20.0 {
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
    let middle = (LEFT + width / 2.0).max(75.0);
    svg.said("tick middle", (middle, TOP + height + 34.0), &text!("page/map/its-layer").into());
    svg.said_upward("tick middle", (14.0, TOP + (height / 2.0).max(48.0)), &text!("page/map/own-layer").into());
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
pub(super) fn describe(map: &Map<'_>) -> Said {
    words(map).into()
}

fn words(map: &Map<'_>) -> Text {
    let cells = map.cells.len();
    match strongest(map) {
        None => text!("page/map/no-figure", cells),
        Some(((subject, parent), z)) => {
            text!("page/map/words", beyond = beyond(map), cells, z = number::z(Some(z.abs())), subject, parent)
        }
    }
}
