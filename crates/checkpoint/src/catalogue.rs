//! All tensors of a model, whatever files they are in.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::adapter;
use super::deduce::deduce;
use super::forms::beside;
use super::forms::folder::{self, Found};
use super::forms::optimizer::OptimizerFiles;
use super::forms::untaken::Others;
use super::forms::{self, Catalogue, twin};
use super::header::quoted;
use super::index::{self, Layout};
use super::residual::{hidden_sizes, set_prediction_layers_apart, settle_residual_axes};
use super::settings::read_settings;
use super::stacked;
use super::untaken::{self, Taken, Untaken};
use super::wrappers::bare_names;
use super::{
    Adapter, Architectures, HeaderTensor, Meeting, Optimizer, Role, Sample, Shard, Skipped, TensorRecord, Tokenizer,
    TokenizerFiles, builtin,
};
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::{Access, Blob, HeldFile, LocalDir, Store, locate};
use scratchproof_texts::{Text, text};

/// Bytes of a tensor's name.
const LONGEST_NAME: usize = 4096;

/// Tensors of one checkpoint, at most.
const TENSORS: usize = 1 << 20;
/// Files of a model that have more bytes than this, and so many times what its tensors have, hold something else.
const EMPTY: u64 = 1 << 30;
const EMPTY_TIMES: u64 = 1000;

/// One model: its tensors, and where their bytes are.
pub struct Checkpoint {
    /// Where it is.
    pub uri: String,
    /// The tensors, sorted by name.
    pub tensors: Vec<TensorRecord>,
    /// The files that hold them, sorted by name.
    pub shards: Vec<Shard>,
    /// `config.json`, if there is one.
    pub config: Option<serde_json::Value>,
    /// The architecture whose templates know most of the names.
    pub architecture: Option<String>,
    /// Tensors that are in the files and not in `tensors`, with the reason, sorted.
    pub skipped: Vec<Skipped>,
    /// Files of the folder that hold tensors and are not part of the model, sorted.
    pub unread: Vec<String>,
    /// What was handed over with it, is not it and is looked at by no test, sorted.
    pub untaken: Vec<Untaken>,
    /// Parts of names that wrappers had added and that [`TensorRecord::name`] is without, sorted.
    pub wrappers: Vec<String>,
    /// The form it is kept in.
    pub form: Text,
    /// What a reader should know of how it was read, in sentences.
    pub notes: Vec<Text>,
    /// Bytes of all tensors in the files, also of those that are not in `tensors`.
    pub stored: u64,
    /// The optimizer's states beside it, read when they are asked for.
    pub optimizers: Arc<OptimizerFiles>,
    /// What its tokens are, read when it is asked for.
    pub vocabulary: Arc<TokenizerFiles>,
    /// What it is an adapter of, if it is one.
    pub adapter: Option<Adapter>,
    /// Where it was put in another model's packaging: which of its own towers each of that model's towers met.
    pub met: Vec<Meeting>,
    /// What was drawn of it, if not all of its rows are looked at.
    pub sample: Option<Arc<Sample>>,
}

impl Checkpoint {
    /// Opens a folder or a file on this computer.
    ///
    /// # Errors
    /// If there is nothing there, no safetensors file is in it, or a file is not what it must be.
    pub fn open(path: &Path) -> Result<Self> {
        Self::from_store(&LocalDir::open(path)?)
    }

    /// Opens what a user calls a model: a path, or an address of a network as [`locate`] knows them.
    ///
    /// # Errors
    /// As [`Checkpoint::open`]; a usage error if the address is of a kind that is not read, or `access` is offline.
    pub fn open_named(model: &str, access: Access) -> Result<Self> {
        Self::from_store(&*locate(model, access)?)
    }

