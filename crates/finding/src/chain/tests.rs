use super::*;
use scratchproof_evidence::Reference;

const STEPS: [i64; 4] = [0, 100, 200, 300];

/// What a component shows at one checkpoint.
#[derive(Clone, Copy)]
struct Shown {
    /// Correlation with the one before and with the first.
    correlations: [f64; 2],
    /// Regression on the first.
    retained: f64,
    /// What decay leaves; `None` where nobody knows.
    expected: Option<f64>,
    carried: f64,
    rms: f64,
    /// Summed learning rates; `None` without a log.
    rates: Option<f64>,
    /// Whether weight decay goes through the gradients.
    coupled: bool,
}

const HONEST: Shown = Shown {
    correlations: [0.9, 0.8],
    retained: 0.9,
    expected: Some(0.9),
    carried: 1.02,
    rms: 0.01,
    rates: Some(0.1),
    coupled: false,
};

/// The judgement of a series whose checkpoints show this; a standard deviation of the null is 0.01.
fn judged(component: &str, shown: [Shown; 3], policy: &Policy) -> Judgement {
    judged_with(component, shown, &[], policy)
}

/// The same beside a log that gave up a stretch.
fn judged_with(component: &str, shown: [Shown; 3], given_up: &[(i64, i64)], policy: &Policy) -> Judgement {
    let bound = Bound { optimiser: "AdamW".into(), exact: true, beside: false };
    judged_by(component, shown, given_up, bound, policy)
}

/// The same with another bound.
fn judged_by(component: &str, shown: [Shown; 3], given_up: &[(i64, i64)], bound: Bound, policy: &Policy) -> Judgement {
    let (mut figures, mut trajectory, mut path) = (Vec::new(), Vec::new(), Vec::new());
    let names: Vec<&str> = if component == ALL { vec![ALL] } else { vec![ALL, component] };
    for name in names {
        for (t, &step) in STEPS.iter().enumerate() {
            let one = match t.checked_sub(1) {
                Some(before) if name == component => shown[before],
                _ => HONEST,
            };
            let expected = if t == 0 { one.expected.map(|_| 1.0) } else { one.expected };
            trajectory.push(PathRow {
                step,
                component: name.into(),
                size: Some(0.02),
                pc1: None,
                pc2: None,
                pc3: None,
                share1: None,
                share2: None,
                share3: None,
                step_length: None,
                relative_speed: (t > 0).then_some(one.rms / 0.01),
                turn: None,
                start_cosine: None,
                start_retained: Some(if t == 0 { 1.0 } else { one.retained }),
                expected_retained: expected,
                expected_cosine: expected,
                carried: (t > 1).then_some(one.carried),
                carried_cosine: None,
            });
            if t == 0 {
                continue;
            }
            for (reference, effect) in [Reference::Previous, Reference::Init].into_iter().zip(one.correlations) {
                let z = effect / 0.01;
                figures.push(ComponentRow {
                    step,
                    component: name.into(),
                    reference,
                    effect: Some(effect),
                    z: Some(z),
                    log10_p: Some(scratchproof_stats::log10_upper_tail(z)),
                    rows: 512,
                    columns: 64,
                });
            }
            path.push(ChainRow {
                from_step: STEPS[t - 1],
                to_step: step,
                component: name.into(),
                rms: Some(one.rms),
                lr_sum: one.rates,
                budget: one.rates.map(|rates| one.rms / rates),
                bound: Some(1.0),
                off_chord: (t > 1).then_some(0.2),
                lag1_cosine: None,
                memory_z: None,
                memory_effect: None,
            });
        }
    }
    let facts = ChainFacts {
        steps: &STEPS,
        towers: Vec::new(),
        figures: &figures,
        path: &path,
        trajectory: &trajectory,
        tensors: &[],
        moved: &[],
        given_up,
        bound: Some(bound),
        unbounded: None,
        decay: &DecayFacts::default(),
        states: &OptimizerStates::default(),
        optimizer: &OptimizerFacts { coupled: shown.iter().any(|shown| shown.coupled), ..OptimizerFacts::default() },
        points: &Points::default(),
        growth: &[],
        equal: &[],
        exchanges: &[],
        residuals: &[],
        left_out: &[],
        grown: None,
    };
    judge(&facts, policy)
}

