//! Unbiased linear CKA of the attention's input matrices over an aligned residual axis (METHODS 3).
//!
//! A matrix W (outputs x d) is seen through its Gram matrix K = W^T W over the residual dimensions, so that any rotation
//! of queries and keys inside a head leaves it alone. The similarity of two such matrices is
//! `HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))` with the U-centred estimator of Song et al. (2012), which is 0 on
//! average for unrelated matrices, whatever their sizes.

use rayon::prelude::*;

use super::log10_upper_tail;
use scratchproof_kernel::{assign, centre, cross, inner, normalise};

/// Gram matrices of one model: by layer and family, each n x n over the same aligned dimensions.
pub type LayerGrams = Vec<Vec<Vec<f64>>>;

/// Which dimension of the second model answers to a dimension of the first, and with which sign.
///
/// `a` and `b` hold rows that belong together (tokens), `da` and `db` columns wide. Columns are centred over the rows and
/// scaled to unit norm, so that a column's size alone matches nothing; then as many as `most` columns of the first, spread
/// evenly, get the columns of the second with the largest total of absolute correlations.
#[must_use]
pub fn align(a: &[f32], b: &[f32], (da, db): (usize, usize), most: usize) -> Vec<(usize, usize, f32)> {
    if da == 0 || db == 0 || a.len() / da != b.len() / db {
        return Vec::new();
    }
    let tokens = a.len() / da;
    let count = da.min(db).min(most);
    let chosen: Vec<usize> = (0..count).map(|i| (2 * i + 1) * da / (2 * count)).collect();
    let columns = |values: &[f32], width: usize, which: &mut dyn Iterator<Item = usize>| {
        let mut out = Vec::new();
        for column in which {
            let start = out.len();
            out.extend((0..tokens).map(|row| values[row * width + column]));
            centre(&mut out[start..], tokens);
            normalise(&mut out[start..]);
        }
        out
    };
    if tokens == 0 || count == 0 {
        return Vec::new();
    }
    let (x, y) = (columns(a, da, &mut chosen.iter().copied()), columns(b, db, &mut (0..db)));
    let products = cross(&x, &y, tokens);
    #[allow(clippy::cast_possible_truncation)]
    let scores: Vec<f32> = products.iter().map(|v| v.abs() as f32).collect();
    let found = assign(&scores, count, db).into_iter().enumerate();
    found.filter_map(|(i, j)| Some((chosen[i], j?, if products[i * db + j?] < 0.0 { -1.0 } else { 1.0 }))).collect()
}

/// How alike the attention of two models is, layer by layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Layer of the first, layer of the second, and their similarity; the mean over families.
    pub layers: Vec<(usize, usize, f64)>,
    /// Mean over the matched layers.
    pub mean: f64,
    /// The same after the second model's axis was relabelled at random: mean and standard deviation.
    pub null: (f64, f64),
    /// `(mean - null mean) / null sd`.
    pub z: f64,
    /// log10 P(Z > z) for a normal null of that mean and standard deviation.
    pub log10_p: f64,
    /// Relabellings drawn.
    pub draws: usize,
}

/// The U-centred matrix of a Gram matrix (n x n), scaled to unit norm: the inner product of two of them is their
/// unbiased CKA. `None` below 4 dimensions or where nothing is left.
#[must_use]
pub fn u_centred(gram: &[f64], n: usize) -> Option<Vec<f32>> {
    #[allow(clippy::cast_possible_truncation)]
    centred(gram, n).map(|matrix| matrix.into_iter().map(|v| v as f32).collect())
}

/// The same in double precision.
fn centred(gram: &[f64], n: usize) -> Option<Vec<f64>> {
    if n < 4 {
        return None;
    }
    let mut matrix = gram.get(..n * n)?.to_vec();
    let mut sums = Vec::with_capacity(n);
    let mut before = 0.0;
    for (i, row) in matrix.chunks_exact_mut(n).enumerate() {
        row[i] = 0.0;
        sums.push(row.iter().sum::<f64>());
        before += row.iter().map(|v| v * v).sum::<f64>();
    }
    let (all, n_f) = (sums.iter().sum::<f64>(), n as f64);
    let mut square = 0.0;
    for (i, row) in matrix.chunks_exact_mut(n).enumerate() {
        let of_row = all / ((n_f - 1.0) * (n_f - 2.0)) - sums[i] / (n_f - 2.0);
        for (cell, sum) in row.iter_mut().zip(&sums) {
            *cell += of_row - sum / (n_f - 2.0);
        }
        row[i] = 0.0;
        square += row.iter().map(|v| v * v).sum::<f64>();
    }
    let norm = square.sqrt();
    for cell in &mut matrix {
        *cell /= norm;
    }
    // What rounding leaves of equal entries is nothing.
    (norm.is_finite() && square > LEFT * before).then_some(matrix)
}

