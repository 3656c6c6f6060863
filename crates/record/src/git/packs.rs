//! Checks the indexes of packs before libgit2 sees them: it trusts them, and a damaged one makes it read beyond its
//! memory or call itself without end.

use std::fs;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{Pulse, loose, midx};
use scratchproof_error::{Error, Result};
use scratchproof_source::plain;

/// Folders of objects that are borrowed from one another, and how deep, as libgit2 follows them.
const FOLDERS: usize = 64;
const DEEPEST: usize = 5;
/// A larger index is not read: some eight million objects.
const INDEX_LIMIT: u64 = 256 << 20;
/// Differences upon differences: git itself makes no longer chain.
pub const CHAIN: u32 = 4096;
/// Bytes of what an object that is opened here may be made from: git takes no base that is 32 times as large.
pub const BASE: u64 = 256 << 20;
/// Objects of more bytes are not opened here.
pub const OPENED: u64 = 32 << 20;
/// Bytes in which the two lengths at the start of a difference stand, deflated.
const LENGTHS: usize = 512;

/// Compares the SHA-1 at the end of every index with its content, which finds damage, and looks whether every object lies
/// inside its pack and no chain of differences is a circle, which finds malice: libgit2 follows a circle until its memory
/// ends.
///
/// # Errors
/// If an index is damaged, leads out of its pack or in a circle, or cannot be read.
pub fn check(folder: &Path, pulse: &Pulse) -> Result<()> {
    let mut files = Vec::new();
    for objects in folders(&folder.join("objects"))? {
        loose::check(&objects, pulse)?;
        files.push(objects.join("info/commit-graph"));
        for entry in fs::read_dir(objects.join("pack")).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // libgit2 loads what ends so, a bare `.idx` too.
            if name == "multi-pack-index" || name.ends_with(".idx") {
                files.push(path);
            } else if fs::metadata(&path).is_ok_and(|about| !about.is_file() && !about.is_dir()) {
                return Err(Error::input(format!("objects/pack/{} is not a regular file", super::clean(&name))));
            }
        }
    }
    files.sort();
    for path in files.iter().filter(|path| path.exists()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        pulse.beat("index", super::clean(&name));
        let length = fs::metadata(path).map_or(0, |about| about.len());
        if length > INDEX_LIMIT {
            return Err(Error::input(format!("{name} has {length} bytes; {INDEX_LIMIT} are the most that is read")));
        }
        let sound = is_sound(path).map_err(|error| Error::io(format!("{name} cannot be read"), error))?;
        if !sound {
            return Err(Error::input(format!("the index {name} is damaged: its checksum is wrong")));
        }
        if name.ends_with(".idx") {
            let wrong = chains(path, pulse).map_err(|error| Error::io(format!("{name} cannot be read"), error))?;
            if let Some(why) = wrong {
                return Err(Error::input(format!("the index {name} is damaged: {why}")));
            }
        }
        if name == "multi-pack-index" && !midx::agrees(path).unwrap_or(false) {
            return Err(Error::input(
                "the multi-pack-index does not agree with the indexes of its packs; without it the repository can be read",
            ));
        }
    }
    Ok(())
}

/// A folder of objects and all that it borrows from (`info/alternates`): libgit2 reads their packs too.
fn folders(objects: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut next) = (Vec::new(), vec![objects.to_owned()]);
    for _ in 0..=DEEPEST {
        for folder in std::mem::take(&mut next) {
            let Ok(folder) = fs::canonicalize(folder) else { continue };
            if found.contains(&folder) {
                continue;
            }
            let list = folder.join("info/alternates");
            // What is no file would be waited for.
            let lines = match fs::metadata(&list) {
                Ok(about) if !about.is_file() => {
                    return Err(Error::input("objects/info/alternates is not a regular file"));
                }
                Ok(about) if about.len() <= 1 << 20 => fs::read(&list).unwrap_or_default(),
                Ok(_) => return Err(Error::input("objects/info/alternates is too large")),
                Err(_) => Vec::new(),
            };
            let lines = String::from_utf8_lossy(&lines).into_owned();
            let named = lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            next.extend(named.map(|line| folder.join(line)));
            found.push(folder);
            if found.len() > FOLDERS {
                return Err(Error::input(format!("its objects are borrowed from more than {FOLDERS} folders")));
            }
        }
    }
    Ok(found)
}

