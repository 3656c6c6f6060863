//! What would have been seen, on figures made by hand: both sides of every limit. Quantiles of the normal law, both tails: 3.890592 at 1e-4,
//! 4.055627 at half of that, -1.281552 at one tenth.

#![allow(clippy::float_cmp, reason = "shares of whole numbers are exact")]

use std::collections::BTreeSet;

use super::{Blind, ChainPower, Culprit, DisguisePower, ParentPower, ParentReach, Reach, StartPower, chain, parent};
use super::{Span, settle_parent, start};
use crate::chain::movement::plain;
use crate::chain::{Bound, ChainFacts, ClockInterval, DecayFacts, LAYERS, Moved, OptimizerFacts, Points, TokenClock};
use crate::{Condition, Judgement};
use scratchproof_case::Policy;
use scratchproof_evidence::{CalibrationRow, ChainRow, ComponentRow, DisguiseRow, Reference, StartRow};
use scratchproof_measurements::{ALL, Class, OptimizerStates, Replay};
use scratchproof_stats::DecayLaw;

fn holds() -> Judgement {
    Judgement { condition: Condition::Holds, ..Judgement::untested() }
}

// The parents.

fn reach(component: &str, elements: u64, stored: u64, matched: u64) -> ParentReach {
    ParentReach { parent: "P".into(), component: component.into(), elements, stored, matched, unnamed: 0 }
}

/// A component at step 100 whose null has this standard deviation.
fn figure(component: &str, deviation: f64) -> ComponentRow {
    ComponentRow {
        step: 100,
        component: component.into(),
        reference: Reference::Parent("P".into()),
        effect: Some(deviation * 0.5),
        z: Some(0.5),
        log10_p: Some(-0.5),
        rows: 10_000,
        columns: 64,
    }
}

/// Half of the units, matched where each of these components is.
fn culprit(class: Class, seen: &[&str]) -> Culprit {
    let row = |component: &&str| DisguiseRow {
        reference: Reference::Parent("P".into()),
        question: "neurons".into(),
        frame: "permuted".into(),
        between: String::new(),
        component: (*component).to_owned(),
        layer_subject: None,
        layer_parent: None,
        agreed: Some(60.0),
        expected: Some(0.0),
        of: 100,
        z: Some(100.0),
        log10_p: Some(-100.0),
        effect: None,
        in_place: None,
        from_step: None,
        to_step: None,
    };
    Culprit { parent: "P".into(), class, correlation: 0.9, rows: seen.iter().map(row).collect() }
}

fn asked(
    reaches: &[ParentReach],
    figures: &[ComponentRow],
    selves: &[CalibrationRow],
    culprits: &[Culprit],
) -> (ParentPower, Vec<Blind>) {
    parent(reaches, figures, selves, culprits, vec!["as stored".into()], &Policy::default())
}

fn stored_blind(blind: &[Blind]) -> Vec<&str> {
    let mut components = Vec::new();
    for one in blind {
        if let Blind::Stored(reach) = one {
            components.push(reach.component.as_str());
        }
    }
    components
}

