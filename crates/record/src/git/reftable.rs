//! References in the reftable format (git's Documentation/technical/reftable), which libgit2 does not read.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use git2::Oid;

use scratchproof_error::{Error, Result};
use scratchproof_source::plain;
use scratchproof_texts::text;

/// Tables in the stack, bytes of one, and references in all of them, at most.
const TABLES: usize = 1000;
const LARGEST: u64 = 256 << 20;
const MOST: usize = 4_000_000;
/// References that name other references, one after another, as git follows them.
const DEEPEST: usize = 5;

/// What a reference holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Gone,
    Object(Oid),
    Reference(String),
}

/// Names and targets of all references and of HEAD, those that name others resolved; what leads nowhere is left out.
///
/// # Errors
/// If the stack or a table is damaged, larger than the limits, or of another object format.
pub fn read(folder: &Path) -> Result<Vec<(String, Oid)>> {
    let list = String::from_utf8(bytes(&folder.join("tables.list"))?)
        .map_err(|_| Error::input(text!("error-record/reftable/list-reftable-stack-not")))?;
    if list.lines().count() > TABLES {
        return Err(Error::input(text!("error-record/reftable/reftable-stack-more-tables", tables = TABLES)));
    }
    let mut all = BTreeMap::new();
    for name in list.lines() {
        // A name is one of a file in this folder; anything else would lead out of it.
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) {
            return Err(Error::input(text!("error-record/reftable/list-reftable-stack-names")));
        }
        let content = bytes(&folder.join(name))?;
        table(&content, &mut all)
            .ok_or_else(|| Error::input(text!("error-record/reftable/reftable-damaged", name = super::clean(name))))?;
        if all.len() > MOST {
            return Err(Error::input(text!("error-record/reftable/reftable-stack-more-references", most = MOST)));
        }
    }
    let target = |name: &str| {
        let mut at = name;
        for _ in 0..DEEPEST {
            match all.get(at)? {
                Value::Object(id) => return Some(*id),
                Value::Reference(next) => at = next,
                Value::Gone => return None,
            }
        }
        None
    };
    Ok(all.keys().filter_map(|name| Some((name.clone(), target(name)?))).collect())
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let failed =
        |error| Error::io(text!("error-record/reftable/reftable-stack-cannot-read", name = super::clean(&name)), error);
    let about = fs::metadata(path).map_err(failed)?;
    if !about.is_file() || about.len() > LARGEST {
        return Err(Error::input(text!(
            "error-record/reftable/reftable-stack-no-file",
            name = super::clean(&name),
            largest = LARGEST
        )));
    }
    let mut content = Vec::new();
    plain::open(path).map_err(failed)?.take(LARGEST).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

/// Adds the references of one table, which stand over those of the tables before it.
fn table(content: &[u8], to: &mut BTreeMap<String, Value>) -> Option<()> {
    let header = match content.get(..5)? {
        [b'R', b'E', b'F', b'T', 1] => 24,
        [b'R', b'E', b'F', b'T', 2] if content.get(24..28)? == b"sha1" => 28,
        _ => return None,
    };
    let end = content.len().checked_sub(header + 44)?;
    // The footer repeats the header and ends with its own checksum.
    let (sum, footer) = (content.get(content.len() - 4..)?, content.get(end..content.len() - 4)?);
    if end < header || footer.get(..header)? != content.get(..header)? || number(sum) != crc32(footer) as usize {
        return None;
    }
    let size = number(content.get(5..8)?);
    let mut start = 0;
    loop {
        // The header of the file stands inside the first block.
        let at = if start == 0 { header } else { start };
        if at >= end || *content.get(at)? != b'r' {
            return Some(());
        }
        let length = number(content.get(at + 1..at + 4)?);
        let whole = content.get(start..start.checked_add(length)?)?;
        let restarts = number(whole.get(length.checked_sub(2)?..)?);
        let records = whole.get(at + 4 - start..length.checked_sub(2 + 3 * restarts)?)?;
        block(records, to)?;
        // Blocks are filled up with zeros to one size, or follow each other at once.
        let padded = size > length && start + length < end && content.get(start + length)? == &0;
        start += if padded { size } else { length };
    }
}

