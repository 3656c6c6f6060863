//! Unbiased linear CKA of the attention's input matrices over an aligned residual axis (METHODS 3).
//!
//! A matrix W (outputs x d) is seen through its Gram matrix K = W^T W over the residual dimensions, so that any rotation
//! of queries and keys inside a head leaves it alone. The similarity of two such matrices is
//! `HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))` with the U-centred estimator of Song et al. (2012), which is 0 on
//! average for unrelated matrices, whatever their sizes.

use rayon::prelude::*;

use super::log10_upper_tail;
use scratchproof_kernel::{assign, centre, cross, normalise, trace};

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
    centred(n, |i, j| gram[i * n + j])
}

fn centred(n: usize, value: impl Fn(usize, usize) -> f64) -> Option<Vec<f32>> {
    if n < 4 {
        return None;
    }
    let mut matrix = vec![0.0; n * n];
    let mut sums = vec![0.0; n];
    for i in 0..n {
        for j in (0..n).filter(|j| *j != i) {
            matrix[i * n + j] = value(i, j);
            sums[i] += matrix[i * n + j];
        }
    }
    let (all, n_f) = (sums.iter().sum::<f64>(), n as f64);
    let before: f64 = matrix.iter().map(|v| v * v).sum();
    let mut square = 0.0;
    for i in 0..n {
        for j in (0..n).filter(|j| *j != i) {
            let cell = &mut matrix[i * n + j];
            *cell += all / ((n_f - 1.0) * (n_f - 2.0)) - (sums[i] + sums[j]) / (n_f - 2.0);
            square += *cell * *cell;
        }
    }
    let norm = square.sqrt();
    #[allow(clippy::cast_possible_truncation)]
    let unit = || matrix.iter().map(|v| (v / norm) as f32).collect();
    // What rounding leaves of equal entries is nothing.
    (norm.is_finite() && square > 1e-20 * before).then(unit)
}

/// Tests whether the attention of two models is alike beyond chance. Both hold the Gram matrices over the same `n`
/// aligned dimensions. Layers answer to each other by number where the depths are equal and by assignment otherwise; the
/// null is the same computation with the second model's dimensions relabelled, signs included, `draws` times from `seed`.
#[must_use]
pub fn attention(a: &LayerGrams, b: &LayerGrams, n: usize, draws: usize, seed: u64) -> Option<Attention> {
    let first: Vec<Vec<Vec<f32>>> = a.iter().map(|layer| all_centred(layer, n)).collect::<Option<_>>()?;
    let compare = |order: &[(usize, f64)]| -> Option<Vec<(usize, usize, f64)>> {
        let relabelled =
            |gram: &Vec<f64>| centred(n, |i, j| order[i].1 * order[j].1 * gram[order[i].0 * n + order[j].0]);
        let second: Vec<Vec<Vec<f32>>> =
            b.iter().map(|layer| layer.iter().map(relabelled).collect::<Option<_>>()).collect::<Option<_>>()?;
        Some(match_layers(&first, &second))
    };
    let mean = |layers: &[(usize, usize, f64)]| layers.iter().map(|l| l.2).sum::<f64>() / layers.len() as f64;
    let own: Vec<(usize, f64)> = (0..n).map(|i| (i, 1.0)).collect();
    let layers = compare(&own)?;
    if layers.is_empty() || draws < 2 {
        return None;
    }
    let null: Vec<f64> = (0..draws as u64)
        .into_par_iter()
        .map(|draw| compare(&shuffled(n, seed.wrapping_add(draw))).map(|layers| mean(&layers)))
        .collect::<Option<_>>()?;
    let centre = null.iter().sum::<f64>() / draws as f64;
    let sd = (null.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / (draws - 1) as f64).sqrt();
    let mean = mean(&layers);
    let z = (mean - centre) / sd;
    z.is_finite().then(|| Attention { layers, mean, null: (centre, sd), z, log10_p: log10_upper_tail(z), draws })
}

fn all_centred(layer: &[Vec<f64>], n: usize) -> Option<Vec<Vec<f32>>> {
    layer.iter().map(|gram| u_centred(gram, n)).collect()
}

fn match_layers(a: &[Vec<Vec<f32>>], b: &[Vec<Vec<f32>>]) -> Vec<(usize, usize, f64)> {
    let cka = |i: usize, j: usize| {
        let families = a[i].iter().zip(&b[j]).map(|(x, y)| trace(x, y));
        families.sum::<f64>() / a[i].len().max(1) as f64
    };
    if a.len() == b.len() {
        return (0..a.len()).map(|i| (i, i, cka(i, i))).collect();
    }
    let all: Vec<f64> = (0..a.len()).flat_map(|i| (0..b.len()).map(move |j| (i, j))).map(|(i, j)| cka(i, j)).collect();
    #[allow(clippy::cast_possible_truncation)]
    let scores: Vec<f32> = all.iter().map(|v| *v as f32).collect();
    let matched = assign(&scores, a.len(), b.len()).into_iter().enumerate();
    matched.filter_map(|(i, j)| Some((i, j?, all[i * b.len() + j?]))).collect()
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
