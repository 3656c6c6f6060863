//! Maximum-weight assignment of a dense score matrix.
//!
//! An auction with epsilon scaling in f32 (Bertsekas 1988) finds prices that are nearly right, which costs little even
//! where every row wants the same columns. The answer does not rest on it: from those prices, augmenting row reduction
//! and shortest augmenting paths in f64 (Jonker and Volgenant 1987) find an optimal assignment, whatever the prices were.
//! With fewer rows than columns, rows of zeros stand for the rest; they are all alike and are expanded once a search.

use std::borrow::Cow;

use super::simd::{Lanes, simd};
use super::{Level, level};

/// No row or no column.
const NONE: usize = usize::MAX;

/// The auction's last epsilon, as a share of the range of the scores.
const FINEST: f32 = 2e-6;

/// Epsilon shrinks by this from one round of the auction to the next.
const SHRINK: f32 = 6.0;

/// Bids a row may make on average in one round of the auction before it is broken off; a limit on time, not on truth.
const BIDS: usize = 60;

/// Scores of this size and above are scaled down, so that no sum of them leaves the range of f32.
const HUGE: f32 = 1e30;

/// The column of every row in an assignment with the largest possible total; with more rows than columns some rows have
/// none. Row-major `scores`, `rows` x `cols`. Of several best assignments always the same one is given.
///
/// A score that is not finite is forbidden: it counts as less than all finite scores together can make up for (as far as
/// an f32 reaches), and a row that could only be given such a column gets none.
///
/// # Panics
/// If `scores` is not rows x cols long.
#[must_use]
pub fn assign(scores: &[f32], rows: usize, cols: usize) -> Vec<Option<usize>> {
    assign_with(level(), scores, rows, cols)
}

fn assign_with(level: Level, scores: &[f32], rows: usize, cols: usize) -> Vec<Option<usize>> {
    assert_eq!(scores.len(), rows * cols, "{rows} x {cols} scores");
    let mut columns = vec![None; rows];
    if rows > cols {
        let across = super::transpose(scores, rows, cols);
        for (column, row) in assign_with(level, &across, cols, rows).into_iter().enumerate() {
            if let Some(row) = row {
                columns[row] = Some(column);
            }
        }
        return columns;
    }
    let Some((prepared, low, high)) = prepare(scores, rows) else { return columns };
    let mut search = Search::new(level, &prepared, rows, cols, vec![0.0; cols]);
    // Where columns abound, most rows get what they want at no price.
    let free = if rows < cols { search.reduce() } else { rows };
    if free * 8 > rows {
        search = Search::new(level, &prepared, rows, cols, auction(level, &prepared, rows, cols, high - low));
        search.reduce();
    }
    search.augment();
    for (row, column) in columns.iter_mut().enumerate() {
        let found = search.column_of[row];
        if found != NONE && scores[row * cols + found].is_finite() {
            *column = Some(found);
        }
    }
    columns
}

/// The scores with everything finite and of a size that can be added up, and their least and largest. `None` if there is
/// no finite score.
fn prepare(scores: &[f32], rows: usize) -> Option<(Cow<'_, [f32]>, f32, f32)> {
    let (mut low, mut high, mut clean) = (f32::INFINITY, f32::NEG_INFINITY, true);
    for &score in scores {
        if score.is_finite() {
            low = low.min(score);
            high = high.max(score);
        } else {
            clean = false;
        }
    }
    if low > high {
        return None;
    }
    if clean && high < HUGE && low > -HUGE {
        return Some((Cow::Borrowed(scores), low, high));
    }
    let scale = if high < HUGE && low > -HUGE { 1.0 } else { 2f32.powi(-40) };
    let (low, high) = (low * scale, high * scale);
    let size = (high - low).max(low.abs()).max(high.abs()).max(1e-30);
    let forbidden = (low - size * (2 * rows + 1) as f32).max(-HUGE);
    let copy = scores.iter().map(|&score| if score.is_finite() { score * scale } else { forbidden }).collect();
    Some((Cow::Owned(copy), low, high))
}

