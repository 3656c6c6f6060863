//! Series of checkpoints: forged ones, made from honest runs as the tests run, and honest ones that could be taken for them.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::fs;

use scratchproof::record::wandb;
use serde::Deserialize;
use support::forge::{Series, draw};
use support::report::{Condition, Conditions, Direction, Finding, Grade, Outcome, Report};
use support::runlog::{rewrite, scale_logged, scale_setting};
use support::weights::Model;
use support::{Copy, fixtures, look_alikes};

/// AdamW, stored in f32.
const ADAM: &str = "scratch-same-arch";
/// SGD, stored in bf16.
const SGD: &str = "dense-sgd";

/// What somebody did to a case, and how the audit must see it.
struct Forgery {
    name: &'static str,
    case: &'static str,
    forge: fn(&mut Series, &Copy),
    /// Codes of which one must speak against the claim, at least so gravely; none: it is enough that nothing is confirmed.
    codes: &'static [&'static str],
    grade: Grade,
    /// Steps that the finding must name.
    steps: &'static [i64],
}

const fn forgery(
    name: &'static str,
    case: &'static str,
    forge: fn(&mut Series, &Copy),
    codes: &'static [&'static str],
    grade: Grade,
    steps: &'static [i64],
) -> Forgery {
    Forgery { name, case, forge, codes, grade, steps }
}

/// Another run, of a case's architecture.
fn kin(case: &str) -> Series {
    Series::of(&Copy::of(case))
}

fn parent(name: &str) -> Model {
    Model::read(&fixtures().join("models").join(name))
}

fn everything(_: &str) -> bool {
    true
}

/// One line a finding, for messages of failed tests.
fn shown(report: &Report) -> String {
    let line =
        |f: &Finding| format!("{} {:?} {:?} {:?}: {}\n", f.code, f.grade, f.direction, f.subject.steps, f.message);
    let findings = report.findings.iter().filter(|f| f.direction == Direction::Against).map(line);
    format!("{:#?}\n{}", report.verdict, findings.collect::<String>())
}

/// What is wrong with the audit of a forgery.
fn unseen(forgery: &Forgery) -> Option<String> {
    let copy = Copy::of(forgery.case);
    let mut series = Series::of(&copy);
    (forgery.forge)(&mut series, &copy);
    series.write(&copy);
    let report = copy.judged();
    let seen = |f: &&Finding| {
        f.direction == Direction::Against
            && f.grade >= forgery.grade
            && forgery.codes.contains(&f.code.as_str())
            && forgery.steps.iter().all(|step| f.subject.steps.contains(step))
    };
    let confirmed = report.verdict.outcome == Outcome::Confirmed;
    let missed = !forgery.codes.is_empty() && !report.findings.iter().any(|f| seen(&f));
    (confirmed || missed).then(|| {
        let what =
            if confirmed { "confirmed".to_owned() } else { format!("no {:?} at {:?}", forgery.codes, forgery.steps) };
        format!("{} of {}: {what}\n{}", forgery.name, forgery.case, shown(&report))
    })
}

/// Tries a list of forgeries and fails with all complaints together.
fn none_is_confirmed(forgeries: &[Forgery]) {
    let wrong: Vec<String> = forgeries.iter().filter_map(unseen).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), forgeries.len(), wrong.join("\n"));
}

const OFF_CHORD: &[&str] = &["chain/off-chord"];
const NOISE: &[&str] = &["chain/noise"];
const ORDER: &[&str] = &["chain/order"];
const MEMORY: &[&str] = &["chain/memory"];
const COPIED: &[&str] = &["chain/duplicate-step"];
const BUDGET: &[&str] = &["chain/budget"];
const SIMILAR: &[&str] = &["parent/aligned-similarity"];

mod made_up {
    use super::*;

    #[test]
    fn blends() {
        none_is_confirmed(&[
            forgery("one blend", ADAM, |s, _| s.blend(150, (60, 300), |_| 0.4), OFF_CHORD, Grade::Conclusive, &[150]),
            forgery("one blend", SGD, |s, _| s.blend(60, (20, 150), |_| 0.7), OFF_CHORD, Grade::Conclusive, &[60]),
            forgery("all blends", ADAM, |s, _| s.blend_all(), OFF_CHORD, Grade::Conclusive, &[]),
            forgery("all blends", SGD, |s, _| s.blend_all(), OFF_CHORD, Grade::Conclusive, &[]),
        ]);
    }

