//! Whether the residual axis of one model is that of another in another order or another basis (METHODS 2.1).

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::matrix::{Matrix, narrow, spread};
use scratchproof_kernel::{assign, nearest_orthogonal, product, trace, transpose};
use scratchproof_stats::{log10_poisson_upper, log10_upper_tail};

/// Longest residual axis for which all dimensions of the subject take part in the first fits.
pub const LONGEST_WHOLE: usize = 1536;

/// Dimensions of a longer one that do, spread evenly: a subset of exchangeable dimensions is as exchangeable. Whether a
/// rotation is worth fitting shows in the cosine of two such fits, without singular vectors.
pub const LOOKED: usize = 512;

/// Elements of the other model's rows that are put together before they are multiplied, where few rows of each of many
/// matrices take part: 4 MiB. Short products cost more in their sums than in their terms.
const TOGETHER: usize = 1 << 20;

/// From so many dimensions or units on, assignments and rotations are made only where the cheap answer leaves room for one.
pub const MANY: usize = 1024;

/// Two lists of mutual bests of unrelated models agree on one at most in expectation; with this
/// many the assignments are made. Every finding needs a share of all that is far above it.
pub const WORTH: f64 = 3.0;

/// What rounding leaves of a rotation's squares.
const ROUNDED: f64 = 1e-4;

/// How the residual axis of the other model is written in the subject's coordinates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Frame {
    /// Dimension i is dimension i.
    AsItStands,
    /// For every dimension of the subject, the dimension of the other model, or that and the length of its axis where the
    /// sign is the other one; `None` where two halves disagree.
    Permuted(Vec<Option<usize>>),
    /// A matrix, other x own, whose columns are the subject's directions in the other model's coordinates.
    Rotated(Vec<f32>),
}

impl Frame {
    /// The word for it in a table or a message.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AsItStands => "as it stands",
            Self::Permuted(_) => "permuted",
            Self::Rotated(_) => "rotated",
        }
    }

    /// Where it is a rotation of `side` dimensions into as many: those of its columns, one after the other. `None` where it is
    /// none, or was fitted to fewer directions than there are, so that rows would be shorter in it.
    pub fn directions(&self, side: usize, columns: &[usize]) -> Option<Vec<f32>> {
        let Self::Rotated(q) = self else { return None };
        self.whole(side)
            .then(|| columns.iter().flat_map(|&column| (0..side).map(move |row| q[row * side + column])).collect())
    }

    /// The way back of a rotation of `side` dimensions into as many: how rows of the subject are written in the other model's
    /// coordinates. `None` where it is none of all directions.
    pub fn back(&self, side: usize) -> Option<Self> {
        match self {
            Self::Rotated(q) => self.whole(side).then(|| Self::Rotated(transpose(q, side, side))),
            Self::AsItStands | Self::Permuted(_) => None,
        }
    }

    /// Whether it is a rotation of `side` dimensions into as many, fitted to all directions.
    fn whole(&self, side: usize) -> bool {
        let Self::Rotated(q) = self else { return false };
        // No singular value is above one, so the squares say whether all of them are one.
        q.len() == side * side && (trace(q, q) - side as f64).abs() <= ROUNDED * side as f64
    }

    /// Rows of the other model in the subject's coordinates, rows x `own`.
    pub fn express(&self, values: &[f32], other: usize, own: usize) -> Vec<f32> {
        match self {
            Self::AsItStands => values.to_vec(),
            Self::Permuted(order) => values
                .par_chunks_exact(other)
                .flat_map_iter(|row| {
                    let value = move |i: usize| if i < other { row[i] } else { -row[i - other] };
                    order.iter().map(move |i| i.map_or(0.0, value))
                })
                .collect(),
            Self::Rotated(q) => product(values, &transpose(q, other, own), other),
        }
    }
}

