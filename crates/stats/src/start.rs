//! Whether a matrix is a random draw, and from which law (METHODS 4).

mod law;
mod rule;

use statrs::function::gamma::gamma_ur;

use super::normal::log10_upper_tail;
use super::random_matrix::{EdgeTest, edge_test};
use scratchproof_kernel::{Block, Form, Moments};

pub use law::{Fit, Law, fit, ln_likelihood, log10_kolmogorov};
pub use rule::{Scale, Sizes, rule};

/// Fewer rows or columns than this have no telling correlations: the sum of their squares has a heavy tail.
const FEWEST: usize = 16;

/// What a sample of a tensor looks like as a draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// Elements looked at; rows that are all zero (padding tokens) are left out.
    pub elements: usize,
    /// Matrices of a stack; 1 of a plain one.
    pub matrices: usize,
    /// Mean.
    pub mean: f64,
    /// Root mean square.
    pub std: f64,
    /// Fourth moment over the squared second, less 3.
    pub excess_kurtosis: f64,
    /// Largest absolute value.
    pub max_abs: f64,
    /// Whether it is no draw but a constant, an identity or the like.
    pub form: Form,
    /// The singular value all of them are near to, if they are: a matrix with orthonormal rows or columns times this.
    pub orthogonal: Option<f64>,
    /// The largest singular value against the edge, of the matrix of a stack that is most extreme. Its probability is
    /// the larger of that of the matrix as it is and of the matrix with rows and columns brought to one scale: a scheme
    /// may scale rows as it likes. That of a stack is multiplied by its matrices.
    pub edge: Option<EdgeTest>,
    /// Standard score of the squared cosines between rows (or columns) against those of independent ones.
    pub cosines_z: Option<f64>,
    /// log10 p of it, upper tail.
    pub cosines_log10_p: Option<f64>,
    /// log10 p of the squared row norms as those of independent entries.
    pub row_norm_log10_p: Option<f64>,
    /// The same of the columns.
    pub column_norm_log10_p: Option<f64>,
}

/// Tests the figures of a matrix, or of a stack of them.
#[must_use]
pub fn draw(moments: &Moments) -> Draw {
    let kurtosis = moments.fourth / (moments.square * moments.square);
    let blocks = &moments.blocks;
    let z = cosines(blocks);
    Draw {
        elements: moments.elements(),
        matrices: blocks.len().max(1),
        mean: moments.mean,
        std: moments.square.sqrt(),
        excess_kurtosis: kurtosis - 3.0,
        max_abs: moments.max_abs,
        form: moments.form,
        orthogonal: orthogonal(blocks),
        edge: edge(blocks),
        cosines_z: z,
        cosines_log10_p: z.map(log10_upper_tail),
        row_norm_log10_p: norms(blocks.iter().map(|b| (b, b.row_spread, b.rows, b.columns))),
        column_norm_log10_p: norms(blocks.iter().map(|b| (b, b.column_spread, b.columns, b.rows))),
    }
}

/// The most extreme matrix of a stack.
fn edge(blocks: &[Block]) -> Option<EdgeTest> {
    let one = |b: &Block| {
        let raw = edge_test(b.largest?, b.square.sqrt(), b.rows, b.columns)?;
        let scaled = b.scaled_largest.and_then(|largest| edge_test(largest, 1.0, b.rows, b.columns));
        Some(EdgeTest { log10_p: scaled.map_or(raw.log10_p, |s| raw.log10_p.max(s.log10_p)), ..raw })
    };
    let tests: Vec<EdgeTest> = blocks.iter().filter_map(one).collect();
    let count = tests.len() as f64;
    let worst = tests.into_iter().min_by(|a, b| a.log10_p.total_cmp(&b.log10_p))?;
    Some(EdgeTest { log10_p: (worst.log10_p + count.log10()).min(0.0), ..worst })
}

/// Over m vectors of length n with independent entries of mean square 1 the squared cosines have mean 1/n, and n times
/// the sum over the m (m - 1)/2 pairs a variance of 2 for each pair (John 1971; Ledoit and Wolf 2002). Bringing the
/// other axis to one scale as well lowers the sum by up to one standard deviation (simulated: -0.4 to -1.0), which
/// makes the test milder.
fn cosines(blocks: &[Block]) -> Option<f64> {
    let figures = blocks.iter().filter(|b| b.rows.min(b.columns) >= FEWEST).filter_map(|b| {
        let (m, n) = (b.rows.min(b.columns) as f64, b.rows.max(b.columns) as f64);
        let pairs = m * (m - 1.0) / 2.0;
        Some((n * b.cosines? - pairs, 2.0 * pairs))
    });
    let (excess, variance) = figures.fold((0.0, 0.0), |(e, v), (excess, variance)| (e + excess, v + variance));
    (variance > 0.0).then(|| excess / variance.sqrt())
}

