//! Runs a plan: models in, [`Measurements`] out. Everything that a case asks of weights is read here and nowhere else.

mod codec;
mod digest;
mod drawn;
mod elementwise;
mod growth;
mod hashing;
mod jobs;
pub mod journal;
mod layers;
mod lines;
mod matched_rows;
mod model;
mod norms;
mod optimizer;
mod pass;
mod pieces;
mod pool;
mod products;
mod rehearsal;
mod replay;
mod reporter;
mod residual;
mod returned;
mod routers;
mod row_angles;
mod rows;
mod sample;
mod search;
mod signs;
mod tensors;
mod token_rows;
mod vocabularies;

use std::collections::BTreeMap;
use std::sync::Arc;

use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::Result;
use scratchproof_fingerprint::Fingerprint;
use scratchproof_measurements::{Deduction, FileDigest, Growth, Measurements, Replay, WithinStart};
use scratchproof_plan::{Material, Series, plan};

pub use digest::{digests, md5};
pub use growth::growth;
pub use jobs::{Unit, units};
pub use journal::{Journal, Nowhere, Piece, Stored};
pub use model::{beside, model};
pub use norms::{Norms, norms};
pub use pieces::{Part, figures_of, parts};
pub use products::Asked;
pub use replay::replayed;
pub use reporter::{Quiet, Reporter};
pub use routers::{Assigned, Router, Routers, routers};
pub use token_rows::token_rows;

use journal::kept;
use pieces::{FIGURES, Keys, Pieces};
use search::Searched;

/// The models of a case, opened.
pub struct Models {
    /// Every checkpoint that the case names, by ascending step.
    pub checkpoints: Vec<Checkpoint>,
    /// Their steps; 0 for a single model.
    pub steps: Vec<i64>,
    /// Parents, then controls.
    pub references: Vec<Arc<Checkpoint>>,
    /// How many of those are parents.
    pub parents: usize,
    /// Roles that content or order gave where names did not settle them.
    pub deduced: Vec<Deduction>,
    /// Parents of which there is a fingerprint and no weights, by their place.
    pub fingerprints: BTreeMap<usize, Fingerprint>,
}

/// What a caller wants and where it is kept.
pub struct Job<'a> {
    /// What is asked beyond what every audit needs.
    pub asked: Asked,
    /// Of which files the MD5 is made as well.
    pub wants_md5: &'a dyn Fn(&FileDigest) -> bool,
    /// Where finished pieces are kept.
    pub journal: &'a dyn Journal,
    /// Hears how far it is.
    pub reporter: &'a dyn Reporter,
}

/// The models of a case, planned: everything that a unit needs.
pub struct Prepared {
    /// The models.
    pub material: Material,
    /// The plan; until a disguise was looked for, that of the given models.
    pub plan: scratchproof_measurements::Plan,
    steps: Vec<i64>,
    left_out: Vec<(i64, String)>,
    growth: Vec<(i64, i64, Growth)>,
    formulas: Vec<String>,
    found: Vec<scratchproof_measurements::Found>,
    deduced: Vec<Deduction>,
    fingerprints: BTreeMap<usize, Fingerprint>,
    /// What is asked of each reference before the units.
    searched: Vec<Searched>,
    keys: Keys,
}

/// Plans the measurement, from headers alone but for what changed between checkpoints of different architecture.
///
/// # Errors
/// If a file cannot be read; the message names the model and the tensor.
pub fn prepare(models: Models, journal: &dyn Journal, reporter: &dyn Reporter) -> Result<Prepared> {
    let Models { checkpoints, steps: all, references, parents, deduced, fingerprints } = models;
    let growth = {
        let pieces = Pieces::of(checkpoints.iter());
        // Of tables of other lengths other rows are drawn: what was resized is not held against what it was.
        let drawn = checkpoints.iter().any(|checkpoint| checkpoint.sample.is_some());
        let measured = || if drawn { Ok(Vec::new()) } else { grown(&checkpoints, &all) };
        kept(journal, &pieces.whole("growth", &[&format!("{all:?}")]), measured)?
    };
    let series = Series::new(checkpoints);
    let formulas = {
        let first = &series.checkpoints[..series.checkpoints.len().min(1)];
        let read = || first.iter().map(Checkpoint::formulas).collect::<Result<Vec<_>>>().map(|all| all.concat());
        if series.checkpoints.len() > 1 {
            kept(journal, &Pieces::of(first.iter()).whole("formulas", &[]), read)?
        } else {
            Vec::new()
        }
    };
    let left_out: Vec<(i64, String)> = series.left_out.iter().map(|(i, why)| (all[*i], why.clone())).collect();
    let stays = |i: &usize| series.left_out.iter().all(|(left, _)| left != i);
    let steps: Vec<i64> = (0..all.len()).filter(stays).map(|i| all[i]).collect();
    let material = Material { series, references, parents, relabelled: Vec::new() };
    reporter.phase("planning", 0);
    let plan = plan(&material);
    let searched = search::planned(&material, &fingerprints);
    let of_parents = searched.iter().take(parents).enumerate();
    let of_parents: Vec<(usize, &Piece)> =
        of_parents.filter_map(|(at, own)| Some((at, own.search.as_ref()?))).collect();
    let keys = Keys::of(&plan, &material.given(), &of_parents);
    let found = Vec::new();
    Ok(Prepared { material, plan, steps, left_out, growth, formulas, found, deduced, fingerprints, searched, keys })
}

