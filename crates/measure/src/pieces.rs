//! The work cut into pieces that are finished as a whole: what an interruption may cost, and what another machine may do.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::codec::{decode, encode};
use super::hashing::{Fed, Hashing};
use super::journal::{Journal, Piece, Stored, keep, stored};
use super::pass::{Made, Pass, Wanted};
use super::rehearsal::run;
use super::{Job, Prepared, Reporter, lines, md5, pool, tensors};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::Result;
use scratchproof_measurements::{Elementwise, FileDigest, Kept, Plan, TensorFigures, Unit};
use scratchproof_plan::identity;

/// Bytes of a piece: a sixty-fourth of all, but not less than the first and not more than the second.
const BYTES: (u64, u64) = (1 << 20, 16 << 30);

/// Which figures are made of a unit and of kept rows: work that was left off by a version that made fewer is done anew, and a finished folder
/// of one is read as it is.
pub const FIGURES: &str = "2";

/// Models whose files are hashed together: that many lanes are faster than one after the other.
pub const HASHED: usize = 8;

/// Some units of the plan, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub number: usize,
    /// Positions of its units.
    pub units: Range<usize>,
    /// Bytes of the models' own files that are read for them.
    pub bytes: u64,
}

/// The units of a plan in parts of about equal bytes: the same parts for every machine.
#[must_use]
pub fn parts(plan: &Plan) -> Vec<Part> {
    let bytes = |at: usize| tensors::bytes_of(plan, std::iter::once(&plan.units[at]));
    let all: u64 = (0..plan.units.len()).map(bytes).sum();
    let wanted = (all / 64).clamp(BYTES.0, BYTES.1);
    let mut parts: Vec<Part> = Vec::new();
    for at in 0..plan.units.len() {
        match parts.last_mut() {
            // What has no bytes of its own, a layer that only a parent in disguise has, is no part by itself: the parts are
            // the same before and after the search.
            Some(last) if last.bytes < wanted || bytes(at) == 0 => {
                last.bytes += bytes(at);
                last.units.end = at + 1;
            }
            _ => parts.push(Part { number: parts.len(), units: at..at + 1, bytes: bytes(at) }),
        }
    }
    parts
}

/// What decides the figures of all units, known before any is measured and before a disguise is looked for.
pub struct Keys {
    /// Where the given models are.
    uris: Vec<String>,
    /// Of each the hash of its headers.
    identities: Vec<String>,
    /// By unit over given models its id, and the models that have it.
    units: Vec<(String, Vec<usize>)>,
    /// Keys of the searches of the parents: what is found decides which models are written in the subject's coordinates.
    searches: Vec<String>,
    /// Models that may take part in every unit that way.
    everywhere: Vec<usize>,
}

impl Keys {
    /// Of a plan of the given models, and the searches of the parents by their place among the references.
    pub fn of(plan: &Plan, given: &[&Checkpoint], searches: &[(usize, &Piece)]) -> Self {
        let series = if searches.is_empty() { 0..0 } else { 0..plan.series };
        Self {
            uris: given.iter().map(|model| model.uri.clone()).collect(),
            identities: given.iter().map(|model| identity(model)).collect(),
            units: plan.units.iter().map(|u| (u.id.clone(), u.members.iter().map(|m| m.model).collect())).collect(),
            everywhere: series.chain(searches.iter().map(|(at, _)| plan.series + at)).collect(),
            searches: searches.iter().map(|(_, piece)| piece.key.clone()).collect(),
        }
    }
}

impl Part {
    /// The piece of its sums.
    #[must_use]
    pub fn piece(&self, keys: &Keys) -> Piece {
        let own = keys.units.get(self.units.start..self.units.end.min(keys.units.len())).unwrap_or_default();
        let models: BTreeSet<usize> =
            own.iter().flat_map(|(_, models)| models).chain(&keys.everywhere).copied().collect();
        let uris = models.iter().map(|model| keys.uris[*model].clone()).collect();
        let identities = models.iter().map(|model| keys.identities[*model].as_str());
        let ids = own.iter().map(|(id, _)| id.as_str());
        let searches = keys.searches.iter().map(String::as_str);
        Piece::new(format!("figures-{:05}", self.number), uris, identities.chain(ids).chain(searches).chain([FIGURES]))
    }

