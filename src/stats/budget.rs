//! What an optimiser can do with its learning rate (METHODS 5).

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

    #[test]
    fn adam_is_bounded_and_sgd_is_not() {
        assert!((step_bound(Bounded::Adam, 0.9, 0.95).expect("bound") - 1.0).abs() < 1e-12);
        assert!((step_bound(Bounded::Adam, 0.9, 0.999).expect("bound") - 3.162_277_66).abs() < 1e-6);
        assert_eq!(step_bound(Bounded::No, 0.9, 0.95), None);
    }
}
