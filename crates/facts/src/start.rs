//! The first checkpoint as a draw.

pub(crate) mod draw;
pub(crate) mod replay;
mod scales;

use super::Session;
use super::time::rates;
use scratchproof_evidence::Evidence;
use scratchproof_finding::power::Span;
use scratchproof_finding::start::{Clock, Drift, StartFacts, StartVector};
use scratchproof_measurements::{Axis, Unit};

/// What the judge of the start asks that no table holds.
#[derive(Clone, Debug)]
pub struct Start {
    vectors: Vec<StartVector>,
    /// The learning rate summed from the first logged step on, of the first run that logs it.
    clock: Option<Clock>,
    drift: Vec<Drift>,
}

/// Parameters of the subject's matrices, constants apart, and its tensors without a known function.
#[must_use]
pub fn parameters(session: &Session) -> (u64, usize) {
    let tensors = || session.measured.subject().tensors.iter().filter(|t| !t.role.constant);
    let matrices = tensors().filter(|t| t.shape.len() > 1);
    (matrices.map(|t| t.elements() as u64).sum(), tensors().filter(|t| !t.role.known).count())
}

/// What the rows of `start.parquet` are of, in their order.
#[must_use]
pub fn spans(session: &Session) -> Vec<Span> {
    let sizes = session.measured.sizes();
    let span = |unit: &Unit| {
        let view = unit.matrices()?;
        let matrices = view.outer.max(1);
        // Where rows are drawn the unit is these alone: along the residual axis where it comes first, otherwise across it.
        let (whole, drawn) = (sizes(unit), unit.elements().max(1));
        let (rows, columns) = ((view.count() / matrices) as f64, view.hidden() as f64);
        let more = whole as f64 / drawn as f64;
        let along = unit.role.residual == Axis::First;
        Some(Span {
            parameters: whole as u64,
            rows: if along { rows } else { rows * more },
            columns: if along { columns * more } else { columns },
            matrices: matrices as f64,
        })
    };
    draw::tested(session).filter_map(|(_, unit, _)| span(unit)).collect()
}

impl Start {
    /// Gathers it.
    #[must_use]
    pub fn new(session: &Session) -> Self {
        Self {
            vectors: scales::vectors(session),
            clock: rates::summed_rates(session.record).and_then(Clock::new),
            drift: scales::drift(session),
        }
    }

    /// The facts, beside the tables.
    #[must_use]
    pub fn facts<'a>(&'a self, session: &Session<'a>, evidence: &'a Evidence) -> StartFacts<'a> {
        StartFacts {
            grown: session.measured.grown(),
            steps: if session.is_series() { &session.measured.steps } else { &[] },
            rows: &evidence.start,
            units: &session.measured.within_start,
            vectors: &self.vectors,
            clock: self.clock.clone(),
            drift: &self.drift,
            declared: session.case.subject.init.as_ref(),
            replay: &session.measured.replay,
        }
    }
}
