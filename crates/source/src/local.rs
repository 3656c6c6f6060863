//! A file on this computer: positioned reads, or a memory map where the bytes are in memory already.
//!
//! A map of a file that is on disk is slower than reading it (one fault at a time), and one of a file that is in the page
//! cache is faster (no copy). So a map is made only for the latter, and its pages are given back after use, because they
//! count as this process's memory otherwise.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::{Advice, Mmap};

use super::Blob;
use scratchproof_error::{Error, Result};

/// How a file's bytes get into the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// A map where the whole file is in the page cache, positioned reads otherwise.
    #[default]
    Auto,
    /// Always a map.
    Mapped,
    /// Always positioned reads: for files that may be cut short while they are read, and for network file systems.
    Positioned,
}

/// Ranges from this size on are faulted in with one call.
const POPULATE_FROM: usize = 256 * 1024;

/// How much of a map is asked about at once.
const RESIDENCY_STEP: usize = 1 << 30;

/// One page in so many may be absent from the page cache of a file that is mapped.
const ABSENT: usize = 100;

/// So many files stay open; the others are opened again for every read, so that a long series of many shards does not
/// run into the limit on open files.
const KEPT_OPEN: usize = 256;

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A regular file. It must not change while it is read; a file that was replaced is noticed, one that is overwritten in
/// place is not.
pub struct LocalFile {
    path: PathBuf,
    length: u64,
    device: u64,
    inode: u64,
    kept: Option<Kept>,
    map: Option<Mmap>,
}

/// An open file that counts against [`KEPT_OPEN`].
struct Kept(File);

impl Kept {
    fn new(file: File) -> Option<Self> {
        if OPEN.fetch_add(1, Ordering::Relaxed) < KEPT_OPEN {
            return Some(Self(file));
        }
        OPEN.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LocalFile {
    /// Opens a regular file, following links.
    ///
    /// # Errors
    /// If there is no such file, it may not be read, or it is not a regular file (a FIFO or a device would hang).
    pub fn open(path: &Path, reading: Reading) -> Result<Self> {
        let file = open_regular(path)?;
        let metadata = file.metadata().map_err(|cause| Error::io(path.display(), cause))?;
        let map = match reading {
            Reading::Positioned => None,
            _ if metadata.len() == 0 => None,
            Reading::Mapped => Some(map(&file).map_err(|cause| Error::io(path.display(), cause))?),
            Reading::Auto => map(&file).ok().filter(in_page_cache),
        };
        Ok(Self {
            path: path.to_path_buf(),
            length: metadata.len(),
            device: metadata.dev(),
            inode: metadata.ino(),
            kept: Kept::new(file),
            map,
        })
    }

    /// Whether the bytes are read through a memory map.
    pub fn is_mapped(&self) -> bool {
        self.map.is_some()
    }

    fn reopen(&self) -> Result<File> {
        let file = open_regular(&self.path)?;
        let now = file.metadata().map_err(|cause| Error::io(self.path.display(), cause))?;
        if (now.dev(), now.ino(), now.len()) != (self.device, self.inode, self.length) {
            return Err(Error::input(format!("{} was replaced while it was read", self.path.display())));
        }
        Ok(file)
    }

    /// The range as indices of the map, if it is wholly inside.
    fn inside(&self, offset: u64, length: usize) -> Option<(&Mmap, usize)> {
        let map = self.map.as_ref()?;
        let offset = usize::try_from(offset).ok()?;
        (offset.checked_add(length)? <= map.len()).then_some((map, offset))
    }
}

impl Blob for LocalFile {
    fn len(&self) -> u64 {
        self.length
    }

    fn uri(&self) -> String {
        self.path.display().to_string()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.length);
        let Some(end) = end else {
            return Err(Error::input(format!(
                "{}: {} bytes from byte {offset} were asked for, but the file has {}",
                self.path.display(),
                buffer.len(),
                self.length
            )));
        };
        let read = match &self.kept {
            Some(kept) => kept.0.read_exact_at(buffer, offset),
            None => self.reopen()?.read_exact_at(buffer, offset),
        };
        read.map_err(|cause| match cause.kind() {
            io::ErrorKind::UnexpectedEof => Error::input(format!(
                "{}: the file was cut short while it was read; it had {} bytes and byte {end} cannot be reached",
                self.path.display(),
                self.length
            )),
            _ => Error::io(self.path.display(), cause),
        })
    }

    fn resident(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let (map, start) = self.inside(offset, length)?;
        if length >= POPULATE_FROM && populate(map, start, length).is_err() {
            // The pages are not to be had (the file was cut short): a positioned read says so instead of a signal.
            return None;
        }
        Some(&map[start..start + length])
    }

    fn release(&self, offset: u64, length: usize) {
        if let Some((map, start)) = self.inside(offset, length) {
            give_back(map, start, length);
        }
    }
}

/// Opens without waiting for the other end of a FIFO, and refuses everything that is not a regular file.
fn open_regular(path: &Path) -> Result<File> {
    let shown = path.display();
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path).map_err(|cause| {
            match cause.kind() {
                io::ErrorKind::NotFound => Error::input(format!("no such file or directory: {shown}")),
                _ => Error::io(&shown, cause),
            }
        })?;
    let metadata = file.metadata().map_err(|cause| Error::io(&shown, cause))?;
    if metadata.is_dir() {
        return Err(Error::input(format!("{shown} is a folder, not a file")));
    }
    if !metadata.is_file() {
        return Err(Error::input(format!("{shown} is not a regular file")));
    }
    Ok(file)
}

