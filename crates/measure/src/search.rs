//! The search for a disguise of every reference: pieces that rest on nothing but the models, and on which the units rest.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::journal::{Journal, Piece, kept};
use super::pieces::Pieces;
use super::{Reporter, vocabularies};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_disguise::{self as disguise, Opened, TokenRows, express, injections, search_in};
use scratchproof_error::Result;
use scratchproof_fingerprint::Fingerprint;
use scratchproof_measurements::{Disguise, Found, Injection, SearchRules};
use scratchproof_plan::Material;

/// Residual axes up to which references are searched side by side: of longer ones each search has threads enough for its
/// products, and two at a time would hold the fits of both.
const ABREAST: usize = 512;

/// Version of what is looked at: part of every piece's key, so that a store that was filled by another is not used.
const RULES: &str = "every layer and expert";

/// What is asked of one reference.
#[derive(Clone, Debug, Default)]
pub struct Searched {
    /// The search; none of one of which only figures are known.
    pub search: Option<Piece>,
    /// What the search's silence is worth. It is asked of parents: a control clears nobody.
    pub injected: Option<Piece>,
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
    let mut observed = Vec::new();
    for (index, found) in found.into_iter().enumerate() {
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
        observed.push(Ok(Found { observations, heads, disguise, injected, looked }));
    }
    observed.into_iter().collect()
}
