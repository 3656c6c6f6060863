//! The whole parent in disguise: the model that continued it is found out with every component, a stranger is left alone.

use serde_json::Value;

use crate::support::disguise::*;
use crate::support::report::{ComponentOutcome, Outcome};
use crate::support::weights::{Format, Model};
use crate::support::{Copy, fixtures};
use crate::{DENSE, EXPERTS, Kind, derived, heard, judged, last, model, shown, silent, tried, unseen};

/// Two tests for each kind, so that each can fail alone: `kind::kin` and `kind::strangers`.
macro_rules! kinds {
    ($($name:ident: $pairs:expr, $codes:expr, $words:expr, $disguise:expr;)*) => { $(
        mod $name {
            use super::*;

            const KIND: Kind = Kind { name: stringify!($name), disguise: $disguise, codes: &$codes, words: &$words };

            #[test]
            fn kin() {
                for pair in $pairs {
                    tried(pair, &KIND);
                }
            }

            #[test]
            fn strangers() {
                for pair in $pairs {
                    silent(pair, &KIND);
                }
            }
        }
    )* };
}

kinds! {
    plain: [DENSE, EXPERTS], ["parent/aligned-similarity"], [], |_| ();
    noise: [DENSE, EXPERTS], ["parent/aligned-similarity"], [], |m| add_noise(m, 50, 0.5);
    residual_permuted: [DENSE, EXPERTS], ["parent/permuted"], ["permuted"], |m| permute_residual(m, 51);
    residual_rotated: [DENSE, EXPERTS], ["parent/rotated"], ["rotated"], |m| rotate_residual(m, 52);
    norms_folded: [DENSE, EXPERTS], ["parent/aligned-similarity"], [], fold_norms;
    neurons: [DENSE, EXPERTS], ["parent/neurons"], ["neurons"], |m| permute_neurons(m, 53);
    experts: [EXPERTS], ["parent/experts"], ["experts"], |m| permute_experts(m, 54);
    heads: [DENSE, EXPERTS], ["parent/heads"], ["heads"], |m| permute_heads(m, 55);
    queries_rescaled: [DENSE, EXPERTS], [], [], |m| rescale_queries(m, 56);
    values_rescaled: [DENSE, EXPERTS], [], [], |m| rescale_values(m, 57, false);
    values_mixed: [DENSE, EXPERTS], [], [], |m| rescale_values(m, 58, true);
    neurons_rescaled: [DENSE, EXPERTS], [], [], |m| rescale_neurons(m, 59);
    layers_shuffled: [DENSE], ["parent/layer-map"], ["[3,0,2,4,1]"], |m| relayer(m, &[1, 4, 2, 0, 3]);
    permuted_with_everything: [DENSE, EXPERTS], ["parent/permuted", "parent/neurons"], ["permuted", "neurons", "heads"], |m| {
        permute_residual(m, 60);
        permute_neurons(m, 61);
        permute_experts(m, 62);
        permute_heads(m, 63);
    };
    rotated_with_everything: [DENSE, EXPERTS], ["parent/rotated", "parent/neurons"], ["rotated", "neurons", "heads"], |m| {
        permute_neurons(m, 64);
        permute_heads(m, 65);
        rotate_residual(m, 66);
    };
    permuted_and_rescaled: [DENSE, EXPERTS], ["parent/permuted"], ["permuted"], |m| {
        rescale_queries(m, 67);
        rescale_values(m, 68, false);
        rescale_neurons(m, 69);
        permute_residual(m, 70);
    };
    recast_f16: [DENSE, EXPERTS], [], [], |m| recast(m, Format::F16);
    recast_f8: [DENSE, EXPERTS], [], [], |m| recast(m, Format::F8);
    quantised: [DENSE, EXPERTS], [], [], |m| quantise(m, 16);
    fused: [DENSE, EXPERTS], [], [], fuse;
    experts_stacked: [EXPERTS], [], [], |m| stack_experts(m, false);
    experts_stacked_turned: [EXPERTS], [], [], |m| stack_experts(m, true);
    vocabulary_permuted: [DENSE, EXPERTS], [], [], |m| permute_vocabulary(m, 71);
    vocabulary_extended: [DENSE, EXPERTS], [], [], |m| extend_vocabulary(m, 72, 32);
    keys_repeated: [DENSE], [], [], ungroup;
    neurons_pruned: [DENSE, EXPERTS], ["parent/neurons"], [], |m| prune_neurons(m, 73, 0.5);
    heads_pruned: [DENSE, EXPERTS], [], [], |m| prune_heads(m, 74, 1);
    experts_pruned: [EXPERTS], [], [], |m| prune_experts(m, 75, 2);
}

/// GPT-2's packaging drops the gates, so what is derived of the MLP is judged by the other two.
#[test]
fn turned_and_fused_as_gpt2() {
    let report = crate::judged(DENSE.kin, DENSE.parent, &last(DENSE.kin), as_gpt2);
    assert_eq!(report.verdict.outcome, Outcome::Refuted, "{}", shown(&report));
    for name in ["attention", "mlp", "embedding"] {
        let component = report.components.iter().find(|c| c.name == name).expect("a component");
        assert_eq!(component.outcome, ComponentOutcome::Derived, "{name}: {}", shown(&report));
    }
    let report = crate::judged(DENSE.stranger, DENSE.parent, &last(DENSE.stranger), as_gpt2);
    assert!(heard(&report).is_empty(), "{:?}\n{}", heard(&report), shown(&report));
}

