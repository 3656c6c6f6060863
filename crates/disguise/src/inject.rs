//! What the tests of heads would have said of a parent in disguise: its own products, weakened, held against it again
//! (METHODS 11).

use super::alike::alike;
use super::matrix::narrow;
use super::noise::Noise;
use super::products::{Products, Square};
use scratchproof_measurements::{HeadMatch, HeadPower};

/// Draws of one size of culprit; a test could have spoken if it does in nine of them.
const DRAWS: u64 = 10;

/// Correlations that are tried, falling.
const CORRELATIONS: [f64; 4] = [0.5, 0.3, 0.1, 0.03];

/// The products of a model whose heads are those of `parent` but for noise: in `share` of the key-value heads, spread evenly,
/// every product correlates with the parent's by `correlation`; the others have nothing of it. No change of basis, order of
/// heads or layers, or vocabulary would make another value of it, so none is made.
#[must_use]
pub fn injected(parent: &Products, share: f64, correlation: f64, seed: u64) -> Products {
    let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d);
    let mut own = parent.clone();
    let rho = correlation.clamp(0.0, 1.0);
    // Of every so many heads so many are taken: exact for shares like a half.
    let taken: Vec<bool> =
        (0..own.groups.len()).map(|at| ((at + 1) as f64 * share).floor() > (at as f64 * share).floor()).collect();
    let side = own.side;
    for (group, taken) in own.groups.iter_mut().zip(&taken) {
        let rho = if *taken { rho } else { 0.0 };
        weaken(&mut group.keys, side, rho, true, &mut noise);
        weaken(&mut group.values, side, rho, true, &mut noise);
        for head in &mut group.heads {
            weaken(&mut head.queries, side, rho, true, &mut noise);
            weaken(&mut head.outputs, side, rho, true, &mut noise);
            weaken(&mut head.queries_keys, side, rho, false, &mut noise);
            weaken(&mut head.values_outputs, side, rho, false, &mut noise);
        }
    }
    // Across heads a product has something of the parent only where both heads do.
    let wide = own.cross.dimensions.len();
    let of_row: Vec<bool> = own.cross.groups.iter().flat_map(|g| vec![taken[*g]; wide]).collect();
    for square in [&mut own.cross.keys, &mut own.cross.values] {
        let rows = of_row.len();
        let scale = spread(square, rows);
        for i in 0..rows {
            for j in 0..i {
                let rho = if of_row[i] && of_row[j] { rho } else { 0.0 };
                let value = rho * f64::from(square[i * rows + j]) + (1.0 - rho * rho).sqrt() * scale * noise.normal();
                square[i * rows + j] = narrow(value);
                square[j * rows + i] = narrow(value);
            }
        }
    }
    own
}

/// What of a parent in disguise the tests of heads would have shown at `log10_p` or below, from the parent's products alone.
#[must_use]
pub fn head_power(parent: &Products, log10_p: f64) -> HeadPower {
    let trips = |found: &HeadMatch| {
        let signs = found.signs.iter().map(|t| t.log10_p);
        signs.chain(found.tests.iter().map(|t| t.log10_p)).any(|p| p <= log10_p)
    };
    let speaks = |share: f64, correlation: f64| {
        let spoken = (0..DRAWS).filter(|seed| trips(&alike(&injected(parent, share, correlation, *seed), parent)));
        spoken.count() as u64 * 10 >= DRAWS * 9
    };
    let correlation = CORRELATIONS.iter().copied().take_while(|rho| speaks(1.0, *rho)).last();
    HeadPower { whole: speaks(1.0, 1.0), half: speaks(0.5, 1.0), correlation }
}

/// A square whose entries (off the diagonal where it is a Gram matrix) keep a correlation of `rho` and their spread.
fn weaken(square: &mut Square, side: usize, rho: f64, gram: bool, noise: &mut Noise) {
    let scale = spread(square, side);
    for i in 0..side {
        let end = if gram { i } else { side };
        for j in 0..end {
            let value = rho * f64::from(square[i * side + j]) + (1.0 - rho * rho).sqrt() * scale * noise.normal();
            square[i * side + j] = narrow(value);
            if gram {
                square[j * side + i] = narrow(value);
            }
        }
    }
}

