//! The residual cross-Gram over the kept rows of a model (METHODS 2.1).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use scratchproof_kernel::{Rows, Sums, normalise, trace};
use scratchproof_measurements::{ALL, Kept, Plan, ResidualFigure};

/// The kept rows of all models, laid out alike: a part for the language model, which stands for the whole model, and one
/// for each tower, which has a residual axis of its own.
pub struct Residual<'a> {
    plan: &'a Plan,
    all: &'a [Kept],
    parts: Vec<Part>,
}

/// The rows of one tower.
struct Part {
    /// Length of the residual axis.
    hidden: usize,
    /// Whether its sum over all components is that of the whole model.
    lead: bool,
    /// The components.
    components: Vec<String>,
    /// The rows over the whole axis; then, where rows of the model were drawn, those over the drawn part of it.
    blocks: Vec<Block>,
}

/// Rows of one length.
struct Block {
    hidden: usize,
    /// Units by component, in the order of the components.
    layout: Vec<Vec<usize>>,
    models: Vec<Rows>,
}

impl<'a> Residual<'a> {
    /// Lays out what was kept of all units; `None` if the subject has no residual axis.
    #[must_use]
    pub fn new(plan: &'a Plan, all: &'a [Kept]) -> Option<Self> {
        let mut residual = Self { plan, all, parts: Vec::new() };
        for (tower, &hidden) in &plan.axes {
            let mut components: BTreeMap<String, BTreeMap<usize, Vec<usize>>> = BTreeMap::new();
            for (index, unit) in plan.units.iter().enumerate() {
                let Some(view) = unit.view.filter(|_| unit.in_subject() && unit.role.tower == *tower) else { continue };
                if !unit.kept.is_empty() {
                    let component = components.entry(unit.role.judged_as().to_owned()).or_default();
                    component.entry(view.hidden()).or_default().push(index);
                }
            }
            if components.is_empty() {
                continue;
            }
            let lengths: BTreeSet<usize> = components.values().flat_map(BTreeMap::keys).copied().collect();
            let block = |length: usize| {
                let layout: Vec<Vec<usize>> =
                    components.values().map(|own| own.get(&length).cloned().unwrap_or_default()).collect();
                let mut block = Block { hidden: length, layout, models: Vec::new() };
                block.models = (0..plan.models())
                    .map(|model| residual.lay_out(&block, |unit| residual.kept(unit, model).map(<[f32]>::to_vec)))
                    .collect();
                block
            };
            let blocks = lengths.into_iter().rev().map(block).collect();
            let part =
                Part { hidden, lead: tower == plan.lead(), components: components.into_keys().collect(), blocks };
            residual.parts.push(part);
        }
        (!residual.parts.is_empty()).then_some(residual)
    }

    /// The sums of two models, by component and over the whole model.
    #[must_use]
    pub fn figures(&self, a: usize, b: usize) -> Vec<ResidualFigure> {
        let both = |unit| self.kept(unit, a).is_some() && self.kept(unit, b).is_some();
        let models = of_block(|block| [a, b].map(|model| Cow::Borrowed(&block.models[model])));
        self.parts.iter().flat_map(|part| self.compare(part, &models, both)).collect()
    }

    /// The sums of two models family by family.
    #[must_use]
    pub fn families(&self, a: usize, b: usize) -> BTreeMap<String, ResidualFigure> {
        let mut units: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let Some(part) = self.parts.iter().find(|part| part.lead) else { return BTreeMap::new() };
        for &unit in part.blocks.iter().flat_map(|block| block.layout.iter().flatten()) {
            if self.kept(unit, a).is_some() && self.kept(unit, b).is_some() {
                units.entry(&self.plan.units[unit].role.family).or_default().push(unit);
            }
        }
        let hidden = |units: &[usize]| self.plan.units[units[0]].view.map_or(part.hidden, |view| view.hidden());
        let rows = |units: &[usize], model: usize| {
            let kept = units.iter().flat_map(|&unit| {
                let own = self.kept(unit, model).unwrap_or_default().to_vec();
                weighted(own, self.plan.units[unit].stands_for())
            });
            Rows::whole(kept.collect(), hidden(units))
        };
        units
            .into_iter()
            .map(|(family, units)| {
                let figure = ResidualFigure {
                    component: self.plan.units[units[0]].role.judged_as().to_owned(),
                    hidden: hidden(&units),
                    sums: rows(&units, a).total(&rows(&units, b)),
                    tensors: units.iter().map(|&unit| self.plan.units[unit].stands_for()).sum(),
                    rows: units.iter().map(|&unit| self.plan.units[unit].kept.len()).sum(),
                };
                (family.to_owned(), figure)
            })
            .collect()
    }

