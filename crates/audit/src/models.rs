//! The models that a case names, opened.

use std::collections::BTreeMap;
use std::sync::Arc;

use scratchproof_case::{Case, Location, Subject};
use scratchproof_checkpoint::{Architectures, Checkpoint, LARGE, packaged_alike};
use scratchproof_disguise::settle;
use scratchproof_error::{Context, Error, Result};
use scratchproof_fingerprint::Fingerprint;
use scratchproof_measure::Models;
use scratchproof_source::{Access, LocalFile, plain};
use scratchproof_texts::text;

/// Checkpoints of a series, at most: every one is compared with every other.
const CHECKPOINTS: usize = 1_000;

/// Opens all of them, in one packaging.
pub(super) fn open(case: &Case, access: Access) -> Result<Models> {
    let Subject { checkpoints, .. } = &case.subject;
    if checkpoints.is_empty() {
        return Err(Error::usage(text!("error-audit/models/checkpoints-series-not-looked")));
    }
    if checkpoints.len() > CHECKPOINTS {
        return Err(Error::usage(text!(
            "error-audit/models/series-checkpoints-most-compared",
            checkpoints = checkpoints.len(),
            checkpoints_2 = CHECKPOINTS
        )));
    }
    if case.choice.sampling.is_some()
        && let Some(parent) = case.parents.iter().find(|parent| parent.fingerprint)
    {
        return Err(Error::usage(text!("error-audit/models/fingerprint-not-drawn", parent = &parent.name)));
    }
    let own = templates(case)?;
    let one = |location: &Location, role: String| -> Result<Checkpoint> {
        let mut checkpoint = open_at(location, role, access)?;
        if let Some(own) = &own {
            checkpoint.recognise(own);
        }
        Ok(checkpoint)
    };
    let mut series: Vec<Checkpoint> = checkpoints
        .iter()
        .map(|c| one(&c.location, c.step.map_or("subject".into(), |step| format!("checkpoint of step {step}"))))
        .collect::<Result<_>>()?;
    let mut fingerprints = BTreeMap::new();
    for (at, parent) in case.parents.iter().enumerate().filter(|(_, parent)| parent.fingerprint) {
        let read = Fingerprint::read(&parent.location.path)
            .context(|| text!("error-audit/models/parent", name = &parent.name))?;
        fingerprints.insert(at, read);
    }
    let parents = case.parents.iter().map(|p| {
        if p.fingerprint {
            let file = LocalFile::open(&p.location.path)?;
            return Ok(Checkpoint::unopened(p.location.written.clone(), Arc::new(file)));
        }
        one(&p.location, format!("parent {}", p.name))
    });
    let controls = case.controls.iter().map(|c| one(&c.location, format!("control {}", c.name)));
    let mut references: Vec<Checkpoint> = parents.chain(controls).collect::<Result<_>>()?;
    merge_adapters(case, &mut series, &mut references)?;
    let mut series: Vec<Arc<Checkpoint>> = series.into_iter().map(Arc::new).collect();
    let mut references: Vec<Arc<Checkpoint>> = references.into_iter().map(Arc::new).collect();
    // Whether a matrix is stored the other way round takes all of it.
    let turned = if case.choice.sampling.is_some() { LARGE } else { u64::MAX };
    let deduced = settle(&mut series, &mut references, turned)?;
    let (checkpoints, references) = packaged_alike(series, references);
    let drawn = |model: Checkpoint| match case.choice.sampling {
        Some(sampling) => model.sampled(sampling),
        None => Ok(model),
    };
    let checkpoints = checkpoints.into_iter().map(drawn).collect::<Result<Vec<_>>>()?;
    let references = references.into_iter().map(drawn).collect::<Result<Vec<_>>>()?;
    Ok(Models {
        checkpoints,
        steps: case.subject.checkpoints.iter().map(|c| c.step.unwrap_or(0)).collect(),
        references: references.into_iter().map(Arc::new).collect(),
        parents: case.parents.len(),
        deduced,
        fingerprints,
    })
}

/// An adapter is judged as the model that it makes with its base, if that is among the models of the case.
fn merge_adapters(case: &Case, series: &mut [Checkpoint], references: &mut [Checkpoint]) -> Result<()> {
    let names: Vec<&str> =
        case.parents.iter().map(|p| p.name.as_str()).chain(case.controls.iter().map(|c| c.name.as_str())).collect();
    for own in series.iter_mut().filter(|own| own.adapter.is_some()) {
        if let Some(merged) = own.merged_with_one_of(names.iter().copied().zip(&*references))? {
            *own = merged;
        }
    }
    for at in 0..references.len() {
        if references[at].adapter.is_some() {
            let bases = names.iter().copied().zip(&*references).enumerate().filter(|(other, _)| *other != at);
            let subject = series.last().map(|last| (case.subject.name.as_str(), last));
            if let Some(merged) = references[at].merged_with_one_of(bases.map(|(_, base)| base).chain(subject))? {
                references[at] = merged;
            }
        }
    }
    Ok(())
}

/// A longer file of templates is none.
const TEMPLATES: u64 = 16 << 20;

/// The built-in templates and the ones of the case file, if it names any.
fn templates(case: &Case) -> Result<Option<Architectures>> {
    let Some(location) = &case.subject.architecture else { return Ok(None) };
    let shown = location.written.as_str();
    let text = plain::text(&location.path, TEMPLATES)?;
    let name = location.path.file_stem().map_or("architecture".into(), |stem| stem.to_string_lossy());
    Architectures::with(&name, &text).context(|| shown.to_owned()).map(Some)
}

/// Opens one model; `role` says in messages what it is for.
pub(super) fn open_at(location: &Location, role: String, access: Access) -> Result<Checkpoint> {
    if location.scheme().is_some() {
        // Named as its place is: at the commit that was read, without what may be secret in an address.
        return Checkpoint::open_named(&location.written, access).context(|| role);
    }
    let mut checkpoint = Checkpoint::open(&location.path).context(|| role)?;
    // The report names models as the case file does, whatever folder the audit is run from.
    checkpoint.uri.clone_from(&location.written);
    Ok(checkpoint)
}
