//! Rows of tokens that the data never held: found in a part of every row, then measured whole (METHODS 5, decay clock).
//!
//! Such a row gets no gradient. It keeps its direction, off by no more than the roundings of the number format, while
//! trained rows turn. Only tensors of tokens and positions have such rows: everywhere else every row is trained.

use std::ops::Range;

use rayon::prelude::*;

use super::returned::returned;
use super::tensors::place;
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::{Context, Result};
use scratchproof_kernel::{Dtype, LEAST_SINE2, ONE_DIRECTION, RowProducts, decode, finest_needed, rounding, updated};
use scratchproof_measurements::{Plan, Returned, RowsBetween, RowsSeen, TokenRows, Unit};
use scratchproof_plan::Material;

/// Elements at the head of a row by which rows are chosen.
const PREFIX: usize = 128;

/// Rows that are so many times as long as what is looked at are not read whole.
const SHORT_ROW: usize = 4;

/// Rows that are measured whole, spread evenly over those that were chosen.
const MOST_ROWS: usize = 2048;

/// Elements of all checkpoints' copies that a thread holds.
const TILE: usize = 1 << 19;

/// A row is off the line by rounding if it is off by no more than this many times the variance that is expected of it.
const ROUNDINGS: f64 = 4.0;

/// Evenness ([`RowProducts::evenness`]) from which a row moved by one amount in every element; and the lower one that will
/// do where the row turned visibly, as it does where small elements have reached zero.
const EVEN: (f64, f64) = (0.9, 0.75);

/// Squared sine of a row that turned visibly.
const TURNED: f64 = 0.02;

/// Cosines of rows that went on, and of rows that may have been drawn anew.
const NEAR: f64 = 0.6;
const FAR: f64 = 0.3;

/// Least squared length of such a row over the mean of all, before and after, and the largest growth of the square.
const SHORT: [f64; 2] = [0.05, 0.01];
const OUTGROWN: f64 = 16.0;

/// Fewer rows are no clock.
const LEAST_ROWS: usize = 2;

/// Sets of rows that the search for the common one begins with, at most.
const SEEDS: usize = 32;

/// Whether the rows of a tensor are those of tokens or positions that are looked up. Those of an output layer get a gradient
/// from every token.
fn of_tokens(unit: &Unit) -> bool {
    let family = unit.role.family.as_str();
    unit.in_subject()
        && unit.role.layer.is_none()
        && family.contains("embedding")
        && unit.view.is_some_and(|view| !view.transposed)
        && unit.elements() > 0
}

/// Finds and measures the rows of every tensor of tokens in the checkpoints of the series at `steps`.
///
/// # Errors
/// If a file cannot be read; the message names the model and the tensor.
pub fn token_rows(plan: &Plan, material: &Material, steps: &[i64]) -> Result<Vec<TokenRows>> {
    if plan.series < 2 || steps.len() != plan.series {
        return Ok(Vec::new());
    }
    let models: Vec<&Checkpoint> = material.series.checkpoints.iter().collect();
    let units: Vec<(usize, &Unit)> = plan.units.iter().enumerate().filter(|(_, unit)| of_tokens(unit)).collect();
    units
        .into_iter()
        .map(|(index, unit)| {
            let reader = Reader { unit, models: &models, points: plan.series, row: *unit.shape.last().unwrap_or(&1) };
            reader.measure(index, steps).context(|| unit.tensor.clone())
        })
        .collect()
}

/// The rows that one tile gave: by interval, a bit for each row that kept its direction.
struct Tile {
    seen: Vec<RowsSeen>,
    returned: Vec<Returned>,
    kept: Vec<Vec<u64>>,
}

/// Mean squared lengths of rows before and after.
struct Usual([f64; 2]);

impl Usual {
    fn of(rows: &[RowProducts]) -> Self {
        let usable = || rows.iter().filter(|row| row.usable());
        let n = usable().count().max(1) as f64;
        Self([usable().map(|row| row.aa).sum::<f64>() / n, usable().map(|row| row.bb).sum::<f64>() / n])
    }

