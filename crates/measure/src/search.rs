//! The search for a disguise of every reference.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::journal::{Journal, kept};
use super::pieces::Pieces;
use super::vocabularies;
use scratchproof_disguise::{express, injections, search};
use scratchproof_error::Result;
use scratchproof_fingerprint::Fingerprint;
use scratchproof_measurements::{Disguise, Found, SearchRules};
use scratchproof_plan::Material;

/// Looks for a disguise of every reference, and writes the parents that have one in the subject's coordinates.
pub fn unmask(
    material: &mut Material,
    fingerprints: &BTreeMap<usize, Fingerprint>,
    journal: &dyn Journal,
) -> Result<Vec<Found>> {
    let series = &material.series.checkpoints;
    let Some(subject) = series.last() else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (index, reference) in material.references.iter().enumerate() {
        if let Some(fingerprint) = fingerprints.get(&index) {
            all.push(scratchproof_fingerprint::found(subject, fingerprint)?);
            continue;
        }
        let pieces = Pieces::of(series.iter().chain([reference.as_ref()]));
        let rules = serde_json::to_string(&SearchRules::FIXED).unwrap_or_default();
        let piece = pieces.whole(&format!("search-{index:04}"), &[&rules]);
        let tokens = vocabularies::token_rows(series, reference);
        let found = kept(journal, &piece, || search(subject, reference, tokens.as_ref(), &SearchRules::FIXED))?;
        let shown = found.relabelling.as_ref().filter(|r| index < material.parents && !r.changes.is_empty());
        if let Some(relabelling) = shown {
            material.relabelled.push((index, express(subject, &Arc::clone(reference), relabelling, tokens.as_ref())?));
        }
        let disguise = found.relabelling.map(|r| Disguise {
            frame: r.frame.name().to_owned(),
            layers: r.layers,
            changes: r.changes,
        });
        // What its silence is worth is asked of parents: a control clears nobody.
        let injected = if index < material.parents {
            let piece = Pieces::of(std::iter::once(reference.as_ref()))
                .whole(&format!("injected-{index:04}"), &[&rules, &format!("{:?}", subject.hidden_size())]);
            kept(journal, &piece, || injections(reference, subject.hidden_size(), &SearchRules::FIXED))?
        } else {
            Vec::new()
        };
        all.push(Found { observations: found.observations, heads: found.heads, disguise, injected });
    }
    Ok(all)
}
