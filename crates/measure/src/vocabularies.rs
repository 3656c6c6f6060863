//! What models of other vocabularies can be compared by: tokenizers, embeddings by string, attention after alignment.

use super::rows::{RowPairs, attention_grams, row_sums, rows, token_matrix};
use scratchproof_checkpoint::{Checkpoint, TensorRecord, Tokenizer};
use scratchproof_disguise::{TokenRows, limits};
use scratchproof_error::Result;
use scratchproof_kernel::gram;
use scratchproof_measurements::{Attention, ByToken, Plan, SharedTokens, TokenizerPair, Vocabularies};
use scratchproof_plan::Material;
use scratchproof_stats::{align, attention, u_centred};

/// The families whose rows are tokens.
const FAMILIES: [&str; 2] = ["embedding", "head"];

/// Dimensions of the residual axis over which attention is compared.
const DIMENSIONS: usize = 256;

/// Relabellings that are drawn, as many as the operations allow.
const DRAWS: (usize, usize) = (20, 200);
const OPERATIONS: usize = 4_000_000_000;

/// Seed of the relabellings.
const SEED: u64 = 20_260_802;

/// Tokens over which token rows are compared as a whole.
const TOKENS: usize = 512;

/// A model with its tokenizer, if it has one that can be used.
struct Side<'a> {
    model: &'a Checkpoint,
    tokenizer: std::result::Result<&'a Tokenizer, String>,
}

impl<'a> Side<'a> {
    fn new(model: &'a Checkpoint) -> Self {
        Self { model, tokenizer: model.tokenizer().map_err(|error| error.to_string()) }
    }

    /// Rows of two tables of tokens that belong together; where rows were drawn, of those that were in both.
    fn pairs(&self, other: &Self, tables: (&TensorRecord, &TensorRecord)) -> RowPairs {
        let tokenizers = self.tokenizer.as_ref().ok().copied().zip(other.tokenizer.as_ref().ok().copied());
        let (x, y) = tables;
        if self.model.sample.is_none() && other.model.sample.is_none() {
            return RowPairs::new(tokenizers, (x.shape[0], y.shape[0]));
        }
        let ((own, there), (their, theirs)) = (self.model.drawn_of(x), other.model.drawn_of(y));
        let mut all = RowPairs::new(tokenizers, (own, their));
        let place = |places: &[Option<u32>], row: u32| places.get(row as usize).copied().flatten();
        all.pairs = all.pairs.iter().filter_map(|(a, b)| Some((place(&there, *a)?, place(&theirs, *b)?))).collect();
        all
    }
}

/// Measures the final and the first checkpoint against all references.
///
/// # Errors
/// If weights cannot be read. A tokenizer that cannot be used is no error.
pub fn read(material: &Material, plan: &Plan) -> Result<Vocabularies> {
    let mut all = Vocabularies::default();
    let series = &material.series.checkpoints;
    let Some(last) = series.last().filter(|_| material.parents > 0) else { return Ok(all) };
    let mut subject = Side::new(last);
    // Projects save the tokenizer with some of their checkpoints only.
    if let Some(tokenizer) = series.iter().rev().find_map(|c| c.tokenizer().ok()) {
        subject.tokenizer = Ok(tokenizer);
    } else if let Err(why) = &subject.tokenizer {
        all.skipped.push((None, "(tokenizer)".into(), why.clone()));
    }
    let sides: Vec<Side> = material.references.iter().map(|reference| Side::new(reference)).collect();
    for (reference, side) in sides.iter().enumerate() {
        all.tokenizers.push(compare(&subject, side, reference));
        if let Err(why) = &side.tokenizer {
            all.skipped.push((Some(reference), "(tokenizer)".into(), why.clone()));
        }
        for family in FAMILIES {
            for t in plan.ends() {
                let own = Side { model: &series[t], tokenizer: subject.tokenizer.clone() };
                all.by_token.extend(by_token((t, plan.series + reference), &own, side, family)?);
            }
        }
        similarity(&mut all.attention, &subject, side, reference)?;
        let limits = limits(last, side.model)?;
        all.skipped.extend(limits.into_iter().map(|why| (Some(reference), "(disguise)".into(), why)));
    }
    for (parent, p) in sides.iter().enumerate().take(material.parents) {
        for (control, c) in sides.iter().enumerate().skip(material.parents) {
            for family in FAMILIES {
                all.by_token.extend(by_token((plan.series + parent, plan.series + control), p, c, family)?);
            }
        }
    }
    Ok(all)
}

