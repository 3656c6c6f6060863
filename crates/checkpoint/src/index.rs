//! Which files of a place hold the model, and what the index of a sharded one says. The index is hostile.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::header::quoted;
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::{Blob, Store};
use scratchproof_texts::text;

/// The largest index that is read.
pub(crate) const LARGEST: u64 = 100_000_000;

/// The files of a model.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Names of the files with tensors, sorted.
    pub(super) shards: Vec<String>,
    /// Tensor to file, if there is an index.
    pub(super) index: Option<(String, BTreeMap<String, String>)>,
    /// Files of the place that hold tensors and are not part of the model.
    pub(super) unread: Vec<String>,
    /// Whether nothing says that the files are of one model.
    pub(super) loose: bool,
    /// The same model in the form of torch beside the safetensors.
    pub(super) twin: Vec<String>,
}

/// Endings of files that can hold tensors.
const ENDINGS: &[&str] = &[
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".tar",
    ".jit",
    ".torchscript",
    ".gguf",
    ".npz",
    ".onnx",
    ".h5",
    ".hdf5",
    ".keras",
    ".msgpack",
];

/// Beginnings of files that lie beside the weights and are none.
const BESIDE: &[&str] = &[
    "optimizer",
    "optim_",
    "scheduler",
    "rng_state",
    "random_states",
    "training_args",
    "scaler",
    "adapter_",
    "trainer_",
];

/// Names of files that are the model, from the surest, where several lie in one folder.
const ONES: &[&str] =
    &["model.safetensors", "pytorch_model.bin", "lit_model.pth", "model.pt", "model.pth", "ckpt.pt", "last.ckpt"];

/// Whether files that hold tensors on their own are among the names.
pub(super) fn has_weights(names: &[String]) -> bool {
    names.iter().any(is_weights)
}

#[allow(clippy::ptr_arg, reason = "as a filter hands it over")]
fn is_weights(name: &String) -> bool {
    ENDINGS.iter().any(|ending| name.ends_with(ending)) && !BESIDE.iter().any(|start| name.starts_with(start))
}

/// Decides as the usual loaders do: one file of the usual name, else an index, else every file of one kind there is.
pub(super) fn layout(store: &dyn Store, names: &[String]) -> Result<Layout> {
    let with = |ending: &str| -> Vec<&String> { names.iter().filter(|name| name.ends_with(ending)).collect() };
    let tensors = with(".safetensors");
    let mut found = Layout::default();
    if tensors.is_empty() && with(".safetensors.index.json").is_empty() {
        return others(store, names);
    }
    let index = the_index(names, ".safetensors.index.json", "model.safetensors.index.json");
    if tensors.iter().any(|name| *name == ONES[0]) {
        found.shards.push(ONES[0].to_owned());
    } else if let Some(index) = index {
        found.indexed(store, index, names)?;
    } else if tensors.is_empty() {
        return Err(nothing(names));
    } else {
        found.shards = one_model(&tensors);
        found.loose = true;
        whole_set(&found.shards)?;
    }
    found.unread = tensors.into_iter().filter(|name| !found.shards.contains(name)).cloned().collect();
    found.twin = torch(store, names)?.shards;
    Ok(found)
}

/// The files of one model, of several that no index tells apart: one numbered set (`model-00001-of-00002`), the one of the
/// usual name or the one with most files; else all files that are no adapter, no `consolidated` second copy and no average
/// or variant beside a plain one.
fn one_model(tensors: &[&String]) -> Vec<String> {
    let aside = |name: &str| {
        let stem = name.trim_end_matches(".safetensors").to_ascii_lowercase();
        let words: Vec<&str> = stem.split(['.', '_', '-']).collect();
        let is = |word: &str| words.contains(&word);
        is("adapter") || is("lora") || is("consolidated") || is("ema") || is("optimizer") || is("fp16") || is("bf16")
    };
    let plain: Vec<&str> = tensors.iter().map(|name| name.as_str()).filter(|name| !aside(name)).collect();
    let plain = if plain.is_empty() {
        // An adapter alone is looked at as what it is; of the rest one kind.
        let all: Vec<&str> = tensors.iter().map(|name| name.as_str()).collect();
        let weights: Vec<&str> = all.iter().copied().filter(|name| !name.contains("adapter")).collect();
        if weights.is_empty() { all } else { weights }
    } else {
        plain
    };
    let mut sets: BTreeMap<(&str, usize), Vec<&str>> = BTreeMap::new();
    for name in &plain {
        if let Some(set) = numbered(name) {
            sets.entry(set).or_default().push(name);
        }
    }
    let best = sets.into_iter().max_by_key(|((stem, of), files)| {
        (files.len() >= *of, *stem == "model", files.len(), std::cmp::Reverse(*stem))
    });
    let chosen = best.map_or(plain, |(_, files)| files);
    chosen.into_iter().map(str::to_owned).collect()
}

