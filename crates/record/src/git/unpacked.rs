//! The index of a bundle's pack, made here: libgit2's own indexer makes every difference in memory, whatever its length,
//! and never gives back what a damaged pack has twice.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::ZlibDecoder;

use super::Pulse;
use super::packs::{BASE, CHAIN, lengths};
use super::sha1::sha1;
use scratchproof_error::{Error, Result};
use scratchproof_texts::{Text, text};

/// Bytes of all objects of a bundle, and of all that is made of differences on the way to them.
const TOTAL: u64 = 8 << 30;
/// Objects of a bundle.
const OBJECTS: u32 = 8_000_000;
/// Bytes of objects that are kept because others may be made from them.
const KEPT: usize = 64 << 20;

type Id = [u8; 20];

/// One object of the pack.
struct Entry {
    /// Where its deflated bytes begin.
    data: u64,
    /// What it is made from; an object without stands there whole.
    base: Option<Base>,
    /// Its kind, of one that is whole.
    kind: u8,
    /// Length of its inflated bytes.
    length: u64,
}

#[derive(Clone, Copy)]
enum Base {
    At(u64),
    Named(Id),
}

/// Writes the index of a pack beside it (gitformat-pack(5), version 2). Objects whose base is not in the pack are left out.
///
/// # Errors
/// If the pack is damaged, or a limit is exceeded, with the limit and what to do.
pub fn index(pack: &Path, to: &Path, pulse: &Pulse) -> Result<()> {
    let failed = |error| Error::io(text!("error-record/unpacked/pack-bundle-cannot-read"), error);
    let mut file = File::open(pack).map_err(failed)?;
    let end = file
        .metadata()
        .map_err(failed)?
        .len()
        .checked_sub(20)
        .ok_or_else(|| damaged(text!("error-record/unpacked/too-short")))?;
    let sum = sha1(&mut (&file).take(end)).map_err(failed)?;
    let mut trailer = Id::default();
    file.seek(SeekFrom::Start(end)).and_then(|_| file.read_exact(&mut trailer)).map_err(failed)?;
    if sum != trailer {
        return Err(damaged(text!("error-record/unpacked/another-checksum-says")));
    }
    file.rewind().map_err(failed)?;
    let input = Counted { inner: BufReader::with_capacity(1 << 18, file), at: 0 };
    let mut making =
        Making { entries: BTreeMap::new(), places: HashMap::new(), kept: Kept::default(), made: 0, file: pack };
    making.scan(input, end, pulse)?;
    making.differences(pulse)?;
    let mut found: Vec<(Id, u64)> = making.places.into_iter().collect();
    found.sort_unstable();
    fs::write(to, written(&found, &trailer))
        .map_err(|error| Error::io(text!("error-record/unpacked/index-bundle-cannot-written"), error))
}

fn damaged(how: Text) -> Error {
    Error::input(text!("error-record/unpacked/pack-bundle", how))
}

fn over(what: &str, limit: u64) -> Error {
    Error::input(text!("error-record/unpacked/pack-bundle-more-most", what, limit))
}

struct Making<'a> {
    entries: BTreeMap<u64, Entry>,
    /// Where every object with a known id is.
    places: HashMap<Id, u64>,
    kept: Kept,
    /// Bytes inflated and made so far.
    made: u64,
    file: &'a Path,
}