/// A correlation of 0.1 is moderate in nine draws of ten if it lies 3.8906 + 1.2816 deviations from zero: one of 0.019334.
#[test]
fn a_component_is_reached_where_a_tenth_of_the_parent_would_be_moderate() {
    let seen = [culprit(Class::Permuted, &["mlp"])];
    let of = |deviation| asked(&[reach("norms", 1000, 1000, 0)], &[figure("norms", deviation)], &[], &seen);
    let (power, blind) = of(0.0193);
    assert!((power.reached - 1.0).abs() < 1e-12 && blind.is_empty(), "{power:?} {blind:?}");
    assert_eq!(power.stored[0].compared, 1.0);
    // Tried in steps of 10^(1/20), falling: 0.1 is seen, 0.0891 is not.
    assert!((power.stored[0].smallest_correlation.expect("seen") - 0.1).abs() < 1e-12, "{power:?}");
    let (power, blind) = of(0.0194);
    assert!(power.reached == 0.0 && stored_blind(&blind) == ["norms"], "{power:?}");
    assert!(power.stored[0].smallest_correlation.is_some_and(|smallest| smallest > 0.1), "{power:?}");
    // Nothing up to one is seen: no figure.
    assert_eq!(of(0.3).0.stored[0].smallest_correlation, None);
    // Without a deviation there is no test.
    let (power, _) = of(0.0);
    assert!(power.reached == 0.0 && power.stored[0].smallest_correlation.is_none());
    // Two tests pay for each other: 0.1 over 4.0556 + 1.2816 is 0.018736.
    let two = |deviation| {
        let figures = [figure("norms", deviation), figure("other", 1.0)];
        asked(&[reach("norms", 1000, 1000, 0)], &figures, &[], &seen).0.reached
    };
    assert!(two(0.0187) > 0.99 && two(0.0188) < 0.01);
    // Controls are no tests of the parent, and the parent's figure is the last one.
    let control = ComponentRow { reference: Reference::Control("C".into()), ..figure("norms", 1.0) };
    let early = ComponentRow { step: 0, ..figure("norms", 0.5) };
    let figures = [figure("norms", 0.0186), early, control];
    assert!(asked(&[reach("norms", 1000, 1000, 0)], &figures, &[], &seen).0.reached > 0.99);
}

/// The parent with itself and as much noise has a spread of its own; of it a tenth squared is added.
#[test]
fn the_spread_of_the_parent_with_itself_is_added() {
    let itself = |deviation: f64, against: &str| CalibrationRow {
        model: "parent:P".into(),
        against: against.into(),
        component: "norms".into(),
        effect: Some(0.5),
        z: Some(0.5 / deviation),
        log10_p: None,
        rows: 10_000,
    };
    let seen = [culprit(Class::Permuted, &["mlp"])];
    let of = |row: CalibrationRow| {
        asked(&[reach("norms", 1000, 1000, 0)], &[figure("norms", 0.0185)], &[row], &seen).0.reached
    };
    // 0.99 x 0.0185^2 + 0.01 x 2 d^2 is 0.019334^2 at d = 0.0418.
    assert!(of(itself(0.041, "perturbed")) > 0.99);
    assert!(of(itself(0.044, "perturbed")) < 0.01);
    assert!(of(itself(0.044, "control:C")) > 0.99, "another row is not the parent with itself");
    let other = CalibrationRow { component: "mlp".into(), ..itself(0.044, "perturbed") };
    assert!(of(other) > 0.99);
    let other = CalibrationRow { model: "parent:Q".into(), ..itself(0.044, "perturbed") };
    assert!(of(other) > 0.99);
}

/// Half of a parent must show in a table of tokens: 3.8906 deviations are half at 0.12852.
#[test]
fn a_table_of_tokens_is_reached_whole_where_half_of_the_parent_would_be_moderate() {
    let seen = [culprit(Class::Permuted, &["mlp"])];
    let of = |component: &str, deviation| {
        let (power, _) = asked(&[reach(component, 1000, 10, 0)], &[figure(component, deviation)], &[], &seen);
        (power.reached, power.stored[0].compared)
    };
    assert_eq!((of("embedding", 0.128), of("head", 0.128)), ((1.0, 1.0), (1.0, 1.0)));
    assert_eq!(of("embedding", 0.129), (0.0, 0.01));
    // Any other component counts what was held against the parent's, and no more than that.
    assert_eq!(of("norms", 0.01), (0.01, 0.01));
}

