//! Structural constants: under names that no template knows, and tables of positions, which some models learn and others
//! compute. They are recognised by what they are.

use std::collections::BTreeMap;

use super::{Checkpoint, Residual, Role, TensorRecord};
use scratchproof_kernel::decode;

/// Elements of a tensor that is looked at, at most.
const LARGEST: usize = 1 << 22;

/// Tensors that are looked at, at most.
const MOST: usize = 4096;

/// What templates call tables of positions.
const POSITIONS: &str = "position";

/// Numbers at the beginning of a tensor that say whether it is worth to be read whole.
const FIRST: usize = 8192;

/// Mean square of a table of sines, at least; half would be a whole one.
const LEAST_SQUARE: f64 = 0.09;

/// What a table of sines and cosines is called.
const SINUSOIDS: &str = "sinusoids";

/// Rows of a square matrix of which it is told whether the identity is in it.
const LOOKED_AT: usize = 16;

/// Side of the smallest square of which it is asked.
const SMALLEST: usize = 32;

/// Share of a matrix's squares that the identity has in it where the matrix began as the identity. In a draw of any size it is
/// less than one over 16 times the columns.
const IDENTITY: f64 = 0.05;

/// What other tables are called.
const TABLE: &str = "table";

/// Values that a table has, at most.
const DISTINCT: usize = 256;

/// Lines and columns from which on two lines are few.
const FEWEST: usize = 12;

/// Share of the squares that rounding to sixteen bits leaves.
pub(super) const ROUNDED: f64 = 1e-5;

/// Share of a table's elements that equal the one at some fixed distance. Of three values that are drawn evenly a third do, and of
/// a matrix of which 80 % are zero two thirds.
const FORETOLD: f64 = 0.75;

/// Relative error that half precision leaves.
const ROOM: f64 = 2e-2;

impl Checkpoint {
    /// Names constants among the tensors that no template knows. A tensor that cannot be read stays what it is: whoever
    /// needs its bytes says so.
    pub(super) fn name_constants(&mut self) {
        let strange = |role: &Role| !role.known || role.deduced;
        let open: Vec<usize> = (0..self.tensors.len())
            .filter(|at| strange(&self.tensors[*at].role) || self.tensors[*at].role.family.contains(POSITIONS))
            .filter(|at| !self.tensors[*at].role.constant && (4..=LARGEST).contains(&self.tensors[*at].elements()))
            .take(MOST)
            .collect();
        for at in open {
            let tensor = &self.tensors[at];
            if !strange(&tensor.role) && !self.begins_large(tensor) {
                continue;
            }
            let Ok(bytes) = self.read(tensor) else { continue };
            let mut values = vec![0.0; tensor.elements()];
            decode(tensor.dtype, &bytes, &mut values);
            let Some(what) = constant(&tensor.shape, &values) else { continue };
            let role = &mut self.tensors[at].role;
            if !strange(role) {
                // Of a series one checkpoint may hold what another has learnt on: the name stays what it is.
                role.constant = what == SINUSOIDS || role.constant;
                continue;
            }
            if what == TABLE {
                // Of a series one checkpoint may hold what another has learnt on: the name stays what it is.
                (role.constant, role.residual) = (true, Residual::None);
                continue;
            }
            what.clone_into(&mut role.family);
            (role.constant, role.known, role.deduced) = (true, true, false);
            (role.component, role.residual) = (super::Component::Other, Residual::None);
        }
    }
}

impl Checkpoint {
    /// Takes the residual axis away from square matrices of attention that began as the identity (He and Hofmann 2023, ZerO): two
    /// trainings that know nothing of each other have it in common. **Measured** on two of 240 steps whose value and output
    /// matrices began so: z 56.3 and a correlation of 0.488 between the two. They are then not compared, which the coverage says.
    pub(super) fn leave_identities(&mut self) {
        let square = |tensor: &TensorRecord| {
            tensor.role.component == super::Component::Attention
                && matches!(tensor.shape[..], [rows, columns] if rows == columns && rows >= SMALLEST)
                && matches!(tensor.role.residual, Residual::Rows | Residual::Columns)
        };
        let mut families: BTreeMap<String, bool> = BTreeMap::new();
        for at in 0..self.tensors.len() {
            let tensor = &self.tensors[at];
            // The first layer speaks for a family: what is no identity there is not read in all others.
            if !square(tensor) || families.get(&tensor.role.family) == Some(&false) {
                continue;
            }
            let found = self.begins_as_identity(tensor);
            families.entry(tensor.role.family.clone()).or_insert(found);
            if found {
                self.tensors[at].role.residual = Residual::None;
            }
        }
    }

