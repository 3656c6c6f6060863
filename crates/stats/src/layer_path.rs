//! The path through a layer map (METHODS 2.2).

use super::normal::log10_upper_tail;

/// The best path through a map on which the other model's layers never go back; a layer may be met again and again, or
/// passed over.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Column of every row.
    pub columns: Vec<usize>,
    /// Mean z on the path.
    pub mean: f64,
    /// Share of the rows whose largest cell is on the path.
    pub share: f64,
}

/// The largest sum of z over all non-decreasing choices of a column for each row, by dynamic programming; of equal paths
/// the one furthest to the left. Rows are the subject's layers and equally long; a cell without a figure is 0. `None` for
/// an empty map.
#[must_use]
pub fn monotone_path(map: &[Vec<f64>]) -> Option<Path> {
    let width = map.first()?.len();
    if width == 0 || map.iter().any(|row| row.len() != width) {
        return None;
    }
    let figure = |z: f64| if z.is_finite() { z } else { 0.0 };
    // Best sum of a path that ends in this column, and the column of the row before on that path.
    let mut sums = vec![0.0; width];
    let mut before: Vec<Vec<usize>> = Vec::with_capacity(map.len());
    for row in map {
        let mut from = Vec::with_capacity(width);
        let mut best = 0;
        let mut next = Vec::with_capacity(width);
        for (column, z) in row.iter().enumerate() {
            if sums[column] > sums[best] {
                best = column;
            }
            from.push(best);
            next.push(sums[best] + figure(*z));
        }
        before.push(from);
        sums = next;
    }
    let mut column = largest(&sums)?;
    let mut columns = vec![0; map.len()];
    for (row, from) in before.iter().enumerate().rev() {
        columns[row] = column;
        column = from[column];
    }
    let rows = map.len() as f64;
    let on = columns.iter().zip(map).filter(|(column, row)| largest(row) == Some(**column)).count();
    let total: f64 = columns.iter().zip(map).map(|(column, row)| figure(row[*column])).sum();
    Some(Path { columns, mean: total / rows, share: on as f64 / rows })
}

/// Place of the largest figure, the first of equals; `None` where there is none.
fn largest(row: &[f64]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (column, z) in row.iter().enumerate() {
        if z.is_finite() && best.is_none_or(|b| *z > row[b]) {
            best = Some(column);
        }
    }
    best
}

/// How many pieces a sequence of layers falls into on each of which it never goes back: one for layers in order, two for
/// `0 1 2 3 2 3 4 5`, about half their number for shuffled ones.
#[must_use]
pub fn pieces(layers: &[u32]) -> usize {
    if layers.is_empty() { 0 } else { 1 + layers.windows(2).filter(|pair| pair[1] < pair[0]).count() }
}

/// The z that the largest of so many cells of independent models exceeds with a probability of 5 % (Bonferroni, which for
/// independent cells is the Gumbel quantile to within 3 % of that probability).
#[must_use]
pub fn largest_of(cells: usize) -> f64 {
    let wanted = (0.05 / cells.max(1) as f64).log10();
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if log10_upper_tail(middle) > wanted { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small figures that repeat, so that there are ties.
    fn map(rows: usize, width: usize, seed: u64) -> Vec<Vec<f64>> {
        let mut state = seed;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % 13) as f64 - 5.0
        };
        (0..rows).map(|_| (0..width).map(|_| draw()).collect()).collect()
    }

    /// The best sum over every non-decreasing choice.
    fn brute(map: &[Vec<f64>], from: usize) -> f64 {
        let Some((row, rest)) = map.split_first() else { return 0.0 };
        (from..row.len()).map(|c| row[c] + brute(rest, c)).fold(f64::NEG_INFINITY, f64::max)
    }

    #[test]
    fn the_way_is_the_best_of_all_ways() {
        for (seed, place) in (1..=200).zip(0_usize..) {
            let map = map(1 + place % 5, 1 + place % 6, seed);
            let path = monotone_path(&map).unwrap();
            assert!(path.columns.windows(2).all(|pair| pair[0] <= pair[1]), "{path:?}");
            let total: f64 = path.columns.iter().zip(&map).map(|(c, row)| row[*c]).sum();
            assert!((total - brute(&map, 0)).abs() < 1e-9, "{map:?} {path:?}");
            assert!((path.mean * map.len() as f64 - total).abs() < 1e-9);
        }
    }

    #[test]
    fn stacked_layers_are_two_pieces_and_the_way_keeps_what_is_in_order() {
        let truth = [0_u32, 1, 2, 3, 2, 3, 4, 5];
        let map: Vec<Vec<f64>> =
            truth.iter().map(|t| (0..6).map(|c| if c == *t { 40.0 } else { 0.0 }).collect()).collect();
        let path = monotone_path(&map).unwrap();
        assert_eq!(pieces(&truth), 2);
        // 0 1 2 2 2 3 4 5: one layer is off it.
        assert_eq!((path.share, path.mean), (0.875, 35.0));
        assert_eq!((pieces(&[]), pieces(&[3]), pieces(&[0, 0, 4]), pieces(&[5, 4, 3])), (0, 1, 1, 3));
    }

    #[test]
    fn missing_cells_and_empty_maps() {
        assert_eq!(monotone_path(&[]), None);
        assert_eq!(monotone_path(&[vec![], vec![]]), None);
        assert_eq!(monotone_path(&[vec![1.0], vec![1.0, 2.0]]), None);
        let path = monotone_path(&[vec![f64::NAN, 2.0], vec![f64::NAN, f64::NAN]]).unwrap();
        assert_eq!((path.columns, path.mean, path.share), (vec![1, 1], 1.0, 0.5));
    }

    #[test]
    fn the_largest_of_many_is_scipys() {
        // scipy.stats.norm.isf(0.05 / n)
        for (n, z) in [(1, 1.644_853_627), (36, 2.991_231_869), (6400, 4.319_455_0)] {
            assert!((largest_of(n) - z).abs() < 5e-3, "{n}: {}", largest_of(n));
        }
    }
}
