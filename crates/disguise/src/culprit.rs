//! A parent as somebody would write it who wants it not to be found (METHODS 11).
//!
//! The parent is not copied: a [`Culprit`] changes rows as they are read, so that the search itself is what is asked, and it
//! cannot know that its subject is made up.

use std::collections::BTreeMap;

use super::frame::Frame;
use super::matrix::{Function, narrow};
use super::noise::{Noise, fnv};
use scratchproof_checkpoint::{Heads, Part};
use scratchproof_measurements::Class;

/// Correlation of a culprit's rows with the parent's: a model that was trained on keeps 0.7 to 0.99 of its parent. Half is asked
/// for, as a parent may be put into the middle of a training, where the chain sees it from 0.5 to 1.0 times the model's own size
/// on. **Measured** at hidden size 64: all disguises of all cases with known truth are seen at 0.5.
pub const CORRELATION: f64 = 0.5;

/// How a parent is written as another model.
#[derive(Clone, Debug)]
pub struct Culprit {
    class: Class,
    /// The residual axis, from the parent's to its own.
    axis: Frame,
    /// Where rows of the parent are drawn, their share.
    share: Option<f64>,
}

/// Rows that stand for a head where rows were drawn and no head is whole.
const HEAD: usize = 64;

/// The number by which heads are told from neurons.
const HEADS: u32 = 1 << 30;

impl Culprit {
    /// One of a class, of a parent whose residual axis has that length.
    pub fn new(class: Class, hidden: usize) -> Self {
        let axis = match class {
            Class::Half => Frame::AsItStands,
            Class::Permuted | Class::Moved => Frame::Permuted((0..hidden).map(|i| Some(shuffled(i, hidden))).collect()),
            Class::Rotated => Frame::Rotated(rotation(hidden)),
            Class::Padded => Frame::Permuted((0..=hidden).map(|i| (i < hidden).then_some(i)).collect()),
        };
        Self { class, axis, share: None }
    }

    /// The same of a parent of which a share of the rows is drawn. What was put into another order is then seldom in the rows of
    /// both: of drawn rows as many have their like among the others as were drawn of all.
    pub fn drawn(self, share: Option<f64>) -> Self {
        Self { share, ..self }
    }

    /// Length of its residual axis.
    pub fn hidden(&self, parent: usize) -> usize {
        parent + usize::from(self.class == Class::Padded)
    }

    /// Whether no token of it is one of the parent's.
    pub fn another_vocabulary(&self) -> bool {
        self.class == Class::Moved
    }

    /// Rows of a matrix that has so many in the parent.
    pub fn rows(&self, parent: usize, function: Option<Function>) -> usize {
        let neurons = function.and_then(Function::slot).is_some();
        parent + usize::from(self.class == Class::Padded && neurons)
    }

    /// Which of the parent's layers stands where: those that are looked at change places among themselves.
    pub fn layers(&self, all: &[u32], looked: &[u32]) -> BTreeMap<u32, u32> {
        let mut order: BTreeMap<u32, u32> = all.iter().map(|layer| (*layer, *layer)).collect();
        if self.class == Class::Moved {
            // One place on, and the first two change: for two layers and more none stays, and the order is no rotation.
            let n = looked.len();
            order.extend((0..n).map(|i| (looked[i], looked[(i + 1) % n])));
            if n > 3 {
                let (a, b) = (order[&looked[0]], order[&looked[2]]);
                order.extend([(looked[0], b), (looked[2], a)]);
            }
        }
        order
    }

    /// For these rows of a matrix, the parent's; `None` for what is an unrelated model's.
    pub fn sources(
        &self,
        part: &Part,
        function: Option<Function>,
        picked: &[usize],
        heads: Option<Heads>,
    ) -> Vec<Option<usize>> {
        let layer = part.role.layer.unwrap_or(0) as usize;
        let source = |row: usize| -> Option<usize> {
            // Heads that stand in another order are seldom among those that were drawn of both.
            let of_heads = heads.filter(|heads| heads.key_value > 0 && heads.dim > 0);
            let inside = |function: Function, heads: Heads| match function {
                Function::Query | Function::Output => Some(row / heads.dim / (heads.query / heads.key_value).max(1)),
                Function::Key | Function::Value => Some(row / heads.dim),
                _ => None,
            };
            let lost = |group: usize| self.share.is_some_and(|share| share <= chance(layer, Some(HEADS), group));
            if self.class == Class::Moved
                && let Some(group) = function.zip(of_heads).and_then(|(function, heads)| inside(function, heads))
            {
                return (row < part.rows && !lost(group)).then_some(row);
            }
            let Some(function) = function.filter(|_| self.class == Class::Half) else {
                return (row < part.rows).then_some(row);
            };
            if matches!(function, Function::Other(..)) {
                return is_half(layer, part.role.expert, row).then_some(row);
            }
            if function.slot().is_some() {
                let from = shuffled(row, part.rows);
                let there = self.share.is_none_or(|share| share > chance(layer, part.role.expert, from));
                return (is_half(layer, part.role.expert, from) && there).then_some(from);
            }
            let Some(heads) = of_heads else {
                let half = self.share.is_none() || (layer + row / HEAD).is_multiple_of(2);
                return half.then_some(row);
            };
            let Some(group) = inside(function, heads) else { return Some(row) };
            ((layer + group).is_multiple_of(2) && !lost(group)).then_some(row)
        };
        picked.iter().map(|row| source(*row)).collect()
    }