/// Prices at which the rows ask for different columns, nearly: no row would gain more than a few epsilon by another.
fn auction(level: Level, scores: &[f32], rows: usize, cols: usize, range: f32) -> Vec<f64> {
    // Prices are held negative, so that a bid is one sum; columns that only fill the last vector cost everything.
    let mut prices = vec![0.0_f32; cols];
    prices.resize(cols.next_multiple_of(16), f32::NEG_INFINITY);
    let zeros = if rows < cols { vec![0.0; cols] } else { Vec::new() };
    let mut epsilon = range / 8.0;
    while range > 0.0 && epsilon > 0.0 {
        let last = epsilon <= range * FINEST;
        let mut row_of = vec![NONE; cols];
        let mut waiting: Vec<usize> = (0..cols).rev().collect();
        let mut left = cols.saturating_mul(BIDS);
        while let Some(row) = waiting.pop() {
            let mut bid = Bid::default();
            let own = if row < rows { &scores[row * cols..][..cols] } else { &zeros };
            bid_s(level, own, &prices, &mut bid);
            let Some(owner) = row_of.get_mut(bid.column) else { break };
            // A forbidden second choice is no reason for a price that has no digits left.
            #[allow(clippy::cast_possible_truncation)]
            let rise = (bid.best - bid.second).min(f64::from(2.0 * range)) as f32;
            prices[bid.column] -= rise + epsilon;
            if *owner != NONE {
                waiting.push(*owner);
            }
            *owner = row;
            left -= 1;
            if left == 0 {
                break;
            }
        }
        if last {
            // Whatever the rows of zeros hold is worth the same to them.
            let cheapest = prices.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for (price, _) in prices.iter_mut().zip(&row_of).filter(|(_, owner)| **owner >= rows) {
                *price = cheapest;
            }
            break;
        }
        epsilon = (epsilon / SHRINK).max(range * FINEST);
    }
    prices[..cols].iter().map(|&price| -f64::from(price)).collect()
}

/// What a row would gain from its best column and from its second best.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Bid {
    column: usize,
    best: f64,
    second: f64,
    second_column: usize,
}

simd! { fn bid_s(scores: &[f32], prices: &[f32], bid: &mut Bid) = bid_s_body }

/// `prices` are negative and fill whole vectors.
#[inline(always)]
#[allow(clippy::inline_always)]
fn bid_s_body<L: Lanes>(lanes: L, scores: &[f32], prices: &[f32], bid: &mut Bid) {
    let (whole, rest) = scores.as_chunks::<16>();
    let mut tail = [0.0; 16];
    tail[..rest.len()].copy_from_slice(rest);
    let splat = |value: f32| lanes.load_s(&[value; 16]);
    let one = splat(1.0);
    let (mut best, mut second) = (splat(f32::NEG_INFINITY), splat(f32::NEG_INFINITY));
    let (mut at, mut now) = (splat(0.0), splat(0.0));
    for (score, price) in whole.iter().chain(std::iter::once(&tail)).zip(prices.as_chunks::<16>().0) {
        let gain = lanes.fma_s(lanes.load_s(score), one, lanes.load_s(price));
        let lesser = lanes.pick_s(gain, best, best, gain);
        second = lanes.pick_s(lesser, second, lesser, second);
        at = lanes.pick_s(gain, best, now, at);
        best = lanes.pick_s(gain, best, gain, best);
        now = lanes.fma_s(now, one, one);
    }
    let (mut bests, mut seconds, mut ats) = ([0.0; 16], [0.0; 16], [0.0; 16]);
    lanes.store_s(best, &mut bests);
    lanes.store_s(second, &mut seconds);
    lanes.store_s(at, &mut ats);
    *bid = Bid { column: 0, best: f64::NEG_INFINITY, second: f64::NEG_INFINITY, second_column: 0 };
    for lane in 0..16 {
        bid.take(f64::from(bests[lane]), column(f64::from(ats[lane]), 16, lane));
        bid.second = bid.second.max(f64::from(seconds[lane]));
    }
}

impl Bid {
    #[allow(clippy::float_cmp)]
    fn take(&mut self, gain: f64, column: usize) {
        if gain > self.best || (gain == self.best && column < self.column) {
            (self.second, self.second_column) = (self.best, self.column);
            (self.best, self.column) = (gain, column);
        } else if gain > self.second {
            (self.second, self.second_column) = (gain, column);
        }
    }
}

simd! { fn bid_d(scores: &[f32], prices: &[f64], bid: &mut Bid) = bid_d_body }

