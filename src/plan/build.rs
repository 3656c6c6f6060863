//! From catalogues to a plan.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::{KERNEL_VERSION, Member, Plan, Unit};
use crate::checkpoint::{Checkpoint, Correspondence, Residual, Side, TensorRecord};
use crate::kernel::View;

/// Rows of a tensor that its own column test samples at least; 64 rows of 4,096 columns see a correlation of 0.01 at
/// five sigma (METHODS 2).
const LEAST_ROWS: usize = 64;

/// Elements of one tensor's sample beyond `LEAST_ROWS`: small models are sampled whole.
const SAMPLE_ELEMENTS: usize = 1 << 16;

/// Memory for the rows kept for the model-wide tests, over all models.
const KEPT_BYTES: usize = 192 << 20;

/// Operations that the model-wide tests may cost for each element read. They are of the order of what a core does in
/// the time in which it reads the element.
const KEPT_OPERATIONS: f64 = 2.0;

/// Rows kept over the whole model, if it has them, whatever they cost.
const LEAST_KEPT: usize = 512;

/// The models of a case, opened.
pub struct Material {
    /// Checkpoints of the series by ascending step.
    pub series: Series,
    /// Parents, then controls.
    pub references: Vec<Checkpoint>,
}

/// The checkpoints of the series that are of one architecture.
pub struct Series {
    /// By ascending step.
    pub checkpoints: Vec<Checkpoint>,
    /// Position in the case file's series and reason of those that were left out: they are of another architecture.
    pub left_out: Vec<(usize, String)>,
}

impl Series {
    /// Keeps the checkpoints that share at least half of their tensors, by name and shape, with the final one: folders
    /// of real projects hold leftovers of earlier runs.
    #[must_use]
    pub fn new(checkpoints: Vec<Checkpoint>) -> Self {
        let Some(last) = checkpoints.last() else { return Self { checkpoints, left_out: Vec::new() } };
        let own: BTreeSet<_> = last.tensors.iter().map(|t| (t.name.clone(), t.shape.clone())).collect();
        let mut left_out = Vec::new();
        let mut kept = Vec::new();
        for (position, checkpoint) in checkpoints.into_iter().enumerate() {
            let shared = checkpoint.tensors.iter().filter(|t| own.contains(&(t.name.clone(), t.shape.clone()))).count();
            if 2 * shared < own.len().max(checkpoint.tensors.len()) {
                left_out.push((
                    position,
                    format!(
                        "{} of its {} tensors have the name and shape of one of the final checkpoint's {}: another architecture",
                        shared,
                        checkpoint.tensors.len(),
                        own.len()
                    ),
                ));
            } else {
                kept.push(checkpoint);
            }
        }
        Self { checkpoints: kept, left_out }
    }
}

impl Plan {
    /// Plans the measurement of a series against its references.
    ///
    /// # Panics
    /// If the series is empty: a case file names at least one checkpoint.
    #[must_use]
    pub fn new(material: &Material) -> Self {
        let series = &material.series.checkpoints;
        let subject = series.last().expect("a series has a checkpoint");
        let hidden = subject.hidden_size();
        let mut skipped: Vec<(String, String)> =
            subject.skipped.iter().map(|s| (s.tensor.clone(), s.why.clone())).collect();
        let mut members = series_members(series, &mut skipped);
        let mut extra = Vec::new();
        for (index, reference) in material.references.iter().enumerate() {
            let model = series.len() + index;
            let correspondence = Correspondence::between(subject, reference);
            let mut paired = BTreeSet::new();
            for &(own, other) in &correspondence.pairs {
                paired.insert(other);
                if let Some(list) = members.get_mut(subject.tensors[own].name.as_str()) {
                    list.push(member(model, &reference.tensors[other]));
                }
            }
            for mismatch in correspondence.mismatches.iter().filter(|m| m.side == Side::First) {
                // A reference in the subject's packaging says itself what it could not be put into.
                let at = reference.skipped.binary_search_by(|skipped| skipped.tensor.cmp(&mismatch.tensor));
                let why = at.map_or(&mismatch.reason, |at| &reference.skipped[at].why);
                skipped.push((mismatch.tensor.clone(), format!("{}: {why}", reference.uri)));
            }
            // Layers of the reference that the subject does not have by that number still belong in the layer map.
            let alike: BTreeSet<_> = subject.tensors.iter().map(layer_key).collect();
            for (i, tensor) in reference.tensors.iter().enumerate() {
                if !paired.contains(&i) && tensor.role.layer.is_some() && alike.contains(&layer_key(tensor)) {
                    extra.push((model, tensor));
                }
            }
        }
        let mut units: Vec<Unit> = subject
            .tensors
            .iter()
            .filter_map(|tensor| members.remove(tensor.name.as_str()).map(|members| unit(tensor, members, hidden)))
            .collect();
        units.extend(extra.into_iter().map(|(model, tensor)| unit(tensor, vec![member(model, tensor)], hidden)));
        let models = series.len() + material.references.len();
        keep(&mut units, models, hidden);
        for unit in &mut units {
            unit.id = id(unit, material);
        }
        skipped.sort();
        skipped.dedup();
        Self { series: series.len(), references: material.references.len(), hidden, units, skipped }
    }
}

fn member(model: usize, tensor: &TensorRecord) -> Member {
    Member { model, shard: tensor.shard, dtype: tensor.dtype, offset: tensor.offset }
}