    #[test]
    fn blends_with_noise() {
        none_is_confirmed(&[
            forgery(
                "0.3 noise",
                ADAM,
                |s, _| s.blend_with_noise(&s.inner(), (0, 600), 0.3, 0.0, 1),
                NOISE,
                Grade::Strong,
                &[],
            ),
            forgery(
                "1.0 noise",
                ADAM,
                |s, _| s.blend_with_noise(&s.inner(), (0, 600), 1.0, 0.0, 2),
                NOISE,
                Grade::Strong,
                &[],
            ),
            forgery(
                "3.0 noise",
                ADAM,
                |s, _| s.blend_with_noise(&s.inner(), (0, 600), 3.0, 0.0, 3),
                &[],
                Grade::Weak,
                &[],
            ),
            forgery(
                "1.0 noise",
                SGD,
                |s, _| s.blend_with_noise(&s.inner(), (0, 600), 1.0, 0.0, 4),
                &[],
                Grade::Weak,
                &[],
            ),
        ]);
    }

    #[test]
    fn a_stolen_end_behind_a_random_start() {
        none_is_confirmed(&[
            forgery(
                "backwards",
                ADAM,
                |s, _| s.backwards_noise(&draw(&s.at[&0], 0.02, 9), false, 5),
                &[],
                Grade::Weak,
                &[],
            ),
            forgery(
                "backwards walk",
                SGD,
                |s, _| s.backwards_noise(&draw(&s.at[&0], 0.02, 9), true, 6),
                &[],
                Grade::Weak,
                &[],
            ),
            forgery("a bridge", ADAM, |s, _| s.bridge(&draw(&s.at[&0], 0.02, 9), 1.0, 0.0, 7), &[], Grade::Weak, &[]),
            forgery(
                "a smooth bridge",
                SGD,
                |s, _| s.bridge(&draw(&s.at[&0], 0.02, 9), 1.0, 0.95, 8),
                &[],
                Grade::Weak,
                &[],
            ),
            forgery(
                "the start alone",
                ADAM,
                |s, _| drop(s.at.insert(0, draw(&s.at[&0], 0.02, 9))),
                MEMORY,
                Grade::Conclusive,
                &[0, 20],
            ),
        ]);
    }

    #[test]
    fn copies_and_averages() {
        none_is_confirmed(&[
            forgery("a copy", ADAM, |s, _| s.copy_step(60, 150, 0.0, 0), COPIED, Grade::Moderate, &[60, 150]),
            forgery(
                "a copy far off",
                SGD,
                |s, _| s.copy_step(20, 300, 0.0, 0),
                &["chain/duplicate-step", "chain/order"],
                Grade::Moderate,
                &[300],
            ),
        ]);
    }

    #[test]
    fn another_order() {
        none_is_confirmed(&[
            forgery("neighbours", ADAM, |s, _| s.swap(60, 150), ORDER, Grade::Strong, &[60, 150]),
            forgery("neighbours", SGD, |s, _| s.swap(300, 450), ORDER, Grade::Moderate, &[300, 450]),
            forgery("the first two", ADAM, |s, _| s.swap(20, 60), ORDER, Grade::Strong, &[20, 60]),
        ]);
    }
}

mod foreign {
    use super::*;

    #[test]
    fn another_run() {
        none_is_confirmed(&[
            forgery(
                "from the middle",
                ADAM,
                |s, _| s.splice(&kin("shared-seed"), &s.since(300), everything),
                MEMORY,
                Grade::Conclusive,
                &[150, 300],
            ),
            forgery(
                "one alone",
                SGD,
                |s, _| s.splice(&kin("distilled"), &[150], everything),
                MEMORY,
                Grade::Conclusive,
                &[60, 150],
            ),
            forgery(
                "the end alone",
                SGD,
                |s, _| s.splice(&kin("distilled"), &[600], everything),
                MEMORY,
                Grade::Conclusive,
                &[450, 600],
            ),
            forgery(
                "one layer",
                ADAM,
                |s, _| s.splice(&kin("shared-seed"), &s.since(150), |n| n.contains("layers.2.")),
                &[],
                Grade::Weak,
                &[],
            ),
        ]);
    }

    #[test]
    fn the_parent() {
        none_is_confirmed(&[
            forgery("pulled", ADAM, |s, _| s.pull(&parent("parent-glm"), 0.6), SIMILAR, Grade::Conclusive, &[]),
            forgery("pulled", SGD, |s, _| s.pull(&parent("parent-llama"), 0.3), SIMILAR, Grade::Conclusive, &[]),
            forgery("merged", SGD, |s, _| s.merge(&[600], &parent("parent-llama"), 0.1), &[], Grade::Weak, &[]),
            forgery("merged once", ADAM, |s, _| s.merge(&[150], &parent("parent-glm"), 0.3), &[], Grade::Weak, &[]),
        ]);
    }

