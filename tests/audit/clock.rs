//! The decay clock on the fixtures, and on logs and series that were altered.

use std::fs;

use crate::support::report::{Condition, Direction, Finding, Grade, Outcome, Report};
use crate::support::{Copy, audited, runlog};

/// The finding of the language model's embedding.
fn clock(report: &Report) -> &Finding {
    let found: Vec<&Finding> = report
        .of("chain/decay-clock")
        .into_iter()
        .filter(|f| f.subject.tensor.as_deref().is_some_and(|tensor| tensor.ends_with("embed_tokens.weight")))
        .collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0]
}

#[test]
fn honest_decay_is_the_logged_one() {
    for case in ["scratch-moe", "scratch-same-arch", "continued", "depth-upscaled", "shared-seed", "distilled"] {
        let audit = audited(case);
        let found = clock(&audit.report);
        assert_eq!((found.grade, found.direction), (Grade::Strong, Direction::For), "{case}: {}", found.message);
        let off = found.effect.expect("a deviation");
        assert!(off.abs() < 0.002, "{case}: {off}");
        assert!(found.n.is_some_and(|rows| rows >= 24), "{case}: {}", found.message);
    }
    let audit = audited("dense-sgd");
    let found = clock(&audit.report);
    assert_eq!((found.grade, found.direction), (Grade::Moderate, Direction::For), "{}", found.message);
    assert!(found.message.contains("keep every bit"), "{}", found.message);
    let audit = audited("borrowed-embedding");
    let found = clock(&audit.report);
    assert!(found.grade == Grade::Context && found.message.contains("frozen"), "{}", found.message);
}

fn denied(copy: &Copy, what: &str) {
    let report = copy.judged();
    let found = clock(&report);
    assert_eq!((found.grade, found.direction), (Grade::Moderate, Direction::Against), "{what}: {}", found.message);
    assert_ne!(report.verdict.outcome, Outcome::Confirmed, "{what}");
    assert_ne!(report.verdict.conditions.chain, Condition::Holds, "{what}");
}

#[test]
fn a_tenth_more_or_less_in_the_log_is_seen() {
    for factor in [0.9, 1.1] {
        let copy = Copy::of("scratch-moe");
        runlog::scale_logged(&copy.log(), "train/learning_rate", factor);
        denied(&copy, &format!("rates times {factor}"));
    }
    let copy = Copy::of("scratch-same-arch");
    for step in [20, 60, 150, 300, 450, 600] {
        let folder = |step: u32| copy.path(&format!("checkpoints/step-{step}"));
        fs::rename(folder(step), folder(step * 9 / 10)).expect("renamed");
    }
    denied(&copy, "steps times 0.9");
}

#[test]
fn time_runs_forward_only() {
    let copy = Copy::of("scratch-same-arch");
    let [a, b] = [copy.weights(150), copy.weights(450)];
    let bytes = fs::read(&a).expect("weights");
    fs::copy(&b, &a).expect("copied");
    fs::write(&b, bytes).expect("written");
    let report = copy.judged();
    let found = clock(&report);
    assert_eq!((found.grade, found.direction), (Grade::Strong, Direction::Against), "{}", found.message);
    assert!(found.message.contains("grow"), "{}", found.message);
}
