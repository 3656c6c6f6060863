//! Record and weights of a case: read and measured, or taken from a store.

use std::path::Path;

use scratchproof_case::{Case, Location};
use scratchproof_error::{Error, Result};
use scratchproof_facts::time;
use scratchproof_folder::Folder;
use scratchproof_measure::{Asked, Job, Journal, Piece, Reporter, beside, digests, md5, measure, replayed};
use scratchproof_measurements::{FileDigest, Measurements, Model, SampleRecord, manifest};
use scratchproof_source::Access;
use scratchproof_store::{Seen, Store};
use scratchproof_texts::text;

use super::read::Read;
use super::{models, record, witness};

/// What of an audit came from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Whether everything did: no weight was opened.
    pub whole: bool,
    /// Pieces that were finished before.
    pub finished: usize,
    /// Pieces that were measured now.
    pub measured: usize,
}

/// Reads the record of a case and measures its weights.
pub fn measured(
    case: &Case,
    access: Access,
    journal: &dyn Journal,
    reporter: &dyn Reporter,
) -> Result<(Measurements, Read)> {
    reporter.phase("opening the models", 0);
    let models = models::open(case, access)?;
    let replay = replayed(case, access)?;
    let config = models.checkpoints.last().and_then(|last| last.config.clone());
    reporter.phase("reading the record", 0);
    let mut read = record::read(case, access, config.as_ref())?;
    let asked = Asked { series: case.subject.is_series(), every_pair: false, power: true };
    let runs = &read.reading.record.runs;
    let wants_md5 = |file: &FileDigest| time::wants_md5(runs, file);
    let measured = measure(models, replay, &Job { asked, wants_md5: &wants_md5, journal, reporter })?;
    hear(case, access, &mut read, &measured)?;
    Ok((measured, read))
}

/// The outside witnesses, which may be over checkpoints.
fn hear(case: &Case, access: Access, read: &mut Read, measured: &Measurements) -> Result<()> {
    let targets = witness::targets(case, &read.reading, &measured.steps, &measured.digests);
    read.hear(case, access, measured.subject().config.as_ref(), &targets)
}

/// The same with a store in a folder.
pub fn from_store(
    case: &Case,
    access: Access,
    folder: &Folder,
    check: bool,
    reporter: &dyn Reporter,
) -> Result<(Measurements, Read, Kept)> {
    let seen: Vec<Seen> = locations(case).map(|at| Seen::at(&at.written, local(at))).collect();
    let store = Store::open(folder, &seen)?;
    let question = question(case);
    let mut complete = store.complete(&question)?;
    if let Some(measured) = complete.as_ref().filter(|_| check) {
        let changed = altered(case, access, measured)?;
        if !changed.is_empty() {
            store.forget(&changed)?;
            complete = None;
        }
    }
    let whole = complete.is_some();
    let (measured, read) = if let Some(mut measured) = complete {
        let mut read = record::read(case, access, measured.subject().config.as_ref())?;
        add_md5(case, access, &mut measured, &read);
        hear(case, access, &mut read, &measured)?;
        (measured, read)
    } else {
        let (measured, read) = measured(case, access, &store, reporter)?;
        store.finish(&question, &measured)?;
        (measured, read)
    };
    let (finished, now) = store.counts();
    Ok((measured, read, Kept { whole, finished, measured: now }))
}

/// What is judged of a store alone, without a model; nothing if the store is not whole or answers another question.
pub(super) fn stored(case: &Case, access: Access, folder: &Folder) -> Result<Option<(Measurements, Read)>> {
    let store = Store::open(folder, &[])?;
    let Some(mut measured) = store.complete(&question(case))? else { return Ok(None) };
    let mut read = record::read(case, access, measured.subject().config.as_ref())?;
    add_md5(case, access, &mut measured, &read);
    hear(case, access, &mut read, &measured)?;
    Ok(Some((measured, read)))
}

/// The digests that the models have now, by their places as the case names them: of each its one digest as the report
/// lists it, `None` if its configuration or tokenizer is not what was measured.
pub(super) fn digests_now(
    case: &Case,
    access: Access,
    measured: &Measurements,
) -> Vec<(String, Result<Option<String>>)> {
    if let Some(sample) = &measured.sample {
        return drawn_now(case, access, measured, sample);
    }
    let now = |model: &Model| -> Result<Option<String>> {
        let Some(location) = locations(case).find(|location| location.written == model.uri) else {
            return Err(Error::usage(text!("error-audit/measuring/case-file-names-no")));
        };
        let checkpoint = models::open_at(location, model.uri.clone(), access)?;
        let digest = manifest(&digests(&[&checkpoint])?.pop().unwrap_or_default());
        let same = model.beside.is_empty() || beside(&checkpoint) == model.beside;
        Ok((same && checkpoint.config == model.config).then_some(digest))
    };
    measured.models.iter().map(|model| (model.uri.clone(), now(model))).collect()
}

