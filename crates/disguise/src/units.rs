//! Neurons, experts and heads, matched twice by independent tensors (METHODS 3).

use rayon::prelude::*;

use super::frame::{Agreement, Frame, MANY, WORTH, common, mutual, same_order};
use super::matrix::Matrix;
use super::moments::Moments;
use scratchproof_kernel::{assign, product, row_basis};
use scratchproof_stats::log10_poisson_upper;

/// The matrices of one MLP.
#[derive(Clone, Debug, Default)]
pub struct Mlp {
    /// Gate, up and down; a row a neuron.
    pub matrices: [Option<Matrix>; 3],
}

impl Mlp {
    /// In another frame, as it is where that is the one it is in.
    pub fn in_frame(self, frame: &Frame, own: usize) -> Self {
        if *frame == Frame::AsItStands { self } else { self.expressed(frame, own) }
    }

    /// In another frame.
    fn expressed(&self, frame: &Frame, own: usize) -> Self {
        Self { matrices: self.matrices.each_ref().map(|m| m.as_ref().map(|m| expressed(m, frame, own))) }
    }
}

/// A matrix of the other model in the subject's coordinates.
pub fn expressed(matrix: &Matrix, frame: &Frame, own: usize) -> Matrix {
    Matrix {
        cols: own,
        picked: matrix.picked.clone(),
        total: matrix.total,
        values: frame.express(&matrix.values, matrix.cols, own),
    }
}

/// Units of the subject, each with the unit of the other model that it was matched with.
#[derive(Clone, Debug)]
pub struct Matching {
    /// By unit of the subject (of those looked at): the other model's unit, where at least two matchings agree.
    pub order: Vec<Option<usize>>,
    /// The first two matchings against each other.
    pub agreement: Agreement,
}

/// Matches neurons by the absolute cosine of their rows in each of the three matrices: a rescaled or flipped pair of
/// rows is the same neuron. `None` if fewer than two matrices are in both.
pub fn neurons(own: &Mlp, other: &Mlp) -> Option<Matching> {
    let mut scores: Vec<Vec<f32>> = Vec::new();
    let mut lengths = (0, 0);
    for (a, b) in own.matrices.iter().zip(&other.matrices) {
        let (Some(a), Some(b)) = (a, b) else { continue };
        if scores.is_empty() {
            lengths = (a.rows(), b.rows());
        }
        if (a.rows(), b.rows()) != lengths || a.rows() < 2 || b.rows() < 2 {
            continue;
        }
        // The third only breaks ties, and only where the first two agree on something.
        if scores.len() == 2 && lengths.0.min(lengths.1) >= MANY {
            let [x, y] = [0, 1].map(|i: usize| mutual(&scores[i], lengths.0, lengths.1));
            let agreement = same_order(&x, &y, lengths.1);
            if agreement.agreed < WORTH {
                return Some(Matching { order: common(&x, &y), agreement });
            }
        }
        scores.push(absolute_cosines(a, b));
    }
    let few = lengths.0.min(lengths.1) < MANY;
    if let ([first, second], false) = (&scores[..], few) {
        let [x, y] = [first, second].map(|s| mutual(s, lengths.0, lengths.1));
        let agreement = same_order(&x, &y, lengths.1);
        if agreement.agreed < WORTH {
            return Some(Matching { order: common(&x, &y), agreement });
        }
    }
    let orders: Vec<_> = scores.par_iter().map(|s| assign(s, lengths.0, lengths.1)).collect();
    let [first, second, ..] = &orders[..] else { return None };
    let agreement = same_order(first, second, lengths.1);
    let mut order = common(first, second);
    if let Some(third) = orders.get(2) {
        for (one, (a, (b, c))) in order.iter_mut().zip(first.iter().zip(second.iter().zip(third))) {
            if one.is_none() && c.is_some() && (c == a || c == b) {
                *one = *c;
            }
        }
    }
    Some(Matching { order, agreement })
}

fn absolute_cosines(a: &Matrix, b: &Matrix) -> Vec<f32> {
    let (a, b) = (a.clone().normalised(), b.clone().normalised());
    product(&a.values, &b.values, a.cols).into_iter().map(f32::abs).collect()
}