    /// Whether a row had a usual length, and has one, and did not outgrow what it was: a row that decayed to nothing jitters
    /// about zero, and one that was hardly there is what it learns.
    fn has(&self, row: &RowProducts) -> bool {
        let [before, after] = self.0;
        row.aa >= SHORT[0] * before && row.bb >= SHORT[1] * after && row.bb <= OUTGROWN * row.aa
    }
}

struct Reader<'a> {
    unit: &'a Unit,
    models: &'a [&'a Checkpoint],
    points: usize,
    row: usize,
}

impl Reader<'_> {
    fn measure(&self, index: usize, steps: &[i64]) -> Result<TokenRows> {
        let count = self.unit.elements() / self.row;
        let head = 0..count.min((TILE / 16 / self.row).max(1));
        let bits: Vec<i32> = (0..self.points).map(|point| self.bits(point, &head)).collect::<Result<_>>()?;
        let allowed = |from: usize, to: usize| {
            let updates = updated((steps[from], steps[to]));
            ROUNDINGS * (rounding(bits[from]) + rounding(bits[to]) + updates) + LEAST_SINE2
        };
        // Whole words of the bit sets.
        let rows = (TILE / (self.row * self.points)).div_ceil(64).max(1) * 64;
        let tiles: Vec<Tile> = (0..count.div_ceil(rows))
            .into_par_iter()
            .map(|at| self.look(at * rows..((at + 1) * rows).min(count), &allowed))
            .collect::<Result<_>>()?;
        let mut seen = vec![RowsSeen::default(); self.points - 1];
        let mut kept = vec![Vec::new(); self.points - 1];
        let mut returned = Vec::new();
        for tile in tiles {
            returned.extend(tile.returned);
            for (interval, (counts, words)) in tile.seen.iter().zip(tile.kept).enumerate() {
                let sum = &mut seen[interval];
                sum.usable += counts.usable;
                sum.equal += counts.equal;
                sum.kept += counts.kept;
                sum.even += counts.even;
                sum.near += counts.near;
                sum.turned += counts.turned;
                sum.reversed += counts.reversed;
                sum.met += counts.met;
                sum.met_elements += counts.met_elements;
                sum.met_moved2 += counts.met_moved2;
                kept[interval].extend(words);
            }
        }
        let (chosen, holds) = choose(&kept);
        let rows = spread(&chosen);
        let between = self.whole(&rows)?;
        Ok(TokenRows { unit: index, of: count as u64, bits, seen, rows, holds, returned, between })
    }

    /// Bits of mantissa that a checkpoint's first rows need.
    fn bits(&self, point: usize, rows: &Range<usize>) -> Result<i32> {
        let dtype = self.unit.members[point].dtype;
        let mut values = vec![0.0; rows.len() * self.row];
        self.with_bytes(point, rows, |bytes| decode(dtype, bytes, &mut values))?;
        let finest = if values.iter().all(|value| value.is_finite()) { finest_needed(&values, dtype) } else { dtype };
        Ok(finest.fraction_bits().or(Dtype::F32.fraction_bits()).unwrap_or(23))
    }

    /// Hands over the bytes of some rows of one checkpoint.
    fn with_bytes(&self, point: usize, rows: &Range<usize>, use_them: impl FnOnce(&[u8])) -> Result<()> {
        let member = &self.unit.members[point];
        let checkpoint = self.models[member.model];
        let blob = &checkpoint.shards[member.shard].blob;
        let (offset, length) = place(member, &(rows.start * self.row..rows.end * self.row));
        use_them(&blob.bytes(offset, length).context(|| checkpoint.uri.clone())?);
        blob.release(offset, length);
        Ok(())
    }

    /// The first elements of some rows of one checkpoint; of long rows no more is read.
    fn heads(&self, point: usize, rows: &Range<usize>, width: usize) -> Result<Vec<f64>> {
        let member = &self.unit.members[point];
        let (dtype, size) = (member.dtype, member.dtype.width());
        let mut values = vec![0.0; rows.len() * width];
        if self.row < SHORT_ROW * width {
            self.with_bytes(point, rows, |bytes| {
                let stored = bytes.chunks_exact(self.row * size);
                for (own, row) in values.chunks_exact_mut(width).zip(stored) {
                    decode(dtype, &row[..width * size], own);
                }
            })?;
            return Ok(values);
        }
        let checkpoint = self.models[member.model];
        let blob = &checkpoint.shards[member.shard].blob;
        let mut bytes = vec![0; width * size];
        for (own, row) in values.chunks_exact_mut(width).zip(rows.clone()) {
            let (offset, _) = place(member, &(row * self.row..row * self.row + width));
            blob.read_at(offset, &mut bytes).context(|| checkpoint.uri.clone())?;
            decode(dtype, &bytes, own);
        }
        let (offset, length) = place(member, &(rows.start * self.row..rows.end * self.row));
        blob.release(offset, length);
        Ok(values)
    }

    /// Looks at the heads of some rows in all checkpoints.
    fn look(&self, rows: Range<usize>, allowed: &(impl Fn(usize, usize) -> f64 + Sync)) -> Result<Tile> {
        let width = self.row.min(PREFIX);
        let heads: Vec<Vec<f64>> =
            (0..self.points).map(|point| self.heads(point, &rows, width)).collect::<Result<_>>()?;
        let mut tile = Tile {
            seen: vec![RowsSeen::default(); self.points - 1],
            returned: Vec::new(),
            kept: vec![vec![0; rows.len().div_ceil(64)]; self.points - 1],
        };
        let intervals = self.points - 1;
        let mut moved: Vec<Option<f64>> = vec![None; intervals * rows.len()];
        for (interval, pair) in heads.windows(2).enumerate() {
            let (seen, kept) = (&mut tile.seen[interval], &mut tile.kept[interval]);
            let pairs = pair[0].chunks_exact(width).zip(pair[1].chunks_exact(width));
            let products: Vec<RowProducts> = pairs.map(|(a, b)| RowProducts::new(a, b)).collect();
            let usual = Usual::of(&products);
            for (at, products) in products.iter().enumerate() {
                let Some(off) = products.off_line() else { continue };
                moved[at * intervals + interval] = Some(off);
                let keeps =
                    off <= allowed(interval, interval + 1) && products.cosine().is_some_and(|c| c > ONE_DIRECTION);
                seen.usable += 1;
                seen.equal += u64::from(products.equal);
                seen.kept += u64::from(keeps);
                let cosine = products.cosine().unwrap_or(1.0);
                let turned = cosine < FAR && usual.has(products);
                seen.near += u64::from(cosine >= NEAR);
                seen.turned += u64::from(turned);
                seen.reversed += u64::from(turned && cosine < 0.0);
                kept[at / 64] |= u64::from(keeps) << (at % 64);
                if !keeps {
                    seen.met += 1;
                    seen.met_elements += products.elements as u64;
                    seen.met_moved2 += products.distance2;
                }
                let even = products.evenness();
                seen.even += u64::from(!keeps && (even > EVEN.0 || even > EVEN.1 && off > TURNED));
            }
        }
        tile.returned = (moved.chunks_exact(intervals).enumerate())
            .filter_map(|(at, moved)| {
                let copies: Vec<&[f64]> = heads.iter().map(|head| &head[at * width..(at + 1) * width]).collect();
                returned((rows.start + at) as u64, &copies, moved, allowed)
            })
            .collect();
        Ok(tile)
    }

    /// Measures the chosen rows whole.
    fn whole(&self, rows: &[u64]) -> Result<Vec<RowsBetween>> {
        let points = self.points;
        let mut pairs: Vec<(usize, usize)> = (1..points).map(|to| (to - 1, to)).collect();
        if points > 2 {
            pairs.push((0, points - 1));
            pairs.extend((2..points).map(|to| (to - 2, to)).filter(|pair| *pair != (0, points - 1)));
        }
        let products: Vec<Vec<RowProducts>> = rows
            .par_iter()
            .map(|&row| {
                let at = usize::try_from(row).unwrap_or(0);
                let copies: Vec<Vec<f64>> = (0..points)
                    .map(|point| {
                        let mut values = vec![0.0; self.row];
                        let dtype = self.unit.members[point].dtype;
                        self.with_bytes(point, &(at..at + 1), |bytes| decode(dtype, bytes, &mut values))?;
                        Ok(values)
                    })
                    .collect::<Result<_>>()?;
                Ok(pairs.iter().map(|&(a, b)| RowProducts::new(&copies[a], &copies[b])).collect())
            })
            .collect::<Result<_>>()?;
        let of_pair = |at: usize| products.iter().map(|row| row[at]).collect();
        Ok(pairs.iter().enumerate().map(|(at, &(from, to))| RowsBetween { from, to, rows: of_pair(at) }).collect())
    }
}

