//! Neurons of two MLPs matched in any basis: by the angles between the rows of one MLP, which no change of the residual basis moves.
//!
//! An MLP that was copied alone, or beside attention whose heads were mixed inside, has no head that would give the frame. Its own
//! rows do: with norm weights folded in, the cosine of any two rows of gate, up and down (one row a neuron) is the same
//! whatever orthogonal basis the residual axis is written in, and whatever was scaled. The sign of a neuron in up and down
//! may be turned in both without changing the model, so all but the angles among gate rows are taken without sign; where there is
//! no gate, nothing may be turned.
//!
//! First a neuron is described by its angles with all others, sorted. Those that are each other's best by that are anchors, the best few of
//! them; then a neuron is described by its angles with the anchors, and so on. What comes out proposes which rows belong together
//! and proves nothing: the axis is fitted to the layers of one half and to those of the other, and the two fits are held against
//! each other ([`super::fits`]).
//!
//! **Measured** at hidden sizes 64 and 96, 128 and 224 neurons, permuted and rotated copies with noise: the mean score of the best
//! quarter is 0.70 to 0.89 at correlations of 0.9 and 0.95, of half of the neurons 0.28 to 0.74, of a half that was cut away 0.7;
//! at 0.8 0.57 or nothing; at 0.7 nothing. Layers of unrelated models, and other layers of one: 0.19 to 0.24.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::frame::mutual;
use super::layer::{mlp, slots};
use super::matrix::{Function, Matrix, ROWS, Slot, narrow, unit_rows};
use super::units::Mlp;
use super::weights::Weights;
use scratchproof_error::Result;
use scratchproof_kernel::product;

/// Neurons of an MLP that take part, at least and at most: of more those with the longest rows, which no change of the basis moves.
const NEURONS: (usize, usize) = (32, 512);

/// Elements of all angles of two models together: 48 MiB as f32.
const ELEMENTS: usize = 12 << 20;

/// Anchors of the first round, how many more each round takes, and rounds.
const ANCHORS: (usize, usize, usize) = (16, 12, 6);

/// Pairs of MLPs that are held against each other; of more, those of a like depth.
const CELLS: usize = 1024;

/// Mean score of the best quarter from which a matching is believed enough to be fitted, and the same where there is one pair of MLPs
/// alone: a proposal, which costs power where it is wrong and proves nothing ...
const SPEAKS: (f64, f64) = (0.35, 0.5);

/// ... and how many times the lower quartile of all pairs of the two models it has to be, most of which are of layers that do not
/// answer each other: the fewer neurons there are, the better unrelated ones match (0.40 among 96).
const ABOVE: f64 = 1.5;

/// The score from which a matching is believed, by the scores of all pairs.
fn speaks(mut scores: Vec<f64>) -> f64 {
    scores.sort_unstable_by(f64::total_cmp);
    match scores.as_slice() {
        [] | [_] => SPEAKS.1,
        all => SPEAKS.0.max(ABOVE * all[all.len() / 4]),
    }
}

/// Places of the sorted angles of a neuron that describe it, beside so many at either end.
const PLACES: (usize, usize) = (16, 4);

/// Two MLPs whose neurons were matched.
#[derive(Clone, Debug, Default)]
pub struct Matched {
    /// For MLPs of the subject: layer and MLP of the other model, and rows that belong together.
    pub mlps: BTreeMap<(u32, Slot), Answer>,
}

/// Layer and MLP of the other model, and rows that belong together: the subject's, the other's.
pub type Answer = (u32, Slot, Vec<(usize, usize)>);

/// An MLP of the subject and one of the other model, by their places in the two lists.
type Held = (usize, usize, Pairs);

/// The angles inside one MLP.
struct Angles {
    layer: u32,
    slot: Slot,
    /// The row in the file of every neuron that takes part.
    rows: Vec<usize>,
    /// Squares of angles, neurons x neurons each.
    squares: Vec<Square>,
    /// What describes a neuron by itself, neurons x figures, and the weight of each figure.
    profile: Vec<f64>,
    weights: Vec<f64>,
}

/// One kind of angles.
struct Square {
    values: Vec<f32>,
    /// Whether its diagonal is all ones.
    gram: bool,
}

