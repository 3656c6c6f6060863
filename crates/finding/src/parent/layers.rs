//! Layers of the subject that answer to layers of a parent, or to one another (METHODS 2.2).

use std::collections::{BTreeMap, BTreeSet};

use super::parts::{Controls, Part, alias, part_of};
use super::{ALL, ParentFacts, grade};
use crate::{Code, Direction, Finding, Grade, Judgement, Subject};
use scratchproof_case::Policy;
use scratchproof_evidence::{ITSELF, ITSELF_FIRST, LayerMapRow, Reference};
use scratchproof_stats::{largest_of, log10_upper_tail, monotone_path, pieces};
use scratchproof_texts::{Param, Text, text};

/// The best parent layer of every subject layer in one map, with the figures of that cell after Bonferroni over all
/// cells of the map.
struct Best<'a> {
    row: &'a LayerMapRow,
    z: f64,
    log10_p: f64,
    effect: f64,
}

fn best<'a>(facts: &'a ParentFacts<'_>, model: &str, family: &str) -> BTreeMap<u32, Best<'a>> {
    let cells: Vec<&LayerMapRow> =
        facts.layer_map.iter().filter(|c| c.parent == model && c.family == family && c.z.is_some()).collect();
    let tests = (cells.len() as f64).log10();
    let mut best: BTreeMap<u32, Best> = BTreeMap::new();
    for row in cells {
        let (Some(z), Some(effect)) = (row.z, row.pearson) else { continue };
        let log10_p = (log10_upper_tail(z) + tests).min(0.0);
        if best.get(&row.layer_subject).is_none_or(|b| z > b.z) {
            best.insert(row.layer_subject, Best { row, z, log10_p, effect });
        }
    }
    best
}

/// Whether a cell is nearer than the null allows.
fn fires(best: &Best, policy: &Policy) -> bool {
    grade(best.log10_p, best.effect, policy).is_some() && best.effect >= policy.strong_effect
}

/// What a finding that rests on a cell of a map is about, and its figures.
fn of_cell(
    finding: &mut Finding,
    facts: &ParentFacts<'_>,
    top: &Best<'_>,
    component: Option<String>,
    parent: Option<&str>,
) {
    finding.subject = Subject {
        component,
        layer: Some(top.row.layer_subject),
        steps: vec![facts.steps.1],
        parent: parent.map(str::to_owned),
        ..Subject::default()
    };
    finding.statistic = Some(top.z);
    finding.log10_p = Some(top.log10_p);
    finding.effect = Some(top.effect);
    finding.evidence = Some("evidence/layer_map.parquet".into());
}

/// The tower that a message is about, if it is about one.
fn tower(part: &Part) -> Option<&str> {
    Some(part.name.as_str()).filter(|name| *name != ALL)
}

/// The best monotone path through a map and the largest cell that unrelated models would have.
fn path(facts: &ParentFacts<'_>, model: &str, family: &str) -> Option<Text> {
    let cells = || facts.layer_map.iter().filter(|c| c.parent == model && c.family == family);
    let columns: Vec<u32> = cells().map(|c| c.layer_parent).collect::<BTreeSet<_>>().into_iter().collect();
    let mut rows: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for cell in cells() {
        let row = rows.entry(cell.layer_subject).or_insert_with(|| vec![f64::NAN; columns.len()]);
        if let (Ok(at), Some(z)) = (columns.binary_search(&cell.layer_parent), cell.z) {
            row[at] = z;
        }
    }
    let map: Vec<Vec<f64>> = rows.into_values().collect();
    let path = monotone_path(&map)?;
    let margins: Vec<f64> = map
        .iter()
        .zip(&path.columns)
        .filter_map(|(row, at)| {
            let second = row.iter().enumerate().filter(|(c, z)| c != at && z.is_finite()).map(|(_, z)| *z);
            let second = second.max_by(f64::total_cmp)?;
            row[*at].is_finite().then_some(row[*at] - second)
        })
        .collect();
    Some(text!(
        "parent/layer-map/path",
        path = path.columns.iter().map(|at| columns[*at].to_string()).collect::<Vec<_>>().join(","),
        mean = path.mean,
        margin = (!margins.is_empty()).then(|| margins.iter().sum::<f64>() / margins.len() as f64),
        share = path.share,
        cells = cells().count(),
        largest = largest_of(cells().count())
    ))
}

/// Correlation from which on a layer is said to be one of the parent's again, and not to hold a part of it. **Measured**: 0.90 and more
/// in parents that were stacked deeper, 0.16 to 0.19 where the neurons of all layers were dealt anew.
const WHOLE: f64 = 0.5;

