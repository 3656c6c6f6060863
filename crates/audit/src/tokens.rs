//! What models of other vocabularies can be compared by: tokenizers, embeddings by string, attention after alignment.

use super::Session;
use scratchproof_case::Case;
use scratchproof_checkpoint::{Checkpoint, Tokenizer};
use scratchproof_disguise::{TokenRows, limits};
use scratchproof_error::Result;
use scratchproof_evidence::{CalibrationRow, CkaRow, ComponentRow, Reference, TokenizerRow};
use scratchproof_kernel::gram;
use scratchproof_plan::{Material, Plan, RowPairs, attention_grams, row_sums, rows, token_matrix};
use scratchproof_stats::{Aligned, align, aligned, attention, u_centred};

/// Dimensions of the residual axis over which attention is compared.
const DIMENSIONS: usize = 256;

/// Relabellings that are drawn, as many as the operations allow.
const DRAWS: (usize, usize) = (20, 200);
const OPERATIONS: usize = 4_000_000_000;

/// Seed of the relabellings.
const SEED: u64 = 20_260_802;

/// Tokens over which token rows are compared as a whole.
const TOKENS: usize = 512;

/// Everything measured through tokens.
#[derive(Default)]
pub(crate) struct Tokens {
    pub tokenizers: Vec<TokenizerRow>,
    pub embeddings: Vec<ComponentRow>,
    pub calibration: Vec<CalibrationRow>,
    pub cka: Vec<CkaRow>,
    /// What could not be compared, and why.
    pub skipped: Vec<(String, String)>,
}

/// A model with its tokenizer, if it has one that can be used.
struct Side<'a> {
    model: &'a Checkpoint,
    tokenizer: std::result::Result<&'a Tokenizer, String>,
}

impl<'a> Side<'a> {
    fn new(model: &'a Checkpoint) -> Self {
        Self { model, tokenizer: model.tokenizer().map_err(|error| error.to_string()) }
    }

    fn pairs(&self, other: &Self, rows: (usize, usize)) -> RowPairs {
        let tokenizers = self.tokenizer.as_ref().ok().copied().zip(other.tokenizer.as_ref().ok().copied());
        RowPairs::new(tokenizers, rows)
    }
}

/// Measures the final and the first checkpoint against all references.
///
/// # Errors
/// If weights cannot be read. A tokenizer that cannot be used is no error.
pub(crate) fn read(case: &Case, material: &Material, plan: &Plan, steps: &[i64]) -> Result<Tokens> {
    let mut tokens = Tokens::default();
    let series = &material.series.checkpoints;
    let Some(last) = series.last().filter(|_| !case.parents.is_empty()) else { return Ok(tokens) };
    let mut subject = Side::new(last);
    // Projects save the tokenizer with some of their checkpoints only.
    if let Some(tokenizer) = series.iter().rev().find_map(|c| c.tokenizer().ok()) {
        subject.tokenizer = Ok(tokenizer);
    } else if let Err(why) = &subject.tokenizer {
        tokens.skipped.push(("(tokenizer)".into(), format!("subject: {why}")));
    }
    let names = case.parents.iter().map(|p| Reference::Parent(p.name.clone()));
    let names: Vec<Reference> = names.chain(case.controls.iter().map(|c| Reference::Control(c.name.clone()))).collect();
    let sides: Vec<Side> = material.references.iter().map(|reference| Side::new(reference)).collect();
    let ends = if plan.last() == 0 { vec![0] } else { vec![0, plan.last()] };
    for (name, side) in names.iter().zip(&sides) {
        tokens.tokenizers.push(compare(&subject, side, name));
        if let Err(why) = &side.tokenizer {
            tokens.skipped.push(("(tokenizer)".into(), format!("{name}: {why}")));
        }
        for family in ["embedding", "head"] {
            for &t in &ends {
                let own = Side { model: &series[t], tokenizer: subject.tokenizer.clone() };
                let Some((test, n, hidden)) = by_token(&own, side, family)? else { continue };
                tokens.embeddings.push(ComponentRow {
                    step: steps[t],
                    component: family.to_owned(),
                    reference: name.clone(),
                    effect: Some(test.effect),
                    z: Some(test.z),
                    log10_p: Some(test.log10_p),
                    rows: n as u64,
                    columns: hidden as u64,
                });
            }
        }
        similarity(&mut tokens.cka, &subject, side, name)?;
        tokens
            .skipped
            .extend(limits(last, side.model)?.into_iter().map(|why| ("(disguise)".into(), format!("{name}: {why}"))));
    }
    for (parent, p) in names.iter().zip(&sides).filter(|(n, _)| matches!(n, Reference::Parent(_))) {
        for (control, c) in names.iter().zip(&sides).filter(|(n, _)| matches!(n, Reference::Control(_))) {
            for family in ["embedding", "head"] {
                let Some((test, n, _)) = by_token(p, c, family)? else { continue };
                tokens.calibration.push(CalibrationRow {
                    model: parent.to_string(),
                    against: control.to_string(),
                    component: family.to_owned(),
                    effect: Some(test.effect),
                    z: Some(test.z),
                    log10_p: Some(test.log10_p),
                    rows: n as u64,
                });
            }
        }
    }
    Ok(tokens)
}

