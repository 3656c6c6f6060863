//! The figures of a matrix that tell a random draw from anything else.

use serde::{Deserialize, Serialize};

use super::dot::{gram, trace};
use super::spectrum::{gram_of_columns, largest_eigenvalue, singular_values_of_gram};

/// An axis is brought to one mean square only if the other is at least this long: shorter sums are mostly noise.
const SCALABLE: usize = 16;

/// Levels of the distribution of the values.
const LEVELS: usize = 64;

/// What a sample of a tensor is, before any question of chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// Nothing below.
    Free,
    /// All values are zero.
    Zero,
    /// All values are one number.
    Constant,
    /// Every row has one value that is not zero, all of one size: an identity, also of a part.
    Diagonal,
    /// All rows are equal, or all columns.
    Repeated,
}

/// One level of the distribution of the values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rank {
    /// A number between two neighbouring values of the sample. Rounding to a grid moves no value over it.
    #[serde(with = "super::exact")]
    pub at: f64,
    /// Values below it.
    pub below: u64,
}

/// Figures of one matrix. Rows that are all zero (padding tokens) are left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// Rows that were looked at.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Mean of the squares.
    #[serde(with = "super::exact")]
    pub square: f64,
    /// Mean of the fourth powers.
    #[serde(with = "super::exact")]
    pub fourth: f64,
    /// Largest singular value.
    pub largest: Option<f64>,
    /// Smallest singular value, looked up only where the largest is near the root mean square of all.
    pub smallest: Option<f64>,
    /// Largest singular value after rows and columns were brought to mean square 1.
    pub scaled_largest: Option<f64>,
    /// Sum of the squared cosines of all pairs of rows (or of columns, whichever are fewer) after the same.
    pub cosines: Option<f64>,
    /// Sum over the rows of (squared norm - columns x mean square)^2.
    #[serde(with = "super::exact")]
    pub row_spread: f64,
    /// Sum over the columns of (squared norm - rows x mean square)^2.
    #[serde(with = "super::exact")]
    pub column_spread: f64,
}

/// Two matrices of one stack that resemble each other most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alike {
    /// Their places in the stack.
    pub places: (usize, usize),
    /// Cosine of all their sampled values.
    #[serde(with = "super::exact")]
    pub cosine: f64,
    /// Values of each.
    pub elements: usize,
    /// Pairs that were looked at.
    pub pairs: usize,
}

/// Figures of a sample of a tensor: of all of it, and of each matrix of a stack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Rows that were looked at.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Mean of the elements.
    #[serde(with = "super::exact")]
    pub mean: f64,
    /// Mean of their squares.
    #[serde(with = "super::exact")]
    pub square: f64,
    /// Mean of their fourth powers.
    #[serde(with = "super::exact")]
    pub fourth: f64,
    /// Largest absolute value.
    #[serde(with = "super::exact")]
    pub max_abs: f64,
    /// What it is if it is no draw at all.
    pub form: Form,
    /// By matrix; empty unless `form` is free.
    pub blocks: Vec<Block>,
    /// Of a stack.
    pub alike: Option<Alike>,
    /// Levels of the distribution, ascending; empty unless `form` is free.
    pub levels: Vec<Rank>,
    /// The same after rows and columns were brought to mean square 1; empty where their norms do not call for it.
    pub scaled: Vec<Rank>,
}

