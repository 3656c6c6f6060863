//! Whether the test can be trusted on this case: controls are silent, disturbed parents are not.

use std::collections::BTreeSet;

use super::parts::{Controls, Tested, named, part_of};
use super::{ALL, ParentFacts, null};
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_evidence::{CalibrationRow, Reference};
use scratchproof_stats::holm;
use scratchproof_texts::text;

/// Sets aside the controls that fire in a part: they are related to the subject or to a parent. Returns control and
/// part.
pub(super) fn calibrate(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    controls: &[Tested<'_>],
    policy: &Policy,
) -> BTreeSet<(String, String)> {
    let mut aside = BTreeSet::new();
    // `to`: a step of the subject, or the name of another model.
    let mut fire =
        |control: &str, component: &str, to: Result<i64, &str>, z: f64, log10_p: f64, effect: f64, rows: u64| {
            let part = part_of(facts, component);
            if !aside.insert((control.to_owned(), part.to_owned())) {
                return;
            }
            judgement.missing.push(text!(
                "parent/missing/unrelated",
                control,
                part = Some(part).filter(|part| *part != ALL)
            ));
            let what = named(facts, component);
            let message = match to {
                Ok(step) => text!("parent/uncalibrated/subject", control, step, what, z, effect),
                Err(model) => text!("parent/uncalibrated/model", control, model, what, z, effect),
            };
            let mut finding = Finding::new(Code::ParentUncalibrated, Grade::Context, Direction::Neutral, message);
            finding.subject.component = Some(component.to_owned());
            finding.statistic = Some(z);
            finding.log10_p = Some(log10_p);
            finding.effect = Some(effect);
            finding.n = Some(rows);
            finding.null = null();
            finding.evidence = Some("evidence/calibration.parquet".into());
            judgement.push(finding);
        };
    for test in controls {
        if let Reference::Control(control) = &test.row.reference
            && test.grade(policy).is_some()
            && test.effect.abs() >= policy.strong_effect
        {
            fire(control, &test.row.component, Ok(test.row.step), test.z, test.log10_p, test.effect, test.row.rows);
        }
    }
    let unrelated: Vec<&CalibrationRow> =
        facts.calibration.iter().filter(|row| row.against.starts_with("control:")).collect();
    let adjusted = holm(&unrelated.iter().map(|row| row.log10_p).collect::<Vec<_>>());
    for (row, log10_p) in unrelated.into_iter().zip(adjusted) {
        if let (Some(control), Some(z), Some(effect), Some(log10_p)) =
            (row.against.strip_prefix("control:"), row.z, row.effect, log10_p)
            && log10_p <= policy.moderate_log10_p
            && effect >= policy.strong_effect
        {
            fire(control, &row.component, Err(&row.model), z, log10_p, effect, row.rows);
        }
    }
    let mut numb = BTreeSet::new();
    for row in facts.calibration.iter().filter(|row| row.against == "perturbed" && row.component == ALL) {
        if row.log10_p.is_none_or(|p| p > policy.strong_log10_p) && numb.insert(&row.model) {
            judgement.missing.push(text!("parent/missing/sensitive", model = &row.model));
        }
    }
    aside
}

/// Controls that the subject's language model is like beyond any doubt, with how much: whoever chose them, weights of theirs are in
/// it or its in theirs, and what is like a model of the case is not cleared before that model was a candidate.
pub(super) fn relatives<'a>(controls: &[Tested<'a>], policy: &Policy) -> Vec<(&'a str, f64, f64)> {
    let mut relatives: Vec<(&str, f64, f64)> = Vec::new();
    for test in controls.iter().filter(|t| t.row.component == ALL && t.grade(policy) == Some(Grade::Conclusive)) {
        let Reference::Control(control) = &test.row.reference else { continue };
        match relatives.iter_mut().find(|relative| relative.0 == control.as_str()) {
            Some(held) if held.1 < test.z => (held.1, held.2) = (test.z, test.effect),
            Some(_) => {}
            None => relatives.push((control, test.z, test.effect)),
        }
    }
    relatives
}

/// Whether every part whose silence clears a parent has a control whose figures stand beside the parents'.
pub(super) fn calibrated(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    controls: &Controls,
    wanted: &BTreeSet<String>,
) -> bool {
    let positive = facts
        .parents
        .iter()
        .all(|p| facts.calibration.iter().any(|row| row.against == "perturbed" && row.model == format!("parent:{p}")));
    if facts.controls.is_empty() {
        judgement.missing.push(text!("parent/missing/control"));
        return false;
    }
    let fit = facts.fit_controls();
    if wanted.contains(ALL) && !controls.usable(ALL) && !controls.uncalibrated(ALL) && !fit.is_empty() {
        judgement.missing.push(text!("parent/missing/comparable-control", controls = fit));
    }
    positive && wanted.iter().all(|part| controls.usable(part))
}