impl Making<'_> {
    /// Walks the pack from its first byte to its last, and gives every whole object its id.
    fn scan(&mut self, mut input: Counted<impl BufRead>, end: u64, pulse: &Pulse) -> Result<()> {
        let mut head = [0; 12];
        let broken = |at: u64| damaged(text!("error-record/unpacked/damaged-near-byte", at));
        input.read_exact(&mut head).map_err(|_| broken(0))?;
        if !head.starts_with(b"PACK\0\0\0\x02") && !head.starts_with(b"PACK\0\0\0\x03") {
            return Err(damaged(text!("error-record/unpacked/does-not-begin-one")));
        }
        let count = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        if count > OBJECTS {
            return Err(over("gives its objects as", u64::from(OBJECTS)));
        }
        for number in 0..count {
            pulse.beat("pack of the bundle, object", number);
            let at = input.at;
            let mut entry = head_of(&mut input, at).filter(|_| at < end).ok_or_else(|| broken(at))?;
            let mut decoder = ZlibDecoder::new(&mut input);
            if entry.base.is_none() {
                let name = ["", "commit", "tree", "blob", "tag"][usize::from(entry.kind)];
                let header = format!("{name} {}\0", entry.length);
                let mut counted = Counted { inner: BufReader::new(decoder), at: 0 };
                let most = TOTAL - self.made + 1;
                let id = sha1(&mut header.as_bytes().chain((&mut counted).take(most))).map_err(|_| broken(at))?;
                self.spend(counted.at)?;
                if counted.at != entry.length {
                    return Err(broken(at));
                }
                self.places.entry(id).or_insert(at);
            } else {
                let mut start = Vec::new();
                (&mut decoder).take(20).read_to_end(&mut start).map_err(|_| broken(at))?;
                let rest = std::io::copy(&mut decoder, &mut std::io::sink()).map_err(|_| broken(at))?;
                let (from, to) = lengths(&start);
                if from.max(to).max(start.len() as u64 + rest) > BASE {
                    return Err(over("has a difference whose bytes are", BASE));
                }
                self.spend(start.len() as u64 + rest)?;
                entry.length = start.len() as u64 + rest;
            }
            self.entries.insert(at, entry);
        }
        Ok(())
    }

    /// Gives the objects that are differences their ids, over and over until nothing more is found: one may be made from
    /// what stands behind it.
    fn differences(&mut self, pulse: &Pulse) -> Result<()> {
        let mut left: Vec<u64> = self.entries.iter().filter(|(_, e)| e.base.is_some()).map(|(at, _)| *at).collect();
        loop {
            let before = left.len();
            let mut later = Vec::new();
            for at in left {
                pulse.beat("pack of the bundle, difference at", at);
                let Some((kind, content)) = self.content(at)? else {
                    later.push(at);
                    continue;
                };
                let name = ["", "commit", "tree", "blob", "tag"][usize::from(kind)];
                let header = format!("{name} {}\0", content.len());
                let id = sha1(&mut header.as_bytes().chain(&content[..]))
                    .map_err(|error| Error::io(text!("error-record/unpacked/pack-bundle-cannot-read"), error))?;
                self.places.entry(id).or_insert(at);
            }
            if later.is_empty() || later.len() == before {
                return Ok(());
            }
            left = later;
        }
    }

    /// Kind and bytes of an object; `None` if something it is made from is not known (yet).
    fn content(&mut self, at: u64) -> Result<Option<(u8, Rc<Vec<u8>>)>> {
        let (mut way, mut here) = (Vec::new(), at);
        let (kind, mut content) = loop {
            if let Some(kept) = self.kept.get(here) {
                break kept;
            }
            let Some(entry) = self.entries.get(&here) else { return Ok(None) };
            match entry.base {
                None if entry.length > BASE => return Err(over("makes differences from bytes that are", BASE)),
                None => {
                    let (kind, bytes) = (entry.kind, Rc::new(self.inflated(here)?));
                    self.kept.put(here, kind, &bytes);
                    break (kind, bytes);
                }
                Some(base) => {
                    way.push(here);
                    if way.len() > CHAIN as usize {
                        return Err(over("has differences upon each other,", u64::from(CHAIN)));
                    }
                    here = match base {
                        Base::At(place) => place,
                        Base::Named(id) => match self.places.get(&id) {
                            Some(place) => *place,
                            None => return Ok(None),
                        },
                    };
                }
            }
        };
        while let Some(next) = way.pop() {
            let difference = self.inflated(next)?;
            let made = apply(&content, &difference)
                .ok_or_else(|| damaged(text!("error-record/unpacked/damaged-near-byte-2", next)))?;
            self.spend(made.len() as u64)?;
            content = Rc::new(made);
            self.kept.put(next, kind, &content);
        }
        Ok(Some((kind, content)))
    }

    fn inflated(&mut self, at: u64) -> Result<Vec<u8>> {
        let failed = |error| Error::io(text!("error-record/unpacked/pack-bundle-cannot-read"), error);
        let Some(entry) = self.entries.get(&at) else { return Ok(Vec::new()) };
        let (place, length) = (entry.data, entry.length);
        self.spend(length)?;
        let mut file = File::open(self.file).map_err(failed)?;
        file.seek(SeekFrom::Start(place)).map_err(failed)?;
        let mut bytes = Vec::new();
        ZlibDecoder::new(BufReader::new(file)).take(length).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    fn spend(&mut self, bytes: u64) -> Result<()> {
        self.made = self.made.saturating_add(bytes);
        if self.made > TOTAL { Err(over("holds, differences made, bytes that are", TOTAL)) } else { Ok(()) }
    }
}

/// Objects that others may be made from, the latest.
#[derive(Default)]
struct Kept {
    objects: HashMap<u64, (u8, Rc<Vec<u8>>)>,
    order: VecDeque<u64>,
    bytes: usize,
}

impl Kept {
    fn get(&self, at: u64) -> Option<(u8, Rc<Vec<u8>>)> {
        self.objects.get(&at).cloned()
    }