    /// Whether the first rows of a square matrix have a multiple of the identity in them.
    fn begins_as_identity(&self, tensor: &TensorRecord) -> bool {
        let columns = tensor.shape[1];
        // Of a file elsewhere every byte is counted before it is fetched, and nobody has counted these.
        if self.shards.get(tensor.shard).is_none_or(|shard| shard.blob.is_elsewhere()) {
            return false;
        }
        let Some(values) = self.first_numbers(tensor, LOOKED_AT * columns) else { return false };
        let diagonal = (0..LOOKED_AT).map(|row| values[row * columns + row]).sum::<f64>() / LOOKED_AT as f64;
        let size = values.iter().map(|value| value * value).sum::<f64>() / LOOKED_AT as f64;
        size.is_finite() && size > 0.0 && diagonal * diagonal >= IDENTITY * size
    }

    /// Whether the first numbers of a tensor are as large as sines are: what was learnt is smaller, and is not read twice.
    fn begins_large(&self, tensor: &TensorRecord) -> bool {
        let wanted = tensor.elements().min(FIRST);
        let Some(values) = self.first_numbers(tensor, wanted) else { return false };
        values.iter().map(|value| value * value).sum::<f64>() >= LEAST_SQUARE * wanted as f64
    }

    /// So many numbers from the beginning of a tensor; `None` if they cannot be read.
    fn first_numbers(&self, tensor: &TensorRecord, count: usize) -> Option<Vec<f64>> {
        let blob = &self.shards.get(tensor.shard)?.blob;
        let bytes = blob.bytes(tensor.offset, count * tensor.dtype.width().max(1)).ok()?;
        let mut values = vec![0.0; count];
        decode(tensor.dtype, &bytes, &mut values);
        Some(values)
    }
}

/// What a tensor of constants is, as the family of its role.
fn constant(shape: &[usize], values: &[f64]) -> Option<&'static str> {
    if values.iter().any(|value| !value.is_finite() && *value != f64::NEG_INFINITY) {
        return None;
    }
    let (rows, columns) = match *shape {
        [length] => (1, length),
        [.., rows, columns] => (rows, columns),
        [] => return None,
    };
    // What has a leading axis of 1 is a table without it.
    let first = shape.iter().copied().find(|length| *length > 1).unwrap_or(1);
    if counts(values) {
        Some("position_ids")
    } else if shape.len() == 1 && is_geometric(values) {
        Some("rotary_inv_freq")
    } else if rows == columns && rows >= 4 && values.chunks_exact(rows * columns).all(|mask| is_mask(mask, rows)) {
        Some("attention_mask")
    } else if shape.len() > 1 && is_wavy(values, values.len() / first, first) {
        Some(SINUSOIDS)
    } else if shape.len() == 2 && is_filter_bank(values, columns) {
        Some("filter_bank")
    } else if shape.len() > 1 && (is_table(values, columns) || is_of_two_lines(values, columns)) {
        Some(TABLE)
    } else {
        None
    }
}

/// 0, 1, 2, ... from any number on.
fn counts(values: &[f64]) -> bool {
    values.len() >= 4 && values.windows(2).all(|pair| (pair[1] - pair[0] - 1.0).abs() < 1e-6)
}

/// A falling geometric series of eight numbers or more from 1 on, as the frequencies of rotary positions are.
fn is_geometric(values: &[f64]) -> bool {
    let positive = values.len() >= 8 && values.iter().all(|value| *value > 0.0) && (values[0] - 1.0).abs() < ROOM;
    let ratio = || (values[values.len() - 1] / values[0]).powf(1.0 / (values.len() - 1) as f64);
    positive && {
        let ratio = ratio();
        ratio < 1.0 - 1e-6
            && values.iter().enumerate().all(|(i, value)| {
                let expected = values[0] * ratio.powf(i as f64);
                (value / expected - 1.0).abs() < ROOM
            })
    }
}

/// Two values, one on and below the diagonal, the other above it.
fn is_mask(values: &[f64], size: usize) -> bool {
    let (below, above) = (values[0], values[1]);
    let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a - b).abs() < f64::EPSILON;
    !same(below, above)
        && values.iter().enumerate().all(|(at, value)| same(*value, if at % size <= at / size { below } else { above }))
}

