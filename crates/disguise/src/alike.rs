//! Whether the heads of two models are each other's, by products that no change of basis moves.
//!
//! Heads are matched over all layers, once by one set of matrices and once by another that has none of them. Under the
//! null the two matchings are independent. Depth may be recognised all the same (first layers are like first
//! layers), so heads are taken as exchangeable inside a layer only: where both matchings send a head into one layer, they name
//! the same head there with a chance of one over its heads, and the sum of these chances is what is expected.
//!
//! Matched heads say more: rows of one head against rows of another have a product that no change of basis moves either, and
//! whether the two models agree on its sign is a fair coin. For to turn the sign of a value row and of what reads it, or of a
//! key pair and the query pair, makes a model that is as likely from the start on, and whose training (by any update that treats elements
//! alike) goes the same way. Heads are matched by values where the coins are of keys and by keys where they are of
//! values, so that the matching knows nothing of the coins; the products of a row with all heads before it are one coin. So the
//! count is binomial, exactly, whatever the models have in common but their starts.

use super::frame::common;
use super::matrix::narrow;
use super::products::{Group, Head, Products, Square, cells};
use scratchproof_kernel::{assign, product};
use scratchproof_measurements::{HeadMatch, HeadTest, MatchedHead, SignTest};
use scratchproof_stats::{log10_binomial_upper, log10_compound_upper};

/// Fewer heads than this are not matched: nothing could follow.
const FEWEST: usize = 4;

/// Matches the heads of two models.
#[must_use]
pub fn alike(own: &Products, other: &Products) -> HeadMatch {
    let none = |why: &str| HeadMatch { left_out: Some(why.to_owned()), ..HeadMatch::default() };
    if own.heads().min(other.heads()) < FEWEST {
        return none("fewer than four heads");
    }
    let Some((ours, theirs)) = common_dimensions((own.dim, own.side), (other.dim, other.side)) else {
        return none("heads of one dimension");
    };
    let (a, b) = (Side::new(own, &ours), Side::new(other, &theirs));
    let mut found = HeadMatch::default();
    let attention = a.scores(&b, &[A::Queries, A::QueriesKeys, A::Keys]);
    let values = a.scores(&b, &[A::Values, A::ValuesOutputs, A::Outputs]);
    let inside = a.inside().max(b.inside());
    let (test, agreed) =
        tested("queries and keys against values and outputs", &attention, &values, (&a.heads, &b.heads), inside);
    found.tests.push(test);
    let cols = b.heads.len();
    for (i, j) in agreed.iter().enumerate().filter_map(|(i, j)| Some((i, (*j)?))) {
        found.matched.push(MatchedHead {
            layer_subject: a.heads[i].0,
            head_subject: a.heads[i].1,
            layer_other: b.heads[j].0,
            head_other: b.heads[j].1,
            attention: f64::from(attention[i * cols + j]),
            values: f64::from(values[i * cols + j]),
        });
    }
    let keys = a.group_scores(&b, A::Keys);
    let values = a.group_scores(&b, A::Values);
    let (test, agreed) = tested("keys against values", &keys, &values, (&a.groups, &b.groups), 1);
    let pairs = agreed.iter().enumerate().filter_map(|(i, j)| Some((a.groups[i], b.groups[(*j)?])));
    found.groups = pairs.map(|(x, y)| (x.0, x.1, y.0, y.1)).collect();
    found.tests.push(test);
    let (rows, cols) = (a.groups.len(), b.groups.len());
    let sets = cells(own.side);
    found.signs.extend(a.signs(&b, "key rows, heads matched by values", &assign(&values, rows, cols), &sets));
    let single: Vec<Vec<usize>> = (0..own.side).map(|i| vec![i]).collect();
    found.signs.extend(a.signs(&b, "value rows, heads matched by keys", &assign(&keys, rows, cols), &single));
    found
}

