//! Parts of a parent: merged, restacked, cut down, or one piece put into another model.

use crate::support::Copy;
use crate::support::disguise::*;
use crate::support::report::{Direction, Grade};
use crate::support::weights::Model;
use crate::{DENSE, EXPERTS, derived, heard, judged, last, model, shown, unseen};

/// A case with two parents.
fn two_parents(case: &str, subject: &Model, second: &Model) -> crate::Report {
    let copy = Copy::of(case);
    copy.only(subject);
    copy.add("parent", "second", second);
    copy.judged()
}

#[test]
fn a_merge_of_two_parents_is_named_with_its_weights() {
    for pair in [DENSE, EXPERTS] {
        for share in [0.4, 0.25] {
            let second = last(pair.stranger);
            let mut subject = model(pair.parent);
            merge(&mut subject, &second, share);
            let report = two_parents(pair.kin, &subject, &second);
            let wrong = unseen(&report, pair.derived, &["parent/merge"], &["merge"]);
            assert!(wrong.is_empty(), "{share}: {wrong:#?}\n{}", shown(&report));
            let message = &report.of("parent/merge")[0].message;
            for part in [pair.parent, "second", &format!("{:.2}", 1.0 - share), &format!("{share:.2}")] {
                assert!(message.contains(part), "{part}: {message}");
            }
        }
    }
}

#[test]
fn a_model_of_one_parent_is_no_merge() {
    for pair in [DENSE, EXPERTS] {
        let report = two_parents(pair.kin, &last(pair.kin), &last(pair.stranger));
        assert!(report.of("parent/merge").is_empty(), "{}", shown(&report));
        let other = if pair.parent == "parent-glm" { "shared-seed" } else { "distilled" };
        let report = two_parents(pair.stranger, &last(pair.stranger), &last(other));
        assert!(report.of("parent/merge").is_empty(), "{}", shown(&report));
    }
}

#[test]
fn layers_stacked_inserted_and_dropped_are_mapped() {
    for pair in [DENSE, EXPERTS] {
        for (map, layers) in [
            (&[0, 1, 2, 1, 2, 3, 4][..], &[0, 1, 2, 3, 4, 5, 6][..]),
            (&[0, 1, 3, 4], &[0, 1, 2, 3]),
            (&[0, 1, 1, 2, 3, 3, 4], &[0, 1, 2, 3, 4, 5, 6]),
            (&[0, 4, 3, 2, 1], &[0, 1, 2, 3, 4]),
        ] {
            let mut subject = last(pair.kin);
            relayer(&mut subject, map);
            let report = judged(pair.kin, pair.parent, &subject, |_| ());
            let words = format!("{map:?}").replace(' ', "");
            let wrong = unseen(&report, &derived(&report), &["parent/layer-map"], &[&words]);
            assert!(wrong.is_empty(), "{wrong:#?}\n{}", shown(&report));
            let attention = report.components.iter().find(|c| c.name == "attention").expect("a component");
            assert_eq!(attention.layers, layers, "{}", shown(&report));

            let mut subject = last(pair.stranger);
            relayer(&mut subject, map);
            let report = judged(pair.stranger, pair.parent, &subject, |_| ());
            assert!(heard(&report).is_empty(), "{map:?}: {:?}\n{}", heard(&report), shown(&report));
        }
    }
}

/// An own layer put between those of the parent.
#[test]
fn a_layer_that_is_none_of_the_parents_is_left_out_of_the_map() {
    let (mut subject, own) = (last("dense-continued"), last("dense-sgd"));
    relayer(&mut subject, &[0, 1, 2, 2, 3, 4]);
    copy_layer(&mut subject, &own, 2, 3);
    let report = judged("dense-continued", "parent-llama", &subject, |_| ());
    let found = report.of("parent/layer-map");
    assert!(found.iter().any(|f| f.message.contains("[0,1,2,-,3,4]")), "{}", shown(&report));
    let attention = report.components.iter().find(|c| c.name == "attention").expect("a component");
    assert_eq!(attention.layers, [0, 1, 2, 4, 5], "{}", shown(&report));
}

#[test]
fn one_copied_layer_is_named() {
    for (pair, parts) in [
        (DENSE, &[("attention", &[3u32][..]), ("mlp", &[3])][..]),
        (EXPERTS, &[("attention", &[3]), ("experts", &[3]), ("router", &[3])]),
    ] {
        for (from, to) in [(3, 3), (1, 3)] {
            let mut subject = last(pair.stranger);
            copy_layer(&mut subject, &model(pair.parent), from, to);
            let report = judged(pair.stranger, pair.parent, &subject, |_| ());
            let wrong = unseen(&report, parts, &[], &[]);
            assert!(wrong.is_empty(), "{from} to {to}: {wrong:#?}\n{}", shown(&report));
        }
    }
}

/// Rows of the parent in one tensor, bit for bit.
#[test]
fn one_copied_block_of_rows_is_named() {
    for (pair, name) in
        [(DENSE, "model.layers.2.mlp.up_proj.weight"), (EXPERTS, "model.layers.2.self_attn.q_proj.weight")]
    {
        let mut subject = last(pair.stranger);
        // In one format, or nothing is equal bit for bit.
        let format = subject.tensor(name).format;
        copy_rows(&mut subject, &model(pair.parent), name, 8..28);
        let report = judged(pair.stranger, pair.parent, &subject, |m| recast(m, format));
        let found = report.of("parent/bit-equal");
        let rows = |f: &&&crate::Finding| f.subject.tensor.as_deref() == Some(name) && f.grade >= Grade::Strong;
        assert!(found.iter().find(rows).is_some_and(|f| f.direction == Direction::Against), "{}", shown(&report));
    }
}

/// The subject was cut down: what is left is the parent's, with every component.
#[test]
fn a_pruned_subject_is_derived() {
    for pair in [DENSE, EXPERTS] {
        for (name, prune) in [
            ("neurons", (|m| prune_neurons(m, 90, 0.5)) as fn(&mut Model)),
            ("heads", |m| prune_heads(m, 91, 1)),
            ("experts", |m| prune_experts(m, 92, 2)),
            ("all", |m| {
                prune_neurons(m, 93, 0.75);
                prune_heads(m, 94, 1);
                prune_experts(m, 95, 3);
            }),
        ] {
            let mut subject = last(pair.kin);
            prune(&mut subject);
            let report = judged(pair.kin, pair.parent, &subject, |_| ());
            let wrong = unseen(&report, pair.derived, &[], &[]);
            assert!(wrong.is_empty(), "{name}: {wrong:#?}\n{}", shown(&report));
            let mut subject = last(pair.stranger);
            prune(&mut subject);
            let report = judged(pair.stranger, pair.parent, &subject, |_| ());
            assert!(heard(&report).is_empty(), "{name}: {:?}\n{}", heard(&report), shown(&report));
        }
    }
}