fn count(words: &[u64]) -> usize {
    words.iter().map(|word| word.count_ones() as usize).sum()
}

/// The rows that kept their direction in as many intervals as possible, and which intervals those are.
///
/// Between checkpoints that are near to each other trained rows keep theirs too, so the smallest sets are the ones that
/// tell. Beginning with each of them, the others are added, the smaller first, as long as at least half of the rows, and
/// two, are left: a row that is met late leaves the set, and a splice empties it.
fn choose(kept: &[Vec<u64>]) -> (Vec<u64>, Vec<bool>) {
    let mut order: Vec<usize> = (0..kept.len()).filter(|&i| count(&kept[i]) >= LEAST_ROWS).collect();
    order.sort_by_key(|&i| (count(&kept[i]), i));
    let mut best: (usize, usize, Vec<u64>, Vec<bool>) = (0, 0, Vec::new(), vec![false; kept.len()]);
    for &seed in order.iter().take(SEEDS) {
        let mut set = kept[seed].clone();
        let mut holds = vec![false; kept.len()];
        holds[seed] = true;
        for &other in order.iter().filter(|&&other| other != seed) {
            let both: Vec<u64> = set.iter().zip(&kept[other]).map(|(a, b)| a & b).collect();
            if count(&both) >= LEAST_ROWS.max(count(&set) / 2) {
                set = both;
                holds[other] = true;
            }
        }
        let score = (holds.iter().filter(|h| **h).count(), count(&set));
        if score > (best.0, best.1) {
            best = (score.0, score.1, set, holds);
        }
    }
    (best.2, best.3)
}

