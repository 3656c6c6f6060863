//! A parent in another packaging is the same parent.

use super::support::repack::fused;
use super::support::safetensors::{File, edit};
use super::support::{Copy, audited, report::Report};

/// What an audit says of each component: name, outcome, figures.
fn components(report: &Report) -> Vec<String> {
    report.components.iter().map(|component| format!("{component:?}")).collect()
}

#[test]
fn a_parent_with_fused_and_stacked_weights_is_found_as_the_plain_one_is() {
    for case in ["continued", "dense-continued"] {
        let plain = audited(case);
        let copy = Copy::of(case);
        let mut changed = 0;
        for name in ["parent-glm", "parent-llama"] {
            edit(&copy.model(name), |file: &mut File| {
                let before = file.header.len();
                *file = fused(file);
                assert!(file.header.len() < before, "nothing was put together");
                changed += usize::from(file.header.keys().any(|name| name.ends_with("experts.gate_up_proj")));
            });
        }
        assert!(changed > 0, "no experts were stacked");
        let repacked = copy.finished(plain.run.status);
        assert_eq!(repacked.verdict.outcome, plain.report.verdict.outcome, "{case}");
        assert_eq!(repacked.verdict.conditions, plain.report.verdict.conditions, "{case}");
        assert_eq!(components(&repacked), components(&plain.report), "{case}: the same figures to the last bit");
        assert_eq!(repacked.coverage.compared, plain.report.coverage.compared, "{case}");
        let input = |report: &Report| report.inputs.iter().map(|input| input.sha256.clone()).collect::<Vec<_>>();
        assert_ne!(input(&repacked), input(&plain.report), "{case}: the digests are of the files");
    }
}

#[test]
fn a_series_may_change_its_packaging_on_the_way() {
    let plain = audited("continued");
    let copy = Copy::of("continued");
    for step in [20, 150] {
        edit(&copy.weights(step), |file: &mut File| *file = fused(file));
    }
    let repacked = copy.finished(plain.run.status);
    assert_eq!(repacked.verdict.conditions, plain.report.verdict.conditions, "{}", super::forged::shown(&repacked));
    assert_eq!(components(&repacked), components(&plain.report));
    assert_eq!(repacked.coverage.compared, plain.report.coverage.compared);
    assert!(!repacked.coverage.skipped.iter().any(|skipped| skipped.tensor.starts_with("(step")));
}
