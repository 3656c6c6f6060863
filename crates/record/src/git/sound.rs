//! Checks the files of objects before libgit2 sees them: it trusts the indexes of packs, and a damaged one makes it read
//! beyond its memory or call itself without end.

use std::fs;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::packs::chains;
use super::sha1::sha1;
use super::{Pulse, loose, midx};
use scratchproof_error::{Error, Result};
use scratchproof_source::plain;
use scratchproof_texts::text;

/// Folders of objects that are borrowed from one another, and how deep, as libgit2 follows them.
const FOLDERS: usize = 64;
const DEEPEST: usize = 5;
/// A larger index is not read: some eight million objects.
const INDEX_LIMIT: u64 = 256 << 20;

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
                return Err(Error::input(text!(
                    "error-record/sound/objects-pack-not-regular",
                    name = super::clean(&name)
                )));
            }
        }
    }
    files.sort();
    for path in files.iter().filter(|path| path.exists()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        pulse.beat("index", super::clean(&name));
        let length = fs::metadata(path).map_or(0, |about| about.len());
        if length > INDEX_LIMIT {
            return Err(Error::input(text!(
                "error-record/sound/bytes-most-read",
                name,
                length,
                index_limit = INDEX_LIMIT
            )));
        }
        let sound =
            is_sound(path).map_err(|error| Error::io(text!("error-record/sound/cannot-read", name = &name), error))?;
        if !sound {
            return Err(Error::input(text!("error-record/sound/index-damaged-checksum-wrong", name)));
        }
        if name.ends_with(".idx") {
            let wrong = chains(path, pulse)
                .map_err(|error| Error::io(text!("error-record/sound/cannot-read", name = &name), error))?;
            if let Some(why) = wrong {
                return Err(Error::input(text!("error-record/sound/index-damaged", name, why)));
            }
        }
        if name == "multi-pack-index" && !midx::agrees(path).unwrap_or(false) {
            return Err(Error::input(text!("error-record/sound/multi-pack-index-does")));
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
                    return Err(Error::input(text!("error-record/sound/objects-info-alternates-not")));
                }
                Ok(about) if about.len() <= 1 << 20 => fs::read(&list).unwrap_or_default(),
                Ok(_) => return Err(Error::input(text!("error-record/sound/objects-info-alternates-too"))),
                Err(_) => Vec::new(),
            };
            let lines = String::from_utf8_lossy(&lines).into_owned();
            let named = lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            next.extend(named.map(|line| folder.join(line)));
            found.push(folder);
            if found.len() > FOLDERS {
                return Err(Error::input(text!("error-record/sound/objects-borrowed-more-folders", folders = FOLDERS)));
            }
        }
    }
    Ok(found)
}

fn is_sound(path: &Path) -> std::io::Result<bool> {
    let Some(content) = fs::metadata(path)?.len().checked_sub(20) else { return Ok(false) };
    let mut input = BufReader::new(plain::open(path)?);
    let sum = sha1(&mut (&mut input).take(content))?;
    let mut written = [0; 20];
    input.read_exact(&mut written)?;
    Ok(sum == written)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Pulse, check, sha1};

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