/// What is wrong with the places and the chains of a pack, in words.
fn chains(path: &Path, pulse: &Pulse) -> std::io::Result<Option<String>> {
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

fn is_sound(path: &Path) -> std::io::Result<bool> {
    let Some(content) = fs::metadata(path)?.len().checked_sub(20) else { return Ok(false) };
    let mut input = BufReader::new(plain::open(path)?);
    let sum = sha1(&mut (&mut input).take(content))?;
    let mut written = [0; 20];
    input.read_exact(&mut written)?;
    Ok(sum == written)
}

/// SHA-1 (FIPS 180-4) of all that can be read. Git's own checksum; nothing here relies on it against forgery.
pub fn sha1(input: &mut impl Read) -> std::io::Result<[u8; 20]> {
    let mut state: [u32; 5] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];
    let mut length: u64 = 0;
    let mut ended = false;
    loop {
        let mut block = [0; 64];
        let mut filled = 0;
        while filled < 64 {
            match input.read(&mut block[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        length += filled as u64 * 8;
        if filled < 64 {
            if !ended {
                block[filled] = 0x80;
            }
            // The length wants eight bytes; without room for them they go into a block of their own.
            if ended || filled < 56 {
                block[56..].copy_from_slice(&length.to_be_bytes());
                compress(&mut state, &block);
                break;
            }
            ended = true;
        }
        compress(&mut state, &block);
    }
    let mut sum = [0; 20];
    for (bytes, word) in sum.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    Ok(sum)
}

fn compress(state: &mut [u32; 5], block: &[u8; 64]) {
    let mut words = [0u32; 80];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    for i in 16..80 {
        words[i] = (words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16]).rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (i, word) in words.into_iter().enumerate() {
        let (mixed, constant) = match i / 20 {
            0 => ((b & c) | (!b & d), 0x5A82_7999),
            1 => (b ^ c ^ d, 0x6ED9_EBA1),
            2 => ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC),
            _ => (b ^ c ^ d, 0xCA62_C1D6_u32),
        };
        let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(constant).wrapping_add(word);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    for (old, new) in state.iter_mut().zip([a, b, c, d, e]) {
        *old = old.wrapping_add(new);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Pulse, check, sha1};

    #[test]
    fn sha1_is_that_of_the_standard() {
        let hex =
            |text: &[u8]| sha1(&mut &text[..]).unwrap().iter().fold(String::new(), |hex, b| format!("{hex}{b:02x}"));
        assert_eq!(hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        let two = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(two), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        assert_eq!(hex(&vec![b'a'; 1_000_000]), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    }

    /// A pack whose objects are differences to named objects or to ones before them, and its index, with true sums.
    fn forge(folder: &std::path::Path, objects: &[(u8, Vec<u8>)], offset: Option<u32>) {
        let mut pack = b"PACK\0\0\0\x02".to_vec();
        pack.extend(u32::try_from(objects.len()).unwrap().to_be_bytes());
        let (mut names, mut offsets) = (Vec::new(), Vec::new());
        for (name, body) in objects {
            names.extend([*name; 20]);
            offsets.extend(offset.unwrap_or(u32::try_from(pack.len()).unwrap()).to_be_bytes());
            pack.extend(body);
            pack.extend([0; 30]);
        }
        let sum = sha1(&mut &pack[..]).unwrap();
        pack.extend(sum);
        let mut index = b"\xfftOc\0\0\0\x02".to_vec();
        for first in 0..=255_u8 {
            let below = objects.iter().filter(|(name, _)| *name <= first).count();
            index.extend(u32::try_from(below).unwrap().to_be_bytes());
        }
        index.extend([names, vec![0; 4 * objects.len()], offsets, sum.to_vec()].concat());
        let sum = sha1(&mut &index[..]).unwrap();
        index.extend(sum);
        std::fs::write(folder.join("pack-2.pack"), pack).unwrap();
        std::fs::write(folder.join("pack-2.idx"), index).unwrap();
    }

    #[test]
    fn an_index_that_leads_astray_is_refused_although_its_sum_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let packs = folder.path().join("objects/pack");
        std::fs::create_dir_all(&packs).unwrap();
        let named = |name: u8| [&[0x70][..], &[name; 20]].concat();
        let says = || check(folder.path(), &Pulse::default()).map_err(|error| error.to_string());
        forge(&packs, &[(1, named(2)), (2, vec![0x30])], None);
        assert_eq!(says(), Ok(()));
        for circle in [&[(1, named(1))][..], &[(1, named(2)), (2, named(1))], &[(1, named(2)), (2, vec![0x60, 51])]] {
            forge(&packs, circle, None);
            assert!(says().unwrap_err().contains("in a circle"), "{circle:?}");
        }
        for offset in [0, 11, 5000, 0x8000_0000] {
            forge(&packs, &[(1, vec![0x30])], Some(offset));
            assert!(says().unwrap_err().contains("outside of its pack"), "{offset}");
        }
    }

    #[test]
    fn a_damaged_index_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check(folder.path(), &Pulse::default()).is_ok());
        let packs = folder.path().join("objects/pack");
        std::fs::create_dir_all(&packs).unwrap();
        let sum = sha1(&mut &b"index"[..]).unwrap();
        for bytes in [&b"short"[..], &[&b"indey"[..], &sum].concat()] {
            std::fs::write(packs.join("pack-1.idx"), bytes).unwrap();
            assert!(check(folder.path(), &Pulse::default()).unwrap_err().to_string().contains("pack-1.idx is damaged"));
        }
    }
}
