//! The forms in which checkpoints are kept: one trait, one file a format, recognised by content. Every form gives the same
//! thing, a [`Catalogue`] of named tensors with number format, shape and byte ranges or strides. Nothing that is in a file
//! is ever run.

pub(crate) mod beside;
pub(crate) mod consolidated;
mod deepspeed;
mod distributed;
pub(crate) mod folder;
mod gather;
mod gguf;
mod hdf5;
mod hub_cache;
mod megatron;
pub(crate) mod neighbour;
mod npz;
mod onnx;
pub(crate) mod optimizer;
mod parts;
mod pickle;
pub(crate) mod quantised;
mod safetensors;
mod state;
mod tape;
mod torch;
pub(crate) mod twin;
pub(crate) mod untaken;
mod ways_out;
mod zip;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::header::quoted;
use crate::shape::{ELEMENTS, size};
use crate::{Dtype, HeaderTensor, Shard, Skipped};
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::{Blob, MadeFile, Make, Store};
use scratchproof_texts::{Text, text};
pub(crate) use ways_out::{of_files, of_place};

/// A way of keeping tensors in a file.
pub(crate) trait Form: Sync {
    /// The key of what it is called.
    fn name(&self) -> &'static str;

    /// Whether a file is of this form, by what is in it.
    fn holds(&self, file: &Glance<'_>) -> bool;

    /// The tensors of a file.
    ///
    /// # Errors
    /// If the file is not wholly what the form says: one sentence with the tensor.
    fn catalogue(&self, file: &Glance<'_>) -> Result<Catalogue>;
}

/// A file at first sight.
pub(crate) struct Glance<'a> {
    /// Name in the folder.
    pub(crate) name: &'a str,
    /// Its bytes.
    pub(crate) blob: &'a Arc<dyn Blob>,
    /// The first of them.
    pub(crate) head: Vec<u8>,
    /// Opens a file that lies beside it, by its name.
    pub(crate) beside: &'a Beside<'a>,
}

/// How a file beside another is opened, if there is one of that name.
pub(crate) type Beside<'a> = dyn Fn(&str) -> Result<Option<Arc<dyn Blob>>> + 'a;

/// What a file or a folder holds.
#[derive(Default)]
pub(crate) struct Catalogue {
    /// The form it is kept in.
    pub(crate) form: Text,
    /// The files that hold the bytes.
    pub(crate) files: Vec<Shard>,
    /// The tensors, in the writer's order.
    pub(crate) entries: Vec<Entry>,
    /// Tensors that are not read, with the reason.
    pub(crate) skipped: Vec<Skipped>,
    /// What a reader should know of how it was read.
    pub(crate) notes: Vec<Text>,
    /// The model's settings, where they are in the file itself.
    pub(crate) settings: Option<Value>,
    /// Bytes of the model's tensors that are not read.
    pub(crate) unread: u64,
    /// What its files hold beside the model.
    pub(crate) others: Vec<untaken::Others>,
    /// Names of entries that are powers of two, a byte each: scales, and no numbers to compare.
    pub(crate) powers: BTreeSet<String>,
}

/// One tensor.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) place: Place,
}

/// Where a tensor's elements are.
#[derive(Clone)]
pub(crate) enum Place {
    /// One after the other from a byte of a file.
    Run { file: usize, offset: u64 },
    /// From a byte of a file, with steps in elements along each axis of a shape that has as many elements.
    Strided { file: usize, offset: u64, shape: Vec<usize>, strides: Vec<usize> },
    /// They are put together or unpacked when they are asked for.
    Made(Arc<dyn Fn() -> Result<Vec<u8>> + Send + Sync>),
}

/// Every form, in the order in which they are tried.
static FORMS: &[&dyn Form] = &[
    &safetensors::Safetensors,
    &torch::Zip,
    &npz::Npz,
    &gguf::Gguf,
    &hdf5::Hdf5,
    &ways_out::WayOut,
    &torch::Legacy,
    &onnx::Onnx,
];

/// A file of fewer bytes is of no form.
const SHORT: usize = 8;

/// Bytes that are looked at to tell a form.
const HEAD: u64 = 512;

