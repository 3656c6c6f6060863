//! HDF5 as Keras and h5py write it: superblocks 0 to 3, object headers 1 and 2, groups as symbol tables or as links in the
//! header, datasets in one run of bytes (HDF5 File Format Specification, version 3.0). What is kept in another way is named
//! with the reason. The archive of Keras 3 (`.keras`) holds such a file, not compressed.
//!
//! Own code: the crates are bindings of the C library, or young and larger than what is read here.

use std::collections::HashSet;
use std::sync::Arc;

use super::parts::slice;
use super::zip::Directory;
use super::{Catalogue, Entry, Form, Glance, Place, size};
use crate::header::quoted;
use crate::{Dtype, Shard, Skipped};
use scratchproof_error::{Error, Result};
use scratchproof_source::Blob;
use scratchproof_texts::{Text, text};

const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";

/// Keras 3 keeps the weights of its archive in this file.
const INSIDE: &str = "model.weights.h5";

/// Where a group of an older Keras keeps the model beside the optimizer.
const MODEL: &str = "model_weights";

/// Groups and datasets, levels of groups, bytes of a header, messages of one, bytes of a name: at most.
const OBJECTS: usize = 1 << 18;
const DEPTH: usize = 64;
const HEADER: u64 = 4 << 20;
const MESSAGES: usize = 1 << 14;
const NAME: usize = 1024;

/// "No address".
const NOWHERE: u64 = u64::MAX;

pub(super) struct Hdf5;

impl Form for Hdf5 {
    fn name(&self) -> &'static str {
        "checkpoint/form/hdf5"
    }

    fn holds(&self, file: &Glance<'_>) -> bool {
        file.head.starts_with(SIGNATURE) || file.head.starts_with(b"PK\x03\x04") && inside(file).is_some()
    }

    fn catalogue(&self, file: &Glance<'_>) -> Result<Catalogue> {
        let shard = Shard { name: file.name.to_owned(), blob: Arc::clone(file.blob) };
        let (start, length) = inside(file).unwrap_or((0, file.blob.len()));
        let own = slice(&shard, start, length)?;
        let mut reader = Reader { blob: &*own, start, objects: 0, groups: HashSet::new(), found: Catalogue::default() };
        // Whatever is wrong with it, Keras can write what is read.
        let way_out = |why: Text| Error::input(text!("checkpoint/way-out/hdf5", why));
        reader.read().map_err(|error| way_out(error.text()))?;
        let mut found = reader.found;
        let entries = found.entries.iter_mut().map(|entry| &mut entry.name);
        let names = entries.chain(found.skipped.iter_mut().map(|skipped| &mut skipped.tensor));
        let names: Vec<&mut String> = names.collect();
        let prefix = format!("{MODEL}.");
        let kept = names.iter().any(|name| name.starts_with(&prefix));
        for name in names {
            if let Some(rest) = name.strip_prefix(&prefix) {
                *name = rest.to_owned();
            } else if kept {
                // Marked, and taken out below.
                name.clear();
            }
        }
        let before = found.entries.len();
        found.entries.retain(|entry| !entry.name.is_empty());
        found.skipped.retain(|skipped| !skipped.tensor.is_empty());
        if kept && found.entries.len() < before {
            let others = vec![quoted("optimizer_weights")];
            found.notes.push(text!("checkpoint/read/entry", entry = quoted(MODEL), others));
        }
        if found.entries.is_empty() {
            let none = || text!("error-checkpoint/hdf5/no-dataset");
            let why = found.skipped.first().map_or_else(none, |skipped| Text::plain(&skipped.why));
            return Err(way_out(why));
        }
        found.files.push(shard);
        Ok(found)
    }
}

/// Where the file of weights is in an archive of Keras, if it is one and stored as it is.
fn inside(file: &Glance<'_>) -> Option<(u64, u64)> {
    if !file.head.starts_with(b"PK") {
        return None;
    }
    let zip = Directory::read(&**file.blob).ok()?;
    let member = zip.members.get(INSIDE).filter(|member| !member.deflated)?;
    Some((member.offset, member.size))
}

struct Reader<'a> {
    blob: &'a dyn Blob,
    /// Where the file begins in the one that holds it.
    start: u64,
    objects: usize,
    /// Headers of groups that were entered: a link may lead back.
    groups: HashSet<u64>,
    found: Catalogue,
}

/// What a header says of its object.
#[derive(Default)]
struct Object {
    shape: Option<Vec<usize>>,
    dtype: Option<Result<Dtype, String>>,
    /// First byte; `Err` why it is in no one run of bytes.
    layout: Option<Result<u64, String>>,
    /// Tree and heap of a group's names.
    table: Option<(u64, u64)>,
    /// Names and headers that stand in the header itself.
    links: Vec<(String, u64)>,
    /// Whether more links are elsewhere.
    dense: bool,
}