#[test]
fn ninety_five_of_a_hundred_elements_must_be_reached_of_a_component_that_is_not_small() {
    let seen = [culprit(Class::Permuted, &["norms"])];
    let of = |reaches: &[ParentReach]| {
        let figures: Vec<_> = reaches.iter().map(|reach| figure(&reach.component, 0.01)).collect();
        let (power, blind) = asked(reaches, &figures, &[], &seen);
        (power.reached, stored_blind(&blind).join(" "))
    };
    assert_eq!(of(&[reach("norms", 100, 95, 0)]), (0.95, String::new()));
    assert_eq!(of(&[reach("norms", 100, 94, 0)]), (0.94, "norms".into()));
    // What a search matched counts as well, and never more than there is.
    assert_eq!(of(&[reach("norms", 100, 94, 95)]), (0.95, String::new()));
    assert_eq!(of(&[reach("norms", 100, 300, 0)]).0, 1.0);
    // One in a hundred of the parameters blocks, less does not.
    assert_eq!(of(&[reach("norms", 10, 0, 0), reach("router", 990, 990, 0)]), (0.99, "norms".into()));
    assert_eq!(of(&[reach("norms", 9, 0, 0), reach("router", 991, 991, 0)]), (0.991, String::new()));
    // The least of the parents counts.
    let other = |stored| ParentReach { parent: "Q".into(), ..reach("norms", 100, stored, 0) };
    let figures =
        [figure("norms", 0.01), ComponentRow { reference: Reference::Parent("Q".into()), ..figure("norms", 0.01) }];
    let both = [reach("norms", 100, 100, 0), other(97)];
    assert_eq!(asked(&both, &figures, &[], &seen).0.reached, 0.97);
    assert_eq!(asked(&[], &[], &[], &[]).0.reached, 0.0);
}

#[test]
fn the_correlation_over_the_whole_model_is_the_largest_over_the_parents() {
    let at =
        |name: &str, deviation| ComponentRow { reference: Reference::Parent(name.into()), ..figure(ALL, deviation) };
    let of = |name: &str| ParentReach { parent: name.into(), ..reach("norms", 100, 100, 0) };
    let whole = |figures: &[ComponentRow]| asked(&[of("P"), of("Q")], figures, &[], &[]).0.smallest_correlation;
    let (one, two) = (whole(&[at("P", 0.01), at("Q", 0.01)]), whole(&[at("P", 0.01), at("Q", 0.05)]));
    // Two tests: 0.01 x 5.3372 is 0.0534 (the step at 10^(-25/20) = 0.0562), 0.05 x 5.3372 is 0.2669 (0.2818).
    assert!(
        (one.expect("seen") - 0.056_234).abs() < 1e-5 && (two.expect("seen") - 0.281_838).abs() < 1e-5,
        "{one:?} {two:?}"
    );
    assert_eq!(whole(&[]), None);
}

#[test]
fn a_disguise_must_be_seen_somewhere_and_half_of_the_units_in_every_component_that_has_them() {
    let reaches = [reach("mlp", 400, 400, 0), reach("attention", 400, 400, 0), reach("norms", 200, 200, 0)];
    let figures: Vec<_> = reaches.iter().map(|reach| figure(&reach.component, 0.001)).collect();
    let blind = |culprits: &[Culprit]| {
        let (power, blind) = asked(&reaches, &figures, &[], culprits);
        assert_eq!(power.disguised.len(), culprits.len());
        blind
            .into_iter()
            .map(|one| match one {
                Blind::Disguised(power, unseen) => (power.class, unseen.join(" ")),
                Blind::Stored(reach) => panic!("{reach:?}"),
            })
            .collect::<Vec<_>>()
    };
    let at = |class: &str, unseen: &str| vec![(class.to_owned(), unseen.to_owned())];
    assert_eq!(blind(&[]), at("", ""), "no disguise was tried");
    assert_eq!(blind(&[culprit(Class::Permuted, &["mlp"])]), []);
    assert_eq!(blind(&[culprit(Class::Permuted, &[])]), at("permuted", ""));
    assert_eq!(blind(&[culprit(Class::Half, &["mlp", "attention"])]), []);
    assert_eq!(blind(&[culprit(Class::Half, &["mlp"])]), at("half", "attention"));
    // Another parent's experts are not asked of this one.
    let experts = ParentReach { parent: "Q".into(), ..reach("experts", 400, 400, 0) };
    let with = [reaches.to_vec(), vec![experts]].concat();
    let half = |parent: &str, seen: &[&str]| Culprit { parent: parent.into(), ..culprit(Class::Half, seen) };
    let (_, all) = asked(&with, &figures, &[], &[half("P", &["mlp", "attention"])]);
    let of_p = |one: &&Blind| matches!(one, Blind::Disguised(power, _) if power.parent == "P");
    assert_eq!(all.iter().filter(of_p).count(), 0, "{all:?}");
    let other = Culprit { parent: "Q".into(), ..culprit(Class::Permuted, &["mlp"]) };
    let (_, blind) = asked(&reaches, &figures, &[], &[other]);
    assert_eq!(blind.len(), 1, "another parent's disguise says nothing of this one");
}

