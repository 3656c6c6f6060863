//! The path of the weights between checkpoints (METHODS 5), from Gram matrices alone.

use scratchproof_kernel::Gram;

/// The path of a group of tensors through all checkpoints of a series: the products of their first weights and of their
/// increments, `W_0, W_1 - W_0, ..., W_T - W_(T-1)`, summed over the tensors.
///
/// Figures between neighbours and near ones are sums of few products and keep their digits. What a call costs grows with
/// the product of the spans it is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trail {
    /// Checkpoints.
    points: usize,
    /// Elements of the tensors.
    elements: u64,
    /// points x points, symmetric.
    products: Vec<f64>,
}

impl Trail {
    /// A path without tensors.
    #[must_use]
    pub fn new(points: usize) -> Self {
        Self { points, elements: 0, products: vec![0.0; points * points] }
    }

    /// Adds a tensor. One with a value that is not finite in some checkpoint is left out, as a whole.
    pub fn add(&mut self, gram: &Gram) {
        if (0..self.points).any(|t| gram.nonfinite(t) > 0 || !gram.entry(t, t).is_finite()) {
            return;
        }
        self.elements += gram.elements();
        for i in 0..self.points {
            for j in 0..self.points {
                self.products[i * self.points + j] += gram.entry(i, j);
            }
        }
    }

    /// Checkpoints.
    #[must_use]
    pub fn points(&self) -> usize {
        self.points
    }

    /// Elements of all tensors together.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// Product of rows `rows` and `columns` of the increments, summed.
    fn sum(&self, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> f64 {
        rows.map(|i| self.products[i * self.points..][columns.clone()].iter().sum::<f64>()).sum()
    }

    /// `<W_a, W_b>`.
    #[must_use]
    pub fn product(&self, a: usize, b: usize) -> f64 {
        self.sum(0..a + 1, 0..b + 1)
    }

    /// `<W_b - W_a, W_d - W_c>` for a <= b and c <= d.
    #[must_use]
    pub fn step_product(&self, (a, b): (usize, usize), (c, d): (usize, usize)) -> f64 {
        self.sum(a + 1..b + 1, c + 1..d + 1)
    }

    /// `<W_t, W_b - W_a>` for a <= b.
    #[must_use]
    pub fn weight_step_product(&self, t: usize, (a, b): (usize, usize)) -> f64 {
        self.sum(0..t + 1, a + 1..b + 1)
    }

    /// `|W_a - W_b|^2`.
    #[must_use]
    pub fn distance2(&self, a: usize, b: usize) -> f64 {
        let step = (a.min(b), a.max(b));
        self.step_product(step, step).max(0.0)
    }

    /// All of [`Trail::distance2`], points x points, in the time that one pass over the products takes.
    #[must_use]
    pub fn distances(&self) -> Vec<Vec<f64>> {
        let n = self.points;
        let upper = |from: usize| {
            let mut square = 0.0;
            let mut row = vec![0.0; n];
            for (to, cell) in row.iter_mut().enumerate().skip(from + 1) {
                // |W_to - W_from|^2 grows by the new increment with itself and twice with those before it.
                square += 2.0 * self.sum(to..to + 1, from + 1..to) + self.products[to * n + to];
                *cell = f64::max(square, 0.0);
            }
            row
        };
        let upper: Vec<Vec<f64>> = (0..n).map(upper).collect();
        (0..n).map(|a| (0..n).map(|b| upper[a.min(b)][a.max(b)]).collect()).collect()
    }

    /// Products of the increments alone, `(points - 1) x (points - 1)`: what [`super::hulls`] takes.
    #[must_use]
    pub fn increments(&self) -> Vec<Vec<f64>> {
        (1..self.points).map(|i| self.products[i * self.points + 1..(i + 1) * self.points].to_vec()).collect()
    }

    /// Root mean square of `W_t`.
    #[must_use]
    pub fn size(&self, t: usize) -> Option<f64> {
        (self.elements > 0).then(|| (self.product(t, t).max(0.0) / self.elements as f64).sqrt())
    }

    /// Root mean square of `W_b - W_a`.
    #[must_use]
    pub fn rms(&self, a: usize, b: usize) -> Option<f64> {
        (self.elements > 0).then(|| (self.distance2(a, b) / self.elements as f64).sqrt())
    }

    /// The three checkpoints a <= b <= c and where the middle one stands between the others.
    #[must_use]
    pub fn turn(&self, [a, b, c]: [usize; 3]) -> Turn {
        Turn {
            first: self.step_product((a, b), (a, b)),
            second: self.step_product((b, c), (b, c)),
            product: self.step_product((a, b), (b, c)),
            elements: self.elements,
            middle: self.product(b, b),
        }
    }
}

/// Three checkpoints in a row.
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

#[cfg(test)]
mod tests {
    use super::*;
    use scratchproof_kernel::{BLOCK, GramShape, GramTile};

