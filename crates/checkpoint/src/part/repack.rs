//! A model in the packaging of another one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::super::tower::meet;
use super::super::{Arrangement, Checkpoint, Correspondence, Skipped, TensorRecord};
use super::{Fill, Key, Part, scale};

/// Layers that only one of two models has, at most: more is a file of strange names.
const DEEPEST: usize = 1 << 12;

/// The parts of a model, by tensor and by what they are.
struct Catalogue<'a> {
    checkpoint: &'a Checkpoint,
    parts: Vec<Part>,
    /// Where the parts of each tensor are in `parts`.
    of_tensor: Vec<std::ops::Range<usize>>,
    by_key: HashMap<Key, usize>,
    /// Tensors that hold several matrices, by tower and layer.
    fused: HashMap<(&'a str, Option<u32>), Vec<&'a TensorRecord>>,
}

/// What is to be in the result: a tensor of the other model, and what it holds.
struct Wanted<'a> {
    tensor: TensorRecord,
    parts: Vec<Part>,
    /// The tensor of the other model; `None` for a layer that only this model has.
    original: Option<&'a TensorRecord>,
    /// This model's tensor of the same function, shape and orientation.
    partner: Option<usize>,
}

impl Checkpoint {
    /// This model in the packaging of `like`: what is stored alike stays where it is under the name that `like` has for
    /// it, the rest is put together from its parts; layers that only this model has are packaged as the others are.
    /// With the tensors of `like` that have no counterpart, and why; they are among the result's skipped ones as well.
    ///
    /// A model without a head has its embedding in place of the head: that is what it computes with.
    #[must_use]
    pub fn in_packaging_of(self: &Arc<Self>, like: &Self) -> (Self, Vec<Skipped>) {
        let own = Catalogue::of(self);
        let theirs = Catalogue::of(like);
        let mut result = Self::empty(self.uri.clone(), self);
        result.shards.clone_from(&self.shards);
        result.unread.clone_from(&self.unread);
        result.untaken.clone_from(&self.untaken);
        result.wrappers.clone_from(&self.wrappers);
        result.met = meet(&like.tensors, &self.tensors);
        let mut without = Vec::new();
        let mut used: HashSet<usize> = HashSet::new();
        for wanted in wanted(&own, &theirs) {
            let Wanted { tensor, parts, original, partner } = wanted;
            // Scales, which go with their weights.
            if parts.is_empty() {
                continue;
            }
            if let Some(partner) = partner.filter(|partner| stored_alike(&own, *partner, &parts)) {
                let TensorRecord { dtype, shape, shard, offset, bytes, .. } = self.tensors[partner].clone();
                result.tensors.push(TensorRecord { dtype, shape, shard, offset, bytes, ..tensor });
                used.insert(partner);
                continue;
            }
            let found: Result<Vec<&Part>, String> = parts.iter().map(|part| own.counterpart(part, &tensor)).collect();
            match found {
                Ok(found) => {
                    used.extend(found.iter().map(|part| part.tensor));
                    let fills: Vec<(&Part, Fill)> =
                        parts.iter().zip(found).map(|(part, source)| (part, fill(self, source))).collect();
                    result.put(&tensor, &fills);
                }
                Err(why) if original.is_some() => without.push(Skipped { tensor: tensor.name, why }),
                Err(_) => {}
            }
        }
        let mut names: BTreeSet<String> = result.tensors.iter().map(|tensor| tensor.name.clone()).collect();
        for (index, tensor) in self.tensors.iter().enumerate() {
            let scale = own.of_tensor[index].is_empty();
            if !used.contains(&index) && !scale && !scale::is_scaled(self, tensor) && names.insert(tensor.name.clone())
            {
                result.tensors.push(tensor.clone());
            }
        }
        result.tensors.sort_by(|a, b| a.name.cmp(&b.name));
        result.skipped.clone_from(&self.skipped);
        result.skipped.extend(without.iter().cloned());
        result.skipped.sort();
        (result, without)
    }
}