/// The copies of every tensor of the final checkpoint that all checkpoints have in one shape.
fn series_members<'a>(series: &'a [Checkpoint], skipped: &mut Vec<(String, String)>) -> BTreeMap<&'a str, Vec<Member>> {
    let mut members = BTreeMap::new();
    let Some(subject) = series.last() else { return members };
    'tensor: for tensor in &subject.tensors {
        let mut list = Vec::new();
        for (model, checkpoint) in series.iter().enumerate() {
            match checkpoint.find(&tensor.name) {
                Some(own) if own.shape == tensor.shape => list.push(member(model, own)),
                Some(own) => {
                    let why = format!("{}: shape {:?} against {:?}", checkpoint.uri, own.shape, tensor.shape);
                    skipped.push((tensor.name.clone(), why));
                    continue 'tensor;
                }
                None => {
                    skipped.push((tensor.name.clone(), format!("{}: has no such tensor", checkpoint.uri)));
                    continue 'tensor;
                }
            }
        }
        members.insert(tensor.name.as_str(), list);
    }
    members
}

fn layer_key(tensor: &TensorRecord) -> (&str, &str, Option<u32>, &[usize]) {
    (&tensor.role.tower, &tensor.role.family, tensor.role.expert, &tensor.shape)
}

fn unit(tensor: &TensorRecord, members: Vec<Member>, hidden: Option<usize>) -> Unit {
    let view = if tensor.role.constant { None } else { view(tensor) };
    // A tower has a residual axis of its own length; only the language model's is shared by the model-wide tests.
    let view =
        view.filter(|v| tensor.role.tower.is_empty() && Some(v.hidden()) == hidden || !tensor.role.tower.is_empty());
    let sampled = view.map_or(Vec::new(), |v| v.spread(LEAST_ROWS.max(SAMPLE_ELEMENTS / v.hidden())));
    Unit {
        id: String::new(),
        tensor: tensor.name.clone(),
        role: tensor.role.clone(),
        shape: tensor.shape.clone(),
        members,
        view,
        sampled,
        kept: Vec::new(),
    }
}

/// The tensor as a matrix with the residual axis as columns.
fn view(tensor: &TensorRecord) -> Option<View> {
    let view = match (tensor.role.residual, tensor.shape.as_slice()) {
        (Residual::Columns, [outer @ .., rows, cols]) => {
            View { outer: outer.iter().product(), rows: *rows, cols: *cols, transposed: false }
        }
        (Residual::Rows, [outer @ .., rows, cols]) => {
            View { outer: outer.iter().product(), rows: *rows, cols: *cols, transposed: true }
        }
        _ => return None,
    };
    (view.hidden() > 2 && view.count() > 0).then_some(view)
}

/// Chooses the rows that are kept for the model-wide tests: an equal share for every component, divided evenly over its
/// tensors, as many as memory and time allow. The choice depends on role and shape only, so that tensors of two layers
/// keep the same rows.
fn keep(units: &mut [Unit], models: usize, hidden: Option<usize>) {
    let Some(hidden) = hidden else { return };
    let elements: f64 = units.iter().map(|u| (u.elements() * u.members.len()) as f64).sum();
    let affordable = (KEPT_OPERATIONS * elements / (hidden * models) as f64).sqrt();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rows = (affordable as usize).max(LEAST_KEPT).min(KEPT_BYTES / (4 * hidden * models)).max(64);
    let mut sizes: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for unit in units.iter().filter(|u| u.in_subject() && !u.sampled.is_empty()) {
        let size = sizes.entry(unit.role.judged_as().to_owned()).or_default();
        size.0 += 1;
        size.1 += unit.sampled.len();
    }
    let small = sizes.values().map(|s| s.1).sum::<usize>() <= rows.max(small_model(hidden, models));
    let share = rows / sizes.len().max(1);
    for unit in units.iter_mut().filter(|u| u.view.is_some_and(|v| v.hidden() == hidden)) {
        let Some(&(tensors, _)) = sizes.get(unit.role.judged_as()) else { continue };
        let each = if small { unit.sampled.len() } else { (share / tensors).max(4).min(unit.sampled.len()) };
        // Where there are more tensors than rows (hundreds of experts), only some of the experts are kept.
        let stride = (4 * tensors).div_ceil(share.max(1));
        if !small && stride > 1 && unit.role.expert.is_some_and(|e| !(e as usize).is_multiple_of(stride)) {
            continue;
        }
        unit.kept = (0..each).map(|i| (2 * i + 1) * unit.sampled.len() / (2 * each)).collect();
    }
}

/// Rows that cost little because the residual axis is short: then A^T B is made directly, hidden^2 a row and pair.
fn small_model(hidden: usize, models: usize) -> usize {
    if hidden <= 256 { KEPT_BYTES / (4 * hidden * models) } else { 0 }
}

/// SHA-256 over what decides the figures of a unit.
fn id(unit: &Unit, material: &Material) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{KERNEL_VERSION}\n{:?}\n{:?}\n{:?}\n{:?}\n", unit.shape, unit.view, unit.sampled, unit.kept));
    let models: Vec<&Checkpoint> = material.series.checkpoints.iter().chain(&material.references).collect();
    for m in &unit.members {
        let checkpoint = models[m.model];
        let shard = &checkpoint.shards[m.shard];
        hash.update(format!("{}\n{}\n{}\n{:?}\n{}\n", checkpoint.uri, shard.name, shard.blob.len(), m.dtype, m.offset));
    }
    hash.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}
