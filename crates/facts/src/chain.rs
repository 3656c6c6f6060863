//! The path of the weights through the checkpoints.

mod averages;
pub(crate) mod clock;
mod movement;
mod optimizer;
pub(crate) mod path;
mod points;
mod splices;
pub(crate) mod surgery;
mod trails;
pub(crate) mod trajectory;

use super::Session;
use super::time::rates;
use scratchproof_evidence::Evidence;
use scratchproof_finding::chain::{Bound, ChainFacts, DecayFacts, EqualSteps, Moved, OffLine, OptimizerFacts, Points};
use scratchproof_measurements::Trails;
use scratchproof_texts::Text;

/// What the judge of the chain asks that no table holds.
#[derive(Clone, Debug)]
pub struct Chain {
    points: Points,
    moved: Vec<Moved>,
    /// Stretches of training that were given up.
    given_up: Vec<(i64, i64)>,
    equal: Vec<EqualSteps>,
    exchanges: Vec<(i64, i64, f64)>,
    residuals: Vec<OffLine>,
    /// The optimiser of the log where its steps have a bound, or why none is known.
    bound: Result<Bound, Text>,
    optimizer: OptimizerFacts,
}

impl Chain {
    /// Gathers it.
    #[must_use]
    pub fn new(session: &Session, trails: &Trails, decay: &DecayFacts) -> Self {
        let distances = trails.matrices.distances();
        Self {
            points: points::points(session, trails, &distances),
            moved: movement::moved(session, trails),
            given_up: rates::given_up(session.record),
            optimizer: optimizer::facts(session, decay),
            equal: path::equal_steps(session),
            exchanges: path::exchanges(session, &distances),
            residuals: path::residuals(session, &distances),
            bound: rates::rule(session.record).map(|limit| Bound {
                optimiser: limit.name,
                exact: limit.exact,
                beside: limit.beside,
            }),
        }
    }

    /// The facts, beside the tables.
    #[must_use]
    pub fn facts<'a>(&'a self, session: &Session<'a>, evidence: &'a Evidence, decay: &'a DecayFacts) -> ChainFacts<'a> {
        let measured = session.measured;
        ChainFacts {
            steps: &measured.steps,
            towers: measured.plan.towers().map(|(tower, _)| tower).collect(),
            figures: &evidence.components,
            path: &evidence.chain,
            trajectory: &evidence.path,
            tensors: &evidence.trajectory,
            moved: &self.moved,
            given_up: &self.given_up,
            bound: self.bound.clone().ok(),
            unbounded: self.bound.clone().err(),
            decay,
            states: &measured.optimizer,
            optimizer: &self.optimizer,
            points: &self.points,
            equal: &self.equal,
            exchanges: &self.exchanges,
            residuals: &self.residuals,
            growth: &measured.growth,
            left_out: &measured.left_out,
            grown: measured.grown(),
        }
    }
}
