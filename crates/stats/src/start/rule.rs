//! The rules by which models set the scale of a draw (METHODS 4).

use super::law::Law;

/// The sizes that rules of scale depend on.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Hidden size.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// The layer, counted from 0.
    pub layer: Option<u32>,
    /// Inputs of the matrix.
    pub fan_in: usize,
    /// Outputs of the matrix.
    pub fan_out: usize,
}

/// Scale of one tensor of a family.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Root mean square of its values.
    pub std: f64,
    /// Values.
    pub elements: usize,
    /// Fourth moment over the squared second: 3 for the normal law.
    pub kurtosis: f64,
    /// Of the tensor.
    pub sizes: Sizes,
}

impl Scale {
    /// Standard error of ln std.
    fn error(&self) -> f64 {
        ((self.kurtosis - 1.0).max(0.1) / (4 * self.elements.max(1)) as f64).sqrt()
    }
}

/// Beside four standard errors a scale may miss its rule by this share: what rounding to few bits changes.
const SLACK: f64 = 0.008;

/// Numbers that configurations set as a standard deviation, beside 0.02, 0.006, 0.01 and 1.
const NUMBERS: &[(&str, f64)] = &[
    ("0.008", 0.008),
    ("0.005", 0.005),
    ("0.002", 0.002),
    ("0.001", 0.001),
    ("0.014", 0.014),
    ("0.015", 0.015),
    ("0.018", 0.018),
    ("0.025", 0.025),
    ("0.03", 0.03),
    ("0.04", 0.04),
    ("0.05", 0.05),
    ("0.1", 0.1),
    ("0.2", 0.2),
    ("0.5", 0.5),
];

/// The name of a rule and the standard deviation it gives to one tensor.
type Rule = (String, Box<dyn Fn(&Sizes) -> Option<f64>>);