/// M = A^T B over rows that belong together, each row scaled to length 1, the whole to one for each row.
#[derive(Clone, Debug)]
pub struct CrossGram {
    /// Length of the own and of the other residual axis.
    pub sizes: (usize, usize),
    /// own x other, without centring, since a rotation does not keep the mean.
    pub plain: Vec<f32>,
    /// What centring takes away.
    means: Means,
    /// Rows that took part.
    pub rows: usize,
    /// The own dimensions that take part, where not all do.
    pub dimensions: Option<Vec<usize>>,
    /// Length of the own residual axis, of which these may be some dimensions.
    axis: usize,
    /// Rows that wait to be multiplied, own and other.
    waiting: [Vec<f32>; 2],
    /// How many rows of the other model are put together before they are multiplied, in elements.
    together: usize,
}

/// Sums over the rows a and b with means m and n: (a - m)(b - n)^T is a b^T less a n, less m b, and m n more.
#[derive(Clone, Debug)]
struct Means {
    /// Sum of a n, by own dimension.
    own: Vec<f64>,
    /// Sum of m b, by the other's.
    other: Vec<f64>,
    /// Sum of m n.
    both: f64,
}

impl CrossGram {
    /// Nothing yet.
    pub fn empty(own: usize, other: usize) -> Self {
        Self {
            sizes: (own, other),
            plain: vec![0.0; own * other],
            means: Means { own: vec![0.0; own], other: vec![0.0; other], both: 0.0 },
            rows: 0,
            dimensions: None,
            axis: own,
            waiting: [Vec::new(), Vec::new()],
            together: 0,
        }
    }

    /// Nothing yet, for few rows of each of many matrices; of a long axis, over some dimensions of the subject only where
    /// `whole` does not say that all are wanted.
    pub fn of_many(own: usize, other: usize, whole: bool) -> Self {
        let some = !whole && own.max(other) > LONGEST_WHOLE && own > LOOKED;
        let dimensions = some.then(|| spread(own, LOOKED));
        let taking_part = dimensions.as_ref().map_or(own, Vec::len);
        Self { dimensions, axis: own, together: TOGETHER, ..Self::empty(taking_part, other) }
    }

    /// Adds two matrices whose rows belong together.
    pub fn add(&mut self, a: &Matrix, b: &Matrix) {
        let rows = a.rows();
        let own = if self.dimensions.is_some() { a.cols } else { self.sizes.0 };
        if rows != b.rows() || rows < 2 || (a.cols, b.cols) != (own, self.sizes.1) {
            return;
        }
        let scale = 1.0 / (rows as f64).sqrt();
        self.rows += rows;
        let Self { dimensions, means, waiting, .. } = self;
        let [left, right] = waiting;
        let (of_a, of_b) = (units(&a.values, a.cols), units(&b.values, b.cols));
        let pairs = a.values.chunks_exact(a.cols.max(1)).zip(b.values.chunks_exact(b.cols.max(1)));
        for ((x, y), ((of_x, m), (of_y, n))) in pairs.zip(of_a.into_iter().zip(of_b)) {
            let of_x = of_x * scale;
            let m = m * scale;
            let (at, from) = (left.len(), right.len());
            match dimensions {
                Some(dimensions) => left.extend(dimensions.iter().map(|d| narrow(f64::from(x[*d]) * of_x))),
                None => left.extend(x.iter().map(|v| narrow(f64::from(*v) * of_x))),
            }
            for (sum, v) in means.own.iter_mut().zip(&left[at..]) {
                *sum += f64::from(*v) * n;
            }
            right.extend(y.iter().map(|v| narrow(f64::from(*v) * of_y)));
            for (sum, v) in means.other.iter_mut().zip(&right[from..]) {
                *sum += m * f64::from(*v);
            }
            means.both += m * n;
        }
        if right.len() >= self.together {
            self.settle();
        }
    }

    /// Multiplies the rows that wait. To be called before anything is asked.
    pub fn settle(&mut self) {
        let (own, other) = self.sizes;
        let [a, b] = &mut self.waiting;
        let rows = b.len() / other.max(1);
        if rows > 0 {
            let (at, bt) = (transpose(a, rows, own), transpose(b, rows, other));
            self.plain.iter_mut().zip(product(&at, &bt, rows)).for_each(|(sum, m)| *sum += m);
        }
        a.clear();
        b.clear();
    }

