//! Withholding never helps a thief, and never hurts an honest run: every input of every case is left out in turn.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::fs;

use serde::Deserialize;
use support::disguise::relayer;
use support::forge::{Series, draw};
use support::report::{Condition, Direction, Grade, Outcome, Report};
use support::weights::Model;
use support::{Copy, Numbers, cases, fixtures, look_alikes, names};

#[derive(Deserialize)]
struct Truth {
    verdict: Outcome,
}

fn truth(folder: &str, name: &str) -> Outcome {
    let text = fs::read(fixtures().join(folder).join(name).join("truth.json")).expect("a truth");
    serde_json::from_slice::<Truth>(&text).expect("a truth").verdict
}

/// Everything that can be left out of a case, in words.
fn withheld(copy: &Copy) -> Vec<String> {
    let text = copy.text();
    let mut all: Vec<String> = Vec::new();
    for table in text.split("\n\n") {
        let header = table.trim_start().lines().next().unwrap_or_default().to_owned();
        let named = table.lines().find(|line| line.starts_with("name = ")).unwrap_or_default();
        match header.as_str() {
            "[[control]]" => all.push(format!("[[control]]\n{named}")),
            "[[run]]" | "[repository]" | "[subject.init]" if !all.contains(&header) => all.push(header),
            _ => {}
        }
    }
    all.push("the record".to_owned());
    all.extend(names(&copy.path("checkpoints")));
    all
}

/// Leaves one thing out; whether there was one.
fn withhold(copy: &Copy, what: &str) -> bool {
    if what == "the record" {
        for table in ["[[run]]", "[repository]"] {
            if copy.text().contains(table) {
                copy.without(table);
            }
        }
    } else if what.starts_with('[') {
        copy.without(what);
    } else {
        if names(&copy.path("checkpoints")).len() < 2 {
            return false;
        }
        fs::remove_dir_all(copy.path("checkpoints").join(what)).expect("removed");
    }
    true
}

/// Tries everything and tells where the outcome is one that it must not be.
fn never(name: &str, forbidden: Outcome, make: impl Fn() -> Copy) -> Vec<String> {
    let all = withheld(&make());
    let one = |what: &String| {
        let copy = make();
        let told = withhold(&copy, what) && copy.judged().verdict.outcome == forbidden;
        told.then(|| format!("{name} without {}: {forbidden:?}", what.replace('\n', " ")))
    };
    all.iter().filter_map(one).collect()
}

