//! Rows of tokens that left the direction of an earlier checkpoint and stand on it again later (METHODS 5, splices and merges).
//!
//! A row that is met moves, and a row that is not met only decays: nothing brings one back. A checkpoint of another training from
//! the same start does, for every token that the first training had met by then and the second had not.

use scratchproof_kernel::{ONE_DIRECTION, RowProducts};
use scratchproof_measurements::Returned;

/// Elements by which most pairs of copies are told apart.
const GLANCE: usize = 16;

/// Fewer elements may agree by chance: of 16, with a squared sine of 1e-3, twice in 10^23.
const LEAST: usize = 16;

/// Least squared sine of a row that has moved, and how many times that of a row that stands again.
const MOVED: f64 = 4e-4;
const ABOVE: f64 = 10.0;

/// Largest change of the squared length on the path: what decayed to nothing jitters about zero.
const SHORTENED: f64 = 0.05;

/// The first elements of a row at unit length; zeros where it has none.
fn direction(copy: &[f64]) -> [f64; GLANCE] {
    let mut head = [0.0; GLANCE];
    head.copy_from_slice(&copy[..GLANCE]);
    let length = head.iter().map(|x| x * x).sum::<f64>().sqrt();
    let scale = if length > 0.0 && length.is_finite() { 1.0 / length } else { 0.0 };
    head.map(|x| if scale > 0.0 { x * scale } else { 0.0 })
}

/// Where the copies of one row, checkpoint by checkpoint, return to an earlier direction; the path back with the widest turn.
///
/// `allowed(from, to)` is the squared sine that roundings may leave. `moved` holds, by interval of neighbours, the squared sine
/// of the row there.
#[must_use]
pub fn returned(
    row: u64,
    copies: &[&[f64]],
    moved: &[Option<f64>],
    allowed: impl Fn(usize, usize) -> f64,
) -> Option<Returned> {
    let mut widest: Option<Returned> = None;
    if copies.first().is_none_or(|copy| copy.len() < LEAST) {
        return None;
    }
    let heads: Vec<[f64; GLANCE]> = copies.iter().map(|copy| direction(copy)).collect();
    let least = |from: usize, to: usize| MOVED.max(ABOVE * allowed(from, to));
    for to in 2..copies.len() {
        let away = to - 1;
        if moved[away].is_none_or(|off| off < least(away, to)) {
            continue;
        }
        for from in 0..away {
            let cosine: f64 = heads[from].iter().zip(&heads[to]).map(|(a, b)| a * b).sum();
            // The head of a row may be off by more than the whole: by chance ten times as much.
            let near = cosine > 0.0 && 1.0 - cosine * cosine <= ABOVE * allowed(from, to);
            if !near {
                continue;
            }
            let again = RowProducts::new(copies[from], copies[to]);
            let straight = again.off_line().is_some_and(|off| off <= allowed(from, to));
            let length = again.bb >= SHORTENED * again.aa && again.cosine().is_some_and(|c| c > ONE_DIRECTION);
            let Some(apart) = RowProducts::new(copies[from], copies[away]).off_line() else { continue };
            if straight && length && apart >= least(from, away) && widest.is_none_or(|w| apart.sqrt() > w.moved) {
                let off = again.off_line().unwrap_or(0.0).sqrt();
                widest = Some(Returned { row, from, away, to, moved: apart.sqrt(), off });
            }
        }
    }
    widest
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row(seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 24) - 0.5
        };
        (0..48).map(|_| next()).collect()
    }

    fn plus(a: &[f64], b: &[f64], factor: f64) -> Vec<f64> {
        a.iter().zip(b).map(|(x, y)| x + factor * y).collect()
    }

    fn find(copies: &[Vec<f64>]) -> Option<Returned> {
        let copies: Vec<&[f64]> = copies.iter().map(Vec::as_slice).collect();
        let moved: Vec<Option<f64>> = copies.windows(2).map(|w| RowProducts::new(w[0], w[1]).off_line()).collect();
        returned(7, &copies, &moved, |_, _| 1e-6)
    }

    #[test]
    fn a_row_that_comes_back_shorter_is_found_with_the_widest_way() {
        let (start, gone) = (row(1), row(2));
        let decayed: Vec<f64> = start.iter().map(|x| 0.8 * x).collect();
        let copies = [start.clone(), plus(&start, &gone, 0.1), plus(&start, &gone, 0.3), decayed.clone(), decayed];
        let found = find(&copies).unwrap();
        assert_eq!((found.row, found.from, found.away, found.to), (7, 0, 2, 3));
        assert!((found.moved - 0.29).abs() < 0.06 && found.off < 1e-7, "{found:?}");
    }

    #[test]
    fn decay_a_walk_and_a_row_near_nothing_do_not_return() {
        let (start, gone) = (row(1), row(2));
        let scaled = |factor: f64| start.iter().map(|x| factor * x).collect::<Vec<f64>>();
        assert_eq!(find(&[start.clone(), scaled(0.9), scaled(0.8), scaled(0.7)]), None);
        assert_eq!(find(&[start.clone(), plus(&start, &gone, 0.1), plus(&start, &gone, 0.01)]), None);
        assert_eq!(find(&[start.clone(), plus(&start, &gone, 0.3), scaled(0.1)]), None);
        assert_eq!(find(&[start.clone(), plus(&start, &gone, 0.3), scaled(-1.0)]), None);
        assert_eq!(find(&[start.clone(), vec![0.0; 48], start.clone()]), None);
        assert_eq!(find(&[start.clone(), vec![f64::NAN; 48], start]), None);
        assert_eq!(find(&[row(1)[..8].to_vec(), row(2)[..8].to_vec(), row(1)[..8].to_vec()]), None);
    }

    #[test]
    fn a_move_below_ten_roundings_is_none() {
        let (start, gone) = (row(1), row(2));
        let copies = [start.clone(), plus(&start, &gone, 0.02), start.clone()];
        assert!(find(&copies).is_some());
        let copies: Vec<&[f64]> = copies.iter().map(Vec::as_slice).collect();
        let moved: Vec<Option<f64>> = copies.windows(2).map(|w| RowProducts::new(w[0], w[1]).off_line()).collect();
        assert_eq!(returned(7, &copies, &moved, |_, _| 1e-4), None);
    }
}
