//! Looks whether every object of a pack lies inside it and no chain of differences is a circle or too heavy.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::Pulse;
use scratchproof_source::plain;

/// Differences upon differences: git itself makes no longer chain.
pub const CHAIN: u32 = 4096;
/// Bytes of what an object that is opened here may be made from: git takes no base that is 32 times as large.
pub const BASE: u64 = 256 << 20;
/// Objects of more bytes are not opened here.
pub const OPENED: u64 = 32 << 20;
/// Bytes in which the two lengths at the start of a difference stand, deflated.
const LENGTHS: usize = 512;

/// What is wrong with the places and the chains of a pack, in words.
pub fn chains(path: &Path, pulse: &Pulse) -> std::io::Result<Option<String>> {
    let says = |why: &str| Ok(Some(why.to_owned()));
    let Some(index) = Index::new(fs::read(path)?) else { return says("its tables do not fit its length") };
    if let Some(wrong) = index.disorder() {
        return says(wrong);
    }
    // Not `with_extension`: `.idx` alone is a name without an extension.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let pack = path.with_file_name(format!("{}.pack", name.trim_end_matches(".idx")));
    let Ok(about) = fs::metadata(&pack) else { return Ok(None) };
    let end = about.len().saturating_sub(20);
    let mut places: Vec<(u64, usize)> = Vec::with_capacity(index.count);
    for number in 0..index.count {
        match index.offset(number) {
            Some(offset) if (12..end).contains(&offset) => places.push((offset, number)),
            _ => return says("an object lies outside of its pack"),
        }
    }
    places.sort_unstable();
    let mut file = plain::open(&pack)?;
    // Base of every object that is a difference, by number.
    let mut bases: Vec<u32> = vec![u32::MAX; index.count];
    let mut named = false;
    // Of every object: bytes where they stand in its head, otherwise where its difference begins.
    let mut sizes = vec![Size::Whole(0); index.count];
    for (at, &(offset, number)) in places.iter().enumerate() {
        if at % 4096 == 0 {
            pulse.beat("pack, object", at);
        }
        let mut head = [0; 64];
        let room = usize::try_from(end - offset).unwrap_or(64).min(64);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut head[..room])?;
        let length = head.iter().take(10).take_while(|byte| **byte & 0x80 != 0).count() + 1;
        let rest = head.get(length..).unwrap_or_default();
        let base = match (head[0] >> 4) & 7 {
            // Refers to an object by its name.
            7 => {
                named = true;
                rest.get(..20).and_then(|name| index.find(name))
            }
            // Refers to an object before it.
            6 => {
                let base = back(rest).and_then(|back| offset.checked_sub(back));
                match base.and_then(|base| places.binary_search_by_key(&base, |place| place.0).ok()) {
                    Some(place) => Some(places[place].1),
                    // libgit2 would follow it to a place that nobody looked at.
                    None => return says("an object is a difference to one that it does not list"),
                }
            }
            _ => None,
        };
        sizes[number] = match (head[0] >> 4) & 7 {
            7 => Size::From(offset + length as u64 + 20),
            6 => Size::From(offset + (length + rest.iter().take(9).take_while(|b| **b & 0x80 != 0).count() + 1) as u64),
            // The library that wraps libgit2 does not know what to make of them.
            0 | 5 => return says("an object is of no kind that there is"),
            _ => Size::Whole(whole(&head)),
        };
        if let Some(base) = base.and_then(|base| u32::try_from(base).ok()) {
            bases[number] = base;
        }
    }
    // Without names every chain leads backwards and ends.
    if named && circle(&bases) {
        return says("its objects refer to each other in a circle");
    }
    heavy(&bases, &sizes, &mut file, end, pulse)
}

/// How long an object is.
#[derive(Clone, Copy)]
enum Size {
    Whole(u64),
    /// It is a difference, whose deflated bytes begin here.
    From(u64),
}

/// Whether a chain of differences, which ends, is too long, or has something large on the way to something small: libgit2
/// makes everything on the way.
fn heavy(
    bases: &[u32],
    sizes: &[Size],
    file: &mut std::fs::File,
    end: u64,
    pulse: &Pulse,
) -> std::io::Result<Option<String>> {
    let base = |at: usize| usize::try_from(bases[at]).ok().filter(|base| *base < bases.len());
    let mut based = vec![false; bases.len()];
    (0..bases.len()).filter_map(base).for_each(|base| based[base] = true);
    let mut length = |at: usize| match sizes[at] {
        Size::Whole(length) => Ok(length),
        Size::From(place) => result(file, place, end),
    };
    // Of every object that others are made from: the most bytes on the way, itself included, and differences.
    let mut most: Vec<Option<(u64, u32)>> = vec![None; bases.len()];
    for start in 0..bases.len() {
        let (mut way, mut at) = (Vec::new(), Some(start));
        while let Some(here) = at.filter(|here| most[*here].is_none()) {
            way.push(here);
            at = base(here);
        }
        for here in way.into_iter().rev() {
            if here % 4096 == 0 {
                pulse.beat("pack, difference", here);
            }
            let (above, depth) = base(here).and_then(|base| most[base]).map_or((0, 0), |(bytes, d)| (bytes, d + 1));
            if depth > CHAIN {
                return Ok(Some(format!(
                    "an object is a chain of more than {CHAIN} differences; git repack -adf makes shorter ones"
                )));
            }
            // Only what something is made from has to be known, and what is made from something large.
            let own = if based[here] || above > BASE { length(here)? } else { 0 };
            if above > BASE && own <= OPENED {
                return Ok(Some(format!(
                    "an object of {own} bytes is made from one of {above}; {BASE} are the most that is followed"
                )));
            }
            most[here] = Some((above.max(own), depth));
        }
    }
    Ok(None)
}

