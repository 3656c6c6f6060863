//! A model against a fingerprint: the tests that it allows, and what they would have seen.

use serde::Serialize;

use super::{Catalogue, Fingerprint};
use scratchproof_case::Policy;
use scratchproof_checkpoint::Checkpoint;
use scratchproof_disguise::{alike, answers, products};
use scratchproof_error::Result;
use scratchproof_kernel::{Rows as Kept, centre, normalise};
use scratchproof_measurements::{Found, HeadMatch, Observation, Question};
use scratchproof_stats::aligned;

/// log10 p from which a measured figure is looked at; judges have their own.
const MODERATE: f64 = -4.0;

/// What is said of one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A conclusive test.
    Similar,
    /// A test at moderate or strong.
    Question,
    /// Every test that could be made is silent, and would have spoken.
    Silent,
    /// Nothing could be tested that would have spoken.
    Untested,
}

/// One test of heads.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct HeadAnswer {
    pub between: String,
    pub agreed: u64,
    pub expected: f64,
    pub of: u64,
    /// After multiplicity over tests and candidates.
    pub log10_p: f64,
    /// Correlation of products across heads, or share of heads agreed beyond what is expected.
    pub effect: f64,
    /// log10 p if all had agreed.
    pub most: f64,
}

/// The aligned test of the rows that the seed chose.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct RowAnswer {
    pub rows: u64,
    pub z: f64,
    /// After multiplicity over tests and candidates.
    pub log10_p: f64,
    pub correlation: f64,
    /// The correlation that would have been seen, in the basis as it stands.
    pub detectable: f64,
}

/// What the two have in common that is no evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, clippy::struct_excessive_bools, reason = "each says of one size whether it is equal")]
pub struct Context {
    pub same_hidden_size: bool,
    pub same_depth: bool,
    pub same_vocabulary_size: bool,
    pub same_architecture: bool,
    pub same_tokenizer_size: bool,
}

/// One candidate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The candidate in figures.
    pub candidate: Catalogue,
    /// What is said of it.
    pub outcome: Outcome,
    /// Signs of products across heads.
    pub signs: Vec<HeadAnswer>,
    /// Agreements of two matchings of heads.
    pub heads: Vec<HeadAnswer>,
    /// For layers of the subject, the candidate's layer by its heads, where signs speak.
    pub layers: Vec<(u32, u32)>,
    /// The aligned test; missing where the two have another hidden size or no such rows.
    pub rows: Option<RowAnswer>,
    /// Why heads were not compared, where they were not.
    pub heads_left_out: Option<String>,
    /// Equal sizes: context, never a match.
    pub context: Context,
}

impl Answer {
    /// The smallest log10 p of all tests.
    #[must_use]
    pub fn log10_p(&self) -> f64 {
        let heads = self.signs.iter().chain(&self.heads).map(|t| t.log10_p);
        heads.chain(self.rows.iter().map(|r| r.log10_p)).fold(0.0, f64::min)
    }
}

