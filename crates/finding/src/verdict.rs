//! The decision: a pure function of findings and policy.

use scratchproof_texts::Text;
use serde::{Deserialize, Serialize};

use super::{Direction, Finding, Grade, Power};

/// What the evidence says of the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Outcome {
    Confirmed,
    Refuted,
    Inconclusive,
}

/// What the evidence says of one of the four conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Condition {
    Holds,
    Fails,
    #[default]
    Untested,
}

/// The four conditions of a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Conditions {
    pub start: Condition,
    pub chain: Condition,
    pub parent: Condition,
    pub time: Condition,
}

/// The verdict, with what decided it and what is missing for more.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Verdict {
    pub outcome: Outcome,
    /// The parents it was tested against: nobody is cleared of a parent that was not proposed.
    pub against: Vec<String>,
    pub conditions: Conditions,
    /// What the tests of each condition could have seen.
    pub power: Power,
    /// Ids of the findings that decided.
    pub reasons: Vec<String>,
    #[serde(flatten, with = "scratchproof_texts::missing")]
    pub missing: Vec<Text>,
    /// What it rests on, in a sentence made from what was given.
    #[serde(flatten, with = "scratchproof_texts::ground")]
    pub ground: Text,
    /// Under each condition, what was tested or what is missing for it.
    pub said: Said,
}

/// A sentence for each condition, made from what was tested; empty where nothing more can be said.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Said {
    #[serde(flatten, with = "scratchproof_texts::said_start")]
    pub start: Text,
    #[serde(flatten, with = "scratchproof_texts::said_chain")]
    pub chain: Text,
    #[serde(flatten, with = "scratchproof_texts::said_parent")]
    pub parent: Text,
    #[serde(flatten, with = "scratchproof_texts::said_time")]
    pub time: Text,
}

/// What a verdict is made from, beside the findings.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// What came out for each condition, ...
    pub conditions: Conditions,
    /// ... in a sentence each, ...
    pub said: Said,
    /// ... and what their tests could have seen.
    pub power: Power,
    /// The parents it was tested against.
    pub against: Vec<String>,
    /// What would be needed for more.
    pub missing: Vec<Text>,
    /// What it rests on.
    pub ground: Text,
    /// What the policy requires and is not there.
    pub lacking: Vec<Text>,
}

/// What the evidence says of one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum ComponentOutcome {
    Independent,
    Derived,
    Undetermined,
}

/// One component against the parent it is nearest to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ComponentResult {
    pub name: String,
    pub outcome: ComponentOutcome,
    pub parent: Option<String>,
    pub z: Option<f64>,
    pub log10_p: Option<f64>,
    pub effect: Option<f64>,
    /// Layers of the subject that are derived.
    pub layers: Vec<u32>,
}

/// What one condition's judge says.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Findings, without ids.
    pub findings: Vec<Finding>,
    /// Whether the condition holds.
    pub condition: Condition,
    /// What would be needed for more, in words.
    pub missing: Vec<Text>,
    /// What was tested, in a sentence; empty where nothing was.
    pub said: Text,
}

impl Judgement {
    /// Nothing found, nothing tested.
    #[must_use]
    pub fn untested() -> Self {
        Self { findings: Vec::new(), condition: Condition::Untested, missing: Vec::new(), said: Text::default() }
    }

    /// Adds a finding.
    pub fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Whether a finding of at least `grade` is against the claim.
    #[must_use]
    pub fn against(&self, grade: Grade) -> bool {
        self.findings.iter().any(|f| f.direction == Direction::Against && f.grade >= grade)
    }

    /// Fails on a strong finding against, stays untested on a moderate one, and otherwise is `otherwise`.
    pub fn settle(&mut self, otherwise: Condition) {
        self.condition = if self.against(Grade::Strong) {
            Condition::Fails
        } else if self.against(Grade::Moderate) {
            Condition::Untested
        } else {
            otherwise
        };
    }
}