    /// The sums of two models after what each shares with the models `given` is projected out of every tensor: the partial
    /// correlation given the start, which tells a common random seed from a copy (METHODS 4), or given other parents,
    /// which tells what one adds to them. A tensor that none of `given` has takes no part.
    #[must_use]
    pub fn partial_figures(&self, a: usize, b: usize, given: &[usize]) -> Vec<ResidualFigure> {
        let without = |unit: usize, model: usize| -> Option<Vec<f32>> {
            let mut basis: Vec<Vec<f32>> = Vec::new();
            for origin in given.iter().filter_map(|&model| self.kept(unit, model)) {
                let mut origin = project(origin, &basis);
                if trace(&origin, &origin) > 1e-10 && normalise(&mut origin) {
                    basis.push(origin);
                }
            }
            let own = self.kept(unit, model).filter(|_| !basis.is_empty())?;
            let mut rest = project(own, &basis);
            // What rounding leaves of a model that equals its start is no difference.
            (trace(&rest, &rest) > 1e-10 && normalise(&mut rest)).then_some(rest)
        };
        let both = |unit| without(unit, a).is_some() && without(unit, b).is_some();
        let models = of_block(|block| [a, b].map(|model| Cow::Owned(self.lay_out(block, |unit| without(unit, model)))));
        self.parts.iter().flat_map(|part| self.compare(part, &models, both)).collect()
    }

    /// A model against a copy of itself with as much noise as weight: a test that does not see this sees nothing.
    ///
    /// The noise is the model's own rows, turned by half of the residual axis: as large, and unrelated under the null.
    #[must_use]
    pub fn perturbed_figures(&self, model: usize) -> Vec<ResidualFigure> {
        let models = of_block(|block| {
            let hidden = block.hidden;
            let disturbed = |unit: usize| -> Option<Vec<f32>> {
                let own = self.kept(unit, model)?;
                let mut rows: Vec<f32> = own
                    .chunks_exact(hidden)
                    .flat_map(|row| (0..hidden).map(|h| row[h] + row[(h + hidden / 2) % hidden]))
                    .collect();
                normalise(&mut rows).then_some(rows)
            };
            [Cow::Borrowed(&block.models[model]), Cow::Owned(self.lay_out(block, disturbed))]
        });
        let present = |unit| self.kept(unit, model).is_some();
        self.parts.iter().flat_map(|part| self.compare(part, &models, present)).collect()
    }

    /// The figures of two models, made of what `models` gives of each block.
    fn compare(
        &self,
        part: &Part,
        models: &impl for<'b> Fn(&'b Block) -> [Cow<'b, Rows>; 2],
        present: impl Fn(usize) -> bool,
    ) -> Vec<ResidualFigure> {
        let hidden = part.hidden;
        let mut by_component: Vec<Vec<(Sums, usize)>> = vec![Vec::new(); part.components.len()];
        let mut total = Vec::new();
        for block in &part.blocks {
            let [a, b] = models(block);
            for (own, sums) in by_component.iter_mut().zip(a.by_part(&b)) {
                own.push((sums, block.hidden));
            }
            if part.lead {
                total.push((a.total(&b), block.hidden));
            }
        }
        let units = |at: usize| part.blocks.iter().flat_map(move |block| &block.layout[at]).copied();
        let mut figures: Vec<ResidualFigure> = (part.components.iter().zip(&by_component).enumerate())
            .map(|(at, (component, sums))| {
                let both = || units(at).filter(|&unit| present(unit)).map(|unit| &self.plan.units[unit]);
                let rows = both().map(|unit| unit.kept.len()).sum();
                let tensors = both().map(scratchproof_measurements::Unit::stands_for).sum();
                ResidualFigure { component: component.clone(), hidden, sums: together(sums, hidden), tensors, rows }
            })
            .collect();
        if part.lead {
            figures.push(ResidualFigure {
                component: ALL.to_owned(),
                hidden,
                sums: together(&total, hidden),
                tensors: figures.iter().map(|f| f.tensors).sum(),
                rows: figures.iter().map(|f| f.rows).sum(),
            });
        }
        figures
    }

    /// The kept rows of one unit of one model, if it has usable ones.
    fn kept(&self, unit: usize, model: usize) -> Option<&[f32]> {
        let slot = self.plan.units[unit].members.iter().position(|m| m.model == model)?;
        let kept = &self.all[unit];
        kept.usable[slot].then(|| kept.rows[slot].as_slice())
    }

    fn lay_out(&self, block: &Block, rows: impl Fn(usize) -> Option<Vec<f32>>) -> Rows {
        let mut values = Vec::new();
        let mut parts = Vec::new();
        for units in &block.layout {
            let start = values.len() / block.hidden;
            for &unit in units {
                let length = self.plan.units[unit].kept.len() * block.hidden;
                match rows(unit) {
                    // A sum stands for as many tensors of norm one.
                    Some(own) => values.extend(weighted(own, self.plan.units[unit].stands_for())),
                    None => values.resize(values.len() + length, 0.0),
                }
            }
            parts.push(start..values.len() / block.hidden);
        }
        Rows::new(values, block.hidden, parts)
    }
}