/// Behind ranks in another basis, its axis rotated, its layers and heads in another order.
#[test]
fn latent() {
    // Of each group one query head: heads that share their values would toss one coin twice.
    let away = |m: &mut Model| {
        prune_heads(m, 94, 1);
        rotate_residual(m, 90);
        relayer(m, &[1, 4, 2, 0, 3]);
        permute_heads(m, 91);
        as_latent(m, 92);
    };
    let of = |case: &str| {
        let mut subject = last(case);
        prune_heads(&mut subject, 94, 1);
        as_latent(&mut subject, 93);
        judged(DENSE.kin, DENSE.parent, &subject, away)
    };
    let report = of(DENSE.kin);
    // Ranks in a basis of their own are not seen layer by layer.
    let wanted: Vec<(&str, &[u32])> = derived(&report);
    let wrong = unseen(&report, &wanted, &["parent/head-signs", "parent/rotated"], &["rotated"]);
    assert_eq!(wanted.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["attention", "embedding", "head", "mlp"]);
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", shown(&report));
    let report = of(DENSE.stranger);
    assert!(heard(&report).is_empty(), "{:#?}\n{}", heard(&report), shown(&report));
}

/// The parent with another model's tokenizer: rows of the strings that both have.
#[test]
fn retokenised() {
    for pair in [DENSE, EXPERTS] {
        let path = fixtures().join("models/control-mixtral/tokenizer.json");
        let tokenizer: Value = serde_json::from_slice(&std::fs::read(path).expect("a tokenizer")).expect("JSON");
        let again = |m: &mut Model| retokenise(m, &tokenizer, 76);
        let report = crate::judged(pair.kin, pair.parent, &last(pair.kin), again);
        let wrong = unseen(&report, pair.derived, &[], &["string"]);
        assert!(wrong.is_empty(), "{wrong:#?}\n{}", shown(&report));
        let report = crate::judged(pair.stranger, pair.parent, &last(pair.stranger), again);
        assert!(heard(&report).is_empty(), "{:?}\n{}", heard(&report), shown(&report));
    }
}

/// The subject is what was disguised: the same, from the other side, and in every checkpoint of a series.
#[test]
fn a_disguised_series_is_found_out() {
    for pair in [DENSE, EXPERTS] {
        let copy = Copy::of(pair.kin);
        copy.disguise_series(|m| {
            permute_residual(m, 77);
            permute_neurons(m, 78);
            permute_experts(m, 79);
            permute_heads(m, 80);
        });
        let report = copy.judged();
        let wrong = unseen(&report, pair.derived, &["parent/permuted", "parent/neurons"], &["permuted", "neurons"]);
        assert!(wrong.is_empty(), "{wrong:#?}\n{}", shown(&report));
        let copy = Copy::of(pair.kin);
        copy.disguise_series(|m| rotate_residual(m, 81));
        let report = copy.judged();
        let wrong = unseen(&report, pair.derived, &["parent/rotated"], &["rotated"]);
        assert!(wrong.is_empty(), "{wrong:#?}\n{}", shown(&report));
    }
}

/// A disguise of the whole series of a stranger is no reason to call it derived, and it stays confirmed.
#[test]
fn a_disguised_series_of_a_stranger_is_confirmed() {
    for (case, disguise) in [
        ("dense-sgd", (|m| permute_residual(m, 82)) as fn(&mut Model)),
        ("scratch-same-arch", |m| {
            permute_neurons(m, 83);
            permute_heads(m, 84);
            permute_experts(m, 85);
        }),
    ] {
        let copy = Copy::of(case);
        copy.disguise_series(disguise);
        // What is disguised is no longer what the seed draws.
        copy.without("[subject.init]");
        let report = copy.judged();
        assert!(heard(&report).is_empty(), "{case}: {:?}\n{}", heard(&report), shown(&report));
        assert_eq!(report.verdict.outcome, Outcome::Confirmed, "{case}: {}", shown(&report));
    }
}

/// The parent itself, re-cast and nothing else.
#[test]
fn a_recast_copy_is_told_from_a_continued_one() {
    for (name, disguise) in [
        ("f16", (|m| recast(m, Format::F16)) as fn(&mut Model)),
        ("bf16", |m| recast(m, Format::Bf16)),
        ("f8", |m| recast(m, Format::F8)),
        ("f8 with scales", |m| quantise(m, 16)),
    ] {
        for pair in [DENSE, EXPERTS] {
            let mut subject = model(pair.parent);
            disguise(&mut subject);
            let report = crate::judged(pair.stranger, pair.parent, &subject, |_| ());
            let wrong = unseen(&report, pair.derived, &[], &[]);
            assert!(wrong.is_empty(), "{name}: {wrong:#?}\n{}", shown(&report));
            let codes = ["parent/bit-equal", "parent/re-cast"];
            assert!(codes.iter().any(|code| !report.of(code).is_empty()), "{name}: {}", shown(&report));
        }
    }
}