/// For every token row of the subject the reference's row of the same string; `None` where there are not two tokenizers.
pub(crate) fn token_rows(series: &[Checkpoint], reference: &Checkpoint) -> Option<TokenRows> {
    let own = series.iter().rev().find_map(|c| c.tokenizer().ok())?;
    let other = reference.tokenizer().ok()?;
    Some(own.row_map(other, series.last()?.vocab_size()?, reference.vocab_size()?))
}

/// The rows of a table without those that a test by token stands in for, and with that test's.
pub(crate) fn stand_in(session: &Session, rows: Vec<ComponentRow>) -> Vec<ComponentRow> {
    let tests = &session.tokens.embeddings;
    let replaced =
        |row: &ComponentRow| tests.iter().any(|t| (&t.reference, &t.component) == (&row.reference, &row.component));
    let mut rows: Vec<ComponentRow> = rows.into_iter().filter(|row| !replaced(row)).collect();
    rows.extend(tests.iter().cloned());
    rows.sort_by(|a, b| (a.step, &a.reference, &a.component).cmp(&(b.step, &b.reference, &b.component)));
    rows
}

/// The column test over rows of the same tokens, with rows and columns; none where the rows already stand side by side,
/// where the hidden sizes differ, or too few tokens are shared.
fn by_token(a: &Side, b: &Side, family: &str) -> Result<Option<(Aligned, usize, usize)>> {
    let (Some(x), Some(y)) = (token_matrix(a.model, family), token_matrix(b.model, family)) else { return Ok(None) };
    let hidden = x.shape[1];
    let pairs = a.pairs(b, (x.shape[0], y.shape[0]));
    if hidden != y.shape[1] || (x.shape[0] == y.shape[0] && pairs.is_identity()) {
        return Ok(None);
    }
    let sample = pairs.sample(hidden);
    if sample.is_empty() {
        return Ok(None);
    }
    let (first, second): (Vec<u32>, Vec<u32>) = sample.into_iter().unzip();
    let sums = row_sums(rows(a.model, x, &first)?, rows(b.model, y, &second)?, hidden);
    Ok(sums.and_then(|sums| aligned(sums, 1.0, hidden)).map(|test| (test, first.len(), hidden)))
}

