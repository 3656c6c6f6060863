//! Singular values of a small sample, from its Gram matrix.

use faer::Side;
use faer::mat::MatRef;

use super::dot::{gram, inner};

/// Up to this size all eigenvalues are found at once; beyond, the largest by Lanczos steps.
const DIRECT: usize = 96;

/// Lanczos steps. At the edge of a draw's spectrum the largest eigenvalue then lacks less than 1e-3 of itself, an
/// outlier nothing; what lacks makes the edge test milder.
const STEPS: usize = 48;

/// The singular values of a row-major `rows` x `cols` matrix, largest first, by the eigenvalues of the Gram matrix of
/// its shorter side. Values below 1e-4 of the largest are not resolved. `None` if anything is not finite.
///
/// # Panics
/// If `values` is not rows x cols long.
#[must_use]
pub fn singular_values(values: &[f32], rows: usize, cols: usize) -> Option<Vec<f64>> {
    assert_eq!(values.len(), rows * cols);
    let side = rows.min(cols);
    if side == 0 || values.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let products = if rows <= cols { gram(values, cols) } else { gram_of_columns(values, rows, cols) };
    singular_values_of_gram(&products, side)
}

/// The square roots of the eigenvalues of a `side` x `side` Gram matrix, largest first.
pub(super) fn singular_values_of_gram(products: &[f64], side: usize) -> Option<Vec<f64>> {
    if products.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let matrix = MatRef::from_row_major_slice(products, side, side);
    let mut eigenvalues = matrix.self_adjoint_eigenvalues(Side::Lower).ok()?;
    eigenvalues.reverse();
    Some(eigenvalues.into_iter().map(|value| value.max(0.0).sqrt()).collect())
}

/// The largest eigenvalue of a symmetric `side` x `side` matrix; by Lanczos steps with full reorthogonalisation where
/// the matrix is large (Golub and Van Loan, Matrix Computations, 10.3).
pub(super) fn largest_eigenvalue(matrix: &[f64], side: usize) -> Option<f64> {
    if side == 0 || matrix.iter().any(|v| !v.is_finite()) {
        return None;
    }
    if side <= DIRECT {
        let values = MatRef::from_row_major_slice(matrix, side, side).self_adjoint_eigenvalues(Side::Lower).ok()?;
        return values.last().copied();
    }
    // Any start that is not orthogonal to the eigenvector does; the same one every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut vector: Vec<f64> = (0..side)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
        })
        .collect();
    let mut basis: Vec<Vec<f64>> = Vec::new();
    let (mut alpha, mut beta) = (Vec::new(), Vec::new());
    for _ in 0..STEPS {
        let norm = inner(&vector, &vector).sqrt();
        if !norm.is_normal() || beta.last().is_some_and(|_| norm <= 1e-12 * inner(&alpha, &alpha).sqrt()) {
            break;
        }
        if !basis.is_empty() {
            beta.push(norm);
        }
        for v in &mut vector {
            *v /= norm;
        }
        let mut next: Vec<f64> = matrix.chunks_exact(side).map(|row| inner(row, &vector)).collect();
        alpha.push(inner(&next, &vector));
        basis.push(vector);
        // Twice is enough (Kahan and Parlett).
        for _ in 0..2 {
            for old in &basis {
                let along = inner(&next, old);
                next.iter_mut().zip(old).for_each(|(v, o)| *v -= along * o);
            }
        }
        vector = next;
    }
    let k = alpha.len();
    let mut small = vec![0.0; k * k];
    for i in 0..k {
        small[i * k + i] = alpha[i];
        if let Some(&b) = beta.get(i).filter(|_| i + 1 < k) {
            (small[i * k + i + 1], small[(i + 1) * k + i]) = (b, b);
        }
    }
    let values = MatRef::from_row_major_slice(&small, k, k).self_adjoint_eigenvalues(Side::Lower).ok()?;
    values.last().copied()
}

pub(super) fn gram_of_columns(values: &[f32], rows: usize, cols: usize) -> Vec<f64> {
    let columns = transpose(values, rows, cols);
    gram(&columns, rows)
}

/// The transpose of a row-major `rows` x `cols` matrix.
#[must_use]
pub fn transpose(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    // By squares of a few cache lines, or every element of a long column would fetch a line of its own.
    let mut square = [[0.0; SQUARE]; SQUARE];
    for top in (0..rows).step_by(SQUARE) {
        let high = (rows - top).min(SQUARE);
        for left in (0..cols).step_by(SQUARE) {
            let wide = (cols - left).min(SQUARE);
            for (line, row) in square.iter_mut().zip(values[top * cols..].chunks_exact(cols)) {
                line[..wide].copy_from_slice(&row[left..left + wide]);
            }
            for c in 0..wide {
                let column = &mut out[(left + c) * rows + top..(left + c) * rows + top + high];
                if let Ok(column) = <&mut [f32; SQUARE]>::try_from(&mut *column) {
                    for r in 0..SQUARE {
                        column[r] = square[r][c];
                    }
                } else {
                    column.iter_mut().zip(&square).for_each(|(value, line)| *value = line[c]);
                }
            }
        }
    }
    out
}

/// Side of the squares in which a matrix is transposed.
const SQUARE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singular_values_of_a_known_matrix_either_way_round() {
        // numpy.linalg.svd([[1, 2, 3], [4, 5, 6]]): 9.508032, 0.772870
        let wide = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let tall = transpose(&wide, 2, 3);
        for (values, rows, cols) in [(wide.to_vec(), 2, 3), (tall, 3, 2)] {
            let s = singular_values(&values, rows, cols).expect("finite");
            assert!(
                (s[0] - 9.508_032_000_695_726).abs() < 1e-6 && (s[1] - 0.772_869_635_673_485).abs() < 1e-5,
                "{s:?}"
            );
        }
        assert_eq!(singular_values(&[f32::NAN], 1, 1), None);
    }

    #[test]
    fn lanczos_finds_what_the_full_decomposition_finds() {
        // A draw, and the same with a direction that stands out; and matrices on which the steps end early.
        let side = 128;
        let mut state = 7_u64;
        let mut values: Vec<f32> = (0..side * 300)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / 16_777_216.0 - 0.5
            })
            .collect();
        for outlier in [0.0, 0.3] {
            for v in &mut values {
                *v += outlier;
            }
            let products = gram(&values, 300);
            let all = singular_values_of_gram(&products, side).expect("finite");
            let top = largest_eigenvalue(&products, side).expect("finite").sqrt();
            assert!(top <= all[0] * (1.0 + 1e-9) && top > all[0] * 0.999, "{top} against {}", all[0]);
        }
        let mut eye = vec![0.0; side * side];
        (0..side).for_each(|i| eye[i * (side + 1)] = 2.5);
        assert!((largest_eigenvalue(&eye, side).expect("finite") - 2.5).abs() < 1e-9);
        assert!(largest_eigenvalue(&vec![0.0; side * side], side).expect("finite").abs() < 1e-12);
        assert_eq!(largest_eigenvalue(&[f64::NAN], 1), None);
    }
}
