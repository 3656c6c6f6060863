//! Names propose, content decides: what names do not settle between two models is matched by shape and content, and where
//! content says nothing by shape and the order in the files.
//!
//! Every tensor that has no counterpart by name is held against every such tensor of the other model of a fitting shape,
//! as stored and, for matrices, the other way round, over a block of up to 64 x 256 of its elements (vectors: 4,096): the
//! column test of [`aligned`], whose null is exact for independent models, and Pearson's for vectors. A pair is one by
//! content where log10 p is [`BY_CONTENT`] or less after all pairs tried were paid for. What is left of a shape comes
//! together in the order of the files where both models have the same number of it; such pairs were looked at in every
//! combination, so that their silence is not one of a wrong order alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use scratchproof_checkpoint::{Checkpoint, Correspondence, TensorRecord};
use scratchproof_error::Result;
use scratchproof_kernel::{Rows, centre, decode, normalise};
use scratchproof_measurements::{Deduction, How};
use scratchproof_stats::{aligned, log10_upper_tail, vector};

/// What a pair by content must show, pairs tried paid for.
const BY_CONTENT: f64 = -8.0;

/// Rows and columns of the block that is compared.
const BLOCK: (usize, usize) = (64, 256);

/// Elements of a vector that are compared.
const VECTOR: usize = 4096;

/// Pairs that are tried of one shape at most: beyond it names are a file of strange names.
const MOST_PAIRS: usize = 1 << 20;

/// A pair: indices of tensors, how it was found, and whether the second is stored the other way round.
type Pair = (usize, usize, How, bool);

/// Gives tensors that names do not settle the roles that their content has in another model: the series those of the
/// references, then every reference those of the final checkpoint.
/// Square matrices that names settle are held against each other to see whether one is stored the other way round, where they
/// have fewer bytes than `turned`.
///
/// # Errors
/// If a model cannot be read.
pub fn settle(
    series: &mut [Arc<Checkpoint>],
    references: &mut [Arc<Checkpoint>],
    turned: u64,
) -> Result<Vec<Deduction>> {
    let mut all = Vec::new();
    let count = series.len();
    let Some(last) = count.checked_sub(1) else { return Ok(all) };
    for reference in references.iter() {
        let pairs = matched(&series[last], reference, turned)?;
        let own = Arc::clone(&series[last]);
        // A template's word for what only repetition and shape had said; never the other way round.
        let roles: BTreeMap<&str, (usize, bool)> = pairs
            .iter()
            .filter(|(i, j, how, _)| {
                let (a, b) = (&own.tensors[*i].role, &reference.tensors[*j].role);
                *how == How::Content && (a.deduced || !a.known) && b.known && !b.deduced
            })
            .map(|(i, j, _, turned)| (own.tensors[*i].name.as_str(), (*j, *turned)))
            .collect();
        if roles.is_empty() {
            continue;
        }
        for (model, checkpoint) in series.iter_mut().enumerate() {
            let mut changed = checkpoint.shared();
            for tensor in &mut changed.tensors {
                let Some(&(j, turned)) = roles.get(tensor.name.as_str()) else { continue };
                let like = &reference.tensors[j];
                if tensor.adopt(like, turned) {
                    let (tensor, like) = (tensor.name.clone(), like.name.clone());
                    all.push(Deduction { model, tensor, like, how: How::Content, turned });
                }
            }
            *checkpoint = Arc::new(changed);
        }
    }
    for (index, reference) in references.iter_mut().enumerate() {
        let own = &series[last];
        let pairs = matched(own, reference, turned)?;
        if pairs.is_empty() {
            continue;
        }
        let mut changed = reference.shared();
        for (i, j, how, turned) in pairs {
            let like = &own.tensors[i];
            let tensor = &mut changed.tensors[j];
            if tensor.adopt(like, turned) {
                let (tensor, like) = (tensor.name.clone(), like.name.clone());
                all.push(Deduction { model: count + index, tensor, like, how, turned });
            }
        }
        *reference = Arc::new(changed);
    }
    Ok(all)
}