/// `prices` fill whole vectors of sixteen.
#[inline(always)]
#[allow(clippy::inline_always)]
fn bid_d_body<L: Lanes>(lanes: L, scores: &[f32], prices: &[f64], bid: &mut Bid) {
    let (whole, rest) = scores.as_chunks::<8>();
    let mut tail = [0.0; 8];
    tail[..rest.len()].copy_from_slice(rest);
    let splat = |value: f64| lanes.load_d(&[value; 8]);
    let one = splat(1.0);
    let (mut best, mut second) = (splat(f64::NEG_INFINITY), splat(f64::NEG_INFINITY));
    let (mut at, mut second_at, mut now) = (splat(0.0), splat(0.0), splat(0.0));
    for (score, price) in whole.iter().chain(std::iter::once(&tail)).zip(prices.as_chunks::<8>().0) {
        let gain = lanes.sub_d(lanes.widen(score), lanes.load_d(price));
        let lesser = lanes.pick_d(gain, best, best, gain);
        let lesser_at = lanes.pick_d(gain, best, at, now);
        second_at = lanes.pick_d(lesser, second, lesser_at, second_at);
        second = lanes.pick_d(lesser, second, lesser, second);
        at = lanes.pick_d(gain, best, now, at);
        best = lanes.pick_d(gain, best, gain, best);
        now = lanes.add_d(now, one);
    }
    let mut out = [[0.0; 8]; 4];
    for (value, to) in [best, at, second, second_at].into_iter().zip(&mut out) {
        lanes.store_d(value, to);
    }
    *bid = Bid { column: 0, best: f64::NEG_INFINITY, second: f64::NEG_INFINITY, second_column: 0 };
    let [bests, ats, seconds, second_ats] = out;
    for (lane, (best, at)) in bests.into_iter().zip(ats).enumerate() {
        bid.take(best, column(at, 8, lane));
    }
    for (lane, (second, at)) in seconds.into_iter().zip(second_ats).enumerate() {
        if second > bid.second {
            (bid.second, bid.second_column) = (second, column(at, 8, lane));
        }
    }
}

/// A partial assignment in which every assigned row has the column it gains most from at the prices.
struct Search<'a> {
    level: Level,
    scores: &'a [f32],
    cols: usize,
    rows: usize,
    /// One row of zeros, for every row beyond `rows`.
    zeros: Vec<f32>,
    /// As many as columns, filled up to whole vectors with infinity. Columns of the tree of a search are infinite in it.
    prices: Vec<f64>,
    row_of: Vec<usize>,
    column_of: Vec<usize>,
    /// Zero for a free column, infinite for others.
    taken: Vec<f64>,
    /// Length of the shortest path found to each column outside the tree.
    distance: Vec<f64>,
    /// The row before a column on that path.
    before: Vec<f64>,
}

impl<'a> Search<'a> {
    fn new(level: Level, scores: &'a [f32], rows: usize, cols: usize, mut prices: Vec<f64>) -> Self {
        let padded = cols.next_multiple_of(16);
        prices.resize(padded, f64::INFINITY);
        let mut taken = vec![0.0; cols];
        taken.resize(padded, f64::INFINITY);
        let zeros = if rows < cols { vec![0.0; cols] } else { Vec::new() };
        let (row_of, column_of) = (vec![NONE; cols], vec![NONE; cols]);
        let (distance, before) = (vec![f64::INFINITY; padded], vec![0.0; padded]);
        Self { level, scores, cols, rows, zeros, prices, row_of, column_of, taken, distance, before }
    }

    fn row(&self, row: usize) -> &[f32] {
        if row < self.rows { &self.scores[row * self.cols..][..self.cols] } else { &self.zeros }
    }

    fn pair(&mut self, row: usize, column: usize) {
        self.row_of[column] = row;
        self.column_of[row] = column;
        self.taken[column] = f64::INFINITY;
    }

    /// Augmenting row reduction: each row takes its best column and raises the price until its second best is as good.
    /// Gives the number of rows left without a column.
    fn reduce(&mut self) -> usize {
        let mut left = self.rows.saturating_mul(4);
        for first in 0..self.rows {
            let mut row = first;
            while left > 0 {
                left -= 1;
                let mut bid = Bid::default();
                bid_d(self.level, self.row(row), &self.prices, &mut bid);
                let rise = bid.best - bid.second;
                let mut column = bid.column;
                if rise.is_finite() && rise > 0.0 {
                    self.prices[column] += rise;
                } else if self.row_of[column] != NONE {
                    column = bid.second_column;
                    if self.row_of[column] != NONE || rise > 0.0 {
                        break;
                    }
                }
                let owner = self.row_of[column];
                self.pair(row, column);
                if owner == NONE {
                    break;
                }
                self.column_of[owner] = NONE;
                row = owner;
            }
        }
        // The rows of zeros gain most from the cheapest columns.
        let cheapest = self.prices.iter().copied().fold(f64::INFINITY, f64::min);
        let mut row = self.rows;
        for column in 0..self.cols {
            if row < self.cols && self.row_of[column] == NONE && self.prices[column] <= cheapest {
                self.pair(row, column);
                row += 1;
            }
        }
        self.column_of[..self.rows].iter().filter(|&&column| column == NONE).count()
    }