fn block(mut rest: &[u8], to: &mut BTreeMap<String, Value>) -> Option<()> {
    let mut name: Vec<u8> = Vec::new();
    while !rest.is_empty() {
        let shared = usize::try_from(varint(&mut rest)?).ok()?;
        let word = varint(&mut rest)?;
        let suffix = take(&mut rest, usize::try_from(word >> 3).ok()?)?;
        name.get(shared..).map(|_| ())?;
        name.truncate(shared);
        name.extend_from_slice(suffix);
        let _update = varint(&mut rest)?;
        let value = match word & 7 {
            0 => Value::Gone,
            kind @ 1..=2 => {
                let id = Oid::from_bytes(take(&mut rest, 20)?).ok()?;
                if kind == 2 {
                    // What an annotated tag is of; found from the tag itself.
                    take(&mut rest, 20)?;
                }
                Value::Object(id)
            }
            3 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                Value::Reference(String::from_utf8_lossy(take(&mut rest, length)?).into_owned())
            }
            _ => return None,
        };
        to.insert(String::from_utf8_lossy(&name).into_owned(), value);
    }
    Some(())
}

/// The CRC of ISO 3309, as in zlib.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xEDB8_8320 } else { sum >> 1 })
    })
}

/// Big-endian.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    Some(head)
}

/// Seven bits a byte, the highest first, each further byte one more than it says (as offsets in packs).
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for place in 0..9 {
        let byte = take(rest, 1)?[0];
        value = if place == 0 { u64::from(byte & 0x7f) } else { (value + 1) << 7 | u64::from(byte & 0x7f) };
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// One block by hand: HEAD names main, main is an object, a tag with what it is of, and a branch that is gone.
    fn sample() -> Vec<u8> {
        let mut records = vec![0, (4 << 3) | 3, b'H', b'E', b'A', b'D', 0, 15];
        records.extend(b"refs/heads/main");
        records.extend([0, (15 << 3) | 1]);
        records.extend(b"refs/heads/main");
        records.extend([&[0][..], &[1; 20]].concat());
        records.extend([11, 3 << 3]);
        records.extend(b"old\0");
        records.extend([5, (7 << 3) | 2]);
        records.extend(b"tags/v1\0");
        records.extend([[2; 20], [1; 20]].concat());
        let header = [b"REFT\x01\x00\x10\x00".as_slice(), &[0; 16]].concat();
        let length = u8::try_from(24 + 4 + records.len() + 3 + 2).unwrap();
        let block = [&[b'r', 0, 0, length][..], &records, &[0, 0, 28, 0, 1]].concat();
        let footer = [&header[..], &[0; 40]].concat();
        [&header[..], &block, &footer, &crc32(&footer).to_be_bytes()].concat()
    }

    /// A table that git 2.47 packed, in blocks of 512 bytes.
    #[test]
    fn what_git_wrote_is_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tables.list"), "x.ref\n").unwrap();
        let bytes = include_bytes!("../../../../tests/data/git/references.reftable");
        fs::write(folder.path().join("x.ref"), bytes).unwrap();
        let all = read(folder.path()).unwrap();
        let commit = Oid::from_str("ded12ec8fcf3f43ef32f320a725625655a846abe").unwrap();
        let tag = Oid::from_str("32a4a39732baeed247280fb946d324e26887aaca").unwrap();
        let branches = (1..=40).filter(|n| *n != 7).map(|n| (format!("refs/heads/topic/branch-{n}"), commit));
        let mut expected: Vec<_> = branches.collect();
        expected.extend(
            [("HEAD", commit), ("refs/heads/master", commit), ("refs/tags/v1", tag)].map(|(n, id)| (n.into(), id)),
        );
        expected.sort();
        assert_eq!(all, expected);
        for at in 0..bytes.len() {
            let mut other = bytes.to_vec();
            other[at] ^= 0x55;
            let _ = table(&other, &mut BTreeMap::new());
            assert_eq!(table(&bytes[..at], &mut BTreeMap::new()), None, "cut at {at}");
        }
    }

    #[test]
    fn tables_stand_over_each_other_and_damage_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        write("tables.list", b"a.ref\n");
        write("a.ref", &sample());
        let (one, two) = (Oid::from_bytes(&[1; 20]).unwrap(), Oid::from_bytes(&[2; 20]).unwrap());
        let expected =
            [("HEAD", one), ("refs/heads/main", one), ("refs/tags/v1", two)].map(|(name, id)| (name.to_owned(), id));
        assert_eq!(read(folder.path()).unwrap(), expected);
        // Every cut and every changed byte: an answer or an error, never a panic.
        let whole = sample();
        for at in 0..whole.len() {
            assert_eq!(table(&whole[..at], &mut BTreeMap::new()), None, "cut at {at}");
            for bit in 0..8 {
                let mut other = whole.clone();
                other[at] ^= 1 << bit;
                let _ = table(&other, &mut BTreeMap::new());
            }
        }
        write("a.ref", &whole[..60]);
        assert!(read(folder.path()).unwrap_err().to_string().contains("a.ref is damaged"));
        write("tables.list", b"../a.ref\n");
        assert!(read(folder.path()).unwrap_err().to_string().contains("elsewhere"));
    }
}
