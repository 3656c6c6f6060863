//! Layers of the subject that answer to layers of a parent (METHODS 2.2).

use std::collections::{BTreeMap, BTreeSet};

use super::{ALL, ParentFacts, grade};
use crate::case::Policy;
use crate::evidence::{LayerMapRow, Reference};
use crate::finding::{Code, Direction, Finding, Grade, Judgement, Subject};
use crate::stats::log10_upper_tail;

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

/// The finding of one parent's map over all families, if a layer is nearer than the null allows.
pub(super) fn findings(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    uncalibrated: bool,
    aside: &BTreeSet<String>,
    seeded: bool,
    policy: &Policy,
) {
    let map = best(facts, parent, ALL);
    let fires = |b: &Best| grade(b.log10_p, b.effect, policy).is_some() && b.effect >= policy.strong_effect;
    let fired: Vec<&Best> = map.values().filter(|b| fires(b)).collect();
    let Some(top) = fired.iter().max_by(|a, b| a.z.total_cmp(&b.z)) else { return };
    let mut grade = fired.iter().filter_map(|b| grade(b.log10_p, b.effect, policy)).max().unwrap_or(Grade::Moderate);
    let shown: Vec<String> =
        map.values().map(|b| if fires(b) { b.row.layer_parent.to_string() } else { "-".into() }).collect();
    let mut uses: BTreeMap<u32, u32> = BTreeMap::new();
    for b in &fired {
        *uses.entry(b.row.layer_parent).or_default() += 1;
    }
    let repeated: Vec<String> = uses.iter().filter(|(_, n)| **n > 1).map(|(layer, _)| layer.to_string()).collect();
    let mut message = format!(
        "{} of {} layers of the final checkpoint answer to a layer of {parent}: layer map [{}], largest z = {:.1} (correlation {:.3}).",
        fired.len(),
        map.len(),
        shown.join(","),
        top.z,
        top.effect
    );
    if !repeated.is_empty() {
        message
            .push_str(&format!(" Layers {} of {parent} answer more than once: stacked deeper.", repeated.join(", ")));
    }
    let mut direction = Direction::Against;
    let good = |control: &&&str| !aside.contains(**control);
    let control_fires = facts.controls.iter().filter(good).any(|control| best(facts, control, ALL).values().any(fires));
    if seeded {
        (grade, direction) = (Grade::Context, Direction::Neutral);
        message.push_str(" Explained by the common random start.");
    } else if control_fires || uncalibrated {
        (grade, direction) = (Grade::Context, Direction::Neutral);
        message.push_str(" Not counted: a control fires.");
    } else if facts.controls.is_empty() && grade == Grade::Conclusive {
        grade = Grade::Strong;
        message.push_str(" Graded strong, not conclusive: there is no control.");
    }
    let mut finding = Finding::new(Code::ParentLayerMap, grade, direction, message);
    finding.subject = Subject {
        layer: Some(top.row.layer_subject),
        steps: vec![facts.steps.1],
        parent: Some(parent.to_owned()),
        ..Subject::default()
    };
    finding.statistic = Some(top.z);
    finding.log10_p = Some(top.log10_p);
    finding.effect = Some(top.effect);
    finding.n = Some(map.len() as u64);
    finding.null = "every pair of layers of independent models: standard normal, Bonferroni over all cells".into();
    finding.evidence = Some("evidence/layer_map.parquet".into());
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
        .filter(|(_, b)| grade(b.log10_p, b.effect, policy).is_some() && b.effect >= policy.strong_effect)
        .map(|(layer, _)| layer)
        .collect();
    layers.into_iter().collect()
}
