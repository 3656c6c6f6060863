//! The one-pass Gram matrix of one tensor over all models of a case (METHODS 1).
//!
//! The rows of X are `W_0, W_1 - W_0, ..., W_T - W_(T-1)` for the series and the plain weights for the references. A
//! difference of two neighbours is exact in f64 for every format up to f32 unless their exponents are 29 apart, so no
//! distance along the path is ever the small difference of two large numbers; distances between checkpoints and
//! references, which no increment carries, are summed directly.

use serde::{Deserialize, Serialize};

use super::simd::{Lanes, simd};
use super::{Level, level};

/// Elements of one tensor that are held as f64 for all models at a time: a few hundred KiB stay in the second cache.
pub const BLOCK: usize = 512;

/// Independent partial sums, added in a fixed order at the end of a tile.
const LANES: usize = 8;

type Lane = [f64; LANES];

/// How many models there are of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GramShape {
    /// Checkpoints of the series, in the order of their steps.
    pub series: usize,
    /// Parents and controls.
    pub references: usize,
}

impl GramShape {
    /// Rows of X.
    #[must_use]
    pub fn rows(self) -> usize {
        self.series + self.references
    }
}

/// Sums over the elements of one tensor, or of a part of it; parts are merged in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Gram {
    shape: GramShape,
    elements: u64,
    /// X X^T, rows x rows, upper triangle valid.
    products: Vec<f64>,
    /// X 1.
    sums: Vec<f64>,
    /// `|W_t - R|^2`, series x references.
    distances: Vec<f64>,
    /// Elements that are NaN or infinite, by model.
    nonfinite: Vec<u64>,
}

/// Accumulates blocks of one tile.
pub struct GramTile {
    shape: GramShape,
    elements: u64,
    increments: Vec<f64>,
    products: Vec<Lane>,
    sums: Vec<Lane>,
    distances: Vec<Lane>,
    nonfinite: Vec<u64>,
    level: Level,
}

impl GramTile {
    /// An empty tile, computed at the best instruction set of this processor.
    #[must_use]
    pub fn new(shape: GramShape) -> Self {
        Self::with_level(shape, level())
    }

    fn with_level(shape: GramShape, level: Level) -> Self {
        let rows = shape.rows();
        Self {
            shape,
            elements: 0,
            increments: vec![0.0; rows * BLOCK],
            products: vec![[0.0; LANES]; rows * rows],
            sums: vec![[0.0; LANES]; rows],
            distances: vec![[0.0; LANES]; shape.series * shape.references],
            nonfinite: vec![0; rows],
            level,
        }
    }

    /// Adds one block: `values` holds rows x [`BLOCK`] decoded weights, model by model, of which the first `length` of
    /// every row count. The rest of each row is overwritten with zeros.
    ///
    /// # Panics
    /// If `values` is not rows x [`BLOCK`] long or `length` is more than [`BLOCK`].
    pub fn add(&mut self, values: &mut [f64], length: usize) {
        assert!(values.len() == self.shape.rows() * BLOCK && length <= BLOCK);
        for row in values.chunks_exact_mut(BLOCK) {
            row[length..].fill(0.0);
        }
        self.elements += length as u64;
        add_block(self.level, values, self);
    }

    /// Whether a value that is not finite went into the sums: they then have no finite square.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        let rows = self.shape.rows();
        (0..rows).any(|row| !self.products[row * rows + row].iter().all(|sum| sum.is_finite()))
    }

    /// Counts the values that are not finite in a block that was added. Apart from [`GramTile::add`], because hardly any
    /// tile has one: a poisoned tile is gone through again.
    ///
    /// # Panics
    /// As [`GramTile::add`].
    pub fn count_nonfinite(&mut self, values: &[f64], length: usize) {
        assert!(values.len() == self.shape.rows() * BLOCK && length <= BLOCK);
        for (row, count) in values.chunks_exact(BLOCK).zip(&mut self.nonfinite) {
            *count += row[..length].iter().filter(|value| !value.is_finite()).count() as u64;
        }
    }

    /// The tile's sums.
    #[must_use]
    pub fn finish(self) -> Gram {
        let fold = |lanes: &Vec<Lane>| lanes.iter().map(fold_lane).collect();
        let rows = self.shape.rows();
        // What the register tiles computed below the diagonal depends on their shape and is no one's figure.
        let upper = |(at, lane): (usize, &Lane)| if at % rows < at / rows { 0.0 } else { fold_lane(lane) };
        Gram {
            shape: self.shape,
            elements: self.elements,
            products: self.products.iter().enumerate().map(upper).collect(),
            sums: fold(&self.sums),
            distances: fold(&self.distances),
            nonfinite: self.nonfinite,
        }
    }
}