/// Says that what is made of a block lives as long as the block.
fn of_block<F: for<'b> Fn(&'b Block) -> [Cow<'b, Rows>; 2]>(make: F) -> F {
    make
}

/// The sums over rows of several lengths as if they were over one of `hidden` columns.
///
/// One relabelling of the residual axis stands behind all of them, so that their traces are not independent: the standard
/// deviation of a sum is at most the sum of the standard deviations (Cauchy and Schwarz), and that is what is taken. The test
/// is exact for one length and never too bold for more.
fn together(all: &[(Sums, usize)], hidden: usize) -> Sums {
    let mut told = all.iter().filter(|(sums, _)| sums.frobenius2 > 0.0);
    match (told.next(), told.next()) {
        (None, _) => Sums { trace: 0.0, frobenius2: 0.0 },
        (Some((sums, length)), None) if *length == hidden => *sums,
        _ => {
            let freedom = |length: usize| length.saturating_sub(1).max(1) as f64;
            let deviation: f64 = all.iter().map(|(sums, length)| (sums.frobenius2 / freedom(*length)).sqrt()).sum();
            let trace = all.iter().map(|(sums, _)| sums.trace).sum();
            Sums { trace, frobenius2: deviation * deviation * freedom(hidden) }
        }
    }
}

/// Rows of norm one with the norm of so many tensors.
fn weighted(mut rows: Vec<f32>, tensors: usize) -> Vec<f32> {
    if tensors > 1 {
        #[allow(clippy::cast_possible_truncation, reason = "samples are kept in single precision")]
        let root = (tensors as f64).sqrt() as f32;
        for value in &mut rows {
            *value *= root;
        }
    }
    rows
}

/// What is left of `own` without the directions of `basis`.
fn project(own: &[f32], basis: &[Vec<f32>]) -> Vec<f32> {
    let mut rest = own.to_vec();
    for direction in basis {
        let shared = trace(&rest, direction);
        for (x, s) in rest.iter_mut().zip(direction) {
            #[allow(clippy::cast_possible_truncation)]
            let left = (f64::from(*x) - shared * f64::from(*s)) as f32;
            *x = left;
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use scratchproof_kernel::centre;
    use scratchproof_stats::aligned;

    /// Rows over a whole axis and rows over a drawn part of it, of models that have nothing in common but outlying dimensions:
    /// under relabellings of the axis the test of both together is never too bold, and two equal models are seen.
    #[test]
    fn rows_over_a_part_of_the_axis_add_up_to_a_test_that_is_not_too_bold() {
        let (hidden, part) = (32_usize, 8_usize);
        let mut state = 1_u64;
        let mut draw = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let mut matrix = |rows: usize, outlying: usize| -> Vec<f32> {
            let value =
                |i: usize, noise: usize| noise as f32 / 500.0 - 1.0 + if i % hidden < outlying { 2.0 } else { 0.0 };
            (0..rows * hidden).map(|i| value(i, draw() % 1000)).collect()
        };
        let own = [matrix(12, 6), matrix(40, 6)];
        let other = [matrix(12, 5), matrix(40, 5)];
        let ready = |values: &[f32], order: &[usize], columns: usize| {
            let rows = values.chunks_exact(hidden).flat_map(|row| order[..columns].iter().map(|&c| row[c]));
            let mut rows: Vec<f32> = rows.collect();
            centre(&mut rows, columns);
            assert!(normalise(&mut rows));
            Rows::whole(rows, columns)
        };
        let straight: Vec<usize> = (0..hidden).collect();
        let z = |b: &[Vec<f32>; 2], order: &[usize]| {
            let pair = |at: usize, columns: usize| {
                (ready(&own[at], &straight, columns).total(&ready(&b[at], order, columns)), columns)
            };
            aligned(together(&[pair(0, hidden), pair(1, part)], hidden), 2.0, hidden).unwrap().z
        };
        let mut seed = 7_u64;
        let mut order = straight.clone();
        let zs: Vec<f64> = (0..1500)
            .map(|_| {
                for i in (1..hidden).rev() {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    order.swap(i, (seed >> 33) as usize % (i + 1));
                }
                z(&other, &order)
            })
            .collect();
        let mean = zs.iter().sum::<f64>() / zs.len() as f64;
        let sd = (zs.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / zs.len() as f64).sqrt();
        assert!(mean.abs() < 0.1 && (0.4..1.03).contains(&sd), "mean {mean}, sd {sd}");
        assert!(z(&own, &straight) > 3.0, "{}", z(&own, &straight));
        // One length alone is the exact test.
        let one = ready(&own[0], &straight, hidden).total(&ready(&other[0], &straight, hidden));
        assert_eq!(together(&[(one, hidden)], hidden), one);
    }
}
