//! Products of rows in single precision, made by bands that are computed side by side.

use rayon::prelude::*;

use super::dot::cross;

/// Rows of a product that one task computes.
const BAND: usize = 64;

/// A B^T for rows of length `k`: sums in double precision, kept in single. The bits do not depend on the bands.
///
/// # Panics
/// If a length is not a multiple of `k`.
#[must_use]
pub fn product(a: &[f32], b: &[f32], k: usize) -> Vec<f32> {
    let band = (BAND * k).max(1);
    a.par_chunks(band).flat_map_iter(|rows| narrow(&cross(rows, b, k))).collect()
}

/// A A^T for rows of length `k`, at half the cost and with the bits of [`product`].
///
/// # Panics
/// If the length is not a multiple of `k`.
#[must_use]
pub fn square(a: &[f32], k: usize) -> Vec<f32> {
    let n = a.len() / k.max(1);
    let mut out = vec![0.0; n * n];
    out.par_chunks_mut((BAND * n).max(1)).enumerate().for_each(|(band, into)| {
        let first = band * BAND;
        let rows = &a[first * k..(first + BAND).min(n) * k];
        let wide = n - first;
        for (into, from) in into.chunks_exact_mut(n).zip(cross(rows, &a[first * k..], k).chunks_exact(wide)) {
            into[first..].iter_mut().zip(narrow(from)).for_each(|(into, from)| *into = from);
        }
    });
    for i in 0..n {
        for j in 0..i / BAND * BAND {
            out[i * n + j] = out[j * n + i];
        }
    }
    out
}

/// The nearest numbers of single precision.
#[allow(clippy::cast_possible_truncation)]
pub(crate) fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_has_the_bits_of_the_product() {
        let k = 7;
        let rows: Vec<f32> =
            (0..150 * k).map(|i| f32::from(i16::try_from(i * 37 % 101).expect("small")) / 17.0 - 2.5).collect();
        let (whole, half) = (product(&rows, &rows, k), square(&rows, k));
        assert_eq!(whole.len(), 150 * 150);
        assert!(whole.iter().zip(&half).all(|(a, b)| a.to_bits() == b.to_bits()));
        let one: f64 = (0..k).map(|i| f64::from(rows[3 * k + i]) * f64::from(rows[149 * k + i])).sum();
        assert!((f64::from(whole[3 * 150 + 149]) - one).abs() <= one.abs() * 1e-6 + 1e-6);
        assert!(product(&[], &rows, k).is_empty() && square(&[], k).is_empty());
    }
}
