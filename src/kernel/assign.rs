//! Linear assignment: every row its own column, for the greatest sum.

/// The column of every row, all different, such that the sum of `scores` (`rows` x `cols`, row-major) is greatest; where
/// there are more rows than columns, some rows get none. Shortest augmenting paths (Hungarian method with potentials),
/// O(min^2 max). A score that is not finite counts as 0.
///
/// # Panics
/// If the length is not `rows * cols`.
#[must_use]
pub fn assign(scores: &[f32], rows: usize, cols: usize) -> Vec<Option<usize>> {
    assert_eq!(scores.len(), rows * cols, "one score for every row and column");
    let (short, long) = (rows.min(cols), rows.max(cols));
    let cost = |i: usize, j: usize| {
        let score = if rows <= cols { scores[i * cols + j] } else { scores[j * cols + i] };
        if score.is_finite() { -f64::from(score) } else { 0.0 }
    };
    // Columns of the longer side from 1; 0 is where every path begins.
    let (mut up, mut vp) = (vec![0.0; short + 1], vec![0.0; long + 1]);
    let mut taken_by = vec![0; long + 1];
    let mut way = vec![0; long + 1];
    for i in 1..=short {
        taken_by[0] = i;
        let mut column = 0;
        let mut least = vec![f64::INFINITY; long + 1];
        let mut seen = vec![false; long + 1];
        while taken_by[column] != 0 {
            seen[column] = true;
            let row = taken_by[column];
            let (mut step, mut next) = (f64::INFINITY, 0);
            for j in 1..=long {
                if seen[j] {
                    continue;
                }
                let reduced = cost(row - 1, j - 1) - up[row] - vp[j];
                if reduced < least[j] {
                    (least[j], way[j]) = (reduced, column);
                }
                if least[j] < step {
                    (step, next) = (least[j], j);
                }
            }
            for j in 0..=long {
                if seen[j] {
                    up[taken_by[j]] += step;
                    vp[j] -= step;
                } else {
                    least[j] -= step;
                }
            }
            column = next;
        }
        while column != 0 {
            let before = way[column];
            taken_by[column] = taken_by[before];
            column = before;
        }
    }
    let mut result = vec![None; rows];
    for (j, &i) in taken_by.iter().enumerate().skip(1).filter(|(_, i)| **i != 0) {
        if rows <= cols {
            result[i - 1] = Some(j - 1);
        } else {
            result[j - 1] = Some(i - 1);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_the_greatest_there_is() {
        let mut state = 7_u64;
        let mut draw = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) % 1000) as f32 / 1000.0
        };
        for (rows, cols) in [(1, 1), (3, 5), (5, 3), (6, 6), (0, 4), (4, 0)] {
            let scores: Vec<f32> = (0..rows * cols).map(|_| draw()).collect();
            let found = assign(&scores, rows, cols);
            let mut used: Vec<usize> = found.iter().flatten().copied().collect();
            used.sort_unstable();
            used.dedup();
            assert_eq!((found.len(), used.len()), (rows, rows.min(cols)));
            let sum: f32 = found.iter().enumerate().filter_map(|(i, j)| Some(scores[i * cols + (*j)?])).sum();
            assert!(
                (sum - best(&scores, cols, 0, rows, &mut vec![false; cols], rows.saturating_sub(cols))).abs() < 1e-5
            );
        }
    }

    /// Every choice tried; `spare` rows may go without.
    fn best(scores: &[f32], cols: usize, row: usize, rows: usize, used: &mut Vec<bool>, spare: usize) -> f32 {
        if row == rows {
            return 0.0;
        }
        let mut most = if spare > 0 { best(scores, cols, row + 1, rows, used, spare - 1) } else { f32::MIN };
        for column in 0..cols {
            if !used[column] {
                used[column] = true;
                most = most.max(scores[row * cols + column] + best(scores, cols, row + 1, rows, used, spare));
                used[column] = false;
            }
        }
        most
    }
}