/// What tells an expert from the others of its layer: second moments of each of its matrices, where they have any.
pub type Profile = [Option<Vec<f32>>; 3];

/// The profile of an MLP; `None` if it has no matrix.
pub fn profile(mlp: &Mlp) -> Option<Profile> {
    let any = mlp.matrices.iter().any(Option::is_some);
    any.then(|| mlp.matrices.each_ref().map(|matrix| Moments::of(matrix.as_ref()?).profile()))
}

/// How alike the experts of two lists are by one of their matrices, own x other.
fn alike(own: &[Profile], other: &[Profile], which: usize) -> Option<Vec<f32>> {
    let profiles = |list: &[Profile]| list.iter().map(|own| own[which].clone()).collect::<Option<Vec<_>>>();
    let (a, b) = (profiles(own)?, profiles(other)?);
    let length = a.first()?.len();
    if b.first()?.len() != length {
        return None;
    }
    Some(product(&a.concat(), &b.concat(), length))
}

/// Matches experts by the second moments of their matrices, twice: gate (or up) against down.
pub fn experts(own: &[Profile], other: &[Profile]) -> Option<Matching> {
    if own.len() < 2 || other.is_empty() {
        return None;
    }
    let scores: Vec<Vec<f32>> = (0..3).filter_map(|which| alike(own, other, which)).collect();
    let [.., second] = &scores[..] else { return None };
    let first = scores.first().filter(|_| scores.len() > 1)?;
    let orders = [first, second].map(|s| assign(s, own.len(), other.len()));
    let agreement = same_order(&orders[0], &orders[1], other.len());
    let total: Vec<f32> = (0..own.len() * other.len()).map(|i| scores.iter().map(|s| s[i]).sum()).collect();
    Some(Matching { order: assign(&total, own.len(), other.len()), agreement })
}

/// How far the row spaces of two models' heads overlap, own heads x other heads: the sum of squared cosines of their
/// principal angles. Nothing that happens inside a head changes it.
pub fn overlaps(own: &Matrix, other: &Matrix, dim: usize) -> Option<Vec<f32>> {
    let bases = |m: &Matrix| -> Option<(Vec<f32>, usize)> {
        let heads = m.rows() / dim;
        if heads == 0 || !m.rows().is_multiple_of(dim) {
            return None;
        }
        let mut all = vec![0.0; m.rows() * m.cols];
        let one = |(rows, into): (&[f32], &mut [f32])| {
            let basis = row_basis(rows, dim, m.cols)?;
            into[..basis.len()].copy_from_slice(&basis);
            Some(())
        };
        let size = dim * m.cols;
        m.values.par_chunks_exact(size).zip(all.par_chunks_exact_mut(size)).map(one).collect::<Option<()>>()?;
        Some((all, heads))
    };
    let ((a, n), (b, m)) = (bases(own)?, bases(other)?);
    let cosines = product(&a, &b, own.cols);
    let wide = m * dim;
    let mut out = vec![0.0; n * m];
    for (r, row) in cosines.chunks_exact(wide).enumerate() {
        for (c, v) in row.iter().enumerate() {
            out[r / dim * m + c / dim] += v * v;
        }
    }
    Some(out)
}

/// Matches heads by two overlaps: queries against outputs, or keys against values. Also those on which both agree.
pub fn heads(first: &[f32], second: &[f32], own: usize, other: usize) -> (Matching, Vec<Option<usize>>) {
    let orders = [first, second].map(|s| assign(s, own, other));
    let agreement = same_order(&orders[0], &orders[1], other);
    let total: Vec<f32> = first.iter().zip(second).map(|(a, b)| a + b).collect();
    let agreed = common(&orders[0], &orders[1]);
    (Matching { order: assign(&total, own, other), agreement }, agreed)
}

/// Agreements of many matchings together: their sum is Poisson too.
pub fn together(all: impl Iterator<Item = Agreement>) -> Option<Agreement> {
    let mut sum = Agreement { agreed: 0.0, expected: 0.0, of: 0, log10_p: 0.0 };
    for one in all {
        sum.agreed += one.agreed;
        sum.expected += one.expected;
        sum.of += one.of;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let agreed = sum.agreed as u64;
    (sum.of > 0).then(|| Agreement { log10_p: log10_poisson_upper(agreed, sum.expected), ..sum })
}
