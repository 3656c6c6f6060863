//! Singular values of a small sample, from its Gram matrix.

use faer::Side;
use faer::mat::MatRef;

use super::dot::gram;

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
    let matrix = MatRef::from_row_major_slice(&products, side, side);
    let mut eigenvalues = matrix.self_adjoint_eigenvalues(Side::Lower).ok()?;
    eigenvalues.reverse();
    Some(eigenvalues.into_iter().map(|value| value.max(0.0).sqrt()).collect())
}

fn gram_of_columns(values: &[f32], rows: usize, cols: usize) -> Vec<f64> {
    let columns = transpose(values, rows, cols);
    gram(&columns, rows)
}

/// The transpose of a row-major `rows` x `cols` matrix.
#[must_use]
pub fn transpose(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for r in 0..rows {
        for c in 0..cols {
            out[c * rows + r] = values[r * cols + c];
        }
    }
    out
}

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
}
