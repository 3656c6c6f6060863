//! A file on this computer, read by position. Never through a memory map: a file that is cut short while it is read would
//! end the process by a signal, its pages would count as this process's memory, and it saves no processor time.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Blob, plain};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

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
    pub fn open(path: &Path) -> Result<Self> {
        let file = open_plain(path)?;
        let metadata = file.metadata().map_err(|cause| Error::io(path.display(), cause))?;
        Ok(Self {
            path: path.to_path_buf(),
            length: metadata.len(),
            device: metadata.dev(),
            inode: metadata.ino(),
            kept: Kept::new(file),
        })
    }

    fn reopen(&self) -> Result<File> {
        let file = open_plain(&self.path)?;
        let now = file.metadata().map_err(|cause| Error::io(self.path.display(), cause))?;
        if (now.dev(), now.ino(), now.len()) != (self.device, self.inode, self.length) {
            return Err(Error::input(text!("error-source/local/replaced-while-read", path = self.path.display())));
        }
        Ok(file)
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
            return Err(Error::input(text!(
                "error-source/local/bytes-byte-asked-but",
                path = self.path.display(),
                buffer = buffer.len(),
                offset,
                length = &self.length
            )));
        };
        let read = match &self.kept {
            Some(kept) => kept.0.read_exact_at(buffer, offset),
            None => self.reopen()?.read_exact_at(buffer, offset),
        };
        read.map_err(|cause| match cause.kind() {
            io::ErrorKind::UnexpectedEof => Error::input(text!(
                "error-source/local/file-cut-short-while",
                path = self.path.display(),
                length = &self.length,
                end
            )),
            _ => Error::io(self.path.display(), cause),
        })
    }
}

/// As [`plain::open`], with the path in the message.
fn open_plain(path: &Path) -> Result<File> {
    let shown = path.display();
    plain::open(path).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => Error::input(text!("error-source/local/no-such-file-or", shown)),
        io::ErrorKind::InvalidInput => Error::input(cause.to_string()).context(shown),
        _ => Error::io(shown, cause),
    })
}

#[cfg(test)]
mod tests {

    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn any_range_is_read_as_it_is() {
        let bytes: Vec<u8> = (0..1_000_003_u32).map(|i| (i % 251) as u8).collect();
        let (_folder, path) = file(&bytes);
        let file = LocalFile::open(&path).unwrap();
        assert_eq!(file.len(), bytes.len() as u64);
        for (offset, length) in [(0, 7), (4095, 3), (123, 900_000), (1_000_003, 0), (0, 1_000_003)] {
            let range = file.bytes(offset as u64, length).unwrap();
            assert_eq!(&*range, &bytes[offset..offset + length]);
        }
    }

    #[test]
    fn reading_past_the_end_is_refused() {
        let (_folder, path) = file(b"abc");
        let file = LocalFile::open(&path).unwrap();
        let error = file.bytes(1, 3).unwrap_err();
        assert!(error.to_string().contains("3 bytes from byte 1"), "{error}");
        assert!(file.bytes(u64::MAX, 1).is_err());
    }

    #[test]
    fn a_file_that_is_cut_short_is_an_error() {
        let (_folder, path) = file(&vec![7; 1 << 20]);
        let positioned = LocalFile::open(&path).unwrap();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(10).unwrap();
        assert!(positioned.bytes(0, 1 << 20).unwrap_err().to_string().contains("cut short"));
    }

    #[test]
    fn a_fifo_does_not_hang_and_a_folder_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let error = LocalFile::open(&fifo).err().unwrap();
        assert!(error.to_string().contains("not a regular file"), "{error}");
        assert!(LocalFile::open(folder.path()).is_err());
        let error = LocalFile::open(&folder.path().join("none")).err().unwrap();
        assert!(error.to_string().starts_with("no such file or directory: "), "{error}");
    }

    #[test]
    fn a_replaced_file_is_noticed_when_it_is_opened_again() {
        let (_folder, path) = file(b"abc");
        let mut first = LocalFile::open(&path).unwrap();
        first.kept = None;
        assert_eq!(&*first.bytes(0, 3).unwrap(), b"abc");
        let other = path.with_extension("new");
        std::fs::write(&other, b"xyz").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(first.bytes(0, 3).unwrap_err().to_string().contains("was replaced"));
    }
}
