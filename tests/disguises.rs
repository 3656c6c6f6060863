//! Weights in disguise: what somebody does to a parent so that it is not recognised, and the same done to strangers.

#[path = "disguises/added.rs"]
mod added;
#[path = "disguises/calibration.rs"]
mod calibration;
#[path = "disguises/function.rs"]
mod function;
#[path = "disguises/kin.rs"]
mod kin;
#[path = "disguises/parts.rs"]
mod parts;
#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use support::report::{ComponentOutcome, Direction, Finding, Grade, Outcome, Report};
use support::weights::Model;
use support::{Copy, fixtures};

/// The case a disguise is tried on, and the same architecture with a start of its own.
#[derive(Clone, Copy)]
struct Pair {
    parent: &'static str,
    kin: &'static str,
    stranger: &'static str,
    /// Components that are the parent's, with the layers.
    derived: &'static [(&'static str, &'static [u32])],
}

const DENSE: Pair = Pair {
    parent: "parent-llama",
    kin: "dense-continued",
    stranger: "dense-sgd",
    derived: &[("attention", &[0, 1, 2, 3, 4]), ("embedding", &[]), ("head", &[]), ("mlp", &[0, 1, 2, 3, 4])],
};

const EXPERTS: Pair = Pair {
    parent: "parent-glm",
    kin: "continued",
    stranger: "scratch-same-arch",
    derived: &[
        ("attention", &[0, 1, 2, 3, 4, 5]),
        ("embedding", &[]),
        ("experts", &[1, 2, 3, 4, 5]),
        ("head", &[]),
        ("mlp", &[0]),
        ("router", &[1, 2, 3, 4, 5]),
    ],
};

/// The last checkpoint of a case.
fn last(case: &str) -> Model {
    Model::read(&fixtures().join("cases").join(case).join("checkpoints/step-600"))
}

/// A parent or control.
fn model(name: &str) -> Model {
    Model::read(&fixtures().join("models").join(name))
}

/// The audit of one model in place of a case's series, with the parent changed.
fn judged(case: &str, parent: &str, subject: &Model, disguise: impl FnOnce(&mut Model)) -> Report {
    let copy = Copy::of(case);
    copy.only(subject);
    copy.disguise(parent, disguise);
    copy.judged()
}

/// One line a finding, for messages of failed tests.
fn shown(report: &Report) -> String {
    let parts =
        report.components.iter().map(|c| format!("{} {:?} z {:?} layers {:?}\n", c.name, c.outcome, c.z, c.layers));
    let line = |f: &Finding| format!("{} {:?} {:?}: {}\n", f.code, f.grade, f.direction, f.message);
    let findings = report.findings.iter().filter(|f| f.code.starts_with("parent/")).map(line);
    format!("{:#?}\n{}", report.verdict, parts.chain(findings).collect::<String>())
}

/// Names of the derived components with their layers.
fn derived(report: &Report) -> Vec<(&str, &[u32])> {
    let derived = report.components.iter().filter(|c| c.outcome == ComponentOutcome::Derived);
    derived.map(|c| (c.name.as_str(), &c.layers[..])).collect()
}

/// What is wrong with a report that must see the parent, by these codes and these words; `derived` is what is derived.
fn unseen(report: &Report, wanted: &[(&str, &[u32])], codes: &[&str], words: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    if report.verdict.outcome != Outcome::Refuted {
        wrong.push(format!("{:?}, not refuted", report.verdict.outcome));
    }
    if derived(report) != wanted {
        wrong.push(format!("derived {:?}", derived(report)));
    }
    for code in codes {
        // Four experts or heads a layer cannot agree often enough to be conclusive on their own.
        if !report.of(code).iter().any(|f| f.direction == Direction::Against && f.grade >= Grade::Moderate) {
            wrong.push(format!("no {code} against the claim"));
        }
    }
    let all: String = report.findings.iter().map(|f| f.message.as_str()).collect::<Vec<&str>>().join("\n");
    wrong.extend(words.iter().filter(|word| !all.contains(*word)).map(|word| format!("no word of {word:?}")));
    wrong
}

/// What is wrong with a report that must see nothing.
fn heard(report: &Report) -> Vec<String> {
    let mut wrong: Vec<String> = report
        .findings
        .iter()
        .filter(|f| f.code.starts_with("parent/") && f.direction == Direction::Against && f.grade > Grade::Weak)
        .map(|f| format!("{:?} {}: {}", f.grade, f.code, f.message))
        .collect();
    if report.verdict.outcome == Outcome::Refuted || !derived(report).is_empty() {
        wrong.push(format!("{:?}, derived {:?}", report.verdict.outcome, derived(report)));
    }
    wrong.extend(report.of("parent/uncalibrated").iter().map(|f| f.message.clone()));
    wrong
}

/// A way to change a model, with the codes and the words it must be found by.
struct Kind {
    name: &'static str,
    disguise: fn(&mut Model),
    codes: &'static [&'static str],
    words: &'static [&'static str],
}

/// Tries a kind on the parent: the one who continued it is seen, the stranger is not.
fn tried(pair: Pair, kind: &Kind) {
    let Kind { name, disguise, codes, words } = kind;
    let report = judged(pair.kin, pair.parent, &last(pair.kin), disguise);
    let wrong = unseen(&report, pair.derived, codes, words);
    assert!(wrong.is_empty(), "{name} of {}: {wrong:#?}\n{}", pair.parent, shown(&report));
}

/// Tries a kind on the parent of a stranger, who has nothing of it.
fn silent(pair: Pair, kind: &Kind) {
    let report = judged(pair.stranger, pair.parent, &last(pair.stranger), kind.disguise);
    let wrong = heard(&report);
    assert!(wrong.is_empty(), "{} of a stranger, {}: {wrong:#?}\n{}", kind.name, pair.parent, shown(&report));
}