fn checked(folder: &str, names: &[String], derived: bool) {
    let mut wrong = Vec::new();
    for name in names {
        let refuted = truth(folder, name) == Outcome::Refuted;
        if refuted == derived {
            let forbidden = if derived { Outcome::Confirmed } else { Outcome::Refuted };
            wrong.extend(never(name, forbidden, || Copy::of(name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "minutes: cargo test --release -- --ignored"]
fn nothing_left_out_confirms_a_derived_model() {
    checked("cases", &cases(), true);
}

#[test]
#[ignore = "minutes: cargo test --release -- --ignored"]
fn nothing_left_out_refutes_an_honest_case() {
    checked("cases", &cases(), false);
}

#[test]
#[ignore = "minutes: cargo test --release -- --ignored"]
fn nothing_left_out_refutes_a_look_alike() {
    checked("look-alikes", &look_alikes(), false);
}

/// Leavings-out that are tried with every run of the tests, of all that the long tests try.
const SAMPLE: usize = 14;

/// A sample of everything that can be left out of everything, by a fixed seed; the long tests leave out all of all.
#[test]
fn a_sample_of_all_inputs_left_out_turns_nothing_round() {
    let cases = cases().into_iter().map(|name| ("cases", name));
    let all: Vec<(&str, String, String)> = cases
        .chain(look_alikes().into_iter().map(|name| ("look-alikes", name)))
        .flat_map(|(folder, name)| {
            let inputs = withheld(&Copy::of(&name));
            inputs.into_iter().map(move |what| (folder, name.clone(), what))
        })
        .collect();
    assert!(all.len() > 200, "{} inputs", all.len());
    let mut random = Numbers(13);
    let wrong: Vec<String> = (0..SAMPLE)
        .filter_map(|_| {
            let (folder, name, what) = &all[random.below(all.len())];
            let forbidden = match truth(folder, name) {
                Outcome::Refuted => Outcome::Confirmed,
                _ => Outcome::Refuted,
            };
            let copy = Copy::of(name);
            let told = withhold(&copy, what) && copy.judged().verdict.outcome == forbidden;
            told.then(|| format!("{name} without {}: {forbidden:?}", what.replace('\n', " ")))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One input of each kind left out, of two derived models and two honest ones; the long tests leave out all of all.
#[test]
fn a_few_inputs_left_out_turn_nothing_round() {
    let left = |case: &str, what: &str| {
        let copy = Copy::of(case);
        assert!(withhold(&copy, what), "{case} has no {what}");
        copy.judged().verdict.outcome
    };
    for what in ["[[run]]", "the record", "step-0"] {
        assert_ne!(left("dense-continued", what), Outcome::Confirmed, "dense-continued without {what}");
    }
    // Two trainings from one draw are alike, and without their start it cannot be told from a little of the parent.
    assert_eq!(left("shared-seed", "step-0"), Outcome::Inconclusive, "shared-seed without its start");
    assert_ne!(left("dense-sgd", "[[control]]\nname = \"control-llama\""), Outcome::Refuted);
}

/// A series with another model's layers put in between two checkpoints: their values in another order within the tensor,
/// which is a basis that nobody looks for, as large as the final ones are.
fn hidden(case: &str, from: u32) -> Copy {
    let copy = Copy::of(case);
    hide(&copy, from, 1.0);
    copy
}

/// The same in a copy, so many times as large.
fn hide(copy: &Copy, from: u32, share: f32) {
    let mut series = Series::of(copy);
    let stranger: Model = series.at[&series.last()].clone();
    series.change(&series.since(from), |name, tensor| {
        if name.contains("layers.") && tensor.shape.len() == 2 {
            let own = &stranger.tensors[name].values;
            let n = own.len();
            // A fixed stride that shares no factor with the length.
            #[allow(clippy::maybe_infinite_iter, reason = "a number without a common factor is never far")]
            let stride = (n / 3..).find(|s| gcd(*s, n) == 1).unwrap_or(1);
            tensor.values.iter_mut().enumerate().for_each(|(i, x)| *x += share * own[(i * stride + 7) % n]);
        }
    });
    series.write(copy);
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn said(report: &Report) -> Vec<(&str, Grade)> {
    let against = report.findings.iter().filter(|f| f.direction == Direction::Against && f.grade >= Grade::Moderate);
    against.map(|f| (f.code.as_str(), f.grade)).collect()
}

/// What the power of a series claims is so: weights that are put in where it says they would be seen are seen.
#[test]
fn what_is_said_to_be_visible_is_seen() {
    let honest = Copy::of("scratch-same-arch").judged();
    let power = honest.verdict.power.chain.as_ref().expect("a chain");
    let mut tried = 0;
    for steps in [(0, 20), (20, 60), (150, 300), (450, 600)] {
        let layers = power.intervals.iter().find(|r| r.component == "layers" && r.steps == steps).expect("an interval");
        if layers.by.is_empty() {
            continue;
        }
        tried += 1;
        let report = hidden("scratch-same-arch", u32::try_from(steps.1).expect("a step")).judged();
        let found = said(&report);
        assert!(found.iter().any(|(code, _)| code.starts_with("chain/")), "{steps:?}: {found:?}");
        assert_ne!(report.verdict.conditions.chain, Condition::Holds, "{steps:?}");
        assert_ne!(report.verdict.outcome, Outcome::Confirmed, "{steps:?}");
    }
    assert!(tried > 1, "{power:?}");
}

/// Half of a model hidden in the first interval, with the checkpoint that would have shown it left out: what is in an interval
/// is no reason to think that the next grain would be seen, and is not confirmed.
#[test]
fn what_hides_in_an_interval_does_not_sharpen_its_power() {
    const STEPS: (i64, i64) = (0, 60);
    let audited = |share: f32| {
        let copy = Copy::of("scratch-same-arch");
        fs::remove_dir_all(copy.path("checkpoints/step-20")).expect("removed");
        if share > 0.0 {
            hide(&copy, 60, share);
        }
        let report = copy.judged();
        let power = report.verdict.power.chain.as_ref().expect("a chain");
        let layers = power.intervals.iter().find(|r| r.component == "layers" && r.steps == STEPS).expect("an interval");
        (layers.smallest_share.expect("a share"), report)
    };
    let (least, honest) = audited(0.0);
    assert_ne!(honest.verdict.outcome, Outcome::Refuted);
    #[allow(clippy::cast_possible_truncation, reason = "weights are f32")]
    let (small, large) = (0.8 * least as f32, 1.3 * least as f32);
    let (unseen, _) = audited(small);
    assert!(unseen > 0.6 * least, "{least} without, {unseen} with {small} hidden");
    let (_, report) = audited(large);
    assert!(said(&report).iter().any(|(code, _)| code.starts_with("chain/")), "{large}: {:?}", said(&report));
    assert_ne!(report.verdict.outcome, Outcome::Confirmed);
}

/// Weights of a scheme that gives every layer another size, with norm weights that are not constant: a draw all the same, whose
/// silence says nothing.
fn drawn_by_layer(model: &mut Model, seed: u64) {
    let layers = model.size("num_hidden_layers");
    *model = draw(model, 0.02, seed);
    for (name, tensor) in &mut model.tensors {
        let layer = (0..layers).find(|layer| name.contains(&format!("layers.{layer}."))).unwrap_or(0);
        let matrix = tensor.shape.len() > 1;
        for (at, value) in tensor.values.iter_mut().enumerate() {
            *value *= if matrix { 1.0 / (layer as f32 + 1.0).sqrt() } else { 1.0 + 0.01 * (at % 7) as f32 };
        }
    }
}

#[test]
fn a_draw_of_any_scheme_clears_nobody() {
    let with = |name: &str| {
        let copy = Copy::of("dense-sgd");
        copy.disguise(name, |model| drawn_by_layer(model, 77));
        copy.judged()
    };
    let report = with("parent-llama");
    assert_eq!(report.verdict.conditions.parent, Condition::Untested, "{:?}", report.verdict.missing);
    assert!(report.verdict.missing.iter().any(|m| m.contains("parent-llama, which looks like an untrained draw")));
    let trained = Copy::of("dense-sgd").judged();
    assert!(!trained.verdict.missing.iter().any(|m| m.contains("untrained draw")), "{:?}", trained.verdict.missing);
}

/// One random draw in one component, and models that were trained apart: neither refuted nor cleared.
#[test]
fn one_draw_in_the_output_layer_alone_is_no_derivation() {
    const HEAD: &str = "lm_head.weight";
    let copy = Copy::of("dense-sgd");
    let mut series = Series::of(&copy);
    let common = draw(&Model::read(&fixtures().join("models/parent-llama")), 0.02, 77).tensors[HEAD].values.clone();
    let size = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    // A share of the draw in the start, and what training left of it in the parent.
    #[allow(clippy::cast_possible_truncation, reason = "weights are f32")]
    let put = |values: &mut [f32], share: f64| {
        let kept = (1.0 - share * share).sqrt() as f32;
        let scale = (share * size(values) / size(&common)) as f32;
        values.iter_mut().zip(&common).for_each(|(value, drawn)| *value = kept * *value + scale * drawn);
    };
    put(&mut series.at.get_mut(&0).expect("a checkpoint").tensor(HEAD).values, 0.4);
    copy.disguise("parent-llama", |model| put(&mut model.tensor(HEAD).values, 0.35));
    series.write(&copy);
    copy.without("[subject.init]");
    let report = copy.judged();
    let found = said(&report);
    assert!(found.contains(&("parent/one-lineage", Grade::Moderate)), "{found:?}");
    assert_eq!(report.verdict.outcome, Outcome::Inconclusive, "{found:?}");
}

/// A model of one's own that grew by layers in the middle of its training, all checkpoints given: the layers have other numbers
/// afterwards, which is no splice.
#[test]
fn depth_growth_of_ones_own_is_not_refuted() {
    let copy = Copy::of("dense-sgd");
    let mut series = Series::of(&copy);
    for step in series.since(300) {
        relayer(series.at.get_mut(&step).expect("a checkpoint"), &[0, 1, 2, 2, 3, 3, 4, 4]);
    }
    series.write(&copy);
    let report = copy.judged();
    assert_eq!(report.verdict.outcome, Outcome::Inconclusive, "{:?}", said(&report));
    assert!(report.findings.iter().any(|f| f.code == "chain/growth"), "{:?}", said(&report));
}

/// A parent's silence is worth something: the parent itself, in every disguise, is seen by the search.
#[test]
fn a_parent_that_is_cleared_would_have_been_seen_in_disguise() {
    let honest = Copy::of("dense-sgd").judged();
    let power = honest.verdict.power.parent.as_ref().expect("a parent");
    let classes: Vec<&str> = power.disguised.iter().map(|d| d.class.as_str()).collect();
    assert_eq!(classes, ["permuted", "rotated", "moved", "half"], "{power:?}");
    for disguise in &power.disguised {
        assert_eq!(disguise.parent, "parent-llama");
        let seen = |component: &str| disguise.seen_in.iter().any(|c| c == component);
        assert!(seen("mlp") && seen("attention") && disguise.correlation < 1.0, "{disguise:?}");
    }
    for stored in power.stored.iter().filter(|s| ["attention", "mlp"].contains(&s.component.as_str())) {
        let least = stored.smallest_correlation.expect("a correlation");
        assert!(stored.compared > 0.99 && least <= 0.1, "{stored:?}");
    }
    assert_eq!(honest.verdict.conditions.parent, Condition::Holds);
}

#[test]
#[ignore = "minutes: cargo test --release -- --ignored"]
fn no_input_left_out_of_a_forged_series_confirms_it() {
    #[allow(clippy::type_complexity, reason = "a name and a maker, used here alone")]
    let forgeries: [(&str, fn() -> Copy); 3] = [
        ("hidden in the first interval", || hidden("scratch-same-arch", 20)),
        ("made backwards", || {
            let copy = Copy::of("scratch-same-arch");
            let mut series = Series::of(&copy);
            let start = draw(&series.at[&0], 0.02, 9);
            series.backwards_noise(&start, false, 5);
            series.write(&copy);
            copy
        }),
        ("blended", || {
            let copy = Copy::of("dense-sgd");
            let mut series = Series::of(&copy);
            series.blend_all();
            series.write(&copy);
            copy
        }),
    ];
    let wrong: Vec<String> = forgeries.iter().flat_map(|(name, make)| never(name, Outcome::Confirmed, make)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
