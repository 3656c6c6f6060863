//! A file that exists nowhere: its bytes are computed when they are first read, and dropped when all were released.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Blob;
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// Computes the bytes of a piece; the same bytes every time.
pub type Make = Box<dyn Fn() -> Result<Vec<u8>> + Send + Sync>;

/// A file made of pieces, each computed as a whole when one of its bytes is first read.
///
/// A piece is kept until as many of its bytes were released as it has. No lock is held while one is computed, so that
/// the computation may use the thread pool; two threads that come at once both compute it, with the same result.
pub struct MadeFile {
    uri: String,
    pieces: Vec<Piece>,
}

struct Piece {
    span: Range<u64>,
    make: Make,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: Option<Arc<Vec<u8>>>,
    released: u64,
}

impl MadeFile {
    /// A file of these pieces, one after the other: length in bytes, and how they are made.
    pub fn new(uri: impl Into<String>, pieces: impl IntoIterator<Item = (u64, Make)>) -> Self {
        let mut end = 0_u64;
        let pieces = pieces.into_iter().map(|(length, make)| {
            let start = end;
            end = end.saturating_add(length);
            Piece { span: start..end, make, state: Mutex::default() }
        });
        Self { uri: uri.into(), pieces: pieces.collect() }
    }

    /// The pieces that share bytes with a span, each with what it shares.
    fn touched(&self, span: Range<u64>) -> impl Iterator<Item = (&Piece, Range<u64>)> {
        let first = self.pieces.partition_point(|piece| piece.span.end <= span.start);
        self.pieces[first..]
            .iter()
            .take_while(move |piece| piece.span.start < span.end)
            .map(move |piece| (piece, piece.span.start.max(span.start)..piece.span.end.min(span.end)))
    }
}

impl Piece {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes(&self) -> Result<Arc<Vec<u8>>> {
        if let Some(bytes) = &self.lock().bytes {
            return Ok(Arc::clone(bytes));
        }
        let made = (self.make)()?;
        let length = self.span.end - self.span.start;
        if made.len() as u64 != length {
            return Err(Error::input(text!("error-source/made/bytes-made-where-belong", made = made.len(), length)));
        }
        Ok(Arc::clone(self.lock().bytes.get_or_insert_with(|| Arc::new(made))))
    }
}

impl Blob for MadeFile {
    fn len(&self) -> u64 {
        self.pieces.last().map_or(0, |piece| piece.span.end)
    }

    fn uri(&self) -> String {
        self.uri.clone()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len());
        let Some(end) = end else {
            return Err(Error::input(text!(
                "error-source/made/bytes-byte-asked-but",
                uri = &self.uri,
                buffer = buffer.len(),
                offset,
                len = self.len()
            )));
        };
        let mut rest = buffer;
        for (piece, shared) in self.touched(offset..end) {
            let bytes = piece.bytes()?;
            let start = usize::try_from(shared.start - piece.span.start).unwrap_or(usize::MAX);
            let length = usize::try_from(shared.end - shared.start).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at_mut(length);
            now.copy_from_slice(&bytes[start..start + length]);
            rest = later;
        }
        Ok(())
    }

    fn release(&self, offset: u64, length: usize) {
        for (piece, shared) in self.touched(offset..offset.saturating_add(length as u64)) {
            let mut state = piece.lock();
            state.released += shared.end - shared.start;
            if state.released >= piece.span.end - piece.span.start {
                *state = State::default();
            }
        }
    }

    fn is_made(&self) -> bool {
        true
    }
}

impl fmt::Debug for MadeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MadeFile({}, {} bytes)", self.uri, self.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn counted(bytes: &'static [u8]) -> ((u64, Make), Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&count);
        let make: Make = Box::new(move || {
            seen.fetch_add(1, Ordering::Relaxed);
            Ok(bytes.to_vec())
        });
        ((bytes.len() as u64, make), count)
    }

    #[test]
    fn pieces_are_made_once_kept_and_dropped_after_the_last_byte() {
        let ((a, first), (b, second)) = (counted(b"abcd"), counted(b"efg"));
        let file = MadeFile::new("m", [a, b]);
        assert_eq!(file.len(), 7);
        assert!(file.is_made());
        assert_eq!(&*file.bytes(0, 3).unwrap(), b"abc");
        assert_eq!(&*file.bytes(2, 5).unwrap(), b"cdefg");
        let counts = || (first.load(Ordering::Relaxed), second.load(Ordering::Relaxed));
        assert_eq!(counts(), (1, 1));
        file.release(0, 3);
        file.bytes(0, 1).unwrap();
        assert_eq!(counts(), (1, 1));
        file.release(3, 4);
        file.bytes(0, 7).unwrap();
        assert_eq!(counts(), (2, 2));
    }

    #[test]
    fn wrong_lengths_and_ranges_are_errors() {
        let file = MadeFile::new("m", [(3, Box::new(|| Ok(vec![1_u8])) as Make)]);
        assert!(file.bytes(0, 1).unwrap_err().is_input());
        assert!(file.bytes(2, 2).is_err() && file.bytes(u64::MAX, 2).is_err());
        let failing: Make = Box::new(|| Err(Error::io("disk", "gone")));
        assert!(MadeFile::new("m", [(1, failing)]).bytes(0, 1).unwrap_err().is_io());
        file.release(u64::MAX, 5);
    }
}