impl Moments {
    /// Looks at row-major `values` with that many `columns`, a stack of matrices of `block` rows each. `None` if there
    /// is nothing or anything is not finite.
    ///
    /// # Panics
    /// If `columns` or `block` is 0.
    #[must_use]
    pub fn of(values: &[f32], columns: usize, block: usize) -> Option<Self> {
        if values.len() < columns || values.iter().any(|v| !v.is_finite()) {
            return None;
        }
        let whole = nonzero_rows(values, columns);
        let n = whole.len().max(1) as f64;
        let moment = |power: i32| whole.iter().map(|&v| f64::from(v).powi(power)).sum::<f64>() / n;
        let form = form(&whole, columns);
        let mut moments = Self {
            rows: whole.len() / columns,
            columns,
            mean: moment(1),
            square: moment(2),
            fourth: moment(4),
            max_abs: whole.iter().fold(0.0, |max, &v| f64::from(v).abs().max(max)),
            form,
            blocks: Vec::new(),
            alike: None,
            levels: Vec::new(),
            scaled: Vec::new(),
        };
        // Numbers so small that their squares vanish, or so large that they do not end, are no draw either.
        if form == Form::Free && moments.square.is_normal() && moments.fourth.is_normal() {
            let chunks = || values.chunks(block.saturating_mul(columns));
            moments.blocks =
                chunks().filter_map(|chunk| Block::of(&nonzero_rows(chunk, columns), columns)).collect::<Vec<_>>();
            moments.alike = alike(&chunks().collect::<Vec<_>>());
            if moments.blocks.iter().any(Block::uneven) {
                let mut scaled: Vec<f32> = Vec::with_capacity(whole.len());
                for chunk in chunks() {
                    let mut block = nonzero_rows(chunk, columns);
                    (0..2).for_each(|_| scale(&mut block, columns));
                    scaled.extend(block);
                }
                let max_abs = scaled.iter().fold(0.0, |max, &v| f64::from(v).abs().max(max));
                moments.scaled = levels(scaled, max_abs);
            }
            moments.levels = levels(whole, moments.max_abs);
        }
        Some(moments)
    }

    /// Elements that were looked at.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.rows * self.columns
    }
}

fn nonzero_rows(values: &[f32], columns: usize) -> Vec<f32> {
    values.chunks_exact(columns).filter(|row| row.iter().any(|&v| v != 0.0)).flatten().copied().collect()
}

#[allow(clippy::float_cmp)] // constants are equal bit for bit
fn form(values: &[f32], columns: usize) -> Form {
    let Some(&first) = values.first() else { return Form::Zero };
    let rows = || values.chunks_exact(columns);
    let one = |row: &[f32]| row.iter().filter(|&&v| v != 0.0).count() == 1;
    let size = |row: &[f32]| row.iter().fold(0.0_f32, |max, v| v.abs().max(max));
    if values.iter().all(|&v| v == first) {
        Form::Constant
    } else if columns > 1 && rows().all(|row| one(row) && size(row) == size(&values[..columns])) {
        Form::Diagonal
    } else if rows().all(|row| row == &values[..columns]) || rows().all(|row| row.iter().all(|&v| v == row[0])) {
        // One row alone is equal to itself and says nothing.
        if values.len() == columns || columns == 1 { Form::Free } else { Form::Repeated }
    } else {
        Form::Free
    }
}

/// Levels at even shares of the sample and just beyond its largest absolute value on either side.
fn levels(mut values: Vec<f32>, max_abs: f64) -> Vec<Rank> {
    values.sort_unstable_by(f32::total_cmp);
    let n = values.len();
    // Half a step of the coarsest grid that models are stored on.
    let beyond = max_abs * (1.0 + 2f64.powi(-9));
    let mut levels = vec![Rank { at: -beyond, below: 0 }];
    for k in 1..LEVELS {
        let value = values[k * n / LEVELS];
        let below = values.partition_point(|&v| v < value);
        if below == 0 || levels.last().is_some_and(|l| l.below == below as u64) {
            continue;
        }
        let at = f64::midpoint(f64::from(values[below - 1]), f64::from(value));
        levels.push(Rank { at, below: below as u64 });
    }
    levels.push(Rank { at: beyond, below: n as u64 });
    levels
}

