//! The container of a `.wandb` file: a `LevelDB` log with a header of its own.
//!
//! Seven bytes of header (`:W&B`, 0xBEE1, version), then blocks of 32 KiB, the first one shortened by the header. A block
//! holds chunks (checksum, length, type, data) that never cross its end; a record is one full chunk, or a first, middle
//! ones and a last. The checksum is plain CRC-32 (IEEE) over type and data; no file uses `LevelDB`'s own masked CRC-32C.

use std::io::{ErrorKind, Read};

use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// Bytes of a block.
pub const BLOCK: usize = 32 * 1024;
/// Bytes before a chunk's data: checksum, length, type.
const HEAD: usize = 7;
/// `:W&B`, 0xBEE1 in little-endian order, version 0.
const FILE_HEADER: [u8; 7] = [b':', b'W', b'&', b'B', 0xE1, 0xBE, 0];
/// A larger record is taken for damage, so that a hostile file cannot fill the memory.
const RECORD_LIMIT: usize = 256 << 20;
/// So many places of damage are kept; the rest is only counted.
const DAMAGE_KEPT: usize = 1000;

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// A part of the log that could not be read and was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Byte offset in the file.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

/// How the log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tail {
    /// With a whole record.
    #[default]
    Complete,
    /// Between the parts of a record: the writer was killed. Not damage.
    Killed,
    /// Inside a chunk, or in zeros that nothing was written over: a crash, or a copy made while the run went on.
    Truncated,
}

/// Reads the records of a log, one after the other, with one block and one record in memory.
pub struct Reader<R> {
    input: R,
    block: Box<[u8]>,
    /// Offset of the block in the file, its first unread byte and its length.
    at: u64,
    position: usize,
    length: usize,
    last_block: bool,
    record: Vec<u8>,
    /// Where the record in the making began.
    open: Option<u64>,
    /// After damage, parts of the record that was lost say nothing new.
    resync: bool,
    /// Where zeros began that only the end of the file explains.
    zeros: Option<u64>,
    cut: bool,
    damage: Vec<Damage>,
    damaged: u64,
}

enum Chunk {
    Data { kind: u8, offset: u64, from: usize, to: usize },
    Skip,
    End,
}

impl<R: Read> Reader<R> {
    /// Reads the file's header.
    ///
    /// # Errors
    /// If the file is empty or is not a W&B log, or cannot be read.
    pub fn new(input: R) -> Result<Self> {
        let mut reader = Self {
            input,
            block: vec![0; BLOCK].into_boxed_slice(),
            at: 0,
            position: 0,
            length: 0,
            last_block: false,
            record: Vec::new(),
            open: None,
            resync: false,
            zeros: None,
            cut: false,
            damage: Vec::new(),
            damaged: 0,
        };
        reader.fill()?;
        if reader.length == 0 {
            return Err(Error::input(text!("error-record/leveldb/file-empty-so-holds")));
        }
        if reader.length < FILE_HEADER.len() || reader.block[..FILE_HEADER.len()] != FILE_HEADER {
            return Err(Error::input(text!("error-record/leveldb/file-does-not-begin")));
        }
        reader.position = FILE_HEADER.len();
        Ok(reader)
    }