/// What a judgement becomes.
fn settled(condition: Condition, power: &ParentPower, blind: &[Blind]) -> Judgement {
    let mut judgement = Judgement { condition, ..Judgement::untested() };
    settle_parent(&mut judgement, power, blind, 3, false);
    judgement
}

#[test]
fn silence_that_nothing_could_break_is_no_silence() {
    let disguise =
        |correlation| DisguisePower { parent: "P".into(), class: "half".into(), correlation, seen_in: Vec::new() };
    let power = ParentPower { disguised: vec![disguise(0.8), disguise(0.9)], ..ParentPower::default() };
    let clear = settled(Condition::Holds, &power, &[]);
    assert_eq!((clear.condition, clear.missing.len()), (Condition::Holds, 0));
    assert!(clear.said.contains("0.9") && !clear.said.contains("0.8"), "{}", clear.said);
    assert!(settled(Condition::Untested, &power, &[]).said.is_empty());
    assert!(settled(Condition::Holds, &ParentPower::default(), &[]).said.is_empty());
    let unnamed = ParentReach { unnamed: 150, ..reach("mlp", 200, 40, 50) };
    let blind = [Blind::Stored(unnamed), Blind::Disguised(disguise(0.9), vec!["attention".into()])];
    let lost = settled(Condition::Holds, &power, &blind);
    assert_eq!(
        (lost.condition, lost.missing.len()),
        (Condition::Untested, 1),
        "a limit of the tool is nobody's to hand over"
    );
    assert!(lost.said.contains("MLP") || lost.said.contains("mlp"), "{}", lost.said);
    assert!(lost.said.contains("attention") && !lost.said.contains("0.9"), "{}", lost.said);
    assert!(lost.missing[0].contains("25"), "what was reached in percent: {}", lost.missing[0]);
    // What the parent has nothing for is a limit, said once for all of its components.
    let beside = [Blind::Stored(reach("mlp", 200, 0, 0)), Blind::Stored(reach("attention", 200, 40, 50))];
    let mut lost = Judgement { condition: Condition::Untested, ..Judgement::untested() };
    lost.missing.push(scratchproof_texts::text!("parent/missing/other-sizes", parent = "P", language_model = false));
    lost.missing.push(scratchproof_texts::text!("parent/missing/other-sizes", parent = "Q", language_model = false));
    settle_parent(&mut lost, &power, &beside, 3, false);
    assert_eq!(lost.missing.len(), 1, "Q stays: {:?}", lost.missing);
    assert!(lost.said.contains("MLP and attention") || lost.said.contains("mlp and attention"), "{}", lost.said);
    assert!(lost.said.contains("25 %") && lost.said.contains("limit of the tool"), "{}", lost.said);
    // So is what was compared whole and does not stand out.
    let blunt = settled(Condition::Holds, &power, &[Blind::Stored(reach("mlp", 200, 200, 0))]);
    assert!(blunt.missing.is_empty() && blunt.said.contains("limit of the tool"), "{}", blunt.said);
    // What fails stays failed.
    assert_eq!(settled(Condition::Fails, &power, &blind).condition, Condition::Fails);
}

// The start.

#[test]
fn nine_tenths_of_the_start_must_have_been_looked_at() {
    let of = |condition, reached| {
        let mut judgement = Judgement { condition, ..Judgement::untested() };
        StartPower { reached }.settle(&mut judgement, 2);
        (judgement.condition, judgement.missing.len(), judgement.said.is_empty())
    };
    assert_eq!(of(Condition::Holds, 0.9), (Condition::Holds, 0, true));
    assert_eq!(of(Condition::Holds, 0.899), (Condition::Untested, 1, false));
    assert_eq!(of(Condition::Fails, 0.1), (Condition::Fails, 0, true));
}

