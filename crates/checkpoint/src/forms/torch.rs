//! What `torch.save` writes: a pickle that describes tensors, and their storages as runs of bytes. Since 1.6 both are
//! entries of a zip archive (`data.pkl`, `data/KEY`; `torch/serialization.py`); before, the storages follow the pickle. A
//! `TorchScript` module is the zip form with its code beside it, which is not looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pickle::{self, Arena, Id, Kind, Node, Settings, View};
use super::tape::Tape;
use super::untaken::Others;
use super::zip::{Directory, Member, unpack, unpackable};
use super::{Catalogue, Entry, Form, Glance, Place, gather, state, untaken};
use crate::header::quoted;
use crate::shape::size;
use crate::{Shard, Skipped};
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::{Blob, MadeFile, Make};
use scratchproof_texts::{Text, text};

/// The first value of the form before 1.6: `torch.serialization.MAGIC_NUMBER`, 0x1950a86a20f9469cfc6c, as a pickle of
/// protocol 2 writes it.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// What a tape is called that holds a pickle.
const PICKLE: &str = "the pickle";

/// The largest pickle that is read.
const LARGEST: u64 = 256 << 20;

/// A view may be larger than its storage (an expanded one), up to this many bytes.
const EXPANDED: u64 = 64 << 20;

pub(super) struct Zip;
pub(super) struct Legacy;

/// A file of torch: its values, and where the bytes of its storages are.
pub(super) struct Archive {
    pub(super) arena: Arena,
    pub(super) root: Id,
    /// The file, and what was unpacked of it.
    pub(super) files: Vec<Shard>,
    /// File, first byte and length of each storage.
    storages: Vec<Option<(usize, u64, u64)>>,
    /// A module with its code.
    scripted: bool,
}

impl Form for Zip {
    fn name(&self) -> &'static str {
        "checkpoint/form/torch-zip"
    }

    fn holds(&self, file: &Glance<'_>) -> bool {
        file.head.starts_with(b"PK\x03\x04")
            // What is wrong with an archive that cannot be read is said by reading it.
            && Directory::read(&**file.blob).map_or(true, |zip| zip.members.keys().any(|name| is_pickle(name)))
    }

    fn catalogue(&self, file: &Glance<'_>) -> Result<Catalogue> {
        Archive::open(file.name, file.blob)?.model()
    }
}

impl Form for Legacy {
    fn name(&self) -> &'static str {
        "checkpoint/form/torch-legacy"
    }

    fn holds(&self, file: &Glance<'_>) -> bool {
        matches!(file.head[..], [0x80, 0..=5, ..])
    }

    fn catalogue(&self, file: &Glance<'_>) -> Result<Catalogue> {
        Archive::open(file.name, file.blob)?.model()
    }
}

/// All tensors of a file but states of optimizers and of random numbers.
///
/// # Errors
/// As [`Archive::open`].
pub(super) fn everything(name: &str, blob: &Arc<dyn Blob>) -> Result<Catalogue> {
    let archive = Archive::open(name, blob)?;
    let mut own = Others::default();
    for (path, id) in untaken::beside(&archive.arena, archive.root, &[], name)? {
        archive.put(&path, id, &mut own);
    }
    Ok(Catalogue { entries: own.entries, unread: own.lost, files: archive.files, ..Catalogue::default() })
}

/// Whether a file is torch's, of either form, or a pickle.
pub(super) fn is_torch(name: &str, blob: &Arc<dyn Blob>) -> bool {
    let head = blob.bytes(0, usize::try_from(blob.len().min(4)).unwrap_or(0));
    head.is_ok_and(|head| {
        let file = Glance { name, blob, head: head.into_owned(), beside: &|_| Ok(None) };
        Zip.holds(&file) || Legacy.holds(&file)
    })
}

fn is_pickle(name: &str) -> bool {
    name.strip_suffix("data.pkl")
        .is_some_and(|folder| folder.is_empty() || folder.matches('/').count() == 1 && folder.ends_with('/'))
}

impl Archive {
    /// Opens a file of either form.
    ///
    /// # Errors
    /// If it is neither, asks for anything but values, or is damaged.
    pub(super) fn open(name: &str, blob: &Arc<dyn Blob>) -> Result<Self> {
        let head = blob.bytes(0, usize::try_from(blob.len().min(16)).unwrap_or(0))?.into_owned();
        if head.starts_with(b"PK\x03\x04") {
            return Self::zip(name, blob);
        }
        Self::legacy(name, blob)
    }