/// The gravest finding of a code against the claim.
fn against(judgement: &Judgement, code: Code) -> Option<(Grade, Vec<i64>)> {
    let found = judgement.findings.iter().filter(|f| f.code == code && f.direction == Direction::Against);
    found.max_by_key(|f| f.grade).map(|f| (f.grade, f.subject.steps.clone()))
}

/// What only the states name speaks for a log that it is true of, and against none: other rules keep the same moments.
#[test]
fn a_rule_that_only_states_name_accuses_nobody() {
    let beside = || Bound { optimiser: "AdamW".into(), exact: false, beside: true };
    let policy = Policy::default();
    let budget = |rms: f64, bound: Bound| {
        let shown = [HONEST, Shown { rms, ..HONEST }, HONEST];
        let judgement = judged_by(ALL, shown, &[], bound, &policy);
        let found = judgement.findings.into_iter().find(|f| f.code == Code::ChainBudget && f.null.contains("AdamW"));
        found.map(|f| (f.grade, f.direction, f.message.contains("does not name the optimiser")))
    };
    assert_eq!(budget(0.01, beside()), Some((Grade::Moderate, Direction::For, true)));
    assert_eq!(budget(1.0, beside()).map(|f| f.0), Some(Grade::Weak));
    let logged = Bound { optimiser: "AdamW".into(), exact: true, beside: false };
    assert!(budget(1.0, logged).is_some_and(|f| f.0 >= Grade::Moderate && f.1 == Direction::Against));
}

#[test]
fn an_honest_series_holds() {
    let judgement = judged(ALL, [HONEST; 3], &Policy::default());
    assert_eq!(judgement.condition, Condition::Holds, "{judgement:#?}");
    for code in [Code::ChainMemory, Code::ChainDisplacement, Code::ChainBudget] {
        assert_eq!(against(&judgement, code), None);
    }
}

#[test]
fn a_broken_link_is_conclusive_where_decay_left_something_to_see() {
    let lost = Shown { correlations: [0.001, 0.001], retained: 0.001, ..HONEST };
    let policy = Policy::default();
    for (component, grade) in
        [(ALL, Grade::Conclusive), ("attention", Grade::Conclusive), ("embedding", Grade::Moderate)]
    {
        let after = Shown { correlations: [0.9, 0.001], ..lost };
        let judgement = judged(component, [HONEST, lost, after], &policy);
        assert_eq!(against(&judgement, Code::ChainMemory), Some((grade, vec![100, 200])), "{component}");
    }
    // Nobody knows what decay leaves: Adam with L2 can do that.
    let unknown = |shown: Shown| Shown { expected: None, ..shown };
    let judgement = judged(ALL, [unknown(HONEST), unknown(lost), unknown(HONEST)], &policy);
    assert_eq!(against(&judgement, Code::ChainMemory), Some((Grade::Moderate, vec![100, 200])));
    // With a leap as well where the rates reach the size of the weights, and not where they do not; without rates nobody
    // knows.
    for (rates, grade) in [(Some(0.1), Grade::Moderate), (Some(0.01), Grade::Conclusive), (None, Grade::Strong)] {
        let leap = Shown { rms: 0.05, rates, ..unknown(lost) };
        let judgement = judged(ALL, [unknown(HONEST), leap, unknown(HONEST)], &policy);
        assert_eq!(against(&judgement, Code::ChainMemory), Some((grade, vec![100, 200])), "{rates:?}");
    }
    // Where decay goes through Adam's gradients it may have taken the weights away, if the rates reach their size.
    for (rates, grade) in [(Some(0.1), Grade::Weak), (Some(0.01), Grade::Conclusive), (None, Grade::Strong)] {
        let leap = Shown { rms: 0.05, rates, coupled: true, ..unknown(lost) };
        let judgement = judged(ALL, [unknown(HONEST), leap, unknown(HONEST)], &policy);
        assert_eq!(against(&judgement, Code::ChainMemory), Some((grade, vec![100, 200])), "{rates:?}");
    }
    // Decay left nothing that could be seen.
    let gone = Shown { expected: Some(0.01), retained: 0.01, ..lost };
    let after = Shown { correlations: [0.9, 0.001], ..gone };
    let judgement = judged(ALL, [HONEST, gone, after], &policy);
    assert_eq!(against(&judgement, Code::ChainMemory), None, "{judgement:#?}");
    assert_eq!(judgement.condition, Condition::Untested);
}

