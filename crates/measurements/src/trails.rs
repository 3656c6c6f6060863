//! The path of the weights through the checkpoints: the trails of the components.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::{ALL, Plan, TensorFigures};
use scratchproof_kernel::Gram;
use scratchproof_stats::Trail;

/// Root mean square of what rounding to nearest leaves, over the size of the weights and 2^-bits of mantissa: an error
/// uniform in +-2^-(bits + 1).
const ROUNDING: f64 = 0.288_675_134_594_812_9;

/// What a figure of f64 or a sample in f32 can resolve, over the size of the weights.
const RESOLVED: f64 = 3e-6;

/// A checkpoint this many roundings off a line that is at least [`LONG`] roundings long was computed.
pub const ON_LINE: f64 = 2.0;
/// See [`ON_LINE`].
pub const LONG: f64 = 50.0;

/// Its distance from both ends, in roundings.
pub const LEG: f64 = 8.0;

/// Size of a rounding at weights of root mean square `size`.
#[must_use]
pub fn rounding(size: f64, bits: i32) -> f64 {
    size * (2f64.powi(-bits) * ROUNDING).max(RESOLVED)
}

/// The trails of a series.
#[derive(Clone, Debug)]
pub struct Trails {
    /// By component, and over all of them as [`ALL`]: every tensor but structural constants.
    pub components: BTreeMap<String, Trail>,
    /// The same over tensors with a residual axis.
    pub parts: BTreeMap<String, Trail>,
    /// Over all tensors with a residual axis, structural constants among them.
    pub matrices: Trail,
    /// By checkpoint, the bits of mantissa of its coarsest number format.
    pub bits: Vec<i32>,
}

impl Trails {
    /// Sums the trails of all tensors of the subject.
    #[must_use]
    pub fn new(plan: &Plan, tensors: &[TensorFigures]) -> Self {
        let points = plan.series;
        let (mut components, mut parts) = (BTreeMap::new(), BTreeMap::new());
        let add = |trails: &mut BTreeMap<String, Trail>, name: &str, gram: &Gram| {
            trails.entry(name.to_owned()).or_insert_with(|| Trail::new(points)).add(gram);
        };
        let mut matrices = Trail::new(points);
        let mut bits = vec![52; points];
        for (unit, figures) in plan.units.iter().zip(tensors).filter(|(unit, _)| unit.in_subject()) {
            if unit.view.is_some() {
                matrices.add(&figures.gram);
            }
            if !unit.role.constant {
                for name in [unit.role.judged_as(), ALL] {
                    add(&mut components, name, &figures.gram);
                    if unit.view.is_some() {
                        add(&mut parts, name, &figures.gram);
                    }
                }
            }
            for (bits, member) in bits.iter_mut().zip(&unit.members) {
                *bits = member.dtype.fraction_bits().map_or(*bits, |own| own.min(*bits));
            }
        }
        Self { components, parts, matrices, bits }
    }

    /// Bits of mantissa of the coarsest number format from one checkpoint to another.
    #[must_use]
    pub fn bits(&self, range: RangeInclusive<usize>) -> i32 {
        self.bits[range].iter().copied().fold(52, i32::min)
    }

    /// Root mean square of the roundings of two checkpoints of a range, of weights of root mean square `size`.
    #[must_use]
    pub fn rounding(&self, size: f64, range: RangeInclusive<usize>) -> f64 {
        size * 2f64.powi(-self.bits(range)) / 6f64.sqrt()
    }
}