    fn augment(&mut self) {
        for row in 0..self.cols {
            if self.column_of[row] == NONE {
                self.search(row);
            }
        }
    }

    /// Grows a tree of shortest paths from a free row until it meets a free column, and turns the path to it around.
    fn search(&mut self, start: usize) {
        self.distance[..].fill(f64::INFINITY);
        // Column, its distance, its price.
        let mut tree: Vec<(usize, f64, f64)> = Vec::new();
        let mut row = start;
        let mut bid = Bid::default();
        bid_d(self.level, self.row(row), &self.prices, &mut bid);
        let mut base = bid.best;
        let mut zeros = false;
        let (end, length) = loop {
            let mut near = Near::default();
            let scores = if row < self.rows { &self.scores[row * self.cols..][..self.cols] } else { &self.zeros };
            let span = Span { base, row: row as f64 };
            relax(self.level, scores, &self.prices, &self.taken, &mut self.distance, &mut self.before, span, &mut near);
            if row >= self.rows && !zeros {
                zeros = true;
                let now = tree.last().map_or(0.0, |last| last.1);
                for column in 0..self.cols {
                    let owner = self.row_of[column];
                    if owner != NONE && owner >= self.rows && self.prices[column] < f64::INFINITY {
                        tree.push((column, now, self.prices[column]));
                        self.prices[column] = f64::INFINITY;
                        self.distance[column] = f64::INFINITY;
                    }
                }
                near.find(&self.distance, &self.taken);
            }
            if near.free <= near.any {
                break (near.free_column, near.free);
            }
            if !near.any.is_finite() {
                break (NONE, 0.0);
            }
            let column = near.any_column;
            tree.push((column, near.any, self.prices[column]));
            row = self.row_of[column];
            base = near.any + f64::from(self.row(row)[column]) - self.prices[column];
            self.prices[column] = f64::INFINITY;
            self.distance[column] = f64::INFINITY;
        };
        for &(column, at, price) in &tree {
            self.prices[column] = price + if length.is_finite() { (length - at).max(0.0) } else { 0.0 };
        }
        if end == NONE || !length.is_finite() {
            return;
        }
        let mut column = end;
        loop {
            let row = whole(self.before[column]);
            let next = self.column_of[row];
            self.pair(row, column);
            if row == start {
                break;
            }
            column = next;
        }
    }
}

/// The nearest column outside the tree, and the nearest free one.
#[derive(Clone, Copy, Debug)]
struct Near {
    any: f64,
    any_column: usize,
    free: f64,
    free_column: usize,
}

impl Default for Near {
    fn default() -> Self {
        Self { any: f64::INFINITY, any_column: NONE, free: f64::INFINITY, free_column: NONE }
    }
}

impl Near {
    fn find(&mut self, distance: &[f64], taken: &[f64]) {
        *self = Self::default();
        for (column, (&distance, taken)) in distance.iter().zip(taken).enumerate() {
            if distance < self.any {
                (self.any, self.any_column) = (distance, column);
            }
            if distance + taken < self.free {
                (self.free, self.free_column) = (distance, column);
            }
        }
    }
}

/// A row of the tree: what it gains from its own column plus that column's distance, and its number.
#[derive(Clone, Copy)]
struct Span {
    base: f64,
    row: f64,
}

simd! {
    fn relax(
        scores: &[f32],
        prices: &[f64],
        taken: &[f64],
        distance: &mut [f64],
        before: &mut [f64],
        from: Span,
        near: &mut Near,
    ) = relax_body
}