/// Gives ids in the given order and decides: one conclusive finding against refutes, or two strong ones of different
/// conditions; start, chain and parent holding, time not failing, no question of grade moderate open and nothing lacking of
/// what the policy requires confirms; everything else is inconclusive.
#[must_use]
pub fn decide(findings: &mut [Finding], heard: Heard) -> Verdict {
    let Heard { conditions, said, power, against, mut missing, ground, lacking } = heard;
    for (index, finding) in findings.iter_mut().enumerate() {
        finding.id = format!("F{:03}", index + 1);
    }
    let counted = |grade: Grade| {
        findings.iter().filter(move |f| f.direction == Direction::Against && f.grade >= grade).collect::<Vec<_>>()
    };
    let conclusive = counted(Grade::Conclusive);
    let strong = counted(Grade::Strong);
    let open = counted(Grade::Moderate);
    let kinds: std::collections::BTreeSet<_> = strong.iter().map(|f| f.code.condition()).collect();
    let holds = |condition| condition == Condition::Holds;
    let (outcome, deciding) = if !conclusive.is_empty() {
        (Outcome::Refuted, conclusive)
    } else if kinds.len() >= 2 {
        (Outcome::Refuted, strong)
    } else if holds(conditions.start)
        && holds(conditions.chain)
        && holds(conditions.parent)
        && conditions.time != Condition::Fails
        && open.is_empty()
        && lacking.is_empty()
    {
        let supports = |f: &&Finding| f.direction == Direction::For && f.grade >= Grade::Moderate;
        (Outcome::Confirmed, findings.iter().filter(supports).collect())
    } else {
        (Outcome::Inconclusive, open)
    };
    missing.extend(lacking);
    missing.sort_by_cached_key(Text::english);
    missing.dedup();
    let reasons = deciding.into_iter().map(|f| f.id.clone()).collect();
    Verdict { outcome, against, conditions, power, reasons, missing, ground, said }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    const HOLDS: Conditions = Conditions {
        start: Condition::Holds,
        chain: Condition::Holds,
        parent: Condition::Holds,
        time: Condition::Untested,
    };

    fn against(code: Code, grade: Grade) -> Finding {
        Finding::new(code, grade, Direction::Against, "")
    }

    fn outcome(mut findings: Vec<Finding>, conditions: Conditions) -> Outcome {
        decide(&mut findings, Heard { conditions, ..Heard::default() }).outcome
    }

    #[test]
    fn one_conclusive_or_two_kinds_of_strong_refute() {
        let (a, b) = (Code::ParentSimilarity, Code::StartSpectrum);
        assert_eq!(outcome(vec![against(a, Grade::Conclusive)], HOLDS), Outcome::Refuted);
        assert_eq!(outcome(vec![against(a, Grade::Strong), against(b, Grade::Strong)], HOLDS), Outcome::Refuted);
        assert_eq!(outcome(vec![against(a, Grade::Strong), against(a, Grade::Strong)], HOLDS), Outcome::Inconclusive);
        assert_eq!(outcome(vec![against(a, Grade::Moderate)], HOLDS), Outcome::Inconclusive);
        assert_eq!(outcome(vec![against(a, Grade::Weak), against(b, Grade::Weak)], HOLDS), Outcome::Confirmed);
        let supports = Finding::new(a, Grade::Conclusive, Direction::For, "");
        assert_eq!(outcome(vec![supports], Conditions { chain: Condition::Untested, ..HOLDS }), Outcome::Inconclusive);
    }

    #[test]
    fn confirmed_needs_three_conditions_and_no_contradiction_in_time() {
        assert_eq!(outcome(Vec::new(), HOLDS), Outcome::Confirmed);
        for broken in [
            Conditions { start: Condition::Untested, ..HOLDS },
            Conditions { chain: Condition::Fails, ..HOLDS },
            Conditions { parent: Condition::Untested, ..HOLDS },
            Conditions { time: Condition::Fails, ..HOLDS },
        ] {
            assert_eq!(outcome(Vec::new(), broken), Outcome::Inconclusive);
        }
        let without = Heard { conditions: HOLDS, lacking: vec!["a log".into()], ..Heard::default() };
        let verdict = decide(&mut [], without);
        assert_eq!((verdict.outcome, verdict.missing.len()), (Outcome::Inconclusive, 1));
    }

    const GRADES: [Grade; 5] = [Grade::Context, Grade::Weak, Grade::Moderate, Grade::Strong, Grade::Conclusive];

    #[test]
    fn a_condition_fails_from_strong_on_and_is_open_at_moderate() {
        use Condition::{Fails, Holds, Untested};
        for otherwise in [Holds, Untested] {
            let expected = [otherwise, otherwise, Untested, Fails, Fails];
            for (grade, expected) in GRADES.into_iter().zip(expected) {
                let mut judgement = Judgement::untested();
                judgement.push(against(Code::ChainMemory, grade));
                judgement.settle(otherwise);
                assert_eq!(judgement.condition, expected, "{grade:?}");
                // What is for the claim, or for neither, leaves the condition as it is.
                for direction in [Direction::For, Direction::Neutral] {
                    let mut judgement = Judgement::untested();
                    judgement.push(Finding::new(Code::ChainMemory, grade, direction, ""));
                    judgement.settle(otherwise);
                    assert_eq!(judgement.condition, otherwise, "{grade:?} {direction:?}");
                }
            }
        }
        assert!(Judgement::untested().findings.is_empty() && Judgement::untested().condition == Untested);
    }

    /// One finding of every grade and direction beside conditions that hold.
    #[test]
    fn one_finding_of_every_grade_and_direction() {
        use Outcome::{Confirmed, Inconclusive, Refuted};
        let expected = [Confirmed, Confirmed, Inconclusive, Inconclusive, Refuted];
        for (grade, expected) in GRADES.into_iter().zip(expected) {
            assert_eq!(outcome(vec![against(Code::TimeOrder, grade)], HOLDS), expected, "{grade:?}");
            for direction in [Direction::For, Direction::Neutral] {
                let finding = Finding::new(Code::TimeOrder, grade, direction, "");
                assert_eq!(outcome(vec![finding], HOLDS), Confirmed, "{grade:?} {direction:?}");
            }
        }
    }

    #[test]
    fn two_strong_ones_refute_whatever_the_conditions_are_and_only_of_different_conditions() {
        let strong = |code| against(code, Grade::Strong);
        let untested = Conditions::default();
        let codes = [Code::StartSpectrum, Code::ChainMemory, Code::ParentSimilarity, Code::TimeOrder];
        for (at, one) in codes.into_iter().enumerate() {
            for (with, other) in codes.into_iter().enumerate() {
                let expected = if at == with { Outcome::Inconclusive } else { Outcome::Refuted };
                for conditions in [untested, HOLDS] {
                    assert_eq!(outcome(vec![strong(one), strong(other)], conditions), expected, "{one:?} {other:?}");
                }
            }
            let moderate = against(codes[(at + 1) % 4], Grade::Moderate);
            assert_eq!(outcome(vec![strong(one), moderate], untested), Outcome::Inconclusive);
            let supports = Finding::new(codes[(at + 1) % 4], Grade::Strong, Direction::For, "");
            assert_eq!(outcome(vec![strong(one), supports], untested), Outcome::Inconclusive);
        }
        // Two tests of one condition are one kind.
        assert_eq!(outcome(vec![strong(Code::ChainMemory), strong(Code::ChainBudget)], HOLDS), Outcome::Inconclusive);
    }

    #[test]
    fn every_condition_at_every_state() {
        use Condition::{Fails, Holds, Untested};
        for start in [Holds, Fails, Untested] {
            for chain in [Holds, Fails, Untested] {
                for parent in [Holds, Fails, Untested] {
                    for time in [Holds, Fails, Untested] {
                        let whole = [start, chain, parent] == [Holds; 3] && time != Fails;
                        let expected = if whole { Outcome::Confirmed } else { Outcome::Inconclusive };
                        let conditions = Conditions { start, chain, parent, time };
                        assert_eq!(outcome(Vec::new(), conditions), expected, "{conditions:?}");
                    }
                }
            }
        }
    }

    /// What decided: the conclusive ones, the strong ones, what supports from moderate on, or what is open.
    #[test]
    fn the_reasons_are_those_that_decided() {
        let reasons = |mut findings: Vec<Finding>, conditions| {
            decide(&mut findings, Heard { conditions, ..Heard::default() }).reasons.join(" ")
        };
        let code = Code::ChainMemory;
        let all = |direction| GRADES.map(|grade| Finding::new(code, grade, direction, ""));
        assert_eq!(reasons(all(Direction::Against).to_vec(), HOLDS), "F005");
        assert_eq!(reasons(all(Direction::Against)[..4].to_vec(), HOLDS), "F003 F004");
        assert_eq!(reasons(all(Direction::For).to_vec(), HOLDS), "F003 F004 F005");
        assert_eq!(reasons(all(Direction::For).to_vec(), Conditions::default()), "");
        assert_eq!(reasons(all(Direction::Neutral).to_vec(), HOLDS), "");
        let two =
            vec![against(code, Grade::Strong), against(code, Grade::Moderate), against(Code::TimeOrder, Grade::Strong)];
        assert_eq!(reasons(two, HOLDS), "F001 F003");
    }

    #[test]
    fn what_is_missing_is_said_once_in_order() {
        let heard = Heard {
            missing: vec!["b".into(), "c".into(), "b".into()],
            lacking: vec!["a".into(), "c".into()],
            ..Heard::default()
        };
        let missing = decide(&mut [], heard).missing;
        assert_eq!(missing.iter().map(Text::english).collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