/// A scale without its factor of depth: hidden size, layers, inputs and outputs in, standard deviation out.
type Base = (&'static str, fn([f64; 4]) -> f64);

/// All rules, the plainest first: where two give one number, the first is named.
fn rules() -> Vec<Rule> {
    fn rule(name: impl Into<String>, std: impl Fn([f64; 4]) -> f64 + 'static) -> Rule {
        let sizes = |s: &Sizes| [s.hidden, s.layers.max(1), s.fan_in, s.fan_out].map(|size| size as f64);
        (name.into(), Box::new(move |s| Some(std(sizes(s)))))
    }
    let mut rules = vec![
        rule("0.02", |_| 0.02),
        rule("0.006", |_| 0.006),
        rule("0.01", |_| 0.01),
        rule("1", |_| 1.0),
        rule("1/sqrt(hidden)", |[d, ..]| 1.0 / d.sqrt()),
        rule("sqrt(2/(5 hidden))", |[d, ..]| (0.4 / d).sqrt()),
        rule("2/(layers sqrt(hidden))", |[d, l, ..]| 2.0 / (l * d.sqrt())),
        rule("Kaiming sqrt(2/fan_in)", |[_, _, i, _]| (2.0 / i).sqrt()),
        rule("PyTorch Linear 1/sqrt(3 fan_in)", |[_, _, i, _]| 1.0 / (3.0 * i).sqrt()),
        rule("LeCun 1/sqrt(fan_in)", |[_, _, i, _]| 1.0 / i.sqrt()),
        rule("Xavier sqrt(2/(fan_in+fan_out))", |[_, _, i, o]| (2.0 / (i + o)).sqrt()),
        rule("Xavier with gain 1/sqrt(2)", |[_, _, i, o]| (1.0 / (i + o)).sqrt()),
        rule("Xavier with gain sqrt(2)", |[_, _, i, o]| (4.0 / (i + o)).sqrt()),
        rule("Kaiming fan_out sqrt(2/fan_out)", |[.., o]| (2.0 / o).sqrt()),
        rule("LeCun fan_out 1/sqrt(fan_out)", |[.., o]| 1.0 / o.sqrt()),
        rule("1/sqrt(3 fan_out)", |[.., o]| 1.0 / (3.0 * o).sqrt()),
        rule("1/hidden", |[d, ..]| 1.0 / d),
        rule("1/fan_in", |[_, _, i, _]| 1.0 / i),
        rule("1/sqrt(2 hidden layers)", |[d, l, ..]| 1.0 / (2.0 * d * l).sqrt()),
    ];
    // Projections back into the residual stream, scaled by the depth or by the layer's own place (Mitchell).
    let bases: [Base; 6] = [
        ("0.02", |_| 0.02),
        ("0.006", |_| 0.006),
        ("1/sqrt(hidden)", |[d, ..]| 1.0 / d.sqrt()),
        ("sqrt(2/(5 hidden))", |[d, ..]| (0.4 / d).sqrt()),
        ("1/sqrt(fan_in)", |[_, _, i, _]| 1.0 / i.sqrt()),
        ("0.01", |_| 0.01),
    ];
    for (name, base) in bases {
        rules.push(rule(format!("{name}/sqrt(2 layers)"), move |s| base(s) / (2.0 * s[1]).sqrt()));
    }
    for (name, base) in bases {
        rules.push(rule(format!("{name}/sqrt(layers)"), move |s| base(s) / s[1].sqrt()));
        for (factor, by) in [("2 (layer+1)", 2.0), ("layer+1", 1.0)] {
            let own = move |s: &Sizes| {
                let sizes = [s.hidden, s.layers, s.fan_in, s.fan_out].map(|size| size as f64);
                s.layer.map(|layer| base(sizes) / (by * (f64::from(layer) + 1.0)).sqrt())
            };
            rules.push((format!("{name}/sqrt({factor})"), Box::new(own)));
        }
    }
    rules.extend(NUMBERS.iter().map(|&(name, value)| rule(name, move |_| value)));
    // T5's queries, whose scores are not divided by sqrt(head size).
    for head in [64, 128, 32, 16] {
        rules.push(rule(format!("T5 1/sqrt({head} hidden)"), move |[d, ..]| 1.0 / (f64::from(head) * d).sqrt()));
    }
    // Maximal update: a scale tuned at a small width, carried to this one.
    for width in [128, 256, 512, 1024] {
        let scaled = move |[d, ..]: [f64; 4]| 0.02 * (f64::from(width) / d).sqrt();
        rules.push(rule(format!("muP 0.02 sqrt({width}/hidden)"), scaled));
    }
    rules
}

/// The known rule that the scales of all tensors of a family follow, each within four standard errors and all together
/// too, and the standard deviations that it gives them.
///
/// A cut law has less spread than the normal law that was cut; a rule may speak of either.
#[must_use]
pub fn rule(scales: &[Scale], law: Law) -> Option<(String, Vec<f64>)> {
    if scales.is_empty() || scales.iter().any(|s| !s.std.is_normal() || s.elements == 0) {
        return None;
    }
    let elements: f64 = scales.iter().map(|s| s.elements as f64).sum();
    let pooled = scales.iter().map(|s| (s.error() * s.elements as f64 / elements).powi(2)).sum::<f64>().sqrt();
    // The standard deviations a rule gives, and by how much all together miss them.
    let follow = |std: &dyn Fn(&Sizes) -> Option<f64>, kept: f64| {
        let expected: Vec<f64> = scales.iter().map(|s| Some(std(&s.sizes)? * kept)).collect::<Option<_>>()?;
        let off = |(s, e): (&Scale, &f64)| (s.std / e).ln();
        let each = scales.iter().zip(&expected).all(|pair| off(pair).abs() <= 4.0 * pair.0.error() + SLACK);
        let mean = scales.iter().zip(&expected).map(|pair| off(pair) * pair.0.elements as f64).sum::<f64>() / elements;
        (each && mean.abs() <= 4.0 * pooled + SLACK).then_some((expected, mean.abs()))
    };
    let rules = rules();
    let find = |kept: f64| {
        rules.iter().find_map(|(name, std)| follow(std, kept).map(|(expected, off)| (name.clone(), expected, off)))
    };
    let as_drawn = find(1.0);
    let before = if law.kept() > 0.99 { None } else { find(law.kept()) };
    match (as_drawn, before) {
        (as_drawn, Some((name, expected, off))) if as_drawn.as_ref().is_none_or(|(.., other)| off < *other) => {
            Some((format!("{name} before the cut"), expected))
        }
        (as_drawn, _) => as_drawn.map(|(name, expected, _)| (name, expected)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(std: f64, elements: usize, layer: u32) -> Scale {
        let sizes = Sizes { hidden: 64, layers: 6, layer: Some(layer), fan_in: 64, fan_out: 96 };
        Scale { std, elements, kurtosis: 3.0, sizes }
    }

    fn name(scales: &[Scale], law: Law) -> Option<String> {
        rule(scales, law).map(|(name, _)| name)
    }

    #[test]
    fn rules_are_named() {
        let d = 64f64;
        for (std, expected) in [
            (0.02, "0.02"),
            (0.006, "0.006"),
            (0.02 / 12f64.sqrt(), "0.02/sqrt(2 layers)"),
            (1.0 / (3.0 * d).sqrt(), "PyTorch Linear 1/sqrt(3 fan_in)"),
            ((2.0 / 160f64).sqrt(), "Xavier sqrt(2/(fan_in+fan_out))"),
            ((0.4 / d).sqrt(), "sqrt(2/(5 hidden))"),
            (2.0 / (6.0 * d.sqrt()), "2/(layers sqrt(hidden))"),
            (0.03, "0.03"),
            (1.0 / (64.0 * d).sqrt(), "1/hidden"),
        ] {
            assert_eq!(name(&[scale(std * 1.003, 20_000, 0)], Law::Normal).as_deref(), Some(expected), "{std}");
        }
        assert_eq!(name(&[scale(0.0233, 100_000, 0)], Law::Normal), None);
        assert_eq!(name(&[], Law::Normal), None);
        assert_eq!(name(&[scale(f64::NAN, 10, 0)], Law::Normal), None);
    }

    #[test]
    fn a_scale_by_layer_and_one_before_the_cut() {
        let own: Vec<Scale> = (0..6).map(|l| scale(0.02 / (2.0 * f64::from(l + 1)).sqrt(), 20_000, l)).collect();
        assert_eq!(name(&own, Law::Normal).as_deref(), Some("0.02/sqrt(2 (layer+1))"));
        let cut = [scale(0.02 * Law::TruncatedNormal.kept(), 50_000, 0)];
        assert_eq!(name(&cut, Law::TruncatedNormal).as_deref(), Some("0.02 before the cut"));
        assert_eq!(name(&[scale(0.02, 50_000, 0)], Law::TruncatedNormal).as_deref(), Some("0.02"));
        // Layers that differ follow no rule that has one number.
        let two = [scale(0.02, 20_000, 0), scale(0.03, 20_000, 1)];
        assert_eq!(name(&two, Law::Normal), None);
    }
}
