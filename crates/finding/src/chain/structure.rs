//! What lies between checkpoints: an optimiser's updates are sums of outer products, noise is not.

use std::collections::{BTreeMap, BTreeSet};

use super::points::{Kind, Residue};
use super::{ChainFacts, listed};
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;

/// The checkpoint before, the one in question, the one after.
type Steps = (i64, i64, i64);

/// Above this many roundings no rounding, stochastic or not, made the residue.
const BEYOND_ROUNDING: f64 = 30.0;

/// Whether a component's residue could be drawn element by element.
fn drawn(residue: &Residue, policy: &Policy) -> bool {
    residue.clean >= policy.noise_clean
        && residue.z.abs() < policy.noise_z
        && (residue.ratio - 1.0).abs() < policy.noise_ratio
}

/// The same of one component among others: one table of tokens, of which hardly two were seen together, can look like it,
/// and so can the matrices of an optimiser that makes its updates orthogonal, which have less than no structure.
fn part(residue: &Residue, policy: &Policy) -> bool {
    drawn(residue, policy)
        && residue.kind == Kind::OffChord
        && residue.remembered
        && residue.of >= 4
        && residue.z > -3.0
        && (residue.ratio - 1.0).abs() < 0.05
}

/// Judges the residues.
pub(super) fn structure(judgement: &mut Judgement, facts: &ChainFacts<'_>, policy: &Policy) {
    let telling = facts.points.residues.iter().filter(|r| 2 * r.tensors >= r.of);
    let mut groups: BTreeMap<(Kind, Steps), Vec<&Residue>> = BTreeMap::new();
    for residue in telling {
        groups.entry((residue.kind, residue.steps)).or_default().push(residue);
    }
    if groups.is_empty() {
        return;
    }
    let mut whole: BTreeMap<Kind, Vec<&Residue>> = BTreeMap::new();
    let mut parts: BTreeMap<Kind, Vec<&Residue>> = BTreeMap::new();
    for ((kind, _), group) in &groups {
        if group.iter().all(|r| drawn(r, policy)) {
            whole.entry(*kind).or_default().extend(group);
        } else {
            // A component that was decayed to nothing jitters about zero, which is noise and honest.
            parts.entry(*kind).or_default().extend(group.iter().filter(|r| part(r, policy)));
        }
    }
    let found = !whole.is_empty() || parts.values().any(|p| !p.is_empty());
    // A residue off a chord says all that the others would, where it speaks.
    for kind in [Kind::OffChord, Kind::Increment, Kind::OffSpan] {
        if let Some(residues) = whole.get(&kind) {
            report(judgement, kind, residues, true);
            break;
        }
    }
    if whole.is_empty()
        && let Some((kind, residues)) = parts.iter().find(|(_, residues)| !residues.is_empty())
    {
        report(judgement, *kind, residues, false);
    }
    if !found {
        let least =
            facts.points.residues.iter().filter(|r| r.kind != Kind::OffSpan).min_by(|a, b| a.ratio.total_cmp(&b.ratio));
        let Some(least) = least else { return };
        let mut finding = Finding::new(
            Code::ChainStructure,
            Grade::Weak,
            Direction::For,
            format!(
                "What lies between the checkpoints has the structure of updates: squared products of its rows are {:.1} times what independent signs give, or more (least in component {} at step {}).",
                least.ratio, least.component, least.steps.1
            ),
        );
        finish(&mut finding, &[least]);
        judgement.push(finding);
    }
}

fn report(judgement: &mut Judgement, kind: Kind, residues: &[&Residue], whole: bool) {
    let steps: BTreeSet<i64> = residues.iter().map(|r| r.steps.1).collect();
    let steps: Vec<i64> = steps.into_iter().collect();
    let what = match kind {
        Kind::Increment => format!("What was added on the way to steps {}", listed(&steps)),
        Kind::OffChord => {
            format!("What parts the checkpoints of steps {} from the lines between their neighbours", listed(&steps))
        }
        Kind::OffSpan => {
            format!("What the checkpoints of steps {} have that no combination of the others has", listed(&steps))
        }
    };
    let roundings = residues.iter().map(|r| r.roundings).fold(f64::INFINITY, f64::min);
    let grade = if whole && roundings >= BEYOND_ROUNDING { Grade::Strong } else { Grade::Moderate };
    let components: BTreeSet<&str> = residues.iter().map(|r| r.component.as_str()).collect();
    let components: Vec<&str> = components.into_iter().collect();
    let place = if whole { "every component".to_owned() } else { components.join(", ") };
    let least = residues.iter().map(|r| r.ratio).fold(f64::INFINITY, f64::min);
    let most = residues.iter().map(|r| r.ratio).fold(0.0, f64::max);
    let mut finding = Finding::new(
        Code::ChainStructure,
        grade,
        Direction::Against,
        format!(
            "{what} has no structure in {place}: squared products of its rows are {least:.2} to {most:.2} times what independent signs give, and it is {roundings:.0} roundings of the number format in size. Updates of a training are sums of outer products; this is noise{}.",
            if grade == Grade::Moderate && whole { ", which stochastic rounding makes too" } else { "" }
        ),
    );
    finish(&mut finding, residues);
    finding.subject.steps = steps;
    if let [component] = components.as_slice()
        && !whole
    {
        finding.subject.component = Some((*component).to_owned());
    }
    judgement.push(finding);
}

fn finish(finding: &mut Finding, residues: &[&Residue]) {
    finding.subject.steps = residues.iter().map(|r| r.steps.1).take(1).collect();
    finding.statistic = residues.iter().map(|r| r.ratio).reduce(f64::min);
    finding.effect = finding.statistic.map(|ratio| ratio - 1.0);
    finding.n = Some(residues.iter().map(|r| r.tensors as u64).sum());
    finding.null = "independent signs of the elements, whatever their sizes: ratio 1; honest runs were measured from 1.5 up, below 0.9 under Muon".into();
    finding.evidence = Some("evidence/trajectory.parquet".into());
}
