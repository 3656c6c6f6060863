//! What was handed over with a model and is not it: other entries of its file, other files of its folder, tensors that cannot
//! be read. Whoever confirms a model has to have looked at all of it, so what is neither the model again nor a trainer's is
//! counted and named.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::forms::neighbour::of_file;
use super::forms::untaken::Others;
use super::forms::{self, Catalogue};
use super::header::quoted;
use super::index::has_ending;
use super::{HeaderTensor, Shard, bare_name};
use scratchproof_kernel::decode;
use scratchproof_source::{Blob, Store, is_address};
use serde::{Deserialize, Serialize};

type Tensors = BTreeMap<String, (usize, HeaderTensor)>;

/// Tensors that lie with a model, are not it and are looked at by no test.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Untaken {
    /// The file, the entry of the model's own file in quotes, or the first tensor that cannot be read.
    pub place: String,
    /// Bytes of the tensors.
    pub bytes: u64,
}

/// Tensors whose numbers agree so well are the same tensor in another number format: quantising to four bits leaves 0.99.
const SAME: f64 = 0.98;
/// An average along a training, a teacher that follows it or a copy of some steps before agrees so well with the weights.
const AVERAGE: f64 = 0.5;
/// Words in the names of such copies.
const AVERAGES: &[&str] =
    &["ema", "average", "averaged", "avg", "swa", "polyak", "shadow", "teacher", "target", "momentum"];

/// Numbers of a tensor that are compared: all of so many, else so many places of it.
const ALL: usize = 1 << 14;
const PLACES: usize = 16;
const AT_A_PLACE: usize = 1 << 9;
/// The same of a file in a network, where every place is a request.
const FAR: usize = 1 << 10;

/// Tensors of a shape that one without a name of the model's is held against, and how often that is done.
const ALIKE: usize = 512;
const TRIES: usize = 1 << 16;

/// Files beside the model that are looked at, at most; of what is left the length counts.
const FILES: usize = 256;

/// The model that was read.
pub(crate) struct Taken<'a> {
    pub(crate) shards: &'a [Shard],
    pub(crate) found: &'a Tensors,
    /// Bytes of its tensors that cannot be read, and the first of those.
    pub(crate) lost: (u64, Option<String>),
    /// Whether a description of an adapter lies beside it.
    pub(crate) adapter: bool,
    /// Whether it is a folder whose files make sense together only.
    pub(crate) folder: bool,
}

/// What lies in a place beside the model, `others` in its own files.
pub(crate) fn look(store: &dyn Store, names: &[String], taken: &Taken<'_>, others: Vec<Others>) -> Vec<Untaken> {
    let mut judge = Judge::new(taken, is_address(&store.uri()));
    let mut all = Vec::new();
    let mut put = |place: String, bytes: u64| {
        if bytes > 0 {
            all.push(Untaken { place, bytes });
        }
    };
    for others in others {
        let average = is_average(&others.entry);
        let catalogue = Catalogue { files: others.files, entries: others.entries, ..Catalogue::default() };
        put(quoted(&others.entry), others.lost.saturating_add(judge.unlike(catalogue, average)));
    }
    let own = |name: &String| taken.shards.iter().any(|shard| shard.name == *name);
    // Where one file is named, what lies around it was not handed over.
    let files = if store.only().is_some() { &[] } else { names };
    let files = files.iter().filter(|name| !own(name) && has_ending(name));
    // A folder's form has read what it wants of its own files.
    let files = files.filter(|name| !(taken.folder && forms::is_of_folder(name)));
    for (at, name) in files.enumerate() {
        if at >= FILES {
            put(name.clone(), store.open(name).map_or(0, |blob| blob.len()));
            continue;
        }
        let Some((mut catalogue, lost)) = of_file(name, store) else { continue };
        // Another writer's names for the same tensors.
        if forms::consolidated::publish(&mut catalogue, store).is_err() {
            put(name.clone(), store.open(name).map_or(0, |blob| blob.len()));
            continue;
        }
        if taken.adapter && name.starts_with("adapter_") {
            catalogue.entries.retain(|entry| !is_adapters(&entry.name));
        }
        put(name.clone(), lost.saturating_add(judge.unlike(catalogue, is_average(name))));
    }
    if let (lost @ 1.., Some(first)) = &taken.lost {
        put(quoted(first), *lost);
    }
    all.sort();
    all
}

/// Whether a file or an entry is called an average of the weights, or a copy that follows them.
fn is_average(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.split(|c: char| !c.is_ascii_alphabetic()).any(|word| AVERAGES.contains(&word))
}

/// Whether a tensor is what PEFT adds to a model.
fn is_adapters(name: &str) -> bool {
    ["lora_", "adapter", "prompt", "ia3_", "vera_", "hada_", "oft_"].iter().any(|part| name.contains(part))
}

