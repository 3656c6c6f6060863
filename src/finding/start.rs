//! Condition S: the first checkpoint is a random draw (METHODS 4).

mod replay;

use std::collections::{BTreeMap, BTreeSet};

use super::{Code, Condition, Direction, Finding, Grade, Judgement, Subject};
use crate::case::{Init, Policy};
use crate::evidence::StartRow;
use crate::stats::holm;

pub use replay::Replay;

/// What was measured of the first checkpoint.
pub struct StartFacts<'a> {
    /// Its step; `None` if there is no series.
    pub step: Option<i64>,
    /// Its matrices.
    pub rows: &'a [StartRow],
    /// Its vectors.
    pub vectors: &'a [StartVector],
    /// What the developer declared.
    pub declared: Option<&'a Init>,
    /// The declared start, drawn again.
    pub replay: &'a Replay,
}

/// A vector of the first checkpoint.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct StartVector {
    pub tensor: String,
    pub component: String,
    /// A norm weight, as against a bias or another term.
    pub norm: bool,
    pub elements: u64,
    pub mean: f64,
    /// Standard deviation about the mean; 0 for a constant.
    pub std: f64,
}

/// Judges the start; also says in which components it is a clean draw.
#[must_use]
pub fn judge(facts: &StartFacts<'_>, policy: &Policy) -> (Judgement, BTreeSet<String>) {
    let mut judgement = Judgement::untested();
    let Some(step) = facts.step else {
        judgement.missing.push("checkpoints from the start of training: one model has no start".into());
        return (judgement, BTreeSet::new());
    };
    let clean = spectrum(&mut judgement, facts, step, policy);
    independence(&mut judgement, facts, step, policy);
    constants(&mut judgement, facts, step);
    scheme(&mut judgement, facts, step);
    if step != 0 {
        let mut finding = Finding::new(
            Code::StartNotFirst,
            Grade::Context,
            Direction::Neutral,
            format!("The earliest checkpoint is step {step}: what the weights were before it is not shown."),
        );
        finding.subject.steps = vec![step];
        judgement.push(finding);
        judgement.missing.push(format!("the checkpoint of step 0 (the earliest is step {step})"));
        // A trained checkpoint is expected to look trained: nothing here is against the claim then.
        for finding in &mut judgement.findings {
            if finding.direction == Direction::Against {
                (finding.direction, finding.grade) = (Direction::Neutral, Grade::Context);
            }
        }
        return (judgement, BTreeSet::new());
    }
    if replay::judge(&mut judgement, facts.replay) {
        judgement.settle(Condition::Holds);
        return (judgement, facts.rows.iter().map(|r| r.component.clone()).collect());
    }
    let judged = facts.rows.iter().any(|r| r.edge_log10_p.is_some());
    if !judged {
        judgement.missing.push("a matrix of known function in the first checkpoint, to test for a random start".into());
    }
    judgement.settle(if judged { Condition::Holds } else { Condition::Untested });
    (judgement, clean)
}