    fn zip(name: &str, blob: &Arc<dyn Blob>) -> Result<Self> {
        let zip = Directory::read(&**blob)?;
        let pickled = zip.members.keys().find(|name| is_pickle(name)).cloned();
        let pickled = pickled.ok_or_else(|| Error::input(text!("error-checkpoint/torch/zip-archive-no-data")))?;
        let folder = pickled.trim_end_matches("data.pkl");
        if let Some(order) = zip.small(&**blob, &format!("{folder}byteorder"), 64)?
            && order != b"little"
        {
            return Err(Error::input(text!("error-checkpoint/torch/tensors-stored-highest-byte")));
        }
        let scripted = zip.members.contains_key(&format!("{folder}constants.pkl"))
            || zip.members.keys().any(|name| name.starts_with(&format!("{folder}code/")));
        let run = |pickled: &str| -> Result<(Arena, Id)> {
            let mut arena = Arena::default();
            let member = &zip.members[pickled];
            let root = if member.deflated {
                let bytes = zip.small(&**blob, pickled, LARGEST)?.unwrap_or_default();
                let bytes = scratchproof_source::MemoryFile::new(name, bytes);
                pickle::run(&mut Tape::new(PICKLE, &bytes, 0, bytes.len()), &mut arena, Settings { scripted })
            } else {
                let end = member.offset + member.size.min(LARGEST);
                pickle::run(&mut Tape::new(PICKLE, &**blob, member.offset, end), &mut arena, Settings { scripted })
            };
            Ok((arena, root.context(|| pickled.to_owned())?))
        };
        let (mut arena, mut root) = run(&pickled)?;
        let mut data = format!("{folder}data/");
        let constants = format!("{folder}constants.pkl");
        if scripted && arena.storages.is_empty() && zip.members.contains_key(&constants) {
            // A frozen module has its weights among the constants of its code.
            (arena, root) = run(&constants)?;
            root = arena.under("constants", root);
            data = format!("{folder}constants/");
        }
        let mut files = vec![Shard { name: name.to_owned(), blob: Arc::clone(blob) }];
        let storages = zip_storages(&arena, &zip, &data, &mut files)?;
        Ok(Self { arena, root, files, storages, scripted })
    }

    fn legacy(name: &str, blob: &Arc<dyn Blob>) -> Result<Self> {
        let mut arena = Arena::default();
        let mut tape = Tape::new(PICKLE, &**blob, 0, blob.len());
        let head = blob.bytes(0, usize::try_from(blob.len().min(32)).unwrap_or(0))?.into_owned();
        // From protocol 4 on a frame's opcode and length come first.
        let first = match head.get(2..) {
            Some([0x95, _, _, _, _, _, _, _, _, rest @ ..]) => rest,
            other => other.unwrap_or_default(),
        };
        let torch = first.starts_with(MAGIC);
        let mut next = |arena: &mut Arena| pickle::run(&mut tape, arena, Settings::default());
        let files = vec![Shard { name: name.to_owned(), blob: Arc::clone(blob) }];
        if !torch {
            // A plain pickle: settings, or what torch did not write. It can hold no storage.
            let root = next(&mut arena)?;
            let storages = vec![None; arena.storages.len()];
            return Ok(Self { arena, root, files, storages, scripted: false });
        }
        next(&mut arena)?;
        let version = next(&mut arena)?;
        if arena.whole(version) != Some(1001) {
            return Err(Error::input(text!("error-checkpoint/torch/version-torch-s-form")));
        }
        let system = next(&mut arena)?;
        if arena.get(system, "little_endian").and_then(|id| arena.whole(id)) == Some(0) {
            return Err(Error::input(text!("error-checkpoint/torch/tensors-stored-highest-byte")));
        }
        let root = next(&mut arena)?;
        let keys = next(&mut arena)?;
        let keys: Vec<String> =
            arena.items(keys).unwrap_or_default().iter().filter_map(|key| arena.key(*key)).collect();
        let storages = legacy_storages(&arena, &keys, &**blob, tape.at)?;
        Ok(Self { arena, root, files, storages, scripted: false })
    }

    /// The model in it.
    ///
    /// # Errors
    /// If there is none, or a tensor of it is not in the file.
    pub(super) fn model(self) -> Result<Catalogue> {
        let found = state::model(&self.arena, self.root)?;
        let mut catalogue = Catalogue {
            settings: found.settings.map(|id| self.arena.settings(id)),
            notes: found.notes,
            form: if self.scripted { Text::new("checkpoint/form/torch-script") } else { Text::default() },
            ..Catalogue::default()
        };
        for class in &self.arena.foreign {
            catalogue.notes.push(text!("checkpoint/read/foreign", class = quoted(class)));
        }
        let taken: Vec<Id> = found.tensors.iter().map(|(_, id)| *id).collect();
        let beside = untaken::beside(&self.arena, self.root, &taken, "")?;
        catalogue.others = self.by_entry(beside, &found.path);
        self.entries(found.tensors, &mut catalogue)?;
        catalogue.files = self.files;
        Ok(catalogue)
    }

