//! Two models drawn from one random seed are not derived from each other (METHODS 4).

use std::collections::BTreeSet;

use super::{ALL, ParentFacts, Tested};
use crate::case::Policy;
use crate::evidence::{PartialRow, Reference};
use crate::finding::{Code, Direction, Finding, Grade, Judgement};

/// Parents whose similarity is that of a common start: the first checkpoint is a clean draw in every component that is
/// similar, the similarity is there from the first step and does not rise, and what is left of it given the start is
/// small over the whole model.
///
/// Measured on the fixture of two runs from one draw, with one tokenizer and like data: 0.13 is left over the whole model
/// (attention 0.15, experts 0.10), but 0.58 in the embedding and 0.80 in the head, which both learn the frequency of
/// tokens and, from one start, along the same directions. METHODS gives 0.004 to 0.014 for attention between runs on other
/// data and 0.64 to 0.95 for a model pulled to its parent. So components are not asked one by one.
pub(super) fn find(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    tests: &[Tested<'_>],
    policy: &Policy,
) -> BTreeSet<String> {
    let mut seeds = BTreeSet::new();
    for &parent in &facts.parents {
        let reference = Reference::Parent(parent.to_owned());
        let own: Vec<&Tested> = tests.iter().filter(|t| t.row.reference == reference).collect();
        let whole = |step: i64| own.iter().find(|t| t.row.component == ALL && t.row.step == step);
        let (Some(first), Some(last)) = (whole(facts.steps.0), whole(facts.steps.1)) else { continue };
        let similar: BTreeSet<&str> =
            own.iter().filter(|t| t.grade(policy).is_some()).map(|t| t.row.component.as_str()).collect();
        let clean = similar.iter().all(|c| *c == ALL || facts.clean_start.contains(*c));
        let given_the_start = |p: &&PartialRow| p.parent == parent && p.step == facts.steps.1 && p.component == ALL;
        let left = facts.partial.iter().find(given_the_start).and_then(|p| p.effect);
        let Some(left) = left else { continue };
        let from_the_start = first.grade(policy).is_some_and(|g| g >= Grade::Strong);
        let falls = last.effect <= first.effect + policy.strong_effect;
        if !(from_the_start && clean && falls && left < policy.shared_seed_partial) {
            continue;
        }
        let mut finding = Finding::new(
            Code::ParentSharedSeed,
            Grade::Context,
            Direction::Neutral,
            format!(
                "The subject and {parent} were drawn from one random seed and trained apart, which is not derivation: the start is a clean draw, yet its correlation with {parent} is {:.3} (z = {:.1}); it does not rise along the chain ({:.3} at step {}), and given the start only {left:.3} is left of it.",
                first.effect, first.z, last.effect, facts.steps.1
            ),
        );
        finding.subject.parent = Some(parent.to_owned());
        finding.subject.steps = vec![facts.steps.0, facts.steps.1];
        finding.statistic = Some(first.z);
        finding.log10_p = Some(first.log10_p);
        finding.effect = Some(left);
        finding.n = Some(first.row.rows * first.row.columns);
        finding.null = "a model pulled to the parent during training keeps a partial correlation of 0.6 or more".into();
        finding.evidence = Some("evidence/partial.parquet".into());
        judgement.push(finding);
        seeds.insert(parent.to_owned());
    }
    seeds
}