/// What the layers that answer say of how the subject was put together.
fn arrangement(facts: &ParentFacts<'_>, parent: &str, map: &BTreeMap<u32, Best>, policy: &Policy) -> Vec<Text> {
    let fired: Vec<&Best> = map.values().filter(|b| fires(b, policy)).collect();
    let mut uses: BTreeMap<u32, u32> = BTreeMap::new();
    for b in &fired {
        *uses.entry(b.row.layer_parent).or_default() += 1;
    }
    let mut texts = Vec::new();
    let repeated: Vec<u32> = uses.iter().filter(|(_, n)| **n > 1).map(|(layer, _)| *layer).collect();
    if !repeated.is_empty() {
        let again = fired.iter().filter(|b| repeated.contains(&b.row.layer_parent));
        let whole = again.map(|b| b.effect).fold(f64::INFINITY, f64::min) >= WHOLE;
        texts.push(text!("parent/layer-map/stacked", layers = repeated, parent, whole));
        if !whole {
            // What holds parts of layers has no order of theirs, and lacks none.
            return texts;
        }
    }
    let answers: Vec<u32> = fired.iter().map(|b| b.row.layer_parent).collect();
    match pieces(&answers) {
        0 | 1 => {}
        2 => texts.push(text!("parent/layer-map/two-pieces")),
        n => texts.push(text!("parent/layer-map/pieces", pieces = n)),
    }
    // Only where most layers answer is a layer without an answer worth a word.
    if 2 * fired.len() > map.len() {
        let inserted: Vec<u32> = map.iter().filter(|(_, b)| !fires(b, policy)).map(|(layer, _)| *layer).collect();
        if !inserted.is_empty() {
            texts.push(text!("parent/layer-map/inserted", layers = inserted, parent));
        }
        let family = &fired[0].row.family;
        let theirs = facts.layer_map.iter().filter(|c| c.parent == parent && c.family == *family);
        let dropped: BTreeSet<u32> = theirs.map(|c| c.layer_parent).filter(|layer| !uses.contains_key(layer)).collect();
        if !dropped.is_empty() {
            let layers: Vec<u32> = dropped.into_iter().collect();
            texts.push(text!("parent/layer-map/dropped", layers, parent));
        }
    }
    texts
}

/// The finding of one parent's map over all families of a part, if a layer is nearer than the null allows.
pub(super) fn findings(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    part: &Part,
    parent: &str,
    controls: &Controls,
    (seeded, disguised): (bool, Option<Grade>),
    policy: &Policy,
) {
    let mut map = best(facts, parent, &part.map);
    let mut highest = Grade::Conclusive;
    let mut model = parent.to_owned();
    // Where the parent as it stands has no layer that answers, it may have some as it is written in the subject's
    // coordinates; these weigh no more than what says how it is written.
    if let (Some(found), false, true) = (disguised, map.values().any(|b| fires(b, policy)), part.name == ALL) {
        highest = found;
        model = Reference::Relabelled(parent.to_owned()).to_string();
        map = best(facts, &model, &part.map);
    }
    let fired: Vec<&Best> = map.values().filter(|b| fires(b, policy)).collect();
    let Some(top) = fired.iter().max_by(|a, b| a.z.total_cmp(&b.z)) else { return };
    let mut grade = fired.iter().filter_map(|b| grade(b.log10_p, b.effect, policy)).max().unwrap_or(Grade::Moderate);
    grade = grade.min(highest);
    let shown: Vec<String> =
        map.values().map(|b| if fires(b, policy) { b.row.layer_parent.to_string() } else { "-".into() }).collect();
    let named: Param =
        if model == parent { alias(facts, &part.name, parent) } else { text!("parent/name/relabelled", parent).into() };
    let mut message = text!(
        "parent/layer-map/answers",
        tower = tower(part),
        fired = fired.len(),
        of = map.len(),
        parent = named,
        map = shown.join(","),
        z = top.z,
        effect = top.effect
    );
    for more in arrangement(facts, parent, &map, policy).into_iter().chain(path(facts, &model, &part.map)) {
        message.push(more);
    }
    let mut direction = Direction::Against;
    let good = |control: &&&str| !controls.is_aside(control, &part.name);
    let control_fires = facts
        .controls
        .iter()
        .filter(good)
        .any(|control| best(facts, control, &part.map).values().any(|b| fires(b, policy)));
    if seeded {
        (grade, direction) = (Grade::Context, Direction::Neutral);
        message.push(text!("parent/note/seeded"));
    } else if control_fires || controls.uncalibrated(&part.name) {
        (grade, direction) = (Grade::Context, Direction::Neutral);
        message.push(text!("parent/note/a-control-fires"));
    } else if grade == Grade::Conclusive
        && let Some(lacking) = controls.lacking(facts, &part.name)
    {
        grade = Grade::Strong;
        message.push(lacking);
    }
    let mut finding = Finding::new(Code::ParentLayerMap, grade, direction, message);
    of_cell(&mut finding, facts, top, (part.name != ALL).then(|| part.name.clone()), Some(parent));
    finding.n = Some(map.len() as u64);
    finding.null = text!("parent/null/layer-map");
    judgement.push(finding);
}

