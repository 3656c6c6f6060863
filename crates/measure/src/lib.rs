//! Runs a plan: models in, [`Measurements`] out. Everything that a case asks of weights is read here and nowhere else.

mod digest;
mod elementwise;
mod growth;
mod layers;
mod model;
mod norms;
mod products;
mod replay;
mod reporter;
mod residual;
mod returned;
mod rows;
mod signs;
mod tensors;
mod token_rows;
mod vocabularies;

use std::sync::Arc;

use rayon::join;
use rayon::prelude::*;

use scratchproof_checkpoint::Checkpoint;
use scratchproof_disguise::{express, search};
use scratchproof_error::Result;
use scratchproof_measurements::{
    Deduction, Disguise, FileDigest, Found, Growth, Measurements, Plan, Replay, SearchRules, TensorFigures,
};
use scratchproof_plan::{Material, Series, plan};

pub use digest::{digests, md5};
pub use elementwise::elementwise;
pub use growth::growth;
pub use model::model;
pub use norms::{Norms, norms};
pub use products::Asked;
pub use replay::replayed;
pub use reporter::{Quiet, Reporter};
pub use tensors::Kept;
pub use token_rows::token_rows;

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
}

/// Measures everything that judging needs. Of the files that `wants_md5` names, the MD5 is made as well.
///
/// # Errors
/// If a file cannot be read; the message names the model and the tensor.
pub fn measure(
    models: Models,
    replay: Replay,
    asked: Asked,
    wants_md5: &dyn Fn(&FileDigest) -> bool,
    reporter: &dyn Reporter,
) -> Result<Measurements> {
    let Models { checkpoints, steps: all, references, parents, deduced } = models;
    let growth = grown(&checkpoints, &all)?;
    let series = Series::new(checkpoints);
    let left_out: Vec<(i64, String)> = series.left_out.iter().map(|(i, why)| (all[*i], why.clone())).collect();
    let stays = |i: &usize| series.left_out.iter().all(|(left, _)| left != i);
    let steps: Vec<i64> = (0..all.len()).filter(stays).map(|i| all[i]).collect();
    let mut material = Material { series, references, parents, relabelled: Vec::new() };
    let found = unmask(&mut material)?;
    let plan = plan(&material);
    let given = material.given();
    reporter.begin("measuring", given.iter().map(|m| m.bytes()).sum());
    let (measured, digests) = join(|| units(&plan, &material, reporter), || digests(&given));
    reporter.end();
    let ((tensors, kept), mut digests): (_, Vec<Vec<FileDigest>>) = (measured?, digests?);
    add_md5(&given[..plan.series], &mut digests, wants_md5);
    let ends: &[usize] = if plan.last() > 0 { &[0, plan.last()] } else { &[0] };
    let others = plan.series..plan.series + plan.references;
    let pairs: Vec<(usize, usize)> = ends.iter().flat_map(|&t| others.clone().map(move |model| (t, model))).collect();
    let kept = products::products(&plan, &tensors, &kept, asked);
    let elementwise = elementwise(&plan, &material, &pairs)?;
    let token_rows = token_rows(&plan, &material, &steps)?;
    let vocabularies = vocabularies::read(&material, &plan)?;
    let listed = |at: usize| at >= plan.last();
    Ok(Measurements {
        models: given.iter().enumerate().map(|(at, checkpoint)| model(checkpoint, listed(at))).collect(),
        deduced,
        steps,
        left_out,
        growth,
        bytes_read: tensors::bytes_of(&plan, plan.units.iter()),
        tensors,
        kept,
        elementwise,
        token_rows,
        digests,
        found,
        relabelled: material.relabelled.iter().map(|(parent, _)| *parent).collect(),
        vocabularies,
        replay,
        plan,
    })
}

/// Measures all units of a plan.
fn units(plan: &Plan, material: &Material, reporter: &dyn Reporter) -> Result<(Vec<TensorFigures>, Vec<Kept>)> {
    let models = material.models();
    let one = |unit| tensors::measure_unit(unit, plan, &models, reporter);
    let all: Vec<(TensorFigures, Kept)> = plan.units.par_iter().map(one).collect::<Result<_>>()?;
    Ok(all.into_iter().unzip())
}

/// Reads the files of the series once more of which the MD5 is wanted; what cannot be read has none.
fn add_md5(series: &[&Checkpoint], digests: &mut [Vec<FileDigest>], wanted: &dyn Fn(&FileDigest) -> bool) {
    for (checkpoint, files) in series.iter().zip(digests) {
        for file in files.iter_mut().filter(|file| wanted(file)) {
            let shard = checkpoint.shards.iter().find(|shard| shard.name == file.name);
            file.md5 = shard.and_then(|shard| md5(&*shard.blob).ok());
        }
    }
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

/// Looks for a disguise of every reference, and writes the parents that have one in the subject's coordinates.
fn unmask(material: &mut Material) -> Result<Vec<Found>> {
    let Some(subject) = material.series.checkpoints.last() else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (index, reference) in material.references.iter().enumerate() {
        let tokens = vocabularies::token_rows(&material.series.checkpoints, reference);
        let found = search(subject, reference, tokens.as_ref(), &SearchRules::FIXED)?;
        let shown = found.relabelling.as_ref().filter(|r| index < material.parents && !r.changes.is_empty());
        if let Some(relabelling) = shown {
            material.relabelled.push((index, express(subject, &Arc::clone(reference), relabelling, tokens.as_ref())?));
        }
        let disguise = found.relabelling.map(|r| Disguise {
            frame: r.frame.name().to_owned(),
            layers: r.layers,
            changes: r.changes,
        });
        all.push(Found { observations: found.observations, disguise });
    }
    Ok(all)
}