struct Judge<'a> {
    taken: &'a Taken<'a>,
    by_name: BTreeMap<String, &'a (usize, HeaderTensor)>,
    by_shape: BTreeMap<&'a [usize], Vec<&'a (usize, HeaderTensor)>>,
    tries: usize,
    far: bool,
}

impl<'a> Judge<'a> {
    fn new(taken: &'a Taken<'a>, far: bool) -> Self {
        let mut by_shape: BTreeMap<&[usize], Vec<_>> = BTreeMap::new();
        let mut by_name = BTreeMap::new();
        for (name, own) in taken.found {
            by_shape.entry(&own.1.shape).or_default().push(own);
            by_name.insert(bare_name(name).into_owned(), own);
        }
        Self { taken, by_name, by_shape, tries: 0, far }
    }

    /// Bytes of the tensors that are not the model's again.
    fn unlike(&mut self, catalogue: Catalogue, average: bool) -> u64 {
        let Ok((shards, tensors)) = catalogue.settle("", 0) else { return u64::MAX };
        let mut bytes = 0_u64;
        for (shard, tensor) in &tensors {
            let Some(shard) = shards.get(*shard) else { continue };
            let enough = if average || is_average(&tensor.name) { AVERAGE } else { SAME };
            if !self.is_again(&shard.blob, tensor, enough) {
                bytes = bytes.saturating_add(tensor.bytes);
            }
        }
        bytes
    }

    fn is_again(&mut self, blob: &Arc<dyn Blob>, tensor: &HeaderTensor, enough: f64) -> bool {
        let alike = |own: &(usize, HeaderTensor), far: bool| {
            let shard = self.taken.shards.get(own.0);
            let agreement = shard.and_then(|shard| agreement((&shard.blob, &own.1), (blob, tensor), far));
            agreement.is_some_and(|agreement| agreement >= enough)
        };
        let name = bare_name(&tensor.name);
        // Copies have a part more before their names (`ema_model.`, `online.`).
        let mut rest: Option<&str> = Some(&name);
        while let Some(name) = rest {
            if let Some(own) = self.by_name.get(name) {
                if own.1.shape == tensor.shape && alike(own, self.far) {
                    return true;
                }
                break;
            }
            rest = name.split_once('.').map(|(_, rest)| rest);
        }
        // Lists of averages have no names at all.
        if self.far {
            return false;
        }
        for own in self.by_shape.get(tensor.shape.as_slice()).into_iter().flatten().take(ALIKE) {
            self.tries += 1;
            if self.tries > TRIES {
                return false;
            }
            if alike(own, true) && alike(own, false) {
                return true;
            }
        }
        false
    }
}

/// Correlation of two tensors of one shape; nothing if one of them cannot be read. Constant ones agree if they are equal.
fn agreement(a: (&Arc<dyn Blob>, &HeaderTensor), b: (&Arc<dyn Blob>, &HeaderTensor), few: bool) -> Option<f64> {
    let (a, b) = (some(a.0, a.1, few)?, some(b.0, b.1, few)?);
    if a == b {
        return Some(1.0);
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (mean_a, mean_b) = (mean(&a), mean(&b));
    let (mut product, mut square_a, mut square_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(&b) {
        let (a, b) = (a - mean_a, b - mean_b);
        product += a * b;
        square_a += a * a;
        square_b += b * b;
    }
    let all = (square_a * square_b).sqrt();
    (all > 0.0 && all.is_finite()).then(|| product / all)
}

/// Numbers of a tensor: all of them, or those at places that are spread evenly over it.
fn some(blob: &Arc<dyn Blob>, tensor: &HeaderTensor, few: bool) -> Option<Vec<f64>> {
    let width = tensor.dtype.width();
    let elements = tensor.shape.iter().try_fold(1_usize, |all, size| all.checked_mul(*size))?;
    let read = |from: usize, count: usize| {
        let at = tensor.offset.checked_add(from.checked_mul(width)? as u64)?;
        let bytes = blob.bytes(at, count * width).ok()?;
        let mut values = vec![0.0; count];
        decode(tensor.dtype, &bytes, &mut values);
        blob.release(at, count * width);
        Some(values)
    };
    if few {
        return read(0, elements.min(FAR));
    }
    if elements <= ALL {
        return read(0, elements);
    }
    if blob.is_made() {
        // Whatever is asked of a tensor that is put together, all of it is made.
        let whole = read(0, elements)?;
        return Some(spread(elements).flat_map(|from| whole[from..from + AT_A_PLACE].to_vec()).collect());
    }
    let mut values = Vec::with_capacity(PLACES * AT_A_PLACE);
    for from in spread(elements) {
        values.extend(read(from, AT_A_PLACE)?);
    }
    Some(values)
}

fn spread(elements: usize) -> impl Iterator<Item = usize> {
    (0..PLACES).map(move |place| (elements - AT_A_PLACE) / (PLACES - 1) * place)
}

#[cfg(test)]
mod tests;