#[test]
fn a_matrix_of_the_start_is_reached_by_its_spectrum_or_by_having_none() {
    let row = |scheme: Option<&str>, edge: Option<f64>, elements: u64| StartRow {
        tensor: "q".into(),
        component: "attention".into(),
        family: "q_proj".into(),
        layer: Some(0),
        expert: None,
        elements,
        mean: None,
        std: None,
        excess_kurtosis: None,
        max_abs: None,
        scheme: scheme.map(str::to_owned),
        rule: None,
        fit_distance: None,
        fit_log10_p: None,
        matrices: 1,
        edge_ratio: None,
        edge_score: None,
        edge_log10_p: edge,
        cosines_z: None,
        cosines_log10_p: None,
        row_norm_log10_p: None,
        column_norm_log10_p: None,
        nearest: None,
        nearest_pearson: None,
        nearest_log10_p: None,
    };
    let span = |parameters| Span { parameters, rows: 1024.0, columns: 1024.0, matrices: 1.0 };
    let of = |rows: &[StartRow], parameters| {
        let spans: Vec<Span> = rows.iter().map(|_| span(1 << 20)).collect();
        start(rows, &spans, parameters, &Replay::Undeclared).reached
    };
    let all = 1 << 20;
    assert_eq!(of(&[row(None, Some(-1.0), all)], all), 1.0);
    assert_eq!(of(&[row(None, Some(-1.0), all)], 4 * all), 0.25);
    assert_eq!(of(&[row(None, Some(-1.0), all)], all / 2), 1.0, "no more than all");
    assert_eq!(of(&[row(None, None, all)], all), 0.0);
    assert_eq!(of(&[row(Some("normal"), None, all)], all), 0.0);
    for scheme in ["zero", "constant", "identity", "orthogonal", "sinusoids"] {
        assert_eq!(of(&[row(Some(scheme), None, all)], all), 1.0, "{scheme}");
    }
    assert_eq!(of(&[row(None, Some(-1.0), all)], 0), 0.0);
    // A spike of 3 edges, 3 x (32 + 32) = 192 over all rows, must be 1.5 times (r d)^(1/4) in r of them: in 1 row it holds
    // 192 / 32 = 6 of 1.5 x 5.66 = 8.5, in 4 rows 12 of 12.0 (a tie), in 5 rows 13.4 of 12.7.
    let looked = |rows: u64| span(all).shows(rows * 1024);
    assert!(!looked(1) && !looked(3) && looked(5) && looked(1024));
    // More rows than there are count as all.
    assert!(span(all).shows(4 * all));
    let experts = Span { matrices: 8.0, ..span(8 * all) };
    assert!(!experts.shows(8 * 3 * 1024) && experts.shows(8 * 5 * 1024));
}

// The chain.

/// Four intervals in which every part moves by `rms`; the weights are 0.04 at the last checkpoint.
fn series(rms: f64) -> Vec<Moved> {
    let parts = [("embedding", 1 << 16), ("attention", 1 << 18), ("mlp", 1 << 18), (LAYERS, 1 << 19), (ALL, 9 << 16)];
    (0..4).flat_map(|at| parts.map(|(name, elements)| plain(name, at, elements, rms))).collect()
}

/// What the facts of a chain are besides its movement.
#[derive(Default)]
struct Beside {
    bound: Option<f64>,
    path: Vec<ChainRow>,
    clock: Option<TokenClock>,
}

fn power_of(moved: &[Moved], beside: &Beside) -> Option<ChainPower> {
    let decay = DecayFacts { clocks: beside.clock.iter().cloned().collect(), ..DecayFacts::default() };
    let facts = ChainFacts {
        steps: &[0, 100, 200, 300, 400],
        towers: Vec::new(),
        figures: &[],
        path: &beside.path,
        trajectory: &[],
        tensors: &[],
        moved,
        given_up: &[],
        bound: beside.bound.map(|_| Bound { optimiser: "AdamW".into(), exact: true, beside: false }),
        unbounded: None,
        decay: &decay,
        states: &OptimizerStates::default(),
        optimizer: &OptimizerFacts::default(),
        points: &Points::default(),
        growth: &[],
        equal: &[],
        exchanges: &[],
        residuals: &[],
        left_out: &[],
        grown: None,
    };
    chain(&facts, &Policy::default())
}