    /// Its rows of a matrix that has no residual axis from those of the parent: weaker, and where they are.
    pub fn weakened(part: &Part, picked: &[usize], values: &[f32]) -> Vec<f32> {
        let rows = values.chunks_exact(part.cols.max(1)).zip(picked);
        rows.flat_map(|(theirs, row)| weaker(theirs, &mut Noise(key(part, *row)))).collect()
    }

    /// Its rows from those of the parent, one after the other without those that are an unrelated model's.
    pub fn write(&self, part: &Part, sources: &[Option<usize>], picked: &[usize], values: &[f32]) -> Vec<f32> {
        let cols = part.cols.max(1);
        let square: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
        let usual = (square / values.len().max(1) as f64).sqrt();
        let mut own = Vec::with_capacity(sources.len() * cols);
        let mut rest = values.chunks_exact(cols);
        for (source, row) in sources.iter().zip(picked) {
            // One row is the same whenever it is read.
            let mut noise = Noise(key(part, *row));
            match source.and_then(|_| rest.next()) {
                Some(theirs) => own.extend(weaker(theirs, &mut noise)),
                None => own.extend((0..cols).map(|_| narrow(usual * even(&mut noise)))),
            }
        }
        let hidden = self.hidden(cols);
        match &self.axis {
            Frame::AsItStands => own,
            axis => {
                let mut own = axis.express(&own, cols, hidden);
                if self.class == Class::Padded {
                    for (row, place) in own.chunks_exact_mut(hidden).zip(picked) {
                        row[hidden - 1] = narrow(usual * even(&mut Noise(key(part, *place) ^ 1)));
                    }
                }
                own
            }
        }
    }
}

/// A row that correlates with another by [`CORRELATION`], of the same size.
fn weaker(theirs: &[f32], noise: &mut Noise) -> Vec<f32> {
    let square: f64 = theirs.iter().map(|v| f64::from(*v).powi(2)).sum();
    let scale = (1.0 - CORRELATION * CORRELATION).sqrt() * (square / theirs.len().max(1) as f64).sqrt();
    theirs.iter().map(|v| narrow(CORRELATION * f64::from(*v) + scale * even(noise))).collect()
}

/// An even number from 0 to 1 that a neuron has, the same in all of its matrices.
fn chance(layer: usize, expert: Option<u32>, row: usize) -> f64 {
    let mut noise = of_neuron(layer, expert, row);
    (noise.next() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Whether a neuron is of the half that is the parent's. Not every second one: rows that are looked at are spread evenly, and
/// would all be of one half or of the other.
fn is_half(layer: usize, expert: Option<u32>, row: usize) -> bool {
    let mut noise = of_neuron(layer, expert, row);
    noise.next();
    noise.next() >> 63 == 0
}

fn of_neuron(layer: usize, expert: Option<u32>, row: usize) -> Noise {
    let expert = expert.map_or(0, |expert| u64::from(expert) + 1);
    let mut noise = Noise(((layer as u64) << 40) ^ (expert << 20) ^ (row as u64) ^ 0x5851_f42d_4c95_7f2d);
    noise.next();
    noise
}

/// An even number between the roots of three, of variance one.
fn even(noise: &mut Noise) -> f64 {
    ((noise.next() >> 11) as f64 / (1_u64 << 53) as f64 - 0.5) * 12.0_f64.sqrt()
}

/// What a row's place gives.
fn key(part: &Part, row: usize) -> u64 {
    fnv(&format!("{} {:?} {:?} {row}", part.role.family, part.role.layer, part.role.expert))
}

/// An order of so many in which neighbours are far apart: a multiple without a common factor, near the golden section.
fn shuffled(at: usize, of: usize) -> usize {
    fn gcd(a: usize, b: usize) -> usize {
        if b == 0 { a } else { gcd(b, a % b) }
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
    let near = (of as f64 * 0.618) as usize;
    let step = (near.max(1)..near.max(1) + of.max(1)).find(|step| gcd(*step, of) == 1).unwrap_or(1);
    (at * step + of / 3) % of.max(1)
}

/// A rotation, rows the parent's directions: the discrete cosine transform (Ahmed, Natarajan and Rao 1974) with its rows in
/// another order and of either sign.
fn rotation(n: usize) -> Vec<f32> {
    let mut noise = Noise(7);
    let mut all = Vec::with_capacity(n * n);
    for i in 0..n {
        let k = shuffled(i, n);
        let sign = if noise.next() & 1 == 0 { 1.0 } else { -1.0 };
        let scale = sign * (if k == 0 { 1.0 } else { 2.0 } / n as f64).sqrt();
        all.extend((0..n).map(|j| {
            let turn = std::f64::consts::PI * (j as f64 + 0.5) * k as f64 / n as f64;
            narrow(scale * turn.cos())
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{rotation, shuffled};
    use std::collections::BTreeSet;

    #[test]
    fn an_order_is_one_and_a_rotation_is_one() {
        for n in [1, 2, 3, 4, 64, 96, 97] {
            assert_eq!((0..n).map(|i| shuffled(i, n)).collect::<BTreeSet<_>>().len(), n);
        }
        let (n, q) = (24, rotation(24));
        for i in 0..n {
            for j in 0..n {
                let product: f64 = (0..n).map(|k| f64::from(q[i * n + k]) * f64::from(q[j * n + k])).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-5, "{i} {j}: {product}");
            }
        }
    }
}