fn damaged(what: Text) -> Error {
    Error::input(text!("error-checkpoint/hdf5/damaged", what))
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let part = bytes.get(at..at.checked_add(width)?)?;
    Some(part.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)))
}

impl Reader<'_> {
    fn bytes(&self, at: u64, length: u64) -> Result<Vec<u8>> {
        let inside = at.checked_add(length).is_some_and(|end| end <= self.blob.len()) && length <= HEADER;
        let length = usize::try_from(length)
            .ok()
            .filter(|_| inside)
            .ok_or_else(|| damaged(text!("error-checkpoint/hdf5/place")))?;
        Ok(self.blob.bytes(at, length)?.into_owned())
    }

    /// As many bytes as there are, up to a length.
    fn some(&self, at: u64, most: usize) -> Result<Vec<u8>> {
        let left = self.blob.len().checked_sub(at).ok_or_else(|| damaged(text!("error-checkpoint/hdf5/place")))?;
        self.bytes(at, left.min(most as u64))
    }

    fn read(&mut self) -> Result<()> {
        let head = self.some(0, 128)?;
        let damage = || damaged(text!("error-checkpoint/hdf5/superblock"));
        let version = *head.get(8).ok_or_else(damage)?;
        let (widths, base, root) = match version {
            0 | 1 => {
                let base = if version == 0 { 24 } else { 28 };
                // The root's entry follows four addresses; its header is behind the offset of its name.
                (head.get(13..15), base, base + 40)
            }
            2 | 3 => (head.get(9..11), 12, 36),
            _ => return Err(Error::input(text!("error-checkpoint/hdf5/superblock-version", version))),
        };
        if widths != Some(&[8, 8]) {
            return Err(Error::input(text!("error-checkpoint/hdf5/addresses-not-eight-bytes")));
        }
        if number(&head, base, 8) != Some(0) {
            return Err(Error::input(text!("error-checkpoint/hdf5/begins-behind-another-file")));
        }
        let root = number(&head, root, 8).ok_or_else(damage)?;
        // Without recursion, in the order of names.
        let mut todo = vec![(String::new(), root, 0)];
        while let Some((path, at, depth)) = todo.pop() {
            self.objects += 1;
            if self.objects > OBJECTS || depth > DEPTH {
                return Err(Error::input(text!("error-checkpoint/hdf5/more-objects-or-deeper")));
            }
            let object = self.object(at)?;
            if object.table.is_some() || !object.links.is_empty() || object.dense {
                if !self.groups.insert(at) {
                    continue;
                }
                let mut members = object.links;
                if object.dense {
                    return Err(Error::input(text!("error-checkpoint/hdf5/names-group-heap-their")));
                }
                if let Some((tree, heap)) = object.table {
                    self.members(tree, heap, &mut members)?;
                }
                members.sort();
                for (name, at) in members.into_iter().rev() {
                    let name = name.strip_suffix(":0").unwrap_or(&name).replace('/', ".");
                    let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                    todo.push((path, at, depth + 1));
                }
            } else if object.layout.is_some() {
                self.dataset(path, object)?;
            }
        }
        Ok(())
    }

    fn dataset(&mut self, name: String, object: Object) -> Result<()> {
        let shown = quoted(&name);
        let shape = object.shape.ok_or_else(|| damaged(text!("error-checkpoint/hdf5/shape", shown = &shown)))?;
        let dtype = object.dtype.unwrap_or_else(|| Err("its type is not said".to_owned()));
        let layout = object.layout.unwrap_or_else(|| Err("its place is not said".to_owned()));
        let (dtype, at) = match (dtype, layout) {
            (Ok(dtype), Ok(at)) => (dtype, at),
            (Err(why), _) | (_, Err(why)) => {
                self.found.skipped.push(Skipped { tensor: name, why });
                return Ok(());
            }
        };
        let bytes = size(&shape, dtype.width()).ok_or_else(|| {
            Error::input(text!(
                "error-checkpoint/hdf5/shape-larger-anything",
                shape = format!("{shape:?}"),
                shown = &shown
            ))
        })?;
        if bytes > 0 && at.checked_add(bytes as u64).is_none_or(|end| end > self.blob.len()) {
            return Err(Error::input(text!(
                "error-checkpoint/hdf5/shape-byte-not-file",
                shown,
                shape = format!("{shape:?}"),
                at
            )));
        }
        let offset = if bytes == 0 { self.start } else { self.start + at };
        self.found.entries.push(Entry { name, dtype, shape, place: Place::Run { file: 0, offset } });
        Ok(())
    }

    /// The messages of an object's header, of either version.
    fn object(&self, at: u64) -> Result<Object> {
        let head = self.some(at, 64)?;
        let damage = || damaged(text!("error-checkpoint/hdf5/header-object"));
        let mut object = Object::default();
        let mut count = 0;
        let newer = head.starts_with(b"OHDR");
        let (flags, first, length) = if newer {
            let flags = *head.get(5).ok_or_else(damage)?;
            let at_size = 6 + if flags & 0x20 != 0 { 16 } else { 0 } + if flags & 0x10 != 0 { 4 } else { 0 };
            let width = 1 << (flags & 3);
            (flags, (at_size + width) as u64, number(&head, at_size, width).ok_or_else(damage)?)
        } else if head.first() == Some(&1) {
            (0, 16, number(&head, 8, 4).ok_or_else(damage)?)
        } else {
            return Err(damage());
        };
        let mut blocks = vec![(at.checked_add(first).ok_or_else(damage)?, length)];
        while let Some((at, length)) = blocks.pop() {
            let block = self.bytes(at, length)?;
            let mut at = 0;
            // Type, size and flags; in older headers of wider fields, in newer ones with an order where it is tracked.
            let head = if newer { 4 + if flags & 4 != 0 { 2 } else { 0 } } else { 8 };
            while at + head <= block.len() {
                count += 1;
                if count > MESSAGES {
                    return Err(Error::input(text!("error-checkpoint/hdf5/header-more-messages-read")));
                }
                let (kind, size) = if newer {
                    (u64::from(block[at]), number(&block, at + 1, 2))
                } else {
                    (number(&block, at, 2).unwrap_or_default(), number(&block, at + 2, 2))
                };
                let size = usize::try_from(size.unwrap_or_default()).map_err(|_| damage())?;
                let body = block.get(at + head..at + head + size).ok_or_else(damage)?;
                if kind == 0x10 {
                    let (Some(next), Some(length)) = (number(body, 0, 8), number(body, 8, 8)) else {
                        return Err(damage());
                    };
                    // A newer block begins with a signature and ends with a checksum.
                    blocks.push(if newer {
                        (next.saturating_add(4), length.checked_sub(8).ok_or_else(damage)?)
                    } else {
                        (next, length)
                    });
                } else {
                    object.message(kind, body).ok_or_else(damage)?;
                }
                at += head + size;
            }
        }
        Ok(object)
    }

    /// The members of a group: a tree of nodes of symbols, whose names are in a heap.
    fn members(&self, tree: u64, heap: u64, members: &mut Vec<(String, u64)>) -> Result<()> {
        let damage = || damaged(text!("error-checkpoint/hdf5/table-group"));
        let head = self.bytes(heap, 32)?;
        if !head.starts_with(b"HEAP") {
            return Err(damage());
        }
        let names = number(&head, 24, 8).ok_or_else(damage)?;
        let mut todo = vec![(tree, 0)];
        let mut nodes = 0;
        while let Some((at, depth)) = todo.pop() {
            nodes += 1;
            if nodes > OBJECTS || depth > DEPTH || members.len() > OBJECTS {
                return Err(Error::input(text!("error-checkpoint/hdf5/group-more-members-read")));
            }
            let head = self.some(at, 24)?;
            if head.starts_with(b"TREE") && head.get(4) == Some(&0) {
                let count = number(&head, 6, 2).ok_or_else(damage)?;
                let body = self.bytes(at + 24, 16 * count + 8)?;
                for child in (0..count).rev() {
                    let place = usize::try_from(child).map_err(|_| damage())? * 16 + 8;
                    todo.push((number(&body, place, 8).ok_or_else(damage)?, depth + 1));
                }
            } else if head.starts_with(b"SNOD") {
                let count = number(&head, 6, 2).ok_or_else(damage)?;
                let body = self.bytes(at + 8, 40 * count)?;
                for entry in body.chunks_exact(40) {
                    let (Some(name), Some(header)) = (number(entry, 0, 8), number(entry, 8, 8)) else {
                        return Err(damage());
                    };
                    // A soft link has no header of its own.
                    if number(entry, 16, 4) == Some(2) || header == NOWHERE {
                        continue;
                    }
                    let text = self.some(names.checked_add(name).ok_or_else(damage)?, NAME)?;
                    let end = text.iter().position(|byte| *byte == 0).ok_or_else(damage)?;
                    members.push((String::from_utf8_lossy(&text[..end]).into_owned(), header));
                }
            } else {
                return Err(damage());
            }
        }
        Ok(())
    }
}