    /// Opens the model in a place, or the one file of it that the user named.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_store(store: &dyn Store) -> Result<Self> {
        let uri = store.uri();
        let names = store.list()?;
        let found = if store.only().is_some() {
            None
        } else {
            folder::find(store, &names, index::has_weights(&names)).context(|| uri.clone())?
        };
        let together = match found {
            Some(Found::Elsewhere(place)) => return Self::from_store(&*place),
            Some(Found::Together(catalogue)) => Some(*catalogue),
            None => None,
        };
        let config = names.iter().any(|name| name == "config.json").then(|| read_config(store));
        let config = config.transpose().context(|| text!("error-checkpoint/catalogue/config-json", uri = &uri))?;
        let mut layout = match (store.only(), &together) {
            (_, Some(_)) => Layout::default(),
            (Some(file), None) => Layout { shards: vec![file.to_owned()], ..Layout::default() },
            (None, None) => index::layout(store, &names).context(|| uri.clone())?,
        };
        layout.quantisation = forms::quantised::beside(store, &names)?;
        let mut checkpoint = Self {
            uri,
            tensors: Vec::new(),
            shards: Vec::new(),
            config,
            architecture: None,
            skipped: Vec::new(),
            unread: layout.unread.clone(),
            untaken: Vec::new(),
            optimizers: Arc::default(),
            wrappers: Vec::new(),
            adapter: None,
            vocabulary: Arc::new(TokenizerFiles::open(store, &names)),
            met: Vec::new(),
            form: Text::default(),
            notes: Vec::new(),
            stored: 0,
            sample: None,
        };
        checkpoint.adapter = Adapter::read(store, &names, &checkpoint.unread)?;
        let folder = together.is_some();
        let mut rest = Rest::default();
        let mut found = checkpoint.read_shards(store, &layout, &mut rest)?;
        if layout.index.is_none() {
            twin::much_larger(store, &checkpoint.unread, &checkpoint.shards, checkpoint.stored)
                .context(|| checkpoint.uri.clone())?;
        }
        if let Some(catalogue) = together {
            let uri = checkpoint.uri.clone();
            checkpoint.add(&uri, &layout, catalogue, &mut found, &mut HashMap::new(), &mut rest)?;
        }
        checkpoint.notes.extend(store.only().and_then(|file| index::a_part(store, file)));
        checkpoint.is_mostly_tensors()?;
        checkpoint.has_tensors(&found)?;
        checkpoint.optimizers = Arc::new(OptimizerFiles::find(store, &names, &checkpoint.shards));
        checkpoint.notes.extend(twin::look(store, &layout.twin, &checkpoint.shards, &found));
        checkpoint.untaken = rest.look(store, &names, &checkpoint, &found, folder);
        let untaken = checkpoint.untaken.iter();
        checkpoint
            .notes
            .extend(untaken.map(|own| text!("checkpoint/read/untaken", place = &own.place, bytes = own.bytes)));
        let (config, beside) = (checkpoint.config.as_ref(), layout.quantisation.as_ref());
        let left = forms::quantised::left(&found, &checkpoint.skipped, config, beside);
        checkpoint.notes.extend(left);
        checkpoint.name(found);
        checkpoint.name_constants();
        checkpoint.leave_identities();
        Ok(checkpoint)
    }

    /// Refuses a place of which no tensor can be read.
    fn has_tensors(&self, found: &BTreeMap<String, (usize, HeaderTensor)>) -> Result<()> {
        if !found.is_empty() {
            return Ok(());
        }
        let uri = &self.uri;
        Err(Error::input(match self.skipped.first() {
            Some(Skipped { tensor, why }) => text!(
                "error-checkpoint/catalogue/no-tensor-read",
                uri,
                tensor = quoted(tensor),
                why,
                more = self.skipped.len() - 1
            ),
            None => text!(
                "error-checkpoint/catalogue/no-tensor",
                uri,
                file = self.shards.first().map_or("", |shard| &shard.name)
            ),
        }))
    }

    /// Whether the files are about as large as what is in them: every byte of them is read for their digests.
    fn is_mostly_tensors(&self) -> Result<()> {
        let bytes: u64 = self.shards.iter().map(|shard| shard.blob.len()).fold(0, u64::saturating_add);
        if bytes > EMPTY && self.stored.saturating_mul(EMPTY_TIMES) < bytes {
            return Err(Error::input(text!(
                "error-checkpoint/catalogue/files-bytes-tensors-files",
                name = self.shards.first().map_or(&self.uri, |shard| &shard.name),
                bytes,
                stored = &self.stored,
                empty = EMPTY,
                empty_times = EMPTY_TIMES
            )));
        }
        Ok(())
    }

    /// Reads what every file holds and holds the index against it.
    fn read_shards(
        &mut self,
        store: &dyn Store,
        layout: &Layout,
        rest: &mut Rest,
    ) -> Result<BTreeMap<String, (usize, HeaderTensor)>> {
        let mut found: BTreeMap<String, (usize, HeaderTensor)> = BTreeMap::new();
        let mut seen: HashMap<String, String> = HashMap::new();
        for name in &layout.shards {
            if self.config.is_none() {
                self.config = beside::settings(store, name).context(|| self.uri.clone())?;
            }
            let blob: Arc<dyn Blob> = Arc::from(store.open(name)?);
            let mut catalogue = forms::catalogue(name, &blob, store)?;
            forms::consolidated::publish(&mut catalogue, store).context(|| self.uri.clone())?;
            let held = |entry: &forms::Entry| found.get(&entry.name).is_some_and(|(_, own)| own.shape == entry.shape);
            if layout.loose && !found.is_empty() && catalogue.skipped.is_empty() && catalogue.entries.iter().all(held) {
                // A second copy of tensors that are read already is no more of the model; other values are another one.
                if twin::is_other(store, name, catalogue, &self.shards, &found)? {
                    let first = self.shards.first().map_or("", |shard| &shard.name);
                    let list = vec![quoted(first), quoted(name)];
                    let why = text!("error-checkpoint/index/several-files-hold-weights", list, more = 0_usize);
                    return Err(Error::input(why)).context(|| self.uri.clone());
                }
                self.unread.push(name.clone());
                continue;
            }
            self.add(name, layout, catalogue, &mut found, &mut seen, rest)?;
        }
        if let Some((index, map)) = &layout.index {
            for (tensor, shard) in map {
                if seen.get(tensor) != Some(shard) {
                    return Err(Error::input(text!(
                        "error-checkpoint/catalogue/says-tensor-but-not",
                        uri = &self.uri,
                        index,
                        tensor = quoted(tensor),
                        shard = quoted(shard)
                    )));
                }
            }
            let made = |tensor: &&String| seen.get(*tensor).is_some_and(String::is_empty);
            let unlisted: Vec<String> =
                found.keys().filter(|tensor| !map.contains_key(*tensor) && !made(tensor)).cloned().collect();
            for tensor in unlisted {
                rest.lost += found.remove(&tensor).map_or(0, |(_, own)| own.bytes);
                self.skipped.push(Skipped { tensor, why: format!("{index} does not name it, so no loader reads it") });
            }
        }
        self.skipped.sort();
        self.unread.sort();
        Ok(found)
    }

    /// Takes over what a file holds. A tensor that another file has as well is two versions of one: refused.
    fn add(
        &mut self,
        file: &str,
        layout: &Layout,
        mut catalogue: Catalogue,
        found: &mut BTreeMap<String, (usize, HeaderTensor)>,
        seen: &mut HashMap<String, String>,
        rest: &mut Rest,
    ) -> Result<()> {
        let names = || catalogue.entries.iter().map(|entry| &entry.name);
        if let Some(name) = names().find(|name| name.len() > LONGEST_NAME) {
            let name = quoted(name);
            return Err(Error::input(text!(
                "error-checkpoint/catalogue/name-tensor-too-long",
                uri = &self.uri,
                name,
                longest_name = LONGEST_NAME
            )));
        }
        if seen.len() + catalogue.entries.len() + catalogue.skipped.len() > TENSORS {
            return Err(Error::input(text!("error-checkpoint/catalogue/tensors", uri = &self.uri, most = TENSORS)));
        }
        for tensor in names().chain(catalogue.skipped.iter().map(|skipped| &skipped.tensor)) {
            if let Some(other) = seen.insert(tensor.clone(), file.to_owned()) {
                return Err(Error::input(text!(
                    "error-checkpoint/catalogue/tensor-both",
                    uri = &self.uri,
                    tensor = quoted(tensor),
                    other = quoted(&other),
                    file = quoted(file)
                )));
            }
        }
        self.form = catalogue.form.clone();
        let own = catalogue.entries.iter().map(|entry| entry.bytes().map_or(0, |bytes| bytes as u64));
        self.stored += own.sum::<u64>() + catalogue.unread;
        rest.lost += catalogue.unread;
        rest.others.append(&mut catalogue.others);
        self.config = self.config.take().or_else(|| catalogue.settings.clone());
        for name in forms::quantised::unpack(&mut catalogue, self.config.as_ref(), layout.quantisation.as_ref()) {
            // In no file by this name.
            seen.entry(name).or_default();
        }
        self.skipped.append(&mut catalogue.skipped);
        for note in &catalogue.notes {
            if !self.notes.contains(note) {
                self.notes.push(note.clone());
            }
        }
        let (files, tensors) = catalogue.settle(file, self.shards.len())?;
        self.shards.extend(files);
        found.extend(tensors.into_iter().map(|(shard, tensor)| (tensor.name.clone(), (shard, tensor))));
        Ok(())
    }

    /// Says what the tensors are for.
    fn name(&mut self, found: BTreeMap<String, (usize, HeaderTensor)>) {
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        let (names, wrappers) = bare_names(&names);
        self.wrappers = wrappers;
        let blank = |name: &str| Role::unknown(name);
        self.tensors = found
            .into_values()
            .zip(names)
            .map(|((shard, tensor), name)| TensorRecord {
                role: blank(&name),
                name,
                dtype: tensor.dtype,
                shape: tensor.shape,
                shard,
                offset: tensor.offset,
                bytes: tensor.bytes,
                split: None,
            })
            .collect();
        self.tensors.sort_by(|a, b| a.name.cmp(&b.name));
        self.recognise(builtin());
        if self.architecture.is_none() && stacked::apart(&mut self.tensors) {
            self.tensors.sort_by(|a, b| a.name.cmp(&b.name));
            self.recognise(builtin());
        }
    }

    /// Says what the tensors are for, by these architectures.
    pub fn recognise(&mut self, architectures: &Architectures) {
        let model_type = self.config.as_ref().and_then(|config| config.get("model_type")?.as_str());
        let names: Vec<&str> = self.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        let recognition = architectures.recognise(&names, model_type);
        self.architecture = recognition.architecture;
        let told = recognition.roles.into_iter().zip(recognition.splits);
        for (tensor, (role, split)) in self.tensors.iter_mut().zip(told) {
            (tensor.role, tensor.split) = (role, split);
        }
        settle_residual_axes(&mut self.tensors);
        deduce(&mut self.tensors);
        set_prediction_layers_apart(&mut self.tensors);
    }

    /// The tokenizer beside the weights, read and parsed once.
    ///
    /// # Errors
    /// If there is none or it cannot be used. Then only the comparison by strings is not made.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.vocabulary.tokenizer()
    }

    /// The states of its optimizers, if they lie beside the weights or in the same file; none otherwise. They are read once,
    /// when they are first asked for, and what they hold when it is.
    ///
    /// # Errors
    /// If they are there and cannot be read.
    pub fn optimizers(&self) -> Result<&[Optimizer]> {
        self.optimizers.optimizers()
    }

    /// Bytes of all tensors.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.bytes).sum()
    }

    /// The tensor of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&TensorRecord> {
        let at = self.tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name)).ok()?;
        Some(&self.tensors[at])
    }

    /// The bytes of one of this checkpoint's tensors, little-endian, outermost axis first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(&self, tensor: &TensorRecord) -> Result<Cow<'_, [u8]>> {
        let shard = self.shards.get(tensor.shard);
        let shard =
            shard.ok_or_else(|| Error::usage(text!("error-checkpoint/catalogue/no-such-shard", uri = &self.uri)))?;
        let length = usize::try_from(tensor.bytes).map_err(|cause| Error::io(&self.uri, cause))?;
        let bytes = shard.blob.bytes(tensor.offset, length)?;
        if let Cow::Owned(_) = bytes {
            shard.blob.release(tensor.offset, length);
        }
        Ok(bytes)
    }

    /// Length of the residual stream of the language model: what most tensors say, else config.json.
    #[must_use]
    pub fn hidden_size(&self) -> Option<usize> {
        hidden_sizes(self.catalogue()).get("").copied().or_else(|| self.setting(&["hidden_size", "n_embd", "d_model"]))
    }

    /// Length of the residual stream of every tower, by its name prefix; the language model's is empty.
    #[must_use]
    pub fn axes(&self) -> BTreeMap<&str, usize> {
        hidden_sizes(self.catalogue())
    }

    /// Number of tokens: rows of the embedding or the head, else config.json.
    #[must_use]
    pub fn vocab_size(&self) -> Option<usize> {
        let rows = |family: &str| {
            let tensor =
                self.catalogue().iter().find(|tensor| tensor.role.is_main(family) && tensor.shape.len() == 2)?;
            Some(tensor.shape[0])
        };
        rows("embedding").or_else(|| rows("head")).or_else(|| self.setting(&["vocab_size"]))
    }

    /// Number of different layers of the language model.
    #[must_use]
    pub fn layers(&self) -> usize {
        let main = self.tensors.iter().filter(|tensor| tensor.role.tower.is_empty() && !tensor.role.is_prediction());
        let mut layers: Vec<u32> = main.filter_map(|tensor| tensor.role.layer).collect();
        layers.sort_unstable();
        layers.dedup();
        layers.len()
    }

    /// Number of experts of the layer that has most; 0 without experts.
    #[must_use]
    pub fn experts(&self) -> usize {
        let mut single: BTreeMap<(Option<u32>, &str), usize> = BTreeMap::new();
        let mut stacked = 0;
        for tensor in self.tensors.iter().filter(|tensor| tensor.role.tower.is_empty()) {
            if tensor.role.expert.is_some() {
                *single.entry((tensor.role.layer, &tensor.role.family)).or_default() += 1;
            } else if tensor.role.known && tensor.role.family.starts_with("experts.") && tensor.shape.len() == 3 {
                stacked = stacked.max(tensor.shape[0]);
            }
        }
        single.into_values().max().unwrap_or(0).max(stacked)
    }

    /// A whole number of config.json, or of the part about the language model in it.
    pub(super) fn setting(&self, keys: &[&str]) -> Option<usize> {
        let config = self.config.as_ref()?;
        let places = [Some(config), config.get("text_config")];
        let mut values = places.into_iter().flatten().flat_map(|place| keys.iter().filter_map(|key| place.get(key)));
        values.find_map(|value| usize::try_from(value.as_u64()?).ok())
    }
}