/// Each matrix of a stack against the first and against the one before.
fn alike(chunks: &[&[f32]]) -> Option<Alike> {
    let norms: Vec<f64> = chunks.iter().map(|c| trace(c, c).sqrt()).collect();
    let near = (1..chunks.len()).flat_map(|b| [(0, b), (b - 1, b)]).filter(|&(a, b)| a != b && (a, b) != (0, 1));
    let pairs: Vec<(usize, usize)> = (chunks.len() > 1).then_some((0, 1)).into_iter().chain(near).collect();
    let cosines = pairs.iter().filter(|&&(a, b)| chunks[a].len() == chunks[b].len()).filter_map(|&(a, b)| {
        let cosine = trace(chunks[a], chunks[b]) / (norms[a] * norms[b]);
        cosine.is_finite().then_some(Alike { places: (a, b), cosine, elements: chunks[a].len(), pairs: pairs.len() })
    });
    cosines.max_by(|a, b| a.cosine.abs().total_cmp(&b.cosine.abs()))
}

impl Block {
    fn of(values: &[f32], columns: usize) -> Option<Self> {
        let rows = values.len() / columns;
        let n = values.len() as f64;
        let moment = |power: i32| values.iter().map(|&v| f64::from(v).powi(power)).sum::<f64>() / n;
        let (square, fourth) = (moment(2), moment(4));
        if !(square.is_normal() && fourth.is_normal()) {
            return None;
        }
        let (by_row, by_column) = squares(values, columns);
        let spread = |sums: &[f64], length: usize| sums.iter().map(|s| (s - length as f64 * square).powi(2)).sum();
        let side = rows.min(columns);
        let mut block = Self {
            rows,
            columns,
            square,
            fourth,
            largest: None,
            smallest: None,
            scaled_largest: None,
            cosines: None,
            row_spread: spread(&by_row, columns),
            column_spread: spread(&by_column, rows),
        };
        if side < 2 {
            return Some(block);
        }
        let products = |values: &[f32]| {
            if rows <= columns { gram(values, columns) } else { gram_of_columns(values, rows, columns) }
        };
        let raw = products(values);
        let top = largest_eigenvalue(&raw, side);
        block.largest = top.map(|top| top.max(0.0).sqrt());
        if top.is_some_and(|top| top * (side as f64) < 1.2 * n * square) {
            block.smallest = singular_values_of_gram(&raw, side).and_then(|s| s.last().copied());
        }
        let mut scaled = values.to_vec();
        for _ in 0..2 {
            scale(&mut scaled, columns);
        }
        let mut scaled = products(&scaled);
        block.scaled_largest = largest_eigenvalue(&scaled, side).map(|top| top.max(0.0).sqrt());
        let diagonal: Vec<f64> = (0..side).map(|i| scaled[i * side + i].sqrt()).collect();
        let mut cosines = 0.0;
        for (i, row) in scaled.chunks_exact_mut(side).enumerate() {
            cosines += row[..i].iter().zip(&diagonal).map(|(g, d)| (g / (d * diagonal[i])).powi(2)).sum::<f64>();
        }
        block.cosines = cosines.is_finite().then_some(cosines);
        Some(block)
    }
}

impl Block {
    /// Whether norms of rows or columns spread by half more than those of independent entries.
    fn uneven(&self) -> bool {
        let kurtosis = self.fourth / (self.square * self.square);
        let expected = (self.rows * self.columns) as f64 * (kurtosis - 1.0) * self.square * self.square;
        self.row_spread.max(self.column_spread) > 1.5 * expected
    }
}

/// Sums of the squares of every row and of every column.
fn squares(values: &[f32], columns: usize) -> (Vec<f64>, Vec<f64>) {
    let mut by_column = vec![0.0; columns];
    let by_row = values
        .chunks_exact(columns)
        .map(|row| {
            let squares = row.iter().map(|&v| f64::from(v).powi(2));
            squares.zip(&mut by_column).map(|(square, sum)| *sum += square).count();
            row.iter().map(|&v| f64::from(v).powi(2)).sum()
        })
        .collect();
    (by_row, by_column)
}

