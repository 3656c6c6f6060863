//! Holds an index over several packs against the indexes of the packs (gitformat-pack(5), "multi-pack-index files have the
//! following format"): libgit2 looks objects up in it first, and it may lead to places that nobody looked at.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::packs::{Index, number};

/// Whether every object lies where the index of its pack says; `None` if it is no such file.
pub fn agrees(path: &Path) -> Option<bool> {
    let bytes = fs::read(path).ok()?;
    let chunks = chunks(&bytes)?;
    let names = chunks.get(b"PNAM")?.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let count = usize::try_from(number(&bytes, 8)?).ok()?;
    let mut packs = Vec::new();
    for name in names.take(count) {
        let name = std::str::from_utf8(name).ok().filter(|name| !name.contains('/'))?;
        packs.push(places(&path.with_file_name(name))?);
    }
    let (ids, offsets) = (chunks.get(b"OIDL")?, chunks.get(b"OOFF")?);
    let long = chunks.get(b"LOFF").copied().unwrap_or_default();
    let objects = ids.len() / 20;
    if objects != offsets.len() / 8 {
        return Some(false);
    }
    for at in 0..objects {
        let pack = usize::try_from(number(offsets, 8 * at)?).ok()?;
        let mut offset = u64::from(number(offsets, 8 * at + 4)?);
        if offset & 0x8000_0000 != 0 && !long.is_empty() {
            let place = 8 * usize::try_from(offset & 0x7fff_ffff).ok()?;
            offset = u64::from(number(long, place)?) << 32 | u64::from(number(long, place + 4)?);
        }
        if packs.get(pack)?.get(ids.get(20 * at..20 * at + 20)?) != Some(&offset) {
            return Some(false);
        }
    }
    Some(true)
}

/// The chunks of a file by their names.
fn chunks(bytes: &[u8]) -> Option<BTreeMap<[u8; 4], &[u8]>> {
    // Version 1, ids of SHA-1.
    if !bytes.starts_with(b"MIDX\x01\x01") {
        return None;
    }
    let mut chunks = BTreeMap::new();
    for chunk in 0..usize::from(*bytes.get(6)?) {
        let place = |at: usize| {
            let (high, low) = (number(bytes, at + 4)?, number(bytes, at + 8)?);
            usize::try_from(u64::from(high) << 32 | u64::from(low)).ok()
        };
        let at = 12 + 12 * chunk;
        chunks.insert(bytes.get(at..at + 4)?.try_into().ok()?, bytes.get(place(at)?..place(at + 12)?)?);
    }
    Some(chunks)
}

/// Where the objects of a pack lie, by their ids.
fn places(index: &Path) -> Option<BTreeMap<Vec<u8>, u64>> {
    let index = Index::new(fs::read(index).ok()?)?;
    (0..index.count).map(|at| Some((index.name(at)?.to_vec(), index.offset(at)?))).collect()
}
