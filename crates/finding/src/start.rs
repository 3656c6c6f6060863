//! Condition S: the first checkpoint is a random draw (METHODS 4).

mod constants;
mod independence;
mod replay;
mod scheme;
mod spectrum;
mod steps;

use std::collections::BTreeSet;

use super::{Code, Condition, Direction, Finding, Grade, Judgement, Subject};
use scratchproof_case::{Init, Policy};
use scratchproof_evidence::StartRow;
use scratchproof_texts::text;

pub use constants::StartVector;
pub use steps::{Clock, Drift};

pub use scratchproof_measurements::{Replay, WithinStart};

/// What was measured of the first checkpoint.
pub struct StartFacts<'a> {
    /// Steps of the series; empty if there is none.
    pub steps: &'a [i64],
    /// The steps between which the model grew from checkpoints that were left out.
    pub grown: Option<(i64, i64)>,
    /// Matrices of the first checkpoint.
    pub rows: &'a [StartRow],
    /// Its neurons, by component.
    pub units: &'a [WithinStart],
    /// Its vectors.
    pub vectors: &'a [StartVector],
    /// Learning rates of the log, summed.
    pub clock: Option<Clock>,
    /// Scales of the families, carried back to step 0.
    pub drift: &'a [Drift],
    /// What the developer declared.
    pub declared: Option<&'a Init>,
    /// The declared start, drawn again.
    pub replay: &'a Replay,
}

/// The matrices that can be held against a draw: position embeddings may be a formula.
fn drawn<'a>(facts: &StartFacts<'a>) -> impl Iterator<Item = &'a StartRow> + use<'a> {
    facts.rows.iter().filter(|row| !row.family.contains("position"))
}

/// Judges the start; also says in which components it is a clean draw.
#[must_use]
pub fn judge(facts: &StartFacts<'_>, policy: &Policy) -> (Judgement, BTreeSet<String>) {
    let mut judgement = Judgement::untested();
    let Some(&step) = facts.steps.first() else {
        judgement.missing.push(text!("start/missing/series"));
        judgement.said = text!("power/start/none");
        return (judgement, BTreeSet::new());
    };
    let mut clean = spectrum::judge(&mut judgement, facts, step, policy);
    let tied = independence::judge(&mut judgement, facts, step, policy);
    clean.retain(|component| !tied.contains(component));
    constants::judge(&mut judgement, facts, step);
    scheme::judge(&mut judgement, facts, step, policy);
    let trained = steps::judge(&mut judgement, facts, step);
    if step != 0 {
        let mut message = text!("start/not-at-zero/later", step);
        steps::carried_back(&mut message, facts, &clean, trained.as_ref());
        let mut finding = Finding::new(Code::StartNotFirst, Grade::Context, Direction::Neutral, message);
        finding.subject.steps = vec![step];
        judgement.push(finding);
        if let Some((from, to)) = facts.grown {
            judgement.said = text!("power/start/grown", from, to);
        } else {
            judgement.missing.push(text!("start/missing/step-0", step));
            judgement.said = text!("power/start/late", step);
        }
        // A trained checkpoint is expected to look trained: nothing here is against the claim then, and what looks drawn
        // may have been drawn after step 0.
        for finding in &mut judgement.findings {
            if finding.direction == Direction::Against {
                (finding.direction, finding.grade) = (Direction::Neutral, Grade::Context);
            }
        }
        return (judgement, BTreeSet::new());
    }
    if replay::judge(&mut judgement, facts.replay) {
        judgement.settle(Condition::Holds);
        judgement.said = text!("power/start/drawn-again", matrices = facts.rows.len());
        return (judgement, facts.rows.iter().map(|r| r.component.clone()).collect());
    }
    let matrices = drawn(facts).filter(|r| r.edge_log10_p.is_some()).count();
    let judged = matrices > 0;
    judgement.said = text!("power/start/tested", matrices, of = facts.rows.len());
    if !judged {
        judgement.missing.push(text!("start/missing/matrix"));
    }
    judgement.settle(if judged { Condition::Holds } else { Condition::Untested });
    (judgement, clean)
}

fn subject_of(row: &StartRow, step: i64) -> Subject {
    Subject {
        component: Some(row.component.clone()),
        layer: row.layer,
        tensor: Some(row.tensor.clone()),
        steps: vec![step],
        parent: None,
    }
}

#[cfg(test)]
mod tests;
