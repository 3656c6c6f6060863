//! A file of which what was read stays in memory, within a budget: for work that asks question after question of the same
//! rows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::Blob;
use scratchproof_error::Result;

/// What a range costs beside its bytes, about.
const OVERHEAD: usize = 96;

/// A file that keeps the ranges that were read of it, the first that come; once the budget, which several files may share, is
/// used up, every other range is read from the file.
pub struct HeldFile {
    file: Arc<dyn Blob>,
    /// Bytes that may still be held.
    left: Arc<AtomicUsize>,
    ranges: RwLock<BTreeMap<u64, Box<[u8]>>>,
}

impl HeldFile {
    /// A file with a share in a budget.
    pub fn new(file: Arc<dyn Blob>, left: Arc<AtomicUsize>) -> Self {
        Self { file, left, ranges: RwLock::default() }
    }

    /// Copies a range that is held; says whether it was.
    fn copied(&self, offset: u64, buffer: &mut [u8]) -> bool {
        let ranges = self.ranges.read().unwrap_or_else(PoisonError::into_inner);
        let Some((start, bytes)) = ranges.range(..=offset).next_back() else { return false };
        let Ok(from) = usize::try_from(offset - start) else { return false };
        let held = from.checked_add(buffer.len()).and_then(|end| bytes.get(from..end));
        held.map(|held| buffer.copy_from_slice(held)).is_some()
    }
}

impl Blob for HeldFile {
    fn len(&self) -> u64 {
        self.file.len()
    }

    fn uri(&self) -> String {
        self.file.uri()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        if self.copied(offset, buffer) {
            return Ok(());
        }
        self.file.read_at(offset, buffer)?;
        let size = buffer.len() + OVERHEAD;
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(size));
        if taken.is_ok() {
            let mut ranges = self.ranges.write().unwrap_or_else(PoisonError::into_inner);
            // Of two that begin at one place the longer is held.
            if let Some(before) = ranges.insert(offset, buffer.into()) {
                self.left.fetch_add(before.len().min(buffer.len()) + OVERHEAD, Ordering::Relaxed);
                if before.len() > buffer.len() {
                    ranges.insert(offset, before);
                }
            }
        }
        Ok(())
    }

    fn resident(&self, offset: u64, length: usize) -> Option<&[u8]> {
        self.file.resident(offset, length)
    }

    fn release(&self, offset: u64, length: usize) {
        self.file.release(offset, length);
    }

    fn is_made(&self) -> bool {
        self.file.is_made()
    }

    fn stands_for(&self) -> usize {
        self.file.stands_for()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryFile;

    #[test]
    fn what_was_read_is_read_once_as_long_as_the_budget_lasts() {
        let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        // Nothing can be read beyond 6,000, so that what comes from there must have been held.
        let whole = Arc::new(MemoryFile::new("f", bytes.clone()));
        let left = Arc::new(AtomicUsize::new(3000));
        let held = HeldFile::new(whole, Arc::clone(&left));
        let read = |file: &HeldFile, from: usize, length: usize| {
            let mut buffer = vec![0; length];
            file.read_at(from as u64, &mut buffer).unwrap();
            assert_eq!(buffer, bytes[from..from + length], "{from}");
        };
        read(&held, 6000, 500);
        read(&held, 6000, 1000);
        read(&held, 7000, 900);
        let after = left.load(Ordering::Relaxed);
        assert_eq!(after, 3000 - 1000 - 900 - 2 * OVERHEAD);
        // Parts of what is held cost nothing; what the budget has no room for is read as ever.
        read(&held, 6100, 900);
        read(&held, 7899, 1);
        read(&held, 100, 5000);
        assert_eq!(left.load(Ordering::Relaxed), after);
        let short = HeldFile::new(Arc::new(MemoryFile::new("f", bytes.clone()).short_after(6000)), left);
        *short.ranges.write().unwrap() = held.ranges.into_inner().unwrap();
        read(&short, 6050, 950);
        assert!(short.read_at(6999, &mut [0, 0]).is_err(), "from two ranges nothing is put together");
    }
}