#[inline(always)]
#[allow(clippy::inline_always, clippy::too_many_arguments)]
fn relax_body<L: Lanes>(
    lanes: L,
    scores: &[f32],
    prices: &[f64],
    taken: &[f64],
    distance: &mut [f64],
    before: &mut [f64],
    from: Span,
    near: &mut Near,
) {
    let (whole, rest) = scores.as_chunks::<8>();
    let mut tail = [0.0; 8];
    tail[..rest.len()].copy_from_slice(rest);
    let splat = |value: f64| lanes.load_d(&[value; 8]);
    let (base, row, one) = (splat(from.base), splat(from.row), splat(1.0));
    let (mut any, mut free) = (splat(f64::INFINITY), splat(f64::INFINITY));
    let (mut any_at, mut free_at, mut now) = (splat(0.0), splat(0.0), splat(0.0));
    let columns = prices.as_chunks::<8>().0.iter().zip(taken.as_chunks::<8>().0);
    let paths = distance.as_chunks_mut::<8>().0.iter_mut().zip(before.as_chunks_mut::<8>().0);
    for ((score, (price, taken)), (length, last)) in whole.iter().chain(std::iter::once(&tail)).zip(columns).zip(paths)
    {
        let through = lanes.add_d(lanes.sub_d(base, lanes.widen(score)), lanes.load_d(price));
        let old = lanes.load_d(length);
        let path = lanes.pick_d(old, through, through, old);
        lanes.store_d(lanes.pick_d(old, through, row, lanes.load_d(last)), last);
        lanes.store_d(path, length);
        any_at = lanes.pick_d(any, path, now, any_at);
        any = lanes.pick_d(any, path, path, any);
        let ends = lanes.add_d(path, lanes.load_d(taken));
        free_at = lanes.pick_d(free, ends, now, free_at);
        free = lanes.pick_d(free, ends, ends, free);
        now = lanes.add_d(now, one);
    }
    let mut out = [[0.0; 8]; 4];
    for (value, to) in [any, any_at, free, free_at].into_iter().zip(&mut out) {
        lanes.store_d(value, to);
    }
    let [any, any_at, free, free_at] = out;
    *near = Near::default();
    for lane in 0..8 {
        nearer(any[lane], column(any_at[lane], 8, lane), &mut near.any, &mut near.any_column);
        nearer(free[lane], column(free_at[lane], 8, lane), &mut near.free, &mut near.free_column);
    }
}

/// The shorter distance, and of equal ones the first column.
#[allow(clippy::float_cmp)]
fn nearer(distance: f64, column: usize, least: &mut f64, at: &mut usize) {
    if distance < *least || (distance == *least && column < *at) {
        (*least, *at) = (distance, column);
    }
}

/// A lane of the vector that was the `at`-th.
fn column(at: f64, lanes: usize, lane: usize) -> usize {
    whole(at) * lanes + lane
}