fn fold_lane(lane: &Lane) -> f64 {
    let [a, b, c, d, e, f, g, h] = *lane;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

simd! { fn add_block(values: &[f64], tile: &mut GramTile) = add_block_body }

#[inline(always)]
#[allow(clippy::inline_always)]
fn add_block_body<L: Lanes>(lanes: L, values: &[f64], tile: &mut GramTile) {
    let GramShape { series, references } = tile.shape;
    let rows = series + references;
    let all = values.as_chunks::<LANES>().0;
    let row = |r: usize| &all[r * CHUNKS..(r + 1) * CHUNKS];
    let increments = tile.increments.as_chunks_mut::<LANES>().0;
    for r in 0..rows {
        let own = row(r);
        let target = &mut increments[r * CHUNKS..(r + 1) * CHUNKS];
        let mut sum = lanes.load_d(&tile.sums[r]);
        if r == 0 || r >= series {
            for (new, out) in own.iter().zip(target) {
                sum = lanes.add_d(sum, lanes.load_d(new));
                *out = *new;
            }
        } else {
            for ((new, old), out) in own.iter().zip(row(r - 1)).zip(target) {
                let increment = lanes.sub_d(lanes.load_d(new), lanes.load_d(old));
                sum = lanes.add_d(sum, increment);
                lanes.store_d(increment, out);
            }
        }
        lanes.store_d(sum, &mut tile.sums[r]);
    }
    for t in 0..series {
        for r in 0..references {
            let target = &mut tile.distances[t * references + r];
            let mut sum = lanes.load_d(target);
            for (x, y) in row(t).iter().zip(row(series + r)) {
                let difference = lanes.sub_d(lanes.load_d(x), lanes.load_d(y));
                sum = lanes.fma_d(difference, difference, sum);
            }
            lanes.store_d(sum, target);
        }
    }
    let x = tile.increments.as_chunks::<LANES>().0;
    let products = &mut tile.products;
    let mut i = 0;
    while i < rows {
        // The blocks that cross the diagonal compute a few products twice; the upper triangle is the one that counts.
        i += if L::TALL && i + 4 <= rows {
            band::<L, 4>(lanes, x, i, rows, products)
        } else if i + 2 <= rows {
            band::<L, 2>(lanes, x, i, rows, products)
        } else {
            band::<L, 1>(lanes, x, i, rows, products)
        };
    }
}

/// Vectors of a block's row.
const CHUNKS: usize = BLOCK / LANES;

/// Products of rows i.. i + I with all rows from i on, three at a time: twelve AVX-512 or six pairs of AVX2 accumulators
/// stay in registers.
#[inline(always)]
#[allow(clippy::inline_always)]
fn band<L: Lanes, const I: usize>(lanes: L, x: &[Lane], i: usize, rows: usize, products: &mut [Lane]) -> usize {
    let mut j = i;
    while j + 3 <= rows {
        pairs::<L, I, 3>(lanes, x, i, j, rows, products);
        j += 3;
    }
    while j < rows {
        pairs::<L, I, 1>(lanes, x, i, j, rows, products);
        j += 1;
    }
    I
}

#[inline(always)]
#[allow(clippy::inline_always, clippy::needless_range_loop)]
fn pairs<L: Lanes, const I: usize, const J: usize>(
    lanes: L,
    x: &[Lane],
    i0: usize,
    j0: usize,
    rows: usize,
    products: &mut [Lane],
) {
    let mut sums = [[lanes.load_d(&[0.0; LANES]); J]; I];
    for i in 0..I {
        for j in 0..J {
            sums[i][j] = lanes.load_d(&products[(i0 + i) * rows + j0 + j]);
        }
    }
    let a = &x[i0 * CHUNKS..(i0 + I) * CHUNKS];
    let b = &x[j0 * CHUNKS..(j0 + J) * CHUNKS];
    for c in 0..CHUNKS {
        let mut right = [lanes.load_d(&b[c]); J];
        for j in 1..J {
            right[j] = lanes.load_d(&b[j * CHUNKS + c]);
        }
        for i in 0..I {
            let left = lanes.load_d(&a[i * CHUNKS + c]);
            for j in 0..J {
                sums[i][j] = lanes.fma_d(left, right[j], sums[i][j]);
            }
        }
    }
    for i in 0..I {
        for j in 0..J {
            lanes.store_d(sums[i][j], &mut products[(i0 + i) * rows + j0 + j]);
        }
    }
}

/// A square that rounding made negative is 0; `f64::max` would make one of NaN as well.
fn not_negative(square: f64) -> f64 {
    if square < 0.0 { 0.0 } else { square }
}

/// The figures of two models over one tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Elements.
    pub elements: u64,
    /// <a, b>.
    pub product: f64,
    /// |a|^2, |b|^2.
    pub squares: [f64; 2],
    /// Sums of a and of b.
    pub sums: [f64; 2],
    /// |a - b|^2.
    pub distance2: f64,
}

