//! Norms of rows and columns, and tensors that resemble each other: entries of a draw are independent of all others.

use std::collections::{BTreeMap, BTreeSet};

use super::{Code, Direction, Finding, Grade, Judgement, Policy, StartFacts, StartRow, drawn, subject_of};
use scratchproof_measurements::Among;
use scratchproof_stats::{holm, log10_upper_tail};
use scratchproof_texts::text;

/// Returns the components whose matrices know of each other.
pub fn judge(judgement: &mut Judgement, facts: &StartFacts<'_>, step: i64, policy: &Policy) -> BTreeSet<String> {
    norms(judgement, facts, step, policy);
    alike(judgement, facts, step, policy);
    units(judgement, facts, step, policy)
}

/// The rows of one neuron in the matrices of its MLP, and second moments of layers: drawn apart, matrices know nothing of each
/// other, and they grow together in training. For neurons no singular value has a part in it. Whoever draws one matrix from another sees this too, so it is a question.
fn units(judgement: &mut Judgement, facts: &StartFacts<'_>, step: i64, policy: &Policy) -> BTreeSet<String> {
    let adjusted = holm(&facts.units.iter().map(|own| Some(log10_upper_tail(own.z))).collect::<Vec<_>>());
    let mut tied = BTreeSet::new();
    for (own, log10_p) in facts.units.iter().zip(adjusted) {
        let Some(log10_p) = log10_p else { continue };
        let seen = log10_p <= policy.strong_log10_p;
        let (grade, direction) =
            if seen { (Grade::Moderate, Direction::Against) } else { (Grade::Weak, Direction::For) };
        let (component, units, z, ratio) = (&own.component, own.units, own.z, own.ratio);
        let message = match (own.among, seen) {
            (Among::Neurons, true) => text!("start/independence/units-tied", component, units, step, z, ratio),
            (Among::Neurons, false) => text!("start/independence/units-apart", component, units, step, z),
            (Among::SecondMoments, true) => text!("start/independence/moments-tied", component, units, step, z, ratio),
            (Among::SecondMoments, false) => text!("start/independence/moments-apart", component, units, step, z),
        };
        let mut finding = Finding::new(Code::StartMatrices, grade, direction, message);
        finding.subject.steps = vec![step];
        finding.subject.component = Some(own.component.clone());
        finding.statistic = Some(own.z);
        finding.log10_p = Some(log10_p);
        finding.effect = Some(if own.among == Among::Neurons { own.ratio - 1.0 } else { own.ratio });
        finding.n = Some(own.units);
        finding.null = match own.among {
            Among::Neurons => text!("start/independence/null-units"),
            Among::SecondMoments => text!("start/independence/null-moments"),
        };
        judgement.push(finding);
        if seen {
            tied.insert(own.component.clone());
        }
    }
    tied
}

/// Norms of rows and columns: independent draws have them all alike, trained ones differ.
fn norms(judgement: &mut Judgement, facts: &StartFacts<'_>, step: i64, policy: &Policy) {
    let rows: Vec<&StartRow> = drawn(facts).collect();
    let both = |r: &&StartRow| [r.row_norm_log10_p, r.column_norm_log10_p];
    let adjusted = holm(&rows.iter().flat_map(both).collect::<Vec<_>>());
    let least = |pair: &[Option<f64>]| pair.iter().flatten().copied().reduce(f64::min);
    let tested: Vec<(&StartRow, f64)> =
        rows.iter().zip(adjusted.chunks(2)).filter_map(|(row, pair)| Some((*row, least(pair)?))).collect();
    let Some(&(row, log10_p)) = tested.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else { return };
    let spread = |(_, p): &&(&StartRow, f64)| *p <= policy.strong_log10_p;
    let outliers = tested.iter().filter(spread).count();
    let all = tested.len();
    let (grade, direction, message) = if outliers == 0 {
        (Grade::Weak, Direction::For, text!("start/independence/norms-alike", all, step))
    } else {
        // Some schemes scale rows on purpose (per-head or per-token scales), so this alone is a question. Values that
        // also follow no law, in most matrices of a component, are more than that: no scheme is known to give them.
        let mut components: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for one in &tested {
            let (odd, of) = components.entry(&one.0.component).or_default();
            *of += 1;
            *odd += usize::from(spread(&one) && one.0.scheme.is_none());
        }
        let lawless = components.values().any(|(odd, of)| 2 * odd > *of && *odd > 1);
        let message =
            text!("start/independence/norms-spread", count = outliers, all, step, tensor = &row.tensor, lawless);
        (if lawless { Grade::Moderate } else { Grade::Weak }, Direction::Against, message)
    };
    let mut finding = Finding::new(Code::StartIndependence, grade, direction, message);
    finding.subject.steps = vec![step];
    if outliers > 0 {
        finding.subject = subject_of(row, step);
    }
    finding.log10_p = Some(log10_p);
    finding.effect = Some(outliers as f64 / all as f64);
    finding.n = Some(all as u64);
    finding.null = text!("start/independence/null-norms");
    finding.evidence = Some("evidence/start.parquet".into());
    judgement.push(finding);
}

/// Tensors of one shape that are copies of each other, or share a part. Layers or experts that begin as copies of one
/// draw are a choice that some make, so this is a question.
fn alike(judgement: &mut Judgement, facts: &StartFacts<'_>, step: i64, policy: &Policy) {
    let rows: Vec<&StartRow> = drawn(facts).collect();
    let adjusted = holm(&rows.iter().map(|r| r.nearest_log10_p).collect::<Vec<_>>());
    let found: Vec<(&StartRow, f64, f64)> = rows
        .iter()
        .zip(adjusted)
        .filter_map(|(row, p)| Some((*row, row.nearest_pearson?, p?)))
        .filter(|(_, r, p)| *p <= policy.strong_log10_p && r.abs() >= policy.strong_effect)
        .collect();
    let Some(&(row, pearson, log10_p)) = found.iter().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())) else { return };
    let copies = found.iter().filter(|(_, r, _)| r.abs() > 0.999).count();
    let mut families: Vec<&str> = found.iter().map(|(row, ..)| row.family.as_str()).collect();
    families.sort_unstable();
    families.dedup();
    let message = text!(
        "start/independence/alike",
        count = found.len(),
        all = rows.len(),
        step,
        families,
        copies,
        tensor = &row.tensor,
        other = row.nearest.as_deref().unwrap_or_default(),
        correlation = pearson
    );
    let mut finding = Finding::new(Code::StartIndependence, Grade::Weak, Direction::Against, message);
    finding.subject = subject_of(row, step);
    finding.log10_p = Some(log10_p);
    finding.effect = Some(pearson.abs());
    finding.n = Some(rows.len() as u64);
    finding.null = text!("start/independence/null-alike");
    finding.evidence = Some("evidence/start.parquet".into());
    judgement.push(finding);
}