/// The numbers of the rows in a set, at most [`MOST_ROWS`] of them.
fn spread(set: &[u64]) -> Vec<u64> {
    let all: Vec<u64> = set
        .iter()
        .zip(0..)
        .flat_map(|(word, at)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit))
        .collect();
    let wanted = MOST_ROWS.min(all.len());
    (0..wanted).map(|i| all[(2 * i + 1) * all.len() / (2 * wanted)]).collect()
}

#[cfg(test)]
mod tests {
    use super::{choose, spread};

    fn set(rows: impl IntoIterator<Item = usize>) -> Vec<u64> {
        let mut words = vec![0; 4];
        for row in rows {
            words[row / 64] |= 1_u64 << (row % 64);
        }
        words
    }

    #[test]
    fn the_rows_that_are_never_met_are_those_of_the_smallest_sets() {
        // Near checkpoints, where every row keeps its direction; rare tokens; the never met ones, 2 to 25.
        let kept = [set(0..250), set((2..26).chain(100..140)), set(2..26), set(2..26)];
        let (rows, holds) = choose(&kept);
        assert_eq!(spread(&rows), (2..26).collect::<Vec<u64>>());
        assert_eq!(holds, [true; 4]);
    }

    #[test]
    fn a_break_is_an_interval_without_them() {
        let kept = [set(2..26), set(2..30), set([]), set(2..26), set([7, 99])];
        let (rows, holds) = choose(&kept);
        assert_eq!(spread(&rows).len(), 24);
        assert_eq!(holds, [true, true, false, true, false]);
    }

    #[test]
    fn nothing_is_chosen_from_nothing() {
        assert_eq!(choose(&[set([]), set([3])]), (Vec::new(), vec![false, false]));
        assert!(spread(&choose(&[]).0).is_empty());
    }
}