    /// Puts tensors into a catalogue whose files are this archive's.
    ///
    /// # Errors
    /// If a tensor is not inside its storage, or the storage not in the file.
    pub(super) fn entries(&self, tensors: Vec<(String, Id)>, catalogue: &mut Catalogue) -> Result<()> {
        for (name, id) in tensors {
            match self.entry(&name, id)? {
                Ok(entry) => catalogue.entries.push(entry),
                Err(why) => {
                    catalogue.unread += self.size(id);
                    catalogue.skipped.push(Skipped { tensor: name, why });
                }
            }
        }
        Ok(())
    }

    /// The entry that each tensor is in, where the entry at `taken` is the model.
    fn by_entry(&self, found: Vec<(String, Id)>, taken: &[String]) -> Vec<Others> {
        let mut all: BTreeMap<String, Others> = BTreeMap::new();
        for (path, id) in found {
            let parts: Vec<&str> = path.split('.').collect();
            let shared = parts.iter().zip(taken).take_while(|(part, own)| **part == own.as_str()).count();
            let entry = parts[..(shared + 1).min(parts.len())].join(".");
            let blank = || Others { entry: entry.clone(), files: self.files.clone(), ..Others::default() };
            self.put(&path, id, all.entry(entry.clone()).or_insert_with(blank));
        }
        all.into_values().collect()
    }

    fn put(&self, path: &str, id: Id, others: &mut Others) {
        match self.entry(path, id) {
            Ok(Ok(entry)) => others.entries.push(entry),
            Ok(Err(_)) => others.lost += self.size(id),
            // What is not in the file was not handed over.
            Err(_) => {}
        }
    }

    /// Bytes of a tensor.
    pub(super) fn size(&self, id: Id) -> u64 {
        let view = self.arena.view(id);
        view.and_then(|view| size(&view.shape, view.kind.width())).unwrap_or(0) as u64
    }

    /// One tensor, or why it is not read.
    ///
    /// # Errors
    /// As [`Archive::entries`].
    pub(super) fn entry(&self, name: &str, id: Id) -> Result<Result<Entry, String>> {
        if let Node::Absent(why) = self.arena.node(id) {
            return Ok(Err((*why).to_owned()));
        }
        let view = self.arena.view(id).ok_or_else(|| Error::usage(text!("error-checkpoint/torch/not-tensor")))?;
        let shown = quoted(name);
        let storage = &self.arena.storages[view.storage];
        let key = quoted(&storage.key);
        let (file, start, length) = self.storages[view.storage].ok_or_else(|| {
            Error::input(text!("error-checkpoint/torch/tensor-storage-not-file", shown = &shown, key = &key))
        })?;
        let width = view.kind.width();
        let end = gather::extent(&view.shape, &view.strides).and_then(|extent| {
            let end = u64::try_from(extent).ok()?.checked_add(view.offset)?;
            end.checked_mul(width as u64)
        });
        if end.is_none_or(|end| end > length) && !view.shape.contains(&0) {
            return Err(Error::input(text!(
                "error-checkpoint/torch/tensor-shape-strides-element",
                shown,
                shape = format!("{:?}", view.shape),
                strides = format!("{:?}", view.strides),
                offset = &view.offset,
                key,
                length
            )));
        }
        let bytes = size(&view.shape, width).filter(|bytes| *bytes as u64 <= length.max(EXPANDED));
        if bytes.is_none() {
            return Err(Error::input(text!(
                "error-checkpoint/torch/tensor-shape-expanded-storage",
                shown,
                shape = format!("{:?}", view.shape),
                length
            )));
        }
        Ok(self.placed(name, view, file, start))
    }

