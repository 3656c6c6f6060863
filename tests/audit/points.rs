//! Checkpoints that no training made, between real ones. None of these series may be confirmed.

use crate::forged::{against, blend, mix, rms, shown};
use crate::support::report::{Condition, Direction, Grade, Outcome, Report};
use crate::support::safetensors::File;
use crate::support::{Copy, Numbers};

const CASE: &str = "scratch-same-arch";

/// The case with the checkpoint of step 150 made of others.
fn with_inner(others: &[u32], mut new: impl FnMut(&str, &[f32], &[Vec<f32>]) -> Vec<f32>) -> Report {
    let copy = Copy::of(CASE);
    let mut others: Vec<File> = others.iter().map(|step| File::read(&copy.weights(*step))).collect();
    mix(&copy.weights(150), &mut others, &mut new);
    judged(&copy)
}

fn judged(copy: &Copy) -> Report {
    let report = copy.judged();
    assert_ne!(report.verdict.outcome, Outcome::Confirmed, "{}", shown(&report));
    report
}

#[test]
fn one_blend_with_noise_has_no_structure_off_its_line() {
    for share in [0.1, 1.0] {
        let mut numbers = Numbers(11);
        let report = with_inner(&[60, 300], |_, _, ends| {
            let noise = share * 0.3 * rms(ends[0].iter().zip(&ends[1]).map(|(a, b)| b - a));
            // Larger where the weights moved more.
            let size: Vec<f32> = ends[0]
                .iter()
                .zip(&ends[1])
                .map(|(a, b)| 0.2 * noise + noise * (b - a).abs() / (noise + 1e-9))
                .collect();
            let line = blend(&ends[0], &ends[1], 0.4);
            line.into_iter().zip(size).map(|(x, s)| x + s * numbers.noise()).collect()
        });
        let found = against(&report, "chain/structure", Grade::Moderate);
        assert_eq!(found.len(), 1, "{share}: {}", shown(&report));
        assert_eq!(found[0].subject.steps, [150]);
    }
}

#[test]
fn a_blend_of_far_checkpoints_with_a_share_for_every_tensor_refutes() {
    let report = with_inner(&[0, 450], |name, _, ends| blend(&ends[0], &ends[1], 0.2 + 0.05 * (name.len() % 7) as f32));
    let found = against(&report, "chain/off-chord", Grade::Conclusive);
    assert_eq!(found.len(), 1, "{}", shown(&report));
    assert_eq!(found[0].subject.steps, [150]);
    assert!(found[0].message.contains("between steps 0 and 450"), "{}", found[0].message);
}

#[test]
fn a_combination_of_three_others_is_in_their_span() {
    let report = with_inner(&[20, 60, 300], |_, _, others| {
        (0..others[0].len()).map(|i| 0.3 * others[0][i] + 0.3 * others[1][i] + 0.4 * others[2][i]).collect()
    });
    let found = against(&report, "chain/off-chord", Grade::Strong);
    assert_eq!(found.len(), 1, "{}", shown(&report));
    assert!(found[0].subject.steps.contains(&150), "{}", shown(&report));
}

#[test]
fn rows_put_together_from_two_checkpoints_are_seen() {
    let report = with_inner(&[60, 300], |_, own, ends| {
        let row = if own.len().is_multiple_of(64) { 64 } else { 1 };
        (0..own.len()).map(|i| ends[usize::from((i / row * 7 + i / row / 3) % 2 == 0)][i]).collect()
    });
    assert!(!against(&report, "chain/off-chord", Grade::Moderate).is_empty(), "{}", shown(&report));
}

#[test]
fn the_mean_of_earlier_checkpoints_is_a_question_until_it_is_declared() {
    let copy = Copy::of(CASE);
    let mut others = [File::read(&copy.weights(150)), File::read(&copy.weights(300)), File::read(&copy.weights(450))];
    mix(&copy.weights(600), &mut others, |_, own, others| {
        (0..own.len()).map(|i| (others[0][i] + others[1][i] + others[2][i]) / 3.0).collect()
    });
    let report = judged(&copy);
    let found = against(&report, "chain/averaged", Grade::Moderate);
    assert_eq!(found.len(), 1, "{}", shown(&report));
    assert_eq!(found[0].subject.steps, [600]);
    copy.replace("[subject]\n", "[subject]\naveraged = \"swa\"\n");
    let report = copy.judged();
    let averaged = report.of("chain/averaged");
    assert_eq!(averaged.len(), 1, "{}", shown(&report));
    assert_eq!((averaged[0].direction, averaged[0].grade), (Direction::Neutral, Grade::Context));
    // What lags behind moves back over its last interval: that is asked about, and is no failure.
    assert_ne!(report.verdict.conditions.chain, Condition::Fails, "{}", shown(&report));
}

