//! Forged cases: honest fixtures, changed as somebody would who has something to hide. None may be confirmed.

use std::fs;
use std::path::Path;

use crate::support::report::{ComponentOutcome, Condition, Direction, Finding, Grade, Outcome, Report};
use crate::support::safetensors::{File, edit};
use crate::support::weights::Model;
use crate::support::{Copy, Numbers, fixtures};

const STEPS: [u32; 7] = [0, 20, 60, 150, 300, 450, 600];

/// Weights of another case.
fn foreign(case: &str, step: u32) -> File {
    File::read(&fixtures().join(format!("cases/{case}/checkpoints/step-{step}/model.safetensors")))
}

/// The parent of most cases.
fn parent() -> File {
    File::read(&fixtures().join("models/parent-glm/model.safetensors"))
}

/// Rewrites every tensor: the step's own elements and those of the others, to new ones.
pub(super) fn mix(path: &Path, others: &mut [File], mut new: impl FnMut(&str, &[f32], &[Vec<f32>]) -> Vec<f32>) {
    edit(path, |file| {
        for name in file.names() {
            let theirs: Vec<Vec<f32>> = others.iter_mut().map(|other| other.numbers(&name)).collect();
            let own = file.numbers(&name);
            file.put(&name, &new(&name, &own, &theirs));
        }
    });
}

pub(super) fn rms(numbers: impl ExactSizeIterator<Item = f32>) -> f32 {
    let n = numbers.len() as f32;
    (numbers.map(|x| x * x).sum::<f32>() / n).sqrt()
}

/// Each element `share` of the way from `a` to `b`.
pub(super) fn blend(a: &[f32], b: &[f32], share: f32) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + share * (b - a)).collect()
}

/// Findings of a code against the claim that are at least this grave.
pub(super) fn against<'a>(report: &'a Report, code: &str, grade: Grade) -> Vec<&'a Finding> {
    report.of(code).into_iter().filter(|f| f.direction == Direction::Against && f.grade >= grade).collect()
}

/// One line a finding, for messages of failed tests.
pub(super) fn shown(report: &Report) -> String {
    let line = |f: &Finding| format!("{} {:?} {:?}: {}\n", f.code, f.grade, f.direction, f.message);
    let findings: String = report.findings.iter().map(line).collect();
    format!("{:#?}\n{findings}", report.verdict)
}

mod chain {
    use super::*;

    #[test]
    fn exchanged_checkpoints_are_out_of_order() {
        for pair in STEPS[1..6].windows(2) {
            let copy = Copy::of("scratch-moe");
            let [a, b] = [copy.weights(pair[0]), copy.weights(pair[1])];
            let bytes = fs::read(&a).expect("weights");
            fs::copy(&b, &a).expect("copied");
            fs::write(&b, bytes).expect("written");
            let report = copy.judged();
            assert_ne!(report.verdict.outcome, Outcome::Confirmed, "{pair:?}: {}", shown(&report));
            assert_eq!(report.verdict.conditions.chain, Condition::Fails, "{pair:?}: {}", shown(&report));
            let found = against(&report, "chain/order", Grade::Strong);
            assert_eq!(found.len(), 1, "{pair:?}: {}", shown(&report));
            assert_eq!(found[0].subject.steps, [i64::from(pair[0]), i64::from(pair[1])]);
        }
    }

    /// Far exchanges, which leave every pair of neighbours where a shorter path would have it.
    #[test]
    fn checkpoints_far_apart_and_whole_series_are_not_exchanged_unseen() {
        for case in ["dense-sgd", "scratch-moe"] {
            for pairs in [&[(60, 300)][..], &[(20, 450), (60, 300)]] {
                let copy = Copy::of(case);
                for (a, b) in pairs {
                    let [a, b] = [copy.weights(*a), copy.weights(*b)];
                    let bytes = fs::read(&a).expect("weights");
                    fs::copy(&b, &a).expect("copied");
                    fs::write(&b, bytes).expect("written");
                }
                let report = copy.judged();
                assert_ne!(report.verdict.outcome, Outcome::Confirmed, "{case} {pairs:?}: {}", shown(&report));
                let found = against(&report, "chain/order", Grade::Moderate);
                assert_eq!(found.len(), 1, "{case} {pairs:?}: {}", shown(&report));
            }
        }
    }

    #[test]
    fn a_blend_of_first_and_last_with_fresh_noise_is_no_walk() {
        for share in [0.02, 0.05, 0.2] {
            let copy = Copy::of("scratch-same-arch");
            let mut ends = [File::read(&copy.weights(0)), File::read(&copy.weights(600))];
            let mut numbers = Numbers(5);
            for step in &STEPS[1..6] {
                mix(&copy.weights(*step), &mut ends, |_, _, ends| {
                    let noise = share * rms(ends[0].iter().zip(&ends[1]).map(|(a, b)| b - a));
                    let line = blend(&ends[0], &ends[1], *step as f32 / 600.0);
                    line.into_iter().map(|x| x + noise * numbers.noise()).collect()
                });
            }
            let report = copy.judged();
            assert_ne!(report.verdict.outcome, Outcome::Confirmed, "noise {share}: {}", shown(&report));
            assert_eq!(against(&report, "chain/noise", Grade::Strong).len(), 1, "noise {share}: {}", shown(&report));
        }
    }