/// Every checkpoint is near the one before, and the last has nothing of the first.
#[test]
fn the_start_may_not_fade_faster_than_decay() {
    let at = |left: f64| Shown { correlations: [0.9, left], retained: left, ..HONEST };
    let policy = Policy::default();
    let judgement = judged(ALL, [at(0.6), at(0.3), at(0.001)], &policy);
    assert_eq!(against(&judgement, Code::ChainMemory), Some((Grade::Conclusive, vec![0, 300])));
    let judgement = judged(ALL, [at(0.6), at(0.5), at(0.4)], &policy);
    assert_eq!(against(&judgement, Code::ChainMemory), Some((Grade::Moderate, vec![0, 300])));
    let judgement = judged(ALL, [at(0.6), at(0.3), at(0.1)], &policy);
    assert_eq!(against(&judgement, Code::ChainMemory), Some((Grade::Strong, vec![0, 300])));
    let judgement = judged("attention", [at(0.6), at(0.5), at(0.4)], &policy);
    assert_eq!(against(&judgement, Code::ChainMemory), None);
}

#[test]
fn the_way_so_far_is_carried_on() {
    let policy = Policy::default();
    for (component, carried, grade) in [
        (ALL, 0.98, None),
        (ALL, 0.95, Some(Grade::Moderate)),
        (ALL, 0.8, Some(Grade::Moderate)),
        (ALL, 0.1, Some(Grade::Strong)),
        ("attention", 0.5, None),
        ("attention", 0.1, Some(Grade::Moderate)),
        ("embedding", 0.8, None),
        ("embedding", 0.7, Some(Grade::Moderate)),
    ] {
        let judgement = judged(component, [HONEST, HONEST, Shown { carried, ..HONEST }], &policy);
        let expected = grade.map(|grade| (grade, vec![200, 300]));
        assert_eq!(against(&judgement, Code::ChainDisplacement), expected, "{component} {carried}");
    }
}

#[test]
fn speeds_are_held_against_those_beside_them() {
    let policy = Policy::default();
    let at = |rms: f64| Shown { rms, ..HONEST };
    let cases = [
        ([at(0.01), at(0.015), at(0.01)], None),
        ([at(0.01), at(0.03), at(0.01)], Some(vec![100, 200])),
        // The first interval is the fastest of most trainings, the last has one neighbour.
        ([at(0.05), at(0.01), at(0.01)], None),
        ([at(0.01), at(0.01), at(0.03)], None),
        ([at(0.01), at(0.01), at(0.04)], Some(vec![200, 300])),
        ([at(0.01), at(0.0001), at(0.01)], Some(vec![100, 200])),
    ];
    for (shown, steps) in cases {
        let judgement = judged(ALL, shown, &policy);
        let expected = steps.map(|steps| (Grade::Moderate, steps));
        assert_eq!(against(&judgement, Code::ChainBudget), expected, "{:?}", shown.map(|s| s.rms));
    }
    // Beyond what AdamW can do, and where one part alone may have had a rate of its own.
    let judgement = judged(ALL, [at(0.2), at(0.1), at(0.05)], &policy);
    assert_eq!(against(&judgement, Code::ChainBudget), Some((Grade::Conclusive, vec![0, 100])));
    let judgement = judged("embedding", [at(0.2), at(0.1), at(0.05)], &policy);
    assert_eq!(against(&judgement, Code::ChainBudget), Some((Grade::Moderate, vec![0, 100])));
}

