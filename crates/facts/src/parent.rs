//! The subject against parents and controls.

pub(crate) mod copies;
pub(crate) mod disguise;
pub(crate) mod lines;
pub mod looked;
pub(crate) mod matched_rows;
pub(crate) mod merge;
mod parts;
pub mod reach;
pub(crate) mod row_angles;
mod unfit;
pub(crate) mod vocabulary;

use std::collections::{BTreeMap, BTreeSet};

use super::Session;
use scratchproof_evidence::Evidence;
use scratchproof_finding::parent::{CopyFigure, EqualTensor, NormFigure, ParentFacts, Part, Unfit, Unreached};
use scratchproof_measurements::Replay;
use scratchproof_texts::Text;

pub use parts::compared_share;

/// What the judge of the parents asks that no table holds.
#[derive(Clone, Debug)]
pub struct Parents {
    components: Vec<String>,
    parts: Vec<Part>,
    families: Vec<(String, String)>,
    equal: Vec<EqualTensor>,
    copies: Vec<CopyFigure>,
    norms: Vec<NormFigure>,
    disguises: BTreeMap<String, Vec<Text>>,
    frames: BTreeMap<String, String>,
    /// Parents that were public before the run began, by the run's own clock.
    earlier: Vec<String>,
    unfit: Vec<Unfit>,
    unsearched: BTreeSet<String>,
    partly: BTreeSet<(String, String)>,
    unreached: Vec<(Unreached, f64)>,
}

impl Parents {
    /// Gathers it.
    #[must_use]
    pub fn new(session: &Session, evidence: &Evidence) -> Self {
        Self {
            components: parts::components(session),
            parts: parts::parts(session),
            families: parts::families(session),
            equal: parts::equal_tensors(session),
            copies: copies::figures(session),
            norms: parts::norms(session, &evidence.trajectory),
            disguises: disguise::disguises(session),
            frames: disguise::frames(session),
            earlier: session.record.earlier(),
            unfit: unfit::unfit(session),
            unsearched: reach::unsearched(session).into_keys().collect(),
            partly: reach::partly(session),
            unreached: parts::unreached(session),
        }
    }

    /// The facts, beside the tables; `clean` are the components whose start is a clean draw.
    #[must_use]
    pub fn facts<'a>(
        &'a self,
        session: &Session<'a>,
        evidence: &'a Evidence,
        clean: &'a BTreeSet<String>,
    ) -> ParentFacts<'a> {
        let (case, measured) = (session.case, session.measured);
        let final_rows = evidence.disguise.partition_point(|row| row.to_step.is_none());
        let (disguise, added) = evidence.disguise.split_at(final_rows);
        ParentFacts {
            parents: case.parents.iter().map(|p| p.name.as_str()).collect(),
            controls: case.controls.iter().map(|c| c.name.as_str()).collect(),
            components: self.components.clone(),
            parts: &self.parts,
            figures: &evidence.components,
            calibration: &evidence.calibration,
            partial: &evidence.partial,
            tokenizers: &evidence.tokenizers,
            cka: &evidence.cka,
            merge: &evidence.merge,
            disguise,
            added,
            disguises: self.disguises.clone(),
            frames: self.frames.clone(),
            unsearched: &self.unsearched,
            partly: &self.partly,
            layer_map: &evidence.layer_map,
            families: &self.families,
            equal: &self.equal,
            copies: &self.copies,
            lines: &evidence.lines,
            matched: &evidence.matched_rows,
            angles: &evidence.row_angles,
            norms: &self.norms,
            steps: (measured.steps[0], measured.steps[measured.plan.last()]),
            earlier: &self.earlier,
            clean_start: clean,
            drawn_again: matches!(&measured.replay, Replay::Done(_, replayed) if replayed.whole()),
            unfit: &self.unfit,
            unreached: &self.unreached,
        }
    }
}