/// The tensors of a file, whatever its form.
///
/// # Errors
/// If the file is of no form that is read, or not wholly what its form says.
pub(crate) fn catalogue(name: &str, blob: &Arc<dyn Blob>, store: &dyn Store) -> Result<Catalogue> {
    let read = || {
        let length = usize::try_from(blob.len().min(HEAD)).unwrap_or(0);
        if length == 0 {
            return Err(Error::input(text!("error-checkpoint/forms/empty")));
        }
        let beside = |name: &str| Ok(store.beside(name)?.map(Arc::from));
        let file = Glance { name, blob, head: blob.bytes(0, length)?.into_owned(), beside: &beside };
        let form = FORMS.iter().find(|form| form.holds(&file)).copied();
        if form.is_none() && !name.ends_with(".safetensors") && !begins_as_safetensors(&file) {
            return Err(Error::input(if length < SHORT {
                text!("error-checkpoint/forms/short", bytes = length)
            } else {
                text!("error-checkpoint/forms/begins-no-form-checkpoint")
            }));
        }
        // What is of no other form is held against the safetensors format, which says what is wrong.
        let form = form.unwrap_or(&safetensors::Safetensors);
        let mut found = form.catalogue(&file)?;
        if found.form.is_empty() {
            found.form = Text::new(form.name());
        }
        Ok(found)
    };
    read().context(|| blob.uri())
}

/// Whether a file is a part of a checkpoint that is a folder: its form has read what it wants of it.
pub(crate) fn is_of_folder(name: &str) -> bool {
    name.ends_with(".distcp") || deepspeed::is_state(name) || megatron::is_state(name) || consolidated::is_part(name)
}

/// Whether the first eight bytes can be the length of a header.
fn begins_as_safetensors(file: &Glance<'_>) -> bool {
    let prefix = file.head.first_chunk::<8>().map(|prefix| u64::from_le_bytes(*prefix));
    prefix.is_some_and(|length| length <= file.blob.len()) && file.head.get(8).is_none_or(|byte| *byte == b'{')
}

impl Entry {
    /// Length in bytes.
    ///
    /// # Errors
    /// If the shape is larger than anything.
    pub(crate) fn bytes(&self) -> Result<usize> {
        size(&self.shape, self.dtype.width()).ok_or_else(|| {
            Error::input(text!(
                "error-checkpoint/forms/shape-tensor-overflows-elements",
                shape = format!("{:?}", self.shape),
                name = quoted(&self.name),
                elements = ELEMENTS
            ))
        })
    }

    /// The elements, little-endian, outermost axis first.
    pub(crate) fn read(&self, files: &[Shard]) -> Result<Vec<u8>> {
        let blob = |file: usize| {
            let shard = files.get(file);
            shard.map(|shard| &*shard.blob).ok_or_else(|| Error::usage(text!("error-checkpoint/forms/tensor-no-file")))
        };
        let bytes = match &self.place {
            Place::Run { file, offset } => blob(*file)?.bytes(*offset, self.bytes()?)?.into_owned(),
            Place::Strided { file, offset, shape, strides } => {
                gather::strided(blob(*file)?, *offset, shape, strides, self.dtype.width())?
            }
            Place::Made(make) => make()?,
        };
        if bytes.len() != self.bytes()? {
            return Err(Error::input(text!(
                "error-checkpoint/forms/tensor-bytes",
                name = quoted(&self.name),
                bytes = bytes.len()
            )));
        }
        Ok(bytes)
    }
}

impl Catalogue {
    /// The tensors as runs of bytes of files: what is strided or made is put into one file that exists nowhere, which is
    /// computed tensor by tensor when it is read. `first` is the number that the first of the files gets.
    ///
    /// # Errors
    /// If a shape is larger than anything.
    #[allow(clippy::type_complexity, reason = "files, and tensors with the file of each")]
    pub(crate) fn settle(self, uri: &str, first: usize) -> Result<(Vec<Shard>, Vec<(usize, HeaderTensor)>)> {
        let Self { mut files, entries, .. } = self;
        let sources: Arc<[Shard]> = files.clone().into();
        let made = first + files.len();
        let mut pieces: Vec<(u64, Make)> = Vec::new();
        let mut end = 0;
        let mut tensors = Vec::with_capacity(entries.len());
        for entry in entries {
            let bytes = entry.bytes()? as u64;
            let Entry { name, dtype, shape, place } = entry.clone();
            if let Place::Run { file, offset } = place {
                tensors.push((first + file, HeaderTensor { name, dtype, shape, offset, bytes }));
                continue;
            }
            tensors.push((made, HeaderTensor { name, dtype, shape, offset: end, bytes }));
            let sources = Arc::clone(&sources);
            let make = move || {
                entry.read(&sources).context(|| text!("error-checkpoint/forms/tensor", name = quoted(&entry.name)))
            };
            pieces.push((bytes, Box::new(make)));
            end += bytes;
        }
        if !pieces.is_empty() {
            let name = "(put together)".to_owned();
            let blob = Arc::new(MadeFile::new(format!("{uri} {name}"), pieces));
            files.push(Shard { name, blob });
        }
        Ok((files, tensors))
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run { file, offset } => write!(f, "byte {offset} of file {file}"),
            Self::Strided { file, offset, strides, .. } => write!(f, "byte {offset} of file {file} by {strides:?}"),
            Self::Made(_) => f.write_str("made"),
        }
    }
}