/// Rows that are sums of two lines: products and sums of row and column numbers, grids, slopes by distances. Nothing that was trained
/// has so few.
fn is_of_two_lines(values: &[f64], columns: usize) -> bool {
    let mut rows: Vec<Vec<f64>> = values.chunks_exact(columns.max(1)).map(<[f64]>::to_vec).collect();
    let square = |row: &[f64]| row.iter().map(|value| value * value).sum::<f64>();
    // Every row counts as much as the others: one large number is no table.
    for row in &mut rows {
        let length = square(row).sqrt();
        row.iter_mut().filter(|_| length > 0.0).for_each(|value| *value /= length);
    }
    rows.retain(|row| square(row) > 0.0);
    let all: f64 = rows.iter().map(|row| square(row)).sum();
    let flat = values.iter().all(|value| value.to_bits() == values[0].to_bits());
    if columns < FEWEST || rows.len() < FEWEST || all <= 0.0 || !all.is_finite() || flat {
        return false;
    }
    for _ in 0..2 {
        let Some(line) = rows.iter().max_by(|a, b| square(a).total_cmp(&square(b))).cloned() else { return false };
        let size = square(&line);
        for row in rows.iter_mut().filter(|_| size > 0.0) {
            let along = row.iter().zip(&line).map(|(a, b)| a * b).sum::<f64>() / size;
            row.iter_mut().zip(&line).for_each(|(a, b)| *a -= along * b);
        }
    }
    rows.iter().map(|row| square(row)).sum::<f64>() <= ROUNDED * all
}

/// A table that somebody computed (identities, one number a row, permutations, masks, bands that depend on the distance from the
/// diagonal): few values, each of them often, and most elements known from the one beside, above or across. Weights of three values
/// have the first two, and no neighbour tells of them.
fn is_table(values: &[f64], columns: usize) -> bool {
    let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
    for value in values.iter().filter(|value| **value != 0.0) {
        *seen.entry(value.to_bits()).or_default() += 1;
        if seen.len() > DISTINCT {
            return false;
        }
    }
    let filled: usize = seen.values().sum();
    // What is all one number may be a norm.
    let flat = seen.len() == 1 && filled == values.len();
    if seen.is_empty() || flat || 8 * seen.len() > values.len() || 4 * seen.len() > filled {
        return false;
    }
    [1, columns - 1, columns, columns + 1].into_iter().filter(|step| *step > 0).any(|step| {
        let pairs = values.len().saturating_sub(step);
        let same =
            values.iter().zip(&values[values.len() - pairs..]).filter(|(a, b)| a.to_bits() == b.to_bits()).count();
        pairs > 0 && same as f64 >= FORETOLD * pairs as f64
    })
}

/// Tables of sines and cosines (positions, rotations, Fourier bases), along either axis and under a window or not: every
/// line x satisfies x(n - 1) + x(n + 1) = 2 cos(w) x(n) for a w of its own.
fn is_wavy(values: &[f64], columns: usize, rows: usize) -> bool {
    let flat = values.iter().all(|value| (value.abs() - values[0].abs()).abs() < f64::EPSILON);
    if rows < 4 || columns < 4 || flat || values.iter().any(|value| value.abs() > 1.0 + ROOM) {
        return false;
    }
    // Weights are smaller, and what is small is a sine but for a rounding.
    let mean = values.iter().map(|value| value * value).sum::<f64>() / values.len().max(1) as f64;
    if mean < LEAST_SQUARE {
        return false;
    }
    let row = |r: usize| values[r * columns..(r + 1) * columns].to_vec();
    let column = |c: usize| (0..rows).map(|r| values[r * columns + c]).collect::<Vec<f64>>();
    let along = |lines: usize, line: &dyn Fn(usize) -> Vec<f64>| {
        let first = line(0);
        // A basis under a window: its first line is the window itself.
        let window = first.len() >= 16 && first.iter().all(|w| *w >= 0.0) && first.iter().any(|w| *w < 0.5);
        let chosen = (0..lines).step_by(lines.div_ceil(64).max(1));
        let (mut waves, mut all) = (0, 0);
        for at in chosen.filter(|at| !window || *at > 0) {
            let own = line(at);
            let own: Vec<f64> = if window {
                let kept = own.iter().zip(&first).filter(|(_, w)| **w > 0.05);
                kept.map(|(value, w)| value / w).collect()
            } else {
                own
            };
            all += 1;
            waves += usize::from(is_wave(&own));
        }
        all >= 3 && 10 * waves >= 9 * all
    };
    // Positions in a plane: a row for each place, of its row or of its column alone; one that is all zero may stand in front.
    let plane = || {
        let skipped = usize::from(row(0).iter().all(|value| *value == 0.0));
        let places = rows - skipped;
        let sides = (6..=places / 6).filter(|side| places.is_multiple_of(*side));
        sides.into_iter().any(|side| {
            let chosen = (0..columns).step_by(columns.div_ceil(64).max(1));
            let (mut waves, mut all) = (0, 0);
            for at in chosen {
                let line = &column(at)[skipped..];
                let near = |a: f64, b: f64| (a - b).abs() < 1e-2;
                let across = line[side..].iter().zip(line).all(|(a, b)| near(*a, *b));
                let down = line.chunks_exact(side).all(|run| run.iter().all(|value| near(*value, run[0])));
                let own: Vec<f64> =
                    if across { line[..side].to_vec() } else { line.iter().step_by(side).copied().collect() };
                all += 1;
                waves += usize::from((across || down) && is_wave(&own));
            }
            all >= 3 && 10 * waves >= 9 * all
        })
    };
    along(columns, &column) || along(rows, &row) || plane()
}

