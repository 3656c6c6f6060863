//! The residual cross-Gram over the kept rows of a model (METHODS 2.1).

use std::collections::BTreeMap;

use super::{Measured, Plan};
use crate::kernel::{Rows, Sums, normalise, trace};

/// Name of the whole model among the components.
pub const ALL: &str = "all";

/// The sums of one component of two models.
#[derive(Clone, Debug, PartialEq)]
pub struct ResidualFigure {
    /// The component, or [`ALL`].
    pub component: String,
    /// tr(M) and ||M||_F^2.
    pub sums: Sums,
    /// Tensors that took part: the trace that equal models would have.
    pub tensors: usize,
    /// Rows that took part.
    pub rows: usize,
}

/// The kept rows of all models, laid out alike.
pub struct Residual<'a> {
    plan: &'a Plan,
    measured: &'a Measured,
    /// Units by component, in the order of the layout.
    layout: Vec<(String, Vec<usize>)>,
    models: Vec<Rows>,
    hidden: usize,
}

impl<'a> Residual<'a> {
    /// Lays out what was measured; `None` if the subject has no residual axis.
    #[must_use]
    pub fn new(plan: &'a Plan, measured: &'a Measured) -> Option<Self> {
        let hidden = plan.hidden?;
        let mut layout: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, unit) in plan.units.iter().enumerate() {
            if unit.in_subject() && !unit.kept.is_empty() {
                layout.entry(unit.role.judged_as().to_owned()).or_default().push(index);
            }
        }
        let layout: Vec<_> = layout.into_iter().collect();
        if layout.is_empty() {
            return None;
        }
        let mut residual = Self { plan, measured, layout, models: Vec::new(), hidden };
        residual.models = (0..plan.models())
            .map(|model| residual.lay_out(|unit| residual.kept(unit, model).map(<[f32]>::to_vec)))
            .collect();
        Some(residual)
    }

    /// Length of the residual axis.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// The sums of two models, by component and, last, over the whole model.
    #[must_use]
    pub fn figures(&self, a: usize, b: usize) -> Vec<ResidualFigure> {
        self.compare(&self.models[a], &self.models[b], |unit| {
            self.kept(unit, a).is_some() && self.kept(unit, b).is_some()
        })
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
        let (x, y) = (self.lay_out(|unit| without(unit, a)), self.lay_out(|unit| without(unit, b)));
        self.compare(&x, &y, |unit| without(unit, a).is_some() && without(unit, b).is_some())
    }

    /// A model against a copy of itself with as much noise as weight: a test that does not see this sees nothing.
    ///
    /// The noise is the model's own rows, turned by half of the residual axis: as large, and unrelated under the null.
    #[must_use]
    pub fn perturbed_figures(&self, model: usize) -> Vec<ResidualFigure> {
        let disturbed = |unit: usize| -> Option<Vec<f32>> {
            let own = self.kept(unit, model)?;
            let mut rows: Vec<f32> = own
                .chunks_exact(self.hidden)
                .flat_map(|row| (0..self.hidden).map(|h| row[h] + row[(h + self.hidden / 2) % self.hidden]))
                .collect();
            normalise(&mut rows).then_some(rows)
        };
        let copy = self.lay_out(disturbed);
        self.compare(&self.models[model], &copy, |unit| self.kept(unit, model).is_some())
    }

    fn compare(&self, a: &Rows, b: &Rows, present: impl Fn(usize) -> bool) -> Vec<ResidualFigure> {
        let sums = a.by_part(b);
        let mut figures: Vec<ResidualFigure> = self
            .layout
            .iter()
            .zip(sums)
            .map(|((component, units), sums)| {
                let both: Vec<usize> = units.iter().copied().filter(|&unit| present(unit)).collect();
                let rows = both.iter().map(|&unit| self.plan.units[unit].kept.len()).sum();
                ResidualFigure { component: component.clone(), sums, tensors: both.len(), rows }
            })
            .collect();
        figures.push(ResidualFigure {
            component: ALL.to_owned(),
            sums: a.total(b),
            tensors: figures.iter().map(|f| f.tensors).sum(),
            rows: figures.iter().map(|f| f.rows).sum(),
        });
        figures
    }

    /// The kept rows of one unit of one model, if it has usable ones.
    fn kept(&self, unit: usize, model: usize) -> Option<&[f32]> {
        let slot = self.plan.units[unit].members.iter().position(|m| m.model == model)?;
        let figures = &self.measured.tensors[unit];
        figures.usable[slot].then(|| figures.kept[slot].as_slice())
    }

    fn lay_out(&self, rows: impl Fn(usize) -> Option<Vec<f32>>) -> Rows {
        let mut values = Vec::new();
        let mut parts = Vec::new();
        for (_, units) in &self.layout {
            let start = values.len() / self.hidden;
            for &unit in units {
                let length = self.plan.units[unit].kept.len() * self.hidden;
                match rows(unit) {
                    Some(own) => values.extend(own),
                    None => values.resize(values.len() + length, 0.0),
                }
            }
            parts.push(start..values.len() / self.hidden);
        }
        Rows::new(values, self.hidden, parts)
    }
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