/// The sums of a [`Gram`], as they are kept in a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GramSums {
    /// Elements of the tensor.
    pub elements: u64,
    /// X X^T, the upper triangle row by row.
    pub products: Vec<f64>,
    /// X 1.
    pub sums: Vec<f64>,
    /// `|W_t - R|^2`, series x references.
    pub distances: Vec<f64>,
    /// Elements that are not finite, by model.
    pub nonfinite: Vec<u64>,
}

impl Gram {
    /// Its sums.
    #[must_use]
    pub fn to_sums(&self) -> GramSums {
        let rows = self.shape.rows();
        GramSums {
            elements: self.elements,
            products: (0..rows).flat_map(|i| self.products[i * rows + i..(i + 1) * rows].iter().copied()).collect(),
            sums: self.sums.clone(),
            distances: self.distances.clone(),
            nonfinite: self.nonfinite.clone(),
        }
    }

    /// The matrix of these sums; `None` if there are not as many as the shape asks for.
    #[must_use]
    pub fn from_sums(shape: GramShape, sums: GramSums) -> Option<Self> {
        let rows = shape.rows();
        let fits = sums.products.len() == rows.checked_mul(rows + 1)? / 2
            && sums.sums.len() == rows
            && sums.distances.len() == shape.series.checked_mul(shape.references)?
            && sums.nonfinite.len() == rows;
        let mut products = vec![0.0; if fits { rows * rows } else { 0 }];
        let mut upper = sums.products.into_iter();
        for i in 0..if fits { rows } else { 0 } {
            for product in &mut products[i * rows + i..(i + 1) * rows] {
                *product = upper.next()?;
            }
        }
        fits.then_some(Self {
            shape,
            elements: sums.elements,
            products,
            sums: sums.sums,
            distances: sums.distances,
            nonfinite: sums.nonfinite,
        })
    }

    /// No elements yet.
    #[must_use]
    pub fn empty(shape: GramShape) -> Self {
        GramTile::new(shape).finish()
    }

    /// Adds the sums of the next part. The order of parts is the caller's and decides the last bits.
    pub fn merge(&mut self, next: &Self) {
        debug_assert_eq!(self.shape, next.shape);
        self.elements += next.elements;
        let add = |into: &mut [f64], from: &[f64]| into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        add(&mut self.products, &next.products);
        add(&mut self.sums, &next.sums);
        add(&mut self.distances, &next.distances);
        self.nonfinite.iter_mut().zip(&next.nonfinite).for_each(|(a, b)| *a += b);
    }

    /// How many models.
    #[must_use]
    pub fn shape(&self) -> GramShape {
        self.shape
    }

