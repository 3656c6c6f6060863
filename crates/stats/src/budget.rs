//! What an optimiser can do with its learning rate (METHODS 5).

/// The rule by which weights are updated, as far as it limits a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Adam, `AdamW`, and both with L2 in the gradient, which is normalised with it: at most
    /// max(1, (1 - b1) / sqrt(1 - b2)) an element (Kingma and Ba 2015, section 2.1).
    Adam {
        /// First decay rate.
        beta1: f64,
        /// Second decay rate.
        beta2: f64,
    },
    /// Lion: a sign, so 1 (Chen et al. 2023).
    Sign,
    /// SGD: the norm of a step over all weights is at most (the largest gradient norm + L2 times the norm of the weights)
    /// over 1 - momentum, with Nesterov's rule as well.
    Momentum {
        /// Momentum.
        momentum: f64,
        /// Largest norm of a gradient over all parameters, after clipping.
        gradient: f64,
        /// L2 in the gradient, added after clipping.
        decay: f64,
    },
    /// Adafactor: the root mean square of an update is clipped to 1; with the relative step it is scaled by that of the
    /// weights (Shazeer and Stern 2018, section 6).
    Adafactor,
    /// Muon: five rounds of Newton-Schulz leave singular values of at most 1.2, so the root mean square of the update is
    /// at most 1.2 / sqrt(max(m, n)), before one of the usual scalings; other tensors are trained by `AdamW`.
    Muon {
        /// `AdamW`'s first decay rate.
        beta1: f64,
        /// `AdamW`'s second decay rate.
        beta2: f64,
    },
}

/// A group of tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Elements of all of them.
    pub elements: u64,
    /// Largest root mean square of one tensor's weights.
    pub size: f64,
    /// Rows and columns of those that Muon may orthogonalise.
    pub matrices: Vec<(usize, usize)>,
    /// Whether there are others.
    pub others: bool,
}

impl Rule {
    /// The largest root mean square displacement of a group in one step of learning rate 1, decoupled decay apart.
    #[must_use]
    pub fn bound(&self, group: &Group) -> f64 {
        let adam = |beta1: f64, beta2: f64| ((1.0 - beta1) / (1.0 - beta2).sqrt()).max(1.0);
        match *self {
            Self::Adam { beta1, beta2 } => adam(beta1, beta2),
            Self::Sign => 1.0,
            Self::Momentum { momentum, gradient, decay } => {
                (gradient / (group.elements.max(1) as f64).sqrt() + decay * group.size) / (1.0 - momentum)
            }
            Self::Adafactor => group.size.max(1.0),
            Self::Muon { beta1, beta2 } => {
                // Moonlight's 0.2 sqrt(max(m, n)), Jordan's sqrt(max(1, m / n)) or none: which one is seldom logged.
                let one = |(rows, columns): &(usize, usize)| {
                    let (m, n) = (*rows as f64, *columns as f64);
                    1.2 * f64::max(0.2, ((m / n).max(n / m).max(1.0) / m.max(n)).sqrt())
                };
                let matrices = group.matrices.iter().map(one).fold(0.0, f64::max);
                if group.others || group.matrices.is_empty() { matrices.max(adam(beta1, beta2)) } else { matrices }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(elements: u64, size: f64) -> Group {
        Group { elements, size, matrices: vec![(64, 16)], others: false }
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-6 * b.abs(), "{a} is not {b}");
    }

    #[test]
    fn every_rule_has_its_bound() {
        let one = group(100, 0.5);
        close(Rule::Adam { beta1: 0.9, beta2: 0.95 }.bound(&one), 1.0);
        close(Rule::Adam { beta1: 0.9, beta2: 0.999 }.bound(&one), 3.162_277_66);
        close(Rule::Sign.bound(&one), 1.0);
        // A clipped norm of 1 over 100 elements is 0.1; ten times that with momentum 0.9; L2 adds 0.01 * 0.5.
        close(Rule::Momentum { momentum: 0.9, gradient: 1.0, decay: 0.01 }.bound(&one), 1.05);
        close(Rule::Adafactor.bound(&one), 1.0);
        close(Rule::Adafactor.bound(&group(100, 2.0)), 2.0);
        let muon = Rule::Muon { beta1: 0.9, beta2: 0.95 };
        // 64 x 16: sqrt(4 / 64) = 0.25.
        close(muon.bound(&one), 0.3);
        close(muon.bound(&Group { matrices: vec![(4096, 4096)], ..one.clone() }), 0.24);
        close(muon.bound(&Group { others: true, ..one }), 1.0);
    }

    /// Simulated steps with gradients as bad as they can be stay inside, and come near.
    #[test]
    fn momentum_reaches_its_bound_and_does_not_cross_it() {
        let (momentum, elements) = (0.9, 4_u64);
        let (mut velocity, mut moved) = ([0.0; 4], [0.0_f64; 4]);
        for _ in 0..400 {
            for (v, w) in velocity.iter_mut().zip(&mut moved) {
                *v = momentum * *v + 0.5;
                *w += *v;
            }
        }
        let rms = (moved.iter().map(|w| w * w).sum::<f64>() / 4.0).sqrt() / 400.0;
        let bound = Rule::Momentum { momentum, gradient: 1.0, decay: 0.0 }.bound(&group(elements, 0.0));
        assert!(rms <= bound && rms > 0.95 * bound, "{rms} of {bound}");
    }
}
