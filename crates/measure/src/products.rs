//! From the kept rows of all tensors to what a judge asks of them.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::drawn::drawn;
use super::layers::layer_map;
use super::matched_rows::matched_rows;
use super::residual::Residual;
use super::row_angles::row_angles;
use super::signs::{row_lines, sign_figures};
use scratchproof_error::{Error, Result};
use scratchproof_kernel::{Form, trace};
use scratchproof_measurements::{Between, Kept, KeptProducts, PairOfTensors, Plan, TensorFigures, Trails, Unit};
use scratchproof_stats::draw;
use scratchproof_texts::text;

/// What is asked beyond what every audit needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// Whether the subject is a series of checkpoints, which has a start and a path.
    pub series: bool,
    /// Whether every two models are held against each other, by family too.
    pub every_pair: bool,
    /// Whether it is asked what the search for a disguise would have seen of a parent that was hidden on purpose.
    pub power: bool,
}

/// Makes all products.
///
/// # Errors
/// If rows were not kept.
pub fn products(plan: &Plan, tensors: &[TensorFigures], kept: &[Kept], asked: Asked) -> Result<KeptProducts> {
    let lacks = |(unit, own): (&Unit, &Kept)| {
        unit.view.is_some() && !unit.kept.is_empty() && own.rows.iter().all(Vec::is_empty)
    };
    if plan.units.iter().zip(kept).any(lacks) {
        return Err(Error::input(text!("error-measure/products/store-lacks-kept-rows")));
    }
    let residual = Residual::new(plan, kept);
    let mut products = residual.map_or_else(KeptProducts::default, |residual| over_models(plan, &residual, asked));
    products.layer_maps = layer_maps(plan, asked)
        .into_iter()
        .map(|(own, other)| ((own, other), layer_map(plan, kept, own, other)))
        .collect();
    products.drawn = drawn(plan, kept);
    products.matched = matched_rows(plan, kept);
    products.angles = row_angles(plan, kept);
    if asked.series {
        products.start = start_pairs(plan, tensors, kept);
    }
    if plan.series > 1 {
        let trails = Trails::new(plan, tensors);
        products.signs = sign_figures(plan, kept, &trails);
        products.row_lines = row_lines(plan, kept, &trails);
    }
    Ok(products)
}

/// Sums over the whole model and by component.
fn over_models(plan: &Plan, residual: &Residual, asked: Asked) -> KeptProducts {
    let last = plan.last();
    let parents: Vec<usize> = (plan.series..plan.series + plan.parents).collect();
    let pairs = pairs(plan, asked);
    let between =
        pairs.par_iter().map(|&models| Between { models, figures: residual.figures(models.0, models.1) }).collect();
    let given_start = parents.iter().filter(|_| last > 0);
    let given_others = parents.iter().filter(|_| parents.len() > 1);
    let others = |model: usize| parents.iter().copied().filter(|&other| other != model).collect::<Vec<_>>();
    let families: Vec<(usize, usize)> = if asked.every_pair { given_pairs(plan) } else { Vec::new() };
    KeptProducts {
        between,
        perturbed: parents.iter().map(|&model| (model, residual.perturbed_figures(model))).collect(),
        given_start: given_start.map(|&model| (model, residual.partial_figures(last, model, &[0]))).collect(),
        given_others: given_others
            .map(|&model| (model, residual.partial_figures(last, model, &others(model))))
            .collect(),
        families: families.into_iter().map(|pair| (pair, residual.families(pair.0, pair.1))).collect(),
        ..KeptProducts::default()
    }
}

/// Every two models that the case names.
fn given_pairs(plan: &Plan) -> Vec<(usize, usize)> {
    let models = plan.series + plan.references;
    (0..models).flat_map(|a| (a + 1..models).map(move |b| (a, b))).collect()
}

/// Every checkpoint against the first, the one before and every reference; every parent against the other references, as
/// they stand.
fn pairs(plan: &Plan, asked: Asked) -> Vec<(usize, usize)> {
    let after = plan.series..plan.models();
    let mut pairs = Vec::new();
    for t in 0..plan.series {
        if t > 0 {
            pairs.push((t, 0));
            if t > 1 {
                pairs.push((t, t - 1));
            }
        }
        pairs.extend(after.clone().map(|model| (t, model)));
    }
    for parent in plan.series..plan.series + plan.parents {
        let others = (plan.series..plan.series + plan.references).filter(|other| *other != parent);
        pairs.extend(others.map(|other| (parent, other)));
    }
    if asked.every_pair {
        let more: Vec<_> = given_pairs(plan).into_iter().filter(|pair| !pairs.contains(pair)).collect();
        pairs.extend(more);
    }
    pairs
}

/// The final checkpoint against every other model and against itself, and the first against itself.
fn layer_maps(plan: &Plan, asked: Asked) -> Vec<(usize, usize)> {
    let last = plan.last();
    let mut wanted: Vec<(usize, usize)> = (plan.series..plan.models()).map(|model| (last, model)).collect();
    wanted.push((last, last));
    if asked.series && last > 0 {
        wanted.push((0, 0));
    }
    wanted
}

/// Tensors of one layer and shape beyond which only neighbours are held against each other.
const MANY: usize = 16;

/// Every matrix of the first checkpoint against those of its tower, layer and shape, and against that of its family in the
/// next layer; the kept rows, each less its mean.
fn start_pairs(plan: &Plan, tensors: &[TensorFigures], kept: &[Kept]) -> Vec<PairOfTensors> {
    let mut layers: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    let mut next: BTreeMap<_, usize> = BTreeMap::new();
    for (index, (unit, figures)) in plan.units.iter().zip(tensors).enumerate() {
        let role = &unit.role;
        let (Some(view), true, false) = (unit.view, unit.in_subject() && role.known, role.constant) else { continue };
        let drawn = figures.start.as_ref().map(draw).is_some_and(|d| d.form == Form::Free && d.orthogonal.is_none());
        let length = kept[index].rows.first().map_or(0, Vec::len);
        // Position embeddings may be a formula, and equal ones are no copies.
        if length == 0 || !kept[index].usable[0] || !drawn || role.family.contains("position") {
            continue;
        }
        let shape = (&role.tower, view.hidden(), length);
        layers.entry((shape, role.layer)).or_default().push(index);
        next.insert((shape, &role.family, role.expert, role.layer), index);
    }
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for group in layers.values() {
        for (b, &second) in group.iter().enumerate() {
            for (a, &first) in group[..b].iter().enumerate() {
                if group.len() <= MANY || a == 0 || a + 1 == b {
                    pairs.push((first, second));
                }
            }
        }
    }
    for (&(shape, family, expert, layer), &index) in &next {
        let after = layer.and_then(|l| next.get(&(shape, family, expert, Some(l.checked_add(1)?))));
        pairs.extend(after.map(|&other| (index, other)));
    }
    pairs.retain(|&(a, b)| !is_one(&plan.units[a], &plan.units[b]));
    let pearson = |&units: &(usize, usize)| PairOfTensors {
        units,
        pearson: trace(&kept[units.0].rows[0], &kept[units.1].rows[0]),
    };
    pairs.par_iter().map(pearson).collect()
}

/// Whether two tensors are one: an embedding that serves as head.
fn is_one(a: &Unit, b: &Unit) -> bool {
    let tied = |x: &Unit, y: &Unit| x.role.family.contains("embedding") && y.role.family.contains("head");
    let place = |unit: &Unit| (unit.members[0].shard, unit.members[0].offset);
    tied(a, b) || tied(b, a) || place(a) == place(b)
}