/// Layers that the subject has twice. Layers of one model are not independent as two models are (**measured** over seven
/// fixtures: standard deviation 0.8 to 2.3, largest z 5.7 and correlation 0.08 where nothing was copied; 41 and 0.68 where
/// it was), so only what would be conclusive between models is worth a word. A model stacked from its own layers is no
/// offence against a parent.
pub(super) fn itself(judgement: &mut Judgement, facts: &ParentFacts<'_>, part: &Part, policy: &Policy) {
    let alike = |b: &Best| grade(b.log10_p, b.effect, policy) == Some(Grade::Conclusive);
    let map = best(facts, ITSELF, &part.map);
    let pairs: BTreeSet<(u32, u32)> = map
        .values()
        .filter(|b| alike(b))
        .map(|b| (b.row.layer_subject.min(b.row.layer_parent), b.row.layer_subject.max(b.row.layer_parent)))
        .collect();
    let Some(top) = map.values().filter(|b| alike(b)).max_by(|a, b| a.z.total_cmp(&b.z)) else { return };
    let before = best(facts, ITSELF_FIRST, &part.map).values().filter(|b| alike(b)).map(|b| b.z).reduce(f64::max);
    let shown: Vec<Text> =
        pairs.iter().map(|(first, second)| text!("parent/self-map/pair", first = *first, second = *second)).collect();
    let mut finding = Finding::new(
        Code::ParentSelfMap,
        Grade::Context,
        Direction::Neutral,
        text!("parent/self-map/stacked", tower = tower(part), pairs = shown, z = top.z, effect = top.effect, before),
    );
    of_cell(&mut finding, facts, top, (part.name != ALL).then(|| part.name.clone()), None);
    finding.n = Some(pairs.len() as u64);
    finding.null = text!("parent/null/self-map");
    judgement.push(finding);
}

/// Where nothing else speaks of a component: one of its layers that answers to a layer of the parent at least strongly while no
/// control's does. One layer of many is lost in the sum over them.
pub(super) fn of_one(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    component: &str,
    controls: &Controls,
    policy: &Policy,
) {
    let families: Vec<&str> =
        facts.families.iter().filter(|(_, c)| c == component).map(|(family, _)| family.as_str()).collect();
    let strong = |b: &Best| grade(b.log10_p, b.effect, policy) >= Some(Grade::Strong);
    let part = part_of(facts, component);
    // One cell of many says little where no unrelated model stands beside it.
    if !controls.usable(part) {
        return;
    }
    let controls: Vec<&&str> = facts.controls.iter().filter(|control| !controls.is_aside(control, part)).collect();
    // What the map over all families would not be counted for does not count here.
    let all = facts.parts.iter().find(|p| p.name == part).map_or(ALL, |p| p.map.as_str());
    let loud =
        |family: &str| controls.iter().any(|control| best(facts, control, family).values().any(|b| fires(b, policy)));
    if loud(all) {
        return;
    }
    let quiet = families.into_iter().filter(|family| !loud(family));
    let cells = quiet.flat_map(|family| best(facts, parent, family).into_values().map(move |cell| (family, cell)));
    let Some((family, top)) = cells.filter(|(_, b)| strong(b)).max_by(|a, b| a.1.z.total_cmp(&b.1.z)) else { return };
    let message = text!(
        "parent/layer-map/of-one",
        component,
        family,
        layer = top.row.layer_subject,
        other = top.row.layer_parent,
        parent = alias(facts, component, parent),
        z = top.z,
        effect = top.effect
    );
    let mut finding = Finding::new(Code::ParentLayerMap, Grade::Strong, Direction::Against, message);
    of_cell(&mut finding, facts, &top, Some(component.to_owned()), Some(parent));
    finding.null = text!("parent/null/layer-map");
    judgement.push(finding);
}

/// The subject's layers that are derived in one component: those with a cell beyond the null in one of its families.
pub(super) fn of_component(facts: &ParentFacts<'_>, parent: &str, component: &str, policy: &Policy) -> Vec<u32> {
    let families = facts.families.iter().filter(|(_, c)| c == component).map(|(family, _)| family.as_str());
    // The parent as it stands, and as it is written in the subject's coordinates.
    let models = [parent.to_owned(), Reference::Relabelled(parent.to_owned()).to_string()];
    let layers: BTreeSet<u32> = families
        .flat_map(|family| models.iter().map(move |model| (family, model)))
        .flat_map(|(family, model)| best(facts, model, family).into_iter())
        .filter(|(_, b)| fires(b, policy))
        .map(|(layer, _)| layer)
        .collect();
    layers.into_iter().collect()
}
