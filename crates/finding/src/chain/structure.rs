//! What lies between checkpoints: an optimiser's updates are sums of outer products, noise is not.

use std::collections::{BTreeMap, BTreeSet};

use super::ChainFacts;
use super::memory::erased;
use super::points::Residue;
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_measurements::{ALL, Kind};
use scratchproof_texts::text;

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

/// Tables of tokens, which have another optimiser beside Muon.
const EMBEDDING: &str = "embedding";
const HEAD: &str = "head";

/// The same of one component among others: one table of tokens, of which hardly two were seen together, can look like it,
/// and so can the matrices of an optimiser that makes its updates orthogonal, which have less than no structure. **Measured** in five
/// intervals of three of four honest runs of Muon: 1.00 to 1.02 times what independent signs give, as the sum over an interval passes
/// through 1 on its way. So where Muon is named, its matrices are not asked.
fn part(residue: &Residue, policy: &Policy, orthogonal: bool) -> bool {
    drawn(residue, policy)
        && (!orthogonal || [EMBEDDING, HEAD].contains(&residue.component.as_str()))
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
    let orthogonal = facts.decay.optimizer.as_deref() == Some("Muon");
    for ((kind, _), group) in &groups {
        if group.iter().all(|r| drawn(r, policy)) {
            whole.entry(*kind).or_default().extend(group);
        } else {
            // A component that was decayed to nothing jitters about zero, which is noise and honest.
            parts.entry(*kind).or_default().extend(group.iter().filter(|r| part(r, policy, orthogonal)));
        }
    }
    let found = !whole.is_empty() || parts.values().any(|p| !p.is_empty());
    // Weights that decay through the gradients holds about zero jitter as one that was decayed to nothing does.
    let shrunk = |residues: &[&Residue]| residues.iter().all(|residue| erased(facts, ALL, residue.steps.0, policy));
    // A residue off a chord says all that the others would, where it speaks.
    for kind in [Kind::OffChord, Kind::Increment, Kind::OffSpan] {
        if let Some(residues) = whole.get(&kind) {
            report(judgement, kind, residues, true, shrunk(residues));
            break;
        }
    }
    if whole.is_empty()
        && let Some((kind, residues)) = parts.iter().find(|(_, residues)| !residues.is_empty())
    {
        report(judgement, *kind, residues, false, shrunk(residues));
        if facts.decay.optimizer.is_none() {
            judgement.missing.push(text!("chain/structure/missing-optimiser"));
        }
    }
    if !found {
        let least =
            facts.points.residues.iter().filter(|r| r.kind != Kind::OffSpan).min_by(|a, b| a.ratio.total_cmp(&b.ratio));
        let Some(least) = least else { return };
        let mut finding = Finding::new(
            Code::ChainStructure,
            Grade::Weak,
            Direction::For,
            text!("chain/structure/updates", ratio = least.ratio, component = &least.component, step = least.steps.1),
        );
        finish(&mut finding, &[least]);
        judgement.push(finding);
    }
}

fn report(judgement: &mut Judgement, kind: Kind, residues: &[&Residue], whole: bool, shrunk: bool) {
    let steps: BTreeSet<i64> = residues.iter().map(|r| r.steps.1).collect();
    let steps: Vec<i64> = steps.into_iter().collect();
    let what = match kind {
        Kind::Increment => text!("chain/structure/increment", steps = steps.as_slice()),
        Kind::OffChord => text!("chain/structure/off-chord", steps = steps.as_slice()),
        Kind::OffSpan => text!("chain/structure/off-span", steps = steps.as_slice()),
    };
    let roundings = residues.iter().map(|r| r.roundings).fold(f64::INFINITY, f64::min);
    let grade = match whole && roundings >= BEYOND_ROUNDING {
        _ if shrunk => Grade::Weak,
        true => Grade::Strong,
        false => Grade::Moderate,
    };
    let components: BTreeSet<&str> = residues.iter().map(|r| r.component.as_str()).collect();
    let components: Vec<&str> = components.into_iter().collect();
    let least = residues.iter().map(|r| r.ratio).fold(f64::INFINITY, f64::min);
    let most = residues.iter().map(|r| r.ratio).fold(0.0, f64::max);
    let stochastic = grade == Grade::Moderate && whole;
    let message = text!(
        "chain/structure/noise",
        what,
        whole,
        components = components.as_slice(),
        least,
        most,
        roundings,
        shrunk,
        stochastic
    );
    let mut finding = Finding::new(Code::ChainStructure, grade, Direction::Against, message);
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
    finding.null = text!("chain/structure/null");
    finding.evidence = Some("evidence/trajectory.parquet".into());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an honest Muon showed in attention, between two checkpoints.
    #[test]
    fn orthogonal_updates_may_have_the_structure_of_independent_signs() {
        let residue = |component: &str| Residue {
            kind: Kind::OffChord,
            component: component.into(),
            steps: (180, 210, 240),
            tensors: 16,
            of: 16,
            clean: 1.0,
            ratio: 1.01,
            z: 1.0,
            roundings: 8130.0,
            remembered: true,
        };
        let policy = Policy::default();
        let asked = |component: &str, muon: bool| part(&residue(component), &policy, muon);
        assert!(asked("attention", false) && asked("embedding", false));
        assert!(!asked("attention", true) && !asked("mlp", true));
        // Tables of tokens have another optimiser beside it.
        assert!(asked("embedding", true) && asked("head", true));
    }
}
