//! The directory of a zip archive: which entries it has and where their bytes are. Only the directory is read, by range.
//!
//! Layout: APPNOTE.TXT of PKWARE, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.14 to 4.3.16 (ends of the
//! directory, Zip64 and plain) and 4.5.3 (the Zip64 extra field).

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use flate2::read::DeflateDecoder;
use scratchproof_error::{Error, Result};
use scratchproof_source::Blob;
use scratchproof_texts::text;

use crate::header::quoted;

/// The largest directory that is read, and the most entries: a model of a million storages has neither.
const LARGEST: u64 = 128 << 20;
const ENTRIES: u64 = 1 << 20;

/// The longest comment behind the end of the directory, with the end itself and the Zip64 locator before it.
const TAIL: u64 = 65_535 + 22 + 20;

/// Deflate cannot make more of a byte than this (1032, rounded up): a larger claim is a lie.
const DEFLATE: u64 = 1040;

/// The largest entry that is unpacked in memory.
const UNPACKED: u64 = 384 << 20;

/// One file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// First byte of its data in the archive.
    pub(super) offset: u64,
    /// Bytes in the archive.
    pub(super) packed: u64,
    /// Bytes it has.
    pub(super) size: u64,
    /// Whether it is deflated; otherwise its bytes stand in the archive as they are.
    pub(super) deflated: bool,
}

/// The files of an archive by name.
#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) members: BTreeMap<String, Member>,
}

impl Directory {
    /// Reads the directory.
    ///
    /// # Errors
    /// If the archive is cut short, encrypted, spread over several disks, or its directory does not fit the file.
    pub(super) fn read(blob: &dyn Blob) -> Result<Self> {
        let (start, size, count) = end_of_directory(blob)?;
        if size > LARGEST || count > ENTRIES {
            return Err(Error::input(text!("error-checkpoint/zip/zip-directory-entries-bytes", count, size)));
        }
        let bytes = blob.bytes(start, usize::try_from(size).map_err(|_| too_large())?)?;
        let mut rest: &[u8] = &bytes;
        let mut found = Self::default();
        for _ in 0..count {
            let (name, member, header, after) = entry(rest)?;
            rest = after;
            if name.ends_with('/') {
                continue;
            }
            let member = placed(blob, &name, member, header, start)?;
            if found.members.insert(name.clone(), member).is_some() {
                return Err(Error::input(text!("error-checkpoint/zip/zip-archive-twice", name = quoted(&name))));
            }
        }
        Ok(found)
    }

    /// The bytes of a small entry.
    ///
    /// # Errors
    /// If it is larger than `most`, or not what the directory says.
    pub(super) fn small(&self, blob: &dyn Blob, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let Some(member) = self.members.get(name) else { return Ok(None) };
        if member.size > most {
            let what = quoted(name);
            return Err(Error::input(text!("error-checkpoint/zip/bytes-most-read", what, size = &member.size, most)));
        }
        unpack(blob, name, member).map(Some)
    }
}

/// The bytes of an entry.
///
/// # Errors
/// If it does not unpack to the size that the directory says, or is too large for that.
pub(super) fn unpack(blob: &dyn Blob, name: &str, member: &Member) -> Result<Vec<u8>> {
    let size = usize::try_from(member.size).map_err(|_| too_large())?;
    let packed = usize::try_from(member.packed).map_err(|_| too_large())?;
    let bytes = blob.bytes(member.offset, packed)?;
    if !member.deflated {
        return Ok(bytes.into_owned());
    }
    let mut made = Vec::with_capacity(size);
    // One byte more than there should be, so that a longer one is noticed and not unpacked.
    let read = DeflateDecoder::new(&*bytes).take(member.size.saturating_add(1)).read_to_end(&mut made);
    if read.is_err() || made.len() != size {
        return Err(Error::input(text!("error-checkpoint/zip/does-not-unpack-bytes", name = quoted(name), size)));
    }
    Ok(made)
}

/// An entry that can be unpacked in memory.
///
/// # Errors
/// If it is larger than that.
pub(super) fn unpackable(name: &str, member: &Member) -> Result<()> {
    if member.deflated && member.size > UNPACKED {
        return Err(Error::input(text!(
            "error-checkpoint/zip/compressed-would-unpack-bytes",
            name = quoted(name),
            size = &member.size,
            unpacked = UNPACKED
        )));
    }
    Ok(())
}

fn too_large() -> Error {
    Error::input(text!("error-checkpoint/zip/zip-entry-does-not"))
}