/// The common singular value of matrices whose singular values are all one, within what rounding to eight bits moves
/// them. Those of a draw spread from sqrt(n) - sqrt(m) to sqrt(n) + sqrt(m), so that very thin ones cannot be told.
fn orthogonal(blocks: &[Block]) -> Option<f64> {
    let one = |b: &Block| {
        let (short, long) = (b.rows.min(b.columns) as f64, b.rows.max(b.columns) as f64);
        let drawn = (long.sqrt() - short.sqrt()) / (long.sqrt() + short.sqrt());
        let (largest, smallest) = (b.largest?, b.smallest?);
        (short >= 4.0 && drawn < 0.9 && smallest > 0.98 * largest).then(|| f64::midpoint(largest, smallest))
    };
    let gains: Vec<f64> = blocks.iter().map(one).collect::<Option<_>>()?;
    (!gains.is_empty()).then(|| gains.iter().sum::<f64>() / gains.len() as f64)
}

/// Squared norms of `count` independent vectors of `length` entries have mean length x s^2 and variance
/// length (kurtosis - 1) s^4; the sum of their squared standard scores is about chi-square with one degree of freedom
/// for each but one. Of a stack the sums are added.
fn norms<'a>(blocks: impl Iterator<Item = (&'a Block, f64, usize, usize)>) -> Option<f64> {
    let (mut sum, mut freedom) = (0.0, 0.0);
    for (block, spread, count, length) in blocks {
        let kurtosis = block.fourth / (block.square * block.square);
        let variance = length as f64 * (kurtosis - 1.0) * block.square * block.square;
        if count >= 8 && length >= 8 && variance > 0.0 {
            sum += spread / variance;
            freedom += (count - 1) as f64;
        }
    }
    if freedom <= 0.0 || !sum.is_finite() {
        return None;
    }
    let (shape, x) = (freedom / 2.0, sum / 2.0);
    // Beyond what an incomplete gamma function resolves, the leading term of its tail is enough for a grade.
    let tail = gamma_ur(shape, x);
    Some(if tail > 1e-250 {
        tail.log10().min(0.0)
    } else {
        let ln = (shape - 1.0) * x.ln() - x - statrs::function::gamma::ln_gamma(shape);
        ln / std::f64::consts::LN_10
    })
}

/// A pooled distance from the nearest law above which none is named; below sqrt(n) D = 2.2 (p about 1e-4) one always is.
const NO_LAW: f64 = 0.02;

/// By so much, in natural logarithms, a bounded law must be likelier than the normal law to be named: few values of a
/// normal law have no large one among them.
const BOUNDED: f64 = 10.0;

/// The law that makes the values of a family likeliest, each of its tensors at its own standard deviation; `None` if
/// they are too far from all of them.
#[must_use]
pub fn law<'a>(family: impl Iterator<Item = &'a Moments> + Clone) -> Option<Law> {
    let drawn = family.filter(|m| m.form == Form::Free && m.levels.len() > 2 && m.square.is_normal());
    let likely = |law: Law| {
        let prior = if law == Law::Normal { BOUNDED } else { 0.0 };
        prior + drawn.clone().map(|m| ln_likelihood(&m.levels, m.square.sqrt(), law)).sum::<f64>()
    };
    let law = Law::ALL.into_iter().map(|law| (law, likely(law))).max_by(|a, b| a.1.total_cmp(&b.1))?.0;
    let (mut off, mut weight) = (0.0, 0.0);
    for moments in drawn {
        let n = moments.elements() as f64;
        let Some(fit) = fit(&moments.levels, moments.square.sqrt(), law) else { continue };
        off += n * fit.distance / NO_LAW.max(2.2 / n.sqrt());
        weight += n;
    }
    (weight > 0.0 && off <= weight).then_some(law)
}

/// The law of values that follow none until rows and columns are brought to one scale; `None` also where nothing asked
/// for that.
#[must_use]
pub fn scaled_law(moments: &Moments) -> Option<Law> {
    let levels = moments.scaled.as_slice();
    let elements = levels.last().map_or(0, |l| l.below) as f64;
    let fits = Law::ALL.into_iter().filter_map(|law| Some((law, fit(levels, 1.0, law)?.distance)));
    let (law, distance) = fits.min_by(|a, b| a.1.total_cmp(&b.1))?;
    (distance <= NO_LAW.max(2.2 / elements.sqrt())).then_some(law)
}

#[cfg(test)]
mod tests;