/// Two matchings held against each other, and where they agree.
#[allow(clippy::type_complexity, reason = "a test and an assignment, used here alone")]
fn tested(
    between: &str,
    first: &[f32],
    second: &[f32],
    (own, other): (&[(u32, u32)], &[(u32, u32)]),
    inside: usize,
) -> (HeadTest, Vec<Option<usize>>) {
    let (rows, cols) = (own.len(), other.len());
    let (x, y) = (assign(first, rows, cols), assign(second, rows, cols));
    let agreed = common(&x, &y);
    let heads = |layer: u32| other.iter().filter(|o| o.0 == layer).count();
    let expected: f64 = x
        .iter()
        .zip(&y)
        .filter_map(|(x, y)| {
            let (x, y) = (other[(*x)?].0, other[(*y)?].0);
            (x == y).then(|| 1.0 / heads(x) as f64)
        })
        .sum();
    let score = |i: usize, j: usize| f64::from(first[i * cols + j] + second[i * cols + j]) / 2.0;
    let mean = |pairs: Vec<f64>| (!pairs.is_empty()).then(|| pairs.iter().sum::<f64>() / pairs.len() as f64);
    let correlation = mean(agreed.iter().enumerate().filter_map(|(i, j)| Some(score(i, (*j)?))).collect());
    let apart = |(i, (x, y)): (usize, (&Option<usize>, &Option<usize>))| {
        let (x, y) = ((*x)?, (*y)?);
        (x != y).then(|| f64::from(first[i * cols + x] + second[i * cols + y]) / 2.0)
    };
    let chance = mean(x.iter().zip(&y).enumerate().filter_map(apart).collect());
    let count = agreed.iter().flatten().count() as u64;
    let test = HeadTest {
        between: between.to_owned(),
        agreed: count,
        expected,
        of: rows.min(cols) as u64,
        log10_p: log10_compound_upper(count, expected, inside),
        correlation,
        chance,
    };
    (test, agreed)
}

/// Which products of a head.
#[derive(Clone, Copy)]
enum A {
    Queries,
    Keys,
    QueriesKeys,
    Values,
    Outputs,
    ValuesOutputs,
}

impl A {
    /// Whether the square is symmetric with ones along its diagonal.
    fn is_gram(self) -> bool {
        !matches!(self, Self::QueriesKeys | Self::ValuesOutputs)
    }

    fn of<'a>(self, group: &'a Group, head: &'a Head) -> &'a Square {
        match self {
            Self::Queries => &head.queries,
            Self::Keys => &group.keys,
            Self::QueriesKeys => &head.queries_keys,
            Self::Values => &group.values,
            Self::Outputs => &head.outputs,
            Self::ValuesOutputs => &head.values_outputs,
        }
    }
}

/// One model, its heads in a row.
struct Side<'a> {
    products: &'a Products,
    /// Dimensions of the squares that both models have.
    dimensions: &'a [usize],
    /// Layer and number of every query head, and of every key-value head.
    heads: Vec<(u32, u32)>,
    groups: Vec<(u32, u32)>,
}

impl<'a> Side<'a> {
    fn new(products: &'a Products, dimensions: &'a [usize]) -> Self {
        let heads = products.groups.iter().flat_map(|g| g.heads.iter().map(|h| (g.layer, h.head))).collect();
        let groups = products.groups.iter().map(|g| (g.layer, g.group)).collect();
        Self { products, dimensions, heads, groups }
    }

    /// Query heads that share a key-value head, at most.
    fn inside(&self) -> usize {
        self.products.groups.iter().map(|g| g.heads.len()).max().unwrap_or(1)
    }

