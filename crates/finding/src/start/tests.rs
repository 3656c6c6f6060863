use super::*;
use scratchproof_measurements::Among;

fn row(tensor: &str) -> StartRow {
    StartRow {
        tensor: tensor.into(),
        component: "attention".into(),
        family: "q_proj".into(),
        layer: Some(0),
        expert: None,
        elements: 65_536,
        mean: Some(0.0),
        std: Some(0.02),
        excess_kurtosis: Some(0.0),
        max_abs: Some(0.09),
        scheme: Some("normal".into()),
        rule: Some("0.02".into()),
        fit_distance: Some(0.002),
        fit_log10_p: Some(-0.1),
        matrices: 1,
        edge_ratio: Some(0.99),
        edge_score: Some(-0.5),
        edge_log10_p: Some(-0.3),
        cosines_z: Some(-0.9),
        cosines_log10_p: Some(-0.1),
        row_norm_log10_p: Some(-0.2),
        column_norm_log10_p: Some(-0.4),
        nearest: Some("k".into()),
        nearest_pearson: Some(0.003),
        nearest_log10_p: Some(0.0),
    }
}

/// Norm weights of 64 elements, each so far from one at the checkpoints.
fn norm(away: &[f64], moved: f64) -> StartVector {
    StartVector {
        tensor: "norm".into(),
        component: "norms".into(),
        family: "input_norm".into(),
        norm: true,
        elements: 64,
        mean: 1.0,
        std: away[0],
        away: away.iter().map(|a| 64.0 * a * a).collect(),
        moved: 64.0 * moved * moved,
    }
}

fn judged(rows: &[StartRow], vectors: &[StartVector], steps: &[i64], clock: Option<Clock>) -> Judgement {
    let facts = StartFacts {
        grown: None,
        steps,
        rows,
        units: &[],
        vectors,
        clock,
        drift: &[],
        declared: None,
        replay: &Replay::Undeclared,
    };
    judge(&facts, &Policy::default()).0
}

fn find(judgement: &Judgement, code: Code) -> Vec<(Grade, Direction)> {
    judgement.findings.iter().filter(|f| f.code == code).map(|f| (f.grade, f.direction)).collect()
}

#[test]
fn a_draw_holds() {
    let judgement = judged(&[row("q"), row("k")], &[norm(&[0.0, 0.01], 0.01)], &[0, 100], None);
    assert_eq!(judgement.condition, Condition::Holds);
    assert!(judgement.findings.iter().all(|f| f.direction != Direction::Against), "{:?}", judgement.findings);
    assert!(find(&judgement, Code::StartTrained).is_empty());
}

#[test]
fn an_outlier_fails_and_correlated_rows_ask() {
    let outlier = StartRow { edge_ratio: Some(1.5), edge_log10_p: Some(-80.0), ..row("q") };
    let judgement = judged(&[outlier, row("k")], &[], &[0, 100], None);
    assert_eq!(find(&judgement, Code::StartSpectrum), [(Grade::Strong, Direction::Against)]);
    assert_eq!(judgement.condition, Condition::Fails);
    let bulk = StartRow { cosines_z: Some(12.0), cosines_log10_p: Some(-33.0), ..row("q") };
    let judgement = judged(&[bulk, row("k")], &[], &[0, 100], None);
    assert_eq!(find(&judgement, Code::StartSpectrum), [(Grade::Moderate, Direction::Against)]);
    assert_eq!(judgement.condition, Condition::Untested);
}

#[test]
fn position_tables_are_not_held_against_a_draw() {
    let sinusoids =
        StartRow { family: "position_embedding".into(), edge_log10_p: Some(-900.0), edge_ratio: Some(7.0), ..row("p") };
    let judgement = judged(&[sinusoids, row("q")], &[], &[0], None);
    assert_eq!(judgement.condition, Condition::Holds);
}

#[test]
fn uneven_norms_are_a_question_unless_no_law_explains_them() {
    let uneven = |scheme: Option<&str>| StartRow {
        scheme: scheme.map(str::to_owned),
        column_norm_log10_p: Some(-60.0),
        ..row("q")
    };
    let judgement = judged(&[uneven(Some("scaled")), uneven(Some("scaled"))], &[], &[0], None);
    assert_eq!(judgement.condition, Condition::Holds);
    assert!(find(&judgement, Code::StartIndependence).contains(&(Grade::Weak, Direction::Against)));
    let judgement = judged(&[uneven(None), uneven(None)], &[], &[0], None);
    assert_eq!(judgement.condition, Condition::Untested);
}

#[test]
fn copies_are_named_and_do_not_decide() {
    let copy = StartRow { nearest_pearson: Some(1.0), nearest_log10_p: Some(-400.0), ..row("q") };
    let judgement = judged(&[copy, row("k")], &[], &[0], None);
    let found = judgement.findings.iter().find(|f| f.direction == Direction::Against).expect("a question");
    assert!(found.grade == Grade::Weak && found.message.contains("1 as copies") && found.message.contains("q and k"));
    assert_eq!(judgement.condition, Condition::Holds);
}

