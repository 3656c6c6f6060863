//! A parent in disguise that was put into the middle of a training and has nearly been forgotten at its end.

use crate::support::Copy;
use crate::support::disguise::*;
use crate::support::report::{Grade, Outcome};
use crate::support::weights::Model;
use crate::{DENSE, EXPERTS, Pair, heard, model, shown};

/// The layers' matrices of a model, half as large, added to the checkpoint at step 300; of them a third is left at the end.
fn put_in(case: &str, other: &Model) -> Copy {
    let copy = Copy::of(case);
    for (step, share) in [(300, 0.5), (450, 0.3), (600, 0.17)] {
        let folder = copy.path(&format!("checkpoints/step-{step}"));
        let mut model = Model::read(&folder);
        for name in model.names(|name| name.contains(".layers.") && !name.contains("norm")) {
            let Some(theirs) = other.tensors.get(&name) else { continue };
            let own = model.tensor(&name);
            assert_eq!(own.values.len(), theirs.values.len(), "{name}");
            own.values.iter_mut().zip(&theirs.values).for_each(|(own, theirs)| *own += share * theirs);
        }
        model.write(&folder);
    }
    copy
}

fn disguised(name: &str, disguise: fn(&mut Model)) -> Model {
    let mut other = model(name);
    fold_norms(&mut other);
    disguise(&mut other);
    other
}

fn found(pair: Pair, disguise: fn(&mut Model), components: &[&str]) {
    let report = put_in(pair.stranger, &disguised(pair.parent, disguise)).judged();
    assert_eq!(report.verdict.outcome, Outcome::Refuted, "{}", shown(&report));
    let added = report.of("parent/added");
    let conclusive: Vec<_> = added.iter().filter(|f| f.grade == Grade::Conclusive).collect();
    assert!(!conclusive.is_empty(), "{}", shown(&report));
    assert!(conclusive.iter().all(|f| f.subject.steps == [150, 300]), "{}", shown(&report));
    for component in components {
        let named = added.iter().any(|f| f.subject.component.as_deref() == Some(*component));
        assert!(named, "{component}: {}", shown(&report));
    }
}

#[test]
fn in_another_order() {
    let disguise = |m: &mut Model| {
        permute_residual(m, 301);
        permute_neurons(m, 302);
        permute_experts(m, 303);
        permute_heads(m, 304);
    };
    found(DENSE, disguise, &["mlp"]);
    found(EXPERTS, disguise, &["experts"]);
}

#[test]
fn in_another_basis() {
    let disguise = |m: &mut Model| {
        permute_neurons(m, 305);
        rotate_residual(m, 306);
    };
    found(DENSE, disguise, &["mlp"]);
    found(EXPERTS, disguise, &["experts"]);
}

/// Of another model nothing is said of the parent that is named.
#[test]
fn of_a_stranger() {
    let report = put_in(DENSE.stranger, &disguised("control-llama", |m| permute_residual(m, 307))).judged();
    assert!(report.of("parent/added").is_empty(), "{}", shown(&report));
    assert!(heard(&report).is_empty(), "{}", shown(&report));
}
