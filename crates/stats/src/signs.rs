//! Whether a matrix has any structure beyond the sizes of its elements (METHODS 5, made-up points).

use scratchproof_kernel::gram;

/// Rows that are held against each other: 2,016 pairs, a standard error of 0.03 of the ratio.
pub const SIGN_ROWS: usize = 64;

/// Products of the rows of a matrix against what independent signs of the elements would give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signs {
    /// Sum of the squared products of two rows over its expectation: 1 if every element's sign is a coin of its own.
    pub ratio: f64,
    /// The same in standard deviations of the null, at least.
    pub z: f64,
}

/// Tests whether the signs of the elements are independent of each other.
///
/// For rows a, b whose elements have independent symmetric signs, whatever their sizes, `<a, b>` has mean 0, variance
/// `E = sum a_k^2 b_k^2` and `<a, b>^2` a variance of at most `2 E^2`; products of different pairs are uncorrelated. So the
/// sum of `<a, b>^2` over all pairs is held against the sum of E. What an optimiser adds to a matrix is a sum of outer
/// products and far above: noise, however it is shaped, is not. Rows are taken as they are, centred over their columns or
/// not; centring makes unrelated rows negatively correlated by 1 / (columns - 1), which is allowed for.
///
/// `None` for fewer than four rows or columns, and where nothing moves.
#[must_use]
pub fn signs(values: &[f32], columns: usize) -> Option<Signs> {
    let rows = values.len() / columns.max(1);
    if rows < 4 || columns < 4 {
        return None;
    }
    let products = gram(&values[..rows * columns], columns);
    let squares: Vec<f32> = values[..rows * columns].iter().map(|v| v * v).collect();
    let expected = gram(&squares, columns);
    let centring = columns as f64 / (columns - 1) as f64;
    let (mut sum, mut mean, mut variance) = (0.0, 0.0, 0.0);
    for i in 0..rows {
        for j in i + 1..rows {
            let e = expected[i * rows + j] * centring;
            sum += products[i * rows + j].powi(2);
            mean += e;
            variance += 2.0 * e * e;
        }
    }
    let signs = Signs { ratio: sum / mean, z: (sum - mean) / variance.sqrt() };
    (signs.ratio.is_finite() && signs.z.is_finite()).then_some(signs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, mut state: u64) -> Vec<f32> {
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / 16_777_216.0 - 0.5
            })
            .collect()
    }

    #[test]
    fn the_ratio_is_the_one_numpy_gives() {
        // a = [[1,2,-1,3],[0,1,2,-2],[2,-1,1,1],[1,1,1,1]]; G = a@a.T, E = (a*a)@(a*a).T * 4/3, pairs above the diagonal:
        // sum(G**2)/sum(E), (sum(G**2)-sum(E))/sqrt(sum(2*E**2))
        let a = [1.0, 2.0, -1.0, 3.0, 0.0, 1.0, 2.0, -2.0, 2.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        let signs = signs(&a, 4).expect("a matrix");
        assert!((signs.ratio - 0.558_823_529_411_764_7).abs() < 1e-9, "{signs:?}");
    }

    #[test]
    fn noise_of_any_shape_has_no_structure_and_an_update_has() {
        let mut shaped = noise(64 * 96, 5);
        for (row, values) in shaped.chunks_exact_mut(96).enumerate() {
            for (column, value) in values.iter_mut().enumerate() {
                *value *= (1 + row) as f32 * (0.1 + (column % 7) as f32);
            }
        }
        for values in [noise(64 * 96, 7), shaped] {
            let signs = signs(&values, 96).expect("a matrix");
            assert!(signs.z.abs() < 4.0 && (signs.ratio - 1.0).abs() < 0.2, "{signs:?}");
        }
        let (left, right, mut update) = (noise(64, 1), noise(96, 2), noise(64 * 96, 3));
        for (i, value) in update.iter_mut().enumerate() {
            *value += 2.0 * left[i / 96] * right[i % 96];
        }
        assert!(signs(&update, 96).expect("a matrix").z > 20.0);
        assert_eq!(signs(&[0.0; 64], 8), None);
        assert_eq!(signs(&[1.0; 9], 3), None);
    }
}
