use super::*;

/// Uniform numbers in (0, 1).
struct Numbers(u64);

impl Numbers {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }

    fn draw(&mut self, law: Law, std: f64) -> f64 {
        let cut = match law {
            Law::Uniform => return (self.uniform() - 0.5) * 12f64.sqrt() * std,
            Law::Normal => f64::INFINITY,
            Law::TruncatedNormal => 2.0,
            Law::TruncatedNormal3 => 3.0,
        };
        loop {
            let x = self.normal();
            if x.abs() <= cut {
                return x * std / law.kept();
            }
        }
    }

    fn matrix(&mut self, n: usize, law: Law, std: f64) -> Vec<f32> {
        #[allow(clippy::cast_possible_truncation)]
        (0..n).map(|_| self.draw(law, std) as f32).collect()
    }
}

/// Rounds to nearest, ties to even, keeping so many bits of the fraction; half precision's subnormals as well.
#[allow(clippy::cast_possible_truncation)]
fn rounded(values: &[f32], bits: i32, smallest: i32) -> Vec<f32> {
    let round = |v: f32| {
        let exponent = f64::from(v.abs()).log2().floor().max(f64::from(smallest));
        let step = 2f64.powf(exponent - f64::from(bits));
        ((f64::from(v) / step).round_ties_even() * step) as f32
    };
    values.iter().map(|&v| if v == 0.0 { v } else { round(v) }).collect()
}

const GRIDS: [(i32, i32); 3] = [(23, -126), (10, -14), (7, -126)];

fn look(values: &[f32], columns: usize) -> (Moments, Draw) {
    let moments = Moments::of(values, columns, usize::MAX / columns).expect("finite");
    let draw = draw(&moments);
    (moments, draw)
}

fn worst(draw: &Draw) -> f64 {
    let all = [draw.edge.map(|e| e.log10_p), draw.cosines_log10_p, draw.row_norm_log10_p, draw.column_norm_log10_p];
    all.into_iter().flatten().fold(0.0, f64::min)
}

#[test]
fn every_law_is_named_and_fits_on_every_grid() {
    let mut numbers = Numbers(11);
    for law in Law::ALL {
        for std in [0.02, 0.006, 1.0] {
            let values = numbers.matrix(256 * 128, law, std);
            for (bits, smallest) in GRIDS {
                let (moments, draw) = look(&rounded(&values, bits, smallest), 128);
                assert_eq!(super::law(std::iter::once(&moments)), Some(law), "{law:?} {std} {bits}");
                let fit = fit(&moments.levels, std, law).expect("a fit");
                assert!(fit.log10_p > -4.0, "{law:?} {std} {bits}: {fit:?}");
                assert!(worst(&draw) > -4.0, "{law:?} {std} {bits}: {draw:?}");
                // Every other law is refused at this size.
                for other in Law::ALL {
                    let far = super::fit(&moments.levels, std, other).expect("a fit").log10_p;
                    let near = [law, other].iter().all(|l| matches!(l, Law::Normal | Law::TruncatedNormal3));
                    assert!(other == law || near || far < -6.0, "{law:?} for {other:?}: {far}");
                }
            }
        }
    }
}

#[test]
fn what_was_never_drawn_has_no_law() {
    let mut numbers = Numbers(3);
    // A heavy tail, as trained weights have; and two scales in one.
    let heavy: Vec<f32> = numbers.matrix(64 * 256, Law::Normal, 0.3).iter().map(|v| v * v * v).collect();
    assert_eq!(law(std::iter::once(&look(&heavy, 64).0)), None);
    assert_eq!(law(std::iter::once(&look(&[0.0; 64], 64).0)), None);
    assert_eq!(law(std::iter::empty()), None);
}

#[test]
fn rows_that_grew_are_seen_and_do_not_move_the_edge() {
    let mut numbers = Numbers(5);
    let mut values = numbers.matrix(256 * 64, Law::Normal, 0.02);
    values.chunks_exact_mut(64).take(40).flatten().for_each(|v| *v *= 3.0);
    let (_, draw) = look(&values, 64);
    assert!(draw.row_norm_log10_p.expect("rows") < -30.0);
    assert!(draw.edge.expect("an edge").log10_p > -3.0 && draw.cosines_log10_p.expect("rows") > -3.0, "{draw:?}");
    let mut values = numbers.matrix(256 * 64, Law::Normal, 0.02);
    values.chunks_exact_mut(64).for_each(|row| row[..9].iter_mut().for_each(|v| *v *= 2.0));
    let (_, draw) = look(&values, 64);
    assert!(draw.column_norm_log10_p.expect("columns") < -30.0 && draw.edge.expect("an edge").log10_p > -3.0);
}

#[test]
fn a_common_direction_is_seen_also_in_thin_matrices() {
    let mut numbers = Numbers(7);
    for (rows, columns) in [(256, 64), (64, 256), (4, 64), (2, 256), (64, 4)] {
        let mut values = numbers.matrix(rows * columns, Law::Normal, 0.02);
        assert!(worst(&look(&values, columns).1) > -3.0, "{rows} x {columns}");
        let direction: Vec<f32> = (0..columns).map(|i| if i % 3 == 0 { -0.06 } else { 0.06 }).collect();
        for row in values.chunks_exact_mut(columns) {
            row.iter_mut().zip(&direction).for_each(|(v, d)| *v += d);
        }
        let seen = look(&values, columns).1.edge.expect("an edge").log10_p;
        assert!(seen < -9.0, "{rows} x {columns}: {seen}");
    }
}