/// Share of the squares that must be left after centring.
const LEFT: f64 = 1e-20;

/// A Gram matrix with its dimensions in another order and signs, as one side of inner products with matrices that are centred
/// already. Centring is a projection, so those products need no other; and what it takes from the norm is in the sums of the
/// rows. So a relabelling costs one walk over the matrix instead of the five of making and centring it.
struct Relabelled {
    /// n x n, zero on the diagonal, centred or not.
    values: Vec<f64>,
    /// Of the centred matrix.
    norm: f64,
}

impl Relabelled {
    fn blank(n: usize) -> Self {
        Self { values: vec![0.0; n * n], norm: 0.0 }
    }

    /// Takes the place of another; `None` where nothing is left after centring.
    fn fill(&mut self, gram: &[f64], n: usize, order: &[(usize, f64)]) -> Option<()> {
        for (i, (row, (from, sign))) in self.values.chunks_exact_mut(n).zip(order).enumerate() {
            let given = &gram[from * n..(from + 1) * n];
            for (cell, (column, other)) in row.iter_mut().zip(order) {
                *cell = sign * other * given[*column];
            }
            row[i] = 0.0;
        }
        let (mut all, mut of_sums, mut before) = (0.0, 0.0, 0.0);
        for (sum, squares) in sums(&self.values, n) {
            all += sum;
            of_sums += sum * sum;
            before += squares;
        }
        let wide = n as f64;
        let square = before - 2.0 / (wide - 2.0) * of_sums + all * all / ((wide - 1.0) * (wide - 2.0));
        self.norm = square.sqrt();
        if square > SMALL * before {
            return self.norm.is_finite().then_some(());
        }
        // A small difference of large numbers: centred as it is written.
        self.values = centred(&self.values, n)?;
        self.norm = 1.0;
        Some(())
    }
}

/// Rows whose sums are made side by side: each addition waits for the one before it in its own row only.
const ABREAST: usize = 4;

/// Of every row the sum and the sum of squares, each in the order of the row.
fn sums(values: &[f64], n: usize) -> Vec<(f64, f64)> {
    let mut out = Vec::with_capacity(values.len() / n.max(1));
    let fours = values.chunks_exact(ABREAST * n.max(1));
    let last = fours.remainder();
    for four in fours {
        let (ab, cd) = four.split_at(2 * n);
        let ((a, b), (c, d)) = (ab.split_at(n), cd.split_at(n));
        // As the sum of an iterator begins.
        let (mut sum, mut squares) = ([-0.0; ABREAST], [-0.0; ABREAST]);
        for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
            let row = [*a, *b, *c, *d];
            for at in 0..ABREAST {
                sum[at] += row[at];
                squares[at] += row[at] * row[at];
            }
        }
        out.extend(sum.into_iter().zip(squares));
    }
    out.extend(last.chunks_exact(n.max(1)).map(|row| (row.iter().sum(), row.iter().map(|v| v * v).sum())));
    out
}

/// Share of the squares from which their difference is taken.
const SMALL: f64 = 1e-6;