fn number(bytes: &[u8], at: usize, width: usize) -> Result<u64> {
    let found = at.checked_add(width).and_then(|end| bytes.get(at..end));
    let found = found.ok_or_else(|| Error::input(text!("error-checkpoint/zip/zip-directory-cut-short")))?;
    Ok(found.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

fn length(bytes: &[u8], at: usize) -> Result<usize> {
    number(bytes, at, 2).map(|length| usize::try_from(length).unwrap_or(usize::MAX))
}

/// Where the directory is, its bytes, and its entries.
fn end_of_directory(blob: &dyn Blob) -> Result<(u64, u64, u64)> {
    let file = blob.len();
    let tail = file.min(TAIL);
    let bytes = blob.bytes(file - tail, usize::try_from(tail).map_err(|_| too_large())?)?;
    let at = (0..bytes.len().saturating_sub(21)).rev().find(|at| bytes[*at..].starts_with(b"PK\x05\x06"));
    let at = at.ok_or_else(|| Error::input(text!("error-checkpoint/zip/zip-archive-no-directory")))?;
    let (count, size, start) = (number(&bytes, at + 10, 2)?, number(&bytes, at + 12, 4)?, number(&bytes, at + 16, 4)?);
    if number(&bytes, at + 4, 2)? != number(&bytes, at + 6, 2)? {
        return Err(Error::input(text!("error-checkpoint/zip/zip-archive-spread-over")));
    }
    let locator = at.checked_sub(20).filter(|locator| bytes[*locator..].starts_with(b"PK\x06\x07"));
    let (start, size, count) = match locator {
        Some(locator) => {
            let place = number(&bytes, locator + 8, 8)?;
            let record = blob.bytes(place, 56)?;
            if !record.starts_with(b"PK\x06\x06") {
                return Err(Error::input(text!("error-checkpoint/zip/zip64-end-zip-directory")));
            }
            (number(&record, 48, 8)?, number(&record, 40, 8)?, number(&record, 32, 8)?)
        }
        None => (start, size, count),
    };
    if start.checked_add(size).is_none_or(|end| end > file) {
        return Err(Error::input(text!("error-checkpoint/zip/zip-directory-given-bytes", size, start, file)));
    }
    if count > size / 46 {
        return Err(Error::input(text!("error-checkpoint/zip/entries-do-not-fit", count, size)));
    }
    Ok((start, size, count))
}

/// One entry of the directory: its name, what it says of itself, where its local header is, and the rest.
fn entry(bytes: &[u8]) -> Result<(String, Member, u64, &[u8])> {
    if !bytes.starts_with(b"PK\x01\x02") {
        return Err(Error::input(text!("error-checkpoint/zip/zip-directory-damaged")));
    }
    let (flags, method) = (number(bytes, 8, 2)?, number(bytes, 10, 2)?);
    let (mut packed, mut size, mut header) = (number(bytes, 20, 4)?, number(bytes, 24, 4)?, number(bytes, 42, 4)?);
    let (name, extra, comment) = (length(bytes, 28)?, length(bytes, 30)?, length(bytes, 32)?);
    let cut = || Error::input(text!("error-checkpoint/zip/zip-directory-cut-short"));
    let words = bytes.get(46..46 + name).ok_or_else(cut)?;
    let name_text = String::from_utf8(words.to_vec())
        .map_err(|_| Error::input(text!("error-checkpoint/zip/name-zip-archive-not")))?;
    let mut fields = bytes.get(46 + name..46 + name + extra).ok_or_else(cut)?;
    let rest = bytes.get(46 + name + extra + comment..).ok_or_else(cut)?;
    while fields.len() >= 4 {
        let (kind, width) = (number(fields, 0, 2)?, length(fields, 2)?);
        let Some(field) = fields.get(4..4 + width) else { break };
        if kind == 1 {
            let mut at = 0;
            for value in [&mut size, &mut packed, &mut header] {
                if *value == 0xffff_ffff {
                    *value = number(field, at, 8)?;
                    at += 8;
                }
            }
        }
        fields = &fields[4 + width..];
    }
    let shown = quoted(&name_text);
    if flags & 1 != 0 {
        return Err(Error::input(text!("error-checkpoint/zip/zip-archive-encrypted-decrypt", shown)));
    }
    if method != 0 && method != 8 {
        return Err(Error::input(text!("error-checkpoint/zip/zip-archive-compressed-method", shown, method)));
    }
    if method == 0 && packed != size {
        return Err(Error::input(text!("error-checkpoint/zip/stored-bytes-zip-archive", shown, packed, size)));
    }
    if size > packed.saturating_mul(DEFLATE) {
        return Err(Error::input(text!("error-checkpoint/zip/said-unpack-bytes-no", shown, packed, size)));
    }
    Ok((name_text, Member { offset: 0, packed, size, deflated: method == 8 }, header, rest))
}

/// The entry with the place of its data, behind its local header.
#[allow(clippy::needless_pass_by_value, reason = "a member is handed on or refused")]
fn placed(blob: &dyn Blob, name: &str, member: Member, header: u64, directory: u64) -> Result<Member> {
    let outside = || Error::input(text!("error-checkpoint/zip/said-outside-zip-archive", name = quoted(name)));
    if header.checked_add(30).is_none_or(|end| end > directory) {
        return Err(outside());
    }
    let local = blob.bytes(header, 30)?;
    if !local.starts_with(b"PK\x03\x04") {
        return Err(Error::input(text!("error-checkpoint/zip/not-where-zip-directory", name = quoted(name))));
    }
    let offset = header + 30 + number(&local, 26, 2)? + number(&local, 28, 2)?;
    if offset.checked_add(member.packed).is_none_or(|end| end > directory) {
        return Err(outside());
    }
    Ok(Member { offset, ..member })
}

/// A part of a file, as a file of its own.
pub(super) struct Slice {
    pub(super) blob: Arc<dyn Blob>,
    pub(super) start: u64,
    pub(super) length: u64,
}

impl Slice {
    fn at(&self, offset: u64, length: usize) -> Option<u64> {
        offset.checked_add(length as u64).filter(|end| *end <= self.length)?;
        self.start.checked_add(offset)
    }
}

impl Blob for Slice {
    fn len(&self) -> u64 {
        self.length
    }

    fn uri(&self) -> String {
        self.blob.uri()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let at = self.at(offset, buffer.len());
        self.blob
            .read_at(at.ok_or_else(|| Error::input(text!("error-checkpoint/zip/bytes-outside-their-part")))?, buffer)
    }

    fn resident(&self, offset: u64, length: usize) -> Option<&[u8]> {
        self.blob.resident(self.at(offset, length)?, length)
    }
}