#[test]
fn many_weak_directions_below_the_edge_are_seen_by_their_cosines() {
    let mut numbers = Numbers(9);
    let (rows, columns, rank) = (256, 128, 64);
    let mut values = numbers.matrix(rows * columns, Law::Normal, 1.0);
    let left = numbers.matrix(rows * rank, Law::Normal, 1.0);
    let right = numbers.matrix(rank * columns, Law::Normal, 1.0);
    for (r, row) in values.chunks_exact_mut(columns).enumerate() {
        for (k, direction) in right.chunks_exact(columns).enumerate() {
            row.iter_mut().zip(direction).for_each(|(v, d)| *v += 0.066 * left[r * rank + k] * d);
        }
    }
    let (_, draw) = look(&values, columns);
    assert!(draw.cosines_log10_p.expect("rows") < draw.edge.expect("an edge").log10_p, "{draw:?}");
    assert!(draw.cosines_log10_p.expect("rows") < -4.0, "{draw:?}");
}

#[test]
fn rows_of_different_scales_follow_a_law_once_scaled() {
    let mut numbers = Numbers(17);
    let mut values = numbers.matrix(256 * 64, Law::Normal, 0.02);
    for (r, row) in values.chunks_exact_mut(64).enumerate() {
        for v in row.iter_mut() {
            *v *= [0.4, 1.0, 2.5][r % 3];
        }
    }
    let (moments, draw) = look(&values, 64);
    assert_eq!(law(std::iter::once(&moments)), None);
    // Cut at three or not at all: the scaling itself moves values by more than the cut.
    assert!(matches!(scaled_law(&moments), Some(Law::Normal | Law::TruncatedNormal3)));
    assert!(draw.edge.expect("an edge").log10_p > -3.0);
    // A heavy tail stays one.
    for v in &mut values {
        *v *= *v * *v * 1e4;
    }
    assert_eq!(scaled_law(&look(&values, 64).0), None);
    // Rows of one scale ask for nothing.
    assert_eq!(look(&numbers.matrix(256 * 64, Law::Normal, 0.02), 64).0.scaled, []);
}

#[test]
fn orthogonal_matrices_are_named_and_not_accused() {
    // Householder reflections of a diagonal of signs: exactly orthogonal, any number of rows kept.
    let (rows, columns) = (48, 64);
    let mut numbers = Numbers(13);
    let mut full: Vec<f64> = (0..64 * 64).map(|i| if i % 65 == 0 { 1.0 } else { 0.0 }).collect();
    for _ in 0..64 {
        let v: Vec<f64> = (0..64).map(|_| numbers.normal()).collect();
        let norm: f64 = v.iter().map(|x| x * x).sum();
        for row in full.chunks_exact_mut(64) {
            let along: f64 = row.iter().zip(&v).map(|(a, b)| a * b).sum();
            row.iter_mut().zip(&v).for_each(|(a, b)| *a -= 2.0 * along / norm * b);
        }
    }
    #[allow(clippy::cast_possible_truncation)]
    let values: Vec<f32> = full[..rows * columns].iter().map(|&v| (v * 1.4) as f32).collect();
    for (bits, smallest) in GRIDS {
        let (_, draw) = look(&rounded(&values, bits, smallest), columns);
        assert!((draw.orthogonal.expect("orthogonal") - 1.4).abs() < 0.01, "{draw:?}");
        assert!(worst(&draw) > -4.0, "{draw:?}");
    }
    let values = numbers.matrix(rows * columns, Law::Normal, 0.125);
    assert_eq!(look(&values, columns).1.orthogonal, None);
}

#[test]
fn padding_rows_do_not_count() {
    let mut numbers = Numbers(21);
    let mut values = numbers.matrix(32 * 64, Law::Uniform, 0.02);
    let full = look(&values, 64).1;
    values.extend([0.0; 64]);
    assert_eq!(look(&values, 64).1, full);
}

#[test]
fn hostile_values_give_no_figure_and_no_panic() {
    for values in [vec![1e-40_f32; 64], vec![f32::MAX; 64], vec![f32::MIN_POSITIVE; 64]] {
        let (moments, draw) = look(&values, 8);
        assert_eq!((draw.edge, law(std::iter::once(&moments))), (None, None));
    }
    let mut odd = vec![1e-30_f32; 64];
    odd[3] = 1e30;
    let (_, draw) = look(&odd, 8);
    assert!(draw.edge.is_none_or(|e| e.log10_p.is_finite()));
    for n in 1..4 {
        let (moments, draw) = look(&vec![0.5, -0.25, 0.75][..n], 1);
        assert!(draw.elements == n && law(std::iter::once(&moments)).is_none_or(|_| n > 7));
    }
}