/// Bytes of what a difference makes: the second of the two lengths that it begins with.
fn result(file: &mut std::fs::File, place: u64, end: u64) -> std::io::Result<u64> {
    let room = usize::try_from(end.saturating_sub(place)).unwrap_or(LENGTHS).min(LENGTHS);
    let mut packed = vec![0; room];
    file.seek(SeekFrom::Start(place))?;
    file.read_exact(&mut packed)?;
    let mut plain = Vec::new();
    // What cannot be inflated is of no length: libgit2 says so when it is asked for it.
    let _ = flate2::read::ZlibDecoder::new(&packed[..]).take(20).read_to_end(&mut plain);
    Ok(lengths(&plain).1)
}

/// The two lengths that a difference begins with: of what it is made from, and of what it makes.
pub fn lengths(difference: &[u8]) -> (u64, u64) {
    let mut bytes = difference.iter();
    let mut next = || {
        let (mut value, mut shift) = (0_u64, 0);
        for byte in bytes.by_ref() {
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    };
    let from = next();
    (from, next())
}

/// The length in the head of an object that is none (gitformat-pack(5)).
fn whole(head: &[u8]) -> u64 {
    let (mut value, mut shift) = (u64::from(head[0] & 0x0f), 4);
    for pair in head.windows(2).take(9) {
        if pair[0] & 0x80 == 0 {
            break;
        }
        value |= u64::from(pair[1] & 0x7f).checked_shl(shift).unwrap_or(0);
        shift += 7;
    }
    value
}

/// The distance to the base of an object (gitformat-pack(5)).
fn back(bytes: &[u8]) -> Option<u64> {
    let mut distance = 0_u64;
    for (number, byte) in bytes.iter().take(9).enumerate() {
        let more = u64::from(byte & 0x7f);
        distance = if number == 0 { more } else { ((distance + 1) << 7) | more };
        if byte & 0x80 == 0 {
            return Some(distance);
        }
    }
    None
}

/// Whether following bases ever comes back to where it was.
fn circle(bases: &[u32]) -> bool {
    // By object: the walk in which it was met, from 1.
    let mut met: Vec<u32> = vec![0; bases.len()];
    for (walk, start) in (1_u32..).zip(0..bases.len()) {
        let mut at = start;
        while met[at] == 0 {
            met[at] = walk;
            match usize::try_from(bases[at]).ok().filter(|base| *base < bases.len()) {
                Some(base) if met[base] == walk => return true,
                Some(base) => at = base,
                None => break,
            }
        }
    }
    false
}

/// An index of version 1 or 2 (gitformat-pack(5)).
pub struct Index {
    bytes: Vec<u8>,
    pub count: usize,
    second: bool,
}

impl Index {
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        let second = bytes.starts_with(b"\xfftOc\0\0\0\x02");
        let start = if second { 8 } else { 0 };
        let word = |at: usize| number(&bytes, at);
        let count = usize::try_from(word(start + 1020)?).ok()?;
        let each = if second { 28 } else { 24 };
        let least = count.checked_mul(each)?.checked_add(start + 1024 + 40)?;
        let fits = if second { bytes.len() >= least } else { bytes.len() == least };
        fits.then_some(Self { bytes, count, second })
    }

    /// What is wrong with the order of the names, in words: libgit2 looks them up by the table of first bytes and by
    /// halving, and finds other objects than a walk of the table does where they are not sorted.
    fn disorder(&self) -> Option<&'static str> {
        let start = if self.second { 8 } else { 0 };
        let mut before = 0;
        let mut counted = 0_usize;
        for first in 0..=255_u8 {
            let end = number(&self.bytes, start + 4 * usize::from(first))?;
            if end < before || usize::try_from(end).ok()? > self.count {
                return Some("its table of first bytes is not in order");
            }
            before = end;
            while counted < self.count && self.name(counted)?[0] <= first {
                if self.name(counted)?[0] < first {
                    return Some("its names are not in order");
                }
                if counted > 0 && self.name(counted - 1)? >= self.name(counted)? {
                    return Some("its names are not in order");
                }
                counted += 1;
            }
            if counted != usize::try_from(end).ok()? {
                return Some("its table of first bytes does not fit its names");
            }
        }
        (counted != self.count).then_some("its names are not in order")
    }

    pub fn name(&self, at: usize) -> Option<&[u8]> {
        let from = if self.second { 1032 + 20 * at } else { 1024 + 24 * at + 4 };
        self.bytes.get(from..from + 20)
    }

    pub fn offset(&self, at: usize) -> Option<u64> {
        if !self.second {
            return number(&self.bytes, 1024 + 24 * at).map(u64::from);
        }
        let small = number(&self.bytes, 1032 + 24 * self.count + 4 * at)?;
        if small & 0x8000_0000 == 0 {
            return Some(u64::from(small));
        }
        let place = 1032 + 28 * self.count + 8 * usize::try_from(small & 0x7fff_ffff).ok()?;
        // The two sums at the end are no offsets.
        (place + 8 + 40 <= self.bytes.len()).then_some(())?;
        Some(u64::from(number(&self.bytes, place)?) << 32 | u64::from(number(&self.bytes, place + 4)?))
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            match self.name(middle)?.cmp(name) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

pub fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