    #[test]
    fn an_exact_blend_of_its_neighbours_refutes() {
        for (case, middle) in [("scratch-same-arch", 4), ("scratch-same-arch", 1), ("scratch-moe", 3)] {
            let copy = Copy::of(case);
            let mut neighbours = [STEPS[middle - 1], STEPS[middle + 1]].map(|step| File::read(&copy.weights(step)));
            mix(&copy.weights(STEPS[middle]), &mut neighbours, |_, _, ends| blend(&ends[0], &ends[1], 0.4));
            let report = copy.finished(1);
            let found = against(&report, "chain/off-chord", Grade::Conclusive);
            assert_eq!(found.len(), 1, "{case}: {}", shown(&report));
            assert_eq!(found[0].subject.steps, [i64::from(STEPS[middle])]);
        }
    }

    #[test]
    fn a_checkpoint_of_another_run_is_no_part_of_the_chain() {
        for other in ["continued", "shared-seed"] {
            for step in [60, 300] {
                let copy = Copy::of("scratch-same-arch");
                foreign(other, step).write(&copy.weights(step));
                let report = copy.judged();
                assert_ne!(report.verdict.outcome, Outcome::Confirmed, "{other} {step}: {}", shown(&report));
                assert_eq!(report.verdict.conditions.chain, Condition::Fails, "{other} {step}: {}", shown(&report));
                let found = against(&report, "chain/memory", Grade::Conclusive);
                assert!(found.iter().any(|f| f.subject.steps.contains(&i64::from(step))), "{}", shown(&report));
            }
        }
    }

    /// An arc from the own start to weights that have nothing of it: every checkpoint remembers the one before.
    #[test]
    fn the_last_checkpoint_must_remember_the_first() {
        let copy = Copy::of("scratch-same-arch");
        let mut start = [File::read(&copy.weights(0))];
        for (place, step) in STEPS.iter().enumerate().skip(1) {
            let (sine, cosine) = (place as f32 / 6.0 * std::f32::consts::FRAC_PI_2).sin_cos();
            let mut numbers = Numbers(6);
            mix(&copy.weights(*step), &mut start, |_, _, start| {
                let size = rms(start[0].iter().copied());
                start[0].iter().map(|x| cosine * x + sine * size * numbers.noise()).collect()
            });
        }
        let report = copy.judged();
        assert_ne!(report.verdict.outcome, Outcome::Confirmed, "{}", shown(&report));
        assert_ne!(report.verdict.conditions.chain, Condition::Holds, "{}", shown(&report));
        // The log says that decay leaves nearly all of the start.
        let found = against(&report, "chain/memory", Grade::Conclusive);
        assert_eq!(found.len(), 1, "{}", shown(&report));
        assert_eq!(found[0].subject.steps, [0, 600]);
        assert!(report.misses("how the last one came from the first"), "{}", shown(&report));
    }
}

mod hidden {
    use super::*;

    /// Changes every MLP tensor of every checkpoint of an honest case, after which it must not be confirmed.
    fn hide(change: impl Fn(&mut File, &str)) -> Report {
        let copy = Copy::of("scratch-moe");
        for step in STEPS {
            edit(&copy.weights(step), |file| {
                for name in file.names().iter().filter(|name| name.contains("mlp")) {
                    change(file, name);
                }
            });
        }
        let report = copy.judged();
        assert_ne!(report.verdict.outcome, Outcome::Confirmed, "{}", shown(&report));
        assert_eq!(report.verdict.conditions.parent, Condition::Untested, "{}", shown(&report));
        assert!(report.misses("in a form that can be tested"), "{}", shown(&report));
        report
    }

    #[test]
    fn weights_that_are_not_finite_are_not_cleared() {
        let report = hide(|file, name| file.fill(name, f32::NAN));
        assert!(!report.of("input/non-finite").is_empty());
        hide(|file, name| {
            let odd = f32::INFINITY.to_le_bytes();
            file.tensor(name)[..2].copy_from_slice(&odd[2..]);
        });
    }

    #[test]
    fn weights_in_a_number_format_nobody_knows_are_not_cleared() {
        for dtype in ["F6_E2M3", "Q9_SECRET"] {
            let report = hide(|file, name| file.set(name, "dtype", dtype.into()));
            assert!(report.skips("mlp", dtype), "{:?}", report.coverage.skipped);
        }
    }

    #[test]
    fn weights_that_are_all_zero_are_not_cleared() {
        hide(|file, name| file.fill(name, 0.0));
    }
}

mod lineage {
    use super::*;

    const RELEASE: &str = "released = \"2026-10-02T08:00:00Z\"\n";

    /// The case with its own checkpoint named as a parent.
    fn own_child(step: u32, released: &str) -> Copy {
        let copy = Copy::of("scratch-moe");
        copy.replace("../../models/parent-glm", &format!("checkpoints/step-{step}"));
        copy.replace(RELEASE, released);
        copy
    }