impl Object {
    /// Takes over what a message says; `None` if it is damaged.
    fn message(&mut self, kind: u64, body: &[u8]) -> Option<()> {
        match kind {
            0x01 => {
                let (version, rank) = (*body.first()?, usize::from(*body.get(1)?));
                let first = if version == 1 { 8 } else { 4 };
                let axis = |at: usize| usize::try_from(number(body, first + 8 * at, 8)?).ok();
                self.shape = Some((0..rank).map(axis).collect::<Option<_>>()?);
            }
            0x03 => self.dtype = Some(dtype(body)?),
            0x08 => self.layout = Some(layout(body)?),
            0x0B => self.layout = Some(Err("it is compressed or filtered".to_owned())),
            0x11 => self.table = Some((number(body, 0, 8)?, number(body, 8, 8)?)),
            0x02 => {
                // The heap of the names, behind the highest order where that is tracked.
                let at = if body.get(1)? & 1 != 0 { 10 } else { 2 };
                self.dense = number(body, at, 8)? != NOWHERE;
            }
            0x06 => self.links.extend(link(body)?),
            _ => {}
        }
        Some(())
    }
}

/// A name and the header it leads to; `None` inside for links that lead elsewhere.
#[allow(clippy::option_option, reason = "damaged, and a link of another kind")]
fn link(body: &[u8]) -> Option<Option<(String, u64)>> {
    let flags = *body.get(1)?;
    let mut at = 2;
    let hard = flags & 8 == 0 || *body.get(at)? == 0;
    at += usize::from(flags & 8 != 0) + if flags & 4 != 0 { 8 } else { 0 } + usize::from(flags & 0x10 != 0);
    let width = 1 << (flags & 3);
    let length = usize::try_from(number(body, at, width)?).ok()?;
    let name = body.get(at + width..(at + width).checked_add(length)?)?;
    if !hard {
        return Some(None);
    }
    Some(Some((String::from_utf8_lossy(name).into_owned(), number(body, at + width + length, 8)?)))
}