fn at<'a>(power: &'a ChainPower, from: i64, component: &str) -> &'a Reach {
    let found = power.intervals.iter().find(|r| r.steps.0 == from && r.component == component);
    found.expect("every interval and component")
}

/// Another model's layers of s times their size beside a movement of r are (1 + (s / r)^2)^(1/2) times as far. Inside, 1.4 is a
/// question, which is s = 0.980 r; at an end 1.85, which is s = 1.557 r. Shares are tried in steps of 2^(1/16).
#[test]
fn layers_that_would_move_too_far_beside_the_embedding_would_be_seen() {
    let power = power_of(&series(0.04), &Beside::default()).expect("movement");
    let near = |from, share: f64| {
        let smallest = at(&power, from, LAYERS).smallest_share.expect("some share is seen");
        assert!(smallest >= share && smallest < share * 1.1, "{from}: {smallest} {share}");
    };
    near(100, 0.980);
    near(200, 0.980);
    near(0, 1.557);
    near(300, 1.557);
    // At an end a model of the own size goes unseen; so the intervals are untested.
    assert!(at(&power, 0, LAYERS).by.is_empty());
    assert!(power.untested.contains(&(0, 100)) && power.untested.contains(&(300, 400)), "{:?}", power.untested);
    // Beside a quarter of that movement every part of its own size shows, by movement alone; a whole other model keeps the
    // proportions, and another test must tell it.
    let power = power_of(&series(0.01), &Beside::default()).expect("movement");
    for reach in &power.intervals {
        let by: &[&str] = if reach.component == ALL { &[] } else { &["movement"] };
        assert!(reach.by == by && (reach.component == ALL) == reach.smallest_share.is_none(), "{reach:?}");
    }
    assert_eq!(power.untested.len(), 4);
    let smallest = at(&power, 100, LAYERS).smallest_share.expect("seen");
    assert!((0.245..0.27).contains(&smallest), "{smallest}");
    assert_eq!(power_of(&[], &Beside::default()), None);
}

/// Where the summed rates are many times the weights nothing shows, up to 16 times their size.
#[test]
fn nothing_shows_beside_a_movement_of_many_times_the_weights() {
    let power = power_of(&series(2.0), &Beside::default()).expect("movement");
    assert_eq!(power.untested.len(), 4);
    assert!(power.intervals.iter().all(|r| r.by.is_empty()));
    assert_eq!(at(&power, 0, LAYERS).smallest_share, None);
    // What blocks is at least one in a hundred of all.
    let small = |elements: u64| {
        let mut moved = series(0.01);
        // Only the MLPs move so far that nothing shows in them.
        for row in moved.iter_mut().filter(|row| ["mlp", LAYERS, ALL].contains(&row.component.as_str())) {
            row.rms = 2.0;
            if row.component == "mlp" {
                row.elements = elements;
            }
        }
        let power = power_of(&moved, &Beside::default()).expect("movement");
        (at(&power, 100, "mlp").by.is_empty(), power.untested.contains(&(100, 200)))
    };
    assert_eq!(small(1 << 18), (true, true));
    assert_eq!(small(5_000), (true, false));
}

/// An excess that is there already is taken back before anything is added: half of a parent that stays just below the limit
/// would otherwise be a sign that the next grain shows.
#[test]
fn what_stands_out_already_is_taken_back() {
    let smallest = |factor: f64| {
        let mut moved = series(0.01);
        for row in moved.iter_mut().filter(|r| r.steps.0 == 100 && !["embedding", ALL].contains(&r.component.as_str()))
        {
            row.rms *= factor;
            row.farthest *= factor;
        }
        at(&power_of(&moved, &Beside::default()).expect("movement"), 100, LAYERS).smallest_share.expect("seen")
    };
    let (usual, near) = (smallest(1.0), smallest(1.35));
    assert!(near >= 0.9 * usual, "{usual} {near}");
}

