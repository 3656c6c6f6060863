//! The distance of two groups of figures in standard deviations, as published accusations computed it.

/// Mean and population standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// How many figures.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Their population standard deviation.
    pub sd: f64,
}

impl Spread {
    /// Of some figures; `None` of no figure.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        (mean.is_finite() && sd.is_finite()).then_some(Self { n: values.len(), mean, sd })
    }
}

/// The difference of two means over the root of the mean variance (Cohen's d with population variances). It measures how
/// narrow the groups are, and is no test: the figures of one model are not independent of each other.
#[must_use]
pub fn separation(group: Spread, baseline: Spread) -> Option<f64> {
    let scale = f64::midpoint(group.sd * group.sd, baseline.sd * baseline.sd).sqrt();
    let distance = (group.mean - baseline.mean) / scale;
    (group.n > 1 && baseline.n > 1 && distance.is_finite()).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::{Spread, separation};

    /// The eight published cosines of a public accusation and its published figure: 182.
    #[test]
    fn the_published_figure_is_reproduced() {
        let layer_0 = [0.375_810, 0.375_664, 0.377_255, 0.379_035];
        let same_layer = [0.981_094, 0.991_792, 0.991_429, 0.991_635];
        let of = |values: &[f64]| Spread::of(values).expect("figures");
        let found = separation(of(&same_layer), of(&layer_0)).expect("a distance");
        assert!((found - 181.936).abs() < 1e-3, "{found}");
        assert!(Spread::of(&[]).is_none() && separation(of(&[1.0]), of(&layer_0)).is_none());
    }
}