/// The number format of a datatype message, or why it is none that is read.
fn dtype(body: &[u8]) -> Option<Result<Dtype, String>> {
    let (class, bits, width) = (body.first()? & 15, *body.get(1)?, number(body, 4, 4)?);
    Some(match (class, width) {
        (0 | 1, _) if bits & 1 != 0 => Err("its numbers have the highest byte first".to_owned()),
        (0, 1 | 2 | 4 | 8) => Ok(match (bits & 8 != 0, width) {
            (true, 1) => Dtype::I8,
            (true, 2) => Dtype::I16,
            (true, 4) => Dtype::I32,
            (true, _) => Dtype::I64,
            (false, 1) => Dtype::U8,
            (false, 2) => Dtype::U16,
            (false, 4) => Dtype::U32,
            (false, _) => Dtype::U64,
        }),
        // Bits of the exponent and of the mantissa tell half precision from bfloat16.
        (1, _) => match (width, *body.get(13)?, *body.get(15)?) {
            (2, 5, 10) => Ok(Dtype::F16),
            (2, 8, 7) => Ok(Dtype::Bf16),
            (4, 8, 23) => Ok(Dtype::F32),
            (8, 11, 52) => Ok(Dtype::F64),
            _ => Err(format!("its numbers are of {width} bytes in a format of their own")),
        },
        _ => Err("it holds no plain numbers".to_owned()),
    })
}

/// The first byte of a dataset in one run.
fn layout(body: &[u8]) -> Option<Result<u64, String>> {
    let version = *body.first()?;
    let (class, at) = if version < 3 { (*body.get(2)?, 8) } else { (*body.get(1)?, 2) };
    Some(match class {
        1 => match number(body, at, 8)? {
            NOWHERE => Err("nothing was written to it".to_owned()),
            address => Ok(address),
        },
        0 => Err("it is kept in its header".to_owned()),
        _ => Err("it is stored in chunks".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_messages_that_are_cut_short() {
        assert_eq!(
            (number(&[1, 2, 3], 0, 2), number(&[1], 0, 2), number(&[1], usize::MAX, 2)),
            (Some(513), None, None)
        );
        let float = [0x11, 0x20, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0];
        assert_eq!(dtype(&float), Some(Ok(Dtype::F32)));
        for end in 0..float.len() {
            let _ = (dtype(&float[..end]), layout(&float[..end]), link(&float[..end]));
        }
        assert_eq!(layout(&[3, 1, 9, 0, 0, 0, 0, 0, 0, 0]), Some(Ok(9)));
        assert!(layout(&[3, 2, 0]).is_some_and(|layout| layout.is_err()));
    }
}