/// A checkpoint that was saved in a stretch that was given up is no step of the way: whatever the tests say of it is a question,
/// that of the budget too.
#[test]
fn a_checkpoint_of_a_stretch_that_was_given_up_is_a_question() {
    let far = Shown { rms: 0.9, ..HONEST };
    let policy = Policy::default();
    let beyond = |given_up: &[(i64, i64)]| {
        let judgement = judged_with(ALL, [HONEST, HONEST, far], given_up, &policy);
        let budget =
            judgement.findings.iter().filter(|f| f.code == Code::ChainBudget && f.direction == Direction::Against);
        (budget.map(|f| f.grade).max(), judgement.missing.iter().any(|m| m.contains("given up")))
    };
    assert_eq!(beyond(&[]), (Some(Grade::Conclusive), false));
    assert_eq!(beyond(&[(100, 210)]), (Some(Grade::Moderate), true));
    assert_eq!(beyond(&[(0, 50)]), (Some(Grade::Conclusive), false));
}

/// Layers that moved beside an embedding, an output layer and norms that did not: merged adapters do.
#[test]
fn adapters_leave_what_is_outside_the_layers() {
    let row = |component: &str, rms: f64| ChainRow {
        from_step: 200,
        to_step: 240,
        component: component.into(),
        rms: Some(rms),
        lr_sum: Some(0.04),
        budget: Some(rms / 0.04),
        bound: Some(1.0),
        off_chord: None,
        lag1_cosine: None,
        memory_z: None,
        memory_effect: None,
    };
    let path = |embedding: f64, norms: f64| vec![row("mlp", 0.1), row("embedding", embedding), row("norms", norms)];
    assert!(layers_alone(&path(0.0, 0.0), (200, 240)));
    assert!(!layers_alone(&path(0.01, 0.0), (200, 240)) && !layers_alone(&path(0.0, 0.01), (200, 240)));
    assert!(!layers_alone(&path(0.0, 0.0), (160, 200)), "another interval");
    assert!(!layers_alone(&[row("mlp", 0.1)], (200, 240)), "no embedding to tell by");
}

/// The judgement of parts that moved so and nothing else.
fn of_movement(moved: &[Moved], optimiser: &str) -> Judgement {
    let facts = ChainFacts {
        steps: &[0, 100, 200, 300, 400],
        towers: Vec::new(),
        figures: &[],
        path: &[],
        trajectory: &[],
        tensors: &[],
        moved,
        given_up: &[],
        bound: Some(Bound { optimiser: optimiser.into(), exact: true, beside: false }),
        unbounded: None,
        decay: &DecayFacts::default(),
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
    let mut judgement = Judgement::untested();
    movement::proportions(&mut judgement, &facts, &Policy::default());
    judgement
}

/// A part that moves three times as far in one interval asks, unless it is less than one in a hundred of the parameters: then it
/// is shown, and behind what asks.
#[test]
fn a_small_part_that_moved_apart_is_shown_and_asks_nothing() {
    let series = |router: u64, router_rms: f64, mlp_rms: f64| {
        let at = |t: i64| {
            let there = t == 1;
            vec![
                movement::plain("embedding", t, 400_000, 0.01),
                movement::plain("mlp", t, 600_000 - router, if there { mlp_rms } else { 0.01 }),
                movement::plain("router", t, router, if there { router_rms } else { 0.01 }),
                movement::plain(ALL, t, 1_000_000, 0.01),
            ]
        };
        let judgement = of_movement(&(0..4).flat_map(at).collect::<Vec<_>>(), "AdamW");
        let found = judgement.findings.into_iter().find(|f| f.code == Code::ChainMovement);
        (found.map(|f| (f.grade, f.subject.component, f.message.contains("asks nothing"))), judgement.missing.len())
    };
    let of = |grade, component: &str, small| Some((grade, Some(component.to_owned()), small));
    assert_eq!(series(10_000, 0.03, 0.01), (of(Grade::Moderate, "router", false), 1));
    assert_eq!(series(9_999, 0.03, 0.01), (of(Grade::Weak, "router", true), 0));
    assert_eq!(series(9_999, 0.01, 0.01).0, None);
    // What is large comes first, however far the small one went.
    assert_eq!(series(9_999, 0.2, 0.03), (of(Grade::Moderate, "mlp", false), 1));
}