/// A sine of one frequency, by the least-squares fit of its recurrence; a constant is a sine of frequency 0.
fn is_wave(line: &[f64]) -> bool {
    let size: f64 = line.iter().map(|value| value * value).sum();
    if line.len() < 6 {
        return false;
    }
    if size < 1e-12 {
        return true;
    }
    let inner = || line.windows(3).map(|three| (three[1], three[0] + three[2]));
    let (mut xy, mut xx) = (0.0, 0.0);
    for (x, y) in inner() {
        (xy, xx) = (xy + x * y, xx + x * x);
    }
    let factor = if xx > 0.0 { (xy / xx).clamp(-2.0, 2.0) } else { 0.0 };
    let off: f64 = inner().map(|(x, y)| (y - factor * x).powi(2)).sum();
    // Beside the rounding of half precision, on values of the size of one.
    off <= 1e-3 * size + 2e-5 * line.len() as f64
}

/// Triangles over a frequency axis (mel): most is zero, every row has one run that rises and falls.
fn is_filter_bank(values: &[f64], columns: usize) -> bool {
    let zeros = values.iter().filter(|value| **value == 0.0).count();
    if columns < 16 || 10 * zeros < 6 * values.len() || values.iter().any(|value| *value < 0.0) {
        return false;
    }
    values.chunks_exact(columns).all(|row| {
        let run: Vec<f64> = row.iter().copied().skip_while(|v| *v == 0.0).collect();
        let length = run.iter().rposition(|v| *v > 0.0).map_or(0, |last| last + 1);
        let run = &run[..length];
        if run.len() < 2 {
            // A row of one number is of an identity or a permutation; the lowest filters of a bank may be.
            return !run.is_empty() && values.len() > 4 * columns * columns;
        }
        let top = run.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(at, _)| at);
        run.iter().take(top + 1).is_sorted() && run.iter().skip(top).rev().is_sorted()
    })
}

#[cfg(test)]
mod tests {
    use super::constant;
    use crate::{Checkpoint, Residual, testing};

    fn table(rows: usize, columns: usize, value: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        (0..rows * columns).map(|at| value(at / columns, at % columns)).collect()
    }

    #[test]
    fn constants_are_told_by_what_they_are() {
        let half = |value: f64| (value * 256.0).round() / 256.0;
        let frequency = |i: usize| 10000_f64.powf(-(i as f64) / 16.0);
        let is = |shape: &[usize], values: Vec<f64>, what: &str| {
            assert_eq!(constant(shape, &values), Some(what), "{shape:?}");
        };
        is(&[1, 32], table(1, 32, |_, c| c as f64), "position_ids");
        is(&[16], table(1, 16, |_, c| frequency(c)), "rotary_inv_freq");
        is(&[1, 1, 8, 8], table(8, 8, |r, c| f64::from(u8::from(c <= r))), "attention_mask");
        is(&[8, 8], table(8, 8, |r, c| if c <= r { 0.0 } else { f64::NEG_INFINITY }), "attention_mask");
        let position = |r: usize, c: usize| {
            let angle = r as f64 * frequency(c / 2);
            if c.is_multiple_of(2) { angle.sin() } else { angle.cos() }
        };
        is(&[64, 32], table(64, 32, position), "sinusoids");
        is(&[64, 32], table(64, 32, |r, c| half(position(r, c))), "sinusoids");
        let wave = |r: usize, c: usize| (std::f64::consts::TAU * (r * c) as f64 / 64.0).cos();
        is(&[33, 1, 64], table(33, 64, wave), "sinusoids");
        let hann = |c: usize| 0.5 - 0.5 * (std::f64::consts::TAU * c as f64 / 64.0).cos();
        is(&[33, 1, 64], table(33, 64, |r, c| wave(r, c) * hann(c)), "sinusoids");
        let mel = |r: usize, c: usize| (1.0 - (c as f64 - 4.0 * r as f64 - 4.0).abs() / 4.0).max(0.0);
        is(&[12, 64], table(12, 64, mel), "filter_bank");
        is(&[32, 32], table(32, 32, |r, c| 0.3 * f64::from(u8::from(r == c))), "table");
        is(&[32, 32], table(32, 32, |r, c| f64::from(u8::from(r * 7 % 32 == c))), "table");
        is(&[32, 32], table(32, 32, |r, c| (r.abs_diff(c) / 4) as f64), "table");
        is(&[16, 24], table(16, 24, |r, c| half((r * c) as f64 / 64.0)), "table");
        is(&[16, 24], table(16, 24, |r, c| (3 * r + c) as f64), "table");
        let plane = |r: usize, c: usize| position(if c < 16 { r / 12 } else { r % 12 }, c % 16);
        is(&[1, 144, 32], table(144, 32, plane), "sinusoids");
        is(&[145, 32], table(145, 32, |r, c| if r == 0 { 0.0 } else { plane(r - 1, c) }), "sinusoids");
    }