/// The largest singular values against the random-matrix edge, Holm over all matrices; the worst of each component.
fn spectrum(judgement: &mut Judgement, facts: &StartFacts<'_>, step: i64, policy: &Policy) -> BTreeSet<String> {
    let adjusted = holm(&facts.rows.iter().map(|r| r.edge_log10_p).collect::<Vec<_>>());
    let mut components: BTreeMap<&str, Vec<(&StartRow, f64)>> = BTreeMap::new();
    for (row, log10_p) in facts.rows.iter().zip(adjusted) {
        if let Some(log10_p) = log10_p {
            components.entry(&row.component).or_default().push((row, log10_p));
        }
    }
    let mut clean = BTreeSet::new();
    let mut matrices = 0;
    for (component, rows) in &components {
        matrices += rows.len();
        let outliers: Vec<_> = rows.iter().filter(|(_, p)| *p <= policy.moderate_log10_p).collect();
        let Some((worst, log10_p)) = rows.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
        if outliers.is_empty() {
            clean.insert((*component).to_owned());
            continue;
        }
        let excess = worst.edge_ratio.map_or(0.0, |r| r - 1.0);
        // A spectrum shows training, not whose: a checkpoint saved some steps late has it too. So it is never
        // conclusive by itself.
        let grade = if *log10_p <= policy.strong_log10_p && excess >= policy.strong_effect {
            Grade::Strong
        } else {
            Grade::Moderate
        };
        let mut finding = Finding::new(
            Code::StartSpectrum,
            grade,
            Direction::Against,
            format!(
                "Component {component}: {} of {} matrices at step {step} have a singular value that no random draw has; the largest is {:.2} times the edge ({}). These weights had been trained before this run, or this checkpoint was not saved at step {step}.",
                outliers.len(),
                rows.len(),
                excess + 1.0,
                worst.tensor
            ),
        );
        finding.subject = Subject {
            component: Some((*component).to_owned()),
            layer: worst.layer,
            tensor: Some(worst.tensor.clone()),
            steps: vec![step],
            parent: None,
        };
        finding.statistic = worst.edge_score;
        finding.log10_p = Some(*log10_p);
        finding.effect = Some(excess);
        finding.n = Some(rows.len() as u64);
        finding.null = "largest singular value of independent entries: Tracy-Widom law, Holm over all matrices".into();
        finding.evidence = Some("evidence/start.parquet".into());
        judgement.push(finding);
    }
    if !components.is_empty() && clean.len() == components.len() {
        let worst = facts.rows.iter().filter_map(|r| Some((r, r.edge_log10_p?))).min_by(|a, b| a.1.total_cmp(&b.1));
        let mut finding = Finding::new(
            Code::StartSpectrum,
            Grade::Strong,
            Direction::For,
            format!(
                "All {matrices} matrices of step {step} have the singular values of a random draw; the most extreme is {:.3} times the edge.",
                worst.and_then(|(r, _)| r.edge_ratio).unwrap_or(1.0)
            ),
        );
        finding.subject.steps = vec![step];
        finding.statistic = worst.and_then(|(r, _)| r.edge_score);
        finding.log10_p = worst.map(|(_, p)| (p + (matrices as f64).log10()).min(0.0));
        finding.effect = worst.and_then(|(r, _)| r.edge_ratio).map(|r| r - 1.0);
        finding.n = Some(matrices as u64);
        finding.null = "largest singular value of independent entries: Tracy-Widom law, Holm over all matrices".into();
        finding.evidence = Some("evidence/start.parquet".into());
        judgement.push(finding);
    }
    clean
}

/// Norms of rows: independent draws have them all alike, trained rows differ.
fn independence(judgement: &mut Judgement, facts: &StartFacts<'_>, step: i64, policy: &Policy) {
    let adjusted = holm(&facts.rows.iter().map(|r| r.row_norm_log10_p).collect::<Vec<_>>());
    let tested = adjusted.iter().flatten().count();
    let Some((row, log10_p)) =
        facts.rows.iter().zip(&adjusted).filter_map(|(r, p)| Some((r, (*p)?))).min_by(|a, b| a.1.total_cmp(&b.1))
    else {
        return;
    };
    let outliers = adjusted.iter().flatten().filter(|p| **p <= policy.strong_log10_p).count();
    let (grade, direction, message) = if outliers == 0 {
        let message =
            format!("Row norms of all {tested} matrices of step {step} spread as those of independent draws.");
        (Grade::Weak, Direction::For, message)
    } else {
        // Some schemes scale rows on purpose (per-head or per-token scales), so this alone is a question.
        let message = format!(
            "Row norms of {outliers} of {tested} matrices of step {step} spread more than those of independent draws, most in {}.",
            row.tensor
        );
        (Grade::Weak, Direction::Against, message)
    };
    let mut finding = Finding::new(Code::StartIndependence, grade, direction, message);
    finding.subject.steps = vec![step];
    if outliers > 0 {
        finding.subject.tensor = Some(row.tensor.clone());
        finding.subject.component = Some(row.component.clone());
        finding.subject.layer = row.layer;
    }
    finding.log10_p = Some(log10_p);
    finding.effect = Some(outliers as f64 / tested as f64);
    finding.n = Some(tested as u64);
    finding.null = "squared row norms of independent entries: chi-square, Holm over all matrices".into();
    finding.evidence = Some("evidence/start.parquet".into());
    judgement.push(finding);
}

