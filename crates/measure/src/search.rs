//! The search for a disguise of every reference.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::journal::{Journal, kept};
use super::pieces::Pieces;
use super::{Reporter, vocabularies};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_disguise::{self as disguise, Opened, TokenRows, express, injections, search_in};
use scratchproof_error::Result;
use scratchproof_fingerprint::Fingerprint;
use scratchproof_measurements::{Disguise, Found, SearchRules};
use scratchproof_plan::Material;

/// Residual axes up to which references are searched side by side: of longer ones each search has threads enough for its
/// products, and two at a time would hold the fits of both.
const ABREAST: usize = 1024;

/// Looks for a disguise of every reference, and writes the parents that have one in the subject's coordinates.
pub fn unmask(
    material: &mut Material,
    fingerprints: &BTreeMap<usize, Fingerprint>,
    power: bool,
    journal: &dyn Journal,
    reporter: &dyn Reporter,
) -> Result<Vec<Found>> {
    let series = &material.series.checkpoints;
    let Some(subject) = series.last() else { return Ok(Vec::new()) };
    let opened = Opened::new(subject)?;
    reporter.phase("looking for disguises", material.references.len() as u64);
    let one = |(index, reference): (usize, &Arc<Checkpoint>)| {
        if let Some(fingerprint) = fingerprints.get(&index) {
            return scratchproof_fingerprint::found(subject, fingerprint).map(Searched::Fingerprint);
        }
        let pieces = Pieces::of(series.iter().chain([reference.as_ref()]));
        let rules = serde_json::to_string(&SearchRules::FIXED).unwrap_or_default();
        let piece = pieces.whole(&format!("search-{index:04}"), &[&rules, RULES]);
        let tokens = vocabularies::token_rows(series, reference);
        let found = kept(journal, &piece, || search_in(&opened, reference, tokens.as_ref(), &SearchRules::FIXED))?;
        reporter.advance(1);
        Ok(Searched::Model(found, tokens))
    };
    let longest = material.references.iter().map(|model| model.hidden_size().unwrap_or(0)).max();
    let abreast = longest.into_iter().chain(subject.hidden_size()).all(|hidden| hidden <= ABREAST);
    let all: Vec<Searched> = if abreast {
        material.references.par_iter().enumerate().map(one).collect::<Result<_>>()?
    } else {
        material.references.iter().enumerate().map(one).collect::<Result<_>>()?
    };
    drop(opened);
    let mut observed = Vec::new();
    for (index, searched) in all.into_iter().enumerate() {
        let (found, tokens) = match searched {
            Searched::Fingerprint(found) => {
                observed.push(found);
                continue;
            }
            Searched::Model(found, tokens) => (found, tokens),
        };
        let reference = &material.references[index];
        let shown = found.relabelling.as_ref().filter(|r| index < material.parents && !r.changes.is_empty());
        if let Some(relabelling) = shown {
            material.relabelled.push((index, express(subject, &Arc::clone(reference), relabelling, tokens.as_ref())?));
        }
        let disguise = found.relabelling.as_ref().map(|r| Disguise {
            frame: r.frame.name().to_owned(),
            layers: r.layers.clone(),
            changes: r.changes.clone(),
        });
        let rules = serde_json::to_string(&SearchRules::FIXED).unwrap_or_default();
        // What its silence is worth is asked of parents: a control clears nobody.
        let injected = if power && index < material.parents {
            let piece = Pieces::of(std::iter::once(reference.as_ref()))
                .whole(&format!("injected-{index:04}"), &[&rules, RULES, &format!("{:?}", subject.hidden_size())]);
            kept(journal, &piece, || injections(reference, subject.hidden_size(), &SearchRules::FIXED))?
        } else {
            Vec::new()
        };
        let disguise::Found { observations, heads, looked, .. } = found;
        observed.push(Found { observations, heads, disguise, injected, looked });
    }
    Ok(observed)
}

/// What the search of one reference gave.
enum Searched {
    /// Of one of which only figures are known.
    Fingerprint(Found),
    /// Of a model, with its rows of the subject's tokens.
    Model(disguise::Found, Option<TokenRows>),
}

/// Version of what is looked at: part of every piece's key, so that a store that was filled by another is not used.
const RULES: &str = "every layer and expert";
