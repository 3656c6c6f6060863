//! Two or more parents in one subject.

use std::collections::{BTreeMap, BTreeSet};

use super::{ALL, ParentFacts};
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_evidence::{MergeRow, Reference};
use scratchproof_texts::{Text, text};

/// The finding that several parents each add to what the others explain.
///
/// A parent counts if the column test of the final checkpoint against it, after the other parents are projected out of
/// both, is strong. Where parents are relatives of each other that is not enough: two trainings from one point have 0.10 to
/// 0.30 of their ways in common, so the one that was used would bring the other with it. Then the partial correlation has
/// to be above the policy's limit for two trainings apart, as in [`shared_seed`](super::shared_seed). A checkpoint on the
/// way from one to the other is above it too (measured: 0.33 to 0.47 for the parent at the beginning, weights 0.15 to 0.19),
/// so relatives give no more than a moderate finding unless the blend is exact.
pub(super) fn find(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    uncalibrated: bool,
    seeded: &BTreeSet<String>,
    policy: &Policy,
) {
    let whole: Vec<&MergeRow> = facts.merge.iter().filter(|r| r.component == ALL && r.layer.is_none()).collect();
    let tests = (whole.len().max(1) as f64).log10();
    let kin = |row: &MergeRow| {
        whole.iter().any(|other| other.parent != row.parent && relatives(facts, &row.parent, &other.parent, policy))
    };
    let counts = |row: &&&MergeRow| {
        let (Some(effect), Some(log10_p)) = (row.effect, row.log10_p) else { return false };
        let enough = if kin(row) { policy.shared_seed_partial } else { policy.strong_effect };
        log10_p + tests <= policy.strong_log10_p
            && effect >= enough
            && row.weight > 0.0
            && !seeded.contains(&row.parent)
    };
    let used: Vec<&MergeRow> = whole.iter().filter(counts).copied().collect();
    if used.len() < 2 {
        return;
    }
    let weakest = used.iter().copied().min_by(|a, b| a.effect.unwrap_or(0.0).total_cmp(&b.effect.unwrap_or(0.0)));
    let Some(weakest) = weakest else { return };
    let (effect, log10_p) = (weakest.effect.unwrap_or(0.0), weakest.log10_p.unwrap_or(0.0) + tests);
    let exact = weakest.roundings.is_some_and(|r| r < policy.blend_roundings);
    let mut grade = super::grade(log10_p, effect, policy).unwrap_or(Grade::Moderate);
    // Only parents that are relatives of each other: one may have become the other by way of the subject.
    let between = !exact && used.iter().all(|row| kin(row));
    let (share, matrices, weights_used) = (weakest.share, weakest.tensors, weights(&used));
    let parts = graft(facts, &used);
    let mut message = if let Some(parts) = parts.clone() {
        text!("parent/merge/graft", parts, share, matrices)
    } else if between {
        text!("parent/merge/between", weights = weights_used, share, matrices)
    } else {
        text!("parent/merge/merge", weights = weights_used, share, matrices)
    };
    for row in &used {
        message.push(text!(
            "parent/merge/part",
            parent = &row.parent,
            alone = row.alone,
            gain = row.gain,
            effect = row.effect.unwrap_or(0.0),
            z = row.z.unwrap_or(0.0)
        ));
    }
    if exact {
        grade = Grade::Conclusive;
        message.push(if parts.is_some() { text!("parent/merge/graft-exact") } else { text!("parent/merge/exact") });
    } else if between {
        grade = grade.min(Grade::Moderate);
        message.push(text!("parent/merge/on-the-way"));
    } else {
        message.push(if parts.is_some() {
            text!("parent/merge/graft-trained")
        } else {
            text!("parent/merge/trained-on")
        });
    }
    let names: BTreeSet<&str> = used.iter().map(|r| r.parent.as_str()).collect();
    let own: Vec<&MergeRow> = facts.merge.iter().filter(|r| names.contains(r.parent.as_str())).collect();
    let components: BTreeSet<&str> = own.iter().map(|r| r.component.as_str()).filter(|c| *c != ALL).collect();
    let each: Vec<Text> = components
        .into_iter()
        .map(|component| {
            let rows: Vec<&MergeRow> =
                own.iter().copied().filter(|r| r.component == component && r.layer.is_none()).collect();
            let share = rows.first().map_or(0.0, |r| r.share);
            text!("parent/merge/component", component, weights = weights(&rows), share)
        })
        .collect();
    message.push(text!("parent/merge/components", components = each));
    if let Some(layers) = by_layer(&own, &used) {
        message.push(layers);
    }
    let mut direction = Direction::Against;
    if uncalibrated {
        (grade, direction) = (Grade::Context, Direction::Neutral);
        message.push(text!("parent/note/every-control-fires"));
    } else if facts.controls.is_empty() && grade == Grade::Conclusive && !exact {
        grade = Grade::Strong;
        message.push(text!("parent/note/strong-without-control"));
    }
    let mut finding = Finding::new(Code::ParentMerge, grade, direction, message);
    finding.subject.parent = Some(used.iter().map(|r| r.parent.as_str()).collect::<Vec<_>>().join(", "));
    finding.subject.steps = vec![facts.steps.1];
    finding.statistic = weakest.z;
    finding.log10_p = Some(log10_p.min(0.0));
    finding.effect = Some(effect);
    finding.n = Some(weakest.elements);
    finding.null = text!("parent/null/given-others");
    finding.evidence = Some("evidence/merge.parquet".into());
    judgement.push(finding);
}