impl Checkpoint {
    /// The same model again, its files shared: for one whose roles are to be changed.
    #[must_use]
    pub fn shared(&self) -> Self {
        let mut copy = Self::empty(self.uri.clone(), self);
        copy.tensors.clone_from(&self.tensors);
        copy.shards.clone_from(&self.shards);
        copy.skipped.clone_from(&self.skipped);
        copy.unread.clone_from(&self.unread);
        copy.untaken.clone_from(&self.untaken);
        copy.wrappers.clone_from(&self.wrappers);
        copy.met.clone_from(&self.met);
        copy.adapter.clone_from(&self.adapter);
        copy.sample.clone_from(&self.sample);
        copy
    }

    /// The same model, of which up to so many bytes stay in memory once they were read.
    #[must_use]
    pub fn held(&self, bytes: usize) -> Self {
        let left = Arc::new(AtomicUsize::new(bytes));
        let mut copy = self.shared();
        for shard in &mut copy.shards {
            shard.blob = Arc::new(HeldFile::new(Arc::clone(&shard.blob), Arc::clone(&left)));
        }
        copy
    }
}

/// What is found and not taken while a model is read.
#[derive(Default)]
struct Rest {
    others: Vec<Others>,
    /// Bytes of its own tensors that cannot be read.
    lost: u64,
}

