//! Singular values: the largest against the random-matrix edge, and all of them through the cosines between rows.

use std::collections::{BTreeMap, BTreeSet};

use super::{Code, Direction, Finding, Grade, Judgement, Policy, StartFacts, StartRow, drawn, subject_of};
use scratchproof_stats::holm;
use scratchproof_texts::text;

/// One matrix with its probabilities after multiplicity.
struct Tested<'a> {
    row: &'a StartRow,
    edge: Option<f64>,
    cosines: Option<f64>,
}

/// The worst of each component; also the components in which nothing stands out.
pub fn judge(judgement: &mut Judgement, facts: &StartFacts<'_>, step: i64, policy: &Policy) -> BTreeSet<String> {
    let rows: Vec<&StartRow> = drawn(facts).collect();
    let edges = holm(&rows.iter().map(|r| r.edge_log10_p).collect::<Vec<_>>());
    let cosines = holm(&rows.iter().map(|r| r.cosines_log10_p).collect::<Vec<_>>());
    let mut components: BTreeMap<&str, Vec<Tested>> = BTreeMap::new();
    for ((row, edge), cosines) in rows.iter().zip(edges).zip(cosines) {
        if edge.is_some() || cosines.is_some() {
            components.entry(&row.component).or_default().push(Tested { row, edge, cosines });
        }
    }
    let mut clean = BTreeSet::new();
    let mut matrices = 0;
    for (component, tested) in &components {
        matrices += tested.len();
        let seen = |p: Option<f64>| p.is_some_and(|p| p <= policy.moderate_log10_p);
        let outliers = tested.iter().filter(|t| seen(t.edge)).count();
        let bulk = tested.iter().filter(|t| seen(t.cosines) && !seen(t.edge)).count();
        if outliers > 0 {
            judgement.push(outlier(component, tested, outliers, step, policy));
        } else if bulk > 0 {
            judgement.push(correlated(component, tested, bulk, step));
        } else {
            clean.insert((*component).to_owned());
        }
    }
    if !components.is_empty() && clean.len() == components.len() {
        judgement.push(inside(&rows, matrices, step));
    }
    clean
}

fn outlier(component: &str, tested: &[Tested], outliers: usize, step: i64, policy: &Policy) -> Finding {
    let p = |t: &Tested| t.edge.unwrap_or(0.0);
    let worst = tested.iter().min_by(|a, b| p(a).total_cmp(&p(b)));
    let log10_p = worst.map_or(0.0, p);
    let excess = worst.and_then(|t| t.row.edge_ratio).map_or(0.0, |r| r - 1.0);
    // A spectrum shows training, not whose: a checkpoint saved some steps late has it too. So it is never conclusive by
    // itself.
    let strong = log10_p <= policy.strong_log10_p && excess >= policy.strong_effect;
    let name = worst.map_or("", |t| t.row.tensor.as_str());
    let mut finding = Finding::new(
        Code::StartSpectrum,
        if strong { Grade::Strong } else { Grade::Moderate },
        Direction::Against,
        text!(
            "start/spectrum/outside",
            component,
            count = outliers,
            all = tested.len(),
            step,
            ratio = excess + 1.0,
            tensor = name
        ),
    );
    if let Some(worst) = worst {
        finding.subject = subject_of(worst.row, step);
        finding.statistic = worst.row.edge_score;
    }
    finding.log10_p = Some(log10_p);
    finding.effect = Some(excess);
    finding.n = Some(tested.len() as u64);
    finding.null = text!("start/spectrum/null-edge");
    finding.evidence = Some("evidence/start.parquet".into());
    finding
}

/// Many directions each below the edge: a draw with a share of something else in it. How large the share is does not
/// show, so this asks and does not accuse.
fn correlated(component: &str, tested: &[Tested], bulk: usize, step: i64) -> Finding {
    let p = |t: &Tested| t.cosines.unwrap_or(0.0);
    let worst = tested.iter().min_by(|a, b| p(a).total_cmp(&p(b)));
    let z = worst.and_then(|t| t.row.cosines_z).unwrap_or(0.0);
    let name = worst.map_or("", |t| t.row.tensor.as_str());
    let mut finding = Finding::new(
        Code::StartSpectrum,
        Grade::Moderate,
        Direction::Against,
        text!("start/spectrum/correlated", component, count = bulk, all = tested.len(), step, tensor = name, z),
    );
    if let Some(worst) = worst {
        finding.subject = subject_of(worst.row, step);
    }
    finding.statistic = Some(z);
    finding.log10_p = worst.map(p);
    finding.effect = Some(bulk as f64 / tested.len() as f64);
    finding.n = Some(tested.len() as u64);
    finding.null = text!("start/spectrum/null-cosines");
    finding.evidence = Some("evidence/start.parquet".into());
    finding
}

fn inside(rows: &[&StartRow], matrices: usize, step: i64) -> Finding {
    let worst = rows.iter().filter_map(|r| Some((r, r.edge_log10_p?))).min_by(|a, b| a.1.total_cmp(&b.1));
    let ratio = worst.and_then(|(r, _)| r.edge_ratio);
    let mut finding = Finding::new(
        Code::StartSpectrum,
        Grade::Strong,
        Direction::For,
        text!("start/spectrum/inside", matrices, step, ratio = ratio.unwrap_or(1.0)),
    );
    finding.subject.steps = vec![step];
    finding.statistic = worst.and_then(|(r, _)| r.edge_score);
    finding.log10_p = worst.map(|(_, p)| (p + (matrices as f64).log10()).min(0.0));
    finding.effect = ratio.map(|r| r - 1.0);
    finding.n = Some(matrices as u64);
    finding.null = text!("start/spectrum/null-edge");
    finding.evidence = Some("evidence/start.parquet".into());
    finding
}