#[allow(unsafe_code, reason = "a memory map has no safe constructor")]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is read-only. Finished checkpoints are not written to; should somebody do it all the same, the
    // bytes are only ever read as numbers, for which every value is allowed, and nothing relies on reading the same twice.
    unsafe { Mmap::map(file) }
}

/// Whether so good as every page is in the page cache (a kernel under load takes single pages out at any time). It says
/// yes to all for files the user could not write; such files are then mapped and faulted in, which is slower and right.
#[allow(unsafe_code, reason = "no safe wrapper of mincore")]
fn in_page_cache(map: &Mmap) -> bool {
    // SAFETY: a query of a number, without arguments in memory.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096).max(1);
    let mut pages = vec![0; RESIDENCY_STEP.min(map.len()).div_ceil(page)];
    let step = pages.len() * page;
    let mut absent = 0;
    for start in (0..map.len()).step_by(step) {
        let length = step.min(map.len() - start);
        let pages = &mut pages[..length.div_ceil(page)];
        // SAFETY: `start` is a multiple of the page size inside the map, the range ends with the map at the latest, and
        // `pages` has one byte for each page of the range, as mincore(2) asks.
        let answer =
            unsafe { libc::mincore(map.as_ptr().add(start).cast_mut().cast(), length, pages.as_mut_ptr().cast()) };
        if answer != 0 {
            return false;
        }
        absent += pages.iter().filter(|state: &&u8| **state & 1 == 0).count();
    }
    absent * page * ABSENT <= map.len()
}

/// Faults a range in with one call, where the kernel can.
fn populate(map: &Mmap, start: usize, length: usize) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if let Err(cause) = map.advise_range(Advice::PopulateRead, start, length)
        && matches!(cause.raw_os_error(), Some(libc::EFAULT | libc::EHWPOISON))
    {
        return Err(cause);
    }
    #[cfg(not(target_os = "linux"))]
    map.advise_range(Advice::WillNeed, start, length).ok();
    Ok(())
}