impl Matched {
    /// Matches the MLPs of two models in any basis.
    pub fn new(own: &Weights<'_>, other: &Weights<'_>) -> Result<Self> {
        let count = |weights: &Weights<'_>| -> usize {
            let ups = |l: &u32| weights.functions(*l).iter().filter(|f| matches!(f, Function::Up(_))).count();
            weights.looked().iter().map(ups).sum()
        };
        let all = (count(own) + count(other)).max(1);
        // Of large models gate and up alone: to read some columns of the third takes reading all of it.
        let kinds = if own.large || other.large { 2 } else { 3 };
        let most = (ELEMENTS / (kinds * kinds * all)).isqrt().min(NEURONS.1);
        if most < NEURONS.0 {
            return Ok(Self::default());
        }
        let (own, other) = (angles(own, most, kinds)?, angles(other, most, kinds)?);
        let window = (CELLS / own.len().max(1)).max(1);
        let best = |at: usize| -> Option<(Vec<f64>, Held)> {
            let middle = at * other.len() / own.len().max(1);
            let from = middle.saturating_sub(window / 2).min(other.len().saturating_sub(window));
            let near = (from..other.len()).take(window);
            let scored: Vec<_> = near.filter_map(|to| Some((to, matched(&own[at], &other[to])?))).collect();
            let scores = scored.iter().map(|(_, pairs)| pairs.0).collect();
            let (to, pairs) = scored.into_iter().max_by(|(_, x), (_, y)| x.0.total_cmp(&y.0))?;
            Some((scores, (at, to, pairs)))
        };
        let (scores, mut found): (Vec<Vec<f64>>, Vec<Held>) = (0..own.len()).into_par_iter().filter_map(best).unzip();
        let least = speaks(scores.concat());
        // What stands where it stood is read in the order of the file, signs and all.
        let stay = |at: usize, to: usize, pairs: &Pairs| {
            let same = pairs.1.iter().filter(|(i, j)| own[at].rows[*i] == other[to].rows[*j]).count();
            2 * same > pairs.1.len()
        };
        found.retain(|(at, to, pairs)| pairs.0 >= least && !stay(*at, *to, pairs));
        let rows =
            |a: &Angles, b: &Angles, (_, pairs): Pairs| pairs.iter().map(|(i, j)| (a.rows[*i], b.rows[*j])).collect();
        let one = |(at, to, pairs): Held| {
            let (a, b) = (&own[at], &other[to]);
            ((a.layer, a.slot), (b.layer, b.slot, rows(a, b, pairs)))
        };
        let mlps = found.into_iter().map(one).collect();
        Ok(Self { mlps })
    }

    /// For layers of the subject, the other model's whose MLP it has.
    pub fn layers(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.mlps.iter().map(|((l, _), (m, ..))| (*l, *m))
    }

    /// Rows of an MLP's matrix beside the rows of the neurons that they were matched with; `None` where no neurons were.
    ///
    /// # Errors
    /// If weights cannot be read.
    pub fn rows(
        &self,
        (own, other): (&Weights<'_>, &Weights<'_>),
        (l, m): (u32, u32),
        function: Function,
        most: usize,
    ) -> Result<Option<Paired>> {
        let Some(slot) = function.slot() else { return Ok(None) };
        let Some((layer, theirs, rows)) = self.mlps.get(&(l, slot)) else { return Ok(None) };
        if *layer != m {
            return Ok(None);
        }
        let gated = own.functions(l).contains(&Function::Gate(slot));
        let (there, signed) = match function {
            Function::Gate(_) => (Function::Gate(*theirs), true),
            Function::Up(_) => (Function::Up(*theirs), !gated),
            _ => (Function::Down(*theirs), !gated),
        };
        let (Some(ours), Some(those)) = (own.size(l, function), other.size(m, there)) else { return Ok(None) };
        if !signed {
            return Ok(Some(None));
        }
        let (a, b): (Vec<usize>, Vec<usize>) = rows.iter().take(most).copied().unzip();
        let a = own.rows_of(l, function, a, ours)?;
        Ok(Some(a.zip(other.rows_of(m, there, b, those)?)))
    }
}

/// Rows of two matrices that belong together; none where their signs are not known.
pub type Paired = Option<(Matrix, Matrix)>;

