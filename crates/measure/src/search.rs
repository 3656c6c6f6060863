//! The search for a disguise of every reference: pieces that rest on nothing but the models, and on which the units rest.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::journal::{Journal, Piece, kept};
use super::pieces::Pieces;
use super::{Reporter, vocabularies};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_disguise::{self as disguise, Movements, Opened, TokenRows, express, injections, search_in};
use scratchproof_error::Result;
use scratchproof_fingerprint::Fingerprint;
use scratchproof_measurements::{Added, Disguise, Found, Injection, Observation, SearchRules};
use scratchproof_plan::Material;

/// Residual axes up to which references are searched side by side: of longer ones each search has threads enough for its
/// products, and two at a time would hold the fits of both.
const ABREAST: usize = 512;

/// Version of what is looked at: part of every piece's key, so that a store that was filled by another is not used.
const RULES: &str =
    "every layer and expert, half of a parent by chance, long axes glanced at, the first checkpoint too";

/// What is asked of one reference.
#[derive(Clone, Debug, Default)]
pub struct Searched {
    /// The search; none of one of which only figures are known.
    pub search: Option<Piece>,
    /// What the search's silence is worth. It is asked of parents: a control clears nobody.
    pub injected: Option<Piece>,
    /// What the search says of the first checkpoint, and of what was added up to each of the others. Asked of parents; of
    /// controls where a parent's answers stand out.
    pub added: Vec<Piece>,
}

/// The searches of the references, in their order.
pub fn planned(material: &Material, fingerprints: &BTreeMap<usize, Fingerprint>) -> Vec<Searched> {
    let series = &material.series.checkpoints;
    let Some(subject) = series.last() else { return Vec::new() };
    let rules = serde_json::to_string(&SearchRules::FIXED).unwrap_or_default();
    let one = |(index, reference): (usize, &Arc<Checkpoint>)| {
        if fingerprints.contains_key(&index) {
            return Searched::default();
        }
        let both = Pieces::of(series.iter().chain([reference.as_ref()]));
        let alone = Pieces::of(std::iter::once(reference.as_ref()));
        let hidden = format!("{:?}", subject.hidden_size());
        let injected = || alone.whole(&format!("injected-{index:04}"), &[&rules, RULES, &hidden]);
        Searched {
            search: Some(both.whole(&format!("search-{index:04}"), &[&rules, RULES])),
            injected: (index < material.parents).then(injected),
            added: (0..series.len())
                .filter(|_| series.len() > 1)
                .map(|to| {
                    let three = Pieces::of(series[to.saturating_sub(1)..=to].iter().chain([reference.as_ref()]));
                    three.whole(&format!("added-{index:04}-{to:05}"), &[&rules, RULES])
                })
                .collect(),
        }
    };
    material.references.iter().enumerate().map(one).collect()
}

/// What the search of one model gave, with its rows of the subject's tokens.
type One = (disguise::Found, Option<TokenRows>);

fn one(material: &Material, index: usize, opened: &Opened<'_>, piece: &Piece, journal: &dyn Journal) -> Result<One> {
    let reference = &material.references[index];
    let tokens = vocabularies::token_rows(&material.series.checkpoints, reference);
    let found = kept(journal, piece, || search_in(opened, reference, tokens.as_ref(), &SearchRules::FIXED))?;
    Ok((found, tokens))
}

/// Makes the search of one reference, unless the journal has it.
pub fn search(material: &Material, index: usize, piece: &Piece, journal: &dyn Journal) -> Result<()> {
    let Some(subject) = material.series.checkpoints.last() else { return Ok(()) };
    one(material, index, &Opened::new(subject)?, piece, journal).map(|_| ())
}

/// What the silence of the search of one reference is worth.
pub fn injected(material: &Material, index: usize, piece: &Piece, journal: &dyn Journal) -> Result<Vec<Injection>> {
    let Some(subject) = material.series.checkpoints.last() else { return Ok(Vec::new()) };
    let reference = &material.references[index];
    kept(journal, piece, || injections(reference, subject.hidden_size(), &SearchRules::FIXED))
}

/// What the search says of what was added up to checkpoint `to`, or of the first.
pub fn added(material: &Material, index: usize, to: usize, piece: &Piece, journal: &dyn Journal) -> Result<()> {
    added_to(&mut None, material, (index, to), piece, journal).map(|_| ())
}