/// Root mean square of what stands off the diagonal.
fn spread(square: &Square, side: usize) -> f64 {
    let off = square.iter().enumerate().filter(|(at, _)| at / side.max(1) != at % side.max(1));
    let sum: f64 = off.map(|(_, v)| f64::from(*v).powi(2)).sum();
    (sum / (side * side.saturating_sub(1)).max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::super::products::{Cross, Group, Head};
    use super::*;

    /// Heads of random rows: 5 layers of two key-value heads with two query heads each, 16 dimensions of 64.
    fn random(seed: u64) -> Products {
        let mut noise = Noise(seed);
        let (side, hidden) = (16, 64);
        let mut rows = |count: usize| -> Vec<f32> {
            let values: Vec<f32> = (0..count * hidden).map(|_| narrow(noise.normal())).collect();
            let unit = |row: &[f32]| {
                let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
                row.iter().map(|v| narrow(f64::from(*v) / norm)).collect::<Vec<f32>>()
            };
            values.chunks(hidden).flat_map(unit).collect()
        };
        let product = |a: &[f32], b: &[f32]| scratchproof_kernel::product(a, b, hidden);
        let (mut groups, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for layer in 0..5 {
            for group in 0..2 {
                let (k, v) = (rows(side), rows(side));
                let heads = (0..2)
                    .map(|h| {
                        let (q, o) = (rows(side), rows(side));
                        Head {
                            head: group * 2 + h,
                            queries: product(&q, &q),
                            queries_keys: product(&q, &k),
                            outputs: product(&o, &o),
                            values_outputs: product(&v, &o),
                        }
                    })
                    .collect();
                groups.push(Group { layer, group, keys: product(&k, &k), values: product(&v, &v), heads });
                keys.extend(k);
                values.extend(v);
            }
        }
        let cross = Cross {
            groups: (0..groups.len()).collect(),
            dimensions: (0..side).collect(),
            keys: product(&keys, &keys),
            values: product(&values, &values),
        };
        Products { hidden, dim: side, side, layers: 5, groups, cross }
    }

    #[test]
    fn a_parent_is_found_in_itself_and_strangers_are_not() {
        let parent = random(1);
        let found = alike(&parent, &parent);
        assert_eq!((found.tests[0].agreed, found.tests[0].of), (20, 20));
        assert!(found.signs.iter().all(|t| t.agreed == t.of && t.correlation > 0.999), "{:?}", found.signs);
        assert_eq!(found.layers(), (0..5).map(|l| (l, l)).collect());
        let mut least = [0.0_f64; 2];
        for seed in 2..42 {
            let found = alike(&parent, &random(seed));
            least[0] = found.signs.iter().map(|t| t.log10_p).fold(least[0], f64::min);
            least[1] = found.tests.iter().map(|t| t.log10_p).fold(least[1], f64::min);
        }
        assert!(least.iter().all(|p| *p > -3.5), "{least:?}");
    }

    /// Layers in another order and left out, heads in another order: the same figures in other places.
    #[test]
    fn order_and_depth_do_not_matter() {
        let parent = random(1);
        let mut own = injected(&parent, 1.0, 0.7, 3);
        own.groups.retain(|g| g.layer != 2);
        for group in &mut own.groups {
            group.layer = 4 - group.layer;
            group.heads.reverse();
        }
        let kept: Vec<usize> = (0..10).filter(|at| !(4..6).contains(at)).collect();
        let part = |square: &Square| -> Square {
            let rows: Vec<usize> = kept.iter().flat_map(|g| g * 16..(g + 1) * 16).collect();
            rows.iter().flat_map(|i| rows.iter().map(move |j| square[i * 160 + j])).collect()
        };
        own.cross = Cross {
            keys: part(&own.cross.keys),
            values: part(&own.cross.values),
            groups: (0..8).collect(),
            dimensions: own.cross.dimensions.clone(),
        };
        let found = alike(&own, &parent);
        assert_eq!(found.tests[0].agreed, 16, "{found:?}");
        assert!(found.signs.iter().all(|t| t.log10_p < -8.0), "{:?}", found.signs);
        assert_eq!(found.layers(), [(0, 4), (1, 3), (3, 1), (4, 0)].into());
    }

    #[test]
    fn power_falls_with_the_culprit() {
        let power = head_power(&random(1), -4.0);
        assert!(power.whole && power.half, "{power:?}");
        let least = power.correlation.expect("a correlation");
        assert!((0.1..=0.5).contains(&least), "{power:?}");
    }
}