impl Prepared {
    /// Writes the parents that are in disguise in the subject's coordinates: what units over tensors rest on.
    ///
    /// # Errors
    /// If weights cannot be read; those of the journal.
    pub fn relabel(&mut self, journal: &dyn Journal, reporter: &dyn Reporter) -> Result<()> {
        let parents = 0..self.material.parents;
        search::relabel(&mut self.material, &self.searched, parents, journal, reporter)?;
        self.replan();
        Ok(())
    }

    /// The same with everything that the search found of all references.
    fn unmask(&mut self, journal: &dyn Journal, reporter: &dyn Reporter) -> Result<()> {
        self.found = search::unmask(&mut self.material, &self.fingerprints, &self.searched, journal, reporter)?;
        self.replan();
        Ok(())
    }

    fn replan(&mut self) {
        if !self.material.relabelled.is_empty() {
            self.plan = plan(&self.material);
        }
    }

    /// Pieces over all models.
    fn pieces(&self) -> Pieces {
        Pieces::of(self.material.given().into_iter())
    }

    fn token_rows_piece(&self) -> Piece {
        self.pieces().whole("token-rows", &[&format!("{:?}", self.steps)])
    }

    fn optimizer_piece(&self) -> Piece {
        self.pieces().whole("optimizer", &[&format!("{:?}", self.steps)])
    }

    fn within_start_piece(&self) -> Piece {
        self.pieces().whole("within-start", &[])
    }

    fn lines_piece(&self) -> Piece {
        self.pieces().whole("lines", &[])
    }

    fn vocabularies_piece(&self) -> Piece {
        self.pieces().whole("vocabularies", &[])
    }
}

/// Measures everything that judging needs.
///
/// # Errors
/// If a file cannot be read; the message names the model and the tensor. Those of the journal.
pub fn measure(models: Models, replay: Replay, job: &Job) -> Result<Measurements> {
    let mut prepared = prepare(models, job.journal, job.reporter)?;
    if !job.asked.power {
        prepared.searched.iter_mut().for_each(|own| own.injected = None);
    }
    prepared.unmask(job.journal, job.reporter)?;
    let Job { asked, journal, reporter, .. } = *job;
    let Prepared { material, plan, .. } = &prepared;
    let given = material.given();
    let pieces = Pieces::of(given.iter().copied());
    let steps = &prepared.steps;
    reporter.begin("measuring", given.iter().map(|m| m.bytes()).sum());
    let parts = parts(plan);
    let pieces::Whole { tensors, rows, elementwise, mut digests } =
        pieces::whole(&prepared, &parts, journal, reporter)?;
    if given.iter().all(|model| model.sample.is_none()) {
        pieces.add_md5(&given[..plan.series], &mut digests, job);
    }
    reporter.phase("products of kept rows", 0);
    let products = pieces.whole("products", &[&format!("{asked:?}"), &plan_key(plan), FIGURES]);
    let products = kept(journal, &products, || products::products(plan, &tensors, &rows, asked))?;
    drop(rows);
    let other_lines = kept(journal, &prepared.lines_piece(), || lines::others(plan, &material.models()))?;
    reporter.phase("rows of tokens", 0);
    let token_rows = kept(journal, &prepared.token_rows_piece(), || token_rows::token_rows(plan, material, steps))?;
    let optimizer = kept(journal, &prepared.optimizer_piece(), || optimizer::optimizer(plan, material, &token_rows))?;
    let within_start = kept(journal, &prepared.within_start_piece(), || within_start(material))?;
    let vocabularies = kept(journal, &prepared.vocabularies_piece(), || vocabularies::read(material, plan))?;
    reporter.end();
    let listed = |at: usize| at >= plan.last();
    let sample = sample::record(plan, &given, &mut digests);
    Ok(Measurements {
        models: given.iter().enumerate().map(|(at, checkpoint)| model(checkpoint, listed(at))).collect(),
        bytes_read: tensors::bytes_of(plan, plan.units.iter()),
        tensors,
        kept: products,
        other_lines,
        elementwise,
        token_rows,
        optimizer,
        digests,
        relabelled: material.relabelled.iter().map(|(parent, _)| *parent).collect(),
        vocabularies,
        within_start,
        replay,
        steps: prepared.steps,
        left_out: prepared.left_out,
        growth: prepared.growth,
        formulas: prepared.formulas,
        found: prepared.found,
        deduced: prepared.deduced,
        plan: prepared.plan,
        sample,
    })
}

/// Whether the matrices of the first checkpoint of a series know of each other.
fn within_start(material: &Material) -> Result<Vec<WithinStart>> {
    match &material.series.checkpoints[..] {
        [first, _, ..] => scratchproof_disguise::within_start(first),
        _ => Ok(Vec::new()),
    }
}

/// What decides the figures of all units.
fn plan_key(plan: &scratchproof_measurements::Plan) -> String {
    plan.units.iter().map(|unit| unit.id.as_str()).collect()
}

/// What changed between neighbours of different architecture.
fn grown(checkpoints: &[Checkpoint], steps: &[i64]) -> Result<Vec<(i64, i64, Growth)>> {
    let mut changes = Vec::new();
    for (pair, steps) in checkpoints.windows(2).zip(steps.windows(2)) {
        if let Some(change) = growth(&pair[0], &pair[1])? {
            changes.push((steps[0], steps[1], change));
        }
    }
    Ok(changes)
}
