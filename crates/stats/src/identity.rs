//! Whether one column of numbers is a fixed multiple of another, row by row and to its digits, and in which rows it is not.
//!
//! Nothing is estimated: what a program computes from one number agrees with it to the digits that were logged, or was not
//! computed from it. Rows agree within the rounding of both columns; a relation counts only where neighbouring rows differ
//! by more than that, so that agreement says something.

use super::median;

/// How finely a column is written: half a unit of its last decimal, and half a unit in the last place of its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grain {
    /// Half a unit of the last decimal; 0 where more than six are written.
    pub absolute: f64,
    /// Half a unit in the last place of 8 bits (bfloat16), 11 bits (half precision) or 24 bits, with room for arithmetic.
    pub relative: f64,
}

impl Grain {
    /// The coarsest grain that all values have.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let whole =
            |scale: f64| values.iter().all(|v| ((v * scale).round() - v * scale).abs() <= 1e-9 * (v * scale).abs());
        let decimals = (0..=6).find(|d| whole(10_f64.powi(*d)));
        // Of a number's 53 bits those below the kept ones are zero.
        let bits = |kept: u8| values.iter().all(|v| v.to_bits().trailing_zeros() >= 53 - u32::from(kept));
        let relative = [8, 11].into_iter().find(|kept| bits(*kept)).map_or(5e-7, |kept| 0.5_f64.powi(i32::from(kept)));
        Self { absolute: decimals.map_or(0.0, |d| 0.5 * 10_f64.powi(-d)), relative }
    }

    /// The most by which a value may differ from what it was rounded from.
    #[must_use]
    pub fn at(&self, value: f64) -> f64 {
        self.absolute + self.relative * value.abs()
    }
}

/// One row: is `value` the factor times `of`? With the most that rounding explains of either.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Pair {
    pub value: f64,
    pub value_slack: f64,
    pub of: f64,
    pub of_slack: f64,
    /// The row says nothing if it disagrees: one of its values is a cap or was carried over.
    pub silent: bool,
}

/// Rows in which a relation does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// None.
    Nowhere,
    /// All rows from one on, or up to one.
    End(usize, usize),
    /// One block with rows that agree before and after it.
    Block(usize, usize),
    /// Here and there.
    Scattered(usize),
}

/// A relation of two columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Identity {
    /// The factor.
    pub factor: f64,
    /// Rows that agree.
    pub holds: usize,
    /// Rows that do not.
    pub differs: usize,
    /// Where those are: first and last, as numbers of rows.
    pub broken: Broken,
}

/// Fewer rows that agree are no relation.
const ROWS: usize = 8;
/// Neighbouring rows must differ by this many times the rounding, in the middle.
const TELLING: f64 = 6.0;
/// Rows beside a block, on either side.
const BESIDE: usize = 3;

/// The relation of rows in their order, with one of the factors given or, if `free`, any factor.
///
/// At least [`ROWS`] rows and a quarter of all must agree.
#[must_use]
pub fn identity(rows: &[Pair], given: &[f64], free: bool) -> Option<Identity> {
    if rows.len() < ROWS {
        return None;
    }
    let third = rows.len() / 3;
    let parts = [rows, &rows[..third.max(1)], &rows[rows.len() - third.max(1)..]];
    let free = parts.iter().filter(|_| free).filter_map(|part| proposed(rows, part));
    let count = |factor: f64| (factor, rows.iter().filter(|row| agrees(row, factor, 1.0)).count());
    let enough = |holds: usize| holds >= ROWS && holds * 4 >= rows.len();
    let most = |factors: Vec<f64>| factors.into_iter().map(count).reduce(|a, b| if b.1 > a.1 { b } else { a });
    // A factor that is expected needs no majority: what departs from it may be the larger part.
    let known = most(given.to_vec()).filter(|(_, holds)| enough(*holds));
    let (factor, holds) = known.or_else(|| most(free.collect()))?;
    if !enough(holds) || !telling(rows, factor) {
        return None;
    }
    // A row is broken only well beyond the rounding.
    let odd = |row: &Pair| !row.silent && !agrees(row, factor, 8.0);
    let differs = rows.iter().filter(|row| odd(row)).count();
    let broken = place(rows, odd, differs);
    Some(Identity { factor, holds, differs, broken })
}

fn agrees(row: &Pair, factor: f64, room: f64) -> bool {
    (row.value - factor * row.of).abs() <= room * (row.value_slack + factor.abs() * row.of_slack)
}

/// The middle factor of some rows, made exact over the rows that it nearly fits.
fn proposed(rows: &[Pair], part: &[Pair]) -> Option<f64> {
    let middle = median(part.iter().map(|row| row.value / row.of).filter(|f| f.is_finite()))?;
    let near = rows.iter().filter(|row| agrees(row, middle, 4.0));
    let (above, below) = near.fold((0.0, 0.0), |(a, b), row| (a + row.value * row.of, b + row.of * row.of));
    Some(above / below).filter(|factor: &f64| factor.is_finite() && *factor != 0.0)
}