/// Whether a tensor can be matched by what it holds.
fn matchable(tensor: &TensorRecord) -> bool {
    !tensor.role.constant && tensor.dtype.is_float() && tensor.elements() > 1 && !tensor.role.family.ends_with(".scale")
}

/// Whether content may decide that two tensors are for the same. Two that templates know are what their names say, only
/// perhaps stored the other way round: a dense MLP that answers an expert is a disguise, not a name.
fn open(a: &TensorRecord, b: &TensorRecord) -> bool {
    let named = |tensor: &TensorRecord| tensor.role.known && !tensor.role.deduced;
    let of = |tensor: &TensorRecord| (tensor.role.family.clone(), tensor.role.layer, tensor.role.expert);
    !(named(a) && named(b)) || of(a) == of(b)
}

/// Pairs of tensors that names do not settle.
fn matched(first: &Arc<Checkpoint>, second: &Arc<Checkpoint>, turned: u64) -> Result<Vec<Pair>> {
    // What has no counterpart in the other's packaging, either way.
    let without = |of: &Arc<Checkpoint>, like: &Arc<Checkpoint>| -> Vec<usize> {
        let lacks: BTreeSet<String> = of.in_packaging_of(like).1.into_iter().map(|skipped| skipped.tensor).collect();
        let open = like.tensors.iter().enumerate().filter(|(_, t)| lacks.contains(&t.name) && matchable(t));
        open.map(|(index, _)| index).collect()
    };
    let (own, others) = (without(second, first), without(first, second));
    let squares = crossed(first, second, turned)?;
    if own.is_empty() || others.is_empty() {
        return Ok(squares);
    }
    let mut candidates: Vec<(usize, usize)> = Vec::new();
    for &i in &own {
        for &j in &others {
            let (a, b) = (&first.tensors[i], &second.tensors[j]);
            if open(a, b) && fits(&a.shape, &b.shape) && candidates.len() < MOST_PAIRS {
                candidates.push((i, j));
            }
        }
    }
    let mut tried: BTreeMap<&[usize], f64> = BTreeMap::new();
    for (i, _) in &candidates {
        *tried.entry(&first.tensors[*i].shape).or_default() += 2.0;
    }
    // A tensor's block is the same against all of one shape, and is read once.
    let shape = |model: &'_ Arc<Checkpoint>, index: usize| model.tensors[index].shape.clone();
    let mut keys: [BTreeSet<(usize, Vec<usize>, bool)>; 2] = Default::default();
    for &(i, j) in &candidates {
        for turned in [false, true] {
            keys[0].insert((i, shape(second, j), turned));
            keys[1].insert((j, shape(first, i), turned));
        }
    }
    let [own_keys, other_keys] = keys;
    let prepare =
        |model: &Arc<Checkpoint>, keys: BTreeSet<(usize, Vec<usize>, bool)>, side: usize| -> Result<BTreeMap<_, _>> {
            let one = |(index, other, turned): (usize, Vec<usize>, bool)| {
                let own = &model.tensors[index];
                let shapes = if side == 0 { [&own.shape, &other] } else { [&other, &own.shape] };
                let sample = Block::of(shapes[0], shapes[1], turned).map(|block| block.sample(model, own, side));
                Ok(((index, other, turned), sample.transpose()?.flatten()))
            };
            keys.into_par_iter().map(one).collect()
        };
    let a = prepare(first, own_keys, 0)?;
    let b = prepare(second, other_keys, 1)?;
    let mut scored: Vec<(f64, usize, usize, bool)> = candidates
        .par_iter()
        .flat_map_iter(|&(i, j)| [(i, j, false), (i, j, true)])
        .filter_map(|(i, j, turned)| {
            let x = a.get(&(i, shape(second, j), turned))?.as_ref()?;
            let y = b.get(&(j, shape(first, i), turned))?.as_ref()?;
            Some((x.compare(y)?, i, j, turned))
        })
        .collect();
    scored.sort_by(|p, q| q.0.total_cmp(&p.0).then_with(|| (p.1, p.2, p.3).cmp(&(q.1, q.2, q.3))));
    let place = |model: &Checkpoint, index: usize| (model.tensors[index].shard, model.tensors[index].offset);
    let (mut used_a, mut used_b) = (BTreeSet::new(), BTreeSet::new());
    let mut pairs = squares;
    for (z, i, j, turned) in scored {
        let log10_p = log10_upper_tail(z) + tried[first.tensors[i].shape.as_slice()].log10();
        if log10_p <= BY_CONTENT && !used_a.contains(&i) && !used_b.contains(&j) {
            used_a.insert(i);
            used_b.insert(j);
            pairs.push((i, j, How::Content, turned));
        }
    }
    // Vectors that say nothing (norms that are all one) and unrelated models: by shape and order.
    let mut rest: BTreeMap<&[usize], (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for &i in own.iter().filter(|i| !used_a.contains(i)) {
        rest.entry(&first.tensors[i].shape).or_default().0.push(i);
    }
    for &j in others.iter().filter(|j| !used_b.contains(j)) {
        if let Some(lists) = rest.get_mut(second.tensors[j].shape.as_slice()) {
            lists.1.push(j);
        }
    }
    for (mut x, mut y) in rest.into_values() {
        x.sort_by_key(|&i| place(first, i));
        y.sort_by_key(|&j| place(second, j));
        if x.len() == y.len() {
            let fit = |(i, j): &(usize, usize)| open(&first.tensors[*i], &second.tensors[*j]);
            pairs.extend(x.into_iter().zip(y).filter(fit).map(|(i, j)| (i, j, How::Order, false)));
        }
    }
    Ok(pairs)
}

/// Square matrices of one name that are stored the other way round, by their content.
fn crossed(first: &Arc<Checkpoint>, second: &Arc<Checkpoint>, largest: u64) -> Result<Vec<Pair>> {
    let pairs = Correspondence::between(first, second).named;
    let square = |tensor: &TensorRecord| {
        matches!(tensor.shape[..], [rows, columns] if rows == columns && rows >= 8)
            && matchable(tensor)
            && tensor.bytes < largest
    };
    let open: Vec<(usize, usize)> =
        pairs.into_iter().filter(|(i, j)| square(&first.tensors[*i]) && square(&second.tensors[*j])).collect();
    let tried = (2 * open.len()).max(1) as f64;
    let one = |(i, j): (usize, usize)| -> Result<Option<Pair>> {
        let (a, b) = (&first.tensors[i], &second.tensors[j]);
        let blocks = [false, true].map(|turned| Block::of(&a.shape, &b.shape, turned));
        let [Some(plain), Some(round)] = blocks else { return Ok(None) };
        let p = |block: &Block| -> Result<f64> {
            let (x, y) = (block.sample(first, a, 0)?, block.sample(second, b, 1)?);
            let z = x.zip(y).and_then(|(x, y)| x.compare(&y));
            Ok(z.map_or(0.0, |z| log10_upper_tail(z) + tried.log10()))
        };
        let (plain, round) = (p(&plain)?, p(&round)?);
        // As they are declared now, are they taken for stored alike?
        let (declared, found) = if a.role.residual == b.role.residual { (plain, round) } else { (round, plain) };
        let turned = a.role.residual == b.role.residual;
        Ok((found <= BY_CONTENT && found < declared).then_some((i, j, How::Content, turned)))
    };
    let found: Vec<Option<Pair>> = open.into_par_iter().map(one).collect::<Result<_>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// Whether two shapes can hold one matrix: equal, turned, or of one width (a vocabulary that was extended).
fn fits(a: &[usize], b: &[usize]) -> bool {
    a == b || matches!((a, b), ([p, q], [r, s]) if (p, q) == (s, r) || q == s && *p.min(r) >= BLOCK.0)
}

/// The elements of two tensors that are compared: places in each, row by row.
struct Block {
    columns: usize,
    /// Elements of a stored row of each.
    widths: [usize; 2],
    places: [Vec<usize>; 2],
}

impl Block {
    fn of(a: &[usize], b: &[usize], turned: bool) -> Option<Self> {
        let spread = |count: usize, wanted: usize| -> Vec<usize> {
            let wanted = wanted.min(count);
            (0..wanted).map(|i| (2 * i + 1) * count / (2 * wanted)).collect()
        };
        let matrix = |shape: &[usize]| match *shape {
            [] => (1, 1),
            [length] => (1, length),
            [rows, ref rest @ ..] => (rows, rest.iter().product()),
        };
        let ((rows_a, cols_a), (rows_b, cols_b)) = (matrix(a), matrix(b));
        let (rows, cols) = if turned {
            if a.len() != 2 || b.len() != 2 || (rows_a, cols_a) != (cols_b, rows_b) {
                return None;
            }
            (rows_a, cols_a)
        } else {
            if cols_a != cols_b || a.len() != b.len() {
                return None;
            }
            (rows_a.min(rows_b), cols_a)
        };
        let wanted = if rows == 1 { (1, VECTOR) } else { BLOCK };
        let (chosen, columns) = (spread(rows, wanted.0), spread(cols, wanted.1));
        if columns.len() < 3 {
            return None;
        }
        let mut places = [Vec::new(), Vec::new()];
        for &row in &chosen {
            for &column in &columns {
                places[0].push(row * cols_a + column);
                places[1].push(if turned { column * cols_b + row } else { row * cols_b + column });
            }
        }
        Some(Self { columns: columns.len(), widths: [cols_a, cols_b], places })
    }

    /// This block of a tensor, as its first or its second side; none where it is constant or not finite.
    fn sample(&self, model: &Checkpoint, tensor: &TensorRecord, side: usize) -> Result<Option<Sample>> {
        let (places, width) = (&self.places[side], self.widths[side]);
        let mut rows: BTreeMap<usize, Vec<f64>> = places.iter().map(|place| (place / width, Vec::new())).collect();
        let blob = &model.shards[tensor.shard].blob;
        let size = width * tensor.dtype.width();
        let mut bytes = vec![0; size];
        for (row, values) in &mut rows {
            let offset = tensor.offset + (row * size) as u64;
            blob.read_at(offset, &mut bytes)?;
            values.resize(width, 0.0);
            decode(tensor.dtype, &bytes, values);
            blob.release(offset, size);
        }
        #[allow(clippy::cast_possible_truncation, reason = "tests are made in single precision")]
        let mut values: Vec<f32> = places.iter().map(|place| rows[&(place / width)][place % width] as f32).collect();
        if values.iter().any(|value| !value.is_finite()) {
            return Ok(None);
        }
        centre(&mut values, self.columns);
        if !normalise(&mut values) {
            return Ok(None);
        }
        Ok(Some(if values.len() == self.columns {
            Sample::Vector(values)
        } else {
            Sample::Matrix(Rows::whole(values, self.columns), self.columns)
        }))
    }
}

/// A block, centred and scaled.
enum Sample {
    Vector(Vec<f32>),
    Matrix(Rows, usize),
}

impl Sample {
    /// The z of the column test, or of Pearson's r.
    fn compare(&self, other: &Self) -> Option<f64> {
        match (self, other) {
            (Self::Vector(x), Self::Vector(y)) if x.len() == y.len() => {
                let r: f64 = x.iter().zip(y).map(|(p, q)| f64::from(*p) * f64::from(*q)).sum();
                vector(r, x.len() as u64).map(|test| test.z)
            }
            (Self::Matrix(x, columns), Self::Matrix(y, others)) if columns == others && x.count() == y.count() => {
                aligned(x.total(y), 1.0, *columns).map(|test| test.z)
            }
            _ => None,
        }
    }
}
