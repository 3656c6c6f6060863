//! The way of the weights between checkpoints (METHODS 5), from Gram matrices alone.

use crate::kernel::Gram;

/// Sums over the tensors of one component between neighbouring checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Displacement {
    /// Elements.
    pub elements: u64,
    /// `|W_b - W_a|^2`.
    pub square: f64,
    /// `|W_a|^2`.
    pub before: f64,
}

impl Displacement {
    /// Adds one tensor; a tensor with a value that is not finite is left out.
    pub fn add(&mut self, gram: &Gram, from: usize, to: usize) {
        let (square, before) = (gram.distance2(from, to), gram.product(from, from));
        if square.is_finite() && before.is_finite() {
            self.elements += gram.elements();
            self.square += square;
            self.before += before;
        }
    }

    /// Root mean square of the displacement.
    #[must_use]
    pub fn rms(&self) -> Option<f64> {
        (self.elements > 0).then(|| (self.square / self.elements as f64).sqrt())
    }

    /// Root mean square of the weights before.
    #[must_use]
    pub fn rms_before(&self) -> Option<f64> {
        (self.elements > 0).then(|| (self.before / self.elements as f64).sqrt())
    }
}

/// Sums over the tensors of one component for three checkpoints in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Turn {
    first: f64,
    second: f64,
    product: f64,
    elements: u64,
    /// Sum of |W|^2 at the middle one, for the rounding that its number format makes.
    middle: f64,
}

impl Turn {
    /// Adds one tensor at checkpoints a, b, c.
    pub fn add(&mut self, gram: &Gram, [a, b, c]: [usize; 3]) {
        let parts = [
            gram.displacement_product((a, b), (a, b)),
            gram.displacement_product((b, c), (b, c)),
            gram.displacement_product((a, b), (b, c)),
            gram.product(b, b),
        ];
        if parts.iter().all(|p| p.is_finite()) {
            let [first, second, product, middle] = parts;
            self.first += first;
            self.second += second;
            self.product += product;
            self.middle += middle;
            self.elements += gram.elements();
        }
    }

    fn chord2(&self) -> f64 {
        self.first + self.second + 2.0 * self.product
    }

    fn off2(&self) -> f64 {
        // With u = b - a and v = c - b, the square of u's part off the chord u + v is (|u|^2 |v|^2 - <u,v>^2) / |u+v|^2.
        ((self.first * self.second - self.product * self.product) / self.chord2()).max(0.0)
    }

    /// Distance of the middle checkpoint from the line through its neighbours, over their distance.
    #[must_use]
    pub fn off_chord(&self) -> Option<f64> {
        (self.first > 0.0 && self.second > 0.0 && self.chord2() > 0.0).then(|| (self.off2() / self.chord2()).sqrt())
    }

    /// Where along the chord the middle checkpoint's foot is: 0 at the first, 1 at the last.
    #[must_use]
    pub fn fraction(&self) -> Option<f64> {
        (self.chord2() > 0.0).then(|| (self.first + self.product) / self.chord2())
    }

    /// Root mean square of the distance from the chord, over the rounding that a format with `fraction_bits` makes on
    /// weights of this size. A number below 2 says that the middle one is a blend of its neighbours and nothing else.
    ///
    /// Rounding to nearest makes a relative error uniform in +-2^-(bits+1) at the bottom of a binade: root mean square
    /// 2^-(bits+1)/sqrt(3) of |w|, and each of the three checkpoints adds its own.
    #[must_use]
    pub fn over_rounding(&self, fraction_bits: i32) -> Option<f64> {
        let off = (self.off2() / self.elements as f64).sqrt();
        let rounding = (self.middle / self.elements as f64).sqrt() * 2f64.powi(-fraction_bits - 1) / 3f64.sqrt();
        (self.elements > 0 && rounding > 0.0).then(|| off / rounding)
    }

    /// Cosine of the two displacements.
    #[must_use]
    pub fn lag1_cosine(&self) -> Option<f64> {
        (self.first > 0.0 && self.second > 0.0).then(|| self.product / (self.first * self.second).sqrt())
    }
}

/// The largest root mean square displacement that one optimiser step of learning rate 1 can make, decay apart.
///
/// For Adam and AdamW, max(1, (1 - b1)/sqrt(1 - b2)) (Kingma and Ba 2015, section 2.1); for Lion exactly 1 (a sign).
/// `None` for optimisers whose step depends on the size of the gradient.
#[must_use]
pub fn step_bound(optimiser: Bounded, beta1: f64, beta2: f64) -> Option<f64> {
    match optimiser {
        Bounded::Adam => Some(((1.0 - beta1) / (1.0 - beta2).sqrt()).max(1.0)),
        Bounded::Sign => Some(1.0),
        Bounded::No => None,
    }
}

/// Whether an optimiser's step is bounded by its learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounded {
    /// Adam and AdamW.
    Adam,
    /// Lion.
    Sign,
    /// SGD and everything that was not named.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{BLOCK, GramShape, GramTile};

    fn gram(points: [[f64; 3]; 3]) -> Gram {
        let mut values = vec![0.0; 3 * BLOCK];
        for (t, point) in points.iter().enumerate() {
            values[t * BLOCK..t * BLOCK + 3].copy_from_slice(point);
        }
        let mut tile = GramTile::new(GramShape { series: 3, references: 0 });
        tile.add(&mut values, 3);
        tile.finish()
    }

    #[test]
    fn the_geometry_of_a_right_triangle() {
        let gram = gram([[1.0, 0.0, 0.0], [1.0, 3.0, 0.0], [1.0, 3.0, 4.0]]);
        let mut turn = Turn::default();
        turn.add(&gram, [0, 1, 2]);
        // Height over the hypotenuse of 3-4-5 is 12/5, its foot 9/5 along.
        assert!((turn.off_chord().expect("a chord") - 12.0 / 25.0).abs() < 1e-12);
        assert!((turn.fraction().expect("a chord") - 9.0 / 25.0).abs() < 1e-12);
        assert!(turn.lag1_cosine().expect("moves").abs() < 1e-12);
        let mut displacement = Displacement::default();
        displacement.add(&gram, 1, 2);
        assert!((displacement.rms().expect("elements") - (16.0_f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_blend_lies_on_the_chord() {
        let gram = gram([[1.0, 2.0, 3.0], [1.25, 2.5, 2.5], [2.0, 4.0, 1.0]]);
        let mut turn = Turn::default();
        turn.add(&gram, [0, 1, 2]);
        assert!(turn.off_chord().expect("a chord") < 1e-7);
        assert!(turn.over_rounding(7).expect("elements") < 1e-3);
        assert!((turn.fraction().expect("a chord") - 0.25).abs() < 1e-12);
    }

    #[test]
    fn adam_is_bounded_and_sgd_is_not() {
        assert!((step_bound(Bounded::Adam, 0.9, 0.95).expect("bound") - 1.0).abs() < 1e-12);
        assert!((step_bound(Bounded::Adam, 0.9, 0.999).expect("bound") - 3.162_277_66).abs() < 1e-6);
        assert_eq!(step_bound(Bounded::No, 0.9, 0.95), None);
    }
}