/// Refuses a set of numbered parts that lacks one: a part of a model is not the model.
fn whole_set(files: &[String]) -> Result<()> {
    let sets: Option<Vec<(&str, usize)>> = files.iter().map(|name| numbered(name)).collect();
    let Some((stem, of)) = sets.as_ref().and_then(|sets| sets.first()).copied() else { return Ok(()) };
    let number = |name: &String| {
        let before = &name[..name.rfind("-of-")?];
        before[before.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1)..].parse::<usize>().ok()
    };
    let held: Vec<usize> = files.iter().filter_map(number).collect();
    // Some writers count from nought.
    let first = usize::from(!held.contains(&0));
    // No set is longer than its files are many, so what is missing is found among the first.
    let missing = (first..=files.len() + first).find(|number| !held.contains(number));
    match missing {
        Some(missing) if files.len() < of => Err(Error::input(text!(
            "error-checkpoint/index/part-not-parts-part",
            missing,
            of,
            stem = quoted(stem),
            files = files.len()
        ))),
        _ => Ok(()),
    }
}

/// `model-00001-of-00002.safetensors`: what stands before the numbers, and how many files there are to be.
fn numbered(name: &str) -> Option<(&str, usize)> {
    let stem = name.strip_suffix(".safetensors")?;
    let (before, of) = stem.rsplit_once("-of-")?;
    let (stem, at) = before.rsplit_once(['-', '_']).or(Some(("", before)))?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(of) && digits(at)).then(|| Some((stem, of.parse().ok()?)))?
}

/// The one index of its kind, or the one of the usual name.
fn the_index<'a>(names: &'a [String], ending: &str, usual: &str) -> Option<&'a String> {
    let indexes: Vec<&String> = names.iter().filter(|name| name.ends_with(ending)).collect();
    indexes.iter().find(|name| ***name == usual).copied().or(match indexes[..] {
        [only] => Some(only),
        _ => None,
    })
}

impl Layout {
    fn indexed(&mut self, store: &dyn Store, index: &str, names: &[String]) -> Result<()> {
        let map = read_index(store, index, names).context(|| index.to_owned())?;
        self.shards = map.values().cloned().collect();
        self.shards.sort();
        self.shards.dedup();
        self.index = Some((index.to_owned(), map));
        Ok(())
    }
}

/// The model as transformers wrote it before safetensors: one file, or an index with its shards.
fn torch(store: &dyn Store, names: &[String]) -> Result<Layout> {
    let mut found = Layout::default();
    if names.iter().any(|name| name == ONES[1]) {
        found.shards.push(ONES[1].to_owned());
    } else if let Some(index) = the_index(names, ".bin.index.json", "pytorch_model.bin.index.json") {
        found.indexed(store, index, names)?;
    }
    Ok(found)
}

/// A place without safetensors: what torch and others write.
fn others(store: &dyn Store, names: &[String]) -> Result<Layout> {
    let mut found = torch(store, names)?;
    let candidates: Vec<&String> = names.iter().filter(|name| is_weights(name)).collect();
    if found.shards.is_empty() {
        let one = ONES.iter().find(|one| candidates.iter().any(|name| name == *one));
        found.shards = match (&candidates[..], one) {
            ([], _) => return Err(nothing(names)),
            ([only], _) => vec![(*only).clone()],
            (_, Some(one)) => vec![(*one).to_owned()],
            (several, None) if parts_of_one(several) || counted(several) => {
                several.iter().map(|name| (*name).clone()).collect()
            }
            (several, None) => {
                let list: Vec<String> = several.iter().take(8).map(|name| quoted(name)).collect();
                let more = several.len().checked_sub(8).filter(|more| *more > 0);
                let more = more.unwrap_or_default();
                return Err(Error::input(text!("error-checkpoint/index/several-files-hold-weights", list, more)));
            }
        };
    }
    found.unread = candidates.into_iter().filter(|name| !found.shards.contains(name)).cloned().collect();
    Ok(found)
}

/// Whether the names are those of the parts of one model: `NAME-00001-of-00003.gguf` to the last.
fn parts_of_one(names: &[&String]) -> bool {
    let part = |name: &str| {
        let (before, after) = name.rsplit_once("-of-")?;
        let (total, ending) = after.split_once('.')?;
        let (stem, number) = before.rsplit_once('-')?;
        Some((stem.to_owned(), ending.to_owned(), number.parse::<usize>().ok()?, total.parse::<usize>().ok()?))
    };
    let parts: Option<Vec<_>> = names.iter().map(|name| part(name)).collect();
    let Some(parts) = parts else { return false };
    let first = &parts[0];
    let same = parts.iter().all(|part| (&part.0, &part.1, part.3) == (&first.0, &first.1, first.3));
    let mut numbers: Vec<usize> = parts.iter().map(|part| part.2).collect();
    numbers.sort_unstable();
    same && (numbers.iter().copied().eq(1..=first.3) || numbers.iter().copied().eq(0..first.3))
}