    /// The sum of two.
    pub fn and(&self, other: &Self) -> Self {
        let sum = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x + y).collect();
        let wide = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x + y).collect();
        Self {
            sizes: self.sizes,
            plain: sum(&self.plain, &other.plain),
            means: Means {
                own: wide(&self.means.own, &other.means.own),
                other: wide(&self.means.other, &other.means.other),
                both: self.means.both + other.means.both,
            },
            rows: self.rows + other.rows,
            dimensions: self.dimensions.clone(),
            axis: self.axis,
            waiting: [Vec::new(), Vec::new()],
            together: self.together,
        }
    }

    /// The same of rows less their means, own x other.
    fn centred(&self) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.plain.len());
        for (row, own) in self.plain.chunks_exact(self.sizes.1.max(1)).zip(&self.means.own) {
            let other = row.iter().zip(&self.means.other);
            out.extend(other.map(|(v, other)| narrow(f64::from(*v) - own - other + self.means.both)));
        }
        out
    }

    /// A relabelling of the dimensions that take part as one of the whole axis, unknown elsewhere.
    pub fn of_all(&self, order: &[Option<usize>], own: usize) -> Vec<Option<usize>> {
        let Some(dimensions) = &self.dimensions else { return order.to_vec() };
        let mut all = vec![None; own];
        for (dimension, partner) in dimensions.iter().zip(order) {
            all[*dimension] = *partner;
        }
        all
    }

    /// The best relabelling: for every own dimension one of the other model's, as in [`Frame::Permuted`]. A norm that only
    /// scales does not see the sign of a dimension, so a disguise may flip it.
    pub fn order(&self) -> Vec<Option<usize>> {
        self.signed(assign)
    }

    fn signed(&self, by: impl Fn(&[f32], usize, usize) -> Vec<Option<usize>>) -> Vec<Option<usize>> {
        let (own, other) = self.sizes;
        let centred = self.centred();
        let order = by(&centred.iter().map(|v| v.abs()).collect::<Vec<_>>(), own, other);
        let signed = |(i, j): (usize, Option<usize>)| {
            let j = j?;
            Some(if centred[i * other + j] < 0.0 { j + other } else { j })
        };
        order.into_iter().enumerate().map(signed).collect()
    }

    /// Dimensions that are each other's best: no relabelling, but two fits of one relabelling agree on them, at a
    /// hundredth of the cost.
    pub fn best(&self) -> Vec<Option<usize>> {
        self.signed(mutual)
    }

    /// The cosine of two fits, and how far that is beyond what unrelated ones show: of one rotation they are alike before
    /// it is known. `None` where one has no rows.
    pub fn alike(&self, other: &Self) -> Option<Agreement> {
        if self.rows == 0 || other.rows == 0 {
            return None;
        }
        let product =
            |x: &[f32], y: &[f32]| -> f64 { x.iter().zip(y).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
        let lengths = (product(&self.plain, &self.plain) * product(&other.plain, &other.plain)).sqrt();
        let cosine = if lengths > 0.0 { product(&self.plain, &other.plain) / lengths } else { 0.0 };
        let of = self.axis.min(self.sizes.1);
        let z = cosine * ((self.sizes.0 * self.sizes.1) as f64).sqrt();
        Some(Agreement { agreed: z, expected: 0.0, of, log10_p: log10_upper_tail(z) })
    }

    /// The nearest rotation, own x other; `None` where not all dimensions take part.
    pub fn rotation(&self) -> Option<Vec<f64>> {
        if self.dimensions.is_some() || self.rows == 0 {
            return None;
        }
        let wide: Vec<f64> = self.plain.iter().map(|v| f64::from(*v)).collect();
        nearest_orthogonal(&wide, self.sizes.0, self.sizes.1)
    }
}

/// Rows whose sums are made side by side: each addition waits for the one before it in its own row only.
const ABREAST: usize = 4;