/// For every token row of the subject the reference's row of the same string; `None` where there are not two tokenizers.
pub fn token_rows(series: &[Checkpoint], reference: &Checkpoint) -> Option<TokenRows> {
    let last = series.last()?;
    let own = series.iter().rev().find_map(|c| c.tokenizer().ok());
    let map = own.zip(reference.tokenizer().ok());
    if last.sample.is_none() && reference.sample.is_none() {
        let (own, other) = map?;
        return Some(own.row_map(other, last.vocab_size()?, reference.vocab_size()?));
    }
    let ((rows, there), (others, theirs)) = (drawn_tokens(last)?, drawn_tokens(reference)?);
    let map = match map {
        Some((own, other)) => own.row_map(other, rows, others),
        None if rows != others => (0..rows).map(|row| u32::try_from(row).ok().filter(|_| row < others)).collect(),
        None => return None,
    };
    let drawn = there.iter().enumerate().filter(|(_, place)| place.is_some());
    Some(drawn.map(|(row, _)| *theirs.get((*map.get(row)?)? as usize)?).collect())
}

/// Rows of a model's table of tokens in the file, and the places of those that were drawn.
fn drawn_tokens(model: &Checkpoint) -> Option<(usize, Vec<Option<u32>>)> {
    let table = FAMILIES.iter().find_map(|family| token_matrix(model, family))?;
    Some(model.drawn_of(table))
}

/// The column test's sums over rows of the same tokens; none where the rows already stand side by side, where the hidden
/// sizes differ, or too few tokens are shared.
fn by_token(models: (usize, usize), a: &Side, b: &Side, family: &str) -> Result<Option<ByToken>> {
    let (Some(x), Some(y)) = (token_matrix(a.model, family), token_matrix(b.model, family)) else { return Ok(None) };
    let hidden = x.shape[1];
    let pairs = a.pairs(b, (x, y));
    if hidden != y.shape[1] || (x.shape[0] == y.shape[0] && pairs.is_identity()) {
        return Ok(None);
    }
    let sample = pairs.sample(hidden);
    if sample.is_empty() {
        return Ok(None);
    }
    let (first, second): (Vec<u32>, Vec<u32>) = sample.into_iter().unzip();
    let sums = row_sums(rows(a.model, x, &first)?, rows(b.model, y, &second)?, hidden);
    Ok(sums.map(|sums| ByToken { models, family: family.to_owned(), sums, rows: first.len(), hidden }))
}

fn compare(subject: &Side, other: &Side, reference: usize) -> TokenizerPair {
    let kind = |side: &Side| side.tokenizer.as_ref().ok().map(|t| t.kind.name().to_owned());
    let (shared, note) = match (&subject.tokenizer, &other.tokenizer) {
        (Ok(a), Ok(b)) => {
            let found = a.compare(b);
            let both = |pair: (usize, usize)| (pair.0 as u64, pair.1 as u64);
            let shared = SharedTokens {
                tokens: both(found.sizes),
                merges: both(found.merges),
                shared: found.shared as u64,
                shared_merges: found.shared_merges as u64,
                merge_spearman: found.merge_spearman,
                same_id: found.same_id as u64,
                shift: found.shift.map(|(shift, count)| (shift, count as u64)),
                first_256: found.first_256 as u64,
                prefix: found.prefix as u64,
            };
            let notes = [("subject", *a), ("reference", *b)]
                .into_iter()
                .flat_map(|(who, t)| t.notes.iter().map(move |note| format!("{who}: {note}")));
            (Some(shared), notes.collect::<Vec<_>>().join("; "))
        }
        (a, b) => {
            let reasons = [("subject", a), ("reference", b)].into_iter();
            let reasons = reasons.filter_map(|(who, t)| t.as_ref().err().map(|why| format!("{who}: {why}")));
            (None, reasons.collect::<Vec<_>>().join("; "))
        }
    };
    TokenizerPair { reference, kind: kind(subject), reference_kind: kind(other), shared, note }
}

/// CKA of query and key projections once the residual axes are aligned through shared tokens, and of the token rows.
fn similarity(out: &mut Vec<Attention>, a: &Side, b: &Side, reference: usize) -> Result<()> {
    let (Some(x), Some(y)) = (token_matrix(a.model, "embedding"), token_matrix(b.model, "embedding")) else {
        return Ok(());
    };
    let pairs = a.pairs(b, (x, y));
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
    let row = |part: &str, columns: usize| Attention {
        reference,
        part: part.to_owned(),
        layers: (None, None),
        cka: None,
        null: None,
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
        out.push(Attention { cka: Some(cka), ..row("tokens", 0) });
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
    out.push(Attention {
        cka: Some(test.mean),
        null: Some(test.null),
        z: Some(test.z),
        log10_p: Some(test.log10_p),
        draws: test.draws as u64,
        ..row("attention", n)
    });
    out.extend(test.layers.iter().map(|&(i, j, cka)| Attention {
        layers: (own.layers.get(i).copied(), other.layers.get(j).copied()),
        cka: Some(cka),
        ..row("layer", n)
    }));
    Ok(())
}