/// Tests whether the attention of two models is alike beyond chance. Both hold the Gram matrices over the same `n`
/// aligned dimensions. Layers answer to each other by number where the depths are equal and by assignment otherwise; the
/// null is the same computation with the second model's dimensions relabelled, signs included, `draws` times from `seed`.
#[must_use]
pub fn attention(a: &LayerGrams, b: &LayerGrams, n: usize, draws: usize, seed: u64) -> Option<Attention> {
    let all_centred = |model: &LayerGrams| -> Option<Vec<Vec<Vec<f64>>>> {
        model.par_iter().map(|layer| layer.iter().map(|gram| centred(gram, n)).collect()).collect()
    };
    let first = all_centred(a)?;
    // What cannot be centred as it stands is not looked at in another order either.
    all_centred(b)?;
    let compare = |order: &[(usize, f64)], held: &mut Relabelled| -> Option<Vec<(usize, usize, f64)>> {
        let mut all = vec![0.0; first.len() * b.len()];
        for (j, layer) in b.iter().enumerate() {
            let paired = if first.len() == b.len() { j..j + 1 } else { 0..first.len() };
            for (family, gram) in layer.iter().enumerate() {
                held.fill(gram, n, order)?;
                for i in paired.clone() {
                    let Some(own) = first[i].get(family) else { continue };
                    let families = first[i].len().max(1) as f64;
                    all[i * b.len() + j] += inner(own, &held.values) / (held.norm * families);
                }
            }
        }
        Some(match_layers(&all, (first.len(), b.len())))
    };
    let mean = |layers: &[(usize, usize, f64)]| layers.iter().map(|l| l.2).sum::<f64>() / layers.len() as f64;
    let own: Vec<(usize, f64)> = (0..n).map(|i| (i, 1.0)).collect();
    let layers = compare(&own, &mut Relabelled::blank(n))?;
    if layers.is_empty() || draws < 2 {
        return None;
    }
    let null: Vec<f64> = (0..draws as u64)
        .into_par_iter()
        .map_init(
            || Relabelled::blank(n),
            |held, draw| compare(&shuffled(n, seed.wrapping_add(draw)), held).map(|layers| mean(&layers)),
        )
        .collect::<Option<_>>()?;
    let centre = null.iter().sum::<f64>() / draws as f64;
    let sd = (null.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / (draws - 1) as f64).sqrt();
    let mean = mean(&layers);
    let z = (mean - centre) / sd;
    z.is_finite().then(|| Attention { layers, mean, null: (centre, sd), z, log10_p: log10_upper_tail(z), draws })
}

/// Layers that answer each other, of all similarities first x second.
fn match_layers(all: &[f64], (first, second): (usize, usize)) -> Vec<(usize, usize, f64)> {
    if first == second {
        return (0..first).map(|i| (i, i, all[i * second + i])).collect();
    }
    #[allow(clippy::cast_possible_truncation)]
    let scores: Vec<f32> = all.iter().map(|v| *v as f32).collect();
    let matched = assign(&scores, first, second).into_iter().enumerate();
    matched.filter_map(|(i, j)| Some((i, j?, all[i * second + j?]))).collect()
}