    fn put(&mut self, at: u64, kind: u8, content: &Rc<Vec<u8>>) {
        if content.len() > KEPT / 4 || self.objects.contains_key(&at) {
            return;
        }
        self.bytes += content.len();
        self.objects.insert(at, (kind, Rc::clone(content)));
        self.order.push_back(at);
        while self.bytes > KEPT {
            let Some(old) = self.order.pop_front().and_then(|old| self.objects.remove(&old)) else { break };
            self.bytes -= old.1.len();
        }
    }
}

/// The head of an object at a place of the pack; `None` if there is none.
fn head_of(input: &mut Counted<impl BufRead>, at: u64) -> Option<Entry> {
    let first = byte(input)?;
    let (kind, mut length, mut shift, mut more) = ((first >> 4) & 7, u64::from(first & 15), 4, first & 0x80 != 0);
    while more {
        let next = byte(input)?;
        length |= u64::from(next & 0x7f).checked_shl(shift)?;
        (shift, more) = (shift + 7, next & 0x80 != 0);
    }
    let base = match kind {
        1..=4 => None,
        6 => {
            let mut next = byte(input)?;
            let mut back = u64::from(next & 0x7f);
            while next & 0x80 != 0 {
                next = byte(input)?;
                back = back.checked_add(1)?.checked_mul(128)? | u64::from(next & 0x7f);
            }
            Some(Base::At(at.checked_sub(back).filter(|place| *place < at)?))
        }
        7 => {
            let mut id = Id::default();
            input.read_exact(&mut id).ok()?;
            Some(Base::Named(id))
        }
        _ => return None,
    };
    Some(Entry { data: input.at, base, kind: if base.is_none() { kind } else { 0 }, length })
}

fn byte(input: &mut impl Read) -> Option<u8> {
    let mut one = [0];
    input.read_exact(&mut one).ok()?;
    Some(one[0])
}

/// What a difference makes of its base (gitformat-pack(5), "Deltified representation"); `None` if it does not fit it.
fn apply(base: &[u8], difference: &[u8]) -> Option<Vec<u8>> {
    let (from, to) = lengths(difference);
    let mut rest = difference.iter().copied();
    for _ in 0..2 {
        while rest.next()? & 0x80 != 0 {}
    }
    let to = usize::try_from(to).ok().filter(|to| *to as u64 <= BASE)?;
    if from != base.len() as u64 {
        return None;
    }
    let mut made = Vec::with_capacity(to);
    while let Some(what) = rest.next() {
        if what & 0x80 == 0 {
            if what == 0 {
                return None;
            }
            for _ in 0..what {
                made.push(rest.next()?);
            }
        } else {
            let mut number = |bits: std::ops::Range<u8>| {
                let mut value = 0_usize;
                for (place, bit) in bits.enumerate() {
                    if what & 1 << bit != 0 {
                        value |= usize::from(rest.next()?) << (8 * place);
                    }
                }
                Some(value)
            };
            let (start, length) = (number(0..4)?, number(4..7)?);
            let length = if length == 0 { 0x10000 } else { length };
            made.extend_from_slice(base.get(start..start.checked_add(length)?)?);
        }
        if made.len() > to {
            return None;
        }
    }
    (made.len() == to).then_some(made)
}

/// The bytes of an index over objects in the order of their ids. The checksums of packed bytes are left 0: nothing here
/// copies objects from pack to pack.
fn written(found: &[(Id, u64)], pack: &Id) -> Vec<u8> {
    let mut out = b"\xfftOc\0\0\0\x02".to_vec();
    for first in 0..=255_u8 {
        let below = found.partition_point(|(id, _)| id[0] <= first);
        out.extend(u32::try_from(below).unwrap_or(u32::MAX).to_be_bytes());
    }
    for (id, _) in found {
        out.extend(id);
    }
    out.resize(out.len() + 4 * found.len(), 0);
    let mut long = Vec::new();
    for (_, place) in found {
        let small = u32::try_from(*place).ok().filter(|place| *place < 0x8000_0000);
        let entry = small.unwrap_or_else(|| 0x8000_0000 | u32::try_from(long.len() / 8).unwrap_or(0));
        out.extend(entry.to_be_bytes());
        if small.is_none() {
            long.extend(place.to_be_bytes());
        }
    }
    out.extend(long);
    out.extend(pack);
    let sum = sha1(&mut &out[..]).unwrap_or_default();
    out.extend(sum);
    out
}

/// A reader that knows where it is.
struct Counted<R> {
    inner: R,
    at: u64,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(to)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
        self.at += amount as u64;
    }
}