/// The models of a case, all in the packaging of the last of the series, so that what has one function in two models is
/// one tensor in both.
#[must_use]
pub fn packaged_alike(
    mut series: Vec<Arc<Checkpoint>>,
    references: Vec<Arc<Checkpoint>>,
) -> (Vec<Checkpoint>, Vec<Checkpoint>) {
    let Some(last) = series.last_mut() else { return (Vec::new(), Vec::new()) };
    // In its own packaging, what has scales is put in plain numbers.
    if last.tensors.iter().any(|tensor| scale::is_scaled(last, tensor)) {
        *last = Arc::new(last.in_packaging_of(last).0);
    }
    let like = Arc::clone(last);
    let repack = |model: Arc<Checkpoint>| {
        let packaged = model.in_packaging_of(&like).0;
        // Where nothing was put together, the names stay as they are, and folders of mixed origin are told apart by them.
        if packaged.shards.len() > model.shards.len() { Arc::new(packaged) } else { model }
    };
    let count = series.len() - 1;
    let mut packaged: Vec<Arc<Checkpoint>> = series.drain(..count).map(repack).collect();
    let references = references.into_iter().map(|model| model.in_packaging_of(&like).0).collect();
    drop(like);
    packaged.extend(series);
    // A model that parts of another one are made from stays shared; what is made of it is another checkpoint.
    let own = |model: Arc<Checkpoint>| Arc::try_unwrap(model).unwrap_or_else(|model| model.in_packaging_of(&model).0);
    (packaged.into_iter().map(own).collect(), references)
}

fn fill(checkpoint: &Arc<Checkpoint>, source: &Part) -> Fill {
    let (checkpoint, source) = (Arc::clone(checkpoint), source.clone());
    Arc::new(move || checkpoint.matrix(&source))
}

/// Whether a tensor holds these parts, in these places, and is read without scales.
fn stored_alike(own: &Catalogue, partner: usize, parts: &[Part]) -> bool {
    let same = |(a, b): (&Part, &Part)| {
        let function = a.role.family == b.role.family && a.role.expert == b.role.expert;
        (function || !a.role.known) && a.place == b.place && (a.rows, a.cols) == (b.rows, b.cols)
    };
    let held = &own.parts[own.of_tensor[partner].clone()];
    held.len() == parts.len()
        && held.iter().zip(parts).all(same)
        && !scale::is_scaled(own.checkpoint, &own.checkpoint.tensors[partner])
}

/// The tensors of the other model, then those for layers that only this model has.
fn wanted<'a>(own: &Catalogue<'a>, theirs: &Catalogue<'a>) -> Vec<Wanted<'a>> {
    let like = theirs.checkpoint;
    let mut partners: HashMap<usize, usize> = Correspondence::between(like, own.checkpoint).pairs.into_iter().collect();
    let mut wanted: Vec<Wanted> = (0..)
        .zip(&like.tensors)
        .map(|(index, tensor)| Wanted {
            tensor: tensor.clone(),
            parts: theirs.parts[theirs.of_tensor[index].clone()].to_vec(),
            original: Some(tensor),
            partner: partners.remove(&index),
        })
        .collect();
    let taken: HashSet<&str> = like.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let layers = |checkpoint: &'a Checkpoint| -> BTreeSet<(&'a str, u32)> {
        let known = checkpoint.tensors.iter().filter(|tensor| tensor.role.known);
        known.filter_map(|tensor| Some((tensor.role.tower.as_str(), tensor.role.layer?))).collect()
    };
    let known = layers(like);
    // The first layer in which `like` has a tensor shows how it is packaged, and under which name.
    let mut patterns: HashMap<(&str, String), usize> = HashMap::new();
    for (index, tensor) in like.tensors.iter().enumerate().filter(|(_, tensor)| tensor.role.known) {
        if let Some(pattern) = tensor.role.layer.and_then(|layer| in_layer(&tensor.name, layer, "{}")) {
            let first = patterns.entry((tensor.role.tower.as_str(), pattern)).or_insert(index);
            if tensor.role.layer < like.tensors[*first].role.layer {
                *first = index;
            }
        }
    }
    let mut patterns: Vec<_> = patterns.into_iter().collect();
    patterns.sort();
    for (tower, layer) in layers(own.checkpoint).difference(&known).take(DEEPEST) {
        for ((of, _), index) in patterns.iter().filter(|((of, _), _)| of == tower) {
            let mut tensor = like.tensors[*index].clone();
            let name = tensor.role.layer.and_then(|from| in_layer(&tensor.name, from, &layer.to_string()));
            let Some(name) = name.filter(|name| !taken.contains(name.as_str())) else { continue };
            tensor.name = name;
            tensor.role.layer = Some(*layer);
            let mut parts = theirs.parts[theirs.of_tensor[*index].clone()].to_vec();
            for part in &mut parts {
                part.role.layer = Some(*layer);
            }
            debug_assert_eq!(of, tower);
            let partner = parts.first().and_then(|part| own.find(part, &tensor)).map(|part| part.tensor);
            let partner = partner.filter(|partner| own.checkpoint.tensors[*partner].shape == tensor.shape);
            wanted.push(Wanted { tensor, parts, original: None, partner });
        }
    }
    wanted
}