/// A model against one of `candidates` fingerprints; `own` is its own fingerprint, made once.
///
/// # Errors
/// If weights cannot be read.
pub fn against(
    checkpoint: &Checkpoint,
    own: &Fingerprint,
    other: &Fingerprint,
    candidates: usize,
    policy: &Policy,
) -> Result<Answer> {
    let found = match (&own.products, &other.products) {
        (Some(a), Some(b)) => alike(a, b),
        _ => HeadMatch { left_out: Some("no heads whose sizes are known".to_owned()), ..HeadMatch::default() },
    };
    // Bonferroni over every test of every candidate.
    let tests = found.signs.len() + found.tests.len() + 1;
    let paid = ((tests * candidates.max(1)) as f64).log10();
    let signs: Vec<HeadAnswer> = found
        .signs
        .iter()
        .map(|t| HeadAnswer {
            between: t.between.clone(),
            agreed: t.agreed,
            expected: t.of as f64 / 2.0,
            of: t.of,
            log10_p: (t.log10_p + paid).min(0.0),
            effect: t.correlation,
            most: -(t.of as f64) * std::f64::consts::LOG10_2 + paid,
        })
        .collect();
    let heads: Vec<HeadAnswer> = found
        .tests
        .iter()
        .map(|t| HeadAnswer {
            between: t.between.clone(),
            agreed: t.agreed,
            expected: t.expected,
            of: t.of,
            log10_p: (t.log10_p + paid).min(0.0),
            effect: (t.agreed as f64 - t.expected) / t.of.max(1) as f64,
            most: scratchproof_stats::log10_poisson_upper(t.of, t.expected.max(1.0)) + paid,
        })
        .collect();
    let rows = row_test(checkpoint, other, paid, policy.moderate_log10_p)?;
    let graded = |log10_p: f64, effect: f64, conclusive: f64, least: f64| {
        if log10_p <= policy.conclusive_log10_p && effect >= conclusive {
            2
        } else {
            usize::from(log10_p <= policy.moderate_log10_p && effect >= least)
        }
    };
    let by_rows = rows.iter().map(|r| graded(r.log10_p, r.correlation, policy.conclusive_effect, 0.0));
    let by_signs = signs.iter().map(|t| graded(t.log10_p, t.effect, policy.conclusive_effect, policy.strong_effect));
    let by_heads = heads.iter().map(|t| graded(t.log10_p, t.effect, policy.matched_conclusive, policy.matched_strong));
    let highest = by_rows.chain(by_signs.clone()).chain(by_heads).max().unwrap_or(0);
    let speaks = signs.iter().any(|t| t.most <= policy.strong_log10_p)
        || rows.as_ref().is_some_and(|r| r.detectable <= policy.detectable_effect);
    let outcome = match highest {
        2 => Outcome::Similar,
        1 => Outcome::Question,
        _ if speaks => Outcome::Silent,
        _ => Outcome::Untested,
    };
    let shown = by_signs.max().unwrap_or(0) > 0;
    let (a, b) = (&own.catalogue, &other.catalogue);
    Ok(Answer {
        outcome,
        layers: if shown { found.layers().into_iter().collect() } else { Vec::new() },
        signs,
        heads,
        rows,
        heads_left_out: found.left_out,
        context: Context {
            same_hidden_size: a.hidden.is_some() && a.hidden == b.hidden,
            same_depth: a.layers == b.layers,
            same_vocabulary_size: a.vocabulary.is_some() && a.vocabulary == b.vocabulary,
            same_architecture: a.architecture.is_some() && a.architecture == b.architecture,
            same_tokenizer_size: a.tokens.is_some() && (a.tokens, a.merges) == (b.tokens, b.merges),
        },
        candidate: other.catalogue.clone(),
    })
}

/// What a search finds of a parent of which there is a fingerprint: its heads, and its rows as they stand.
///
/// # Errors
/// If weights cannot be read.
pub fn found(checkpoint: &Checkpoint, other: &Fingerprint) -> Result<Found> {
    let heads = match (products(checkpoint)?, &other.products) {
        (Some(a), Some(b)) => alike(&a, b),
        _ => HeadMatch { left_out: Some("no heads whose sizes are known".to_owned()), ..HeadMatch::default() },
    };
    let rows = row_test(checkpoint, other, 0.0, MODERATE)?;
    let mut observations = answers(&heads);
    observations.push(Observation {
        question: Question::ChosenRows,
        frame: "as it stands".to_owned(),
        between: format!("rows chosen by seed {}", other.rows.seed),
        component: "all".to_owned(),
        layer_subject: None,
        layer_other: None,
        agreed: None,
        expected: None,
        of: rows.as_ref().map_or(0, |r| r.rows),
        z: rows.as_ref().map(|r| r.z),
        log10_p: rows.as_ref().map_or(0.0, |r| r.log10_p),
        effect: rows.as_ref().map_or(0.0, |r| r.correlation),
        in_place: None,
    });
    Ok(Found { observations, heads, disguise: None, injected: Vec::new(), looked: Vec::new(), added: Vec::new() })
}

/// The column test (METHODS 2) of the rows that both have.
fn row_test(checkpoint: &Checkpoint, other: &Fingerprint, paid: f64, moderate: f64) -> Result<Option<RowAnswer>> {
    let (rows, own) = other.rows.in_model(checkpoint)?;
    let hidden = other.rows.hidden;
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for (row, own) in rows.iter().zip(own.chunks_exact(hidden.max(1))) {
        let Ok(at) = other.rows.rows.binary_search(row) else { continue };
        let mut pair = [own.to_vec(), other.rows.values[at * hidden..(at + 1) * hidden].to_vec()];
        for row in &mut pair {
            centre(row, hidden);
        }
        let [mut a, mut b] = pair;
        if normalise(&mut a) && normalise(&mut b) {
            x.extend(a);
            y.extend(b);
        }
    }
    let count = x.len() / hidden.max(1);
    if count == 0 {
        return Ok(None);
    }
    let test = aligned(Kept::whole(x, hidden).total(&Kept::whole(y, hidden)), count as f64, hidden);
    Ok(test.map(|t| RowAnswer {
        rows: count as u64,
        z: t.z,
        log10_p: (t.log10_either_way() + paid).min(0.0),
        correlation: t.effect,
        detectable: t.detectable_either_way(moderate - paid),
    }))
}
