//! Files that are only in memory, for tests and for what was fetched whole. They can lie as real ones do.

use std::collections::BTreeMap;

use super::directory::plain;
use super::{Blob, Store};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// A file in memory.
#[derive(Clone, Debug)]
pub struct MemoryFile {
    uri: String,
    bytes: Vec<u8>,
    readable: u64,
    borrowed: bool,
}

impl MemoryFile {
    /// A file that reads back as it is given.
    pub fn new(uri: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self { uri: uri.into(), readable: bytes.len() as u64, bytes, borrowed: false }
    }

    /// Lets every read that goes past `end` come back short, as from a connection that broke.
    #[must_use]
    pub fn short_after(mut self, end: u64) -> Self {
        self.readable = end;
        self
    }

    /// Hands its bytes out without a copy, as a mapped file does.
    #[must_use]
    pub fn borrowed(mut self) -> Self {
        self.borrowed = true;
        self
    }
}

impl Blob for MemoryFile {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn uri(&self) -> String {
        self.uri.clone()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let wanted = buffer.len();
        let end = offset.checked_add(wanted as u64).filter(|end| *end <= self.len());
        let Some(end) = end else {
            return Err(Error::input(text!(
                "error-source/memory/bytes-byte-asked-but",
                uri = &self.uri,
                wanted,
                offset,
                len = self.len()
            )));
        };
        if end > self.readable {
            return Err(
                Error::refused(text!("error-source/memory/short", short = end - self.readable)).context(&self.uri)
            );
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        buffer.copy_from_slice(&self.bytes[start..start + wanted]);
        Ok(())
    }

    fn resident(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(length)?;
        if !self.borrowed || end as u64 > self.readable {
            return None;
        }
        self.bytes.get(start..end)
    }
}

/// A folder in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    files: BTreeMap<String, MemoryFile>,
}

impl MemoryStore {
    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// The folder with one more file; a name with `/` puts it into a folder within.
    #[must_use]
    pub fn with(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.insert(name.to_owned(), MemoryFile::new(name, bytes));
        self
    }
}

impl Store for MemoryStore {
    fn uri(&self) -> String {
        "memory".to_owned()
    }

    fn list(&self) -> Result<Vec<String>> {
        Ok(self.files.keys().filter(|name| !name.contains('/')).cloned().collect())
    }

    fn folders(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> =
            self.files.keys().filter_map(|name| name.split_once('/')).map(|(folder, _)| folder.to_owned()).collect();
        names.dedup();
        Ok(names)
    }

    fn enter(&self, name: &str) -> Result<Box<dyn Store>> {
        plain(name)?;
        let within = |(path, file): (&String, &MemoryFile)| {
            Some((path.strip_prefix(name)?.strip_prefix('/')?.to_owned(), file.clone()))
        };
        let files: BTreeMap<String, MemoryFile> = self.files.iter().filter_map(within).collect();
        if files.is_empty() {
            return Err(Error::input(text!("error-source/memory/no-folder-memory", name = format!("{name:?}"))));
        }
        Ok(Box::new(Self { files }))
    }

    fn open(&self, name: &str) -> Result<Box<dyn Blob>> {
        plain(name)?;
        let file = self.files.get(name);
        let file = file.ok_or_else(|| Error::input(text!("error-source/memory/no-such-file-or", name)))?;
        Ok(Box::new(file.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_reads_are_errors_and_the_rest_is_read() {
        let file = MemoryFile::new("m", *b"abcdef").short_after(4);
        assert_eq!(&*file.bytes(1, 3).unwrap(), b"bcd");
        let error = file.bytes(2, 3).unwrap_err();
        assert!(error.is_io() && error.to_string().contains("1 bytes short"), "{error}");
        assert!(file.bytes(5, 2).unwrap_err().is_input());
        assert!(file.bytes(u64::MAX, 2).unwrap_err().is_input());
    }

    #[test]
    fn borrowed_bytes_are_not_copied() {
        let file = MemoryFile::new("m", *b"abcdef").borrowed().short_after(4);
        assert!(matches!(file.bytes(0, 4).unwrap(), std::borrow::Cow::Borrowed(b"abcd")));
        assert!(file.bytes(0, 5).is_err());
    }

    #[test]
    fn a_store_lists_and_opens() {
        let store = MemoryStore::new().with("b", *b"1").with("a", *b"22");
        assert_eq!(store.list().unwrap(), ["a", "b"]);
        assert_eq!(store.open("a").unwrap().len(), 2);
        assert!(store.open("../a").is_err() && store.open("c").is_err());
    }
}
