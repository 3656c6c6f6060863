//! The rows of the evidence put in the order in which they are drawn. Nothing is computed here but the width of the null.

use std::collections::{BTreeMap, BTreeSet};

use scratchproof_evidence::{ComponentRow, Evidence, ITSELF, ITSELF_FIRST, LayerMapRow, Reference};
use scratchproof_texts::{Language, Text, text};

/// A cell with at least this |z| is outlined: the largest of 6,400 cells of independent models is below it in 99.6 % of
/// maps.
pub(super) const BEYOND: f64 = 5.0;
/// The map of a model against itself is worth showing from this z: its layers are trained together and so a little alike
/// (up to 5.7 in the fixtures, standard deviation up to 2.3); copies have 30 and more.
const COPIED: f64 = 11.0;

/// One checkpoint of one line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub step: i64,
    pub effect: Option<f64>,
    pub z: Option<f64>,
}

impl Map<'_> {
    /// The other model in words.
    pub fn title(&self) -> String {
        if self.parent == ITSELF {
            return "the subject itself".to_owned();
        }
        self.parent.parse().map_or_else(|_| self.parent.to_owned(), |reference| label(&reference))
    }
}

impl Point {
    /// Effect that one standard deviation of the null is: effect over z, where z says anything.
    fn deviation(&self) -> Option<f64> {
        let (effect, z) = (self.effect?, self.z?);
        let deviation = (effect / z).abs();
        (z.abs() > 1e-3 && deviation.is_finite()).then_some(deviation)
    }
}

/// One component against one reference over the steps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub reference: Reference,
    pub points: Vec<Point>,
}

impl Line {
    /// The reference in words.
    pub fn label(&self) -> String {
        label(&self.reference)
    }

    /// The reference in the words of a language.
    pub fn label_in(&self, language: Language) -> String {
        said(&self.reference).say(language)
    }
}

/// Points by reference and step.
type Lines<'a> = BTreeMap<&'a Reference, BTreeMap<i64, Point>>;

/// One component.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub name: String,
    pub lines: Vec<Line>,
}

impl Series {
    /// Per step, how far from 0 independent models lie: the widest effect of three standard deviations among the parents and
    /// controls, or among all lines where there is none, and what a control shows if that is more.
    pub fn null(&self) -> Vec<(i64, f64)> {
        let others = self.lines.iter().any(|line| line.reference != Reference::Init);
        let mut widest = BTreeMap::new();
        for line in self.lines.iter().filter(|line| !others || line.reference != Reference::Init) {
            for point in &line.points {
                let control = matches!(line.reference, Reference::Control(_));
                let shown = point.effect.filter(|_| control).map(f64::abs);
                let deviation = point.deviation().map(|deviation| 3.0 * deviation);
                if let Some(least) = shown.into_iter().chain(deviation).reduce(f64::max) {
                    let width: &mut f64 = widest.entry(point.step).or_insert(0.0);
                    *width = width.max(least);
                }
            }
        }
        widest.into_iter().collect()
    }
}

/// The start, the parents and the controls, in that order, for each component: those of `order` first, in that order,
/// then the others by name, and the whole model (`all`) before them.
pub(super) fn series(evidence: &Evidence, order: &[&str]) -> Vec<Series> {
    let mut found: BTreeMap<(usize, &str), Lines<'_>> = BTreeMap::new();
    for row in evidence.components.iter().filter(|row| row.reference != Reference::Previous) {
        let rank = match row.component.as_str() {
            "all" => 0,
            name => 1 + order.iter().position(|&known| known == name).unwrap_or(order.len()),
        };
        let lines = found.entry((rank, row.component.as_str())).or_default();
        lines.entry(&row.reference).or_default().insert(row.step, point(row));
    }
    found
        .into_iter()
        .map(|((_, name), lines)| Series {
            name: name.to_owned(),
            lines: lines
                .into_iter()
                .map(|(reference, points)| Line {
                    reference: reference.clone(),
                    points: points.into_values().collect(),
                })
                .collect(),
        })
        .collect()
}

fn point(row: &ComponentRow) -> Point {
    let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
    Point { step: row.step, effect: finite(row.effect), z: finite(row.z) }
}

/// A reference in words.
pub(super) fn said(reference: &Reference) -> Text {
    match reference {
        Reference::Init => text!("report/reference/start"),
        Reference::Previous => text!("report/reference/previous"),
        Reference::Parent(name) => text!("report/reference/parent", name),
        Reference::Control(name) => text!("report/reference/control", name),
        Reference::Relabelled(name) => text!("report/reference/relabelled", name),
    }
}

/// A reference in English words.
pub(super) fn label(reference: &Reference) -> String {
    said(reference).english()
}

/// One layer map.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Map<'a> {
    pub parent: &'a str,
    pub family: &'a str,
    /// z by layer of the subject and layer of the parent.
    pub cells: BTreeMap<(u32, u32), Option<f64>>,
}

/// The layer maps: parents before controls, family `all` first, then by name. Of a tower, and of the subject itself, only
/// those with a cell that stands out: most models have nothing to show there.
pub(super) fn maps(evidence: &Evidence) -> Vec<Map<'_>> {
    let mut found: BTreeMap<_, Map<'_>> = BTreeMap::new();
    for row in &evidence.layer_map {
        let LayerMapRow { parent, family, layer_subject, layer_parent, z, .. } = row;
        if parent == ITSELF_FIRST {
            continue;
        }
        let key = (parent.starts_with("control:"), parent.as_str(), family != "all", family.as_str());
        let map = found.entry(key).or_insert_with(|| Map { parent, family, cells: BTreeMap::new() });
        map.cells.insert((*layer_subject, *layer_parent), z.filter(|z| z.is_finite()));
    }
    let towers: BTreeSet<String> =
        evidence.layer_map.iter().filter_map(|row| Some(format!("{}.", row.family.strip_suffix(".all")?))).collect();
    let aside = |map: &Map<'_>| map.parent == ITSELF || towers.iter().any(|tower| map.family.starts_with(tower));
    let least = |map: &Map<'_>| if map.parent == ITSELF { COPIED } else { BEYOND };
    let says = |map: &Map<'_>| map.cells.values().flatten().any(|z| *z >= least(map));
    found.into_values().filter(|map| !aside(map) || says(map)).collect()
}