/// The farthest of a tensor's weights over the sum of rates, 0.1: 1.25 of it is a question; the least that a normal matrix of
/// size s has is 3.49 s.
#[test]
fn single_weights_that_no_optimiser_reaches_would_be_seen() {
    let path = |from: i64| ChainRow {
        from_step: from,
        to_step: from + 100,
        component: "attention".into(),
        rms: None,
        lr_sum: None,
        budget: None,
        bound: Some(1.0),
        off_chord: None,
        lag1_cosine: None,
        memory_z: None,
        memory_effect: None,
    };
    let mut moved = series(0.02);
    for row in &mut moved {
        row.farthest = 0.02;
    }
    let beside = Beside { bound: Some(1.0), path: (0..4).map(|t| path(100 * t)).collect(), clock: None };
    let power = power_of(&moved, &beside).expect("movement");
    // 3.49 x 0.04 is 0.140 of 0.125: seen.
    assert!(at(&power, 100, "attention").by.iter().any(|test| test == "reach"), "{:?}", at(&power, 100, "attention"));
    for row in &mut moved {
        row.last = 0.03;
    }
    // 3.49 x 0.03 is 0.105.
    let power = power_of(&moved, &beside).expect("movement");
    assert!(at(&power, 100, "attention").by.iter().all(|test| test != "reach"));
    let unbounded = Beside { bound: None, ..beside };
    for row in &mut moved {
        row.last = 0.04;
    }
    let power = power_of(&moved, &unbounded).expect("movement");
    assert!(at(&power, 100, "attention").by.iter().all(|test| test != "reach"));
}

/// The whole model moved by 0.01 with rates of 0.1 has spent 0.1 of its budget; 1.5 is out of the question. Another model of size
/// s makes it (s^2 + 0.0001)^(1/2) / 0.1.
#[test]
fn budget_and_pace_are_asked_with_what_was_added() {
    let row = |from: i64, component: &str| ChainRow {
        from_step: from,
        to_step: from + 100,
        component: component.into(),
        rms: Some(0.01),
        lr_sum: Some(0.1),
        budget: Some(0.1),
        bound: Some(1.0),
        off_chord: None,
        lag1_cosine: None,
        memory_z: None,
        memory_effect: None,
    };
    let names = [ALL, "embedding", "attention", "mlp"];
    let path: Vec<ChainRow> = (0..4).flat_map(|t| names.map(|name| row(100 * t, name))).collect();
    let parts: Vec<ChainRow> = path.iter().filter(|row| row.component != ALL).cloned().collect();
    let of = |last: f64, bound: Option<f64>, path: &[ChainRow]| {
        let mut moved = series(0.01);
        for row in &mut moved {
            row.last = last;
        }
        let power = power_of(&moved, &Beside { bound, path: path.to_vec(), clock: None }).expect("movement");
        at(&power, 100, "attention").by.clone()
    };
    let by = |last: f64, bound: Option<f64>| of(last, bound, &path);
    let has = |by: &[String], test: &str| by.iter().any(|t| t == test);
    assert!(has(&by(0.16, Some(1.0)), "budget") && !has(&by(0.14, Some(1.0)), "budget"));
    assert!(!has(&by(0.16, None), "budget"), "no optimiser that has a bound");
    // A leap of a component is 1.75 x 2 times the intervals beside: (1 + (s / 0.01)^2)^(1/2) is 3.5 at s = 0.0335.
    assert!(has(&of(0.036, None, &parts), "pace") && !has(&of(0.031, None, &parts), "pace"));
    // One of the whole model is 2 times: 4 of its 9 elements are hit, (1 + (s / 0.01)^2 x 4 / 9)^(1/2) is 2 at s = 0.0260.
    assert!(has(&by(0.0268, None), "pace") && !has(&by(0.0252, None), "pace"));
}