    /// Elements of the tensor.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// Elements that are NaN or infinite in one model.
    #[must_use]
    pub fn nonfinite(&self, model: usize) -> u64 {
        self.nonfinite[model]
    }

    /// Product of two rows of X: row 0 is `W_0`, row t of the series `W_t - W_(t-1)`.
    #[must_use]
    pub fn entry(&self, i: usize, j: usize) -> f64 {
        self.products[i.min(j) * self.shape.rows() + i.max(j)]
    }

    /// The rows of X whose sum is the weights of `model`.
    fn terms(&self, model: usize) -> std::ops::Range<usize> {
        if model < self.shape.series { 0..model + 1 } else { model..model + 1 }
    }

    /// <a, b> over the elements.
    #[must_use]
    pub fn product(&self, a: usize, b: usize) -> f64 {
        self.terms(a).map(|i| self.terms(b).map(|j| self.entry(i, j)).sum::<f64>()).sum()
    }

    /// Sum of the elements of one model.
    #[must_use]
    pub fn sum(&self, model: usize) -> f64 {
        self.terms(model).map(|i| self.sums[i]).sum()
    }

    /// `<W_b - W_a, W_d - W_c>` for checkpoints a <= b and c <= d of the series.
    #[must_use]
    pub fn displacement_product(&self, (a, b): (usize, usize), (c, d): (usize, usize)) -> f64 {
        (a + 1..=b).map(|i| (c + 1..=d).map(|j| self.entry(i, j)).sum::<f64>()).sum()
    }

    /// |a - b|^2: from increments within the series, summed directly between a checkpoint and a reference, and by
    /// expansion between two references.
    #[must_use]
    pub fn distance2(&self, a: usize, b: usize) -> f64 {
        let (a, b) = (a.min(b), a.max(b));
        let GramShape { series, references } = self.shape;
        if b < series {
            not_negative(self.displacement_product((a, b), (a, b)))
        } else if a < series {
            self.distances[a * references + b - series]
        } else {
            not_negative(self.entry(a, a) + self.entry(b, b) - 2.0 * self.entry(a, b))
        }
    }

    /// Everything of two models.
    #[must_use]
    pub fn pair(&self, a: usize, b: usize) -> Pair {
        Pair {
            elements: self.elements,
            product: self.product(a, b),
            squares: [self.product(a, a), self.product(b, b)],
            sums: [self.sum(a), self.sum(b)],
            distance2: self.distance2(a, b),
        }
    }
}

impl Pair {
    /// Cosine; `None` if a norm is zero or anything is not finite.
    #[must_use]
    pub fn cosine(&self) -> Option<f64> {
        ratio(self.product, self.squares)
    }

    /// Pearson correlation, the centred cosine; `None` where a model is constant up to rounding.
    #[must_use]
    pub fn pearson(&self) -> Option<f64> {
        let n = self.elements as f64;
        let variances: [f64; 2] = std::array::from_fn(|k| {
            let variance = self.squares[k] - self.sums[k] * self.sums[k] / n;
            // What a sum of n rounded terms leaves of a constant is not a variance.
            if variance <= self.squares[k] * 1e-13 { 0.0 } else { variance }
        });
        ratio(self.product - self.sums[0] * self.sums[1] / n, variances)
    }

    /// Coefficient of variation of the first (0) or the second (1): population standard deviation over |mean|. `None` where
    /// the mean is 0 or anything is not finite.
    ///
    /// # Panics
    /// If `which` is neither 0 nor 1.
    #[must_use]
    pub fn variation(&self, which: usize) -> Option<f64> {
        let n = self.elements as f64;
        let mean = self.sums[which] / n;
        finite(not_negative(self.squares[which] / n - mean * mean).sqrt() / mean.abs())
    }

    /// |a - b|.
    #[must_use]
    pub fn l2(&self) -> Option<f64> {
        finite(self.distance2.sqrt())
    }

    /// |a - b| / |b|.
    #[must_use]
    pub fn relative_l2(&self) -> Option<f64> {
        finite((self.distance2 / self.squares[1]).sqrt())
    }

