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

/// A piece of a file as rows of one length, of which some spans are taken, the same of every row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picked {
    /// Where the first row begins.
    pub offset: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of a row.
    pub row: u64,
    /// What is taken of a row, ascending and apart.
    pub spans: Vec<Range<u64>>,
}

impl Picked {
    /// A run of bytes as it stands.
    #[must_use]
    pub fn whole(offset: u64, bytes: u64) -> Self {
        Self { offset, rows: 1, row: bytes, spans: std::iter::once(0..bytes).collect() }
    }

    /// Bytes that are taken of a row.
    fn taken(&self) -> u64 {
        self.spans.iter().map(|span| span.end - span.start).sum()
    }
}

/// Pieces of a file, one after the other. Of columns the whole rows are read underneath: spans of a few hundred bytes are no
/// requests of their own.
pub struct PickedFile {
    file: Arc<dyn Blob>,
    pieces: Vec<Picked>,
    /// Bytes of the pieces before each.
    starts: Vec<u64>,
    length: u64,
}

impl PickedFile {
    /// Takes these pieces of a file.
    ///
    /// # Errors
    /// If a piece leaves the file, or spans their row.
    pub fn of(file: Arc<dyn Blob>, pieces: Vec<Picked>) -> Result<Arc<dyn Blob>> {
        let leaves = || Error::usage(text!("error-source/drawn/ranges-leave-their-file"));
        let mut starts = Vec::with_capacity(pieces.len());
        let mut length = 0_u64;
        for piece in &pieces {
            let end = piece.rows.checked_mul(piece.row).and_then(|bytes| bytes.checked_add(piece.offset));
            let apart = piece.spans.windows(2).all(|pair| pair[0].end <= pair[1].start);
            let inside = piece.spans.iter().all(|span| span.start <= span.end && span.end <= piece.row);
            if end.is_none_or(|end| end > file.len()) || !apart || !inside {
                return Err(leaves());
            }
            starts.push(length);
            length =
                piece.taken().checked_mul(piece.rows).and_then(|own| own.checked_add(length)).ok_or_else(leaves)?;
        }
        Ok(Arc::new(Self { file, pieces, starts, length }))
    }

    /// Fills a buffer with bytes of one piece from a place in it.
    fn read_piece(&self, piece: &Picked, from: u64, buffer: &mut [u8]) -> Result<()> {
        let taken = piece.taken().max(1);
        let (mut row, mut inside) = (from / taken, from % taken);
        let mut rest = buffer;
        while !rest.is_empty() {
            let start = piece.offset + row * piece.row;
            for span in &piece.spans {
                let length = span.end - span.start;
                if inside >= length {
                    inside -= length;
                    continue;
                }
                let count = usize::try_from(length - inside).unwrap_or(usize::MAX).min(rest.len());
                let (own, after) = rest.split_at_mut(count);
                self.file.read_at(start + span.start + inside, own)?;
                rest = after;
                inside = 0;
                if rest.is_empty() {
                    return Ok(());
                }
            }
            row += 1;
        }
        Ok(())
    }
}

impl Blob for PickedFile {
    fn len(&self) -> u64 {
        self.length
    }

    fn uri(&self) -> String {
        self.file.uri()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        inside(self, offset, buffer.len())?;
        let (mut at, mut rest) = (offset, buffer);
        let first = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        for (piece, start) in self.pieces[first.min(self.pieces.len())..].iter().zip(&self.starts[first..]) {
            if rest.is_empty() {
                break;
            }
            let left = (start + piece.taken() * piece.rows).saturating_sub(at);
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            let (own, after) = rest.split_at_mut(count);
            self.read_piece(piece, at - start, own)?;
            at += count as u64;
            rest = after;
        }
        Ok(())
    }

    fn is_made(&self) -> bool {
        self.file.is_made()
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
fn inside(file: &dyn Blob, offset: u64, length: usize) -> Result<u64> {
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
    fn columns_of_rows_stand_one_after_the_other() {
        let bytes: Vec<u8> = (0..100).collect();
        let file: Arc<dyn Blob> = Arc::new(MemoryFile::new("m", bytes));
        let columns = |offset, rows, row, spans: &[Range<u64>]| Picked { offset, rows, row, spans: spans.to_vec() };
        let pieces =
            vec![Picked::whole(3, 4), columns(10, 5, 8, &[1..3, 6..7]), Picked::whole(0, 0), Picked::whole(60, 2)];
        let picked = PickedFile::of(Arc::clone(&file), pieces).unwrap();
        let rows = (0..5).flat_map(|row| [11, 12, 16].map(|at| at + 8 * row));
        let whole: Vec<u8> = (3..7).chain(rows).chain(60..62).collect();
        assert_eq!(picked.len(), 21);
        for from in 0..21 {
            for to in from..=21 {
                let mut out = vec![0; to - from];
                picked.read_at(from as u64, &mut out).unwrap();
                assert_eq!(out, whole[from..to], "{from}..{to}");
            }
        }
        assert!(picked.read_at(20, &mut [0; 2]).is_err());
        let (first, beyond) = (0..1, 7..9);
        for wrong in [
            columns(90, 2, 8, std::slice::from_ref(&first)),
            columns(0, 2, 8, &[2..4, 3..5]),
            columns(0, 1, 8, std::slice::from_ref(&beyond)),
        ] {
            assert!(PickedFile::of(Arc::clone(&file), vec![wrong]).is_err());
        }
    }

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
