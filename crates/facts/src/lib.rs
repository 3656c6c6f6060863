//! From measurements and the record to evidence tables and to what a judge asks: pure functions, one folder a condition,
//! the same names as in `finding`. Nothing here opens a file or sees a weight.
//!
//! `finding` says what it asks (its `...Facts`), this crate answers: so the judgement is built without knowing how anything
//! was measured.

mod catalogue;
pub mod chain;
pub mod parent;
mod session;
mod similarity;
pub mod start;
pub mod time;

use scratchproof_evidence::Evidence;
use scratchproof_finding::chain::DecayFacts;
use scratchproof_measurements::Trails;

pub use session::{Session, references};
pub use time::Reading;

/// The rows of tokens without a gradient beside what the log predicts of them.
#[must_use]
pub fn decay(session: &Session) -> DecayFacts {
    chain::clock::facts(session)
}

/// Every table of evidence.
#[must_use]
pub fn evidence(session: &Session, trails: &Trails, decay: &DecayFacts) -> Evidence {
    let components = parent::vocabulary::stand_in(session, similarity::components(session));
    let mut calibration = similarity::calibration(session);
    calibration.extend(parent::vocabulary::calibration(session));
    Evidence {
        trajectory: similarity::trajectory(session),
        pairs: similarity::pairs(session),
        copies: parent::copies::rows(session),
        lines: parent::lines::rows(session),
        matched_rows: parent::matched_rows::rows(session),
        row_angles: parent::row_angles::rows(session),
        layer_map: similarity::layer_maps(session),
        tensors: catalogue::tensors(session),
        start: start::draw::rows(session),
        replay: start::replay::rows(&session.measured.replay),
        chain: chain::trajectory::bounded(session, chain::path::rows(session, trails, &components)),
        path: chain::trajectory::rows(session, trails),
        returned: chain::surgery::returned_rows(session),
        decay: chain::clock::rows(decay, session.case.policy.clock_tolerance),
        calibration,
        partial: similarity::partial(session),
        merge: parent::merge::rows(session),
        components,
        disguise: parent::disguise::rows(session),
        looked: parent::looked::rows(session),
        tokenizers: parent::vocabulary::tokenizers(session),
        cka: parent::vocabulary::cka(session),
        ..time::record_tables(session.record, Some(session.measured.subject()), true)
    }
}