/// Share of the largest weight up to which another parent takes no part in a component or a layer. In a merge all parents
/// take part everywhere; in a graft one has nearly all of a part, whatever the sum over the model says.
const NO_PART: f64 = 0.15;

/// The parent that has a component or a layer to itself, if one of those used has.
fn alone<'a>(rows: &[&'a MergeRow], used: &[&MergeRow]) -> Option<&'a str> {
    let mut own: Vec<&MergeRow> =
        rows.iter().copied().filter(|row| used.iter().any(|u| u.parent == row.parent)).collect();
    own.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    let (first, second) = (own.first()?, own.get(1)?);
    (first.weight > 0.0 && second.weight.abs() <= NO_PART * first.weight).then_some(first.parent.as_str())
}

/// By parent the components, or else the layers, that are its alone, where no component or no layer is of two and each of
/// the parents has some.
fn graft(facts: &ParentFacts<'_>, used: &[&MergeRow]) -> Option<Vec<Text>> {
    let mut components: BTreeMap<&str, Vec<&MergeRow>> = BTreeMap::new();
    let mut layers: BTreeMap<u32, Vec<&MergeRow>> = BTreeMap::new();
    for row in facts.merge {
        match row.layer {
            // Norms are nearly constant, so that a sum of two is as good as one of them.
            None if row.component != ALL && row.component != "norms" => {
                components.entry(&row.component).or_default().push(row);
            }
            Some(layer) if row.component == ALL => layers.entry(layer).or_default().push(row),
            _ => {}
        }
    }
    let components: Option<Vec<(&str, &str)>> =
        components.iter().map(|(component, rows)| Some((alone(rows, used)?, *component))).collect();
    let components = by_parent(components.unwrap_or_default());
    if components.len() == used.len() {
        let parts = components.into_iter();
        return Some(parts.map(|(parent, components)| text!("parent/merge/graft-part", parent, components)).collect());
    }
    let layers: Option<Vec<(&str, u32)>> =
        layers.iter().map(|(layer, rows)| Some((alone(rows, used)?, *layer))).collect();
    let layers = by_parent(layers.unwrap_or_default());
    (layers.len() == used.len()).then(|| {
        layers.into_iter().map(|(parent, layers)| text!("parent/merge/graft-layers", parent, layers)).collect()
    })
}

fn by_parent<T>(parts: Vec<(&str, T)>) -> BTreeMap<&str, Vec<T>> {
    let mut parents: BTreeMap<&str, Vec<T>> = BTreeMap::new();
    for (parent, part) in parts {
        parents.entry(parent).or_default().push(part);
    }
    parents
}

/// The terms of `0.62 x A + 0.38 x B`.
fn weights(rows: &[&MergeRow]) -> Vec<Text> {
    rows.iter().map(|r| text!("parent/merge/term", weight = r.weight, parent = &r.parent)).collect()
}

/// The range of the weights over the layers, where they differ.
fn by_layer(own: &[&MergeRow], used: &[&MergeRow]) -> Option<Text> {
    let range = |parent: &str| {
        let layers = own.iter().filter(|r| r.layer.is_some() && r.parent == parent).map(|r| r.weight);
        layers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), w| (low.min(w), high.max(w)))
    };
    let ranges: Vec<(&str, (f64, f64))> = used.iter().map(|r| (r.parent.as_str(), range(&r.parent))).collect();
    if !ranges.iter().any(|(_, (low, high))| high - low > 0.05) {
        return None;
    }
    let shown: Vec<Text> =
        ranges.into_iter().map(|(parent, (low, high))| text!("parent/merge/range", parent, low, high)).collect();
    Some(text!("parent/merge/layers", ranges = shown))
}

/// Whether two parents are nearer to each other than unrelated models are.
fn relatives(facts: &ParentFacts<'_>, a: &str, b: &str, policy: &Policy) -> bool {
    facts.calibration.iter().any(|row| {
        row.component == ALL
            && row.model == Reference::Parent(a.to_owned()).to_string()
            && row.against == Reference::Parent(b.to_owned()).to_string()
            && row.effect.is_some_and(|e| e >= policy.strong_effect)
            && row.log10_p.is_some_and(|p| p <= policy.moderate_log10_p)
    })
}