impl Rest {
    fn look(
        self,
        store: &dyn Store,
        names: &[String],
        read: &Checkpoint,
        found: &BTreeMap<String, (usize, HeaderTensor)>,
        folder: bool,
    ) -> Vec<Untaken> {
        let first = read.skipped.first().map(|skipped| skipped.tensor.clone());
        let adapter = names.iter().any(|name| name == adapter::CONFIG);
        let taken = Taken { shards: &read.shards, found, lost: (self.lost, first), adapter, folder };
        untaken::look(store, names, &taken, self.others)
    }
}

impl TensorRecord {
    /// Takes over the role of another model's tensor, which is then said to be deduced; `turned` if this one is stored the
    /// other way round. Says whether anything changed.
    pub fn adopt(&mut self, like: &Self, turned: bool) -> bool {
        let mut role = Role { known: true, deduced: true, ..like.role.clone() };
        if turned {
            role.residual = super::residual::turned(role.residual);
        }
        let own = Role { deduced: true, ..self.role.clone() };
        if self.role.known && own == role {
            return false;
        }
        self.role = role;
        self.split.clone_from(&like.split);
        true
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checkpoint({}, {} tensors)", self.uri, self.tensors.len())
    }
}

impl Role {
    /// Whether it belongs to a layer for multi-token prediction.
    pub(super) fn is_prediction(&self) -> bool {
        self.known && self.family.starts_with("mtp.")
    }

    /// Whether this is that family of the language model itself.
    pub(super) fn is_main(&self, family: &str) -> bool {
        self.known && self.tower.is_empty() && self.family == family
    }
}

/// Reads config.json.
fn read_config(store: &dyn Store) -> Result<serde_json::Value> {
    let text = index::read_small(store, "config.json")?;
    let config = read_settings(&text)?;
    if config.is_object() { Ok(config) } else { Err(Error::input(text!("error-checkpoint/catalogue/not-json-object"))) }
}

#[cfg(test)]
mod tests;