/// Brings every row, then every column, to mean square 1, where they are long enough.
#[allow(clippy::cast_possible_truncation)] // back to where it came from
fn scale(values: &mut [f32], columns: usize) {
    let rows = values.len() / columns;
    let factor = |sum: f64, length: usize| if sum > 0.0 { (length as f64 / sum).sqrt() } else { 0.0 };
    if columns >= SCALABLE {
        for row in values.chunks_exact_mut(columns) {
            let f = factor(row.iter().map(|&v| f64::from(v).powi(2)).sum(), columns);
            for v in row.iter_mut() {
                *v = (f64::from(*v) * f) as f32;
            }
        }
    }
    if rows >= SCALABLE {
        let factors: Vec<f64> = squares(values, columns).1.iter().map(|&sum| factor(sum, rows)).collect();
        for row in values.chunks_exact_mut(columns) {
            row.iter_mut().zip(&factors).for_each(|(v, f)| *v = (f64::from(*v) * f) as f32);
        }
    }
    if columns < SCALABLE && rows < SCALABLE {
        let f = factor(values.iter().map(|&v| f64::from(v).powi(2)).sum(), values.len());
        for v in values.iter_mut() {
            *v = (f64::from(*v) * f) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / 16_777_216.0 - 0.5
            })
            .collect()
    }

    #[test]
    fn what_is_no_draw_is_said() {
        let form = |values: &[f32], columns| Moments::of(values, columns, 64).map(|m| m.form);
        assert_eq!(form(&[0.0; 12], 4), Some(Form::Zero));
        assert_eq!(form(&[0.5; 12], 4), Some(Form::Constant));
        let mut eye = vec![0.0; 64];
        (0..8).for_each(|i| eye[i * 9] = 1.0);
        assert_eq!(form(&eye, 8), Some(Form::Diagonal));
        assert_eq!(form(&[1.0, 2.0, 3.0, 1.0, 2.0, 3.0], 3), Some(Form::Repeated));
        assert_eq!(form(&[1.0, 1.0, 3.0, 3.0], 2), Some(Form::Repeated));
        assert_eq!(form(&noise(64, 1), 8), Some(Form::Free));
        assert_eq!(form(&[0.7], 1), Some(Form::Constant));
        assert_eq!(form(&[f32::NAN, 1.0], 2), None);
        assert_eq!(form(&[f32::INFINITY], 1), None);
        assert_eq!(form(&[], 4), None);
        // Squares that vanish or do not end.
        for size in [1e-30_f32, 3e38] {
            let values: Vec<f32> = noise(64, 1).iter().map(|v| v * size).collect();
            assert!(Moments::of(&values, 8, 8).is_none_or(|m| m.blocks.iter().all(|b| b.square.is_finite())));
        }
    }

    #[test]
    fn levels_lie_between_values_and_count_them() {
        let values: Vec<f32> = noise(4096, 3).iter().map(|v| (v * 32.0).round() / 32.0).collect();
        let moments = Moments::of(&values, 64, 64).expect("finite");
        for level in &moments.levels {
            assert_eq!(values.iter().filter(|&&v| f64::from(v) < level.at).count() as u64, level.below);
            assert!(values.iter().all(|&v| (f64::from(v) - level.at).abs() > 1e-4), "{level:?}");
        }
        assert!(moments.levels.windows(2).all(|l| l[0].at < l[1].at && l[0].below <= l[1].below));
        assert!(moments.levels.len() > 20);
    }

    #[test]
    fn copies_in_a_stack_are_found() {
        let mut stack = noise(4 * 256, 5);
        assert!(Moments::of(&stack, 16, 16).and_then(|m| m.alike).expect("a stack").cosine.abs() < 0.3);
        stack.copy_within(512..768, 768);
        let alike = Moments::of(&stack, 16, 16).and_then(|m| m.alike).expect("a stack");
        assert_eq!(alike.places, (2, 3));
        assert!((alike.cosine - 1.0).abs() < 1e-9);
        assert_eq!(Moments::of(&stack, 16, 16).map(|m| m.blocks.len()), Some(4));
    }
}