/// Whether the names are torchtune's for the parts of one model: `hf_model_0001_0.pt` (the part, then the epoch), from 1 on.
fn counted(names: &[&String]) -> bool {
    let part = |name: &str| {
        let (stem, ending) = name.rsplit_once('.')?;
        let (stem, epoch) = stem.rsplit_once('_')?;
        let (stem, number) = stem.rsplit_once('_')?;
        epoch.parse::<usize>().ok()?;
        Some((stem.to_owned(), epoch.to_owned(), ending.to_owned(), number.parse::<usize>().ok()?))
    };
    let Some(mut parts) = names.iter().map(|name| part(name)).collect::<Option<Vec<_>>>() else { return false };
    parts.sort_by_key(|part| part.3);
    let same = parts.iter().all(|part| (&part.0, &part.1, &part.2) == (&parts[0].0, &parts[0].1, &parts[0].2));
    same && parts.iter().map(|part| part.3).eq(1..=parts.len())
}

/// What to say of a place without weights.
fn nothing(names: &[String]) -> Error {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return Error::input(text!("error-checkpoint/index/no-files-give-folder"));
    }
    let list: Vec<String> = names.iter().take(SHOWN).map(|name| quoted(name)).collect();
    let more = names.len().saturating_sub(SHOWN);
    let indexes = names.iter().any(|name| name.ends_with(".safetensors.index.json"));
    Error::input(text!("error-checkpoint/index/no-file-tensors-but", list, more, indexes))
}

/// Reads the index and checks the names of its files.
fn read_index(store: &dyn Store, name: &str, names: &[String]) -> Result<BTreeMap<String, String>> {
    let text = read_small(store, name)?;
    let index: Index = serde_json::from_slice(&text).map_err(|error| Error::input(error.to_string()))?;
    if index.0.is_empty() {
        return Err(Error::input(text!("error-checkpoint/index/weight-map-names-no")));
    }
    for (tensor, shard) in &index.0 {
        if names.binary_search(shard).is_err() {
            // A path is refused in the store's words; a plain name is not there.
            store.open(shard).context(|| text!("error-checkpoint/index/tensor", tensor = quoted(tensor)))?;
            return Err(Error::input(text!("error-checkpoint/index/file-not-folder", shard = quoted(shard))));
        }
    }
    Ok(index.0)
}

/// A whole small file.
pub(crate) fn read_small(store: &dyn Store, name: &str) -> Result<Vec<u8>> {
    whole(&*store.open(name)?)
}

/// All bytes of a small file.
pub(crate) fn whole(blob: &dyn Blob) -> Result<Vec<u8>> {
    let length = usize::try_from(blob.len()).ok().filter(|_| blob.len() <= LARGEST);
    let length =
        length.ok_or_else(|| Error::input(text!("error-checkpoint/index/bytes-too-many-such", blob = blob.len())))?;
    let bytes = blob.bytes(0, length)?.into_owned();
    if bytes.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Err(Error::input(text!("error-checkpoint/index/git-lfs-pointer-fetch")));
    }
    Ok(bytes)
}

/// `{"weight_map": {tensor: file}}`, with every key once.
struct Index(BTreeMap<String, String>);

impl<'de> de::Deserialize<'de> for Index {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(IndexVisitor)
    }
}

struct IndexVisitor;

impl<'de> Visitor<'de> for IndexVisitor {
    type Value = Index;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `weight_map`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Index, A::Error> {
        let mut weights = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "weight_map" {
                map.next_value::<IgnoredAny>()?;
            } else if weights.replace(map.next_value::<Weights>()?).is_some() {
                return Err(de::Error::custom("`weight_map` is there twice"));
            }
        }
        weights.map(|weights| Index(weights.0)).ok_or_else(|| de::Error::custom("`weight_map` is missing"))
    }
}

struct Weights(BTreeMap<String, String>);

impl<'de> de::Deserialize<'de> for Weights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WeightsVisitor)
    }
}

struct WeightsVisitor;

impl<'de> Visitor<'de> for WeightsVisitor {
    type Value = Weights;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensor names and file names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Weights, A::Error> {
        let mut weights = BTreeMap::new();
        while let Some((tensor, file)) = map.next_entry::<String, String>()? {
            if weights.contains_key(&tensor) {
                return Err(de::Error::custom(format!("tensor {} is there twice", quoted(&tensor))));
            }
            weights.insert(tensor, file);
        }
        Ok(Weights(weights))
    }
}