#[test]
fn a_copy_with_a_little_noise_is_a_question() {
    let mut numbers = Numbers(12);
    let report = with_inner(&[60], |_, _, others| {
        let noise = 1e-4 * rms(others[0].iter().copied());
        others[0].iter().map(|x| x + noise * numbers.noise()).collect()
    });
    assert_eq!(against(&report, "chain/duplicate-step", Grade::Moderate).len(), 1, "{}", shown(&report));
}

#[test]
fn a_checkpoint_that_returns_fails_the_chain() {
    let report = {
        let copy = Copy::of(CASE);
        std::fs::copy(copy.weights(60), copy.weights(300)).expect("copied");
        judged(&copy)
    };
    let found = against(&report, "chain/duplicate-step", Grade::Strong);
    assert_eq!(found.len(), 1, "{}", shown(&report));
    assert_eq!(found[0].subject.steps, [60, 300]);
}

#[test]
fn a_layer_that_was_drawn_anew_is_named() {
    let mut numbers = Numbers(13);
    let report = with_inner(&[], |name, own, _| {
        if name.contains("layers.1.") && own.len() >= 1024 {
            let size = rms(own.iter().copied());
            own.iter().map(|_| size * numbers.noise()).collect()
        } else {
            own.to_vec()
        }
    });
    let found = against(&report, "chain/tensor-break", Grade::Strong);
    assert!(found.iter().any(|f| f.subject.steps == [60, 150]), "{}", shown(&report));
    assert!(found.iter().all(|f| f.message.contains("layers.1.")), "{}", shown(&report));
}

#[test]
fn rows_that_come_back_are_a_question() {
    // Rows that the training never met, moved in one checkpoint only: as in a checkpoint of a training from the same start
    // that met their tokens.
    let mut numbers = Numbers(14);
    let mut moved = 0;
    let report = with_inner(&[60, 300], |name, own, others| {
        if !name.contains("embed_tokens") {
            return own.to_vec();
        }
        let size = rms(own.iter().copied());
        let width = 64;
        let mut new = own.to_vec();
        for (row, (before, after)) in
            new.chunks_exact_mut(width).zip(others[0].chunks_exact(width).zip(others[1].chunks_exact(width)))
        {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum::<f64>();
            let cosine = dot(before, after) / (dot(before, before) * dot(after, after)).sqrt();
            if cosine > 1.0 - 1e-7 && moved < 3 {
                moved += 1;
                for x in row {
                    *x += 0.1 * size * numbers.noise();
                }
            }
        }
        new
    });
    assert_eq!(moved, 3);
    let found = against(&report, "chain/returned-rows", Grade::Moderate);
    assert_eq!(found.len(), 1, "{}", shown(&report));
    assert_eq!((found[0].subject.steps.as_slice(), found[0].statistic), ([150, 300].as_slice(), Some(3.0)));
    assert_eq!(report.verdict.conditions.chain, Condition::Untested);
}

#[test]
fn a_checkpoint_in_a_finer_format_than_its_values_is_said_to_be_re_saved() {
    let copy = Copy::of(CASE);
    mix(&copy.weights(600), &mut [], |_, own, _| {
        own.iter().map(|x| f32::from_bits(x.to_bits() & 0xffff_0000)).collect()
    });
    let report = copy.judged();
    let said = report.of("chain/precision");
    let re_saved: Vec<_> = said.iter().filter(|f| f.message.contains("before they were saved")).collect();
    assert_eq!(re_saved.len(), 1, "{}", shown(&report));
    assert_eq!((re_saved[0].subject.steps.as_slice(), re_saved[0].grade), ([600].as_slice(), Grade::Context));
}
