//! The residual cross-Gram over the kept rows of a model (METHODS 2.1).

use std::collections::BTreeMap;

use scratchproof_kernel::{Rows, normalise, trace};
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
    hidden: usize,
    /// Whether its sum over all components is that of the whole model.
    lead: bool,
    /// Units by component, in the order of the layout.
    layout: Vec<(String, Vec<usize>)>,
    models: Vec<Rows>,
}

impl<'a> Residual<'a> {
    /// Lays out what was kept of all units; `None` if the subject has no residual axis.
    #[must_use]
    pub fn new(plan: &'a Plan, all: &'a [Kept]) -> Option<Self> {
        let mut residual = Self { plan, all, parts: Vec::new() };
        for (tower, &hidden) in &plan.axes {
            let mut layout: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            for (index, unit) in plan.units.iter().enumerate() {
                if unit.in_subject() && unit.role.tower == *tower && !unit.kept.is_empty() {
                    layout.entry(unit.role.judged_as().to_owned()).or_default().push(index);
                }
            }
            let mut part =
                Part { hidden, lead: tower == plan.lead(), layout: layout.into_iter().collect(), models: Vec::new() };
            if part.layout.is_empty() {
                continue;
            }
            part.models = (0..plan.models())
                .map(|model| residual.lay_out(&part, |unit| residual.kept(unit, model).map(<[f32]>::to_vec)))
                .collect();
            residual.parts.push(part);
        }
        (!residual.parts.is_empty()).then_some(residual)
    }

    /// The sums of two models, by component and over the whole model.
    #[must_use]
    pub fn figures(&self, a: usize, b: usize) -> Vec<ResidualFigure> {
        let both = |unit| self.kept(unit, a).is_some() && self.kept(unit, b).is_some();
        self.parts.iter().flat_map(|part| self.compare(part, &part.models[a], &part.models[b], both)).collect()
    }

    /// The sums of two models family by family.
    #[must_use]
    pub fn families(&self, a: usize, b: usize) -> BTreeMap<String, ResidualFigure> {
        let mut units: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let Some(part) = self.parts.iter().find(|part| part.lead) else { return BTreeMap::new() };
        let hidden = part.hidden;
        for &unit in part.layout.iter().flat_map(|(_, units)| units) {
            if self.kept(unit, a).is_some() && self.kept(unit, b).is_some() {
                units.entry(&self.plan.units[unit].role.family).or_default().push(unit);
            }
        }
        let rows = |units: &[usize], model: usize| {
            let kept = units.iter().flat_map(|&unit| {
                let own = self.kept(unit, model).unwrap_or_default().to_vec();
                weighted(own, self.plan.units[unit].stands_for())
            });
            Rows::whole(kept.collect(), hidden)
        };
        units
            .into_iter()
            .map(|(family, units)| {
                let figure = ResidualFigure {
                    component: self.plan.units[units[0]].role.judged_as().to_owned(),
                    hidden,
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
        let partial = |part: &Part| {
            let [x, y] = [a, b].map(|model| self.lay_out(part, |unit| without(unit, model)));
            self.compare(part, &x, &y, both)
        };
        self.parts.iter().flat_map(partial).collect()
    }

    /// A model against a copy of itself with as much noise as weight: a test that does not see this sees nothing.
    ///
    /// The noise is the model's own rows, turned by half of the residual axis: as large, and unrelated under the null.
    #[must_use]
    pub fn perturbed_figures(&self, model: usize) -> Vec<ResidualFigure> {
        let perturbed = |part: &Part| {
            let hidden = part.hidden;
            let disturbed = |unit: usize| -> Option<Vec<f32>> {
                let own = self.kept(unit, model)?;
                let mut rows: Vec<f32> = own
                    .chunks_exact(hidden)
                    .flat_map(|row| (0..hidden).map(|h| row[h] + row[(h + hidden / 2) % hidden]))
                    .collect();
                normalise(&mut rows).then_some(rows)
            };
            let copy = self.lay_out(part, disturbed);
            self.compare(part, &part.models[model], &copy, |unit| self.kept(unit, model).is_some())
        };
        self.parts.iter().flat_map(perturbed).collect()
    }

    fn compare(&self, part: &Part, a: &Rows, b: &Rows, present: impl Fn(usize) -> bool) -> Vec<ResidualFigure> {
        let sums = a.by_part(b);
        let hidden = part.hidden;
        let mut figures: Vec<ResidualFigure> = part
            .layout
            .iter()
            .zip(sums)
            .map(|((component, units), sums)| {
                let both: Vec<usize> = units.iter().copied().filter(|&unit| present(unit)).collect();
                let rows = both.iter().map(|&unit| self.plan.units[unit].kept.len()).sum();
                let tensors = both.iter().map(|&unit| self.plan.units[unit].stands_for()).sum();
                ResidualFigure { component: component.clone(), hidden, sums, tensors, rows }
            })
            .collect();
        if part.lead {
            figures.push(ResidualFigure {
                component: ALL.to_owned(),
                hidden,
                sums: a.total(b),
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

    fn lay_out(&self, part: &Part, rows: impl Fn(usize) -> Option<Vec<f32>>) -> Rows {
        let mut values = Vec::new();
        let mut parts = Vec::new();
        for (_, units) in &part.layout {
            let start = values.len() / part.hidden;
            for &unit in units {
                let length = self.plan.units[unit].kept.len() * part.hidden;
                match rows(unit) {
                    // A sum stands for as many tensors of norm one.
                    Some(own) => values.extend(weighted(own, self.plan.units[unit].stands_for())),
                    None => values.resize(values.len() + length, 0.0),
                }
            }
            parts.push(start..values.len() / part.hidden);
        }
        Rows::new(values, part.hidden, parts)
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
