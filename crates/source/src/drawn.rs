//! A file of which only some ranges are read: they stand one after the other, and nothing between them is fetched.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::Blob;
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// Ranges of a file, ascending and apart, and where each begins in what is made of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Runs {
    ranges: Vec<Range<u64>>,
    /// Bytes of the runs before each.
    starts: Vec<u64>,
    length: u64,
}

impl Runs {
    /// Takes ranges of a file of so many bytes; those that are empty are left out, neighbours joined.
    ///
    /// # Errors
    /// If they are not ascending, overlap, or leave the file.
    pub(super) fn new(wanted: &[Range<u64>], length: u64) -> Result<Self> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for run in wanted.iter().filter(|run| run.start < run.end) {
            match runs.last_mut() {
                Some(last) if run.start < last.end => {
                    return Err(Error::usage(text!("error-source/drawn/ranges-file-overlap")));
                }
                Some(last) if run.start == last.end => last.end = run.end,
                _ => runs.push(run.clone()),
            }
        }
        if runs.last().is_some_and(|last| last.end > length) {
            return Err(Error::usage(text!("error-source/drawn/ranges-leave-their-file")));
        }
        let mut all = 0;
        let starts = runs.iter().map(|run| (all, all += run.end - run.start).0).collect();
        Ok(Self { ranges: runs, starts, length: all })
    }

    /// Bytes of all of them.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// The ranges of the file that a range of what is made of them is.
    pub(super) fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let first = self.starts.partition_point(|start| *start <= range.start).saturating_sub(1);
        self.ranges[first..].iter().zip(&self.starts[first..]).map_while(move |(run, start)| {
            let from = range.start.max(*start) - start;
            let to = range.end.saturating_sub(*start).min(run.end - run.start);
            (*start < range.end).then(|| run.start + from..run.start + to.max(from))
        })
    }

    /// What tells them from other ranges of the same file.
    pub(super) fn name(&self) -> String {
        format!("{:?}", self.ranges)
    }
}

/// Some ranges of a file, one after the other.
pub struct DrawnFile {
    file: Arc<dyn Blob>,
    runs: Runs,
}

impl DrawnFile {
    /// Takes these ranges of a file, ascending and apart. Where the file is at a place that is fetched from, nothing but them
    /// is fetched.
    ///
    /// # Errors
    /// If they overlap or leave the file.
    pub fn of(file: &Arc<dyn Blob>, ranges: &[Range<u64>]) -> Result<Arc<dyn Blob>> {
        let runs = Runs::new(ranges, file.len())?;
        match file.drawn(ranges) {
            Some(own) => own,
            None => Ok(Arc::new(Self { file: Arc::clone(file), runs })),
        }
    }
}

impl Blob for DrawnFile {
    fn len(&self) -> u64 {
        self.runs.len()
    }

    fn uri(&self) -> String {
        self.file.uri()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let end = inside(self, offset, buffer.len())?;
        let mut rest = buffer;
        for piece in self.runs.pieces(offset..end) {
            let length = usize::try_from(piece.end - piece.start).unwrap_or(usize::MAX).min(rest.len());
            let (own, after) = rest.split_at_mut(length);
            self.file.read_at(piece.start, own)?;
            rest = after;
        }
        Ok(())
    }

    fn resident(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let end = inside(self, offset, length).ok()?;
        let piece = self.runs.pieces(offset..end).next()?;
        if piece.end - piece.start < length as u64 {
            return None;
        }
        self.file.resident(piece.start, length)
    }

    fn release(&self, offset: u64, length: usize) {
        let Ok(end) = inside(self, offset, length) else { return };
        for piece in self.runs.pieces(offset..end) {
            self.file.release(piece.start, usize::try_from(piece.end - piece.start).unwrap_or(usize::MAX));
        }
    }

    fn is_made(&self) -> bool {
        self.file.is_made()
    }
}

impl fmt::Debug for DrawnFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DrawnFile({}, {} of {} bytes)", self.uri(), self.runs.len(), self.file.len())
    }
}

/// The end of a range, which must be inside.
fn inside(file: &DrawnFile, offset: u64, length: usize) -> Result<u64> {
    let end = offset.checked_add(length as u64).filter(|end| *end <= file.len());
    end.ok_or_else(|| {
        Error::input(text!(
            "error-source/drawn/bytes-byte-what-drawn",
            file = file.uri(),
            length,
            offset,
            file_2 = file.len()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryFile;

    #[test]
    fn ranges_stand_one_after_the_other() {
        let bytes: Vec<u8> = (0..100).collect();
        let file: Arc<dyn Blob> = Arc::new(MemoryFile::new("m", bytes).borrowed());
        let drawn = DrawnFile::of(&file, &[5..10, 10..12, 20..20, 40..41, 90..100]).unwrap();
        let whole: Vec<u8> = (5..12).chain(40..41).chain(90..100).collect();
        assert_eq!(drawn.len(), 18);
        for from in 0..18 {
            for to in from..=18 {
                let mut out = vec![0; to - from];
                drawn.read_at(from as u64, &mut out).unwrap();
                assert_eq!(out, whole[from..to], "{from}..{to}");
                if let Some(resident) = drawn.resident(from as u64, to - from) {
                    assert_eq!(resident, &whole[from..to]);
                }
            }
        }
        assert!(drawn.resident(0, 7).is_some() && drawn.resident(6, 2).is_none());
        assert!(drawn.read_at(17, &mut [0; 2]).unwrap_err().is_input());
        assert!(drawn.read_at(u64::MAX, &mut [0; 2]).is_err());
        assert!(
            DrawnFile::of(&file, &[5..10, 9..12]).is_err()
                && DrawnFile::of(&file, std::slice::from_ref(&(90..101))).is_err()
        );
        assert!(DrawnFile::of(&file, &[]).unwrap().is_empty());
    }
}