    #[test]
    fn surgery() {
        let one = |name: &str| name.ends_with("layers.1.mlp.down_proj.weight");
        let times = |series: &mut Series, steps: &[u32], factor: f32| {
            series.change(steps, |n, t| {
                if one(n) {
                    t.values.iter_mut().for_each(|x| *x *= factor);
                }
            });
        };
        let scaled: fn(&mut Series, &Copy) = |s, _| {
            s.change(&s.since(150), |n, t| {
                if n.ends_with("norm.weight") {
                    t.values.iter_mut().for_each(|x| *x *= 1.5);
                }
            });
        };
        none_is_confirmed(&[forgery("norms scaled", ADAM, scaled, &[], Grade::Weak, &[])]);
        for (steps, named) in [(vec![150], vec![60, 150, 300]), (vec![150, 300, 450, 600], vec![60, 150])] {
            let copy = Copy::of(SGD);
            let mut series = Series::of(&copy);
            times(&mut series, &steps, 1.3);
            series.write(&copy);
            let report = copy.judged();
            let found = report.of("chain/tensor-break");
            let told: Vec<i64> = found.iter().flat_map(|f| f.subject.steps.clone()).collect();
            assert!(named.iter().all(|step| told.contains(step)), "{steps:?}: {}", shown(&report));
            assert!(found.iter().all(|f| f.subject.tensor.as_deref().is_some_and(one)), "{}", shown(&report));
            let factor = found[0].statistic.expect("a factor");
            assert!((1.2..1.45).contains(&factor), "{factor}");
            assert_eq!((report.verdict.outcome, found[0].grade), (Outcome::Inconclusive, Grade::Moderate));
        }
    }

    #[test]
    fn rows_of_tokens_drawn_anew() {
        let copy = Copy::of(SGD);
        let mut series = Series::of(&copy);
        let fresh = draw(&series.at[&0], 0.02, 11);
        series.change(&series.since(150), |name, tensor| {
            if name.contains("embed_tokens") {
                let cols = tensor.shape[1];
                let rows = 100 * cols..140 * cols;
                tensor.values[rows.clone()].copy_from_slice(&fresh.tensors[name].values[rows]);
            }
        });
        series.write(&copy);
        let report = copy.judged();
        let found = report.of("chain/tensor-break");
        assert_eq!(found.len(), 1, "{}", shown(&report));
        assert_eq!(found[0].subject.steps, [60, 150]);
        assert_eq!(found[0].subject.component.as_deref(), Some("embedding"));
        assert_ne!(report.verdict.outcome, Outcome::Confirmed);
    }

    /// Another training of the same start, of the same speed and kind: the increments of the next row, in one part.
    fn sister(part: &str) -> Report {
        let copy = Copy::of(ADAM);
        let mut series = Series::of(&copy);
        let start = series.at[&0].clone();
        series.change(&series.since(300), |name, tensor| {
            if name.contains(part) && tensor.shape.len() == 2 {
                let (first, cols) = (&start.tensors[name].values, tensor.shape[1]);
                let moved: Vec<f32> = tensor.values.iter().zip(first).map(|(now, then)| now - then).collect();
                for (i, value) in tensor.values.iter_mut().enumerate() {
                    *value = first[i] + moved[(i + cols) % moved.len()];
                }
            }
        });
        series.write(&copy);
        copy.judged()
    }

    #[test]
    fn a_part_of_a_sister_run_goes_back_at_the_seam() {
        let report = sister("self_attn");
        let splice = |f: &&Finding| {
            f.grade == Grade::Moderate && f.direction == Direction::Against && f.subject.steps == [150, 300]
        };
        let part = |f: &&Finding| f.subject.component.as_deref() == Some("attention");
        assert!(report.of("chain/turn").into_iter().any(|f| splice(&f) && part(&f)), "{}", shown(&report));
        assert_ne!(report.verdict.outcome, Outcome::Confirmed);
        let report = sister("layers.2.");
        let layer = |f: &&Finding| f.subject.layer == Some(2);
        assert!(report.of("chain/turn").into_iter().any(|f| splice(&f) && layer(&f)), "{}", shown(&report));
        assert_ne!(report.verdict.outcome, Outcome::Confirmed);
    }
}

mod averaged {
    use super::*;

