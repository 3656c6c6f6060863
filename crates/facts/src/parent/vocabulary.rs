//! What models of other vocabularies were compared by, as rows of evidence.

use crate::session::{Session, given, references};
use scratchproof_evidence::{CalibrationRow, CkaRow, ComponentRow, Reference, TokenizerRow};
use scratchproof_measurements::{ByToken, TokenizerPair};
use scratchproof_stats::aligned;

/// The subject's tokenizer against the references'.
pub fn tokenizers(session: &Session) -> Vec<TokenizerRow> {
    let references = given(session);
    let row = |pair: &TokenizerPair| {
        let reference = references.get(pair.reference)?.clone();
        let (shared, shift) = (pair.shared, pair.shared.and_then(|shared| shared.shift));
        let count = |of: fn(&scratchproof_measurements::SharedTokens) -> u64| shared.as_ref().map_or(0, of);
        Some(TokenizerRow {
            reference,
            kind: pair.kind.clone(),
            reference_kind: pair.reference_kind.clone(),
            tokens: count(|s| s.tokens.0),
            reference_tokens: count(|s| s.tokens.1),
            shared: count(|s| s.shared),
            merges: count(|s| s.merges.0),
            reference_merges: count(|s| s.merges.1),
            shared_merges: count(|s| s.shared_merges),
            merge_spearman: shared.and_then(|s| s.merge_spearman),
            same_id: count(|s| s.same_id),
            shift: shift.map_or(0, |(shift, _)| shift),
            shift_share: shift.zip(shared).map(|((_, with), s)| with as f64 / s.shared as f64),
            first_256: count(|s| s.first_256),
            prefix: count(|s| s.prefix),
            rows_by: if shared.is_some() { "strings" } else { "numbers" }.to_owned(),
            note: pair.note.clone(),
        })
    };
    session.measured.vocabularies.tokenizers.iter().filter_map(row).collect()
}

/// Token rows of checkpoints against references, by the strings they stand for.
fn by_token(session: &Session) -> Vec<ComponentRow> {
    let references = references(session);
    let row = |pair: &ByToken| {
        let step = *session.measured.steps.get(pair.models.0)?;
        let (_, reference) = references.iter().find(|(model, _)| *model == pair.models.1)?;
        let test = aligned(pair.sums, 1.0, pair.hidden)?;
        Some(ComponentRow {
            step,
            component: pair.family.clone(),
            reference: reference.clone(),
            effect: Some(test.effect),
            z: Some(test.z),
            log10_p: Some(test.log10_p),
            rows: pair.rows as u64,
            columns: pair.hidden as u64,
        })
    };
    session.measured.vocabularies.by_token.iter().filter_map(row).collect()
}

/// Token rows of parents against controls.
pub fn calibration(session: &Session) -> Vec<CalibrationRow> {
    let references = references(session);
    let named = |model: usize| references.iter().find(|(other, _)| *other == model).map(|(_, name)| name.to_string());
    let row = |pair: &ByToken| {
        // The first of the two is a parent: checkpoints have no name here.
        let (model, against) = (named(pair.models.0)?, named(pair.models.1)?);
        let test = aligned(pair.sums, 1.0, pair.hidden)?;
        Some(CalibrationRow {
            model,
            against,
            component: pair.family.clone(),
            effect: Some(test.effect),
            z: Some(test.z),
            log10_p: Some(test.log10_p),
            rows: pair.rows as u64,
        })
    };
    session.measured.vocabularies.by_token.iter().filter_map(row).collect()
}

/// Attention after alignment through shared tokens.
pub fn cka(session: &Session) -> Vec<CkaRow> {
    let references: Vec<Reference> = given(session);
    let row = |found: &scratchproof_measurements::Attention| {
        Some(CkaRow {
            reference: references.get(found.reference)?.clone(),
            part: found.part.clone(),
            layer_subject: found.layers.0,
            layer_reference: found.layers.1,
            cka: found.cka,
            null_mean: found.null.map(|null| null.0),
            null_sd: found.null.map(|null| null.1),
            z: found.z,
            log10_p: found.log10_p,
            draws: found.draws,
            tokens: found.tokens,
            columns: found.columns,
        })
    };
    session.measured.vocabularies.attention.iter().filter_map(row).collect()
}

/// The rows of a table without those that a test by token stands in for, and with that test's.
pub fn stand_in(session: &Session, rows: Vec<ComponentRow>) -> Vec<ComponentRow> {
    let tests = by_token(session);
    let replaced =
        |row: &ComponentRow| tests.iter().any(|t| (&t.reference, &t.component) == (&row.reference, &row.component));
    let mut rows: Vec<ComponentRow> = rows.into_iter().filter(|row| !replaced(row)).collect();
    rows.extend(tests);
    rows.sort_by(|a, b| (a.step, &a.reference, &a.component).cmp(&(b.step, &b.reference, &b.component)));
    rows
}
