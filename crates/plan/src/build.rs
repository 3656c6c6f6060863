//! From catalogues to a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use scratchproof_checkpoint::{Checkpoint, Correspondence, Residual, Side, TensorRecord};
use scratchproof_error::hexadecimal::hex;
use scratchproof_kernel::View;
use scratchproof_measurements::{KERNEL_VERSION, Member, Plan, Pool, SearchRules, Unit};

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
    pub references: Vec<Arc<Checkpoint>>,
    /// How many of them are parents.
    pub parents: usize,
    /// Parents written in the subject's coordinates, each with its place among the references.
    pub relabelled: Vec<(usize, Checkpoint)>,
}

impl Material {
    /// Every model, in the order of the plan: the series, the references, the relabelled.
    #[must_use]
    pub fn models(&self) -> Vec<&Checkpoint> {
        self.given().into_iter().chain(self.relabelled.iter().map(|(_, checkpoint)| checkpoint)).collect()
    }

    /// The models that the case names: the series and the references.
    #[must_use]
    pub fn given(&self) -> Vec<&Checkpoint> {
        self.series.checkpoints.iter().chain(self.references.iter().map(AsRef::as_ref)).collect()
    }
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

/// Plans the measurement of a series against its references.
///
/// # Panics
/// If the series is empty: a case file names at least one checkpoint.
#[must_use]
pub fn plan(material: &Material) -> Plan {
    let series = &material.series.checkpoints;
    let subject = series.last().expect("a series has a checkpoint");
    let axes: BTreeMap<String, usize> = subject.axes().into_iter().map(|(t, n)| (t.to_owned(), n)).collect();
    let drawn = subject.drawn_axes();
    let mut skipped: Vec<(String, String)> =
        subject.skipped.iter().map(|s| (s.tensor.clone(), s.why.clone())).collect();
    let mut members = series_members(series, &mut skipped);
    // Tensors of which some copy is computed: a checkpoint may have learnt on from what another model has as it is.
    let mut formulas: BTreeSet<&str> = BTreeSet::new();
    for checkpoint in series {
        formulas.extend(checkpoint.tensors.iter().filter(|t| t.role.constant).map(|t| t.name.as_str()));
    }
    let mut extra = Vec::new();
    let mut meetings = Vec::new();
    for (model, reference) in material.models().into_iter().enumerate().skip(series.len()) {
        let given = model < series.len() + material.references.len();
        let correspondence = Correspondence::between(subject, reference);
        let mut paired = BTreeSet::new();
        for &(own, other) in &correspondence.pairs {
            paired.insert(other);
            if reference.tensors[other].role.constant {
                formulas.insert(&subject.tensors[own].name);
            }
            if let Some(list) = members.get_mut(subject.tensors[own].name.as_str()) {
                list.push(member(model, &reference.tensors[other]));
            }
        }
        for mismatch in correspondence.mismatches.iter().filter(|m| given && m.side == Side::First) {
            // A reference in the subject's packaging says itself what it could not be put into.
            let at = reference.skipped.binary_search_by(|skipped| skipped.tensor.cmp(&mismatch.tensor));
            let why = at.map_or(&mismatch.reason, |at| &reference.skipped[at].why);
            skipped.push((mismatch.tensor.clone(), format!("{}: {why}", reference.uri)));
        }
        // Layers of the reference that the subject does not have by that number still belong in the layer map.
        let alike: BTreeSet<_> = subject.tensors.iter().map(|t| layer_key(&t.role.tower, t)).collect();
        for (i, tensor) in reference.tensors.iter().enumerate() {
            if paired.contains(&i) || tensor.role.layer.is_none() {
                continue;
            }
            let met = correspondence.towers.iter().filter(|m| m.other.as_ref() == Some(&tensor.role.tower));
            extra.extend(
                met.filter(|m| alike.contains(&layer_key(&m.tower, tensor))).map(|m| (model, m.tower.clone(), tensor)),
            );
        }
        if given {
            // In the subject's packaging its towers have the subject's names.
            meetings.push(if reference.met.is_empty() { correspondence.towers } else { reference.met.clone() });
        }
    }
    let mut units: Vec<Unit> = subject
        .tensors
        .iter()
        .filter_map(|tensor| members.remove(tensor.name.as_str()).map(|members| unit(tensor, members, &axes, &drawn)))
        .collect();
    units.extend(extra.into_iter().map(|(model, tower, tensor)| {
        // In the subject's words, so that the layers of both are found under one name.
        let mut own = tensor.clone();
        own.role.tower = tower;
        unit(&own, vec![member(model, tensor)], &axes, &drawn)
    }));
    let models = material.models().len();
    let towers = axes.len().saturating_sub(1).max(1);
    for (place, (tower, hidden)) in axes.iter().enumerate() {
        keep(&mut units, models, tower, *hidden, if place == 0 { KEPT_BYTES } else { KEPT_BYTES / (2 * towers) });
    }
    for unit in &mut units {
        unit.formula = unit.role.constant || formulas.contains(unit.tensor.as_str());
        unit.id = id(unit, material);
    }
    skipped.sort();
    skipped.dedup();
    let references = material.references.len();
    let relabelled = material.relabelled.len();
    let hidden = axes.values().next().copied().or_else(|| subject.hidden_size());
    Plan {
        rules: SearchRules::FIXED,
        series: series.len(),
        parents: material.parents,
        references,
        relabelled,
        hidden,
        axes,
        meetings,
        units,
        skipped,
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

fn layer_key<'a>(tower: &'a str, tensor: &'a TensorRecord) -> (&'a str, &'a str, Option<u32>, &'a [usize]) {
    (tower, &tensor.role.family, tensor.role.expert, &tensor.shape)
}

fn unit(
    tensor: &TensorRecord,
    members: Vec<Member>,
    axes: &BTreeMap<String, usize>,
    drawn: &BTreeMap<String, usize>,
) -> Unit {
    let view = if tensor.role.constant { None } else { view(tensor) };
    // Every tower has a residual axis of its own; where rows are drawn, matrices that have it as rows have those of it, the
    // same in every matrix.
    let tower = &tensor.role.tower;
    let whole = |v: &View| axes.get(tower) == Some(&v.hidden());
    let part = |v: &View| v.transposed && drawn.get(tower) == Some(&v.hidden());
    let view = view.filter(|v| whole(v) || part(v));
    // Numbers along the axis are a vector, however many axes of length 1 they are written with.
    let vector = tensor.role.residual == Residual::Vector && tensor.residual_length() == Some(tensor.elements());
    let sampled = view.map_or(Vec::new(), |v| v.spread(LEAST_ROWS.max(SAMPLE_ELEMENTS / v.hidden())));
    Unit {
        id: String::new(),
        tensor: tensor.name.clone(),
        role: tensor.role.clone(),
        shape: if vector { vec![tensor.elements()] } else { tensor.shape.clone() },
        members,
        view,
        sampled,
        kept: Vec::new(),
        pool: None,
        formula: false,
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
        (Residual::First, [first, rest @ ..]) if !rest.is_empty() => {
            View { outer: 1, rows: *first, cols: rest.iter().product(), transposed: true }
        }
        _ => return None,
    };
    (view.hidden() > 2 && view.count() > 0).then_some(view)
}

/// Chooses the rows of one tower that are kept for its tests as a whole: an equal share for every component, divided
/// evenly over its tensors, as many as memory and time allow. Every tensor takes part: where there are more than rows
/// (hundreds of experts), some experts are kept each by itself and all others of their family and layer as one sum
/// ([`Pool`]). The choice depends on role and shape only, so that tensors of two layers keep the same rows.
fn keep(units: &mut [Unit], models: usize, tower: &str, hidden: usize, bytes: usize) {
    let own: Vec<usize> = (0..units.len()).filter(|at| units[*at].role.tower == tower && votes(&units[*at])).collect();
    let elements: f64 = own.iter().map(|at| (units[*at].elements() * units[*at].members.len()) as f64).sum();
    let affordable = (KEPT_OPERATIONS * elements / (hidden * models) as f64).sqrt();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rows = (affordable as usize).max(LEAST_KEPT).min(bytes / (4 * hidden * models)).max(64);
    let mut sizes: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for unit in own.iter().map(|at| &units[*at]).filter(|u| u.in_subject() && !u.sampled.is_empty()) {
        let size = sizes.entry(unit.role.judged_as().to_owned()).or_default();
        size.0 += 1;
        size.1 += unit.sampled.len();
    }
    let small = sizes.values().map(|s| s.1).sum::<usize>() <= rows.max(small_model(hidden, models, bytes));
    let share = rows / sizes.len().max(1);
    let mut pools: BTreeMap<PoolKey, Vec<usize>> = BTreeMap::new();
    for at in own {
        let unit = &mut units[at];
        let Some(&(tensors, _)) = sizes.get(unit.role.judged_as()).filter(|_| unit.view.is_some()) else { continue };
        let each = if small { unit.sampled.len() } else { (share / tensors).max(4).min(unit.sampled.len()) };
        // Where there are more tensors than rows, only some of the experts are kept each by itself.
        let stride = (4 * tensors).div_ceil(share.max(1));
        if !small && stride > 1 && unit.role.expert.is_some_and(|e| !(e as usize).is_multiple_of(stride)) {
            let role = &unit.role;
            let models = unit.members.iter().map(|m| m.model).collect();
            let key = (role.judged_as().to_owned(), role.family.clone(), role.layer, unit.shape.clone(), models);
            pools.entry(key).or_default().push(at);
            continue;
        }
        unit.kept = spread(each, unit.sampled.len());
    }
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    for ((component, ..), members) in &pools {
        *groups.entry(component.clone()).or_default() += usize::from(units[members[0]].in_subject());
    }
    for ((component, ..), members) in pools {
        let share = share / groups.get(&component).copied().unwrap_or(1).max(1);
        let (into, tensors) = (members[0], members.len());
        let each = share.clamp(POOLED.0, POOLED.1).min(units[into].sampled.len());
        let rows = spread(each, units[into].sampled.len());
        for at in members {
            units[at].pool = Some(Pool { into, tensors, rows: rows.clone() });
        }
        units[into].kept = rows;
    }
}

/// What tensors of one sum have in common: component, family, layer, shape and the models that have them.
type PoolKey = (String, String, Option<u32>, Vec<usize>, Vec<usize>);

/// Rows of a sum of many tensors: at least and at most.
const POOLED: (usize, usize) = (4, 16);

/// `wanted` of `count`, spread evenly.
fn spread(wanted: usize, count: usize) -> Vec<usize> {
    (0..wanted).map(|i| (2 * i + 1) * count / (2 * wanted)).collect()
}

/// Rows that cost little because the residual axis is short: then A^T B is made directly, hidden^2 a row and pair.
fn small_model(hidden: usize, models: usize, bytes: usize) -> usize {
    if hidden <= 256 { bytes / (4 * hidden * models) } else { 0 }
}

/// Whether the tests of a component and of a whole model may count a tensor: positions may have begun as a formula that many have.
/// **Measured** on two GPT-2s trained from two draws whose tables of positions began as sines: correlation 0.57, z 11.9.
fn votes(unit: &Unit) -> bool {
    !unit.role.family.contains("position")
}

/// SHA-256 over what decides the figures of a unit.
fn id(unit: &Unit, material: &Material) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{KERNEL_VERSION}\n{:?}\n{:?}\n{:?}\n{:?}\n", unit.shape, unit.view, unit.sampled, unit.kept));
    // Of what is kept as it stands nothing is added: stores of such models stay good.
    if let Some(pool) = &unit.pool {
        hash.update(format!("{pool:?}\n"));
    }
    let models = material.models();
    for m in &unit.members {
        let checkpoint = models[m.model];
        let shard = &checkpoint.shards[m.shard];
        if let Some(sample) = &checkpoint.sample {
            hash.update(format!("{:?}\n", sample.sampling));
        }
        hash.update(format!("{}\n{}\n{}\n{:?}\n{}\n", checkpoint.uri, shard.name, shard.blob.len(), m.dtype, m.offset));
    }
    hex(&hash.finalize())
}