/// The same where rows were drawn: there are no digests of files, and what was read must be what it was.
fn drawn_now(
    case: &Case,
    access: Access,
    measured: &Measurements,
    sample: &SampleRecord,
) -> Vec<(String, Result<Option<String>>)> {
    let all = measured.models.iter().zip(&sample.drawn);
    let opened = models::open(case, access);
    let now = |(model, drawn): (&Model, &Vec<FileDigest>)| -> Result<Option<String>> {
        let models = opened.as_ref().map_err(|error| Error::input(error.to_string()))?;
        let mut there = models.checkpoints.iter().chain(models.references.iter().map(AsRef::as_ref));
        let checkpoint = there.find(|checkpoint| checkpoint.uri == model.uri);
        let checkpoint = checkpoint.ok_or_else(|| Error::usage(text!("error-audit/measuring/case-file-names-no")))?;
        let now = digests(&[checkpoint])?.pop().unwrap_or_default();
        let beside = model.beside.is_empty() || beside(checkpoint) == model.beside;
        let same = now == *drawn && beside && checkpoint.config == model.config;
        // The report has no digest of it.
        Ok(Some(if same { String::new() } else { "another".to_owned() }))
    };
    all.map(|one| (one.0.uri.clone(), now(one))).collect()
}

/// Where the models of a case are, in its order.
pub fn locations(case: &Case) -> impl Iterator<Item = &Location> {
    let references = case.parents.iter().chain(&case.controls).map(|reference| &reference.location);
    case.subject.checkpoints.iter().map(|entry| &entry.location).chain(references)
}

/// The path of a model on this computer; of an address none.
pub fn local(location: &Location) -> &Path {
    if location.scheme().is_some() { Path::new("") } else { &location.path }
}

/// What is asked of weights: the models, their steps and the declared start; never names, dates or thresholds.
pub fn question(case: &Case) -> Piece {
    let uris: Vec<String> = locations(case).map(|location| location.written.clone()).collect();
    let steps = format!("{:?}", case.subject.checkpoints.iter().map(|entry| entry.step).collect::<Vec<_>>());
    let counts = format!("{} {}", case.parents.len(), case.controls.len());
    let init = format!(
        "{:?}",
        case.subject.init.as_ref().map(|init| (
            &init.seed,
            &init.framework,
            init.recipe.as_ref().map(|recipe| &recipe.written)
        ))
    );
    // Of what is read whole nothing is added: stores of such cases stay good.
    let drawn = case.choice.sampling.map(|sampling| format!("{sampling:?}"));
    let parts: Vec<String> = uris.iter().cloned().chain([steps, counts, init]).chain(drawn).collect();
    Piece::new("measurements", uris, parts.iter().map(String::as_str))
}

/// Models whose files do not have the digests that they had.
fn altered(case: &Case, access: Access, measured: &Measurements) -> Result<Vec<String>> {
    let models = models::open(case, access)?;
    let mut changed = Vec::new();
    let there = measured.sample.as_ref().map_or(&measured.digests, |sample| &sample.drawn);
    for (own, there) in measured.models.iter().zip(there) {
        let mut all = models.checkpoints.iter().chain(models.references.iter().map(AsRef::as_ref));
        let Some(checkpoint) = all.find(|checkpoint| checkpoint.uri == own.uri) else { continue };
        let now = digests(&[checkpoint])?.pop().unwrap_or_default();
        let equal = now.len() == there.len() && now.iter().zip(there).all(|(a, b)| a.sha256 == b.sha256);
        if !equal {
            changed.push(own.uri.clone());
        }
    }
    Ok(changed)
}

/// The MD5 of files that another log names than the one that was there when they were measured; a file that is not there has
/// none.
fn add_md5(case: &Case, access: Access, measured: &mut Measurements, read: &Read) {
    let runs = &read.reading.record.runs;
    for (model, files) in measured.models.iter().zip(&mut measured.digests).take(measured.plan.series) {
        if !files.iter().any(|file| file.md5.is_none() && time::wants_md5(runs, file)) {
            continue;
        }
        let entry = case.subject.checkpoints.iter().find(|entry| entry.location.written == model.uri);
        let opened = entry.and_then(|entry| models::open_at(&entry.location, model.uri.clone(), access).ok());
        let Some(checkpoint) = opened else { continue };
        for file in files.iter_mut().filter(|file| file.md5.is_none() && time::wants_md5(runs, file)) {
            let shard = checkpoint.shards.iter().find(|shard| shard.name == file.name);
            file.md5 = shard.and_then(|shard| md5(&*shard.blob).ok());
        }
    }
}