/// A random order of `n` dimensions with random signs (Fisher-Yates on splitmix64).
fn shuffled(n: usize, seed: u64) -> Vec<(usize, f64)> {
    let mut state = seed.wrapping_mul(0xD134_2543_DE82_EF95);
    let mut draw = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let mut order: Vec<(usize, f64)> = (0..n).map(|i| (i, if draw().is_multiple_of(2) { 1.0 } else { -1.0 })).collect();
    for i in (1..n).rev() {
        let j = usize::try_from(draw() % (i as u64 + 1)).unwrap_or(0);
        order.swap(i, j);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use scratchproof_kernel::trace;

    fn matrix(rows: usize, cols: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_add(0x9E37_79B9);
        let mut draw = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 16_777_216.0 - 0.5
        };
        (0..rows * cols).map(|_| (0..4).map(|_| draw()).sum()).collect()
    }

    /// W^T W for W given as its transpose, n x outputs.
    fn gram(w: &[f32], outputs: usize) -> Vec<f64> {
        cross(w, w, outputs)
    }

    #[test]
    fn the_similarity_is_numpys() {
        // numpy: K, L from w[i, j] = ((i * a + j * b + c) % m) / m - 0.5, HSIC_1 of Song et al. written out with matrices.
        let make = |a: usize, b: usize, c: usize, m: usize| -> Vec<f32> {
            (0..6).flat_map(|i| (0..4).map(move |j| ((i * a + j * b + c) % m) as f32 / m as f32 - 0.5)).collect()
        };
        let (k, l) = (gram(&make(7, 3, 1, 11), 4), gram(&make(5, 2, 3, 13), 4));
        let (k, l) = (u_centred(&k, 6).unwrap(), u_centred(&l, 6).unwrap());
        assert!((trace(&k, &l) - (0.552_761_471_782)).abs() < 1e-6, "{}", trace(&k, &l));
        assert!((trace(&k, &k) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn rotated_outputs_are_the_same_and_strangers_are_null() {
        let (n, outputs) = (48, 32);
        let layers = |seed: u64| -> LayerGrams {
            (0..3).map(|i| (0..2).map(|f| gram(&matrix(n, outputs, seed + 10 * i + f), outputs)).collect()).collect()
        };
        let own = attention(&layers(1), &layers(1), n, 50, 9).unwrap();
        assert!((own.mean - 1.0).abs() < 1e-6 && own.z > 30.0, "{own:?}");
        let zs: Vec<f64> =
            (0..40).map(|i| attention(&layers(1), &layers(1000 + 100 * i), n, 100, 9).unwrap().z).collect();
        let mean = zs.iter().sum::<f64>() / 40.0;
        let sd = (zs.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / 39.0).sqrt();
        assert!(mean.abs() < 0.6 && (0.7..1.4).contains(&sd), "mean {mean}, sd {sd}");
    }

    #[test]
    fn a_relabelling_need_not_be_centred() {
        let (n, outputs) = (37, 20);
        let [k, l] = [3, 4].map(|seed| gram(&matrix(n, outputs, seed), outputs));
        // A common part, as of weights with a mean, is what centring takes away.
        let l: Vec<f64> = l.iter().enumerate().map(|(at, v)| v + 0.7 * (at / n + at % n) as f64).collect();
        let own = centred(&k, n).unwrap();
        let mut held = Relabelled::blank(n);
        for draw in 0..5 {
            let order = shuffled(n, draw);
            let (turn, sign): (Vec<usize>, Vec<f64>) = order.iter().copied().unzip();
            let written: Vec<f64> =
                (0..n * n).map(|at| sign[at / n] * sign[at % n] * l[turn[at / n] * n + turn[at % n]]).collect();
            let plain = inner(&own, &centred(&written, n).unwrap());
            held.fill(&l, n, &order).unwrap();
            assert!((inner(&own, &held.values) / held.norm - plain).abs() < 1e-12);
        }
        assert_eq!(Relabelled::blank(n).fill(&vec![2.0; n * n], n, &[(0, 1.0); 37]), None);
    }

    #[test]
    fn layers_of_other_depths_are_matched() {
        let (n, outputs) = (40, 30);
        let layer = |seed: u64| vec![gram(&matrix(n, outputs, seed), outputs)];
        let deep: LayerGrams = [1, 2, 3, 4].map(layer).into();
        let short: LayerGrams = [4, 1].map(layer).into();
        let found = attention(&deep, &short, n, 20, 3).unwrap();
        let pairs: Vec<_> = found.layers.iter().map(|(i, j, _)| (*i, *j)).collect();
        assert_eq!(pairs, [(0, 1), (3, 0)]);
        assert!(found.z > 10.0);
        assert_eq!(found, attention(&deep, &short, n, 20, 3).unwrap());
    }

    #[test]
    fn dimensions_are_found_again_by_the_rows_they_share() {
        let (tokens, d) = (200, 24);
        let a = matrix(tokens, d, 5);
        // Reversed, every second sign turned, and two columns that the first has not.
        let wide = matrix(tokens, 2, 77);
        let b: Vec<f32> = (0..tokens)
            .flat_map(|t| {
                let turned = (0..d).rev().map(|i| if i % 2 == 0 { -3.0 } else { 0.5 } * a[t * d + i]);
                wide[2 * t..2 * t + 2].iter().copied().chain(turned).collect::<Vec<_>>()
            })
            .collect();
        let found = align(&a, &b, (d, d + 2), 10);
        assert_eq!(found.len(), 10);
        assert!(found.iter().all(|&(i, j, s)| j == d + 1 - i && (s < 0.0) == (i % 2 == 0)), "{found:?}");
        assert!(align(&a, &b, (d, d), 10).is_empty() && align(&[], &[], (d, d), 10).is_empty());
    }

    #[test]
    fn broken_matrices_are_not_compared() {
        assert_eq!(u_centred(&[0.0; 9], 3), None);
        assert_eq!(u_centred(&[1.0; 25], 5), None);
        assert_eq!(u_centred(&[f64::NAN; 25], 5), None);
        assert_eq!(attention(&Vec::new(), &Vec::new(), 5, 10, 1), None);
    }
}