/// The angles inside every MLP of a model, those with a gate by so many of their matrices.
fn angles(weights: &Weights<'_>, most: usize, kinds: usize) -> Result<Vec<Angles>> {
    let all: Vec<(u32, Slot)> =
        weights.looked().into_iter().flat_map(|l| slots(weights, l).into_iter().map(move |slot| (l, slot))).collect();
    let one = |(layer, slot): (u32, Slot)| {
        let mut own = mlp(weights, (layer, slot), (ROWS, ROWS), false)?;
        if kinds < 3 && own.matrices[0].is_some() {
            own.matrices[2] = None;
        }
        Ok(Angles::new(layer, slot, &own, most))
    };
    Ok(all.into_par_iter().map(one).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

impl Angles {
    /// Of the rows of an MLP that were read; `None` where there are too few, or one matrix alone.
    fn new(layer: u32, slot: Slot, mlp: &Mlp, most: usize) -> Option<Self> {
        let gated = mlp.matrices[0].is_some();
        let all: Vec<&Matrix> = mlp.matrices.iter().flatten().collect();
        let first = *all.first()?;
        if all.len() < 2 || all.iter().any(|m| m.picked != first.picked || m.cols != first.cols) {
            return None;
        }
        let length = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let lengths: Vec<f64> = first.values.chunks_exact(first.cols).map(length).collect();
        let mut order: Vec<usize> = (0..first.rows()).collect();
        order.sort_by(|a, b| lengths[*b].total_cmp(&lengths[*a]).then(a.cmp(b)));
        order.truncate(most);
        order.sort_unstable();
        if order.len() < NEURONS.0 {
            return None;
        }
        let units: Vec<Matrix> = all.iter().map(|m| m.chosen(&order).normalised()).collect();
        let mut squares = Vec::new();
        for (i, a) in units.iter().enumerate() {
            for (j, b) in units.iter().enumerate() {
                let mut values = product(&a.values, &b.values, a.cols);
                if gated && (i, j) != (0, 0) {
                    for v in &mut values {
                        *v = v.abs();
                    }
                }
                squares.push(Square { values, gram: i == j });
            }
        }
        let rows: Vec<usize> = order.iter().map(|at| first.picked[*at]).collect();
        let long = gated.then(|| order.iter().map(|at| lengths[*at].max(f64::MIN_POSITIVE).ln()).collect());
        let (profile, weights) = profile(&squares, rows.len(), long);
        Some(Self { layer, slot, rows, squares, profile, weights })
    }

    fn neurons(&self) -> usize {
        self.rows.len()
    }

    /// Every neuron by its angles with the anchors, each column less its mean and of one size, rows of length 1.
    fn by_anchors(&self, anchors: &[usize]) -> Vec<f32> {
        let n = self.neurons();
        let (kinds, count) = (self.squares.len().isqrt(), anchors.len());
        let wide = self.squares.len() * count;
        let mut out = vec![0.0_f32; n * wide];
        for which in 0..self.squares.len() {
            // The angles of all with an anchor are a row of the square of the two matrices the other way round.
            let turned = &self.squares[which % kinds * kinds + which / kinds].values;
            let mut total = 0.0;
            let mut less = vec![0.0_f32; count * n];
            for (anchor, less) in anchors.iter().zip(less.chunks_exact_mut(n)) {
                let with = &turned[anchor * n..][..n];
                // The angle of an anchor with itself is no angle.
                let others = || (0..n).filter(|i| i != anchor);
                let mean = others().map(|i| f64::from(with[i])).sum::<f64>() / (n - 1).max(1) as f64;
                for i in others() {
                    let value = f64::from(with[i]) - mean;
                    total += value * value;
                    less[i] = narrow(value);
                }
            }
            let scale = narrow(if total > 0.0 { ((n * count) as f64 / total).sqrt() } else { 0.0 });
            for (i, row) in out.chunks_exact_mut(wide).enumerate() {
                for (at, v) in row[which * count..][..count].iter_mut().enumerate() {
                    *v = less[at * n + i] * scale;
                }
            }
        }
        unit_rows(&mut out, wide);
        out
    }
}

/// What describes every neuron by itself, and the weight of each figure: of each kind of angles the largest, the smallest and some
/// between, which weigh as much as one; the angles between its own rows; and how long its first row is, where no scale is free.
fn profile(squares: &[Square], n: usize, long: Option<Vec<f64>>) -> (Vec<f64>, Vec<f64>) {
    let (mut columns, mut weights): (Vec<Vec<f64>>, Vec<f64>) = (Vec::new(), Vec::new());
    for square in squares {
        let length = n - usize::from(square.gram);
        let ends = PLACES.1.min(length / 2);
        let between = (0..PLACES.0).map(|k| k * (length - 1) / (PLACES.0 - 1));
        let places: Vec<usize> = (0..ends).chain(length - ends..length).chain(between).collect();
        let mut described = vec![vec![0.0; n]; places.len()];
        let mut sorted = Vec::with_capacity(n);
        for i in 0..n {
            sorted.clear();
            sorted.extend((0..n).filter(|j| !square.gram || *j != i).map(|j| square.values[i * n + j]));
            sorted.sort_unstable_by(f32::total_cmp);
            for (column, place) in described.iter_mut().zip(&places) {
                column[i] = f64::from(sorted[*place]);
            }
        }
        weights.extend(std::iter::repeat_n(1.0 / places.len() as f64, places.len()));
        columns.extend(described);
        if !square.gram {
            columns.push((0..n).map(|i| f64::from(square.values[i * n + i])).collect());
            weights.push(1.0);
        }
    }
    weights.extend(long.iter().map(|_| 1.0));
    columns.extend(long);
    ((0..n).flat_map(|i| columns.iter().map(move |column| column[i])).collect(), weights)
}

/// Mean score of the best quarter, and the pairs: neurons of the two that are each other's best.
type Pairs = (f64, Vec<(usize, usize)>);

/// Matches the neurons of two MLPs; `None` where they are of other kinds.
fn matched(a: &Angles, b: &Angles) -> Option<Pairs> {
    if a.squares.len() != b.squares.len() || a.weights.len() != b.weights.len() {
        return None;
    }
    let (rows, cols) = (a.neurons(), b.neurons());
    let mut scores = by_profile(a, b);
    for round in 0..ANCHORS.2 {
        let mut pairs = best(&scores, rows, cols);
        pairs.truncate(ANCHORS.0 + ANCHORS.1 * round);
        if pairs.len() < 2 {
            return None;
        }
        let (own, other): (Vec<usize>, Vec<usize>) = pairs.iter().map(|(_, i, j)| (*i, *j)).unzip();
        scores = product(&a.by_anchors(&own), &b.by_anchors(&other), a.squares.len() * own.len());
    }
    let pairs = best(&scores, rows, cols);
    let quarter = (rows.min(cols) / 4).max(1);
    let score = pairs.iter().take(quarter).map(|(score, ..)| f64::from(*score)).sum::<f64>() / quarter as f64;
    Some((score, pairs.into_iter().map(|(_, i, j)| (i, j)).collect()))
}

/// Those that are each other's best, best first.
fn best(scores: &[f32], rows: usize, cols: usize) -> Vec<(f32, usize, usize)> {
    let order = mutual(scores, rows, cols);
    let mut pairs: Vec<_> =
        order.into_iter().enumerate().filter_map(|(i, j)| j.map(|j| (scores[i * cols + j], i, j))).collect();
    pairs.sort_by(|x, y| y.0.total_cmp(&x.0).then((x.1, x.2).cmp(&(y.1, y.2))));
    pairs
}

/// Less the squared distance of what describes two neurons, every figure of size one over both models.
fn by_profile(a: &Angles, b: &Angles) -> Vec<f32> {
    let wide = a.weights.len();
    let both = || a.profile.chunks_exact(wide).chain(b.profile.chunks_exact(wide));
    let count = (a.neurons() + b.neurons()) as f64;
    let mut moments = vec![(0.0, 0.0); wide];
    for row in both() {
        moments.iter_mut().zip(row).for_each(|(m, v)| m.0 += v / count);
    }
    for row in both() {
        moments.iter_mut().zip(row).for_each(|(m, v)| m.1 += (v - m.0).powi(2) / count);
    }
    let scaled = |profile: &[f64]| -> Vec<f32> {
        let one = |(at, v): (usize, &f64)| {
            let (mean, variance) = moments[at % wide];
            if variance > 0.0 { narrow((v - mean) * (a.weights[at % wide] / variance).sqrt()) } else { 0.0 }
        };
        profile.iter().enumerate().map(one).collect()
    };
    let (x, y) = (scaled(&a.profile), scaled(&b.profile));
    let square = |rows: &[f32]| -> Vec<f32> {
        rows.chunks_exact(wide).map(|row| narrow(row.iter().map(|v| f64::from(*v).powi(2)).sum())).collect()
    };
    let (of_x, of_y) = (square(&x), square(&y));
    let mut scores = product(&x, &y, wide);
    for (row, of_x) in scores.chunks_exact_mut(of_y.len().max(1)).zip(of_x) {
        row.iter_mut().zip(&of_y).for_each(|(v, of_y)| *v = 2.0 * *v - of_x - of_y);
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    const HIDDEN: usize = 32;
    const ROWS_OF: usize = 96;

    /// Gate, up and down of an MLP whose neurons differ in length and share some directions, as trained ones do.
    fn mlp(seed: u64) -> [Vec<f32>; 3] {
        let mut noise = Noise(seed);
        let common: Vec<f64> = (0..4 * HIDDEN).map(|_| noise.normal()).collect();
        let mut matrix = || -> Vec<f32> {
            let row = |noise: &mut Noise| -> Vec<f32> {
                let weights: Vec<f64> = (0..4).map(|_| noise.normal()).collect();
                let shared = |at: usize| (0..4).map(|k| weights[k] * common[k * HIDDEN + at]).sum::<f64>();
                (0..HIDDEN).map(|at| narrow(noise.normal() + 0.5 * shared(at))).collect()
            };
            (0..ROWS_OF).flat_map(|_| row(&mut noise)).collect()
        };
        [matrix(), matrix(), matrix()]
    }

    fn angles_of(rows: &[Vec<f32>; 3]) -> Angles {
        let picked: Vec<usize> = (0..ROWS_OF).collect();
        let one = |values: &Vec<f32>| {
            Some(Matrix { cols: HIDDEN, picked: picked.clone(), total: ROWS_OF, values: values.clone() })
        };
        Angles::new(0, Slot::Dense, &Mlp { matrices: rows.each_ref().map(one) }, 512).expect("angles")
    }

    /// Neurons in another order, in another basis, signs of up and down turned, up scaled, and a little noise.
    fn disguised(rows: &[Vec<f32>; 3], order: &[usize], noise: &mut Noise) -> [Vec<f32>; 3] {
        let basis = scratchproof_kernel::nearest_orthogonal(
            &(0..HIDDEN * HIDDEN).map(|_| noise.normal()).collect::<Vec<_>>(),
            HIDDEN,
            HIDDEN,
        )
        .expect("a rotation");
        let turned: Vec<(f64, f64)> =
            order.iter().map(|_| (if noise.normal() > 0.0 { 1.0 } else { -1.0 }, 1.0 + noise.normal().abs())).collect();
        let mut which = 0;
        rows.each_ref().map(|matrix| {
            let mut out = Vec::new();
            for (row, (sign, scale)) in order.iter().zip(&turned) {
                let factor = [1.0, sign * scale, sign / scale][which];
                let row = &matrix[row * HIDDEN..][..HIDDEN];
                for column in 0..HIDDEN {
                    let value: f64 = (0..HIDDEN).map(|k| f64::from(row[k]) * basis[k * HIDDEN + column]).sum();
                    out.push(narrow(factor * (value + 0.05 * noise.normal())));
                }
            }
            which += 1;
            out
        })
    }

    #[test]
    fn neurons_are_found_in_any_basis_and_strangers_are_not() {
        let parent = mlp(1);
        let mut noise = Noise(9);
        let mut order: Vec<usize> = (0..ROWS_OF).collect();
        order.rotate_left(31);
        order.swap(3, 50);
        let copy = angles_of(&disguised(&parent, &order, &mut noise));
        let (score, pairs) = matched(&copy, &angles_of(&parent)).expect("a matching");
        assert!(score > 0.8, "{score}");
        assert_eq!(pairs.len(), ROWS_OF);
        assert!(pairs.iter().all(|(i, j)| order[*i] == *j));
        for seed in 2..12 {
            let (score, _) = matched(&copy, &angles_of(&mlp(seed))).expect("a matching");
            assert!(score < 0.5, "{seed}: {score}");
        }
    }

    #[test]
    fn what_is_believed_stands_out_from_the_other_pairs() {
        assert!((speaks(vec![0.2, 0.21, 0.22, 0.9]) - SPEAKS.0).abs() < 1e-12);
        assert!((speaks(vec![0.4, 0.4, 0.41, 0.42, 0.43, 0.39, 0.4, 0.4, 0.9]) - ABOVE * 0.4).abs() < 1e-12);
        assert!((speaks(vec![0.4]) - SPEAKS.1).abs() < 1e-12 && (speaks(Vec::new()) - SPEAKS.1).abs() < 1e-12);
    }

    #[test]
    fn few_neurons_and_single_matrices_are_left_alone() {
        let [gate, up, down] = mlp(1);
        let matrix = |values: &[f32], rows: usize| {
            Some(Matrix {
                cols: HIDDEN,
                picked: (0..rows).collect(),
                total: rows,
                values: values[..rows * HIDDEN].to_vec(),
            })
        };
        let few = Mlp { matrices: [matrix(&gate, 31), matrix(&up, 31), matrix(&down, 31)] };
        assert!(Angles::new(0, Slot::Dense, &few, 512).is_none());
        let alone = Mlp { matrices: [None, matrix(&up, ROWS_OF), None] };
        assert!(Angles::new(0, Slot::Dense, &alone, 512).is_none());
        let unlike = Mlp { matrices: [None, matrix(&up, ROWS_OF), matrix(&down, ROWS_OF)] };
        let plain = Angles::new(0, Slot::Dense, &unlike, 512).expect("angles");
        assert!(matched(&plain, &angles_of(&[gate, up, down])).is_none(), "with and without a gate");
    }
}
