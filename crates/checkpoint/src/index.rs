//! Which files of a place hold the model, and what the index of a sharded one says. The index is hostile.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::header::quoted;
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::{Blob, Store};

/// The largest index that is read.
const LARGEST: u64 = 100_000_000;

/// The files of a model.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Names of the files with tensors, sorted.
    pub(super) shards: Vec<String>,
    /// Tensor to file, if there is an index.
    pub(super) index: Option<(String, BTreeMap<String, String>)>,
    /// Safetensors files of the place that are not part of the model.
    pub(super) unread: Vec<String>,
}

/// Decides as the usual loaders do: one file of the usual name, else an index, else every safetensors file there is.
pub(super) fn layout(store: &dyn Store, names: &[String]) -> Result<Layout> {
    const ONE: &str = "model.safetensors";
    let tensors: Vec<&String> = names.iter().filter(|name| name.ends_with(".safetensors")).collect();
    let mut found = Layout::default();
    let indexes: Vec<&String> = names.iter().filter(|name| name.ends_with(".safetensors.index.json")).collect();
    let index = indexes.iter().find(|name| *name == &&format!("{ONE}.index.json")).or(match &indexes[..] {
        [only] => Some(only),
        _ => None,
    });
    if tensors.iter().any(|name| *name == ONE) {
        found.shards.push(ONE.to_owned());
    } else if let Some(index) = index {
        let map = read_index(store, index, names).context(|| (*index).clone())?;
        found.shards = map.values().cloned().collect();
        found.shards.sort();
        found.shards.dedup();
        found.index = Some(((*index).clone(), map));
    } else if tensors.is_empty() {
        return Err(nothing(names));
    } else {
        found.shards = tensors.iter().map(|name| (*name).clone()).collect();
    }
    found.unread = tensors.into_iter().filter(|name| !found.shards.contains(name)).cloned().collect();
    Ok(found)
}

/// What to say of a place without safetensors.
fn nothing(names: &[String]) -> Error {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return Error::input("there are no files in it; give the folder or the file that holds the weights");
    }
    let mut list: Vec<String> = names.iter().take(SHOWN).map(|name| quoted(name)).collect();
    if names.len() > SHOWN {
        list.push(format!("{} more", names.len() - SHOWN));
    }
    let ends = |endings: &[&str]| names.iter().any(|name| endings.iter().any(|ending| name.ends_with(ending)));
    let advice = if ends(&[".bin", ".pt", ".pth", ".ckpt"]) {
        "a pickle can run code when it is opened, so it is not read: load the model with transformers and save it with \
         `save_pretrained(folder, safe_serialization=True)`"
    } else if ends(&[".gguf"]) {
        "GGUF files are quantised for inference: ask for the weights they were made of, as safetensors"
    } else if ends(&[".safetensors.index.json"]) {
        "there are several indexes: name the folder of one model"
    } else {
        "give the folder or the file that holds the weights"
    };
    Error::input(format!("no safetensors file is in it, but {}; {advice}", list.join(", ")))
}

/// Reads the index and checks the names of its files.
fn read_index(store: &dyn Store, name: &str, names: &[String]) -> Result<BTreeMap<String, String>> {
    let text = read_small(store, name)?;
    let index: Index = serde_json::from_slice(&text).map_err(|error| Error::input(error.to_string()))?;
    if index.0.is_empty() {
        return Err(Error::input("`weight_map` names no tensor"));
    }
    for (tensor, shard) in &index.0 {
        if names.binary_search(shard).is_err() {
            // A path is refused in the store's words; a plain name is not there.
            store.open(shard).context(|| format!("tensor {}", quoted(tensor)))?;
            return Err(Error::input(format!("the file {} is not in the folder", quoted(shard))));
        }
    }
    Ok(index.0)
}

/// A whole small file.
pub(super) fn read_small(store: &dyn Store, name: &str) -> Result<Vec<u8>> {
    whole(&*store.open(name)?)
}

/// All bytes of a small file.
pub(super) fn whole(blob: &dyn Blob) -> Result<Vec<u8>> {
    let length = usize::try_from(blob.len()).ok().filter(|_| blob.len() <= LARGEST);
    let length = length.ok_or_else(|| Error::input(format!("{} bytes are too many for such a file", blob.len())))?;
    Ok(blob.bytes(0, length)?.into_owned())
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