fn added_to<'m>(
    opened: &mut Option<Movements<'m>>,
    material: &'m Material,
    (index, to): (usize, usize),
    piece: &Piece,
    journal: &dyn Journal,
) -> Result<Added> {
    kept(journal, piece, || {
        let series = &material.series.checkpoints;
        let reference = match opened {
            Some(opened) => opened,
            none => none.insert(Movements::new(&material.references[index])?),
        };
        let observations = match to.checked_sub(1) {
            Some(from) => reference.between(&series[from], &series[to], &SearchRules::FIXED)?,
            None => reference.within(&series[to], &SearchRules::FIXED)?,
        };
        Ok(Added { to, observations })
    })
}

/// Asks of every parent whether it was added between two checkpoints, and of the controls in the intervals that stand out.
fn additions(
    material: &Material,
    searched: &[Searched],
    journal: &dyn Journal,
    reporter: &dyn Reporter,
) -> Result<Vec<Vec<Added>>> {
    let all = material.series.checkpoints.len();
    let all = if all > 1 { all } else { 0 };
    reporter.phase("looking at what was added between checkpoints", (all * material.parents) as u64);
    let stands_out = |o: &Observation| o.log10_p <= SearchRules::FIXED.shown_log10_p;
    let mut wanted: Vec<usize> = (0..all).collect();
    let mut all = Vec::new();
    for (index, own) in searched.iter().enumerate() {
        if index == material.parents {
            let noted =
                |to: &usize| all.iter().flatten().any(|a: &Added| a.to == *to && a.observations.iter().any(stands_out));
            wanted.retain(noted);
        }
        let mut opened = None;
        let mut found = Vec::new();
        for to in wanted.iter().filter(|_| !own.added.is_empty()) {
            found.push(added_to(&mut opened, material, (index, *to), &own.added[*to], journal)?);
            reporter.advance(1);
        }
        all.push(found);
    }
    Ok(all)
}

/// Makes the searches of some references, and writes the parents that are in disguise in the subject's coordinates.
pub fn relabel(
    material: &mut Material,
    searched: &[Searched],
    wanted: Range<usize>,
    journal: &dyn Journal,
    reporter: &dyn Reporter,
) -> Result<Vec<Option<disguise::Found>>> {
    let Some(subject) = material.series.checkpoints.last() else { return Ok(Vec::new()) };
    let opened = Opened::new(subject)?;
    reporter.phase("looking for disguises", wanted.len() as u64);
    let made = |index: usize| {
        let Some(piece) = &searched[index].search else { return Ok(None) };
        let found = one(material, index, &opened, piece, journal)?;
        reporter.advance(1);
        Ok(Some(found))
    };
    let longest = material.references.iter().map(|model| model.hidden_size().unwrap_or(0)).max();
    let abreast = longest.into_iter().chain(subject.hidden_size()).all(|hidden| hidden <= ABREAST);
    let all: Vec<Option<One>> = if abreast {
        wanted.into_par_iter().map(made).collect::<Result<_>>()?
    } else {
        wanted.map(made).collect::<Result<_>>()?
    };
    drop(opened);
    let mut found = Vec::new();
    for (index, one) in all.into_iter().enumerate() {
        let Some((own, tokens)) = one else {
            found.push(None);
            continue;
        };
        let shown = own.relabelling.as_ref().filter(|r| index < material.parents && !r.changes.is_empty());
        if let Some(relabelling) = shown {
            let reference = Arc::clone(&material.references[index]);
            material.relabelled.push((index, express(subject, &reference, relabelling, tokens.as_ref())?));
        }
        found.push(Some(own));
    }
    Ok(found)
}

/// Looks for a disguise of every reference, and asks what silence is worth.
pub fn unmask(
    material: &mut Material,
    fingerprints: &BTreeMap<usize, Fingerprint>,
    searched: &[Searched],
    journal: &dyn Journal,
    reporter: &dyn Reporter,
) -> Result<Vec<Found>> {
    let found = relabel(material, searched, 0..material.references.len(), journal, reporter)?;
    let Some(subject) = material.series.checkpoints.last() else { return Ok(Vec::new()) };
    let additions = additions(material, searched, journal, reporter)?;
    let mut observed = Vec::new();
    for ((index, found), added) in found.into_iter().enumerate().zip(additions) {
        let Some(found) = found else {
            observed.extend(fingerprints.get(&index).map(|own| scratchproof_fingerprint::found(subject, own)));
            continue;
        };
        let disguise = found.relabelling.as_ref().map(|r| Disguise {
            frame: r.frame.name().to_owned(),
            layers: r.layers.clone(),
            changes: r.changes.clone(),
        });
        let piece = searched[index].injected.as_ref();
        let injected = piece.map_or(Ok(Vec::new()), |piece| injected(material, index, piece, journal))?;
        let disguise::Found { observations, heads, looked, .. } = found;
        observed.push(Ok(Found { observations, heads, disguise, injected, looked, added }));
    }
    observed.into_iter().collect()
}