/// Rows without gradient would lose their direction with the embedding, and with it alone.
#[test]
fn rows_without_gradient_speak_for_the_embedding() {
    let interval = |from: i64| ClockInterval {
        steps: (from, from + 100),
        frozen: false,
        partly: false,
        holds: true,
        restarted: false,
        measured: None,
        expected: None,
        lost: 0.0,
        turned: None,
        across: None,
        elements: 64,
    };
    let clock = TokenClock {
        tensor: "embed".into(),
        component: "embedding".into(),
        of: 1000,
        rows: 8,
        even: 0,
        told: 3,
        tied: false,
        coarse: false,
        law: DecayLaw::Rate,
        intervals: (0..6).map(|t| interval(100 * t)).collect(),
        whole: None,
    };
    let speaks = |clock: TokenClock, component: &str| {
        let power = power_of(&series(2.0), &Beside { clock: Some(clock), ..Beside::default() }).expect("movement");
        at(&power, 100, component).by == ["rows without gradient"]
    };
    assert!(speaks(clock.clone(), "embedding") && speaks(clock.clone(), ALL));
    assert!(!speaks(clock.clone(), "mlp") && !speaks(clock.clone(), LAYERS));
    assert!(!speaks(TokenClock { rows: 7, ..clock.clone() }, "embedding"), "fewer rows than the policy asks for");
    assert!(!speaks(TokenClock { tied: true, ..clock.clone() }, "embedding"));
    assert!(!speaks(TokenClock { told: 2, ..clock.clone() }, "embedding"), "one other interval told them apart");
    let mut beside = clock.clone();
    beside.intervals[2].holds = false;
    assert!(!speaks(beside, "embedding"), "the rows turned in the interval beside");
    let mut far = clock;
    far.intervals[3].holds = false;
    assert!(speaks(far.clone(), "embedding"));
    // Half of the others and more must have kept their direction.
    far.intervals[4].holds = false;
    assert!(!speaks(far, "embedding"));
}

#[test]
fn a_chain_holds_only_where_every_interval_could_have_spoken() {
    let reach = |from: i64, component: &str, share: Option<f64>, by: &[&str]| Reach {
        steps: (from, from + 100),
        component: component.into(),
        smallest_share: share,
        by: by.iter().map(|test| (*test).to_owned()).collect(),
    };
    let all = vec![
        reach(0, "mlp", Some(0.5), &["movement"]),
        reach(100, "attention", Some(0.75), &["movement"]),
        reach(100, "norms", Some(4.0), &[]),
    ];
    let clear = ChainPower { untested: Vec::new(), intervals: all.clone() };
    let mut judgement = holds();
    clear.settle(&mut judgement);
    // The largest of the shares that some test sees; parts without a test do not block and do not count.
    assert_eq!(judgement.condition, Condition::Holds);
    assert!(judgement.said.contains("attention") && judgement.said.contains("0.75"), "{}", judgement.said);
    let mut failed = Judgement { condition: Condition::Fails, ..Judgement::untested() };
    clear.settle(&mut failed);
    assert!(failed.condition == Condition::Fails && failed.said.is_empty());

    let dark = ChainPower { untested: vec![(100, 200)], intervals: all };
    let mut judgement = holds();
    dark.settle(&mut judgement);
    assert_eq!((judgement.condition, judgement.missing.len()), (Condition::Untested, 1));
    assert!(judgement.said.contains("100") && judgement.said.contains("200"), "{}", judgement.said);
    let missing = judgement.missing[0].english();
    assert!(missing.contains("norm") && !missing.contains("attention") && missing.contains('4'), "{missing}");
    let mut failed = Judgement { condition: Condition::Fails, ..Judgement::untested() };
    dark.settle(&mut failed);
    assert_eq!((failed.condition, failed.missing.len()), (Condition::Fails, 1));
}

/// Nobody is named twice.
#[test]
fn the_components_of_an_answer_are_a_set() {
    let seen = culprit(Class::Half, &["mlp", "mlp", "attention"]).seen_in(&Policy::default());
    assert_eq!(seen, BTreeSet::from(["attention".to_owned(), "mlp".to_owned()]));
}
