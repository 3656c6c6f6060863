//! Which files of a place hold the model, and what the index of a sharded one says. The index is hostile.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::forms::{of_files, of_place};
use super::header::quoted;
use super::settings::read_as;
use scratchproof_case::last_part;
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::{Blob, ENDINGS, Store};
use scratchproof_texts::{Text, text};

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
    /// What a file of its own says of how the weights are quantised.
    pub(super) quantisation: Option<serde_json::Value>,
    /// The same model in the form of torch beside the safetensors.
    pub(super) twin: Vec<String>,
}

/// Beginnings of the names of files that a trainer writes beside its weights.
const TRAINERS: &[&str] = &[
    "optimizer",
    "optim_",
    "scheduler",
    "rng_state",
    "random_states",
    "training_args",
    "scaler",
    "trainer_",
    "recipe_state",
];

/// Names of files that are the model, from the surest, where several lie in one folder.
const ONES: &[&str] =
    &["model.safetensors", "pytorch_model.bin", "lit_model.pth", "model.pt", "model.pth", "ckpt.pt", "last.ckpt"];

/// Whether files that hold tensors on their own are among the names.
pub(super) fn has_weights(names: &[String]) -> bool {
    names.iter().any(is_weights)
}

/// Whether a file is called as trainers call what they write beside their weights: states of the optimizer, of the schedule
/// and of random numbers, arguments. A path is asked by its last part.
#[must_use]
pub fn is_trainers(name: &str) -> bool {
    let name = last_part(name).to_ascii_lowercase();
    TRAINERS.iter().any(|start| name.starts_with(start))
}

/// Whether a name ends as files do that can hold tensors.
pub(crate) fn has_ending(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

#[allow(clippy::ptr_arg, reason = "as a filter hands it over")]
fn is_weights(name: &String) -> bool {
    has_ending(name) && !is_trainers(name) && !name.starts_with("adapter_")
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
        return Err(nothing(store, names));
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
        if let Some(part) = numbered(name) {
            sets.entry((part.stem, part.of)).or_default().push(name);
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
    let sets: Option<Vec<Numbered<'_>>> = files.iter().map(|name| numbered(name)).collect();
    let Some(sets) = sets else { return Ok(()) };
    let Some(first) = sets.first() else { return Ok(()) };
    let held: Vec<usize> = sets.iter().map(|part| part.at).collect();
    lacking(&held, first.of, first.stem)
}

/// Refuses parts of which one is missing.
fn lacking(held: &[usize], of: usize, stem: &str) -> Result<()> {
    // Some writers count from nought.
    let first = usize::from(!held.contains(&0));
    // No set is longer than its files are many, so what is missing is found among the first.
    let missing = (first..=held.len() + first).find(|number| !held.contains(number));
    match missing {
        Some(missing) if held.len() < of => Err(Error::input(text!(
            "error-checkpoint/index/part-not-parts-part",
            missing,
            of,
            stem = quoted(stem),
            files = held.len()
        ))),
        _ => Ok(()),
    }
}

/// A part of a model in several files: `model-00001-of-00002.safetensors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbered<'a> {
    /// What stands before the numbers, and behind them.
    pub(crate) stem: &'a str,
    pub(crate) ending: &'a str,
    /// Which part it is.
    pub(crate) at: usize,
    /// How many there are to be.
    pub(crate) of: usize,
    /// The digits of the part's number.
    pub(crate) digits: usize,
}

/// Which part of a model a file is by its name, if it is one.
pub(crate) fn numbered(name: &str) -> Option<Numbered<'_>> {
    let (before, after) = name.rsplit_once("-of-")?;
    let (of, ending) = after.split_at(after.find('.').unwrap_or(after.len()));
    let (stem, at) = before.rsplit_once(['-', '_']).or(Some(("", before)))?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(of) && digits(at))
        .then(|| Some(Numbered { stem, ending, at: at.parse().ok()?, of: of.parse().ok()?, digits: at.len() }))?
}

/// What to say of the one file that the user named, where it is a part of a model.
pub(super) fn a_part(store: &dyn Store, name: &str) -> Option<Text> {
    if let Some(part) = numbered(name).filter(|part| part.of > 1) {
        return Some(text!("checkpoint/read/part", at = part.at, of = part.of));
    }
    let part = counted(name)?;
    let next = name.replacen(part.digits, &format!("{:0width$}", part.number + 1, width = part.digits.len()), 1);
    let more = part.number > 1 || store.beside(&next).is_ok_and(|next| next.is_some());
    more.then(|| text!("checkpoint/read/part", at = part.number, of = 0_usize))
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
            ([], _) => return Err(nothing(store, names)),
            (_, Some(one)) => vec![(*one).to_owned()],
            (files, None) => of_several(files)?,
        };
    }
    found.unread = candidates.into_iter().filter(|name| !found.shards.contains(name)).cloned().collect();
    Ok(found)
}

