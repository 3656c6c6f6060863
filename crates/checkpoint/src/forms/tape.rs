//! Bytes that are read in order, through a window.

use scratchproof_error::{Error, Result};
use scratchproof_source::Blob;
use scratchproof_texts::text;

/// Bytes that are held at a time.
const WINDOW: u64 = 1 << 16;

/// The longest line of a text opcode.
const LINE: usize = 1 << 20;

/// A run of bytes that is read once from front to back.
pub(in crate::forms) struct Tape<'a> {
    blob: &'a dyn Blob,
    /// What it is, for messages.
    what: &'static str,
    /// The next byte.
    pub(in crate::forms) at: u64,
    end: u64,
    window: Vec<u8>,
    start: u64,
}

impl<'a> Tape<'a> {
    /// The bytes of `blob` from `at` to `end` (at most to its own end).
    pub(in crate::forms) fn new(what: &'static str, blob: &'a dyn Blob, at: u64, end: u64) -> Self {
        Self { blob, what, at, end: end.min(blob.len()), window: Vec::new(), start: 0 }
    }

    fn fill(&mut self) -> Result<()> {
        let length = (self.end.saturating_sub(self.at)).min(WINDOW);
        if length == 0 {
            return Err(Error::input(text!("error-checkpoint/tape/cut-short", what = &self.what)));
        }
        self.window.resize(usize::try_from(length).unwrap_or(0), 0);
        self.start = self.at;
        self.blob.read_at(self.at, &mut self.window)
    }

    pub(in crate::forms) fn byte(&mut self) -> Result<u8> {
        let inside = |tape: &Self| {
            let index = usize::try_from(tape.at.checked_sub(tape.start)?).ok()?;
            tape.window.get(index).copied()
        };
        let byte = if let Some(byte) = inside(self) {
            byte
        } else {
            self.fill()?;
            self.window[0]
        };
        self.at += 1;
        Ok(byte)
    }

    /// An unsigned number of up to eight bytes, the lowest first.
    pub(in crate::forms) fn number(&mut self, width: u32) -> Result<u64> {
        (0..width).try_fold(0, |sum, at| Ok(sum | u64::from(self.byte()?) << (8 * at)))
    }

    /// The next `length` bytes.
    pub(in crate::forms) fn take(&mut self, length: u64) -> Result<Vec<u8>> {
        if self.end.saturating_sub(self.at) < length {
            return Err(Error::input(text!(
                "error-checkpoint/tape/cut-short-bytes-announced",
                what = &self.what,
                length
            )));
        }
        let length =
            usize::try_from(length).map_err(|_| Error::input(text!("error-checkpoint/tape/does-not-fit-memory")))?;
        let mut bytes = vec![0; length];
        self.blob.read_at(self.at, &mut bytes)?;
        self.at += length as u64;
        Ok(bytes)
    }

    /// Goes on behind the next `length` bytes.
    pub(in crate::forms) fn skip(&mut self, length: u64) -> Result<()> {
        if self.end.saturating_sub(self.at) < length {
            return Err(Error::input(text!(
                "error-checkpoint/tape/cut-short-bytes-announced",
                what = &self.what,
                length
            )));
        }
        self.at += length;
        Ok(())
    }

    /// The text up to the end of the line.
    pub(in crate::forms) fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => break,
                _ if line.len() >= LINE => return Err(Error::input(text!("error-checkpoint/tape/line-does-not-end"))),
                byte => line.push(byte),
            }
        }
        String::from_utf8(line).map_err(|_| Error::input(text!("error-checkpoint/tape/line-not-utf")))
    }
}