/// The name with `to` in place of the layer's number, which stands between dots.
fn in_layer(name: &str, layer: u32, to: &str) -> Option<String> {
    let number = layer.to_string();
    let mut replaced = false;
    let mut change = |part| {
        if !replaced && part == number {
            replaced = true;
            return to.to_owned();
        }
        String::from(part)
    };
    let parts: Vec<String> = name.split('.').map(&mut change).collect();
    replaced.then(|| parts.join("."))
}

impl<'a> Catalogue<'a> {
    fn of(checkpoint: &'a Checkpoint) -> Self {
        let parts = checkpoint.parts();
        let mut by_key = HashMap::with_capacity(parts.len());
        let mut of_tensor = Vec::with_capacity(checkpoint.tensors.len());
        let mut start = 0;
        for index in 0..checkpoint.tensors.len() {
            let length = parts[start..].partition_point(|part| part.tensor == index);
            of_tensor.push(start..start + length);
            start += length;
        }
        for (index, part) in parts.iter().enumerate() {
            by_key.entry(part.key(&checkpoint.tensors[part.tensor])).or_insert(index);
        }
        let mut fused: HashMap<_, Vec<_>> = HashMap::new();
        for tensor in checkpoint.tensors.iter().filter(|tensor| tensor.split.is_some()) {
            fused.entry((tensor.role.tower.as_str(), tensor.role.layer)).or_default().push(tensor);
        }
        Self { checkpoint, parts, of_tensor, by_key, fused }
    }

    /// The part of the same function as one of another model's.
    fn find(&self, part: &Part, tensor: &TensorRecord) -> Option<&Part> {
        self.by_key.get(&part.key(tensor)).map(|index| &self.parts[*index])
    }

    /// The part to take the values of another model's part from, or why there is none.
    fn counterpart(&self, part: &Part, tensor: &TensorRecord) -> Result<&Part, String> {
        let Some(found) = self.find(part, tensor).or_else(|| self.tied(part)) else {
            return Err(self.missing(part, tensor));
        };
        let family = &part.role.family;
        if (part.rows, part.cols) != (found.rows, found.cols) {
            let source = &self.checkpoint.tensors[found.tensor];
            if part.elements() == tensor.elements() && found.elements() == source.elements() {
                return Err(format!("shape {:?} against {:?}", tensor.shape, source.shape));
            }
            let (rows, cols) = (found.rows, found.cols);
            return Err(format!("{family} of {} x {} against {rows} x {cols}", part.rows, part.cols));
        }
        if part.residual != found.residual {
            return Err(format!("{family} has no axis in common with the other model's"));
        }
        if part.role.constant {
            return Err(format!("{family} is a structural constant in another packaging"));
        }
        scale::check(self.checkpoint, &self.checkpoint.tensors[found.tensor]).map_err(|error| error.to_string())?;
        Ok(found)
    }

    /// What a model without a head uses in its place.
    fn tied(&self, part: &Part) -> Option<&Part> {
        let main = |part: &&Part, family: &str| part.role.is_main(family);
        main(&part, "head").then(|| self.parts.iter().find(|part| main(part, "embedding")))?
    }

    fn missing(&self, part: &Part, tensor: &TensorRecord) -> String {
        let role = &part.role;
        let holds = |tensor: &&&TensorRecord| {
            tensor.split.as_ref().is_some_and(|split| {
                split.families.contains(&role.family)
                    || split.arrangement == Arrangement::Experts && tensor.role.family == role.family
            })
        };
        let here = self.fused.get(&(role.tower.as_str(), role.layer));
        if let Some(fused) = here.and_then(|here| here.iter().find(holds)) {
            return format!(
                "it is part of {}, and how that is divided follows neither from config.json nor from the shapes",
                fused.name
            );
        }
        let expert = role.expert.map_or(String::new(), |expert| format!(", expert {expert}"));
        let layer = role.layer.map_or(String::new(), |layer| format!(" of layer {layer}"));
        if role.known && part.elements() < tensor.elements() {
            format!("the other model has no {}{layer}{expert}", role.family)
        } else {
            "the other model has no such tensor".to_owned()
        }
    }
}
