//! Everything that facts are gathered from.

use super::time::Reading;
use scratchproof_case::Case;
use scratchproof_evidence::Reference;
use scratchproof_measurements::Measurements;

/// A case with what was measured of its weights and read of its record.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// The question.
    pub case: &'a Case,
    /// What came from weights.
    pub measured: &'a Measurements,
    /// What came from elsewhere.
    pub record: &'a Reading,
}

impl Session<'_> {
    /// Whether the subject is a series; otherwise nothing can be said of start and chain.
    #[must_use]
    pub fn is_series(&self) -> bool {
        self.case.subject.is_series()
    }

    /// The component that a tensor's share of the weights is counted with: a router is part of its experts, which are chosen by it.
    #[must_use]
    pub fn counted_with<'a>(&self, component: &'a str) -> &'a str {
        let routed = component == "router" && self.measured.subject().experts > 0;
        if routed { "experts" } else { component }
    }

    /// Steps of the series; none of a single model.
    #[must_use]
    pub fn steps(&self) -> &[i64] {
        if self.is_series() { &self.measured.steps } else { &[] }
    }
}

/// What every model after the series is.
#[must_use]
pub fn references(session: &Session) -> Vec<(usize, Reference)> {
    let parents = session.case.parents.iter().map(|p| Reference::Parent(p.name.clone()));
    let controls = session.case.controls.iter().map(|c| Reference::Control(c.name.clone()));
    let relabelled = session.measured.relabelled.iter();
    let relabelled = relabelled.map(|parent| Reference::Relabelled(session.case.parents[*parent].name.clone()));
    parents.chain(controls).chain(relabelled).enumerate().map(|(i, r)| (session.measured.plan.series + i, r)).collect()
}

/// Parents and controls.
pub(crate) fn given(session: &Session) -> Vec<Reference> {
    let parents = session.case.parents.iter().map(|p| Reference::Parent(p.name.clone()));
    let controls = session.case.controls.iter().map(|c| Reference::Control(c.name.clone()));
    parents.chain(controls).collect()
}