/// The files of the model among those that can be: one numbered set, torchtune's last epoch, or the only one.
fn of_several(files: &[&String]) -> Result<Vec<String>> {
    let all = || files.iter().map(|name| (*name).clone()).collect::<Vec<String>>();
    let parts: Option<Vec<Numbered<'_>>> = files.iter().map(|name| numbered(name)).collect();
    let one = |parts: &Vec<Numbered<'_>>| {
        let set = |part: &Numbered<'_>| (part.stem.to_owned(), part.ending.to_owned(), part.of);
        parts.first().is_some_and(|first| parts.iter().all(|part| set(part) == set(first)))
    };
    if parts.as_ref().is_some_and(one) {
        whole_set(&all())?;
        return Ok(all());
    }
    if let Some(last) = last_epoch(files)? {
        return Ok(last);
    }
    if files.len() == 1 {
        return Ok(all());
    }
    let list: Vec<String> = files.iter().take(8).map(|name| quoted(name)).collect();
    let more = files.len().saturating_sub(8);
    Err(Error::input(text!("error-checkpoint/index/several-files-hold-weights", list, more)))
}

/// A file of torchtune: `hf_model_0001_0.pt` (the part, then the epoch) or `meta_model_0.pt` (the epoch).
struct Counted<'a> {
    stem: &'a str,
    ending: &'a str,
    digits: &'a str,
    number: usize,
    epoch: usize,
}

fn counted(name: &str) -> Option<Counted<'_>> {
    let (stem, ending) = name.rsplit_once('.')?;
    let (stem, epoch) = stem.rsplit_once('_')?;
    let epoch = epoch.parse().ok()?;
    if stem == "meta_model" {
        return Some(Counted { stem, ending, digits: "", number: 1, epoch });
    }
    let (stem, digits) = stem.rsplit_once('_')?;
    Some(Counted { stem, ending, digits, number: digits.parse().ok()?, epoch })
}

/// The parts of the last epoch, where all files are torchtune's.
fn last_epoch(names: &[&String]) -> Result<Option<Vec<String>>> {
    let parts: Option<Vec<(Counted<'_>, &String)>> = names.iter().map(|name| Some((counted(name)?, *name))).collect();
    let Some(parts) = parts else { return Ok(None) };
    let Some((first, _)) = parts.first() else { return Ok(None) };
    if parts.iter().any(|(part, _)| (part.stem, part.ending) != (first.stem, first.ending)) {
        return Ok(None);
    }
    let epoch = parts.iter().map(|(part, _)| part.epoch).max().unwrap_or(0);
    let mut last: Vec<_> = parts.iter().filter(|(part, _)| part.epoch == epoch).collect();
    last.sort_by_key(|(part, _)| part.number);
    let held: Vec<usize> = last.iter().map(|(part, _)| part.number).collect();
    // Parts are counted from 1, and no epoch has fewer than another.
    let most = parts.iter().map(|(part, _)| part.number).max().unwrap_or(0);
    lacking(&held, most, first.stem)?;
    Ok(Some(last.into_iter().map(|(_, name)| (*name).clone()).collect()))
}

/// What to say of a place without weights.
fn nothing(store: &dyn Store, names: &[String]) -> Error {
    const SHOWN: usize = 8;
    let folders = if store.only().is_some() { Vec::new() } else { store.folders().unwrap_or_default() };
    if let Some(way) = of_place(names) {
        return Error::input(way);
    }
    let shown = |names: &[String]| names.iter().take(SHOWN).map(|name| quoted(name)).collect::<Vec<String>>();
    if names.is_empty() {
        let more = folders.len().saturating_sub(SHOWN);
        return Error::input(text!("error-checkpoint/index/no-files-give-folder", folders = shown(&folders), more));
    }
    if let Some(way) = of_files(store, names) {
        return Error::input(way);
    }
    let more = names.len().saturating_sub(SHOWN);
    let indexes = names.iter().any(|name| name.ends_with(".safetensors.index.json"));
    let (list, folders) = (shown(names), shown(&folders));
    Error::input(text!("error-checkpoint/index/no-file-tensors-but", list, more, folders, indexes))
}

/// Reads the index and checks the names of its files.
fn read_index(store: &dyn Store, name: &str, names: &[String]) -> Result<BTreeMap<String, String>> {
    let text = read_small(store, name)?;
    let index: Index = read_as(&text)?;
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