    #[allow(clippy::unused_self, reason = "beside the others of its kind")]
    fn placed(&self, name: &str, view: &View, file: usize, start: u64) -> Result<Entry, String> {
        if view.quantised.is_some() {
            let kind = match view.kind {
                Kind::Other(kind, _) => kind,
                _ => "quantised",
            };
            return Err(format!("it is quantised to {kind} by torch, and is not compared"));
        }
        if view.turned {
            let why = "its numbers are stored with torch's bit for the negative or the conjugate, which is not read: save \
                       `tensor.resolve_conj().resolve_neg()`";
            return Err(why.to_owned());
        }
        let dtype = match view.kind {
            Kind::Numbers(dtype) => dtype,
            Kind::Untyped => return Err("its number format is not said".to_owned()),
            Kind::Other(kind, _) => return Err(format!("the number format {kind} is not read")),
        };
        // Only an empty tensor may begin behind its storage.
        let offset = start + view.offset.saturating_mul(dtype.width() as u64);
        let place = match view.shape.contains(&0) {
            true => Place::Run { file, offset: start },
            false if gather::contiguous(&view.shape, &view.strides) => Place::Run { file, offset },
            false => Place::Strided { file, offset, shape: view.shape.clone(), strides: view.strides.clone() },
        };
        Ok(Entry { name: name.to_owned(), dtype, shape: view.shape.clone(), place })
    }
}

/// Where the storages of a zip archive are. Deflated ones become a file of their own, unpacked one at a time.
fn zip_storages(
    arena: &Arena,
    zip: &Directory,
    data: &str,
    files: &mut Vec<Shard>,
) -> Result<Vec<Option<(usize, u64, u64)>>> {
    let blob = Arc::clone(&files[0].blob);
    let mut pieces: Vec<(u64, Make)> = Vec::new();
    let mut end = 0;
    let mut found = Vec::with_capacity(arena.storages.len());
    for storage in &arena.storages {
        let name = format!("{data}{}", storage.key);
        let Some(member) = zip.members.get(&name) else {
            found.push(None);
            continue;
        };
        let wanted = storage.elements.checked_mul(storage.kind.width() as u64);
        if wanted.is_none_or(|wanted| wanted > member.size) {
            return Err(Error::input(text!(
                "error-checkpoint/torch/storage-said-elements-bytes",
                key = quoted(&storage.key),
                elements = &storage.elements,
                kind = storage.kind.width(),
                name = quoted(&name),
                size = &member.size
            )));
        }
        if !member.deflated {
            found.push(Some((0, member.offset, member.size)));
            continue;
        }
        unpackable(&name, member)?;
        found.push(Some((1, end, member.size)));
        pieces.push((member.size, unpacking(&blob, &name, member)));
        end += member.size;
    }
    if !pieces.is_empty() {
        let name = "(unpacked)".to_owned();
        files.push(Shard { blob: Arc::new(MadeFile::new(format!("{} {name}", blob.uri()), pieces)), name });
    }
    Ok(found)
}

/// How an entry is unpacked.
pub(super) fn unpacking(blob: &Arc<dyn Blob>, name: &str, member: &Member) -> Make {
    let (blob, name, member) = (Arc::clone(blob), name.to_owned(), member.clone());
    Box::new(move || unpack(&*blob, &name, &member).context(|| blob.uri()))
}

/// Where the storages behind the pickles are: each is its number of elements in eight bytes, then the elements.
fn legacy_storages(
    arena: &Arena,
    keys: &[String],
    blob: &dyn Blob,
    start: u64,
) -> Result<Vec<Option<(usize, u64, u64)>>> {
    let mut found = vec![None; arena.storages.len()];
    let by_key: std::collections::HashMap<&str, usize> =
        arena.storages.iter().enumerate().map(|(index, storage)| (storage.key.as_str(), index)).collect();
    let mut at = start;
    for key in keys {
        let shown = quoted(key);
        let index = *by_key
            .get(key.as_str())
            .ok_or_else(|| Error::input(text!("error-checkpoint/torch/file-storage-no-tensor", shown = &shown)))?;
        let mut length = [0; 8];
        blob.read_at(at, &mut length).context(|| text!("error-checkpoint/torch/storage", shown = &shown))?;
        let storage = &arena.storages[index];
        let elements = u64::from_le_bytes(length);
        let bytes = elements.checked_mul(storage.kind.width() as u64);
        let end = bytes.and_then(|bytes| at.checked_add(8)?.checked_add(bytes)).filter(|end| *end <= blob.len());
        let (Some(bytes), Some(end)) = (bytes, end) else {
            return Err(Error::input(text!("error-checkpoint/torch/storage-said-elements-more", shown, elements)));
        };
        if elements != storage.elements {
            return Err(Error::input(text!(
                "error-checkpoint/torch/storage-elements-but-pickle",
                shown,
                elements,
                elements_2 = &storage.elements
            )));
        }
        found[index] = Some((0, at + 8, bytes));
        at = end;
    }
    Ok(found)
}