    /// The piece of its element-wise comparison.
    #[must_use]
    pub fn elementwise(&self, keys: &Keys) -> Piece {
        let figures = self.piece(keys);
        let name = format!("elementwise-{:05}", self.number);
        Piece::new(name, figures.models.clone(), [figures.key.as_str()])
    }
}

/// Pieces over some models.
pub struct Pieces {
    uris: Vec<String>,
    identities: Vec<String>,
}

impl Pieces {
    pub fn of<'a>(models: impl Iterator<Item = &'a Checkpoint>) -> Self {
        let (uris, identities) = models.map(|model| (model.uri.clone(), identity(model))).unzip();
        Self { uris, identities }
    }

    /// A piece that all of them and `more` decide.
    pub fn whole(&self, name: &str, more: &[&str]) -> Piece {
        Piece::new(name, self.uris.clone(), self.identities.iter().map(String::as_str).chain(more.iter().copied()))
    }

    /// Digests of these models, which are the so many-th group.
    pub fn digests_piece(&self, at: usize) -> Piece {
        self.whole(&format!("digests-{at:04}"), &[])
    }

    /// Reads the files of the series once more of which the MD5 is wanted; what cannot be read has none.
    #[allow(clippy::unused_self, reason = "digests are pieces of the whole too")]
    pub fn add_md5(&self, series: &[&Checkpoint], digests: &mut [Vec<FileDigest>], job: &Job) {
        for (checkpoint, files) in series.iter().zip(digests) {
            for file in files.iter_mut().filter(|file| (job.wants_md5)(file)) {
                let shard = checkpoint.shards.iter().find(|shard| shard.name == file.name);
                file.md5 = shard.and_then(|shard| md5(&*shard.blob).ok());
            }
        }
    }
}

/// What one pass over all parts gives.
pub struct Whole {
    pub tensors: Vec<TensorFigures>,
    pub rows: Vec<Kept>,
    pub elementwise: Vec<Elementwise>,
    /// By given model.
    pub digests: Vec<Vec<FileDigest>>,
}

/// Measures all parts and takes the digests of all files on the way. What the journal has is not made again; files of which
/// it has no digest are read for that where it has the figures.
pub fn whole(prepared: &Prepared, parts: &[Part], journal: &dyn Journal, reporter: &dyn Reporter) -> Result<Whole> {
    let Prepared { plan, material, .. } = prepared;
    let mut all: Vec<Made> = Vec::new();
    for own in parts {
        let elementwise = stored(journal, &own.elementwise(&prepared.keys))?;
        let figures = match journal.get(&own.piece(&prepared.keys))? {
            Some(stored) => {
                reporter.advance(own.bytes);
                Some(decode(plan, own.units.start, &plan.units[own.units.clone()], stored)?)
            }
            None => None,
        };
        all.push(Made { figures, elementwise });
    }
    let lacking = parts.iter().zip(&all);
    let wanted: Vec<Wanted> = lacking
        .map(|(part, made)| Wanted {
            units: part.units.clone(),
            figures: made.figures.is_none(),
            elementwise: made.elementwise.is_none(),
        })
        .collect();
    let given = material.given();
    let groups: Vec<(Piece, &[&Checkpoint])> = given
        .chunks(HASHED)
        .enumerate()
        .map(|(at, some)| (Pieces::of(some.iter().copied()).digests_piece(at), some))
        .collect();
    let mut digests: Vec<Option<Vec<Vec<FileDigest>>>> = Vec::new();
    for (piece, _) in &groups {
        digests.push(stored(journal, piece)?);
    }
    let unknown = |(model, _): &(usize, &Checkpoint)| digests[model / HASHED].is_none();
    let unknown: Vec<(usize, &Checkpoint)> = given.iter().copied().enumerate().filter(unknown).collect();
    let units = wanted.iter().filter(|own| own.figures).flat_map(|own| &plan.units[own.units.clone()]);
    let hashing = Hashing::new(&unknown, units.flat_map(spans));
    for (own, new) in all.iter_mut().zip(made(prepared, parts, &wanted, journal, reporter, &|fed| hashing.feed(fed))?) {
        own.figures = own.figures.take().or(new.figures);
        own.elementwise = own.elementwise.take().or(new.elementwise);
    }
    let mut taken = hashing.finish()?.into_iter();
    for (own, (piece, models)) in digests.iter_mut().zip(&groups).filter(|(own, _)| own.is_none()) {
        let new: Vec<Vec<FileDigest>> = taken.by_ref().take(models.len()).collect();
        keep(journal, piece, &new)?;
        *own = Some(new);
    }
    let (mut figures, mut elementwise) = (Vec::new(), Vec::new());
    for made in all {
        figures.extend(made.figures.into_iter().flatten());
        elementwise.extend(made.elementwise.into_iter().flatten());
    }
    pool::gather(&plan.units, &mut figures);
    let (tensors, rows) = figures.into_iter().unzip();
    Ok(Whole { tensors, rows, elementwise, digests: digests.into_iter().flatten().flatten().collect() })
}