    /// The mean of a checkpoint and the two beside it, and means of two all the way.
    fn averages(case: &str, all: bool) -> Copy {
        let copy = Copy::of(case);
        let mut series = Series::of(&copy);
        let saved = series.clone();
        let mean = |of: &[u32]| {
            let mut own = saved.clone();
            own.average(of, of[0]);
            own.at[&of[0]].clone()
        };
        if all {
            for pair in saved.steps().windows(2) {
                series.at.insert(pair[1], mean(pair));
            }
        } else {
            series.at.insert(150, mean(&[60, 150, 300]));
        }
        series.write(&copy);
        copy
    }

    #[test]
    fn a_mean_with_its_neighbours_is_a_question_until_it_is_declared() {
        let copy = averages(SGD, false);
        let report = copy.judged();
        let found = report.of("chain/averaged");
        assert_eq!(found.len(), 1, "{}", shown(&report));
        assert_eq!((found[0].grade, &found[0].subject.steps), (Grade::Moderate, &vec![150]));
        assert_eq!(report.verdict.outcome, Outcome::Inconclusive);
        declare(&copy);
        assert!(copy.judged().of("chain/averaged").is_empty());
    }

    #[test]
    fn means_of_two_all_the_way_are_a_question_until_they_are_declared() {
        let copy = averages(SGD, true);
        let report = copy.judged();
        let found = report.of("chain/averaged");
        assert_eq!(found.len(), 1, "{}", shown(&report));
        assert!(found[0].message.contains("mean of two"), "{}", found[0].message);
        declare(&copy);
        assert!(copy.judged().of("chain/averaged").is_empty());
    }

    fn declare(copy: &Copy) {
        copy.replace("[subject]\n", "[subject]\naveraged = \"lawa\"\n");
    }
}

mod record {
    use super::*;

    #[test]
    fn the_log_is_of_this_training() {
        none_is_confirmed(&[forgery(
            "a tenth of the rate",
            ADAM,
            |_, c| scale_logged(&c.log(), "train/learning_rate", 0.1),
            BUDGET,
            Grade::Conclusive,
            &[],
        )]);
    }

    #[test]
    fn settings_and_values_are_rewritten() {
        let copy = Copy::of(ADAM);
        let read = || wandb::open(&copy.log()).expect("a run");
        let before = read();
        scale_setting(&copy.log(), "weight_decay", 1.1);
        scale_logged(&copy.log(), "_step", 2.0);
        let after = read();
        let decay = [&before, &after].map(|run| run.weight_decay().expect("a decay"));
        assert!((decay[1] / decay[0] - 1.1).abs() < 1e-12);
        let steps = [before, after].map(|run| run.step_range().expect("rows").last);
        assert_eq!(steps[1], 2 * steps[0]);
    }

    /// What is written is what was read: a log rewritten without a change gives the same report.
    #[test]
    fn a_log_is_rewritten_whole() {
        let copy = Copy::of(ADAM);
        let before = copy.finished(0);
        rewrite(&copy.log(), |_, _| {}, |_, _| {});
        let after = copy.finished(0);
        let said = |report: &Report| report.findings.iter().map(|f| f.message.clone()).collect::<Vec<String>>();
        assert_eq!(said(&before), said(&after));
        assert!(after.of("time/log-damage").is_empty());
    }
}

/// What is known of a look-alike, as far as it is asked here.
#[derive(Deserialize)]
struct Truth {
    verdict: Outcome,
    conditions: Conditions,
}

#[test]
fn honest_runs_are_not_taken_for_forged_ones() {
    let mut wrong = Vec::new();
    for name in look_alikes() {
        let truth = fs::read(fixtures().join("look-alikes").join(&name).join("truth.json")).expect("a truth");
        let truth: Truth = serde_json::from_slice(&truth).expect("a truth");
        let copy = Copy::of(&name);
        let report = copy.judged();
        if (report.verdict.outcome, report.verdict.conditions) != (truth.verdict, truth.conditions) {
            wrong.push(format!("{name}: {}", shown(&report)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(look_alikes().len() >= 10);
}

/// Nothing is forged: read and written, a series is confirmed as before.
#[test]
fn an_untouched_series_is_confirmed() {
    for case in [ADAM, SGD] {
        let copy = Copy::of(case);
        Series::of(&copy).write(&copy);
        let report = copy.judged();
        assert_eq!(report.verdict.outcome, Outcome::Confirmed, "{}", shown(&report));
        assert_eq!(report.verdict.conditions.chain, Condition::Holds);
    }
}