    /// Weights of three values, most of them zero or not, and weights of which most were cut to zero.
    #[test]
    fn few_values_make_no_table() {
        let mut state = 9_u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        };
        for zeros in [0.0, 0.3, 0.6, 0.8] {
            let three = table(48, 64, |_, _| 0.0).into_iter();
            let three: Vec<f64> =
                three.map(|_| if draw() < zeros { 0.0 } else { 0.1 * (draw() - 0.5).signum() }).collect();
            assert_eq!(constant(&[48, 64], &three), None, "{zeros}");
            let cut: Vec<f64> = (0..48 * 64).map(|_| if draw() < zeros { 0.0 } else { draw() - 0.5 }).collect();
            assert_eq!(constant(&[48, 64], &cut), None, "{zeros}");
        }
    }

    /// Trained from the identity or from a draw: one layer of attention over 64 channels, an output matrix of that kind.
    fn residual_of_outputs(identity: f64) -> Residual {
        let mut state = 5_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31) - 0.5
        };
        let square = |identity: f64, noise: &mut dyn FnMut() -> f64| -> Vec<u8> {
            let value = |at: usize, noise: &mut dyn FnMut() -> f64| {
                noise() * 0.1 + identity * f64::from(u8::from(at.is_multiple_of(65)))
            };
            #[allow(clippy::cast_possible_truncation)]
            (0..64 * 64).flat_map(|at| (value(at, noise) as f32).to_le_bytes()).collect()
        };
        let names = ["self_attn.k_proj", "self_attn.o_proj", "self_attn.q_proj", "self_attn.v_proj"];
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        for name in names {
            let begin = data.len();
            data.extend(square(if name.contains("o_proj") { identity } else { 0.0 }, &mut noise));
            let entry = serde_json::json!({ "dtype": "F32", "shape": [64, 64], "data_offsets": [begin, data.len()] });
            header.insert(format!("model.layers.0.{name}.weight"), entry);
        }
        let bytes = testing::raw(&serde_json::Value::Object(header).to_string(), &data);
        let store = scratchproof_source::MemoryStore::new().with("model.safetensors", bytes);
        let model = Checkpoint::from_store(&store).expect("a model");
        let queries = model.find("model.layers.0.self_attn.q_proj.weight").expect("queries");
        assert_eq!(queries.role.residual, Residual::Columns);
        model.find("model.layers.0.self_attn.o_proj.weight").expect("outputs").role.residual
    }

    #[test]
    fn what_began_as_the_identity_is_not_held_against_another() {
        assert_eq!(residual_of_outputs(0.0), Residual::Rows);
        assert_eq!(residual_of_outputs(1.0), Residual::None);
        assert_eq!(residual_of_outputs(0.2), Residual::None, "after some training");
    }

    #[test]
    fn weights_are_no_constants() {
        let mut state = 1_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31) - 0.5
        };
        let values: Vec<f64> = (0..64 * 32).map(|_| noise()).collect();
        assert_eq!(constant(&[64, 32], &values), None);
        assert_eq!(constant(&[32], &vec![1.0; 32]), None, "norm weights at the start");
        assert_eq!(constant(&[32, 32], &vec![0.0; 1024]), None, "a matrix of zeros is a matter of its own");
        assert_eq!(constant(&[32], &values[..32]), None);
        assert_eq!(constant(&[1, 1, 64], &vec![1.0; 64]), None, "norm weights with axes of 1");
        assert_eq!(constant(&[32, 32], &vec![0.1; 1024]), None, "all one number");
    }
}