    /// The next whole record and the offset it begins at, or nothing at the end.
    ///
    /// # Errors
    /// If the file cannot be read. Damage is not an error; see [`Reader::damage`].
    pub fn next_record(&mut self) -> Result<Option<(u64, &[u8])>> {
        loop {
            let (kind, offset, from, to) = match self.chunk()? {
                Chunk::Data { kind, offset, from, to } => (kind, offset, from, to),
                Chunk::Skip => continue,
                Chunk::End => return Ok(None),
            };
            if let Some(zeros) = self.zeros.take() {
                self.report(zeros, "zeros where records should be");
            }
            match kind {
                FULL | FIRST => {
                    if let Some(begun) = self.open.take() {
                        self.report(begun, "a record without its end");
                    }
                    self.resync = false;
                    self.record.clear();
                    self.record.extend_from_slice(&self.block[from..to]);
                    if kind == FULL {
                        return Ok(Some((offset, &self.record)));
                    }
                    self.open = Some(offset);
                }
                MIDDLE | LAST => {
                    let Some(begun) = self.open else {
                        if !self.resync {
                            self.report(offset, "a later part of a record without its beginning");
                            self.resync = true;
                        }
                        continue;
                    };
                    if self.record.len() + (to - from) > RECORD_LIMIT {
                        self.report(begun, "a record of more than 256 MiB");
                        self.lose();
                        continue;
                    }
                    self.record.extend_from_slice(&self.block[from..to]);
                    if kind == LAST {
                        self.open = None;
                        return Ok(Some((begun, &self.record)));
                    }
                }
                _ => {
                    self.report(offset, "a chunk of an unknown type");
                    self.lose();
                }
            }
        }
    }

    /// What could not be read so far, in order. Of very many places only the first thousand; [`Reader::damaged`] counts
    /// all.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// How many places could not be read so far.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// How the log ends; says something only after the last record.
    pub fn tail(&self) -> Tail {
        if self.cut || self.zeros.is_some() {
            Tail::Truncated
        } else if self.open.is_some() {
            Tail::Killed
        } else {
            Tail::Complete
        }
    }

    /// Notes that the content of a whole record was unreadable.
    pub fn report(&mut self, offset: u64, what: &str) {
        self.damaged += 1;
        if self.damage.len() < DAMAGE_KEPT {
            self.damage.push(Damage { offset, what: what.to_owned() });
        }
    }

    /// The next chunk with a true checksum.
    fn chunk(&mut self) -> Result<Chunk> {
        let left = self.length - self.position;
        if left < HEAD {
            // Less than a chunk's head at the end of a full block is padding; the same in a shorter, last block is a cut.
            if self.last_block {
                self.cut |= left > 0;
                return Ok(Chunk::End);
            }
            self.fill()?;
            return Ok(if self.length == 0 { Chunk::End } else { Chunk::Skip });
        }
        let start = self.position;
        let offset = self.at + start as u64;
        let head = &self.block[start..start + HEAD];
        let sum = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let length = usize::from(u16::from_le_bytes([head[4], head[5]]));
        let kind = head[6];
        let from = start + HEAD;
        if sum == 0 && length == 0 && kind == 0 && self.block[start..self.length].iter().all(|&b| b == 0) {
            self.zeros.get_or_insert(offset);
            self.position = self.length;
            return Ok(Chunk::Skip);
        }
        if from + length > BLOCK {
            return Ok(self.spoil(offset, "a chunk longer than its block"));
        }
        let to = from + length;
        if to > self.length {
            self.cut = true;
            self.position = self.length;
            return Ok(Chunk::Skip);
        }
        if crc32fast::hash(&self.block[start + HEAD - 1..to]) != sum {
            return Ok(self.spoil(offset, "a chunk whose checksum is wrong"));
        }
        self.position = to;
        Ok(Chunk::Data { kind, offset, from, to })
    }

    /// Reports damage and goes on at the next block, because a bad chunk's length cannot be trusted.
    fn spoil(&mut self, offset: u64, what: &str) -> Chunk {
        if let Some(zeros) = self.zeros.take() {
            self.report(zeros, "zeros where records should be");
        }
        self.report(offset, what);
        self.position = self.length;
        self.lose();
        Chunk::Skip
    }

    fn lose(&mut self) {
        self.open = None;
        self.record.clear();
        self.resync = true;
    }

    /// Reads the next block.
    fn fill(&mut self) -> Result<()> {
        self.at += self.length as u64;
        self.position = 0;
        self.length = 0;
        while self.length < BLOCK {
            match self.input.read(&mut self.block[self.length..]) {
                Ok(0) => {
                    self.last_block = true;
                    break;
                }
                Ok(n) => self.length += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(text!("error-record/hashed/log-cannot-read"), error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;