/// Norm weights are all one value and biases all zero in an untrained model.
fn constants(judgement: &mut Judgement, facts: &StartFacts<'_>, step: i64) {
    let norms: Vec<_> = facts.vectors.iter().filter(|v| v.norm).collect();
    if norms.is_empty() {
        return;
    }
    let moved: Vec<_> = norms.iter().filter(|v| v.std > 1e-6 * v.mean.abs().max(1e-3)).collect();
    let others = facts.vectors.len() - norms.len();
    let zero = facts.vectors.iter().filter(|v| !v.norm && v.mean == 0.0 && v.std == 0.0).count();
    let biases =
        if others == 0 { String::new() } else { format!("; {zero} of {others} biases and other vectors are zero") };
    let mut finding = if let Some(worst) = moved.iter().max_by(|a, b| a.std.total_cmp(&b.std)) {
        let mut finding = Finding::new(
            Code::StartConstants,
            Grade::Moderate,
            Direction::Against,
            format!(
                "{} of {} norm weight vectors are not constant at step {step}, most {} (standard deviation {:.4}): norm weights start as one value{biases}.",
                moved.len(),
                norms.len(),
                worst.tensor,
                worst.std
            ),
        );
        finding.subject.tensor = Some(worst.tensor.clone());
        finding
    } else {
        let values: BTreeSet<String> = norms.iter().map(|v| format!("{}", v.mean)).collect();
        let values = values.into_iter().collect::<Vec<_>>().join(", ");
        let message =
            format!("All {} norm weight vectors of step {step} are constant ({values}){biases}.", norms.len());
        Finding::new(Code::StartConstants, Grade::Moderate, Direction::For, message)
    };
    finding.subject.component = Some("norms".into());
    finding.subject.steps = vec![step];
    finding.statistic = Some(moved.len() as f64);
    finding.effect = Some(moved.len() as f64 / norms.len() as f64);
    finding.n = Some(norms.len() as u64);
    finding.null = "untrained norm weights are all one value".into();
    judgement.push(finding);
}

/// Root mean square of all values of a family.
fn pooled_std(rows: &[&StartRow]) -> f64 {
    let elements: f64 = rows.iter().map(|r| r.elements as f64).sum();
    (rows.iter().map(|r| r.elements as f64 * r.std.unwrap_or(0.0).powi(2)).sum::<f64>() / elements).sqrt()
}

/// The distribution and the rule of scale of every family, and whether they are what was declared.
fn scheme(judgement: &mut Judgement, facts: &StartFacts<'_>, step: i64) {
    let mut families: BTreeMap<&str, Vec<&StartRow>> = BTreeMap::new();
    for row in facts.rows {
        families.entry(&row.family).or_default().push(row);
    }
    if families.is_empty() {
        return;
    }
    let mut kinds: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut recognised = 0;
    for (family, rows) in &families {
        let first = rows[0];
        let text = match (&first.scheme, &first.rule) {
            (Some(scheme), Some(rule)) => {
                recognised += 1;
                format!("{scheme}, std {rule}")
            }
            (Some(scheme), None) => format!("{scheme}, std {:.4} (no known rule)", first.std.unwrap_or(0.0)),
            _ => "no known law".to_owned(),
        };
        kinds.entry(text).or_default().push(family);
    }
    let found: Vec<String> = kinds
        .iter()
        .map(|(kind, families)| match families.as_slice() {
            _ if kinds.len() == 1 => kind.clone(),
            few if few.len() <= 4 => format!("{kind}: {}", few.join(" ")),
            many => format!("{kind}: {} families", many.len()),
        })
        .collect();
    let found = if found.len() <= 4 {
        found.join("; ")
    } else {
        format!(
            "{recognised} of {} families follow a known law and rule, in {} different ways",
            families.len(),
            found.len()
        )
    };
    let all = recognised == families.len();
    let mut message = format!("Scheme of step {step}: {found}.");
    let mut direction = if all { Direction::For } else { Direction::Neutral };
    if let Some(declared) = facts.declared {
        let other = |(_, rows): &(&&str, &Vec<&StartRow>)| {
            let law = declared.scheme.as_ref().is_some_and(|s| rows[0].scheme.as_ref().is_some_and(|f| f != s));
            let std = declared.std.is_some_and(|d| (pooled_std(rows) / d - 1.0).abs() > 0.05);
            law || std
        };
        let differing: Vec<&str> = families.iter().filter(other).map(|(family, _)| *family).collect();
        let declared = format!(
            "{}{}",
            declared.scheme.as_deref().unwrap_or("no scheme"),
            declared.std.map_or(String::new(), |s| format!(", std {s}"))
        );
        if differing.is_empty() {
            message.push_str(&format!(" That is what was declared ({declared})."));
        } else {
            message.push_str(&format!(" Declared was {declared}; it does not describe {}.", differing.join(" ")));
            direction = Direction::Neutral;
        }
    }
    let mut finding = Finding::new(Code::StartScheme, Grade::Weak, direction, message);
    finding.subject.steps = vec![step];
    finding.statistic = Some(recognised as f64);
    finding.effect = Some(f64::from(u32::try_from(recognised).unwrap_or(u32::MAX)) / families.len() as f64);
    finding.n = Some(families.len() as u64);
    finding.null = "none: a fit, not a test".into();
    finding.evidence = Some("evidence/start.parquet".into());
    judgement.push(finding);
}