    #[test]
    fn a_parent_that_is_the_subjects_own_checkpoint_does_not_refute() {
        for step in [600, 300] {
            let report = own_child(step, "").finished(3);
            let found = against(&report, "parent/one-lineage", Grade::Moderate);
            assert_eq!(found.len(), 1, "step {step}: {}", shown(&report));
            assert!(against(&report, "parent/bit-equal", Grade::Strong).is_empty(), "{}", shown(&report));
            assert_eq!(report.verdict.conditions.parent, Condition::Untested);
        }
    }

    #[test]
    fn equal_weights_of_a_parent_that_was_public_before_the_run_refute() {
        let report = own_child(600, "released = \"2020-01-01T00:00:00Z\"\n").finished(1);
        let found = against(&report, "parent/bit-equal", Grade::Conclusive);
        let components: Vec<_> = found.iter().filter_map(|f| f.subject.component.as_deref()).collect();
        assert_eq!(components, ["attention", "embedding", "experts", "head", "router"], "{}", shown(&report));
        assert_eq!(report.verdict.conditions.parent, Condition::Fails);
    }
}

mod control {
    use super::*;

    const TWIN: &str = "[[control]]\nname = \"twin\"\nmodel = \"../../models/parent-glm\"\n\n";

    #[test]
    fn a_control_that_is_the_parent_is_set_aside_and_the_others_count() {
        for (case, status) in [("continued", 1), ("scratch-moe", 0)] {
            let copy = Copy::of(case);
            copy.replace("[[run]]", &format!("{TWIN}[[run]]"));
            let report = copy.finished(status);
            let found = report.of("parent/uncalibrated");
            assert_eq!(found.len(), 1, "{case}: {}", shown(&report));
            assert!(found[0].message.contains("twin") && found[0].direction == Direction::Neutral);
            assert!(report.misses("in place of the control twin"), "{}", shown(&report));
        }
    }

    #[test]
    fn a_control_that_is_the_parent_is_none() {
        for case in ["continued", "scratch-moe"] {
            let copy = Copy::of(case);
            copy.without("[[control]]");
            copy.replace("[[run]]", &format!("{TWIN}[[run]]"));
            let report = copy.judged();
            assert_eq!(report.verdict.outcome, Outcome::Inconclusive, "{case}: {}", shown(&report));
            assert_eq!(report.of("parent/uncalibrated").len(), 1, "{case}: {}", shown(&report));
            assert_eq!(report.verdict.conditions.parent, Condition::Untested, "{case}: {}", shown(&report));
        }
    }
}

mod parentage {
    use super::*;

    #[test]
    fn a_final_checkpoint_with_some_of_the_parent_is_derived() {
        let copy = Copy::of("scratch-same-arch");
        mix(&copy.weights(600), &mut [parent()], |_, own, theirs| blend(own, &theirs[0], 0.3));
        let report = copy.finished(1);
        assert_eq!(report.verdict.conditions.parent, Condition::Fails, "{}", shown(&report));
        assert!(!against(&report, "parent/aligned-similarity", Grade::Conclusive).is_empty(), "{}", shown(&report));
    }

    #[test]
    fn one_copied_matrix_is_found_with_its_layer() {
        let name = "model.layers.3.self_attn.k_proj.weight";
        let copy = Copy::of("scratch-same-arch");
        let numbers = parent().numbers(name);
        for step in STEPS {
            edit(&copy.weights(step), |file| file.put(name, &numbers));
        }
        let report = copy.finished(1);
        assert_eq!(report.verdict.conditions.parent, Condition::Fails, "{}", shown(&report));
        let found = against(&report, "parent/bit-equal", Grade::Conclusive);
        assert_eq!(found.len(), 1, "{}", shown(&report));
        assert_eq!(found[0].subject.tensor.as_deref(), Some(name));
        let attention = report.components.iter().find(|c| c.name == "attention").expect("a component");
        assert_eq!((attention.outcome, &attention.layers[..]), (ComponentOutcome::Derived, &[3][..]));
    }
}

/// A tenth of the parent in a draw looks as clean as a draw, and like a parent that has forgotten most of one seed.
#[test]
fn a_little_of_the_parent_in_the_start_is_not_taken_for_one_seed() {
    let copy = Copy::of("scratch-same-arch");
    copy.without("[subject.init]");
    let parent = Model::read(&fixtures().join("models/parent-glm"));
    copy.disguise_series(|model| {
        for (name, tensor) in model.tensors.iter_mut().filter(|(_, tensor)| tensor.shape.len() > 1) {
            let theirs = &parent.tensors[name].values;
            let share = 0.1 * 0.02 / rms(theirs.iter().copied());
            for (value, other) in tensor.values.iter_mut().zip(theirs) {
                *value += share * other;
            }
        }
    });
    let report = copy.judged();
    assert_eq!(report.verdict.outcome, Outcome::Inconclusive, "{}", shown(&report));
    assert_eq!(against(&report, "parent/one-lineage", Grade::Moderate).len(), 1, "{}", shown(&report));
}