fn compare(subject: &Side, other: &Side, reference: &Reference) -> TokenizerRow {
    let kind = |side: &Side| side.tokenizer.as_ref().ok().map(|t| t.kind.name().to_owned());
    let mut row = TokenizerRow {
        reference: reference.clone(),
        kind: kind(subject),
        reference_kind: kind(other),
        tokens: 0,
        reference_tokens: 0,
        shared: 0,
        merges: 0,
        reference_merges: 0,
        shared_merges: 0,
        merge_spearman: None,
        same_id: 0,
        shift: 0,
        shift_share: None,
        first_256: 0,
        prefix: 0,
        rows_by: "numbers".to_owned(),
        note: String::new(),
    };
    match (&subject.tokenizer, &other.tokenizer) {
        (Ok(a), Ok(b)) => {
            let found = a.compare(b);
            (row.tokens, row.reference_tokens) = (found.sizes.0 as u64, found.sizes.1 as u64);
            (row.merges, row.reference_merges) = (found.merges.0 as u64, found.merges.1 as u64);
            row.shared = found.shared as u64;
            row.shared_merges = found.shared_merges as u64;
            row.merge_spearman = found.merge_spearman;
            row.same_id = found.same_id as u64;
            if let Some((shift, count)) = found.shift {
                row.shift = shift;
                row.shift_share = Some(count as f64 / found.shared as f64);
            }
            (row.first_256, row.prefix) = (found.first_256 as u64, found.prefix as u64);
            "strings".clone_into(&mut row.rows_by);
            let notes = [("subject", *a), ("reference", *b)]
                .into_iter()
                .flat_map(|(who, t)| t.notes.iter().map(move |note| format!("{who}: {note}")));
            row.note = notes.collect::<Vec<_>>().join("; ");
        }
        (a, b) => {
            let reasons = [("subject", a), ("reference", b)].into_iter();
            let reasons = reasons.filter_map(|(who, t)| t.as_ref().err().map(|why| format!("{who}: {why}")));
            row.note = reasons.collect::<Vec<_>>().join("; ");
        }
    }
    row
}

/// CKA of query and key projections once the residual axes are aligned through shared tokens, and of the token rows.
fn similarity(out: &mut Vec<CkaRow>, a: &Side, b: &Side, reference: &Reference) -> Result<()> {
    let (Some(x), Some(y)) = (token_matrix(a.model, "embedding"), token_matrix(b.model, "embedding")) else {
        return Ok(());
    };
    let pairs = a.pairs(b, (x.shape[0], y.shape[0]));
    // Without strings, tokens of one number mean the same only if the vocabularies may be one.
    if !pairs.by_string && x.shape[0] != y.shape[0] {
        return Ok(());
    }
    let sizes = (x.shape[1], y.shape[1]);
    let sample = pairs.sample(sizes.0.max(sizes.1));
    if sample.is_empty() {
        return Ok(());
    }
    let (first, second): (Vec<u32>, Vec<u32>) = sample.into_iter().unzip();
    let (first, second) = (rows(a.model, x, &first)?, rows(b.model, y, &second)?);
    let tokens = first.len() / sizes.0;
    let row = |part: &str, columns: usize| CkaRow {
        reference: reference.clone(),
        part: part.to_owned(),
        layer_subject: None,
        layer_reference: None,
        cka: None,
        null_mean: None,
        null_sd: None,
        z: None,
        log10_p: None,
        draws: 0,
        tokens: tokens as u64,
        columns: columns as u64,
    };
    let n = tokens.min(TOKENS);
    let whole = |values: &[f32], width: usize| u_centred(&gram(&values[..n * width], width), n);
    if let (Some(k), Some(l)) = (whole(&first, sizes.0), whole(&second, sizes.1)) {
        let cka = k.iter().zip(&l).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        out.push(CkaRow { cka: Some(cka), ..row("tokens", 0) });
    }
    let matched = align(&first, &second, sizes, DIMENSIONS);
    let own: Vec<(usize, f32)> = matched.iter().map(|&(i, _, _)| (i, 1.0)).collect();
    let other: Vec<(usize, f32)> = matched.iter().map(|&(_, j, sign)| (j, sign)).collect();
    let own = attention_grams(a.model, sizes.0, &own)?;
    let other = attention_grams(b.model, sizes.1, &other)?;
    let cells =
        if own.layers.len() == other.layers.len() { own.layers.len() } else { own.layers.len() * other.layers.len() };
    let n = matched.len();
    let draws = (OPERATIONS / (2 * cells * n * n).max(1)).clamp(DRAWS.0, DRAWS.1);
    let Some(test) = attention(&own.grams, &other.grams, n, draws, SEED) else { return Ok(()) };
    out.push(CkaRow {
        cka: Some(test.mean),
        null_mean: Some(test.null.0),
        null_sd: Some(test.null.1),
        z: Some(test.z),
        log10_p: Some(test.log10_p),
        draws: test.draws as u64,
        ..row("attention", n)
    });
    out.extend(test.layers.iter().map(|&(i, j, cka)| CkaRow {
        layer_subject: own.layers.get(i).copied(),
        layer_reference: other.layers.get(j).copied(),
        cka: Some(cka),
        ..row("layer", n)
    }));
    Ok(())
}