/// Whether neighbours that agree differ by more than rounding.
fn telling(rows: &[Pair], factor: f64) -> bool {
    let good: Vec<&Pair> = rows.iter().filter(|row| agrees(row, factor, 1.0)).collect();
    let one = |pair: &[&Pair]| {
        (pair[1].of - pair[0].of).abs() * factor.abs() / (pair[1].value_slack + factor.abs() * pair[1].of_slack)
    };
    median(good.windows(2).map(one)).is_some_and(|middle| middle >= TELLING)
}

fn place(rows: &[Pair], odd: impl Fn(&Pair) -> bool, differs: usize) -> Broken {
    let (Some(first), Some(last)) = (rows.iter().position(&odd), rows.iter().rposition(&odd)) else {
        return Broken::Nowhere;
    };
    let block = rows[first..=last].iter().filter(|row| !row.silent).count();
    if differs < BESIDE || differs * 10 < block * 9 {
        return Broken::Scattered(differs);
    }
    let good = |part: &[Pair]| part.iter().filter(|row| !row.silent).count();
    match (good(&rows[..first]), good(&rows[last + 1..])) {
        (before, after) if before >= BESIDE && after >= BESIDE => Broken::Block(first, last),
        (before, 0) if before >= BESIDE => Broken::End(first, last),
        (0, after) if after >= BESIDE => Broken::End(first, last),
        _ => Broken::Scattered(differs),
    }
}

#[cfg(test)]
mod tests {
    use super::{Broken, Grain, Identity, Pair, identity};

    /// Losses as a program holds them, in 32 bits.
    #[allow(clippy::cast_possible_truncation)]
    fn loss(i: usize) -> f64 {
        f64::from((3.0 + 3.0 * (-(i as f64) / 20.0).exp() + 0.1 * ((i * 7919 % 101) as f64 / 101.0)) as f32)
    }

    fn of(pairs: impl Iterator<Item = (f64, f64)>, given: &[f64], free: bool) -> Option<Identity> {
        let (values, bases): (Vec<f64>, Vec<f64>) = pairs.unzip();
        let (value, base) = (Grain::of(&values), Grain::of(&bases));
        let rows: Vec<Pair> = values
            .iter()
            .zip(&bases)
            .map(|(&v, &b)| Pair { value: v, value_slack: value.at(v), of: b, of_slack: base.at(b), silent: false })
            .collect();
        identity(&rows, given, free)
    }

    #[test]
    fn the_grain_is_the_coarsest() {
        assert_eq!(Grain::of(&[3.25, 1.5]), Grain { absolute: 0.005, relative: 0.5_f64.powi(8) });
        assert_eq!(Grain::of(&[2.5171, 2.0]), Grain { absolute: 0.5e-4, relative: 5e-7 });
        assert_eq!(Grain::of(&[f64::from(1.0_f32 / 3.0)]), Grain { absolute: 0.0, relative: 5e-7 });
        let half = Grain { absolute: 0.0, relative: 0.5_f64.powi(11) };
        assert_eq!(Grain::of(&[1.0 + 0.5_f64.powi(10)]), half);
    }

    #[test]
    fn a_fixed_factor_is_found_and_where_it_breaks() {
        let all = |k: fn(usize) -> f64| of((0..100).map(|i| (k(i) * loss(i), loss(i))), &[1.0], true);
        let whole = all(|_| 0.37).map(|found| ((found.factor - 0.37).abs() < 1e-9, found.holds, found.broken));
        assert_eq!(whole, Some((true, 100, Broken::Nowhere)));
        let broken = |k: fn(usize) -> f64| all(k).map(|found| found.broken);
        assert_eq!(broken(|i| if (40..70).contains(&i) { 0.9 } else { 1.0 }), Some(Broken::Block(40, 69)));
        assert_eq!(
            broken(|i| if i >= 40 { 0.9 } else { 1.0 }),
            Some(Broken::End(40, 99)),
            "a factor that was expected counts"
        );
        assert_eq!(broken(|i| if i >= 40 { 0.9 } else { 0.7 }), Some(Broken::End(0, 39)), "otherwise the larger part");
        assert_eq!(broken(|i| if i < 30 { 0.9 } else { 1.0 }), Some(Broken::End(0, 29)));
        assert_eq!(broken(|i| if i % 9 == 4 { 0.9 } else { 1.0 }), Some(Broken::Scattered(11)));
        assert_eq!(broken(|i| 1.0 + 1e-3 * (i % 7) as f64), None);
    }

    #[test]
    fn columns_that_only_move_together_are_not_related() {
        let noisy = |i: usize| loss(i) + 0.02 * ((i * 31 % 17) as f64 / 17.0);
        assert_eq!(of((0..100).map(|i| (noisy(i), loss(i))), &[1.0], true), None);
        // Two decimals agree with everything that hardly moves.
        let coarse = |v: f64| (100.0 * v).round() / 100.0;
        let slow = |i: usize| coarse(3.0 + 0.003 * i as f64);
        assert_eq!(of((0..100).map(|i| (slow(i), slow(i))), &[1.0], true), None);
        assert_eq!(of((0..100).map(|_| (3.0, 3.0)), &[1.0], true), None);
    }
}
