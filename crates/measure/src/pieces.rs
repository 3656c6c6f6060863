//! The work cut into pieces that are finished as a whole: what an interruption may cost, and what another machine may do.

use std::collections::BTreeSet;
use std::ops::Range;

use rayon::prelude::*;

use super::codec::{decode, encode};
use super::journal::{Journal, Piece, Stored, kept};
use super::{Job, Prepared, Reporter, digests, md5, pool, tensors};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::Result;
use scratchproof_measurements::{Elementwise, FileDigest, Kept, Plan, TensorFigures};
use scratchproof_plan::identity;

/// Bytes of a piece: a sixty-fourth of all, but not less than the first and not more than the second.
const BYTES: (u64, u64) = (1 << 20, 16 << 30);

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
        Piece::new(format!("figures-{:05}", self.number), uris, identities.chain(ids).chain(searches))
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

    /// Digests of the models' files, some models at a time.
    #[allow(clippy::unused_self, reason = "digests are pieces of the whole too")]
    pub fn digests(&self, models: &[&Checkpoint], journal: &dyn Journal) -> Result<Vec<Vec<FileDigest>>> {
        let mut all = Vec::new();
        for (at, some) in models.chunks(HASHED).enumerate() {
            let own = Self::of(some.iter().copied());
            all.extend(kept(journal, &own.digests_piece(at), || digests(some))?);
        }
        Ok(all)
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

/// Measures the units of one part, or takes them from the journal.
pub fn part(
    prepared: &Prepared,
    part: &Part,
    journal: &dyn Journal,
    reporter: &dyn Reporter,
) -> Result<Vec<(TensorFigures, Kept)>> {
    let Prepared { plan, material, .. } = prepared;
    let units = &plan.units[part.units.clone()];
    let piece = part.piece(&prepared.keys);
    if let Some(stored) = journal.get(&piece)? {
        reporter.advance(part.bytes);
        return decode(plan, part.units.start, units, stored);
    }
    let models = material.models();
    let one = |unit| tensors::measure_unit(unit, plan, &models, reporter);
    let mut all: Vec<(TensorFigures, Kept)> = units.par_iter().map(one).collect::<Result<_>>()?;
    pool::gather(units, &mut all);
    if journal.keeps() {
        journal.put(&piece, &encode(plan, part.units.start, &all)?)?;
    }
    Ok(all)
}

/// Measures all parts.
pub fn figures(
    prepared: &Prepared,
    parts: &[Part],
    journal: &dyn Journal,
    reporter: &dyn Reporter,
) -> Result<(Vec<TensorFigures>, Vec<Kept>)> {
    let all: Vec<Vec<(TensorFigures, Kept)>> =
        parts.par_iter().map(|own| part(prepared, own, journal, reporter)).collect::<Result<_>>()?;
    let mut all: Vec<(TensorFigures, Kept)> = all.into_iter().flatten().collect();
    pool::gather(&prepared.plan.units, &mut all);
    Ok(all.into_iter().unzip())
}

/// Compares the first and the final checkpoint with every reference, element by element, part by part.
pub fn elementwise(
    prepared: &Prepared,
    parts: &[Part],
    journal: &dyn Journal,
    reporter: &dyn Reporter,
) -> Result<Vec<Elementwise>> {
    let plan = &prepared.plan;
    let ends: &[usize] = if plan.last() > 0 { &[0, plan.last()] } else { &[0] };
    let others = plan.series..plan.series + plan.references;
    let pairs: Vec<(usize, usize)> = ends.iter().flat_map(|&t| others.clone().map(move |model| (t, model))).collect();
    let one = |part: &Part| {
        let found = kept(journal, &part.elementwise(&prepared.keys), || {
            super::elementwise(plan, &prepared.material, &pairs, part.units.clone())
        });
        reporter.advance(1);
        found
    };
    let all: Vec<Vec<Elementwise>> = parts.par_iter().map(one).collect::<Result<_>>()?;
    Ok(all.into_iter().flatten().collect())
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
