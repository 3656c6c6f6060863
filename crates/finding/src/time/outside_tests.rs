//! Outside witnesses and the register, as findings.

use std::collections::BTreeSet;

use super::{Code, Condition, Direction, Finding, Grade, Judgement, Listed, RegisterFacts, TimeFacts, judge};
use scratchproof_case::Policy;
use scratchproof_record::witness::{Kind, Refusal};
use scratchproof_record::{Interval, Release, Target, Trust, Witnessed};
use scratchproof_timeline::register::{Register, Relation, Shape, from_hub};

fn seen(verified: Result<(), Refusal>, target: Option<Target>) -> Witnessed {
    Witnessed {
        proof: "x.tsr".into(),
        kind: Kind::Token,
        target,
        how: "its id as text".into(),
        existed_by: Interval::parse("2026-08-01T10:00:00Z").ok(),
        trust: if verified.is_ok() { Trust::Anchored } else { Trust::SelfAsserted },
        source: "Authority (x.tsr)".into(),
        verified,
        notes: Vec::new(),
    }
}

fn of(witnesses: &[Witnessed]) -> (Judgement, Finding) {
    let judgement = judge(&TimeFacts { witnesses, ..TimeFacts::default() }, &Policy::default());
    let finding = judgement.findings.iter().find(|f| f.code == Code::TimeWitness).unwrap().clone();
    (judgement, finding)
}

#[test]
fn only_a_proof_that_is_wrong_in_itself_and_of_this_case_counts_against() {
    let commit = || Some(Target::Commit("0123456789abcdef".into()));
    let why = || "x".to_owned();
    let context = (Grade::Context, Direction::Neutral);
    for (witness, expected) in [
        (seen(Ok(()), commit()), context),
        (seen(Ok(()), None), context),
        (seen(Err(Refusal::Broken(why())), commit()), (Grade::Moderate, Direction::Against)),
        (seen(Err(Refusal::Broken(why())), None), (Grade::Weak, Direction::Neutral)),
        (seen(Err(Refusal::Other(why())), commit()), (Grade::Weak, Direction::Neutral)),
        (seen(Err(Refusal::Unanchored(why())), commit()), context),
        (seen(Err(Refusal::Pending(why())), commit()), context),
        (seen(Err(Refusal::Unreadable(why())), commit()), context),
    ] {
        let (judgement, finding) = of(std::slice::from_ref(&witness));
        assert_eq!((finding.grade, finding.direction), expected, "{witness:?}");
        assert_eq!(judgement.condition, Condition::Untested, "one such question decides nothing");
    }
    // Many wrong tokens are still one kind of question.
    let many = vec![seen(Err(Refusal::Broken(why())), commit()); 5];
    assert_eq!(of(&many).0.condition, Condition::Untested);
    let (_, finding) = of(&[seen(Ok(()), commit())]);
    assert!(
        finding.message.contains(
            "stamped the commit 0123456789ab (its id as text); it was there by 2026-08-01 10:00:00 UTC (anchored)"
        ),
        "{}",
        finding.message
    );
}

#[test]
fn the_case_file_wins_and_the_difference_is_said() {
    let register = Register::built_in().unwrap();
    let row = || register.find("GLM-4.5-Air", "").unwrap().release().unwrap();
    let case = |day: &str| Some(Release::new("P", day, Trust::SelfAsserted, None).unwrap());
    let at = |text: &str| Interval::parse(text).unwrap().earliest;
    let listed = |given, register, hub| Listed { parent: "P".into(), given, register, hub };
    for (listed, newest, words) in [
        (
            listed(case("2025-09-01T00:00:00Z"), Some(row()), None),
            None,
            &["days later", "it is the one used", "announcement"][..],
        ),
        (listed(case("2025-07-28"), Some(row()), None), None, &["do not contradict"]),
        (listed(None, Some(row()), None), None, &["gives no date for P", "stated"]),
        (
            listed(None, None, None),
            Some("2026-10-01T00:00:00Z"),
            &["ends with 2026-01-04", "of 2026-10-01", "not in it"],
        ),
        (listed(None, None, None), Some("2025-10-01T00:00:00Z"), &["later than anything in this case"]),
        (
            listed(None, None, Some(from_hub("P", at("2026-02-01T00:00:00Z"), "hf://o/p".into()))),
            None,
            &["not before 2026-02-01", "floor"],
        ),
    ] {
        let all = [listed];
        let facts = RegisterFacts {
            until: register.until,
            newest: newest.map(at),
            listed: &all,
            held: &[],
            start: None,
            chances: [Relation::Equal, Relation::Deeper, Relation::Vocabulary].map(|r| register.chance(r)),
        };
        let judgement = judge(&TimeFacts { register: Some(facts), ..TimeFacts::default() }, &Policy::default());
        let finding = judgement.findings.iter().find(|f| f.code == Code::TimeReleaseDate).unwrap();
        assert_eq!((finding.grade, finding.direction), (Grade::Context, Direction::Neutral));
        for word in words {
            assert!(finding.message.contains(word), "{word}: {}", finding.message);
        }
        assert!(judgement.missing.iter().any(|missing| missing.contains("sizes of the model")));
    }
}

#[test]
fn models_of_these_sizes_are_named_with_how_common_that_is() {
    let register = Register::built_in().unwrap();
    let shape = register.find("GLM-4.5-Air", "").unwrap().shape;
    let message = |shape: Shape, start: &str, proposed: &[&str]| {
        let start = Some(Interval::parse(start).unwrap().earliest);
        let proposed: BTreeSet<String> = proposed.iter().map(ToString::to_string).collect();
        let held = register.hold(&shape, start, &proposed);
        let facts = RegisterFacts {
            until: register.until,
            newest: start,
            listed: &[],
            held: &held,
            start,
            chances: [Relation::Equal, Relation::Deeper, Relation::Vocabulary].map(|r| register.chance(r)),
        };
        let judgement = judge(&TimeFacts { register: Some(facts), ..TimeFacts::default() }, &Policy::default());
        let finding = judgement.findings.into_iter().find(|f| f.code == Code::TimeEarlierModels).unwrap();
        assert_eq!(finding.grade, Grade::Context);
        (finding.message, finding.statistic)
    };
    let (text, open) = message(shape, "2025-10-01T00:00:00Z", &[]);
    assert!(text.contains("GLM-4.5-Air (2025-07-28; hidden size, layers") && !text.contains("INTELLECT-3"), "{text}");
    assert_eq!(open, Some(1.0), "{text}");
    let (text, open) = message(shape, "2026-10-01T00:00:00Z", &["zai-org/GLM-4.5-Air"]);
    assert!(
        text.contains("in the case") && text.contains("INTELLECT-3") && text.contains("ends with 2026-01-04"),
        "{text}"
    );
    assert_eq!(open, Some(1.0), "{text}");
    let (text, open) = message(shape, "2025-01-01T00:00:00Z", &[]);
    assert!(!text.contains("GLM-4.5-Air (") && open == Some(0.0), "{text}");
}