#[test]
fn a_start_that_has_trained_says_for_how_long() {
    // A rate that rises over 40 steps and then stays: its sum is s^2/80 up to 40.
    let sum = |s: i64| if s <= 40 { (s * s) as f64 / 80.0 } else { 20.0 + (s - 40) as f64 };
    let clock = Clock::new((0..=300).map(|s| (s, sum(s))).collect()).expect("rising");
    // The path grows as the summed rate to the power 3/4: 20 steps are 5, 60 are 40 of it.
    let path = |s: i64| sum(s).powf(0.75) * 1e-3;
    let vectors = [norm(&[path(20), path(60)], path(60))];
    let judgement = judged(&[row("q")], &vectors, &[0, 60], Some(clock.clone()));
    let found = judgement.findings.iter().find(|f| f.code == Code::StartTrained).expect("trained");
    assert!((found.statistic.expect("steps") - 20.0).abs() < 3.0, "{}", found.message);
    assert!(found.grade == Grade::Weak && found.direction == Direction::Against);
    // Norm weights that vary leave the start open, whatever the singular values say.
    assert_eq!(judgement.condition, Condition::Untested);
    // A parent's norms, far away and hardly moving.
    let judgement = judged(&[row("q")], &[norm(&[0.2, 0.201], 0.002)], &[0, 20], Some(clock));
    let found = judgement.findings.iter().find(|f| f.code == Code::StartTrained).expect("trained");
    assert!(
        found.message.contains("more steps than the run's log shows") || found.statistic > Some(150.0),
        "{found:?}"
    );
    // Without a log a range is given all the same; values that do not end give none.
    let judgement = judged(&[row("q")], &vectors, &[0, 60], None);
    assert_eq!(find(&judgement, Code::StartTrained).len(), 1);
    let judgement = judged(&[row("q")], &[norm(&[f64::NAN, 1.0], 1.0)], &[0, 60], None);
    assert!(find(&judgement, Code::StartTrained).is_empty());
}

#[test]
fn a_later_first_checkpoint_is_never_a_start() {
    let drift = [Drift { family: "q_proj".into(), std: 0.021, back: 0.02, rule: Some("0.02".into()) }];
    let vectors = [norm(&[0.01, 0.02], 0.015)];
    let rows = [row("q"), StartRow { edge_log10_p: Some(-90.0), edge_ratio: Some(2.0), ..row("k") }];
    let facts = StartFacts {
        grown: None,
        steps: &[40, 80],
        rows: &rows,
        units: &[],
        vectors: &vectors,
        clock: None,
        drift: &drift,
        declared: None,
        replay: &Replay::Undeclared,
    };
    let (judgement, clean) = judge(&facts, &Policy::default());
    assert_eq!((judgement.condition, clean.len()), (Condition::Untested, 0));
    assert!(judgement.findings.iter().all(|f| f.direction != Direction::Against));
    let found = judgement.findings.iter().find(|f| f.code == Code::StartNotFirst).expect("said");
    assert!(found.message.contains("q_proj 0.0210 to 0.0200 (0.02)"), "{}", found.message);
    assert!(found.message.contains("step 40 is claimed"), "{}", found.message);
}

#[test]
fn declared_schemes_are_compared_by_law_and_origin() {
    let declare = |scheme: &str, row: &StartRow| {
        let declared = Init { scheme: Some(scheme.into()), std: None, seed: None, framework: None, recipe: None };
        let facts = StartFacts {
            grown: None,
            steps: &[0],
            rows: std::slice::from_ref(row),
            units: &[],
            vectors: &[],
            clock: None,
            drift: &[],
            declared: Some(&declared),
            replay: &Replay::Undeclared,
        };
        let judgement = judge(&facts, &Policy::default()).0;
        judgement.findings.iter().any(|f| f.message.contains("That is what was declared"))
    };
    let kaiming =
        StartRow { scheme: Some("uniform".into()), rule: Some("PyTorch Linear 1/sqrt(3 fan_in)".into()), ..row("q") };
    assert!(
        declare("kaiming-uniform", &kaiming) && declare("kaiming_uniform", &kaiming) && declare("uniform", &kaiming)
    );
    assert!(
        !declare("xavier-uniform", &kaiming) && !declare("normal", &kaiming) && !declare("kaiming-normal", &kaiming)
    );
    let cut = StartRow { scheme: Some("truncated-normal-3".into()), ..row("q") };
    assert!(declare("truncated-normal", &cut) && !declare("normal", &cut));
}

/// Neurons whose rows know of each other are a question, and their component is no clean draw.
#[test]
fn matrices_that_know_of_each_other_were_not_drawn() {
    let rows = [row("q"), StartRow { component: "mlp".into(), ..row("up") }];
    for (z, tied) in [(1.8, false), (86.0, true)] {
        let units =
            [WithinStart { component: "mlp".into(), among: Among::Neurons, units: 672, z, ratio: 1.0 + z / 30.0 }];
        let facts = StartFacts {
            grown: None,
            steps: &[0, 20],
            rows: &rows,
            units: &units,
            vectors: &[],
            clock: None,
            drift: &[],
            declared: None,
            replay: &Replay::Undeclared,
        };
        let (judgement, clean) = judge(&facts, &Policy::default());
        let told = if tied { (Grade::Moderate, Direction::Against) } else { (Grade::Weak, Direction::For) };
        assert_eq!(find(&judgement, Code::StartMatrices), [told]);
        assert_eq!(clean.contains("mlp"), !tied, "{clean:?}");
        assert!(clean.contains("attention"));
    }
}
