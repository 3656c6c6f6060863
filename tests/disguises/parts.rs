//! Parts of a parent: merged, restacked, cut down, or one piece put into another model.

use crate::support::Copy;
use crate::support::disguise::*;
use crate::support::weights::Model;
use crate::{DENSE, EXPERTS, derived, heard, judged, last, shown, unseen};

/// A case with two parents.
fn two_parents(case: &str, subject: &Model, second: &Model) -> crate::Report {
    let copy = Copy::of(case);
    copy.only(subject);
    copy.add("parent", "second", second);
    copy.judged()
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
fn a_pruned_stranger_is_left_alone() {
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
            let mut subject = last(pair.stranger);
            prune(&mut subject);
            let report = judged(pair.stranger, pair.parent, &subject, |_| ());
            assert!(heard(&report).is_empty(), "{name}: {:?}\n{}", heard(&report), shown(&report));
        }
    }
}