    fn gram(points: [[f64; 3]; 3]) -> Gram {
        let mut values = vec![0.0; 3 * BLOCK];
        for (t, point) in points.iter().enumerate() {
            values[t * BLOCK..t * BLOCK + 3].copy_from_slice(point);
        }
        let mut tile = GramTile::new(GramShape { series: 3, references: 0 });
        tile.add(&mut values, 3);
        tile.finish()
    }

    fn trail(gram: &Gram) -> Trail {
        let mut trail = Trail::new(3);
        trail.add(gram);
        trail
    }

    #[test]
    fn products_of_weights_and_steps() {
        let points = [[1.0, 2.0, 3.0], [-1.0, 0.5, 2.0], [4.0, 4.0, -1.0]];
        let trail = trail(&gram(points));
        let dot = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let minus = |a: [f64; 3], b: [f64; 3]| std::array::from_fn(|i| a[i] - b[i]);
        let close = |x: f64, y: f64| assert!((x - y).abs() < 1e-12, "{x} is not {y}");
        for (a, from) in points.iter().enumerate() {
            for (b, to) in points.iter().enumerate() {
                close(trail.product(a, b), dot(*from, *to));
                close(trail.distance2(a, b), dot(minus(*from, *to), minus(*from, *to)));
                close(trail.distances()[a][b], trail.distance2(a, b));
                close(trail.weight_step_product(a, (b.min(1), 2)), dot(*from, minus(points[2], points[b.min(1)])));
            }
        }
        close(trail.step_product((0, 1), (0, 2)), dot(minus(points[1], points[0]), minus(points[2], points[0])));
        close(trail.size(2).expect("elements").powi(2), 33.0 / 3.0);
    }

    #[test]
    fn the_geometry_of_a_right_triangle() {
        let gram = gram([[1.0, 0.0, 0.0], [1.0, 3.0, 0.0], [1.0, 3.0, 4.0]]);
        let turn = trail(&gram).turn([0, 1, 2]);
        // Height over the hypotenuse of 3-4-5 is 12/5, its foot 9/5 along.
        assert!((turn.off_chord().expect("a chord") - 12.0 / 25.0).abs() < 1e-12);
        assert!((turn.fraction().expect("a chord") - 9.0 / 25.0).abs() < 1e-12);
        assert!(turn.lag1_cosine().expect("moves").abs() < 1e-12);
        assert!((trail(&gram).rms(1, 2).expect("elements") - (16.0_f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_blend_lies_on_the_chord() {
        let gram = gram([[1.0, 2.0, 3.0], [1.25, 2.5, 2.5], [2.0, 4.0, 1.0]]);
        let turn = trail(&gram).turn([0, 1, 2]);
        assert!(turn.off_chord().expect("a chord") < 1e-7);
        assert!(turn.over_rounding(7).expect("elements") < 1e-3);
        assert!((turn.fraction().expect("a chord") - 0.25).abs() < 1e-12);
    }
}