    /// The figures of every query head, each kind less its mean over the heads and scaled to one size, rows of length 1.
    fn figures(&self, kinds: &[A], by_group: bool) -> (Vec<f32>, usize) {
        let heads = || {
            let own = |group: &'a Group| {
                let heads = if by_group { &group.heads[..group.heads.len().min(1)] } else { &group.heads[..] };
                heads.iter().map(move |head| (group, head))
            };
            self.products.groups.iter().flat_map(own)
        };
        let count = heads().count();
        // Of each kind its mean and the factor that brings it to one size: heads are taken apart twice, so that only the
        // figures are held.
        let scaled = |kind: &A| {
            let row = |(group, head)| self.picked(kind.of(group, head), kind.is_gram());
            let length = heads().next().map_or(0, |first| row(first).len());
            let mut mean = vec![0.0; length];
            for head in heads() {
                mean.iter_mut().zip(row(head)).for_each(|(m, v)| *m += v / count as f64);
            }
            let less = |head| row(head).into_iter().zip(&mean).map(|(v, m)| (v - m) * (v - m)).sum::<f64>();
            let squares = heads().fold(0.0, |squares, head| squares + less(head));
            let scale = if squares > 0.0 { ((count * length) as f64 / squares).sqrt() } else { 0.0 };
            (*kind, mean, scale)
        };
        let scaled: Vec<(A, Vec<f64>, f64)> = kinds.iter().map(scaled).collect();
        let length: usize = scaled.iter().map(|(_, mean, _)| mean.len()).sum();
        let mut figures = Vec::with_capacity(count * length);
        for (group, head) in heads() {
            let of = |(kind, mean, scale): &(A, Vec<f64>, f64)| -> Vec<f64> {
                let row = self.picked(kind.of(group, head), kind.is_gram());
                row.into_iter().zip(mean).map(|(v, m)| (v - m) * scale).collect()
            };
            let row: Vec<f64> = scaled.iter().flat_map(of).collect();
            let mean = row.iter().sum::<f64>() / length.max(1) as f64;
            let norm = row.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>().sqrt();
            figures.extend(row.into_iter().map(|v| if norm > 0.0 { narrow((v - mean) / norm) } else { 0.0 }));
        }
        (figures, length)
    }

    /// The part of a square that both models have; of a Gram matrix what is above the diagonal.
    fn picked(&self, square: &Square, gram: bool) -> Vec<f64> {
        let side = self.products.side;
        let places = self.dimensions.iter().enumerate();
        places
            .flat_map(|(at, i)| {
                let others = if gram { &self.dimensions[at + 1..] } else { self.dimensions };
                others.iter().map(move |j| f64::from(square.get(i * side + j).copied().unwrap_or(0.0)))
            })
            .collect()
    }

    /// Correlations of the products of query heads, own x other.
    fn scores(&self, other: &Self, kinds: &[A]) -> Vec<f32> {
        let ((a, length), (b, _)) = (self.figures(kinds, false), other.figures(kinds, false));
        if length == 0 { vec![0.0; self.heads.len() * other.heads.len()] } else { product(&a, &b, length) }
    }

    /// The same of key-value heads.
    fn group_scores(&self, other: &Self, kind: A) -> Vec<f32> {
        let ((a, length), (b, _)) = (self.figures(&[kind], true), other.figures(&[kind], true));
        if length == 0 { vec![0.0; self.groups.len() * other.groups.len()] } else { product(&a, &b, length) }
    }

    /// The coins of one kind of rows, heads paired by `order`; `sets` are places in a square of this model that share a coin.
    fn signs(&self, other: &Self, between: &str, order: &[Option<usize>], sets: &[Vec<usize>]) -> Option<SignTest> {
        let (mine, theirs) = (&self.products.cross, &other.products.cross);
        // Places of the two models' squares that correspond, as numbers among the rows of a head.
        let place = |cross: &super::products::Cross, at: usize| cross.dimensions.iter().position(|d| *d == at);
        let rows: Vec<(usize, usize, usize)> = (self.dimensions.iter().zip(other.dimensions))
            .filter_map(|(i, j)| {
                let set = sets.iter().position(|set| set.contains(i))?;
                Some((place(mine, *i)?, place(theirs, *j)?, set))
            })
            .collect();
        let pairs: Vec<(usize, usize)> = mine
            .groups
            .iter()
            .enumerate()
            .filter_map(|(at, group)| {
                let partner = (*order.get(*group)?)?;
                Some((at, theirs.groups.iter().position(|g| *g == partner)?))
            })
            .collect();
        let keys = between.starts_with("key");
        let (a, b) = if keys { (&mine.keys, &theirs.keys) } else { (&mine.values, &theirs.values) };
        let (wide, long) = (mine.dimensions.len(), theirs.dimensions.len());
        let (stride, other_stride) = (wide * mine.groups.len(), long * theirs.groups.len());
        if a.len() != stride * stride || b.len() != other_stride * other_stride {
            return None;
        }
        let (mut agreed, mut of) = (0, 0);
        let (mut both, mut squares) = (0.0, (0.0, 0.0));
        for (at, (i, j)) in pairs.iter().enumerate() {
            let mut coins = vec![0.0; sets.len()];
            for (p, q, set) in &rows {
                let (x, y) =
                    (&a[(i * wide + p) * stride..][..stride], &b[(j * long + q) * other_stride..][..other_stride]);
                for (before, partner) in &pairs[..at] {
                    for (p, q, _) in &rows {
                        let (x, y) = (f64::from(x[before * wide + p]), f64::from(y[partner * long + q]));
                        coins[*set] += x * y;
                        squares.0 += x * x;
                        squares.1 += y * y;
                    }
                }
            }
            both += coins.iter().sum::<f64>();
            of += coins.iter().filter(|c| **c != 0.0).count() as u64;
            agreed += coins.iter().filter(|c| **c > 0.0).count() as u64;
        }
        let norm = f64::sqrt(squares.0 * squares.1);
        (of > 0 && norm > 0.0).then(|| SignTest {
            between: between.to_owned(),
            agreed,
            of,
            log10_p: log10_binomial_upper(agreed, of),
            correlation: both / norm,
            heads: pairs.len() as u64,
        })
    }
}

/// The dimensions of two models' squares that are held against each other. Heads of another width: what was put at the end of
/// one of them is left out, at the end of each half where both have halves that positions turn.
fn common_dimensions(own: (usize, usize), other: (usize, usize)) -> Option<(Vec<usize>, Vec<usize>)> {
    let short = own.1.min(other.1);
    if short < 2 {
        return None;
    }
    let halves = own.0 != other.0 && own.1.is_multiple_of(2) && other.1.is_multiple_of(2);
    let picked = |side: usize| -> Vec<usize> {
        if halves { (0..short / 2).chain(side / 2..side / 2 + short / 2).collect() } else { (0..short).collect() }
    };
    Some((picked(own.1), picked(other.1)))
}