/// Takes the pages of a range out of this process's memory; they stay in the page cache.
#[allow(unsafe_code, reason = "memmap2 marks this advice as unsafe because private maps lose writes by it")]
fn give_back(map: &Mmap, start: usize, length: usize) {
    // SAFETY: the map is shared, read-only and backed by a file: pages that are still borrowed come back from the file
    // with the same bytes at the next access.
    // An error only means that memory is given back later.
    let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, length) };
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn every_way_of_reading_gives_the_same_bytes() {
        let bytes: Vec<u8> = (0..1_000_003_u32).map(|i| (i % 251) as u8).collect();
        let (_folder, path) = file(&bytes);
        for reading in [Reading::Auto, Reading::Mapped, Reading::Positioned] {
            let file = LocalFile::open(&path, reading).unwrap();
            assert_eq!(file.len(), bytes.len() as u64);
            for (offset, length) in [(0, 7), (4095, 3), (123, 900_000), (1_000_003, 0), (0, 1_000_003)] {
                let range = file.bytes(offset as u64, length).unwrap();
                assert_eq!(&*range, &bytes[offset..offset + length]);
                file.release(offset as u64, length);
                assert_eq!(&*range, &bytes[offset..offset + length], "released bytes come back");
            }
        }
    }

    #[test]
    fn reading_past_the_end_is_refused() {
        let (_folder, path) = file(b"abc");
        for reading in [Reading::Mapped, Reading::Positioned] {
            let file = LocalFile::open(&path, reading).unwrap();
            assert!(file.resident(1, 3).is_none());
            let error = file.bytes(1, 3).unwrap_err();
            assert!(error.to_string().contains("3 bytes from byte 1"), "{error}");
            assert!(file.bytes(u64::MAX, 1).is_err());
            file.release(u64::MAX, 1);
        }
    }

    #[test]
    fn a_file_that_was_just_written_is_mapped_and_an_empty_one_is_not() {
        let (_folder, path) = file(&[1; 10_000]);
        assert!(LocalFile::open(&path, Reading::Mapped).unwrap().is_mapped());
        assert!(!LocalFile::open(&path, Reading::Positioned).unwrap().is_mapped());
        let (_folder, path) = file(&[]);
        let empty = LocalFile::open(&path, Reading::Mapped).unwrap();
        assert!(empty.is_empty() && !empty.is_mapped());
    }

    #[test]
    fn a_file_that_is_cut_short_is_an_error() {
        let (_folder, path) = file(&vec![7; 1 << 20]);
        let positioned = LocalFile::open(&path, Reading::Positioned).unwrap();
        let mapped = LocalFile::open(&path, Reading::Mapped).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(10).unwrap();
        assert!(positioned.bytes(0, 1 << 20).unwrap_err().to_string().contains("cut short"));
        assert!(mapped.bytes(0, 1 << 20).is_err(), "not a signal");
    }

    #[test]
    fn a_fifo_does_not_hang_and_a_folder_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let name = CString::new(fifo.as_os_str().as_bytes()).unwrap();
        #[allow(unsafe_code, reason = "no safe way to make a FIFO in a test")]
        // SAFETY: the name is a NUL-ended string that outlives the call.
        let made = unsafe { libc::mkfifo(name.as_ptr(), 0o600) };
        assert_eq!(made, 0);
        let error = LocalFile::open(&fifo, Reading::Auto).err().unwrap();
        assert!(error.to_string().contains("not a regular file"), "{error}");
        assert!(LocalFile::open(folder.path(), Reading::Auto).is_err());
        let error = LocalFile::open(&folder.path().join("none"), Reading::Auto).err().unwrap();
        assert!(error.to_string().starts_with("no such file or directory: "), "{error}");
    }

    #[test]
    fn a_replaced_file_is_noticed_when_it_is_opened_again() {
        let (_folder, path) = file(b"abc");
        let mut first = LocalFile::open(&path, Reading::Positioned).unwrap();
        first.kept = None;
        assert_eq!(&*first.bytes(0, 3).unwrap(), b"abc");
        let other = path.with_extension("new");
        std::fs::write(&other, b"xyz").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(first.bytes(0, 3).unwrap_err().to_string().contains("was replaced"));
    }
}