    /// Root mean square of a - b.
    #[must_use]
    pub fn rms(&self) -> Option<f64> {
        finite((self.distance2 / self.elements as f64).sqrt())
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn ratio(product: f64, squares: [f64; 2]) -> Option<f64> {
    if squares[0] > 0.0 && squares[1] > 0.0 {
        finite(product / (squares[0].sqrt() * squares[1].sqrt())).map(|r| r.clamp(-1.0, 1.0))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(rows: usize, length: usize) -> Vec<f64> {
        let mut state = 7_u64;
        let mut values = vec![0.0; rows * BLOCK];
        for row in values.chunks_exact_mut(BLOCK) {
            for value in &mut row[..length] {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *value = f64::from((state >> 40) as u32 as f32) / f64::from(1 << 24) - 0.5;
            }
        }
        values
    }

    #[test]
    fn all_instruction_sets_give_the_same_bits_and_the_naive_sums() {
        let shape = GramShape { series: 4, references: 3 };
        let length = 437;
        let mut grams = Vec::new();
        for level in [Level::Portable, Level::Avx2, Level::Avx512] {
            let mut tile = GramTile::with_level(shape, level);
            tile.add(&mut models(7, length), length);
            grams.push(tile.finish());
        }
        assert_eq!(grams[0], grams[1]);
        assert_eq!(grams[0], grams[2]);
        let values = models(7, length);
        let row = |m: usize| &values[m * BLOCK..m * BLOCK + length];
        for a in 0..7 {
            for b in 0..7 {
                let naive: f64 = row(a).iter().zip(row(b)).map(|(x, y)| x * y).sum();
                let distance: f64 = row(a).iter().zip(row(b)).map(|(x, y)| (x - y) * (x - y)).sum();
                assert!((grams[0].product(a, b) - naive).abs() < 1e-12, "{a} {b}");
                assert!((grams[0].distance2(a, b) - distance).abs() < 1e-11, "{a} {b}");
            }
        }
    }

    #[test]
    fn a_distance_of_one_part_in_a_billion_keeps_its_digits() {
        let shape = GramShape { series: 2, references: 0 };
        let mut values = models(2, BLOCK);
        let (first, second) = values.split_at_mut(BLOCK);
        second.copy_from_slice(first);
        second[100] += 1e-9;
        let exact = (second[100] - first[100]).abs();
        let mut tile = GramTile::new(shape);
        tile.add(&mut values, BLOCK);
        let l2 = tile.finish().pair(0, 1).l2().expect("finite");
        assert!((l2 / exact - 1.0).abs() < 1e-12, "{l2}");
    }

    #[test]
    fn variation_is_that_of_numpy() {
        // numpy: x = [1, 2, 4]; x.std() / abs(x.mean()) = 0.5345224838248488
        let mut values = vec![0.0; BLOCK];
        values[..3].copy_from_slice(&[1.0, 2.0, 4.0]);
        let mut tile = GramTile::new(GramShape { series: 1, references: 0 });
        tile.add(&mut values, 3);
        let variation = tile.finish().pair(0, 0).variation(0).expect("a mean");
        assert!((variation - 0.534_522_483_824_848_8).abs() < 1e-15);
    }

    #[test]
    fn constants_have_no_pearson_and_non_finite_values_no_figures() {
        let shape = GramShape { series: 1, references: 1 };
        let mut values = vec![0.1; 2 * BLOCK];
        values[BLOCK..].copy_from_slice(&models(1, BLOCK));
        let mut tile = GramTile::new(shape);
        tile.add(&mut values.clone(), 300);
        assert_eq!(tile.finish().pair(0, 1).pearson(), None);
        values[5] = f64::NAN;
        values[6] = f64::INFINITY;
        let mut tile = GramTile::new(shape);
        tile.add(&mut values, 300);
        assert!(tile.is_poisoned());
        tile.count_nonfinite(&values, 300);
        let gram = tile.finish();
        assert_eq!([gram.nonfinite(0), gram.nonfinite(1)], [2, 0]);
        assert_eq!(gram.pair(0, 1).cosine(), None);
        assert_eq!(gram.pair(0, 1).l2(), None);
        assert!(gram.distance2(0, 0) == 0.0 || gram.distance2(0, 0).is_nan());
    }
}