/// What every row is multiplied with to have length 1, and its mean then; both zero for a row of zeros.
fn units(values: &[f32], cols: usize) -> Vec<(f64, f64)> {
    let cols = cols.max(1);
    let unit = |square: f64, sum: f64| {
        if square > 0.0 { (1.0 / square.sqrt(), sum / square.sqrt() / cols as f64) } else { (0.0, 0.0) }
    };
    let mut out = Vec::with_capacity(values.len() / cols);
    let fours = values.chunks_exact(ABREAST * cols);
    let last = fours.remainder();
    for four in fours {
        let (ab, cd) = four.split_at(2 * cols);
        let ((a, b), (c, d)) = (ab.split_at(cols), cd.split_at(cols));
        let (mut square, mut sum) = ([0.0; ABREAST], [0.0; ABREAST]);
        // Closures over arrays are calls of their own where nothing is inlined.
        for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
            let row = [f64::from(*a), f64::from(*b), f64::from(*c), f64::from(*d)];
            for at in 0..ABREAST {
                square[at] += row[at] * row[at];
                sum[at] += row[at];
            }
        }
        out.extend(square.into_iter().zip(sum).map(|(square, sum)| unit(square, sum)));
    }
    for row in last.chunks_exact(cols) {
        let (mut square, mut sum) = (0.0, 0.0);
        for v in row {
            let v = f64::from(*v);
            square += v * v;
            sum += v;
        }
        out.push(unit(square, sum));
    }
    out
}

/// Two independent fits, and how far they agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Dimensions, or trace of Q1^T Q2, on which they agree.
    pub agreed: f64,
    /// What independent models are expected to show.
    pub expected: f64,
    /// Dimensions in all.
    pub of: usize,
    /// log10 of the chance of as many.
    pub log10_p: f64,
}

impl Agreement {
    /// Share of the dimensions.
    pub fn effect(&self) -> f64 {
        self.agreed / self.of.max(1) as f64
    }
}

/// Dimensions on which two relabellings agree, sign and all: half of what [`same_order`] expects.
pub fn same_signed_order(a: &[Option<usize>], b: &[Option<usize>], other: usize) -> Agreement {
    let plain = same_order(a, b, other);
    let expected = plain.expected / 2.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let log10_p = log10_poisson_upper(plain.agreed as u64, expected);
    Agreement { expected, log10_p, ..plain }
}

/// Units on which two matchings agree: Poisson under the null, its mean the shorter axis over the
/// longer.
pub fn same_order(a: &[Option<usize>], b: &[Option<usize>], other: usize) -> Agreement {
    let agreed = a.iter().zip(b).filter(|(x, y)| x.is_some() && x == y).count();
    let expected = a.len().min(other) as f64 / a.len().max(other).max(1) as f64;
    Agreement { agreed: agreed as f64, expected, of: a.len(), log10_p: log10_poisson_upper(agreed as u64, expected) }
}

/// tr(Q1^T Q2), standard normal for unrelated rotations, the shorter axis for equal ones.
pub fn same_rotation(a: &[f64], b: &[f64], own: usize, other: usize) -> Agreement {
    let trace: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
    Agreement { agreed: trace, expected: 0.0, of: own.min(other), log10_p: log10_upper_tail(trace) }
}

/// Rows and columns of a score matrix that are each other's best; of equal scores the first.
pub fn mutual(scores: &[f32], rows: usize, cols: usize) -> Vec<Option<usize>> {
    let mut of_column = vec![(f32::NEG_INFINITY, usize::MAX); cols];
    let mut of_row = vec![None; rows];
    for (i, row) in scores.chunks_exact(cols.max(1)).enumerate() {
        let mut best = f32::NEG_INFINITY;
        for (j, (score, column)) in row.iter().zip(&mut of_column).enumerate() {
            if *score > best {
                best = *score;
                of_row[i] = Some(j);
            }
            if *score > column.0 {
                *column = (*score, i);
            }
        }
    }
    of_row.into_iter().enumerate().map(|(i, j)| j.filter(|j| of_column[*j].1 == i)).collect()
}

/// Those on which both agree.
pub fn common(a: &[Option<usize>], b: &[Option<usize>]) -> Vec<Option<usize>> {
    a.iter().zip(b).map(|(x, y)| if x == y { *x } else { None }).collect()
}

/// Share of a relabelling that leaves a dimension where it is.
pub fn fixed(order: &[Option<usize>]) -> f64 {
    let fixed = order.iter().enumerate().filter(|(i, j)| **j == Some(*i)).count();
    fixed as f64 / order.iter().flatten().count().max(1) as f64
}