/// The bytes of every copy of a tensor: model and file, and where in it.
fn spans(unit: &Unit) -> impl Iterator<Item = ((usize, usize), Range<u64>)> {
    unit.members.iter().map(|member| {
        let (offset, length) = tensors::place(member, &(0..unit.elements()));
        ((member.model, member.shard), offset..offset + length as u64)
    })
}

/// Measures the units of one part, unless the journal has them.
pub fn figures(prepared: &Prepared, part: &Part, journal: &dyn Journal, reporter: &dyn Reporter) -> Result<()> {
    if journal.get(&part.piece(&prepared.keys))?.is_some() {
        reporter.advance(part.bytes);
        return Ok(());
    }
    let wanted = Wanted { units: part.units.clone(), figures: true, elementwise: false };
    made(prepared, std::slice::from_ref(part), &[wanted], journal, reporter, &|_| Ok(())).map(|_| ())
}

/// Compares one part element by element, unless the journal has it.
pub fn elementwise(prepared: &Prepared, part: &Part, journal: &dyn Journal, reporter: &dyn Reporter) -> Result<()> {
    if journal.get(&part.elementwise(&prepared.keys))?.is_some() {
        return Ok(());
    }
    let wanted = Wanted { units: part.units.clone(), figures: false, elementwise: true };
    made(prepared, std::slice::from_ref(part), &[wanted], journal, reporter, &|_| Ok(())).map(|_| ())
}

/// Makes what is wanted of some parts and keeps each as it is whole.
fn made(
    prepared: &Prepared,
    parts: &[Part],
    wanted: &[Wanted],
    journal: &dyn Journal,
    reporter: &dyn Reporter,
    hear: &(dyn Fn(Vec<Fed<'_>>) -> Result<()> + Sync),
) -> Result<Vec<Made>> {
    let Prepared { plan, material, keys, .. } = prepared;
    // The first and the final checkpoint with every reference.
    let others = plan.series..plan.series + plan.references;
    let pairs: Vec<(usize, usize)> = plan.ends().flat_map(|t| others.clone().map(move |model| (t, model))).collect();
    let models = material.models();
    let shares = lines::shares(plan, &models);
    let pass = Pass { plan, models: &models, pairs: &pairs, shares: &shares, hear, reporter };
    let all: Vec<Mutex<Made>> = wanted.iter().map(|_| Mutex::default()).collect();
    run(&pass, wanted, &|at, made| {
        let part = &parts[at];
        if let Some(figures) = made.figures.as_ref().filter(|_| journal.keeps()) {
            journal.put(&part.piece(keys), &encode(plan, part.units.start, figures)?)?;
        }
        if let Some(elementwise) = &made.elementwise {
            keep(journal, &part.elementwise(keys), elementwise)?;
        }
        *all[at].lock().unwrap_or_else(PoisonError::into_inner) = made;
        Ok(())
    })?;
    Ok(all.into_iter().map(|made| made.into_inner().unwrap_or_else(PoisonError::into_inner)).collect())
}

/// The figures of a part as they were kept, without its rows.
///
/// # Errors
/// If they do not fit the plan.
pub fn figures_of(plan: &Plan, part: &Part, stored: Stored) -> Result<Vec<TensorFigures>> {
    let units = &plan.units[part.units.clone()];
    let all = decode(plan, part.units.start, units, Stored { rows: Vec::new(), ..stored })?;
    Ok(all.into_iter().map(|(figures, _)| figures).collect())
}