/// A count that was kept in a float, exactly.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(count: f64) -> usize {
    count as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiples of 1/8 between -125 and 125, or of one half between 0 and `ties`: sums of them are exact.
    fn instance(rows: usize, cols: usize, seed: u64, ties: Option<u64>) -> Vec<f32> {
        let mut state = seed;
        (0..rows * cols)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let draw = state >> 33;
                ties.map_or_else(|| ((draw % 2001) as f32 - 1000.0) / 8.0, |n| (draw % n) as f32 / 2.0)
            })
            .collect()
    }

    fn total(scores: &[f32], cols: usize, columns: &[Option<usize>]) -> f64 {
        let mut seen = std::collections::BTreeSet::new();
        let pairs = columns.iter().enumerate().filter_map(|(row, column)| column.map(|c| (row, c)));
        pairs
            .map(|(row, column)| {
                assert!(seen.insert(column), "column {column} twice");
                f64::from(scores[row * cols + column])
            })
            .sum()
    }

    #[test]
    fn totals_equal_those_of_scipy() {
        // scipy.optimize.linear_sum_assignment(a, maximize=True) on the same instances.
        for (rows, cols, seed, ties, expected) in [
            (1, 1, 1, None, -52.0),
            (17, 17, 2, None, 1769.75),
            (64, 64, 3, None, 7631.75),
            (200, 200, 4, None, 24582.875),
            (30, 50, 5, None, 3541.875),
            (50, 30, 6, None, 3533.0),
            (5, 300, 7, None, 618.625),
            (100, 103, 8, None, 12161.875),
            (60, 60, 9, Some(2), 30.0),
            (60, 60, 10, Some(5), 120.0),
            (40, 90, 11, Some(3), 40.0),
            (90, 40, 12, Some(1), 0.0),
            (33, 33, 13, Some(1), 0.0),
            (128, 128, 14, Some(40), 2488.5),
        ] {
            let scores = instance(rows, cols, seed, ties);
            for level in [Level::Portable, Level::Avx2, Level::Avx512] {
                let columns = assign_with(level, &scores, rows, cols);
                assert_eq!(columns, assign(&scores, rows, cols), "the same columns for every instruction set");
                assert_eq!(columns.iter().flatten().count(), rows.min(cols));
                assert!((total(&scores, cols, &columns) - expected).abs() < 1e-9, "{rows} x {cols} {seed} {ties:?}");
            }
            let across = crate::transpose(&scores, rows, cols);
            let turned = total(&across, rows, &assign(&across, cols, rows));
            assert!((turned - expected).abs() < 1e-9, "transposed {rows} x {cols}");
        }
    }

    fn best(scores: &[f32], cols: usize, row: usize, taken: &mut Vec<bool>) -> f64 {
        if row * cols == scores.len() {
            return 0.0;
        }
        let mut most = f64::NEG_INFINITY;
        for column in 0..cols {
            if !taken[column] {
                taken[column] = true;
                most = most.max(f64::from(scores[row * cols + column]) + best(scores, cols, row + 1, taken));
                taken[column] = false;
            }
        }
        most
    }

    #[test]
    fn totals_equal_the_best_of_all_assignments() {
        for n in 1..=7 {
            for (seed, cols) in [(1, n), (2, n), (3, n + 1), (4, 7)] {
                for ties in [None, Some(3)] {
                    let scores = instance(n, cols, seed, ties);
                    let expected = best(&scores, cols, 0, &mut vec![false; cols]);
                    let got = total(&scores, cols, &assign(&scores, n, cols));
                    assert!((got - expected).abs() < 1e-9, "{n} x {cols}: {got} against {expected}");
                }
            }
        }
    }

    #[test]
    fn a_noisy_permutation_is_recovered() {
        let n = 300;
        let mut scores = instance(n, n, 5, None);
        for row in 0..n {
            scores[row * n + (row * 7 + 3) % n] += 240.0;
        }
        let wanted =
            |row: usize| (0..n).max_by(|&a, &b| scores[row * n + a].total_cmp(&scores[row * n + b])).expect("columns");
        assert!(
            (0..n).any(|row| wanted(row) != (row * 7 + 3) % n),
            "the best column of a row is not always the right one"
        );
        let columns = assign(&scores, n, n);
        assert!(columns.iter().enumerate().all(|(row, column)| *column == Some((row * 7 + 3) % n)));
    }

    /// Every row prefers the same columns; the best assignment pairs them in order of size.
    #[test]
    fn scores_of_rank_one_are_paired_by_size() {
        let n = 257;
        let (u, v) = (instance(n, 1, 8, None), instance(n, 1, 9, None));
        let scores: Vec<f32> = u.iter().flat_map(|x| v.iter().map(move |y| x * y)).collect();
        let (mut x, mut y) = (u, v);
        x.sort_by(f32::total_cmp);
        y.sort_by(f32::total_cmp);
        let expected: f64 = x.iter().zip(&y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        let got = total(&scores, n, &assign(&scores, n, n));
        assert!((got - expected).abs() < 1e-6, "{got} against {expected}");
    }

    #[test]
    fn forbidden_scores_are_left_and_large_ones_survive() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        assert_eq!(assign(&[nan, 1.0, 5.0, 9.0], 2, 2), [Some(1), Some(0)], "9 + nothing is not taken");
        assert_eq!(assign(&[inf, nan, -inf, 3.0], 2, 2), [None, Some(1)]);
        assert_eq!(assign(&[0.0, nan, nan, 0.0], 2, 2), [Some(0), Some(1)]);
        assert_eq!(assign(&[nan; 6], 2, 3), [None, None]);
        assert_eq!(assign(&[3e38, -3e38, -3e38, 3e38], 2, 2), [Some(0), Some(1)]);
        assert_eq!(assign(&[1e-45, 0.0, 0.0, 1e-45], 2, 2), [Some(0), Some(1)]);
        assert_eq!(assign(&[], 0, 5), []);
        assert_eq!(assign(&[], 2, 0), [None, None]);
        assert_eq!(assign(&[1.0, 2.0, 3.0], 3, 1), [None, None, Some(0)]);
        assert_eq!(assign(&[1.0, 2.0, 3.0], 1, 3), [Some(2)]);
    }
}
